/* The driver and the lookup service, in virtual time and once on real sockets. */
#include "lookup/dht_crowd.h"

#include "rt/uv/uv.h"

/** A small network of ten, and the service of an endpoint. */
struct home {
    struct crowd crowd;
    struct crowd_node *host;
    struct kith_secret secret;
    struct kith_id id;
    struct kith_lookup_service *service;
};

static struct home home;

static void home_service(struct crowd_node *host, struct kith_lookup_service **out)
{
    static const char *const bootstrap[] = { "node0:6881" };
    struct kith_dht_service_options options = { .node = { .bootstrap = bootstrap, .bootstrap_count = 1 },
                                                .secret = &home.secret };

    KITH_CHECK_EQ(kith__dht_service_new(host->rt, &options, out), 0);
}

static void home_open(uint64_t seed)
{
    crowd_open(&home.crowd, seed, true, 0);
    for (int i = 0; i < 10; i++)
        crowd_add(&home.crowd, true);
    crowd_pass(&home.crowd, 5 * KITH_NS_PER_S);
    home.host = crowd_host(&home.crowd);
    home.secret = (struct kith_secret) { .bytes = { 1 } };
    home.id = kith__secret_id(&home.secret);
    home_service(home.host, &home.service);
}

static void home_close(void)
{
    if (home.service != NULL)
        home.service->ops->free(home.service);
    home.service = NULL;
    crowd_close(&home.crowd);
}

/** Publishes one relay of a number; 0: nothing. */
static void publish(unsigned number)
{
    struct kith_lookup_info info;
    char url[64];

    snprintf(url, sizeof url, "https://relay%u.example/", number);
    kith__lookup_info_init(&info, kith_mem_default(), &home.id);
    if (number != 0)
        KITH_CHECK_EQ(kith__endpoint_addr_add_relay(&info.addr, url, strlen(url)), 0);
    home.service->ops->publish(home.service, &info);
    kith__lookup_info_dispose(&info);
}

static struct kith_lookup_published published(void)
{
    struct kith_lookup_published out;

    home.service->ops->published(home.service, &out);
    return out;
}

/** What a resolve came to. */
struct looked {
    struct kith_lookup_info info;
    uint64_t updated_us;
    size_t found;
    bool is_ended;
    int err;
    char why[256];
    struct kith_lookup_query *query;
    bool cancels, frees;
};

static void on_found(void *ctx, const struct kith_lookup_found *found)
{
    struct looked *looked = ctx;

    KITH_CHECK(!looked->is_ended);
    looked->found++;
    looked->updated_us = found->updated_us;
    KITH_CHECK_EQ(kith__lookup_info_copy(found->info, &looked->info), 0);
    if (looked->cancels || looked->frees)
        home.service->ops->cancel(looked->query);
    if (looked->frees) {
        home.service->ops->free(home.service);
        home.service = NULL;
    }
}

static void on_end(void *ctx, int err, const char *why)
{
    struct looked *looked = ctx;

    KITH_CHECK(!looked->is_ended && (err == 0) == (why[0] == '\0'));
    looked->is_ended = true;
    looked->err = err;
    snprintf(looked->why, sizeof looked->why, "%s", why);
    if (looked->frees) {
        home.service->ops->free(home.service);
        home.service = NULL;
    }
}

static void look(const struct kith_id *id, struct looked *looked)
{
    struct kith_lookup_sink sink = { .on_found = on_found, .on_end = on_end, .ctx = looked };

    kith__lookup_info_init(&looked->info, kith_mem_default(), id);
    KITH_CHECK_EQ(home.service->ops->resolve(home.service, id, &sink, &looked->query), 0);
    KITH_CHECK(!looked->is_ended && looked->found == 0);
    crowd_pass(&home.crowd, 12 * KITH_NS_PER_S);
}

static void check_relay(const struct looked *looked, unsigned number)
{
    struct kith_slice url = kith__endpoint_addr_first_relay(&looked->info.addr);
    char wanted[64];

    snprintf(wanted, sizeof wanted, "https://relay%u.example/", number);
    KITH_CHECK_EQ(looked->info.addr.count, 1);
    KITH_CHECK(url.size == strlen(wanted) && memcmp(url.ptr, wanted, url.size) == 0);
}

KITH_TEST(dht_service_publishes_the_last_of_a_burst_and_finds_it)
{
    struct looked looked = { .found = 0 };
    struct kith_dht_stats stats;

    home_open(1);
    KITH_CHECK_STR(home.service->ops->name, "dht");
    KITH_CHECK_EQ(home.service->filter, KITH_LOOKUP_RELAYS);
    for (unsigned number = 1; number <= 5; number++) {
        publish(number);
        crowd_pass(&home.crowd, KITH_DHT_SETTLE_NS / 2);
    }
    crowd_pass(&home.crowd, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(published().accepted_count, 1);
    KITH_CHECK_EQ(published().err, 0);
    kith__dht_stats(kith__dht_service_node(home.service), &stats);
    KITH_CHECK_EQ(stats.puts, 1);
    look(&home.id, &looked);
    KITH_CHECK(looked.is_ended && looked.err == 0 && looked.found == 1);
    KITH_CHECK(looked.updated_us > 0 && looked.updated_us <= kith__rt_wall_us(home.host->rt));
    check_relay(&looked, 5);
    publish(5); /* nothing new */
    crowd_pass(&home.crowd, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(published().accepted_count, 1);
    kith__lookup_info_dispose(&looked.info);
    home_close();
}

KITH_TEST(dht_service_repeats_the_same_packet_every_hour_until_there_is_nothing_to_tell)
{
    struct looked first = { .found = 0 }, second = { .found = 0 }, third = { .found = 0 };

    home_open(2);
    publish(7);
    crowd_pass(&home.crowd, 10 * KITH_NS_PER_S);
    look(&home.id, &first);
    crowd_pass(&home.crowd, 5 * KITH_DHT_REPUBLISH_NS);
    KITH_CHECK_EQ(published().accepted_count, 6);
    look(&home.id, &second);
    KITH_CHECK_EQ(second.err, 0);
    KITH_CHECK_EQ(first.updated_us, second.updated_us);
    publish(0);
    crowd_pass(&home.crowd, 3 * KITH_DHT_REPUBLISH_NS);
    KITH_CHECK_EQ(published().accepted_count, 6);
    look(&home.id, &third);
    KITH_CHECK_EQ(third.err, KITH_ERR_NOT_FOUND);
    KITH_CHECK(third.why[0] != '\0');
    kith__lookup_info_dispose(&first.info);
    kith__lookup_info_dispose(&second.info);
    kith__lookup_info_dispose(&third.info);
    home_close();
}

KITH_TEST(dht_service_tries_again_soon_after_a_failure)
{
    struct kith_sim_link *up;

    home_open(3);
    up = kith__sim_host_up(home.host->host);
    crowd_pass(&home.crowd, 5 * KITH_NS_PER_S);
    up->is_cut = true;
    publish(7);
    crowd_pass(&home.crowd, 60 * KITH_NS_PER_S);
    KITH_CHECK_EQ(published().accepted_count, 0);
    KITH_CHECK(published().failed_count >= 2 && published().failed_count <= 4);
    KITH_CHECK_EQ(published().err, KITH_ERR_TIMEOUT);
    KITH_CHECK(published().why[0] != '\0');
    up->is_cut = false;
    home.service->ops->on_network_change(home.service);
    crowd_pass(&home.crowd, 15 * KITH_NS_PER_S);
    KITH_CHECK_EQ(published().accepted_count, 1);
    KITH_CHECK_EQ(published().err, 0);
    KITH_CHECK_STR(published().why, "");
    home_close();
}

KITH_TEST(dht_service_wins_against_its_own_past_when_the_clock_went_back)
{
    struct looked looked = { .found = 0 };

    home_open(4);
    publish(7);
    crowd_pass(&home.crowd, 10 * KITH_NS_PER_S);
    /* It starts again after its clock was set back by a day. */
    home.service->ops->free(home.service);
    kith__sim_jump_wall(home.crowd.sim, -86400ll * 1000000);
    home_service(home.host, &home.service);
    publish(8);
    crowd_pass(&home.crowd, 20 * KITH_NS_PER_S);
    KITH_CHECK_EQ(published().accepted_count, 1);
    KITH_CHECK_EQ(published().failed_count, 1);
    look(&home.id, &looked);
    KITH_CHECK_EQ(looked.err, 0);
    check_relay(&looked, 8);
    kith__lookup_info_dispose(&looked.info);
    home_close();
}

KITH_TEST(dht_service_may_be_ended_from_its_callbacks)
{
    struct looked cancels = { .cancels = true }, frees_found = { .frees = true }, frees_end = { .frees = true };
    struct kith_id nobody = { .bytes = { 5 } };

    home_open(5);
    publish(7);
    crowd_pass(&home.crowd, 10 * KITH_NS_PER_S);
    look(&home.id, &cancels);
    KITH_CHECK(cancels.found == 1 && !cancels.is_ended);
    look(&home.id, &frees_found);
    KITH_CHECK(frees_found.found == 1 && !frees_found.is_ended && home.service == NULL);
    home_service(home.host, &home.service);
    crowd_pass(&home.crowd, 2 * KITH_NS_PER_S);
    look(&nobody, &frees_end);
    KITH_CHECK(frees_end.found == 0 && frees_end.is_ended && home.service == NULL);
    KITH_CHECK_EQ(frees_end.err, KITH_ERR_NOT_FOUND);
    kith__lookup_info_dispose(&cancels.info);
    kith__lookup_info_dispose(&frees_found.info);
    kith__lookup_info_dispose(&frees_end.info);
    home_close();
}

KITH_TEST(dht_service_without_a_secret_publishes_nothing)
{
    static const char *const bootstrap[] = { "node0:6881" };
    struct kith_dht_service_options options = { .node = { .bootstrap = bootstrap, .bootstrap_count = 1 } };
    struct kith_lookup_service *service;

    home_open(6);
    options.dht = kith__dht_service_node(home.service);
    KITH_CHECK_EQ(kith__dht_service_new(home.host->rt, &options, &service), 0);
    KITH_CHECK(service->ops->publish == NULL && service->ops->published == NULL && service->ops->resolve != NULL);
    KITH_CHECK(kith__dht_service_node(service) == kith__dht_service_node(home.service));
    service->ops->free(service); /* the node is the other's */
    publish(7);
    crowd_pass(&home.crowd, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(published().accepted_count, 1);
    home_close();
}

KITH_TEST(dht_joins_when_the_first_node_comes_late)
{
    static const char *const late[] = { "late:6881" };
    struct kith_dht_options options = { .bootstrap = late, .bootstrap_count = 1 };
    struct kith_sim_host_options host_options = { .name = "late" };
    struct kith_sim_host *host;
    struct kith_dht *dht, *first;
    struct crowd_node *node;
    struct crowd_end end;

    crowd_open(&home.crowd, 7, true, 0);
    node = crowd_host(&home.crowd);
    KITH_CHECK_EQ(kith__dht_new(node->rt, &options, &node->dht), 0);
    dht = node->dht;
    end = crowd_get(node, 1);
    KITH_CHECK_EQ(end.err, KITH_ERR_UNREACHABLE);
    KITH_CHECK(end.took_ns < 5 * KITH_NS_PER_S);
    crowd_pass(&home.crowd, 20 * KITH_NS_PER_S);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.99.0.1:0", &host_options.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(home.crowd.sim, &host_options, &host), 0);
    KITH_CHECK_EQ(
        kith__dht_new(kith__sim_rt(host),
                      &(struct kith_dht_options) { .bootstrap = late, .bootstrap_count = 0, .is_server = true },
                      &first),
        0);
    crowd_pass(&home.crowd, 60 * KITH_NS_PER_S);
    KITH_CHECK_EQ(kith__dht_node_count(dht), 1);
    KITH_CHECK_EQ(crowd_put(node, 3).stored, 1);
    KITH_CHECK_EQ(crowd_get(node, 1).timestamp_us, crowd_us(3));
    kith__dht_free(first);
    kith__rt_free(kith__sim_rt(host));
    crowd_close(&home.crowd);
}

KITH_TEST(dht_node_that_is_alone_keeps_packets_itself)
{
    struct crowd_node *node;

    crowd_open(&home.crowd, 8, true, 0);
    node = crowd_add(&home.crowd, true);
    KITH_CHECK_EQ(crowd_get(node, 1).err, KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(crowd_put(node, 3).stored, 1);
    KITH_CHECK_EQ(crowd_get(node, 1).timestamp_us, crowd_us(3));
    KITH_CHECK_EQ(crowd_put(node, 2).err, KITH_ERR_STATE);
    crowd_close(&home.crowd);
}

KITH_TEST(dht_options_that_are_wrong_are_refused)
{
    static const char *const bad[] = { "",           "host",    "host:",   ":1",       "host:0",
                                       "host:65536", "host:1x", "[::1]:5", "1.2.3.4:0" };
    struct kith_dht_options options = { .bootstrap_count = 1 };
    struct kith_dht *dht;
    struct crowd_node *node;

    crowd_open(&home.crowd, 9, true, 0);
    node = crowd_host(&home.crowd);
    for (size_t i = 0; i < KITH_COUNT(bad); i++) {
        options.bootstrap = &bad[i];
        KITH_CHECK_EQ(kith__dht_new(node->rt, &options, &dht), KITH_ERR_INVALID);
    }
    options.bootstrap_count = 0;
    KITH_CHECK_EQ(kith_sockaddr_parse("[::1]:1", &options.local), 0);
    KITH_CHECK_EQ(kith__dht_new(node->rt, &options, &dht), KITH_ERR_INVALID);
    crowd_close(&home.crowd);
}

KITH_TEST(dht_nodes_on_one_machine_take_another_port)
{
    struct kith_rt *rt;
    struct kith_dht *dhts[2];
    static const char *const none[] = { "" };
    const struct kith_dht_options options = { .bootstrap = none, .bootstrap_count = 0, .is_server = true };
    uint16_t first, second;

    KITH_CHECK_EQ(kith__rt_uv_new(NULL, NULL, &rt), 0);
    KITH_CHECK_EQ(kith__dht_new(rt, &options, &dhts[0]), 0); /* 6881, or another where that is taken */
    KITH_CHECK_EQ(kith__dht_new(rt, &options, &dhts[1]), 0);
    first = kith__dht_local(dhts[0]).port;
    second = kith__dht_local(dhts[1]).port;
    KITH_CHECK(first != 0 && second != 0 && first != second && second != KITH_DHT_PORT);
    kith__dht_free(dhts[0]);
    kith__dht_free(dhts[1]);
    kith__rt_free(rt);
}

KITH_TEST(dht_on_real_sockets_finds_what_was_published)
{
    struct kith_rt *rt;
    struct kith_dht *dhts[5];
    static const char *const none[] = { "" };
    struct kith_dht_options options = { .bootstrap = none, .bootstrap_count = 0, .is_server = true };
    struct crowd_end stored = { .is_done = false }, found = { .is_done = false };
    const struct kith_dht_get_events events = { crowd_on_found, crowd_on_end, &found };
    struct kith_pkarr packet;
    struct kith_id key;
    struct kith_dht_put *put;
    struct kith_dht_get *get;

    KITH_CHECK_EQ(kith__rt_uv_new(NULL, NULL, &rt), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("127.0.0.1:0", &options.local), 0);
    for (size_t i = 0; i < KITH_COUNT(dhts); i++) {
        struct kith_sockaddr first;

        options.is_server = i < 3;
        KITH_CHECK_EQ(kith__dht_new(rt, &options, &dhts[i]), 0);
        first = kith__dht_local(dhts[0]);
        if (i > 0)
            kith__dht_add_node(dhts[i], &first);
    }
    crowd_packet(1, 9, &packet);
    key = kith__pkarr_id(&packet);
    KITH_CHECK_EQ(kith__dht_put(dhts[3], &packet, crowd_on_put, &stored, &put), 0);
    KITH_CHECK_EQ(kith__rt_run(rt, &stored.is_done, kith__rt_now(rt) + 30 * KITH_NS_PER_S), 0);
    KITH_CHECK_EQ(stored.err, 0);
    KITH_CHECK_EQ(kith__dht_get(dhts[4], &key, &events, &get), 0);
    KITH_CHECK_EQ(kith__rt_run(rt, &found.is_done, kith__rt_now(rt) + 30 * KITH_NS_PER_S), 0);
    KITH_CHECK_EQ(found.err, 0);
    KITH_CHECK_EQ(found.timestamp_us, crowd_us(9));
    for (size_t i = 0; i < KITH_COUNT(dhts); i++)
        kith__dht_free(dhts[i]);
    kith__rt_free(rt);
}

KITH_TEST(dht_driver_survives_every_failed_allocation)
{
    static const char *const bootstrap[] = { "node0:6881", "1.2.3.4:5" };
    struct kith_test_mem mem;
    size_t successes = 0;

    for (uint64_t fail_at = 1; fail_at < 120; fail_at++) {
        struct kith_sim_host_options host_options = { .name = "frugal", .mem = &mem.mem };
        struct kith_dht_service_options options = { .node = { .bootstrap = bootstrap, .bootstrap_count = 2 },
                                                    .secret = &home.secret };
        struct looked looked = { .found = 0 };
        struct kith_lookup_sink sink = { .on_found = on_found, .on_end = on_end, .ctx = &looked };
        struct kith_sim_host *host;
        struct kith_rt *rt;
        int err;

        home_open(10);
        home.service->ops->free(home.service);
        home.service = NULL;
        kith__test_mem_init(&mem, 0);
        KITH_CHECK_EQ(kith_sockaddr_parse("10.99.0.1:0", &host_options.addrs[0]), 0);
        KITH_CHECK_EQ(kith__sim_host_new(home.crowd.sim, &host_options, &host), 0);
        rt = kith__sim_rt(host);
        mem.fail_at = mem.calls + fail_at;
        err = kith__dht_service_new(rt, &options, &home.service);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        kith__lookup_info_init(&looked.info, kith_mem_default(), &home.id);
        if (err == 0) {
            publish(7);
            crowd_pass(&home.crowd, 40 * KITH_NS_PER_S);
            if (published().accepted_count == 0) { /* it could not be copied, which is told */
                KITH_CHECK_EQ(published().err, KITH_ERR_NOMEM);
                publish(7);
                crowd_pass(&home.crowd, 10 * KITH_NS_PER_S);
            }
            KITH_CHECK_EQ(published().accepted_count, 1);
            err = home.service->ops->resolve(home.service, &home.id, &sink, &looked.query);
            KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
            crowd_pass(&home.crowd, 20 * KITH_NS_PER_S);
            KITH_CHECK_EQ(looked.is_ended, err == 0);
            successes += looked.found > 0;
            home.service->ops->free(home.service);
        }
        home.service = NULL;
        kith__lookup_info_dispose(&looked.info);
        kith__rt_free(rt);
        crowd_close(&home.crowd);
        KITH_CHECK_EQ(mem.live, 0);
    }
    KITH_CHECK(successes > 60);
}
