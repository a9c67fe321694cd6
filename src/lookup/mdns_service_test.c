/* The local network as a service, on simulated networks in virtual time. */
#include "lookup/mdns_parts.h"
#include "lookup/mdns_service.h"
#include "rt/sim/sim.h"

enum { HOSTS_MAX = 24 };

/** An endpoint on a host of its own. */
struct person {
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_id id;
    struct kith_lookup_service *service;
};

/** A network of hosts behind one NAT: they hear each other. */
struct home {
    struct kith_sim *sim;
    struct kith_sim_nat *nat;
    size_t count;
    struct person people[HOSTS_MAX];
};

static void home_open(struct home *home, uint64_t seed)
{
    struct kith_sim_nat_options options = { .outer = parts_ip("192.0.2.1:0") };

    memset(home, 0, sizeof *home);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, seed, &home->sim), 0);
    KITH_CHECK_EQ(kith__sim_nat_new(home->sim, &options, &home->nat), 0);
}

static struct person *add_host(struct home *home, const struct kith_mem *mem)
{
    struct person *person = &home->people[home->count];
    struct kith_sim_host_options options = { .nat = home->nat, .mem = mem };

    KITH_CHECK(home->count < HOSTS_MAX);
    options.addrs[0] = parts_ip("10.0.0.1:0");
    options.addrs[0].ip[3] = (uint8_t)(home->count + 1);
    options.up.delay_ns = KITH_NS_PER_MS;
    KITH_CHECK_EQ(kith__sim_host_new(home->sim, &options, &person->host), 0);
    person->rt = kith__sim_rt(person->host);
    person->id = parts_key((unsigned)home->count++);
    return person;
}

static void start(struct person *person, bool no_publish, bool no_resolve)
{
    struct kith_mdns_service_options options = { .id = person->id, .no_publish = no_publish, .no_resolve = no_resolve };

    KITH_CHECK_EQ(kith__mdns_service_new(person->rt, &options, &person->service), 0);
}

static struct person *add(struct home *home)
{
    struct person *person = add_host(home, NULL);

    start(person, false, false);
    return person;
}

static void say(struct person *person, const char *ip)
{
    struct kith_lookup_info info = PARTS_INFO(&person->id, ip);

    person->service->ops->publish(person->service, &info);
    kith__lookup_info_dispose(&info);
}

static void stop(struct person *person)
{
    if (person->service != NULL)
        person->service->ops->free(person->service);
    person->service = NULL;
}

static void pass(struct home *home, uint64_t ns)
{
    KITH_CHECK_EQ(kith__sim_run(home->sim, NULL, NULL, kith__sim_now(home->sim) + ns), KITH_SIM_OK);
}

static void home_close(struct home *home)
{
    for (size_t i = 0; i < home->count; i++)
        stop(&home->people[i]);
    kith__sim_free(home->sim);
}

/** A search and what it heard. */
struct search {
    struct kith_rt *rt;
    struct kith_lookup_query *query;
    size_t found;
    char ip[KITH_SOCKADDR_TEXT_SIZE]; /* the first one of the last finding */
    size_t ip_count;
    uint64_t first_ns, end_ns, updated_us;
    int err;
    bool is_over, cancels;
    const struct kith_lookup_service *service;
};

static void on_found(void *ctx, const struct kith_lookup_found *found)
{
    struct search *search = ctx;

    search->found++;
    if (search->first_ns == 0)
        search->first_ns = kith__rt_now(search->rt);
    search->ip_count = found->info->addr.count;
    snprintf(search->ip, sizeof search->ip, "%s", parts_first_ip(found->info));
    search->updated_us = found->updated_us;
    if (search->cancels) {
        search->service->ops->cancel(search->query);
        search->is_over = true;
    }
}

static void on_end(void *ctx, int err, const char *why)
{
    struct search *search = ctx;

    KITH_CHECK(!search->is_over);
    KITH_CHECK_EQ(why[0] == '\0', err == 0);
    search->err = err;
    search->is_over = true;
    search->end_ns = kith__rt_now(search->rt);
}

static void search_start(struct search *search, struct person *person, const struct kith_id *id)
{
    struct kith_lookup_sink sink = { .on_found = on_found, .on_end = on_end, .ctx = search };

    memset(search, 0, sizeof *search);
    search->rt = person->rt;
    search->service = person->service;
    KITH_CHECK_EQ(person->service->ops->resolve(person->service, id, &sink, &search->query), 0);
}

KITH_TEST(mdns_two_hosts_find_each_other_in_the_same_instant)
{
    struct search search;
    struct home home;
    struct person *anne, *ben;
    uint64_t begin_ns;

    home_open(&home, 1);
    anne = add(&home);
    ben = add(&home);
    say(anne, "10.0.0.1:4000");
    pass(&home, KITH_NS_PER_S);
    begin_ns = kith__sim_now(home.sim);
    search_start(&search, ben, &anne->id);
    pass(&home, 20 * KITH_NS_PER_S);
    KITH_CHECK(search.is_over);
    KITH_CHECK_EQ(search.err, 0);
    KITH_CHECK_EQ(search.found, 1);
    KITH_CHECK_STR(search.ip, "10.0.0.1:4000");
    KITH_CHECK_EQ(search.first_ns, begin_ns);
    KITH_CHECK(search.end_ns - begin_ns < 2 * KITH_NS_PER_S);
    home_close(&home);
}

KITH_TEST(mdns_a_search_for_nobody_ends_after_ten_seconds_with_words)
{
    struct kith_id nobody = parts_key(999);
    struct search search;
    struct home home;
    struct person *anne;

    home_open(&home, 1);
    anne = add(&home);
    search_start(&search, anne, &nobody);
    pass(&home, 9 * KITH_NS_PER_S);
    KITH_CHECK(!search.is_over);
    pass(&home, 2 * KITH_NS_PER_S);
    KITH_CHECK(search.is_over);
    KITH_CHECK_EQ(search.err, KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(search.found, 0);
    home_close(&home);
}
