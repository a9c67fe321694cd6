/** What the makers of certificates share: names as the library takes them, and its texts into our buffers. */
#ifndef KITH_TLS_CERTS_H
#define KITH_TLS_CERTS_H

#include "base/buf.h"

#include <gnutls/x509.h>

/** A name of a certificate, for gnutls_x509_*_set_subject_alt_name. */
struct kith_certs_name {
    gnutls_x509_subject_alt_name_t kind;
    const void *bytes; /* of the text, or of `ip` */
    unsigned size;
    uint8_t ip[16];
};

/** Reads a host name ("*." at the front is fine) or an IP address. Must not move afterwards. KITH_ERR_INVALID. */
KITH_MUST_USE int kith__certs_name(const char *text, struct kith_certs_name *out);
/** NOMEM for the library's lack of memory, else `otherwise`; 0 for a value >= 0. */
int kith__certs_error(int rv, int otherwise);
/** Appends what the library allocated, and frees it (wiped). Errors: NOMEM: nothing was appended. */
KITH_MUST_USE int kith__certs_take(gnutls_datum_t *from, struct kith_buf *to);
/** A key on P-256, a certificate without a signature: what every certificate of ours begins with. rv of the library. */
KITH_MUST_USE int kith__certs_begin(gnutls_x509_privkey_t *key, gnutls_x509_crt_t *crt, const char *common_name,
                                    uint64_t now_s, uint64_t valid_s);
/** Exports both as PEM, frees them in any case (NULL is fine). Errors: NOMEM, CRYPTO. */
struct kith_selfmade;
KITH_MUST_USE int kith__certs_finish(const struct kith_mem *mem, gnutls_x509_privkey_t key, gnutls_x509_crt_t crt,
                                     int err, struct kith_selfmade *out);

#endif
