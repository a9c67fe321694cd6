/* The service "dns" under the registry, and names of hosts through the same client. */
#include "lookup/dns_service.h"

#include "lookup/dns_hosts.h"
#include "lookup/dns_world.h"
#include "lookup/lookup.h"

static const struct kith_id own = { { 1 } };

/** What a lookup told. */
struct told {
    unsigned items;
    size_t addrs;
    uint64_t took_ns[4]; /* of the first items */
    bool is_ended, cancels;
    int err;
    char why[KITH_LOOKUP_WHY_SIZE];
    struct kith_lookup_request *request;
};

static void on_item(void *ctx, const struct kith_lookup_item *item)
{
    struct told *told = ctx;

    if (told->items < KITH_COUNT(told->took_ns))
        told->took_ns[told->items] = item->took_ns;
    told->items++;
    told->addrs = item->merged->addr.count;
    KITH_CHECK_STR(item->service->ops->name, "dns");
    KITH_CHECK_EQ(item->updated_us, 0);
    if (told->cancels)
        kith__lookup_cancel(told->request);
}

static void on_end(void *ctx, int err, const char *why)
{
    struct told *told = ctx;

    told->is_ended = true;
    told->err = err;
    strcpy(told->why, why);
}

static void look(struct dns_world *world, struct kith_lookup *lookup, struct told *told, bool cancels)
{
    struct kith_lookup_events events = { .on_item = on_item, .on_end = on_end, .ctx = told };
    static const struct kith_id id = {
        /* of spec/03, 1.1 */
        { 0x03, 0xa1, 0x07, 0xbf, 0xf3, 0xce, 0x10, 0xbe, 0x1d, 0x70, 0xdd, 0x18, 0xe7, 0x4b, 0xc0, 0x99,
          0x67, 0xe4, 0xd6, 0x30, 0x9b, 0xa5, 0x0d, 0x5f, 0x1d, 0xdc, 0x86, 0x64, 0x12, 0x55, 0x31, 0xb8 }
    };

    memset(told, 0, sizeof *told);
    told->cancels = cancels;
    KITH_CHECK_EQ(kith__lookup_resolve(lookup, &id, &events, &told->request), 0);
    dns_pass(world, 7 * KITH_NS_PER_S);
}

static void open_lookup(struct dns_world *world, const char *const *origins, size_t count, struct kith_lookup **out)
{
    struct kith_lookup_service *service;

    KITH_CHECK_EQ(kith__lookup_new(world->rt, kith_mem_default(), &own, out), 0);
    for (size_t i = 0; i < count; i++) {
        KITH_CHECK_EQ(kith__dns_service_new(world->client, kith_mem_default(), origins[i], &service), 0);
        KITH_CHECK_EQ(kith__lookup_add(*out, service), 0);
    }
}

KITH_TEST(dns_service_finds_an_endpoint_below_its_origin)
{
    static const char *const origins[] = { "dns.iroh.link." };
    struct dns_world world;
    struct kith_lookup *lookup;
    struct told told;

    dns_world_open(&world, 1, NULL);
    open_lookup(&world, origins, 1, &lookup);
    world.servers[0].cnames = 3;
    look(&world, lookup, &told, false);
    KITH_CHECK(told.is_ended && told.err == 0);
    KITH_CHECK_EQ(told.items, 1);
    KITH_CHECK_EQ(told.addrs, 2);
    KITH_CHECK_STR(world.servers[0].name, "_iroh.yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy.dns.iroh.link.");
    KITH_CHECK_EQ(world.servers[0].last_size, 90); /* spec/03, 7 */
    KITH_CHECK_STR(kith__lookup_service(lookup, 0)->label, "dns:dns.iroh.link.");
    kith__lookup_free(lookup);
    dns_world_close(&world);
}

KITH_TEST(dns_service_tells_what_it_remembers_at_once_and_asks_all_the_same)
{
    static const char *const origins[] = { "one.example" };
    struct dns_world world;
    struct kith_lookup *lookup;
    struct told told;

    dns_world_open(&world, 1, NULL);
    open_lookup(&world, origins, 1, &lookup);
    world.servers[0].ttl_s = 30;
    look(&world, lookup, &told, false);
    KITH_CHECK(told.items == 1 && told.addrs == 2);
    world.servers[0].texts[1] = "addr=192.0.2.77:4433"; /* it has moved meanwhile */
    look(&world, lookup, &told, false);
    KITH_CHECK(told.is_ended && told.err == 0);
    KITH_CHECK_EQ(told.items, 2);
    KITH_CHECK_EQ(told.took_ns[0], 0);
    KITH_CHECK_EQ(told.addrs, 3);
    KITH_CHECK_EQ(world.servers[0].udp_count, 2);
    look(&world, lookup, &told, true); /* cancelled out of what was remembered */
    KITH_CHECK(told.items == 1 && !told.is_ended);
    dns_server_set(&world.servers[0], DNS_SILENT);
    look(&world, lookup, &told, false); /* better than nothing */
    KITH_CHECK(told.is_ended && told.err == 0 && told.items == 1);
    KITH_CHECK_EQ(kith__lookup_stats(lookup, 0).ended_found, 3);
    kith__lookup_free(lookup);
    dns_world_close(&world);
}

KITH_TEST(dns_service_asks_several_origins_at_once)
{
    static const char *const origins[] = { "one.example", "two.example" };
    struct dns_world world;
    struct kith_lookup *lookup;
    struct told told;

    dns_world_open(&world, 1, NULL);
    open_lookup(&world, origins, 2, &lookup);
    look(&world, lookup, &told, false);
    KITH_CHECK_EQ(told.items, 2);
    KITH_CHECK_EQ(told.addrs, 2); /* the same */
    KITH_CHECK_EQ(world.servers[0].udp_count, 2);
    dns_server_set(&world.servers[0], DNS_NXDOMAIN);
    kith__lookup_on_network_change(lookup); /* the cache goes */
    look(&world, lookup, &told, false);
    KITH_CHECK(told.is_ended && told.err == KITH_ERR_NOT_FOUND);
    KITH_CHECK(strstr(told.why, "dns:one.example: name server 10.0.0.53:53: no such name (7 tries)") != NULL);
    KITH_CHECK(strstr(told.why, "; dns:two.example: ") != NULL);
    kith__lookup_free(lookup);
    dns_world_close(&world);
}

KITH_TEST(dns_service_counts_what_it_does_not_understand)
{
    static const char *const origins[] = { "one.example" };
    struct dns_world world;
    struct kith_lookup *lookup;
    struct told told;

    dns_world_open(&world, 1, NULL);
    open_lookup(&world, origins, 1, &lookup);
    world.servers[0].texts[2] = "addr=nowhere";
    world.servers[0].texts[3] = "no attribute";
    look(&world, lookup, &told, false);
    KITH_CHECK(told.err == 0 && told.addrs == 2);
    KITH_CHECK_EQ(kith__lookup_stats(lookup, 0).attrs_ignored, 2);
    kith__lookup_free(lookup);
    dns_world_close(&world);
}

KITH_TEST(dns_service_takes_an_answer_without_an_address_for_one)
{
    static const char *const origins[] = { "one.example" };
    struct dns_world world;
    struct kith_lookup *lookup;
    struct told told;

    dns_world_open(&world, 1, NULL);
    open_lookup(&world, origins, 1, &lookup);
    dns_server_set(&world.servers[0], DNS_NO_ADDRESS);
    look(&world, lookup, &told, false);
    KITH_CHECK(told.is_ended && told.err == 0 && told.items == 1 && told.addrs == 0);
    KITH_CHECK_EQ(world.servers[0].udp_count, 1);
    kith__lookup_free(lookup);
    dns_world_close(&world);
}

KITH_TEST(dns_service_may_be_cancelled_from_inside_and_freed_under_way)
{
    static const char *const origins[] = { "one.example" };
    struct kith_lookup_events none = { 0 };
    struct kith_lookup_request *request;
    struct dns_world world;
    struct kith_lookup *lookup;
    struct told told;
    struct kith_id id = { { 9 } };

    dns_world_open(&world, 1, NULL);
    open_lookup(&world, origins, 1, &lookup);
    look(&world, lookup, &told, true);
    KITH_CHECK(told.items == 1 && !told.is_ended);
    KITH_CHECK_EQ(kith__lookup_resolve(lookup, &id, &none, &request), 0);
    dns_pass(&world, 7 * KITH_NS_PER_MS);
    kith__lookup_free(lookup);
    dns_world_close(&world);
}

KITH_TEST(dns_service_refuses_what_is_no_origin)
{
    struct dns_world world;
    struct kith_lookup_service *service;
    char long_one[200];

    dns_world_open(&world, 1, NULL);
    KITH_CHECK_EQ(kith__dns_service_new(world.client, kith_mem_default(), "", &service), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__dns_service_new(world.client, kith_mem_default(), "a..b", &service), KITH_ERR_PARSE);
    for (size_t i = 0; i < sizeof long_one; i++)
        long_one[i] = i % 50 == 49 ? '.' : 'a';
    long_one[sizeof long_one - 1] = '\0';
    KITH_CHECK_EQ(kith__dns_service_new(world.client, kith_mem_default(), long_one, &service), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__dns_service_new(world.client, kith_mem_default(), ".", &service), 0); /* the root */
    service->ops->free(service);
    dns_world_close(&world);
}

/* ---- Names of hosts ---- */

struct host_answer {
    unsigned count;
    int err;
    size_t addr_count;
    struct kith_sockaddr addrs[KITH_RT_RESOLVED_MAX];
    struct kith_rt_resolve *resolve;
};

static void on_resolved(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count)
{
    struct host_answer *answer = ctx;

    answer->count++;
    answer->err = err;
    answer->addr_count = count;
    if (count > 0)
        memcpy(answer->addrs, addrs, count * sizeof *addrs);
}

static void resolve(struct dns_world *world, struct host_answer *answer, const char *host, enum kith_family family)
{
    memset(answer, 0, sizeof *answer);
    KITH_CHECK_EQ(kith__rt_resolve_family(world->rt, host, 443, family, on_resolved, answer, &answer->resolve), 0);
    KITH_CHECK_EQ(answer->count, 0);
    dns_pass(world, 7 * KITH_NS_PER_S);
    KITH_CHECK_EQ(answer->count, 1);
    KITH_CHECK_EQ(answer->err == 0, answer->addr_count > 0);
}

KITH_TEST(dns_hosts_are_asked_of_the_given_servers)
{
    struct dns_world world;
    struct kith_dns_hosts *hosts, *second;
    struct host_answer answer;
    struct dns_server *server = &world.servers[0];

    dns_world_open(&world, 1, NULL);
    KITH_CHECK_EQ(kith__dns_hosts_new(world.rt, kith_mem_default(), world.client, &hosts), 0);
    KITH_CHECK_EQ(kith__dns_hosts_new(world.rt, kith_mem_default(), world.client, &second), KITH_ERR_STATE);
    server->ips[0] = "192.0.2.1:0";
    server->ips[1] = "[2001:db8::7]:0";
    server->ips[2] = "192.0.2.2:0";
    server->cnames = 2;
    resolve(&world, &answer, "Relay.Example", KITH_FAMILY_V4);
    KITH_CHECK_EQ(answer.addr_count, 2);
    KITH_CHECK(answer.addrs[1].ip[3] == 2 && answer.addrs[1].port == 443);
    KITH_CHECK_EQ(server->udp_count, 1);
    resolve(&world, &answer, "relay.example.", KITH_FAMILY_NONE); /* A from the cache */
    KITH_CHECK_EQ(answer.addr_count, 3);
    KITH_CHECK(answer.addrs[0].family == KITH_FAMILY_V4 && answer.addrs[2].family == KITH_FAMILY_V6);
    KITH_CHECK_EQ(server->udp_count, 2);
    server->ips[1] = NULL;
    resolve(&world, &answer, "four.example", KITH_FAMILY_NONE); /* the other family's failure does not matter */
    KITH_CHECK_EQ(answer.addr_count, 2);
    resolve(&world, &answer, "four.example", KITH_FAMILY_V6);
    KITH_CHECK_EQ(answer.err, KITH_ERR_NOT_FOUND);
    resolve(&world, &answer, "10.9.8.7", KITH_FAMILY_NONE);
    KITH_CHECK_EQ(answer.addrs[0].ip[0], 10);
    resolve(&world, &answer, "fe80::1", KITH_FAMILY_V6);
    resolve(&world, &answer, "printer.localhost", KITH_FAMILY_NONE);
    KITH_CHECK(answer.addr_count == 2 && answer.addrs[0].ip[0] == 127 && answer.addrs[1].ip[15] == 1);
    KITH_CHECK_EQ(server->udp_count, 5); /* four.example: A, AAAA, and AAAA again */
    kith__dns_hosts_free(hosts);
    resolve(&world, &answer, "server", KITH_FAMILY_V4); /* the world's own names again */
    KITH_CHECK_EQ(answer.err, 0);
    KITH_CHECK_EQ(server->udp_count, 5);
    dns_world_close(&world);
}

KITH_TEST(dns_hosts_fail_at_once_where_a_server_knows_better)
{
    struct dns_world world;
    struct kith_dns_hosts *hosts;
    struct host_answer answer;
    uint64_t begun_ns;

    dns_world_open(&world, 1, NULL);
    KITH_CHECK_EQ(kith__dns_hosts_new(world.rt, kith_mem_default(), world.client, &hosts), 0);
    dns_server_set(&world.servers[0], DNS_NXDOMAIN);
    begun_ns = kith__sim_now(world.sim);
    memset(&answer, 0, sizeof answer);
    KITH_CHECK_EQ(kith__rt_resolve(world.rt, "none.example", 1, on_resolved, &answer, &answer.resolve), 0);
    dns_pass(&world, 20 * KITH_NS_PER_MS);
    KITH_CHECK(answer.count == 1 && answer.err == KITH_ERR_NOT_FOUND && begun_ns > 0);
    dns_server_set(&world.servers[0], DNS_SILENT);
    resolve(&world, &answer, "mute.example", KITH_FAMILY_NONE);
    KITH_CHECK_EQ(answer.err, KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(kith__rt_resolve(world.rt, "gone.example", 1, on_resolved, &answer, &answer.resolve), 0);
    dns_pass(&world, 20 * KITH_NS_PER_MS);
    kith__rt_resolve_cancel(answer.resolve);
    KITH_CHECK_EQ(kith__rt_resolve(world.rt, "a..b", 1, on_resolved, &answer, &answer.resolve), KITH_ERR_INVALID);
    kith__dns_hosts_free(hosts);
    dns_world_close(&world);
}

static bool run_starved(uint64_t fail_at)
{
    static const struct kith_id id = { { 9 } };
    struct kith_test_mem test_mem;
    struct dns_world world;
    struct kith_dns_hosts *hosts = NULL;
    struct kith_lookup_service *service = NULL;
    struct kith_lookup *lookup = NULL;
    struct kith_lookup_request *request;
    struct told told = { 0 };
    struct kith_lookup_events events = { .on_item = on_item, .on_end = on_end, .ctx = &told };
    struct host_answer answer = { 0 };
    int err;

    kith__test_mem_init(&test_mem, 0);
    dns_world_open(&world, 1, &test_mem.mem);
    world.servers[0].ips[0] = "192.0.2.1:0";
    test_mem.fail_at = test_mem.calls + fail_at;
    err = kith__dns_hosts_new(world.rt, &test_mem.mem, world.client, &hosts);
    if (err == 0 && (err = kith__lookup_new(world.rt, &test_mem.mem, &own, &lookup)) == 0 &&
        (err = kith__dns_service_new(world.client, &test_mem.mem, "one.example", &service)) == 0 &&
        (err = kith__lookup_add(lookup, service)) == 0 &&
        (err = kith__lookup_resolve(lookup, &id, &events, &request)) == 0)
        err = kith__rt_resolve(world.rt, "host.example", 1, on_resolved, &answer, &answer.resolve);
    dns_pass(&world, 8 * KITH_NS_PER_S);
    KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
    KITH_CHECK_EQ(answer.count, err == 0);
    KITH_CHECK(!told.is_ended || (told.err == 0) == (told.items == 1));
    kith__lookup_free(lookup);
    kith__dns_hosts_free(hosts);
    dns_world_close(&world);
    KITH_CHECK_EQ(test_mem.live, 0);
    return test_mem.calls >= test_mem.fail_at;
}

KITH_TEST(dns_service_and_hosts_survive_every_failed_allocation)
{
    uint64_t fail_at = 1;

    while (run_starved(fail_at))
        fail_at++;
    KITH_CHECK(fail_at > 20);
}
