/**
 * Congestion control of one path: how many bytes may be in flight. Two controllers behind one set of verbs. The caller
 * keeps the bytes in flight (struct kith_path). Owner: the path, by value. Source: RFC 9002, 7 (NewReno); RFC 9438
 * (CUBIC).
 */
#ifndef KITH_QUIC_RECOVER_CC_H
#define KITH_QUIC_RECOVER_CC_H

#include "quic/recover/rtt.h"

enum {
    KITH_CC_WINDOW_INITIAL = 12000, /* bytes, spec/01, 1.10; the minimum is two packets */
    KITH_CC_WINDOW_MAX = 1 << 30    /* bytes: the peer cannot make it grow further */
};

struct kith_cc_ops;

struct kith_cc_cubic {
    uint64_t window_max;    /* bytes: W_max */
    uint64_t epoch_ns;      /* when this phase of congestion avoidance began; KITH_NEVER: not yet */
    uint64_t epoch_window;  /* window at that time */
    uint64_t k_ns;          /* time from epoch_ns to window_max */
    uint64_t reno_window;   /* W_est, bytes */
    uint64_t reno_acked;    /* bytes towards its next step */
    uint64_t last_acked_ns; /* to take idle time out of the epoch */
};

/** What a congestion event changed: goes back when all its losses were spurious (RFC 9438, 4.9). */
struct kith_cc_saved {
    uint64_t window, threshold, acked_size;
    struct kith_cc_cubic cubic;
    uint64_t lost; /* packets of the event that are still thought lost */
    bool is_valid;
};

struct kith_cc {
    const struct kith_cc_ops *ops;
    uint64_t window;           /* bytes */
    uint64_t threshold;        /* of slow start, bytes; UINT64_MAX at first */
    uint64_t recovery_end_ns;  /* packets sent before this belong to the last event; 0: no event yet */
    uint64_t recovery_prev_ns; /* the same of the event before */
    uint64_t acked_size;       /* NewReno: bytes towards the next step */
    uint64_t events;           /* congestion events, for statistics */
    uint16_t udp_size;
    struct kith_cc_cubic cubic;
    struct kith_cc_saved saved;
};

/** kind: enum kith_quic_congestion of kith/quic.h (asserted). udp_size: the path's packet size, >= 1200. */
void kith__cc_init(struct kith_cc *cc, uint8_t kind, uint16_t udp_size);
/** The packet size changed: the steps and the minimum follow. */
void kith__cc_set_udp_size(struct kith_cc *cc, uint16_t udp_size);
/**
 * A packet in flight of `size` bytes, sent at sent_ns, was acknowledged.
 *   app_limited  the window was not used up: it must not grow (RFC 9002, 7.8)
 */
void kith__cc_on_acked(struct kith_cc *cc, uint64_t size, uint64_t sent_ns, bool app_limited,
                       const struct kith_rtt *rtt, uint64_t now_ns);
/**
 * A packet in flight, sent at sent_ns, was lost (not an MTU probe). The first of a round trip makes a congestion
 * event.
 */
void kith__cc_on_lost(struct kith_cc *cc, uint64_t sent_ns, uint64_t now_ns);
/** The peer saw CE; sent_ns is the time of the largest newly acknowledged packet. */
void kith__cc_on_ce(struct kith_cc *cc, uint64_t sent_ns, uint64_t now_ns);
/** A packet that on_lost reported arrived after all. */
void kith__cc_on_spurious(struct kith_cc *cc, uint64_t sent_ns);
/** Persistent congestion: down to the minimum, and slow start again (RFC 9002, 7.6.2). */
void kith__cc_on_persistent(struct kith_cc *cc);
/** True if a packet may be sent: in flight <= window (spec/01, 0: the reference stops only above the window). */
static inline bool kith__cc_may_send(const struct kith_cc *cc, uint64_t in_flight_size, size_t size)
{
    return in_flight_size + size <= cc->window;
}
static inline bool kith__cc_in_slow_start(const struct kith_cc *cc)
{
    return cc->window < cc->threshold;
}
/** True if a packet sent then belongs to the last congestion event. */
static inline bool kith__cc_in_recovery(const struct kith_cc *cc, uint64_t sent_ns)
{
    return sent_ns < cc->recovery_end_ns;
}
static inline uint64_t kith__cc_window_min(const struct kith_cc *cc)
{
    return 2ull * cc->udp_size;
}

/** One controller. The common parts (recovery periods, minimum, undo) are in cc.c. */
struct kith_cc_ops {
    uint8_t kind;
    /** Congestion avoidance: grow by an acknowledged packet; window >= threshold. */
    void (*on_acked)(struct kith_cc *cc, uint64_t size, const struct kith_rtt *rtt, uint64_t now_ns);
    /** A new congestion event: sets window and threshold (the minimum is applied afterwards). */
    void (*on_event)(struct kith_cc *cc, uint64_t now_ns);
    /** Slow start again, or nothing sent for want of data: forget the time line. */
    void (*on_restart)(struct kith_cc *cc, bool app_limited, uint64_t now_ns);
};
extern const struct kith_cc_ops kith__cc_newreno, kith__cc_cubic;

#endif
