/**
 * A token bucket: `rate` units come each second, up to `burst`; it starts full. Exact for every rate, also below one in a
 * tick: what has come is worked out from the time, to the nanosecond. By value in its owner.
 *
 * What is larger than the burst would never fit: a full bucket lets it through, and nothing more before it is paid for. So the rate
 * holds for it too, where a burst is smaller than a datagram.
 */
#ifndef KITH_RELAY_LIMITS_H
#define KITH_RELAY_LIMITS_H

#include <kith/types.h>

struct kith_relay_bucket {
    uint64_t rate;    /* units a second; 0: no limit */
    uint64_t burst;   /* most that is in it, >= 1 unless rate is 0 */
    uint64_t level;   /* what is in it, <= burst */
    uint64_t debt;    /* of what was larger than the burst: comes before the level rises; then level is 0 */
    uint64_t rest;    /* of a unit: nanoseconds times rate that have not made one yet */
    uint64_t last_ns; /* level is of this time */
};

/** A full bucket. burst 0: a tenth of rate, at least 1 (spec/02, 5.5). */
void kith__relay_bucket_init(struct kith_relay_bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now_ns);
/** The most that may go on credit. */
enum { KITH_RELAY_BUCKET_DEBT_MAX = 1 << 20 };

/**
 * Takes `size` if that much is in it, all or nothing; of a full one more, up to KITH_RELAY_BUCKET_DEBT_MAX beyond the burst. True also
 * without a limit. Time that goes back counts as standing still.
 */
bool kith__relay_bucket_take(struct kith_relay_bucket *bucket, uint64_t size, uint64_t now_ns);
/** When `size` <= burst will be in it: now_ns if it is; KITH_NEVER for more than burst. */
uint64_t kith__relay_bucket_ready_ns(struct kith_relay_bucket *bucket, uint64_t size, uint64_t now_ns);

#endif
