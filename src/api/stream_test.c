#include "api/pair.h"
#include <stdlib.h>

PAIR_TEST(stream_both_directions_and_ends)
{
    struct kith_stream *here, *there;
    char text[32], byte;
    struct pair pair;
    size_t got;

    pair_open_with_stream(&pair, mode, true, &here, &there);
    KITH_CHECK_EQ(kith_stream_id(here), kith_stream_id(there));
    KITH_CHECK(kith_stream_conn(here) == pair.at_client);
    PAIR_CHECK(kith_sent(here, PAIR_LIMIT), KITH_ERR_STATE);
    PAIR_CHECK(kith_read(there, text, sizeof text, 0, &got), KITH_ERR_AGAIN);
    PAIR_CHECK(kith_read(there, text, 0, 0, &got), KITH_ERR_INVALID);
    PAIR_CHECK(kith_read(there, text, sizeof text, 1, &got), KITH_ERR_TIMEOUT);
    PAIR_CHECK(kith_write(here, "hello", 5, PAIR_LIMIT, &got), 0);
    KITH_CHECK_EQ(got, 5);
    PAIR_CHECK(kith_write(here, NULL, 0, PAIR_LIMIT, &got), 0);
    KITH_CHECK_EQ(got, 0);
    for (int bit = 1; bit < 31; bit++) {
        struct kith_op *writing;

        PAIR_CHECK(kith_write_all(here, "x", 1, 1 << bit, PAIR_LIMIT), KITH_ERR_INVALID);
        PAIR_CHECK(kith_write_start(here, "x", 1, KITH_FIN | 1 << bit, &writing), KITH_ERR_INVALID);
    }
    PAIR_CHECK(kith_finish(here), 0);
    PAIR_CHECK(kith_finish(here), KITH_ERR_STATE);
    PAIR_CHECK(kith_write_all(here, "x", 1, 0, PAIR_LIMIT), KITH_ERR_STATE);
    PAIR_CHECK(kith_read_exact(there, text, 5, PAIR_LIMIT), 0);
    KITH_CHECK_BYTES(text, "hello", 5);
    PAIR_CHECK(kith_read(there, text, sizeof text, PAIR_LIMIT, &got), KITH_ERR_END);
    PAIR_CHECK(kith_sent(here, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_reset(here, 1), KITH_ERR_STATE); /* all is over there */
    PAIR_CHECK(kith_write_all(there, "answer", 6, KITH_FIN, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_read_to_end(here, text, 6, PAIR_LIMIT, &got), 0);
    KITH_CHECK_EQ(got, 6);
    PAIR_CHECK(kith_sent(there, PAIR_LIMIT), 0);
    /* The engine has forgotten the stream by now; the answers stay. */
    PAIR_CHECK(kith_read(here, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_END);
    PAIR_CHECK(kith_read(there, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_END);
    PAIR_CHECK(kith_stop(here, 0), KITH_ERR_STATE);
    PAIR_CHECK(kith_sent(here, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_set_priority(here, 3), KITH_ERR_STATE);
    pair_free_with_stream(&pair, here, there);
}

PAIR_TEST(stream_reads_of_the_wrong_size_are_told)
{
    struct kith_stream *here, *there;
    char text[8];
    struct pair pair;
    size_t got;

    pair_open_with_stream(&pair, mode, true, &here, &there);
    PAIR_CHECK(kith_write_all(here, "12345", 5, KITH_FIN, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_read_exact(there, text, 8, PAIR_LIMIT), KITH_ERR_TRUNCATED);
    PAIR_CHECK(kith_write_all(there, "12345", 5, KITH_FIN, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_read_to_end(here, text, 4, PAIR_LIMIT, &got), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(got, 4);
    pair_free_with_stream(&pair, here, there);
}

PAIR_TEST(stream_half_that_is_not_there)
{
    struct kith_stream *here, *there;
    char byte;
    struct pair pair;
    size_t got;

    pair_open_with_stream(&pair, mode, false, &here, &there);
    PAIR_CHECK(kith_read(here, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_STATE);
    PAIR_CHECK(kith_stop(here, 0), KITH_ERR_STATE);
    PAIR_CHECK(kith_write_all(there, "x", 1, 0, PAIR_LIMIT), KITH_ERR_STATE);
    PAIR_CHECK(kith_finish(there), KITH_ERR_STATE);
    PAIR_CHECK(kith_sent(there, PAIR_LIMIT), KITH_ERR_STATE);
    PAIR_CHECK(kith_reset(there, 0), KITH_ERR_STATE);
    PAIR_CHECK(kith_set_priority(there, 0), KITH_ERR_STATE);
    pair_free_with_stream(&pair, here, there);
}

PAIR_TEST(stream_reset_and_stop_carry_their_codes)
{
    struct kith_stream *here, *there;
    struct kith_op *sent;
    char byte;
    struct pair pair;
    size_t got;

    pair_open_with_stream(&pair, mode, true, &here, &there);
    PAIR_CHECK(kith_reset(here, UINT64_MAX), KITH_ERR_INVALID);
    PAIR_CHECK(kith_reset(here, 41), 0);
    PAIR_CHECK(kith_reset(here, 42), 0);
    PAIR_CHECK(kith_read(there, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_RESET);
    KITH_CHECK_EQ(kith_error_last()->cause, 41);
    PAIR_CHECK(kith_read(there, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_RESET);
    KITH_CHECK_EQ(kith_error_last()->cause, 41);
    PAIR_CHECK(kith_write_all(here, "x", 1, 0, PAIR_LIMIT), KITH_ERR_STATE);
    PAIR_CHECK(kith_sent(here, PAIR_LIMIT), KITH_ERR_STATE);
    PAIR_CHECK(kith_write_all(there, "x", 1, KITH_FIN, PAIR_LIMIT), 0);
    kith_stream_free(there);
    kith_stream_free(here);

    pair_stream(&pair, true, &here, &there);
    PAIR_CHECK(kith_write_all(here, "unread", 6, KITH_FIN, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_stop(there, 43), 0);
    PAIR_CHECK(kith_read(there, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_STATE);
    kith_stream_free(here);
    kith_stream_free(there);

    pair_stream(&pair, true, &here, &there);
    PAIR_CHECK(kith_stop(there, 44), 0);
    while (kith_write_all(here, "x", 1, 0, PAIR_LIMIT) == 0) /* until the news is here */
        kith_op_free(kith_conn_closed_start(pair.at_client, &sent) == 0 ? (kith_op_wait(sent, 1000000), sent) : NULL);
    PAIR_CHECK(kith_write_all(here, "x", 1, 0, PAIR_LIMIT), KITH_ERR_STOPPED);
    KITH_CHECK_EQ(kith_error_last()->cause, 44);
    PAIR_CHECK(kith_finish(here), KITH_ERR_STOPPED);
    PAIR_CHECK(kith_sent_start(here, &sent), KITH_ERR_STOPPED);
    PAIR_CHECK(kith_reset(here, 0), 0);
    pair_free_with_stream(&pair, here, there);
}

PAIR_TEST(stream_stop_ends_a_write_that_waits)
{
    enum { SIZE = 30000000 };
    struct kith_stream *here, *there;
    struct kith_op *writing;
    char *bytes = calloc(1, SIZE);
    struct pair pair;

    assert_non_null(bytes);
    pair_open_with_stream(&pair, mode, false, &here, &there);
    PAIR_CHECK(kith_write_start(here, bytes, SIZE, KITH_FIN, &writing), 0);
    PAIR_CHECK(kith_op_wait(writing, KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
    PAIR_CHECK(kith_finish(here), KITH_ERR_STATE); /* a write is under way */
    PAIR_CHECK(kith_stop(there, 9), 0);
    PAIR_CHECK(kith_op_wait(writing, PAIR_LIMIT), KITH_ERR_STOPPED);
    KITH_CHECK_EQ(kith_op_error(writing)->cause, 9);
    KITH_CHECK(kith_op_size(writing) < SIZE);
    kith_op_free(writing);
    pair_free_with_stream(&pair, here, there);
    free(bytes);
}

PAIR_TEST(stream_back_pressure_gives_partial_writes)
{
    enum { SIZE = 30000000 };
    struct kith_stream *here, *there;
    uint8_t *bytes = malloc(SIZE), *back = malloc(SIZE);
    struct kith_op *reading, *writing;
    size_t written, at = 0, read = 0;
    struct pair pair;

    assert_non_null(bytes);
    assert_non_null(back);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 24);
    pair_open_with_stream(&pair, mode, false, &here, &there);
    PAIR_CHECK(kith_write(here, bytes, SIZE, PAIR_LIMIT, &written), 0);
    KITH_CHECK(written > 0 && written < SIZE);
    for (at = written; kith_write(here, bytes + at, SIZE - at, 0, &written) == 0; at += written) {
    }
    KITH_CHECK_EQ(kith_error_last()->code, KITH_ERR_AGAIN);
    KITH_CHECK(at < SIZE);
    PAIR_CHECK(kith_write_start(here, bytes + at, SIZE - at, KITH_FIN, &writing), 0);
    while (read < SIZE) {
        PAIR_CHECK(kith_read_start(there, back + read, SIZE - read, &reading), 0);
        PAIR_CHECK(kith_op_wait(reading, PAIR_LIMIT), 0);
        read += kith_op_size(reading);
        kith_op_free(reading);
    }
    PAIR_CHECK(kith_op_wait(writing, PAIR_LIMIT), 0);
    KITH_CHECK_EQ(kith_op_size(writing), SIZE - at);
    kith_op_free(writing);
    KITH_CHECK(memcmp(bytes, back, SIZE) == 0);
    pair_free_with_stream(&pair, here, there);
    free(bytes);
    free(back);
}

/* FNV-1a, 64 bits. */
static uint64_t hash(uint64_t state, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        state = (state ^ bytes[i]) * 0x100000001b3u;
    return state;
}

PAIR_TEST(stream_50_megabytes_arrive_as_sent)
{
    enum { SIZE = 50000000, PIECE = 100000 };
    struct kith_stream *here, *there;
    uint8_t *bytes = malloc(SIZE);
    static uint8_t piece[PIECE];
    uint64_t sent = 0xcbf29ce484222325u, received = sent, seed = 1;
    struct kith_op *writing;
    size_t got, total = 0;
    struct pair pair;
    int err;

    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)((i & 7) == 0 ? kith__test_random(&seed) : seed >> (i & 7) * 8);
    sent = hash(sent, bytes, SIZE);
    pair_open_with_stream(&pair, mode, false, &here, &there);
    PAIR_CHECK(kith_write_start(here, bytes, SIZE, KITH_FIN, &writing), 0);
    while ((err = kith_read(there, piece, sizeof piece, PAIR_LIMIT, &got)) == 0) {
        received = hash(received, piece, got);
        total += got;
    }
    PAIR_CHECK(err, KITH_ERR_END);
    KITH_CHECK_EQ(total, SIZE);
    KITH_CHECK(sent == received);
    PAIR_CHECK(kith_op_wait(writing, PAIR_LIMIT), 0);
    KITH_CHECK_EQ(kith_op_size(writing), SIZE);
    PAIR_CHECK(kith_sent(here, PAIR_LIMIT), 0);
    kith_op_free(writing);
    pair_free_with_stream(&pair, here, there);
    free(bytes);
}

PAIR_TEST(stream_chunks_come_each_once)
{
    enum { SIZE = 200000 };
    static uint8_t bytes[SIZE], back[SIZE];
    struct kith_stream *here, *there;
    size_t got, total = 0;
    uint64_t offset;
    struct pair pair;
    int err;

    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i % 253);
    memset(back, 0, sizeof back);
    pair_open(&pair, mode);
    PAIR_CHECK(kith_open_uni(pair.at_client, PAIR_LIMIT, &here), 0);
    PAIR_CHECK(kith_write_all(here, bytes, SIZE, KITH_FIN, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_accept_uni(pair.at_server, PAIR_LIMIT, &there), 0);
    while (total < SIZE) {
        uint8_t chunk[5000];

        PAIR_CHECK(kith_read_chunk(there, chunk, sizeof chunk, PAIR_LIMIT, &offset, &got), 0);
        KITH_CHECK(offset + got <= SIZE);
        memcpy(back + offset, chunk, got);
        total += got;
    }
    KITH_CHECK_BYTES(bytes, back, SIZE);
    err = kith_read(there, back, 1, 0, &got);
    KITH_CHECK(err == KITH_ERR_STATE); /* chunks and ordered reads do not mix */
    PAIR_CHECK(kith_read_chunk(there, back, 1, PAIR_LIMIT, &offset, &got), KITH_ERR_END);
    pair_free_with_stream(&pair, here, there);
}

PAIR_TEST(stream_opening_waits_for_the_other_side)
{
    struct kith_quic_transport transport;
    struct kith_stream *streams[2], *third, *there;
    struct kith_op *opening;
    struct pair pair;
    char byte;

    kith_quic_transport_defaults(&transport);
    transport.streams_bidi_max = 2;
    pair_bind(&pair, mode, &transport);
    pair_connect(&pair);
    for (int i = 0; i < 2; i++)
        PAIR_CHECK(kith_open_bi(pair.at_client, PAIR_LIMIT, &streams[i]), 0);
    PAIR_CHECK(kith_open_bi(pair.at_client, 0, &third), KITH_ERR_AGAIN);
    PAIR_CHECK(kith_open_bi(pair.at_client, 1, &third), KITH_ERR_TIMEOUT);
    PAIR_CHECK(kith_open_start(pair.at_client, true, &opening), 0);
    PAIR_CHECK(kith_write_all(streams[0], "x", 1, KITH_FIN, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_accept_bi(pair.at_server, PAIR_LIMIT, &there), 0);
    PAIR_CHECK(kith_read_exact(there, &byte, 1, PAIR_LIMIT), 0);
    kith_stream_free(there); /* resets its half; the end of the other is there: the stream is over */
    kith_stream_free(streams[0]);
    PAIR_CHECK(kith_op_wait(opening, PAIR_LIMIT), 0);
    third = kith_op_take_stream(opening);
    KITH_CHECK(third != NULL);
    kith_op_free(opening);
    kith_stream_free(third);
    kith_stream_free(streams[1]);
    pair_free(&pair);
}

PAIR_TEST(stream_higher_priority_goes_first)
{
    enum { SIZE = 3000000 };
    struct kith_stream *low, *high, *there[2];
    char *bytes = calloc(1, SIZE);
    struct kith_op *writing[2];
    size_t got, total[2] = { 0 };
    struct kith_quic_transport transport;
    struct pair pair;

    assert_non_null(bytes);
    kith_quic_transport_defaults(&transport);
    transport.stream_data_max = SIZE + 1;
    pair_bind(&pair, mode, &transport);
    pair_connect(&pair);
    pair_stream(&pair, false, &low, &there[0]);
    pair_stream(&pair, false, &high, &there[1]);
    PAIR_CHECK(kith_set_priority(low, -5), 0);
    PAIR_CHECK(kith_set_priority(high, 5), 0);
    PAIR_CHECK(kith_write_start(low, bytes, SIZE, KITH_FIN, &writing[0]), 0);
    PAIR_CHECK(kith_write_start(high, bytes, SIZE, KITH_FIN, &writing[1]), 0);
    PAIR_CHECK(kith_set_priority(low, -6), 0); /* also of a finished half */
    for (int i = 1; i >= 0; i--) {
        for (int err = 0; err == 0; total[i] += got)
            if ((err = kith_read(there[i], bytes, SIZE, PAIR_LIMIT, &got)) != 0)
                PAIR_CHECK(err, KITH_ERR_END);
        /* Nothing left before the loop ran, so that the order of the two writes is no help to the first. */
        if (i == 1 && mode == KITH_CONTEXT_CALLER) {
            while (kith_read(there[0], bytes, SIZE, 0, &got) == 0)
                total[0] += got;
            KITH_CHECK(total[0] < SIZE / 2);
        }
    }
    KITH_CHECK_EQ(total[0], SIZE);
    KITH_CHECK_EQ(total[1], SIZE);
    for (int i = 0; i < 2; i++) {
        kith_op_free(writing[i]);
        kith_stream_free(there[i]);
    }
    kith_stream_free(low);
    kith_stream_free(high);
    pair_free(&pair);
    free(bytes);
}

PAIR_TEST(stream_given_back_resets_and_stops)
{
    struct kith_stream *here, *there;
    char byte;
    struct pair pair;
    size_t got;

    pair_open_with_stream(&pair, mode, true, &here, &there);
    kith_stream_free(here);
    PAIR_CHECK(kith_read(there, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_RESET);
    KITH_CHECK_EQ(kith_error_last()->cause, 0);
    kith_stream_free(there);
    kith_stream_free(NULL);
    pair_free(&pair);
}

PAIR_TEST(stream_handles_outlive_their_connection)
{
    struct kith_stream *here, *there;
    struct kith_op *reading, *sending;
    char byte;
    struct pair pair;

    pair_open_with_stream(&pair, mode, true, &here, &there);
    PAIR_CHECK(kith_read_start(here, &byte, 1, &reading), 0);
    PAIR_CHECK(kith_datagram_receive_start(pair.at_client, &byte, 1, &sending), 0);
    kith_conn_free(pair.at_client);
    pair.at_client = NULL;
    PAIR_CHECK(kith_op_wait(reading, PAIR_LIMIT), KITH_ERR_CLOSED);
    PAIR_CHECK(kith_op_wait(sending, PAIR_LIMIT), KITH_ERR_CLOSED);
    PAIR_CHECK(kith_write_all(here, "x", 1, 0, PAIR_LIMIT), KITH_ERR_CLOSED);
    PAIR_CHECK(kith_finish(here), KITH_ERR_CLOSED);
    PAIR_CHECK(kith_reset(here, 0), KITH_ERR_CLOSED);
    PAIR_CHECK(kith_stop(here, 0), KITH_ERR_CLOSED);
    kith_stream_free(here);
    kith_stream_free(there);
    kith_op_free(reading);
    kith_op_free(sending);
    pair_free(&pair);
}
