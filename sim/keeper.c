/* Opens and closes paths as wanted: see keeper.h. */
#include "keeper.h"

#include "base/assert.h"

enum { AGAIN_NS = 333 * KITH_NS_PER_MS, CLOSE_CODE = 0x3e };

static uint64_t now_of(const struct kith_simkeeper *keeper)
{
    return kith__rt_now(keeper->conn->app->rt);
}

static void open_way(struct kith_simkeeper *keeper, struct kith_simway *way)
{
    struct kith_simapp *app = keeper->conn->app;
    int err = kith_quic_conn_path_open(keeper->conn->conn, &way->local, &way->remote, way->is_backup, now_of(keeper),
                                       &way->path);

    switch (err) {
    case 0:
        way->has_path = true;
        way->opened++;
        break;
    case KITH_ERR_AGAIN:
    case KITH_ERR_LIMIT:
    case KITH_ERR_STATE:
    case KITH_ERR_CLOSED:
        keeper->later++;
        kith__rt_timer_set(&keeper->again, now_of(keeper) + AGAIN_NS);
        break;
    default:
        kith__simapp_wrong(app, "a path cannot be opened: %s", kith_err_name(err));
    }
}

/** A path besides this one was validated and answers. Without one the peer would be left with none (spec/01, 4.8). */
static bool has_other(const struct kith_simkeeper *keeper, uint32_t path)
{
    struct kith_quic_path_info infos[KITH_QUIC_PATHS_MAX];
    size_t count = kith_quic_conn_paths(keeper->conn->conn, infos, KITH_COUNT(infos));

    for (size_t i = 0; i < KITH_MIN(count, KITH_COUNT(infos)); i++)
        if (infos[i].id != path && infos[i].is_validated && !infos[i].is_silent &&
            infos[i].state == KITH_QUIC_PATH_OPEN)
            return true;
    return false;
}

static void close_way(struct kith_simkeeper *keeper, struct kith_simway *way)
{
    int err;

    if (!has_other(keeper, way->path)) {
        kith__rt_timer_set(&keeper->again, now_of(keeper) + AGAIN_NS);
        return;
    }
    err = kith_quic_conn_path_close(keeper->conn->conn, way->path, CLOSE_CODE, now_of(keeper));

    if (err != 0 && err != KITH_ERR_CLOSED && err != KITH_ERR_NOT_FOUND)
        kith__simapp_wrong(keeper->conn->app, "path %u cannot be closed: %s", (unsigned)way->path, kith_err_name(err));
}

void kith__simkeeper_run(struct kith_simkeeper *keeper)
{
    if (keeper->conn == NULL || keeper->conn->conn == NULL || keeper->conn->is_closed)
        return;
    for (size_t i = 0; i < keeper->count; i++) { /* new ones first, so that an old one need not be the last */
        struct kith_simway *way = &keeper->ways[i];

        if (way->is_wanted && !way->has_path)
            open_way(keeper, way);
    }
    for (size_t i = 0; i < keeper->count; i++)
        if (!keeper->ways[i].is_wanted && keeper->ways[i].has_path)
            close_way(keeper, &keeper->ways[i]);
    kith__driver_pump(keeper->conn->app->driver);
}

static void on_again(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    kith__simkeeper_run(ctx);
}

static struct kith_simway *way_of(struct kith_simkeeper *keeper, uint32_t path)
{
    for (size_t i = 0; i < keeper->count; i++)
        if (keeper->ways[i].has_path && keeper->ways[i].path == path)
            return &keeper->ways[i];
    return NULL;
}

static void on_path(void *ctx, const struct kith_quic_event *event)
{
    struct kith_simkeeper *keeper = ctx;
    struct kith_simway *way = way_of(keeper, event->path);

    if (event->kind == KITH_QUIC_PATH_VALIDATED && way != NULL) {
        way->validated++;
    } else if (event->kind == KITH_QUIC_PATH_ABANDONED && way != NULL) {
        way->has_path = false;
        way->abandoned++;
        kith__rt_timer_set(&keeper->again, now_of(keeper) + AGAIN_NS);
    } else if (event->kind == KITH_QUIC_PATHS_AVAILABLE) {
        kith__rt_timer_set(&keeper->again, now_of(keeper));
    }
}

void kith__simkeeper_init(struct kith_simkeeper *keeper, struct kith_simconn *conn, const struct kith_sockaddr *remote4,
                          const struct kith_sockaddr *remote6)
{
    struct kith_rt_interface listed[KITH_SIMKEEPER_WAYS_MAX];
    int err = kith__rt_interfaces(conn->app->rt, listed, KITH_SIMKEEPER_WAYS_MAX, &keeper->count);

    KITH_ASSERT(err == 0 && keeper->count >= 1);
    keeper->conn = conn;
    for (size_t i = 0; i < keeper->count; i++) {
        keeper->ways[i] = (struct kith_simway) { .local = listed[i].addr,
                                                 .remote = listed[i].addr.family == KITH_FAMILY_V4 ? *remote4
                                                                                                   : *remote6 };
        keeper->ways[i].local.port = conn->app->bind.port;
    }
    keeper->ways[0].is_wanted = keeper->ways[0].has_path = true;
    keeper->ways[0].opened = keeper->ways[0].validated = 1;
    err = kith__rt_timer_init(conn->app->rt, &keeper->again, on_again, keeper);
    KITH_ASSERT(err == 0);
    conn->on_path = on_path;
    conn->on_path_ctx = keeper;
}

void kith__simkeeper_want(struct kith_simkeeper *keeper, size_t index, bool is_wanted, bool is_backup)
{
    struct kith_simway *way = &keeper->ways[index];

    KITH_ASSERT(index < keeper->count);
    if (way->has_path && way->is_backup != is_backup && keeper->conn->conn != NULL &&
        kith_quic_conn_path_set_backup(keeper->conn->conn, way->path, is_backup, now_of(keeper)) ==
            KITH_ERR_UNSUPPORTED)
        kith__simapp_wrong(keeper->conn->app, "a path cannot become a backup");
    way->is_wanted = is_wanted;
    way->is_backup = is_backup;
    kith__simkeeper_run(keeper);
}

size_t kith__simkeeper_working(const struct kith_simkeeper *keeper)
{
    struct kith_quic_path_info infos[KITH_QUIC_PATHS_MAX];
    size_t count = keeper->conn->conn != NULL ? kith_quic_conn_paths(keeper->conn->conn, infos, KITH_COUNT(infos)) : 0,
           working = 0;

    for (size_t i = 0; i < KITH_MIN(count, KITH_COUNT(infos)); i++)
        working += infos[i].is_validated && infos[i].state == KITH_QUIC_PATH_OPEN;
    return working;
}

void kith__simkeeper_stop(struct kith_simkeeper *keeper)
{
    if (keeper->conn == NULL)
        return;
    keeper->conn->on_path = NULL;
    kith__rt_timer_dispose(&keeper->again);
    keeper->conn = NULL;
}
