#include "quic/host/reset.h"

#include "base/random.h"
#include "crypto/blake3.h"
#include "crypto/secure.h"
#include <string.h>

void kith__reset_init(struct kith_reset *reset, const struct kith_random *random, uint64_t interval_ns)
{
    *reset = (struct kith_reset) { .interval_ns = interval_ns };
    kith__random_fill(random, reset->key, sizeof reset->key);
}

void kith__reset_set_key(struct kith_reset *reset, const uint8_t key[32])
{
    memcpy(reset->key, key, sizeof reset->key);
}

void kith__reset_dispose(struct kith_reset *reset)
{
    kith__wipe(reset->key, sizeof reset->key);
}

void kith__reset_token(const struct kith_reset *reset, const uint8_t *cid, size_t size,
                       uint8_t out[KITH_RESET_TOKEN_SIZE])
{
    uint8_t hash[KITH_HASH_SIZE];

    kith__blake3_keyed(reset->key, cid, size, hash);
    memcpy(out, hash, KITH_RESET_TOKEN_SIZE);
    kith__wipe(hash, sizeof hash);
}

size_t kith__reset_build(struct kith_reset *reset, const struct kith_random *random, const uint8_t *cid,
                         size_t cid_size, size_t trigger_size, uint8_t *out, size_t capacity, uint64_t now_ns)
{
    size_t padding;

    if (trigger_size <= KITH_RESET_SIZE_MIN || capacity < KITH_RESET_SIZE_MIN || now_ns < reset->next_ns)
        return 0;
    padding = KITH_MIN(trigger_size - 1, capacity) - KITH_RESET_TOKEN_SIZE;
    /* A random size, so that resets are not told from other packets by it; but not too small where there is a choice. */
    if (padding > KITH_RESET_PADDING_IDEAL)
        padding = KITH_RESET_PADDING_IDEAL + (size_t)kith__random_below(random, padding - KITH_RESET_PADDING_IDEAL + 1);
    kith__random_fill(random, out, padding);
    out[0] = (uint8_t)((out[0] & 0x3f) | 0x40);
    kith__reset_token(reset, cid, cid_size, out + padding);
    reset->next_ns = now_ns + reset->interval_ns;
    return padding + KITH_RESET_TOKEN_SIZE;
}
