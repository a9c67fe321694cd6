/**
 * Building one packet in place in the buffer that goes to the kernel: header, frames with their records in the sent log,
 * padding, seal. Several packets of one datagram can be open at once (each space has its own log); they are sealed when
 * the datagram's size is known. Source: RFC 9000, 12 to 14; spec/01, 1.2.
 */
#ifndef KITH_QUIC_CONN_PACKET_OUT_H
#define KITH_QUIC_CONN_PACKET_OUT_H

#include "codec/cursor.h"
#include "quic/conn/conn.h"
#include "quic/wire/frame.h"

struct kith_packet_out {
    struct kith_quic_conn *conn;
    struct kith_path *path;
    struct kith_sent_log *log;
    struct kith_keys *keys;
    uint8_t *packet; /* first byte of the header */
    struct kith_packet_marks marks;
    struct kith_writer w; /* the payload; its end leaves room for the tag */
    uint64_t number;
    uint8_t level, space, pn_size;
    uint8_t flags;         /* enum kith_sent_flag */
    bool is_full;          /* the last frame has no length: nothing may follow */
    bool is_challenge;     /* `challenge` is in it: tell the path when it is sent */
    bool is_padded_to_min; /* its datagram is to have 1200 bytes */
    uint8_t challenge[KITH_CHALLENGE_SIZE];
};

/**
 * Starts a packet of a level on a path (all levels but DATA: path 0) in `room` bytes at `at`. Errors: TOO_LARGE (the room is not worth it), LIMIT (too many
 * packets are in flight), NOMEM.
 */
KITH_MUST_USE int kith__packet_out_begin(struct kith_packet_out *out, struct kith_quic_conn *conn,
                                         struct kith_path *path, enum kith_level level, uint8_t *at, size_t room);
/** Room for one more record and `size` more bytes. */
bool kith__packet_out_has_room(const struct kith_packet_out *out, size_t size);
/** Records a frame; see kith__sent_add_frame. `info` says if it is ack-eliciting and in flight. */
KITH_MUST_USE int kith__packet_out_record(struct kith_packet_out *out, const struct kith_sent_frame *record);
/** Writes and records a frame with a small body. False: no room, or no memory; nothing happened. */
bool kith__packet_out_frame(struct kith_packet_out *out, const struct kith_frame *frame,
                            const struct kith_sent_frame *record);
/** Notes the flags of a frame whose bytes were written by the caller. */
void kith__packet_out_note(struct kith_packet_out *out, uint64_t type);
static inline bool kith__packet_out_is_empty(const struct kith_packet_out *out)
{
    return out->w.at == out->w.begin;
}
/** Bytes that the packet will have, sealed, without further padding. */
size_t kith__packet_out_size(const struct kith_packet_out *out);
/** Adds PADDING until the packet has `size` bytes, if there is room. */
void kith__packet_out_pad(struct kith_packet_out *out, size_t size);
/** Seals and commits. 0 or KITH_ERR_CLOSED after the connection failed; the packet must not be sent then. */
KITH_MUST_USE int kith__packet_out_end(struct kith_packet_out *out);
/** Gives the packet up: its number is used again. */
void kith__packet_out_abandon(struct kith_packet_out *out);

#endif
