/**
 * What an acknowledged or lost packet means for whoever put the frames into it. The records in the sent logs are read and
 * written here only: kind is enum kith_frame_kind, the other fields are as each kind says in tx_frames.c.
 * Source: RFC 9000, 13.3; RFC 9002, 5 to 7.
 */
#ifndef KITH_QUIC_CONN_FATE_H
#define KITH_QUIC_CONN_FATE_H

#include "quic/recover/space.h"
#include "quic/wire/frame.h"

struct kith_quic_conn;
struct kith_path;
struct kith_sent_frame;

/** Bits of kith_sent_frame.flags. */
enum { KITH_FATE_FIN = 1 };

/* Spaces are those of a path: Initial and Handshake belong to path 0. */

/** An ACK of a space (untrusted ranges, valid encoding). 0 or KITH_ERR_CLOSED after the connection failed. */
KITH_MUST_USE int kith__fate_on_ack(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space,
                                    const struct kith_frame_ack *frame, bool came_on_path);
/** Takes what is lost by now out of a space. */
void kith__fate_detect_lost(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space);
/**
 * Before sending: gives the oldest packets of a space up if too many later ones were sent without an ACK for them. A peer
 * that acknowledges nothing at all while it makes us send has broken the protocol (RFC 9000, 13.2.1): the connection fails.
 */
void kith__fate_bound_sent(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space);
/** Makes the data of the oldest unacknowledged packets due again, without declaring them lost: for `count` probes. */
void kith__fate_resend_for_probe(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space,
                                 unsigned count);
/** The path is given up: all that is in flight on it goes out again elsewhere, and no ACK of it counts any more. */
void kith__fate_requeue(struct kith_quic_conn *conn, struct kith_path *path);
/** A frame that was recorded is not sent after all, or lost. 0 or KITH_ERR_NOMEM. */
KITH_MUST_USE int kith__fate_frame_lost(struct kith_quic_conn *conn, enum kith_space space,
                                        const struct kith_sent_frame *frame);

#endif
