#include "base/test.h"
#include "codec/base32.h"
#include <string.h>

/* RFC 4648, section 10, without the padding. */
KITH_TEST(base32_gives_the_published_examples)
{
    static const char *const cases[][2] = {
        { "", "" },
        { "f", "MY" },
        { "fo", "MZXQ" },
        { "foo", "MZXW6" },
        { "foob", "MZXW6YQ" },
        { "fooba", "MZXW6YTB" },
        { "foobar", "MZXW6YTBOI" },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        size_t size = strlen(cases[i][0]);
        char text[16];
        uint8_t bytes[16];

        kith__base32_encode(KITH_BASE32_UPPER, (const uint8_t *)cases[i][0], size, text);
        KITH_CHECK_STR(text, cases[i][1]);
        KITH_CHECK_EQ(strlen(text), kith__base32_text_size(size));
        KITH_CHECK_EQ(kith__base32_size(strlen(text)), size);
        KITH_CHECK_EQ(kith__base32_decode(KITH_BASE32_LOWER, text, strlen(text), bytes), 0);
        KITH_CHECK(size == 0 || memcmp(bytes, cases[i][0], size) == 0);
    }
}

KITH_TEST(base32_comes_back_in_every_alphabet)
{
    static const enum kith_base32 kinds[] = { KITH_BASE32_LOWER, KITH_BASE32_UPPER, KITH_BASE32_Z };
    uint64_t random = kith__test_seed(5);

    for (size_t k = 0; k < KITH_COUNT(kinds); k++) {
        for (size_t size = 0; size < 40; size++) {
            uint8_t bytes[40], back[40];
            char text[80];

            for (size_t i = 0; i < size; i++)
                bytes[i] = (uint8_t)kith__test_random(&random);
            kith__base32_encode(kinds[k], bytes, size, text);
            KITH_CHECK_EQ(kith__base32_decode(kinds[k], text, strlen(text), back), 0);
            KITH_CHECK(size == 0 || memcmp(bytes, back, size) == 0);
        }
    }
}

KITH_TEST(base32_is_strict)
{
    static const char *const bad[] = { "M",  "MZX", "MZXW6Y", "MZ",       "MZXR", "M1",
                                       "M8", "M9",  "M0",     "MY======", " MY",  "M\xff" };
    uint8_t bytes[16];

    KITH_CHECK_EQ(kith__base32_decode(KITH_BASE32_LOWER, "my", 2, bytes), 0);
    KITH_CHECK_EQ(kith__base32_decode(KITH_BASE32_LOWER, "mY", 2, bytes), 0);
    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK_EQ(kith__base32_decode(KITH_BASE32_LOWER, bad[i], strlen(bad[i]), bytes), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__base32_decode(KITH_BASE32_Z, "yy", 2, bytes), 0);
    KITH_CHECK_EQ(kith__base32_decode(KITH_BASE32_Z, "YY", 2, bytes), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__base32_decode(KITH_BASE32_Z, "yl", 2, bytes), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__base32_decode(KITH_BASE32_Z, "y\0", 2, bytes), KITH_ERR_PARSE);
}

KITH_TEST(hex_is_lower_case_only)
{
    uint8_t bytes[4];
    char text[9];

    KITH_CHECK_EQ(kith__hex_decode("00ff9a", 6, bytes), 0);
    KITH_CHECK_BYTES(bytes, "\x00\xff\x9a", 3);
    kith__hex_encode(bytes, 3, text);
    KITH_CHECK_STR(text, "00ff9a");
    KITH_CHECK_EQ(kith__hex_decode("FF", 2, bytes), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__hex_decode("0", 1, bytes), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__hex_decode("0g", 2, bytes), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__hex_decode("", 0, bytes), 0);
}
