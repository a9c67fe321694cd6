/* Dialling in the simulated world: names, addresses that fail in every way, time limits, TLS names. */
#include "link/dial.h"

#include "link/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MS KITH_NS_PER_MS

struct fixture {
    struct world world;
    struct acceptor acceptor;
    struct peer client, server;
    uint64_t began_ns;
};

static void fixture_open(struct fixture *f, int kind)
{
    memset(f, 0, sizeof *f);
    world_open(&f->world, kind, NULL, (uint64_t)time(NULL));
}

static void fixture_listen(struct fixture *f, const char *at)
{
    KITH_CHECK_EQ(kith_sockaddr_parse(at, &f->world.at), 0);
    KITH_CHECK_EQ(acceptor_open(&f->acceptor, &f->world, &f->server, 1), 0);
}

static void fixture_close(struct fixture *f)
{
    peer_dispose(&f->client);
    peer_dispose(&f->server);
    kith__rt_listener_close(f->acceptor.listener);
    world_close(&f->world);
}

static int dial(struct fixture *f, struct kith_dial_options options)
{
    struct kith_link_events events;

    peer_dispose(&f->client);
    events = peer_events(&f->client);
    options.rt = f->world.client;
    if (options.tls == NULL)
        options.tls = f->world.client_tls;
    f->began_ns = kith__rt_now(f->world.client);
    return kith__link_dial(&options, &events, &f->client.link);
}

/** Dials and waits; returns on_open's error. */
static int try_dial(struct fixture *f, struct kith_dial_options options)
{
    KITH_CHECK_EQ(dial(f, options), 0);
    KITH_CHECK(!f->client.is_open_told); /* never out of the call */
    world_run(&f->world, &f->client.is_open_told);
    if (f->client.open_err != 0 && getenv("KITH_SHOW") != NULL)
        printf("%s\n", f->client.why);
    return f->client.open_err;
}

static uint64_t took_ms(const struct fixture *f)
{
    return (kith__rt_now(f->world.client) - f->began_ns) / MS;
}

static bool says(const struct fixture *f, const char *text)
{
    return strstr(f->client.why, text) != NULL;
}

KITH_TEST(dial_reaches_names_and_addresses_of_both_families)
{
    static const struct {
        const char *listen, *host;
        bool prefers_v6, is_v6; /* is_v6: the connection */
    } cases[] = {
        { "10.0.0.2:443", "relay.test", false, false },
        { "10.0.0.2:443", "10.0.0.2", true, false },
        { "[2001:db8::2]:443", "2001:db8::2", false, true },
        { "[2001:db8::2]:443", "[2001:db8::2]", false, true },
        { "[2001:db8::2]:443", "relay.test", true, true },
        { "[2001:db8::2]:443", "relay.test", false, true }, /* IPv4 refuses: the other family at once */
        { "10.0.0.2:443", "relay.test", true, false },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct fixture f;

        fixture_open(&f, WORLD_PLAIN);
        fixture_listen(&f, cases[i].listen);
        KITH_CHECK_EQ(try_dial(&f, (struct kith_dial_options) { .host = cases[i].host,
                                                                .port = 443,
                                                                .prefers_v6 = cases[i].prefers_v6 }),
                      0);
        KITH_CHECK_EQ(kith__link_remote(f.client.link).family, cases[i].is_v6 ? KITH_FAMILY_V6 : KITH_FAMILY_V4);
        KITH_CHECK(took_ms(&f) <= 80); /* two round trips at most */
        fixture_close(&f);
    }
}

KITH_TEST(dial_tells_why_an_address_cannot_be_reached)
{
    struct fixture f;

    fixture_open(&f, WORLD_PLAIN);
    KITH_CHECK_EQ(try_dial(&f, (struct kith_dial_options) { .host = "relay.test", .port = 444 }), KITH_ERR_REFUSED);
    KITH_CHECK(says(&f, "relay.test:444 refuses connections (addresses tried: 2)"));
    KITH_CHECK_EQ(try_dial(&f, (struct kith_dial_options) { .host = "nowhere.test", .port = 444 }), KITH_ERR_NOT_FOUND);
    KITH_CHECK(says(&f, "no address is known for the name nowhere.test"));
    KITH_CHECK_EQ(try_dial(&f, (struct kith_dial_options) { .host = "10.0.0.9", .port = 444 }), KITH_ERR_UNREACHABLE);
    KITH_CHECK(says(&f, "no route to 10.0.0.9:444"));
    kith__sim_host_set_down(f.world.server_host, true);
    KITH_CHECK_EQ(try_dial(&f, (struct kith_dial_options) { .host = "relay.test", .port = 444 }), KITH_ERR_TIMEOUT);
    KITH_CHECK(says(&f, "relay.test:444 does not answer (addresses tried: 2)"));
    KITH_CHECK_EQ(took_ms(&f), 250 + 1500);
    fixture_close(&f);
}

KITH_TEST(dial_does_not_wait_for_a_silent_address)
{
    const struct kith_sockaddr anyone = { .family = KITH_FAMILY_NONE };
    struct kith_sockaddr silent;
    struct fixture f;

    fixture_open(&f, WORLD_PLAIN);
    fixture_listen(&f, "10.0.0.2:443");
    KITH_CHECK_EQ(kith_sockaddr_parse("[2001:db8::2]:0", &silent), 0);
    KITH_CHECK_EQ(kith__sim_set_blackhole(f.world.sim, &anyone, &silent, true), 0);
    KITH_CHECK_EQ(try_dial(&f, (struct kith_dial_options) { .host = "relay.test", .port = 443, .prefers_v6 = true }),
                  0);
    KITH_CHECK_EQ(kith__link_remote(f.client.link).family, KITH_FAMILY_V4);
    KITH_CHECK_EQ(took_ms(&f), 250 + 40);
    fixture_close(&f);
}

KITH_TEST(dial_has_one_time_limit_over_everything)
{
    struct fixture f;

    fixture_open(&f, WORLD_PLAIN);
    kith__sim_host_set_down(f.world.server_host, true);
    KITH_CHECK_EQ(try_dial(&f, (struct kith_dial_options) { .host = "relay.test", .port = 443, .limit_ns = 300 * MS }),
                  KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(took_ms(&f), 300);
    KITH_CHECK(says(&f, "took longer than 300 ms"));
    fixture_close(&f);

    fixture_open(&f, WORLD_TLS); /* the other side accepts, and says nothing */
    kith__tls_stream_context_release(f.world.server_tls);
    f.world.server_tls = NULL;
    fixture_listen(&f, "10.0.0.2:443");
    KITH_CHECK_EQ(try_dial(&f, (struct kith_dial_options) { .host = "relay.test", .port = 443 }), KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(took_ms(&f), 10000);
    KITH_CHECK(says(&f, "the TLS handshake"));
    KITH_CHECK(f.server.got.size > 0);
    fixture_close(&f);
}

KITH_TEST(dial_can_be_given_up_at_any_time)
{
    for (uint64_t after_ms = 0; after_ms < 130; after_ms += 3) {
        struct fixture f;

        fixture_open(&f, WORLD_TLS);
        fixture_listen(&f, "10.0.0.2:443");
        KITH_CHECK_EQ(dial(&f, (struct kith_dial_options) { .host = "relay.test", .port = 443 }), 0);
        world_pass(&f.world, after_ms * MS);
        if (after_ms % 2 == 0) {
            kith__link_close(f.client.link);
            f.client.link = NULL;
        } else {
            kith__link_finish(f.client.link, 0);
        }
        world_pass(&f.world, 5 * KITH_NS_PER_S);
        KITH_CHECK_EQ(f.client.is_closed, after_ms % 2 == 1);
        fixture_close(&f);
    }
}

KITH_TEST(dial_believes_only_a_certificate_for_the_name)
{
    static const struct {
        const char *host, *server_name, *says;
        int err;
    } cases[] = {
        { "10.0.0.2", "relay.test", NULL, 0 },
        { "10.0.0.2", "relay.test.", NULL, 0 },
        { "10.0.0.2", "a.wild.test", NULL, 0 },
        { "10.0.0.2", "127.0.0.1", NULL, 0 },
        { "10.0.0.2", "[::1]", NULL, 0 },
        { "relay.test", NULL, NULL, 0 },
        { "10.0.0.2", NULL, "TLS with 10.0.0.2:443 failed", KITH_ERR_WRONG_PEER },
        { "10.0.0.2", "other.test", "is the host name right?", KITH_ERR_WRONG_PEER },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct fixture f;

        fixture_open(&f, WORLD_TLS);
        fixture_listen(&f, "10.0.0.2:443");
        KITH_CHECK_EQ(try_dial(&f, (struct kith_dial_options) { .host = cases[i].host,
                                                                .port = 443,
                                                                .server_name = cases[i].server_name }),
                      cases[i].err);
        if (cases[i].err != 0) {
            KITH_CHECK(says(&f, cases[i].says));
            world_run(&f.world, &f.server.is_open_told); /* the alert tells the server why */
            KITH_CHECK_EQ(f.server.open_err, KITH_ERR_TLS);
            KITH_CHECK(strstr(f.server.why, "says the other side") != NULL);
        }
        fixture_close(&f);
    }
}

KITH_TEST(dial_believes_only_whom_it_was_told_to_trust)
{
    struct kith_tls_stream_context *stranger;
    struct kith_selfmade authority;
    struct fixture f;

    KITH_CHECK_EQ(kith__selfmade_authority(kith_mem_default(), "another authority", (uint64_t)time(NULL), &authority),
                  0);
    KITH_CHECK_EQ(kith__tls_stream_context_new(
                      &(struct kith_tls_stream_context_options) { .mem = kith_mem_default(),
                                                                  .is_client = true,
                                                                  .trust = KITH_TLS_TRUST_ONLY,
                                                                  .anchors = kith__buf_slice(&authority.certificate) },
                      &stranger),
                  0);
    fixture_open(&f, WORLD_TLS);
    fixture_listen(&f, "10.0.0.2:443");
    KITH_CHECK_EQ(try_dial(&f, (struct kith_dial_options) { .host = "relay.test", .port = 443, .tls = stranger }),
                  KITH_ERR_WRONG_PEER);
    KITH_CHECK(says(&f, "certificate authority"));
    fixture_close(&f);
    kith__tls_stream_context_release(stranger);
    kith__selfmade_dispose(&authority);
}

KITH_TEST(dial_with_tls_to_what_does_not_speak_it_fails_clearly)
{
    struct fixture f;

    fixture_open(&f, WORLD_TLS);
    kith__tls_stream_context_release(f.world.server_tls);
    f.world.server_tls = NULL;
    fixture_listen(&f, "10.0.0.2:443");
    KITH_CHECK_EQ(dial(&f, (struct kith_dial_options) { .host = "relay.test", .port = 443 }), 0);
    f.server.wanted = 1;
    world_run(&f.world, &f.server.has_wanted);
    KITH_CHECK_EQ(kith__link_write(f.server.link, (const uint8_t *)"HTTP/1.1 400 Bad Request\r\n\r\n", 28), 0);
    world_run(&f.world, &f.client.is_open_told);
    KITH_CHECK_EQ(f.client.open_err, KITH_ERR_TLS);
    KITH_CHECK(says(&f, "TLS with relay.test:443 failed"));

    peer_dispose(&f.server);
    f.acceptor.count = 0;
    KITH_CHECK_EQ(dial(&f, (struct kith_dial_options) { .host = "relay.test", .port = 443 }), 0);
    f.server.wanted = 1;
    world_run(&f.world, &f.server.has_wanted);
    kith__link_close(f.server.link);
    f.server.link = NULL;
    world_run(&f.world, &f.client.is_open_told);
    KITH_CHECK(f.client.open_err == KITH_ERR_CLOSED_BY_PEER || f.client.open_err == KITH_ERR_RESET);
    KITH_CHECK(says(&f, "during the TLS handshake"));
    fixture_close(&f);
}

KITH_TEST(link_accepted_with_tls_refuses_what_does_not_speak_it)
{
    struct fixture f;
    struct kith_link_events events;

    fixture_open(&f, WORLD_TLS);
    fixture_listen(&f, "10.0.0.2:443");
    events = peer_events(&f.client);
    KITH_CHECK_EQ(
        kith__link_dial(&(struct kith_dial_options) { .rt = f.world.client, .host = "relay.test", .port = 443 },
                        &events, &f.client.link),
        0);
    world_run(&f.world, &f.client.is_open_told);
    KITH_CHECK_EQ(f.client.open_err, 0);
    KITH_CHECK_EQ(kith__link_write(f.client.link, (const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18), 0);
    world_run(&f.world, &f.server.is_open_told);
    KITH_CHECK_EQ(f.server.open_err, KITH_ERR_TLS);
    kith__link_finish(f.server.link, 0); /* the alert goes out */
    world_run(&f.world, &f.client.is_ended);
    KITH_CHECK(f.client.got.size > 0 && f.client.got.ptr[0] == 21);
    KITH_CHECK(!f.server.is_closed); /* it waits until the client has seen that */
    peer_dispose(&f.client);
    world_run(&f.world, &f.server.is_closed);
    fixture_close(&f);
}

KITH_TEST(dial_refuses_what_is_no_host)
{
    char long_host[300];
    struct fixture f;

    memset(long_host, 'a', sizeof long_host - 1);
    long_host[sizeof long_host - 1] = '\0';
    fixture_open(&f, WORLD_PLAIN);
    KITH_CHECK_EQ(dial(&f, (struct kith_dial_options) { .host = "", .port = 443 }), KITH_ERR_INVALID);
    KITH_CHECK_EQ(dial(&f, (struct kith_dial_options) { .host = "[]", .port = 443 }), KITH_ERR_INVALID);
    KITH_CHECK_EQ(dial(&f, (struct kith_dial_options) { .host = "relay.test", .port = 0 }), KITH_ERR_INVALID);
    KITH_CHECK_EQ(dial(&f, (struct kith_dial_options) { .host = long_host, .port = 443 }), KITH_ERR_INVALID);
    fixture_close(&f);
}

/** Everything that one failed allocation of a dialling, a write and an end may lead to, at either side. */
static bool run_without(int kind, uint64_t fail_at, struct kith_test_mem *mem)
{
    struct kith_link_events events;
    struct fixture f = { .began_ns = 0 };
    bool was_fine;

    kith__test_mem_init(mem, 0);
    world_open(&f.world, kind, &mem->mem, (uint64_t)time(NULL));
    fixture_listen(&f, "10.0.0.2:443");
    mem->calls = 0;
    mem->fail_at = fail_at;
    events = peer_events(&f.client);
    f.client.open_err = kith__link_dial(
        &(struct kith_dial_options) {
            .rt = f.world.client, .host = "relay.test", .port = 443, .tls = f.world.client_tls },
        &events, &f.client.link);
    if (f.client.open_err == 0)
        world_run(&f.world, &f.client.is_open_told);
    world_pass(&f.world, KITH_NS_PER_S);
    if (f.client.open_err == 0 && kith__link_write(f.client.link, (const uint8_t *)"hello", 5) == 0)
        world_pass(&f.world, KITH_NS_PER_S);
    if (f.server.link != NULL)
        kith__link_finish(f.server.link, 0);
    if (f.client.link != NULL)
        kith__link_finish(f.client.link, 0);
    world_pass(&f.world, 5 * KITH_NS_PER_S);
    KITH_CHECK(f.server.link == NULL && f.client.link == NULL);
    was_fine = f.client.open_err == 0 && f.server.got.size == 5;
    KITH_CHECK(was_fine || mem->calls >= fail_at);
    mem->fail_at = 0;
    fixture_close(&f);
    KITH_CHECK_EQ(mem->live, 0);
    return mem->calls < fail_at;
}

KITH_TEST(link_survives_every_failed_allocation)
{
    for (int kind = WORLD_PLAIN; kind <= WORLD_TLS; kind += WORLD_TLS) {
        struct kith_test_mem mem;
        uint64_t fail_at = 1;

        while (!run_without(kind, fail_at, &mem))
            fail_at++;
        KITH_CHECK(fail_at > (kind == WORLD_TLS ? 20 : 5));
    }
}
