/* 0-RTT through whole connections: limits that changed since the session was made, and frames that have no place in it. */
#include "quic/conn/rules.h"

#include <stdio.h>

static struct kith_pair pair_e;
static struct kith_app app_e;
static uint8_t session[KITH_QUIC_SESSION_SIZE_MAX];
static size_t session_size;

/** A first connection leaves a session; both sides are quiet and without connections afterwards. */
static void earn_session(void)
{
    rules_connect(&pair_e, &app_e, NULL);
    KITH_CHECK_EQ(kith_quic_conn_take_session(pair_e.sides[0].conn, session, sizeof session, &session_size), 0);
    kith_quic_conn_close(pair_e.sides[0].conn, 0, (struct kith_slice) { 0 }, pair_e.now_ns);
    kith__pair_run(&pair_e, 3 * KITH_NS_PER_S);
    for (int i = 0; i < 2; i++) {
        kith_quic_conn_free(pair_e.sides[i].conn);
        memset(pair_e.sides[i].seen, 0, sizeof pair_e.sides[i].seen);
        pair_e.sides[i].conn = NULL;
    }
}

static void dial_early(void)
{
    struct kith_quic_connect_options options = { .session = { session, session_size }, .early_data = true };

    KITH_CHECK_EQ(kith__pair_dial(&pair_e, &options), 0);
    KITH_CHECK(pair_e.sides[0].conn->early->is_early_offered);
}

static bool three_ended(struct kith_pair *pair)
{
    (void)pair;
    return app_e.sides[0].ended_total == 3;
}

/**
 * A server that came back with lower limits must not accept 0-RTT sent under the old ones (RFC 9000, 7.4.1): everything is
 * sent again, within the new limits, which it enforces.
 */
KITH_TEST(early_data_under_old_limits_is_sent_again_within_lower_ones)
{
    for (int i = 0; i < 3; i++) {
        struct kith_quic_transport *server;

        earn_session();
        server = &pair_e.sides[1].host->transport;
        server->stream_data_max = i == 0 ? 3000 : server->stream_data_max;
        server->data_max = i == 1 ? 5000 : server->data_max;
        server->streams_bidi_max = i == 2 ? 1 : server->streams_bidi_max;
        dial_early();
        app_e.sides[1].echo = true;
        for (int k = 0; k < 3; k++)
            kith__app_send(&pair_e, 0, true, 9000);
        KITH_CHECK(kith__pair_run_until(&pair_e, three_ended, 20 * KITH_NS_PER_S));
        KITH_CHECK_EQ(app_e.sides[0].read_total, 27000);
        KITH_CHECK(!pair_e.sides[0].last[KITH_QUIC_CONNECTED].early_accepted);
        KITH_CHECK(rules_stats(&pair_e, 0).is_resumed);
        KITH_CHECK_EQ(pair_e.sides[0].seen[KITH_QUIC_CLOSED] + pair_e.sides[1].seen[KITH_QUIC_CLOSED], 0);
        kith__pair_dispose(&pair_e);
    }
}

/** Higher limits make another tag as well: the server refuses, and the client may use them. */
KITH_TEST(early_data_meets_higher_limits)
{
    earn_session();
    pair_e.sides[1].host->transport.streams_bidi_max = 200;
    dial_early();
    app_e.sides[1].echo = true;
    for (int k = 0; k < 3; k++)
        kith__app_send(&pair_e, 0, true, 9000);
    KITH_CHECK(kith__pair_run_until(&pair_e, three_ended, 20 * KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_e.sides[0].conn->streams.open_limit[0].max, 200);
    kith__pair_dispose(&pair_e);
}

/** A server that accepts 0-RTT and announces less than it had promised breaks the protocol: the client ends it. */
KITH_TEST(early_data_that_is_accepted_with_lower_limits_ends_the_connection)
{
    for (int i = 0; i < 6; i++) {
        struct kith_tparams *promised;

        earn_session();
        dial_early();
        promised = &pair_e.sides[0].conn->early->remembered; /* as if it had promised more than it says now */
        if (i == 0)
            promised->initial_max_stream_data_bidi_local++;
        else if (i == 1)
            promised->initial_max_stream_data_bidi_remote++;
        else if (i == 2)
            promised->initial_max_stream_data_uni++;
        else if (i == 3)
            promised->initial_max_streams_bidi++;
        else if (i == 4)
            promised->initial_max_streams_uni++;
        else
            promised->active_connection_id_limit++;
        kith__app_send(&pair_e, 0, true, 100);
        kith__pair_run(&pair_e, KITH_NS_PER_S);
        KITH_CHECK_EQ(pair_e.sides[0].seen[KITH_QUIC_CLOSED], 1);
        KITH_CHECK_EQ(pair_e.sides[0].closed.code, KITH_WIRE_PROTOCOL_VIOLATION);
        KITH_CHECK(!pair_e.sides[0].closed.by_peer);
        KITH_CHECK_EQ(pair_e.sides[0].seen[KITH_QUIC_CONNECTED], 0);
        KITH_CHECK_EQ(pair_e.sides[1].closed.code, KITH_WIRE_PROTOCOL_VIOLATION);
        kith__pair_dispose(&pair_e);
    }
}

/* ---- Frames ---- */

struct early_frame {
    const char *what;
    size_t size;
    uint8_t bytes[24];
};
static const struct early_frame *early_frame;

/** Before the client hears anything of the server it sends a frame as 0-RTT. */
static bool send_early_frame(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    (void)bytes, (void)size;
    if (sender != 1 || pair->user_flag++ != 0)
        return true;
    rules_inject(pair, 0, KITH_LEVEL_EARLY, early_frame->bytes, early_frame->size);
    return true;
}

KITH_TEST(early_data_with_frames_that_do_not_belong_there_ends_the_connection)
{
    static const struct early_frame cases[] = {
        { "RETIRE_CONNECTION_ID", 2, { 0x19, 0 } },
        { "ACK", 5, { 0x02, 0, 0, 0, 0 } },
        { "CRYPTO", 4, { 0x06, 0, 1, 'a' } },
        { "NEW_TOKEN", 3, { 0x07, 1, 'a' } },
        { "PATH_RESPONSE", 9, { 0x1b, 1, 2, 3, 4, 5, 6, 7, 8 } },
        { "HANDSHAKE_DONE", 1, { 0x1e } },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        early_frame = &cases[i];
        earn_session();
        pair_e.config.tap = send_early_frame;
        pair_e.user_flag = 0;
        dial_early();
        kith__pair_run(&pair_e, KITH_NS_PER_S);
        if (pair_e.sides[1].closed.code != KITH_WIRE_PROTOCOL_VIOLATION || pair_e.sides[1].closed.by_peer)
            printf("%s: 0x%llx\n", cases[i].what, (unsigned long long)pair_e.sides[1].closed.code);
        KITH_CHECK_EQ(pair_e.sides[1].seen[KITH_QUIC_CLOSED], 1);
        KITH_CHECK(!pair_e.sides[1].closed.by_peer);
        KITH_CHECK_EQ(pair_e.sides[1].closed.code, KITH_WIRE_PROTOCOL_VIOLATION);
        kith__pair_dispose(&pair_e);
    }
}

KITH_TEST(early_data_with_a_harmless_frame_goes_on)
{
    static const struct early_frame ping = { "PING", 1, { 0x01 } };

    early_frame = &ping;
    earn_session();
    pair_e.config.tap = send_early_frame;
    dial_early();
    kith__pair_run(&pair_e, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_e.sides[0].seen[KITH_QUIC_CONFIRMED], 1);
    KITH_CHECK(pair_e.sides[1].last[KITH_QUIC_CONNECTED].early_accepted);
    KITH_CHECK(pair_e.user_flag != 0);
    kith__pair_dispose(&pair_e);
}

/* ---- Counts ---- */

/** One packet is one packet, also in the handshake, where several share a datagram. */
KITH_TEST(early_and_all_other_packets_of_a_path_are_counted_once)
{
    struct kith_quic_path_info path[2];

    rules_connect(&pair_e, &app_e, NULL);
    kith__app_send(&pair_e, 0, true, 100000);
    kith__pair_run(&pair_e, 2 * KITH_NS_PER_S);
    for (int i = 0; i < 2; i++) {
        KITH_CHECK_EQ(kith_quic_conn_paths(pair_e.sides[i].conn, &path[i], 1), 1);
        KITH_CHECK_EQ(path[i].packets_sent, rules_stats(&pair_e, i).packets_sent);
        KITH_CHECK_EQ(path[i].packets_received, rules_stats(&pair_e, i).packets_received);
        KITH_CHECK_EQ(path[i].bytes_sent, pair_e.sides[i].sent_bytes);
        KITH_CHECK_EQ(path[i].bytes_received, pair_e.sides[i].received_bytes);
    }
    KITH_CHECK_EQ(path[0].packets_sent, path[1].packets_received); /* nothing was lost or dropped */
    KITH_CHECK_EQ(path[1].packets_sent, path[0].packets_received);
    kith__pair_dispose(&pair_e);
}
