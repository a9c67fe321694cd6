/**
 * Certificates of our own making: a certificate authority and certificates of servers that it vouches for, so that a relay
 * can serve https without anybody else (clients trust the authority by its PEM). ECDSA P-256 with SHA-256, which every
 * client can verify. Sans-IO: the caller keeps the PEM in files and gives the wall clock; keys are random.
 *
 * Source: RFC 5280.
 */
#ifndef KITH_TLS_SELFMADE_H
#define KITH_TLS_SELFMADE_H

#include "base/buf.h"

enum { KITH_SELFMADE_NAMES_MAX = 64 };

/** Validity of what is made, from an hour before now on (clocks differ). */
#define KITH_SELFMADE_AUTHORITY_S ((uint64_t)3650 * 86400)
#define KITH_SELFMADE_SERVER_S    ((uint64_t)397 * 86400) /* the longest that browsers accept */

/** PEM texts: a certificate (or a chain) and its private key. End with kith__selfmade_dispose, which wipes the key. */
struct kith_selfmade {
    struct kith_buf certificate, key;
};

/**
 * Makes an authority: key, and a certificate that signs itself.
 *   name   what people see in lists of authorities: 1..64 bytes of UTF-8
 *   now_s  seconds since 1970
 * Errors: NOMEM, INVALID, CRYPTO.
 */
KITH_MUST_USE int kith__selfmade_authority(const struct kith_mem *mem, const char *name, uint64_t now_s,
                                           struct kith_selfmade *out);
/**
 * Makes a server's key and certificate, signed by an authority (its two PEM texts), for 1..KITH_SELFMADE_NAMES_MAX names:
 * ASCII host names ("*." at the front is fine) and IP addresses without brackets. out->certificate holds the server's
 * certificate alone: clients have the authority's. Errors: NOMEM; INVALID (names); PARSE (the authority's PEM, or a key of
 * another certificate); CRYPTO.
 */
KITH_MUST_USE int kith__selfmade_server(const struct kith_mem *mem, struct kith_slice authority_certificate,
                                        struct kith_slice authority_key, const char *const *names, size_t name_count,
                                        uint64_t now_s, struct kith_selfmade *out);
/** Wipes and frees; fine with a zeroed object and twice. */
void kith__selfmade_dispose(struct kith_selfmade *made);

/** What the first certificate of a PEM text says. */
struct kith_certificate_info {
    uint64_t not_before_s, not_after_s; /* seconds since 1970 */
    uint8_t sha256[32];                 /* of its DER: the fingerprint that tools show */
};
/** Reads untrusted PEM. Errors: NOMEM, PARSE. */
KITH_MUST_USE int kith__certificate_read(struct kith_slice pem, struct kith_certificate_info *out);
/** True if the first certificate of a PEM text covers the name (host name or IP address); false also if it is no PEM. */
bool kith__certificate_covers(struct kith_slice pem, const char *name);

#endif
