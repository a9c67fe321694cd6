/**
 * The service "dns": TXT records of "_iroh.<id>.<origin>". Finds; publishes nothing (that is the part of pkarr servers).
 * Source: spec/03, 4 and 7.
 */
#ifndef KITH_LOOKUP_DNS_SERVICE_H
#define KITH_LOOKUP_DNS_SERVICE_H

#include "lookup/dns_client.h"
#include "lookup/service.h"

/**
 * origin: a domain name, absolute with or without its last dot. client and mem are borrowed and outlive the service; several
 * services may share a client, whose cache each of them drops when the network changes. Errors: PARSE (origin), TOO_LARGE
 * (with an id in front it is no name any more), NOMEM.
 */
KITH_MUST_USE int kith__dns_service_new(struct kith_dns_client *client, const struct kith_mem *mem, const char *origin,
                                        struct kith_lookup_service **out);

#endif
