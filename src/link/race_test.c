#include "link/race.h"

#include "base/test.h"

#define MS KITH_NS_PER_MS

static const uint64_t T0 = 1000 * KITH_NS_PER_S;

static struct kith_sockaddr addr(const char *text)
{
    struct kith_sockaddr out;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

/** Answers with `count` addresses n, n+1, ... of a family. */
static void answer(struct kith_race *race, uint8_t family, uint8_t count, uint64_t now_ns)
{
    struct kith_sockaddr addrs[64];

    for (uint8_t i = 0; i < count; i++) {
        addrs[i] = family == KITH_FAMILY_V6 ? addr("[2001:db8::]:443") : addr("192.0.2.0:443");
        addrs[i].ip[family == KITH_FAMILY_V6 ? 15 : 3] = (uint8_t)(i + 1);
    }
    kith__race_on_answer(race, family, count > 0 ? 0 : KITH_ERR_NOT_FOUND, addrs, count, now_ns);
}

/** The address that is started now: its family and last byte, e.g. 61 or 42; 0: none. */
static int started(struct kith_race *race, uint64_t now_ns)
{
    struct kith_race_step step;
    const struct kith_sockaddr *to;

    if (!kith__race_next(race, now_ns, &step) || step.start == KITH_RACE_NONE)
        return 0;
    to = &race->attempts[step.start].addr;
    return to->family * 10 + to->ip[to->family == KITH_FAMILY_V6 ? 15 : 3];
}

KITH_TEST(race_waits_a_little_for_the_preferred_family)
{
    struct kith_race race;

    kith__race_init(&race, true, T0);
    KITH_CHECK_EQ(started(&race, T0), 0);
    KITH_CHECK_EQ(kith__race_deadline(&race), T0 + KITH_RACE_LOOKUP_NS);
    answer(&race, KITH_FAMILY_V4, 1, T0 + 10 * MS);
    KITH_CHECK_EQ(kith__race_deadline(&race), T0 + 60 * MS);
    KITH_CHECK_EQ(started(&race, T0 + 59 * MS), 0);
    answer(&race, KITH_FAMILY_V6, 1, T0 + 59 * MS);
    KITH_CHECK_EQ(started(&race, T0 + 59 * MS), 61);
    KITH_CHECK_EQ(kith__race_deadline(&race), T0 + (59 + 250) * MS);
    KITH_CHECK_EQ(started(&race, T0 + (59 + 249) * MS), 0);
    KITH_CHECK_EQ(started(&race, T0 + (59 + 250) * MS), 41);
    KITH_CHECK_EQ(started(&race, T0 + 1000 * MS), 0);
}

KITH_TEST(race_goes_on_without_the_preferred_family)
{
    struct kith_race race;

    kith__race_init(&race, true, T0);
    answer(&race, KITH_FAMILY_V4, 1, T0 + 10 * MS);
    KITH_CHECK_EQ(started(&race, T0 + 60 * MS), 41);

    kith__race_init(&race, true, T0); /* it has none */
    answer(&race, KITH_FAMILY_V6, 0, T0 + 5 * MS);
    answer(&race, KITH_FAMILY_V4, 1, T0 + 10 * MS);
    KITH_CHECK_EQ(started(&race, T0 + 10 * MS), 41);

    kith__race_init(&race, false, T0); /* the preferred one waits for nobody */
    answer(&race, KITH_FAMILY_V4, 1, T0 + 10 * MS);
    KITH_CHECK_EQ(started(&race, T0 + 10 * MS), 41);
}

KITH_TEST(race_takes_turns_between_families)
{
    struct kith_race race;
    static const int order[] = { 41, 61, 42, 62, 43, 44 };

    kith__race_init(&race, false, T0);
    answer(&race, KITH_FAMILY_V4, 4, T0);
    answer(&race, KITH_FAMILY_V6, 2, T0);
    for (size_t i = 0; i < KITH_COUNT(order); i++)
        KITH_CHECK_EQ(started(&race, T0 + i * 250 * MS), order[i]);
}

KITH_TEST(race_starts_the_next_at_once_when_none_is_under_way)
{
    struct kith_race race;

    kith__race_init(&race, false, T0);
    answer(&race, KITH_FAMILY_V4, 3, T0);
    answer(&race, KITH_FAMILY_V6, 0, T0);
    KITH_CHECK_EQ(started(&race, T0), 41);
    kith__race_on_failed(&race, 0, KITH_ERR_REFUSED, T0 + 1 * MS);
    KITH_CHECK_EQ(kith__race_verdict(&race), 0);
    KITH_CHECK_EQ(started(&race, T0 + 1 * MS), 42);
    KITH_CHECK_EQ(started(&race, T0 + 251 * MS), 43);
    kith__race_on_failed(&race, 2, KITH_ERR_UNREACHABLE, T0 + 260 * MS);
    KITH_CHECK_EQ(kith__race_verdict(&race), 0);
    kith__race_on_failed(&race, 1, KITH_ERR_REFUSED, T0 + 270 * MS);
    KITH_CHECK_EQ(kith__race_verdict(&race), KITH_ERR_REFUSED);
    KITH_CHECK_EQ(kith__race_deadline(&race), KITH_NEVER);
}

KITH_TEST(race_gives_an_attempt_its_time_and_no_more)
{
    struct kith_race race;
    struct kith_race_step step;

    kith__race_init(&race, false, T0);
    answer(&race, KITH_FAMILY_V4, 1, T0);
    answer(&race, KITH_FAMILY_V6, 0, T0);
    KITH_CHECK_EQ(started(&race, T0), 41);
    KITH_CHECK_EQ(kith__race_deadline(&race), T0 + 1500 * MS);
    KITH_CHECK(!kith__race_next(&race, T0 + 1499 * MS, &step));
    KITH_CHECK(kith__race_next(&race, T0 + 1500 * MS, &step));
    KITH_CHECK_EQ(step.stop, 0);
    KITH_CHECK_EQ(step.start, KITH_RACE_NONE);
    KITH_CHECK_EQ(kith__race_verdict(&race), KITH_ERR_TIMEOUT);
}

KITH_TEST(race_does_not_wait_for_ever_for_names)
{
    struct kith_race race;

    kith__race_init(&race, false, T0);
    answer(&race, KITH_FAMILY_V6, 0, T0);
    KITH_CHECK_EQ(kith__race_verdict(&race), 0);
    KITH_CHECK_EQ(started(&race, T0 + KITH_RACE_LOOKUP_NS), 0);
    KITH_CHECK_EQ(kith__race_verdict(&race), KITH_ERR_TIMEOUT);
    answer(&race, KITH_FAMILY_V4, 1, T0 + KITH_RACE_LOOKUP_NS); /* too late */
    KITH_CHECK_EQ(started(&race, T0 + KITH_RACE_LOOKUP_NS), 0);

    kith__race_init(&race, false, T0);
    answer(&race, KITH_FAMILY_V4, 0, T0);
    answer(&race, KITH_FAMILY_V6, 0, T0);
    KITH_CHECK_EQ(kith__race_verdict(&race), KITH_ERR_NOT_FOUND);
    kith__race_init(&race, false, T0);
    answer(&race, KITH_FAMILY_V4, 0, T0);
    kith__race_on_answer(&race, KITH_FAMILY_V6, KITH_ERR_IO, NULL, 0, T0);
    KITH_CHECK_EQ(kith__race_verdict(&race), KITH_ERR_IO);
}

KITH_TEST(race_counts_addresses_that_it_does_not_take)
{
    struct kith_race race;
    struct kith_sockaddr twice[3] = { addr("192.0.2.1:443"), addr("192.0.2.1:443"), addr("[2001:db8::1]:443") };

    kith__race_init(&race, false, T0);
    kith__race_on_answer(&race, KITH_FAMILY_V4, 0, twice, 3,
                         T0); /* one twice, one of a family that was not asked for */
    KITH_CHECK_EQ(race.count, 1);
    KITH_CHECK_EQ(race.addrs_dropped, 1);
    answer(&race, KITH_FAMILY_V6, 40, T0);
    KITH_CHECK_EQ(race.count, KITH_RACE_ADDRS_MAX);
    KITH_CHECK_EQ(race.addrs_dropped, 1 + 40 - (KITH_RACE_ADDRS_MAX - 1));
}
