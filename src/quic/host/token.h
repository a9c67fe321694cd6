/**
 * Address tokens: Retry tokens and NEW_TOKEN tokens, sealed with AES-128-GCM under a key of the host, so that a client
 * can neither read, change nor make one. Form (opaque to clients): sealed bytes, tag, 16-byte nonce; the key of each
 * token is the keyed hash of its nonce, so no nonce is ever used twice with one key. Owner: the host, by value. Source:
 * RFC 9000, 8.1; spec/01, 1.4.
 */
#ifndef KITH_QUIC_HOST_TOKEN_H
#define KITH_QUIC_HOST_TOKEN_H

#include <kith/types.h>

#define KITH_TOKEN_RETRY_LIFETIME_NS (15 * KITH_NS_PER_S)
#define KITH_TOKEN_NEW_LIFETIME_NS   (24 * 3600 * KITH_NS_PER_S)

enum {
    KITH_TOKEN_NONCE_SIZE = 16,
    KITH_TOKEN_CID_SIZE_MAX = 20,
    KITH_TOKEN_SIZE_MAX = 1 + 8 + 19 + 1 + KITH_TOKEN_CID_SIZE_MAX + 16 + KITH_TOKEN_NONCE_SIZE,
    KITH_TOKEN_USED_MAX =
        16384, /* NEW_TOKEN tokens remembered as used in one lifetime; beyond that they prove nothing */
};

enum kith_token_verdict {
    KITH_TOKEN_NOT_OURS, /* does not open: as if the client had sent none */
    KITH_TOKEN_VALID,
    KITH_TOKEN_OTHER_ADDRESS, /* made for another address */
    KITH_TOKEN_EXPIRED,
    KITH_TOKEN_REUSED /* a NEW_TOKEN token that was used before, or may have been */
};

/**
 * What a token says. A Retry token of ours that is not VALID is answered with INVALID_TOKEN, but for one of another
 * address, which is dropped; a NEW_TOKEN one is ignored.
 */
struct kith_token_info {
    uint8_t verdict; /* enum kith_token_verdict */
    bool is_retry;   /* the rest is valid unless NOT_OURS */
    uint8_t odcid_size;
    uint8_t odcid[KITH_TOKEN_CID_SIZE_MAX]; /* Retry: the client's first destination id */
    uint64_t issued_ns;
};

/** Two generations of a Bloom filter over nonces: what was used in this lifetime and in the one before. */
struct kith_token_log {
    uint8_t *bits[2]; /* NULL until the first use; [0] is the present one */
    uint32_t count;   /* in [0] */
    uint64_t began_ns;
};

struct kith_token_keys {
    const struct kith_mem *mem;
    uint8_t secret[32];
    struct kith_token_log used;
};

/** Draws the secret. */
void kith__token_keys_init(struct kith_token_keys *keys, const struct kith_mem *mem, const struct kith_random *random);
/** Wipes the secret and frees the log. */
void kith__token_keys_dispose(struct kith_token_keys *keys);
/** Makes a Retry token for this address and port. odcid: the id the client chose, size <= 20. Returns the size. */
KITH_MUST_USE int kith__token_seal_retry(const struct kith_token_keys *keys, const struct kith_random *random,
                                         const struct kith_sockaddr *remote, struct kith_slice odcid, uint64_t now_ns,
                                         uint8_t out[KITH_TOKEN_SIZE_MAX], size_t *size);
/** Makes a NEW_TOKEN token for this address, any port. KITH_ERR_CRYPTO, NOMEM from the AEAD only. */
KITH_MUST_USE int kith__token_seal_new(const struct kith_token_keys *keys, const struct kith_random *random,
                                       const struct kith_sockaddr *remote, uint64_t now_ns,
                                       uint8_t out[KITH_TOKEN_SIZE_MAX], size_t *size);
/**
 * Opens a token (untrusted bytes, any size) that came from `remote`. A valid NEW_TOKEN token is used up by this. Always
 * fills *info; out of memory gives REUSED, the safe side.
 */
void kith__token_open(struct kith_token_keys *keys, const struct kith_sockaddr *remote, struct kith_slice token,
                      uint64_t now_ns, struct kith_token_info *info);

#endif
