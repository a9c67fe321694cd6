/* ChaCha20-Poly1305 through libsodium: more than twice as fast as GnuTLS (spec/08, section 2). The state is the key. */
#include "crypto/aead.h"

#include "base/mem.h"
#include "crypto/cpu.h"
#include "crypto/secure.h"
#include <sodium/crypto_aead_chacha20poly1305.h>

static int sodium_init_key(const struct kith_mem *mem, enum kith_cipher cipher, const uint8_t *secret, void **state)
{
    uint8_t *key;

    if (cipher != KITH_CIPHER_CHACHA20_POLY1305)
        return KITH_ERR_UNSUPPORTED;
    kith__cpu(); /* libsodium is prepared */
    if ((key = kith__alloc(mem, crypto_aead_chacha20poly1305_IETF_KEYBYTES)) == NULL)
        return KITH_ERR_NOMEM;
    memcpy(key, secret, crypto_aead_chacha20poly1305_IETF_KEYBYTES);
    *state = key;
    return 0;
}

static void sodium_dispose_key(const struct kith_mem *mem, void *state)
{
    kith__wipe(state, crypto_aead_chacha20poly1305_IETF_KEYBYTES);
    kith__free(mem, state);
}

static int sodium_seal(void *state, const uint8_t *nonce, const uint8_t *aad, size_t aad_size, const uint8_t *in,
                       size_t size, uint8_t *out)
{
    return crypto_aead_chacha20poly1305_ietf_encrypt_detached(out, out + size, NULL, in, size, aad, aad_size, NULL,
                                                              nonce, state) == 0
               ? 0
               : KITH_ERR_CRYPTO;
}

static int sodium_open(void *state, const uint8_t *nonce, const uint8_t *aad, size_t aad_size, const uint8_t *in,
                       size_t size, uint8_t *out)
{
    size_t text_size = size - KITH_AEAD_TAG_SIZE;

    if (size < KITH_AEAD_TAG_SIZE)
        return KITH_ERR_CRYPTO;
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(out, NULL, in, text_size, in + text_size, aad, aad_size,
                                                              nonce, state) == 0
               ? 0
               : KITH_ERR_CRYPTO;
}

const struct kith_aead_ops *kith__aead_ops_sodium(void)
{
    static const struct kith_aead_ops ops = { "libsodium", sodium_init_key, sodium_dispose_key, sodium_seal,
                                              sodium_open };

    return &ops;
}
