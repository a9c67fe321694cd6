/* How fast it goes, in virtual time: what the machine does in that time does not matter. */
#include "trial.h"

#include "base/assert.h"

#include <string.h>

/* One transfer from client to server; its goodput is recorded, and must reach a share of the link's rate. */
static enum kith_sim_verdict play_bulk(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *client, *server;

    trial->transport.stream_data_auto_max = 16 << 20;
    kith__trial_set_up(trial);
    client = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    server = kith__trial_server_conn(trial);
    kith__trial_measure(trial, server, server->bytes_read, client->connected_ns);
    if (scenario->goodput_percent != 0)
        DEMAND(trial->result->goodput * 100 >= trial->result->capacity * scenario->goodput_percent);
    return kith__trial_close(trial);
}

/* Two clients share the server's link; the slower one must not starve. */
static enum kith_sim_verdict play_two_flows(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_sockaddr addr = kith__trial_address("10.0.0.2:4433");
    struct kith_simconn *client, *other;
    struct kith_simapp *app;
    uint64_t first, second;

    kith__trial_set_up(trial);
    *kith__sim_host_down(trial->apps[KITH_TRIAL_SERVER].host) = (struct kith_sim_link) { .rate = 50000000,
                                                                                         .queue_size = 150000 };
    app = kith__trial_add_client(trial);
    client = kith__trial_dial(trial, &scenario->plan);
    KITH_ASSERT(kith__simapp_dial(app, &trial->apps[KITH_TRIAL_SERVER], &addr, &scenario->plan, &other) == 0);
    TRY(kith__trial_until(trial, NULL, kith__trial_choose(trial, scenario->limit_s) * KITH_NS_PER_S));
    DEMAND(client->is_connected && other->is_connected);
    first = kith__trial_path(client).bytes_sent - kith__trial_path(client).bytes_lost;
    second = kith__trial_path(other).bytes_sent - kith__trial_path(other).bytes_lost;
    trial->result->goodput = (first + second) * 8 / trial->scenario->limit_s.min;
    trial->result->capacity = 50000000;
    DEMAND(first * 4 > second && second * 4 > first);
    DEMAND(trial->result->goodput * 100 >= trial->result->capacity * scenario->goodput_percent);
    return kith__trial_close(trial);
}

/* Bytes sent by the client on paths that are backups. */
static uint64_t on_backups(const struct kith_simconn *conn)
{
    struct kith_quic_path_info infos[2];
    size_t count = kith_quic_conn_paths(conn->conn, infos, KITH_COUNT(infos));
    uint64_t sent = 0;

    for (size_t i = 0; i < KITH_MIN(count, KITH_COUNT(infos)); i++)
        sent += infos[i].is_backup ? infos[i].bytes_sent : 0;
    return sent;
}

/*
 * A link that is healthy, but jitters, reorders, and makes a pause once or twice a second, as radio links do (extra.max: by how
 * many ms it delays each direction then). A backup (extra.min) must not take over at each of them: the transfer is as fast as
 * without one, and the backup carries little.
 */
static enum kith_sim_verdict play_pauses(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *client, *server;
    bool has_backup = scenario->extra.min != 0;
    uint64_t pause_ns = scenario->extra.max * KITH_NS_PER_MS;

    kith__trial_set_up_ways(trial, has_backup ? 2 : 1);
    TRY(kith__trial_dial_ways(trial, &scenario->plan, &client));
    if (has_backup)
        kith__simkeeper_want(&trial->keeper, 1, true, true);
    while (!kith__simconn_is_done(client)) {
        struct kith_sim_link *up = kith__sim_host_up(trial->apps[KITH_TRIAL_CLIENT].host);
        struct kith_sim_link *down = kith__sim_host_down(trial->apps[KITH_TRIAL_CLIENT].host);

        TRY(kith__trial_until(trial, NULL,
                              kith__trial_choose(trial, (struct kith_choice) { 200, 900 }) * KITH_NS_PER_MS));
        up->delay_ns += pause_ns;
        down->delay_ns += pause_ns;
        TRY(kith__trial_until(trial, NULL, 50 * KITH_NS_PER_MS));
        up->delay_ns -= pause_ns;
        down->delay_ns -= pause_ns;
        DEMAND(kith__sim_now(trial->sim) < 300 * KITH_NS_PER_S);
    }
    TRY(kith__trial_finish(trial));
    server = kith__trial_server_conn(trial);
    kith__trial_measure(trial, server, server->bytes_read, client->connected_ns);
    DEMAND(trial->result->goodput * 100 >= trial->result->capacity * scenario->goodput_percent);
    DEMAND(on_backups(client) * 20 <= server->bytes_read);
    return kith__trial_close(trial);
}

enum two_links { BOTH_AVAILABLE, SECOND_IS_BACKUP, FIRST_IS_NARROW, SECOND_IS_NARROW };

/* A fifth of the rate, in both directions. */
static void make_narrow(struct kith_trial *trial, unsigned way)
{
    struct kith_sim_host *host = trial->apps[KITH_TRIAL_CLIENT].host;

    kith__sim_interface_uplink(host, way)->rate /= 5;
    kith__sim_interface_downlink(host, way)->rate /= 5;
}

/*
 * Two links, equal or not. extra: the schedule, and an enum two_links. Told to spread, they give the sum. By the rule FIRST the
 * lowest path goes first and the next one while that is blocked (spec/01, 4.7), so they give no less than the better of the
 * two, whichever comes first; a backup stays idle, and the first gives what it has.
 */
static enum kith_sim_verdict play_two_links(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    enum two_links kind = (enum two_links)scenario->extra.max;
    struct kith_simconn *client, *server;

    trial->transport.stream_data_auto_max = 16 << 20;
    trial->transport.schedule = (uint8_t)scenario->extra.min;
    kith__trial_set_up_ways(trial, 2);
    if (kind == FIRST_IS_NARROW || kind == SECOND_IS_NARROW)
        make_narrow(trial, kind == FIRST_IS_NARROW ? 0 : 1);
    TRY(kith__trial_dial_ways(trial, &scenario->plan, &client));
    kith__simkeeper_want(&trial->keeper, 1, true, kind == SECOND_IS_BACKUP);
    TRY(kith__trial_finish(trial));
    server = kith__trial_server_conn(trial);
    kith__trial_measure(trial, server, server->bytes_read, client->connected_ns);
    DEMAND(trial->result->goodput * 100 >= trial->result->capacity * scenario->goodput_percent);
    DEMAND(kind != SECOND_IS_BACKUP || trial->result->goodput <= trial->result->capacity);
    TRY(kith__trial_one_path(trial));
    return kith__trial_close(trial);
}

#define LINK(mbit, delay_ms, queue)                                                                                    \
    .rate_kbit = { (mbit)*1000, (mbit)*1000 }, .delay_us = { (delay_ms)*1000, (delay_ms)*1000 },                       \
    .queue_bytes = { queue, queue }

const struct kith_scenario kith__scenarios_speed[] = {
    { .name = "speed-100mbit-clean",
      .play = play_bulk,
      .net = { LINK(100, 10, 375000) },
      .seeds_percent = 10,
      .goodput_percent = 85,
      .plan = { .streams = 1, .up_min = 20000000, .up_max = 20000000 } },
    { .name = "speed-100mbit-clean-newreno",
      .play = play_bulk,
      .net = { LINK(100, 10, 375000) },
      .seeds_percent = 10,
      .goodput_percent = 85,
      .congestion = KITH_QUIC_NEWRENO,
      .plan = { .streams = 1, .up_min = 20000000, .up_max = 20000000 } },
    { .name = "speed-100mbit-eight-streams",
      .play = play_bulk,
      .net = { LINK(100, 10, 375000) },
      .seeds_percent = 10,
      .goodput_percent = 80,
      .plan = { .streams = 8, .up_min = 2000000, .up_max = 2000000, .priorities = true } },
    { .name = "speed-100mbit-loss-1",
      .play = play_bulk,
      .net = { LINK(100, 10, 375000), .loss_ppm = { 10000, 10000 } },
      .seeds_percent = 10,
      .goodput_percent = 3,
      .plan = { .streams = 1, .up_min = 5000000, .up_max = 5000000 } },
    { .name = "speed-1gbit",
      .play = play_bulk,
      .net = { LINK(1000, 5, 2500000) },
      .seeds_percent = 10,
      .goodput_percent = 40,
      .plan = { .streams = 1, .up_min = 10000000, .up_max = 10000000 } },
    { .name = "speed-10mb-bad-link",
      .play = play_bulk,
      .net = { LINK(50, 15, 100000), .loss_ppm = { 5000, 5000 }, .duplicate_ppm = { 5000, 5000 },
               .reorder_ppm = { 10000, 10000 }, .reorder_us = { 5000, 5000 }, .jitter_us = { 2000, 2000 } },
      .seeds_percent = 10,
      .goodput_percent = 3,
      .plan = { .streams = 1, .up_min = 10000000, .up_max = 10000000 } },
    { .name = "speed-narrow-queue",
      .play = play_bulk,
      .net = { LINK(20, 20, 25000) },
      .seeds_percent = 10,
      .goodput_percent = 55,
      .plan = { .streams = 1, .up_min = 10000000, .up_max = 10000000 } },
    { .name = "speed-long-round-trip",
      .play = play_bulk,
      .net = { LINK(20, 300, 1500000) },
      .seeds_percent = 10,
      .goodput_percent = 30,
      .plan = { .streams = 1, .up_min = 10000000, .up_max = 10000000 } },
    { .name = "speed-two-flows",
      .play = play_two_flows,
      .net = { .delay_us = { 10000, 10000 } },
      .limit_s = { 20, 20 },
      .seeds_percent = 3,
      .goodput_percent = 80,
      .plan = { .streams = 1, .up_min = 300000000, .up_max = 300000000 } },
    { .name = "speed-pauses-one-path",
      .play = play_pauses,
      .net = { LINK(20, 15, 150000), .jitter_us = { 20000, 20000 }, .reorder_ppm = { 5000, 5000 },
               .reorder_us = { 20000, 20000 } },
      .extra = { 0, 100 },
      .seeds_percent = 10,
      .goodput_percent = 70,
      .plan = { .streams = 1, .up_min = 20000000, .up_max = 20000000 } },
    { .name = "speed-pauses-backup",
      .play = play_pauses,
      .net = { LINK(20, 15, 150000), .jitter_us = { 20000, 20000 }, .reorder_ppm = { 5000, 5000 },
               .reorder_us = { 20000, 20000 } },
      .extra = { 1, 100 },
      .seeds_percent = 10,
      .goodput_percent = 70,
      .plan = { .streams = 1, .up_min = 20000000, .up_max = 20000000 } },
    { .name = "speed-two-links-spread",
      .play = play_two_links,
      .net = { LINK(100, 10, 375000) },
      .extra = { KITH_QUIC_SCHEDULE_SPREAD },
      .seeds_percent = 5,
      .goodput_percent = 170,
      .plan = { .streams = 1, .up_min = 60000000, .up_max = 60000000 } },
    { .name = "speed-two-links-first",
      .play = play_two_links,
      .net = { LINK(100, 10, 375000) },
      .extra = { KITH_QUIC_SCHEDULE_FIRST },
      .seeds_percent = 5,
      .goodput_percent = 170,
      .plan = { .streams = 1, .up_min = 60000000, .up_max = 60000000 } },
    { .name = "speed-two-links-first-narrow",
      .play = play_two_links,
      .net = { LINK(100, 10, 375000) },
      .extra = { KITH_QUIC_SCHEDULE_FIRST, FIRST_IS_NARROW },
      .seeds_percent = 5,
      .goodput_percent = 85,
      .plan = { .streams = 1, .up_min = 60000000, .up_max = 60000000 } },
    { .name = "speed-two-links-second-narrow",
      .play = play_two_links,
      .net = { LINK(100, 10, 375000) },
      .extra = { KITH_QUIC_SCHEDULE_FIRST, SECOND_IS_NARROW },
      .seeds_percent = 5,
      .goodput_percent = 85,
      .plan = { .streams = 1, .up_min = 60000000, .up_max = 60000000 } },
    { .name = "speed-two-links-backup",
      .play = play_two_links,
      .net = { LINK(100, 10, 375000) },
      .extra = { KITH_QUIC_SCHEDULE_FIRST, SECOND_IS_BACKUP },
      .seeds_percent = 5,
      .goodput_percent = 85,
      .plan = { .streams = 1, .up_min = 60000000, .up_max = 60000000 } },
    { 0 }
};
