/* A store in memory. */
#include "zone/store_memory.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include <stdlib.h>

struct entry {
    struct kith_list node; /* in the order of arrival */
    uint64_t arrived_us;
    uint16_t size;
    uint8_t bytes[]; /* as in struct kith_pkarr */
};

struct memory {
    struct kith_store store;
    struct kith_store_memory_options options;
    void *lock;
    struct kith_map entries; /* by id */
    struct kith_list arrivals;
    uint64_t size_bytes;
};

static struct memory *memory_of(struct kith_store *store)
{
    return KITH_CONTAINER(store, struct memory, store);
}

static void copy_out(const struct entry *entry, struct kith_pkarr *out)
{
    out->size = entry->size;
    memcpy(out->bytes, entry->bytes, entry->size);
}

/* The wall clock may have gone back: the order of arrival is kept all the same. */
static void insert(struct memory *memory, struct entry *entry)
{
    struct kith_list *last = memory->arrivals.prev;

    if (last != &memory->arrivals)
        entry->arrived_us = KITH_MAX(entry->arrived_us, KITH_CONTAINER(last, struct entry, node)->arrived_us);
    kith__list_push_back(&memory->arrivals, &entry->node);
    memory->size_bytes += sizeof *entry + entry->size;
}

static void drop(struct memory *memory, struct entry *entry)
{
    kith__list_remove(&entry->node);
    memory->size_bytes -= sizeof *entry + entry->size;
    kith__free(memory->options.mem, entry);
}

/* With the lock. */
static int put(struct memory *memory, const struct kith_pkarr *packet, uint64_t arrived_us, enum kith_store_put *how)
{
    struct entry *old = kith__map_get(&memory->entries, packet->bytes, KITH_ID_SIZE), *entry;
    bool is_same = old != NULL && old->size == packet->size && memcmp(old->bytes, packet->bytes, packet->size) == 0;
    struct kith_pkarr stored;

    if (old != NULL && !is_same) {
        copy_out(old, &stored);
        if (!kith__pkarr_is_newer(packet, &stored)) {
            *how = KITH_STORE_OLDER;
            return 0;
        }
    }
    if (old == NULL && memory->options.packets_max != 0 && memory->entries.count >= memory->options.packets_max)
        return KITH_ERR_LIMIT;
    if ((entry = kith__alloc(memory->options.mem, sizeof *entry + packet->size)) == NULL)
        return KITH_ERR_NOMEM;
    entry->arrived_us = arrived_us;
    entry->size = packet->size;
    memcpy(entry->bytes, packet->bytes, packet->size);
    if (kith__map_put(&memory->entries, packet->bytes, KITH_ID_SIZE, entry) != 0) {
        kith__free(memory->options.mem, entry);
        return KITH_ERR_NOMEM;
    }
    insert(memory, entry);
    if (old != NULL)
        drop(memory, old);
    *how = old == NULL ? KITH_STORE_INSERTED : is_same ? KITH_STORE_SAME : KITH_STORE_UPDATED;
    return 0;
}

static int memory_put(struct kith_store *store, const struct kith_pkarr *packet, uint64_t arrived_us,
                      enum kith_store_put *how)
{
    struct memory *memory = memory_of(store);
    int err;

    kith__sync_lock(memory->options.sync, memory->lock);
    err = put(memory, packet, arrived_us, how);
    kith__sync_unlock(memory->options.sync, memory->lock);
    return err;
}

static int memory_commit(struct kith_store *store)
{
    (void)store;
    return 0;
}

static int memory_get(struct kith_store *store, const struct kith_id *id, struct kith_pkarr *out, uint64_t *arrived_us)
{
    struct memory *memory = memory_of(store);
    const struct entry *entry;

    kith__sync_lock(memory->options.sync, memory->lock);
    if ((entry = kith__map_get(&memory->entries, id->bytes, KITH_ID_SIZE)) != NULL) {
        copy_out(entry, out);
        if (arrived_us != NULL)
            *arrived_us = entry->arrived_us;
    }
    kith__sync_unlock(memory->options.sync, memory->lock);
    return entry != NULL ? 0 : KITH_ERR_NOT_FOUND;
}

static int memory_expire(struct kith_store *store, uint64_t before_us, size_t max, size_t *count)
{
    struct memory *memory = memory_of(store);
    struct kith_list *first;

    *count = 0;
    kith__sync_lock(memory->options.sync, memory->lock);
    while (*count < max && (first = kith__list_first(&memory->arrivals)) != NULL) {
        struct entry *entry = KITH_CONTAINER(first, struct entry, node);

        if (entry->arrived_us >= before_us)
            break;
        (void)kith__map_remove(&memory->entries, entry->bytes, KITH_ID_SIZE);
        drop(memory, entry);
        ++*count;
    }
    kith__sync_unlock(memory->options.sync, memory->lock);
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct entry *const *x = a, *const *y = b;

    return memcmp((*x)->bytes, (*y)->bytes, KITH_ID_SIZE);
}

static int memory_scan(struct kith_store *store,
                       bool (*each)(void *ctx, const struct kith_pkarr *packet, uint64_t arrived_us), void *ctx)
{
    struct memory *memory = memory_of(store);
    size_t count = 0;
    struct entry **sorted;
    struct kith_pkarr packet;

    if (memory->entries.count == 0)
        return 0;
    /* Only the thread that asks changes anything: the entries stay. */
    if ((sorted = kith__alloc_array(memory->options.mem, memory->entries.count, sizeof(struct entry *))) == NULL)
        return KITH_ERR_NOMEM;
    KITH_LIST_EACH(node, &memory->arrivals)
    sorted[count++] = KITH_CONTAINER(node, struct entry, node);
    qsort(sorted, count, sizeof(struct entry *), compare);
    for (size_t i = 0; i < count; i++) {
        copy_out(sorted[i], &packet);
        if (!each(ctx, &packet, sorted[i]->arrived_us))
            break;
    }
    kith__free(memory->options.mem, sorted);
    return 0;
}

static void memory_stats(struct kith_store *store, struct kith_store_stats *out)
{
    struct memory *memory = memory_of(store);

    kith__sync_lock(memory->options.sync, memory->lock);
    *out = (struct kith_store_stats) { memory->entries.count, memory->size_bytes };
    kith__sync_unlock(memory->options.sync, memory->lock);
}

static void memory_free(struct kith_store *store)
{
    struct memory *memory = memory_of(store);

    KITH_LIST_EACH_SAFE(node, after, &memory->arrivals)
    drop(memory, KITH_CONTAINER(node, struct entry, node));
    kith__map_dispose(&memory->entries);
    kith__sync_lock_free(memory->options.sync, memory->lock);
    kith__free(memory->options.mem, memory);
}

static const struct kith_store_ops memory_ops = {
    .put = memory_put,
    .commit = memory_commit,
    .get = memory_get,
    .expire = memory_expire,
    .scan = memory_scan,
    .stats = memory_stats,
    .free = memory_free,
};

int kith__store_memory_new(const struct kith_store_memory_options *options, struct kith_store **out)
{
    struct memory *memory = kith__alloc_zero(options->mem, sizeof *memory);
    int err;

    if (memory == NULL)
        return KITH_ERR_NOMEM;
    if ((err = kith__sync_lock_new(options->sync, &memory->lock)) != 0) {
        kith__free(options->mem, memory);
        return err;
    }
    memory->store.ops = &memory_ops;
    memory->options = *options;
    kith__map_init(&memory->entries, options->mem, options->seed);
    kith__list_init(&memory->arrivals);
    *out = &memory->store;
    return 0;
}
