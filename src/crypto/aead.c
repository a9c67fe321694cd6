/* Which implementation does which cipher on this machine. */
#include "crypto/aead.h"

#include "base/assert.h"
#include "crypto/cpu.h"

/** What is known about each cipher. */
static const struct cipher_info {
    enum kith_cipher cipher;
    uint8_t key_size;
    const char *name;
} ciphers[] = {
    { KITH_CIPHER_AES_128_GCM, 16, "AES-128-GCM" },
    { KITH_CIPHER_AES_256_GCM, 32, "AES-256-GCM" },
    { KITH_CIPHER_CHACHA20_POLY1305, 32, "CHACHA20-POLY1305" },
};

static const struct cipher_info *cipher_find(enum kith_cipher cipher)
{
    for (size_t i = 0; i < KITH_COUNT(ciphers); i++)
        if (ciphers[i].cipher == cipher)
            return &ciphers[i];
    return NULL;
}

size_t kith__cipher_key_size(enum kith_cipher cipher)
{
    const struct cipher_info *info = cipher_find(cipher);

    return info != NULL ? info->key_size : 0;
}

const char *kith__cipher_name(enum kith_cipher cipher)
{
    const struct cipher_info *info = cipher_find(cipher);

    return info != NULL ? info->name : "unknown";
}

#if !KITH_HAVE_IPSEC_MB
const struct kith_aead_ops *kith__aead_ops_ipsec_mb(void)
{
    return NULL;
}
bool kith__aead_ipsec_mb_is_wide(void)
{
    return false;
}
#endif

/** Cheap: the features and the manager of ipsec-mb are made once. NULL for an unknown cipher. */
static const struct kith_aead_ops *ops_choose(enum kith_cipher cipher)
{
    enum kith_aead_choice choice = kith__cpu()->aead;
    const struct kith_aead_ops *ipsec_mb = choice == KITH_AEAD_GNUTLS ? NULL : kith__aead_ops_ipsec_mb();

    if (cipher_find(cipher) == NULL)
        return NULL;
    if (cipher != KITH_CIPHER_CHACHA20_POLY1305)
        return ipsec_mb != NULL ? ipsec_mb : kith__aead_ops_gnutls();
    return ipsec_mb != NULL && kith__aead_ipsec_mb_is_wide() ? ipsec_mb : kith__aead_ops_sodium();
}

const char *kith__aead_name(enum kith_cipher cipher)
{
    const struct kith_aead_ops *ops = ops_choose(cipher);

    return ops != NULL ? ops->name : "none";
}

int kith__aead_init_with(struct kith_aead_key *key, const struct kith_mem *mem, const struct kith_aead_ops *ops,
                         enum kith_cipher cipher, const uint8_t *secret)
{
    void *state;
    int err;

    if ((err = ops->init(mem, cipher, secret, &state)) != 0)
        return err;
    *key = (struct kith_aead_key) { .ops = ops, .state = state, .mem = mem };
    return 0;
}

int kith__aead_init(struct kith_aead_key *key, const struct kith_mem *mem, enum kith_cipher cipher,
                    const uint8_t *secret)
{
    const struct kith_aead_ops *ops = ops_choose(cipher);

    return ops != NULL ? kith__aead_init_with(key, mem, ops, cipher, secret) : KITH_ERR_UNSUPPORTED;
}

void kith__aead_dispose(struct kith_aead_key *key)
{
    if (key->ops != NULL)
        key->ops->dispose(key->mem, key->state);
    *key = (struct kith_aead_key) { 0 };
}
