/**
 * What waits to be sent to one client: whole WebSocket messages (a server's, unmasked), control frames ahead of datagrams, and
 * datagrams in lanes, one for each sender, that are served in turns by bytes (deficit round robin): a sender that floods
 * fills its own lane and nothing else. Bounded in bytes and frames; a lane may hold as much as is left of the queue
 * (alone: half of it), so that a newcomer always finds room, and a queue up to a sixteenth of what is left of the memory of all queues.
 *
 * Bytes lie in chunks that never move, so that they can be lent to a write. An outbox exists only while something waits; a
 * pool, one for each server, keeps the account of memory and a few spare chunks: no allocation for each packet.
 */
#ifndef KITH_RELAY_OUTBOX_H
#define KITH_RELAY_OUTBOX_H

#include <kith/types.h>

struct kith_relay_chunk;
struct kith_relay_outbox;

enum {
    KITH_RELAY_OUTPUT_MAX = 64 << 10, /* bytes of one output, so that control frames do not wait behind a large write */
    KITH_RELAY_LANE_QUANTUM = 16 << 10 /* bytes that a lane sends before it is the next one's turn */
};

/** Memory of all outboxes of a server. By value in its owner. */
struct kith_relay_pool {
    const struct kith_mem *mem;
    uint64_t used, max; /* bytes: of chunks in queues, and what others charge; used <= max */
    struct kith_relay_chunk *spare_small, *spare_large;
    struct kith_relay_outbox *spare_boxes;
    uint32_t spare_small_count, spare_large_count, spare_box_count;
};

void kith__relay_pool_init(struct kith_relay_pool *pool, const struct kith_mem *mem, uint64_t max);
void kith__relay_pool_dispose(struct kith_relay_pool *pool);

/** Bounds of one outbox: datagrams in bytes and frames, control frames in bytes. */
struct kith_relay_outbox_limits {
    uint32_t size_max, frames_max, control_size_max;
};

enum kith_relay_push {
    KITH_RELAY_PUSHED,
    KITH_RELAY_PUSH_QUEUE_FULL,  /* bytes or frames of the queue */
    KITH_RELAY_PUSH_QUEUE_SHARE, /* of the sender's lane */
    KITH_RELAY_PUSH_MEMORY       /* of all queues, or the allocator's */
};

/**
 * Queues a datagram message: head and payload one after the other. *box may be NULL: empty. tag: tells senders apart. head: the
 * WebSocket head and the first bytes of the frame, at most 64 bytes. Nothing has changed unless it is PUSHED.
 */
enum kith_relay_push kith__relay_outbox_push(struct kith_relay_outbox **box, struct kith_relay_pool *pool,
                                             const struct kith_relay_outbox_limits *limits, uint64_t tag,
                                             struct kith_slice head, struct kith_slice payload);
/** Queues a control message of at most 512 bytes, ahead of all datagrams that have not begun. */
enum kith_relay_push kith__relay_outbox_push_control(struct kith_relay_outbox **box, struct kith_relay_pool *pool,
                                                     const struct kith_relay_outbox_limits *limits,
                                                     struct kith_slice message);

/**
 * Chooses what is sent next: about `size_max` bytes (whole messages, at least one; all control frames) in up to `cap` slices, whose
 * number it returns. They stay valid until kith__relay_outbox_sent, which must come before the next choice. box may be NULL.
 */
size_t kith__relay_outbox_plan(struct kith_relay_outbox *box, size_t size_max, struct kith_slice *slices, size_t cap);
/** True between _plan (that found something) and _sent. */
bool kith__relay_outbox_is_planned(const struct kith_relay_outbox *box);

/** What left an outbox. */
struct kith_relay_sent {
    uint64_t frames, payload_bytes; /* datagrams */
};

/** The first size bytes of the plan are sent (no more than it had). Frees the outbox when nothing is left: *box is NULL then. */
struct kith_relay_sent kith__relay_outbox_sent(struct kith_relay_outbox **box, struct kith_relay_pool *pool,
                                               size_t size);
/** From now on only what has begun and control frames are sent: the connection is about to be closed. */
void kith__relay_outbox_close(struct kith_relay_outbox *box);
/** Throws everything away, also what is planned. Returns the datagram frames that were not sent whole. *box is NULL afterwards. */
uint64_t kith__relay_outbox_free(struct kith_relay_outbox **box, struct kith_relay_pool *pool);

/** Bytes that wait and will be sent (after _close: without the datagrams that will not be); datagram frames. box may be NULL. */
size_t kith__relay_outbox_size(const struct kith_relay_outbox *box);
size_t kith__relay_outbox_frames(const struct kith_relay_outbox *box);
/** Walks the invariants and asserts them. Returns the bytes charged to the pool. box may be NULL. */
uint64_t kith__relay_outbox_check(const struct kith_relay_outbox *box, const struct kith_relay_outbox_limits *limits);

#endif
