#include "base/mem.h"
#include "base/test.h"
#include "endpoint/relay_ways.h"

static struct kith_id id_of(uint32_t n)
{
    struct kith_id id = { { 0 } };

    memcpy(id.bytes, &n, sizeof n);
    return id;
}

KITH_TEST(relay_way_is_the_same_number_for_the_same_pair_only)
{
    struct kith_relay_ways ways;
    struct kith_relay_ways_of throughs[2];
    struct kith_id ids[2] = { id_of(1), id_of(2) };
    struct kith_sockaddr first, other;
    const struct kith_relay_way *way;

    kith__relay_ways_init(&ways, kith_mem_default(), 7);
    kith__relay_ways_of_init(&ways, &throughs[0]);
    kith__relay_ways_of_init(&ways, &throughs[1]);
    first = kith__relay_ways_get(&ways, &throughs[0], &ids[0], 1)->address;
    KITH_CHECK_EQ(first.family, KITH_FAMILY_RELAY);
    other = kith__relay_ways_get(&ways, &throughs[1], &ids[0], 1)->address;
    KITH_CHECK(!kith_sockaddr_equal(&first, &other));
    other = kith__relay_ways_get(&ways, &throughs[0], &ids[1], 1)->address;
    KITH_CHECK(!kith_sockaddr_equal(&first, &other));
    other = kith__relay_ways_get(&ways, &throughs[0], &ids[0], 2)->address;
    KITH_CHECK(kith_sockaddr_equal(&first, &other));
    way = kith__relay_ways_find(&ways, &first);
    KITH_CHECK(way != NULL && way->through == &throughs[0] && memcmp(&way->id, &ids[0], sizeof way->id) == 0);
    other.family = KITH_FAMILY_V6;
    KITH_CHECK(kith__relay_ways_find(&ways, &other) == NULL);
    kith__relay_ways_of_dispose(&ways, &throughs[0]);
    KITH_CHECK(kith__relay_ways_find(&ways, &first) == NULL);
    KITH_CHECK_EQ(ways.count, 1);
    kith__relay_ways_of_dispose(&ways, &throughs[1]);
    kith__relay_ways_dispose(&ways);
}

KITH_TEST(relay_ways_that_nobody_uses_are_forgotten_and_their_number_with_them)
{
    struct kith_relay_ways ways;
    struct kith_relay_ways_of through;
    struct kith_id a = id_of(1), b = id_of(2);
    struct kith_sockaddr old, kept;

    kith__relay_ways_init(&ways, kith_mem_default(), 7);
    kith__relay_ways_of_init(&ways, &through);
    old = kith__relay_ways_get(&ways, &through, &a, 1)->address;
    kept = kith__relay_ways_get(&ways, &through, &b, 1)->address;
    kith__relay_ways_touch(&ways, kith__relay_ways_find(&ways, &kept), KITH_RELAY_WAY_IDLE_NS);
    kith__relay_ways_age(&ways, KITH_RELAY_WAY_IDLE_NS + 2);
    KITH_CHECK(kith__relay_ways_find(&ways, &old) == NULL);
    KITH_CHECK(kith__relay_ways_find(&ways, &kept) != NULL);
    KITH_CHECK(memcmp(kith__relay_ways_get(&ways, &through, &a, KITH_RELAY_WAY_IDLE_NS)->address.ip, old.ip, 16) != 0);
    kith__relay_ways_of_dispose(&ways, &through);
    kith__relay_ways_dispose(&ways);
}

KITH_TEST(relay_ways_are_bounded_and_the_oldest_makes_room)
{
    struct kith_relay_ways ways;
    struct kith_relay_ways_of through;
    struct kith_id first = id_of(0), second = id_of(1);
    struct kith_sockaddr kept, gone;

    kith__relay_ways_init(&ways, kith_mem_default(), 7);
    kith__relay_ways_of_init(&ways, &through);
    kept = kith__relay_ways_get(&ways, &through, &first, 1)->address;
    gone = kith__relay_ways_get(&ways, &through, &second, 1)->address;
    for (uint32_t i = 2; i < KITH_RELAY_WAYS_MAX + 1; i++) {
        struct kith_id id = id_of(i);

        kith__relay_ways_touch(&ways, kith__relay_ways_find(&ways, &kept), i);
        KITH_CHECK(kith__relay_ways_get(&ways, &through, &id, i) != NULL);
    }
    KITH_CHECK_EQ(ways.count, KITH_RELAY_WAYS_MAX);
    KITH_CHECK_EQ(ways.evicted, 1);
    KITH_CHECK(kith__relay_ways_find(&ways, &gone) == NULL);
    KITH_CHECK(kith__relay_ways_find(&ways, &kept) != NULL);
    kith__relay_ways_of_dispose(&ways, &through);
    kith__relay_ways_dispose(&ways);
}

KITH_TEST(relay_ways_of_one_relay_are_not_pushed_out_by_a_flood_through_another)
{
    struct kith_relay_ways ways;
    struct kith_relay_ways_of sound, evil;
    struct kith_id first = id_of(0), second = id_of(1);
    struct kith_sockaddr idle, new;

    kith__relay_ways_init(&ways, kith_mem_default(), 7);
    kith__relay_ways_of_init(&ways, &sound);
    kith__relay_ways_of_init(&ways, &evil);
    idle = kith__relay_ways_get(&ways, &sound, &first, 1)->address;
    for (uint32_t i = 0; i < KITH_RELAY_WAYS_MAX + 1000; i++) {
        struct kith_id id = id_of(i);

        KITH_CHECK(kith__relay_ways_get(&ways, &evil, &id, 2) != NULL);
    }
    KITH_CHECK_EQ(ways.count, KITH_RELAY_WAYS_MAX);
    KITH_CHECK_EQ(ways.evicted, 1001);
    KITH_CHECK(kith__relay_ways_find(&ways, &idle) != NULL);
    new = kith__relay_ways_get(&ways, &sound, &second, 3)->address; /* also one that comes when the list is full */
    KITH_CHECK(kith__relay_ways_find(&ways, &idle) != NULL && kith__relay_ways_find(&ways, &new) != NULL);
    KITH_CHECK_EQ(sound.count, 2);
    kith__relay_ways_of_dispose(&ways, &evil);
    KITH_CHECK_EQ(ways.count, 2);
    kith__relay_ways_of_dispose(&ways, &sound);
    kith__relay_ways_dispose(&ways);
}

KITH_TEST(relay_ways_survive_every_failed_allocation)
{
    for (uint64_t n = 1; n < 8; n++) {
        struct kith_relay_ways ways;
        struct kith_relay_ways_of through;
        struct kith_test_mem mem;

        kith__test_mem_init(&mem, n);
        kith__relay_ways_init(&ways, &mem.mem, 7);
        kith__relay_ways_of_init(&ways, &through);
        for (uint32_t i = 0; i < 3; i++) {
            struct kith_id id = id_of(i);

            (void)kith__relay_ways_get(&ways, &through, &id, 1);
        }
        KITH_CHECK(ways.count >= 2);
        kith__relay_ways_of_dispose(&ways, &through);
        kith__relay_ways_dispose(&ways);
        KITH_CHECK_EQ(mem.live, 0);
    }
}
