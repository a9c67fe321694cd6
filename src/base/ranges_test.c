#include "base/ranges.h"
#include "base/test.h"
#include <string.h>

enum { SPAN = 64 };

static void check_against(const struct kith_ranges *set, const bool model[SPAN])
{
    uint64_t total = 0;

    for (uint64_t i = 0; i < SPAN; i++) {
        KITH_CHECK_EQ(kith__ranges_contains(set, i), model[i]);
        total += model[i];
    }
    KITH_CHECK_EQ(kith__ranges_total(set), total);
    for (size_t i = 0; i < set->count; i++) {
        KITH_CHECK(kith__ranges_at(set, i).begin < kith__ranges_at(set, i).end);
        if (i != 0)
            KITH_CHECK(kith__ranges_at(set, i - 1).end < kith__ranges_at(set, i).begin);
    }
}

KITH_TEST(ranges_behave_like_a_bit_set)
{
    struct kith_ranges set, copy;
    bool model[SPAN] = { false };
    uint64_t state = kith__test_seed(3);

    kith__ranges_init(&set, kith_mem_default());
    kith__ranges_init(&copy, kith_mem_default());
    for (int round = 0; round < 5000; round++) {
        uint64_t a = kith__test_random(&state) % SPAN, b = a + kith__test_random(&state) % 6;
        bool add = kith__test_random(&state) % 2 == 0, all = true, any = false;

        b = b < SPAN ? b : SPAN;
        KITH_CHECK_EQ(add ? kith__ranges_add(&set, a, b) : kith__ranges_remove(&set, a, b), 0);
        for (uint64_t i = a; i < b; i++)
            model[i] = add;
        check_against(&set, model);
        a = kith__test_random(&state) % SPAN;
        for (uint64_t i = a; i < SPAN && i < a + 5; i++) {
            all = all && model[i];
            any = any || model[i];
        }
        KITH_CHECK_EQ(kith__ranges_contains_all(&set, a, KITH_MIN(a + 5, SPAN)), all);
        KITH_CHECK_EQ(kith__ranges_intersects(&set, a, KITH_MIN(a + 5, SPAN)), any);
        KITH_CHECK_EQ(kith__ranges_copy(&set, &copy), 0);
    }
    check_against(&copy, model);
    kith__ranges_dispose(&set);
    kith__ranges_dispose(&copy);
}

KITH_TEST(ranges_survive_a_move_of_the_struct)
{
    struct kith_ranges set, moved;

    kith__ranges_init(&set, kith_mem_default());
    KITH_CHECK_EQ(kith__ranges_add(&set, 1, 2), 0);
    moved = set;
    memset(&set, 0xff, sizeof set);
    KITH_CHECK(kith__ranges_contains(&moved, 1));
    KITH_CHECK_EQ(kith__ranges_add(&moved, 3, 4), 0);
    KITH_CHECK_EQ(kith__ranges_add(&moved, 5, 6), 0);
    KITH_CHECK_EQ(moved.count, 3);
    kith__ranges_clear(&moved);
    KITH_CHECK(!kith__ranges_contains(&moved, 5));
    kith__ranges_dispose(&moved);
}

KITH_TEST(ranges_touch_the_largest_numbers)
{
    struct kith_ranges set;

    kith__ranges_init(&set, kith_mem_default());
    KITH_CHECK_EQ(kith__ranges_add(&set, UINT64_MAX - 1, UINT64_MAX), 0);
    KITH_CHECK_EQ(kith__ranges_add(&set, 0, 1), 0);
    KITH_CHECK(kith__ranges_contains(&set, UINT64_MAX - 1));
    KITH_CHECK(!kith__ranges_contains(&set, UINT64_MAX));
    KITH_CHECK_EQ(kith__ranges_find(&set, 0), 0);
    KITH_CHECK_EQ(kith__ranges_find(&set, 1), 1);
    KITH_CHECK_EQ(kith__ranges_find(&set, UINT64_MAX), 2);
    KITH_CHECK_EQ(kith__ranges_add(&set, 1, UINT64_MAX), 0);
    KITH_CHECK_EQ(set.count, 1);
    KITH_CHECK_EQ(kith__ranges_total(&set), UINT64_MAX);
    kith__ranges_dispose(&set);
}

KITH_TEST(ranges_give_memory_back_when_few_are_left)
{
    struct kith_test_mem mem;
    struct kith_ranges set;

    kith__test_mem_init(&mem, 0);
    kith__ranges_init(&set, &mem.mem);
    for (uint64_t i = 0; i < 10; i++)
        KITH_CHECK_EQ(kith__ranges_add(&set, 10 * i, 10 * i + 5), 0);
    kith__ranges_shed(&set);
    KITH_CHECK_EQ(set.count, 10);
    KITH_CHECK_EQ(kith__ranges_remove(&set, 0, 80), 0);
    KITH_CHECK(kith__ranges_has_slack(&set));
    kith__ranges_shed(&set);
    KITH_CHECK_EQ(mem.live, 0);
    KITH_CHECK_EQ(set.count, 2);
    KITH_CHECK(kith__ranges_contains_all(&set, 80, 85) && kith__ranges_contains_all(&set, 90, 95));
    KITH_CHECK_EQ(kith__ranges_add(&set, 0, 1), 0); /* grows again */
    KITH_CHECK_EQ(set.count, 3);
    kith__ranges_dispose(&set);
}

KITH_TEST(ranges_without_memory_stay_as_they_were)
{
    struct kith_test_mem mem;
    struct kith_ranges set;

    kith__test_mem_init(&mem, 1);
    kith__ranges_init(&set, &mem.mem);
    KITH_CHECK_EQ(kith__ranges_add(&set, 0, 10), 0);
    KITH_CHECK_EQ(kith__ranges_add(&set, 20, 30), 0);
    KITH_CHECK_EQ(mem.calls, 0);
    KITH_CHECK_EQ(kith__ranges_remove(&set, 5, 6), KITH_ERR_NOMEM);
    KITH_CHECK_EQ(set.count, 2);
    KITH_CHECK(kith__ranges_contains_all(&set, 0, 10));
    KITH_CHECK_EQ(kith__ranges_remove(&set, 5, 6), 0);
    KITH_CHECK_EQ(set.count, 3);
    kith__ranges_dispose(&set);
    KITH_CHECK_EQ(mem.live, 0);
}
