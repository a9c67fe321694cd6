/* QUIC address discovery. */
#include "server/relay_qad.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/random.h"
#include "crypto/secure.h"
#include "quic/host/x509.h"

enum { BUFFER_SIZE = 65507, CLOSE_FINISHED = 1 };

struct client {
    struct kith_list node;
    struct kith_quic_conn *conn;
    struct kith_relay_ticket ticket;
};

struct kith_relay_qad {
    struct kith_relay_qad_options options;
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_quic_host *host;
    struct kith_rt_udp *sockets[KITH_RELAY_BINDS_MAX];
    struct kith_sockaddr locals[KITH_RELAY_BINDS_MAX];
    size_t socket_count;
    struct kith_rt_timer timer;
    struct kith_relay_qad_gate *gate;
    uint8_t *buffer;
    struct kith_relay_admission *admission; /* who may have how many connections */
    struct kith_list clients;
    size_t conn_count;
    bool has_certificate;
};

static void count(_Atomic uint64_t *counter)
{
    kith__relay_count(counter, 1);
}

/* ---- Events ---- */

static void begin(struct kith_relay_qad *qad, struct kith_quic_incoming *incoming, uint64_t now_ns)
{
    struct kith_sockaddr remote = kith_quic_incoming_remote(incoming);
    struct client *client = kith__alloc_zero(qad->mem, sizeof *client);

    if (client == NULL ||
        kith__relay_admission_take(qad->admission, &remote, now_ns, &client->ticket) != KITH_RELAY_ADMITTED) {
        kith__free(qad->mem, client);
        kith_quic_incoming_ignore(incoming);
        count(&qad->options.counters->qad_incoming_error);
        return;
    }
    if (kith_quic_incoming_accept(incoming, NULL, now_ns, &client->conn) != 0) {
        kith__relay_ticket_release(&client->ticket);
        kith__free(qad->mem, client);
        count(&qad->options.counters->qad_incoming_error);
        return;
    }
    kith_quic_conn_set_user(client->conn, client);
    kith__list_push_back(&qad->clients, &client->node);
    qad->conn_count++;
}

static void forget(struct kith_relay_qad *qad, struct client *client)
{
    kith__list_remove(&client->node);
    kith__relay_ticket_release(&client->ticket);
    qad->conn_count--;
    kith__free(qad->mem, client);
}

static void decide(struct kith_relay_qad *qad, struct kith_quic_incoming *incoming, uint64_t now_ns)
{
    struct kith_relay_counters *counters = qad->options.counters;
    struct kith_sockaddr remote = kith_quic_incoming_remote(incoming);
    bool is_validated = kith_quic_incoming_is_validated(incoming);
    enum kith_relay_qad_verdict verdict = KITH_RELAY_QAD_IGNORE;

    count(&counters->qad_incoming);
    if (qad->has_certificate)
        verdict = kith__relay_qad_gate_ask(qad->gate, &remote, is_validated, now_ns);
    if (verdict == KITH_RELAY_QAD_RETRY && kith_quic_incoming_retry(incoming, now_ns) == 0)
        return;
    if (verdict == KITH_RELAY_QAD_ACCEPT) {
        begin(qad, incoming, now_ns);
        return;
    }
    count(&counters->qad_incoming_error);
    kith_quic_incoming_ignore(incoming);
}

/* 0 and 1 are how clients end it (spec/02, 6.3). */
static void count_end(struct kith_relay_qad *qad, const struct kith_quic_conn *conn)
{
    struct kith_relay_counters *counters = qad->options.counters;
    struct kith_quic_close_info info;

    if (kith_quic_conn_close_info(conn, &info) == 0 && info.is_application && info.code <= CLOSE_FINISHED)
        count(&counters->qad_connections_closed);
    else
        count(&counters->qad_connections_errored);
}

static void take_events(struct kith_relay_qad *qad, uint64_t now_ns)
{
    struct kith_quic_event event;

    while (kith_quic_host_next_event(qad->host, &event)) {
        switch (event.kind) {
        case KITH_QUIC_INCOMING:
            decide(qad, event.incoming, now_ns);
            break;
        case KITH_QUIC_CONNECTED:
            count(&qad->options.counters->qad_connections);
            break;
        case KITH_QUIC_CLOSED:
            count_end(qad, event.conn);
            break;
        case KITH_QUIC_DRAINED:
            forget(qad, kith_quic_conn_user(event.conn));
            kith_quic_conn_free(event.conn);
            break;
        default:
            break; /* nothing else is of interest here */
        }
    }
}

/* ---- Datagrams ---- */

static struct kith_rt_udp *socket_for(struct kith_relay_qad *qad, const struct kith_quic_transmit *transmit)
{
    struct kith_rt_udp *fallback = NULL;

    for (size_t i = 0; i < qad->socket_count; i++) {
        if (qad->locals[i].family != transmit->remote.family)
            continue;
        if (qad->locals[i].port == transmit->local.port)
            return qad->sockets[i];
        fallback = qad->sockets[i];
    }
    return fallback;
}

static bool is_blocked(const struct kith_relay_qad *qad)
{
    for (size_t i = 0; i < qad->socket_count; i++)
        if (kith__rt_udp_is_blocked(qad->sockets[i]))
            return true;
    return false;
}

static void pump(struct kith_relay_qad *qad)
{
    uint64_t now = kith__rt_now(qad->rt);
    struct kith_quic_transmit transmit;

    take_events(qad, now);
    while (!is_blocked(qad) && kith_quic_host_transmit(qad->host, qad->buffer, BUFFER_SIZE, &transmit, now)) {
        struct kith_rt_udp *socket = socket_for(qad, &transmit);

        /* To the engine a datagram that does not go out is one that was lost. */
        if (socket == NULL || kith__rt_udp_send(socket, &transmit, qad->buffer) != 0)
            kith__log(&qad->rt->log, KITH_LOG_DEBUG, "discovery", "a datagram found no way out");
    }
    take_events(qad, now);
    kith__rt_timer_set(&qad->timer, kith_quic_host_deadline(qad->host));
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t batch_count, uint64_t now_ns)
{
    struct kith_relay_qad *qad = ctx;

    for (size_t i = 0; i < batch_count; i++)
        kith_quic_host_receive(qad->host, &batch[i], now_ns);
    pump(qad);
}

static void on_writable(void *ctx)
{
    pump(ctx);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_relay_qad *qad = ctx;

    kith_quic_host_on_deadline(qad->host, now_ns);
    pump(qad);
}

/* ---- Life ---- */

/* A client gets its address and may stay; it can open nothing and send nothing that we would keep. */
static int make_host(struct kith_relay_qad *qad)
{
    static const struct kith_slice alpn = { (const uint8_t *)KITH_RELAY_QAD_ALPN, sizeof KITH_RELAY_QAD_ALPN - 1 };
    struct kith_quic_host_options options;
    int err;

    kith_quic_host_defaults(&options);
    options.mem = qad->mem;
    options.random = *kith__rt_random(qad->rt);
    options.log = &qad->rt->log;
    options.alpns = &alpn;
    options.alpn_count = 1;
    options.transport.streams_bidi_max = 0;
    options.transport.streams_uni_max = 0;
    options.transport.datagram_receive_max = 0;
    options.transport.paths_max = 0;
    options.transport.nat_traversal_max = 0;
    options.transport.keep_alive_ns = 0;
    options.transport.mtu_discovery = false;
    options.transport.allow_early_data = false;
    options.transport.observed_address = KITH_QUIC_OBSERVED_SEND;
    kith__random_fill(&options.random, options.secret.bytes, sizeof options.secret.bytes);
    err = kith_quic_host_new(&options, &qad->host);
    kith__wipe(&options.secret, sizeof options.secret);
    return err;
}

static double or_default(double rate, double otherwise)
{
    return rate > 0 ? rate : otherwise;
}

static int make_gate(const struct kith_relay_qad *qad, double rate, double per_ip_rate,
                     struct kith_relay_qad_gate **out)
{
    return kith__relay_qad_gate_new(qad->mem, kith__random_u64(kith__rt_random(qad->rt)),
                                    or_default(rate, KITH_RELAY_QAD_RATE),
                                    or_default(per_ip_rate, KITH_RELAY_QAD_PER_IP_RATE), kith__rt_now(qad->rt), out);
}

int kith__relay_qad_new(const struct kith_relay_qad_options *options, struct kith_relay_qad **out)
{
    struct kith_relay_admission_limits limits = { .connections_max = KITH_RELAY_QAD_CONNECTIONS_MAX,
                                                  .connections_per_ip_max = options->per_ip_max != 0
                                                                                ? options->per_ip_max
                                                                                : KITH_RELAY_QAD_PER_IP_MAX };
    struct kith_relay_qad *qad = kith__alloc_zero(options->mem, sizeof *qad);
    int err = KITH_ERR_NOMEM;

    if (qad == NULL)
        return err;
    qad->options = *options;
    qad->rt = options->rt;
    qad->mem = options->mem;
    kith__list_init(&qad->clients);
    if ((qad->buffer = kith__alloc(qad->mem, BUFFER_SIZE)) == NULL ||
        (err = kith__rt_timer_init(qad->rt, &qad->timer, on_timer, qad)) != 0 || (err = make_host(qad)) != 0 ||
        (err = make_gate(qad, options->rate, options->per_ip_rate, &qad->gate)) != 0 ||
        (err = kith__relay_admission_new(qad->mem, NULL, &limits, kith__random_u64(kith__rt_random(qad->rt)),
                                         &qad->admission)) != 0) {
        kith__relay_qad_free(qad);
        return err;
    }
    *out = qad;
    return 0;
}

static void say_goodbye(struct kith_relay_qad *qad)
{
    static const struct kith_slice reason = { (const uint8_t *)"finished", 8 };

    KITH_LIST_EACH(node, &qad->clients)
    kith_quic_conn_close(KITH_CONTAINER(node, struct client, node)->conn, CLOSE_FINISHED, reason,
                         kith__rt_now(qad->rt));
    pump(qad);
}

void kith__relay_qad_free(struct kith_relay_qad *qad)
{
    if (qad == NULL)
        return;
    if (qad->host != NULL)
        say_goodbye(qad);
    kith_quic_host_free(qad->host);
    KITH_LIST_EACH_SAFE(node, after, &qad->clients)
    forget(qad, KITH_CONTAINER(node, struct client, node));
    for (size_t i = 0; i < qad->socket_count; i++)
        kith__rt_udp_close(qad->sockets[i]);
    kith__rt_timer_dispose(&qad->timer);
    kith__relay_qad_gate_free(qad->gate);
    kith__relay_admission_free(qad->admission);
    kith__free(qad->mem, qad->buffer);
    kith__free(qad->mem, qad);
}

int kith__relay_qad_listen(struct kith_relay_qad *qad, const struct kith_sockaddr *at, struct kith_sockaddr *bound)
{
    struct kith_rt_udp_options options = { .local = *at };
    struct kith_rt_udp_events events = { on_receive, on_writable, qad };
    int err;

    if (qad->socket_count == KITH_RELAY_BINDS_MAX)
        return KITH_ERR_LIMIT;
    if ((err = kith__rt_udp_open(qad->rt, &options, &events, &qad->sockets[qad->socket_count])) != 0)
        return err;
    *bound = qad->locals[qad->socket_count] = kith__rt_udp_local(qad->sockets[qad->socket_count]);
    qad->socket_count++;
    return 0;
}

int kith__relay_qad_set_certificate(struct kith_relay_qad *qad, struct kith_slice chain, struct kith_slice key)
{
    struct kith_tls_x509 x509 = { .chain = chain, .key = key };
    int err = kith__host_set_x509(qad->host, &x509);

    qad->has_certificate = qad->has_certificate || err == 0;
    return err;
}

void kith__relay_qad_set_rates(struct kith_relay_qad *qad, double rate, double per_ip_rate)
{
    struct kith_relay_qad_gate *gate;

    if (make_gate(qad, rate, per_ip_rate, &gate) != 0) {
        kith__log(&qad->rt->log, KITH_LOG_WARN, "discovery", "no memory for new rates: the old ones stay");
        return;
    }
    kith__relay_qad_gate_free(qad->gate);
    qad->gate = gate;
}

size_t kith__relay_qad_conn_count(const struct kith_relay_qad *qad)
{
    return qad->conn_count;
}
