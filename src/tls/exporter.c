/* The two ways of TLS to keying material for others. */
#include "tls/exporter.h"
#include "base/mem.h"
#include "codec/cursor.h"
#include "crypto/secure.h"

static bool is_label(struct kith_slice label)
{
    return label.size > 0 && label.size <= KITH_HKDF_LABEL_SIZE_MAX && memchr(label.ptr, 0, label.size) == NULL;
}

int kith__exporter13(enum kith_digest digest, const uint8_t *secret, struct kith_slice label, struct kith_slice context,
                     uint8_t *out, size_t size)
{
    uint8_t empty_hash[KITH_DIGEST_SIZE_MAX], context_hash[KITH_DIGEST_SIZE_MAX], own[KITH_DIGEST_SIZE_MAX];
    char name[KITH_HKDF_LABEL_SIZE_MAX + 1];
    size_t hash_size = kith__digest_size(digest);

    if (!is_label(label))
        return KITH_ERR_INVALID;
    memcpy(name, label.ptr, label.size);
    name[label.size] = '\0';
    kith__digest(digest, (struct kith_slice) { NULL, 0 }, empty_hash);
    kith__digest(digest, context, context_hash);
    kith__hkdf_expand_label(digest, secret, name, (struct kith_slice) { empty_hash, hash_size }, own, hash_size);
    kith__hkdf_expand_label(digest, own, "exporter", (struct kith_slice) { context_hash, hash_size }, out, size);
    kith__wipe(own, sizeof own);
    return 0;
}

enum { SEED_SIZE_MAX = KITH_HKDF_LABEL_SIZE_MAX + 2 * KITH_HELLO_RANDOM_SIZE + 2 + KITH_EXPORTER12_CONTEXT_SIZE_MAX };

/* PRF(secret, label, seed) of RFC 5246, 5; `seed` holds the label too. */
static void prf(enum kith_digest digest, struct kith_slice secret, struct kith_slice seed, uint8_t *out, size_t size)
{
    uint8_t step[KITH_DIGEST_SIZE_MAX + SEED_SIZE_MAX], block[KITH_DIGEST_SIZE_MAX];
    size_t hash_size = kith__digest_size(digest), part;
    struct kith_slice a = seed;

    for (; size > 0; size -= part, out += part) {
        kith__hmac(digest, secret, a, block); /* A(i) */
        memcpy(step, block, hash_size);
        memcpy(step + hash_size, seed.ptr, seed.size);
        kith__hmac(digest, secret, (struct kith_slice) { step, hash_size + seed.size }, block);
        part = KITH_MIN(size, hash_size);
        memcpy(out, block, part);
        a = (struct kith_slice) { step, hash_size };
    }
    kith__wipe(step, sizeof step);
    kith__wipe(block, sizeof block);
}

int kith__exporter12(enum kith_digest digest, const struct kith_exporter12 *from, struct kith_slice label,
                     struct kith_slice context, uint8_t *out, size_t size)
{
    uint8_t seed[SEED_SIZE_MAX];
    struct kith_writer w = kith__writer(seed, sizeof seed);

    if (!is_label(label) || context.size > KITH_EXPORTER12_CONTEXT_SIZE_MAX ||
        kith__write_bytes(&w, label.ptr, label.size) != 0 ||
        kith__write_bytes(&w, from->client_random, sizeof from->client_random) != 0 ||
        kith__write_bytes(&w, from->server_random, sizeof from->server_random) != 0 ||
        kith__write_u16(&w, (uint16_t)context.size) != 0 || kith__write_bytes(&w, context.ptr, context.size) != 0)
        return KITH_ERR_INVALID;
    prf(digest, (struct kith_slice) { from->master, sizeof from->master },
        (struct kith_slice) { seed, kith__writer_size(&w) }, out, size);
    return 0;
}
