/** Percent-encoding: "%41" is "A". Source: RFC 3986, 2.1; WHATWG URL, "percent-decode". */
#ifndef KITH_CODEC_PERCENT_H
#define KITH_CODEC_PERCENT_H

#include <kith/types.h>

/** The value of a hex digit in either case; -1: it is none. */
static inline int kith__hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte = byte >= 'A' && byte <= 'F' ? (uint8_t)(byte + ('a' - 'A')) : byte;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/** Takes one decoded byte off a text that is not empty; a percent sign that is not followed by two digits stands for itself. */
static inline uint8_t kith__percent_take(struct kith_slice *text)
{
    uint8_t byte = text->ptr[0];
    size_t step = 1;

    if (byte == '%' && text->size >= 3 && kith__hex_digit(text->ptr[1]) >= 0 && kith__hex_digit(text->ptr[2]) >= 0) {
        byte = (uint8_t)(kith__hex_digit(text->ptr[1]) << 4 | kith__hex_digit(text->ptr[2]));
        step = 3;
    }
    text->ptr += step;
    text->size -= step;
    return byte;
}

#endif
