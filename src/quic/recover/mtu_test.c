#include "quic/recover/mtu.h"

#include "base/assert.h"
#include "base/test.h"

/** Searches on a path that carries up to `limit`; returns the probes sent. */
static size_t search(struct kith_mtu *mtu, uint16_t limit, uint16_t *sizes, uint64_t now_ns)
{
    uint16_t size;
    size_t count = 0;

    while ((size = kith__mtu_probe_size(mtu, now_ns)) != 0) {
        KITH_CHECK(count < 64);
        sizes[count] = size;
        kith__mtu_on_probe_sent(mtu, 1000 + count);
        KITH_CHECK_EQ(kith__mtu_probe_size(mtu, now_ns), 0); /* one at a time */
        if (size <= limit)
            kith__mtu_on_acked(mtu, 1000 + count, size, true, now_ns);
        else
            kith__mtu_on_lost(mtu, 1000 + count, size, true, now_ns);
        count++;
    }
    return count;
}

KITH_TEST(mtu_clean_path_takes_four_probes)
{
    static const uint16_t expected[] = { 1326, 1389, 1420, 1452 };
    uint16_t sizes[64];
    struct kith_mtu mtu;

    kith__mtu_init(&mtu, true, 1200, 1452);
    KITH_CHECK_EQ(search(&mtu, 1500, sizes, 1), 4);
    KITH_CHECK_BYTES(sizes, expected, sizeof expected);
    KITH_CHECK_EQ(mtu.size, 1452);
    KITH_CHECK_EQ(kith__mtu_deadline(&mtu), KITH_NEVER); /* nothing more to find */
}

KITH_TEST(mtu_search_that_was_put_off_waits_for_its_time_or_for_full_datagrams)
{
    struct kith_mtu mtu;

    kith__mtu_init(&mtu, true, 1200, 1452);
    kith__mtu_put_off(&mtu, 1000);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, 999), 0);
    KITH_CHECK_EQ(kith__mtu_deadline(&mtu), 1000);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, 1000), 1326);
    kith__mtu_on_probe_sent(&mtu, 1);
    KITH_CHECK_EQ(kith__mtu_deadline(&mtu), KITH_NEVER); /* the answer is what counts now */
    kith__mtu_on_acked(&mtu, 1, 1326, true, 1001);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, 1001), 1389); /* once begun it goes on */

    kith__mtu_init(&mtu, true, 1200, 1452);
    kith__mtu_put_off(&mtu, 1000);
    kith__mtu_on_full(&mtu);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, 1), 1326);
    KITH_CHECK_EQ(kith__mtu_deadline(&mtu), KITH_NEVER);
}

KITH_TEST(mtu_finds_any_limit_within_the_step)
{
    for (uint16_t limit = 1200; limit <= 1460; limit++) {
        uint16_t sizes[64];
        struct kith_mtu mtu;

        kith__mtu_init(&mtu, true, 1200, 1452);
        search(&mtu, limit, sizes, 1);
        KITH_CHECK(mtu.size <= limit && mtu.size >= 1200);
        KITH_CHECK(mtu.size + 2 * KITH_MTU_STEP_MIN > KITH_MIN(limit, 1452));
    }
}

KITH_TEST(mtu_tries_a_size_three_times_and_searches_again_after_600_s)
{
    uint16_t sizes[64];
    struct kith_mtu mtu;
    size_t count;

    kith__mtu_init(&mtu, true, 1200, 1452);
    count = search(&mtu, 1200, sizes, 1);
    KITH_CHECK(count >= 3 && count % 3 == 0);
    KITH_CHECK(sizes[0] == 1326 && sizes[2] == 1326 && sizes[3] == 1262);
    KITH_CHECK_EQ(mtu.probes_lost, count);
    KITH_CHECK_EQ(kith__mtu_deadline(&mtu), 1 + KITH_MTU_SEARCH_AGAIN_NS);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, KITH_MTU_SEARCH_AGAIN_NS), 0);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, KITH_MTU_SEARCH_AGAIN_NS + 1), 1326);
}

KITH_TEST(mtu_keeps_below_the_peers_limit)
{
    uint16_t sizes[64];
    struct kith_mtu mtu;
    size_t count;

    kith__mtu_init(&mtu, true, 1200, 1452);
    kith__mtu_set_peer_max(&mtu, 1300);
    count = search(&mtu, 1500, sizes, 1);
    for (size_t i = 0; i < count; i++)
        KITH_CHECK(sizes[i] <= 1300);
    KITH_CHECK_EQ(mtu.size, 1300);
    kith__mtu_set_peer_max(&mtu, 1200);
    KITH_CHECK_EQ(mtu.size, 1200);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, 2), 0);
    kith__mtu_set_peer_max(&mtu, 65527); /* never up again */
    KITH_CHECK_EQ(mtu.max, 1200);
}

KITH_TEST(mtu_switched_off_does_not_probe)
{
    struct kith_mtu mtu;

    kith__mtu_init(&mtu, false, 1200, 1452);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, UINT64_MAX - 1), 0);
    kith__mtu_init(&mtu, true, 1200, 1200);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, UINT64_MAX - 1), 0);
}

static void found(struct kith_mtu *mtu)
{
    uint16_t sizes[64];

    kith__mtu_init(mtu, true, 1200, 1452);
    search(mtu, 1500, sizes, 1);
}

KITH_TEST(mtu_black_hole_falls_back_to_the_base)
{
    struct kith_mtu mtu;

    found(&mtu);
    for (uint64_t burst = 0; burst < 3; burst++) {
        KITH_CHECK(!kith__mtu_on_lost(&mtu, burst * 10, 1452, false, 5));
        KITH_CHECK(!kith__mtu_on_lost(&mtu, burst * 10 + 1, 1452, false, 5));
        kith__mtu_on_acked(&mtu, burst * 10 + 2, 60, false, 5); /* small ones arrive */
    }
    KITH_CHECK(kith__mtu_on_lost(&mtu, 50, 1452, false, 5));
    KITH_CHECK_EQ(mtu.size, 1200);
    KITH_CHECK_EQ(mtu.black_holes, 1);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, KITH_MTU_COOL_DOWN_NS), 0);
    KITH_CHECK_EQ(kith__mtu_probe_size(&mtu, KITH_MTU_COOL_DOWN_NS + 5), 1326);
}

KITH_TEST(mtu_congestion_is_no_black_hole)
{
    struct kith_mtu mtu;

    found(&mtu);
    for (uint64_t burst = 0; burst < 20; burst++) { /* a full-size packet arrives between the bursts */
        KITH_CHECK(!kith__mtu_on_lost(&mtu, burst * 10, 1452, false, 5));
        kith__mtu_on_acked(&mtu, burst * 10 + 2, 1452, false, 5);
    }
    for (uint64_t burst = 0; burst < 20; burst++) { /* small packets are lost as well */
        KITH_CHECK(!kith__mtu_on_lost(&mtu, 1000 + burst * 10, 1452, false, 5));
        KITH_CHECK(!kith__mtu_on_lost(&mtu, 1001 + burst * 10, 100, false, 5));
        kith__mtu_on_acked(&mtu, 1002 + burst * 10, 60, false, 5);
    }
    KITH_CHECK_EQ(mtu.size, 1452);
}
