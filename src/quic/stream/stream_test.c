#include "quic/stream/stream.h"

#include "base/mem.h"
#include "base/test.h"
#include "quic/wire/codes.h"

static const uint8_t bytes[10000];

static void set_up(struct kith_stream *stream, uint64_t send_max)
{
    kith__stream_init(stream, &(struct kith_stream_config) { .mem = kith_mem_default(),
                                                             .id = 0,
                                                             .has_send = true,
                                                             .has_receive = true,
                                                             .send_max = send_max,
                                                             .receive_window = 1000,
                                                             .receive_window_max = 0 });
}

static size_t send_all(struct kith_stream *stream, uint64_t conn_left)
{
    struct kith_outbuf_chunk chunk;
    size_t sent = 0;

    while (kith__stream_next_chunk(stream, conn_left - sent, &chunk)) {
        kith__stream_take_chunk(stream, &chunk, chunk.size);
        sent += chunk.size;
    }
    return sent;
}

static int receive(struct kith_stream *stream, uint64_t offset, size_t size, bool fin)
{
    uint64_t grown;

    return kith__stream_on_data(stream, offset, bytes, size, fin, UINT64_MAX, &grown);
}

/** Reads everything that is there; returns the final answer. */
static int read_all(struct kith_stream *stream)
{
    struct kith_slice slice;
    int err;

    while ((err = kith__stream_peek(stream, &slice, NULL)) == 0) {
        size_t size = slice.size;

        kith__stream_consume(stream, size);
        kith__stream_on_read(stream, NULL, size, 0, 0);
    }
    return err;
}

KITH_TEST(stream_sending_half_goes_from_open_to_received)
{
    struct kith_stream stream;
    uint64_t freed;

    set_up(&stream, 1000);
    KITH_CHECK_EQ(kith__stream_write(&stream, bytes, 100), 0);
    KITH_CHECK_EQ(kith__stream_finish(&stream), 0);
    KITH_CHECK_EQ(kith__stream_finish(&stream), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith__stream_write(&stream, bytes, 1), KITH_ERR_STATE);
    KITH_CHECK_EQ(stream.send_state, KITH_SEND_OPEN);
    KITH_CHECK_EQ(send_all(&stream, UINT64_MAX), 100);
    KITH_CHECK_EQ(stream.send_state, KITH_SEND_DATA_SENT);
    KITH_CHECK_EQ(kith__stream_on_data_lost(&stream, 50, 50, true), 0);
    KITH_CHECK_EQ(send_all(&stream, 0), 50); /* again, without credit */
    KITH_CHECK_EQ(kith__stream_on_data_acked(&stream, 0, 100, true, &freed), 0);
    KITH_CHECK_EQ(freed, 100);
    KITH_CHECK_EQ(stream.send_state, KITH_SEND_DATA_RECEIVED);
    KITH_CHECK(stream.flags & KITH_STREAM_FLAG_SENT);
    KITH_CHECK_EQ(kith__stream_reset(&stream, 1), KITH_ERR_STATE);
    kith__stream_on_stop(&stream, 1); /* too late to matter */
    KITH_CHECK_EQ(stream.send_state, KITH_SEND_DATA_RECEIVED);
    KITH_CHECK(!kith__stream_is_over(&stream)); /* the other half is open */
    kith__stream_dispose(&stream);
}

KITH_TEST(stream_reset_goes_again_until_it_is_acknowledged)
{
    struct kith_stream stream;
    uint64_t freed;

    set_up(&stream, 1000);
    KITH_CHECK_EQ(kith__stream_write(&stream, bytes, 100), 0);
    KITH_CHECK_EQ(send_all(&stream, 60), 60);
    KITH_CHECK_EQ(kith__stream_reset(&stream, 7), 0);
    KITH_CHECK_EQ(stream.out.sent, 60);
    KITH_CHECK_EQ(stream.intents, KITH_INTENT_RESET);
    stream.intents = 0;
    kith__stream_on_reset_lost(&stream);
    KITH_CHECK_EQ(stream.intents, KITH_INTENT_RESET);
    KITH_CHECK_EQ(kith__stream_on_data_acked(&stream, 0, 60, false, &freed), 0); /* what was on its way before */
    KITH_CHECK_EQ(kith__stream_on_data_lost(&stream, 0, 60, false), 0);
    KITH_CHECK_EQ(send_all(&stream, UINT64_MAX), 0);
    kith__stream_on_reset_acked(&stream);
    KITH_CHECK_EQ(stream.send_state, KITH_SEND_RESET_RECEIVED);
    KITH_CHECK_EQ(stream.intents, 0);
    kith__stream_on_reset_lost(&stream);
    KITH_CHECK_EQ(stream.intents, 0);
    kith__stream_dispose(&stream);
}

KITH_TEST(stream_tells_that_it_is_blocked_once_for_each_limit)
{
    struct kith_stream stream;

    set_up(&stream, 50);
    KITH_CHECK_EQ(kith__stream_write(&stream, bytes, 100), 0);
    KITH_CHECK_EQ(stream.intents, 0);
    KITH_CHECK_EQ(send_all(&stream, UINT64_MAX), 50);
    KITH_CHECK_EQ(stream.intents, KITH_INTENT_BLOCKED);
    KITH_CHECK_EQ(kith__limit_tell_blocked(&stream.send_limit), 50);
    stream.intents = 0;
    KITH_CHECK_EQ(kith__stream_write(&stream, bytes, 1), 0);
    KITH_CHECK_EQ(stream.intents, 0);
    kith__stream_on_blocked_lost(&stream, 50);
    KITH_CHECK_EQ(stream.intents, KITH_INTENT_BLOCKED);
    kith__stream_on_max_data(&stream, 60);
    KITH_CHECK_EQ(stream.intents, 0);
    KITH_CHECK(kith__stream_wants_credit(&stream));
    KITH_CHECK_EQ(send_all(&stream, UINT64_MAX), 10);
    kith__stream_dispose(&stream);
}

KITH_TEST(stream_gives_credit_as_it_is_read_until_the_end_is_known)
{
    struct kith_stream stream;

    set_up(&stream, 0);
    KITH_CHECK_EQ(receive(&stream, 0, 124, false), 0);
    KITH_CHECK_EQ(read_all(&stream), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(stream.intents, 0); /* less than an eighth */
    KITH_CHECK_EQ(receive(&stream, 124, 1, false), 0);
    KITH_CHECK_EQ(read_all(&stream), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(stream.intents, KITH_INTENT_MAX_DATA);
    KITH_CHECK_EQ(kith__credit_announce(&stream.receive_credit), 1125);
    stream.intents = 0;
    kith__stream_on_max_data_lost(&stream, 1125);
    KITH_CHECK_EQ(stream.intents, KITH_INTENT_MAX_DATA);
    KITH_CHECK_EQ(receive(&stream, 125, 1001, false), KITH_WIRE_FLOW_CONTROL_ERROR);
    KITH_CHECK_EQ(receive(&stream, 125, 1000, true), 0);
    KITH_CHECK_EQ(stream.intents, 0);
    KITH_CHECK_EQ(read_all(&stream), KITH_ERR_END);
    KITH_CHECK_EQ(stream.intents, 0);
    KITH_CHECK_EQ(stream.receive_state, KITH_RECEIVE_READ);
    KITH_CHECK_EQ(read_all(&stream), KITH_ERR_END); /* as often as one asks */
    kith__stream_dispose(&stream);
}

KITH_TEST(stream_connection_credit_counts_the_growth_only)
{
    struct kith_stream stream;
    uint64_t grown;

    set_up(&stream, 0);
    KITH_CHECK_EQ(kith__stream_on_data(&stream, 50, bytes, 50, false, 99, &grown), KITH_WIRE_FLOW_CONTROL_ERROR);
    KITH_CHECK_EQ(kith__stream_on_data(&stream, 50, bytes, 50, false, 100, &grown), 0);
    KITH_CHECK_EQ(grown, 100);
    KITH_CHECK_EQ(kith__stream_on_data(&stream, 0, bytes, 100, false, 0, &grown), 0);
    KITH_CHECK_EQ(grown, 0);
    KITH_CHECK_EQ(kith__stream_on_reset(&stream, 1, 150, 49, &grown), KITH_WIRE_FLOW_CONTROL_ERROR);
    KITH_CHECK_EQ(kith__stream_on_reset(&stream, 1, 150, 50, &grown), 0);
    KITH_CHECK_EQ(grown, 50);
    kith__stream_dispose(&stream);
}

KITH_TEST(stream_stop_in_each_receiving_state)
{
    static const struct {
        uint8_t from, to;
        uint8_t intents;
    } cases[] = {
        { KITH_RECEIVE_OPEN, KITH_RECEIVE_OPEN, KITH_INTENT_STOP },
        { KITH_RECEIVE_SIZE_KNOWN, KITH_RECEIVE_READ, 0 },
        { KITH_RECEIVE_COMPLETE, KITH_RECEIVE_READ, 0 },
        { KITH_RECEIVE_READ, KITH_RECEIVE_READ, 0 },
        { KITH_RECEIVE_RESET, KITH_RECEIVE_RESET_READ, 0 },
        { KITH_RECEIVE_RESET_READ, KITH_RECEIVE_RESET_READ, 0 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_stream stream;
        struct kith_slice slice;
        uint64_t grown;
        uint8_t from = cases[i].from;

        set_up(&stream, 0);
        KITH_CHECK_EQ(receive(&stream, 0, 10, from == KITH_RECEIVE_COMPLETE || from == KITH_RECEIVE_READ), 0);
        if (from == KITH_RECEIVE_SIZE_KNOWN)
            KITH_CHECK_EQ(receive(&stream, 20, 5, true), 0);
        if (from == KITH_RECEIVE_RESET || from == KITH_RECEIVE_RESET_READ)
            KITH_CHECK_EQ(kith__stream_on_reset(&stream, 4, 30, UINT64_MAX, &grown), 0);
        if (from == KITH_RECEIVE_READ || from == KITH_RECEIVE_RESET_READ)
            KITH_CHECK_NE(read_all(&stream), 0);
        KITH_CHECK_EQ(stream.receive_state, from);
        KITH_CHECK_EQ(kith__stream_stop(&stream, 2), 0);
        KITH_CHECK_EQ(stream.receive_state, cases[i].to);
        KITH_CHECK_EQ(stream.intents, cases[i].intents);
        KITH_CHECK_EQ(kith__stream_stop(&stream, 2), KITH_ERR_STATE);
        KITH_CHECK_EQ(kith__stream_peek(&stream, &slice, NULL), KITH_ERR_STATE);
        KITH_CHECK_EQ(stream.in.waiting, 0);
        kith__stream_on_stop_lost(&stream);
        KITH_CHECK_EQ(stream.intents, cases[i].intents);
        kith__stream_dispose(&stream);
    }
}

KITH_TEST(stream_reset_of_the_peer_after_all_bytes_came_changes_nothing)
{
    struct kith_stream stream;
    uint64_t grown;

    set_up(&stream, 0);
    KITH_CHECK_EQ(receive(&stream, 0, 10, true), 0);
    KITH_CHECK_EQ(kith__stream_on_reset(&stream, 4, 9, 0, &grown), KITH_WIRE_FINAL_SIZE_ERROR);
    KITH_CHECK_EQ(kith__stream_on_reset(&stream, 4, 10, 0, &grown), 0);
    KITH_CHECK_EQ(read_all(&stream), KITH_ERR_END);
    kith__stream_dispose(&stream);
}

KITH_TEST(stream_readable_is_told_again_only_after_a_read_found_nothing)
{
    struct kith_stream stream;

    set_up(&stream, 0);
    KITH_CHECK_EQ(receive(&stream, 5, 5, false), 0);
    KITH_CHECK_EQ(stream.flags, 0); /* nothing can be read yet */
    KITH_CHECK_EQ(receive(&stream, 0, 5, false), 0);
    KITH_CHECK_EQ(stream.flags, KITH_STREAM_FLAG_READABLE);
    stream.flags = 0;
    KITH_CHECK_EQ(receive(&stream, 10, 5, false), 0);
    KITH_CHECK_EQ(stream.flags, 0);
    KITH_CHECK_EQ(read_all(&stream), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(receive(&stream, 15, 0, true), 0); /* the end is news too */
    KITH_CHECK_EQ(stream.flags, KITH_STREAM_FLAG_READABLE);
    kith__stream_dispose(&stream);
}
