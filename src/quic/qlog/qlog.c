#include "quic/qlog/qlog.h"

#include "base/assert.h"
#include "quic/qlog/qlog_json.h"
#include "quic/wire/tparams.h"
#include <string.h>

json_t *kith__qlog_hex(struct kith_slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * 64];
    size_t size = KITH_MIN(bytes.size, sizeof text / 2); /* ids, tokens, hashes; longer ones are cut */

    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes.ptr[i] >> 4];
        text[2 * i + 1] = digits[bytes.ptr[i] & 15];
    }
    return json_stringn(text, 2 * size);
}

json_t *kith__qlog_text(struct kith_slice bytes)
{
    json_t *text = json_stringn(bytes.size != 0 ? (const char *)bytes.ptr : "", bytes.size);
    json_t *hex, *marked;

    if (text != NULL)
        return text;
    hex = kith__qlog_hex(bytes);
    marked = hex != NULL ? json_sprintf("hex:%s", json_string_value(hex)) : NULL;
    json_decref(hex);
    return marked;
}

json_t *kith__qlog_address(const struct kith_sockaddr *address)
{
    char text[KITH_SOCKADDR_TEXT_SIZE];

    return json_string(kith_sockaddr_format(address, text));
}

/** Hands a record over: separator, one line of JSON, line feed (RFC 7464). Takes the object over. */
static void emit(struct kith_qlog *qlog, json_t *record, bool failed)
{
    json_malloc_t allocate;
    json_free_t release;
    size_t size = failed || record == NULL ? 0 : json_dumpb(record, NULL, 0, JSON_COMPACT);
    char *text = NULL;

    json_get_alloc_funcs(&allocate, &release);
    if (size != 0)
        text = allocate(size + 3);
    if (text != NULL) {
        text[0] = 0x1e;
        json_dumpb(record, text + 1, size, JSON_COMPACT);
        text[size + 1] = '\n';
        text[size + 2] = '\0';
        qlog->sink(qlog->sink_ctx, qlog->conn_serial, text);
        release(text);
    } else {
        qlog->dropped++;
    }
    json_decref(record);
}

/** An event with its data, which is taken over. tuple_id only where path is known. */
static void emit_event(struct kith_qlog *qlog, const char *name, const uint64_t *path, json_t *data, bool failed,
                       uint64_t now_ns)
{
    json_t *event = json_object();

    kith__qlog_set(event, "time", json_real((double)(now_ns - qlog->began_ns) / 1e6), &failed);
    kith__qlog_set(event, "name", json_string(name), &failed);
    if (path != NULL)
        kith__qlog_set(event, "tuple_id", json_sprintf("%llu", (unsigned long long)*path), &failed);
    kith__qlog_set(event, "data", data, &failed);
    emit(qlog, event, failed);
}

void kith__qlog_init(struct kith_qlog *qlog, void (*sink)(void *ctx, uint64_t conn_serial, const char *json_record),
                     void *sink_ctx, uint64_t conn_serial, bool is_client, struct kith_slice odcid, uint64_t now_ns)
{
    json_t *header;

    *qlog = (struct kith_qlog) { .sink = sink, .sink_ctx = sink_ctx, .conn_serial = conn_serial, .began_ns = now_ns };
    if (sink == NULL)
        return;
    header = json_pack("{s:s, s:s, s:{s:{s:s}, s:{s:o, s:s}}}", "qlog_format", "JSON-SEQ", "qlog_version", "0.3",
                       "trace", "vantage_point", "type", is_client ? "client" : "server", "common_fields", "ODCID",
                       kith__qlog_hex(odcid), "time_format", "relative");
    emit(qlog, header, false);
}

void kith__qlog_dispose(struct kith_qlog *qlog)
{
    kith__qlog_packet_cancel(qlog);
}

void kith__qlog_connection_started(struct kith_qlog *qlog, const struct kith_sockaddr *local,
                                   const struct kith_sockaddr *remote, struct kith_slice local_cid,
                                   struct kith_slice remote_cid, uint64_t now_ns)
{
    json_t *data;

    if (!kith__qlog_is_on(qlog))
        return;
    data = json_pack("{s:o, s:o, s:o, s:o}", "local", kith__qlog_address(local), "remote", kith__qlog_address(remote),
                     "src_cid", kith__qlog_hex(local_cid), "dst_cid", kith__qlog_hex(remote_cid));
    emit_event(qlog, "connectivity:connection_started", NULL, data, false, now_ns);
}

void kith__qlog_connection_closed(struct kith_qlog *qlog, bool by_peer, bool is_application, uint64_t code,
                                  struct kith_slice reason, uint64_t now_ns)
{
    bool failed = false;
    json_t *data;

    if (!kith__qlog_is_on(qlog))
        return;
    data = json_pack("{s:s, s:o}", "owner", by_peer ? "remote" : "local", "reason", kith__qlog_text(reason));
    kith__qlog_set_u64(data, is_application ? "application_code" : "connection_code", code, &failed);
    emit_event(qlog, "connectivity:connection_closed", NULL, data, failed, now_ns);
}

/** The parameters that are plain numbers. */
static void set_numbers(json_t *data, const struct kith_tparams *params, bool *failed)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        { "max_idle_timeout", params->max_idle_timeout_ms },
        { "max_udp_payload_size", params->max_udp_payload_size },
        { "initial_max_data", params->initial_max_data },
        { "initial_max_stream_data_bidi_local", params->initial_max_stream_data_bidi_local },
        { "initial_max_stream_data_bidi_remote", params->initial_max_stream_data_bidi_remote },
        { "initial_max_stream_data_uni", params->initial_max_stream_data_uni },
        { "initial_max_streams_bidi", params->initial_max_streams_bidi },
        { "initial_max_streams_uni", params->initial_max_streams_uni },
        { "ack_delay_exponent", params->ack_delay_exponent },
        { "max_ack_delay", params->max_ack_delay_ms },
        { "active_connection_id_limit", params->active_connection_id_limit },
        { "max_datagram_frame_size", params->max_datagram_frame_size },
        { "nat_traversal_addresses", params->nat_traversal_addresses },
    };

    for (size_t i = 0; i < KITH_COUNT(numbers); i++)
        kith__qlog_set_u64(data, numbers[i].name, numbers[i].value, failed);
    if (params->has_min_ack_delay)
        kith__qlog_set_u64(data, "min_ack_delay", params->min_ack_delay_us, failed);
    if (params->has_initial_max_path_id)
        kith__qlog_set_u64(data, "initial_max_path_id", params->initial_max_path_id, failed);
    if (params->observed_address != KITH_OBSERVED_OFF)
        kith__qlog_set_u64(data, "address_discovery", params->observed_address, failed);
}

void kith__qlog_parameters(struct kith_qlog *qlog, bool is_local, bool is_restored, const struct kith_tparams *params,
                           uint64_t now_ns)
{
    bool failed = false;
    json_t *data;

    if (!kith__qlog_is_on(qlog))
        return;
    data = json_pack("{s:s, s:b, s:b}", "owner", is_local ? "local" : "remote", "disable_active_migration",
                     params->disable_active_migration, "grease_quic_bit", params->grease_quic_bit);
    set_numbers(data, params, &failed);
    if (params->has_original_destination_cid)
        kith__qlog_set(data, "original_destination_connection_id",
                       kith__qlog_hex(kith__cid_slice(&params->original_destination_cid)), &failed);
    if (params->has_initial_source_cid)
        kith__qlog_set(data, "initial_source_connection_id",
                       kith__qlog_hex(kith__cid_slice(&params->initial_source_cid)), &failed);
    if (params->has_retry_source_cid)
        kith__qlog_set(data, "retry_source_connection_id", kith__qlog_hex(kith__cid_slice(&params->retry_source_cid)),
                       &failed);
    emit_event(qlog, is_restored ? "transport:parameters_restored" : "transport:parameters_set", NULL, data, failed,
               now_ns);
}

void kith__qlog_tuple_assigned(struct kith_qlog *qlog, uint64_t path, const struct kith_sockaddr *local,
                               const struct kith_sockaddr *remote, uint64_t now_ns)
{
    if (!kith__qlog_is_on(qlog))
        return;
    emit_event(
        qlog, "connectivity:tuple_assigned", &path,
        json_pack("{s:o, s:o}", "tuple_local", kith__qlog_address(local), "tuple_remote", kith__qlog_address(remote)),
        false, now_ns);
}

static void emit_path_state(struct kith_qlog *qlog, uint64_t path, const char *state, json_t *data, uint64_t now_ns)
{
    bool failed = false;

    kith__qlog_set(data, "new", json_string(state), &failed);
    emit_event(qlog, "connectivity:path_state_updated", &path, data, failed, now_ns);
}

void kith__qlog_path_validated(struct kith_qlog *qlog, uint64_t path, uint64_t now_ns)
{
    if (kith__qlog_is_on(qlog))
        emit_path_state(qlog, path, "validated", json_object(), now_ns);
}

void kith__qlog_path_gone(struct kith_qlog *qlog, uint64_t path, uint64_t now_ns)
{
    if (kith__qlog_is_on(qlog))
        emit_path_state(qlog, path, "gone", json_object(), now_ns);
}

void kith__qlog_path_abandoned(struct kith_qlog *qlog, uint64_t path, enum kith_quic_path_cause cause, uint64_t code,
                               uint64_t now_ns)
{
    static const char *const causes[] = { [KITH_QUIC_CAUSE_USER] = "application",
                                          [KITH_QUIC_CAUSE_PEER] = "peer",
                                          [KITH_QUIC_CAUSE_UNANSWERED] = "unanswered",
                                          [KITH_QUIC_CAUSE_SILENT] = "silent",
                                          [KITH_QUIC_CAUSE_MUTE] = "mute" };
    bool failed = false;
    json_t *data;

    if (!kith__qlog_is_on(qlog))
        return;
    data = json_pack("{s:s, s:s}", "owner", cause == KITH_QUIC_CAUSE_PEER ? "remote" : "local", "trigger",
                     causes[cause]);
    kith__qlog_set_u64(data, "error_code", code, &failed);
    emit_path_state(qlog, path, "abandoned", failed ? NULL : data, now_ns);
}

/* ---- Address discovery, NAT traversal ---- */

void kith__qlog_observed(struct kith_qlog *qlog, uint64_t path, const struct kith_sockaddr *address, uint64_t now_ns)
{
    if (kith__qlog_is_on(qlog))
        emit_event(qlog, "kith:address_observed", &path, json_pack("{s:o}", "address", kith__qlog_address(address)),
                   false, now_ns);
}

void kith__qlog_candidate(struct kith_qlog *qlog, bool is_local, bool is_added, const struct kith_sockaddr *address,
                          uint64_t now_ns)
{
    if (kith__qlog_is_on(qlog))
        emit_event(
            qlog, is_added ? "kith:candidate_added" : "kith:candidate_removed", NULL,
            json_pack("{s:s, s:o}", "owner", is_local ? "local" : "remote", "address", kith__qlog_address(address)),
            false, now_ns);
}

void kith__qlog_round_started(struct kith_qlog *qlog, uint64_t round, uint64_t now_ns)
{
    bool failed = false;
    json_t *data;

    if (!kith__qlog_is_on(qlog))
        return;
    data = json_object();
    kith__qlog_set_u64(data, "round", round, &failed);
    emit_event(qlog, "kith:traversal_round_started", NULL, data, failed, now_ns);
}

/* ---- Packets ---- */

static const char *const packet_types[] = {
    [KITH_QLOG_INITIAL] = "initial",
    [KITH_QLOG_HANDSHAKE] = "handshake",
    [KITH_QLOG_ZERO_RTT] = "0RTT",
    [KITH_QLOG_ONE_RTT] = "1RTT",
    [KITH_QLOG_RETRY] = "retry",
    [KITH_QLOG_VERSION_NEGOTIATION] = "version_negotiation",
    [KITH_QLOG_STATELESS_RESET] = "stateless_reset",
    [KITH_QLOG_UNKNOWN] = "unknown",
};

static json_t *packet_header(enum kith_qlog_packet_type type, uint64_t packet_number)
{
    bool has_number = type <= KITH_QLOG_ONE_RTT, failed = false;
    json_t *header = json_pack("{s:s}", "packet_type", packet_types[type]);

    if (has_number)
        kith__qlog_set_u64(header, "packet_number", packet_number, &failed);
    return header;
}

void kith__qlog_packet_begin(struct kith_qlog *qlog, bool is_sent, enum kith_qlog_packet_type type, uint64_t path,
                             uint64_t packet_number, size_t size, uint64_t now_ns)
{
    if (!kith__qlog_is_on(qlog))
        return;
    kith__qlog_packet_cancel(qlog);
    qlog->packet = json_pack("{s:f, s:s, s:o, s:{s:o, s:{s:I}, s:[]}}", "time", (double)(now_ns - qlog->began_ns) / 1e6,
                             "name", is_sent ? "transport:packet_sent" : "transport:packet_received", "tuple_id",
                             json_sprintf("%llu", (unsigned long long)path), "data", "header",
                             packet_header(type, packet_number), "raw", "length", (json_int_t)size, "frames");
    if (qlog->packet == NULL)
        qlog->dropped++;
}

static json_t *packet_frames(const struct kith_qlog *qlog)
{
    return json_object_get(json_object_get(qlog->packet, "data"), "frames");
}

void kith__qlog_frame(struct kith_qlog *qlog, const struct kith_frame *frame)
{
    json_t *frames;

    if (qlog->packet == NULL)
        return;
    frames = packet_frames(qlog);
    if (json_array_size(frames) >= KITH_QLOG_FRAMES_MAX ||
        json_array_append_new(frames, kith__qlog_frame_json(frame)) != 0)
        qlog->frames_left_out++;
}

void kith__qlog_packet_end(struct kith_qlog *qlog)
{
    json_t *packet = qlog->packet;
    bool failed = false;

    if (packet == NULL)
        return;
    if (qlog->frames_left_out != 0)
        kith__qlog_set_u64(json_object_get(packet, "data"), "frames_left_out", qlog->frames_left_out, &failed);
    qlog->packet = NULL;
    qlog->frames_left_out = 0;
    emit(qlog, packet, failed);
}

void kith__qlog_packet_end_sized(struct kith_qlog *qlog, size_t size)
{
    bool failed = false;

    if (qlog->packet == NULL)
        return;
    kith__qlog_set_u64(json_object_get(json_object_get(qlog->packet, "data"), "raw"), "length", size, &failed);
    qlog->dropped += failed;
    kith__qlog_packet_end(qlog);
}

void kith__qlog_packet_cancel(struct kith_qlog *qlog)
{
    json_decref(qlog->packet);
    qlog->packet = NULL;
    qlog->frames_left_out = 0;
}

void kith__qlog_packet_lost(struct kith_qlog *qlog, enum kith_qlog_packet_type type, uint64_t path,
                            uint64_t packet_number, const char *trigger, uint64_t now_ns)
{
    if (!kith__qlog_is_on(qlog))
        return;
    emit_event(qlog, "recovery:packet_lost", &path,
               json_pack("{s:o, s:s}", "header", packet_header(type, packet_number), "trigger", trigger), false,
               now_ns);
}

void kith__qlog_packet_dropped(struct kith_qlog *qlog, const char *trigger, const char *reason,
                               enum kith_qlog_packet_type type, size_t size, uint64_t now_ns)
{
    if (!kith__qlog_is_on(qlog))
        return;
    emit_event(qlog, "transport:packet_dropped", NULL,
               json_pack("{s:{s:s}, s:{s:I}, s:{s:s}, s:s}", "header", "packet_type", packet_types[type], "raw",
                         "length", (json_int_t)size, "details", "reason", reason, "trigger", trigger),
               false, now_ns);
}

/* ---- Recovery ---- */

void kith__qlog_metrics(struct kith_qlog *qlog, const struct kith_qlog_metrics *metrics, uint64_t now_ns)
{
    const struct {
        const char *name;
        uint64_t value;
        bool is_time; /* milliseconds in qlog */
    } fields[] = {
        { "smoothed_rtt", metrics->smoothed_rtt_ns, true },
        { "min_rtt", metrics->min_rtt_ns, true },
        { "latest_rtt", metrics->latest_rtt_ns, true },
        { "rtt_variance", metrics->rtt_var_ns, true },
        { "pto_count", metrics->pto_count, false },
        { "congestion_window", metrics->congestion_window, false },
        { "bytes_in_flight", metrics->bytes_in_flight, false },
        { "ssthresh", metrics->slow_start_threshold, false },
        { "pacing_rate", metrics->pacing_rate != UINT64_MAX ? metrics->pacing_rate * 8 : UINT64_MAX,
          false }, /* bits/s */
    };
    bool failed = false;
    json_t *data;

    if (!kith__qlog_is_on(qlog))
        return;
    data = json_object();
    for (size_t i = 0; i < KITH_COUNT(fields); i++) {
        if (fields[i].value == UINT64_MAX)
            continue;
        if (fields[i].is_time)
            kith__qlog_set(data, fields[i].name, json_real((double)fields[i].value / 1e6), &failed);
        else
            kith__qlog_set_u64(data, fields[i].name, fields[i].value, &failed);
    }
    emit_event(qlog, "recovery:metrics_updated", &metrics->path, data, failed, now_ns);
}

static void emit_timer(struct kith_qlog *qlog, const char *event, const struct kith_qlog_timer *timer, bool has_delta,
                       uint64_t now_ns)
{
    static const char *const kinds[] = { [KITH_QLOG_TIMER_ACK] = "ack", [KITH_QLOG_TIMER_PTO] = "pto" };
    static const char *const spaces[] = { "initial", "handshake", "application_data" };
    uint64_t path = timer->path, delta_ns = timer->deadline_ns > now_ns ? timer->deadline_ns - now_ns : 0;
    bool failed = false;
    json_t *data = json_pack("{s:s, s:s, s:s}", "timer_type", kinds[timer->kind], "packet_number_space",
                             spaces[timer->space], "event_type", event);

    if (has_delta)
        kith__qlog_set(data, "delta", json_real((double)delta_ns / 1e6), &failed);
    emit_event(qlog, "recovery:loss_timer_updated", &path, data, failed, now_ns);
}

/** What was logged last of this path; else a slot that is not in use, else the first. */
static struct kith_qlog_timer *timer_slot(struct kith_qlog *qlog, uint32_t path)
{
    struct kith_qlog_timer *unused = &qlog->timers[0];

    for (size_t i = 0; i < KITH_QLOG_TIMERS_MAX; i++) {
        if (qlog->timers[i].kind == KITH_QLOG_TIMER_NONE)
            unused = &qlog->timers[i];
        else if (qlog->timers[i].path == path)
            return &qlog->timers[i];
    }
    unused->kind = KITH_QLOG_TIMER_NONE;
    return unused;
}

void kith__qlog_loss_timer(struct kith_qlog *qlog, const struct kith_qlog_timer *timer, uint64_t now_ns)
{
    struct kith_qlog_timer *last;

    if (!kith__qlog_is_on(qlog))
        return;
    last = timer_slot(qlog, timer->path);
    if (last->kind == timer->kind && (timer->kind == KITH_QLOG_TIMER_NONE ||
                                      (last->deadline_ns == timer->deadline_ns && last->space == timer->space)))
        return;
    if (timer->kind != KITH_QLOG_TIMER_NONE)
        emit_timer(qlog, "set", timer, true, now_ns);
    else
        emit_timer(qlog, "cancelled", last, false, now_ns);
    *last = *timer;
}

void kith__qlog_loss_timer_expired(struct kith_qlog *qlog, const struct kith_qlog_timer *timer, uint64_t now_ns)
{
    if (!kith__qlog_is_on(qlog))
        return;
    emit_timer(qlog, "expired", timer, false, now_ns);
    timer_slot(qlog, timer->path)->kind = KITH_QLOG_TIMER_NONE;
}
