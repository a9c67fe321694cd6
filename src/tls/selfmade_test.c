/* Certificates of our own making, and what ACME needs: looked at with the library's own readers. */
#include "base/mem.h"
#include "base/test.h"
#include "tls/acme_crypto.h"
#include "tls/selfmade.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <string.h>

enum { NOW_S = 1800000000, HOUR_S = 3600 };

static struct kith_selfmade authority;

static const struct kith_selfmade *make_authority(void)
{
    if (authority.key.size == 0)
        KITH_CHECK_EQ(kith__selfmade_authority(kith_mem_default(), "kith test", NOW_S, &authority), 0);
    return &authority;
}

static int make_server(const struct kith_mem *mem, const char *const *names, size_t count, struct kith_selfmade *out)
{
    return kith__selfmade_server(mem, kith__buf_slice(&make_authority()->certificate),
                                 kith__buf_slice(&make_authority()->key), names, count, NOW_S, out);
}

static gnutls_x509_crt_t read_certificate(const struct kith_buf *pem)
{
    gnutls_datum_t datum = { pem->ptr, (unsigned)pem->size };
    gnutls_x509_crt_t crt;

    KITH_CHECK_EQ(gnutls_x509_crt_init(&crt), 0);
    KITH_CHECK_EQ(gnutls_x509_crt_import(crt, &datum, GNUTLS_X509_FMT_PEM), 0);
    return crt;
}

KITH_TEST(selfmade_server_has_its_names_and_is_signed_by_the_authority)
{
    static const char *const names[] = { "relay.example.org", "*.example.net", "192.0.2.7", "2001:db8::7" };
    static const char *const yes[] = { "relay.example.org", "a.example.net", "192.0.2.7", "2001:db8:0::7" };
    static const char *const no[] = { "example.org", "example.net", "192.0.2.8", "2001:db8::8", "" };
    struct kith_certificate_info info;
    struct kith_selfmade made;
    gnutls_x509_crt_t ca, crt;
    unsigned status = 1;

    KITH_CHECK_EQ(make_server(kith_mem_default(), names, 4, &made), 0);
    for (size_t i = 0; i < KITH_COUNT(yes); i++)
        KITH_CHECK(kith__certificate_covers(kith__buf_slice(&made.certificate), yes[i]));
    for (size_t i = 0; i < KITH_COUNT(no); i++)
        KITH_CHECK(!kith__certificate_covers(kith__buf_slice(&made.certificate), no[i]));
    KITH_CHECK_EQ(kith__certificate_read(kith__buf_slice(&made.certificate), &info), 0);
    KITH_CHECK_EQ(info.not_before_s, NOW_S - HOUR_S);
    KITH_CHECK_EQ(info.not_after_s, NOW_S + KITH_SELFMADE_SERVER_S);
    ca = read_certificate(&make_authority()->certificate);
    crt = read_certificate(&made.certificate);
    KITH_CHECK_EQ(gnutls_x509_crt_verify(crt, &ca, 1, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status), 0);
    KITH_CHECK_EQ(status, 0);
    KITH_CHECK_EQ(gnutls_x509_crt_get_ca_status(ca, NULL), 1);
    KITH_CHECK_EQ(gnutls_x509_crt_get_ca_status(crt, NULL), 0);
    KITH_CHECK_EQ(gnutls_x509_crt_get_version(crt), 3);
    gnutls_x509_crt_deinit(ca);
    gnutls_x509_crt_deinit(crt);
    kith__selfmade_dispose(&made);
    kith__selfmade_dispose(&made);
}

KITH_TEST(selfmade_refuses_names_and_authorities_that_are_none)
{
    static const char *const bad[] = { "", "a b", "*", "[::1]", "x/y", "a*.b" };
    static const char *const good[] = { "a" };
    struct kith_selfmade made, other;
    struct kith_slice nothing = { NULL, 0 }, noise = { (const uint8_t *)"noise", 5 };
    char long_name[70];

    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK_EQ(make_server(kith_mem_default(), &bad[i], 1, &made), KITH_ERR_INVALID);
    KITH_CHECK_EQ(make_server(kith_mem_default(), good, 0, &made), KITH_ERR_INVALID);
    KITH_CHECK_EQ(make_server(kith_mem_default(), good, KITH_SELFMADE_NAMES_MAX + 1, &made), KITH_ERR_INVALID);
    memset(long_name, 'x', 65);
    long_name[65] = '\0';
    KITH_CHECK_EQ(kith__selfmade_authority(kith_mem_default(), long_name, NOW_S, &made), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__selfmade_authority(kith_mem_default(), "", NOW_S, &made), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__selfmade_server(kith_mem_default(), nothing, nothing, good, 1, NOW_S, &made), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__selfmade_server(kith_mem_default(), noise, noise, good, 1, NOW_S, &made), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__selfmade_authority(kith_mem_default(), "other", NOW_S, &other), 0);
    KITH_CHECK_EQ(kith__selfmade_server(kith_mem_default(), kith__buf_slice(&make_authority()->certificate),
                                        kith__buf_slice(&other.key), good, 1, NOW_S, &made),
                  KITH_ERR_PARSE);
    kith__selfmade_dispose(&other);
    KITH_CHECK(!kith__certificate_covers(noise, "a"));
    KITH_CHECK_EQ(kith__certificate_read(noise, &(struct kith_certificate_info) { 0 }), KITH_ERR_PARSE);
}

/* ---- ACME ---- */

/** RFC 7515, A.3: key and its coordinates. */
static const char rfc_key[] = "-----BEGIN EC PRIVATE KEY-----\n"
                              "MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49\n"
                              "AwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b\n"
                              "focs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                              "-----END EC PRIVATE KEY-----\n";

KITH_TEST(acme_key_gives_the_coordinates_and_the_thumbprint_of_the_standard)
{
    struct kith_acme_key *key;
    struct kith_buf text = { .mem = kith_mem_default() };
    uint8_t x[32], y[32], thumbprint[32];

    KITH_CHECK_EQ(kith__acme_key_load(kith_mem_default(),
                                      (struct kith_slice) { (const uint8_t *)rfc_key, sizeof rfc_key - 1 }, &key),
                  0);
    kith__acme_key_public(key, x, y);
    KITH_CHECK_EQ(kith__base64url_append(&text, (struct kith_slice) { x, sizeof x }), 0);
    KITH_CHECK_EQ(kith__buf_append_byte(&text, ' '), 0);
    KITH_CHECK_EQ(kith__base64url_append(&text, (struct kith_slice) { y, sizeof y }), 0);
    KITH_CHECK_EQ(kith__buf_append_byte(&text, 0), 0);
    KITH_CHECK_STR((char *)text.ptr,
                   "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    text.size = 0;
    KITH_CHECK_EQ(kith__acme_key_thumbprint(key, thumbprint), 0);
    KITH_CHECK_EQ(kith__acme_authorisation(key, "a/b", &text), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__acme_authorisation(key, "", &text), KITH_ERR_INVALID);
    KITH_CHECK_EQ(text.size, 0);
    KITH_CHECK_EQ(kith__acme_authorisation(key, "tok_-1", &text), 0);
    KITH_CHECK_EQ(kith__buf_append_byte(&text, 0), 0);
    KITH_CHECK_STR((char *)text.ptr, "tok_-1.oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    kith__buf_dispose(&text);
    kith__acme_key_free(key);
}

static void check_signature(const struct kith_acme_key *key, struct kith_slice message)
{
    uint8_t signature[KITH_ACME_SIGNATURE_SIZE], x[32], y[32];
    gnutls_datum_t r = { signature, 32 }, s = { signature + 32, 32 }, der, data;
    gnutls_datum_t x_datum = { x, 32 }, y_datum = { y, 32 };
    gnutls_pubkey_t public_key;

    kith__acme_key_public(key, x, y);
    KITH_CHECK_EQ(kith__acme_key_sign(key, message, signature), 0);
    KITH_CHECK_EQ(gnutls_encode_rs_value(&der, &r, &s), 0);
    KITH_CHECK_EQ(gnutls_pubkey_init(&public_key), 0);
    KITH_CHECK_EQ(gnutls_pubkey_import_ecc_raw(public_key, GNUTLS_ECC_CURVE_SECP256R1, &x_datum, &y_datum), 0);
    data = (gnutls_datum_t) { (unsigned char *)(uintptr_t)message.ptr, (unsigned)message.size };
    KITH_CHECK(gnutls_pubkey_verify_data2(public_key, GNUTLS_SIGN_ECDSA_SHA256, 0, &data, &der) >= 0);
    gnutls_pubkey_deinit(public_key);
    gnutls_free(der.data);
}

KITH_TEST(acme_key_signs_and_survives_its_file)
{
    struct kith_slice message = { (const uint8_t *)"protected.payload", 17 };
    struct kith_buf pem = { .mem = kith_mem_default() };
    struct kith_acme_key *key, *again;
    uint8_t one[32], two[32];

    KITH_CHECK_EQ(kith__acme_key_new(kith_mem_default(), &key), 0);
    for (int i = 0; i < 40; i++) /* some r and s begin with zeros */
        check_signature(key, message);
    KITH_CHECK_EQ(kith__acme_key_store(key, &pem), 0);
    KITH_CHECK_EQ(kith__acme_key_load(kith_mem_default(), kith__buf_slice(&pem), &again), 0);
    KITH_CHECK_EQ(kith__acme_key_thumbprint(key, one), 0);
    KITH_CHECK_EQ(kith__acme_key_thumbprint(again, two), 0);
    KITH_CHECK_BYTES(one, two, sizeof one);
    check_signature(again, message);
    kith__acme_key_free(key);
    kith__acme_key_free(again);
    pem.size /= 2;
    KITH_CHECK_EQ(kith__acme_key_load(kith_mem_default(), kith__buf_slice(&pem), &again), KITH_ERR_PARSE);
    kith__buf_dispose(&pem);
}

KITH_TEST(acme_key_of_another_kind_is_refused)
{
    static const struct {
        gnutls_pk_algorithm_t kind;
        unsigned bits;
    } kinds[] = { { GNUTLS_PK_EDDSA_ED25519, 256 },
                  { GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1) } };

    for (size_t i = 0; i < KITH_COUNT(kinds); i++) {
        gnutls_x509_privkey_t made;
        gnutls_datum_t pem;
        struct kith_acme_key *key;

        KITH_CHECK_EQ(gnutls_x509_privkey_init(&made), 0);
        KITH_CHECK_EQ(gnutls_x509_privkey_generate(made, kinds[i].kind, kinds[i].bits, 0), 0);
        KITH_CHECK_EQ(gnutls_x509_privkey_export2_pkcs8(made, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem), 0);
        KITH_CHECK_EQ(kith__acme_key_load(kith_mem_default(), (struct kith_slice) { pem.data, pem.size }, &key),
                      KITH_ERR_UNSUPPORTED);
        gnutls_free(pem.data);
        gnutls_x509_privkey_deinit(made);
    }
}

KITH_TEST(acme_request_holds_all_names_and_the_key)
{
    static const char *const names[] = { "relay.example.org", "b.example.org", "192.0.2.7" };
    static const char *const bad[] = { "ok", "not ok" };
    struct kith_buf der = { .mem = kith_mem_default() };
    gnutls_datum_t datum;
    gnutls_x509_crq_t request;
    struct kith_acme_key *key;
    char name[64];
    size_t size = sizeof name;
    unsigned kind = 0;

    KITH_CHECK_EQ(kith__acme_key_new(kith_mem_default(), &key), 0);
    KITH_CHECK_EQ(kith__acme_request(key, bad, 2, &der), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__acme_request(key, names, 0, &der), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__acme_request(key, names, 3, &der), 0);
    datum = (gnutls_datum_t) { der.ptr, (unsigned)der.size };
    KITH_CHECK_EQ(gnutls_x509_crq_init(&request), 0);
    KITH_CHECK_EQ(gnutls_x509_crq_import(request, &datum, GNUTLS_X509_FMT_DER), 0);
    KITH_CHECK_EQ(gnutls_x509_crq_verify(request, 0), 0);
    KITH_CHECK(gnutls_x509_crq_get_subject_alt_name(request, 1, name, &size, &kind, NULL) >= 0);
    KITH_CHECK_EQ(size, 13);
    KITH_CHECK_BYTES(name, "b.example.org", 13);
    size = sizeof name;
    KITH_CHECK(gnutls_x509_crq_get_subject_alt_name(request, 2, name, &size, &kind, NULL) >= 0);
    KITH_CHECK_EQ(kind, GNUTLS_SAN_IPADDRESS);
    KITH_CHECK_EQ(size, 4);
    gnutls_x509_crq_deinit(request);
    kith__acme_key_free(key);
    kith__buf_dispose(&der);
}

KITH_TEST(acme_challenge_certificate_is_as_the_standard_wants_it)
{
    struct kith_slice authorisation = { (const uint8_t *)"token.thumb", 11 };
    struct kith_selfmade made;
    unsigned char value[64], expected[34] = { 0x04, 0x20 };
    size_t size = sizeof value;
    unsigned critical = 0;
    gnutls_x509_crt_t crt;

    KITH_CHECK_EQ(kith__acme_challenge_certificate(kith_mem_default(), "x y", authorisation, NOW_S, &made),
                  KITH_ERR_INVALID);
    KITH_CHECK_EQ(
        kith__acme_challenge_certificate(kith_mem_default(), "relay.example.org", authorisation, NOW_S, &made), 0);
    KITH_CHECK_EQ(gnutls_hash_fast(GNUTLS_DIG_SHA256, authorisation.ptr, authorisation.size, expected + 2), 0);
    crt = read_certificate(&made.certificate);
    KITH_CHECK_EQ(gnutls_x509_crt_get_extension_by_oid(crt, "1.3.6.1.5.5.7.1.31", 0, value, &size, &critical), 0);
    KITH_CHECK_EQ(critical, 1);
    KITH_CHECK_EQ(size, sizeof expected);
    KITH_CHECK_BYTES(value, expected, sizeof expected);
    KITH_CHECK(kith__certificate_covers(kith__buf_slice(&made.certificate), "relay.example.org"));
    KITH_CHECK(gnutls_x509_crt_check_issuer(crt, crt));
    gnutls_x509_crt_deinit(crt);
    kith__selfmade_dispose(&made);
}

/* ---- Memory ---- */

static void make_everything(const struct kith_mem *mem)
{
    static const char *const names[] = { "a.example", "127.0.0.1" };
    struct kith_slice text = { (const uint8_t *)"text", 4 };
    struct kith_buf buf = { .mem = mem };
    struct kith_selfmade made = { { .mem = mem }, { .mem = mem } };
    struct kith_acme_key *key = NULL;
    int err;

    if (kith__selfmade_authority(mem, "name", NOW_S, &made) == 0)
        kith__selfmade_dispose(&made);
    if (make_server(mem, names, 2, &made) == 0)
        kith__selfmade_dispose(&made);
    if (kith__acme_challenge_certificate(mem, "a.example", text, NOW_S, &made) == 0)
        kith__selfmade_dispose(&made);
    if (kith__acme_key_new(mem, &key) == 0) {
        err = kith__acme_request(key, names, 2, &buf);
        KITH_CHECK(err == 0 || (err == KITH_ERR_NOMEM && buf.size == 0));
        err = kith__acme_authorisation(key, "token", &buf);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        err = kith__acme_key_store(key, &buf);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
    }
    kith__acme_key_free(key);
    kith__buf_dispose(&buf);
}

KITH_TEST(selfmade_and_acme_survive_the_failure_of_any_allocation)
{
    struct kith_test_mem mem;

    make_authority();
    kith__test_mem_init(&mem, 0);
    make_everything(&mem.mem);
    KITH_CHECK_EQ(mem.live, 0);
    for (uint64_t n = 1, calls = mem.calls; n <= calls; n++) {
        kith__test_mem_init(&mem, n);
        make_everything(&mem.mem);
        KITH_CHECK_EQ(mem.live, 0);
    }
}
