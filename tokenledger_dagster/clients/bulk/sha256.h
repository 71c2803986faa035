/* SHA-256 of a line, by the processor's own instructions where it has them.
 *
 * Here: x86 with the SHA extension (FIPS 180-4, section 6.2, four rounds at a time).  Not here: any other processor;
 * there `can_sha256` says no and the standard library's hashlib is asked.  Each step of a text waits for the one before,
 * so two texts are taken in turn.
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

/* One text on its way: the state, the blocks that are left of it as they stand, and those of its end. */
typedef struct {
    __m128i abef, cdgh; /* the instructions take the eight words of the state like this, highest first */
    const byte *at;
    size_t blocks, last_blocks;
    byte last[2 * SHA_BLOCK];
} Hashing;

static void begin_sha256(Hashing *one, const byte *at, size_t size) {
    size_t left = size % SHA_BLOCK;
    one->abef = _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c);
    one->cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19);
    one->at = at;
    one->blocks = size / SHA_BLOCK;
    one->last_blocks = left < SHA_BLOCK - 8 ? 1 : 2;
    memset(one->last, 0, sizeof one->last);
    memcpy(one->last, at + size - left, left);
    one->last[left] = 0x80;
    uint64_t bits = (uint64_t)size * 8;
    for (int place = 1; place <= 8; place++, bits >>= 8) one->last[one->last_blocks * SHA_BLOCK - place] = (byte)bits;
}

/* The next words of a block, four at a time, from those before. */
#define SHA_TARGET __attribute__((target("sha,sse4.1,ssse3"), always_inline))
SHA_TARGET static inline __m128i sha256_words(__m128i words[16], int group, const byte *at) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    if (group < 4) return words[group] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)at + group), big_endian);
    __m128i next = _mm_sha256msg1_epu32(words[group - 4], words[group - 3]);
    next = _mm_add_epi32(next, _mm_alignr_epi8(words[group - 1], words[group - 2], 4));
    return words[group] = _mm_sha256msg2_epu32(next, words[group - 1]);
}

SHA_TARGET static inline void sha256_rounds(__m128i *abef, __m128i *cdgh, __m128i words, int group) {
    __m128i rounds = _mm_add_epi32(words, _mm_load_si128((const __m128i *)sha256_constants + group));
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, rounds);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(rounds, 0x0e));
}

/* Some blocks of one text, and as many of another: each waits for its own last step, so two take little more than one. */
__attribute__((target("sha,sse4.1,ssse3")))
static void sha256_blocks(Hashing *one, Hashing *other, size_t blocks) {
    __m128i abef = one->abef, cdgh = one->cdgh;
    __m128i other_abef = other ? other->abef : abef, other_cdgh = other ? other->cdgh : cdgh;
    for (size_t block = 0; block < blocks; block++) {
        __m128i words[16], other_words[16], abef_before = abef, cdgh_before = cdgh;
        if (!other) {
#pragma GCC unroll 16
            for (int group = 0; group < 16; group++)
                sha256_rounds(&abef, &cdgh, sha256_words(words, group, one->at), group);
        } else {
            __m128i other_abef_before = other_abef, other_cdgh_before = other_cdgh;
#pragma GCC unroll 16
            for (int group = 0; group < 16; group++) {
                sha256_rounds(&abef, &cdgh, sha256_words(words, group, one->at), group);
                sha256_rounds(&other_abef, &other_cdgh, sha256_words(other_words, group, other->at), group);
            }
            other_abef = _mm_add_epi32(other_abef, other_abef_before);
            other_cdgh = _mm_add_epi32(other_cdgh, other_cdgh_before);
            other->at += SHA_BLOCK;
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
        one->at += SHA_BLOCK;
    }
    one->abef = abef;
    one->cdgh = cdgh;
    one->blocks -= blocks;
    if (!other) return;
    other->abef = other_abef;
    other->cdgh = other_cdgh;
    other->blocks -= blocks;
}

/* Whether blocks are left, those of the end once the others are done. */
static bool has_blocks(Hashing *one) {
    if (one->blocks || !one->last_blocks) return one->blocks;
    one->at = one->last;
    one->blocks = one->last_blocks;
    one->last_blocks = 0;
    return true;
}

static void end_sha256(Hashing *one, byte digest[DIGEST_SIZE]) {
    while (has_blocks(one)) sha256_blocks(one, NULL, one->blocks);
    uint32_t abef[4], cdgh[4];
    _mm_storeu_si128((__m128i *)abef, one->abef);
    _mm_storeu_si128((__m128i *)cdgh, one->cdgh);
    const uint32_t words[8] = {abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]};
    for (int place = 0; place < DIGEST_SIZE; place++)
        digest[place] = (byte)(words[place / 4] >> (24 - 8 * (place % 4)));
}

static void sha256(const byte *at, size_t size, byte digest[DIGEST_SIZE]) {
    Hashing one;
    begin_sha256(&one, at, size);
    end_sha256(&one, digest);
}

/* Two texts at once. */
static void sha256_two(const byte *const at[2], const size_t sizes[2], byte *const digests[2]) {
    Hashing one, other;
    begin_sha256(&one, at[0], sizes[0]);
    begin_sha256(&other, at[1], sizes[1]);
    while (has_blocks(&one) && has_blocks(&other))
        sha256_blocks(&one, &other, one.blocks < other.blocks ? one.blocks : other.blocks);
    end_sha256(&one, digests[0]);
    end_sha256(&other, digests[1]);
}

#else

static bool can_sha256(void) { return false; }
static void sha256(const byte *at, size_t size, byte digest[DIGEST_SIZE]) { (void)at, (void)size, (void)digest; }
static void sha256_two(const byte *const at[2], const size_t sizes[2], byte *const digests[2]) {
    (void)at, (void)sizes, (void)digests;
}

#endif
#endif
