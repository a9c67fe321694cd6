/* What a peer, or a network, could do with several paths to the cost of us or of others. spec/01, 4.6 to 4.9 and 5. */
#include "quic/conn/mp_rules.h"

/** A packet on that path id, past all checks of the sender. */
static void inject_on(int from, uint32_t id, const uint8_t *frames, size_t size)
{
    struct kith_packet_out out;
    uint8_t datagram[RULES_DATAGRAM_MAX];
    struct kith_path *path = path_of(from, id);
    size_t sealed;

    KITH_CHECK_EQ(
        kith__packet_out_begin(&out, pair_m.sides[from].conn, path, KITH_LEVEL_DATA, datagram, RULES_DATAGRAM_MAX), 0);
    KITH_CHECK_EQ(kith__write_bytes(&out.w, frames, size), 0);
    sealed = kith__packet_out_size(&out);
    KITH_CHECK_EQ(kith__packet_out_end(&out), 0);
    rules_give(&pair_m, 1 - from, datagram, sealed, path_of(1 - from, id)->tuple.remote.port);
}

/* ---- Numbers ---- */

KITH_TEST(mp_harm_ack_of_a_number_that_a_second_path_skipped_is_a_violation)
{
    for (int from = 0; from < 2; from++) {
        struct kith_path *victim;
        uint8_t frame[16] = { 0x3e, 1 };
        struct kith_writer w = kith__writer(frame + 2, sizeof frame - 2);

        start_ways(1, 0, true);
        KITH_CHECK_EQ(open_way(1, false), 1);
        kith__pair_run(&pair_m, KITH_NS_PER_S);
        victim = path_of(1 - from, 1);
        for (int i = 0; i < 300 && victim->sent.skip_count == 0; i++) {
            kith_quic_conn_ping(pair_m.sides[1 - from].conn, pair_m.now_ns);
            kith__pair_run(&pair_m, 60 * KITH_NS_PER_MS);
        }
        KITH_CHECK(victim->sent.skip_count != 0);
        KITH_CHECK_EQ(kith__write_varint(&w, victim->sent.skipped[0]) | kith__write_bytes(&w, "\0\0\0", 3), 0);
        rules_inject(&pair_m, from, KITH_LEVEL_DATA, frame, 2 + kith__writer_size(&w));
        kith__pair_flush(&pair_m);
        check_closed("skipped on path 1", 1 - from, KITH_WIRE_PROTOCOL_VIOLATION, "unsent packet acked");
        kith__pair_dispose(&pair_m);
    }
}

KITH_TEST(mp_harm_ack_of_an_unsent_number_of_a_path_given_up_is_a_violation)
{
    static const uint8_t frame[] = { 0x3e, 1, 0x7f, 0xff, 0, 0, 0 };

    for (int from = 0; from < 2; from++) {
        start_ways(1, 0, false);
        KITH_CHECK_EQ(open_way(1, false), 1);
        kith__pair_run(&pair_m, KITH_NS_PER_S);
        KITH_CHECK_EQ(kith_quic_conn_path_close(pair_m.sides[1 - from].conn, 1, 0x3e, pair_m.now_ns), 0);
        rules_inject(&pair_m, from, KITH_LEVEL_DATA, frame, sizeof frame);
        kith__pair_flush(&pair_m);
        check_closed("unsent on a path given up", 1 - from, KITH_WIRE_PROTOCOL_VIOLATION, "unsent packet acked");
        kith__pair_dispose(&pair_m);
    }
}

/* ---- A path that is dead, or given up ---- */

static bool is_first_silent(struct kith_pair *pair)
{
    return pair->sides[0].conn->paths[0]->loss.pto_count >= 2;
}

KITH_TEST(mp_harm_answers_to_probes_say_nothing_about_a_dead_path)
{
    struct kith_sockaddr candidate, local;
    struct kith_quic_conn *client;

    start_ways(2, 32, false);
    client = pair_m.sides[0].conn;
    KITH_CHECK_EQ(open_way(1, false), 1);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    candidate = kith__pair_server(&pair_m, 2);
    local = pair_m.sides[0].inner;
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(pair_m.sides[1].conn, &candidate, pair_m.now_ns), 0);
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(client, &local, pair_m.now_ns), 0);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    block(0, true, true);
    kith_quic_conn_ping(client, pair_m.now_ns);
    kith_quic_conn_ping(pair_m.sides[1].conn, pair_m.now_ns);
    KITH_CHECK(kith__pair_run_until(&pair_m, is_first_silent, 5 * KITH_NS_PER_S));
    /* The probe has an id and a number of path 0, and is acknowledged, but it went another way. */
    KITH_CHECK_EQ(kith_quic_conn_punch(client, pair_m.now_ns), 0);
    kith__pair_run(&pair_m, 120 * KITH_NS_PER_MS);
    KITH_CHECK(path_of(0, 2) != NULL); /* the probe was answered */
    KITH_CHECK(path_of(0, 0)->loss.pto_count >= 2);
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_harm_packets_on_a_path_given_up_are_acknowledged_in_time_and_cost_nothing)
{
    static const uint8_t challenge[] = { 0x1a, 1, 2, 3, 4, 5, 6, 7, 8 };
    struct kith_quic_conn *server;

    start_ways(1, 0, false);
    server = pair_m.sides[1].conn;
    KITH_CHECK_EQ(open_way(1, false), 1);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    KITH_CHECK_EQ(kith_quic_conn_path_set_backup(server, 0, true, pair_m.now_ns), 0);
    kith__app_send(&pair_m, 1, false, 300000); /* much more goes out on path 1 than came */
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    KITH_CHECK(path_of(1, 1)->stats.bytes_sent > 250000);
    KITH_CHECK_EQ(kith_quic_conn_path_close(server, 1, 0x3e, pair_m.now_ns), 0);
    block(0, false, true); /* the client does not hear of it yet */
    block(1, false, true);
    kith__pair_flush(&pair_m);
    inject_on(0, 1, challenge, sizeof challenge);
    KITH_CHECK(path_of(1, 1)->responses.queue == NULL); /* nobody would send the answer */
    KITH_CHECK(path_of(1, 1)->received.due_ns != KITH_NEVER);
    KITH_CHECK(kith__conn_deadline(server) <= path_of(1, 1)->received.due_ns);
    block(0, false, false);
    block(1, false, false);
    check_works("late packets");
    kith__pair_dispose(&pair_m);
}

/* ---- Giving up at once ---- */

KITH_TEST(mp_harm_both_sides_that_give_up_different_paths_at_once_go_on_with_a_third)
{
    start_ways(2, 0, false);
    KITH_CHECK_EQ(open_way(1, false), 1);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    kith__app_send(&pair_m, 0, false, 500000);
    kith__pair_run(&pair_m, 50 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith_quic_conn_path_close(pair_m.sides[0].conn, 0, 0x3e, pair_m.now_ns), 0);
    KITH_CHECK_EQ(kith_quic_conn_path_close(pair_m.sides[1].conn, 1, 0x3e, pair_m.now_ns), 0);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    for (int side = 0; side < 2; side++) {
        KITH_CHECK_EQ(kith__multipath_live(&pair_m.sides[side].conn->mp), 0);
        kith__conn_check(pair_m.sides[side].conn);
    }
    KITH_CHECK_EQ(open_way(2, false), 2);
    KITH_CHECK(kith__pair_run_until(&pair_m, app_is_done, 10 * KITH_NS_PER_S));
    KITH_CHECK_EQ(app_m.sides[1].read_total, 500000);
    kith__pair_run(&pair_m, 5 * KITH_NS_PER_S);
    for (int side = 0; side < 2; side++) {
        KITH_CHECK_EQ(pair_m.sides[side].conn->path_count, 1);
        KITH_CHECK_EQ(pair_m.sides[side].conn->mp.local_max, 9);
        KITH_CHECK_EQ(pair_m.sides[side].conn->mp.remote_max, 9);
    }
    check_open("given up at once");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_harm_data_wait_for_a_path_after_the_peer_gave_up_the_last_one)
{
    for (int from = 0; from < 2; from++) {
        start_ways(1, 0, false);
        kith__app_send(&pair_m, 1 - from, false, 300000);
        kith__pair_run(&pair_m, 40 * KITH_NS_PER_MS);
        inject_hex(from, KITH_LEVEL_DATA, "7e75 00 3e");
        block(0, true, true);
        kith__pair_run(&pair_m, KITH_NS_PER_S);
        KITH_CHECK_EQ(app_m.sides[from].ended_total, 0);
        KITH_CHECK_EQ(open_way(1, false), 1);
        kith__pair_run(&pair_m, 5 * KITH_NS_PER_S);
        check_open("a path in time");
        KITH_CHECK_EQ(app_m.sides[from].ended_total, 1);
        KITH_CHECK_EQ(app_m.sides[from].read_total, 300000);
        kith__pair_dispose(&pair_m);
    }
}

/* ---- What others would get ---- */

KITH_TEST(mp_harm_server_sends_three_times_what_came_to_each_new_path_until_it_is_proved)
{
    for (uint32_t count = 1; count <= 3; count++) {
        uint64_t before, sent = 0, received = 0;

        start_ways(3, 0, false);
        kith__pair_run(&pair_m, 10 * KITH_NS_PER_S); /* the search for the packet size is over */
        kith__app_send(&pair_m, 1, false, 3000000);  /* there would be enough to send */
        kith__pair_run(&pair_m, 100 * KITH_NS_PER_MS);
        before = pair_m.sides[1].sent_bytes - path_of(1, 0)->stats.bytes_sent;
        for (uint32_t i = 1; i <= count; i++) {
            block(i, false, true);
            KITH_CHECK_EQ(open_way(i, false), i);
        }
        kith__pair_run(&pair_m, 10 * KITH_NS_PER_S);
        for (uint32_t i = 1; i <= count; i++) {
            KITH_CHECK(!kith__path_is_proved(path_of(1, i)));
            received += path_of(1, i)->stats.bytes_received;
            sent += path_of(1, i)->stats.bytes_sent;
            KITH_CHECK(path_of(1, i)->stats.bytes_sent <= 3 * path_of(1, i)->stats.bytes_received);
        }
        KITH_CHECK(received != 0 && sent != 0);
        KITH_CHECK_EQ(pair_m.sides[1].sent_bytes - path_of(1, 0)->stats.bytes_sent - before, sent); /* on the wire */
        kith__pair_dispose(&pair_m);
    }
}

static uint64_t probes_seen, probe_size;

static bool count_probes(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    (void)pair, (void)bytes;
    probes_seen += sender == 0 && *size == probe_size;
    return true;
}

/** A server that names ever other addresses, to a client that starts a round for each. */
KITH_TEST(mp_harm_candidates_of_a_server_cannot_make_a_client_flood_others)
{
    struct kith_sockaddr local;
    struct kith_quic_conn *client;
    uint64_t began_ns;

    start_ways(0, 32, false);
    client = pair_m.sides[0].conn;
    local = pair_m.sides[0].inner;
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(client, &local, pair_m.now_ns), 0);
    kith__pair_run(&pair_m, 10 * KITH_NS_PER_S);
    probes_seen = 0;
    probe_size = 1 + 8 + 1 + 9 + 16;
    pair_m.config.tap = count_probes;
    began_ns = pair_m.now_ns;
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 32; i++) {
            struct kith_punch_change change = { 0 };
            struct kith_sockaddr victim = { .ip = { 10, 9, 0, 7 },
                                            .port = (uint16_t)(1000 + 32 * round + i),
                                            .family = KITH_FAMILY_V4 };

            kith__punch_on_add_address(&client->punch, i, &victim, &change);
        }
        KITH_CHECK_EQ(kith_quic_conn_punch(client, pair_m.now_ns), 0);
        kith__pair_run(&pair_m, 20 * KITH_NS_PER_MS);
    }
    KITH_CHECK_EQ((pair_m.now_ns - began_ns) / KITH_NS_PER_S, 4);
    KITH_CHECK(probes_seen > 200);
    KITH_CHECK(probes_seen <= KITH_PUNCH_TRIES * (KITH_PUNCH_STARTS_MAX + 4 * KITH_PUNCH_STARTS_PER_S));
    check_open("a flood of candidates");
    kith__pair_dispose(&pair_m);
}

/* ---- Connection ids ---- */

KITH_TEST(mp_harm_path_without_ids_of_the_peer_is_told_and_answers_once_they_come)
{
    struct kith_quic_conn *server;

    start_ways(1, 0, false);
    server = pair_m.sides[1].conn;
    kith__cid_theirs_forget(kith__conn_ids(server, 1).theirs); /* as if they were lost on the way */
    block(0, true, false);
    KITH_CHECK_EQ(open_way(1, false), 1);
    kith__pair_run(&pair_m, KITH_NS_PER_S / 2);
    KITH_CHECK(path_of(1, 1) != NULL && !kith__path_is_proved(path_of(1, 1)));
    KITH_CHECK_EQ(kith__multipath_find(&server->mp, 1)->cids_blocked, KITH_INTENT_SENT);
    kith__conn_check(server);
    block(0, false, false);
    kith__pair_run(&pair_m, 5 * KITH_NS_PER_S);
    KITH_CHECK(kith__path_is_proved(path_of(1, 1)) && kith__path_is_proved(path_of(0, 1)));
    check_works("ids that came late");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_harm_a_move_on_purpose_takes_one_id_and_gives_the_old_one_back)
{
    struct kith_quic_conn *client;
    struct kith_sockaddr local;
    uint64_t sequence;

    start_ways(1, 0, false);
    client = pair_m.sides[0].conn;
    local = pair_m.sides[0].inner;
    for (int i = 0; i < 3; i++) {
        local.port = (uint16_t)(local.port + 7);
        sequence = kith__cid_theirs_active_sequence(&client->paths[0]->cids_theirs);
        KITH_CHECK_EQ(kith_quic_conn_migrate(client, &local, pair_m.now_ns), 0);
        KITH_CHECK_EQ(kith__cid_theirs_active_sequence(&client->paths[0]->cids_theirs), sequence + 1);
        KITH_CHECK(memcmp(client->paths[0]->token_listed, kith__cid_theirs_active_token(&client->paths[0]->cids_theirs),
                          KITH_RESET_TOKEN_SIZE) == 0);
        kith__pair_run(&pair_m, KITH_NS_PER_S);
        KITH_CHECK_EQ(client->paths[0]->cids_theirs.retired_count, 0);
    }
    check_works("moved three times");
    kith__pair_dispose(&pair_m);
}
