/**
 * Frames: one table of facts about all kinds, one struct that holds any of them, one decoder and one encoder. Receiver,
 * sender, loss handling and qlog all read the table. Where a frame of an extension differs from its RFC 9000 sister only
 * by a path id (ACK and PATH_ACK, NEW_CONNECTION_ID and PATH_NEW_CONNECTION_ID, ...) both use one member of the union, with
 * path 0 in the plain one (spec/01, 4.4).
 * Source: RFC 9000, 12.4, 13.3 and 19; RFC 9221; spec/01, 1.9, 1.18, 4.2, 5.2 and 6.
 */
#ifndef KITH_QUIC_WIRE_FRAME_H
#define KITH_QUIC_WIRE_FRAME_H

#include "base/ranges.h"
#include "codec/cursor.h"
#include "quic/wire/cid.h"
#include "quic/wire/codes.h"
#include "quic/wire/packet.h"

/** Wire types. Kinds with several types: STREAM takes 8 (flags in the low bits), others 2 (the low bit tells which). */
#define KITH_FRAME_PADDING                   UINT64_C(0x00)
#define KITH_FRAME_PING                      UINT64_C(0x01)
#define KITH_FRAME_ACK                       UINT64_C(0x02)
#define KITH_FRAME_ACK_ECN                   UINT64_C(0x03)
#define KITH_FRAME_RESET_STREAM              UINT64_C(0x04)
#define KITH_FRAME_STOP_SENDING              UINT64_C(0x05)
#define KITH_FRAME_CRYPTO                    UINT64_C(0x06)
#define KITH_FRAME_NEW_TOKEN                 UINT64_C(0x07)
#define KITH_FRAME_STREAM                    UINT64_C(0x08) /* to 0x0f */
#define KITH_FRAME_MAX_DATA                  UINT64_C(0x10)
#define KITH_FRAME_MAX_STREAM_DATA           UINT64_C(0x11)
#define KITH_FRAME_MAX_STREAMS_BIDI          UINT64_C(0x12)
#define KITH_FRAME_MAX_STREAMS_UNI           UINT64_C(0x13)
#define KITH_FRAME_DATA_BLOCKED              UINT64_C(0x14)
#define KITH_FRAME_STREAM_DATA_BLOCKED       UINT64_C(0x15)
#define KITH_FRAME_STREAMS_BLOCKED_BIDI      UINT64_C(0x16)
#define KITH_FRAME_STREAMS_BLOCKED_UNI       UINT64_C(0x17)
#define KITH_FRAME_NEW_CONNECTION_ID         UINT64_C(0x18)
#define KITH_FRAME_RETIRE_CONNECTION_ID      UINT64_C(0x19)
#define KITH_FRAME_PATH_CHALLENGE            UINT64_C(0x1a)
#define KITH_FRAME_PATH_RESPONSE             UINT64_C(0x1b)
#define KITH_FRAME_CONNECTION_CLOSE          UINT64_C(0x1c)
#define KITH_FRAME_APPLICATION_CLOSE         UINT64_C(0x1d)
#define KITH_FRAME_HANDSHAKE_DONE            UINT64_C(0x1e)
#define KITH_FRAME_IMMEDIATE_ACK             UINT64_C(0x1f)
#define KITH_FRAME_DATAGRAM                  UINT64_C(0x30)
#define KITH_FRAME_DATAGRAM_WITH_LENGTH      UINT64_C(0x31)
#define KITH_FRAME_PATH_ACK                  UINT64_C(0x3e)
#define KITH_FRAME_PATH_ACK_ECN              UINT64_C(0x3f)
#define KITH_FRAME_ACK_FREQUENCY             UINT64_C(0xaf)
#define KITH_FRAME_PATH_ABANDON              UINT64_C(0x3e75)
#define KITH_FRAME_PATH_STATUS_BACKUP        UINT64_C(0x3e76)
#define KITH_FRAME_PATH_STATUS_AVAILABLE     UINT64_C(0x3e77)
#define KITH_FRAME_PATH_NEW_CONNECTION_ID    UINT64_C(0x3e78)
#define KITH_FRAME_PATH_RETIRE_CONNECTION_ID UINT64_C(0x3e79)
#define KITH_FRAME_MAX_PATH_ID               UINT64_C(0x3e7a)
#define KITH_FRAME_PATHS_BLOCKED             UINT64_C(0x3e7b)
#define KITH_FRAME_PATH_CIDS_BLOCKED         UINT64_C(0x3e7c)
#define KITH_FRAME_ADD_ADDRESS_V4            UINT64_C(0x3d7f90)
#define KITH_FRAME_ADD_ADDRESS_V6            UINT64_C(0x3d7f91)
#define KITH_FRAME_REACH_OUT_V4              UINT64_C(0x3d7f92)
#define KITH_FRAME_REACH_OUT_V6              UINT64_C(0x3d7f93)
#define KITH_FRAME_REMOVE_ADDRESS            UINT64_C(0x3d7f94)
#define KITH_FRAME_OBSERVED_ADDRESS_V4       UINT64_C(0x9f81a6)
#define KITH_FRAME_OBSERVED_ADDRESS_V6       UINT64_C(0x9f81a7)

/** Kinds without gaps, for tables and switches: what the wire types above have in common. */
enum kith_frame_kind {
    KITH_KIND_PADDING,
    KITH_KIND_PING,
    KITH_KIND_ACK, /* ACK, ACK_ECN */
    KITH_KIND_RESET_STREAM,
    KITH_KIND_STOP_SENDING,
    KITH_KIND_CRYPTO,
    KITH_KIND_NEW_TOKEN,
    KITH_KIND_STREAM,
    KITH_KIND_MAX_DATA,
    KITH_KIND_MAX_STREAM_DATA,
    KITH_KIND_MAX_STREAMS,
    KITH_KIND_DATA_BLOCKED,
    KITH_KIND_STREAM_DATA_BLOCKED,
    KITH_KIND_STREAMS_BLOCKED,
    KITH_KIND_NEW_CONNECTION_ID,
    KITH_KIND_RETIRE_CONNECTION_ID,
    KITH_KIND_PATH_CHALLENGE,
    KITH_KIND_PATH_RESPONSE,
    KITH_KIND_CONNECTION_CLOSE,
    KITH_KIND_APPLICATION_CLOSE,
    KITH_KIND_HANDSHAKE_DONE,
    KITH_KIND_IMMEDIATE_ACK,
    KITH_KIND_DATAGRAM,
    KITH_KIND_PATH_ACK,
    KITH_KIND_ACK_FREQUENCY,
    KITH_KIND_PATH_ABANDON,
    KITH_KIND_PATH_STATUS, /* BACKUP and AVAILABLE */
    KITH_KIND_PATH_NEW_CONNECTION_ID,
    KITH_KIND_PATH_RETIRE_CONNECTION_ID,
    KITH_KIND_MAX_PATH_ID,
    KITH_KIND_PATHS_BLOCKED,
    KITH_KIND_PATH_CIDS_BLOCKED,
    KITH_KIND_ADD_ADDRESS,
    KITH_KIND_REACH_OUT,
    KITH_KIND_REMOVE_ADDRESS,
    KITH_KIND_OBSERVED_ADDRESS,
    KITH_KINDS
};

/** What is due when a packet with the frame was lost (RFC 9000, 13.3). */
enum kith_frame_loss {
    KITH_LOSS_NOTHING, /* newer frames replace it, or its owner has a timer of its own */
    KITH_LOSS_BYTES,   /* the range of bytes goes out again: CRYPTO, STREAM */
    KITH_LOSS_AGAIN,   /* the same fact goes out again until it is acknowledged or has become moot */
    KITH_LOSS_NEWEST,  /* the newest value goes out again, if no newer frame carried one: limits, states */
    KITH_LOSS_COUNT    /* never again, but counted: DATAGRAM */
};

/** What must have been negotiated before a frame is legal, else PROTOCOL_VIOLATION. */
enum kith_frame_extension {
    KITH_EXTENSION_NONE,
    KITH_EXTENSION_DATAGRAM,
    KITH_EXTENSION_ACK_FREQUENCY,
    KITH_EXTENSION_MULTIPATH,
    KITH_EXTENSION_NAT_TRAVERSAL,
    KITH_EXTENSION_OBSERVED_ADDRESS
};

enum kith_frame_sender { KITH_SENDER_BOTH, KITH_SENDER_CLIENT, KITH_SENDER_SERVER };

/** Facts about one wire type. */
struct kith_frame_info {
    uint64_t type;
    const char *name;      /* "MAX_STREAM_DATA": for logs and errors */
    const char *qlog_name; /* "max_stream_data" */
    uint8_t kind;          /* enum kith_frame_kind */
    uint8_t packets;       /* bit n: may be in packets of enum kith_packet_type n */
    uint8_t loss;          /* enum kith_frame_loss */
    uint8_t extension;     /* enum kith_frame_extension */
    uint8_t sender;        /* enum kith_frame_sender: who may send it; from the other side it is a PROTOCOL_VIOLATION */
    bool ack_eliciting;    /* a packet with it is to be acknowledged */
    bool in_flight;        /* a packet with it counts as in flight (RFC 9002, 2) */
    bool probing;          /* does not move a path (RFC 9000, 9.1; spec/01, 1.17) */
};

/** The entry of a wire type, or NULL for an unknown one. Static. */
const struct kith_frame_info *kith__frame_info(uint64_t type);

/** True if the type may be in this kind of packet. */
static inline bool kith__frame_is_legal(const struct kith_frame_info *info, enum kith_packet_type packet)
{
    return (info->packets & 1u << packet) != 0;
}

struct kith_frame_ecn {
    uint64_t ect0, ect1, ce;
};

/** ACK, ACK_ECN, PATH_ACK, PATH_ACK_ECN. The ranges are valid (none goes below zero); read them with kith__ack_first. */
struct kith_frame_ack {
    uint32_t path; /* 0 in ACK and ACK_ECN */
    bool has_ecn;
    uint64_t largest;
    uint64_t delay;           /* as on the wire: in units of 2^ack_delay_exponent microseconds */
    uint64_t first_range;     /* packets below largest that the first range holds */
    uint64_t range_count;     /* further ranges */
    struct kith_slice ranges; /* those, still encoded, borrowed from the packet */
    struct kith_frame_ecn ecn;
};

struct kith_frame_stream {
    uint64_t id, offset; /* offset + data.size <= 2^62-1 */
    struct kith_slice data;
    bool fin;
    bool has_length; /* a Length field is on the wire; without, the frame reaches to the end of the packet */
};

/** NEW_CONNECTION_ID, PATH_NEW_CONNECTION_ID. retire_prior_to <= sequence is not checked here: it has another error code. */
struct kith_frame_new_cid {
    uint32_t path; /* 0 in NEW_CONNECTION_ID */
    uint64_t sequence, retire_prior_to;
    struct kith_cid cid; /* 1..20 bytes */
    uint8_t reset_token[KITH_RESET_TOKEN_BYTES];
};

/** Any frame. `type` selects the member; kinds without fields have none. Slices are borrowed from the packet; untrusted. */
struct kith_frame {
    uint64_t type; /* wire type */
    const struct kith_frame_info *info;
    union {
        struct {
            size_t size; /* a run of PADDING frames counts as one */
        } padding;
        struct kith_frame_ack ack;
        struct {
            uint64_t id, code, final_size;
        } reset_stream;
        struct {
            uint64_t id, code;
        } stop_sending;
        struct {
            uint64_t offset; /* offset + data.size <= 2^62-1 */
            struct kith_slice data;
        } crypto;
        struct {
            struct kith_slice token; /* not empty */
        } new_token;
        struct kith_frame_stream stream;
        struct {
            uint64_t max;
        } max_data, data_blocked;
        struct {
            uint64_t id, max;
        } max_stream_data, stream_data_blocked;
        struct {
            uint64_t max; /* <= 2^60 */
            bool bidi;
        } max_streams, streams_blocked;
        struct kith_frame_new_cid new_cid; /* both kinds */
        struct {
            uint32_t path; /* 0 in RETIRE_CONNECTION_ID */
            uint64_t sequence;
        } retire_cid; /* both kinds */
        struct {
            uint8_t data[8];
        } path_challenge, path_response;
        struct {
            uint64_t code;
            uint64_t frame_type;      /* CONNECTION_CLOSE only; else 0 */
            struct kith_slice reason; /* not checked to be text */
        } close;                      /* both kinds */
        struct {
            struct kith_slice data;
            bool has_length;
        } datagram;
        struct {
            uint64_t sequence, ack_eliciting_threshold, request_max_ack_delay_us, reordering_threshold;
        } ack_frequency;
        struct {
            uint32_t path;
            uint64_t code;
        } path_abandon;
        struct {
            uint32_t path;
            uint64_t sequence;
            bool available; /* else BACKUP */
        } path_status;
        struct {
            uint32_t max;
        } max_path_id, paths_blocked;
        struct {
            uint32_t path;
            uint64_t next_sequence;
        } path_cids_blocked;
        struct {
            uint64_t sequence;            /* REACH_OUT: the round */
            struct kith_sockaddr address; /* canonical: an IPv4-mapped address has become IPv4 */
        } address;                        /* ADD_ADDRESS, REACH_OUT, OBSERVED_ADDRESS */
        struct {
            uint64_t sequence;
        } remove_address;
    };
};

/** Why a frame was refused: what goes into CONNECTION_CLOSE. */
struct kith_frame_error {
    uint64_t type;      /* the frame type */
    const char *reason; /* static text */
};

/**
 * Reads the next frame of the payload (untrusted; not empty) of a packet. Returns 0, or the wire code:
 *   FRAME_ENCODING_ERROR  unknown type; the payload ends too early; a field is out of its range
 *   PROTOCOL_VIOLATION    the kind must not be in this type of packet
 * and fills in *error then; *out is undefined and the reader does not move. Who may send a kind and whether its extension
 * was negotiated is not checked here: see `info`.
 */
KITH_MUST_USE int kith__frame_decode(struct kith_reader *r, enum kith_packet_type packet, struct kith_frame *out,
                                     struct kith_frame_error *error);

/**
 * Writes a frame: `type` and the member it selects; `info` is not used. Values must be in range (asserted). For ACKs from a
 * set of ranges use kith__ack_write. KITH_ERR_TOO_LARGE: no room, nothing was written.
 */
KITH_MUST_USE int kith__frame_write(struct kith_writer *w, const struct kith_frame *frame);

/** Bytes that kith__frame_write writes. */
size_t kith__frame_size(const struct kith_frame *frame);

/** A frame of this type with zeroed fields, to be filled in. The type must be known. */
struct kith_frame kith__frame(uint64_t type);

/* ---- Acknowledgements ---- */

/** Walks the ranges of an ACK from the largest packet number down. */
struct kith_ack_walk {
    struct kith_reader rest;
    uint64_t left;     /* ranges that follow */
    uint64_t smallest; /* of the range that was given last */
};

/** The first range, half-open. There is always one. */
static inline struct kith_range kith__ack_first(const struct kith_frame_ack *ack, struct kith_ack_walk *walk)
{
    *walk = (struct kith_ack_walk) {
        .rest = kith__reader_of_slice(ack->ranges),
        .left = ack->range_count,
        .smallest = ack->largest - ack->first_range,
    };
    return (struct kith_range) { walk->smallest, ack->largest + 1 };
}

/** The next lower range; false when there is none. The frame was decoded by kith__frame_decode, so it cannot be invalid. */
static inline bool kith__ack_next(struct kith_ack_walk *walk, struct kith_range *out)
{
    uint64_t gap = 0, length = 0, largest;
    int err;

    if (walk->left == 0)
        return false;
    walk->left--;
    err = kith__read_varint(&walk->rest, &gap);
    if (err == 0)
        err = kith__read_varint(&walk->rest, &length);
    KITH_ASSERT(err == 0);
    largest = walk->smallest - gap - 2;
    walk->smallest = largest - length;
    *out = (struct kith_range) { walk->smallest, largest + 1 };
    return true;
}

/** What kith__ack_write puts into a frame. */
struct kith_ack_plan {
    bool is_path_ack; /* PATH_ACK with `path`, else ACK */
    uint32_t path;
    uint64_t delay;                   /* in wire units; cut to 2^62-1 */
    const struct kith_range *ranges;  /* received numbers: ascending, disjoint, not touching (as in kith_ranges) */
    size_t range_count;               /* > 0 */
    size_t ranges_max;                /* write at most this many, the highest ones; > 0 */
    const struct kith_frame_ecn *ecn; /* NULL: the kind without ECN counts */
};

/**
 * Writes an acknowledgement with as many of the highest ranges as fit. Returns how many were written; 0 if not even one
 * had room: nothing was written then.
 */
size_t kith__ack_write(struct kith_writer *w, const struct kith_ack_plan *plan);

/** Bytes that kith__ack_write needs for at most `ranges_max` of the ranges. */
size_t kith__ack_size(const struct kith_ack_plan *plan);

/* ---- Frames with bytes, written in two steps: header here, bytes by whoever has them ---- */

/** How much of a stream fits into a frame. */
struct kith_stream_plan {
    size_t size;     /* bytes of data */
    bool has_length; /* false: the frame fills the room to its last byte, nothing may follow in the packet */
};

/**
 * Plans a STREAM frame for `room` bytes with up to `want` bytes of data from `offset` on. False if it makes no sense: not
 * even one byte (or, with want 0, the bare frame) fits.
 */
bool kith__stream_plan(size_t room, uint64_t id, uint64_t offset, size_t want, struct kith_stream_plan *out);

/** Bytes of the header of a STREAM frame. */
static inline size_t kith__stream_header_size(uint64_t id, uint64_t offset, size_t size, bool has_length)
{
    return 1 + kith__varint_size(id) + (offset != 0 ? kith__varint_size(offset) : 0) +
           (has_length ? kith__varint_size(size) : 0);
}

/** Writes the header; `size` bytes of data are to follow. KITH_ERR_TOO_LARGE as usual (data are not counted). */
KITH_MUST_USE static inline int kith__stream_write_header(struct kith_writer *w, uint64_t id, uint64_t offset,
                                                          size_t size, bool fin, bool has_length)
{
    uint8_t flags = (uint8_t)((offset != 0 ? 4 : 0) | (has_length ? 2 : 0) | (fin ? 1 : 0));

    if (kith__writer_left(w) < kith__stream_header_size(id, offset, size, has_length))
        return KITH_ERR_TOO_LARGE;
    *w->at++ = (uint8_t)(KITH_FRAME_STREAM | flags);
    w->at += kith__varint_encode(id, w->at);
    if (offset != 0)
        w->at += kith__varint_encode(offset, w->at);
    if (has_length)
        w->at += kith__varint_encode(size, w->at);
    return 0;
}

/** Data bytes (at most want) that a CRYPTO frame with its header can take along in `room` bytes; 0 if none. */
size_t kith__crypto_plan(size_t room, uint64_t offset, size_t want);

/** Writes the header of a CRYPTO frame; `size` bytes are to follow. */
KITH_MUST_USE static inline int kith__crypto_write_header(struct kith_writer *w, uint64_t offset, size_t size)
{
    if (kith__writer_left(w) < 1 + kith__varint_size(offset) + kith__varint_size(size))
        return KITH_ERR_TOO_LARGE;
    *w->at++ = (uint8_t)KITH_FRAME_CRYPTO;
    w->at += kith__varint_encode(offset, w->at);
    w->at += kith__varint_encode(size, w->at);
    return 0;
}

/** Bytes of a DATAGRAM frame with Length for `size` bytes of data. */
static inline size_t kith__datagram_frame_size(size_t size)
{
    return 1 + kith__varint_size(size) + size;
}

/** Writes a whole DATAGRAM frame with Length (spec/01, 1.12). */
KITH_MUST_USE static inline int kith__datagram_write(struct kith_writer *w, struct kith_slice data)
{
    if (kith__writer_left(w) < kith__datagram_frame_size(data.size))
        return KITH_ERR_TOO_LARGE;
    *w->at++ = (uint8_t)KITH_FRAME_DATAGRAM_WITH_LENGTH;
    w->at += kith__varint_encode(data.size, w->at);
    return kith__write_bytes(w, data.ptr, data.size);
}

#endif
