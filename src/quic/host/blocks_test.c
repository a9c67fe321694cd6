#include "quic/host/blocks.h"

#include "base/mem.h"
#include "base/test.h"

struct counter {
    int live;
    bool fails;
};

static void *count_resize(void *ctx, void *ptr, size_t size)
{
    const struct kith_mem *base = kith_mem_default();
    struct counter *counter = ctx;

    if (size != 0 && counter->fails)
        return NULL;
    counter->live += (ptr == NULL) - (size == 0);
    return base->resize(base->ctx, ptr, size);
}

KITH_TEST(blocks_given_back_are_taken_again_newest_first)
{
    struct counter counter = { 0 };
    struct kith_mem mem = { count_resize, &counter };
    struct kith_blocks blocks;
    void *a, *b;

    kith__blocks_init(&blocks, &mem);
    a = kith__blocks_take(&blocks);
    b = kith__blocks_take(&blocks);
    kith__blocks_give(&blocks, a);
    kith__blocks_give(&blocks, b);
    counter.fails = true; /* kept ones need no memory */
    KITH_CHECK(kith__blocks_take(&blocks) == b);
    KITH_CHECK(kith__blocks_take(&blocks) == a);
    KITH_CHECK(kith__blocks_take(&blocks) == NULL);
    kith__blocks_give(&blocks, a);
    kith__blocks_give(&blocks, b);
    kith__blocks_dispose(&blocks);
    kith__blocks_dispose(&blocks);
    KITH_CHECK_EQ(counter.live, 0);
}

KITH_TEST(blocks_kept_have_a_maximum)
{
    struct counter counter = { 0 };
    struct kith_mem mem = { count_resize, &counter };
    struct kith_blocks blocks;
    void *taken[KITH_BLOCKS_KEPT_MAX + 3];

    kith__blocks_init(&blocks, &mem);
    for (size_t i = 0; i < KITH_COUNT(taken); i++)
        taken[i] = kith__blocks_take(&blocks);
    for (size_t i = 0; i < KITH_COUNT(taken); i++)
        kith__blocks_give(&blocks, taken[i]);
    KITH_CHECK_EQ(counter.live, KITH_BLOCKS_KEPT_MAX);
    kith__blocks_dispose(&blocks);
    KITH_CHECK_EQ(counter.live, 0);
}

KITH_TEST(blocks_not_needed_for_a_while_go_back)
{
    struct counter counter = { 0 };
    struct kith_mem mem = { count_resize, &counter };
    struct kith_blocks blocks;
    void *taken[4];
    uint64_t now = KITH_BLOCKS_KEEP_NS;

    kith__blocks_init(&blocks, &mem);
    for (size_t i = 0; i < KITH_COUNT(taken); i++)
        taken[i] = kith__blocks_take(&blocks);
    for (size_t i = 0; i < KITH_COUNT(taken); i++)
        kith__blocks_give(&blocks, taken[i]);
    kith__blocks_age(&blocks, now); /* the first period begins with what is there now */
    KITH_CHECK_EQ(counter.live, 4);
    kith__blocks_give(&blocks, kith__blocks_take(&blocks)); /* one of four is in use */
    kith__blocks_age(&blocks, now + KITH_BLOCKS_KEEP_NS - 1);
    KITH_CHECK_EQ(counter.live, 4);
    kith__blocks_age(&blocks, now + KITH_BLOCKS_KEEP_NS);
    KITH_CHECK_EQ(counter.live, 1);
    kith__blocks_age(&blocks, now + 2 * KITH_BLOCKS_KEEP_NS);
    KITH_CHECK_EQ(counter.live, 0);
    kith__blocks_dispose(&blocks);
}
