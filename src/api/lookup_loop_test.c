/* The whole loop: an endpoint publishes to a lookup server of this process, another finds it there by DNS or pkarr, with and without TLS. */
#define _GNU_SOURCE 1 /* mkdtemp */
#include "api/pair.h"
#include <kith/dns.h>
#include <kith/kith.h>
#include <stdlib.h>

static const struct kith_sockaddr loopback = { .family = KITH_FAMILY_V4, .ip = { 127, 0, 0, 1 } };

struct loop {
    struct kith_dns_server *server;
    struct kith_sockaddr dns;
    char pkarr[64], directory[32], authority[8192];
    size_t authority_size;
    struct pair pair;
};

static void start_server(struct loop *loop, bool has_tls)
{
    const char *names[] = { "127.0.0.1" };
    const struct kith_dns_origin origin = { .name = "loop.test" };
    struct kith_server_tls tls = {
        .source = KITH_CERTIFICATE_SELF, .names = names, .name_count = 1, .directory = loop->directory
    };
    struct kith_dns_server_options options = { KITH_DNS_SERVER_OPTIONS_INIT, .dns = &loopback,  .dns_count = 1,
                                               .origins = &origin,           .origin_count = 1, .worker_count = 1 };
    enum kith_dns_server_address kind = has_tls ? KITH_DNS_SERVER_ADDRESS_HTTPS : KITH_DNS_SERVER_ADDRESS_HTTP;
    struct kith_sockaddr web;

    strcpy(loop->directory, "/tmp/kith-loop-XXXXXX");
    KITH_CHECK(mkdtemp(loop->directory) != NULL);
    if (has_tls) {
        options.tls = &tls;
        options.https = &loopback;
        options.https_count = 1;
    } else {
        options.http = &loopback;
        options.http_count = 1;
    }
    PAIR_CHECK(kith_dns_server_start(&options, &loop->server), 0);
    KITH_CHECK_EQ(kith_dns_server_addresses(loop->server, kind, &web, 1), 1);
    KITH_CHECK_EQ(kith_dns_server_addresses(loop->server, KITH_DNS_SERVER_ADDRESS_DNS, &loop->dns, 1), 1);
    snprintf(loop->pkarr, sizeof loop->pkarr, "%s://127.0.0.1:%u/pkarr", has_tls ? "https" : "http", web.port);
    if (has_tls)
        PAIR_CHECK(
            kith_dns_server_authority(loop->server, loop->authority, sizeof loop->authority, &loop->authority_size), 0);
}

static struct kith_endpoint *bind_endpoint(struct loop *loop, const struct kith_lookup_option *lookup, bool trusts_it,
                                           const char *user_data)
{
    const char *alpns[] = { PAIR_ALPN, NULL };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT,
                                             .context = loop->pair.context,
                                             .alpns = alpns,
                                             .binds = &loopback,
                                             .bind_count = 1,
                                             .no_relays = true,
                                             .lookups = lookup,
                                             .lookup_count = 1,
                                             .dns_servers = &loop->dns,
                                             .dns_server_count = 1,
                                             .user_data = user_data };
    struct kith_endpoint *endpoint;

    if (trusts_it)
        options.relay_ca_pem = (struct kith_slice) { (const uint8_t *)loop->authority, loop->authority_size };
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), 0);
    return endpoint;
}

/* Until publishing went so far; `accepted`, else failed. The accept keeps the loop turning. */
static struct kith_endpoint_lookup_info until_told(struct kith_endpoint *endpoint, bool accepted)
{
    struct kith_endpoint_lookup_info info;
    struct kith_op *accepting;

    PAIR_CHECK(kith_accept_start(endpoint, &accepting), 0);
    do {
        (void)kith_op_wait(accepting, KITH_NS_PER_MS);
        KITH_CHECK(kith_endpoint_lookup_status(endpoint, &info, 1) >= 1);
    } while ((accepted ? info.accepted_count : info.failed_count) == 0);
    kith_op_free(accepting);
    return info;
}

static void end(struct loop *loop)
{
    char remove[64];

    pair_free(&loop->pair);
    (void)kith_dns_server_stop(loop->server, 0);
    snprintf(remove, sizeof remove, "rm -r %s", loop->directory);
    KITH_CHECK_EQ(system(remove), 0);
}

static void begin(struct loop *loop, enum kith_context_mode mode, bool has_tls, bool trusts_it)
{
    struct kith_context_options context = { KITH_CONTEXT_OPTIONS_INIT, .mode = (uint8_t)mode };
    struct kith_lookup_option publish = { .kind = KITH_LOOKUP_PKARR_PUBLISH, .where = loop->pkarr };
    struct kith_id id;

    memset(loop, 0, sizeof *loop);
    start_server(loop, has_tls);
    PAIR_CHECK(kith_context_new(&context, &loop->pair.context), 0);
    loop->pair.server = bind_endpoint(loop, &publish, trusts_it, "round and round");
    id = kith_endpoint_id(loop->pair.server);
    kith_addr_init(&loop->pair.addr, &id);
}

static void find_and_connect(struct loop *loop, const struct kith_lookup_option *lookup)
{
    struct kith_search_item item;
    struct kith_search *search;

    loop->pair.client = bind_endpoint(loop, lookup, true, NULL);
    PAIR_CHECK(kith_lookup_start(loop->pair.client, &loop->pair.addr.id, &search), 0);
    PAIR_CHECK(kith_lookup_next(search, PAIR_LIMIT, &item), 0);
    KITH_CHECK_STR(item.user_data, "round and round");
    KITH_CHECK_EQ(item.addr.ip_count, 1);
    kith_lookup_free(search);
    pair_connect(&loop->pair);
    pair_disconnect(&loop->pair);
    PAIR_CHECK(kith_endpoint_close(loop->pair.client, PAIR_LIMIT), 0);
}

PAIR_TEST(lookup_loop_through_a_server_of_ones_own)
{
    for (int has_tls = 0; has_tls < 2; has_tls++) {
        struct kith_endpoint_lookup_info info;
        struct kith_lookup_option by_dns = { .kind = KITH_LOOKUP_DNS, .where = "loop.test" }, by_pkarr;
        struct kith_dns_server_stats stats;
        struct loop loop;

        begin(&loop, mode, has_tls != 0, true);
        by_pkarr = (struct kith_lookup_option) { .kind = KITH_LOOKUP_PKARR_RESOLVE, .where = loop.pkarr };
        info = until_told(loop.pair.server, true);
        KITH_CHECK_EQ(info.err, 0);
        KITH_CHECK_STR(info.name, "pkarr");
        KITH_CHECK(info.publishes && !info.resolves);
        find_and_connect(&loop, &by_dns);
        find_and_connect(&loop, &by_pkarr);
        kith_dns_server_stats(loop.server, &stats);
        KITH_CHECK_EQ(stats.packets, 1);
        KITH_CHECK(stats.found >= 1);
        end(&loop);
    }
}

PAIR_TEST(lookup_loop_tells_nothing_to_a_server_that_nobody_vouches_for)
{
    struct kith_endpoint_lookup_info info;
    struct kith_dns_server_stats stats;
    struct loop loop;

    begin(&loop, mode, true, false);
    info = until_told(loop.pair.server, false);
    KITH_CHECK_EQ(info.accepted_count, 0);
    KITH_CHECK_EQ(info.err, KITH_ERR_WRONG_PEER); /* its certificate proves nothing */
    KITH_CHECK(info.why[0] != '\0');
    kith_dns_server_stats(loop.server, &stats);
    KITH_CHECK_EQ(stats.packets, 0);
    end(&loop);
}
