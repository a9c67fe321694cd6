#include "relay/directory.h"

#include "base/mem.h"

/** The sessions of one id. Moves when it grows. */
struct entry {
    uint64_t reached; /* by sessions that have left */
    uint8_t count, cap;
    struct kith_relay_place places[]; /* the newest last */
};

static const struct kith_relay_place nowhere = { 0, KITH_RELAY_WORKER_NONE };

int kith__relay_directory_init(struct kith_relay_directory *directory, const struct kith_mem *mem,
                               const struct kith_relay_sync *sync, unsigned stripe_count, uint64_t seed)
{
    int err;

    KITH_ASSERT(stripe_count <= KITH_RELAY_STRIPES_MAX && (stripe_count & (stripe_count - 1)) == 0);
    *directory = (struct kith_relay_directory) { .mem = mem, .sync = sync };
    for (unsigned i = 0; i < stripe_count; i++) {
        kith__map_init(&directory->stripes[i].map, mem, seed + i);
        if ((err = kith__relay_lock_new(sync, &directory->stripes[i].lock)) != 0)
            return err;
        directory->stripe_count = i + 1;
    }
    return 0;
}

void kith__relay_directory_dispose(struct kith_relay_directory *directory)
{
    for (unsigned i = 0; i < directory->stripe_count; i++) {
        KITH_ASSERT(directory->stripes[i].map.count == 0);
        kith__map_dispose(&directory->stripes[i].map);
        kith__relay_lock_free(directory->sync, directory->stripes[i].lock);
    }
    directory->stripe_count = 0;
}

/** Keys are as good as random unless somebody chooses them, and then a lock is waited for a little longer: no secret is needed. */
static unsigned stripe_of(const struct kith_relay_directory *directory, const struct kith_id *id)
{
    return id->bytes[7] & (directory->stripe_count - 1);
}

static bool is_same_place(const struct kith_relay_place *a, const struct kith_relay_place *b)
{
    return a->handle == b->handle && a->worker == b->worker;
}

static void remove_at(struct entry *entry, unsigned index)
{
    memmove(&entry->places[index], &entry->places[index + 1], (entry->count - 1u - index) * sizeof entry->places[0]);
    entry->count--;
}

/** The entry of an id, with room for one place more. NULL: no memory; nothing has changed. */
static struct entry *entry_with_room(struct kith_relay_directory *directory, struct kith_map *map,
                                     const struct kith_id *id)
{
    struct entry *old = kith__map_get(map, id->bytes, KITH_ID_SIZE), *entry;
    uint8_t cap = old != NULL ? (uint8_t)(old->cap * 2) : 1;

    if (old != NULL && old->count < old->cap)
        return old;
    entry = kith__alloc_zero(directory->mem, sizeof *entry + cap * sizeof entry->places[0]);
    if (entry == NULL)
        return NULL;
    if (old != NULL)
        memcpy(entry, old, sizeof *old + old->count * sizeof old->places[0]);
    entry->cap = cap;
    if (kith__map_put(map, id->bytes, KITH_ID_SIZE, entry) != 0) {
        KITH_ASSERT(old == NULL); /* replacing a value needs no memory */
        kith__free(directory->mem, entry);
        return NULL;
    }
    kith__free(directory->mem, old);
    return entry;
}

static int join(struct kith_relay_directory *directory, struct kith_map *map, const struct kith_id *id,
                struct kith_relay_place place, struct kith_relay_joined *out)
{
    struct entry *entry = kith__map_get(map, id->bytes, KITH_ID_SIZE);

    *out = (struct kith_relay_joined) { nowhere, nowhere };
    if (entry != NULL && entry->count == KITH_RELAY_SAME_ID_MAX) {
        out->evicted = entry->places[0];
        remove_at(entry, 0);
    } else if ((entry = entry_with_room(directory, map, id)) == NULL) {
        return KITH_ERR_NOMEM;
    }
    if (entry->count != 0)
        out->previous = entry->places[entry->count - 1];
    entry->places[entry->count++] = place;
    atomic_fetch_add_explicit(&directory->epoch, 1, memory_order_release);
    return 0;
}

int kith__relay_directory_join(struct kith_relay_directory *directory, const struct kith_id *id,
                               struct kith_relay_place place, struct kith_relay_joined *out)
{
    unsigned stripe = stripe_of(directory, id);
    int err;

    kith__relay_lock(directory->sync, directory->stripes[stripe].lock);
    err = join(directory, &directory->stripes[stripe].map, id, place, out);
    kith__relay_unlock(directory->sync, directory->stripes[stripe].lock);
    return err;
}

static void leave(struct kith_relay_directory *directory, struct kith_map *map, const struct kith_id *id,
                  struct kith_relay_place place, uint64_t reached, struct kith_relay_left *out)
{
    struct entry *entry = kith__map_get(map, id->bytes, KITH_ID_SIZE);
    unsigned index = 0;

    *out = (struct kith_relay_left) { .newest = nowhere };
    if (entry == NULL) { /* was evicted, and all others have left since: nobody has told those that it has reached */
        out->reached = reached;
        out->is_last = true;
        return;
    }
    entry->reached |= reached;
    while (index < entry->count && !is_same_place(&entry->places[index], &place))
        index++;
    if (index == entry->count)
        return;
    remove_at(entry, index);
    atomic_fetch_add_explicit(&directory->epoch, 1, memory_order_release);
    if (entry->count == 0) {
        out->reached = entry->reached;
        out->is_last = true;
        (void)kith__map_remove(map, id->bytes, KITH_ID_SIZE);
        kith__free(directory->mem, entry);
    } else if (index == entry->count) {
        out->newest = entry->places[entry->count - 1];
    }
}

void kith__relay_directory_leave(struct kith_relay_directory *directory, const struct kith_id *id,
                                 struct kith_relay_place place, uint64_t reached, struct kith_relay_left *out)
{
    unsigned stripe = stripe_of(directory, id);

    kith__relay_lock(directory->sync, directory->stripes[stripe].lock);
    leave(directory, &directory->stripes[stripe].map, id, place, reached, out);
    kith__relay_unlock(directory->sync, directory->stripes[stripe].lock);
}

bool kith__relay_directory_find(struct kith_relay_directory *directory, const struct kith_id *id,
                                struct kith_relay_place *out)
{
    unsigned stripe = stripe_of(directory, id);
    const struct entry *entry;

    kith__relay_lock(directory->sync, directory->stripes[stripe].lock);
    entry = kith__map_get(&directory->stripes[stripe].map, id->bytes, KITH_ID_SIZE);
    if (entry != NULL)
        *out = entry->places[entry->count - 1];
    kith__relay_unlock(directory->sync, directory->stripes[stripe].lock);
    return entry != NULL;
}
