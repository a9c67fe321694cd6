#include "base/random.h"
#include "base/test.h"
#include "crypto/sign.h"
#include <string.h>

/** Bytes of a hex literal. */
static size_t unhex(const char *text, uint8_t *out)
{
    size_t size = strlen(text) / 2;

    for (size_t i = 0; i < 2 * size; i++) {
        uint8_t digit = (uint8_t)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);

        out[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : out[i / 2] | digit);
    }
    return size;
}

/* RFC 8032, section 7.1, tests 1, 2, 3 and SHA(abc); the last one is from spec/03, 1.1. */
static const struct vector {
    const char *secret, *id, *message, *signature;
} vectors[] = {
    { "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
      "6"
      "55141438e7a100b" },
    { "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
      "b"
      "00d291612bb0c00" },
    { "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
      "c"
      "027beceea1ec40a" },
    { "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
      "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
      "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e"
      "2"
      "a9ac94fa54ca49f",
      "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a"
      "d"
      "9bef1177331a704" },
    { "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
      "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8", "68656c6c6f20776f726c64",
      "c9e88a06c88855aa75f90bcfdc5a87b76a99c0d2044114b8931e72089e7b8c7ac6b4a9776b57326f2d781aa8da8821fe6b4c7296fde0b63c"
      "a"
      "24d7f6343ac6a0a" },
};

KITH_TEST(sign_gives_the_published_signatures_and_verifies_them)
{
    for (size_t i = 0; i < KITH_COUNT(vectors); i++) {
        struct kith_secret secret;
        struct kith_keypair pair;
        struct kith_id id;
        uint8_t message[64], want[KITH_SIGNATURE_SIZE], signature[KITH_SIGNATURE_SIZE];
        struct kith_slice slice = { message, unhex(vectors[i].message, message) };

        unhex(vectors[i].secret, secret.bytes);
        unhex(vectors[i].id, id.bytes);
        unhex(vectors[i].signature, want);
        kith__keypair_init(&pair, &secret);
        KITH_CHECK_BYTES(pair.id.bytes, id.bytes, KITH_ID_SIZE);
        id = kith__secret_id(&secret);
        KITH_CHECK_BYTES(pair.id.bytes, id.bytes, KITH_ID_SIZE);
        kith__sign(&pair, slice, signature);
        KITH_CHECK_BYTES(signature, want, sizeof want);
        KITH_CHECK_EQ(kith__verify(&id, slice, signature), 0);
        for (size_t bit = 0; bit < 8 * sizeof signature; bit += 7) {
            signature[bit / 8] ^= (uint8_t)(1u << bit % 8);
            KITH_CHECK_EQ(kith__verify(&id, slice, signature), KITH_ERR_CRYPTO);
            signature[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        slice.size += i == 0 ? 1 : (size_t)-1;
        message[0] = i == 0 ? 0 : message[0];
        KITH_CHECK_EQ(kith__verify(&id, slice, signature), KITH_ERR_CRYPTO);
        kith__keypair_wipe(&pair);
        KITH_CHECK_EQ(pair.secret[0] | pair.secret[63] | pair.id.bytes[5], 0);
    }
}

static const char *const small_order[] = {
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
};

KITH_TEST(keys_of_small_order_are_read_but_verify_nothing)
{
    struct kith_slice message = { (const uint8_t *)"kith", 4 };

    for (size_t i = 0; i < KITH_COUNT(small_order); i++) {
        for (size_t j = 0; j < KITH_COUNT(small_order); j++) {
            uint8_t signature[KITH_SIGNATURE_SIZE] = {
                0
            }; /* R = small, S = 0: holds for many messages without the check */
            struct kith_id id;

            unhex(small_order[i], id.bytes);
            unhex(small_order[j], signature);
            KITH_CHECK(kith__id_is_point(id.bytes));
            KITH_CHECK_EQ(kith__verify(&id, message, signature), KITH_ERR_CRYPTO);
        }
    }
}

KITH_TEST(keys_are_read_by_the_lenient_rules)
{
    uint8_t bytes[KITH_ID_SIZE];

    unhex("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", bytes); /* not canonical */
    KITH_CHECK(kith__id_is_point(bytes));
    unhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8", bytes);
    KITH_CHECK(kith__id_is_point(bytes));
    unhex("0200000000000000000000000000000000000000000000000000000000000000", bytes); /* no such x */
    KITH_CHECK(!kith__id_is_point(bytes));
}

KITH_TEST(signature_with_the_group_order_added_is_refused)
{
    uint8_t order[32], signature[KITH_SIGNATURE_SIZE];
    struct kith_id id;
    unsigned carry = 0;

    unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", order);
    unhex(vectors[0].id, id.bytes);
    unhex(vectors[0].signature, signature);
    KITH_CHECK_EQ(kith__verify(&id, (struct kith_slice) { NULL, 0 }, signature), 0);
    for (size_t i = 0; i < 32; i++) {
        carry += (unsigned)signature[32 + i] + order[i];
        signature[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    KITH_CHECK_EQ(kith__verify(&id, (struct kith_slice) { NULL, 0 }, signature), KITH_ERR_CRYPTO);
}

/* The signature of "kith" by the seed 00 .. 1f with a point of order 2 added to R: only the cofactor makes it hold. */
KITH_TEST(verification_has_no_cofactor)
{
    uint8_t signature[KITH_SIGNATURE_SIZE];
    struct kith_id id;

    unhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8", id.bytes);
    unhex("1d9dc877914266f7313292c04134e97d0430a8929eee2d07f38775af55e9e868ccad923feb4935c4407dc93d6bc31c11aeeded32c51d"
          "8ee"
          "2655d590c24d7fb0a",
          signature);
    KITH_CHECK_EQ(kith__verify(&id, (struct kith_slice) { (const uint8_t *)"kith", 4 }, signature), KITH_ERR_CRYPTO);
}

KITH_TEST(secret_comes_from_the_random_source)
{
    struct kith_prng prng;
    struct kith_random random;
    struct kith_secret a, b;

    kith__prng_init(&prng, 1);
    random = kith__prng_source(&prng);
    kith__secret_random(&random, &a);
    kith__secret_random(&random, &b);
    KITH_CHECK(memcmp(&a, &b, sizeof a) != 0);
    kith__prng_init(&prng, 1);
    kith__secret_random(&random, &b);
    KITH_CHECK_BYTES(&a, &b, sizeof a);
}

KITH_TEST(keys_of_small_order_are_known)
{
    struct kith_id id = { { 1 } };

    KITH_CHECK(kith__point_is_small_order(id.bytes));
    id.bytes[31] = 0x80;
    KITH_CHECK(kith__point_is_small_order(id.bytes));
    id.bytes[0] = 2;
    KITH_CHECK(!kith__point_is_small_order(id.bytes));
    memset(id.bytes, 0xff, sizeof id.bytes);
    KITH_CHECK(!kith__point_is_small_order(id.bytes));
    for (unsigned low = 0xec; low <= 0xee; low++) {
        id.bytes[0] = (uint8_t)low;
        KITH_CHECK(kith__point_is_small_order(id.bytes));
    }
}
