/* The service "memory". */
#include "lookup/memory.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"

#include <stdio.h>

struct entry {
    struct kith_list node;
    struct kith_lookup_info info;
};

struct kith_lookup_memory {
    struct kith_lookup_service service; /* first */
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_map by_id;
    struct kith_list entries; /* of struct entry, oldest first */
    size_t query_count;
};

/** An answer on its way: it is looked up when it is told, and says what is known then. */
struct query {
    struct kith_lookup_memory *memory;
    struct kith_id id;
    struct kith_lookup_sink sink;
    struct kith_rt_timer due;
    bool is_telling, is_cancelled;
};

static void free_query(struct query *query)
{
    query->memory->query_count--;
    kith__rt_timer_dispose(&query->due);
    kith__free(query->memory->mem, query);
}

static void tell(void *ctx, uint64_t now_ns)
{
    struct query *query = ctx;
    const struct kith_lookup_info *info = kith__lookup_memory_get(query->memory, &query->id);
    struct kith_lookup_found found = { .info = info }; /* who told us is not its owner: no time */
    struct kith_lookup_sink sink = query->sink;
    bool is_cancelled;

    (void)now_ns;
    query->is_telling = true;
    if (info != NULL)
        sink.on_found(sink.ctx, &found);
    is_cancelled = query->is_cancelled;
    free_query(query);
    if (!is_cancelled)
        sink.on_end(sink.ctx, info != NULL ? 0 : KITH_ERR_NOT_FOUND,
                    info != NULL ? "" : "it was told nothing about this endpoint");
}

static int resolve(struct kith_lookup_service *service, const struct kith_id *id, const struct kith_lookup_sink *sink,
                   struct kith_lookup_query **out)
{
    struct kith_lookup_memory *memory = KITH_CONTAINER(service, struct kith_lookup_memory, service);
    struct query *query;
    int err;

    if (kith__lookup_memory_get(memory, id) == NULL)
        return KITH_ERR_NOT_FOUND;
    query = kith__alloc_zero(memory->mem, sizeof *query);
    if (query == NULL)
        return KITH_ERR_NOMEM;
    *query = (struct query) { .memory = memory, .id = *id, .sink = *sink };
    if ((err = kith__rt_timer_init(memory->rt, &query->due, tell, query)) != 0) {
        kith__free(memory->mem, query);
        return err;
    }
    memory->query_count++;
    kith__rt_timer_set(&query->due, kith__rt_now(memory->rt));
    *out = (struct kith_lookup_query *)query;
    return 0;
}

static void cancel(struct kith_lookup_query *base)
{
    struct query *query = (struct query *)base;

    if (query->is_telling)
        query->is_cancelled = true;
    else
        free_query(query);
}

static void free_entry(struct kith_lookup_memory *memory, struct entry *entry)
{
    kith__list_remove(&entry->node);
    kith__lookup_info_dispose(&entry->info);
    kith__free(memory->mem, entry);
}

static void free_service(struct kith_lookup_service *service)
{
    struct kith_lookup_memory *memory = KITH_CONTAINER(service, struct kith_lookup_memory, service);
    struct kith_list *node;

    KITH_ASSERT(memory->query_count == 0);
    while ((node = kith__list_first(&memory->entries)) != NULL)
        free_entry(memory, KITH_CONTAINER(node, struct entry, node));
    kith__map_dispose(&memory->by_id);
    kith__free(memory->mem, memory);
}

int kith__lookup_memory_new(struct kith_rt *rt, const struct kith_mem *mem, struct kith_lookup_memory **out)
{
    static const struct kith_lookup_service_ops ops = {
        .name = "memory", .resolve = resolve, .cancel = cancel, .free = free_service
    };
    struct kith_lookup_memory *memory = kith__alloc_zero(mem, sizeof *memory);

    if (memory == NULL)
        return KITH_ERR_NOMEM;
    memory->service.ops = &ops;
    snprintf(memory->service.label, sizeof memory->service.label, "memory");
    memory->rt = rt;
    memory->mem = mem;
    kith__map_init(&memory->by_id, mem, kith__random_u64(kith__rt_random(rt)));
    kith__list_init(&memory->entries);
    *out = memory;
    return 0;
}

struct kith_lookup_service *kith__lookup_memory_service(struct kith_lookup_memory *memory)
{
    return &memory->service;
}

/** The entry of an id, made empty if there is none. */
static int enter(struct kith_lookup_memory *memory, const struct kith_id *id, struct entry **out)
{
    struct entry *entry = kith__map_get(&memory->by_id, id->bytes, KITH_ID_SIZE);
    int err;

    if (entry == NULL) {
        if (memory->by_id.count == KITH_LOOKUP_MEMORY_MAX)
            return KITH_ERR_LIMIT;
        entry = kith__alloc_zero(memory->mem, sizeof *entry);
        if (entry == NULL)
            return KITH_ERR_NOMEM;
        kith__lookup_info_init(&entry->info, memory->mem, id);
        if ((err = kith__map_put(&memory->by_id, id->bytes, KITH_ID_SIZE, entry)) != 0) {
            kith__free(memory->mem, entry);
            return err;
        }
        kith__list_push_back(&memory->entries, &entry->node);
    }
    *out = entry;
    return 0;
}

int kith__lookup_memory_set(struct kith_lookup_memory *memory, const struct kith_lookup_info *info)
{
    bool was_known = kith__lookup_memory_get(memory, &info->addr.id) != NULL;
    struct entry *entry;
    int err;

    if ((err = enter(memory, &info->addr.id, &entry)) != 0)
        return err;
    if ((err = kith__lookup_info_copy(info, &entry->info)) != 0 && !was_known)
        kith__lookup_memory_remove(memory, &info->addr.id);
    return err;
}

int kith__lookup_memory_add(struct kith_lookup_memory *memory, const struct kith_lookup_info *info)
{
    struct entry *entry;
    int err;

    if (kith__lookup_memory_get(memory, &info->addr.id) == NULL)
        return kith__lookup_memory_set(memory, info);
    if ((err = enter(memory, &info->addr.id, &entry)) != 0 ||
        (err = kith__lookup_info_add_addrs(info, &entry->info)) != 0)
        return err;
    if (info->user_data_size > 0)
        err = kith__lookup_info_set_user_data(
            &entry->info, (struct kith_slice) { (const uint8_t *)info->user_data, info->user_data_size });
    return err;
}

bool kith__lookup_memory_remove(struct kith_lookup_memory *memory, const struct kith_id *id)
{
    struct entry *entry = kith__map_remove(&memory->by_id, id->bytes, KITH_ID_SIZE);

    if (entry == NULL)
        return false;
    free_entry(memory, entry);
    return true;
}

const struct kith_lookup_info *kith__lookup_memory_get(const struct kith_lookup_memory *memory,
                                                       const struct kith_id *id)
{
    const struct entry *entry = kith__map_get(&memory->by_id, id->bytes, KITH_ID_SIZE);

    return entry != NULL ? &entry->info : NULL;
}

size_t kith__lookup_memory_count(const struct kith_lookup_memory *memory)
{
    return memory->by_id.count;
}
