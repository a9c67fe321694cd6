/* Whole handshakes between two sides in memory: what is agreed, what is refused, with which code. */
#include "base/test.h"
#include "tls/duo.h"
#include "tls/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *const one[] = { "test/1" };
static const struct kith_slice none = { NULL, 0 };

static struct duo duo; /* large: not for the stack */

static void start(void)
{
    memset(&duo, 0, sizeof duo);
    KITH_CHECK_EQ(duo_init(&duo, kith_mem_default()), 0);
}

/* A full handshake with both lists of protocols. */
static void shake(const char *const *client, size_t client_count, const char *const *server, size_t server_count)
{
    KITH_CHECK_EQ(duo_client(&duo, client, client_count, none, false), 0);
    KITH_CHECK_EQ(duo_server(&duo, server, server_count, 7), 0);
    duo_run(&duo);
}

static void check_both_done(void)
{
    KITH_CHECK_EQ(duo.client.err, 0);
    KITH_CHECK_EQ(duo.server.err, 0);
    KITH_CHECK_EQ(duo.client.done_count, 1);
    KITH_CHECK_EQ(duo.server.done_count, 1);
    KITH_CHECK_EQ(duo.client.failed_count + duo.server.failed_count, 0);
    KITH_CHECK_BYTES(&duo.client.done.peer, &duo.server_id, KITH_ID_SIZE);
    KITH_CHECK_BYTES(&duo.server.done.peer, &duo.client_id, KITH_ID_SIZE);
    KITH_CHECK_EQ(duo.client.done.cipher, duo.server.done.cipher);
}

static void check_same_secrets(int level)
{
    for (int is_write = 0; is_write < 2; is_write++) {
        size_t size = duo.client.secret_size[level][is_write];

        KITH_CHECK(size != 0 && size == duo.server.secret_size[level][!is_write]);
        KITH_CHECK_BYTES(duo.client.secrets[level][is_write], duo.server.secrets[level][!is_write], size);
    }
}

/* A full handshake that ends with a session blob at the client, in `session`. */
static struct kith_slice get_session(uint8_t *session)
{
    size_t size;

    shake(one, 1, one, 1);
    check_both_done();
    KITH_CHECK_EQ(kith__tls_send_tickets(duo.server.tls, 2), 0);
    duo_pull(&duo.server);
    duo_carry(&duo, &duo.server, &duo.client);
    KITH_CHECK_EQ(duo.client.err, 0);
    KITH_CHECK_EQ(duo.client.session_count, 2);
    size = duo.client.session_size;
    memcpy(session, duo.client.session, size);
    return (struct kith_slice) { session, size };
}

KITH_TEST(both_sides_prove_their_ids_and_share_secrets)
{
    start();
    shake(one, 1, one, 1);
    check_both_done();
    check_same_secrets(KITH_TLS_HANDSHAKE);
    check_same_secrets(KITH_TLS_APPLICATION);
    KITH_CHECK_EQ(duo.client.done.cipher, KITH_CIPHER_AES_128_GCM);
    KITH_CHECK_EQ(duo.client.cipher, KITH_CIPHER_AES_128_GCM);
    KITH_CHECK(!duo.client.done.resumed && !duo.server.done.resumed);
    KITH_CHECK_EQ(duo.client.done.early, KITH_TLS_EARLY_NONE);
    KITH_CHECK_EQ(duo.client.params_size, strlen("server parameters"));
    KITH_CHECK_BYTES(duo.client.params, "server parameters", duo.client.params_size);
    KITH_CHECK_EQ(duo.server.params_size, strlen("client parameters"));
    KITH_CHECK_BYTES(duo.server.params, "client parameters", duo.server.params_size);
    KITH_CHECK_EQ(kith__tls_read_level(duo.client.tls), KITH_TLS_APPLICATION);
    KITH_CHECK_EQ(kith__tls_read_level(duo.server.tls), KITH_TLS_APPLICATION);
    duo_dispose(&duo);
}

KITH_TEST(messages_may_come_one_byte_at_a_time)
{
    start();
    duo.piece = 1;
    shake(one, 1, one, 1);
    check_both_done();
    KITH_CHECK_EQ(kith__tls_send_tickets(duo.server.tls, 2), 0);
    duo_run(&duo);
    KITH_CHECK_EQ(duo.client.session_count, 2);
    duo_dispose(&duo);
}

KITH_TEST(the_servers_order_of_protocols_wins)
{
    static const char *const client[] = { "a", "b", "c" }, *const server[] = { "x", "c", "b" };

    start();
    shake(client, 3, server, 3);
    check_both_done();
    KITH_CHECK_STR(duo.client.alpn, "c");
    KITH_CHECK_STR(duo.server.alpn, "c");
    duo_dispose(&duo);
}

KITH_TEST(protocols_may_be_long_and_many)
{
    static char names[KITH_QUIC_ALPN_COUNT_MAX][KITH_QUIC_ALPN_SIZE_MAX + 1];
    const char *list[KITH_QUIC_ALPN_COUNT_MAX], *last;

    for (size_t i = 0; i < KITH_COUNT(list); i++) {
        memset(names[i], 'a' + (int)(i % 26), 100 + i);
        list[i] = names[i];
    }
    last = names[KITH_COUNT(list) - 1];
    start();
    shake(list, KITH_COUNT(list), &last, 1);
    check_both_done();
    KITH_CHECK_STR(duo.client.alpn, last);
    KITH_CHECK_STR(duo.server.alpn, last);
    duo_dispose(&duo);
}

KITH_TEST(no_common_protocol_ends_with_no_application_protocol)
{
    static const char *const other[] = { "other/1" };

    start();
    shake(one, 1, other, 1);
    KITH_CHECK_EQ(duo.server.err, KITH_ERR_TLS);
    KITH_CHECK_EQ(duo.server.failed_count, 1);
    KITH_CHECK_EQ(duo.server.failed.code, 0x178);
    KITH_CHECK(duo.server.failed.no_alpn && !duo.server.failed.wrong_peer);
    KITH_CHECK_EQ(duo.server.done_count + duo.client.done_count, 0);
    KITH_CHECK_EQ(kith__tls_receive(duo.server.tls, KITH_TLS_INITIAL, (const uint8_t *)"", 0), KITH_ERR_STATE);
    duo_dispose(&duo);
}

KITH_TEST(a_server_with_another_key_is_refused_before_we_prove_ours)
{
    start();
    duo.server_id.bytes[3] ^= 1; /* the one that is dialled */
    shake(one, 1, one, 1);
    KITH_CHECK_EQ(duo.client.err, KITH_ERR_TLS);
    KITH_CHECK_EQ(duo.client.failed.code, 0x130);
    KITH_CHECK(duo.client.failed.wrong_peer);
    KITH_CHECK_EQ(duo.client.done_count + duo.server.done_count, 0);
    KITH_CHECK_EQ(duo.client.secret_size[KITH_TLS_APPLICATION][1], 0);
    duo_dispose(&duo);
}

KITH_TEST(a_session_resumes_and_the_id_is_still_checked)
{
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob;

    start();
    blob = get_session(session);
    KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, false), 0);
    KITH_CHECK_EQ(kith__tls_early_params(duo.client.tls, NULL).size, 0);
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
    duo_run(&duo);
    check_both_done();
    KITH_CHECK(duo.client.done.resumed && duo.server.done.resumed);
    KITH_CHECK_EQ(duo.client.done.early, KITH_TLS_EARLY_NONE);
    KITH_CHECK_EQ(duo.server.done.early, KITH_TLS_EARLY_NONE);

    duo.server_id.bytes[0] ^= 1; /* the blob is another peer's */
    KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, false), KITH_ERR_PARSE);
    duo.server_id.bytes[0] ^= 1;
    session[40] ^= 1; /* the blob is damaged */
    KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, false), KITH_ERR_PARSE);
    duo_dispose(&duo);
}

KITH_TEST(a_resumed_session_of_another_peer_is_refused_after_the_handshake)
{
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob;

    start();
    blob = get_session(session);
    KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, false), 0);
    duo.client.tls->expected.bytes[5] ^= 1; /* as if the blob had not been checked: only the peer's key tells now */
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
    duo_run(&duo);
    KITH_CHECK_EQ(duo.client.err, KITH_ERR_TLS);
    KITH_CHECK_EQ(duo.client.failed.code, 0x130);
    KITH_CHECK(duo.client.failed.wrong_peer);
    KITH_CHECK_EQ(duo.client.done_count, 0);
    duo_dispose(&duo);
}

KITH_TEST(early_data_is_accepted_once_for_each_ticket)
{
    static const uint8_t expected[] = { KITH_TLS_EARLY_ACCEPTED, KITH_TLS_EARLY_REJECTED, KITH_TLS_EARLY_REJECTED };
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob, params, alpn;

    start();
    blob = get_session(session);
    for (size_t i = 0; i < KITH_COUNT(expected); i++) {
        bool accepted = expected[i] == KITH_TLS_EARLY_ACCEPTED;

        KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, true), 0);
        params = kith__tls_early_params(duo.client.tls, &alpn);
        KITH_CHECK_EQ(params.size, strlen("server parameters"));
        KITH_CHECK_BYTES(params.ptr, "server parameters", params.size);
        KITH_CHECK_EQ(alpn.size, strlen(one[0]));
        KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
        duo_run(&duo);
        check_both_done();
        KITH_CHECK(duo.client.done.resumed);
        KITH_CHECK_EQ(duo.client.done.early, expected[i]);
        KITH_CHECK_EQ(duo.server.done.early, expected[i]);
        KITH_CHECK_EQ(duo.client.secret_count[KITH_TLS_EARLY][1], 1);
        KITH_CHECK_EQ(duo.server.secret_count[KITH_TLS_EARLY][0], accepted ? 1 : 0);
        if (accepted)
            KITH_CHECK_BYTES(duo.client.secrets[KITH_TLS_EARLY][1], duo.server.secrets[KITH_TLS_EARLY][0],
                             duo.client.secret_size[KITH_TLS_EARLY][1]);
        check_same_secrets(KITH_TLS_APPLICATION);
        KITH_CHECK_EQ(kith__tls_early_params(duo.client.tls, NULL).size, 0);
    }
    duo_dispose(&duo);
}

KITH_TEST(a_replayed_client_hello_gets_no_early_secret)
{
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX], hello[2048];
    struct kith_slice blob;
    size_t size;

    start();
    blob = get_session(session);
    KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, true), 0);
    duo_pull(&duo.client);
    size = duo.client.crypto_size[KITH_TLS_INITIAL];
    memcpy(hello, duo.client.crypto[KITH_TLS_INITIAL], size);
    for (unsigned i = 0; i < 2; i++) {
        KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
        KITH_CHECK_EQ(kith__tls_receive(duo.server.tls, KITH_TLS_INITIAL, hello, size), 0);
        duo_pull(&duo.server);
        KITH_CHECK_EQ(duo.server.secret_count[KITH_TLS_EARLY][0], i == 0 ? 1 : 0);
    }
    duo_dispose(&duo);
}

KITH_TEST(early_data_needs_the_same_tag)
{
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob;

    start();
    blob = get_session(session);
    KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, true), 0);
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 8), 0);
    duo_run(&duo);
    check_both_done();
    KITH_CHECK_EQ(duo.server.done.early, KITH_TLS_EARLY_REJECTED);
    KITH_CHECK_EQ(duo.client.done.early, KITH_TLS_EARLY_REJECTED);
    duo_dispose(&duo);
}

KITH_TEST(early_data_needs_the_same_protocol)
{
    static const char *const two[] = { "test/1", "test/2" }, *const reversed[] = { "test/2", "test/1" };
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob;

    start();
    blob = get_session(session);
    KITH_CHECK_EQ(duo_client(&duo, two, 2, blob, true), 0);
    KITH_CHECK_EQ(duo_server(&duo, reversed, 2, 7), 0);
    duo_run(&duo);
    check_both_done();
    KITH_CHECK_STR(duo.client.alpn, "test/2");
    KITH_CHECK_EQ(duo.client.done.early, KITH_TLS_EARLY_REJECTED);

    KITH_CHECK_EQ(duo_client(&duo, two + 1, 1, blob, true), 0); /* not offered any more: no 0-RTT from our side */
    KITH_CHECK_EQ(kith__tls_early_params(duo.client.tls, NULL).size, 0);
    duo_dispose(&duo);
}

KITH_TEST(a_server_of_another_run_does_a_full_handshake)
{
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob;

    start();
    blob = get_session(session);
    duo_side_clear(&duo.server);
    kith__tls_context_free(duo.server_ctx);
    KITH_CHECK_EQ(duo_context(&duo, 2, &duo.server_ctx, &duo.server_id), 0);
    KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, true), 0);
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
    duo_run(&duo);
    check_both_done();
    KITH_CHECK(!duo.client.done.resumed && !duo.server.done.resumed);
    KITH_CHECK_EQ(duo.client.done.early, KITH_TLS_EARLY_REJECTED);
    KITH_CHECK_EQ(duo.server.done.early, KITH_TLS_EARLY_REJECTED);
    duo_dispose(&duo);
}

/* Where the library's session data holds a time (seconds, 4 bytes) near to now: the first at or after `at`. */
static size_t find_time(struct kith_slice data, size_t at, uint32_t now)
{
    for (; at + 4 <= data.size; at++) {
        uint32_t value = (uint32_t)data.ptr[at] << 24 | (uint32_t)data.ptr[at + 1] << 16 |
                         (uint32_t)data.ptr[at + 2] << 8 | data.ptr[at + 3];

        if (now - value < 60)
            return at;
    }
    return data.size;
}

/* Offers the session with other data of the library in it; true if the handshake went on without it. */
static bool is_left_out(const struct kith_blob *parts, struct kith_slice data)
{
    struct kith_blob blob = *parts;
    uint8_t bytes[KITH_TLS_BLOB_SIZE_MAX];
    size_t size;

    blob.data = data;
    KITH_CHECK_EQ(kith__blob_write(duo.client_ctx->blob_key, &blob, bytes, sizeof bytes, &size), 0);
    KITH_CHECK_EQ(duo_client(&duo, one, 1, (struct kith_slice) { bytes, size }, true), 0);
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
    duo_run(&duo);
    check_both_done();
    KITH_CHECK_EQ(duo.client.done.resumed, duo.server.done.resumed);
    KITH_CHECK_EQ(duo.client.done.early != KITH_TLS_EARLY_NONE, duo.client.secret_count[KITH_TLS_EARLY][1] != 0);
    return !duo.client.done.resumed && duo.client.done.early == KITH_TLS_EARLY_NONE;
}

KITH_TEST(a_session_that_is_too_old_or_unknown_to_the_library_is_left_out)
{
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX], data[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob;
    struct kith_blob parts;
    unsigned left_out = 0;

    start();
    blob = get_session(session);
    KITH_CHECK_EQ(kith__blob_read(duo.client_ctx->blob_key, blob, &parts), 0);
    for (size_t at = 0; (at = find_time(parts.data, at, (uint32_t)time(NULL))) != parts.data.size; at++) {
        memcpy(data, parts.data.ptr, parts.data.size);
        data[at + 1] -= 3; /* 2.3 days: the arrival of the ticket, or another time that does not count */
        left_out += is_left_out(&parts, (struct kith_slice) { data, parts.data.size });
    }
    KITH_CHECK(left_out >= 1);
    KITH_CHECK(is_left_out(&parts, duo_slice("of another library")));
    KITH_CHECK(!is_left_out(&parts, parts.data));
    duo_dispose(&duo);
}

KITH_TEST(the_exporter_agrees_with_the_library_and_outlives_it)
{
    static const char label[] = "EXPORTER-kith", context[] = "some context";
    uint8_t ours[3][64], theirs[64];

    start();
    shake(one, 1, one, 1);
    check_both_done();
    KITH_CHECK_EQ(kith__tls_export(duo.client.tls, duo_slice(label), duo_slice(context), ours[0], 64), 0);
    KITH_CHECK_EQ(kith__tls_export(duo.server.tls, duo_slice(label), duo_slice(context), ours[1], 64), 0);
    KITH_CHECK_EQ(gnutls_prf_rfc5705(duo.client.tls->session, sizeof label - 1, label, sizeof context - 1, context, 64,
                                     (char *)theirs),
                  0);
    KITH_CHECK_BYTES(ours[0], theirs, 64);
    KITH_CHECK_BYTES(ours[1], theirs, 64);
    kith__tls_shed(duo.client.tls);
    kith__tls_shed(duo.client.tls);
    KITH_CHECK(duo.client.tls->session == NULL);
    KITH_CHECK_EQ(kith__tls_export(duo.client.tls, duo_slice(label), duo_slice(context), ours[2], 64), 0);
    KITH_CHECK_BYTES(ours[2], theirs, 64);
    KITH_CHECK_EQ(kith__tls_export(duo.client.tls, none, none, ours[2], 64), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__tls_export(duo.client.tls, duo_slice(label), none, ours[2], 0), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__tls_export(duo.client.tls, duo_slice(label), none, ours[2], 8161), KITH_ERR_INVALID);
    duo_dispose(&duo);
}

KITH_TEST(nothing_is_exported_before_the_handshake_is_complete)
{
    uint8_t out[32];

    start();
    KITH_CHECK_EQ(duo_client(&duo, one, 1, none, false), 0);
    KITH_CHECK_EQ(kith__tls_export(duo.client.tls, duo_slice("x"), none, out, 32), KITH_ERR_STATE);
    kith__tls_shed(duo.client.tls); /* no-op */
    KITH_CHECK(duo.client.tls->session != NULL);
    duo_dispose(&duo);
}

KITH_TEST(a_key_update_is_an_unexpected_message_before_and_after_shedding)
{
    static const uint8_t key_update[] = { 24, 0, 0, 1, 0 };

    for (int shed = 0; shed < 2; shed++) {
        struct duo_side *sides[2] = { &duo.client, &duo.server };

        start();
        shake(one, 1, one, 1);
        check_both_done();
        for (size_t i = 0; i < 2; i++) {
            if (shed)
                kith__tls_shed(sides[i]->tls);
            KITH_CHECK_EQ(kith__tls_receive(sides[i]->tls, KITH_TLS_APPLICATION, key_update, 1), KITH_ERR_TLS);
            duo_pull(sides[i]);
            KITH_CHECK_EQ(sides[i]->failed.code, 0x10a);
        }
        duo_dispose(&duo);
    }
}

KITH_TEST(a_ticket_to_a_server_is_an_unexpected_message)
{
    static const uint8_t ticket[] = { 4, 0, 0, 0 };

    start();
    shake(one, 1, one, 1);
    KITH_CHECK_EQ(kith__tls_receive(duo.server.tls, KITH_TLS_APPLICATION, ticket, sizeof ticket), KITH_ERR_TLS);
    duo_pull(&duo.server);
    KITH_CHECK_EQ(duo.server.failed.code, 0x10a);
    duo_dispose(&duo);
}

KITH_TEST(tickets_after_shedding_are_counted_and_passed_over)
{
    start();
    duo.piece = 100;
    shake(one, 1, one, 1);
    check_both_done();
    kith__tls_shed(duo.client.tls);
    KITH_CHECK_EQ(kith__tls_send_tickets(duo.server.tls, 2), 0);
    duo_run(&duo);
    KITH_CHECK_EQ(duo.client.err, 0);
    KITH_CHECK_EQ(duo.client.session_count, 0);
    KITH_CHECK_EQ(kith__tls_tickets_ignored(duo.client.tls), 2);
    kith__tls_shed(duo.server.tls);
    KITH_CHECK_EQ(kith__tls_send_tickets(duo.server.tls, 1), KITH_ERR_STATE);
    duo_dispose(&duo);
}

KITH_TEST(a_ticket_of_which_a_part_came_before_shedding_is_passed_over)
{
    static const uint8_t ticket[] = { 4, 0, 0, 14, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 7, 0, 0 };

    for (size_t part = 1; part < sizeof ticket; part++) {
        start();
        shake(one, 1, one, 1);
        check_both_done();
        KITH_CHECK_EQ(kith__tls_receive(duo.client.tls, KITH_TLS_APPLICATION, ticket, part), 0);
        kith__tls_shed(duo.client.tls);
        KITH_CHECK_EQ(kith__tls_receive(duo.client.tls, KITH_TLS_APPLICATION, ticket + part, sizeof ticket - part), 0);
        KITH_CHECK_EQ(kith__tls_tickets_ignored(duo.client.tls), 1);
        KITH_CHECK_EQ(kith__tls_receive(duo.client.tls, KITH_TLS_APPLICATION, ticket, sizeof ticket), 0);
        KITH_CHECK_EQ(kith__tls_tickets_ignored(duo.client.tls), 2);
        KITH_CHECK(duo.client.tls->partial.ptr == NULL);
        duo_dispose(&duo);
    }
}

KITH_TEST(endless_and_huge_tickets_are_counted_and_passed_over)
{
    static uint8_t huge[4 + 40000] = { 4, 0, 40000 >> 8, 40000 & 0xff };
    uint8_t ticket[64] = { 4, 0, 0, 14, 0, 0, 0, 9, 1, 2, 3, 4, 1, 9, 0, 1, 7, 0, 0 };
    size_t size = 4 + 15;

    ticket[3] = (uint8_t)(size - 4);
    start();
    shake(one, 1, one, 1);
    KITH_CHECK_EQ(kith__tls_receive(duo.client.tls, KITH_TLS_APPLICATION, huge, sizeof huge), 0);
    KITH_CHECK_EQ(kith__tls_tickets_ignored(duo.client.tls), 1);
    for (int i = 0; i < KITH_TLS_TICKETS_READ_MAX + 3; i++)
        KITH_CHECK_EQ(kith__tls_receive(duo.client.tls, KITH_TLS_APPLICATION, ticket, size), 0);
    duo_pull(&duo.client);
    KITH_CHECK_EQ(duo.client.session_count, KITH_TLS_TICKETS_READ_MAX);
    KITH_CHECK_EQ(kith__tls_tickets_ignored(duo.client.tls), 4);
    duo_dispose(&duo);
}

KITH_TEST(a_ticket_that_limits_early_data_by_size_is_a_protocol_violation)
{
    static const uint8_t ticket[] = {
        4, 0, 0, 23, 0, 0, 0, 9, 1, 2, 3, 4, 1, 9, 0, 1, 7, 0, 8, 0, 42, 0, 4, 0, 0, 0, 99
    };

    start();
    shake(one, 1, one, 1);
    KITH_CHECK_EQ(kith__tls_receive(duo.client.tls, KITH_TLS_APPLICATION, ticket, sizeof ticket), KITH_ERR_TLS);
    duo_pull(&duo.client);
    KITH_CHECK_EQ(duo.client.failed.code, 0x0a);
    duo_dispose(&duo);
}

KITH_TEST(no_more_tickets_are_sent_than_the_maximum)
{
    start();
    shake(one, 1, one, 1);
    KITH_CHECK_EQ(kith__tls_send_tickets(duo.client.tls, 1), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith__tls_send_tickets(duo.server.tls, KITH_TLS_TICKETS_SENT_MAX), 0);
    KITH_CHECK_EQ(kith__tls_send_tickets(duo.server.tls, 1), KITH_ERR_LIMIT);
    duo_dispose(&duo);
}

KITH_TEST(key_log_lines_name_the_secrets)
{
    char expected[2 * KITH_TLS_SECRET_SIZE_MAX + 1] = "";
    const char *line;

    start();
    shake(one, 1, one, 1);
    KITH_CHECK_EQ(duo.client.key_log_count, 5);
    KITH_CHECK_EQ(duo.server.key_log_count, 0); /* not asked for */
    for (size_t i = 0; i < 32; i++)
        snprintf(expected + 2 * i, 3, "%02x", duo.client.tls->exporter[i]);
    line = strstr(duo.client.key_log, "\nEXPORTER_SECRET ");
    KITH_CHECK(line != NULL && strlen(line) > 17 + 64 + 1 + 64);
    KITH_CHECK_BYTES(line + 17 + 64 + 1, expected, 64);
    duo_dispose(&duo);
}

KITH_TEST(the_library_does_not_write_secrets_to_a_file)
{
    char path[] = "/tmp/kith-keylog-XXXXXX";
    int file = mkstemp(path);
    FILE *stream;

    KITH_CHECK(file >= 0);
    KITH_CHECK_EQ(setenv("SSLKEYLOGFILE", path, 1), 0);
    start();
    shake(one, 1, one, 1);
    check_both_done();
    duo_dispose(&duo);
    unsetenv("SSLKEYLOGFILE");
    KITH_CHECK((stream = fdopen(file, "rb")) != NULL);
    KITH_CHECK_EQ(fgetc(stream), EOF);
    fclose(stream);
    remove(path);
}

KITH_TEST(options_out_of_range_are_refused)
{
    static char long_name[KITH_QUIC_ALPN_SIZE_MAX + 2];
    const char *names[] = { long_name }, *empty[] = { "" };
    static uint8_t params[KITH_TLS_PARAMS_SIZE_MAX + 1];

    memset(long_name, 'x', sizeof long_name - 1);
    start();
    KITH_CHECK_EQ(duo_client(&duo, names, 1, none, false), KITH_ERR_INVALID);
    KITH_CHECK_EQ(duo_client(&duo, empty, 1, none, false), KITH_ERR_INVALID);
    KITH_CHECK_EQ(duo_client(&duo, one, 0, none, false), KITH_ERR_INVALID);
    KITH_CHECK_EQ(duo_server(&duo, names, 1, 0), KITH_ERR_INVALID);
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 0), 0);
    KITH_CHECK_EQ(kith__tls_set_params(duo.server.tls, none), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__tls_set_params(duo.server.tls, (struct kith_slice) { params, sizeof params }),
                  KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__tls_set_params(duo.server.tls, (struct kith_slice) { params, sizeof params - 1 }), 0);
    duo_dispose(&duo);
}
