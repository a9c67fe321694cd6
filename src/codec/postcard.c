#include "codec/postcard.h"

/** A varint of at most size_max bytes whose last possible byte is at most last_max. */
static int read_varint(struct kith_reader *r, size_t size_max, uint8_t last_max, uint64_t *out)
{
    size_t left = kith__reader_left(r);
    uint64_t value = 0;

    for (size_t i = 0; i < size_max; i++) {
        if (i == left)
            return KITH_ERR_TRUNCATED;
        if (i == size_max - 1 && r->at[i] > last_max)
            break;
        value |= (uint64_t)(r->at[i] & 0x7f) << (7 * i);
        if (r->at[i] < 0x80) {
            r->at += i + 1;
            *out = value;
            return 0;
        }
    }
    return KITH_ERR_PARSE;
}

int kith__postcard_read_u16(struct kith_reader *r, uint16_t *out)
{
    uint64_t value;
    int err = read_varint(r, 3, 0x03, &value);

    if (err == 0)
        *out = (uint16_t)value;
    return err;
}

int kith__postcard_read_u32(struct kith_reader *r, uint32_t *out)
{
    uint64_t value;
    int err = read_varint(r, 5, 0x0f, &value);

    if (err == 0)
        *out = (uint32_t)value;
    return err;
}

int kith__postcard_read_u64(struct kith_reader *r, uint64_t *out)
{
    return read_varint(r, 10, 0x01, out);
}

int kith__postcard_read_i64(struct kith_reader *r, int64_t *out)
{
    uint64_t value;
    int err = kith__postcard_read_u64(r, &value);

    if (err == 0) {
        value = value >> 1 ^ (0 - (value & 1));
        *out = value <= INT64_MAX ? (int64_t)value : -(int64_t)~value - 1;
    }
    return err;
}

int kith__postcard_read_bool(struct kith_reader *r, bool *out)
{
    if (kith__reader_left(r) == 0)
        return KITH_ERR_TRUNCATED;
    if (*r->at > 1)
        return KITH_ERR_PARSE;
    *out = *r->at++ == 1;
    return 0;
}

int kith__postcard_read_variant(struct kith_reader *r, uint32_t count, uint32_t *out)
{
    struct kith_reader ahead = *r;
    uint32_t index;
    int err = kith__postcard_read_u32(&ahead, &index);

    if (err != 0)
        return err;
    if (index >= count)
        return KITH_ERR_PARSE;
    *r = ahead;
    *out = index;
    return 0;
}

int kith__postcard_read_slice(struct kith_reader *r, struct kith_slice *out)
{
    struct kith_reader ahead = *r;
    uint64_t size;
    int err = kith__postcard_read_u64(&ahead, &size);

    if (err != 0 || (err = kith__read_slice(&ahead, size, out)) != 0)
        return err;
    *r = ahead;
    return 0;
}

int kith__postcard_read_string(struct kith_reader *r, struct kith_slice *out)
{
    struct kith_reader ahead = *r;
    struct kith_slice text;
    int err = kith__postcard_read_slice(&ahead, &text);

    if (err != 0)
        return err;
    if (!kith__utf8_is_valid(text.ptr, text.size))
        return KITH_ERR_PARSE;
    *r = ahead;
    *out = text;
    return 0;
}

int kith__postcard_read_count(struct kith_reader *r, size_t item_size_min, size_t *out)
{
    struct kith_reader ahead = *r;
    uint64_t count;
    int err = kith__postcard_read_u64(&ahead, &count);

    KITH_ASSERT(item_size_min > 0);
    if (err != 0)
        return err;
    if (count > kith__reader_left(&ahead) / item_size_min)
        return KITH_ERR_TRUNCATED;
    *r = ahead;
    *out = (size_t)count;
    return 0;
}

size_t kith__postcard_encode(uint64_t value, uint8_t out[KITH_POSTCARD_VARINT_SIZE_MAX])
{
    size_t size = 0;

    for (; value >= 0x80; value >>= 7)
        out[size++] = (uint8_t)(value | 0x80);
    out[size++] = (uint8_t)value;
    return size;
}

int kith__postcard_write_uint(struct kith_buf *buf, uint64_t value)
{
    uint8_t bytes[KITH_POSTCARD_VARINT_SIZE_MAX];

    return kith__buf_append(buf, bytes, kith__postcard_encode(value, bytes));
}

int kith__postcard_write_i64(struct kith_buf *buf, int64_t value)
{
    uint64_t bits = (uint64_t)value;

    return kith__postcard_write_uint(buf, bits << 1 ^ (0 - (bits >> 63)));
}

int kith__postcard_write_bool(struct kith_buf *buf, bool value)
{
    return kith__buf_append_byte(buf, value);
}

int kith__postcard_write_slice(struct kith_buf *buf, struct kith_slice slice)
{
    int err;

    if (slice.size > SIZE_MAX - KITH_POSTCARD_VARINT_SIZE_MAX)
        return KITH_ERR_NOMEM;
    if ((err = kith__buf_reserve(buf, KITH_POSTCARD_VARINT_SIZE_MAX + slice.size)) != 0)
        return err;
    err = kith__postcard_write_uint(buf, slice.size);
    return err != 0 ? err : kith__buf_append(buf, slice.ptr, slice.size);
}

/** Bytes of the character at the start of `bytes`, or 0 if it is not one. size > 0. */
static size_t utf8_size(const uint8_t *bytes, size_t size)
{
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint32_t value;
    size_t count;

    if (bytes[0] < 0x80)
        return 1;
    count = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || count > size)
        return 0;
    value = bytes[0] & (0xffu >> (count + 1));
    for (size_t i = 1; i < count; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3f);
    }
    return value < smallest[count] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000) ? 0 : count;
}

bool kith__utf8_is_valid(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0, step; i < size; i += step)
        if ((step = utf8_size(bytes + i, size - i)) == 0)
            return false;
    return true;
}
