/* The life of a path: it begins, is validated, is given up by one side or the other, drains, is gone. spec/01, 4.6 to 4.8. */
#include "base/assert.h"
#include "quic/conn/conn.h"
#include "quic/conn/fate.h"
#include "quic/host/host.h"

static uint64_t drain_ns_of(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    uint64_t pto_ns = path != NULL ? kith__path_pto_ns(path, conn->peer_delay_max_ns) : kith__conn_pto_max(conn);

    return KITH_MIN(KITH_DRAIN_PTOS * pto_ns, KITH_DRAIN_MAX_NS);
}

/* ---- Beginning ---- */

bool kith__conn_is_proved_by_other(const struct kith_quic_conn *conn, const struct kith_path *path,
                                   const struct kith_tuple *tuple)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (conn->paths[i] != path && kith__path_is_proved(conn->paths[i]) &&
            kith__tuple_equal(&conn->paths[i]->tuple, tuple))
            return true;
    return false;
}

int kith__conn_begin_path(struct kith_quic_conn *conn, uint32_t id, const struct kith_tuple *tuple, bool is_backup,
                          struct kith_path **out)
{
    struct kith_path *path;
    int err = kith__conn_add_path(conn, id, tuple, &path);
    bool is_known;

    if (err != 0)
        return err;
    is_known = !conn->is_client && kith__conn_is_proved_by_other(conn, path, tuple);
    kith__multipath_on_opened(&conn->mp, id, is_backup);
    kith__path_start(path, !is_known, conn->now_ns);
    path->loss.progress_ns = conn->now_ns;
    conn->are_cids_stale = true;
    kith__conn_observe(conn, path);
    kith__conn_note_path_news(conn, path, KITH_PATH_NEWS_OPENED);
    kith__qlog_tuple_assigned(&conn->qlog, id, &tuple->local, &tuple->remote, conn->now_ns);
    if (is_known) {
        kith__path_on_proved(path, conn->now_ns);
        kith__conn_on_path_proved(conn, path);
    }
    kith__conn_free_drained(conn); /* the last one of before */
    *out = path;
    return 0;
}

/* ---- End ---- */

/** Sends nothing on it any more; what was in flight goes elsewhere, and what it owes is acknowledged at once. */
static void close_path(struct kith_quic_conn *conn, struct kith_path *path, uint64_t code,
                       enum kith_quic_path_cause cause)
{
    path->close_code = code;
    path->close_cause = (uint8_t)cause;
    kith__path_close(path, conn->now_ns);
    kith__fate_requeue(conn, path);
    kith__received_ack_now(&path->received, conn->now_ns);
    conn->are_cids_stale = true; /* its reset token is forgotten: spec/01, 1.5 */
    kith__qlog_path_abandoned(&conn->qlog, path->id, cause, code, conn->now_ns);
    kith__conn_note_path_news(conn, path, KITH_PATH_NEWS_ABANDONED);
}

int kith__conn_abandon(struct kith_quic_conn *conn, struct kith_path *path, uint64_t code,
                       enum kith_quic_path_cause cause)
{
    int err = kith__multipath_abandon(&conn->mp, path->id, code);
    struct kith_path *first;

    if (err != 0)
        return err;
    conn->has_path_frames = true;
    close_path(conn, path, code, cause);
    first = kith__conn_first(conn);
    if (first != NULL) /* the peer must hear of it before it gives up another one: window or not */
        first->probes = KITH_MAX(first->probes, 1);
    kith__conn_sync_cids(conn);
    return 0;
}

void kith__conn_on_path_proved(struct kith_quic_conn *conn, struct kith_path *path)
{
    if (kith__conn_is_silent(path))
        kith__conn_on_silent_answer(conn, path);
    kith__multipath_announce(&conn->mp, path->id);
    conn->has_path_frames = true;
    kith__conn_note_path_news(conn, path, path->was_told_proved ? KITH_PATH_NEWS_CHANGED : KITH_PATH_NEWS_VALIDATED);
    path->was_told_proved = true;
}

void kith__conn_on_path_abandon(struct kith_quic_conn *conn, uint32_t id, uint64_t code)
{
    struct kith_path *path = kith__conn_path(conn, id);
    struct kith_conn_ids ids = kith__conn_ids(conn, id);

    switch (kith__multipath_on_abandon(&conn->mp, id, code, drain_ns_of(conn, path), conn->now_ns)) {
    case KITH_ABANDON_IGNORED:
        return;
    case KITH_ABANDON_UNUSED:
        if (ids.theirs != NULL)
            kith__cid_theirs_forget(ids.theirs);
        break;
    case KITH_ABANDON_CLOSE:
        close_path(conn, path, code, KITH_QUIC_CAUSE_PEER);
        break;
    case KITH_ABANDON_ECHO:
        break;
    }
    conn->has_path_frames = true;
    conn->are_cids_stale = true; /* our limit may have grown */
}

void kith__conn_on_path_ids_deadline(struct kith_quic_conn *conn)
{
    uint32_t id;

    if (!kith__multipath_on_deadline(&conn->mp, conn->now_ns)) {
        (void)kith__conn_fail(conn, KITH_WIRE_NO_VIABLE_PATH, 0, "no path is left");
        return;
    }
    while (kith__multipath_take_gone(&conn->mp, &id)) {
        struct kith_path *path = kith__conn_path(conn, id);

        kith__qlog_path_gone(&conn->qlog, id, conn->now_ns);
        if (path != NULL) {
            kith__conn_unregister_path(conn, path);
            kith__path_drain(path, conn->now_ns);
        } else {
            kith__conn_free_id(conn, id);
        }
    }
    kith__conn_free_drained(conn);
    conn->has_path_frames = true;
    kith__conn_note_paths_available(conn); /* our own limit may have been what was in the way */
    kith__conn_sync_cids(conn);
}

void kith__conn_note_paths_available(struct kith_quic_conn *conn)
{
    conn->are_cids_stale = true;
    if (conn->is_path_wanted)
        kith__conn_note(conn, KITH_QUIC_PATHS_AVAILABLE);
    conn->is_path_wanted = false;
    if (conn->is_client)
        kith__conn_open_punched(conn);
}

/* ---- The user's verbs ---- */

static bool is_there(const struct kith_quic_conn *conn, const struct kith_tuple *tuple)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__path_is_live(conn->paths[i]) && kith__tuple_equal(&conn->paths[i]->tuple, tuple))
            return true;
    return false;
}

/** The id for a new path, and the peer's connection ids for it. */
int kith__conn_prepare_path_id(struct kith_quic_conn *conn, uint32_t *id)
{
    struct kith_conn_ids ids;
    int err = kith__multipath_next_id(&conn->mp, id);

    if (err == 0) {
        ids = kith__conn_ids(conn, *id);
        if (ids.theirs != NULL && kith__cid_theirs_active(ids.theirs) != NULL)
            return 0;
        kith__multipath_on_cids_missing(&conn->mp, *id, ids.theirs != NULL ? ids.theirs->largest : 0);
        err = KITH_ERR_AGAIN;
    }
    conn->is_path_wanted |= err == KITH_ERR_AGAIN || err == KITH_ERR_LIMIT;
    conn->has_path_frames = true;
    return err;
}

int kith_quic_conn_path_open(struct kith_quic_conn *conn, const struct kith_sockaddr *local,
                             const struct kith_sockaddr *remote, bool is_backup, uint64_t now_ns, uint32_t *path)
{
    struct kith_tuple tuple = { *local, *remote };
    struct kith_path *made;
    uint32_t id = 0;
    int err;

    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    if (conn->phase != KITH_PHASE_CONFIRMED)
        return KITH_ERR_STATE;
    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    if (is_there(conn, &tuple))
        return KITH_ERR_EXISTS;
    err = kith__conn_prepare_path_id(conn, &id);
    if (err == 0)
        err = kith__conn_begin_path(conn, id, &tuple, is_backup, &made);
    if (err == 0) {
        kith__conn_sync_cids(conn);
        *path = id;
    }
    kith__conn_touch(conn);
    return err;
}

int kith_quic_conn_path_close(struct kith_quic_conn *conn, uint32_t path, uint64_t code, uint64_t now_ns)
{
    struct kith_path *found = kith__conn_path(conn, path);
    int err;

    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    if (found == NULL || !kith__path_is_live(found))
        return KITH_ERR_NOT_FOUND;
    if (!conn->mp.is_on)
        return KITH_ERR_STATE;
    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    err = kith__conn_abandon(conn, found, KITH_MIN(code, KITH_VARINT_MAX), KITH_QUIC_CAUSE_USER);
    kith__conn_touch(conn);
    return err;
}

int kith_quic_conn_path_set_backup(struct kith_quic_conn *conn, uint32_t path, bool is_backup, uint64_t now_ns)
{
    int err;

    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    if (!conn->mp.is_on)
        return KITH_ERR_UNSUPPORTED;
    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    err = kith__multipath_set_status(&conn->mp, path, is_backup);
    conn->has_path_frames = true;
    kith__conn_touch(conn);
    return err;
}
