/* Several paths at once: different ones, ones that die, come and go, are rebound, swallow one direction, overtake. */
#include "trial.h"

#include "base/assert.h"

#define BOTH_WAYS                                                                                                      \
    {                                                                                                                  \
        .streams = 4, .up_min = 300000, .up_max = 900000, .down_min = 300000, .down_max = 900000                       \
    }
#define LONG_WAY /* busy for a while: several paths of 2 to 20 Mbit/s share it */                                      \
    {                                                                                                                  \
        .streams = 2, .up_min = 3000000, .up_max = 5000000, .down_min = 1000000, .down_max = 2000000                   \
    }
#define DIFFERENT_NET                                                                                                  \
    {                                                                                                                  \
        .delay_us = { 1000, 80000 }, .loss_ppm = { 0, 50000 }, .rate_kbit = { 2000, 20000 },                           \
        .queue_bytes = { 20000, 200000 }, .mtu = {                                                                     \
            1280,                                                                                                      \
            1500                                                                                                       \
        }                                                                                                              \
    }

/* Client and server with as many ways as the scenario's extra says; all are wanted, in a schedule that the seed chooses. */
static enum kith_sim_verdict begin(struct kith_trial *trial, const struct kith_scenario *scenario,
                                   struct kith_simconn **conn)
{
    size_t count = (size_t)kith__trial_choose(trial, scenario->extra);

    trial->transport.schedule = kith__trial_choose(trial, (struct kith_choice) { 0, 1 }) != 0
                                    ? KITH_QUIC_SCHEDULE_SPREAD
                                    : KITH_QUIC_SCHEDULE_FIRST;
    kith__trial_set_up_ways(trial, count);
    TRY(kith__trial_dial_ways(trial, &scenario->plan, conn));
    for (size_t i = 1; i < count; i++)
        kith__simkeeper_want(&trial->keeper, i, true, false);
    return KITH_SIM_OK;
}

static enum kith_sim_verdict end(struct kith_trial *trial)
{
    TRY(kith__trial_finish(trial));
    kith__trial_heal(trial);
    TRY(kith__trial_one_path(trial));
    return kith__trial_close(trial);
}

static bool all_work(struct kith_trial *trial)
{
    return kith__simkeeper_working(&trial->keeper) == trial->keeper.count;
}

/* Two to eight paths of all kinds; each must come up while bytes flow, and go away without a trace. */
static enum kith_sim_verdict play_different(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *conn;

    TRY(begin(trial, scenario, &conn));
    TRY(kith__trial_until(trial, all_work, 60 * KITH_NS_PER_S));
    return end(trial);
}

/* ---- Ways that come and go ---- */

static struct kith_sim_link *link_of(struct kith_trial *trial, size_t way, bool is_up)
{
    struct kith_sim_host *host = trial->apps[KITH_TRIAL_CLIENT].host;

    return is_up ? kith__sim_interface_uplink(host, (unsigned)way) : kith__sim_interface_downlink(host, (unsigned)way);
}

static enum kith_sim_verdict run_some(struct kith_trial *trial, uint64_t min_ms, uint64_t max_ms)
{
    return kith__trial_until(trial, NULL,
                             kith__trial_choose(trial, (struct kith_choice) { min_ms, max_ms }) * KITH_NS_PER_MS);
}

static size_t choose_way(struct kith_trial *trial)
{
    return (size_t)kith__trial_choose(trial, (struct kith_choice) { 0, trial->keeper.count - 1 });
}

/*
 * Links are cut without a word, or their interface goes down and the client says so, for up to eight seconds; in between
 * also all at once.
 */
static enum kith_sim_verdict play_come_and_go(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_sim_host *host;
    struct kith_simconn *conn;

    trial->transport.idle_timeout_ns = 300 * KITH_NS_PER_S; /* all ways may be away for longer than the usual 30 s */
    TRY(begin(trial, scenario, &conn));
    host = trial->apps[KITH_TRIAL_CLIENT].host;
    for (int i = 0; i < 12; i++) {
        size_t way = choose_way(trial);

        TRY(run_some(trial, 100, 1500));
        if (kith__trial_choose(trial, (struct kith_choice) { 0, 1 }) != 0) {
            link_of(trial, way, true)->is_cut = link_of(trial, way, false)->is_cut = true;
        } else {
            kith__sim_interface_set_up(host, (unsigned)way, false);
            kith__simkeeper_want(&trial->keeper, way, false, false);
        }
        TRY(run_some(trial, 100, 8000));
        way = choose_way(trial); /* perhaps another one: the first stays away for longer */
        link_of(trial, way, true)->is_cut = link_of(trial, way, false)->is_cut = false;
        kith__sim_interface_set_up(host, (unsigned)way, true);
        kith__simkeeper_want(&trial->keeper, way, true, false);
    }
    for (size_t way = 0; way < trial->keeper.count; way++) {
        link_of(trial, way, true)->is_cut = link_of(trial, way, false)->is_cut = false;
        kith__sim_interface_set_up(host, (unsigned)way, true);
        kith__simkeeper_want(&trial->keeper, way, true, false);
    }
    return end(trial);
}

/*
 * One direction of a way swallows everything for longer than a path may be idle; others follow before it is back, in the same
 * or the other direction. Each side sees other ways silent than its peer does: they may never give up what the other one
 * keeps, so that nothing would be left.
 */
static enum kith_sim_verdict play_long_asymmetric(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *conn;

    trial->transport.idle_timeout_ns = 300 * KITH_NS_PER_S;
    TRY(begin(trial, scenario, &conn));
    TRY(kith__trial_until(trial, all_work, 60 * KITH_NS_PER_S));
    for (int i = 0; i < 6; i++) {
        size_t way = choose_way(trial);
        uint64_t which = kith__trial_choose(trial, (struct kith_choice) { 1, 3 });

        if ((which & 1) != 0)
            link_of(trial, way, true)->is_cut = true;
        if ((which & 2) != 0)
            link_of(trial, way, false)->is_cut = true;
        TRY(run_some(trial, 100, i % 2 == 0 ? 4000 : 25000));
        way = choose_way(trial);
        link_of(trial, way, true)->is_cut = link_of(trial, way, false)->is_cut = false;
        TRY(run_some(trial, 10, 2000));
    }
    for (size_t way = 0; way < trial->keeper.count; way++)
        link_of(trial, way, true)->is_cut = link_of(trial, way, false)->is_cut = false;
    return end(trial);
}

/* One direction of a way swallows everything for a while; the other one still works. */
static enum kith_sim_verdict play_asymmetric(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *conn;

    TRY(begin(trial, scenario, &conn));
    TRY(kith__trial_until(trial, all_work, 60 * KITH_NS_PER_S));
    for (int i = 0; i < 8; i++) {
        size_t way = choose_way(trial);
        bool is_up = kith__trial_choose(trial, (struct kith_choice) { 0, 1 }) != 0;

        TRY(run_some(trial, 50, 500));
        link_of(trial, way, is_up)->is_cut = true;
        TRY(run_some(trial, 100, 4000));
        link_of(trial, way, is_up)->is_cut = false;
    }
    return end(trial);
}

/* The NAT of one way forgets, or moves, again and again; all paths stay, and the bytes flow. */
static enum kith_sim_verdict play_rebinding(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_quic_conn_stats stats;
    struct kith_simconn *conn;
    uint64_t abandoned = 0;
    size_t way;

    TRY(begin(trial, scenario, &conn));
    TRY(kith__trial_until(trial, all_work, 60 * KITH_NS_PER_S));
    way = choose_way(trial);
    for (unsigned i = 0; i < 4 && trial->way_nats[way] != NULL; i++) {
        struct kith_sockaddr moved = kith__trial_address("10.8.0.1:0");

        TRY(run_some(trial, 100, 900));
        moved.ip[2] = (uint8_t)i;
        if (kith__trial_choose(trial, (struct kith_choice) { 0, 1 }) != 0)
            kith__sim_nat_rebind(trial->way_nats[way]);
        else
            KITH_ASSERT(kith__sim_nat_move(trial->way_nats[way], &moved) == 0);
    }
    TRY(kith__trial_finish(trial));
    TRY(kith__trial_until(trial, NULL, 10 * KITH_NS_PER_S)); /* keep-alives tell the server of the last one */
    kith_quic_conn_stats(kith__trial_server_conn(trial)->conn, &stats);
    DEMAND(trial->way_nats[way] == NULL || stats.migrations > 0);
    for (size_t i = 0; i < trial->keeper.count; i++)
        abandoned += trial->keeper.ways[i].abandoned;
    DEMAND(abandoned == 0 && all_work(trial));
    return end(trial);
}

/* Packets of one stream go over ways of which one takes up to 300 ms longer, and each reorders as well. */
static enum kith_sim_verdict play_overtaking(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *conn;

    TRY(begin(trial, scenario, &conn));
    link_of(trial, 0, true)->delay_ns = kith__trial_choose(trial, (struct kith_choice) { 0, 2 }) * KITH_NS_PER_MS;
    link_of(trial, 1, true)->delay_ns = kith__trial_choose(trial, (struct kith_choice) { 100, 300 }) * KITH_NS_PER_MS;
    return end(trial);
}

/* ---- Many generations ---- */

/* Paths are opened and closed a hundred times, so that ids beyond the first limit are used, while bytes flow. */
static enum kith_sim_verdict play_generations(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simkeeper *keeper = &trial->keeper;
    struct kith_simconn *conn;
    uint64_t opened = 0, begun_ns;

    TRY(begin(trial, scenario, &conn));
    begun_ns = kith__sim_now(trial->sim);
    while (opened < 100) {
        size_t way = choose_way(trial);

        kith__simkeeper_want(keeper, way, !keeper->ways[way].is_wanted, false);
        TRY(run_some(trial, 10, 600));
        opened = 0;
        for (size_t i = 0; i < keeper->count; i++)
            opened += keeper->ways[i].opened;
        DEMAND(kith__sim_now(trial->sim) - begun_ns < 600 * KITH_NS_PER_S);
        if (kith__simconn_is_done(conn))
            kith__simapp_do(conn, &scenario->plan);
    }
    for (size_t i = 0; i < keeper->count; i++)
        kith__simkeeper_want(keeper, i, true, false);
    TRY(kith__trial_until(trial, all_work, 60 * KITH_NS_PER_S));
    return end(trial);
}

/* Keys change every few packets while several paths carry data. */
static enum kith_sim_verdict play_key_updates(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_quic_conn_stats stats;
    struct kith_simconn *conn;

    trial->transport.key_update_after = kith__trial_choose(trial, (struct kith_choice) { 10, 60 });
    TRY(begin(trial, scenario, &conn));
    TRY(kith__trial_until(trial, all_work, 60 * KITH_NS_PER_S));
    TRY(kith__trial_finish(trial));
    kith_quic_conn_stats(conn->conn, &stats);
    DEMAND(stats.key_updates >= 3);
    return end(trial);
}

/* A peer that speaks no multipath: no path can be opened, and all else works. */
static enum kith_sim_verdict play_not_agreed(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_sockaddr local, remote = kith__trial_address("10.0.0.2:4433");
    struct kith_simconn *conn;
    uint32_t path;

    kith__trial_set_up_ways(trial, 2);
    kith__simcheck_stop(trial, KITH_TRIAL_SERVER);
    trial->apps[KITH_TRIAL_SERVER].transport.paths_max = 0;
    KITH_ASSERT(kith__simapp_start(&trial->apps[KITH_TRIAL_SERVER]) == 0);
    TRY(kith__trial_dial_ways(trial, &scenario->plan, &conn));
    local = kith__sim_interface_addr(trial->apps[KITH_TRIAL_CLIENT].host, 1, 0);
    DEMAND(kith_quic_conn_path_open(conn->conn, &local, &remote, false, kith__sim_now(trial->sim), &path) ==
           KITH_ERR_UNSUPPORTED);
    TRY(kith__trial_finish(trial));
    return kith__trial_close(trial);
}

const struct kith_scenario kith__scenarios_multi[] = {
    { .name = "multi-different-paths",
      .play = play_different,
      .net = DIFFERENT_NET,
      .extra = { 2, 8 },
      .limit_s = { 600, 600 },
      .seeds_percent = 70,
      .plan = BOTH_WAYS },
    { .name = "multi-come-and-go",
      .play = play_come_and_go,
      .known_seed = 441, /* a path was given up for one that answered and then went */
      .net = DIFFERENT_NET,
      .extra = { 2, 5 },
      .limit_s = { 600, 600 },
      .seeds_percent = 70,
      .plan = LONG_WAY },
    { .name = "multi-asymmetric-blackholes",
      .play = play_asymmetric,
      .net = DIFFERENT_NET,
      .extra = { 2, 4 },
      .limit_s = { 600, 600 },
      .seeds_percent = 70,
      .plan = LONG_WAY },
    { .name = "multi-long-blackholes",
      .play = play_long_asymmetric,
      .net = DIFFERENT_NET,
      .extra = { 2, 4 },
      .limit_s = { 600, 600 },
      .seeds_percent = 70,
      .plan = LONG_WAY },
    { .name = "multi-nat-rebinding",
      .play = play_rebinding,
      .net = { .delay_us = { 1000, 50000 }, .loss_ppm = { 0, 20000 }, .rate_kbit = { 2000, 20000 }, .has_nat = true },
      .extra = { 2, 4 },
      .limit_s = { 600, 600 },
      .seeds_percent = 70,
      .plan = LONG_WAY },
    { .name = "multi-overtaking",
      .play = play_overtaking,
      .net = { .delay_us = { 1000, 50000 },
               .loss_ppm = { 0, 20000 },
               .reorder_ppm = { 0, 200000 },
               .reorder_us = { 1000, 60000 },
               .rate_kbit = { 5000, 20000 } },
      .extra = { 2, 4 },
      .limit_s = { 600, 600 },
      .seeds_percent = 70,
      .plan = BOTH_WAYS },
    { .name = "multi-hundred-generations",
      .play = play_generations,
      .net = { .delay_us = { 1000, 30000 }, .loss_ppm = { 0, 30000 }, .rate_kbit = { 2000, 10000 } },
      .extra = { 2, 5 },
      .limit_s = { 600, 600 },
      .seeds_percent = 25,
      .plan = { .streams = 2, .up_min = 300000, .up_max = 900000, .down_max = 300000 } },
    { .name = "multi-key-updates",
      .play = play_key_updates,
      .net = { .delay_us = { 1000, 30000 },
               .loss_ppm = { 0, 50000 },
               .reorder_ppm = { 0, 100000 },
               .reorder_us = { 1000, 40000 },
               .rate_kbit = { 2000, 20000 } },
      .extra = { 2, 4 },
      .limit_s = { 600, 600 },
      .seeds_percent = 70,
      .plan = BOTH_WAYS },
    { .name = "multi-not-agreed",
      .play = play_not_agreed,
      .net = { .delay_us = { 1000, 30000 }, .loss_ppm = { 0, 50000 } },
      .seeds_percent = 25,
      .plan = { .streams = 4, .up_max = 30000, .down_max = 30000 } },
    { 0 }
};
