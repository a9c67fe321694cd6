/* BLAKE3, 8 lanes with AVX2. */
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES                8
#define TARGET               __attribute__((target("avx2")))
#define CHUNKS               kith__blake3_chunks_avx2
#define PARENTS              kith__blake3_parents_avx2
#define CHUNKS_REST          kith__blake3_chunks_sse41
#define PARENTS_REST         kith__blake3_parents_sse41
#define vec                  __m256i
#define vec_set1(x)          _mm256_set1_epi32((int)(x))
#define vec_load(p)          _mm256_loadu_si256((const void *)(p))
#define vec_store(p, x)      _mm256_storeu_si256((void *)(p), x)
#define vec_add(a, b)        _mm256_add_epi32(a, b)
#define vec_xor(a, b)        _mm256_xor_si256(a, b)
#define ROTATE_BYTES(x, ...) _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(_mm_set_epi8(__VA_ARGS__)))
#define vec_rot16(x)         ROTATE_BYTES(x, 13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2)
#define vec_rot8(x)          ROTATE_BYTES(x, 12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1)
#define vec_rot12(x)         _mm256_or_si256(_mm256_srli_epi32(x, 12), _mm256_slli_epi32(x, 20))
#define vec_rot7(x)          _mm256_or_si256(_mm256_srli_epi32(x, 7), _mm256_slli_epi32(x, 25))
#define vec_lo32(a, b)       _mm256_unpacklo_epi32(a, b)
#define vec_hi32(a, b)       _mm256_unpackhi_epi32(a, b)
#define vec_lo64(a, b)       _mm256_unpacklo_epi64(a, b)
#define vec_hi64(a, b)       _mm256_unpackhi_epi64(a, b)
#include "crypto/blake3_lanes.inc"

/** 16 bytes of rows i and i + 4 side by side. An insert from memory costs no shuffle. */
LANES_INLINE vec load_part(const struct rows *rows, size_t i, size_t at)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)(row(rows, i) + at))),
                                   _mm_loadu_si128((const void *)(row(rows, i + 4) + at)), 1);
}
#else
struct kith_blake3_impl; /* a file needs one declaration */
#endif
