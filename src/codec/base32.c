#include "codec/base32.h"

#include "base/assert.h"

/** Letters by kind, in the order of enum kith_base32. */
static const char letters[][33] = {
    "abcdefghijklmnopqrstuvwxyz234567",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "ybndrfg8ejkmcpqxot1uwisza345h769",
};

void kith__base32_encode(enum kith_base32 kind, const uint8_t *bytes, size_t size, char *text)
{
    uint32_t bits = 0;
    unsigned count = 0; /* of bits that wait to be written; below 5 between bytes */

    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 5; count -= 5)
            *text++ = letters[kind][bits >> (count - 5) & 31];
    }
    if (count != 0)
        *text++ = letters[kind][bits << (5 - count) & 31];
    *text = '\0';
}

/** The five bits of a character, or -1. */
static int value_of(enum kith_base32 kind, char c)
{
    if (kind == KITH_BASE32_Z) {
        for (int i = 0; i < 32; i++)
            if (letters[KITH_BASE32_Z][i] == c)
                return i;
        return -1;
    }
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

int kith__base32_decode(enum kith_base32 kind, const char *text, size_t text_size, uint8_t *out)
{
    uint32_t bits = 0;
    unsigned count = 0;

    if (text_size != kith__base32_text_size(kith__base32_size(text_size)))
        return KITH_ERR_PARSE;
    for (size_t i = 0; i < text_size; i++) {
        int value = value_of(kind, text[i]);

        if (value < 0)
            return KITH_ERR_PARSE;
        bits = bits << 5 | (uint32_t)value;
        count += 5;
        if (count >= 8) {
            count -= 8;
            *out++ = (uint8_t)(bits >> count);
        }
    }
    return (bits & ((1u << count) - 1)) == 0 ? 0 : KITH_ERR_PARSE;
}

void kith__hex_encode(const uint8_t *bytes, size_t size, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        *text++ = digits[bytes[i] >> 4];
        *text++ = digits[bytes[i] & 15];
    }
    *text = '\0';
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int kith__hex_decode(const char *text, size_t text_size, uint8_t *out)
{
    if (text_size % 2 != 0)
        return KITH_ERR_PARSE;
    for (size_t i = 0; i < text_size; i += 2) {
        int high = digit_of(text[i]), low = digit_of(text[i + 1]);

        if (high < 0 || low < 0)
            return KITH_ERR_PARSE;
        *out++ = (uint8_t)(high << 4 | low);
    }
    return 0;
}
