/* The table of frames, and what it drives: looking up, decoding, encoding. The kinds themselves: frame_core.c and others. */
#include "quic/wire/frame_parts.h"

enum {
    I_ = 1 << KITH_PACKET_INITIAL,
    Z_ = 1 << KITH_PACKET_ZERO_RTT,
    H_ = 1 << KITH_PACKET_HANDSHAKE,
    O_ = 1 << KITH_PACKET_ONE_RTT,
    ANY = I_ | Z_ | H_ | O_,
    NOT_EARLY = I_ | H_ | O_,
    APP = Z_ | O_,
    /* flags of a row */
    ELICITS = 1, /* ack-eliciting, and then in flight too */
    FLIGHT = 2,  /* in flight only: PADDING */
    PROBES = 4
};

#define ROW(wire, text, qlog, row_kind, in, lost, ext, from, flags)                                                    \
    {                                                                                                                  \
        .type = KITH_FRAME_##wire, .name = text, .qlog_name = qlog, .kind = KITH_KIND_##row_kind, .packets = (in),     \
        .loss = KITH_LOSS_##lost, .extension = KITH_EXTENSION_##ext, .sender = KITH_SENDER_##from,                     \
        .ack_eliciting = ((flags)&ELICITS) != 0, .in_flight = ((flags) & (ELICITS | FLIGHT)) != 0,                     \
        .probing = ((flags)&PROBES) != 0                                                                               \
    }
#define ROW_STREAM(low)                                                                                                \
    {                                                                                                                  \
        .type = KITH_FRAME_STREAM | (low), .name = "STREAM", .qlog_name = "stream", .kind = KITH_KIND_STREAM,          \
        .packets = APP, .loss = KITH_LOSS_BYTES, .ack_eliciting = true, .in_flight = true                              \
    }

/*
 * RFC 9000, table 3 and 12.5 (a client cannot know an id to retire in 0-RTT), and the extensions: none of those is legal in
 * 0-RTT but DATAGRAM (spec/01, 1.14). In order of type.
 */
static const struct kith_frame_info frames[] = {
    /* clang-format off: one row a line */
    ROW(PADDING, "PADDING", "padding", PADDING, ANY, NOTHING, NONE, BOTH, FLIGHT | PROBES),
    ROW(PING, "PING", "ping", PING, ANY, NOTHING, NONE, BOTH, ELICITS),
    ROW(ACK, "ACK", "ack", ACK, NOT_EARLY, NOTHING, NONE, BOTH, 0),
    ROW(ACK_ECN, "ACK_ECN", "ack", ACK, NOT_EARLY, NOTHING, NONE, BOTH, 0),
    ROW(RESET_STREAM, "RESET_STREAM", "reset_stream", RESET_STREAM, APP, AGAIN, NONE, BOTH, ELICITS),
    ROW(STOP_SENDING, "STOP_SENDING", "stop_sending", STOP_SENDING, APP, AGAIN, NONE, BOTH, ELICITS),
    ROW(CRYPTO, "CRYPTO", "crypto", CRYPTO, NOT_EARLY, BYTES, NONE, BOTH, ELICITS),
    ROW(NEW_TOKEN, "NEW_TOKEN", "new_token", NEW_TOKEN, O_, AGAIN, NONE, SERVER, ELICITS),
    ROW_STREAM(0),
    ROW_STREAM(1),
    ROW_STREAM(2),
    ROW_STREAM(3),
    ROW_STREAM(4),
    ROW_STREAM(5),
    ROW_STREAM(6),
    ROW_STREAM(7),
    ROW(MAX_DATA, "MAX_DATA", "max_data", MAX_DATA, APP, NEWEST, NONE, BOTH, ELICITS),
    ROW(MAX_STREAM_DATA, "MAX_STREAM_DATA", "max_stream_data", MAX_STREAM_DATA, APP, NEWEST, NONE, BOTH, ELICITS),
    ROW(MAX_STREAMS_BIDI, "MAX_STREAMS", "max_streams", MAX_STREAMS, APP, NEWEST, NONE, BOTH, ELICITS),
    ROW(MAX_STREAMS_UNI, "MAX_STREAMS", "max_streams", MAX_STREAMS, APP, NEWEST, NONE, BOTH, ELICITS),
    ROW(DATA_BLOCKED, "DATA_BLOCKED", "data_blocked", DATA_BLOCKED, APP, NEWEST, NONE, BOTH, ELICITS),
    ROW(STREAM_DATA_BLOCKED, "STREAM_DATA_BLOCKED", "stream_data_blocked", STREAM_DATA_BLOCKED, APP, NEWEST, NONE, BOTH,
        ELICITS),
    ROW(STREAMS_BLOCKED_BIDI, "STREAMS_BLOCKED", "streams_blocked", STREAMS_BLOCKED, APP, NEWEST, NONE, BOTH, ELICITS),
    ROW(STREAMS_BLOCKED_UNI, "STREAMS_BLOCKED", "streams_blocked", STREAMS_BLOCKED, APP, NEWEST, NONE, BOTH, ELICITS),
    ROW(NEW_CONNECTION_ID, "NEW_CONNECTION_ID", "new_connection_id", NEW_CONNECTION_ID, APP, AGAIN, NONE, BOTH,
        ELICITS | PROBES),
    ROW(RETIRE_CONNECTION_ID, "RETIRE_CONNECTION_ID", "retire_connection_id", RETIRE_CONNECTION_ID, O_, AGAIN, NONE,
        BOTH, ELICITS),
    ROW(PATH_CHALLENGE, "PATH_CHALLENGE", "path_challenge", PATH_CHALLENGE, APP, NOTHING, NONE, BOTH, ELICITS | PROBES),
    ROW(PATH_RESPONSE, "PATH_RESPONSE", "path_response", PATH_RESPONSE, O_, NOTHING, NONE, BOTH, ELICITS | PROBES),
    ROW(CONNECTION_CLOSE, "CONNECTION_CLOSE", "connection_close", CONNECTION_CLOSE, ANY, NOTHING, NONE, BOTH, 0),
    ROW(APPLICATION_CLOSE, "APPLICATION_CLOSE", "connection_close", APPLICATION_CLOSE, APP, NOTHING, NONE, BOTH, 0),
    ROW(HANDSHAKE_DONE, "HANDSHAKE_DONE", "handshake_done", HANDSHAKE_DONE, O_, AGAIN, NONE, SERVER, ELICITS),
    ROW(IMMEDIATE_ACK, "IMMEDIATE_ACK", "immediate_ack", IMMEDIATE_ACK, O_, NOTHING, ACK_FREQUENCY, BOTH, ELICITS),
    ROW(DATAGRAM, "DATAGRAM", "datagram", DATAGRAM, APP, COUNT, DATAGRAM, BOTH, ELICITS),
    ROW(DATAGRAM_WITH_LENGTH, "DATAGRAM", "datagram", DATAGRAM, APP, COUNT, DATAGRAM, BOTH, ELICITS),
    ROW(PATH_ACK, "PATH_ACK", "path_ack", PATH_ACK, O_, NOTHING, MULTIPATH, BOTH, 0),
    ROW(PATH_ACK_ECN, "PATH_ACK_ECN", "path_ack", PATH_ACK, O_, NOTHING, MULTIPATH, BOTH, 0),
    ROW(ACK_FREQUENCY, "ACK_FREQUENCY", "ack_frequency", ACK_FREQUENCY, O_, NEWEST, ACK_FREQUENCY, BOTH, ELICITS),
    ROW(PATH_ABANDON, "PATH_ABANDON", "path_abandon", PATH_ABANDON, O_, AGAIN, MULTIPATH, BOTH, ELICITS),
    ROW(PATH_STATUS_BACKUP, "PATH_STATUS_BACKUP", "path_status_backup", PATH_STATUS, O_, NEWEST, MULTIPATH, BOTH,
        ELICITS),
    ROW(PATH_STATUS_AVAILABLE, "PATH_STATUS_AVAILABLE", "path_status_available", PATH_STATUS, O_, NEWEST, MULTIPATH,
        BOTH, ELICITS),
    ROW(PATH_NEW_CONNECTION_ID, "PATH_NEW_CONNECTION_ID", "path_new_connection_id", PATH_NEW_CONNECTION_ID, O_, AGAIN,
        MULTIPATH, BOTH, ELICITS | PROBES),
    ROW(PATH_RETIRE_CONNECTION_ID, "PATH_RETIRE_CONNECTION_ID", "path_retire_connection_id", PATH_RETIRE_CONNECTION_ID,
        O_, AGAIN, MULTIPATH, BOTH, ELICITS),
    ROW(MAX_PATH_ID, "MAX_PATH_ID", "max_path_id", MAX_PATH_ID, O_, NEWEST, MULTIPATH, BOTH, ELICITS),
    ROW(PATHS_BLOCKED, "PATHS_BLOCKED", "paths_blocked", PATHS_BLOCKED, O_, NEWEST, MULTIPATH, BOTH, ELICITS),
    ROW(PATH_CIDS_BLOCKED, "PATH_CIDS_BLOCKED", "path_cids_blocked", PATH_CIDS_BLOCKED, O_, NEWEST, MULTIPATH, BOTH,
        ELICITS),
    ROW(ADD_ADDRESS_V4, "ADD_ADDRESS", "add_address", ADD_ADDRESS, O_, AGAIN, NAT_TRAVERSAL, SERVER, ELICITS),
    ROW(ADD_ADDRESS_V6, "ADD_ADDRESS", "add_address", ADD_ADDRESS, O_, AGAIN, NAT_TRAVERSAL, SERVER, ELICITS),
    ROW(REACH_OUT_V4, "REACH_OUT", "reach_out", REACH_OUT, O_, AGAIN, NAT_TRAVERSAL, CLIENT, ELICITS),
    ROW(REACH_OUT_V6, "REACH_OUT", "reach_out", REACH_OUT, O_, AGAIN, NAT_TRAVERSAL, CLIENT, ELICITS),
    ROW(REMOVE_ADDRESS, "REMOVE_ADDRESS", "remove_address", REMOVE_ADDRESS, O_, AGAIN, NAT_TRAVERSAL, SERVER, ELICITS),
    ROW(OBSERVED_ADDRESS_V4, "OBSERVED_ADDRESS", "observed_address", OBSERVED_ADDRESS, O_, NEWEST, OBSERVED_ADDRESS,
        BOTH, ELICITS | PROBES),
    ROW(OBSERVED_ADDRESS_V6, "OBSERVED_ADDRESS", "observed_address", OBSERVED_ADDRESS, O_, NEWEST, OBSERVED_ADDRESS,
        BOTH, ELICITS | PROBES),
    /* clang-format on */
};

/* Runs of neighbouring types in the table: the first type of each, and its row. */
static const struct {
    uint64_t first;
    uint8_t count, row;
} runs[] = {
    { KITH_FRAME_PADDING, 32, 0 },
    { KITH_FRAME_DATAGRAM, 2, 32 },
    { KITH_FRAME_PATH_ACK, 2, 34 },
    { KITH_FRAME_ACK_FREQUENCY, 1, 36 },
    { KITH_FRAME_PATH_ABANDON, 8, 37 },
    { KITH_FRAME_ADD_ADDRESS_V4, 5, 45 },
    { KITH_FRAME_OBSERVED_ADDRESS_V4, 2, 50 },
};
_Static_assert(KITH_COUNT(frames) == 52, "the runs above cover all rows");

static const struct {
    kith__frame_decoder *decode;
    kith__frame_encoder *encode; /* NULL: PADDING, which needs none */
} codecs[KITH_KINDS] = {
    [KITH_KIND_PADDING] = { kith__frame_decode_padding, NULL },
    [KITH_KIND_PING] = { kith__frame_decode_nothing, kith__frame_encode_nothing },
    [KITH_KIND_ACK] = { kith__frame_decode_ack, kith__frame_encode_ack },
    [KITH_KIND_RESET_STREAM] = { kith__frame_decode_reset_stream, kith__frame_encode_reset_stream },
    [KITH_KIND_STOP_SENDING] = { kith__frame_decode_stop_sending, kith__frame_encode_stop_sending },
    [KITH_KIND_CRYPTO] = { kith__frame_decode_crypto, kith__frame_encode_crypto },
    [KITH_KIND_NEW_TOKEN] = { kith__frame_decode_new_token, kith__frame_encode_new_token },
    [KITH_KIND_STREAM] = { kith__frame_decode_stream, kith__frame_encode_stream },
    [KITH_KIND_MAX_DATA] = { kith__frame_decode_max_data, kith__frame_encode_max_data },
    [KITH_KIND_MAX_STREAM_DATA] = { kith__frame_decode_max_stream_data, kith__frame_encode_max_stream_data },
    [KITH_KIND_MAX_STREAMS] = { kith__frame_decode_max_streams, kith__frame_encode_max_streams },
    [KITH_KIND_DATA_BLOCKED] = { kith__frame_decode_max_data, kith__frame_encode_max_data },
    [KITH_KIND_STREAM_DATA_BLOCKED] = { kith__frame_decode_max_stream_data, kith__frame_encode_max_stream_data },
    [KITH_KIND_STREAMS_BLOCKED] = { kith__frame_decode_max_streams, kith__frame_encode_max_streams },
    [KITH_KIND_NEW_CONNECTION_ID] = { kith__frame_decode_new_cid, kith__frame_encode_new_cid },
    [KITH_KIND_RETIRE_CONNECTION_ID] = { kith__frame_decode_retire_cid, kith__frame_encode_retire_cid },
    [KITH_KIND_PATH_CHALLENGE] = { kith__frame_decode_path_data, kith__frame_encode_path_data },
    [KITH_KIND_PATH_RESPONSE] = { kith__frame_decode_path_data, kith__frame_encode_path_data },
    [KITH_KIND_CONNECTION_CLOSE] = { kith__frame_decode_close, kith__frame_encode_close },
    [KITH_KIND_APPLICATION_CLOSE] = { kith__frame_decode_close, kith__frame_encode_close },
    [KITH_KIND_HANDSHAKE_DONE] = { kith__frame_decode_nothing, kith__frame_encode_nothing },
    [KITH_KIND_IMMEDIATE_ACK] = { kith__frame_decode_nothing, kith__frame_encode_nothing },
    [KITH_KIND_DATAGRAM] = { kith__frame_decode_datagram, kith__frame_encode_datagram },
    [KITH_KIND_PATH_ACK] = { kith__frame_decode_ack, kith__frame_encode_ack },
    [KITH_KIND_ACK_FREQUENCY] = { kith__frame_decode_ack_frequency, kith__frame_encode_ack_frequency },
    [KITH_KIND_PATH_ABANDON] = { kith__frame_decode_path_abandon, kith__frame_encode_path_abandon },
    [KITH_KIND_PATH_STATUS] = { kith__frame_decode_path_status, kith__frame_encode_path_status },
    [KITH_KIND_PATH_NEW_CONNECTION_ID] = { kith__frame_decode_new_cid, kith__frame_encode_new_cid },
    [KITH_KIND_PATH_RETIRE_CONNECTION_ID] = { kith__frame_decode_retire_cid, kith__frame_encode_retire_cid },
    [KITH_KIND_MAX_PATH_ID] = { kith__frame_decode_max_path_id, kith__frame_encode_max_path_id },
    [KITH_KIND_PATHS_BLOCKED] = { kith__frame_decode_max_path_id, kith__frame_encode_max_path_id },
    [KITH_KIND_PATH_CIDS_BLOCKED] = { kith__frame_decode_path_cids_blocked, kith__frame_encode_path_cids_blocked },
    [KITH_KIND_ADD_ADDRESS] = { kith__frame_decode_address, kith__frame_encode_address },
    [KITH_KIND_REACH_OUT] = { kith__frame_decode_address, kith__frame_encode_address },
    [KITH_KIND_REMOVE_ADDRESS] = { kith__frame_decode_remove_address, kith__frame_encode_remove_address },
    [KITH_KIND_OBSERVED_ADDRESS] = { kith__frame_decode_address, kith__frame_encode_address },
};

const struct kith_frame_info *kith__frame_info(uint64_t type)
{
    for (size_t i = 0; i < KITH_COUNT(runs); i++)
        if (type >= runs[i].first && type - runs[i].first < runs[i].count)
            return &frames[runs[i].row + (type - runs[i].first)];
    return NULL;
}

static int refuse(struct kith_frame_error *error, uint64_t type, int code, const char *reason)
{
    *error = (struct kith_frame_error) { type, reason };
    return code;
}

int kith__frame_decode(struct kith_reader *r, enum kith_packet_type packet, struct kith_frame *out,
                       struct kith_frame_error *error)
{
    struct kith_reader ahead = *r;
    const char *reason = "malformed frame";
    uint64_t type = 0;

    if (kith__read_varint(&ahead, &type) != 0)
        return refuse(error, 0, KITH_WIRE_FRAME_ENCODING_ERROR, "truncated frame type");
    out->type = type;
    out->info = kith__frame_info(type);
    if (out->info == NULL)
        return refuse(error, type, KITH_WIRE_FRAME_ENCODING_ERROR, "invalid frame ID");
    if (!kith__frame_is_legal(out->info, packet))
        return refuse(error, type, KITH_WIRE_PROTOCOL_VIOLATION,
                      packet == KITH_PACKET_ZERO_RTT ? "illegal frame type in 0-RTT"
                                                     : "illegal frame type in handshake");
    if (codecs[out->info->kind].decode(&ahead, out, &reason) != 0)
        return refuse(error, type, KITH_WIRE_FRAME_ENCODING_ERROR, reason);
    *r = ahead;
    return 0;
}

static void encode(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    const struct kith_frame_info *info = kith__frame_info(frame->type);

    KITH_ASSERT(info != NULL && codecs[info->kind].encode != NULL);
    parts->head = kith__writer(parts->head_bytes, sizeof parts->head_bytes);
    parts->foot = kith__writer(parts->foot_bytes, sizeof parts->foot_bytes);
    parts->body = (struct kith_slice) { NULL, 0 };
    codecs[info->kind].encode(frame, parts);
}

static size_t parts_size(const struct kith_frame_parts *parts)
{
    return kith__writer_size(&parts->head) + parts->body.size + kith__writer_size(&parts->foot);
}

int kith__frame_write(struct kith_writer *w, const struct kith_frame *frame)
{
    struct kith_frame_parts parts;

    if (frame->type == KITH_FRAME_PADDING)
        return kith__write_zeros(w, frame->padding.size);
    encode(frame, &parts);
    if (parts_size(&parts) > kith__writer_left(w))
        return KITH_ERR_TOO_LARGE;
    kith__frame_put_bytes(w, parts.head_bytes, kith__writer_size(&parts.head));
    kith__frame_put_bytes(w, parts.body.ptr, parts.body.size);
    kith__frame_put_bytes(w, parts.foot_bytes, kith__writer_size(&parts.foot));
    return 0;
}

size_t kith__frame_size(const struct kith_frame *frame)
{
    struct kith_frame_parts parts;

    if (frame->type == KITH_FRAME_PADDING)
        return frame->padding.size;
    encode(frame, &parts);
    return parts_size(&parts);
}

struct kith_frame kith__frame(uint64_t type)
{
    struct kith_frame frame = { .type = type, .info = kith__frame_info(type) };

    KITH_ASSERT(frame.info != NULL);
    switch (frame.info->kind) {
    case KITH_KIND_ACK:
    case KITH_KIND_PATH_ACK:
        frame.ack.has_ecn = (type & 1) != 0;
        break;
    case KITH_KIND_STREAM:
        frame.stream.fin = (type & 1) != 0;
        frame.stream.has_length = (type & 2) != 0;
        break;
    case KITH_KIND_MAX_STREAMS:
    case KITH_KIND_STREAMS_BLOCKED:
        frame.max_streams.bidi = (type & 1) == 0;
        break;
    case KITH_KIND_DATAGRAM:
        frame.datagram.has_length = (type & 1) != 0;
        break;
    case KITH_KIND_PATH_STATUS:
        frame.path_status.available = type == KITH_FRAME_PATH_STATUS_AVAILABLE;
        break;
    case KITH_KIND_ADD_ADDRESS:
    case KITH_KIND_REACH_OUT:
    case KITH_KIND_OBSERVED_ADDRESS:
        frame.address.address.family = (type & 1) != 0 ? KITH_FAMILY_V6 : KITH_FAMILY_V4;
        break;
    default:
        break;
    }
    return frame;
}
