/* What the other side does: it does not read, asks for very much, closes, crashes, forgets. */
#include "trial.h"

#include "base/assert.h"

#define USUAL_NET                                                                                                      \
    {                                                                                                                  \
        .delay_us = { 1000, 30000 }, .loss_ppm = { 0, 20000 }                                                          \
    }

static struct kith_simconn *newest(struct kith_trial *trial, int app)
{
    return kith__simapp_newest(&trial->apps[app]);
}

/* Some bytes have arrived where they are to stop. */
static bool is_under_way(struct kith_trial *trial)
{
    uint64_t who = trial->scenario->extra.min;

    for (int i = 0; i < 2; i++)
        if ((who == 2 || who == (uint64_t)i) && (newest(trial, i) == NULL || newest(trial, i)->bytes_read < 100000))
            return false;
    return true;
}

/*
 * One side (extra: which; 2 = both) stops reading for a minute: what it holds stays within its windows, the other one waits
 * and nothing but keep-alives is sent, then all goes on.
 */
static enum kith_sim_verdict play_stalled_reader(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    uint64_t who = scenario->extra.min, bytes_read[2] = { 0 }, sent;

    kith__trial_set_up(trial);
    kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_until(trial, is_under_way, 60 * KITH_NS_PER_S));
    for (int i = 0; i < 2; i++)
        if (who == 2 || who == (uint64_t)i)
            kith__simapp_pause_reads(&trial->apps[i], true);
    TRY(kith__trial_until(trial, NULL, 30 * KITH_NS_PER_S));
    for (int i = 0; i < 2; i++) {
        DEMAND(newest(trial, i) != NULL);
        bytes_read[i] = newest(trial, i)->bytes_read;
    }
    sent = kith__sim_stats(trial->sim).sent;
    TRY(kith__trial_until(trial, NULL, 30 * KITH_NS_PER_S));
    for (int i = 0; i < 2; i++)
        DEMAND(newest(trial, i)->bytes_read == bytes_read[i] && !kith__simconn_is_done(newest(trial, i)));
    DEMAND(kith__sim_stats(trial->sim).sent - sent < 200);
    for (int i = 0; i < 2; i++)
        kith__simapp_pause_reads(&trial->apps[i], false);
    TRY(kith__trial_finish(trial));
    return kith__trial_close(trial);
}

static enum kith_sim_verdict play_plain(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    kith__trial_set_up(trial);
    kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    return kith__trial_close(trial);
}

/* Ten thousand streams at once, as the server allows them. */
static enum kith_sim_verdict play_many_streams(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    trial->transport.streams_bidi_max = 10000;
    TRY(play_plain(trial, scenario));
    DEMAND(newest(trial, KITH_TRIAL_CLIENT)->flows_peak == 10000);
    DEMAND(newest(trial, KITH_TRIAL_SERVER)->flows_done == 10000);
    return KITH_SIM_OK;
}

static bool is_over(struct kith_trial *trial)
{
    struct kith_simconn *client = kith__simapp_newest(&trial->apps[0]);
    struct kith_simconn *server = kith__trial_server_conn(trial);

    return client->is_drained && (server == NULL || server->is_drained);
}

/* Both close in the same instant, in the middle of a transfer. */
static enum kith_sim_verdict play_both_close(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *client, *server;

    kith__trial_set_up(trial);
    client = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_until(trial, NULL, kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_MS));
    client->may_end = true;
    trial->apps[KITH_TRIAL_SERVER].may_end = true; /* its first packet may still be on its way */
    server = kith__trial_server_conn(trial);
    if (server != NULL)
        kith__simapp_close(server, 8);
    kith__simapp_close(client, 9);
    TRY(kith__trial_until(trial, is_over, 100 * KITH_NS_PER_S));
    /* Each keeps its own reason, whatever arrives afterwards, and is rid of the connection soon. */
    DEMAND(client->err == KITH_ERR_CLOSED && !client->by_peer && client->code == 9);
    DEMAND(server == NULL || (server->err == KITH_ERR_CLOSED && !server->by_peer && server->code == 8));
    DEMAND(kith__sim_now(trial->sim) - client->closed_ns < 10 * KITH_NS_PER_S);
    return KITH_SIM_OK;
}

static bool client_is_confirmed(struct kith_trial *trial)
{
    return kith__simapp_newest(&trial->apps[0])->is_confirmed;
}

static bool client_is_over(struct kith_trial *trial)
{
    return kith__simapp_newest(&trial->apps[0])->is_drained;
}

/* The server's process dies and starts again at the same address: its stateless reset tells the client. */
static enum kith_sim_verdict play_server_restart(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *client;
    uint64_t forgotten_ns;

    kith__trial_set_up(trial);
    client = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_until(trial, client_is_confirmed, 60 * KITH_NS_PER_S));
    TRY(kith__trial_until(trial, NULL, kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_MS));
    client->may_end = true;
    forgotten_ns = kith__sim_now(trial->sim);
    kith__simcheck_stop(trial, KITH_TRIAL_SERVER);
    DEMAND(kith__simapp_start(&trial->apps[KITH_TRIAL_SERVER]) == 0);
    TRY(kith__trial_until(trial, client_is_over, 100 * KITH_NS_PER_S));
    DEMAND(client->err == KITH_ERR_LOST);
    DEMAND(client->closed_ns - forgotten_ns < 20 * KITH_NS_PER_S);
    /* A new connection, with whatever ticket is left from before the crash, works. */
    kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    return kith__trial_close(trial);
}

/* The server loses one connection but keeps its keys: its stateless reset ends the client's at once. */
static enum kith_sim_verdict play_stateless_reset(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *client, *server;
    struct kith_quic_host_stats stats;
    uint64_t forgotten_ns;

    kith__trial_set_up(trial);
    client = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_until(trial, NULL, kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_MS));
    server = kith__trial_server_conn(trial);
    if (server == NULL || !client->is_confirmed || client->is_closed)
        return kith__trial_close(trial); /* lost too much to come that far */
    client->may_end = true;
    trial->apps[KITH_TRIAL_SERVER].may_end = true; /* a late Initial may look like a new client now */
    kith__trial_note(trial, "the server forgets the connection");
    server->is_closed = server->is_drained = true;
    KITH_LIST_EACH_SAFE(node, after, &server->flows)
    kith__simflow_free(KITH_CONTAINER(node, struct kith_simflow, node));
    kith_quic_conn_free(server->conn);
    server->conn = NULL;
    kith__driver_pump(trial->apps[KITH_TRIAL_SERVER].driver);
    forgotten_ns = kith__sim_now(trial->sim);
    TRY(kith__trial_until(trial, client_is_over, 100 * KITH_NS_PER_S));
    kith_quic_host_stats(kith__driver_host(trial->apps[KITH_TRIAL_SERVER].driver), &stats);
    DEMAND(stats.stateless_resets_sent > 0);
    DEMAND(client->err == KITH_ERR_LOST);
    DEMAND(client->closed_ns - forgotten_ns < 20 * KITH_NS_PER_S);
    return KITH_SIM_OK;
}

/* The client's machine goes off: the server is rid of it after the idle timeout, with all its memory. */
static enum kith_sim_verdict play_client_crash(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *server;

    kith__trial_set_up(trial);
    kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_until(trial, NULL, kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_MS));
    server = kith__trial_server_conn(trial);
    if (server != NULL)
        server->may_end = true;
    kith__simcheck_stop(trial, KITH_TRIAL_CLIENT);
    TRY(kith__trial_until(trial, is_over, 100 * KITH_NS_PER_S));
    DEMAND(server == NULL || server->err == KITH_ERR_IDLE);
    return KITH_SIM_OK;
}

const struct kith_scenario kith__scenarios_peer[] = {
    { .name = "peer-stops-reading",
      .play = play_stalled_reader,
      .net = USUAL_NET,
      .memory_max = 24 << 20,
      .extra = { KITH_TRIAL_SERVER },
      .seeds_percent = 25,
      .plan = { .streams = 3, .up_min = 3000000, .up_max = 4000000, .down_max = 1000 } },
    { .name = "peer-client-stops-reading",
      .play = play_stalled_reader,
      .net = USUAL_NET,
      .memory_max = 24 << 20,
      .extra = { KITH_TRIAL_CLIENT },
      .seeds_percent = 25,
      .plan = { .streams = 3, .up_max = 1000, .down_min = 3000000, .down_max = 4000000 } },
    { .name = "peer-neither-reads",
      .play = play_stalled_reader,
      .net = USUAL_NET,
      .memory_max = 24 << 20,
      .extra = { 2 },
      .seeds_percent = 25,
      .plan = { .streams = 3, .up_min = 3000000, .up_max = 4000000, .down_min = 3000000, .down_max = 4000000 } },
    { .name = "peer-thousand-streams",
      .play = play_plain,
      .net = USUAL_NET,
      .seeds_percent = 25,
      .plan = { .streams = 1000, .uni_streams = 300, .up_max = 2000, .down_max = 2000, .priorities = true } },
    { .name = "peer-10000-streams",
      .play = play_many_streams,
      .net = USUAL_NET,
      .seeds_percent = 5,
      .plan = { .streams = 10000, .up_max = 300, .down_max = 300 } },
    { .name = "peer-both-close",
      .play = play_both_close,
      .net = USUAL_NET,
      .extra = { 0, 500 },
      .plan = { .streams = 5, .up_max = 500000, .down_max = 500000 } },
    { .name = "peer-restarts",
      .play = play_server_restart,
      .net = USUAL_NET,
      .extra = { 200, 1000 },
      .plan = { .streams = 5, .up_min = 100000, .up_max = 300000, .down_max = 300000 } },
    { .name = "peer-forgets",
      .known_seed = 247,
      .play = play_stateless_reset,
      .net = USUAL_NET,
      .extra = { 500, 2000 },
      .plan = { .streams = 5, .up_min = 100000, .up_max = 300000, .down_max = 300000 } },
    { .name = "peer-crashes",
      .play = play_client_crash,
      .net = USUAL_NET,
      .extra = { 0, 1000 },
      .plan = { .streams = 5, .up_max = 300000, .down_max = 300000 } },
    { 0 }
};
