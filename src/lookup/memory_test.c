#include "lookup/memory.h"

#include "base/mem.h"
#include "base/test.h"
#include "rt/sim/sim.h"

struct fixture {
    struct kith_sim *sim;
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_lookup_memory *memory;
    struct kith_lookup_service *service;
    struct kith_lookup_query *query;
    unsigned found, ended;
    size_t addrs;
    int err;
    bool cancels;
};

static void fixture_open(struct fixture *f, const struct kith_mem *mem)
{
    struct kith_sim_host_options options = { .name = "host", .mem = mem };

    memset(f, 0, sizeof *f);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, 1, &f->sim), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(f->sim, &options, &f->host), 0);
    f->rt = kith__sim_rt(f->host);
    KITH_CHECK_EQ(kith__lookup_memory_new(f->rt, mem != NULL ? mem : kith_mem_default(), &f->memory), 0);
    f->service = kith__lookup_memory_service(f->memory);
}

static void fixture_close(struct fixture *f)
{
    f->service->ops->free(f->service);
    kith__rt_free(f->rt);
    kith__sim_free(f->sim);
}

static void pass(struct fixture *f)
{
    KITH_CHECK_EQ(kith__sim_run(f->sim, NULL, NULL, kith__sim_now(f->sim)), KITH_SIM_OK);
}

static void on_found(void *ctx, const struct kith_lookup_found *found)
{
    struct fixture *f = ctx;

    f->found++;
    f->addrs = found->info->addr.count;
    KITH_CHECK_EQ(found->updated_us, 0);
    if (f->cancels)
        f->service->ops->cancel(f->query);
}

static void on_end(void *ctx, int err, const char *why)
{
    struct fixture *f = ctx;

    KITH_CHECK_EQ(err == 0, why[0] == '\0');
    f->ended++;
    f->err = err;
}

static int resolve(struct fixture *f, uint8_t n)
{
    struct kith_lookup_sink sink = { on_found, on_end, f };
    struct kith_id id = { { n } };

    return f->service->ops->resolve(f->service, &id, &sink, &f->query);
}

/** Sets or adds one endpoint with one address, whose port is given. */
static int tell(struct fixture *f, bool adds, uint8_t n, uint16_t port, const char *user_data)
{
    struct kith_lookup_info info;
    struct kith_id id = { { n } };
    struct kith_sockaddr ip;
    int err;

    kith__lookup_info_init(&info, kith_mem_default(), &id);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.9:1", &ip), 0);
    ip.port = port;
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&info.addr, &ip), 0);
    KITH_CHECK_EQ(
        kith__lookup_info_set_user_data(&info, (struct kith_slice) { (const uint8_t *)user_data, strlen(user_data) }),
        0);
    err = adds ? kith__lookup_memory_add(f->memory, &info) : kith__lookup_memory_set(f->memory, &info);
    kith__lookup_info_dispose(&info);
    return err;
}

static const struct kith_lookup_info *get(struct fixture *f, uint8_t n)
{
    struct kith_id id = { { n } };

    return kith__lookup_memory_get(f->memory, &id);
}

KITH_TEST(memory_set_replaces_and_add_merges)
{
    struct fixture f;
    struct kith_id id = { { 1 } };

    fixture_open(&f, NULL);
    KITH_CHECK_EQ(tell(&f, false, 1, 10, "first"), 0);
    KITH_CHECK_EQ(tell(&f, true, 1, 20, ""), 0);
    KITH_CHECK_EQ(get(&f, 1)->addr.count, 2);
    KITH_CHECK_STR(get(&f, 1)->user_data, "first");
    KITH_CHECK_EQ(tell(&f, true, 1, 20, "second"), 0);
    KITH_CHECK_EQ(get(&f, 1)->addr.count, 2);
    KITH_CHECK_STR(get(&f, 1)->user_data, "second");
    KITH_CHECK_EQ(tell(&f, false, 1, 30, ""), 0);
    KITH_CHECK_EQ(get(&f, 1)->addr.count, 1);
    KITH_CHECK_STR(get(&f, 1)->user_data, "");
    KITH_CHECK_EQ(tell(&f, true, 2, 30, ""), 0);
    KITH_CHECK_EQ(kith__lookup_memory_count(f.memory), 2);
    KITH_CHECK(kith__lookup_memory_remove(f.memory, &id));
    KITH_CHECK(!kith__lookup_memory_remove(f.memory, &id));
    KITH_CHECK(get(&f, 1) == NULL && get(&f, 2) != NULL);
    fixture_close(&f);
}

KITH_TEST(memory_answers_in_the_next_turn_or_not_at_all)
{
    struct fixture f;
    struct kith_id id = { { 1 } };

    fixture_open(&f, NULL);
    KITH_CHECK_EQ(resolve(&f, 1), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(tell(&f, false, 1, 10, ""), 0);
    KITH_CHECK_EQ(resolve(&f, 1), 0);
    KITH_CHECK_EQ(f.found, 0);
    KITH_CHECK_EQ(tell(&f, true, 1, 11, ""), 0);
    pass(&f);
    KITH_CHECK_EQ(f.found, 1);
    KITH_CHECK_EQ(f.addrs, 2);
    KITH_CHECK(f.ended == 1 && f.err == 0);
    KITH_CHECK_EQ(resolve(&f, 1), 0); /* forgotten before it was told */
    KITH_CHECK(kith__lookup_memory_remove(f.memory, &id));
    pass(&f);
    KITH_CHECK_EQ(f.found, 1);
    KITH_CHECK(f.ended == 2 && f.err == KITH_ERR_NOT_FOUND);
    fixture_close(&f);
}

KITH_TEST(memory_query_may_be_cancelled_before_and_from_inside)
{
    struct fixture f;

    fixture_open(&f, NULL);
    KITH_CHECK_EQ(tell(&f, false, 1, 10, ""), 0);
    KITH_CHECK_EQ(resolve(&f, 1), 0);
    f.service->ops->cancel(f.query);
    pass(&f);
    KITH_CHECK_EQ(f.found, 0);
    f.cancels = true;
    KITH_CHECK_EQ(resolve(&f, 1), 0);
    pass(&f);
    KITH_CHECK_EQ(f.found, 1);
    KITH_CHECK_EQ(f.ended, 0);
    fixture_close(&f);
}

static bool run_starved(uint64_t fail_at)
{
    struct kith_test_mem test_mem;
    struct fixture f;
    int err;

    kith__test_mem_init(&test_mem, 0);
    fixture_open(&f, &test_mem.mem);
    test_mem.fail_at = test_mem.calls + fail_at;
    err = tell(&f, false, 1, 10, "");
    KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
    KITH_CHECK_EQ(err == 0, get(&f, 1) != NULL);
    err = tell(&f, true, 1, 11, "");
    KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
    err = resolve(&f, 1);
    KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
    pass(&f);
    KITH_CHECK_EQ(f.ended, err == 0);
    fixture_close(&f);
    KITH_CHECK_EQ(test_mem.live, 0);
    return test_mem.calls >= test_mem.fail_at;
}

KITH_TEST(memory_survives_every_failed_allocation)
{
    uint64_t fail_at = 1;

    while (run_starved(fail_at))
        fail_at++;
    KITH_CHECK(fail_at > 5);
}
