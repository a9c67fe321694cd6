/**
 * The local network as a lookup service, "mdns": tells who is near where this endpoint is, and finds those who do. It uses all
 * interfaces that take multicast, IPv4 and IPv6, also those that come later; the loopback one only if there is no other.
 *
 * A search hears at once what is known already, then everything that the endpoint says anew. It ends a little after the endpoint
 * spoke, or after KITH_MDNS_SEARCH_NS. Thread rules: those of the rt. Source: spec/03, 10.
 */
#ifndef KITH_LOOKUP_MDNS_SERVICE_H
#define KITH_LOOKUP_MDNS_SERVICE_H

#include "lookup/mdns_core.h"
#include "lookup/service.h"
#include "rt/rt.h"

#define KITH_MDNS_SEARCH_NS (10 * KITH_NS_PER_S)
/** What else comes after the first word of an endpoint: the same on other interfaces. */
#define KITH_MDNS_LINGER_NS KITH_NS_PER_S

struct kith_mdns_service_options {
    struct kith_id id;
    const char *service; /* name of the service on the network; NULL: iroh's. Copied */
    bool no_publish;     /* only resolves: says nothing of us, but asks */
    bool no_resolve;     /* only publishes */
    uint16_t port;       /* 0: KITH_MDNS_PORT. For tests on a machine that others use */
};

/** Until what failed is tried again. */
#define KITH_MDNS_RETRY_NS (30 * KITH_NS_PER_S)

/**
 * Makes one. An interface that cannot be used is tried again when the network changes, and every KITH_MDNS_RETRY_NS; that there is
 * none at all is no error. rt is borrowed. NOMEM; INVALID: it would do nothing; PARSE, TOO_LARGE: the service's name.
 */
KITH_MUST_USE int kith__mdns_service_new(struct kith_rt *rt, const struct kith_mdns_service_options *options,
                                         struct kith_lookup_service **out);

/** Of the service that kith__mdns_service_new made: what it counts, and its ways to the network that are open. */
struct kith_mdns_stats kith__mdns_service_stats(const struct kith_lookup_service *service);
size_t kith__mdns_service_links(const struct kith_lookup_service *service);

#endif
