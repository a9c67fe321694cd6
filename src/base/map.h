/**
 * Hash map from fixed-size byte keys to pointers: open addressing, linear probing, SipHash-1-3 keyed by the seed, so that
 * a peer who does not know the seed cannot choose colliding keys. Owner: whoever holds it by value.
 * There is no iteration on purpose: its order would depend on the seed (determinism); use the lists of the objects.
 */
#ifndef KITH_BASE_MAP_H
#define KITH_BASE_MAP_H

#include <kith/types.h>

enum { KITH_MAP_KEY_MAX = 32 };

struct kith_map {
    uint8_t *slots; /* opaque */
    size_t count, cap;
    uint64_t seed;
    const struct kith_mem *mem;
};

/** seed: random per map for keys that a peer can choose. */
void kith__map_init(struct kith_map *map, const struct kith_mem *mem, uint64_t seed);
void kith__map_dispose(struct kith_map *map);
/** The value, or NULL. key_size <= KITH_MAP_KEY_MAX; keys of different sizes are different keys. */
void *kith__map_get(const struct kith_map *map, const void *key, size_t key_size);
/** Adds or replaces; value is not NULL. KITH_ERR_NOMEM leaves the map as it was. */
int kith__map_put(struct kith_map *map, const void *key, size_t key_size, void *value);
/** Removes and returns the value, or NULL. */
void *kith__map_remove(struct kith_map *map, const void *key, size_t key_size);

#endif
