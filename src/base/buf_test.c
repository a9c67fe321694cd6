#include "base/buf.h"
#include "base/mem.h"
#include "base/test.h"

KITH_TEST(buf_appends_consumes_and_is_taken)
{
    struct kith_buf buf, taken;

    kith__buf_init(&buf, kith_mem_default());
    KITH_CHECK_EQ(kith__buf_append(&buf, NULL, 0), 0);
    KITH_CHECK(buf.ptr == NULL);
    for (int i = 0; i < 1000; i++)
        KITH_CHECK_EQ(kith__buf_append_byte(&buf, (uint8_t)i), 0);
    KITH_CHECK_EQ(kith__buf_append(&buf, "end", 3), 0);
    KITH_CHECK_EQ(buf.size, 1003);
    kith__buf_consume(&buf, 998);
    KITH_CHECK_BYTES(buf.ptr,
                     "\xe6\xe7"
                     "end",
                     5);
    taken = kith__buf_take(&buf);
    KITH_CHECK_EQ(buf.size, 0);
    KITH_CHECK_EQ(kith__buf_append(&buf, "x", 1), 0);
    KITH_CHECK_EQ(kith__buf_slice(&taken).size, 5);
    kith__buf_dispose(&taken);
    kith__buf_dispose(&buf);
    KITH_CHECK(buf.ptr == NULL && buf.mem == kith_mem_default());
}

KITH_TEST(buf_without_memory_stays_as_it_was)
{
    struct kith_test_mem mem;
    struct kith_buf buf;

    kith__test_mem_init(&mem, 2);
    kith__buf_init(&buf, &mem.mem);
    KITH_CHECK_EQ(kith__buf_append(&buf, "abc", 3), 0);
    KITH_CHECK_EQ(kith__buf_reserve(&buf, 1000), KITH_ERR_NOMEM);
    KITH_CHECK_EQ(kith__buf_reserve(&buf, SIZE_MAX - 1), KITH_ERR_NOMEM);
    KITH_CHECK_EQ(buf.size, 3);
    KITH_CHECK_BYTES(buf.ptr, "abc", 3);
    kith__buf_dispose(&buf);
    KITH_CHECK_EQ(mem.live, 0);
}
