/**
 * The part of a relay that is not on the way of data: metrics, rates for the page, and (server/certs.h, relay_qad.h)
 * certificates and address discovery. One rt, one thread.
 */
#ifndef KITH_SERVER_RELAY_HOUSE_H
#define KITH_SERVER_RELAY_HOUSE_H

#include "server/certs.h"
#include "server/httpd.h"
#include "server/relay_qad.h"
#include "server/relay_setup.h"
#include "server/relay_shared.h"

struct kith_relay_house;

struct kith_relay_house_options {
    struct kith_rt *rt; /* its hooks are the house's */
    const struct kith_mem *mem;
    struct kith_relay_shared *shared; /* outlives the house */
    /** The program's: certificates, address discovery (discovery_count), its rates. Used during the call only. */
    const struct kith_relay_options *relay;
    /** A certificate for the workers: a reference goes to each. Called on the house's thread, and before kith__relay_house_new returns. */
    void (*on_certificate)(void *ctx, struct kith_tls_stream_context *context);
    void *ctx;
};

/** Errors, with a sentence: NOMEM; those of kith__certs_new, of kith__relay_qad_new. */
KITH_MUST_USE int kith__relay_house_new(const struct kith_relay_house_options *options, struct kith_relay_house **out,
                                        struct kith_server_why *why);
/** NULL is fine. */
void kith__relay_house_free(struct kith_relay_house *house);
/** Serves metrics there. Errors of kith__httpd_listen. */
KITH_MUST_USE int kith__relay_house_listen(struct kith_relay_house *house, const struct kith_sockaddr *at,
                                           struct kith_sockaddr *bound);
/** Serves address discovery there; options->relay had discovery_count > 0. Errors of kith__relay_qad_listen. */
KITH_MUST_USE int kith__relay_house_discover(struct kith_relay_house *house, const struct kith_sockaddr *at,
                                             struct kith_sockaddr *bound);
/** Reads the certificate again in the next turn. Any thread. */
void kith__relay_house_reload(struct kith_relay_house *house);
/** New rates of address discovery, in the next turn. Any thread; lock: the caller's, held by one caller at a time. */
void kith__relay_house_set_rates(struct kith_relay_house *house, double rate, double per_ip_rate);
/** Appends the metrics of the whole relay as OpenMetrics text. Any thread. Errors: NOMEM. */
KITH_MUST_USE int kith__relay_metrics_write(const struct kith_relay_shared *shared, uint64_t now_ns,
                                            struct kith_buf *out);

#endif
