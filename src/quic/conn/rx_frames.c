/* What each kind of frame from the peer means: one short handler a kind. Source: RFC 9000, 19; spec/01, 1.18. */
#include "base/assert.h"
#include "quic/conn/fate.h"
#include "quic/conn/rx.h"
#include "quic/host/host.h"

#include <string.h>

typedef int handler(struct kith_rx *rx, const struct kith_frame *frame);

static int fail(struct kith_rx *rx, int result, const struct kith_frame *frame, const char *reason)
{
    return kith__conn_fail_with(rx->conn, result, frame->type, reason);
}

/** A result of a part: 0 passes, everything else ends the connection. */
static int done(struct kith_rx *rx, int result, const struct kith_frame *frame, const char *reason)
{
    return result == 0 ? 0 : fail(rx, result, frame, reason);
}

static int on_nothing(struct kith_rx *rx, const struct kith_frame *frame)
{
    (void)rx, (void)frame;
    return 0;
}

/** A frame that is legal, but that we have no use for. */
static int on_ignored(struct kith_rx *rx, const struct kith_frame *frame)
{
    (void)frame;
    rx->conn->stats.frames_ignored++;
    return 0;
}

static int on_ack(struct kith_rx *rx, const struct kith_frame *frame)
{
    struct kith_path *path = rx->space == KITH_SPACE_DATA ? kith__conn_path(rx->conn, 0) : rx->path;

    if (path == NULL) /* path 0 is gone: nothing to learn */
        return on_ignored(rx, frame);
    return kith__fate_on_ack(rx->conn, path, (enum kith_space)rx->space, &frame->ack, true);
}

static int on_path_ack(struct kith_rx *rx, const struct kith_frame *frame)
{
    enum kith_path_use use;
    const char *reason;
    struct kith_path *path;
    int result = kith__multipath_check_ack(&rx->conn->mp, frame->ack.path, &use, &reason);

    if (result != 0)
        return fail(rx, result, frame, reason);
    path = kith__conn_path(rx->conn, frame->ack.path);
    if (use == KITH_PATH_IGNORE || path == NULL)
        return on_ignored(rx, frame);
    return kith__fate_on_ack(rx->conn, path, KITH_SPACE_DATA, &frame->ack, path == rx->path);
}

static int on_crypto(struct kith_rx *rx, const struct kith_frame *frame)
{
    static const uint8_t levels[KITH_SPACE_COUNT] = { [KITH_SPACE_INITIAL] = KITH_TLS_INITIAL,
                                                      [KITH_SPACE_HANDSHAKE] = KITH_TLS_HANDSHAKE,
                                                      [KITH_SPACE_DATA] = KITH_TLS_APPLICATION };
    const char *reason = "CRYPTO";
    int result = kith__handshake_on_crypto(&rx->conn->handshake, (enum kith_tls_level)levels[rx->space],
                                           frame->crypto.offset, frame->crypto.data, &reason);

    if (result != 0)
        return fail(rx, result, frame, reason != NULL ? reason : "CRYPTO"); /* without memory there is no reason */
    return kith__conn_run_handshake(rx->conn);
}

static int on_stream(struct kith_rx *rx, const struct kith_frame *frame)
{
    rx->has_stream = true;
    return done(rx,
                kith__stream_set_on_stream(&rx->conn->streams, frame->stream.id, frame->stream.offset,
                                           frame->stream.data, frame->stream.fin),
                frame, "STREAM");
}

static int on_reset_stream(struct kith_rx *rx, const struct kith_frame *frame)
{
    return done(rx,
                kith__stream_set_on_reset_stream(&rx->conn->streams, frame->reset_stream.id, frame->reset_stream.code,
                                                 frame->reset_stream.final_size),
                frame, "RESET_STREAM");
}

static int on_stop_sending(struct kith_rx *rx, const struct kith_frame *frame)
{
    return done(rx,
                kith__stream_set_on_stop_sending(&rx->conn->streams, frame->stop_sending.id, frame->stop_sending.code),
                frame, "STOP_SENDING");
}

static int on_max_data(struct kith_rx *rx, const struct kith_frame *frame)
{
    kith__stream_set_on_max_data(&rx->conn->streams, frame->max_data.max);
    return 0;
}

static int on_max_stream_data(struct kith_rx *rx, const struct kith_frame *frame)
{
    return done(
        rx,
        kith__stream_set_on_max_stream_data(&rx->conn->streams, frame->max_stream_data.id, frame->max_stream_data.max),
        frame, "MAX_STREAM_DATA");
}

static int on_max_streams(struct kith_rx *rx, const struct kith_frame *frame)
{
    return done(rx,
                kith__stream_set_on_max_streams(&rx->conn->streams, frame->max_streams.bidi, frame->max_streams.max),
                frame, "MAX_STREAMS");
}

static int on_stream_data_blocked(struct kith_rx *rx, const struct kith_frame *frame)
{
    return done(rx,
                kith__stream_set_on_stream_data_blocked(&rx->conn->streams, frame->stream_data_blocked.id,
                                                        frame->stream_data_blocked.max),
                frame, "STREAM_DATA_BLOCKED");
}

static int on_streams_blocked(struct kith_rx *rx, const struct kith_frame *frame)
{
    return done(rx,
                kith__stream_set_on_streams_blocked(&rx->conn->streams, frame->streams_blocked.bidi,
                                                    frame->streams_blocked.max),
                frame, "STREAMS_BLOCKED");
}

/** May a frame about connection ids name this path id? Without multipath there is path 0 only. */
static int check_cids_path(struct kith_rx *rx, const struct kith_frame *frame, uint32_t id, bool is_new,
                           enum kith_path_use *use)
{
    struct kith_multipath *mp = &rx->conn->mp;
    const char *reason = "";
    int result = is_new ? kith__multipath_check_new_cid(mp, id, use, &reason)
                        : kith__multipath_check_retire_cid(mp, id, use, &reason);

    return done(rx, result, frame, reason);
}

static int on_new_cid(struct kith_rx *rx, const struct kith_frame *frame)
{
    struct kith_quic_conn *conn = rx->conn;
    struct kith_cid_issue issue = { .sequence = frame->new_cid.sequence,
                                    .retire_prior_to = frame->new_cid.retire_prior_to,
                                    .cid = frame->new_cid.cid };
    struct kith_conn_ids ids;
    enum kith_path_use use;
    bool active_changed = false;
    int result;

    if (check_cids_path(rx, frame, frame->new_cid.path, true, &use) != 0)
        return KITH_ERR_CLOSED;
    if (use == KITH_PATH_IGNORE)
        return on_ignored(rx, frame);
    memcpy(issue.reset_token, frame->new_cid.reset_token, sizeof issue.reset_token);
    result = kith__conn_make_ids(conn, frame->new_cid.path, &ids);
    if (result == 0)
        result = kith__cid_theirs_on_issue(ids.theirs, &issue, &active_changed);
    if (result != 0)
        return fail(rx, result, frame, "NEW_CONNECTION_ID");
    conn->has_path_frames = true; /* it may ask us to retire others */
    conn->are_cids_stale = true;
    kith__multipath_on_cids(&conn->mp, frame->new_cid.path);
    kith__conn_note_paths_available(conn);
    return 0;
}

static int on_retire_cid(struct kith_rx *rx, const struct kith_frame *frame)
{
    struct kith_quic_conn *conn = rx->conn;
    struct kith_cid removed = { 0 };
    struct kith_conn_ids ids = kith__conn_ids(conn, frame->retire_cid.path);
    uint64_t used = UINT64_MAX;
    enum kith_path_use use;
    int result;

    if (check_cids_path(rx, frame, frame->retire_cid.path, false, &use) != 0)
        return KITH_ERR_CLOSED;
    if (use == KITH_PATH_IGNORE)
        return on_ignored(rx, frame);
    if (rx->path->id == frame->retire_cid.path)
        used = kith__cid_ours_find(&rx->path->cids_ours, &rx->dcid);
    result = ids.ours == NULL ? KITH_WIRE_PROTOCOL_VIOLATION
                              : kith__cid_ours_on_retire(ids.ours, frame->retire_cid.sequence, used, &removed);
    if (result != 0)
        return fail(rx, result, frame, "RETIRE_CONNECTION_ID for unissued sequence number");
    if (removed.size != 0)
        kith__conn_remove_cid(conn, &removed);
    conn->are_cids_stale = true;
    return 0;
}

static int on_path_abandon(struct kith_rx *rx, const struct kith_frame *frame)
{
    kith__conn_on_path_abandon(rx->conn, frame->path_abandon.path, frame->path_abandon.code);
    return kith__phase_is_open(rx->conn->phase) ? 0 : KITH_ERR_CLOSED;
}

static int on_path_status(struct kith_rx *rx, const struct kith_frame *frame)
{
    struct kith_quic_conn *conn = rx->conn;
    struct kith_path *path = kith__conn_path(conn, frame->path_status.path);
    bool is_news = kith__multipath_on_status(&conn->mp, frame->path_status.path, frame->path_status.sequence,
                                             !frame->path_status.available);

    if (is_news && path != NULL)
        kith__conn_note_path(conn, path);
    return 0;
}

static int on_max_path_id(struct kith_rx *rx, const struct kith_frame *frame)
{
    if (kith__multipath_on_max_path_id(&rx->conn->mp, frame->max_path_id.max))
        kith__conn_note_paths_available(rx->conn);
    return 0;
}

static int on_paths_blocked(struct kith_rx *rx, const struct kith_frame *frame)
{
    const char *reason = "";
    int result = kith__multipath_on_paths_blocked(&rx->conn->mp, frame->paths_blocked.max, &reason);

    return done(rx, result, frame, reason);
}

static int on_path_cids_blocked(struct kith_rx *rx, const struct kith_frame *frame)
{
    struct kith_conn_ids ids = kith__conn_ids(rx->conn, frame->path_cids_blocked.path);
    const char *reason = "";
    int result = kith__multipath_on_cids_blocked(&rx->conn->mp, frame->path_cids_blocked.path,
                                                 frame->path_cids_blocked.next_sequence,
                                                 ids.ours != NULL ? ids.ours->next_sequence : 0, &reason);

    return done(rx, result, frame, reason);
}

static int on_path_challenge(struct kith_rx *rx, const struct kith_frame *frame)
{
    struct kith_response response = { .local = rx->tuple->local,
                                      .remote = rx->tuple->remote,
                                      .number = rx->number,
                                      .datagram_size = (uint32_t)rx->datagram_size };

    if (!kith__path_is_live(rx->path)) /* given up: nothing is sent on it any more */
        return on_ignored(rx, frame);
    memcpy(response.value, frame->path_challenge.data, KITH_CHALLENGE_SIZE);
    kith__responses_on_challenge(&rx->path->responses, &response);
    return 0;
}

static int on_path_response(struct kith_rx *rx, const struct kith_frame *frame)
{
    struct kith_quic_conn *conn = rx->conn;

    if (kith__conn_on_punch_response(conn, rx->tuple, frame->path_response.data))
        return 0;
    switch (kith__migrate_on_response(rx->path, rx->tuple, frame->path_response.data, conn->now_ns)) {
    case KITH_MIGRATE_PROVED:
        rx->has_proved = true;
        break;
    case KITH_MIGRATE_NOTHING:
        conn->stats.frames_ignored++;
        break;
    case KITH_MIGRATE_OLD_ALIVE:
    case KITH_MIGRATE_WENT_BACK:
    case KITH_MIGRATE_FAILED:
        break;
    }
    return 0;
}

static int on_close(struct kith_rx *rx, const struct kith_frame *frame)
{
    kith__conn_on_close_frame(rx->conn, frame->type == KITH_FRAME_APPLICATION_CLOSE, frame->close.code,
                              frame->close.frame_type, frame->close.reason);
    return KITH_ERR_CLOSED;
}

static int on_handshake_done(struct kith_rx *rx, const struct kith_frame *frame)
{
    (void)frame;
    kith__conn_on_confirmed(rx->conn);
    return 0;
}

static int on_new_token(struct kith_rx *rx, const struct kith_frame *frame)
{
    struct kith_quic_conn *conn = rx->conn;

    if (frame->new_token.token.size > KITH_CONN_TOKEN_SIZE_MAX)
        return on_ignored(rx, frame);
    conn->token.size = 0;
    if (kith__buf_append(&conn->token, frame->new_token.token.ptr, frame->new_token.token.size) != 0)
        return fail(rx, KITH_ERR_NOMEM, frame, "NEW_TOKEN");
    kith__conn_note(conn, KITH_QUIC_TOKEN);
    return 0;
}

static int on_immediate_ack(struct kith_rx *rx, const struct kith_frame *frame)
{
    (void)frame;
    rx->is_ack_wanted = true; /* once the packet itself is in the list */
    return 0;
}

static int on_ack_frequency(struct kith_rx *rx, const struct kith_frame *frame)
{
    struct kith_quic_conn *conn = rx->conn;

    return done(rx,
                kith__ack_policy_on_frame(&conn->ack_policy, frame->ack_frequency.sequence,
                                          frame->ack_frequency.ack_eliciting_threshold,
                                          frame->ack_frequency.request_max_ack_delay_us,
                                          frame->ack_frequency.reordering_threshold, conn->config.min_ack_delay_ns),
                frame, "requested ACK delay below min_ack_delay");
}

static int on_datagram(struct kith_rx *rx, const struct kith_frame *frame)
{
    struct kith_quic_conn *conn = rx->conn;
    bool was_empty = false;
    int result = kith__datagram_queue_on_frame(&conn->datagrams_in, frame->datagram.data, &was_empty);

    if (result != 0)
        return fail(rx, result, frame, "oversized datagram");
    conn->stats.datagrams_received++;
    if (was_empty)
        kith__conn_note(conn, KITH_QUIC_DATAGRAM_READABLE);
    return 0;
}

static int on_candidate(struct kith_rx *rx, const struct kith_frame *frame)
{
    const char *reason = "";
    int result = kith__conn_on_candidate_frame(rx->conn, frame, &reason);

    return done(rx, result, frame, reason);
}

static int on_observed_address(struct kith_rx *rx, const struct kith_frame *frame)
{
    const char *reason = "";
    int result = kith__conn_on_observed(rx->conn, rx->path, frame->address.sequence, &frame->address.address, &reason);

    return done(rx, result, frame, reason);
}

static handler *const handlers[KITH_KINDS] = {
    [KITH_KIND_PADDING] = on_nothing,
    [KITH_KIND_PING] = on_nothing,
    [KITH_KIND_ACK] = on_ack,
    [KITH_KIND_RESET_STREAM] = on_reset_stream,
    [KITH_KIND_STOP_SENDING] = on_stop_sending,
    [KITH_KIND_CRYPTO] = on_crypto,
    [KITH_KIND_NEW_TOKEN] = on_new_token,
    [KITH_KIND_STREAM] = on_stream,
    [KITH_KIND_MAX_DATA] = on_max_data,
    [KITH_KIND_MAX_STREAM_DATA] = on_max_stream_data,
    [KITH_KIND_MAX_STREAMS] = on_max_streams,
    [KITH_KIND_DATA_BLOCKED] = on_ignored,
    [KITH_KIND_STREAM_DATA_BLOCKED] = on_stream_data_blocked,
    [KITH_KIND_STREAMS_BLOCKED] = on_streams_blocked,
    [KITH_KIND_NEW_CONNECTION_ID] = on_new_cid,
    [KITH_KIND_RETIRE_CONNECTION_ID] = on_retire_cid,
    [KITH_KIND_PATH_CHALLENGE] = on_path_challenge,
    [KITH_KIND_PATH_RESPONSE] = on_path_response,
    [KITH_KIND_CONNECTION_CLOSE] = on_close,
    [KITH_KIND_APPLICATION_CLOSE] = on_close,
    [KITH_KIND_HANDSHAKE_DONE] = on_handshake_done,
    [KITH_KIND_IMMEDIATE_ACK] = on_immediate_ack,
    [KITH_KIND_DATAGRAM] = on_datagram,
    [KITH_KIND_ACK_FREQUENCY] = on_ack_frequency,
    [KITH_KIND_PATH_ACK] = on_path_ack,
    [KITH_KIND_ADD_ADDRESS] = on_candidate,
    [KITH_KIND_REMOVE_ADDRESS] = on_candidate,
    [KITH_KIND_REACH_OUT] = on_candidate,
    [KITH_KIND_OBSERVED_ADDRESS] = on_observed_address,
    [KITH_KIND_PATH_ABANDON] = on_path_abandon,
    [KITH_KIND_PATH_STATUS] = on_path_status,
    [KITH_KIND_PATH_NEW_CONNECTION_ID] = on_new_cid,
    [KITH_KIND_PATH_RETIRE_CONNECTION_ID] = on_retire_cid,
    [KITH_KIND_MAX_PATH_ID] = on_max_path_id,
    [KITH_KIND_PATHS_BLOCKED] = on_paths_blocked,
    [KITH_KIND_PATH_CIDS_BLOCKED] = on_path_cids_blocked,
};

/** Was the extension that a frame belongs to agreed on? NULL: yes. */
static const char *why_not_negotiated(const struct kith_quic_conn *conn, const struct kith_frame_info *info)
{
    switch ((enum kith_frame_extension)info->extension) {
    case KITH_EXTENSION_NONE:
        return NULL;
    case KITH_EXTENSION_DATAGRAM:
        return conn->config.datagram_receive_max != 0 ? NULL : "unexpected datagram";
    case KITH_EXTENSION_ACK_FREQUENCY:
        return conn->config.min_ack_delay_ns != 0 ? NULL : "ACK frequency was not negotiated";
    case KITH_EXTENSION_MULTIPATH:
        return conn->mp.is_on ? NULL : "multipath was not negotiated";
    case KITH_EXTENSION_NAT_TRAVERSAL:
    case KITH_EXTENSION_OBSERVED_ADDRESS:
        return NULL; /* their handlers say it in the words of spec/01, 5.3 and 6 */
    }
    return "unknown extension";
}

static int handle(struct kith_rx *rx, const struct kith_frame *frame)
{
    const struct kith_frame_info *info = frame->info;
    const char *why_not = why_not_negotiated(rx->conn, info);

    if (why_not != NULL)
        return fail(rx, KITH_WIRE_PROTOCOL_VIOLATION, frame, why_not);
    if (info->extension != KITH_EXTENSION_NAT_TRAVERSAL &&
        info->sender == (rx->conn->is_client ? KITH_SENDER_CLIENT : KITH_SENDER_SERVER))
        return fail(rx, KITH_WIRE_PROTOCOL_VIOLATION, frame, "frame from the wrong side");
    KITH_ASSERT(handlers[info->kind] != NULL);
    return handlers[info->kind](rx, frame);
}

int kith__rx_frames(struct kith_rx *rx, struct kith_reader payload)
{
    struct kith_quic_conn *conn = rx->conn;
    struct kith_frame_error error;
    struct kith_frame frame;
    int result;

    rx->is_eliciting = false;
    rx->is_probing_only = true;
    while (kith__reader_left(&payload) != 0) {
        result = kith__frame_decode(&payload, (enum kith_packet_type)rx->type, &frame, &error);
        if (result != 0)
            return kith__conn_fail(conn, (uint64_t)result, error.type, error.reason);
        kith__qlog_frame(&conn->qlog, &frame);
        rx->is_eliciting |= frame.info->ack_eliciting;
        rx->is_probing_only &= frame.info->probing;
        if (kith__phase_is_open(conn->phase)) {
            if (handle(rx, &frame) != 0)
                return KITH_ERR_CLOSED;
        } else if (frame.info->kind == KITH_KIND_CONNECTION_CLOSE || frame.info->kind == KITH_KIND_APPLICATION_CLOSE) {
            return on_close(rx, &frame);
        }
    }
    return 0;
}
