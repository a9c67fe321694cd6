/**
 * The part of a lookup server that is not on the way of questions: metrics, certificates, the DHT. One rt, one thread.
 */
#ifndef KITH_SERVER_DNS_HOUSE_H
#define KITH_SERVER_DNS_HOUSE_H

#include "server/dns_dht.h"
#include "server/dns_shared.h"
#include "server/setup.h"

struct kith_dns_house;
struct kith_tls_stream_context;

struct kith_dns_house_options {
    struct kith_rt *rt;                           /* its hooks are the house's */
    struct kith_dns_shared *shared;               /* outlives the house */
    const struct kith_dns_server_options *server; /* the program's; used during the call only */
    /** A certificate for the workers: a reference goes to each. On the house's thread, and from inside kith__dns_house_certify. */
    void (*on_certificate)(void *ctx, struct kith_tls_stream_context *context);
    void (*wake_workers)(void *ctx); /* the DHT has said something */
    void *ctx;
};

/** Errors, with a sentence: NOMEM; those of kith__dht_new. */
KITH_MUST_USE int kith__dns_house_new(const struct kith_dns_house_options *options, struct kith_dns_house **out,
                                      struct kith_server_why *why);
/** Gets certificates, if server->tls says so, when the workers are there. Errors, with a sentence: those of kith__certs_new. */
KITH_MUST_USE int kith__dns_house_certify(struct kith_dns_house *house, const struct kith_dns_server_options *server,
                                          struct kith_server_why *why);
/** NULL is fine. */
void kith__dns_house_free(struct kith_dns_house *house);
/** Serves metrics there. Errors of kith__httpd_listen. */
KITH_MUST_USE int kith__dns_house_listen(struct kith_dns_house *house, const struct kith_sockaddr *at,
                                         struct kith_sockaddr *bound);
/** Reads the certificate again in the next turn. Any thread. */
void kith__dns_house_reload(struct kith_dns_house *house);
/** Who looks in the DHT; NULL: nobody. */
struct kith_dns_finder *kith__dns_house_finder(const struct kith_dns_house *house);

#endif
