/**
 * An iterative query: which of the nodes that were heard of to ask next on the way to a target, until the closest ones have all
 * answered. It knows no messages and no time. Owner: an operation of the core, by value. Source: BEP 5; spec/03, 11.
 *
 * "The closest" are the KITH_DHT_CLOSEST_MAX closest nodes that are not known to be silent, and as many of those whose ids fit their
 * addresses (BEP 42): someone who makes up ids close to a target on a few machines stands beside the honest nodes there, not in
 * their place. Nodes of one public address beyond KITH_DHT_PER_IP_MAX are refused.
 */
#ifndef KITH_LOOKUP_DHT_QUERY_H
#define KITH_LOOKUP_DHT_QUERY_H

#include "lookup/dht_krpc.h"
#include "lookup/dht_table.h"

enum {
    KITH_DHT_CANDIDATES_MAX = 128, /* with more, those farthest from the target are forgotten */
    KITH_DHT_HEARD_MAX = 20,       /* nodes taken from one answer */
    KITH_DHT_ALPHA = 8             /* questions on their way at once; slow ones do not count */
};

enum kith_dht_candidate_state {
    KITH_DHT_CANDIDATE_NEW,
    KITH_DHT_CANDIDATE_ASKED,
    KITH_DHT_CANDIDATE_SLOW, /* asked, no answer for a while, asked once more */
    KITH_DHT_CANDIDATE_ANSWERED,
    KITH_DHT_CANDIDATE_SILENT
};

struct kith_dht_candidate {
    struct kith_dht_node node;
    uint8_t state; /* enum kith_dht_candidate_state */
    bool is_secure;
    bool is_close;      /* among the closest, as the last kith__dht_query_next found */
    bool is_token_new;  /* a second token was asked for */
    uint8_t token_size; /* 0: none */
    uint8_t token[KITH_KRPC_TOKEN_MAX];
};

struct kith_dht_query {
    struct kith_dht_id target;
    struct kith_dht_candidate *candidates;  /* KITH_DHT_CANDIDATES_MAX places, which do not move */
    uint8_t order[KITH_DHT_CANDIDATES_MAX]; /* places by distance, closest first */
    size_t count, asked, answered;          /* asked: in that state now; answered: all in all */
};

enum { KITH_DHT_NOBODY = 255 }; /* instead of a place */
_Static_assert((int)KITH_DHT_CANDIDATES_MAX < (int)KITH_DHT_NOBODY, "places fit in a byte");

/** NOMEM. */
KITH_MUST_USE int kith__dht_query_init(struct kith_dht_query *query, const struct kith_mem *mem,
                                       const struct kith_dht_id *target);
/** Zeroed is fine. */
void kith__dht_query_dispose(struct kith_dht_query *query, const struct kith_mem *mem);
/** Someone was heard of. Returns the place, or KITH_DHT_NOBODY: known, not usable, one of too many, or too far. */
uint8_t kith__dht_query_add(struct kith_dht_query *query, const struct kith_dht_node *node);
/** The next to ask, which counts as asked now; KITH_DHT_NOBODY: none, or enough are asked. */
uint8_t kith__dht_query_next(struct kith_dht_query *query);
/** True when there is nothing left to ask or to wait for. */
bool kith__dht_query_is_done(const struct kith_dht_query *query);
/** It takes its time: another may be asked beside it. */
void kith__dht_query_on_slow(struct kith_dht_query *query, uint8_t place);
void kith__dht_query_on_silence(struct kith_dht_query *query, uint8_t place);
/**
 * It answered, as `id`: if it was heard of under another, it stands where its own belongs from now on. token may be empty; one beyond
 * KITH_KRPC_TOKEN_MAX counts as none.
 */
void kith__dht_query_on_answer(struct kith_dht_query *query, uint8_t place, const struct kith_dht_id *id,
                               struct kith_slice token);
/** Marks the closest (is_close). Returns how many of them answered with a token. */
size_t kith__dht_query_mark_close(struct kith_dht_query *query);

#endif
