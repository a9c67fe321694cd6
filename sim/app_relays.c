/* Relays of the simulated application: what the public API does with them, without it. */
#include "app.h"

#include "base/assert.h"
#include "endpoint/relays_inner.h"

#include <string.h>

static uint64_t datagrams_in(size_t size, size_t segment_size)
{
    return segment_size != 0 ? (size + segment_size - 1) / segment_size : 1;
}

void kith__simapp_relay_send(void *ctx, const struct kith_quic_transmit *transmit, const uint8_t *bytes)
{
    struct kith_simapp *app = ctx;
    size_t segment_size = transmit->segment_size;

    app->relay_datagrams[0] += datagrams_in(transmit->size, segment_size);
    /* A batch that is too large for one frame is split. */
    app->relay_frames += segment_size != 0 && transmit->size > segment_size
                             ? datagrams_in(transmit->size, KITH_RELAY_BATCH_PAYLOAD_MAX / segment_size * segment_size)
                             : 1;
    kith__relays_send(app->relays, transmit, bytes);
}

void kith__simapp_relay_flush(void *ctx)
{
    struct kith_simapp *app = ctx;

    if (app->relays != NULL)
        kith__relays_flush(app->relays);
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct kith_simapp *app = ctx;

    for (size_t i = 0; i < count; i++)
        app->relay_datagrams[1] += datagrams_in(batch[i].size, batch[i].segment_size);
    kith__driver_receive(app->driver, batch, count, now_ns);
}

static void on_batch_end(void *ctx)
{
    struct kith_simapp *app = ctx;

    kith__driver_received(app->driver);
}

static void arm(struct kith_simconn *conn)
{
    kith__rt_timer_set(&conn->ways_timer, kith__conn_ways_deadline(&conn->ways));
}

static void on_news(void *ctx, enum kith_relays_news news, struct kith_relay_peer *relay,
                    const struct kith_sockaddr *gone)
{
    static const char *const names[] = { "home", "connected", "lost", "status", "gone" };
    struct kith_simapp *app = ctx;
    struct kith_relay_info info = { .url = "none" };

    if (relay != NULL)
        kith__relay_info(relay, &info);
    kith__simapp_note(app, "relay %s: %s, state %u", info.url, names[news], info.state);
    app->home_news += news == KITH_RELAYS_HOME;
    kith__announce_soon(app->announce);
    KITH_LIST_EACH(node, &app->conns)
    {
        struct kith_simconn *conn = KITH_CONTAINER(node, struct kith_simconn, node);

        kith__conn_ways_on_news(&conn->ways, news, relay, gone, kith__rt_now(app->rt));
        if (conn->ways.quic != NULL)
            arm(conn);
    }
}

int kith__simapp_relays_start(struct kith_simapp *app)
{
    struct kith_relay_config configs[KITH_SIMAPP_RELAYS_MAX];
    struct kith_relays_options options = {
        .rt = app->rt, .secret = &app->secret, .configs = configs, .config_count = app->relay_count
    };
    struct kith_relays_events events = { on_receive, on_batch_end, on_news, app };

    app->relay_datagrams[0] = app->relay_datagrams[1] = app->relay_frames = 0;
    if (app->relay_count == 0)
        return 0;
    options.trust = KITH_TLS_TRUST_ANY;
    for (size_t i = 0; i < app->relay_count; i++)
        configs[i] = (struct kith_relay_config) { app->relay_urls[i], NULL };
    return kith__relays_new(&options, &events, &app->relays, NULL);
}

void kith__simapp_relays_stop(struct kith_simapp *app)
{
    KITH_LIST_EACH(node, &app->conns)
    kith__simconn_ways_end(KITH_CONTAINER(node, struct kith_simconn, node));
    kith__relays_free(app->relays);
    app->relays = NULL;
}

/* ---- Connections ---- */

static void on_ways_timer(void *ctx, uint64_t now_ns)
{
    struct kith_simconn *conn = ctx;

    kith__conn_ways_on_deadline(&conn->ways, now_ns);
    arm(conn);
    kith__driver_pump(conn->app->driver);
}

void kith__simconn_ways_begin(struct kith_simconn *conn, bool is_client)
{
    struct kith_simapp *app = conn->app;

    if (app->relays == NULL && app->registry == NULL)
        return;
    KITH_ASSERT(kith__rt_timer_init(app->rt, &conn->ways_timer, on_ways_timer, conn) == 0);
    kith__conn_ways_init(&conn->ways, conn->conn, app->relays, is_client);
}

void kith__simconn_ways_event(struct kith_simconn *conn, const struct kith_quic_event *event)
{
    if (conn->ways.quic == NULL)
        return;
    kith__conn_ways_on_event(&conn->ways, event, kith__rt_now(conn->app->rt));
    arm(conn);
}

void kith__simconn_ways_end(struct kith_simconn *conn)
{
    if (conn->ways.quic == NULL)
        return;
    kith__conn_ways_dispose(&conn->ways);
    kith__rt_timer_set(&conn->ways_timer, KITH_NEVER);
}

int kith__simapp_dial_relayed(struct kith_simapp *app, const struct kith_simapp *to, const char *const *urls,
                              size_t url_count, const struct kith_sockaddr *ips, size_t ip_count,
                              const struct kith_simapp_plan *plan, struct kith_simconn **out)
{
    struct kith_id id = kith_quic_host_id(kith__driver_host(to->driver));
    struct kith_sockaddr remotes[KITH_SIMAPP_RELAYS_MAX + 4];
    struct kith_relay_peer *relays[KITH_SIMAPP_RELAYS_MAX];
    int err;

    KITH_ASSERT(url_count <= KITH_COUNT(relays) && ip_count <= 4);
    memcpy(remotes, ips, ip_count * sizeof *ips);
    for (size_t i = 0; i < url_count; i++)
        if ((err = kith__relays_get(app->relays, urls[i], &relays[i])) != 0 ||
            (err = kith__relay_way(relays[i], &id, &remotes[ip_count + i])) != 0)
            return err;
    if ((err = kith__simapp_dial_all(app, &id, remotes, ip_count + url_count, plan, out)) != 0)
        return err;
    kith__conn_ways_set_ips(&(*out)->ways, remotes, ip_count);
    for (size_t i = 0; i < url_count; i++)
        kith__conn_ways_add_relay(&(*out)->ways, relays[i]);
    return 0;
}

/* ---- Questions ---- */

bool kith__simapp_is_online(const struct kith_simapp *app)
{
    const struct kith_relay_peer *home = app->relays != NULL ? kith__relays_home(app->relays) : NULL;

    return home != NULL && kith__relay_is_fit(home);
}

/** The path that carries data: open, not silent, no backup if possible. */
static bool path_in_use(const struct kith_simconn *conn, struct kith_quic_path_info *out)
{
    struct kith_quic_path_info paths[KITH_QUIC_PATHS_MAX];
    size_t count = conn->conn != NULL ? kith_quic_conn_paths(conn->conn, paths, KITH_QUIC_PATHS_MAX) : 0;
    bool any = false;

    for (size_t i = 0; i < KITH_MIN(count, KITH_COUNT(paths)); i++)
        if (paths[i].state == KITH_QUIC_PATH_OPEN && !paths[i].is_silent &&
            (!any || out->is_backup > paths[i].is_backup)) {
            *out = paths[i];
            any = true;
        }
    return any;
}

const char *kith__simconn_relay(const struct kith_simconn *conn)
{
    struct kith_relay_info info = { .url = NULL };
    struct kith_quic_path_info path;
    struct kith_relay_peer *relay;

    if (path_in_use(conn, &path) && (relay = kith__relays_find(conn->app->relays, &path.remote, NULL)) != NULL)
        kith__relay_info(relay, &info);
    return info.url;
}

bool kith__simconn_is_direct(const struct kith_simconn *conn)
{
    struct kith_quic_path_info path;

    return path_in_use(conn, &path) && path.remote.family != KITH_FAMILY_RELAY;
}

void kith__simapp_relays_check(const struct kith_simapp *app)
{
    struct kith_relays_stats stats;
    uint64_t out, waiting = 0;

    if (app->relays == NULL)
        return;
    kith__relays_stats(app->relays, &stats);
    KITH_LIST_EACH(peer, &app->relays->all)
    KITH_LIST_EACH(frame, &KITH_CONTAINER(peer, struct kith_relay_peer, node)->client.queue)
    waiting++;
    out = stats.datagrams_sent + stats.drop_full + stats.drop_stale + stats.drop_size + stats.drop_no_memory +
          stats.drop_unroutable;
    if (app->relay_frames != out + waiting)
        kith__simapp_wrong(app, "of %llu frames for relays %llu are sent or dropped, and %llu wait",
                           (unsigned long long)app->relay_frames, (unsigned long long)out, (unsigned long long)waiting);
}
