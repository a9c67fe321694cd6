/* The paths of a connection: the table by path id, their connection ids, and what is asked about all of them. */
#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "quic/conn/conn.h"
#include "quic/host/host.h"

#include <string.h>

/* ---- The table ---- */

struct kith_path *kith__conn_path(const struct kith_quic_conn *conn, uint32_t id)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (conn->paths[i]->id == id)
            return conn->paths[i];
    return NULL;
}

static struct kith_path_options path_options(const struct kith_quic_conn *conn)
{
    const struct kith_quic_transport *config = &conn->config;

    return (struct kith_path_options) { .is_server = !conn->is_client,
                                        .pacing = config->pacing,
                                        .ecn = config->ecn,
                                        .mtu_discovery = config->mtu_discovery,
                                        .congestion = config->congestion,
                                        .udp_size_initial = config->initial_udp_size,
                                        .udp_size_max = config->udp_size_max,
                                        .initial_rtt_ns = config->initial_rtt_ns,
                                        .keep_alive_ns = config->keep_alive_ns };
}

int kith__conn_add_path(struct kith_quic_conn *conn, uint32_t id, const struct kith_tuple *tuple,
                        struct kith_path **out)
{
    struct kith_path_options options = path_options(conn);
    struct kith_conn_path *added;
    size_t at = conn->path_count;

    KITH_ASSERT(kith__conn_path(conn, id) == NULL);
    if (conn->path_count == KITH_CONN_PATHS_MAX)
        return KITH_ERR_LIMIT;
    added = kith__alloc(&conn->mem.mem, sizeof *added);
    if (added == NULL)
        return KITH_ERR_NOMEM;
    kith__path_init(&added->path, id, &options, tuple,
                    conn->config.grease ? kith__random_u64(&conn->host->random) | 1 : 0, &conn->mem.mem, conn->now_ns);
    kith__open_space_init(&added->open, id);
    for (; at > 0 && conn->paths[at - 1]->id > id; at--)
        conn->paths[at] = conn->paths[at - 1];
    *out = conn->paths[at] = &added->path;
    conn->path_count++;
    return 0;
}

void kith__conn_unregister_path(struct kith_quic_conn *conn, struct kith_path *path)
{
    const struct kith_cid *cid;

    for (size_t i = 0; (cid = kith__cid_ours_at(&path->cids_ours, i)) != NULL; i++)
        kith__host_remove_cid(conn->host, conn, kith__cid_slice(cid));
    if (path->is_token_listed)
        kith__host_remove_reset_token(conn->host, conn, path->token_listed);
    path->is_token_listed = false;
}

void kith__conn_free_path(struct kith_quic_conn *conn, struct kith_path *path)
{
    size_t at = 0;

    while (conn->paths[at] != path)
        at++;
    memmove(&conn->paths[at], &conn->paths[at + 1], (--conn->path_count - at) * sizeof path);
    kith__conn_unregister_path(conn, path);
    kith__path_dispose(path);
    kith__free(&conn->mem.mem, KITH_CONTAINER(path, struct kith_conn_path, path));
}

/* ---- Connection ids ---- */

/** Issues ids for the path as many as the peer wants. Without memory the peer gets fewer for now. */
static void issue_cids(struct kith_quic_conn *conn, struct kith_path *path)
{
    while (kith__cid_ours_wanted(&path->cids_ours) != 0) {
        struct kith_cid cid = { .size = KITH_CIDGEN_SIZE };
        uint8_t reset_token[KITH_RESET_TOKEN_SIZE];

        if (kith__host_issue_cid(conn->host, conn, cid.bytes, reset_token) != 0)
            break;
        kith__cid_ours_add(&path->cids_ours, &cid, reset_token, false);
    }
}

/** Keeps the host's map of reset tokens right: the token of the id in use is in it. */
static void list_token(struct kith_quic_conn *conn, struct kith_path *path)
{
    const uint8_t *token = kith__cid_theirs_active_token(&path->cids_theirs);

    if (path->is_token_listed && (token == NULL || memcmp(token, path->token_listed, KITH_RESET_TOKEN_SIZE) != 0)) {
        kith__host_remove_reset_token(conn->host, conn, path->token_listed);
        path->is_token_listed = false;
    }
    if (token != NULL && !path->is_token_listed) {
        memcpy(path->token_listed, token, KITH_RESET_TOKEN_SIZE);
        kith__host_add_reset_token(conn->host, conn, token);
        path->is_token_listed = true;
    }
}

void kith__conn_sync_cids(struct kith_quic_conn *conn)
{
    for (size_t i = 0; i < conn->path_count; i++) {
        if (conn->has_peer_params && kith__path_is_live(conn->paths[i]))
            issue_cids(conn, conn->paths[i]);
        list_token(conn, conn->paths[i]);
    }
}

/* ---- All of them ---- */

void kith__conn_ping_all(struct kith_quic_conn *conn)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__path_is_live(conn->paths[i]))
            conn->paths[i]->ping_wanted = true;
}

uint64_t kith__conn_rtt(const struct kith_quic_conn *conn)
{
    const struct kith_rtt *rtt = &conn->paths[0]->now.rtt;

    return kith__rtt_has_sample(rtt) ? rtt->smoothed_ns : 0;
}

uint64_t kith__conn_pto_max(const struct kith_quic_conn *conn)
{
    uint64_t pto_ns = 0;

    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__path_is_live(conn->paths[i]) || conn->path_count == 1)
            pto_ns = KITH_MAX(pto_ns, kith__path_pto_ns(conn->paths[i], conn->peer_delay_max_ns));
    return pto_ns;
}

/** What a datagram on the path can take along. */
static size_t datagram_size_of(const struct kith_path *path)
{
    const struct kith_cid *cid = kith__cid_theirs_active(&path->cids_theirs);

    return path->now.mtu.size - (1 + (cid != NULL ? cid->size : 0) + KITH_PACKET_PN_SIZE_MAX + KITH_AEAD_TAG_SIZE + 9);
}

size_t kith__conn_datagram_size_max(const struct kith_quic_conn *conn)
{
    uint64_t size = conn->peer_datagram_max - 9;
    size_t live = 0;

    if (!conn->peer_limits_known || conn->peer_datagram_max <= 9)
        return 0;
    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__path_is_proved(conn->paths[i]) || conn->path_count == 1) {
            size = KITH_MIN(size, datagram_size_of(conn->paths[i]));
            live++;
        }
    return live != 0 ? (size_t)size : KITH_MIN(size, KITH_MTU_BASE - 50);
}
