#include "base/random.h"

uint64_t kith__random_below(const struct kith_random *random, uint64_t bound)
{
    uint64_t skip, value;

    KITH_ASSERT(bound > 0);
    /* 2^64 mod bound numbers at the start are refused, so that a whole multiple of bound is left. */
    skip = (0 - bound) % bound;
    do
        value = kith__random_u64(random);
    while (value < skip);
    return value % bound;
}

/** splitmix64: fills the state of the large generator from a seed of little entropy. */
static uint64_t split(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void kith__prng_init(struct kith_prng *prng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        prng->state[i] = split(&seed);
}

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

uint64_t kith__prng_next(struct kith_prng *prng)
{
    uint64_t *s = prng->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

static void prng_fill(void *ctx, uint8_t *out, size_t size)
{
    while (size != 0) {
        uint64_t word = kith__prng_next(ctx);
        size_t part = KITH_MIN(size, sizeof word);

        for (size_t i = 0; i < part; i++)
            *out++ = (uint8_t)(word >> (8 * i));
        size -= part;
    }
}

struct kith_random kith__prng_source(struct kith_prng *prng)
{
    return (struct kith_random) { prng_fill, prng };
}
