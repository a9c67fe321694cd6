#include "quic/host/token.h"

#include "base/mem.h"
#include "base/random.h"
#include "codec/cursor.h"
#include "crypto/aead.h"
#include "crypto/blake3.h"
#include "crypto/secure.h"

enum {
    KIND_RETRY = 0,
    KIND_NEW = 1,
    BITS = KITH_TOKEN_USED_MAX * 16, /* two to the n; at most one of 200 fresh tokens is taken for a used one */
    PROBES = 4
};
_Static_assert((BITS & (BITS - 1)) == 0, "probes are masked");

void kith__token_keys_init(struct kith_token_keys *keys, const struct kith_mem *mem, const struct kith_random *random)
{
    *keys = (struct kith_token_keys) { .mem = mem };
    kith__random_fill(random, keys->secret, sizeof keys->secret);
}

void kith__token_keys_dispose(struct kith_token_keys *keys)
{
    kith__wipe(keys->secret, sizeof keys->secret);
    for (int i = 0; i < 2; i++) {
        if (keys->mem != NULL)
            kith__free(keys->mem, keys->used.bits[i]);
        keys->used.bits[i] = NULL;
    }
}

/** The key and nonce of the one token with this 16-byte nonce. */
static int derive(const struct kith_token_keys *keys, const uint8_t *nonce, struct kith_aead_key *key,
                  uint8_t iv[KITH_AEAD_NONCE_SIZE])
{
    uint8_t hash[KITH_HASH_SIZE];
    int err;

    kith__blake3_keyed(keys->secret, nonce, KITH_TOKEN_NONCE_SIZE, hash);
    memcpy(iv, hash + 16, KITH_AEAD_NONCE_SIZE);
    err = kith__aead_init(key, keys->mem, KITH_CIPHER_AES_128_GCM, hash);
    kith__wipe(hash, sizeof hash);
    return err;
}

/** What all tokens hold: kind, time, address, id. Everything fits into KITH_TOKEN_SIZE_MAX. */
static size_t write_plain(uint8_t kind, const struct kith_sockaddr *remote, struct kith_slice odcid, uint64_t now_ns,
                          uint8_t out[KITH_TOKEN_SIZE_MAX])
{
    struct kith_writer w = { out, out, out + KITH_TOKEN_SIZE_MAX };
    int err = kith__write_u8(&w, kind);

    KITH_ASSERT(odcid.size <= KITH_TOKEN_CID_SIZE_MAX);
    err |= kith__write_u64(&w, now_ns);
    err |= kith__write_u8(&w, remote->family);
    err |= kith__write_bytes(&w, remote->ip, sizeof remote->ip);
    err |= kith__write_u16(&w, kind == KIND_RETRY ? remote->port : 0);
    err |= kith__write_u8(&w, (uint8_t)odcid.size);
    err |= kith__write_bytes(&w, odcid.ptr, odcid.size);
    KITH_ASSERT(err == 0);
    return (size_t)(w.at - out);
}

static int seal(const struct kith_token_keys *keys, const struct kith_random *random, uint8_t kind,
                const struct kith_sockaddr *remote, struct kith_slice odcid, uint64_t now_ns,
                uint8_t out[KITH_TOKEN_SIZE_MAX], size_t *size)
{
    size_t plain_size = write_plain(kind, remote, odcid, now_ns, out);
    uint8_t *nonce = out + plain_size + KITH_AEAD_TAG_SIZE;
    uint8_t iv[KITH_AEAD_NONCE_SIZE];
    struct kith_aead_key key;
    int err;

    kith__random_fill(random, nonce, KITH_TOKEN_NONCE_SIZE);
    if ((err = derive(keys, nonce, &key, iv)) != 0)
        return err;
    err = kith__aead_seal(&key, iv, NULL, 0, out, plain_size, out);
    kith__aead_dispose(&key);
    if (err == 0)
        *size = plain_size + KITH_AEAD_TAG_SIZE + KITH_TOKEN_NONCE_SIZE;
    return err;
}

int kith__token_seal_retry(const struct kith_token_keys *keys, const struct kith_random *random,
                           const struct kith_sockaddr *remote, struct kith_slice odcid, uint64_t now_ns,
                           uint8_t out[KITH_TOKEN_SIZE_MAX], size_t *size)
{
    return seal(keys, random, KIND_RETRY, remote, odcid, now_ns, out, size);
}

int kith__token_seal_new(const struct kith_token_keys *keys, const struct kith_random *random,
                         const struct kith_sockaddr *remote, uint64_t now_ns, uint8_t out[KITH_TOKEN_SIZE_MAX],
                         size_t *size)
{
    return seal(keys, random, KIND_NEW, remote, (struct kith_slice) { NULL, 0 }, now_ns, out, size);
}

/* ---- Which NEW_TOKEN tokens were used ---- */

/** Starts a new generation when the present one is a lifetime old: what was used before that has expired by then. */
static void rotate(struct kith_token_keys *keys, uint64_t now_ns)
{
    struct kith_token_log *used = &keys->used;

    uint64_t age_ns = now_ns - used->began_ns;

    if (used->bits[0] == NULL || age_ns < KITH_TOKEN_NEW_LIFETIME_NS)
        return;
    kith__free(keys->mem, used->bits[1]);
    used->bits[1] = used->bits[0];
    used->bits[0] = NULL;
    used->count = 0;
    if (age_ns >= 2 * KITH_TOKEN_NEW_LIFETIME_NS) { /* nothing in there can still be valid */
        kith__free(keys->mem, used->bits[1]);
        used->bits[1] = NULL;
    }
}

/** True if all bits of the nonce are set; sets them if `mark`. Nonces are random, so parts of them serve as hashes. */
static bool probe(uint8_t *bits, const uint8_t *nonce, bool mark)
{
    bool all = true;

    for (int i = 0; i < PROBES; i++) {
        uint32_t at = ((uint32_t)nonce[4 * i] << 16 | (uint32_t)nonce[4 * i + 1] << 8 | nonce[4 * i + 2]) & (BITS - 1);

        all = all && (bits[at / 8] & 1u << at % 8) != 0;
        if (mark)
            bits[at / 8] |= (uint8_t)(1u << at % 8);
    }
    return all;
}

/** Uses the token up. False if it was used before, or may have been. */
static bool use_up(struct kith_token_keys *keys, const uint8_t *nonce, uint64_t now_ns)
{
    struct kith_token_log *used = &keys->used;

    rotate(keys, now_ns);
    if (used->bits[0] == NULL) {
        if ((used->bits[0] = kith__alloc_zero(keys->mem, BITS / 8)) == NULL)
            return false;
        used->began_ns = now_ns;
    }
    if (used->count >= KITH_TOKEN_USED_MAX || probe(used->bits[0], nonce, false) ||
        (used->bits[1] != NULL && probe(used->bits[1], nonce, false)))
        return false;
    probe(used->bits[0], nonce, true);
    used->count++;
    return true;
}

/* ---- Opening ---- */

/** Decrypts into plain; returns its size, 0 if the token is not ours. */
static size_t unseal(const struct kith_token_keys *keys, struct kith_slice token, uint8_t plain[KITH_TOKEN_SIZE_MAX])
{
    uint8_t iv[KITH_AEAD_NONCE_SIZE];
    struct kith_aead_key key;
    size_t sealed_size;
    int err;

    if (token.size <= KITH_AEAD_TAG_SIZE + KITH_TOKEN_NONCE_SIZE || token.size > KITH_TOKEN_SIZE_MAX)
        return 0;
    sealed_size = token.size - KITH_TOKEN_NONCE_SIZE;
    if (derive(keys, token.ptr + sealed_size, &key, iv) != 0)
        return 0;
    err = kith__aead_open(&key, iv, NULL, 0, token.ptr, sealed_size, plain);
    kith__aead_dispose(&key);
    return err == 0 ? sealed_size - KITH_AEAD_TAG_SIZE : 0;
}

static uint8_t judge(struct kith_token_keys *keys, const struct kith_token_info *info,
                     const struct kith_sockaddr *made_for, const struct kith_sockaddr *remote, const uint8_t *nonce,
                     uint64_t now_ns)
{
    uint64_t lifetime_ns = info->is_retry ? KITH_TOKEN_RETRY_LIFETIME_NS : KITH_TOKEN_NEW_LIFETIME_NS;

    if (made_for->family != remote->family || memcmp(made_for->ip, remote->ip, sizeof remote->ip) != 0 ||
        (info->is_retry && made_for->port != remote->port))
        return KITH_TOKEN_OTHER_ADDRESS;
    if (now_ns < info->issued_ns || now_ns - info->issued_ns > lifetime_ns)
        return KITH_TOKEN_EXPIRED;
    return info->is_retry || use_up(keys, nonce, now_ns) ? KITH_TOKEN_VALID : KITH_TOKEN_REUSED;
}

void kith__token_open(struct kith_token_keys *keys, const struct kith_sockaddr *remote, struct kith_slice token,
                      uint64_t now_ns, struct kith_token_info *info)
{
    uint8_t plain[KITH_TOKEN_SIZE_MAX];
    size_t size = unseal(keys, token, plain);
    struct kith_reader r = kith__reader(plain, size);
    struct kith_sockaddr made_for = { .family = KITH_FAMILY_NONE };
    uint8_t kind = 0;
    int err;

    *info = (struct kith_token_info) { .verdict = KITH_TOKEN_NOT_OURS };
    if (size == 0)
        return;
    err = kith__read_u8(&r, &kind);
    err |= kith__read_u64(&r, &info->issued_ns);
    err |= kith__read_u8(&r, &made_for.family);
    err |= kith__read_bytes(&r, made_for.ip, sizeof made_for.ip);
    err |= kith__read_u16(&r, &made_for.port);
    err |= kith__read_u8(&r, &info->odcid_size);
    KITH_ASSERT(err == 0 && info->odcid_size <= KITH_TOKEN_CID_SIZE_MAX); /* it was sealed by us */
    err = kith__read_bytes(&r, info->odcid, info->odcid_size);
    KITH_ASSERT(err == 0);
    info->is_retry = kind == KIND_RETRY;
    info->verdict = judge(keys, info, &made_for, remote, token.ptr + token.size - KITH_TOKEN_NONCE_SIZE, now_ns);
}
