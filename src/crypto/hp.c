#include "crypto/hp.h"

#include "base/assert.h"
#include "crypto/cpu.h"
#include "crypto/secure.h"
#include <sodium/crypto_stream_chacha20.h>
#include <string.h>

int kith__hp_init(struct kith_hp_key *key, enum kith_cipher cipher, const uint8_t *secret)
{
    switch (cipher) {
    case KITH_CIPHER_AES_128_GCM:
        aes128_set_encrypt_key(&key->key.aes128, secret);
        break;
    case KITH_CIPHER_AES_256_GCM:
        aes256_set_encrypt_key(&key->key.aes256, secret);
        break;
    case KITH_CIPHER_CHACHA20_POLY1305:
        kith__cpu(); /* libsodium is prepared */
        memcpy(key->key.chacha20, secret, sizeof key->key.chacha20);
        break;
    default:
        return KITH_ERR_UNSUPPORTED;
    }
    key->cipher = (uint16_t)cipher;
    return 0;
}

void kith__hp_dispose(struct kith_hp_key *key)
{
    kith__wipe(key, sizeof *key);
}

/** The sample is the block counter (little-endian), then the nonce. RFC 9001, 5.4.4. */
static void chacha20_mask(const uint8_t *secret, const uint8_t *sample, uint8_t *mask)
{
    static const uint8_t zeros[KITH_HP_MASK_SIZE];
    uint32_t counter = (uint32_t)sample[0] | (uint32_t)sample[1] << 8 | (uint32_t)sample[2] << 16 |
                       (uint32_t)sample[3] << 24;

    crypto_stream_chacha20_ietf_xor_ic(mask, zeros, sizeof zeros, sample + 4, counter, secret);
}

void kith__hp_mask(const struct kith_hp_key *key, const uint8_t *sample, uint8_t *mask)
{
    uint8_t block[AES_BLOCK_SIZE];

    if (key->cipher == KITH_CIPHER_CHACHA20_POLY1305) {
        chacha20_mask(key->key.chacha20, sample, mask);
        return;
    }
    if (key->cipher == KITH_CIPHER_AES_128_GCM) {
        aes128_encrypt(&key->key.aes128, sizeof block, block, sample);
    } else {
        KITH_ASSERT(key->cipher == KITH_CIPHER_AES_256_GCM);
        aes256_encrypt(&key->key.aes256, sizeof block, block, sample);
    }
    memcpy(mask, block, KITH_HP_MASK_SIZE);
}
