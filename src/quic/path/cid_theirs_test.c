#include "quic/path/cid_theirs.h"

#include "base/test.h"
#include "quic/wire/codes.h"

static struct kith_cid_issue issue(uint64_t sequence, uint64_t retire_prior_to)
{
    return (struct kith_cid_issue) { .sequence = sequence,
                                     .retire_prior_to = retire_prior_to,
                                     .cid = { .bytes = { (uint8_t)sequence, (uint8_t)(sequence >> 8), 7 }, .size = 8 },
                                     .reset_token = { (uint8_t)sequence, 1 } };
}

static int take(struct kith_cid_theirs *theirs, uint64_t sequence, uint64_t retire_prior_to, bool *changed)
{
    struct kith_cid_issue one = issue(sequence, retire_prior_to);

    return kith__cid_theirs_on_issue(theirs, &one, changed);
}

static void start(struct kith_cid_theirs *theirs)
{
    struct kith_cid first = issue(0, 0).cid;

    kith__cid_theirs_init(theirs, kith_mem_default());
    kith__cid_theirs_set_first(theirs, &first);
}

KITH_TEST(cid_theirs_refuses_what_rfc_9000_19_15_forbids)
{
    static const struct {
        const char *what;
        uint64_t sequence, retire_prior_to;
        int code;
        uint8_t other_cid, other_token;
    } cases[] = {
        { "fine", 3, 0, 0, 0, 0 },
        { "repeated", 1, 0, 0, 0, 0 },
        { "retire_prior_to above the sequence", 3, 4, KITH_WIRE_PROTOCOL_VIOLATION, 0, 0 },
        { "known sequence, other id", 1, 0, KITH_WIRE_PROTOCOL_VIOLATION, 1, 0 },
        { "known sequence, other token", 1, 0, KITH_WIRE_PROTOCOL_VIOLATION, 0, 1 },
        { "known id, other sequence", 4, 0, KITH_WIRE_PROTOCOL_VIOLATION, 2, 0 },
        { "known id of the handshake, other sequence", 4, 0, KITH_WIRE_PROTOCOL_VIOLATION, 3, 0 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_cid_theirs theirs;
        struct kith_cid_issue one = issue(cases[i].sequence, cases[i].retire_prior_to);
        bool changed;

        start(&theirs);
        KITH_CHECK_EQ(take(&theirs, 1, 0, &changed), 0);
        KITH_CHECK_EQ(take(&theirs, 2, 0, &changed), 0);
        if (cases[i].other_cid == 1)
            one.cid.bytes[5] = 99;
        else if (cases[i].other_cid != 0)
            one.cid = issue(cases[i].other_cid == 2 ? 2 : 0, 0).cid;
        if (cases[i].other_token != 0)
            one.reset_token[9] = 1;
        if (kith__cid_theirs_on_issue(&theirs, &one, &changed) != cases[i].code)
            fail_msg("%s", cases[i].what);
        kith__cid_theirs_dispose(&theirs);
    }
}

KITH_TEST(cid_theirs_holds_five)
{
    struct kith_cid_theirs theirs;
    bool changed;

    start(&theirs);
    for (uint64_t n = 1; n < 5; n++)
        KITH_CHECK_EQ(take(&theirs, n, 0, &changed), 0);
    KITH_CHECK_EQ(kith__cid_theirs_spares(&theirs), 4);
    KITH_CHECK_EQ(take(&theirs, 5, 0, &changed), KITH_WIRE_CONNECTION_ID_LIMIT_ERROR);
    start(&theirs);
    for (uint64_t n = 1; n < 5; n++)
        KITH_CHECK_EQ(take(&theirs, n, 0, &changed), 0);
    KITH_CHECK_EQ(take(&theirs, 5, 1, &changed), 0); /* with room made by the same frame */
    KITH_CHECK(changed && kith__cid_theirs_active_sequence(&theirs) == 1);
    kith__cid_theirs_dispose(&theirs);
}

KITH_TEST(cid_theirs_zero_length_takes_no_new_ids)
{
    struct kith_cid_theirs theirs;
    struct kith_cid none = { .size = 0 };
    bool changed;

    kith__cid_theirs_init(&theirs, kith_mem_default());
    kith__cid_theirs_set_first(&theirs, &none);
    KITH_CHECK_EQ(take(&theirs, 1, 0, &changed), KITH_WIRE_PROTOCOL_VIOLATION);
    kith__cid_theirs_dispose(&theirs);
}

KITH_TEST(cid_theirs_switch_retires_the_active_one)
{
    struct kith_cid_theirs theirs;
    uint64_t sequence;
    bool changed;

    start(&theirs);
    KITH_CHECK(!kith__cid_theirs_switch(&theirs)); /* no spare */
    KITH_CHECK_EQ(take(&theirs, 2, 0, &changed), 0);
    KITH_CHECK_EQ(take(&theirs, 1, 0, &changed), 0);
    KITH_CHECK(!changed && kith__cid_theirs_switch(&theirs));
    KITH_CHECK_EQ(kith__cid_theirs_active_sequence(&theirs), 1);
    KITH_CHECK(kith__cid_theirs_next_retire(&theirs, &sequence) && sequence == 0);
    kith__cid_theirs_on_retire_sent(&theirs, 0);
    KITH_CHECK(!kith__cid_theirs_next_retire(&theirs, &sequence));
    kith__cid_theirs_on_retire_lost(&theirs, 0);
    KITH_CHECK(kith__cid_theirs_next_retire(&theirs, &sequence));
    kith__cid_theirs_on_retire_acked(&theirs, 0);
    KITH_CHECK(!kith__cid_theirs_next_retire(&theirs, &sequence));
    kith__cid_theirs_on_retire_lost(&theirs, 0);
    KITH_CHECK_EQ(theirs.retired_count, 0);
    kith__cid_theirs_dispose(&theirs);
}

KITH_TEST(cid_theirs_overtaken_frame_is_retired_at_once_and_repeats_are_ignored)
{
    struct kith_cid_theirs theirs;
    uint64_t sequence;
    bool changed;

    start(&theirs);
    KITH_CHECK_EQ(take(&theirs, 3, 2, &changed), 0); /* 0 is retired */
    KITH_CHECK(changed && theirs.retired_count == 1);
    KITH_CHECK_EQ(take(&theirs, 1, 0, &changed), 0); /* late: the peer does not want it any more */
    KITH_CHECK(!changed && theirs.retired_count == 2);
    KITH_CHECK_EQ(take(&theirs, 1, 0, &changed), 0); /* and again */
    KITH_CHECK_EQ(theirs.retired_count, 2);
    kith__cid_theirs_on_retire_acked(&theirs, 0);
    KITH_CHECK(kith__cid_theirs_next_retire(&theirs, &sequence) && sequence == 1);
    KITH_CHECK_EQ(kith__cid_theirs_spares(&theirs), 0);
    kith__cid_theirs_dispose(&theirs);
}

KITH_TEST(cid_theirs_open_retirements_are_bounded)
{
    struct kith_cid_theirs theirs;
    uint64_t n = 1;
    bool changed;
    int code = 0;

    start(&theirs);
    while (code == 0 && n < 1000) {
        code = take(&theirs, n, n, &changed);
        n++;
    }
    KITH_CHECK_EQ(code, KITH_WIRE_CONNECTION_ID_LIMIT_ERROR);
    KITH_CHECK_EQ(n - 1, KITH_CIDS_RETIRED_MAX + 1);
    kith__cid_theirs_dispose(&theirs);
}

KITH_TEST(cid_theirs_knows_reset_tokens_of_used_ids_only)
{
    struct kith_cid_theirs theirs;
    uint8_t first[KITH_RESET_TOKEN_SIZE] = { 42 };
    uint8_t zero[KITH_RESET_TOKEN_SIZE] = { 0 };
    struct kith_cid_issue one = issue(1, 0);
    bool changed;

    start(&theirs);
    KITH_CHECK(!kith__cid_theirs_is_reset(&theirs, zero) && kith__cid_theirs_active_token(&theirs) == NULL);
    kith__cid_theirs_set_first_token(&theirs, first);
    KITH_CHECK(kith__cid_theirs_is_reset(&theirs, first));
    KITH_CHECK_EQ(kith__cid_theirs_on_issue(&theirs, &one, &changed), 0);
    KITH_CHECK(!kith__cid_theirs_is_reset(&theirs, one.reset_token)); /* never used */
    KITH_CHECK(kith__cid_theirs_switch(&theirs));
    KITH_CHECK(kith__cid_theirs_is_reset(&theirs, one.reset_token));
    KITH_CHECK(!kith__cid_theirs_is_reset(&theirs, first)); /* retired */
    kith__cid_theirs_forget(&theirs);
    KITH_CHECK(!kith__cid_theirs_is_reset(&theirs, one.reset_token));
    KITH_CHECK(kith__cid_theirs_active(&theirs) == NULL);
    KITH_CHECK_EQ(kith__cid_theirs_on_issue(&theirs, &one, &changed),
                  0); /* a fresh path id: the first becomes active */
    KITH_CHECK(changed);
    kith__cid_theirs_dispose(&theirs);
}
