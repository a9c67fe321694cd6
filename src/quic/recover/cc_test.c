#include "quic/recover/cc.h"

#include "base/assert.h"
#include "base/test.h"
#include <kith/quic.h>

#define MS(n) ((uint64_t)(n)*KITH_NS_PER_MS)
enum { MTU = 1200 };

static struct kith_rtt rtt;

static void start(struct kith_cc *cc, uint8_t kind)
{
    kith__rtt_init(&rtt, MS(100));
    kith__cc_init(cc, kind, MTU);
}

/** Acknowledges one full window, sent at `now`. */
static void round_trip(struct kith_cc *cc, uint64_t now_ns)
{
    for (uint64_t size = cc->window; size >= MTU; size -= MTU)
        kith__cc_on_acked(cc, MTU, now_ns, false, &rtt, now_ns);
}

static const uint8_t kinds[] = { KITH_QUIC_CUBIC, KITH_QUIC_NEWRENO };

KITH_TEST(cc_slow_start_doubles_the_window)
{
    for (size_t i = 0; i < KITH_COUNT(kinds); i++) {
        struct kith_cc cc;

        start(&cc, kinds[i]);
        KITH_CHECK_EQ(cc.window, 12000);
        KITH_CHECK(kith__cc_may_send(&cc, 10800, 1200) && !kith__cc_may_send(&cc, 10801, 1200));
        round_trip(&cc, MS(100));
        KITH_CHECK_EQ(cc.window, 24000);
        kith__cc_on_acked(&cc, MTU, MS(100), true, &rtt, MS(200)); /* application limited */
        KITH_CHECK_EQ(cc.window, 24000);
        for (int n = 0; n < 30; n++)
            round_trip(&cc, MS(200 + n));
        KITH_CHECK_EQ(cc.window, KITH_CC_WINDOW_MAX);
    }
}

KITH_TEST(cc_one_event_for_all_losses_of_a_round_trip)
{
    for (size_t i = 0; i < KITH_COUNT(kinds); i++) {
        struct kith_cc cc;
        uint64_t reduced = kinds[i] == KITH_QUIC_CUBIC ? 8400 : 6000;

        start(&cc, kinds[i]);
        kith__cc_on_lost(&cc, MS(10), MS(100));
        KITH_CHECK_EQ(cc.window, reduced);
        kith__cc_on_lost(&cc, MS(99), MS(101));
        kith__cc_on_ce(&cc, MS(100), MS(102));
        KITH_CHECK_EQ(cc.window, reduced);
        kith__cc_on_acked(&cc, MTU, MS(100), false, &rtt, MS(103)); /* in recovery: no growth */
        KITH_CHECK_EQ(cc.window, reduced);
        kith__cc_on_ce(&cc, MS(101), MS(200));
        KITH_CHECK(cc.window < reduced && cc.events == 2);
        for (uint64_t n = 0; n < 20; n++)
            kith__cc_on_lost(&cc, MS(1000 * (n + 1)), MS(1000 * (n + 1)));
        KITH_CHECK_EQ(cc.window, 2 * MTU);
    }
}

KITH_TEST(cc_spurious_losses_are_taken_back)
{
    for (size_t i = 0; i < KITH_COUNT(kinds); i++) {
        struct kith_cc cc;

        start(&cc, kinds[i]);
        round_trip(&cc, MS(5));
        kith__cc_on_lost(&cc, MS(10), MS(100));
        kith__cc_on_lost(&cc, MS(11), MS(100));
        kith__cc_on_spurious(&cc, MS(10));
        KITH_CHECK(cc.window < 24000); /* one is still lost */
        kith__cc_on_spurious(&cc, MS(11));
        KITH_CHECK(cc.window == 24000 && cc.threshold == UINT64_MAX);
        kith__cc_on_lost(&cc, MS(20), MS(200));
        kith__cc_on_ce(&cc, MS(21), MS(201));
        kith__cc_on_spurious(&cc, MS(20)); /* a mark confirmed the event */
        KITH_CHECK(cc.window < 24000);
    }
}

KITH_TEST(cc_persistent_congestion_starts_over)
{
    for (size_t i = 0; i < KITH_COUNT(kinds); i++) {
        struct kith_cc cc;

        start(&cc, kinds[i]);
        kith__cc_on_lost(&cc, MS(10), MS(100));
        kith__cc_on_persistent(&cc);
        KITH_CHECK_EQ(cc.window, 2 * MTU);
        KITH_CHECK(kith__cc_in_slow_start(&cc));
        kith__cc_on_acked(&cc, MTU, MS(50), false, &rtt, MS(200));
        KITH_CHECK_EQ(cc.window, 3 * MTU);
    }
}

KITH_TEST(cc_newreno_adds_one_packet_a_round_trip)
{
    struct kith_cc cc;

    start(&cc, KITH_QUIC_NEWRENO);
    cc.window = cc.threshold = 120000;
    for (uint64_t n = 1; n <= 10; n++) {
        round_trip(&cc, MS(100 * n));
        KITH_CHECK(cc.window >= 120000 + (n - 1) * MTU && cc.window <= 120000 + n * MTU);
    }
}

/**
 * RFC 9438: from 0.7 W the old W is reached after K = cbrt(0.3 W / 0.4), the plateau is there, and it is passed
 * after.
 */
KITH_TEST(cc_cubic_follows_its_curve)
{
    struct kith_cc cc;
    uint64_t now_ns = MS(1000), window_max = 2000 * MTU, at_k = 0, after = 0;

    start(&cc, KITH_QUIC_CUBIC);
    cc.window = window_max;
    kith__cc_on_lost(&cc, now_ns, now_ns);
    KITH_CHECK_EQ(cc.window, window_max / 10 * 7);
    for (int n = 0; n < 200; n++) { /* K = cbrt(600 / 0.4) = 11.447 s */
        now_ns += MS(100);
        round_trip(&cc, now_ns);
        if (n == 113)
            at_k = cc.window;
        after = cc.window;
    }
    KITH_CHECK(cc.cubic.k_ns / KITH_NS_PER_MS == 11447);
    KITH_CHECK(at_k > window_max / 100 * 98 && at_k < window_max / 100 * 102);
    KITH_CHECK(after > window_max / 100 * 105);
}

KITH_TEST(cc_cubic_is_not_slower_than_newreno)
{
    struct kith_cc cc;
    uint64_t now_ns = MS(1000), before;

    start(&cc, KITH_QUIC_CUBIC);
    kith__rtt_init(&rtt, MS(1));
    cc.window = 100 * MTU;
    kith__cc_on_lost(&cc, now_ns, now_ns);
    before = cc.window;
    for (int n = 0; n < 100; n++) {
        now_ns += MS(1);
        round_trip(&cc, now_ns);
    }
    KITH_CHECK(cc.window > before + 45 * MTU); /* 0.53 packets a round trip, 1 above the old maximum */
    KITH_CHECK(cc.window < before + 100 * MTU);
}

KITH_TEST(cc_cubic_stands_still_while_the_application_is_idle)
{
    struct kith_cc cc;
    uint64_t now_ns = MS(1000), before;

    start(&cc, KITH_QUIC_CUBIC);
    cc.window = 2000 * MTU;
    kith__cc_on_lost(&cc, now_ns, now_ns);
    now_ns += MS(100);
    round_trip(&cc, now_ns);
    before = cc.window;
    for (int n = 0; n < 600; n++) {
        now_ns += MS(100);
        kith__cc_on_acked(&cc, MTU, now_ns, true, &rtt, now_ns);
    }
    now_ns += MS(100);
    round_trip(&cc, now_ns);
    KITH_CHECK(cc.window < before + before / 20); /* a minute passed, but not for the curve */
}

KITH_TEST(cc_cubic_fast_convergence_leaves_room)
{
    struct kith_cc cc;

    start(&cc, KITH_QUIC_CUBIC);
    cc.window = 1000000;
    kith__cc_on_lost(&cc, MS(1), MS(100));
    KITH_CHECK_EQ(cc.cubic.window_max, 1000000);
    kith__cc_on_lost(&cc, MS(200), MS(300)); /* at 700,000: below the last maximum */
    KITH_CHECK_EQ(cc.cubic.window_max, 700000 / 20 * 17);
}
