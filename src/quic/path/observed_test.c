#include "quic/path/observed.h"

#include "base/test.h"

static struct kith_sockaddr address(const char *text)
{
    struct kith_sockaddr out;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

static struct kith_observed started(uint8_t ours, uint8_t theirs)
{
    struct kith_observed observed = { 0 };

    kith__observed_start(&observed, ours, theirs);
    return observed;
}

KITH_TEST(reports_flow_where_one_side_sends_and_the_other_receives)
{
    enum {
        S = KITH_OBSERVED_SEND_ONLY,
        R = KITH_OBSERVED_RECEIVE_ONLY,
        B = KITH_OBSERVED_BOTH,
        OFF = KITH_OBSERVED_OFF
    };
    static const struct {
        uint8_t ours, theirs;
        bool sends, receives;
    } cases[] = {
        { S, R, true, false }, { S, B, true, false },    { S, S, false, false },   { R, S, false, true },
        { R, B, false, true }, { R, R, false, false },   { B, B, true, true },     { B, S, false, true },
        { B, R, true, false }, { OFF, B, false, false }, { B, OFF, false, false },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_observed observed = started(cases[i].ours, cases[i].theirs);

        KITH_CHECK_EQ(observed.sends, cases[i].sends);
        KITH_CHECK_EQ(observed.receives, cases[i].receives);
    }
}

KITH_TEST(a_report_is_due_for_a_new_tuple_and_beside_each_challenge)
{
    struct kith_observed observed = started(KITH_OBSERVED_SEND_ONLY, KITH_OBSERVED_RECEIVE_ONLY);
    struct kith_observed_path path = { 0 };

    KITH_CHECK(!kith__observed_is_wanted(&observed, &path, false));
    KITH_CHECK(kith__observed_is_wanted(&observed, &path, true));
    kith__observed_on_tuple(&observed, &path);
    KITH_CHECK(kith__observed_is_wanted(&observed, &path, false));
    kith__observed_on_sent(&observed, &path);
    KITH_CHECK(!kith__observed_is_wanted(&observed, &path, false));
}

KITH_TEST(a_side_that_sends_no_reports_owes_none)
{
    struct kith_observed observed = started(KITH_OBSERVED_RECEIVE_ONLY, KITH_OBSERVED_SEND_ONLY);
    struct kith_observed_path path = { 0 };

    kith__observed_on_tuple(&observed, &path);
    KITH_CHECK(!kith__observed_is_wanted(&observed, &path, true));
}

KITH_TEST(report_numbers_grow_over_all_paths)
{
    struct kith_observed observed = started(KITH_OBSERVED_BOTH, KITH_OBSERVED_BOTH);
    struct kith_observed_path paths[2] = { 0 };

    for (uint64_t i = 0; i < 6; i++) {
        KITH_CHECK_EQ(kith__observed_next(&observed), i);
        kith__observed_on_sent(&observed, &paths[i % 2]);
    }
}

KITH_TEST(a_lost_report_is_due_again_unless_a_newer_one_went_out)
{
    struct kith_observed observed = started(KITH_OBSERVED_BOTH, KITH_OBSERVED_BOTH);
    struct kith_observed_path path = { 0 }, other = { 0 };

    kith__observed_on_sent(&observed, &path);  /* 0 */
    kith__observed_on_sent(&observed, &other); /* 1 */
    kith__observed_on_sent(&observed, &path);  /* 2 */
    kith__observed_on_lost(&observed, &path, 0);
    KITH_CHECK(!path.is_due);
    kith__observed_on_lost(&observed, &path, 2);
    KITH_CHECK(path.is_due);
    KITH_CHECK_EQ(kith__observed_next(&observed), 3);
    KITH_CHECK(!other.is_due);
}

KITH_TEST(the_newest_report_of_a_path_counts)
{
    struct kith_observed observed = started(KITH_OBSERVED_RECEIVE_ONLY, KITH_OBSERVED_SEND_ONLY);
    struct kith_observed_path path = { 0 }, other = { 0 };
    struct kith_sockaddr a = address("192.0.2.1:4433"), b = address("192.0.2.1:4434");
    const char *reason = NULL;
    bool changed = false;

    KITH_CHECK_EQ(kith__observed_on_frame(&observed, &path, 0, &a, &changed, &reason), 0);
    KITH_CHECK(changed);
    KITH_CHECK_EQ(kith__observed_on_frame(&observed, &path, 0, &b, &changed, &reason), 0);
    KITH_CHECK(!changed && kith_sockaddr_equal(&path.address, &a));
    KITH_CHECK_EQ(kith__observed_on_frame(&observed, &path, 5, &a, &changed, &reason), 0);
    KITH_CHECK(!changed);
    KITH_CHECK_EQ(kith__observed_on_frame(&observed, &path, 4, &b, &changed, &reason), 0);
    KITH_CHECK(!changed);
    KITH_CHECK_EQ(kith__observed_on_frame(&observed, &path, 6, &b, &changed, &reason), 0);
    KITH_CHECK(changed && kith_sockaddr_equal(&path.address, &b));
    KITH_CHECK_EQ(observed.ignored, 2);
    KITH_CHECK_EQ(kith__observed_on_frame(&observed, &other, 3, &a, &changed, &reason), 0); /* each path by itself */
    KITH_CHECK(changed);
    kith__observed_on_local_moved(&path);
    KITH_CHECK_EQ(path.address.family, KITH_FAMILY_NONE);
    KITH_CHECK_EQ(kith__observed_on_frame(&observed, &path, 6, &b, &changed, &reason), 0);
    KITH_CHECK_EQ(path.address.family, KITH_FAMILY_NONE);
}

KITH_TEST(a_report_that_was_not_agreed_on_is_refused)
{
    struct kith_observed observed = started(KITH_OBSERVED_SEND_ONLY, KITH_OBSERVED_BOTH);
    struct kith_observed_path path = { 0 };
    struct kith_sockaddr a = address("192.0.2.1:4433");
    const char *reason = NULL;
    bool changed;

    KITH_CHECK_EQ(kith__observed_on_frame(&observed, &path, 0, &a, &changed, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_STR(reason, "received OBSERVED_ADDRESS frame when not negotiated");
}

KITH_TEST(the_largest_report_number_is_the_last_that_counts)
{
    struct kith_observed observed = started(KITH_OBSERVED_BOTH, KITH_OBSERVED_BOTH);
    struct kith_observed_path path = { 0 };
    struct kith_sockaddr a = address("192.0.2.1:4433"), b = address("[2001:db8::1]:1");
    const char *reason = NULL;
    bool changed;

    KITH_CHECK_EQ(kith__observed_on_frame(&observed, &path, KITH_VARINT_MAX, &a, &changed, &reason), 0);
    KITH_CHECK_EQ(kith__observed_on_frame(&observed, &path, KITH_VARINT_MAX, &b, &changed, &reason), 0);
    KITH_CHECK(!changed);
}
