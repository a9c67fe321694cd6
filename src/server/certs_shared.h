/**
 * What the certificates of a server (server/certs.h) leave for all its threads: numbers, and the answers to ACME's http-01. Owned by
 * the server and outlives its threads.
 */
#ifndef KITH_SERVER_CERTS_SHARED_H
#define KITH_SERVER_CERTS_SHARED_H

#include "base/buf.h"
#include "base/list.h"
#include "relay/sync.h"
#include <stdatomic.h>

enum { KITH_HTTP01_MAX = 128 }; /* answers at once */

struct kith_certs_shared {
    const struct kith_mem *mem;
    const struct kith_relay_sync *sync;  /* NULL: one thread */
    _Atomic uint64_t reloads, failures;  /* certificates taken over; tries that failed */
    _Atomic uint64_t certificate_ends_s; /* notAfter of the certificate in use, since 1970; 0: none */

    void *lock;                  /* of what follows */
    struct kith_list challenges; /* struct challenge of certs_shared.c */
    size_t challenge_count;
};

/** mem must bear all threads. Errors: NOMEM, LIMIT. */
KITH_MUST_USE int kith__certs_shared_init(struct kith_certs_shared *shared, const struct kith_mem *mem,
                                          const struct kith_relay_sync *sync);
/** Fine with a zeroed one. */
void kith__certs_shared_dispose(struct kith_certs_shared *shared);

/**
 * Enters an answer to http-01: the path below /.well-known/acme-challenge/ and the body. Any thread. Errors: NOMEM, LIMIT,
 * INVALID (no token).
 */
KITH_MUST_USE int kith__http01_add(struct kith_certs_shared *shared, const char *token, struct kith_slice answer);
/** Takes it out; fine if it is not there. Any thread. */
void kith__http01_remove(struct kith_certs_shared *shared, const char *token);
/** Appends the answer for a token (untrusted). Any thread. Errors: NOT_FOUND, NOMEM. */
KITH_MUST_USE int kith__http01_find(struct kith_certs_shared *shared, struct kith_slice token, struct kith_buf *answer);

#endif
