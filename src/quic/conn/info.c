/* What a user can ask of a connection, and the verbs that are about the connection as a whole. */
#include "base/assert.h"
#include "quic/conn/conn.h"
#include "quic/host/host.h"

#include <string.h>

void kith_quic_conn_set_user(struct kith_quic_conn *conn, void *user)
{
    conn->user = user;
}

void *kith_quic_conn_user(const struct kith_quic_conn *conn)
{
    return conn->user;
}

uint64_t kith_quic_conn_serial(const struct kith_quic_conn *conn)
{
    return conn->serial;
}

bool kith_quic_conn_is_client(const struct kith_quic_conn *conn)
{
    return conn->is_client;
}

bool kith_quic_conn_is_established(const struct kith_quic_conn *conn)
{
    return kith__phase_is_established(conn->phase);
}

int kith_quic_conn_remote_id(const struct kith_quic_conn *conn, struct kith_id *out)
{
    if (!conn->is_proven)
        return KITH_ERR_STATE;
    *out = conn->remote_id;
    return 0;
}

struct kith_slice kith_quic_conn_alpn(const struct kith_quic_conn *conn)
{
    return kith__buf_slice(&conn->alpn);
}

void kith_quic_conn_close(struct kith_quic_conn *conn, uint64_t code, struct kith_slice reason, uint64_t now_ns)
{
    struct kith_quic_close_info info = {
        .err = KITH_ERR_CLOSED, .is_application = true, .code = KITH_MIN(code, KITH_VARINT_MAX), .reason = reason
    };

    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    conn->host->stats.handshakes_given_up += !conn->is_client && conn->phase == KITH_PHASE_HANDSHAKING;
    kith__conn_close_local(conn, &info);
    kith__conn_touch(conn);
}

int kith_quic_conn_close_info(const struct kith_quic_conn *conn, struct kith_quic_close_info *out)
{
    if (kith__phase_is_open(conn->phase))
        return KITH_ERR_STATE;
    *out = conn->close.info;
    return 0;
}

int kith_quic_conn_export(const struct kith_quic_conn *conn, struct kith_slice label, struct kith_slice context,
                          uint8_t *out, size_t size)
{
    return kith__tls_export(conn->handshake.tls, label, context, out, size);
}

int kith_quic_conn_update_keys(struct kith_quic_conn *conn, uint64_t now_ns)
{
    if (conn->phase != KITH_PHASE_CONFIRMED || conn->is_update_wanted || kith__keys_is_updating(&conn->keys))
        return KITH_ERR_STATE;
    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    conn->is_update_wanted = true;
    kith__conn_ping_all(conn);
    kith__conn_touch(conn);
    return 0;
}

void kith_quic_conn_ping(struct kith_quic_conn *conn, uint64_t now_ns)
{
    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    kith__conn_ping_all(conn);
    kith__conn_touch(conn);
}

static int migrate_path(struct kith_quic_conn *conn, struct kith_path *path, const struct kith_sockaddr *local)
{
    int err = kith__migrate_local(path, local, conn->peer_delay_max_ns, conn->now_ns);

    if (err != 0)
        return err;
    conn->has_path_frames = true; /* the peer's old id is retired */
    conn->are_cids_stale = true;
    conn->stats.migrations++;
    kith__observed_on_local_moved(kith__conn_observed(path));
    path->spin = false;
    path->ping_wanted = true; /* a probing frame alone does not move the path at the server */
    kith__conn_note_path(conn, path);
    return 0;
}

int kith_quic_conn_migrate(struct kith_quic_conn *conn, const struct kith_sockaddr *local, uint64_t now_ns)
{
    int err = KITH_ERR_STATE, first_err = 0;
    bool has_moved = false;

    if (!conn->is_client || conn->phase != KITH_PHASE_CONFIRMED)
        return KITH_ERR_STATE;
    conn->now_ns = KITH_MAX(conn->now_ns, now_ns);
    for (size_t i = 0; i < conn->path_count; i++) {
        if (!kith__path_is_live(conn->paths[i]))
            continue;
        err = migrate_path(conn, conn->paths[i], local);
        has_moved |= err == 0;
        first_err = first_err != 0 ? first_err : err;
    }
    kith__conn_sync_cids(conn);
    kith__conn_touch(conn);
    return has_moved ? 0 : first_err != 0 ? first_err : KITH_ERR_STATE;
}

/** Moves a buffer out to the user. */
static int take(struct kith_buf *buf, uint8_t *out, size_t capacity, size_t *size)
{
    if (buf->size == 0)
        return KITH_ERR_AGAIN;
    if (buf->size > capacity)
        return KITH_ERR_TOO_LARGE;
    memcpy(out, buf->ptr, buf->size);
    *size = buf->size;
    kith__buf_dispose(buf);
    return 0;
}

int kith_quic_conn_take_session(struct kith_quic_conn *conn, uint8_t *out, size_t capacity, size_t *size)
{
    return take(&conn->session, out, capacity, size);
}

int kith_quic_conn_take_token(struct kith_quic_conn *conn, uint8_t *out, size_t capacity, size_t *size)
{
    return take(&conn->token, out, capacity, size);
}

size_t kith_quic_conn_paths(const struct kith_quic_conn *conn, struct kith_quic_path_info *out, size_t capacity)
{
    for (size_t i = 0; i < KITH_MIN(capacity, (size_t)conn->path_count); i++) {
        const struct kith_path_id *id = kith__multipath_find(&conn->mp, conn->paths[i]->id);

        kith__path_info(conn->paths[i], &out[i]);
        out[i].is_backup = id != NULL && id->is_backup;
        out[i].is_peer_backup = id != NULL && id->is_peer_backup;
        out[i].observed = kith__conn_observed(conn->paths[i])->address;
        out[i].is_silent = kith__conn_is_silent(conn->paths[i]);
    }
    return conn->path_count;
}

void kith_quic_conn_stats(const struct kith_quic_conn *conn, struct kith_quic_conn_stats *out)
{
    const struct kith_stream_set *streams = &conn->streams;

    *out = conn->stats;
    out->streams_opened = streams->ours_opened[0].opened + streams->ours_opened[1].opened;
    out->streams_accepted = streams->theirs_opened[0].opened + streams->theirs_opened[1].opened;
    out->stream_bytes_sent = streams->bytes_sent;
    out->stream_bytes_resent = streams->bytes_resent;
    out->stream_bytes_received = streams->bytes_received;
    out->datagrams_dropped_send = conn->datagrams_out.dropped;
    out->datagrams_dropped_receive = conn->datagrams_in.dropped;
    out->frames_ignored += streams->frames_ignored;
    for (size_t i = 0; i < conn->path_count; i++)
        out->frames_ignored += conn->paths[i]->responses.dropped;
    out->memory_size = conn->mem.size;
}
