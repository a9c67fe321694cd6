/* Datagrams through the server core: what arrives, what is dropped and counted, who gets how much. Spec/02, 3.2, 5.2, 5.4, 5.5. */
#include "base/test.h"
#include "relay/crowd.h"
#include <string.h>

static struct crowd crowd;

static void start(const struct kith_relay_server_limits *limits)
{
    KITH_CHECK_EQ(crowd_init(&crowd, kith_mem_default(), 1, 0, limits, NULL), 0);
}

#define COUNTER(field) kith__relay_counter(&crowd.counters[0].field)

KITH_TEST(relay_forwards_datagrams_with_the_key_of_the_sender)
{
    struct crowd_client *a, *b;

    start(NULL);
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    crowd_send(
        a, &(struct kith_relay_frame) {
               .kind = KITH_RELAY_CLIENT_DATAGRAM,
               .datagram = { .key = b->pair.id.bytes, .payload = { (const uint8_t *)"Hello World!", 12 }, .ecn = 3 } });
    crowd_pump(&crowd);
    KITH_CHECK_EQ(b->count[KITH_RELAY_SERVER_DATAGRAM], 1);
    KITH_CHECK_BYTES(b->from.bytes, a->pair.id.bytes, KITH_ID_SIZE);
    KITH_CHECK(b->ecn == 3 && b->payload_size == 12 && b->segment_size == 0);
    KITH_CHECK_BYTES(b->payload, "Hello World!", 12);
    crowd_send(a, &(struct kith_relay_frame) { .kind = KITH_RELAY_CLIENT_BATCH,
                                               .datagram = { .key = b->pair.id.bytes,
                                                             .payload = { (const uint8_t *)"Hello World!", 12 },
                                                             .segment_size = 5,
                                                             .ecn = 1 } });
    crowd_pump(&crowd);
    KITH_CHECK_EQ(b->count[KITH_RELAY_SERVER_BATCH], 1);
    KITH_CHECK(b->segment_size == 5 && b->ecn == 1 && b->payload_size == 12);
    KITH_CHECK(COUNTER(bytes_recv) == 24 && COUNTER(bytes_sent) == 24);
    KITH_CHECK(COUNTER(send_packets_recv) == 2 && COUNTER(send_packets_sent) == 2);
    crowd_check_sums(&crowd);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_forwards_a_batch_without_segment_size_as_one_datagram)
{
    uint8_t message[39] = { KITH_RELAY_CLIENT_BATCH };
    struct crowd_client *a, *b;

    start(NULL);
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    memcpy(message + 1, b->pair.id.bytes, KITH_ID_SIZE);
    memcpy(message + 36, "abc", 3);
    crowd_send_message(a, KITH_WS_BINARY, message, sizeof message);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(b->count[KITH_RELAY_SERVER_DATAGRAM], 1);
    KITH_CHECK(b->payload_size == 3 && memcmp(b->payload, "abc", 3) == 0);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_forwards_the_largest_and_drops_what_would_end_a_receiver)
{
    static uint8_t message[KITH_RELAY_BODY_MAX + 2] = { KITH_RELAY_CLIENT_DATAGRAM };
    struct crowd_client *a, *b;

    start(NULL);
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    memcpy(message + 1, b->pair.id.bytes, KITH_ID_SIZE);
    crowd_send_message(a, KITH_WS_BINARY, message, KITH_RELAY_FRAME_MAX);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(b->payload_size, 65502);
    crowd_send_message(a, KITH_WS_BINARY, message, KITH_RELAY_FRAME_MAX + 1); /* a body of 65,536 */
    crowd_send_message(a, KITH_WS_BINARY, message, KITH_RELAY_DATAGRAM_OVERHEAD);
    crowd_pump(&crowd);
    KITH_CHECK(b->count[KITH_RELAY_SERVER_DATAGRAM] == 1 && !b->has_ended && !a->has_ended);
    KITH_CHECK(COUNTER(drops_oversize) == 1 && COUNTER(drops_empty) == 1);
    message[0] = KITH_RELAY_CLIENT_BATCH;
    message[35] = 100; /* of the segment size */
    crowd_send_message(a, KITH_WS_BINARY, message, KITH_RELAY_FRAME_MAX);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(b->payload_size, 65500);
    crowd_send_message(a, KITH_WS_BINARY, message, KITH_RELAY_FRAME_MAX + 1);
    crowd_send_message(a, KITH_WS_BINARY, message, KITH_RELAY_BATCH_OVERHEAD);
    crowd_pump(&crowd);
    KITH_CHECK(COUNTER(drops_oversize) == 2 && COUNTER(drops_empty) == 2);
    crowd_check_sums(&crowd);
    crowd_send_message(a, KITH_WS_BINARY, message, KITH_RELAY_BODY_MAX + 2); /* this one ends the sender */
    crowd_pump(&crowd);
    KITH_CHECK(a->has_ended && a->end == KITH_RELAY_END_PROTOCOL && !b->has_ended);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_forwards_messages_in_any_pieces)
{
    static const uint8_t mask[4] = { 1, 2, 3, 4 };
    uint8_t bytes[2][1400], stream[4000];
    size_t size = 0, head;
    struct crowd_client *a, *b;

    start(NULL);
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    for (int i = 0; i < 2; i++) {
        struct kith_relay_datagram datagram = { .key = b->pair.id.bytes };
        size_t frame = kith__relay_datagram_head(KITH_RELAY_FROM_CLIENT, &datagram, bytes[i]);

        memset(bytes[i] + frame, 'a' + i, 1200);
        frame += 1200;
        /* The second one is fragmented, with a ping between the parts. */
        head = kith__ws_frame_write(stream + size, KITH_WS_BINARY, mask, i == 0 ? frame : 700);
        if (i == 1)
            stream[size] &= 0x7f;
        memcpy(stream + size + head, bytes[i], i == 0 ? frame : 700);
        kith__ws_mask(stream + size + head, i == 0 ? frame : 700, mask, 0);
        size += head + (i == 0 ? frame : 700);
        if (i == 1) {
            size += kith__ws_control_write(stream + size, KITH_WS_PING, mask, (const uint8_t *)"p", 1);
            head = kith__ws_frame_write(stream + size, KITH_WS_CONTINUATION, mask, frame - 700);
            memcpy(stream + size + head, bytes[i] + 700, frame - 700);
            kith__ws_mask(stream + size + head, frame - 700, mask, 0);
            size += head + frame - 700;
        }
    }
    for (size_t piece = 1; piece < 200; piece += 13) {
        uint64_t before = b->count[KITH_RELAY_SERVER_DATAGRAM];

        for (size_t at = 0; at < size; at += piece) {
            crowd_send_raw(a, stream + at, KITH_MIN(piece, size - at));
            kith__relay_server_check(crowd.servers[0]);
        }
        crowd_pump(&crowd);
        KITH_CHECK_EQ(b->count[KITH_RELAY_SERVER_DATAGRAM], before + 2);
        KITH_CHECK_EQ(b->payload_size, 1200);
        KITH_CHECK(b->payload[0] == 'b' && b->payload[1199] == 'b');
    }
    crowd_dispose(&crowd);
}

KITH_TEST(relay_drops_what_nobody_is_there_for)
{
    struct kith_id nobody = { { 7 } };
    struct crowd_client *a;

    start(NULL);
    a = crowd_connect(&crowd, 0, 1);
    for (int i = 0; i < 10; i++)
        crowd_send_datagram(a, &nobody, 1, 100);
    crowd_pump(&crowd);
    KITH_CHECK(COUNTER(send_packets_dropped) == 10 && !a->has_ended);
    crowd_check_sums(&crowd);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_follows_a_key_that_comes_and_goes)
{
    struct crowd_client *a, *b, *c;

    start(NULL);
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    for (int i = 0; i < 3; i++)
        crowd_send_datagram(a, &b->pair.id, 1, 100);
    crowd_leave(b);
    crowd_send_datagram(a, &b->pair.id, 1, 100);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(COUNTER(send_packets_dropped), 1);
    KITH_CHECK_EQ(COUNTER(drops_disconnect), 3);
    c = crowd_connect(&crowd, 0, 2);
    crowd_send_datagram(a, &c->pair.id, 1, 100);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(c->payload_bytes, 100);
    crowd_check_sums(&crowd);
    crowd_dispose(&crowd);
}

/* ---- Queues ---- */

KITH_TEST(relay_queue_is_bounded_in_bytes_and_frames)
{
    struct crowd_client *a, *b;
    struct kith_relay_session_info info;

    start(&(struct kith_relay_server_limits) { .queue_size_max = 128 << 10, .queue_frames_max = 64 });
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    b->is_stuck = true;
    for (int i = 0; i < 1000; i++)
        crowd_send_datagram(a, &b->pair.id, 1, 100);
    info = kith__relay_session_info(b->session);
    KITH_CHECK(info.queued_frames <= 64 && info.queued_frames >= 32);
    KITH_CHECK_EQ(COUNTER(drops_queue_full) + COUNTER(drops_queue_share), 1000 - info.queued_frames);
    KITH_CHECK_EQ(info.dropped_frames, 1000 - info.queued_frames);
    crowd_check_sums(&crowd);
    crowd_leave(b);
    b = crowd_connect(&crowd, 0, 2);
    b->is_stuck = true;
    for (int i = 0; i < 100; i++)
        crowd_send_datagram(a, &b->pair.id, 1, 10000);
    info = kith__relay_session_info(b->session);
    KITH_CHECK(info.queued_bytes <= 128 << 10 && info.queued_bytes >= 60 << 10);
    kith__relay_server_check(crowd.servers[0]);
    crowd_check_sums(&crowd);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_control_frames_go_ahead_of_datagrams)
{
    struct crowd_client *a, *b;
    struct kith_slice slices[8];
    struct kith_ws_frame frame;
    size_t count;

    start(NULL);
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    for (int i = 0; i < 100; i++)
        crowd_send_datagram(a, &b->pair.id, 1, 1200);
    KITH_CHECK(kith__relay_session_output(b->session, slices, 1) == 1 && slices[0].size > 300);
    kith__relay_session_sent(b->session, 300, crowd.now_ns); /* in the middle of a frame */
    crowd_deliver(b, (struct kith_slice) { slices[0].ptr, 300 });
    crowd_send(b, &(struct kith_relay_frame) { .kind = KITH_RELAY_PING, .ping = (const uint8_t *)"pingping" });
    count = kith__relay_session_output(b->session, slices, 8);
    KITH_CHECK(count > 2);
    KITH_CHECK_EQ(slices[0].size, 1200 + 34 + 4 - 300); /* the rest of that frame, then the Pong */
    KITH_CHECK_EQ(kith__ws_frame_parse(slices[1].ptr, slices[1].size, &frame), 0);
    KITH_CHECK(frame.size == 9 && slices[1].ptr[2] == KITH_RELAY_PONG);
    kith__relay_session_sent(b->session, 0, crowd.now_ns);
    crowd_pump(&crowd);
    KITH_CHECK(b->count[KITH_RELAY_PONG] == 1 && b->count[KITH_RELAY_SERVER_DATAGRAM] == 100);
    crowd_check_sums(&crowd);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_control_frames_for_who_does_not_read_are_bounded)
{
    struct crowd_client *a;

    start(NULL);
    a = crowd_connect(&crowd, 0, 1);
    a->is_stuck = true;
    for (int i = 0; i < 10000; i++)
        crowd_send(a, &(struct kith_relay_frame) { .kind = KITH_RELAY_PING, .ping = (const uint8_t *)"pingping" });
    KITH_CHECK(COUNTER(drops_control) > 6000);
    KITH_CHECK(kith__relay_session_output_size(a->session) <= KITH_RELAY_CONTROL_SIZE_MAX);
    kith__relay_server_check(crowd.servers[0]);
    crowd_dispose(&crowd);
}

/** A client that takes `rate` bytes a write, and `flooders` who send it more than that, one of them much more. */
static void share_of(struct crowd_client *target, struct crowd_client **senders, size_t count)
{
    target->rate = 8000;
    for (int round = 0; round < 400; round++) {
        for (size_t i = 0; i < count; i++)
            for (int n = 0; n < (i == 0 ? 200 : 4); n++)
                crowd_send_datagram(senders[i], &target->pair.id, (uint8_t)i, 1200);
        for (int n = 0; n < 2; n++)
            crowd_write(target);
        crowd.now_ns += KITH_NS_PER_MS;
    }
    crowd_check_sums(&crowd);
}

KITH_TEST(relay_gives_each_sender_its_share_of_a_slow_receiver)
{
    struct crowd_client *target, *senders[4];
    uint64_t least = UINT64_MAX;

    start(NULL);
    target = crowd_connect(&crowd, 0, 100);
    for (uint8_t i = 0; i < 4; i++)
        senders[i] = crowd_connect(&crowd, 0, i);
    crowd.is_unchecked = true;
    share_of(target, senders, 4);
    for (int i = 2; i < 5; i++) /* the target is client 0, the flood client 1 */
        least = KITH_MIN(least, target->from_count[i]);
    /* Some 5,200 went through: a flood of 200 a round leaves to each of the others, who ask for 4 a round, a quarter. */
    KITH_CHECK(target->count[KITH_RELAY_SERVER_DATAGRAM] > 5000);
    KITH_CHECK(least > target->count[KITH_RELAY_SERVER_DATAGRAM] / 4 * 9 / 10);
    KITH_CHECK(COUNTER(drops_queue_share) + COUNTER(drops_queue_full) > 70000);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_turn_of_a_lane_goes_on_when_a_write_is_taken_in_part)
{
    struct crowd_client *target, *senders[3];

    start(NULL);
    target = crowd_connect(&crowd, 0, 100);
    for (uint8_t i = 0; i < 3; i++)
        senders[i] = crowd_connect(&crowd, 0, i);
    for (uint8_t i = 0; i < 3; i++)
        for (int n = 0; n < 100; n++)
            crowd_send_datagram(senders[i], &target->pair.id, i, 1200);
    target->rate = 3000; /* of writes of 16 KiB and more */
    for (int i = 0; i < 17; i++) {
        crowd_write(target);
        kith__relay_server_check(crowd.servers[0]);
        /* A turn is 14 frames of 1,238 bytes: what is over 16 KiB by one. */
        KITH_CHECK(target->from_count[2] == 0 || target->from_count[1] == 14);
        KITH_CHECK(target->from_count[3] == 0 || target->from_count[2] == 14);
    }
    KITH_CHECK_EQ(target->from_count[3], 13); /* 51,000 bytes in all */
    crowd_dispose(&crowd);
}

KITH_TEST(relay_flood_does_not_delay_another_senders_packet)
{
    struct crowd_client *target, *flood, *rare;
    uint64_t before;

    start(NULL);
    target = crowd_connect(&crowd, 0, 100);
    flood = crowd_connect(&crowd, 0, 1);
    rare = crowd_connect(&crowd, 0, 2);
    for (int i = 0; i < 2000; i++)
        crowd_send_datagram(flood, &target->pair.id, 1, 1200);
    KITH_CHECK(kith__relay_session_output_size(target->session) > 300 << 10);
    crowd_send_datagram(rare, &target->pair.id, 2, 1200);
    before = target->bytes;
    while (target->from_count[2] == 0)
        crowd_write(target);
    KITH_CHECK(target->bytes - before <= 2 * (16 << 10) + (64 << 10)); /* a turn, and what was under way */
    crowd_dispose(&crowd);
}

KITH_TEST(relay_memory_of_all_queues_is_bounded_and_newcomers_find_room)
{
    struct crowd_client *clients[32], *sender;
    struct kith_relay_server_stats stats;

    start(&(struct kith_relay_server_limits) { .memory_max = 1 << 20 });
    sender = crowd_connect(&crowd, 0, 200);
    for (uint8_t i = 0; i < 32; i++) {
        clients[i] = crowd_connect(&crowd, 0, i);
        clients[i]->is_stuck = true;
        for (int n = 0; n < 400; n++)
            crowd_send_datagram(sender, &clients[i]->pair.id, 1, 1200);
        KITH_CHECK(kith__relay_session_info(clients[i]->session).queued_frames > 0);
        kith__relay_server_check(crowd.servers[0]);
    }
    stats = kith__relay_server_stats(crowd.servers[0]);
    KITH_CHECK(stats.queued_bytes <= 1 << 20 && stats.queued_bytes > 700 << 10);
    KITH_CHECK(COUNTER(drops_memory) > 0);
    crowd_check_sums(&crowd);
    crowd_advance(&crowd, 5 * KITH_NS_PER_S);
    KITH_CHECK_EQ(kith__relay_server_stats(crowd.servers[0]).queued_bytes, 0); /* they were too slow, and are out */
    KITH_CHECK_EQ(COUNTER(ends_stalled), 32);
    crowd_check_sums(&crowd);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_memory_of_cut_messages_counts_too)
{
    static uint8_t part[60000] = { 0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, 0, 0, 0, 0, 4 };
    uint64_t ended = 0;

    start(&(struct kith_relay_server_limits) { .memory_max = 512 << 10 });
    for (uint8_t i = 0; i < 32; i++) {
        struct crowd_client *client = crowd_connect(&crowd, 0, i);

        crowd_send_raw(client, part, sizeof part);
        crowd_pump(&crowd);
        KITH_CHECK(kith__relay_server_stats(crowd.servers[0]).queued_bytes <= 256 << 10);
        KITH_CHECK(client->session != NULL); /* those who began before it had to go */
    }
    for (size_t i = 0; i < crowd.client_count; i++)
        ended += crowd.clients[i].has_ended && crowd.clients[i].end == KITH_RELAY_END_MEMORY;
    KITH_CHECK(ended > 20 && ended < 32 && crowd.clients[0].has_ended);
    KITH_CHECK_EQ(COUNTER(ends_memory), ended);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_messages_that_never_end_take_no_memory_from_those_that_do)
{
    static uint8_t part[60000] = { 0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, 0, 0, 0, 0, 4 };
    struct crowd_client *a, *b;

    start(&(struct kith_relay_server_limits) { .memory_max = 1 << 20 });
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    for (uint8_t i = 3; i < 35; i++) {
        struct crowd_client *evil = crowd_connect(&crowd, 0, i);

        crowd_send_raw(evil, part, sizeof part);
        for (int k = 0; k < 4; k++) { /* a message of an honest one in two pieces, then one that is for b */
            static const uint8_t head[] = { 0x82, 0x80 | 126, 0x30, 0, 0, 0, 0, 0, 4 };
            static uint8_t rest[0x3000 - 1];

            memcpy(rest, b->pair.id.bytes, KITH_ID_SIZE);
            crowd_send_raw(a, head, sizeof head);
            crowd_send_raw(a, rest, 5000);
            crowd_send_raw(a, rest + 5000, sizeof rest - 5000);
            crowd_pump(&crowd);
        }
    }
    KITH_CHECK(a->session != NULL && b->session != NULL);
    KITH_CHECK_EQ(b->count[KITH_RELAY_SERVER_DATAGRAM], 32 * 4);
    KITH_CHECK(COUNTER(ends_memory) > 20);
    crowd_dispose(&crowd);
}

/* ---- Rate limits (spec/02, 5.5) ---- */

KITH_TEST(relay_rate_limit_drops_datagrams_and_serves_pings)
{
    struct crowd_client *a, *b;
    uint64_t through;

    start(&(struct kith_relay_server_limits) { .rx_bytes_per_s = 100000, .rx_burst = 20000 });
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    for (int i = 0; i < 10000; i++) { /* 10 s, 1.2 MB/s */
        crowd_send_datagram(a, &b->pair.id, 1, 1200);
        crowd.now_ns += KITH_NS_PER_MS;
        if (i % 100 == 0) {
            crowd_send(a, &(struct kith_relay_frame) { .kind = KITH_RELAY_PING, .ping = (const uint8_t *)"pingping" });
            crowd_pump(&crowd);
        }
    }
    crowd_pump(&crowd);
    through = b->count[KITH_RELAY_SERVER_DATAGRAM] * (1200 + 34);
    KITH_CHECK(through > 980000 && through <= 1020000);
    KITH_CHECK_EQ(a->count[KITH_RELAY_PONG], 100);
    KITH_CHECK(a->status == KITH_RELAY_STATUS_RATE_LIMITED && a->count[KITH_RELAY_STATUS] == 1);
    KITH_CHECK_EQ(COUNTER(conns_rx_ratelimited_total), 1);
    KITH_CHECK_EQ(COUNTER(bytes_rx_ratelimited_total), COUNTER(drops_rate_limited) * (1200 + 34));
    crowd_check_sums(&crowd);
    kith__relay_server_set_limits(crowd.servers[0], NULL, crowd.now_ns);
    crowd_send_datagram(a, &b->pair.id, 1, 60000);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(b->payload_size, 60000);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_rate_limit_below_ten_datagrams_a_second_still_lets_them_through)
{
    struct crowd_client *a, *b;

    start(&(struct kith_relay_server_limits) { .rx_bytes_per_s = 5000 }); /* so the burst is 500 */
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    for (int i = 0; i < 100; i++) {
        crowd_send_datagram(a, &b->pair.id, 1, 1200);
        crowd_advance(&crowd, 100 * KITH_NS_PER_MS);
    }
    KITH_CHECK(b->count[KITH_RELAY_SERVER_DATAGRAM] >= 30 && b->count[KITH_RELAY_SERVER_DATAGRAM] <= 42);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_turn_of_a_client_ends_after_its_share)
{
    struct crowd_client *a;

    start(&(struct kith_relay_server_limits) { .turn_size = 5000 });
    a = crowd_connect(&crowd, 0, 1);
    kith__relay_server_flush(crowd.servers[0]);
    KITH_CHECK_EQ(kith__relay_session_turn_left(a->session), 5000);
    for (int i = 0; i < 3; i++)
        crowd_send_datagram(a, &a->pair.id, 1, 1200);
    KITH_CHECK(kith__relay_session_turn_left(a->session) < 5000 - 3 * (1200 + KITH_RELAY_MESSAGE_WORK));
    KITH_CHECK(kith__relay_session_turn_left(a->session) > 500 && !kith__relay_session_is_in_debt(a->session));
    crowd_send_datagram(a, &a->pair.id, 1, 1200);
    KITH_CHECK_EQ(kith__relay_session_turn_left(a->session), 0);
    KITH_CHECK(kith__relay_session_is_in_debt(a->session));
    crowd_pump(&crowd);
    KITH_CHECK_EQ(a->payload_bytes, 4 * 1200); /* to itself: as to anybody */
    crowd_dispose(&crowd);
}

/* A driver reads in large pieces: what one of them was too much is taken off the next turns, while others are there. */
KITH_TEST(relay_client_that_did_more_than_its_share_waits_until_others_have_had_theirs)
{
    struct crowd_client *a, *b;
    int turns = 0;

    start(&(struct kith_relay_server_limits) { .turn_size = 5000 });
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    kith__relay_server_flush(crowd.servers[0]);
    for (int i = 0; i < 16; i++)
        crowd_send_datagram(a, &b->pair.id, 1, 1200); /* some 23,000 */
    for (; kith__relay_session_turn_left(a->session) == 0; turns++) {
        KITH_CHECK(turns < 100 && kith__relay_session_is_in_debt(a->session));
        crowd_send_datagram(b, &b->pair.id, 1, 100);
        KITH_CHECK(kith__relay_session_turn_left(b->session) > 4000);
        kith__relay_server_flush(crowd.servers[0]);
    }
    KITH_CHECK_EQ(turns, 4);
    for (int i = 0; i < 16; i++)
        crowd_send_datagram(a, &b->pair.id, 1, 1200);
    kith__relay_server_flush(crowd.servers[0]);
    KITH_CHECK_EQ(kith__relay_session_turn_left(a->session), 0);
    kith__relay_server_flush(crowd.servers[0]); /* nobody else was there */
    KITH_CHECK_EQ(kith__relay_session_turn_left(a->session), 5000);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_tiny_datagrams_count_as_the_work_that_they_are)
{
    static const struct kith_id nobody = { { 9 } };
    struct crowd_client *a;

    start(&(struct kith_relay_server_limits) { .turn_size = 5000 });
    a = crowd_connect(&crowd, 0, 1);
    kith__relay_server_flush(crowd.servers[0]);
    for (int i = 0; i < 5000 / KITH_RELAY_MESSAGE_WORK; i++)
        crowd_send_datagram(a, &nobody, 1, 2);
    KITH_CHECK_EQ(kith__relay_session_turn_left(a->session), 0);
    crowd_dispose(&crowd);
}

/* ---- EndpointGone (spec/02, 5.4) ---- */

KITH_TEST(relay_tells_those_to_whom_an_endpoint_had_sent_that_it_is_gone)
{
    struct crowd_client *x, *told, *sender, *stranger;

    start(NULL);
    x = crowd_connect(&crowd, 0, 1);
    told = crowd_connect(&crowd, 0, 2);
    sender = crowd_connect(&crowd, 0, 3);
    stranger = crowd_connect(&crowd, 0, 4);
    for (int i = 0; i < 5; i++) {
        crowd_send_datagram(x, &told->pair.id, 1, 10);
        crowd_send_datagram(x, &x->pair.id, 1, 10);
        crowd_send_datagram(sender, &x->pair.id, 1, 10);
    }
    crowd_pump(&crowd);
    KITH_CHECK_EQ(kith__relay_server_stats(crowd.servers[0]).gone_pairs, 2);
    crowd_leave(x);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(told->count[KITH_RELAY_ENDPOINT_GONE], 1);
    KITH_CHECK_BYTES(told->from.bytes, x->pair.id.bytes, KITH_ID_SIZE);
    KITH_CHECK(sender->count[KITH_RELAY_ENDPOINT_GONE] == 0 && stranger->count[KITH_RELAY_ENDPOINT_GONE] == 0);
    KITH_CHECK_EQ(kith__relay_server_stats(crowd.servers[0]).gone_pairs, 0);
    x = crowd_connect(&crowd, 0, 1); /* comes back, sends nothing, goes */
    crowd_leave(x);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(told->count[KITH_RELAY_ENDPOINT_GONE], 1);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_forgets_whom_to_tell_when_they_have_gone)
{
    struct crowd_client *x, *other;

    start(NULL);
    x = crowd_connect(&crowd, 0, 1);
    for (uint8_t i = 2; i < 40; i++) {
        other = crowd_connect(&crowd, 0, i);
        crowd_send_datagram(x, &other->pair.id, 1, 10);
        crowd_pump(&crowd);
        crowd_leave(other);
        KITH_CHECK_EQ(kith__relay_server_stats(crowd.servers[0]).gone_pairs, 0);
    }
    other = crowd_connect(&crowd, 0, 2);
    crowd_leave(x);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(other->count[KITH_RELAY_ENDPOINT_GONE], 0); /* it had sent to an earlier connection of that key */
    crowd_dispose(&crowd);
}

KITH_TEST(relay_pair_of_two_is_one_each_way)
{
    struct crowd_client *a, *b;

    start(NULL);
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    for (int i = 0; i < 3; i++) {
        crowd_send_datagram(a, &b->pair.id, 1, 10);
        crowd_send_datagram(b, &a->pair.id, 1, 10);
    }
    crowd_pump(&crowd);
    KITH_CHECK_EQ(kith__relay_server_stats(crowd.servers[0]).gone_pairs, 2);
    crowd_leave(a);
    crowd_pump(&crowd);
    KITH_CHECK(b->count[KITH_RELAY_ENDPOINT_GONE] == 1);
    KITH_CHECK_EQ(kith__relay_server_stats(crowd.servers[0]).gone_pairs, 0);
    crowd_dispose(&crowd);
}

/* ---- Several workers ---- */

static void start_workers(size_t inbox_size)
{
    KITH_CHECK_EQ(crowd_init(&crowd, kith_mem_default(), 3, inbox_size, NULL, NULL), 0);
}

static uint64_t sum_of(size_t offset)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < crowd.worker_count; i++)
        sum += kith__relay_counter((const _Atomic uint64_t *)(const void *)((const char *)&crowd.counters[i] + offset));
    return sum;
}

KITH_TEST(relay_workers_forward_to_each_other)
{
    struct crowd_client *a, *b;

    start_workers(0);
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 2, 2);
    for (int i = 0; i < 50; i++) {
        crowd_send_datagram(a, &b->pair.id, 1, 1200);
        crowd_send_datagram(b, &a->pair.id, 2, 1200);
    }
    crowd_pump(&crowd);
    KITH_CHECK(a->payload_bytes == 60000 && b->payload_bytes == 60000);
    KITH_CHECK_BYTES(b->from.bytes, a->pair.id.bytes, KITH_ID_SIZE);
    crowd_leave(a);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(b->count[KITH_RELAY_ENDPOINT_GONE], 1);
    crowd_send_datagram(b, &a->pair.id, 2, 1200);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(sum_of(offsetof(struct kith_relay_counters, send_packets_dropped)), 1);
    crowd_check_sums(&crowd);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_workers_agree_on_the_newest_of_one_key)
{
    struct crowd_client *first, *second, *other, *reached;

    start_workers(0);
    other = crowd_connect(&crowd, 0, 9);
    reached = crowd_connect(&crowd, 1, 10);
    first = crowd_connect(&crowd, 1, 1);
    crowd_send_datagram(other, &first->pair.id, 1, 10);
    crowd_send_datagram(first, &reached->pair.id, 1, 10);
    crowd_pump(&crowd);
    second = crowd_connect(&crowd, 2, 1);
    KITH_CHECK_EQ(first->status, KITH_RELAY_STATUS_SAME_ID_CONNECTED);
    crowd_send_datagram(other, &first->pair.id, 1, 20);
    crowd_pump(&crowd);
    KITH_CHECK(first->payload_bytes == 10 && second->payload_bytes == 20);
    crowd_leave(second);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(first->status, KITH_RELAY_STATUS_HEALTHY);
    KITH_CHECK_EQ(reached->count[KITH_RELAY_ENDPOINT_GONE], 0);
    second = crowd_connect(&crowd, 2, 1);
    crowd_leave(first);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(reached->count[KITH_RELAY_ENDPOINT_GONE], 0);
    crowd_leave(second); /* never sent to `reached`, but its key had */
    crowd_pump(&crowd);
    KITH_CHECK_EQ(reached->count[KITH_RELAY_ENDPOINT_GONE], 1);
    /* The key's end is told where the told one is now. */
    first = crowd_connect(&crowd, 0, 1);
    crowd_send_datagram(first, &reached->pair.id, 1, 10);
    crowd_pump(&crowd);
    second = crowd_connect(&crowd, 2, 10);
    crowd_leave(first);
    crowd_pump(&crowd);
    KITH_CHECK(reached->count[KITH_RELAY_ENDPOINT_GONE] == 1 && second->count[KITH_RELAY_ENDPOINT_GONE] == 1);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_workers_bound_their_inboxes_and_keep_room_for_others)
{
    struct crowd_client *flood, *rare, *target;

    start_workers(256 << 10);
    flood = crowd_connect(&crowd, 0, 1);
    rare = crowd_connect(&crowd, 0, 2);
    target = crowd_connect(&crowd, 1, 3);
    for (int i = 0; i < 1000; i++)
        crowd_send_datagram(flood, &target->pair.id, 1, 1200);
    for (int i = 0; i < 10; i++)
        crowd_send_datagram(rare, &target->pair.id, 1, 1200);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(target->from_count[1], 10);
    KITH_CHECK(target->from_count[0] > 50 && target->from_count[0] < 220);
    KITH_CHECK_EQ(sum_of(offsetof(struct kith_relay_counters, drops_inbox_full)), 1000 - target->from_count[0]);
    crowd_check_sums(&crowd);
    crowd_dispose(&crowd);
}

/** Routes of which one inbox is never empty: other workers fill it as fast as it is read. */
static bool take_for_ever(void *ctx, unsigned worker, struct kith_relay_note *out)
{
    static const uint8_t payload[1200];

    (void)worker;
    ++*(uint64_t *)ctx;
    *out = (struct kith_relay_note) { .kind = KITH_RELAY_NOTE_DATAGRAM,
                                      .handle = 999,
                                      .datagram = { .payload = { payload, sizeof payload } } };
    return *(uint64_t *)ctx < 1000000; /* so that the test ends */
}

KITH_TEST(relay_worker_whose_inbox_is_flooded_still_ends_its_turn)
{
    const struct kith_relay_routes_ops flooded = { .take = take_for_ever };
    struct kith_relay_routes before;
    uint64_t taken = 0;

    start(NULL);
    before = crowd.routes[0];
    crowd.routes[0].ops = &flooded;
    crowd.routes[0].ctx = &taken;
    KITH_CHECK(kith__relay_server_on_inbox(crowd.servers[0], crowd.now_ns));
    KITH_CHECK(taken > 100 && taken < 10000);
    KITH_CHECK_EQ(COUNTER(drops_closing), taken);
    crowd.routes[0] = before;
    KITH_CHECK(!kith__relay_server_on_inbox(crowd.servers[0], crowd.now_ns));
    crowd_dispose(&crowd);
}

KITH_TEST(relay_workers_close_the_oldest_of_too_many_wherever_it_is)
{
    struct crowd_client *oldest;

    start_workers(0);
    oldest = crowd_connect(&crowd, 0, 1);
    for (int i = 0; i < KITH_RELAY_SAME_ID_MAX; i++)
        (void)crowd_connect(&crowd, 1u + i % 2, 1);
    crowd_pump(&crowd);
    KITH_CHECK(oldest->has_ended && oldest->end == KITH_RELAY_END_SUPERSEDED);
    crowd_dispose(&crowd);
}

/* ---- Memory ---- */

/** A short life of three clients; the parts that fail, fail. */
static int live(const struct kith_mem *mem, unsigned workers)
{
    int err = crowd_init(&crowd, mem, workers, 0, NULL, NULL);

    for (uint8_t i = 0; i < 4 && err == 0; i++) {
        struct crowd_client *client = crowd_add(&crowd, i == 3 ? 1 : i, KITH_RELAY_V2);

        (void)crowd_open(client, i % workers, (struct kith_relay_open) { 0 });
        crowd_pump(&crowd);
    }
    for (size_t i = 0; err == 0 && i < 4; i++)
        for (size_t k = 0; k < 3; k++)
            if (crowd.clients[i].is_ready) {
                crowd_send_datagram(&crowd.clients[i], &crowd.clients[k].pair.id, 1, 3000);
                crowd_send_raw(&crowd.clients[i], (const uint8_t *)"\x82", 1); /* a message that is cut at once */
                crowd_send_raw(&crowd.clients[i],
                               (const uint8_t *)"\x89\0\0\0\0\x09"
                                                "abcdefgh",
                               14);
            }
    if (err == 0) {
        crowd_pump(&crowd);
        crowd_advance(&crowd, 30 * KITH_NS_PER_S);
        crowd_check_sums(&crowd);
        for (size_t i = 0; i < 4; i++)
            crowd_leave(&crowd.clients[i]);
        crowd_pump(&crowd);
    }
    crowd_dispose(&crowd);
    return err;
}

KITH_TEST(relay_server_survives_each_failing_allocation)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        struct kith_test_mem mem;
        uint64_t total;

        kith__test_mem_init(&mem, 0);
        KITH_CHECK_EQ(live(&mem.mem, workers), 0);
        KITH_CHECK_EQ(mem.live, 0);
        total = mem.calls;
        KITH_CHECK(total > 30);
        for (uint64_t fail_at = 1; fail_at <= total; fail_at++) {
            kith__test_mem_init(&mem, fail_at);
            (void)live(&mem.mem, workers);
            KITH_CHECK_EQ(mem.live, 0);
        }
    }
}
