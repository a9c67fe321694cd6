/* Rounds: probes, answers, proved addresses. */
#include "quic/path/punch.h"

#include "base/test.h"

#include <string.h>

#define MS KITH_NS_PER_MS

enum { START = 7 };

/** 10.0.0.`host`:4000. */
static struct kith_sockaddr numbered(unsigned host)
{
    return (struct kith_sockaddr) { .ip = { 10, 0, (uint8_t)(host >> 8), (uint8_t)host },
                                    .port = 4000,
                                    .family = KITH_FAMILY_V4 };
}

static struct kith_sockaddr v6(uint8_t host)
{
    return (struct kith_sockaddr) { .ip = { 0x20, 1, [15] = host }, .port = 4000, .family = KITH_FAMILY_V6 };
}

/** A client with one address of its own that heard of `count` addresses 1, 2, ... */
static struct kith_punch client(unsigned count)
{
    struct kith_punch punch;
    struct kith_punch_change change;
    struct kith_sockaddr ours = numbered(200);

    kith__punch_init(&punch, false, 32, kith_mem_default());
    kith__punch_start(&punch, 32);
    KITH_CHECK_EQ(kith__punch_add_ours(&punch, &ours), 0);
    for (unsigned host = 1; host <= count; host++) {
        struct kith_sockaddr theirs = numbered(host);

        kith__punch_on_add_address(&punch, host, &theirs, &change);
    }
    return punch;
}

static struct kith_punch server(void)
{
    struct kith_punch punch;

    kith__punch_init(&punch, true, 32, kith_mem_default());
    kith__punch_start(&punch, 32);
    return punch;
}

static int reach(struct kith_punch *punch, uint64_t round, unsigned host, uint64_t now_ns)
{
    struct kith_sockaddr theirs = numbered(host);
    const char *reason = "";
    int result = kith__punch_on_reach_out(punch, round, &theirs, now_ns, &reason);

    kith__punch_check_invariants(punch);
    if (result != 0)
        KITH_CHECK_STR(reason, "Nat traversal(REACH_OUT): Tried to add too many addresses to their advertised set");
    return result;
}

/** The value of the n-th challenge. */
static const uint8_t *value(unsigned n)
{
    static uint8_t bytes[KITH_CHALLENGE_SIZE];

    memset(bytes, 0, sizeof bytes);
    bytes[0] = (uint8_t)n;
    bytes[7] = 0x55;
    return bytes;
}

/** Sends the probe that is due at `now_ns`, which must go to `host`, as challenge n. */
static void probe(struct kith_punch *punch, unsigned host, unsigned n, uint64_t now_ns)
{
    struct kith_sockaddr expected = numbered(host), to;

    KITH_CHECK(kith__punch_next_probe(punch, now_ns, &to));
    KITH_CHECK(kith_sockaddr_equal(&to, &expected));
    kith__punch_on_probe_sent(punch, &to, value(n), now_ns);
    kith__punch_check_invariants(punch);
}

static enum kith_punch_verdict answer(struct kith_punch *punch, unsigned host, unsigned n)
{
    struct kith_sockaddr remote = numbered(host), local = numbered(201);
    enum kith_punch_verdict verdict = kith__punch_on_response(punch, &remote, &local, value(n));

    kith__punch_check_invariants(punch);
    return verdict;
}

static bool has_probe(const struct kith_punch *punch, uint64_t now_ns)
{
    struct kith_sockaddr to;

    return kith__punch_next_probe(punch, now_ns, &to);
}

/* ---- The schedule ---- */

KITH_TEST(punch_probes_go_out_nine_times_with_growing_gaps)
{
    static const uint16_t times_ms[] = { 0, 33, 67, 133, 267, 533, 1067, 2133, 4133 };
    struct kith_punch punch = client(1);

    KITH_CHECK_EQ(kith__punch_deadline(&punch), KITH_NEVER);
    KITH_CHECK_EQ(kith__punch_start_round(&punch, START), 0);
    for (unsigned i = 0; i < KITH_COUNT(times_ms); i++) {
        uint64_t now_ns = START + times_ms[i] * MS;

        KITH_CHECK_EQ(kith__punch_deadline(&punch), now_ns);
        KITH_CHECK(!has_probe(&punch, now_ns - 1));
        probe(&punch, 1, i, now_ns);
        KITH_CHECK(!has_probe(&punch, now_ns));
    }
    KITH_CHECK_EQ(kith__punch_deadline(&punch), START + (4133 + KITH_PUNCH_LINGER_MS) * MS);
    KITH_CHECK_EQ(answer(&punch, 1, 0), KITH_PUNCH_PROVED); /* the first one, after all */
    kith__punch_on_deadline(&punch, kith__punch_deadline(&punch) - 1);
    KITH_CHECK_EQ(punch.probe_count, 1);
    kith__punch_on_deadline(&punch, kith__punch_deadline(&punch));
    KITH_CHECK(punch.probes == NULL);
    KITH_CHECK_EQ(kith__punch_deadline(&punch), KITH_NEVER);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_probes_that_were_held_up_do_not_come_in_a_burst)
{
    struct kith_punch punch = client(1);

    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    probe(&punch, 1, 0, 900 * MS); /* no path could carry it before */
    KITH_CHECK(!has_probe(&punch, 932 * MS));
    KITH_CHECK(has_probe(&punch, 933 * MS));
    kith__punch_on_deadline(&punch, UINT64_C(1) << 50); /* however late: probes that are due are not forgotten */
    KITH_CHECK_EQ(punch.probe_count, 1);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_probes_of_all_addresses_take_turns)
{
    struct kith_punch punch = client(3);

    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    for (unsigned i = 1; i <= 3; i++)
        probe(&punch, i, i, 0);
    KITH_CHECK(!has_probe(&punch, 0));
    for (unsigned i = 1; i <= 3; i++)
        probe(&punch, i, i, 33 * MS);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_address_with_two_sequences_is_probed_once)
{
    struct kith_punch punch = client(1);
    struct kith_punch_change change;
    struct kith_sockaddr theirs = numbered(1);

    kith__punch_on_add_address(&punch, 9, &theirs, &change);
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    KITH_CHECK_EQ(punch.probe_count, 1);
    probe(&punch, 1, 1, 0);
    KITH_CHECK(!has_probe(&punch, 0));
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_addresses_of_a_family_without_socket_are_passed_over)
{
    struct kith_punch punch = client(0);
    struct kith_punch_change change;
    struct kith_sockaddr theirs = v6(1), to;

    kith__punch_on_add_address(&punch, 0, &theirs, &change);
    KITH_CHECK(change.has_added);
    kith__punch_set_families(&punch, true, false);
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    KITH_CHECK(!has_probe(&punch, 0));
    KITH_CHECK_EQ(punch.dropped, 1);
    kith__punch_set_families(&punch, true, true);
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    KITH_CHECK(kith__punch_next_probe(&punch, 0, &to) && kith_sockaddr_equal(&to, &theirs));
    kith__punch_dispose(&punch);
}

/* ---- Client ---- */

KITH_TEST(punch_round_needs_agreement_and_an_address_of_ours)
{
    struct kith_punch punch;
    struct kith_sockaddr ours = numbered(1);

    kith__punch_init(&punch, false, 32, kith_mem_default());
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), KITH_ERR_UNSUPPORTED);
    kith__punch_start(&punch, 32);
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith__punch_add_ours(&punch, &ours), 0);
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    KITH_CHECK_EQ(punch.round, 1);
    kith__punch_dispose(&punch);
    punch = server();
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), KITH_ERR_UNSUPPORTED);
}

KITH_TEST(punch_round_names_our_addresses_until_they_are_acknowledged)
{
    struct kith_punch punch = client(0);
    struct kith_sockaddr more = numbered(202);
    struct kith_punch_frame first, second, frame;

    KITH_CHECK(!kith__punch_next(&punch, &frame));
    KITH_CHECK_EQ(kith__punch_add_ours(&punch, &more), 0);
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    KITH_CHECK(kith__punch_next(&punch, &first));
    KITH_CHECK_EQ(first.kind, KITH_KIND_REACH_OUT);
    KITH_CHECK_EQ(first.value, 1);
    kith__punch_on_sent(&punch, &first);
    KITH_CHECK(kith__punch_next(&punch, &second) && kith_sockaddr_equal(&second.address, &more));
    kith__punch_on_sent(&punch, &second);
    KITH_CHECK(!kith__punch_next(&punch, &frame));
    kith__punch_on_acked(&punch, &first);
    kith__punch_on_lost(&punch, &second);
    KITH_CHECK(kith__punch_next(&punch, &frame) && frame.id == second.id);
    kith__punch_on_sent(&punch, &frame);
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    KITH_CHECK(kith__punch_next(&punch, &frame) && frame.value == 2 && frame.id == first.id);
    kith__punch_on_sent(&punch, &frame);
    kith__punch_on_acked(&punch, &second); /* of the round before: says nothing */
    KITH_CHECK(kith__punch_next(&punch, &frame) && frame.value == 2 && frame.id == second.id);
    KITH_CHECK_EQ(kith__punch_remove_ours(&punch, &more), 0);
    KITH_CHECK(!kith__punch_next(&punch, &frame));
    kith__punch_on_lost(&punch, &frame);
    KITH_CHECK(!kith__punch_next(&punch, &frame));
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_round_names_no_more_addresses_than_the_server_takes)
{
    struct kith_punch punch;
    struct kith_punch_frame frame;
    unsigned named = 0;

    kith__punch_init(&punch, false, 32, kith_mem_default());
    kith__punch_start(&punch, 3);
    for (unsigned host = 0; host < 5; host++) {
        struct kith_sockaddr ours = numbered(host);

        KITH_CHECK_EQ(kith__punch_add_ours(&punch, &ours), 0);
    }
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    for (; kith__punch_next(&punch, &frame); named++)
        kith__punch_on_sent(&punch, &frame);
    KITH_CHECK_EQ(named, 3);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_proved_address_waits_for_its_path)
{
    struct kith_punch punch = client(2);
    struct kith_sockaddr remote = numbered(1), local = numbered(201);
    struct kith_punch_ready ready;

    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    probe(&punch, 1, 1, 0);
    probe(&punch, 2, 2, 0);
    KITH_CHECK(!kith__punch_next_ready(&punch, &ready));
    KITH_CHECK_EQ(answer(&punch, 2, 1), KITH_PUNCH_NOT_OURS); /* the right value from another address */
    KITH_CHECK_EQ(answer(&punch, 3, 1), KITH_PUNCH_NOT_OURS);
    KITH_CHECK_EQ(answer(&punch, 1, 9), KITH_PUNCH_NOT_OURS);
    KITH_CHECK_EQ(answer(&punch, 1, 1), KITH_PUNCH_PROVED);
    KITH_CHECK_EQ(answer(&punch, 1, 1), KITH_PUNCH_NOT_OURS); /* a repetition */
    KITH_CHECK(kith__punch_next_ready(&punch, &ready));
    KITH_CHECK(kith_sockaddr_equal(&ready.remote, &remote) && kith_sockaddr_equal(&ready.local, &local));
    KITH_CHECK(kith__punch_next_ready(&punch, &ready)); /* until a path id is there */
    probe(&punch, 2, 3, 33 * MS);
    KITH_CHECK(!has_probe(&punch, 33 * MS)); /* the proved one is left in peace */
    kith__punch_take_ready(&punch, &remote);
    kith__punch_take_ready(&punch, &remote);
    KITH_CHECK(!kith__punch_next_ready(&punch, &ready));
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_new_round_forgets_the_values_of_the_old_one)
{
    struct kith_punch punch = client(2);
    struct kith_punch_ready ready;

    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    probe(&punch, 1, 1, 0);
    probe(&punch, 2, 2, 0);
    KITH_CHECK_EQ(answer(&punch, 2, 2), KITH_PUNCH_PROVED);
    KITH_CHECK_EQ(kith__punch_start_round(&punch, 10 * MS), 0);
    KITH_CHECK(!kith__punch_next_ready(&punch, &ready));
    KITH_CHECK_EQ(answer(&punch, 1, 1), KITH_PUNCH_NOT_OURS);
    probe(&punch, 1, 3, 10 * MS);
    probe(&punch, 2, 4, 10 * MS); /* proved before, but the network may be another one now */
    KITH_CHECK_EQ(answer(&punch, 1, 3), KITH_PUNCH_PROVED);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_removed_address_of_the_server_is_probed_no_more)
{
    struct kith_punch punch = client(2);
    struct kith_punch_change change;
    struct kith_punch_ready ready;

    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    probe(&punch, 1, 1, 0);
    probe(&punch, 2, 2, 0);
    KITH_CHECK_EQ(answer(&punch, 2, 2), KITH_PUNCH_PROVED);
    kith__punch_on_remove_address(&punch, 1, &change);
    kith__punch_on_remove_address(&punch, 2, &change);
    KITH_CHECK(!has_probe(&punch, 1000 * MS));
    KITH_CHECK_EQ(answer(&punch, 1, 1), KITH_PUNCH_NOT_OURS);
    KITH_CHECK(!kith__punch_next_ready(&punch, &ready));
    KITH_CHECK(punch.probes == NULL && punch.theirs == NULL && punch.ready == NULL);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_address_that_nobody_advertised_is_proved_by_challenging_back)
{
    struct kith_punch punch = client(1);
    struct kith_sockaddr seen = numbered(77);
    struct kith_punch_ready ready;

    KITH_CHECK(kith__punch_wants_challenge(&punch, &seen));
    kith__punch_on_answer_challenged(&punch, &seen, value(1), 0);
    KITH_CHECK(!has_probe(&punch, 1000 * MS)); /* only with answers */
    KITH_CHECK(kith__punch_wants_challenge(&punch, &seen));
    kith__punch_on_answer_challenged(&punch, &seen, value(2), 0);
    KITH_CHECK_EQ(answer(&punch, 77, 1), KITH_PUNCH_PROVED);
    KITH_CHECK(!kith__punch_wants_challenge(&punch, &seen));
    KITH_CHECK(kith__punch_next_ready(&punch, &ready) && kith_sockaddr_equal(&ready.remote, &seen));
    KITH_CHECK_EQ(kith__punch_deadline(&punch), KITH_PUNCH_LINGER_MS * MS);
    kith__punch_on_deadline(&punch, KITH_PUNCH_LINGER_MS * MS);
    KITH_CHECK(punch.probes == NULL);
    KITH_CHECK(kith__punch_next_ready(&punch, &ready)); /* that stays */
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_advertised_address_takes_the_value_of_an_answer_as_well)
{
    struct kith_punch punch = client(1);
    struct kith_sockaddr theirs = numbered(1);

    KITH_CHECK_EQ(kith__punch_start_round(&punch, 0), 0);
    probe(&punch, 1, 1, 0);
    kith__punch_on_answer_challenged(&punch, &theirs, value(2), 5 * MS);
    probe(&punch, 1, 3, 33 * MS); /* the schedule is not disturbed */
    for (uint64_t now_ns = 0; has_probe(&punch, now_ns += 5000 * MS);)
        probe(&punch, 1, 4, now_ns);
    kith__punch_on_answer_challenged(&punch, &theirs, value(2), 90000 * MS);
    KITH_CHECK_EQ(kith__punch_deadline(&punch), (90000 + KITH_PUNCH_LINGER_MS) * MS);
    KITH_CHECK_EQ(answer(&punch, 1, 2), KITH_PUNCH_PROVED);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_seen_addresses_and_values_are_bounded)
{
    struct kith_punch punch = client(0);

    for (unsigned host = 0; host < KITH_PUNCH_SEEN_MAX + 2; host++) {
        struct kith_sockaddr seen = numbered(host);

        kith__punch_on_answer_challenged(&punch, &seen, value(host), 0);
        kith__punch_check_invariants(&punch);
    }
    KITH_CHECK_EQ(punch.probe_count, KITH_PUNCH_SEEN_MAX);
    KITH_CHECK_EQ(punch.dropped, 2);
    KITH_CHECK_EQ(answer(&punch, 0, 0), KITH_PUNCH_NOT_OURS); /* the oldest went */
    KITH_CHECK_EQ(answer(&punch, 1, 1), KITH_PUNCH_NOT_OURS);
    KITH_CHECK_EQ(answer(&punch, 2, 2), KITH_PUNCH_PROVED);
    for (unsigned i = 0; i < KITH_PUNCH_VALUES_MAX; i++) {
        struct kith_sockaddr seen = numbered(3);

        kith__punch_on_answer_challenged(&punch, &seen, value(100 + i), 0);
    }
    KITH_CHECK_EQ(answer(&punch, 3, 3), KITH_PUNCH_NOT_OURS);
    KITH_CHECK_EQ(answer(&punch, 3, 100), KITH_PUNCH_PROVED);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_addresses_that_wait_for_a_path_are_bounded)
{
    struct kith_punch punch = client(0);
    struct kith_sockaddr third = numbered(2);
    struct kith_punch_ready ready;

    for (unsigned host = 0; host < KITH_PUNCH_READY_MAX + 2; host++) {
        struct kith_sockaddr seen = numbered(host);

        kith__punch_on_answer_challenged(&punch, &seen, value(host), 0);
        KITH_CHECK_EQ(answer(&punch, host, host), KITH_PUNCH_PROVED);
    }
    KITH_CHECK_EQ(punch.ready_count, KITH_PUNCH_READY_MAX);
    KITH_CHECK(kith__punch_next_ready(&punch, &ready) && kith_sockaddr_equal(&ready.remote, &third));
    kith__punch_dispose(&punch);
}

/* ---- Server ---- */

KITH_TEST(punch_server_probes_what_the_client_names)
{
    struct kith_punch punch = server();
    struct kith_punch_ready ready;

    KITH_CHECK_EQ(reach(&punch, 1, 1, 0), 0);
    KITH_CHECK_EQ(reach(&punch, 1, 2, 10 * MS), 0);
    probe(&punch, 1, 1, 10 * MS);
    probe(&punch, 2, 2, 10 * MS);
    KITH_CHECK_EQ(reach(&punch, 1, 1, 20 * MS), 0); /* a copy does not start anew */
    KITH_CHECK(!has_probe(&punch, 20 * MS));
    KITH_CHECK_EQ(answer(&punch, 1, 1), KITH_PUNCH_PROVED);
    KITH_CHECK(!kith__punch_next_ready(&punch, &ready)); /* the client opens the path */
    KITH_CHECK_EQ(reach(&punch, 1, 1, 30 * MS), 0);
    probe(&punch, 2, 3, 100 * MS);
    KITH_CHECK(!has_probe(&punch, 100 * MS));
    KITH_CHECK_EQ(punch.ignored, 2);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_server_follows_the_newest_round)
{
    struct kith_punch punch = server();

    KITH_CHECK_EQ(reach(&punch, 5, 1, 0), 0);
    probe(&punch, 1, 1, 0);
    KITH_CHECK_EQ(reach(&punch, 4, 2, 0), 0); /* late */
    KITH_CHECK(!has_probe(&punch, 0));
    KITH_CHECK_EQ(reach(&punch, 6, 2, 1 * MS), 0);
    probe(&punch, 2, 2, 1 * MS);
    KITH_CHECK_EQ(punch.probe_count, 1);
    KITH_CHECK_EQ(answer(&punch, 1, 1), KITH_PUNCH_NOT_OURS);
    KITH_CHECK_EQ(reach(&punch, 6, 1, 2 * MS), 0);
    probe(&punch, 1, 3, 2 * MS);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_server_refuses_more_addresses_than_it_promised)
{
    struct kith_punch punch = server();

    for (unsigned host = 0; host < 32; host++)
        KITH_CHECK_EQ(reach(&punch, 1, host, 0), 0);
    KITH_CHECK_EQ(reach(&punch, 1, 5, 0), 0); /* one that it has */
    KITH_CHECK_EQ(reach(&punch, 1, 32, 0), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(reach(&punch, 2, 32, 0), 0);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_server_cannot_be_made_to_flood_others)
{
    struct kith_punch punch = server();
    uint64_t probes = 0;

    for (uint64_t round = 1; round <= 100; round++)
        for (unsigned host = 0; host < 32; host++) {
            KITH_CHECK_EQ(reach(&punch, round, host, 0), 0);
            probes += has_probe(&punch, 0);
            while (has_probe(&punch, 0))
                probe(&punch, host, 0, 0);
        }
    KITH_CHECK_EQ(probes, KITH_PUNCH_STARTS_MAX);
    KITH_CHECK_EQ(punch.dropped, 3200 - KITH_PUNCH_STARTS_MAX);
    KITH_CHECK_EQ(reach(&punch, 101, 1, 1000 * MS), 0); /* a second later there are some again */
    KITH_CHECK(has_probe(&punch, 1000 * MS));
    for (unsigned host = 2; host < 32; host++)
        KITH_CHECK_EQ(reach(&punch, 101, host, 1000 * MS), 0);
    for (unsigned host = 0; host < 32; host++)
        KITH_CHECK_EQ(reach(&punch, 102, host, 1000 * MS), 0);
    KITH_CHECK_EQ(reach(&punch, 103, 1, 1000 * MS), 0);
    KITH_CHECK_EQ(reach(&punch, 103, 2, 1000 * MS), 0);
    probe(&punch, 1, 0, 1000 * MS); /* the 64th of this second */
    KITH_CHECK(!has_probe(&punch, 1000 * MS));
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_server_does_not_send_to_addresses_of_no_host)
{
    struct kith_punch punch = server();
    struct kith_sockaddr group = { .ip = { 224, 0, 0, 1 }, .port = 1, .family = KITH_FAMILY_V4 };
    const char *reason;

    KITH_CHECK_EQ(kith__punch_on_reach_out(&punch, 1, &group, 0, &reason), 0);
    KITH_CHECK(!has_probe(&punch, 0));
    KITH_CHECK_EQ(punch.dropped, 1);
    KITH_CHECK(!kith__punch_wants_challenge(&punch, &group)); /* a server opens no paths */
    kith__punch_on_deadline(&punch, kith__punch_deadline(&punch));
    KITH_CHECK(punch.probes == NULL); /* it was named, but that is forgotten as well */
    kith__punch_dispose(&punch);
}

/* ---- Memory ---- */

/** A whole round at a client, whatever fails. */
static int play(struct kith_punch *punch)
{
    struct kith_sockaddr ours = numbered(200), seen = numbered(77);
    struct kith_punch_change change;
    struct kith_punch_ready ready;
    struct kith_sockaddr to;
    int err = kith__punch_add_ours(punch, &ours);

    for (unsigned host = 1; host <= 6; host++) {
        struct kith_sockaddr theirs = numbered(host);

        kith__punch_on_add_address(punch, host, &theirs, &change);
    }
    if (err != 0)
        return err;
    for (int round = 0; round < 2; round++) {
        if ((err = kith__punch_start_round(punch, 0)) != 0)
            return err;
        while (kith__punch_next_probe(punch, 0, &to)) {
            kith__punch_on_probe_sent(punch, &to, value(1), 0);
            (void)kith__punch_on_response(punch, &to, &ours, value(1));
        }
        kith__punch_on_answer_challenged(punch, &seen, value(2), 0);
        kith__punch_check_invariants(punch);
    }
    while (kith__punch_next_ready(punch, &ready))
        kith__punch_take_ready(punch, &ready.remote);
    return 0;
}

KITH_TEST(punch_rounds_survive_any_failing_allocation)
{
    for (uint64_t fail_at = 1;; fail_at++) {
        struct kith_test_mem memory;
        struct kith_punch punch;
        int err;

        kith__test_mem_init(&memory, fail_at);
        kith__punch_init(&punch, false, 32, &memory.mem);
        kith__punch_start(&punch, 32);
        err = play(&punch);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        kith__punch_check_invariants(&punch);
        kith__punch_dispose(&punch);
        KITH_CHECK_EQ(memory.live, 0);
        if (memory.calls < fail_at)
            break;
    }
}

KITH_TEST(punch_server_without_memory_leaves_addresses_aside)
{
    struct kith_test_mem memory;
    struct kith_punch punch;

    kith__test_mem_init(&memory, 1);
    kith__punch_init(&punch, true, 32, &memory.mem);
    kith__punch_start(&punch, 32);
    KITH_CHECK_EQ(reach(&punch, 1, 1, 0), 0);
    KITH_CHECK_EQ(punch.dropped, 1);
    KITH_CHECK_EQ(reach(&punch, 1, 1, 0), 0); /* the next copy finds memory */
    probe(&punch, 1, 1, 0);
    kith__punch_dispose(&punch);
    KITH_CHECK_EQ(memory.live, 0);
}
