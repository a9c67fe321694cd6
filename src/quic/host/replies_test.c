#include "quic/host/replies.h"

#include "base/test.h"

KITH_TEST(replies_leave_in_order_and_stop_at_the_maximum)
{
    struct kith_replies replies = { 0 };
    struct kith_test_mem mem;

    kith__test_mem_init(&mem, 0);
    for (size_t i = 0; i < KITH_REPLIES_MAX; i++) {
        struct kith_reply *slot = kith__replies_slot(&replies, &mem.mem);

        KITH_CHECK(slot != NULL);
        slot->size = i + 1;
        kith__replies_push(&replies);
    }
    KITH_CHECK(kith__replies_slot(&replies, &mem.mem) == NULL);
    for (size_t i = 0; i < KITH_REPLIES_MAX; i++)
        KITH_CHECK_EQ(kith__replies_pop(&replies)->size, i + 1);
    KITH_CHECK(kith__replies_pop(&replies) == NULL);
    kith__replies_dispose(&replies, &mem.mem);
    KITH_CHECK_EQ(mem.live, 0);
}
