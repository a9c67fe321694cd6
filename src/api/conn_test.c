#include "api/pair.h"

PAIR_TEST(conn_both_sides_know_each_other)
{
    struct kith_slice label = { (const uint8_t *)"EXPORTER-test", 13 }, context = { (const uint8_t *)"c", 1 };
    struct kith_quic_path_info path;
    struct kith_quic_conn_stats stats;
    uint8_t here[32], there[32];
    struct kith_id id;
    struct pair pair;

    pair_open(&pair, mode);
    id = kith_conn_remote_id(pair.at_client);
    KITH_CHECK_BYTES(id.bytes, kith_endpoint_id(pair.server).bytes, KITH_ID_SIZE);
    id = kith_conn_remote_id(pair.at_server);
    KITH_CHECK_BYTES(id.bytes, kith_endpoint_id(pair.client).bytes, KITH_ID_SIZE);
    KITH_CHECK_EQ(kith_conn_alpn(pair.at_server).size, strlen(PAIR_ALPN));
    KITH_CHECK_BYTES(kith_conn_alpn(pair.at_client).ptr, PAIR_ALPN, strlen(PAIR_ALPN));
    KITH_CHECK(kith_conn_is_client(pair.at_client) && !kith_conn_is_client(pair.at_server));
    KITH_CHECK(!kith_conn_early_accepted(pair.at_client));
    PAIR_CHECK(kith_conn_handshake(pair.at_client, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_conn_export(pair.at_client, label, context, here, sizeof here), 0);
    PAIR_CHECK(kith_conn_export(pair.at_server, label, context, there, sizeof there), 0);
    KITH_CHECK_BYTES(here, there, sizeof here);
    context.size = 0;
    PAIR_CHECK(kith_conn_export(pair.at_server, label, context, there, sizeof there), 0);
    KITH_CHECK(memcmp(here, there, sizeof here) != 0);
    KITH_CHECK_EQ(kith_conn_paths(pair.at_client, &path, 1), 1);
    KITH_CHECK(kith_sockaddr_equal(&path.remote, &pair.addr.ips[0]));
    KITH_CHECK(kith_conn_rtt(pair.at_client) > 0 && kith_conn_rtt(pair.at_client) < PAIR_LIMIT);
    kith_conn_stats(pair.at_client, &stats);
    KITH_CHECK(stats.packets_sent > 0 && stats.bytes_received > 0);
    pair_free(&pair);
}

PAIR_TEST(conn_close_tells_code_and_reason_on_both_sides)
{
    struct kith_quic_close_info info;
    struct kith_stream *stream;
    struct kith_op *closed, *accepting;
    struct pair pair;

    pair_open(&pair, mode);
    PAIR_CHECK(kith_conn_close_info(pair.at_client, &info), KITH_ERR_STATE);
    PAIR_CHECK(kith_conn_closed(pair.at_client, 0), KITH_ERR_AGAIN);
    PAIR_CHECK(kith_conn_closed_start(pair.at_server, &closed), 0);
    PAIR_CHECK(kith_accept_stream_start(pair.at_server, true, &accepting), 0);
    kith_conn_close(pair.at_client, 77,
                    "that is\x1b[1m all\xc2\x9b"
                    "2J",
                    19);
    kith_conn_close(pair.at_client, 78, "again", 5);
    PAIR_CHECK(kith_conn_close_info(pair.at_client, &info), 0);
    KITH_CHECK_EQ(info.code, 77);
    KITH_CHECK(info.err == KITH_ERR_CLOSED && !info.by_peer);
    PAIR_CHECK(kith_open_bi(pair.at_client, PAIR_LIMIT, &stream), KITH_ERR_CLOSED);
    PAIR_CHECK(kith_op_wait(closed, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_conn_close_info(pair.at_server, &info), 0);
    KITH_CHECK(info.by_peer && info.is_application);
    KITH_CHECK_EQ(info.code, 77);
    KITH_CHECK_EQ(info.reason.size, 19);
    KITH_CHECK_EQ(info.err, KITH_ERR_CLOSED_BY_PEER);
    PAIR_CHECK(kith_op_wait(accepting, PAIR_LIMIT), KITH_ERR_CLOSED_BY_PEER);
    KITH_CHECK_EQ(kith_error_last()->cause, 77);
    KITH_CHECK(strstr(kith_error_last()->text, "that is\\x1b[1m all\\xc2\\x9b2J") != NULL);
    KITH_CHECK_STR(kith_op_error(accepting)->text, kith_error_last()->text);
    PAIR_CHECK(kith_open_uni(pair.at_server, PAIR_LIMIT, &stream), KITH_ERR_CLOSED_BY_PEER);
    PAIR_CHECK(kith_datagram_send(pair.at_server, "x", 1), KITH_ERR_CLOSED_BY_PEER);
    PAIR_CHECK(kith_conn_closed(pair.at_server, 0), 0);
    KITH_CHECK(kith_conn_is_client(pair.at_client));
    kith_op_free(closed);
    kith_op_free(accepting);
    pair_free(&pair);
}

PAIR_TEST(conn_data_that_came_before_the_close_can_be_read_after_it)
{
    struct kith_stream *here, *there, *second, *third;
    struct pair pair;
    char text[16];
    size_t got;

    pair_open(&pair, mode);
    pair_stream(&pair, true, &here, &there);
    PAIR_CHECK(kith_write_all(here, "last words", 10, KITH_FIN, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_datagram_send(pair.at_client, "dg", 2), 0);
    PAIR_CHECK(kith_sent(here, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_open_uni(pair.at_client, PAIR_LIMIT, &second), 0);
    PAIR_CHECK(kith_write_all(second, "uni", 3, KITH_FIN, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_sent(second, PAIR_LIMIT), 0);
    kith_stream_free(second);
    kith_conn_close(pair.at_client, 5, NULL, 0);
    PAIR_CHECK(kith_conn_closed(pair.at_server, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_read_to_end(there, text, sizeof text, PAIR_LIMIT, &got), 0);
    KITH_CHECK_EQ(got, 10);
    KITH_CHECK_BYTES(text, "last words", 10);
    PAIR_CHECK(kith_read(there, text, sizeof text, PAIR_LIMIT, &got), KITH_ERR_END);
    PAIR_CHECK(kith_write_all(there, "x", 1, 0, PAIR_LIMIT), KITH_ERR_CLOSED_BY_PEER);
    PAIR_CHECK(kith_accept_uni(pair.at_server, PAIR_LIMIT, &second), 0);
    PAIR_CHECK(kith_read_to_end(second, text, sizeof text, PAIR_LIMIT, &got), 0);
    KITH_CHECK_EQ(got, 3);
    PAIR_CHECK(kith_datagram_receive(pair.at_server, text, sizeof text, PAIR_LIMIT, &got), 0);
    KITH_CHECK_EQ(got, 2);
    PAIR_CHECK(kith_datagram_receive(pair.at_server, text, sizeof text, PAIR_LIMIT, &got), KITH_ERR_CLOSED_BY_PEER);
    PAIR_CHECK(kith_accept_uni(pair.at_server, PAIR_LIMIT, &third), KITH_ERR_CLOSED_BY_PEER);
    kith_stream_free(second);
    kith_stream_free(there);
    kith_stream_free(here);
    pair_free(&pair);
}

/* ---- What a server may answer ---- */

static void knock(struct pair *pair, struct kith_op **connecting, struct kith_incoming **incoming)
{
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1 };

    PAIR_CHECK(kith_connect_start(pair->client, &pair->addr, &options, connecting), 0);
    PAIR_CHECK(kith_incoming_next(pair->server, PAIR_LIMIT, incoming), 0);
}

PAIR_TEST(conn_server_can_refuse)
{
    struct kith_incoming *incoming;
    struct kith_op *connecting;
    struct kith_sockaddr bound, remote;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    knock(&pair, &connecting, &incoming);
    remote = kith_incoming_remote(incoming);
    KITH_CHECK_EQ(kith_endpoint_bound(pair.client, &bound, 1), 1);
    KITH_CHECK(kith_sockaddr_equal(&bound, &remote));
    kith_incoming_refuse(incoming);
    PAIR_CHECK(kith_op_wait(connecting, PAIR_LIMIT), KITH_ERR_REFUSED);
    KITH_CHECK(kith_op_take_conn(connecting) == NULL);
    kith_op_free(connecting);
    pair_free(&pair);
}

PAIR_TEST(conn_server_can_ask_for_a_proof_of_address)
{
    struct kith_incoming *incoming;
    struct kith_op *connecting;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    knock(&pair, &connecting, &incoming);
    PAIR_CHECK(kith_incoming_retry(incoming), 0);
    PAIR_CHECK(kith_incoming_next(pair.server, PAIR_LIMIT, &incoming), 0);
    PAIR_CHECK(kith_incoming_retry(incoming), KITH_ERR_STATE);
    PAIR_CHECK(kith_op_wait(connecting, PAIR_LIMIT), KITH_ERR_REFUSED);
    kith_op_free(connecting);
    /* In this order: a connection that succeeds leaves a token, with which the next one is validated at once. */
    knock(&pair, &connecting, &incoming);
    KITH_CHECK(!kith_incoming_is_validated(incoming));
    PAIR_CHECK(kith_incoming_retry(incoming), 0);
    PAIR_CHECK(kith_incoming_next(pair.server, PAIR_LIMIT, &incoming), 0);
    KITH_CHECK(kith_incoming_is_validated(incoming));
    PAIR_CHECK(kith_incoming_accept(incoming, PAIR_LIMIT, &pair.at_server), 0);
    PAIR_CHECK(kith_op_wait(connecting, PAIR_LIMIT), 0);
    kith_op_free(connecting);
    pair_free(&pair);
}

PAIR_TEST(conn_server_can_keep_silent)
{
    struct kith_incoming *incoming;
    struct kith_op *connecting;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    knock(&pair, &connecting, &incoming);
    kith_incoming_ignore(incoming);
    kith_op_set_limit(connecting, 20 * KITH_NS_PER_MS);
    PAIR_CHECK(kith_op_wait(connecting, PAIR_LIMIT), KITH_ERR_TIMEOUT);
    KITH_CHECK(strstr(kith_op_error(connecting)->text, "firewall") != NULL);
    kith_op_free(connecting);
    pair_free(&pair);
}

PAIR_TEST(conn_incoming_that_nobody_took_is_refused)
{
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1 };
    struct kith_op *connecting, *waiting;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    PAIR_CHECK(kith_incoming_next_start(pair.server, &waiting), 0);
    PAIR_CHECK(kith_connect_start(pair.client, &pair.addr, &options, &connecting), 0);
    PAIR_CHECK(kith_op_wait(waiting, PAIR_LIMIT), 0);
    kith_op_free(waiting);
    PAIR_CHECK(kith_op_wait(connecting, PAIR_LIMIT), KITH_ERR_REFUSED);
    kith_op_free(connecting);
    pair_free(&pair);
}

PAIR_TEST(conn_alpn_must_match)
{
    struct kith_slice more[] = { { (const uint8_t *)"other/1", 7 }, { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) } };
    struct kith_op *accepting;
    struct kith_slice bad = { (const uint8_t *)"", 0 };
    struct kith_conn *conn;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    PAIR_CHECK(kith_accept_start(pair.server, &accepting), 0);
    PAIR_CHECK(kith_connect(pair.client, &pair.addr, "other/1", PAIR_LIMIT, &conn), KITH_ERR_ALPN);
    KITH_CHECK_EQ(kith_op_result(accepting), KITH_ERR_AGAIN); /* it was skipped */
    PAIR_CHECK(kith_endpoint_set_alpns(pair.server, &bad, 1), KITH_ERR_INVALID);
    PAIR_CHECK(kith_endpoint_set_alpns(pair.server, more, 2), 0);
    PAIR_CHECK(kith_connect(pair.client, &pair.addr, "other/1", PAIR_LIMIT, &conn), 0);
    PAIR_CHECK(kith_op_wait(accepting, PAIR_LIMIT), 0);
    kith_conn_free(conn);
    kith_op_free(accepting); /* closes the connection that nobody took */
    pair_free(&pair);
}

PAIR_TEST(conn_wrong_targets_fail_with_words)
{
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT };
    struct kith_sockaddr v6;
    struct kith_secret secret;
    struct kith_addr addr;
    struct kith_op *accepting, *op;
    struct kith_conn *conn;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    PAIR_CHECK(kith_accept_start(pair.server, &accepting), 0);
    addr = pair.addr;
    kith_secret_generate(&secret);
    addr.id = kith_secret_id(&secret);
    PAIR_CHECK(kith_connect(pair.client, &addr, PAIR_ALPN, PAIR_LIMIT, &conn), KITH_ERR_WRONG_PEER);
    addr.ip_count = 0;
    PAIR_CHECK(kith_connect(pair.client, &addr, PAIR_ALPN, PAIR_LIMIT, &conn), KITH_ERR_NO_ADDRESS);
    PAIR_CHECK(kith_sockaddr_parse("[::1]:99", &v6), 0);
    PAIR_CHECK(kith_addr_add_ip(&addr, &v6), 0);
    PAIR_CHECK(kith_connect(pair.client, &addr, PAIR_ALPN, PAIR_LIMIT, &conn), KITH_ERR_UNREACHABLE);
    addr = pair.addr;
    addr.id = kith_endpoint_id(pair.client);
    PAIR_CHECK(kith_connect(pair.client, &addr, PAIR_ALPN, PAIR_LIMIT, &conn), KITH_ERR_WRONG_PEER);
    PAIR_CHECK(kith_connect_start(pair.client, &pair.addr, &options, &op), KITH_ERR_INVALID);
    options.size = 3;
    PAIR_CHECK(kith_connect_start(pair.client, &pair.addr, &options, &op), KITH_ERR_INVALID);
    options.size = sizeof options + 8;
    PAIR_CHECK(kith_connect_start(pair.client, &pair.addr, &options, &op), KITH_ERR_INVALID);
    PAIR_CHECK(kith_connect(pair.client, &pair.addr, PAIR_ALPN, 0, &conn), KITH_ERR_AGAIN);
    kith_op_free(accepting);
    pair_free(&pair);
}

PAIR_TEST(conn_one_good_address_among_dead_ones_suffices)
{
    struct kith_endpoint *silent;
    struct kith_sockaddr dead;
    struct kith_quic_path_info path;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    silent = pair_endpoint(pair.context, NULL, NULL, NULL); /* drops what comes */
    KITH_CHECK_EQ(kith_endpoint_bound(silent, &dead, 1), 1);
    PAIR_CHECK(kith_addr_add_ip(&pair.addr, &dead), 0);
    PAIR_CHECK(kith_sockaddr_parse("127.0.0.1:9", &dead), 0); /* nobody: the system says so */
    PAIR_CHECK(kith_addr_add_ip(&pair.addr, &dead), 0);
    PAIR_CHECK(kith_sockaddr_parse("[::1]:9", &dead), 0); /* no socket of this family */
    PAIR_CHECK(kith_addr_add_ip(&pair.addr, &dead), 0);
    PAIR_CHECK(kith_sockaddr_parse("240.0.0.1:9", &dead), 0); /* no way there */
    PAIR_CHECK(kith_addr_add_ip(&pair.addr, &dead), 0);
    pair_connect(&pair);
    KITH_CHECK_EQ(kith_conn_paths(pair.at_client, &path, 1), 1);
    KITH_CHECK_EQ(kith_endpoint_bound(pair.server, &dead, 1), 1);
    KITH_CHECK(kith_sockaddr_equal(&path.remote, &dead));
    pair_free(&pair);
}

/* ---- Many ---- */

enum { MANY = 100 };

PAIR_TEST(conn_many_at_once)
{
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1 };
    static struct kith_op *dialling[MANY], *accepting[MANY];
    struct kith_quic_host_stats stats;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    for (int i = 0; i < MANY; i++)
        PAIR_CHECK(kith_connect_start(pair.client, &pair.addr, &options, &dialling[i]), 0);
    for (int i = 0; i < MANY; i++)
        PAIR_CHECK(kith_accept_start(pair.server, &accepting[i]), 0);
    for (int i = 0; i < MANY; i++) {
        PAIR_CHECK(kith_op_wait(dialling[i], PAIR_LIMIT), 0);
        PAIR_CHECK(kith_op_wait(accepting[i], PAIR_LIMIT), 0);
    }
    kith_endpoint_stats(pair.server, &stats);
    KITH_CHECK_EQ(stats.conns_live, MANY);
    for (int i = 0; i < MANY; i++) {
        kith_op_free(dialling[i]);
        kith_op_free(accepting[i]);
    }
    pair_free(&pair);
}

PAIR_TEST(conn_many_endpoints_in_one_context)
{
    struct kith_endpoint *endpoints[20];
    struct kith_op *accepting;
    struct kith_conn *here, *there;
    struct kith_addr addr;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    for (int i = 0; i < 20; i++)
        endpoints[i] = pair_endpoint(pair.context, NULL, PAIR_ALPN, NULL);
    for (int i = 0; i < 20; i++) {
        kith_endpoint_addr(endpoints[(i + 7) % 20], &addr);
        PAIR_CHECK(kith_accept_start(endpoints[(i + 7) % 20], &accepting), 0);
        PAIR_CHECK(kith_connect(endpoints[i], &addr, PAIR_ALPN, PAIR_LIMIT, &here), 0);
        PAIR_CHECK(kith_op_wait(accepting, PAIR_LIMIT), 0);
        there = kith_op_take_conn(accepting);
        kith_op_free(accepting);
        kith_conn_free(here);
        kith_conn_free(there);
    }
    for (int i = 0; i < 20; i += 2)
        PAIR_CHECK(kith_endpoint_close(endpoints[i], PAIR_LIMIT), 0);
    pair_free(&pair);
}

/* ---- Keys, resumption ---- */

/* Sends a byte and gets it back. */
static void echo(struct pair *pair)
{
    struct kith_stream *here, *there;
    char byte;

    pair_stream(pair, true, &here, &there);
    PAIR_CHECK(kith_write_all(there, "y", 1, KITH_FIN, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_read_exact(here, &byte, 1, PAIR_LIMIT), 0);
    KITH_CHECK_EQ(byte, 'y');
    kith_stream_free(here);
    kith_stream_free(there);
}

PAIR_TEST(conn_keys_can_be_updated)
{
    struct kith_quic_conn_stats stats;
    struct pair pair;

    pair_open(&pair, mode);
    echo(&pair); /* confirms the handshake */
    PAIR_CHECK(kith_conn_update_keys(pair.at_client), 0);
    echo(&pair);
    echo(&pair);
    kith_conn_stats(pair.at_server, &stats);
    KITH_CHECK(stats.key_updates > 0);
    kith_conn_close(pair.at_client, 0, NULL, 0);
    PAIR_CHECK(kith_conn_update_keys(pair.at_client), KITH_ERR_STATE);
    pair_free(&pair);
}

/* Connects with early data, writes before the handshake is over. */
static void connect_early(struct pair *pair, struct kith_stream **stream)
{
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1,
                                            .early_data = true };
    struct kith_op *connecting;

    PAIR_CHECK(kith_connect_start(pair->client, &pair->addr, &options, &connecting), 0);
    PAIR_CHECK(kith_op_wait(connecting, PAIR_LIMIT), 0);
    pair->at_client = kith_op_take_conn(connecting);
    kith_op_free(connecting);
    PAIR_CHECK(kith_open_bi(pair->at_client, PAIR_LIMIT, stream), 0);
    PAIR_CHECK(kith_write_all(*stream, "early", 5, KITH_FIN, PAIR_LIMIT), 0);
}

static void check_early_arrives(struct pair *pair, struct kith_stream *stream, bool is_accepted)
{
    struct kith_stream *there;
    char text[16];
    size_t got;

    PAIR_CHECK(kith_accept(pair->server, PAIR_LIMIT, &pair->at_server), 0);
    PAIR_CHECK(kith_conn_handshake(pair->at_client, PAIR_LIMIT), 0);
    KITH_CHECK_EQ(kith_conn_early_accepted(pair->at_client), is_accepted);
    PAIR_CHECK(kith_accept_bi(pair->at_server, PAIR_LIMIT, &there), 0);
    PAIR_CHECK(kith_read_to_end(there, text, sizeof text, PAIR_LIMIT, &got), 0);
    KITH_CHECK_EQ(got, 5);
    KITH_CHECK_BYTES(text, "early", 5);
    PAIR_CHECK(kith_write_all(there, "late", 4, KITH_FIN, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_read_to_end(stream, text, sizeof text, PAIR_LIMIT, &got), 0);
    KITH_CHECK_EQ(got, 4);
    kith_stream_free(there);
    kith_stream_free(stream);
}

PAIR_TEST(conn_early_data_is_taken_on_resumption)
{
    struct kith_stream *stream;
    struct pair pair;

    pair_open(&pair, mode);
    echo(&pair); /* the tickets come before the answer */
    pair_disconnect(&pair);
    connect_early(&pair, &stream);
    check_early_arrives(&pair, stream, true);
    pair_free(&pair);
}

PAIR_TEST(conn_early_data_without_a_ticket_waits_for_the_handshake)
{
    struct kith_stream *stream;
    struct kith_op *accepting;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    PAIR_CHECK(kith_accept_start(pair.server, &accepting), 0);
    connect_early(&pair, &stream);
    KITH_CHECK(!kith_conn_early_accepted(pair.at_client));
    PAIR_CHECK(kith_op_wait(accepting, PAIR_LIMIT), 0);
    kith_op_free(accepting);
    kith_stream_free(stream);
    pair_free(&pair);
}

PAIR_TEST(conn_rejected_early_data_is_sent_again)
{
    struct kith_secret secret;
    struct kith_stream *stream;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    kith_endpoint_close(pair.server, 0);
    kith_secret_generate(&secret);
    pair.server = pair_endpoint(pair.context, &secret, PAIR_ALPN, NULL);
    kith_endpoint_addr(pair.server, &pair.addr);
    pair_connect(&pair);
    echo(&pair);
    pair_disconnect(&pair);
    PAIR_CHECK(kith_endpoint_close(pair.server, PAIR_LIMIT), 0);
    pair.server = pair_endpoint(pair.context, &secret, PAIR_ALPN, NULL); /* knows the old tickets no more */
    kith_endpoint_addr(pair.server, &pair.addr);
    connect_early(&pair, &stream);
    check_early_arrives(&pair, stream, false);
    pair_free(&pair);
}
