/**
 * Decisions about relays, as functions on values: which one is home, which second one is kept warm, and how long to wait before
 * dialling again. Source: spec/02, 4.5, 4.6 and 9.2; spec/04, 3.5.
 */
#ifndef KITH_ENDPOINT_RELAY_CHOICE_H
#define KITH_ENDPOINT_RELAY_CHOICE_H

#include <kith/types.h>

/** How fit a relay is for being home, best last. */
enum kith_relay_fitness {
    KITH_RELAY_FAILING, /* the last attempt to connect failed, or it denied us */
    KITH_RELAY_UNKNOWN, /* not tried yet, or being tried for the first time */
    KITH_RELAY_DOUBTED, /* connected, but it does not answer just now; or about to restart */
    KITH_RELAY_FIT      /* connected */
};

struct kith_relay_rank {
    uint8_t fitness;     /* enum kith_relay_fitness */
    uint64_t latency_ns; /* KITH_NEVER: not known */
};

/** Indices into the ranks; KITH_RELAY_NONE. */
struct kith_relay_choice {
    size_t home, warm;
};
#define KITH_RELAY_NONE SIZE_MAX

/**
 * Chooses among `count` relays. The fitter one wins, then the faster one, then the first. The present home (or NONE) stays as
 * long as it is as fit as the best, and not slower by half: a relay must be a good deal better to be worth a move. The warm one
 * is the best of the others.
 */
struct kith_relay_choice kith__relay_choose(const struct kith_relay_rank *ranks, size_t count, size_t home);

#define KITH_RELAY_BACKOFF_MIN_NS    (10 * KITH_NS_PER_MS)
#define KITH_RELAY_BACKOFF_MAX_NS    (16 * KITH_NS_PER_S)
#define KITH_RELAY_BACKOFF_NEEDED_NS KITH_NS_PER_S /* while a connection depends on it */

/**
 * How long to wait after `failures` >= 1 attempts in a row that failed: doubling, and each time up to as much again by `random`. At most
 * 32 s; 2 s if a connection depends on it.
 */
uint64_t kith__relay_backoff_ns(unsigned failures, bool is_needed, uint64_t random);

#endif
