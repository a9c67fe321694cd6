/**
 * One stream: the state machines of both halves, its bytes, its flow control, what it wants to send and to report. Knows
 * nothing of other streams; the set (stream_set.h) does the sums over all of them and puts streams into its lists.
 * Source: RFC 9000, 2 to 4.
 */
#ifndef KITH_QUIC_STREAM_STREAM_H
#define KITH_QUIC_STREAM_STREAM_H

#include "base/list.h"
#include "quic/stream/credit.h"
#include "quic/stream/inbuf.h"
#include "quic/stream/outbuf.h"
#include "quic/stream/stream_order.h"

/** Sending half: RFC 9000, 3.1. */
enum kith_send_state {
    KITH_SEND_NONE,           /* the stream has no sending half */
    KITH_SEND_OPEN,           /* Ready or Send: the user may write */
    KITH_SEND_DATA_SENT,      /* all bytes and the end were sent once */
    KITH_SEND_DATA_RECEIVED,  /* ... and acknowledged */
    KITH_SEND_RESET_SENT,     /* a reset is due or on its way */
    KITH_SEND_RESET_RECEIVED, /* the reset was acknowledged */
    KITH_SEND_STATE_COUNT
};

/** Receiving half: RFC 9000, 3.2. */
enum kith_receive_state {
    KITH_RECEIVE_NONE,       /* the stream has no receiving half */
    KITH_RECEIVE_OPEN,       /* Recv: the end is not known yet */
    KITH_RECEIVE_SIZE_KNOWN, /* the end is known, bytes are missing */
    KITH_RECEIVE_COMPLETE,   /* Data Recvd: everything is here, the user has not read it all */
    KITH_RECEIVE_READ,       /* Data Read: the user has read it all, or did not want it */
    KITH_RECEIVE_RESET,      /* Reset Recvd: the user was not told yet */
    KITH_RECEIVE_RESET_READ, /* Reset Read: the user knows */
    KITH_RECEIVE_STATE_COUNT
};

/** Control frames that are due (bits). */
enum kith_stream_intent {
    KITH_INTENT_RESET = 1,
    KITH_INTENT_STOP = 2,
    KITH_INTENT_MAX_DATA = 4,
    KITH_INTENT_BLOCKED = 8,
};

/** What the user is to be told (bits). */
enum kith_stream_flag {
    KITH_STREAM_FLAG_OPENED = 1,
    KITH_STREAM_FLAG_READABLE = 2,
    KITH_STREAM_FLAG_WRITABLE = 4,
    KITH_STREAM_FLAG_SENT = 8,
    KITH_STREAM_FLAG_STOPPED = 16,
};

struct kith_stream {
    uint64_t id;
    void *user; /* the user's; never looked at */
    struct kith_outbuf out;
    struct kith_inbuf in;
    struct kith_limit send_limit;      /* bytes the peer takes on this stream; used = out.sent */
    struct kith_credit receive_credit; /* bytes we take on this stream */
    uint64_t given;           /* received bytes that count as given back to the connection: read or thrown away */
    uint64_t reset_code;      /* ours; valid once RESET_SENT */
    uint64_t stop_code;       /* ours; valid if stop_sent */
    uint64_t peer_reset_code; /* valid once RECEIVE_RESET */
    uint64_t peer_stop_code;  /* valid if stopped */
    uint8_t send_state;       /* enum kith_send_state */
    uint8_t receive_state;    /* enum kith_receive_state */
    uint8_t intents;          /* enum kith_stream_intent */
    uint8_t flags;            /* enum kith_stream_flag: to report */
    bool stop_sent;           /* the user does not want the rest: what comes is thrown away */
    bool stopped;             /* the peer sent STOP_SENDING */
    bool readable_armed;      /* the user found nothing to read: the next bytes are news */
    bool writable_armed;      /* the user's write was cut short: room is news */
    bool released;            /* the user is done with the stream: report nothing more */
    bool credited;            /* its place was given back (MAX_STREAMS) or did not need to be */
    struct kith_list all;     /* these four: the set's */
    struct kith_list intent_node;
    struct kith_list event_node;
    struct kith_list waiting_node; /* waits for send buffer space, or (parked) for connection credit */
    struct kith_list parked_node;
    struct kith_stream_order_node order;
};

static inline bool kith__stream_id_is_bidi(uint64_t id)
{
    return (id & 2) == 0;
}
static inline bool kith__stream_id_is_server(uint64_t id)
{
    return (id & 1) != 0;
}

/** What a stream is made with. */
struct kith_stream_config {
    const struct kith_mem *mem;
    uint64_t id;
    bool has_send, has_receive;
    uint64_t send_max;           /* the peer's limit for our bytes */
    uint64_t receive_window;     /* our limit for the peer's bytes */
    uint64_t receive_window_max; /* see struct kith_credit */
};

void kith__stream_init(struct kith_stream *stream, const struct kith_stream_config *config);
void kith__stream_dispose(struct kith_stream *stream);

/** True when both halves are over: nothing more comes, goes, or is to be read. */
bool kith__stream_is_over(const struct kith_stream *stream);
/**
 * Shows the next piece to send, given how many new bytes the connection's credit allows; false if nothing may go now.
 * See kith__outbuf_peek.
 */
bool kith__stream_next_chunk(const struct kith_stream *stream, uint64_t conn_left, struct kith_outbuf_chunk *chunk);
/** Notes that the first `size` bytes of it go out now. Returns true if the end went along. */
bool kith__stream_take_chunk(struct kith_stream *stream, const struct kith_outbuf_chunk *chunk, size_t size);
/** True if it has new bytes that its own limit allows. */
bool kith__stream_wants_credit(const struct kith_stream *stream);
/** Everything that was sent counts as never sent (rejected 0-RTT); the peer's limit is forgotten. */
void kith__stream_rewind(struct kith_stream *stream);

/* ---- The user's verbs. Each may set intents and flags. Wire effects: RFC 9000, 3. ---- */

/** KITH_ERR_STATE (finished, reset, or no sending half), STOPPED, NOMEM. All `size` bytes are taken. */
KITH_MUST_USE int kith__stream_write(struct kith_stream *stream, const void *bytes, size_t size);
/** KITH_ERR_STATE, STOPPED. */
KITH_MUST_USE int kith__stream_finish(struct kith_stream *stream);
/** Abandons the sending half. KITH_ERR_STATE if there is none, or it was reset before, or everything was acknowledged. */
KITH_MUST_USE int kith__stream_reset(struct kith_stream *stream, uint64_t code);
/** Does not want the rest. KITH_ERR_STATE if there is no receiving half, or it was stopped before. After the end: fine, nothing is sent. */
KITH_MUST_USE int kith__stream_stop(struct kith_stream *stream, uint64_t code);
/**
 * Ordered and unordered read, see kith/quic.h. They answer KITH_ERR_STATE (no receiving half, stopped by us, wrong
 * order), AGAIN (and arm the READABLE flag), END and RESET (the half is over then), RESET with *code.
 */
KITH_MUST_USE int kith__stream_peek(struct kith_stream *stream, struct kith_slice *out, uint64_t *code);
KITH_MUST_USE int kith__stream_read_chunk(struct kith_stream *stream, uint8_t *out, size_t capacity, uint64_t *offset,
                                          size_t *size, uint64_t *code);
/** Drops `size` bytes that peek showed. */
void kith__stream_consume(struct kith_stream *stream, size_t size);
/** `size` bytes were read: the stream's own credit, see kith__credit_give_back. Called after consume and read_chunk. */
void kith__stream_on_read(struct kith_stream *stream, struct kith_credit_pool *pool, uint64_t size, uint64_t now_ns,
                          uint64_t rtt_ns);
/** True if the stream will never hold received bytes (any more). */
bool kith__stream_holds_nothing(const struct kith_stream *stream);

/* ---- Frames. Return 0, a wire code > 0, or KITH_ERR_NOMEM. ---- */

/**
 * STREAM. `conn_left`: how many bytes past the present highest offset the connection's credit allows. *grown: by how much
 * the highest offset grew (counts for the connection). Wire codes: FLOW_CONTROL_ERROR, FINAL_SIZE_ERROR, INTERNAL_ERROR.
 */
KITH_MUST_USE int kith__stream_on_data(struct kith_stream *stream, uint64_t offset, const uint8_t *bytes, size_t size,
                                       bool fin, uint64_t conn_left, uint64_t *grown);
/** RESET_STREAM; as above. FLOW_CONTROL_ERROR, FINAL_SIZE_ERROR. */
KITH_MUST_USE int kith__stream_on_reset(struct kith_stream *stream, uint64_t code, uint64_t final_size,
                                        uint64_t conn_left, uint64_t *grown);
/** STOP_SENDING: resets the sending half with the peer's code (RFC 9000, 3.5). After the end it has no effect. */
void kith__stream_on_stop(struct kith_stream *stream, uint64_t code);
/** MAX_STREAM_DATA. */
void kith__stream_on_max_data(struct kith_stream *stream, uint64_t max);
/** New bytes were taken out to be sent: a write that was cut short has room again once no more than `low` are unsent. */
void kith__stream_on_unsent(struct kith_stream *stream, uint64_t low);

/* ---- What became of our frames. ---- */

/** A STREAM frame was acknowledged; *freed as for kith__outbuf_on_acked. KITH_ERR_NOMEM. */
KITH_MUST_USE int kith__stream_on_data_acked(struct kith_stream *stream, uint64_t offset, uint64_t size, bool fin,
                                             uint64_t *freed);
KITH_MUST_USE int kith__stream_on_data_lost(struct kith_stream *stream, uint64_t offset, uint64_t size, bool fin);
void kith__stream_on_reset_acked(struct kith_stream *stream);
void kith__stream_on_reset_lost(struct kith_stream *stream);
void kith__stream_on_stop_lost(struct kith_stream *stream);
void kith__stream_on_max_data_lost(struct kith_stream *stream, uint64_t max);
void kith__stream_on_blocked_lost(struct kith_stream *stream, uint64_t max);

/** Received bytes that should be given back to the connection and were not yet; marks them as given. */
uint64_t kith__stream_take_given(struct kith_stream *stream);

#endif
