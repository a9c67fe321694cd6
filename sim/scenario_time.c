/* Hours in virtual time: idle timeouts, keep-alive, key updates. */
#include "trial.h"

static bool client_is_over(struct kith_trial *trial)
{
    return kith__simapp_newest(&trial->apps[0])->is_drained;
}

static bool is_quiet(struct kith_trial *trial)
{
    struct kith_simconn *client = kith__simapp_newest(&trial->apps[0]);
    struct kith_simconn *server = kith__trial_server_conn(trial);

    return client->is_confirmed && server != NULL && server->is_confirmed && kith__simconn_is_done(client) &&
           kith__simconn_is_done(server);
}

/* Without keep-alive both sides end after the idle timeout, and not before. */
static enum kith_sim_verdict play_idle(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *client, *server;
    uint64_t quiet_ns;

    trial->transport.keep_alive_ns = 0;
    trial->transport.idle_timeout_ns = kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_S;
    kith__trial_set_up(trial);
    client = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_until(trial, is_quiet, 60 * KITH_NS_PER_S));
    server = kith__trial_server_conn(trial);
    client->may_end = server->may_end = true;
    quiet_ns = kith__sim_now(trial->sim);
    TRY(kith__trial_until(trial, client_is_over, 4000 * KITH_NS_PER_S));
    TRY(kith__trial_until(trial, NULL, 60 * KITH_NS_PER_S));
    DEMAND(client->err == KITH_ERR_IDLE && server->err == KITH_ERR_IDLE && server->is_drained);
    DEMAND(client->closed_ns >= quiet_ns + trial->transport.idle_timeout_ns - KITH_NS_PER_S);
    DEMAND(client->closed_ns <= quiet_ns + trial->transport.idle_timeout_ns + 15 * KITH_NS_PER_S);
    return KITH_SIM_OK;
}

/* With keep-alive a connection without a word lives for hours, also behind a NAT that forgets quickly. */
static enum kith_sim_verdict play_keep_alive(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *client;
    struct kith_quic_conn_stats before, after;

    kith__trial_set_up(trial);
    client = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    kith_quic_conn_stats(client->conn, &before);
    TRY(kith__trial_until(trial, NULL, kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_S));
    DEMAND(!client->is_closed);
    kith_quic_conn_stats(client->conn, &after);
    DEMAND(after.packets_sent - before.packets_sent <= scenario->extra.max); /* about one in 2.5 s, both sides */
    kith__simapp_do(client, &scenario->plan);
    TRY(kith__trial_finish(trial));
    return kith__trial_close(trial);
}

/* Keys change every few packets, while packets are lost and overtake each other. */
static enum kith_sim_verdict play_key_updates(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_quic_conn_stats stats;
    struct kith_simconn *client;

    trial->transport.key_update_after = kith__trial_choose(trial, scenario->extra);
    kith__trial_set_up(trial);
    client = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    kith_quic_conn_stats(client->conn, &stats);
    DEMAND(stats.key_updates >= 3);
    return kith__trial_close(trial);
}

const struct kith_scenario kith__scenarios_time[] = {
    { .name = "time-idle-timeout",
      .play = play_idle,
      .net = { .delay_us = { 1000, 30000 } },
      .extra = { 5, 3600 },
      .plan = { .streams = 2, .up_max = 3000, .down_max = 3000 } },
    { .name = "time-keep-alive",
      .play = play_keep_alive,
      .net = { .delay_us = { 1000, 30000 }, .loss_ppm = { 0, 50000 }, .has_nat = true },
      .extra = { 3600, 20000 },
      .seeds_percent = 25,
      .plan = { .streams = 2, .up_max = 3000, .down_max = 3000 } },
    { .name = "time-key-updates",
      .play = play_key_updates,
      .net = { .delay_us = { 1000, 30000 },
               .loss_ppm = { 0, 100000 },
               .reorder_ppm = { 0, 100000 },
               .reorder_us = { 1000, 40000 } },
      .extra = { 5, 30 },
      .plan = { .streams = 5, .up_min = 100000, .up_max = 300000, .down_max = 300000 } },
    { 0 }
};
