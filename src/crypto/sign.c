#include "crypto/sign.h"

#include "base/random.h"
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>

_Static_assert(crypto_sign_SECRETKEYBYTES == KITH_SECRET_SIZE + KITH_ID_SIZE, "seed, then public key");
_Static_assert(crypto_sign_SEEDBYTES == KITH_SECRET_SIZE, "an RFC 8032 seed");

void kith__wipe(void *ptr, size_t size)
{
    sodium_memzero(ptr, size);
}

void kith__keypair_init(struct kith_keypair *pair, const struct kith_secret *secret)
{
    crypto_sign_seed_keypair(pair->id.bytes, pair->secret, secret->bytes);
}

void kith__keypair_wipe(struct kith_keypair *pair)
{
    kith__wipe(pair, sizeof *pair);
}

void kith__sign(const struct kith_keypair *pair, struct kith_slice message, uint8_t signature[KITH_SIGNATURE_SIZE])
{
    crypto_sign_detached(signature, NULL, message.ptr, message.size, pair->secret);
}

/** All 14 encodings of the points of order 1, 2, 4 and 8: seven y, each with either sign. spec/03, 1.3. */
static bool is_small_order(const uint8_t point[32])
{
    static const uint8_t small[][32] = {
        { 0 },
        { 1 },
        { 0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
          0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05 },
        { 0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
          0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a },
        { 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
        { 0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
        { 0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
    };

    for (size_t i = 0; i < KITH_COUNT(small); i++)
        if (memcmp(point, small[i], 31) == 0 && (point[31] & 0x7f) == small[i][31])
            return true;
    return false;
}

/**
 * libsodium compared R as bytes up to 1.0.18; later releases multiply the difference by the cofactor, which accepts more
 * than the specification does. This asks the library at hand, with a signature of "kith" by the seed 00 .. 1f whose R
 * has a part of order 2 added, and which therefore only passes with the cofactor.
 */
static bool library_uses_cofactor(void)
{
    static const uint8_t id[KITH_ID_SIZE] = {
        0x03, 0xa1, 0x07, 0xbf, 0xf3, 0xce, 0x10, 0xbe, 0x1d, 0x70, 0xdd, 0x18, 0xe7, 0x4b, 0xc0, 0x99,
        0x67, 0xe4, 0xd6, 0x30, 0x9b, 0xa5, 0x0d, 0x5f, 0x1d, 0xdc, 0x86, 0x64, 0x12, 0x55, 0x31, 0xb8,
    };
    static const uint8_t signature[KITH_SIGNATURE_SIZE] = {
        0x1d, 0x9d, 0xc8, 0x77, 0x91, 0x42, 0x66, 0xf7, 0x31, 0x32, 0x92, 0xc0, 0x41, 0x34, 0xe9, 0x7d,
        0x04, 0x30, 0xa8, 0x92, 0x9e, 0xee, 0x2d, 0x07, 0xf3, 0x87, 0x75, 0xaf, 0x55, 0xe9, 0xe8, 0x68,
        0xcc, 0xad, 0x92, 0x3f, 0xeb, 0x49, 0x35, 0xc4, 0x40, 0x7d, 0xc9, 0x3d, 0x6b, 0xc3, 0x1c, 0x11,
        0xae, 0xed, 0xed, 0x32, 0xc5, 0x1d, 0x8e, 0xe2, 0x65, 0x5d, 0x59, 0x0c, 0x24, 0xd7, 0xfb, 0x0a,
    };
    static atomic_int answer; /* 0: not asked yet, 1: no, 2: yes; asking twice does no harm */
    int known = atomic_load_explicit(&answer, memory_order_relaxed);

    if (known == 0) {
        known = crypto_sign_verify_detached(signature, (const uint8_t *)"kith", 4, id) == 0 ? 2 : 1;
        atomic_store_explicit(&answer, known, memory_order_relaxed);
    }
    return known == 2;
}

int kith__verify(const struct kith_id *id, struct kith_slice message, const uint8_t signature[KITH_SIGNATURE_SIZE])
{
    if (is_small_order(id->bytes) || is_small_order(signature))
        return KITH_ERR_CRYPTO;
    if (crypto_sign_verify_detached(signature, message.ptr, message.size, id->bytes) != 0)
        return KITH_ERR_CRYPTO;
    /* With both points canonical and in the prime-order group, the cofactor makes no difference. */
    if (library_uses_cofactor() &&
        (!crypto_core_ed25519_is_valid_point(id->bytes) || !crypto_core_ed25519_is_valid_point(signature)))
        return KITH_ERR_CRYPTO;
    return 0;
}

bool kith__id_is_point(const uint8_t bytes[KITH_ID_SIZE])
{
    static const uint8_t neutral[32] = { 1 };
    uint8_t sum[32];

    /* Of libsodium's functions only the addition decompresses without asking for more than a point of the curve. */
    return crypto_core_ed25519_add(sum, bytes, neutral) == 0;
}

struct kith_id kith__secret_id(const struct kith_secret *secret)
{
    struct kith_keypair pair;
    struct kith_id id;

    kith__keypair_init(&pair, secret);
    id = pair.id;
    kith__keypair_wipe(&pair);
    return id;
}

void kith__secret_random(const struct kith_random *random, struct kith_secret *out)
{
    kith__random_fill(random, out->bytes, sizeof out->bytes);
}
