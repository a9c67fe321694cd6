#include "quic/host/blocks.h"

#include "base/assert.h"
#include "base/mem.h"

void kith__blocks_init(struct kith_blocks *blocks, const struct kith_mem *mem)
{
    *blocks = (struct kith_blocks) { .mem = mem };
}

static void *pop(struct kith_blocks *blocks)
{
    void *block = blocks->first;

    KITH_ASSERT(blocks->count > 0);
    memcpy(&blocks->first, block, sizeof blocks->first);
    blocks->count--;
    return block;
}

void kith__blocks_dispose(struct kith_blocks *blocks)
{
    while (blocks->count > 0)
        kith__free(blocks->mem, pop(blocks));
    blocks->low = 0;
}

void *kith__blocks_take(struct kith_blocks *blocks)
{
    void *block;

    if (blocks->count == 0)
        return kith__alloc(blocks->mem, KITH_BLOCKS_SIZE);
    block = pop(blocks);
    blocks->low = KITH_MIN(blocks->low, blocks->count);
    return block;
}

void kith__blocks_give(struct kith_blocks *blocks, void *block)
{
    if (blocks->count == KITH_BLOCKS_KEPT_MAX) {
        kith__free(blocks->mem, block);
        return;
    }
    memcpy(block, &blocks->first, sizeof blocks->first);
    blocks->first = block;
    blocks->count++;
}

void kith__blocks_age(struct kith_blocks *blocks, uint64_t now_ns)
{
    if (now_ns - blocks->since_ns < KITH_BLOCKS_KEEP_NS)
        return;
    for (; blocks->low > 0; blocks->low--)
        kith__free(blocks->mem, pop(blocks));
    blocks->low = blocks->count;
    blocks->since_ns = now_ns;
}
