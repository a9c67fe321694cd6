/* Rules on frames that need more than one packet to break: levels, exact limits, ids, rejected 0-RTT. */
#include "quic/conn/rules.h"

#include <stdio.h>

static struct kith_pair pair_f;
static struct kith_app app_f;

static uint64_t closed_with(int side)
{
    return pair_f.sides[side].seen[KITH_QUIC_CLOSED] != 0 ? pair_f.sides[side].closed.code : UINT64_MAX;
}

/* ---- During the handshake ---- */

struct early_case {
    const char *what;
    uint8_t from, level; /* level: enum kith_level */
    uint64_t code;
    size_t size;
    uint8_t frames[24];
};

static const struct early_case *early_case;

/** When the server has sent its first flight, the bad one of the case speaks before anybody else. */
static bool break_early(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    if (!rules_is_first_flight(pair, sender, bytes, *size))
        return true;
    rules_inject(pair, early_case->from, (enum kith_level)early_case->level, early_case->frames, early_case->size);
    return false;
}

KITH_TEST(rules_frames_of_the_handshake_get_their_wire_error_at_each_level)
{
    static const struct early_case cases[] = {
        { "Initial: ACK of an unsent packet", 0, KITH_LEVEL_INITIAL, 0x0a, 5, { 2, 9, 0, 0, 0 } },
        { "Handshake: ACK of an unsent packet", 0, KITH_LEVEL_HANDSHAKE, 0x0a, 5, { 2, 9, 0, 0, 0 } },
        { "Handshake of a server: ACK of an unsent packet", 1, KITH_LEVEL_HANDSHAKE, 0x0a, 5, { 2, 9, 0, 0, 0 } },
        { "Initial: STREAM", 0, KITH_LEVEL_INITIAL, 0x0a, 4, { 0x0a, 0, 1, 'a' } },
        { "Handshake: STREAM", 0, KITH_LEVEL_HANDSHAKE, 0x0a, 4, { 0x0a, 0, 1, 'a' } },
        { "Handshake: PATH_CHALLENGE", 0, KITH_LEVEL_HANDSHAKE, 0x0a, 9, { 0x1a, 1, 2, 3, 4, 5, 6, 7, 8 } },
        { "Handshake: HANDSHAKE_DONE", 1, KITH_LEVEL_HANDSHAKE, 0x0a, 1, { 0x1e } },
        { "Initial: application close", 0, KITH_LEVEL_INITIAL, 0x0a, 3, { 0x1d, 0, 0 } },
        { "Handshake: application close", 1, KITH_LEVEL_HANDSHAKE, 0x0a, 3, { 0x1d, 0, 0 } },
        { "Initial: CRYPTO too far ahead", 0, KITH_LEVEL_INITIAL, 0x0d, 7, { 6, 0x80, 0, 0x80, 0, 1, 'a' } },
        { "Handshake: CRYPTO too far ahead", 0, KITH_LEVEL_HANDSHAKE, 0x0d, 7, { 6, 0x80, 0, 0x80, 0, 1, 'a' } },
        { "Handshake of a server: CRYPTO too far ahead",
          1,
          KITH_LEVEL_HANDSHAKE,
          0x0d,
          7,
          { 6, 0x80, 0, 0x80, 0, 1, 'a' } },
        { "Initial: CRYPTO beyond 2^62",
          0,
          KITH_LEVEL_INITIAL,
          0x07,
          11,
          { 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 'a' } },
        { "Handshake: NEW_TOKEN", 1, KITH_LEVEL_HANDSHAKE, 0x0a, 3, { 7, 1, 'a' } },
        { "Handshake: DATAGRAM", 1, KITH_LEVEL_HANDSHAKE, 0x0a, 3, { 0x31, 1, 'a' } },
    };
    struct kith_pair_config config;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        early_case = &cases[i];
        kith__pair_defaults(&config);
        config.tap = break_early;
        KITH_CHECK_EQ(kith__pair_init(&pair_f, &config), 0);
        KITH_CHECK_EQ(kith__pair_dial(&pair_f, NULL), 0);
        kith__pair_run(&pair_f, KITH_NS_PER_S);
        if (closed_with(1 - cases[i].from) != cases[i].code)
            printf("case: %s: 0x%llx\n", cases[i].what, (unsigned long long)closed_with(1 - cases[i].from));
        KITH_CHECK_EQ(closed_with(1 - cases[i].from), cases[i].code);
        KITH_CHECK(!pair_f.sides[1 - cases[i].from].closed.by_peer);
        kith__pair_dispose(&pair_f);
    }
}

/** The client's 1-RTT packets reach a server that has not seen its Finished. */
static bool data_before_finished(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    static const uint8_t stream[] = { 0x0b, 0, 1, 'a' };
    struct kith_quic_conn *client = pair->sides[0].conn, *server = pair->sides[1].conn;

    (void)bytes, (void)size;
    if (sender != 0 || pair->user_flag != 0 || !kith__keys_can_write(&client->keys))
        return true;
    pair->user_flag = 1;
    for (int i = 0; i < 20; i++)
        rules_inject(pair, 0, KITH_LEVEL_DATA, stream, sizeof stream);
    KITH_CHECK(!kith_quic_conn_is_established(server));
    KITH_CHECK_EQ(server->streams.count, 0);
    KITH_CHECK_EQ(server->kept_count, KITH_CONN_EARLY_PACKETS_MAX);
    return false; /* and the Finished is lost */
}

KITH_TEST(rules_data_before_the_finished_waits_a_few_packets_of_it)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.tap = data_before_finished;
    KITH_CHECK_EQ(kith__pair_init(&pair_f, &config), 0);
    KITH_CHECK(kith__pair_connect(&pair_f));
    KITH_CHECK_EQ(pair_f.user_flag, 1);
    KITH_CHECK(pair_f.sides[1].host->stats.dropped_no_keys >= 20 - KITH_CONN_EARLY_PACKETS_MAX);
    KITH_CHECK_EQ(pair_f.sides[1].conn->kept_count, 0);
    KITH_CHECK_EQ(pair_f.sides[1].seen[KITH_QUIC_STREAM_OPENED], 1);
    kith__pair_dispose(&pair_f);
}

/* ---- 0-RTT ---- */

static uint8_t session[KITH_QUIC_SESSION_SIZE_MAX];
static size_t session_size;

/** A server that rejects 0-RTT, and then acknowledges it before anything was sent again. */
static bool ack_what_was_rejected(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    uint8_t copy[RULES_DATAGRAM_MAX], ack[] = { 2, 0, 0, 0, 0 };
    struct kith_quic_conn *client = pair->sides[0].conn;
    uint64_t sent = client->paths[0]->sent.next;

    if (sender != 1 || pair->user_flag != 0)
        return true;
    pair->user_flag = 1;
    KITH_CHECK(sent != 0 && client->early->is_early_offered);
    memcpy(copy, bytes, *size);
    rules_give(pair, 0, copy, *size, pair->sides[1].outer.port);
    KITH_CHECK(kith_quic_conn_is_established(client));
    ack[1] = ack[4] = (uint8_t)(sent - 1);
    rules_inject(pair, 1, KITH_LEVEL_DATA, ack, sizeof ack);
    return false;
}

static bool client_ended(struct kith_pair *pair)
{
    (void)pair;
    return app_f.sides[0].ended_total != 0;
}

KITH_TEST(rules_rejected_early_data_cannot_be_acknowledged)
{
    struct kith_quic_connect_options options = { .early_data = true };
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[0].grease = false; /* no skipped numbers */
    rules_connect(&pair_f, &app_f, &config);
    KITH_CHECK_EQ(kith_quic_conn_take_session(pair_f.sides[0].conn, session, sizeof session, &session_size), 0);
    kith_quic_conn_free(pair_f.sides[0].conn);
    kith_quic_conn_free(pair_f.sides[1].conn);
    pair_f.sides[1].conn = NULL;
    pair_f.sides[1].host->transport.allow_early_data = false;
    pair_f.config.tap = ack_what_was_rejected;
    options.session = (struct kith_slice) { session, session_size };
    KITH_CHECK_EQ(kith__pair_dial(&pair_f, &options), 0);
    app_f.sides[1].echo = true;
    kith__app_send(&pair_f, 0, true, 5000);
    KITH_CHECK(kith__pair_run_until(&pair_f, client_ended, 10 * KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_f.user_flag, 1);
    KITH_CHECK(!pair_f.sides[0].last[KITH_QUIC_CONNECTED].early_accepted);
    KITH_CHECK_EQ(app_f.sides[0].read_total, 5000);
    kith__pair_dispose(&pair_f);
}

/* ---- Acknowledgements ---- */

KITH_TEST(rules_ack_of_a_skipped_number_is_a_violation)
{
    struct kith_quic_conn *server;
    uint8_t ack[16] = { 2 };
    struct kith_writer w = kith__writer(ack + 1, sizeof ack - 1);

    rules_connect(&pair_f, &app_f, NULL);
    server = pair_f.sides[1].conn;
    for (int i = 0; i < 200 && server->paths[0]->sent.skip_count == 0; i++) {
        kith_quic_conn_ping(server, pair_f.now_ns);
        kith__pair_run(&pair_f, KITH_NS_PER_S / 10);
    }
    KITH_CHECK(server->paths[0]->sent.skip_count != 0);
    KITH_CHECK_EQ(kith__write_varint(&w, server->paths[0]->sent.skipped[0]) | kith__write_bytes(&w, "\0\0\0", 3), 0);
    rules_inject(&pair_f, 0, KITH_LEVEL_DATA, ack, 1 + kith__writer_size(&w));
    kith__pair_flush(&pair_f);
    KITH_CHECK_EQ(closed_with(1), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK(strcmp(pair_f.sides[1].closed_reason, "unsent packet acked") == 0);
    kith__pair_dispose(&pair_f);
}

KITH_TEST(rules_a_huge_ack_delay_is_capped)
{
    static const uint8_t delay[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0 };
    struct kith_quic_conn *server;
    uint8_t ack[24] = { 2 };
    struct kith_writer w = kith__writer(ack + 1, sizeof ack - 1);

    rules_connect(&pair_f, &app_f, NULL);
    server = pair_f.sides[1].conn;
    server->peer_delay_exponent = 20;
    kith_quic_conn_ping(server, pair_f.now_ns);
    pair_f.config.link.blocked[1] = true;
    kith__pair_flush(&pair_f);
    pair_f.now_ns += 500 * KITH_NS_PER_MS;
    KITH_CHECK_EQ(kith__write_varint(&w, server->paths[0]->sent.next - 1) | kith__write_bytes(&w, delay, sizeof delay),
                  0);
    rules_inject(&pair_f, 0, KITH_LEVEL_DATA, ack, 1 + kith__writer_size(&w));
    KITH_CHECK_EQ(closed_with(1), UINT64_MAX);
    KITH_CHECK_EQ(server->paths[0]->now.rtt.latest_ns, 500 * KITH_NS_PER_MS);
    KITH_CHECK(server->paths[0]->now.rtt.smoothed_ns > 80 * KITH_NS_PER_MS); /* at most max_ack_delay was taken off */
    kith__pair_dispose(&pair_f);
}

/* ---- Connection ids ---- */

KITH_TEST(rules_connection_id_frames_that_contradict_end_the_connection)
{
    for (int i = 0; i < 4; i++) {
        struct kith_cid_theirs_slot *slot = NULL;
        struct kith_frame frame = kith__frame(KITH_FRAME_NEW_CONNECTION_ID);
        uint8_t bytes[64];
        struct kith_writer w = kith__writer(bytes, sizeof bytes);

        rules_connect(&pair_f, &app_f, NULL);
        for (size_t k = 0; k < KITH_CIDS_THEIRS_MAX; k++)
            if (pair_f.sides[1].conn->paths[0]->cids_theirs.slots[k].sequence == 2)
                slot = &pair_f.sides[1].conn->paths[0]->cids_theirs.slots[k];
        KITH_CHECK(slot != NULL && slot->is_used);
        frame.new_cid.sequence = i == 2 ? 9 : 2;
        frame.new_cid.cid = slot->cid;
        memcpy(frame.new_cid.reset_token, slot->reset_token, 16);
        frame.new_cid.cid.bytes[0] ^= (uint8_t)(i == 0);
        frame.new_cid.reset_token[0] ^= (uint8_t)(i == 1);
        KITH_CHECK_EQ(kith__frame_write(&w, &frame), 0);
        rules_inject(&pair_f, 0, KITH_LEVEL_DATA, bytes, kith__writer_size(&w));
        kith__pair_flush(&pair_f);
        KITH_CHECK_EQ(closed_with(1), i == 3 ? UINT64_MAX : KITH_WIRE_PROTOCOL_VIOLATION); /* 3: an honest repetition */
        kith__pair_dispose(&pair_f);
    }
}

KITH_TEST(rules_an_id_cannot_be_retired_by_a_packet_that_is_sent_to_it)
{
    uint8_t retire[] = { 0x19, 0 };
    const struct kith_cid *dcid;

    for (int i = 0; i < 2; i++) {
        rules_connect(&pair_f, &app_f, NULL);
        dcid = kith__cid_theirs_active(&pair_f.sides[0].conn->paths[0]->cids_theirs);
        retire[1] = (uint8_t)(kith__cid_ours_find(&pair_f.sides[1].conn->paths[0]->cids_ours, dcid) + (uint64_t)i);
        rules_inject(&pair_f, 0, KITH_LEVEL_DATA, retire, sizeof retire);
        kith__pair_flush(&pair_f);
        KITH_CHECK_EQ(closed_with(1), i == 0 ? KITH_WIRE_PROTOCOL_VIOLATION : UINT64_MAX);
        kith__pair_dispose(&pair_f);
    }
}

KITH_TEST(rules_a_flood_of_retirements_ends_at_the_limit)
{
    int sent = 0;

    rules_connect(&pair_f, &app_f, NULL);
    pair_f.config.link.blocked[1] = true; /* no retirement is ever acknowledged */
    for (; sent < 200 && closed_with(1) == UINT64_MAX; sent++) {
        struct kith_frame frame = kith__frame(KITH_FRAME_NEW_CONNECTION_ID);
        uint8_t bytes[64];
        struct kith_writer w = kith__writer(bytes, sizeof bytes);

        frame.new_cid.sequence = frame.new_cid.retire_prior_to = (uint64_t)sent + 100;
        frame.new_cid.cid = (struct kith_cid) { .size = 8, .bytes = { 77, (uint8_t)sent } };
        KITH_CHECK_EQ(kith__frame_write(&w, &frame), 0);
        rules_inject(&pair_f, 0, KITH_LEVEL_DATA, bytes, kith__writer_size(&w));
        kith__pair_flush(&pair_f);
    }
    KITH_CHECK_EQ(closed_with(1), KITH_WIRE_CONNECTION_ID_LIMIT_ERROR);
    KITH_CHECK(sent >= 40 && sent <= 51);
    KITH_CHECK(pair_f.sides[1].conn->close.info.code == KITH_WIRE_CONNECTION_ID_LIMIT_ERROR);
    KITH_CHECK(!pair_f.sides[1].conn->close.due); /* the close frame left, to an id that was kept */
    kith__pair_dispose(&pair_f);
}

/* ---- Exact limits ---- */

/** STREAM frame with one byte at the offset. */
static void byte_at(uint64_t stream, uint64_t offset, bool fin)
{
    struct kith_frame frame = kith__frame(KITH_FRAME_STREAM);
    uint8_t bytes[64];
    struct kith_writer w = kith__writer(bytes, sizeof bytes);

    frame.stream = (struct kith_frame_stream) {
        .id = stream, .offset = offset, .data = { (const uint8_t *)"x", 1 }, .fin = fin, .has_length = true
    };
    KITH_CHECK_EQ(kith__frame_write(&w, &frame), 0);
    rules_inject(&pair_f, 0, KITH_LEVEL_DATA, bytes, kith__writer_size(&w));
    kith__pair_flush(&pair_f);
}

static void start_small(void)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[1].data_max = 15000;
    config.transport[1].stream_data_max = 10000;
    config.transport[1].streams_bidi_max = 3;
    config.transport[1].streams_uni_max = 2;
    rules_connect(&pair_f, &app_f, &config);
    pair_f.config.on_event = NULL; /* nobody reads: no credit is given back */
}

KITH_TEST(rules_flow_control_is_exact_to_the_byte)
{
    start_small();
    byte_at(0, 9999, false);
    KITH_CHECK_EQ(closed_with(1), UINT64_MAX);
    byte_at(0, 10000, false);
    KITH_CHECK_EQ(closed_with(1), KITH_WIRE_FLOW_CONTROL_ERROR);
    kith__pair_dispose(&pair_f);

    start_small();
    byte_at(0, 9999, false);
    byte_at(4, 4999, false); /* 15,000 in all, though only two bytes came */
    KITH_CHECK_EQ(closed_with(1), UINT64_MAX);
    byte_at(8, 0, false);
    KITH_CHECK_EQ(closed_with(1), KITH_WIRE_FLOW_CONTROL_ERROR);
    kith__pair_dispose(&pair_f);

    start_small();
    byte_at(0, 9999, false);
    byte_at(4, 0, false);
    rules_inject(&pair_f, 0, KITH_LEVEL_DATA, "\x04\x04\x00\x53\x89", 5); /* RESET_STREAM 4 with final size 5001 */
    kith__pair_flush(&pair_f);
    KITH_CHECK_EQ(closed_with(1), KITH_WIRE_FLOW_CONTROL_ERROR);
    kith__pair_dispose(&pair_f);
}

KITH_TEST(rules_stream_limits_are_exact)
{
    static const uint64_t last[] = { 8, 6 }, first_above[] = { 12, 10 };

    for (int kind = 0; kind < 2; kind++) {
        start_small();
        byte_at(last[kind], 0, true);
        KITH_CHECK_EQ(closed_with(1), UINT64_MAX);
        KITH_CHECK_EQ(pair_f.sides[1].conn->streams.count, kind == 0 ? 3 : 2); /* the lower ones are open too */
        byte_at(first_above[kind], 0, true);
        KITH_CHECK_EQ(closed_with(1), KITH_WIRE_STREAM_LIMIT_ERROR);
        kith__pair_dispose(&pair_f);
    }
}

KITH_TEST(rules_final_size_stands_in_all_states)
{
    for (int how = 0; how < 5; how++) {
        start_small();
        byte_at(0, 99, true); /* final size 100 */
        if (how >= 2)
            KITH_CHECK_EQ(kith_quic_stream_stop(pair_f.sides[1].conn, 0, 1), 0);
        if (how == 0 || how == 2)
            byte_at(0, 100, false);
        else if (how == 1 || how == 3)
            rules_inject(&pair_f, 0, KITH_LEVEL_DATA, "\x04\x00\x00\x3f", 4); /* RESET_STREAM with 63 */
        else
            byte_at(0, 49, true);
        kith__pair_flush(&pair_f);
        KITH_CHECK_EQ(closed_with(1), KITH_WIRE_FINAL_SIZE_ERROR);
        kith__pair_dispose(&pair_f);
    }
}
