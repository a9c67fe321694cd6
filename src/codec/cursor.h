/**
 * Bounded cursors over borrowed bytes: a reader for untrusted input, a writer for a buffer of fixed size. Numbers are
 * in network order unless the name says otherwise. All inline: they are on the path of every packet.
 *
 * Every function returns 0 or an error, and moves the cursor only on success:
 *   kith__read_*   KITH_ERR_TRUNCATED: fewer bytes are left than asked for; *out is untouched
 *   kith__write_*  KITH_ERR_TOO_LARGE: no room; nothing was written
 */
#ifndef KITH_CODEC_CURSOR_H
#define KITH_CODEC_CURSOR_H

#include "base/assert.h"
#include "codec/varint.h"
#include <kith/types.h>
#include <string.h>

/** What is left to read: [at, end). Copy the struct to look ahead. */
struct kith_reader {
    const uint8_t *at, *end;
};

/** What is left to write: [at, end); [begin, at) is written. */
struct kith_writer {
    uint8_t *begin, *at, *end;
};

/** A reader over `size` bytes; bytes may be NULL if size is 0. */
static inline struct kith_reader kith__reader(const uint8_t *bytes, size_t size)
{
    return (struct kith_reader) { bytes, size != 0 ? bytes + size : bytes };
}

static inline struct kith_reader kith__reader_of_slice(struct kith_slice slice)
{
    return kith__reader(slice.ptr, slice.size);
}

/** Bytes that are left. */
static inline size_t kith__reader_left(const struct kith_reader *r)
{
    return (size_t)(r->end - r->at);
}

static inline int kith__read_u8(struct kith_reader *r, uint8_t *out)
{
    if (r->at == r->end)
        return KITH_ERR_TRUNCATED;
    *out = *r->at++;
    return 0;
}

static inline int kith__read_u16(struct kith_reader *r, uint16_t *out)
{
    if (kith__reader_left(r) < 2)
        return KITH_ERR_TRUNCATED;
    *out = (uint16_t)(r->at[0] << 8 | r->at[1]);
    r->at += 2;
    return 0;
}

static inline int kith__read_u32(struct kith_reader *r, uint32_t *out)
{
    if (kith__reader_left(r) < 4)
        return KITH_ERR_TRUNCATED;
    *out = (uint32_t)r->at[0] << 24 | (uint32_t)r->at[1] << 16 | (uint32_t)r->at[2] << 8 | r->at[3];
    r->at += 4;
    return 0;
}

static inline int kith__read_u64(struct kith_reader *r, uint64_t *out)
{
    uint64_t value = 0;

    if (kith__reader_left(r) < 8)
        return KITH_ERR_TRUNCATED;
    for (int i = 0; i < 8; i++)
        value = value << 8 | r->at[i];
    *out = value;
    r->at += 8;
    return 0;
}

/** A QUIC varint in any of its encodings (RFC 9000, 16). */
static inline int kith__read_varint(struct kith_reader *r, uint64_t *out)
{
    size_t used = kith__varint_decode(r->at, kith__reader_left(r), out);

    if (used == 0)
        return KITH_ERR_TRUNCATED;
    r->at += used;
    return 0;
}

/** The next `size` bytes, borrowed from what the reader reads. */
static inline int kith__read_slice(struct kith_reader *r, uint64_t size, struct kith_slice *out)
{
    if (kith__reader_left(r) < size)
        return KITH_ERR_TRUNCATED;
    *out = (struct kith_slice) { r->at, (size_t)size };
    if (size != 0)
        r->at += size;
    return 0;
}

/** Copies the next `size` bytes to out. */
static inline int kith__read_bytes(struct kith_reader *r, void *out, size_t size)
{
    if (kith__reader_left(r) < size)
        return KITH_ERR_TRUNCATED;
    if (size != 0) {
        memcpy(out, r->at, size);
        r->at += size;
    }
    return 0;
}

/** Steps over `size` bytes. */
static inline int kith__read_skip(struct kith_reader *r, uint64_t size)
{
    struct kith_slice ignored;

    return kith__read_slice(r, size, &ignored);
}

/** Splits off a reader over the next `size` bytes. */
static inline int kith__read_reader(struct kith_reader *r, uint64_t size, struct kith_reader *out)
{
    struct kith_slice part;
    int err = kith__read_slice(r, size, &part);

    if (err == 0)
        *out = kith__reader_of_slice(part);
    return err;
}

/** A varint length and that many bytes, borrowed. */
static inline int kith__read_varint_slice(struct kith_reader *r, struct kith_slice *out)
{
    struct kith_reader ahead = *r;
    uint64_t size = 0;

    if (kith__read_varint(&ahead, &size) != 0 || kith__read_slice(&ahead, size, out) != 0)
        return KITH_ERR_TRUNCATED;
    *r = ahead;
    return 0;
}

/** A writer into `size` bytes at out. */
static inline struct kith_writer kith__writer(uint8_t *out, size_t size)
{
    return (struct kith_writer) { out, out, size != 0 ? out + size : out };
}

/** Room that is left. */
static inline size_t kith__writer_left(const struct kith_writer *w)
{
    return (size_t)(w->end - w->at);
}

/** Bytes written so far. */
static inline size_t kith__writer_size(const struct kith_writer *w)
{
    return (size_t)(w->at - w->begin);
}

static inline int kith__write_u8(struct kith_writer *w, uint8_t value)
{
    if (w->at == w->end)
        return KITH_ERR_TOO_LARGE;
    *w->at++ = value;
    return 0;
}

static inline int kith__write_u16(struct kith_writer *w, uint16_t value)
{
    if (kith__writer_left(w) < 2)
        return KITH_ERR_TOO_LARGE;
    w->at[0] = (uint8_t)(value >> 8);
    w->at[1] = (uint8_t)value;
    w->at += 2;
    return 0;
}

static inline int kith__write_u32(struct kith_writer *w, uint32_t value)
{
    if (kith__writer_left(w) < 4)
        return KITH_ERR_TOO_LARGE;
    for (int i = 0; i < 4; i++)
        w->at[i] = (uint8_t)(value >> (24 - 8 * i));
    w->at += 4;
    return 0;
}

static inline int kith__write_u64(struct kith_writer *w, uint64_t value)
{
    if (kith__writer_left(w) < 8)
        return KITH_ERR_TOO_LARGE;
    for (int i = 0; i < 8; i++)
        w->at[i] = (uint8_t)(value >> (56 - 8 * i));
    w->at += 8;
    return 0;
}

/** The shortest encoding of value <= KITH_VARINT_MAX. */
static inline int kith__write_varint(struct kith_writer *w, uint64_t value)
{
    size_t size = kith__varint_size(value);

    if (kith__writer_left(w) < size)
        return KITH_ERR_TOO_LARGE;
    w->at += kith__varint_encode_sized(value, size, w->at);
    return 0;
}

/** An encoding of exactly `size` (1, 2, 4, 8) bytes, enough for value. */
static inline int kith__write_varint_sized(struct kith_writer *w, uint64_t value, size_t size)
{
    if (kith__writer_left(w) < size)
        return KITH_ERR_TOO_LARGE;
    w->at += kith__varint_encode_sized(value, size, w->at);
    return 0;
}

static inline int kith__write_bytes(struct kith_writer *w, const void *bytes, size_t size)
{
    if (kith__writer_left(w) < size)
        return KITH_ERR_TOO_LARGE;
    if (size != 0) {
        memcpy(w->at, bytes, size);
        w->at += size;
    }
    return 0;
}

/** `size` zero bytes. */
static inline int kith__write_zeros(struct kith_writer *w, size_t size)
{
    if (kith__writer_left(w) < size)
        return KITH_ERR_TOO_LARGE;
    if (size != 0) {
        memset(w->at, 0, size);
        w->at += size;
    }
    return 0;
}

/** A varint length and the bytes. */
static inline int kith__write_varint_slice(struct kith_writer *w, struct kith_slice slice)
{
    if (slice.size > KITH_VARINT_MAX || kith__writer_left(w) < kith__varint_size(slice.size) ||
        kith__writer_left(w) - kith__varint_size(slice.size) < slice.size)
        return KITH_ERR_TOO_LARGE;
    kith__write_varint(w, slice.size);
    return kith__write_bytes(w, slice.ptr, slice.size);
}

#endif
