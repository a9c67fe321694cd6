#include "base/heap.h"

#include "base/assert.h"
#include "base/mem.h"

enum { CAP_MIN = 8 };

void kith__heap_init(struct kith_heap *heap, const struct kith_mem *mem)
{
    *heap = (struct kith_heap) { .mem = mem };
}

void kith__heap_node_init(struct kith_heap_node *node)
{
    *node = (struct kith_heap_node) { .index = KITH_HEAP_OUT };
}

void kith__heap_dispose(struct kith_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++)
        heap->nodes[i]->index = KITH_HEAP_OUT;
    kith__free(heap->mem, heap->nodes);
    *heap = (struct kith_heap) { .mem = heap->mem };
}

int kith__heap_reserve(struct kith_heap *heap, size_t count)
{
    struct kith_heap_node **nodes;
    size_t cap;

    if (count <= heap->cap)
        return 0;
    if (count > SIZE_MAX / 4 / sizeof(struct kith_heap_node *))
        return KITH_ERR_NOMEM;
    cap = KITH_MAX(KITH_MAX(heap->cap * 2, (size_t)CAP_MIN), count);
    nodes = kith__realloc(heap->mem, heap->nodes, cap * sizeof(struct kith_heap_node *));
    if (nodes == NULL)
        return KITH_ERR_NOMEM;
    heap->nodes = nodes;
    heap->cap = cap;
    return 0;
}

static bool leaves_before(const struct kith_heap_node *a, const struct kith_heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

static void put_at(struct kith_heap *heap, size_t index, struct kith_heap_node *node)
{
    heap->nodes[index] = node;
    node->index = index;
}

/** Moves the node up or down from `index` to where it belongs. The slot at `index` is free. */
static void settle(struct kith_heap *heap, size_t index, struct kith_heap_node *node)
{
    while (index > 0 && leaves_before(node, heap->nodes[(index - 1) / 2])) {
        put_at(heap, index, heap->nodes[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * index + 1;

        if (child + 1 < heap->count && leaves_before(heap->nodes[child + 1], heap->nodes[child]))
            child++;
        if (child >= heap->count || leaves_before(node, heap->nodes[child]))
            break;
        put_at(heap, index, heap->nodes[child]);
        index = child;
    }
    put_at(heap, index, node);
}

int kith__heap_set(struct kith_heap *heap, struct kith_heap_node *node, uint64_t key)
{
    int err;

    if (node->index != KITH_HEAP_OUT && node->key == key)
        return 0;
    if (node->index == KITH_HEAP_OUT) {
        if ((err = kith__heap_reserve(heap, heap->count + 1)) != 0)
            return err;
        node->index = heap->count;
        heap->nodes[heap->count++] = node;
    }
    KITH_ASSERT(node->index < heap->count && heap->nodes[node->index] == node);
    node->key = key;
    node->order = heap->next_order++;
    settle(heap, node->index, node);
    return 0;
}

void kith__heap_remove(struct kith_heap *heap, struct kith_heap_node *node)
{
    struct kith_heap_node *last;
    size_t index = node->index;

    if (index == KITH_HEAP_OUT)
        return;
    KITH_ASSERT(index < heap->count && heap->nodes[index] == node);
    last = heap->nodes[--heap->count];
    if (last != node)
        settle(heap, index, last);
    node->index = KITH_HEAP_OUT;
}

struct kith_heap_node *kith__heap_first(const struct kith_heap *heap)
{
    return heap->count != 0 ? heap->nodes[0] : NULL;
}
