/**
 * A node of the Mainline DHT (BitTorrent's), over which pkarr packets are published and found without a server of anybody's:
 * one UDP socket, IPv4 only. Usable without an endpoint; kith__dht_service_new makes a lookup service of it. What it says and
 * decides is in lookup/dht_core.h, bytes in, bytes out; here are the socket, the names and the clock. Source: BEP 5, 42, 43,
 * 44; spec/03, 11.
 *
 * Thread rules: those of the rt. Callbacks come only out of kith__rt_process.
 */
#ifndef KITH_LOOKUP_DHT_H
#define KITH_LOOKUP_DHT_H

#include "lookup/dht_stats.h"
#include "lookup/pkarr.h"
#include "lookup/service.h"
#include "rt/rt.h"

struct kith_dht;
struct kith_dht_get; /* a search in progress; gone after on_end or cancel */
struct kith_dht_put; /* a publication in progress; gone after done or cancel */

enum { KITH_DHT_PORT = 6881, KITH_DHT_BOOTSTRAP_MAX = 32, KITH_DHT_WHY_SIZE = 256 };

/** Everything is copied. All zero: an ordinary client of the public DHT. */
struct kith_dht_options {
    /** "host:port" of nodes through which to join; NULL: the public ones; of them only KITH_DHT_BOOTSTRAP_MAX. */
    const char *const *bootstrap;
    size_t bootstrap_count;     /* with bootstrap not NULL: 0 is fine, for the first node of a network */
    struct kith_sockaddr local; /* to bind to; no family: all of IPv4, port KITH_DHT_PORT or, if it is taken, any */
    bool is_server;             /* answers others and stores for them. Else read-only: BEP 43 */
};

/**
 * Opens the socket and starts to join. mem: that of rt. Errors: NOMEM; INVALID: an address that is not IPv4, or a bootstrap text
 * without a host or a port; those of kith__rt_udp_open.
 */
KITH_MUST_USE int kith__dht_new(struct kith_rt *rt, const struct kith_dht_options *options, struct kith_dht **out);
/** Ends it; gets and puts end without a callback. NULL is fine. */
void kith__dht_free(struct kith_dht *dht);
/** Where it is bound. */
struct kith_sockaddr kith__dht_local(const struct kith_dht *dht);
/** Adds a node to join through, an IPv4 address that is known already. */
void kith__dht_add_node(struct kith_dht *dht, const struct kith_sockaddr *addr);
/** Looks up the names of the bootstrap nodes again, and joins again if too few nodes answer. */
void kith__dht_on_network_change(struct kith_dht *dht);
/** Nodes in the routing table that answered lately. */
size_t kith__dht_node_count(const struct kith_dht *dht);
void kith__dht_stats(const struct kith_dht *dht, struct kith_dht_stats *out);

struct kith_dht_get_events {
    /** Whenever a node had a newer packet than all before it; NULL is fine. The get may be cancelled from inside. */
    void (*on_found)(void *ctx, const struct kith_pkarr *packet);
    /**
     * Once, last. err 0: *newest is the newest packet that the nodes closest to the key have. NOT_FOUND: they answered and have none.
     * TIMEOUT: no node answered; UNREACHABLE: there is no node to ask. newest is NULL on errors; why is a sentence then, else "".
     */
    void (*on_end)(void *ctx, int err, const struct kith_pkarr *newest, const char *why);
    void *ctx;
};
/**
 * Looks for the newest packet of a key. Its signature was checked. Errors: NOMEM; LIMIT: too many are in progress.
 */
KITH_MUST_USE int kith__dht_get(struct kith_dht *dht, const struct kith_id *id,
                                const struct kith_dht_get_events *events, struct kith_dht_get **out);
/** No callback follows. NULL is fine. */
void kith__dht_get_cancel(struct kith_dht_get *get);

/** How a put went. */
struct kith_dht_put_result {
    int err; /* 0: at least one node took it. STATE: the nodes have a newer one; else as of a get, or what most nodes said */
    const char *why;                /* a sentence; "" for 0 */
    uint64_t newest_us;             /* timestamp of the newest packet of this key that was seen there; 0: none */
    size_t stored, refused, silent; /* nodes */
};
/** Stores a packet at the nodes closest to its key. done is called once. Errors: as of a get. */
KITH_MUST_USE int kith__dht_put(struct kith_dht *dht, const struct kith_pkarr *packet,
                                void (*done)(void *ctx, const struct kith_dht_put_result *result), void *ctx,
                                struct kith_dht_put **out);
/** No callback follows. NULL is fine. */
void kith__dht_put_cancel(struct kith_dht_put *put);

/* ---- As a lookup service, "dht" ---- */

#define KITH_DHT_REPUBLISH_NS (3600 * KITH_NS_PER_S) /* the same packet again: nodes forget after two hours (BEP 44) */
/** What changes again soon is waited for, so that only the last of a burst goes out. Source: spec/03, 11. */
#define KITH_DHT_SETTLE_NS (50 * KITH_NS_PER_MS)

struct kith_dht_service_options {
    struct kith_dht *dht;             /* borrowed, outlives the service; NULL: one of its own, of `node` */
    struct kith_dht_options node;     /* with dht NULL */
    const struct kith_secret *secret; /* copied; NULL: nothing is published */
    enum kith_lookup_filter filter;   /* what is published; 0: relays only, as everything in the DHT is public */
    uint32_t ttl_s;                   /* of the records; 0: KITH_PKARR_TTL_S */
    uint64_t republish_ns;            /* 0: KITH_DHT_REPUBLISH_NS */
};
/** Errors: those of kith__dht_new. */
KITH_MUST_USE int kith__dht_service_new(struct kith_rt *rt, const struct kith_dht_service_options *options,
                                        struct kith_lookup_service **out);
/** The node of a service. */
struct kith_dht *kith__dht_service_node(struct kith_lookup_service *service);

#endif
