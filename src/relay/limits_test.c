#include "base/test.h"
#include "relay/limits.h"

KITH_TEST(relay_bucket_starts_full_and_fills_at_its_rate)
{
    struct kith_relay_bucket bucket;

    kith__relay_bucket_init(&bucket, 1000, 0, 5);
    KITH_CHECK_EQ(bucket.burst, 100);
    KITH_CHECK(kith__relay_bucket_take(&bucket, 100, 5));
    KITH_CHECK(!kith__relay_bucket_take(&bucket, 1, 5));
    KITH_CHECK_EQ(kith__relay_bucket_ready_ns(&bucket, 50, 5), 5 + 50 * KITH_NS_PER_MS);
    KITH_CHECK(!kith__relay_bucket_take(&bucket, 50, 4 + 50 * KITH_NS_PER_MS));
    KITH_CHECK(kith__relay_bucket_take(&bucket, 50, 5 + 50 * KITH_NS_PER_MS));
    KITH_CHECK(kith__relay_bucket_take(&bucket, 100, KITH_NS_PER_S * 1000)); /* never more than the burst */
    KITH_CHECK(!kith__relay_bucket_take(&bucket, 1, KITH_NS_PER_S * 1000));
    KITH_CHECK_EQ(kith__relay_bucket_ready_ns(&bucket, 101, 0), KITH_NEVER);
}

KITH_TEST(relay_bucket_of_less_than_ten_a_second_lets_through_what_it_says)
{
    struct kith_relay_bucket bucket;
    uint64_t taken = 0;

    kith__relay_bucket_init(&bucket, 3, 0, 0); /* the reference's refill would be 0 for it */
    for (uint64_t now = 0; now <= 100 * KITH_NS_PER_S; now += 7 * KITH_NS_PER_MS)
        taken += kith__relay_bucket_take(&bucket, 1, now);
    KITH_CHECK(taken >= 296 && taken <= 301); /* the one it began with, and 3 in each of 100 s */
}

KITH_TEST(relay_bucket_lets_what_is_larger_than_its_burst_through_at_its_rate)
{
    struct kith_relay_bucket bucket;
    uint64_t taken = 0, now;

    kith__relay_bucket_init(&bucket, 10000, 0, 0); /* its burst is 1000: smaller than a datagram of QUIC */
    for (now = 0; now < 100 * KITH_NS_PER_S; now += KITH_NS_PER_MS)
        taken += kith__relay_bucket_take(&bucket, 1250, now) ? 1250 : 0;
    KITH_CHECK(taken >= 990000 && taken <= 1001250);
    now += KITH_NS_PER_S;
    KITH_CHECK(kith__relay_bucket_take(&bucket, 11000, now));
    KITH_CHECK(!kith__relay_bucket_take(&bucket, 1, now + KITH_NS_PER_S)); /* 10000 of the debt are paid, no more */
    KITH_CHECK_EQ(kith__relay_bucket_ready_ns(&bucket, 500, now), now + 1050 * KITH_NS_PER_MS);
    KITH_CHECK(kith__relay_bucket_take(&bucket, 500, now + 1050 * KITH_NS_PER_MS));
    KITH_CHECK(!kith__relay_bucket_take(&bucket, 1000 + KITH_RELAY_BUCKET_DEBT_MAX + 1, now + 9000 * KITH_NS_PER_S));
    KITH_CHECK(kith__relay_bucket_take(&bucket, 1000 + KITH_RELAY_BUCKET_DEBT_MAX, now + 9000 * KITH_NS_PER_S));
}

KITH_TEST(relay_bucket_without_a_rate_has_no_limit)
{
    struct kith_relay_bucket bucket;

    kith__relay_bucket_init(&bucket, 0, 0, 0);
    KITH_CHECK(kith__relay_bucket_take(&bucket, UINT64_MAX, 0));
    KITH_CHECK_EQ(kith__relay_bucket_ready_ns(&bucket, UINT64_MAX, 7), 7);
}

KITH_TEST(relay_bucket_survives_clocks_that_jump)
{
    struct kith_relay_bucket bucket;

    kith__relay_bucket_init(&bucket, UINT64_C(1) << 32, UINT64_C(1) << 32, 1000);
    KITH_CHECK(kith__relay_bucket_take(&bucket, UINT64_C(1) << 32, 1000));
    KITH_CHECK(!kith__relay_bucket_take(&bucket, 10, 1)); /* backwards: stands still */
    KITH_CHECK(kith__relay_bucket_take(&bucket, UINT64_C(1) << 32, UINT64_MAX - 1));
    KITH_CHECK(!kith__relay_bucket_take(&bucket, 10, 2000));
}
