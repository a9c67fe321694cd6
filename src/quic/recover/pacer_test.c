#include "quic/recover/pacer.h"

#include "base/assert.h"
#include "base/test.h"

/** Sends all it may for so long, in packets of 1200 bytes. Returns bytes. */
static uint64_t run(struct kith_pacer *pacer, uint64_t from_ns, uint64_t for_ns, uint64_t *wakeups)
{
    uint64_t now_ns = from_ns, sent = 0;

    *wakeups = 0;
    while (now_ns < from_ns + for_ns) {
        while (kith__pacer_allowed(pacer, now_ns) >= 1200) {
            kith__pacer_on_sent(pacer, 1200);
            sent += 1200;
        }
        KITH_CHECK(kith__pacer_deadline(pacer, 1200) > now_ns);
        now_ns = kith__pacer_deadline(pacer, 1200);
        KITH_CHECK(kith__pacer_allowed(pacer, now_ns) >= 1200); /* the deadline is not too early */
        ++*wakeups;
    }
    return sent;
}

KITH_TEST(pacer_sends_five_quarters_of_the_window_a_round_trip)
{
    struct kith_pacer pacer;
    uint64_t wakeups, sent;

    kith__pacer_init(&pacer, true, 0);
    kith__pacer_update(&pacer, 1000000, 100 * KITH_NS_PER_MS, 1200, 0); /* 12.5 MB/s */
    KITH_CHECK_EQ(pacer.rate, 12500000);
    KITH_CHECK_EQ(pacer.capacity, 25000); /* 2 ms */
    sent = run(&pacer, 0, KITH_NS_PER_S, &wakeups);
    KITH_CHECK(sent > 12400000 && sent < 12600000);
    KITH_CHECK(wakeups < 1100); /* about half a bucket each */
}

KITH_TEST(pacer_burst_is_10_to_256_packets)
{
    static const struct {
        uint64_t window, rtt_us, capacity;
    } cases[] = {
        { 12000, 333000, 12000 },     /* slow: 10 packets */
        { 10000000, 50, 256 * 1200 }, /* fast: 256 packets */
        { 1000000, 50000, 50000 },    /* 25 MB/s for 2 ms */
        { UINT64_MAX, 1, 256 * 1200 },
    };
    struct kith_pacer pacer;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        kith__pacer_init(&pacer, true, 0);
        kith__pacer_update(&pacer, cases[i].window, cases[i].rtt_us * 1000, 1200, 0);
        KITH_CHECK_EQ(pacer.capacity, cases[i].capacity);
    }
}

KITH_TEST(pacer_does_not_hold_up_a_fast_local_path)
{
    struct kith_pacer pacer;
    uint64_t wakeups, sent;

    kith__pacer_init(&pacer, true, 0);
    kith__pacer_update(&pacer, 200000, 50000, 1452, 0); /* 200 kB in 50 us: 4 GB/s, paced at 5 */
    sent = run(&pacer, 0, 10 * KITH_NS_PER_MS, &wakeups);
    KITH_CHECK(sent * 8 * 100 > 20ull * 1000000000); /* more than 20 Gbit/s */
}

KITH_TEST(pacer_gives_bursts_to_one_who_asks_all_the_time)
{
    struct kith_pacer pacer;
    uint64_t sent = 0, bursts = 0;

    kith__pacer_init(&pacer, true, 0);
    kith__pacer_update(&pacer, 12000000, 60 * KITH_NS_PER_MS, 1200, 0); /* 250 MB/s: a packet in 5 us */
    for (uint64_t now_ns = 0; now_ns < 100 * KITH_NS_PER_MS; now_ns += 10000) {
        bool any = false;

        for (; kith__pacer_allowed(&pacer, now_ns) >= 1200; any = true) {
            kith__pacer_on_sent(&pacer, 1200);
            sent += 1200;
        }
        bursts += any;
    }
    KITH_CHECK(sent > 24900000 && sent < 25400000); /* the rate is kept */
    KITH_CHECK(sent / bursts > 120000);             /* half a millisecond and more each, not two packets */
}

KITH_TEST(pacer_that_is_slow_gives_packet_by_packet)
{
    struct kith_pacer pacer;

    kith__pacer_init(&pacer, true, 0);
    kith__pacer_update(&pacer, 12000, 300 * KITH_NS_PER_MS, 1200, 0); /* 50 kB/s: a packet in 24 ms */
    while (kith__pacer_allowed(&pacer, 0) >= 1200)
        kith__pacer_on_sent(&pacer, 1200);
    KITH_CHECK_EQ(kith__pacer_allowed(&pacer, 23 * KITH_NS_PER_MS), 0);
    KITH_CHECK(kith__pacer_allowed(&pacer, 25 * KITH_NS_PER_MS) >=
               1200); /* an answer of one packet waits for no other */
}

KITH_TEST(pacer_never_loses_time_to_rounding)
{
    struct kith_pacer pacer;
    uint64_t sent = 0;

    kith__pacer_init(&pacer, true, 0);
    kith__pacer_update(&pacer, 12000, 300 * KITH_NS_PER_MS, 1200, 0); /* 50 kB/s: a byte in 20 us */
    for (uint64_t now_ns = 0; now_ns < 2 * KITH_NS_PER_S; now_ns += 1000)
        if (kith__pacer_allowed(&pacer, now_ns) >= 1200) {
            kith__pacer_on_sent(&pacer, 1200);
            sent += 1200;
        }
    KITH_CHECK(sent >= 110000 && sent <= 113000); /* 100 kB and the first bucket */
}

KITH_TEST(pacer_off_never_waits)
{
    struct kith_pacer pacer;

    kith__pacer_init(&pacer, false, 0);
    kith__pacer_update(&pacer, 12000, 300 * KITH_NS_PER_MS, 1200, 0);
    KITH_CHECK_EQ(kith__pacer_allowed(&pacer, 0), SIZE_MAX);
    kith__pacer_on_sent(&pacer, 100000);
    KITH_CHECK_EQ(kith__pacer_allowed(&pacer, 0), SIZE_MAX);
}
