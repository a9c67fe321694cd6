#include "relay/limits.h"

#include "base/assert.h"

/* So that a full bucket's nanoseconds times units fit 64 bits. */
#define UNITS_MAX (UINT64_C(1) << 33)

void kith__relay_bucket_init(struct kith_relay_bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
    KITH_ASSERT(rate <= UNITS_MAX && burst <= UNITS_MAX);
    if (burst == 0)
        burst = KITH_MAX(rate / 10, (uint64_t)1);
    *bucket = (struct kith_relay_bucket) { .rate = rate, .burst = burst, .level = burst, .last_ns = now_ns };
}

static void fill_up(struct kith_relay_bucket *bucket)
{
    bucket->level = bucket->burst;
    bucket->debt = bucket->rest = 0;
}

static void refill(struct kith_relay_bucket *bucket, uint64_t now_ns)
{
    uint64_t missing = bucket->burst - bucket->level + bucket->debt, elapsed_ns, gained, paid;

    if (now_ns <= bucket->last_ns)
        return;
    elapsed_ns = now_ns - bucket->last_ns;
    bucket->last_ns = now_ns;
    if (missing == 0 || elapsed_ns / KITH_NS_PER_S > missing / bucket->rate) {
        fill_up(bucket);
        return;
    }
    gained = elapsed_ns * bucket->rate + bucket->rest; /* at most a second more than what is missing */
    if (gained / KITH_NS_PER_S >= missing) {
        fill_up(bucket);
        return;
    }
    paid = KITH_MIN(gained / KITH_NS_PER_S, bucket->debt);
    bucket->debt -= paid;
    bucket->level += gained / KITH_NS_PER_S - paid;
    bucket->rest = gained % KITH_NS_PER_S;
}

bool kith__relay_bucket_take(struct kith_relay_bucket *bucket, uint64_t size, uint64_t now_ns)
{
    if (bucket->rate == 0)
        return true;
    refill(bucket, now_ns);
    if (size <= bucket->level) {
        bucket->level -= size;
        return true;
    }
    if (size <= bucket->burst || bucket->level < bucket->burst || size - bucket->burst > KITH_RELAY_BUCKET_DEBT_MAX)
        return false;
    bucket->debt = size - bucket->burst;
    bucket->level = 0;
    return true;
}

uint64_t kith__relay_bucket_ready_ns(struct kith_relay_bucket *bucket, uint64_t size, uint64_t now_ns)
{
    uint64_t missing;

    if (bucket->rate == 0)
        return now_ns;
    refill(bucket, now_ns);
    if (size > bucket->burst)
        return KITH_NEVER;
    if (size <= bucket->level)
        return now_ns;
    missing = (size - bucket->level + bucket->debt) * KITH_NS_PER_S - bucket->rest;
    return KITH_MAX(now_ns, bucket->last_ns) + (missing + bucket->rate - 1) / bucket->rate;
}
