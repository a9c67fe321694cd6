/*
 * The TLS library takes its random numbers and the date from the system. In these programs the system is this file, so
 * that one seed decides those as well: a program's own functions go before those of the C library. Nothing here is
 * random, of course; these programs talk to nobody.
 */
#include "entropy.h"

#include "base/random.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

static struct kith_prng prng;
static uint64_t now_ns;
static int is_seeded;

void kith__entropy_seed(uint64_t seed)
{
    kith__prng_init(&prng, seed);
    now_ns = UINT64_C(1700000000) * 1000000000;
    is_seeded = 1;
}

/* Visible to the libraries, whatever the rest of the program is. */
#define SEEN __attribute__((visibility("default")))

SEEN ssize_t getrandom(void *out, size_t size, unsigned flags)
{
    (void)flags;
    if (!is_seeded)
        kith__entropy_seed(1);
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)out)[i] = (uint8_t)(kith__prng_next(&prng) >> 32);
    return (ssize_t)size;
}

SEEN int clock_gettime(clockid_t clock, struct timespec *out)
{
    (void)clock;
    if (!is_seeded)
        kith__entropy_seed(1);
    now_ns += 1000;
    out->tv_sec = (time_t)(now_ns / 1000000000);
    out->tv_nsec = (long)(now_ns % 1000000000);
    return 0;
}

SEEN time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
