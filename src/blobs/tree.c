/*
 * The walk over the hash tree. A node is a span of chunks; its left child takes the largest power of two of chunks that is
 * smaller than the span, so only nodes at the right edge are incomplete (spec/05, 1.3).
 */
#include "blobs/tree.h"

#include "base/assert.h"
#include "crypto/blake3.h"
#include <string.h>

/* log2 of the smallest power of two >= n, for n >= 1. */
static unsigned log2_ceil(uint64_t n)
{
    return n <= 1 ? 0 : 64u - (unsigned)__builtin_clzll(n - 1);
}

/* For spans of at least two chunks. */
static unsigned node_level(const struct kith_tree_node *node)
{
    return log2_ceil(node->end - node->begin) - 1;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Bytes of the blob inside the span. */
static uint64_t node_size(const struct kith_tree_node *node, uint64_t size)
{
    return min_u64(size, node->end * KITH_CHUNK_SIZE) - min_u64(size, node->begin * KITH_CHUNK_SIZE);
}

static uint64_t groups_of(uint64_t chunks)
{
    return (chunks + KITH_GROUP_CHUNKS - 1) / KITH_GROUP_CHUNKS;
}

static struct kith_tree_node left_child(const struct kith_tree_node *node)
{
    return (struct kith_tree_node) { node->begin, node->begin + ((uint64_t)1 << node_level(node)),
                                     node->pair_index + 1 };
}

/* Pre-order: this pair, then those of the left side (one less than its groups), then the right side. */
static struct kith_tree_node right_child(const struct kith_tree_node *node)
{
    uint64_t left_chunks = (uint64_t)1 << node_level(node);

    return (struct kith_tree_node) { node->begin + left_chunks, node->end, node->pair_index + groups_of(left_chunks) };
}

void kith__tree_walk_init(struct kith_tree_walk *walk, uint64_t size, const struct kith_chunk_set *ranges)
{
    walk->ranges = ranges;
    walk->size = size;
    walk->started = false;
    walk->depth = 0;
    if (!kith__chunk_set_is_empty(ranges))
        walk->stack[walk->depth++] = (struct kith_tree_node) { 0, kith__chunk_count(size), 0 };
}

static void make_leaf(const struct kith_tree_walk *walk, const struct kith_tree_node *node, struct kith_tree_item *item)
{
    item->is_leaf = true;
    item->size = (uint32_t)node_size(node, walk->size);
    item->offset = node->begin * KITH_CHUNK_SIZE;
}

bool kith__tree_walk_next(struct kith_tree_walk *walk, struct kith_tree_item *item)
{
    struct kith_tree_node node, left, right;

    if (walk->depth == 0)
        return false;
    node = walk->stack[--walk->depth];
    *item = (struct kith_tree_item) { .is_root = !walk->started, .chunk_begin = node.begin, .chunk_end = node.end };
    walk->started = true;
    if (node.end - node.begin == 1) {
        make_leaf(walk, &node, item);
        return true;
    }
    item->level = (uint8_t)node_level(&node);
    if (item->level < KITH_GROUP_LEVEL && kith__chunk_set_covers(walk->ranges, node.begin, node.end)) {
        make_leaf(walk, &node, item);
        return true;
    }
    item->pair_index = node.pair_index;
    left = left_child(&node);
    right = right_child(&node);
    item->left_wanted = kith__chunk_set_intersects(walk->ranges, left.begin, left.end);
    item->right_wanted = kith__chunk_set_intersects(walk->ranges, right.begin, right.end);
    KITH_ASSERT(walk->depth + 2 <= KITH_TREE_DEPTH_MAX);
    if (item->right_wanted)
        walk->stack[walk->depth++] = right;
    if (item->left_wanted)
        walk->stack[walk->depth++] = left;
    return true;
}

void kith__tree_walk_skip(struct kith_tree_walk *walk, const struct kith_tree_item *item)
{
    unsigned below = (unsigned)item->left_wanted + (unsigned)item->right_wanted;

    KITH_ASSERT(!item->is_leaf && below <= walk->depth);
    walk->depth -= below;
}

uint64_t kith__tree_encoded_size(uint64_t size, const struct kith_chunk_set *ranges)
{
    struct kith_tree_walk walk;
    struct kith_tree_item item;
    uint64_t total = 8;

    if (kith__chunk_set_is_empty(ranges))
        return 0;
    if (kith__chunk_set_covers(ranges, 0, kith__chunk_count(size)))
        return total + size + kith__outboard_size(size);
    kith__tree_walk_init(&walk, size, ranges);
    while (kith__tree_walk_next(&walk, &item))
        total += item.is_leaf ? item.size : KITH_PAIR_SIZE;
    return total;
}

void kith__tree_check_init(struct kith_tree_check *check, const struct kith_hash *root)
{
    check->depth = 1;
    memcpy(check->expected[0], root->bytes, KITH_HASH_SIZE);
}

int kith__tree_check_parent(struct kith_tree_check *check, const struct kith_tree_item *item,
                            const uint8_t pair[KITH_PAIR_SIZE])
{
    uint8_t cv[KITH_HASH_SIZE];

    KITH_ASSERT(check->depth > 0 && !item->is_leaf);
    kith__blake3_parent_cv(pair, pair + KITH_HASH_SIZE, item->is_root, cv);
    if (memcmp(cv, check->expected[check->depth - 1], sizeof cv) != 0)
        return KITH_ERR_HASH;
    check->depth--;
    KITH_ASSERT(check->depth + 2 <= KITH_TREE_DEPTH_MAX);
    if (item->right_wanted)
        memcpy(check->expected[check->depth++], pair + KITH_HASH_SIZE, KITH_HASH_SIZE);
    if (item->left_wanted)
        memcpy(check->expected[check->depth++], pair, KITH_HASH_SIZE);
    return 0;
}

void kith__tree_check_drop(struct kith_tree_check *check)
{
    KITH_ASSERT(check->depth > 0);
    check->depth--;
}

int kith__tree_check_leaf(struct kith_tree_check *check, const struct kith_tree_item *item, const uint8_t *bytes)
{
    uint8_t cv[KITH_HASH_SIZE];

    KITH_ASSERT(check->depth > 0 && item->is_leaf);
    kith__blake3_subtree_cv(item->chunk_begin, bytes, item->size, item->is_root, cv);
    if (memcmp(cv, check->expected[check->depth - 1], sizeof cv) != 0)
        return KITH_ERR_HASH;
    check->depth--;
    return 0;
}

void kith__tree_builder_init(struct kith_tree_builder *builder, uint64_t size, uint8_t *outboard)
{
    KITH_ASSERT(outboard != NULL || kith__outboard_size(size) == 0);
    builder->size = size;
    builder->hashed = 0;
    builder->outboard = outboard;
    builder->depth = 0;
}

/* The place in the outboard of the parent over groups [begin, end), found by going down from the root. */
static uint64_t pair_index_of(uint64_t size, uint64_t begin, uint64_t end)
{
    struct kith_tree_node node = { 0, kith__chunk_count(size), 0 };
    uint64_t chunk_begin = begin * KITH_GROUP_CHUNKS, chunk_end = min_u64(end * KITH_GROUP_CHUNKS, node.end);

    while (node.begin != chunk_begin || node.end != chunk_end) {
        struct kith_tree_node left = left_child(&node);

        node = chunk_begin < left.end ? left : right_child(&node);
    }
    return node.pair_index;
}

/* Joins the two topmost values, which cover groups [begin, end), into their parent. */
static void builder_join(struct kith_tree_builder *builder, uint64_t begin, uint64_t end)
{
    bool is_root = begin == 0 && end == kith__group_count(builder->size);
    uint8_t *left = builder->stack[builder->depth - 2], *right = builder->stack[builder->depth - 1];
    uint8_t *pair = builder->outboard + pair_index_of(builder->size, begin, end) * KITH_PAIR_SIZE;

    memcpy(pair, left, KITH_HASH_SIZE);
    memcpy(pair + KITH_HASH_SIZE, right, KITH_HASH_SIZE);
    kith__blake3_parent_cv(pair, pair + KITH_HASH_SIZE, is_root, left);
    builder->depth--;
}

/* Puts the value of the next group on the stack. Like carries of a binary counter: each trailing zero of the count is a
 * complete pair of equal subtrees. */
static void builder_push(struct kith_tree_builder *builder, const uint8_t cv[KITH_HASH_SIZE], size_t size)
{
    uint64_t count = builder->hashed / KITH_GROUP_SIZE + 1;

    KITH_ASSERT(builder->depth < KITH_TREE_DEPTH_MAX);
    memcpy(builder->stack[builder->depth++], cv, KITH_HASH_SIZE);
    builder->hashed += size;
    for (uint64_t width = 2; (count & (width - 1)) == 0 && width <= count; width *= 2)
        builder_join(builder, count - width, count);
}

/* One group that is the last, shorter one, or the whole blob. */
static void builder_add_last(struct kith_tree_builder *builder, const uint8_t *bytes, size_t size)
{
    uint8_t cv[KITH_HASH_SIZE];

    kith__blake3_subtree_cv(builder->hashed / KITH_CHUNK_SIZE, bytes, size, kith__group_count(builder->size) == 1, cv);
    builder_push(builder, cv, size);
}

void kith__tree_builder_update(struct kith_tree_builder *builder, const uint8_t *bytes, size_t size)
{
    enum { BATCH = 16 }; /* groups hashed together, so that every lane works */
    uint8_t cvs[BATCH * KITH_HASH_SIZE];

    KITH_ASSERT(size <= builder->size - builder->hashed && builder->hashed % KITH_GROUP_SIZE == 0);
    while (size >= KITH_GROUP_SIZE && kith__group_count(builder->size) > 1) {
        size_t count = size / KITH_GROUP_SIZE < BATCH ? size / KITH_GROUP_SIZE : (size_t)BATCH;

        kith__blake3_groups(builder->hashed / KITH_CHUNK_SIZE, bytes, count, cvs);
        for (size_t i = 0; i < count; i++)
            builder_push(builder, cvs + i * KITH_HASH_SIZE, KITH_GROUP_SIZE);
        bytes += count * KITH_GROUP_SIZE;
        size -= count * KITH_GROUP_SIZE;
    }
    if (size > 0)
        builder_add_last(builder, bytes, size);
}

void kith__tree_builder_final(struct kith_tree_builder *builder, struct kith_hash *out)
{
    uint64_t groups = kith__group_count(builder->size);

    KITH_ASSERT(builder->hashed == builder->size);
    if (builder->size == 0)
        builder_add_last(builder, (const uint8_t *)"", 0);
    /* What is left on the stack are the subtrees of the set bits of the count: join them from the right. */
    for (uint64_t begin = groups; builder->depth > 1;) {
        uint64_t lowest = begin & -begin;

        begin -= lowest;
        builder_join(builder, begin - (begin & -begin), groups);
    }
    memcpy(out->bytes, builder->stack[0], KITH_HASH_SIZE);
}
