/* Endpoints that ask a relay of this process where they are seen. */
#define _GNU_SOURCE 1 /* mkdtemp */
#include "api/pair.h"
#include <kith/relay.h>
#include <stdlib.h>

struct asked {
    char directory[32], url[64], authority[8192];
    size_t authority_size;
    struct kith_relay *relay;
    struct kith_endpoint_relay use;
};

/* https and address discovery on loopback, with a certificate of the relay's own making. */
static void start_relay(struct asked *test, bool has_discovery)
{
    struct kith_sockaddr loopback = { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 }, bound;
    const char *names[] = { "127.0.0.1" };
    struct kith_server_tls tls = { .source = KITH_CERTIFICATE_SELF, .names = names, .name_count = 1 };
    struct kith_relay_options options = { KITH_RELAY_OPTIONS_INIT, .worker_count = 1, .https = &loopback,
                                          .https_count = 1,        .tls = &tls,       .discovery = &loopback };

    memset(test, 0, sizeof *test);
    strcpy(test->directory, "/tmp/kith-test-XXXXXX");
    KITH_CHECK(mkdtemp(test->directory) != NULL);
    tls.directory = test->directory;
    options.discovery_count = has_discovery;
    PAIR_CHECK(kith_relay_start(&options, &test->relay), 0);
    KITH_CHECK_EQ(kith_relay_addresses(test->relay, KITH_RELAY_ADDRESS_HTTPS, &bound, 1), 1);
    snprintf(test->url, sizeof test->url, "https://127.0.0.1:%u/", bound.port);
    PAIR_CHECK(kith_relay_authority(test->relay, test->authority, sizeof test->authority, &test->authority_size), 0);
    test->use = (struct kith_endpoint_relay) { .url = test->url, .qad_port = 9 }; /* 9: nobody answers there */
    if (has_discovery) {
        KITH_CHECK_EQ(kith_relay_addresses(test->relay, KITH_RELAY_ADDRESS_DISCOVERY, &bound, 1), 1);
        test->use.qad_port = bound.port;
    }
}

static void stop_relay(struct asked *test)
{
    char remove[64];

    (void)kith_relay_stop(test->relay, 0);
    snprintf(remove, sizeof remove, "rm -r %s", test->directory);
    KITH_CHECK_EQ(system(remove), 0);
}

static struct kith_endpoint *open_endpoint(struct asked *test, enum kith_context_mode mode,
                                           struct kith_context **context, uint8_t trust)
{
    struct kith_context_options made = { KITH_CONTEXT_OPTIONS_INIT, .mode = (uint8_t)mode };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .relays = &test->use, .relay_count = 1,
                                             .relay_trust = trust };
    struct kith_endpoint *endpoint;

    if (trust != KITH_RELAY_TRUST_ANY)
        options.relay_ca_pem = (struct kith_slice) { (const uint8_t *)test->authority, test->authority_size };
    PAIR_CHECK(kith_context_new(&made, context), 0);
    options.context = *context;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), 0);
    return endpoint;
}

/* Until an address is known, or the relay is known not to tell any. */
static void wait_for_answer(struct kith_endpoint *endpoint, struct kith_endpoint_public_info *out)
{
    struct kith_op *changed;

    for (;;) {
        PAIR_CHECK(kith_endpoint_relays_changed_start(endpoint, &changed), 0);
        kith_endpoint_public(endpoint, out);
        if (out->v4.family != KITH_FAMILY_NONE)
            break;
        PAIR_CHECK(kith_op_wait(changed, PAIR_LIMIT), 0);
        kith_op_free(changed);
    }
    kith_op_free(changed);
}

PAIR_TEST(endpoint_public_address_is_asked_for_and_told)
{
    struct kith_endpoint_public_info info;
    struct kith_endpoint_relay_info relay;
    struct kith_quic_host_stats stats;
    struct kith_context *context;
    struct kith_endpoint *endpoint;
    struct kith_sockaddr bound[2];
    struct asked test;
    struct kith_addr addr;
    bool is_told = false;
    size_t count;

    start_relay(&test, true);
    for (uint8_t trust = KITH_RELAY_TRUST_SYSTEM; trust <= KITH_RELAY_TRUST_ANY; trust++) {
        endpoint = open_endpoint(&test, mode, &context, trust);
        wait_for_answer(endpoint, &info);
        KITH_CHECK_EQ(info.v4.ip[0], 127);
        KITH_CHECK_EQ(info.mapping_v4, KITH_ENDPOINT_MAPPING_UNKNOWN);
        KITH_CHECK_EQ(info.v6.family, KITH_FAMILY_NONE);
        count = kith_endpoint_bound(endpoint, bound, 2);
        KITH_CHECK(count >= 1 && info.v4.port == bound[0].port);
        kith_endpoint_addr(endpoint, &addr);
        for (size_t i = 0; i < addr.ip_count; i++)
            is_told = is_told || kith_sockaddr_equal(&addr.ips[i], &info.v4);
        KITH_CHECK(is_told);
        KITH_CHECK_EQ(kith_endpoint_relays(endpoint, &relay, 1), 1);
        KITH_CHECK(relay.has_qad && relay.quic_latency_ns != 0 && relay.qad_err == 0);
        kith_endpoint_stats(endpoint, &stats); /* nobody's connections */
        KITH_CHECK_EQ(stats.conns_opened, 0);
        KITH_CHECK_EQ(stats.conns_live, 0);
        PAIR_CHECK(kith_endpoint_close(endpoint, PAIR_LIMIT), 0);
        kith_context_free(context);
    }
    stop_relay(&test);
}

KITH_TEST(endpoint_public_address_that_nobody_tells_delays_nothing)
{
    struct kith_endpoint_relay_info relay = { 0 };
    struct kith_endpoint_public_info info;
    struct kith_context *context;
    struct kith_endpoint *endpoint;
    struct kith_op *changed;
    struct asked test;

    start_relay(&test, false);
    endpoint = open_endpoint(&test, KITH_CONTEXT_CALLER, &context, KITH_RELAY_TRUST_ONLY);
    PAIR_CHECK(kith_endpoint_online(endpoint, 2 * KITH_NS_PER_S), 0);
    KITH_CHECK_EQ(kith_endpoint_relays(endpoint, &relay, 1), 1);
    KITH_CHECK_EQ(relay.qad_err, 0); /* it is still being asked: being online did not wait for that */
    while (relay.qad_err == 0) {
        PAIR_CHECK(kith_endpoint_relays_changed_start(endpoint, &changed), 0);
        PAIR_CHECK(kith_op_wait(changed, PAIR_LIMIT), 0);
        kith_op_free(changed);
        KITH_CHECK_EQ(kith_endpoint_relays(endpoint, &relay, 1), 1);
    }
    KITH_CHECK_EQ(relay.qad_err, KITH_ERR_TIMEOUT);
    KITH_CHECK(strstr(relay.qad_why, "UDP") != NULL);
    KITH_CHECK_EQ(relay.state, KITH_ENDPOINT_RELAY_CONNECTED);
    kith_endpoint_public(endpoint, &info);
    KITH_CHECK_EQ(info.v4.family, KITH_FAMILY_NONE);
    PAIR_CHECK(kith_endpoint_close(endpoint, PAIR_LIMIT), 0);
    kith_context_free(context);
    stop_relay(&test);
}
