/*
 * Whole endpoints that know nothing but each other's ids, and whole lookup servers, in virtual time: signed packets over HTTP and
 * DNS over UDP and TCP between them. Every script says how soon an id is found whatever happens to answers, clocks and servers; the
 * invariants of all trials hold throughout, and nobody is ever connected to another endpoint than was asked for.
 */
#include "lookup_house.h"
#include "relay_house.h"

#include "base/assert.h"
#include "lookup/pkarr.h"
#include <stdio.h>
#include <string.h>

enum { SERVERS_MAX = 2, RELAYS_MAX = 2, CHECK_EVERY = 16 };

#define FOUND_WITHIN_NS (2 * KITH_NS_PER_S)
/* The services' own limit, and that of a handshake that nobody answers. */
#define DIAL_LIMIT_NS (KITH_LOOKUP_LIMIT_NS + 35 * KITH_NS_PER_S)

/* How the client finds: bits. */
enum { BY_PKARR = 1, BY_DNS = 2 };

/* One trial at a time, in a process of its own. */
static struct {
    struct kith_simdns servers[SERVERS_MAX];
    struct kith_simhouse relays[RELAYS_MAX];
    size_t server_count, relay_count;
    bool (*done)(struct kith_trial *trial);
    struct kith_simdial *dial;    /* what a script waits for */
    struct kith_sockaddr address; /* where the server is now */
    unsigned moves;
    size_t looked_at;      /* the lookup server that a script waits for */
    uint64_t published_us; /* the timestamp that was looked at last, and: */
    bool is_published;     /* it says where the server is */
    uint64_t longest_ns;   /* from a publication to a connection */
} world_l;

static uint64_t seeded(struct kith_trial *trial, uint64_t min, uint64_t max)
{
    return kith__trial_choose(trial, (struct kith_choice) { min, max });
}

static uint64_t now_of(const struct kith_trial *trial)
{
    return kith__sim_now(trial->sim);
}

static struct kith_simapp *client_of(struct kith_trial *trial)
{
    return &trial->apps[KITH_TRIAL_CLIENT];
}

static struct kith_simapp *server_of(struct kith_trial *trial)
{
    return &trial->apps[KITH_TRIAL_SERVER];
}

/* ---- Running ---- */

static void check_dials(struct kith_trial *trial)
{
    for (size_t i = 0; i < trial->app_count; i++)
        KITH_LIST_EACH(node, &trial->apps[i].dials)
        {
            const struct kith_simdial *dial = KITH_CONTAINER(node, struct kith_simdial, node);

            if (dial->over_ns == 0 && dial->connected_ns == 0 && now_of(trial) - dial->began_ns > DIAL_LIMIT_NS)
                kith__simapp_wrong(&trial->apps[i], "a dial hangs");
        }
}

static bool after_step(struct kith_trial *trial)
{
    if (trial->check.steps % CHECK_EVERY == 0) {
        for (size_t i = 0; i < world_l.server_count; i++)
            kith__simdns_check(&world_l.servers[i]);
        for (size_t i = 0; i < world_l.relay_count; i++)
            kith__simhouse_check(&world_l.relays[i]);
        check_dials(trial);
    }
    return world_l.done != NULL && world_l.done(trial);
}

static enum kith_sim_verdict until(struct kith_trial *trial, bool (*done)(struct kith_trial *trial), uint64_t for_ns)
{
    enum kith_sim_verdict verdict;

    world_l.done = done;
    verdict = kith__trial_until(trial, after_step, for_ns);
    return done == NULL && verdict == KITH_SIM_STUCK ? KITH_SIM_OK : verdict;
}

static enum kith_sim_verdict pass(struct kith_trial *trial, uint64_t min_ms, uint64_t max_ms)
{
    return until(trial, NULL, seeded(trial, min_ms, max_ms) * KITH_NS_PER_MS);
}

static bool all_online(struct kith_trial *trial)
{
    for (size_t i = 0; i < trial->app_count && world_l.relay_count != 0; i++)
        if (!kith__simapp_is_online(&trial->apps[i]))
            return false;
    return true;
}

static bool is_connected(struct kith_trial *trial)
{
    (void)trial;
    return world_l.dial->connected_ns != 0 || world_l.dial->over_ns != 0;
}

static bool is_answered(struct kith_trial *trial)
{
    (void)trial;
    return world_l.dial->over_ns != 0 || kith__simconn_is_done(world_l.dial->conn);
}

/* ---- What is published ---- */

/* A packet names the home relay of now, if there are relays, and the address of now, if it is told. */
static bool says_where(struct kith_trial *trial, const struct kith_pkarr *packet)
{
    const struct kith_simapp *server = server_of(trial);
    struct kith_relay_info home = { .url = NULL };
    bool has_ip = server->lookups.filter == KITH_LOOKUP_RELAYS, has_home = server->relays == NULL;
    struct kith_lookup_info info;
    size_t ignored;

    if (!has_home && kith__relays_home(server->relays) != NULL)
        kith__relay_info(kith__relays_home(server->relays), &home);
    KITH_ASSERT(kith__pkarr_info(packet, kith_mem_default(), &info, &ignored) == 0);
    for (size_t i = 0; i < info.addr.count; i++) {
        const struct kith_transport_addr *addr = &info.addr.addrs[i];

        has_ip |= addr->kind == KITH_TRANSPORT_IP && kith_sockaddr_equal(&addr->ip, &world_l.address);
        has_home |= addr->kind == KITH_TRANSPORT_RELAY && home.url != NULL &&
                    strcmp((const char *)addr->bytes.ptr, home.url) == 0;
    }
    kith__lookup_info_dispose(&info);
    return has_ip && has_home;
}

/* The lookup server that is looked at has where the server is now. Asked after each instant: a packet is read once. */
static bool is_published(struct kith_trial *trial)
{
    struct kith_id id = kith__secret_id(&server_of(trial)->secret);
    struct kith_pkarr packet;

    if (!kith__simdns_stored(&world_l.servers[world_l.looked_at], &id, &packet))
        return false;
    if (kith__pkarr_timestamp(&packet) != world_l.published_us) {
        world_l.published_us = kith__pkarr_timestamp(&packet);
        world_l.is_published = says_where(trial, &packet);
    }
    return world_l.is_published;
}

/* The server is elsewhere from now on. */
static void move(struct kith_trial *trial)
{
    struct kith_sockaddr address = world_l.address;

    address.port = 0;
    world_l.moves++;
    address.ip[2] = (uint8_t)(20 + world_l.moves / 200);
    address.ip[3] = (uint8_t)(1 + world_l.moves % 200);
    kith__simapp_note(server_of(trial), "moves to 10.0.%u.%u", address.ip[2], address.ip[3]);
    KITH_ASSERT(kith__sim_interface_set_addrs(server_of(trial)->host, 0, &address, 1) == 0);
    world_l.address.ip[2] = address.ip[2];
    world_l.address.ip[3] = address.ip[3];
    world_l.published_us = 0;
}

/* ---- Setting up ---- */

/** Lookup servers, relays, and endpoints that know them all; ready when the server has published. `ways`: BY_PKARR, BY_DNS. */
static enum kith_sim_verdict open_with(struct kith_trial *trial, size_t servers, size_t relays, size_t apps,
                                       unsigned ways)
{
    static const char *const names[] = { "client", "server", "other" };
    struct kith_simapp_lookups *lookups = &trial->lookups;

    trial->transport.paths_max = 8; /* in every seed: what is found late may need a path of its own */
    world_l.server_count = servers;
    world_l.relay_count = trial->relay_count = relays;
    for (unsigned i = 0; i < servers; i++) {
        kith__simdns_open(&world_l.servers[i], trial, i + 1, NULL);
        lookups->publish[i] = world_l.servers[i].url;
        if (ways & BY_PKARR)
            lookups->resolve[i] = world_l.servers[i].url;
        if (ways & BY_DNS)
            lookups->dns[i] = world_l.servers[i].dns;
    }
    if (ways & BY_DNS)
        lookups->origin = KITH_SIMDNS_ORIGIN;
    lookups->filter = KITH_LOOKUP_ALL;
    for (unsigned i = 0; i < relays; i++) {
        kith__simhouse_open(&world_l.relays[i], trial, i + 1);
        trial->relay_urls[i] = world_l.relays[i].url;
    }
    for (size_t i = 0; i < apps; i++) {
        struct kith_sim_host_options options = { .addrs[0] = kith__trial_address("10.0.1.1:0") };
        struct kith_simapp *app;

        options.addrs[0].ip[3] = (uint8_t)(i + 1);
        kith__trial_choose_link(trial, &options.up);
        kith__trial_choose_link(trial, &options.down);
        app = kith__trial_add_app(trial, names[i], &options, false);
        app->may_end = true; /* who dialled hangs up when it likes */
    }
    world_l.address = kith__trial_address("10.0.1.2:4433");
    TRY(until(trial, all_online, 10 * KITH_NS_PER_S));
    return until(trial, is_published, 10 * KITH_NS_PER_S);
}

static const struct kith_simapp_plan one_question = {
    .streams = 1, .up_min = 100, .up_max = 1000, .down_min = 100, .down_max = 1000
};

static void begin_to_find(struct kith_trial *trial)
{
    struct kith_id id = kith__secret_id(&server_of(trial)->secret);

    world_l.dial = kith__simapp_find(client_of(trial), &id, &one_question);
}

static enum kith_sim_verdict hang_up(struct kith_trial *trial)
{
    TRY(until(trial, is_answered, 10 * KITH_NS_PER_S));
    DEMAND(world_l.dial->over_ns == 0);
    kith__simdial_end(world_l.dial);
    return KITH_SIM_OK;
}

/** Dials by id alone: connected within limit_ns, and what is asked is answered by whom it was meant for. */
static enum kith_sim_verdict find(struct kith_trial *trial, uint64_t limit_ns)
{
    uint64_t began_ns = now_of(trial);

    begin_to_find(trial);
    TRY(until(trial, is_connected, limit_ns));
    DEMAND(world_l.dial->connected_ns != 0);
    world_l.longest_ns = KITH_MAX(world_l.longest_ns, now_of(trial) - began_ns);
    trial->result->gap_ns = world_l.longest_ns;
    return hang_up(trial);
}

/* ---- Scripts ---- */

static unsigned ways_of(const struct kith_trial *trial)
{
    static const uint8_t ways[] = { BY_PKARR, BY_DNS, BY_PKARR | BY_DNS };

    return ways[trial->seed % KITH_COUNT(ways)];
}

/* The server moves every minute, for some minutes; whoever has its id finds it as soon as it has told. */
static enum kith_sim_verdict roam(struct kith_trial *trial)
{
    TRY(open_with(trial, 1, trial->seed % 2 == 0 ? 2 : 0, 2, ways_of(trial)));
    TRY(find(trial, FOUND_WITHIN_NS));
    for (int i = 0; i < 6; i++) {
        TRY(pass(trial, 30000, 60000));
        move(trial);
        TRY(until(trial, is_published, 3 * KITH_NS_PER_S));
        TRY(find(trial, FOUND_WITHIN_NS));
    }
    return KITH_SIM_OK;
}

/** The scripts, by the scenario's `extra`. */
static enum kith_sim_verdict (*const scripts[])(struct kith_trial *trial) = { roam };

static enum kith_sim_verdict play(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    enum kith_sim_verdict verdict = scripts[scenario->extra.min](trial);

    if (verdict == KITH_SIM_OK)
        verdict = kith__trial_close(trial);
    for (size_t i = 0; i < world_l.relay_count; i++)
        kith__simhouse_kill(&world_l.relays[i], false);
    for (size_t i = 0; i < world_l.server_count; i++) {
        trial->result->memory_peak = KITH_MAX(trial->result->memory_peak, world_l.servers[i].mem.peak);
        kith__simdns_close(&world_l.servers[i]);
    }
    return verdict; /* what the check at the end finds is seen by the trial */
}

#define NET                                                                                                            \
    .net = {                                                                                                           \
        .delay_us = { 1000, 30000 }, .jitter_us = { 0, 5000 }, .loss_ppm = { 0, 1000 }, .rate_kbit = { 5000, 100000 }  \
    }

const struct kith_scenario kith__scenarios_lookup[] = {
    { .name = "lookup-roam", .play = play, .extra = { 0 }, .seeds_percent = 50, NET },
    { .name = NULL },
};
