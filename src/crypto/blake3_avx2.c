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
#include "crypto/blake3_lanes.h"

/** Words 8 * half .. 8 * half + 7. Each quad leaves words i and i + 4 of its four rows in the parts of one vector. */
LANES_INLINE void load_half(const uint8_t *const *row, size_t offset, vec *m)
{
    vec a[4], b[4];

    transpose_quad(vec_load(row[0] + offset), vec_load(row[1] + offset), vec_load(row[2] + offset),
                   vec_load(row[3] + offset), a);
    transpose_quad(vec_load(row[4] + offset), vec_load(row[5] + offset), vec_load(row[6] + offset),
                   vec_load(row[7] + offset), b);
    for (int i = 0; i < 4; i++) {
        m[i] = _mm256_permute2x128_si256(a[i], b[i], 0x20);
        m[4 + i] = _mm256_permute2x128_si256(a[i], b[i], 0x31);
    }
}

LANES_INLINE void load_message(const uint8_t *const *row, size_t offset, vec *m)
{
    load_half(row, offset, m);
    load_half(row, offset + 32, m + 8);
}
#else
struct kith_blake3_impl; /* a file needs one declaration */
#endif
