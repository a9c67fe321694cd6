/*
 * Open addressing with linear probing; a removal shifts later entries of the same run back, so that there are no
 * tombstones and a map that lives long does not get slower. The table grows at three quarters and shrinks at one eighth.
 */
#include "base/map.h"

#include "base/assert.h"
#include "base/mem.h"

enum { CAP_MIN = 8 };

struct slot {
    void *value; /* NULL: the slot is free */
    uint32_t hash;
    uint8_t key_size;
    uint8_t key[KITH_MAP_KEY_MAX];
};

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/** SipHash-1-3 with the key (seed, complement of seed): the full-strength key is not needed for table slots. */
static uint32_t hash_key(uint64_t seed, const uint8_t *key, size_t size)
{
    uint64_t v[4] = { seed ^ UINT64_C(0x736f6d6570736575), ~seed ^ UINT64_C(0x646f72616e646f6d),
                      seed ^ UINT64_C(0x6c7967656e657261), ~seed ^ UINT64_C(0x7465646279746573) };

    for (size_t i = 0; i <= size; i += 8) {
        uint64_t word = 0;

        for (size_t j = i; j < size && j < i + 8; j++)
            word |= (uint64_t)key[j] << (8 * (j - i));
        if (size - i < 8)
            word |= (uint64_t)size << 56;
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    v[0] ^= v[1] ^ v[2] ^ v[3];
    return (uint32_t)(v[0] ^ v[0] >> 32);
}

void kith__map_init(struct kith_map *map, const struct kith_mem *mem, uint64_t seed)
{
    *map = (struct kith_map) { .mem = mem, .seed = seed };
}

void kith__map_dispose(struct kith_map *map)
{
    kith__free(map->mem, map->slots);
    kith__map_init(map, map->mem, map->seed);
}

static struct slot *slots_of(const struct kith_map *map)
{
    return (struct slot *)(void *)map->slots;
}

/** The slot with the key, or the free slot where it would go. The table has at least one free slot. */
static struct slot *find(const struct kith_map *map, uint32_t hash, const void *key, size_t key_size)
{
    struct slot *slots = slots_of(map);
    size_t i = hash & (map->cap - 1);

    while (slots[i].value != NULL &&
           (slots[i].hash != hash || slots[i].key_size != key_size || memcmp(slots[i].key, key, key_size) != 0))
        i = (i + 1) & (map->cap - 1);
    return &slots[i];
}

void *kith__map_get(const struct kith_map *map, const void *key, size_t key_size)
{
    KITH_ASSERT(key_size <= KITH_MAP_KEY_MAX);
    if (map->count == 0)
        return NULL;
    return find(map, hash_key(map->seed, key, key_size), key, key_size)->value;
}

static int resize(struct kith_map *map, size_t cap)
{
    struct slot *old = slots_of(map);
    struct kith_map bigger = *map;

    bigger.slots = kith__alloc_array(map->mem, cap, sizeof(struct slot));
    if (bigger.slots == NULL)
        return KITH_ERR_NOMEM;
    bigger.cap = cap;
    for (size_t i = 0; i < map->cap; i++)
        if (old[i].value != NULL)
            *find(&bigger, old[i].hash, old[i].key, old[i].key_size) = old[i];
    kith__free(map->mem, map->slots);
    *map = bigger;
    return 0;
}

int kith__map_put(struct kith_map *map, const void *key, size_t key_size, void *value)
{
    uint32_t hash;
    struct slot *slot;
    int err;

    KITH_ASSERT(key_size <= KITH_MAP_KEY_MAX && value != NULL);
    if (kith__map_get(map, key, key_size) == NULL && map->count + 1 > map->cap / 4 * 3) {
        if ((err = resize(map, KITH_MAX(map->cap * 2, (size_t)CAP_MIN))) != 0)
            return err;
    }
    hash = hash_key(map->seed, key, key_size);
    slot = find(map, hash, key, key_size);
    if (slot->value == NULL) {
        *slot = (struct slot) { .hash = hash, .key_size = (uint8_t)key_size };
        memcpy(slot->key, key, key_size);
        map->count++;
    }
    slot->value = value;
    return 0;
}

/** Fills the hole at `index` with entries of the same run that a search would no longer reach. */
static void close_hole(struct kith_map *map, size_t index)
{
    struct slot *slots = slots_of(map);
    size_t mask = map->cap - 1;
    size_t hole = index;

    for (size_t i = (hole + 1) & mask; slots[i].value != NULL; i = (i + 1) & mask) {
        size_t home = slots[i].hash & mask;

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            slots[hole] = slots[i];
            hole = i;
        }
    }
    slots[hole].value = NULL;
}

void *kith__map_remove(struct kith_map *map, const void *key, size_t key_size)
{
    struct slot *slot;
    void *value;

    KITH_ASSERT(key_size <= KITH_MAP_KEY_MAX);
    if (map->count == 0)
        return NULL;
    slot = find(map, hash_key(map->seed, key, key_size), key, key_size);
    value = slot->value;
    if (value == NULL)
        return NULL;
    close_hole(map, (size_t)(slot - slots_of(map)));
    map->count--;
    if (map->cap > CAP_MIN && map->count < map->cap / 8)
        (void)resize(map, map->cap / 2); /* without memory the table merely stays large */
    return value;
}
