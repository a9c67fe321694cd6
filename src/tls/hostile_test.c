/* Handshakes with peers that do wrong, old or unusual things, and without memory. */
#include "base/test.h"
#include "tls/duo.h"
#include "tls/hello.h"
#include "tls/internal.h"
#include "tls/peer.h"

#include <stdlib.h>

static const char *const one[] = { "test/1" };
static const struct kith_slice none = { NULL, 0 };

static struct duo duo;

static void start(void)
{
    memset(&duo, 0, sizeof duo);
    KITH_CHECK_EQ(duo_init(&duo, kith_mem_default()), 0);
}

static void open_both(void)
{
    KITH_CHECK_EQ(duo_client(&duo, one, 1, none, false), 0);
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
}

static void check_failed(struct duo_side *side, unsigned code)
{
    KITH_CHECK_EQ(side->err, KITH_ERR_TLS);
    KITH_CHECK_EQ(side->failed_count, 1);
    KITH_CHECK_EQ(side->failed.code, code);
    KITH_CHECK(side->failed.text != NULL && side->failed.text[0] != '\0');
    KITH_CHECK_EQ(side->done_count, 0);
}

/* The ClientHello of a fresh client, ready to be changed. Returns its size. */
static size_t get_hello(uint8_t *hello)
{
    open_both();
    duo_pull(&duo.client);
    memcpy(hello, duo.client.crypto[KITH_TLS_INITIAL], duo.client.crypto_size[KITH_TLS_INITIAL]);
    return duo.client.crypto_size[KITH_TLS_INITIAL];
}

/* Where the extension's type stands in a ClientHello of ours (no session id, three suites). */
static uint8_t *find_extension(uint8_t *hello, size_t size, unsigned type)
{
    size_t at = 4 + 2 + 32 + 1;

    at += 2u + ((size_t)hello[at] << 8 | hello[at + 1]);
    at += 1u + hello[at];
    for (at += 2; at + 4 <= size; at += 4u + ((size_t)hello[at + 2] << 8 | hello[at + 3]))
        if (((unsigned)hello[at] << 8 | hello[at + 1]) == type)
            return hello + at;
    return NULL;
}

KITH_TEST(a_client_hello_without_a_needed_extension_is_refused)
{
    static const struct {
        unsigned type, code;
    } cases[] = { { 16, 0x178 }, { 19, 0x128 }, { 20, 0x128 }, { 57, 0x16d } };
    uint8_t hello[2048];

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        size_t size;
        uint8_t *at;

        start();
        size = get_hello(hello);
        at = find_extension(hello, size, cases[i].type);
        KITH_CHECK(at != NULL);
        at[0] = 0xfa; /* now an extension that nobody knows */
        at[1] = 0xfa;
        duo.server.err = kith__tls_receive(duo.server.tls, KITH_TLS_INITIAL, hello, size);
        duo_pull(&duo.server);
        check_failed(&duo.server, cases[i].code);
        KITH_CHECK_EQ(duo.server.crypto_size[KITH_TLS_INITIAL], 0);
        duo_dispose(&duo);
    }
}

KITH_TEST(a_session_id_is_a_protocol_violation)
{
    uint8_t hello[2048], changed[2048];
    size_t size;

    start();
    size = get_hello(hello);
    memcpy(changed, hello, 38);
    changed[38] = 1;
    changed[39] = 0x77;
    memcpy(changed + 40, hello + 39, size - 39);
    size++;
    changed[2] = (uint8_t)((size - 4) >> 8);
    changed[3] = (uint8_t)(size - 4);
    duo.server.err = kith__tls_receive(duo.server.tls, KITH_TLS_INITIAL, changed, size);
    duo_pull(&duo.server);
    check_failed(&duo.server, 0x0a);
    duo_dispose(&duo);
}

KITH_TEST(a_server_needs_its_parameters_first)
{
    struct kith_slice name = duo_slice(one[0]);
    uint8_t hello[2048];
    size_t size;

    start();
    size = get_hello(hello);
    duo_side_clear(&duo.server);
    KITH_CHECK_EQ(kith__tls_new_server(duo.server_ctx,
                                       &(struct kith_tls_server_options) { .alpns = &name, .alpn_count = 1 },
                                       &duo.server.tls),
                  0);
    KITH_CHECK_EQ(kith__tls_receive(duo.server.tls, KITH_TLS_INITIAL, hello, size), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith__tls_set_params(duo.server.tls, duo_slice("p")), 0);
    KITH_CHECK_EQ(kith__tls_receive(duo.server.tls, KITH_TLS_INITIAL, hello, size), 0);
    KITH_CHECK_EQ(kith__tls_set_params(duo.server.tls, duo_slice("p")), KITH_ERR_STATE);
    duo_dispose(&duo);
}

KITH_TEST(a_client_without_a_key_is_refused)
{
    gnutls_certificate_credentials_t empty;

    start();
    open_both();
    KITH_CHECK_EQ(gnutls_certificate_allocate_credentials(&empty), 0);
    gnutls_certificate_set_verify_function(empty, kith__tls_verify);
    gnutls_credentials_clear(duo.client.tls->session);
    KITH_CHECK_EQ(gnutls_credentials_set(duo.client.tls->session, GNUTLS_CRD_CERTIFICATE, empty), 0);
    duo_run(&duo);
    check_failed(&duo.server, 0x174);
    KITH_CHECK_EQ(duo.client.done_count, 1); /* as in any TLS 1.3: the client cannot know yet */
    duo_dispose(&duo);
    gnutls_certificate_free_credentials(empty);
}

KITH_TEST(a_signature_by_another_key_is_refused)
{
    struct kith_id other;
    struct kith_tls_context *ctx = NULL;

    start();
    open_both();
    KITH_CHECK_EQ(duo_context(&duo, 9, &ctx, &other), 0);
    duo_pull(&duo.client);
    duo_carry(&duo, &duo.client, &duo.server);
    for (size_t at = 0; at + KITH_ID_SIZE <= duo.server.crypto_size[KITH_TLS_HANDSHAKE]; at++) {
        uint8_t *key = duo.server.crypto[KITH_TLS_HANDSHAKE] + at;

        if (memcmp(key, &duo.server_id, KITH_ID_SIZE) == 0)
            memcpy(key, &other, KITH_ID_SIZE);
    }
    duo.client.tls->expected = other; /* it even is the one that we want */
    duo_run(&duo);
    check_failed(&duo.client, 0x133);
    KITH_CHECK(!duo.client.failed.wrong_peer);
    duo_dispose(&duo);
    kith__tls_context_free(ctx);
}

/* Exchanges the bytes of the server's key in its Certificate message. */
static void replace_server_key(const uint8_t *from, const uint8_t *to, size_t size)
{
    unsigned found = 0;

    duo_pull(&duo.client);
    duo_carry(&duo, &duo.client, &duo.server);
    for (size_t at = 0; at + size <= duo.server.crypto_size[KITH_TLS_HANDSHAKE]; at++) {
        uint8_t *bytes = duo.server.crypto[KITH_TLS_HANDSHAKE] + at;

        if (memcmp(bytes, from, size) == 0) {
            memcpy(bytes, to, size);
            found++;
        }
    }
    KITH_CHECK_EQ(found, 1);
}

KITH_TEST(a_key_that_is_no_ed25519_key_is_a_bad_certificate)
{
    uint8_t spki[KITH_SPKI_SIZE], broken[KITH_SPKI_SIZE];

    start();
    open_both();
    kith__spki_write(&duo.server_id, spki);
    memcpy(broken, spki, sizeof spki);
    broken[0] = 0x31; /* no DER sequence any more */
    replace_server_key(spki, broken, sizeof spki);
    duo_run(&duo);
    check_failed(&duo.client, 0x12a);
    duo_dispose(&duo);
}

KITH_TEST(a_key_of_small_order_is_refused_although_its_signature_verifies)
{
    /* With the neutral point as key, R = B and S = 1 sign every message: S * B = R + k * A. */
    static const struct kith_id neutral = { { 1 } };
    static const uint8_t header[] = { 15, 0, 0, 68, 8, 7, 0, 64 };
    uint8_t spki[KITH_SPKI_SIZE], small_spki[KITH_SPKI_SIZE], *verify = duo.server.crypto[KITH_TLS_HANDSHAKE];
    bool found = false;

    start();
    open_both();
    kith__spki_write(&duo.server_id, spki);
    kith__spki_write(&neutral, small_spki);
    replace_server_key(spki, small_spki, sizeof spki);
    for (size_t at = 0; at + 72 <= duo.server.crypto_size[KITH_TLS_HANDSHAKE]; at++)
        if (memcmp(duo.server.crypto[KITH_TLS_HANDSHAKE] + at, header, sizeof header) == 0) {
            verify = duo.server.crypto[KITH_TLS_HANDSHAKE] + at + sizeof header;
            found = true;
        }
    KITH_CHECK(found);
    memset(verify, 0x66, 32); /* R: the base point */
    verify[0] = 0x58;
    memset(verify + 32, 0, 32); /* S */
    verify[32] = 1;
    duo.client.tls->expected = neutral;
    duo_run(&duo);
    check_failed(&duo.client, 0x133);
    KITH_CHECK(strstr(duo.client.failed.text, "small order") != NULL);
    duo_dispose(&duo);
}

/* The ClientHello of a real iroh 1.0.2 client for the protocol "q01/echo/0", with SNI: spec/01, 2.2 and appendix A. */
static const uint8_t real_hello[] = {
    0x01, 0x00, 0x01, 0x5b, 0x03, 0x03, 0x4a, 0x3e, 0xc1, 0x02, 0x96, 0x15, 0xc4, 0xff, 0xb0, 0xd3, 0x93, 0x3a, 0x95,
    0x42, 0x8d, 0x04, 0xbf, 0xa6, 0x92, 0x7e, 0x26, 0xed, 0x59, 0x21, 0x5a, 0x20, 0xac, 0x04, 0x64, 0x7f, 0x39, 0x7a,
    0x00, 0x00, 0x06, 0x13, 0x02, 0x13, 0x01, 0x13, 0x03, 0x01, 0x00, 0x01, 0x2c, 0x00, 0x39, 0x00, 0x63, 0x07, 0x04,
    0x80, 0x13, 0x12, 0xd0, 0x09, 0x02, 0x40, 0x64, 0xc0, 0x00, 0x3d, 0x7f, 0x91, 0x12, 0x04, 0x01, 0x01, 0x20, 0x0f,
    0x08, 0x52, 0x19, 0xff, 0x48, 0xe9, 0x2b, 0xba, 0xe0, 0x20, 0x04, 0x80, 0x00, 0xff, 0xff, 0x0e, 0x01, 0x05, 0x06,
    0x04, 0x80, 0x13, 0x12, 0xd0, 0xc9, 0x31, 0xe0, 0xc1, 0x24, 0xd0, 0x50, 0xb6, 0x01, 0x64, 0x03, 0x02, 0x45, 0xc0,
    0xc0, 0x00, 0x00, 0x00, 0xff, 0x04, 0xde, 0x1b, 0x02, 0x43, 0xe8, 0x3e, 0x01, 0x07, 0x05, 0x04, 0x80, 0x13, 0x12,
    0xd0, 0x01, 0x04, 0x80, 0x00, 0x75, 0x30, 0x04, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x08, 0x02,
    0x40, 0x64, 0x00, 0x00, 0x00, 0x46, 0x00, 0x44, 0x00, 0x00, 0x41, 0x74, 0x39, 0x35, 0x36, 0x6f, 0x6f, 0x76, 0x32,
    0x6a, 0x68, 0x39, 0x30, 0x6c, 0x66, 0x6e, 0x6c, 0x61, 0x31, 0x74, 0x68, 0x36, 0x62, 0x6d, 0x35, 0x76, 0x36, 0x61,
    0x6b, 0x65, 0x74, 0x6c, 0x65, 0x6e, 0x71, 0x76, 0x37, 0x6e, 0x34, 0x69, 0x32, 0x33, 0x72, 0x6c, 0x36, 0x69, 0x35,
    0x32, 0x36, 0x71, 0x38, 0x6d, 0x30, 0x2e, 0x69, 0x72, 0x6f, 0x68, 0x2e, 0x69, 0x6e, 0x76, 0x61, 0x6c, 0x69, 0x64,
    0x00, 0x2d, 0x00, 0x02, 0x01, 0x01, 0x00, 0x05, 0x00, 0x05, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x13, 0x00, 0x02,
    0x01, 0x02, 0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, 0x00, 0x33, 0x00, 0x26, 0x00, 0x24, 0x00, 0x1d, 0x00, 0x20, 0x00,
    0x40, 0x1f, 0xc3, 0x40, 0xc5, 0x9d, 0xcf, 0x79, 0xc4, 0xd7, 0x3b, 0x9f, 0x7e, 0x72, 0x80, 0xce, 0xa9, 0x1f, 0x8e,
    0x55, 0x64, 0x6b, 0x49, 0x4d, 0x1e, 0x99, 0xec, 0xa1, 0xa9, 0x99, 0x72, 0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x04,
    0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x08, 0x07, 0x00, 0x17, 0x00, 0x00, 0x00, 0x14, 0x00, 0x02, 0x01, 0x02, 0x00,
    0x0a, 0x00, 0x08, 0x00, 0x06, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18, 0x00, 0x10, 0x00, 0x0d, 0x00, 0x0b, 0x0a, 0x71,
    0x30, 0x31, 0x2f, 0x65, 0x63, 0x68, 0x6f, 0x2f, 0x30
};

KITH_TEST(a_real_client_hello_is_answered)
{
    static const char *const protocol[] = { "q01/echo/0" };
    struct kith_client_hello hello;

    KITH_CHECK_EQ(kith__client_hello_parse((struct kith_slice) { real_hello, sizeof real_hello }, &hello), 0);
    KITH_CHECK(hello.has_client_type && hello.has_server_type && hello.has_params && hello.has_usable_share);
    KITH_CHECK(!hello.has_session_id && !hello.has_early_data && hello.first_ticket.size == 0);
    KITH_CHECK_EQ(hello.params.size, 99);
    start();
    KITH_CHECK_EQ(duo_server(&duo, protocol, 1, 7), 0);
    KITH_CHECK_EQ(kith__tls_receive(duo.server.tls, KITH_TLS_INITIAL, real_hello, sizeof real_hello), 0);
    duo_pull(&duo.server);
    KITH_CHECK_EQ(duo.server.failed_count, 0);
    KITH_CHECK_EQ(duo.server.params_size, 99);
    KITH_CHECK_BYTES(duo.server.params, hello.params.ptr, 99);
    KITH_CHECK_STR(duo.server.alpn, "q01/echo/0");
    KITH_CHECK_EQ(duo.server.cipher, KITH_CIPHER_AES_128_GCM);
    KITH_CHECK(duo.server.crypto_size[KITH_TLS_INITIAL] != 0 && duo.server.crypto_size[KITH_TLS_HANDSHAKE] != 0);
    KITH_CHECK_EQ(duo.server.secret_count[KITH_TLS_APPLICATION][1], 1); /* 0.5-RTT */
    KITH_CHECK_EQ(duo.server.secret_count[KITH_TLS_APPLICATION][0], 0);
    duo_dispose(&duo);
}

KITH_TEST(garbage_ends_the_handshake_and_never_more)
{
    uint64_t seed = kith__test_seed(11);
    uint8_t bytes[512];

    start();
    for (int round = 0; round < 300; round++) {
        size_t size = 4 + kith__test_random(&seed) % (sizeof bytes - 4);

        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)kith__test_random(&seed);
        bytes[0] = round % 2 ? 1 : bytes[0];
        bytes[1] = 0; /* else most would wait for more */
        bytes[2] = (uint8_t)((size - 4) >> 8);
        bytes[3] = (uint8_t)(size - 4);
        KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
        duo.server.err = kith__tls_receive(duo.server.tls, KITH_TLS_INITIAL, bytes, size);
        duo_pull(&duo.server);
        KITH_CHECK_EQ(duo.server.err, KITH_ERR_TLS);
        KITH_CHECK_EQ(duo.server.failed_count, 1);
        KITH_CHECK(duo.server.failed.code >= 0x100 && duo.server.failed.code <= 0x1ff);
    }
    duo_dispose(&duo);
}

KITH_TEST(a_changed_byte_anywhere_in_a_hello_is_survived)
{
    uint8_t hello[2048];

    start();
    for (size_t at = 0, size = 1; at < size; at++) {
        size = get_hello(hello);
        hello[at] ^= 0x55;
        duo.server.err = kith__tls_receive(duo.server.tls, KITH_TLS_INITIAL, hello, size);
        duo_pull(&duo.server);
        KITH_CHECK(duo.server.err == 0 || duo.server.err == KITH_ERR_TLS);
        KITH_CHECK_EQ(duo.server.failed_count, duo.server.err == 0 ? 0 : 1);
    }
    duo_dispose(&duo);
}

KITH_TEST(a_changed_byte_anywhere_in_the_servers_flight_is_refused)
{
    for (size_t at = 0, size = 1; at < size; at++) {
        start();
        open_both();
        duo_pull(&duo.client);
        duo_carry(&duo, &duo.client, &duo.server);
        size = duo.server.crypto_size[KITH_TLS_HANDSHAKE];
        duo.server.crypto[KITH_TLS_HANDSHAKE][at] ^= 0x55;
        duo_run(&duo);
        KITH_CHECK_EQ(duo.client.done_count, 0);
        duo_dispose(&duo);
    }
}

KITH_TEST(a_message_longer_than_the_maximum_is_refused)
{
    static const uint8_t header[] = { 1, 0, 0x40, 0 };

    start();
    open_both();
    duo.server.err = kith__tls_receive(duo.server.tls, KITH_TLS_INITIAL, header, sizeof header);
    duo_pull(&duo.server);
    check_failed(&duo.server, 0x128);
    duo_dispose(&duo);
}

KITH_TEST(bytes_at_a_level_that_is_over_are_a_protocol_violation)
{
    start();
    open_both();
    duo_run(&duo);
    KITH_CHECK_EQ(duo.client.done_count, 1);
    KITH_CHECK_EQ(kith__tls_receive(duo.client.tls, KITH_TLS_HANDSHAKE, (const uint8_t *)"x", 1), KITH_ERR_TLS);
    duo_pull(&duo.client);
    KITH_CHECK_EQ(duo.client.failed.code, 0x0a);
    KITH_CHECK_EQ(kith__tls_receive(duo.client.tls, KITH_TLS_APPLICATION, (const uint8_t *)"x", 1), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith__tls_receive(duo.server.tls, KITH_TLS_EARLY, (const uint8_t *)"x", 1), KITH_ERR_STATE);
    duo_dispose(&duo);
}

KITH_TEST(bytes_behind_the_server_hello_at_its_level_are_refused)
{
    start();
    open_both();
    duo_pull(&duo.client);
    duo_carry(&duo, &duo.client, &duo.server);
    duo.server.crypto[KITH_TLS_INITIAL][duo.server.crypto_size[KITH_TLS_INITIAL]++] = 8;
    duo_run(&duo);
    check_failed(&duo.client, 0x0a);
    duo_dispose(&duo);
}

/* Makes the client guess a group that the server does not have, so that a HelloRetryRequest is needed. */
static void make_client_guess_wrong(void)
{
    gnutls_priority_deinit(duo.client_ctx->priority);
    KITH_CHECK_EQ(gnutls_priority_init(&duo.client_ctx->priority,
                                       "NONE:+VERS-TLS1.3:+ECDHE-ECDSA:+AEAD:+AES-128-GCM:+GROUP-SECP521R1:"
                                       "+GROUP-X25519:+SIGN-EDDSA-ED25519:+CTYPE-SRV-RAWPK:+CTYPE-CLI-RAWPK:"
                                       "%SERVER_PRECEDENCE:%DISABLE_TLS13_COMPAT_MODE",
                                       NULL),
                  0);
}

KITH_TEST(a_hello_retry_request_works_without_early_data)
{
    start();
    make_client_guess_wrong();
    open_both();
    duo_run(&duo);
    KITH_CHECK_EQ(duo.client.err, 0);
    KITH_CHECK_EQ(duo.server.err, 0);
    KITH_CHECK_EQ(duo.client.done_count, 1);
    KITH_CHECK_EQ(duo.server.done_count, 1);
    KITH_CHECK_STR(duo.server.alpn, "test/1");
    duo_dispose(&duo);
}

KITH_TEST(a_hello_retry_request_with_early_data_asks_for_a_new_start)
{
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob;

    start();
    open_both();
    duo_run(&duo);
    KITH_CHECK_EQ(kith__tls_send_tickets(duo.server.tls, 1), 0);
    duo_run(&duo);
    memcpy(session, duo.client.session, duo.client.session_size);
    blob = (struct kith_slice) { session, duo.client.session_size };
    make_client_guess_wrong();
    KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, true), 0);
    KITH_CHECK(kith__tls_early_params(duo.client.tls, NULL).size != 0);
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
    duo_run(&duo);
    KITH_CHECK_EQ(duo.client.err, KITH_ERR_TLS);
    KITH_CHECK(duo.client.retry);
    KITH_CHECK_EQ(duo.client.failed_count, 0);
    KITH_CHECK_EQ(duo.server.err, 0);
    KITH_CHECK_EQ(duo.server.secret_count[KITH_TLS_EARLY][0], 0); /* the server did not fall into its own trap */

    KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, false), 0); /* the new start */
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
    duo_run(&duo);
    KITH_CHECK_EQ(duo.client.done_count, 1);
    KITH_CHECK_EQ(duo.server.done_count, 1);
    duo_dispose(&duo);
}

/* One full handshake, tickets and a resumption with 0-RTT; ends early and cleanly when memory runs out. */
static int run_all(const struct kith_mem *mem)
{
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob = none;
    int err;

    memset(&duo, 0, sizeof duo);
    if ((err = duo_init(&duo, mem)) != 0)
        return err;
    for (int round = 0; round < 2; round++) {
        if ((err = duo_client(&duo, one, 1, blob, true)) != 0 || (err = duo_server(&duo, one, 1, 7)) != 0)
            return err;
        duo_run(&duo);
        if ((err = duo.client.err) != 0 || (err = duo.server.err) != 0)
            return err;
        if ((err = kith__tls_send_tickets(duo.server.tls, 2)) != 0)
            return err;
        duo_run(&duo);
        if ((err = duo.client.err) != 0)
            return err;
        memcpy(session, duo.client.session, duo.client.session_size);
        blob = (struct kith_slice) { session, duo.client.session_size };
    }
    return 0;
}

KITH_TEST(every_failed_allocation_is_a_clean_error)
{
    struct kith_test_mem memory;
    bool failed = true;
    unsigned at = 0;

    while (failed) {
        int err;

        kith__test_mem_init(&memory, ++at);
        err = run_all(&memory.mem);
        failed = memory.calls >= at;
        KITH_CHECK(err == KITH_ERR_NOMEM || err == 0); /* 0: the record of tickets does without */
        KITH_CHECK_EQ(duo.client.failed_count + duo.server.failed_count, 0);
        duo_dispose(&duo);
        KITH_CHECK_EQ(memory.live, 0);
    }
    KITH_CHECK(at > 30);
}

KITH_TEST(an_idle_handshake_keeps_little_memory)
{
    struct kith_test_mem memory;

    kith__test_mem_init(&memory, 0);
    memset(&duo, 0, sizeof duo);
    KITH_CHECK_EQ(duo_init(&duo, &memory.mem), 0);
    open_both();
    duo_run(&duo);
    kith__tls_shed(duo.client.tls);
    kith__tls_shed(duo.server.tls);
    duo_pull(&duo.client);
    duo_pull(&duo.server);
    KITH_CHECK_EQ(memory.live, 4); /* two contexts, two handshakes, nothing else */
    KITH_CHECK(sizeof(struct kith_tls) <= 1024);
    duo_dispose(&duo);
}
