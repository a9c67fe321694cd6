/**
 * Rates of clients by address, in a table of fixed size: a token bucket for each, in one number (the time at which it will be full
 * again; RFC-free knowledge of ATM's GCRA). An IPv6 address counts as its prefix, as a host has all of it. Who does not find a place takes that of the
 * client whose bucket is fullest: with more clients than places the rates are lenient, never strict.
 *
 * Thread rules: take from any thread; what two threads do to one bucket at once may count once.
 */
#ifndef KITH_ZONE_RATES_H
#define KITH_ZONE_RATES_H

#include <kith/types.h>

struct kith_rates;

enum { KITH_RATES_SIZE_MAX = 1 << 24 };

struct kith_rates_options {
    double rate;              /* a second, > 0; KITH_DNS_NO_LIMIT and above: everything is taken */
    uint32_t burst;           /* >= 1: so many at once */
    uint32_t size;            /* clients, rounded up to a power of two; at most KITH_RATES_SIZE_MAX. 16 bytes each */
    uint8_t v4_bits, v6_bits; /* of an address that count: 1..32, 1..64 */
    uint64_t seed;            /* random: nobody can choose addresses that share a place */
};

/** Errors: NOMEM; INVALID: an option. */
KITH_MUST_USE int kith__rates_new(const struct kith_mem *mem, const struct kith_rates_options *options,
                                  struct kith_rates **out);
/** NULL is fine. */
void kith__rates_free(struct kith_rates *rates);
/** Takes one token of the client at `from`. 0: taken; else how long until there is one, in ns (never 0). */
uint64_t kith__rates_take(struct kith_rates *rates, const struct kith_sockaddr *from, uint64_t now_ns);

#endif
