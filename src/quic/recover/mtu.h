/**
 * Path MTU discovery of one path by probe packets, and what to do when big packets vanish later. Sizes are UDP payload
 * bytes. A path that stops carrying big packets acknowledges nothing, so nothing is declared lost either: from the
 * second probe timeout in a row on, the caller keeps probes at KITH_MTU_BASE. Owner: the path, by value. Source: RFC 9000,
 * 14.3; RFC 8899; spec/01, 1.8.
 */
#ifndef KITH_QUIC_RECOVER_MTU_H
#define KITH_QUIC_RECOVER_MTU_H

#include <kith/types.h>

#define KITH_MTU_SEARCH_AGAIN_NS (600 * KITH_NS_PER_S)
#define KITH_MTU_COOL_DOWN_NS    (60 * KITH_NS_PER_S) /* after a black hole */
/* How long a connection without bulk data waits for its search: short ones (ask, answer, close) are over by then. */
#define KITH_MTU_START_NS (100 * KITH_NS_PER_MS)
enum {
    KITH_MTU_BASE = 1200,
    KITH_MTU_TRIES_MAX = 3, /* probes of one size */
    KITH_MTU_STEP_MIN = 20, /* the search ends below this */
    KITH_MTU_HOLES_MAX = 3  /* more suspicious loss bursts than this: black hole */
};

enum kith_mtu_state { KITH_MTU_OFF, KITH_MTU_SEARCHING, KITH_MTU_PROBE_OUT, KITH_MTU_DONE };

struct kith_mtu {
    uint16_t size;           /* present packet size: KITH_MTU_BASE..max */
    uint16_t max;            /* upper bound of the search: ours and the peer's */
    uint16_t high;           /* smallest size above `size` that may still be found too big; searches move it down */
    uint16_t probe_size;     /* size being tried; last one tried */
    uint8_t state;           /* enum kith_mtu_state */
    uint8_t tries;           /* probes of probe_size that were lost */
    uint64_t probe_number;   /* packet number of the probe that is out */
    uint64_t again_ns;       /* DONE: when a search starts again; KITH_NEVER */
    uint64_t start_ns;       /* SEARCHING: no probe before; 0: at once */
    uint64_t burst_end;      /* packet number after the present loss burst */
    uint16_t burst_size_min; /* smallest packet of it; 0: no burst */
    uint16_t hole_size_min;  /* smallest of all suspicious bursts */
    uint8_t holes;           /* suspicious bursts since the last proof that the size works */
    uint64_t probes_lost, black_holes; /* statistics */
};

/** Starts at `initial` (1200..max) and searches up to max; on false or max == initial: no search. */
void kith__mtu_init(struct kith_mtu *mtu, bool on, uint16_t initial, uint16_t max);
/** The peer's max_udp_payload_size (>= 1200, untrusted otherwise). Lowers max and, if it must, size. */
void kith__mtu_set_peer_max(struct kith_mtu *mtu, uint64_t max);
/** Puts the start of a search off to start_ns: a connection that may never send much is spared the probes. */
void kith__mtu_put_off(struct kith_mtu *mtu, uint64_t start_ns);
/** A datagram of the present size was full: bigger ones would help, so the search starts now. */
static inline void kith__mtu_on_full(struct kith_mtu *mtu)
{
    mtu->start_ns = 0;
}
/**
 * The size of the probe to send now, 0: none. The caller sends PING, IMMEDIATE_ACK if allowed, PADDING; not
 * congestion-controlled.
 */
uint16_t kith__mtu_probe_size(struct kith_mtu *mtu, uint64_t now_ns);
/** When probe_size becomes interesting again by itself; KITH_NEVER. */
uint64_t kith__mtu_deadline(const struct kith_mtu *mtu);
void kith__mtu_on_probe_sent(struct kith_mtu *mtu, uint64_t number);
/** A packet of `size` bytes was acknowledged. Returns true if the packet size of the path grew. */
bool kith__mtu_on_acked(struct kith_mtu *mtu, uint64_t number, uint16_t size, bool is_probe, uint64_t now_ns);
/**
 * A packet was declared lost; calls come in ascending order of numbers. Returns true if the packet size fell back to
 * the base (black hole).
 */
bool kith__mtu_on_lost(struct kith_mtu *mtu, uint64_t number, uint16_t size, bool is_probe, uint64_t now_ns);

#endif
