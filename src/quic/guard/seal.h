/**
 * Sealing and opening single packets in place: nonce with path id, payload, header protection. No allocation (but for the
 * keys of the next generation when the peer updates). Source: RFC 9001, 5.3, 5.4 and 6; spec/01, 4.3.
 */
#ifndef KITH_QUIC_GUARD_SEAL_H
#define KITH_QUIC_GUARD_SEAL_H

#include "quic/guard/keys.h"
#include "quic/wire/codes.h"
#include "quic/wire/packet.h"

/** What opening needs to know of a packet number space and keeps up to date. Owner: the space, by value; see the init. */
struct kith_open_space {
    uint32_t path;        /* path id: part of the nonce; 0 but for 1-RTT */
    uint32_t generation;  /* key generation of the packets that phase_pn is about */
    uint64_t expected_pn; /* largest packet number that was opened + 1; 0 at first */
    uint64_t phase_pn;    /* smallest packet number opened with keys of `generation`; KITH_PN_NONE: none */
};

static inline void kith__open_space_init(struct kith_open_space *space, uint32_t path)
{
    *space = (struct kith_open_space) { .path = path, .phase_pn = KITH_PN_NONE };
}

/** A packet that was opened. */
struct kith_opened {
    uint64_t pn;
    uint8_t *payload; /* in place, not empty */
    size_t size;
    uint32_t generation; /* of the keys that opened it */
    bool followed;       /* it announced a key update, which the keys have followed: arm the timer for drop_previous */
    const char *reason;  /* with a wire code or NOMEM: text for CONNECTION_CLOSE; else NULL */
};

/**
 * Seals a packet whose header (unprotected, packet number of pn_size bytes, Length filled in) and payload stand at `packet`;
 * KITH_AEAD_TAG_SIZE bytes after the payload are free to write. Sets the key phase bit of short headers. pn_size +
 * payload_size >= 4 (asserted): pad smaller payloads. path: 0 but for 1-RTT.
 * Returns 0; KITH_ERR_LIMIT: this key has sealed all it may (update keys, or close with AEAD_LIMIT_REACHED); CRYPTO.
 */
KITH_MUST_USE int kith__packet_seal(struct kith_keys *keys, uint8_t *packet, size_t pn_offset, size_t pn_size,
                                    size_t payload_size, uint64_t pn, uint32_t path);

/**
 * Opens the packet of `size` bytes (untrusted; kith_packet.size) at `packet` in place. keys must be able to read. Header
 * and payload are overwritten, also on errors, but never the last 16 bytes (a stateless reset token may be there).
 * Updates `space` on success. Returns
 *   0                     *out is filled in
 *   KITH_ERR_TRUNCATED    too short to be sampled
 *   KITH_ERR_CRYPTO       it does not authenticate (counted in keys->failed)
 *   KITH_ERR_NOMEM        the keys of a further generation could not be made
 *   PROTOCOL_VIOLATION    reserved bits set, or no payload
 *   KEY_UPDATE_ERROR      see kith__keys_follow
 *   AEAD_LIMIT_REACHED    too many packets have failed
 * with wire codes and NOMEM also out->reason. Duplicates are not noticed here.
 */
KITH_MUST_USE int kith__packet_open(struct kith_keys *keys, struct kith_open_space *space, uint8_t *packet,
                                    size_t pn_offset, size_t size, struct kith_opened *out);

/** IV XOR (path id, packet number): spec/01, 4.3. */
static inline void kith__packet_nonce(const uint8_t *iv, uint32_t path, uint64_t pn,
                                      uint8_t nonce[KITH_AEAD_NONCE_SIZE])
{
    for (int i = 0; i < 4; i++)
        nonce[i] = (uint8_t)(iv[i] ^ path >> (24 - 8 * i));
    for (int i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(iv[4 + i] ^ pn >> (56 - 8 * i));
}

#endif
