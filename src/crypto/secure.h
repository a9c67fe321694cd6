/** Handling of secrets: wiping that no compiler removes, comparing that takes the same time for any contents. */
#ifndef KITH_CRYPTO_SECURE_H
#define KITH_CRYPTO_SECURE_H

#include <kith/types.h>
#include <sodium/utils.h>
#include <string.h>

/** Overwrites size bytes with zeros. ptr may be NULL if size is 0. */
static inline void kith__wipe(void *ptr, size_t size)
{
    sodium_memzero(ptr, size);
}

/** True if both hold the same size bytes; the time depends on size alone. For keys, tags, tokens, reset tokens. */
static inline bool kith__equal_secret(const void *a, const void *b, size_t size)
{
    return sodium_memcmp(a, b, size) == 0;
}

/** As kith__equal_secret for 16 bytes, on the path of every packet: AEAD tags, stateless reset tokens. */
static inline bool kith__equal_secret_16(const void *a, const void *b)
{
    uint64_t x[2], y[2];

    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0; /* no branch between the halves */
}

#endif
