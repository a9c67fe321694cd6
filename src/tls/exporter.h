/** Exported keying material, from the secrets of a complete handshake. Pure. Source: RFC 8446, 7.5; RFC 5705, RFC 5246 5. */
#ifndef KITH_TLS_EXPORTER_H
#define KITH_TLS_EXPORTER_H

#include "crypto/hkdf.h"

enum { KITH_MASTER_SECRET_SIZE = 48, KITH_HELLO_RANDOM_SIZE = 32, KITH_EXPORTER12_CONTEXT_SIZE_MAX = 255 };

/**
 * TLS 1.3. secret: kith__digest_size bytes; label: 1..KITH_HKDF_LABEL_SIZE_MAX bytes without NUL and without "tls13 ";
 * context of any size; 1..255 * digest size bytes at out. Errors: INVALID (label).
 */
KITH_MUST_USE int kith__exporter13(enum kith_digest digest, const uint8_t *secret, struct kith_slice label,
                                   struct kith_slice context, uint8_t *out, size_t size);

/** What TLS 1.2 derives from. */
struct kith_exporter12 {
    uint8_t master[KITH_MASTER_SECRET_SIZE];
    uint8_t client_random[KITH_HELLO_RANDOM_SIZE], server_random[KITH_HELLO_RANDOM_SIZE];
};

/**
 * TLS 1.2, with a context, which may be empty but is there (RFC 5705, 4). label as above, context up to
 * KITH_EXPORTER12_CONTEXT_SIZE_MAX bytes. Errors: INVALID (label, context).
 */
KITH_MUST_USE int kith__exporter12(enum kith_digest digest, const struct kith_exporter12 *from, struct kith_slice label,
                                   struct kith_slice context, uint8_t *out, size_t size);

#endif
