/**
 * Gets certificates from an ACME authority (RFC 8555): one order at a time, with tls-alpn-01 or http-01, tried again with growing
 * pauses when it fails. The account key and the certificate are kept in a directory.
 *
 * Thread rules: those of its rt (the server's house's).
 */
#ifndef KITH_SERVER_ACME_H
#define KITH_SERVER_ACME_H

#include "server/certs_shared.h"
#include "server/setup.h"

struct kith_acme;
struct kith_certs;

#define KITH_ACME_LETS_ENCRYPT "https://acme-v02.api.letsencrypt.org/directory"

/** Pause after the first failure, doubled each time up to the maximum. Authorities count failures by the hour. */
#define KITH_ACME_PAUSE_NS     (60 * KITH_NS_PER_S)
#define KITH_ACME_PAUSE_MAX_NS (6 * 3600 * KITH_NS_PER_S)
/** Between two looks at something that the authority works on, and how many. */
#define KITH_ACME_POLL_NS (KITH_NS_PER_S)
enum { KITH_ACME_POLLS_MAX = 120, KITH_ACME_NONCE_TRIES_MAX = 5, KITH_ACME_ANSWER_MAX = 256 << 10 };
/** For all workers to take the challenge over before the authority asks. */
#define KITH_ACME_SETTLE_NS (300 * KITH_NS_PER_MS)

struct kith_acme_options {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    const struct kith_server_tls *tls; /* ACME; copied */
    const char *directory;             /* copied */
    struct kith_certs_shared *shared;  /* http-01 goes there */
    struct kith_certs *certs;          /* tls-alpn-01 and the certificate go there */
    bool has_https, has_http;          /* which challenges can be answered */
};

/** Loads or makes the account key. Errors, with a sentence: files, NOMEM, PARSE, CRYPTO, INVALID. */
KITH_MUST_USE int kith__acme_new(const struct kith_acme_options *options, struct kith_acme **out,
                                 struct kith_server_why *why);
/** NULL is fine. */
void kith__acme_free(struct kith_acme *acme);
/** Wants a certificate: starts an order, unless one is under way or a pause after a failure is. */
void kith__acme_order(struct kith_acme *acme);

#endif
