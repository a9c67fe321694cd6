/*
 * Bytes of an open https stream, by the library over memory: what it pulls comes from the bytes that were received, what it
 * pushes is queued. A record that was read stays in the library's packet until the next read, so that nothing is copied.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "tls/stream_internal.h"

enum {
    WARNINGS_MAX = 4,
    RECORD_OVERHEAD = 48, /* more than header, explicit nonce, type and tag of any record that we offer */
    EXTRA_SIZE = 256      /* what the library may send before data, or as an alert */
};

/* ---- Input ---- */

static size_t kept_size(const struct kith_tls_stream *stream)
{
    return stream->kept.size - stream->kept_at;
}

static size_t unread_size(const struct kith_tls_stream *stream)
{
    return kept_size(stream) + stream->input_size;
}

static void kept_release(struct kith_tls_stream *stream)
{
    if (kept_size(stream) > 0 || stream->kept.ptr == NULL)
        return;
    kith__buf_dispose(&stream->kept);
    stream->kept_at = 0;
}

static void input_skip(struct kith_tls_stream *stream, size_t size)
{
    stream->input_size -= size;
    stream->input = stream->input_size > 0 ? stream->input + size : NULL;
}

size_t kith__tls_stream_pull(struct kith_tls_stream *stream, void *out, size_t size)
{
    size_t from_kept = KITH_MIN(size, kept_size(stream)), from_input = KITH_MIN(size - from_kept, stream->input_size);

    if (from_kept > 0)
        memcpy(out, stream->kept.ptr + stream->kept_at, from_kept);
    stream->kept_at += from_kept;
    if (from_input > 0) {
        memcpy((uint8_t *)out + from_kept, stream->input, from_input);
        input_skip(stream, from_input);
    }
    kept_release(stream);
    return from_kept + from_input;
}

int kith__tls_stream_keep(struct kith_tls_stream *stream)
{
    if (stream->input_size == 0)
        return 0;
    if (stream->kept_at > 0) {
        kith__buf_consume(&stream->kept, stream->kept_at);
        stream->kept_at = 0;
    }
    if (kith__buf_append(&stream->kept, stream->input, stream->input_size) != 0)
        return kith__tls_stream_fail_memory(stream);
    input_skip(stream, stream->input_size);
    return 0;
}

void kith__tls_stream_packet_release(struct kith_tls_stream *stream)
{
    if (stream->packet != NULL)
        gnutls_packet_deinit(stream->packet);
    stream->packet = NULL;
}

/** The library could not read on. 0: that was nothing serious. */
static int on_trouble(struct kith_tls_stream *stream, int rv)
{
    if (stream->out_of_memory || rv == GNUTLS_E_MEMORY_ERROR)
        return kith__tls_stream_fail_memory(stream);
    switch (rv) {
    case GNUTLS_E_WARNING_ALERT_RECEIVED:
        return ++stream->warnings <= WARNINGS_MAX
                   ? 0
                   : kith__tls_stream_fail_by_peer(stream, (uint8_t)gnutls_alert_get(stream->session));
    case GNUTLS_E_FATAL_ALERT_RECEIVED:
        return kith__tls_stream_fail_by_peer(stream, (uint8_t)gnutls_alert_get(stream->session));
    case GNUTLS_E_REHANDSHAKE:
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_UNEXPECTED_MESSAGE,
                                     "the other side wants to negotiate again");
    case GNUTLS_E_DECRYPTION_FAILED:
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_BAD_RECORD_MAC, "a record was changed on its way");
    case GNUTLS_E_TOO_MANY_EMPTY_PACKETS:
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_UNEXPECTED_MESSAGE, "nothing but empty records");
    default:
        return kith__tls_stream_fail(stream, (uint8_t)gnutls_error_to_alert(rv, NULL), kith__tls_stream_text(rv));
    }
}

/** The next plaintext. 0 with *size 0: there was something else. */
static int read_packet(struct kith_tls_stream *stream, uint8_t **bytes, size_t *size)
{
    size_t before = unread_size(stream);
    gnutls_datum_t datum = { NULL, 0 };
    ssize_t rv = gnutls_record_recv_packet(stream->session, &stream->packet);

    *size = 0;
    if (rv > 0) {
        gnutls_packet_get(stream->packet, &datum, NULL);
        *bytes = datum.data;
        *size = datum.size;
        return 0;
    }
    if (rv == 0) { /* an empty record comes in a packet, close_notify in none */
        stream->peer_is_closed = stream->packet == NULL;
        return 0;
    }
    /* The library also stops after a message that is none of ours (a ticket, a key update); all is used up only if it got
     * no further. */
    if (rv == GNUTLS_E_AGAIN || rv == GNUTLS_E_INTERRUPTED)
        return unread_size(stream) > 0 && unread_size(stream) < before ? 0 : KITH_ERR_AGAIN;
    return on_trouble(stream, (int)rv);
}

/** What a stream says that has nothing more to read. */
static int read_end(struct kith_tls_stream *stream)
{
    if (stream->state == KITH_TLS_STREAM_FAILED)
        return stream->err;
    if (stream->peer_is_closed) {
        input_skip(stream, stream->input_size); /* RFC 8446, 6.1: what comes behind is ignored */
        kith__buf_dispose(&stream->kept);
        stream->kept_at = 0;
        return KITH_ERR_END;
    }
    if (!stream->is_ended)
        return KITH_ERR_AGAIN;
    stream->failure.text = stream->state == KITH_TLS_STREAM_SHAKING
                               ? "the other side went away during the handshake"
                               : "the connection ended before the other side said that it was through";
    return KITH_ERR_TRUNCATED;
}

int kith__tls_stream_read(struct kith_tls_stream *stream, uint8_t **bytes, size_t *size)
{
    size_t got;
    int err = 0;

    while (err == 0 && stream->state == KITH_TLS_STREAM_OPEN && !stream->peer_is_closed) {
        kith__tls_stream_packet_release(stream);
        if ((err = read_packet(stream, bytes, &got)) != 0 || got == 0)
            continue;
        *size = got;
        return 0;
    }
    return read_end(stream);
}

/* ---- Output ---- */

int kith__tls_stream_queue(struct kith_tls_stream *stream, const void *bytes, size_t size)
{
    return kith__buf_append(&stream->queued, bytes, size);
}

size_t kith__tls_stream_output_size(const struct kith_tls_stream *stream)
{
    return stream->sending.size - stream->sending_at + stream->queued.size;
}

bool kith__tls_stream_is_writable(const struct kith_tls_stream *stream)
{
    return stream->state == KITH_TLS_STREAM_OPEN && !stream->is_closed &&
           kith__tls_stream_output_size(stream) + RECORD_OVERHEAD < KITH_TLS_STREAM_OUTPUT_MAX;
}

/** One record of at most `size` bytes; *sent may be less: the other side may want smaller ones. */
static int write_record(struct kith_tls_stream *stream, const uint8_t *bytes, size_t size, size_t *sent)
{
    ssize_t rv;

    size = KITH_MIN(size, (size_t)KITH_TLS_STREAM_RECORD_MAX);
    size = KITH_MIN(size, KITH_TLS_STREAM_OUTPUT_MAX - kith__tls_stream_output_size(stream) - RECORD_OVERHEAD);
    /* Room first: a record that the library has made cannot be taken back. */
    if (kith__buf_reserve(&stream->queued, size + EXTRA_SIZE) != 0)
        return KITH_ERR_NOMEM;
    if ((rv = gnutls_record_send(stream->session, bytes, size)) > 0) {
        *sent = (size_t)rv;
        return 0;
    }
    if (stream->out_of_memory || rv == GNUTLS_E_MEMORY_ERROR)
        return kith__tls_stream_fail_memory(stream);
    return kith__tls_stream_fail(stream, KITH_TLS_ALERT_INTERNAL_ERROR, "a record could not be sealed");
}

int kith__tls_stream_write(struct kith_tls_stream *stream, const uint8_t *bytes, size_t size, size_t *taken)
{
    size_t at = 0, sent = 0;
    int err = 0;

    if (stream->state == KITH_TLS_STREAM_FAILED)
        return stream->err;
    if (stream->is_closed)
        return KITH_ERR_CLOSED;
    if (!kith__tls_stream_is_writable(stream))
        return KITH_ERR_AGAIN;
    for (; at < size && kith__tls_stream_is_writable(stream); at += sent)
        if ((err = write_record(stream, bytes + at, size - at, &sent)) != 0)
            break;
    if (err != 0 && (at == 0 || stream->state == KITH_TLS_STREAM_FAILED))
        return err;
    *taken = at;
    return 0;
}

int kith__tls_stream_close(struct kith_tls_stream *stream)
{
    if (stream->state != KITH_TLS_STREAM_OPEN || stream->is_closed)
        return 0;
    if (kith__buf_reserve(&stream->queued, EXTRA_SIZE) != 0)
        return KITH_ERR_NOMEM;
    if (gnutls_bye(stream->session, GNUTLS_SHUT_WR) < 0)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_INTERNAL_ERROR, "the end could not be told");
    stream->is_closed = true;
    return 0;
}

struct kith_slice kith__tls_stream_output(struct kith_tls_stream *stream)
{
    if (stream->sending.size == 0) {
        stream->sending = kith__buf_take(&stream->queued);
        stream->sending_at = 0;
    }
    return (struct kith_slice) { stream->sending.size > 0 ? stream->sending.ptr + stream->sending_at : NULL,
                                 stream->sending.size - stream->sending_at };
}

void kith__tls_stream_sent(struct kith_tls_stream *stream, size_t size)
{
    KITH_ASSERT(size <= stream->sending.size - stream->sending_at);
    stream->sending_at += size;
    if (stream->sending_at == stream->sending.size) {
        kith__buf_dispose(&stream->sending);
        stream->sending_at = 0;
    }
}
