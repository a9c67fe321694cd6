/*
 * Records of an open https stream: how received bytes become whole records, what records say, and how output is queued. A
 * record that lies whole in the caller's bytes is opened there; one that does not is gathered in `kept`.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "tls/stream_internal.h"

enum { UPDATES_IN_A_ROW_MAX = 32, WARNINGS_MAX = 4, ALERT_SIZE = 2, ALERT_FATAL = 2 };
enum { MESSAGE_NEW_SESSION_TICKET = 4, MESSAGE_KEY_UPDATE = 24, KEY_UPDATE_SIZE = 5 };

/* ---- Input ---- */

static size_t kept_size(const struct kith_tls_stream *stream)
{
    return stream->kept.size - stream->kept_at;
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

/** Moves input bytes behind the kept ones until those are `size`, as far as there are any. */
static int gather(struct kith_tls_stream *stream, size_t size)
{
    size_t part;

    if (kept_size(stream) >= size)
        return 0;
    part = KITH_MIN(size - kept_size(stream), stream->input_size);
    if (stream->kept_at > 0) { /* what is left is less than a record */
        kith__buf_consume(&stream->kept, stream->kept_at);
        stream->kept_at = 0;
    }
    if (part > 0 && kith__buf_append(&stream->kept, stream->input, part) != 0)
        return kith__tls_stream_fail_memory(stream);
    input_skip(stream, part);
    return 0;
}

int kith__tls_stream_keep(struct kith_tls_stream *stream)
{
    return stream->input_size == 0 ? 0 : gather(stream, kept_size(stream) + stream->input_size);
}

static int read_header(struct kith_tls_stream *stream, const uint8_t *bytes, size_t *record_size)
{
    struct kith_record_header header;
    int err = kith__record_header_read(bytes, &header);

    if (err == KITH_ERR_TOO_LARGE)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_RECORD_OVERFLOW, "a record is longer than allowed");
    if (err != 0)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_DECODE_ERROR, "the received bytes are no TLS record");
    *record_size = KITH_RECORD_HEADER_SIZE + header.body_size;
    return 0;
}

/** A whole record, or AGAIN: what there is of it was moved to `kept`. */
static int next_record(struct kith_tls_stream *stream, uint8_t **record, size_t *size)
{
    int err;

    if (kept_size(stream) == 0 && stream->input_size >= KITH_RECORD_HEADER_SIZE) {
        if ((err = read_header(stream, stream->input, size)) != 0)
            return err;
        if (stream->input_size >= *size) {
            *record = stream->input;
            input_skip(stream, *size);
            return 0;
        }
    }
    if ((err = gather(stream, KITH_RECORD_HEADER_SIZE)) != 0)
        return err;
    if (kept_size(stream) < KITH_RECORD_HEADER_SIZE)
        return KITH_ERR_AGAIN;
    if ((err = read_header(stream, stream->kept.ptr + stream->kept_at, size)) != 0 ||
        (err = gather(stream, *size)) != 0)
        return err;
    if (kept_size(stream) < *size)
        return KITH_ERR_AGAIN;
    *record = stream->kept.ptr + stream->kept_at;
    stream->kept_at += *size;
    return 0;
}

/* ---- What records say ---- */

static int unexpected(struct kith_tls_stream *stream, const char *text)
{
    return kith__tls_stream_fail(stream, KITH_TLS_ALERT_UNEXPECTED_MESSAGE, text);
}

static int on_alert(struct kith_tls_stream *stream, const struct kith_record *record)
{
    uint8_t level, alert;

    if (record->size != ALERT_SIZE)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_DECODE_ERROR, "an alert has another size than it should");
    level = record->bytes[0];
    alert = record->bytes[1];
    if (alert == KITH_TLS_ALERT_CLOSE_NOTIFY) {
        stream->peer_is_closed = true;
        return 0;
    }
    /* The level means nothing in TLS 1.3, where one more alert ends nothing: RFC 8446, 6. */
    if ((stream->in.is_tls13 ? alert == KITH_TLS_ALERT_USER_CANCELED : level != ALERT_FATAL) &&
        ++stream->warnings <= WARNINGS_MAX)
        return 0;
    return kith__tls_stream_fail_by_peer(stream, alert);
}

static int on_key_update(struct kith_tls_stream *stream, uint8_t request, bool is_last)
{
    int err;

    if (request > 1)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_ILLEGAL_PARAMETER, "a key update asks for what is not");
    if (!is_last)
        return unexpected(stream, "a key update is not the end of its record");
    if (++stream->updates > UPDATES_IN_A_ROW_MAX)
        return unexpected(stream, "the other side updates its keys over and over");
    if ((err = kith__record_keys_update(&stream->in)) != 0)
        return err == KITH_ERR_NOMEM ? kith__tls_stream_fail_memory(stream)
                                     : kith__tls_stream_fail(stream, KITH_TLS_ALERT_INTERNAL_ERROR, "no new key");
    if (request == 1)
        stream->is_update_due = true; /* one answer is enough for several (RFC 8446, 4.6.3) */
    return 0;
}

/** The header of a message after the handshake is complete; its body follows. */
static int on_message_start(struct kith_tls_stream *stream)
{
    const uint8_t *header = stream->message.header;
    uint32_t size = (uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 | header[3];
    bool is_ticket = header[0] == MESSAGE_NEW_SESSION_TICKET && !stream->is_server;

    if (!stream->in.is_tls13)
        return unexpected(stream, "the other side wants to negotiate again");
    if (header[0] == MESSAGE_KEY_UPDATE ? size != 1 : !is_ticket)
        return unexpected(stream, "a message that does not belong after the handshake");
    stream->message.left = size;
    return 0;
}

/** Tickets are skipped: sessions are not resumed. Nothing of a message is stored but its header. */
static int on_handshake(struct kith_tls_stream *stream, const uint8_t *bytes, size_t size)
{
    int err;

    if (size == 0)
        return unexpected(stream, "an empty handshake record");
    for (size_t at = 0; at < size;) {
        if (stream->message.got < sizeof stream->message.header) {
            stream->message.header[stream->message.got++] = bytes[at++];
            if (stream->message.got < sizeof stream->message.header)
                continue;
            if ((err = on_message_start(stream)) != 0)
                return err;
        } else if (stream->message.header[0] == MESSAGE_KEY_UPDATE) {
            stream->message.left = 0;
            if ((err = on_key_update(stream, bytes[at], at + 1 == size)) != 0)
                return err;
            at++;
        } else {
            size_t part = KITH_MIN(size - at, (size_t)stream->message.left);

            stream->message.left -= (uint32_t)part;
            at += part;
        }
        if (stream->message.got == sizeof stream->message.header && stream->message.left == 0)
            stream->message.got = 0;
    }
    return 0;
}

static int on_record(struct kith_tls_stream *stream, const struct kith_record *record)
{
    if (record->type != KITH_RECORD_HANDSHAKE && stream->message.got != 0)
        return unexpected(stream, "another record in the middle of a message");
    switch (record->type) {
    case KITH_RECORD_DATA:
        if (record->size > 0)
            stream->updates = 0;
        return 0;
    case KITH_RECORD_ALERT:
        return on_alert(stream, record);
    case KITH_RECORD_HANDSHAKE:
        return on_handshake(stream, record->bytes, record->size);
    default:
        return unexpected(stream, "a record that does not belong after the handshake");
    }
}

static int open_record(struct kith_tls_stream *stream, struct kith_record *out)
{
    uint8_t *bytes;
    size_t size;
    int err = next_record(stream, &bytes, &size);

    if (err != 0)
        return err;
    err = kith__record_open(&stream->in, bytes, size, out);
    if (err == KITH_ERR_TOO_LARGE)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_RECORD_OVERFLOW, "a record holds more than allowed");
    if (err == KITH_ERR_PARSE)
        return unexpected(stream, "a record without a type");
    if (err != 0)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_BAD_RECORD_MAC, "a record was changed on its way");
    return on_record(stream, out);
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
    struct kith_record record = { 0 };
    int err = 0;

    while (err == 0 && stream->state == KITH_TLS_STREAM_OPEN && !stream->peer_is_closed) {
        kept_release(stream); /* what was read last may have been in there */
        if ((err = open_record(stream, &record)) != 0 || record.type != KITH_RECORD_DATA || record.size == 0)
            continue;
        *bytes = record.bytes;
        *size = record.size;
        return 0;
    }
    kept_release(stream);
    return read_end(stream);
}

/* ---- Output ---- */

int kith__tls_stream_queue(struct kith_tls_stream *stream, enum kith_record_type type, const uint8_t *bytes,
                           size_t size)
{
    size_t sealed = kith__record_sealed_size(&stream->out, size);

    if (kith__buf_reserve(&stream->queued, sealed) != 0)
        return KITH_ERR_NOMEM;
    if (kith__record_seal(&stream->out, type, bytes, size, stream->queued.ptr + stream->queued.size) != 0)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_INTERNAL_ERROR, "a record could not be sealed");
    stream->queued.size += sealed;
    return 0;
}

/** Sends a key update if one is due: the other side asks, or the key has done its work. */
static int update_if_due(struct kith_tls_stream *stream)
{
    static const uint8_t message[KEY_UPDATE_SIZE] = { MESSAGE_KEY_UPDATE, 0, 0, 1, 0 };
    struct kith_record_keys before;
    int err;

    if (!stream->is_update_due && !kith__record_keys_are_worn(&stream->out))
        return 0;
    if (stream->state != KITH_TLS_STREAM_OPEN || stream->is_closed)
        return 0;
    if (!stream->out.is_tls13)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_INTERNAL_ERROR,
                                     "the key has protected as much as it may, and TLS 1.2 has no other");
    /* The new key first, so that nothing is queued if there is none. */
    if ((err = kith__buf_reserve(&stream->queued, kith__record_sealed_size(&stream->out, sizeof message))) != 0)
        return err;
    if ((err = kith__record_keys_next(&stream->out, &before)) != 0)
        return err;
    err = kith__record_seal(&before, KITH_RECORD_HANDSHAKE, message, sizeof message,
                            stream->queued.ptr + stream->queued.size);
    stream->queued.size += err == 0 ? kith__record_sealed_size(&before, sizeof message) : 0;
    kith__record_keys_dispose(&before);
    stream->is_update_due = false;
    return err == 0 ? 0 : kith__tls_stream_fail(stream, KITH_TLS_ALERT_INTERNAL_ERROR, "a record could not be sealed");
}

size_t kith__tls_stream_output_size(const struct kith_tls_stream *stream)
{
    return stream->sending.size - stream->sending_at + stream->queued.size;
}

bool kith__tls_stream_is_writable(const struct kith_tls_stream *stream)
{
    return stream->state == KITH_TLS_STREAM_OPEN && !stream->is_closed &&
           kith__tls_stream_output_size(stream) + kith__record_sealed_size(&stream->out, 1) <=
               KITH_TLS_STREAM_OUTPUT_MAX;
}

/** Of `size` plaintext bytes, how many fit into `room` bytes of records, and how large those are. */
static size_t fit(const struct kith_tls_stream *stream, size_t size, size_t room, size_t *sealed)
{
    size_t overhead = kith__record_sealed_size(&stream->out, 0), taken = 0;

    for (*sealed = 0; taken < size && room > overhead;) {
        size_t part = KITH_MIN(KITH_MIN(size - taken, (size_t)stream->record_max), room - overhead);

        taken += part;
        *sealed += overhead + part;
        room -= overhead + part;
    }
    return taken;
}

int kith__tls_stream_write(struct kith_tls_stream *stream, const uint8_t *bytes, size_t size, size_t *taken)
{
    size_t waiting = kith__tls_stream_output_size(stream), fits, sealed, part;
    int err;

    if (stream->state == KITH_TLS_STREAM_FAILED)
        return stream->err;
    if (stream->is_closed)
        return KITH_ERR_CLOSED;
    if (!kith__tls_stream_is_writable(stream))
        return KITH_ERR_AGAIN;
    fits = fit(stream, size, KITH_TLS_STREAM_OUTPUT_MAX - waiting, &sealed);
    if ((err = kith__buf_reserve(&stream->queued, sealed)) != 0)
        return err;
    for (size_t at = 0; at < fits; at += part) {
        part = KITH_MIN(fits - at, (size_t)stream->record_max);
        if ((err = update_if_due(stream)) == 0)
            err = kith__tls_stream_queue(stream, KITH_RECORD_DATA, bytes + at, part);
        if (err != 0 && at > 0 &&
            stream->state == KITH_TLS_STREAM_OPEN) { /* no memory for a key update in the middle */
            *taken = at;
            return 0;
        }
        if (err != 0)
            return err;
    }
    *taken = fits;
    return 0;
}

struct kith_slice kith__tls_stream_output(struct kith_tls_stream *stream)
{
    if (stream->state == KITH_TLS_STREAM_OPEN)
        (void)(update_if_due(stream) == 0); /* without memory it stays due */
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
