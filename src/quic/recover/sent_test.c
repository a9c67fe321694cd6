#include "quic/recover/sent.h"

#include "base/test.h"
#include "quic/wire/codes.h"
#include <string.h>

enum { DATA = KITH_SENT_ELICITING | KITH_SENT_COUNTED };

static uint64_t send_frames(struct kith_sent_log *log, size_t frame_count, uint8_t flags, uint64_t now_ns)
{
    uint64_t number;

    KITH_CHECK_EQ(kith__sent_begin(log, &number), 0);
    for (size_t i = 0; i < frame_count; i++)
        KITH_CHECK_EQ(kith__sent_add_frame(log, &(struct kith_sent_frame) { .kind = 8, .id = i, .value = number }), 0);
    kith__sent_commit(log, 1000, flags, now_ns);
    return number;
}

/** Acknowledges a range; returns how many packets were new. */
static size_t ack(struct kith_sent_log *log, uint64_t first, uint64_t last)
{
    struct kith_sent_walk walk;
    const struct kith_sent *packet;
    size_t count = 0;
    uint64_t before = 0;

    KITH_CHECK_EQ(kith__sent_ack_begin(log, first, last, &walk), 0);
    while ((packet = kith__sent_ack_next(log, &walk)) != NULL) {
        KITH_CHECK(packet->number >= first && packet->number <= last);
        KITH_CHECK(count == 0 || packet->number > before);
        for (size_t i = 0; i < packet->frame_count; i++) {
            KITH_CHECK_EQ(kith__sent_frame(log, packet, i)->id, i);
            KITH_CHECK_EQ(kith__sent_frame(log, packet, i)->value, packet->number);
        }
        before = packet->number;
        count++;
    }
    return count;
}

KITH_TEST(sent_each_packet_is_acknowledged_once)
{
    struct kith_sent_log log;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (uint64_t i = 0; i < 10; i++)
        KITH_CHECK_EQ(send_frames(&log, i, DATA, i), i);
    KITH_CHECK_EQ(log.in_flight_size, 10000);
    KITH_CHECK_EQ(log.eliciting_sent_ns, 9);
    KITH_CHECK_EQ(ack(&log, 4, 6), 3);
    KITH_CHECK_EQ(ack(&log, 4, 6), 0);
    KITH_CHECK_EQ(ack(&log, 3, 8), 3);
    KITH_CHECK_EQ(log.in_flight_size, 4000);
    KITH_CHECK_EQ(log.acked_end, 9);
    kith__sent_check(&log);
    kith__sent_forget(&log, 0);
    KITH_CHECK_EQ(log.base, 0); /* 0 to 2 are in flight */
    KITH_CHECK_EQ(ack(&log, 0, 9), 4);
    kith__sent_forget(&log, 0);
    KITH_CHECK_EQ(log.base, 10);
    KITH_CHECK_EQ(ack(&log, 0, 9), 0); /* old ranges come again */
    kith__sent_check(&log);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_log_that_nobody_acknowledges_stays_short)
{
    struct kith_sent_log log;
    const struct kith_sent *packet;
    uint64_t given_up = 0;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (int i = 0; i < 10; i++)
        send_frames(&log, 3, DATA, 1);
    for (int i = 0; i < 4 * KITH_SENT_OTHERS_MAX; i++) {
        if (i == KITH_SENT_OTHERS_MAX / 2) /* what is acknowledged behind them is kept for no longer */
            ack(&log, 100, 200);
        send_frames(&log, i % 1000 == 0, i % 1000 == 0 ? DATA : 0, 2);
        while (kith__sent_is_long(&log)) {
            kith__sent_forget(&log, 0);
            packet = kith__sent_take_overdue(&log);
            if (packet == NULL)
                break;
            KITH_CHECK_EQ(packet->number == 0 || given_up != 0, 1); /* oldest first */
            KITH_CHECK_EQ(packet->state, KITH_SENT_LOST);
            given_up++;
        }
        KITH_CHECK(log.next - log.base <= log.counted + KITH_SENT_OTHERS_MAX);
    }
    kith__sent_check(&log);
    KITH_CHECK(given_up >= 10 && log.cap <= 2 * KITH_SENT_OTHERS_MAX + 2048);
    KITH_CHECK_EQ(ack(&log, 0, log.next - 1), log.next - log.base); /* what is forgotten is not there any more */
    kith__sent_dispose(&log);
}

KITH_TEST(sent_log_in_flight_as_far_as_the_window_may_go_gives_nothing_up)
{
    struct kith_sent_log log;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (int i = 0; i < KITH_SENT_COUNTED_MAX; i++)
        send_frames(&log, 2, DATA, 1);
    for (int i = 0; i < KITH_SENT_OTHERS_MAX; i++)
        send_frames(&log, 0, 0, 1);
    kith__sent_forget(&log, 0);
    KITH_CHECK(kith__sent_take_overdue(&log) == NULL);
    KITH_CHECK_EQ(log.base, 0);
    kith__sent_clear(&log);
    KITH_CHECK_EQ(log.in_flight_size, 0);
    kith__sent_check(&log);
    KITH_CHECK_EQ(send_frames(&log, 1, DATA, 1), KITH_SENT_COUNTED_MAX + KITH_SENT_OTHERS_MAX);
    kith__sent_check(&log);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_frames_of_all_packets_together_are_bounded)
{
    struct kith_sent_log log;
    uint64_t number;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (int i = 0; i < KITH_SENT_FRAMES_ALL_MAX / (KITH_SENT_FRAMES_MAX - 1); i++)
        send_frames(&log, KITH_SENT_FRAMES_MAX, DATA, 1);
    KITH_CHECK_EQ(kith__sent_begin(&log, &number), 0);
    while (kith__sent_has_record_room(&log))
        KITH_CHECK_EQ(kith__sent_add_frame(&log, &(struct kith_sent_frame) { 0 }), 0);
    KITH_CHECK_EQ(log.frames_end - log.frames_begin, KITH_SENT_FRAMES_ALL_MAX);
    KITH_CHECK_EQ(kith__sent_add_frame(&log, &(struct kith_sent_frame) { 0 }), KITH_ERR_LIMIT);
    kith__sent_abandon(&log);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_refuses_an_ack_for_what_was_not_sent)
{
    struct kith_sent_log log;
    struct kith_sent_walk walk;
    uint64_t number;

    kith__sent_init(&log, kith_mem_default(), 0);
    send_frames(&log, 1, DATA, 1);
    KITH_CHECK_EQ(kith__sent_ack_begin(&log, 0, 1, &walk), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(kith__sent_begin(&log, &number), 0); /* being written is not sent */
    KITH_CHECK_EQ(kith__sent_ack_begin(&log, 1, 1, &walk), KITH_WIRE_PROTOCOL_VIOLATION);
    kith__sent_abandon(&log);
    KITH_CHECK_EQ(log.acked_end, 0);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_skips_numbers_and_notices_an_ack_for_them)
{
    uint64_t first_skips[64] = { 0 }, distinct = 0;

    for (uint64_t seed = 1; seed < 200; seed++) {
        struct kith_sent_log log;
        struct kith_sent_walk walk;
        uint64_t skipped;

        kith__sent_init(&log, kith_mem_default(), seed);
        for (uint64_t i = 0; i < 70; i++)
            send_frames(&log, 1, DATA, 1);
        KITH_CHECK(log.skip_count >= 1);
        skipped = log.skipped[0];
        KITH_CHECK(skipped < 64);
        distinct += first_skips[skipped]++ == 0;
        KITH_CHECK_EQ(kith__sent_ack_begin(&log, skipped, skipped, &walk), KITH_WIRE_PROTOCOL_VIOLATION);
        KITH_CHECK_EQ(kith__sent_ack_begin(&log, 0, 69, &walk), KITH_WIRE_PROTOCOL_VIOLATION);
        if (skipped != 0)
            KITH_CHECK_EQ(ack(&log, 0, skipped - 1), skipped);
        if (log.skip_count == 1 || log.skipped[1] != skipped + 1)
            ack(&log, skipped + 1, skipped + 1);
        kith__sent_forget(&log, 0); /* gone from the ring, but not forgotten */
        KITH_CHECK(kith__sent_find(&log, skipped) == NULL);
        KITH_CHECK_EQ(kith__sent_ack_begin(&log, skipped, skipped, &walk), KITH_WIRE_PROTOCOL_VIOLATION);
        kith__sent_check(&log);
        kith__sent_dispose(&log);
    }
    KITH_CHECK(distinct > 30);
}

KITH_TEST(sent_loses_by_number_and_by_time_only_below_the_largest_acknowledged)
{
    struct kith_sent_log log;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (uint64_t i = 0; i < 8; i++)
        send_frames(&log, 1, DATA, 10 * i);
    KITH_CHECK(kith__sent_take_lost(&log, 100, 1000) == NULL); /* nothing acknowledged yet */
    ack(&log, 5, 5);
    KITH_CHECK_EQ(kith__sent_take_lost(&log, 2, 0)->number, 0);
    KITH_CHECK_EQ(kith__sent_take_lost(&log, 2, 0)->number, 1);
    KITH_CHECK(kith__sent_take_lost(&log, 2, 20) == NULL); /* sent at 20: not before 20 */
    KITH_CHECK_EQ(kith__sent_take_lost(&log, 2, 21)->number, 2);
    KITH_CHECK_EQ(kith__sent_take_lost(&log, 100, 1000)->number, 3);
    KITH_CHECK_EQ(kith__sent_take_lost(&log, 100, 1000)->number, 4);
    KITH_CHECK(kith__sent_take_lost(&log, 100, 1000) == NULL);
    KITH_CHECK_EQ(log.eliciting, 2);
    kith__sent_check(&log);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_a_late_ack_tells_that_a_loss_was_spurious)
{
    struct kith_sent_log log;
    struct kith_sent_walk walk;
    const struct kith_sent *packet;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (uint64_t i = 0; i < 5; i++)
        send_frames(&log, 2, DATA, i + 1);
    ack(&log, 4, 4);
    KITH_CHECK_EQ(kith__sent_take_lost(&log, 1, 0)->number, 0);
    kith__sent_forget(&log, 1); /* lost packet is young: stays */
    KITH_CHECK_EQ(kith__sent_ack_begin(&log, 0, 0, &walk), 0);
    packet = kith__sent_ack_next(&log, &walk);
    KITH_CHECK(packet != NULL && (packet->flags & KITH_SENT_WAS_LOST) != 0);
    KITH_CHECK(kith__sent_ack_next(&log, &walk) == NULL);
    KITH_CHECK_EQ(log.in_flight_size, 3000);
    kith__sent_check(&log);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_forgets_old_losses_and_acknowledgements_only)
{
    struct kith_sent_log log;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (uint64_t i = 0; i < 5; i++)
        send_frames(&log, 1, DATA, 10);
    ack(&log, 4, 4);
    kith__sent_take_lost(&log, 1, 0);
    kith__sent_forget(&log, 10);
    KITH_CHECK_EQ(log.base, 0);
    kith__sent_forget(&log, 11);
    KITH_CHECK_EQ(log.base, 1);
    for (uint64_t i = 0; i < 300; i++)
        send_frames(&log, 0, 0, 20);
    KITH_CHECK_EQ(log.quiet_run, 300);
    ack(&log, 1, 3);
    kith__sent_forget(&log, 11);
    KITH_CHECK_EQ(log.next - log.base, KITH_SENT_QUIET_MAX);
    kith__sent_check(&log);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_undo_and_abandon_leave_no_trace)
{
    struct kith_sent_log log;
    uint64_t number, again;

    kith__sent_init(&log, kith_mem_default(), 0);
    send_frames(&log, 3, DATA, 1);
    KITH_CHECK_EQ(kith__sent_begin(&log, &number), 0);
    for (uint64_t i = 0; i < KITH_SENT_FRAMES_MAX; i++)
        KITH_CHECK_EQ(kith__sent_add_frame(&log, &(struct kith_sent_frame) { .id = i, .value = number }), 0);
    KITH_CHECK_EQ(kith__sent_add_frame(&log, &(struct kith_sent_frame) { .id = 99 }), KITH_ERR_LIMIT);
    kith__sent_undo_frame(&log);
    kith__sent_abandon(&log);
    kith__sent_check(&log);
    KITH_CHECK_EQ(kith__sent_begin(&log, &again), 0);
    KITH_CHECK_EQ(again, number);
    kith__sent_abandon(&log);
    send_frames(&log, 5, DATA, 1);
    KITH_CHECK_EQ(ack(&log, 0, 1), 2);
    kith__sent_dispose(&log);
}

/** Bytes of both rings. */
static size_t memory_of(const struct kith_sent_log *log)
{
    return log->cap * sizeof(struct kith_sent) + log->frames_cap * sizeof(struct kith_sent_frame);
}

KITH_TEST(sent_an_idle_log_is_small)
{
    struct kith_sent_log log;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (uint64_t i = 0; i < 1000; i++)
        send_frames(&log, 3, DATA, 1);
    KITH_CHECK(log.cap >= 1000);
    ack(&log, 0, 999);
    kith__sent_forget(&log, 0);
    for (uint64_t i = 0; i < 3; i++) {
        ack(&log, 0, send_frames(&log, 1, DATA, 2));
        kith__sent_forget(&log, 0);
    }
    KITH_CHECK(memory_of(&log) < 1024);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_an_idle_log_with_few_packets_of_many_frames_is_small)
{
    struct kith_sent_log log;

    kith__sent_init(&log, kith_mem_default(), 0);
    ack(&log, 0, send_frames(&log, 40, DATA, 1));
    kith__sent_forget(&log, 0);
    KITH_CHECK(log.frames_cap == 0 && log.cap == 0);
    ack(&log, 1, send_frames(&log, 1, DATA, 1)); /* a small one keeps its memory for the next */
    kith__sent_forget(&log, 0);
    KITH_CHECK(log.cap != 0);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_log_gives_memory_back_although_the_last_packets_are_never_acknowledged)
{
    struct kith_sent_log log;

    kith__sent_init(&log, kith_mem_default(), 0);
    KITH_CHECK(!kith__sent_has_slack(&log));
    for (uint64_t i = 0; i < 1000; i++)
        send_frames(&log, 3, DATA, 1);
    KITH_CHECK(!kith__sent_has_slack(&log));
    ack(&log, 0, 999);
    for (uint64_t i = 0; i < 5; i++)
        send_frames(&log, i == 2 ? 4 : 0, i == 2 ? DATA : 0, 2);
    kith__sent_forget(&log, 0);
    KITH_CHECK(memory_of(&log) > 64000);
    KITH_CHECK(kith__sent_has_slack(&log));
    kith__sent_shed(&log);
    kith__sent_check(&log);
    KITH_CHECK(!kith__sent_has_slack(&log));
    KITH_CHECK(memory_of(&log) <= 16 * sizeof(struct kith_sent) + 8 * sizeof(struct kith_sent_frame));
    for (size_t i = 0; i < 4; i++) /* what is under way is as it was */
        KITH_CHECK_EQ(kith__sent_frame(&log, kith__sent_find(&log, 1002), i)->value, 1002);
    KITH_CHECK_EQ(ack(&log, 1000, 1004), 5);
    for (uint64_t i = 0; i < 100; i++)
        send_frames(&log, 0, 0, 3);
    KITH_CHECK(kith__sent_has_slack(&log));
    kith__sent_shed(&log);
    kith__sent_check(&log);
    KITH_CHECK_EQ(memory_of(&log), 0);
    KITH_CHECK_EQ(ack(&log, 900, 1104), 0); /* late, and no error */
    KITH_CHECK_EQ(send_frames(&log, 2, DATA, 4), 1105);
    KITH_CHECK_EQ(ack(&log, 1000, 1105), 1);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_log_stays_as_it_is_without_memory_to_become_smaller)
{
    struct kith_test_mem mem;
    struct kith_sent_log log;

    kith__test_mem_init(&mem, 0);
    kith__sent_init(&log, &mem.mem, 0);
    for (uint64_t i = 0; i < 100; i++)
        send_frames(&log, 3, DATA, 1);
    ack(&log, 0, 98);
    kith__sent_forget(&log, 0);
    for (uint64_t n = 1; n <= 2; n++) {
        mem.fail_at = mem.calls + n;
        kith__sent_shed(&log);
        kith__sent_check(&log);
        KITH_CHECK_EQ(kith__sent_frame(&log, kith__sent_find(&log, 99), 2)->value, 99);
    }
    KITH_CHECK_EQ(ack(&log, 99, 99), 1);
    kith__sent_dispose(&log);
    KITH_CHECK_EQ(mem.live, 0);
}

KITH_TEST(sent_packets_are_bounded)
{
    struct kith_sent_log log;
    uint64_t number = 77;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (int i = 0; i < KITH_SENT_PACKETS_MAX; i++)
        send_frames(&log, 1, DATA, 1);
    KITH_CHECK_EQ(kith__sent_begin(&log, &number), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(number, 77);
    kith__sent_check(&log);
    ack(&log, 0, 0);
    kith__sent_forget(&log, 0);
    KITH_CHECK_EQ(send_frames(&log, 1, DATA, 1), KITH_SENT_PACKETS_MAX);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_packets_taken_as_never_sent_mean_nothing_when_they_are_acknowledged)
{
    struct kith_sent_log log;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (int i = 0; i < 5; i++)
        send_frames(&log, 1, DATA, 1);
    KITH_CHECK_EQ(ack(&log, 4, 4), 1);
    KITH_CHECK_EQ(kith__sent_take_lost(&log, 1, 0)->number, 0);
    for (uint64_t i = 1; i < 4; i++)
        KITH_CHECK_EQ(kith__sent_take_oldest(&log)->number, i);
    KITH_CHECK(kith__sent_take_oldest(&log) == NULL);
    kith__sent_check(&log);
    KITH_CHECK_EQ(ack(&log, 0, 4), 0); /* neither the lost one nor the others */
    KITH_CHECK_EQ(ack(&log, 5, send_frames(&log, 1, DATA, 1)), 1);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_finds_what_a_probe_repeats)
{
    struct kith_sent_log log;

    kith__sent_init(&log, kith_mem_default(), 0);
    send_frames(&log, 0, 0, 1);
    send_frames(&log, 1, DATA, 1);
    send_frames(&log, 1, DATA, 1);
    KITH_CHECK_EQ(kith__sent_find_eliciting(&log, 0)->number, 1);
    KITH_CHECK_EQ(kith__sent_find_eliciting(&log, 2)->number, 2);
    KITH_CHECK(kith__sent_find_eliciting(&log, 3) == NULL);
    KITH_CHECK_EQ(kith__sent_take_oldest(&log)->number, 0);
    KITH_CHECK_EQ(kith__sent_take_oldest(&log)->number, 1);
    KITH_CHECK_EQ(kith__sent_take_oldest(&log)->number, 2);
    KITH_CHECK(kith__sent_take_oldest(&log) == NULL);
    kith__sent_check(&log);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_survives_failed_allocations)
{
    for (uint64_t n = 1; n < 12; n++) {
        struct kith_test_mem mem;
        struct kith_sent_log log;
        uint64_t number;

        kith__test_mem_init(&mem, n);
        kith__sent_init(&log, &mem.mem, 5);
        for (int i = 0; i < 100; i++) {
            if (kith__sent_begin(&log, &number) != 0)
                continue;
            for (int k = 0; k < 3; k++)
                if (kith__sent_add_frame(&log, &(struct kith_sent_frame) { .kind = 1 }) != 0)
                    break;
            kith__sent_commit(&log, 100, DATA, 1);
            kith__sent_check(&log);
        }
        kith__sent_dispose(&log);
        KITH_CHECK_EQ(mem.live, 0);
    }
}

struct model {
    uint8_t state; /* 0 unused, 1 in flight, 2 acked, 3 lost */
    uint8_t flags;
    uint64_t sent_ns;
};

/** Random sends, ranges, losses and forgetting against an array. */
KITH_TEST(sent_agrees_with_a_naive_model)
{
    enum { COUNT = 40000 };
    static struct model model[COUNT];
    uint64_t random = kith__test_seed(11), size = 0, largest = 0, now_ns = 0;
    struct kith_sent_log log;

    memset(model, 0, sizeof model);
    kith__sent_init(&log, kith_mem_default(), random | 1);
    while (log.next + 200 < COUNT) {
        uint64_t what = kith__test_random(&random) % 8;

        now_ns += kith__test_random(&random) % 3;
        if (what < 4) {
            uint8_t flags = kith__test_random(&random) % 5 == 0 ? 0 : DATA;
            uint64_t number = send_frames(&log, kith__test_random(&random) % 4, flags, now_ns);

            model[number] = (struct model) { 1, flags, now_ns };
            size += flags != 0 ? 1000 : 0;
        } else if (what < 6 && log.next > 2) {
            uint64_t last = log.next - 1 - kith__test_random(&random) % KITH_MIN(log.next, 40u);
            uint64_t span = kith__test_random(&random) % 30, first = last - KITH_MIN(last, span);
            struct kith_sent_walk walk;
            const struct kith_sent *packet;
            bool holds_skipped = false;

            for (uint64_t n = first; n <= last; n++)
                holds_skipped |= model[n].state == 0;
            if (holds_skipped) {
                KITH_CHECK_EQ(kith__sent_ack_begin(&log, first, last, &walk), KITH_WIRE_PROTOCOL_VIOLATION);
                continue;
            }
            KITH_CHECK_EQ(kith__sent_ack_begin(&log, first, last, &walk), 0);
            largest = KITH_MAX(largest, last + 1);
            for (uint64_t n = KITH_MAX(first, log.base); n <= last; n++) {
                if (model[n].state == 2)
                    continue;
                packet = kith__sent_ack_next(&log, &walk);
                KITH_CHECK(packet != NULL && packet->number == n);
                KITH_CHECK_EQ((packet->flags & KITH_SENT_WAS_LOST) != 0, model[n].state == 3);
                for (size_t i = 0; i < packet->frame_count; i++)
                    KITH_CHECK(kith__sent_frame(&log, packet, i)->id == i &&
                               kith__sent_frame(&log, packet, i)->value == n);
                size -= model[n].state == 1 && model[n].flags != 0 ? 1000 : 0;
                model[n].state = 2;
            }
            KITH_CHECK(kith__sent_ack_next(&log, &walk) == NULL);
        } else if (what == 6) {
            uint64_t below = largest > 3 ? largest - 3 : 0, before = now_ns > 60 ? now_ns - 60 : 0;

            for (uint64_t n = log.base; n < largest; n++) {
                const struct kith_sent *packet;

                if (model[n].state != 1 || (n >= below && model[n].sent_ns >= before))
                    continue;
                packet = kith__sent_take_lost(&log, below, before);
                KITH_CHECK(packet != NULL && packet->number == n);
                size -= model[n].flags != 0 ? 1000 : 0;
                model[n].state = 3;
            }
            KITH_CHECK(kith__sent_take_lost(&log, below, before) == NULL);
        } else {
            kith__sent_forget(&log, now_ns > 100 ? now_ns - 100 : 0);
        }
        KITH_CHECK_EQ(log.in_flight_size, size);
        if (kith__test_random(&random) % 16 == 0)
            kith__sent_check(&log);
    }
    kith__sent_dispose(&log);
}

KITH_TEST(sent_ranges_that_begin_anywhere_in_what_is_acknowledged_are_walked_fast)
{
    struct kith_sent_log log;
    struct kith_sent_walk walk;
    uint64_t number, steps = 0;

    kith__sent_init(&log, kith_mem_default(), 0);
    for (uint64_t i = 0; i < 10000; i++) {
        KITH_CHECK_EQ(kith__sent_begin(&log, &number), 0);
        kith__sent_commit(&log, 100, KITH_SENT_ELICITING | KITH_SENT_COUNTED, i);
    }
    for (uint64_t first = 1; first < 5000; first++) { /* number 0 is never acknowledged, so nothing can be forgotten */
        KITH_CHECK_EQ(kith__sent_ack_begin(&log, first, 9999, &walk), 0);
        while (kith__sent_ack_next(&log, &walk) != NULL) {
        }
        steps += walk.slow;
        kith__sent_forget(&log, 0);
    }
    KITH_CHECK_EQ(log.counted, 1);
    KITH_CHECK(steps < 20000);
    kith__sent_check(&log);
    kith__sent_dispose(&log);
}

KITH_TEST(sent_waiting_is_the_first_that_asks_for_an_ack_after_all_acknowledged_ones)
{
    struct kith_sent_log log;

    kith__sent_init(&log, kith_mem_default(), 0);
    KITH_CHECK_EQ(log.waiting_ns, KITH_NEVER);
    send_frames(&log, 0, 0, 5);
    KITH_CHECK_EQ(log.waiting_ns, KITH_NEVER); /* an ACK alone waits for nothing */
    for (uint64_t i = 1; i <= 5; i++)
        send_frames(&log, 1, i == 3 ? 0 : DATA, 10 * i);
    KITH_CHECK(log.waiting == 1 && log.waiting_ns == 10);
    ack(&log, 2, 2); /* 1 may be lost, but what left after it arrived */
    kith__sent_find_waiting(&log);
    KITH_CHECK(log.waiting == 4 && log.waiting_ns == 40);
    ack(&log, 1, 1);
    kith__sent_find_waiting(&log);
    KITH_CHECK(log.waiting == 4 && log.waiting_ns == 40);
    ack(&log, 4, 5);
    kith__sent_find_waiting(&log);
    KITH_CHECK(log.waiting == UINT64_MAX && log.waiting_ns == KITH_NEVER);
    send_frames(&log, 1, DATA, 100);
    KITH_CHECK(log.waiting == 6 && log.waiting_ns == 100);
    kith__sent_clear(&log);
    KITH_CHECK_EQ(log.waiting_ns, KITH_NEVER);
    kith__sent_dispose(&log);
}
