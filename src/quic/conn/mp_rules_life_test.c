/* Paths that end, and frames that come too late, too early or by the wrong way: spec/01, 1.5, 4.4, 4.6, 4.8 and 10. */
#include "quic/conn/mp_rules.h"

/** Path 1 was opened and given up by the client, and nothing is kept of it on either side. */
static void start_with_a_past(void)
{
    uint32_t id;

    start(8, 8);
    id = open_path();
    KITH_CHECK_EQ(kith_quic_conn_path_close(pair_m.sides[0].conn, id, 0x3e, pair_m.now_ns), 0);
    kith__pair_run(&pair_m, 10 * KITH_NS_PER_S);
    for (int side = 0; side < 2; side++) {
        KITH_CHECK(kith__conn_path(pair_m.sides[side].conn, id) == NULL);
        KITH_CHECK(kith__multipath_find(&pair_m.sides[side].conn->mp, id) == NULL);
        KITH_CHECK_EQ(pair_m.sides[side].conn->mp.local_max, 8);
        KITH_CHECK_EQ(pair_m.sides[side].conn->mp.remote_max, 8);
    }
}

KITH_TEST(mp_rules_frames_for_a_path_of_the_past_are_ignored)
{
    static const char *const frames[] = {
        "3e 01 00 00 00 00",
        "3e 01 7fff 00 00 00",
        "3f 01 00 00 00 00 00 00 00",
        "7e75 01 3e",
        "7e76 01 09",
        "7e78 01 05 00 08 4102030405060708 00112233445566778899aabbccddee41",
        "7e78 01 00 00 08 4102030405060708 00112233445566778899aabbccddee41",
        "7e79 01 00",
        "7e7c 01 3f",
    };

    for (int from = 0; from < 2; from++)
        for (size_t i = 0; i < KITH_COUNT(frames); i++) {
            start_with_a_past();
            inject_hex(from, KITH_LEVEL_DATA, frames[i]);
            KITH_CHECK_EQ(pair_m.sides[1 - from].conn->mp.local_max, 8);
            check_works(frames[i]);
            kith__pair_dispose(&pair_m);
        }
}

KITH_TEST(mp_rules_the_limit_that_grew_is_the_one_that_counts)
{
    for (int from = 0; from < 2; from++) {
        start_with_a_past();
        inject_hex(from, KITH_LEVEL_DATA, "7e7b 08");
        check_works("PATHS_BLOCKED at the new limit");
        inject_hex(from, KITH_LEVEL_DATA, "7e7b 09");
        kith__pair_flush(&pair_m);
        check_closed("PATHS_BLOCKED above it", 1 - from, KITH_WIRE_PROTOCOL_VIOLATION, NULL);
        kith__pair_dispose(&pair_m);
    }
}

/** A datagram that ends with a reset token, from the server to the client. */
static void give_reset(const uint8_t token[KITH_RESET_TOKEN_SIZE])
{
    uint8_t datagram[60];

    memset(datagram, 0x55, sizeof datagram);
    memcpy(datagram + sizeof datagram - KITH_RESET_TOKEN_SIZE, token, KITH_RESET_TOKEN_SIZE);
    rules_give(&pair_m, 0, datagram, sizeof datagram, pair_m.sides[1].outer.port);
    kith__pair_flush(&pair_m);
}

static void token_of(uint32_t path, uint8_t token[KITH_RESET_TOKEN_SIZE])
{
    const uint8_t *found = kith__cid_theirs_active_token(&kith__conn_path(pair_m.sides[0].conn, path)->cids_theirs);

    KITH_CHECK(found != NULL);
    memcpy(token, found, KITH_RESET_TOKEN_SIZE);
}

KITH_TEST(mp_rules_reset_token_of_a_path_given_up_ends_nothing)
{
    for (int closer = 0; closer < 2; closer++) {
        uint8_t token[KITH_RESET_TOKEN_SIZE];
        uint32_t id;

        start(8, 8);
        id = open_path();
        token_of(id, token);
        KITH_CHECK_EQ(kith_quic_conn_path_close(pair_m.sides[closer].conn, id, 0x3e, pair_m.now_ns), 0);
        if (closer == 1)
            kith__pair_run(&pair_m, 20 * KITH_NS_PER_MS); /* the client hears of it, and the path drains */
        give_reset(token);                                /* else at once, before the server has answered */
        check_works("reset for a path given up");
        token_of(0, token);
        give_reset(token);
        KITH_CHECK_EQ(pair_m.sides[0].seen[KITH_QUIC_CLOSED], 1);
        KITH_CHECK_EQ(pair_m.sides[0].closed.err, KITH_ERR_LOST);
        kith__pair_dispose(&pair_m);
    }
}

KITH_TEST(mp_rules_reset_token_of_a_second_path_ends_the_connection)
{
    uint8_t token[KITH_RESET_TOKEN_SIZE];

    start(8, 8);
    token_of(open_path(), token);
    give_reset(token);
    KITH_CHECK_EQ(pair_m.sides[0].seen[KITH_QUIC_CLOSED], 1);
    KITH_CHECK_EQ(pair_m.sides[0].closed.err, KITH_ERR_LOST);
    kith__pair_dispose(&pair_m);
}

/* ---- The last path ---- */

KITH_TEST(mp_rules_peer_that_abandons_the_last_path_has_three_seconds_for_another)
{
    for (int from = 0; from < 2; from++) {
        uint64_t began_ns;

        start(8, 8);
        began_ns = pair_m.now_ns;
        inject_hex(from, KITH_LEVEL_DATA, "7e75 00 3e");
        kith__pair_run(&pair_m, 2900 * KITH_NS_PER_MS);
        KITH_CHECK_EQ(pair_m.sides[1 - from].seen[KITH_QUIC_CLOSED], 0);
        KITH_CHECK(!kith__path_is_live(pair_m.sides[1 - from].conn->paths[0]));
        KITH_CHECK_EQ(kith_quic_conn_migrate(pair_m.sides[1 - from].conn, &pair_m.sides[0].inner, pair_m.now_ns),
                      KITH_ERR_STATE); /* nothing is there to be moved */
        while (pair_m.sides[1 - from].seen[KITH_QUIC_CLOSED] == 0)
            KITH_CHECK(kith__pair_step(&pair_m, pair_m.now_ns + KITH_NS_PER_S));
        check_closed("no path is left", 1 - from, KITH_WIRE_NO_VIABLE_PATH, NULL);
        KITH_CHECK(pair_m.now_ns - began_ns > 3000 * KITH_NS_PER_MS);
        KITH_CHECK(pair_m.now_ns - began_ns < 3200 * KITH_NS_PER_MS);
        kith__pair_dispose(&pair_m);
    }
}

/** A server that gives path 0 up before the client's handshake is confirmed. */
static bool abandon_early(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    if (!rules_is_first_flight(pair, sender, bytes, *size))
        return sender != 1; /* no HANDSHAKE_DONE */
    KITH_CHECK(kith_quic_conn_is_established(pair->sides[0].conn));
    inject_hex(1, KITH_LEVEL_DATA, "7e75 00 3e");
    return false;
}

KITH_TEST(mp_rules_path_zero_may_be_abandoned_before_the_handshake_is_confirmed)
{
    struct kith_pair_config config = configured(8, 8);

    config.tap = abandon_early;
    KITH_CHECK_EQ(kith__pair_init(&pair_m, &config), 0);
    KITH_CHECK_EQ(kith__pair_dial(&pair_m, NULL), 0);
    kith__pair_run(&pair_m, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_m.sides[0].seen[KITH_QUIC_PATH_ABANDONED], 1);
    kith__conn_check(pair_m.sides[0].conn);
    kith__pair_run(&pair_m, 2 * KITH_NS_PER_S);
    check_closed("path 0 before confirmation", 0, KITH_WIRE_NO_VIABLE_PATH, NULL);
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_verbs_find_no_path_when_the_last_one_is_gone)
{
    struct kith_sockaddr local;
    struct kith_quic_path_info info[2];

    start(8, 8);
    local = pair_m.sides[0].inner;
    local.port++;
    inject_hex(1, KITH_LEVEL_DATA, "7e75 00 3e");
    kith__pair_run(&pair_m, 2 * KITH_NS_PER_S); /* it has drained */
    kith__conn_check(pair_m.sides[0].conn);
    KITH_CHECK_EQ(kith_quic_conn_migrate(pair_m.sides[0].conn, &local, pair_m.now_ns), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith_quic_conn_paths(pair_m.sides[0].conn, info, 2), 1);
    KITH_CHECK_EQ(info[0].state, KITH_QUIC_PATH_CLOSING);
    kith_quic_conn_ping(pair_m.sides[0].conn, pair_m.now_ns);
    KITH_CHECK_EQ(kith_quic_conn_path_close(pair_m.sides[0].conn, 0, 0, pair_m.now_ns), KITH_ERR_NOT_FOUND);
    kith__pair_flush(&pair_m);
    KITH_CHECK_EQ(open_path(), 1);
    check_works("a path in the place of the last one");
    KITH_CHECK(kith__conn_path(pair_m.sides[0].conn, 0) == NULL);
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_new_path_after_the_last_one_goes_on_with_the_connection)
{
    start(8, 8);
    inject_hex(0, KITH_LEVEL_DATA, "7e75 00 3e"); /* the server gives path 0 up, and tells on the new path */
    KITH_CHECK_EQ(open_path(), 1);
    check_works("a new path in time");
    for (int side = 0; side < 2; side++)
        KITH_CHECK(kith__conn_path(pair_m.sides[side].conn, 0) == NULL ||
                   !kith__path_is_live(kith__conn_path(pair_m.sides[side].conn, 0)));
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_peer_that_abandons_every_id_again_and_again_grows_nothing)
{
    for (int from = 0; from < 2; from++) {
        const struct kith_quic_conn *victim;

        start(8, 8);
        victim = pair_m.sides[1 - from].conn;
        for (uint8_t id = 1; id < 60; id++) {
            uint8_t frame[] = { 0x7e, 0x75, id, 0x3e };

            rules_inject(&pair_m, from, KITH_LEVEL_DATA, frame, sizeof frame);
            kith__pair_flush(&pair_m);
            kith__conn_check(victim);
            KITH_CHECK(victim->mp.count <= KITH_PATH_IDS_MAX);
        }
        KITH_CHECK(victim->mp.local_max < 24);
        check_open("abandoned everything");
        kith__pair_dispose(&pair_m);
    }
}

/* ---- Beginning ---- */

KITH_TEST(mp_rules_server_that_opens_a_path_is_not_heard)
{
    struct kith_quic_conn *server;
    struct kith_path *path;
    uint64_t before;

    start(8, 8);
    server = pair_m.sides[1].conn;
    before = pair_m.sides[0].host->stats.dropped_unused_path;
    KITH_CHECK_EQ(kith__conn_begin_path(server, 2, &server->paths[0]->tuple, false, &path), 0);
    kith_quic_conn_ping(server, pair_m.now_ns);
    kith__conn_touch(server);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    KITH_CHECK(pair_m.sides[0].host->stats.dropped_unused_path > before);
    KITH_CHECK_EQ(pair_m.sides[0].conn->path_count, 1);
    check_open("a path of the server's");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_answer_on_another_path_proves_nothing)
{
    struct kith_sockaddr local;
    struct kith_path *path;
    uint8_t response[9] = { 0x1b };
    uint32_t id;

    start(8, 8);
    pair_m.config.link.blocked[1] = true;
    local = pair_m.sides[0].inner;
    local.port = (uint16_t)(local.port + 7);
    KITH_CHECK_EQ(
        kith_quic_conn_path_open(pair_m.sides[0].conn, &local, &pair_m.sides[1].outer, false, pair_m.now_ns, &id), 0);
    kith__pair_flush(&pair_m);
    path = kith__conn_path(pair_m.sides[0].conn, id);
    KITH_CHECK(path->prove.out_count != 0);
    memcpy(response + 1, path->prove.out[0].value, 8);
    rules_inject(&pair_m, 1, KITH_LEVEL_DATA, response, sizeof response); /* on path 0 */
    KITH_CHECK(!kith__path_is_proved(path));
    pair_m.config.link.blocked[1] = false;
    kith__pair_run(&pair_m, 3 * KITH_NS_PER_S);
    KITH_CHECK(kith__path_is_proved(path));
    check_works("a late answer");
    kith__pair_dispose(&pair_m);
}

/* ---- Frames without a path id mean path 0 ---- */

KITH_TEST(mp_rules_plain_frames_mean_path_zero)
{
    for (int from = 0; from < 2; from++) {
        struct kith_quic_conn *victim;
        uint8_t retire[2] = { 0x19 };
        const struct kith_cid *dcid;

        start(8, 8);
        victim = pair_m.sides[1 - from].conn;
        dcid = kith__cid_theirs_active(&pair_m.sides[from].conn->paths[0]->cids_theirs);
        for (size_t i = 0; i < KITH_CIDS_OURS_MAX && retire[1] == 0; i++)
            if (victim->paths[0]->cids_ours.slots[i].state == KITH_CID_KNOWN &&
                kith__cid_ours_find(&victim->paths[0]->cids_ours, dcid) !=
                    victim->paths[0]->cids_ours.slots[i].sequence)
                retire[1] = (uint8_t)victim->paths[0]->cids_ours.slots[i].sequence;
        KITH_CHECK(retire[1] != 0);
        rules_inject(&pair_m, from, KITH_LEVEL_DATA, retire, sizeof retire);
        for (size_t i = 0; i < KITH_CIDS_OURS_MAX; i++)
            KITH_CHECK(victim->paths[0]->cids_ours.slots[i].state == KITH_CID_FREE ||
                       victim->paths[0]->cids_ours.slots[i].sequence != retire[1]);
        check_open("plain RETIRE_CONNECTION_ID");
        inject_hex(from, KITH_LEVEL_DATA, "18 3f 00 08 4102030405060708 00112233445566778899aabbccddee41");
        kith__pair_flush(&pair_m);
        check_closed("plain NEW_CONNECTION_ID, one too many", 1 - from, KITH_WIRE_CONNECTION_ID_LIMIT_ERROR, NULL);
        kith__pair_dispose(&pair_m);
    }
}

/* ---- A peer that never answers PATH_ABANDON ---- */

static int mute_side; /* never says PATH_ABANDON, nor allows more paths for those that went */

static void keep_mute(struct kith_pair *pair, int side, const struct kith_quic_event *event)
{
    struct kith_multipath *mp = &pair->sides[side].conn->mp;

    if (side != mute_side || event->kind != KITH_QUIC_PATH_ABANDONED)
        return;
    mp->max_path_id = KITH_INTENT_NONE;
    for (size_t i = 0; i < mp->count; i++)
        if (mp->ids[i].abandon == KITH_INTENT_DUE)
            mp->ids[i].abandon = KITH_INTENT_SENT;
}

/** Opens a path and gives it up on the side that is not mute; the time for its end to pass. False: no path may be opened. */
static bool one_generation(uint32_t expected)
{
    struct kith_sockaddr local = pair_m.sides[0].inner;
    uint32_t id = 0;

    local.port = (uint16_t)(local.port + 7);
    if (kith_quic_conn_path_open(pair_m.sides[0].conn, &local, &pair_m.sides[1].outer, false, pair_m.now_ns, &id) != 0)
        return false;
    KITH_CHECK_EQ(id, expected);
    kith__pair_run(&pair_m, 200 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith_quic_conn_path_close(pair_m.sides[1 - mute_side].conn, id, 0x3e, pair_m.now_ns), 0);
    kith__pair_run(&pair_m, 100 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith__multipath_find(&pair_m.sides[1 - mute_side].conn->mp, id)->state, KITH_PATH_ID_ABANDONED);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_m.sides[1 - mute_side].conn->path_count, 1); /* it did not wait for ever */
    KITH_CHECK(kith__multipath_find(&pair_m.sides[1 - mute_side].conn->mp, id) == NULL);
    return true;
}

static void start_with_mute(int side)
{
    struct kith_pair_config config = configured(8, 8);

    mute_side = side;
    config.on_event = NULL;
    rules_connect(&pair_m, &app_m, &config);
    pair_m.config.on_event = keep_mute;
}

KITH_TEST(mp_rules_server_that_never_answers_path_abandon_costs_the_ids_it_allowed_and_no_more)
{
    size_t memory = 0;

    start_with_mute(1);
    for (uint32_t n = 1; n <= 7; n++) {
        KITH_CHECK(one_generation(n));
        KITH_CHECK_EQ(pair_m.sides[0].conn->mp.local_max, 7 + n); /* ours grows without its word */
        if (n == 2)
            memory = rules_stats(&pair_m, 0).memory_size;
    }
    KITH_CHECK(rules_stats(&pair_m, 0).memory_size < memory + 1024);
    KITH_CHECK(!one_generation(8)); /* its limit is its own business; it is asked for more */
    KITH_CHECK(pair_m.sides[0].conn->mp.paths_blocked != KITH_INTENT_NONE);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_m.sides[0].conn->mp.paths_blocked, KITH_INTENT_ACKED);
    inject_hex(1, KITH_LEVEL_DATA, "7e7a 0e");
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_m.sides[0].seen[KITH_QUIC_PATHS_AVAILABLE], 1);
    KITH_CHECK(one_generation(8));
    pair_m.config.on_event = NULL;
    kith__conn_check(pair_m.sides[0].conn);
    check_open("a mute server");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_client_that_never_answers_path_abandon_gets_new_ids_all_the_same)
{
    start_with_mute(0);
    for (uint32_t n = 1; n <= 7; n++) {
        KITH_CHECK(one_generation(n));
        KITH_CHECK_EQ(pair_m.sides[1].conn->mp.local_max, 7 + n);
        KITH_CHECK_EQ(pair_m.sides[0].conn->mp.remote_max, 7 + n); /* and is told */
    }
    kith__conn_check(pair_m.sides[1].conn);
    check_open("a mute client");
    kith__pair_dispose(&pair_m);
}
