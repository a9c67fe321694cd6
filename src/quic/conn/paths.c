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
                                        .keep_alive_ns = config->keep_alive_ns,
                                        .idle_timeout_ns = conn->mp.is_on ? config->path_idle_timeout_ns : 0 };
}

static struct kith_conn_spare **find_spare(struct kith_quic_conn *conn, uint32_t id)
{
    struct kith_conn_spare **at = &conn->spares;

    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

/** The ids that were issued for the path id before it had a path. */
static void take_spare(struct kith_quic_conn *conn, struct kith_path *path)
{
    struct kith_conn_spare **at = find_spare(conn, path->id), *spare = *at;

    if (spare == NULL)
        return;
    path->cids_ours = spare->cids_ours;
    path->cids_theirs = spare->cids_theirs;
    *at = spare->next;
    kith__free(&conn->mem.mem, spare);
}

int kith__conn_add_path(struct kith_quic_conn *conn, uint32_t id, const struct kith_tuple *tuple,
                        struct kith_path **out)
{
    struct kith_path_options options = path_options(conn);
    struct kith_conn_path *added;
    size_t at = conn->path_count;

    KITH_ASSERT(kith__conn_path(conn, id) == NULL);
    if (conn->path_count == KITH_PATH_IDS_MAX)
        return KITH_ERR_LIMIT;
    added = kith__alloc(&conn->mem.mem, sizeof *added);
    if (added == NULL)
        return KITH_ERR_NOMEM;
    kith__path_init(&added->path, id, &options, tuple,
                    conn->config.grease ? kith__random_u64(&conn->host->random) | 1 : 0, &conn->mem.mem, conn->now_ns);
    kith__open_space_init(&added->open, id);
    added->observed = (struct kith_observed_path) { 0 };
    if (conn->peer_udp_max != 0)
        kith__mtu_set_peer_max(&added->path.now.mtu, conn->peer_udp_max);
    take_spare(conn, &added->path);
    for (; at > 0 && conn->paths[at - 1]->id > id; at--)
        conn->paths[at] = conn->paths[at - 1];
    *out = conn->paths[at] = &added->path;
    conn->path_count++;
    return 0;
}

struct kith_conn_ids kith__conn_ids(struct kith_quic_conn *conn, uint32_t id)
{
    struct kith_path *path = kith__conn_path(conn, id);
    struct kith_conn_spare *spare;

    if (path != NULL)
        return (struct kith_conn_ids) { &path->cids_ours, &path->cids_theirs };
    if ((spare = *find_spare(conn, id)) != NULL)
        return (struct kith_conn_ids) { &spare->cids_ours, &spare->cids_theirs };
    return (struct kith_conn_ids) { NULL, NULL };
}

int kith__conn_make_ids(struct kith_quic_conn *conn, uint32_t id, struct kith_conn_ids *out)
{
    struct kith_conn_ids ids = kith__conn_ids(conn, id);
    struct kith_conn_spare *spare;

    if (ids.ours == NULL) {
        if ((spare = kith__alloc(&conn->mem.mem, sizeof *spare)) == NULL)
            return KITH_ERR_NOMEM;
        *spare = (struct kith_conn_spare) { .next = conn->spares, .id = id };
        kith__cid_ours_init(&spare->cids_ours);
        kith__cid_theirs_init(&spare->cids_theirs, &conn->mem.mem);
        conn->spares = spare;
        ids = (struct kith_conn_ids) { &spare->cids_ours, &spare->cids_theirs };
    }
    *out = ids;
    return 0;
}

/* ---- Which path a packet is for ---- */

static struct kith_path *search(struct kith_quic_conn *conn, const struct kith_cid *cid, uint32_t *id)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__cid_ours_find(&conn->paths[i]->cids_ours, cid) != UINT64_MAX)
            return conn->paths[i];
    for (struct kith_conn_spare *spare = conn->spares; spare != NULL; spare = spare->next)
        if (kith__cid_ours_find(&spare->cids_ours, cid) != UINT64_MAX) {
            *id = spare->id;
            return NULL;
        }
    *id = 0;
    return kith__conn_path(conn, 0);
}

struct kith_path *kith__conn_find_path(struct kith_quic_conn *conn, struct kith_slice dcid, uint32_t *id)
{
    if (!conn->mp.is_on)
        return conn->paths[0];
    if (conn->rx_path == NULL || !kith__cid_is(&conn->rx_cid, dcid)) { /* most packets are for the id of the last one */
        conn->rx_cid = kith__cid(dcid.ptr, dcid.size);
        conn->rx_path = search(conn, &conn->rx_cid, id);
    }
    return conn->rx_path;
}

/* ---- Taking out ---- */

void kith__conn_remove_cid(struct kith_quic_conn *conn, const struct kith_cid *cid)
{
    kith__host_remove_cid(conn->host, conn, kith__cid_slice(cid));
    conn->rx_path = NULL;
}

static void unregister_cids(struct kith_quic_conn *conn, const struct kith_cid_ours *ours)
{
    const struct kith_cid *cid;

    for (size_t i = 0; (cid = kith__cid_ours_at(ours, i)) != NULL; i++)
        kith__conn_remove_cid(conn, cid);
}

void kith__conn_unregister_path(struct kith_quic_conn *conn, struct kith_path *path)
{
    unregister_cids(conn, &path->cids_ours);
    if (path->is_token_listed)
        kith__host_remove_reset_token(conn->host, conn, path->token_listed);
    path->is_token_listed = false;
}

void kith__conn_unregister(struct kith_quic_conn *conn)
{
    for (size_t i = 0; i < conn->path_count; i++)
        kith__conn_unregister_path(conn, conn->paths[i]);
    for (struct kith_conn_spare *spare = conn->spares; spare != NULL; spare = spare->next)
        unregister_cids(conn, &spare->cids_ours);
    kith__conn_remove_cid(conn, &conn->initial_dcid);
}

static void free_path(struct kith_quic_conn *conn, struct kith_path *path)
{
    size_t at = 0;

    while (conn->paths[at] != path)
        at++;
    memmove(&conn->paths[at], &conn->paths[at + 1], (--conn->path_count - at) * sizeof path);
    kith__conn_unregister_path(conn, path);
    conn->rx_path = NULL;
    conn->idle_floor_ns = KITH_MAX(conn->idle_floor_ns, path->idle_from_ns);
    kith__path_dispose(path);
    kith__free(&conn->mem.mem, KITH_CONTAINER(path, struct kith_conn_path, path));
}

void kith__conn_free_id(struct kith_quic_conn *conn, uint32_t id)
{
    struct kith_path *path = kith__conn_path(conn, id);
    struct kith_conn_spare **at = find_spare(conn, id), *spare = *at;

    if (path != NULL)
        free_path(conn, path);
    if (spare == NULL)
        return;
    unregister_cids(conn, &spare->cids_ours);
    kith__cid_theirs_dispose(&spare->cids_theirs);
    *at = spare->next;
    kith__free(&conn->mem.mem, spare);
}

/** The last path stays, and path 0 as long as the handshake needs it: somebody may still look at what it was. */
static bool may_be_freed(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    return path->state == KITH_PATH_DRAINED && path->news == 0 && conn->path_count > 1 &&
           (conn->early == NULL || path->id != 0);
}

void kith__conn_free_drained(struct kith_quic_conn *conn)
{
    size_t i = 0;

    while (i < conn->path_count)
        if (may_be_freed(conn, conn->paths[i]))
            kith__conn_free_id(conn, conn->paths[i]->id);
        else
            i++;
}

void kith__conn_free_paths(struct kith_quic_conn *conn)
{
    while (conn->path_count != 0)
        free_path(conn, conn->paths[conn->path_count - 1]);
    while (conn->spares != NULL)
        kith__conn_free_id(conn, conn->spares->id);
}

/* ---- Connection ids ---- */

/** Issues ids for a path id as many as the peer wants. Without memory the peer gets fewer for now. */
static void issue_cids(struct kith_quic_conn *conn, uint32_t id)
{
    struct kith_conn_ids ids;
    struct kith_cid cid;
    bool is_spare;

    if (kith__conn_make_ids(conn, id, &ids) != 0) {
        conn->are_cids_stale = true;
        return;
    }
    is_spare = kith__conn_path(conn, id) == NULL;
    kith__cid_ours_set_limit(ids.ours, is_spare ? KITH_MIN(conn->peer_cids_max, (uint64_t)KITH_CONN_SPARE_CIDS)
                                                : conn->peer_cids_max);
    while (kith__cid_ours_wanted(ids.ours) != 0) {
        if (kith__host_issue_cid(conn->host, conn, &cid) != 0) {
            conn->are_cids_stale = true;
            return;
        }
        kith__cid_ours_add(ids.ours, &cid, false);
        conn->has_path_frames = true;
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

/** A path without an id of the peer's can send nothing: PATH_CIDS_BLOCKED goes out on another one (spec/01, 4.6). */
static void ask_for_cids(struct kith_quic_conn *conn, const struct kith_path *path)
{
    if (!conn->mp.is_on || !kith__path_is_live(path) || kith__cid_theirs_active(&path->cids_theirs) != NULL)
        return;
    kith__multipath_on_cids_missing(&conn->mp, path->id, path->cids_theirs.largest);
    conn->has_path_frames = true;
}

void kith__conn_sync_cids(struct kith_quic_conn *conn)
{
    uint32_t id = 0;

    conn->are_cids_stale = false;
    if (conn->has_peer_params && !conn->mp.is_on)
        issue_cids(conn, 0);
    for (uint32_t from = 0;
         kith__phase_is_open(conn->phase) && conn->mp.is_on && kith__multipath_next_for_cids(&conn->mp, from, &id);
         from = id + 1)
        issue_cids(conn, id);
    for (size_t i = 0; i < conn->path_count; i++) {
        list_token(conn, conn->paths[i]);
        ask_for_cids(conn, conn->paths[i]);
    }
}

/* ---- All of them ---- */

void kith__conn_ack_elsewhere(struct kith_quic_conn *conn, struct kith_path *path)
{
    path->is_ack_moved = conn->path_count > 1 && kith__received_ack_again(&path->received, conn->now_ns);
}

void kith__conn_ping_all(struct kith_quic_conn *conn)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__path_is_live(conn->paths[i]))
            conn->paths[i]->ping_wanted = true;
}

uint64_t kith__conn_rtt(const struct kith_quic_conn *conn)
{
    const struct kith_path *path = kith__conn_first(conn);

    return path != NULL && kith__rtt_has_sample(&path->now.rtt) ? path->now.rtt.smoothed_ns : 0;
}

uint64_t kith__conn_pto_max(const struct kith_quic_conn *conn)
{
    uint64_t pto_ns = 0;
    struct kith_rtt fresh;

    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__path_is_live(conn->paths[i]))
            pto_ns = KITH_MAX(pto_ns, kith__path_pto_ns(conn->paths[i], conn->peer_delay_max_ns));
    if (pto_ns != 0)
        return pto_ns;
    kith__rtt_init(&fresh, conn->config.initial_rtt_ns); /* no path lives */
    return kith__rtt_pto_ns(&fresh, conn->peer_delay_max_ns);
}

size_t kith__conn_datagram_room(const struct kith_path *path)
{
    const struct kith_cid *cid = kith__cid_theirs_active(&path->cids_theirs);

    return path->now.mtu.size - (1 + (cid != NULL ? cid->size : 0) + KITH_PACKET_PN_SIZE_MAX + KITH_AEAD_TAG_SIZE + 9);
}

size_t kith__conn_datagram_size_max(const struct kith_quic_conn *conn)
{
    size_t size = SIZE_MAX;

    if (!conn->peer_limits_known || conn->peer_datagram_max <= 9)
        return 0;
    for (size_t i = 0; i < conn->path_count; i++)
        if (conn->path_count == 1 || kith__conn_is_usable(conn->paths[i]))
            size = KITH_MIN(size, kith__conn_datagram_room(conn->paths[i]));
    if (size == SIZE_MAX) /* no path can be used now: what fits everywhere */
        size = KITH_MTU_BASE - (1 + KITH_CID_SIZE_MAX + KITH_PACKET_PN_SIZE_MAX + KITH_AEAD_TAG_SIZE + 9);
    return (size_t)KITH_MIN((uint64_t)size, conn->peer_datagram_max - 9);
}
