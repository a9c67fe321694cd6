/**
 * A node of the DHT, bytes in and bytes out: it asks and is asked, keeps its routing table, looks for packets and publishes them.
 * Whoever owns it feeds datagrams and the time, sends what kith__dht_core_next gives, and takes events. lookup/dht.h is the part with
 * the socket. Source: BEP 5, 42, 43, 44; spec/03, 11.
 *
 * What is bounded, and what then: see the enum below, and those of dht_query.h, dht_table.h and dht_server.h. One thread at a time.
 */
#ifndef KITH_LOOKUP_DHT_CORE_H
#define KITH_LOOKUP_DHT_CORE_H

#include "lookup/dht_id.h"
#include "lookup/dht_stats.h"
#include "lookup/pkarr.h"

enum {
    KITH_DHT_OPERATIONS_MAX = 256, /* gets and puts in progress; LIMIT */
    KITH_DHT_CALLS_MAX = 1024,     /* questions on their way; further ones wait */
    KITH_DHT_OUTBOX_MAX = 512,     /* datagrams to send; answers are dropped, questions have their second try */
    KITH_DHT_SEEDS_MAX = 64,       /* addresses to join through; the oldest goes */
    KITH_DHT_DATAGRAM_MAX = 2048,  /* larger ones are dropped */
    KITH_DHT_CORE_WHY_SIZE = 256
};

#define KITH_DHT_RETRY_NS   (800 * KITH_NS_PER_MS)  /* then a question is asked once more, and another beside it */
#define KITH_DHT_GIVE_UP_NS (2500 * KITH_NS_PER_MS) /* then nobody is there */
#define KITH_DHT_SEARCH_NS  (10 * KITH_NS_PER_S)    /* then a search ends with what it has */
#define KITH_DHT_JOIN_NS    (900 * KITH_NS_PER_S)   /* every so often our own neighbourhood is looked for: BEP 5 */

struct kith_dht_core;
struct
    kith_dht_op; /* a get or put in progress; gone after its END event was followed by another call, or after cancel */

/** mem and random are borrowed. Errors: NOMEM. */
KITH_MUST_USE int kith__dht_core_new(const struct kith_mem *mem, const struct kith_random *random, bool is_server,
                                     uint64_t now_ns, struct kith_dht_core **out);
/** Operations are gone too. NULL is fine. */
void kith__dht_core_free(struct kith_dht_core *core);

/** A datagram arrived (untrusted). What cannot be used is counted. */
void kith__dht_core_receive(struct kith_dht_core *core, const struct kith_sockaddr *from, struct kith_slice bytes,
                            uint64_t now_ns);
/** The next datagram to send, borrowed until the next call of any function; false: none. */
bool kith__dht_core_next(struct kith_dht_core *core, struct kith_sockaddr *to, struct kith_slice *bytes);
/** When kith__dht_core_on_deadline wants to be called; KITH_NEVER. */
uint64_t kith__dht_core_deadline(const struct kith_dht_core *core);
void kith__dht_core_on_deadline(struct kith_dht_core *core, uint64_t now_ns);

/** An address to join through. Not usable ones are ignored. Searches that wait for one go on. */
void kith__dht_core_add_seed(struct kith_dht_core *core, const struct kith_sockaddr *addr, uint64_t now_ns);
/** Whether more seeds may come soon, for which searches without any node wait. */
void kith__dht_core_expect_seeds(struct kith_dht_core *core, bool may_come, uint64_t now_ns);
/** Looks for our own neighbourhood now, through the table and the seeds, if that is not under way. */
void kith__dht_core_join(struct kith_dht_core *core, uint64_t now_ns);
bool kith__dht_core_is_joining(const struct kith_dht_core *core);

/** Starts to look for the newest packet of a key. LIMIT, NOMEM. user comes back in events. */
KITH_MUST_USE int kith__dht_core_get(struct kith_dht_core *core, const struct kith_id *key, void *user, uint64_t now_ns,
                                     struct kith_dht_op **out);
/** Starts to store a packet (copied) with the closest nodes. LIMIT, NOMEM. */
KITH_MUST_USE int kith__dht_core_put(struct kith_dht_core *core, const struct kith_pkarr *packet, void *user,
                                     uint64_t now_ns, struct kith_dht_op **out);
/** No event follows. */
void kith__dht_core_cancel(struct kith_dht_core *core, struct kith_dht_op *op);

enum kith_dht_event_kind {
    KITH_DHT_EVENT_FOUND, /* get: newest is another one than before */
    KITH_DHT_EVENT_END    /* last of an operation; err and why as in lookup/dht.h */
};
struct kith_dht_event {
    enum kith_dht_event_kind kind;
    bool is_put;
    void *user;
    int err;
    const char *why;
    const struct kith_pkarr *newest; /* of a put: one that is there already and newer; NULL: none */
    size_t stored, refused, silent;  /* of a put */
};
/** The next event, what it points to is borrowed until the next call of any function; false: none. */
bool kith__dht_core_event(struct kith_dht_core *core, struct kith_dht_event *out);

/** Our id; it changes when our address becomes known (BEP 42). */
struct kith_dht_id kith__dht_core_id(const struct kith_dht_core *core);
/** Nodes in the routing table that are not known to be bad. */
size_t kith__dht_core_node_count(const struct kith_dht_core *core);
const struct kith_dht_stats *kith__dht_core_stats(const struct kith_dht_core *core);
/** Walks the invariants, for tests: sums match, what has a deadline is in the heap, bounds hold. Fails by assertion. */
void kith__dht_core_check(const struct kith_dht_core *core);

#endif
