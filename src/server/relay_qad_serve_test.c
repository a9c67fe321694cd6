/* Address discovery over simulated UDP, with the engine as its client too: what a client learns, certificates that change, the end. */
#include "server/relay_qad.h"

#include "base/mem.h"
#include "base/test.h"
#include "quic/host/x509.h"
#include "rt/sim/sim.h"
#include "tls/selfmade.h"
#include <string.h>
#include <time.h>

/** A client by hand: one socket, one engine. */
struct client {
    struct kith_rt *rt;
    struct kith_rt_udp *udp;
    struct kith_quic_host *host;
    struct kith_rt_timer timer;
    struct kith_quic_conn *conn;
    struct kith_quic_close_info end;
    bool is_connected, is_closed;
    uint8_t buffer[65507];
};

struct rig {
    struct kith_sim *sim;
    struct kith_sim_host *near, *far;
    struct kith_relay_counters counters;
    struct kith_relay_qad *qad;
    struct kith_sockaddr at;
    struct kith_selfmade authority;
    struct client client;
};

static const char *const names[] = { "relay.test" };

static void pump(struct client *client)
{
    struct kith_quic_transmit transmit;
    struct kith_quic_event event;

    while (kith_quic_host_transmit(client->host, client->buffer, sizeof client->buffer, &transmit,
                                   kith__rt_now(client->rt)))
        KITH_CHECK_EQ(kith__rt_udp_send(client->udp, &transmit, client->buffer), 0);
    while (kith_quic_host_next_event(client->host, &event)) {
        client->is_connected |= event.kind == KITH_QUIC_CONNECTED;
        if (event.kind == KITH_QUIC_CLOSED) {
            client->is_closed = true;
            KITH_CHECK_EQ(kith_quic_conn_close_info(event.conn, &client->end), 0);
        }
    }
    kith__rt_timer_set(&client->timer, kith_quic_host_deadline(client->host));
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct client *client = ctx;

    for (size_t i = 0; i < count; i++)
        kith_quic_host_receive(client->host, &batch[i], now_ns);
    pump(client);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct client *client = ctx;

    kith_quic_host_on_deadline(client->host, now_ns);
    pump(client);
}

static void client_open(struct rig *rig)
{
    struct client *client = &rig->client;
    struct kith_tls_x509 trust = { .anchors = kith__buf_slice(&rig->authority.certificate) };
    struct kith_rt_udp_options udp = { .buffer_size = 0 };
    struct kith_rt_udp_events events = { on_receive, NULL, client };
    struct kith_quic_host_options options;

    client->rt = kith__sim_rt(rig->near);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &udp.local), 0);
    KITH_CHECK_EQ(kith__rt_udp_open(client->rt, &udp, &events, &client->udp), 0);
    KITH_CHECK_EQ(kith__rt_timer_init(client->rt, &client->timer, on_timer, client), 0);
    kith_quic_host_defaults(&options);
    options.random = *kith__rt_random(client->rt);
    options.secret.bytes[0] = 1;
    options.transport.observed_address = KITH_QUIC_OBSERVED_RECEIVE;
    KITH_CHECK_EQ(kith_quic_host_new(&options, &client->host), 0);
    KITH_CHECK_EQ(kith__host_set_x509(client->host, &trust), 0);
}

static void give_certificate(struct rig *rig)
{
    struct kith_selfmade server = { { .mem = kith_mem_default() }, { .mem = kith_mem_default() } };

    KITH_CHECK_EQ(kith__selfmade_server(kith_mem_default(), kith__buf_slice(&rig->authority.certificate),
                                        kith__buf_slice(&rig->authority.key), names, 1, (uint64_t)time(NULL), &server),
                  0);
    KITH_CHECK_EQ(
        kith__relay_qad_set_certificate(rig->qad, kith__buf_slice(&server.certificate), kith__buf_slice(&server.key)),
        0);
    kith__selfmade_dispose(&server);
}

static void rig_open(struct rig *rig, double rate)
{
    struct kith_sim_host_options host = { .name = "client" };
    struct kith_relay_qad_options options = {
        .mem = kith_mem_default(), .counters = &rig->counters, .rate = rate, .per_ip_max = 4
    };
    struct kith_sockaddr at;

    memset(rig, 0, sizeof *rig);
    rig->authority = (struct kith_selfmade) { { .mem = kith_mem_default() }, { .mem = kith_mem_default() } };
    KITH_CHECK_EQ(kith__selfmade_authority(kith_mem_default(), "test", (uint64_t)time(NULL), &rig->authority), 0);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, kith__test_seed(1), &rig->sim), 0);
    host.up.delay_ns = host.down.delay_ns = 10 * KITH_NS_PER_MS;
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &host.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(rig->sim, &host, &rig->near), 0);
    host.name = "relay.test";
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.2:0", &host.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(rig->sim, &host, &rig->far), 0);
    options.rt = kith__sim_rt(rig->far);
    KITH_CHECK_EQ(kith__relay_qad_new(&options, &rig->qad), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.2:7842", &at), 0);
    KITH_CHECK_EQ(kith__relay_qad_listen(rig->qad, &at, &rig->at), 0);
    client_open(rig);
}

static void rig_close(struct rig *rig)
{
    kith__relay_qad_free(rig->qad);
    kith_quic_host_free(rig->client.host);
    kith__rt_udp_close(rig->client.udp);
    kith__rt_timer_dispose(&rig->client.timer);
    kith__rt_free(rig->client.rt);
    kith__rt_free(kith__sim_rt(rig->far));
    kith__sim_free(rig->sim);
    kith__selfmade_dispose(&rig->authority);
}

static void pass(struct rig *rig, uint64_t ns)
{
    KITH_CHECK_EQ(kith__sim_run(rig->sim, NULL, NULL, kith__sim_now(rig->sim) + ns), KITH_SIM_OK);
}

static void dial(struct rig *rig)
{
    static const struct kith_slice alpn = { (const uint8_t *)KITH_RELAY_QAD_ALPN, sizeof KITH_RELAY_QAD_ALPN - 1 };
    struct kith_quic_connect_options options = {
        .remotes = &rig->at, .remote_count = 1, .alpns = &alpn, .alpn_count = 1
    };

    rig->client.is_connected = rig->client.is_closed = false;
    KITH_CHECK_EQ(kith__host_connect_by_name(rig->client.host, "relay.test", &options, kith__rt_now(rig->client.rt),
                                             &rig->client.conn),
                  0);
    pump(&rig->client);
}

KITH_TEST(discovery_tells_a_client_its_address_and_takes_new_certificates)
{
    static struct rig rig;
    struct kith_quic_path_info path;
    struct kith_sockaddr own;

    rig_open(&rig, 0);
    dial(&rig);
    pass(&rig, 500 * KITH_NS_PER_MS);
    KITH_CHECK(!rig.client.is_connected); /* there is no certificate yet: nobody is answered */
    give_certificate(&rig);
    pass(&rig, 5 * KITH_NS_PER_S);
    KITH_CHECK(rig.client.is_connected);
    own = kith__rt_udp_local(rig.client.udp);
    KITH_CHECK_EQ(kith_quic_conn_paths(rig.client.conn, &path, 1), 1);
    KITH_CHECK(kith_sockaddr_equal(&path.observed, &own));
    KITH_CHECK_EQ(kith__relay_qad_conn_count(rig.qad), 1);

    give_certificate(&rig); /* the connection goes on with the old one */
    kith_quic_conn_close(rig.client.conn, 1, (struct kith_slice) { (const uint8_t *)"finished", 8 },
                         kith__rt_now(rig.client.rt));
    pump(&rig.client);
    pass(&rig, 5 * KITH_NS_PER_S);
    KITH_CHECK_EQ(kith__relay_qad_conn_count(rig.qad), 0);
    KITH_CHECK_EQ(kith__relay_counter(&rig.counters.qad_connections_closed), 1);
    KITH_CHECK_EQ(kith__relay_counter(&rig.counters.qad_connections_errored), 0);
    dial(&rig);
    pass(&rig, KITH_NS_PER_S);
    KITH_CHECK(rig.client.is_connected);
    KITH_CHECK_EQ(kith__relay_counter(&rig.counters.qad_connections), 2);

    /* The end is said: code 1. */
    kith__relay_qad_free(rig.qad);
    rig.qad = NULL;
    pass(&rig, KITH_NS_PER_S);
    KITH_CHECK(rig.client.is_closed && rig.client.end.by_peer && rig.client.end.code == 1);
    rig_close(&rig);
}

KITH_TEST(discovery_lets_one_address_have_only_so_many_connections)
{
    static struct rig rig;
    struct kith_quic_conn *first = NULL;

    rig_open(&rig, 0);
    give_certificate(&rig);
    for (int i = 0; i < 6; i++) {
        dial(&rig);
        pass(&rig, KITH_NS_PER_S);
        KITH_CHECK_EQ(rig.client.is_connected, i < 4);
        first = i == 0 ? rig.client.conn : first;
    }
    KITH_CHECK_EQ(kith__relay_qad_conn_count(rig.qad), 4);
    KITH_CHECK(kith__relay_counter(&rig.counters.qad_incoming_error) >= 2);
    kith_quic_conn_close(first, 1, (struct kith_slice) { NULL, 0 }, kith__rt_now(rig.client.rt));
    pump(&rig.client);
    pass(&rig, 5 * KITH_NS_PER_S);
    KITH_CHECK(rig.client.is_connected); /* one of those that still tried has found the room */
    KITH_CHECK_EQ(kith__relay_qad_conn_count(rig.qad), 4);
    rig_close(&rig);
}

KITH_TEST(discovery_under_load_asks_for_a_retry_and_still_serves)
{
    static struct rig rig;

    rig_open(&rig, 2);
    give_certificate(&rig);
    dial(&rig);
    dial(&rig);
    pass(&rig, KITH_NS_PER_S / 10);
    dial(&rig); /* half of the rate is used up: it must prove its address */
    pass(&rig, 5 * KITH_NS_PER_S);
    KITH_CHECK(rig.client.is_connected);
    KITH_CHECK_EQ(kith__relay_counter(&rig.counters.qad_connections), 3);
    KITH_CHECK(kith__relay_counter(&rig.counters.qad_incoming) > 3);
    rig_close(&rig);
}
