/* Any bytes as an address token; and a real token with any bytes changed. Neither may pass for a valid one. */
#include "quic/host/token.h"

#include "base/assert.h"
#include "base/random.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct kith_sockaddr remote = { .ip = { 192, 0, 2, 1 }, .port = 4433, .family = KITH_FAMILY_V4 };
    uint8_t token[KITH_TOKEN_SIZE_MAX];
    struct kith_token_keys keys;
    struct kith_token_info info;
    struct kith_random random;
    struct kith_prng prng;
    size_t token_size;
    bool is_changed = false;

    kith__prng_init(&prng, 1);
    random = kith__prng_source(&prng);
    kith__token_keys_init(&keys, kith_mem_default(), &random);
    kith__token_open(&keys, &remote, (struct kith_slice) { bytes, size }, 0, &info);
    KITH_ASSERT(info.verdict == KITH_TOKEN_NOT_OURS);
    if (kith__token_seal_retry(&keys, &random, &remote, (struct kith_slice) { bytes, KITH_MIN(size, (size_t)20) }, 0,
                               token, &token_size) == 0) {
        for (size_t i = 0; i < size && i < token_size; i++) {
            token[i] ^= bytes[i];
            is_changed = is_changed || bytes[i] != 0;
        }
        kith__token_open(&keys, &remote, (struct kith_slice) { token, token_size }, 0, &info);
        KITH_ASSERT(info.verdict == (is_changed ? KITH_TOKEN_NOT_OURS : KITH_TOKEN_VALID));
    }
    kith__token_keys_dispose(&keys);
    return 0;
}
