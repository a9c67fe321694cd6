/*
 * What happens to lookup servers and clocks, with whole endpoints in virtual time: servers die and come back, lose what they had, limit
 * their clients, have a thousand publishers; clocks jump, forward and back, on every side. The promise of being found within two
 * seconds of a publication holds throughout; and how soon there is a publication again is told here for each.
 */
#include "lookup_world.h"

#include "base/assert.h"
#include "lookup/pkarr_publish.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define world_l  kith__simlookup
#define pass     kith__simlookup_pass
#define until    kith__simlookup_until
#define find     kith__simlookup_find
#define seeded   kith__simlookup_seeded
#define FOUND_NS KITH_SIMLOOKUP_FOUND_NS
#define RETRY_NS KITH_SIMLOOKUP_RETRY_NS

enum { BOTH = KITH_SIMLOOKUP_BOTH };

static struct kith_simapp *server_of(struct kith_trial *trial)
{
    return &trial->apps[KITH_TRIAL_SERVER];
}

/* ---- Death ---- */

/* How a server goes away and comes back: its process ends, its machine loses power, its cable is cut. */
enum death { DEATH_PROCESS, DEATH_MACHINE, DEATH_CUT };

static void die(struct kith_simdns *dns, enum death how)
{
    if (how == DEATH_CUT)
        kith__simdns_cut(dns, true);
    else
        kith__simdns_kill(dns, how == DEATH_MACHINE);
}

static void come_back(struct kith_simdns *dns, enum death how)
{
    if (how == DEATH_CUT)
        kith__simdns_cut(dns, false);
    else
        kith__simdns_start(dns);
}

/* The only server dies, and has what it had when it is back; who moved meanwhile is there again within moments of its next try. */
static enum kith_sim_verdict dies(struct kith_trial *trial)
{
    struct kith_id id = kith__secret_id(&(struct kith_secret) { { 0 } });
    struct kith_simdns *dns = &world_l.servers[0];
    struct kith_pkarr before, after;

    TRY(kith__simlookup_open(
        trial, &(struct kith_simlookup_options) { .servers = 1, .apps = 2, .ways = kith__simlookup_ways(trial) }));
    id = kith__secret_id(&server_of(trial)->secret);
    for (int i = 0; i < 3; i++) {
        enum death how = (enum death)seeded(trial, DEATH_PROCESS, DEATH_CUT);

        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
        TRY(pass(trial, 1000, 60000));
        DEMAND(kith__simdns_stored(dns, &id, &before));
        die(dns, how);
        TRY(pass(trial, 500, 30000));
        come_back(dns, how);
        DEMAND(kith__simdns_stored(dns, &id, &after));
        DEMAND(kith__pkarr_timestamp(&after) == kith__pkarr_timestamp(&before));
        TRY(find(trial, FOUND_NS));

        TRY(pass(trial, 1000, 10000));
        die(dns, how);
        kith__simlookup_move(trial);
        TRY(pass(trial, 500, 60000));
        come_back(dns, how);
        TRY(until(trial, kith__simlookup_is_published, RETRY_NS));
        TRY(find(trial, FOUND_NS));
    }
    return KITH_SIM_OK;
}

/* One of two servers is dead, in turns: the other one has everything, and nobody waits for the dead one. */
static enum kith_sim_verdict dies_one(struct kith_trial *trial)
{
    TRY(kith__simlookup_open(trial, &(struct kith_simlookup_options) { .servers = 2,
                                                                       .relays = trial->seed % 2 == 0 ? 2 : 0,
                                                                       .apps = 2,
                                                                       .ways = kith__simlookup_ways(trial) }));
    for (int i = 0; i < 4; i++) {
        enum death how = (enum death)seeded(trial, DEATH_PROCESS, DEATH_CUT);
        struct kith_simdns *dead = &world_l.servers[i % 2];

        die(dead, how);
        world_l.looked_at = (size_t)(i + 1) % 2;
        for (int j = 0; j < 2; j++) {
            TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
            TRY(pass(trial, 1000, 40000));
        }
        come_back(dead, how);
        world_l.looked_at = (size_t)i % 2;
        TRY(until(trial, kith__simlookup_is_published, RETRY_NS));
    }
    return KITH_SIM_OK;
}

/* A server loses its disk: everybody is there again when it was told the next time, which is not long. And not sooner, either. */
static enum kith_sim_verdict forgets(struct kith_trial *trial)
{
    enum { EVERY_S = 60 };
    struct kith_dns_counters before, after;
    uint64_t count;

    TRY(kith__simlookup_open(trial, &(struct kith_simlookup_options) { .servers = 1,
                                                                       .apps = 2,
                                                                       .ways = kith__simlookup_ways(trial),
                                                                       .republish_ns = EVERY_S * KITH_NS_PER_S }));
    for (int i = 0; i < 3; i++) {
        TRY(pass(trial, 1000, 60000));
        kith__simdns_kill(&world_l.servers[0], trial->seed % 2 == 0);
        kith__simdns_wipe(&world_l.servers[0]);
        kith__simdns_start(&world_l.servers[0]);
        TRY(until(trial, kith__simlookup_is_published, (EVERY_S + 2) * KITH_NS_PER_S));
        TRY(find(trial, FOUND_NS));
    }
    TRY(pass(trial, 61000, 61000)); /* the other one, too */
    before = kith__simdns_counted(&world_l.servers[0]);
    TRY(pass(trial, 600000, 600000));
    after = kith__simdns_counted(&world_l.servers[0]);
    count = after.pkarr_publish_update - before.pkarr_publish_update;
    DEMAND(count >= 2 * 9 && count <= 2 * 11); /* two endpoints */
    DEMAND(after.pkarr_publish_noop == 0);
    return KITH_SIM_OK;
}

/* ---- Limits ---- */

static char told[16]; /* the user data of now */

static bool is_told(struct kith_trial *trial)
{
    struct kith_id id = kith__secret_id(&server_of(trial)->secret);
    struct kith_lookup_info info;
    struct kith_pkarr packet;
    size_t ignored;
    bool is;

    KITH_ASSERT(kith__simdns_stored(&world_l.servers[0], &id, &packet) &&
                kith__pkarr_info(&packet, kith_mem_default(), &info, &ignored) == 0);
    is = strcmp(info.user_data, told) == 0;
    kith__lookup_info_dispose(&info);
    return is;
}

/* A server that takes little of each client: it is obeyed, and has the newest in the end. */
static enum kith_sim_verdict limits(struct kith_trial *trial)
{
    struct kith_dns_limits few = { .put_rate = 0.1, .put_burst = 2 };
    struct kith_dns_counters before, after;

    TRY(kith__simlookup_open(trial, &(struct kith_simlookup_options) { .servers = 1,
                                                                       .apps = 2,
                                                                       .ways = kith__simlookup_ways(trial),
                                                                       .limits = &few,
                                                                       .republish_ns = 3600 * KITH_NS_PER_S }));
    for (int i = 0; i < 3; i++) {
        before = kith__simdns_counted(&world_l.servers[0]);
        for (uint64_t changes = seeded(trial, 4, 8); changes > 0; changes--) { /* a move would make it another client */
            snprintf(told, sizeof told, "%d-%u", i, (unsigned)changes);
            KITH_ASSERT(kith__announce_set_user_data(server_of(trial)->announce,
                                                     (struct kith_slice) { (const uint8_t *)told, strlen(told) }) == 0);
            TRY(pass(trial, 500, 2000));
        }
        TRY(until(trial, is_told, 25 * KITH_NS_PER_S));
        TRY(find(trial, FOUND_NS));
        TRY(pass(trial, 60000, 60000));
        after = kith__simdns_counted(&world_l.servers[0]);
        DEMAND(after.puts_limited > before.puts_limited);
        DEMAND(after.puts_limited - before.puts_limited <= 4); /* it says for how long */
    }
    return KITH_SIM_OK;
}

/* ---- Clocks ---- */

static int64_t some_jump_us(struct kith_trial *trial, uint64_t max_s)
{
    int64_t us = (int64_t)(seeded(trial, 1, max_s) * 1000000);

    return seeded(trial, 0, 1) == 0 ? us : -us;
}

/* The clock of the client, or that of the server, jumps: by hours back, by minutes forward. Nobody notices. */
static enum kith_sim_verdict clocks(struct kith_trial *trial)
{
    TRY(kith__simlookup_open(
        trial, &(struct kith_simlookup_options) { .servers = 1, .apps = 2, .ways = kith__simlookup_ways(trial) }));
    for (int i = 0; i < 8; i++) {
        bool is_back = seeded(trial, 0, 1) == 0;

        TRY(pass(trial, 1000, 40000));
        if (i % 2 == 0)
            kith__sim_host_jump_wall(trial->apps[KITH_TRIAL_CLIENT].host, some_jump_us(trial, 5ull * 365 * 86400));
        else if (is_back)
            kith__sim_host_jump_wall(server_of(trial)->host, -(int64_t)seeded(trial, 1, 2 * 365 * 86400) * 1000000);
        else
            kith__sim_host_jump_wall(server_of(trial)->host, (int64_t)seeded(trial, 1, 90) * 1000000);
        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
    }
    return KITH_SIM_OK;
}

/* The server's clock is years ahead for a while, and nobody takes its packets; when it is right again, they do. */
static enum kith_sim_verdict ahead(struct kith_trial *trial)
{
    int64_t by_us = (int64_t)seeded(trial, 1200, 5 * 365 * 86400) * 1000000;
    struct kith_dns_counters counted;

    TRY(kith__simlookup_open(
        trial, &(struct kith_simlookup_options) { .servers = 1, .apps = 2, .ways = kith__simlookup_ways(trial) }));
    TRY(pass(trial, 1000, 40000));
    kith__sim_host_jump_wall(server_of(trial)->host, by_us);
    kith__simlookup_move(trial);
    TRY(pass(trial, 1000, 40000));
    counted = kith__simdns_counted(&world_l.servers[0]);
    DEMAND(counted.puts_future > 0 && !kith__simlookup_is_published(trial));
    kith__sim_host_jump_wall(server_of(trial)->host, -by_us);
    TRY(until(trial, kith__simlookup_is_published, RETRY_NS));
    TRY(find(trial, FOUND_NS));
    for (int i = 0; i < 2; i++) {
        TRY(pass(trial, 1000, 40000));
        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
    }
    return KITH_SIM_OK;
}

/* The lookup server's own clock is wrong for a while: what it has stays, or comes again, and it takes all when it is right. */
static enum kith_sim_verdict servers_clock(struct kith_trial *trial)
{
    TRY(kith__simlookup_open(
        trial, &(struct kith_simlookup_options) {
                   .servers = 1, .apps = 2, .ways = kith__simlookup_ways(trial), .republish_ns = 60 * KITH_NS_PER_S }));
    for (int i = 0; i < 4; i++) {
        int64_t by_us = some_jump_us(trial, 30 * 86400);

        TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
        TRY(pass(trial, 1000, 30000));
        kith__sim_host_jump_wall(world_l.servers[0].host, by_us);
        if (by_us < 7ll * 86400 * 1000000) /* else it throws away what seems to be a week old */
            TRY(find(trial, FOUND_NS));
        if (i % 2 != 0)
            kith__simlookup_move(trial); /* which it takes for the future, if its clock went back */
        TRY(pass(trial, 1000, 30000));
        kith__sim_host_jump_wall(world_l.servers[0].host, -by_us);
        TRY(until(trial, kith__simlookup_is_published, RETRY_NS));
        TRY(find(trial, FOUND_NS));
    }
    return KITH_SIM_OK;
}

/*
 * The server begins anew with a clock that went back, and does not remember what it told: the lookup server has a newer packet and
 * says so (409), and the server goes past it.
 */
static enum kith_sim_verdict older(struct kith_trial *trial)
{
    struct kith_dns_counters counted;

    TRY(kith__simlookup_open(
        trial, &(struct kith_simlookup_options) { .servers = 1, .apps = 2, .ways = kith__simlookup_ways(trial) }));
    for (uint64_t i = 1; i <= 3; i++) {
        TRY(pass(trial, 1000, 40000));
        kith__simcheck_stop(trial, KITH_TRIAL_SERVER);
        kith__sim_host_jump_wall(server_of(trial)->host, -(int64_t)seeded(trial, 60, 86400) * 1000000);
        server_of(trial)->published_us = 0;
        TRY(pass(trial, 10, 2000));
        KITH_ASSERT(kith__simapp_start(server_of(trial)) == 0);
        TRY(kith__simlookup_move_and_find(trial, 5 * KITH_NS_PER_S));
        counted = kith__simdns_counted(&world_l.servers[0]);
        DEMAND(counted.puts_older == i);
    }
    return KITH_SIM_OK;
}

/* ---- A thousand publishers ---- */

enum { MANY = 1000 };

/* Hosts with a publisher each, without endpoints. */
static struct {
    struct kith_simmem mem; /* of all */
    struct kith_sim_host *hosts[MANY];
    struct kith_lookup *registries[MANY];
    struct kith_id ids[MANY];
} many;

static uint64_t many_count(void)
{
    struct kith_lookup_published published;
    uint64_t count = 0;

    for (size_t i = 0; i < MANY; i++) {
        const struct kith_lookup_service *service = kith__lookup_service(many.registries[i], 0);

        service->ops->published(service, &published);
        count += published.accepted_count != 0 && published.err == 0;
    }
    return count;
}

static void many_tell(size_t i, unsigned number)
{
    struct kith_lookup_info info;
    struct kith_sockaddr ip = kith__trial_address("10.2.0.0:4433");

    ip.ip[2] = (uint8_t)number;
    ip.ip[3] = (uint8_t)(i % 251);
    kith__lookup_info_init(&info, kith_mem_default(), &many.ids[i]);
    KITH_ASSERT(kith__endpoint_addr_add_ip(&info.addr, &ip) == 0);
    KITH_ASSERT(kith__lookup_publish(many.registries[i], &info) == 0);
    kith__lookup_info_dispose(&info);
}

static void many_open(struct kith_trial *trial)
{
    kith__simmem_init(&many.mem, 256 << 20);
    kith__trial_add_mem(trial, &many.mem);
    for (size_t i = 0; i < MANY; i++) {
        struct kith_sim_host_options options = { .name = "publisher",
                                                 .mem = &many.mem.mem,
                                                 .addrs[0] = kith__trial_address("10.1.0.1:0") };
        struct kith_secret secret = { .bytes = { (uint8_t)i, (uint8_t)(i >> 8), 77 } };
        struct kith_pkarr_publish_options publish = { .http.url = world_l.servers[0].url,
                                                      .secret = &secret,
                                                      .filter = KITH_LOOKUP_ALL };
        struct kith_lookup_service *service;

        options.addrs[0].ip[2] = (uint8_t)(i / 250);
        options.addrs[0].ip[3] = (uint8_t)(1 + i % 250);
        kith__trial_choose_link(trial, &options.up);
        kith__trial_choose_link(trial, &options.down);
        KITH_ASSERT(kith__sim_host_new(trial->sim, &options, &many.hosts[i]) == 0);
        many.ids[i] = kith__secret_id(&secret);
        KITH_ASSERT(kith__lookup_new(kith__sim_rt(many.hosts[i]), &many.mem.mem, &many.ids[i], &many.registries[i]) ==
                    0);
        KITH_ASSERT(kith__pkarr_publish_new(kith__sim_rt(many.hosts[i]), &publish, &service) == 0);
        KITH_ASSERT(kith__lookup_add(many.registries[i], service) == 0);
    }
}

static bool are_all_told(struct kith_trial *trial)
{
    (void)trial;
    return many_count() == MANY;
}

static enum kith_sim_verdict many_play(struct kith_trial *trial)
{
    struct kith_dns_counters counted;

    for (size_t i = 0; i < MANY; i++)
        many_tell(i, 1);
    TRY(until(trial, are_all_told, 10 * KITH_NS_PER_S));
    TRY(kith__simlookup_move_and_find(trial, 3 * KITH_NS_PER_S));
    kith__simdns_kill(&world_l.servers[0], false);
    for (size_t i = 0; i < MANY; i++)
        many_tell(i, 2);
    kith__simlookup_move(trial);
    TRY(pass(trial, 5000, 20000));
    DEMAND(many_count() == 0);
    kith__simdns_start(&world_l.servers[0]);
    TRY(until(trial, are_all_told, RETRY_NS));
    TRY(until(trial, kith__simlookup_is_published, RETRY_NS));
    TRY(find(trial, FOUND_NS));
    counted = kith__simdns_counted(&world_l.servers[0]);
    DEMAND(counted.store_packets_inserted == MANY + 2);
    DEMAND(counted.store_packets_updated >= MANY + 2 && counted.puts_older + counted.puts_invalid == 0);
    return KITH_SIM_OK;
}

/* A thousand endpoints come to one server at once, also after its death; the one that is looked for is found as soon as ever. */
static enum kith_sim_verdict thousand(struct kith_trial *trial)
{
    enum kith_sim_verdict verdict;

    TRY(kith__simlookup_open(trial, &(struct kith_simlookup_options) { .servers = 1, .apps = 2, .ways = BOTH }));
    many_open(trial);
    verdict = many_play(trial);
    for (size_t i = 0; i < MANY; i++)
        kith__lookup_free(many.registries[i]);
    return verdict;
}

/** The scripts, by the scenario's `extra`. */
static enum kith_sim_verdict (*const scripts[])(struct kith_trial *trial) = {
    dies, dies_one, forgets, limits, clocks, ahead, servers_clock, older, thousand,
};

static enum kith_sim_verdict play(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    return kith__simlookup_play(trial, scripts[scenario->extra.min]);
}

#define NET                                                                                                            \
    .net = {                                                                                                           \
        .delay_us = { 1000, 30000 }, .jitter_us = { 0, 5000 }, .loss_ppm = { 0, 1000 }, .rate_kbit = { 5000, 100000 }  \
    }

const struct kith_scenario kith__scenarios_lookup_servers[] = {
    { .name = "lookup-server-dies", .play = play, .extra = { 0 }, .seeds_percent = 15, NET },
    { .name = "lookup-one-server-dies", .play = play, .extra = { 1 }, .seeds_percent = 15, NET },
    { .name = "lookup-server-forgets", .play = play, .extra = { 2 }, .seeds_percent = 15, NET },
    { .name = "lookup-limits", .play = play, .extra = { 3 }, .seeds_percent = 15, NET },
    { .name = "lookup-clock-jumps", .play = play, .extra = { 4 }, .seeds_percent = 15, NET },
    { .name = "lookup-clock-ahead", .play = play, .extra = { 5 }, .seeds_percent = 15, NET },
    { .name = "lookup-server-clock-jumps", .play = play, .extra = { 6 }, .seeds_percent = 15, NET },
    { .name = "lookup-older-packet", .play = play, .extra = { 7 }, .seeds_percent = 15, NET },
    { .name = "lookup-thousand-publishers", .play = play, .extra = { 8 }, .seeds_percent = 1, NET },
    { .name = NULL },
};
