/**
 * One operation that takes time, and the lists it waits in. Inside the context's lock only.
 *
 * Life: kith__op_new (pending, linked into a wait list of its object) -> kith__op_done (result set, unlinked, moved to the
 * context's list of finished operations if it has a callback, waiters woken) -> kith_op_free. The object that an operation
 * waits for ends it when it goes away (kith__op_fail_all), so no operation outlives what it points at while pending.
 */
#ifndef KITH_API_OP_H
#define KITH_API_OP_H

#include "api/error.h"
#include "base/heap.h"
#include "base/list.h"
#include <kith/endpoint.h>

enum kith_op_kind {
    KITH_OP_CONNECT,
    KITH_OP_ACCEPT,
    KITH_OP_INCOMING,
    KITH_OP_HANDSHAKE,
    KITH_OP_CLOSED,
    KITH_OP_OPEN,
    KITH_OP_ACCEPT_STREAM,
    KITH_OP_READ,
    KITH_OP_READ_CHUNK,
    KITH_OP_WRITE,
    KITH_OP_SENT,
    KITH_OP_DATAGRAM_SEND,
    KITH_OP_DATAGRAM_RECEIVE,
    KITH_OP_ENDPOINT_CLOSE,
    KITH_OP_ONLINE,
    KITH_OP_RELAYS_CHANGED,
    KITH_OP_SEARCH,
    KITH_OP_DRIVER /* a protocol's work: adding blobs, fetching blobs */
};

struct kith_op {
    struct kith_context *context;
    uint8_t kind; /* enum kith_op_kind */
    bool is_done;
    int result;               /* AGAIN while pending */
    struct kith_error *error; /* details of a failure; NULL if there are none beyond the code */
    kith_op_callback *callback;
    void *user;
    struct kith_list all;        /* in the context */
    struct kith_list node;       /* while pending: in a wait list of its object */
    struct kith_list finished;   /* done, and its callback has not run: in the context's list */
    struct kith_heap_node limit; /* in the context's heap of limits while pending with one */
    /* What it works on. */
    const uint8_t *bytes; /* WRITE, DATAGRAM_SEND */
    uint8_t *buffer;      /* READ, READ_CHUNK, DATAGRAM_RECEIVE */
    size_t wanted, size;  /* buffer or bytes size; what was moved so far */
    uint64_t offset;      /* READ_CHUNK */
    int flags;            /* WRITE: KITH_FIN */
    bool bidi;
    /* Whom it waits for; NULL if that is gone. */
    struct kith_stream *on_stream;
    struct kith_conn *on_conn;
    /* What it made. */
    struct kith_conn *conn;
    struct kith_stream *stream;
    struct kith_incoming *incoming;
    /* DRIVER: how to stop the work, and how to drop its state; both may be NULL. */
    void (*cancel)(struct kith_op *op);
    void (*dispose)(struct kith_op *op);
    void *state;
};

/** A pending operation in `list` (NULL: in none). NULL when out of memory. */
struct kith_op *kith__op_new(struct kith_context *context, enum kith_op_kind kind, struct kith_list *list);
/** Ends it; a second call does nothing. */
void kith__op_done(struct kith_op *op, int result);
/** Ends it with details. */
void kith__op_fail(struct kith_op *op, const struct kith_error *error);
/** Ends all in a wait list with a copy of `error`. */
void kith__op_fail_all(struct kith_list *list, const struct kith_error *error);
/** Copies the outcome to kith_error_last if it is a failure; returns the result. */
int kith__op_outcome(const struct kith_op *op);
/**
 * Lock held: waits until done or until the limit; then as kith_op_wait. `late` is the text of the error if it is not done
 * by then.
 */
int kith__op_wait_locked(struct kith_op *op, uint64_t limit_ns, const char *late);
/** Lock held: the context ends: whatever the operation still does ends, and its state goes; the handle stays. */
void kith__op_end(struct kith_op *op);
/** Lock held: as kith_op_free. */
void kith__op_free_locked(struct kith_op *op);

/** Lock held: ends with TIMEOUT whatever operation's limit has passed. */
void kith__op_limits_expire(struct kith_context *context, uint64_t now_ns);

static inline struct kith_op *kith__op_of_node(struct kith_list *node)
{
    return KITH_CONTAINER(node, struct kith_op, node);
}
static inline struct kith_op *kith__op_first(const struct kith_list *list)
{
    struct kith_list *node = kith__list_first(list);

    return node != NULL ? kith__op_of_node(node) : NULL;
}

#endif
