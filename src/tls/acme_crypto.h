/**
 * What ACME needs of cryptography: an account key and its signatures (ES256), key authorisations, certificate requests and
 * the certificate that answers the tls-alpn-01 challenge. The protocol itself (JSON, HTTP) is not here. Sans-IO: keys are
 * random, times are given.
 *
 * Source: RFC 8555 (6.2, 7.1.4, 7.4, 8.1), RFC 7515, RFC 7518 3.4 (ES256), RFC 7638 (thumbprint), RFC 8737 (tls-alpn-01).
 */
#ifndef KITH_TLS_ACME_CRYPTO_H
#define KITH_TLS_ACME_CRYPTO_H

#include "base/buf.h"
#include "tls/selfmade.h"

enum {
    KITH_ACME_COORDINATE_SIZE = 32,
    KITH_ACME_SIGNATURE_SIZE = 64,
    KITH_ACME_THUMBPRINT_SIZE = 32,
    KITH_ACME_TOKEN_SIZE_MAX = 256,
    KITH_ACME_NAMES_MAX = 100
};

/** An ECDSA key on P-256. One thread at a time. End with kith__acme_key_free. */
struct kith_acme_key;

/** Makes a random key. Errors: NOMEM, CRYPTO. */
KITH_MUST_USE int kith__acme_key_new(const struct kith_mem *mem, struct kith_acme_key **out);
/** Reads a private key in PEM. Errors: NOMEM; PARSE; UNSUPPORTED: a key of another kind or curve. */
KITH_MUST_USE int kith__acme_key_load(const struct kith_mem *mem, struct kith_slice pem, struct kith_acme_key **out);
/** Wipes and frees. NULL is fine. */
void kith__acme_key_free(struct kith_acme_key *key);
/** Appends the private key as unencrypted PEM (PKCS #8) to a buffer; wipe it after use. Errors: NOMEM, CRYPTO. */
KITH_MUST_USE int kith__acme_key_store(const struct kith_acme_key *key, struct kith_buf *pem);

/** The public key's coordinates, in network order with leading zeros: the JWK's x and y. */
void kith__acme_key_public(const struct kith_acme_key *key, uint8_t x[KITH_ACME_COORDINATE_SIZE],
                           uint8_t y[KITH_ACME_COORDINATE_SIZE]);
/** SHA-256 over the JWK's canonical form (RFC 7638): what key authorisations hold, in base64url. */
KITH_MUST_USE int kith__acme_key_thumbprint(const struct kith_acme_key *key,
                                            uint8_t thumbprint[KITH_ACME_THUMBPRINT_SIZE]);
/** ES256 over message (the JWS signing input): r and s, 32 bytes each. Errors: NOMEM, CRYPTO. */
KITH_MUST_USE int kith__acme_key_sign(const struct kith_acme_key *key, struct kith_slice message,
                                      uint8_t signature[KITH_ACME_SIGNATURE_SIZE]);

/** Appends base64url without padding (RFC 7515, 2): what JWS is made of. Errors: NOMEM. */
KITH_MUST_USE int kith__base64url_append(struct kith_buf *out, struct kith_slice bytes);
/** Appends token "." base64url(thumbprint): the key authorisation (RFC 8555, 8.1). Errors: NOMEM; INVALID: no token. */
KITH_MUST_USE int kith__acme_authorisation(const struct kith_acme_key *account, const char *token,
                                           struct kith_buf *out);

/**
 * Appends a certificate request (PKCS #10, DER) for 1..KITH_ACME_NAMES_MAX names (host names, IP addresses), all as
 * subjectAltName, signed by `key`, which becomes the certificate's. Errors: NOMEM, INVALID (names), CRYPTO.
 */
KITH_MUST_USE int kith__acme_request(const struct kith_acme_key *key, const char *const *names, size_t name_count,
                                     struct kith_buf *der);

/**
 * The self-signed certificate that answers tls-alpn-01 for one name: its subjectAltName is the name alone, and a critical
 * acmeIdentifier holds the SHA-256 of the key authorisation (RFC 8737, 3). Goes into
 * kith_tls_stream_context_options.challenges. Errors: NOMEM, INVALID, CRYPTO.
 */
KITH_MUST_USE int kith__acme_challenge_certificate(const struct kith_mem *mem, const char *name,
                                                   struct kith_slice authorisation, uint64_t now_s,
                                                   struct kith_selfmade *out);

#endif
