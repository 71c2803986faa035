/* The chain of a stream's records: the remainder of one large number (``ingest.scan.extended``).
 *
 * Here: one more row is the remainder shifted by 256 bits, plus the row's hash and offset.  The prime is 2^150 - 3, so
 * that whatever stands above bit 150 counts three times at the bottom.  Not here: what a chain is for.
 */
#include "bulk.h"

enum { LIMBS = 7, PRIME_LIMBS = 3, CHAIN_BYTES = 19 };
typedef unsigned __int128 Wide;

static uint64_t big_endian(const byte *at) {
    uint64_t found = 0;
    for (int place = 0; place < 8; place++) found = found << 8 | at[place];
    return found;
}

/* Leaves less than 2^153 of a number of seven limbs: the bottom plus three times the rest, and that once more. */
static void fold(uint64_t number[LIMBS]) {
    for (int times = 0; times < 2; times++) {
        uint64_t rest[LIMBS] = {0};
        for (int limb = 2; limb < LIMBS; limb++) {
            uint64_t above = limb + 1 < LIMBS ? number[limb + 1] : 0;
            rest[limb - 2] = number[limb] >> 22 | above << 42; /* 150 = 2 * 64 + 22 */
        }
        number[2] &= (UINT64_C(1) << 22) - 1;
        for (int limb = 3; limb < LIMBS; limb++) number[limb] = 0;
        Wide carry = 0;
        for (int limb = 0; limb < LIMBS; limb++) {
            carry += (Wide)rest[limb] * 3 + number[limb];
            number[limb] = (uint64_t)carry;
            carry >>= 64;
        }
    }
}

/* Takes the prime away where it fits once more. */
static void settle(uint64_t number[LIMBS]) {
    static const uint64_t prime[PRIME_LIMBS] = {UINT64_MAX - 2, UINT64_MAX, (UINT64_C(1) << 22) - 1};
    for (;;) {
        uint64_t less[PRIME_LIMBS];
        bool borrow = false;
        for (int limb = 0; limb < PRIME_LIMBS; limb++) {
            Wide taken = (Wide)number[limb] - prime[limb] - borrow;
            less[limb] = (uint64_t)taken;
            borrow = taken >> 64 != 0;
        }
        if (borrow) return;
        memcpy(number, less, sizeof less);
    }
}

/* extended(before, offsets, hashes): the remainder after some rows more, 19 bytes, highest first, as `before` is. */
PyObject *extended(PyObject *Py_UNUSED(module), PyObject *given) {
    Py_buffer before, offsets, hashes;
    PyObject *found = NULL;
    if (!PyArg_ParseTuple(given, "y*y*y*", &before, &offsets, &hashes)) return NULL;
    Py_ssize_t rows = offsets.len / 8;
    if (before.len != CHAIN_BYTES || offsets.len != 8 * rows || hashes.len != rows * DIGEST_SIZE) {
        PyErr_SetString(PyExc_ValueError, "a chain has 19 bytes, and every row a hash of 32");
    } else {
        uint64_t chain[LIMBS] = {0};
        byte whole[8 * PRIME_LIMBS] = {0};
        memcpy(whole + sizeof whole - CHAIN_BYTES, before.buf, CHAIN_BYTES);
        for (int limb = 0; limb < PRIME_LIMBS; limb++) chain[limb] = big_endian(whole + 8 * (PRIME_LIMBS - 1 - limb));
        for (Py_ssize_t row = 0; row < rows; row++) {
            const byte *hash = (const byte *)hashes.buf + row * DIGEST_SIZE;
            uint64_t offset;
            memcpy(&offset, (const byte *)offsets.buf + 8 * row, 8);
            byte spread[8]; /* an offset stands with its lowest byte first where the hash has its highest */
            for (int place = 0; place < 8; place++) spread[place] = (byte)(offset >> 8 * place);
            uint64_t next[LIMBS] = {big_endian(hash + 24), big_endian(hash + 16), big_endian(hash + 8), 0,
                                    chain[0], chain[1], chain[2]};
            Wide top = (Wide)big_endian(hash) + big_endian(spread);
            next[3] = (uint64_t)top;
            uint64_t carry = (uint64_t)(top >> 64);
            for (int limb = 4; carry && limb < LIMBS; limb++) carry = (next[limb] += carry) < carry;
            fold(next);
            memcpy(chain, next, sizeof chain);
        }
        fold(chain);
        settle(chain);
        for (int place = 0; place < (int)sizeof whole; place++)
            whole[sizeof whole - 1 - (size_t)place] = (byte)(chain[place / 8] >> 8 * (place % 8));
        found = PyBytes_FromStringAndSize((const char *)whole + sizeof whole - CHAIN_BYTES, CHAIN_BYTES);
    }
    PyBuffer_Release(&before);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&hashes);
    return found;
}
