/*
 * The handshake of an https stream, by the library over memory: what it pulls comes from the bytes that were received, what
 * it pushes is queued. What only the handshake needs is freed when it is complete.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "crypto/secure.h"
#include "tls/hello.h"
#include "tls/internal.h"
#include "tls/stream_internal.h"
#include "tls/x509.h"

#include <errno.h>

enum { WARNINGS_MAX = 4, CODE_ALERT_MASK = 0xff };

static const char acme_alpn[] = "acme-tls/1";

/* ---- Callbacks of the library ---- */

static ssize_t on_pull(gnutls_transport_ptr_t ptr, void *out, size_t size)
{
    struct kith_tls_stream *stream = ptr;
    size_t got = kith__tls_stream_pull(stream, out, size);

    if (got == 0 && size > 0) {
        gnutls_transport_set_errno(stream->session, EAGAIN);
        return -1;
    }
    return (ssize_t)got;
}

static ssize_t on_push(gnutls_transport_ptr_t ptr, const void *bytes, size_t size)
{
    struct kith_tls_stream *stream = ptr;

    if (kith__tls_stream_queue(stream, bytes, size) != 0) {
        stream->out_of_memory = true;
        gnutls_transport_set_errno(stream->session, ENOMEM);
        return -1;
    }
    return (ssize_t)size;
}

/* Being set, this function takes the place of the one that writes secrets to a file that the environment names. */
static int on_key_log(gnutls_session_t session, const char *label, const gnutls_datum_t *secret)
{
    (void)session;
    (void)label;
    (void)secret;
    return 0;
}

static int refuse(struct kith_tls_stream *stream, const struct kith_x509_reason *reason)
{
    stream->handshake->refusal = reason->text;
    stream->handshake->refusal_alert = (uint8_t)(reason->code & CODE_ALERT_MASK);
    stream->handshake->refusal_is_name = reason->wrong_name;
    return GNUTLS_E_CERTIFICATE_ERROR;
}

static int on_verify(gnutls_session_t session)
{
    struct kith_tls_stream *stream = gnutls_session_get_ptr(session);
    struct kith_x509_reason reason;
    unsigned status = GNUTLS_CERT_INVALID;
    int rv;

    if (stream->is_server || stream->context->accepts_any)
        return 0;
    if ((rv = gnutls_certificate_verify_peers3(session, stream->handshake->name, &status)) < 0)
        return rv;
    if (status == 0)
        return 0;
    reason = kith__x509_reason(status);
    return refuse(stream, &reason);
}

static bool is_challenge_list(struct kith_slice alpns)
{
    return alpns.size == sizeof acme_alpn && alpns.ptr[0] == sizeof acme_alpn - 1 &&
           memcmp(alpns.ptr + 1, acme_alpn, sizeof acme_alpn - 1) == 0;
}

/* Server, before the library looks at a ClientHello: its protocols decide which ones of ours the library is to know. */
static int on_client_hello(struct kith_tls_stream *stream, struct kith_slice body)
{
    gnutls_datum_t acme = { (unsigned char *)(uintptr_t)acme_alpn, sizeof acme_alpn - 1 };
    struct kith_client_hello hello;

    if (kith__client_hello_body_parse(body, &hello) != 0)
        return 0; /* the library says with which alert */
    if (!is_challenge_list(hello.alpns))
        return 0;
    stream->handshake->wants_challenge = true;
    return gnutls_alpn_set_protocols(stream->session, &acme, 1, GNUTLS_ALPN_MANDATORY);
}

/* Of every ClientHello, also of one that comes when the handshake is over, and is refused then. */
static int on_message(gnutls_session_t session, unsigned int type, unsigned when, unsigned int incoming,
                      const gnutls_datum_t *message)
{
    struct kith_tls_stream *stream = gnutls_session_get_ptr(session);

    (void)type;
    (void)when;
    return incoming && stream->handshake != NULL
               ? on_client_hello(stream, (struct kith_slice) { message->data, message->size })
               : 0;
}

static int choose_certificate(struct kith_tls_stream *stream, const char *name)
{
    struct kith_tls_stream_handshake *shake = stream->handshake;
    const struct kith_tls_stream_context *context = stream->context;

    if (shake->wants_challenge) {
        shake->chosen = name[0] != '\0' ? kith__tls_stream_choose(context, name, true) : NULL;
        shake->refusal = "a client wants to check acme-tls/1, but no challenge is pending for its name";
        return shake->chosen != NULL ? 0 : GNUTLS_E_NO_APPLICATION_PROTOCOL;
    }
    shake->chosen = name[0] != '\0' ? kith__tls_stream_choose(context, name, false) : NULL;
    if (shake->chosen == NULL && context->certificate_count > 0 && (name[0] == '\0' || !context->refuses_unknown_names))
        shake->chosen = &context->entries[0];
    shake->refusal = "there is no certificate for the name that the client asks for";
    return shake->chosen != NULL ? 0 : GNUTLS_E_UNRECOGNIZED_NAME;
}

static int on_after_client_hello(gnutls_session_t session)
{
    struct kith_tls_stream *stream = gnutls_session_get_ptr(session);
    char name[KITH_TLS_NAME_SIZE_MAX + 1];
    size_t size = sizeof name;
    unsigned type = 0;
    int rv = gnutls_server_name_get(session, name, &size, &type, 0);

    if (rv < 0 || type != GNUTLS_NAME_DNS || memchr(name, '\0', sizeof name) == NULL)
        name[0] = '\0';
    if ((rv = choose_certificate(stream, name)) == 0)
        stream->handshake->refusal = NULL;
    return rv;
}

/* ---- The session ---- */

static int offer_alpns(struct kith_tls_stream *stream, gnutls_session_t session)
{
    struct kith_slice list = kith__buf_slice(&stream->context->alpns);
    gnutls_datum_t names[KITH_TLS_STREAM_ALPNS_MAX];
    unsigned count = 0;

    for (size_t at = 0; at < list.size; at += 1u + list.ptr[at])
        names[count++] = (gnutls_datum_t) { (unsigned char *)list.ptr + at + 1, list.ptr[at] };
    if (count == 0)
        return 0;
    return gnutls_alpn_set_protocols(session, names, count,
                                     GNUTLS_ALPN_MANDATORY | (stream->is_server ? GNUTLS_ALPN_SERVER_PRECEDENCE : 0));
}

static int set_up_role(struct kith_tls_stream *stream, gnutls_session_t session)
{
    const char *name = stream->handshake->name;

    gnutls_session_set_verify_function(session, on_verify);
    if (!stream->is_server)
        return kith__x509_is_address(name) ? 0 : gnutls_server_name_set(session, GNUTLS_NAME_DNS, name, strlen(name));
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_CLIENT_HELLO, GNUTLS_HOOK_PRE, on_message);
    gnutls_handshake_set_post_client_hello_function(session, on_after_client_hello);
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_IGNORE);
    return 0;
}

int kith__tls_stream_session_open(struct kith_tls_stream *stream)
{
    unsigned flags = GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_SEND_TICKET | GNUTLS_NO_SIGNAL;
    int rv;

    flags |= stream->is_server ? GNUTLS_SERVER : GNUTLS_CLIENT | GNUTLS_KEY_SHARE_TOP;
    if ((rv = gnutls_init(&stream->session, flags)) < 0) {
        stream->session = NULL;
        return rv;
    }
    gnutls_session_set_ptr(stream->session, stream);
    gnutls_transport_set_ptr(stream->session, stream);
    gnutls_transport_set_pull_function(stream->session, on_pull);
    gnutls_transport_set_push_function(stream->session, on_push);
    gnutls_session_set_keylog_function(stream->session, on_key_log);
    gnutls_handshake_set_max_packet_length(stream->session, KITH_TLS_STREAM_HANDSHAKE_MAX);
    if ((rv = gnutls_priority_set(stream->session, stream->context->priority)) < 0 ||
        (rv = gnutls_credentials_set(stream->session, GNUTLS_CRD_CERTIFICATE, stream->context->credentials)) < 0 ||
        (rv = offer_alpns(stream, stream->session)) < 0)
        return rv;
    return set_up_role(stream, stream->session);
}

void kith__tls_stream_handshake_free(struct kith_tls_stream *stream)
{
    struct kith_tls_stream_handshake *shake = stream->handshake;

    if (shake == NULL)
        return;
    kith__free(stream->mem, shake);
    stream->handshake = NULL;
}

static int enter_open(struct kith_tls_stream *stream)
{
    gnutls_datum_t alpn = { NULL, 0 };

    stream->cipher = kith__tls_cipher_number(gnutls_cipher_get(stream->session));
    if (stream->cipher == 0)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_INTERNAL_ERROR, "a cipher that was not offered");
    if (gnutls_alpn_get_selected_protocol(stream->session, &alpn) == 0 && alpn.size <= sizeof stream->alpn) {
        memcpy(stream->alpn, alpn.data, alpn.size);
        stream->alpn_size = (uint8_t)alpn.size;
    }
    stream->is_challenge = stream->handshake->wants_challenge;
    kith__tls_stream_handshake_free(stream);
    stream->state = KITH_TLS_STREAM_OPEN;
    return 0;
}

/* ---- Driving ---- */

const char *kith__tls_stream_text(int rv)
{
    switch (rv) {
    case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
    case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
    case GNUTLS_E_UNEXPECTED_PACKET:
        return "the other side does not speak TLS, or no version that we take (1.2, 1.3)";
    case GNUTLS_E_NO_CIPHER_SUITES:
    case GNUTLS_E_INSUFFICIENT_SECURITY:
        return "no way of encryption in common";
    case GNUTLS_E_NO_APPLICATION_PROTOCOL:
        return "no application protocol in common";
    default:
        return gnutls_strerror(rv);
    }
}

static int fail_with(struct kith_tls_stream *stream, int rv)
{
    struct kith_tls_stream_handshake *shake = stream->handshake;

    if (rv == GNUTLS_E_MEMORY_ERROR || stream->out_of_memory)
        return kith__tls_stream_fail_memory(stream);
    if (rv == GNUTLS_E_FATAL_ALERT_RECEIVED)
        return kith__tls_stream_fail_by_peer(stream, (uint8_t)gnutls_alert_get(stream->session));
    if (shake->refusal != NULL) {
        bool is_name = shake->refusal_is_name;
        uint8_t alert = shake->refusal_alert != 0 ? shake->refusal_alert : (uint8_t)gnutls_error_to_alert(rv, NULL);

        kith__tls_stream_fail(stream, alert, shake->refusal);
        stream->failure.wrong_name = is_name;
        return KITH_ERR_TLS;
    }
    return kith__tls_stream_fail(stream, (uint8_t)gnutls_error_to_alert(rv, NULL), kith__tls_stream_text(rv));
}

int kith__tls_stream_shake(struct kith_tls_stream *stream)
{
    struct kith_tls_stream_handshake *shake = stream->handshake;
    int rv;

    if (stream->session == NULL && (rv = kith__tls_stream_session_open(stream)) < 0)
        return fail_with(stream, rv);
    for (;;) {
        rv = gnutls_handshake(stream->session);
        if (rv == 0)
            return enter_open(stream);
        if (rv == GNUTLS_E_AGAIN)
            break;
        if (gnutls_error_is_fatal(rv) || (rv == GNUTLS_E_WARNING_ALERT_RECEIVED && ++stream->warnings > WARNINGS_MAX))
            return fail_with(stream, rv);
    }
    if (shake->received > KITH_TLS_STREAM_HANDSHAKE_MAX)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_UNEXPECTED_MESSAGE, "the handshake is too long");
    return 0;
}
