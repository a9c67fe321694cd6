/* See certs.h. */
#include "tls/certs.h"
#include "base/mem.h"
#include "base/sockaddr.h"
#include "crypto/secure.h"
#include "tls/selfmade.h"
#include "tls/x509.h"

#include <gnutls/crypto.h>

enum { SERIAL_SIZE = 16, COMMON_NAME_MAX = 64, BACKDATE_S = 3600 };

int kith__certs_name(const char *text, struct kith_certs_name *out)
{
    if (kith__ip_parse_v4(text, out->ip) == 0 || kith__ip_parse_v6(text, out->ip) == 0) {
        out->kind = GNUTLS_SAN_IPADDRESS;
        out->bytes = out->ip;
        out->size = strchr(text, ':') != NULL ? 16 : 4;
        return 0;
    }
    if (!kith__x509_is_name(strncmp(text, "*.", 2) == 0 ? text + 2 : text))
        return KITH_ERR_INVALID;
    out->kind = GNUTLS_SAN_DNSNAME;
    out->bytes = text;
    out->size = (unsigned)strlen(text);
    return 0;
}

int kith__certs_error(int rv, int otherwise)
{
    return rv >= 0 ? 0 : rv == GNUTLS_E_MEMORY_ERROR ? KITH_ERR_NOMEM : otherwise;
}

int kith__certs_take(gnutls_datum_t *from, struct kith_buf *to)
{
    int err = kith__buf_append(to, from->data, from->size);

    kith__wipe(from->data, from->size);
    gnutls_free(from->data);
    *from = (gnutls_datum_t) { NULL, 0 };
    return err;
}

static int set_serial(gnutls_x509_crt_t crt)
{
    uint8_t serial[SERIAL_SIZE];
    int rv = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);

    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, and always of the same length */
    return rv < 0 ? rv : gnutls_x509_crt_set_serial(crt, serial, sizeof serial);
}

static int set_common_name(gnutls_x509_crt_t crt, const char *name)
{
    size_t size = strlen(name);

    if (size == 0 || size > COMMON_NAME_MAX) /* longer ones do not fit; the alternative names count anyway */
        return 0;
    return gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)size);
}

int kith__certs_begin(gnutls_x509_privkey_t *key, gnutls_x509_crt_t *crt, const char *common_name, uint64_t now_s,
                      uint64_t valid_s)
{
    uint64_t from_s = now_s > BACKDATE_S ? now_s - BACKDATE_S : 0;
    int rv;

    *key = NULL;
    *crt = NULL;
    if ((rv = gnutls_x509_privkey_init(key)) < 0 || (rv = gnutls_x509_crt_init(crt)) < 0 ||
        (rv = gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
                                           0)) < 0 ||
        (rv = gnutls_x509_crt_set_version(*crt, 3)) < 0 || (rv = set_serial(*crt)) < 0 ||
        (rv = set_common_name(*crt, common_name)) < 0 || (rv = gnutls_x509_crt_set_key(*crt, *key)) < 0 ||
        (rv = gnutls_x509_crt_set_activation_time(*crt, (time_t)from_s)) < 0)
        return rv;
    return gnutls_x509_crt_set_expiration_time(*crt, (time_t)(now_s + valid_s));
}

int kith__certs_finish(const struct kith_mem *mem, gnutls_x509_privkey_t key, gnutls_x509_crt_t crt, int err,
                       struct kith_selfmade *out)
{
    gnutls_datum_t certificate = { NULL, 0 }, private_key = { NULL, 0 };
    struct kith_selfmade made = { { .mem = mem }, { .mem = mem } };

    if (err == 0)
        err = kith__certs_error(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &certificate), KITH_ERR_CRYPTO);
    if (err == 0)
        err = kith__certs_take(&certificate, &made.certificate);
    if (err == 0)
        err = kith__certs_error(
            gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &private_key),
            KITH_ERR_CRYPTO);
    if (err == 0)
        err = kith__certs_take(&private_key, &made.key);
    if (key != NULL)
        gnutls_x509_privkey_deinit(key);
    if (crt != NULL)
        gnutls_x509_crt_deinit(crt);
    if (err == 0)
        *out = made;
    else
        kith__selfmade_dispose(&made);
    return err;
}
