/* Record protection of TLS 1.2 and 1.3 for the three AEAD ciphers. */
#include "tls/record.h"
#include "base/assert.h"
#include "base/mem.h"
#include "crypto/secure.h"

enum { IMPLICIT_SIZE = 4, EXPLICIT_SIZE = 8, AAD12_SIZE = 13 };

static bool has_explicit_nonce(const struct kith_record_keys *keys)
{
    return !keys->is_tls13 && keys->cipher != KITH_CIPHER_CHACHA20_POLY1305;
}

static void write_u64(uint8_t *out, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        out[i] = (uint8_t)value;
}

static int derive13(const struct kith_mem *mem, uint16_t cipher, const uint8_t *secret, struct kith_record_keys *out)
{
    enum kith_digest digest = kith__cipher_digest((enum kith_cipher)cipher);
    uint8_t key[KITH_AEAD_KEY_SIZE_MAX];
    size_t key_size = kith__cipher_key_size((enum kith_cipher)cipher);
    struct kith_slice none = { NULL, 0 };
    int err;

    if (key_size == 0)
        return KITH_ERR_UNSUPPORTED;
    *out = (struct kith_record_keys) { .count_max = KITH_RECORD_COUNT_MAX, .cipher = cipher, .is_tls13 = true };
    kith__hkdf_expand_label(digest, secret, "key", none, key, key_size);
    kith__hkdf_expand_label(digest, secret, "iv", none, out->iv, sizeof out->iv);
    memcpy(out->secret, secret, kith__digest_size(digest));
    err = kith__aead_init(&out->aead, mem, (enum kith_cipher)cipher, key);
    kith__wipe(key, sizeof key);
    return err;
}

int kith__record_keys_init13(struct kith_record_keys *keys, const struct kith_mem *mem, enum kith_cipher cipher,
                             const uint8_t *secret)
{
    struct kith_record_keys made;
    int err = derive13(mem, (uint16_t)cipher, secret, &made);

    if (err == 0)
        *keys = made;
    kith__wipe(&made, sizeof made);
    return err;
}

int kith__record_keys_init12(struct kith_record_keys *keys, const struct kith_mem *mem, enum kith_cipher cipher,
                             const uint8_t *key, const uint8_t *iv, uint64_t sequence)
{
    struct kith_record_keys made = { .count_max = cipher == KITH_CIPHER_CHACHA20_POLY1305 ? UINT64_MAX
                                                                                          : KITH_RECORD_COUNT_MAX,
                                     .sequence = sequence,
                                     .cipher = (uint16_t)cipher };
    int err = kith__aead_init(&made.aead, mem, cipher, key);

    if (err != 0)
        return err;
    memcpy(made.iv, iv, has_explicit_nonce(&made) ? IMPLICIT_SIZE : KITH_RECORD_IV_SIZE);
    *keys = made;
    kith__wipe(&made, sizeof made);
    return 0;
}

int kith__record_keys_update(struct kith_record_keys *keys)
{
    struct kith_record_keys before;
    int err = kith__record_keys_next(keys, &before);

    if (err == 0)
        kith__record_keys_dispose(&before);
    return err;
}

int kith__record_keys_next(struct kith_record_keys *keys, struct kith_record_keys *before)
{
    enum kith_digest digest = kith__cipher_digest((enum kith_cipher)keys->cipher);
    uint8_t secret[KITH_DIGEST_SIZE_MAX];
    struct kith_record_keys next;
    int err;

    KITH_ASSERT(keys->is_tls13);
    kith__hkdf_expand_label(digest, keys->secret, "traffic upd", (struct kith_slice) { NULL, 0 }, secret,
                            kith__digest_size(digest));
    if ((err = derive13(keys->aead.mem, keys->cipher, secret, &next)) == 0) {
        next.count_max = keys->count_max;
        *before = *keys;
        *keys = next;
    }
    kith__wipe(secret, sizeof secret);
    kith__wipe(&next, sizeof next);
    return err;
}

void kith__record_keys_dispose(struct kith_record_keys *keys)
{
    kith__aead_dispose(&keys->aead);
    kith__wipe(keys, sizeof *keys);
}

bool kith__record_keys_are_worn(const struct kith_record_keys *keys)
{
    return keys->sequence >= keys->count_max;
}

/* ---- Sealing ---- */

static size_t head_size(const struct kith_record_keys *keys)
{
    return KITH_RECORD_HEADER_SIZE + (has_explicit_nonce(keys) ? (size_t)EXPLICIT_SIZE : 0);
}

size_t kith__record_sealed_size(const struct kith_record_keys *keys, size_t size)
{
    return head_size(keys) + size + (keys->is_tls13 ? 1 : 0) + KITH_AEAD_TAG_SIZE;
}

static void nonce_of_sequence(const struct kith_record_keys *keys, uint8_t nonce[KITH_AEAD_NONCE_SIZE])
{
    uint8_t number[8];

    write_u64(number, keys->sequence);
    memcpy(nonce, keys->iv, KITH_AEAD_NONCE_SIZE);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] ^= number[i];
}

static void nonce_explicit(const struct kith_record_keys *keys, const uint8_t *sent, uint8_t *nonce)
{
    memcpy(nonce, keys->iv, IMPLICIT_SIZE);
    memcpy(nonce + IMPLICIT_SIZE, sent, EXPLICIT_SIZE);
}

static void write_header(uint8_t *out, uint8_t type, size_t body_size)
{
    out[0] = type;
    out[1] = out[2] = 3; /* 3.3 in both versions */
    out[3] = (uint8_t)(body_size >> 8);
    out[4] = (uint8_t)body_size;
}

static void aad12(const struct kith_record_keys *keys, uint8_t type, size_t size, uint8_t out[AAD12_SIZE])
{
    write_u64(out, keys->sequence);
    write_header(out + 8, type, size);
}

static int seal12(struct kith_record_keys *keys, uint8_t type, const uint8_t *bytes, size_t size, uint8_t *out)
{
    uint8_t nonce[KITH_AEAD_NONCE_SIZE], aad[AAD12_SIZE];

    if (has_explicit_nonce(keys)) {
        write_u64(out + KITH_RECORD_HEADER_SIZE, keys->sequence);
        nonce_explicit(keys, out + KITH_RECORD_HEADER_SIZE, nonce);
    } else {
        nonce_of_sequence(keys, nonce);
    }
    aad12(keys, type, size, aad);
    return kith__aead_seal(&keys->aead, nonce, aad, sizeof aad, bytes, size, out + head_size(keys));
}

static int seal13(struct kith_record_keys *keys, uint8_t type, const uint8_t *bytes, size_t size, uint8_t *out)
{
    uint8_t nonce[KITH_AEAD_NONCE_SIZE], *body = out + KITH_RECORD_HEADER_SIZE;

    /* The type is part of the plaintext, so that the two must lie together: one copy, within the first cache. */
    if (size > 0)
        memcpy(body, bytes, size);
    body[size] = type;
    nonce_of_sequence(keys, nonce);
    return kith__aead_seal(&keys->aead, nonce, out, KITH_RECORD_HEADER_SIZE, body, size + 1, body);
}

int kith__record_seal(struct kith_record_keys *keys, enum kith_record_type type, const uint8_t *bytes, size_t size,
                      uint8_t *out)
{
    int err;

    KITH_ASSERT(size <= KITH_RECORD_PLAIN_MAX);
    write_header(out, (uint8_t)(keys->is_tls13 ? KITH_RECORD_DATA : type),
                 kith__record_sealed_size(keys, size) - KITH_RECORD_HEADER_SIZE);
    err = keys->is_tls13 ? seal13(keys, (uint8_t)type, bytes, size, out)
                         : seal12(keys, (uint8_t)type, bytes, size, out);
    keys->sequence++;
    return err;
}

/* ---- Opening ---- */

int kith__record_header_read(const uint8_t *bytes, struct kith_record_header *out)
{
    size_t size = (size_t)bytes[3] << 8 | bytes[4];

    if (bytes[1] != 3 || bytes[0] < KITH_RECORD_CHANGE_CIPHER_SPEC || bytes[0] > KITH_RECORD_DATA)
        return KITH_ERR_PARSE;
    if (size > KITH_RECORD_BODY_MAX)
        return KITH_ERR_TOO_LARGE;
    *out = (struct kith_record_header) { bytes[0], (uint16_t)size };
    return 0;
}

static int open12(struct kith_record_keys *keys, uint8_t *record, size_t size, struct kith_record *out)
{
    uint8_t nonce[KITH_AEAD_NONCE_SIZE], aad[AAD12_SIZE];
    size_t head = head_size(keys);
    int err;

    if (size < head + KITH_AEAD_TAG_SIZE)
        return KITH_ERR_CRYPTO;
    *out = (struct kith_record) { record[0], record + head, size - head - KITH_AEAD_TAG_SIZE };
    if (has_explicit_nonce(keys))
        nonce_explicit(keys, record + KITH_RECORD_HEADER_SIZE, nonce);
    else
        nonce_of_sequence(keys, nonce);
    aad12(keys, out->type, out->size, aad);
    err = kith__aead_open(&keys->aead, nonce, aad, sizeof aad, out->bytes, size - head, out->bytes);
    return err != 0 ? err : out->size > KITH_RECORD_PLAIN_MAX ? KITH_ERR_TOO_LARGE : 0;
}

static int open13(struct kith_record_keys *keys, uint8_t *record, size_t size, struct kith_record *out)
{
    uint8_t nonce[KITH_AEAD_NONCE_SIZE], *body = record + KITH_RECORD_HEADER_SIZE;
    size_t plain_size;
    int err;

    if (record[0] != KITH_RECORD_DATA)
        return KITH_ERR_CRYPTO; /* nothing may come unprotected any more */
    if (size < KITH_RECORD_HEADER_SIZE + KITH_AEAD_TAG_SIZE)
        return KITH_ERR_CRYPTO;
    nonce_of_sequence(keys, nonce);
    if ((err = kith__aead_open(&keys->aead, nonce, record, KITH_RECORD_HEADER_SIZE, body,
                               size - KITH_RECORD_HEADER_SIZE, body)) != 0)
        return err;
    plain_size = size - KITH_RECORD_HEADER_SIZE - KITH_AEAD_TAG_SIZE;
    if (plain_size > KITH_RECORD_PLAIN_MAX + 1)
        return KITH_ERR_TOO_LARGE;
    while (plain_size > 0 && body[plain_size - 1] == 0) /* padding */
        plain_size--;
    if (plain_size == 0)
        return KITH_ERR_PARSE;
    *out = (struct kith_record) { body[plain_size - 1], body, plain_size - 1 };
    return 0;
}

int kith__record_open(struct kith_record_keys *keys, uint8_t *record, size_t size, struct kith_record *out)
{
    int err = keys->is_tls13 ? open13(keys, record, size, out) : open12(keys, record, size, out);

    keys->sequence++;
    return err;
}
