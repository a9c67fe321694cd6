/**
 * Ed25519 (RFC 8032) as endpoints use it: keys are read leniently, signatures are verified strictly. Source: spec/03,
 * 1.3. All functions may be called from any thread.
 */
#ifndef KITH_CRYPTO_SIGN_H
#define KITH_CRYPTO_SIGN_H

#include "crypto/secure.h"
#include <kith/types.h>

/** A secret key with its public half worked out, for who signs often. Wipe with kith__keypair_wipe. */
struct kith_keypair {
    uint8_t secret[KITH_SECRET_SIZE + KITH_ID_SIZE]; /* seed, then public key */
    struct kith_id id;
};

/** Every 32 bytes are a valid secret. */
void kith__keypair_init(struct kith_keypair *pair, const struct kith_secret *secret);
void kith__keypair_wipe(struct kith_keypair *pair);
/** Signs; deterministic. */
void kith__sign(const struct kith_keypair *pair, struct kith_slice message, uint8_t signature[KITH_SIGNATURE_SIZE]);
/**
 * Strict verification of untrusted bytes: S < L, neither the key nor R of small order, no cofactor, R compared as bytes.
 * 0 or KITH_ERR_CRYPTO.
 */
int kith__verify(const struct kith_id *id, struct kith_slice message, const uint8_t signature[KITH_SIGNATURE_SIZE]);

/**
 * True if the bytes decompress to a point of the curve, which is all that a key must do to be read: encodings that are
 * not canonical and points of small order pass (and then verify nothing). ZIP 215 rules.
 */
bool kith__id_is_point(const uint8_t bytes[KITH_ID_SIZE]);

/**
 * True if the bytes are a point of order 1, 2, 4 or 8, in any of its 14 encodings, canonical or not: for such a key a signature
 * that verifies for any message can be made without a secret. Source: spec/03, 1.3.
 */
bool kith__point_is_small_order(const uint8_t point[KITH_ID_SIZE]);

/** The id of a secret. */
struct kith_id kith__secret_id(const struct kith_secret *secret);
/** A new secret from a random source, which must be fit for keys. */
void kith__secret_random(const struct kith_random *random, struct kith_secret *out);

#endif
