#include "quic/host/incoming_store.h"

#include "base/assert.h"
#include "base/mem.h"

void kith__incoming_store_init(struct kith_incoming_store *store, const struct kith_mem *mem, uint64_t map_seed,
                               size_t count_max, uint64_t size_each_max, uint64_t size_total_max)
{
    *store = (struct kith_incoming_store) {
        .mem = mem, .count_max = count_max, .size_each_max = size_each_max, .size_total_max = size_total_max
    };
    kith__map_init(&store->by_key, mem, map_seed);
    kith__list_init(&store->entries);
}

void kith__incoming_store_dispose(struct kith_incoming_store *store)
{
    if (store->mem == NULL)
        return;
    KITH_ASSERT(store->count == 0 && store->size == 0);
    kith__map_dispose(&store->by_key);
}

int kith__incoming_store_add(struct kith_incoming_store *store, struct kith_incoming_entry *entry,
                             struct kith_slice key)
{
    int err;

    KITH_ASSERT(key.size <= sizeof entry->key);
    if (kith__incoming_store_find(store, key) != NULL)
        return KITH_ERR_EXISTS;
    if (store->count >= store->count_max)
        return KITH_ERR_LIMIT;
    if ((err = kith__map_put(&store->by_key, key.ptr, key.size, entry)) != 0)
        return err;
    *entry = (struct kith_incoming_entry) { .key_size = (uint8_t)key.size };
    if (key.size != 0)
        memcpy(entry->key, key.ptr, key.size);
    kith__list_init(&entry->datagrams);
    kith__list_push_back(&store->entries, &entry->node);
    store->count++;
    return 0;
}

struct kith_incoming_entry *kith__incoming_store_find(const struct kith_incoming_store *store, struct kith_slice key)
{
    return kith__map_get(&store->by_key, key.ptr, key.size);
}

struct kith_incoming_entry *kith__incoming_store_first(const struct kith_incoming_store *store)
{
    struct kith_list *node = kith__list_first(&store->entries);

    return node != NULL ? KITH_CONTAINER(node, struct kith_incoming_entry, node) : NULL;
}

int kith__incoming_store_push(struct kith_incoming_store *store, struct kith_incoming_entry *entry,
                              const struct kith_sockaddr *local, const struct kith_sockaddr *remote, uint8_t ecn,
                              struct kith_slice bytes, uint64_t now_ns)
{
    uint64_t size = bytes.size + KITH_INCOMING_OVERHEAD;
    struct kith_incoming_datagram *datagram;

    if (size > store->size_each_max - KITH_MIN(entry->size, store->size_each_max) ||
        size > store->size_total_max - KITH_MIN(store->size, store->size_total_max))
        return KITH_ERR_LIMIT;
    datagram = kith__alloc(store->mem, sizeof *datagram + bytes.size);
    if (datagram == NULL)
        return KITH_ERR_NOMEM;
    *datagram = (struct kith_incoming_datagram) {
        .local = *local, .remote = *remote, .received_ns = now_ns, .ecn = ecn, .size = bytes.size
    };
    if (bytes.size != 0)
        memcpy(datagram->bytes, bytes.ptr, bytes.size);
    kith__list_push_back(&entry->datagrams, &datagram->node);
    entry->size += size;
    store->size += size;
    return 0;
}

struct kith_incoming_datagram *kith__incoming_store_pop(struct kith_incoming_store *store,
                                                        struct kith_incoming_entry *entry)
{
    struct kith_list *node = kith__list_first(&entry->datagrams);
    struct kith_incoming_datagram *datagram;

    if (node == NULL)
        return NULL;
    datagram = KITH_CONTAINER(node, struct kith_incoming_datagram, node);
    kith__list_remove(node);
    entry->size -= datagram->size + KITH_INCOMING_OVERHEAD;
    store->size -= datagram->size + KITH_INCOMING_OVERHEAD;
    return datagram;
}

void kith__incoming_store_remove(struct kith_incoming_store *store, struct kith_incoming_entry *entry)
{
    struct kith_incoming_datagram *datagram;

    if (entry->node.next == NULL)
        return;
    while ((datagram = kith__incoming_store_pop(store, entry)) != NULL)
        kith__free(store->mem, datagram);
    kith__list_remove(&entry->node);
    kith__map_remove(&store->by_key, entry->key, entry->key_size);
    store->count--;
    *entry = (struct kith_incoming_entry) { 0 };
}
