#include "quic/qlog/qlog.h"

#include "base/test.h"
#include "quic/wire/frame.h"
#include "quic/wire/hex.h"
#include "quic/wire/tparams.h"
#include <jansson.h>
#include <string.h>

struct sink {
    int records;
    char text[100000];
    json_t *json; /* the last record, parsed */
};

static void take(void *ctx, uint64_t serial, const char *record)
{
    struct sink *sink = ctx;
    size_t size = strlen(record);

    KITH_CHECK_EQ(serial, 5);
    KITH_CHECK_EQ(record[0], 0x1e);
    KITH_CHECK_EQ(record[size - 1], '\n');
    KITH_CHECK(memchr(record, '\n', size) == record + size - 1);
    KITH_CHECK(size < sizeof sink->text);
    memcpy(sink->text, record, size + 1);
    json_decref(sink->json);
    sink->json = json_loads(record + 1, 0, NULL);
    KITH_CHECK(sink->json != NULL);
    sink->records++;
}

static void start(struct kith_qlog *qlog, struct sink *sink)
{
    static const uint8_t odcid[] = { 0xab, 0x01 };

    memset(sink, 0, sizeof *sink);
    kith__qlog_init(qlog, take, sink, 5, true, (struct kith_slice) { odcid, sizeof odcid }, 1000000000);
    KITH_CHECK_EQ(sink->records, 1);
}

static void finish(struct kith_qlog *qlog, struct sink *sink)
{
    KITH_CHECK_EQ(qlog->dropped, 0);
    kith__qlog_dispose(qlog);
    json_decref(sink->json);
}

KITH_TEST(qlog_header_names_side_and_first_id)
{
    static struct sink sink;
    struct kith_qlog qlog;

    start(&qlog, &sink);
    KITH_CHECK(strstr(sink.text, "\"ODCID\":\"ab01\"") != NULL);
    KITH_CHECK(strstr(sink.text, "\"type\":\"client\"") != NULL);
    finish(&qlog, &sink);
}

KITH_TEST(qlog_that_is_off_does_nothing)
{
    struct kith_qlog qlog;
    struct kith_frame frame = { .type = KITH_FRAME_PING };
    struct kith_sockaddr address = { 0 };

    kith__qlog_init(&qlog, NULL, NULL, 5, true, (struct kith_slice) { NULL, 0 }, 0);
    kith__qlog_packet_begin(&qlog, true, KITH_QLOG_INITIAL, 0, 0, 1200, 0);
    kith__qlog_frame(&qlog, &frame);
    kith__qlog_packet_end(&qlog);
    kith__qlog_tuple_assigned(&qlog, 0, &address, &address, 0);
    kith__qlog_path_validated(&qlog, 0, 0);
    kith__qlog_path_abandoned(&qlog, 0, KITH_QUIC_CAUSE_USER, 0, 0);
    kith__qlog_observed(&qlog, 0, &address, 0);
    kith__qlog_candidate(&qlog, true, true, &address, 0);
    kith__qlog_round_started(&qlog, 0, 0);
    kith__qlog_path_gone(&qlog, 0, 0);
    kith__qlog_metrics(&qlog, &(struct kith_qlog_metrics) { 0 }, 0);
    kith__qlog_loss_timer(&qlog, &(struct kith_qlog_timer) { .kind = KITH_QLOG_TIMER_ACK }, 0);
    kith__qlog_loss_timer_expired(&qlog, &(struct kith_qlog_timer) { .kind = KITH_QLOG_TIMER_ACK }, 0);
    kith__qlog_packet_dropped(&qlog, "general", "decrypt", KITH_QLOG_ONE_RTT, 5, 0);
    KITH_CHECK_EQ(qlog.dropped, 0);
    kith__qlog_dispose(&qlog);
}

KITH_TEST(qlog_shows_every_kind_of_frame_by_its_name)
{
    static const uint64_t types[] = {
        0x00,   0x01,   0x02,   0x03,     0x04,     0x05,     0x06,     0x07,     0x08,     0x0f,     0x10,   0x11,
        0x12,   0x13,   0x14,   0x15,     0x16,     0x17,     0x18,     0x19,     0x1a,     0x1b,     0x1c,   0x1d,
        0x1e,   0x1f,   0x30,   0x31,     0x3e,     0x3f,     0xaf,     0x3e75,   0x3e76,   0x3e77,   0x3e78, 0x3e79,
        0x3e7a, 0x3e7b, 0x3e7c, 0x3d7f90, 0x3d7f91, 0x3d7f92, 0x3d7f93, 0x3d7f94, 0x9f81a6, 0x9f81a7,
    };
    static struct sink sink;
    struct kith_qlog qlog;
    json_t *frames;

    start(&qlog, &sink);
    kith__qlog_packet_begin(&qlog, true, KITH_QLOG_ONE_RTT, 3, 77, 1200, 1002500000);
    for (size_t i = 0; i < KITH_COUNT(types); i++) {
        struct kith_frame frame = kith__frame(types[i]);

        kith__qlog_frame(&qlog, &frame);
    }
    kith__qlog_packet_end(&qlog);
    KITH_CHECK_EQ(sink.records, 2);
    KITH_CHECK_STR(json_string_value(json_object_get(sink.json, "tuple_id")), "3");
    KITH_CHECK(json_real_value(json_object_get(sink.json, "time")) == 2.5);
    frames = json_object_get(json_object_get(sink.json, "data"), "frames");
    KITH_CHECK_EQ(json_array_size(frames), KITH_COUNT(types));
    for (size_t i = 0; i < KITH_COUNT(types); i++)
        KITH_CHECK_STR(json_string_value(json_object_get(json_array_get(frames, i), "frame_type")),
                       kith__frame_info(types[i])->qlog_name);
    finish(&qlog, &sink);
}

KITH_TEST(qlog_shows_the_fields_of_path_and_address_frames)
{
    /* Frames of spec/01, 4.2, 5.2 and 6, and what must stand in the record. */
    static const struct {
        const char *hex, *shown;
    } cases[] = {
        { "3e 01 07 4ca5 00 05", "{\"frame_type\":\"path_ack\",\"path_id\":1,\"acked_ranges\":[[2,7]],"
                                 "\"ack_delay_units\":3237}" },
        { "7e75 01 7e76", "{\"frame_type\":\"path_abandon\",\"path_id\":1,\"error_code\":15990}" },
        { "7e76 01 01", "{\"frame_type\":\"path_status_backup\",\"path_id\":1,\"path_status_sequence_number\":1}" },
        { "7e77 00 02", "{\"frame_type\":\"path_status_available\",\"path_id\":0,\"path_status_sequence_number\":2}" },
        { "7e78 07 01 00 08 661e0735d8c703bd 2ff888498dc9838c30fac89af9825d89",
          "{\"frame_type\":\"path_new_connection_id\",\"path_id\":7,\"sequence_number\":1,\"retire_prior_to\":0,"
          "\"connection_id\":\"661e0735d8c703bd\"}" },
        { "7e79 02 03", "{\"frame_type\":\"path_retire_connection_id\",\"path_id\":2,\"sequence_number\":3}" },
        { "7e7a 08", "{\"frame_type\":\"max_path_id\",\"maximum_path_id\":8}" },
        { "7e7b 07", "{\"frame_type\":\"paths_blocked\",\"maximum_path_id\":7}" },
        { "7e7c 01 05", "{\"frame_type\":\"path_cids_blocked\",\"path_id\":1,\"next_sequence_number\":5}" },
        { "803d7f90 04 7f000001 1151",
          "{\"frame_type\":\"add_address\",\"sequence_number\":4,\"address\":\"127.0.0.1:4433\"}" },
        { "803d7f93 01 00000000000000000000000000000001 b845",
          "{\"frame_type\":\"reach_out\",\"round\":1,\"address\":\"[::1]:47173\"}" },
        { "803d7f94 05", "{\"frame_type\":\"remove_address\",\"sequence_number\":5}" },
        { "809f81a6 06 c0000201 1151",
          "{\"frame_type\":\"observed_address\",\"sequence_number\":6,\"address\":\"192.0.2.1:4433\"}" },
    };
    static struct sink sink;
    struct kith_qlog qlog;

    start(&qlog, &sink);
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        uint8_t bytes[64];
        struct kith_reader r = kith__reader(bytes, kith__test_hex(cases[i].hex, bytes, sizeof bytes));
        struct kith_frame_error error;
        struct kith_frame frame;

        KITH_CHECK_EQ(kith__frame_decode(&r, KITH_PACKET_ONE_RTT, &frame, &error), 0);
        kith__qlog_packet_begin(&qlog, false, KITH_QLOG_ONE_RTT, 0, 1, 40, 1000000000);
        kith__qlog_frame(&qlog, &frame);
        kith__qlog_packet_end(&qlog);
        KITH_CHECK(strstr(sink.text, cases[i].shown) != NULL);
    }
    finish(&qlog, &sink);
}

KITH_TEST(qlog_tells_what_becomes_of_a_path)
{
    static struct sink sink;
    struct kith_qlog qlog;

    start(&qlog, &sink);
    kith__qlog_path_validated(&qlog, 2, 1000000000);
    KITH_CHECK(strstr(sink.text, "\"name\":\"connectivity:path_state_updated\",\"tuple_id\":\"2\","
                                 "\"data\":{\"new\":\"validated\"}") != NULL);
    kith__qlog_path_abandoned(&qlog, 2, KITH_QUIC_CAUSE_PEER, 0x3e76, 1000000000);
    KITH_CHECK(
        strstr(sink.text,
               "\"data\":{\"owner\":\"remote\",\"trigger\":\"peer\",\"error_code\":15990,\"new\":\"abandoned\"}") !=
        NULL);
    kith__qlog_path_gone(&qlog, 2, 1000000000);
    KITH_CHECK(strstr(sink.text, "\"new\":\"gone\"") != NULL);
    KITH_CHECK_EQ(sink.records, 4);
    finish(&qlog, &sink);
}

KITH_TEST(qlog_tells_of_candidates_rounds_and_observed_addresses)
{
    static struct sink sink;
    struct kith_qlog qlog;
    struct kith_sockaddr address;

    KITH_CHECK_EQ(kith_sockaddr_parse("192.0.2.7:4433", &address), 0);
    start(&qlog, &sink);
    kith__qlog_candidate(&qlog, false, true, &address, 1000000000);
    KITH_CHECK(strstr(sink.text, "\"name\":\"kith:candidate_added\",\"data\":{\"owner\":\"remote\","
                                 "\"address\":\"192.0.2.7:4433\"}") != NULL);
    kith__qlog_candidate(&qlog, true, false, &address, 1000000000);
    KITH_CHECK(strstr(sink.text, "\"name\":\"kith:candidate_removed\",\"data\":{\"owner\":\"local\",") != NULL);
    kith__qlog_round_started(&qlog, 3, 1000000000);
    KITH_CHECK(strstr(sink.text, "\"name\":\"kith:traversal_round_started\",\"data\":{\"round\":3}") != NULL);
    kith__qlog_observed(&qlog, 2, &address, 1000000000);
    KITH_CHECK(strstr(sink.text, "\"name\":\"kith:address_observed\",\"tuple_id\":\"2\","
                                 "\"data\":{\"address\":\"192.0.2.7:4433\"}") != NULL);
    KITH_CHECK_EQ(sink.records, 5);
    finish(&qlog, &sink);
}

KITH_TEST(qlog_text_of_the_peer_cannot_break_a_record)
{
    static const struct {
        const char *reason;
        const char *shown;
    } cases[] = { { "bye", "bye" }, { "a\"b\n\x1e", "a\"b\n\x1e" }, { "\xff\xfe", "hex:fffe" }, { "", "" } };
    static struct sink sink;
    struct kith_qlog qlog;

    start(&qlog, &sink);
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        kith__qlog_connection_closed(&qlog, true, true, 7,
                                     (struct kith_slice) { (const uint8_t *)cases[i].reason, strlen(cases[i].reason) },
                                     1000000000);
        KITH_CHECK_STR(json_string_value(json_object_get(json_object_get(sink.json, "data"), "reason")),
                       cases[i].shown);
    }
    finish(&qlog, &sink);
}

KITH_TEST(qlog_bounds_the_frames_of_a_packet_and_counts_the_rest)
{
    static struct sink sink;
    struct kith_qlog qlog;
    struct kith_frame frame = { .type = KITH_FRAME_PING };
    json_t *data;

    start(&qlog, &sink);
    kith__qlog_packet_begin(&qlog, false, KITH_QLOG_ONE_RTT, 0, 1, 1200, 1000000000);
    for (int i = 0; i < KITH_QLOG_FRAMES_MAX + 3; i++)
        kith__qlog_frame(&qlog, &frame);
    kith__qlog_packet_end(&qlog);
    data = json_object_get(sink.json, "data");
    KITH_CHECK_EQ(json_array_size(json_object_get(data, "frames")), KITH_QLOG_FRAMES_MAX);
    KITH_CHECK_EQ(json_integer_value(json_object_get(data, "frames_left_out")), 3);
    kith__qlog_packet_begin(&qlog, false, KITH_QLOG_ONE_RTT, 0, 2, 1200, 1000000000);
    kith__qlog_frame(&qlog, &frame);
    kith__qlog_packet_cancel(&qlog);
    KITH_CHECK_EQ(sink.records, 2);
    kith__qlog_packet_begin(&qlog, false, KITH_QLOG_ONE_RTT, 0, 3, 1200, 1000000000); /* dispose drops it */
    finish(&qlog, &sink);
}

KITH_TEST(qlog_writes_the_other_events)
{
    static struct sink sink;
    struct kith_qlog qlog;
    struct kith_tparams params;
    struct kith_sockaddr address = { .ip = { 192, 0, 2, 1 }, .port = 4433, .family = KITH_FAMILY_V4 };
    struct kith_slice cid = { (const uint8_t *)"12345678", 8 };

    start(&qlog, &sink);
    kith__tparams_defaults(&params);
    kith__qlog_parameters(&qlog, true, false, &params, 1000000000);
    KITH_CHECK(strstr(sink.text, "parameters_set") != NULL && strstr(sink.text, "\"max_ack_delay\":25") != NULL);
    kith__qlog_parameters(&qlog, false, true, &params, 1000000000);
    KITH_CHECK(strstr(sink.text, "parameters_restored") != NULL);
    kith__qlog_connection_started(&qlog, &address, &address, cid, cid, 1000000000);
    KITH_CHECK(strstr(sink.text, "192.0.2.1:4433") != NULL);
    kith__qlog_tuple_assigned(&qlog, 1, &address, &address, 1000000000);
    KITH_CHECK(strstr(sink.text, "tuple_assigned") != NULL && strstr(sink.text, "\"tuple_id\":\"1\"") != NULL);
    kith__qlog_packet_lost(&qlog, KITH_QLOG_HANDSHAKE, 0, 9, "time_threshold", 1000000000);
    KITH_CHECK(strstr(sink.text, "\"packet_number\":9") != NULL);
    kith__qlog_packet_dropped(&qlog, "decryption_failure", "decrypt", KITH_QLOG_ONE_RTT, 60, 1000000000);
    KITH_CHECK(strstr(sink.text, "\"trigger\":\"decryption_failure\"") != NULL);
    KITH_CHECK(strstr(sink.text, "\"reason\":\"decrypt\"") != NULL && strstr(sink.text, "\"length\":60") != NULL);
    kith__qlog_metrics(&qlog, &(struct kith_qlog_metrics) { .min_rtt_ns = UINT64_MAX, .smoothed_rtt_ns = 1500000 },
                       1000000000);
    KITH_CHECK(strstr(sink.text, "\"smoothed_rtt\":1.5") != NULL && strstr(sink.text, "min_rtt") == NULL);
    KITH_CHECK_EQ(sink.records, 8);
    finish(&qlog, &sink);
}

KITH_TEST(qlog_size_of_a_packet_may_come_at_its_end)
{
    static struct sink sink;
    struct kith_qlog qlog;

    start(&qlog, &sink);
    kith__qlog_packet_end_sized(&qlog, 5); /* none was begun */
    KITH_CHECK_EQ(sink.records, 1);
    kith__qlog_packet_begin(&qlog, true, KITH_QLOG_INITIAL, 0, 1, 0, 1000000000);
    kith__qlog_packet_end_sized(&qlog, 1200);
    KITH_CHECK(strstr(sink.text, "\"length\":1200") != NULL);
    finish(&qlog, &sink);
}

KITH_TEST(qlog_loss_timers_are_logged_when_they_change)
{
    static struct sink sink;
    struct kith_qlog qlog;
    struct kith_qlog_timer timer = { 1002000000, 0, KITH_QLOG_TIMER_PTO, 1 };

    start(&qlog, &sink);
    kith__qlog_loss_timer(&qlog, &(struct kith_qlog_timer) { 0 }, 1000000000); /* was not set, is not set */
    KITH_CHECK_EQ(sink.records, 1);
    kith__qlog_loss_timer(&qlog, &timer, 1000000000);
    kith__qlog_loss_timer(&qlog, &timer, 1001000000);
    KITH_CHECK_EQ(sink.records, 2);
    KITH_CHECK(strstr(sink.text, "\"recovery:loss_timer_updated\"") != NULL);
    KITH_CHECK(strstr(sink.text,
                      "\"timer_type\":\"pto\",\"packet_number_space\":\"handshake\",\"event_type\":\"set\"") != NULL);
    KITH_CHECK(strstr(sink.text, "\"delta\":2.0") != NULL);
    for (uint32_t path = 1; path < 20; path++) { /* more than are remembered */
        timer.path = path;
        kith__qlog_loss_timer(&qlog, &timer, 1000000000);
    }
    KITH_CHECK_EQ(sink.records, 21);
    timer.kind = KITH_QLOG_TIMER_ACK;
    kith__qlog_loss_timer(&qlog, &timer, 1000000000);
    KITH_CHECK(strstr(sink.text, "\"ack\"") != NULL && strstr(sink.text, "\"tuple_id\":\"19\"") != NULL);
    kith__qlog_loss_timer_expired(&qlog, &timer, 1003000000);
    KITH_CHECK(strstr(sink.text, "\"expired\"") != NULL && strstr(sink.text, "delta") == NULL);
    kith__qlog_loss_timer(&qlog, &timer, 1000000000);
    timer.kind = KITH_QLOG_TIMER_NONE;
    kith__qlog_loss_timer(&qlog, &timer, 1000000000);
    KITH_CHECK(strstr(sink.text, "\"cancelled\"") != NULL && strstr(sink.text, "\"ack\"") != NULL);
    KITH_CHECK_EQ(sink.records, 25);
    finish(&qlog, &sink);
}
