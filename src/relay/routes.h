/**
 * Who holds a key, and how to reach it: the one thing that the threads of a relay ("workers", each with a server core of its own)
 * have in common. A directory from endpoint ids to the sessions that have them, newest last, and an inbox for each worker. The
 * core sees only the functions below, so that another table (shared by several relays over a message bus) can take its place.
 *
 *   kith__relay_routes_local_new   one worker, no locks, no inbox
 *   kith__relay_routes_shared_new  several: the directory is split in stripes with a lock each, inboxes are bounded in bytes
 *
 * Thread rules: each worker uses its own struct kith_relay_routes. The functions may be called from the worker's thread alone.
 */
#ifndef KITH_RELAY_ROUTES_H
#define KITH_RELAY_ROUTES_H

#include "relay/frames.h"
#include "relay/sync.h"
#include <stdatomic.h>

enum {
    KITH_RELAY_WORKERS_MAX = 64,     /* bits of a set of workers */
    KITH_RELAY_SAME_ID_MAX = 16,     /* sessions of one id; with one more the oldest is closed */
    KITH_RELAY_INBOX_SIZE = 4 << 20, /* default bound of an inbox, in bytes */
    KITH_RELAY_WORKER_NONE = UINT16_MAX
};

/** A session of some worker. The handle is that worker's (kith__relay_session_handle) and never used twice. */
struct kith_relay_place {
    uint64_t handle;
    uint16_t worker; /* KITH_RELAY_WORKER_NONE: nowhere */
};

/** What a worker tells another one. */
enum kith_relay_note_kind {
    KITH_RELAY_NOTE_DATAGRAM, /* deliver to the session `handle` */
    KITH_RELAY_NOTE_GONE,     /* the last session of `id` has ended: tell those to whom it had sent */
    KITH_RELAY_NOTE_GONE_FOR, /* tell the session `handle` that `id` is gone */
    KITH_RELAY_NOTE_STATUS, /* the session `handle` became, or is no longer, the newest of its id: look it up and tell it */
    KITH_RELAY_NOTE_CLOSE /* close the session `handle`: there are too many of its id */
};

struct kith_relay_note {
    enum kith_relay_note_kind kind;
    uint64_t handle;
    struct kith_id id;                   /* DATAGRAM: the source; GONE, GONE_FOR: who is gone */
    struct kith_relay_datagram datagram; /* DATAGRAM: its key is not used; the payload is borrowed */
};

/** What changed when a session came. */
struct kith_relay_joined {
    struct kith_relay_place previous; /* was the newest until now; nowhere: the id is new */
    struct kith_relay_place evicted;  /* is to be closed, and is no longer in the directory; nowhere: none */
};

/** What changed when a session went. */
struct kith_relay_left {
    struct kith_relay_place newest; /* is the newest now, if this one was; else nowhere */
    uint64_t reached;               /* is_last: the workers to which any session of the id has sent: a bit for each */
    bool is_last;                   /* no session of the id is left */
};

struct kith_relay_routes_ops {
    /** Enters a session as the newest of its id. Errors: NOMEM; nothing has changed then. */
    int (*join)(void *ctx, const struct kith_id *id, struct kith_relay_place place, struct kith_relay_joined *out);
    /**
     * Takes a session out; fine if it was evicted. reached: a bit for each worker to which it has sent, kept for
     * the id until its last session has left.
     */
    void (*leave)(void *ctx, const struct kith_id *id, struct kith_relay_place place, uint64_t reached,
                  struct kith_relay_left *out);
    /** The newest session of an id. False: nobody has it. */
    bool (*find)(void *ctx, const struct kith_id *id, struct kith_relay_place *out);
    /**
     * Tells another worker. Copies; arrives after flush, in the order of the calls. Errors: LIMIT: its inbox is full
     * (datagrams leave room for the others); NOMEM.
     */
    int (*post)(void *ctx, unsigned from, unsigned to, const struct kith_relay_note *note);
    /** Hands over what was posted and wakes the others; at the end of a turn. */
    void (*flush)(void *ctx, unsigned from);
    /** The next note in a worker's own inbox; borrowed until the next call. False: it is empty. */
    bool (*take)(void *ctx, unsigned worker, struct kith_relay_note *out);
    /** Bytes that a worker may post to another one now without LIMIT, for datagrams. */
    size_t (*room)(void *ctx, unsigned from, unsigned to);
    void (*free)(void *ctx);
};

/** The routes as one worker sees them. */
struct kith_relay_routes {
    const struct kith_relay_routes_ops *ops;
    void *ctx;
    /* Counts changes of the directory: what was found stays true while this number is the same. Any thread. */
    _Atomic uint64_t *epoch;
    unsigned worker, worker_count;
};

/** A table for one worker. seed: random, for the hash table. Errors: NOMEM. Free with kith__relay_routes_free. */
KITH_MUST_USE int kith__relay_routes_local_new(const struct kith_mem *mem, uint64_t seed,
                                               struct kith_relay_routes *out);

struct kith_relay_routes_shared_options {
    const struct kith_mem *mem; /* used by all threads: must bear that */
    const struct kith_relay_sync
        *sync;             /* borrowed; outlives the routes; may be NULL with workers of one thread (simulation) */
    unsigned worker_count; /* 1..KITH_RELAY_WORKERS_MAX */
    size_t inbox_size;     /* bytes; 0: KITH_RELAY_INBOX_SIZE */
    uint64_t seed;         /* random, for the hash tables */
};
/** A table for worker_count workers: out is an array of that many. Errors: NOMEM, LIMIT, INVALID. */
KITH_MUST_USE int kith__relay_routes_shared_new(const struct kith_relay_routes_shared_options *options,
                                                struct kith_relay_routes *out);
/** Frees the table of which this is one worker's view: once, when no worker uses it any more. A zeroed one is fine. */
void kith__relay_routes_free(struct kith_relay_routes *routes);

#endif
