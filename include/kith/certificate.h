/**
 * kith/certificate.h: where a server (kith/relay.h, kith/dns.h) has its certificate from. Public header.
 *
 * Thread rules: everything here is a plain value.
 */
#ifndef KITH_CERTIFICATE_H
#define KITH_CERTIFICATE_H

#include <kith/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { KITH_CERTIFICATE_NAMES_MAX = 64 };

/** Where the certificate comes from. */
enum kith_certificate_source {
    KITH_CERTIFICATE_NONE,  /* plain HTTP only */
    KITH_CERTIFICATE_FILES, /* PEM files, read again when they change */
    KITH_CERTIFICATE_SELF,  /* made here, signed by an authority made here, which clients must be told to trust */
    KITH_CERTIFICATE_ACME   /* from an ACME authority such as Let's Encrypt (RFC 8555), renewed in time */
};

/** How a name is proved to an ACME authority. */
enum kith_acme_proof {
    KITH_ACME_PROOF_ANY,      /* tls-alpn-01; where that failed http-01 the next time, if there is an http address */
    KITH_ACME_PROOF_TLS_ALPN, /* on port 443: an https address must be reachable there */
    KITH_ACME_PROOF_HTTP      /* on port 80: an http address must be reachable there */
};

/** TLS of a server. All texts are copied. */
struct kith_server_tls {
    uint8_t source;                    /* enum kith_certificate_source */
    const char *chain_file, *key_file; /* FILES */
    const char *const *names; /* SELF, ACME: host names (SELF: IP addresses too); FILES: what to check it for */
    size_t name_count;        /* 1..KITH_CERTIFICATE_NAMES_MAX; FILES: 0 is fine */
    const char *directory;    /* SELF, ACME: keys and certificates are kept here; made if missing (0700) */
    const char *acme_url;     /* of the authority's directory; NULL: Let's Encrypt */
    const char *acme_contact; /* e-mail address, without "mailto:"; NULL: none */
    const char *acme_ca_file; /* PEM: further roots that vouch for the authority's own https; NULL: none */
    uint8_t acme_challenge;   /* enum kith_acme_proof */
};

#ifdef __cplusplus
}
#endif
#endif
