/**
 * The certificate of a server: from files that may change, made here, or got by ACME; and what serves it. Hands out a new TLS
 * context whenever there is a new certificate; on a failure the old one stays, and the log says why.
 *
 * Thread rules: those of its rt (the server's house's).
 */
#ifndef KITH_SERVER_CERTS_H
#define KITH_SERVER_CERTS_H

#include "server/certs_shared.h"
#include "server/setup.h"

struct kith_certs;
struct kith_tls_stream_context;

/** How often files are looked at, and kept certificates for their end. */
#define KITH_CERTS_FILES_NS (2 * KITH_NS_PER_S)
#define KITH_CERTS_AGE_NS   (3600 * KITH_NS_PER_S)

/** A certificate in use; everything is borrowed during the call. */
struct kith_certificate_news {
    struct kith_tls_stream_context *context; /* for https */
    struct kith_slice chain, key;            /* PEM, for QUIC; empty: none yet (only ACME's challenges are served) */
};

struct kith_certs_options {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    const struct kith_server_tls *tls; /* source is not NONE. Copied */
    struct kith_certs_shared *shared;  /* outlives the object */
    bool has_https, has_http;          /* what is served: where ACME's challenges can be answered */
    void (*on_news)(void *ctx, const struct kith_certificate_news *news);
    void *ctx;
};

/**
 * Loads or makes the first certificate; on_news comes before this returns (with ACME and none stored: later). Errors, with a
 * sentence: NOMEM, those of files, PARSE, INVALID, TLS, CRYPTO.
 */
KITH_MUST_USE int kith__certs_new(const struct kith_certs_options *options, struct kith_certs **out,
                                  struct kith_server_why *why);
/** NULL is fine. */
void kith__certs_free(struct kith_certs *certs);
/** Reads the files again now. */
void kith__certs_reload(struct kith_certs *certs);
/**
 * Only looks whether a certificate could be had now: files are there, fit, and clients will take them (names, time, order, which
 * new only warns of). Errors as for new.
 */
KITH_MUST_USE int kith__certs_check(struct kith_rt *rt, const struct kith_mem *mem, const struct kith_server_tls *tls,
                                    struct kith_server_why *why);
/** Reads the authority of our own from the directory of SELF: PEM. Errors: those of files. */
KITH_MUST_USE int kith__certs_authority(struct kith_rt *rt, const struct kith_mem *mem, const char *directory,
                                        struct kith_buf *out, struct kith_server_why *why);

/* ---- For ACME (server/acme.h) ---- */

/** Answers acme-tls/1 for these names from now on, beside the certificate; count 0: no longer. Errors: NOMEM, PARSE, TLS. */
struct kith_tls_certificate;
KITH_MUST_USE int kith__certs_set_challenges(struct kith_certs *certs, const struct kith_tls_certificate *challenges,
                                             size_t count);
/** A new certificate: kept in the directory, then used. Errors, with a sentence. */
KITH_MUST_USE int kith__certs_store(struct kith_certs *certs, struct kith_slice chain, struct kith_slice key,
                                    struct kith_server_why *why);
/** Writes a file whole or not at all. */
KITH_MUST_USE int kith__server_write_file(struct kith_rt *rt, const char *path, struct kith_slice bytes, uint32_t mode,
                                          struct kith_server_why *why);

#endif
