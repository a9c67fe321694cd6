/**
 * Packet protection keys of one encryption level, both directions, and for 1-RTT the generations of key updates.
 * A level that was never installed or was discarded is a zeroed object. The next generation of read keys is always ready,
 * so that a packet which announces a key update takes as long to open as any other (RFC 9001, 9.5).
 * Owner: the connection, by value. Source: RFC 9001, 5 and 6; spec/01, 1.13 and 4.3.
 */
#ifndef KITH_QUIC_GUARD_KEYS_H
#define KITH_QUIC_GUARD_KEYS_H

#include "crypto/aead.h"
#include "crypto/hkdf.h"
#include "crypto/hp.h"
#include "quic/wire/cid.h"

/** One key with its IV. */
struct kith_packet_key {
    struct kith_aead_key aead;
    uint8_t iv[KITH_AEAD_NONCE_SIZE];
    uint64_t packets; /* sealed with it (write keys) or opened (read keys) */
};

/** All keys of a level. `generation` counts key updates; its lowest bit is the key phase on the wire. */
struct kith_keys {
    const struct kith_mem *mem; /* NULL until a key was installed */
    uint16_t cipher;            /* enum kith_cipher */
    bool updates;               /* 1-RTT: the members marked (u) are in use */
    struct kith_hp_key read_hp, write_hp;
    struct kith_packet_key read, write;
    struct kith_packet_key read_previous;           /* (u) for packets from before the last update */
    struct kith_packet_key read_next;               /* (u) ready before the peer updates */
    uint8_t write_secret[KITH_DIGEST_SIZE_MAX];     /* (u) of `write` */
    uint8_t read_next_secret[KITH_DIGEST_SIZE_MAX]; /* (u) of `read_next` */
    uint32_t read_generation, write_generation; /* (u) write is equal to read, or one ahead: we asked for an update */
    uint64_t failed;                            /* packets that did not authenticate, all generations */
};

/**
 * Installs the traffic secret (kith__digest_size bytes) of one direction; a second call replaces the first (not after a key
 * update). updates: true at the 1-RTT level. mem is borrowed. Errors: NOMEM, CRYPTO, UNSUPPORTED; nothing changes then.
 */
KITH_MUST_USE int kith__keys_install(struct kith_keys *keys, const struct kith_mem *mem, enum kith_cipher cipher,
                                     bool is_write, bool updates, const uint8_t *secret);

/** Installs the Initial keys (version 1) that belong to the client's destination id; replaces earlier ones. NOMEM, CRYPTO. */
KITH_MUST_USE int kith__keys_install_initial(struct kith_keys *keys, const struct kith_mem *mem, struct kith_slice dcid,
                                             bool is_client);

/** Wipes and frees all; the object is zeroed. Fine for a zeroed object and twice. */
void kith__keys_dispose(struct kith_keys *keys);

static inline bool kith__keys_can_read(const struct kith_keys *keys)
{
    return kith__aead_is_set(&keys->read.aead);
}
static inline bool kith__keys_can_write(const struct kith_keys *keys)
{
    return kith__aead_is_set(&keys->write.aead);
}

/** True if an update was begun (by us) that the peer has not followed yet. */
static inline bool kith__keys_is_updating(const struct kith_keys *keys)
{
    return keys->write_generation != keys->read_generation;
}

/**
 * Begins a key update: from now on packets are sealed with the next generation. The caller makes sure that the handshake is
 * confirmed and that a packet of the present generation was acknowledged (RFC 9001, 6.1). Errors: STATE (an update is under
 * way, or not a 1-RTT level with both keys), NOMEM, CRYPTO: nothing changes then.
 */
KITH_MUST_USE int kith__keys_update(struct kith_keys *keys);

/**
 * Follows the peer after a packet was opened with `read_next`: next becomes present, present becomes previous, our own keys
 * follow if we did not begin. Used by seal.c. KEY_UPDATE_ERROR (> 0) if the peer updates again before we have sent anything
 * with the present keys; NOMEM, CRYPTO.
 */
KITH_MUST_USE int kith__keys_follow(struct kith_keys *keys);

/** Frees the read keys of the previous generation: due three PTOs after an update (spec/01, 1.13). */
void kith__keys_drop_previous(struct kith_keys *keys);

/** Packets that may be sealed with one key: 2^23 for AES-GCM, no limit (UINT64_MAX) for ChaCha20 (RFC 9001, 6.6). */
uint64_t kith__keys_seal_limit(enum kith_cipher cipher);

/** Packets that may fail to authenticate in a connection: 2^52 for AES-GCM, 2^36 for ChaCha20 (RFC 9001, 6.6). */
uint64_t kith__keys_failure_limit(enum kith_cipher cipher);

#endif
