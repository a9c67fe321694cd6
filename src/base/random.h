/**
 * Numbers from a source of random bytes (struct kith_random), and a seeded generator for simulation: the same seed gives
 * the same numbers on every machine. The generator is not for keys.
 */
#ifndef KITH_BASE_RANDOM_H
#define KITH_BASE_RANDOM_H

#include "base/assert.h"
#include <kith/types.h>

static inline void kith__random_fill(const struct kith_random *random, void *out, size_t size)
{
    random->fill(random->ctx, out, size);
}

/** Uniform in 0 .. 2^64-1; the bytes of the source are taken as little endian, so that runs repeat on any machine. */
static inline uint64_t kith__random_u64(const struct kith_random *random)
{
    uint8_t bytes[8];
    uint64_t value = 0;

    kith__random_fill(random, bytes, sizeof bytes);
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

/** Uniform in 0 .. bound-1, without bias; bound > 0. */
uint64_t kith__random_below(const struct kith_random *random, uint64_t bound);

/** State of the deterministic generator (xoshiro256**), by value in its owner. */
struct kith_prng {
    uint64_t state[4];
};

/** Starts a sequence; any seed is fine. */
void kith__prng_init(struct kith_prng *prng, uint64_t seed);
/** The next number, uniform in 0 .. 2^64-1. */
uint64_t kith__prng_next(struct kith_prng *prng);
/** A source over the generator, which is borrowed and must not move. */
struct kith_random kith__prng_source(struct kith_prng *prng);

#endif
