/* An authority of our own, and certificates that it signs. */
#include "tls/selfmade.h"
#include "base/mem.h"
#include "crypto/secure.h"
#include "tls/certs.h"

#include <limits.h>

enum { AUTHORITY_NAME_MAX = 64, KEY_ID_SIZE_MAX = 64, CHAIN_READ_MAX = 16 };

static int set_key_id(gnutls_x509_crt_t crt, bool is_issuer, gnutls_x509_crt_t issuer)
{
    unsigned char id[KEY_ID_SIZE_MAX];
    size_t size = sizeof id;
    int rv = gnutls_x509_crt_get_key_id(issuer, GNUTLS_KEYID_USE_SHA1, id, &size);

    if (rv < 0)
        return rv;
    return is_issuer ? gnutls_x509_crt_set_authority_key_id(crt, id, size)
                     : gnutls_x509_crt_set_subject_key_id(crt, id, size);
}

int kith__selfmade_authority(const struct kith_mem *mem, const char *name, uint64_t now_s, struct kith_selfmade *out)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    int rv;

    if (name[0] == '\0' || strlen(name) > AUTHORITY_NAME_MAX)
        return KITH_ERR_INVALID;
    rv = kith__certs_begin(&key, &crt, name, now_s, KITH_SELFMADE_AUTHORITY_S);
    if (rv >= 0)
        rv = gnutls_x509_crt_set_basic_constraints(crt, 1, 0); /* it signs servers, no other authorities */
    if (rv >= 0)
        rv = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
    if (rv >= 0)
        rv = set_key_id(crt, false, crt);
    if (rv >= 0)
        rv = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
    return kith__certs_finish(mem, key, crt, kith__certs_error(rv, KITH_ERR_CRYPTO), out);
}

/* ---- Certificates of servers ---- */

struct authority {
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
};

static void authority_dispose(struct authority *authority)
{
    if (authority->crt != NULL)
        gnutls_x509_crt_deinit(authority->crt);
    if (authority->key != NULL)
        gnutls_x509_privkey_deinit(authority->key);
}

static bool key_fits(const struct authority *authority)
{
    unsigned char of_key[KEY_ID_SIZE_MAX], of_crt[KEY_ID_SIZE_MAX];
    size_t key_size = sizeof of_key, crt_size = sizeof of_crt;

    return gnutls_x509_privkey_get_key_id(authority->key, GNUTLS_KEYID_USE_SHA256, of_key, &key_size) >= 0 &&
           gnutls_x509_crt_get_key_id(authority->crt, GNUTLS_KEYID_USE_SHA256, of_crt, &crt_size) >= 0 &&
           key_size == crt_size && memcmp(of_key, of_crt, key_size) == 0;
}

static int authority_load(struct kith_slice certificate, struct kith_slice key, struct authority *out)
{
    gnutls_datum_t crt_datum = { (unsigned char *)certificate.ptr, (unsigned)certificate.size };
    gnutls_datum_t key_datum = { (unsigned char *)key.ptr, (unsigned)key.size };
    int rv;

    if (certificate.size > INT_MAX || key.size > INT_MAX)
        return KITH_ERR_PARSE;
    if ((rv = gnutls_x509_crt_init(&out->crt)) < 0 || (rv = gnutls_x509_privkey_init(&out->key)) < 0 ||
        (rv = gnutls_x509_crt_import(out->crt, &crt_datum, GNUTLS_X509_FMT_PEM)) < 0 ||
        (rv = gnutls_x509_privkey_import2(out->key, &key_datum, GNUTLS_X509_FMT_PEM, NULL, 0)) < 0)
        return kith__certs_error(rv, KITH_ERR_PARSE);
    return key_fits(out) ? 0 : KITH_ERR_PARSE;
}

static int set_names(gnutls_x509_crt_t crt, const char *const *names, size_t count)
{
    struct kith_certs_name name;
    int err = 0;

    for (size_t i = 0; i < count && err == 0; i++)
        if ((err = kith__certs_name(names[i], &name)) == 0)
            err = kith__certs_error(
                gnutls_x509_crt_set_subject_alt_name(crt, name.kind, name.bytes, name.size, GNUTLS_FSAN_APPEND),
                KITH_ERR_CRYPTO);
    return err;
}

static int set_server_extensions(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer)
{
    int rv;

    if ((rv = gnutls_x509_crt_set_basic_constraints(crt, 0, -1)) < 0 ||
        (rv = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0 ||
        (rv = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0)) < 0 ||
        (rv = set_key_id(crt, false, crt)) < 0)
        return rv;
    return set_key_id(crt, true, issuer);
}

int kith__selfmade_server(const struct kith_mem *mem, struct kith_slice authority_certificate,
                          struct kith_slice authority_key, const char *const *names, size_t name_count, uint64_t now_s,
                          struct kith_selfmade *out)
{
    struct authority authority = { NULL, NULL };
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t crt = NULL;
    int err;

    if (name_count == 0 || name_count > KITH_SELFMADE_NAMES_MAX)
        return KITH_ERR_INVALID;
    err = authority_load(authority_certificate, authority_key, &authority);
    if (err == 0)
        err = kith__certs_error(kith__certs_begin(&key, &crt, names[0], now_s, KITH_SELFMADE_SERVER_S),
                                KITH_ERR_CRYPTO);
    if (err == 0)
        err = set_names(crt, names, name_count);
    if (err == 0)
        err = kith__certs_error(set_server_extensions(crt, authority.crt), KITH_ERR_CRYPTO);
    if (err == 0)
        err = kith__certs_error(gnutls_x509_crt_sign2(crt, authority.crt, authority.key, GNUTLS_DIG_SHA256, 0),
                                KITH_ERR_CRYPTO);
    authority_dispose(&authority);
    return kith__certs_finish(mem, key, crt, err, out);
}

void kith__selfmade_dispose(struct kith_selfmade *made)
{
    if (made->key.ptr != NULL)
        kith__wipe(made->key.ptr, made->key.cap);
    if (made->certificate.mem != NULL)
        kith__buf_dispose(&made->certificate);
    if (made->key.mem != NULL)
        kith__buf_dispose(&made->key);
}

/* ---- Reading ---- */

static int first_certificate(struct kith_slice pem, gnutls_x509_crt_t *out)
{
    gnutls_datum_t datum = { (unsigned char *)pem.ptr, (unsigned)pem.size };
    int rv;

    if (pem.size == 0 || pem.size > INT_MAX)
        return KITH_ERR_PARSE;
    if ((rv = gnutls_x509_crt_init(out)) < 0)
        return kith__certs_error(rv, KITH_ERR_PARSE);
    if ((rv = gnutls_x509_crt_import(*out, &datum, GNUTLS_X509_FMT_PEM)) >= 0)
        return 0;
    gnutls_x509_crt_deinit(*out);
    return kith__certs_error(rv, KITH_ERR_PARSE);
}

int kith__certificate_read(struct kith_slice pem, struct kith_certificate_info *out)
{
    struct kith_certificate_info info;
    size_t size = sizeof info.sha256;
    gnutls_x509_crt_t crt;
    time_t from, to;
    int rv, err = first_certificate(pem, &crt);

    if (err != 0)
        return err;
    from = gnutls_x509_crt_get_activation_time(crt);
    to = gnutls_x509_crt_get_expiration_time(crt);
    rv = gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, info.sha256, &size);
    gnutls_x509_crt_deinit(crt);
    if (rv < 0 || from < 0 || to < 0)
        return kith__certs_error(rv, KITH_ERR_PARSE) != 0 ? kith__certs_error(rv, KITH_ERR_PARSE) : KITH_ERR_PARSE;
    info.not_before_s = (uint64_t)from;
    info.not_after_s = (uint64_t)to;
    *out = info;
    return 0;
}

bool kith__certificate_covers(struct kith_slice pem, const char *name)
{
    gnutls_x509_crt_t crt;
    bool covers;

    if (first_certificate(pem, &crt) != 0)
        return false;
    covers = gnutls_x509_crt_check_hostname2(crt, name, 0) != 0;
    gnutls_x509_crt_deinit(crt);
    return covers;
}
