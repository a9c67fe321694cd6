/** One packet on its way from the datagram to its frames. */
#ifndef KITH_QUIC_CONN_RX_H
#define KITH_QUIC_CONN_RX_H

#include "quic/conn/conn.h"
#include "quic/wire/frame.h"

/** A packet that was opened. */
struct kith_rx {
    struct kith_quic_conn *conn;
    struct kith_path *path;
    const struct kith_tuple *tuple; /* where it came from and arrived */
    uint64_t number;
    size_t datagram_size;
    struct kith_cid dcid;
    uint8_t type, space; /* enum kith_packet_type, enum kith_space */
    uint8_t ecn;
    bool is_eliciting, is_probing_only;
    bool is_ack_wanted; /* IMMEDIATE_ACK */
    bool has_stream;
    bool has_proved; /* a PATH_RESPONSE proved the path: told once all frames are read, for an ACK may follow */
};

/**
 * Handles all frames of a payload (untrusted, not empty). Fills in is_eliciting and is_probing_only. 0 or KITH_ERR_CLOSED
 * after the connection failed or was closed by the peer.
 */
KITH_MUST_USE int kith__rx_frames(struct kith_rx *rx, struct kith_reader payload);

#endif
