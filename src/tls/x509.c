/* X.509 certificates: loading and verifying, by the TLS library alone. */
#include "tls/x509.h"
#include "base/mem.h"
#include "base/sockaddr.h"
#include "crypto/secure.h"

#include <gnutls/x509.h>
#include <limits.h>

/*
 * As kith's own profile, but the signatures that certificates of the web have; the first ones of each kind are for the
 * handshake itself, those of RSA without PSS only for the chain (RFC 8446, 4.2.3). No SHA-1.
 */
const char kith__x509_profile[] =
    "NONE:+VERS-TLS1.3:+ECDHE-ECDSA:+ECDHE-RSA:+AEAD:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
    "+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"
    "+SIGN-EDDSA-ED25519:+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SECP384R1-SHA384:"
    "+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-RSAE-SHA512:"
    "+SIGN-RSA-SHA256:+SIGN-RSA-SHA384:+SIGN-RSA-SHA512:"
    "+CTYPE-SRV-X509:+CTYPE-CLI-X509:%SERVER_PRECEDENCE:%DISABLE_TLS13_COMPAT_MODE:%PROFILE_LOW";

static int error_of(int rv)
{
    return rv == GNUTLS_E_MEMORY_ERROR ? KITH_ERR_NOMEM : KITH_ERR_PARSE;
}

static gnutls_datum_t datum(struct kith_slice slice)
{
    return (gnutls_datum_t) { (unsigned char *)slice.ptr, (unsigned)slice.size };
}

static int set_chain(struct kith_tls_context *ctx, const struct kith_tls_x509 *x509)
{
    gnutls_datum_t chain = datum(x509->chain), key = datum(x509->key);
    int rv = gnutls_certificate_set_x509_key_mem2(ctx->credentials, &chain, &key, GNUTLS_X509_FMT_PEM, NULL, 0);

    return rv < 0 ? error_of(rv) : 0;
}

/* The system's; `found`: how many there are beside them. */
static int add_system_trust(struct kith_tls_context *ctx, int found)
{
    int count = gnutls_certificate_set_x509_system_trust(ctx->credentials);

    return count == GNUTLS_E_MEMORY_ERROR ? KITH_ERR_NOMEM : count > 0 || found > 0 ? 0 : KITH_ERR_NOT_FOUND;
}

static int set_trust(struct kith_tls_context *ctx, const struct kith_tls_x509 *x509)
{
    gnutls_datum_t anchors = datum(x509->anchors);
    int count;

    if (x509->accept_any)
        return 0;
    if (anchors.size == 0)
        return add_system_trust(ctx, 0);
    count = gnutls_certificate_set_x509_trust_mem(ctx->credentials, &anchors, GNUTLS_X509_FMT_PEM);
    if (count <= 0)
        return error_of(count);
    return x509->adds_system ? add_system_trust(ctx, count) : 0;
}

int kith__x509_set_up(struct kith_tls_context *ctx, const struct kith_tls_x509 *x509)
{
    int err;

    if (x509->chain.size > INT_MAX || x509->key.size > INT_MAX || x509->anchors.size > INT_MAX)
        return KITH_ERR_PARSE;
    ctx->accepts_any = x509->accept_any;
    ctx->has_certificate = x509->chain.size != 0;
    if (ctx->has_certificate) /* a server: it verifies no one, and needs no trust unless it says so */
        return (err = set_chain(ctx, x509)) != 0 || x509->anchors.size == 0 ? err : set_trust(ctx, x509);
    return set_trust(ctx, x509);
}

bool kith__x509_is_address(const char *name)
{
    uint8_t ip[16];

    return kith__ip_parse_v4(name, ip) == 0 || kith__ip_parse_v6(name, ip) == 0;
}

/* Names come as ASCII (an international one in its xn-- form), so that nothing below has to convert them. */
bool kith__x509_is_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t size = strlen(name);

    if (size == 0 || size > KITH_TLS_NAME_SIZE_MAX)
        return false;
    return kith__x509_is_address(name) || strspn(name, allowed) == size;
}

int kith__x509_set_name(struct kith_tls *tls, const char *name)
{
    static const char purpose[] = "kith server name 1 ";
    uint8_t text[sizeof purpose + KITH_TLS_NAME_SIZE_MAX], digest[KITH_DIGEST_SIZE_MAX];
    size_t size = name != NULL ? strlen(name) : 0;

    if (size == 0 || !kith__x509_is_name(name))
        return KITH_ERR_INVALID;
    memcpy(text, purpose, sizeof purpose);
    memcpy(text + sizeof purpose, name, size);
    kith__digest(KITH_DIGEST_SHA256, (struct kith_slice) { text, sizeof purpose + size }, digest);
    /* Where raw keys have the id: session blobs are bound to it. */
    memcpy(tls->expected.bytes, digest, sizeof tls->expected.bytes);
    return kith__buf_append(&tls->server_name, name, size + 1) != 0 ? KITH_ERR_NOMEM : 0;
}

int kith__x509_offer_name(struct kith_tls *tls)
{
    const char *name = (const char *)tls->server_name.ptr;

    return kith__x509_is_address(name) ? 0 : gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, name, strlen(name));
}

struct kith_x509_reason kith__x509_reason(unsigned status)
{
    if ((status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0)
        return (struct kith_x509_reason) { KITH_TLS_CODE_UNKNOWN_CA,
                                           "the server's certificate comes from no one that we trust", false };
    if ((status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED)) != 0)
        return (struct kith_x509_reason) { KITH_TLS_CODE_CERTIFICATE_EXPIRED,
                                           "the server's certificate is not valid now", false };
    if ((status & GNUTLS_CERT_REVOKED) != 0)
        return (struct kith_x509_reason) { KITH_TLS_CODE_CERTIFICATE_REVOKED, "the server's certificate was revoked",
                                           false };
    if ((status & ~(unsigned)GNUTLS_CERT_INVALID) == GNUTLS_CERT_UNEXPECTED_OWNER)
        return (struct kith_x509_reason) { KITH_TLS_CODE_BAD_CERTIFICATE,
                                           "the server's certificate is for another name", true };
    return (struct kith_x509_reason) { KITH_TLS_CODE_BAD_CERTIFICATE, "the server's certificate does not verify",
                                       false };
}

static int fail_verification(struct kith_tls *tls, unsigned status)
{
    struct kith_x509_reason reason = kith__x509_reason(status);

    kith__tls_fail(tls, (enum kith_tls_code)reason.code, reason.text);
    tls->failure.wrong_peer = reason.wrong_name;
    return KITH_ERR_TLS;
}

int kith__x509_check_peer(struct kith_tls *tls)
{
    unsigned status = GNUTLS_CERT_INVALID;
    int rv;

    if (tls->ctx->accepts_any)
        return 0;
    rv = gnutls_certificate_verify_peers3(tls->session, (const char *)tls->server_name.ptr, &status);
    if (rv < 0)
        return kith__tls_fail_with(tls, rv);
    return status == 0 ? 0 : fail_verification(tls, status);
}
