#include "base/random.h"
#include "base/test.h"

KITH_TEST(prng_repeats_for_a_seed_and_differs_between_seeds)
{
    struct kith_prng a, b, c;

    kith__prng_init(&a, 42);
    kith__prng_init(&b, 42);
    kith__prng_init(&c, 43);
    for (int i = 0; i < 100; i++) {
        uint64_t value = kith__prng_next(&a);

        KITH_CHECK_EQ(value, kith__prng_next(&b));
        KITH_CHECK_NE(value, kith__prng_next(&c));
    }
}

/* The state 1, 2, 3, 4 and its first outputs are the test vector that circulates for xoshiro256**. */
KITH_TEST(prng_is_xoshiro256)
{
    struct kith_prng prng = { { 1, 2, 3, 4 } };

    KITH_CHECK_EQ(kith__prng_next(&prng), 11520);
    KITH_CHECK_EQ(kith__prng_next(&prng), 0);
    KITH_CHECK_EQ(kith__prng_next(&prng), 1509978240);
    KITH_CHECK_EQ(kith__prng_next(&prng), UINT64_C(1215971899390074240));
}

KITH_TEST(random_below_reaches_all_and_only_numbers_below)
{
    struct kith_prng prng;
    struct kith_random random;
    int seen[7] = { 0 };

    kith__prng_init(&prng, kith__test_seed(1));
    random = kith__prng_source(&prng);
    for (int i = 0; i < 7000; i++) {
        uint64_t value = kith__random_below(&random, 7);

        KITH_CHECK(value < 7);
        seen[value]++;
    }
    for (int i = 0; i < 7; i++)
        KITH_CHECK(seen[i] > 700 && seen[i] < 1300);
    KITH_CHECK_EQ(kith__random_below(&random, 1), 0);
    KITH_CHECK(kith__random_below(&random, UINT64_MAX) < UINT64_MAX);
}

KITH_TEST(random_fill_is_the_same_in_any_pieces_of_whole_words)
{
    struct kith_prng a, b;
    struct kith_random from_a, from_b;
    uint8_t at_once[21], in_parts[21];

    kith__prng_init(&a, 9);
    kith__prng_init(&b, 9);
    from_a = kith__prng_source(&a);
    from_b = kith__prng_source(&b);
    kith__random_fill(&from_a, at_once, sizeof at_once);
    kith__random_fill(&from_b, in_parts, 16);
    kith__random_fill(&from_b, in_parts + 16, 5);
    KITH_CHECK_BYTES(at_once, in_parts, sizeof at_once);
}
