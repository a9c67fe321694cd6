/**
 * The one who writes to the store: workers hand it packets, it puts all that have come into one transaction, commits it, and hands
 * them back with what became of them. While the disk is busy with one batch the next one gathers, so that a batch is as large as the
 * disk is slow: nobody waits for a batch to fill. (Measured: to wait half as long as a write takes gains a tenth with 64 clients and loses a
 * third with 256, whose signatures are checked meanwhile.) It also lets packets expire.
 *
 * Thread rules: put from any worker's thread; run from one thread only; done of a worker from that worker's.
 */
#ifndef KITH_SERVER_DNS_SCRIBE_H
#define KITH_SERVER_DNS_SCRIBE_H

#include "base/list.h"
#include "server/dns_shared.h"

struct kith_dns_scribe;

enum {
    KITH_DNS_WAITING_MAX = 65536, /* puts that wait; beyond it they are refused */
    KITH_DNS_BATCH_MAX = 65536,   /* default */
    /* Puts that are worth a write before the turn ends: the disk then works while the worker checks signatures. Measured with 64
     * clients: fewer cost more in switches of threads than the disk's time is worth. */
    KITH_DNS_BATCH_FULL = 32,
    KITH_DNS_EXPIRE_MAX = 4096 /* packets that go in one transaction */
};
#define KITH_DNS_EVICT_AFTER_NS (7 * 86400 * KITH_NS_PER_S)
#define KITH_DNS_EVICT_EVERY_NS (10 * KITH_NS_PER_S)

/** One packet on its way; made by a worker, and its own again when it comes back. */
struct kith_dns_put {
    struct kith_list node;
    unsigned worker;
    void *user; /* the worker's */
    struct kith_pkarr packet;
    int err; /* of the put or the commit: it is not stored */
    enum kith_store_put how;
};

struct kith_dns_scribe_options {
    struct kith_dns_shared *shared;                  /* outlives the scribe */
    const struct kith_dns_storage *storage;          /* NULL: the defaults. Copied */
    void (*wake_scribe)(void *ctx);                  /* there is something to run: any thread */
    void (*wake_worker)(void *ctx, unsigned worker); /* there is something done */
    const struct kith_log *log;
    void *ctx;
};

/** Errors: NOMEM, LIMIT. */
KITH_MUST_USE int kith__dns_scribe_new(const struct kith_dns_scribe_options *options, struct kith_dns_scribe **out);
/** Puts that were not run, or not fetched, are freed with it. NULL is fine. */
void kith__dns_scribe_free(struct kith_dns_scribe *scribe);
/** Hands over a put, allocated with shared->mem; kith__dns_scribe_wake has to follow. LIMIT: too many wait; it stays the caller's. */
KITH_MUST_USE int kith__dns_scribe_put(struct kith_dns_scribe *scribe, struct kith_dns_put *put);
/** Whoever has put something calls this at the end of its turn, so that what came in one turn goes to the disk together. */
void kith__dns_scribe_wake(struct kith_dns_scribe *scribe);
/** Runs one batch, and the eviction if it is due. wall_us: the time of arrival. True: more waits. */
bool kith__dns_scribe_run(struct kith_dns_scribe *scribe, uint64_t now_ns, uint64_t wall_us);
/** When run wants to be called even if nothing is put. */
uint64_t kith__dns_scribe_deadline(const struct kith_dns_scribe *scribe);
/** The oldest put of a worker that is done; NULL: none. */
struct kith_dns_put *kith__dns_scribe_done(struct kith_dns_scribe *scribe, unsigned worker);

#endif
