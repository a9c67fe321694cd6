/* The handshake seen from the connection: transport parameters both ways, 0-RTT, Retry, Version Negotiation. */
#include "base/assert.h"
#include "base/mem.h"
#include "quic/conn/conn.h"
#include "quic/conn/fate.h"
#include "quic/host/host.h"
#include "quic/wire/retry.h"

#include <string.h>

enum { TICKETS_SENT = 2 }; /* as the reference does, spec/01, 2.6 */

/* ---- Our parameters ---- */

static void own_ids(const struct kith_quic_conn *conn, struct kith_tparams *out)
{
    const struct kith_cid *first = &conn->paths[0]->cids_ours.slots[0].cid;
    const struct kith_conn_early *early = conn->early;

    out->has_initial_source_cid = true;
    out->initial_source_cid = *first;
    if (conn->is_client)
        return;
    out->has_original_destination_cid = true;
    out->original_destination_cid = early->odcid;
    out->has_retry_source_cid = early->retry_scid.size != 0;
    out->retry_source_cid = early->retry_scid;
    out->has_stateless_reset_token = true;
    kith__host_reset_token(conn->host, first, out->stateless_reset_token);
}

void kith__conn_own_params(const struct kith_quic_conn *conn, struct kith_tparams *out)
{
    const struct kith_quic_transport *config = &conn->config;
    const struct kith_stream_limits *limits = &conn->streams.config.ours;

    kith__tparams_defaults(out);
    out->max_idle_timeout_ms = config->idle_timeout_ns / KITH_NS_PER_MS;
    out->max_udp_payload_size = KITH_QUIC_UDP_SIZE_MAX;
    out->initial_max_data = limits->data_max;
    out->initial_max_stream_data_bidi_local = limits->bidi_local_max;
    out->initial_max_stream_data_bidi_remote = limits->bidi_remote_max;
    out->initial_max_stream_data_uni = limits->uni_max;
    out->initial_max_streams_bidi = limits->streams_bidi_max;
    out->initial_max_streams_uni = limits->streams_uni_max;
    out->max_ack_delay_ms = config->max_ack_delay_ns / KITH_NS_PER_MS;
    out->active_connection_id_limit = KITH_CIDS_THEIRS_MAX;
    out->max_datagram_frame_size = config->datagram_receive_max != 0 ? 65535 : 0;
    out->has_min_ack_delay = config->min_ack_delay_ns != 0;
    out->min_ack_delay_us = config->min_ack_delay_ns / KITH_NS_PER_US;
    out->nat_traversal_addresses = config->paths_max != 0 ? config->nat_traversal_max : 0;
    out->observed_address = kith__conn_observed_role(conn);
    out->has_initial_max_path_id = config->paths_max != 0;
    out->initial_max_path_id = config->paths_max != 0 ? config->paths_max - 1u : 0;
    own_ids(conn, out);
}

size_t kith__conn_write_params(struct kith_quic_conn *conn, uint8_t out[KITH_TPARAMS_SIZE_MAX])
{
    struct kith_writer w = kith__writer(out, KITH_TPARAMS_SIZE_MAX);
    struct kith_tparams params;
    int err;

    kith__conn_own_params(conn, &params);
    err = kith__tparams_write(&w, &params, conn->config.grease ? &conn->host->random : NULL);
    KITH_ASSERT(err == 0);
    kith__qlog_parameters(&conn->qlog, true, false, &params, conn->now_ns);
    return kith__writer_size(&w);
}

/* ---- The peer's parameters ---- */

static struct kith_stream_limits limits_of(const struct kith_tparams *params)
{
    return (struct kith_stream_limits) { .data_max = params->initial_max_data,
                                         .bidi_local_max = params->initial_max_stream_data_bidi_local,
                                         .bidi_remote_max = params->initial_max_stream_data_bidi_remote,
                                         .uni_max = params->initial_max_stream_data_uni,
                                         .streams_bidi_max = params->initial_max_streams_bidi,
                                         .streams_uni_max = params->initial_max_streams_uni };
}

/** What counts both for remembered and for new parameters. */
static void apply_limits(struct kith_quic_conn *conn, const struct kith_tparams *params)
{
    struct kith_stream_limits limits = limits_of(params);

    kith__stream_set_on_peer_limits(&conn->streams, &limits);
    conn->peer_datagram_max = params->max_datagram_frame_size;
    conn->peer_limits_known = true;
}

static void apply_params(struct kith_quic_conn *conn, const struct kith_tparams *params)
{
    apply_limits(conn, params);
    conn->has_peer_params = true;
    conn->peer_idle_ns = KITH_MIN(params->max_idle_timeout_ms, UINT64_MAX / KITH_NS_PER_MS) * KITH_NS_PER_MS;
    conn->peer_delay_max_ns = params->max_ack_delay_ms * KITH_NS_PER_MS;
    conn->peer_delay_exponent = (uint8_t)params->ack_delay_exponent;
    conn->peer_has_ack_frequency = params->has_min_ack_delay;
    conn->peer_udp_max = params->max_udp_payload_size;
    kith__mtu_set_peer_max(&conn->paths[0]->now.mtu, params->max_udp_payload_size);
    conn->peer_cids_max = params->active_connection_id_limit;
    conn->are_cids_stale = true;
    if (params->has_stateless_reset_token)
        kith__cid_theirs_set_first_token(&conn->paths[0]->cids_theirs, params->stateless_reset_token);
    kith__qlog_parameters(&conn->qlog, false, false, params, conn->now_ns);
}

static int on_params(struct kith_quic_conn *conn, struct kith_slice bytes)
{
    struct kith_conn_early *early = conn->early;
    const char *reason = "";
    int code = kith__tparams_parse(bytes, !conn->is_client, &early->theirs, &reason);

    if (code == 0)
        code = kith__tparams_check_cids(
            &early->theirs, &early->first_remote_cid, conn->is_client ? &early->odcid : NULL,
            early->retry_scid.size != 0 && conn->is_client ? &early->retry_scid : NULL, &reason);
    if (code != 0)
        return kith__conn_fail(conn, (uint64_t)code, 0, reason);
    if (!conn->is_client) /* 0-RTT and 0.5-RTT need them; a client waits until it knows what became of 0-RTT */
        apply_params(conn, &early->theirs);
    return 0;
}

/* ---- 0-RTT at a client ---- */

static int on_early_keys(struct kith_quic_conn *conn)
{
    struct kith_conn_early *early = conn->early;
    const char *reason;
    struct kith_tparams params;

    if (early->is_early_offered)
        return 0;
    if (kith__tparams_parse(kith__tls_early_params(conn->handshake.tls, NULL), false, &params, &reason) != 0)
        return 0; /* a blob of another making: no 0-RTT, the handshake goes on */
    early->remembered = kith__tparams_remembered(&params);
    early->is_early_offered = true;
    apply_limits(conn, &early->remembered);
    kith__qlog_parameters(&conn->qlog, false, true, &early->remembered, conn->now_ns);
    kith__conn_note(conn, KITH_QUIC_EARLY_READY);
    return 0;
}

/** Everything that went out as 0-RTT counts as never sent. */
static void forget_early_packets(struct kith_quic_conn *conn)
{
    while (kith__path_take_dropped(conn->paths[0], &conn->paths[0]->sent) != NULL) {
    }
    kith__stream_set_on_early_rejected(&conn->streams);
}

static int settle_early(struct kith_quic_conn *conn, uint8_t early)
{
    const char *reason = "";
    int code;

    if (!conn->is_client || !conn->early->is_early_offered)
        return 0;
    kith__keys_dispose(&conn->early->zero_rtt);
    if (early != KITH_TLS_EARLY_ACCEPTED) {
        forget_early_packets(conn);
        return 0;
    }
    code = kith__tparams_check_remembered(&conn->early->remembered, &conn->early->theirs, &reason);
    return code != 0 ? kith__conn_fail(conn, (uint64_t)code, 0, reason) : 0;
}

/* ---- What the handshake puts out ---- */

static int on_secret(struct kith_quic_conn *conn, const struct kith_tls_output *out)
{
    struct kith_keys *keys = &conn->keys;
    int err;

    if (out->level == KITH_TLS_EARLY)
        keys = &conn->early->zero_rtt;
    else if (out->level == KITH_TLS_HANDSHAKE)
        keys = &conn->early->spaces[KITH_SPACE_HANDSHAKE].keys;
    err = kith__keys_install(keys, &conn->mem.mem, (enum kith_cipher)out->cipher, out->is_write,
                             out->level == KITH_TLS_APPLICATION, out->bytes.ptr);
    if (err != 0)
        return kith__conn_fail_with(conn, err, 0, "packet keys");
    return out->level == KITH_TLS_EARLY && conn->is_client ? on_early_keys(conn) : 0;
}

static int finish_server(struct kith_quic_conn *conn)
{
    int err = kith__tls_send_tickets(conn->handshake.tls, TICKETS_SENT);

    if (err == KITH_ERR_NOMEM)
        return kith__conn_fail_with(conn, err, 0, "session tickets");
    /* Other errors only mean that there are no tickets. */
    conn->done_due = true;
    conn->token_due = true;
    return 0;
}

/** Both sides know of it: from now on frames name path ids, and each path has its own idle time. */
static int start_multipath(struct kith_quic_conn *conn)
{
    const struct kith_tparams *theirs = &conn->early->theirs;

    if (conn->config.paths_max == 0 || !theirs->has_initial_max_path_id)
        return 0;
    if (kith__cid_theirs_active(&conn->paths[0]->cids_theirs)->size == 0)
        return kith__conn_fail(conn, KITH_WIRE_PROTOCOL_VIOLATION, 0, "multipath must not use zero-length CIDs");
    kith__multipath_start(&conn->mp, theirs->initial_max_path_id);
    kith__multipath_announce(&conn->mp, 0);
    conn->paths[0]->options.idle_timeout_ns = conn->config.path_idle_timeout_ns;
    conn->paths[0]->was_told_proved = true;
    conn->has_path_frames = true;
    conn->are_cids_stale = true;
    return 0;
}

static int on_done(struct kith_quic_conn *conn, const struct kith_tls_output *out)
{
    int err;

    conn->remote_id = out->peer;
    conn->is_proven = true;
    conn->stats.is_resumed = out->resumed;
    conn->events.early_accepted = out->early == KITH_TLS_EARLY_ACCEPTED;
    if ((err = settle_early(conn, out->early)) != 0)
        return err;
    if (conn->is_client)
        apply_params(conn, &conn->early->theirs);
    if ((err = start_multipath(conn)) != 0)
        return err;
    kith__conn_start_traversal(conn, &conn->early->theirs);
    conn->early->is_peer_waiting = false;
    kith__path_on_proved(conn->paths[0], conn->now_ns);
    kith__phase_enter(&conn->phase, KITH_PHASE_ESTABLISHED);
    kith__conn_note(conn, KITH_QUIC_CONNECTED);
    kith__conn_note_path(conn, conn->paths[0]);
    return conn->is_client ? 0 : finish_server(conn);
}

static int on_failed(struct kith_quic_conn *conn, const struct kith_tls_output *out)
{
    const char *text = out->text != NULL ? out->text : "";
    struct kith_quic_close_info info = { .err = out->wrong_peer ? KITH_ERR_WRONG_PEER
                                                : out->no_alpn  ? KITH_ERR_ALPN
                                                                : KITH_ERR_TLS,
                                         .code = out->code,
                                         .reason = { (const uint8_t *)text, strlen(text) } };

    kith__conn_close_local(conn, &info);
    return KITH_ERR_CLOSED;
}

static void on_session(struct kith_quic_conn *conn, struct kith_slice bytes)
{
    conn->session.size = 0;
    if (bytes.size <= KITH_QUIC_SESSION_SIZE_MAX && kith__buf_append(&conn->session, bytes.ptr, bytes.size) == 0)
        kith__conn_note(conn, KITH_QUIC_SESSION);
    else
        kith__host_drop(conn->host, KITH_DROP_no_memory);
    conn->tickets++;
}

static void on_key_log(struct kith_quic_conn *conn, struct kith_slice bytes)
{
    char line[512];

    if (conn->host->key_log == NULL || bytes.size >= sizeof line)
        return;
    memcpy(line, bytes.ptr, bytes.size);
    line[bytes.size] = '\0';
    conn->host->key_log(conn->host->sink_ctx, line);
}

static int on_output(struct kith_quic_conn *conn, const struct kith_tls_output *out)
{
    switch ((enum kith_tls_output_kind)out->kind) {
    case KITH_TLS_SECRET:
        return on_secret(conn, out);
    case KITH_TLS_PARAMS:
        return on_params(conn, out->bytes);
    case KITH_TLS_ALPN:
        conn->alpn.size = 0;
        return kith__buf_append(&conn->alpn, out->bytes.ptr, out->bytes.size) == 0
                   ? 0
                   : kith__conn_fail_with(conn, KITH_ERR_NOMEM, 0, "ALPN");
    case KITH_TLS_DONE:
        return on_done(conn, out);
    case KITH_TLS_SESSION:
        on_session(conn, out->bytes);
        return 0;
    case KITH_TLS_KEY_LOG:
        on_key_log(conn, out->bytes);
        return 0;
    case KITH_TLS_RETRY:
    case KITH_TLS_FAILED:
        return on_failed(conn, out);
    case KITH_TLS_CRYPTO:
        break;
    }
    return 0;
}

int kith__conn_run_handshake(struct kith_quic_conn *conn)
{
    struct kith_tls_output out;
    int err;

    while ((err = kith__handshake_next(&conn->handshake, &out)) == 0) {
        if (kith__phase_is_open(conn->phase))
            (void)on_output(conn, &out); /* a failure closes; what is left in the queue goes unused */
    }
    if (err != KITH_ERR_AGAIN)
        return kith__conn_fail_with(conn, err, KITH_FRAME_CRYPTO, "handshake");
    if (!kith__phase_is_open(conn->phase))
        return KITH_ERR_CLOSED;
    if (conn->phase == KITH_PHASE_ESTABLISHED && !conn->is_client) {
        kith__tls_shed(conn->handshake.tls);
        kith__conn_on_confirmed(conn);
    }
    if (conn->is_client && conn->tickets >= TICKETS_SENT)
        kith__tls_shed(conn->handshake.tls);
    return 0;
}

/* ---- Retry and Version Negotiation ---- */

static bool retry_is_usable(const struct kith_quic_conn *conn, const struct kith_packet *packet, const uint8_t *bytes)
{
    const struct kith_conn_early *early = conn->early;

    return early != NULL && !early->has_remote_cid && early->retry_scid.size == 0 &&
           packet->token.size <= KITH_CONN_TOKEN_SIZE_MAX && packet->scid.size != 0 &&
           !kith__cid_is(&early->odcid, packet->scid) &&
           kith__retry_check(&conn->mem.mem, &early->odcid, bytes, packet->size) == 0;
}

void kith__conn_on_retry(struct kith_quic_conn *conn, const struct kith_packet *packet, const uint8_t *bytes,
                         const struct kith_tuple *from)
{
    struct kith_conn_early *early = conn->early;
    struct kith_conn_space *space;
    int err;

    if (!retry_is_usable(conn, packet, bytes)) {
        kith__host_drop(conn->host, KITH_DROP_bad_retry);
        return;
    }
    space = &early->spaces[KITH_SPACE_INITIAL];
    /* The token is good for the address that we have on this way: copies on others would come with the wrong one. */
    conn->paths[0]->tuple.remote = from->remote;
    early->remote_count = 0;
    early->copy_size = 0;
    early->retry_scid = kith__cid(packet->scid.ptr, packet->scid.size);
    early->token.size = 0;
    conn->paths[0]->loss.pto_count = 0; /* a new start (RFC 9002, 6.3), and the server is there */
    kith__cid_theirs_set_first(&conn->paths[0]->cids_theirs, &early->retry_scid);
    while (kith__path_take_dropped(conn->paths[0], &space->sent) != NULL) {
    }
    while (kith__path_take_dropped(conn->paths[0], &conn->paths[0]->sent) != NULL) {
    }
    if ((err = kith__buf_append(&early->token, packet->token.ptr, packet->token.size)) != 0 ||
        (err = kith__keys_install_initial(&space->keys, &conn->mem.mem, packet->scid, true)) != 0 ||
        (err = kith__handshake_resend(&conn->handshake, KITH_TLS_INITIAL)) != 0)
        (void)kith__conn_fail_with(conn, err, 0, "Retry");
    if (early->is_early_offered) {
        kith__stream_set_on_early_rejected(&conn->streams); /* the same bytes go out again with new packet numbers */
        apply_limits(conn, &early->remembered);
    }
}

void kith__conn_on_version_negotiation(struct kith_quic_conn *conn, const struct kith_packet *packet)
{
    const struct kith_conn_early *early = conn->early;

    if (early == NULL || early->has_remote_cid || early->retry_scid.size != 0 ||
        !kith__cid_is(&early->odcid, packet->scid) ||
        kith__version_negotiation_has(packet->versions, KITH_QUIC_VERSION_1)) {
        kith__host_drop(conn->host, KITH_DROP_bad_version_negotiation);
        return;
    }
    kith__conn_lost(conn, KITH_ERR_VERSION);
}
