/* What an acknowledged or lost packet means: see fate.h. */
#include "quic/conn/fate.h"

#include "base/assert.h"
#include "quic/conn/conn.h"

static enum kith_tls_level level_of(enum kith_space space)
{
    return space == KITH_SPACE_INITIAL     ? KITH_TLS_INITIAL
           : space == KITH_SPACE_HANDSHAKE ? KITH_TLS_HANDSHAKE
                                           : KITH_TLS_APPLICATION;
}

static enum kith_qlog_packet_type qlog_type_of(enum kith_space space, const struct kith_sent *packet)
{
    return space == KITH_SPACE_INITIAL              ? KITH_QLOG_INITIAL
           : space == KITH_SPACE_HANDSHAKE          ? KITH_QLOG_HANDSHAKE
           : (packet->flags & KITH_SENT_EARLY) != 0 ? KITH_QLOG_ZERO_RTT
                                                    : KITH_QLOG_ONE_RTT;
}

/* ---- What each kind means to its owner: the table `fates` below. All return 0 or KITH_ERR_NOMEM. ---- */

static int stream_acked(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    (void)space;
    return kith__stream_set_on_stream_acked(&conn->streams, frame->id, frame->value, frame->size,
                                            (frame->flags & KITH_FATE_FIN) != 0);
}

static int stream_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    (void)space;
    return kith__stream_set_on_stream_lost(&conn->streams, frame->id, frame->value, frame->size,
                                           (frame->flags & KITH_FATE_FIN) != 0);
}

static int crypto_acked(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    return kith__handshake_on_acked(&conn->handshake, level_of(space), frame->value, frame->size);
}

static int crypto_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    return kith__handshake_on_lost(&conn->handshake, level_of(space), frame->value, frame->size);
}

/** The record of a stream set's control frame. */
static struct kith_stream_control control_of(const struct kith_sent_frame *frame)
{
    return (struct kith_stream_control) { .type = (uint8_t)frame->extra, .id = frame->id, .value = frame->value };
}

static int control_acked(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_stream_control sent = control_of(frame);

    (void)space;
    kith__stream_set_on_control_acked(&conn->streams, &sent);
    return 0;
}

static int control_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_stream_control sent = control_of(frame);

    (void)space;
    kith__stream_set_on_control_lost(&conn->streams, &sent);
    return 0;
}

static int new_cid_acked(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_conn_ids ids = kith__conn_ids(conn, (uint32_t)frame->id);

    (void)space;
    if (ids.ours != NULL)
        kith__cid_ours_on_acked(ids.ours, frame->value);
    return 0;
}

static int new_cid_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_conn_ids ids = kith__conn_ids(conn, (uint32_t)frame->id);

    (void)space;
    if (ids.ours != NULL)
        kith__cid_ours_on_lost(ids.ours, frame->value);
    conn->has_path_frames = true;
    return 0;
}

static int retire_cid_acked(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_conn_ids ids = kith__conn_ids(conn, (uint32_t)frame->id);

    (void)space;
    if (ids.theirs != NULL)
        kith__cid_theirs_on_retire_acked(ids.theirs, frame->value);
    return 0;
}

static int retire_cid_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_conn_ids ids = kith__conn_ids(conn, (uint32_t)frame->id);

    (void)space;
    if (ids.theirs != NULL)
        kith__cid_theirs_on_retire_lost(ids.theirs, frame->value);
    conn->has_path_frames = true;
    return 0;
}

/** An acknowledgement for another path than the packet's own. */
static int path_ack_acked(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_path *path = kith__conn_path(conn, (uint32_t)frame->id);

    (void)space;
    if (path != NULL)
        kith__received_on_ack_acked(&path->received, frame->value);
    return 0;
}

/** The record of a frame about path ids. */
static struct kith_multipath_frame path_frame_of(const struct kith_sent_frame *frame)
{
    return (struct kith_multipath_frame) { .type = frame->extra, .path = (uint32_t)frame->id, .value = frame->value };
}

static int path_frame_acked(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_multipath_frame sent = path_frame_of(frame);

    (void)space;
    kith__multipath_on_acked(&conn->mp, &sent, KITH_ECHO_PTOS * kith__conn_pto_max(conn), conn->now_ns);
    return 0;
}

static int path_frame_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_multipath_frame sent = path_frame_of(frame);

    (void)space;
    kith__multipath_on_lost(&conn->mp, &sent);
    conn->has_path_frames = true;
    return 0;
}

/** The record of a frame about candidates for NAT traversal. */
static struct kith_punch_frame punch_frame_of(const struct kith_sent_frame *frame)
{
    return (struct kith_punch_frame) { .kind = frame->kind, .id = frame->id, .value = frame->value };
}

static int punch_frame_acked(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_punch_frame sent = punch_frame_of(frame);

    (void)space;
    kith__punch_on_acked(&conn->punch, &sent);
    conn->has_path_frames = true; /* REMOVE_ADDRESS may have waited for it */
    return 0;
}

static int punch_frame_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_punch_frame sent = punch_frame_of(frame);

    (void)space;
    kith__punch_on_lost(&conn->punch, &sent);
    conn->has_path_frames = true;
    return 0;
}

static int observed_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    struct kith_path *path = kith__conn_path(conn, (uint32_t)frame->id);

    (void)space;
    if (path != NULL)
        kith__observed_on_lost(&conn->observed, kith__conn_observed(path), frame->value);
    return 0;
}

static int done_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    (void)space, (void)frame;
    conn->done_due = true;
    return 0;
}

static int token_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    (void)space, (void)frame;
    conn->token_due = true;
    return 0;
}

/** By enum kith_frame_kind; NULL: it means nothing to anybody. */
static const struct fate {
    int (*acked)(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame);
    int (*lost)(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame);
} fates[] = {
    [KITH_KIND_STREAM] = { stream_acked, stream_lost },
    [KITH_KIND_CRYPTO] = { crypto_acked, crypto_lost },
    [KITH_KIND_RESET_STREAM] = { control_acked, control_lost },
    [KITH_KIND_STOP_SENDING] = { control_acked, control_lost },
    [KITH_KIND_MAX_DATA] = { control_acked, control_lost },
    [KITH_KIND_MAX_STREAM_DATA] = { control_acked, control_lost },
    [KITH_KIND_MAX_STREAMS] = { control_acked, control_lost },
    [KITH_KIND_DATA_BLOCKED] = { control_acked, control_lost },
    [KITH_KIND_STREAM_DATA_BLOCKED] = { control_acked, control_lost },
    [KITH_KIND_STREAMS_BLOCKED] = { control_acked, control_lost },
    [KITH_KIND_NEW_CONNECTION_ID] = { new_cid_acked, new_cid_lost },
    [KITH_KIND_RETIRE_CONNECTION_ID] = { retire_cid_acked, retire_cid_lost },
    [KITH_KIND_PATH_ACK] = { path_ack_acked, NULL },
    [KITH_KIND_PATH_ABANDON] = { path_frame_acked, path_frame_lost },
    [KITH_KIND_PATH_STATUS] = { path_frame_acked, path_frame_lost },
    [KITH_KIND_MAX_PATH_ID] = { path_frame_acked, path_frame_lost },
    [KITH_KIND_PATHS_BLOCKED] = { path_frame_acked, path_frame_lost },
    [KITH_KIND_PATH_CIDS_BLOCKED] = { path_frame_acked, path_frame_lost },
    [KITH_KIND_ADD_ADDRESS] = { punch_frame_acked, punch_frame_lost },
    [KITH_KIND_REMOVE_ADDRESS] = { punch_frame_acked, punch_frame_lost },
    [KITH_KIND_REACH_OUT] = { punch_frame_acked, punch_frame_lost },
    [KITH_KIND_OBSERVED_ADDRESS] = { NULL, observed_lost },
    [KITH_KIND_HANDSHAKE_DONE] = { NULL, done_lost },
    [KITH_KIND_NEW_TOKEN] = { NULL, token_lost },
};

static int frame_acked(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    const struct fate *fate = frame->kind < KITH_COUNT(fates) ? &fates[frame->kind] : NULL;

    return fate != NULL && fate->acked != NULL ? fate->acked(conn, space, frame) : 0;
}

int kith__fate_frame_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_frame *frame)
{
    const struct fate *fate = frame->kind < KITH_COUNT(fates) ? &fates[frame->kind] : NULL;

    return fate != NULL && fate->lost != NULL ? fate->lost(conn, space, frame) : 0;
}

/* ---- Loss ---- */

static int packet_lost(struct kith_quic_conn *conn, enum kith_space space, const struct kith_sent_log *log,
                       const struct kith_sent *packet)
{
    int err = 0;

    conn->stats.packets_lost += (packet->flags & KITH_SENT_COUNTED) != 0;
    conn->stats.packets_retransmitted += packet->frame_count != 0;
    for (size_t i = 0; i < packet->frame_count && err == 0; i++) {
        const struct kith_sent_frame *frame = kith__sent_frame(log, packet, i);

        conn->stats.datagrams_lost += frame->kind == KITH_KIND_DATAGRAM;
        err = kith__fate_frame_lost(conn, space, frame);
    }
    return err;
}

void kith__fate_detect_lost(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space)
{
    struct kith_sent_log *log = kith__conn_sent_log(conn, path, space);
    uint64_t delay_max_ns = space == KITH_SPACE_DATA ? conn->peer_delay_max_ns : 0;
    const struct kith_sent *packet;
    bool mtu_fell = false;

    while ((packet = kith__path_take_lost(path, space, log, delay_max_ns, &mtu_fell, conn->now_ns)) != NULL) {
        kith__qlog_packet_lost(&conn->qlog, qlog_type_of(space, packet), path->id, packet->number,
                               kith__loss_is_by_number(&path->loss, log, packet) ? "reordering_threshold"
                                                                                 : "time_threshold",
                               conn->now_ns);
        if (packet_lost(conn, space, log, packet) != 0) {
            (void)kith__conn_fail_with(conn, KITH_ERR_NOMEM, 0, "loss");
            return;
        }
    }
    if (mtu_fell)
        kith__conn_note_path(conn, path);
}

void kith__fate_bound_sent(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space)
{
    struct kith_sent_log *log = kith__conn_sent_log(conn, path, space);
    const struct kith_sent *packet;

    if (log == NULL || !kith__sent_is_long(log))
        return;
    while ((packet = kith__path_take_overdue(path, log)) != NULL) {
        kith__qlog_packet_lost(&conn->qlog, qlog_type_of(space, packet), path->id, packet->number, "pto_expired",
                               conn->now_ns);
        if (packet_lost(conn, space, log, packet) != 0) {
            (void)kith__conn_fail_with(conn, KITH_ERR_NOMEM, 0, "loss");
            return;
        }
    }
    if (log->next - log->acked_end > KITH_SENT_UNACKED_MAX)
        (void)kith__conn_fail(conn, KITH_WIRE_PROTOCOL_VIOLATION, 0, "nothing is acknowledged");
}

void kith__fate_resend_for_probe(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space,
                                 unsigned count)
{
    struct kith_sent_log *log = kith__conn_sent_log(conn, path, space);
    const struct kith_sent *packet;
    uint64_t from = 0;

    if (log == NULL)
        return;
    if (space == KITH_SPACE_DATA && conn->peer_has_ack_frequency)
        path->immediate_ack_due = true;
    for (unsigned i = 0; i < count && (packet = kith__sent_find_eliciting(log, from)) != NULL; i++) {
        from = packet->number + 1;
        for (size_t k = 0; k < packet->frame_count; k++)
            if (kith__fate_frame_lost(conn, space, kith__sent_frame(log, packet, k)) != 0) {
                (void)kith__conn_fail_with(conn, KITH_ERR_NOMEM, 0, "probe");
                return;
            }
    }
}

void kith__fate_requeue(struct kith_quic_conn *conn, struct kith_path *path)
{
    const struct kith_sent *packet;

    while ((packet = kith__path_take_dropped(path, &path->sent)) != NULL)
        if (packet_lost(conn, KITH_SPACE_DATA, &path->sent, packet) != 0) {
            (void)kith__conn_fail_with(conn, KITH_ERR_NOMEM, 0, "path");
            return;
        }
}

/* ---- Acknowledgements ---- */

static int packet_acked(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space,
                        const struct kith_sent_log *log, const struct kith_sent *packet)
{
    for (size_t i = 0; i < packet->frame_count; i++)
        if (frame_acked(conn, space, kith__sent_frame(log, packet, i)) != 0)
            return kith__conn_fail_with(conn, KITH_ERR_NOMEM, 0, "acknowledgement");
    if (packet->acks != 0)
        kith__received_on_ack_acked(kith__conn_received(conn, path, space), packet->acks);
    if (space == KITH_SPACE_DATA && packet->key_phase == (uint8_t)conn->keys.write_generation &&
        (packet->flags & KITH_SENT_EARLY) == 0)
        conn->is_phase_acked = true;
    return 0;
}

static int range_acked(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space,
                       struct kith_range range, struct kith_path_ack *ack)
{
    struct kith_sent_log *log = kith__conn_sent_log(conn, path, space);
    const struct kith_sent *packet;
    struct kith_sent_walk walk;

    if (kith__sent_ack_begin(log, range.begin, range.end - 1, &walk) != 0)
        return kith__conn_fail(conn, KITH_WIRE_PROTOCOL_VIOLATION, KITH_FRAME_ACK, "unsent packet acked");
    while ((packet = kith__sent_ack_next(log, &walk)) != NULL) {
        if (kith__path_ack_packet(path, log, packet, ack, conn->now_ns))
            kith__conn_note_path(conn, path);
        if (packet_acked(conn, path, space, log, packet) != 0)
            return KITH_ERR_CLOSED;
    }
    return 0;
}

/** Microseconds times 2^exponent, from an untrusted varint. */
static uint64_t ack_delay_ns(const struct kith_quic_conn *conn, uint64_t field)
{
    uint64_t most = UINT64_C(1) << 40; /* more is nonsense, and would overflow below */

    return KITH_MIN(field, most >> conn->peer_delay_exponent) * KITH_NS_PER_US << conn->peer_delay_exponent;
}

static void ack_end(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space,
                    const struct kith_frame_ack *frame, const struct kith_path_ack *ack)
{
    struct kith_ecn_counts counts = { frame->ecn.ect0, frame->ecn.ect1, frame->ecn.ce };
    bool is_data = space == KITH_SPACE_DATA;
    bool may_reset = conn->early == NULL || !conn->is_client || !conn->early->is_peer_waiting;

    kith__path_ack_end(path, space, kith__conn_sent_log(conn, path, space), ack,
                       is_data ? ack_delay_ns(conn, frame->delay) : 0,
                       conn->phase == KITH_PHASE_CONFIRMED ? conn->peer_delay_max_ns : UINT64_MAX,
                       frame->has_ecn ? &counts : NULL, may_reset, conn->now_ns);
}

static void log_metrics(struct kith_quic_conn *conn, const struct kith_path *path)
{
    const struct kith_path_measures *now = &path->now;
    struct kith_qlog_metrics metrics = { .path = path->id,
                                         .congestion_window = now->cc.window,
                                         .bytes_in_flight = now->in_flight_size,
                                         .slow_start_threshold = now->cc.threshold,
                                         .smoothed_rtt_ns = now->rtt.smoothed_ns,
                                         .min_rtt_ns = now->rtt.min_ns,
                                         .latest_rtt_ns = now->rtt.latest_ns,
                                         .rtt_var_ns = now->rtt.var_ns,
                                         .pto_count = path->loss.pto_count,
                                         .pacing_rate = now->pacer.rate };

    if (kith__qlog_is_on(&conn->qlog))
        kith__qlog_metrics(&conn->qlog, &metrics, conn->now_ns);
}

int kith__fate_on_ack(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space,
                      const struct kith_frame_ack *frame, bool came_on_path)
{
    struct kith_sent_log *log = kith__conn_sent_log(conn, path, space);
    struct kith_path_ack ack;
    struct kith_ack_walk walk;
    struct kith_range range = kith__ack_first(frame, &walk);

    if (log == NULL) { /* a frame before this one, in the same packet, ended the space */
        conn->stats.frames_ignored++;
        return 0;
    }
    if (conn->is_client && conn->early != NULL && space == KITH_SPACE_HANDSHAKE)
        conn->early->is_peer_waiting = false; /* it has our Handshake packet: our address is validated */
    kith__path_ack_begin(path, log, &ack);
    ack.came_on_path = came_on_path;
    do
        if (range_acked(conn, path, space, range, &ack) != 0)
            return KITH_ERR_CLOSED;
    while (kith__ack_next(&walk, &range));
    ack_end(conn, path, space, frame, &ack);
    kith__fate_detect_lost(conn, path, space);
    log_metrics(conn, path);
    return kith__phase_is_open(conn->phase) ? 0 : KITH_ERR_CLOSED;
}
