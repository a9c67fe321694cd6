/* BLAKE3, 4 lanes with NEON, by the vector extension of the compilers: it picks the instructions. */
#if defined(__ARM_NEON) && defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <stdint.h>
#include <string.h>

typedef uint32_t vec __attribute__((vector_size(16))); /* the extension has no other way to name a vector */
typedef uint64_t pair __attribute__((vector_size(16)));

#define LANES 4
#define TARGET
#define CHUNKS       kith__blake3_chunks_neon
#define PARENTS      kith__blake3_parents_neon
#define CHUNKS_REST  kith__blake3_chunks_portable
#define PARENTS_REST kith__blake3_parents_portable

static inline vec vec_set1(uint32_t x)
{
    return (vec) { x, x, x, x };
}
static inline vec vec_load(const void *bytes)
{
    vec x;

    memcpy(&x, bytes, sizeof x);
    return x;
}
static inline void vec_store(void *bytes, vec x)
{
    memcpy(bytes, &x, sizeof x);
}
#define vec_add(a, b)  ((a) + (b))
#define vec_xor(a, b)  ((a) ^ (b))
#define ROTATE(x, n)   ((x) >> (n) | (x) << (32 - (n)))
#define vec_rot16(x)   ROTATE(x, 16)
#define vec_rot12(x)   ROTATE(x, 12)
#define vec_rot8(x)    ROTATE(x, 8)
#define vec_rot7(x)    ROTATE(x, 7)
#define vec_lo32(a, b) ((vec) { (a)[0], (b)[0], (a)[1], (b)[1] })
#define vec_hi32(a, b) ((vec) { (a)[2], (b)[2], (a)[3], (b)[3] })
#define vec_lo64(a, b) ((vec)(pair) { ((pair)(a))[0], ((pair)(b))[0] })
#define vec_hi64(a, b) ((vec)(pair) { ((pair)(a))[1], ((pair)(b))[1] })
#include "crypto/blake3_lanes.inc"

LANES_INLINE vec load_part(const struct rows *rows, size_t i, size_t at)
{
    return vec_load(row(rows, i) + at);
}
#else
struct kith_blake3_impl; /* a file needs one declaration */
#endif
