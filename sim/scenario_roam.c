/* What the application notices of ways that die, an hour on the road, and servers with several first addresses. */
#include "trial.h"

#include "base/assert.h"

static struct kith_sim_link *link_of(struct kith_trial *trial, size_t way, bool is_up)
{
    struct kith_sim_host *host = trial->apps[KITH_TRIAL_CLIENT].host;

    return is_up ? kith__sim_interface_uplink(host, (unsigned)way) : kith__sim_interface_downlink(host, (unsigned)way);
}

static bool all_work(struct kith_trial *trial)
{
    return kith__simkeeper_working(&trial->keeper) == trial->keeper.count;
}

static bool is_done(struct kith_trial *trial)
{
    return kith__simconn_is_done(kith__simapp_newest(&trial->apps[KITH_TRIAL_CLIENT]));
}

/* ---- The way in use dies ---- */

enum { CUT_UP = 1, CUT_DOWN = 2 };

/* Two ways work; the second is a backup in half of the seeds. */
static enum kith_sim_verdict begin_two(struct kith_trial *trial, const struct kith_scenario *scenario,
                                       struct kith_simconn **conn)
{
    kith__trial_set_up_ways(trial, 2);
    TRY(kith__trial_dial_ways(trial, &scenario->plan, conn));
    kith__simkeeper_want(&trial->keeper, 1, true, kith__trial_choose(trial, (struct kith_choice) { 0, 1 }) != 0);
    return kith__trial_until(trial, all_work, 60 * KITH_NS_PER_S);
}

static void cut(struct kith_trial *trial, size_t way, uint64_t which)
{
    link_of(trial, way, true)->is_cut = (which & CUT_UP) != 0;
    link_of(trial, way, false)->is_cut = (which & CUT_DOWN) != 0;
    kith__trial_note(trial, which == CUT_UP     ? "the way up is dead"
                            : which == CUT_DOWN ? "the way down is dead"
                                                : "dead");
}

/* What an application waits for an answer if all is well: a round trip of the slower path. */
static uint64_t round_trip(const struct kith_simconn *conn)
{
    struct kith_quic_path_info infos[2];
    size_t count = kith_quic_conn_paths(conn->conn, infos, KITH_COUNT(infos));
    uint64_t rtt_ns = 0;

    for (size_t i = 0; i < KITH_MIN(count, KITH_COUNT(infos)); i++)
        rtt_ns = KITH_MAX(rtt_ns, infos[i].rtt_min_ns);
    return rtt_ns;
}

/*
 * Bytes flow in both directions, or small questions and answers follow each other; then the way in use dies, in one
 * direction or both, without a word. Neither side may wait for a second for its next byte; extra: longer than the round trip
 * that an answer takes anyway.
 */
static enum kith_sim_verdict play_dead_path(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *conns[2];
    uint64_t now_ns, usual_ns;

    TRY(begin_two(trial, scenario, &conns[0]));
    conns[1] = kith__trial_server_conn(trial);
    TRY(kith__trial_until(trial, NULL, kith__trial_choose(trial, (struct kith_choice) { 500, 1500 }) * KITH_NS_PER_MS));
    cut(trial, 0, kith__trial_choose(trial, (struct kith_choice) { CUT_UP, CUT_UP | CUT_DOWN }));
    usual_ns = scenario->extra.max != 0 ? round_trip(conns[0]) : 0;
    for (int i = 0; i < 2; i++)
        conns[i]->gap_from_ns = kith__sim_now(trial->sim);
    TRY(kith__trial_until(trial, NULL, 4 * KITH_NS_PER_S));
    now_ns = kith__sim_now(trial->sim);
    DEMAND(!kith__simconn_is_done(conns[0])); /* else nothing was measured */
    for (int i = 0; i < 2; i++) {
        uint64_t gap_ns = KITH_MAX(conns[i]->gap_max_ns, now_ns - conns[i]->gap_from_ns);

        gap_ns = gap_ns > usual_ns ? gap_ns - usual_ns : 0;
        trial->result->gap_ns = KITH_MAX(trial->result->gap_ns, gap_ns);
        if (gap_ns >= KITH_NS_PER_S)
            kith__simapp_wrong(conns[i]->app, "waited %llu ms for the next byte",
                               (unsigned long long)(gap_ns / KITH_NS_PER_MS));
    }
    return kith__trial_close(trial);
}

/* As above, but nothing is said when the way dies: the next question, some time later, is answered within a second. */
static enum kith_sim_verdict play_dead_path_idle(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *conn;
    uint64_t asked_ns;

    TRY(begin_two(trial, scenario, &conn));
    TRY(kith__trial_until(trial, is_done, 60 * KITH_NS_PER_S));
    TRY(kith__trial_until(trial, NULL, kith__trial_choose(trial, (struct kith_choice) { 500, 6000 }) * KITH_NS_PER_MS));
    cut(trial, 0, kith__trial_choose(trial, (struct kith_choice) { CUT_UP, CUT_UP | CUT_DOWN }));
    TRY(kith__trial_until(trial, NULL, kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_MS));
    asked_ns = kith__sim_now(trial->sim);
    kith__simapp_do(conn, &scenario->plan);
    TRY(kith__trial_until(trial, is_done, 60 * KITH_NS_PER_S));
    trial->result->gap_ns = kith__sim_now(trial->sim) - asked_ns;
    DEMAND(trial->result->gap_ns < KITH_NS_PER_S);
    return kith__trial_close(trial);
}

/* ---- An hour on the road ---- */

enum { WIFI = 0, CELL = 1 };

/* The client notices a lost interface in half of the cases; in the others the link is just dead. */
static void lose(struct kith_trial *trial, size_t way)
{
    if (kith__trial_choose(trial, (struct kith_choice) { 0, 1 }) != 0) {
        link_of(trial, way, true)->is_cut = link_of(trial, way, false)->is_cut = true;
        return;
    }
    kith__sim_interface_set_up(trial->apps[KITH_TRIAL_CLIENT].host, (unsigned)way, false);
    kith__simkeeper_want(&trial->keeper, way, false, way == CELL);
}

/* Back, at times with another address of the interface, or of its NAT. */
static void find_again(struct kith_trial *trial, size_t way)
{
    struct kith_sim_host *host = trial->apps[KITH_TRIAL_CLIENT].host;
    uint64_t what = kith__trial_choose(trial, (struct kith_choice) { 0, 3 });

    link_of(trial, way, true)->is_cut = link_of(trial, way, false)->is_cut = false;
    kith__sim_interface_set_up(host, (unsigned)way, true);
    if (what == 1 && trial->way_nats[way] != NULL) {
        kith__sim_nat_rebind(trial->way_nats[way]);
    } else if (what == 2) {
        struct kith_sockaddr addr = kith__sim_interface_addr(host, (unsigned)way, 0);

        addr.ip[addr.family == KITH_FAMILY_V4 ? 3 : 15]++;
        KITH_ASSERT(kith__sim_interface_set_addrs(host, (unsigned)way, &addr, 1) == 0);
        kith__simkeeper_want(&trial->keeper, way, false, way == CELL); /* the path of the old address */
        addr.port = trial->keeper.ways[way].local.port;
        trial->keeper.ways[way].local = addr;
        trial->keeper.ways[way].has_path = false;
    }
    kith__simkeeper_want(&trial->keeper, way, true, way == CELL);
}

/* Some streams, done one after another with pauses, until the time is over; each must be done within ten seconds. */
static enum kith_sim_verdict talk(struct kith_trial *trial, const struct kith_simapp_plan *plan, uint64_t for_ns)
{
    struct kith_simconn *conn = kith__simapp_newest(&trial->apps[KITH_TRIAL_CLIENT]);
    uint64_t until_ns = kith__sim_now(trial->sim) + for_ns;

    while (kith__sim_now(trial->sim) < until_ns) {
        uint64_t asked_ns = kith__sim_now(trial->sim);

        kith__simapp_do(conn, plan);
        TRY(kith__trial_until(trial, is_done, 10 * KITH_NS_PER_S));
        trial->result->gap_ns = KITH_MAX(trial->result->gap_ns, kith__sim_now(trial->sim) - asked_ns);
        TRY(kith__trial_until(trial, NULL,
                              kith__trial_choose(trial, (struct kith_choice) { 100, 8000 }) * KITH_NS_PER_MS));
    }
    return KITH_SIM_OK;
}

/*
 * Wi-Fi comes and goes, at times noticed and at times not, and so does cellular while there is Wi-Fi; addresses change, NATs
 * forget. One connection lives through all of it.
 */
static enum kith_sim_verdict play_mobile(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_choice stay = { 10, 120 }, both = { 2, 20 };
    struct kith_simconn *conn;
    uint64_t end_ns;

    kith__trial_set_up_ways(trial, 2);
    link_of(trial, CELL, true)->delay_ns += 30 * KITH_NS_PER_MS;
    link_of(trial, CELL, false)->delay_ns += 30 * KITH_NS_PER_MS;
    TRY(kith__trial_dial_ways(trial, &scenario->plan, &conn));
    kith__simkeeper_want(&trial->keeper, CELL, true, true);
    end_ns = kith__sim_now(trial->sim) + kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_S;
    for (size_t away = WIFI; kith__sim_now(trial->sim) < end_ns; away = away == WIFI ? CELL : WIFI) {
        TRY(talk(trial, &scenario->plan, kith__trial_choose(trial, both) * KITH_NS_PER_S));
        TRY(kith__trial_until(trial, all_work, 60 * KITH_NS_PER_S));
        lose(trial, away);
        TRY(talk(trial, &scenario->plan, kith__trial_choose(trial, stay) * KITH_NS_PER_S));
        find_again(trial, away);
    }
    TRY(kith__trial_until(trial, all_work, 60 * KITH_NS_PER_S));
    TRY(kith__trial_one_path(trial));
    return kith__trial_close(trial);
}

const struct kith_scenario kith__scenarios_roam[] = {
    { .name = "roam-dead-path-bulk",
      .play = play_dead_path,
      .net = { .delay_us = { 2000, 50000 }, .rate_kbit = { 5000, 20000 }, .queue_bytes = { 30000, 50000 } },
      .seeds_percent = 50,
      .plan = { .streams = 2, .up_min = 30000000, .up_max = 30000000, .down_min = 30000000, .down_max = 30000000 } },
    { .name = "roam-dead-path-questions",
      .play = play_dead_path,
      .net = { .delay_us = { 2000, 50000 }, .loss_ppm = { 0, 10000 } },
      .plan = { .streams = 100000, .at_once = 1, .up_min = 100, .up_max = 2000, .down_min = 100, .down_max = 2000 } },
    { .name = "roam-dead-path-long-bulk", /* round trips of 350 to 500 ms with their queues */
      .play = play_dead_path,
      .net = { .delay_us = { 175000, 200000 }, .rate_kbit = { 5000, 20000 }, .queue_bytes = { 30000, 60000 } },
      .seeds_percent = 50,
      .plan = { .streams = 2, .up_min = 30000000, .up_max = 30000000, .down_min = 30000000, .down_max = 30000000 } },
    { .name = "roam-dead-path-long-questions",
      .play = play_dead_path,
      .net = { .delay_us = { 175000, 250000 } },
      .extra = { 1, 1 },
      .plan = { .streams = 100000, .at_once = 1, .up_min = 100, .up_max = 2000, .down_min = 100, .down_max = 2000 } },
    { .name = "roam-dead-path-idle",
      .play = play_dead_path_idle,
      .net = { .delay_us = { 2000, 50000 } },
      .extra = { 0, 12000 },
      .plan = { .streams = 2, .up_min = 100, .up_max = 1000, .down_min = 100, .down_max = 1000 } },
    { .name = "roam-mobile-hour",
      .play = play_mobile,
      .net = { .delay_us = { 3000, 20000 },
               .jitter_us = { 0, 5000 },
               .loss_ppm = { 0, 10000 },
               .rate_kbit = { 5000, 50000 },
               .queue_bytes = { 100000, 200000 },
               .has_nat = true },
      .extra = { 3600, 3600 },
      .seeds_percent = 10,
      .memory_max = 16 << 20,
      .plan = { .streams = 3, .up_max = 30000, .down_max = 60000 } },
    { 0 }
};
