/**
 * Names of hosts through a DNS client, in place of the system's resolver: all that an rt looks up then goes to the servers
 * that were given. What the machine knows by itself (localhost, its hosts file) is not asked for. Source: spec/03, 7.
 */
#ifndef KITH_LOOKUP_DNS_HOSTS_H
#define KITH_LOOKUP_DNS_HOSTS_H

#include "lookup/dns_client.h"

struct kith_dns_hosts;

/**
 * From here on kith__rt_resolve of the client's rt asks the client, which is borrowed. One for an rt (STATE). Names are
 * absolute: there are no search domains. Errors: NOMEM, STATE.
 */
KITH_MUST_USE int kith__dns_hosts_new(struct kith_rt *rt, const struct kith_mem *mem, struct kith_dns_client *client,
                                      struct kith_dns_hosts **out);
/** The system's resolver again. No resolve is under way (asserted). NULL is fine. */
void kith__dns_hosts_free(struct kith_dns_hosts *hosts);

#endif
