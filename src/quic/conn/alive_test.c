/* Paths that fall silent, come back, or are given up: when, by whom, and what it costs. */
#include "quic/conn/mp_rules.h"

static bool is_alive(int side, uint32_t id)
{
    return path_of(side, id) != NULL && kith__path_is_live(path_of(side, id));
}

/* ---- Given up for silence ---- */

KITH_TEST(alive_last_path_that_was_silent_for_long_is_not_exchanged_for_one_that_nobody_proved)
{
    start_ways(1, 0, false);
    block(0, true, true);
    block(1, true, true);
    kith__pair_run(&pair_m, 20 * KITH_NS_PER_S); /* longer than a path may be idle, if it is not the last */
    KITH_CHECK_EQ(open_way(1, false), 1);
    kith__pair_run(&pair_m, 2 * KITH_NS_PER_S);
    KITH_CHECK(is_alive(0, 0));
    block(0, false, false); /* the first way comes back, the other one never works */
    check_works("back on the first way");
    kith__pair_run(&pair_m, 25 * KITH_NS_PER_S);
    KITH_CHECK(!is_alive(0, 1));
    check_open("the other way was given up");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(alive_idle_time_counts_from_when_there_was_another_path)
{
    uint64_t from_ns;

    start_ways(1, 0, false);
    block(0, true, true);
    kith__pair_run(&pair_m, 20 * KITH_NS_PER_S);
    from_ns = pair_m.now_ns;
    KITH_CHECK_EQ(open_way(1, false), 1);
    while (is_alive(0, 0) && pair_m.now_ns < from_ns + 30 * KITH_NS_PER_S)
        kith__pair_step(&pair_m, pair_m.now_ns + KITH_NS_PER_S);
    KITH_CHECK(pair_m.now_ns > from_ns + 14 * KITH_NS_PER_S);
    KITH_CHECK(pair_m.now_ns < from_ns + 17 * KITH_NS_PER_S);
    check_works("a dead path is gone");
    kith__pair_dispose(&pair_m);
}

/** Each side hears on one way only, and not on the same one: what one side would give up is what the other one hears on. */
KITH_TEST(alive_two_paths_that_are_half_dead_crosswise_are_both_kept_until_one_answers)
{
    start_ways(1, 0, false);
    KITH_CHECK_EQ(open_way(1, false), 1);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    block(0, true, false);
    block(1, false, true);
    kith__pair_run(&pair_m, 20 * KITH_NS_PER_S);
    for (int side = 0; side < 2; side++)
        KITH_CHECK(is_alive(side, 0) && is_alive(side, 1));
    block(0, false, false);
    block(1, false, false);
    kith__pair_run(&pair_m, 5 * KITH_NS_PER_S);
    check_works("both ways are back");
    for (int side = 0; side < 2; side++)
        KITH_CHECK(is_alive(side, 0) && is_alive(side, 1));
    kith__pair_dispose(&pair_m);
}

/** Both ways were away for long, and fell silent in another order at each side; they come back in either order. */
KITH_TEST(alive_paths_that_were_all_away_are_never_given_up_crosswise)
{
    for (size_t first = 0; first < 3; first++) {
        struct kith_pair_config config = configured(8, 8);

        config.more_count = 1;
        config.more[0] = config.link;
        for (int side = 0; side < 2; side++)
            config.transport[side].idle_timeout_ns = 300 * KITH_NS_PER_S;
        rules_connect(&pair_m, &app_m, &config);
        KITH_CHECK_EQ(open_way(1, false), 1);
        kith__pair_run(&pair_m, KITH_NS_PER_S);
        kith__app_send(&pair_m, 0, false, 3000000);
        kith__app_send(&pair_m, 1, false, 3000000);
        block(0, true, false);
        block(1, false, true);
        kith__pair_run(&pair_m, 4 * KITH_NS_PER_S);
        block(0, true, true);
        block(1, true, true);
        kith__pair_run(&pair_m, 30 * KITH_NS_PER_S);
        for (size_t i = 0; i < 2; i++) { /* first = 2: both at once */
            block((first + i) % 2, false, false);
            if (first != 2)
                kith__pair_run(&pair_m, 100 * KITH_NS_PER_MS);
        }
        KITH_CHECK(kith__pair_run_until(&pair_m, app_is_done, 30 * KITH_NS_PER_S));
        KITH_CHECK_EQ(app_m.sides[1].read_total, 3000000);
        kith__pair_run(&pair_m, 5 * KITH_NS_PER_S);
        check_open("back again");
        KITH_CHECK(kith__multipath_live(&pair_m.sides[0].conn->mp) >= 1);
        KITH_CHECK_EQ(kith__multipath_live(&pair_m.sides[0].conn->mp), kith__multipath_live(&pair_m.sides[1].conn->mp));
        kith__pair_dispose(&pair_m);
    }
}

KITH_TEST(alive_idle_path_is_given_up_soon_after_its_time_when_another_one_answers)
{
    uint64_t from_ns;

    start_ways(1, 0, false);
    KITH_CHECK_EQ(open_way(1, false), 1);
    kith__pair_run(&pair_m, 3 * KITH_NS_PER_S);
    block(1, true, true);
    kith__pair_run(&pair_m, 100 * KITH_NS_PER_MS);
    from_ns = path_of(0, 1)->idle_from_ns;
    while (is_alive(0, 1) && pair_m.now_ns < from_ns + 60 * KITH_NS_PER_S) {
        kith__pair_step(&pair_m, pair_m.now_ns + KITH_NS_PER_S);
        if (is_alive(0, 1))
            from_ns = path_of(0, 1)->idle_from_ns;
    }
    KITH_CHECK(pair_m.now_ns - from_ns >= 15 * KITH_NS_PER_S);
    KITH_CHECK(pair_m.now_ns - from_ns < 15 * KITH_NS_PER_S + 300 * KITH_NS_PER_MS);
    check_works("one of two is gone");
    kith__pair_dispose(&pair_m);
}

/* ---- The last path, given up by the peer ---- */

KITH_TEST(alive_slow_network_has_longer_for_another_path_after_the_last_one)
{
    struct kith_pair_config config = configured(8, 8);
    uint64_t began_ns;

    config.link.delay_ns = 750 * KITH_NS_PER_MS; /* a round trip of 1.5 s */
    rules_connect(&pair_m, &app_m, &config);
    kith__pair_run(&pair_m, 10 * KITH_NS_PER_S);
    began_ns = pair_m.now_ns;
    inject_hex(0, KITH_LEVEL_DATA, "7e75 00 3e");
    kith__pair_run(&pair_m, 4400 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(pair_m.sides[1].seen[KITH_QUIC_CLOSED], 0);
    kith__pair_run(&pair_m, 10 * KITH_NS_PER_S);
    check_closed("no path is left", 1, KITH_WIRE_NO_VIABLE_PATH, NULL);
    KITH_CHECK(pair_m.now_ns - began_ns < 20 * KITH_NS_PER_S);
    kith__pair_dispose(&pair_m);
}

/* ---- Suspect: the oldest packet waits for too long ---- */

/** Two ways of that delay; the second is a backup. The search for the packet size is over then. */
static void start_with_backup(uint64_t delay_ms, uint64_t jitter_ms)
{
    struct kith_pair_config config = configured(8, 8);

    config.more_count = 1;
    config.link.delay_ns = delay_ms * KITH_NS_PER_MS;
    config.more[0] = config.link;
    config.link.jitter_ns = jitter_ms * KITH_NS_PER_MS;
    rules_connect(&pair_m, &app_m, &config);
    KITH_CHECK_EQ(open_way(1, true), 1);
    kith__pair_run(&pair_m, 3 * KITH_NS_PER_S);
}

/** The probe timeout of RFC 9002 counts from the last packet: it never comes as long as there is always another one. */
KITH_TEST(alive_a_trickle_on_a_dead_path_goes_on_elsewhere)
{
    uint64_t died_ns;

    start_with_backup(15, 0);
    for (int i = 0; i < 20; i++) {
        path_of(0, 0)->ping_wanted = true;
        kith__conn_touch(pair_m.sides[0].conn);
        kith__pair_run(&pair_m, 20 * KITH_NS_PER_MS);
    }
    KITH_CHECK(!kith__conn_is_silent(path_of(0, 0)));
    block(0, true, true);
    died_ns = pair_m.now_ns;
    while (!kith__conn_is_silent(path_of(0, 0)) && pair_m.now_ns < died_ns + 3 * KITH_NS_PER_S) {
        path_of(0, 0)->ping_wanted = true;
        kith__conn_touch(pair_m.sides[0].conn);
        kith__pair_run(&pair_m, 20 * KITH_NS_PER_MS);
    }
    KITH_CHECK(pair_m.now_ns - died_ns <= 240 * KITH_NS_PER_MS);
    check_works("on the backup");
    KITH_CHECK(path_of(0, 1)->stats.bytes_sent >= 100000);
    kith__pair_dispose(&pair_m);
}

/** The only path, or one beside others that do not answer, is never suspect: there is nowhere to go. */
KITH_TEST(alive_nothing_is_suspect_without_a_path_that_answers)
{
    start_with_backup(15, 0);
    block(0, true, true);
    block(1, true, true);
    kith_quic_conn_ping(pair_m.sides[0].conn, pair_m.now_ns);
    kith__pair_run(&pair_m, 5 * KITH_NS_PER_S);
    for (uint32_t id = 0; id < 2; id++)
        KITH_CHECK_EQ(kith__conn_suspect_deadline(pair_m.sides[0].conn, path_of(0, id)), KITH_NEVER);
    KITH_CHECK(path_of(0, 0)->suspected_ns == 0 || path_of(0, 1)->suspected_ns == 0);
    kith__pair_dispose(&pair_m);
    start_ways(0, 0, false);
    block(0, true, true);
    kith_quic_conn_ping(pair_m.sides[0].conn, pair_m.now_ns);
    kith__pair_run(&pair_m, 3 * KITH_NS_PER_S);
    KITH_CHECK_EQ(path_of(0, 0)->suspected_ns, 0);
    kith__pair_dispose(&pair_m);
}

/** Jitter of twice the round trip, and overtaking with it, is no reason to leave a path. */
KITH_TEST(alive_a_path_with_jitter_keeps_its_data)
{
    uint64_t before;

    start_with_backup(15, 60);
    before = path_of(0, 1)->stats.bytes_sent;
    kith__app_send(&pair_m, 0, false, 5000000);
    KITH_CHECK(kith__pair_run_until(&pair_m, app_is_done, 60 * KITH_NS_PER_S));
    KITH_CHECK_EQ(app_m.sides[1].read_total, 5000000);
    KITH_CHECK(path_of(0, 1)->stats.bytes_sent - before < 100000);
    kith__pair_dispose(&pair_m);
}

/** A pause longer than the patience costs a few copies, and the path is in use again with the first ACK that comes late. */
KITH_TEST(alive_a_pause_costs_copies_and_is_over_with_the_first_late_acknowledgement)
{
    uint64_t before;

    start_with_backup(75, 0);
    kith__app_send(&pair_m, 0, false, 40000000);
    kith__pair_run(&pair_m, 600 * KITH_NS_PER_MS);
    before = path_of(0, 1)->stats.bytes_sent;
    pair_m.config.link.delay_ns += 60 * KITH_NS_PER_MS;
    kith__pair_run(&pair_m, 160 * KITH_NS_PER_MS);
    pair_m.config.link.delay_ns -= 60 * KITH_NS_PER_MS;
    kith__pair_run(&pair_m, 140 * KITH_NS_PER_MS);
    KITH_CHECK(path_of(0, 0)->suspected_ns != 0);
    KITH_CHECK_EQ(path_of(0, 0)->loss.probe_timeouts, 0);
    KITH_CHECK(!kith__conn_is_silent(path_of(0, 0)));
    KITH_CHECK(path_of(0, 1)->stats.bytes_sent - before < 30000);
    KITH_CHECK(kith__pair_run_until(&pair_m, app_is_done, 60 * KITH_NS_PER_S));
    KITH_CHECK_EQ(app_m.sides[1].read_total, 40000000);
    kith__pair_dispose(&pair_m);
}

/* ---- A flow to us stops ---- */

static uint64_t pings_sent(void)
{
    return path_of(0, 0)->stats.packets_sent;
}

/** The client receives, and has nothing in flight: no timeout of its own would tell it before the next keep-alive. */
KITH_TEST(alive_a_receiver_asks_when_the_flow_to_it_stops)
{
    uint64_t died_ns, pto_ns;

    start_with_backup(15, 0);
    kith__app_send(&pair_m, 1, false, 400000);
    kith__pair_run(&pair_m, 80 * KITH_NS_PER_MS);
    block(0, true, true);
    pto_ns = kith__path_pto_ns(path_of(0, 0), pair_m.sides[0].conn->peer_delay_max_ns);
    died_ns = path_of(0, 0)->last_received_ns;
    KITH_CHECK(path_of(0, 0)->flow_count >= 16);
    KITH_CHECK_EQ(path_of(0, 0)->sent.eliciting, 0);
    while (!kith__conn_is_silent(path_of(0, 0)) && pair_m.now_ns < died_ns + 5 * KITH_NS_PER_S) {
        kith__pair_step(&pair_m, pair_m.now_ns + KITH_NS_PER_S);
        died_ns = KITH_MAX(died_ns, path_of(0, 0)->last_received_ns);
    }
    KITH_CHECK(pair_m.now_ns - died_ns <= 5 * pto_ns); /* 3 to ask, 1 to miss the answer */
    check_open("asked");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(alive_a_flow_that_ends_costs_one_ping_and_fewer_packets_none)
{
    static const struct {
        size_t size;
        uint64_t pings;
    } cases[] = { { 2000, 0 }, { 60000, 1 } };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        uint64_t before, deadline_ns;

        start_with_backup(15, 0);
        kith__app_send(&pair_m, 1, false, cases[i].size);
        kith__pair_run(&pair_m, 100 * KITH_NS_PER_MS); /* it is over, and acknowledged */
        before = pings_sent();
        deadline_ns = kith__conn_flow_deadline(pair_m.sides[0].conn, path_of(0, 0));
        KITH_CHECK_EQ(deadline_ns != KITH_NEVER, cases[i].pings != 0);
        kith__pair_run(&pair_m, 2 * KITH_NS_PER_S);
        KITH_CHECK_EQ(pings_sent() - before, cases[i].pings);
        KITH_CHECK(!kith__conn_is_silent(path_of(0, 0)));
        kith__pair_dispose(&pair_m);
    }
}
