/* The TLS library as one handshake uses it: how a session is set up, and its callbacks, which only fill the outbox. */
#include "base/mem.h"
#include "crypto/secure.h"
#include "tls/hello.h"
#include "tls/internal.h"
#include "tls/peer.h"
#include "tls/x509.h"

#include <stdio.h>

_Static_assert((int)KITH_TLS_INITIAL == (int)GNUTLS_ENCRYPTION_LEVEL_INITIAL &&
                   (int)KITH_TLS_EARLY == (int)GNUTLS_ENCRYPTION_LEVEL_EARLY &&
                   (int)KITH_TLS_HANDSHAKE == (int)GNUTLS_ENCRYPTION_LEVEL_HANDSHAKE &&
                   (int)KITH_TLS_APPLICATION == (int)GNUTLS_ENCRYPTION_LEVEL_APPLICATION,
               "levels have the library's numbers");

enum { EXT_ALPN = 16, EXT_PARAMS = 57 };

/* What the library's own ALPN extension can hold: more or longer names go through an extension of ours. */
enum { LIBRARY_ALPN_COUNT_MAX = 8, LIBRARY_ALPN_SIZE_MAX = 31 };

enum { TICKET_LIFETIME_S = 86400 }; /* spec/01, 2.6 */

/* The only number of bytes of 0-RTT that QUIC knows (RFC 9001, 4.6.1). */
#define EARLY_DATA_SIZE 0xffffffffu

uint16_t kith__tls_cipher_number(gnutls_cipher_algorithm_t cipher)
{
    switch (cipher) {
    case GNUTLS_CIPHER_AES_128_GCM:
        return KITH_CIPHER_AES_128_GCM;
    case GNUTLS_CIPHER_AES_256_GCM:
        return KITH_CIPHER_AES_256_GCM;
    case GNUTLS_CIPHER_CHACHA20_POLY1305:
        return KITH_CIPHER_CHACHA20_POLY1305;
    default:
        return 0;
    }
}

/* Callbacks answer the library with 0 or -1; why is kept on the kith_tls. */
static int push(struct kith_tls *tls, const struct kith_tls_output *output)
{
    if (kith__outbox_push(&tls->outbox, output) == 0)
        return 0;
    tls->out_of_memory = true;
    return -1;
}

static int push_secret(struct kith_tls *tls, uint8_t level, bool is_write, const void *secret, size_t size)
{
    gnutls_cipher_algorithm_t cipher = level == KITH_TLS_EARLY ? gnutls_early_cipher_get(tls->session)
                                                               : gnutls_cipher_get(tls->session);

    if (secret == NULL)
        return 0;
    return push(tls, &(struct kith_tls_output) { .kind = KITH_TLS_SECRET,
                                                 .level = level,
                                                 .is_write = is_write,
                                                 .cipher = kith__tls_cipher_number(cipher),
                                                 .bytes = { secret, size } });
}

static int on_secret(gnutls_session_t session, gnutls_record_encryption_level_t level, const void *read,
                     const void *write, size_t size)
{
    struct kith_tls *tls = gnutls_session_get_ptr(session);

    if (push_secret(tls, (uint8_t)level, false, read, size) != 0 ||
        push_secret(tls, (uint8_t)level, true, write, size) != 0)
        return -1;
    if (level == GNUTLS_ENCRYPTION_LEVEL_HANDSHAKE && read != NULL)
        tls->read_level = KITH_TLS_HANDSHAKE;
    return 0;
}

static void on_own_client_hello(struct kith_tls *tls, struct kith_slice message)
{
    struct kith_client_hello hello;

    if (kith__client_hello_parse(message, &hello) != 0)
        return;
    tls->early_offered = hello.has_early_data && hello.first_ticket.size != 0;
    tls->session_is_stale = hello.has_early_data && hello.first_ticket.size == 0;
}

static void on_own_ticket(struct kith_tls *tls, struct kith_slice message)
{
    struct kith_ticket ticket;

    if (tls->takes_early && kith__ticket_parse(message, &ticket) == 0 && ticket.ticket.size >= KITH_ISSUED_KEY_SIZE)
        kith__issued_add(&tls->ctx->issued, ticket.ticket, tls->binding);
}

static int on_crypto(gnutls_session_t session, gnutls_record_encryption_level_t level,
                     gnutls_handshake_description_t type, const void *bytes, size_t size)
{
    struct kith_tls *tls = gnutls_session_get_ptr(session);
    struct kith_slice message = { bytes, size };

    if (type == GNUTLS_HANDSHAKE_CHANGE_CIPHER_SPEC)
        return 0;
    if (type == GNUTLS_HANDSHAKE_CLIENT_HELLO)
        on_own_client_hello(tls, message);
    if (type == GNUTLS_HANDSHAKE_NEW_SESSION_TICKET)
        on_own_ticket(tls, message);
    return push(tls, &(struct kith_tls_output) { .kind = KITH_TLS_CRYPTO, .level = (uint8_t)level, .bytes = message });
}

/* There are no alert records in QUIC: the code comes from the return value that goes with the alert. */
static int on_alert(gnutls_session_t session, gnutls_record_encryption_level_t level, gnutls_alert_level_t alert_level,
                    gnutls_alert_description_t alert)
{
    (void)session;
    (void)level;
    (void)alert_level;
    (void)alert;
    return 0;
}

static void write_hex(char *out, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

static int push_key_log(struct kith_tls *tls, const char *label, const gnutls_datum_t *secret)
{
    char line[64 + 2 * 32 + 2 * KITH_TLS_SECRET_SIZE_MAX + 3], random_hex[2 * 32 + 1] = "";
    char secret_hex[2 * KITH_TLS_SECRET_SIZE_MAX + 1] = "";
    gnutls_datum_t client_random, server_random;
    int size, err;

    gnutls_session_get_random(tls->session, &client_random, &server_random);
    if (client_random.size != 32 || secret->size > KITH_TLS_SECRET_SIZE_MAX)
        return 0;
    write_hex(random_hex, client_random.data, client_random.size);
    write_hex(secret_hex, secret->data, secret->size);
    size = snprintf(line, sizeof line, "%.63s %s %s", label, random_hex, secret_hex);
    err = push(
        tls, &(struct kith_tls_output) { .kind = KITH_TLS_KEY_LOG, .bytes = { (const uint8_t *)line, (size_t)size } });
    kith__wipe(line, sizeof line);
    kith__wipe(secret_hex, sizeof secret_hex);
    return err;
}

/* The library has no other way to tell the exporter secret, which outlives it. Being set, this function also takes the
 * place of the one that writes to SSLKEYLOGFILE. */
static int on_key_log(gnutls_session_t session, const char *label, const gnutls_datum_t *secret)
{
    struct kith_tls *tls = gnutls_session_get_ptr(session);

    if (strcmp(label, "EXPORTER_SECRET") == 0 && secret->size <= sizeof tls->exporter) {
        memcpy(tls->exporter, secret->data, secret->size);
        tls->exporter_digest = secret->size == kith__digest_size(KITH_DIGEST_SHA384) ? KITH_DIGEST_SHA384
                                                                                     : KITH_DIGEST_SHA256;
    }
    return tls->key_log ? push_key_log(tls, label, secret) : 0;
}

/* What extensions say was read from the whole message before (hello.c). */
static int on_extension(gnutls_session_t session, const unsigned char *bytes, size_t size)
{
    (void)session;
    (void)bytes;
    (void)size;
    return 0;
}

static int send_params(gnutls_session_t session, gnutls_buffer_t out)
{
    struct kith_tls *tls = gnutls_session_get_ptr(session);
    int rv = gnutls_buffer_append_data(out, tls->own_params.ptr, tls->own_params.size);

    return rv < 0 ? rv : (int)tls->own_params.size;
}

static int send_alpns(gnutls_session_t session, gnutls_buffer_t out)
{
    struct kith_tls *tls = gnutls_session_get_ptr(session);
    size_t size = tls->alpns_sent.size;
    uint8_t head[2] = { (uint8_t)(size >> 8), (uint8_t)size };
    int rv = gnutls_buffer_append_data(out, head, sizeof head);

    if (rv >= 0)
        rv = gnutls_buffer_append_data(out, tls->alpns_sent.ptr, size);
    return rv < 0 ? rv : (int)(sizeof head + size);
}

static int register_extension(gnutls_session_t session, const char *name, int number, gnutls_ext_send_func send)
{
    return gnutls_session_ext_register(session, name, number, GNUTLS_EXT_TLS, on_extension, send, NULL, NULL, NULL,
                                       GNUTLS_EXT_FLAG_TLS | GNUTLS_EXT_FLAG_CLIENT_HELLO | GNUTLS_EXT_FLAG_EE);
}

int kith__tls_offer_alpns(struct kith_tls *tls, struct kith_slice list)
{
    /* The library refuses an extension that it has itself, but compares the number before it cuts it to its 16 bits. */
    enum { ALPN_UNREFUSED = 0x10000 | EXT_ALPN };
    gnutls_datum_t names[LIBRARY_ALPN_COUNT_MAX];
    unsigned count = 0;
    bool fits = true;

    for (size_t at = 0; at < list.size && fits; at += 1u + list.ptr[at]) {
        fits = count < LIBRARY_ALPN_COUNT_MAX && list.ptr[at] <= LIBRARY_ALPN_SIZE_MAX;
        if (fits)
            names[count++] = (gnutls_datum_t) { (unsigned char *)list.ptr + at + 1, list.ptr[at] };
    }
    if (fits)
        return gnutls_alpn_set_protocols(tls->session, names, count, GNUTLS_ALPN_MANDATORY);
    tls->alpns_sent = list;
    return register_extension(tls->session, "ALPN", ALPN_UNREFUSED, send_alpns);
}

static int set_up_server(struct kith_tls *tls)
{
    gnutls_datum_t ticket_key = { tls->ctx->ticket_key, sizeof tls->ctx->ticket_key };
    int rv;

    gnutls_certificate_server_set_request(tls->session, tls->ctx->is_x509 ? GNUTLS_CERT_IGNORE : GNUTLS_CERT_REQUIRE);
    if ((rv = gnutls_session_ticket_enable_server(tls->session, &ticket_key)) < 0 || !tls->takes_early)
        return rv;
    gnutls_anti_replay_enable(tls->session, tls->ctx->anti_replay);
    return gnutls_record_set_max_early_data_size(tls->session, EARLY_DATA_SIZE);
}

static int set_up_client(struct kith_tls *tls)
{
    int rv = kith__tls_offer_alpns(tls, kith__buf_slice(&tls->alpns));

    if (rv >= 0 && tls->ctx->is_x509)
        rv = kith__x509_offer_name(tls);
    if (rv < 0 || tls->session_bytes.size == 0)
        return rv;
    rv = gnutls_session_set_data(tls->session, tls->offered.data.ptr, tls->offered.data.size);
    if (rv == GNUTLS_E_MEMORY_ERROR)
        return rv;
    tls->session_is_stale = rv < 0; /* expired, or from another version of the library */
    return 0;
}

int kith__tls_open(struct kith_tls *tls)
{
    unsigned flags = GNUTLS_NO_END_OF_EARLY_DATA;
    int rv;

    flags |= tls->ctx->is_x509 ? 0 : GNUTLS_ENABLE_RAWPK;
    flags |= tls->is_server ? GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET : GNUTLS_CLIENT | GNUTLS_KEY_SHARE_TOP;
    flags |= tls->takes_early ? GNUTLS_ENABLE_EARLY_DATA : 0;
    if ((rv = gnutls_init(&tls->session, flags)) < 0) {
        tls->session = NULL;
        return rv;
    }
    gnutls_session_set_ptr(tls->session, tls);
    gnutls_db_set_cache_expiration(tls->session, TICKET_LIFETIME_S); /* of tickets sent, and of sessions offered */
    gnutls_handshake_set_secret_function(tls->session, on_secret);
    gnutls_handshake_set_read_function(tls->session, on_crypto);
    gnutls_alert_set_read_function(tls->session, on_alert);
    gnutls_session_set_keylog_function(tls->session, on_key_log);
    gnutls_handshake_set_max_packet_length(tls->session, KITH_TLS_MESSAGE_SIZE_MAX + KITH_HANDSHAKE_HEADER_SIZE);
    if ((rv = gnutls_priority_set(tls->session, tls->ctx->priority)) < 0 ||
        (rv = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls->ctx->credentials)) < 0 ||
        (rv = register_extension(tls->session, "QUIC Transport Parameters", EXT_PARAMS, send_params)) < 0)
        return rv;
    return tls->is_server ? set_up_server(tls) : set_up_client(tls);
}

static int check_key(struct kith_tls *tls)
{
    unsigned count = 0;
    const gnutls_datum_t *keys = gnutls_certificate_get_peers(tls->session, &count);
    struct kith_id peer;

    if (keys == NULL || count == 0)
        return kith__tls_fail(tls, KITH_TLS_CODE_CERTIFICATE_REQUIRED, "the peer sent no key");
    if (gnutls_certificate_type_get2(tls->session, GNUTLS_CTYPE_PEERS) != GNUTLS_CRT_RAWPK)
        return kith__tls_fail(tls, KITH_TLS_CODE_UNSUPPORTED_CERTIFICATE, "the peer's key is no raw public key");
    if (count != 1 || kith__spki_read((struct kith_slice) { keys[0].data, keys[0].size }, &peer) != 0)
        return kith__tls_fail(tls, KITH_TLS_CODE_BAD_CERTIFICATE, "the peer's key is no Ed25519 key");
    if (kith__point_is_small_order(peer.bytes)) /* the TLS library's check would let it pass */
        return kith__tls_fail(tls, KITH_TLS_CODE_DECRYPT_ERROR, "the peer's key has small order and proves nothing");
    if (!tls->is_server && memcmp(&peer, &tls->expected, sizeof peer) != 0) {
        kith__tls_fail(tls, KITH_TLS_CODE_UNKNOWN_CA, "the server has another key than the one that was dialled");
        tls->failure.wrong_peer = true;
        return KITH_ERR_TLS;
    }
    tls->peer = peer;
    return 0;
}

static int check_peer(struct kith_tls *tls)
{
    int err;

    if (!tls->ctx->is_x509)
        return check_key(tls);
    if (tls->is_server)
        return 0;
    if ((err = kith__x509_check_peer(tls)) == 0)
        tls->peer = tls->expected;
    return err;
}

int kith__tls_verify(gnutls_session_t session)
{
    return check_peer(gnutls_session_get_ptr(session)) == 0 ? 0 : -1;
}

bool kith__tls_allows_early(struct kith_tls *tls)
{
    /* Before a HelloRetryRequest the library would accept 0-RTT and then break (spec/08, L2). */
    return tls->has_usable_share && kith__issued_take(&tls->ctx->issued, tls->first_ticket, tls->binding);
}

static int complete(struct kith_tls *tls)
{
    bool accepted = (gnutls_session_get_flags(tls->session) & GNUTLS_SFLAGS_EARLY_DATA) != 0;

    /* The verify function is not called on resumption (spec/08, L3): the key comes from the ticket then. */
    if (check_peer(tls) != 0)
        return KITH_ERR_TLS;
    tls->cipher = kith__tls_cipher_number(gnutls_cipher_get(tls->session));
    tls->resumed = gnutls_session_is_resumed(tls->session) != 0;
    if (tls->exporter_digest == 0 || tls->cipher == 0 || tls->alpn.size == 0 || !tls->params_published)
        return kith__tls_fail(tls, KITH_TLS_CODE_INTERNAL, "the TLS library left out a part of the handshake");
    if (tls->early_offered)
        tls->early = accepted && tls->resumed ? KITH_TLS_EARLY_ACCEPTED : KITH_TLS_EARLY_REJECTED;
    if (push(tls, &(struct kith_tls_output) { .kind = KITH_TLS_DONE, .cipher = tls->cipher }) != 0)
        return kith__tls_fail_with(tls, GNUTLS_E_MEMORY_ERROR);
    tls->state = KITH_TLS_READY;
    tls->read_level = KITH_TLS_APPLICATION;
    return 0;
}

int kith__tls_drive(struct kith_tls *tls)
{
    int rv;

    tls->ctx->current = tls;
    rv = gnutls_handshake(tls->session);
    tls->ctx->current = NULL;
    if (tls->out_of_memory)
        return kith__tls_fail_with(tls, GNUTLS_E_MEMORY_ERROR);
    if (rv == GNUTLS_E_AGAIN)
        return 0;
    return rv < 0 ? kith__tls_fail_with(tls, rv) : complete(tls);
}

int kith__tls_publish_session(struct kith_tls *tls, bool allows_early)
{
    uint8_t bytes[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_blob blob = {
        .peer = tls->peer, .allows_early = allows_early, .alpn = tls->alpn, .params = kith__buf_slice(&tls->peer_params)
    };
    gnutls_datum_t data = { NULL, 0 };
    size_t size = 0;
    int rv = gnutls_session_get_data2(tls->session, &data);

    if (rv < 0)
        return kith__tls_fail_with(tls, rv);
    blob.data = (struct kith_slice) { data.data, data.size };
    if (kith__blob_write(tls->ctx->blob_key, &blob, bytes, sizeof bytes, &size) != 0)
        tls->tickets_ignored++;
    else
        rv = push(tls, &(struct kith_tls_output) { .kind = KITH_TLS_SESSION, .bytes = { bytes, size } });
    kith__wipe(bytes, sizeof bytes);
    if (data.data != NULL)
        kith__wipe(data.data, data.size);
    gnutls_free(data.data);
    return rv < 0 ? kith__tls_fail_with(tls, GNUTLS_E_MEMORY_ERROR) : 0;
}
