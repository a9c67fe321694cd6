#include "base/test.h"
#include "endpoint/relay_choice.h"

enum { NONE = 99 };

struct choice_case {
    struct kith_relay_rank ranks[3];
    size_t count, home, next_home, warm;
};

KITH_TEST(relay_choice_takes_the_fittest_then_the_fastest_and_stays)
{
    static const struct choice_case cases[] = {
        { { { 0 } }, 0, NONE, NONE, NONE },
        { { { KITH_RELAY_FAILING, KITH_NEVER } }, 1, NONE, 0, NONE },
        { { { KITH_RELAY_UNKNOWN, 30 }, { KITH_RELAY_UNKNOWN, 20 } }, 2, NONE, 1, 0 },
        { { { KITH_RELAY_UNKNOWN, KITH_NEVER }, { KITH_RELAY_UNKNOWN, KITH_NEVER } }, 2, NONE, 0, 1 },
        { { { KITH_RELAY_UNKNOWN, 20 }, { KITH_RELAY_FIT, 900 } }, 2, 0, 1, 0 }, /* connected beats promising */
        { { { KITH_RELAY_FIT, 40 }, { KITH_RELAY_FIT, 30 } }, 2, 0, 0, 1 },
        { { { KITH_RELAY_FIT, 50 }, { KITH_RELAY_FIT, 10 } }, 2, 0, 1, 0 },
        { { { KITH_RELAY_FIT, KITH_NEVER }, { KITH_RELAY_FIT, 10 } }, 2, 0, 0, 1 }, /* not measured: no reason to go */
        { { { KITH_RELAY_DOUBTED, 10 }, { KITH_RELAY_FIT, 90 } }, 2, 0, 1, 0 },
        { { { KITH_RELAY_FAILING, 10 }, { KITH_RELAY_UNKNOWN, KITH_NEVER }, { KITH_RELAY_FIT, 80 } }, 3, 0, 2, 1 },
        { { { KITH_RELAY_FIT, 30 }, { KITH_RELAY_FAILING, 10 }, { KITH_RELAY_UNKNOWN, 90 } }, 3, 0, 0, 2 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_relay_choice choice = kith__relay_choose(cases[i].ranks, cases[i].count,
                                                             cases[i].home == NONE ? KITH_RELAY_NONE : cases[i].home);

        KITH_CHECK_EQ(choice.home, cases[i].next_home == NONE ? KITH_RELAY_NONE : cases[i].next_home);
        KITH_CHECK_EQ(choice.warm, cases[i].warm == NONE ? KITH_RELAY_NONE : cases[i].warm);
    }
}

KITH_TEST(relay_backoff_doubles_to_its_limit_and_is_short_while_needed)
{
    KITH_CHECK_EQ(kith__relay_backoff_ns(1, false, 0), 10 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith__relay_backoff_ns(2, false, 0), 20 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith__relay_backoff_ns(1000, false, 0), KITH_RELAY_BACKOFF_MAX_NS);
    KITH_CHECK_EQ(kith__relay_backoff_ns(1000, false, KITH_RELAY_BACKOFF_MAX_NS), 2 * KITH_RELAY_BACKOFF_MAX_NS);
    KITH_CHECK(kith__relay_backoff_ns(1000, true, UINT64_MAX) <= 2 * KITH_NS_PER_S);
}
