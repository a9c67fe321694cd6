/* Endpoints whose only way to each other is a relay: a real one, on threads of this process. */
#define _GNU_SOURCE 1 /* mkdtemp */
#include "api/pair.h"
#include <kith/lookup.h>
#include <kith/relay.h>
#include <stdlib.h>

struct relayed {
    struct kith_relay *relays[2];
    char urls[2][64];
    struct pair pair;
};

static struct kith_relay *start_relay(const struct kith_sockaddr *at, const struct kith_relay_access_rules *access)
{
    struct kith_relay_options options = { KITH_RELAY_OPTIONS_INIT, .worker_count = 1, .http = at, .http_count = 1,
                                          .access = access };
    struct kith_relay *relay;

    PAIR_CHECK(kith_relay_start(&options, &relay), 0);
    return relay;
}

static void start_relays(struct relayed *test, const struct kith_relay_access_rules *access)
{
    struct kith_sockaddr loopback = { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 }, bound;

    memset(test, 0, sizeof *test);
    for (size_t i = 0; i < 2; i++) {
        test->relays[i] = start_relay(&loopback, access);
        KITH_CHECK_EQ(kith_relay_addresses(test->relays[i], KITH_RELAY_ADDRESS_HTTP, &bound, 1), 1);
        snprintf(test->urls[i], sizeof test->urls[i], "http://127.0.0.1:%u/", bound.port);
    }
}

static struct kith_endpoint *relay_endpoint(struct relayed *test, size_t relay_count, const char *token)
{
    const char *alpns[] = { PAIR_ALPN, NULL };
    struct kith_endpoint_relay relays[] = { { test->urls[0], token, 0 }, { test->urls[1], token, 0 } };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT,  .context = test->pair.context,
                                             .alpns = alpns,     .relays = relays,
                                             .relay_only = true, .relay_count = relay_count };
    struct kith_endpoint *endpoint;

    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), 0);
    return endpoint;
}

/* Both endpoints are at all relays of the count; the client knows the server's address. */
static void open_relayed(struct relayed *test, enum kith_context_mode mode, size_t relay_count)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = (uint8_t)mode };
    struct kith_endpoint_relay_info infos[2];
    struct kith_op *changed;

    start_relays(test, NULL);
    PAIR_CHECK(kith_context_new(&options, &test->pair.context), 0);
    test->pair.server = relay_endpoint(test, relay_count, NULL);
    test->pair.client = relay_endpoint(test, relay_count, NULL);
    PAIR_CHECK(kith_endpoint_online(test->pair.client, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_endpoint_online(test->pair.server, PAIR_LIMIT), 0);
    for (;;) { /* the spare one too */
        PAIR_CHECK(kith_endpoint_relays_changed_start(test->pair.server, &changed), 0);
        KITH_CHECK_EQ(kith_endpoint_relays(test->pair.server, infos, 2), relay_count);
        if (infos[relay_count - 1].state == KITH_ENDPOINT_RELAY_CONNECTED &&
            infos[0].state == KITH_ENDPOINT_RELAY_CONNECTED)
            break;
        PAIR_CHECK(kith_op_wait(changed, PAIR_LIMIT), 0);
        kith_op_free(changed);
    }
    kith_op_free(changed);
    kith_endpoint_addr(test->pair.server, &test->pair.addr);
}

static void close_relayed(struct relayed *test)
{
    pair_free(&test->pair);
    for (size_t i = 0; i < 2; i++)
        (void)kith_relay_stop(test->relays[i], 0);
}

static void exchange(struct pair *pair, size_t size)
{
    static uint8_t sent[1 << 20], got[1 << 20];
    struct kith_stream *at_client, *at_server;
    struct kith_op *writing;

    for (size_t i = 0; i < size; i++)
        sent[i] = (uint8_t)(i * 7 + size);
    pair_stream(pair, true, &at_client, &at_server);
    PAIR_CHECK(kith_write_start(at_client, sent, size, KITH_FIN, &writing), 0);
    PAIR_CHECK(kith_read_exact(at_server, got, size, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_op_wait(writing, PAIR_LIMIT), 0);
    kith_op_free(writing);
    KITH_CHECK_BYTES(sent, got, size);
    kith_stream_free(at_client);
    kith_stream_free(at_server);
}

PAIR_TEST(endpoint_relays_carry_a_connection)
{
    struct kith_endpoint_relay_stats stats;
    struct kith_quic_path_info path;
    struct relayed test;
    char url[KITH_ADDR_RELAY_SIZE];
    struct kith_id id, server;

    open_relayed(&test, mode, 1);
    KITH_CHECK_EQ(test.pair.addr.ip_count, 0); /* relay_only */
    KITH_CHECK_EQ(test.pair.addr.relay_count, 1);
    KITH_CHECK_STR(test.pair.addr.relays[0], test.urls[0]);
    pair_connect(&test.pair);
    exchange(&test.pair, 1 << 20);
    PAIR_CHECK(kith_conn_path_in_use(test.pair.at_client, &path), 0);
    KITH_CHECK_EQ(path.remote.family, KITH_FAMILY_RELAY);
    PAIR_CHECK(kith_conn_relay_of(test.pair.at_client, &path.remote, url), 0);
    KITH_CHECK_STR(url, test.urls[0]);
    PAIR_CHECK(kith_endpoint_relay_of(test.pair.client, &path.remote, url, &id), 0);
    server = kith_endpoint_id(test.pair.server);
    KITH_CHECK(kith_id_equal(&id, &server));
    path.remote.ip[0] = 9;
    PAIR_CHECK(kith_endpoint_relay_of(test.pair.client, &path.remote, url, NULL), KITH_ERR_NOT_FOUND);
    kith_endpoint_relay_stats(test.pair.client, &stats);
    KITH_CHECK(stats.bytes_sent > 1 << 20 && stats.conns_success == 1 && stats.paths_added == 1);
    pair_disconnect(&test.pair);
    PAIR_CHECK(kith_endpoint_close(test.pair.client, PAIR_LIMIT), 0);
    close_relayed(&test);
}

PAIR_TEST(endpoint_relays_close_does_not_wait_for_the_echo_of_what_nobody_answered)
{
    struct kith_conn *conn;
    struct relayed test;

    open_relayed(&test, mode, 1);
    kith_relay_stop(test.relays[0], 0);
    test.relays[0] = NULL;
    PAIR_CHECK(kith_connect(test.pair.client, &test.pair.addr, PAIR_ALPN, 100 * KITH_NS_PER_MS, &conn),
               KITH_ERR_TIMEOUT);
    /* No limit of the test's own: its closing period, three timeouts of a first round trip of 333 ms, is 3 s long. */
    PAIR_CHECK(kith_endpoint_close(test.pair.client, KITH_NS_PER_S), 0);
    test.pair.client = NULL;
    close_relayed(&test);
}

PAIR_TEST(endpoint_relays_connection_outlives_its_relay)
{
    struct kith_quic_path_info path;
    struct relayed test;
    char url[KITH_ADDR_RELAY_SIZE];
    int dead;

    open_relayed(&test, mode, 2);
    KITH_CHECK_EQ(test.pair.addr.relay_count, 2);
    pair_connect(&test.pair);
    exchange(&test.pair, 100000);
    PAIR_CHECK(kith_conn_path_in_use(test.pair.at_client, &path), 0);
    PAIR_CHECK(kith_conn_relay_of(test.pair.at_client, &path.remote, url), 0);
    dead = strcmp(url, test.urls[0]) == 0 ? 0 : 1;
    (void)kith_relay_stop(test.relays[dead], 0);
    test.relays[dead] = NULL;
    exchange(&test.pair, 100000);
    PAIR_CHECK(kith_conn_path_in_use(test.pair.at_client, &path), 0);
    PAIR_CHECK(kith_conn_relay_of(test.pair.at_client, &path.remote, url), 0);
    KITH_CHECK_STR(url, test.urls[1 - dead]);
    /* And whoever comes now gets there too. */
    pair_disconnect(&test.pair);
    kith_endpoint_addr(test.pair.server, &test.pair.addr);
    pair_connect(&test.pair);
    exchange(&test.pair, 1000);
    close_relayed(&test);
}

/* The only relay that the dial knew dies; where the other side is now only lookup knows. */
PAIR_TEST(endpoint_relays_peer_at_another_relay_is_found_by_lookup)
{
    struct kith_addr elsewhere;
    struct kith_quic_path_info path;
    struct relayed test;
    char url[KITH_ADDR_RELAY_SIZE];

    open_relayed(&test, mode, 2);
    PAIR_CHECK(kith_endpoint_close(test.pair.client, PAIR_LIMIT), 0);
    test.pair.client = relay_endpoint(&test, 0, NULL); /* it has no relay of its own to guess with */
    elsewhere = test.pair.addr;
    kith_addr_init(&test.pair.addr, &elsewhere.id);
    PAIR_CHECK(kith_addr_add_relay(&test.pair.addr, test.urls[0]), 0);
    pair_connect(&test.pair);
    exchange(&test.pair, 1000);
    kith_addr_init(&elsewhere, &test.pair.addr.id);
    PAIR_CHECK(kith_addr_add_relay(&elsewhere, test.urls[1]), 0);
    PAIR_CHECK(kith_endpoint_add_addr(test.pair.client, &elsewhere, NULL), 0);
    (void)kith_relay_stop(test.relays[0], 0);
    test.relays[0] = NULL;
    exchange(&test.pair, 100000);
    PAIR_CHECK(kith_conn_path_in_use(test.pair.at_client, &path), 0);
    PAIR_CHECK(kith_conn_relay_of(test.pair.at_client, &path.remote, url), 0);
    KITH_CHECK_STR(url, test.urls[1]);
    close_relayed(&test);
}

PAIR_TEST(endpoint_relays_restarted_one_is_used_again)
{
    struct kith_sockaddr at;
    struct relayed test;

    open_relayed(&test, mode, 1);
    pair_connect(&test.pair);
    KITH_CHECK_EQ(kith_relay_addresses(test.relays[0], KITH_RELAY_ADDRESS_HTTP, &at, 1), 1);
    for (int i = 0; i < 3; i++) {
        (void)kith_relay_stop(test.relays[0], 0);
        test.relays[0] = start_relay(&at, NULL);
        exchange(&test.pair, 50000);
    }
    close_relayed(&test);
}

PAIR_TEST(endpoint_relays_denial_is_told_in_words_and_a_token_helps)
{
    const char *tokens[] = { "sesame" };
    struct kith_relay_access_rules access = { .admit = KITH_RELAY_ADMIT_TOKEN, .tokens = tokens, .token_count = 1 };
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = (uint8_t)mode };
    struct kith_endpoint_relay_info info;
    struct relayed test;
    struct kith_addr addr;

    start_relays(&test, &access);
    PAIR_CHECK(kith_context_new(&options, &test.pair.context), 0);
    test.pair.server = relay_endpoint(&test, 1, "sesame");
    test.pair.client = relay_endpoint(&test, 1, "wrong");
    PAIR_CHECK(kith_endpoint_online(test.pair.server, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_endpoint_online(test.pair.client, 300 * KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
    KITH_CHECK(strstr(kith_error_last()->text, "not authorized") != NULL);
    KITH_CHECK_EQ(kith_endpoint_relays(test.pair.client, &info, 1), 1);
    KITH_CHECK_EQ(info.state, KITH_ENDPOINT_RELAY_REFUSED);
    KITH_CHECK(info.is_home && info.is_configured && strstr(info.why, "not authorized") != NULL);
    kith_endpoint_addr(test.pair.client, &addr);
    KITH_CHECK_EQ(addr.relay_count, 0); /* nobody could come through it */
    close_relayed(&test);
}

PAIR_TEST(endpoint_relays_newest_of_two_with_one_key_receives)
{
    const char *alpns[] = { PAIR_ALPN, NULL };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .alpns = alpns, .relay_only = true, .relay_count = 1 };
    struct kith_endpoint_relay_info info;
    struct kith_endpoint_relay relay;
    struct kith_endpoint *old;
    struct kith_secret secret;
    struct kith_op *changed;
    struct relayed test;

    open_relayed(&test, mode, 1);
    relay = (struct kith_endpoint_relay) { test.urls[0], NULL, 0 };
    kith_secret_generate(&secret);
    options.context = test.pair.context;
    options.relays = &relay;
    options.secret = &secret;
    PAIR_CHECK(kith_endpoint_bind(&options, &old), 0);
    PAIR_CHECK(kith_endpoint_online(old, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_endpoint_relays_changed_start(old, &changed), 0);
    PAIR_CHECK(kith_endpoint_bind(&options, &test.pair.server), 0); /* the first server goes with the context */
    PAIR_CHECK(kith_endpoint_online(test.pair.server, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_op_wait(changed, PAIR_LIMIT), 0);
    kith_op_free(changed);
    KITH_CHECK_EQ(kith_endpoint_relays(old, &info, 1), 1);
    KITH_CHECK(info.is_displaced && info.state == KITH_ENDPOINT_RELAY_CONNECTED);
    kith_endpoint_addr(test.pair.server, &test.pair.addr);
    pair_connect(&test.pair);
    exchange(&test.pair, 1000);
    PAIR_CHECK(kith_endpoint_close(old, PAIR_LIMIT), 0);
    close_relayed(&test);
}

/* A relay with https and a certificate of its own making. */
static struct kith_relay *start_self_signed(const char *directory, char *url, size_t size)
{
    struct kith_sockaddr loopback = { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 };
    const char *names[] = { "127.0.0.1" };
    struct kith_server_tls tls = {
        .source = KITH_CERTIFICATE_SELF, .names = names, .name_count = 1, .directory = directory
    };
    struct kith_relay_options options = { KITH_RELAY_OPTIONS_INIT, .worker_count = 1, .https = &loopback,
                                          .https_count = 1, .tls = &tls };
    struct kith_relay *relay;

    PAIR_CHECK(kith_relay_start(&options, &relay), 0);
    KITH_CHECK_EQ(kith_relay_addresses(relay, KITH_RELAY_ADDRESS_HTTPS, &loopback, 1), 1);
    snprintf(url, size, "https://127.0.0.1:%u/", loopback.port);
    return relay;
}

KITH_TEST(endpoint_relays_with_tls_are_trusted_by_their_authority_only)
{
    char directory[] = "/tmp/kith-test-XXXXXX", url[64], authority[8192], remove[64];
    struct kith_endpoint_relay use = { .url = url };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .relays = &use, .relay_count = 1, .relay_only = true };
    struct kith_endpoint *endpoint;
    struct kith_relay *relay;

    KITH_CHECK(mkdtemp(directory) != NULL);
    relay = start_self_signed(directory, url, sizeof url);
    PAIR_CHECK(kith_relay_authority(relay, authority, sizeof authority, &options.relay_ca_pem.size), 0);
    options.relay_ca_pem.ptr = (const uint8_t *)authority;
    for (uint8_t trust = KITH_RELAY_TRUST_SYSTEM; trust <= KITH_RELAY_TRUST_ANY; trust++) {
        options.relay_trust = trust;
        PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), 0);
        PAIR_CHECK(kith_endpoint_online(endpoint, PAIR_LIMIT), 0);
        PAIR_CHECK(kith_endpoint_close(endpoint, PAIR_LIMIT), 0);
    }
    options.relay_trust = KITH_RELAY_TRUST_SYSTEM;
    options.relay_ca_pem.size = 0;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), 0);
    PAIR_CHECK(kith_endpoint_online(endpoint, 500 * KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
    KITH_CHECK(strstr(kith_error_last()->text, "certificate") != NULL);
    PAIR_CHECK(kith_endpoint_close(endpoint, PAIR_LIMIT), 0);
    (void)kith_relay_stop(relay, 0);
    snprintf(remove, sizeof remove, "rm -r %s", directory);
    KITH_CHECK_EQ(system(remove), 0);
}

KITH_TEST(endpoint_relays_options_that_cannot_be_are_refused_with_words)
{
    struct kith_endpoint_relay relay = { "ftp://relay.example", NULL, 0 }, many[KITH_ENDPOINT_RELAYS_MAX + 1];
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .relays = &relay, .relay_count = 1 };
    struct kith_endpoint *endpoint;
    struct kith_op *op;

    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_UNSUPPORTED);
    KITH_CHECK(strstr(kith_error_last()->text, "ftp://relay.example") != NULL);
    relay.url = "relay";
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_PARSE);
    relay.url = "https://relay.example";
    options.relay_ca_pem = (struct kith_slice) { (const uint8_t *)"no pem", 6 };
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_PARSE);
    KITH_CHECK(strstr(kith_error_last()->text, "PEM") != NULL);
    options.relay_ca_pem.size = 0;
    options.no_relays = true;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    options.no_relays = false;
    options.relay_trust = KITH_RELAY_TRUST_ONLY;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    options.relay_trust = KITH_RELAY_TRUST_SYSTEM;
    options.proxy = "gopher://p";
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_UNSUPPORTED);
    options.proxy = NULL;
    for (size_t i = 0; i < KITH_COUNT(many); i++)
        many[i] = relay;
    options.relays = many;
    options.relay_count = KITH_COUNT(many);
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_LIMIT);
    options.relay_count = 0;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), 0);
    PAIR_CHECK(kith_endpoint_online_start(endpoint, &op), KITH_ERR_STATE);
    PAIR_CHECK(kith_endpoint_close(endpoint, PAIR_LIMIT), 0);
}

PAIR_TEST(endpoint_relays_guess_does_not_hold_up_the_answer_of_lookup)
{
    struct kith_addr nobody;
    struct kith_conn *conn;
    struct relayed test;

    open_relayed(&test, mode, 1);
    PAIR_CHECK(kith_endpoint_add_addr(test.pair.client, &test.pair.addr, NULL), 0); /* it knows somebody else */
    kith_addr_init(&nobody, &(struct kith_id) { { 1 } });
    PAIR_CHECK(kith_connect(test.pair.client, &nobody, PAIR_ALPN, PAIR_LIMIT, &conn), KITH_ERR_NO_ADDRESS);
    KITH_CHECK(strstr(kith_error_last()->text, "not at our own relays") != NULL);
    KITH_CHECK(strstr(kith_error_last()->text, "memory: ") != NULL);
    nobody.id = test.pair.addr.id;
    test.pair.addr = nobody; /* while somebody who is there is found by his id */
    kith_endpoint_remove_addr(test.pair.client, &nobody.id);
    pair_connect(&test.pair);
    exchange(&test.pair, 1000);
    close_relayed(&test);
}
