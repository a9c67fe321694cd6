/* BLAKE3, 16 lanes with AVX-512 F and VL, which has a rotate instruction and 32 registers. */
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES           16
#define TARGET          __attribute__((target("avx512f,avx512vl")))
#define CHUNKS          kith__blake3_chunks_avx512
#define PARENTS         kith__blake3_parents_avx512
#define CHUNKS_REST     kith__blake3_chunks_avx512_8
#define PARENTS_REST    kith__blake3_parents_avx512_8
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
#include "crypto/blake3_lanes.inc"

/** 16 bytes of each of rows i, i + 4, i + 8, i + 12 side by side. Inserts from memory cost no shuffle. */
LANES_INLINE vec load_part(const struct rows *rows, size_t i, size_t at)
{
    vec x = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(row(rows, i) + at)));

    x = _mm512_inserti32x4(x, _mm_loadu_si128((const void *)(row(rows, i + 4) + at)), 1);
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const void *)(row(rows, i + 8) + at)), 2);
    return _mm512_inserti32x4(x, _mm_loadu_si128((const void *)(row(rows, i + 12) + at)), 3);
}
#else
struct kith_blake3_impl; /* a file needs one declaration */
#endif
