/**
 * Unreliable datagrams of a connection, one queue for each direction, bounded by bytes. Each item counts with its payload
 * and KITH_DATAGRAM_OVERHEAD, so that empty datagrams cannot fill the memory. What is dropped is counted.
 * Owner: the connection, by value. Source: RFC 9221; spec/01, 1.12.
 */
#ifndef KITH_QUIC_STREAM_DATAGRAM_H
#define KITH_QUIC_STREAM_DATAGRAM_H

#include "base/list.h"
#include <kith/types.h>

enum { KITH_DATAGRAM_OVERHEAD = 48 }; /* what an item costs beside its payload */

struct kith_datagram_queue {
    const struct kith_mem *mem;
    struct kith_list items;
    uint64_t size;     /* payload and overhead of all items: <= size_max */
    uint64_t size_max; /* 0: datagrams are off */
    uint64_t count;
    uint64_t dropped; /* items thrown away because the queue was full */
    bool room_armed;  /* a push found no room: room is news */
};

void kith__datagram_queue_init(struct kith_datagram_queue *queue, const struct kith_mem *mem, uint64_t size_max);
void kith__datagram_queue_dispose(struct kith_datagram_queue *queue);
/**
 * Appends a copy. If it does not fit: with drop_oldest the oldest go and are counted in dropped, else KITH_ERR_AGAIN.
 * KITH_ERR_TOO_LARGE if it would not fit into an empty queue; NOMEM.
 */
KITH_MUST_USE int kith__datagram_queue_push(struct kith_datagram_queue *queue, struct kith_slice bytes,
                                            bool drop_oldest);
/** The oldest one, borrowed until the next call; KITH_ERR_AGAIN if there is none. */
KITH_MUST_USE int kith__datagram_queue_peek(const struct kith_datagram_queue *queue, struct kith_slice *out);
/** Drops the oldest one (it was sent, or read). Returns true if that made room after a push had found none (once). */
bool kith__datagram_queue_pop(struct kith_datagram_queue *queue);
/**
 * Takes in a DATAGRAM frame: like push with drop_oldest. Returns 0, KITH_ERR_NOMEM, or the wire code PROTOCOL_VIOLATION:
 * datagrams are off, or the payload is larger than the whole queue (spec/01, 1.12). *was_empty tells if readiness is news.
 */
KITH_MUST_USE int kith__datagram_queue_on_frame(struct kith_datagram_queue *queue, struct kith_slice bytes,
                                                bool *was_empty);

#endif
