/* Wire forms of chunk sets: every row of spec/05, 3.3, and what is refused. */
#include "base/mem.h"
#include "base/test.h"
#include "blobs/chunk_set.h"
#include <string.h>

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t size = 0;

    for (; hex[0] != 0; hex += 2) {
        unsigned byte = 0;

        for (int i = 0; i < 2; i++)
            byte = byte * 16 + (unsigned)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
        out[size++] = (uint8_t)byte;
    }
    return size;
}

static int decode_set(const char *hex, struct kith_chunk_set *set)
{
    uint8_t bytes[256];
    struct kith_reader r = kith__reader(bytes, from_hex(hex, bytes));

    kith__chunk_set_init(set, kith_mem_default());
    return kith__chunk_set_decode(&r, set);
}

KITH_TEST(chunk_sets_have_the_bytes_of_the_reference)
{
    static const struct {
        const char *hex;
        size_t count;
        uint64_t bounds[4];
    } rows[] = {
        { "00", 0, { 0 } },
        { "0100", 1, { 0 } },
        { "0140", 1, { 64 } },
        { "01904e", 1, { 10000 } },
        { "020040", 2, { 0, 64 } },
        { "0401020604", 4, { 1, 3, 9, 13 } },
        { "01ffffffffffffffffff01", 1, { UINT64_MAX } },
    };

    for (size_t i = 0; i < KITH_COUNT(rows); i++) {
        struct kith_chunk_set set;
        struct kith_buf out;
        uint8_t expected[64];
        size_t size = from_hex(rows[i].hex, expected);

        KITH_CHECK_EQ(decode_set(rows[i].hex, &set), 0);
        KITH_CHECK_EQ(set.count, rows[i].count);
        for (size_t j = 0; j < set.count; j++)
            KITH_CHECK_EQ(set.bounds[j], rows[i].bounds[j]);
        kith__buf_init(&out, kith_mem_default());
        KITH_CHECK_EQ(kith__chunk_set_encode(&set, &out), 0);
        KITH_CHECK_EQ(out.size, size);
        KITH_CHECK_BYTES(out.ptr, expected, size);
        kith__buf_dispose(&out);
        kith__chunk_set_dispose(&set);
    }
}

KITH_TEST(chunk_sets_that_are_not_canonical_are_refused)
{
    static const struct {
        const char *hex;
        int err;
    } rows[] = {
        { "020000", KITH_ERR_PARSE },                   /* a span of width 0 */
        { "0205ffffffffffffffffff01", KITH_ERR_PARSE }, /* 5 + 2^64-1 */
        { "0201", KITH_ERR_TRUNCATED },                 /* one width is missing */
        { "ffffffffffffffffff01", KITH_ERR_TRUNCATED }, /* a count that cannot be there */
        { "", KITH_ERR_TRUNCATED },
    };

    for (size_t i = 0; i < KITH_COUNT(rows); i++) {
        struct kith_chunk_set set;

        KITH_CHECK_EQ(decode_set(rows[i].hex, &set), rows[i].err);
        kith__chunk_set_dispose(&set);
    }
}

KITH_TEST(membership_follows_the_boundaries)
{
    struct kith_chunk_set set;

    KITH_CHECK_EQ(decode_set("0401020604", &set), 0); /* 1..3, 9..13 */
    KITH_CHECK(!kith__chunk_set_intersects(&set, 0, 1));
    KITH_CHECK(kith__chunk_set_intersects(&set, 0, 2));
    KITH_CHECK(!kith__chunk_set_intersects(&set, 3, 9));
    KITH_CHECK(kith__chunk_set_intersects(&set, 3, 10));
    KITH_CHECK(kith__chunk_set_covers(&set, 1, 3));
    KITH_CHECK(!kith__chunk_set_covers(&set, 1, 4));
    KITH_CHECK(!kith__chunk_set_covers(&set, 0, 2));
    KITH_CHECK(kith__chunk_set_covers(&set, 9, 13));
    kith__chunk_set_dispose(&set);
}

static const struct {
    const char *hex;
    size_t count;
    bool is_blob;
} seq_rows[] = {
    { "00", 0, false },
    { "01000100", 1, false },
    { "020001000100", 2, true },
    { "020001a0020100", 2, true },
    { "03000201020102070601"
      "00",
      3, false },
    { "0203010701"
      "0100",
      2, false },
    { "020001000101ffffffffffffffffff01", 2, false },
    { "020201000100", 2, false },
};

KITH_TEST(chunk_sequences_have_the_bytes_of_the_reference)
{
    for (size_t i = 0; i < KITH_COUNT(seq_rows); i++) {
        uint8_t bytes[64];
        size_t size = from_hex(seq_rows[i].hex, bytes);
        struct kith_reader r = kith__reader(bytes, size);
        struct kith_chunk_seq seq, again;
        struct kith_buf out;

        kith__chunk_seq_init(&seq, kith_mem_default());
        KITH_CHECK_EQ(kith__chunk_seq_decode(&r, &seq), 0);
        KITH_CHECK_EQ(kith__reader_left(&r), 0);
        KITH_CHECK_EQ(seq.count, seq_rows[i].count);
        KITH_CHECK_EQ(kith__chunk_seq_is_blob(&seq), seq_rows[i].is_blob);
        kith__chunk_seq_init(&again, kith_mem_default());
        for (size_t j = 0; j < seq.count; j++)
            KITH_CHECK_EQ(kith__chunk_seq_append(&again, seq.entries[j].offset, &seq.entries[j].set), 0);
        kith__buf_init(&out, kith_mem_default());
        KITH_CHECK_EQ(kith__chunk_seq_encode(&again, &out), 0);
        KITH_CHECK_EQ(out.size, size);
        KITH_CHECK_BYTES(out.ptr, bytes, size);
        kith__buf_dispose(&out);
        kith__chunk_seq_dispose(&seq);
        kith__chunk_seq_dispose(&again);
    }
}

KITH_TEST(chunk_sequences_that_are_not_canonical_are_refused)
{
    static const char *rows[] = {
        "0100"
        "00", /* an empty first set */
        "020001000001"
        "00",             /* an offset that repeats */
        "02000100010100", /* a repeated set */
        "02050100ffffffffffffffffff01"
        "00", /* 5 + 2^64-1 */
    };

    for (size_t i = 0; i < KITH_COUNT(rows); i++) {
        uint8_t bytes[64];
        struct kith_reader r = kith__reader(bytes, from_hex(rows[i], bytes));
        struct kith_chunk_seq seq;

        kith__chunk_seq_init(&seq, kith_mem_default());
        KITH_CHECK_EQ(kith__chunk_seq_decode(&r, &seq), KITH_ERR_PARSE);
        kith__chunk_seq_dispose(&seq);
    }
}

KITH_TEST(the_last_entry_of_a_sequence_repeats)
{
    uint8_t bytes[64];
    struct kith_reader r = kith__reader(bytes,
                                        from_hex("02030107010100", bytes)); /* none, none, none, [7..], [0..] ... */
    struct kith_chunk_seq seq;

    kith__chunk_seq_init(&seq, kith_mem_default());
    KITH_CHECK_EQ(kith__chunk_seq_decode(&r, &seq), 0);
    KITH_CHECK(kith__chunk_seq_at(&seq, 2) == NULL);
    KITH_CHECK_EQ(kith__chunk_seq_at(&seq, 3)->bounds[0], 7);
    KITH_CHECK_EQ(kith__chunk_seq_at(&seq, 1000000)->bounds[0], 0);
    KITH_CHECK_EQ(kith__chunk_seq_next(&seq, 0), 3);
    KITH_CHECK_EQ(kith__chunk_seq_next(&seq, 77), 77);
    kith__chunk_seq_dispose(&seq);
}
