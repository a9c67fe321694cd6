/* Who means it ill on the local network: floods, promises without end, questions without end; and a goodbye. No sockets, no clock. */
#include "lookup/mdns_core.h"

#include "base/random.h"
#include "base/test.h"
#include "crypto/sign.h"

enum { INTERFACE = 7 };

struct rig {
    struct kith_prng prng;
    struct kith_random random;
    struct kith_mdns_core *core;
    struct kith_id own;
    uint64_t now_ns;
};

static struct kith_id id_of(uint32_t number)
{
    struct kith_secret secret = { { (uint8_t)number, (uint8_t)(number >> 8), 1 } };

    return kith__secret_id(&secret);
}

static void info_of(const struct kith_id *id, struct kith_lookup_info *out)
{
    struct kith_sockaddr ip = { .family = KITH_FAMILY_V4, .ip = { 192, 0, 2, 1 }, .port = 5 };

    kith__lookup_info_init(out, kith_mem_default(), id);
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&out->addr, &ip), 0);
}

static void rig_open(struct rig *rig)
{
    struct kith_mdns_core_options options = { .mem = kith_mem_default() };
    struct kith_lookup_info info;
    unsigned link;

    kith__prng_init(&rig->prng, kith__test_seed(3));
    rig->random = kith__prng_source(&rig->prng);
    rig->own = id_of(0);
    rig->now_ns = KITH_NS_PER_S;
    options.random = &rig->random;
    options.id = rig->own;
    KITH_CHECK_EQ(kith__mdns_core_new(&options, &rig->core), 0);
    KITH_CHECK_EQ(kith__mdns_core_link_open(rig->core, INTERFACE, rig->now_ns, &link), 0);
    info_of(&rig->own, &info);
    KITH_CHECK_EQ(kith__mdns_core_say(rig->core, &info, rig->now_ns), 0);
    kith__lookup_info_dispose(&info);
}

/* All that is due until then, and the news. */
static void pass(struct rig *rig, uint64_t until_ns)
{
    uint8_t out[KITH_MDNS_MESSAGE_SIZE];
    struct kith_mdns_news news;
    unsigned link;

    for (;;) {
        while (kith__mdns_core_next(rig->core, rig->now_ns, out, &link) != 0)
            ;
        while (kith__mdns_core_news(rig->core, &news))
            ;
        if (rig->now_ns == until_ns)
            return;
        rig->now_ns = KITH_MIN(until_ns, KITH_MAX(rig->now_ns, kith__mdns_core_deadline(rig->core)));
    }
}

static void hear(struct rig *rig, const uint8_t *bytes, size_t size)
{
    kith__mdns_core_heard(rig->core, 0, (struct kith_slice) { bytes, size }, rig->now_ns);
    pass(rig, rig->now_ns);
}

static void hear_response(struct rig *rig, uint32_t number, uint32_t ttl_s)
{
    struct kith_id id = id_of(number);
    uint8_t out[KITH_MDNS_MESSAGE_SIZE];
    struct kith_lookup_info info;
    struct kith_mdns_names names;
    size_t size, left_out;

    info_of(&id, &info);
    KITH_CHECK_EQ(kith__mdns_names_init(&names, &id, NULL), 0);
    size = kith__mdns_write_response(&names, &info, INTERFACE, ttl_s, out, &left_out);
    kith__lookup_info_dispose(&info);
    hear(rig, out, size);
}

KITH_TEST(mdns_core_knows_so_many_strangers_and_no_more)
{
    enum { MORE = 40 };
    struct rig rig;

    rig_open(&rig);
    for (uint32_t i = 1; i <= KITH_MDNS_PEERS_MAX + MORE; i++) {
        hear_response(&rig, i, KITH_MDNS_TTL_MAX_S);
        pass(&rig, rig.now_ns + 10 * KITH_NS_PER_MS);
    }
    KITH_CHECK_EQ(kith__mdns_core_count(rig.core), KITH_MDNS_PEERS_MAX);
    KITH_CHECK_EQ(kith__mdns_core_stats(rig.core).drop_full, MORE);
    kith__mdns_core_free(rig.core);
}

KITH_TEST(mdns_core_reads_so_many_messages_a_second_and_no_more)
{
    struct rig rig;

    rig_open(&rig);
    for (int i = 0; i < 1000; i++)
        hear_response(&rig, 1, KITH_MDNS_TTL_S);
    KITH_CHECK_EQ(kith__mdns_core_stats(rig.core).drop_rate, 1000 - KITH_MDNS_HEARD_BURST);
    pass(&rig, rig.now_ns + KITH_NS_PER_S);
    for (int i = 0; i < 1000; i++)
        hear_response(&rig, 1, KITH_MDNS_TTL_S);
    KITH_CHECK_EQ(kith__mdns_core_stats(rig.core).drop_rate, 2000 - KITH_MDNS_HEARD_BURST - KITH_MDNS_HEARD_RATE);
    kith__mdns_core_free(rig.core);
}

KITH_TEST(mdns_core_believes_no_promise_for_ever)
{
    struct rig rig;

    rig_open(&rig);
    hear_response(&rig, 1, UINT32_MAX / 2);
    KITH_CHECK_EQ(kith__mdns_core_count(rig.core), 1);
    pass(&rig, rig.now_ns + (KITH_MDNS_TTL_MAX_S + 60) * KITH_NS_PER_S);
    KITH_CHECK_EQ(kith__mdns_core_count(rig.core), 0);
    kith__mdns_core_free(rig.core);
}

KITH_TEST(mdns_core_answers_so_often_and_no_more_whoever_asks)
{
    struct kith_id asker = id_of(1);
    uint8_t out[KITH_MDNS_MESSAGE_SIZE];
    struct kith_mdns_names names;
    struct kith_mdns_query query;
    uint64_t before;
    size_t size;
    struct rig rig;

    rig_open(&rig);
    pass(&rig, rig.now_ns + 10 * KITH_NS_PER_S); /* what it says unasked is said */
    before = kith__mdns_core_stats(rig.core).sent_responses;
    KITH_CHECK_EQ(kith__mdns_names_init(&names, &asker, NULL), 0);
    for (int i = 0; i < 150; i++) { /* three seconds */
        kith__mdns_query_begin(&query, &names, out);
        KITH_CHECK(kith__mdns_query_want(&query, &rig.own));
        size = kith__mdns_query_end(&query);
        hear(&rig, out, size);
        pass(&rig, rig.now_ns + 20 * KITH_NS_PER_MS);
    }
    size = (size_t)(kith__mdns_core_stats(rig.core).sent_responses - before);
    KITH_CHECK(size >= 5 && size <= 3 * KITH_NS_PER_S / KITH_MDNS_RESPONSE_GAP_NS + 1);
    kith__mdns_core_free(rig.core);
}

KITH_TEST(mdns_core_forgets_who_says_goodbye)
{
    struct kith_id id = id_of(1);
    uint8_t out[KITH_MDNS_MESSAGE_SIZE];
    struct kith_mdns_names names;
    struct rig rig;

    rig_open(&rig);
    hear_response(&rig, 1, KITH_MDNS_TTL_S);
    hear_response(&rig, 2, KITH_MDNS_TTL_S);
    KITH_CHECK_EQ(kith__mdns_core_count(rig.core), 2);
    KITH_CHECK_EQ(kith__mdns_names_init(&names, &id, NULL), 0);
    hear(&rig, out, kith__mdns_write_goodbye(&names, out));
    KITH_CHECK_EQ(kith__mdns_core_count(rig.core), 1);
    kith__mdns_core_free(rig.core);
}
