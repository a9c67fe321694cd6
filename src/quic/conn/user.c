/* The user's verbs on streams and datagrams: checks of the connection's state around the stream set. */
#include "quic/conn/conn.h"
#include "quic/conn/events.h"
#include "quic/host/host.h"

/** Streams exist once limits of the peer are known: after the handshake, or with 0-RTT. */
static bool can_use_streams(const struct kith_quic_conn *conn)
{
    return conn->peer_limits_known;
}

/** Results of the set pass through; afterwards the connection may have something to send or to report. */
static int finish(struct kith_quic_conn *conn, int err)
{
    kith__conn_touch(conn);
    return err;
}

int kith_quic_stream_open(struct kith_quic_conn *conn, bool bidi, uint64_t *stream)
{
    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    if (!can_use_streams(conn))
        return KITH_ERR_STATE;
    return finish(conn, kith__stream_set_open(&conn->streams, bidi, stream));
}

int kith_quic_stream_write(struct kith_quic_conn *conn, uint64_t stream, const void *bytes, size_t size, bool fin,
                           size_t *written)
{
    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    return finish(conn, kith__stream_set_write(&conn->streams, stream, bytes, size, fin, written));
}

int kith_quic_stream_finish(struct kith_quic_conn *conn, uint64_t stream)
{
    size_t written;

    return kith_quic_stream_write(conn, stream, NULL, 0, true, &written);
}

int kith_quic_stream_reset(struct kith_quic_conn *conn, uint64_t stream, uint64_t code)
{
    if (code > KITH_VARINT_MAX)
        return KITH_ERR_INVALID;
    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    return finish(conn, kith__stream_set_reset(&conn->streams, stream, code));
}

int kith_quic_stream_stop(struct kith_quic_conn *conn, uint64_t stream, uint64_t code)
{
    if (code > KITH_VARINT_MAX)
        return KITH_ERR_INVALID;
    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    return finish(conn, kith__stream_set_stop(&conn->streams, stream, code));
}

int kith_quic_stream_set_priority(struct kith_quic_conn *conn, uint64_t stream, int32_t priority)
{
    return finish(conn, kith__stream_set_set_priority(&conn->streams, stream, priority));
}

/** What was received before the end can still be read after it; what will never come is CLOSED, not AGAIN. */
static int read_result(struct kith_quic_conn *conn, int err)
{
    return finish(conn, err == KITH_ERR_AGAIN && !kith__phase_is_open(conn->phase) ? KITH_ERR_CLOSED : err);
}

int kith_quic_stream_read(struct kith_quic_conn *conn, uint64_t stream, void *out, size_t capacity, size_t *size,
                          uint64_t *code)
{
    if (capacity == 0)
        return KITH_ERR_INVALID;
    return read_result(conn, kith__stream_set_read(&conn->streams, stream, out, capacity, size, code, conn->now_ns,
                                                   kith__conn_rtt(conn)));
}

int kith_quic_stream_peek(struct kith_quic_conn *conn, uint64_t stream, struct kith_slice *out, uint64_t *code)
{
    return read_result(conn, kith__stream_set_peek(&conn->streams, stream, out, code));
}

int kith_quic_stream_consume(struct kith_quic_conn *conn, uint64_t stream, size_t size)
{
    return finish(conn, kith__stream_set_consume(&conn->streams, stream, size, conn->now_ns, kith__conn_rtt(conn)));
}

int kith_quic_stream_read_chunk(struct kith_quic_conn *conn, uint64_t stream, void *out, size_t capacity,
                                uint64_t *offset, size_t *size, uint64_t *code)
{
    if (capacity == 0)
        return KITH_ERR_INVALID;
    return read_result(conn, kith__stream_set_read_chunk(&conn->streams, stream, out, capacity, offset, size, code,
                                                         conn->now_ns, kith__conn_rtt(conn)));
}

void kith_quic_stream_release(struct kith_quic_conn *conn, uint64_t stream)
{
    kith__stream_set_release(&conn->streams, stream);
    kith__conn_touch(conn);
}

void kith_quic_stream_set_user(struct kith_quic_conn *conn, uint64_t stream, void *user)
{
    struct kith_stream *found = kith__stream_set_find(&conn->streams, stream);

    if (found != NULL)
        found->user = user;
}

void *kith_quic_stream_user(const struct kith_quic_conn *conn, uint64_t stream)
{
    /* Finding a stream only moves the set's cache. */
    struct kith_stream *found = kith__stream_set_find((struct kith_stream_set *)&conn->streams, stream);

    return found != NULL ? found->user : NULL;
}

uint64_t kith_quic_stream_unacked(const struct kith_quic_conn *conn, uint64_t stream)
{
    struct kith_stream *found = kith__stream_set_find((struct kith_stream_set *)&conn->streams, stream);

    return found != NULL ? kith__outbuf_held(&found->out) : 0;
}

void kith_quic_conn_set_streams_max(struct kith_quic_conn *conn, bool bidi, uint64_t count)
{
    kith__stream_set_set_streams_max(&conn->streams, bidi, count);
    kith__conn_touch(conn);
}

size_t kith_quic_datagram_size_max(const struct kith_quic_conn *conn)
{
    return kith__phase_is_open(conn->phase) ? kith__conn_datagram_size_max(conn) : 0;
}

int kith_quic_datagram_send(struct kith_quic_conn *conn, struct kith_slice bytes, bool drop_oldest)
{
    size_t size_max;

    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    if (!conn->peer_limits_known)
        return KITH_ERR_STATE;
    size_max = kith__conn_datagram_size_max(conn);
    if (size_max == 0)
        return KITH_ERR_UNSUPPORTED;
    if (bytes.size > size_max)
        return KITH_ERR_TOO_LARGE;
    return finish(conn, kith__datagram_queue_push(&conn->datagrams_out, bytes, drop_oldest));
}

int kith_quic_datagram_receive(struct kith_quic_conn *conn, void *out, size_t capacity, size_t *size)
{
    struct kith_slice bytes;
    int err = kith__datagram_queue_peek(&conn->datagrams_in, &bytes);

    if (err != 0)
        return err == KITH_ERR_AGAIN && !kith__phase_is_open(conn->phase) ? KITH_ERR_CLOSED : err;
    if (bytes.size > capacity)
        return KITH_ERR_TOO_LARGE;
    if (bytes.size != 0)
        memcpy(out, bytes.ptr, bytes.size);
    *size = bytes.size;
    kith__datagram_queue_pop(&conn->datagrams_in);
    return 0;
}
