#include "quic/stream/stream_order.h"

#include "base/mem.h"
#include "base/test.h"

KITH_TEST(stream_order_equal_priorities_take_turns)
{
    struct kith_stream_order order;
    struct kith_stream_order_node nodes[3];

    kith__stream_order_init(&order, kith_mem_default());
    KITH_CHECK(kith__stream_order_first(&order) == NULL);
    KITH_CHECK_EQ(kith__stream_order_reserve(&order, 3), 0);
    for (int i = 0; i < 3; i++) {
        kith__stream_order_node_init(&nodes[i], 0);
        kith__stream_order_add(&order, &nodes[i]);
        kith__stream_order_add(&order, &nodes[i]); /* twice is once */
    }
    for (int i = 0; i < 9; i++) {
        KITH_CHECK(kith__stream_order_first(&order) == &nodes[i % 3]);
        kith__stream_order_rotate(&order, &nodes[i % 3]);
    }
    kith__stream_order_remove(&order, &nodes[1]);
    kith__stream_order_remove(&order, &nodes[1]);
    kith__stream_order_rotate(&order, &nodes[0]);
    KITH_CHECK(kith__stream_order_first(&order) == &nodes[2]);
    kith__stream_order_dispose(&order);
}

KITH_TEST(stream_order_higher_priority_goes_first)
{
    static const int32_t priorities[] = { 0, INT32_MIN, INT32_MAX, -1, 5 };
    static const int expect[] = { 2, 4, 0, 3, 1 };
    struct kith_stream_order order;
    struct kith_stream_order_node nodes[5];

    kith__stream_order_init(&order, kith_mem_default());
    KITH_CHECK_EQ(kith__stream_order_reserve(&order, 5), 0);
    for (int i = 0; i < 5; i++) {
        kith__stream_order_node_init(&nodes[i], priorities[i]);
        kith__stream_order_add(&order, &nodes[i]);
    }
    for (int i = 0; i < 5; i++) {
        KITH_CHECK(kith__stream_order_first(&order) == &nodes[expect[i]]);
        kith__stream_order_remove(&order, &nodes[expect[i]]);
    }
    kith__stream_order_dispose(&order);
}

KITH_TEST(stream_order_a_changed_priority_counts_at_once)
{
    struct kith_stream_order order;
    struct kith_stream_order_node nodes[2], outside;

    kith__stream_order_init(&order, kith_mem_default());
    KITH_CHECK_EQ(kith__stream_order_reserve(&order, 2), 0);
    for (int i = 0; i < 2; i++) {
        kith__stream_order_node_init(&nodes[i], 0);
        kith__stream_order_add(&order, &nodes[i]);
    }
    kith__stream_order_set_priority(&order, &nodes[1], 1);
    KITH_CHECK(kith__stream_order_first(&order) == &nodes[1]);
    kith__stream_order_node_init(&outside, 0);
    kith__stream_order_set_priority(&order, &outside, 9); /* is not queued by that */
    KITH_CHECK(kith__stream_order_first(&order) == &nodes[1]);
    kith__stream_order_dispose(&order);
}

KITH_TEST(stream_order_reserve_fails_cleanly)
{
    struct kith_test_mem tm;
    struct kith_stream_order order;

    kith__test_mem_init(&tm, 1);
    kith__stream_order_init(&order, &tm.mem);
    KITH_CHECK_EQ(kith__stream_order_reserve(&order, 100), KITH_ERR_NOMEM);
    kith__stream_order_dispose(&order);
    KITH_CHECK_EQ(tm.live, 0);
}
