/**
 * Records of TLS 1.2 and 1.3 under an AEAD, one direction at a time: sealed and opened by src/crypto, in place. Pure. What
 * the records say (alerts, messages) is not looked at here.
 *
 *     TLS 1.3: 5-byte header | plaintext, type byte | tag 16
 *     TLS 1.2: 5-byte header | explicit nonce 8 (AES-GCM only) | plaintext | tag 16
 *
 * Source: RFC 8446, 5.2-5.5 and 7.2-7.3; RFC 5246, 6.2.3.3; RFC 5288, 3; RFC 7905, 2.
 */
#ifndef KITH_TLS_RECORD_H
#define KITH_TLS_RECORD_H

#include "crypto/hkdf.h"

enum kith_record_type {
    KITH_RECORD_CHANGE_CIPHER_SPEC = 20,
    KITH_RECORD_ALERT = 21,
    KITH_RECORD_HANDSHAKE = 22,
    KITH_RECORD_DATA = 23
};

enum {
    KITH_RECORD_HEADER_SIZE = 5,
    KITH_RECORD_PLAIN_MAX = 16384,
    KITH_RECORD_BODY_MAX = KITH_RECORD_PLAIN_MAX + 256, /* what a header may promise */
    KITH_RECORD_OVERHEAD_MAX = KITH_RECORD_HEADER_SIZE + 8 + KITH_AEAD_TAG_SIZE,
    KITH_RECORD_IV_SIZE = 12
};

/** So many records may a key protect; AES-GCM's bound of RFC 8446, 5.5 is 2^24.5. */
#define KITH_RECORD_COUNT_MAX (UINT64_C(1) << 24)

/** The protection of one direction, by value in its owner; all zero: none. */
struct kith_record_keys {
    struct kith_aead_key aead;
    uint64_t sequence;                    /* of the next record */
    uint64_t count_max;                   /* KITH_RECORD_COUNT_MAX; tests make it small */
    uint8_t iv[KITH_RECORD_IV_SIZE];      /* TLS 1.2 with AES-GCM: 4 bytes */
    uint8_t secret[KITH_DIGEST_SIZE_MAX]; /* TLS 1.3: the traffic secret */
    uint16_t cipher;                      /* enum kith_cipher */
    bool is_tls13;
};

/** TLS 1.3, from a traffic secret of kith__digest_size(kith__cipher_digest(cipher)) bytes. Errors: NOMEM, CRYPTO, UNSUPPORTED. */
KITH_MUST_USE int kith__record_keys_init13(struct kith_record_keys *keys, const struct kith_mem *mem,
                                           enum kith_cipher cipher, const uint8_t *secret);
/**
 * TLS 1.2, from the key block. key: kith__cipher_key_size(cipher) bytes; iv: 4 bytes for AES-GCM, else KITH_RECORD_IV_SIZE.
 * Errors: NOMEM, CRYPTO, UNSUPPORTED.
 */
KITH_MUST_USE int kith__record_keys_init12(struct kith_record_keys *keys, const struct kith_mem *mem,
                                           enum kith_cipher cipher, const uint8_t *key, const uint8_t *iv,
                                           uint64_t sequence);
/** TLS 1.3: the next generation of keys, after a KeyUpdate. On an error the old ones stay. Errors: NOMEM, CRYPTO. */
KITH_MUST_USE int kith__record_keys_update(struct kith_record_keys *keys);
/** The same, but the old keys live on in `before`, which the caller disposes of: for the record that tells of the change. */
KITH_MUST_USE int kith__record_keys_next(struct kith_record_keys *keys, struct kith_record_keys *before);
/** Wipes and frees; none afterwards. */
void kith__record_keys_dispose(struct kith_record_keys *keys);
/** True if the key has protected as many records as it may: for a KeyUpdate one more is still fine. */
bool kith__record_keys_are_worn(const struct kith_record_keys *keys);

/** Bytes of the record that holds `size` bytes of plaintext. */
size_t kith__record_sealed_size(const struct kith_record_keys *keys, size_t size);
/**
 * Writes one record of 0..KITH_RECORD_PLAIN_MAX bytes to out, which has room for kith__record_sealed_size and does not
 * overlap. Errors: CRYPTO (the library below failed).
 */
KITH_MUST_USE int kith__record_seal(struct kith_record_keys *keys, enum kith_record_type type, const uint8_t *bytes,
                                    size_t size, uint8_t *out);

/** What a header of KITH_RECORD_HEADER_SIZE untrusted bytes says: the type, and the size of the body behind it. */
struct kith_record_header {
    uint8_t type;
    uint16_t body_size;
};
/** Errors: PARSE: no version 3.x or an unknown type: this is not TLS; TOO_LARGE: a longer body than there can be. */
KITH_MUST_USE int kith__record_header_read(const uint8_t *bytes, struct kith_record_header *out);

/** What a record held. */
struct kith_record {
    uint8_t type; /* any number in TLS 1.3: it is the other side's word */
    uint8_t *bytes;
    size_t size; /* 0..KITH_RECORD_PLAIN_MAX */
};
/**
 * Opens a whole record in place: header and body, untrusted; the header was read. Errors: CRYPTO (it was changed on its
 * way, or is not for this key), TOO_LARGE (more plaintext than allowed), PARSE (TLS 1.3: no type in it).
 */
KITH_MUST_USE int kith__record_open(struct kith_record_keys *keys, uint8_t *record, size_t size,
                                    struct kith_record *out);

#endif
