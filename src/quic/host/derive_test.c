#include "quic/host/derive.h"

#include "base/test.h"

#include <string.h>

static struct kith_slice text(const char *string)
{
    return (struct kith_slice) { (const uint8_t *)string, strlen(string) };
}

KITH_TEST(derived_keys_depend_on_secret_label_and_instance_and_on_nothing_else)
{
    struct kith_secret secret = { { 1, 2, 3 } }, other = { { 1, 2, 4 } };
    uint8_t keys[6][KITH_DERIVED_KEY_SIZE], again[KITH_DERIVED_KEY_SIZE];

    kith__derive_key(&secret, text("a"), "label", keys[0]);
    kith__derive_key(&other, text("a"), "label", keys[1]);
    kith__derive_key(&secret, text("b"), "label", keys[2]);
    kith__derive_key(&secret, text("a"), "other", keys[3]);
    kith__derive_key(&secret, text("la"), "labe", keys[4]);
    kith__derive_key(&secret, text(""), "labela", keys[5]);
    for (size_t i = 0; i < KITH_COUNT(keys); i++)
        for (size_t k = 0; k < i; k++)
            KITH_CHECK(memcmp(keys[i], keys[k], sizeof keys[i]) != 0);
    kith__derive_key(&secret, text("a"), "label", again);
    KITH_CHECK_BYTES(again, keys[0], sizeof again);
}
