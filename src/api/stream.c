/* Streams of the public API. */
#include "api/objects.h"

#include "base/assert.h"
#include "base/mem.h"
#include <inttypes.h>

enum { WRITE_SOME = 1 << 16 }; /* beside KITH_FIN in the flags of an operation: done as soon as anything was taken */

static bool has_send_half(const struct kith_stream *stream)
{
    return stream->bidi || stream->is_local;
}

static bool has_receive_half(const struct kith_stream *stream)
{
    return stream->bidi || !stream->is_local;
}

struct kith_stream *kith__api_stream_new(struct kith_conn *conn, uint64_t id, bool bidi, bool is_local)
{
    struct kith_stream *stream = kith__alloc_zero(conn->endpoint->context->mem, sizeof *stream);

    if (stream == NULL)
        return NULL;
    stream->conn = conn;
    stream->id = id;
    stream->bidi = bidi;
    stream->is_local = is_local;
    stream->sending = has_send_half(stream) ? KITH_SENDING_OPEN : KITH_SENDING_NONE;
    kith__list_init(&stream->opened_node);
    kith__list_init(&stream->read_ops);
    kith__list_init(&stream->write_ops);
    kith__list_init(&stream->sent_ops);
    kith__list_push_back(&conn->streams, &stream->node);
    kith_quic_stream_set_user(conn->quic, id, stream);
    return stream;
}

void kith__api_stream_release_if_done(struct kith_stream *stream)
{
    struct kith_conn *conn = stream->conn;

    if (stream->is_held || kith__list_is_linked(&stream->opened_node))
        return;
    if (stream->sending == KITH_SENDING_FINISHED && !conn->is_closed)
        return;
    if (conn->quic != NULL) {
        kith_quic_stream_set_user(conn->quic, stream->id, NULL);
        kith_quic_stream_release(conn->quic, stream->id);
    }
    kith__list_remove(&stream->node);
    kith__free(conn->endpoint->context->mem, stream);
    kith__api_conn_release_if_done(conn); /* a shell waits for its last stream */
}

/* One place where the sending half changes, so that the count of unsent streams is right. */
static void sending_enter(struct kith_stream *stream, enum kith_sending next)
{
    stream->conn->unsent_count -= stream->sending == KITH_SENDING_FINISHED;
    stream->sending = (uint8_t)next;
    stream->conn->unsent_count += next == KITH_SENDING_FINISHED;
    if (stream->conn->unsent_count == 0)
        kith__context_changed(stream->conn->endpoint->context);
}

static int stopped_error(const struct kith_stream *stream, struct kith_error *error)
{
    return kith__fail_into(error, KITH_ERR_STOPPED, (int64_t)stream->stop_code,
                           "the other side stopped reading the stream (code %" PRIu64 ")", stream->stop_code);
}

/* Why something on the stream did not work. `code`: of a reset. */
static int stream_error(const struct kith_stream *stream, int err, uint64_t code, struct kith_error *error)
{
    if (err == KITH_ERR_RESET)
        return kith__fail_into(error, err, (int64_t)code, "the other side reset the stream (code %" PRIu64 ")", code);
    if (err == KITH_ERR_STOPPED)
        return stopped_error(stream, error);
    if (err == KITH_ERR_STATE)
        return kith__fail_into(error, err, 0,
                               "the stream was read in the other way, stopped, finished or reset before");
    if (err == KITH_ERR_CLOSED && stream->conn->is_closed) {
        *error = stream->conn->error;
        return error->code;
    }
    if (err == KITH_ERR_INVALID) /* the engine knows no other reason */
        return kith__fail_into(error, err, 0, "a code of a stream must be below 2^62: choose a smaller one");
    return kith__fail_into_because(error, err, err == KITH_ERR_END ? "nothing was read" : "the stream cannot be used");
}

static int fail_stream(const struct kith_stream *stream, int err, uint64_t code)
{
    struct kith_error error;

    stream_error(stream, err, code, &error);
    return kith__fail_with(&error);
}

/* The engine may forget a stream whose end was read: later reads get the same answer from here. */
static void note_read(struct kith_stream *stream, int err, uint64_t code)
{
    if (err != KITH_ERR_END && err != KITH_ERR_RESET)
        return;
    stream->has_read_all = true;
    stream->read_end = err;
    stream->read_code = code;
}

/* ---- Moving bytes ---- */

/* Reads into the buffer of one operation. AGAIN: nothing there. */
static int try_read(struct kith_stream *stream, struct kith_op *op)
{
    struct kith_error error;
    uint64_t code = 0;
    size_t got = 0;
    int err;

    if (op->kind == KITH_OP_READ_CHUNK)
        err = kith_quic_stream_read_chunk(stream->conn->quic, stream->id, op->buffer, op->wanted, &op->offset, &got,
                                          &code);
    else
        err = kith_quic_stream_read(stream->conn->quic, stream->id, op->buffer, op->wanted, &got, &code);
    if (err == KITH_ERR_AGAIN)
        return err;
    op->size = got;
    note_read(stream, err, code);
    if (err == 0 || err == KITH_ERR_END) {
        kith__op_done(op, err);
    } else {
        stream_error(stream, err, code, &error);
        kith__op_fail(op, &error);
    }
    kith__api_endpoint_touch(stream->conn->endpoint); /* credit goes back */
    return 0;
}

static int try_write(struct kith_stream *stream, struct kith_op *op)
{
    struct kith_error error;
    size_t written = 0;
    int err = kith_quic_stream_write(stream->conn->quic, stream->id, op->bytes + op->size, op->wanted - op->size,
                                     (op->flags & KITH_FIN) != 0, &written);

    if (err == 0 || written > 0) {
        op->size += written;
        kith__api_endpoint_touch(stream->conn->endpoint);
    }
    if (err == KITH_ERR_AGAIN || (err == 0 && op->size < op->wanted && (op->flags & WRITE_SOME) == 0))
        return KITH_ERR_AGAIN;
    if (err == 0 && (op->flags & KITH_FIN) != 0)
        sending_enter(stream, KITH_SENDING_FINISHED);
    if (err == 0) {
        kith__op_done(op, 0);
    } else {
        stream_error(stream, err, 0, &error);
        kith__op_fail(op, &error);
    }
    return 0;
}

/* Operations on one half go in the order in which they were started. */
static void pump(struct kith_list *ops, struct kith_stream *stream,
                 int (*try_one)(struct kith_stream *, struct kith_op *))
{
    struct kith_op *op;

    while ((op = kith__op_first(ops)) != NULL)
        if (try_one(stream, op) == KITH_ERR_AGAIN)
            return;
}

static void tell_operations(struct kith_stream *stream, const struct kith_quic_event *event)
{
    struct kith_error error;

    switch (event->kind) {
    case KITH_QUIC_STREAM_READABLE:
        pump(&stream->read_ops, stream, try_read);
        break;
    case KITH_QUIC_STREAM_WRITABLE:
        pump(&stream->write_ops, stream, try_write);
        break;
    case KITH_QUIC_STREAM_STOPPED:
        stream->is_stopped = true;
        stream->stop_code = event->code;
        stopped_error(stream, &error);
        kith__op_fail_all(&stream->write_ops, &error);
        kith__op_fail_all(&stream->sent_ops, &error);
        if (stream->sending != KITH_SENDING_ACKED)
            sending_enter(stream, KITH_SENDING_RESET);
        kith__api_stream_release_if_done(stream);
        break;
    case KITH_QUIC_STREAM_SENT: {
        struct kith_op *op;

        if (stream->sending == KITH_SENDING_FINISHED)
            sending_enter(stream, KITH_SENDING_ACKED);
        while ((op = kith__op_first(&stream->sent_ops)) != NULL)
            kith__op_done(op, 0);
        kith__api_stream_release_if_done(stream);
        break;
    }
    default:
        break;
    }
}

void kith__api_stream_on_event(struct kith_stream *stream, const struct kith_quic_event *event)
{
    if (stream->on_event == NULL) { /* may be gone after this */
        tell_operations(stream, event);
        return;
    }
    tell_operations(stream, event); /* held: it stays */
    stream->on_event(stream->on_event_ctx, event);
}

void kith__api_stream_on_conn_closed(struct kith_stream *stream)
{
    kith__op_fail_all(&stream->read_ops, &stream->conn->error);
    kith__op_fail_all(&stream->write_ops, &stream->conn->error);
    kith__op_fail_all(&stream->sent_ops, &stream->conn->error);
    if (stream->on_event != NULL)
        stream->on_event(stream->on_event_ctx, NULL);
}

/* ---- The verbs of one stream ---- */

uint64_t kith_stream_id(const struct kith_stream *stream)
{
    return stream->id;
}

struct kith_conn *kith_stream_conn(const struct kith_stream *stream)
{
    return stream->conn;
}

/* Lock held: whether the half can be used at all. What came before the end of the connection can still be read. */
static int check_half(const struct kith_stream *stream, bool sending)
{
    if (sending ? !has_send_half(stream) : !has_receive_half(stream))
        return kith__fail(KITH_ERR_STATE, 0, sending ? "this stream only receives" : "this stream only sends");
    if (sending && stream->is_stopped)
        return fail_stream(stream, KITH_ERR_STOPPED, 0);
    if (sending && stream->sending != KITH_SENDING_OPEN)
        return kith__fail(KITH_ERR_STATE, 0, "the sending half was finished or reset already");
    if (!sending && stream->read_end != 0)
        return fail_stream(stream, stream->read_end, stream->read_code);
    if (!sending && stream->has_read_all)
        return kith__fail(KITH_ERR_STATE, 0, "reading was stopped already");
    if (stream->conn->quic == NULL || (sending && stream->conn->is_closed))
        return kith__api_conn_failure(stream->conn);
    return 0;
}

static int read_op_start(struct kith_stream *stream, enum kith_op_kind kind, void *buffer, size_t size,
                         struct kith_op **out)
{
    struct kith_op *op;
    int err = check_half(stream, false);

    if (err != 0)
        return err;
    if (size == 0)
        return kith__fail(KITH_ERR_INVALID, 0, "a read needs room for at least one byte");
    if ((op = kith__op_new(stream->conn->endpoint->context, kind, &stream->read_ops)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the read cannot be started");
    op->on_stream = stream;
    op->buffer = buffer;
    op->wanted = size;
    pump(&stream->read_ops, stream, try_read);
    *out = op;
    return 0;
}

static int write_op_start(struct kith_stream *stream, const void *bytes, size_t size, int flags, struct kith_op **out)
{
    struct kith_op *op;
    int err = check_half(stream, true);

    if (err != 0)
        return err;
    if ((op = kith__op_new(stream->conn->endpoint->context, KITH_OP_WRITE, &stream->write_ops)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the write cannot be started");
    op->on_stream = stream;
    op->bytes = bytes;
    op->wanted = size;
    op->flags = flags;
    pump(&stream->write_ops, stream, try_write);
    *out = op;
    return 0;
}

/* Waits for a started operation and tells how much was moved. */
static int finish_op(struct kith_op *op, uint64_t limit_ns, size_t *moved)
{
    int err = kith__op_wait_locked(op, limit_ns, NULL);

    if (moved != NULL)
        *moved = op->size;
    kith__op_free_locked(op);
    return err;
}

/* The common case without an operation object: something can be read or written at once. AGAIN: it cannot. */
static int read_now(struct kith_stream *stream, void *buffer, size_t size, size_t *got)
{
    uint64_t code = 0;
    int err;

    if (!kith__list_is_empty(&stream->read_ops))
        return KITH_ERR_AGAIN;
    err = kith_quic_stream_read(stream->conn->quic, stream->id, buffer, size, got, &code);
    if (err == KITH_ERR_AGAIN)
        return err;
    kith__api_endpoint_touch(stream->conn->endpoint);
    note_read(stream, err, code);
    return err == 0 ? 0 : fail_stream(stream, err, code);
}

int kith_read(struct kith_stream *stream, void *buffer, size_t size, uint64_t limit_ns, size_t *got)
{
    struct kith_context *context = stream->conn->endpoint->context;
    struct kith_op *op;
    int err;

    *got = 0;
    kith__context_enter(context);
    if ((err = check_half(stream, false)) == 0)
        err = size > 0 ? read_now(stream, buffer, size, got)
                       : kith__fail(KITH_ERR_INVALID, 0, "a read needs room for at least one byte");
    if (err == KITH_ERR_AGAIN && (err = read_op_start(stream, KITH_OP_READ, buffer, size, &op)) == 0)
        err = finish_op(op, limit_ns, got);
    kith__context_leave(context);
    return err;
}

/* A read without time left says AGAIN; to the caller with a limit it is TIMEOUT. */
static int late(int err, uint64_t limit_ns, uint64_t until_ns, const struct kith_stream *stream)
{
    if (err != KITH_ERR_AGAIN || limit_ns == 0 || kith__context_now(stream->conn->endpoint->context) < until_ns)
        return err;
    return kith__fail(KITH_ERR_TIMEOUT, 0, "no data came in time");
}

int kith_read_exact(struct kith_stream *stream, void *buffer, size_t size, uint64_t limit_ns)
{
    uint64_t until = kith__context_until(stream->conn->endpoint->context, limit_ns);
    size_t at = 0, got;

    while (at < size) {
        uint64_t now = kith__context_now(stream->conn->endpoint->context);
        int err = kith_read(stream, (uint8_t *)buffer + at, size - at,
                            limit_ns == KITH_WAIT ? KITH_WAIT
                            : until > now         ? until - now
                                                  : 0,
                            &got);

        if (err == KITH_ERR_END)
            return kith__fail(KITH_ERR_TRUNCATED, 0, "the stream ended after %zu of %zu bytes", at, size);
        if (err != 0)
            return late(err, limit_ns, until, stream);
        at += got;
    }
    return 0;
}

int kith_read_to_end(struct kith_stream *stream, void *buffer, size_t size, uint64_t limit_ns, size_t *got)
{
    uint64_t until = kith__context_until(stream->conn->endpoint->context, limit_ns);
    uint8_t beyond;

    *got = 0;
    for (;;) {
        uint64_t now = kith__context_now(stream->conn->endpoint->context);
        uint64_t left = limit_ns == KITH_WAIT ? KITH_WAIT : until > now ? until - now : 0;
        size_t part;
        int err = *got < size ? kith_read(stream, (uint8_t *)buffer + *got, size - *got, left, &part)
                              : kith_read(stream, &beyond, 1, left, &part);

        if (err == KITH_ERR_END)
            return 0;
        if (err != 0)
            return late(err, limit_ns, until, stream);
        if (*got == size)
            return kith__fail(KITH_ERR_TOO_LARGE, 0, "the stream holds more than %zu bytes", size);
        *got += part;
    }
}

int kith_read_start(struct kith_stream *stream, void *buffer, size_t size, struct kith_op **out)
{
    int err;

    kith__context_enter(stream->conn->endpoint->context);
    err = read_op_start(stream, KITH_OP_READ, buffer, size, out);
    kith__context_leave(stream->conn->endpoint->context);
    return err;
}

int kith_read_chunk(struct kith_stream *stream, void *buffer, size_t size, uint64_t limit_ns, uint64_t *offset,
                    size_t *got)
{
    struct kith_context *context = stream->conn->endpoint->context;
    struct kith_op *op;
    int err;

    kith__context_enter(context);
    if ((err = read_op_start(stream, KITH_OP_READ_CHUNK, buffer, size, &op)) == 0) {
        err = kith__op_wait_locked(op, limit_ns, NULL);
        *offset = op->offset;
        *got = op->size;
        kith__op_free_locked(op);
    }
    kith__context_leave(context);
    return err;
}

/* The common case without an operation object. AGAIN: nothing fits now. */
static int write_now(struct kith_stream *stream, const void *bytes, size_t size, size_t *written)
{
    int err;

    if (!kith__list_is_empty(&stream->write_ops))
        return KITH_ERR_AGAIN;
    err = kith_quic_stream_write(stream->conn->quic, stream->id, bytes, size, false, written);
    if (err == 0)
        kith__api_endpoint_touch(stream->conn->endpoint);
    return err == 0 || err == KITH_ERR_AGAIN ? err : fail_stream(stream, err, 0);
}

int kith_write(struct kith_stream *stream, const void *bytes, size_t size, uint64_t limit_ns, size_t *written)
{
    struct kith_context *context = stream->conn->endpoint->context;
    struct kith_op *op;
    size_t moved = 0;
    int err;

    kith__context_enter(context);
    if ((err = check_half(stream, true)) == 0)
        err = write_now(stream, bytes, size, &moved);
    if (err == KITH_ERR_AGAIN && (err = write_op_start(stream, bytes, size, WRITE_SOME, &op)) == 0)
        err = finish_op(op, limit_ns, &moved);
    if (written != NULL)
        *written = moved;
    kith__context_leave(context);
    return err;
}

/* Other bits are refused: some mean something in here, and all may mean something one day. */
static int check_flags(int flags)
{
    return (flags & ~KITH_FIN) == 0
               ? 0
               : kith__fail(KITH_ERR_INVALID, 0, "flags 0x%x: there is only KITH_FIN", (unsigned)flags);
}

int kith_write_all(struct kith_stream *stream, const void *bytes, size_t size, int flags, uint64_t limit_ns)
{
    struct kith_context *context = stream->conn->endpoint->context;
    struct kith_op *op;
    int err = check_flags(flags);

    if (err != 0)
        return err;
    kith__context_enter(context);
    if ((err = write_op_start(stream, bytes, size, flags, &op)) == 0)
        err = finish_op(op, limit_ns, NULL);
    kith__context_leave(context);
    return err;
}

int kith_write_start(struct kith_stream *stream, const void *bytes, size_t size, int flags, struct kith_op **out)
{
    int err = check_flags(flags);

    if (err != 0)
        return err;
    kith__context_enter(stream->conn->endpoint->context);
    err = write_op_start(stream, bytes, size, flags, out);
    kith__context_leave(stream->conn->endpoint->context);
    return err;
}

static int finish_now(struct kith_stream *stream)
{
    int err = kith_quic_stream_finish(stream->conn->quic, stream->id);

    if (err != 0)
        return err;
    sending_enter(stream, KITH_SENDING_FINISHED);
    kith__api_endpoint_touch(stream->conn->endpoint);
    return 0;
}

int kith_finish(struct kith_stream *stream)
{
    int err;

    kith__context_enter(stream->conn->endpoint->context);
    if ((err = check_half(stream, true)) == 0 && !kith__list_is_empty(&stream->write_ops))
        err = kith__fail(KITH_ERR_STATE, 0, "writes are under way: put KITH_FIN on the last one");
    if (err == 0 && (err = finish_now(stream)) != 0)
        err = fail_stream(stream, err, 0);
    kith__context_leave(stream->conn->endpoint->context);
    return err;
}

static int sent_op_start(struct kith_stream *stream, struct kith_op **out)
{
    struct kith_op *op;

    if (stream->sending == KITH_SENDING_OPEN)
        return kith__fail(KITH_ERR_STATE, 0, "finish the stream first");
    if (stream->is_stopped)
        return fail_stream(stream, KITH_ERR_STOPPED, 0);
    if (stream->sending == KITH_SENDING_NONE || stream->sending == KITH_SENDING_RESET)
        return kith__fail(KITH_ERR_STATE, 0, "the stream was reset, or only receives");
    if (stream->conn->is_closed && stream->sending == KITH_SENDING_FINISHED)
        return kith__api_conn_failure(stream->conn);
    if ((op = kith__op_new(stream->conn->endpoint->context, KITH_OP_SENT, &stream->sent_ops)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the acknowledgement cannot be waited for");
    op->on_stream = stream;
    if (stream->sending == KITH_SENDING_ACKED)
        kith__op_done(op, 0);
    *out = op;
    return 0;
}

int kith_sent(struct kith_stream *stream, uint64_t limit_ns)
{
    struct kith_op *op;
    int err;

    kith__context_enter(stream->conn->endpoint->context);
    if ((err = sent_op_start(stream, &op)) == 0) {
        err = kith__op_wait_locked(op, limit_ns, NULL);
        kith__op_free_locked(op);
    }
    kith__context_leave(stream->conn->endpoint->context);
    return err;
}

int kith_sent_start(struct kith_stream *stream, struct kith_op **out)
{
    int err;

    kith__context_enter(stream->conn->endpoint->context);
    err = sent_op_start(stream, out);
    kith__context_leave(stream->conn->endpoint->context);
    return err;
}

int kith_reset(struct kith_stream *stream, uint64_t code)
{
    struct kith_error error;
    int err = 0;

    kith__context_enter(stream->conn->endpoint->context);
    if (!has_send_half(stream) || stream->sending == KITH_SENDING_ACKED) {
        err = kith__fail(KITH_ERR_STATE, 0, "there is nothing to reset");
    } else if (stream->sending == KITH_SENDING_RESET) {
        err = 0; /* the reset is on its way already, ours or the answer to a stop */
    } else if (stream->conn->is_closed || stream->conn->quic == NULL) {
        err = kith__api_conn_failure(stream->conn);
    } else if ((err = kith_quic_stream_reset(stream->conn->quic, stream->id, code)) == 0) {
        sending_enter(stream, KITH_SENDING_RESET);
        kith__fail_into(&error, KITH_ERR_CANCELLED, 0, "the stream was reset");
        kith__op_fail_all(&stream->write_ops, &error);
        kith__op_fail_all(&stream->sent_ops, &error);
        kith__api_endpoint_touch(stream->conn->endpoint);
    } else {
        err = fail_stream(stream, err, 0);
    }
    kith__context_leave(stream->conn->endpoint->context);
    return err;
}

int kith_stop(struct kith_stream *stream, uint64_t code)
{
    struct kith_error error;
    int err;

    kith__context_enter(stream->conn->endpoint->context);
    if (!has_receive_half(stream) || stream->has_read_all) {
        err = kith__fail(KITH_ERR_STATE, 0, "there is nothing to stop");
    } else if (stream->conn->is_closed || stream->conn->quic == NULL) {
        err = kith__api_conn_failure(stream->conn);
    } else if ((err = kith_quic_stream_stop(stream->conn->quic, stream->id, code)) != 0) {
        err = fail_stream(stream, err, 0);
    } else {
        stream->has_read_all = true;
        kith__fail_into(&error, KITH_ERR_CANCELLED, 0, "the stream was stopped");
        kith__op_fail_all(&stream->read_ops, &error);
        kith__api_endpoint_touch(stream->conn->endpoint);
    }
    kith__context_leave(stream->conn->endpoint->context);
    return err;
}

int kith_set_priority(struct kith_stream *stream, int32_t priority)
{
    int err;

    kith__context_enter(stream->conn->endpoint->context);
    /* A finished half may still have much to send. */
    if (stream->sending != KITH_SENDING_FINISHED || stream->conn->is_closed || stream->conn->quic == NULL)
        err = check_half(stream, true);
    else
        err = 0;
    if (err == 0 && (err = kith_quic_stream_set_priority(stream->conn->quic, stream->id, priority)) != 0)
        err = fail_stream(stream, err, 0);
    kith__context_leave(stream->conn->endpoint->context);
    return err;
}

void kith__api_stream_give_back(struct kith_stream *stream)
{
    struct kith_error error;

    kith__fail_into(&error, KITH_ERR_CANCELLED, 0, "the stream was given back");
    kith__op_fail_all(&stream->read_ops, &error);
    kith__op_fail_all(&stream->write_ops, &error);
    kith__op_fail_all(&stream->sent_ops, &error);
    stream->is_held = false;
    stream->on_event = NULL;
    /* A finished half goes on by itself; an unfinished one and unread bytes are nobody's any more. */
    if (stream->sending == KITH_SENDING_OPEN)
        kith__api_stream_reset(stream, 0);
    if (has_receive_half(stream) && !stream->has_read_all)
        kith__api_stream_stop(stream, 0);
    kith__api_stream_release_if_done(stream);
}

void kith_stream_free(struct kith_stream *stream)
{
    struct kith_context *context;

    if (stream == NULL)
        return;
    context = stream->conn->endpoint->context;
    kith__context_enter(context);
    kith__api_stream_give_back(stream);
    kith__context_leave(context);
}

/* ---- For protocols that drive streams themselves ---- */

static bool is_open(const struct kith_stream *stream)
{
    return !stream->conn->is_closed && stream->conn->quic != NULL;
}

int kith__api_stream_write(struct kith_stream *stream, struct kith_slice bytes, bool fin, size_t *written)
{
    int err;

    *written = 0;
    if (!is_open(stream))
        return KITH_ERR_CLOSED;
    err = kith_quic_stream_write(stream->conn->quic, stream->id, bytes.ptr, bytes.size, fin, written);
    if (err == 0 || *written > 0)
        kith__api_endpoint_touch(stream->conn->endpoint);
    if (err == 0 && fin && *written == bytes.size)
        sending_enter(stream, KITH_SENDING_FINISHED);
    return err;
}

uint64_t kith__api_stream_unacked(const struct kith_stream *stream)
{
    return is_open(stream) ? kith_quic_stream_unacked(stream->conn->quic, stream->id) : 0;
}

int kith__api_stream_peek(struct kith_stream *stream, struct kith_slice *out, uint64_t *code)
{
    int err = is_open(stream) ? kith_quic_stream_peek(stream->conn->quic, stream->id, out, code) : KITH_ERR_CLOSED;

    note_read(stream, err, code != NULL ? *code : 0);
    return err;
}

void kith__api_stream_consume(struct kith_stream *stream, size_t size)
{
    int err = kith_quic_stream_consume(stream->conn->quic, stream->id, size);

    KITH_ASSERT(err == 0);
    kith__api_endpoint_touch(stream->conn->endpoint); /* credit goes back */
}

void kith__api_stream_reset(struct kith_stream *stream, uint64_t code)
{
    if (is_open(stream) && kith_quic_stream_reset(stream->conn->quic, stream->id, code) == 0) {
        sending_enter(stream, KITH_SENDING_RESET);
        kith__api_endpoint_touch(stream->conn->endpoint);
    }
}

void kith__api_stream_stop(struct kith_stream *stream, uint64_t code)
{
    if (is_open(stream) && kith_quic_stream_stop(stream->conn->quic, stream->id, code) == 0) {
        stream->has_read_all = true;
        kith__api_endpoint_touch(stream->conn->endpoint);
    }
}
