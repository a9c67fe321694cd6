#include "quic/stream/stream_set.h"

#include "base/mem.h"
#include "base/test.h"
#include "quic/wire/codes.h"
#include <stdio.h>

static const struct kith_stream_limits default_limits = { 1 << 20, 10000, 10000, 10000, 10, 10 };

static void set_up(struct kith_stream_set *set, const struct kith_mem *mem, bool is_server,
                   const struct kith_stream_limits *ours, const struct kith_stream_limits *theirs)
{
    kith__stream_set_init(set, &(struct kith_stream_set_config) { .mem = mem,
                                                                  .is_server = is_server,
                                                                  .map_seed = 7,
                                                                  .ours = *ours,
                                                                  .stream_auto_max = 0,
                                                                  .send_buffer_max = 100000 });
    if (theirs != NULL)
        kith__stream_set_on_peer_limits(set, theirs);
}

static void client_up(struct kith_stream_set *set)
{
    set_up(set, kith_mem_default(), false, &default_limits, &default_limits);
}

static int stream_frame(struct kith_stream_set *set, uint64_t id, uint64_t offset, size_t size, bool fin)
{
    static const uint8_t bytes[20000];

    return kith__stream_set_on_stream(set, id, offset, (struct kith_slice) { bytes, size }, fin);
}

static void expect_event(struct kith_stream_set *set, uint8_t kind, uint64_t id)
{
    struct kith_stream_event event;

    KITH_CHECK(kith__stream_set_next_event(set, &event));
    KITH_CHECK_EQ(event.kind, kind);
    KITH_CHECK_EQ(event.id, id);
}

static void expect_no_event(struct kith_stream_set *set)
{
    struct kith_stream_event event;

    KITH_CHECK(!kith__stream_set_has_event(set));
    KITH_CHECK(!kith__stream_set_next_event(set, &event));
}

static void expect_control(struct kith_stream_set *set, uint8_t type, uint64_t id, uint64_t value, uint64_t code)
{
    struct kith_stream_control control;

    KITH_CHECK(kith__stream_set_has_control(set));
    KITH_CHECK(kith__stream_set_next_control(set, &control));
    KITH_CHECK_EQ(control.type, type);
    KITH_CHECK_EQ(control.id, id);
    KITH_CHECK_EQ(control.value, value);
    KITH_CHECK_EQ(control.code, code);
}

KITH_TEST(stream_set_frames_on_wrong_streams_give_the_named_errors)
{
    /* The client: 0, 4, ... are its own bidi, 1, 5, ... the server's, 2, 6, ... its own uni, 3, 7, ... the server's. */
    struct kith_stream_set set;
    uint64_t id;

    client_up(&set);
    KITH_CHECK_EQ(kith__stream_set_open(&set, false, &id), 0);
    KITH_CHECK_EQ(id, 2);
    KITH_CHECK_EQ(stream_frame(&set, 0, 0, 1, false), KITH_WIRE_STREAM_STATE_ERROR);
    KITH_CHECK_EQ(stream_frame(&set, 2, 0, 1, false), KITH_WIRE_STREAM_STATE_ERROR);
    KITH_CHECK_EQ(kith__stream_set_on_reset_stream(&set, 2, 0, 0), KITH_WIRE_STREAM_STATE_ERROR);
    KITH_CHECK_EQ(kith__stream_set_on_stream_data_blocked(&set, 2, 0), KITH_WIRE_STREAM_STATE_ERROR);
    KITH_CHECK_EQ(kith__stream_set_on_stop_sending(&set, 3, 0), KITH_WIRE_STREAM_STATE_ERROR);
    KITH_CHECK_EQ(kith__stream_set_on_max_stream_data(&set, 3, 0), KITH_WIRE_STREAM_STATE_ERROR);
    KITH_CHECK_EQ(kith__stream_set_on_stop_sending(&set, 6, 0), KITH_WIRE_STREAM_STATE_ERROR);
    KITH_CHECK_EQ(kith__stream_set_on_max_stream_data(&set, 4, 0), KITH_WIRE_STREAM_STATE_ERROR);
    KITH_CHECK_EQ(stream_frame(&set, 41, 0, 1, false), KITH_WIRE_STREAM_LIMIT_ERROR);
    KITH_CHECK_EQ(stream_frame(&set, 43, 0, 1, false), KITH_WIRE_STREAM_LIMIT_ERROR);
    KITH_CHECK_EQ(stream_frame(&set, 1, 9999, 2, false), KITH_WIRE_FLOW_CONTROL_ERROR);
    KITH_CHECK_EQ(stream_frame(&set, 1, KITH_VARINT_MAX, 1, false), KITH_WIRE_FRAME_ENCODING_ERROR);
    KITH_CHECK_EQ(kith__stream_set_on_reset_stream(&set, 1, 0, 10001), KITH_WIRE_FLOW_CONTROL_ERROR);
    KITH_CHECK_EQ(stream_frame(&set, 1, 0, 10, true), 0);
    KITH_CHECK_EQ(stream_frame(&set, 1, 0, 11, true), KITH_WIRE_FINAL_SIZE_ERROR);
    KITH_CHECK_EQ(kith__stream_set_on_reset_stream(&set, 1, 0, 9), KITH_WIRE_FINAL_SIZE_ERROR);
    KITH_CHECK_EQ(kith__stream_set_on_max_streams(&set, true, (UINT64_C(1) << 60) + 1), KITH_WIRE_FRAME_ENCODING_ERROR);
    KITH_CHECK_EQ(kith__stream_set_on_streams_blocked(&set, true, UINT64_C(1) << 61), KITH_WIRE_FRAME_ENCODING_ERROR);
    kith__stream_set_check(&set);
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_a_higher_id_opens_all_lower_ones_in_order)
{
    struct kith_stream_set set;

    client_up(&set);
    KITH_CHECK_EQ(stream_frame(&set, 11, 0, 1, false), 0);
    expect_event(&set, KITH_QUIC_STREAM_OPENED, 3);
    expect_event(&set, KITH_QUIC_STREAM_OPENED, 7);
    expect_event(&set, KITH_QUIC_STREAM_OPENED, 11);
    expect_event(&set, KITH_QUIC_STREAM_READABLE, 11);
    expect_no_event(&set);
    KITH_CHECK_EQ(set.count, 3);
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_a_stream_that_is_read_to_its_end_is_freed_and_its_place_given_back)
{
    struct kith_test_mem tm;
    struct kith_stream_set set;
    uint8_t out[100];
    size_t size;

    kith__test_mem_init(&tm, 0);
    set_up(&set, &tm.mem, false, &default_limits, &default_limits);
    for (uint64_t id = 3; id < 3 + 4 * 2; id += 4) {
        KITH_CHECK_EQ(stream_frame(&set, id, 0, 50, true), 0);
        expect_event(&set, KITH_QUIC_STREAM_OPENED, id);
        expect_event(&set, KITH_QUIC_STREAM_READABLE, id);
        KITH_CHECK_EQ(kith__stream_set_read(&set, id, out, sizeof out, &size, NULL, 0, 0), 0);
        KITH_CHECK_EQ(size, 50);
        KITH_CHECK_EQ(kith__stream_set_read(&set, id, out, sizeof out, &size, NULL, 0, 0), KITH_ERR_END);
        KITH_CHECK_EQ(set.count, 0);
        KITH_CHECK_EQ(kith__stream_set_read(&set, id, out, sizeof out, &size, NULL, 0, 0), KITH_ERR_NOT_FOUND);
        KITH_CHECK_EQ(stream_frame(&set, id, 0, 50, true), 0); /* a late copy */
    }
    KITH_CHECK_EQ(set.frames_ignored, 2);
    expect_control(&set, 0x13, 0, 12, 0); /* an eighth of 10 became free with the second */
    KITH_CHECK(!kith__stream_set_has_control(&set));
    kith__stream_set_check(&set);
    kith__stream_set_dispose(&set);
    KITH_CHECK_EQ(tm.live, 0);
}

KITH_TEST(stream_set_opening_above_the_limit_says_so_once_and_tells_when_it_grows)
{
    struct kith_stream_set set;
    uint64_t id;

    client_up(&set);
    for (int i = 0; i < 10; i++)
        KITH_CHECK_EQ(kith__stream_set_open(&set, true, &id), 0);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &id), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &id), KITH_ERR_AGAIN);
    expect_control(&set, 0x16, 0, 10, 0);
    KITH_CHECK(!kith__stream_set_has_control(&set));
    KITH_CHECK_EQ(kith__stream_set_on_max_streams(&set, true, 11), 0);
    expect_event(&set, KITH_QUIC_STREAMS_AVAILABLE, 0);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &id), 0);
    KITH_CHECK_EQ(id, 40);
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_frames_take_their_header_into_account)
{
    static const struct {
        size_t written, room, size;
        bool has_length, fin;
    } cases[] = {
        { 5, 1200, 5, true, true },        { 1198, 1200, 1198, false, true },  { 1196, 1200, 1196, true, true },
        { 1197, 1200, 1196, true, false }, { 5000, 1200, 1198, false, false }, { 5, 7, 5, false, true },
        { 5, 6, 0, false, false },         { 0, 1200, 0, true, true },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        static const uint8_t bytes[5000];
        struct kith_stream_set set;
        struct kith_stream_chunk chunk;
        uint64_t id;
        size_t written;

        client_up(&set);
        KITH_CHECK_EQ(kith__stream_set_open(&set, true, &id), 0);
        KITH_CHECK_EQ(kith__stream_set_write(&set, id, bytes, cases[i].written, true, &written), 0);
        if (i == 6) {
            KITH_CHECK(!kith__stream_set_next_stream(&set, cases[i].room, &chunk));
        } else {
            KITH_CHECK(kith__stream_set_next_stream(&set, cases[i].room, &chunk));
            KITH_CHECK_EQ(chunk.size, cases[i].size);
            KITH_CHECK_EQ(chunk.has_length, cases[i].has_length && cases[i].room - 2 != chunk.size);
            KITH_CHECK_EQ(chunk.fin, cases[i].fin);
        }
        kith__stream_set_check(&set);
        kith__stream_set_dispose(&set);
    }
}

KITH_TEST(stream_set_equal_streams_take_turns_and_priority_goes_first)
{
    static const uint8_t bytes[3000];
    struct kith_stream_set set;
    struct kith_stream_chunk chunk;
    uint64_t ids[3];
    size_t written;

    client_up(&set);
    for (int i = 0; i < 3; i++) {
        KITH_CHECK_EQ(kith__stream_set_open(&set, true, &ids[i]), 0);
        KITH_CHECK_EQ(kith__stream_set_write(&set, ids[i], bytes, sizeof bytes, false, &written), 0);
    }
    KITH_CHECK_EQ(kith__stream_set_set_priority(&set, ids[2], 1), 0);
    for (int i = 0; i < 3; i++) {
        KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
        KITH_CHECK_EQ(chunk.id, ids[2]);
    }
    for (int i = 0; i < 6; i++) {
        KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
        KITH_CHECK_EQ(chunk.id, ids[i % 2]);
    }
    KITH_CHECK(!kith__stream_set_next_stream(&set, 1200, &chunk));
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_connection_credit_parks_streams_until_it_grows)
{
    static const uint8_t bytes[3000];
    struct kith_stream_limits theirs = default_limits;
    struct kith_stream_set set;
    struct kith_stream_chunk chunk;
    uint64_t a, b;
    size_t written;

    theirs.data_max = 1000;
    set_up(&set, kith_mem_default(), false, &default_limits, &theirs);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &a), 0);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &b), 0);
    KITH_CHECK_EQ(kith__stream_set_write(&set, a, bytes, 900, false, &written), 0);
    KITH_CHECK_EQ(kith__stream_set_write(&set, b, bytes, 900, false, &written), 0);
    KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
    KITH_CHECK_EQ(chunk.size, 900);
    KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
    KITH_CHECK_EQ(chunk.size, 100);
    KITH_CHECK(!kith__stream_set_has_data(&set));
    expect_control(&set, 0x14, 0, 1000, 0);
    KITH_CHECK_EQ(kith__stream_set_on_stream_lost(&set, a, 0, 900, false), 0); /* sent before: needs no credit */
    KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
    KITH_CHECK_EQ(chunk.id, a);
    kith__stream_set_on_max_data(&set, 1500);
    KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
    KITH_CHECK_EQ(chunk.id, b);
    KITH_CHECK_EQ(chunk.offset, 100);
    KITH_CHECK_EQ(chunk.size, 500);
    kith__stream_set_check(&set);
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_a_full_send_buffer_pushes_back_and_tells_when_there_is_room)
{
    static const uint8_t bytes[200000];
    struct kith_stream_limits theirs = { 1 << 20, 1 << 20, 1 << 20, 1 << 20, 10, 10 };
    struct kith_stream_set set;
    struct kith_stream_chunk chunk;
    uint64_t a, b, acked = 0;
    size_t written;

    set_up(&set, kith_mem_default(), false, &default_limits, &theirs);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &a), 0);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &b), 0);
    KITH_CHECK_EQ(kith__stream_set_write(&set, a, bytes, sizeof bytes, true, &written), 0);
    KITH_CHECK_EQ(written, 100000);
    KITH_CHECK_EQ(kith__stream_set_write(&set, b, bytes, 1, false, &written), KITH_ERR_AGAIN);
    expect_no_event(&set);
    while (acked < 20000) {
        KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
        KITH_CHECK_EQ(kith__stream_set_on_stream_acked(&set, a, chunk.offset, chunk.size, false), 0);
        acked += chunk.size;
    }
    expect_event(&set, KITH_QUIC_STREAM_WRITABLE, a);
    expect_event(&set, KITH_QUIC_STREAM_WRITABLE, b);
    expect_no_event(&set);
    kith__stream_set_check(&set);
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_bytes_that_wait_to_be_sent_push_back_until_half_of_them_are_out)
{
    static const uint8_t bytes[2 * KITH_STREAM_UNSENT_MAX];
    struct kith_stream_limits theirs = { 1 << 24, 1 << 24, 1 << 24, 1 << 24, 10, 10 };
    struct kith_stream_set set;
    struct kith_stream_chunk chunk;
    uint64_t a, b, sent = 0;
    size_t written;

    kith__stream_set_init(&set, &(struct kith_stream_set_config) {
                                    .mem = kith_mem_default(), .ours = default_limits, .send_buffer_max = 1 << 24 });
    kith__stream_set_on_peer_limits(&set, &theirs);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &a), 0);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &b), 0);
    KITH_CHECK_EQ(kith__stream_set_write(&set, a, bytes, sizeof bytes, false, &written), 0);
    KITH_CHECK_EQ(written, KITH_STREAM_UNSENT_MAX);
    KITH_CHECK_EQ(kith__stream_set_write(&set, a, bytes, 1, false, &written), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith__stream_set_write(&set, b, bytes, 1, false, &written), 0); /* others are not held up */
    KITH_CHECK_EQ(kith__stream_set_set_priority(&set, a, 1), 0);
    while (sent < KITH_STREAM_UNSENT_MAX / 2) {
        expect_no_event(&set);
        KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
        KITH_CHECK_EQ(chunk.id, a);
        sent += chunk.size;
    }
    expect_event(&set, KITH_QUIC_STREAM_WRITABLE, a); /* though nothing is acknowledged */
    KITH_CHECK_EQ(kith__stream_set_write(&set, a, bytes, sizeof bytes, true, &written), 0);
    KITH_CHECK_EQ(written, sent);
    kith__stream_set_check(&set);
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_a_stop_from_the_peer_resets_with_its_code_and_ends_writing)
{
    static const uint8_t bytes[3000];
    struct kith_stream_set set;
    struct kith_stream_chunk chunk;
    struct kith_stream_control control;
    struct kith_stream_event event;
    uint64_t id;
    size_t written;

    client_up(&set);
    KITH_CHECK_EQ(kith__stream_set_open(&set, false, &id), 0);
    KITH_CHECK_EQ(kith__stream_set_write(&set, id, bytes, sizeof bytes, false, &written), 0);
    KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
    KITH_CHECK_EQ(kith__stream_set_on_stop_sending(&set, id, 77), 0);
    KITH_CHECK(kith__stream_set_next_event(&set, &event));
    KITH_CHECK_EQ(event.kind, KITH_QUIC_STREAM_STOPPED);
    KITH_CHECK_EQ(event.code, 77);
    KITH_CHECK_EQ(kith__stream_set_write(&set, id, bytes, 1, false, &written), KITH_ERR_STOPPED);
    KITH_CHECK_EQ(set.send_held, 0);
    KITH_CHECK(!kith__stream_set_has_data(&set));
    KITH_CHECK(kith__stream_set_next_control(&set, &control));
    KITH_CHECK_EQ(control.type, 0x04);
    KITH_CHECK_EQ(control.value, chunk.size);
    KITH_CHECK_EQ(control.code, 77);
    kith__stream_set_on_control_lost(&set, &control);
    expect_control(&set, 0x04, id, chunk.size, 77);
    kith__stream_set_on_control_acked(&set, &control);
    expect_event(&set, KITH_QUIC_STREAM_SENT, id);
    KITH_CHECK_EQ(set.count, 0);
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_credit_is_exact_after_stop_and_reset)
{
    struct kith_stream_set set;
    uint8_t out[100];
    size_t size;
    uint64_t code = 0;

    client_up(&set);
    KITH_CHECK_EQ(stream_frame(&set, 3, 0, 1000, false), 0);
    KITH_CHECK_EQ(kith__stream_set_read(&set, 3, out, 100, &size, NULL, 0, 0), 0);
    KITH_CHECK_EQ(set.receive_credit.used, 100);
    KITH_CHECK_EQ(kith__stream_set_stop(&set, 3, 5), 0);
    KITH_CHECK_EQ(set.receive_credit.used, 1000);
    expect_control(&set, 0x05, 3, 0, 5);
    KITH_CHECK_EQ(stream_frame(&set, 3, 500, 1000, false), 0); /* on its way still: counts once */
    KITH_CHECK_EQ(set.receive_credit.used, 1500);
    KITH_CHECK_EQ(kith__stream_set_on_reset_stream(&set, 3, 9, 2000), 0);
    KITH_CHECK_EQ(set.receive_credit.used, 2000);
    KITH_CHECK_EQ(set.received, 2000);

    KITH_CHECK_EQ(stream_frame(&set, 7, 0, 300, false), 0);
    KITH_CHECK_EQ(stream_frame(&set, 7, 700, 0, true), 0); /* the end alone counts what lies before it, once */
    KITH_CHECK_EQ(set.received, 2700);
    KITH_CHECK_EQ(stream_frame(&set, 7, 300, 100, false), 0);
    KITH_CHECK_EQ(set.received, 2700);
    KITH_CHECK_EQ(kith__stream_set_on_reset_stream(&set, 7, 8, 700), 0);
    KITH_CHECK_EQ(set.receive_credit.used, 2700);
    KITH_CHECK_EQ(kith__stream_set_read(&set, 7, out, 100, &size, &code, 0, 0), KITH_ERR_RESET);
    KITH_CHECK_EQ(code, 8);
    KITH_CHECK_EQ(stream_frame(&set, 11, 9000, 0, false), 0); /* says nothing, counts nothing */
    KITH_CHECK_EQ(set.received, 2700);
    kith__stream_set_check(&set);
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_released_streams_report_nothing_and_go_away)
{
    static const uint8_t bytes[100];
    struct kith_stream_set set;
    struct kith_stream_chunk chunk;
    uint64_t id;
    size_t written;

    client_up(&set);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &id), 0);
    KITH_CHECK_EQ(kith__stream_set_write(&set, id, bytes, sizeof bytes, true, &written), 0);
    KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
    kith__stream_set_release(&set, id);
    expect_control(&set, 0x05, id, 0, 0); /* what was finished is still delivered */
    KITH_CHECK_EQ(kith__stream_set_on_stream_acked(&set, id, 0, 100, true), 0);
    KITH_CHECK_EQ(stream_frame(&set, id, 0, 10, true), 0);
    expect_no_event(&set);
    KITH_CHECK_EQ(set.count, 0);
    kith__stream_set_release(&set, id);
    kith__stream_set_dispose(&set);
}

/** The peer sends as fast as its credit allows, and everything is read at once: the window grows if it may. */
static void read_fast(struct kith_stream_set *set, uint64_t id, uint64_t *at, uint64_t *now_ns, int rounds)
{
    for (int i = 0; i < rounds; i++, *now_ns += 1000) {
        uint8_t bytes[5000];
        size_t size;

        KITH_CHECK_EQ(stream_frame(set, id, *at, sizeof bytes, false), 0);
        *at += sizeof bytes;
        KITH_CHECK_EQ(kith__stream_set_read(set, id, bytes, sizeof bytes, &size, NULL, *now_ns, 1000000), 0);
        KITH_CHECK_EQ(size, sizeof bytes);
        for (struct kith_stream_control control; kith__stream_set_next_control(set, &control);) {
        }
        kith__stream_set_check(set);
    }
}

KITH_TEST(stream_set_end_of_sending_reaches_its_user_though_the_stream_goes_with_it)
{
    struct kith_stream_set set;
    struct kith_stream_chunk chunk;
    struct kith_stream_event event;
    size_t written;
    uint64_t id;
    int user;

    client_up(&set);
    KITH_CHECK_EQ(kith__stream_set_open(&set, false, &id), 0);
    kith__stream_set_find(&set, id)->user = &user;
    KITH_CHECK_EQ(kith__stream_set_write(&set, id, "x", 1, true, &written), 0);
    KITH_CHECK(kith__stream_set_next_stream(&set, 1000, &chunk));
    KITH_CHECK_EQ(kith__stream_set_on_stream_acked(&set, id, 0, 1, true), 0);
    KITH_CHECK(kith__stream_set_next_event(&set, &event));
    KITH_CHECK_EQ(event.kind, KITH_QUIC_STREAM_SENT);
    KITH_CHECK(kith__stream_set_find(&set, id) == NULL);
    KITH_CHECK(event.user == &user);
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_unread_data_is_bounded_however_many_windows_grow)
{
    struct kith_stream_set set;
    struct kith_stream_limits ours = default_limits;
    uint64_t at[10] = { 0 }, now_ns = 1000, unread = 0;

    ours.data_max = KITH_VARINT_MAX;
    kith__stream_set_init(&set, &(struct kith_stream_set_config) { .mem = kith_mem_default(),
                                                                   .is_server = true,
                                                                   .ours = ours,
                                                                   .stream_auto_max = 160000,
                                                                   .stream_auto_total = 200000,
                                                                   .send_buffer_max = 100000 });
    for (uint64_t i = 0; i < 10; i++)
        read_fast(&set, i << 2, &at[i], &now_ns, 60);
    /* From here on nobody reads: the peer fills all it was allowed. */
    for (uint64_t i = 0; i < 10; i++)
        while (stream_frame(&set, i << 2, at[i], 1000, false) == 0) {
            at[i] += 1000;
            unread += 1000;
        }
    KITH_CHECK(unread > 250000);
    KITH_CHECK(unread <= 10 * 10000 + 200000);
    /* One that is not wanted any more lets another grow. */
    KITH_CHECK_EQ(kith__stream_set_stop(&set, 0, 0), 0);
    KITH_CHECK_EQ(set.window_pool.left, 150000);
    kith__stream_set_check(&set);
    kith__stream_set_dispose(&set);
}

KITH_TEST(stream_set_rejected_early_data_goes_again_within_the_new_limits)
{
    static const uint8_t bytes[3000];
    struct kith_stream_limits theirs = default_limits;
    struct kith_stream_set set;
    struct kith_stream_chunk chunk;
    uint64_t a, b;
    size_t written;

    client_up(&set);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &a), 0);
    KITH_CHECK_EQ(kith__stream_set_open(&set, true, &b), 0);
    KITH_CHECK_EQ(kith__stream_set_write(&set, a, bytes, 3000, true, &written), 0);
    KITH_CHECK_EQ(kith__stream_set_write(&set, b, bytes, 10, true, &written), 0);
    while (kith__stream_set_next_stream(&set, 1200, &chunk))
        continue;
    kith__stream_set_on_early_rejected(&set);
    KITH_CHECK(!kith__stream_set_has_data(&set));
    theirs.streams_bidi_max = 1;
    kith__stream_set_on_peer_limits(&set, &theirs);
    for (uint64_t at = 0; at < 3000; at += chunk.size) {
        KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
        KITH_CHECK_EQ(chunk.id, a);
        KITH_CHECK_EQ(chunk.offset, at);
    }
    KITH_CHECK(chunk.fin);
    KITH_CHECK(!kith__stream_set_next_stream(&set, 1200, &chunk));
    KITH_CHECK_EQ(kith__stream_set_on_max_streams(&set, true, 2), 0);
    KITH_CHECK(kith__stream_set_next_stream(&set, 1200, &chunk));
    KITH_CHECK_EQ(chunk.id, b);
    kith__stream_set_check(&set);
    kith__stream_set_dispose(&set);
}

/* Two sets with a bad network between them: everything that can be lost is lost sometimes, and acknowledged late. */
enum { WIRE_MAX = 64, PAIR_STREAMS = 40 };

struct wire_item {
    bool is_control, fin;
    struct kith_stream_control control;
    uint64_t id, offset;
    size_t size;
    uint8_t bytes[1200];
};

struct side {
    struct kith_stream_set set;
    struct wire_item wire[WIRE_MAX]; /* sent by this side, fate unknown */
    size_t wire_count;
    uint64_t written[PAIR_STREAMS * 4], read[PAIR_STREAMS * 4];
    int opened, ended, reset_seen;
};

static uint8_t pair_byte(uint64_t id, uint64_t offset)
{
    return (uint8_t)(id * 37 + offset * 11 + (offset >> 8));
}

static void pair_send(struct side *from)
{
    struct wire_item *item = &from->wire[from->wire_count];
    struct kith_stream_chunk chunk;

    if (from->wire_count == WIRE_MAX)
        return;
    if (kith__stream_set_next_control(&from->set, &item->control)) {
        item->is_control = true;
        from->wire_count++;
    } else if (kith__stream_set_next_stream(&from->set, 1200, &chunk)) {
        *item = (struct wire_item) { .id = chunk.id, .offset = chunk.offset, .size = chunk.size, .fin = chunk.fin };
        kith__stream_set_copy_out(&chunk, item->bytes);
        from->wire_count++;
    }
}

static int pair_deliver_control(struct kith_stream_set *to, const struct kith_stream_control *control)
{
    switch (control->type) {
    case 0x04:
        return kith__stream_set_on_reset_stream(to, control->id, control->code, control->value);
    case 0x05:
        return kith__stream_set_on_stop_sending(to, control->id, control->code);
    case 0x10:
        kith__stream_set_on_max_data(to, control->value);
        return 0;
    case 0x11:
        return kith__stream_set_on_max_stream_data(to, control->id, control->value);
    case 0x12:
    case 0x13:
        return kith__stream_set_on_max_streams(to, control->type == 0x12, control->value);
    case 0x14:
        return 0;
    case 0x15:
        return kith__stream_set_on_stream_data_blocked(to, control->id, control->value);
    default:
        return kith__stream_set_on_streams_blocked(to, control->type == 0x16, control->value);
    }
}

static void pair_settle(struct side *from, struct side *to, uint64_t *random)
{
    size_t i = from->wire_count != 0 ? kith__test_random(random) % from->wire_count : 0;
    struct wire_item item = from->wire[i];
    uint64_t fate = kith__test_random(random) % 5;

    if (from->wire_count == 0)
        return;
    from->wire[i] = from->wire[--from->wire_count];
    if (fate != 0 && item.is_control)
        KITH_CHECK_EQ(pair_deliver_control(&to->set, &item.control), 0);
    if (fate != 0 && !item.is_control)
        KITH_CHECK_EQ(kith__stream_set_on_stream(&to->set, item.id, item.offset,
                                                 (struct kith_slice) { item.bytes, item.size }, item.fin),
                      0);
    /* Fate 1: it arrived, but the acknowledgement did not. */
    if (item.is_control && fate > 1)
        kith__stream_set_on_control_acked(&from->set, &item.control);
    else if (item.is_control)
        kith__stream_set_on_control_lost(&from->set, &item.control);
    else if (fate > 1)
        KITH_CHECK_EQ(kith__stream_set_on_stream_acked(&from->set, item.id, item.offset, item.size, item.fin), 0);
    else
        KITH_CHECK_EQ(kith__stream_set_on_stream_lost(&from->set, item.id, item.offset, item.size, item.fin), 0);
}

static void pair_read(struct side *side, uint64_t id, uint64_t *random)
{
    uint8_t bytes[3000];
    uint64_t code;
    size_t size;
    int err;

    if (kith__test_random(random) % 100 == 0 && kith__stream_set_stop(&side->set, id, 3) == 0)
        return;
    while ((err = kith__stream_set_read(&side->set, id, bytes, 1 + kith__test_random(random) % sizeof bytes, &size,
                                        &code, 0, 0)) == 0)
        for (size_t i = 0; i < size; i++)
            KITH_CHECK_EQ(bytes[i], pair_byte(id, side->read[id]++));
    side->ended += err == KITH_ERR_END;
    side->reset_seen += err == KITH_ERR_RESET;
}

static void pair_write(struct side *side, uint64_t id, uint64_t *random)
{
    uint8_t bytes[5000];
    size_t size = kith__test_random(random) % sizeof bytes, written;

    for (size_t i = 0; i < size; i++)
        bytes[i] = pair_byte(id, side->written[id] + i);
    if (kith__test_random(random) % 200 == 0)
        (void)!kith__stream_set_reset(&side->set, id, 9);
    if (kith__stream_set_write(&side->set, id, bytes, size, kith__test_random(random) % 8 == 0, &written) == 0)
        side->written[id] += written;
}

static void pair_step(struct side *side, struct side *other, uint64_t *random)
{
    struct kith_stream_event event;
    uint64_t id;

    while (kith__stream_set_next_event(&side->set, &event))
        continue;
    if (side->opened < PAIR_STREAMS && kith__test_random(random) % 4 == 0 &&
        kith__stream_set_open(&side->set, kith__test_random(random) % 2 == 0, &id) == 0)
        side->opened++;
    KITH_LIST_EACH_SAFE(node, after, &side->set.all)
    {
        struct kith_stream *stream = KITH_CONTAINER(node, struct kith_stream, all);

        id = stream->id;
        if (kith__test_random(random) % 4 == 0)
            pair_write(side, id, random);
        if (kith__stream_set_find(&side->set, id) != NULL && kith__test_random(random) % 4 == 0)
            pair_read(side, id, random);
    }
    for (int i = 0; i < 4; i++)
        pair_send(side);
    for (int i = 0; i < 4; i++)
        pair_settle(side, other, random);
    kith__stream_set_check(&side->set);
    kith__stream_set_check(&other->set);
}

KITH_TEST(stream_set_two_sides_agree_over_a_bad_network)
{
    static const struct kith_stream_limits tight = { 20000, 5000, 6000, 7000, 3, 3 };
    uint64_t seed = kith__test_seed(20262), random = seed;
    static struct side sides[2];
    struct kith_test_mem tm;

    printf("seed %llu\n", (unsigned long long)seed);
    for (int run = 0; run < 3; run++) {
        int steps = 0, ended;

        memset(sides, 0, sizeof sides);
        kith__test_mem_init(&tm, 0);
        for (int i = 0; i < 2; i++)
            set_up(&sides[i].set, &tm.mem, i == 1, &tight, &tight);
        while (sides[0].opened < PAIR_STREAMS || sides[1].opened < PAIR_STREAMS || sides[0].set.count != 0 ||
               sides[1].set.count != 0) {
            for (int i = 0; i < 2; i++)
                pair_step(&sides[i], &sides[1 - i], &random);
            KITH_CHECK(++steps < 200000); /* stuck */
        }
        ended = sides[0].ended + sides[1].ended;
        KITH_CHECK(ended > PAIR_STREAMS);
        for (int i = 0; i < 2; i++) {
            KITH_CHECK_EQ(sides[i].set.receive_credit.used, sides[i].set.received);
            KITH_CHECK_EQ(sides[i].set.received, sides[1 - i].set.send_limit.used);
            KITH_CHECK_EQ(sides[i].set.send_held, 0);
            kith__stream_set_dispose(&sides[i].set);
        }
        KITH_CHECK_EQ(tm.live, 0);
    }
}

KITH_TEST(stream_set_every_failed_allocation_is_a_clean_error)
{
    static const uint8_t bytes[3000];

    for (uint64_t fail_at = 1; fail_at < 40; fail_at++) {
        struct kith_test_mem tm;
        struct kith_stream_set set;
        struct kith_stream_chunk chunk;
        uint64_t id;
        size_t written;

        kith__test_mem_init(&tm, fail_at);
        set_up(&set, &tm.mem, false, &default_limits, &default_limits);
        for (int i = 0; i < 5; i++) {
            int err = kith__stream_set_open(&set, true, &id);

            KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
            err = kith__stream_set_write(&set, (uint64_t)i * 4, bytes, sizeof bytes, false, &written);
            KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM || err == KITH_ERR_NOT_FOUND);
            err = stream_frame(&set, 1 + 8 * (uint64_t)i, 20, 50, false);
            KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM || err == KITH_WIRE_STREAM_LIMIT_ERROR);
        }
        while (kith__stream_set_next_stream(&set, 1200, &chunk))
            if (chunk.offset != 0 &&
                kith__stream_set_on_stream_acked(&set, chunk.id, chunk.offset, chunk.size, false) != 0)
                break;
        kith__stream_set_check(&set);
        kith__stream_set_dispose(&set);
        KITH_CHECK_EQ(tm.live, 0);
    }
}
