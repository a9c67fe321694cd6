/* What a peer can make us hold or send, measured against the names of the limits; and the ends of a connection. */
#include "quic/conn/rules.h"

#include <stdio.h>

static struct kith_pair pair_l;
static struct kith_app app_l;

static const uint8_t ping_frame[] = { 1 };

static bool is_closed(int side)
{
    return pair_l.sides[side].seen[KITH_QUIC_CLOSED] != 0;
}

static uint64_t memory_of(int side)
{
    return rules_stats(&pair_l, side).memory_size;
}

/* ---- Amplification ---- */

static bool check_amplification(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    const struct kith_quic_conn *server = pair->sides[1].conn;

    (void)bytes, (void)size;
    if (sender == 1 && server != NULL && !kith__path_is_proved(server->paths[0]))
        KITH_CHECK(pair->sides[1].sent_bytes <= 3 * pair->sides[1].received_bytes);
    if (sender == 0 && pair->sides[0].conn->early != NULL && !pair->sides[0].conn->early->has_remote_cid)
        KITH_CHECK(*size >= 1200); /* the client pays for what it wants */
    return true;
}

KITH_TEST(rules_no_datagram_of_a_server_exceeds_three_times_what_came)
{
    struct kith_pair_config config;

    for (uint64_t seed = 1; seed <= 40; seed++) {
        kith__pair_defaults(&config);
        config.seed = seed;
        config.tap = check_amplification;
        config.link.loss_permille = 400;
        config.link.dup_permille = 100;
        KITH_CHECK_EQ(kith__pair_init(&pair_l, &config), 0);
        KITH_CHECK_EQ(kith__pair_dial(&pair_l, NULL), 0);
        kith__pair_run(&pair_l, 20 * KITH_NS_PER_S);
        kith__pair_dispose(&pair_l);
    }
}

/** A PATH_CHALLENGE of the client from another port; the answer of the server. */
static size_t challenge_from(uint16_t port, size_t pad_to, size_t *asked)
{
    static const uint8_t challenge[] = { 0x1a, 1, 2, 3, 4, 5, 6, 7, 8 };
    uint8_t datagram[RULES_DATAGRAM_MAX], buffer[KITH_QUIC_UDP_SIZE_MAX];
    struct kith_quic_transmit transmit;

    *asked = rules_seal(pair_l.sides[0].conn, KITH_LEVEL_DATA, 0, challenge, sizeof challenge, pad_to, datagram);
    rules_give(&pair_l, 1, datagram, *asked, port);
    KITH_CHECK(kith_quic_host_transmit(pair_l.sides[1].host, buffer, sizeof buffer, &transmit, pair_l.now_ns));
    KITH_CHECK_EQ(transmit.remote.port, port);
    return transmit.size;
}

KITH_TEST(rules_answer_to_a_challenge_from_elsewhere_is_limited_by_its_size)
{
    struct kith_pair_config config;
    size_t asked, answered;

    kith__pair_defaults(&config);
    config.transport[0].paths_max = 0; /* without NAT traversal, whose answers may be larger */
    rules_connect(&pair_l, &app_l, &config);
    answered = challenge_from(9000, 0, &asked);
    KITH_CHECK(asked < 60 && answered >= asked && answered <= 3 * asked);
    answered = challenge_from(9001, 300, &asked);
    KITH_CHECK_EQ(asked, 300);
    KITH_CHECK_EQ(answered, 900);
    answered = challenge_from(9002, 1200, &asked);
    KITH_CHECK_EQ(answered, 1200);
    KITH_CHECK_EQ(rules_stats(&pair_l, 1).migrations, 0);
    kith__pair_dispose(&pair_l);
}

KITH_TEST(rules_answers_to_small_probes_are_large_with_nat_traversal_but_not_without_end)
{
    size_t asked, answered, large = 0;

    rules_connect(&pair_l, &app_l, NULL);
    pair_l.sides[1].conn->has_nat_traversal = true;
    for (int i = 0; i < 2 * KITH_FULL_ANSWERS_MAX; i++) {
        answered = challenge_from((uint16_t)(9000 + i), 0, &asked);
        KITH_CHECK(asked < 60 && (answered == 1200 || answered <= 3 * asked));
        KITH_CHECK_EQ(answered == 1200, i < KITH_FULL_ANSWERS_MAX);
        large += answered == 1200;
    }
    KITH_CHECK_EQ(large, KITH_FULL_ANSWERS_MAX);
    KITH_CHECK_EQ(rules_stats(&pair_l, 1).migrations, 0);
    kith__pair_dispose(&pair_l);
}

/**
 * A client with many gaps in its numbers moves with one small packet: three times its size is not enough for all that an
 * ACK would say. The challenge goes first: until it is answered nothing more may be sent.
 */
KITH_TEST(rules_ack_leaves_room_for_the_challenge_under_a_small_allowance)
{
    uint8_t datagram[RULES_DATAGRAM_MAX];
    struct kith_path *path;
    size_t size;

    rules_connect(&pair_l, &app_l, NULL);
    path = pair_l.sides[1].conn->paths[0];
    for (int i = 0; i < 2 * KITH_ACK_RANGES_MAX; i++) { /* every second one is lost */
        size = rules_seal(pair_l.sides[0].conn, KITH_LEVEL_DATA, 0, ping_frame, sizeof ping_frame, 0, datagram);
        if (i % 2 == 0)
            rules_give(&pair_l, 1, datagram, size, pair_l.sides[0].outer.port);
    }
    pair_l.config.link.blocked[1] = true;
    kith__pair_rebind(&pair_l, 0);
    rules_inject(&pair_l, 0, KITH_LEVEL_DATA, ping_frame, sizeof ping_frame);
    KITH_CHECK_EQ(path->state, KITH_PATH_PROBING);
    KITH_CHECK(kith__path_allowance(path) < 120);
    kith__pair_flush(&pair_l);
    KITH_CHECK_EQ(path->prove.out_count, 1);
    pair_l.config.link.blocked[1] = false;
    kith__pair_run(&pair_l, 2 * KITH_NS_PER_S); /* the challenge or one after it reaches the client */
    kith__app_send(&pair_l, 0, true, 10);
    kith__pair_run(&pair_l, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(path->state, KITH_PATH_OPEN);
    kith__pair_dispose(&pair_l);
}

KITH_TEST(rules_challenges_from_everywhere_fill_the_queue_of_answers_and_no_more)
{
    uint8_t datagram[RULES_DATAGRAM_MAX], frame[] = { 0x1a, 1, 2, 3, 4, 5, 6, 7, 8 };
    uint64_t before, ignored;

    rules_connect(&pair_l, &app_l, NULL);
    before = memory_of(1);
    ignored = rules_stats(&pair_l, 1).frames_ignored;
    for (int i = 0; i < 200; i++) {
        size_t size = rules_seal(pair_l.sides[0].conn, KITH_LEVEL_DATA, 0, frame, sizeof frame, 0, datagram);

        rules_give(&pair_l, 1, datagram, size, (uint16_t)(9000 + i));
    }
    KITH_CHECK(memory_of(1) - before <= KITH_RESPONSES_MAX * sizeof(struct kith_response) + 2048);
    KITH_CHECK_EQ(rules_stats(&pair_l, 1).frames_ignored - ignored, 200 - KITH_RESPONSES_MAX);
    kith__pair_run(&pair_l, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_l.sides[1].conn->paths[0]->responses.count, 0);
    KITH_CHECK(!is_closed(1));
    kith__pair_dispose(&pair_l);
}

/* ---- Memory ---- */

static void send_frame(int from, const struct kith_frame *frame)
{
    uint8_t bytes[RULES_DATAGRAM_MAX];
    struct kith_writer w = kith__writer(bytes, 1300);

    KITH_CHECK_EQ(kith__frame_write(&w, frame), 0);
    rules_inject(&pair_l, from, KITH_LEVEL_DATA, bytes, kith__writer_size(&w));
}

/** Nobody reads, and the client hears nothing. */
static void start_deaf(struct kith_pair_config *config)
{
    rules_connect(&pair_l, &app_l, config);
    pair_l.config.on_event = NULL;
    pair_l.config.link.blocked[1] = true;
}

KITH_TEST(rules_unread_stream_bytes_cost_at_most_twice_the_windows_and_the_slack)
{
    const uint64_t blocks_max = 2 * KITH_INBUF_SLACK / KITH_INBUF_BLOCK_MIN * sizeof(struct kith_inbuf_block);
    struct kith_pair_config config;
    uint64_t before;

    kith__pair_defaults(&config);
    config.transport[1].stream_data_max = 4000;
    config.transport[1].streams_bidi_max = 4;
    start_deaf(&config);
    before = memory_of(1);
    for (uint64_t offset = 4000; offset-- > 0;) /* the worst way: byte by byte, from the end */
        for (uint64_t id = 0; id < 16; id += 4) {
            struct kith_frame frame = kith__frame(KITH_FRAME_STREAM);

            frame.stream = (struct kith_frame_stream) {
                .id = id, .offset = offset, .data = { (const uint8_t *)"x", 1 }, .has_length = true
            };
            send_frame(0, &frame);
            KITH_CHECK(memory_of(1) - before <=
                       4 * (2 * (4000 - offset) + KITH_INBUF_SLACK + sizeof(struct kith_stream) + blocks_max) + 65536);
        }
    KITH_CHECK(!is_closed(1));
    kith__pair_dispose(&pair_l);
}

KITH_TEST(rules_unread_datagrams_cost_at_most_their_buffer)
{
    struct kith_pair_config config;
    uint64_t before;

    kith__pair_defaults(&config);
    config.transport[1].datagram_receive_max = 20000;
    start_deaf(&config);
    before = memory_of(1);
    for (size_t i = 0; i < 2000; i++) {
        static const uint8_t bytes[1000];
        struct kith_frame frame = kith__frame(KITH_FRAME_DATAGRAM_WITH_LENGTH);

        frame.datagram.data = (struct kith_slice) { bytes, i % 2 == 0 ? 0 : i % sizeof bytes };
        send_frame(0, &frame);
        KITH_CHECK(memory_of(1) - before <= 20000 + 16384);
    }
    KITH_CHECK(rules_stats(&pair_l, 1).datagrams_dropped_receive > 1900);
    KITH_CHECK(!is_closed(1));
    kith__pair_dispose(&pair_l);
}

KITH_TEST(rules_other_frames_that_a_peer_repeats_cost_nothing_lasting)
{
    struct kith_frame frame;
    uint8_t token[KITH_CONN_TOKEN_SIZE_MAX + 1] = { 0 };
    uint64_t before;

    for (int from = 0; from < 2; from++) {
        start_deaf(NULL);
        before = memory_of(1 - from);
        for (uint64_t i = 0; i < 1000; i++) {
            frame = kith__frame(KITH_FRAME_MAX_DATA + i % 2 * 4); /* MAX_DATA, DATA_BLOCKED */
            frame.max_data.max = i;
            send_frame(from, &frame);
            frame = kith__frame(i % 2 == 0 ? KITH_FRAME_STREAMS_BLOCKED_BIDI : KITH_FRAME_MAX_STREAMS_UNI);
            frame.max_streams.max = i;
            send_frame(from, &frame);
            frame = kith__frame(KITH_FRAME_ACK_FREQUENCY);
            frame.ack_frequency.sequence = i;
            frame.ack_frequency.request_max_ack_delay_us = 1000 + i;
            send_frame(from, &frame);
            frame = kith__frame(KITH_FRAME_PATH_RESPONSE);
            send_frame(from, &frame);
            frame = kith__frame(KITH_FRAME_PATH_CHALLENGE);
            send_frame(from, &frame);
            frame = kith__frame(KITH_FRAME_NEW_TOKEN);
            frame.new_token.token = (struct kith_slice) { token, 1 + i % sizeof token };
            if (from == 1)
                send_frame(from, &frame);
        }
        KITH_CHECK(memory_of(1 - from) - before <= 16384);
        KITH_CHECK(!is_closed(1 - from));
        kith__pair_dispose(&pair_l);
    }
}

/** The peer at side 1 - `side` asks for ACKs and never sends one itself: `count` times. */
static void ask_without_end(int side, int count)
{
    for (int i = 0; i < count && !is_closed(side); i++) {
        rules_inject(&pair_l, 1 - side, KITH_LEVEL_DATA, ping_frame, sizeof ping_frame);
        kith__sent_clear(&pair_l.sides[1 - side].conn->paths[0]->sent); /* the test's own records */
        if (i % 64 == 0)
            kith__pair_flush(&pair_l);
        else
            for (uint8_t buffer[KITH_QUIC_UDP_SIZE_MAX];;) {
                struct kith_quic_transmit transmit;

                if (!kith_quic_host_transmit(pair_l.sides[side].host, buffer, sizeof buffer, &transmit, pair_l.now_ns))
                    break;
            }
    }
}

KITH_TEST(rules_peer_that_acknowledges_nothing_costs_a_bounded_log_and_then_its_connection)
{
    struct kith_pair_config config;
    uint64_t before, largest = 0;

    kith__pair_defaults(&config);
    config.transport[0].min_ack_delay_ns = config.transport[1].min_ack_delay_ns = 0;
    start_deaf(&config);
    pair_l.config.link.blocked[0] = true;
    before = memory_of(1);
    kith__app_send(&pair_l, 1, true, 100000); /* never acknowledged */
    for (int round = 0; round < 400 && !is_closed(1); round++) {
        ask_without_end(1, 1000);
        largest = KITH_MAX(largest, memory_of(1) - before);
    }
    printf("a log that nobody acknowledges: %llu KiB\n", (unsigned long long)largest / 1024);
    KITH_CHECK(largest <= (2 * KITH_SENT_OTHERS_MAX + 4096) * sizeof(struct kith_sent) + 400 * 1024);
    KITH_CHECK(is_closed(1));
    KITH_CHECK_EQ(pair_l.sides[1].closed.code, KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_STR(pair_l.sides[1].closed_reason, "nothing is acknowledged");
    pair_l.config.link.blocked[1] = false;
    for (int i = 0; i < 64 && !is_closed(0); i++) /* the close leaves, again and again if it must */
        rules_inject(&pair_l, 0, KITH_LEVEL_DATA, ping_frame, sizeof ping_frame);
    kith__pair_run(&pair_l, 100 * KITH_NS_PER_MS);
    KITH_CHECK(is_closed(0));
    KITH_CHECK_EQ(pair_l.sides[0].closed.code, KITH_WIRE_PROTOCOL_VIOLATION);
    kith__pair_dispose(&pair_l);
}

static bool is_short_of_memory;

static void *resize_or_not(void *ctx, void *ptr, size_t size)
{
    const struct kith_mem *mem = ctx;

    return is_short_of_memory && size != 0 ? NULL : mem->resize(mem->ctx, ptr, size);
}

KITH_TEST(rules_close_leaves_without_memory_however_full_the_log_is)
{
    struct kith_mem mem = { resize_or_not, (void *)(uintptr_t)kith_mem_default() };

    for (int packets = 0; packets < 34; packets++) { /* the log is full several times */
        struct kith_pair_config config;
        uint64_t sent;

        kith__pair_defaults(&config);
        config.mem[0] = &mem;
        rules_connect(&pair_l, &app_l, &config);
        for (int i = 0; i < packets; i++) {
            kith_quic_conn_ping(pair_l.sides[0].conn, pair_l.now_ns);
            kith__pair_flush(&pair_l);
        }
        is_short_of_memory = true;
        sent = pair_l.sides[0].sent_datagrams;
        kith_quic_conn_close(pair_l.sides[0].conn, 5, (struct kith_slice) { 0 }, pair_l.now_ns);
        kith__pair_flush(&pair_l);
        KITH_CHECK_EQ(pair_l.sides[0].sent_datagrams, sent + 1);
        is_short_of_memory = false;
        kith__pair_run(&pair_l, 100 * KITH_NS_PER_MS);
        KITH_CHECK(is_closed(1));
        KITH_CHECK_EQ(pair_l.sides[1].closed.code, 5);
        kith__pair_dispose(&pair_l);
    }
}

KITH_TEST(rules_gaps_in_numbers_cost_the_ranges_of_one_ack)
{
    struct kith_quic_conn *client;
    uint64_t before;

    start_deaf(NULL);
    client = pair_l.sides[0].conn;
    before = memory_of(1);
    for (int i = 0; i < 1000; i++) {
        kith__sent_dispose(&client->paths[0]->sent);
        client->paths[0]->now.in_flight_size = client->paths[0]->now.in_flight_count = 0;
        client->paths[0]->sent.base = client->paths[0]->sent.oldest = client->paths[0]->sent.next += 2;
        rules_inject(&pair_l, 0, KITH_LEVEL_DATA, ping_frame, sizeof ping_frame);
    }
    KITH_CHECK(pair_l.sides[1].conn->paths[0]->received.seen.count <= KITH_ACK_RANGES_MAX);
    KITH_CHECK(memory_of(1) - before <= 2 * KITH_ACK_RANGES_MAX * sizeof(struct kith_range) + 1024);
    KITH_CHECK(!is_closed(1));
    kith__pair_dispose(&pair_l);
}

KITH_TEST(rules_crypto_bytes_with_a_hole_cost_at_most_their_buffer)
{
    static const uint8_t bytes[1000];
    uint64_t before;

    start_deaf(NULL);
    before = memory_of(0);
    for (uint64_t at = 1; at < 15000; at += sizeof bytes) {
        struct kith_frame frame = kith__frame(KITH_FRAME_CRYPTO);

        frame.crypto.offset = pair_l.sides[0].conn->handshake.data.in.consumed + at;
        frame.crypto.data = (struct kith_slice) { bytes, sizeof bytes };
        pair_l.config.link.blocked[1] = false;
        send_frame(1, &frame);
    }
    KITH_CHECK(memory_of(0) > before + 14000);
    KITH_CHECK(memory_of(0) - before <= 2 * KITH_HANDSHAKE_BUFFER_MAX + 8192);
    KITH_CHECK(!is_closed(0));
    kith__pair_dispose(&pair_l);
}

/* ---- Time ---- */

KITH_TEST(rules_idle_time_is_at_least_three_probe_timeouts)
{
    struct kith_pair_config config;
    uint64_t pto_ns, start_ns;

    kith__pair_defaults(&config);
    config.transport[0].keep_alive_ns = config.transport[1].keep_alive_ns = 0;
    config.transport[0].idle_timeout_ns = KITH_NS_PER_MS;
    KITH_CHECK_EQ(kith__pair_init(&pair_l, &config), 0);
    KITH_CHECK(kith__pair_connect(&pair_l));
    pto_ns = kith__conn_pto_max(pair_l.sides[1].conn);
    start_ns = pair_l.sides[1].conn->paths[0]->idle_from_ns;
    while (!is_closed(1))
        KITH_CHECK(kith__pair_step(&pair_l, pair_l.now_ns + KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_l.sides[1].closed.err, KITH_ERR_IDLE);
    KITH_CHECK(pair_l.now_ns - start_ns >= 2 * pto_ns && pair_l.now_ns - start_ns <= 10 * KITH_NS_PER_S);
    kith__pair_dispose(&pair_l);
}

KITH_TEST(rules_the_longest_idle_time_of_a_peer_does_not_wrap_around)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[0].keep_alive_ns = config.transport[1].keep_alive_ns = 0;
    config.transport[0].idle_timeout_ns = 0;
    config.transport[1].idle_timeout_ns = UINT64_MAX;
    KITH_CHECK_EQ(kith__pair_init(&pair_l, &config), 0);
    KITH_CHECK(kith__pair_connect(&pair_l));
    kith__pair_run(&pair_l, 1000 * KITH_NS_PER_S);
    KITH_CHECK(!is_closed(0) && !is_closed(1));
    kith__pair_dispose(&pair_l);
}

KITH_TEST(rules_draining_side_answers_once_and_then_never)
{
    uint64_t before;

    rules_connect(&pair_l, &app_l, NULL);
    before = pair_l.sides[1].sent_datagrams;
    rules_inject(&pair_l, 0, KITH_LEVEL_DATA, "\x1d\x07\x00", 3);
    for (int i = 0; i < 100; i++) {
        kith__pair_flush(&pair_l);
        rules_inject(&pair_l, 0, KITH_LEVEL_DATA, ping_frame, sizeof ping_frame);
        rules_inject(&pair_l, 0, KITH_LEVEL_DATA, "\x1d\x07\x00", 3);
    }
    KITH_CHECK_EQ(pair_l.sides[1].sent_datagrams, before + 1);
    KITH_CHECK_EQ(pair_l.sides[1].closed.code, 7);
    kith__pair_run(&pair_l, 5 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_l.sides[1].seen[KITH_QUIC_DRAINED], 1);
    kith__pair_dispose(&pair_l);
}

/* ---- Keys ---- */

KITH_TEST(rules_updates_of_keys_one_after_another_and_a_packet_from_two_before)
{
    uint8_t old[RULES_DATAGRAM_MAX];
    uint64_t before;
    size_t size;

    rules_connect(&pair_l, &app_l, NULL);
    size = rules_seal(pair_l.sides[0].conn, KITH_LEVEL_DATA, 0, ping_frame, sizeof ping_frame, 40, old);
    for (uint32_t i = 1; i <= 4; i++) {
        KITH_CHECK_EQ(kith_quic_conn_update_keys(pair_l.sides[i % 2].conn, pair_l.now_ns), 0);
        kith__pair_run(&pair_l, 200 * KITH_NS_PER_MS);
        KITH_CHECK_EQ(pair_l.sides[0].conn->keys.write_generation, i);
        KITH_CHECK_EQ(pair_l.sides[1].conn->keys.read_generation, i);
    }
    before = pair_l.sides[1].host->stats.dropped_decrypt;
    rules_give(&pair_l, 1, old, size, pair_l.sides[0].outer.port); /* the same phase bit as now */
    KITH_CHECK_EQ(pair_l.sides[1].host->stats.dropped_decrypt, before + 1);
    kith__pair_run(&pair_l, KITH_NS_PER_S);
    KITH_CHECK(!is_closed(0) && !is_closed(1));
    kith__pair_dispose(&pair_l);
}
