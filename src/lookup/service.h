/**
 * One way to find endpoints, or to be found, behind a narrow interface: DNS, pkarr over HTTP, the local network, the DHT, a table
 * in memory. The registry (lookup/lookup.h) uses all of an endpoint's services at once.
 *
 * Implementations embed struct kith_lookup_service as their first member. Thread rules: those of the rt. Callbacks come only
 * out of kith__rt_process, never out of resolve or publish themselves. Source: spec/03, 12.1.
 */
#ifndef KITH_LOOKUP_SERVICE_H
#define KITH_LOOKUP_SERVICE_H

#include "lookup/info.h"

struct kith_lookup_service;
struct kith_lookup_query; /* a resolve in progress; implementations embed it first. Gone after on_end or cancel */

/** Something that a service found. Everything is borrowed during the callback. */
struct kith_lookup_found {
    const struct kith_lookup_info *info;
    uint64_t updated_us; /* wall-clock time at which its owner said so (a packet's timestamp); 0: not told */
    size_t ignored;      /* attributes beside it that were not understood */
};

/** Where a resolve reports to. */
struct kith_lookup_sink {
    /** Any number of times. The query may be cancelled from inside. */
    void (*on_found)(void *ctx, const struct kith_lookup_found *found);
    /**
     * Once, last. err 0: something was found; NOT_FOUND: nobody knows that id there; else what failed (TIMEOUT, REFUSED, PARSE,
     * CRYPTO, ...). why: a sentence (what failed, why, what helps), also for NOT_FOUND; "" for 0.
     */
    void (*on_end)(void *ctx, int err, const char *why);
    void *ctx;
};

/** How the publishing of a service goes, for people. */
struct kith_lookup_published {
    uint64_t accepted_count, failed_count;
    uint64_t accepted_ns; /* rt time of the last success; 0: none yet */
    int err;              /* of the last attempt; 0: it was accepted, or there was none */
    char why[256];        /* a sentence about it; "" */
};

struct kith_lookup_service_ops {
    const char *name; /* provenance: "dns", "pkarr", "mdns", "dht", "memory"; static */
    /**
     * Tells the world from now on, until the next call; info is copied. Already filtered by the registry, not by the service.
     * Equal info changes nothing. NULL: the service publishes nothing.
     */
    void (*publish)(struct kith_lookup_service *service, const struct kith_lookup_info *info);
    /** Fills *out; NULL where publish is. */
    void (*published)(const struct kith_lookup_service *service, struct kith_lookup_published *out);
    /** Starts to look for id. NULL: the service finds nothing. Errors: NOMEM, and what fails at once. The sink is copied. */
    int (*resolve)(struct kith_lookup_service *service, const struct kith_id *id, const struct kith_lookup_sink *sink,
                   struct kith_lookup_query **out);
    /** Gives up: no callback follows. */
    void (*cancel)(struct kith_lookup_query *query);
    /** The network changed (other interfaces, another resolver): look again at whatever depends on it. NULL is fine. */
    void (*on_network_change)(struct kith_lookup_service *service);
    /** Ends it; no query is left (asserted). */
    void (*free)(struct kith_lookup_service *service);
};

struct kith_lookup_service {
    const struct kith_lookup_service_ops *ops;
    char label[128]; /* which one, for people: "dns:dns.iroh.link", "pkarr:https://...", "mdns"; the implementation's */
    uint8_t filter;  /* enum kith_lookup_filter: what the registry tells it; set before kith__lookup_add. 0: relays */
};

#endif
