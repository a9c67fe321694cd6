/* Handshakes with X.509: certificates are made here, so that none grows old. */
#include "base/test.h"
#include "tls/duo.h"
#include "tls/internal.h"

#include <gnutls/x509.h>
#include <stdlib.h>
#include <time.h>

static const char *const one[] = { "test/1" };
static const struct kith_slice none = { NULL, 0 };

static struct duo duo; /* large: not for the stack */

enum { PEM_SIZE_MAX = 16384, DAY_S = 86400 };

/** A certificate with its key, as the library has them and as PEM. */
struct cert {
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
    char pem[PEM_SIZE_MAX], key_pem[PEM_SIZE_MAX]; /* pem: its whole chain */
};

static void write_pem(struct cert *cert, const struct cert *issuer)
{
    size_t size = sizeof cert->pem - 1, key_size = sizeof cert->key_pem - 1;

    KITH_CHECK_EQ(gnutls_x509_crt_export(cert->crt, GNUTLS_X509_FMT_PEM, cert->pem, &size), 0);
    cert->pem[size] = '\0';
    KITH_CHECK_EQ(gnutls_x509_privkey_export_pkcs8(cert->key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                                                   cert->key_pem, &key_size),
                  0);
    cert->key_pem[key_size] = '\0';
    if (issuer == NULL)
        return;
    KITH_CHECK(size + strlen(issuer->pem) < sizeof cert->pem);
    memcpy(cert->pem + size, issuer->pem, strlen(issuer->pem) + 1);
}

/* `issuer` NULL: signed by itself. Valid from `from` to `to`, in days from now. `name`: a DNS name, or NULL: a CA. */
static void make(struct cert *cert, gnutls_pk_algorithm_t kind, unsigned bits, const struct cert *issuer,
                 const char *name, int from, int to)
{
    static unsigned char serial;
    static const uint8_t ip[4] = { 192, 0, 2, 1 };
    const struct cert *signer = issuer != NULL ? issuer : cert;
    time_t now = time(NULL);

    serial++;
    gnutls_x509_privkey_init(&cert->key);
    gnutls_x509_crt_init(&cert->crt);
    KITH_CHECK_EQ(gnutls_x509_privkey_generate(cert->key, kind, bits, 0), 0);
    gnutls_x509_crt_set_version(cert->crt, 3);
    gnutls_x509_crt_set_serial(cert->crt, &serial, 1);
    gnutls_x509_crt_set_dn_by_oid(cert->crt, GNUTLS_OID_X520_COMMON_NAME, 0, &serial, 1);
    gnutls_x509_crt_set_key(cert->crt, cert->key);
    gnutls_x509_crt_set_activation_time(cert->crt, now + (time_t)from * DAY_S);
    gnutls_x509_crt_set_expiration_time(cert->crt, now + (time_t)to * DAY_S);
    gnutls_x509_crt_set_basic_constraints(cert->crt, name == NULL, -1);
    gnutls_x509_crt_set_key_usage(cert->crt, name == NULL ? GNUTLS_KEY_KEY_CERT_SIGN : GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (name != NULL) {
        gnutls_x509_crt_set_subject_alt_name(cert->crt, GNUTLS_SAN_DNSNAME, name, (unsigned)strlen(name),
                                             GNUTLS_FSAN_SET);
        gnutls_x509_crt_set_subject_alt_name(cert->crt, GNUTLS_SAN_IPADDRESS, ip, sizeof ip, GNUTLS_FSAN_APPEND);
    }
    KITH_CHECK_EQ(gnutls_x509_crt_sign2(
                      cert->crt, signer->crt, signer->key,
                      kind == GNUTLS_PK_EDDSA_ED25519 && issuer == NULL ? GNUTLS_DIG_SHA512 : GNUTLS_DIG_SHA256, 0),
                  0);
    write_pem(cert, issuer);
}

static void drop(struct cert *cert)
{
    gnutls_x509_crt_deinit(cert->crt);
    gnutls_x509_privkey_deinit(cert->key);
}

static int make_context(const struct kith_tls_x509 *x509, struct kith_tls_context **out)
{
    struct kith_secret secret = { { 9 } };

    return kith__tls_context_new(
        &(struct kith_tls_context_options) {
            .mem = duo.mem, .random = kith__prng_source(&duo.prng), .secret = &secret, .x509 = x509 },
        out);
}

/** The usual authorities and a server of theirs. */
static struct cert root, middle, leaf;

static void set_up_certs(void)
{
    make(&root, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), NULL, NULL, -1, 2);
    make(&middle, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), &root, NULL, -1, 2);
    make(&leaf, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), &middle, "relay.example", -1, 2);
}

static void drop_certs(void)
{
    drop(&leaf);
    drop(&middle);
    drop(&root);
}

/* Contexts of a server with `server` and of a client that trusts `trusted`, or takes any if that is NULL. */
static int begin(const struct kith_mem *mem, const struct cert *server, const struct cert *trusted)
{
    struct kith_tls_x509 ours = { .chain = duo_slice(server->pem), .key = duo_slice(server->key_pem) },
                         theirs = { .accept_any = true };
    int err;

    memset(&duo, 0, sizeof duo);
    duo.mem = mem;
    duo.server_name = "relay.example";
    kith__prng_init(&duo.prng, 1);
    if (trusted != NULL)
        theirs = (struct kith_tls_x509) { .anchors = duo_slice(trusted->pem) };
    if ((err = make_context(&ours, &duo.server_ctx)) != 0)
        return err;
    return make_context(&theirs, &duo.client_ctx);
}

static void open_both(struct kith_slice session, bool early)
{
    KITH_CHECK_EQ(duo_client(&duo, one, 1, session, early), 0);
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), 0);
}

static void shake_with(const struct cert *server, const struct cert *trusted, const char *name)
{
    KITH_CHECK_EQ(begin(kith_mem_default(), server, trusted), 0);
    duo.server_name = name;
    open_both(none, false);
    duo_run(&duo);
}

static void check_done(void)
{
    static const struct kith_id nobody;

    KITH_CHECK_EQ(duo.client.failed_count + duo.server.failed_count, 0);
    KITH_CHECK_EQ(duo.client.done_count, 1);
    KITH_CHECK_EQ(duo.server.done_count, 1);
    KITH_CHECK_BYTES(&duo.client.done.peer, &nobody, KITH_ID_SIZE);
    KITH_CHECK_BYTES(&duo.server.done.peer, &nobody, KITH_ID_SIZE);
    KITH_CHECK_EQ(duo.client.secret_size[KITH_TLS_APPLICATION][0], duo.server.secret_size[KITH_TLS_APPLICATION][1]);
    KITH_CHECK_BYTES(duo.client.secrets[KITH_TLS_APPLICATION][0], duo.server.secrets[KITH_TLS_APPLICATION][1], 32);
}

static void check_refused(unsigned code, bool wrong_peer)
{
    KITH_CHECK_EQ(duo.client.err, KITH_ERR_TLS);
    KITH_CHECK_EQ(duo.client.failed.code, code);
    KITH_CHECK_EQ(duo.client.failed.wrong_peer, wrong_peer);
    KITH_CHECK_EQ(duo.client.done_count + duo.server.done_count, 0);
    KITH_CHECK_EQ(duo.client.secret_size[KITH_TLS_APPLICATION][1], 0);
}

KITH_TEST(a_certificate_of_the_web_is_verified_through_its_chain)
{
    set_up_certs();
    shake_with(&leaf, &root, "relay.example");
    check_done();
    KITH_CHECK_STR(duo.client.alpn, "test/1");
    KITH_CHECK_BYTES(duo.client.params, "server parameters", duo.client.params_size);
    duo_dispose(&duo);
    shake_with(&leaf, &root, "RELAY.example");
    check_done();
    duo_dispose(&duo);
    drop_certs();
}

KITH_TEST(every_kind_of_key_of_the_web_serves)
{
    static const struct {
        gnutls_pk_algorithm_t kind;
        unsigned bits;
    } cases[] = { { GNUTLS_PK_EDDSA_ED25519, 0 },
                  { GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1) },
                  { GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1) },
                  { GNUTLS_PK_RSA, 2048 } };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        static struct cert server;

        make(&server, cases[i].kind, cases[i].bits, NULL, "relay.example", -1, 2);
        shake_with(&server, &server, "relay.example");
        check_done();
        duo_dispose(&duo);
        drop(&server);
    }
}

KITH_TEST(certificates_signed_with_rsa_are_verified)
{
    static struct cert authority, server;

    make(&authority, GNUTLS_PK_RSA, 2048, NULL, NULL, -1, 2);
    make(&server, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), &authority, "a.example", -1, 2);
    shake_with(&server, &authority, "a.example");
    check_done();
    duo_dispose(&duo);
    drop(&server);
    drop(&authority);
}

KITH_TEST(a_certificate_for_another_name_is_refused)
{
    set_up_certs();
    shake_with(&leaf, &root, "other.example");
    check_refused(0x12a, true);
    duo_dispose(&duo);
    shake_with(&leaf, &root, "relay.example.org");
    check_refused(0x12a, true);
    duo_dispose(&duo);
    drop_certs();
}

KITH_TEST(a_certificate_from_no_one_that_we_trust_is_refused)
{
    static struct cert stranger;

    set_up_certs();
    make(&stranger, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), NULL, NULL, -1, 2);
    shake_with(&leaf, &stranger, "relay.example");
    check_refused(0x130, false);
    duo_dispose(&duo);
    drop(&stranger);
    drop_certs();
}

KITH_TEST(a_certificate_before_or_after_its_time_is_refused)
{
    static const int days[][2] = { { -2, -1 }, { 1, 2 } };

    for (size_t i = 0; i < KITH_COUNT(days); i++) {
        static struct cert server;

        set_up_certs();
        make(&server, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), &middle, "relay.example",
             days[i][0], days[i][1]);
        shake_with(&server, &root, "relay.example");
        check_refused(0x12d, false);
        duo_dispose(&duo);
        drop(&server);
        drop_certs();
    }
}

KITH_TEST(a_server_certificate_cannot_issue_others)
{
    static struct cert server;

    set_up_certs();
    make(&server, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), &leaf, "bank.example", -1, 2);
    shake_with(&server, &root, "bank.example");
    KITH_CHECK_EQ(duo.client.err, KITH_ERR_TLS);
    KITH_CHECK_EQ(duo.client.done_count, 0);
    duo_dispose(&duo);
    drop(&server);
    drop_certs();
}

KITH_TEST(a_client_for_tests_takes_any_certificate)
{
    static struct cert server;

    make(&server, GNUTLS_PK_EDDSA_ED25519, 0, NULL, "relay.example", -2, -1);
    shake_with(&server, NULL, "other.example");
    check_done();
    duo_dispose(&duo);
    drop(&server);
}

/* True if the ClientHello that waits holds the text. */
static bool hello_has(const char *text)
{
    size_t size = strlen(text);

    for (size_t i = 0; i + size <= duo.client.crypto_size[KITH_TLS_INITIAL]; i++)
        if (memcmp(duo.client.crypto[KITH_TLS_INITIAL] + i, text, size) == 0)
            return true;
    return false;
}

KITH_TEST(a_name_goes_into_the_hello_and_an_address_does_not)
{
    set_up_certs();
    KITH_CHECK_EQ(begin(kith_mem_default(), &leaf, &root), 0);
    open_both(none, false);
    duo_pull(&duo.client);
    KITH_CHECK(hello_has("relay.example"));
    duo.server_name = "192.0.2.1";
    open_both(none, false);
    duo_pull(&duo.client);
    KITH_CHECK(!hello_has("192.0.2.1"));
    duo_run(&duo);
    check_done();
    duo.server_name = "192.0.2.2";
    open_both(none, false);
    duo_run(&duo);
    check_refused(0x12a, true);
    duo_dispose(&duo);
    drop_certs();
}

KITH_TEST(a_session_resumes_for_the_same_name_only_and_opens_early_data)
{
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob;

    set_up_certs();
    shake_with(&leaf, &root, "relay.example");
    check_done();
    KITH_CHECK_EQ(kith__tls_send_tickets(duo.server.tls, 1), 0);
    duo_run(&duo);
    KITH_CHECK_EQ(duo.client.session_count, 1);
    blob = (struct kith_slice) { session, duo.client.session_size };
    memcpy(session, duo.client.session, duo.client.session_size);

    duo.server_name = "other.example";
    KITH_CHECK_EQ(duo_client(&duo, one, 1, blob, true), KITH_ERR_PARSE);
    duo.server_name = "relay.example";
    open_both(blob, true);
    duo_run(&duo);
    check_done();
    KITH_CHECK(duo.client.done.resumed && duo.server.done.resumed);
    KITH_CHECK_EQ(duo.client.done.early, KITH_TLS_EARLY_ACCEPTED);
    duo_dispose(&duo);
    drop_certs();
}

KITH_TEST(a_resumed_session_is_verified_again)
{
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    struct kith_slice blob;
    struct kith_buf *name;

    set_up_certs();
    shake_with(&leaf, &root, "relay.example");
    KITH_CHECK_EQ(kith__tls_send_tickets(duo.server.tls, 1), 0);
    duo_run(&duo);
    blob = (struct kith_slice) { session, duo.client.session_size };
    memcpy(session, duo.client.session, duo.client.session_size);
    open_both(blob, false);
    name = &duo.client.tls->server_name;
    name->ptr[0] = 'd'; /* as if the blob had not been checked: only the certificate in the session tells now */
    duo_run(&duo);
    KITH_CHECK_EQ(duo.client.failed.code, 0x12a);
    KITH_CHECK(duo.client.failed.wrong_peer);
    KITH_CHECK_EQ(duo.client.done_count, 0);
    duo_dispose(&duo);
    drop_certs();
}

KITH_TEST(a_raw_key_and_a_certificate_do_not_meet)
{
    struct kith_tls_context *raw, *swap;

    set_up_certs();
    KITH_CHECK_EQ(begin(kith_mem_default(), &leaf, &root), 0);
    KITH_CHECK_EQ(make_context(NULL, &raw), 0);
    swap = duo.server_ctx;
    duo.server_ctx = raw;
    open_both(none, false);
    duo_run(&duo);
    KITH_CHECK_EQ(duo.server.failed.code, 0x128);
    duo_side_clear(&duo.client);
    duo_side_clear(&duo.server);
    duo.server_ctx = swap;
    swap = duo.client_ctx;
    duo.client_ctx = raw;
    open_both(none, false);
    duo_run(&duo);
    KITH_CHECK_EQ(duo.client.failed_count + duo.server.failed_count, 1);
    KITH_CHECK_EQ(duo.client.done_count + duo.server.done_count, 0);
    duo_dispose(&duo);
    kith__tls_context_free(swap);
    drop_certs();
}

KITH_TEST(what_is_no_certificate_or_no_name_is_refused_at_once)
{
    struct kith_tls_context *ctx;
    struct kith_tls_x509 x509;
    static char long_name[KITH_TLS_NAME_SIZE_MAX + 2];
    const char *names[] = { "", "a b", "a\nb", "caf\xc3\xa9.example", long_name };

    set_up_certs();
    KITH_CHECK_EQ(begin(kith_mem_default(), &leaf, &root), 0);
    x509 = (struct kith_tls_x509) { .chain = duo_slice("nothing"), .key = duo_slice(leaf.key_pem) };
    KITH_CHECK_EQ(make_context(&x509, &ctx), KITH_ERR_PARSE);
    x509 = (struct kith_tls_x509) { .chain = duo_slice(leaf.pem), .key = duo_slice(middle.key_pem) };
    KITH_CHECK_EQ(make_context(&x509, &ctx), KITH_ERR_PARSE);
    x509 = (struct kith_tls_x509) { .anchors = duo_slice("nothing") };
    KITH_CHECK_EQ(make_context(&x509, &ctx), KITH_ERR_PARSE);
    memset(long_name, 'a', sizeof long_name - 1);
    for (size_t i = 0; i < KITH_COUNT(names); i++) {
        duo.server_name = names[i];
        KITH_CHECK_EQ(duo_client(&duo, one, 1, none, false), KITH_ERR_INVALID);
    }
    ctx = duo.server_ctx;
    duo.server_ctx = duo.client_ctx; /* without a certificate */
    KITH_CHECK_EQ(duo_server(&duo, one, 1, 7), KITH_ERR_STATE);
    duo.server_ctx = ctx;
    duo_dispose(&duo);
    drop_certs();
}

static int shake_in(const struct kith_mem *mem)
{
    int err;

    if ((err = begin(mem, &leaf, &root)) != 0)
        return err;
    if ((err = duo_client(&duo, one, 1, none, false)) != 0 || (err = duo_server(&duo, one, 1, 7)) != 0)
        return err;
    duo_run(&duo);
    return duo.client.err != 0 ? duo.client.err : duo.server.err;
}

KITH_TEST(every_failed_allocation_with_certificates_is_a_clean_error)
{
    struct kith_test_mem memory;
    bool failed = true;
    unsigned at = 0;

    set_up_certs();
    while (failed) {
        int err;

        kith__test_mem_init(&memory, ++at);
        err = shake_in(&memory.mem);
        failed = memory.calls >= at;
        KITH_CHECK(err == KITH_ERR_NOMEM || err == 0);
        KITH_CHECK_EQ(duo.client.failed_count + duo.server.failed_count, 0);
        duo_dispose(&duo);
        KITH_CHECK_EQ(memory.live, 0);
    }
    KITH_CHECK(at > 15);
    drop_certs();
}
