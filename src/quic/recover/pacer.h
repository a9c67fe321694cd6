/**
 * Spreads packets over the round trip: a bucket of bytes that fills with 1.25 x window / smoothed RTT and holds what
 * that
 * rate sends in 2 ms, at least 10 and at most 256 packets, so that bursts fit UDP segmentation. Owner: the path, by
 * value.
 * Source: RFC 9002, 7.7; spec/01, 1.10.
 */
#ifndef KITH_QUIC_RECOVER_PACER_H
#define KITH_QUIC_RECOVER_PACER_H

#include <kith/types.h>

enum {
    KITH_PACER_BURST_PACKETS_MIN = 10,
    KITH_PACER_BURST_PACKETS_MAX = 256,
    KITH_PACER_BURST_NS = 2000000, /* what a full bucket sends */
    KITH_PACER_PAUSE_NS = 1000000, /* a bucket that was emptied gives nothing until it holds as much as this sends */
    KITH_PACER_LATE_NS = 16000000, /* and it fills up to what this sends: so long the sender may oversleep at no loss */
    KITH_PACER_LATE_MAX = 1 << 24  /* bytes of that */
};

struct kith_pacer {
    uint64_t capacity; /* bytes */
    uint64_t tokens;   /* bytes; <= capacity, or what KITH_PACER_LATE_NS bring after the bucket was emptied */
    uint64_t rate;     /* bytes per second; 0: unpaced */
    uint64_t last_ns;  /* tokens are right for this time */
    uint16_t udp_size; /* of a full packet */
    bool is_emptied;   /* less than a packet was left: the next burst waits until it is worth it */
};

/** A full bucket. on false: never waits. */
void kith__pacer_init(struct kith_pacer *pacer, bool on, uint64_t now_ns);
/** The window (bytes), the smoothed RTT or the packet size changed. Cheap: call after each ACK. */
void kith__pacer_update(struct kith_pacer *pacer, uint64_t window, uint64_t smoothed_ns, uint16_t udp_size,
                        uint64_t now_ns);
/**
 * How many bytes may leave now. Unpaced: SIZE_MAX. Once the bucket was emptied: 0 until it holds what the rate sends in
 * KITH_PACER_PAUSE_NS, or a packet if that is more: a sender that asks all the time would get one packet at a time, and
 * the costs of a system call and of the other side's for each. A sender that builds bursts asks once for each; a packet may
 * leave if at
 * least its own size is allowed.
 */
size_t kith__pacer_allowed(struct kith_pacer *pacer, uint64_t now_ns);
/** Bytes that count as in flight left (also those that were not paced: probes). */
void kith__pacer_on_sent(struct kith_pacer *pacer, size_t size);
/**
 * After allowed() said less than `size`: when to ask again. Waits for half a bucket, so that the next burst is worth
 * it.
 */
uint64_t kith__pacer_deadline(const struct kith_pacer *pacer, size_t size);

#endif
