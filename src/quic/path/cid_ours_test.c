#include "quic/path/cid_ours.h"

#include "base/test.h"
#include "quic/wire/codes.h"

static struct kith_cid cid(uint8_t n)
{
    return (struct kith_cid) { .bytes = { n, 1, 2, 3, 4, 5, 6, 7 }, .size = 8 };
}

static void add(struct kith_cid_ours *ours, uint8_t n, bool announced)
{
    struct kith_cid id = cid(n);

    KITH_CHECK_EQ(kith__cid_ours_add(ours, &id, announced), n);
}

KITH_TEST(cid_ours_issues_up_to_the_smaller_limit)
{
    static const struct {
        uint64_t peer, wanted;
    } cases[] = { { 2, 1 }, { 5, 4 }, { 8, 4 }, { UINT64_MAX, 4 } };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_cid_ours ours;

        kith__cid_ours_init(&ours);
        add(&ours, 0, true);
        KITH_CHECK_EQ(kith__cid_ours_wanted(&ours), 0);
        kith__cid_ours_set_limit(&ours, cases[i].peer);
        KITH_CHECK_EQ(kith__cid_ours_wanted(&ours), cases[i].wanted);
    }
}

KITH_TEST(cid_ours_announces_in_order_and_again_after_loss)
{
    struct kith_cid_ours ours;
    struct kith_cid_issue issue;

    kith__cid_ours_init(&ours);
    kith__cid_ours_set_limit(&ours, 5);
    add(&ours, 0, true);
    KITH_CHECK(!kith__cid_ours_next(&ours, &issue));
    add(&ours, 1, false);
    add(&ours, 2, false);
    KITH_CHECK(kith__cid_ours_next(&ours, &issue));
    KITH_CHECK(issue.sequence == 1 && issue.cid.bytes[0] == 1 && issue.retire_prior_to == 0);
    kith__cid_ours_on_sent(&ours, 1);
    KITH_CHECK(kith__cid_ours_next(&ours, &issue) && issue.sequence == 2);
    kith__cid_ours_on_sent(&ours, 2);
    KITH_CHECK(!kith__cid_ours_next(&ours, &issue));
    kith__cid_ours_on_lost(&ours, 1);
    kith__cid_ours_on_acked(&ours, 2);
    kith__cid_ours_on_lost(&ours, 2); /* a late loss of what is known */
    KITH_CHECK(kith__cid_ours_next(&ours, &issue) && issue.sequence == 1);
    kith__cid_ours_on_acked(&ours, 1); /* the lost one arrived after all */
    KITH_CHECK(!kith__cid_ours_next(&ours, &issue));
}

KITH_TEST(cid_ours_retirement)
{
    struct kith_cid_ours ours;
    struct kith_cid removed = cid(9), id = cid(1);

    kith__cid_ours_init(&ours);
    kith__cid_ours_set_limit(&ours, 3);
    for (uint8_t n = 0; n < 3; n++)
        add(&ours, n, n == 0);
    KITH_CHECK_EQ(kith__cid_ours_on_retire(&ours, 3, UINT64_MAX, &removed), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(kith__cid_ours_on_retire(&ours, 1, 1, &removed), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(removed.bytes[0], 9); /* untouched */
    KITH_CHECK_EQ(kith__cid_ours_find(&ours, &id), 1);
    KITH_CHECK_EQ(kith__cid_ours_on_retire(&ours, 1, 2, &removed), 0);
    KITH_CHECK(kith__cid_equal(&removed, &id));
    KITH_CHECK_EQ(kith__cid_ours_find(&ours, &id), UINT64_MAX);
    KITH_CHECK_EQ(kith__cid_ours_wanted(&ours), 1); /* replaced at once */
    KITH_CHECK_EQ(kith__cid_ours_on_retire(&ours, 1, 2, &removed), 0);
    KITH_CHECK_EQ(removed.size, 0);
    kith__cid_ours_on_lost(&ours, 1); /* gone: nothing to repeat */
    KITH_CHECK(kith__cid_ours_at(&ours, 1) != NULL && kith__cid_ours_at(&ours, 2) == NULL);
}
