/** From what the user of kith/dns.h gives to what the parts of a lookup server take. Any thread. */
#ifndef KITH_SERVER_DNS_SETUP_H
#define KITH_SERVER_DNS_SETUP_H

#include "base/sync.h"
#include "server/dns_rules.h"
#include "server/setup.h"
#include "zone/store.h"
#include "zone/zone.h"

/** Checks all that can be checked without a file or a socket, but origins and limits. INVALID. */
KITH_MUST_USE int kith__dns_options_check(const struct kith_dns_server_options *options, struct kith_server_why *why);
/** Origins as a zone. INVALID, PARSE, TOO_LARGE, NOMEM, with a sentence. */
KITH_MUST_USE int kith__dns_zone_make(const struct kith_mem *mem, const struct kith_dns_origin *origins, size_t count,
                                      struct kith_zone **out, struct kith_server_why *why);
/**
 * Opens the store, and takes its directory for this process: *lock is to be closed after the store. Without a data_dir it is in memory,
 * and *lock NULL. Errors, with a sentence: those of kith__store_lmdb_open; STATE: another process has it.
 */
KITH_MUST_USE int kith__dns_store_make(struct kith_rt *rt, const struct kith_mem *mem, const struct kith_sync *sync,
                                       const struct kith_dns_server_options *options, uint64_t packets_max,
                                       struct kith_store **out, struct kith_rt_file **lock,
                                       struct kith_server_why *why);

#endif
