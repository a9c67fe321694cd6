/**
 * From what the user of kith/relay.h gives to what the parts of a relay take: checks it, says what is wrong in a sentence.
 * Any thread.
 */
#ifndef KITH_SERVER_RELAY_SETUP_H
#define KITH_SERVER_RELAY_SETUP_H

#include "relay/server.h"
#include "server/relay_worker.h"
#include <kith/relay.h>

enum { KITH_RELAY_WHY_SIZE = 512 };

/** A sentence about an error: what is wrong, and what helps. */
struct kith_relay_why {
    char text[KITH_RELAY_WHY_SIZE];
};
/** Writes the sentence; returns err. */
int kith__relay_why(struct kith_relay_why *why, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** Checks all that can be checked without a file or a socket. INVALID. */
KITH_MUST_USE int kith__relay_options_check(const struct kith_relay_options *options, struct kith_relay_why *why);
/** Quotas as limits of admission and of a core; quota may be NULL. INVALID (a rate that is no number). */
KITH_MUST_USE int kith__relay_quota_limits(const struct kith_relay_quota *quota,
                                           struct kith_relay_admission_limits *admission,
                                           struct kith_relay_server_limits *server, struct kith_relay_why *why);
/**
 * Rules of access as an order for a worker; rules NULL: everyone. rt: reads the CA file. *text: in a word, for the page.
 * Errors: INVALID, PARSE, NOT_FOUND, PERMISSION, NOMEM.
 */
KITH_MUST_USE int kith__relay_access_order(struct kith_rt *rt, const struct kith_mem *mem,
                                           const struct kith_relay_access_rules *rules, struct kith_relay_order **out,
                                           const char **text, struct kith_relay_why *why);

enum { KITH_RELAY_FILE_MAX = 1 << 20 }; /* of a PEM file */
/**
 * Reads a whole file of PEM text. Dispose of *out (and wipe it if it holds a key). Errors: those of files; TOO_LARGE; `what`
 * names it in the sentence ("the private key").
 */
KITH_MUST_USE int kith__relay_read_file(struct kith_rt *rt, const struct kith_mem *mem, const char *path,
                                        const char *what, struct kith_buf *out, struct kith_relay_why *why);

/** A TLS context for requests of our own: trusts the system's roots and those of the file (NULL: none). Errors with a sentence. */
KITH_MUST_USE int kith__relay_client_trust(struct kith_rt *rt, const struct kith_mem *mem, const char *ca_file,
                                           struct kith_tls_stream_context **out, struct kith_relay_why *why);

#endif
