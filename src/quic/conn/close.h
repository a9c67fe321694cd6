/**
 * How a connection ends: who said what, the close frame that is due, and the time until it is forgotten. A close is sent
 * at once, and again for packets that still come, but only for each power of two of them: two closing peers, or a flood,
 * cause no storm. The side that is closed answers once with an empty CONNECTION_CLOSE, as the reference does.
 * Source: RFC 9000, 10.2; spec/01, 1.15.
 */
#ifndef KITH_QUIC_CONN_CLOSE_H
#define KITH_QUIC_CONN_CLOSE_H

#include <kith/quic.h>

struct kith_quic_conn;

/* Three probe timeouts, but a peer whose answers took very long cannot keep an ended connection in memory for minutes. */
#define KITH_CLOSE_TIME_MAX_NS (60 * KITH_NS_PER_S)

/** By value in the connection. */
struct kith_conn_close {
    struct kith_quic_close_info info; /* reason points at `reason`; valid once the phase is not open */
    uint8_t *reason;                  /* owned; NULL if empty or without memory */
    uint64_t deadline_ns;             /* the end of closing or draining; KITH_NEVER before */
    uint32_t packets;                 /* received since the close */
    uint32_t next_answer;             /* the next answer is due when `packets` reaches this */
    bool due;                         /* a close frame is to be sent */
    bool is_echo;                     /* the frame is the empty answer to the peer's close */
};

/**
 * We end the connection: its user (KITH_ERR_CLOSED, is_application) or the engine. The reason is copied, cut to
 * KITH_QUIC_REASON_SIZE_MAX. No effect if the connection is ending already.
 */
void kith__conn_close_local(struct kith_quic_conn *conn, const struct kith_quic_close_info *info);
/**
 * The peer broke a rule, or we cannot go on: `code` goes out in a CONNECTION_CLOSE that names the frame type. `reason` is
 * static text. Returns KITH_ERR_CLOSED so that callers can leave with it.
 */
int kith__conn_fail(struct kith_quic_conn *conn, uint64_t code, uint64_t frame_type, const char *reason);
/** As kith__conn_fail for a result: a wire code > 0 as it is, KITH_ERR_NOMEM and others as INTERNAL_ERROR. */
int kith__conn_fail_with(struct kith_quic_conn *conn, int result, uint64_t frame_type, const char *reason);
/** The peer's close frame. */
void kith__conn_on_close_frame(struct kith_quic_conn *conn, bool is_application, uint64_t code, uint64_t frame_type,
                               struct kith_slice reason);
/** The connection ends without a word: IDLE (drained at once), LOST (stateless reset: drains), VERSION. */
void kith__conn_lost(struct kith_quic_conn *conn, int err);
/** A packet that still came after the close, authentic or not worth opening. */
void kith__conn_on_packet_after_close(struct kith_quic_conn *conn);
/** The closing or draining time is over. */
void kith__conn_on_close_deadline(struct kith_quic_conn *conn);

#endif
