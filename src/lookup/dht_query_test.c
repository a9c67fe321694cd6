#include "lookup/dht_query.h"

#include "base/mem.h"
#include "base/test.h"

#include <string.h>

static const struct kith_dht_id target = { { 0 } };
static const struct kith_slice token = { (const uint8_t *)"token", 5 };

/** A node at a distance, in 10/8 or in 80/8 with an id that does not fit its address. */
static struct kith_dht_node node_at(unsigned distance, bool is_public)
{
    struct kith_dht_node node = { .addr = { .family = KITH_FAMILY_V4, .port = 6881, .ip = { is_public ? 80 : 10 } } };

    node.id.bytes[0] = 0x40; /* fits no public address that is used here */
    node.id.bytes[18] = (uint8_t)(distance >> 8);
    node.id.bytes[19] = (uint8_t)distance;
    node.addr.ip[2] = (uint8_t)(distance >> 8);
    node.addr.ip[3] = (uint8_t)distance;
    return node;
}

static uint8_t add(struct kith_dht_query *query, unsigned distance, bool is_public)
{
    struct kith_dht_node node = node_at(distance, is_public);

    return kith__dht_query_add(query, &node);
}

static void answer(struct kith_dht_query *query, uint8_t place)
{
    struct kith_dht_id id = query->candidates[place].node.id;

    kith__dht_query_on_answer(query, place, &id, token);
}

KITH_TEST(dht_query_asks_the_closest_first_and_not_too_many_at_once)
{
    struct kith_dht_query query;
    uint8_t places[KITH_DHT_ALPHA];

    KITH_CHECK_EQ(kith__dht_query_init(&query, kith_mem_default(), &target), 0);
    KITH_CHECK(kith__dht_query_is_done(&query)); /* of nobody there is nothing to wait for */
    for (unsigned i = 0; i < 30; i++)
        KITH_CHECK(add(&query, 1000 - i * 7 % 30, false) != KITH_DHT_NOBODY);
    for (size_t i = 0; i < KITH_DHT_ALPHA; i++) {
        places[i] = kith__dht_query_next(&query);
        KITH_CHECK_EQ(query.candidates[places[i]].node.id.bytes[19], (uint8_t)(971 + i));
    }
    KITH_CHECK_EQ(kith__dht_query_next(&query), KITH_DHT_NOBODY);
    kith__dht_query_on_slow(&query, places[0]); /* beside a slow one another may be asked, once */
    kith__dht_query_on_slow(&query, places[0]);
    KITH_CHECK(kith__dht_query_next(&query) != KITH_DHT_NOBODY);
    KITH_CHECK_EQ(kith__dht_query_next(&query), KITH_DHT_NOBODY);
    answer(&query, places[0]); /* it had been replaced already */
    KITH_CHECK_EQ(kith__dht_query_next(&query), KITH_DHT_NOBODY);
    answer(&query, places[1]);
    KITH_CHECK(kith__dht_query_next(&query) != KITH_DHT_NOBODY);
    KITH_CHECK(!kith__dht_query_is_done(&query));
    kith__dht_query_dispose(&query, kith_mem_default());
}

KITH_TEST(dht_query_is_done_when_the_twenty_closest_that_speak_have_answered)
{
    struct kith_dht_query query;
    size_t asked = 0, silent = 0;
    uint8_t place;

    KITH_CHECK_EQ(kith__dht_query_init(&query, kith_mem_default(), &target), 0);
    for (unsigned i = 0; i < 100; i++)
        add(&query, i, false);
    while ((place = kith__dht_query_next(&query)) != KITH_DHT_NOBODY) {
        KITH_CHECK(!kith__dht_query_is_done(&query));
        if (++asked % 5 == 0)
            kith__dht_query_on_silence(&query, place);
        else
            answer(&query, place);
        silent += asked % 5 == 0;
    }
    KITH_CHECK(kith__dht_query_is_done(&query));
    KITH_CHECK_EQ(asked, 20 + silent);
    KITH_CHECK_EQ(silent, 4);
    KITH_CHECK_EQ(kith__dht_query_mark_close(&query), 20);
    add(&query, 5000, false); /* farther ones change nothing */
    KITH_CHECK(kith__dht_query_is_done(&query));
    {
        struct kith_dht_node closer = node_at(1, false);

        closer.id.bytes[0] = 0;
        closer.addr.ip[1] = 1;
        kith__dht_query_add(&query, &closer);
    }
    KITH_CHECK(!kith__dht_query_is_done(&query));
    kith__dht_query_dispose(&query, kith_mem_default());
}

KITH_TEST(dht_query_asks_nodes_whose_ids_fit_behind_any_number_of_others)
{
    struct kith_dht_query query;
    size_t honest = 0;
    uint8_t place;

    KITH_CHECK_EQ(kith__dht_query_init(&query, kith_mem_default(), &target), 0);
    for (unsigned i = 0; i < 60; i++)
        KITH_CHECK(add(&query, i, true) != KITH_DHT_NOBODY);
    for (unsigned i = 0; i < 25; i++)
        add(&query, 1000 + i, false);
    while ((place = kith__dht_query_next(&query)) != KITH_DHT_NOBODY) {
        honest += query.candidates[place].node.addr.ip[0] == 10;
        answer(&query, place);
    }
    KITH_CHECK_EQ(honest, 20);
    KITH_CHECK(kith__dht_query_is_done(&query));
    KITH_CHECK_EQ(kith__dht_query_mark_close(&query), 40);
    kith__dht_query_dispose(&query, kith_mem_default());
}

KITH_TEST(dht_query_asks_who_comes_after_slow_ones_but_waits_for_them)
{
    struct kith_dht_query query;
    uint8_t slow[KITH_DHT_CLOSEST_MAX], place;
    size_t asked = 0, after = 0;

    KITH_CHECK_EQ(kith__dht_query_init(&query, kith_mem_default(), &target), 0);
    for (unsigned i = 0; i < 60; i++)
        add(&query, i, false);
    while (asked < KITH_DHT_CLOSEST_MAX && (place = kith__dht_query_next(&query)) != KITH_DHT_NOBODY) {
        kith__dht_query_on_slow(&query, place);
        slow[asked++] = place;
    }
    KITH_CHECK_EQ(asked, KITH_DHT_CLOSEST_MAX);
    while ((place = kith__dht_query_next(&query)) != KITH_DHT_NOBODY) {
        answer(&query, place);
        after++;
    }
    KITH_CHECK_EQ(after, KITH_DHT_CLOSEST_MAX);
    KITH_CHECK(!kith__dht_query_is_done(&query));
    for (size_t i = 0; i < asked; i++)
        kith__dht_query_on_silence(&query, slow[i]);
    KITH_CHECK(kith__dht_query_is_done(&query));
    kith__dht_query_dispose(&query, kith_mem_default());
}

KITH_TEST(dht_query_hears_of_everybody_once_and_of_one_address_a_few_times)
{
    struct kith_dht_query query;
    struct kith_dht_node node = node_at(1, true);
    size_t taken = 0;

    KITH_CHECK_EQ(kith__dht_query_init(&query, kith_mem_default(), &target), 0);
    KITH_CHECK(add(&query, 7, false) != KITH_DHT_NOBODY);
    KITH_CHECK_EQ(add(&query, 7, false), KITH_DHT_NOBODY);
    for (unsigned i = 0; i < 10; i++) {
        node.addr.port = (uint16_t)(1 + i);
        node.id.bytes[10] = (uint8_t)i;
        taken += kith__dht_query_add(&query, &node) != KITH_DHT_NOBODY;
    }
    KITH_CHECK_EQ(taken, KITH_DHT_PER_IP_MAX);
    node.addr.port = 0;
    KITH_CHECK_EQ(kith__dht_query_add(&query, &node), KITH_DHT_NOBODY);
    kith__dht_query_dispose(&query, kith_mem_default());
}

KITH_TEST(dht_query_forgets_the_farthest_when_it_is_full_but_nobody_who_is_being_asked)
{
    struct kith_dht_query query;
    uint8_t place;

    KITH_CHECK_EQ(kith__dht_query_init(&query, kith_mem_default(), &target), 0);
    for (unsigned i = 0; i < KITH_DHT_CANDIDATES_MAX; i++)
        KITH_CHECK(add(&query, 1000 - i, false) != KITH_DHT_NOBODY);
    KITH_CHECK_EQ(add(&query, 2000, false), KITH_DHT_NOBODY);
    KITH_CHECK(add(&query, 1, false) != KITH_DHT_NOBODY);
    KITH_CHECK_EQ(query.count, KITH_DHT_CANDIDATES_MAX);
    KITH_CHECK_EQ(query.candidates[query.order[query.count - 1]].node.id.bytes[19], (uint8_t)999);
    place = query.order[query.count - 1];
    query.candidates[place].state = KITH_DHT_CANDIDATE_SLOW;
    KITH_CHECK(add(&query, 2, false) != KITH_DHT_NOBODY);
    KITH_CHECK_EQ(query.order[query.count - 1], place);
    for (size_t i = 0; i < query.count; i++)
        query.candidates[query.order[i]].state = KITH_DHT_CANDIDATE_SLOW;
    KITH_CHECK_EQ(add(&query, 3, false), KITH_DHT_NOBODY);
    kith__dht_query_dispose(&query, kith_mem_default());
}

KITH_TEST(dht_query_takes_a_node_for_what_it_says_itself)
{
    struct kith_dht_query query;
    struct kith_dht_id own = node_at(900, false).id;
    uint8_t near, far;

    KITH_CHECK_EQ(kith__dht_query_init(&query, kith_mem_default(), &target), 0);
    near = add(&query, 1, false);
    far = add(&query, 500, false);
    KITH_CHECK_EQ(kith__dht_query_next(&query), near);
    kith__dht_query_on_answer(&query, near, &own,
                              (struct kith_slice) { (const uint8_t *)"0123456789012345678901234567890123456789"
                                                                     "0123456789012345678901234567",
                                                    KITH_KRPC_TOKEN_MAX + 1 });
    KITH_CHECK_EQ(query.order[0], far);
    KITH_CHECK_EQ(query.order[1], near);
    KITH_CHECK_EQ(query.candidates[near].token_size, 0); /* too long a token is none */
    KITH_CHECK_EQ(query.answered, 1);
    kith__dht_query_dispose(&query, kith_mem_default());
}
