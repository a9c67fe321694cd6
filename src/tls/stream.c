/* The life of an https stream: how it begins, fails and ends. Records are in stream_io.c, the handshake in stream_shake.c. */
#include "tls/stream.h"
#include "base/assert.h"
#include "base/mem.h"
#include "crypto/hkdf.h"
#include "crypto/secure.h"
#include "tls/stream_internal.h"
#include "tls/x509.h"

/* ---- Failing ---- */

static void forget_session(struct kith_tls_stream *stream)
{
    kith__tls_stream_packet_release(stream);
    kith__tls_stream_handshake_free(stream);
    if (stream->session != NULL)
        gnutls_deinit(stream->session);
    kith__tls_stream_context_release(stream->context); /* the session points into it */
    stream->session = NULL;
    stream->context = NULL;
    kith__buf_dispose(&stream->kept);
    stream->kept_at = stream->input_size = 0;
    stream->input = NULL;
}

static void enter_failed(struct kith_tls_stream *stream, int err)
{
    stream->state = KITH_TLS_STREAM_FAILED;
    stream->err = err;
    forget_session(stream);
}

int kith__tls_stream_fail(struct kith_tls_stream *stream, uint8_t alert, const char *text)
{
    if (stream->state == KITH_TLS_STREAM_FAILED)
        return stream->err;
    stream->failure =
        (struct kith_tls_stream_failure) { .text = text, .alert = alert, .alert_name = kith__tls_alert_name(alert) };
    if (stream->session != NULL &&
        !stream->is_closed) /* as far as memory allows; the other side learns of the end anyway */
        (void)gnutls_alert_send(stream->session, GNUTLS_AL_FATAL, (gnutls_alert_description_t)alert);
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

    if (size > 0 && name[size - 1] == '.')
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
    kith__buf_init(&stream->kept, context->mem);
    kith__buf_init(&stream->sending, context->mem);
    kith__buf_init(&stream->queued, context->mem);
    if ((stream->handshake = kith__alloc_zero(context->mem, sizeof *stream->handshake)) == NULL) {
        kith__free(context->mem, stream);
        return KITH_ERR_NOMEM;
    }
    stream->context = kith__tls_stream_context_retain(context);
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
    forget_session(stream);
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
    return gnutls_protocol_get_version(stream->session) == GNUTLS_TLS1_3 ? "TLS 1.3" : "TLS 1.2";
}

const char *kith__tls_stream_cipher(const struct kith_tls_stream *stream)
{
    return stream->state == KITH_TLS_STREAM_OPEN ? kith__cipher_name((enum kith_cipher)stream->cipher) : "";
}

int kith__tls_stream_export(const struct kith_tls_stream *stream, struct kith_slice label, struct kith_slice context,
                            uint8_t *out, size_t size)
{
    if (stream->state != KITH_TLS_STREAM_OPEN)
        return KITH_ERR_STATE;
    if (size == 0 || size > KITH_TLS_STREAM_EXPORT_MAX || context.size > KITH_TLS_STREAM_EXPORT_CONTEXT_MAX ||
        label.size == 0 || label.size > KITH_HKDF_LABEL_SIZE_MAX)
        return KITH_ERR_INVALID;
    /* Without the extended master secret two connections may share a master secret (RFC 7627, 5.4). */
    if (gnutls_protocol_get_version(stream->session) != GNUTLS_TLS1_3 &&
        gnutls_session_ext_master_secret_status(stream->session) == 0)
        return KITH_ERR_UNSUPPORTED;
    return gnutls_prf_rfc5705(stream->session, label.size, (const char *)label.ptr, context.size,
                              (const char *)context.ptr, size, (char *)out) < 0
               ? KITH_ERR_CRYPTO
               : 0;
}
