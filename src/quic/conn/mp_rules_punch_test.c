/* What a peer may not do in NAT traversal and address discovery, and what only looks so: spec/01, 5.3 to 5.5 and 6. */
#include "quic/conn/mp_rules.h"

#define NOT_AGREED(frame) "Nat traversal(" frame "): n0's nat traversal was not negotiated"
#define WRONG_SIDE(frame) "Nat traversal(" frame "): Not allowed for this endpoint's connection side"

/** Both sides with several paths; these many addresses are taken (0: no NAT traversal). */
static void start_punching(uint8_t client_takes, uint8_t server_takes)
{
    struct kith_pair_config config = configured(8, 8);

    config.transport[0].nat_traversal_max = client_takes;
    config.transport[1].nat_traversal_max = server_takes;
    rules_connect(&pair_m, &app_m, &config);
}

/** Addresses 10.9.0.`host`:4000 as frames of one kind with the same sequence or round; returns the size. */
static size_t address_frames(uint64_t type, uint64_t first_sequence, bool same_sequence, unsigned first_host,
                             unsigned count, uint8_t out[1400])
{
    struct kith_writer w = kith__writer(out, 1400);

    for (unsigned i = 0; i < count; i++) {
        struct kith_frame frame = kith__frame(type);
        unsigned host = first_host + i;

        frame.address.sequence = first_sequence + (same_sequence ? 0 : i);
        frame.address.address = (struct kith_sockaddr) { .ip = { 10, 9, (uint8_t)(host >> 8), (uint8_t)host },
                                                         .port = 4000,
                                                         .family = KITH_FAMILY_V4 };
        KITH_CHECK_EQ(kith__frame_write(&w, &frame), 0);
    }
    return kith__writer_size(&w);
}

static void inject_addresses(int from, uint64_t type, uint64_t first_sequence, bool same_sequence, unsigned first_host,
                             unsigned count)
{
    uint8_t frames[1400];

    rules_inject(&pair_m, from, KITH_LEVEL_DATA, frames,
                 address_frames(type, first_sequence, same_sequence, first_host, count, frames));
}

/* ---- Agreement and sides ---- */

KITH_TEST(mp_rules_candidates_without_agreement_are_violations)
{
    static const struct {
        int from;
        const char *hex, *reason;
    } cases[] = {
        { 1, "803d7f90 00 7f000001 1151", NOT_AGREED("ADD_ADDRESS") },
        { 1, "803d7f91 00 00000000000000000000000000000001 1151", NOT_AGREED("ADD_ADDRESS") },
        { 1, "803d7f94 00", NOT_AGREED("REMOVE_ADDRESS") },
        { 0, "803d7f92 01 7f000001 1151", NOT_AGREED("REACH_OUT") },
        { 0, "803d7f93 01 00000000000000000000000000000001 1151", NOT_AGREED("REACH_OUT") },
    };
    static const uint8_t takes[][2] = { { 0, 0 }, { 32, 0 }, { 0, 32 } };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_pair_config config = configured(8, 0);

        for (size_t t = 0; t < KITH_COUNT(takes); t++) {
            start_punching(takes[t][0], takes[t][1]);
            inject_hex(cases[i].from, KITH_LEVEL_DATA, cases[i].hex);
            kith__pair_flush(&pair_m);
            check_closed(cases[i].hex, 1 - cases[i].from, KITH_WIRE_PROTOCOL_VIOLATION, cases[i].reason);
            kith__pair_dispose(&pair_m);
        }
        /* Both say yes, but there is only one path. What a side without several paths says is not to be believed. */
        config.transport[0].nat_traversal_max = 32;
        rules_connect(&pair_m, &app_m, &config);
        inject_hex(cases[i].from, KITH_LEVEL_DATA, cases[i].hex);
        kith__pair_flush(&pair_m);
        check_closed(cases[i].hex, 1 - cases[i].from, KITH_WIRE_PROTOCOL_VIOLATION, cases[i].reason);
        kith__pair_dispose(&pair_m);
    }
}

KITH_TEST(mp_rules_candidates_from_the_wrong_side_are_violations)
{
    static const struct {
        int from;
        const char *hex, *reason;
    } cases[] = {
        { 0, "803d7f90 00 7f000001 1151", WRONG_SIDE("ADD_ADDRESS") },
        { 0, "803d7f94 00", WRONG_SIDE("REMOVE_ADDRESS") },
        { 1, "803d7f92 01 7f000001 1151", WRONG_SIDE("REACH_OUT") },
        { 1, "803d7f93 01 00000000000000000000000000000001 1151", WRONG_SIDE("REACH_OUT") },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        start_punching(32, 32);
        inject_hex(cases[i].from, KITH_LEVEL_DATA, cases[i].hex);
        kith__pair_flush(&pair_m);
        check_closed(cases[i].hex, 1 - cases[i].from, KITH_WIRE_PROTOCOL_VIOLATION, cases[i].reason);
        kith__pair_dispose(&pair_m);
    }
}

/* ---- Limits ---- */

KITH_TEST(mp_rules_more_addresses_in_a_round_than_promised_are_a_violation)
{
    start_punching(32, 32);
    inject_addresses(0, KITH_FRAME_REACH_OUT_V4, 1, true, 0, 32);
    inject_addresses(0, KITH_FRAME_REACH_OUT_V4, 1, true, 0, 32); /* the same ones */
    inject_addresses(0, KITH_FRAME_REACH_OUT_V4, 2, true, 100, 32);
    inject_addresses(0, KITH_FRAME_REACH_OUT_V4, 1, true, 40, 40); /* late */
    kith__pair_flush(&pair_m);
    check_open("32 addresses in each round");
    inject_addresses(0, KITH_FRAME_REACH_OUT_V4, 2, true, 132, 1);
    kith__pair_flush(&pair_m);
    check_closed("one more", 1, KITH_WIRE_PROTOCOL_VIOLATION,
                 "Nat traversal(REACH_OUT): Tried to add too many addresses to their advertised set");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_more_candidates_than_a_client_takes_are_dropped)
{
    struct kith_sockaddr candidates[40];

    start_punching(32, 32);
    inject_addresses(1, KITH_FRAME_ADD_ADDRESS_V4, 0, false, 0, 33);
    KITH_CHECK_EQ(kith_quic_conn_candidates(pair_m.sides[0].conn, candidates, 40), 32);
    KITH_CHECK_EQ(candidates[31].ip[3], 31);
    check_works("33 candidates");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_oddities_of_candidates_are_no_errors)
{
    struct kith_sockaddr candidates[4], mapped;

    KITH_CHECK_EQ(kith_sockaddr_parse("192.0.2.7:80", &mapped), 0);
    start_punching(32, 32);
    inject_hex(1, KITH_LEVEL_DATA, "803d7f94 09"); /* never advertised */
    inject_hex(1, KITH_LEVEL_DATA, "803d7f90 00 7f000001 1151");
    inject_hex(1, KITH_LEVEL_DATA, "803d7f90 00 7f000002 1151"); /* the sequence with another address */
    inject_hex(1, KITH_LEVEL_DATA, "803d7f91 01 00000000000000000000ffffc0000207 0050"); /* IPv4 in IPv6 */
    inject_hex(1, KITH_LEVEL_DATA, "803d7f90 02 e0000001 1151");                         /* no host */
    inject_hex(1, KITH_LEVEL_DATA, "803d7f90 03 7f000001 0000");                         /* no port */
    KITH_CHECK_EQ(kith_quic_conn_candidates(pair_m.sides[0].conn, candidates, 4), 2);
    KITH_CHECK_EQ(candidates[0].ip[3], 2);
    KITH_CHECK(kith_sockaddr_equal(&candidates[1], &mapped));
    inject_hex(1, KITH_LEVEL_DATA, "803d7f94 00");
    inject_hex(1, KITH_LEVEL_DATA, "803d7f94 00");
    KITH_CHECK_EQ(kith_quic_conn_candidates(pair_m.sides[0].conn, candidates, 4), 1);
    inject_hex(0, KITH_LEVEL_DATA, "803d7f92 00 7f000001 1151"); /* no round has this number */
    inject_hex(0, KITH_LEVEL_DATA, "803d7f92 ffffffffffffffff 00000000 0000");
    check_works("odd candidates");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_rounds_of_a_client_cannot_make_a_server_flood_others)
{
    uint64_t before;

    start_punching(32, 32);
    pair_m.config.link.delay_ns = 0;
    before = pair_m.sides[1].sent_datagrams;
    for (uint64_t round = 1; round <= 200; round++) {
        inject_addresses(0, KITH_FRAME_REACH_OUT_V4, round, true, 0, 32);
        kith__pair_flush(&pair_m);
    }
    check_open("200 rounds at once");
    KITH_CHECK(pair_m.sides[1].sent_datagrams - before <=
               KITH_PUNCH_STARTS_MAX + 400); /* and an answer to each packet */
    KITH_CHECK(pair_m.sides[1].sent_datagrams - before >= KITH_PUNCH_STARTS_MAX);
    kith__pair_dispose(&pair_m);
}

/* ---- Challenges from elsewhere ---- */

static size_t answer_size;

static bool see_answers(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    (void)pair, (void)bytes;
    if (sender == 1 && *size > answer_size)
        answer_size = *size;
    return true;
}

/** A packet from another port of the client's. */
static void give_from(uint16_t delta, const uint8_t *frames, size_t size)
{
    uint8_t datagram[RULES_DATAGRAM_MAX];
    size_t sealed = rules_seal(pair_m.sides[0].conn, KITH_LEVEL_DATA, 0, frames, size, 0, datagram);

    rules_give(&pair_m, 1, datagram, sealed, (uint16_t)(pair_m.sides[0].outer.port + delta));
}

KITH_TEST(mp_rules_challenge_from_elsewhere_is_answered_there_and_moves_nothing)
{
    static const uint8_t challenge[9] = { 0x1a, 1, 2, 3, 4, 5, 6, 7, 8 }, ping[1] = { 1 };
    struct kith_quic_conn *server;
    uint16_t port;

    start_punching(32, 32);
    server = pair_m.sides[1].conn;
    port = pair_m.sides[0].outer.port;
    kith__pair_run(&pair_m, 10 * KITH_NS_PER_S); /* the search for the packet size is over */
    answer_size = 0;
    pair_m.config.tap = see_answers;
    give_from(9, challenge, sizeof challenge);
    KITH_CHECK_EQ(server->paths[0]->responses.count, 1);
    kith__pair_flush(&pair_m);
    KITH_CHECK_EQ(server->paths[0]->responses.count, 0);
    KITH_CHECK(answer_size >= 1200);
    KITH_CHECK_EQ(server->paths[0]->tuple.remote.port, port);
    give_from(9, ping, sizeof ping); /* that is no probing frame */
    KITH_CHECK_EQ(server->paths[0]->tuple.remote.port, port + 9);
    kith__pair_dispose(&pair_m);
}

/** A packet of the server's from another port of its. */
static void give_to_client_from(uint16_t delta, const uint8_t *frames, size_t size)
{
    uint8_t datagram[RULES_DATAGRAM_MAX];
    size_t sealed = rules_seal(pair_m.sides[1].conn, KITH_LEVEL_DATA, 0, frames, size, 0, datagram);

    rules_give(&pair_m, 0, datagram, sealed, (uint16_t)(pair_m.sides[1].outer.port + delta));
}

KITH_TEST(mp_rules_client_challenges_back_an_address_that_nobody_advertised)
{
    static const uint8_t challenge[9] = { 0x1a, 1, 2, 3, 4, 5, 6, 7, 8 };
    uint8_t response[9] = { 0x1b };
    struct kith_quic_conn *client;

    start_punching(32, 32);
    client = pair_m.sides[0].conn;
    give_to_client_from(9, challenge, sizeof challenge);
    kith__pair_flush(&pair_m);
    KITH_CHECK_EQ(client->punch.probe_count, 1);
    KITH_CHECK(client->punch.probes[0].is_seen && client->punch.probes[0].value_count == 1);
    KITH_CHECK_EQ(client->paths[0]->tuple.remote.port, pair_m.sides[1].outer.port);
    memcpy(response + 1, client->punch.probes[0].values[0], 8);
    give_to_client_from(8, response, sizeof response);
    KITH_CHECK_EQ(client->path_count, 1);
    give_to_client_from(9, response, sizeof response);
    KITH_CHECK_EQ(client->path_count, 2);
    KITH_CHECK_EQ(client->paths[1]->tuple.remote.port, pair_m.sides[1].outer.port + 9);
    check_works("an unknown address of the server's");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_client_without_traversal_hears_nobody_else)
{
    static const uint8_t challenge[9] = { 0x1a, 1, 2, 3, 4, 5, 6, 7, 8 };
    uint64_t before;

    start_punching(0, 32);
    before = pair_m.sides[0].host->stats.dropped_wrong_remote;
    give_to_client_from(9, challenge, sizeof challenge);
    KITH_CHECK_EQ(pair_m.sides[0].host->stats.dropped_wrong_remote, before + 1);
    KITH_CHECK_EQ(pair_m.sides[0].conn->paths[0]->responses.count, 0);
    check_works("a stranger");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_answers_that_are_owed_are_bounded)
{
    uint8_t challenge[9] = { 0x1a };
    struct kith_quic_conn *server;

    start_punching(32, 32);
    server = pair_m.sides[1].conn;
    for (uint16_t delta = 1; delta <= KITH_RESPONSES_MAX + 8; delta++) {
        challenge[1] = (uint8_t)delta;
        give_from(delta, challenge, sizeof challenge);
        give_from(delta, challenge, sizeof challenge); /* one for each address */
    }
    KITH_CHECK_EQ(server->paths[0]->responses.count, KITH_RESPONSES_MAX);
    KITH_CHECK_EQ(server->paths[0]->responses.dropped, 8);
    check_works("many challenges");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_answer_to_a_probe_counts_only_from_the_address_that_was_probed)
{
    struct kith_quic_conn *client;
    struct kith_sockaddr ours, probed;
    uint8_t response[9] = { 0x1b }, datagram[RULES_DATAGRAM_MAX];
    size_t size;

    start_punching(32, 32);
    client = pair_m.sides[0].conn;
    ours = pair_m.sides[0].outer;
    probed = pair_m.sides[1].outer;
    probed.port = (uint16_t)(probed.port + 50); /* no datagram arrives there */
    inject_hex(1, KITH_LEVEL_DATA, "803d7f90 00 7f000001 1151");
    client->punch.theirs[0].address = probed;
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(client, &ours, pair_m.now_ns), 0);
    KITH_CHECK_EQ(kith_quic_conn_punch(client, pair_m.now_ns), 0);
    kith__pair_run(&pair_m, 100 * KITH_NS_PER_MS);
    KITH_CHECK(client->punch.probes[0].value_count >= 3);
    memcpy(response + 1, client->punch.probes[0].values[0], 8);
    rules_inject(&pair_m, 1, KITH_LEVEL_DATA, response, sizeof response);
    KITH_CHECK(!client->punch.probes[0].is_proved);
    KITH_CHECK_EQ(client->path_count, 1);
    size = rules_seal(pair_m.sides[1].conn, KITH_LEVEL_DATA, 0, response, sizeof response, 0, datagram);
    rules_give(&pair_m, 0, datagram, size, probed.port);
    KITH_CHECK(client->punch.probes[0].is_proved);
    KITH_CHECK_EQ(client->path_count, 2);
    KITH_CHECK_EQ(client->paths[1]->tuple.remote.port, probed.port);
    KITH_CHECK_EQ(client->paths[0]->tuple.remote.port, pair_m.sides[1].outer.port);
    check_works("a proved address where nobody is after all");
    kith__pair_dispose(&pair_m);
}

/* ---- Address discovery ---- */

KITH_TEST(mp_rules_reports_need_agreement_in_their_direction)
{
    enum {
        O = KITH_QUIC_OBSERVED_OFF,
        S = KITH_QUIC_OBSERVED_SEND,
        R = KITH_QUIC_OBSERVED_RECEIVE,
        B = KITH_QUIC_OBSERVED_BOTH
    };
    static const struct {
        uint8_t client, server;
        bool client_may, server_may; /* send reports */
    } cases[] = {
        { O, O, false, false }, { O, B, false, false }, { B, O, false, false }, { S, S, false, false },
        { R, R, false, false }, { S, R, true, false },  { R, S, false, true },  { B, B, true, true },
        { B, R, true, false },  { R, B, false, true },
    };
    static const char hex[] = "809f81a6 80001000 c0000201 1151";

    for (size_t i = 0; i < KITH_COUNT(cases); i++)
        for (int from = 0; from < 2; from++) {
            struct kith_pair_config config = configured(0, 0);

            config.transport[0].observed_address = cases[i].client;
            config.transport[1].observed_address = cases[i].server;
            rules_connect(&pair_m, &app_m, &config);
            inject_hex(from, KITH_LEVEL_DATA, hex);
            kith__pair_flush(&pair_m);
            if (from == 0 ? cases[i].client_may : cases[i].server_may)
                check_works("a report");
            else
                check_closed("a report", 1 - from, KITH_WIRE_PROTOCOL_VIOLATION,
                             "received OBSERVED_ADDRESS frame when not negotiated");
            kith__pair_dispose(&pair_m);
        }
}

static struct kith_sockaddr observed_by_client(void)
{
    struct kith_quic_path_info info;

    KITH_CHECK_EQ(kith_quic_conn_paths(pair_m.sides[0].conn, &info, 1), 1);
    return info.observed;
}

KITH_TEST(mp_rules_older_reports_change_nothing)
{
    struct kith_pair_config config = configured(8, 8);
    struct kith_sockaddr new_address, mapped, seen;

    KITH_CHECK_EQ(kith_sockaddr_parse("192.0.2.1:4433", &new_address), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("192.0.2.9:1", &mapped), 0);
    config.transport[0].observed_address = KITH_QUIC_OBSERVED_RECEIVE;
    config.transport[1].observed_address = KITH_QUIC_OBSERVED_SEND;
    rules_connect(&pair_m, &app_m, &config);
    KITH_CHECK_EQ(observed_by_client().port, pair_m.sides[0].outer.port); /* the honest one */
    inject_hex(1, KITH_LEVEL_DATA, "809f81a6 4100 c0000201 1151");
    inject_hex(1, KITH_LEVEL_DATA, "809f81a6 4100 c0000202 1152");
    inject_hex(1, KITH_LEVEL_DATA, "809f81a6 40ff c0000202 1152");
    seen = observed_by_client();
    KITH_CHECK(kith_sockaddr_equal(&seen, &new_address));
    inject_hex(1, KITH_LEVEL_DATA, "809f81a7 4101 00000000000000000000ffffc0000209 0001");
    seen = observed_by_client();
    KITH_CHECK(kith_sockaddr_equal(&seen, &mapped));
    check_works("old reports");
    kith__pair_dispose(&pair_m);
}
