/* BLAKE3, 4 lanes with SSE4.1 (SSSE3 would do: byte shuffles rotate by 16 and 8). */
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES           4
#define TARGET          __attribute__((target("sse4.1")))
#define CHUNKS          kith__blake3_chunks_sse41
#define PARENTS         kith__blake3_parents_sse41
#define CHUNKS_REST     kith__blake3_chunks_portable
#define PARENTS_REST    kith__blake3_parents_portable
#define vec             __m128i
#define vec_set1(x)     _mm_set1_epi32((int)(x))
#define vec_load(p)     _mm_loadu_si128((const void *)(p))
#define vec_store(p, x) _mm_storeu_si128((void *)(p), x)
#define vec_add(a, b)   _mm_add_epi32(a, b)
#define vec_xor(a, b)   _mm_xor_si128(a, b)
#define vec_rot16(x)    _mm_shuffle_epi8(x, _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2))
#define vec_rot8(x)     _mm_shuffle_epi8(x, _mm_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1))
#define vec_rot12(x)    _mm_or_si128(_mm_srli_epi32(x, 12), _mm_slli_epi32(x, 20))
#define vec_rot7(x)     _mm_or_si128(_mm_srli_epi32(x, 7), _mm_slli_epi32(x, 25))
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
