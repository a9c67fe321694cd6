/**
 * From what the user of kith/relay.h gives to what the parts of a relay take: checks it, says what is wrong in a sentence.
 * Any thread.
 */
#ifndef KITH_SERVER_RELAY_SETUP_H
#define KITH_SERVER_RELAY_SETUP_H

#include "relay/server.h"
#include "server/relay_worker.h"
#include "server/setup.h"
#include <kith/relay.h>

/** Checks all that can be checked without a file or a socket. INVALID. */
KITH_MUST_USE int kith__relay_options_check(const struct kith_relay_options *options, struct kith_server_why *why);
/** Quotas as limits of admission and of a core; quota may be NULL. INVALID (a rate that is no number). */
KITH_MUST_USE int kith__relay_quota_limits(const struct kith_relay_quota *quota,
                                           struct kith_relay_admission_limits *admission,
                                           struct kith_relay_server_limits *server, struct kith_server_why *why);
/**
 * Rules of access as an order for a worker; rules NULL: everyone. rt: reads the CA file. *text: in a word, for the page.
 * Errors: INVALID, PARSE, NOT_FOUND, PERMISSION, NOMEM.
 */
KITH_MUST_USE int kith__relay_access_order(struct kith_rt *rt, const struct kith_mem *mem,
                                           const struct kith_relay_access_rules *rules, struct kith_relay_order **out,
                                           const char **text, struct kith_server_why *why);

#endif
