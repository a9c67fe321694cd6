/* BLAKE3: published vectors, the tree values of spec/05 1.7, and every implementation against portable. */
#include "base/test.h"
#include "crypto/blake3.h"
#include "crypto/blake3_impl.h"
#include "crypto/cpu.h"
#include <sodium/utils.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATTERN_SIZE = 5000000 };

/** The input of all published vectors: byte i is i mod 251. */
static const uint8_t *pattern(void)
{
    static uint8_t *bytes;

    if (bytes == NULL) {
        bytes = malloc(PATTERN_SIZE);
        KITH_CHECK(bytes != NULL);
        for (size_t i = 0; i < PATTERN_SIZE; i++)
            bytes[i] = (uint8_t)(i % 251);
    }
    return bytes;
}

static void check_hex(const uint8_t *bytes, const char *hex)
{
    char text[2 * KITH_HASH_SIZE + 1];

    sodium_bin2hex(text, sizeof text, bytes, KITH_HASH_SIZE);
    KITH_CHECK_STR(text, hex);
}

/** Calls check for each line of the vector file. */
static void vectors_each(void (*check)(size_t size, const char *hash, const char *keyed, const char *derived))
{
    FILE *file = fopen(KITH_SOURCE_DIR "/tests/vectors/blake3.txt", "r");
    char line[256], hash[65], keyed[65], derived[65];
    size_t size, count = 0;

    KITH_CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (line[0] == '#')
            continue;
        KITH_CHECK_EQ(sscanf(line, "%zu %64s %64s %64s", &size, hash, keyed, derived), 4);
        check(size, hash, keyed, derived);
        count++;
    }
    fclose(file);
    KITH_CHECK_EQ(count, 35);
}

static const uint8_t friend_key[] = "whats the Elvish word for friend";

static void check_all_impls(size_t size, const char *hash, const char *keyed, const char *derived)
{
    size_t count;
    const struct kith_blake3_impl *const *impls = kith__blake3_impls(&count);
    uint32_t key[8];
    uint8_t out[KITH_HASH_SIZE];

    (void)derived;
    for (int i = 0; i < 8; i++)
        key[i] = kith__blake3_load(friend_key + 4 * i);
    for (size_t i = 0; i < count; i++) {
        kith__blake3_subtree_with(impls[i], kith__blake3_iv, 0, 0, pattern(), size, true, out);
        check_hex(out, hash);
        kith__blake3_subtree_with(impls[i], key, KITH_BLAKE3_KEYED, 0, pattern(), size, true, out);
        check_hex(out, keyed);
    }
}

KITH_TEST(blake3_matches_published_vectors_in_every_implementation)
{
    vectors_each(check_all_impls);
}

static void check_api(size_t size, const char *hash, const char *keyed, const char *derived)
{
    struct kith_blake3 hasher;
    uint8_t out[KITH_HASH_SIZE];

    kith__blake3(pattern(), size, out);
    check_hex(out, hash);
    kith__blake3_keyed(friend_key, pattern(), size, out);
    check_hex(out, keyed);
    kith__blake3_derive_key("BLAKE3 2019-12-27 16:29:52 test vectors context", pattern(), size, out);
    check_hex(out, derived);
    kith__blake3_init(&hasher);
    kith__blake3_update(&hasher, pattern(), size);
    kith__blake3_final(&hasher, out);
    check_hex(out, hash);
    kith__blake3_init_keyed(&hasher, friend_key);
    kith__blake3_update(&hasher, pattern(), size);
    kith__blake3_final(&hasher, out);
    check_hex(out, keyed);
    kith__blake3_subtree_cv(0, pattern(), size, true, out);
    check_hex(out, hash);
}

KITH_TEST(blake3_interface_matches_published_vectors)
{
    vectors_each(check_api);
}

KITH_TEST(blake3_uses_the_level_that_the_environment_allows)
{
    size_t count;

    kith__blake3_impls(&count);
    KITH_CHECK(count >= 1);
#if defined(__x86_64__)
    KITH_CHECK_STR(kith__blake3_name(), kith__cpu_level_name(kith__cpu()->level));
#endif
}

KITH_TEST(blake3_implementations_agree_on_every_length)
{
    size_t count;
    const struct kith_blake3_impl *const *impls = kith__blake3_impls(&count);
    uint8_t expected[KITH_HASH_SIZE], out[KITH_HASH_SIZE];

    /* All lengths of the first chunks, then all chunk counts up to two batches of the widest kernel, and around. */
    for (size_t size = 0; size < 40 * 1024; size += size < 5000 ? 1 : 341) {
        kith__blake3_subtree_with(impls[0], kith__blake3_iv, 0, 0, pattern() + 1, size, true, expected);
        for (size_t i = 1; i < count; i++) {
            kith__blake3_subtree_with(impls[i], kith__blake3_iv, 0, 0, pattern() + 1, size, true, out);
            KITH_CHECK_BYTES(out, expected, sizeof out);
        }
    }
}

KITH_TEST(blake3_chunk_counter_crosses_32_bits)
{
    size_t count;
    const struct kith_blake3_impl *const *impls = kith__blake3_impls(&count);
    const uint64_t start = UINT64_C(0x1fffffff0);
    uint8_t expected[32 * KITH_BLAKE3_CV_SIZE], out[sizeof expected];

    impls[0]->chunks(kith__blake3_iv, 0, pattern(), start, 32, expected);
    for (size_t i = 1; i < count; i++) {
        memset(out, 0, sizeof out);
        impls[i]->chunks(kith__blake3_iv, 0, pattern(), start, 32, out);
        KITH_CHECK_BYTES(out, expected, sizeof out);
    }
    KITH_CHECK(memcmp(expected, expected + KITH_BLAKE3_CV_SIZE, KITH_BLAKE3_CV_SIZE) != 0);
}

KITH_TEST(blake3_kernels_write_only_what_was_asked_for)
{
    size_t impl_count;
    const struct kith_blake3_impl *const *impls = kith__blake3_impls(&impl_count);
    uint8_t out[35 * KITH_BLAKE3_CV_SIZE], expected[34 * KITH_BLAKE3_CV_SIZE];
    uint8_t pairs[34 * KITH_BLAKE3_BLOCK_SIZE];

    for (size_t i = 0; i < impl_count; i++)
        for (size_t count = 0; count <= 34; count++) {
            impls[0]->chunks(kith__blake3_iv, 0, pattern(), 7, count, expected);
            memset(out, 0xee, sizeof out);
            impls[i]->chunks(kith__blake3_iv, 0, pattern(), 7, count, out);
            KITH_CHECK_BYTES(out, expected, count * KITH_BLAKE3_CV_SIZE);
            KITH_CHECK_EQ(out[count * KITH_BLAKE3_CV_SIZE], 0xee);
            impls[0]->parents(kith__blake3_iv, 0, pattern(), count, expected);
            memcpy(pairs, pattern(), sizeof pairs);
            impls[i]->parents(kith__blake3_iv, 0, pairs, count, pairs); /* in place */
            KITH_CHECK_BYTES(pairs, expected, count * KITH_BLAKE3_CV_SIZE);
        }
}

KITH_TEST(blake3_hasher_does_not_care_how_bytes_are_cut)
{
    uint64_t random = kith__test_seed(3);

    for (int round = 0; round < 60; round++) {
        size_t size = kith__test_random(&random) % 300000, at = 0;
        size_t piece_max = (size_t)1 << (4 + kith__test_random(&random) % 15);
        struct kith_blake3 hasher;
        uint8_t expected[KITH_HASH_SIZE], out[KITH_HASH_SIZE];

        kith__blake3_init(&hasher);
        while (at < size) {
            size_t piece = kith__test_random(&random) % (piece_max + 1);

            piece = KITH_MIN(piece, size - at);
            kith__blake3_update(&hasher, pattern() + at, piece);
            at += piece;
        }
        kith__blake3(pattern(), size, expected);
        kith__blake3_final(&hasher, out);
        KITH_CHECK_BYTES(out, expected, sizeof out);
        kith__blake3_update(&hasher, pattern() + size, 1025); /* final left it usable */
        kith__blake3(pattern(), size + 1025, expected);
        kith__blake3_final(&hasher, out);
        KITH_CHECK_BYTES(out, expected, sizeof out);
    }
}

KITH_TEST(blake3_subtrees_have_the_values_of_a_real_store)
{
    static const struct {
        uint64_t start_chunk;
        size_t size;
        const char *cv;
    } cases[] = {
        { 0, 16384, "5384f9b342c6cb86badedcbe662b0e980476a8db17db3cc1f13b19329749ab1f" },
        { 16, 1, "7eec20c857faf93c8102396e3b2ea90bcdf693ebd5cbd77211e5f606d72bc1a5" },
        { 0, 1024, "5c9e654411e393d1f4bec710ccd5bc5669ab177d610a0eb691fcfee92fb4e8b1" },
    };
    uint8_t left[KITH_BLAKE3_CV_SIZE], right[KITH_BLAKE3_CV_SIZE], out[KITH_BLAKE3_CV_SIZE];

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        kith__blake3_subtree_cv(cases[i].start_chunk, pattern() + cases[i].start_chunk * 1024, cases[i].size, false,
                                out);
        check_hex(out, cases[i].cv);
    }
    kith__blake3_subtree_cv(0, pattern(), 16384, false, left);
    kith__blake3_subtree_cv(16, pattern() + 16384, 1, false, right);
    kith__blake3_parent_cv(left, right, true, out);
    check_hex(out, "1dabe216be2578830263b049de1639f39f05a4da616b9b78c7a5e4e41662fd1f");
    kith__blake3_parent_cv(left, right, true, left); /* out may be an input */
    KITH_CHECK_BYTES(left, out, sizeof out);
}

/** Writes the pairs of the subtree over `groups` groups from group `first` in pre-order; returns its cv in out. */
static uint8_t *outboard(uint64_t first, uint64_t groups, size_t size, bool is_root, uint8_t *pairs, uint8_t *out)
{
    uint64_t left_groups = 1;
    uint8_t *next = pairs + KITH_BLAKE3_BLOCK_SIZE;

    if (groups == 1) {
        kith__blake3_subtree_cv(first * KITH_BLAKE3_GROUP_CHUNKS, pattern() + first * KITH_BLAKE3_GROUP_SIZE, size,
                                is_root, out);
        return pairs;
    }
    while (2 * left_groups < groups)
        left_groups *= 2;
    next = outboard(first, left_groups, left_groups * KITH_BLAKE3_GROUP_SIZE, false, next, pairs);
    next = outboard(first + left_groups, groups - left_groups, size - left_groups * KITH_BLAKE3_GROUP_SIZE, false, next,
                    pairs + KITH_BLAKE3_CV_SIZE);
    kith__blake3_parent_cv(pairs, pairs + KITH_BLAKE3_CV_SIZE, is_root, out);
    return next;
}

KITH_TEST(blake3_trees_over_groups_have_the_roots_and_outboards_of_a_real_store)
{
    static const struct {
        size_t size, outboard_size;
        const char *root, *outboard;
    } cases[] = {
        { 16385, 64, "1dabe216be2578830263b049de1639f39f05a4da616b9b78c7a5e4e41662fd1f",
          "5626a11c3fae62894290bd6e4fdd50f8199c5775352737fa9f6f63df38a6838f" },
        { 49152, 128, "88c8baf84eb0b231f985d2be3540430506a9280fd0ec4cec74524bbc33bbc5df",
          "8ed3fff5ace2ba116c5c99a66514d8494b8270d34872ac93c4073f0bd8411e84" },
        { 100000, 384, "d93c23eedaf165a7e0be908ba86f1a7a520d568d2d13cde787c8580c5c72cc54",
          "5cd8e354c507dcd17e7d4c9fac4c1d59aadf90177cd7d98d1e681bf33221bfc1" },
        { 1000000, 3904, "5e82c663d164c54e4fcdfcd70e3ca464662228bdbad45cce2e0c2bff999064ef",
          "941f94d90aecc6510b73a263946c2293d57cf3ed1eb8a039410d1eb853182923" },
        { 5000000, 19520, "1ab09ef1af116159d8d394fc5a13c25842753b617048329dc8874051d1b9e171",
          "817e5a2c3b57dae03b62f14347aa2d015f9b4ceda807e19f94ab7691be8a73fb" },
    };
    static uint8_t pairs[19520];
    uint8_t root[KITH_HASH_SIZE], hash[KITH_HASH_SIZE];

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        uint64_t groups = (cases[i].size - 1) / KITH_BLAKE3_GROUP_SIZE + 1;
        uint8_t *end = outboard(0, groups, cases[i].size, true, pairs, root);

        KITH_CHECK_EQ(end - pairs, cases[i].outboard_size);
        check_hex(root, cases[i].root);
        kith__blake3(pairs, cases[i].outboard_size, hash);
        check_hex(hash, cases[i].outboard);
        kith__blake3(pattern(), cases[i].size, root);
        check_hex(root, cases[i].root);
    }
}

KITH_TEST(blake3_groups_in_batches_equal_groups_one_by_one)
{
    enum { GROUPS = 37 };
    uint8_t out[GROUPS * KITH_BLAKE3_CV_SIZE], one[KITH_BLAKE3_CV_SIZE], pairs[KITH_BLAKE3_CV_SIZE * GROUPS];

    for (size_t count = 0; count <= GROUPS; count++) {
        kith__blake3_groups(32, pattern(), count, out);
        for (size_t i = 0; i < count; i++) {
            kith__blake3_subtree_cv(32 + i * KITH_BLAKE3_GROUP_CHUNKS, pattern() + i * KITH_BLAKE3_GROUP_SIZE,
                                    KITH_BLAKE3_GROUP_SIZE, false, one);
            KITH_CHECK_BYTES(out + i * KITH_BLAKE3_CV_SIZE, one, sizeof one);
        }
    }
    kith__blake3_parents(out, GROUPS / 2, pairs);
    kith__blake3_parent_cv(out + 64, out + 96, false, one);
    KITH_CHECK_BYTES(pairs + 32, one, sizeof one);
}
