#include "quic/stream/credit.h"

#include "base/test.h"

KITH_TEST(credit_is_due_when_it_can_grow_by_an_eighth)
{
    struct kith_credit credit;

    kith__credit_init(&credit, 100, 0);
    KITH_CHECK(!kith__credit_is_due(&credit));
    kith__credit_give_back(&credit, NULL, 11, 0, 0);
    KITH_CHECK(!kith__credit_is_due(&credit));
    kith__credit_give_back(&credit, NULL, 1, 0, 0);
    KITH_CHECK(kith__credit_is_due(&credit));
    KITH_CHECK_EQ(kith__credit_announce(&credit), 112);
    KITH_CHECK(!kith__credit_is_due(&credit));
}

KITH_TEST(credit_of_the_smallest_windows_is_due_with_each_unit)
{
    struct kith_credit credit;

    kith__credit_init(&credit, 1, 0);
    kith__credit_give_back(&credit, NULL, 1, 0, 0);
    KITH_CHECK(kith__credit_is_due(&credit));
    kith__credit_init(&credit, 0, 0);
    KITH_CHECK(!kith__credit_is_due(&credit));
}

KITH_TEST(credit_of_the_largest_window_is_never_due)
{
    struct kith_credit credit;

    kith__credit_init(&credit, UINT64_MAX, 0);
    KITH_CHECK_EQ(credit.announced, KITH_VARINT_MAX);
    kith__credit_give_back(&credit, NULL, UINT64_C(1) << 61, 0, 0);
    KITH_CHECK(!kith__credit_is_due(&credit));
    KITH_CHECK_EQ(kith__credit_target(&credit), KITH_VARINT_MAX);
}

KITH_TEST(credit_only_the_newest_lost_limit_is_due_again)
{
    struct kith_credit credit;

    kith__credit_init(&credit, 100, 0);
    kith__credit_give_back(&credit, NULL, 50, 0, 0);
    kith__credit_announce(&credit);
    kith__credit_give_back(&credit, NULL, 50, 0, 0);
    kith__credit_announce(&credit);
    kith__credit_on_lost(&credit, 150);
    KITH_CHECK(!kith__credit_is_due(&credit));
    kith__credit_on_lost(&credit, 200);
    KITH_CHECK(kith__credit_is_due(&credit));
    KITH_CHECK_EQ(kith__credit_announce(&credit), 200);
    KITH_CHECK(!kith__credit_is_due(&credit));
}

KITH_TEST(credit_window_doubles_for_a_fast_reader_only)
{
    static const struct {
        uint64_t window_time_ns, rtt_ns, window_max, window;
    } cases[] = {
        { 150, 100, 1000, 200 }, { 200, 100, 1000, 100 }, { 150, 100, 130, 130 },
        { 150, 100, 0, 100 },    { 150, 0, 1000, 100 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_credit credit;
        uint64_t now = 1000;

        kith__credit_init(&credit, 100, cases[i].window_max);
        kith__credit_give_back(&credit, NULL, 30, now, cases[i].rtt_ns);
        now += cases[i].window_time_ns;
        kith__credit_give_back(&credit, NULL, 100, now, cases[i].rtt_ns);
        KITH_CHECK_EQ(credit.window, cases[i].window);
    }
}

KITH_TEST(credit_windows_grow_together_by_what_the_pool_has)
{
    struct kith_credit_pool pool = { 250 };
    struct kith_credit credits[3];
    uint64_t now = 1000;

    for (size_t i = 0; i < KITH_COUNT(credits); i++)
        kith__credit_init(&credits[i], 100, 10000);
    for (int round = 0; round < 20; round++, now += 50)
        for (size_t i = 0; i < KITH_COUNT(credits); i++)
            kith__credit_give_back(&credits[i], &pool, 5000, now, 100);
    KITH_CHECK_EQ(credits[0].window, 200);
    KITH_CHECK_EQ(credits[1].window, 200);
    KITH_CHECK_EQ(credits[2].window, 150); /* what was left */
    KITH_CHECK_EQ(pool.left, 0);
    kith__credit_release(&credits[0], &pool);
    kith__credit_release(&credits[0], &pool);
    KITH_CHECK_EQ(pool.left, 100);
    for (int round = 0; round < 20; round++, now += 50)
        kith__credit_give_back(&credits[1], &pool, 5000, now, 100);
    KITH_CHECK_EQ(credits[1].window, 300);
    KITH_CHECK_EQ(credits[1].grown, 200);
}

KITH_TEST(limit_only_grows)
{
    struct kith_limit limit;

    kith__limit_init(&limit, 10);
    KITH_CHECK(!kith__limit_raise(&limit, 10));
    KITH_CHECK(!kith__limit_raise(&limit, 5));
    kith__limit_take(&limit, 10);
    KITH_CHECK_EQ(kith__limit_left(&limit), 0);
    KITH_CHECK(kith__limit_raise(&limit, 12));
    KITH_CHECK_EQ(kith__limit_left(&limit), 2);
}

KITH_TEST(limit_tells_once_for_each_value_that_it_blocks)
{
    struct kith_limit limit;

    kith__limit_init(&limit, 10);
    kith__limit_take(&limit, 10);
    kith__limit_on_blocked(&limit);
    KITH_CHECK(limit.blocked_due);
    KITH_CHECK_EQ(kith__limit_tell_blocked(&limit), 10);
    kith__limit_on_blocked(&limit);
    KITH_CHECK(!limit.blocked_due);
    kith__limit_on_blocked_lost(&limit, 9);
    KITH_CHECK(!limit.blocked_due);
    kith__limit_on_blocked_lost(&limit, 10);
    KITH_CHECK(limit.blocked_due);
    kith__limit_raise(&limit, 20);
    KITH_CHECK(!limit.blocked_due);
    kith__limit_on_blocked_lost(&limit, 20); /* not used up */
    KITH_CHECK(!limit.blocked_due);
}
