/*
 * NAT traversal and address discovery in a connection: what path/punch.h and path/observed.h ask for and report. An address
 * that a round proved becomes a path of the client's, as a backup, as soon as ids allow it. Source: spec/01, 5 and 6.
 */
#include "base/assert.h"
#include "quic/conn/conn.h"
#include "quic/host/host.h"

/* ---- Agreement ---- */

void kith__conn_start_traversal(struct kith_quic_conn *conn, const struct kith_tparams *theirs)
{
    kith__observed_start(&conn->observed, kith__conn_observed_role(conn), theirs->observed_address);
    kith__conn_observe(conn, conn->paths[0]);
    if (!conn->mp.is_on || conn->punch.local_max == 0 || theirs->nat_traversal_addresses == 0)
        return;
    kith__punch_start(&conn->punch, theirs->nat_traversal_addresses);
    conn->has_nat_traversal = true;
    conn->has_path_frames = true;
}

/* ---- Addresses that the other side sees ---- */

uint8_t kith__conn_observed_role(const struct kith_quic_conn *conn)
{
    static const uint8_t roles[] = { [KITH_QUIC_OBSERVED_OFF] = KITH_OBSERVED_OFF,
                                     [KITH_QUIC_OBSERVED_SEND] = KITH_OBSERVED_SEND_ONLY,
                                     [KITH_QUIC_OBSERVED_RECEIVE] = KITH_OBSERVED_RECEIVE_ONLY,
                                     [KITH_QUIC_OBSERVED_BOTH] = KITH_OBSERVED_BOTH };

    return roles[conn->config.observed_address];
}

void kith__conn_observe(struct kith_quic_conn *conn, struct kith_path *path)
{
    if (path->tuple.remote.family != KITH_FAMILY_RELAY) /* that is no address that the peer could make use of */
        kith__observed_on_tuple(&conn->observed, kith__conn_observed(path));
}

int kith__conn_on_observed(struct kith_quic_conn *conn, struct kith_path *path, uint64_t sequence,
                           const struct kith_sockaddr *address, const char **reason)
{
    bool changed = false;
    int result = kith__observed_on_frame(&conn->observed, kith__conn_observed(path), sequence, address, &changed,
                                         reason);

    if (changed) {
        kith__conn_note_path_news(conn, path, KITH_PATH_NEWS_OBSERVED);
        kith__qlog_observed(&conn->qlog, path->id, address, conn->now_ns);
    }
    return result;
}

/* ---- Proved addresses become paths ---- */

static bool is_reached(const struct kith_quic_conn *conn, const struct kith_sockaddr *remote)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__path_is_live(conn->paths[i]) && kith_sockaddr_equal(&conn->paths[i]->tuple.remote, remote))
            return true;
    return false;
}

void kith__conn_open_punched(struct kith_quic_conn *conn)
{
    struct kith_punch_ready ready;
    struct kith_tuple tuple = { 0 };
    struct kith_path *path;
    uint32_t id;

    while (kith__punch_next_ready(&conn->punch, &ready)) {
        tuple.remote = ready.remote; /* from "any" address, as the probe was sent */
        if (!is_reached(conn, &ready.remote) &&
            (kith__conn_prepare_path_id(conn, &id) != 0 || kith__conn_begin_path(conn, id, &tuple, true, &path) != 0))
            return; /* again when ids come */
        kith__punch_take_ready(&conn->punch, &ready.remote);
    }
}

bool kith__conn_on_punch_response(struct kith_quic_conn *conn, const struct kith_tuple *tuple,
                                  const uint8_t value[KITH_CHALLENGE_SIZE])
{
    if (!conn->has_nat_traversal ||
        kith__punch_on_response(&conn->punch, &tuple->remote, &tuple->local, value) == KITH_PUNCH_NOT_OURS)
        return false;
    if (conn->is_client)
        kith__conn_open_punched(conn);
    return true;
}

bool kith__conn_wants_challenge_back(const struct kith_quic_conn *conn, const struct kith_sockaddr *remote)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__path_is_proved(conn->paths[i]) && kith_sockaddr_equal(&conn->paths[i]->tuple.remote, remote))
            return false;
    return conn->is_client && conn->has_nat_traversal && kith__punch_wants_challenge(&conn->punch, remote);
}

/* ---- Frames ---- */

int kith__conn_on_candidate_frame(struct kith_quic_conn *conn, const struct kith_frame *frame, const char **reason)
{
    struct kith_punch_change change = { 0 };
    int result = kith__punch_check(&conn->punch, frame->type, reason);

    if (result != 0)
        return result;
    switch (frame->info->kind) {
    case KITH_KIND_ADD_ADDRESS:
        kith__punch_on_add_address(&conn->punch, frame->address.sequence, &frame->address.address, &change);
        break;
    case KITH_KIND_REMOVE_ADDRESS:
        kith__punch_on_remove_address(&conn->punch, frame->remove_address.sequence, &change);
        break;
    default:
        KITH_ASSERT(frame->info->kind == KITH_KIND_REACH_OUT);
        return kith__punch_on_reach_out(&conn->punch, frame->address.sequence, &frame->address.address, conn->now_ns,
                                        reason);
    }
    if (change.has_removed)
        kith__qlog_candidate(&conn->qlog, false, false, &change.removed, conn->now_ns);
    if (change.has_added)
        kith__qlog_candidate(&conn->qlog, false, true, &change.added, conn->now_ns);
    kith__conn_note_candidates(conn);
    return 0;
}

/* ---- The user's verbs ---- */

int kith_quic_conn_add_candidate(struct kith_quic_conn *conn, const struct kith_sockaddr *address, uint64_t now_ns)
{
    int err;

    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    if (conn->punch.local_max == 0)
        return KITH_ERR_UNSUPPORTED;
    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    err = kith__punch_add_ours(&conn->punch, address);
    if (err == 0)
        kith__qlog_candidate(&conn->qlog, true, true, address, conn->now_ns);
    conn->has_path_frames = true;
    kith__conn_touch(conn);
    return err;
}

int kith_quic_conn_remove_candidate(struct kith_quic_conn *conn, const struct kith_sockaddr *address, uint64_t now_ns)
{
    int err;

    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    err = kith__punch_remove_ours(&conn->punch, address);
    if (err == 0)
        kith__qlog_candidate(&conn->qlog, true, false, address, conn->now_ns);
    conn->has_path_frames = true;
    kith__conn_touch(conn);
    return err;
}

size_t kith_quic_conn_candidates(const struct kith_quic_conn *conn, struct kith_sockaddr *out, size_t capacity)
{
    for (size_t i = 0; i < KITH_MIN(capacity, (size_t)conn->punch.theirs_count); i++)
        out[i] = *kith__punch_theirs_at(&conn->punch, i);
    return conn->punch.theirs_count;
}

int kith_quic_conn_punch(struct kith_quic_conn *conn, uint64_t now_ns)
{
    int err;

    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    if (conn->phase != KITH_PHASE_CONFIRMED)
        return KITH_ERR_STATE;
    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    err = kith__punch_start_round(&conn->punch, conn->now_ns);
    if (err == 0)
        kith__qlog_round_started(&conn->qlog, conn->punch.round, conn->now_ns);
    conn->has_path_frames = true;
    kith__conn_touch(conn);
    return err;
}
