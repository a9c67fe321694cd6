/**
 * Keys that nobody put here are looked for in the Mainline DHT, by one node on the house's rt, and what is found is
 * remembered for five minutes; that nothing is, for a shorter time: its owner may just be starting. Source: spec/03, 9.4.
 *
 * Thread rules: find from any thread; the rest from that of the rt.
 */
#ifndef KITH_SERVER_DNS_DHT_H
#define KITH_SERVER_DNS_DHT_H

#include "rt/rt.h"
#include "server/dns_shared.h"

struct kith_dns_finder;

enum {
    KITH_DNS_FINDER_KEYS_MAX = 65536, /* remembered; beyond it the oldest are forgotten */
    KITH_DNS_FINDER_ASKED_MAX = 1024, /* that wait to be looked for; beyond it others are refused */
    KITH_DNS_FINDER_RUNNING_MAX = 64  /* looked for at once */
};
#define KITH_DNS_FINDER_KEEP_NS      (300 * KITH_NS_PER_S)
#define KITH_DNS_FINDER_KEEP_NONE_NS (30 * KITH_NS_PER_S)

struct kith_dns_finder_options {
    struct kith_rt *rt;
    struct kith_dns_shared *shared;  /* outlives it */
    const struct kith_dns_dht *dht;  /* copied */
    void (*wake_house)(void *house); /* kith__dns_finder_run is to be called: any thread */
    void *house;
    void (*wake_workers)(void *ctx); /* something is known now */
    void *ctx;
    uint64_t seed; /* random */
};

/** Errors: NOMEM, LIMIT, those of kith__dht_new. */
KITH_MUST_USE int kith__dns_finder_new(const struct kith_dns_finder_options *options, struct kith_dns_finder **out);
/** NULL is fine. */
void kith__dns_finder_free(struct kith_dns_finder *finder);
/** Starts to look for what was asked. */
void kith__dns_finder_run(struct kith_dns_finder *finder);
/** As kith_dns_ask.find; ctx: the finder. */
int kith__dns_finder_find(void *ctx, const struct kith_id *id, struct kith_pkarr *out);

#endif
