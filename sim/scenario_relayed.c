/*
 * Whole endpoints that meet at whole relays, all in virtual time: engine, driver, relays and their policy on one side, the relay's
 * worker with HTTP and core on the other, simulated TCP in between. Every script says what a connection's user may feel of what happens
 * to the relays; the invariants of all trials hold throughout.
 */
#include "relay_house.h"

#include "base/assert.h"
#include <stdio.h>
#include <string.h>

enum { RELAYS_MAX = 3, CHECK_EVERY = 16 };

/* A try each second, four round trips, and what loses a packet costs TCP 200 ms. */
#define REDIAL_NS (2500 * KITH_NS_PER_MS)

/* A machine that was off answers no SYN, and TCP repeats that after 1 s, then 2. */
#define REDIAL_DEAD_NS (4 * KITH_NS_PER_S)

/* One trial at a time, in a process of its own. */
static struct {
    struct kith_simhouse houses[RELAYS_MAX];
    size_t count;
    bool (*done)(struct kith_trial *trial);
    struct kith_simconn *conn;  /* what a script waits for */
    struct kith_simhouse *dead; /* a relay that cannot carry it */
    uint64_t began_ns;
} world_r;

static uint64_t seeded(struct kith_trial *trial, uint64_t min, uint64_t max)
{
    return kith__trial_choose(trial, (struct kith_choice) { min, max });
}

static uint64_t now_of(const struct kith_trial *trial)
{
    return kith__sim_now(trial->sim);
}

/* ---- Running ---- */

static bool after_step(struct kith_trial *trial)
{
    for (size_t i = 0; i < world_r.count && trial->check.steps % CHECK_EVERY == 0; i++)
        kith__simhouse_check(&world_r.houses[i]);
    return world_r.done != NULL && world_r.done(trial);
}

static enum kith_sim_verdict until(struct kith_trial *trial, bool (*done)(struct kith_trial *trial), uint64_t for_ns)
{
    enum kith_sim_verdict verdict;

    world_r.done = done;
    verdict = kith__trial_until(trial, after_step, for_ns);
    return done == NULL && verdict == KITH_SIM_STUCK ? KITH_SIM_OK : verdict;
}

static enum kith_sim_verdict pass(struct kith_trial *trial, uint64_t min_ms, uint64_t max_ms)
{
    return until(trial, NULL, seeded(trial, min_ms, max_ms) * KITH_NS_PER_MS);
}

static bool all_online(struct kith_trial *trial)
{
    for (size_t i = 0; i < trial->app_count; i++)
        if (!kith__simapp_is_online(&trial->apps[i]))
            return false;
    return true;
}

/** Those that a connection needs: who needs none waits longer between its attempts. */
static bool talkers_online(struct kith_trial *trial)
{
    return kith__simapp_is_online(&trial->apps[KITH_TRIAL_CLIENT]) &&
           kith__simapp_is_online(&trial->apps[KITH_TRIAL_SERVER]);
}

/** The relays that live have all the endpoints again, whatever these believe themselves. */
static bool all_back(struct kith_trial *trial)
{
    for (size_t i = 0; i < world_r.count; i++)
        if (world_r.houses[i].worker != NULL && KITH_RELAY_GAUGE(&world_r.houses[i].shared, clients) < trial->app_count)
            return false;
    return all_online(trial);
}

/** Everybody has home and, with several relays, a second one. */
static bool all_kept(struct kith_trial *trial)
{
    for (size_t i = 0; i < trial->app_count; i++) {
        const struct kith_relay_peer *warm = kith__relays_warm(trial->apps[i].relays);

        if (world_r.count > 1 && (warm == NULL || !kith__relay_is_fit(warm)))
            return false;
    }
    return all_online(trial);
}

/** Before it is confirmed a connection cannot have a second path: RFC 9000, 9. */
static bool is_confirmed(struct kith_trial *trial)
{
    (void)trial;
    return world_r.conn->is_confirmed;
}

static bool all_done(struct kith_trial *trial)
{
    for (size_t i = 0; i < trial->app_count; i++)
        KITH_LIST_EACH(node, &trial->apps[i].conns)
        {
            const struct kith_simconn *conn = KITH_CONTAINER(node, struct kith_simconn, node);

            if (!conn->is_closed && (!conn->is_connected || !kith__simconn_is_done(conn)))
                return false;
        }
    return true;
}

static bool is_direct_on_both(struct kith_trial *trial)
{
    const struct kith_simconn *server = kith__trial_server_conn(trial);

    return server != NULL && kith__simconn_is_direct(world_r.conn) && kith__simconn_is_direct(server);
}

/* ---- Setting up ---- */

/** Relays and endpoints, all of which have all relays; ready when everybody is connected to those that it keeps. */
static enum kith_sim_verdict open_with(struct kith_trial *trial, size_t relays, size_t apps, bool no_sockets)
{
    static const char *const names[] = { "client", "server", "other" };

    trial->transport.paths_max = 8; /* in every seed: without a second path nothing can take over */
    trial->no_sockets = no_sockets;
    trial->relay_count = world_r.count = relays;
    for (unsigned i = 0; i < relays; i++) {
        kith__simhouse_open(&world_r.houses[i], trial, i + 1);
        trial->relay_urls[i] = world_r.houses[i].url;
    }
    for (size_t i = 0; i < apps; i++) {
        struct kith_sim_host_options options = { .addrs[0] = kith__trial_address("10.0.1.1:0") };

        options.addrs[0].ip[3] = (uint8_t)(i + 1);
        kith__trial_choose_link(trial, &options.up);
        kith__trial_choose_link(trial, &options.down);
        kith__trial_add_app(trial, names[i], &options, false);
    }
    return until(trial, all_kept, 10 * KITH_NS_PER_S);
}

static const struct kith_simapp_plan bulk = {
    .streams = 4, .at_once = 2, .up_min = 300000, .up_max = 600000, .down_min = 300000, .down_max = 600000
};
/* For as long as it takes: a script ends it. */
static const struct kith_simapp_plan questions = {
    .streams = 1000000, .at_once = 1, .up_min = 100, .up_max = 1000, .down_min = 100, .down_max = 3000
};
static const struct kith_simapp_plan one_question = {
    .streams = 1, .up_min = 100, .up_max = 1000, .down_min = 100, .down_max = 1000
};

/** Dials the server by its id and the relays' URLs, and directly if asked; the connection is there within limit_ms. */
static enum kith_sim_verdict dial(struct kith_trial *trial, size_t from, bool directly, uint64_t limit_ms,
                                  const struct kith_simapp_plan *plan, struct kith_simconn **out)
{
    struct kith_sockaddr ip = kith__trial_address("10.0.1.2:4433");

    KITH_ASSERT(kith__simapp_dial_relayed(&trial->apps[from], &trial->apps[KITH_TRIAL_SERVER], trial->relay_urls,
                                          trial->relay_count, &ip, directly ? 1 : 0, plan, &world_r.conn) == 0);
    *out = world_r.conn;
    return until(trial, is_confirmed, limit_ms * KITH_NS_PER_MS);
}

/** Everything is read to its last byte on both sides; then the connections close in order. */
static enum kith_sim_verdict finish(struct kith_trial *trial, const struct kith_simconn *conn)
{
    TRY(until(trial, all_done, 300 * KITH_NS_PER_S));
    DEMAND(conn->flows_done == conn->plan.streams);
    return KITH_SIM_OK;
}

/** Measures from now on how long the application waits. */
static void watch_gap(struct kith_trial *trial, struct kith_simconn *conn)
{
    world_r.began_ns = conn->gap_from_ns = now_of(trial);
    conn->gap_max_ns = 0;
}

static uint64_t gap_of(struct kith_trial *trial, const struct kith_simconn *conn)
{
    uint64_t gap_ns = KITH_MAX(conn->gap_max_ns, now_of(trial) - conn->gap_from_ns);

    trial->result->gap_ns = KITH_MAX(trial->result->gap_ns, gap_ns);
    return gap_ns;
}

/** The relay that carries the connection now. */
static struct kith_simhouse *carrier_of(const struct kith_simconn *conn)
{
    const char *url = kith__simconn_relay(conn);

    for (size_t i = 0; url != NULL && i < world_r.count; i++)
        if (strcmp(world_r.houses[i].url, url) == 0)
            return &world_r.houses[i];
    return NULL;
}

/* ---- Scripts ---- */

/** A path through a relay that lives carries the connection; one that lost a packet counts as silent for a moment. */
static bool is_carried(struct kith_trial *trial)
{
    const struct kith_simhouse *carrier = carrier_of(world_r.conn);

    (void)trial;
    return carrier != NULL && carrier != world_r.dead;
}

/** Something was read since the script began to watch. */
static bool has_read(struct kith_trial *trial)
{
    (void)trial;
    return world_r.conn->last_read_ns > world_r.began_ns;
}

static enum kith_sim_verdict transfer(struct kith_trial *trial)
{
    struct kith_simapp_plan plan = bulk;
    struct kith_simconn *conn;

    plan.datagrams = 50;
    plan.datagram_size = 1000;
    plan.datagram_ns = 20 * KITH_NS_PER_MS;
    TRY(open_with(trial, seeded(trial, 1, RELAYS_MAX), 2, true));
    TRY(dial(trial, KITH_TRIAL_CLIENT, false, 3000, &plan, &conn));
    TRY(finish(trial, conn));
    DEMAND(kith__simconn_relay(conn) != NULL);
    TRY(pass(trial, 2000, 2000));
    kith__simcheck_datagrams(trial);
    kith__trial_measure(trial, conn, conn->bytes_read + kith__trial_server_conn(trial)->bytes_read, conn->connected_ns);
    return KITH_SIM_OK;
}

/* The only relay dies in the middle, alone or with its machine, and is back within the connection's 30 s. */
static enum kith_sim_verdict crash(struct kith_trial *trial)
{
    struct kith_simconn *conn;

    TRY(open_with(trial, 1, 2, true));
    TRY(dial(trial, KITH_TRIAL_CLIENT, false, 3000, &bulk, &conn));
    TRY(pass(trial, 50, 1000));
    watch_gap(trial, conn);
    kith__simhouse_kill(&world_r.houses[0], trial->seed % 2 == 0);
    TRY(pass(trial, 1, trial->seed % 3 == 0 ? 500 : 22000));
    kith__simhouse_start(&world_r.houses[0]);
    TRY(until(trial, all_online, trial->seed % 2 == 0 ? REDIAL_DEAD_NS : REDIAL_NS));
    TRY(finish(trial, conn));
    return KITH_SIM_OK;
}

/* What follows the death of the relay that carries the connection: questions go on, and new dials come through at once. */
static enum kith_sim_verdict after_death(struct kith_trial *trial, struct kith_simconn *conn,
                                         struct kith_simhouse *dead)
{
    struct kith_simconn *other;

    TRY(dial(trial, KITH_TRIAL_OTHER, false, 2000, &one_question, &other));
    TRY(pass(trial, 3000, 6000));
    DEMAND(gap_of(trial, conn) < 2 * KITH_NS_PER_S);
    DEMAND(kith__simconn_is_done(other));
    world_r.conn = conn;
    world_r.dead = dead;
    TRY(until(trial, is_carried, KITH_NS_PER_S));
    world_r.dead = NULL;
    return KITH_SIM_OK;
}

static enum kith_sim_verdict home_killed(struct kith_trial *trial)
{
    struct kith_simhouse *home;
    struct kith_simconn *conn;

    TRY(open_with(trial, 2, 3, true));
    TRY(dial(trial, KITH_TRIAL_CLIENT, false, 3000, &questions, &conn));
    for (int i = 0; i < 2; i++) {
        TRY(pass(trial, 1000, 3000));
        TRY(until(trial, is_carried, KITH_NS_PER_S));
        home = carrier_of(conn);
        watch_gap(trial, conn);
        kith__simhouse_kill(home, false);
        TRY(after_death(trial, conn, home));
        kith__simhouse_start(home);
        TRY(until(trial, all_kept, 40 * KITH_NS_PER_S));
    }
    return KITH_SIM_OK;
}

/* The same without a word: its machine lost its power, or a router on the way its table. */
static enum kith_sim_verdict home_frozen(struct kith_trial *trial)
{
    struct kith_simhouse *home;
    struct kith_simconn *conn;

    TRY(open_with(trial, 2, 3, true));
    TRY(dial(trial, KITH_TRIAL_CLIENT, false, 3000, &questions, &conn));
    for (int i = 0; i < 2; i++) {
        bool is_cut = (trial->seed + (unsigned)i) % 2 == 0;

        TRY(pass(trial, 1000, 3000));
        TRY(until(trial, is_carried, KITH_NS_PER_S));
        home = carrier_of(conn);
        watch_gap(trial, conn);
        if (is_cut)
            kith__simhouse_cut(home, true);
        else
            kith__simhouse_kill(home, true);
        TRY(after_death(trial, conn, home));
        if (is_cut)
            kith__simhouse_cut(home, false);
        else
            kith__simhouse_start(home);
        TRY(until(trial, all_kept, 60 * KITH_NS_PER_S));
    }
    return KITH_SIM_OK;
}

static enum kith_sim_verdict both_die(struct kith_trial *trial)
{
    bool is_silent[2] = { trial->seed % 2 == 0, trial->seed % 3 == 0 };
    struct kith_simconn *conn, *other;
    size_t back;

    TRY(open_with(trial, 2, 3, true));
    back = (size_t)seeded(trial, 0, 1);
    TRY(dial(trial, KITH_TRIAL_CLIENT, false, 3000, &bulk, &conn));
    TRY(pass(trial, 50, 1000));
    watch_gap(trial, conn);
    kith__simhouse_kill(&world_r.houses[0], is_silent[0]);
    TRY(pass(trial, 0, 2000));
    kith__simhouse_kill(&world_r.houses[1], is_silent[1]);
    TRY(pass(trial, 1, 18000));
    kith__simhouse_start(&world_r.houses[back]);
    if (is_silent[0] || is_silent[1]) { /* who had nothing to send learns with its next ping that the relay had gone */
        TRY(until(trial, all_back, 20 * KITH_NS_PER_S));
    } else {
        TRY(until(trial, talkers_online, REDIAL_NS));
    }
    TRY(dial(trial, KITH_TRIAL_OTHER, false, 2000, &one_question, &other)); /* who was idle dials when it must */
    TRY(finish(trial, conn));
    return KITH_SIM_OK;
}

/** A direct path is still there: one that was silent for too long is given up, and the relay goes on alone. */
static bool has_direct(const struct kith_simconn *conn)
{
    struct kith_quic_path_info paths[KITH_QUIC_PATHS_MAX];
    size_t count = kith_quic_conn_paths(conn->conn, paths, KITH_QUIC_PATHS_MAX);

    for (size_t i = 0; i < KITH_MIN(count, KITH_COUNT(paths)); i++)
        if (paths[i].remote.family != KITH_FAMILY_RELAY && paths[i].state != KITH_QUIC_PATH_CLOSING)
            return true;
    return false;
}

/** Nothing passes between client and server directly, or it does again. */
static void set_direct(struct kith_trial *trial, bool is_open)
{
    KITH_ASSERT(kith__sim_set_partition(trial->sim, trial->apps[KITH_TRIAL_CLIENT].host,
                                        trial->apps[KITH_TRIAL_SERVER].host, !is_open) == 0);
}

static enum kith_sim_verdict direct_too(struct kith_trial *trial)
{
    struct kith_simconn *conn;

    TRY(open_with(trial, seeded(trial, 1, 2), 2, false));
    TRY(dial(trial, KITH_TRIAL_CLIENT, true, 3000, &questions, &conn));
    for (int i = 0; i < 2 && has_direct(conn); i++) {
        TRY(until(trial, is_direct_on_both, 60 * KITH_NS_PER_S)); /* preferred; and back once it answers again */
        TRY(pass(trial, 1000, 3000));
        TRY(until(trial, is_direct_on_both, KITH_NS_PER_S));
        watch_gap(trial, conn);
        set_direct(trial, false);
        TRY(pass(trial, 3000, 8000));
        DEMAND(gap_of(trial, conn) < KITH_NS_PER_S);
        TRY(until(trial, is_carried, KITH_NS_PER_S));
        set_direct(trial, true);
    }
    return KITH_SIM_OK;
}

/* The client reads as slowly as its line; a transfer beside it, with the same server, ends within 20 s all the same. */
static enum kith_sim_verdict slow_reader(struct kith_trial *trial)
{
    static const struct kith_simapp_plan trickle = { .streams = 1, .down_min = 400000, .down_max = 800000 };
    struct kith_simhouse *relay = &world_r.houses[0];
    struct kith_simconn *conn, *other;
    uint64_t began_ns;

    TRY(open_with(trial, 1, 3, true));
    kith__sim_host_down(trial->apps[KITH_TRIAL_CLIENT].host)->rate = seeded(trial, 200, 800) * 1000;
    TRY(dial(trial, KITH_TRIAL_CLIENT, false, 5000, &trickle, &conn));
    TRY(pass(trial, 500, 2000));
    began_ns = now_of(trial);
    TRY(dial(trial, KITH_TRIAL_OTHER, false, 2000, &bulk, &other));
    while (!kith__simconn_is_done(other) && now_of(trial) - began_ns < 20 * KITH_NS_PER_S)
        TRY(pass(trial, 10, 10));
    DEMAND(kith__simconn_is_done(other));
    TRY(finish(trial, conn));
    DEMAND(relay->ends[KITH_RELAY_END_STALLED] == 0 && relay->clients == 3);
    return KITH_SIM_OK;
}

/* A copy of the server connects to the relay with the server's key and leaves again: the connection lives on. */
static enum kith_sim_verdict same_key(struct kith_trial *trial)
{
    struct kith_simconn *conn;

    TRY(open_with(trial, 1, 2, true));
    TRY(dial(trial, KITH_TRIAL_CLIENT, false, 3000, &questions, &conn));
    TRY(pass(trial, 500, 2000));
    watch_gap(trial, conn);
    {
        struct kith_sim_host_options options = { .addrs[0] = kith__trial_address("10.0.1.3:0") };
        struct kith_simapp *copy = kith__trial_add_app(trial, "copy", &options, false);

        kith__simcheck_stop(trial, KITH_TRIAL_OTHER);
        copy->secret = trial->apps[KITH_TRIAL_SERVER].secret;
        KITH_ASSERT(kith__simapp_start(copy) == 0);
        TRY(pass(trial, 1000, 10000));
        DEMAND(kith__simapp_is_online(copy) && copy->relay_datagrams[1] > 0); /* the newest gets what is for the key */
        kith__simcheck_stop(trial, KITH_TRIAL_OTHER);
    }
    TRY(pass(trial, 5000, 8000));
    DEMAND(now_of(trial) - conn->last_read_ns < 2 * KITH_NS_PER_S);
    return KITH_SIM_OK;
}

/* Wall clocks jump, and machines sleep: for moments nobody minds, after longer naps everything is back soon. */
static enum kith_sim_verdict clocks(struct kith_trial *trial)
{
    struct kith_simconn *conn;

    TRY(open_with(trial, 2, 2, true));
    TRY(dial(trial, KITH_TRIAL_CLIENT, false, 3000, &questions, &conn));
    for (int i = 0; i < 6; i++) {
        size_t who = (size_t)seeded(trial, 0, 3);
        struct kith_sim_host *host = who < 2 ? trial->apps[who].host : world_r.houses[who - 2].host;

        TRY(pass(trial, 500, 3000));
        kith__sim_jump_wall(trial->sim, ((int64_t)seeded(trial, 0, 20000000) - 10000000) * 1000000);
        kith__sim_host_set_down(host, true);
        TRY(pass(trial, 10, i % 2 == 0 ? 1000 : 20000));
        kith__sim_host_set_down(host, false);
        TRY(until(trial, all_kept, 40 * KITH_NS_PER_S));
        world_r.began_ns = now_of(trial);
        TRY(until(trial, has_read, 10 * KITH_NS_PER_S)); /* TCP itself waits for seconds until it tries again */
    }
    return KITH_SIM_OK;
}

/* The client's only address goes, and another one is there at once or a little later. */
static enum kith_sim_verdict network(struct kith_trial *trial)
{
    struct kith_sockaddr addr = kith__trial_address("10.0.1.100:0");
    struct kith_sim_host *host;
    struct kith_simconn *conn;

    TRY(open_with(trial, 2, 2, true));
    host = trial->apps[KITH_TRIAL_CLIENT].host;
    TRY(dial(trial, KITH_TRIAL_CLIENT, false, 3000, &questions, &conn));
    for (int i = 0; i < 3; i++) {
        uint64_t pause_ms = i == 0 ? 0 : seeded(trial, 1, 3000);

        TRY(pass(trial, 1000, 3000));
        watch_gap(trial, conn);
        if (pause_ms != 0) {
            kith__sim_interface_set_up(host, 0, false);
            TRY(pass(trial, pause_ms, pause_ms));
        }
        addr.ip[3]++;
        KITH_ASSERT(kith__sim_interface_set_addrs(host, 0, &addr, 1) == 0);
        kith__sim_interface_set_up(host, 0, true);
        TRY(until(trial, all_online, 2 * KITH_NS_PER_S));
        TRY(pass(trial, 3000, 4000));
        DEMAND(gap_of(trial, conn) < pause_ms * KITH_NS_PER_MS + 3 * KITH_NS_PER_S);
    }
    return KITH_SIM_OK;
}

/** The scripts, by the scenario's `extra`. */
static enum kith_sim_verdict (*const scripts[])(struct kith_trial *trial) = {
    transfer, crash, home_killed, home_frozen, both_die, direct_too, slow_reader, same_key, clocks, network,
};

static enum kith_sim_verdict play(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    enum kith_sim_verdict verdict = scripts[scenario->extra.min](trial);

    if (verdict == KITH_SIM_OK)
        verdict = kith__trial_close(trial);
    for (size_t i = 0; i < world_r.count; i++) {
        trial->result->memory_peak = KITH_MAX(trial->result->memory_peak, world_r.houses[i].mem.peak);
        kith__simhouse_kill(&world_r.houses[i], false);
    }
    return verdict; /* what the check at the end finds is seen by the trial */
}

#define NET                                                                                                            \
    .net = {                                                                                                           \
        .delay_us = { 1000, 30000 }, .jitter_us = { 0, 5000 }, .loss_ppm = { 0, 1000 }, .rate_kbit = { 5000, 100000 }  \
    }

const struct kith_scenario kith__scenarios_relayed[] = {
    { .name = "relayed-transfer", .play = play, .extra = { 0 }, .seeds_percent = 50, NET },
    { .name = "relayed-crash-and-return", .play = play, .extra = { 1 }, .seeds_percent = 50, NET },
    { .name = "relayed-home-killed", .play = play, .extra = { 2 }, .seeds_percent = 50, NET },
    { .name = "relayed-home-frozen", .play = play, .extra = { 3 }, .seeds_percent = 50, NET },
    { .name = "relayed-both-die", .play = play, .extra = { 4 }, .seeds_percent = 50, .known_seed = 34, NET },
    { .name = "relayed-direct-too", .play = play, .extra = { 5 }, .seeds_percent = 50, NET },
    { .name = "relayed-slow-reader", .play = play, .extra = { 6 }, .seeds_percent = 50, NET },
    { .name = "relayed-same-key", .play = play, .extra = { 7 }, .seeds_percent = 50, NET },
    { .name = "relayed-clock-jumps", .play = play, .extra = { 8 }, .seeds_percent = 50, NET },
    { .name = "relayed-network-change", .play = play, .extra = { 9 }, .seeds_percent = 50, NET },
    { .name = NULL },
};
