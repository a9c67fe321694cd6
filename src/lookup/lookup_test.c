/* The registry over services that say what the test wants, in the simulated world. */
#include "lookup/lookup.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/test.h"
#include "lookup/memory.h"
#include "rt/sim/sim.h"

#include <stdio.h>

enum { FAKES_MAX = KITH_LOOKUP_SERVICES_MAX + 1 };

struct fake_query {
    struct fake *fake;
    struct kith_lookup_sink sink;
    struct kith_id id;
};

/** A service with at most one query at a time. */
struct fake {
    struct kith_lookup_service service;
    struct fake_query query;
    bool is_asked, is_freed;
    int resolve_err; /* what resolve gives at once */
    unsigned asked, cancelled, published, network_changes;
    size_t published_addrs;
    bool published_user_data;
};

static struct kith_id id_of(uint8_t n)
{
    struct kith_id id = { { n } };

    return id;
}

static void fake_publish(struct kith_lookup_service *service, const struct kith_lookup_info *info)
{
    struct fake *fake = KITH_CONTAINER(service, struct fake, service);

    fake->published++;
    fake->published_addrs = info->addr.count;
    fake->published_user_data = info->user_data_size > 0;
}

static int fake_resolve(struct kith_lookup_service *service, const struct kith_id *id,
                        const struct kith_lookup_sink *sink, struct kith_lookup_query **out)
{
    struct fake *fake = KITH_CONTAINER(service, struct fake, service);

    fake->asked++;
    if (fake->resolve_err != 0)
        return fake->resolve_err;
    KITH_CHECK(!fake->is_asked);
    fake->query = (struct fake_query) { fake, *sink, *id };
    fake->is_asked = true;
    *out = (struct kith_lookup_query *)&fake->query;
    return 0;
}

static void fake_cancel(struct kith_lookup_query *query)
{
    struct fake *fake = ((struct fake_query *)query)->fake;

    KITH_CHECK(fake->is_asked);
    fake->is_asked = false;
    fake->cancelled++;
}

static void fake_network_change(struct kith_lookup_service *service)
{
    KITH_CONTAINER(service, struct fake, service)->network_changes++;
}

static void fake_free(struct kith_lookup_service *service)
{
    struct fake *fake = KITH_CONTAINER(service, struct fake, service);

    KITH_CHECK(!fake->is_asked && !fake->is_freed);
    fake->is_freed = true;
}

static const struct kith_lookup_service_ops both_ops = { "fake",      fake_publish,        NULL,     fake_resolve,
                                                         fake_cancel, fake_network_change, fake_free };
static const struct kith_lookup_service_ops publish_ops = { .name = "tells",
                                                            .publish = fake_publish,
                                                            .free = fake_free };

/** The service says that an endpoint is at these addresses ("" : none; user data behind a space). */
static void fake_says(struct fake *fake, uint8_t id, const char *addrs, const char *user_data, uint64_t updated_us)
{
    struct kith_lookup_info info;
    struct kith_lookup_found found = { &info, updated_us };
    struct kith_id about = id_of(id);
    char text[512], *at = text, *one;

    KITH_CHECK(fake->is_asked);
    kith__lookup_info_init(&info, kith_mem_default(), &about);
    snprintf(text, sizeof text, "%s", addrs);
    while ((one = strtok_r(at, " ", &at)) != NULL) {
        struct kith_sockaddr ip;

        if (strncmp(one, "http", 4) == 0) {
            KITH_CHECK_EQ(kith__endpoint_addr_add_relay(&info.addr, one, strlen(one)), 0);
        } else {
            KITH_CHECK_EQ(kith_sockaddr_parse(one, &ip), 0);
            KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&info.addr, &ip), 0);
        }
    }
    KITH_CHECK_EQ(
        kith__lookup_info_set_user_data(&info, (struct kith_slice) { (const uint8_t *)user_data, strlen(user_data) }),
        0);
    fake->query.sink.on_found(fake->query.sink.ctx, &found);
    kith__lookup_info_dispose(&info);
}

static void fake_ends(struct fake *fake, int err, const char *why)
{
    KITH_CHECK(fake->is_asked);
    fake->is_asked = false;
    fake->query.sink.on_end(fake->query.sink.ctx, err, why);
}

struct fixture {
    struct kith_sim *sim;
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_lookup *lookup;
    struct fake fakes[FAKES_MAX];
};

/** fake_count services that resolve and publish. */
static void fixture_open(struct fixture *f, size_t fake_count, const struct kith_mem *mem)
{
    struct kith_sim_host_options options = { .name = "host" };
    struct kith_id own = id_of(200);

    memset(f, 0, sizeof *f);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, 1, &f->sim), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(f->sim, &options, &f->host), 0);
    f->rt = kith__sim_rt(f->host);
    KITH_CHECK_EQ(kith__lookup_new(f->rt, mem != NULL ? mem : kith_mem_default(), &own, &f->lookup), 0);
    for (size_t i = 0; i < FAKES_MAX; i++) {
        f->fakes[i].service = (struct kith_lookup_service) { .ops = &both_ops, .filter = KITH_LOOKUP_ALL };
        snprintf(f->fakes[i].service.label, sizeof f->fakes[i].service.label, "fake:%zu", i);
    }
    for (size_t i = 0; i < fake_count; i++)
        KITH_CHECK_EQ(kith__lookup_add(f->lookup, &f->fakes[i].service), 0);
}

static void fixture_close(struct fixture *f)
{
    size_t count = f->lookup != NULL ? kith__lookup_count(f->lookup) : 0;

    kith__lookup_free(f->lookup);
    for (size_t i = 0; i < count; i++)
        KITH_CHECK(f->fakes[i].is_freed || f->fakes[i].service.ops == NULL);
    kith__rt_free(f->rt);
    kith__sim_free(f->sim);
}

static void pass(struct fixture *f, uint64_t ns)
{
    KITH_CHECK_EQ(kith__sim_run(f->sim, NULL, NULL, kith__sim_now(f->sim) + ns), KITH_SIM_OK);
}

/** One who asks, and what it heard. */
struct asker {
    struct fixture *f;
    struct kith_lookup_request *request;
    unsigned items, news, service_ends;
    size_t merged, said; /* addresses of the last item */
    char user_data[KITH_USER_DATA_SIZE_MAX + 1];
    char label[128];
    uint64_t updated_us, took_ns;
    bool is_ended;
    int err;
    char why[KITH_LOOKUP_WHY_SIZE], service_why[256];
    int service_err;
    struct asker *cancels_on_item, *cancels_on_service_end, *cancels_on_end, *asks_on_item, *asks_on_end;
    uint8_t asks_id;
};

static int ask(struct asker *asker, uint8_t n);

static void asker_cancel(struct asker *asker)
{
    kith__lookup_cancel(asker->request);
    asker->request = NULL;
}

static void asker_item(void *ctx, const struct kith_lookup_item *item)
{
    struct asker *asker = ctx, *then;

    KITH_CHECK(asker->request != NULL && !asker->is_ended);
    asker->items++;
    asker->news += item->is_news;
    asker->merged = item->merged->addr.count;
    asker->said = item->info->addr.count;
    asker->updated_us = item->updated_us;
    asker->took_ns = item->took_ns;
    strcpy(asker->user_data, item->merged->user_data);
    strcpy(asker->label, item->service->label);
    if ((then = asker->cancels_on_item) != NULL)
        asker_cancel(then);
    if ((then = asker->asks_on_item) != NULL) {
        asker->asks_on_item = NULL;
        KITH_CHECK_EQ(ask(then, asker->asks_id), 0);
    }
}

static void asker_service_end(void *ctx, const struct kith_lookup_service *service, int err, const char *why)
{
    struct asker *asker = ctx;

    KITH_CHECK(asker->request != NULL && !asker->is_ended && service != NULL);
    KITH_CHECK_EQ(err == 0, why[0] == '\0');
    asker->service_ends++;
    asker->service_err = err;
    strcpy(asker->service_why, why);
    if (asker->cancels_on_service_end != NULL)
        asker_cancel(asker->cancels_on_service_end);
}

static void asker_end(void *ctx, int err, const char *why)
{
    struct asker *asker = ctx;

    KITH_CHECK(asker->request != NULL && !asker->is_ended);
    KITH_CHECK_EQ(err == 0, why[0] == '\0');
    asker->is_ended = true;
    asker->request = NULL;
    asker->err = err;
    strcpy(asker->why, why);
    if (asker->cancels_on_end != NULL)
        asker_cancel(asker->cancels_on_end);
    if (asker->asks_on_end != NULL)
        KITH_CHECK_EQ(ask(asker->asks_on_end, asker->asks_id), 0);
}

static int ask(struct asker *asker, uint8_t n)
{
    struct kith_lookup_events events = { asker_item, asker_service_end, asker_end, asker };
    struct kith_id id = id_of(n);

    KITH_CHECK(asker->request == NULL);
    return kith__lookup_resolve(asker->f->lookup, &id, &events, &asker->request);
}

KITH_TEST(lookup_asks_all_services_and_merges_what_they_say_as_it_comes)
{
    struct fixture f;
    struct asker a = { .f = &f };

    fixture_open(&f, 3, NULL);
    KITH_CHECK_EQ(ask(&a, 1), 0);
    KITH_CHECK(f.fakes[0].is_asked && f.fakes[1].is_asked && f.fakes[2].is_asked);
    KITH_CHECK_EQ(f.fakes[2].query.id.bytes[0], 1);
    pass(&f, 7 * KITH_NS_PER_MS);
    fake_says(&f.fakes[1], 1, "https://r.example 10.0.0.9:1", "", 77);
    KITH_CHECK_EQ(a.items, 1);
    KITH_CHECK_EQ(a.news, 1);
    KITH_CHECK_EQ(a.merged, 2);
    KITH_CHECK_EQ(a.updated_us, 77);
    KITH_CHECK_EQ(a.took_ns, 7 * KITH_NS_PER_MS);
    KITH_CHECK_STR(a.label, "fake:1");
    fake_says(&f.fakes[0], 1, "10.0.0.9:1", "", 0); /* knows less: no news */
    KITH_CHECK_EQ(a.news, 1);
    KITH_CHECK_EQ(a.said, 1);
    KITH_CHECK_EQ(a.merged, 2);
    fake_says(&f.fakes[0], 1, "10.0.0.10:1", "", 0); /* contradicts: addresses are only added */
    KITH_CHECK_EQ(a.news, 2);
    KITH_CHECK_EQ(a.merged, 3);
    fake_ends(&f.fakes[0], 0, "");
    fake_ends(&f.fakes[1], 0, "");
    KITH_CHECK_EQ(a.service_ends, 2);
    KITH_CHECK(!a.is_ended);
    fake_ends(&f.fakes[2], KITH_ERR_TIMEOUT, "nothing came");
    KITH_CHECK_STR(a.service_why, "nothing came");
    KITH_CHECK(a.is_ended);
    KITH_CHECK_EQ(a.err, 0);
    KITH_CHECK_EQ(kith__lookup_stats(f.lookup, 0).items, 2);
    KITH_CHECK_EQ(kith__lookup_stats(f.lookup, 0).ended_found, 1);
    KITH_CHECK_EQ(kith__lookup_stats(f.lookup, 2).ended_failed, 1);
    fixture_close(&f);
}

KITH_TEST(lookup_that_finds_nothing_names_each_service_with_its_reason)
{
    struct fixture f;
    const char *why;
    struct asker a = { .f = &f };

    fixture_open(&f, 3, NULL);
    f.fakes[1].resolve_err = KITH_ERR_NOT_FOUND; /* at once: told in the next turn */
    KITH_CHECK_EQ(ask(&a, 1), 0);
    KITH_CHECK_EQ(a.service_ends, 0);
    pass(&f, 0);
    KITH_CHECK_EQ(a.service_ends, 1);
    fake_ends(&f.fakes[2], KITH_ERR_TIMEOUT, "no answer within 3 s");
    fake_ends(&f.fakes[0], 0, ""); /* says that it found something, and told nothing */
    KITH_CHECK(a.is_ended);
    KITH_CHECK_EQ(a.err, KITH_ERR_NOT_FOUND);
    KITH_CHECK(strstr(a.why, "fake:0: ") == a.why);
    KITH_CHECK(strstr(a.why, "; fake:1: ") != NULL);
    KITH_CHECK(strstr(a.why, "; fake:2: no answer within 3 s") != NULL);
    KITH_CHECK_EQ(kith__lookup_stats(f.lookup, 0).ended_not_found, 1);
    KITH_CHECK_EQ(kith__lookup_failure(f.lookup, 0, &why), 0); /* to know nothing is no failure */
    KITH_CHECK_STR(why, "");
    KITH_CHECK_EQ(kith__lookup_failure(f.lookup, 1, &why), 0);
    KITH_CHECK_EQ(kith__lookup_failure(f.lookup, 2, &why), KITH_ERR_TIMEOUT);
    KITH_CHECK_STR(why, "no answer within 3 s");
    fixture_close(&f);
}

KITH_TEST(lookup_ends_in_the_next_turn_if_every_service_fails_at_once)
{
    struct fixture f;
    struct asker a = { .f = &f };

    fixture_open(&f, 2, NULL);
    f.fakes[0].resolve_err = f.fakes[1].resolve_err = KITH_ERR_NOT_FOUND;
    KITH_CHECK_EQ(ask(&a, 1), 0);
    KITH_CHECK(!a.is_ended);
    pass(&f, 0);
    KITH_CHECK_EQ(a.service_ends, 2);
    KITH_CHECK(a.is_ended && a.err == KITH_ERR_NOT_FOUND);
    fixture_close(&f);
}

KITH_TEST(lookup_user_data_are_those_of_the_newest_finding)
{
    struct fixture f;
    struct asker a = { .f = &f };

    fixture_open(&f, 2, NULL);
    KITH_CHECK_EQ(ask(&a, 1), 0);
    fake_says(&f.fakes[0], 1, "", "no time", 0);
    KITH_CHECK_STR(a.user_data, "no time");
    KITH_CHECK_EQ(a.news, 0);             /* no address */
    fake_says(&f.fakes[0], 1, "", "", 0); /* says nothing of them */
    KITH_CHECK_STR(a.user_data, "no time");
    fake_says(&f.fakes[1], 1, "", "newer", 20);
    KITH_CHECK_STR(a.user_data, "newer");
    fake_says(&f.fakes[0], 1, "", "older", 10);
    fake_says(&f.fakes[0], 1, "", "no time", 0);
    KITH_CHECK_STR(a.user_data, "newer");
    fake_says(&f.fakes[0], 1, "", "", 30); /* its owner took them back */
    KITH_CHECK_STR(a.user_data, "");
    asker_cancel(&a);
    fixture_close(&f);
}

KITH_TEST(lookup_requests_for_one_id_share_a_round)
{
    struct fixture f;
    struct asker a = { .f = &f }, b = { .f = &f }, c = { .f = &f };

    fixture_open(&f, 3, NULL);
    KITH_CHECK_EQ(ask(&a, 1), 0);
    fake_says(&f.fakes[0], 1, "10.0.0.9:1", "", 0);
    fake_says(&f.fakes[1], 1, "10.0.0.9:1 10.0.0.9:2", "", 0);
    fake_ends(&f.fakes[1], 0, "");
    KITH_CHECK_EQ(ask(&b, 1), 0);
    KITH_CHECK_EQ(f.fakes[0].asked, 1);
    KITH_CHECK_EQ(b.items, 0); /* never out of the call */
    pass(&f, 0);
    KITH_CHECK_EQ(b.items, 2);
    KITH_CHECK_EQ(b.news, 1);
    KITH_CHECK_EQ(b.merged, 2);
    KITH_CHECK_EQ(b.service_ends, 1);
    KITH_CHECK_EQ(a.items, 2); /* not again */
    KITH_CHECK_EQ(ask(&c, 1), 0);
    fake_says(&f.fakes[0], 1, "10.0.0.9:3", "", 0); /* before c's turn came */
    KITH_CHECK_EQ(c.items, 2);
    KITH_CHECK_EQ(c.merged, 3);
    KITH_CHECK_EQ(c.news, 1);
    KITH_CHECK_EQ(b.items, 3);
    pass(&f, 0);
    KITH_CHECK_EQ(c.items, 2);
    fake_ends(&f.fakes[0], 0, "");
    asker_cancel(&a); /* the others still wait */
    fake_ends(&f.fakes[2], KITH_ERR_NOT_FOUND, "no");
    KITH_CHECK(!a.is_ended && b.is_ended && c.is_ended);
    KITH_CHECK_EQ(c.service_ends, 3);
    a = b = (struct asker) { .f = &f }; /* a round of its own */
    KITH_CHECK_EQ(ask(&a, 1), 0);
    KITH_CHECK_EQ(f.fakes[0].asked, 2);
    asker_cancel(&a);
    KITH_CHECK_EQ(f.fakes[0].cancelled, 1);
    fixture_close(&f);
}

KITH_TEST(lookup_round_that_ends_tells_late_ones_everything_first)
{
    struct fixture f;
    struct asker a = { .f = &f }, b = { .f = &f };

    fixture_open(&f, 1, NULL);
    KITH_CHECK_EQ(ask(&a, 1), 0);
    fake_says(&f.fakes[0], 1, "10.0.0.9:1", "", 0);
    KITH_CHECK_EQ(ask(&b, 1), 0);
    fake_ends(&f.fakes[0], 0, "");
    KITH_CHECK_EQ(b.items, 1);
    KITH_CHECK_EQ(b.service_ends, 1);
    KITH_CHECK(b.is_ended && b.err == 0);
    fixture_close(&f);
}

KITH_TEST(lookup_ends_after_its_time_with_what_it_has)
{
    struct fixture f;
    struct asker a = { .f = &f }, b = { .f = &f };

    fixture_open(&f, 2, NULL);
    KITH_CHECK_EQ(ask(&a, 1), 0);
    fake_says(&f.fakes[0], 1, "10.0.0.9:1", "", 0);
    pass(&f, KITH_LOOKUP_LIMIT_NS - 1);
    KITH_CHECK(!a.is_ended);
    pass(&f, 1);
    KITH_CHECK(a.is_ended && a.err == 0);
    KITH_CHECK_EQ(a.service_err, KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(f.fakes[0].cancelled + f.fakes[1].cancelled, 2);
    KITH_CHECK_EQ(kith__lookup_stats(f.lookup, 0).ended_found, 1); /* it did its part */
    KITH_CHECK_EQ(ask(&b, 1), 0);
    pass(&f, KITH_LOOKUP_LIMIT_NS);
    KITH_CHECK(b.is_ended && b.err == KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(kith__lookup_stats(f.lookup, 1).ended_failed, 2);
    fixture_close(&f);
}

KITH_TEST(lookup_does_not_hand_on_what_is_about_another_id)
{
    struct fixture f;
    struct asker a = { .f = &f };

    fixture_open(&f, 1, NULL);
    KITH_CHECK_EQ(ask(&a, 1), 0);
    fake_says(&f.fakes[0], 2, "10.0.0.9:1", "", 0);
    KITH_CHECK_EQ(a.items, 0);
    fake_ends(&f.fakes[0], 0, "");
    KITH_CHECK_EQ(a.err, KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(a.service_err, KITH_ERR_PARSE);
    KITH_CHECK(strstr(a.why, "another endpoint") != NULL);
    KITH_CHECK_EQ(kith__lookup_stats(f.lookup, 0).drop_wrong_id, 1);
    fixture_close(&f);
}

KITH_TEST(lookup_callbacks_may_cancel_and_ask)
{
    struct fixture f;
    struct asker a = { .f = &f }, b = { .f = &f }, c = { .f = &f }, d = { .f = &f };

    fixture_open(&f, 2, NULL);
    /* the next one, and itself: the last one, so the round goes in its own callback */
    KITH_CHECK_EQ(ask(&a, 1), 0);
    KITH_CHECK_EQ(ask(&b, 1), 0);
    pass(&f, 0);
    a.cancels_on_item = &b;
    fake_says(&f.fakes[0], 1, "10.0.0.9:1", "", 0);
    KITH_CHECK_EQ(b.items, 0);
    a.cancels_on_item = &a;
    fake_says(&f.fakes[0], 1, "10.0.0.9:1", "", 0);
    KITH_CHECK_EQ(a.items, 2);
    KITH_CHECK(!f.fakes[0].is_asked && !f.fakes[1].is_asked);
    /* itself, and asks again at once: a new round while the old one is still on the stack */
    a = (struct asker) { .f = &f, .asks_on_item = &c, .asks_id = 1 };
    a.cancels_on_item = &a;
    KITH_CHECK_EQ(ask(&a, 1), 0);
    fake_says(&f.fakes[1], 1, "10.0.0.9:1", "", 0);
    KITH_CHECK(f.fakes[0].is_asked && f.fakes[1].is_asked);
    /* when a service ends: the last request goes */
    c.cancels_on_service_end = &c;
    fake_ends(&f.fakes[0], KITH_ERR_NOT_FOUND, "no");
    KITH_CHECK(!f.fakes[1].is_asked && !c.is_ended);
    /* at the end: the next one */
    a = (struct asker) { .f = &f, .cancels_on_end = &b, .asks_on_end = &d, .asks_id = 1 };
    b = (struct asker) { .f = &f };
    KITH_CHECK_EQ(ask(&a, 1), 0);
    KITH_CHECK_EQ(ask(&b, 1), 0);
    pass(&f, 0);
    fake_ends(&f.fakes[0], KITH_ERR_NOT_FOUND, "no");
    fake_ends(&f.fakes[1], KITH_ERR_NOT_FOUND, "no");
    KITH_CHECK(a.is_ended && !b.is_ended && !d.is_ended && f.fakes[0].is_asked);
    asker_cancel(&d);
    fixture_close(&f);
}

KITH_TEST(lookup_late_ones_may_cancel_in_their_callbacks)
{
    struct fixture f;
    struct asker a = { .f = &f }, b = { .f = &f }, c = { .f = &f };

    fixture_open(&f, 2, NULL);
    KITH_CHECK_EQ(ask(&a, 1), 0);
    fake_says(&f.fakes[0], 1, "10.0.0.9:1", "", 0);
    fake_says(&f.fakes[1], 1, "10.0.0.9:2", "", 0);
    b.cancels_on_item = &b;
    b.asks_on_item = &c; /* perhaps in b's memory */
    b.asks_id = 1;
    KITH_CHECK_EQ(ask(&b, 1), 0);
    pass(&f, 0);
    KITH_CHECK_EQ(b.items, 1);
    KITH_CHECK_EQ(c.items, 2);
    KITH_CHECK_EQ(c.news, 1);
    KITH_CHECK_EQ(a.items, 2);
    asker_cancel(&a);
    asker_cancel(&c);
    fixture_close(&f);
}

KITH_TEST(lookup_one_who_joins_while_the_last_service_ends_is_told_before_the_end)
{
    struct fixture f;
    struct asker a = { .f = &f }, b = { .f = &f }, c = { .f = &f };

    fixture_open(&f, 1, NULL);
    KITH_CHECK_EQ(ask(&a, 1), 0);
    fake_says(&f.fakes[0], 1, "10.0.0.9:1", "", 0);
    b.asks_on_item = &c;
    b.asks_id = 1;
    KITH_CHECK_EQ(ask(&b, 1), 0);
    fake_ends(&f.fakes[0], 0, ""); /* tells b, who asks for c */
    pass(&f, 0);
    KITH_CHECK_EQ(c.items, 1);
    KITH_CHECK(a.is_ended && b.is_ended && c.is_ended);
    fixture_close(&f);
}

KITH_TEST(lookup_says_what_cannot_be_looked_for)
{
    static const struct kith_lookup_events events = { 0 };
    struct kith_lookup_request *request, *many[KITH_LOOKUP_IDS_MAX];
    struct fixture f;
    struct asker a = { .f = &f };
    struct kith_lookup_memory *memory;
    struct kith_lookup_info info;
    struct kith_id id = id_of(1);

    fixture_open(&f, 0, NULL);
    KITH_CHECK(!kith__lookup_can_resolve(f.lookup));
    KITH_CHECK_EQ(ask(&a, 1), KITH_ERR_STATE);
    f.fakes[0].service.ops = &publish_ops;
    KITH_CHECK_EQ(kith__lookup_add(f.lookup, &f.fakes[0].service), 0);
    KITH_CHECK_EQ(ask(&a, 1), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith__lookup_memory_new(f.rt, kith_mem_default(), &memory), 0);
    f.fakes[1].service.ops = NULL;
    KITH_CHECK_EQ(kith__lookup_add(f.lookup, kith__lookup_memory_service(memory)), 0);
    KITH_CHECK(kith__lookup_can_resolve(f.lookup));
    KITH_CHECK_EQ(ask(&a, 200), KITH_ERR_INVALID);
    for (size_t i = 0; i < KITH_LOOKUP_IDS_MAX; i++) {
        id.bytes[1] = (uint8_t)i;
        id.bytes[2] = (uint8_t)(i >> 8);
        kith__lookup_info_init(&info, kith_mem_default(), &id);
        KITH_CHECK_EQ(kith__lookup_memory_set(memory, &info), 0);
        KITH_CHECK_EQ(kith__lookup_resolve(f.lookup, &id, &events, &many[i]), 0);
    }
    KITH_CHECK_EQ(ask(&a, 99), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(kith__lookup_resolve(f.lookup, &id, &events, &request), 0); /* joins */
    kith__lookup_cancel(many[0]);
    KITH_CHECK_EQ(ask(&a, 99), 0);
    fixture_close(&f); /* with all of them under way */
}

KITH_TEST(lookup_publishes_through_each_service_what_its_filter_lets_pass)
{
    struct fixture f;
    struct kith_lookup_info info;
    struct kith_id own = id_of(200);
    struct kith_sockaddr ip;

    fixture_open(&f, 0, NULL);
    f.fakes[0].service.filter = KITH_LOOKUP_RELAYS;
    f.fakes[1].service.filter = KITH_LOOKUP_DIRECT;
    f.fakes[2].service.filter = KITH_LOOKUP_ALL;
    f.fakes[3].service.filter = KITH_LOOKUP_NONE;
    for (size_t i = 0; i < 4; i++)
        KITH_CHECK_EQ(kith__lookup_add(f.lookup, &f.fakes[i].service), 0);
    kith__lookup_info_init(&info, kith_mem_default(), &own);
    KITH_CHECK_EQ(kith__lookup_publish(f.lookup, &info), 0); /* nothing to tell, and nothing was told */
    for (size_t i = 0; i < 4; i++)
        KITH_CHECK_EQ(f.fakes[i].published, 0);
    KITH_CHECK_EQ(kith__endpoint_addr_add_relay(&info.addr, "https://r/", 10), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.9:1", &ip), 0);
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&info.addr, &ip), 0);
    ip.port++;
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&info.addr, &ip), 0);
    KITH_CHECK_EQ(kith__lookup_publish(f.lookup, &info), 0);
    KITH_CHECK_EQ(f.fakes[0].published_addrs, 1);
    KITH_CHECK_EQ(f.fakes[1].published_addrs, 2);
    KITH_CHECK_EQ(f.fakes[2].published_addrs, 3);
    KITH_CHECK_EQ(f.fakes[3].published, 0);
    KITH_CHECK_EQ(kith__lookup_add(f.lookup, &f.fakes[4].service), 0); /* a new one hears it at once */
    KITH_CHECK_EQ(f.fakes[4].published_addrs, 3);
    KITH_CHECK_EQ(kith__lookup_info_set_user_data(&info, (struct kith_slice) { (const uint8_t *)"x", 1 }), 0);
    kith__endpoint_addr_dispose(&info.addr);
    KITH_CHECK_EQ(kith__lookup_publish(f.lookup, &info), 0);
    KITH_CHECK(f.fakes[0].published == 2 && f.fakes[0].published_addrs == 0 && f.fakes[0].published_user_data);
    info.user_data_size = 0;
    KITH_CHECK_EQ(kith__lookup_publish(f.lookup, &info), 0); /* all is lost: told, because something was told */
    KITH_CHECK(f.fakes[0].published == 3 && !f.fakes[0].published_user_data);
    kith__lookup_on_network_change(f.lookup);
    KITH_CHECK_EQ(f.fakes[3].network_changes, 1);
    kith__lookup_info_dispose(&info);
    fixture_close(&f);
}

KITH_TEST(lookup_has_room_for_so_many_services_and_frees_the_one_too_many)
{
    struct fixture f;

    fixture_open(&f, KITH_LOOKUP_SERVICES_MAX, NULL);
    KITH_CHECK_EQ(kith__lookup_count(f.lookup), KITH_LOOKUP_SERVICES_MAX);
    KITH_CHECK(kith__lookup_service(f.lookup, 3) == &f.fakes[3].service);
    KITH_CHECK_EQ(kith__lookup_add(f.lookup, &f.fakes[KITH_LOOKUP_SERVICES_MAX].service), KITH_ERR_LIMIT);
    KITH_CHECK(f.fakes[KITH_LOOKUP_SERVICES_MAX].is_freed);
    fixture_close(&f);
}

/** Publishes and looks up with an allocator that fails once; the request must end one way or the other. */
static bool run_starved(uint64_t fail_at)
{
    struct fixture f;
    struct asker a = { .f = &f }, b = { .f = &f };
    struct kith_test_mem test_mem;
    struct kith_lookup_info info;
    struct kith_id own = id_of(200);
    int err;

    kith__test_mem_init(&test_mem, 0);
    fixture_open(&f, 2, &test_mem.mem);
    test_mem.fail_at = test_mem.calls + fail_at;
    kith__lookup_info_init(&info, kith_mem_default(), &own);
    KITH_CHECK_EQ(kith__endpoint_addr_add_relay(&info.addr, "https://r/", 10), 0);
    err = kith__lookup_publish(f.lookup, &info);
    KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
    err = kith__lookup_add(f.lookup, &f.fakes[2].service);
    KITH_CHECK(err == 0 || (err == KITH_ERR_NOMEM && f.fakes[2].is_freed));
    err = ask(&a, 1);
    KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
    if (err == 0) {
        err = ask(&b, 1);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        fake_says(&f.fakes[0], 1, "https://r.example 10.0.0.9:1", "text", 5);
        pass(&f, 0);
        fake_ends(&f.fakes[0], 0, "");
        fake_ends(&f.fakes[1], KITH_ERR_NOT_FOUND, "no");
        if (f.fakes[2].is_asked)
            fake_ends(&f.fakes[2], KITH_ERR_NOT_FOUND, "no");
        KITH_CHECK(a.is_ended);
        KITH_CHECK_EQ(a.err == 0, a.items == 1);
        KITH_CHECK_EQ(kith__lookup_stats(f.lookup, 0).drop_no_memory, a.items == 0);
        KITH_CHECK(b.items == a.items || !b.is_ended);
    }
    kith__lookup_info_dispose(&info);
    fixture_close(&f);
    KITH_CHECK_EQ(test_mem.live, 0);
    return test_mem.calls >= test_mem.fail_at;
}

KITH_TEST(lookup_survives_every_failed_allocation)
{
    uint64_t fail_at = 1;

    while (run_starved(fail_at))
        fail_at++;
    KITH_CHECK(fail_at > 15);
}
