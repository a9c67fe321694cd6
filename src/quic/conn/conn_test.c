/* Whole connections between two hosts in memory: handshake, transfer, loss, closing. */
#include "quic/conn/app.h"

#include "base/test.h"

#include <stdio.h>
#include <string.h>

static struct kith_pair pair_a;
static struct kith_app app_a;

static void start(struct kith_pair_config *config)
{
    KITH_CHECK_EQ(kith__pair_init(&pair_a, config), 0);
    kith__app_attach(&app_a, &pair_a);
}

static void start_plain(void)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    start(&config);
}

static bool client_ended(struct kith_pair *pair)
{
    (void)pair;
    return app_a.sides[0].ended_total != 0;
}

static bool server_ended(struct kith_pair *pair)
{
    (void)pair;
    return app_a.sides[1].ended_total != 0;
}

static bool both_closed(struct kith_pair *pair)
{
    return pair->sides[0].seen[KITH_QUIC_CLOSED] != 0 && pair->sides[1].seen[KITH_QUIC_CLOSED] != 0;
}

static bool both_drained(struct kith_pair *pair)
{
    return pair->sides[0].seen[KITH_QUIC_DRAINED] != 0 && pair->sides[1].seen[KITH_QUIC_DRAINED] != 0;
}

static bool client_closed(struct kith_pair *pair)
{
    return pair->sides[0].seen[KITH_QUIC_CLOSED] != 0;
}

KITH_TEST(conn_handshake_proves_both_ids)
{
    struct kith_id id, want;
    struct kith_slice alpn;

    start_plain();
    KITH_CHECK(kith__pair_connect(&pair_a));
    for (int i = 0; i < 2; i++) {
        KITH_CHECK_EQ(pair_a.sides[i].seen[KITH_QUIC_CONNECTED], 1);
        KITH_CHECK_EQ(kith_quic_conn_remote_id(pair_a.sides[i].conn, &id), 0);
        want = kith_quic_host_id(pair_a.sides[1 - i].host);
        KITH_CHECK_BYTES(id.bytes, want.bytes, KITH_ID_SIZE);
        alpn = kith_quic_conn_alpn(pair_a.sides[i].conn);
        KITH_CHECK_EQ(alpn.size, 4);
        KITH_CHECK_BYTES(alpn.ptr, "test", 4);
    }
    kith__pair_dispose(&pair_a);
}

KITH_TEST(conn_echoes_a_stream)
{
    start_plain();
    KITH_CHECK(kith__pair_connect(&pair_a));
    app_a.sides[1].echo = true;
    kith__app_send(&pair_a, 0, true, 5);
    KITH_CHECK(kith__pair_run_until(&pair_a, client_ended, KITH_NS_PER_S));
    KITH_CHECK_EQ(app_a.sides[0].read_total, 5);
    KITH_CHECK_EQ(app_a.sides[1].read_total, 5);
    kith__pair_run(&pair_a, KITH_NS_PER_S);
    KITH_CHECK_EQ(app_a.sides[0].sent_total, 1);
    kith__pair_dispose(&pair_a);
}

static void transfer(uint64_t seed, uint32_t loss, uint32_t dup, uint64_t jitter_ns, uint64_t size)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.seed += seed;
    config.link.loss_permille = loss;
    config.link.dup_permille = dup;
    config.link.jitter_ns = jitter_ns;
    start(&config);
    if (!kith__pair_connect(&pair_a)) {
        printf("no connection: KITH_SEED=%llu\n", (unsigned long long)config.seed);
        KITH_CHECK(!"no connection");
    }
    kith__app_send(&pair_a, 0, true, size);
    if (!kith__pair_run_until(&pair_a, server_ended, 600 * KITH_NS_PER_S)) {
        printf("stuck: KITH_SEED=%llu\n", (unsigned long long)config.seed);
        KITH_CHECK(!"stuck");
    }
    KITH_CHECK_EQ(app_a.sides[1].read_total, size);
    kith_quic_conn_close(pair_a.sides[0].conn, 7, (struct kith_slice) { (const uint8_t *)"bye", 3 }, pair_a.now_ns);
    KITH_CHECK(kith__pair_run_until(&pair_a, both_drained, 100 * KITH_NS_PER_S));
    kith__pair_dispose(&pair_a);
}

KITH_TEST(conn_moves_a_megabyte)
{
    transfer(0, 0, 0, 0, 1000000);
}

KITH_TEST(conn_moves_a_megabyte_under_loss)
{
    static const uint32_t losses[] = { 10, 50, 100, 200 };

    for (size_t i = 0; i < KITH_COUNT(losses); i++)
        transfer(i, losses[i], 0, 0, 1000000);
    transfer(9, 300, 0, 0, 100000);
}

KITH_TEST(conn_moves_a_megabyte_over_a_link_that_reorders_and_duplicates)
{
    transfer(1, 0, 100, 20 * KITH_NS_PER_MS, 1000000);
    transfer(2, 50, 100, 5 * KITH_NS_PER_MS, 1000000);
}

KITH_TEST(conn_close_carries_code_and_reason)
{
    for (int closer = 0; closer < 2; closer++) {
        struct kith_pair_side *other = &pair_a.sides[1 - closer];

        start_plain();
        KITH_CHECK(kith__pair_connect(&pair_a));
        kith_quic_conn_close(pair_a.sides[closer].conn, 7, (struct kith_slice) { (const uint8_t *)"bye", 3 },
                             pair_a.now_ns);
        KITH_CHECK(kith__pair_run_until(&pair_a, both_closed, KITH_NS_PER_S));
        KITH_CHECK_EQ(other->closed.err, KITH_ERR_CLOSED_BY_PEER);
        KITH_CHECK(other->closed.by_peer && other->closed.is_application);
        KITH_CHECK_EQ(other->closed.code, 7);
        KITH_CHECK_STR(other->closed_reason, "bye");
        KITH_CHECK_EQ(pair_a.sides[closer].closed.err, KITH_ERR_CLOSED);
        KITH_CHECK(!pair_a.sides[closer].closed.by_peer);
        KITH_CHECK(kith__pair_run_until(&pair_a, both_drained, 10 * KITH_NS_PER_S));
        kith__pair_dispose(&pair_a);
    }
}

KITH_TEST(conn_both_sides_can_close_at_once)
{
    start_plain();
    KITH_CHECK(kith__pair_connect(&pair_a));
    for (int i = 0; i < 2; i++)
        kith_quic_conn_close(pair_a.sides[i].conn, 10 + (uint64_t)i, (struct kith_slice) { 0 }, pair_a.now_ns);
    KITH_CHECK(kith__pair_run_until(&pair_a, both_drained, 10 * KITH_NS_PER_S));
    for (int i = 0; i < 2; i++) {
        KITH_CHECK_EQ(pair_a.sides[i].closed.err, KITH_ERR_CLOSED);
        KITH_CHECK_EQ(pair_a.sides[i].closed.code, 10 + (uint64_t)i);
    }
    kith__pair_dispose(&pair_a);
}

KITH_TEST(conn_without_a_common_alpn_ends_with_alert_120)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.alpn[1] = "other";
    start(&config);
    KITH_CHECK_EQ(kith__pair_dial(&pair_a, NULL), 0);
    KITH_CHECK(kith__pair_run_until(&pair_a, both_drained, 10 * KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_a.sides[0].closed.err, KITH_ERR_ALPN);
    KITH_CHECK_EQ(pair_a.sides[0].closed.code, 0x178);
    KITH_CHECK_EQ(pair_a.sides[1].closed.err, KITH_ERR_ALPN);
    kith__pair_dispose(&pair_a);
}

KITH_TEST(conn_to_another_id_fails_as_wrong_peer)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.server_secret_last_byte = 9;
    start(&config);
    KITH_CHECK_EQ(kith__pair_dial(&pair_a, NULL), 0);
    KITH_CHECK(kith__pair_run_until(&pair_a, client_closed, 10 * KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_a.sides[0].closed.err, KITH_ERR_WRONG_PEER);
    KITH_CHECK_EQ(pair_a.sides[0].seen[KITH_QUIC_CONNECTED], 0);
    kith__pair_dispose(&pair_a);
}

KITH_TEST(conn_refused_is_told_so)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.answer = KITH_PAIR_REFUSE;
    start(&config);
    KITH_CHECK_EQ(kith__pair_dial(&pair_a, NULL), 0);
    KITH_CHECK(kith__pair_run_until(&pair_a, client_closed, 10 * KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_a.sides[0].closed.err, KITH_ERR_REFUSED);
    kith__pair_dispose(&pair_a);
}

KITH_TEST(conn_ignored_times_out)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.answer = KITH_PAIR_IGNORE;
    start(&config);
    KITH_CHECK_EQ(kith__pair_dial(&pair_a, NULL), 0);
    KITH_CHECK(kith__pair_run_until(&pair_a, client_closed, 100 * KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_a.sides[0].closed.err, KITH_ERR_IDLE);
    kith__pair_dispose(&pair_a);
}

KITH_TEST(conn_goes_through_retry)
{
    struct kith_pair_config config;
    struct kith_quic_host_stats stats;

    kith__pair_defaults(&config);
    config.answer = KITH_PAIR_RETRY;
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_a));
    kith_quic_host_stats(pair_a.sides[1].host, &stats);
    KITH_CHECK_EQ(stats.retries_sent, 1);
    KITH_CHECK_EQ(pair_a.sides[1].seen[KITH_QUIC_INCOMING], 2);
    kith__pair_dispose(&pair_a);
}
