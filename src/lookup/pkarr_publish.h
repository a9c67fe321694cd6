/**
 * The service "pkarr", the half that publishes: signed packets, PUT to a server over HTTP. Source: spec/03, 6, with its defects
 * mended: requests have a time limit, nothing is sent before there is something to tell, the pauses after failures end at a
 * bound, and a clock that goes back does not make us invisible.
 *
 *     what is to be told changes    at once, but not before the silence ends that the server asked for; one request at a
 *                                   time, and one under way is given up for it
 *     accepted                      again after republish_ns, with a new timestamp; an empty packet is not repeated
 *     failed                        again after 1, 2, 3, ... s, up to KITH_PKARR_RETRY_MAX_NS, a fifth more or less; after what
 *                                   the server asked for (Retry-After), if that is longer, up to KITH_PKARR_RETRY_AFTER_MAX_NS
 *     the network changes           at once, if the last attempt did not succeed
 *
 * Servers say yes also to a packet that is older than theirs, and keep theirs. So after the first success the packet of this
 * key is asked for; if it is newer than ours, ours is published again with a later timestamp. The same after a refusal of a packet
 * that is dated ahead of our clock, as a clock that was wrong once leaves them: if the server has an older one or none, ours is
 * published again with the time of now.
 *
 * Thread rules: those of the rt.
 */
#ifndef KITH_LOOKUP_PKARR_PUBLISH_H
#define KITH_LOOKUP_PKARR_PUBLISH_H

#include "lookup/pkarr_http.h"
#include "lookup/service.h"

#define KITH_PKARR_REPUBLISH_NS       (300 * KITH_NS_PER_S)
#define KITH_PKARR_RETRY_STEP_NS      KITH_NS_PER_S
#define KITH_PKARR_RETRY_MAX_NS       (60 * KITH_NS_PER_S)
#define KITH_PKARR_RETRY_AFTER_MAX_NS (300 * KITH_NS_PER_S)
#define KITH_PKARR_GAP_NS             (100 * KITH_NS_PER_MS) /* from the start of a request to that of the next, at least */
/** How far ahead of our clock a packet of this key at a server may be for us to go past it: 20 years. */
#define KITH_PKARR_AHEAD_MAX_US (20ull * 365 * 86400 * 1000000)

struct kith_pkarr_publish_options {
    struct kith_pkarr_http_options http;
    const struct kith_secret *secret; /* of the endpoint; copied */
    enum kith_lookup_filter filter;   /* what the registry tells it; 0: relays only */
    uint32_t ttl_s;                   /* of the records; 0: KITH_PKARR_TTL_S */
    uint64_t republish_ns;            /* 0: KITH_PKARR_REPUBLISH_NS */
    /**
     * The largest timestamp that was ever used for this key, from an earlier run; 0: none is known. Every packet has a larger
     * one than all before it, also when the clock goes back.
     */
    uint64_t last_us;
    /**
     * Keep this one for the next run: called before a packet goes out, with rising times, but that those which a clock ahead of time made,
     * and the server did not take, are gone back from. NULL: nobody does.
     */
    void (*store)(void *ctx, uint64_t timestamp_us);
    void *store_ctx;
};

/** Errors: those of kith__pkarr_http_init. */
KITH_MUST_USE int kith__pkarr_publish_new(struct kith_rt *rt, const struct kith_pkarr_publish_options *options,
                                          struct kith_lookup_service **out);

#endif
