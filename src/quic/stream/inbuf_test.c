#include "quic/stream/inbuf.h"

#include "base/mem.h"
#include "base/test.h"
#include "quic/wire/codes.h"
#include <stdio.h>

enum { TEST_SIZE = 200000 };
static uint8_t pattern_bytes[TEST_SIZE];

static const uint8_t *pattern(uint64_t offset)
{
    if (pattern_bytes[1] == 0)
        for (size_t i = 0; i < TEST_SIZE; i++)
            pattern_bytes[i] = (uint8_t)(i * 11 + (i >> 8) * 3 + 1);
    return pattern_bytes + offset;
}

static int data(struct kith_inbuf *in, uint64_t offset, size_t size, bool fin)
{
    return kith__inbuf_on_data(in, offset, pattern(offset), size, fin);
}

/** Reads up to `max` bytes in order and checks them; returns how many. */
static size_t read_checked(struct kith_inbuf *in, size_t max)
{
    struct kith_slice slice;
    size_t done = 0;

    while (done < max && kith__inbuf_peek(in, &slice) == 0) {
        size_t part = KITH_MIN(slice.size, max - done);

        KITH_CHECK_BYTES(slice.ptr, pattern(in->consumed), part);
        kith__inbuf_consume(in, part);
        done += part;
    }
    return done;
}

KITH_TEST(inbuf_in_order_bytes_lie_together)
{
    struct kith_test_mem tm;
    struct kith_inbuf in;
    struct kith_slice slice;

    kith__test_mem_init(&tm, 0);
    kith__inbuf_init(&in, &tm.mem);
    KITH_CHECK_EQ(kith__inbuf_peek(&in, &slice), KITH_ERR_AGAIN);
    for (uint64_t at = 0; at < 140000; at += 1400)
        KITH_CHECK_EQ(data(&in, at, 1400, false), 0);
    KITH_CHECK(in.count <= 8); /* doubling blocks */
    KITH_CHECK(in.memory_size < 2 * 140000);
    KITH_CHECK_EQ(read_checked(&in, SIZE_MAX), 140000);
    KITH_CHECK_EQ(kith__inbuf_peek(&in, &slice), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(in.memory_size, 0);
    KITH_CHECK_EQ(data(&in, 140000, 0, true), 0);
    KITH_CHECK_EQ(kith__inbuf_peek(&in, &slice), KITH_ERR_END);
    KITH_CHECK(kith__inbuf_is_finished(&in));
    kith__inbuf_dispose(&in);
    kith__inbuf_dispose(&in);
    KITH_CHECK_EQ(tm.live, 0);
}

KITH_TEST(inbuf_a_small_piece_costs_a_small_block)
{
    struct kith_inbuf in;

    kith__inbuf_init(&in, kith_mem_default());
    KITH_CHECK_EQ(data(&in, 0, 5, false), 0);
    KITH_CHECK_EQ(in.memory_size, KITH_INBUF_BLOCK_MIN);
    KITH_CHECK_EQ(data(&in, 5000, 5, false), 0);
    KITH_CHECK_EQ(in.memory_size, 2 * KITH_INBUF_BLOCK_MIN);
    kith__inbuf_dispose(&in);
}

KITH_TEST(inbuf_gaps_duplicates_and_overlaps_give_each_byte_once)
{
    static const struct {
        uint64_t offset;
        size_t size;
        size_t readable; /* after it */
    } steps[] = {
        { 10, 10, 0 }, { 10, 10, 0 }, { 15, 10, 0 }, { 0, 5, 5 },   { 3, 4, 7 },
        { 5, 30, 35 }, { 0, 35, 35 }, { 40, 5, 35 }, { 34, 7, 45 }, { 44, 1, 45 },
    };
    struct kith_inbuf in;

    kith__inbuf_init(&in, kith_mem_default());
    for (size_t i = 0; i < KITH_COUNT(steps); i++) {
        uint64_t end = 0;

        KITH_CHECK_EQ(data(&in, steps[i].offset, steps[i].size, false), 0);
        if (in.received.count != 0 && kith__ranges_at(&in.received, 0).begin == 0)
            end = kith__ranges_at(&in.received, 0).end;
        KITH_CHECK_EQ(end, steps[i].readable);
    }
    KITH_CHECK_EQ(in.waiting, 45);
    KITH_CHECK_EQ(read_checked(&in, SIZE_MAX), 45);
    KITH_CHECK_EQ(data(&in, 0, 45, false), 0); /* all of it again, after it was read */
    KITH_CHECK_EQ(in.waiting, 0);
    kith__inbuf_dispose(&in);
}

KITH_TEST(inbuf_final_size_never_changes)
{
    static const struct {
        uint64_t offset;
        size_t size;
        bool fin;
        int err;
    } after[] = {
        /* after bytes 0..9 and the end at 20 */
        { 10, 10, true, 0 },
        { 20, 0, true, 0 },
        { 0, 20, false, 0 },
        { 20, 1, false, KITH_WIRE_FINAL_SIZE_ERROR },
        { 19, 2, false, KITH_WIRE_FINAL_SIZE_ERROR },
        { 19, 0, true, KITH_WIRE_FINAL_SIZE_ERROR },
        { 21, 0, true, KITH_WIRE_FINAL_SIZE_ERROR },
        { 5, 1, true, KITH_WIRE_FINAL_SIZE_ERROR },
    };

    for (size_t i = 0; i < KITH_COUNT(after); i++) {
        struct kith_inbuf in;

        kith__inbuf_init(&in, kith_mem_default());
        KITH_CHECK_EQ(data(&in, 0, 10, false), 0);
        KITH_CHECK_EQ(data(&in, 9, 0, true), KITH_WIRE_FINAL_SIZE_ERROR); /* below what came */
        KITH_CHECK_EQ(data(&in, 20, 0, true), 0);
        KITH_CHECK(!kith__inbuf_is_complete(&in));
        KITH_CHECK_EQ(data(&in, after[i].offset, after[i].size, after[i].fin), after[i].err);
        kith__inbuf_dispose(&in);
    }
}

KITH_TEST(inbuf_too_many_holes_are_an_internal_error)
{
    struct kith_inbuf in;
    uint64_t at = 1;

    kith__inbuf_init(&in, kith_mem_default());
    for (int i = 0; i < KITH_INBUF_HOLES_MAX; i++, at += 2)
        KITH_CHECK_EQ(data(&in, at, 1, false), 0);
    KITH_CHECK_EQ(data(&in, at, 1, false), KITH_WIRE_INTERNAL_ERROR);
    kith__inbuf_dispose(&in);
}

KITH_TEST(inbuf_bytes_one_by_one_from_the_back_stay_within_the_memory_bound)
{
    struct kith_inbuf in;
    uint64_t worst = 0;

    kith__inbuf_init(&in, kith_mem_default());
    for (uint64_t at = 60000; at-- != 0;) {
        KITH_CHECK_EQ(data(&in, at, 1, false), 0);
        worst = KITH_MAX(worst, in.memory_size + in.count * sizeof in.blocks[0]);
        KITH_CHECK(in.memory_size + in.count * sizeof in.blocks[0] <= 2 * in.waiting + KITH_INBUF_SLACK);
    }
    KITH_CHECK(worst > 100000); /* the test would notice if nothing was merged: 60,000 blocks of 64 bytes */
    KITH_CHECK_EQ(read_checked(&in, SIZE_MAX), 60000);
    kith__inbuf_dispose(&in);
}

KITH_TEST(inbuf_unordered_gives_what_came_and_does_not_go_back)
{
    struct kith_inbuf in;
    struct kith_slice slice;
    uint8_t out[100];
    uint64_t offset;
    size_t size;

    kith__inbuf_init(&in, kith_mem_default());
    KITH_CHECK_EQ(data(&in, 50, 10, false), 0);
    KITH_CHECK_EQ(kith__inbuf_next_chunk(&in, out, 4, &offset, &size), 0);
    KITH_CHECK_EQ(offset, 50);
    KITH_CHECK_EQ(size, 4);
    KITH_CHECK_BYTES(out, pattern(50), 4);
    KITH_CHECK_EQ(kith__inbuf_peek(&in, &slice), KITH_ERR_STATE);
    KITH_CHECK_EQ(data(&in, 0, 60, true), 0); /* overlaps what was delivered and what waits */
    KITH_CHECK_EQ(kith__inbuf_next_chunk(&in, out, sizeof out, &offset, &size), 0);
    KITH_CHECK_EQ(offset, 0);
    KITH_CHECK_EQ(size, 50);
    KITH_CHECK_EQ(kith__inbuf_next_chunk(&in, out, sizeof out, &offset, &size), 0);
    KITH_CHECK_EQ(offset, 54);
    KITH_CHECK_EQ(size, 6);
    KITH_CHECK_EQ(kith__inbuf_next_chunk(&in, out, sizeof out, &offset, &size), KITH_ERR_END);
    kith__inbuf_dispose(&in);
}

KITH_TEST(inbuf_discard_forgets_bytes_but_not_rules)
{
    struct kith_inbuf in;

    kith__inbuf_init(&in, kith_mem_default());
    KITH_CHECK_EQ(data(&in, 0, 100, false), 0);
    kith__inbuf_discard(&in);
    KITH_CHECK_EQ(in.memory_size, 0);
    KITH_CHECK_EQ(kith__inbuf_highest(&in), 100);
    KITH_CHECK_EQ(data(&in, 99, 0, true), KITH_WIRE_FINAL_SIZE_ERROR);
    kith__inbuf_dispose(&in);
}

/* The model: one flag for each byte. */
static void check_model(struct kith_inbuf *in, const uint8_t *have, const uint8_t *taken, size_t size)
{
    uint64_t waiting = 0, consumed = 0;

    for (size_t i = 0; i < size; i++) {
        waiting += have[i] && !taken[i];
        consumed += taken[i];
        KITH_CHECK(!taken[i] || have[i]);
    }
    KITH_CHECK_EQ(in->waiting, waiting);
    KITH_CHECK_EQ(in->consumed, consumed);
}

static void run_model(uint64_t *random, bool unordered, uint64_t fail_every)
{
    enum { SIZE = 6000 };
    static uint8_t have[SIZE], taken[SIZE];
    struct kith_test_mem tm;
    struct kith_inbuf in;
    uint8_t out[500];

    memset(have, 0, sizeof have);
    memset(taken, 0, sizeof taken);
    kith__test_mem_init(&tm, fail_every);
    kith__inbuf_init(&in, &tm.mem);
    while (!kith__inbuf_is_finished(&in)) {
        uint64_t offset = kith__test_random(random) % SIZE;
        size_t max = kith__test_random(random) % 3 == 0 ? 500 : 20;
        size_t size = kith__test_random(random) % (KITH_MIN(max, SIZE - (size_t)offset) + 1);
        int err = data(&in, offset, size, offset + size == SIZE);

        KITH_CHECK(err == 0 || (err == KITH_ERR_NOMEM && fail_every != 0));
        if (err != 0) { /* the same frame again gives what is missing */
            KITH_CHECK_EQ(data(&in, offset, size, offset + size == SIZE), 0);
            tm.fail_at = tm.calls + fail_every;
        }
        memset(have + offset, 1, size);
        check_model(&in, have, taken, SIZE);
        if (kith__test_random(random) % 4 != 0)
            continue;
        if (unordered) {
            while (kith__inbuf_next_chunk(&in, out, 1 + kith__test_random(random) % sizeof out, &offset, &size) == 0) {
                KITH_CHECK_BYTES(out, pattern(offset), size);
                for (size_t i = 0; i < size; i++) {
                    KITH_CHECK_EQ(taken[offset + i], 0);
                    taken[offset + i] = 1;
                }
            }
        } else {
            size = read_checked(&in, kith__test_random(random) % 1000);
            memset(taken + in.consumed - size, 1, size);
        }
        check_model(&in, have, taken, SIZE);
    }
    kith__inbuf_dispose(&in);
    KITH_CHECK_EQ(tm.live, 0);
}

KITH_TEST(inbuf_agrees_with_a_model_of_single_bytes)
{
    uint64_t seed = kith__test_seed(20261), random = seed;

    printf("seed %llu\n", (unsigned long long)seed);
    for (int run = 0; run < 10; run++)
        run_model(&random, run % 2 != 0, run < 4 ? 0 : (uint64_t)run);
}
