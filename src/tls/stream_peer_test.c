/*
 * https streams against the TLS library used plainly, as other programs use it: every version and cipher in both roles, what
 * may come after the handshake, and what must not. And against bytes that are no TLS at all.
 */
#include "base/random.h"
#include "base/test.h"
#include "tls/stream_duo.h"
#include "tls/stream_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PIPE_SIZE = 256 << 10 };

/** The library as the other side, over two buffers. */
struct plain_peer {
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    uint8_t to_peer[PIPE_SIZE], from_peer[PIPE_SIZE];
    size_t to_size, from_size;
};

static struct plain_peer peer;
static struct kith_tls_stream *stream;
static struct kith_tls_stream_context *context;
static uint8_t bytes[PIPE_SIZE];

static ssize_t peer_pull(gnutls_transport_ptr_t ptr, void *out, size_t size)
{
    (void)ptr;
    size = KITH_MIN(size, peer.to_size);
    if (size == 0) {
        gnutls_transport_set_errno(peer.session, EAGAIN);
        return -1;
    }
    memcpy(out, peer.to_peer, size);
    memmove(peer.to_peer, peer.to_peer + size, peer.to_size -= size);
    return (ssize_t)size;
}

static ssize_t peer_push(gnutls_transport_ptr_t ptr, const void *from, size_t size)
{
    (void)ptr;
    KITH_CHECK(peer.from_size + size <= sizeof peer.from_peer);
    memcpy(peer.from_peer + peer.from_size, from, size);
    peer.from_size += size;
    return (ssize_t)size;
}

static void peer_new(bool is_server, const char *priorities)
{
    const struct sduo_certs *certs = sduo_certs((uint64_t)time(NULL));
    gnutls_datum_t chain = { certs->server.certificate.ptr, (unsigned)certs->server.certificate.size };
    gnutls_datum_t key = { certs->server.key.ptr, (unsigned)certs->server.key.size };

    memset(&peer, 0, sizeof peer);
    KITH_CHECK_EQ(gnutls_certificate_allocate_credentials(&peer.credentials), 0);
    if (is_server)
        KITH_CHECK_EQ(gnutls_certificate_set_x509_key_mem(peer.credentials, &chain, &key, GNUTLS_X509_FMT_PEM), 0);
    KITH_CHECK_EQ(gnutls_init(&peer.session, is_server ? GNUTLS_SERVER : GNUTLS_CLIENT), 0);
    KITH_CHECK_EQ(gnutls_priority_init(&peer.priority, priorities, NULL), 0);
    KITH_CHECK_EQ(gnutls_priority_set(peer.session, peer.priority), 0);
    KITH_CHECK_EQ(gnutls_credentials_set(peer.session, GNUTLS_CRD_CERTIFICATE, peer.credentials), 0);
    gnutls_transport_set_pull_function(peer.session, peer_pull);
    gnutls_transport_set_push_function(peer.session, peer_push);
    if (!is_server)
        gnutls_server_name_set(peer.session, GNUTLS_NAME_DNS, "relay.test", 10);
}

static void peer_free(void)
{
    gnutls_deinit(peer.session);
    gnutls_certificate_free_credentials(peer.credentials);
    gnutls_priority_deinit(peer.priority);
}

/** Our output to the peer. */
static void carry_out(void)
{
    struct kith_slice output;

    while ((output = kith__tls_stream_output(stream)).size > 0) {
        KITH_CHECK(peer.to_size + output.size <= sizeof peer.to_peer);
        memcpy(peer.to_peer + peer.to_size, output.ptr, output.size);
        peer.to_size += output.size;
        kith__tls_stream_sent(stream, output.size);
    }
}

/** The peer's output to us, and what we say then; what we read goes to sink. */
static int carry_in(struct sduo_sink *sink)
{
    size_t size = peer.from_size;
    int err;

    memcpy(bytes, peer.from_peer, size);
    peer.from_size = 0;
    err = kith__tls_stream_receive(stream, bytes, size);
    return err == 0 ? sduo_drain(stream, sink) : err;
}

static int shake(void)
{
    int rv = GNUTLS_E_AGAIN, err = KITH_ERR_AGAIN;

    for (int i = 0; i < 10 && (rv != 0 || !kith__tls_stream_is_open(stream)); i++) {
        carry_out();
        if (rv != 0 && (rv = gnutls_handshake(peer.session)) < 0 && gnutls_error_is_fatal(rv))
            return rv;
        if ((err = carry_in(NULL)) != KITH_ERR_AGAIN)
            break;
    }
    carry_out();
    return rv;
}

static void open_role(bool we_serve, const char *priorities)
{
    peer_new(!we_serve, priorities);
    if (we_serve)
        KITH_CHECK_EQ(sduo_server_context(kith_mem_default(), (uint64_t)time(NULL), &context), 0);
    else
        KITH_CHECK_EQ(sduo_client_context(kith_mem_default(), (uint64_t)time(NULL), &context), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(context, we_serve ? NULL : "relay.test", &stream), 0);
}

static void close_role(void)
{
    kith__tls_stream_free(stream);
    kith__tls_stream_context_release(context);
    peer_free();
}

static void open_both(bool we_serve, const char *priorities)
{
    open_role(we_serve, priorities);
    KITH_CHECK_EQ(shake(), 0);
    KITH_CHECK(kith__tls_stream_is_open(stream));
}

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 131 + at / 255);
}

enum { AMOUNT = 50000 };

static void check_data(void)
{
    static uint8_t sent[AMOUNT], got[AMOUNT];
    struct sduo_sink sink = { got, 0, sizeof got };
    size_t taken, size = 0;
    ssize_t part;
    int err;

    for (size_t i = 0; i < AMOUNT; i++)
        sent[i] = pattern(i);
    KITH_CHECK_EQ(kith__tls_stream_write(stream, sent, AMOUNT, &taken), 0);
    KITH_CHECK_EQ(taken, AMOUNT);
    carry_out();
    while (size < AMOUNT) {
        part = gnutls_record_recv(peer.session, got + size, AMOUNT - size);
        if (part < 0 && !gnutls_error_is_fatal((int)part) && (part != GNUTLS_E_AGAIN || peer.to_size > 0))
            continue; /* a ticket, a key update */
        if (part <= 0)
            fail_msg("receiving: %s, %zu of ours left", gnutls_strerror((int)part), peer.to_size);
        size += (size_t)part;
    }
    KITH_CHECK_BYTES(got, sent, AMOUNT);
    for (size = 0; size < AMOUNT; size += (size_t)part)
        KITH_CHECK((part = gnutls_record_send(peer.session, sent + size, AMOUNT - size)) > 0);
    err = carry_in(&sink);
    KITH_CHECK_EQ(err, KITH_ERR_AGAIN);
    KITH_CHECK_EQ(sink.size, AMOUNT);
    KITH_CHECK_BYTES(got, sent, AMOUNT);
}

static void check_export(void)
{
    static const char label[] = "iroh-relay handshake v1";
    uint8_t id[32], ours[32], theirs[32];

    for (size_t i = 0; i < sizeof id; i++)
        id[i] = pattern(i);
    KITH_CHECK_EQ(kith__tls_stream_export(stream, (struct kith_slice) { (const uint8_t *)label, sizeof label - 1 },
                                          (struct kith_slice) { id, sizeof id }, ours, sizeof ours),
                  0);
    KITH_CHECK_EQ(
        gnutls_prf_rfc5705(peer.session, sizeof label - 1, label, sizeof id, (char *)id, sizeof theirs, (char *)theirs),
        0);
    KITH_CHECK_BYTES(ours, theirs, sizeof ours);
}

KITH_TEST(stream_speaks_every_version_and_cipher_in_both_roles)
{
    static const char *const versions[] = { "1.2", "1.3" };
    static const char *const ciphers[][2] = { { "AES-128-GCM", "AES-128-GCM" },
                                              { "AES-256-GCM", "AES-256-GCM" },
                                              { "CHACHA20-POLY1305", "CHACHA20-POLY1305" } };
    char priorities[200];

    for (size_t v = 0; v < 2; v++) {
        for (size_t c = 0; c < KITH_COUNT(ciphers) * 2; c++) {
            snprintf(priorities, sizeof priorities, "NORMAL:-VERS-ALL:+VERS-TLS%s:-CIPHER-ALL:+%s", versions[v],
                     ciphers[c / 2][0]);
            open_both(c % 2 == 0, priorities);
            KITH_CHECK_STR(kith__tls_stream_version(stream) + 4, versions[v]);
            KITH_CHECK_STR(kith__tls_stream_cipher(stream), ciphers[c / 2][1]);
            check_export();
            check_data();
            check_data();
            KITH_CHECK_EQ(kith__tls_stream_close(stream), 0);
            carry_out();
            KITH_CHECK_EQ(gnutls_record_recv(peer.session, bytes, 1), 0);
            KITH_CHECK_EQ(gnutls_bye(peer.session, GNUTLS_SHUT_WR), 0);
            KITH_CHECK_EQ(carry_in(NULL), KITH_ERR_END);
            close_role();
        }
    }
}

KITH_TEST(stream_speaks_with_the_defaults_of_the_library)
{
    open_both(true, "NORMAL");
    check_data();
    close_role();
    open_both(false, "NORMAL");
    check_data();
    close_role();
}

KITH_TEST(stream_skips_session_tickets_and_follows_key_updates)
{
    for (int role = 0; role < 2; role++) {
        open_both(role == 0, "NORMAL");
        KITH_CHECK_EQ(gnutls_session_key_update(peer.session, 0), 0);
        check_data();
        KITH_CHECK_EQ(gnutls_session_key_update(peer.session, GNUTLS_KU_PEER), 0);
        KITH_CHECK_EQ(carry_in(NULL), KITH_ERR_AGAIN);
        check_data(); /* with our answer before it */
        check_data();
        close_role();
    }
}

KITH_TEST(stream_as_client_skips_tickets)
{
    gnutls_datum_t key;

    open_role(false, "NORMAL:-VERS-ALL:+VERS-TLS1.3");
    KITH_CHECK_EQ(gnutls_session_ticket_key_generate(&key), 0);
    KITH_CHECK_EQ(gnutls_session_ticket_enable_server(peer.session, &key), 0);
    KITH_CHECK_EQ(shake(), 0);
    check_data();
    close_role();
    gnutls_free(key.data);
}

KITH_TEST(stream_refuses_to_negotiate_again)
{
    open_both(false, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    KITH_CHECK_EQ(gnutls_rehandshake(peer.session), 0); /* HelloRequest */
    KITH_CHECK_EQ(carry_in(NULL), KITH_ERR_TLS);
    KITH_CHECK_EQ(kith__tls_stream_failure(stream).alert, 10);
    close_role();
    open_both(true, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    KITH_CHECK_EQ(gnutls_handshake(peer.session), GNUTLS_E_AGAIN); /* a second ClientHello */
    KITH_CHECK_EQ(carry_in(NULL), KITH_ERR_TLS);
    close_role();
}

KITH_TEST(stream_hears_the_alerts_of_the_other_side)
{
    for (int i = 0; i < 2; i++) {
        open_both(true, i == 0 ? "NORMAL:-VERS-ALL:+VERS-TLS1.3" : "NORMAL:-VERS-ALL:+VERS-TLS1.2");
        KITH_CHECK_EQ(gnutls_alert_send(peer.session, GNUTLS_AL_FATAL, GNUTLS_A_ACCESS_DENIED), 0);
        KITH_CHECK_EQ(carry_in(NULL), KITH_ERR_TLS);
        KITH_CHECK_EQ(kith__tls_stream_failure(stream).alert, 49);
        KITH_CHECK_STR(kith__tls_stream_failure(stream).alert_name, "access_denied");
        KITH_CHECK(kith__tls_stream_failure(stream).from_peer);
        KITH_CHECK_EQ(kith__tls_stream_output_size(stream), 0);
        close_role();
    }
}

KITH_TEST(stream_refuses_old_versions_and_weak_ciphers)
{
    static const char *const priorities[] = { "NORMAL:-VERS-ALL:+VERS-TLS1.1",
                                              "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC",
                                              "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA" };

    for (size_t i = 0; i < KITH_COUNT(priorities); i++) {
        open_role(true, priorities[i]);
        shake();
        KITH_CHECK(kith__tls_stream_failure(stream).text != NULL);
        KITH_CHECK(gnutls_handshake(peer.session) == GNUTLS_E_FATAL_ALERT_RECEIVED);
        close_role();
    }
}

KITH_TEST(stream_keeps_to_the_record_size_that_the_other_side_wants)
{
    size_t taken;

    for (int i = 0; i < 4; i++) {
        open_role(i % 2 == 0, i < 2 ? "NORMAL:-VERS-ALL:+VERS-TLS1.3" : "NORMAL:-VERS-ALL:+VERS-TLS1.2");
        KITH_CHECK_EQ(gnutls_record_set_max_recv_size(peer.session, 1024), 0);
        KITH_CHECK_EQ(shake(), 0);
        check_data();
        KITH_CHECK_EQ(kith__tls_stream_write(stream, bytes, 200000, &taken), 0);
        KITH_CHECK(kith__tls_stream_output_size(stream) <= KITH_TLS_STREAM_OUTPUT_MAX);
        KITH_CHECK_EQ(kith__tls_stream_write(stream, bytes, 200000, &taken), KITH_ERR_AGAIN);
        close_role();
    }
}

/* ---- Damage ---- */

KITH_TEST(stream_refuses_any_bit_that_was_changed_on_the_way)
{
    static const char text[] = "twenty bytes of text";
    static const char *const versions[] = { "NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3" };
    size_t size = 1;

    for (size_t v = 0; v < 2; v++) {
        for (size_t at = 0; at < size; at++) {
            int err;

            open_both(true, versions[v]);
            KITH_CHECK_EQ(gnutls_record_send(peer.session, text, sizeof text), sizeof text);
            size = peer.from_size;
            /* The minor version means nothing; and in TLS 1.3 the library takes the outer type for what it must be. */
            if (at == 2 || (v == 1 && at == 0)) {
                close_role();
                continue;
            }
            peer.from_peer[at] ^= 0x01;
            err = carry_in(NULL);
            if (err == KITH_ERR_AGAIN) { /* the record seems longer now: it waits for the rest */
                KITH_CHECK(at == 3 || at == 4);
                kith__tls_stream_on_end(stream);
                err = sduo_drain(stream, NULL);
                KITH_CHECK_EQ(err, KITH_ERR_TRUNCATED);
            } else {
                KITH_CHECK_EQ(err, KITH_ERR_TLS);
                KITH_CHECK(kith__tls_stream_failure(stream).alert != 0 && !kith__tls_stream_failure(stream).from_peer);
            }
            close_role();
        }
    }
}

KITH_TEST(stream_refuses_records_that_are_too_long)
{
    static const uint8_t header[] = { 23, 3, 3, 0x41, 0x01 };

    open_both(true, "NORMAL");
    memcpy(bytes, header, sizeof header);
    KITH_CHECK_EQ(kith__tls_stream_receive(stream, bytes, sizeof header), 0); /* seen before the body comes */
    KITH_CHECK_EQ(sduo_drain(stream, NULL), KITH_ERR_TLS);
    KITH_CHECK_EQ(kith__tls_stream_failure(stream).alert, 22);
    KITH_CHECK_EQ(kith__tls_stream_receive(stream, bytes, sizeof header), KITH_ERR_TLS);
    close_role();
}

static int receive_first(bool we_serve, const void *first, size_t size)
{
    int err;

    if (we_serve)
        KITH_CHECK_EQ(sduo_server_context(kith_mem_default(), (uint64_t)time(NULL), &context), 0);
    else
        KITH_CHECK_EQ(sduo_client_context(kith_mem_default(), (uint64_t)time(NULL), &context), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(context, we_serve ? NULL : "relay.test", &stream), 0);
    memcpy(bytes, first, size);
    if ((err = kith__tls_stream_receive(stream, bytes, size)) == 0)
        err = sduo_drain(stream, NULL);
    KITH_CHECK(err == KITH_ERR_TLS || err == KITH_ERR_AGAIN);
    KITH_CHECK_EQ(err == KITH_ERR_TLS, kith__tls_stream_failure(stream).text != NULL);
    KITH_CHECK(!kith__tls_stream_is_open(stream));
    kith__tls_stream_free(stream);
    kith__tls_stream_context_release(context);
    return err;
}

KITH_TEST(stream_refuses_what_is_no_tls)
{
    static const char request[] = "GET /relay HTTP/1.1\r\nHost: relay.test\r\n\r\n";
    uint8_t noise[4096];
    uint64_t state = kith__test_seed(1);

    KITH_CHECK_EQ(receive_first(true, request, sizeof request - 1), KITH_ERR_TLS);
    KITH_CHECK_EQ(receive_first(false, request, sizeof request - 1), KITH_ERR_TLS);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)kith__test_random(&state);
        if (round % 2 == 0)
            memcpy(noise, (const uint8_t[]) { 22, 3, 1, 1, 0, (uint8_t)(1 + round % 3), 0, 0, 0xfc, 3, 3 }, 11);
        receive_first(round % 4 < 2, noise, 1 + kith__test_random(&state) % sizeof noise);
    }
}

KITH_TEST(stream_survives_any_change_to_the_first_flights)
{
    static uint8_t hello[2048];
    struct kith_slice output;
    size_t size;
    uint64_t state = kith__test_seed(1);

    KITH_CHECK_EQ(sduo_client_context(kith_mem_default(), (uint64_t)time(NULL), &context), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(context, "relay.test", &stream), 0);
    output = kith__tls_stream_output(stream);
    size = output.size;
    KITH_CHECK(size > 0 && size <= sizeof hello);
    memcpy(hello, output.ptr, size);
    kith__tls_stream_free(stream);
    kith__tls_stream_context_release(context);
    for (int round = 0; round < 300; round++) {
        size_t at = (size_t)(kith__test_random(&state) % size);
        uint8_t before = hello[at];

        hello[at] ^= (uint8_t)(1u << kith__test_random(&state) % 8);
        receive_first(true, hello, round % 5 == 0 ? at : size);
        hello[at] = before;
    }
}

KITH_TEST(stream_ends_a_handshake_that_never_ends)
{
    uint8_t record[5 + 16384] = { 22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff }; /* a ClientHello of 64 KiB, never complete */
    int err = KITH_ERR_AGAIN;
    size_t total = 0;

    KITH_CHECK_EQ(sduo_server_context(kith_mem_default(), (uint64_t)time(NULL), &context), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(context, NULL, &stream), 0);
    for (int i = 0; i < 100 && err == KITH_ERR_AGAIN; i++) {
        memcpy(bytes, record, sizeof record);
        if ((err = kith__tls_stream_receive(stream, bytes, sizeof record)) == 0)
            err = sduo_drain(stream, NULL);
        total += sizeof record;
    }
    KITH_CHECK_EQ(err, KITH_ERR_TLS);
    KITH_CHECK(total <= KITH_TLS_STREAM_HANDSHAKE_MAX + 2 * sizeof record);
    kith__tls_stream_free(stream);
    kith__tls_stream_context_release(context);
}
