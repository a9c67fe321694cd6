/** Writers of frames from what is due: each takes intents while there is room. Source: RFC 9000, 19; spec/01, 1.18 (order). */
#ifndef KITH_QUIC_CONN_TX_FRAMES_H
#define KITH_QUIC_CONN_TX_FRAMES_H

#include "quic/conn/packet_out.h"

/** An ACK of the packet's space, if one is due, or (`willing`) if one is useful. */
void kith__tx_ack(struct kith_packet_out *out, bool willing);
/** CRYPTO bytes that wait at the packet's level. */
void kith__tx_crypto(struct kith_packet_out *out);
/** PING. */
void kith__tx_ping(struct kith_packet_out *out);
/** IMMEDIATE_ACK if the peer knows it; it is not due any more. */
void kith__tx_immediate_ack(struct kith_packet_out *out);
/** The challenge of the path that is due, and answers to the peer's on this path. 1-RTT only. */
void kith__tx_challenges(struct kith_packet_out *out);
/** What belongs to the packet's path beside that: PING, IMMEDIATE_ACK. */
void kith__tx_own(struct kith_packet_out *out);
/** Everything of a 0-RTT or 1-RTT packet but ACK and challenges: tx_own, and what may be on any path. */
void kith__tx_data(struct kith_packet_out *out);
/** True if tx_own has something. */
bool kith__tx_has_own(const struct kith_quic_conn *conn, const struct kith_path *path);
/** True if tx_data has something beside it. */
bool kith__tx_has_data(const struct kith_quic_conn *conn, enum kith_level level);
/** True if `path` should acknowledge packets of `other`, which cannot do it itself (now). */
bool kith__tx_owes_ack_for(const struct kith_quic_conn *conn, const struct kith_path *path,
                           const struct kith_path *other);
/** PATH_ACKs for all those. */
void kith__tx_acks_for_others(struct kith_packet_out *out);
/** A PATH_CHALLENGE with this value, or PATH_RESPONSE. False: no room. */
bool kith__tx_challenge(struct kith_packet_out *out, const uint8_t value[KITH_CHALLENGE_SIZE]);
bool kith__tx_response(struct kith_packet_out *out, const uint8_t value[KITH_CHALLENGE_SIZE]);
/** The close frame as it may be at this level. False: no room. */
bool kith__tx_close(struct kith_packet_out *out);

#endif
