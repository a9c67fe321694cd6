/* Whole networks in virtual time. */
#include "lookup/dht_crowd.h"

/** So many nodes that answer, a little after each other, and time to find their places. */
static void grow(struct crowd *crowd, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        crowd_add(crowd, true);
        crowd_pass(crowd, 50 * KITH_NS_PER_MS);
    }
    crowd_pass(crowd, 30 * KITH_NS_PER_S);
}

KITH_TEST(dht_of_120_nodes_finds_the_newest_packet_in_spite_of_loss_and_dead_nodes)
{
    static struct crowd crowd;
    struct crowd_node *publisher, *looker;
    struct crowd_end end;

    crowd_open(&crowd, kith__test_seed(1), false, 20000);
    grow(&crowd, 120);
    publisher = crowd_add(&crowd, false);
    looker = crowd_add(&crowd, false);
    crowd_pass(&crowd, 5 * KITH_NS_PER_S);
    end = crowd_get(looker, 1);
    KITH_CHECK_EQ(end.err, KITH_ERR_NOT_FOUND);
    end = crowd_put(publisher, 7);
    KITH_CHECK_EQ(end.err, 0);
    KITH_CHECK(end.stored >= 15);
    end = crowd_get(looker, 1);
    KITH_CHECK_EQ(end.err, 0);
    KITH_CHECK_EQ(end.timestamp_us, crowd_us(7));
    /* A third of the nodes dies without a word: others have it still, and the next packet goes to those that live. */
    for (size_t i = 1; i < 120; i += 3)
        crowd_kill(&crowd.nodes[i]);
    end = crowd_get(looker, 1);
    KITH_CHECK_EQ(end.timestamp_us, crowd_us(7));
    end = crowd_put(publisher, 9);
    KITH_CHECK_EQ(end.err, 0);
    end = crowd_get(looker, 1);
    KITH_CHECK_EQ(end.err, 0);
    KITH_CHECK_EQ(end.timestamp_us, crowd_us(9));
    KITH_CHECK(end.took_ns < 8 * KITH_NS_PER_S);
    crowd_close(&crowd);
}

/** Liars of every kind, many enough to be all of the nodes closest to the target, known to everybody. */
static void add_liars(struct crowd *crowd, size_t count, size_t honest)
{
    struct kith_id id = kith__pkarr_id(&crowd->stale);
    size_t first = crowd->count;

    crowd->target = kith__dht_id_of_key(&id);
    for (size_t i = 0; i < count; i++)
        crowd_add_liar(crowd, (enum crowd_lie)(CROWD_STALE + i % (CROWD_LIES - CROWD_STALE)));
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < honest; k++) {
                crowd_introduce(&crowd->nodes[first + i], &crowd->nodes[k].addr);
                if (k % 16 == 0)
                    crowd_pass(crowd, 20 * KITH_NS_PER_MS);
            }
    crowd_pass(crowd, 5 * KITH_NS_PER_S);
}

KITH_TEST(dht_finds_the_newest_packet_among_liars_that_sit_at_the_target)
{
    static struct crowd crowd;
    struct crowd_node *publisher, *looker;
    struct kith_dht_stats stats;
    struct crowd_end end;

    crowd_open(&crowd, kith__test_seed(2), false, 10000);
    grow(&crowd, 100);
    publisher = crowd_add(&crowd, false);
    looker = crowd_add(&crowd, false);
    crowd_pass(&crowd, 5 * KITH_NS_PER_S);
    add_liars(&crowd, 40, 100);
    KITH_CHECK_EQ(crowd_put(publisher, 5).err, 0);
    for (unsigned number = 6; number < 10; number++) {
        end = crowd_put(publisher, number);
        KITH_CHECK_EQ(end.err, 0);
        end = crowd_get(looker, 1);
        KITH_CHECK_EQ(end.err, 0);
        KITH_CHECK_EQ(end.timestamp_us, crowd_us(number));
    }
    KITH_CHECK(crowd.lies_told > 100);
    kith__dht_stats(looker->dht, &stats);
    KITH_CHECK(stats.value_signature > 0 && stats.value_wrong_key > 0 && stats.values_older > 0);
    KITH_CHECK(stats.drop_too_large > 0 && stats.drop_malformed > 0 && stats.answers_other_id > 0);
    kith__dht_stats(publisher->dht, &stats);
    KITH_CHECK(stats.put_refused > 0);
    crowd_close(&crowd);
}

KITH_TEST(dht_keeps_a_packet_while_nodes_come_and_go)
{
    static struct crowd crowd;
    struct crowd_node *publisher, *looker;
    uint64_t random = kith__test_seed(3);
    struct crowd_end end;
    unsigned number = 1;

    crowd_open(&crowd, random, true, 10000);
    grow(&crowd, 110);
    publisher = crowd_add(&crowd, false);
    looker = crowd_add(&crowd, false);
    crowd_pass(&crowd, 5 * KITH_NS_PER_S);
    for (int minute = 0; minute < 60; minute++) {
        /* Each minute four nodes die, four dead ones come back empty; each quarter of an hour there is a new packet. */
        for (int i = 0; i < 8; i++) {
            struct crowd_node *node = &crowd.nodes[1 + kith__test_random(&random) % 109];

            if (node->dht != NULL && i < 4)
                crowd_kill(node);
            else if (node->dht == NULL)
                crowd_start(node, true);
        }
        if (minute % 15 == 0)
            KITH_CHECK_EQ(crowd_put(publisher, ++number).err, 0);
        end = crowd_get(looker, 1);
        KITH_CHECK_EQ(end.err, 0);
        KITH_CHECK_EQ(end.timestamp_us, crowd_us(number));
        crowd_pass(&crowd, 50 * KITH_NS_PER_S);
    }
    crowd_close(&crowd);
}
