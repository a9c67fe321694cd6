/**
 * All streams of a connection: opening (ours, the peer's, implied ones), the limits of both sides, connection-level flow
 * control, the send buffer, whose turn it is to send, and what the user is to be told. Everything is by stream id: what is
 * gone answers KITH_ERR_NOT_FOUND to the user, and is ignored (and counted) when the peer still talks about it.
 *
 * A stream is freed when both halves are over and its events were taken. Its place is given back at the same time as the
 * halves are over.
 *
 * Results of the on_* verbs: 0, a wire code > 0 (the connection must close with it), or KITH_ERR_NOMEM.
 * Owner: the connection, by value. Source: RFC 9000, 2 to 4; spec/01, 1.11.
 */
#ifndef KITH_QUIC_STREAM_STREAM_SET_H
#define KITH_QUIC_STREAM_STREAM_SET_H

#include "base/map.h"
#include "quic/stream/stream.h"
#include <kith/quic.h>

enum {
    KITH_STREAM_AHEAD_MAX = 65536, /* bytes a stream may buffer beyond what the peer takes on it; more is AGAIN */
    /*
     * Bytes of a stream that wait to be sent for the first time; more is AGAIN. Enough for a few super-packets, and little
     * enough that what is written is still in the cache when it is sent; window and pacer decide how much is on its way.
     */
    KITH_STREAM_UNSENT_MAX = 524288,
    KITH_STREAM_CONTROL_SIZE_MAX = 25, /* largest encoding of struct kith_stream_control: type and three varints */
};

/** Limits of one side, as in its transport parameters. "local" and "remote" are seen from the side that sent them. */
struct kith_stream_limits {
    uint64_t data_max;
    uint64_t bidi_local_max, bidi_remote_max, uni_max; /* bytes per stream: opened by itself, by the other side */
    uint64_t streams_bidi_max, streams_uni_max;        /* streams the other side may open; <= 2^60 */
};

struct kith_stream_set_config {
    const struct kith_mem *mem;
    bool is_server;
    uint64_t map_seed; /* random */
    struct kith_stream_limits ours;
    uint64_t stream_auto_max;   /* receive windows of streams may grow up to this; 0: never */
    uint64_t stream_auto_total; /* ... and all together by this beyond what they began with */
    uint64_t data_auto_max;     /* the same for the connection's window; 0: never */
    uint64_t send_buffer_max;   /* written and not acknowledged bytes of all streams */
};

/** Streams of one kind opened by one side. */
struct kith_stream_kind {
    uint64_t opened; /* how many were opened: the next id has this index */
    uint64_t open;   /* how many of them are not over */
};

struct kith_stream_set {
    struct kith_stream_set_config config;
    struct kith_map by_id;
    struct kith_list all;                     /* in order of creation */
    struct kith_stream *last_found;           /* one-entry cache of the map */
    size_t count;                             /* streams in memory */
    struct kith_stream_limits theirs;         /* zero until known */
    struct kith_stream_kind ours_opened[2];   /* [0] bidi, [1] uni: opened by us */
    struct kith_stream_kind theirs_opened[2]; /* opened by the peer */
    struct kith_limit open_limit[2];          /* streams we may open */
    struct kith_credit open_credit[2];        /* streams the peer may open */
    bool available_armed[2];                  /* an open failed: more streams are news */
    bool available_due[2];                    /* ... to be reported */
    struct kith_limit send_limit;             /* connection: new bytes we may send */
    struct kith_credit receive_credit;        /* connection: new bytes we take */
    struct kith_credit_pool window_pool;      /* what the windows of streams may still grow */
    uint64_t received;              /* sum of the highest offsets of all streams ever: <= receive_credit.announced */
    uint64_t send_held;             /* written and not acknowledged bytes: <= send_buffer_max */
    struct kith_stream_order order; /* streams that can send */
    struct kith_list parked;        /* streams that only lack connection credit */
    struct kith_list waiting;       /* streams whose write found no room, first come first served */
    struct kith_list intents;       /* streams with control frames due */
    struct kith_list events;        /* streams with something to report */
    bool over_limit;                /* after rejected 0-RTT some streams may lie above open_limit */
    uint64_t frames_ignored;        /* frames for streams that are gone */
    uint64_t bytes_sent, bytes_resent, bytes_received; /* stream payload; received: without repetitions */
};

/** Cannot fail; allocates nothing until the first stream. */
void kith__stream_set_init(struct kith_stream_set *set, const struct kith_stream_set_config *config);
/** Frees all streams. Fine twice. */
void kith__stream_set_dispose(struct kith_stream_set *set);

/** True if there are tables, but no stream. */
static inline bool kith__stream_set_has_slack(const struct kith_stream_set *set)
{
    return set->count == 0 && set->by_id.slots != NULL;
}
/** Frees the tables if there is no stream. */
void kith__stream_set_shed(struct kith_stream_set *set);

/** The peer's transport parameters (or the remembered ones, for 0-RTT) are known: raises limits of open streams too. */
void kith__stream_set_on_peer_limits(struct kith_stream_set *set, const struct kith_stream_limits *theirs);
/**
 * The server rejected 0-RTT: all limits of the peer are forgotten (call on_peer_limits next), and everything that was sent
 * counts as never sent. The packets' fates must not be reported any more.
 */
void kith__stream_set_on_early_rejected(struct kith_stream_set *set);

/* ---- The user's side; see kith/quic.h for what each answers. All: KITH_ERR_NOT_FOUND. ---- */

/** AGAIN at the peer's limit (arms STREAMS_AVAILABLE, makes STREAMS_BLOCKED due), NOMEM. */
KITH_MUST_USE int kith__stream_set_open(struct kith_stream_set *set, bool bidi, uint64_t *id);
/** The stream, or NULL: not open, or gone. Valid until the next call on the set. */
struct kith_stream *kith__stream_set_find(struct kith_stream_set *set, uint64_t id);
/** AGAIN: no room (arms WRITABLE). size 0 with fin is a finish. *written <= size; fin counts only if all was written. */
KITH_MUST_USE int kith__stream_set_write(struct kith_stream_set *set, uint64_t id, const void *bytes, size_t size,
                                         bool fin, size_t *written);
KITH_MUST_USE int kith__stream_set_reset(struct kith_stream_set *set, uint64_t id, uint64_t code);
KITH_MUST_USE int kith__stream_set_stop(struct kith_stream_set *set, uint64_t id, uint64_t code);
KITH_MUST_USE int kith__stream_set_set_priority(struct kith_stream_set *set, uint64_t id, int32_t priority);
/** *out is valid until the next call on the set. code may be NULL. */
KITH_MUST_USE int kith__stream_set_peek(struct kith_stream_set *set, uint64_t id, struct kith_slice *out,
                                        uint64_t *code);
/** `size` bytes that peek showed; KITH_ERR_INVALID if it showed fewer. now and rtt: for window tuning (rtt_ns 0: none). */
KITH_MUST_USE int kith__stream_set_consume(struct kith_stream_set *set, uint64_t id, size_t size, uint64_t now_ns,
                                           uint64_t rtt_ns);
/** Ordered read with a copy: as many bytes as are there, up to capacity > 0. */
KITH_MUST_USE int kith__stream_set_read(struct kith_stream_set *set, uint64_t id, uint8_t *out, size_t capacity,
                                        size_t *size, uint64_t *code, uint64_t now_ns, uint64_t rtt_ns);
KITH_MUST_USE int kith__stream_set_read_chunk(struct kith_stream_set *set, uint64_t id, uint8_t *out, size_t capacity,
                                              uint64_t *offset, size_t *size, uint64_t *code, uint64_t now_ns,
                                              uint64_t rtt_ns);
/** Done with both halves: stops with code 0 what is not read, resets with code 0 what is not finished; no more events. */
void kith__stream_set_release(struct kith_stream_set *set, uint64_t id);
/** Streams the peer may have open at once from now on; streams it was already granted stay granted. */
void kith__stream_set_set_streams_max(struct kith_stream_set *set, bool bidi, uint64_t count);

/** One thing to report. kind is a KITH_QUIC_STREAM_* or KITH_QUIC_STREAMS_AVAILABLE of enum kith_quic_event_kind. */
struct kith_stream_event {
    uint8_t kind;
    bool bidi; /* STREAMS_AVAILABLE, STREAM_OPENED */
    uint64_t id;
    void *user;    /* the stream may be gone with this event */
    uint64_t code; /* STREAM_STOPPED */
};
/** Takes the next one; false if there is none. OPENED comes first for each stream, and in order of ids. */
bool kith__stream_set_next_event(struct kith_stream_set *set, struct kith_stream_event *out);
/** True if next_event would find one. */
bool kith__stream_set_has_event(const struct kith_stream_set *set);

/* ---- Frames from the peer (fields are untrusted varints). ---- */

/** STREAM: FLOW_CONTROL_ERROR, FINAL_SIZE_ERROR, STREAM_STATE_ERROR, STREAM_LIMIT_ERROR, INTERNAL_ERROR, FRAME_ENCODING_ERROR (offset + size > 2^62-1). */
KITH_MUST_USE int kith__stream_set_on_stream(struct kith_stream_set *set, uint64_t id, uint64_t offset,
                                             struct kith_slice bytes, bool fin);
KITH_MUST_USE int kith__stream_set_on_reset_stream(struct kith_stream_set *set, uint64_t id, uint64_t code,
                                                   uint64_t final_size);
KITH_MUST_USE int kith__stream_set_on_stop_sending(struct kith_stream_set *set, uint64_t id, uint64_t code);
KITH_MUST_USE int kith__stream_set_on_max_stream_data(struct kith_stream_set *set, uint64_t id, uint64_t max);
/** STREAM_DATA_BLOCKED: checked, otherwise without effect. */
KITH_MUST_USE int kith__stream_set_on_stream_data_blocked(struct kith_stream_set *set, uint64_t id, uint64_t max);
void kith__stream_set_on_max_data(struct kith_stream_set *set, uint64_t max);
/** FRAME_ENCODING_ERROR if max > 2^60. */
KITH_MUST_USE int kith__stream_set_on_max_streams(struct kith_stream_set *set, bool bidi, uint64_t max);
/** STREAMS_BLOCKED: FRAME_ENCODING_ERROR if max > 2^60; otherwise without effect. */
KITH_MUST_USE int kith__stream_set_on_streams_blocked(struct kith_stream_set *set, bool bidi, uint64_t max);

/* ---- Sending. ---- */

/**
 * A control frame to send. type is the wire type: RESET_STREAM 0x04, STOP_SENDING 0x05, MAX_DATA 0x10, MAX_STREAM_DATA 0x11,
 * MAX_STREAMS 0x12/0x13, DATA_BLOCKED 0x14, STREAM_DATA_BLOCKED 0x15, STREAMS_BLOCKED 0x16/0x17. The sender keeps it as the record of
 * what the packet carried and gives it back to on_control_acked or on_control_lost.
 */
struct kith_stream_control {
    uint8_t type;
    uint64_t id;    /* stream; 0 for frames without one */
    uint64_t value; /* the limit; RESET_STREAM: final size */
    uint64_t code;  /* RESET_STREAM, STOP_SENDING */
};
/** True if next_control gives something; true if next_stream does, unless the room is too small. */
bool kith__stream_set_has_control(const struct kith_stream_set *set);
bool kith__stream_set_has_data(const struct kith_stream_set *set);
/** Takes the next due control frame. The caller has room for KITH_STREAM_CONTROL_SIZE_MAX bytes and sends it. */
bool kith__stream_set_next_control(struct kith_stream_set *set, struct kith_stream_control *out);
void kith__stream_set_on_control_acked(struct kith_stream_set *set, const struct kith_stream_control *control);
void kith__stream_set_on_control_lost(struct kith_stream_set *set, const struct kith_stream_control *control);

/** A STREAM frame to send. */
struct kith_stream_chunk {
    struct kith_stream *stream; /* for copy_out, at once */
    uint64_t id, offset;
    size_t size;
    bool fin;
    bool has_length; /* false: the frame ends exactly at the end of the room and has no length field */
};
/**
 * Takes the next STREAM frame that fits into `room` bytes, with its header (type, id, offset unless 0, length): the caller
 * sends it in the packet it writes now. False if there is none, or the room is too small to be worth it.
 */
bool kith__stream_set_next_stream(struct kith_stream_set *set, size_t room, struct kith_stream_chunk *out);
/** Copies the payload of the chunk just taken to dst (chunk->size bytes). */
void kith__stream_set_copy_out(const struct kith_stream_chunk *chunk, uint8_t *dst);
/** What became of a STREAM frame. KITH_ERR_NOMEM. Unknown ids (freed streams) are fine. */
KITH_MUST_USE int kith__stream_set_on_stream_acked(struct kith_stream_set *set, uint64_t id, uint64_t offset,
                                                   uint64_t size, bool fin);
KITH_MUST_USE int kith__stream_set_on_stream_lost(struct kith_stream_set *set, uint64_t id, uint64_t offset,
                                                  uint64_t size, bool fin);

/** Walks all invariants and asserts them; for tests. */
void kith__stream_set_check(const struct kith_stream_set *set);

#endif
