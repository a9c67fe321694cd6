#include "quic/path/schedule.h"

#include "base/test.h"

/** A usable, available, free path. */
static struct kith_path_view view(uint32_t id)
{
    return (struct kith_path_view) { .id = id, .is_usable = true, .rtt_ns = 10 * KITH_NS_PER_MS, .window = 12000 };
}

KITH_TEST(data_goes_to_the_lowest_available_path)
{
    struct kith_path_view views[] = { view(2), view(1), view(0) };

    views[2].is_backup = true;
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 3), 1);
    views[1].is_usable = false;
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 3), 0);
    views[0].is_usable = false;
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 3), 2);
    views[2].is_usable = false;
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 3), 3);
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 0), 0);
}

KITH_TEST(the_next_path_takes_over_only_while_the_first_is_blocked)
{
    struct kith_path_view views[] = { view(0), view(1), view(2) };

    views[2].is_backup = true;
    views[0].is_blocked = true;
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 3), 1);
    views[1].is_blocked = true; /* a backup is no overflow */
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 3), 3);
    KITH_CHECK_EQ(kith__schedule_first(views, 3), 0);
}

KITH_TEST(a_silent_path_is_passed_over_while_another_answers)
{
    struct kith_path_view views[] = { view(0), view(1) };

    views[0].silence = 1;
    views[1].is_backup = true;
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 2), 1);
    KITH_CHECK_EQ(kith__schedule_first(views, 2), 1);
    views[1].silence = 1; /* none is better than the other: the usual order again */
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 2), 0);
}

KITH_TEST(a_path_that_is_silent_for_longer_is_passed_over_when_none_answers)
{
    struct kith_path_view views[] = { view(0), view(1) };

    views[0].silence = 2; /* it is dead; the other one lost a packet */
    views[1].silence = 1;
    views[1].is_backup = true;
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 2), 1);
    KITH_CHECK_EQ(kith__schedule_first(views, 2), 1);
    views[0].silence = views[1].silence = UINT8_MAX;
    KITH_CHECK_EQ(kith__schedule_pick(KITH_SCHEDULE_FIRST, views, 2), 0);
}

/** Sends `count` packets of 1200 bytes without any acknowledgement: how many went to the first of two paths. */
static size_t share(enum kith_schedule_rule rule, uint64_t first_rtt_ns, uint64_t second_rtt_ns, size_t count)
{
    struct kith_path_view views[] = { view(0), view(1) };
    size_t first = 0;

    views[0].rtt_ns = first_rtt_ns;
    views[1].rtt_ns = second_rtt_ns;
    views[0].window = views[1].window = 120000;
    for (size_t i = 0; i < count; i++) {
        size_t picked = kith__schedule_pick(rule, views, 2);

        KITH_CHECK(picked < 2);
        views[picked].in_flight += 1200;
        views[picked].is_blocked = views[picked].in_flight >= views[picked].window;
        first += picked == 0;
    }
    return first;
}

KITH_TEST(spread_fills_equal_paths_evenly_and_prefers_the_quick_one)
{
    uint64_t ms = KITH_NS_PER_MS;

    KITH_CHECK_EQ(share(KITH_SCHEDULE_SPREAD, 10 * ms, 10 * ms, 100), 50);
    KITH_CHECK_EQ(share(KITH_SCHEDULE_FIRST, 10 * ms, 10 * ms, 100), 100);
    KITH_CHECK_EQ(share(KITH_SCHEDULE_SPREAD, 10 * ms, 100 * ms, 50), 50); /* the slow one would come later */
    KITH_CHECK_EQ(share(KITH_SCHEDULE_SPREAD, 100 * ms, 10 * ms, 50), 0);
    KITH_CHECK_EQ(share(KITH_SCHEDULE_SPREAD, 10 * ms, 100 * ms, 150), 100); /* it takes the rest */
}
