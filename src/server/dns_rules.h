/**
 * The limits of a lookup server, ready for use: rates of clients, trusted proxies, bounds. A set of them never changes; a new one takes
 * its place while the server runs. Any thread; who holds one has a reference.
 */
#ifndef KITH_SERVER_DNS_RULES_H
#define KITH_SERVER_DNS_RULES_H

#include "base/network.h"
#include "server/setup.h"
#include "zone/rates.h"
#include <kith/dns.h>
#include <stdatomic.h>

enum {
    KITH_DNS_CLIENTS_MAX = 1 << 18, /* whose rates are known, of each kind */
    KITH_DNS_HTTP_PER_IP_MAX = 1024 /* HTTP connections of one address, of each worker */
};

struct kith_dns_rules {
    const struct kith_mem *mem;
    _Atomic uint32_t references;
    struct kith_rates *puts, *keys; /* NULL: no limits of clients */
    struct kith_rates *responses;
    bool asks_proxies; /* the client is whom a trusted proxy names */
    size_t proxy_count;
    struct kith_network proxies[KITH_DNS_SERVER_PROXIES_MAX];
    uint64_t future_us, http_ns, packets_max;
    uint32_t tcp_max, tcp_per_client_max, http_max, ttl_max_s;
};

/** limits NULL: the defaults. Errors, with a sentence: INVALID, PARSE, NOMEM. seed: random. */
KITH_MUST_USE int kith__dns_rules_new(const struct kith_mem *mem, const struct kith_dns_limits *limits, uint64_t seed,
                                      struct kith_dns_rules **out, struct kith_server_why *why);
/** One more holder. Returns rules. */
struct kith_dns_rules *kith__dns_rules_retain(struct kith_dns_rules *rules);
/** One less. NULL is fine. */
void kith__dns_rules_release(struct kith_dns_rules *rules);

/**
 * Who asks: the connection's address; or, if that is a trusted proxy's and rules->asks_proxies, whoever it names: the last address in
 * `list` (the elements of Forwarded, or of X-Forwarded-For; untrusted) that is no trusted proxy; the first if all
 * are. Port 0.
 */
struct kith_sockaddr kith__dns_rules_client(const struct kith_dns_rules *rules, const struct kith_sockaddr *remote,
                                            struct kith_slice list);

#endif
