#include "quic/host/reset.h"

#include "base/random.h"
#include "base/test.h"
#include <string.h>

static struct kith_prng prng;

static struct kith_random seeded(void)
{
    kith__prng_init(&prng, 3);
    return kith__prng_source(&prng);
}

KITH_TEST(reset_is_always_smaller_than_its_trigger_and_carries_the_token)
{
    static const uint8_t cid[8] = { 1, 2, 3 };
    struct kith_random random = seeded();
    struct kith_reset reset;
    uint8_t out[2000], token[KITH_RESET_TOKEN_SIZE];

    kith__reset_init(&reset, &random, 0);
    kith__reset_token(&reset, cid, sizeof cid, token);
    for (size_t trigger = 0; trigger < 1500; trigger++) {
        size_t size = kith__reset_build(&reset, &random, cid, sizeof cid, trigger, out, sizeof out, 0);

        if (trigger <= 21) {
            KITH_CHECK_EQ(size, 0);
            continue;
        }
        KITH_CHECK(size < trigger && size >= KITH_RESET_SIZE_MIN);
        KITH_CHECK(trigger > 42 ? size >= KITH_RESET_PADDING_IDEAL + KITH_RESET_TOKEN_SIZE : size == trigger - 1);
        KITH_CHECK_EQ(out[0] & 0xc0, 0x40);
        KITH_CHECK_BYTES(out + size - sizeof token, token, sizeof token);
    }
}

KITH_TEST(reset_never_exceeds_the_room)
{
    static const uint8_t cid[8] = { 0 };
    struct kith_random random = seeded();
    struct kith_reset reset;
    uint8_t out[50];

    kith__reset_init(&reset, &random, 0);
    KITH_CHECK_EQ(kith__reset_build(&reset, &random, cid, 8, 1200, out, 20, 0), 0);
    KITH_CHECK_EQ(kith__reset_build(&reset, &random, cid, 8, 1200, out, 21, 0), 21);
    for (int i = 0; i < 100; i++)
        KITH_CHECK(kith__reset_build(&reset, &random, cid, 8, 1200, out, sizeof out, 0) <= sizeof out);
}

KITH_TEST(reset_keeps_its_interval)
{
    static const uint8_t cid[8] = { 0 };
    struct kith_random random = seeded();
    struct kith_reset reset;
    uint8_t out[100];

    kith__reset_init(&reset, &random, 20);
    KITH_CHECK(kith__reset_build(&reset, &random, cid, 8, 100, out, sizeof out, 5) != 0);
    KITH_CHECK_EQ(kith__reset_build(&reset, &random, cid, 8, 100, out, sizeof out, 24), 0);
    KITH_CHECK(kith__reset_build(&reset, &random, cid, 8, 100, out, sizeof out, 25) != 0);
}

KITH_TEST(reset_tokens_differ_by_id_and_by_host)
{
    struct kith_random random = seeded();
    struct kith_reset a, b;
    uint8_t one[16], two[16], three[16];

    kith__reset_init(&a, &random, 0);
    kith__reset_init(&b, &random, 0);
    kith__reset_token(&a, (const uint8_t *)"12345678", 8, one);
    kith__reset_token(&a, (const uint8_t *)"12345679", 8, two);
    kith__reset_token(&b, (const uint8_t *)"12345678", 8, three);
    KITH_CHECK(memcmp(one, two, 16) != 0);
    KITH_CHECK(memcmp(one, three, 16) != 0);
    kith__reset_dispose(&a);
    kith__reset_dispose(&b);
}
