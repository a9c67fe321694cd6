#include "quic/recover/ecn.h"

#include "base/test.h"

static void start(struct kith_ecn *ecn, uint64_t sent)
{
    kith__ecn_init(ecn, true);
    for (uint64_t i = 0; i < sent; i++)
        kith__ecn_on_sent(ecn);
}

KITH_TEST(ecn_judges_one_ack_as_rfc_9000_13_4_2_1_says)
{
    static const struct {
        uint64_t acked;
        bool has_counts;
        struct kith_ecn_counts counts;
        uint8_t state;
        uint64_t ce;
    } cases[] = {
        { 3, true, { 3, 0, 0 }, KITH_ECN_CAPABLE, 0 },
        { 3, true, { 2, 0, 1 }, KITH_ECN_CAPABLE, 1 },
        { 3, true, { 5, 0, 0 }, KITH_ECN_CAPABLE, 0 },  /* counts of an ACK that was lost */
        { 3, false, { 0, 0, 0 }, KITH_ECN_FAILED, 0 },  /* no counts */
        { 0, false, { 0, 0, 0 }, KITH_ECN_TESTING, 0 }, /* but nothing marked was acknowledged */
        { 3, true, { 2, 0, 0 }, KITH_ECN_FAILED, 0 },   /* one mark was removed */
        { 3, true, { 0, 3, 0 }, KITH_ECN_FAILED, 0 },   /* changed to ECT(1) */
        { 3, true, { 3, 1, 0 }, KITH_ECN_FAILED, 0 },
        { 3, true, { 9, 0, 2 }, KITH_ECN_FAILED, 0 }, /* more than we sent */
        { 3, true, { UINT64_MAX, 0, 4 }, KITH_ECN_FAILED, 0 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_ecn ecn;

        start(&ecn, 10);
        KITH_CHECK_EQ(kith__ecn_on_ack(&ecn, KITH_SPACE_DATA, cases[i].acked,
                                       cases[i].has_counts ? &cases[i].counts : NULL, true),
                      cases[i].ce);
        KITH_CHECK_EQ(ecn.state, cases[i].state);
        KITH_CHECK_EQ(kith__ecn_mark(&ecn), cases[i].state == KITH_ECN_FAILED ? 0 : 2);
    }
}

KITH_TEST(ecn_ignores_reordered_acks_and_counts_spaces_apart)
{
    struct kith_ecn ecn;

    start(&ecn, 10);
    KITH_CHECK_EQ(kith__ecn_on_ack(&ecn, KITH_SPACE_INITIAL, 2, &(struct kith_ecn_counts) { 1, 0, 1 }, true), 1);
    KITH_CHECK_EQ(kith__ecn_on_ack(&ecn, KITH_SPACE_DATA, 2, &(struct kith_ecn_counts) { 2, 0, 0 }, true), 0);
    KITH_CHECK_EQ(kith__ecn_on_ack(&ecn, KITH_SPACE_DATA, 1, &(struct kith_ecn_counts) { 1, 0, 0 }, false), 0);
    KITH_CHECK_EQ(ecn.state, KITH_ECN_CAPABLE);
    KITH_CHECK_EQ(kith__ecn_on_ack(&ecn, KITH_SPACE_DATA, 0, &(struct kith_ecn_counts) { 1, 0, 0 }, true), 0);
    KITH_CHECK_EQ(ecn.state, KITH_ECN_FAILED); /* counts went back */
}

KITH_TEST(ecn_gives_up_when_all_first_marked_packets_are_lost)
{
    struct kith_ecn ecn;

    start(&ecn, 20);
    for (int i = 0; i < KITH_ECN_TEST_PACKETS - 1; i++)
        kith__ecn_on_lost(&ecn);
    KITH_CHECK_EQ(kith__ecn_mark(&ecn), 2);
    kith__ecn_on_lost(&ecn);
    KITH_CHECK_EQ(kith__ecn_mark(&ecn), 0);
    kith__ecn_restart(&ecn);
    KITH_CHECK_EQ(kith__ecn_mark(&ecn), 2);
    kith__ecn_init(&ecn, false);
    kith__ecn_restart(&ecn);
    KITH_CHECK_EQ(kith__ecn_mark(&ecn), 0);
}
