/* HMAC comes from nettle: it needs no allocation, and a server derives keys for every Initial packet of strangers. */
#include "crypto/hkdf.h"

#include "base/assert.h"
#include "crypto/secure.h"
#include <nettle/hmac.h>
#include <nettle/sha2.h>
#include <string.h>

/** One HMAC under way; nettle reuses the key schedule after each digest. */
struct mac {
    enum kith_digest digest;
    union {
        struct hmac_sha256_ctx sha256;
        struct hmac_sha384_ctx sha384;
    } ctx;
};

size_t kith__digest_size(enum kith_digest digest)
{
    KITH_ASSERT(digest == KITH_DIGEST_SHA256 || digest == KITH_DIGEST_SHA384);
    return digest == KITH_DIGEST_SHA256 ? SHA256_DIGEST_SIZE : SHA384_DIGEST_SIZE;
}

static void mac_init(struct mac *mac, enum kith_digest digest, const uint8_t *key, size_t size)
{
    static const uint8_t none[1];

    KITH_ASSERT(digest == KITH_DIGEST_SHA256 || digest == KITH_DIGEST_SHA384);
    mac->digest = digest;
    if (size == 0) /* memcpy of nettle must not see NULL */
        key = none;
    if (digest == KITH_DIGEST_SHA256)
        hmac_sha256_set_key(&mac->ctx.sha256, size, key);
    else
        hmac_sha384_set_key(&mac->ctx.sha384, size, key);
}

static void mac_update(struct mac *mac, const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return;
    if (mac->digest == KITH_DIGEST_SHA256)
        hmac_sha256_update(&mac->ctx.sha256, size, bytes);
    else
        hmac_sha384_update(&mac->ctx.sha384, size, bytes);
}

static void mac_final(struct mac *mac, uint8_t *out)
{
    if (mac->digest == KITH_DIGEST_SHA256)
        hmac_sha256_digest(&mac->ctx.sha256, SHA256_DIGEST_SIZE, out);
    else
        hmac_sha384_digest(&mac->ctx.sha384, SHA384_DIGEST_SIZE, out);
}

void kith__digest(enum kith_digest digest, struct kith_slice message, uint8_t *out)
{
    if (digest == KITH_DIGEST_SHA256) {
        struct sha256_ctx ctx;

        sha256_init(&ctx);
        if (message.size > 0)
            sha256_update(&ctx, message.size, message.ptr);
        sha256_digest(&ctx, SHA256_DIGEST_SIZE, out);
    } else {
        struct sha384_ctx ctx;

        KITH_ASSERT(digest == KITH_DIGEST_SHA384);
        sha384_init(&ctx);
        if (message.size > 0)
            sha384_update(&ctx, message.size, message.ptr);
        sha384_digest(&ctx, SHA384_DIGEST_SIZE, out);
    }
}

void kith__hmac(enum kith_digest digest, struct kith_slice key, struct kith_slice message, uint8_t *out)
{
    struct mac mac;

    mac_init(&mac, digest, key.ptr, key.size);
    mac_update(&mac, message.ptr, message.size);
    mac_final(&mac, out);
    kith__wipe(&mac, sizeof mac);
}

void kith__hkdf_extract(enum kith_digest digest, struct kith_slice salt, struct kith_slice input, uint8_t *out)
{
    /* HMAC pads its key with zeros: an empty salt is the same as the string of zeros of the specification. */
    kith__hmac(digest, salt, input, out);
}

void kith__hkdf_expand(enum kith_digest digest, const uint8_t *prk, struct kith_slice info, uint8_t *out,
                       size_t out_size)
{
    size_t digest_size = kith__digest_size(digest), done = 0;
    uint8_t block[KITH_DIGEST_SIZE_MAX];
    struct mac mac;

    KITH_ASSERT(out_size > 0 && out_size <= 255 * digest_size);
    mac_init(&mac, digest, prk, digest_size);
    for (uint8_t counter = 1; done < out_size; counter++) {
        size_t size = KITH_MIN(digest_size, out_size - done);

        mac_update(&mac, block, counter == 1 ? 0 : digest_size);
        mac_update(&mac, info.ptr, info.size);
        mac_update(&mac, &counter, 1);
        mac_final(&mac, block);
        memcpy(out + done, block, size);
        done += size;
    }
    kith__wipe(block, sizeof block);
    kith__wipe(&mac, sizeof mac);
}

void kith__hkdf_expand_label(enum kith_digest digest, const uint8_t *secret, const char *label,
                             struct kith_slice context, uint8_t *out, size_t out_size)
{
    static const char prefix[] = { 't', 'l', 's', '1', '3', ' ' };
    size_t label_size = strlen(label), size = 0;
    uint8_t info[2 + 1 + sizeof prefix + KITH_HKDF_LABEL_SIZE_MAX + 1 + KITH_HKDF_CONTEXT_SIZE_MAX];

    KITH_ASSERT(label_size <= KITH_HKDF_LABEL_SIZE_MAX && context.size <= KITH_HKDF_CONTEXT_SIZE_MAX);
    info[size++] = (uint8_t)(out_size >> 8);
    info[size++] = (uint8_t)out_size;
    info[size++] = (uint8_t)(sizeof prefix + label_size);
    memcpy(info + size, prefix, sizeof prefix);
    size += sizeof prefix;
    memcpy(info + size, label, label_size);
    size += label_size;
    info[size++] = (uint8_t)context.size;
    if (context.size > 0)
        memcpy(info + size, context.ptr, context.size);
    size += context.size;
    kith__hkdf_expand(digest, secret, (struct kith_slice) { info, size }, out, out_size);
}
