/**
 * What a lookup server knows without any packet: its origins with their SOA, NS, A and AAAA records. Never changes once made, so all
 * threads may read it; new origins are a new zone. Source: spec/03, 9.1 and 9.2.
 */
#ifndef KITH_ZONE_ZONE_H
#define KITH_ZONE_ZONE_H

#include "codec/dns.h"
#include <kith/dns.h>
#include <stdatomic.h>

enum { KITH_ZONE_TTL_S = 900, KITH_ZONE_TTL_MAX_S = 86400, KITH_ZONE_NEGATIVE_TTL_S = 60 }; /* defaults */

struct kith_zone_origin {
    struct kith_dns_name name;
    size_t label_count;
    struct kith_dns_soa soa;
    uint32_t ttl_s;
    struct kith_sockaddr addresses[KITH_DNS_SERVER_APEX_MAX];
    size_t address_count;
    struct kith_dns_name name_servers[KITH_DNS_SERVER_APEX_MAX]; /* at least one */
    size_t name_server_count;
};

struct kith_zone {
    const struct kith_mem *mem;
    _Atomic uint32_t references;
    size_t origin_count;
    struct kith_zone_origin origins[]; /* those with most labels first: the first that fits is the longest */
};

/** What is wrong with an origin. */
struct kith_zone_problem {
    size_t origin;    /* its index */
    const char *what; /* static: "the name", "the SOA record", ... */
};

/**
 * Reads the origins (copied). Errors: NOMEM; INVALID: none or too many of something, one twice,
 * an address without a family; PARSE, TOO_LARGE: a text; *problem is set for all but NOMEM.
 */
KITH_MUST_USE int kith__zone_new(const struct kith_mem *mem, const struct kith_dns_origin *origins, size_t count,
                                 struct kith_zone **out, struct kith_zone_problem *problem);
/** One more holder. Returns zone. */
struct kith_zone *kith__zone_retain(struct kith_zone *zone);
/** One less. NULL is fine. */
void kith__zone_release(struct kith_zone *zone);
/** The longest origin that name lies in; NULL: none. */
const struct kith_zone_origin *kith__zone_find(const struct kith_zone *zone, const struct kith_dns_name *name);

#endif
