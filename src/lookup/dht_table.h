/**
 * The routing table: nodes that answered, in buckets by how many leading bits their id has in common with ours. Nodes that answer no
 * more make place, and of nodes that answer the old ones stay. Owner: the core, by value. Source: BEP 5, 42.
 *
 * One network address has few places, and where there is no room an id that fits its address (BEP 42) goes before one that does
 * not: so nobody fills a table from a few machines.
 */
#ifndef KITH_LOOKUP_DHT_TABLE_H
#define KITH_LOOKUP_DHT_TABLE_H

#include "base/random.h"
#include "lookup/dht_id.h"
#include "lookup/dht_stats.h"

enum {
    KITH_DHT_BUCKET_SIZE = 8,
    KITH_DHT_PER_IP_MAX = 4,   /* nodes of one public IP address: several users behind one NAT */
    KITH_DHT_FAILURES_MAX = 2, /* questions in a row without an answer, each asked twice: the node is bad */
    KITH_DHT_CLOSEST_MAX = 20  /* nodes that a query ends with, and that an answer tells of */
};

#define KITH_DHT_FRESH_NS (900 * KITH_NS_PER_S) /* who answered within is good; later it is asked again: BEP 5 */

struct kith_dht_entry {
    struct kith_dht_node node;
    uint64_t answered_ns;
    uint64_t checked_ns; /* when it was last given to kith__dht_table_next_check */
    uint8_t failures;
    bool is_secure;
};

struct kith_dht_bucket {
    struct kith_dht_entry entries[KITH_DHT_BUCKET_SIZE]; /* the longest known first */
    uint8_t count;
    bool has_waiting; /* for the place of one that will not answer */
    struct kith_dht_entry waiting;
    uint64_t changed_ns; /* someone answered, or it was refreshed */
};

struct kith_dht_table {
    const struct kith_mem *mem;
    struct kith_dht_stats *stats;
    struct kith_dht_id own;
    struct kith_dht_bucket *buckets[KITH_DHT_ID_BITS]; /* made when needed */
    size_t count;
};

/** Empty. stats is borrowed. */
void kith__dht_table_init(struct kith_dht_table *table, const struct kith_mem *mem, const struct kith_dht_id *own,
                          struct kith_dht_stats *stats);
void kith__dht_table_dispose(struct kith_dht_table *table);
/** We have another id: all nodes move to where they belong now; for some there may be no room. */
void kith__dht_table_set_own(struct kith_dht_table *table, const struct kith_dht_id *own);
/** A node answered. Without memory or room it is not added, which is counted. */
void kith__dht_table_on_answer(struct kith_dht_table *table, const struct kith_dht_node *node, uint64_t now_ns);
/** Whoever is at this address did not answer. */
void kith__dht_table_on_silence(struct kith_dht_table *table, const struct kith_sockaddr *addr);
/** True if it would be added when it answered, and is not there yet. */
bool kith__dht_table_wants(const struct kith_dht_table *table, const struct kith_dht_node *node);
/** Nodes that are not known to be bad. */
size_t kith__dht_table_good_count(const struct kith_dht_table *table);
/** Up to max <= KITH_DHT_CLOSEST_MAX nodes, those closest to target first, without bad ones. Returns how many. */
size_t kith__dht_table_closest(const struct kith_dht_table *table, const struct kith_dht_id *target,
                               struct kith_dht_node *out, size_t max);
/**
 * A node to ask whether it is there still: silent for KITH_DHT_FRESH_NS, or in the way of another. False: none is due now; *next_ns
 * is lowered to when one will be.
 */
bool kith__dht_table_next_check(struct kith_dht_table *table, uint64_t now_ns, struct kith_dht_node *out,
                                uint64_t *next_ns);
/** An id in a bucket in which nothing happened for KITH_DHT_FRESH_NS, to look for; it counts as refreshed. False as above. */
bool kith__dht_table_next_refresh(struct kith_dht_table *table, const struct kith_random *random, uint64_t now_ns,
                                  struct kith_dht_id *out, uint64_t *next_ns);

#endif
