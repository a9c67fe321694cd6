/**
 * Retry packets and their integrity tag: AES-128-GCM with a fixed key over the packet and the id that the client chose
 * first. Source: RFC 9000, 17.2.5; RFC 9001, 5.8; spec/01, 1.4.
 */
#ifndef KITH_QUIC_WIRE_RETRY_H
#define KITH_QUIC_WIRE_RETRY_H

#include "quic/wire/packet.h"

enum { KITH_RETRY_TAG_SIZE = 16, KITH_RETRY_TOKEN_SIZE_MAX = 512, KITH_RETRY_SIZE_MAX = 1500 };

/**
 * Writes a Retry packet. dcid: the client's source id; scid: the id that the client shall use from now on; odcid: the one
 * it used so far; token: 1..KITH_RETRY_TOKEN_SIZE_MAX bytes; random: fills the unused bits of the first byte.
 * *size is set on success. Errors: TOO_LARGE (capacity), INVALID (token size), NOMEM, CRYPTO.
 */
KITH_MUST_USE int kith__retry_write(const struct kith_mem *mem, const struct kith_cid *dcid,
                                    const struct kith_cid *scid, const struct kith_cid *odcid, struct kith_slice token,
                                    uint8_t random, uint8_t *out, size_t capacity, size_t *size);

/**
 * Checks the tag of a Retry packet (untrusted): bytes is all of it, odcid what we sent our first Initial to. 0;
 * KITH_ERR_CRYPTO if it is not the tag; TRUNCATED; TOO_LARGE (over KITH_RETRY_SIZE_MAX bytes); NOMEM.
 */
KITH_MUST_USE int kith__retry_check(const struct kith_mem *mem, const struct kith_cid *odcid, const uint8_t *bytes,
                                    size_t size);

#endif
