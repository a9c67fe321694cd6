/**
 * What a node keeps for others: values, and the tokens and rates that bound who may leave some. Owner: the core, by value. Source: BEP 5
 * (tokens), 44 (values).
 */
#ifndef KITH_LOOKUP_DHT_SERVER_H
#define KITH_LOOKUP_DHT_SERVER_H

#include "base/list.h"
#include "base/map.h"
#include "lookup/dht_krpc.h"
#include "lookup/dht_stats.h"

enum {
    KITH_DHT_VALUES_MAX = 1024,                        /* with more, the one that was stored longest ago goes */
    KITH_DHT_VALUES_PER_IP_MAX = 64,                   /* of one public address; with more, its own oldest goes */
    KITH_DHT_VALUE_SIZE_MAX = KITH_KRPC_VALUE_MAX + 5, /* encoded: "1000:" and the bytes */
    KITH_DHT_OUR_TOKEN_SIZE = 8,
    KITH_DHT_RATES = 1024,     /* public addresses share these, by a hash that they do not know */
    KITH_DHT_RATE_PER_IP = 50, /* questions a second */
    KITH_DHT_RATE_PER_IP_BURST = 250,
    KITH_DHT_RATE_ALL = 4000, /* questions a second of all together */
    KITH_DHT_RATE_ALL_BURST = 8000
};

#define KITH_DHT_TOKEN_NS (300 * KITH_NS_PER_S)  /* then another secret; tokens of the one before are good still */
#define KITH_DHT_VALUE_NS (7200 * KITH_NS_PER_S) /* who wants to be found stores again before: BEP 44 */

/** A value of somebody. */
struct kith_dht_value {
    struct kith_list list; /* by the time of storing, oldest first */
    struct kith_dht_id target;
    struct kith_sockaddr from; /* who stored it last */
    uint64_t stored_ns;
    bool is_mutable;
    struct kith_id key; /* the rest: mutable ones only */
    uint8_t signature[KITH_SIGNATURE_SIZE];
    int64_t seq;
    uint16_t size;
    uint8_t bytes[KITH_DHT_VALUE_SIZE_MAX]; /* encoded */
};

struct kith_dht_rate {
    uint64_t at_ns;
    uint32_t left_milli; /* thousandths of a question */
};

struct kith_dht_server {
    const struct kith_mem *mem;
    const struct kith_random *random;
    struct kith_dht_stats *stats;
    uint8_t secrets[2][20]; /* the one now, and that before */
    uint64_t secret_ns;
    struct kith_list values;
    struct kith_map by_target;
    size_t value_count;
    struct kith_dht_rate all, *rates; /* KITH_DHT_RATES of them */
};

/** All borrowed. NOMEM: nothing to dispose of. */
KITH_MUST_USE int kith__dht_server_init(struct kith_dht_server *server, const struct kith_mem *mem,
                                        const struct kith_random *random, struct kith_dht_stats *stats,
                                        uint64_t now_ns);
void kith__dht_server_dispose(struct kith_dht_server *server);
/** False: beyond the rates. */
bool kith__dht_server_admit(struct kith_dht_server *server, const struct kith_sockaddr *from, uint64_t now_ns);
/** What this address may store with, for 5 to 10 minutes. */
void kith__dht_server_token(struct kith_dht_server *server, const struct kith_sockaddr *addr, uint64_t now_ns,
                            uint8_t out[KITH_DHT_OUR_TOKEN_SIZE]);
/**
 * Stores what a put brings, if token, target, size, signature, seq and cas allow. 0, or the KITH_KRPC_ number of the error; *text says it
 * in words. A put without a target is fine, with a wrong one it is not.
 */
int kith__dht_server_put(struct kith_dht_server *server, const struct kith_krpc *put, const struct kith_sockaddr *from,
                         uint64_t now_ns, const char **text);
/** The same for what was checked already, by its owner here. False: there is no memory for it, which is counted. */
bool kith__dht_server_keep(struct kith_dht_server *server, const struct kith_krpc *put,
                           const struct kith_sockaddr *from, uint64_t now_ns);
/** The value at a target, borrowed until the next call; NULL: none. */
const struct kith_dht_value *kith__dht_server_find(struct kith_dht_server *server, const struct kith_dht_id *target,
                                                   uint64_t now_ns);

/**
 * What is signed for a mutable value: salt, seq and the encoded value (BEP 44). out holds 128 + salt + value bytes. Returns the size.
 */
size_t kith__dht_signed_bytes(struct kith_slice salt, int64_t seq, struct kith_slice value, uint8_t *out);

#endif
