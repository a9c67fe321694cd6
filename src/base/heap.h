/** Intrusive binary min-heap of deadlines; equal deadlines leave in the order they were inserted (determinism). */
#ifndef KITH_BASE_HEAP_H
#define KITH_BASE_HEAP_H

#include <kith/types.h>

struct kith_heap_node {
    uint64_t key;   /* smallest leaves first */
    uint64_t order; /* set on insertion: ties leave first-in first-out */
    size_t index;   /* position in the heap; KITH_HEAP_OUT when in none */
};
#define KITH_HEAP_OUT SIZE_MAX

struct kith_heap {
    struct kith_heap_node **nodes;
    size_t count, cap;
    uint64_t next_order;
    const struct kith_mem *mem;
};

void kith__heap_init(struct kith_heap *heap, const struct kith_mem *mem);
void kith__heap_node_init(struct kith_heap_node *node);
/** Frees the array; nodes stay the caller's. */
void kith__heap_dispose(struct kith_heap *heap);
/** Makes sure that `count` nodes fit, so that later insertions cannot fail. KITH_ERR_NOMEM. */
int kith__heap_reserve(struct kith_heap *heap, size_t count);
/**
 * Inserts, or moves a node that is inside already, to `key`: it then counts as inserted now, behind others of that key,
 * unless it had this key before. KITH_ERR_NOMEM only for a new node without reserve.
 */
int kith__heap_set(struct kith_heap *heap, struct kith_heap_node *node, uint64_t key);
/** Takes a node out; fine when it is in none. */
void kith__heap_remove(struct kith_heap *heap, struct kith_heap_node *node);
/** The node with the smallest key, or NULL. */
struct kith_heap_node *kith__heap_first(const struct kith_heap *heap);

#endif
