/* HMAC, HKDF and TLS 1.3 labels: RFC 4231, RFC 5869 A, RFC 9001 A. */
#include "base/test.h"
#include "crypto/hkdf.h"
#include <sodium/utils.h>
#include <string.h>

static struct kith_slice slice(const void *bytes, size_t size)
{
    return (struct kith_slice) { bytes, size };
}

/** Decodes hex into bytes; returns the size. */
static size_t from_hex(const char *hex, uint8_t *bytes, size_t cap)
{
    size_t size;

    KITH_CHECK_EQ(sodium_hex2bin(bytes, cap, hex, strlen(hex), " ", &size, NULL), 0);
    return size;
}

static void check_hex(const uint8_t *bytes, size_t size, const char *hex)
{
    uint8_t expected[512];

    KITH_CHECK_EQ(from_hex(hex, expected, sizeof expected), size);
    KITH_CHECK_BYTES(bytes, expected, size);
}

KITH_TEST(hmac_matches_rfc_4231_case_2)
{
    struct kith_slice key = slice("Jefe", 4), message = slice("what do ya want for nothing?", 28);
    uint8_t out[KITH_DIGEST_SIZE_MAX];

    kith__hmac(KITH_DIGEST_SHA256, key, message, out);
    check_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    kith__hmac(KITH_DIGEST_SHA384, key, message, out);
    check_hex(out, 48,
              "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649");
}

KITH_TEST(digests_of_the_empty_message_are_right)
{
    uint8_t out[KITH_DIGEST_SIZE_MAX];

    kith__digest(KITH_DIGEST_SHA256, slice(NULL, 0), out);
    check_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    kith__digest(KITH_DIGEST_SHA384, slice(NULL, 0), out);
    check_hex(out, 48,
              "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b");
    kith__digest(KITH_DIGEST_SHA256, slice("abc", 3), out);
    check_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

KITH_TEST(hkdf_matches_rfc_5869_cases_1_and_3)
{
    uint8_t input[22], salt[13], info[10], prk[32], out[42];

    memset(input, 0x0b, sizeof input);
    for (size_t i = 0; i < sizeof salt; i++)
        salt[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof info; i++)
        info[i] = (uint8_t)(0xf0 + i);
    kith__hkdf_extract(KITH_DIGEST_SHA256, slice(salt, sizeof salt), slice(input, sizeof input), prk);
    check_hex(prk, 32, "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    kith__hkdf_expand(KITH_DIGEST_SHA256, prk, slice(info, sizeof info), out, sizeof out);
    check_hex(out, 42, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    kith__hkdf_extract(KITH_DIGEST_SHA256, slice(NULL, 0), slice(input, sizeof input), prk);
    kith__hkdf_expand(KITH_DIGEST_SHA256, prk, slice(NULL, 0), out, sizeof out);
    check_hex(out, 42, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

KITH_TEST(hkdf_expands_to_its_largest_size)
{
    static uint8_t prk[KITH_DIGEST_SIZE_MAX], all[255 * 48], part[255 * 48 - 1];

    kith__hkdf_expand(KITH_DIGEST_SHA384, prk, slice("x", 1), all, sizeof all);
    kith__hkdf_expand(KITH_DIGEST_SHA384, prk, slice("x", 1), part, sizeof part);
    KITH_CHECK_BYTES(all, part, sizeof part);
    KITH_CHECK(memcmp(all, all + 48, 48) != 0);
}

static void check_label(const uint8_t *secret, const char *label, size_t size, const char *hex)
{
    uint8_t out[32];

    kith__hkdf_expand_label(KITH_DIGEST_SHA256, secret, label, slice(NULL, 0), out, size);
    check_hex(out, size, hex);
}

KITH_TEST(expand_label_gives_the_initial_keys_of_rfc_9001_a1)
{
    uint8_t salt[20], dcid[8], initial[32], secret[32];

    from_hex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", salt, sizeof salt);
    from_hex("8394c8f03e515708", dcid, sizeof dcid);
    kith__hkdf_extract(KITH_DIGEST_SHA256, slice(salt, sizeof salt), slice(dcid, sizeof dcid), initial);
    check_hex(initial, 32, "7db5df06e7a69e432496adedb00851923595221596ae2ae9fb8115c1e9ed0a44");
    kith__hkdf_expand_label(KITH_DIGEST_SHA256, initial, "client in", slice(NULL, 0), secret, sizeof secret);
    check_hex(secret, 32, "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea");
    check_label(secret, "quic key", 16, "1f369613dd76d5467730efcbe3b1a22d");
    check_label(secret, "quic iv", 12, "fa044b2f42a3fd3b46fb255c");
    check_label(secret, "quic hp", 16, "9f50449e04a0e810283a1e9933adedd2");
    kith__hkdf_expand_label(KITH_DIGEST_SHA256, initial, "server in", slice(NULL, 0), secret, sizeof secret);
    check_hex(secret, 32, "3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b");
    check_label(secret, "quic key", 16, "cf3a5331653c364c88f0f379b6067e37");
    check_label(secret, "quic iv", 12, "0ac1493ca1905853b0bba03e");
    check_label(secret, "quic hp", 16, "c206b8d9b9f0f37644430b490eeaa314");
}

KITH_TEST(expand_label_gives_the_keys_of_rfc_9001_a5)
{
    uint8_t secret[32];

    from_hex("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b", secret, sizeof secret);
    check_label(secret, "quic key", 32, "c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8");
    check_label(secret, "quic iv", 12, "e0459b3474bdd0e44a41c144");
    check_label(secret, "quic hp", 32, "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4");
    check_label(secret, "quic ku", 32, "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9");
}

KITH_TEST(expand_label_includes_context_and_its_limits_hold)
{
    uint8_t secret[32] = { 0 }, context[KITH_HKDF_CONTEXT_SIZE_MAX] = { 1 }, a[32], b[32];
    char label[KITH_HKDF_LABEL_SIZE_MAX + 1];

    memset(label, 'l', sizeof label - 1);
    label[sizeof label - 1] = 0;
    kith__hkdf_expand_label(KITH_DIGEST_SHA256, secret, label, slice(context, sizeof context), a, sizeof a);
    context[254] = 1;
    kith__hkdf_expand_label(KITH_DIGEST_SHA256, secret, label, slice(context, sizeof context), b, sizeof b);
    KITH_CHECK(memcmp(a, b, sizeof a) != 0);
}

KITH_TEST(suites_have_their_digests)
{
    KITH_CHECK_EQ(kith__cipher_digest(KITH_CIPHER_AES_128_GCM), KITH_DIGEST_SHA256);
    KITH_CHECK_EQ(kith__cipher_digest(KITH_CIPHER_AES_256_GCM), KITH_DIGEST_SHA384);
    KITH_CHECK_EQ(kith__cipher_digest(KITH_CIPHER_CHACHA20_POLY1305), KITH_DIGEST_SHA256);
    KITH_CHECK_EQ(kith__digest_size(KITH_DIGEST_SHA256), 32);
    KITH_CHECK_EQ(kith__digest_size(KITH_DIGEST_SHA384), 48);
}
