/*
 * Writers of frames. What stands in a record (struct kith_sent_frame) beside its kind:
 *   STREAM                     id, value: offset, size, flags: FIN
 *   CRYPTO                     value: offset, size
 *   frames of the stream set   extra: wire type, id, value
 *   NEW/RETIRE_CONNECTION_ID   id: path, value: sequence
 *   frames about path ids      extra: wire type, id: path, value: as path/multipath.h says
 *   PATH_ACK of another path   id: path, value: what kith__received_on_ack_sent returned
 *   candidates                 id, value: as path/punch.h says
 *   OBSERVED_ADDRESS           id: path, value: sequence
 * Frames that are not due again when they are lost have no record, except DATAGRAM, which is counted.
 */
#include "quic/conn/tx_frames.h"

#include "base/assert.h"
#include "base/random.h"
#include "quic/conn/fate.h"
#include "quic/host/host.h"

#include <string.h>

/* A CRYPTO frame with less room than this is left for the next packet. */
enum { CRYPTO_ROOM_MIN = 32, STREAM_ROOM_MIN = 24, ACK_ROOM_MIN = 64 };

static bool is_due(const struct kith_received *received, bool willing, uint64_t now_ns)
{
    return kith__received_is_due(received, now_ns) || (willing && kith__received_is_useful(received));
}

static void qlog_ack(struct kith_packet_out *out, const struct kith_ack_plan *plan)
{
    struct kith_frame frame = kith__frame(plan->is_path_ack ? KITH_FRAME_PATH_ACK : KITH_FRAME_ACK);
    const struct kith_range *newest = &plan->ranges[plan->range_count - 1];

    if (!kith__qlog_is_on(&out->conn->qlog))
        return;
    frame.ack.path = plan->path;
    frame.ack.largest = newest->end - 1;
    frame.ack.first_range = frame.ack.largest - newest->begin;
    kith__qlog_frame(&out->conn->qlog, &frame);
}

/** Acknowledges what was received in a space. False: no room. *acks: what to remember for when the ACK is acknowledged. */
static bool write_ack(struct kith_packet_out *out, struct kith_received *received, struct kith_ack_plan *plan,
                      uint64_t *acks)
{
    struct kith_range newest_first[KITH_ACK_RANGES_MAX], ranges[KITH_ACK_RANGES_MAX];
    struct kith_frame_ecn ecn = { received->ecn[KITH_ECN_ECT0], received->ecn[KITH_ECN_ECT1],
                                  received->ecn[KITH_ECN_CE] };

    plan->ranges = ranges;
    plan->ranges_max = KITH_ACK_RANGES_MAX;
    plan->ecn = ecn.ect0 + ecn.ect1 + ecn.ce != 0 ? &ecn : NULL;
    plan->range_count = kith__received_ranges(received, newest_first);
    if (plan->range_count == 0)
        return false;
    for (size_t i = 0; i < plan->range_count; i++)
        ranges[i] = newest_first[plan->range_count - 1 - i];
    if (out->space == KITH_SPACE_DATA)
        plan->delay = kith__received_ack_delay(received, out->conn->now_ns) / KITH_NS_PER_US >> 3;
    if (kith__ack_write(&out->w, plan) == 0)
        return false;
    kith__packet_out_note(out, KITH_FRAME_ACK);
    qlog_ack(out, plan);
    *acks = kith__received_on_ack_sent(received);
    return true;
}

void kith__tx_ack(struct kith_packet_out *out, bool willing)
{
    struct kith_quic_conn *conn = out->conn;
    struct kith_received *received = kith__conn_received(conn, out->path, (enum kith_space)out->space);
    struct kith_ack_plan plan = { .is_path_ack = out->space == KITH_SPACE_DATA && conn->mp.is_on,
                                  .path = out->path->id };
    uint64_t acks;

    if (out->level == KITH_LEVEL_EARLY || out->is_full || !is_due(received, willing, conn->now_ns))
        return;
    if (!write_ack(out, received, &plan, &acks))
        return;
    kith__sent_building(out->log)->acks = acks;
    out->path->is_ack_turn = false;
}

/**
 * A silent path gets no ACKs through while another one does. If both are silent, nobody knows which way is open: ACKs go here and
 * there in turns. With all of them on a path that is dead, one that came back would be silent for ever.
 */
static bool is_passed_over(const struct kith_path *path, const struct kith_path *other)
{
    return kith__conn_is_silent(other) && !(kith__conn_is_silent(path) && other->is_ack_turn);
}

bool kith__tx_owes_ack_for(const struct kith_quic_conn *conn, const struct kith_path *path,
                           const struct kith_path *other)
{
    /* Each path acknowledges its own packets, so that round trips are those of one way, as long as that gets through. */
    bool is_mute = other->is_ack_moved || !kith__path_is_live(other) ||
                   kith__cid_theirs_active(&other->cids_theirs) == NULL || is_passed_over(path, other) ||
                   kith__path_allowance(other) == 0;

    return other != path && is_mute && kith__received_is_due(&other->received, conn->now_ns);
}

void kith__tx_acks_for_others(struct kith_packet_out *out)
{
    struct kith_quic_conn *conn = out->conn;

    for (size_t i = 0; i < conn->path_count; i++) {
        struct kith_path *other = conn->paths[i];
        struct kith_ack_plan plan = { .is_path_ack = true, .path = other->id };
        struct kith_sent_frame record = { .kind = KITH_KIND_PATH_ACK, .id = other->id };

        if (!kith__tx_owes_ack_for(conn, out->path, other) || !kith__packet_out_has_room(out, ACK_ROOM_MIN))
            continue;
        if (!write_ack(out, &other->received, &plan, &record.value))
            continue;
        other->is_ack_moved = false;
        other->is_ack_turn = true;
        if (kith__packet_out_record(out, &record) != 0)
            return; /* without memory our list of what the peer knows stays longer: no harm */
    }
}

/** Takes back what was taken from its owner but cannot be recorded. */
static void record_or_lose(struct kith_packet_out *out, const struct kith_sent_frame *record)
{
    if (kith__packet_out_record(out, record) != 0)
        (void)kith__conn_fail_with(out->conn, KITH_ERR_NOMEM, 0, "sent packets");
}

void kith__tx_crypto(struct kith_packet_out *out)
{
    static const uint8_t levels[] = { [KITH_LEVEL_INITIAL] = KITH_TLS_INITIAL,
                                      [KITH_LEVEL_HANDSHAKE] = KITH_TLS_HANDSHAKE,
                                      [KITH_LEVEL_DATA] = KITH_TLS_APPLICATION };
    struct kith_crypto_sent sent;

    if (out->level == KITH_LEVEL_EARLY)
        return;
    while (kith__packet_out_has_room(out, CRYPTO_ROOM_MIN) &&
           kith__handshake_write(&out->conn->handshake, (enum kith_tls_level)levels[out->level], &out->w, &sent)) {
        struct kith_sent_frame record = { .kind = KITH_KIND_CRYPTO, .value = sent.offset, .size = (uint32_t)sent.size };

        record_or_lose(out, &record);
        kith__packet_out_note(out, KITH_FRAME_CRYPTO);
        if (kith__qlog_is_on(&out->conn->qlog)) {
            struct kith_frame frame = kith__frame(KITH_FRAME_CRYPTO);

            frame.crypto.offset = sent.offset;
            frame.crypto.data.size = sent.size;
            kith__qlog_frame(&out->conn->qlog, &frame);
        }
    }
}

void kith__tx_ping(struct kith_packet_out *out)
{
    struct kith_frame frame = kith__frame(KITH_FRAME_PING);
    struct kith_sent_frame record = { .kind = KITH_KIND_PING };

    if (!kith__packet_out_frame(out, &frame, &record))
        return;
    if (out->level == KITH_LEVEL_DATA)
        out->path->ping_wanted = false;
}

void kith__tx_immediate_ack(struct kith_packet_out *out)
{
    struct kith_frame frame = kith__frame(KITH_FRAME_IMMEDIATE_ACK);

    if (out->conn->peer_has_ack_frequency)
        (void)kith__packet_out_frame(out, &frame, NULL);
    out->path->immediate_ack_due = false;
}

bool kith__tx_challenge(struct kith_packet_out *out, const uint8_t value[KITH_CHALLENGE_SIZE])
{
    struct kith_frame frame = kith__frame(KITH_FRAME_PATH_CHALLENGE);

    memcpy(frame.path_challenge.data, value, KITH_CHALLENGE_SIZE);
    return kith__packet_out_frame(out, &frame, NULL);
}

bool kith__tx_response(struct kith_packet_out *out, const uint8_t value[KITH_CHALLENGE_SIZE])
{
    struct kith_frame frame = kith__frame(KITH_FRAME_PATH_RESPONSE);

    memcpy(frame.path_response.data, value, KITH_CHALLENGE_SIZE);
    return kith__packet_out_frame(out, &frame, NULL);
}

/* ---- 1-RTT ---- */

static void handshake_done(struct kith_packet_out *out)
{
    struct kith_frame frame = kith__frame(KITH_FRAME_HANDSHAKE_DONE);
    struct kith_sent_frame record = { .kind = KITH_KIND_HANDSHAKE_DONE };

    if (kith__packet_out_frame(out, &frame, &record))
        out->conn->done_due = false;
}

static void new_token(struct kith_packet_out *out)
{
    struct kith_frame frame = kith__frame(KITH_FRAME_NEW_TOKEN);
    struct kith_sent_frame record = { .kind = KITH_KIND_NEW_TOKEN };
    struct kith_quic_host *host = out->conn->host;
    uint8_t token[KITH_TOKEN_SIZE_MAX];
    size_t size;

    if (!kith__packet_out_has_room(out, sizeof token + 4))
        return;
    out->conn->token_due = false;
    if (kith__token_seal_new(&host->tokens, &host->random, &out->path->tuple.remote, out->conn->now_ns, token, &size) !=
        0)
        return; /* a token is a favour */
    frame.new_token.token = (struct kith_slice) { token, size };
    (void)kith__packet_out_frame(out, &frame, &record);
}

/** The frame of a stream set's intent. */
static struct kith_frame frame_of_control(const struct kith_stream_control *control)
{
    struct kith_frame frame = kith__frame(control->type);

    switch (control->type) {
    case KITH_FRAME_RESET_STREAM:
        frame.reset_stream.id = control->id;
        frame.reset_stream.code = control->code;
        frame.reset_stream.final_size = control->value;
        break;
    case KITH_FRAME_STOP_SENDING:
        frame.stop_sending.id = control->id;
        frame.stop_sending.code = control->code;
        break;
    case KITH_FRAME_MAX_STREAM_DATA:
    case KITH_FRAME_STREAM_DATA_BLOCKED:
        frame.max_stream_data.id = control->id;
        frame.max_stream_data.max = control->value;
        break;
    case KITH_FRAME_MAX_STREAMS_BIDI:
    case KITH_FRAME_MAX_STREAMS_UNI:
    case KITH_FRAME_STREAMS_BLOCKED_BIDI:
    case KITH_FRAME_STREAMS_BLOCKED_UNI:
        frame.max_streams.max = control->value;
        frame.max_streams.bidi = (control->type & 1) == 0;
        break;
    default: /* MAX_DATA, DATA_BLOCKED */
        frame.max_data.max = control->value;
        break;
    }
    return frame;
}

static void controls(struct kith_packet_out *out)
{
    struct kith_stream_control control;

    while (kith__packet_out_has_room(out, KITH_STREAM_CONTROL_SIZE_MAX) &&
           kith__stream_set_next_control(&out->conn->streams, &control)) {
        struct kith_frame frame = frame_of_control(&control);
        struct kith_sent_frame record = {
            .kind = frame.info->kind, .extra = control.type, .id = control.id, .value = control.value
        };

        if (!kith__packet_out_frame(out, &frame, &record)) {
            kith__stream_set_on_control_lost(&out->conn->streams, &control); /* no memory: due again */
            return;
        }
    }
}

/** Announces ids of a path id. False: no room. */
static bool new_cids(struct kith_packet_out *out, uint32_t id, struct kith_cid_ours *ours)
{
    bool is_on = out->conn->mp.is_on;
    struct kith_cid_issue issue;

    while (kith__cid_ours_next(ours, &issue)) {
        struct kith_frame frame = kith__frame(is_on ? KITH_FRAME_PATH_NEW_CONNECTION_ID : KITH_FRAME_NEW_CONNECTION_ID);
        struct kith_sent_frame record = { .kind = KITH_KIND_NEW_CONNECTION_ID, .id = id, .value = issue.sequence };

        frame.new_cid.path = id;
        frame.new_cid.sequence = issue.sequence;
        frame.new_cid.retire_prior_to = issue.retire_prior_to;
        frame.new_cid.cid = issue.cid;
        kith__host_reset_token(out->conn->host, &issue.cid, frame.new_cid.reset_token);
        if (!kith__packet_out_frame(out, &frame, &record))
            return false;
        kith__cid_ours_on_sent(ours, issue.sequence);
    }
    return true;
}

static bool retire_cids(struct kith_packet_out *out, uint32_t id, struct kith_cid_theirs *theirs)
{
    bool is_on = out->conn->mp.is_on;
    uint64_t sequence;

    while (kith__cid_theirs_next_retire(theirs, &sequence)) {
        struct kith_frame frame = kith__frame(is_on ? KITH_FRAME_PATH_RETIRE_CONNECTION_ID
                                                    : KITH_FRAME_RETIRE_CONNECTION_ID);
        struct kith_sent_frame record = { .kind = KITH_KIND_RETIRE_CONNECTION_ID, .id = id, .value = sequence };

        frame.retire_cid.path = id;
        frame.retire_cid.sequence = sequence;
        if (!kith__packet_out_frame(out, &frame, &record))
            return false;
        kith__cid_theirs_on_retire_sent(theirs, sequence);
    }
    return true;
}

/** What is to be said about path ids. False: no room. */
static bool about_path_ids(struct kith_packet_out *out)
{
    struct kith_multipath *mp = &out->conn->mp;
    struct kith_multipath_frame due;

    while (mp->is_on && kith__multipath_next(mp, &due)) {
        struct kith_frame frame = kith__multipath_wire(&due);
        struct kith_sent_frame record = {
            .kind = frame.info->kind, .extra = (uint16_t)due.type, .id = due.path, .value = due.value
        };

        if (!kith__packet_out_frame(out, &frame, &record))
            return false;
        kith__multipath_on_sent(mp, &due);
    }
    return true;
}

/** Candidates for NAT traversal. False: no room. */
static bool about_candidates(struct kith_packet_out *out)
{
    struct kith_punch *punch = &out->conn->punch;
    struct kith_punch_frame due;

    while (kith__punch_next(punch, &due)) {
        struct kith_frame frame = kith__punch_wire(&due);
        struct kith_sent_frame record = { .kind = due.kind, .id = due.id, .value = due.value };

        if (!kith__packet_out_frame(out, &frame, &record))
            return false;
        kith__punch_on_sent(punch, &due);
    }
    return true;
}

/** All frames about paths and ids, of all path ids: path ids with a path first, the others from the lowest on. */
static void about_paths(struct kith_packet_out *out)
{
    struct kith_quic_conn *conn = out->conn;
    bool is_done = about_path_ids(out) && about_candidates(out);

    for (size_t i = 0; is_done && i < conn->path_count; i++) {
        struct kith_path *path = conn->paths[i];

        if (kith__path_is_live(path))
            is_done = new_cids(out, path->id, &path->cids_ours) && retire_cids(out, path->id, &path->cids_theirs);
    }
    for (struct kith_conn_spare *spare = conn->spares; is_done && spare != NULL; spare = spare->next)
        is_done = new_cids(out, spare->id, &spare->cids_ours) && retire_cids(out, spare->id, &spare->cids_theirs);
    conn->has_path_frames = !is_done;
}

static void datagrams(struct kith_packet_out *out)
{
    struct kith_quic_conn *conn = out->conn;
    struct kith_slice bytes;

    while (kith__datagram_queue_peek(&conn->datagrams_out, &bytes) == 0) {
        struct kith_sent_frame record = { .kind = KITH_KIND_DATAGRAM };
        bool fits_never = bytes.size > kith__conn_datagram_size_max(conn) ||
                          bytes.size >
                              kith__conn_datagram_room(out->path); /* the MTU fell, or the way is another one */

        if (!fits_never) {
            if (!kith__packet_out_has_room(out, kith__datagram_frame_size(bytes.size)) ||
                kith__packet_out_record(out, &record) != 0)
                return;
            KITH_ASSERT(kith__datagram_write(&out->w, bytes) == 0);
            kith__packet_out_note(out, KITH_FRAME_DATAGRAM_WITH_LENGTH);
            conn->stats.datagrams_sent++;
            if (kith__qlog_is_on(&conn->qlog)) {
                struct kith_frame frame = kith__frame(KITH_FRAME_DATAGRAM_WITH_LENGTH);

                frame.datagram.data.size = bytes.size;
                frame.datagram.has_length = true;
                kith__qlog_frame(&conn->qlog, &frame);
            }
        } else {
            conn->datagrams_out.dropped++;
        }
        if (kith__datagram_queue_pop(&conn->datagrams_out))
            kith__conn_note(conn, KITH_QUIC_DATAGRAM_WRITABLE);
    }
}

static void qlog_stream(struct kith_quic_conn *conn, const struct kith_stream_chunk *chunk)
{
    struct kith_frame frame = kith__frame(KITH_FRAME_STREAM);

    frame.stream.id = chunk->id;
    frame.stream.offset = chunk->offset;
    frame.stream.data.size = chunk->size;
    frame.stream.fin = chunk->fin;
    kith__qlog_frame(&conn->qlog, &frame);
}

static void streams(struct kith_packet_out *out)
{
    struct kith_quic_conn *conn = out->conn;
    struct kith_stream_chunk chunk;

    while (kith__packet_out_has_room(out, STREAM_ROOM_MIN) &&
           kith__stream_set_next_stream(&conn->streams, kith__writer_left(&out->w), &chunk)) {
        struct kith_sent_frame record = { .kind = KITH_KIND_STREAM,
                                          .flags = chunk.fin ? KITH_FATE_FIN : 0,
                                          .size = (uint32_t)chunk.size,
                                          .id = chunk.id,
                                          .value = chunk.offset };
        int err = kith__stream_write_header(&out->w, chunk.id, chunk.offset, chunk.size, chunk.fin, chunk.has_length);

        KITH_ASSERT(err == 0 && kith__writer_left(&out->w) >= chunk.size);
        kith__stream_set_copy_out(&chunk, out->w.at);
        out->w.at += chunk.size;
        out->is_full = !chunk.has_length;
        out->flags = (uint8_t)((out->flags | KITH_SENT_ELICITING | KITH_SENT_COUNTED) & ~KITH_SENT_PROBING);
        record_or_lose(out, &record);
        if (kith__qlog_is_on(&conn->qlog))
            qlog_stream(conn, &chunk);
    }
}

/** Tells the peer where its packets come from. */
static void observed_address(struct kith_packet_out *out, bool has_challenge_or_response)
{
    struct kith_observed *observed = &out->conn->observed;
    struct kith_observed_path *path = kith__conn_observed(out->path);
    bool is_v6 = out->path->tuple.remote.family == KITH_FAMILY_V6;
    struct kith_frame frame = kith__frame(is_v6 ? KITH_FRAME_OBSERVED_ADDRESS_V6 : KITH_FRAME_OBSERVED_ADDRESS_V4);
    struct kith_sent_frame record = { .kind = KITH_KIND_OBSERVED_ADDRESS, .id = out->path->id };

    if (out->path->tuple.remote.family == KITH_FAMILY_RELAY) {
        path->is_due = false; /* a report that was lost, of when the path went elsewhere */
        return;
    }
    if (!kith__observed_is_wanted(observed, path, has_challenge_or_response))
        return;
    record.value = frame.address.sequence = kith__observed_next(observed);
    frame.address.address = out->path->tuple.remote;
    if (kith__packet_out_frame(out, &frame, &record))
        kith__observed_on_sent(observed, path);
}

void kith__tx_challenges(struct kith_packet_out *out)
{
    struct kith_quic_conn *conn = out->conn;
    struct kith_migrate_challenge challenge;
    struct kith_response response;
    uint8_t value[KITH_CHALLENGE_SIZE];

    if (kith__migrate_challenge_is_due(out->path, conn->now_ns, &challenge) && !challenge.is_old) {
        kith__random_fill(&conn->host->random, value, sizeof value);
        if (kith__tx_challenge(out, value)) {
            out->is_challenge = true;
            memcpy(out->challenge, value, sizeof value);
        }
    }
    while (kith__packet_out_has_room(out, 1 + KITH_CHALLENGE_SIZE) &&
           kith__responses_take(&out->path->responses, &out->path->tuple.local, &out->path->tuple.remote, true,
                                &response)) {
        (void)kith__tx_response(out, response.value);
        out->is_padded_to_min = true;
    }
    observed_address(out, out->is_challenge || out->is_padded_to_min);
}

void kith__tx_own(struct kith_packet_out *out)
{
    if (out->path->ping_wanted)
        kith__tx_ping(out);
    if (out->path->immediate_ack_due)
        kith__tx_immediate_ack(out);
}

void kith__tx_data(struct kith_packet_out *out)
{
    struct kith_quic_conn *conn = out->conn;

    if (out->level == KITH_LEVEL_DATA) {
        if (conn->done_due)
            handshake_done(out);
        kith__tx_own(out);
        kith__tx_crypto(out);
    }
    if (kith__stream_set_has_control(&conn->streams))
        controls(out);
    if (out->level == KITH_LEVEL_DATA && conn->has_path_frames)
        about_paths(out);
    datagrams(out);
    if (conn->token_due && out->level == KITH_LEVEL_DATA && !conn->is_client)
        new_token(out);
    streams(out);
}

bool kith__tx_has_own(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    struct kith_migrate_challenge challenge;

    return path->ping_wanted || path->immediate_ack_due || kith__conn_observed(path)->is_due ||
           kith__responses_has(&path->responses, &path->tuple.local, &path->tuple.remote, true) ||
           (kith__migrate_challenge_is_due(path, conn->now_ns, &challenge) && !challenge.is_old);
}

bool kith__tx_has_data(const struct kith_quic_conn *conn, enum kith_level level)
{
    if (kith__stream_set_has_control(&conn->streams) || kith__stream_set_has_data(&conn->streams) ||
        conn->datagrams_out.count != 0)
        return true;
    if (level == KITH_LEVEL_EARLY)
        return false;
    return conn->done_due || (conn->token_due && !conn->is_client) || conn->has_path_frames ||
           kith__handshake_has_data(&conn->handshake, KITH_TLS_APPLICATION);
}

/* ---- Closing ---- */

bool kith__tx_close(struct kith_packet_out *out)
{
    const struct kith_conn_close *close = &out->conn->close;
    bool is_one_rtt = out->level == KITH_LEVEL_DATA;
    bool is_application = close->info.is_application && is_one_rtt && !close->is_echo;
    struct kith_frame frame = kith__frame(is_application ? KITH_FRAME_APPLICATION_CLOSE : KITH_FRAME_CONNECTION_CLOSE);

    if (!close->is_echo) {
        frame.close.code = close->info.code;
        frame.close.frame_type = is_application ? 0 : close->info.frame_type;
        frame.close.reason = close->info.reason;
        if (close->info.is_application && !is_one_rtt) { /* nothing of the application's before it is private */
            frame.close.code = KITH_WIRE_APPLICATION_ERROR;
            frame.close.reason.size = 0;
        }
    }
    frame.close.reason.size = KITH_MIN(frame.close.reason.size, kith__writer_left(&out->w) - 32);
    return kith__packet_out_frame(out, &frame, NULL);
}
