/* BLAKE3, 16 lanes with AVX-512 F and VL, which has a rotate instruction and 32 registers; and one block at a time. */
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES           16
#define TARGET          __attribute__((target("avx512f,avx512vl")))
#define CHUNKS          kith__blake3_chunks_avx512
#define PARENTS         kith__blake3_parents_avx512
#define CHUNKS_REST     kith__blake3_chunks_avx2
#define PARENTS_REST    kith__blake3_parents_avx2
#define vec             __m512i
#define vec_set1(x)     _mm512_set1_epi32((int)(x))
#define vec_load(p)     _mm512_loadu_si512((const void *)(p))
#define vec_store(p, x) _mm512_storeu_si512((void *)(p), x)
#define vec_add(a, b)   _mm512_add_epi32(a, b)
#define vec_xor(a, b)   _mm512_xor_si512(a, b)
#define vec_rot16(x)    _mm512_ror_epi32(x, 16)
#define vec_rot12(x)    _mm512_ror_epi32(x, 12)
#define vec_rot8(x)     _mm512_ror_epi32(x, 8)
#define vec_rot7(x)     _mm512_ror_epi32(x, 7)
#define vec_lo32(a, b)  _mm512_unpacklo_epi32(a, b)
#define vec_hi32(a, b)  _mm512_unpackhi_epi32(a, b)
#define vec_lo64(a, b)  _mm512_unpacklo_epi64(a, b)
#define vec_hi64(a, b)  _mm512_unpackhi_epi64(a, b)
#include "crypto/blake3_lanes.h"

LANES_INLINE void load_quad(const uint8_t *const *row, size_t offset, vec *out)
{
    transpose_quad(vec_load(row[0] + offset), vec_load(row[1] + offset), vec_load(row[2] + offset),
                   vec_load(row[3] + offset), out);
}

/** Column i of the four quads holds words i, i + 4, i + 8, i + 12 in its parts: a transpose of 4 x 4 parts ends it. */
LANES_INLINE void join_parts(vec a, vec b, vec c, vec d, vec *m)
{
    vec ab_low = _mm512_shuffle_i32x4(a, b, 0x44), ab_high = _mm512_shuffle_i32x4(a, b, 0xee);
    vec cd_low = _mm512_shuffle_i32x4(c, d, 0x44), cd_high = _mm512_shuffle_i32x4(c, d, 0xee);

    m[0] = _mm512_shuffle_i32x4(ab_low, cd_low, 0x88);
    m[4] = _mm512_shuffle_i32x4(ab_low, cd_low, 0xdd);
    m[8] = _mm512_shuffle_i32x4(ab_high, cd_high, 0x88);
    m[12] = _mm512_shuffle_i32x4(ab_high, cd_high, 0xdd);
}

LANES_INLINE void load_message(const uint8_t *const *row, size_t offset, vec *m)
{
    vec a[4], b[4], c[4], d[4];

    load_quad(row, offset, a);
    load_quad(row + 4, offset, b);
    load_quad(row + 8, offset, c);
    load_quad(row + 12, offset, d);
    join_parts(a[0], b[0], c[0], d[0], m);
    join_parts(a[1], b[1], c[1], d[1], m + 1);
    join_parts(a[2], b[2], c[2], d[2], m + 2);
    join_parts(a[3], b[3], c[3], d[3], m + 3);
}

/** The state of one block: four rows of four words. */
struct rows {
    __m128i a, b, c, d;
};

LANES_INLINE void mix_rows(struct rows *r, __m128i x, __m128i y)
{
    r->a = _mm_add_epi32(_mm_add_epi32(r->a, x), r->b);
    r->d = _mm_ror_epi32(_mm_xor_si128(r->d, r->a), 16);
    r->c = _mm_add_epi32(r->c, r->d);
    r->b = _mm_ror_epi32(_mm_xor_si128(r->b, r->c), 12);
    r->a = _mm_add_epi32(_mm_add_epi32(r->a, y), r->b);
    r->d = _mm_ror_epi32(_mm_xor_si128(r->d, r->a), 8);
    r->c = _mm_add_epi32(r->c, r->d);
    r->b = _mm_ror_epi32(_mm_xor_si128(r->b, r->c), 7);
}

/**
 * m: the 16 message words in the order of this round's four additions: x and y of the columns, x and y of the diagonals.
 * For the diagonals the rows turn so that each diagonal becomes a column.
 */
LANES_INLINE void mix_round_rows(struct rows *r, __m512i m)
{
    mix_rows(r, _mm512_castsi512_si128(m), _mm512_extracti32x4_epi32(m, 1));
    r->b = _mm_shuffle_epi32(r->b, _MM_SHUFFLE(0, 3, 2, 1));
    r->c = _mm_shuffle_epi32(r->c, _MM_SHUFFLE(1, 0, 3, 2));
    r->d = _mm_shuffle_epi32(r->d, _MM_SHUFFLE(2, 1, 0, 3));
    mix_rows(r, _mm512_extracti32x4_epi32(m, 2), _mm512_extracti32x4_epi32(m, 3));
    r->b = _mm_shuffle_epi32(r->b, _MM_SHUFFLE(2, 1, 0, 3));
    r->c = _mm_shuffle_epi32(r->c, _MM_SHUFFLE(1, 0, 3, 2));
    r->d = _mm_shuffle_epi32(r->d, _MM_SHUFFLE(0, 3, 2, 1));
}

/* One register holds the whole message, so that one permute instruction brings the words of a round into order. */
#define ORDER(s)                                                                                                       \
    _mm512_setr_epi32(s[0], s[2], s[4], s[6], s[1], s[3], s[5], s[7], s[8], s[10], s[12], s[14], s[9], s[11], s[13],   \
                      s[15])
#define ROUND(i) mix_round_rows(&r, _mm512_permutexvar_epi32(ORDER(kith__blake3_schedule[i]), m));

TARGET void kith__blake3_compress_avx512(uint32_t cv[8], const uint8_t *block, uint64_t counter, uint32_t size,
                                         uint32_t flags)
{
    __m512i m = _mm512_loadu_si512(block);
    struct rows r = { _mm_loadu_si128((const void *)cv), _mm_loadu_si128((const void *)(cv + 4)),
                      _mm_loadu_si128((const void *)kith__blake3_iv),
                      _mm_setr_epi32((int)(uint32_t)counter, (int)(uint32_t)(counter >> 32), (int)size, (int)flags) };

    ROUND(0)
    ROUND(1) ROUND(2) ROUND(3) ROUND(4) ROUND(5) ROUND(6) _mm_storeu_si128((void *)cv, _mm_xor_si128(r.a, r.c));
    _mm_storeu_si128((void *)(cv + 4), _mm_xor_si128(r.b, r.d));
}
#else
struct kith_blake3_impl; /* a file needs one declaration */
#endif
