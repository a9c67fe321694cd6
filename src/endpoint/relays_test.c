/* Relays, and connections through them, in virtual time. */
#include "base/mem.h"
#include "base/test.h"
#include "endpoint/relay_fake.h"

#include <string.h>

static struct fake_world world_w;

/** Two endpoints with these relays, connected through the first of them; 0 beats. */
static void open_pair(unsigned relay_bits, size_t relay_count)
{
    fake_world_open(&world_w, relay_count, 2, NULL);
    for (size_t i = 0; i < 2; i++)
        KITH_CHECK_EQ(fake_endpoint_open(&world_w, i, relay_bits, false, kith_mem_default()), 0);
    fake_until_online(&world_w, 0);
    fake_until_online(&world_w, 1);
    fake_run(&world_w, KITH_NS_PER_S);
}

static void dial_and_beat(unsigned relay_bits, bool direct)
{
    world_w.endpoints[0].is_beating = true;
    fake_dial(&world_w, 0, 1, relay_bits, direct);
    fake_until(&world_w, &world_w.endpoints[0].is_connected);
    fake_run(&world_w, 2 * KITH_NS_PER_S);
    KITH_CHECK(world_w.endpoints[0].echoes > 30);
    world_w.endpoints[0].gap_ns = 0;
}

/** Whether UDP gets through between the two. */
static void set_direct(bool is_cut)
{
    struct kith_sockaddr addrs[2];

    for (size_t i = 0; i < 2; i++)
        addrs[i] = kith__sim_interface_addr(world_w.endpoints[i].host, 0, 0);
    KITH_CHECK_EQ(kith__sim_set_blackhole(world_w.sim, &addrs[0], &addrs[1], is_cut), 0);
    KITH_CHECK_EQ(kith__sim_set_blackhole(world_w.sim, &addrs[1], &addrs[0], is_cut), 0);
}

static int home_of(size_t endpoint)
{
    struct kith_relay_peer *home = kith__relays_home(world_w.endpoints[endpoint].relays);
    struct kith_relay_info info;

    KITH_CHECK(home != NULL);
    kith__relay_info(home, &info);
    return info.url[strlen(info.url) - 2] - '1';
}

/** After so long everything flows again, and did at most gap_ns before. */
static void check_goes_on(uint64_t time_ns, uint64_t gap_ns)
{
    const struct fake_endpoint *endpoint = &world_w.endpoints[0];

    fake_run(&world_w, time_ns);
    KITH_CHECK(!endpoint->is_closed && !world_w.endpoints[1].is_closed);
    KITH_CHECK(endpoint->gap_ns < gap_ns);
    KITH_CHECK(kith__sim_now(world_w.sim) - endpoint->last_echo_ns < 200 * KITH_NS_PER_MS);
    KITH_CHECK(endpoint->beats - endpoint->echoes < 5);
}

KITH_TEST(relays_one_is_home_at_once_and_told_with_its_token)
{
    fake_world_open(&world_w, 1, 1, NULL);
    KITH_CHECK_EQ(fake_endpoint_open(&world_w, 0, 1, false, kith_mem_default()), 0);
    KITH_CHECK(fake_until_online(&world_w, 0) < 200 * KITH_NS_PER_MS);
    KITH_CHECK_STR(world_w.relays[0].authorization, "Bearer a token");
    KITH_CHECK_STR(world_w.relays[0].target, "/relay");
    fake_run(&world_w, KITH_NS_PER_S);
    KITH_CHECK_EQ(world_w.relays[0].pings, 1);
    fake_run(&world_w, 300 * KITH_NS_PER_S); /* kept for ever, with a ping every 15 s of silence */
    KITH_CHECK_EQ(world_w.relays[0].accepted, 1);
    KITH_CHECK(world_w.relays[0].pings >= 19 && world_w.relays[0].pings <= 22);
    fake_world_close(&world_w);
}

KITH_TEST(relays_answer_may_come_together_with_the_first_message)
{
    fake_world_open(&world_w, 1, 1, NULL);
    world_w.relays[0].joins = true;
    KITH_CHECK_EQ(fake_endpoint_open(&world_w, 0, 1, false, kith_mem_default()), 0);
    KITH_CHECK(fake_until_online(&world_w, 0) < 200 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(world_w.relays[0].accepted, 1);
    fake_world_close(&world_w);
}

KITH_TEST(relays_connection_through_one_carries_batches)
{
    open_pair(1, 1);
    dial_and_beat(1, false);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), 0);
    KITH_CHECK(world_w.relays[0].datagrams > 60);
    fake_world_close(&world_w);
}

KITH_TEST(relays_direct_path_is_preferred_and_the_relay_is_its_backup)
{
    fake_world_open(&world_w, 1, 2, NULL);
    for (size_t i = 0; i < 2; i++)
        KITH_CHECK_EQ(fake_endpoint_open(&world_w, i, 1, true, kith_mem_default()), 0);
    fake_until_online(&world_w, 0);
    fake_until_online(&world_w, 1);
    set_direct(true); /* the relay is first, and stays */
    dial_and_beat(1, true);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), 0);
    fake_world_close(&world_w);

    fake_world_open(&world_w, 1, 2, NULL);
    for (size_t i = 0; i < 2; i++)
        KITH_CHECK_EQ(fake_endpoint_open(&world_w, i, 1, true, kith_mem_default()), 0);
    fake_until_online(&world_w, 0);
    fake_until_online(&world_w, 1);
    dial_and_beat(1, true);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), -1);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 1), -1);
    set_direct(true);
    check_goes_on(3 * KITH_NS_PER_S, 2 * KITH_NS_PER_S); /* over the relay, which was open already */
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), 0);
    fake_world_close(&world_w);
}

KITH_TEST(relays_path_that_came_first_makes_room_for_a_direct_one)
{
    fake_world_open(&world_w, 1, 2, NULL);
    for (size_t i = 0; i < 2; i++)
        KITH_CHECK_EQ(fake_endpoint_open(&world_w, i, 1, true, kith_mem_default()), 0);
    fake_until_online(&world_w, 0);
    fake_until_online(&world_w, 1);
    set_direct(true);
    world_w.endpoints[0].is_beating = true;
    fake_dial(&world_w, 0, 1, 1, true);
    fake_until(&world_w, &world_w.endpoints[0].is_connected);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), 0);
    set_direct(false);
    fake_run(&world_w, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), -1);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 1), -1);
    check_goes_on(KITH_NS_PER_S, 500 * KITH_NS_PER_MS);
    fake_world_close(&world_w);
}

KITH_TEST(relays_connection_survives_the_death_of_its_relay)
{
    int first;

    open_pair(3, 2);
    dial_and_beat(3, false);
    first = fake_path_in_use(&world_w, 0);
    fake_relay_stop(&world_w.relays[first]);
    check_goes_on(3 * KITH_NS_PER_S, KITH_NS_PER_S);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), 1 - first);
    KITH_CHECK_EQ(home_of(0), 1 - first);
    KITH_CHECK_EQ(home_of(1), 1 - first);
    fake_world_close(&world_w);
}

KITH_TEST(relays_connection_survives_a_relay_that_falls_silent)
{
    int first;

    open_pair(3, 2);
    dial_and_beat(3, false);
    first = fake_path_in_use(&world_w, 0);
    world_w.relays[first].is_mute = true;
    check_goes_on(5 * KITH_NS_PER_S, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), 1 - first);
    KITH_CHECK_EQ(home_of(0), 1 - first);
    fake_world_close(&world_w);
}

/** No byte passes to or from the relay, and nobody is told: its machine lost power, or a router its table. */
static void cut_relay(int relay, bool is_cut)
{
    kith__sim_host_up(world_w.relays[relay].host)->is_cut = is_cut;
    kith__sim_host_down(world_w.relays[relay].host)->is_cut = is_cut;
}

KITH_TEST(relays_connection_survives_half_open_tcp)
{
    int first;

    open_pair(3, 2);
    dial_and_beat(3, false);
    first = fake_path_in_use(&world_w, 0);
    cut_relay(first, true);
    check_goes_on(10 * KITH_NS_PER_S, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), 1 - first);
    KITH_CHECK_EQ(home_of(0), 1 - first);
    cut_relay(first, false);
    fake_run(&world_w, 40 * KITH_NS_PER_S);
    KITH_CHECK(kith__relay_is_fit(kith__relays_next(world_w.endpoints[0].relays, NULL)));
    fake_world_close(&world_w);
}

KITH_TEST(relays_home_that_dies_in_silence_while_nothing_flows_is_replaced)
{
    int home;

    open_pair(3, 2);
    home = home_of(0);
    cut_relay(home, true);
    fake_run(&world_w, 17 * KITH_NS_PER_S); /* the next ping, and half a second without its pong */
    KITH_CHECK_EQ(home_of(0), 1 - home);
    fake_world_close(&world_w);
}

KITH_TEST(relays_third_one_takes_over_when_home_dies_after_the_spare_died_in_silence)
{
    struct kith_relay_info info;
    int home, warm;

    fake_world_open(&world_w, 3, 1, NULL);
    KITH_CHECK_EQ(fake_endpoint_open(&world_w, 0, 7, false, kith_mem_default()), 0);
    fake_until_online(&world_w, 0);
    fake_run(&world_w, 2 * KITH_NS_PER_S);
    home = home_of(0);
    kith__relay_info(kith__relays_warm(world_w.endpoints[0].relays), &info);
    warm = info.url[strlen(info.url) - 2] - '1';
    cut_relay(warm, true);
    fake_run(&world_w, KITH_NS_PER_S);
    fake_relay_stop(&world_w.relays[home]);
    fake_run(&world_w, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(home_of(0), 3 - home - warm);
    KITH_CHECK(kith__relay_is_fit(kith__relays_home(world_w.endpoints[0].relays)));
    fake_world_close(&world_w);
}

KITH_TEST(relays_tell_when_they_are_left)
{
    struct fake_endpoint *endpoint = &world_w.endpoints[0];

    open_pair(3, 2);
    kith__relays_leave(endpoint->relays);
    KITH_CHECK(!kith__relays_is_left(endpoint->relays) && endpoint->left_news == 0);
    fake_run(&world_w, 100 * KITH_NS_PER_MS); /* a goodbye and its answer: not the limit */
    KITH_CHECK(kith__relays_is_left(endpoint->relays));
    KITH_CHECK_EQ(endpoint->left_news, 1);
    fake_world_close(&world_w);
}

KITH_TEST(relays_connection_survives_a_relay_that_only_pongs)
{
    int first;

    open_pair(3, 2);
    dial_and_beat(3, false);
    first = fake_path_in_use(&world_w, 0);
    world_w.relays[first].loses_data = true;
    check_goes_on(5 * KITH_NS_PER_S, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), 1 - first);
    fake_world_close(&world_w);
}

KITH_TEST(relays_only_one_that_comes_back_in_time_goes_on)
{
    open_pair(1, 1);
    dial_and_beat(1, false);
    fake_relay_stop(&world_w.relays[0]);
    fake_run(&world_w, 22 * KITH_NS_PER_S); /* with the reference this is the end: spec/04, 1.3 */
    fake_relay_start(&world_w.relays[0]);
    check_goes_on(4 * KITH_NS_PER_S, 26 * KITH_NS_PER_S);
    fake_world_close(&world_w);
}

KITH_TEST(relays_restart_is_hardly_noticed)
{
    open_pair(1, 1);
    dial_and_beat(1, false);
    for (int i = 0; i < 5; i++) {
        fake_relay_stop(&world_w.relays[0]);
        fake_relay_start(&world_w.relays[0]);
        fake_run(&world_w, 3 * KITH_NS_PER_S);
    }
    check_goes_on(KITH_NS_PER_S, KITH_NS_PER_S);
    fake_world_close(&world_w);
}

KITH_TEST(relays_denial_is_no_reason_to_knock_without_end)
{
    struct kith_relay_info info;

    fake_world_open(&world_w, 1, 1, NULL);
    world_w.relays[0].denies = true;
    KITH_CHECK_EQ(fake_endpoint_open(&world_w, 0, 1, false, kith_mem_default()), 0);
    fake_run(&world_w, 300 * KITH_NS_PER_S);
    kith__relay_info(kith__relays_home(world_w.endpoints[0].relays), &info);
    KITH_CHECK(info.is_denied && strstr(info.why, "not u") != NULL);
    KITH_CHECK(world_w.relays[0].accepted > 10 && world_w.relays[0].accepted < 40);
    world_w.relays[0].denies = false;
    KITH_CHECK(fake_until_online(&world_w, 0) < 33 * KITH_NS_PER_S);
    fake_relay_stop(&world_w.relays[0]);
    world_w.relays[0].status = 403;
    fake_relay_start(&world_w.relays[0]);
    fake_run(&world_w, 2 * KITH_NS_PER_S);
    kith__relay_info(kith__relays_home(world_w.endpoints[0].relays), &info);
    KITH_CHECK(info.is_denied && strstr(info.why, "403") != NULL);
    fake_world_close(&world_w);
}

KITH_TEST(relays_that_let_in_and_end_at_once_are_dialled_later_and_later)
{
    fake_world_open(&world_w, 1, 1, NULL);
    world_w.relays[0].drops = true;
    KITH_CHECK_EQ(fake_endpoint_open(&world_w, 0, 1, false, kith_mem_default()), 0);
    fake_run(&world_w, 300 * KITH_NS_PER_S);
    KITH_CHECK(world_w.relays[0].accepted > 10 && world_w.relays[0].accepted < 40);
    world_w.relays[0].drops = false;
    KITH_CHECK(fake_until_online(&world_w, 0) < 33 * KITH_NS_PER_S);
    fake_run(&world_w, 2 * KITH_NS_PER_S);
    fake_relay_stop(&world_w.relays[0]); /* a sound one: it is missed at once, and what was before is forgotten */
    fake_relay_start(&world_w.relays[0]);
    KITH_CHECK(fake_until_online(&world_w, 0) < KITH_NS_PER_S);
    fake_world_close(&world_w);
}

KITH_TEST(relays_third_one_takes_over_when_both_kept_ones_die)
{
    struct kith_relay_info info;
    int home, warm;

    fake_world_open(&world_w, 3, 1, NULL);
    KITH_CHECK_EQ(fake_endpoint_open(&world_w, 0, 7, false, kith_mem_default()), 0);
    KITH_CHECK(fake_until_online(&world_w, 0) < 300 * KITH_NS_PER_MS);
    fake_run(&world_w, 2 * KITH_NS_PER_S);
    KITH_CHECK(world_w.relays[0].probes == 1 && world_w.relays[1].probes == 1 && world_w.relays[2].probes == 1);
    home = home_of(0);
    kith__relay_info(kith__relays_warm(world_w.endpoints[0].relays), &info);
    warm = info.url[strlen(info.url) - 2] - '1';
    KITH_CHECK_EQ(world_w.relays[3 - home - warm].client_count, 0); /* two are enough */
    fake_relay_stop(&world_w.relays[home]);
    fake_run(&world_w, 20 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(home_of(0), warm);
    fake_relay_stop(&world_w.relays[warm]);
    fake_run(&world_w, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(home_of(0), 3 - home - warm);
    KITH_CHECK(kith__relay_is_fit(kith__relays_home(world_w.endpoints[0].relays)));
    fake_world_close(&world_w);
}

KITH_TEST(relays_nearest_one_becomes_home)
{
    fake_world_open(&world_w, 3, 1, NULL);
    kith__sim_host_up(world_w.relays[0].host)->delay_ns = 80 * KITH_NS_PER_MS;
    kith__sim_host_up(world_w.relays[1].host)->delay_ns = 40 * KITH_NS_PER_MS;
    KITH_CHECK_EQ(fake_endpoint_open(&world_w, 0, 7, false, kith_mem_default()), 0);
    fake_run(&world_w, 3 * KITH_NS_PER_S);
    KITH_CHECK_EQ(home_of(0), 2);
    kith__sim_host_up(world_w.relays[2].host)->delay_ns = 50 * KITH_NS_PER_MS; /* not worth a move */
    fake_run(&world_w, 310 * KITH_NS_PER_S);
    KITH_CHECK_EQ(home_of(0), 2);
    kith__sim_host_up(world_w.relays[2].host)->delay_ns = 300 * KITH_NS_PER_MS;
    fake_run(&world_w, 310 * KITH_NS_PER_S);
    KITH_CHECK_EQ(home_of(0), 1);
    fake_world_close(&world_w);
}

KITH_TEST(relays_of_others_are_dialled_on_demand_and_left_when_idle)
{
    struct kith_relays_stats stats;

    fake_world_open(&world_w, 2, 2, NULL);
    KITH_CHECK_EQ(fake_endpoint_open(&world_w, 0, 0, false, kith_mem_default()), 0); /* has none of its own */
    KITH_CHECK_EQ(fake_endpoint_open(&world_w, 1, 2, false, kith_mem_default()), 0);
    fake_until_online(&world_w, 1);
    dial_and_beat(2, false);
    KITH_CHECK_EQ(world_w.relays[1].client_count, 2);
    kith_quic_conn_close(world_w.endpoints[0].conn, 0, (struct kith_slice) { NULL, 0 }, kith__sim_now(world_w.sim));
    fake_run(&world_w, 50 * KITH_NS_PER_S);
    KITH_CHECK_EQ(world_w.relays[1].client_count, 2);
    fake_run(&world_w, 20 * KITH_NS_PER_S);
    KITH_CHECK_EQ(world_w.relays[1].client_count, 1);
    KITH_CHECK_EQ(world_w.relays[1].goodbyes, 1);
    fake_run(&world_w, 200 * KITH_NS_PER_S);
    kith__relays_stats(world_w.endpoints[0].relays, &stats);
    KITH_CHECK_EQ(stats.ways, 0);
    KITH_CHECK(kith__relays_next(world_w.endpoints[0].relays, NULL) == NULL); /* forgotten altogether */
    KITH_CHECK_EQ(stats.conns_closed, 1);
    KITH_CHECK(stats.bytes_sent > 1200);
    fake_world_close(&world_w);
}

KITH_TEST(relays_gone_endpoint_is_looked_for_elsewhere)
{
    uint8_t frame[33] = { KITH_RELAY_ENDPOINT_GONE };
    struct kith_id ids[2];
    int first;

    open_pair(3, 2);
    dial_and_beat(3, false);
    first = fake_path_in_use(&world_w, 0);
    for (size_t i = 0; i < 2; i++)
        ids[i] = kith_quic_host_id(kith__driver_host(world_w.endpoints[i].driver));
    world_w.relays[first].loses_data = true;
    memcpy(frame + 1, ids[1].bytes, sizeof ids[1].bytes);
    fake_send(fake_find(&world_w.relays[first], ids[0].bytes), frame, sizeof frame);
    check_goes_on(3 * KITH_NS_PER_S, 500 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(world_w.endpoints[0].gone_news, 1);
    KITH_CHECK_EQ(fake_path_in_use(&world_w, 0), 1 - first);
    fake_world_close(&world_w);
}

KITH_TEST(relays_restarting_frame_moves_home_before_the_end)
{
    static const uint8_t frame[9] = { KITH_RELAY_RESTARTING, 0, 0, 1, 0, 0, 0, 1, 0 };
    struct kith_id id;
    int home;

    open_pair(3, 2);
    home = home_of(0);
    id = kith_quic_host_id(kith__driver_host(world_w.endpoints[0].driver));
    fake_send(fake_find(&world_w.relays[home], id.bytes), frame, sizeof frame);
    fake_run(&world_w, 50 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(home_of(0), 1 - home);
    fake_world_close(&world_w);
}

KITH_TEST(relays_are_checked_when_the_network_changes)
{
    uint64_t pings;

    open_pair(1, 1);
    pings = world_w.relays[0].pings;
    KITH_CHECK_EQ(kith__sim_interface_set_addrs(world_w.endpoints[0].host, 0,
                                                &(struct kith_sockaddr) { { 10, 0, 1, 9 }, 0, 0, KITH_FAMILY_V4, 0 },
                                                1),
                  0);
    fake_run(&world_w, 2 * KITH_NS_PER_S);
    KITH_CHECK(world_w.relays[0].pings > pings || world_w.relays[0].accepted > 2);
    fake_until_online(&world_w, 0);
    fake_world_close(&world_w);
}

KITH_TEST(relays_survive_every_failed_allocation)
{
    struct kith_test_mem mem;
    int err = KITH_ERR_NOMEM;

    for (uint64_t n = 1; err != 0; n++) {
        kith__test_mem_init(&mem, n);
        fake_world_open(&world_w, 1, 1, &mem.mem);
        err = fake_endpoint_open(&world_w, 0, 1, false, &mem.mem);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        fake_world_close(&world_w);
        KITH_CHECK_EQ(mem.live, 0);
        KITH_CHECK(n < 1000);
    }
    for (uint64_t n = 1; n < 120; n += 2) { /* while it connects and runs: whatever fails, it gets there in the end */
        fake_world_open(&world_w, 1, 1, &mem.mem);
        kith__test_mem_init(&mem, 0);
        KITH_CHECK_EQ(fake_endpoint_open(&world_w, 0, 1, false, &mem.mem), 0);
        mem.fail_at = mem.calls + n;
        fake_until_online(&world_w, 0);
        fake_run(&world_w, 2 * KITH_NS_PER_S);
        fake_world_close(&world_w);
        KITH_CHECK_EQ(mem.live, 0);
    }
}

/* Whatever allocation fails while data flow through a relay that is replaced: the connection goes on, or ends in order. */
KITH_TEST(relays_connection_survives_every_failed_allocation)
{
    struct kith_test_mem mem;

    for (uint64_t n = 1; n < 200; n += 3) {
        kith__test_mem_init(&mem, 0);
        fake_world_open(&world_w, 2, 2, NULL);
        KITH_CHECK_EQ(fake_endpoint_open(&world_w, 1, 3, false, kith_mem_default()), 0);
        KITH_CHECK_EQ(fake_endpoint_open(&world_w, 0, 3, false, &mem.mem), 0);
        fake_until_online(&world_w, 0);
        fake_until_online(&world_w, 1);
        fake_run(&world_w, KITH_NS_PER_S);
        dial_and_beat(3, false);
        mem.fail_at = mem.calls + n;
        fake_relay_stop(&world_w.relays[fake_path_in_use(&world_w, 0)]);
        fake_run(&world_w, 3 * KITH_NS_PER_S);
        if (!world_w.endpoints[0].is_closed)
            KITH_CHECK(kith__sim_now(world_w.sim) - world_w.endpoints[0].last_echo_ns < 500 * KITH_NS_PER_MS);
        fake_world_close(&world_w);
        KITH_CHECK_EQ(mem.live, 0);
    }
}
