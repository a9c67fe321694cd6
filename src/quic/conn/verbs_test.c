/* Verbs of a connection between two hosts in memory: streams, datagrams, keys, sessions, timers, addresses. */
#include "quic/conn/app.h"

#include "base/test.h"
#include "quic/conn/conn.h"
#include "quic/host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct kith_pair pair_v;
static struct kith_app app_v;

static void start(struct kith_pair_config *config)
{
    KITH_CHECK_EQ(kith__pair_init(&pair_v, config), 0);
    kith__app_attach(&app_v, &pair_v);
}

static void start_connected(void)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_v));
}

static struct kith_quic_conn_stats stats_of(int side)
{
    struct kith_quic_conn_stats stats;

    kith_quic_conn_stats(pair_v.sides[side].conn, &stats);
    return stats;
}

static bool server_ended(struct kith_pair *pair)
{
    (void)pair;
    return app_v.sides[1].ended_total != 0;
}

static bool client_ended(struct kith_pair *pair)
{
    (void)pair;
    return app_v.sides[0].ended_total != 0;
}

static bool client_closed(struct kith_pair *pair)
{
    return pair->sides[0].seen[KITH_QUIC_CLOSED] != 0;
}

/* ---- Order of transmits ---- */

/* The first byte of the datagram that the client's host sends next; 0: none. */
static uint8_t next_first_byte(void)
{
    static uint8_t buffer[65536];
    struct kith_quic_transmit transmit;

    return kith_quic_host_transmit(pair_v.sides[0].host, buffer, sizeof buffer, &transmit, pair_v.now_ns) ? buffer[0]
                                                                                                          : 0;
}

KITH_TEST(verbs_a_close_leaves_behind_what_other_connections_have_to_send)
{
    struct kith_quic_conn *first;

    start_connected();
    kith__pair_run(&pair_v, KITH_NS_PER_S);
    first = pair_v.sides[0].conn;
    kith_quic_conn_ping(first, pair_v.now_ns); /* it stands among those that go on */
    kith_quic_conn_close(first, 7, (struct kith_slice) { NULL, 0 }, pair_v.now_ns);
    KITH_CHECK_EQ(kith__pair_dial(&pair_v, NULL), 0);
    KITH_CHECK((next_first_byte() & 0x80) != 0);   /* the long header of the new client's Initial */
    KITH_CHECK_EQ(next_first_byte() & 0xc0, 0x40); /* the close */
    KITH_CHECK_EQ(next_first_byte(), 0);
    kith__pair_dispose(&pair_v);
}

/* ---- Keys ---- */

KITH_TEST(verbs_either_side_can_update_keys)
{
    for (int side = 0; side < 2; side++) {
        start_connected();
        kith__pair_run(&pair_v, KITH_NS_PER_S / 2);
        KITH_CHECK_EQ(kith_quic_conn_update_keys(pair_v.sides[side].conn, pair_v.now_ns), 0);
        KITH_CHECK_EQ(kith_quic_conn_update_keys(pair_v.sides[side].conn, pair_v.now_ns), KITH_ERR_STATE);
        kith__pair_run(&pair_v, KITH_NS_PER_S / 2);
        for (int i = 0; i < 2; i++) {
            KITH_CHECK_EQ(stats_of(i).key_updates, 1);
            KITH_CHECK_EQ(pair_v.sides[i].conn->keys.write_generation, 1);
            KITH_CHECK_EQ(pair_v.sides[i].conn->keys.read_generation, 1);
        }
        app_v.sides[1].echo = true;
        kith__app_send(&pair_v, 0, true, 100000);
        KITH_CHECK(kith__pair_run_until(&pair_v, client_ended, 10 * KITH_NS_PER_S));
        kith__pair_dispose(&pair_v);
    }
}

KITH_TEST(verbs_keys_update_by_themselves_again_and_again_under_loss)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[0].key_update_after = 50;
    config.transport[1].key_update_after = 70;
    config.link.loss_permille = 20;
    config.link.jitter_ns = 10 * KITH_NS_PER_MS;
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_v));
    app_v.sides[1].echo = true;
    kith__app_send(&pair_v, 0, true, 1000000);
    KITH_CHECK(kith__pair_run_until(&pair_v, client_ended, 100 * KITH_NS_PER_S));
    KITH_CHECK(stats_of(0).key_updates > 5);
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_exporter_gives_both_sides_the_same)
{
    struct kith_slice label = { (const uint8_t *)"EXPORTER-x", 10 }, context = { (const uint8_t *)"c", 1 };
    uint8_t a[40], b[40];

    start_connected();
    KITH_CHECK_EQ(kith_quic_conn_export(pair_v.sides[0].conn, label, context, a, sizeof a), 0);
    KITH_CHECK_EQ(kith_quic_conn_export(pair_v.sides[1].conn, label, context, b, sizeof b), 0);
    KITH_CHECK_BYTES(a, b, sizeof a);
    kith__pair_dispose(&pair_v);
}

/* ---- Sessions, 0-RTT, tokens ---- */

static uint8_t session[KITH_QUIC_SESSION_SIZE_MAX], token[KITH_CONN_TOKEN_SIZE_MAX];
static size_t session_size, token_size;

/** A first connection that leaves a session and a token, and is closed. */
static void earn_session(void)
{
    struct kith_quic_conn *conn;

    KITH_CHECK(kith__pair_connect(&pair_v));
    kith__pair_run(&pair_v, KITH_NS_PER_S);
    conn = pair_v.sides[0].conn;
    KITH_CHECK(pair_v.sides[0].seen[KITH_QUIC_SESSION] != 0 && pair_v.sides[0].seen[KITH_QUIC_TOKEN] == 1);
    KITH_CHECK_EQ(kith_quic_conn_take_session(conn, session, 1, &session_size), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith_quic_conn_take_session(conn, session, sizeof session, &session_size), 0);
    KITH_CHECK_EQ(kith_quic_conn_take_session(conn, session, sizeof session, &session_size), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith_quic_conn_take_token(conn, token, sizeof token, &token_size), 0);
    kith_quic_conn_close(conn, 0, (struct kith_slice) { 0 }, pair_v.now_ns);
    kith__pair_run(&pair_v, 3 * KITH_NS_PER_S);
    for (int i = 0; i < 2; i++) {
        KITH_CHECK_EQ(pair_v.sides[i].seen[KITH_QUIC_DRAINED], 1);
        kith_quic_conn_free(pair_v.sides[i].conn);
        memset(pair_v.sides[i].seen, 0, sizeof pair_v.sides[i].seen);
        pair_v.sides[i].conn = NULL;
    }
}

static void dial_again(bool early)
{
    struct kith_quic_connect_options options = { .session = { session, session_size },
                                                 .token = { token, token_size },
                                                 .early_data = early };

    KITH_CHECK_EQ(kith__pair_dial(&pair_v, &options), 0);
}

KITH_TEST(verbs_early_data_is_accepted_and_echoed)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    start(&config);
    earn_session();
    dial_again(true);
    KITH_CHECK(pair_v.sides[0].conn->early->is_early_offered);
    app_v.sides[1].echo = true;
    kith__app_send(&pair_v, 0, true, 20000);
    KITH_CHECK(kith__pair_run_until(&pair_v, client_ended, 10 * KITH_NS_PER_S));
    KITH_CHECK_EQ(app_v.sides[0].read_total, 20000);
    KITH_CHECK_EQ(pair_v.sides[0].seen[KITH_QUIC_EARLY_READY], 1);
    KITH_CHECK(pair_v.sides[0].last[KITH_QUIC_CONNECTED].early_accepted);
    KITH_CHECK(pair_v.sides[1].last[KITH_QUIC_CONNECTED].early_accepted);
    KITH_CHECK(stats_of(0).is_resumed && stats_of(1).is_resumed);
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_early_data_that_is_rejected_goes_out_again)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    start(&config);
    earn_session();
    pair_v.sides[1].host->transport.allow_early_data = false;
    dial_again(true);
    app_v.sides[1].echo = true;
    kith__app_send(&pair_v, 0, true, 20000);
    KITH_CHECK(kith__pair_run_until(&pair_v, client_ended, 10 * KITH_NS_PER_S));
    KITH_CHECK_EQ(app_v.sides[0].read_total, 20000);
    KITH_CHECK(!pair_v.sides[0].last[KITH_QUIC_CONNECTED].early_accepted);
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_early_data_survives_loss_and_retry)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    start(&config);
    earn_session();
    pair_v.config.answer = KITH_PAIR_RETRY;
    token_size = 0;
    pair_v.config.link.loss_permille = 100;
    pair_v.config.link.jitter_ns = 20 * KITH_NS_PER_MS;
    dial_again(true);
    app_v.sides[1].echo = true;
    kith__app_send(&pair_v, 0, true, 20000);
    KITH_CHECK(kith__pair_run_until(&pair_v, client_ended, 30 * KITH_NS_PER_S));
    KITH_CHECK_EQ(app_v.sides[0].read_total, 20000);
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_token_proves_the_address)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    start(&config);
    earn_session();
    pair_v.config.answer = KITH_PAIR_RETRY; /* would ask for Retry if the token did not prove it */
    dial_again(false);
    kith__pair_run(&pair_v, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_v.sides[0].seen[KITH_QUIC_CONFIRMED], 1);
    KITH_CHECK_EQ(pair_v.sides[1].host->stats.retries_sent, 0);
    kith__pair_dispose(&pair_v);
}

/* ---- Time ---- */

KITH_TEST(verbs_idle_connection_times_out_without_keep_alive)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[0].keep_alive_ns = config.transport[1].keep_alive_ns = 0;
    config.transport[1].idle_timeout_ns = 10 * KITH_NS_PER_S; /* the smaller one counts */
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_v));
    kith__pair_run(&pair_v, 9 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_v.sides[0].seen[KITH_QUIC_CLOSED], 0);
    kith__pair_run(&pair_v, 2 * KITH_NS_PER_S);
    for (int i = 0; i < 2; i++) {
        KITH_CHECK_EQ(pair_v.sides[i].seen[KITH_QUIC_DRAINED], 1);
        KITH_CHECK_EQ(pair_v.sides[i].closed.err, KITH_ERR_IDLE);
    }
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_keep_alive_keeps_alive_with_few_packets)
{
    uint64_t before;

    start_connected();
    kith__pair_run(&pair_v, 10 * KITH_NS_PER_S);
    before = pair_v.sides[0].sent_datagrams + pair_v.sides[1].sent_datagrams;
    kith__pair_run(&pair_v, 100 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_v.sides[0].seen[KITH_QUIC_CLOSED], 0);
    before = pair_v.sides[0].sent_datagrams + pair_v.sides[1].sent_datagrams - before;
    KITH_CHECK(before >= 40 && before <= 90); /* a PING and an ACK each 5 s and side, at most */
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_blackout_ends_in_idle_and_a_short_one_does_not)
{
    start_connected();
    pair_v.config.link.blocked[0] = pair_v.config.link.blocked[1] = true;
    kith__app_send(&pair_v, 0, true, 3000000);
    kith__pair_run(&pair_v, 15 * KITH_NS_PER_S);
    pair_v.config.link.blocked[0] = pair_v.config.link.blocked[1] = false;
    KITH_CHECK(kith__pair_run_until(&pair_v, server_ended, 60 * KITH_NS_PER_S));
    pair_v.config.link.blocked[0] = pair_v.config.link.blocked[1] = true;
    KITH_CHECK(kith__pair_run_until(&pair_v, client_closed, 60 * KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_v.sides[0].closed.err, KITH_ERR_IDLE);
    kith__pair_dispose(&pair_v);
}

/* ---- Addresses ---- */

KITH_TEST(verbs_nat_rebinding_in_mid_transfer_is_followed)
{
    start_connected();
    kith__app_send(&pair_v, 0, true, 3000000);
    kith__pair_run(&pair_v, 150 * KITH_NS_PER_MS);
    kith__pair_rebind(&pair_v, 0);
    KITH_CHECK(kith__pair_run_until(&pair_v, server_ended, 60 * KITH_NS_PER_S));
    KITH_CHECK_EQ(stats_of(1).migrations, 1);
    KITH_CHECK_EQ(pair_v.sides[1].conn->paths[0]->tuple.remote.port, pair_v.sides[0].outer.port);
    kith__pair_run(&pair_v, KITH_NS_PER_S);
    KITH_CHECK(kith__path_is_proved(pair_v.sides[1].conn->paths[0]));
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_paths_show_the_local_address_that_the_system_chose)
{
    struct kith_quic_path_info info;

    start_connected();
    kith__app_send(&pair_v, 0, true, 100000);
    KITH_CHECK(kith__pair_run_until(&pair_v, server_ended, 60 * KITH_NS_PER_S));
    KITH_CHECK_EQ(kith_quic_conn_paths(pair_v.sides[0].conn, &info, 1), 1);
    KITH_CHECK(kith_sockaddr_equal(&info.local, &pair_v.sides[0].inner));
    /* The path stays free: another local address tomorrow is no move, and packets go out from "any". */
    KITH_CHECK_EQ(pair_v.sides[0].conn->paths[0]->tuple.local.family, KITH_FAMILY_NONE);
    KITH_CHECK_EQ(stats_of(0).migrations, 0);
    pair_v.sides[0].inner.port++;
    kith__app_send(&pair_v, 0, true, 100000);
    kith__pair_run(&pair_v, KITH_NS_PER_S);
    KITH_CHECK_EQ(kith_quic_conn_paths(pair_v.sides[0].conn, &info, 1), 1);
    KITH_CHECK_EQ(info.local.port, pair_v.sides[0].inner.port);
    KITH_CHECK_EQ(stats_of(0).migrations, 0);
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_client_migrates_on_purpose)
{
    struct kith_sockaddr local;

    start_connected();
    kith__pair_run(&pair_v, KITH_NS_PER_S);
    kith__app_send(&pair_v, 0, true, 2000000);
    kith__pair_run(&pair_v, 100 * KITH_NS_PER_MS);
    local = pair_v.sides[0].inner;
    local.port = (uint16_t)(local.port + 7);
    KITH_CHECK_EQ(kith_quic_conn_migrate(pair_v.sides[0].conn, &local, pair_v.now_ns), 0);
    KITH_CHECK(kith__pair_run_until(&pair_v, server_ended, 60 * KITH_NS_PER_S));
    kith__pair_run(&pair_v, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_v.sides[1].conn->paths[0]->tuple.remote.port, pair_v.sides[0].outer.port + 7);
    KITH_CHECK(kith__path_is_proved(pair_v.sides[1].conn->paths[0]));
    KITH_CHECK_EQ(kith_quic_conn_migrate(pair_v.sides[1].conn, &local, pair_v.now_ns), KITH_ERR_STATE);
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_mtu_is_discovered_and_a_black_hole_survived)
{
    start_connected();
    kith__pair_run(&pair_v, 2 * KITH_NS_PER_S);
    for (int i = 0; i < 2; i++)
        KITH_CHECK_EQ(pair_v.sides[i].conn->paths[0]->now.mtu.size, 1452);
    pair_v.config.link.size_max = 1300;
    kith__app_send(&pair_v, 0, true, 500000);
    KITH_CHECK(kith__pair_run_until(&pair_v, server_ended, 60 * KITH_NS_PER_S));
    KITH_CHECK(pair_v.sides[0].conn->paths[0]->now.mtu.size < 1300);
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_copies_of_the_initial_find_the_address_that_answers)
{
    struct kith_quic_connect_options options = { 0 };
    struct kith_sockaddr remotes[3];
    struct kith_pair_config config;
    const uint8_t *reset;

    kith__pair_defaults(&config);
    start(&config);
    for (int i = 0; i < 3; i++)
        remotes[i] = pair_v.sides[1].outer;
    remotes[0].port = 9; /* nobody */
    remotes[1].port = 10;
    options.remotes = remotes;
    options.remote_count = 3;
    KITH_CHECK_EQ(kith__pair_dial(&pair_v, &options), 0);
    kith__pair_run(&pair_v, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_v.sides[0].seen[KITH_QUIC_CONFIRMED], 1);
    KITH_CHECK_EQ(pair_v.sides[0].conn->paths[0]->tuple.remote.port, pair_v.sides[1].outer.port);
    /* The server's address moved, ours did not become fixed by that: the system may choose another one at any time. */
    KITH_CHECK_EQ(pair_v.sides[0].conn->paths[0]->tuple.local.family, KITH_FAMILY_NONE);
    KITH_CHECK(kith_sockaddr_equal(&pair_v.sides[0].conn->paths[0]->local_seen, &pair_v.sides[0].inner));
    /* The other addresses are strangers now, whatever they know. */
    reset = kith__cid_theirs_active_token(&pair_v.sides[0].conn->paths[0]->cids_theirs);
    KITH_CHECK(reset != NULL);
    KITH_CHECK(!kith__conn_is_reset(pair_v.sides[0].conn, &remotes[0], reset));
    KITH_CHECK(kith__conn_is_reset(pair_v.sides[0].conn, &remotes[2], reset));
    kith__pair_dispose(&pair_v);
}

/* ---- Streams ---- */

KITH_TEST(verbs_reader_that_pauses_blocks_the_writer_and_lets_it_go_on)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[1].stream_data_max = 50000;
    config.transport[1].stream_data_auto_max = 0;
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_v));
    app_v.sides[1].pause = true;
    kith__app_send(&pair_v, 0, true, 400000);
    kith__pair_run(&pair_v, 5 * KITH_NS_PER_S);
    KITH_CHECK_EQ(stats_of(1).stream_bytes_received, 50000);
    app_v.sides[1].pause = false;
    kith__app_read_all(&pair_v, 1);
    KITH_CHECK(kith__pair_run_until(&pair_v, server_ended, 60 * KITH_NS_PER_S));
    KITH_CHECK_EQ(app_v.sides[1].read_total, 400000);
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_connection_credit_blocks_and_is_given_back)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[1].data_max = 30000;
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_v));
    for (int i = 0; i < 4; i++)
        kith__app_send(&pair_v, 0, i % 2 == 0, 100000);
    kith__pair_run(&pair_v, 60 * KITH_NS_PER_S);
    KITH_CHECK_EQ(app_v.sides[1].ended_total, 4);
    KITH_CHECK_EQ(app_v.sides[1].read_total, 400000);
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_reset_and_stop_reach_the_other_side)
{
    struct kith_app_stream *stream;

    start_connected();
    app_v.sides[1].pause = true;
    stream = kith__app_send(&pair_v, 0, true, 5000000);
    kith__pair_run(&pair_v, 200 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith_quic_stream_reset(pair_v.sides[0].conn, stream->id, 33), 0);
    kith__pair_run(&pair_v, 200 * KITH_NS_PER_MS);
    app_v.sides[1].pause = false;
    kith__app_read_all(&pair_v, 1);
    KITH_CHECK_EQ(app_v.sides[1].reset_total, 1);
    KITH_CHECK_EQ(app_v.sides[1].streams[0].code, 33);
    KITH_CHECK_EQ(kith_quic_stream_stop(pair_v.sides[0].conn, stream->id, 44), 0);
    kith__pair_run(&pair_v, 200 * KITH_NS_PER_MS);
    KITH_CHECK(app_v.sides[1].streams[0].stopped);
    KITH_CHECK_EQ(app_v.sides[1].streams[0].code, 44);
    KITH_CHECK_EQ(kith_quic_stream_open(pair_v.sides[1].conn, false, &(uint64_t) { 0 }), 0);
    kith__pair_dispose(&pair_v);
}

static void close_at_once(struct kith_pair *pair, int side, const struct kith_quic_event *event)
{
    uint8_t byte;
    size_t size;

    if (side == 1 && event->kind == KITH_QUIC_STREAM_READABLE) {
        KITH_CHECK_EQ(kith_quic_stream_read(event->conn, event->stream, &byte, 1, &size, NULL), 0);
        kith_quic_conn_close(event->conn, 5, (struct kith_slice) { NULL, 0 }, pair->now_ns);
    }
}

KITH_TEST(verbs_last_acknowledgement_goes_with_the_close)
{
    struct kith_pair_config config;
    uint64_t id;
    size_t size;

    kith__pair_defaults(&config);
    config.on_event = close_at_once;
    KITH_CHECK_EQ(kith__pair_init(&pair_v, &config), 0);
    KITH_CHECK(kith__pair_connect(&pair_v));
    kith__pair_run(&pair_v, KITH_NS_PER_S); /* nothing is owed any more: the next packet's turn comes 25 ms late */
    KITH_CHECK_EQ(kith_quic_stream_open(pair_v.sides[0].conn, false, &id), 0);
    KITH_CHECK_EQ(kith_quic_stream_write(pair_v.sides[0].conn, id, "x", 1, true, &size), 0);
    KITH_CHECK(kith__pair_run_until(&pair_v, client_closed, KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_v.sides[0].closed.code, 5);
    KITH_CHECK_EQ(pair_v.sides[0].seen[KITH_QUIC_STREAM_SENT], 1);
    kith__pair_dispose(&pair_v);
}

static uint64_t streams_left, streams_ended;

static void churn(struct kith_pair *pair, int side, const struct kith_quic_event *event)
{
    uint8_t byte;
    size_t size;

    if (side == 1 && event->kind == KITH_QUIC_STREAM_READABLE) {
        while (kith_quic_stream_read(event->conn, event->stream, &byte, 1, &size, NULL) == 0)
            KITH_CHECK_EQ(byte, (uint8_t)event->stream);
        streams_ended++;
        kith_quic_stream_release(event->conn, event->stream);
    }
    if (side == 0 && (event->kind == KITH_QUIC_CONFIRMED || event->kind == KITH_QUIC_STREAMS_AVAILABLE)) {
        uint64_t id;

        while (streams_left != 0 && kith_quic_stream_open(event->conn, false, &id) == 0) {
            byte = (uint8_t)id;
            KITH_CHECK_EQ(kith_quic_stream_write(event->conn, id, &byte, 1, true, &size), 0);
            kith_quic_stream_release(event->conn, id);
            streams_left--;
        }
    }
    (void)pair;
}

static bool all_streams_ended(struct kith_pair *pair)
{
    (void)pair;
    return streams_ended == 10000;
}

KITH_TEST(verbs_ten_thousand_streams_come_and_go)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.on_event = churn;
    streams_left = 10000;
    streams_ended = 0;
    KITH_CHECK_EQ(kith__pair_init(&pair_v, &config), 0);
    KITH_CHECK(kith__pair_connect(&pair_v));
    KITH_CHECK(kith__pair_run_until(&pair_v, all_streams_ended, 100 * KITH_NS_PER_S));
    kith__pair_run(&pair_v, 3 * KITH_NS_PER_S);
    for (int i = 0; i < 2; i++) {
        KITH_CHECK_EQ(pair_v.sides[i].conn->streams.count, 0);
        KITH_CHECK(stats_of(i).memory_size <= KITH_PAIR_IDLE_SIZE_MAX);
    }
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_higher_priority_arrives_first)
{
    struct kith_app_stream *low, *high;

    start_connected();
    low = kith__app_send(&pair_v, 0, false, 300000);
    high = kith__app_send(&pair_v, 0, false, 300000);
    KITH_CHECK_EQ(kith_quic_stream_set_priority(pair_v.sides[0].conn, high->id, 5), 0);
    KITH_CHECK(kith__pair_run_until(&pair_v, server_ended, 10 * KITH_NS_PER_S));
    KITH_CHECK(app_v.sides[1].streams[0].id == low->id ? !app_v.sides[1].streams[0].ended
                                                       : app_v.sides[1].streams[0].ended);
    kith__pair_dispose(&pair_v);
}

KITH_TEST(verbs_unordered_read_gives_each_byte_once)
{
    static uint8_t seen[200000];
    uint8_t bytes[4096];
    uint64_t offset, total = 0;
    size_t size;
    struct kith_pair_config config;
    struct kith_app_stream *stream;

    kith__pair_defaults(&config);
    config.link.loss_permille = 50;
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_v));
    memset(seen, 0, sizeof seen);
    app_v.sides[1].pause = true;
    stream = kith__app_send(&pair_v, 0, true, sizeof seen);
    for (int i = 0; i < 2000 && total < sizeof seen; i++) {
        kith__pair_run(&pair_v, 10 * KITH_NS_PER_MS);
        while (kith_quic_stream_read_chunk(pair_v.sides[1].conn, stream->id, bytes, sizeof bytes, &offset, &size,
                                           NULL) == 0) {
            for (size_t k = 0; k < size; k++) {
                KITH_CHECK_EQ(bytes[k], kith__app_byte(stream->id, offset + k));
                KITH_CHECK_EQ(seen[offset + k]++, 0);
            }
            total += size;
        }
    }
    KITH_CHECK_EQ(total, sizeof seen);
    KITH_CHECK_EQ(kith_quic_stream_read(pair_v.sides[1].conn, stream->id, bytes, 1, &size, NULL), KITH_ERR_STATE);
    kith__pair_dispose(&pair_v);
}

/* ---- Datagrams ---- */

KITH_TEST(verbs_datagrams_go_both_ways_and_full_buffers_count)
{
    static uint8_t bytes[2000];
    struct kith_pair_config config;
    size_t size_max;

    kith__pair_defaults(&config);
    config.transport[0].datagram_send_max = 20000;
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_v));
    size_max = kith_quic_datagram_size_max(pair_v.sides[0].conn);
    KITH_CHECK_EQ(size_max, 1162);
    KITH_CHECK_EQ(kith_quic_datagram_send(pair_v.sides[0].conn, (struct kith_slice) { bytes, size_max + 1 }, true),
                  KITH_ERR_TOO_LARGE);
    for (int i = 0; i < 100; i++)
        KITH_CHECK_EQ(kith_quic_datagram_send(pair_v.sides[0].conn, (struct kith_slice) { bytes, 1000 }, true), 0);
    KITH_CHECK_EQ(kith_quic_datagram_send(pair_v.sides[0].conn, (struct kith_slice) { bytes, 1000 }, false),
                  KITH_ERR_AGAIN);
    KITH_CHECK(stats_of(0).datagrams_dropped_send != 0);
    KITH_CHECK_EQ(kith_quic_datagram_send(pair_v.sides[1].conn, (struct kith_slice) { 0 }, false), 0);
    kith__pair_run(&pair_v, KITH_NS_PER_S);
    KITH_CHECK_EQ(app_v.sides[1].datagrams + stats_of(0).datagrams_dropped_send, 100);
    KITH_CHECK_EQ(app_v.sides[0].datagrams, 1);
    KITH_CHECK_EQ(pair_v.sides[0].seen[KITH_QUIC_DATAGRAM_WRITABLE], 1);
    kith__pair_dispose(&pair_v);
}

/* ---- Size ---- */

KITH_TEST(verbs_idle_connection_is_small)
{
    start_connected();
    kith__pair_run(&pair_v, 20 * KITH_NS_PER_S);
    for (int i = 0; i < 2; i++) {
        printf("idle connection, side %d: %zu bytes\n", i, stats_of(i).memory_size);
        KITH_CHECK(stats_of(i).memory_size <= KITH_PAIR_IDLE_SIZE_MAX);
    }
    kith__pair_dispose(&pair_v);
}

/* ---- Logs ---- */

static uint64_t qlog_records, key_lines;

static void count_qlog(void *ctx, uint64_t conn_serial, const char *json_record)
{
    (void)ctx, (void)conn_serial;
    KITH_CHECK_EQ(json_record[0], 0x1e);
    qlog_records++;
}

static void count_key_log(void *ctx, const char *line)
{
    (void)ctx;
    KITH_CHECK(strchr(line, ' ') != NULL);
    key_lines++;
}

KITH_TEST(verbs_qlog_and_key_log_get_their_lines)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[0].qlog = config.transport[0].key_log = true;
    start(&config);
    pair_v.sides[0].host->qlog = count_qlog;
    pair_v.sides[0].host->key_log = count_key_log;
    qlog_records = key_lines = 0;
    KITH_CHECK(kith__pair_connect(&pair_v));
    app_v.sides[1].echo = true;
    kith__app_send(&pair_v, 0, true, 10000);
    KITH_CHECK(kith__pair_run_until(&pair_v, client_ended, 10 * KITH_NS_PER_S));
    KITH_CHECK(qlog_records > 30);
    KITH_CHECK(key_lines >= 4);
    kith__pair_dispose(&pair_v);
}
