/* BLAKE3 in plain C: one compression at a time. Four G of a column or diagonal step are independent, which keeps a
 * superscalar CPU busy. */
#include "crypto/blake3_impl.h"

#include <string.h>

static inline uint32_t rotate_right(uint32_t word, int count)
{
    return word >> count | word << (32 - count);
}

static inline __attribute__((always_inline)) void mix(uint32_t v[16], int a, int b, int c, int d, uint32_t x,
                                                      uint32_t y)
{
    v[a] += v[b] + x;
    v[d] = rotate_right(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 12);
    v[a] += v[b] + y;
    v[d] = rotate_right(v[d] ^ v[a], 8);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 7);
}

static inline __attribute__((always_inline)) void mix_round(uint32_t v[16], const uint32_t m[16], int round)
{
    const uint8_t *s = kith__blake3_schedule[round];

    mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
    mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
    mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
    mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
    mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
    mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
    mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
    mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
}

void kith__blake3_compress_portable(uint32_t cv[8], const uint8_t *block, uint64_t counter, uint32_t size,
                                    uint32_t flags)
{
    uint32_t v[16], m[16];

    for (int i = 0; i < 16; i++)
        m[i] = kith__blake3_load(block + 4 * i);
    for (int i = 0; i < 8; i++)
        v[i] = cv[i];
    for (int i = 0; i < 4; i++)
        v[8 + i] = kith__blake3_iv[i];
    v[12] = (uint32_t)counter;
    v[13] = (uint32_t)(counter >> 32);
    v[14] = size;
    v[15] = flags;
    mix_round(v, m, 0);
    mix_round(v, m, 1);
    mix_round(v, m, 2);
    mix_round(v, m, 3);
    mix_round(v, m, 4);
    mix_round(v, m, 5);
    mix_round(v, m, 6);
    for (int i = 0; i < 8; i++)
        cv[i] = v[i] ^ v[i + 8];
}

void kith__blake3_chunks_portable(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter,
                                  size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t cv[8];

        memcpy(cv, key, sizeof cv);
        for (uint32_t block = 0; block < KITH_BLAKE3_CHUNK_BLOCKS; block++)
            kith__blake3_compress_portable(cv, bytes + i * KITH_BLAKE3_CHUNK_SIZE + block * KITH_BLAKE3_BLOCK_SIZE,
                                           counter + i, KITH_BLAKE3_BLOCK_SIZE,
                                           flags | (block == 0 ? KITH_BLAKE3_CHUNK_START : 0u) |
                                               (block == KITH_BLAKE3_CHUNK_BLOCKS - 1 ? KITH_BLAKE3_CHUNK_END : 0u));
        kith__blake3_store_cv(cv, out + i * KITH_BLAKE3_CV_SIZE);
    }
}

void kith__blake3_parents_portable(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count,
                                   uint8_t *out)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t cv[8];

        memcpy(cv, key, sizeof cv);
        kith__blake3_compress_portable(cv, pairs + i * KITH_BLAKE3_BLOCK_SIZE, 0, KITH_BLAKE3_BLOCK_SIZE,
                                       flags | KITH_BLAKE3_PARENT);
        kith__blake3_store_cv(cv, out + i * KITH_BLAKE3_CV_SIZE);
    }
}
