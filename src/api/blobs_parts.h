/** What the files behind kith/blobs.h share. All inside the lock of the context. */
#ifndef KITH_API_BLOBS_PARTS_H
#define KITH_API_BLOBS_PARTS_H

#include "api/objects.h"
#include "blobs/catalog.h"
#include <kith/blobs.h>

enum {
    KITH_BLOBS_REQUESTS_MAX = 1024, /* default of requests_max */
    KITH_BLOBS_EVENTS_MAX = 1024,
    KITH_BLOBS_SLICE_SIZE = 512 << 10,   /* answer bytes made for one request in one turn */
    KITH_BLOBS_ADD_SLICE_SIZE = 4 << 20, /* bytes hashed in one turn */
    KITH_BLOBS_REQUEST_LIMIT_S = 30,     /* a request must have ended by then (spec/05, 3.7) */
    KITH_BLOBS_STALL_LIMIT_S =
        60, /* default of both stall limits: of an answer nobody takes, and of one that does not come */
    KITH_BLOBS_STALL_LOOKS = 4 /* how often within a stall limit it is looked whether anything moved */
};

struct kith_blobs {
    struct kith_context *context;
    struct kith_endpoint *endpoint;
    struct kith_catalog catalog;
    uint32_t request_count, requests_max;
    uint64_t request_limit_ns, stall_limit_ns;
    uint64_t stalled_count; /* requests that the stall limit ended */
    uint64_t next_connection, next_request;
    struct kith_list conns; /* serving */
    struct kith_list adds;  /* operations under way */
    /* Events that wait; api/blobs_events.c. */
    struct kith_list events, event_ops;
    size_t event_count;
    uint64_t events_dropped;
};

/** One event in the queue. */
struct kith_blobs_queued {
    struct kith_list node;
    struct kith_blobs_event event;
};

/** Queues a copy. A progress event replaces the one of the same request that waits. Without room or memory: dropped, counted. */
void kith__blobs_emit(struct kith_blobs *blobs, const struct kith_blobs_event *event);
/** Empties the queue; ends the operations that wait for it. */
void kith__blobs_events_dispose(struct kith_blobs *blobs);

/** Watches whether anything moves: a mark that only grows while it does. By value in its owner. */
struct kith_stall {
    uint64_t limit_ns, mark, since_ns; /* since: when the mark was last seen to change */
};
/** From now on; limit_ns 0: the default. */
static inline void kith__stall_begin(struct kith_stall *stall, uint64_t limit_ns, uint64_t now_ns)
{
    *stall = (struct kith_stall) { limit_ns != 0 ? limit_ns : KITH_BLOBS_STALL_LIMIT_S * KITH_NS_PER_S, 0, now_ns };
}
/** Takes a look. True: the mark has not changed for the limit. */
static inline bool kith__stall_look(struct kith_stall *stall, uint64_t mark, uint64_t now_ns)
{
    if (mark != stall->mark) {
        stall->mark = mark;
        stall->since_ns = now_ns;
    }
    return stall->limit_ns != KITH_WAIT && now_ns - stall->since_ns >= stall->limit_ns;
}
/** When to look again; KITH_NEVER without a limit. */
static inline uint64_t kith__stall_next(const struct kith_stall *stall, uint64_t now_ns)
{
    uint64_t step = stall->limit_ns / KITH_BLOBS_STALL_LOOKS + 1;

    return stall->limit_ns == KITH_WAIT || step > KITH_NEVER - now_ns ? KITH_NEVER : now_ns + step;
}

/** First member of the state of every operation of blobs. */
struct kith_blobs_work {
    struct kith_op *op;
    struct kith_job job;
    const struct kith_blobs_progress *progress;
};
/** The dispose functions of the two kinds of operations: they tell whose state it is. */
void kith__blobs_add_dispose(struct kith_op *op);
void kith__blobs_get_dispose(struct kith_op *op);
/** The provider goes: the operation ends. */
void kith__blobs_add_abort(struct kith_list *node);

#endif
