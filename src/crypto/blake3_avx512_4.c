/* BLAKE3, 4 lanes with the rotate instruction and the 32 registers of AVX-512 VL: for what does not fill 16 lanes. */
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES           4
#define LANES_MIN       2
#define TARGET          __attribute__((target("avx512f,avx512vl")))
#define CHUNKS          kith__blake3_chunks_avx512_4
#define PARENTS         kith__blake3_parents_avx512_4
#define CHUNKS_REST     kith__blake3_chunks_portable
#define PARENTS_REST    kith__blake3_parents_portable
#define vec             __m128i
#define vec_set1(x)     _mm_set1_epi32((int)(x))
#define vec_load(p)     _mm_loadu_si128((const void *)(p))
#define vec_store(p, x) _mm_storeu_si128((void *)(p), x)
#define vec_add(a, b)   _mm_add_epi32(a, b)
#define vec_xor(a, b)   _mm_xor_si128(a, b)
#define vec_rot16(x)    _mm_ror_epi32(x, 16)
#define vec_rot8(x)     _mm_ror_epi32(x, 8)
#define vec_rot12(x)    _mm_ror_epi32(x, 12)
#define vec_rot7(x)     _mm_ror_epi32(x, 7)
#define vec_lo32(a, b)  _mm_unpacklo_epi32(a, b)
#define vec_hi32(a, b)  _mm_unpackhi_epi32(a, b)
#define vec_lo64(a, b)  _mm_unpacklo_epi64(a, b)
#define vec_hi64(a, b)  _mm_unpackhi_epi64(a, b)
#include "crypto/blake3_lanes.inc"

LANES_INLINE vec load_part(const struct rows *rows, size_t i, size_t at)
{
    return vec_load(row(rows, i) + at);
}
#else
struct kith_blake3_impl; /* a file needs one declaration */
#endif
