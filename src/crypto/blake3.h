/**
 * BLAKE3, hash and keyed hash, with the chaining values of subtrees that verified streaming needs. The instruction set
 * is chosen once a process (src/crypto/cpu.h): portable, SSE4.1, AVX2, AVX-512, NEON. All give the same bytes.
 * No allocation, cannot fail. Pure: any thread at any time; a hasher is used by one thread at a time.
 *
 * A chaining value (cv) names a node of the tree: 32 bytes. The hash of a blob is the cv of its topmost node in root
 * form; every other node has the non-root form, also where its bytes are the same. Source: spec/05, section 1.
 */
#ifndef KITH_CRYPTO_BLAKE3_H
#define KITH_CRYPTO_BLAKE3_H

#include <kith/types.h>

enum {
    KITH_BLAKE3_BLOCK_SIZE = 64,
    KITH_BLAKE3_CHUNK_SIZE = 1024,
    KITH_BLAKE3_KEY_SIZE = 32,
    KITH_BLAKE3_CV_SIZE = 32,
    KITH_BLAKE3_GROUP_CHUNKS = 16, /* a chunk group, the unit of verified streaming; spec/05, 1.4 */
    KITH_BLAKE3_GROUP_SIZE = KITH_BLAKE3_GROUP_CHUNKS * KITH_BLAKE3_CHUNK_SIZE,
    KITH_BLAKE3_DEPTH_MAX = 54 /* levels of a tree over 2^64 bytes */
};

/** An incremental hasher, by value in its owner (about 2.8 KiB); holds a key in keyed mode: wipe it then. */
struct kith_blake3 {
    uint32_t key[8];                      /* the initial value, or the key */
    uint32_t flags;                       /* those of every compression of this mode */
    uint64_t chunk_count;                 /* whole chunks that went into the tree */
    size_t held_size;                     /* bytes in held, 0 .. 1024 */
    uint8_t stack_count;                  /* cvs in the stack: one for each 1 bit of chunk_count */
    uint8_t held[KITH_BLAKE3_CHUNK_SIZE]; /* the last bytes, which may turn out to be the end */
    uint8_t stack[KITH_BLAKE3_DEPTH_MAX][KITH_BLAKE3_CV_SIZE];
};

/** Starts a hash. */
void kith__blake3_init(struct kith_blake3 *hasher);
/** Starts a keyed hash with KITH_BLAKE3_KEY_SIZE bytes at key. */
void kith__blake3_init_keyed(struct kith_blake3 *hasher, const uint8_t *key);
/** Takes the next size bytes (may be 0). Fastest in pieces of 16 KiB and more. */
void kith__blake3_update(struct kith_blake3 *hasher, const void *bytes, size_t size);
/** The hash of all bytes so far. The hasher is unchanged: more bytes may follow. */
void kith__blake3_final(const struct kith_blake3 *hasher, uint8_t out[KITH_HASH_SIZE]);

/** The hash of size bytes in one call: the root cv of a whole blob. */
void kith__blake3(const void *bytes, size_t size, uint8_t out[KITH_HASH_SIZE]);

/**
 * Keyed hash (a message authentication code, a keyed pseudo-random function) with KITH_BLAKE3_KEY_SIZE bytes at
 * key.
 */
void kith__blake3_keyed(const uint8_t *key, const void *bytes, size_t size, uint8_t out[KITH_HASH_SIZE]);

/**
 * Derives a key from size bytes of material: context is a fixed text that names the one use of the key (an application, a
 * purpose), never a value that varies. Wipe the key if the material is secret.
 */
void kith__blake3_derive_key(const char *context, const void *material, size_t size, uint8_t out[KITH_HASH_SIZE]);

/**
 * The cv of the subtree over bytes that begin at chunk start_chunk of a blob. size 0 only with start_chunk 0.
 * start_chunk must be a multiple of the subtree's width, that is the number of its chunks rounded up to a power of two;
 * only the subtree at the right edge of a blob may be shorter than its width. Both are asserted. is_root: the bytes are
 * the whole blob (then start_chunk is 0).
 */
void kith__blake3_subtree_cv(uint64_t start_chunk, const void *bytes, size_t size, bool is_root,
                             uint8_t out[KITH_BLAKE3_CV_SIZE]);

/** The cv of the node above left and right; out may equal either. is_root: it is the topmost node of the blob. */
void kith__blake3_parent_cv(const uint8_t left[KITH_BLAKE3_CV_SIZE], const uint8_t right[KITH_BLAKE3_CV_SIZE],
                            bool is_root, uint8_t out[KITH_BLAKE3_CV_SIZE]);

/**
 * The non-root cvs of group_count whole chunk groups that follow each other from chunk start_chunk (a multiple of 16),
 * so that all lanes work: group_count * KITH_BLAKE3_GROUP_SIZE bytes in, group_count * KITH_BLAKE3_CV_SIZE bytes at
 * out. The fastest way to make an outboard; 16 groups at a time are enough.
 */
void kith__blake3_groups(uint64_t start_chunk, const void *bytes, size_t group_count, uint8_t *out);

/**
 * The non-root cvs of pair_count parents, whose left and right cvs lie one after the other: pair_count * 64 bytes at
 * pairs, pair_count * 32 bytes at out, which may equal pairs.
 */
void kith__blake3_parents(const uint8_t *pairs, size_t pair_count, uint8_t *out);

/** The implementation in use: "portable", "sse41", "avx2", "avx512", "neon". */
const char *kith__blake3_name(void);

#endif
