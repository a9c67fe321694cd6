/**
 * BLAKE3 over LANES chunks or parents at once, one 32-bit word of each in one vector: the template behind the SSE4.1, AVX2,
 * AVX-512 and NEON files. A file that includes this defines first:
 *   LANES         4, 8 or 16
 *   TARGET        the attribute that allows the instructions, or nothing
 *   vec           the vector type; vec_set1, vec_load, vec_store, vec_add, vec_xor
 *   vec_rot16, vec_rot12, vec_rot8, vec_rot7     rotate right
 *   vec_lo32, vec_hi32, vec_lo64, vec_hi64       interleave halves of each 128-bit part (the unpack instructions)
 *   CHUNKS, PARENTS                              names of the two functions to define
 *   CHUNKS_REST, PARENTS_REST                    narrower functions, for what is left at the end
 * and after it the function load_part. State and message are arrays with constant indices, which the compiler keeps in
 * registers where there are enough (AVX-512 has 32: 16 of state, 16 of message).
 */
#include "crypto/blake3_impl.h"

#include <string.h>

#define LANES_INLINE TARGET static inline __attribute__((always_inline))

/** Where the blocks of the lanes are: one each `stride` bytes. Lanes past `last` repeat it, and their result is dropped. */
struct rows {
    const uint8_t *bytes;
    size_t stride, last;
};

/** Constant arithmetic where all lanes are in use: `last` is known to the compiler there. */
LANES_INLINE const uint8_t *row(const struct rows *rows, size_t i)
{
    return rows->bytes + (i < rows->last ? i : rows->last) * rows->stride;
}

/** 16 bytes at `at` of rows i, i + 4, i + 8 .. side by side, as many as a vector holds. Defined by the including file. */
LANES_INLINE vec load_part(const struct rows *rows, size_t i, size_t at);

/** Four rows of a matrix become four columns, within each 128-bit part. */
LANES_INLINE void transpose_quad(vec a, vec b, vec c, vec d, vec *out)
{
    vec ab_lo = vec_lo32(a, b), ab_hi = vec_hi32(a, b), cd_lo = vec_lo32(c, d), cd_hi = vec_hi32(c, d);

    out[0] = vec_lo64(ab_lo, cd_lo);
    out[1] = vec_hi64(ab_lo, cd_lo);
    out[2] = vec_lo64(ab_hi, cd_hi);
    out[3] = vec_hi64(ab_hi, cd_hi);
}

/** m[i] = word i of each row. */
LANES_INLINE void load_message(const struct rows *rows, vec *m)
{
    transpose_quad(load_part(rows, 0, 0), load_part(rows, 1, 0), load_part(rows, 2, 0), load_part(rows, 3, 0), m);
    transpose_quad(load_part(rows, 0, 16), load_part(rows, 1, 16), load_part(rows, 2, 16), load_part(rows, 3, 16),
                   m + 4);
    transpose_quad(load_part(rows, 0, 32), load_part(rows, 1, 32), load_part(rows, 2, 32), load_part(rows, 3, 32),
                   m + 8);
    transpose_quad(load_part(rows, 0, 48), load_part(rows, 1, 48), load_part(rows, 2, 48), load_part(rows, 3, 48),
                   m + 12);
}

/* The four G of a step side by side, operation by operation: their chains are independent. diagonal: 0 or 1. */
#define V_A(i)    v[i]
#define V_B(i)    v[4 + (((i) + diagonal) & 3)]
#define V_C(i)    v[8 + (((i) + 2 * diagonal) & 3)]
#define V_D(i)    v[12 + (((i) + 3 * diagonal) & 3)]
#define FOUR(X)   X(0) X(1) X(2) X(3)
#define ADD_X(i)  V_A(i) = vec_add(V_A(i), m[s[2 * (i)]]);
#define ADD_Y(i)  V_A(i) = vec_add(V_A(i), m[s[2 * (i) + 1]]);
#define ADD_B(i)  V_A(i) = vec_add(V_A(i), V_B(i));
#define XOR_D(i)  V_D(i) = vec_xor(V_D(i), V_A(i));
#define XOR_B(i)  V_B(i) = vec_xor(V_B(i), V_C(i));
#define ADD_D(i)  V_C(i) = vec_add(V_C(i), V_D(i));
#define ROT_16(i) V_D(i) = vec_rot16(V_D(i));
#define ROT_12(i) V_B(i) = vec_rot12(V_B(i));
#define ROT_8(i)  V_D(i) = vec_rot8(V_D(i));
#define ROT_7(i)  V_B(i) = vec_rot7(V_B(i));

LANES_INLINE void mix_four(vec *v, const vec *m, const uint8_t *s,
                           int diagonal) { FOUR(ADD_X) FOUR(ADD_B) FOUR(XOR_D) FOUR(ROT_16) FOUR(ADD_D) FOUR(XOR_B)
                                               FOUR(ROT_12) FOUR(ADD_Y) FOUR(ADD_B) FOUR(XOR_D) FOUR(ROT_8) FOUR(ADD_D)
                                                   FOUR(XOR_B) FOUR(ROT_7) }

LANES_INLINE void mix_round(vec *v, const vec *m, int round)
{
    mix_four(v, m, kith__blake3_schedule[round], 0);
    mix_four(v, m, kith__blake3_schedule[round] + 8, 1);
}

/** One compression in every lane; cv in and out. */
LANES_INLINE void compress_lanes(vec *cv, const vec *m, vec counter_low, vec counter_high, uint32_t flags)
{
    vec v[16] = { cv[0],
                  cv[1],
                  cv[2],
                  cv[3],
                  cv[4],
                  cv[5],
                  cv[6],
                  cv[7],
                  vec_set1(kith__blake3_iv[0]),
                  vec_set1(kith__blake3_iv[1]),
                  vec_set1(kith__blake3_iv[2]),
                  vec_set1(kith__blake3_iv[3]),
                  counter_low,
                  counter_high,
                  vec_set1(KITH_BLAKE3_BLOCK_SIZE),
                  vec_set1(flags) };

    mix_round(v, m, 0);
    mix_round(v, m, 1);
    mix_round(v, m, 2);
    mix_round(v, m, 3);
    mix_round(v, m, 4);
    mix_round(v, m, 5);
    mix_round(v, m, 6);
    cv[0] = vec_xor(v[0], v[8]);
    cv[1] = vec_xor(v[1], v[9]);
    cv[2] = vec_xor(v[2], v[10]);
    cv[3] = vec_xor(v[3], v[11]);
    cv[4] = vec_xor(v[4], v[12]);
    cv[5] = vec_xor(v[5], v[13]);
    cv[6] = vec_xor(v[6], v[14]);
    cv[7] = vec_xor(v[7], v[15]);
}

LANES_INLINE void cv_set(vec *cv, const uint32_t *key)
{
    cv[0] = vec_set1(key[0]);
    cv[1] = vec_set1(key[1]);
    cv[2] = vec_set1(key[2]);
    cv[3] = vec_set1(key[3]);
    cv[4] = vec_set1(key[4]);
    cv[5] = vec_set1(key[5]);
    cv[6] = vec_set1(key[6]);
    cv[7] = vec_set1(key[7]);
}

/** The cvs of the first `count` lanes, 32 bytes each, one after the other. */
LANES_INLINE void cv_store(const vec *cv, size_t count, uint8_t *out)
{
    vec low[4], high[4];
    uint8_t low_bytes[4][LANES * 4], high_bytes[4][LANES * 4];

    transpose_quad(cv[0], cv[1], cv[2], cv[3], low);
    transpose_quad(cv[4], cv[5], cv[6], cv[7], high);
    for (int i = 0; i < 4; i++) {
        vec_store(low_bytes[i], low[i]);
        vec_store(high_bytes[i], high[i]);
    }
    for (size_t i = 0; i < count; i++) { /* lane i is part i / 4 of column i % 4 */
        memcpy(out + 32 * i, low_bytes[i % 4] + i / 4 * 16, 16);
        memcpy(out + 32 * i + 16, high_bytes[i % 4] + i / 4 * 16, 16);
    }
}

/** LANES consecutive chunk numbers, as two vectors of low and high halves. */
LANES_INLINE void counters_set(uint64_t counter, vec *low, vec *high)
{
    uint32_t low_words[LANES], high_words[LANES];

    for (uint64_t i = 0; i < LANES; i++) {
        low_words[i] = (uint32_t)(counter + i);
        high_words[i] = (uint32_t)((counter + i) >> 32);
    }
    *low = vec_load(low_words);
    *high = vec_load(high_words);
}

LANES_INLINE void chunks_batch(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter,
                               size_t count, uint8_t *out)
{
    struct rows rows = { bytes, KITH_BLAKE3_CHUNK_SIZE, count - 1 };
    vec cv[8], m[16], low, high;

    counters_set(counter, &low, &high);
    cv_set(cv, key);
    for (uint32_t block = 0; block < KITH_BLAKE3_CHUNK_BLOCKS; block++) {
        uint32_t block_flags = flags | (block == 0 ? KITH_BLAKE3_CHUNK_START : 0u) |
                               (block == KITH_BLAKE3_CHUNK_BLOCKS - 1 ? KITH_BLAKE3_CHUNK_END : 0u);

        load_message(&rows, m);
        compress_lanes(cv, m, low, high, block_flags);
        rows.bytes += KITH_BLAKE3_BLOCK_SIZE;
    }
    cv_store(cv, count, out);
}

LANES_INLINE void parents_batch(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count, uint8_t *out)
{
    struct rows rows = { pairs, KITH_BLAKE3_BLOCK_SIZE, count - 1 };
    vec cv[8], m[16], zero = vec_set1(0);

    cv_set(cv, key);
    load_message(&rows, m);
    compress_lanes(cv, m, zero, zero, flags | KITH_BLAKE3_PARENT);
    cv_store(cv, count, out);
}

/* Each kind twice: with all lanes in use the compiler knows all addresses; the other copy is for the last batch. */

TARGET static void chunks_full(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter,
                               uint8_t *out)
{
    chunks_batch(key, flags, bytes, counter, LANES, out);
}
TARGET static void chunks_some(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter,
                               size_t count, uint8_t *out)
{
    chunks_batch(key, flags, bytes, counter, count, out);
}
TARGET static void parents_full(const uint32_t *key, uint32_t flags, const uint8_t *pairs, uint8_t *out)
{
    parents_batch(key, flags, pairs, LANES, out);
}
TARGET static void parents_some(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count, uint8_t *out)
{
    parents_batch(key, flags, pairs, count, out);
}

/* A batch takes the same time however many lanes are in use: it pays when more than half of them are. */

void CHUNKS(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter, size_t count, uint8_t *out)
{
    for (; count >= LANES; count -= LANES) {
        chunks_full(key, flags, bytes, counter, out);
        bytes += LANES * KITH_BLAKE3_CHUNK_SIZE;
        out += LANES * KITH_BLAKE3_CV_SIZE;
        counter += LANES;
    }
    if (count > LANES / 2)
        chunks_some(key, flags, bytes, counter, count, out);
    else if (count > 0)
        CHUNKS_REST(key, flags, bytes, counter, count, out);
}

void PARENTS(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count, uint8_t *out)
{
    for (; count >= LANES; count -= LANES) {
        parents_full(key, flags, pairs, out);
        pairs += LANES * KITH_BLAKE3_BLOCK_SIZE;
        out += LANES * KITH_BLAKE3_CV_SIZE;
    }
    if (count > LANES / 2)
        parents_some(key, flags, pairs, count, out);
    else if (count > 0)
        PARENTS_REST(key, flags, pairs, count, out);
}
