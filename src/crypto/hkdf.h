/**
 * HMAC and HKDF over SHA-256 and SHA-384, and HKDF-Expand-Label of TLS 1.3. No allocation, cannot fail; the caller
 * wipes what it gets. Sources: RFC 2104, RFC 5869, RFC 8446 section 7.1; RFC 9001 5.1 for the QUIC labels.
 */
#ifndef KITH_CRYPTO_HKDF_H
#define KITH_CRYPTO_HKDF_H

#include "crypto/aead.h"

enum kith_digest { KITH_DIGEST_SHA256 = 1, KITH_DIGEST_SHA384 = 2 };

enum {
    KITH_DIGEST_SIZE_MAX = 48,
    KITH_HKDF_LABEL_SIZE_MAX = 249,  /* without "tls13 ": one length byte holds both */
    KITH_HKDF_CONTEXT_SIZE_MAX = 255 /* one length byte */
};

/** 32 or 48. */
size_t kith__digest_size(enum kith_digest digest);

/** The digest of a TLS 1.3 cipher suite: SHA-384 for AES-256-GCM, else SHA-256. */
static inline enum kith_digest kith__cipher_digest(enum kith_cipher cipher)
{
    return cipher == KITH_CIPHER_AES_256_GCM ? KITH_DIGEST_SHA384 : KITH_DIGEST_SHA256;
}

/** The plain hash of message; kith__digest_size bytes at out. */
void kith__digest(enum kith_digest digest, struct kith_slice message, uint8_t *out);

/** HMAC of message; kith__digest_size bytes at out. Any sizes. */
void kith__hmac(enum kith_digest digest, struct kith_slice key, struct kith_slice message, uint8_t *out);

/** HKDF-Extract: kith__digest_size bytes at out. An empty salt stands for a string of zeros, as in RFC 5869, 2.2. */
void kith__hkdf_extract(enum kith_digest digest, struct kith_slice salt, struct kith_slice input, uint8_t *out);

/** HKDF-Expand: out_size bytes, 1 .. 255 * kith__digest_size. prk: kith__digest_size bytes. */
void kith__hkdf_expand(enum kith_digest digest, const uint8_t *prk, struct kith_slice info, uint8_t *out,
                       size_t out_size);

/**
 * HKDF-Expand-Label(secret, label, context, out_size). secret: kith__digest_size bytes; label: without its "tls13 "
 * prefix, e.g. "quic key", "quic iv", "quic hp", "quic ku", "client in" and "server in"; context: up to
 * KITH_HKDF_CONTEXT_SIZE_MAX bytes, most often empty. Limits are asserted: labels and contexts are ours.
 */
void kith__hkdf_expand_label(enum kith_digest digest, const uint8_t *secret, const char *label,
                             struct kith_slice context, uint8_t *out, size_t out_size);

#endif
