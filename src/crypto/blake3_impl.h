/**
 * What an instruction set must bring to hash with BLAKE3: three kernels. Everything about trees is in blake3.c. Shared
 * by the blake3_*.c files, the tests and the benchmark only. Source: spec/05, 1.1 and 1.2.
 */
#ifndef KITH_CRYPTO_BLAKE3_IMPL_H
#define KITH_CRYPTO_BLAKE3_IMPL_H

#include "crypto/blake3.h"

enum {
    KITH_BLAKE3_CHUNK_START = 1,
    KITH_BLAKE3_CHUNK_END = 2,
    KITH_BLAKE3_PARENT = 4,
    KITH_BLAKE3_ROOT = 8,
    KITH_BLAKE3_KEYED = 16,
    KITH_BLAKE3_DERIVE_KEY_CONTEXT = 32,
    KITH_BLAKE3_DERIVE_KEY_MATERIAL = 64,
    KITH_BLAKE3_ROUNDS = 7,
    KITH_BLAKE3_CHUNK_BLOCKS = KITH_BLAKE3_CHUNK_SIZE / KITH_BLAKE3_BLOCK_SIZE
};

/** The initial value. */
static const uint32_t kith__blake3_iv[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

/** Which message word each step of each round takes: the permutation of the specification, applied 0 to 6 times. */
static const uint8_t kith__blake3_schedule[KITH_BLAKE3_ROUNDS][16] = {
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 }, { 2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8 },
    { 3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1 }, { 10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6 },
    { 12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4 }, { 9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7 },
    { 11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13 },
};

/**
 * One implementation. `key` is the initial value or the key of keyed mode; `flags` are added to every compression.
 * Pointers need no alignment.
 */
struct kith_blake3_impl {
    const char *name;
    /** One compression; cv in and out. size: bytes of the block that count, 0..64; all 64 are read, the rest is 0. */
    void (*compress)(uint32_t cv[8], const uint8_t *block, uint64_t counter, uint32_t size, uint32_t flags);
    /** The cvs of count whole chunks that follow each other; the first is number `counter`. count * 32 bytes at out. */
    void (*chunks)(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter, size_t count,
                   uint8_t *out);
    /** The cvs of count parents: count * 64 bytes at pairs, count * 32 bytes at out, which may equal pairs. */
    void (*parents)(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count, uint8_t *out);
};

/** The implementations of this build, best last, portable first, only those that the CPU can run; *count of them. */
const struct kith_blake3_impl *const *kith__blake3_impls(size_t *count);

/** All bytes as one subtree with a given implementation: what kith__blake3_subtree_cv does with the chosen one. */
void kith__blake3_subtree_with(const struct kith_blake3_impl *impl, const uint32_t *key, uint32_t flags,
                               uint64_t start_chunk, const uint8_t *bytes, size_t size, bool is_root, uint8_t *out);

void kith__blake3_compress_portable(uint32_t cv[8], const uint8_t *block, uint64_t counter, uint32_t size,
                                    uint32_t flags);
void kith__blake3_chunks_portable(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter,
                                  size_t count, uint8_t *out);
void kith__blake3_parents_portable(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count,
                                   uint8_t *out);
#if defined(__x86_64__)
void kith__blake3_chunks_sse41(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter,
                               size_t count, uint8_t *out);
void kith__blake3_parents_sse41(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count, uint8_t *out);
void kith__blake3_chunks_avx2(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter, size_t count,
                              uint8_t *out);
void kith__blake3_parents_avx2(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count, uint8_t *out);
void kith__blake3_chunks_avx512_4(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter,
                                  size_t count, uint8_t *out);
void kith__blake3_parents_avx512_4(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count,
                                   uint8_t *out);
void kith__blake3_chunks_avx512_8(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter,
                                  size_t count, uint8_t *out);
void kith__blake3_parents_avx512_8(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count,
                                   uint8_t *out);
void kith__blake3_chunks_avx512(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter,
                                size_t count, uint8_t *out);
void kith__blake3_parents_avx512(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count, uint8_t *out);
#endif
#if defined(__ARM_NEON)
void kith__blake3_chunks_neon(const uint32_t *key, uint32_t flags, const uint8_t *bytes, uint64_t counter, size_t count,
                              uint8_t *out);
void kith__blake3_parents_neon(const uint32_t *key, uint32_t flags, const uint8_t *pairs, size_t count, uint8_t *out);
#endif

/** Words and bytes, little-endian whatever the machine is. */
static inline uint32_t kith__blake3_load(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}
static inline void kith__blake3_store_cv(const uint32_t cv[8], uint8_t *out)
{
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = (uint8_t)(cv[i] >> 8 * j);
}

#endif
