/**
 * The registry of an endpoint's lookup services: publishes through all of them, asks all of them at once and hands on what
 * each finds, as it comes, merged, with where it came from and how old it is. Lookups of one id that overlap share one round of
 * questions. Source: spec/03, 12.
 *
 * Thread rules: those of the rt. Callbacks come only out of kith__rt_process.
 */
#ifndef KITH_LOOKUP_LOOKUP_H
#define KITH_LOOKUP_LOOKUP_H

#include "lookup/service.h"
#include "rt/rt.h"

struct kith_lookup;
struct kith_lookup_request; /* one caller's wish; gone after on_end or cancel */

enum {
    KITH_LOOKUP_SERVICES_MAX = 16,
    KITH_LOOKUP_IDS_MAX = 1024 /* ids looked for at once; with more: LIMIT */
};

/** A service takes as long as it likes; the whole ends after this (mDNS answers come for 10 s: spec/03, 10.3). */
#define KITH_LOOKUP_LIMIT_NS (15 * KITH_NS_PER_S)

/** rt and mem are borrowed, id is the endpoint's own, which is never looked for. Errors: NOMEM. */
KITH_MUST_USE int kith__lookup_new(struct kith_rt *rt, const struct kith_mem *mem, const struct kith_id *id,
                                   struct kith_lookup **out);
/** Ends all requests without callbacks, and frees the services. NULL is fine. Not out of a callback of a request. */
void kith__lookup_free(struct kith_lookup *lookup);
/**
 * Adds a service, owned by the registry from here on (also on errors). What was published last goes to it at once. LIMIT,
 * NOMEM.
 */
KITH_MUST_USE int kith__lookup_add(struct kith_lookup *lookup, struct kith_lookup_service *service);
size_t kith__lookup_count(const struct kith_lookup *lookup);
/** Borrowed. */
struct kith_lookup_service *kith__lookup_service(const struct kith_lookup *lookup, size_t index);

/** What one service was asked and said, for metrics. Questions that nobody waited for any more end in none of the three. */
struct kith_lookup_stats {
    uint64_t asked;                         /* rounds */
    uint64_t ended_found, ended_not_found;  /* rounds: with success; knows nothing about that id */
    uint64_t ended_failed;                  /* rounds: any other error, no answer in time included */
    uint64_t items;                         /* findings handed on */
    uint64_t drop_wrong_id, drop_no_memory; /* findings not handed on: about another id; no memory to merge them */
    uint64_t addrs_ignored;                 /* addresses that found no room in what was merged */
    uint64_t attrs_ignored;                 /* attributes that were not understood, of findings handed on */
};
struct kith_lookup_stats kith__lookup_stats(const struct kith_lookup *lookup, size_t index);
/** The error of the last round that ended_failed counts, with a sentence, borrowed until the next one; 0 and "": there was none. */
int kith__lookup_failure(const struct kith_lookup *lookup, size_t index, const char **why);
/** True if at least one service can resolve. */
bool kith__lookup_can_resolve(const struct kith_lookup *lookup);
/**
 * Publishes through all services, through each what its filter lets pass; nothing is sent while there is nothing to tell and
 * nothing was told before. NOMEM.
 */
KITH_MUST_USE int kith__lookup_publish(struct kith_lookup *lookup, const struct kith_lookup_info *info);
/** For all services. */
void kith__lookup_on_network_change(struct kith_lookup *lookup);

/** One finding, as it comes. Borrowed during the callback. */
struct kith_lookup_item {
    const struct kith_lookup_service *service; /* provenance: service->ops->name, service->label */
    const struct kith_lookup_info *info;       /* what this service said now */
    /**
     * All that was found until now. Addresses are only added. User data are those of the finding with the newest updated_us;
     * without one, what was said last.
     */
    const struct kith_lookup_info *merged;
    bool is_news;        /* merged has an address more than before this item */
    uint64_t updated_us; /* see kith_lookup_found */
    uint64_t took_ns;    /* since the request's round of questions began */
};

struct kith_lookup_events {
    void (*on_item)(void *ctx, const struct kith_lookup_item *item);
    /** A service is through: err and why as on_end of kith_lookup_sink, and "" only for 0. NULL is fine. */
    void (*on_service_end)(void *ctx, const struct kith_lookup_service *service, int err, const char *why);
    /**
     * Last; the request is gone. err 0: something was found, why is "". NOT_FOUND: all services failed or know nothing;
     * why names each with its reason.
     */
    void (*on_end)(void *ctx, int err, const char *why);
    void *ctx;
};

enum { KITH_LOOKUP_WHY_SIZE = 4096 }; /* any why of on_end with its end; what is longer is cut */

/**
 * Looks for id. `events` is copied. Errors: NOMEM; LIMIT; STATE: no service can resolve; INVALID: our own id. A request that
 * joins a round in progress gets what was found already, and which services are through, in the next turn. Requests may be
 * made and cancelled out of every callback.
 */
KITH_MUST_USE int kith__lookup_resolve(struct kith_lookup *lookup, const struct kith_id *id,
                                       const struct kith_lookup_events *events, struct kith_lookup_request **out);
/** No callback follows. NULL is fine. */
void kith__lookup_cancel(struct kith_lookup_request *request);

#endif
