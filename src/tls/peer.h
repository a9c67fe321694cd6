/**
 * Raw Ed25519 public keys as certificates: SubjectPublicKeyInfo in DER. Source: RFC 7250, RFC 8410, spec/01
 * 2.5.
 */
#ifndef KITH_TLS_PEER_H
#define KITH_TLS_PEER_H

#include <kith/types.h>

enum { KITH_SPKI_SIZE = 44 };

/** Writes the SubjectPublicKeyInfo of a key: what goes into a Certificate message. */
void kith__spki_write(const struct kith_id *id, uint8_t out[KITH_SPKI_SIZE]);
/** Takes the key out of untrusted bytes: they must be equal to what kith__spki_write writes. KITH_ERR_PARSE. */
KITH_MUST_USE int kith__spki_read(struct kith_slice bytes, struct kith_id *out);

#endif
