/* The tree of BLAKE3 over the kernels of one implementation. spec/05, 1.2 and 1.3. */
#include "crypto/blake3.h"

#include "base/assert.h"
#include "crypto/blake3_impl.h"
#include "crypto/cpu.h"
#include <string.h>

/**
 * Chunks whose cvs are made in one go before any parent: enough that nearly all parents fill 16 lanes too (256, 128,
 * 64, 32, 16 of them), few enough that the cvs (16 KiB of stack) stay in the first cache. Measured: 256 is 2 % slower.
 */
enum { SPAN_CHUNKS = 512 };

static const struct kith_blake3_impl portable = { "portable", kith__blake3_compress_portable,
                                                  kith__blake3_chunks_portable, kith__blake3_parents_portable };
#if defined(__x86_64__)
static const struct kith_blake3_impl sse41 = { "sse41", kith__blake3_compress_portable, kith__blake3_chunks_sse41,
                                               kith__blake3_parents_sse41 };
static const struct kith_blake3_impl avx2 = { "avx2", kith__blake3_compress_portable, kith__blake3_chunks_avx2,
                                              kith__blake3_parents_avx2 };
static const struct kith_blake3_impl avx512 = { "avx512", kith__blake3_compress_portable, kith__blake3_chunks_avx512,
                                                kith__blake3_parents_avx512 };
static const struct kith_blake3_impl *const impls[] = { &portable, &sse41, &avx2, &avx512 };
#elif defined(__ARM_NEON) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static const struct kith_blake3_impl neon = { "neon", kith__blake3_compress_portable, kith__blake3_chunks_neon,
                                              kith__blake3_parents_neon };
static const struct kith_blake3_impl *const impls[] = { &portable, &neon };
#else
static const struct kith_blake3_impl *const impls[] = { &portable };
#endif

/** The place in impls for a level; on x86 the levels are the places. */
static size_t impl_index(enum kith_cpu_level level)
{
    return KITH_COUNT(impls) == 2 ? kith__cpu()->has_neon : KITH_MIN((size_t)level, KITH_COUNT(impls) - 1);
}

const struct kith_blake3_impl *const *kith__blake3_impls(size_t *count)
{
    *count = KITH_COUNT(impls) == 2 ? 2 : impl_index(kith__cpu()->detected) + 1;
    return impls;
}

static const struct kith_blake3_impl *impl_get(void)
{
    return impls[impl_index(kith__cpu()->level)];
}

const char *kith__blake3_name(void)
{
    return impl_get()->name;
}

/** One chunk of 0..1024 bytes. root: KITH_BLAKE3_ROOT or 0, for its last block. */
static void chunk_cv(const struct kith_blake3_impl *impl, const uint32_t *key, uint32_t flags, const uint8_t *bytes,
                     size_t size, uint64_t counter, uint32_t root, uint8_t *out)
{
    uint32_t cv[8], start = KITH_BLAKE3_CHUNK_START;
    uint8_t last[KITH_BLAKE3_BLOCK_SIZE] = { 0 };

    memcpy(cv, key, sizeof cv);
    for (; size > KITH_BLAKE3_BLOCK_SIZE; start = 0) {
        impl->compress(cv, bytes, counter, KITH_BLAKE3_BLOCK_SIZE, flags | start);
        bytes += KITH_BLAKE3_BLOCK_SIZE;
        size -= KITH_BLAKE3_BLOCK_SIZE;
    }
    if (size > 0)
        memcpy(last, bytes, size);
    impl->compress(cv, last, counter, (uint32_t)size, flags | start | KITH_BLAKE3_CHUNK_END | root);
    kith__blake3_store_cv(cv, out);
}

/** out may equal left or right. */
static void parent_cv(const struct kith_blake3_impl *impl, const uint32_t *key, uint32_t flags, const uint8_t *left,
                      const uint8_t *right, bool is_root, uint8_t *out)
{
    uint32_t cv[8];
    uint8_t block[KITH_BLAKE3_BLOCK_SIZE];

    memcpy(cv, key, sizeof cv);
    memcpy(block, left, KITH_BLAKE3_CV_SIZE);
    memcpy(block + KITH_BLAKE3_CV_SIZE, right, KITH_BLAKE3_CV_SIZE);
    impl->compress(cv, block, 0, sizeof block, flags | KITH_BLAKE3_PARENT | (is_root ? KITH_BLAKE3_ROOT : 0u));
    kith__blake3_store_cv(cv, out);
}

/**
 * From `count` cvs that lie side by side to `goal`, level by level in place. A last one without a partner goes up as it
 * is: that is the same tree as "the left side takes the largest power of two".
 */
static void cvs_reduce(const struct kith_blake3_impl *impl, const uint32_t *key, uint32_t flags, uint8_t *cvs,
                       size_t count, size_t goal)
{
    while (count > goal) {
        size_t pairs = count / 2;

        impl->parents(key, flags, cvs, pairs, cvs);
        if (count % 2 != 0)
            memmove(cvs + pairs * KITH_BLAKE3_CV_SIZE, cvs + (count - 1) * KITH_BLAKE3_CV_SIZE, KITH_BLAKE3_CV_SIZE);
        count = pairs + count % 2;
    }
}

/** Chunks in size > 0 bytes. */
static uint64_t chunks_in(size_t size)
{
    return (size - 1) / KITH_BLAKE3_CHUNK_SIZE + 1;
}

/** The largest power of two that is at most count > 0. */
static uint64_t power_below(uint64_t count)
{
    return UINT64_C(1) << (63 - __builtin_clzll(count));
}

/** A subtree of 2 .. SPAN_CHUNKS chunks. */
static void span_cv(const struct kith_blake3_impl *impl, const uint32_t *key, uint32_t flags, uint64_t start_chunk,
                    const uint8_t *bytes, size_t size, bool is_root, uint8_t *out)
{
    uint8_t cvs[SPAN_CHUNKS * KITH_BLAKE3_CV_SIZE];
    size_t whole = size / KITH_BLAKE3_CHUNK_SIZE, rest = size % KITH_BLAKE3_CHUNK_SIZE;

    impl->chunks(key, flags, bytes, start_chunk, whole, cvs);
    if (rest > 0)
        chunk_cv(impl, key, flags, bytes + whole * KITH_BLAKE3_CHUNK_SIZE, rest, start_chunk + whole, 0,
                 cvs + whole * KITH_BLAKE3_CV_SIZE);
    cvs_reduce(impl, key, flags, cvs, whole + (rest > 0), 2);
    parent_cv(impl, key, flags, cvs, cvs + KITH_BLAKE3_CV_SIZE, is_root, out);
}

void kith__blake3_subtree_with(const struct kith_blake3_impl *impl, const uint32_t *key, uint32_t flags,
                               uint64_t start_chunk, const uint8_t *bytes, size_t size, bool is_root, uint8_t *out)
{
    uint8_t left[KITH_BLAKE3_CV_SIZE], right[KITH_BLAKE3_CV_SIZE];
    uint64_t left_chunks;
    size_t left_size;

    if (size <= KITH_BLAKE3_CHUNK_SIZE) {
        chunk_cv(impl, key, flags, bytes, size, start_chunk, is_root ? KITH_BLAKE3_ROOT : 0u, out);
        return;
    }
    if (size <= SPAN_CHUNKS * KITH_BLAKE3_CHUNK_SIZE) {
        span_cv(impl, key, flags, start_chunk, bytes, size, is_root, out);
        return;
    }
    left_chunks = power_below(chunks_in(size) - 1);
    left_size = (size_t)left_chunks * KITH_BLAKE3_CHUNK_SIZE;
    /* At most 54 deep: each step halves the width. */
    kith__blake3_subtree_with(impl, key, flags, start_chunk, bytes, left_size, false, left);
    kith__blake3_subtree_with(impl, key, flags, start_chunk + left_chunks, bytes + left_size, size - left_size, false,
                              right);
    parent_cv(impl, key, flags, left, right, is_root, out);
}

void kith__blake3(const void *bytes, size_t size, uint8_t out[KITH_HASH_SIZE])
{
    kith__blake3_subtree_with(impl_get(), kith__blake3_iv, 0, 0, bytes, size, true, out);
}

/** The words of a key; memory order is little-endian order of the specification. */
static void key_load(const uint8_t *key, uint32_t words[8])
{
    for (int i = 0; i < 8; i++)
        words[i] = kith__blake3_load(key + 4 * i);
}

void kith__blake3_keyed(const uint8_t *key, const void *bytes, size_t size, uint8_t out[KITH_HASH_SIZE])
{
    uint32_t words[8];

    key_load(key, words);
    kith__blake3_subtree_with(impl_get(), words, KITH_BLAKE3_KEYED, 0, bytes, size, true, out);
}

void kith__blake3_derive_key(const char *context, const void *material, size_t size, uint8_t out[KITH_HASH_SIZE])
{
    uint32_t words[8];
    uint8_t key[KITH_HASH_SIZE];

    kith__blake3_subtree_with(impl_get(), kith__blake3_iv, KITH_BLAKE3_DERIVE_KEY_CONTEXT, 0, (const uint8_t *)context,
                              strlen(context), true, key);
    key_load(key, words);
    kith__blake3_subtree_with(impl_get(), words, KITH_BLAKE3_DERIVE_KEY_MATERIAL, 0, material, size, true, out);
}

void kith__blake3_subtree_cv(uint64_t start_chunk, const void *bytes, size_t size, bool is_root,
                             uint8_t out[KITH_BLAKE3_CV_SIZE])
{
    uint64_t chunks = size > 0 ? chunks_in(size) : 1, width = power_below(chunks);

    width = width < chunks ? 2 * width : width;
    KITH_ASSERT(start_chunk % width == 0);
    KITH_ASSERT(start_chunk == 0 || (size > 0 && !is_root));
    kith__blake3_subtree_with(impl_get(), kith__blake3_iv, 0, start_chunk, bytes, size, is_root, out);
}

void kith__blake3_parent_cv(const uint8_t left[KITH_BLAKE3_CV_SIZE], const uint8_t right[KITH_BLAKE3_CV_SIZE],
                            bool is_root, uint8_t out[KITH_BLAKE3_CV_SIZE])
{
    parent_cv(impl_get(), kith__blake3_iv, 0, left, right, is_root, out);
}

void kith__blake3_groups(uint64_t start_chunk, const void *bytes, size_t group_count, uint8_t *out)
{
    enum { SPAN_GROUPS = SPAN_CHUNKS / KITH_BLAKE3_GROUP_CHUNKS };
    const struct kith_blake3_impl *impl = impl_get();
    const uint8_t *at = bytes;
    uint8_t cvs[SPAN_CHUNKS * KITH_BLAKE3_CV_SIZE];

    KITH_ASSERT(start_chunk % KITH_BLAKE3_GROUP_CHUNKS == 0);
    while (group_count > 0) {
        size_t groups = KITH_MIN(group_count, (size_t)SPAN_GROUPS), chunks = groups * KITH_BLAKE3_GROUP_CHUNKS;

        impl->chunks(kith__blake3_iv, 0, at, start_chunk, chunks, cvs);
        cvs_reduce(impl, kith__blake3_iv, 0, cvs, chunks, groups); /* never odd above `groups`: 16 chunks each */
        memcpy(out, cvs, groups * KITH_BLAKE3_CV_SIZE);
        at += groups * KITH_BLAKE3_GROUP_SIZE;
        out += groups * KITH_BLAKE3_CV_SIZE;
        start_chunk += chunks;
        group_count -= groups;
    }
}

void kith__blake3_parents(const uint8_t *pairs, size_t pair_count, uint8_t *out)
{
    impl_get()->parents(kith__blake3_iv, 0, pairs, pair_count, out);
}

static void hasher_init(struct kith_blake3 *hasher, uint32_t flags)
{
    hasher->flags = flags;
    hasher->chunk_count = 0;
    hasher->held_size = 0;
    hasher->stack_count = 0;
}

void kith__blake3_init(struct kith_blake3 *hasher)
{
    memcpy(hasher->key, kith__blake3_iv, sizeof hasher->key);
    hasher_init(hasher, 0);
}

void kith__blake3_init_keyed(struct kith_blake3 *hasher, const uint8_t *key)
{
    key_load(key, hasher->key);
    hasher_init(hasher, KITH_BLAKE3_KEYED);
}

/**
 * Adds the cv of the next `width` chunks, a power of two that divides chunk_count, and joins finished subtrees. More
 * bytes are known to follow, so that no node joined here can be the root.
 */
static void push(struct kith_blake3 *hasher, const struct kith_blake3_impl *impl, uint8_t cv[KITH_BLAKE3_CV_SIZE],
                 uint64_t width)
{
    hasher->chunk_count += width;
    for (uint64_t count = hasher->chunk_count / width; count % 2 == 0; count /= 2) {
        KITH_ASSERT(hasher->stack_count > 0);
        parent_cv(impl, hasher->key, hasher->flags, hasher->stack[--hasher->stack_count], cv, false, cv);
    }
    KITH_ASSERT(hasher->stack_count < KITH_BLAKE3_DEPTH_MAX);
    memcpy(hasher->stack[hasher->stack_count++], cv, KITH_BLAKE3_CV_SIZE);
}

/** Takes the largest subtree that starts here and leaves at least one byte; size > one chunk. Returns its bytes. */
static size_t take_subtree(struct kith_blake3 *hasher, const struct kith_blake3_impl *impl, const uint8_t *bytes,
                           size_t size)
{
    uint64_t width = power_below((size - 1) / KITH_BLAKE3_CHUNK_SIZE);
    uint8_t cv[KITH_BLAKE3_CV_SIZE];

    if (hasher->chunk_count > 0)
        width = KITH_MIN(width, hasher->chunk_count & (~hasher->chunk_count + 1));
    kith__blake3_subtree_with(impl, hasher->key, hasher->flags, hasher->chunk_count, bytes,
                              (size_t)width * KITH_BLAKE3_CHUNK_SIZE, false, cv);
    push(hasher, impl, cv, width);
    return (size_t)width * KITH_BLAKE3_CHUNK_SIZE;
}

void kith__blake3_update(struct kith_blake3 *hasher, const void *bytes, size_t size)
{
    const struct kith_blake3_impl *impl = impl_get();
    const uint8_t *at = bytes;
    uint8_t cv[KITH_BLAKE3_CV_SIZE];

    while (size > 0) {
        size_t taken;

        if (hasher->held_size == KITH_BLAKE3_CHUNK_SIZE) { /* it was not the end */
            chunk_cv(impl, hasher->key, hasher->flags, hasher->held, KITH_BLAKE3_CHUNK_SIZE, hasher->chunk_count, 0,
                     cv);
            push(hasher, impl, cv, 1);
            hasher->held_size = 0;
        }
        if (hasher->held_size == 0 && size > KITH_BLAKE3_CHUNK_SIZE) {
            taken = take_subtree(hasher, impl, at, size);
        } else {
            taken = KITH_MIN(size, KITH_BLAKE3_CHUNK_SIZE - hasher->held_size);
            memcpy(hasher->held + hasher->held_size, at, taken);
            hasher->held_size += taken;
        }
        at += taken;
        size -= taken;
    }
}

void kith__blake3_final(const struct kith_blake3 *hasher, uint8_t out[KITH_HASH_SIZE])
{
    const struct kith_blake3_impl *impl = impl_get();
    uint8_t cv[KITH_BLAKE3_CV_SIZE];

    chunk_cv(impl, hasher->key, hasher->flags, hasher->held, hasher->held_size, hasher->chunk_count,
             hasher->stack_count == 0 ? KITH_BLAKE3_ROOT : 0u, cv);
    for (size_t i = hasher->stack_count; i-- > 0;)
        parent_cv(impl, hasher->key, hasher->flags, hasher->stack[i], cv, i == 0, cv);
    memcpy(out, cv, KITH_HASH_SIZE);
}
