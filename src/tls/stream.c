/* The life of an https stream: how it begins, fails and ends. Records are in stream_io.c, the handshake in stream_shake.c. */
#include "tls/stream.h"
#include "base/assert.h"
#include "base/mem.h"
#include "crypto/secure.h"
#include "tls/stream_internal.h"
#include "tls/x509.h"

enum { ALERT_WARNING = 1, ALERT_FATAL = 2 };

/* ---- Failing ---- */

static void forget_keys(struct kith_tls_stream *stream)
{
    kith__tls_stream_handshake_free(stream);
    kith__record_keys_dispose(&stream->in);
    kith__record_keys_dispose(&stream->out);
    kith__buf_dispose(&stream->kept);
    kith__wipe(&stream->exporter, sizeof stream->exporter);
    stream->has_master = false;
    stream->kept_at = stream->input_size = 0;
    stream->input = NULL;
}

static void enter_failed(struct kith_tls_stream *stream, int err)
{
    stream->state = KITH_TLS_STREAM_FAILED;
    stream->err = err;
    forget_keys(stream);
}

/** As far as memory allows; the other side learns of the end in any case. */
static void send_alert(struct kith_tls_stream *stream, uint8_t alert)
{
    uint8_t bytes[2] = { ALERT_FATAL, alert };

    if (stream->state == KITH_TLS_STREAM_SHAKING && stream->handshake->session != NULL)
        (void)gnutls_alert_send(stream->handshake->session, GNUTLS_AL_FATAL, (gnutls_alert_description_t)alert);
    else if (stream->state == KITH_TLS_STREAM_OPEN && !stream->is_closed)
        (void)(kith__tls_stream_queue(stream, KITH_RECORD_ALERT, bytes, sizeof bytes) == 0);
}

int kith__tls_stream_fail(struct kith_tls_stream *stream, uint8_t alert, const char *text)
{
    if (stream->state == KITH_TLS_STREAM_FAILED)
        return stream->err;
    stream->failure =
        (struct kith_tls_stream_failure) { .text = text, .alert = alert, .alert_name = kith__tls_alert_name(alert) };
    send_alert(stream, alert);
    enter_failed(stream, KITH_ERR_TLS);
    return KITH_ERR_TLS;
}

int kith__tls_stream_fail_by_peer(struct kith_tls_stream *stream, uint8_t alert)
{
    stream->failure = (struct kith_tls_stream_failure) {
        .text = stream->state == KITH_TLS_STREAM_SHAKING ? "the other side refused the handshake with an alert"
                                                         : "the other side ended the connection with an alert",
        .alert = alert,
        .alert_name = kith__tls_alert_name(alert),
        .from_peer = true,
    };
    enter_failed(stream, KITH_ERR_TLS);
    return KITH_ERR_TLS;
}

int kith__tls_stream_fail_memory(struct kith_tls_stream *stream)
{
    if (stream->state == KITH_TLS_STREAM_FAILED)
        return stream->err;
    stream->failure = (struct kith_tls_stream_failure) { .text = "out of memory" };
    enter_failed(stream, KITH_ERR_NOMEM);
    return KITH_ERR_NOMEM;
}

struct kith_tls_stream_failure kith__tls_stream_failure(const struct kith_tls_stream *stream)
{
    return stream->failure;
}

/* ---- Beginning ---- */

static int take_name(struct kith_tls_stream_handshake *shake, const char *name)
{
    size_t size = strlen(name);

    if (size > 1 && name[size - 1] == '.')
        size--;
    if (size > KITH_TLS_NAME_SIZE_MAX)
        return KITH_ERR_INVALID;
    memcpy(shake->name, name, size);
    return kith__x509_is_name(shake->name) ? 0 : KITH_ERR_INVALID;
}

int kith__tls_stream_new(struct kith_tls_stream_context *context, const char *name, struct kith_tls_stream **out)
{
    struct kith_tls_stream *stream;
    int err = 0;

    if (context->is_client != (name != NULL))
        return KITH_ERR_INVALID;
    if ((stream = kith__alloc_zero(context->mem, sizeof *stream)) == NULL)
        return KITH_ERR_NOMEM;
    stream->mem = context->mem;
    stream->is_server = name == NULL;
    stream->record_max = KITH_TLS_STREAM_RECORD_MAX;
    kith__buf_init(&stream->kept, context->mem);
    kith__buf_init(&stream->sending, context->mem);
    kith__buf_init(&stream->queued, context->mem);
    if ((stream->handshake = kith__alloc_zero(context->mem, sizeof *stream->handshake)) == NULL) {
        kith__free(context->mem, stream);
        return KITH_ERR_NOMEM;
    }
    stream->handshake->context = kith__tls_stream_context_retain(context);
    if (name != NULL && (err = take_name(stream->handshake, name)) == 0)
        err = kith__tls_stream_shake(stream); /* its first bytes */
    if (err != 0) {
        kith__tls_stream_free(stream);
        return err;
    }
    *out = stream;
    return 0;
}

void kith__tls_stream_free(struct kith_tls_stream *stream)
{
    const struct kith_mem *mem;

    if (stream == NULL)
        return;
    mem = stream->mem;
    forget_keys(stream);
    kith__buf_dispose(&stream->sending);
    kith__buf_dispose(&stream->queued);
    kith__wipe(stream, sizeof *stream);
    kith__free(mem, stream);
}

/* ---- Going on and ending ---- */

int kith__tls_stream_receive(struct kith_tls_stream *stream, uint8_t *bytes, size_t size)
{
    int err;

    if (stream->state == KITH_TLS_STREAM_FAILED)
        return stream->err;
    if (stream->peer_is_closed || stream->is_ended)
        return KITH_ERR_CLOSED;
    if ((err = kith__tls_stream_keep(stream)) != 0)
        return err;
    stream->input = size > 0 ? bytes : NULL;
    stream->input_size = size;
    if (stream->state != KITH_TLS_STREAM_SHAKING)
        return 0;
    stream->handshake->received += size;
    return kith__tls_stream_shake(stream);
}

void kith__tls_stream_on_end(struct kith_tls_stream *stream)
{
    stream->is_ended = true;
}

int kith__tls_stream_close(struct kith_tls_stream *stream)
{
    static const uint8_t bytes[2] = { ALERT_WARNING, KITH_TLS_ALERT_CLOSE_NOTIFY };
    int err;

    if (stream->state != KITH_TLS_STREAM_OPEN || stream->is_closed)
        return 0;
    if ((err = kith__tls_stream_queue(stream, KITH_RECORD_ALERT, bytes, sizeof bytes)) != 0)
        return err;
    stream->is_closed = true;
    return 0;
}

/* ---- Questions ---- */

bool kith__tls_stream_is_open(const struct kith_tls_stream *stream)
{
    return stream->state == KITH_TLS_STREAM_OPEN;
}

bool kith__tls_stream_is_challenge(const struct kith_tls_stream *stream)
{
    return stream->is_challenge;
}

struct kith_slice kith__tls_stream_alpn(const struct kith_tls_stream *stream)
{
    return (struct kith_slice) { stream->alpn, stream->alpn_size };
}

const char *kith__tls_stream_version(const struct kith_tls_stream *stream)
{
    if (stream->state != KITH_TLS_STREAM_OPEN)
        return "";
    return stream->in.is_tls13 ? "TLS 1.3" : "TLS 1.2";
}

const char *kith__tls_stream_cipher(const struct kith_tls_stream *stream)
{
    return stream->state == KITH_TLS_STREAM_OPEN ? kith__cipher_name((enum kith_cipher)stream->cipher) : "";
}

int kith__tls_stream_export(const struct kith_tls_stream *stream, struct kith_slice label, struct kith_slice context,
                            uint8_t *out, size_t size)
{
    enum kith_digest digest = kith__cipher_digest((enum kith_cipher)stream->cipher);

    if (stream->state != KITH_TLS_STREAM_OPEN)
        return KITH_ERR_STATE;
    if (size == 0 || size > KITH_TLS_STREAM_EXPORT_MAX || context.size > KITH_TLS_STREAM_EXPORT_CONTEXT_MAX)
        return KITH_ERR_INVALID;
    if (stream->in.is_tls13)
        return kith__exporter13(digest, stream->exporter.secret, label, context, out, size);
    return stream->has_master ? kith__exporter12(digest, &stream->exporter.v12, label, context, out, size)
                              : KITH_ERR_UNSUPPORTED;
}
