#include "base/map.h"
#include "base/test.h"
#include <string.h>

enum { KEYS = 500 };

KITH_TEST(map_behaves_like_an_array_of_values)
{
    struct kith_map map;
    int model[KEYS] = { 0 }, values[KEYS];
    uint64_t state = kith__test_seed(7);
    size_t count = 0;

    kith__map_init(&map, kith_mem_default(), kith__test_random(&state));
    for (int i = 0; i < 20000; i++) {
        uint32_t key = (uint32_t)(kith__test_random(&state) % KEYS);
        bool add = kith__test_random(&state) % 100 < (i / 5000 % 2 == 0 ? 80u : 10u); /* grows, then shrinks */

        KITH_CHECK(kith__map_get(&map, &key, sizeof key) == (model[key] ? &values[key] : NULL));
        if (add) {
            KITH_CHECK_EQ(kith__map_put(&map, &key, sizeof key, &values[key]), 0);
            count += !model[key];
        } else {
            KITH_CHECK(kith__map_remove(&map, &key, sizeof key) == (model[key] ? &values[key] : NULL));
            count -= (size_t)model[key];
        }
        model[key] = add;
        KITH_CHECK_EQ(map.count, count);
    }
    KITH_CHECK(map.cap <= 1024);
    kith__map_dispose(&map);
}

KITH_TEST(map_tells_keys_of_different_sizes_apart)
{
    struct kith_map map;
    uint8_t key[KITH_MAP_KEY_MAX] = { 0 };
    int values[KITH_MAP_KEY_MAX + 1];

    kith__map_init(&map, kith_mem_default(), 0);
    for (size_t size = 0; size <= sizeof key; size++)
        KITH_CHECK_EQ(kith__map_put(&map, key, size, &values[size]), 0);
    for (size_t size = 0; size <= sizeof key; size++)
        KITH_CHECK(kith__map_get(&map, key, size) == &values[size]);
    KITH_CHECK_EQ(kith__map_put(&map, key, 5, &values[0]), 0);
    KITH_CHECK(kith__map_get(&map, key, 5) == &values[0]);
    KITH_CHECK_EQ(map.count, KITH_MAP_KEY_MAX + 1);
    kith__map_dispose(&map);
}

KITH_TEST(map_without_memory_stays_as_it_was)
{
    for (uint64_t fail_at = 1; fail_at < 6; fail_at++) {
        struct kith_test_mem mem;
        struct kith_map map;
        uint32_t stored = 0;

        kith__test_mem_init(&mem, fail_at);
        kith__map_init(&map, &mem.mem, 3);
        for (uint32_t key = 0; key < 100; key++) {
            if (kith__map_put(&map, &key, sizeof key, &map) == 0)
                stored++;
            else
                KITH_CHECK(kith__map_get(&map, &key, sizeof key) == NULL);
            KITH_CHECK_EQ(map.count, stored);
        }
        KITH_CHECK_EQ(stored, 99);
        for (uint32_t key = 0; key < 100; key++)
            kith__map_remove(&map, &key, sizeof key);
        KITH_CHECK_EQ(map.count, 0);
        kith__map_dispose(&map);
        KITH_CHECK_EQ(mem.live, 0);
    }
}
