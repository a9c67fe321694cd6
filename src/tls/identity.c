/*
 * The TLS library does not get the private key: it asks here for signatures, which libsodium makes in half the time, and
 * which need no copy of the secret in memory that is not ours.
 */
#include "tls/identity.h"
#include "crypto/secure.h"
#include "tls/peer.h"

#include <gnutls/abstract.h>

static int sign(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *user, unsigned flags,
                const gnutls_datum_t *data, gnutls_datum_t *signature)
{
    const struct kith_keypair *pair = user;

    (void)key;
    (void)flags;
    if (algorithm != GNUTLS_SIGN_EDDSA_ED25519)
        return GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM;
    signature->data = gnutls_malloc(KITH_SIGNATURE_SIZE); /* the library frees it */
    if (signature->data == NULL)
        return GNUTLS_E_MEMORY_ERROR;
    signature->size = KITH_SIGNATURE_SIZE;
    kith__sign(pair, (struct kith_slice) { data->data, data->size }, signature->data);
    return 0;
}

static int tell(gnutls_privkey_t key, unsigned flags, void *user)
{
    (void)key;
    (void)user;
    if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
        return GNUTLS_PK_EDDSA_ED25519;
    if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
        return 256;
    if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO)
        return GNUTLS_FLAGS_TO_SIGN_ALGO(flags) == GNUTLS_SIGN_EDDSA_ED25519;
    return -1;
}

int kith__tls_identity_set(struct kith_tls_context *ctx)
{
    uint8_t spki[KITH_SPKI_SIZE];
    gnutls_datum_t public_key = { spki, sizeof spki };
    gnutls_pcert_st certificate;
    gnutls_privkey_t key;
    int rv;

    kith__spki_write(&ctx->keypair.id, spki);
    if ((rv = gnutls_privkey_init(&key)) < 0)
        return rv;
    if ((rv = gnutls_privkey_import_ext4(key, &ctx->keypair, sign, NULL, NULL, NULL, tell, 0)) < 0) {
        gnutls_privkey_deinit(key);
        return rv;
    }
    if ((rv = gnutls_pcert_import_rawpk_raw(&certificate, &public_key, GNUTLS_X509_FMT_DER, 0, 0)) < 0) {
        gnutls_privkey_deinit(key);
        return rv;
    }
    rv = gnutls_certificate_set_key(ctx->credentials, NULL, 0, &certificate, 1, key);
    if (rv < 0) { /* else both belong to the credentials */
        gnutls_pcert_deinit(&certificate);
        gnutls_privkey_deinit(key);
    }
    return rv;
}
