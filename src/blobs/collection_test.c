/* Collections: the reference's bytes; names that must not become paths. */
#include "base/mem.h"
#include "base/test.h"
#include "blobs/collection.h"
#include "blobs/request.h"
#include <string.h>

static struct kith_slice text(const char *s)
{
    return (struct kith_slice) { (const uint8_t *)s, strlen(s) };
}

KITH_TEST(metadata_has_the_bytes_of_the_reference)
{
    static const uint8_t expected[] = "CollectionV0.\x02\x05"
                                      "a.txt"
                                      "\x09"
                                      "dir/b.bin";
    struct kith_collection collection;
    struct kith_buf out;

    kith__buf_init(&out, kith_mem_default());
    KITH_CHECK_EQ(kith__collection_begin(&out, 2), 0);
    KITH_CHECK_EQ(kith__collection_append_name(&out, text("a.txt")), 0);
    KITH_CHECK_EQ(kith__collection_append_name(&out, text("dir/b.bin")), 0);
    KITH_CHECK_EQ(out.size, sizeof expected - 1);
    KITH_CHECK_BYTES(out.ptr, expected, out.size);
    kith__collection_init(&collection, kith_mem_default());
    KITH_CHECK_EQ(kith__collection_decode(kith__buf_slice(&out), &collection), 0);
    KITH_CHECK_EQ(collection.count, 2);
    KITH_CHECK_BYTES(collection.names[1].ptr, "dir/b.bin", 9);
    kith__collection_dispose(&collection);
    for (size_t cut = 0; cut < out.size; cut++) {
        struct kith_slice part = { out.ptr, cut };

        KITH_CHECK_NE(kith__collection_decode(part, &collection), 0);
        kith__collection_dispose(&collection);
    }
    out.ptr[0] = 'D';
    KITH_CHECK_EQ(kith__collection_decode(kith__buf_slice(&out), &collection), KITH_ERR_PARSE);
    kith__collection_dispose(&collection);
    kith__buf_dispose(&out);
}

KITH_TEST(names_that_leave_the_directory_are_refused)
{
    static const char *bad[] = { "",
                                 "/etc/passwd",
                                 "../x",
                                 "a/../b",
                                 "a/..",
                                 ".",
                                 "./a",
                                 "a//b",
                                 "a/",
                                 "a\\b",
                                 "C:x",
                                 "c:/x",
                                 "a\nb",
                                 "\x7f",
                                 "a/\x1b[31m",
                                 "a\xc2\x80",
                                 ("\xc2\x9b" /* in parentheses: two pieces, or 3 would belong to the number */
                                  "31m"),
                                 "\xff\xfe",
                                 "\xc0\xae\xc0\xae/x" };
    static const char *good[] = { "a",
                                  "a.txt",
                                  "dir/b.bin",
                                  "...",
                                  "..a",
                                  "a..",
                                  "\xc3\xbc"
                                  "ber/gr\xc3\xb6\xc3\x9f"
                                  "e",
                                  "a b/c d",
                                  "ab:c",
                                  "\xc2\xa0", /* the first beyond the control characters */
                                  ("\xd7\x90\xe2\x80\x8f"
                                   "b") /* marks of direction belong to some languages; they are not shown */ };

    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK(kith__collection_name_problem(text(bad[i])) != NULL);
    for (size_t i = 0; i < KITH_COUNT(good); i++)
        KITH_CHECK(kith__collection_name_problem(text(good[i])) == NULL);
    KITH_CHECK(kith__collection_name_problem((struct kith_slice) { (const uint8_t *)"a\0b", 3 }) != NULL);
}

KITH_TEST(names_of_more_than_255_components_are_refused)
{
    char name[2 * 256];

    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 2 == 0 ? 'a' : '/';
    KITH_CHECK(kith__collection_name_problem((struct kith_slice) { (uint8_t *)name, 2 * 255 - 1 }) == NULL);
    KITH_CHECK(kith__collection_name_problem((struct kith_slice) { (uint8_t *)name, 2 * 256 - 1 }) != NULL);
}

KITH_TEST(requests_have_the_bytes_of_the_reference)
{
    static const uint8_t tail[] = { 2, 0, 1, 0, 1, 0 };
    struct kith_hash root = { { 0xdd, 1, 2, 3 } };
    struct kith_request request, again;
    struct kith_chunk_set set;
    struct kith_buf out;

    kith__request_init(&request, kith_mem_default());
    kith__chunk_set_init(&set, kith_mem_default());
    kith__buf_init(&out, kith_mem_default());
    KITH_CHECK_EQ(kith__request_make_get(&request, &root), 0);
    KITH_CHECK_EQ(kith__chunk_set_all(&set), 0);
    KITH_CHECK_EQ(kith__chunk_seq_append(&request.ranges, 0, &set), 0);
    set.count = 0;
    KITH_CHECK_EQ(kith__chunk_seq_append(&request.ranges, 1, &set), 0);
    KITH_CHECK_EQ(kith__request_encode(&request, &out), 0);
    KITH_CHECK_EQ(out.size, 39);
    KITH_CHECK_EQ(out.ptr[0], 0);
    KITH_CHECK_BYTES(out.ptr + 1, root.bytes, 32);
    KITH_CHECK_BYTES(out.ptr + 33, tail, sizeof tail);

    kith__request_init(&again, kith_mem_default());
    KITH_CHECK_EQ(kith__request_decode(kith__buf_slice(&out), &again), 0);
    KITH_CHECK(kith__chunk_seq_is_blob(&again.ranges));
    kith__request_dispose(&again);
    for (size_t cut = 0; cut < out.size; cut++) {
        KITH_CHECK_NE(kith__request_decode((struct kith_slice) { out.ptr, cut }, &again), 0);
        kith__request_dispose(&again);
    }
    KITH_CHECK_EQ(kith__buf_append_byte(&out, 0), 0);
    KITH_CHECK_EQ(kith__request_decode(kith__buf_slice(&out), &again), KITH_ERR_PARSE);
    kith__request_dispose(&again);
    for (int type = 0; type < 256; type++) {
        out.ptr[0] = (uint8_t)type;
        if (type != KITH_REQUEST_GET && type != KITH_REQUEST_GET_MANY)
            KITH_CHECK_EQ(kith__request_decode(kith__buf_slice(&out), &again), KITH_ERR_UNSUPPORTED);
        kith__request_dispose(&again);
    }
    kith__chunk_set_dispose(&set);
    kith__request_dispose(&request);
    kith__buf_dispose(&out);
}
