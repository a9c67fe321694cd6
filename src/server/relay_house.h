/**
 * The part of a relay that is not on the way of data: metrics, rates for the page, and (server/relay_certs.h, relay_qad.h)
 * certificates and address discovery. One rt, one thread.
 */
#ifndef KITH_SERVER_RELAY_HOUSE_H
#define KITH_SERVER_RELAY_HOUSE_H

#include "server/httpd.h"
#include "server/relay_setup.h"
#include "server/relay_shared.h"

struct kith_relay_house;

struct kith_relay_house_options {
    struct kith_rt *rt; /* its hooks are the house's */
    const struct kith_mem *mem;
    struct kith_relay_shared *shared; /* outlives the house */
};

/** Errors: NOMEM. */
KITH_MUST_USE int kith__relay_house_new(const struct kith_relay_house_options *options, struct kith_relay_house **out);
/** NULL is fine. */
void kith__relay_house_free(struct kith_relay_house *house);
/** Serves metrics there. Errors of kith__httpd_listen. */
KITH_MUST_USE int kith__relay_house_listen(struct kith_relay_house *house, const struct kith_sockaddr *at,
                                           struct kith_sockaddr *bound);
/** Appends the metrics of the whole relay as OpenMetrics text. Any thread. Errors: NOMEM. */
KITH_MUST_USE int kith__relay_metrics_write(const struct kith_relay_shared *shared, uint64_t now_ns,
                                            struct kith_buf *out);

#endif
