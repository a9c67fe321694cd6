#include "quic/host/cidgen.h"

#include "base/random.h"
#include "base/test.h"
#include <string.h>

KITH_TEST(cidgen_knows_its_own_ids_and_no_others)
{
    struct kith_prng prng;
    struct kith_random random;
    struct kith_cidgen gen, other;
    uint8_t cid[KITH_CIDGEN_SIZE];

    kith__prng_init(&prng, 1);
    random = kith__prng_source(&prng);
    kith__cidgen_init(&gen, &random);
    kith__cidgen_init(&other, &random);
    for (int i = 0; i < 100; i++) {
        kith__cidgen_next(&gen, &random, cid);
        KITH_CHECK(kith__cidgen_is_ours(&gen, cid, sizeof cid));
        KITH_CHECK(!kith__cidgen_is_ours(&other, cid, sizeof cid));
        KITH_CHECK(!kith__cidgen_is_ours(&gen, cid, sizeof cid - 1));
        cid[i % KITH_CIDGEN_SIZE] ^= 1;
        KITH_CHECK(!kith__cidgen_is_ours(&gen, cid, sizeof cid));
    }
    KITH_CHECK(!kith__cidgen_is_ours(&gen, cid, 0));
    kith__cidgen_dispose(&gen);
    kith__cidgen_dispose(&other);
}

KITH_TEST(cidgen_ids_differ)
{
    struct kith_prng prng;
    struct kith_random random;
    struct kith_cidgen gen;
    uint8_t a[KITH_CIDGEN_SIZE], b[KITH_CIDGEN_SIZE];

    kith__prng_init(&prng, 2);
    random = kith__prng_source(&prng);
    kith__cidgen_init(&gen, &random);
    kith__cidgen_next(&gen, &random, a);
    kith__cidgen_next(&gen, &random, b);
    KITH_CHECK(memcmp(a, b, KITH_CIDGEN_RANDOM_SIZE) != 0);
    KITH_CHECK(memcmp(a + KITH_CIDGEN_RANDOM_SIZE, b + KITH_CIDGEN_RANDOM_SIZE, 5) != 0);
}
