/* Dials that are helped by lookup services, in virtual time: what comes late, what is wrong, what moves. */
#include "endpoint/seek.h"

#include "base/mem.h"
#include "base/test.h"
#include "endpoint/announce.h"
#include "rt/sim/sim.h"

#include <stdio.h>
#include <string.h>

enum { PORT = 4433, ANSWERS = 4 };

#define MS KITH_NS_PER_MS

/* ---- A service that answers when the test says ---- */

struct oracle {
    struct kith_lookup_service base;
    struct kith_rt *rt;
    struct kith_rt_timer timer;
    struct kith_lookup_sink sink;
    struct kith_lookup_query *query; /* itself, while it is asked */
    struct {
        uint64_t after_ns; /* since it was asked */
        struct kith_lookup_info info;
    } answers[ANSWERS];
    size_t answer_count, next;
    uint64_t asked_ns;
    int asked, cancelled, told;
    struct kith_lookup_info last; /* that it was told to publish */
};

static void oracle_arm(struct oracle *oracle)
{
    kith__rt_timer_set(&oracle->timer, oracle->next < oracle->answer_count
                                           ? oracle->asked_ns + oracle->answers[oracle->next].after_ns
                                           : kith__rt_now(oracle->rt));
}

static void oracle_answer(void *ctx, uint64_t now_ns)
{
    struct oracle *oracle = ctx;
    struct kith_lookup_found found = { 0 };

    (void)now_ns;
    if (oracle->next == oracle->answer_count) {
        oracle->query = NULL;
        oracle->sink.on_end(oracle->sink.ctx, oracle->answer_count != 0 ? 0 : KITH_ERR_NOT_FOUND,
                            oracle->answer_count != 0 ? "" : "never heard of it");
        return;
    }
    found.info = &oracle->answers[oracle->next++].info;
    oracle_arm(oracle);
    oracle->sink.on_found(oracle->sink.ctx, &found);
}

static int oracle_resolve(struct kith_lookup_service *service, const struct kith_id *id,
                          const struct kith_lookup_sink *sink, struct kith_lookup_query **out)
{
    struct oracle *oracle = (struct oracle *)service;

    (void)id;
    KITH_CHECK(oracle->query == NULL); /* rounds are shared */
    oracle->sink = *sink;
    oracle->asked++;
    oracle->next = 0;
    oracle->asked_ns = kith__rt_now(oracle->rt);
    *out = oracle->query = (struct kith_lookup_query *)oracle;
    oracle_arm(oracle);
    return 0;
}

static void oracle_cancel(struct kith_lookup_query *query)
{
    struct oracle *oracle = (struct oracle *)query;

    oracle->query = NULL;
    oracle->cancelled++;
    kith__rt_timer_set(&oracle->timer, KITH_NEVER);
}

static void oracle_publish(struct kith_lookup_service *service, const struct kith_lookup_info *info)
{
    struct oracle *oracle = (struct oracle *)service;

    oracle->told++;
    KITH_CHECK_EQ(kith__lookup_info_copy(info, &oracle->last), 0);
}

static void oracle_free(struct kith_lookup_service *service)
{
    struct oracle *oracle = (struct oracle *)service;

    kith__rt_timer_dispose(&oracle->timer);
    kith__lookup_info_dispose(&oracle->last);
    for (size_t i = 0; i < ANSWERS; i++)
        kith__lookup_info_dispose(&oracle->answers[i].info);
}

static const struct kith_lookup_service_ops oracle_ops = {
    .name = "oracle", .publish = oracle_publish, .resolve = oracle_resolve, .cancel = oracle_cancel, .free = oracle_free
};

/* ---- The world ---- */

static const struct kith_slice alpn = { (const uint8_t *)"test", 4 };

struct seeker {
    struct kith_seek seek;
    struct kith_quic_conn *quic;
    struct kith_conn_ways ways;
    struct kith_rt_timer timer;
    int remotes, ends, end_err;
    char why[256];
    uint64_t connected_ns;
    bool is_closed;
};

struct world {
    struct kith_sim *sim;
    struct kith_sim_host *hosts[2];
    struct kith_driver *drivers[2]; /* client, server */
    struct kith_id ids[2];
    struct kith_lookup *lookup;
    struct oracle oracle;
    struct seeker seeker;
    uint64_t accepted;
};

static struct world world_s;

static void pump(int side)
{
    kith__driver_pump(world_s.drivers[side]);
}

static void arm(struct seeker *seeker)
{
    kith__rt_timer_set(&seeker->timer, kith__conn_ways_deadline(&seeker->ways));
}

static void on_client_event(void *ctx, const struct kith_quic_event *event)
{
    struct seeker *seeker = &world_s.seeker;
    uint64_t now_ns = kith__sim_now(world_s.sim);

    (void)ctx;
    if (event->kind == KITH_QUIC_CONNECTED)
        seeker->connected_ns = now_ns;
    seeker->is_closed |= event->kind == KITH_QUIC_CLOSED;
    kith__conn_ways_on_event(&seeker->ways, event, now_ns);
    arm(seeker);
}

static void on_server_event(void *ctx, const struct kith_quic_event *event)
{
    struct kith_quic_conn *conn;

    (void)ctx;
    if (event->kind == KITH_QUIC_DRAINED)
        kith_quic_conn_free(event->conn);
    if (event->kind != KITH_QUIC_INCOMING)
        return;
    world_s.accepted++;
    KITH_CHECK_EQ(kith_quic_incoming_accept(event->incoming, NULL, kith__sim_now(world_s.sim), &conn), 0);
}

static void on_ways_timer(void *ctx, uint64_t now_ns)
{
    struct seeker *seeker = ctx;

    kith__conn_ways_on_deadline(&seeker->ways, now_ns);
    arm(seeker);
    pump(0);
}

static int open_driver(int side, const struct kith_mem *mem)
{
    struct kith_sockaddr any = { .port = PORT, .family = KITH_FAMILY_V4 };
    struct kith_quic_host_options host;
    struct kith_driver_options options = { .mem = mem,
                                           .rt = kith__sim_rt(world_s.hosts[side]),
                                           .host = &host,
                                           .binds = &any,
                                           .bind_count = 1,
                                           .on_event = side == 0 ? on_client_event : on_server_event };
    int err;

    kith_quic_host_defaults(&host);
    host.secret.bytes[0] = (uint8_t)(side + 1);
    host.alpns = &alpn;
    host.alpn_count = 1;
    if ((err = kith__driver_new(&options, &world_s.drivers[side])) == 0)
        world_s.ids[side] = kith_quic_host_id(kith__driver_host(world_s.drivers[side]));
    return err;
}

static struct kith_sockaddr address(const char *text)
{
    struct kith_sockaddr out;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

/* The client is 10.0.0.1, the server 10.0.0.2, and a datagram takes 10 ms. */
static int world_open(const struct kith_mem *mem)
{
    static const char *const addresses[] = { "10.0.0.1:0", "10.0.0.2:0" };
    struct kith_rt *rt;
    int err = 0;

    memset(&world_s, 0, sizeof world_s);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, kith__test_seed(5), &world_s.sim), 0);
    for (int i = 0; i < 2; i++) {
        struct kith_sim_host_options options = { .name = i == 0 ? "client" : "server",
                                                 .up = { .delay_ns = 5 * MS },
                                                 .down = { .delay_ns = 5 * MS },
                                                 .addrs = { address(addresses[i]) } };

        KITH_CHECK_EQ(kith__sim_host_new(world_s.sim, &options, &world_s.hosts[i]), 0);
    }
    rt = kith__sim_rt(world_s.hosts[0]);
    KITH_CHECK_EQ(open_driver(1, kith_mem_default()), 0);
    world_s.oracle = (struct oracle) { .base = { .ops = &oracle_ops, .label = "oracle" }, .rt = rt };
    KITH_CHECK_EQ(kith__rt_timer_init(rt, &world_s.oracle.timer, oracle_answer, &world_s.oracle), 0);
    KITH_CHECK_EQ(kith__rt_timer_init(rt, &world_s.seeker.timer, on_ways_timer, &world_s.seeker), 0);
    for (size_t i = 0; i < ANSWERS; i++)
        kith__lookup_info_init(&world_s.oracle.answers[i].info, kith_mem_default(), &world_s.ids[1]);
    kith__lookup_info_init(&world_s.oracle.last, kith_mem_default(), &world_s.ids[0]);
    if ((err = open_driver(0, mem)) == 0)
        err = kith__lookup_new(rt, mem, &world_s.ids[0], &world_s.lookup);
    if (err == 0)
        err = kith__lookup_add(world_s.lookup, &world_s.oracle.base);
    return err;
}

static void world_close(void)
{
    kith__seek_dispose(&world_s.seeker.seek);
    kith__conn_ways_dispose(&world_s.seeker.ways);
    kith__rt_timer_dispose(&world_s.seeker.timer);
    if (world_s.lookup != NULL)
        kith__lookup_free(world_s.lookup);
    if (world_s.oracle.base.ops != NULL && (world_s.lookup == NULL || kith__rt_timer_is_set(&world_s.oracle.timer)))
        oracle_free(&world_s.oracle.base);
    for (int i = 0; i < 2; i++) {
        kith__driver_free(world_s.drivers[i]);
        kith__rt_free(kith__sim_rt(world_s.hosts[i]));
    }
    kith__sim_free(world_s.sim);
}

static void answer_after(uint64_t after_ns, const char *text)
{
    struct oracle *oracle = &world_s.oracle;
    struct kith_sockaddr ip = address(text);

    oracle->answers[oracle->answer_count].after_ns = after_ns;
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&oracle->answers[oracle->answer_count++].info.addr, &ip), 0);
}

/* ---- Dialling ---- */

static int dial(struct seeker *seeker)
{
    struct kith_sockaddr remotes[KITH_SEEK_FIRST_IPS_MAX + KITH_SEEK_FIRST_RELAYS_MAX];
    struct kith_quic_connect_options options = {
        .remote_id = world_s.ids[1], .remotes = remotes, .alpns = &alpn, .alpn_count = 1
    };
    uint64_t now_ns = kith__sim_now(world_s.sim);
    int err;

    options.remote_count = kith__seek_first(&seeker->seek, remotes);
    if ((err = kith_quic_connect(kith__driver_host(world_s.drivers[0]), &options, now_ns, &seeker->quic)) != 0)
        return err;
    kith__conn_ways_init(&seeker->ways, seeker->quic, NULL, true);
    kith__seek_attach(&seeker->seek, seeker->quic, &seeker->ways, now_ns);
    return 0;
}

static void on_remote(void *ctx)
{
    struct seeker *seeker = ctx;

    seeker->remotes++;
    if (seeker->quic == NULL && dial(seeker) != 0)
        return;
    arm(seeker);
    pump(0);
}

static void on_end(void *ctx, int err, const char *why)
{
    struct seeker *seeker = ctx;

    seeker->ends++;
    seeker->end_err = err;
    snprintf(seeker->why, sizeof seeker->why, "%s", why);
}

static void begin_seek(void)
{
    struct kith_seek_world world = { .rt = kith__sim_rt(world_s.hosts[0]),
                                     .driver = world_s.drivers[0],
                                     .lookup = world_s.lookup };
    struct kith_seek_events events = { on_remote, on_end, &world_s.seeker };
    struct kith_sockaddr any = { 0 };

    kith__seek_init(&world_s.seeker.seek, &world, &world_s.ids[1], &any, &events);
}

/* Gives it an address (or none), asks, and dials if there is one. */
static int begin(const char *given)
{
    struct kith_sockaddr ip;
    int err;

    begin_seek();
    if (given != NULL) {
        ip = address(given);
        kith__seek_add_ips(&world_s.seeker.seek, &ip, 1);
    }
    if ((err = kith__seek_start(&world_s.seeker.seek)) != 0)
        return err;
    if (kith__seek_has_remote(&world_s.seeker.seek) && (err = dial(&world_s.seeker)) != 0)
        return err;
    pump(0);
    return 0;
}

static bool is_connected(void *ctx)
{
    (void)ctx;
    return world_s.seeker.connected_ns != 0;
}

static bool has_ended(void *ctx)
{
    (void)ctx;
    return world_s.seeker.ends != 0;
}

static void run_for(uint64_t ns)
{
    (void)kith__sim_run(world_s.sim, NULL, NULL, kith__sim_now(world_s.sim) + ns);
}

static uint64_t run_until_connected(uint64_t within_ns)
{
    uint64_t begun_ns = kith__sim_now(world_s.sim);

    KITH_CHECK_EQ(kith__sim_run(world_s.sim, is_connected, NULL, begun_ns + within_ns), KITH_SIM_OK);
    return world_s.seeker.connected_ns - begun_ns;
}

/* Two flights: 20 ms for the handshake, and no more than the timers' grain on top. */
#define HANDSHAKE_NS (21 * MS)

KITH_TEST(seek_by_id_alone_takes_the_lookup_and_a_round_trip)
{
    KITH_CHECK_EQ(world_open(kith_mem_default()), 0);
    answer_after(2000 * MS, "10.0.0.2:4433");
    KITH_CHECK_EQ(begin(NULL), 0);
    KITH_CHECK(run_until_connected(10 * KITH_NS_PER_S) <= 2000 * MS + HANDSHAKE_NS);
    run_for(MS);
    KITH_CHECK_EQ(world_s.seeker.ends, 1);
    KITH_CHECK_EQ(world_s.seeker.end_err, 0);
    world_close();
}

KITH_TEST(seek_late_answer_reaches_a_dial_under_way_without_waiting_for_a_timeout)
{
    KITH_CHECK_EQ(world_open(kith_mem_default()), 0);
    answer_after(100 * MS, "10.0.0.8:4433"); /* a second wrong one */
    answer_after(4500 * MS, "10.0.0.2:4433");
    KITH_CHECK_EQ(begin("10.0.0.9:4433"), 0);
    KITH_CHECK(run_until_connected(10 * KITH_NS_PER_S) <= 4500 * MS + HANDSHAKE_NS);
    KITH_CHECK_EQ(world_s.accepted, 1);
    world_close();
}

KITH_TEST(seek_that_finds_nothing_says_why)
{
    KITH_CHECK_EQ(world_open(kith_mem_default()), 0);
    KITH_CHECK_EQ(begin(NULL), 0);
    KITH_CHECK_EQ(kith__sim_run(world_s.sim, has_ended, NULL, KITH_NS_PER_S), KITH_SIM_OK);
    KITH_CHECK_EQ(world_s.seeker.end_err, KITH_ERR_NOT_FOUND);
    KITH_CHECK_STR(world_s.seeker.why, "oracle: never heard of it");
    KITH_CHECK_EQ(world_s.seeker.remotes, 0);
    KITH_CHECK(!world_s.seeker.seek.has_found);
    world_close();
}

KITH_TEST(seek_that_is_given_up_cancels_the_question)
{
    KITH_CHECK_EQ(world_open(kith_mem_default()), 0);
    answer_after(2000 * MS, "10.0.0.2:4433");
    KITH_CHECK_EQ(begin(NULL), 0);
    run_for(100 * MS);
    kith__seek_dispose(&world_s.seeker.seek);
    KITH_CHECK_EQ(world_s.oracle.cancelled, 1);
    run_for(5000 * MS);
    KITH_CHECK_EQ(world_s.seeker.remotes + world_s.seeker.ends, 0);
    world_close();
}

KITH_TEST(seek_leaves_out_what_is_of_no_use_and_no_more_than_fits_is_sent)
{
    struct kith_lookup_info *info;
    struct kith_sockaddr ip;
    uint64_t sent;

    KITH_CHECK_EQ(world_open(kith_mem_default()), 0);
    info = &world_s.oracle.answers[0].info;
    world_s.oracle.answer_count = 1;
    world_s.oracle.answers[0].after_ns = MS;
    for (int i = 0; i < 1000; i++) { /* a liar names a crowd; it is not to be flooded by our hand */
        ip = (struct kith_sockaddr) { .ip = { 198, 18, (uint8_t)(i / 250), (uint8_t)(i % 250) },
                                      .port = 99,
                                      .family = KITH_FAMILY_V4 };
        KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&info->addr, &ip), 0);
    }
    KITH_CHECK_EQ(begin(NULL), 0);
    run_for(500 * MS);
    sent = kith__sim_stats(world_s.sim).sent;
    KITH_CHECK(sent > 0 &&
               sent <= 3 * 32); /* the first flight, and a second with the addresses that did not fit in it */
    KITH_CHECK(world_s.seeker.seek.left_out >= 1000 - KITH_SEEK_IPS_MAX);
    world_close();
}

KITH_TEST(seek_own_addresses_and_those_of_nobody_are_not_dialled)
{
    static const char *const texts[] = { "10.0.0.1:4433", "127.0.0.1:4433", "224.0.0.251:5353", "0.0.0.0:1",
                                         "255.255.255.255:9" };

    KITH_CHECK_EQ(world_open(kith_mem_default()), 0);
    world_s.oracle.answer_count = 0;
    for (size_t i = 0; i < KITH_COUNT(texts); i++) {
        struct kith_sockaddr ip = address(texts[i]);

        KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&world_s.oracle.answers[0].info.addr, &ip), 0);
    }
    world_s.oracle.answer_count = 1;
    KITH_CHECK_EQ(begin(NULL), 0);
    KITH_CHECK_EQ(kith__sim_run(world_s.sim, has_ended, NULL, KITH_NS_PER_S), KITH_SIM_OK);
    KITH_CHECK(world_s.seeker.seek.has_found);
    KITH_CHECK_EQ(world_s.seeker.remotes, 0);
    KITH_CHECK_EQ(world_s.seeker.seek.left_out, KITH_COUNT(texts));
    world_close();
}

KITH_TEST(seek_where_somebody_else_answered_is_not_dialled_again)
{
    struct kith_sockaddr wrong = address("10.0.0.9:4433"), right = address("10.0.0.2:4433");

    KITH_CHECK_EQ(world_open(kith_mem_default()), 0);
    begin_seek();
    kith__seek_add_ips(&world_s.seeker.seek, &wrong, 1);
    kith__seek_add_ips(&world_s.seeker.seek, &right, 1);
    KITH_CHECK_EQ(dial(&world_s.seeker), 0);
    kith__conn_ways_dispose(&world_s.seeker.ways);
    kith_quic_conn_free(world_s.seeker.quic);
    kith__seek_detach(&world_s.seeker.seek, &wrong);
    kith__seek_add_ips(&world_s.seeker.seek, &wrong, 1); /* another service insists */
    KITH_CHECK_EQ(world_s.seeker.seek.ip_count, 1);
    KITH_CHECK_EQ(dial(&world_s.seeker), 0);
    pump(0);
    KITH_CHECK(run_until_connected(KITH_NS_PER_S) <= HANDSHAKE_NS);
    world_close();
}

/* ---- Connections whose other side moves ---- */

static bool is_lost(void *ctx)
{
    (void)ctx;
    return kith__conn_ways_is_lost(&world_s.seeker.ways);
}

static bool is_found_again(void *ctx)
{
    struct kith_quic_path_info paths[KITH_QUIC_PATHS_MAX];
    size_t count = kith_quic_conn_paths(world_s.seeker.quic, paths, KITH_QUIC_PATHS_MAX);

    (void)ctx;
    for (size_t i = 0; i < count; i++)
        if (paths[i].state == KITH_QUIC_PATH_OPEN && !paths[i].is_silent && paths[i].remote.ip[3] == 77)
            return true;
    return false;
}

KITH_TEST(seek_finds_a_peer_that_moved_before_its_connection_times_out)
{
    struct kith_sockaddr moved = address("10.0.0.77:0");
    uint64_t moved_ns;

    KITH_CHECK_EQ(world_open(kith_mem_default()), 0);
    KITH_CHECK_EQ(begin("10.0.0.2:4433"), 0);
    (void)run_until_connected(KITH_NS_PER_S);
    run_for(2000 * MS);
    KITH_CHECK(!kith__conn_ways_is_lost(&world_s.seeker.ways));
    kith__seek_dispose(&world_s.seeker.seek);
    KITH_CHECK_EQ(kith__sim_interface_set_addrs(world_s.hosts[1], 0, &moved, 1), 0);
    moved_ns = kith__sim_now(world_s.sim);
    KITH_CHECK_EQ(kith__sim_run(world_s.sim, is_lost, NULL, moved_ns + 15 * KITH_NS_PER_S), KITH_SIM_OK);
    answer_after(300 * MS, "10.0.0.77:4433"); /* as it published meanwhile */
    begin_seek();
    kith__seek_attach(&world_s.seeker.seek, world_s.seeker.quic, &world_s.seeker.ways, kith__sim_now(world_s.sim));
    KITH_CHECK_EQ(kith__seek_start(&world_s.seeker.seek), 0);
    KITH_CHECK_EQ(kith__sim_run(world_s.sim, is_found_again, NULL, moved_ns + 25 * KITH_NS_PER_S), KITH_SIM_OK);
    run_for(5000 * MS);
    KITH_CHECK(!kith__conn_ways_is_lost(&world_s.seeker.ways));
    KITH_CHECK(!world_s.seeker.is_closed);
    world_close();
}

KITH_TEST(conn_ways_try_addresses_that_were_found_again_and_forget_the_oldest)
{
    struct kith_conn_ways ways;
    struct kith_sockaddr ip = address("10.0.0.1:1");

    kith__conn_ways_init(&ways, NULL, NULL, true);
    for (uint16_t i = 0; i < KITH_CONN_IPS_MAX; i++) {
        ip.port = (uint16_t)(i + 1);
        kith__conn_ways_add_ip(&ways, &ip);
        kith__conn_ways_add_ip(&ways, &ip);
    }
    KITH_CHECK_EQ(ways.ip_count, KITH_CONN_IPS_MAX);
    ways.ip_next = 5; /* five were tried */
    ip.port = 2;
    kith__conn_ways_add_ip(&ways, &ip); /* it is there again: last in the line of those to try */
    KITH_CHECK_EQ(ways.ip_next, 4);
    KITH_CHECK_EQ(ways.ips[KITH_CONN_IPS_MAX - 1].port, 2);
    KITH_CHECK_EQ(ways.ips[1].port, 3);
    ip.port = 12; /* it waits for its turn already */
    kith__conn_ways_add_ip(&ways, &ip);
    KITH_CHECK_EQ(ways.ips[KITH_CONN_IPS_MAX - 1].port, 2);
    ip.port = 99;
    kith__conn_ways_add_ip(&ways, &ip);
    KITH_CHECK_EQ(ways.ip_count, KITH_CONN_IPS_MAX);
    KITH_CHECK_EQ(ways.ip_next, 3);
    KITH_CHECK_EQ(ways.ips[0].port, 3); /* 1 is forgotten */
    KITH_CHECK_EQ(ways.ips[KITH_CONN_IPS_MAX - 1].port, 99);
    kith__conn_ways_dispose(&ways);
}

/* ---- Memory ---- */

KITH_TEST(seek_survives_every_failed_allocation)
{
    uint64_t failed = 0, at = 1;

    for (bool was_reached = true; was_reached; at++) {
        struct kith_test_mem mem;
        int err;

        kith__test_mem_init(&mem, at);
        err = world_open(&mem.mem);
        if (err == 0) {
            answer_after(100 * MS, "10.0.0.2:4433");
            err = begin("10.0.0.9:4433");
        }
        if (err == 0) {
            (void)kith__sim_run(world_s.sim, is_connected, NULL, kith__sim_now(world_s.sim) + 5 * KITH_NS_PER_S);
            failed += world_s.seeker.connected_ns == 0;
        }
        failed += err != 0;
        world_close();
        KITH_CHECK_EQ(mem.live, 0);
        was_reached = mem.calls >= at;
        if (!was_reached)
            KITH_CHECK(err == 0 && world_s.seeker.connected_ns != 0);
    }
    KITH_CHECK(failed > 10 && at > 60);
}

/* ---- Announcing ---- */

static struct kith_announce *announce_new(const char *user_data)
{
    struct kith_announce_options options = { .rt = kith__sim_rt(world_s.hosts[0]),
                                             .mem = kith_mem_default(),
                                             .driver = world_s.drivers[0],
                                             .lookup = world_s.lookup,
                                             .id = world_s.ids[0],
                                             .user_data = user_data };
    struct kith_announce *announce = NULL;

    KITH_CHECK_EQ(kith__announce_new(&options, &announce), 0);
    return announce;
}

KITH_TEST(announce_tells_of_new_addresses_when_the_machine_moves)
{
    struct kith_sockaddr moved = address("10.0.0.55:0"), told = address("10.0.0.55:4433");
    struct kith_announce *announce;

    KITH_CHECK_EQ(world_open(kith_mem_default()), 0);
    world_s.oracle.base.filter = KITH_LOOKUP_ALL;
    announce = announce_new("x");
    run_for(10 * MS);
    KITH_CHECK_EQ(world_s.oracle.told, 1);
    KITH_CHECK_EQ(world_s.oracle.last.addr.count, 1);
    KITH_CHECK_EQ(world_s.oracle.last.user_data_size, 1);
    KITH_CHECK_EQ(kith__sim_interface_set_addrs(world_s.hosts[0], 0, &moved, 1), 0);
    run_for(10 * MS);
    KITH_CHECK_EQ(world_s.oracle.told, 2);
    KITH_CHECK_EQ(world_s.oracle.last.addr.count, 1);
    KITH_CHECK(kith_sockaddr_equal(&world_s.oracle.last.addr.addrs[0].ip, &told));
    kith__announce_free(announce);
    world_close();
}

KITH_TEST(announce_tells_nothing_while_there_is_nothing_to_tell)
{
    struct kith_announce *announce;

    KITH_CHECK_EQ(world_open(kith_mem_default()), 0);
    announce = announce_new(NULL); /* the oracle is told relays only, and there are none */
    run_for(1000 * MS);
    KITH_CHECK_EQ(world_s.oracle.told, 0);
    kith__announce_free(announce);
    world_close();
}
