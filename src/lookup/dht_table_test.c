#include "lookup/dht_table.h"

#include "base/mem.h"
#include "base/test.h"

#include <string.h>

static const struct kith_dht_id own = { { 0 } };

/** A node whose id has `depth` leading bits in common with ours, and differs from others by `number`; at 10.0.x.y. */
static struct kith_dht_node node_at(unsigned depth, unsigned number)
{
    struct kith_dht_node node = { .addr = { .family = KITH_FAMILY_V4, .port = 6881, .ip = { 10 } } };

    node.id.bytes[depth / 8] = (uint8_t)(0x80 >> depth % 8);
    node.id.bytes[18] = (uint8_t)(number >> 8);
    node.id.bytes[19] = (uint8_t)number;
    node.addr.ip[1] = (uint8_t)depth;
    node.addr.ip[2] = (uint8_t)(number >> 8);
    node.addr.ip[3] = (uint8_t)number;
    return node;
}

KITH_TEST(dht_table_keeps_old_nodes_that_answer)
{
    struct kith_dht_stats stats = { 0 };
    struct kith_dht_table table;
    struct kith_dht_node found[KITH_DHT_CLOSEST_MAX], node;

    kith__dht_table_init(&table, kith_mem_default(), &own, &stats);
    for (unsigned i = 0; i < 2 * KITH_DHT_BUCKET_SIZE; i++) {
        node = node_at(0, i);
        KITH_CHECK_EQ(kith__dht_table_wants(&table, &node), i < KITH_DHT_BUCKET_SIZE);
        kith__dht_table_on_answer(&table, &node, KITH_NS_PER_S);
    }
    KITH_CHECK_EQ(table.count, KITH_DHT_BUCKET_SIZE);
    KITH_CHECK_EQ(stats.nodes_no_room, KITH_DHT_BUCKET_SIZE);
    node = node_at(0, 0);
    KITH_CHECK_EQ(kith__dht_table_closest(&table, &node.id, found, 3), 3);
    KITH_CHECK(kith__dht_id_equal(&found[0].id, &node.id));
    kith__dht_table_on_answer(&table, &(struct kith_dht_node) { .id = own, .addr = node.addr }, KITH_NS_PER_S);
    KITH_CHECK_EQ(table.count, KITH_DHT_BUCKET_SIZE); /* ourselves we do not need */
    kith__dht_table_dispose(&table);
}

KITH_TEST(dht_table_gives_the_place_of_a_silent_node_to_one_that_waits)
{
    struct kith_dht_stats stats = { 0 };
    struct kith_dht_table table;
    struct kith_dht_node node = node_at(0, 3), found[KITH_DHT_CLOSEST_MAX], waiting = node_at(0, 100);

    kith__dht_table_init(&table, kith_mem_default(), &own, &stats);
    for (unsigned i = 0; i < KITH_DHT_BUCKET_SIZE; i++) {
        struct kith_dht_node each = node_at(0, i);

        kith__dht_table_on_answer(&table, &each, KITH_NS_PER_S);
    }
    kith__dht_table_on_answer(&table, &waiting, KITH_NS_PER_S);
    kith__dht_table_on_silence(&table, &node.addr);
    kith__dht_table_on_answer(&table, &node, KITH_NS_PER_S); /* forgiven */
    kith__dht_table_on_silence(&table, &node.addr);
    KITH_CHECK_EQ(kith__dht_table_closest(&table, &node.id, found, 1), 1);
    KITH_CHECK(kith__dht_id_equal(&found[0].id, &node.id));
    kith__dht_table_on_silence(&table, &node.addr);
    KITH_CHECK_EQ(table.count, KITH_DHT_BUCKET_SIZE);
    KITH_CHECK_EQ(stats.nodes_bad, 1);
    KITH_CHECK_EQ(kith__dht_table_closest(&table, &waiting.id, found, 1), 1);
    KITH_CHECK(kith__dht_id_equal(&found[0].id, &waiting.id));
    kith__dht_table_dispose(&table);
}

KITH_TEST(dht_table_does_not_tell_of_bad_nodes_but_keeps_them_while_nobody_needs_the_place)
{
    struct kith_dht_stats stats = { 0 };
    struct kith_dht_table table;
    struct kith_dht_node node = node_at(1, 1), found[1];

    kith__dht_table_init(&table, kith_mem_default(), &own, &stats);
    kith__dht_table_on_answer(&table, &node, 1);
    kith__dht_table_on_silence(&table, &node.addr);
    kith__dht_table_on_silence(&table, &node.addr);
    KITH_CHECK_EQ(table.count, 1);
    KITH_CHECK_EQ(kith__dht_table_good_count(&table), 0);
    KITH_CHECK_EQ(kith__dht_table_closest(&table, &node.id, found, 1), 0);
    kith__dht_table_on_answer(&table, &node, 2);
    KITH_CHECK_EQ(kith__dht_table_good_count(&table), 1);
    kith__dht_table_dispose(&table);
}

KITH_TEST(dht_table_prefers_ids_that_fit_their_addresses)
{
    struct kith_dht_stats stats = { 0 };
    struct kith_dht_table table;
    struct kith_dht_node node;

    kith__dht_table_init(&table, kith_mem_default(), &own, &stats);
    for (unsigned i = 0; i < KITH_DHT_BUCKET_SIZE; i++) {
        node = node_at(0, i);
        node.addr.ip[0] = 8; /* public: these ids do not fit */
        kith__dht_table_on_answer(&table, &node, 1);
    }
    KITH_CHECK_EQ(table.count, KITH_DHT_BUCKET_SIZE);
    node = node_at(0, 50);
    node.addr.ip[0] = 9;
    KITH_CHECK(!kith__dht_table_wants(&table, &node));
    /* An id of its own, in the same bucket. */
    do {
        node.addr.ip[3]++;
        kith__dht_id_secure(&node.id, &node.addr);
    } while (kith__dht_id_prefix(&own, &node.id) != 0);
    KITH_CHECK(kith__dht_table_wants(&table, &node));
    kith__dht_table_on_answer(&table, &node, 1);
    KITH_CHECK_EQ(table.count, KITH_DHT_BUCKET_SIZE);
    KITH_CHECK_EQ(stats.nodes_joined, KITH_DHT_BUCKET_SIZE + 1);
    kith__dht_table_dispose(&table);
}

KITH_TEST(dht_table_has_few_places_for_one_address)
{
    struct kith_dht_stats stats = { 0 };
    struct kith_dht_table table;

    kith__dht_table_init(&table, kith_mem_default(), &own, &stats);
    for (unsigned i = 0; i < 20; i++) {
        struct kith_dht_node node = node_at(i, i);

        node.addr =
            (struct kith_sockaddr) { .family = KITH_FAMILY_V4, .ip = { 8, 8, 8, 8 }, .port = (uint16_t)(1000 + i) };
        kith__dht_table_on_answer(&table, &node, 1);
    }
    KITH_CHECK_EQ(table.count, KITH_DHT_PER_IP_MAX);
    kith__dht_table_dispose(&table);
}

KITH_TEST(dht_table_lets_nobody_take_over_an_id)
{
    struct kith_dht_stats stats = { 0 };
    struct kith_dht_table table;
    struct kith_dht_node node = node_at(2, 1), thief = node_at(2, 1), found[2];

    thief.addr.ip[3] = 99;
    kith__dht_table_init(&table, kith_mem_default(), &own, &stats);
    kith__dht_table_on_answer(&table, &node, 1);
    kith__dht_table_on_answer(&table, &thief, 2);
    KITH_CHECK_EQ(kith__dht_table_closest(&table, &node.id, found, 2), 1);
    KITH_CHECK(kith_sockaddr_equal(&found[0].addr, &node.addr));
    kith__dht_table_on_silence(&table, &node.addr); /* it moved, it seems */
    kith__dht_table_on_answer(&table, &thief, 3);
    KITH_CHECK_EQ(kith__dht_table_closest(&table, &node.id, found, 2), 1);
    KITH_CHECK(kith_sockaddr_equal(&found[0].addr, &thief.addr));
    thief.id.bytes[0] ^= 1; /* started again with another id */
    kith__dht_table_on_answer(&table, &thief, 4);
    KITH_CHECK_EQ(table.count, 1);
    kith__dht_table_dispose(&table);
}

KITH_TEST(dht_table_asks_again_who_was_silent_long_and_refreshes_quiet_buckets)
{
    struct kith_dht_stats stats = { 0 };
    struct kith_dht_table table;
    struct kith_dht_node node = node_at(5, 1), due;
    struct kith_prng prng;
    struct kith_random random;
    struct kith_dht_id target;
    uint64_t next_ns = KITH_NEVER, start_ns = KITH_NS_PER_S;

    kith__prng_init(&prng, 1);
    random = kith__prng_source(&prng);
    kith__dht_table_init(&table, kith_mem_default(), &own, &stats);
    kith__dht_table_on_answer(&table, &node, start_ns);
    KITH_CHECK(!kith__dht_table_next_check(&table, start_ns, &due, &next_ns));
    KITH_CHECK_EQ(next_ns, start_ns + KITH_DHT_FRESH_NS);
    KITH_CHECK(!kith__dht_table_next_refresh(&table, &random, start_ns, &target, &next_ns));
    KITH_CHECK(kith__dht_table_next_check(&table, next_ns, &due, &next_ns));
    KITH_CHECK(kith__dht_id_equal(&due.id, &node.id));
    next_ns = start_ns + KITH_DHT_FRESH_NS;
    KITH_CHECK(!kith__dht_table_next_check(&table, next_ns, &due, &next_ns)); /* not twice at once */
    KITH_CHECK(kith__dht_table_next_refresh(&table, &random, next_ns, &target, &next_ns));
    KITH_CHECK_EQ(kith__dht_id_prefix(&own, &target), 5);
    KITH_CHECK(!kith__dht_table_next_refresh(&table, &random, next_ns, &target, &next_ns));
    kith__dht_table_dispose(&table);
}

KITH_TEST(dht_table_moves_its_nodes_when_our_id_changes)
{
    struct kith_dht_stats stats = { 0 };
    struct kith_dht_table table;
    struct kith_dht_id other = { { 0xff, 0xff } };

    kith__dht_table_init(&table, kith_mem_default(), &own, &stats);
    for (unsigned i = 0; i < 8; i++) {
        struct kith_dht_node node = node_at(i, i);

        kith__dht_table_on_answer(&table, &node, 1);
    }
    kith__dht_table_set_own(&table, &other);
    KITH_CHECK_EQ(table.count, 8);
    for (unsigned i = 0; i < 8; i++) {
        struct kith_dht_node node = node_at(i, i), found[1];

        KITH_CHECK_EQ(kith__dht_table_closest(&table, &node.id, found, 1), 1);
        KITH_CHECK(kith__dht_id_equal(&found[0].id, &node.id));
        KITH_CHECK(table.buckets[kith__dht_id_prefix(&other, &node.id)]->count > 0);
    }
    kith__dht_table_dispose(&table);
}

KITH_TEST(dht_table_without_memory_stays_as_it_is)
{
    struct kith_dht_stats stats = { 0 };
    struct kith_dht_table table;
    struct kith_test_mem mem;
    struct kith_dht_node node = node_at(1, 1);

    kith__test_mem_init(&mem, 1);
    kith__dht_table_init(&table, &mem.mem, &own, &stats);
    kith__dht_table_on_answer(&table, &node, 1);
    KITH_CHECK_EQ(table.count, 0);
    KITH_CHECK_EQ(stats.nodes_no_room, 1);
    kith__dht_table_on_answer(&table, &node, 1);
    KITH_CHECK_EQ(table.count, 1);
    kith__dht_table_dispose(&table);
    KITH_CHECK_EQ(mem.live, 0);
}
