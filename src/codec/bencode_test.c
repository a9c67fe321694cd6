#include "codec/bencode.h"

#include "base/test.h"

static int read_text(const char *text, struct kith_bencode *out)
{
    struct kith_reader r = kith__reader((const uint8_t *)text, strlen(text));

    return kith__bencode_read(&r, out);
}

static bool is_text(struct kith_slice slice, const char *text)
{
    return slice.size == strlen(text) && memcmp(slice.ptr, text, slice.size) == 0;
}

KITH_TEST(bencode_integers_have_one_form)
{
    static const struct {
        const char *text;
        int err;
        int64_t value;
    } cases[] = {
        { "i0e", 0, 0 },
        { "i42e", 0, 42 },
        { "i-42e", 0, -42 },
        { "i9223372036854775807e", 0, INT64_MAX },
        { "i-9223372036854775808e", 0, INT64_MIN },
        { "i9223372036854775808e", KITH_ERR_PARSE, 0 },
        { "i-9223372036854775809e", KITH_ERR_PARSE, 0 },
        { "i99999999999999999999999e", KITH_ERR_PARSE, 0 },
        { "i-0e", KITH_ERR_PARSE, 0 },
        { "i03e", KITH_ERR_PARSE, 0 },
        { "ie", KITH_ERR_PARSE, 0 },
        { "i-e", KITH_ERR_PARSE, 0 },
        { "i1x", KITH_ERR_PARSE, 0 },
        { "i1", KITH_ERR_TRUNCATED, 0 },
        { "i", KITH_ERR_TRUNCATED, 0 },
        { "", KITH_ERR_TRUNCATED, 0 },
        { "x", KITH_ERR_PARSE, 0 },
        { "e", KITH_ERR_PARSE, 0 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_bencode value = { .integer = 7 };

        KITH_CHECK_EQ(read_text(cases[i].text, &value), cases[i].err);
        KITH_CHECK_EQ(value.integer, cases[i].err == 0 ? cases[i].value : 7);
    }
}

KITH_TEST(bencode_strings_may_not_be_longer_than_what_is_there)
{
    struct kith_bencode value;

    KITH_CHECK_EQ(read_text("4:spam", &value), 0);
    KITH_CHECK(value.kind == KITH_BENCODE_BYTES && is_text(value.bytes, "spam"));
    KITH_CHECK_EQ(read_text("0:", &value), 0);
    KITH_CHECK_EQ(value.bytes.size, 0);
    KITH_CHECK_EQ(read_text("5:spam", &value), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(read_text("04:spam", &value), KITH_ERR_PARSE);
    KITH_CHECK_EQ(read_text("4spam", &value), KITH_ERR_PARSE);
    KITH_CHECK_EQ(read_text("18446744073709551617:a", &value), KITH_ERR_PARSE);
    KITH_CHECK_EQ(read_text("9223372036854775807:a", &value), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(read_text("-1:a", &value), KITH_ERR_PARSE);
}

KITH_TEST(bencode_containers_are_stepped_through)
{
    struct kith_reader r = kith__reader((const uint8_t *)"d1:ali1e2:xyl4:deepee1:bi-7ee9:following", 39);
    struct kith_bencode dict, list, item;
    struct kith_reader inside;
    struct kith_slice text;
    int64_t number;

    KITH_CHECK_EQ(kith__bencode_read(&r, &dict), 0);
    KITH_CHECK(is_text(dict.whole, "d1:ali1e2:xyl4:deepee1:bi-7ee"));
    KITH_CHECK(kith__bencode_find(&dict, "a", &list) && list.kind == KITH_BENCODE_LIST);
    KITH_CHECK(kith__bencode_find_integer(&dict, "b", &number) && number == -7);
    KITH_CHECK(!kith__bencode_find_bytes(&dict, "b", &text) && !kith__bencode_find(&dict, "c", &item));
    KITH_CHECK(!kith__bencode_find(&list, "a", &item));
    inside = kith__reader_of_slice(list.bytes);
    KITH_CHECK(kith__bencode_next(&inside, &item) && item.integer == 1);
    KITH_CHECK(kith__bencode_next(&inside, &item) && is_text(item.bytes, "xy"));
    KITH_CHECK(kith__bencode_next(&inside, &item) && is_text(item.whole, "l4:deepe"));
    KITH_CHECK(!kith__bencode_next(&inside, &item));
}

KITH_TEST(bencode_takes_keys_in_any_order_and_the_first_of_equal_ones)
{
    struct kith_bencode dict;
    int64_t number;

    KITH_CHECK_EQ(read_text("d1:zi1e1:ai2e1:ai3ee", &dict), 0);
    KITH_CHECK(kith__bencode_find_integer(&dict, "z", &number) && number == 1);
    KITH_CHECK(kith__bencode_find_integer(&dict, "a", &number) && number == 2);
}

KITH_TEST(bencode_dictionaries_have_pairs)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        { "de", 0 },
        { "le", 0 },
        { "d1:a", KITH_ERR_TRUNCATED },
        { "d1:ae", KITH_ERR_PARSE },
        { "di1ei2ee", KITH_ERR_PARSE },
        { "dlei1ee", KITH_ERR_PARSE },
        { "d1:a1:b1:ce", KITH_ERR_PARSE },
        { "d", KITH_ERR_TRUNCATED },
        { "l", KITH_ERR_TRUNCATED },
        { "d1:ad1:bi1ee", KITH_ERR_TRUNCATED },
        { "ld1:ae1:be", KITH_ERR_PARSE },
        { "d1:al1:bed1:cee", KITH_ERR_PARSE },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_bencode value;

        KITH_CHECK_EQ(read_text(cases[i].text, &value), cases[i].err);
    }
}

KITH_TEST(bencode_is_not_taken_deeper_than_the_limit)
{
    char text[2 * KITH_BENCODE_DEPTH_MAX + 3] = "";
    struct kith_bencode value;

    memset(text, 'l', KITH_BENCODE_DEPTH_MAX);
    memset(text + KITH_BENCODE_DEPTH_MAX, 'e', KITH_BENCODE_DEPTH_MAX);
    KITH_CHECK_EQ(read_text(text, &value), 0);
    memset(text, 'l', KITH_BENCODE_DEPTH_MAX + 1);
    memset(text + KITH_BENCODE_DEPTH_MAX + 1, 'e', KITH_BENCODE_DEPTH_MAX + 1);
    KITH_CHECK_EQ(read_text(text, &value), KITH_ERR_LIMIT);
}

KITH_TEST(bencode_writes_what_it_reads)
{
    static const char wanted[] = "d1:ali-5e3:xyzdee1:bd1:c0:1:di9eee";
    uint8_t bytes[64];
    struct kith_bencode_writer w = kith__bencode_writer(bytes, sizeof bytes);
    size_t size = 0;

    kith__bencode_begin_dict(&w);
    kith__bencode_key(&w, "a");
    kith__bencode_begin_list(&w);
    kith__bencode_put_integer(&w, -5);
    kith__bencode_put_bytes(&w, (struct kith_slice) { (const uint8_t *)"xyz", 3 });
    kith__bencode_put_whole(&w, (struct kith_slice) { (const uint8_t *)"de", 2 });
    kith__bencode_end(&w);
    kith__bencode_key(&w, "b");
    kith__bencode_begin_dict(&w);
    kith__bencode_put_pair_bytes(&w, "c", (struct kith_slice) { NULL, 0 });
    kith__bencode_put_pair_integer(&w, "d", 9);
    kith__bencode_end(&w);
    kith__bencode_end(&w);
    KITH_CHECK_EQ(kith__bencode_finish(&w, &size), 0);
    KITH_CHECK_EQ(size, sizeof wanted - 1);
    KITH_CHECK_BYTES(bytes, wanted, size);
}

KITH_TEST(bencode_writer_says_at_the_end_that_it_had_no_room)
{
    uint8_t bytes[8];
    struct kith_bencode_writer w = kith__bencode_writer(bytes, sizeof bytes);
    size_t size = 0;

    kith__bencode_begin_list(&w);
    kith__bencode_put_bytes(&w, (struct kith_slice) { (const uint8_t *)"0123456789", 10 });
    kith__bencode_end(&w);
    KITH_CHECK_EQ(kith__bencode_finish(&w, &size), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(size, 0);
}
