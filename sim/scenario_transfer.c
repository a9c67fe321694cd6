/* Transfers over bad networks: loss, reordering, duplication, jitter, damage, blackouts, narrow queues. */
#include "trial.h"

#include "base/assert.h"

/* Connect, do everything, close. */
static enum kith_sim_verdict play_plain(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *conn;

    kith__trial_set_up(trial);
    conn = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    kith__trial_measure(trial, conn, conn->bytes_read, conn->connected_ns);
    kith__trial_heal(trial);
    TRY(kith__trial_until(trial, NULL, 3 * KITH_NS_PER_S)); /* what is in flight gets its fate */
    kith__simcheck_datagrams(trial);
    TRY(kith__trial_close(trial));
    DEMAND(conn->err == KITH_ERR_CLOSED && kith__trial_server_conn(trial)->err == KITH_ERR_CLOSED_BY_PEER);
    DEMAND(kith__trial_server_conn(trial)->code == 5);
    return KITH_SIM_OK;
}

/* Windows and stream counts so small that everything waits for renewed limits, and limits get lost. */
static enum kith_sim_verdict play_small_windows(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    trial->transport.stream_data_max = 4000;
    trial->transport.stream_data_auto_max = 0;
    trial->transport.data_max = 10000;
    trial->transport.streams_bidi_max = 3;
    trial->transport.streams_uni_max = 1;
    return play_plain(trial, scenario);
}

/* The network is silent for some seconds, once or several times, in the middle. */
static enum kith_sim_verdict play_blackouts(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_sim_link *links[2];
    struct kith_simconn *conn;
    uint64_t at_ns;

    kith__trial_set_up(trial);
    links[0] = kith__sim_host_up(trial->apps[0].host);
    links[1] = kith__sim_host_up(trial->apps[1].host);
    for (size_t i = 0; i < 2; i++) {
        at_ns = kith__sim_now(trial->sim);
        for (size_t k = 0; k < 3; k++) {
            at_ns += kith__trial_choose(trial, (struct kith_choice) { 0, 3000 }) * KITH_NS_PER_MS;
            links[i]->blackouts[k].from_ns = at_ns;
            at_ns += kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_MS;
            links[i]->blackouts[k].until_ns = at_ns;
        }
    }
    conn = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    DEMAND(conn->bytes_read > 0);
    return kith__trial_close(trial);
}

/* Bits flip on the way: every one is noticed and counted, none gets through. */
static enum kith_sim_verdict play_damage(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_quic_host_stats client, server;
    uint64_t noticed = 0;

    TRY(play_plain(trial, scenario));
    kith_quic_host_stats(kith__driver_host(trial->apps[0].driver), &client);
    kith_quic_host_stats(kith__driver_host(trial->apps[1].driver), &server);
#define ADD(name) noticed += client.dropped_##name + server.dropped_##name;
    KITH_QUIC_DROPS(ADD)
#undef ADD
    DEMAND(kith__sim_stats(trial->sim).corrupted == 0 || noticed > 0);
    return KITH_SIM_OK;
}

#define LOSSY(percent)                                                                                                 \
    {                                                                                                                  \
        .delay_us = { 1000, 40000 }, .loss_ppm = {(percent)*10000, (percent)*10000 }                                   \
    }
#define PLAN_MIXED                                                                                                     \
    {                                                                                                                  \
        .streams = 12, .uni_streams = 4, .up_min = 0, .up_max = 40000, .down_min = 0, .down_max = 40000                \
    }

const struct kith_scenario kith__scenarios_transfer[] = {
    { .name = "transfer-loss-0", .play = play_plain, .net = LOSSY(0), .plan = PLAN_MIXED },
    { .name = "transfer-loss-1", .play = play_plain, .net = LOSSY(1), .plan = PLAN_MIXED },
    { .name = "transfer-loss-5", .play = play_plain, .net = LOSSY(5), .plan = PLAN_MIXED },
    { .name = "transfer-loss-10", .play = play_plain, .net = LOSSY(10), .plan = PLAN_MIXED },
    { .name = "transfer-loss-20", .play = play_plain, .net = LOSSY(20), .limit_s = { 900, 900 }, .plan = PLAN_MIXED },
    { .name = "transfer-loss-30", .play = play_plain, .net = LOSSY(30), .limit_s = { 900, 900 }, .plan = PLAN_MIXED },
    { .name = "transfer-loss-any",
      .play = play_plain,
      .net = { .delay_us = { 100, 50000 }, .loss_ppm = { 0, 300000 } },
      .limit_s = { 900, 900 },
      .plan = PLAN_MIXED },
    { .name = "transfer-loss-one-way-up",
      .play = play_plain,
      .net = { .delay_us = { 1000, 40000 }, .loss_ppm = { 0, 400000 }, .client_up_only = true },
      .limit_s = { 900, 900 },
      .plan = { .streams = 2, .down_min = 100000, .down_max = 300000 } },
    { .name = "transfer-loss-one-way-down",
      .play = play_plain,
      .net = { .delay_us = { 1000, 40000 }, .loss_ppm = { 0, 400000 }, .server_up_only = true },
      .limit_s = { 900, 900 },
      .plan = { .streams = 2, .up_min = 100000, .up_max = 300000 } },
    { .name = "transfer-reordering",
      .play = play_plain,
      .net = { .delay_us = { 1000, 40000 }, .reorder_ppm = { 0, 300000 }, .reorder_us = { 100, 60000 } },
      .plan = PLAN_MIXED },
    { .name = "transfer-duplication",
      .play = play_plain,
      .net = { .delay_us = { 1000, 40000 }, .duplicate_ppm = { 100000, 500000 }, .jitter_us = { 0, 5000 } },
      .plan = { .streams = 12,
                .uni_streams = 4,
                .up_max = 40000,
                .down_max = 40000,
                .datagrams = 100,
                .datagram_size = 500,
                .datagram_ns = 3 * KITH_NS_PER_MS } },
    { .name = "transfer-small-windows",
      .play = play_small_windows,
      .net = { .delay_us = { 1000, 20000 }, .loss_ppm = { 0, 300000 } },
      .limit_s = { 900, 900 },
      .plan = { .streams = 8, .uni_streams = 4, .up_max = 30000, .down_max = 30000 } },
    { .name = "transfer-jitter",
      .play = play_plain,
      .net = { .delay_us = { 0, 20000 }, .jitter_us = { 0, 100000 } },
      .plan = PLAN_MIXED },
    { .name = "transfer-everything",
      .known_seed = 606,
      .play = play_plain,
      .net = { .delay_us = { 0, 60000 },
               .jitter_us = { 0, 20000 },
               .loss_ppm = { 0, 100000 },
               .duplicate_ppm = { 0, 100000 },
               .corrupt_ppm = { 0, 50000 },
               .reorder_ppm = { 0, 100000 },
               .reorder_us = { 0, 50000 },
               .rate_kbit = { 500, 100000 },
               .queue_bytes = { 10000, 200000 },
               .block_ppm = 20000 },
      .limit_s = { 900, 900 },
      .plan = { .streams = 10,
                .uni_streams = 5,
                .up_max = 60000,
                .down_max = 60000,
                .datagrams = 50,
                .datagram_size = 600,
                .datagram_ns = 20 * KITH_NS_PER_MS,
                .reset_every = 5,
                .stop_every = 7,
                .priorities = true } },
    { .name = "transfer-damage",
      .play = play_damage,
      .net = { .delay_us = { 1000, 40000 }, .corrupt_ppm = { 1000, 200000 } },
      .limit_s = { 900, 900 },
      .plan = PLAN_MIXED },
    { .name = "transfer-blackouts",
      .play = play_blackouts,
      .net = { .delay_us = { 1000, 40000 }, .loss_ppm = { 0, 20000 }, .rate_kbit = { 2000, 20000 } },
      .extra = { 100, 6000 },
      .plan = { .streams = 3, .up_min = 200000, .up_max = 900000, .down_min = 200000, .down_max = 900000 } },
    { .name = "transfer-small-queue",
      .play = play_plain,
      .net = { .delay_us = { 5000, 40000 }, .rate_kbit = { 1000, 20000 }, .queue_bytes = { 4000, 30000 } },
      .plan = { .streams = 1, .down_min = 500000, .down_max = 1000000 } },
    { .name = "transfer-long-round-trip",
      .play = play_plain,
      .net = { .delay_us = { 1000000, 1000000 }, .loss_ppm = { 0, 20000 } },
      .limit_s = { 900, 900 },
      .plan = { .streams = 4, .up_max = 200000, .down_max = 200000 } },
    { .name = "transfer-unordered-reads",
      .known_seed = 445,
      .play = play_plain,
      .net = { .delay_us = { 1000, 40000 },
               .loss_ppm = { 0, 100000 },
               .reorder_ppm = { 0, 100000 },
               .reorder_us = { 1000, 30000 } },
      .plan = { .streams = 5, .up_max = 1000, .down_min = 0, .down_max = 100000, .unordered = true } },
    { .name = "transfer-datagrams",
      .play = play_plain,
      .net = { .delay_us = { 1000, 40000 }, .loss_ppm = { 0, 200000 }, .duplicate_ppm = { 0, 100000 } },
      .plan = { .datagrams = 300, .datagram_size = 1000, .datagram_ns = 2 * KITH_NS_PER_MS } },
    { .name = "transfer-resets-and-stops",
      .play = play_plain,
      .net = { .delay_us = { 1000, 40000 }, .loss_ppm = { 0, 100000 } },
      .plan = { .streams = 60,
                .uni_streams = 20,
                .up_max = 30000,
                .down_max = 30000,
                .reset_every = 3,
                .stop_every = 4 } },
    { .name = "transfer-newreno",
      .play = play_plain,
      .net = { .delay_us = { 1000, 40000 }, .loss_ppm = { 0, 50000 } },
      .plan = PLAN_MIXED,
      .congestion = KITH_QUIC_NEWRENO },
    { 0 }
};
