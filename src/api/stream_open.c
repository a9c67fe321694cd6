/* Streams begin: opening our own, accepting the other side's, and the operations that wait for either. */
#include "api/objects.h"

int kith__api_stream_open(struct kith_conn *conn, bool bidi, struct kith_stream **out)
{
    struct kith_stream *stream;
    uint64_t id;
    int err = kith_quic_stream_open(conn->quic, bidi, &id);

    if (err != 0)
        return err;
    if ((stream = kith__api_stream_new(conn, id, bidi, true)) == NULL) {
        kith_quic_stream_release(conn->quic, id);
        return KITH_ERR_NOMEM;
    }
    stream->is_held = true;
    *out = stream;
    return 0;
}

/* Gives one waiting operation its stream. AGAIN if there is none to give. */
static int try_stream_op(struct kith_conn *conn, struct kith_op *op)
{
    struct kith_list *node;
    int err = 0;

    if (op->kind == KITH_OP_OPEN) {
        err = kith__api_stream_open(conn, op->bidi, &op->stream);
    } else if ((node = kith__list_first(&conn->opened[op->bidi])) != NULL) {
        op->stream = KITH_CONTAINER(node, struct kith_stream, opened_node);
        kith__list_remove(node);
        op->stream->is_held = true;
    } else {
        err = KITH_ERR_AGAIN;
    }
    if (err != KITH_ERR_AGAIN)
        kith__op_done(op, err);
    return err;
}

void kith__api_conn_pump_streams(struct kith_conn *conn, bool bidi)
{
    struct kith_list *lists[2] = { &conn->open_ops[bidi], &conn->accept_ops[bidi] };
    struct kith_op *op;

    for (int i = 0; i < 2; i++)
        while ((op = kith__op_first(lists[i])) != NULL)
            if (try_stream_op(conn, op) == KITH_ERR_AGAIN)
                break;
}

static int stream_op_start(struct kith_conn *conn, enum kith_op_kind kind, bool bidi, struct kith_op **out)
{
    struct kith_context *context = conn->endpoint->context;
    struct kith_list *list = kind == KITH_OP_OPEN ? &conn->open_ops[bidi] : &conn->accept_ops[bidi];
    struct kith_op *op;

    /* Streams that came before the end can still be accepted, and what they brought be read. */
    if ((conn->is_closed || conn->quic == NULL) && (kind == KITH_OP_OPEN || kith__list_is_empty(&conn->opened[bidi])))
        return kith__api_conn_failure(conn);
    if ((op = kith__op_new(context, kind, list)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the stream cannot be waited for");
    op->bidi = bidi;
    op->on_conn = conn;
    if (kith__op_first(list) == op)
        try_stream_op(conn, op);
    *out = op;
    return 0;
}

static int stream_op_wait(struct kith_conn *conn, enum kith_op_kind kind, bool bidi, uint64_t limit_ns,
                          struct kith_stream **out)
{
    struct kith_context *context = conn->endpoint->context;
    struct kith_op *op;
    int err;

    kith__context_enter(context);
    if ((err = stream_op_start(conn, kind, bidi, &op)) == 0) {
        err = kith__op_wait_locked(op, limit_ns, NULL);
        if (err == 0)
            *out = op->stream;
        kith__op_free_locked(op);
    }
    kith__context_leave(context);
    return err;
}

int kith_open_bi(struct kith_conn *conn, uint64_t limit_ns, struct kith_stream **out)
{
    return stream_op_wait(conn, KITH_OP_OPEN, true, limit_ns, out);
}

int kith_open_uni(struct kith_conn *conn, uint64_t limit_ns, struct kith_stream **out)
{
    return stream_op_wait(conn, KITH_OP_OPEN, false, limit_ns, out);
}

int kith_accept_bi(struct kith_conn *conn, uint64_t limit_ns, struct kith_stream **out)
{
    return stream_op_wait(conn, KITH_OP_ACCEPT_STREAM, true, limit_ns, out);
}

int kith_accept_uni(struct kith_conn *conn, uint64_t limit_ns, struct kith_stream **out)
{
    return stream_op_wait(conn, KITH_OP_ACCEPT_STREAM, false, limit_ns, out);
}

int kith_open_start(struct kith_conn *conn, bool bidi, struct kith_op **out)
{
    int err;

    kith__context_enter(conn->endpoint->context);
    err = stream_op_start(conn, KITH_OP_OPEN, bidi, out);
    kith__context_leave(conn->endpoint->context);
    return err;
}

int kith_accept_stream_start(struct kith_conn *conn, bool bidi, struct kith_op **out)
{
    int err;

    kith__context_enter(conn->endpoint->context);
    err = stream_op_start(conn, KITH_OP_ACCEPT_STREAM, bidi, out);
    kith__context_leave(conn->endpoint->context);
    return err;
}
