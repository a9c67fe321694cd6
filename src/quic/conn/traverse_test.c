/* NAT traversal and address discovery between two hosts. See pair.h for the ways. */
#include "quic/conn/rules.h"

static struct kith_pair pair_t;
static struct kith_app app_t;

static void start(size_t ways, uint8_t observed_client, uint8_t observed_server)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.more_count = ways - 1;
    for (size_t i = 0; i < ways - 1; i++)
        config.more[i] = config.link;
    for (int i = 0; i < 2; i++) {
        config.transport[i].paths_max = 8;
        config.transport[i].nat_traversal_max = 32;
        config.transport[i].observed_address = i == 0 ? observed_client : observed_server;
    }
    rules_connect(&pair_t, &app_t, &config);
}

static struct kith_quic_conn *conn_of(int side)
{
    return pair_t.sides[side].conn;
}

static size_t paths_of(int side, struct kith_quic_path_info infos[KITH_PATH_IDS_MAX])
{
    return kith_quic_conn_paths(conn_of(side), infos, KITH_PATH_IDS_MAX);
}

KITH_TEST(traverse_a_round_turns_the_candidates_that_answer_into_backup_paths)
{
    struct kith_sockaddr first, second, seen[4];
    struct kith_quic_path_info infos[KITH_PATH_IDS_MAX];

    start(3, 0, 0);
    pair_t.config.more[1].blocked[0] = true; /* nobody gets to the second candidate */
    first = kith__pair_server(&pair_t, 1);
    second = kith__pair_server(&pair_t, 2);
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(conn_of(1), &first, pair_t.now_ns), 0);
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(conn_of(1), &first, pair_t.now_ns), KITH_ERR_EXISTS);
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(conn_of(1), &second, pair_t.now_ns), 0);
    kith__pair_run(&pair_t, 100 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(pair_t.sides[0].seen[KITH_QUIC_CANDIDATE_ADDED], 2);
    KITH_CHECK(kith_sockaddr_equal(&pair_t.sides[0].last[KITH_QUIC_CANDIDATE_ADDED].address, &second));
    KITH_CHECK_EQ(kith_quic_conn_candidates(conn_of(0), seen, 4), 2);
    KITH_CHECK(kith_sockaddr_equal(&seen[0], &first) && kith_sockaddr_equal(&seen[1], &second));
    KITH_CHECK_EQ(kith_quic_conn_punch(conn_of(0), pair_t.now_ns), KITH_ERR_STATE); /* no candidate of ours */
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(conn_of(0), &pair_t.sides[0].outer, pair_t.now_ns), 0);
    KITH_CHECK_EQ(kith_quic_conn_punch(conn_of(0), pair_t.now_ns), 0);
    KITH_CHECK_EQ(kith_quic_conn_punch(conn_of(1), pair_t.now_ns), KITH_ERR_UNSUPPORTED);
    kith__pair_run(&pair_t, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_t.sides[0].seen[KITH_QUIC_PATH_VALIDATED], 1);
    KITH_CHECK_EQ(paths_of(0, infos), 2);
    KITH_CHECK(infos[1].is_validated && infos[1].is_backup && kith_sockaddr_equal(&infos[1].remote, &first));
    KITH_CHECK_EQ(paths_of(1, infos), 2);
    KITH_CHECK(infos[1].is_validated && infos[1].is_peer_backup);
    /* Nine probes that nobody got did the path that lent its ids no harm. */
    KITH_CHECK_EQ(infos[0].packets_lost, 0);
    paths_of(0, infos);
    KITH_CHECK_EQ(infos[0].packets_lost + infos[0].congestion_events + infos[0].probe_timeouts, 0);
    kith__pair_dispose(&pair_t);
}

KITH_TEST(traverse_candidates_can_be_taken_back)
{
    struct kith_sockaddr first, seen;

    start(2, 0, 0);
    first = kith__pair_server(&pair_t, 1);
    KITH_CHECK_EQ(kith_quic_conn_remove_candidate(conn_of(1), &first, pair_t.now_ns), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(conn_of(1), &first, pair_t.now_ns), 0);
    kith__pair_run(&pair_t, 100 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith_quic_conn_remove_candidate(conn_of(1), &first, pair_t.now_ns), 0);
    kith__pair_run(&pair_t, 100 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(pair_t.sides[0].seen[KITH_QUIC_CANDIDATE_ADDED], 1);
    KITH_CHECK_EQ(pair_t.sides[0].seen[KITH_QUIC_CANDIDATE_REMOVED], 1);
    KITH_CHECK(kith_sockaddr_equal(&pair_t.sides[0].last[KITH_QUIC_CANDIDATE_REMOVED].address, &first));
    KITH_CHECK_EQ(pair_t.sides[1].seen[KITH_QUIC_CANDIDATE_ADDED], 0);
    KITH_CHECK_EQ(kith_quic_conn_candidates(conn_of(0), &seen, 1), 0);
    kith__pair_dispose(&pair_t);
}

KITH_TEST(traverse_needs_multipath_on_both_sides)
{
    struct kith_pair_config config;

    for (int side = 0; side < 2; side++) {
        kith__pair_defaults(&config);
        for (int i = 0; i < 2; i++) {
            config.transport[i].paths_max = i == side ? 0 : 8;
            config.transport[i].nat_traversal_max = 32;
        }
        rules_connect(&pair_t, &app_t, &config);
        KITH_CHECK(!conn_of(0)->has_nat_traversal && !conn_of(1)->has_nat_traversal);
        KITH_CHECK_EQ(kith_quic_conn_add_candidate(conn_of(0), &pair_t.sides[0].outer, pair_t.now_ns), 0);
        KITH_CHECK_EQ(kith_quic_conn_punch(conn_of(0), pair_t.now_ns), KITH_ERR_UNSUPPORTED);
        kith__pair_dispose(&pair_t);
    }
}

KITH_TEST(traverse_rounds_outlive_lost_frames)
{
    struct kith_sockaddr first;
    struct kith_quic_path_info infos[KITH_PATH_IDS_MAX];

    start(2, 0, 0);
    pair_t.config.link.loss_permille = 300;
    pair_t.config.more[0].loss_permille = 300;
    first = kith__pair_server(&pair_t, 1);
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(conn_of(1), &first, pair_t.now_ns), 0);
    KITH_CHECK_EQ(kith_quic_conn_add_candidate(conn_of(0), &pair_t.sides[0].outer, pair_t.now_ns), 0);
    kith__pair_run(&pair_t, 5 * KITH_NS_PER_S);
    KITH_CHECK_EQ(kith_quic_conn_candidates(conn_of(0), &first, 1), 1);
    KITH_CHECK_EQ(kith_quic_conn_punch(conn_of(0), pair_t.now_ns), 0);
    kith__pair_run(&pair_t, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(paths_of(0, infos), 2);
    KITH_CHECK(infos[1].is_validated);
    kith__pair_dispose(&pair_t);
}

KITH_TEST(observed_addresses_are_told_in_the_directions_agreed_on)
{
    static const struct {
        uint8_t client, server;
        bool client_hears, server_hears;
    } cases[] = {
        { KITH_QUIC_OBSERVED_RECEIVE, KITH_QUIC_OBSERVED_SEND, true, false },
        { KITH_QUIC_OBSERVED_BOTH, KITH_QUIC_OBSERVED_BOTH, true, true },
        { KITH_QUIC_OBSERVED_SEND, KITH_QUIC_OBSERVED_SEND, false, false },
        { KITH_QUIC_OBSERVED_BOTH, KITH_QUIC_OBSERVED_OFF, false, false },
    };
    struct kith_quic_path_info infos[KITH_PATH_IDS_MAX];

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        start(1, cases[i].client, cases[i].server);
        paths_of(0, infos);
        KITH_CHECK_EQ(kith_sockaddr_equal(&infos[0].observed, &pair_t.sides[0].outer), cases[i].client_hears);
        paths_of(1, infos);
        KITH_CHECK_EQ(kith_sockaddr_equal(&infos[0].observed, &pair_t.sides[1].outer), cases[i].server_hears);
        KITH_CHECK_EQ(pair_t.sides[0].seen[KITH_QUIC_PATH_OBSERVED], cases[i].client_hears);
        KITH_CHECK_EQ(pair_t.sides[1].seen[KITH_QUIC_PATH_OBSERVED], cases[i].server_hears);
        kith__pair_dispose(&pair_t);
    }
}

KITH_TEST(observed_addresses_follow_a_rebinding_and_come_with_each_path)
{
    struct kith_quic_path_info infos[KITH_PATH_IDS_MAX];
    struct kith_sockaddr any = { 0 }, to;
    uint32_t id;

    start(2, KITH_QUIC_OBSERVED_BOTH, KITH_QUIC_OBSERVED_BOTH);
    to = kith__pair_server(&pair_t, 1);
    KITH_CHECK_EQ(kith_quic_conn_path_open(conn_of(0), &any, &to, false, pair_t.now_ns, &id), 0);
    kith__pair_run(&pair_t, KITH_NS_PER_S);
    paths_of(1, infos);
    KITH_CHECK(kith_sockaddr_equal(&infos[1].observed, &to));
    kith__pair_rebind(&pair_t, 0);
    kith_quic_conn_ping(conn_of(0), pair_t.now_ns);
    kith__pair_run(&pair_t, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(paths_of(0, infos), 2);
    for (size_t i = 0; i < 2; i++)
        KITH_CHECK(kith_sockaddr_equal(&infos[i].observed, &pair_t.sides[0].outer));
    KITH_CHECK_EQ(pair_t.sides[0].seen[KITH_QUIC_PATH_OBSERVED], 4); /* two paths, twice */
    KITH_CHECK(kith_sockaddr_equal(&pair_t.sides[0].last[KITH_QUIC_PATH_OBSERVED].address, &pair_t.sides[0].outer));
    kith__pair_dispose(&pair_t);
}
