/* AEAD through GnuTLS: everywhere, and the yardstick for the other implementations. */
#include "crypto/aead.h"

#include <gnutls/crypto.h>

/** Where a NULL from an empty slice would meet a library that asks for a pointer. */
static uint8_t nothing[1];

static int gnutls_init_key(const struct kith_mem *mem, enum kith_cipher cipher, const uint8_t *secret, void **state)
{
    gnutls_aead_cipher_hd_t handle;
    gnutls_cipher_algorithm_t algorithm = cipher == KITH_CIPHER_AES_128_GCM   ? GNUTLS_CIPHER_AES_128_GCM
                                          : cipher == KITH_CIPHER_AES_256_GCM ? GNUTLS_CIPHER_AES_256_GCM
                                                                              : GNUTLS_CIPHER_CHACHA20_POLY1305;
    gnutls_datum_t key = { (unsigned char *)(uintptr_t)secret, (unsigned)kith__cipher_key_size(cipher) };
    int rv;

    (void)mem; /* GnuTLS brings its own */
    if (key.size == 0)
        return KITH_ERR_UNSUPPORTED;
    rv = gnutls_aead_cipher_init(&handle, algorithm, &key);
    if (rv != 0)
        return rv == GNUTLS_E_MEMORY_ERROR ? KITH_ERR_NOMEM : KITH_ERR_CRYPTO;
    *state = handle;
    return 0;
}

static void gnutls_dispose_key(const struct kith_mem *mem, void *state)
{
    (void)mem;
    gnutls_aead_cipher_deinit(state); /* wipes */
}

static int gnutls_seal(void *state, const uint8_t *nonce, const uint8_t *aad, size_t aad_size, const uint8_t *in,
                       size_t size, uint8_t *out)
{
    size_t out_size = size + KITH_AEAD_TAG_SIZE;
    int rv = gnutls_aead_cipher_encrypt(state, nonce, KITH_AEAD_NONCE_SIZE, aad, aad_size, KITH_AEAD_TAG_SIZE,
                                        size > 0 ? in : nothing, size, out, &out_size);

    return rv == 0 && out_size == size + KITH_AEAD_TAG_SIZE ? 0 : KITH_ERR_CRYPTO;
}

static int gnutls_open(void *state, const uint8_t *nonce, const uint8_t *aad, size_t aad_size, const uint8_t *in,
                       size_t size, uint8_t *out)
{
    size_t out_size = size - KITH_AEAD_TAG_SIZE;

    if (size < KITH_AEAD_TAG_SIZE)
        return KITH_ERR_CRYPTO;
    return gnutls_aead_cipher_decrypt(state, nonce, KITH_AEAD_NONCE_SIZE, aad, aad_size, KITH_AEAD_TAG_SIZE, in, size,
                                      out_size > 0 ? out : nothing, &out_size) == 0
               ? 0
               : KITH_ERR_CRYPTO;
}

const struct kith_aead_ops *kith__aead_ops_gnutls(void)
{
    static const struct kith_aead_ops ops = { "gnutls", gnutls_init_key, gnutls_dispose_key, gnutls_seal, gnutls_open };

    return &ops;
}
