/**
 * qlog of one connection: each event becomes one JSON-SEQ record (0x1e, one JSON object, line feed) that is handed to the
 * sink. Off unless asked for, so clarity goes before speed; when it is off, qlog->sink is NULL and every verb returns at
 * once. Records are bounded: a packet shows at most KITH_QLOG_FRAMES_MAX frames, then one that counts the rest. Memory comes
 * from the JSON library's own allocator; a record for which there is none is counted as dropped.
 * Owner: the connection, by value. Source: spec/01, 8; RFC 7464; the qlog main schema and QUIC events drafts (version 0.3 names).
 */
#ifndef KITH_QUIC_QLOG_QLOG_H
#define KITH_QUIC_QLOG_QLOG_H

#include <kith/quic.h>

struct kith_frame;   /* quic/wire/frame.h */
struct kith_tparams; /* quic/wire/tparams.h */

enum {
    KITH_QLOG_FRAMES_MAX = 256,
    KITH_QLOG_TIMERS_MAX = 8 /* paths whose loss timer is remembered, to log its changes only */
};

enum kith_qlog_timer_kind { KITH_QLOG_TIMER_NONE, KITH_QLOG_TIMER_ACK, KITH_QLOG_TIMER_PTO };

/** The loss timer of a path: for what it waits (a loss by time: ACK, or a probe: PTO), in which space, and until when. */
struct kith_qlog_timer {
    uint64_t deadline_ns;
    uint32_t path;
    uint8_t kind;  /* enum kith_qlog_timer_kind; NONE: not set */
    uint8_t space; /* 0 Initial, 1 Handshake, 2 application data */
};

struct kith_qlog {
    void (*sink)(void *ctx, uint64_t conn_serial, const char *json_record); /* NULL: off */
    void *sink_ctx;
    uint64_t conn_serial;
    uint64_t began_ns; /* times in records are relative to this */
    void *packet;      /* the packet event that is being built (a JSON object), or NULL */
    uint32_t frames_left_out;
    uint64_t dropped;                                    /* records lost for want of memory */
    struct kith_qlog_timer timers[KITH_QLOG_TIMERS_MAX]; /* as they were logged last */
};

enum kith_qlog_packet_type {
    KITH_QLOG_INITIAL,
    KITH_QLOG_HANDSHAKE,
    KITH_QLOG_ZERO_RTT,
    KITH_QLOG_ONE_RTT,
    KITH_QLOG_RETRY,
    KITH_QLOG_VERSION_NEGOTIATION,
    KITH_QLOG_STATELESS_RESET,
    KITH_QLOG_UNKNOWN
};

/** Path metrics; UINT64_MAX: not known. */
struct kith_qlog_metrics {
    uint64_t path;
    uint64_t congestion_window, bytes_in_flight, slow_start_threshold;
    uint64_t smoothed_rtt_ns, min_rtt_ns, latest_rtt_ns, rtt_var_ns;
    uint64_t pto_count, pacing_rate; /* bytes per second */
};

/**
 * Starts the log and writes its header record (schema, vantage point, original destination id). sink NULL: stays off.
 */
void kith__qlog_init(struct kith_qlog *qlog, void (*sink)(void *ctx, uint64_t conn_serial, const char *json_record),
                     void *sink_ctx, uint64_t conn_serial, bool is_client, struct kith_slice odcid, uint64_t now_ns);
/** Drops a packet that was begun and not ended. Fine for a zeroed object. */
void kith__qlog_dispose(struct kith_qlog *qlog);
static inline bool kith__qlog_is_on(const struct kith_qlog *qlog)
{
    return qlog->sink != NULL;
}

void kith__qlog_connection_started(struct kith_qlog *qlog, const struct kith_sockaddr *local,
                                   const struct kith_sockaddr *remote, struct kith_slice local_cid,
                                   struct kith_slice remote_cid, uint64_t now_ns);
/** code and reason as in the close frame; reason is untrusted text. */
void kith__qlog_connection_closed(struct kith_qlog *qlog, bool by_peer, bool is_application, uint64_t code,
                                  struct kith_slice reason, uint64_t now_ns);
/** parameters_set, or parameters_restored for those remembered for 0-RTT. */
void kith__qlog_parameters(struct kith_qlog *qlog, bool is_local, bool is_restored, const struct kith_tparams *params,
                           uint64_t now_ns);
/** A path has (another) 4-tuple. */
void kith__qlog_tuple_assigned(struct kith_qlog *qlog, uint64_t path, const struct kith_sockaddr *local,
                               const struct kith_sockaddr *remote, uint64_t now_ns);

/** path_state_updated: the path was validated, or drained (nothing is kept of it). */
void kith__qlog_path_validated(struct kith_qlog *qlog, uint64_t path, uint64_t now_ns);
void kith__qlog_path_gone(struct kith_qlog *qlog, uint64_t path, uint64_t now_ns);
/** path_state_updated: one side gave the path up; code as in PATH_ABANDON. */
void kith__qlog_path_abandoned(struct kith_qlog *qlog, uint64_t path, enum kith_quic_path_cause cause, uint64_t code,
                               uint64_t now_ns);
/* Events of ours ("kith:..."): the schema has none for address discovery and NAT traversal. */
/** The peer told where it sees us on the path. */
void kith__qlog_observed(struct kith_qlog *qlog, uint64_t path, const struct kith_sockaddr *address, uint64_t now_ns);
/** An address where a side may be reached was added or taken back: ours, or the server's at a client. */
void kith__qlog_candidate(struct kith_qlog *qlog, bool is_local, bool is_added, const struct kith_sockaddr *address,
                          uint64_t now_ns);
/** Client: a round of probes begins. */
void kith__qlog_round_started(struct kith_qlog *qlog, uint64_t round, uint64_t now_ns);

/** Begins packet_sent or packet_received; then one call for each frame; then end. One packet at a time. size 0: see below. */
void kith__qlog_packet_begin(struct kith_qlog *qlog, bool is_sent, enum kith_qlog_packet_type type, uint64_t path,
                             uint64_t packet_number, size_t size, uint64_t now_ns);
/** A frame of the packet that was begun; nothing happens if none was. */
void kith__qlog_frame(struct kith_qlog *qlog, const struct kith_frame *frame);
/** Hands the record over; nothing happens if no packet was begun. */
void kith__qlog_packet_end(struct kith_qlog *qlog);
/** The same, with the size that the packet has now that it was padded. */
void kith__qlog_packet_end_sized(struct kith_qlog *qlog, size_t size);
/** The packet that was begun is not sent or not accepted after all. */
void kith__qlog_packet_cancel(struct kith_qlog *qlog);
/** trigger: "reordering_threshold", "time_threshold", "pto_expired". */
void kith__qlog_packet_lost(struct kith_qlog *qlog, enum kith_qlog_packet_type type, uint64_t path,
                            uint64_t packet_number, const char *trigger, uint64_t now_ns);
/** packet_dropped: trigger is one of the schema's words; reason: ours, a name of KITH_QUIC_DROPS. */
void kith__qlog_packet_dropped(struct kith_qlog *qlog, const char *trigger, const char *reason,
                               enum kith_qlog_packet_type type, size_t size, uint64_t now_ns);
void kith__qlog_metrics(struct kith_qlog *qlog, const struct kith_qlog_metrics *metrics, uint64_t now_ns);
/** loss_timer_updated, set or cancelled, if the path's timer is another one than the last that was logged. */
void kith__qlog_loss_timer(struct kith_qlog *qlog, const struct kith_qlog_timer *timer, uint64_t now_ns);
/** loss_timer_updated, expired: the timer is not set any more. */
void kith__qlog_loss_timer_expired(struct kith_qlog *qlog, const struct kith_qlog_timer *timer, uint64_t now_ns);

#endif
