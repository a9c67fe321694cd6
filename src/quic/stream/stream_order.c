#include "quic/stream/stream_order.h"

#include "base/assert.h"
#include "base/list.h"

void kith__stream_order_init(struct kith_stream_order *order, const struct kith_mem *mem)
{
    kith__heap_init(&order->heap, mem);
}

void kith__stream_order_dispose(struct kith_stream_order *order)
{
    kith__heap_dispose(&order->heap);
}

void kith__stream_order_node_init(struct kith_stream_order_node *node, int32_t priority)
{
    kith__heap_node_init(&node->heap_node);
    node->priority = priority;
}

int kith__stream_order_reserve(struct kith_stream_order *order, size_t count)
{
    return kith__heap_reserve(&order->heap, count);
}

void kith__stream_order_add(struct kith_stream_order *order, struct kith_stream_order_node *node)
{
    /* The heap gives the smallest key first, and equal keys in the order of insertion: that is taking turns. */
    int err;

    if (node->heap_node.index != KITH_HEAP_OUT)
        return;
    err = kith__heap_set(&order->heap, &node->heap_node, (uint64_t)((int64_t)INT32_MAX - node->priority));
    KITH_ASSERT(err == 0); /* reserved */
}

void kith__stream_order_remove(struct kith_stream_order *order, struct kith_stream_order_node *node)
{
    kith__heap_remove(&order->heap, &node->heap_node);
}

struct kith_stream_order_node *kith__stream_order_first(const struct kith_stream_order *order)
{
    struct kith_heap_node *first = kith__heap_first(&order->heap);

    return first != NULL ? KITH_CONTAINER(first, struct kith_stream_order_node, heap_node) : NULL;
}

void kith__stream_order_rotate(struct kith_stream_order *order, struct kith_stream_order_node *node)
{
    KITH_ASSERT(node->heap_node.index != KITH_HEAP_OUT);
    if (order->heap.count == 1)
        return;
    kith__stream_order_remove(order, node);
    kith__stream_order_add(order, node);
}

void kith__stream_order_set_priority(struct kith_stream_order *order, struct kith_stream_order_node *node,
                                     int32_t priority)
{
    bool is_queued = node->heap_node.index != KITH_HEAP_OUT;

    if (node->priority == priority)
        return;
    kith__stream_order_remove(order, node);
    node->priority = priority;
    if (is_queued)
        kith__stream_order_add(order, node);
}
