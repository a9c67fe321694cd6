/* The invariants of a trial: see check.h. */
#include "check.h"

#include "base/assert.h"
#include "quic/conn/conn.h"
#include "quic/host/host.h"
#include "rt/sim/world.h"
#include "trial.h"

enum { WALK_SHARE = 64, DEBT_MAX = 1 << 20 };

static uint64_t walk_cost(const struct kith_quic_conn *conn)
{
    uint64_t cost = 8 + conn->streams.count;

    for (size_t i = 0; i < conn->path_count; i++)
        cost += 4 + (conn->paths[i]->sent.next - conn->paths[i]->sent.base);
    return cost;
}

/* Walks the engine's own invariants as far as the saved-up work allows it. */
static void walk(struct kith_trial *trial, struct kith_quic_host *host)
{
    uint64_t cost = 0;

    KITH_LIST_EACH(node, &host->conns)
    cost += walk_cost(KITH_CONTAINER(node, struct kith_quic_conn, host_node));
    if (cost > trial->check.debt)
        return;
    trial->check.debt -= cost;
    trial->check.walks++;
    KITH_LIST_EACH(node, &host->conns)
    kith__conn_check(KITH_CONTAINER(node, struct kith_quic_conn, host_node));
}

static void check_app(struct kith_trial *trial, struct kith_simapp *app)
{
    struct kith_quic_host *host = kith__driver_host(app->driver);
    uint64_t now_ns = kith__sim_now(trial->sim);

    if (app->host->is_down)
        return;
    if (kith_quic_host_deadline(host) <= now_ns || kith__driver_deadline(app->driver) <= now_ns)
        kith__simapp_wrong(app, "a deadline is in the past: %llu ns ago",
                           (unsigned long long)(now_ns - kith_quic_host_deadline(host)));
    kith__simapp_relays_check(app);
    kith__simapp_lookup_check(app);
    if (app->simmem.refused != 0 || app->rt_mem.refused != 0)
        kith__simapp_wrong(app, "more memory than the limit of %llu bytes", (unsigned long long)app->simmem.max);
    walk(trial, host);
}

/* Two ends of one connection: what one has sent, the other has allowed. */
static void check_credit(struct kith_simconn *a, struct kith_simconn *b)
{
    const struct kith_stream_set *from = &a->conn->streams, *to = &b->conn->streams;

    if (from->send_limit.used > to->receive_credit.announced && a->is_connected)
        kith__simapp_wrong(a->app, "sent %llu stream bytes, but only %llu are allowed",
                           (unsigned long long)from->send_limit.used, (unsigned long long)to->receive_credit.announced);
    if (to->received > from->send_limit.used && a->is_connected)
        kith__simapp_wrong(b->app, "received %llu stream bytes, but only %llu were sent",
                           (unsigned long long)to->received, (unsigned long long)from->send_limit.used);
}

void kith__simcheck_step(struct kith_trial *trial)
{
    struct kith_simconn *client = kith__simapp_newest(&trial->apps[KITH_TRIAL_CLIENT]);
    struct kith_simconn *server = kith__trial_server_conn(trial);

    trial->check.steps++;
    trial->check.debt = KITH_MIN(trial->check.debt + (uint64_t)WALK_SHARE, (uint64_t)DEBT_MAX);
    for (size_t i = 0; i < trial->app_count; i++)
        if (trial->apps[i].driver != NULL)
            check_app(trial, &trial->apps[i]);
    /* With a third endpoint the newest connections need not be two ends of one. */
    if (trial->app_count == 2 && client != NULL && server != NULL && client->conn != NULL && server->conn != NULL &&
        client->is_connected && server->is_connected) {
        check_credit(client, server);
        check_credit(server, client);
    }
}

/* sent = arrived (read, or dropped for want of room) + lost; the engine may call a packet lost that arrived after all. */
static void check_datagram_way(struct kith_simconn *from, struct kith_simconn *to)
{
    struct kith_quic_conn_stats out, in;
    uint64_t arrived;

    kith_quic_conn_stats(from->conn, &out);
    kith_quic_conn_stats(to->conn, &in);
    arrived = to->datagrams_received + in.datagrams_dropped_receive;
    if (in.datagrams_received != arrived)
        kith__simapp_wrong(to->app, "%llu datagrams received, %llu read or dropped",
                           (unsigned long long)in.datagrams_received, (unsigned long long)arrived);
    if (from->datagrams_sent - from->datagrams_refused != out.datagrams_sent + out.datagrams_dropped_send)
        kith__simapp_wrong(from->app, "%u datagrams queued, %llu sent, %llu dropped",
                           (unsigned)(from->datagrams_sent - from->datagrams_refused),
                           (unsigned long long)out.datagrams_sent, (unsigned long long)out.datagrams_dropped_send);
    if (arrived > out.datagrams_sent || out.datagrams_sent - arrived > out.datagrams_lost)
        kith__simapp_wrong(from->app, "%llu datagrams sent, %llu lost, but %llu arrived",
                           (unsigned long long)out.datagrams_sent, (unsigned long long)out.datagrams_lost,
                           (unsigned long long)arrived);
}

void kith__simcheck_datagrams(struct kith_trial *trial)
{
    struct kith_simconn *client = kith__simapp_newest(&trial->apps[KITH_TRIAL_CLIENT]);
    struct kith_simconn *server = kith__trial_server_conn(trial);

    if (client == NULL || server == NULL || client->conn == NULL || server->conn == NULL)
        return;
    check_datagram_way(client, server);
    check_datagram_way(server, client);
}

/* What other sockets than the driver's sent: questions to name servers, each of them once; and what the DHT says to each other. */
static void check_questions(struct kith_simapp *app, struct kith_simcheck *check, uint64_t by_driver)
{
    uint64_t sent = kith__sim_host_sent(app->host) - app->host_sent - by_driver;

    if (app->dns == NULL && app->lookups.dht == NULL)
        return;
    if (app->lookups.dht == NULL && sent > kith__dns_client_stats(app->dns).asks.asked)
        kith__simapp_wrong(app, "%llu datagrams to name servers, but fewer questions", (unsigned long long)sent);
    app->host_sent += sent + by_driver;
    check->sent += sent;
}

void kith__simcheck_stop(struct kith_trial *trial, int index)
{
    struct kith_simapp *app = &trial->apps[index];
    struct kith_simcheck *check = &trial->check;
    struct kith_rt_udp_stats udp;
    struct kith_quic_host_stats host;

    if (app->driver == NULL)
        return;
    udp = kith__driver_udp_stats(app->driver);
    kith_quic_host_stats(kith__driver_host(app->driver), &host);
    check->sent += udp.sent_datagrams;
    check->received += udp.received_datagrams;
    if (host.datagrams_sent != udp.sent_datagrams + udp.drop_too_large + udp.drop_unreachable +
                                   kith__driver_unroutable(app->driver) + app->relay_datagrams[0])
        kith__simapp_wrong(app, "the endpoint sent %llu datagrams, its sockets %llu, %llu were too large",
                           (unsigned long long)host.datagrams_sent, (unsigned long long)udp.sent_datagrams,
                           (unsigned long long)udp.drop_too_large);
    if (host.datagrams_received != udp.received_datagrams + app->relay_datagrams[1])
        kith__simapp_wrong(app, "the sockets gave %llu datagrams, the endpoint took %llu",
                           (unsigned long long)udp.received_datagrams, (unsigned long long)host.datagrams_received);
    check_questions(app, check, udp.sent_datagrams);
    kith__simapp_stop(app);
    if (app->simmem.live != 0)
        kith__simapp_wrong(app, "%llu bytes in %llu blocks were not given back", (unsigned long long)app->simmem.live,
                           (unsigned long long)app->simmem.blocks);
}

void kith__simcheck_end(struct kith_trial *trial)
{
    struct kith_sim_stats stats = kith__sim_stats(trial->sim);
    uint64_t dropped = 0;

#define ADD(name) dropped += stats.drop_##name;
    KITH_SIM_DROPS(ADD)
#undef ADD
    if (stats.sent + stats.duplicated != stats.delivered + dropped)
        kith__simapp_wrong(&trial->apps[0], "world: %llu sent and %llu doubled, but %llu delivered and %llu dropped",
                           (unsigned long long)stats.sent, (unsigned long long)stats.duplicated,
                           (unsigned long long)stats.delivered, (unsigned long long)dropped);
    if (stats.sent != trial->check.sent)
        kith__simapp_wrong(&trial->apps[0], "world: %llu sent, but the sockets say %llu",
                           (unsigned long long)stats.sent, (unsigned long long)trial->check.sent);
}
