/* Ways through relays. */
#include "endpoint/relay_ways.h"

#include "base/assert.h"
#include "base/mem.h"

enum { NUMBER_SIZE = 8 };

void kith__relay_ways_init(struct kith_relay_ways *ways, const struct kith_mem *mem, uint64_t seed)
{
    *ways = (struct kith_relay_ways) { .mem = mem, .seed = seed };
    kith__map_init(&ways->by_number, mem, seed);
    kith__list_init(&ways->used);
    kith__list_init(&ways->throughs);
}

void kith__relay_ways_dispose(struct kith_relay_ways *ways)
{
    KITH_ASSERT(ways->count == 0 && kith__list_is_empty(&ways->throughs));
    kith__map_dispose(&ways->by_number);
}

void kith__relay_ways_of_init(struct kith_relay_ways *ways, struct kith_relay_ways_of *through)
{
    through->count = 0;
    kith__list_init(&through->used);
    kith__list_init(&through->in_throughs);
    kith__list_push_back(&ways->throughs, &through->in_throughs);
    kith__map_init(&through->by_id, ways->mem, ways->seed);
}

static void forget(struct kith_relay_ways *ways, struct kith_relay_way *way)
{
    (void)kith__map_remove(&ways->by_number, way->address.ip, NUMBER_SIZE);
    (void)kith__map_remove(&way->through->by_id, way->id.bytes, sizeof way->id.bytes);
    kith__list_remove(&way->node);
    kith__list_remove(&way->of_through);
    way->through->count--;
    ways->count--;
    kith__free(ways->mem, way);
}

static struct kith_relay_way *oldest(const struct kith_relay_ways *ways)
{
    return ways->count != 0 ? KITH_CONTAINER(ways->used.prev, struct kith_relay_way, node) : NULL;
}

/** The list is full: who has most makes room, for it is there that ids may be made up. */
static struct kith_relay_way *oldest_of_most(const struct kith_relay_ways *ways)
{
    const struct kith_relay_ways_of *most = NULL;

    KITH_LIST_EACH(node, &ways->throughs)
    {
        const struct kith_relay_ways_of *through = KITH_CONTAINER(node, struct kith_relay_ways_of, in_throughs);

        if (most == NULL || through->count > most->count)
            most = through;
    }
    KITH_ASSERT(most != NULL && most->count != 0);
    return KITH_CONTAINER(most->used.prev, struct kith_relay_way, of_through);
}

void kith__relay_ways_of_dispose(struct kith_relay_ways *ways, struct kith_relay_ways_of *through)
{
    KITH_LIST_EACH_SAFE(node, after, &through->used)
    forget(ways, KITH_CONTAINER(node, struct kith_relay_way, of_through));
    kith__list_remove(&through->in_throughs);
    kith__map_dispose(&through->by_id);
}

void kith__relay_ways_touch(struct kith_relay_ways *ways, struct kith_relay_way *way, uint64_t now_ns)
{
    way->used_ns = now_ns;
    kith__list_remove(&way->node);
    kith__list_push_front(&ways->used, &way->node);
    kith__list_remove(&way->of_through);
    kith__list_push_front(&way->through->used, &way->of_through);
}

static struct kith_sockaddr address_of(uint64_t number)
{
    struct kith_sockaddr address = { .family = KITH_FAMILY_RELAY };

    for (int i = NUMBER_SIZE; i-- > 0; number >>= 8)
        address.ip[i] = (uint8_t)number;
    return address;
}

static struct kith_relay_way *make(struct kith_relay_ways *ways, struct kith_relay_ways_of *through,
                                   const struct kith_id *id)
{
    struct kith_relay_way *way = kith__alloc_zero(ways->mem, sizeof *way);

    if (way == NULL)
        return NULL;
    kith__list_init(&way->node);
    kith__list_init(&way->of_through);
    way->through = through;
    way->id = *id;
    way->address = address_of(++ways->next_number);
    if (kith__map_put(&ways->by_number, way->address.ip, NUMBER_SIZE, way) != 0)
        goto fail;
    if (kith__map_put(&through->by_id, id->bytes, sizeof id->bytes, way) != 0) {
        (void)kith__map_remove(&ways->by_number, way->address.ip, NUMBER_SIZE);
        goto fail;
    }
    through->count++;
    ways->count++;
    return way;
fail:
    kith__free(ways->mem, way);
    return NULL;
}

struct kith_relay_way *kith__relay_ways_get(struct kith_relay_ways *ways, struct kith_relay_ways_of *through,
                                            const struct kith_id *id, uint64_t now_ns)
{
    struct kith_relay_way *way = kith__map_get(&through->by_id, id->bytes, sizeof id->bytes);

    if (way == NULL) {
        if (ways->count == KITH_RELAY_WAYS_MAX) {
            forget(ways, oldest_of_most(ways));
            ways->evicted++;
        }
        if ((way = make(ways, through, id)) == NULL)
            return NULL;
    }
    kith__relay_ways_touch(ways, way, now_ns);
    return way;
}

struct kith_relay_way *kith__relay_ways_find(const struct kith_relay_ways *ways, const struct kith_sockaddr *address)
{
    return address->family == KITH_FAMILY_RELAY ? kith__map_get(&ways->by_number, address->ip, NUMBER_SIZE) : NULL;
}

void kith__relay_ways_age(struct kith_relay_ways *ways, uint64_t now_ns)
{
    struct kith_relay_way *way;

    while ((way = oldest(ways)) != NULL && now_ns - way->used_ns > KITH_RELAY_WAY_IDLE_NS)
        forget(ways, way);
}
