#include "api/objects.h"
#include "api/pair.h"
#include "base/random.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

KITH_TEST(endpoint_bind_fails_with_words)
{
    struct kith_sockaddr taken, many[17], elsewhere;
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT };
    struct kith_slice alpn = { (const uint8_t *)"", 0 };
    struct kith_endpoint *endpoint;
    struct pair pair;

    pair_bind(&pair, KITH_CONTEXT_THREAD, NULL);
    KITH_CHECK_EQ(kith_endpoint_bound(pair.server, &taken, 1), 1);
    options.binds = &taken;
    options.bind_count = 1;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_ADDRESS_IN_USE);
    KITH_CHECK(strstr(kith_error_last()->text, "127.0.0.1") != NULL);
    PAIR_CHECK(kith_sockaddr_parse("192.0.2.1:0", &elsewhere), 0);
    options.binds = &elsewhere;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_UNREACHABLE);
    memset(many, 0, sizeof many);
    for (int i = 0; i < 17; i++)
        many[i] = (struct kith_sockaddr) { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 };
    options.binds = many;
    options.bind_count = 17;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_LIMIT);
    options.bind_count = 1;
    options.alpns_raw = &alpn;
    options.alpns_raw_count = 1;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    options.alpns_raw_count = 0;
    options.size = 2;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    options.size = sizeof options + 8;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    pair_free(&pair);
}

KITH_TEST(endpoint_tells_what_is_not_given)
{
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .bind_count = 1 };
    struct kith_endpoint *endpoint;
    struct kith_context *context;
    struct kith_conn *conn;
    struct kith_op *op;
    struct pair pair;

    PAIR_CHECK(kith_context_new(NULL, &context), KITH_ERR_INVALID);
    PAIR_CHECK(kith_endpoint_bind(NULL, &endpoint), KITH_ERR_INVALID);
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    options.bind_count = 0;
    options.alpns_raw_count = 1;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    pair_bind(&pair, KITH_CONTEXT_THREAD, NULL);
    PAIR_CHECK(kith_connect_start(pair.client, &pair.addr, NULL, &op), KITH_ERR_INVALID);
    PAIR_CHECK(kith_connect(pair.client, &pair.addr, NULL, 0, &conn), KITH_ERR_INVALID);
    PAIR_CHECK(kith_endpoint_set_alpns(pair.server, NULL, 1), KITH_ERR_INVALID);
    PAIR_CHECK(kith_endpoint_set_alpns(pair.server, NULL, 0), 0);
    PAIR_CHECK(kith_endpoint_set_alpns(pair.server, &alpn, 1), 0);
    pair_connect(&pair);
    pair_free(&pair);
}

/* What is wrong with the settings is told when they are given, not when the first client comes. */
KITH_TEST(endpoint_checks_transport_settings)
{
    struct kith_quic_transport transport;
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .transport = &transport };
    struct kith_endpoint *endpoint;
    struct pair pair;

    memset(&transport, 0, sizeof transport);
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    KITH_CHECK(strstr(kith_error_last()->text, "transport") != NULL);
    kith_quic_transport_defaults(&transport);
    transport.udp_size_max = 9000;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    kith_quic_transport_defaults(&transport);
    transport.max_ack_delay_ns = 1500000; /* goes out as 1 ms */
    transport.min_ack_delay_ns = 1400000;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    kith_quic_transport_defaults(&transport);
    transport.data_max = transport.stream_data_max = transport.idle_timeout_ns = transport.keep_alive_ns = UINT64_MAX;
    transport.send_buffer_max = transport.stream_data_auto_max = UINT64_MAX;
    transport.datagram_send_max = transport.datagram_receive_max = UINT64_MAX;
    pair_bind(&pair, KITH_CONTEXT_THREAD, &transport);
    pair_connect(&pair);
    pair_free(&pair);
}

KITH_TEST(endpoint_by_itself_has_its_own_context)
{
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT };
    struct kith_endpoint *endpoint;
    struct kith_sockaddr bound[4];
    struct kith_conn *conn;
    struct kith_addr addr;
    struct kith_op *op;

    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), 0);
    KITH_CHECK(kith_endpoint_bound(endpoint, bound, 4) >= 1);
    KITH_CHECK(bound[0].port != 0);
    kith_endpoint_addr(endpoint, &addr);
    KITH_CHECK_EQ(addr.ignored_count, 0);
    PAIR_CHECK(kith_accept(endpoint, 0, &conn), KITH_ERR_AGAIN);
    PAIR_CHECK(kith_accept_start(endpoint, &op), 0);
    PAIR_CHECK(kith_endpoint_close(endpoint, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_op_wait(op, PAIR_LIMIT), KITH_ERR_CLOSED);
    kith_op_free(op);
    PAIR_CHECK(kith_endpoint_close(NULL, 0), 0);
}

KITH_TEST(endpoint_with_several_sockets_uses_the_one_that_fits)
{
    struct kith_context_options in_loop = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER };
    struct kith_sockaddr binds[2];
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .binds = binds, .bind_count = 2 };
    struct pair pair = { 0 };

    PAIR_CHECK(kith_context_new(&in_loop, &pair.context), 0);
    options.context = pair.context;
    PAIR_CHECK(kith_sockaddr_parse("127.0.0.2:0", &binds[0]), 0);
    PAIR_CHECK(kith_sockaddr_parse("0.0.0.0:0", &binds[1]), 0);
    PAIR_CHECK(kith_endpoint_bind(&options, &pair.client), 0);
    pair.server = pair_endpoint(pair.context, NULL, PAIR_ALPN, NULL);
    kith_endpoint_addr(pair.server, &pair.addr);
    pair_connect(&pair);
    pair_free(&pair);
}

PAIR_TEST(endpoint_close_flushes_what_was_finished)
{
    enum { SIZE = 5000000 };
    struct kith_stream *here, *there;
    uint8_t *bytes = malloc(SIZE), *back = malloc(SIZE);
    struct kith_quic_close_info info;
    struct kith_op *reading, *dialling;
    size_t got = 0;
    struct kith_quic_transport transport;
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT };
    struct pair pair;

    assert_non_null(bytes);
    assert_non_null(back);
    (void)dialling;
    (void)options;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i % 241);
    kith_quic_transport_defaults(&transport);
    transport.stream_data_max = SIZE;
    pair_bind(&pair, mode, &transport);
    pair_connect(&pair);
    PAIR_CHECK(kith_open_uni(pair.at_client, PAIR_LIMIT, &here), 0);
    PAIR_CHECK(kith_write_all(here, bytes, SIZE, KITH_FIN, PAIR_LIMIT), 0);
    kith_stream_free(here); /* goes on by itself */
    PAIR_CHECK(kith_endpoint_close(pair.client, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_accept_uni(pair.at_server, PAIR_LIMIT, &there), 0);
    while (got < SIZE) {
        PAIR_CHECK(kith_read_start(there, back + got, SIZE - got, &reading), 0);
        PAIR_CHECK(kith_op_wait(reading, PAIR_LIMIT), 0);
        got += kith_op_size(reading);
        kith_op_free(reading);
    }
    KITH_CHECK(memcmp(bytes, back, SIZE) == 0);
    PAIR_CHECK(kith_conn_closed(pair.at_server, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_conn_close_info(pair.at_server, &info), 0);
    KITH_CHECK(info.by_peer && info.code == 0);
    kith_stream_free(there);
    pair_free(&pair);
    free(bytes);
    free(back);
}

PAIR_TEST(endpoint_close_in_a_hurry_still_tells_the_other_side)
{
    struct kith_stream *here;
    struct pair pair;

    pair_open(&pair, mode);
    PAIR_CHECK(kith_open_uni(pair.at_client, PAIR_LIMIT, &here), 0);
    PAIR_CHECK(kith_write_all(here, "x", 1, 0, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_endpoint_close(pair.client, 0), KITH_ERR_TIMEOUT);
    PAIR_CHECK(kith_conn_closed(pair.at_server, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_datagram_send(pair.at_server, "x", 1), KITH_ERR_CLOSED_BY_PEER);
    kith_stream_free(here);
    pair_free(&pair);
}

PAIR_TEST(endpoint_close_refuses_those_who_wait)
{
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1 };
    struct kith_quic_host_stats stats = { 0 };
    struct kith_op *connecting;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    PAIR_CHECK(kith_connect_start(pair.client, &pair.addr, &options, &connecting), 0);
    while (stats.incoming_waiting == 0) {
        kith_op_wait(connecting, KITH_NS_PER_MS);
        kith_endpoint_stats(pair.server, &stats);
    }
    PAIR_CHECK(kith_endpoint_close(pair.server, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_op_wait(connecting, PAIR_LIMIT), KITH_ERR_REFUSED);
    kith_op_free(connecting);
    pair_free(&pair);
}

PAIR_TEST(endpoint_clients_that_left_are_not_accepted)
{
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1 };
    struct kith_op *accepting, *dialling[2], *never;
    struct kith_conn *conn;
    struct kith_quic_host_stats stats;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    PAIR_CHECK(kith_accept_start(pair.client, &never), 0);
    /* Two clients come while one accept waits: the second gets through, and nobody takes it before it leaves. */
    PAIR_CHECK(kith_accept_start(pair.server, &accepting), 0);
    for (int i = 0; i < 2; i++)
        PAIR_CHECK(kith_connect_start(pair.client, &pair.addr, &options, &dialling[i]), 0);
    PAIR_CHECK(kith_op_wait(accepting, PAIR_LIMIT), 0);
    kith_op_free(accepting); /* closes what nobody took */
    for (int i = 0; i < 2; i++) {
        kith_op_wait(dialling[i], 20 * KITH_NS_PER_MS); /* one of them may not have been let in */
        kith_op_free(dialling[i]);
    }
    do {
        kith_op_wait(never, KITH_NS_PER_MS);
        kith_endpoint_stats(pair.server, &stats);
    } while (stats.conns_live > 0);
    kith_op_free(never);
    PAIR_CHECK(kith_accept(pair.server, KITH_NS_PER_MS, &conn), KITH_ERR_TIMEOUT);
    pair_free(&pair);
}

/* First packets of `count` clients that never say a second word, to the only address of the pair's server. */
static void send_hung_clients(struct pair *pair, struct kith_quic_host *host, int fd, size_t count)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(pair->addr.ips[0].port) };
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_quic_connect_options options = {
        .remote_id = pair->addr.id, .remotes = pair->addr.ips, .remote_count = 1, .alpns = &alpn, .alpn_count = 1
    };
    uint8_t buffer[KITH_QUIC_UDP_SIZE_MAX];
    struct kith_quic_transmit transmit;
    struct kith_quic_conn *conn;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < count; i++)
        KITH_CHECK_EQ(kith_quic_connect(host, &options, KITH_NS_PER_S, &conn), 0);
    while (kith_quic_host_transmit(host, buffer, sizeof buffer, &transmit, KITH_NS_PER_S))
        KITH_CHECK_EQ(sendto(fd, buffer, transmit.size, 0, (struct sockaddr *)&to, sizeof to), (ssize_t)transmit.size);
}

PAIR_TEST(endpoint_hung_clients_make_room_for_others)
{
    struct kith_prng prng;
    struct kith_quic_host_options options;
    struct kith_quic_host *hung;
    struct kith_quic_host_stats stats;
    struct kith_op *accepting;
    struct pair pair;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    kith_quic_host_defaults(&options);
    kith__prng_init(&prng, 1);
    options.random = kith__prng_source(&prng);
    options.secret.bytes[0] = 1;
    KITH_CHECK_EQ(kith_quic_host_new(&options, &hung), 0);
    pair_bind(&pair, mode, NULL);
    PAIR_CHECK(kith_accept_start(pair.server, &accepting), 0);
    for (size_t sent = 0; sent < KITH_ACCEPTING_MAX; sent += 32) { /* no more at once than a socket takes */
        send_hung_clients(&pair, hung, fd, 32);
        do {
            kith_op_wait(accepting, KITH_NS_PER_MS);
            kith_endpoint_stats(pair.server, &stats);
        } while (stats.conns_opened < sent + 32);
    }
    PAIR_CHECK(kith_connect(pair.client, &pair.addr, PAIR_ALPN, 20 * KITH_NS_PER_S, &pair.at_client), 0);
    PAIR_CHECK(kith_op_wait(accepting, PAIR_LIMIT), 0);
    kith_endpoint_stats(pair.server, &stats);
    KITH_CHECK_EQ(stats.handshakes_given_up, 1); /* the oldest of them, for the one that came */
    kith_op_free(accepting);
    close(fd);
    kith_quic_host_free(hung);
    pair_free(&pair);
}

KITH_TEST(endpoint_writes_key_log_and_qlog)
{
    char directory[] = "/tmp/kith-api-XXXXXX", path[64], command[96];
    const char *alpns[] = { PAIR_ALPN, NULL };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .alpns = alpns };
    struct kith_connect_options how = { KITH_CONNECT_OPTIONS_INIT };
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_quic_transport transport;
    struct kith_op *connecting;
    struct kith_stream *stream;
    struct pair pair;
    struct stat stat_of;

    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/keys", directory);
    pair_bind(&pair, KITH_CONTEXT_THREAD, NULL);
    kith_endpoint_close(pair.client, 0);
    options.context = pair.context;
    options.key_log_file = path;
    options.qlog_directory = directory;
    PAIR_CHECK(kith_endpoint_bind(&options, &pair.client), 0);
    kith_quic_transport_defaults(&transport); /* with settings of its own too */
    how.transport = &transport;
    how.alpns = &alpn;
    how.alpn_count = 1;
    PAIR_CHECK(kith_connect_start(pair.client, &pair.addr, &how, &connecting), 0);
    PAIR_CHECK(kith_accept(pair.server, PAIR_LIMIT, &pair.at_server), 0);
    PAIR_CHECK(kith_op_wait(connecting, PAIR_LIMIT), 0);
    pair.at_client = kith_op_take_conn(connecting);
    kith_op_free(connecting);
    PAIR_CHECK(kith_open_uni(pair.at_client, PAIR_LIMIT, &stream), 0);
    kith_stream_free(stream);
    PAIR_CHECK(kith_endpoint_close(pair.client, PAIR_LIMIT), 0);
    KITH_CHECK_EQ(stat(path, &stat_of), 0);
    KITH_CHECK(stat_of.st_size > 100 && (stat_of.st_mode & 077) == 0);
    snprintf(command, sizeof command, "ls %s/*.qlog > /dev/null", directory);
    KITH_CHECK_EQ(system(command), 0);
    pair_free(&pair);
    snprintf(command, sizeof command, "rm -r %s", directory);
    KITH_CHECK_EQ(system(command), 0);
}
