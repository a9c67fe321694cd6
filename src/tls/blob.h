/**
 * The session blob: what a client keeps of a connection to open the next one faster. It is bound to both ends and
 * authenticated, so that bytes from a file that was damaged, swapped or written by another identity never reach the TLS
 * library's own parser. Layout, numbers in network order:
 *
 *     "kses" | version 1 | flags (1: 0-RTT allowed) | peer id 32 | alpn size 1, alpn | params size 2, params
 *     | data size 2, data | HMAC-SHA-256 over all before, with a key that only our secret key gives
 */
#ifndef KITH_TLS_BLOB_H
#define KITH_TLS_BLOB_H

#include "tls/tls.h"

enum { KITH_BLOB_KEY_SIZE = 32, KITH_BLOB_MAC_SIZE = 32 };

/** What a blob says; all borrowed from the blob after reading. */
struct kith_blob {
    struct kith_id peer;
    bool allows_early;
    struct kith_slice alpn;   /* 1..KITH_QUIC_ALPN_SIZE_MAX bytes */
    struct kith_slice params; /* the peer's transport parameters, 1..KITH_TLS_PARAMS_SIZE_MAX bytes */
    struct kith_slice data;   /* the TLS library's; not empty */
};

/** The key of the blobs of one identity. */
void kith__blob_key(const struct kith_secret *secret, uint8_t key[KITH_BLOB_KEY_SIZE]);

/** Writes a blob; *size is set on success. KITH_ERR_TOO_LARGE if it does not fit into capacity. */
KITH_MUST_USE int kith__blob_write(const uint8_t key[KITH_BLOB_KEY_SIZE], const struct kith_blob *blob, uint8_t *out,
                                   size_t capacity, size_t *size);

/** Reads untrusted bytes. KITH_ERR_PARSE if they are no blob, or one of another identity or version. */
KITH_MUST_USE int kith__blob_read(const uint8_t key[KITH_BLOB_KEY_SIZE], struct kith_slice bytes,
                                  struct kith_blob *out);

#endif
