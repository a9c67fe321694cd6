#include "quic/recover/received.h"

#include "base/test.h"
#include "quic/wire/codes.h"
#include <string.h>

#define DELAY_NS (25 * KITH_NS_PER_MS)

static struct kith_ack_policy policy;

static void start(struct kith_received *received)
{
    kith__ack_policy_init(&policy, DELAY_NS);
    kith__received_init(received, kith_mem_default());
}

static void take(struct kith_received *received, uint64_t number, uint64_t now_ns)
{
    KITH_CHECK_EQ(kith__received_on_packet(received, number, true, 2, &policy, now_ns), 0);
}

KITH_TEST(received_every_second_packet_makes_an_ack_due)
{
    struct kith_received received;

    start(&received);
    take(&received, 0, 100);
    KITH_CHECK(!kith__received_is_due(&received, 100));
    KITH_CHECK_EQ(kith__received_deadline(&received), 100 + DELAY_NS);
    take(&received, 1, 200);
    KITH_CHECK(kith__received_is_due(&received, 200));
    KITH_CHECK_EQ(kith__received_on_ack_sent(&received), 2);
    KITH_CHECK_EQ(kith__received_deadline(&received), KITH_NEVER);
    KITH_CHECK_EQ(received.ecn[KITH_ECN_ECT0], 2);
    KITH_CHECK_EQ(kith__received_ack_delay(&received, 250), 50);
    kith__received_dispose(&received);
}

KITH_TEST(received_acks_at_once_when_it_must)
{
    static const struct {
        const char *what;
        bool eliciting, handshake, due;
        uint8_t ecn;
        uint64_t number; /* after 0 and 1 were acknowledged */
    } cases[] = {
        { "the next one waits", true, false, false, 0, 2 },
        { "a gap", true, false, true, 0, 3 },
        { "a CE mark", true, false, true, 3, 2 },
        { "Initial and Handshake", true, true, true, 0, 2 },
        { "nothing to be acknowledged", false, false, false, 3, 5 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_received received;

        start(&received);
        take(&received, 0, 1);
        take(&received, 1, 1);
        kith__received_on_ack_sent(&received);
        KITH_CHECK_EQ(kith__received_on_packet(&received, cases[i].number, cases[i].eliciting, cases[i].ecn,
                                               cases[i].handshake ? NULL : &policy, 5),
                      0);
        if (kith__received_is_due(&received, 5) != cases[i].due)
            fail_msg("%s", cases[i].what);
        kith__received_dispose(&received);
    }
}

KITH_TEST(received_a_late_packet_makes_an_ack_due)
{
    struct kith_received received;

    start(&received);
    take(&received, 5, 1);
    kith__received_on_ack_sent(&received);
    take(&received, 3, 2);
    KITH_CHECK(kith__received_is_due(&received, 2));
    KITH_CHECK_EQ(kith__received_ack_delay(&received, 3), 2); /* counts from the largest */
    kith__received_dispose(&received);
}

KITH_TEST(received_follows_ack_frequency)
{
    struct kith_received received;

    start(&received);
    KITH_CHECK_EQ(kith__ack_policy_on_frame(&policy, 0, 3, 999, 2, KITH_NS_PER_MS), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(kith__ack_policy_on_frame(&policy, 1, 3, 5000, 0, KITH_NS_PER_MS), 0);
    KITH_CHECK_EQ(kith__ack_policy_on_frame(&policy, 1, 9, 9000, 1, KITH_NS_PER_MS), 0); /* old: ignored */
    KITH_CHECK_EQ(kith__ack_policy_on_frame(&policy, 2, 3, UINT64_MAX / 4, 0, 0), 0);
    KITH_CHECK_EQ(policy.delay_max_ns, KITH_NS_PER_MS << 14);
    KITH_CHECK_EQ(kith__ack_policy_on_frame(&policy, 3, 3, 5000, 0, KITH_NS_PER_MS), 0);
    for (uint64_t number = 0; number < 3; number++)
        take(&received, number * 2, 10); /* gaps do not matter now */
    KITH_CHECK_EQ(kith__received_deadline(&received), 10 + 5 * KITH_NS_PER_MS);
    take(&received, 6, 11);
    KITH_CHECK(kith__received_is_due(&received, 11));
    kith__received_dispose(&received);
}

KITH_TEST(received_reordering_threshold_waits_for_the_gap_to_grow)
{
    struct kith_received received;

    start(&received);
    policy.reordering = 3;
    policy.threshold = 100;
    take(&received, 0, 1);
    kith__received_on_ack_sent(&received);
    take(&received, 2, 2); /* 1 is missing */
    take(&received, 3, 2);
    KITH_CHECK(!kith__received_is_due(&received, 2));
    take(&received, 4, 2);
    KITH_CHECK(kith__received_is_due(&received, 2));
    kith__received_on_ack_sent(&received); /* 1 can be declared lost: reported */
    take(&received, 5, 3);
    KITH_CHECK(!kith__received_is_due(&received, 3));
    kith__received_dispose(&received);
}

KITH_TEST(received_immediate_ack_frame)
{
    struct kith_received received;

    start(&received);
    kith__received_ack_now(&received, 1);
    KITH_CHECK_EQ(kith__received_deadline(&received), KITH_NEVER); /* nothing there */
    take(&received, 0, 2);
    kith__received_ack_now(&received, 3);
    KITH_CHECK(kith__received_is_due(&received, 3));
    kith__received_dispose(&received);
}

KITH_TEST(received_quiet_packets_are_acknowledged_lazily)
{
    struct kith_received received;

    start(&received);
    for (uint64_t number = 0; number < 10; number++)
        KITH_CHECK_EQ(kith__received_on_packet(&received, number, false, 0, &policy, 1), 0);
    KITH_CHECK(!kith__received_is_useful(&received));
    KITH_CHECK_EQ(kith__received_on_packet(&received, 10, false, 0, &policy, 1), 0);
    KITH_CHECK(kith__received_is_useful(&received));
    KITH_CHECK_EQ(kith__received_deadline(&received), KITH_NEVER);
    kith__received_dispose(&received);
}

KITH_TEST(received_trims_what_the_peer_knows)
{
    struct kith_received received;
    struct kith_range ranges[KITH_ACK_RANGES_MAX];
    uint64_t acks;

    start(&received);
    take(&received, 0, 1);
    take(&received, 2, 1);
    take(&received, 4, 1);
    KITH_CHECK_EQ(kith__received_ranges(&received, ranges), 3);
    KITH_CHECK(ranges[0].begin == 4 && ranges[0].end == 5 && ranges[2].begin == 0);
    acks = kith__received_on_ack_sent(&received);
    take(&received, 6, 2);
    kith__received_on_ack_acked(&received, acks);
    KITH_CHECK_EQ(kith__received_ranges(&received, ranges), 1);
    KITH_CHECK_EQ(ranges[0].begin, 6);
    KITH_CHECK(kith__received_is_duplicate(&received, 2)); /* still known */
    take(&received, 3, 3);                                 /* late: is acknowledged again */
    KITH_CHECK_EQ(kith__received_ranges(&received, ranges), 2);
    KITH_CHECK(ranges[1].begin == 2 && ranges[1].end == 5);
    kith__received_on_ack_acked(&received, acks); /* that ACK did not have it */
    KITH_CHECK_EQ(kith__received_ranges(&received, ranges), 2);
    kith__received_dispose(&received);
}

KITH_TEST(received_forgets_below_the_window)
{
    struct kith_received received;

    start(&received);
    take(&received, 0, 1);
    take(&received, 500, 1);
    kith__received_on_ack_acked(&received, kith__received_on_ack_sent(&received));
    KITH_CHECK_EQ(received.seen.count, 1);
    KITH_CHECK(kith__received_is_duplicate(&received, 0));
    KITH_CHECK(!kith__received_is_duplicate(&received, 1));
    kith__received_dispose(&received);
}

KITH_TEST(received_range_count_is_bounded)
{
    struct kith_received received;
    struct kith_range ranges[KITH_ACK_RANGES_MAX];

    start(&received);
    for (uint64_t number = 0; number < 1000; number += 2)
        take(&received, number, 1);
    KITH_CHECK_EQ(received.seen.count, KITH_ACK_RANGES_MAX);
    KITH_CHECK_EQ(kith__received_ranges(&received, ranges), KITH_ACK_RANGES_MAX);
    KITH_CHECK(kith__received_is_duplicate(&received, 1)); /* too old to know */
    KITH_CHECK(!kith__received_is_duplicate(&received, 997));
    kith__received_dispose(&received);
}

KITH_TEST(received_survives_a_failed_allocation)
{
    for (uint64_t n = 1; n < 4; n++) {
        struct kith_test_mem mem;
        struct kith_received received;
        uint64_t failed = 0;

        kith__test_mem_init(&mem, n);
        kith__ack_policy_init(&policy, DELAY_NS);
        kith__received_init(&received, &mem.mem);
        for (uint64_t number = 0; number < 40; number += 2)
            if (kith__received_on_packet(&received, number, true, 0, &policy, 1) != 0) {
                KITH_CHECK(!kith__received_is_duplicate(&received, number));
                failed++;
            }
        KITH_CHECK(failed <= 1);
        kith__received_dispose(&received);
        KITH_CHECK_EQ(mem.live, 0);
    }
}

/** Against a plain array of flags: never a number that did not arrive, never a duplicate taken as new. */
KITH_TEST(received_agrees_with_a_naive_model)
{
    enum { COUNT = 3000 };
    static bool seen[COUNT];
    uint64_t random = kith__test_seed(7), base = 0;
    struct kith_received received;
    struct kith_range ranges[KITH_ACK_RANGES_MAX];

    memset(seen, 0, sizeof seen);
    start(&received);
    for (uint64_t step = 0; step < 20000; step++) {
        uint64_t ahead = kith__test_random(&random) % 40, number = KITH_MIN(base + ahead, (uint64_t)COUNT - 1);
        size_t count;

        base += kith__test_random(&random) % 8 == 0 && base + 40 < COUNT;
        if (seen[number])
            KITH_CHECK(kith__received_is_duplicate(&received, number));
        if (kith__received_is_duplicate(&received, number)) {
            KITH_CHECK(seen[number] || number < received.floor);
        } else {
            take(&received, number, step);
            seen[number] = true;
            KITH_CHECK(kith__received_is_duplicate(&received, number));
        }
        if (kith__test_random(&random) % 3 != 0)
            continue;
        count = kith__received_ranges(&received, ranges);
        for (size_t i = 0; i < count; i++) {
            KITH_CHECK(ranges[i].begin < ranges[i].end && (i == 0 || ranges[i].end < ranges[i - 1].begin));
            for (uint64_t n = ranges[i].begin; n < ranges[i].end; n++)
                KITH_CHECK(seen[n]);
        }
        if (received.seen.count != 0 && kith__test_random(&random) % 4 == 0)
            kith__received_on_ack_acked(&received, kith__received_on_ack_sent(&received));
    }
    kith__received_dispose(&received);
}
