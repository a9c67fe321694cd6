#include "base/test.h"
#include "codec/cursor.h"
#include "codec/varint.h"

KITH_TEST(varint_takes_the_shortest_form)
{
    static const struct {
        uint64_t value;
        size_t size;
    } cases[] = {
        { 0, 1 },     { 63, 1 },         { 64, 2 },         { 16383, 2 },
        { 16384, 4 }, { 1073741823, 4 }, { 1073741824, 8 }, { KITH_VARINT_MAX, 8 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        uint8_t bytes[8];
        uint64_t value = 1;

        KITH_CHECK_EQ(kith__varint_size(cases[i].value), cases[i].size);
        KITH_CHECK_EQ(kith__varint_encode(cases[i].value, bytes), cases[i].size);
        KITH_CHECK_EQ(kith__varint_size_of_first(bytes[0]), cases[i].size);
        KITH_CHECK_EQ(kith__varint_decode(bytes, sizeof bytes, &value), cases[i].size);
        KITH_CHECK_EQ(value, cases[i].value);
        KITH_CHECK(kith__varint_is_minimal(value, cases[i].size));
        KITH_CHECK_EQ(kith__varint_decode(bytes, cases[i].size - 1, &value), 0);
    }
}

/* RFC 9000, appendix A.1. */
KITH_TEST(varint_decodes_the_published_examples)
{
    static const struct {
        const char *bytes;
        size_t size;
        uint64_t value;
    } cases[] = {
        { "\xc2\x19\x7c\x5e\xff\x14\xe8\x8c", 8, UINT64_C(151288809941952652) },
        { "\x9d\x7f\x3e\x7d", 4, 494878333 },
        { "\x7b\xbd", 2, 15293 },
        { "\x25", 1, 37 },
        { "\x40\x25", 2, 37 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        uint64_t value = 0;

        KITH_CHECK_EQ(kith__varint_decode((const uint8_t *)cases[i].bytes, cases[i].size, &value), cases[i].size);
        KITH_CHECK_EQ(value, cases[i].value);
    }
    KITH_CHECK(!kith__varint_is_minimal(37, 2));
}

KITH_TEST(varint_fills_a_length_reserved_before)
{
    uint8_t bytes[8];

    KITH_CHECK_EQ(kith__varint_encode_sized(37, 2, bytes), 2);
    KITH_CHECK_BYTES(bytes, "\x40\x25", 2);
    KITH_CHECK_EQ(kith__varint_encode_sized(1, 8, bytes), 8);
    KITH_CHECK_BYTES(bytes, "\xc0\0\0\0\0\0\0\x01", 8);
}

KITH_TEST(cursor_reads_what_it_wrote)
{
    uint8_t bytes[64], u8, copy[3];
    struct kith_writer w = kith__writer(bytes, sizeof bytes);
    struct kith_reader r, inner = { NULL, NULL };
    struct kith_slice slice = { NULL, 0 };
    uint16_t u16;
    uint32_t u32;
    uint64_t u64, number;

    KITH_CHECK_EQ(kith__write_u8(&w, 0x01), 0);
    KITH_CHECK_EQ(kith__write_u16(&w, 0x0203), 0);
    KITH_CHECK_EQ(kith__write_u32(&w, 0x04050607), 0);
    KITH_CHECK_EQ(kith__write_u64(&w, UINT64_C(0x08090a0b0c0d0e0f)), 0);
    for (int i = 0; i < 15; i++)
        KITH_CHECK_EQ(bytes[i], i + 1);
    KITH_CHECK_EQ(kith__write_varint(&w, 70000), 0);
    KITH_CHECK_EQ(kith__write_varint_sized(&w, 5, 2), 0);
    KITH_CHECK_EQ(kith__write_varint_slice(&w, (struct kith_slice) { (const uint8_t *)"abc", 3 }), 0);
    KITH_CHECK_EQ(kith__write_bytes(&w, "xyz", 3), 0);
    KITH_CHECK_EQ(kith__write_zeros(&w, 2), 0);
    r = kith__reader(bytes, kith__writer_size(&w));
    KITH_CHECK(kith__read_u8(&r, &u8) == 0 && u8 == 1);
    KITH_CHECK(kith__read_u16(&r, &u16) == 0 && u16 == 0x0203);
    KITH_CHECK(kith__read_u32(&r, &u32) == 0 && u32 == 0x04050607);
    KITH_CHECK(kith__read_u64(&r, &u64) == 0 && u64 == UINT64_C(0x08090a0b0c0d0e0f));
    KITH_CHECK(kith__read_varint(&r, &number) == 0 && number == 70000);
    KITH_CHECK(kith__read_varint(&r, &number) == 0 && number == 5);
    KITH_CHECK(kith__read_varint_slice(&r, &slice) == 0 && slice.size == 3);
    KITH_CHECK_BYTES(slice.ptr, "abc", 3);
    KITH_CHECK_EQ(kith__read_bytes(&r, copy, 3), 0);
    KITH_CHECK_BYTES(copy, "xyz", 3);
    KITH_CHECK_EQ(kith__read_reader(&r, 1, &inner), 0);
    KITH_CHECK_EQ(kith__reader_left(&inner), 1);
    KITH_CHECK_EQ(kith__read_skip(&r, 1), 0);
    KITH_CHECK_EQ(kith__reader_left(&r), 0);
}

KITH_TEST(cursor_stays_where_it_was_at_the_end)
{
    uint8_t bytes[3] = { 0x80, 0, 0 }, byte = 9;
    struct kith_reader r = kith__reader(bytes, 3), empty = kith__reader(NULL, 0);
    struct kith_writer w = kith__writer(bytes, 1);
    struct kith_slice slice;
    uint32_t u32;
    uint64_t u64;

    KITH_CHECK_EQ(kith__read_u32(&r, &u32), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__read_u64(&r, &u64), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__read_varint(&r, &u64), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__read_varint_slice(&r, &slice), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__read_slice(&r, UINT64_MAX, &slice), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__reader_left(&r), 3);
    KITH_CHECK_EQ(kith__read_u8(&empty, &byte), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__read_varint(&empty, &u64), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__read_slice(&empty, 0, &slice), 0);
    KITH_CHECK_EQ(byte, 9);
    KITH_CHECK_EQ(kith__write_u16(&w, 1), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__write_varint(&w, 64), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__write_varint_slice(&w, (struct kith_slice) { bytes, 1 }), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__write_zeros(&w, 2), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__writer_size(&w), 0);
    KITH_CHECK_EQ(kith__write_u8(&w, 7), 0);
    KITH_CHECK_EQ(kith__write_u8(&w, 7), KITH_ERR_TOO_LARGE);
}
