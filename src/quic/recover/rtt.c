#include "quic/recover/rtt.h"

#include "base/assert.h"

void kith__rtt_init(struct kith_rtt *rtt, uint64_t initial_ns)
{
    KITH_ASSERT(initial_ns > 0);
    *rtt = (struct kith_rtt) { .latest_ns = initial_ns,
                               .smoothed_ns = initial_ns,
                               .var_ns = initial_ns / 2,
                               .min_ns = UINT64_MAX,
                               .first_sample_ns = KITH_NEVER };
}

void kith__rtt_on_sample(struct kith_rtt *rtt, uint64_t sample_ns, uint64_t ack_delay_ns, uint64_t delay_max_ns,
                         uint64_t now_ns)
{
    uint64_t delay_ns = KITH_MIN(ack_delay_ns, delay_max_ns);
    uint64_t adjusted_ns, deviation_ns;

    sample_ns = KITH_MAX(sample_ns, 1u);
    rtt->latest_ns = sample_ns;
    if (!kith__rtt_has_sample(rtt)) {
        rtt->min_ns = rtt->smoothed_ns = sample_ns;
        rtt->var_ns = sample_ns / 2;
        rtt->first_sample_ns = now_ns;
        return;
    }
    rtt->min_ns = KITH_MIN(rtt->min_ns, sample_ns);
    adjusted_ns = sample_ns - rtt->min_ns >= delay_ns ? sample_ns - delay_ns : sample_ns;
    deviation_ns = rtt->smoothed_ns > adjusted_ns ? rtt->smoothed_ns - adjusted_ns : adjusted_ns - rtt->smoothed_ns;
    rtt->var_ns = (3 * rtt->var_ns + deviation_ns) / 4;
    rtt->smoothed_ns = (7 * rtt->smoothed_ns + adjusted_ns) / 8;
}

uint64_t kith__rtt_pto_ns(const struct kith_rtt *rtt, uint64_t delay_max_ns)
{
    return rtt->smoothed_ns + KITH_MAX(4 * rtt->var_ns, (uint64_t)KITH_RTT_GRANULARITY_NS) + delay_max_ns;
}
