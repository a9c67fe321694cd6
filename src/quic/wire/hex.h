/** Test only: bytes from hex text, and copies of exactly their size, so that a sanitizer sees every read beyond the end. */
#ifndef KITH_QUIC_WIRE_HEX_H
#define KITH_QUIC_WIRE_HEX_H

#include "base/assert.h"
#include <ctype.h>
#include <kith/types.h>
#include <stdlib.h>
#include <string.h>

/** The bytes of a hex text; blanks and bars are for reading only. Asserts that they fit. Returns their number. */
static inline size_t kith__test_hex(const char *text, uint8_t *out, size_t capacity)
{
    size_t digits = 0;

    for (; *text != 0; text++) {
        int digit;

        if (*text == ' ' || *text == '|')
            continue;
        KITH_ASSERT(isxdigit((unsigned char)*text) && digits / 2 < capacity);
        digit = isdigit((unsigned char)*text) ? *text - '0' : tolower((unsigned char)*text) - 'a' + 10;
        out[digits / 2] = (uint8_t)(digits % 2 == 0 ? digit << 4 : out[digits / 2] | digit);
        digits++;
    }
    KITH_ASSERT(digits % 2 == 0);
    return digits / 2;
}

/** A copy in a block of exactly `size` bytes (a valid pointer also for 0); to be freed. */
static inline uint8_t *kith__test_exact(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size); /* also for 0: reading even one byte is an error to the sanitizer */

    KITH_ASSERT(copy != NULL);
    if (size != 0)
        memcpy(copy, bytes, size);
    return copy;
}

#endif
