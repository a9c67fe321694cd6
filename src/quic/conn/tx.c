/*
 * What to send now. One call fills the caller's buffer with datagrams for one destination: usually as many equal ones as
 * window, pacer and buffer allow, built and sealed in place, so that the kernel can segment them. Levels share a datagram
 * during the handshake. Source: RFC 9000, 8, 12.2 and 14; RFC 9002, 7; spec/01, 1.2, 1.7 and 1.8.
 */
#include "base/assert.h"
#include "base/random.h"
#include "quic/conn/conn.h"
#include "quic/conn/fate.h"
#include "quic/conn/packet_out.h"
#include "quic/conn/tx_frames.h"
#include "quic/host/host.h"

#include <string.h>

enum {
    DATAGRAM_SIZE_MIN = 1200, /* of datagrams with Initial packets and path challenges */
    SEGMENTS_MAX = 64,        /* that Linux takes in one UDP_SEGMENT send */
    FILL_MAX = 32,            /* a datagram that lacks no more than this is padded to keep a batch going (spec/01, 7) */
    KEY_UPDATE_MARGIN = 10000, /* packets before the limit of the AEAD at which keys are updated */
    LEVELS_MAX = 3             /* packets in one datagram */
};

/** One datagram that is being built. */
struct datagram {
    struct kith_packet_out packets[LEVELS_MAX];
    size_t count, used; /* used: bytes of all packets but for padding that the last may get */
    size_t room;
    bool shares; /* it may carry what belongs to no path */
    bool has_initial, is_eliciting_initial, wants_min;
};

/* ---- What wants to be sent ---- */

static struct kith_conn_space *space_of(struct kith_quic_conn *conn, enum kith_level level)
{
    return level <= KITH_LEVEL_HANDSHAKE ? &conn->early->spaces[level] : NULL;
}

static uint8_t *probes_of(struct kith_quic_conn *conn, struct kith_path *path, enum kith_level level)
{
    struct kith_conn_space *space = space_of(conn, level);

    return space != NULL ? &space->probes : &path->probes;
}

static bool level_has_keys(const struct kith_quic_conn *conn, enum kith_level level)
{
    switch (level) {
    case KITH_LEVEL_INITIAL:
    case KITH_LEVEL_HANDSHAKE:
        return conn->early != NULL && kith__keys_can_write(&conn->early->spaces[level].keys);
    case KITH_LEVEL_EARLY:
        return conn->early != NULL && conn->is_client && conn->early->is_early_offered &&
               kith__keys_can_write(&conn->early->zero_rtt) && !kith__keys_can_write(&conn->keys);
    case KITH_LEVEL_DATA:
        break;
    }
    return kith__keys_can_write(&conn->keys);
}

static bool level_has_data(const struct kith_quic_conn *conn, const struct kith_path *path, enum kith_level level,
                           bool shares)
{
    if (level <= KITH_LEVEL_HANDSHAKE)
        return kith__handshake_has_data(&conn->handshake,
                                        level == KITH_LEVEL_INITIAL ? KITH_TLS_INITIAL : KITH_TLS_HANDSHAKE);
    return (level == KITH_LEVEL_DATA && kith__tx_has_own(conn, path)) || (shares && kith__tx_has_data(conn, level));
}

static bool level_owes_ack(struct kith_quic_conn *conn, const struct kith_path *path, enum kith_level level,
                           bool shares)
{
    const struct kith_received *received;

    if (level == KITH_LEVEL_EARLY)
        return false;
    received = level <= KITH_LEVEL_HANDSHAKE ? &conn->early->spaces[level].received : &path->received;
    if (kith__received_is_due(received, conn->now_ns))
        return true;
    for (size_t i = 0; shares && level == KITH_LEVEL_DATA && conn->path_count > 1 && i < conn->path_count; i++)
        if (kith__tx_owes_ack_for(conn, path, conn->paths[i]))
            return true;
    return false;
}

/** Handshake packets go on path 0 only. */
static int first_level(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    return conn->early != NULL && path->id == 0 ? KITH_LEVEL_INITIAL : KITH_LEVEL_DATA;
}

/* ---- One datagram ---- */

/**
 * After many packets that nobody acknowledges a PING asks for an ACK, so that we hear which ACKs arrived (RFC 9000, 13.2.4);
 * one is enough: if it is lost, the probe timeout sends another.
 */
static bool wants_ack_of_acks(const struct kith_packet_out *out)
{
    return !kith__packet_out_is_empty(out) && out->log->quiet_run >= KITH_SENT_QUIET_MAX && out->log->eliciting == 0;
}

/** Fills the packet just begun. may_send: window and pacer let data go. */
static void write_frames(struct kith_packet_out *out, bool may_send, bool has_data, bool shares)
{
    struct kith_quic_conn *conn = out->conn;
    uint8_t *probes = probes_of(conn, out->path, (enum kith_level)out->level);
    bool is_probe = *probes != 0;

    /* Before the ACK: with a small anti-amplification allowance that could take all the room, and without proof of the
       address there will never be more of it. */
    if ((may_send || is_probe) && out->level == KITH_LEVEL_DATA)
        kith__tx_challenges(out);
    kith__tx_ack(out, true);
    if (shares && conn->path_count > 1 && out->level == KITH_LEVEL_DATA)
        kith__tx_acks_for_others(out);
    if ((may_send || is_probe) && has_data) {
        if (out->level <= KITH_LEVEL_HANDSHAKE)
            kith__tx_crypto(out);
        else if (shares)
            kith__tx_data(out);
        else
            kith__tx_own(out);
    }
    if ((out->flags & KITH_SENT_ELICITING) == 0 && (is_probe || wants_ack_of_acks(out)))
        kith__tx_ping(out);
    if (is_probe && (out->flags & KITH_SENT_ELICITING) != 0)
        (*probes)--;
}

/**
 * Window and pacer, or: nothing of this handshake space is under way. 1-RTT packets that the peer cannot open yet may fill
 * the window, and are never probed for before the handshake is confirmed (RFC 9002, 6.2.1): a lost end of the handshake
 * that waited for them would wait for ever.
 */
static bool level_may_send(struct kith_quic_conn *conn, enum kith_level level, bool may_send)
{
    return may_send || (level <= KITH_LEVEL_HANDSHAKE && space_of(conn, level)->sent.eliciting == 0);
}

/** Hands the record of the datagram's last packet so far to qlog: only the last one of all may still be padded. */
static void end_record(const struct datagram *dg, struct kith_quic_conn *conn)
{
    if (dg->count != 0)
        kith__qlog_packet_end_sized(&conn->qlog, kith__packet_out_size(&dg->packets[dg->count - 1]));
}

static void begin_record(struct kith_quic_conn *conn, const struct kith_packet_out *out)
{
    static const uint8_t types[] = { [KITH_LEVEL_INITIAL] = KITH_QLOG_INITIAL,
                                     [KITH_LEVEL_HANDSHAKE] = KITH_QLOG_HANDSHAKE,
                                     [KITH_LEVEL_EARLY] = KITH_QLOG_ZERO_RTT,
                                     [KITH_LEVEL_DATA] = KITH_QLOG_ONE_RTT };

    kith__qlog_packet_begin(&conn->qlog, true, (enum kith_qlog_packet_type)types[out->level], out->path->id,
                            out->number, 0, conn->now_ns);
}

static bool add_packet(struct datagram *dg, struct kith_quic_conn *conn, struct kith_path *path, enum kith_level level,
                       uint8_t *buffer, bool may_send)
{
    struct kith_packet_out *out = &dg->packets[dg->count];
    bool has_data = level_has_data(conn, path, level, dg->shares);

    may_send = level_may_send(conn, level, may_send);
    if (!(has_data && may_send) && !level_owes_ack(conn, path, level, dg->shares) && *probes_of(conn, path, level) == 0)
        return true;
    if (kith__packet_out_begin(out, conn, path, level, buffer + dg->used, dg->room - dg->used) != 0)
        return false;
    end_record(dg, conn);
    begin_record(conn, out);
    write_frames(out, may_send, has_data, dg->shares);
    if (kith__packet_out_is_empty(out) || !kith__phase_is_open(conn->phase)) {
        kith__packet_out_abandon(out);
        return true;
    }
    if (level == KITH_LEVEL_INITIAL) {
        dg->has_initial = true;
        dg->is_eliciting_initial = (out->flags & KITH_SENT_ELICITING) != 0;
    }
    dg->wants_min |= out->is_challenge || out->is_padded_to_min;
    dg->used += kith__packet_out_size(out);
    dg->count++;
    return !out->is_full;
}

/** Pads the last packet so that the datagram has `size` bytes. */
static void pad(struct datagram *dg, size_t size)
{
    struct kith_packet_out *last = &dg->packets[dg->count - 1];
    size_t before = dg->used - kith__packet_out_size(last);

    size = KITH_MIN(size, dg->room);
    if (size <= dg->used)
        return;
    kith__packet_out_pad(last, size - before);
    dg->used = before + kith__packet_out_size(last);
}

static void on_packet_sent(struct kith_quic_conn *conn, const struct kith_packet_out *out, size_t datagram_size)
{
    if (out->is_challenge)
        kith__migrate_on_challenge_sent(out->path, false, out->challenge, datagram_size >= DATAGRAM_SIZE_MIN,
                                        conn->peer_delay_max_ns, conn->now_ns);
    if (out->level == KITH_LEVEL_HANDSHAKE && conn->is_client)
        kith__conn_drop_space(conn, KITH_SPACE_INITIAL); /* RFC 9001, 4.9.1 */
}

/** Seals all packets. False: the connection failed, nothing may be sent. */
static bool finish(struct datagram *dg, struct kith_quic_conn *conn)
{
    bool ok = true;

    end_record(dg, conn);
    for (size_t i = 0; i < dg->count; i++) {
        if (!ok)
            kith__packet_out_abandon(&dg->packets[i]);
        else
            ok = kith__packet_out_end(&dg->packets[i]) == 0;
    }
    for (size_t i = 0; ok && i < dg->count; i++)
        on_packet_sent(conn, &dg->packets[i], dg->used);
    return ok;
}

/** The pacer of the path holds back what it has to send, or what it may be asked to carry. */
static bool is_paced(struct kith_quic_conn *conn, const struct kith_path *path, bool shares)
{
    return !kith__path_is_window_full(path, path->now.mtu.size) && level_has_keys(conn, KITH_LEVEL_DATA) &&
           level_has_data(conn, path, KITH_LEVEL_DATA, shares || kith__conn_is_usable(path));
}

/**
 * Builds one datagram for the path in `room` bytes; segment: the size of the others in the batch, or 0; shares: with what
 * belongs to no path. Returns its size; 0: nothing to send now.
 */
static size_t build(struct kith_quic_conn *conn, struct kith_path *path, uint8_t *buffer, size_t room, size_t segment,
                    bool shares)
{
    struct datagram dg = { .room = room, .shares = shares };
    bool may_send = kith__path_may_send(path, path->now.mtu.size, conn->now_ns);

    for (int level = first_level(conn, path); level <= KITH_LEVEL_DATA; level++) {
        if (!level_has_keys(conn, (enum kith_level)level))
            continue;
        if (dg.count == LEVELS_MAX || !add_packet(&dg, conn, path, (enum kith_level)level, buffer, may_send))
            break;
    }
    path->is_paced_now = !may_send && is_paced(conn, path, shares);
    if (dg.count == 0)
        return 0;
    if ((dg.has_initial && (conn->is_client || dg.is_eliciting_initial)) || dg.wants_min)
        pad(&dg, DATAGRAM_SIZE_MIN);
    if (segment != 0 && dg.used < segment && segment - dg.used <= FILL_MAX && shares &&
        kith__stream_set_has_data(&conn->streams))
        pad(&dg, segment);
    if (!finish(&dg, conn))
        return 0;
    kith__path_on_datagram_sent(path, dg.used);
    return dg.used;
}

static void fill_transmit(const struct kith_path *path, const struct kith_tuple *tuple, size_t size, size_t segment,
                          bool is_marked, struct kith_quic_transmit *out)
{
    *out = (struct kith_quic_transmit) { .local = tuple->local,
                                         .remote = tuple->remote,
                                         .size = size,
                                         .segment_size = segment,
                                         .ecn = is_marked ? kith__ecn_mark(&path->now.ecn) : 0 };
}

/* ---- Kinds of transmits ---- */

/** From the second probe timeout in a row on, probes are small: the way may have become narrow (recover/mtu.h). */
static size_t datagram_size_max(const struct kith_path *path)
{
    bool is_small = path->probes != 0 && path->loss.pto_count >= 2;

    return is_small ? KITH_MTU_BASE : path->now.mtu.size;
}

/** Datagrams of one size for the path, until something says stop. */
static bool transmit_batch(struct kith_quic_conn *conn, struct kith_path *path, bool shares, uint8_t *buffer,
                           size_t capacity, struct kith_quic_transmit *out)
{
    uint8_t mark = kith__ecn_mark(&path->now.ecn);
    size_t total, segment, size;

    size = KITH_MIN(KITH_MIN(capacity, datagram_size_max(path)), kith__path_allowance(path));
    segment = total = build(conn, path, buffer, size, 0, shares);
    if (total == 0)
        return false;
    if (conn->early != NULL && conn->early->copy != NULL && !conn->early->has_remote_cid) {
        memcpy(conn->early->copy, buffer, total);
        conn->early->copy_size = (uint16_t)total;
        conn->early->remote_next = 0;
    } else if (segment == path->now.mtu.size) {
        kith__mtu_on_full(&path->now.mtu);
        for (int i = 1; i < SEGMENTS_MAX && capacity - total >= segment; i++) {
            size = build(conn, path, buffer + total, KITH_MIN(segment, kith__path_allowance(path)), segment, shares);
            total += size;
            if (size < segment)
                break;
        }
    }
    fill_transmit(path, &path->tuple, total, total > segment ? segment : 0, false, out);
    out->ecn = mark;
    return true;
}

/** A client that does not know yet which address answers sends each Initial to all of them. */
static bool transmit_copy(struct kith_quic_conn *conn, uint8_t *buffer, struct kith_quic_transmit *out)
{
    struct kith_conn_early *early = conn->early;
    struct kith_tuple tuple;

    if (early == NULL || early->copy_size == 0) /* after the handshake there may be no path at all */
        return false;
    if (early->has_remote_cid || early->remote_next == early->remote_count) {
        early->copy_size = 0;
        return false;
    }
    tuple = conn->paths[0]->tuple;
    tuple.remote = early->remotes[early->remote_next++];
    memcpy(buffer, early->copy, early->copy_size);
    fill_transmit(conn->paths[0], &tuple, early->copy_size, 0, true, out);
    return true;
}

/** A 1-RTT packet alone in a datagram, with what `write` puts in, padded to `size`; 0: not padded. */
static size_t build_single(struct kith_quic_conn *conn, struct kith_path *path, uint8_t *buffer, size_t size,
                           bool (*write)(struct kith_packet_out *out, const void *arg), const void *arg, uint8_t flags)
{
    struct kith_packet_out out;
    size_t sealed;

    if (kith__packet_out_begin(&out, conn, path, KITH_LEVEL_DATA, buffer, size != 0 ? size : KITH_MTU_BASE) != 0)
        return 0;
    begin_record(conn, &out);
    if (!write(&out, arg)) {
        kith__packet_out_abandon(&out);
        return 0;
    }
    kith__packet_out_pad(&out, size);
    out.flags |= flags;
    sealed = kith__packet_out_size(&out);
    kith__qlog_packet_end_sized(&conn->qlog, sealed);
    return kith__packet_out_end(&out) == 0 ? sealed : 0;
}

static bool write_mtu_probe(struct kith_packet_out *out, const void *arg)
{
    (void)arg;
    kith__tx_ping(out);
    out->path->immediate_ack_due = out->conn->peer_has_ack_frequency;
    kith__tx_immediate_ack(out);
    kith__mtu_on_probe_sent(&out->path->now.mtu, out->number);
    return true;
}

static bool transmit_mtu_probe(struct kith_quic_conn *conn, struct kith_path *path, uint8_t *buffer, size_t capacity,
                               struct kith_quic_transmit *out)
{
    uint16_t size;
    size_t sealed;

    if (conn->phase != KITH_PHASE_CONFIRMED || !kith__path_is_proved(path))
        return false;
    size = kith__mtu_probe_size(&path->now.mtu, conn->now_ns);
    if (size == 0 || size > capacity)
        return false;
    sealed = build_single(conn, path, buffer, size, write_mtu_probe, NULL, KITH_SENT_MTU_PROBE);
    if (sealed == 0)
        return false;
    kith__path_on_datagram_sent(path, sealed);
    fill_transmit(path, &path->tuple, sealed, 0, true, out);
    return true;
}

/** An answer to another address than the path's; in NAT traversal it may carry a challenge of ours. */
struct answer {
    struct kith_response response;
    bool has_challenge;
    uint8_t value[KITH_CHALLENGE_SIZE];
};

static bool write_answer(struct kith_packet_out *out, const void *arg)
{
    const struct answer *answer = arg;

    return kith__tx_response(out, answer->response.value) &&
           (!answer->has_challenge || kith__tx_challenge(out, answer->value));
}

static bool write_challenge(struct kith_packet_out *out, const void *arg)
{
    return kith__tx_challenge(out, arg);
}

/** Size of the datagram for an answer to an address that is not proved: see struct kith_full_answers. */
static size_t answer_size(struct kith_quic_conn *conn, const struct kith_response *response)
{
    size_t size = KITH_MIN((size_t)DATAGRAM_SIZE_MIN, KITH_AMPLIFICATION * (size_t)response->datagram_size);

    if (size < DATAGRAM_SIZE_MIN && conn->has_nat_traversal &&
        kith__full_answers_take(&conn->full_answers, conn->now_ns))
        size = DATAGRAM_SIZE_MIN;
    return size;
}

static size_t build_answer(struct kith_quic_conn *conn, struct kith_path *path, uint8_t *buffer, struct answer *answer)
{
    const struct kith_sockaddr *remote = &answer->response.remote;
    size_t size;

    answer->has_challenge = kith__conn_wants_challenge_back(conn, remote);
    if (answer->has_challenge)
        kith__random_fill(&conn->host->random, answer->value, sizeof answer->value);
    size = build_single(conn, path, buffer, answer_size(conn, &answer->response), write_answer, answer, 0);
    if (size != 0 && answer->has_challenge)
        kith__punch_on_answer_challenged(&conn->punch, remote, answer->value, conn->now_ns);
    return size;
}

/** A challenge to the address before a move. */
static size_t build_old_challenge(struct kith_quic_conn *conn, struct kith_path *path, uint8_t *buffer)
{
    uint8_t value[KITH_CHALLENGE_SIZE];
    size_t size;

    kith__random_fill(&conn->host->random, value, sizeof value);
    size = build_single(conn, path, buffer, DATAGRAM_SIZE_MIN, write_challenge, value, 0);
    if (size != 0)
        kith__migrate_on_challenge_sent(path, true, value, true, conn->peer_delay_max_ns, conn->now_ns);
    return size;
}

/** Answers to challenges from other addresses, and our challenge to the address before a move. */
static bool transmit_off_path(struct kith_quic_conn *conn, struct kith_path *path, uint8_t *buffer,
                              struct kith_quic_transmit *out)
{
    struct kith_migrate_challenge challenge;
    struct kith_tuple tuple;
    struct answer answer;
    size_t size = 0;

    if (!kith__keys_can_write(&conn->keys))
        return false;
    conn->is_off_path_now = true;
    if (kith__responses_take(&path->responses, &path->tuple.local, &path->tuple.remote, false, &answer.response)) {
        tuple = (struct kith_tuple) { answer.response.local, answer.response.remote };
        size = build_answer(conn, path, buffer, &answer);
    } else if (kith__migrate_challenge_is_due(path, conn->now_ns, &challenge) && challenge.is_old) {
        tuple = challenge.tuple;
        size = build_old_challenge(conn, path, buffer);
    }
    conn->is_off_path_now = false;
    if (size == 0)
        return false;
    fill_transmit(path, &tuple, size, 0, false, out);
    return true;
}

/** NAT traversal: a bare challenge to an address that nobody may be at, with an id and number of the lowest proved path. */
static bool transmit_probe(struct kith_quic_conn *conn, uint8_t *buffer, struct kith_quic_transmit *out)
{
    struct kith_tuple tuple = { 0 };
    struct kith_path *path;
    uint8_t value[KITH_CHALLENGE_SIZE];
    size_t size;

    if (!conn->has_nat_traversal || !kith__punch_next_probe(&conn->punch, conn->now_ns, &tuple.remote))
        return false;
    path = kith__conn_lowest(conn, true);
    if (path == NULL)
        return false;
    kith__random_fill(&conn->host->random, value, sizeof value);
    conn->is_off_path_now = true;
    size = build_single(conn, path, buffer, 0, write_challenge, value, 0);
    conn->is_off_path_now = false;
    kith__punch_on_probe_sent(&conn->punch, &tuple.remote, value, conn->now_ns);
    if (size != 0)
        fill_transmit(path, &tuple, size, 0, false, out);
    return size != 0;
}

/** What is in flight means nothing any more: its records, however many, make room for the close. */
static void clear_sent(struct kith_quic_conn *conn)
{
    for (size_t i = 0; i < conn->path_count; i++)
        kith__path_clear_sent(conn->paths[i], &conn->paths[i]->sent);
    for (int i = 0; conn->early != NULL && i < 2; i++)
        if (!conn->early->spaces[i].is_gone)
            kith__path_clear_sent(conn->paths[0], &conn->early->spaces[i].sent);
}

/** The close frame in every space that still has keys, one datagram. */
static bool transmit_close(struct kith_quic_conn *conn, uint8_t *buffer, struct kith_quic_transmit *out)
{
    struct kith_path *path = kith__conn_first(conn);
    struct datagram dg = { 0 };
    bool is_late = false;
    int err;

    if (!conn->close.due || path == NULL || !kith__conn_may_send_on(path))
        return false;
    clear_sent(conn);
    dg.room = KITH_MIN((size_t)DATAGRAM_SIZE_MIN, kith__path_allowance(path));
    for (int level = first_level(conn, path); level <= KITH_LEVEL_DATA; level++) {
        struct kith_packet_out *packet = &dg.packets[dg.count];

        if (level == KITH_LEVEL_EARLY || !level_has_keys(conn, (enum kith_level)level))
            continue;
        err = kith__packet_out_begin(packet, conn, path, (enum kith_level)level, buffer + dg.used, dg.room - dg.used);
        is_late = is_late || err == KITH_ERR_NOMEM;
        if (err != 0)
            continue;
        end_record(&dg, conn);
        begin_record(conn, packet);
        /* A side that has all it wants closes at once: without this the other would never know what arrived. */
        if (level == KITH_LEVEL_DATA)
            kith__tx_ack(packet, true);
        if (!kith__tx_close(packet)) {
            kith__packet_out_abandon(packet);
            continue;
        }
        dg.has_initial |= level == KITH_LEVEL_INITIAL;
        dg.used += kith__packet_out_size(packet);
        dg.count++;
    }
    conn->close.due = dg.count == 0 && is_late; /* without memory it is tried again with the next packet that comes */
    if (dg.count == 0)
        return false;
    if (dg.has_initial && conn->is_client)
        pad(&dg, DATAGRAM_SIZE_MIN);
    if (!finish(&dg, conn))
        return false;
    kith__path_on_datagram_sent(path, dg.used);
    fill_transmit(path, &path->tuple, dg.used, 0, true, out);
    return true;
}

/* ---- Key update ---- */

static void maybe_update_keys(struct kith_quic_conn *conn)
{
    if (conn->phase != KITH_PHASE_CONFIRMED || !conn->is_phase_acked || kith__keys_is_updating(&conn->keys) ||
        (!conn->is_update_wanted && conn->keys.write.packets < conn->key_update_at))
        return;
    if (kith__keys_update(&conn->keys) != 0)
        return; /* no memory: tried again with the next packet, long before the AEAD's limit */
    if (conn->is_update_wanted)
        kith__conn_ping_all(conn); /* the peer hears of it now, not with the next data */
    conn->is_update_wanted = false;
    conn->is_phase_acked = false;
    conn->stats.key_updates++;
    conn->key_update_at = kith__keys_seal_limit((enum kith_cipher)conn->keys.cipher);
    conn->key_update_at -= KEY_UPDATE_MARGIN;
    if (conn->config.key_update_after != 0)
        conn->key_update_at = KITH_MIN(conn->key_update_at, conn->config.key_update_after);
}

/** With several paths: answers to where they belong, data on the path that is picked, then what each path needs itself. */
static bool transmit_on_many(struct kith_quic_conn *conn, uint8_t *buffer, size_t capacity,
                             struct kith_quic_transmit *out)
{
    struct kith_path *carrier;

    for (size_t i = 0; i < conn->path_count; i++)
        if (kith__conn_may_send_on(conn->paths[i]) && transmit_off_path(conn, conn->paths[i], buffer, out))
            return true;
    carrier = kith__conn_pick(conn);
    if (carrier == NULL) /* blocked: acknowledgements go all the same */
        carrier = kith__conn_first(conn);
    if (carrier != NULL && kith__conn_is_usable(carrier) && transmit_batch(conn, carrier, true, buffer, capacity, out))
        return true;
    for (size_t i = 0; i < conn->path_count && kith__phase_is_open(conn->phase); i++)
        if (kith__conn_may_send_on(conn->paths[i]) &&
            (transmit_batch(conn, conn->paths[i], false, buffer, capacity, out) ||
             transmit_mtu_probe(conn, conn->paths[i], buffer, capacity, out)))
            return true;
    return false;
}

static bool transmit_on_one(struct kith_quic_conn *conn, struct kith_path *path, uint8_t *buffer, size_t capacity,
                            struct kith_quic_transmit *out)
{
    bool shares = !conn->mp.is_on || kith__conn_is_usable(path);

    return kith__conn_may_send_on(path) &&
           (transmit_off_path(conn, path, buffer, out) || transmit_batch(conn, path, shares, buffer, capacity, out) ||
            transmit_mtu_probe(conn, path, buffer, capacity, out));
}

static void bound_sent(struct kith_quic_conn *conn)
{
    for (int space = 0; kith__phase_is_open(conn->phase) && conn->early != NULL && space < 2; space++)
        kith__fate_bound_sent(conn, conn->paths[0], (enum kith_space)space);
    for (size_t i = 0; i < conn->path_count && kith__phase_is_open(conn->phase); i++)
        kith__fate_bound_sent(conn, conn->paths[i], KITH_SPACE_DATA);
}

bool kith__conn_transmit(struct kith_quic_conn *conn, uint8_t *buffer, size_t capacity, struct kith_quic_transmit *out,
                         uint64_t now_ns)
{
    conn->now_ns = now_ns;
    if (conn->phase == KITH_PHASE_DRAINED)
        return false;
    bound_sent(conn);
    if (kith__phase_is_open(conn->phase)) {
        maybe_update_keys(conn);
        if (transmit_copy(conn, buffer, out) || transmit_probe(conn, buffer, out))
            return true;
        if (conn->path_count == 1 ? transmit_on_one(conn, conn->paths[0], buffer, capacity, out)
                                  : transmit_on_many(conn, buffer, capacity, out))
            return true;
    }
    /* Also when building a packet just failed the connection. */
    return !kith__phase_is_open(conn->phase) && transmit_close(conn, buffer, out);
}
