/**
 * Which stream sends next: the highest priority first; equal ones take turns, one frame each. O(log n).
 * Owner: the set of streams. Source: RFC 9000, 2.3; spec/01, 1.11.
 */
#ifndef KITH_QUIC_STREAM_ORDER_H
#define KITH_QUIC_STREAM_ORDER_H

#include "base/heap.h"

struct kith_stream_order {
    struct kith_heap heap;
};
/** Sits in the stream. */
struct kith_stream_order_node {
    struct kith_heap_node heap_node;
    int32_t priority; /* higher first */
};

void kith__stream_order_init(struct kith_stream_order *order, const struct kith_mem *mem);
void kith__stream_order_dispose(struct kith_stream_order *order);
void kith__stream_order_node_init(struct kith_stream_order_node *node, int32_t priority);
/** Makes room for `count` nodes in all, so that add cannot fail. KITH_ERR_NOMEM. */
KITH_MUST_USE int kith__stream_order_reserve(struct kith_stream_order *order, size_t count);
/** Queues the node behind those of its priority; nothing happens if it is queued already. Room was reserved. */
void kith__stream_order_add(struct kith_stream_order *order, struct kith_stream_order_node *node);
/** Fine for a node that is not queued. */
void kith__stream_order_remove(struct kith_stream_order *order, struct kith_stream_order_node *node);
/** The node whose turn it is, or NULL. */
struct kith_stream_order_node *kith__stream_order_first(const struct kith_stream_order *order);
/** The node had its turn: it goes behind the others of its priority. It is queued. */
void kith__stream_order_rotate(struct kith_stream_order *order, struct kith_stream_order_node *node);
/** Changes the priority; a queued node goes behind those of the new one. */
void kith__stream_order_set_priority(struct kith_stream_order *order, struct kith_stream_order_node *node,
                                     int32_t priority);

#endif
