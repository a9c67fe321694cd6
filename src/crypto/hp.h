/**
 * QUIC header protection: a 5-byte mask from a 16-byte sample of the ciphertext. AES through nettle (which uses the
 * CPU's AES instructions), ChaCha20 through libsodium. Pure; a key may be used by any number of threads.
 * Source: RFC 9001, 5.4.3 and 5.4.4.
 */
#ifndef KITH_CRYPTO_HP_H
#define KITH_CRYPTO_HP_H

#include "crypto/aead.h"
#include <nettle/aes.h>

enum { KITH_HP_SAMPLE_SIZE = 16, KITH_HP_MASK_SIZE = 5 };

/**
 * A header protection key, by value in its owner (about 250 bytes); cipher 0 means "none". No pointers: may be
 * copied.
 */
struct kith_hp_key {
    union {
        struct aes128_ctx aes128;
        struct aes256_ctx aes256;
        uint8_t chacha20[32];
    } key;
    uint16_t cipher; /* enum kith_cipher */
};

/** Takes kith__cipher_key_size(cipher) bytes at secret. UNSUPPORTED for an unknown cipher, then *key is not written. */
KITH_MUST_USE int kith__hp_init(struct kith_hp_key *key, enum kith_cipher cipher, const uint8_t *secret);

/** Wipes; the key is "none" afterwards. */
void kith__hp_dispose(struct kith_hp_key *key);

/** The mask for KITH_HP_SAMPLE_SIZE bytes at sample; writes KITH_HP_MASK_SIZE bytes. The key must be set. */
void kith__hp_mask(const struct kith_hp_key *key, const uint8_t *sample, uint8_t *mask);

#endif
