#include "quic/recover/rtt.h"

#include "base/test.h"

#define MS(n) ((uint64_t)(n)*KITH_NS_PER_MS)

KITH_TEST(rtt_starts_with_the_initial_value)
{
    struct kith_rtt rtt;

    kith__rtt_init(&rtt, MS(333));
    KITH_CHECK(!kith__rtt_has_sample(&rtt));
    KITH_CHECK_EQ(kith__rtt_pto_ns(&rtt, 0), MS(333) + 4 * (MS(333) / 2));
}

KITH_TEST(rtt_follows_rfc_9002_section_5)
{
    static const struct {
        uint64_t sample_ms, delay_ms, max_ms, smoothed_us, var_us, min_ms;
    } cases[] = {
        { 100, 20, 25, 100000, 50000, 100 }, /* first sample: no delay is subtracted */
        { 120, 20, 25, 100000, 37500, 100 }, /* adjusted 100 */
        { 110, 20, 25, 101250, 30625, 100 }, /* 110 - 20 < min: not subtracted */
        { 200, 90, 25, 110468, 41406, 100 }, /* delay cut to 25: adjusted 175 */
        { 80, 0, 25, 106660, 38671, 80 },
    };
    struct kith_rtt rtt;

    kith__rtt_init(&rtt, MS(333));
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        kith__rtt_on_sample(&rtt, MS(cases[i].sample_ms), MS(cases[i].delay_ms), MS(cases[i].max_ms), MS(i));
        KITH_CHECK_EQ(rtt.smoothed_ns / 1000, cases[i].smoothed_us);
        KITH_CHECK_EQ(rtt.var_ns / 1000, cases[i].var_us);
        KITH_CHECK_EQ(rtt.min_ns, MS(cases[i].min_ms));
    }
    KITH_CHECK_EQ(rtt.first_sample_ns, 0);
}

KITH_TEST(rtt_pto_has_a_floor_of_one_millisecond_variation)
{
    struct kith_rtt rtt;

    kith__rtt_init(&rtt, MS(1));
    for (int i = 0; i < 200; i++)
        kith__rtt_on_sample(&rtt, 50000, 0, MS(25), 1);
    KITH_CHECK_EQ(kith__rtt_pto_ns(&rtt, MS(25)), 50000 + MS(1) + MS(25));
    kith__rtt_on_sample(&rtt, 0, UINT64_MAX, UINT64_MAX, 1); /* absurd values do not underflow */
    KITH_CHECK_EQ(rtt.min_ns, 1);
}
