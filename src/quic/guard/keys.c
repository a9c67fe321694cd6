/* Packet protection keys: see keys.h. */
#include "quic/guard/keys.h"

#include "crypto/secure.h"
#include "quic/wire/codes.h"

static const uint8_t initial_salt_v1[20] = { 0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
                                             0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a };
static const struct kith_slice no_context = { NULL, 0 };

/* The key and IV of a traffic secret (RFC 9001, 5.1). *key is written on success only. */
static int derive_key(const struct kith_mem *mem, enum kith_cipher cipher, const uint8_t *secret,
                      struct kith_packet_key *key)
{
    enum kith_digest digest = kith__cipher_digest(cipher);
    uint8_t bytes[KITH_AEAD_KEY_SIZE_MAX];
    struct kith_packet_key made = { 0 };
    int err;

    kith__hkdf_expand_label(digest, secret, "quic key", no_context, bytes, kith__cipher_key_size(cipher));
    err = kith__aead_init(&made.aead, mem, cipher, bytes);
    kith__wipe(bytes, sizeof bytes);
    if (err != 0)
        return err;
    kith__hkdf_expand_label(digest, secret, "quic iv", no_context, made.iv, sizeof made.iv);
    *key = made;
    return 0;
}

static int derive_hp(enum kith_cipher cipher, const uint8_t *secret, struct kith_hp_key *hp)
{
    uint8_t bytes[KITH_AEAD_KEY_SIZE_MAX];
    int err;

    kith__hkdf_expand_label(kith__cipher_digest(cipher), secret, "quic hp", no_context, bytes,
                            kith__cipher_key_size(cipher));
    err = kith__hp_init(hp, cipher, bytes);
    kith__wipe(bytes, sizeof bytes);
    return err;
}

/* The secret of the next generation (RFC 9001, 6.1). */
static void derive_next_secret(enum kith_cipher cipher, const uint8_t *secret, uint8_t next[KITH_DIGEST_SIZE_MAX])
{
    enum kith_digest digest = kith__cipher_digest(cipher);

    kith__hkdf_expand_label(digest, secret, "quic ku", no_context, next, kith__digest_size(digest));
}

static void dispose_key(struct kith_packet_key *key)
{
    kith__aead_dispose(&key->aead);
    kith__wipe(key, sizeof *key);
}

static void replace_key(struct kith_packet_key *key, struct kith_packet_key *by)
{
    dispose_key(key);
    *key = *by;
    kith__wipe(by, sizeof *by);
}

/* The read side of a level with updates also needs the key of the next generation. */
static int install_next(struct kith_keys *keys, enum kith_cipher cipher, const uint8_t *secret)
{
    uint8_t next_secret[KITH_DIGEST_SIZE_MAX];
    struct kith_packet_key next = { 0 };
    int err;

    derive_next_secret(cipher, secret, next_secret);
    err = derive_key(keys->mem, cipher, next_secret, &next);
    if (err == 0) {
        replace_key(&keys->read_next, &next);
        memcpy(keys->read_next_secret, next_secret, sizeof next_secret);
    }
    kith__wipe(next_secret, sizeof next_secret);
    return err;
}

int kith__keys_install(struct kith_keys *keys, const struct kith_mem *mem, enum kith_cipher cipher, bool is_write,
                       bool updates, const uint8_t *secret)
{
    struct kith_packet_key key = { 0 };
    struct kith_hp_key hp = { 0 };
    int err;

    if (kith__cipher_key_size(cipher) == 0)
        return KITH_ERR_UNSUPPORTED;
    KITH_ASSERT(keys->read_generation == 0 && keys->write_generation == 0);
    if ((err = derive_key(mem, cipher, secret, &key)) != 0)
        return err;
    if ((err = derive_hp(cipher, secret, &hp)) != 0)
        goto fail;
    keys->mem = mem;
    if (updates && !is_write && (err = install_next(keys, cipher, secret)) != 0)
        goto fail;
    keys->cipher = (uint16_t)cipher;
    keys->updates = updates;
    *(is_write ? &keys->write_hp : &keys->read_hp) = hp;
    replace_key(is_write ? &keys->write : &keys->read, &key);
    if (updates && is_write)
        memcpy(keys->write_secret, secret, kith__digest_size(kith__cipher_digest(cipher)));
    kith__hp_dispose(&hp);
    return 0;
fail:
    dispose_key(&key);
    kith__hp_dispose(&hp);
    return err;
}

int kith__keys_install_initial(struct kith_keys *keys, const struct kith_mem *mem, struct kith_slice dcid,
                               bool is_client)
{
    uint8_t initial[KITH_DIGEST_SIZE_MAX], client[KITH_DIGEST_SIZE_MAX], server[KITH_DIGEST_SIZE_MAX];
    struct kith_keys made = { 0 };
    int err;

    kith__hkdf_extract(KITH_DIGEST_SHA256, (struct kith_slice) { initial_salt_v1, sizeof initial_salt_v1 }, dcid,
                       initial);
    kith__hkdf_expand_label(KITH_DIGEST_SHA256, initial, "client in", no_context, client, 32);
    kith__hkdf_expand_label(KITH_DIGEST_SHA256, initial, "server in", no_context, server, 32);
    err = kith__keys_install(&made, mem, KITH_CIPHER_AES_128_GCM, true, false, is_client ? client : server);
    if (err == 0)
        err = kith__keys_install(&made, mem, KITH_CIPHER_AES_128_GCM, false, false, is_client ? server : client);
    if (err == 0) {
        kith__keys_dispose(keys);
        *keys = made;
    } else {
        kith__keys_dispose(&made);
    }
    return err;
}

void kith__keys_dispose(struct kith_keys *keys)
{
    dispose_key(&keys->read);
    dispose_key(&keys->write);
    dispose_key(&keys->read_previous);
    dispose_key(&keys->read_next);
    kith__wipe(keys, sizeof *keys);
}

int kith__keys_update(struct kith_keys *keys)
{
    uint8_t secret[KITH_DIGEST_SIZE_MAX];
    struct kith_packet_key key = { 0 };
    int err;

    if (!keys->updates || !kith__keys_can_write(keys) || !kith__keys_can_read(keys) || kith__keys_is_updating(keys))
        return KITH_ERR_STATE;
    derive_next_secret(keys->cipher, keys->write_secret, secret);
    err = derive_key(keys->mem, keys->cipher, secret, &key);
    if (err == 0) {
        replace_key(&keys->write, &key);
        memcpy(keys->write_secret, secret, sizeof secret);
        keys->write_generation++;
    }
    kith__wipe(secret, sizeof secret);
    return err;
}

int kith__keys_follow(struct kith_keys *keys)
{
    struct kith_packet_key next = { 0 };
    uint8_t secret[KITH_DIGEST_SIZE_MAX];
    int err;

    KITH_ASSERT(keys->updates && kith__aead_is_set(&keys->read_next.aead));
    if (!kith__keys_is_updating(keys) && keys->read_generation != 0 && keys->write.packets == 0)
        return KITH_WIRE_KEY_UPDATE_ERROR;
    derive_next_secret(keys->cipher, keys->read_next_secret, secret);
    if ((err = derive_key(keys->mem, keys->cipher, secret, &next)) != 0)
        goto end;
    if (!kith__keys_is_updating(keys) && (err = kith__keys_update(keys)) != 0) {
        dispose_key(&next);
        goto end;
    }
    replace_key(&keys->read_previous, &keys->read);
    replace_key(&keys->read, &keys->read_next);
    replace_key(&keys->read_next, &next);
    memcpy(keys->read_next_secret, secret, sizeof secret);
    keys->read_generation++;
end:
    kith__wipe(secret, sizeof secret);
    return err;
}

void kith__keys_drop_previous(struct kith_keys *keys)
{
    dispose_key(&keys->read_previous);
}

uint64_t kith__keys_seal_limit(enum kith_cipher cipher)
{
    return cipher == KITH_CIPHER_CHACHA20_POLY1305 ? UINT64_MAX : UINT64_C(1) << 23;
}

uint64_t kith__keys_failure_limit(enum kith_cipher cipher)
{
    return cipher == KITH_CIPHER_CHACHA20_POLY1305 ? UINT64_C(1) << 36 : UINT64_C(1) << 52;
}
