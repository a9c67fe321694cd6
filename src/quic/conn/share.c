/*
 * Which path carries what belongs to no path: the connection's paths as path/schedule.h sees them. With one path nothing is
 * asked: it carries all.
 */
#include "quic/conn/conn.h"
#include "quic/path/schedule.h"

_Static_assert((int)KITH_QUIC_SCHEDULE_FIRST == (int)KITH_SCHEDULE_FIRST &&
                   (int)KITH_QUIC_SCHEDULE_SPREAD == (int)KITH_SCHEDULE_SPREAD,
               "the public rules are the scheduler's");

bool kith__conn_may_send_on(const struct kith_path *path)
{
    return kith__path_is_live(path) && kith__cid_theirs_active(&path->cids_theirs) != NULL;
}

bool kith__conn_is_usable(const struct kith_path *path)
{
    return path->was_proved && kith__conn_may_send_on(path);
}

/** Probe timeouts in a row. A late ACK of older packets begins a new row, but the path stays silent: see path_ack.c. */
static uint8_t silence_of(const struct kith_path *path)
{
    return kith__conn_is_silent(path) ? (uint8_t)KITH_MIN(KITH_MAX(path->loss.pto_count, 1u), (uint32_t)UINT8_MAX) : 0;
}

static void fill_views(const struct kith_quic_conn *conn, struct kith_path_view views[KITH_PATH_IDS_MAX])
{
    for (size_t i = 0; i < conn->path_count; i++) {
        struct kith_path *path = conn->paths[i];
        const struct kith_path_id *id = kith__multipath_find(&conn->mp, path->id);

        views[i] = (struct kith_path_view) {
            .id = path->id,
            .is_usable = kith__conn_is_usable(path),
            .is_backup = id != NULL && id->is_backup,
            .silence = silence_of(path),
            .rtt_ns = path->now.rtt.smoothed_ns,
            .in_flight = path->now.in_flight_size,
            .window = path->now.cc.window,
        };
    }
}

struct kith_path *kith__conn_pick(struct kith_quic_conn *conn)
{
    struct kith_path_view views[KITH_PATH_IDS_MAX];
    size_t index;

    if (conn->path_count == 1)
        return !conn->mp.is_on || kith__conn_is_usable(conn->paths[0]) ? conn->paths[0] : NULL;
    fill_views(conn, views);
    for (size_t i = 0; i < conn->path_count; i++) {
        struct kith_path *path = conn->paths[i];

        views[i].is_blocked = !kith__path_may_send(path, path->now.mtu.size, conn->now_ns);
    }
    index = kith__schedule_pick((enum kith_schedule_rule)conn->config.schedule, views, conn->path_count);
    return index < conn->path_count ? conn->paths[index] : NULL;
}

struct kith_path *kith__conn_lowest(const struct kith_quic_conn *conn, bool must_be_proved)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__conn_may_send_on(conn->paths[i]) && (!must_be_proved || kith__path_is_proved(conn->paths[i])))
            return conn->paths[i];
    return NULL;
}

struct kith_path *kith__conn_first(const struct kith_quic_conn *conn)
{
    struct kith_path_view views[KITH_PATH_IDS_MAX];
    size_t index;

    if (conn->path_count == 1)
        return conn->paths[0];
    fill_views(conn, views);
    index = kith__schedule_first(views, conn->path_count);
    return index < conn->path_count ? conn->paths[index] : kith__conn_lowest(conn, false);
}
