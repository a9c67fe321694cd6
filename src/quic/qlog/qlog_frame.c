/* Frames as qlog shows them: names from the frame table, one function for each group of kinds. */
#include "quic/qlog/qlog_json.h"
#include "quic/wire/frame.h"

enum { RANGES_SHOWN_MAX = 64 };

#define U64(key, value) kith__qlog_set_u64(json, key, value, failed)

static void show_ack(json_t *json, const struct kith_frame_ack *ack, bool *failed)
{
    struct kith_ack_walk walk;
    struct kith_range range = kith__ack_first(ack, &walk);
    json_t *ranges = json_array();
    size_t count = 0;

    do
        *failed |= json_array_append_new(
                       ranges, json_pack("[I, I]", (json_int_t)range.begin, (json_int_t)(range.end - 1))) != 0;
    while (++count < RANGES_SHOWN_MAX && kith__ack_next(&walk, &range));
    kith__qlog_set(json, "acked_ranges", ranges, failed);
    U64("ack_delay_units", ack->delay); /* of 2^ack_delay_exponent us */
    if (ack->range_count >= RANGES_SHOWN_MAX)
        U64("ranges_left_out", ack->range_count + 1 - RANGES_SHOWN_MAX);
    if (ack->has_ecn) {
        U64("ect0", ack->ecn.ect0);
        U64("ect1", ack->ecn.ect1);
        U64("ce", ack->ecn.ce);
    }
}

static void show_stream_kinds(json_t *json, const struct kith_frame *frame, bool *failed)
{
    switch (frame->info->kind) {
    case KITH_KIND_STREAM:
        U64("stream_id", frame->stream.id);
        U64("offset", frame->stream.offset);
        U64("length", frame->stream.data.size);
        kith__qlog_set(json, "fin", json_boolean(frame->stream.fin), failed);
        break;
    case KITH_KIND_RESET_STREAM:
        U64("stream_id", frame->reset_stream.id);
        U64("error_code", frame->reset_stream.code);
        U64("final_size", frame->reset_stream.final_size);
        break;
    case KITH_KIND_STOP_SENDING:
        U64("stream_id", frame->stop_sending.id);
        U64("error_code", frame->stop_sending.code);
        break;
    case KITH_KIND_MAX_DATA:
        U64("maximum", frame->max_data.max);
        break;
    case KITH_KIND_DATA_BLOCKED:
        U64("limit", frame->data_blocked.max);
        break;
    case KITH_KIND_MAX_STREAM_DATA:
        U64("stream_id", frame->max_stream_data.id);
        U64("maximum", frame->max_stream_data.max);
        break;
    case KITH_KIND_STREAM_DATA_BLOCKED:
        U64("stream_id", frame->stream_data_blocked.id);
        U64("limit", frame->stream_data_blocked.max);
        break;
    case KITH_KIND_MAX_STREAMS:
        kith__qlog_set(json, "stream_type", json_string(frame->max_streams.bidi ? "bidirectional" : "unidirectional"),
                       failed);
        U64("maximum", frame->max_streams.max);
        break;
    case KITH_KIND_STREAMS_BLOCKED:
        kith__qlog_set(json, "stream_type",
                       json_string(frame->streams_blocked.bidi ? "bidirectional" : "unidirectional"), failed);
        U64("limit", frame->streams_blocked.max);
        break;
    default:
        break;
    }
}

static void show_cid_kinds(json_t *json, const struct kith_frame *frame, bool *failed)
{
    switch (frame->info->kind) {
    case KITH_KIND_PATH_NEW_CONNECTION_ID:
        U64("path_id", frame->new_cid.path);
        /* fall through */
    case KITH_KIND_NEW_CONNECTION_ID:
        U64("sequence_number", frame->new_cid.sequence);
        U64("retire_prior_to", frame->new_cid.retire_prior_to);
        kith__qlog_set(json, "connection_id", kith__qlog_hex(kith__cid_slice(&frame->new_cid.cid)), failed);
        break; /* the reset token is a secret of the two sides: it stays out of logs */
    case KITH_KIND_PATH_RETIRE_CONNECTION_ID:
        U64("path_id", frame->retire_cid.path);
        /* fall through */
    case KITH_KIND_RETIRE_CONNECTION_ID:
        U64("sequence_number", frame->retire_cid.sequence);
        break;
    case KITH_KIND_PATH_ABANDON:
        U64("path_id", frame->path_abandon.path);
        U64("error_code", frame->path_abandon.code);
        break;
    case KITH_KIND_PATH_STATUS:
        U64("path_id", frame->path_status.path);
        U64("path_status_sequence_number", frame->path_status.sequence);
        break;
    case KITH_KIND_MAX_PATH_ID:
        U64("maximum_path_id", frame->max_path_id.max);
        break;
    case KITH_KIND_PATHS_BLOCKED:
        U64("maximum_path_id", frame->paths_blocked.max);
        break;
    case KITH_KIND_PATH_CIDS_BLOCKED:
        U64("path_id", frame->path_cids_blocked.path);
        U64("next_sequence_number", frame->path_cids_blocked.next_sequence);
        break;
    case KITH_KIND_ADD_ADDRESS:
    case KITH_KIND_OBSERVED_ADDRESS:
        U64("sequence_number", frame->address.sequence);
        kith__qlog_set(json, "address", kith__qlog_address(&frame->address.address), failed);
        break;
    case KITH_KIND_REACH_OUT:
        U64("round", frame->address.sequence);
        kith__qlog_set(json, "address", kith__qlog_address(&frame->address.address), failed);
        break;
    case KITH_KIND_REMOVE_ADDRESS:
        U64("sequence_number", frame->remove_address.sequence);
        break;
    default:
        break;
    }
}

static void show_other_kinds(json_t *json, const struct kith_frame *frame, bool *failed)
{
    switch (frame->info->kind) {
    case KITH_KIND_PADDING:
        U64("length", frame->padding.size);
        break;
    case KITH_KIND_PATH_ACK:
        U64("path_id", frame->ack.path);
        /* fall through */
    case KITH_KIND_ACK:
        show_ack(json, &frame->ack, failed);
        break;
    case KITH_KIND_CRYPTO:
        U64("offset", frame->crypto.offset);
        U64("length", frame->crypto.data.size);
        break;
    case KITH_KIND_NEW_TOKEN:
        U64("length", frame->new_token.token.size);
        break;
    case KITH_KIND_DATAGRAM:
        U64("length", frame->datagram.data.size);
        break;
    case KITH_KIND_PATH_CHALLENGE:
    case KITH_KIND_PATH_RESPONSE:
        kith__qlog_set(
            json, "data",
            kith__qlog_hex((struct kith_slice) { frame->path_challenge.data, sizeof frame->path_challenge.data }),
            failed);
        break;
    case KITH_KIND_CONNECTION_CLOSE:
    case KITH_KIND_APPLICATION_CLOSE:
        kith__qlog_set(json, "error_space",
                       json_string(frame->info->kind == KITH_KIND_CONNECTION_CLOSE ? "transport" : "application"),
                       failed);
        U64("error_code", frame->close.code);
        U64("trigger_frame_type", frame->close.frame_type);
        kith__qlog_set(json, "reason", kith__qlog_text(frame->close.reason), failed);
        break;
    case KITH_KIND_ACK_FREQUENCY:
        U64("sequence_number", frame->ack_frequency.sequence);
        U64("ack_eliciting_threshold", frame->ack_frequency.ack_eliciting_threshold);
        U64("requested_max_ack_delay", frame->ack_frequency.request_max_ack_delay_us);
        U64("reordering_threshold", frame->ack_frequency.reordering_threshold);
        break;
    default:
        break;
    }
}

json_t *kith__qlog_frame_json(const struct kith_frame *frame)
{
    struct kith_frame with_info = *frame;
    bool is_failed = false;
    json_t *json;

    /* A frame that is about to be written need not have its facts with it. */
    if (with_info.info == NULL)
        with_info.info = kith__frame_info(frame->type);
    KITH_ASSERT(with_info.info != NULL);
    json = json_pack("{s:s}", "frame_type", with_info.info->qlog_name);
    show_stream_kinds(json, &with_info, &is_failed);
    show_cid_kinds(json, &with_info, &is_failed);
    show_other_kinds(json, &with_info, &is_failed);
    if (!is_failed)
        return json;
    json_decref(json);
    return NULL;
}
