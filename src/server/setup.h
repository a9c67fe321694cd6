/**
 * What the setups of all servers (relay, lookup) have in common: sentences about errors, checks of options, files. Any thread.
 */
#ifndef KITH_SERVER_SETUP_H
#define KITH_SERVER_SETUP_H

#include "base/buf.h"
#include "rt/rt.h"
#include <kith/certificate.h>

struct kith_tls_stream_context;

enum { KITH_SERVER_WHY_SIZE = 512 };

/** A sentence about an error: what is wrong, and what helps. */
struct kith_server_why {
    char text[KITH_SERVER_WHY_SIZE];
};
/** Writes the sentence; returns err. */
int kith__server_why(struct kith_server_why *why, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum { KITH_SERVER_BINDS_MAX = 16 }; /* of each kind */

/** Checks addresses to bind to; `what` is served there ("https"). INVALID. */
KITH_MUST_USE int kith__server_check_binds(const struct kith_sockaddr *binds, size_t count, const char *what,
                                           struct kith_server_why *why);
/** Checks what can be checked without a file; NULL is fine. INVALID. */
KITH_MUST_USE int kith__server_check_tls(const struct kith_server_tls *tls, struct kith_server_why *why);

enum { KITH_SERVER_FILE_MAX = 1 << 20 }; /* of a PEM file */
/**
 * Reads a whole file of PEM text. Dispose of *out (and wipe it if it holds a key). Errors: those of files; TOO_LARGE; `what`
 * names it in the sentence ("the private key").
 */
KITH_MUST_USE int kith__server_read_file(struct kith_rt *rt, const struct kith_mem *mem, const char *path,
                                         const char *what, struct kith_buf *out, struct kith_server_why *why);

/** A TLS context for requests of our own: trusts the system's roots and those of the file (NULL: none). Errors with a sentence. */
KITH_MUST_USE int kith__server_client_trust(struct kith_rt *rt, const struct kith_mem *mem, const char *ca_file,
                                            struct kith_tls_stream_context **out, struct kith_server_why *why);

#endif
