/* Operations: waiting, callbacks, limits, cancelling. */
#include "api/op.h"

#include "api/dial.h"
#include "base/assert.h"
#include "base/mem.h"

struct kith_op *kith__op_new(struct kith_context *context, enum kith_op_kind kind, struct kith_list *list)
{
    struct kith_op *op = kith__alloc_zero(context->mem, sizeof *op);

    if (op == NULL)
        return NULL;
    op->context = context;
    op->kind = (uint8_t)kind;
    op->result = KITH_ERR_AGAIN;
    kith__list_init(&op->node);
    kith__list_init(&op->finished);
    kith__heap_node_init(&op->limit);
    kith__list_push_back(&context->ops, &op->all);
    context->object_count++;
    if (list != NULL)
        kith__list_push_back(list, &op->node);
    return op;
}

void kith__op_done(struct kith_op *op, int result)
{
    if (op->is_done)
        return;
    KITH_ASSERT(result != KITH_ERR_AGAIN);
    op->is_done = true;
    op->result = result;
    op->on_stream = NULL;
    op->on_conn = NULL;
    kith__list_remove(&op->node);
    kith__heap_remove(&op->context->limits, &op->limit);
    if (op->callback != NULL)
        kith__list_push_back(&op->context->finished, &op->finished);
    kith__context_changed(op->context);
}

void kith__op_fail(struct kith_op *op, const struct kith_error *error)
{
    if (op->is_done)
        return;
    /* Without memory for the words the code must do. */
    if (op->error == NULL)
        op->error = kith__alloc(op->context->mem, sizeof *op->error);
    if (op->error != NULL)
        *op->error = *error;
    kith__op_done(op, error->code);
}

void kith__op_fail_all(struct kith_list *list, const struct kith_error *error)
{
    struct kith_op *op;

    while ((op = kith__op_first(list)) != NULL)
        kith__op_fail(op, error);
}

/* What each kind of operation leaves undone when it fails, and what a limit that passed means for it. */
static const struct op_fact {
    const char *undone, *late;
} facts[] = {
    [KITH_OP_CONNECT] = { "the connection was not made",
                          "the other side did not answer in time: it may be offline, or a firewall drops UDP" },
    [KITH_OP_ACCEPT] = { "no connection was accepted", "nobody connected in time" },
    [KITH_OP_INCOMING] = { "no client was handed out", "nobody connected in time" },
    [KITH_OP_HANDSHAKE] = { "the handshake was not completed",
                            "the other side did not answer in time: it may be offline, or a firewall drops UDP" },
    [KITH_OP_CLOSED] = { "the end of the connection was not waited for", "the connection is still open" },
    [KITH_OP_OPEN] = { "no stream was opened", "the other side allows no more streams now" },
    [KITH_OP_ACCEPT_STREAM] = { "no stream was accepted", "no stream came in time" },
    [KITH_OP_READ] = { "nothing was read", "no data came in time" },
    [KITH_OP_READ_CHUNK] = { "nothing was read", "no data came in time" },
    [KITH_OP_WRITE] = { "not everything was written", "the other side does not read fast enough" },
    [KITH_OP_SENT] = { "not everything was acknowledged", "the other side has not acknowledged everything in time" },
    [KITH_OP_DATAGRAM_SEND] = { "the datagram was not sent", "no room for the datagram in time" },
    [KITH_OP_DATAGRAM_RECEIVE] = { "no datagram was received", "no datagram came in time" },
    [KITH_OP_ENDPOINT_CLOSE] = { "the endpoint was not closed", "the operation was not done in time" },
    [KITH_OP_ONLINE] = { "no relay was reached", "no relay was reached in time" },
    [KITH_OP_RELAYS_CHANGED] = { "no news of relays came", "nothing changed in time" },
    [KITH_OP_SEARCH] = { "nothing was found", "no lookup service answered in time" },
    [KITH_OP_DRIVER] = { "the operation did not come to its end", "the operation was not done in time" },
};

static const char *late_text(const struct kith_op *op)
{
    if (kith__api_dial_is_waiting(op))
        return "no address of the other side is known, and no lookup service found one in time";
    return facts[op->kind].late;
}

/* Before it forgets what it waits for. */
static void late_error(const struct kith_op *op, int code, const char *late, struct kith_error *error)
{
    kith__fail_into(error, code, 0, "%s", late != NULL ? late : late_text(op));
    if (op->on_conn != NULL)
        kith__api_dial_explain(op->on_conn, error);
}

int kith__op_outcome(const struct kith_op *op)
{
    if (op->result == 0 || op->result == KITH_ERR_AGAIN)
        return op->result;
    return op->error != NULL ? kith__fail_with(op->error)
                             : kith__fail_because(op->result, "%s", facts[op->kind].undone);
}

/* Ends a pending operation from outside: the limit passed, or somebody cancelled. */
static void op_abort(struct kith_op *op, int result)
{
    struct kith_error error;

    if (op->is_done)
        return;
    late_error(op, result, NULL, &error);
    if (op->cancel != NULL)
        op->cancel(op);
    if (result == KITH_ERR_TIMEOUT)
        kith__op_fail(op, &error);
    else
        kith__op_done(op, result);
}

void kith__op_end(struct kith_op *op)
{
    op_abort(op, KITH_ERR_CLOSED);
    if (op->dispose != NULL)
        op->dispose(op);
    op->dispose = NULL;
    op->cancel = NULL;
    op->state = NULL;
}

void kith__op_limits_expire(struct kith_context *context, uint64_t now_ns)
{
    struct kith_heap_node *node;

    while ((node = kith__heap_first(&context->limits)) != NULL && node->key <= now_ns)
        op_abort(KITH_CONTAINER(node, struct kith_op, limit), KITH_ERR_TIMEOUT);
}

int kith__op_wait_locked(struct kith_op *op, uint64_t limit_ns, const char *late)
{
    struct kith_context *context = op->context;
    uint64_t until = kith__context_until(context, limit_ns);
    struct kith_error error;

    while (!op->is_done) {
        if (limit_ns == 0)
            return kith__fail(KITH_ERR_AGAIN, 0, "%s", late != NULL ? late : late_text(op));
        if (kith__context_take_wake(context))
            return kith__fail(KITH_ERR_AGAIN, 0, "the wait was ended by kith_context_wake");
        if (kith__context_now(context) >= until) {
            late_error(op, KITH_ERR_TIMEOUT, late, &error);
            return kith__fail_with(&error);
        }
        kith__context_wait(context, until);
    }
    return kith__op_outcome(op);
}

void kith__op_free_locked(struct kith_op *op)
{
    op_abort(op, KITH_ERR_CANCELLED);
    kith__list_remove(&op->finished);
    if (op->dispose != NULL)
        op->dispose(op);
    kith__list_remove(&op->all);
    op->context->object_count--;
    kith__free(op->context->mem, op->error);
    kith__free(op->context->mem, op);
}

int kith_op_wait(struct kith_op *op, uint64_t limit_ns)
{
    struct kith_context *context = op->context;
    int err;

    kith__context_enter(context);
    err = kith__op_wait_locked(op, limit_ns, NULL);
    kith__context_leave(context);
    return err;
}

void kith_op_on_done(struct kith_op *op, kith_op_callback *callback, void *user)
{
    struct kith_context *context = op->context;

    kith__context_enter(context);
    op->callback = callback;
    op->user = user;
    kith__list_remove(&op->finished);
    if (op->is_done && callback != NULL) {
        kith__list_push_back(&context->finished, &op->finished);
        kith__context_changed(context);
    }
    kith__context_leave(context);
}

void kith_op_set_limit(struct kith_op *op, uint64_t limit_ns)
{
    struct kith_context *context = op->context;

    kith__context_enter(context);
    if (!op->is_done && limit_ns == KITH_WAIT)
        kith__heap_remove(&context->limits, &op->limit);
    /* A limit that cannot be kept for want of memory ends the operation now rather than never. */
    else if (!op->is_done && kith__heap_set(&context->limits, &op->limit, kith__context_until(context, limit_ns)) != 0)
        op_abort(op, KITH_ERR_NOMEM);
    kith__context_limits_changed(context);
    kith__context_leave(context);
}

void kith_op_cancel(struct kith_op *op)
{
    struct kith_context *context = op->context;

    kith__context_enter(context);
    op_abort(op, KITH_ERR_CANCELLED);
    if (context->mode == KITH_CONTEXT_CALLER && context->rt != NULL)
        kith__rt_wake(context->rt); /* whoever runs the loop may sleep on another thread */
    kith__context_leave(context);
}

int kith_op_result(const struct kith_op *op)
{
    int result;

    kith__context_enter(op->context);
    result = op->result;
    kith__context_leave(op->context);
    return result;
}

/* A record for an operation that has only a code. It stays NULL without memory. */
static void make_error(struct kith_op *op)
{
    op->error = kith__alloc(op->context->mem, sizeof *op->error);
    if (op->error != NULL)
        kith__fail_into_because(op->error, op->result, "%s", facts[op->kind].undone);
}

const struct kith_error *kith_op_error(const struct kith_op *op)
{
    static const struct kith_error none;
    const struct kith_error *error = &none;

    kith__context_enter(op->context);
    if (op->result != 0 && op->result != KITH_ERR_AGAIN) {
        if (op->error == NULL && (make_error((struct kith_op *)(uintptr_t)op), op->error == NULL)) {
            kith__op_outcome(op); /* no memory: the record of this thread must do */
            error = kith_error_last();
        } else {
            error = op->error;
        }
    }
    kith__context_leave(op->context);
    return error;
}

size_t kith_op_size(const struct kith_op *op)
{
    size_t size;

    kith__context_enter(op->context);
    size = op->size;
    kith__context_leave(op->context);
    return size;
}

struct kith_conn *kith_op_take_conn(struct kith_op *op)
{
    struct kith_conn *conn;

    kith__context_enter(op->context);
    conn = op->conn;
    op->conn = NULL;
    kith__context_leave(op->context);
    return conn;
}

struct kith_stream *kith_op_take_stream(struct kith_op *op)
{
    struct kith_stream *stream;

    kith__context_enter(op->context);
    stream = op->stream;
    op->stream = NULL;
    kith__context_leave(op->context);
    return stream;
}

struct kith_incoming *kith_op_take_incoming(struct kith_op *op)
{
    struct kith_incoming *incoming;

    kith__context_enter(op->context);
    incoming = op->incoming;
    op->incoming = NULL;
    kith__context_leave(op->context);
    return incoming;
}

void kith_op_free(struct kith_op *op)
{
    struct kith_context *context;
    struct kith_conn *conn;
    struct kith_stream *stream;
    struct kith_incoming *incoming;

    if (op == NULL)
        return;
    context = op->context;
    kith__context_enter(context);
    conn = op->conn;
    stream = op->stream;
    incoming = op->incoming;
    kith__op_free_locked(op);
    /* What nobody took is closed as if it had been taken and given back. */
    if (stream != NULL)
        kith__api_stream_give_back(stream);
    if (conn != NULL)
        kith__api_conn_give_back(conn);
    if (incoming != NULL)
        kith__api_incoming_refuse(incoming);
    kith__context_leave(context);
}
