/*
 * From a datagram to packets: which keys, whose address, opened in place. What cannot be used is counted by reason;
 * packets that only came too early wait, a few of them, until their keys are there.
 * Source: RFC 9000, 5.2, 9, 12.2; RFC 9001, 5.7; spec/01, 1.2, 1.7, 1.17.
 */
#include "quic/conn/rx.h"

#include "base/assert.h"
#include "base/mem.h"
#include "quic/guard/seal.h"
#include "quic/host/host.h"

#include <string.h>

/** A packet of a datagram, before it is opened. */
struct arrived {
    const struct kith_tuple *tuple;
    struct kith_path *path; /* NULL: path id `path_id` has none */
    uint32_t path_id;
    struct kith_packet packet;
    uint8_t *bytes;
    const uint8_t *end; /* of the datagram */
    uint8_t ecn;
};

static void drop(struct kith_quic_conn *conn, enum kith_drop reason)
{
    conn->stats.packets_dropped++;
    kith__host_drop(conn->host, reason);
}

static enum kith_qlog_packet_type qlog_type_of(uint8_t type)
{
    static const uint8_t types[] = { [KITH_PACKET_INITIAL] = KITH_QLOG_INITIAL,
                                     [KITH_PACKET_ZERO_RTT] = KITH_QLOG_ZERO_RTT,
                                     [KITH_PACKET_HANDSHAKE] = KITH_QLOG_HANDSHAKE,
                                     [KITH_PACKET_RETRY] = KITH_QLOG_RETRY,
                                     [KITH_PACKET_ONE_RTT] = KITH_QLOG_ONE_RTT,
                                     [KITH_PACKET_VERSION_NEGOTIATION] = KITH_QLOG_VERSION_NEGOTIATION,
                                     [KITH_PACKET_OTHER_VERSION] = KITH_QLOG_UNKNOWN };

    return (enum kith_qlog_packet_type)types[type];
}

/** Counts a packet that is not looked at further, and tells qlog, in the words of its schema and in ours. */
static void drop_packet(struct kith_quic_conn *conn, enum kith_qlog_packet_type type, size_t size,
                        enum kith_drop reason)
{
    static const char *const names[] = {
#define KITH_DROP_NAME(name) [KITH_DROP_##name] = #name,
        KITH_QUIC_DROPS(KITH_DROP_NAME)
#undef KITH_DROP_NAME
    };
    static const char *const triggers[KITH_DROP_COUNT] = {
        [KITH_DROP_unknown_version] = "unsupported", [KITH_DROP_unknown_cid] = "connection_unknown",
        [KITH_DROP_decrypt] = "decryption_failure",  [KITH_DROP_no_keys] = "key_unavailable",
        [KITH_DROP_duplicate] = "duplicate",         [KITH_DROP_wrong_remote] = "rejected",
        [KITH_DROP_after_close] = "general",         [KITH_DROP_no_memory] = "internal_error"
    };

    drop(conn, reason);
    kith__qlog_packet_dropped(&conn->qlog, triggers[reason] != NULL ? triggers[reason] : "invalid", names[reason], type,
                              size, conn->now_ns);
}

static void drop_arrived(struct kith_quic_conn *conn, const struct arrived *arrived, enum kith_drop reason)
{
    drop_packet(conn, qlog_type_of(arrived->packet.type), arrived->packet.size, reason);
}

/* ---- Keys ---- */

static struct kith_keys *keys_of(struct kith_quic_conn *conn, uint8_t type)
{
    switch (type) {
    case KITH_PACKET_INITIAL:
        return conn->early != NULL ? &conn->early->spaces[KITH_SPACE_INITIAL].keys : NULL;
    case KITH_PACKET_HANDSHAKE:
        return conn->early != NULL ? &conn->early->spaces[KITH_SPACE_HANDSHAKE].keys : NULL;
    case KITH_PACKET_ZERO_RTT:
        return conn->early != NULL && !conn->is_client ? &conn->early->zero_rtt : NULL;
    default:
        return &conn->keys;
    }
}

/** True if keys for this type may still come. */
static bool may_come(const struct kith_quic_conn *conn, uint8_t type)
{
    if (conn->early == NULL || !kith__phase_is_open(conn->phase))
        return false;
    switch (type) {
    case KITH_PACKET_HANDSHAKE:
        return !conn->early->spaces[KITH_SPACE_HANDSHAKE].is_gone;
    case KITH_PACKET_ZERO_RTT:
        return !conn->is_client && conn->phase == KITH_PHASE_HANDSHAKING &&
               !kith__keys_can_write(&conn->early->spaces[KITH_SPACE_HANDSHAKE].keys);
    case KITH_PACKET_ONE_RTT:
        return true;
    default:
        return false;
    }
}

static void keep(struct kith_quic_conn *conn, const struct arrived *arrived)
{
    struct kith_kept_packet **end = &conn->kept, *kept;

    if (conn->kept_count == KITH_CONN_EARLY_PACKETS_MAX || arrived->packet.size > KITH_QUIC_UDP_SIZE_MAX) {
        drop_arrived(conn, arrived, KITH_DROP_no_keys);
        return;
    }
    kept = kith__alloc(&conn->mem.mem, sizeof *kept + arrived->packet.size);
    if (kept == NULL) {
        drop_arrived(conn, arrived, KITH_DROP_no_memory);
        return;
    }
    *kept = (struct kith_kept_packet) { .tuple = *arrived->tuple,
                                        .ecn = arrived->ecn,
                                        .size = (uint16_t)arrived->packet.size };
    memcpy(kept->bytes, arrived->bytes, arrived->packet.size);
    while (*end != NULL)
        end = &(*end)->next;
    *end = kept;
    conn->kept_count++;
}

/* ---- Addresses ---- */

/** A client takes the server's address from any authentic packet until the first Handshake packet (spec/01, 1.7). */
static bool follows_handshake(const struct kith_quic_conn *conn)
{
    return conn->is_client && conn->early != NULL && !conn->early->has_handshake_packet;
}

/** The 4-tuple as the path would see it: our end does not count while it is "any". */
static struct kith_tuple seen_tuple(const struct kith_path *path, const struct kith_tuple *tuple)
{
    struct kith_tuple seen = *tuple;

    if (path->tuple.local.family == KITH_FAMILY_NONE)
        seen.local = path->tuple.local;
    return seen;
}

/** May a packet of this type from there be looked at? */
static bool is_address_fine(const struct kith_quic_conn *conn, const struct kith_path *path,
                            const struct kith_tuple *tuple, uint8_t type)
{
    struct kith_migrate_packet packet = { .tuple = seen_tuple(path, tuple),
                                          .is_probing_only = true,
                                          .is_confirmed = conn->phase == KITH_PHASE_CONFIRMED,
                                          .has_nat_traversal = conn->has_nat_traversal };

    if (kith__tuple_equal(&packet.tuple, &path->tuple) || follows_handshake(conn) || !kith__path_is_live(path))
        return true;
    if (type != KITH_PACKET_ONE_RTT || !kith__phase_is_open(conn->phase))
        return kith_sockaddr_equal(&tuple->remote, &path->tuple.remote);
    return kith__migrate_judge(path, &packet) != KITH_MIGRATE_DROP;
}

/** An authentic packet of the handshake tells a client where the server is. */
static void settle_address(struct kith_quic_conn *conn, const struct arrived *arrived)
{
    struct kith_path *path = arrived->path;
    struct kith_tuple seen = seen_tuple(path, arrived->tuple);

    if (!follows_handshake(conn))
        return;
    if (!kith__tuple_equal(&seen, &path->tuple)) {
        path->tuple = seen; /* our end stays "any" if it was */
        kith__conn_note_path(conn, path);
        kith__qlog_tuple_assigned(&conn->qlog, path->id, &path->tuple.local, &path->tuple.remote, conn->now_ns);
    }
    if (arrived->packet.type == KITH_PACKET_HANDSHAKE)
        conn->early->has_handshake_packet = true;
}

/**
 * Which address of ours the system chose, for people. It does not become the path's: that stays "any", so that the system
 * may choose another one when the network changes, and no packet looks like a move.
 */
static void note_local(struct kith_path *path, const struct kith_tuple *tuple)
{
    if (path->tuple.local.family == KITH_FAMILY_NONE && kith_sockaddr_equal(&tuple->remote, &path->tuple.remote))
        path->local_seen = tuple->local;
}

/** After its frames: did the packet move the path? */
static void maybe_follow(struct kith_rx *rx, size_t datagram_size, uint64_t received_end)
{
    struct kith_quic_conn *conn = rx->conn;
    struct kith_migrate_packet packet = { .tuple = seen_tuple(rx->path, rx->tuple),
                                          .number = rx->number,
                                          .received_end = received_end,
                                          .is_probing_only = rx->is_probing_only,
                                          .is_confirmed = conn->phase == KITH_PHASE_CONFIRMED,
                                          .any_packet_moves = conn->mp.is_on && !conn->has_nat_traversal,
                                          .has_nat_traversal = conn->has_nat_traversal };
    bool is_known;

    if (rx->type != KITH_PACKET_ONE_RTT || !kith__phase_is_open(conn->phase) || !kith__path_is_live(rx->path) ||
        kith__tuple_equal(&packet.tuple, &rx->path->tuple) ||
        kith__migrate_judge(rx->path, &packet) != KITH_MIGRATE_FOLLOW)
        return;
    is_known = kith__conn_is_proved_by_other(conn, rx->path, &packet.tuple);
    if (kith__migrate_follow(rx->path, &packet.tuple, datagram_size, is_known, conn->peer_delay_max_ns, conn->now_ns) !=
        0) {
        drop(conn, KITH_DROP_no_memory); /* the next packet moves it */
        return;
    }
    rx->path->spin = false;
    kith__conn_observe(conn, rx->path);
    conn->stats.migrations++;
    conn->has_path_frames |= kith__cid_theirs_switch(&rx->path->cids_theirs);
    conn->are_cids_stale = true;
    kith__conn_note_path(conn, rx->path);
    kith__qlog_tuple_assigned(&conn->qlog, rx->path->id, &rx->path->tuple.local, &rx->path->tuple.remote, conn->now_ns);
}

/* ---- One packet ---- */

static struct kith_open_space *open_space_of(struct kith_quic_conn *conn, struct kith_path *path, uint8_t type)
{
    return type == KITH_PACKET_INITIAL     ? &conn->early->spaces[KITH_SPACE_INITIAL].open
           : type == KITH_PACKET_HANDSHAKE ? &conn->early->spaces[KITH_SPACE_HANDSHAKE].open
                                           : kith__conn_open_space(path);
}

static uint8_t space_of(uint8_t type)
{
    return type == KITH_PACKET_INITIAL     ? KITH_SPACE_INITIAL
           : type == KITH_PACKET_HANDSHAKE ? KITH_SPACE_HANDSHAKE
                                           : KITH_SPACE_DATA;
}

bool kith__conn_is_reset(const struct kith_quic_conn *conn, const struct kith_sockaddr *remote,
                         const uint8_t token[KITH_RESET_TOKEN_SIZE])
{
    bool found = false;

    for (size_t i = 0; i < conn->path_count; i++)
        found |= kith__cid_theirs_is_reset(&conn->paths[i]->cids_theirs, token) &&
                 kith__path_is_remote(conn->paths[i], remote);
    return found;
}

/** What cannot be opened may be a stateless reset, whatever its header looks like: the last 16 bytes of the datagram tell. */
static void on_not_opened(struct kith_quic_conn *conn, const struct arrived *arrived, enum kith_drop reason)
{
    if (arrived->end - arrived->bytes >= KITH_RESET_SIZE_MIN &&
        kith__conn_is_reset(conn, &arrived->tuple->remote, arrived->end - KITH_RESET_TOKEN_SIZE))
        kith__conn_lost(conn, KITH_ERR_LOST);
    else
        drop_arrived(conn, arrived, reason);
}

/** The source id of the first Initial is the peer's until the handshake is over (RFC 9000, 7.2). */
static bool is_from_other_cid(const struct kith_quic_conn *conn, const struct kith_packet *packet)
{
    return packet->type != KITH_PACKET_ONE_RTT && conn->early != NULL && conn->early->has_remote_cid &&
           !kith__cid_is(&conn->early->first_remote_cid, packet->scid);
}

/** The first authentic Initial from the server tells its id; the client's first id is over. */
static void learn_remote_cid(struct kith_quic_conn *conn, const struct kith_packet *packet)
{
    struct kith_conn_early *early = conn->early;

    if (packet->type != KITH_PACKET_INITIAL || early == NULL || early->has_remote_cid)
        return;
    early->first_remote_cid = kith__cid(packet->scid.ptr, packet->scid.size);
    early->has_remote_cid = true;
    kith__cid_theirs_set_first(&conn->paths[0]->cids_theirs, &early->first_remote_cid);
    conn->are_cids_stale = true;
}

/** The peer uses new keys: it began, or it followed us (then our own keys changed before). */
static void on_key_update(struct kith_quic_conn *conn, uint32_t write_generation)
{
    conn->keys_drop_ns = conn->now_ns + 3 * kith__conn_pto_max(conn);
    if (conn->keys.write_generation == write_generation)
        return;
    conn->is_phase_acked = false;
    conn->stats.key_updates++;
}

/** Receiving proves things: at a server that the client is at its address, and that Initial keys are not needed. */
static void on_authentic(struct kith_quic_conn *conn, const struct arrived *arrived)
{
    learn_remote_cid(conn, &arrived->packet);
    settle_address(conn, arrived);
    note_local(arrived->path, arrived->tuple);
    kith__path_on_packet(arrived->path, conn->now_ns);
    if (arrived->packet.type == KITH_PACKET_HANDSHAKE && !conn->is_client) {
        kith__path_on_proved(arrived->path, conn->now_ns);
        kith__conn_drop_space(conn, KITH_SPACE_INITIAL);
    }
    if (arrived->packet.type == KITH_PACKET_ONE_RTT && conn->spin_enabled) {
        bool theirs = (arrived->bytes[0] & KITH_PACKET_SPIN) != 0;

        arrived->path->spin = conn->is_client ? !theirs : theirs;
    }
    conn->stats.packets_received++;
}

static void note_received(struct kith_rx *rx)
{
    struct kith_quic_conn *conn = rx->conn;
    struct kith_received *received = kith__conn_received(conn, rx->path, (enum kith_space)rx->space);

    if (received == NULL) /* the packet's own frames ended its space */
        return;
    if (kith__received_is_duplicate(received, rx->number)) /* its own ACK frame moved the window past its number */
        return;
    if (kith__received_on_packet(received, rx->number, rx->is_eliciting, rx->ecn,
                                 rx->space == KITH_SPACE_DATA ? &conn->ack_policy : NULL, conn->now_ns) != 0)
        drop(conn, KITH_DROP_no_memory); /* not acknowledged: the peer sends it again, and frames may repeat */
    else if (rx->is_ack_wanted)
        kith__received_ack_now(received, conn->now_ns);
}

/**
 * Data come on another path than before, and the one before has been quiet for a while: it may have died, with our last ACKs
 * on it. Sent again here they spare the peer to send all that again (spec/01, 4.4: any path may carry them).
 */
static void note_stream_path(struct kith_rx *rx)
{
    struct kith_quic_conn *conn = rx->conn;
    struct kith_path *before;

    if (conn->rx_stream_path == rx->path->id)
        return;
    before = kith__conn_path(conn, conn->rx_stream_path);
    conn->rx_stream_path = rx->path->id;
    if (before != NULL && conn->now_ns - before->last_received_ns > before->now.rtt.smoothed_ns)
        kith__conn_ack_elsewhere(conn, before);
}

static void on_opened(struct kith_quic_conn *conn, const struct arrived *arrived, const struct kith_opened *opened,
                      size_t datagram_size)
{
    struct kith_rx rx = { .conn = conn,
                          .path = arrived->path,
                          .tuple = arrived->tuple,
                          .number = opened->pn,
                          .datagram_size = datagram_size,
                          .dcid = kith__cid(arrived->packet.dcid.ptr, arrived->packet.dcid.size),
                          .type = arrived->packet.type,
                          .space = space_of(arrived->packet.type),
                          .ecn = arrived->ecn };
    struct kith_received *received = kith__conn_received(conn, rx.path, (enum kith_space)rx.space);
    uint64_t received_end;
    int err;

    if (kith__received_is_duplicate(received, opened->pn)) {
        received->duplicates++;
        drop_arrived(conn, arrived, KITH_DROP_duplicate);
        return;
    }
    received_end = kith__received_end(received);
    on_authentic(conn, arrived);
    kith__qlog_packet_begin(&conn->qlog, false, qlog_type_of(rx.type), rx.path->id, opened->pn, arrived->packet.size,
                            conn->now_ns);
    err = kith__rx_frames(&rx, kith__reader(opened->payload, opened->size));
    kith__qlog_packet_end(&conn->qlog);
    if (err != 0)
        return;
    note_received(&rx);
    if (rx.has_proved && kith__path_is_live(rx.path))
        kith__conn_on_path_proved(conn, rx.path);
    if (rx.is_eliciting && rx.space == KITH_SPACE_DATA && conn->path_count > 1)
        kith__conn_note_flow(conn, rx.path);
    if (rx.has_stream)
        note_stream_path(&rx);
    maybe_follow(&rx, datagram_size, received_end);
    conn->stats.bytes_received += arrived->packet.size;
}

/** A packet for a path id without a path: at a server it begins one, once it is known to be authentic. */
static void on_first_packet(struct kith_quic_conn *conn, struct arrived *arrived, size_t datagram_size)
{
    uint32_t write_generation = conn->keys.write_generation;
    struct kith_open_space space;
    struct kith_opened opened;
    int result;

    if (conn->phase != KITH_PHASE_CONFIRMED || !kith__multipath_may_begin(&conn->mp, arrived->path_id)) {
        on_not_opened(conn, arrived, KITH_DROP_unused_path);
        return;
    }
    kith__open_space_init(&space, arrived->path_id);
    result = kith__packet_open(&conn->keys, &space, arrived->bytes, arrived->packet.pn_offset, arrived->packet.size,
                               &opened);
    if (result == 0 && opened.followed)
        on_key_update(conn, write_generation);
    if (result > 0)
        (void)kith__conn_fail(conn, (uint64_t)result, 0, opened.reason);
    else if (result != 0)
        on_not_opened(conn, arrived, result == KITH_ERR_NOMEM ? KITH_DROP_no_memory : KITH_DROP_decrypt);
    else if (kith__conn_begin_path(conn, arrived->path_id, arrived->tuple, false, &arrived->path) != 0)
        drop(conn, KITH_DROP_no_memory); /* the peer's next packet begins it */
    if (result != 0 || arrived->path == NULL)
        return;
    *kith__conn_open_space(arrived->path) = space;
    kith__path_on_datagram(arrived->path, datagram_size);
    on_opened(conn, arrived, &opened, datagram_size);
}

static void on_packet(struct kith_quic_conn *conn, struct arrived *arrived, size_t datagram_size)
{
    const struct kith_packet *packet = &arrived->packet;
    struct kith_keys *keys = keys_of(conn, packet->type);
    uint32_t write_generation = conn->keys.write_generation;
    struct kith_opened opened;
    int result;

    if (arrived->path == NULL) {
        on_first_packet(conn, arrived, datagram_size);
        return;
    }
    if (!is_address_fine(conn, arrived->path, arrived->tuple, packet->type)) {
        drop_arrived(conn, arrived, KITH_DROP_wrong_remote);
        return;
    }
    if (packet->type == KITH_PACKET_INITIAL && !conn->is_client && datagram_size < 1200) {
        drop_arrived(conn, arrived, KITH_DROP_initial_too_small);
        return;
    }
    if (is_from_other_cid(conn, packet)) {
        drop_arrived(conn, arrived, KITH_DROP_unknown_cid);
        return;
    }
    if (conn->is_client && packet->token.size != 0) { /* servers have none: RFC 9000, 17.2.2 */
        drop_arrived(conn, arrived, KITH_DROP_bad_token);
        return;
    }
    if (keys == NULL || !kith__keys_can_read(keys)) {
        if (may_come(conn, packet->type))
            keep(conn, arrived);
        else
            on_not_opened(conn, arrived, KITH_DROP_no_keys);
        return;
    }
    result = kith__packet_open(keys, open_space_of(conn, arrived->path, packet->type), arrived->bytes,
                               packet->pn_offset, packet->size, &opened);
    if (result == 0 && opened.followed)
        on_key_update(conn, write_generation);
    if (result == 0)
        on_opened(conn, arrived, &opened, datagram_size);
    else if (result > 0)
        (void)kith__conn_fail(conn, (uint64_t)result, 0, opened.reason);
    else if (result == KITH_ERR_NOMEM)
        drop_arrived(conn, arrived, KITH_DROP_no_memory);
    else
        on_not_opened(conn, arrived, KITH_DROP_decrypt);
}

/** The packet's keys are there, or will never be. */
static bool is_wait_over(struct kith_quic_conn *conn, uint8_t type)
{
    struct kith_keys *keys = keys_of(conn, type);

    return (keys != NULL && kith__keys_can_read(keys)) || !may_come(conn, type);
}

/** Packets that waited, if their keys are there now. The last keys come at the end of the handshake, when `early` goes. */
static void open_kept(struct kith_quic_conn *conn)
{
    struct kith_kept_packet **at = &conn->kept;

    while (*at != NULL) {
        struct kith_kept_packet *kept = *at;
        struct arrived arrived = { .tuple = &kept->tuple,
                                   .path = conn->paths[0], /* there are no others before the keys */
                                   .bytes = kept->bytes,
                                   .end = kept->bytes + kept->size,
                                   .ecn = kept->ecn };

        KITH_ASSERT(kith__packet_parse(kept->bytes, kept->size, KITH_CIDGEN_SIZE, &arrived.packet) == 0);
        if (!is_wait_over(conn, arrived.packet.type)) {
            at = &kept->next;
            continue;
        }
        *at = kept->next;
        conn->kept_count--;
        on_packet(conn, &arrived, kept->size);
        kith__free(&conn->mem.mem, kept);
        at = &conn->kept; /* this packet may have brought the keys of others */
    }
}

/** Version Negotiation and Retry: only for a client, only alone in a datagram. */
static void on_unprotected(struct kith_quic_conn *conn, const struct arrived *arrived)
{
    if (!conn->is_client)
        drop_arrived(conn, arrived, KITH_DROP_malformed_header);
    else if (arrived->packet.type == KITH_PACKET_RETRY)
        kith__conn_on_retry(conn, &arrived->packet, arrived->bytes, arrived->tuple);
    else
        kith__conn_on_version_negotiation(conn, &arrived->packet);
}

/** All packets of a datagram have the destination id of the first. Only 1-RTT packets are on other paths than path 0. */
static void find_path(struct kith_quic_conn *conn, struct arrived *arrived, size_t datagram_size)
{
    if (arrived->packet.type == KITH_PACKET_ONE_RTT)
        arrived->path = kith__conn_find_path(conn, arrived->packet.dcid, &arrived->path_id);
    else
        arrived->path = kith__conn_path(conn, 0);
    if (arrived->path != NULL && kith_sockaddr_equal(&arrived->tuple->remote, &arrived->path->tuple.remote))
        kith__path_on_datagram(arrived->path, datagram_size);
}

void kith__conn_receive(struct kith_quic_conn *conn, const struct kith_tuple *tuple, uint8_t *bytes, size_t size,
                        uint8_t ecn, uint64_t now_ns)
{
    struct arrived arrived = { .tuple = tuple, .bytes = bytes, .end = bytes + size, .ecn = ecn };
    struct kith_cid first = { 0 };
    size_t datagram_size = size;
    bool was_closed = !kith__phase_is_open(conn->phase);

    conn->now_ns = now_ns;
    for (; size != 0 && conn->phase != KITH_PHASE_DRAINED;
         arrived.bytes += arrived.packet.size, size -= arrived.packet.size) {
        const struct kith_packet *packet = &arrived.packet;

        if (kith__packet_parse(arrived.bytes, size, KITH_CIDGEN_SIZE, &arrived.packet) != 0 ||
            packet->dcid.size > KITH_CID_SIZE_MAX) {
            drop_packet(conn, KITH_QLOG_UNKNOWN, size, KITH_DROP_malformed_header);
            break;
        }
        if (arrived.bytes == bytes) {
            first = kith__cid(packet->dcid.ptr, packet->dcid.size);
            find_path(conn, &arrived, datagram_size);
        }
        if (packet->type == KITH_PACKET_RETRY || packet->type == KITH_PACKET_VERSION_NEGOTIATION)
            on_unprotected(conn, &arrived);
        else if (packet->type == KITH_PACKET_OTHER_VERSION)
            drop_arrived(conn, &arrived, KITH_DROP_unknown_version);
        else if (!packet->fixed_bit)
            drop_arrived(conn, &arrived, KITH_DROP_fixed_bit);
        else if (!kith__cid_is(&first, packet->dcid)) /* RFC 9000, 12.2 */
            drop_arrived(conn, &arrived, KITH_DROP_unknown_cid);
        else
            on_packet(conn, &arrived, datagram_size);
    }
    if (was_closed)
        drop(conn, KITH_DROP_after_close);
    if (!kith__phase_is_open(conn->phase))
        kith__conn_on_packet_after_close(conn);
    else
        open_kept(conn);
    if (conn->are_cids_stale)
        kith__conn_sync_cids(conn);
}
