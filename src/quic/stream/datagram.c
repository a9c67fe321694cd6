#include "quic/stream/datagram.h"

#include "base/assert.h"
#include "base/mem.h"
#include "quic/wire/codes.h"

struct item {
    struct kith_list node;
    size_t size;
    uint8_t bytes[];
};
_Static_assert(sizeof(struct item) <= KITH_DATAGRAM_OVERHEAD, "the overhead covers the item's header");

void kith__datagram_queue_init(struct kith_datagram_queue *queue, const struct kith_mem *mem, uint64_t size_max)
{
    *queue = (struct kith_datagram_queue) { .mem = mem, .size_max = size_max };
    kith__list_init(&queue->items);
}

static struct item *first_item(const struct kith_datagram_queue *queue)
{
    struct kith_list *node = kith__list_first(&queue->items);

    return node != NULL ? KITH_CONTAINER(node, struct item, node) : NULL;
}

static void remove_item(struct kith_datagram_queue *queue, struct item *item)
{
    kith__list_remove(&item->node);
    queue->size -= item->size + KITH_DATAGRAM_OVERHEAD;
    queue->count--;
    kith__free(queue->mem, item);
}

void kith__datagram_queue_dispose(struct kith_datagram_queue *queue)
{
    struct item *item;

    if (queue->mem == NULL)
        return;
    while ((item = first_item(queue)) != NULL)
        remove_item(queue, item);
}

int kith__datagram_queue_push(struct kith_datagram_queue *queue, struct kith_slice bytes, bool drop_oldest)
{
    struct item *item;

    if (queue->size_max < KITH_DATAGRAM_OVERHEAD || bytes.size > queue->size_max - KITH_DATAGRAM_OVERHEAD)
        return KITH_ERR_TOO_LARGE;
    if (!drop_oldest && queue->size_max - queue->size < bytes.size + KITH_DATAGRAM_OVERHEAD) {
        queue->room_armed = true;
        return KITH_ERR_AGAIN;
    }
    item = kith__alloc(queue->mem, sizeof *item + bytes.size);
    if (item == NULL)
        return KITH_ERR_NOMEM;
    item->size = bytes.size;
    if (bytes.size != 0)
        memcpy(item->bytes, bytes.ptr, bytes.size);
    while (queue->size_max - queue->size < bytes.size + KITH_DATAGRAM_OVERHEAD) {
        remove_item(queue, first_item(queue));
        queue->dropped++;
    }
    kith__list_push_back(&queue->items, &item->node);
    queue->size += bytes.size + KITH_DATAGRAM_OVERHEAD;
    queue->count++;
    return 0;
}

int kith__datagram_queue_peek(const struct kith_datagram_queue *queue, struct kith_slice *out)
{
    const struct item *item = first_item(queue);

    if (item == NULL)
        return KITH_ERR_AGAIN;
    *out = (struct kith_slice) { item->bytes, item->size };
    return 0;
}

bool kith__datagram_queue_pop(struct kith_datagram_queue *queue)
{
    struct item *item = first_item(queue);
    bool is_news = queue->room_armed;

    KITH_ASSERT(item != NULL);
    remove_item(queue, item);
    queue->room_armed = false;
    return is_news;
}

int kith__datagram_queue_on_frame(struct kith_datagram_queue *queue, struct kith_slice bytes, bool *was_empty)
{
    bool empty = queue->count == 0;
    int err;

    /* The bound that a peer can know is on the payload; one that just does not fit with its overhead is dropped alone. */
    if (queue->size_max == 0 || bytes.size > queue->size_max)
        return KITH_WIRE_PROTOCOL_VIOLATION;
    err = kith__datagram_queue_push(queue, bytes, true);
    if (err == KITH_ERR_TOO_LARGE) {
        queue->dropped++;
        err = 0;
        empty = false;
    }
    if (err == 0)
        *was_empty = empty;
    return err;
}
