#include "base/random.h"
#include "base/test.h"
#include "rt/sim/sim.h"

#include <stdio.h>
#include <string.h>

enum { RECEIVED_MAX = 40000 };

/** Two hosts with a socket each; what arrives is counted and, if wanted, remembered. */
struct world {
    struct kith_sim *sim;
    struct kith_sim_nat *nat;
    struct kith_sim_host *host[2];
    struct kith_rt *rt[2];
    struct kith_rt_udp *udp[2];
    uint64_t received[2], batches[2], turn_ends[2];
    struct kith_quic_received last[2];
    uint8_t last_bytes[2][65536];
    uint32_t order[RECEIVED_MAX]; /* first four bytes of what host 1 got, segment by segment */
    uint64_t order_count;
    bool echoes;
};

struct side {
    struct world *world;
    int index;
};
static struct side sides[2];

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct side *side = ctx;
    struct world *world = side->world;
    int at = side->index;

    (void)now_ns;
    world->batches[at]++;
    for (size_t i = 0; i < count; i++) {
        size_t segment = batch[i].segment_size != 0 ? batch[i].segment_size : batch[i].size;

        for (size_t offset = 0; offset < batch[i].size; offset += segment) {
            world->received[at]++;
            if (at == 1 && batch[i].size - offset >= 4 && world->order_count < RECEIVED_MAX)
                memcpy(&world->order[world->order_count++], batch[i].bytes + offset, 4);
        }
        world->last[at] = batch[i];
        memcpy(world->last_bytes[at], batch[i].bytes, batch[i].size);
        if (world->echoes && at == 1) {
            struct kith_quic_transmit transmit = { batch[i].local, batch[i].remote, batch[i].size, 0, 0, false };

            KITH_CHECK_EQ(kith__rt_udp_send(world->udp[1], &transmit, batch[i].bytes), 0);
        }
    }
}

static struct kith_sockaddr addr(const char *text)
{
    struct kith_sockaddr out = { 0 };

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

static void world_open(struct world *world, uint64_t seed, const struct kith_sim_link *link,
                       const struct kith_sim_nat_options *nat_options)
{
    struct kith_sim_host_options options = { .name = "a" };
    struct kith_sim_nat *nat = NULL;

    memset(world, 0, sizeof *world);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, seed, &world->sim), 0);
    if (nat_options != NULL)
        KITH_CHECK_EQ(kith__sim_nat_new(world->sim, nat_options, &nat), 0);
    options.addrs[0] = addr(nat != NULL ? "192.168.1.2:0" : "10.0.0.1:0");
    options.nat = world->nat = nat;
    options.up = *link;
    KITH_CHECK_EQ(kith__sim_host_new(world->sim, &options, &world->host[0]), 0);
    options = (struct kith_sim_host_options) { .name = "b", .up = *link };
    options.addrs[0] = addr("10.0.0.2:0");
    KITH_CHECK_EQ(kith__sim_host_new(world->sim, &options, &world->host[1]), 0);
    for (int i = 0; i < 2; i++) {
        struct kith_rt_udp_options udp = { .local = addr(i == 0 ? "0.0.0.0:1000" : "0.0.0.0:2000") };

        sides[i] = (struct side) { world, i };
        world->rt[i] = kith__sim_rt(world->host[i]);
        KITH_CHECK_EQ(kith__rt_udp_open(world->rt[i], &udp,
                                        &(struct kith_rt_udp_events) { on_receive, NULL, &sides[i] }, &world->udp[i]),
                      0);
    }
}

static void world_close(struct world *world)
{
    kith__rt_udp_close(world->udp[0]);
    kith__rt_udp_close(world->udp[1]);
    kith__sim_free(world->sim);
}

static void send_to(struct world *world, const char *to, uint32_t number, size_t size, size_t segment, uint8_t ecn)
{
    static uint8_t bytes[KITH_RT_UDP_SEND_MAX];
    struct kith_quic_transmit transmit = { .remote = addr(to), .size = size, .segment_size = segment, .ecn = ecn };

    for (size_t at = 0; at + 4 <= size; at += segment != 0 ? segment : size)
        memcpy(bytes + at, &number, 4), number++;
    KITH_CHECK_EQ(kith__rt_udp_send(world->udp[0], &transmit, bytes), 0);
}

static void run(struct world *world)
{
    KITH_CHECK_EQ(kith__sim_run(world->sim, NULL, NULL, KITH_NEVER), KITH_SIM_OK);
}

KITH_TEST(sim_datagram_arrives_after_the_delay_with_addresses_and_ecn)
{
    static struct world world;
    struct kith_sim_link link = { .delay_ns = 5 * KITH_NS_PER_MS };
    uint64_t start;

    world_open(&world, 1, &link, NULL);
    start = kith__sim_now(world.sim);
    send_to(&world, "10.0.0.2:2000", 7, 100, 0, 2);
    run(&world);
    KITH_CHECK_EQ(kith__sim_now(world.sim) - start, 5 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(world.received[1], 1);
    KITH_CHECK_EQ(world.last[1].ecn, 2);
    KITH_CHECK_EQ(world.last[1].size, 100);
    struct kith_sockaddr from = addr("10.0.0.1:1000"), to = addr("10.0.0.2:2000");
    KITH_CHECK(kith_sockaddr_equal(&world.last[1].remote, &from));
    KITH_CHECK(kith_sockaddr_equal(&world.last[1].local, &to));
    world_close(&world);
}

KITH_TEST(sim_batch_is_merged_and_can_be_split_again)
{
    static struct world world;
    struct kith_sim_link link = { .delay_ns = 1000 };

    world_open(&world, 1, &link, NULL);
    send_to(&world, "10.0.0.2:2000", 0, 10 * 1200 + 30, 1200, 0);
    run(&world);
    KITH_CHECK_EQ(world.received[1], 11);
    KITH_CHECK_EQ(world.batches[1], 1);
    KITH_CHECK_EQ(world.last[1].segment_size, 1200);
    KITH_CHECK_EQ(world.last[1].size, 10 * 1200 + 30);
    for (uint32_t i = 0; i < 11; i++)
        KITH_CHECK_EQ(world.order[i], i);
    world_close(&world);
}

static uint64_t bad_link_hash(uint64_t seed, struct kith_sim_stats *stats)
{
    static struct world world;
    struct kith_sim_link link = { .delay_ns = 20 * KITH_NS_PER_MS,
                                  .jitter_ns = 5 * KITH_NS_PER_MS,
                                  .loss_ppm = 100000,
                                  .duplicate_ppm = 20000,
                                  .reorder_ppm = 50000,
                                  .reorder_ns = 3 * KITH_NS_PER_MS };
    uint64_t hash;

    world_open(&world, seed, &link, NULL);
    for (uint32_t i = 0; i < 10000; i++)
        send_to(&world, "10.0.0.2:2000", i, 1200, 0, 0);
    run(&world);
    hash = kith__sim_hash(world.sim);
    *stats = kith__sim_stats(world.sim);
    KITH_CHECK_EQ(world.received[1], stats->delivered);
    world_close(&world);
    return hash;
}

KITH_TEST(sim_same_seed_gives_the_same_run_and_another_seed_another)
{
    struct kith_sim_stats first, second;

    KITH_CHECK_EQ(bad_link_hash(42, &first), bad_link_hash(42, &second));
    KITH_CHECK_BYTES(&first, &second, sizeof first);
    KITH_CHECK_NE(bad_link_hash(42, &first), bad_link_hash(43, &second));
}

KITH_TEST(sim_loss_duplication_and_reordering_have_their_rates_and_every_datagram_a_fate)
{
    struct kith_sim_stats stats;

    bad_link_hash(kith__test_seed(5), &stats);
    KITH_CHECK_EQ(stats.sent, 10000);
    KITH_CHECK(stats.drop_loss > 800 && stats.drop_loss < 1200);
    KITH_CHECK(stats.duplicated > 120 && stats.duplicated < 260);
    KITH_CHECK(stats.reordered > 350 && stats.reordered < 600);
    KITH_CHECK_EQ(stats.sent + stats.duplicated, stats.delivered + stats.drop_loss);
}

KITH_TEST(sim_jitter_alone_keeps_the_order_and_reordering_breaks_it)
{
    static struct world world;
    struct kith_sim_link link = { .delay_ns = KITH_NS_PER_MS, .jitter_ns = KITH_NS_PER_MS };
    int inversions[2] = { 0 };

    for (int round = 0; round < 2; round++) {
        if (round == 1)
            link.reorder_ppm = 100000, link.reorder_ns = 5 * KITH_NS_PER_MS;
        world_open(&world, 9, &link, NULL);
        for (uint32_t i = 0; i < 1000; i++)
            send_to(&world, "10.0.0.2:2000", i, 50, 0, 0);
        run(&world);
        KITH_CHECK_EQ(world.order_count, 1000);
        for (uint32_t i = 1; i < 1000; i++)
            inversions[round] += world.order[i] < world.order[i - 1];
        world_close(&world);
    }
    KITH_CHECK_EQ(inversions[0], 0);
    KITH_CHECK(inversions[1] > 0);
}

KITH_TEST(sim_rate_spaces_datagrams_and_a_full_queue_drops_and_marks)
{
    static struct world world;
    struct kith_sim_link link = { .rate = 8000000, .queue_size = 20000, .mark_size = 10000 }; /* 1 byte a microsecond */
    struct kith_sim_stats stats;
    uint64_t start;

    world_open(&world, 1, &link, NULL);
    start = kith__sim_now(world.sim);
    for (uint32_t i = 0; i < 40; i++)
        send_to(&world, "10.0.0.2:2000", i, 972, 0, 1); /* 1,000 bytes on the wire */
    run(&world);
    stats = kith__sim_stats(world.sim);
    KITH_CHECK_EQ(stats.delivered, 20);
    KITH_CHECK_EQ(stats.drop_queue, 20);
    KITH_CHECK_EQ(kith__sim_now(world.sim) - start, 20 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(stats.marked, 9); /* those that found more than 10,000 bytes waiting */
    KITH_CHECK_EQ(world.last[1].ecn, 3);
    world_close(&world);
}

KITH_TEST(sim_mtu_blackout_partition_down_and_strangers_have_their_own_counts)
{
    static struct world world;
    struct kith_sim_link link = { .mtu = 1300 };
    struct kith_sim_stats stats;

    link.blackouts[0].from_ns = KITH_NS_PER_S + 1;
    link.blackouts[0].until_ns = 2 * KITH_NS_PER_S;
    world_open(&world, 1, &link, NULL);
    send_to(&world, "10.0.0.2:2000", 1, 1273, 0, 0);
    send_to(&world, "10.0.0.2:2000", 1, 1272, 0, 0);
    send_to(&world, "10.0.0.9:2000", 1, 100, 0, 0);
    send_to(&world, "10.0.0.2:2001", 1, 100, 0, 0);
    KITH_CHECK_EQ(kith__sim_run(world.sim, NULL, NULL, 3 * KITH_NS_PER_S / 2), KITH_SIM_OK);
    send_to(&world, "10.0.0.2:2000", 1, 100, 0, 0);
    KITH_CHECK_EQ(kith__sim_run(world.sim, NULL, NULL, 2 * KITH_NS_PER_S), KITH_SIM_OK);
    KITH_CHECK_EQ(kith__sim_set_partition(world.sim, world.host[1], world.host[0], true), 0);
    send_to(&world, "10.0.0.2:2000", 1, 100, 0, 0);
    run(&world);
    KITH_CHECK_EQ(kith__sim_set_partition(world.sim, world.host[0], world.host[1], false), 0);
    kith__sim_host_set_down(world.host[1], true);
    send_to(&world, "10.0.0.2:2000", 1, 100, 0, 0);
    run(&world);
    kith__sim_host_set_down(world.host[1], false);
    stats = kith__sim_stats(world.sim);
    KITH_CHECK_EQ(stats.drop_mtu, 1);
    KITH_CHECK_EQ(stats.drop_no_route, 1);
    KITH_CHECK_EQ(stats.drop_no_socket, 1);
    KITH_CHECK_EQ(stats.drop_blackout, 1);
    KITH_CHECK_EQ(stats.drop_partition, 1);
    KITH_CHECK_EQ(stats.drop_down, 1);
    KITH_CHECK_EQ(stats.delivered, 1);
    KITH_CHECK_EQ(stats.sent, 7);
    world_close(&world);
}

static void close_it(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct kith_rt_udp **other = ctx;

    (void)batch;
    (void)now_ns;
    KITH_CHECK_EQ(count, 1);
    kith__rt_udp_close(*other);
    *other = NULL;
}

KITH_TEST(sim_datagram_for_a_socket_that_closes_in_the_same_instant_is_dropped_not_delivered)
{
    static struct world world;
    struct kith_sim_link link = { 0 };
    struct kith_rt_udp *sockets[2];
    struct kith_sim_stats stats;

    world_open(&world, 1, &link, NULL);
    for (int i = 0; i < 2; i++) {
        struct kith_rt_udp_options options = { .local = addr(i == 0 ? "0.0.0.0:3000" : "0.0.0.0:3001") };
        struct kith_rt_udp_events events = { close_it, NULL, &sockets[1 - i] };

        KITH_CHECK_EQ(kith__rt_udp_open(world.rt[1], &options, &events, &sockets[i]), 0);
    }
    send_to(&world, "10.0.0.2:3000", 1, 100, 0, 0);
    send_to(&world, "10.0.0.2:3001", 1, 100, 0, 0);
    run(&world);
    stats = kith__sim_stats(world.sim);
    KITH_CHECK_EQ(stats.delivered, 1);
    KITH_CHECK_EQ(stats.delivered_bytes, 100);
    KITH_CHECK_EQ(stats.drop_down, 1);
    kith__rt_udp_close(sockets[0]);
    kith__rt_udp_close(sockets[1]);
    world_close(&world);
}

static struct kith_sim_nat_options nat_of(uint8_t mapping, uint8_t filtering)
{
    return (struct kith_sim_nat_options) { .outer = addr("203.0.113.1:0"), .mapping = mapping, .filtering = filtering };
}

KITH_TEST(sim_nat_maps_answers_come_back_and_rebinding_changes_the_port)
{
    static struct world world;
    struct kith_sim_link link = { .delay_ns = 1000 };
    struct kith_sim_nat_options nat = nat_of(KITH_SIM_NAT_ENDPOINT_INDEPENDENT, KITH_SIM_NAT_ADDRESS_DEPENDENT);
    struct kith_sockaddr inner = addr("192.168.1.2:1000");
    uint16_t port;

    world_open(&world, 1, &link, &nat);
    world.echoes = true;
    send_to(&world, "10.0.0.2:2000", 1, 100, 0, 0);
    run(&world);
    KITH_CHECK_EQ(world.received[0], 1);
    KITH_CHECK_EQ(world.last[1].remote.ip[0], 203);
    KITH_CHECK(kith_sockaddr_equal(&world.last[0].local, &inner));
    port = world.last[1].remote.port;
    send_to(&world, "10.0.0.2:2000", 1, 100, 0, 0);
    run(&world);
    KITH_CHECK_EQ(world.last[1].remote.port, port);
    kith__sim_nat_rebind(world.nat);
    send_to(&world, "10.0.0.2:2000", 1, 100, 0, 0);
    run(&world);
    KITH_CHECK_NE(world.last[1].remote.port, port);
    KITH_CHECK_EQ(world.received[0], 3);
    world_close(&world);
}

KITH_TEST(sim_symmetric_nat_uses_another_port_for_another_remote_and_filters_strangers)
{
    static struct world world;
    struct kith_sim_link link = { .delay_ns = 1000 };
    struct kith_sim_nat_options nat = nat_of(KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT,
                                             KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT);
    struct kith_rt_udp_options options = { .local = addr("0.0.0.0:2001") };
    struct kith_quic_transmit transmit = { .size = 4 };
    struct kith_rt_udp *other;
    uint16_t port;

    world_open(&world, 1, &link, &nat);
    KITH_CHECK_EQ(
        kith__rt_udp_open(world.rt[1], &options, &(struct kith_rt_udp_events) { on_receive, NULL, &sides[1] }, &other),
        0);
    send_to(&world, "10.0.0.2:2000", 1, 100, 0, 0);
    run(&world);
    port = world.last[1].remote.port;
    transmit.remote = world.last[1].remote;
    KITH_CHECK_EQ(kith__rt_udp_send(other, &transmit, (const uint8_t *)"abcd"), 0); /* from a port it never wrote to */
    run(&world);
    KITH_CHECK_EQ(world.received[0], 0);
    KITH_CHECK_EQ(kith__sim_stats(world.sim).drop_nat, 1);
    send_to(&world, "10.0.0.2:2001", 1, 100, 0, 0);
    run(&world);
    KITH_CHECK_NE(world.last[1].remote.port, port);
    kith__rt_udp_close(other);
    world_close(&world);
}

/* ---- Time ---- */

struct timers {
    struct kith_rt_timer timer[4];
    int fired[8], count;
    struct kith_rt *rt;
};

#define FIRE(n)                                                                                                        \
    static void fire_##n(void *ctx, uint64_t now_ns)                                                                   \
    {                                                                                                                  \
        struct timers *timers = ctx;                                                                                   \
        KITH_CHECK(now_ns >= KITH_NS_PER_S);                                                                           \
        timers->fired[timers->count++] = n;                                                                            \
    }
FIRE(0)
FIRE(1)
FIRE(2)
FIRE(3)

KITH_TEST(sim_timers_fire_in_order_of_time_then_of_setting)
{
    static struct world world;
    struct timers timers = { 0 };
    uint64_t now;

    world_open(&world, 1, &(struct kith_sim_link) { 0 }, NULL);
    KITH_CHECK_EQ(kith__rt_timer_init(world.rt[0], &timers.timer[0], fire_0, &timers), 0);
    KITH_CHECK_EQ(kith__rt_timer_init(world.rt[0], &timers.timer[1], fire_1, &timers), 0);
    KITH_CHECK_EQ(kith__rt_timer_init(world.rt[0], &timers.timer[2], fire_2, &timers), 0);
    KITH_CHECK_EQ(kith__rt_timer_init(world.rt[0], &timers.timer[3], fire_3, &timers), 0);
    now = kith__rt_now(world.rt[0]);
    kith__rt_timer_set(&timers.timer[0], now + 300);
    kith__rt_timer_set(&timers.timer[2], now + 100);
    kith__rt_timer_set(&timers.timer[1], now + 100);
    kith__rt_timer_set(&timers.timer[3], now + 50);
    kith__rt_timer_set(&timers.timer[3], KITH_NEVER);
    KITH_CHECK_EQ(kith__rt_deadline(world.rt[0]), now + 100);
    run(&world);
    KITH_CHECK_EQ(timers.count, 3);
    KITH_CHECK_EQ(timers.fired[0], 2);
    KITH_CHECK_EQ(timers.fired[1], 1);
    KITH_CHECK_EQ(timers.fired[2], 0);
    KITH_CHECK_EQ(kith__sim_now(world.sim), now + 300);
    for (int i = 0; i < 4; i++)
        kith__rt_timer_dispose(&timers.timer[i]);
    world_close(&world);
}

KITH_TEST(sim_host_can_drive_itself_with_process_and_wait)
{
    static struct world world;
    struct kith_sim_link link = { .delay_ns = KITH_NS_PER_MS };
    bool never = false;

    world_open(&world, 1, &link, NULL);
    world.echoes = true;
    send_to(&world, "10.0.0.2:2000", 1, 100, 0, 0);
    KITH_CHECK_EQ(kith__rt_run(world.rt[0], &never, 2 * KITH_NS_PER_S), KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(world.received[0], 1);
    KITH_CHECK_EQ(kith__sim_now(world.sim), 2 * KITH_NS_PER_S);
    world_close(&world);
}

static bool is_never(void *ctx)
{
    (void)ctx;
    return false;
}

KITH_TEST(sim_wall_clock_of_one_host_jumps_alone)
{
    static struct world world;
    struct kith_sim_link link = { 0 };
    uint64_t wall_us;

    world_open(&world, 1, &link, NULL);
    wall_us = kith__rt_wall_us(world.rt[1]);
    kith__sim_host_jump_wall(world.host[0], -5000000);
    KITH_CHECK_EQ(kith__rt_wall_us(world.rt[0]), wall_us - 5000000);
    KITH_CHECK_EQ(kith__rt_wall_us(world.rt[1]), wall_us);
    kith__sim_jump_wall(world.sim, 7000000);
    KITH_CHECK_EQ(kith__rt_wall_us(world.rt[0]), wall_us + 2000000);
    KITH_CHECK_EQ(kith__rt_wall_us(world.rt[1]), wall_us + 7000000);
    world_close(&world);
}

KITH_TEST(sim_run_tells_stuck_from_wrong)
{
    static struct world world;

    world_open(&world, 1, &(struct kith_sim_link) { 0 }, NULL);
    KITH_CHECK_EQ(kith__sim_run(world.sim, is_never, NULL, 5 * KITH_NS_PER_S), KITH_SIM_STUCK);
    KITH_CHECK(strstr(kith__sim_why(world.sim), "nothing is left") != NULL);
    kith__sim_wrong(world.sim, "sum differs");
    KITH_CHECK_EQ(kith__sim_run(world.sim, is_never, NULL, 5 * KITH_NS_PER_S), KITH_SIM_WRONG);
    KITH_CHECK_STR(kith__sim_why(world.sim), "sum differs");
    KITH_CHECK_NE(kith__sim_exit_code(KITH_SIM_STUCK), kith__sim_exit_code(KITH_SIM_WRONG));
    world_close(&world);
}

KITH_TEST(sim_ten_megabytes_over_a_bad_link_leave_no_memory_behind)
{
    struct kith_test_mem mem;
    struct kith_sim *sim;
    struct kith_sim_host *host[2];
    struct kith_sim_host_options options = { .name = "a" };
    struct kith_rt_udp *udp[2];
    static struct world world;
    static uint8_t bytes[40 * 1200];

    memset(&world, 0, sizeof world);
    kith__test_mem_init(&mem, 0);
    KITH_CHECK_EQ(kith__sim_new(&mem.mem, NULL, 3, &sim), 0);
    options.up = (struct kith_sim_link) { .delay_ns = 50 * KITH_NS_PER_MS, .loss_ppm = 50000, .jitter_ns = 1000000 };
    for (int i = 0; i < 2; i++) {
        struct kith_rt_udp_options udp_options = { .local = addr("0.0.0.0:1000") };

        sides[i] = (struct side) { &world, i };
        options.addrs[0] = addr(i == 0 ? "10.0.0.1:0" : "10.0.0.2:0");
        KITH_CHECK_EQ(kith__sim_host_new(sim, &options, &host[i]), 0);
        KITH_CHECK_EQ(kith__rt_udp_open(kith__sim_rt(host[i]), &udp_options,
                                        &(struct kith_rt_udp_events) { on_receive, NULL, &sides[i] }, &udp[i]),
                      0);
    }
    for (int i = 0; i < 220; i++) {
        struct kith_quic_transmit transmit = { .remote = addr("10.0.0.2:1000"),
                                               .size = sizeof bytes,
                                               .segment_size = 1200 };

        KITH_CHECK_EQ(kith__rt_udp_send(udp[0], &transmit, bytes), 0);
        KITH_CHECK_EQ(kith__sim_run(sim, NULL, NULL, kith__sim_now(sim) + KITH_NS_PER_MS), KITH_SIM_OK);
    }
    KITH_CHECK_EQ(kith__sim_run(sim, NULL, NULL, KITH_NEVER), KITH_SIM_OK);
    KITH_CHECK(world.received[1] > 8000);
    KITH_CHECK(mem.calls < 4000); /* packets come from the pool: far fewer allocations than datagrams */
    kith__rt_udp_close(udp[0]);
    kith__rt_udp_close(udp[1]);
    kith__sim_free(sim);
    KITH_CHECK_EQ(mem.live, 0);
}

/* ---- Files ---- */

static void put(struct kith_rt *rt, const char *name, const char *text, bool syncs)
{
    struct kith_rt_file *file;

    KITH_CHECK_EQ(kith__rt_file_open(rt, NULL, name, KITH_RT_WRITE | KITH_RT_CREATE | KITH_RT_TRUNCATE, 0644, &file),
                  0);
    KITH_CHECK_EQ(kith__rt_file_write(file, text, strlen(text)), 0);
    if (syncs)
        KITH_CHECK_EQ(kith__rt_file_sync(file), 0);
    kith__rt_file_close(file);
}

static void check_content(struct kith_rt *rt, const char *name, const char *text)
{
    struct kith_rt_file *file;
    char bytes[64] = { 0 };
    size_t done;

    KITH_CHECK_EQ(kith__rt_file_open(rt, NULL, name, KITH_RT_READ, 0, &file), 0);
    KITH_CHECK_EQ(kith__rt_file_read(file, bytes, sizeof bytes - 1, &done), 0);
    KITH_CHECK_STR(bytes, text);
    kith__rt_file_close(file);
}

static void sync_root(struct kith_rt *rt)
{
    struct kith_rt_dir *dir;

    KITH_CHECK_EQ(kith__rt_dir_open(rt, NULL, "/", 0, &dir), 0);
    KITH_CHECK_EQ(kith__rt_dir_sync(dir), 0);
    kith__rt_dir_close(dir);
}

KITH_TEST(sim_crash_loses_what_was_not_synced_and_keeps_the_rest)
{
    static struct world world;
    struct kith_rt_stat stat;

    world_open(&world, 1, &(struct kith_sim_link) { 0 }, NULL);
    put(world.rt[0], "kept", "old", true);
    sync_root(world.rt[0]);
    put(world.rt[0], "kept", "new text", false);
    put(world.rt[0], "lost", "x", true); /* its content is safe, its name is not */
    kith__sim_fs_crash(world.host[0], false);
    check_content(world.rt[0], "kept", "old");
    KITH_CHECK_EQ(kith__rt_stat(world.rt[0], NULL, "lost", true, &stat), KITH_ERR_NOT_FOUND);
    world_close(&world);
}

KITH_TEST(sim_sync_of_everything_keeps_contents_and_names_at_every_depth)
{
    static struct world world;
    struct kith_rt_dir *dir;
    struct kith_rt_stat stat;

    world_open(&world, 1, &(struct kith_sim_link) { 0 }, NULL);
    KITH_CHECK_EQ(kith__rt_mkdir(world.rt[0], NULL, "a", 0777), 0);
    KITH_CHECK_EQ(kith__rt_mkdir(world.rt[0], NULL, "a/b", 0777), 0);
    put(world.rt[0], "a/b/deep", "text", false);
    put(world.rt[0], "beside", "too", false);
    KITH_CHECK_EQ(kith__rt_dir_open(world.rt[0], NULL, "a/b", 0, &dir), 0);
    KITH_CHECK_EQ(kith__rt_dir_sync_all(dir), 0);
    kith__rt_dir_close(dir);
    put(world.rt[0], "later", "x", false);
    kith__sim_fs_crash(world.host[0], false);
    check_content(world.rt[0], "a/b/deep", "text");
    check_content(world.rt[0], "beside", "too");
    KITH_CHECK_EQ(kith__rt_stat(world.rt[0], NULL, "later", true, &stat), KITH_ERR_NOT_FOUND);
    world_close(&world);
}

/** Replaces "file" by "new content" with a fault at the n-th change, then crashes. */
static int replace_with_fault(struct world *world, uint64_t fail_at, bool is_torn)
{
    struct kith_rt_replace_options options = { .name = "file", .overwrite = true };
    struct kith_rt_replace *replace;
    int err;

    kith__sim_fs_set_faults(world->host[0], &(struct kith_sim_fs_faults) { 0, fail_at, KITH_ERR_IO });
    if ((err = kith__rt_replace_begin(world->rt[0], &options, &replace)) == 0) {
        if ((err = kith__rt_file_write(kith__rt_replace_file(replace), "new content", 11)) != 0 ||
            (err = kith__rt_replace_commit(replace)) != 0)
            kith__rt_replace_abort(replace, false);
    }
    kith__sim_fs_crash(world->host[0], is_torn);
    return err;
}

KITH_TEST(sim_replaced_file_is_old_or_new_whatever_fails_and_when)
{
    static struct world world;

    for (uint64_t fail_at = 0; fail_at < 8; fail_at++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct kith_rt_file *file;
            char bytes[32] = { 0 };
            size_t done;
            int err;

            world_open(&world, seed, &(struct kith_sim_link) { 0 }, NULL);
            put(world.rt[0], "file", "old", true);
            sync_root(world.rt[0]);
            err = replace_with_fault(&world, fail_at, seed > 0);
            KITH_CHECK_EQ(kith__rt_file_open(world.rt[0], NULL, "file", KITH_RT_READ, 0, &file), 0);
            KITH_CHECK_EQ(kith__rt_file_read(file, bytes, sizeof bytes - 1, &done), 0);
            kith__rt_file_close(file);
            KITH_CHECK(strcmp(bytes, "new content") == 0 || (err != 0 && strcmp(bytes, "old") == 0));
            KITH_CHECK(fail_at != 0 || err == 0);
            world_close(&world);
        }
}

KITH_TEST(sim_full_disk_takes_what_fits_and_says_so)
{
    static struct world world;
    struct kith_rt_file *file;
    struct kith_rt_stat stat;

    world_open(&world, 1, &(struct kith_sim_link) { 0 }, NULL);
    kith__sim_fs_set_faults(world.host[0], &(struct kith_sim_fs_faults) { .space_max = 10 });
    KITH_CHECK_EQ(kith__rt_file_open(world.rt[0], NULL, "f", KITH_RT_WRITE | KITH_RT_CREATE, 0644, &file), 0);
    KITH_CHECK_EQ(kith__rt_file_write(file, "1234567", 7), 0);
    KITH_CHECK_EQ(kith__rt_file_write(file, "1234567", 7), KITH_ERR_NO_SPACE);
    KITH_CHECK_EQ(kith__rt_file_stat(file, &stat), 0);
    KITH_CHECK_EQ(stat.size, 10);
    kith__rt_file_close(file);
    KITH_CHECK_EQ(kith__rt_unlink(world.rt[0], NULL, "f"), 0);
    put(world.rt[0], "g", "1234567890", false);
    world_close(&world);
}
