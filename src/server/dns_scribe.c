/* The one who writes to the store. */
#include "server/dns_scribe.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"

/* A failed write is told so often: a full disk must not be filled with words about it. */
#define LOG_EVERY_NS (60 * KITH_NS_PER_S)

struct kith_dns_scribe {
    struct kith_dns_scribe_options options;
    struct kith_dns_shared *shared;
    struct kith_dns_counters *counters;
    uint64_t evict_after_us, evict_every_ns, evict_ns; /* evict_after_us 0: never */
    uint32_t batch_max;
    uint64_t quiet_until_ns; /* of failed writes */
    void *lock;              /* of what follows */
    struct kith_list waiting;
    size_t waiting_count;
    struct kith_list done[KITH_DNS_WORKERS_MAX];
};

/* For the metrics. */
static void note_size(struct kith_dns_shared *shared)
{
    struct kith_store_stats stats;

    shared->store->ops->stats(shared->store, &stats);
    atomic_store_explicit(&shared->packets, stats.packets, memory_order_relaxed);
    atomic_store_explicit(&shared->store_bytes, stats.size_bytes, memory_order_relaxed);
}

int kith__dns_scribe_new(const struct kith_dns_scribe_options *options, struct kith_dns_scribe **out)
{
    static const struct kith_dns_storage defaults;
    const struct kith_dns_storage *storage = options->storage != NULL ? options->storage : &defaults;
    struct kith_dns_scribe *scribe = kith__alloc_zero(options->shared->mem, sizeof *scribe);
    uint64_t after_ns = storage->evict_after_ns != 0 ? storage->evict_after_ns : KITH_DNS_EVICT_AFTER_NS;
    int err;

    if (scribe == NULL)
        return KITH_ERR_NOMEM;
    if ((err = kith__sync_lock_new(options->shared->sync, &scribe->lock)) != 0) {
        kith__free(options->shared->mem, scribe);
        return err;
    }
    scribe->options = *options;
    scribe->options.storage = NULL;
    scribe->shared = options->shared;
    scribe->counters = kith__dns_scribe_counters(options->shared);
    scribe->evict_after_us = after_ns == KITH_NEVER ? 0 : KITH_MAX(after_ns / KITH_NS_PER_US, (uint64_t)1);
    scribe->evict_every_ns = storage->evict_every_ns != 0 ? storage->evict_every_ns : KITH_DNS_EVICT_EVERY_NS;
    scribe->batch_max = storage->batch_max != 0 ? storage->batch_max : KITH_DNS_BATCH_MAX;
    kith__list_init(&scribe->waiting);
    for (unsigned i = 0; i < KITH_DNS_WORKERS_MAX; i++)
        kith__list_init(&scribe->done[i]);
    note_size(scribe->shared); /* what was there before is told from the start */
    *out = scribe;
    return 0;
}

static void free_all(struct kith_dns_scribe *scribe, struct kith_list *list)
{
    struct kith_list *first;

    while ((first = kith__list_first(list)) != NULL) {
        kith__list_remove(first);
        kith__free(scribe->shared->mem, KITH_CONTAINER(first, struct kith_dns_put, node));
    }
}

void kith__dns_scribe_free(struct kith_dns_scribe *scribe)
{
    if (scribe == NULL)
        return;
    free_all(scribe, &scribe->waiting);
    for (unsigned i = 0; i < KITH_DNS_WORKERS_MAX; i++)
        free_all(scribe, &scribe->done[i]);
    kith__sync_lock_free(scribe->shared->sync, scribe->lock);
    kith__free(scribe->shared->mem, scribe);
}

int kith__dns_scribe_put(struct kith_dns_scribe *scribe, struct kith_dns_put *put)
{
    bool is_full, is_enough;

    kith__sync_lock(scribe->shared->sync, scribe->lock);
    is_full = scribe->waiting_count == KITH_DNS_WAITING_MAX;
    if (!is_full) {
        kith__list_push_back(&scribe->waiting, &put->node);
        scribe->waiting_count++;
    }
    is_enough = scribe->waiting_count == KITH_DNS_BATCH_FULL;
    kith__sync_unlock(scribe->shared->sync, scribe->lock);
    if (is_enough && !is_full)
        scribe->options.wake_scribe(scribe->options.ctx);
    return is_full ? KITH_ERR_LIMIT : 0;
}

void kith__dns_scribe_wake(struct kith_dns_scribe *scribe)
{
    bool is_wanted;

    kith__sync_lock(scribe->shared->sync, scribe->lock);
    is_wanted = scribe->waiting_count != 0;
    kith__sync_unlock(scribe->shared->sync, scribe->lock);
    if (is_wanted)
        scribe->options.wake_scribe(scribe->options.ctx);
}

/* Moves up to batch_max puts to the batch. True: others are left. */
static bool take_batch(struct kith_dns_scribe *scribe, struct kith_list *batch)
{
    struct kith_list *first;
    bool is_more;

    kith__list_init(batch);
    kith__sync_lock(scribe->shared->sync, scribe->lock);
    for (uint32_t i = 0; i < scribe->batch_max && (first = kith__list_first(&scribe->waiting)) != NULL; i++) {
        kith__list_remove(first);
        kith__list_push_back(batch, first);
        scribe->waiting_count--;
    }
    is_more = scribe->waiting_count != 0;
    kith__sync_unlock(scribe->shared->sync, scribe->lock);
    return is_more;
}

static void count(struct kith_dns_scribe *scribe, const struct kith_dns_put *put)
{
    struct kith_dns_counters *counters = scribe->counters;

    if (put->err != 0)
        kith__dns_count(put->err == KITH_ERR_LIMIT ? &counters->puts_full : &counters->puts_failed, 1);
    else if (put->how == KITH_STORE_INSERTED)
        kith__dns_count(&counters->store_packets_inserted, 1);
    else if (put->how == KITH_STORE_UPDATED)
        kith__dns_count(&counters->store_packets_updated, 1);
    else
        kith__dns_count(put->how == KITH_STORE_SAME ? &counters->puts_same : &counters->puts_older, 1);
    if (put->err == 0)
        kith__dns_count(put->how == KITH_STORE_INSERTED || put->how == KITH_STORE_UPDATED
                            ? &counters->pkarr_publish_update
                            : &counters->pkarr_publish_noop,
                        1);
}

/* Hands the batch back. */
static void give_back(struct kith_dns_scribe *scribe, struct kith_list *batch)
{
    bool has_some[KITH_DNS_WORKERS_MAX] = { false };
    struct kith_list *first;

    kith__sync_lock(scribe->shared->sync, scribe->lock);
    while ((first = kith__list_first(batch)) != NULL) {
        struct kith_dns_put *put = KITH_CONTAINER(first, struct kith_dns_put, node);

        kith__list_remove(first);
        count(scribe, put);
        kith__list_push_back(&scribe->done[put->worker], first);
        has_some[put->worker] = true;
    }
    kith__sync_unlock(scribe->shared->sync, scribe->lock);
    for (unsigned i = 0; i < scribe->shared->worker_count; i++)
        if (has_some[i])
            scribe->options.wake_worker(scribe->options.ctx, i);
}

static int commit(struct kith_dns_scribe *scribe, uint64_t now_ns)
{
    int err = scribe->shared->store->ops->commit(scribe->shared->store);

    kith__dns_count(&scribe->counters->store_commits, 1);
    if (err != 0)
        kith__dns_count(&scribe->counters->store_failures, 1);
    if (err != 0 && now_ns >= scribe->quiet_until_ns) {
        kith__log(scribe->options.log, KITH_LOG_ERROR, "store", "packets cannot be written: %s", kith_strerror(err));
        scribe->quiet_until_ns = now_ns + LOG_EVERY_NS;
    }
    return err;
}

static void run_batch(struct kith_dns_scribe *scribe, struct kith_list *batch, uint64_t now_ns, uint64_t wall_us)
{
    struct kith_store *store = scribe->shared->store;
    int err;

    KITH_LIST_EACH(node, batch)
    {
        struct kith_dns_put *put = KITH_CONTAINER(node, struct kith_dns_put, node);

        put->err = store->ops->put(store, &put->packet, wall_us, &put->how);
    }
    if ((err = commit(scribe, now_ns)) != 0) {
        KITH_LIST_EACH(node, batch)
        {
            struct kith_dns_put *put = KITH_CONTAINER(node, struct kith_dns_put, node);

            if (put->err == 0 || put->err == KITH_ERR_LIMIT)
                put->err = err == KITH_ERR_LIMIT ? KITH_ERR_NO_SPACE : err;
        }
    }
    note_size(scribe->shared); /* who has an answer finds the packet in the metrics */
    give_back(scribe, batch);
}

/* Lets go what is due; a bounded part at a time, so that puts get through between. True: there may be more. */
static bool evict(struct kith_dns_scribe *scribe, uint64_t now_ns, uint64_t wall_us)
{
    struct kith_store *store = scribe->shared->store;
    size_t gone = 0;
    int err;

    if (scribe->evict_after_us == 0 || wall_us <= scribe->evict_after_us)
        return false;
    err = store->ops->expire(store, wall_us - scribe->evict_after_us, KITH_DNS_EXPIRE_MAX, &gone);
    if (err != 0 || gone != 0) {
        int late = commit(scribe, now_ns);

        err = err != 0 ? err : late;
    }
    if (err == 0)
        kith__dns_count(&scribe->counters->store_packets_expired, gone);
    return err == 0 && gone == KITH_DNS_EXPIRE_MAX;
}

bool kith__dns_scribe_run(struct kith_dns_scribe *scribe, uint64_t now_ns, uint64_t wall_us)
{
    struct kith_list batch;
    bool is_more = take_batch(scribe, &batch), is_due = now_ns >= scribe->evict_ns;

    if (kith__list_first(&batch) != NULL)
        run_batch(scribe, &batch, now_ns, wall_us);
    else if (!is_due)
        return is_more;
    if (is_due && !evict(scribe, now_ns, wall_us))
        scribe->evict_ns = now_ns + scribe->evict_every_ns;
    if (is_due)
        note_size(scribe->shared);
    return is_more;
}

uint64_t kith__dns_scribe_deadline(const struct kith_dns_scribe *scribe)
{
    return scribe->evict_ns;
}

struct kith_dns_put *kith__dns_scribe_done(struct kith_dns_scribe *scribe, unsigned worker)
{
    struct kith_list *first;

    kith__sync_lock(scribe->shared->sync, scribe->lock);
    if ((first = kith__list_first(&scribe->done[worker])) != NULL)
        kith__list_remove(first);
    kith__sync_unlock(scribe->shared->sync, scribe->lock);
    return first != NULL ? KITH_CONTAINER(first, struct kith_dns_put, node) : NULL;
}
