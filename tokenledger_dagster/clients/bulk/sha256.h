/* SHA-256 of a line, by the processor's own instructions where it has them.
 *
 * Here: x86 with the SHA extension (FIPS 180-4, section 6.2, four rounds at a time).  Not here: any other processor;
 * there `can_sha256` says no and the standard library's hashlib is asked.
 */
#ifndef TOKENLEDGER_SHA256_H
#define TOKENLEDGER_SHA256_H

#include "column.h"

enum { SHA_BLOCK = 64 };

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

static const uint32_t sha256_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static bool can_sha256(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}

__attribute__((target("sha,sse4.1,ssse3")))
static void sha256_blocks(__m128i state[2], const byte *at, size_t blocks) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i abef = state[0], cdgh = state[1];
    for (; blocks; blocks--, at += SHA_BLOCK) {
        __m128i words[16], abef_before = abef, cdgh_before = cdgh;
#pragma GCC unroll 16
        for (int group = 0; group < 16; group++) {
            if (group < 4) {
                words[group] =
                    _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(at + 16 * group)), big_endian);
            } else {
                __m128i next = _mm_sha256msg1_epu32(words[group - 4], words[group - 3]);
                next = _mm_add_epi32(next, _mm_alignr_epi8(words[group - 1], words[group - 2], 4));
                words[group] = _mm_sha256msg2_epu32(next, words[group - 1]);
            }
            __m128i rounds =
                _mm_add_epi32(words[group], _mm_load_si128((const __m128i *)(sha256_constants + 4 * group)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, rounds);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(rounds, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    state[0] = abef;
    state[1] = cdgh;
}

__attribute__((target("sha,sse4.1,ssse3")))
static void sha256(const byte *at, size_t size, byte digest[DIGEST_SIZE]) {
    /* the instructions take the eight words of the state as (a, b, e, f) and (c, d, g, h), highest first */
    __m128i state[2] = {
        _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
        _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19),
    };
    size_t whole = size / SHA_BLOCK, left = size % SHA_BLOCK;
    sha256_blocks(state, at, whole);
    byte last[2 * SHA_BLOCK] = {0};
    memcpy(last, at + whole * SHA_BLOCK, left);
    last[left] = 0x80;
    size_t blocks = left < SHA_BLOCK - 8 ? 1 : 2;
    uint64_t bits = (uint64_t)size * 8;
    for (int place = 1; place <= 8; place++, bits >>= 8) last[blocks * SHA_BLOCK - place] = (byte)bits;
    sha256_blocks(state, last, blocks);
    uint32_t abef[4], cdgh[4];
    _mm_storeu_si128((__m128i *)abef, state[0]);
    _mm_storeu_si128((__m128i *)cdgh, state[1]);
    const uint32_t words[8] = {abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]};
    for (int place = 0; place < DIGEST_SIZE; place++)
        digest[place] = (byte)(words[place / 4] >> (24 - 8 * (place % 4)));
}

#else

static bool can_sha256(void) { return false; }
static void sha256(const byte *at, size_t size, byte digest[DIGEST_SIZE]) { (void)at, (void)size, (void)digest; }

#endif
#endif
