/**
 * One worker of a lookup server: DNS over UDP and TCP, and HTTP, on one rt. A server has one for each core of the machine, each on a
 * thread of its own; in the simulator there is one. Answers come from the store at once; packets that are put go through the scribe
 * (server/dns_scribe.h), and are answered when they are on the disk.
 *
 * Thread rules: everything belongs to the thread of the rt, except kith__dns_worker_drain, ..._set_tls.
 */
#ifndef KITH_SERVER_DNS_WORKER_H
#define KITH_SERVER_DNS_WORKER_H

#include "server/dns_scribe.h"
#include "server/dns_shared.h"

struct kith_dns_worker;
struct kith_tls_stream_context;

enum {
    KITH_DNS_SOCKETS_MAX = KITH_DNS_SERVER_BINDS_MAX,
    KITH_DNS_WAITS_MAX = 1024,     /* queries of a worker that wait for the DHT; others are refused */
    KITH_DNS_WAIT_QUERY_MAX = 512, /* bytes of such a query; a longer one is none that a resolver asks */
    KITH_DNS_HTTP_BODY_MAX = 64 << 10
};
#define KITH_DNS_WAIT_NS (5 * KITH_NS_PER_S) /* for the DHT: then it is a failure */

/** Somebody else who may have a packet: the DHT. */
struct kith_dns_ask {
    /** 0, NOT_FOUND, AGAIN (it is being looked for; the worker is woken when that ends), LIMIT. Called on the worker's thread. */
    int (*find)(void *ctx, const struct kith_id *id, struct kith_pkarr *out);
    void *ctx;
};

struct kith_dns_worker_options {
    struct kith_rt *rt; /* its hooks are the worker's */
    const struct kith_mem *mem;
    struct kith_dns_shared *shared; /* outlives the worker */
    struct kith_dns_scribe *scribe; /* outlives the worker */
    bool runs_scribe;               /* at the end of each turn: there is no thread for it (simulator) */
    unsigned index;
    struct kith_dns_ask ask; /* find NULL: there is none */
};

/** Errors: NOMEM. */
KITH_MUST_USE int kith__dns_worker_new(const struct kith_dns_worker_options *options, struct kith_dns_worker **out);
/** Ends everything at once. NULL is fine. */
void kith__dns_worker_free(struct kith_dns_worker *worker);
/** Takes over what it was told before its thread runs: the first connection finds the certificate there. From the caller's thread. */
void kith__dns_worker_settle(struct kith_dns_worker *worker);
/** What is served at an address. */
enum kith_dns_door { KITH_DNS_DOOR_HTTP, KITH_DNS_DOOR_HTTPS };
/** Serves HTTP. Errors of kith__httpd_listen. */
KITH_MUST_USE int kith__dns_worker_listen(struct kith_dns_worker *worker, enum kith_dns_door door,
                                          const struct kith_sockaddr *at, bool is_shared, struct kith_sockaddr *bound);
/** Serves DNS over UDP and TCP at the same port. Errors of kith__rt_udp_open, kith__rt_listen_with; LIMIT. */
KITH_MUST_USE int kith__dns_worker_serve(struct kith_dns_worker *worker, const struct kith_sockaddr *at, bool is_shared,
                                         struct kith_sockaddr *bound);
/** https is served with it from the next turn on; referenced. Any thread. */
void kith__dns_worker_set_tls(struct kith_dns_worker *worker, struct kith_tls_stream_context *tls);
/** No new connections and datagrams from the next turn on; requests under way are answered. Any thread. */
void kith__dns_worker_drain(struct kith_dns_worker *worker);
/** True when it drains and nothing is under way. */
bool kith__dns_worker_is_drained(const struct kith_dns_worker *worker);

#endif
