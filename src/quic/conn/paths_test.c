/* Several paths between two hosts: opening, validating, carrying data, failing, going. See pair.h for the ways. */
#include "quic/conn/rules.h"

#include <stdio.h>

static struct kith_pair pair_p;
static struct kith_app app_p;

/** Iroh's defaults with multipath, and `ways` ways of `delay_ms` each. */
static void configure(struct kith_pair_config *config, size_t ways, uint64_t delay_ms)
{
    kith__pair_defaults(config);
    config->link.delay_ns = delay_ms * KITH_NS_PER_MS;
    config->more_count = ways - 1;
    for (size_t i = 0; i < ways - 1; i++)
        config->more[i] = config->link;
    for (int i = 0; i < 2; i++)
        config->transport[i].paths_max = 8;
}

static void start(size_t ways)
{
    struct kith_pair_config config;

    configure(&config, ways, 15);
    rules_connect(&pair_p, &app_p, &config);
}

static struct kith_quic_conn *conn_of(int side)
{
    return pair_p.sides[side].conn;
}

/** Opens the path over way `n`. */
static uint32_t open_path(size_t n, bool is_backup)
{
    struct kith_sockaddr any = { 0 }, server = kith__pair_server(&pair_p, n);
    uint32_t id = UINT32_MAX;

    KITH_CHECK_EQ(kith_quic_conn_path_open(conn_of(0), &any, &server, is_backup, pair_p.now_ns, &id), 0);
    return id;
}

static struct kith_quic_path_info info_of(int side, uint32_t id)
{
    struct kith_quic_path_info infos[KITH_PATH_IDS_MAX];
    size_t count = kith_quic_conn_paths(conn_of(side), infos, KITH_PATH_IDS_MAX);

    for (size_t i = 0; i < count; i++)
        if (infos[i].id == id)
            return infos[i];
    return (struct kith_quic_path_info) { .id = UINT32_MAX };
}

static bool is_open(uint32_t id)
{
    return info_of(0, id).is_validated && info_of(1, id).is_validated;
}

static bool server_ended(struct kith_pair *pair)
{
    return ((struct kith_app *)pair->config.user)->sides[1].ended_total != 0;
}

static bool client_ended(struct kith_pair *pair)
{
    return ((struct kith_app *)pair->config.user)->sides[0].ended_total != 0;
}

/* ---- Negotiation ---- */

KITH_TEST(paths_are_negotiated_and_ids_issued_for_all_of_them)
{
    start(1);
    for (int side = 0; side < 2; side++) {
        struct kith_quic_conn *conn = conn_of(side);

        KITH_CHECK(conn->mp.is_on);
        KITH_CHECK_EQ(kith__multipath_max(&conn->mp), 7);
        for (uint32_t id = 0; id <= 7; id++) {
            struct kith_conn_ids ids = kith__conn_ids(conn, id);

            KITH_CHECK(ids.theirs != NULL && kith__cid_theirs_active(ids.theirs) != NULL);
            KITH_CHECK_EQ(kith__cid_ours_wanted(ids.ours), 0);
            KITH_CHECK(ids.ours->slots[1].state == KITH_CID_KNOWN);
        }
        KITH_CHECK_EQ(info_of(side, 0).is_peer_backup, false);
        KITH_CHECK(kith__multipath_find(&conn->mp, 0)->peer_status_sequence != 0); /* announced */
    }
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_need_both_sides)
{
    for (int side = 0; side < 2; side++) {
        struct kith_pair_config config;
        struct kith_sockaddr any = { 0 };
        uint32_t id;

        configure(&config, 2, 15);
        config.transport[side].paths_max = 0;
        rules_connect(&pair_p, &app_p, &config);
        KITH_CHECK(!conn_of(0)->mp.is_on && !conn_of(1)->mp.is_on);
        KITH_CHECK(conn_of(0)->spares == NULL && conn_of(1)->spares == NULL);
        KITH_CHECK_EQ(kith_quic_conn_path_open(conn_of(0), &any, &pair_p.sides[1].outer, false, pair_p.now_ns, &id),
                      KITH_ERR_EXISTS);
        any.port = 1;
        KITH_CHECK_EQ(kith_quic_conn_path_open(conn_of(0), &any, &any, false, pair_p.now_ns, &id),
                      KITH_ERR_UNSUPPORTED);
        KITH_CHECK_EQ(kith_quic_conn_path_set_backup(conn_of(0), 0, true, pair_p.now_ns), KITH_ERR_UNSUPPORTED);
        KITH_CHECK_EQ(kith_quic_conn_path_close(conn_of(0), 0, 0, pair_p.now_ns), KITH_ERR_STATE);
        kith__pair_dispose(&pair_p);
    }
}

static void check_is_small(const char *when)
{
    for (int side = 0; side < 2; side++) {
        size_t size = rules_stats(&pair_p, side).memory_size;

        if (size > KITH_PAIR_IDLE_SIZE_MAX)
            fail_msg("%s, side %d: %zu bytes", when, side, size);
    }
}

KITH_TEST(paths_with_an_idle_connection_fit_into_16_kib)
{
    start(1);
    kith__pair_run(&pair_p, 3 * KITH_NS_PER_S);
    check_is_small("idle");
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_with_a_connection_fit_into_16_kib_again_after_it_was_busy)
{
    for (int echoer = 0; echoer < 2; echoer++) {
        struct kith_pair_config config;

        configure(&config, 1, 15);
        config.link.loss_permille = 20;
        config.transport[0].keep_alive_ns = config.transport[1].keep_alive_ns = 0; /* no packet helps */
        config.transport[0].idle_timeout_ns = 0;
        rules_connect(&pair_p, &app_p, &config);
        app_p.sides[echoer].echo = true;
        for (int i = 0; i < 40; i++)
            kith__app_send(&pair_p, 1 - echoer, true, 1 << 16);
        kith__pair_run(&pair_p, 20 * KITH_NS_PER_S);
        KITH_CHECK_EQ(app_p.sides[1 - echoer].ended_total, 40);
        check_is_small("after 40 streams");
        KITH_CHECK_EQ(kith_quic_host_deadline(pair_p.sides[0].host) <= pair_p.now_ns, false);
        kith__pair_dispose(&pair_p);
    }
}

/* ---- Opening and using ---- */

KITH_TEST(paths_opened_by_the_client_are_validated_by_both_sides)
{
    uint32_t id;

    start(2);
    id = open_path(1, false);
    KITH_CHECK_EQ(id, 1);
    kith__pair_run(&pair_p, 200 * KITH_NS_PER_MS);
    KITH_CHECK(is_open(1));
    for (int side = 0; side < 2; side++) {
        KITH_CHECK_EQ(pair_p.sides[side].seen[KITH_QUIC_PATH_OPENED], 1);
        KITH_CHECK_EQ(pair_p.sides[side].seen[KITH_QUIC_PATH_VALIDATED], 1);
        KITH_CHECK_EQ(pair_p.sides[side].last[KITH_QUIC_PATH_VALIDATED].path, 1);
    }
    KITH_CHECK_EQ(info_of(1, 1).local.port, pair_p.sides[1].inner.port + 1);
    KITH_CHECK(info_of(0, 1).rtt_ns >= 30 * KITH_NS_PER_MS && info_of(0, 1).rtt_ns < 40 * KITH_NS_PER_MS);
    kith__pair_run(&pair_p, 3 * KITH_NS_PER_S);
    KITH_CHECK_EQ(info_of(0, 1).udp_size, 1452);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_a_server_opens_none_and_a_client_no_path_twice)
{
    struct kith_sockaddr any = { 0 }, to;
    uint32_t id = 77;

    start(3);
    to = kith__pair_server(&pair_p, 1);
    KITH_CHECK_EQ(kith_quic_conn_path_open(conn_of(1), &any, &to, false, pair_p.now_ns, &id), KITH_ERR_PERMISSION);
    open_path(1, false);
    KITH_CHECK_EQ(kith_quic_conn_path_open(conn_of(0), &any, &to, false, pair_p.now_ns, &id), KITH_ERR_EXISTS);
    KITH_CHECK_EQ(id, 77);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_data_go_on_available_ones_before_backups)
{
    uint64_t before[2];

    start(2);
    open_path(1, false);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    KITH_CHECK_EQ(kith_quic_conn_path_set_backup(conn_of(0), 0, true, pair_p.now_ns), 0);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    KITH_CHECK(info_of(0, 0).is_backup && info_of(1, 0).is_peer_backup && !info_of(1, 0).is_backup);
    before[0] = info_of(0, 0).bytes_sent;
    before[1] = info_of(0, 1).bytes_sent;
    kith__app_send(&pair_p, 0, false, 1000000);
    KITH_CHECK(kith__pair_run_until(&pair_p, server_ended, 20 * KITH_NS_PER_S));
    KITH_CHECK(info_of(0, 1).bytes_sent - before[1] >= 1000000);
    KITH_CHECK(info_of(0, 0).bytes_sent - before[0] < 5000);
    KITH_CHECK(info_of(0, 1).udp_size > 1200);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_backups_are_idle_while_an_available_one_is_only_blocked)
{
    start(2);
    open_path(1, true);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    KITH_CHECK(info_of(1, 1).is_peer_backup); /* announced with its validation */
    kith__app_send(&pair_p, 0, false, 1000000);
    KITH_CHECK(kith__pair_run_until(&pair_p, server_ended, 20 * KITH_NS_PER_S));
    KITH_CHECK(info_of(0, 1).bytes_sent < 10000);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_an_unvalidated_path_carries_no_data)
{
    start(2);
    pair_p.config.more[0].blocked[1] = true; /* the server's answers do not come through */
    open_path(1, false);
    KITH_CHECK_EQ(kith_quic_conn_path_set_backup(conn_of(0), 0, true, pair_p.now_ns), 0);
    kith__app_send(&pair_p, 0, false, 300000);
    KITH_CHECK(kith__pair_run_until(&pair_p, server_ended, 20 * KITH_NS_PER_S));
    KITH_CHECK(!info_of(0, 1).is_validated);
    KITH_CHECK(info_of(0, 1).bytes_sent < 10 * 1200);
    KITH_CHECK(pair_p.sides[0].seen[KITH_QUIC_PATH_VALIDATED] == 0);
    kith__pair_dispose(&pair_p);
}

/** A quick way, a slow one that loses packets, and one with jitter and smaller packets. */
static void start_three_kinds(uint64_t seed)
{
    struct kith_pair_config config;

    configure(&config, 3, 10);
    config.seed = seed;
    config.more[0].delay_ns = 60 * KITH_NS_PER_MS;
    config.more[0].loss_permille = 30;
    config.more[1].jitter_ns = 20 * KITH_NS_PER_MS;
    config.more[1].size_max = 1300;
    for (int i = 0; i < 2; i++)
        config.transport[i].schedule = KITH_QUIC_SCHEDULE_SPREAD;
    rules_connect(&pair_p, &app_p, &config);
    open_path(1, false);
    open_path(2, false);
    kith__pair_run(&pair_p, 5 * KITH_NS_PER_S); /* a lost challenge costs a second */
    KITH_CHECK(is_open(1) && is_open(2));
}

/**
 * What spreading owes to each of them. A packet on the slow way is on it for 60 ms; on the others it would arrive after 10 to
 * 40 ms, however full their windows are. So the slow one is chosen only while both others are blocked: that is at the very
 * beginning, when there is more to send than all windows together hold and it gets its whole window, and later now and then;
 * after a loss it may get no more. The windows of the others grow six times as often.
 */
KITH_TEST(paths_both_directions_over_three_ways_of_different_kinds)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct kith_quic_path_info before[2][3];
        uint64_t sent[3];

        start_three_kinds(seed);
        for (uint32_t id = 0; id < 3; id++)
            for (int side = 0; side < 2; side++)
                before[side][id] = info_of(side, id);
        app_p.sides[1].echo = true;
        kith__app_send(&pair_p, 0, true, 3000000);
        KITH_CHECK(kith__pair_run_until(&pair_p, client_ended, KITH_NS_PER_S));
        KITH_CHECK_EQ(app_p.sides[0].read_total, 3000000);
        for (int side = 0; side < 2; side++) {
            for (uint32_t id = 0; id < 3; id++) {
                sent[id] = info_of(side, id).bytes_sent - before[side][id].bytes_sent;
                if (sent[id] + 1452 < before[side][id].congestion_window) /* the last packet may not have fitted */
                    fail_msg("seed %d, side %d: %d bytes on path %d", (int)seed, side, (int)sent[id], (int)id);
            }
            KITH_CHECK(sent[0] > sent[2] && sent[2] > sent[1]);
        }
        kith__pair_dispose(&pair_p);
    }
}

KITH_TEST(paths_keep_their_keys_in_step_over_updates)
{
    struct kith_pair_config config;

    configure(&config, 2, 15);
    config.transport[0].key_update_after = 60;
    config.transport[0].schedule = KITH_QUIC_SCHEDULE_SPREAD;
    rules_connect(&pair_p, &app_p, &config);
    open_path(1, false);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    kith__app_send(&pair_p, 0, false, 3000000);
    KITH_CHECK(kith__pair_run_until(&pair_p, server_ended, 60 * KITH_NS_PER_S));
    KITH_CHECK(rules_stats(&pair_p, 0).key_updates >= 5);
    KITH_CHECK(info_of(0, 0).bytes_sent > 500000 && info_of(0, 1).bytes_sent > 500000);
    KITH_CHECK(info_of(0, 0).packets_lost + info_of(0, 1).packets_lost == 0);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_a_rebinding_moves_one_of_them)
{
    start(2);
    open_path(1, false);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    kith__app_send(&pair_p, 0, false, 2000000);
    kith__pair_run(&pair_p, 100 * KITH_NS_PER_MS);
    kith__pair_rebind(&pair_p, 0); /* all paths come from the new port: each follows by itself */
    KITH_CHECK(kith__pair_run_until(&pair_p, server_ended, 60 * KITH_NS_PER_S));
    kith__pair_run(&pair_p, 10 * KITH_NS_PER_S);
    KITH_CHECK(is_open(0) && is_open(1));
    KITH_CHECK_EQ(info_of(1, 0).remote.port, pair_p.sides[0].outer.port);
    KITH_CHECK_EQ(info_of(1, 1).remote.port, pair_p.sides[0].outer.port);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_that_begin_before_ids_for_the_way_back_wait_for_them)
{
    struct kith_conn_ids ids;

    start(2);
    ids = kith__conn_ids(conn_of(1), 1);
    kith__cid_theirs_forget(ids.theirs); /* as if the client's frames had not come yet */
    conn_of(0)->peer_cids_max = KITH_CONN_SPARE_CIDS;
    open_path(1, false);
    kith__pair_run(&pair_p, 200 * KITH_NS_PER_MS);
    KITH_CHECK(!info_of(0, 1).is_validated);
    KITH_CHECK_EQ(kith__multipath_find(&conn_of(1)->mp, 1)->cids_blocked, KITH_INTENT_ACKED);
    {
        struct kith_cid_issue issue = { .sequence = 9, .cid = kith__conn_path(conn_of(0), 1)->cids_ours.slots[0].cid };
        bool changed;

        KITH_CHECK_EQ(kith__cid_theirs_on_issue(&kith__conn_path(conn_of(1), 1)->cids_theirs, &issue, &changed), 0);
    }
    kith__pair_run(&pair_p, 3 * KITH_NS_PER_S);
    KITH_CHECK(is_open(1));
    kith__pair_dispose(&pair_p);
}

/* ---- Failing ---- */

/** How long the application at `to` waits when way 0 dies in mid-transfer, both directions or one. */
static uint64_t time_to_recover(uint64_t delay_ms, int from, bool one_way)
{
    struct kith_pair_config config;
    uint64_t died_ns, read;

    configure(&config, 2, delay_ms);
    rules_connect(&pair_p, &app_p, &config);
    open_path(1, true);
    kith__pair_run(&pair_p, 3 * KITH_NS_PER_S);
    kith__app_send(&pair_p, from, false, 40000000);
    kith__pair_run(&pair_p,
                   12 * delay_ms * KITH_NS_PER_MS); /* six round trips: the window grows, the transfer goes on */
    pair_p.config.link.blocked[from] = true;
    pair_p.config.link.blocked[1 - from] = !one_way;
    kith__pair_run(&pair_p, delay_ms * KITH_NS_PER_MS);
    died_ns = pair_p.now_ns;
    read = app_p.sides[1 - from].read_total;
    while (app_p.sides[1 - from].read_total == read && pair_p.now_ns < died_ns + 10 * KITH_NS_PER_S)
        kith__pair_run(&pair_p, KITH_NS_PER_MS);
    died_ns = pair_p.now_ns - died_ns;
    KITH_CHECK(kith__pair_run_until(&pair_p, from == 0 ? server_ended : client_ended, 60 * KITH_NS_PER_S));
    KITH_CHECK_EQ(app_p.sides[1 - from].read_total, 40000000);
    kith__pair_dispose(&pair_p);
    return died_ns;
}

/**
 * A sender needs a round trip to miss an answer, and what it then sends elsewhere half of one; the receiver heard the first
 * half of that. If acknowledgements died as well, the sender cannot know what arrived and begins with that: the receiver tells
 * it on the other path, which is another half. On top comes a margin for jitter; no path is suspect before 200 ms.
 */
KITH_TEST(paths_a_dead_path_costs_a_round_trip_and_a_half_at_most)
{
    static const uint64_t delays_ms[] = { 5, 15, 50, 100, 150, 175, 200, 250 };

    for (size_t i = 0; i < KITH_COUNT(delays_ms); i++)
        for (int way = 0; way < 4; way++) {
            uint64_t took_ms = time_to_recover(delays_ms[i], way % 2, way / 2 != 0) / KITH_NS_PER_MS;
            uint64_t rtt_ms = 2 * delays_ms[i];

            printf("round trip %d ms, way %d: %d ms\n", (int)rtt_ms, way, (int)took_ms);
            if (took_ms > KITH_MAX(250, rtt_ms + rtt_ms / 2) + 50)
                fail_msg("round trip %d ms, way %d: %d ms", (int)rtt_ms, way, (int)took_ms);
        }
}

/** A peer that acknowledges whatever it receives on path 0, as the reference may: that is where it sends its own data. */
static bool acknowledge_on_path_0(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    struct kith_path *path = pair->sides[1].conn != NULL ? kith__conn_path(pair->sides[1].conn, 1) : NULL;

    (void)sender, (void)bytes, (void)size;
    if (path != NULL && pair->sides[1].conn->paths[0]->id == 0) {
        path->is_ack_moved = true;
        pair->sides[1].conn->paths[0]->silent_ns = 0; /* and it notices nothing */
    }
    return true;
}

KITH_TEST(paths_that_swallow_the_acknowledgements_of_others_are_abandoned)
{
    struct kith_pair_config config;
    uint64_t died_ns, read;

    configure(&config, 2, 15);
    config.tap = acknowledge_on_path_0;
    rules_connect(&pair_p, &app_p, &config);
    open_path(1, true);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    kith__app_send(&pair_p, 0, false, 20000000);
    kith__pair_run(&pair_p, 180 * KITH_NS_PER_MS);
    pair_p.config.link.blocked[0] = pair_p.config.link.blocked[1] = true;
    kith__pair_run(&pair_p, 500 * KITH_NS_PER_MS);
    died_ns = pair_p.now_ns;
    read = app_p.sides[1].read_total;
    KITH_CHECK(!server_ended(&pair_p));
    KITH_CHECK(kith__pair_run_until(&pair_p, server_ended, 10 * KITH_NS_PER_S));
    KITH_CHECK(app_p.sides[1].read_total > read && pair_p.now_ns - died_ns < 5 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_p.sides[0].last[KITH_QUIC_PATH_ABANDONED].path, 0);
    KITH_CHECK_EQ(pair_p.sides[0].last[KITH_QUIC_PATH_ABANDONED].code, KITH_WIRE_PATH_UNSTABLE_OR_POOR);
    KITH_CHECK_EQ(pair_p.sides[0].last[KITH_QUIC_PATH_ABANDONED].cause, KITH_QUIC_CAUSE_MUTE);
    KITH_CHECK(is_open(1));
    kith__pair_dispose(&pair_p);
}

/** And which uses no other path than the first as long as that is there, whether it is answered or not, but to answer challenges. */
static bool stay_on_path_0(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    struct kith_quic_conn *server = pair->sides[1].conn;
    struct kith_path *path = server != NULL ? kith__conn_path(server, 1) : NULL;
    struct kith_cid cid;
    bool stays;

    if (path == NULL || !path->was_told_proved)
        return true;
    stays = server->paths[0]->id == 0 && kith__path_is_live(server->paths[0]);
    path->was_proved = !stays;
    cid = kith__cid(bytes + 1, 8);
    if (stays && sender == 1 && *size < 1000 &&
        kith__cid_ours_find(&kith__conn_path(pair->sides[0].conn, 1)->cids_ours, &cid) != UINT64_MAX)
        return false;
    return acknowledge_on_path_0(pair, sender, bytes, size);
}

/** The peer sends, and goes on sending into the hole: only the receiver can put an end to it. */
KITH_TEST(paths_that_a_sender_does_not_leave_are_abandoned_by_the_receiver)
{
    struct kith_pair_config config;
    uint64_t died_ns;

    configure(&config, 2, 15);
    config.tap = stay_on_path_0;
    rules_connect(&pair_p, &app_p, &config);
    open_path(1, true);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    KITH_CHECK_EQ(kith_quic_conn_path_set_backup(conn_of(1), 1, true, pair_p.now_ns), 0);
    kith__app_send(&pair_p, 1, false, 400000); /* below the client's window: it sends nothing but ACKs */
    kith__pair_run(&pair_p, 80 * KITH_NS_PER_MS);
    pair_p.config.link.blocked[0] = pair_p.config.link.blocked[1] = true;
    died_ns = pair_p.now_ns;
    KITH_CHECK(!client_ended(&pair_p));
    KITH_CHECK(kith__pair_run_until(&pair_p, client_ended, 10 * KITH_NS_PER_S));
    printf("received all %d ms after the path died\n", (int)((pair_p.now_ns - died_ns) / KITH_NS_PER_MS));
    KITH_CHECK(pair_p.now_ns - died_ns < 1500 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(pair_p.sides[0].last[KITH_QUIC_PATH_ABANDONED].path, 0);
    KITH_CHECK(!pair_p.sides[0].last[KITH_QUIC_PATH_ABANDONED].by_peer);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_that_answer_again_are_used_again)
{
    uint64_t before;

    start(2);
    open_path(1, true);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    kith__app_send(&pair_p, 0, false, 400000000);
    kith__pair_run(&pair_p, 200 * KITH_NS_PER_MS);
    pair_p.config.link.blocked[0] = pair_p.config.link.blocked[1] = true;
    kith__pair_run(&pair_p, 3 * KITH_NS_PER_S);
    KITH_CHECK(info_of(0, 0).is_silent && !info_of(0, 1).is_silent);
    pair_p.config.link.blocked[0] = pair_p.config.link.blocked[1] = false;
    kith__pair_run(&pair_p, 3 * KITH_NS_PER_S);
    KITH_CHECK(!info_of(0, 0).is_silent);
    before = info_of(0, 1).bytes_sent;
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    KITH_CHECK(info_of(0, 1).bytes_sent - before < 20000);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_without_a_sign_of_life_are_abandoned)
{
    start(2);
    open_path(1, false);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    pair_p.config.more[0].blocked[0] = pair_p.config.more[0].blocked[1] = true;
    kith__pair_run(&pair_p, 25 * KITH_NS_PER_S);
    for (int side = 0; side < 2; side++) {
        KITH_CHECK_EQ(pair_p.sides[side].seen[KITH_QUIC_PATH_ABANDONED], 1);
        KITH_CHECK_EQ(pair_p.sides[side].last[KITH_QUIC_PATH_ABANDONED].path, 1);
        KITH_CHECK_EQ(pair_p.sides[side].last[KITH_QUIC_PATH_ABANDONED].code, KITH_WIRE_PATH_UNSTABLE_OR_POOR);
        KITH_CHECK(pair_p.sides[side].last[KITH_QUIC_PATH_ABANDONED].was_validated);
        KITH_CHECK_EQ(pair_p.sides[side].last[KITH_QUIC_PATH_ABANDONED].cause,
                      side == 0 ? KITH_QUIC_CAUSE_SILENT : KITH_QUIC_CAUSE_PEER); /* the client was first */
        KITH_CHECK(kith_quic_conn_is_established(conn_of(side)));
        KITH_CHECK_EQ(info_of(side, 1).id, UINT32_MAX);
    }
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_that_are_never_validated_are_given_up)
{
    start(2);
    pair_p.config.more[0].blocked[0] = true;
    open_path(1, false);
    kith__pair_run(&pair_p, 20 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_p.sides[0].seen[KITH_QUIC_PATH_ABANDONED], 1);
    KITH_CHECK(!pair_p.sides[0].last[KITH_QUIC_PATH_ABANDONED].was_validated);
    KITH_CHECK(!pair_p.sides[0].last[KITH_QUIC_PATH_ABANDONED].by_peer);
    KITH_CHECK_EQ(pair_p.sides[0].last[KITH_QUIC_PATH_ABANDONED].cause, KITH_QUIC_CAUSE_UNANSWERED);
    KITH_CHECK_EQ(conn_of(1)->mp.local_max, 8); /* the id is used up all the same: the next one takes its turn */
    KITH_CHECK_EQ(open_path(1, false), 2);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_an_idle_pair_stays_open)
{
    start(3);
    open_path(1, false);
    open_path(2, true);
    kith__pair_run(&pair_p, 300 * KITH_NS_PER_S);
    KITH_CHECK(is_open(0) && is_open(1) && is_open(2));
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_all_go_on_from_another_local_address)
{
    struct kith_sockaddr local;

    start(2);
    open_path(1, false);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    local = pair_p.sides[0].inner;
    local.port = (uint16_t)(local.port + 7);
    KITH_CHECK_EQ(kith_quic_conn_migrate(conn_of(0), &local, pair_p.now_ns), 0);
    kith__app_send(&pair_p, 0, false, 300000);
    KITH_CHECK(kith__pair_run_until(&pair_p, server_ended, 20 * KITH_NS_PER_S));
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    for (uint32_t id = 0; id < 2; id++) {
        struct kith_cid_theirs *theirs = &kith__conn_path(conn_of(0), id)->cids_theirs;

        KITH_CHECK(is_open(id));
        KITH_CHECK_EQ(info_of(1, id).remote.port, pair_p.sides[0].outer.port + 7);
        KITH_CHECK(theirs->retired_count == 0 && theirs->retired == NULL); /* the old ids were retired */
    }
    kith__pair_dispose(&pair_p);
}

/* ---- Going ---- */

KITH_TEST(paths_closed_by_either_side_are_gone_on_both_and_tell_why)
{
    for (int side = 0; side < 2; side++) {
        start(2);
        open_path(1, false);
        kith__pair_run(&pair_p, KITH_NS_PER_S);
        KITH_CHECK_EQ(kith_quic_conn_path_close(conn_of(side), 1, 0x3e, pair_p.now_ns), 0);
        KITH_CHECK_EQ(kith_quic_conn_path_close(conn_of(side), 1, 0x3e, pair_p.now_ns), KITH_ERR_NOT_FOUND);
        kith__pair_run(&pair_p, 3 * KITH_NS_PER_S);
        for (int i = 0; i < 2; i++) {
            KITH_CHECK_EQ(pair_p.sides[i].seen[KITH_QUIC_PATH_ABANDONED], 1);
            KITH_CHECK_EQ(pair_p.sides[i].last[KITH_QUIC_PATH_ABANDONED].code, 0x3e);
            KITH_CHECK_EQ(pair_p.sides[i].last[KITH_QUIC_PATH_ABANDONED].by_peer, i != side);
            KITH_CHECK_EQ(pair_p.sides[i].last[KITH_QUIC_PATH_ABANDONED].cause,
                          i == side ? KITH_QUIC_CAUSE_USER : KITH_QUIC_CAUSE_PEER);
            KITH_CHECK_EQ(conn_of(i)->path_count, 1);
            KITH_CHECK_EQ(conn_of(i)->mp.local_max, 8);
            KITH_CHECK_EQ(conn_of(i)->mp.remote_max, 8);
        }
        kith__pair_dispose(&pair_p);
    }
}

KITH_TEST(paths_path_0_may_go_and_the_last_one_may_not)
{
    start(2);
    KITH_CHECK_EQ(kith_quic_conn_path_close(conn_of(0), 0, 0, pair_p.now_ns), KITH_ERR_STATE);
    open_path(1, false);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    kith__app_send(&pair_p, 0, true, 3000000);
    kith__pair_run(&pair_p, 100 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith_quic_conn_path_close(conn_of(0), 0, 0x3e, pair_p.now_ns), 0);
    KITH_CHECK_EQ(kith_quic_conn_path_close(conn_of(0), 1, 0x3e, pair_p.now_ns), KITH_ERR_STATE);
    KITH_CHECK(kith__pair_run_until(&pair_p, server_ended, 10 * KITH_NS_PER_S)); /* what was in flight was not lost */
    kith__pair_run(&pair_p, 60 * KITH_NS_PER_S);
    KITH_CHECK_EQ(info_of(0, 0).id, UINT32_MAX);
    KITH_CHECK(is_open(1));
    kith_quic_conn_close(conn_of(0), 5, (struct kith_slice) { (const uint8_t *)"bye", 3 }, pair_p.now_ns);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_p.sides[1].closed.code, 5);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_of_a_hundred_generations_leave_nothing_behind)
{
    size_t memory = 0;

    start(2);
    for (uint32_t n = 1; n <= 100; n++) {
        KITH_CHECK_EQ(open_path(1, false), n);
        kith__pair_run(&pair_p, 200 * KITH_NS_PER_MS);
        KITH_CHECK(is_open(n));
        KITH_CHECK_EQ(kith_quic_conn_path_close(conn_of((int)n % 2), n, 0x3e, pair_p.now_ns), 0);
        kith__pair_run(&pair_p, 500 * KITH_NS_PER_MS);
        if (n == 10)
            memory = rules_stats(&pair_p, 0).memory_size;
    }
    KITH_CHECK_EQ(conn_of(0)->mp.local_max, 107);
    KITH_CHECK(rules_stats(&pair_p, 0).memory_size < memory + 1024);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_more_than_the_peer_allows_must_wait)
{
    struct kith_sockaddr any = { 0 }, to;
    uint32_t id;

    start(8);
    for (size_t n = 1; n < 8; n++)
        open_path(n, true);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    for (uint32_t n = 0; n < 8; n++)
        KITH_CHECK(is_open(n));
    to = kith__pair_server(&pair_p, 9);
    KITH_CHECK_EQ(kith_quic_conn_path_open(conn_of(0), &any, &to, false, pair_p.now_ns, &id), KITH_ERR_AGAIN);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    KITH_CHECK_EQ(conn_of(0)->mp.paths_blocked, KITH_INTENT_ACKED);
    KITH_CHECK_EQ(kith_quic_conn_path_close(conn_of(0), 3, 0x3e, pair_p.now_ns), 0);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    KITH_CHECK(pair_p.sides[0].seen[KITH_QUIC_PATHS_AVAILABLE] >= 1);
    KITH_CHECK_EQ(open_path(3, false), 8);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    KITH_CHECK(is_open(8));
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_when_the_peer_abandons_the_last_one_the_connection_ends)
{
    static const uint8_t abandon[] = { 0x7e, 0x75, 0x00, 0x3e };

    start(1);
    rules_inject(&pair_p, 0, KITH_LEVEL_DATA, abandon, sizeof abandon);
    kith__pair_run(&pair_p, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_p.sides[1].seen[KITH_QUIC_CLOSED], 0);
    kith__pair_run(&pair_p, 3 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_p.sides[1].seen[KITH_QUIC_CLOSED], 1);
    KITH_CHECK_EQ(pair_p.sides[1].closed.code, KITH_WIRE_NO_VIABLE_PATH);
    kith__pair_dispose(&pair_p);
}

KITH_TEST(paths_reset_tokens_of_abandoned_ones_mean_nothing)
{
    uint8_t datagram[60] = { 0x40 }, token[16];
    struct kith_quic_received received = { .bytes = datagram, .size = sizeof datagram };

    start(2);
    open_path(1, false);
    kith__pair_run(&pair_p, KITH_NS_PER_S);
    memcpy(token, kith__cid_theirs_active_token(&kith__conn_path(conn_of(0), 1)->cids_theirs), 16);
    KITH_CHECK_EQ(kith_quic_conn_path_close(conn_of(0), 1, 0x3e, pair_p.now_ns), 0);
    memcpy(datagram + 1, conn_of(0)->paths[0]->cids_ours.slots[0].cid.bytes, 8);
    memcpy(datagram + sizeof datagram - 16, token, 16);
    received.local = pair_p.sides[0].inner;
    received.remote = kith__pair_server(&pair_p, 1);
    kith_quic_host_receive(pair_p.sides[0].host, &received, pair_p.now_ns);
    KITH_CHECK(kith_quic_conn_is_established(conn_of(0)));
    kith__pair_dispose(&pair_p);
}
