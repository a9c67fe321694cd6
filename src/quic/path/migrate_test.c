#include "quic/path/migrate.h"

#include "base/test.h"

#define MS(n) ((uint64_t)(n)*KITH_NS_PER_MS)
enum { DATA = KITH_SENT_ELICITING | KITH_SENT_COUNTED };

static struct kith_tuple tuple(uint8_t ip, uint16_t port)
{
    return (struct kith_tuple) { .remote = { .ip = { 10, 0, 0, ip }, .port = port, .family = KITH_FAMILY_V4 } };
}

static void start(struct kith_path *path, bool is_server, const struct kith_mem *mem)
{
    struct kith_path_options options = { .is_server = is_server,
                                         .pacing = true,
                                         .mtu_discovery = true,
                                         .udp_size_initial = 1200,
                                         .udp_size_max = 1452,
                                         .initial_rtt_ns = MS(333) };
    struct kith_tuple first = tuple(1, 1);

    kith__path_init(path, 0, &options, &first, 0, mem, 0);
    kith__path_start(path, false, 0);
    kith__path_on_proved(path, 0);
    for (int i = 0; i < 50; i++)
        kith__rtt_on_sample(&path->now.rtt, MS(20), 0, 0, 1);
    path->now.mtu.size = 1452;
    path->now.cc.window = 100000;
}

static void challenge(struct kith_path *path, bool is_old, uint8_t value, bool is_padded, uint64_t now_ns)
{
    struct kith_migrate_challenge due;

    KITH_CHECK(kith__migrate_challenge_is_due(path, now_ns, &due) && due.is_old == is_old);
    kith__migrate_on_challenge_sent(path, is_old, (uint8_t[8]) { value }, is_padded, 0, now_ns);
}

KITH_TEST(migrate_judges_who_may_move_a_path)
{
    static const struct {
        const char *what;
        bool is_server, probing, confirmed, any_moves;
        uint8_t ip;
        uint64_t number; /* 10 is the next */
        enum kith_migrate_verdict verdict;
    } cases[] = {
        { "same address", true, false, true, false, 1, 10, KITH_MIGRATE_STAY },
        { "same address, not confirmed", true, false, false, false, 1, 10, KITH_MIGRATE_STAY },
        { "new address", true, false, true, false, 2, 10, KITH_MIGRATE_FOLLOW },
        { "not confirmed", true, false, false, false, 2, 10, KITH_MIGRATE_DROP },
        { "only probing frames", true, true, true, false, 2, 10, KITH_MIGRATE_STAY },
        { "probing frames, multipath", true, true, true, true, 2, 10, KITH_MIGRATE_FOLLOW },
        { "reordered", true, false, true, false, 2, 9, KITH_MIGRATE_STAY },
        { "server moves", false, false, true, false, 2, 10, KITH_MIGRATE_DROP },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_path path;
        struct kith_migrate_packet packet = { .tuple = tuple(cases[i].ip, 1),
                                              .number = cases[i].number,
                                              .received_end = 10,
                                              .is_probing_only = cases[i].probing,
                                              .is_confirmed = cases[i].confirmed,
                                              .any_packet_moves = cases[i].any_moves };

        start(&path, cases[i].is_server, kith_mem_default());
        if (kith__migrate_judge(&path, &packet) != cases[i].verdict)
            fail_msg("%s", cases[i].what);
        kith__path_dispose(&path);
    }
}

KITH_TEST(migrate_new_ip_starts_over_and_is_limited_until_proved)
{
    struct kith_path path;
    struct kith_tuple to = tuple(2, 5);

    start(&path, true, kith_mem_default());
    KITH_CHECK_EQ(kith__migrate_follow(&path, &to, 100, false, MS(25), MS(1000)), 0);
    KITH_CHECK(path.state == KITH_PATH_PROBING && kith__path_allowance(&path) == 300);
    KITH_CHECK(path.now.cc.window == 12000 && path.now.mtu.size == 1200 && !kith__rtt_has_sample(&path.now.rtt));
    challenge(&path, false, 1, false, MS(1000));
    challenge(&path, true, 2, true, MS(1000)); /* the old address as well */
    KITH_CHECK_EQ(kith__migrate_on_response(&path, &to, (uint8_t[8]) { 2 }, MS(1010)), KITH_MIGRATE_OLD_ALIVE);
    KITH_CHECK_EQ(path.state, KITH_PATH_PROBING);
    KITH_CHECK_EQ(kith__migrate_on_response(&path, &to, (uint8_t[8]) { 1 }, MS(1030)), KITH_MIGRATE_PROVED);
    KITH_CHECK(path.state == KITH_PATH_OPEN && path.previous == NULL && path.now.rtt.smoothed_ns == MS(30));
    KITH_CHECK(!path.is_size_proved);
    challenge(&path, false, 3, true, MS(1030)); /* once more at full size */
    KITH_CHECK_EQ(kith__migrate_on_response(&path, &to, (uint8_t[8]) { 3 }, MS(1060)), KITH_MIGRATE_PROVED);
    KITH_CHECK(path.is_size_proved && kith__migrate_deadline(&path) == KITH_NEVER);
    kith__path_check(&path);
    kith__path_dispose(&path);
}

KITH_TEST(migrate_new_port_keeps_congestion_and_round_trip)
{
    struct kith_path path;
    struct kith_tuple to = tuple(1, 2);

    start(&path, true, kith_mem_default());
    KITH_CHECK_EQ(kith__migrate_follow(&path, &to, 100, false, MS(25), MS(1000)), 0);
    KITH_CHECK(path.now.cc.window == 100000 && path.now.rtt.min_ns == MS(20) && path.now.mtu.size == 1200);
    kith__path_dispose(&path);
}

KITH_TEST(migrate_falls_back_when_the_new_address_does_not_answer)
{
    struct kith_path path;
    struct kith_tuple to = tuple(2, 5), first = tuple(1, 1);
    uint64_t number, give_up_ns;

    start(&path, true, kith_mem_default());
    KITH_CHECK_EQ(kith__sent_begin(&path.sent, &number), 0);
    kith__path_stamp(&path, kith__sent_building(&path.sent));
    kith__sent_commit(&path.sent, 1200, DATA, 1);
    kith__path_on_sent(&path, 1200, DATA, 1);
    KITH_CHECK_EQ(kith__migrate_follow(&path, &to, 100, false, MS(25), MS(1000)), 0);
    KITH_CHECK_EQ(path.now.in_flight_size, 0); /* counts for the old 4-tuple */
    give_up_ns = path.prove.give_up_ns;
    KITH_CHECK_EQ(give_up_ns, MS(1000) + 3 * (MS(333) + 4 * (MS(333) / 2) + MS(25)));
    KITH_CHECK_EQ(kith__migrate_on_deadline(&path, give_up_ns - 1), KITH_MIGRATE_NOTHING);
    KITH_CHECK_EQ(kith__migrate_on_deadline(&path, give_up_ns), KITH_MIGRATE_WENT_BACK);
    KITH_CHECK(kith__tuple_equal(&path.tuple, &first) && path.state == KITH_PATH_OPEN);
    KITH_CHECK(path.now.cc.window == 100000 && path.now.mtu.size == 1452 && path.now.in_flight_size == 1200);
    kith__path_check(&path);
    kith__path_dispose(&path);
}

KITH_TEST(migrate_twice_keeps_the_last_proved_address)
{
    struct kith_path path;
    struct kith_tuple second = tuple(2, 5), third = tuple(3, 5), first = tuple(1, 1);

    start(&path, true, kith_mem_default());
    KITH_CHECK_EQ(kith__migrate_follow(&path, &second, 100, false, MS(25), MS(1000)), 0);
    KITH_CHECK_EQ(kith__migrate_follow(&path, &third, 50, false, MS(25), MS(1100)), 0);
    KITH_CHECK(kith__tuple_equal(&path.previous->tuple, &first) && kith__path_allowance(&path) == 150);
    KITH_CHECK_EQ(kith__migrate_follow(&path, &first, 100, false, MS(25), MS(1200)), 0); /* and home again */
    KITH_CHECK(path.state == KITH_PATH_OPEN && path.previous == NULL && path.now.cc.window == 100000);
    KITH_CHECK_EQ(path.migrations, 3);
    kith__path_dispose(&path);
}

KITH_TEST(migrate_without_memory_changes_nothing)
{
    struct kith_test_mem mem;
    struct kith_path path;
    struct kith_tuple to = tuple(2, 5), first = tuple(1, 1);

    kith__test_mem_init(&mem, 1);
    start(&path, true, &mem.mem);
    KITH_CHECK_EQ(kith__migrate_follow(&path, &to, 100, false, MS(25), MS(1000)), KITH_ERR_NOMEM);
    KITH_CHECK(kith__tuple_equal(&path.tuple, &first) && path.state == KITH_PATH_OPEN);
    KITH_CHECK_EQ(kith__migrate_follow(&path, &to, 100, true, MS(25), MS(1000)),
                  0); /* proved by another path: keeps nothing */
    KITH_CHECK(path.state == KITH_PATH_OPEN && path.previous == NULL);
    kith__path_dispose(&path);
    KITH_CHECK_EQ(mem.live, 0);
}

KITH_TEST(migrate_of_the_client_needs_a_fresh_id)
{
    struct kith_path path;
    struct kith_sockaddr local = { .ip = { 192, 168, 0, 9 }, .port = 77, .family = KITH_FAMILY_V4 };
    struct kith_cid_issue issue = { .sequence = 1, .cid = { .bytes = { 1 }, .size = 8 } };
    struct kith_cid first = { .bytes = { 9 }, .size = 8 };
    bool changed;

    start(&path, false, kith_mem_default());
    kith__cid_theirs_set_first(&path.cids_theirs, &first);
    KITH_CHECK_EQ(kith__migrate_local(&path, &local, MS(25), MS(1000)), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith__cid_theirs_on_issue(&path.cids_theirs, &issue, &changed), 0);
    KITH_CHECK_EQ(kith__migrate_local(&path, &local, MS(25), MS(1000)), 0);
    KITH_CHECK(path.state == KITH_PATH_OPEN && kith_sockaddr_equal(&path.tuple.local, &local));
    KITH_CHECK_EQ(kith__cid_theirs_active_sequence(&path.cids_theirs), 1);
    KITH_CHECK_EQ(kith__migrate_on_deadline(&path, path.prove.give_up_ns), KITH_MIGRATE_WENT_BACK);
    KITH_CHECK_EQ(path.tuple.local.family, KITH_FAMILY_NONE);
    kith__path_dispose(&path);
}
