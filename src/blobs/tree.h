/**
 * The one walk over a blob's hash tree that encoder, decoder and validator share (spec/05, 2.3), and the check of what it
 * passes (2.4). Given size and effective ranges, the sequence of parents and leaves is fixed; nothing on the wire tells it.
 */
#ifndef KITH_BLOBS_TREE_H
#define KITH_BLOBS_TREE_H

#include "blobs/chunk_set.h"

enum { KITH_TREE_DEPTH_MAX = 64, KITH_PAIR_SIZE = 64 };

/** One step of the walk. */
struct kith_tree_item {
    bool is_leaf, is_root;
    bool left_wanted, right_wanted; /* parents: whether the walk goes down there */
    uint8_t level;                  /* parents: covers up to 2^(level+1) chunks */
    uint32_t size;                  /* leaves: bytes, at most KITH_GROUP_SIZE; 0 only for the empty blob */
    uint64_t chunk_begin, chunk_end;
    uint64_t offset;     /* leaves: where the bytes lie in the blob */
    uint64_t pair_index; /* parents with level >= KITH_GROUP_LEVEL: place in the pre-order outboard */
};

struct kith_tree_node {
    uint64_t begin, end; /* chunks */
    uint64_t pair_index; /* of this node, if it is a parent of the outboard */
};

/** The walk: by value in its owner; `ranges` is borrowed. */
struct kith_tree_walk {
    const struct kith_chunk_set *ranges; /* effective */
    uint64_t size;
    unsigned depth;
    bool started;
    struct kith_tree_node stack[KITH_TREE_DEPTH_MAX];
};

/** Starts at the root. ranges: the effective ranges for this size (kith__chunk_set_effective); empty: no item comes. */
void kith__tree_walk_init(struct kith_tree_walk *walk, uint64_t size, const struct kith_chunk_set *ranges);
/** The next item in pre-order; false at the end. */
bool kith__tree_walk_next(struct kith_tree_walk *walk, struct kith_tree_item *item);

/** Leaves out what lies below `item`, the parent that came last. */
void kith__tree_walk_skip(struct kith_tree_walk *walk, const struct kith_tree_item *item);

/** Groups of 16 KiB: max(1, ceil(size / 16384)); the outboard has one pair less. */
static inline uint64_t kith__group_count(uint64_t size)
{
    return size == 0 ? 1 : size / KITH_GROUP_SIZE + (size % KITH_GROUP_SIZE != 0);
}
/** Bytes of the pre-order outboard: pairs of 64 bytes, no size prefix. */
static inline uint64_t kith__outboard_size(uint64_t size)
{
    return (kith__group_count(size) - 1) * KITH_PAIR_SIZE;
}
/** Bytes of the encoding of `ranges` (effective) with its 8-byte header. */
uint64_t kith__tree_encoded_size(uint64_t size, const struct kith_chunk_set *ranges);

/** The chaining values that the walk expects next: the root's hash first, then what each checked parent brought. */
struct kith_tree_check {
    unsigned depth;
    uint8_t expected[KITH_TREE_DEPTH_MAX][KITH_HASH_SIZE];
};

void kith__tree_check_init(struct kith_tree_check *check, const struct kith_hash *root);
/** Checks a parent's pair (left cv, right cv) against what is expected. HASH if it differs. */
KITH_MUST_USE int kith__tree_check_parent(struct kith_tree_check *check, const struct kith_tree_item *item,
                                          const uint8_t pair[KITH_PAIR_SIZE]);
/** After a check failed: takes out what was expected of that item; go on with kith__tree_walk_skip if it was a parent. */
void kith__tree_check_drop(struct kith_tree_check *check);
/** Checks a leaf's bytes. HASH if they differ. */
KITH_MUST_USE int kith__tree_check_leaf(struct kith_tree_check *check, const struct kith_tree_item *item,
                                        const uint8_t *bytes);

/**
 * Hashes a blob once, from front to back, into its root hash and its pre-order outboard. Memory: O(log size).
 * The outboard's bytes are the caller's: kith__outboard_size(size) of them (NULL if that is 0).
 */
struct kith_tree_builder {
    uint64_t size, hashed;
    uint8_t *outboard;
    unsigned depth;
    uint8_t stack[KITH_TREE_DEPTH_MAX][KITH_HASH_SIZE];
};
void kith__tree_builder_init(struct kith_tree_builder *builder, uint64_t size, uint8_t *outboard);
/** Takes the next bytes: a multiple of KITH_GROUP_SIZE, except at the end; never more than `size` in all. */
void kith__tree_builder_update(struct kith_tree_builder *builder, const uint8_t *bytes, size_t size);
/** The root hash, after exactly `size` bytes. */
void kith__tree_builder_final(struct kith_tree_builder *builder, struct kith_hash *out);

#endif
