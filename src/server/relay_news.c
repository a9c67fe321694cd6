/* What happened to clients, from all workers to the program. */
#include "server/relay_news.h"

#include "base/assert.h"
#include "base/mem.h"

struct kith_relay_news_queue {
    const struct kith_mem *mem;
    struct kith_rt_lock *lock;
    struct kith_rt_condition *changed;
    struct kith_rt_notice *notice;
    struct kith_relay_news items[KITH_RELAY_NEWS_MAX]; /* a ring */
    size_t first, count;
};

int kith__relay_news_new(const struct kith_mem *mem, struct kith_relay_news_queue **out)
{
    struct kith_relay_news_queue *queue = kith__alloc_zero(mem, sizeof *queue);
    int err;

    if (queue == NULL)
        return KITH_ERR_NOMEM;
    queue->mem = mem;
    if ((err = kith__rt_lock_new(mem, &queue->lock)) != 0 ||
        (err = kith__rt_condition_new(mem, &queue->changed)) != 0 ||
        (err = kith__rt_notice_new(mem, &queue->notice)) != 0) {
        kith__relay_news_free(queue);
        return err;
    }
    *out = queue;
    return 0;
}

void kith__relay_news_free(struct kith_relay_news_queue *queue)
{
    if (queue == NULL)
        return;
    kith__rt_notice_free(queue->notice);
    kith__rt_condition_free(queue->changed);
    kith__rt_lock_free(queue->lock);
    kith__free(queue->mem, queue);
}

static struct kith_relay_news *at(struct kith_relay_news_queue *queue, size_t index)
{
    return &queue->items[(queue->first + index) % KITH_RELAY_NEWS_MAX];
}

/* Takes the oldest news that is no question out of a full queue. */
static bool make_room(struct kith_relay_news_queue *queue)
{
    size_t index = 0;

    while (index < queue->count && at(queue, index)->kind == KITH_RELAY_ASKED)
        index++;
    if (index == queue->count)
        return false;
    for (; index + 1 < queue->count; index++)
        *at(queue, index) = *at(queue, index + 1);
    queue->count--;
    return true;
}

bool kith__relay_news_put(struct kith_relay_news_queue *queue, const struct kith_relay_news *news)
{
    bool has_room;

    kith__rt_lock_acquire(queue->lock);
    has_room = queue->count < KITH_RELAY_NEWS_MAX || (news->kind == KITH_RELAY_ASKED && make_room(queue));
    if (has_room) {
        *at(queue, queue->count++) = *news;
        kith__rt_notice_set(queue->notice);
        kith__rt_condition_broadcast(queue->changed);
    }
    kith__rt_lock_release(queue->lock);
    return has_room;
}

int kith__relay_news_take(struct kith_relay_news_queue *queue, uint64_t until_ns, struct kith_relay_news *out)
{
    int err = 0;

    kith__rt_lock_acquire(queue->lock);
    while (queue->count == 0 && err == 0)
        err = until_ns == 0 ? KITH_ERR_AGAIN : kith__rt_condition_wait(queue->changed, queue->lock, until_ns);
    if (queue->count != 0) {
        err = 0;
        *out = *at(queue, 0);
        queue->first = (queue->first + 1) % KITH_RELAY_NEWS_MAX;
        if (--queue->count == 0)
            kith__rt_notice_clear(queue->notice);
    }
    kith__rt_lock_release(queue->lock);
    return err;
}

int kith__relay_news_fd(const struct kith_relay_news_queue *queue)
{
    return kith__rt_notice_fd(queue->notice);
}
