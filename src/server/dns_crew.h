/**
 * A whole lookup server on threads: workers, the scribe, the house, what they share. The implementation of kith/dns.h, whose functions
 * say what these do; errors come with a sentence.
 */
#ifndef KITH_SERVER_DNS_CREW_H
#define KITH_SERVER_DNS_CREW_H

#include "base/buf.h"
#include "server/setup.h"
#include <kith/dns.h>

/** version: of the program, static; for pages. */
KITH_MUST_USE int kith__dns_crew_new(const struct kith_dns_server_options *options, const char *version,
                                     struct kith_dns_server **out, struct kith_server_why *why);
/** See kith_dns_server_check. */
KITH_MUST_USE int kith__dns_crew_check(const struct kith_dns_server_options *options, struct kith_server_why *why);
/** See kith_dns_server_stop. */
int kith__dns_crew_stop(struct kith_dns_server *server, uint64_t limit_ns);
KITH_MUST_USE int kith__dns_crew_set_origins(struct kith_dns_server *server, const struct kith_dns_origin *origins,
                                             size_t count, struct kith_server_why *why);
KITH_MUST_USE int kith__dns_crew_set_limits(struct kith_dns_server *server, const struct kith_dns_limits *limits,
                                            struct kith_server_why *why);
void kith__dns_crew_reload(struct kith_dns_server *server);
size_t kith__dns_crew_addresses(const struct kith_dns_server *server, enum kith_dns_server_address kind,
                                struct kith_sockaddr *out, size_t capacity);
bool kith__dns_crew_check_alive(struct kith_dns_server *server);
void kith__dns_crew_stats(const struct kith_dns_server *server, struct kith_dns_server_stats *out);
/** Appends. NOMEM. */
KITH_MUST_USE int kith__dns_crew_metrics(const struct kith_dns_server *server, struct kith_buf *out);
/** Appends. STATE, NOMEM. */
KITH_MUST_USE int kith__dns_crew_authority(const struct kith_dns_server *server, struct kith_buf *out);
const struct kith_mem *kith__dns_crew_mem(const struct kith_dns_server *server);

#endif
