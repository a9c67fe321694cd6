#include "quic/stream/outbuf.h"

#include "base/mem.h"
#include "base/test.h"
#include <stdio.h>

static uint8_t pattern(uint64_t offset)
{
    return (uint8_t)(offset * 7 + (offset >> 8) * 31 + 3);
}

static void write_pattern(struct kith_outbuf *out, size_t size)
{
    uint8_t bytes[5000];

    while (size != 0) {
        size_t part = KITH_MIN(size, sizeof bytes);

        for (size_t i = 0; i < part; i++)
            bytes[i] = pattern(out->end + i);
        KITH_CHECK_EQ(kith__outbuf_write(out, bytes, part), 0);
        size -= part;
    }
}

static void check_copy(struct kith_outbuf *out, uint64_t offset, size_t size)
{
    uint8_t bytes[2000];

    KITH_CHECK(size <= sizeof bytes);
    kith__outbuf_copy_out(out, offset, size, bytes);
    for (size_t i = 0; i < size; i++)
        KITH_CHECK_EQ(bytes[i], pattern(offset + i));
}

KITH_TEST(outbuf_sends_in_order_and_is_empty_after_the_acks)
{
    struct kith_test_mem tm;
    struct kith_outbuf out;
    struct kith_outbuf_chunk chunk;
    uint64_t freed, acked = 0;

    kith__test_mem_init(&tm, 0);
    kith__outbuf_init(&out, &tm.mem);
    KITH_CHECK(!kith__outbuf_peek(&out, UINT64_MAX, &chunk));
    write_pattern(&out, 300000);
    kith__outbuf_finish(&out);
    while (kith__outbuf_peek(&out, UINT64_MAX, &chunk)) {
        size_t size = KITH_MIN(chunk.size, (size_t)1400);

        KITH_CHECK(!chunk.resend);
        check_copy(&out, chunk.offset, size);
        if (kith__outbuf_take(&out, &chunk, size))
            KITH_CHECK_EQ(chunk.offset + size, 300000);
    }
    KITH_CHECK_EQ(out.fin, KITH_FIN_SENT);
    for (uint64_t at = 0; at < 300000; at += 1400, acked += freed)
        KITH_CHECK_EQ(kith__outbuf_on_acked(&out, at, KITH_MIN(1400u, 300000 - at), at + 1400 >= 300000, &freed), 0);
    KITH_CHECK_EQ(acked, 300000);
    KITH_CHECK(kith__outbuf_is_done(&out));
    KITH_CHECK_EQ(tm.live, 0);
    kith__outbuf_dispose(&out);
    kith__outbuf_dispose(&out);
}

KITH_TEST(outbuf_a_small_write_costs_a_small_block)
{
    struct kith_outbuf out;
    struct kith_test_mem tm;

    kith__test_mem_init(&tm, 0);
    kith__outbuf_init(&out, &tm.mem);
    write_pattern(&out, 5);
    write_pattern(&out, 900);
    KITH_CHECK_EQ(tm.calls, 1);
    kith__outbuf_dispose(&out);
    KITH_CHECK_EQ(tm.live, 0);
}

KITH_TEST(outbuf_stops_at_the_flow_control_limit)
{
    struct kith_outbuf out;
    struct kith_outbuf_chunk chunk;

    kith__outbuf_init(&out, kith_mem_default());
    write_pattern(&out, 100);
    kith__outbuf_finish(&out);
    KITH_CHECK(kith__outbuf_peek(&out, 60, &chunk));
    KITH_CHECK_EQ(chunk.size, 60);
    KITH_CHECK(!chunk.fin);
    KITH_CHECK(!kith__outbuf_take(&out, &chunk, 60));
    KITH_CHECK(!kith__outbuf_peek(&out, 60, &chunk));
    KITH_CHECK(kith__outbuf_peek(&out, 100, &chunk));
    KITH_CHECK(chunk.fin);
    KITH_CHECK(!kith__outbuf_take(&out, &chunk, 39)); /* cut short: the end does not go along */
    KITH_CHECK(kith__outbuf_peek(&out, 100, &chunk));
    KITH_CHECK(kith__outbuf_take(&out, &chunk, 1));
    KITH_CHECK(!kith__outbuf_peek(&out, 1000, &chunk));
    kith__outbuf_dispose(&out);
}

KITH_TEST(outbuf_the_end_alone_is_a_piece_of_size_zero_and_comes_again_when_lost)
{
    struct kith_outbuf out;
    struct kith_outbuf_chunk chunk;
    uint64_t freed;

    kith__outbuf_init(&out, kith_mem_default());
    kith__outbuf_finish(&out);
    for (int i = 0; i < 2; i++) {
        KITH_CHECK(kith__outbuf_has_resend(&out));
        KITH_CHECK(kith__outbuf_peek(&out, 0, &chunk));
        KITH_CHECK_EQ(chunk.size, 0);
        KITH_CHECK(chunk.fin);
        KITH_CHECK(kith__outbuf_take(&out, &chunk, 0));
        KITH_CHECK(!kith__outbuf_peek(&out, 0, &chunk));
        KITH_CHECK_EQ(kith__outbuf_on_lost(&out, 0, 0, true), 0);
    }
    KITH_CHECK(kith__outbuf_peek(&out, 0, &chunk));
    KITH_CHECK(kith__outbuf_take(&out, &chunk, 0));
    KITH_CHECK_EQ(kith__outbuf_on_acked(&out, 0, 0, true, &freed), 0);
    KITH_CHECK(kith__outbuf_is_done(&out));
    KITH_CHECK_EQ(kith__outbuf_on_lost(&out, 0, 0, true), 0); /* a late word about an older packet */
    KITH_CHECK(kith__outbuf_is_done(&out));
}

KITH_TEST(outbuf_lost_bytes_go_first_and_acknowledged_ones_not_again)
{
    struct kith_outbuf out;
    struct kith_outbuf_chunk chunk;
    uint64_t freed;

    kith__outbuf_init(&out, kith_mem_default());
    write_pattern(&out, 1000);
    KITH_CHECK(kith__outbuf_peek(&out, 500, &chunk));
    kith__outbuf_take(&out, &chunk, 500);
    KITH_CHECK_EQ(kith__outbuf_on_acked(&out, 200, 100, false, &freed), 0);
    KITH_CHECK_EQ(freed, 0);
    KITH_CHECK_EQ(kith__outbuf_on_lost(&out, 100, 300, false), 0);
    KITH_CHECK(kith__outbuf_peek(&out, 1000, &chunk));
    KITH_CHECK(chunk.resend);
    KITH_CHECK_EQ(chunk.offset, 100);
    KITH_CHECK_EQ(chunk.size, 100);
    kith__outbuf_take(&out, &chunk, 100);
    KITH_CHECK(kith__outbuf_peek(&out, 1000, &chunk));
    KITH_CHECK_EQ(chunk.offset, 300);
    KITH_CHECK_EQ(chunk.size, 100);
    KITH_CHECK_EQ(kith__outbuf_on_acked(&out, 300, 100, false, &freed), 0); /* spurious: it had arrived */
    KITH_CHECK(kith__outbuf_peek(&out, 1000, &chunk));
    KITH_CHECK(!chunk.resend);
    KITH_CHECK_EQ(chunk.offset, 500);
    KITH_CHECK_EQ(kith__outbuf_on_acked(&out, 0, 200, false, &freed), 0);
    KITH_CHECK_EQ(freed, 400);
    kith__outbuf_dispose(&out);
}

KITH_TEST(outbuf_rewind_sends_everything_again_as_new)
{
    struct kith_outbuf out;
    struct kith_outbuf_chunk chunk;

    kith__outbuf_init(&out, kith_mem_default());
    write_pattern(&out, 10);
    kith__outbuf_finish(&out);
    KITH_CHECK(kith__outbuf_peek(&out, 10, &chunk));
    KITH_CHECK(kith__outbuf_take(&out, &chunk, 10));
    kith__outbuf_rewind(&out);
    KITH_CHECK(kith__outbuf_peek(&out, 10, &chunk));
    KITH_CHECK(!chunk.resend && chunk.fin);
    KITH_CHECK_EQ(chunk.offset, 0);
    check_copy(&out, 0, 10);
    kith__outbuf_dispose(&out);
}

KITH_TEST(outbuf_reset_frees_all_and_keeps_the_final_size)
{
    struct kith_test_mem tm;
    struct kith_outbuf out;
    struct kith_outbuf_chunk chunk;

    kith__test_mem_init(&tm, 0);
    kith__outbuf_init(&out, &tm.mem);
    write_pattern(&out, 100000);
    KITH_CHECK(kith__outbuf_peek(&out, 1234, &chunk));
    kith__outbuf_take(&out, &chunk, 1234);
    kith__outbuf_reset(&out);
    KITH_CHECK_EQ(tm.live, 0);
    KITH_CHECK_EQ(out.sent, 1234);
    KITH_CHECK_EQ(kith__outbuf_held(&out), 0);
    KITH_CHECK(!kith__outbuf_peek(&out, UINT64_MAX, &chunk));
}

KITH_TEST(outbuf_write_is_all_or_nothing_without_memory)
{
    static uint8_t bytes[300000];

    for (uint64_t fail_at = 1; fail_at < 8; fail_at++) {
        struct kith_test_mem tm;
        struct kith_outbuf out;
        int err;

        kith__test_mem_init(&tm, fail_at);
        kith__outbuf_init(&out, &tm.mem);
        err = kith__outbuf_write(&out, bytes, 100);
        if (err == 0 && (err = kith__outbuf_write(&out, bytes, sizeof bytes)) != 0)
            KITH_CHECK_EQ(out.end, 100);
        KITH_CHECK_EQ(err, fail_at <= 6 ? KITH_ERR_NOMEM : 0);
        if (err != 0) /* the next try, with memory, works */
            KITH_CHECK_EQ(kith__outbuf_write(&out, bytes, sizeof bytes), 0);
        kith__outbuf_dispose(&out);
        KITH_CHECK_EQ(tm.live, 0);
    }
}

/* The model: one state for each byte. */
enum { MODEL_SIZE = 40000, FLIGHT_MAX = 400 };
enum { UNSENT, FLYING, LOST, ACKED };

struct flight {
    uint64_t offset;
    size_t size;
    bool fin;
};

struct model {
    uint8_t state[MODEL_SIZE];
    struct flight flights[FLIGHT_MAX];
    size_t flight_count;
};

static void model_send(struct model *model, struct kith_outbuf *out, uint64_t *random)
{
    struct kith_outbuf_chunk chunk;
    struct flight *flight = &model->flights[model->flight_count];
    size_t lost = 0, size;

    while (lost < out->end && model->state[lost] != LOST)
        lost++;
    if (model->flight_count == FLIGHT_MAX || !kith__outbuf_peek(out, out->end, &chunk)) {
        KITH_CHECK(model->flight_count == FLIGHT_MAX || lost == out->end);
        return;
    }
    if (lost < out->end)
        KITH_CHECK_EQ(chunk.offset, lost);
    size = chunk.size == 0 ? 0 : 1 + kith__test_random(random) % KITH_MIN(chunk.size, (size_t)1400);
    check_copy(out, chunk.offset, size);
    *flight = (struct flight) { chunk.offset, size, kith__outbuf_take(out, &chunk, size) };
    for (size_t i = 0; i < size; i++) {
        KITH_CHECK_EQ(model->state[chunk.offset + i], chunk.resend ? LOST : UNSENT);
        model->state[chunk.offset + i] = FLYING;
    }
    model->flight_count++;
}

static void model_settle(struct model *model, struct kith_outbuf *out, uint64_t *random)
{
    size_t i = model->flight_count != 0 ? kith__test_random(random) % KITH_MIN(model->flight_count, (size_t)20) : 0;
    struct flight flight = model->flights[i];
    bool acked = kith__test_random(random) % 4 != 0;
    uint64_t freed;

    if (model->flight_count == 0)
        return;
    model->flights[i] = model->flights[--model->flight_count];
    for (size_t k = 0; k < flight.size; k++) {
        uint8_t *state = &model->state[flight.offset + k];

        *state = *state == ACKED || acked ? ACKED : LOST;
    }
    if (acked)
        KITH_CHECK_EQ(kith__outbuf_on_acked(out, flight.offset, flight.size, flight.fin, &freed), 0);
    else
        KITH_CHECK_EQ(kith__outbuf_on_lost(out, flight.offset, flight.size, flight.fin), 0);
}

KITH_TEST(outbuf_agrees_with_a_model_of_single_bytes)
{
    uint64_t seed = kith__test_seed(20260), random = seed;
    static struct model model;
    struct kith_test_mem tm;
    struct kith_outbuf out;

    printf("seed %llu\n", (unsigned long long)seed);
    for (int run = 0; run < 5; run++) {
        memset(&model, 0, sizeof model);
        kith__test_mem_init(&tm, 0);
        kith__outbuf_init(&out, &tm.mem);
        while (!kith__outbuf_is_done(&out)) {
            uint64_t what = kith__test_random(&random) % 8;
            size_t begin = 0;

            if (what == 0 && out.fin == KITH_FIN_OPEN) {
                size_t size = kith__test_random(&random) % 3000;

                write_pattern(&out, KITH_MIN(size, MODEL_SIZE - (size_t)out.end));
                if (out.end == MODEL_SIZE)
                    kith__outbuf_finish(&out);
            } else if (what < 5) {
                model_send(&model, &out, &random);
            } else {
                model_settle(&model, &out, &random);
            }
            while (begin < out.end && model.state[begin] == ACKED)
                begin++;
            KITH_CHECK_EQ(out.begin, begin);
        }
        KITH_CHECK_EQ(tm.live - (out.lost.heap != NULL) - (out.acked.heap != NULL), 0);
        kith__outbuf_dispose(&out);
        KITH_CHECK_EQ(tm.live, 0);
    }
}
