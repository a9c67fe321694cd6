/* Rates of clients by address. */
#include "zone/rates.h"

#include "base/assert.h"
#include "base/mem.h"
#include <kith/dns.h>
#include <math.h>
#include <stdatomic.h>

enum { WAYS = 8 };

/* One client: the time at which its bucket is full. In the past: it is full, and the place is free. */
struct place {
    _Atomic uint64_t key, full_ns;
};

struct kith_rates {
    const struct kith_mem *mem;
    uint64_t token_ns, burst_ns; /* of one; of all. token_ns 0: no limit */
    uint64_t seed;
    size_t sets; /* a power of two */
    uint8_t v4_bits, v6_bits;
    struct place places[];
};

int kith__rates_new(const struct kith_mem *mem, const struct kith_rates_options *options, struct kith_rates **out)
{
    struct kith_rates *rates;
    size_t sets = 1;

    if (!isfinite(options->rate) || options->rate <= 0 || options->burst == 0 || options->size > KITH_RATES_SIZE_MAX ||
        options->v4_bits == 0 || options->v4_bits > 32 || options->v6_bits == 0 || options->v6_bits > 64)
        return KITH_ERR_INVALID;
    while (sets * WAYS < options->size)
        sets *= 2;
    if ((rates = kith__alloc_zero(mem, sizeof *rates + sets * WAYS * sizeof rates->places[0])) == NULL)
        return KITH_ERR_NOMEM;
    rates->mem = mem;
    rates->seed = options->seed;
    rates->sets = sets;
    rates->v4_bits = options->v4_bits;
    rates->v6_bits = options->v6_bits;
    if (options->rate < KITH_DNS_NO_LIMIT) {
        double token_ns = (double)KITH_NS_PER_S / options->rate, most = (double)(UINT64_MAX >> 2);

        rates->token_ns = (uint64_t)fmin(fmax(token_ns, 1), most / options->burst);
        rates->burst_ns = rates->token_ns * options->burst;
    }
    *out = rates;
    return 0;
}

void kith__rates_free(struct kith_rates *rates)
{
    if (rates != NULL)
        kith__free(rates->mem, rates);
}

/* IPv4 stands where no IPv6 source can: in a range of multicast. */
static uint64_t key_of(const struct kith_rates *rates, const struct kith_sockaddr *from)
{
    uint64_t key = 0;

    if (from->family == KITH_FAMILY_V4) {
        for (int i = 0; i < 4; i++)
            key = key << 8 | from->ip[i];
        return 0xffff000000000000 | (key & (uint64_t)UINT32_MAX << (32 - rates->v4_bits));
    }
    for (int i = 0; i < 8; i++)
        key = key << 8 | from->ip[i];
    return key & UINT64_MAX << (64 - rates->v6_bits);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* The place of a key: its own, else that of whoever needs it least. */
static struct place *place_of(struct kith_rates *rates, uint64_t key)
{
    struct place *set = &rates->places[(mix(mix(key ^ rates->seed) + rates->seed) & (rates->sets - 1)) * WAYS];
    struct place *least = &set[0];
    uint64_t least_ns = UINT64_MAX;

    for (unsigned i = 0; i < WAYS; i++) {
        uint64_t full_ns = atomic_load_explicit(&set[i].full_ns, memory_order_relaxed);

        if (full_ns != 0 && atomic_load_explicit(&set[i].key, memory_order_relaxed) == key)
            return &set[i];
        if (full_ns < least_ns) {
            least_ns = full_ns;
            least = &set[i];
        }
    }
    atomic_store_explicit(&least->full_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&least->key, key, memory_order_relaxed);
    return least;
}

uint64_t kith__rates_take(struct kith_rates *rates, const struct kith_sockaddr *from, uint64_t now_ns)
{
    struct place *place;
    uint64_t full_ns, next_ns;

    if (rates->token_ns == 0)
        return 0;
    place = place_of(rates, key_of(rates, from));
    full_ns = atomic_load_explicit(&place->full_ns, memory_order_relaxed);
    do {
        next_ns = KITH_MAX(full_ns, now_ns) + rates->token_ns;
        if (next_ns - now_ns > rates->burst_ns)
            return next_ns - now_ns - rates->burst_ns;
    } while (!atomic_compare_exchange_weak_explicit(&place->full_ns, &full_ns, next_ns, memory_order_relaxed,
                                                    memory_order_relaxed));
    return 0;
}
