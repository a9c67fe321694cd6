/* A ring of short answers: see replies.h. */
#include "quic/host/replies.h"

#include "base/assert.h"
#include "base/mem.h"

struct kith_reply *kith__replies_slot(struct kith_replies *replies, const struct kith_mem *mem)
{
    struct kith_reply *slot;

    if (replies->slots == NULL)
        replies->slots = kith__alloc_array(mem, KITH_REPLIES_MAX, sizeof *replies->slots);
    if (replies->slots == NULL || replies->count == KITH_REPLIES_MAX)
        return NULL;
    slot = &replies->slots[(replies->first + replies->count) % KITH_REPLIES_MAX];
    slot->size = 0;
    return slot;
}

void kith__replies_push(struct kith_replies *replies)
{
    KITH_ASSERT(replies->count < KITH_REPLIES_MAX);
    KITH_ASSERT(replies->slots[(replies->first + replies->count) % KITH_REPLIES_MAX].size != 0);
    replies->count++;
}

const struct kith_reply *kith__replies_pop(struct kith_replies *replies)
{
    const struct kith_reply *slot;

    if (replies->count == 0)
        return NULL;
    slot = &replies->slots[replies->first];
    replies->first = (replies->first + 1) % KITH_REPLIES_MAX;
    replies->count--;
    return slot;
}

void kith__replies_dispose(struct kith_replies *replies, const struct kith_mem *mem)
{
    kith__free(mem, replies->slots);
    *replies = (struct kith_replies) { 0 };
}
