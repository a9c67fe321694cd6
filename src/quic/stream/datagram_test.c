#include "quic/stream/datagram.h"

#include "base/mem.h"
#include "base/test.h"
#include "quic/wire/codes.h"

static struct kith_slice text(const char *string)
{
    return (struct kith_slice) { (const uint8_t *)string, strlen(string) };
}

KITH_TEST(datagrams_leave_in_order)
{
    struct kith_test_mem tm;
    struct kith_datagram_queue queue;
    struct kith_slice out;

    kith__test_mem_init(&tm, 0);
    kith__datagram_queue_init(&queue, &tm.mem, 1000);
    KITH_CHECK_EQ(kith__datagram_queue_peek(&queue, &out), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith__datagram_queue_push(&queue, text("one"), false), 0);
    KITH_CHECK_EQ(kith__datagram_queue_push(&queue, text(""), false), 0);
    KITH_CHECK_EQ(queue.size, 3 + 2 * KITH_DATAGRAM_OVERHEAD);
    KITH_CHECK_EQ(kith__datagram_queue_peek(&queue, &out), 0);
    KITH_CHECK_EQ(out.size, 3);
    KITH_CHECK_BYTES(out.ptr, "one", 3);
    KITH_CHECK(!kith__datagram_queue_pop(&queue));
    KITH_CHECK_EQ(kith__datagram_queue_peek(&queue, &out), 0);
    KITH_CHECK_EQ(out.size, 0);
    kith__datagram_queue_dispose(&queue);
    KITH_CHECK_EQ(tm.live, 0);
}

KITH_TEST(datagrams_that_are_empty_fill_the_queue_too)
{
    struct kith_datagram_queue queue;
    int pushed = 0;

    kith__datagram_queue_init(&queue, kith_mem_default(), 10 * KITH_DATAGRAM_OVERHEAD);
    while (kith__datagram_queue_push(&queue, text(""), false) == 0)
        pushed++;
    KITH_CHECK_EQ(pushed, 10);
    kith__datagram_queue_dispose(&queue);
}

KITH_TEST(datagram_queue_full_pushes_back_or_drops_the_oldest_counted)
{
    struct kith_datagram_queue queue;
    struct kith_slice out;

    kith__datagram_queue_init(&queue, kith_mem_default(), 2 * (3 + KITH_DATAGRAM_OVERHEAD));
    KITH_CHECK_EQ(kith__datagram_queue_push(&queue, text("one"), false), 0);
    KITH_CHECK_EQ(kith__datagram_queue_push(&queue, text("two"), false), 0);
    KITH_CHECK_EQ(kith__datagram_queue_push(&queue, text("xyz"), false), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith__datagram_queue_push(&queue, text("xyz"), true), 0);
    KITH_CHECK_EQ(queue.dropped, 1);
    KITH_CHECK_EQ(kith__datagram_queue_peek(&queue, &out), 0);
    KITH_CHECK_BYTES(out.ptr, "two", 3);
    KITH_CHECK(kith__datagram_queue_pop(&queue)); /* room is news once */
    KITH_CHECK(!kith__datagram_queue_pop(&queue));
    kith__datagram_queue_dispose(&queue);
}

KITH_TEST(datagram_larger_than_the_queue_is_refused)
{
    struct kith_datagram_queue queue;
    uint8_t bytes[200] = { 0 };
    bool was_empty;

    kith__datagram_queue_init(&queue, kith_mem_default(), 100);
    KITH_CHECK_EQ(kith__datagram_queue_push(&queue, (struct kith_slice) { bytes, 53 }, true), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__datagram_queue_push(&queue, (struct kith_slice) { bytes, 52 }, true), 0);
    KITH_CHECK_EQ(kith__datagram_queue_on_frame(&queue, (struct kith_slice) { bytes, 101 }, &was_empty),
                  KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(kith__datagram_queue_on_frame(&queue, (struct kith_slice) { bytes, 100 }, &was_empty), 0);
    KITH_CHECK_EQ(queue.dropped, 1);
    KITH_CHECK_EQ(queue.count, 1);
    kith__datagram_queue_dispose(&queue);
}

KITH_TEST(datagram_frames_are_refused_when_datagrams_are_off)
{
    struct kith_datagram_queue queue;
    bool was_empty = false;

    kith__datagram_queue_init(&queue, kith_mem_default(), 0);
    KITH_CHECK_EQ(kith__datagram_queue_on_frame(&queue, text(""), &was_empty), KITH_WIRE_PROTOCOL_VIOLATION);
    kith__datagram_queue_init(&queue, kith_mem_default(), 1000);
    KITH_CHECK_EQ(kith__datagram_queue_on_frame(&queue, text("a"), &was_empty), 0);
    KITH_CHECK(was_empty);
    KITH_CHECK_EQ(kith__datagram_queue_on_frame(&queue, text("b"), &was_empty), 0);
    KITH_CHECK(!was_empty);
    kith__datagram_queue_dispose(&queue);
}

KITH_TEST(datagram_queue_without_memory_keeps_what_it_has)
{
    struct kith_test_mem tm;
    struct kith_datagram_queue queue;

    kith__test_mem_init(&tm, 2);
    kith__datagram_queue_init(&queue, &tm.mem, KITH_DATAGRAM_OVERHEAD);
    KITH_CHECK_EQ(kith__datagram_queue_push(&queue, text(""), true), 0);
    KITH_CHECK_EQ(kith__datagram_queue_push(&queue, text(""), true), KITH_ERR_NOMEM);
    KITH_CHECK_EQ(queue.count, 1);
    KITH_CHECK_EQ(queue.dropped, 0);
    kith__datagram_queue_dispose(&queue);
    KITH_CHECK_EQ(tm.live, 0);
}
