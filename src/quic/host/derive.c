#include "quic/host/derive.h"

#include "crypto/blake3.h"
#include "crypto/secure.h"

#include <string.h>

_Static_assert(sizeof((struct kith_secret *)0)->bytes == KITH_HASH_SIZE, "the secret is a BLAKE3 key as it is");
_Static_assert((int)KITH_DERIVED_KEY_SIZE == (int)KITH_HASH_SIZE, "one hash is one key");

void kith__derive_key(const struct kith_secret *secret, struct kith_slice instance, const char *label,
                      uint8_t out[KITH_DERIVED_KEY_SIZE])
{
    struct kith_blake3 hasher;

    kith__blake3_init_keyed(&hasher, secret->bytes);
    kith__blake3_update(&hasher, label, strlen(label) + 1); /* its end, too: label and instance cannot be mixed up */
    kith__blake3_update(&hasher, instance.ptr, instance.size);
    kith__blake3_final(&hasher, out);
    kith__wipe(&hasher, sizeof hasher);
}
