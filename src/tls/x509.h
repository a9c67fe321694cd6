/**
 * X.509 in place of raw public keys: what a context and its clients do otherwise then. Everything else of a handshake is
 * the same. See kith_tls_x509 in tls.h.
 */
#ifndef KITH_TLS_X509_H
#define KITH_TLS_X509_H

#include "tls/internal.h"

/** What a context with X.509 offers and takes: the signatures of the web's certificates. A priority string. */
extern const char kith__x509_profile[];

/**
 * Gives chain, key and trust to the context's credentials. Errors: NOMEM; PARSE: bytes that are no PEM, that hold nothing,
 * or a key of another certificate; NOT_FOUND: the system has no trusted certificates.
 */
KITH_MUST_USE int kith__x509_set_up(struct kith_tls_context *ctx, const struct kith_tls_x509 *x509);

/**
 * Client: takes the name that the certificate must have, and puts it into the ClientHello later; a session blob of
 * another name is refused then. Errors: NOMEM, INVALID (empty, longer than KITH_TLS_NAME_SIZE_MAX, or with bytes that
 * are in no name or address).
 */
KITH_MUST_USE int kith__x509_set_name(struct kith_tls *tls, const char *name);

/** Client: SNI for a name, none for an address (RFC 6066, 3). A value of the library. */
int kith__x509_offer_name(struct kith_tls *tls);

/** Client: the chain ends in a trusted certificate, is valid now, and names the server. Errors: TLS. */
KITH_MUST_USE int kith__x509_check_peer(struct kith_tls *tls);

/** Why a certificate is refused: the wire code of QUIC (0x100 + alert), in words, and whether it is only the name. */
struct kith_x509_reason {
    uint16_t code;
    const char *text; /* static */
    bool wrong_name;
};
/** Of a status of the library's verification that is not 0. */
struct kith_x509_reason kith__x509_reason(unsigned status);
/** True if the text is an IP address, in the form that certificates are checked with. */
bool kith__x509_is_address(const char *name);
/** True if the text is an address, or a host name of 1..KITH_TLS_NAME_SIZE_MAX ASCII bytes. */
bool kith__x509_is_name(const char *name);

#endif
