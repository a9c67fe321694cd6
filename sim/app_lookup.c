/* Lookup of the simulated application: what the public API does with it, without it. */
#include "app.h"

#include "base/assert.h"
#include "lookup/dht.h"
#include "lookup/dns_service.h"
#include "lookup/pkarr_publish.h"
#include "lookup/pkarr_resolve.h"

#include <stdlib.h>
#include <string.h>

enum { AGAIN_MAX = 8 };

#define AGAIN_NS KITH_NS_PER_S

/* ---- Services ---- */

static void store_time(void *ctx, uint64_t timestamp_us)
{
    struct kith_simapp *app = ctx;

    if (timestamp_us <= app->published_us && app->published_us <= kith__rt_wall_us(app->rt))
        kith__simapp_wrong(app, "a timestamp of its packets is used twice, or goes back");
    app->published_us = timestamp_us;
}

static int add_publishers(struct kith_simapp *app)
{
    const struct kith_simapp_lookups *with = &app->lookups;
    struct kith_lookup_service *service;
    int err = 0;

    for (size_t i = 0; err == 0 && i < KITH_SIMAPP_SERVERS_MAX && with->publish[i] != NULL; i++) {
        struct kith_pkarr_publish_options options = { .http.url = with->publish[i],
                                                      .secret = &app->secret,
                                                      .filter = (enum kith_lookup_filter)with->filter,
                                                      .republish_ns = with->republish_ns,
                                                      .last_us = app->published_us,
                                                      .store = i == 0 ? store_time : NULL,
                                                      .store_ctx = app };

        if ((err = kith__pkarr_publish_new(app->rt, &options, &service)) == 0)
            err = kith__lookup_add(app->registry, service);
    }
    return err;
}

static int add_resolvers(struct kith_simapp *app)
{
    const struct kith_simapp_lookups *with = &app->lookups;
    struct kith_dns_options dns = { .servers = with->dns };
    struct kith_lookup_service *service;
    int err = 0;

    for (size_t i = 0; err == 0 && i < KITH_SIMAPP_SERVERS_MAX && with->resolve[i] != NULL; i++) {
        struct kith_pkarr_http_options options = { .url = with->resolve[i] };

        if ((err = kith__pkarr_resolve_new(app->rt, &options, &service)) == 0)
            err = kith__lookup_add(app->registry, service);
    }
    if (err != 0 || with->origin == NULL)
        return err;
    while (dns.server_count < KITH_SIMAPP_SERVERS_MAX && with->dns[dns.server_count].family != KITH_FAMILY_NONE)
        dns.server_count++;
    if ((err = kith__dns_client_new(app->rt, &app->simmem.mem, &dns, &app->dns)) != 0 ||
        (err = kith__dns_service_new(app->dns, &app->simmem.mem, with->origin, &service)) != 0)
        return err;
    return kith__lookup_add(app->registry, service);
}

static int add_dht(struct kith_simapp *app)
{
    struct kith_dht_service_options options = { .node = { .bootstrap = app->lookups.dht,
                                                          .bootstrap_count = KITH_SIMAPP_DHT_NODES },
                                                .secret = &app->secret,
                                                .filter = (enum kith_lookup_filter)app->lookups.filter,
                                                .republish_ns = app->lookups.republish_ns };
    struct kith_lookup_service *service;
    int err;

    if (app->lookups.dht == NULL)
        return 0;
    err = kith__dht_service_new(app->rt, &options, &service);
    return err == 0 ? kith__lookup_add(app->registry, service) : err;
}

int kith__simapp_lookup_start(struct kith_simapp *app)
{
    struct kith_announce_options options = {
        .rt = app->rt, .mem = &app->simmem.mem, .driver = app->driver, .relays = app->relays
    };
    int err;

    if (app->lookups.publish[0] == NULL && app->lookups.origin == NULL && app->lookups.resolve[0] == NULL)
        return 0;
    options.id = kith_quic_host_id(kith__driver_host(app->driver));
    options.is_relay_only = app->no_sockets;
    if ((err = kith__lookup_new(app->rt, &app->simmem.mem, &options.id, &app->registry)) != 0)
        return err;
    options.lookup = app->registry;
    if ((err = add_publishers(app)) != 0 || (err = add_resolvers(app)) != 0 || (err = add_dht(app)) != 0)
        return err;
    return kith__announce_new(&options, &app->announce);
}

/* ---- Dials ---- */

static void dial_over(struct kith_simdial *dial, int err)
{
    if (dial->over_ns != 0)
        return;
    kith__simapp_note(dial->app, "a dial is over: %s", kith_err_name(err));
    dial->over_ns = kith__rt_now(dial->app->rt);
    dial->err = err;
}

/* Begins the connection with what is known. */
static void dial_connect(struct kith_simdial *dial)
{
    struct kith_sockaddr remotes[KITH_SEEK_FIRST_IPS_MAX + KITH_SEEK_FIRST_RELAYS_MAX];
    struct kith_simapp *app = dial->app;
    size_t count = kith__seek_first(&dial->seek, remotes);

    if (dial->found_ns == 0)
        dial->found_ns = kith__rt_now(app->rt);
    KITH_ASSERT(kith__simapp_dial_all(app, &dial->id, remotes, count, &dial->plan, &dial->conn) == 0);
    dial->conn->dial = dial;
    dial->conn->may_end = true; /* until it is connected: nobody may be there */
    kith__seek_attach(&dial->seek, dial->conn->conn, &dial->conn->ways, kith__rt_now(app->rt));
    kith__rt_timer_set(&dial->conn->ways_timer, kith__conn_ways_deadline(&dial->conn->ways));
    kith__driver_pump(app->driver);
}

static void on_remote(void *ctx)
{
    struct kith_simdial *dial = ctx;

    if (dial->connected_ns == 0)
        dial->news_ns = kith__rt_now(dial->app->rt);
    if (dial->conn == NULL) {
        dial_connect(dial);
        return;
    }
    kith__rt_timer_set(&dial->conn->ways_timer, kith__conn_ways_deadline(&dial->conn->ways));
    kith__driver_pump(dial->app->driver);
}

static void on_end(void *ctx, int err, const char *why)
{
    struct kith_simdial *dial = ctx;

    kith__simapp_note(dial->app, "lookup ends after %.3f s: %s %s",
                      (double)(kith__rt_now(dial->app->rt) - dial->asked_ns) / 1e9, kith_err_name(err), why);
    if (kith__rt_now(dial->app->rt) - dial->asked_ns > KITH_LOOKUP_LIMIT_NS)
        kith__simapp_wrong(dial->app, "a lookup took longer than its limit");
    if (dial->conn == NULL) {
        dial_over(dial, KITH_ERR_NO_ADDRESS);
    } else if (dial->connected_ns == 0) {
        dial->pause_ns = dial->pause_ns == 0 ? AGAIN_NS : 2 * dial->pause_ns;
        kith__rt_timer_set(&dial->again, kith__rt_now(dial->app->rt) + dial->pause_ns);
    }
}

static void on_again(void *ctx, uint64_t now_ns)
{
    struct kith_simdial *dial = ctx;

    if (dial->connected_ns != 0 || dial->over_ns != 0)
        return;
    dial->asked_ns = now_ns;
    KITH_ASSERT(kith__seek_start(&dial->seek) == 0);
}

static void dial_stop(struct kith_simdial *dial)
{
    kith__seek_dispose(&dial->seek);
    kith__rt_timer_dispose(&dial->again);
}

struct kith_simdial *kith__simapp_find(struct kith_simapp *app, const struct kith_id *id,
                                       const struct kith_simapp_plan *plan)
{
    struct kith_seek_world world = { app->rt, app->driver, app->relays, app->registry, app->no_sockets };
    struct kith_simdial *dial = calloc(1, sizeof *dial);
    struct kith_seek_events events = { on_remote, on_end, dial };
    struct kith_sockaddr any = { 0 };

    KITH_ASSERT(dial != NULL);
    *dial = (struct kith_simdial) { .app = app, .id = *id, .plan = *plan, .began_ns = kith__rt_now(app->rt) };
    dial->asked_ns = dial->began_ns;
    KITH_ASSERT(kith__rt_timer_init(app->rt, &dial->again, on_again, dial) == 0);
    kith__list_push_back(&app->dials, &dial->node);
    kith__seek_init(&dial->seek, &world, id, &any, &events);
    KITH_ASSERT(kith__seek_start(&dial->seek) == 0);
    if (app->relays != NULL && kith__relays_home(app->relays) != NULL) /* a guess: it may be at a relay of ours */
        dial_connect(dial);
    return dial;
}

void kith__simdial_on_connected(struct kith_simconn *conn)
{
    struct kith_simdial *dial = conn->dial;
    struct kith_id id;

    if (dial == NULL)
        return;
    dial->connected_ns = kith__rt_now(conn->app->rt);
    conn->may_end = conn->app->may_end;
    if (kith_quic_conn_remote_id(conn->conn, &id) != 0 || memcmp(id.bytes, dial->id.bytes, sizeof id.bytes) != 0)
        kith__simapp_wrong(conn->app, "connected to another endpoint than was asked for");
}

void kith__simdial_on_closed(struct kith_simconn *conn)
{
    struct kith_simdial *dial = conn->dial;
    struct kith_quic_path_info path;
    bool is_wrong = conn->err == KITH_ERR_WRONG_PEER && !conn->is_connected;

    if (dial == NULL)
        return;
    conn->dial = NULL;
    if (is_wrong && dial->wrong_peers < AGAIN_MAX && kith_quic_conn_paths(conn->conn, &path, 1) != 0) {
        dial->wrong_peers++;
        kith__seek_detach(&dial->seek, &path.remote);
        dial->conn = NULL;
        if (kith__seek_has_remote(&dial->seek))
            dial_connect(dial);
        if (dial->conn != NULL || dial->seek.request != NULL)
            return;
    }
    dial_stop(dial);
    dial_over(dial, conn->err);
}

void kith__simdial_end(struct kith_simdial *dial)
{
    if (dial->conn != NULL && dial->over_ns == 0) {
        kith__simapp_close(dial->conn, 5);
        return;
    }
    dial_stop(dial);
    dial_over(dial, KITH_ERR_CLOSED);
}

/* ---- Life ---- */

void kith__simapp_lookup_stop(struct kith_simapp *app)
{
    KITH_LIST_EACH(node, &app->dials)
    {
        struct kith_simdial *dial = KITH_CONTAINER(node, struct kith_simdial, node);

        dial_stop(dial);
        dial_over(dial, KITH_ERR_CLOSED);
        if (dial->conn != NULL)
            dial->conn->dial = NULL;
    }
    kith__announce_free(app->announce);
    kith__lookup_free(app->registry);
    kith__dns_client_free(app->dns);
    app->announce = NULL;
    app->registry = NULL;
    app->dns = NULL;
}

void kith__simapp_lookup_check(const struct kith_simapp *app)
{
    struct kith_dns_stats dns;

    if (app->registry == NULL)
        return;
    for (size_t i = 0; i < kith__lookup_count(app->registry); i++) {
        struct kith_lookup_stats stats = kith__lookup_stats(app->registry, i);

        if (stats.asked < stats.ended_found + stats.ended_not_found + stats.ended_failed)
            kith__simapp_wrong(app, "a lookup service ended more rounds than it was asked");
        if (stats.drop_wrong_id + stats.drop_no_memory != 0)
            kith__simapp_wrong(app, "a finding was not handed on");
    }
    if (app->dns == NULL)
        return;
    dns = kith__dns_client_stats(app->dns);
    if (dns.answered + dns.failed > dns.questions || dns.asks.asked_tcp > dns.asks.asked)
        kith__simapp_wrong(app, "more answers than questions of the DNS");
}
