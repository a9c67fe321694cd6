/**
 * Flow control, both directions, for bytes and for streams. Intents, not frames: a lost packet makes the intent due again.
 * Owner: the stream (its data) or the set of streams (all data, number of streams), by value.
 * Source: RFC 9000, 4 and 19.9 to 19.14; spec/01, 1.11.
 */
#ifndef KITH_QUIC_STREAM_CREDIT_H
#define KITH_QUIC_STREAM_CREDIT_H

#include "codec/varint.h"
#include <kith/types.h>

/**
 * What the windows of several limits may still grow together beyond what each began with: a peer that makes many windows
 * grow, and whose data nobody reads, cannot make us hold more than the first windows and this. Owner: who owns the limits.
 */
struct kith_credit_pool {
    uint64_t left;
};

/** A limit that we grant the peer and renew as it is used up. */
struct kith_credit {
    uint64_t used;          /* given back by the application so far */
    uint64_t window;        /* how far past `used` the peer may run */
    uint64_t window_max;    /* the window grows up to this on its own; equal to window: never */
    uint64_t grown;         /* part of `window` that was taken from a pool */
    uint64_t announced;     /* largest limit ever put in a packet; never shrinks */
    uint64_t tune_start_ns; /* when the window that tune_used belongs to began */
    uint64_t tune_used;     /* `used` at that time */
    bool resend;            /* the packet that carried `announced` was lost */
};

/** announced = window at first: the peer knows it from the transport parameters. Values are cut to 2^62-1. */
void kith__credit_init(struct kith_credit *credit, uint64_t window, uint64_t window_max);
/** The limit that could be announced now. */
static inline uint64_t kith__credit_target(const struct kith_credit *credit)
{
    return credit->window > KITH_VARINT_MAX - credit->used ? KITH_VARINT_MAX : credit->used + credit->window;
}
/** True if a new limit should be sent: it grew by an eighth of the window, or the last one was lost. */
static inline bool kith__credit_is_due(const struct kith_credit *credit)
{
    uint64_t target = kith__credit_target(credit);

    return credit->resend || (target > credit->announced && target - credit->announced >= credit->window / 8);
}
/** The limit to put in a packet now. */
uint64_t kith__credit_announce(struct kith_credit *credit);
/** The packet that carried `limit` was lost; an older limit than the newest one does not matter. */
void kith__credit_on_lost(struct kith_credit *credit, uint64_t limit);
/**
 * `count` units are free again. Doubles the window (up to window_max) if the application used up a whole window in less
 * than two round trips: then the window, not the network, is what slows the peer down. now_ns and rtt_ns: of the path;
 * rtt_ns 0: unknown, no tuning. pool: growth comes out of it, less than a doubling if there is not enough; NULL: unlimited.
 */
void kith__credit_give_back(struct kith_credit *credit, struct kith_credit_pool *pool, uint64_t count, uint64_t now_ns,
                            uint64_t rtt_ns);
/** Nothing more will be held under this limit: what its window took goes back into the pool. Fine twice. */
void kith__credit_release(struct kith_credit *credit, struct kith_credit_pool *pool);

/** A limit that the peer grants us. */
struct kith_limit {
    uint64_t max;      /* largest value ever received */
    uint64_t used;     /* <= max, but for streams opened in 0-RTT that was rejected */
    bool blocked_due;  /* tell the peer that we are blocked at max */
    bool blocked_told; /* the peer was told about this max (until that is lost) */
};

static inline void kith__limit_init(struct kith_limit *limit, uint64_t max)
{
    *limit = (struct kith_limit) { .max = max };
}
static inline uint64_t kith__limit_left(const struct kith_limit *limit)
{
    return limit->max > limit->used ? limit->max - limit->used : 0;
}
/** Takes a new limit (untrusted); smaller ones are ignored. Returns true if it grew. */
bool kith__limit_raise(struct kith_limit *limit, uint64_t max);
/** count <= left. */
void kith__limit_take(struct kith_limit *limit, uint64_t count);
/** We would send more if we could: makes a *_BLOCKED frame due, once for each value of the limit. */
void kith__limit_on_blocked(struct kith_limit *limit);
/** The value for the *_BLOCKED frame that goes out now. */
uint64_t kith__limit_tell_blocked(struct kith_limit *limit);
/** The *_BLOCKED frame with `max` was lost: due again if that is still the limit and it is used up. */
void kith__limit_on_blocked_lost(struct kith_limit *limit, uint64_t max);

#endif
