/* Keys, signatures and certificates of ACME, by the TLS library. */
#include "tls/acme_crypto.h"
#include "base/mem.h"
#include "crypto/hkdf.h"
#include "crypto/secure.h"
#include "tls/certs.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <limits.h>
#include <sodium/utils.h>

enum { CHALLENGE_VALID_S = 7 * 86400, SHA256_SIZE = 32 };

struct kith_acme_key {
    const struct kith_mem *mem;
    gnutls_x509_privkey_t x509;
    gnutls_privkey_t key; /* the same, as signing wants it */
    uint8_t x[KITH_ACME_COORDINATE_SIZE], y[KITH_ACME_COORDINATE_SIZE];
};

/* ---- Life ---- */

/** A number as the library has it: without leading zeros, or with one more. */
static int take_number(gnutls_datum_t *from, uint8_t *out, size_t size)
{
    const uint8_t *bytes = from->data;
    size_t have = from->size;
    int err = 0;

    for (; have > size && bytes[0] == 0; have--)
        bytes++;
    if (have > size) {
        err = KITH_ERR_CRYPTO;
    } else {
        memset(out, 0, size - have);
        memcpy(out + (size - have), bytes, have);
    }
    gnutls_free(from->data);
    *from = (gnutls_datum_t) { NULL, 0 };
    return err;
}

static int read_public(struct kith_acme_key *key)
{
    gnutls_ecc_curve_t curve;
    gnutls_datum_t x, y;
    gnutls_pubkey_t public_key;
    int rv = gnutls_pubkey_init(&public_key), err;

    if (rv < 0)
        return kith__certs_error(rv, KITH_ERR_CRYPTO);
    if ((rv = gnutls_pubkey_import_privkey(public_key, key->key, 0, 0)) >= 0)
        rv = gnutls_pubkey_export_ecc_raw2(public_key, &curve, &x, &y, 0);
    gnutls_pubkey_deinit(public_key);
    if (rv < 0)
        return kith__certs_error(rv, KITH_ERR_UNSUPPORTED);
    err = take_number(&x, key->x, sizeof key->x);
    if (take_number(&y, key->y, sizeof key->y) != 0 || err != 0 || curve != GNUTLS_ECC_CURVE_SECP256R1)
        return KITH_ERR_UNSUPPORTED;
    return 0;
}

/** `pem` NULL: a new key. */
static int set_up(struct kith_acme_key *key, const struct kith_slice *pem)
{
    gnutls_datum_t datum = { NULL, 0 };
    int rv;

    if ((rv = gnutls_x509_privkey_init(&key->x509)) < 0)
        return kith__certs_error(rv, KITH_ERR_CRYPTO);
    if (pem == NULL) {
        rv = gnutls_x509_privkey_generate(key->x509, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
                                          0);
    } else {
        datum = (gnutls_datum_t) { (unsigned char *)pem->ptr, (unsigned)pem->size };
        rv = gnutls_x509_privkey_import2(key->x509, &datum, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
    }
    if (rv < 0)
        return kith__certs_error(rv, pem == NULL ? KITH_ERR_CRYPTO : KITH_ERR_PARSE);
    if ((rv = gnutls_privkey_init(&key->key)) < 0 ||
        (rv = gnutls_privkey_import_x509(key->key, key->x509, GNUTLS_PRIVKEY_IMPORT_COPY)) < 0)
        return kith__certs_error(rv, KITH_ERR_CRYPTO);
    if (gnutls_privkey_get_pk_algorithm(key->key, NULL) != GNUTLS_PK_ECDSA)
        return KITH_ERR_UNSUPPORTED;
    return read_public(key);
}

static int create(const struct kith_mem *mem, const struct kith_slice *pem, struct kith_acme_key **out)
{
    struct kith_acme_key *key = kith__alloc_zero(mem, sizeof *key);
    int err;

    if (key == NULL)
        return KITH_ERR_NOMEM;
    key->mem = mem;
    if ((err = set_up(key, pem)) != 0) {
        kith__acme_key_free(key);
        return err;
    }
    *out = key;
    return 0;
}

int kith__acme_key_new(const struct kith_mem *mem, struct kith_acme_key **out)
{
    return create(mem, NULL, out);
}

int kith__acme_key_load(const struct kith_mem *mem, struct kith_slice pem, struct kith_acme_key **out)
{
    return pem.size == 0 || pem.size > INT_MAX ? KITH_ERR_PARSE : create(mem, &pem, out);
}

void kith__acme_key_free(struct kith_acme_key *key)
{
    if (key == NULL)
        return;
    if (key->key != NULL)
        gnutls_privkey_deinit(key->key);
    if (key->x509 != NULL)
        gnutls_x509_privkey_deinit(key->x509);
    kith__free(key->mem, key);
}

int kith__acme_key_store(const struct kith_acme_key *key, struct kith_buf *pem)
{
    gnutls_datum_t datum = { NULL, 0 };
    int rv = gnutls_x509_privkey_export2_pkcs8(key->x509, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &datum);

    return rv < 0 ? kith__certs_error(rv, KITH_ERR_CRYPTO) : kith__certs_take(&datum, pem);
}

/* ---- JWS ---- */

void kith__acme_key_public(const struct kith_acme_key *key, uint8_t x[KITH_ACME_COORDINATE_SIZE],
                           uint8_t y[KITH_ACME_COORDINATE_SIZE])
{
    memcpy(x, key->x, sizeof key->x);
    memcpy(y, key->y, sizeof key->y);
}

int kith__base64url_append(struct kith_buf *out, struct kith_slice bytes)
{
    size_t size = sodium_base64_ENCODED_LEN(bytes.size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    int err;

    if (bytes.size == 0)
        return 0;
    if ((err = kith__buf_reserve(out, size)) != 0)
        return err;
    sodium_bin2base64((char *)out->ptr + out->size, size, bytes.ptr, bytes.size,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    out->size += size - 1; /* without the end of the string */
    return 0;
}

int kith__acme_key_thumbprint(const struct kith_acme_key *key, uint8_t thumbprint[KITH_ACME_THUMBPRINT_SIZE])
{
    static const char head[] = "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"", middle[] = "\",\"y\":\"", tail[] = "\"}";
    struct kith_buf text = { .mem = key->mem };
    uint8_t digest[KITH_DIGEST_SIZE_MAX];
    int err;

    if ((err = kith__buf_append(&text, head, sizeof head - 1)) == 0 &&
        (err = kith__base64url_append(&text, (struct kith_slice) { key->x, sizeof key->x })) == 0 &&
        (err = kith__buf_append(&text, middle, sizeof middle - 1)) == 0 &&
        (err = kith__base64url_append(&text, (struct kith_slice) { key->y, sizeof key->y })) == 0 &&
        (err = kith__buf_append(&text, tail, sizeof tail - 1)) == 0) {
        kith__digest(KITH_DIGEST_SHA256, kith__buf_slice(&text), digest);
        memcpy(thumbprint, digest, KITH_ACME_THUMBPRINT_SIZE);
    }
    kith__buf_dispose(&text);
    return err;
}

int kith__acme_key_sign(const struct kith_acme_key *key, struct kith_slice message,
                        uint8_t signature[KITH_ACME_SIGNATURE_SIZE])
{
    gnutls_datum_t data = { (unsigned char *)message.ptr, (unsigned)message.size }, der = { NULL, 0 }, r, s;
    int rv, err;

    if (message.size > INT_MAX)
        return KITH_ERR_CRYPTO;
    if ((rv = gnutls_privkey_sign_data2(key->key, GNUTLS_SIGN_ECDSA_SHA256, 0, &data, &der)) < 0)
        return kith__certs_error(rv, KITH_ERR_CRYPTO);
    rv = gnutls_decode_rs_value(&der, &r, &s);
    gnutls_free(der.data);
    if (rv < 0)
        return kith__certs_error(rv, KITH_ERR_CRYPTO);
    err = take_number(&r, signature, KITH_ACME_SIGNATURE_SIZE / 2);
    return take_number(&s, signature + KITH_ACME_SIGNATURE_SIZE / 2, KITH_ACME_SIGNATURE_SIZE / 2) != 0
               ? KITH_ERR_CRYPTO
               : err;
}

static bool is_token(const char *token)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t size = strlen(token);

    return size > 0 && size <= KITH_ACME_TOKEN_SIZE_MAX && strspn(token, allowed) == size;
}

int kith__acme_authorisation(const struct kith_acme_key *account, const char *token, struct kith_buf *out)
{
    uint8_t thumbprint[KITH_ACME_THUMBPRINT_SIZE];
    size_t size = out->size;
    int err;

    if (!is_token(token)) /* a server's word, which becomes a path and a file name elsewhere */
        return KITH_ERR_INVALID;
    if ((err = kith__acme_key_thumbprint(account, thumbprint)) != 0 ||
        (err = kith__buf_append(out, token, strlen(token))) != 0 || (err = kith__buf_append_byte(out, '.')) != 0 ||
        (err = kith__base64url_append(out, (struct kith_slice) { thumbprint, sizeof thumbprint })) != 0)
        out->size = size;
    return err;
}

/* ---- Certificates ---- */

static int request_names(gnutls_x509_crq_t request, const char *const *names, size_t count)
{
    struct kith_certs_name name;
    int err = 0;

    for (size_t i = 0; i < count && err == 0; i++)
        if ((err = kith__certs_name(names[i], &name)) == 0)
            err = kith__certs_error(
                gnutls_x509_crq_set_subject_alt_name(request, name.kind, name.bytes, name.size, GNUTLS_FSAN_APPEND),
                KITH_ERR_CRYPTO);
    return err;
}

int kith__acme_request(const struct kith_acme_key *key, const char *const *names, size_t name_count,
                       struct kith_buf *der)
{
    gnutls_x509_crq_t request;
    gnutls_datum_t datum = { NULL, 0 };
    int rv, err;

    if (name_count == 0 || name_count > KITH_ACME_NAMES_MAX)
        return KITH_ERR_INVALID;
    if ((rv = gnutls_x509_crq_init(&request)) < 0)
        return kith__certs_error(rv, KITH_ERR_CRYPTO);
    if ((err = request_names(request, names, name_count)) == 0) {
        if ((rv = gnutls_x509_crq_set_version(request, 1)) >= 0 &&
            (rv = gnutls_x509_crq_set_key(request, key->x509)) >= 0 &&
            (rv = gnutls_x509_crq_sign2(request, key->x509, GNUTLS_DIG_SHA256, 0)) >= 0)
            rv = gnutls_x509_crq_export2(request, GNUTLS_X509_FMT_DER, &datum);
        err = rv < 0 ? kith__certs_error(rv, KITH_ERR_CRYPTO) : kith__certs_take(&datum, der);
    }
    gnutls_x509_crq_deinit(request);
    return err;
}

static int set_challenge(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const struct kith_certs_name *name,
                         struct kith_slice authorisation)
{
    static const char acme_identifier[] = "1.3.6.1.5.5.7.1.31";
    uint8_t digest[KITH_DIGEST_SIZE_MAX], octets[2 + SHA256_SIZE] = { 0x04, SHA256_SIZE };
    int rv;

    kith__digest(KITH_DIGEST_SHA256, authorisation, digest);
    memcpy(octets + 2, digest, SHA256_SIZE);
    if ((rv = gnutls_x509_crt_set_subject_alt_name(crt, name->kind, name->bytes, name->size, GNUTLS_FSAN_SET)) < 0 ||
        (rv = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0 ||
        (rv = gnutls_x509_crt_set_extension_by_oid(crt, acme_identifier, octets, sizeof octets, 1)) < 0)
        return rv;
    return gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
}

int kith__acme_challenge_certificate(const struct kith_mem *mem, const char *name, struct kith_slice authorisation,
                                     uint64_t now_s, struct kith_selfmade *out)
{
    struct kith_certs_name parsed;
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    int rv, err;

    if ((err = kith__certs_name(name, &parsed)) != 0)
        return err;
    rv = kith__certs_begin(&key, &crt, "tls-alpn-01", now_s, CHALLENGE_VALID_S);
    if (rv >= 0)
        rv = set_challenge(crt, key, &parsed, authorisation);
    return kith__certs_finish(mem, key, crt, kith__certs_error(rv, KITH_ERR_CRYPTO), out);
}
