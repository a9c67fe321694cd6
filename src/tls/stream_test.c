/* https streams with each other: data, ends, names, trust, protocols, reloads, memory. */
#include "base/random.h"
#include "base/test.h"
#include "tls/acme_crypto.h"
#include "tls/stream_duo.h"
#include "tls/stream_internal.h"

#include <string.h>
#include <time.h>

static uint64_t now_s(void)
{
    return (uint64_t)time(NULL);
}

/** Both sides, with contexts of their own. */
struct both {
    struct kith_tls_stream_context *client_context, *server_context;
    struct kith_tls_stream *client, *server;
};

static void both_new(struct both *both, const char *name)
{
    memset(both, 0, sizeof *both);
    KITH_CHECK_EQ(sduo_client_context(kith_mem_default(), now_s(), &both->client_context), 0);
    KITH_CHECK_EQ(sduo_server_context(kith_mem_default(), now_s(), &both->server_context), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(both->client_context, name, &both->client), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(both->server_context, NULL, &both->server), 0);
}

static void both_open(struct both *both)
{
    both_new(both, "relay.test");
    sduo_run(both->client, both->server, 0, NULL, NULL);
    KITH_CHECK(kith__tls_stream_is_open(both->client) && kith__tls_stream_is_open(both->server));
}

static void both_free(struct both *both)
{
    kith__tls_stream_free(both->client);
    kith__tls_stream_free(both->server);
    kith__tls_stream_context_release(both->client_context);
    kith__tls_stream_context_release(both->server_context);
}

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 167 + at / 253);
}

/* ---- Data ---- */

enum { TOTAL = 700001 };

static uint8_t plain[TOTAL], got_bytes[TOTAL];

/** Writes all, carrying whenever there is no more room; the other side must get the same. */
static void check_transfer(struct kith_tls_stream *from, struct kith_tls_stream *to, size_t total, size_t piece)
{
    struct sduo_sink sink = { got_bytes, 0, sizeof got_bytes };
    size_t at = 0, taken;
    int err;

    for (size_t i = 0; i < total; i++)
        plain[i] = pattern(i);
    while (at < total) {
        err = kith__tls_stream_write(from, plain + at, total - at, &taken);
        KITH_CHECK(kith__tls_stream_output_size(from) <= KITH_TLS_STREAM_OUTPUT_MAX);
        if (err == KITH_ERR_AGAIN) {
            KITH_CHECK(!kith__tls_stream_is_writable(from));
            sduo_run(from, to, piece, NULL, &sink);
            continue;
        }
        KITH_CHECK_EQ(err, 0);
        KITH_CHECK(taken > 0 && taken <= total - at);
        at += taken;
    }
    sduo_run(from, to, piece, NULL, &sink);
    KITH_CHECK_EQ(sink.size, total);
    KITH_CHECK_BYTES(got_bytes, plain, total);
}

KITH_TEST(stream_carries_any_amount_both_ways_in_pieces_of_any_size)
{
    static const size_t pieces[] = { 0, 1, 7, 1448, 16389, 40000 };

    for (size_t i = 0; i < KITH_COUNT(pieces); i++) {
        struct both both;
        size_t total = pieces[i] != 0 && pieces[i] < 100 ? 40000 : (size_t)TOTAL;

        both_new(&both, "relay.test");
        sduo_run(both.client, both.server, pieces[i], NULL, NULL);
        KITH_CHECK_STR(kith__tls_stream_version(both.client), "TLS 1.3");
        KITH_CHECK_STR(kith__tls_stream_cipher(both.server), "AES-128-GCM");
        check_transfer(both.client, both.server, total, pieces[i]);
        check_transfer(both.server, both.client, total, pieces[i]);
        both_free(&both);
    }
}

KITH_TEST(stream_end_says_whether_the_other_side_was_through)
{
    struct both both;
    size_t taken;
    uint8_t *bytes;
    int err = 0;

    both_open(&both);
    KITH_CHECK_EQ(kith__tls_stream_write(both.client, (const uint8_t *)"last", 4, &taken), 0);
    KITH_CHECK_EQ(kith__tls_stream_close(both.client), 0);
    KITH_CHECK_EQ(kith__tls_stream_close(both.client), 0);
    KITH_CHECK_EQ(kith__tls_stream_write(both.client, (const uint8_t *)"x", 1, &taken), KITH_ERR_CLOSED);
    struct kith_slice output = kith__tls_stream_output(both.client);
    uint8_t wire[256];
    KITH_CHECK(output.size <= sizeof wire);
    memcpy(wire, output.ptr, output.size);
    KITH_CHECK_EQ(kith__tls_stream_receive(both.server, wire, output.size), 0);
    KITH_CHECK_EQ(kith__tls_stream_keep(both.server), 0);
    memset(wire, 0, sizeof wire); /* the caller's again */
    kith__tls_stream_on_end(both.server);
    KITH_CHECK_EQ(kith__tls_stream_read(both.server, &bytes, &taken), 0);
    KITH_CHECK_EQ(taken, 4);
    KITH_CHECK_BYTES(bytes, "last", 4);
    KITH_CHECK_EQ(kith__tls_stream_read(both.server, &bytes, &taken), KITH_ERR_END);
    KITH_CHECK_EQ(kith__tls_stream_receive(both.server, wire, 1), KITH_ERR_CLOSED);
    /* The other direction is still open, but ends without a word. */
    KITH_CHECK_EQ(kith__tls_stream_write(both.server, (const uint8_t *)"more", 4, &taken), 0);
    KITH_CHECK(sduo_carry(both.server, both.client, 0, NULL, &err));
    KITH_CHECK_EQ(err, KITH_ERR_AGAIN);
    kith__tls_stream_on_end(both.client);
    KITH_CHECK_EQ(kith__tls_stream_read(both.client, &bytes, &taken), KITH_ERR_TRUNCATED);
    KITH_CHECK(kith__tls_stream_failure(both.client).text != NULL);
    both_free(&both);
}

KITH_TEST(stream_output_stays_where_it_is_until_it_was_sent)
{
    struct both both;
    struct kith_slice before, after;
    size_t taken;

    both_open(&both);
    KITH_CHECK_EQ(kith__tls_stream_write(both.client, plain, 1000, &taken), 0);
    before = kith__tls_stream_output(both.client);
    KITH_CHECK_EQ(kith__tls_stream_write(both.client, plain, 100000, &taken), 0);
    after = kith__tls_stream_output(both.client);
    KITH_CHECK(after.ptr == before.ptr && after.size == before.size);
    kith__tls_stream_sent(both.client, 10);
    after = kith__tls_stream_output(both.client);
    KITH_CHECK(after.ptr == before.ptr + 10 && after.size == before.size - 10);
    kith__tls_stream_sent(both.client, after.size);
    KITH_CHECK(kith__tls_stream_output(both.client).size > 100000);
    both_free(&both);
}

KITH_TEST(stream_writes_and_exports_only_when_open)
{
    struct both both;
    uint8_t out[32], *bytes;
    size_t taken;
    struct kith_slice label = { (const uint8_t *)"iroh-relay handshake v1", 23 }, context = { plain, 32 };

    both_new(&both, "relay.test");
    KITH_CHECK_EQ(kith__tls_stream_write(both.client, plain, 1, &taken), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith__tls_stream_read(both.server, &bytes, &taken), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith__tls_stream_export(both.client, label, context, out, 32), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith__tls_stream_close(both.client), 0);
    sduo_run(both.client, both.server, 0, NULL, NULL);
    KITH_CHECK_EQ(kith__tls_stream_export(both.client, label, context, out, 0), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__tls_stream_export(both.client, label, context, out, 1000), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__tls_stream_export(both.client, (struct kith_slice) { NULL, 0 }, context, out, 32),
                  KITH_ERR_INVALID);
    both_free(&both);
}

KITH_TEST(stream_exports_the_same_on_both_sides_and_another_for_another_context)
{
    struct both both;
    uint8_t ours[64], theirs[64], other[64];
    struct kith_slice label = { (const uint8_t *)"iroh-relay handshake v1", 23 }, context = { plain, 32 };

    both_open(&both);
    KITH_CHECK_EQ(kith__tls_stream_export(both.client, label, context, ours, sizeof ours), 0);
    KITH_CHECK_EQ(kith__tls_stream_export(both.server, label, context, theirs, sizeof theirs), 0);
    KITH_CHECK_BYTES(ours, theirs, sizeof ours);
    context.size = 31;
    KITH_CHECK_EQ(kith__tls_stream_export(both.server, label, context, other, sizeof other), 0);
    KITH_CHECK(memcmp(ours, other, sizeof ours) != 0);
    both_free(&both);
}

/* ---- Names and trust ---- */

static struct kith_tls_stream_failure dial(struct kith_tls_stream_context *client_context,
                                           struct kith_tls_stream_context *server_context, const char *name)
{
    struct kith_tls_stream_failure failure, at_server;
    struct kith_tls_stream *client, *server;

    KITH_CHECK_EQ(kith__tls_stream_new(client_context, name, &client), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(server_context, NULL, &server), 0);
    sduo_run(client, server, 0, NULL, NULL);
    failure = kith__tls_stream_failure(client);
    at_server = kith__tls_stream_failure(server);
    KITH_CHECK_EQ(failure.text == NULL, kith__tls_stream_is_open(client) && kith__tls_stream_is_open(server));
    if (failure.text != NULL) { /* one side says why, the other hears it */
        KITH_CHECK(failure.from_peer != at_server.from_peer);
        KITH_CHECK_EQ(failure.alert, at_server.alert);
        KITH_CHECK_STR(failure.alert_name, at_server.alert_name);
    }
    kith__tls_stream_free(client);
    kith__tls_stream_free(server);
    return failure;
}

KITH_TEST(stream_client_accepts_the_names_of_the_certificate_and_no_others)
{
    static const struct {
        const char *name;
        uint8_t alert; /* 0: fine */
    } cases[] = {
        { "relay.test", 0 },     { "relay.test.", 0 }, { "RELAY.test", 0 },      { "a.wild.test", 0 },
        { "127.0.0.1", 0 },      { "::1", 0 },         { "0:0:0:0:0:0:0:1", 0 }, { "other.test", 42 },
        { "a.b.wild.test", 42 }, { "wild.test", 42 },  { "127.0.0.2", 42 },      { "::2", 42 },
    };
    struct kith_tls_stream_context *client, *server;

    KITH_CHECK_EQ(sduo_client_context(kith_mem_default(), now_s(), &client), 0);
    KITH_CHECK_EQ(sduo_server_context(kith_mem_default(), now_s(), &server), 0);
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_tls_stream_failure failure = dial(client, server, cases[i].name);

        KITH_CHECK_EQ(failure.alert, cases[i].alert);
        KITH_CHECK_EQ(failure.wrong_name, cases[i].alert != 0);
    }
    kith__tls_stream_context_release(client);
    kith__tls_stream_context_release(server);
}

KITH_TEST(stream_client_refuses_names_that_are_none)
{
    static const char *const bad[] = { "", ".", "a b", "a/b", "[::1]", "caf\xc3\xa9.test", "1.2.3.4:80" };
    struct kith_tls_stream_context *client, *server;
    struct kith_tls_stream *stream;

    KITH_CHECK_EQ(sduo_client_context(kith_mem_default(), now_s(), &client), 0);
    KITH_CHECK_EQ(sduo_server_context(kith_mem_default(), now_s(), &server), 0);
    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK_EQ(kith__tls_stream_new(client, bad[i], &stream), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__tls_stream_new(client, NULL, &stream), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__tls_stream_new(server, "relay.test", &stream), KITH_ERR_INVALID);
    kith__tls_stream_context_release(client);
    kith__tls_stream_context_release(server);
}

static int client_context(enum kith_tls_trust trust, struct kith_slice anchors, struct kith_tls_stream_context **out)
{
    return kith__tls_stream_context_new(
        &(struct kith_tls_stream_context_options) {
            .mem = kith_mem_default(), .is_client = true, .trust = trust, .anchors = anchors },
        out);
}

KITH_TEST(stream_client_trusts_whom_it_was_told_to)
{
    struct kith_slice anchors = kith__buf_slice(&sduo_certs(now_s())->authority.certificate), none = { NULL, 0 };
    struct kith_tls_stream_context *server, *client;
    struct kith_selfmade stranger;

    KITH_CHECK_EQ(sduo_server_context(kith_mem_default(), now_s(), &server), 0);
    KITH_CHECK_EQ(kith__selfmade_authority(kith_mem_default(), "stranger", now_s(), &stranger), 0);
    KITH_CHECK_EQ(client_context(KITH_TLS_TRUST_ONLY, kith__buf_slice(&stranger.certificate), &client), 0);
    KITH_CHECK_EQ(dial(client, server, "relay.test").alert, 48);
    kith__tls_stream_context_release(client);
    KITH_CHECK_EQ(client_context(KITH_TLS_TRUST_SYSTEM, anchors, &client), 0); /* extra to the system's */
    KITH_CHECK(dial(client, server, "relay.test").text == NULL);
    kith__tls_stream_context_release(client);
    KITH_CHECK_EQ(client_context(KITH_TLS_TRUST_ANY, none, &client), 0);
    KITH_CHECK(dial(client, server, "whatever.test").text == NULL);
    kith__tls_stream_context_release(client);
    KITH_CHECK_EQ(client_context(KITH_TLS_TRUST_ONLY, none, &client), KITH_ERR_PARSE);
    KITH_CHECK_EQ(client_context(KITH_TLS_TRUST_ONLY, (struct kith_slice) { plain, 100 }, &client), KITH_ERR_PARSE);
    kith__selfmade_dispose(&stranger);
    kith__tls_stream_context_release(server);
}

KITH_TEST(stream_client_refuses_a_certificate_out_of_its_time)
{
    static const char *const names[] = { "relay.test" };
    const struct sduo_certs *certs = sduo_certs(now_s());
    uint64_t times[] = { now_s() - KITH_SELFMADE_SERVER_S - 60, now_s() + 7200 };
    struct kith_tls_stream_context *client, *server;

    KITH_CHECK_EQ(sduo_client_context(kith_mem_default(), now_s(), &client), 0);
    for (size_t i = 0; i < KITH_COUNT(times); i++) {
        struct kith_selfmade made;
        struct kith_tls_certificate certificate;

        KITH_CHECK_EQ(kith__selfmade_server(kith_mem_default(), kith__buf_slice(&certs->authority.certificate),
                                            kith__buf_slice(&certs->authority.key), names, 1, times[i], &made),
                      0);
        certificate = (struct kith_tls_certificate) { kith__buf_slice(&made.certificate), kith__buf_slice(&made.key) };
        KITH_CHECK_EQ(kith__tls_stream_context_new(
                          &(struct kith_tls_stream_context_options) {
                              .mem = kith_mem_default(), .certificates = &certificate, .certificate_count = 1 },
                          &server),
                      0);
        KITH_CHECK_EQ(dial(client, server, "relay.test").alert, 45);
        kith__tls_stream_context_release(server);
        kith__selfmade_dispose(&made);
    }
    kith__tls_stream_context_release(client);
}

KITH_TEST(stream_server_chooses_by_name_and_refuses_unknown_ones_if_told)
{
    static const char *const second_names[] = { "second.test" };
    const struct sduo_certs *certs = sduo_certs(now_s());
    struct kith_selfmade second;
    struct kith_tls_certificate both[2] = { { kith__buf_slice(&certs->server.certificate),
                                              kith__buf_slice(&certs->server.key) } };
    struct kith_tls_stream_context_options options = { .mem = kith_mem_default(),
                                                       .certificates = both,
                                                       .certificate_count = 2 };
    struct kith_tls_stream_context *client, *server;

    KITH_CHECK_EQ(sduo_make(&certs->authority, second_names, 1, now_s(), &second), 0);
    both[1] = (struct kith_tls_certificate) { kith__buf_slice(&second.certificate), kith__buf_slice(&second.key) };
    KITH_CHECK_EQ(sduo_client_context(kith_mem_default(), now_s(), &client), 0);
    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &server), 0);
    KITH_CHECK(dial(client, server, "second.test").text == NULL);
    KITH_CHECK(dial(client, server, "relay.test").text == NULL);
    KITH_CHECK_EQ(dial(client, server, "third.test").alert, 42); /* gets the first one, and does not like it */
    kith__tls_stream_context_release(server);
    options.refuses_unknown_names = true;
    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &server), 0);
    KITH_CHECK_EQ(dial(client, server, "third.test").alert, 112);
    KITH_CHECK(dial(client, server, "127.0.0.1").text == NULL); /* no SNI: the first */
    kith__tls_stream_context_release(server);
    both[1].key = both[0].key;
    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &server), KITH_ERR_PARSE);
    kith__selfmade_dispose(&second);
    kith__tls_stream_context_release(client);
}

/* ---- Protocols ---- */

static struct kith_tls_stream_context *alpn_client(const char *const *names, size_t count)
{
    struct kith_slice alpns[KITH_TLS_STREAM_ALPNS_MAX];
    struct kith_tls_stream_context *context;

    for (size_t i = 0; i < count; i++)
        alpns[i] = (struct kith_slice) { (const uint8_t *)names[i], strlen(names[i]) };
    KITH_CHECK_EQ(kith__tls_stream_context_new(&(struct kith_tls_stream_context_options) { .mem = kith_mem_default(),
                                                                                           .is_client = true,
                                                                                           .trust = KITH_TLS_TRUST_ANY,
                                                                                           .alpns = alpns,
                                                                                           .alpn_count = count },
                                               &context),
                  0);
    return context;
}

static void check_alpn(struct kith_tls_stream_context *server_context, const char *const *names, size_t count,
                       const char *name, bool opens, bool is_challenge)
{
    struct kith_tls_stream_context *client_context = alpn_client(names, count);
    struct kith_tls_stream *client, *server;

    KITH_CHECK_EQ(kith__tls_stream_new(client_context, name, &client), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(server_context, NULL, &server), 0);
    sduo_run(client, server, 0, NULL, NULL);
    KITH_CHECK_EQ(kith__tls_stream_is_open(server), opens);
    KITH_CHECK_EQ(kith__tls_stream_is_open(client), opens);
    KITH_CHECK_EQ(kith__tls_stream_is_challenge(server), opens && is_challenge);
    if (!opens)
        KITH_CHECK_EQ(kith__tls_stream_failure(client).alert, 120);
    else
        KITH_CHECK_EQ(kith__tls_stream_alpn(client).size, is_challenge ? 10 : 0);
    kith__tls_stream_free(client);
    kith__tls_stream_free(server);
    kith__tls_stream_context_release(client_context);
}

KITH_TEST(stream_server_answers_acme_challenges_of_pending_names_only)
{
    static const char *const acme[] = { "acme-tls/1" }, *const web[] = { "h2", "http/1.1" };
    static const char *const mixed[] = { "acme-tls/1", "h2" };
    const struct sduo_certs *certs = sduo_certs(now_s());
    struct kith_slice authorisation = { (const uint8_t *)"token.thumbprint", 16 };
    struct kith_selfmade made;
    struct kith_tls_certificate certificate = { kith__buf_slice(&certs->server.certificate),
                                                kith__buf_slice(&certs->server.key) },
                                challenge;
    struct kith_tls_stream_context_options options = { .mem = kith_mem_default(),
                                                       .certificates = &certificate,
                                                       .certificate_count = 1,
                                                       .challenges = &challenge,
                                                       .challenge_count = 1 };
    struct kith_tls_stream_context *server;

    KITH_CHECK_EQ(kith__acme_challenge_certificate(kith_mem_default(), "relay.test", authorisation, now_s(), &made), 0);
    challenge = (struct kith_tls_certificate) { kith__buf_slice(&made.certificate), kith__buf_slice(&made.key) };
    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &server), 0);
    check_alpn(server, acme, 1, "relay.test", true, true);
    check_alpn(server, acme, 1, "other.test", false, false);
    check_alpn(server, acme, 1, "127.0.0.1", false, false); /* no name at all */
    check_alpn(server, web, 2, "relay.test", true, false);  /* as if none were offered */
    check_alpn(server, mixed, 2, "relay.test", true, false);
    kith__tls_stream_context_release(server);
    options.challenge_count = 0;
    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &server), 0);
    check_alpn(server, acme, 1, "relay.test", false, false);
    kith__tls_stream_context_release(server);
    kith__selfmade_dispose(&made);
}

KITH_TEST(stream_server_with_protocols_takes_its_first_that_the_client_has)
{
    static const char *const web[] = { "h2", "http/1.1" }, *const strange[] = { "gopher" };
    struct kith_slice alpns[] = { { (const uint8_t *)"http/1.1", 8 }, { (const uint8_t *)"h2", 2 } };
    const struct sduo_certs *certs = sduo_certs(now_s());
    struct kith_tls_certificate certificate = { kith__buf_slice(&certs->server.certificate),
                                                kith__buf_slice(&certs->server.key) };
    struct kith_tls_stream_context *server, *client_context = alpn_client(web, 2);
    struct kith_tls_stream *client, *accepted;

    KITH_CHECK_EQ(kith__tls_stream_context_new(&(struct kith_tls_stream_context_options) { .mem = kith_mem_default(),
                                                                                           .certificates = &certificate,
                                                                                           .certificate_count = 1,
                                                                                           .alpns = alpns,
                                                                                           .alpn_count = 2 },
                                               &server),
                  0);
    KITH_CHECK_EQ(kith__tls_stream_new(client_context, "relay.test", &client), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(server, NULL, &accepted), 0);
    sduo_run(client, accepted, 0, NULL, NULL);
    KITH_CHECK_EQ(kith__tls_stream_alpn(accepted).size, 8);
    KITH_CHECK_BYTES(kith__tls_stream_alpn(client).ptr, "http/1.1", 8);
    kith__tls_stream_free(client);
    kith__tls_stream_free(accepted);
    kith__tls_stream_context_release(client_context);
    check_alpn(server, strange, 1, "relay.test", false, false);
    check_alpn(server, NULL, 0, "relay.test", true, false);
    kith__tls_stream_context_release(server);
}

/* ---- Contexts ---- */

KITH_TEST(stream_context_may_go_while_streams_shake_hands_and_live_on)
{
    struct kith_test_mem mem;
    struct kith_tls_stream_context *server_context, *client_context;
    struct kith_tls_stream *server, *client;

    kith__test_mem_init(&mem, 0);
    KITH_CHECK_EQ(sduo_server_context(&mem.mem, now_s(), &server_context), 0);
    KITH_CHECK_EQ(sduo_client_context(&mem.mem, now_s(), &client_context), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(server_context, NULL, &server), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(client_context, "relay.test", &client), 0);
    kith__tls_stream_context_release(server_context);
    kith__tls_stream_context_release(client_context);
    sduo_run(client, server, 0, NULL, NULL);
    check_transfer(client, server, 5000, 0);
    kith__tls_stream_free(server);
    kith__tls_stream_free(client);
    KITH_CHECK_EQ(mem.live, 0);
}

KITH_TEST(stream_context_refuses_options_that_make_no_sense)
{
    const struct sduo_certs *certs = sduo_certs(now_s());
    struct kith_tls_certificate certificate = { kith__buf_slice(&certs->server.certificate),
                                                kith__buf_slice(&certs->server.key) };
    struct kith_tls_stream_context_options options = { .mem = kith_mem_default() };
    struct kith_slice long_name = { plain, 32 };
    struct kith_tls_stream_context *context;

    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &context), KITH_ERR_INVALID);
    options.certificates = &certificate;
    options.certificate_count = KITH_TLS_STREAM_CERTIFICATES_MAX + 1;
    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &context), KITH_ERR_INVALID);
    options.certificate_count = 1;
    options.is_client = true;
    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &context), KITH_ERR_INVALID);
    options.is_client = false;
    options.alpns = &long_name;
    options.alpn_count = 1;
    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &context), KITH_ERR_INVALID);
    options.alpn_count = 0;
    certificate.key = certificate.chain;
    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &context), KITH_ERR_PARSE);
    certificate = (struct kith_tls_certificate) { long_name, kith__buf_slice(&certs->server.key) };
    KITH_CHECK_EQ(kith__tls_stream_context_new(&options, &context), KITH_ERR_PARSE);
}

/* ---- Memory ---- */

/** A whole life, as far as memory allows; the two must agree on what arrived. */
static void live_once(const struct kith_mem *mem)
{
    struct kith_tls_stream_context *server_context = NULL, *client_context = NULL;
    struct kith_tls_stream *server = NULL, *client = NULL;
    struct sduo_sink sink = { got_bytes, 0, sizeof got_bytes };
    size_t taken;

    if (sduo_server_context(mem, now_s(), &server_context) == 0 &&
        sduo_client_context(mem, now_s(), &client_context) == 0 &&
        kith__tls_stream_new(server_context, NULL, &server) == 0 &&
        kith__tls_stream_new(client_context, "relay.test", &client) == 0) {
        sduo_run(client, server, 1000, NULL, NULL);
        for (int i = 0; i < 4; i++)
            if (kith__tls_stream_write(client, plain, 3000, &taken) == 0)
                sduo_run(client, server, 1000, NULL, &sink);
        if (kith__tls_stream_close(client) == 0)
            sduo_run(client, server, 1000, NULL, &sink);
        KITH_CHECK(sink.size <= 12000);
    }
    kith__tls_stream_free(server);
    kith__tls_stream_free(client);
    kith__tls_stream_context_release(server_context);
    kith__tls_stream_context_release(client_context);
}

KITH_TEST(stream_survives_the_failure_of_any_allocation)
{
    struct kith_test_mem mem;

    kith__test_mem_init(&mem, 0);
    live_once(&mem.mem);
    KITH_CHECK_EQ(mem.live, 0);
    KITH_CHECK(mem.calls > 12);
    for (uint64_t n = 1, calls = mem.calls; n <= calls; n++) {
        kith__test_mem_init(&mem, n);
        live_once(&mem.mem);
        KITH_CHECK_EQ(mem.live, 0);
    }
}

KITH_TEST(stream_that_is_idle_holds_no_buffers)
{
    struct kith_test_mem mem;
    struct kith_tls_stream_context *server_context, *client_context;
    struct kith_tls_stream *server, *client;
    int64_t before;

    kith__test_mem_init(&mem, 0);
    KITH_CHECK_EQ(sduo_server_context(&mem.mem, now_s(), &server_context), 0);
    KITH_CHECK_EQ(sduo_client_context(kith_mem_default(), now_s(), &client_context), 0);
    before = mem.live;
    KITH_CHECK_EQ(kith__tls_stream_new(server_context, NULL, &server), 0);
    KITH_CHECK_EQ(kith__tls_stream_new(client_context, "relay.test", &client), 0);
    sduo_run(client, server, 100, NULL, NULL);
    check_transfer(client, server, 100000, 700);
    check_transfer(server, client, 100000, 700);
    KITH_CHECK_EQ(mem.live - before, 1); /* itself; the session is the library's */
    kith__tls_stream_free(server);
    kith__tls_stream_free(client);
    kith__tls_stream_context_release(server_context);
    kith__tls_stream_context_release(client_context);
    KITH_CHECK_EQ(mem.live, 0);
}
