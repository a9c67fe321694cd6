#include "base/mem.h"
#include "base/test.h"
#include "codec/postcard.h"

KITH_TEST(postcard_numbers_have_the_form_of_the_specification)
{
    static const struct {
        uint64_t value;
        const char *bytes;
        size_t size;
    } cases[] = {
        { 0, "\x00", 1 },
        { 127, "\x7f", 1 },
        { 128, "\x80\x01", 2 },
        { 1234, "\xd2\x09", 2 },
        { 65535, "\xff\xff\x03", 3 },
        { UINT32_MAX, "\xff\xff\xff\xff\x0f", 5 },
        { UINT64_MAX, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_reader r = kith__reader((const uint8_t *)cases[i].bytes, cases[i].size);
        struct kith_reader cut = kith__reader((const uint8_t *)cases[i].bytes, cases[i].size - 1);
        uint8_t bytes[KITH_POSTCARD_VARINT_SIZE_MAX];
        uint64_t value = 1;

        KITH_CHECK_EQ(kith__postcard_encode(cases[i].value, bytes), cases[i].size);
        KITH_CHECK_BYTES(bytes, cases[i].bytes, cases[i].size);
        KITH_CHECK_EQ(kith__postcard_read_u64(&r, &value), 0);
        KITH_CHECK_EQ(value, cases[i].value);
        KITH_CHECK_EQ(kith__reader_left(&r), 0);
        KITH_CHECK_EQ(kith__postcard_read_u64(&cut, &value), KITH_ERR_TRUNCATED);
    }
}

static struct kith_reader reader_of(const char *bytes, size_t size)
{
    return kith__reader((const uint8_t *)bytes, size);
}

KITH_TEST(postcard_numbers_beyond_their_type_are_refused)
{
    struct kith_reader r;
    uint16_t u16 = 7;
    uint32_t u32 = 7;
    uint64_t u64 = 7;

    r = reader_of("\xff\xff\x03", 3);
    KITH_CHECK(kith__postcard_read_u16(&r, &u16) == 0 && u16 == 65535);
    r = reader_of("\x80\x80\x04", 3);
    KITH_CHECK_EQ(kith__postcard_read_u16(&r, &u16), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__reader_left(&r), 3);
    r = reader_of("\x80\x80\x80\x00", 4);
    KITH_CHECK_EQ(kith__postcard_read_u16(&r, &u16), KITH_ERR_PARSE);
    KITH_CHECK_EQ(u16, 65535);
    r = reader_of("\xff\xff\xff\xff\x10", 5);
    KITH_CHECK_EQ(kith__postcard_read_u32(&r, &u32), KITH_ERR_PARSE);
    r = reader_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);
    KITH_CHECK_EQ(kith__postcard_read_u64(&r, &u64), KITH_ERR_PARSE);
    r = reader_of("\x81\x00", 2); /* longer than necessary */
    KITH_CHECK(kith__postcard_read_u16(&r, &u16) == 0 && u16 == 1);
}

KITH_TEST(postcard_zigzag_comes_back)
{
    static const int64_t values[] = { 0, -1, 1, -64, 64, INT64_MAX, INT64_MIN };

    for (size_t i = 0; i < KITH_COUNT(values); i++) {
        struct kith_buf buf;
        struct kith_reader r;
        int64_t value = 5;

        kith__buf_init(&buf, kith_mem_default());
        KITH_CHECK_EQ(kith__postcard_write_i64(&buf, values[i]), 0);
        KITH_CHECK(i > 2 || buf.ptr[0] == i); /* 0, -1, 1 become 0, 1, 2 */
        r = kith__reader_of_slice(kith__buf_slice(&buf));
        KITH_CHECK_EQ(kith__postcard_read_i64(&r, &value), 0);
        KITH_CHECK(value == values[i]);
        kith__buf_dispose(&buf);
    }
}

KITH_TEST(postcard_tags_and_variants_are_bounded)
{
    struct kith_reader r = reader_of("\x00\x01\x02", 3);
    bool yes = true;
    uint32_t variant = 9;

    KITH_CHECK(kith__postcard_read_bool(&r, &yes) == 0 && !yes);
    KITH_CHECK(kith__postcard_read_bool(&r, &yes) == 0 && yes);
    KITH_CHECK_EQ(kith__postcard_read_bool(&r, &yes), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__postcard_read_variant(&r, 2, &variant), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__reader_left(&r), 1);
    KITH_CHECK(kith__postcard_read_variant(&r, 3, &variant) == 0 && variant == 2);
    KITH_CHECK_EQ(kith__postcard_read_bool(&r, &yes), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__postcard_read_variant(&r, 3, &variant), KITH_ERR_TRUNCATED);
}

KITH_TEST(postcard_lengths_beyond_the_data_are_refused)
{
    struct kith_reader r = reader_of("\x03"
                                     "abc"
                                     "\x04"
                                     "abc",
                                     8);
    struct kith_slice slice = { NULL, 77 };
    size_t count = 77;

    KITH_CHECK(kith__postcard_read_string(&r, &slice) == 0 && slice.size == 3);
    KITH_CHECK_EQ(kith__postcard_read_slice(&r, &slice), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__postcard_read_string(&r, &slice), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__reader_left(&r), 4);
    r = reader_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
    KITH_CHECK_EQ(kith__postcard_read_slice(&r, &slice), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__postcard_read_count(&r, 1, &count), KITH_ERR_TRUNCATED);
    r = reader_of("\x02"
                  "abcdef",
                  7);
    KITH_CHECK_EQ(kith__postcard_read_count(&r, 4, &count), KITH_ERR_TRUNCATED);
    KITH_CHECK(kith__postcard_read_count(&r, 3, &count) == 0 && count == 2);
    r = reader_of("\x02\xc0\x80", 3);
    KITH_CHECK_EQ(kith__postcard_read_string(&r, &slice), KITH_ERR_PARSE);
    KITH_CHECK_EQ(slice.size, 3);
}

KITH_TEST(utf8_is_checked_strictly)
{
    static const char *const good[] = {
        "", "a", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"
    };
    static const char *const bad[] = { "\x80",
                                       "\xc0\xaf",
                                       "\xc1\xbf",
                                       "\xc2",
                                       "\xc2\x61",
                                       "\xe0\x9f\xbf",
                                       "\xe2\x82",
                                       "\xed\xa0\x80",
                                       "\xf0\x8f\xbf\xbf",
                                       "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xff",
                                       "a\xf0\x90\x80" };

    for (size_t i = 0; i < KITH_COUNT(good); i++)
        KITH_CHECK(kith__utf8_is_valid((const uint8_t *)good[i], strlen(good[i])));
    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK(!kith__utf8_is_valid((const uint8_t *)bad[i], strlen(bad[i])));
}

KITH_TEST(postcard_writer_without_memory_leaves_the_buffer_as_it_was)
{
    struct kith_test_mem mem;
    struct kith_buf buf;
    uint8_t bytes[100] = { 0 };

    kith__test_mem_init(&mem, 2);
    kith__buf_init(&buf, &mem.mem);
    KITH_CHECK_EQ(kith__postcard_write_bool(&buf, true), 0);
    KITH_CHECK_EQ(kith__postcard_write_slice(&buf, (struct kith_slice) { bytes, sizeof bytes }), KITH_ERR_NOMEM);
    KITH_CHECK_EQ(buf.size, 1);
    KITH_CHECK_EQ(kith__postcard_write_slice(&buf, (struct kith_slice) { bytes, sizeof bytes }), 0);
    KITH_CHECK_EQ(buf.size, 102);
    kith__buf_dispose(&buf);
    KITH_CHECK_EQ(mem.live, 0);
}
