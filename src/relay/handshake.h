/**
 * How a client of a relay proves that it has the secret of its endpoint id: by a signature over a challenge (one round trip), or
 * by an HTTP header with a signature over keying material exported from the TLS session (none). Shared by client and server.
 * Pure functions, any thread, no allocation. Source: spec/02, section 2.
 */
#ifndef KITH_RELAY_HANDSHAKE_H
#define KITH_RELAY_HANDSHAKE_H

#include "crypto/sign.h"
#include "relay/frames.h"

/** Name of the header, and the label under which TLS exports; the context of the export is the client's id, 32 bytes. */
#define KITH_RELAY_AUTH_HEADER  "x-iroh-relay-client-auth-v1"
#define KITH_RELAY_EXPORT_LABEL "iroh-relay handshake v1"

enum {
    KITH_RELAY_EXPORT_SIZE = 32,            /* bytes to export: the first half is signed, the second is sent */
    KITH_RELAY_AUTH_HEADER_SIZE = 151,      /* characters of the value that we write, without an end */
    KITH_RELAY_AUTH_HEADER_SIZE_MAX = 1024, /* of one that we read */
    KITH_RELAY_CLIENT_AUTH_SIZE = 98,       /* the ClientAuth frame that we write */
    KITH_RELAY_DENIAL_SIZE_MAX = 256        /* bytes of a reason that we write, in UTF-8; the rest is cut off */
};

/** Reasons of a ServerDeniesAuth frame. */
#define KITH_RELAY_REASON_NOT_AUTHORIZED    "not authorized"
#define KITH_RELAY_REASON_SIGNATURE_INVALID "signature invalid"

/** Signs what is derived from a challenge of KITH_RELAY_CHALLENGE_SIZE bytes. */
void kith__relay_challenge_sign(const struct kith_keypair *pair, const uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE],
                                uint8_t signature[KITH_SIGNATURE_SIZE]);
/** Verifies an answer, strictly; id and signature are untrusted. 0 or KITH_ERR_CRYPTO. */
int kith__relay_challenge_verify(const struct kith_id *id, const uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE],
                                 const uint8_t signature[KITH_SIGNATURE_SIZE]);
/** The whole answer of a client to a challenge: a ClientAuth frame. */
void kith__relay_client_auth_write(const struct kith_keypair *pair, const uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE],
                                   uint8_t out[KITH_RELAY_CLIENT_AUTH_SIZE]);

/** What the header holds. Untrusted until it is verified. */
struct kith_relay_auth_header {
    struct kith_id id;
    uint8_t signature[KITH_SIGNATURE_SIZE];
    uint8_t suffix[KITH_RELAY_EXPORT_SIZE / 2];
};

/** Writes the value of the header, KITH_RELAY_AUTH_HEADER_SIZE characters and an end. exported: with the pair's id as context. */
void kith__relay_auth_header_make(const struct kith_keypair *pair, const uint8_t exported[KITH_RELAY_EXPORT_SIZE],
                                  char text[KITH_RELAY_AUTH_HEADER_SIZE + 1]);
/**
 * Reads the value of a header (untrusted): base64url without padding. The caller then exports with out->id as context and verifies.
 * KITH_ERR_PARSE, on which a server ends the connection without a frame.
 */
int kith__relay_auth_header_parse(struct kith_slice text, struct kith_relay_auth_header *out);
/**
 * 0 if the header was made for this TLS session by who has the secret. KITH_ERR_NOT_FOUND: made for another session (a proxy ends
 * TLS in between); KITH_ERR_CRYPTO: for this one, but the signature is wrong. A server sends a challenge in both cases.
 */
int kith__relay_auth_header_verify(const struct kith_relay_auth_header *header,
                                   const uint8_t exported[KITH_RELAY_EXPORT_SIZE]);

#endif
