/* How a connection ends: see close.h. */
#include "quic/conn/close.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "quic/conn/conn.h"
#include "quic/conn/events.h"
#include "quic/host/host.h"
#include "quic/wire/codes.h"

/** What a CONNECTION_CLOSE from the peer means to the user. */
static int err_of_peer_code(uint64_t code, bool is_established)
{
    if (code == KITH_WIRE_NO_ERROR || code == KITH_WIRE_APPLICATION_ERROR)
        return KITH_ERR_CLOSED_BY_PEER;
    if (code == KITH_WIRE_CONNECTION_REFUSED)
        return is_established ? KITH_ERR_CLOSED_BY_PEER : KITH_ERR_REFUSED;
    if (code == KITH_WIRE_CRYPTO_ERROR + 120)
        return KITH_ERR_ALPN;
    if (code >= KITH_WIRE_CRYPTO_ERROR && code < KITH_WIRE_CRYPTO_ERROR + 256)
        return KITH_ERR_TLS;
    return KITH_ERR_TRANSPORT;
}

/** Notes the end. Without memory for the reason it is left out: closing must not fail. */
static void record(struct kith_quic_conn *conn, const struct kith_quic_close_info *info)
{
    struct kith_conn_close *close = &conn->close;
    size_t size = KITH_MIN(info->reason.size, (size_t)KITH_QUIC_REASON_SIZE_MAX);

    close->info = *info;
    close->info.reason = (struct kith_slice) { 0 };
    if (size != 0 && (close->reason = kith__alloc(&conn->mem.mem, size)) != NULL) {
        memcpy(close->reason, info->reason.ptr, size);
        close->info.reason = (struct kith_slice) { close->reason, size };
    }
    close->deadline_ns = conn->now_ns + KITH_MIN(3 * kith__conn_pto_max(conn), KITH_CLOSE_TIME_MAX_NS);
    close->next_answer = 1;
    kith__conn_note(conn, KITH_QUIC_CLOSED);
    kith__qlog_connection_closed(&conn->qlog, info->by_peer, info->is_application, info->code, close->info.reason,
                                 conn->now_ns);
    kith__log(conn->host->log, KITH_LOG_DEBUG, "quic", "conn %llu: ends with %s, code 0x%llx, frame 0x%llx, %.*s",
              (unsigned long long)conn->serial, kith_err_name(info->err), (unsigned long long)info->code,
              (unsigned long long)info->frame_type, (int)size, size != 0 ? (const char *)info->reason.ptr : "");
}

void kith__conn_close_local(struct kith_quic_conn *conn, const struct kith_quic_close_info *info)
{
    if (!kith__phase_is_open(conn->phase))
        return;
    record(conn, info);
    conn->close.due = true;
    kith__phase_enter(&conn->phase, KITH_PHASE_CLOSING);
}

int kith__conn_fail(struct kith_quic_conn *conn, uint64_t code, uint64_t frame_type, const char *reason)
{
    struct kith_quic_close_info info = { .err = KITH_ERR_TRANSPORT,
                                         .code = code,
                                         .frame_type = frame_type,
                                         .reason = { (const uint8_t *)reason, strlen(reason) } };

    if (code == KITH_WIRE_INTERNAL_ERROR)
        info.err = KITH_ERR_INTERNAL;
    kith__conn_close_local(conn, &info);
    return KITH_ERR_CLOSED;
}

int kith__conn_fail_with(struct kith_quic_conn *conn, int result, uint64_t frame_type, const char *reason)
{
    struct kith_quic_close_info info = { .err = result,
                                         .code = KITH_WIRE_INTERNAL_ERROR,
                                         .frame_type = frame_type,
                                         .reason = { (const uint8_t *)reason, strlen(reason) } };

    if (result > 0)
        return kith__conn_fail(conn, (uint64_t)result, frame_type, reason);
    kith__conn_close_local(conn, &info);
    return KITH_ERR_CLOSED;
}

static bool has_initial_keys_only(const struct kith_quic_conn *conn)
{
    return conn->early != NULL && !kith__keys_can_write(&conn->early->spaces[KITH_SPACE_HANDSHAKE].keys) &&
           !kith__keys_can_write(&conn->keys);
}

void kith__conn_on_close_frame(struct kith_quic_conn *conn, bool is_application, uint64_t code, uint64_t frame_type,
                               struct kith_slice reason)
{
    struct kith_quic_close_info info = {
        .by_peer = true, .is_application = is_application, .code = code, .frame_type = frame_type, .reason = reason
    };

    if (kith__phase_is_open(conn->phase)) {
        info.err = is_application ? KITH_ERR_CLOSED_BY_PEER
                                  : err_of_peer_code(code, kith__phase_is_established(conn->phase));
        record(conn, &info);
        /*
         * No echo in an Initial: a server that refused keeps no state, and would take a client's Initial, with the
         * token of a Retry in it, for another attempt. RFC 9000, 10.2.2 leaves the echo to us.
         */
        conn->close.due = !has_initial_keys_only(conn);
        conn->close.is_echo = true;
        kith__phase_enter(&conn->phase, KITH_PHASE_DRAINING);
    } else if (conn->phase == KITH_PHASE_CLOSING) {
        /* The peer knows: our own close goes out once if it did not yet, and then nothing more. */
        kith__phase_enter(&conn->phase, KITH_PHASE_DRAINING);
    }
}

void kith__conn_lost(struct kith_quic_conn *conn, int err)
{
    struct kith_quic_close_info info = { .err = err, .by_peer = err == KITH_ERR_LOST };

    if (kith__phase_is_open(conn->phase))
        record(conn, &info);
    conn->close.due = false;
    if (err == KITH_ERR_LOST && conn->phase < KITH_PHASE_DRAINING)
        kith__phase_enter(&conn->phase, KITH_PHASE_DRAINING);
    else if (err != KITH_ERR_LOST && conn->phase < KITH_PHASE_DRAINED)
        kith__conn_on_close_deadline(conn);
}

void kith__conn_on_packet_after_close(struct kith_quic_conn *conn)
{
    struct kith_conn_close *close = &conn->close;

    if (conn->phase != KITH_PHASE_CLOSING || ++close->packets < close->next_answer)
        return;
    close->due = true;
    close->next_answer = close->next_answer < UINT32_MAX / 2 ? close->next_answer * 2 : UINT32_MAX;
}

void kith__conn_on_close_deadline(struct kith_quic_conn *conn)
{
    kith__phase_enter(&conn->phase, KITH_PHASE_DRAINED);
    conn->close.deadline_ns = KITH_NEVER;
    conn->close.due = false;
    kith__conn_unregister(conn);
    kith__conn_note(conn, KITH_QUIC_DRAINED);
}
