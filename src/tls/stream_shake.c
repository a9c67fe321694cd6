/*
 * The handshake of an https stream, by the library over memory: what it pulls comes from the bytes that were received, what
 * it pushes is queued. When it is complete its keys move to record.c, and the library's session is freed.
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
        gnutls_transport_set_errno(stream->handshake->session, EAGAIN);
        return -1;
    }
    return (ssize_t)got;
}

static ssize_t on_push(gnutls_transport_ptr_t ptr, const void *bytes, size_t size)
{
    struct kith_tls_stream *stream = ptr;

    if (kith__buf_append(&stream->queued, bytes, size) != 0) {
        stream->handshake->out_of_memory = true;
        gnutls_transport_set_errno(stream->handshake->session, ENOMEM);
        return -1;
    }
    return (ssize_t)size;
}

/* The library tells secrets in no other way that works for both directions; being set, this function also takes the place of
 * the one that writes to SSLKEYLOGFILE. */
static int on_key_log(gnutls_session_t session, const char *label, const gnutls_datum_t *secret)
{
    struct kith_tls_stream *stream = gnutls_session_get_ptr(session);

    if (secret->size > KITH_DIGEST_SIZE_MAX)
        return 0;
    if (strcmp(label, "CLIENT_TRAFFIC_SECRET_0") == 0)
        memcpy(stream->handshake->secrets[0], secret->data, secret->size);
    else if (strcmp(label, "SERVER_TRAFFIC_SECRET_0") == 0)
        memcpy(stream->handshake->secrets[1], secret->data, secret->size);
    else if (strcmp(label, "EXPORTER_SECRET") == 0)
        memcpy(stream->exporter.secret, secret->data, secret->size);
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

    if (stream->is_server || stream->handshake->context->accepts_any)
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
    return gnutls_alpn_set_protocols(stream->handshake->session, &acme, 1, GNUTLS_ALPN_MANDATORY);
}

/* Of every message that comes in, before the library looks at it: what the library does not tell. */
static int on_message(gnutls_session_t session, unsigned int type, unsigned when, unsigned int incoming,
                      const gnutls_datum_t *message)
{
    struct kith_tls_stream *stream = gnutls_session_get_ptr(session);
    struct kith_slice body = { message->data, message->size };
    uint16_t record_max;

    (void)when;
    if (!incoming)
        return 0;
    record_max = kith__hello_record_max((uint8_t)type, body);
    stream->record_max = (uint16_t)KITH_MIN(stream->record_max, record_max);
    return type == GNUTLS_HANDSHAKE_CLIENT_HELLO && stream->is_server ? on_client_hello(stream, body) : 0;
}

static int choose_certificate(struct kith_tls_stream *stream, const char *name)
{
    struct kith_tls_stream_handshake *shake = stream->handshake;
    const struct kith_tls_stream_context *context = shake->context;

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
    struct kith_slice list = kith__buf_slice(&stream->handshake->context->alpns);
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
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE, on_message);
    if (!stream->is_server)
        return kith__x509_is_address(name) ? 0 : gnutls_server_name_set(session, GNUTLS_NAME_DNS, name, strlen(name));
    gnutls_handshake_set_post_client_hello_function(session, on_after_client_hello);
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_IGNORE);
    return 0;
}

int kith__tls_stream_session_open(struct kith_tls_stream *stream)
{
    struct kith_tls_stream_handshake *shake = stream->handshake;
    unsigned flags = GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_SEND_TICKET | GNUTLS_NO_SIGNAL;
    int rv;

    flags |= stream->is_server ? GNUTLS_SERVER : GNUTLS_CLIENT | GNUTLS_KEY_SHARE_TOP;
    if ((rv = gnutls_init(&shake->session, flags)) < 0) {
        shake->session = NULL;
        return rv;
    }
    gnutls_session_set_ptr(shake->session, stream);
    gnutls_transport_set_ptr(shake->session, stream);
    gnutls_transport_set_pull_function(shake->session, on_pull);
    gnutls_transport_set_push_function(shake->session, on_push);
    gnutls_session_set_keylog_function(shake->session, on_key_log);
    gnutls_handshake_set_max_packet_length(shake->session, KITH_TLS_STREAM_HANDSHAKE_MAX);
    if ((rv = gnutls_priority_set(shake->session, shake->context->priority)) < 0 ||
        (rv = gnutls_credentials_set(shake->session, GNUTLS_CRD_CERTIFICATE, shake->context->credentials)) < 0 ||
        (rv = offer_alpns(stream, shake->session)) < 0)
        return rv;
    return set_up_role(stream, shake->session);
}

void kith__tls_stream_handshake_free(struct kith_tls_stream *stream)
{
    struct kith_tls_stream_handshake *shake = stream->handshake;

    if (shake == NULL)
        return;
    if (shake->session != NULL)
        gnutls_deinit(shake->session);
    kith__tls_stream_context_release(shake->context);
    kith__wipe(shake, sizeof *shake);
    kith__free(stream->mem, shake);
    stream->handshake = NULL;
}

/* ---- From the library's keys to ours ---- */

static uint64_t sequence_of(const unsigned char bytes[8])
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

static int adopt_keys(struct kith_tls_stream *stream, bool is_read, struct kith_record_keys *out)
{
    struct kith_tls_stream_handshake *shake = stream->handshake;
    enum kith_cipher cipher = (enum kith_cipher)stream->cipher;
    size_t iv_size = cipher == KITH_CIPHER_CHACHA20_POLY1305 ? 12 : 4;
    bool is_server_data = is_read != stream->is_server;
    gnutls_datum_t mac, iv, key;
    unsigned char sequence[8];
    int err;

    if (gnutls_record_get_state(shake->session, is_read, &mac, &iv, &key, sequence) < 0)
        return KITH_ERR_CRYPTO;
    if (gnutls_protocol_get_version(shake->session) == GNUTLS_TLS1_3) {
        if ((err = kith__record_keys_init13(out, stream->mem, cipher, shake->secrets[is_server_data])) != 0)
            return err;
        out->sequence = sequence_of(sequence);
        return 0;
    }
    if (key.size != kith__cipher_key_size(cipher) || iv.size < iv_size)
        return KITH_ERR_CRYPTO;
    return kith__record_keys_init12(out, stream->mem, cipher, key.data, iv.data, sequence_of(sequence));
}

/* Without the extended master secret two connections may share a master secret, so there is no exporter (RFC 7627, 5.4). */
static void adopt_master(struct kith_tls_stream *stream)
{
    gnutls_session_t session = stream->handshake->session;
    struct kith_exporter12 *v12 = &stream->exporter.v12;
    gnutls_datum_t master, client_random, server_random;

    if (gnutls_session_ext_master_secret_status(session) == 0)
        return;
    gnutls_session_get_master_secret(session, &master);
    gnutls_session_get_random(session, &client_random, &server_random);
    if (master.size != sizeof v12->master || client_random.size != sizeof v12->client_random ||
        server_random.size != sizeof v12->server_random)
        return;
    memcpy(v12->master, master.data, master.size);
    memcpy(v12->client_random, client_random.data, client_random.size);
    memcpy(v12->server_random, server_random.data, server_random.size);
    stream->has_master = true;
}

static int adopt(struct kith_tls_stream *stream)
{
    struct kith_tls_stream_handshake *shake = stream->handshake;
    gnutls_datum_t alpn = { NULL, 0 };
    int err;

    stream->cipher = kith__tls_cipher_number(gnutls_cipher_get(shake->session));
    if (stream->cipher == 0)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_INTERNAL_ERROR, "a cipher that was not offered");
    if ((err = adopt_keys(stream, true, &stream->in)) != 0 || (err = adopt_keys(stream, false, &stream->out)) != 0)
        return err == KITH_ERR_NOMEM ? kith__tls_stream_fail_memory(stream)
                                     : kith__tls_stream_fail(stream, KITH_TLS_ALERT_INTERNAL_ERROR,
                                                             "the keys of the handshake cannot be used");
    if (gnutls_protocol_get_version(shake->session) != GNUTLS_TLS1_3)
        adopt_master(stream);
    if (gnutls_alpn_get_selected_protocol(shake->session, &alpn) == 0 && alpn.size <= sizeof stream->alpn) {
        memcpy(stream->alpn, alpn.data, alpn.size);
        stream->alpn_size = (uint8_t)alpn.size;
    }
    stream->is_challenge = shake->wants_challenge;
    kith__tls_stream_handshake_free(stream);
    stream->state = KITH_TLS_STREAM_OPEN;
    return 0;
}

/* ---- Driving ---- */

static const char *text_of(int rv)
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

    if (rv == GNUTLS_E_MEMORY_ERROR || shake->out_of_memory)
        return kith__tls_stream_fail_memory(stream);
    if (rv == GNUTLS_E_FATAL_ALERT_RECEIVED)
        return kith__tls_stream_fail_by_peer(stream, (uint8_t)gnutls_alert_get(shake->session));
    if (shake->refusal != NULL) {
        bool is_name = shake->refusal_is_name;
        uint8_t alert = shake->refusal_alert != 0 ? shake->refusal_alert : (uint8_t)gnutls_error_to_alert(rv, NULL);

        kith__tls_stream_fail(stream, alert, shake->refusal);
        stream->failure.wrong_name = is_name;
        return KITH_ERR_TLS;
    }
    return kith__tls_stream_fail(stream, (uint8_t)gnutls_error_to_alert(rv, NULL), text_of(rv));
}

int kith__tls_stream_shake(struct kith_tls_stream *stream)
{
    struct kith_tls_stream_handshake *shake = stream->handshake;
    int rv;

    if (shake->session == NULL && (rv = kith__tls_stream_session_open(stream)) < 0)
        return fail_with(stream, rv);
    for (;;) {
        rv = gnutls_handshake(shake->session);
        if (rv == 0)
            return adopt(stream);
        if (rv == GNUTLS_E_AGAIN)
            break;
        if (gnutls_error_is_fatal(rv) || (rv == GNUTLS_E_WARNING_ALERT_RECEIVED && ++stream->warnings > WARNINGS_MAX))
            return fail_with(stream, rv);
    }
    if (shake->received > KITH_TLS_STREAM_HANDSHAKE_MAX)
        return kith__tls_stream_fail(stream, KITH_TLS_ALERT_UNEXPECTED_MESSAGE, "the handshake is too long");
    return 0;
}
