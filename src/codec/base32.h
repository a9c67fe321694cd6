/**
 * Text forms of bytes: hex, RFC 4648 base32 without padding, and z-base-32. Base32 is most significant bit first.
 * Decoders take untrusted text and are strict: a foreign character, padding, an impossible length, or set bits behind
 * the last byte are KITH_ERR_PARSE. Source: spec/03, 1.1.
 */
#ifndef KITH_CODEC_BASE32_H
#define KITH_CODEC_BASE32_H

#include <kith/types.h>

enum kith_base32 {
    KITH_BASE32_LOWER, /* RFC 4648; written in lower case, read in any case */
    KITH_BASE32_UPPER, /* RFC 4648; written in upper case, read in any case */
    KITH_BASE32_Z      /* z-base-32; lower case only */
};

/** Characters for `size` bytes, without an end. */
static inline size_t kith__base32_text_size(size_t size)
{
    return size / 5 * 8 + (size % 5 * 8 + 4) / 5;
}
/** Bytes that `text_size` characters hold (the decoder refuses impossible lengths). */
static inline size_t kith__base32_size(size_t text_size)
{
    return text_size / 8 * 5 + text_size % 8 * 5 / 8;
}
/** Writes kith__base32_text_size(size) characters and an end. */
void kith__base32_encode(enum kith_base32 kind, const uint8_t *bytes, size_t size, char *text);
/** Reads text_size characters; out holds kith__base32_size(text_size) bytes and may be partly written on KITH_ERR_PARSE. */
int kith__base32_decode(enum kith_base32 kind, const char *text, size_t text_size, uint8_t *out);

/** Writes 2 * size lower-case digits and an end. */
void kith__hex_encode(const uint8_t *bytes, size_t size, char *text);
/** Reads text_size lower-case digits, an even number; out holds text_size / 2 bytes and may be partly written on PARSE. */
int kith__hex_decode(const char *text, size_t text_size, uint8_t *out);

#endif
