/**
 * Round-trip time of one path. All times in nanoseconds. Owner: the path, by value. Source: RFC 9002, section 5.
 */
#ifndef KITH_QUIC_RECOVER_RTT_H
#define KITH_QUIC_RECOVER_RTT_H

#include <kith/types.h>

enum { KITH_RTT_GRANULARITY_NS = 1000000 }; /* RFC 9002, 6.1.2 */

struct kith_rtt {
    uint64_t latest_ns, smoothed_ns, var_ns;
    uint64_t min_ns;          /* UINT64_MAX before the first sample */
    uint64_t first_sample_ns; /* when it came; KITH_NEVER before: persistent congestion looks only behind it */
};

/** No sample yet: smoothed is `initial_ns` (> 0), the variation half of it. RFC 9002, 5.3. */
void kith__rtt_init(struct kith_rtt *rtt, uint64_t initial_ns);
/**
 * Takes one sample.
 *   sample_ns     now minus the send time of the largest newly acknowledged packet; 0 counts as 1
 *   ack_delay_ns  from the peer's ACK, untrusted: cut to delay_max_ns, ignored where subtracting it would go below
 * min_ns
 *   delay_max_ns  the peer's max_ack_delay; UINT64_MAX before the handshake is confirmed
 * Cannot fail. Source: RFC 9002, 5.3.
 */
void kith__rtt_on_sample(struct kith_rtt *rtt, uint64_t sample_ns, uint64_t ack_delay_ns, uint64_t delay_max_ns,
                         uint64_t now_ns);
static inline bool kith__rtt_has_sample(const struct kith_rtt *rtt)
{
    return rtt->min_ns != UINT64_MAX;
}
/**
 * The probe timeout without backoff: smoothed + max(4 var, 1 ms) + the peer's max_ack_delay (0 for Initial and
 * Handshake).
 */
uint64_t kith__rtt_pto_ns(const struct kith_rtt *rtt, uint64_t delay_max_ns);

#endif
