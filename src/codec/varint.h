/**
 * Variable-length integers of QUIC: the two highest bits of the first byte say how many bytes follow (1, 2, 4 or 8 in
 * all), the rest is the number in network order, 0 .. 2^62-1. All inline: they are on the path of every frame.
 * Any encoding is accepted on decode; kith__varint_is_minimal tells where the specification asks for the shortest.
 * Source: RFC 9000, section 16.
 */
#ifndef KITH_CODEC_VARINT_H
#define KITH_CODEC_VARINT_H

#include "base/assert.h"
#include <kith/types.h>

#define KITH_VARINT_MAX ((UINT64_C(1) << 62) - 1)
enum { KITH_VARINT_SIZE_MAX = 8 };

/** Bytes of the shortest encoding: 1, 2, 4 or 8. value <= KITH_VARINT_MAX. */
static inline size_t kith__varint_size(uint64_t value)
{
    KITH_ASSERT(value <= KITH_VARINT_MAX);
    return value < 1u << 6 ? 1 : value < 1u << 14 ? 2 : value < 1u << 30 ? 4 : 8;
}

/** Bytes of the encoding that starts with this byte: 1, 2, 4 or 8. */
static inline size_t kith__varint_size_of_first(uint8_t first)
{
    return (size_t)1 << (first >> 6);
}

/** True if `size` bytes is the shortest encoding of value (frame types must be: RFC 9000, 12.4). */
static inline bool kith__varint_is_minimal(uint64_t value, size_t size)
{
    return size == kith__varint_size(value);
}

/**
 * Writes value in exactly `size` (1, 2, 4 or 8) bytes, which must be enough for it. A fixed size of 2 lets a sender
 * reserve a length field before it knows the length. Returns size.
 */
static inline size_t kith__varint_encode_sized(uint64_t value, size_t size, uint8_t *out)
{
    KITH_ASSERT(size >= kith__varint_size(value) && size <= 8 && (size & (size - 1)) == 0);
    switch (size) {
    case 1:
        out[0] = (uint8_t)value;
        break;
    case 2:
        out[0] = (uint8_t)(0x40 | value >> 8);
        out[1] = (uint8_t)value;
        break;
    case 4:
        out[0] = (uint8_t)(0x80 | value >> 24);
        out[1] = (uint8_t)(value >> 16);
        out[2] = (uint8_t)(value >> 8);
        out[3] = (uint8_t)value;
        break;
    default:
        for (int i = 0; i < 8; i++)
            out[i] = (uint8_t)(value >> (56 - 8 * i));
        out[0] |= 0xc0;
    }
    return size;
}

/** Writes the shortest encoding; out holds kith__varint_size(value) bytes. Returns the bytes written. */
static inline size_t kith__varint_encode(uint64_t value, uint8_t *out)
{
    return kith__varint_encode_sized(value, kith__varint_size(value), out);
}

/**
 * Reads one from the first `size` bytes (untrusted). Returns the bytes used (1, 2, 4 or 8) and sets *value, or 0 if the
 * bytes end too early, and leaves *value alone.
 */
static inline size_t kith__varint_decode(const uint8_t *bytes, size_t size, uint64_t *value)
{
    size_t used;
    uint64_t v;

    if (size == 0)
        return 0;
    used = kith__varint_size_of_first(bytes[0]);
    if (used > size)
        return 0;
    v = bytes[0] & 0x3f;
    for (size_t i = 1; i < used; i++)
        v = v << 8 | bytes[i];
    *value = v;
    return used;
}

#endif
