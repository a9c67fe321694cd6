/**
 * What a name server's answer says: whether it answers at all, for how long, and the endpoint or the addresses in it. The bytes are
 * untrusted; all may be wrong but the question, which was checked. Source: spec/03, 4 and 7; RFC 1035, 4; RFC 2181, 5.2 and 8.
 */
#ifndef KITH_LOOKUP_DNS_ANSWER_H
#define KITH_LOOKUP_DNS_ANSWER_H

#include "codec/dns.h"
#include "lookup/info.h"

enum { KITH_DNS_TTL_MAX_S = 24 * 3600 }; /* no answer is kept for longer */

/**
 * Looks through the answer section, all of it: whoever reads it later finds no error. *ttl_s: the smallest of its records, at
 * most KITH_DNS_TTL_MAX_S. Records of `type` count under any name: they may stand at the end of aliases. PARSE: malformed;
 * NOT_FOUND: no record of that type.
 */
KITH_MUST_USE int kith__dns_answer_check(struct kith_slice message, uint16_t type, uint32_t *ttl_s);
/** Adds what the TXT records of a checked answer say to info (initialised). Bad attributes cost only themselves: *ignored. NOMEM. */
KITH_MUST_USE int kith__dns_answer_info(struct kith_slice message, struct kith_lookup_info *info, size_t *ignored);
/** The addresses in a checked answer to A or AAAA, port 0, at most `cap`. Returns how many. */
size_t kith__dns_answer_ips(struct kith_slice message, uint16_t type, struct kith_sockaddr *out, size_t cap);

#endif
