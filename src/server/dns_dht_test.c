/* Keys looked for in the DHT: what is remembered, how long, how much at most. In virtual time, with a DHT of simulated hosts. */
#include "server/dns_dht.h"

#include "lookup/dht_crowd.h"
#include "zone/store_memory.h"

enum { NODES = 6 };

struct rig {
    struct crowd crowd;
    struct kith_rt *rt;
    struct kith_dns_shared shared;
    struct kith_dns_finder *finder;
    unsigned house_wakes, worker_wakes;
};

static void wake_house(void *ctx)
{
    ((struct rig *)ctx)->house_wakes++;
}

static void wake_workers(void *ctx)
{
    ((struct rig *)ctx)->worker_wakes++;
}

static void make_shared(struct rig *rig, const struct kith_mem *mem)
{
    static const struct kith_dns_origin origin = { .name = "t" };
    struct kith_store_memory_options memory = { .mem = kith_mem_default() };
    struct kith_zone_problem problem;
    struct kith_server_why why;
    struct kith_dns_rules *rules;
    struct kith_store *store;
    struct kith_zone *zone;

    KITH_CHECK_EQ(kith__store_memory_new(&memory, &store), 0);
    KITH_CHECK_EQ(kith__zone_new(kith_mem_default(), &origin, 1, &zone, &problem), 0);
    KITH_CHECK_EQ(kith__dns_rules_new(kith_mem_default(), NULL, 1, &rules, &why), 0);
    KITH_CHECK_EQ(kith__dns_shared_init(&rig->shared, kith_mem_default(), NULL, 1, store, zone, rules), 0);
    rig->shared.mem = mem; /* of the finder */
}

static int make_finder(struct rig *rig)
{
    static const char *const bootstrap[] = { "node0:6881" };
    const struct kith_dns_dht dht = { .bootstrap = bootstrap, .bootstrap_count = 1 };
    struct kith_dns_finder_options options = { .rt = rig->rt,
                                               .shared = &rig->shared,
                                               .dht = &dht,
                                               .wake_house = wake_house,
                                               .house = rig,
                                               .wake_workers = wake_workers,
                                               .ctx = rig,
                                               .seed = 5 };

    return kith__dns_finder_new(&options, &rig->finder);
}

static void dispose_shared(struct rig *rig)
{
    rig->shared.mem = kith_mem_default();
    kith__dns_shared_dispose(&rig->shared);
}

/* A DHT of so many nodes, and a finder on a host of its own. */
static void rig_open(struct rig *rig, size_t nodes)
{
    memset(rig, 0, sizeof *rig);
    crowd_open(&rig->crowd, kith__test_seed(3), false, 0);
    for (size_t i = 0; i < nodes; i++)
        crowd_add(&rig->crowd, true);
    crowd_pass(&rig->crowd, 10 * KITH_NS_PER_S);
    rig->rt = crowd_host(&rig->crowd)->rt;
    make_shared(rig, kith_mem_default());
    KITH_CHECK_EQ(make_finder(rig), 0);
    crowd_pass(&rig->crowd, 10 * KITH_NS_PER_S);
}

static void rig_close(struct rig *rig)
{
    kith__dns_finder_free(rig->finder);
    dispose_shared(rig);
    crowd_close(&rig->crowd);
}

static struct kith_id id_of(uint8_t seed)
{
    struct kith_secret secret = { .bytes = { seed } };

    return kith__secret_id(&secret);
}

#define COUNTER(rig, field) kith__dns_counter(&kith__dns_house_counters(&(rig)->shared)->field)

/* Asks, and lets the house and the DHT do what they have to. */
static int find_in_the_end(struct rig *rig, const struct kith_id *id, struct kith_pkarr *out)
{
    int err = kith__dns_finder_find(rig->finder, id, out);

    if (err != KITH_ERR_AGAIN)
        return err;
    kith__dns_finder_run(rig->finder);
    crowd_pass(&rig->crowd, 10 * KITH_NS_PER_S);
    return kith__dns_finder_find(rig->finder, id, out);
}

KITH_TEST(dns_finder_remembers_for_five_minutes_what_it_found)
{
    static struct rig rig;
    struct kith_id id = id_of(1);
    struct kith_pkarr found;

    rig_open(&rig, NODES);
    KITH_CHECK_EQ(crowd_put(&rig.crowd.nodes[1], 5).err, 0);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(rig.house_wakes, 1);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), KITH_ERR_AGAIN); /* it is on its way */
    KITH_CHECK_EQ(rig.house_wakes, 1);
    KITH_CHECK_EQ(find_in_the_end(&rig, &id, &found), 0);
    KITH_CHECK_EQ(kith__pkarr_timestamp(&found), crowd_us(5));
    KITH_CHECK_EQ(rig.worker_wakes, 1);
    KITH_CHECK_EQ(COUNTER(&rig, dht_queries), 1);
    KITH_CHECK_EQ(COUNTER(&rig, dht_found), 1);
    KITH_CHECK_EQ(crowd_put(&rig.crowd.nodes[1], 6).err, 0);
    crowd_pass(&rig.crowd, 250 * KITH_NS_PER_S);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), 0);
    KITH_CHECK_EQ(kith__pkarr_timestamp(&found), crowd_us(5));
    crowd_pass(&rig.crowd, 60 * KITH_NS_PER_S);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(find_in_the_end(&rig, &id, &found), 0);
    KITH_CHECK_EQ(kith__pkarr_timestamp(&found), crowd_us(6));
    KITH_CHECK_EQ(kith__dns_counter(&rig.shared.cache_dht), 1);
    rig_close(&rig);
}

KITH_TEST(dns_finder_asks_again_half_a_minute_after_there_was_nothing)
{
    static struct rig rig;
    struct kith_id id = id_of(1);
    struct kith_pkarr found;

    rig_open(&rig, NODES);
    KITH_CHECK_EQ(find_in_the_end(&rig, &id, &found), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(crowd_put(&rig.crowd.nodes[1], 5).err, 0);
    crowd_pass(&rig.crowd, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(find_in_the_end(&rig, &id, &found), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(COUNTER(&rig, dht_queries), 1);
    crowd_pass(&rig.crowd, 20 * KITH_NS_PER_S);
    KITH_CHECK_EQ(find_in_the_end(&rig, &id, &found), 0);
    KITH_CHECK_EQ(COUNTER(&rig, dht_queries), 2);
    rig_close(&rig);
}

KITH_TEST(dns_finder_that_reaches_nobody_knows_nothing_for_a_second_only)
{
    static struct rig rig;
    struct kith_id id = id_of(1);
    struct kith_pkarr found;

    rig_open(&rig, 0);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), KITH_ERR_AGAIN);
    kith__dns_finder_run(rig.finder);
    while (rig.worker_wakes == 0)
        crowd_pass(&rig.crowd, 100 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), KITH_ERR_NOT_FOUND);
    crowd_pass(&rig.crowd, KITH_NS_PER_S);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), KITH_ERR_AGAIN);
    rig_close(&rig);
}

KITH_TEST(dns_finder_looks_for_some_at_once_and_lets_some_wait_and_refuses_others)
{
    static struct rig rig;
    struct kith_id id = { .bytes = { 0 } };
    struct kith_pkarr found;
    size_t refused = 0;

    rig_open(&rig, NODES);
    for (uint32_t i = 0; i < KITH_DNS_FINDER_ASKED_MAX + 5; i++) {
        memcpy(id.bytes, &i, sizeof i);
        refused += kith__dns_finder_find(rig.finder, &id, &found) == KITH_ERR_LIMIT;
    }
    KITH_CHECK_EQ(refused, 5);
    kith__dns_finder_run(rig.finder);
    KITH_CHECK_EQ(COUNTER(&rig, dht_queries), KITH_DNS_FINDER_RUNNING_MAX);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), KITH_ERR_AGAIN); /* there is room again */
    while (COUNTER(&rig, dht_queries) < KITH_DNS_FINDER_ASKED_MAX + 1)             /* one ends, the next begins */
        crowd_pass(&rig.crowd, KITH_NS_PER_S);
    crowd_pass(&rig.crowd, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(rig.worker_wakes, KITH_DNS_FINDER_ASKED_MAX + 1);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), KITH_ERR_NOT_FOUND);
    rig_close(&rig);
}

KITH_TEST(dns_finder_forgets_the_oldest_key_when_it_knows_too_many)
{
    static struct rig rig;
    struct kith_id id = { .bytes = { 0 } }, first = { .bytes = { 0 } };
    struct kith_pkarr found;
    uint32_t number = 0;

    rig_open(&rig, 0); /* with nobody to ask, each is known at once to be nowhere */
    while (number < KITH_DNS_FINDER_KEYS_MAX) {
        for (int i = 0; i < KITH_DNS_FINDER_ASKED_MAX; i++, number++) {
            memcpy(id.bytes, &number, sizeof number);
            KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), KITH_ERR_AGAIN);
        }
        kith__dns_finder_run(rig.finder);
        while (COUNTER(&rig, dht_queries) < number || rig.worker_wakes < number)
            crowd_pass(&rig.crowd, KITH_NS_PER_MS);
    }
    KITH_CHECK_EQ(kith__dns_counter(&rig.shared.cache_dht), KITH_DNS_FINDER_KEYS_MAX);
    memset(id.bytes, 0xee, sizeof id.bytes);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &id, &found), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith__dns_counter(&rig.shared.cache_dht), KITH_DNS_FINDER_KEYS_MAX);
    KITH_CHECK_EQ(kith__dns_finder_find(rig.finder, &first, &found), KITH_ERR_AGAIN); /* forgotten: asked for anew */
    KITH_CHECK_EQ(kith__dns_counter(&rig.shared.cache_dht), KITH_DNS_FINDER_KEYS_MAX);
    rig_close(&rig);
}

KITH_TEST(dns_finder_survives_every_failed_allocation)
{
    static struct rig rig;

    for (uint64_t fail_at = 1;; fail_at++) {
        struct kith_id id = id_of(1);
        struct kith_test_mem mem;
        struct kith_pkarr found;
        bool is_whole;

        memset(&rig, 0, sizeof rig);
        crowd_open(&rig.crowd, kith__test_seed(3), false, 0);
        rig.rt = crowd_host(&rig.crowd)->rt;
        kith__test_mem_init(&mem, 0);
        make_shared(&rig, &mem.mem);
        mem.fail_at = fail_at;
        is_whole = make_finder(&rig) == 0 && kith__dns_finder_find(rig.finder, &id, &found) == KITH_ERR_AGAIN;
        kith__dns_finder_free(rig.finder);
        KITH_CHECK_EQ(mem.live, 0);
        dispose_shared(&rig);
        crowd_close(&rig.crowd);
        if (is_whole && mem.calls < fail_at)
            break;
    }
}
