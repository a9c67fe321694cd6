#include "quic/path/multipath.h"

#include "base/test.h"

enum { WAIT = 3000, DRAIN = 100, ECHO = 200 };

static struct kith_multipath started(bool is_server, uint32_t local_max, uint32_t remote_max)
{
    struct kith_multipath mp;

    kith__multipath_init(&mp, is_server, local_max, WAIT);
    kith__multipath_start(&mp, remote_max);
    return mp;
}

/** Opens the next path, as a client does. */
static uint32_t opened(struct kith_multipath *mp)
{
    uint32_t id = UINT32_MAX;

    KITH_CHECK_EQ(kith__multipath_next_id(mp, &id), 0);
    kith__multipath_on_opened(mp, id, true);
    return id;
}

/** Takes the frame that is due, which must be this one, and sends it. */
static struct kith_multipath_frame sent(struct kith_multipath *mp, uint64_t type, uint32_t path, uint64_t value)
{
    struct kith_multipath_frame frame = { 0 };

    KITH_CHECK(kith__multipath_next(mp, &frame));
    KITH_CHECK_EQ(frame.type, type);
    KITH_CHECK_EQ(frame.path, path);
    KITH_CHECK_EQ(frame.value, value);
    kith__multipath_on_sent(mp, &frame);
    kith__multipath_check(mp);
    return frame;
}

static void check_quiet(const struct kith_multipath *mp)
{
    struct kith_multipath_frame frame;

    KITH_CHECK(!kith__multipath_next(mp, &frame));
    kith__multipath_check(mp);
}

/** State of an id; GONE also for one that left the table. */
static int state_of(const struct kith_multipath *mp, uint32_t id)
{
    const struct kith_path_id *entry = kith__multipath_find(mp, id);

    return entry == NULL ? KITH_PATH_ID_GONE : entry->state;
}

/** Runs the deadline and takes what is gone: how many. */
static size_t run(struct kith_multipath *mp, uint64_t now_ns)
{
    uint32_t id;
    size_t count = 0;

    KITH_CHECK(kith__multipath_on_deadline(mp, now_ns));
    while (kith__multipath_take_gone(mp, &id))
        count++;
    kith__multipath_check(mp);
    return count;
}

/** One generation of a path at the client: opened, given up, answered, drained, acknowledged. */
static uint32_t generation(struct kith_multipath *mp, uint64_t now_ns)
{
    uint32_t id = opened(mp);
    struct kith_multipath_frame frame;

    KITH_CHECK_EQ(kith__multipath_abandon(mp, id, 0x3e), 0);
    frame = sent(mp, KITH_FRAME_PATH_ABANDON, id, 0x3e);
    KITH_CHECK_EQ(kith__multipath_on_abandon(mp, id, 0x3e, DRAIN, now_ns), KITH_ABANDON_ECHO);
    kith__multipath_on_acked(mp, &frame, ECHO, now_ns);
    return id;
}

/* ---- Limits ---- */

KITH_TEST(path_ids_are_off_until_both_sides_agreed)
{
    struct kith_multipath mp;
    uint32_t id;

    kith__multipath_init(&mp, false, 7, WAIT);
    KITH_CHECK_EQ(kith__multipath_next_id(&mp, &id), KITH_ERR_UNSUPPORTED);
    KITH_CHECK_EQ(kith__multipath_max(&mp), 0);
    KITH_CHECK_EQ(kith__multipath_live(&mp), 1);
    KITH_CHECK(kith__multipath_next_for_cids(&mp, 0, &id) && id == 0);
    KITH_CHECK(!kith__multipath_next_for_cids(&mp, 1, &id));
    kith__multipath_announce(&mp, 0);
    check_quiet(&mp);
}

KITH_TEST(path_ids_up_to_both_limits_want_connection_ids)
{
    struct kith_multipath mp = started(true, 7, 4);
    uint32_t from = 0, id, count = 0;

    for (; kith__multipath_next_for_cids(&mp, from, &id); from = id + 1)
        KITH_CHECK_EQ(id, count++);
    KITH_CHECK_EQ(count, 5); /* 0 to 4 */
    KITH_CHECK(kith__multipath_on_max_path_id(&mp, 6));
    KITH_CHECK(kith__multipath_next_for_cids(&mp, 5, &id) && id == 5);
    KITH_CHECK(!kith__multipath_next_for_cids(&mp, 7, &id));
}

KITH_TEST(path_ids_that_are_given_up_want_no_connection_ids)
{
    struct kith_multipath mp = started(false, 2, 2);
    uint32_t id = opened(&mp);

    KITH_CHECK_EQ(id, 1);
    KITH_CHECK_EQ(kith__multipath_abandon(&mp, id, 0x3e), 0);
    KITH_CHECK(kith__multipath_next_for_cids(&mp, 1, &id) && id == 2);
}

KITH_TEST(only_a_client_takes_path_ids_and_a_server_begins_unused_ones)
{
    struct kith_multipath mp = started(true, 3, 3);
    uint32_t id;

    KITH_CHECK_EQ(kith__multipath_next_id(&mp, &id), KITH_ERR_PERMISSION);
    KITH_CHECK(kith__multipath_may_begin(&mp, 3));
    KITH_CHECK(!kith__multipath_may_begin(&mp, 0));
    KITH_CHECK(!kith__multipath_may_begin(&mp, 4)); /* above our limit */
    kith__multipath_on_opened(&mp, 3, false);
    KITH_CHECK(!kith__multipath_may_begin(&mp, 3));
    mp = started(false, 3, 3);
    KITH_CHECK(!kith__multipath_may_begin(&mp, 1));
}

KITH_TEST(paths_blocked_tells_the_limit_of_the_peer_once)
{
    struct kith_multipath mp = started(false, 7, 2);
    struct kith_multipath_frame frame;
    uint32_t id;

    KITH_CHECK_EQ(opened(&mp), 1);
    KITH_CHECK_EQ(opened(&mp), 2);
    KITH_CHECK_EQ(kith__multipath_next_id(&mp, &id), KITH_ERR_AGAIN);
    frame = sent(&mp, KITH_FRAME_PATHS_BLOCKED, 0, 2);
    KITH_CHECK_EQ(kith__multipath_next_id(&mp, &id), KITH_ERR_AGAIN);
    check_quiet(&mp);
    kith__multipath_on_lost(&mp, &frame);
    (void)sent(&mp, KITH_FRAME_PATHS_BLOCKED, 0, 2);
    KITH_CHECK(kith__multipath_on_max_path_id(&mp, 3));
    kith__multipath_on_lost(&mp, &frame); /* moot by now */
    check_quiet(&mp);
    KITH_CHECK_EQ(opened(&mp), 3);
    KITH_CHECK_EQ(kith__multipath_next_id(&mp, &id), KITH_ERR_AGAIN);
    (void)sent(&mp, KITH_FRAME_PATHS_BLOCKED, 0, 3);
    KITH_CHECK(!kith__multipath_on_max_path_id(&mp, 3)); /* a copy changes nothing */
    KITH_CHECK_EQ(kith__multipath_next_id(&mp, &id), KITH_ERR_AGAIN);
    check_quiet(&mp);
}

KITH_TEST(paths_blocked_is_told_when_both_limits_are_the_same)
{
    struct kith_multipath mp = started(false, 1, 1);
    uint32_t id;

    KITH_CHECK_EQ(opened(&mp), 1);
    KITH_CHECK_EQ(kith__multipath_next_id(&mp, &id), KITH_ERR_AGAIN);
    (void)sent(&mp, KITH_FRAME_PATHS_BLOCKED, 0, 1);
}

KITH_TEST(our_own_limit_is_not_complained_about)
{
    struct kith_multipath mp = started(false, 1, 9);
    uint32_t id;

    KITH_CHECK_EQ(opened(&mp), 1);
    KITH_CHECK_EQ(kith__multipath_next_id(&mp, &id), KITH_ERR_LIMIT);
    check_quiet(&mp);
}

KITH_TEST(a_lower_max_path_id_changes_nothing)
{
    struct kith_multipath mp = started(false, 7, 5);

    KITH_CHECK(!kith__multipath_on_max_path_id(&mp, 5));
    KITH_CHECK(!kith__multipath_on_max_path_id(&mp, 0));
    KITH_CHECK_EQ(mp.remote_max, 5);
    KITH_CHECK(kith__multipath_on_max_path_id(&mp, 7));
    KITH_CHECK(!kith__multipath_on_max_path_id(&mp, UINT32_MAX)); /* ours is the lower one now */
    KITH_CHECK_EQ(kith__multipath_max(&mp), 7);
}

KITH_TEST(missing_connection_ids_are_told_once_and_again_if_lost)
{
    struct kith_multipath mp = started(false, 7, 7);
    struct kith_multipath_frame frame;

    kith__multipath_on_cids_missing(&mp, 1, 0);
    frame = sent(&mp, KITH_FRAME_PATH_CIDS_BLOCKED, 1, 0);
    kith__multipath_on_cids_missing(&mp, 1, 0);
    check_quiet(&mp);
    kith__multipath_on_lost(&mp, &frame);
    frame = sent(&mp, KITH_FRAME_PATH_CIDS_BLOCKED, 1, 0);
    kith__multipath_on_cids(&mp, 1);
    kith__multipath_on_lost(&mp, &frame);
    check_quiet(&mp);
    kith__multipath_on_cids_missing(&mp, 1, 5); /* all of them were retired */
    (void)sent(&mp, KITH_FRAME_PATH_CIDS_BLOCKED, 1, 5);
}

/* ---- Frames that name an id (spec/01, 4.9) ---- */

KITH_TEST(an_acknowledgement_for_a_path_never_used_is_refused)
{
    struct kith_multipath mp = started(false, 7, 7);
    enum kith_path_use use = KITH_PATH_IGNORE;
    const char *reason = "";

    KITH_CHECK_EQ(kith__multipath_check_ack(&mp, 1, &use, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_STR(reason, "received PATH_ACK with path ID never used");
    KITH_CHECK_EQ(kith__multipath_check_ack(&mp, 8, &use, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(kith__multipath_check_ack(&mp, 0, &use, &reason), 0);
    KITH_CHECK_EQ(use, KITH_PATH_USE);
    KITH_CHECK_EQ(opened(&mp), 1);
    KITH_CHECK_EQ(kith__multipath_check_ack(&mp, 1, &use, &reason), 0);
    KITH_CHECK_EQ(use, KITH_PATH_USE);
}

KITH_TEST(an_acknowledgement_for_a_path_of_the_past_is_ignored)
{
    struct kith_multipath mp = started(false, 7, 7);
    enum kith_path_use use = KITH_PATH_USE;
    const char *reason = "";
    uint32_t id = generation(&mp, 10);

    KITH_CHECK_EQ(kith__multipath_check_ack(&mp, id, &use, &reason), 0);
    KITH_CHECK_EQ(use, KITH_PATH_USE); /* it still drains */
    KITH_CHECK_EQ(run(&mp, 10 + DRAIN), 1);
    KITH_CHECK_EQ(kith__multipath_check_ack(&mp, id, &use, &reason), 0);
    KITH_CHECK_EQ(use, KITH_PATH_IGNORE);
    KITH_CHECK(kith__multipath_find(&mp, id) == NULL);
    KITH_CHECK_EQ(mp.ignored, 1);
}

KITH_TEST(connection_ids_above_our_limit_are_refused_and_for_given_up_paths_ignored)
{
    struct kith_multipath mp = started(false, 7, 7);
    enum kith_path_use use;
    const char *reason = "";
    uint32_t id = opened(&mp);

    KITH_CHECK_EQ(kith__multipath_check_new_cid(&mp, 7, &use, &reason), 0);
    KITH_CHECK_EQ(use, KITH_PATH_USE);
    KITH_CHECK_EQ(kith__multipath_check_new_cid(&mp, 8, &use, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_STR(reason, "PATH_NEW_CONNECTION_ID contains path_id exceeding current max");
    KITH_CHECK_EQ(kith__multipath_check_retire_cid(&mp, 8, &use, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(kith__multipath_abandon(&mp, id, 0x3e), 0);
    KITH_CHECK_EQ(kith__multipath_check_new_cid(&mp, id, &use, &reason), 0);
    KITH_CHECK_EQ(use, KITH_PATH_IGNORE);
    KITH_CHECK_EQ(kith__multipath_check_retire_cid(&mp, id, &use, &reason), 0);
    KITH_CHECK_EQ(use, KITH_PATH_IGNORE);
    KITH_CHECK_EQ(mp.ignored, 2);
}

KITH_TEST(blocked_frames_beyond_what_we_granted_are_refused)
{
    struct kith_multipath mp = started(true, 7, 7);
    const char *reason = "";

    KITH_CHECK_EQ(kith__multipath_on_paths_blocked(&mp, 7, &reason), 0);
    KITH_CHECK_EQ(kith__multipath_on_paths_blocked(&mp, 0, &reason), 0);
    KITH_CHECK_EQ(kith__multipath_on_paths_blocked(&mp, 8, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(kith__multipath_on_cids_blocked(&mp, 1, 5, 5, &reason), 0); /* 0 to 4 were issued */
    KITH_CHECK_EQ(kith__multipath_on_cids_blocked(&mp, 1, 6, 5, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(kith__multipath_on_cids_blocked(&mp, 7, 0, 0, &reason), 0);
    KITH_CHECK_EQ(kith__multipath_on_cids_blocked(&mp, 8, 0, 0, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 1, 0, DRAIN, 0), KITH_ABANDON_UNUSED);
    KITH_CHECK_EQ(mp.ignored, 0);
    KITH_CHECK_EQ(kith__multipath_on_cids_blocked(&mp, 1, 9, 0, &reason), 0); /* given up: whatever it says */
    KITH_CHECK_EQ(mp.ignored, 1);
}

/* ---- Abandoning ---- */

KITH_TEST(a_path_that_the_peer_abandons_is_answered_and_drains)
{
    struct kith_multipath mp = started(true, 7, 7);
    struct kith_multipath_frame echo;

    kith__multipath_on_opened(&mp, 1, false);
    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 1, 0x3e76, DRAIN, 50), KITH_ABANDON_CLOSE);
    KITH_CHECK_EQ(state_of(&mp, 1), KITH_PATH_ID_DRAINING);
    echo = sent(&mp, KITH_FRAME_PATH_ABANDON, 1, 0x3e76);
    (void)sent(&mp, KITH_FRAME_MAX_PATH_ID, 0, 8);
    check_quiet(&mp);
    KITH_CHECK_EQ(kith__multipath_deadline(&mp), 50 + DRAIN);
    KITH_CHECK_EQ(run(&mp, 49 + DRAIN), 0);
    KITH_CHECK_EQ(run(&mp, 50 + DRAIN), 1);
    KITH_CHECK(kith__multipath_find(&mp, 1) != NULL); /* the echo may still be lost */
    kith__multipath_on_lost(&mp, &echo);
    echo = sent(&mp, KITH_FRAME_PATH_ABANDON, 1, 0x3e76);
    kith__multipath_on_acked(&mp, &echo, ECHO, 400);
    KITH_CHECK(kith__multipath_find(&mp, 1) == NULL);
    KITH_CHECK_EQ(kith__multipath_deadline(&mp), KITH_NEVER);
}

KITH_TEST(an_abandon_for_a_path_unknown_or_given_up_is_ignored)
{
    struct kith_multipath mp = started(true, 7, 7);

    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 8, 0, DRAIN, 0), KITH_ABANDON_IGNORED);
    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, UINT32_MAX, 0, DRAIN, 0), KITH_ABANDON_IGNORED);
    kith__multipath_on_opened(&mp, 1, false);
    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 1, 1, DRAIN, 0), KITH_ABANDON_CLOSE);
    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 1, 2, DRAIN, 90), KITH_ABANDON_IGNORED);
    KITH_CHECK_EQ(kith__multipath_deadline(&mp), DRAIN); /* a repetition does not stretch it */
    KITH_CHECK_EQ(mp.local_max, 8);
    KITH_CHECK_EQ(mp.ignored, 3);
}

KITH_TEST(an_id_that_the_peer_abandons_unused_is_used_up)
{
    struct kith_multipath mp = started(true, 7, 7);
    struct kith_multipath_frame echo;

    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 2, 0x3e, DRAIN, 0), KITH_ABANDON_UNUSED);
    KITH_CHECK(!kith__multipath_may_begin(&mp, 2));
    echo = sent(&mp, KITH_FRAME_PATH_ABANDON, 2, 0x3e);
    (void)sent(&mp, KITH_FRAME_MAX_PATH_ID, 0, 8);
    kith__multipath_on_acked(&mp, &echo, ECHO, 10);
    KITH_CHECK_EQ(run(&mp, DRAIN), 1);
    KITH_CHECK(kith__multipath_find(&mp, 2) == NULL);
    KITH_CHECK(kith__multipath_may_begin(&mp, 8));
}

KITH_TEST(a_client_passes_over_ids_that_the_server_abandoned)
{
    struct kith_multipath mp = started(false, 7, 7);

    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 1, 0, DRAIN, 0), KITH_ABANDON_UNUSED);
    KITH_CHECK_EQ(opened(&mp), 2);
    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 7, 0, DRAIN, 0), KITH_ABANDON_UNUSED);
    KITH_CHECK_EQ(opened(&mp), 3); /* and not 8: those between are as good as ever */
}

KITH_TEST(our_abandon_is_told_until_it_is_acknowledged)
{
    struct kith_multipath mp = started(false, 7, 7);
    struct kith_multipath_frame frame;
    uint32_t id = opened(&mp);

    KITH_CHECK_EQ(kith__multipath_abandon(&mp, id, 0x3e), 0);
    KITH_CHECK_EQ(kith__multipath_abandon(&mp, id, 0x3e), KITH_ERR_NOT_FOUND);
    frame = sent(&mp, KITH_FRAME_PATH_ABANDON, id, 0x3e);
    check_quiet(&mp);
    kith__multipath_on_lost(&mp, &frame);
    frame = sent(&mp, KITH_FRAME_PATH_ABANDON, id, 0x3e);
    KITH_CHECK_EQ(kith__multipath_deadline(&mp), KITH_NEVER); /* the peer may not know yet */
    kith__multipath_on_acked(&mp, &frame, ECHO, 1000);
    kith__multipath_on_lost(&mp, &frame);
    check_quiet(&mp);
    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, id, 0x3e, DRAIN, 1050), KITH_ABANDON_ECHO);
    KITH_CHECK_EQ(kith__multipath_deadline(&mp), 1050 + DRAIN);
    (void)sent(&mp, KITH_FRAME_MAX_PATH_ID, 0, 8);
    check_quiet(&mp); /* no echo of the echo */
    KITH_CHECK_EQ(run(&mp, 1050 + DRAIN), 1);
    KITH_CHECK(kith__multipath_find(&mp, id) == NULL);
}

KITH_TEST(a_peer_that_never_answers_an_abandon_does_not_cost_the_id_for_ever)
{
    struct kith_multipath mp = started(false, 7, 7);
    struct kith_multipath_frame frame;
    uint32_t id = opened(&mp);

    KITH_CHECK_EQ(kith__multipath_abandon(&mp, id, 0x3e), 0);
    frame = sent(&mp, KITH_FRAME_PATH_ABANDON, id, 0x3e);
    kith__multipath_on_acked(&mp, &frame, ECHO, 1000);
    KITH_CHECK_EQ(run(&mp, 999 + ECHO), 0);
    KITH_CHECK_EQ(run(&mp, 1000 + ECHO), 1);
    (void)sent(&mp, KITH_FRAME_MAX_PATH_ID, 0, 8);
    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, id, 0x3e, DRAIN, 2000), KITH_ABANDON_IGNORED);
    KITH_CHECK_EQ(mp.local_max, 8);
}

KITH_TEST(both_sides_abandoning_at_once_use_up_one_id)
{
    struct kith_multipath mp = started(false, 7, 7);
    struct kith_multipath_frame frame;
    uint32_t id = opened(&mp);

    KITH_CHECK_EQ(kith__multipath_abandon(&mp, id, 1), 0);
    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, id, 2, DRAIN, 0), KITH_ABANDON_ECHO); /* ours has not even left */
    frame = sent(&mp, KITH_FRAME_PATH_ABANDON, id, 1);
    KITH_CHECK_EQ(run(&mp, DRAIN), 1);
    kith__multipath_on_acked(&mp, &frame, ECHO, DRAIN);
    KITH_CHECK(kith__multipath_find(&mp, id) == NULL);
    KITH_CHECK_EQ(mp.local_max, 8);
}

KITH_TEST(our_last_path_cannot_be_abandoned_by_us)
{
    struct kith_multipath mp = started(false, 7, 7);

    KITH_CHECK_EQ(kith__multipath_abandon(&mp, 0, 0x3e), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith__multipath_abandon(&mp, 5, 0x3e), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(opened(&mp), 1);
    KITH_CHECK_EQ(kith__multipath_abandon(&mp, 0, 0x3e), 0);
    KITH_CHECK_EQ(kith__multipath_abandon(&mp, 1, 0x3e), KITH_ERR_STATE);
}

KITH_TEST(without_any_path_the_connection_ends_after_a_while)
{
    struct kith_multipath mp = started(true, 7, 7);

    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 0, 0x3e, DRAIN, 1000), KITH_ABANDON_CLOSE);
    KITH_CHECK_EQ(run(&mp, 1000 + DRAIN), 1);
    KITH_CHECK_EQ(kith__multipath_deadline(&mp), 1000 + WAIT);
    KITH_CHECK(kith__multipath_on_deadline(&mp, 999 + WAIT));
    KITH_CHECK(!kith__multipath_on_deadline(&mp, 1000 + WAIT));
}

KITH_TEST(a_new_path_in_time_saves_the_connection)
{
    struct kith_multipath mp = started(true, 7, 7);

    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 0, 0x3e, DRAIN, 0), KITH_ABANDON_CLOSE);
    kith__multipath_on_opened(&mp, 1, false);
    KITH_CHECK(kith__multipath_on_deadline(&mp, 10 * WAIT));
    kith__multipath_check(&mp);
}

KITH_TEST(path_zero_is_given_up_like_any_other)
{
    struct kith_multipath mp = started(false, 7, 7);
    struct kith_multipath_frame frame;
    enum kith_path_use use;
    const char *reason;

    kith__multipath_announce(&mp, 0);
    (void)sent(&mp, KITH_FRAME_PATH_STATUS_AVAILABLE, 0, 1);
    KITH_CHECK_EQ(opened(&mp), 1);
    KITH_CHECK_EQ(kith__multipath_abandon(&mp, 0, 0x3e), 0);
    frame = sent(&mp, KITH_FRAME_PATH_ABANDON, 0, 0x3e);
    KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, 0, 0x3e, DRAIN, 0), KITH_ABANDON_ECHO);
    KITH_CHECK_EQ(kith__multipath_deadline(&mp), DRAIN);
    KITH_CHECK_EQ(kith__multipath_check_ack(&mp, 0, &use, &reason), 0);
    KITH_CHECK_EQ(use, KITH_PATH_USE);
    KITH_CHECK_EQ(run(&mp, DRAIN), 1);
    KITH_CHECK_EQ(kith__multipath_check_ack(&mp, 0, &use, &reason), 0); /* its path is freed, its PATH_ABANDON is out */
    KITH_CHECK_EQ(use, KITH_PATH_IGNORE);
    kith__multipath_on_acked(&mp, &frame, ECHO, DRAIN);
    KITH_CHECK(kith__multipath_find(&mp, 0) == NULL);
}

/* ---- Generations ---- */

KITH_TEST(a_hundred_generations_of_paths_need_no_more_memory)
{
    struct kith_multipath mp = started(false, 7, 7);
    struct kith_multipath_frame frame;
    enum kith_path_use use;
    const char *reason;
    uint64_t now_ns = 0;

    for (uint32_t i = 1; i <= 100; i++) {
        KITH_CHECK_EQ(generation(&mp, now_ns), i);
        frame = sent(&mp, KITH_FRAME_MAX_PATH_ID, 0, 7 + i);
        kith__multipath_on_acked(&mp, &frame, 0, now_ns);
        now_ns += DRAIN;
        KITH_CHECK_EQ(run(&mp, now_ns), 1);
        KITH_CHECK(kith__multipath_on_max_path_id(&mp, 7 + i)); /* the peer does the same */
        KITH_CHECK_EQ(mp.count, 8);
    }
    for (uint32_t id = 1; id <= 100; id++) {
        KITH_CHECK_EQ(kith__multipath_check_ack(&mp, id, &use, &reason), 0);
        KITH_CHECK_EQ(use, KITH_PATH_IGNORE);
    }
    KITH_CHECK_EQ(kith__multipath_check_ack(&mp, 101, &use, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
}

KITH_TEST(a_peer_that_abandons_in_a_hurry_waits_for_the_drains)
{
    struct kith_multipath mp = started(true, 7, UINT32_MAX);
    struct kith_multipath_frame frame;
    uint32_t id = 1;

    for (; kith__multipath_may_begin(&mp, id); id++) {
        kith__multipath_on_opened(&mp, id, false);
        KITH_CHECK_EQ(kith__multipath_on_abandon(&mp, id, 0, DRAIN, 0), KITH_ABANDON_CLOSE);
        kith__multipath_check(&mp);
    }
    KITH_CHECK_EQ(id, KITH_PATH_IDS_MAX); /* path 0 takes one place */
    KITH_CHECK_EQ(mp.count, KITH_PATH_IDS_MAX);
    while (kith__multipath_next(&mp, &frame)) {
        kith__multipath_on_sent(&mp, &frame);
        kith__multipath_on_acked(&mp, &frame, ECHO, 0);
    }
    KITH_CHECK_EQ(run(&mp, DRAIN), KITH_PATH_IDS_MAX - 1);
    KITH_CHECK_EQ(mp.local_max, 7 + KITH_PATH_IDS_MAX - 1); /* nothing of what was owed is forgotten */
    (void)sent(&mp, KITH_FRAME_MAX_PATH_ID, 0, mp.local_max);
    KITH_CHECK(kith__multipath_may_begin(&mp, id));
}

KITH_TEST(only_the_newest_max_path_id_is_sent_again)
{
    struct kith_multipath mp = started(false, 7, 7);
    struct kith_multipath_frame first, second;

    (void)generation(&mp, 0);
    first = sent(&mp, KITH_FRAME_MAX_PATH_ID, 0, 8);
    (void)generation(&mp, 0);
    second = sent(&mp, KITH_FRAME_MAX_PATH_ID, 0, 9);
    kith__multipath_on_lost(&mp, &first);
    check_quiet(&mp);
    kith__multipath_on_lost(&mp, &second);
    (void)sent(&mp, KITH_FRAME_MAX_PATH_ID, 0, 9);
}

/* ---- Status ---- */

KITH_TEST(our_status_is_told_from_validation_on_with_growing_numbers)
{
    struct kith_multipath mp = started(false, 7, 7);
    struct kith_multipath_frame first, second;
    uint32_t id = opened(&mp);

    KITH_CHECK_EQ(kith__multipath_set_status(&mp, id, false), 0);
    check_quiet(&mp);
    kith__multipath_announce(&mp, id);
    first = sent(&mp, KITH_FRAME_PATH_STATUS_AVAILABLE, id, 1);
    KITH_CHECK_EQ(kith__multipath_set_status(&mp, id, false), 0);
    kith__multipath_announce(&mp, id);
    check_quiet(&mp);
    KITH_CHECK_EQ(kith__multipath_set_status(&mp, id, true), 0);
    second = sent(&mp, KITH_FRAME_PATH_STATUS_BACKUP, id, 2);
    kith__multipath_on_lost(&mp, &first); /* replaced */
    check_quiet(&mp);
    kith__multipath_on_lost(&mp, &second);
    second = sent(&mp, KITH_FRAME_PATH_STATUS_BACKUP, id, 2);
    kith__multipath_on_acked(&mp, &second, 0, 0);
    kith__multipath_on_lost(&mp, &second);
    check_quiet(&mp);
    KITH_CHECK_EQ(kith__multipath_set_status(&mp, 6, true), KITH_ERR_NOT_FOUND);
}

KITH_TEST(the_status_of_a_path_given_up_is_moot)
{
    struct kith_multipath mp = started(false, 7, 7);
    struct kith_multipath_frame status;
    uint32_t id = opened(&mp);

    kith__multipath_announce(&mp, id);
    status = sent(&mp, KITH_FRAME_PATH_STATUS_BACKUP, id, 1);
    KITH_CHECK_EQ(kith__multipath_abandon(&mp, id, 0), 0);
    (void)sent(&mp, KITH_FRAME_PATH_ABANDON, id, 0);
    kith__multipath_on_lost(&mp, &status);
    check_quiet(&mp);
}

KITH_TEST(the_status_of_the_peer_counts_by_its_number)
{
    struct kith_multipath mp = started(true, 7, 7);

    KITH_CHECK(kith__multipath_on_status(&mp, 0, 2, true));
    KITH_CHECK(!kith__multipath_on_status(&mp, 0, 2, false));
    KITH_CHECK(!kith__multipath_on_status(&mp, 0, 1, false));
    KITH_CHECK(kith__multipath_find(&mp, 0)->is_peer_backup);
    KITH_CHECK(!kith__multipath_on_status(&mp, 8, 1, true)); /* unknown: no error */
    KITH_CHECK(kith__multipath_on_status(&mp, 1, 1, true));  /* it overtook the first packet of its path */
    kith__multipath_on_opened(&mp, 1, false);
    KITH_CHECK(kith__multipath_find(&mp, 1)->is_peer_backup);
    KITH_CHECK_EQ(mp.ignored, 3);
}

/* ---- The frames themselves (spec/01, 4.2) ---- */

KITH_TEST(path_frames_are_written_as_the_real_peer_writes_them)
{
    static const struct {
        struct kith_multipath_frame frame;
        uint8_t bytes[8];
        size_t size;
    } cases[] = {
        { { KITH_FRAME_PATH_STATUS_AVAILABLE, 0, 2 }, { 0x7e, 0x77, 0, 2 }, 4 },
        { { KITH_FRAME_PATH_STATUS_BACKUP, 1, 1 }, { 0x7e, 0x76, 1, 1 }, 4 },
        { { KITH_FRAME_PATH_ABANDON, 1, 0x3e }, { 0x7e, 0x75, 1, 0x3e }, 4 },
        { { KITH_FRAME_PATH_ABANDON, 1, 0x3e76 }, { 0x7e, 0x75, 1, 0x7e, 0x76 }, 5 },
        { { KITH_FRAME_MAX_PATH_ID, 0, 8 }, { 0x7e, 0x7a, 8 }, 3 },
        { { KITH_FRAME_PATH_CIDS_BLOCKED, 1, 0 }, { 0x7e, 0x7c, 1, 0 }, 4 },
        { { KITH_FRAME_PATH_CIDS_BLOCKED, 2, 5 }, { 0x7e, 0x7c, 2, 5 }, 4 },
        { { KITH_FRAME_PATHS_BLOCKED, 0, 7 }, { 0x7e, 0x7b, 7 }, 3 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        uint8_t bytes[16];
        struct kith_writer w = kith__writer(bytes, sizeof bytes);
        struct kith_frame wire = kith__multipath_wire(&cases[i].frame);

        KITH_CHECK_EQ(kith__frame_write(&w, &wire), 0);
        KITH_CHECK_EQ(kith__writer_size(&w), cases[i].size);
        KITH_CHECK_BYTES(bytes, cases[i].bytes, cases[i].size);
    }
}

struct chaos {
    struct kith_multipath mp;
    struct kith_multipath_frame frames[8]; /* some that were sent */
    uint64_t now_ns;
    size_t frame_count;
};

/** Something that we or the peer do. */
static void disturb(struct chaos *chaos, uint64_t r)
{
    struct kith_multipath *mp = &chaos->mp;
    struct kith_multipath_frame *frame = &chaos->frames[(r >> 40) % 8];
    uint32_t id = (uint32_t)(r >> 8) % (mp->local_max + 3);
    enum kith_path_use use;
    const char *reason;
    int result = 0;

    switch (r % 9) {
    case 0:
        (void)kith__multipath_on_abandon(mp, id, 0, DRAIN, chaos->now_ns);
        break;
    case 1:
        result = kith__multipath_abandon(mp, id, 0x3e);
        break;
    case 2:
        if (kith__multipath_may_begin(mp, id) || (!mp->is_server && kith__multipath_next_id(mp, &id) == 0))
            kith__multipath_on_opened(mp, id, (r >> 20 & 1) != 0);
        break;
    case 3:
        kith__multipath_announce(mp, id);
        break;
    case 4:
        result = kith__multipath_set_status(mp, id, (r >> 20 & 1) != 0);
        break;
    case 5:
        (void)kith__multipath_on_max_path_id(mp, id);
        break;
    case 6:
        kith__multipath_on_cids_missing(mp, id, (r >> 20) % 3);
        (void)kith__multipath_on_status(mp, id, (r >> 20) % 9, true);
        result = kith__multipath_check_ack(mp, id, &use, &reason);
        break;
    case 7:
        if (frame->type != 0 && (r >> 20 & 1) != 0)
            kith__multipath_on_lost(mp, frame);
        else if (frame->type != 0)
            kith__multipath_on_acked(mp, frame, ECHO, chaos->now_ns);
        break;
    case 8:
        if (kith__multipath_next(mp, frame)) {
            kith__multipath_on_sent(mp, frame);
            chaos->frame_count++;
        }
        break;
    }
    (void)result; /* any answer is fine, as long as the invariants hold */
}

KITH_TEST(path_ids_hold_their_invariants_whatever_a_peer_does)
{
    uint64_t seed = kith__test_seed(4);

    for (unsigned round = 0; round < 200; round++) {
        struct chaos chaos = { .mp = started(round % 2 == 0, round % KITH_PATHS_MAX, round % 9) };

        for (int step = 0; step < 200; step++) {
            uint64_t r = kith__test_random(&seed);
            uint32_t id;

            chaos.now_ns += (r >> 48) % 30;
            disturb(&chaos, r);
            kith__multipath_check(&chaos.mp);
            if (kith__multipath_on_deadline(&chaos.mp, chaos.now_ns) && (r >> 60) == 0)
                (void)kith__multipath_take_gone(&chaos.mp, &id);
            kith__multipath_check(&chaos.mp);
        }
        KITH_CHECK(chaos.frame_count > 0);
    }
}
