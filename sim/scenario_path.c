/* The way changes under a running connection: MTU, NAT, addresses, ECN. */
#include "trial.h"

#include "base/assert.h"

#define BOTH_WAYS                                                                                                      \
    {                                                                                                                  \
        .streams = 4, .up_min = 300000, .up_max = 900000, .down_min = 300000, .down_max = 900000                       \
    }
#define LONG_WAY /* busy for some 20 seconds */                                                                        \
    {                                                                                                                  \
        .streams = 2, .up_min = 4000000, .up_max = 6000000, .down_min = 100000, .down_max = 300000                     \
    }
#define MOBILE_NET                                                                                                     \
    {                                                                                                                  \
        .delay_us = { 2000, 30000 }, .loss_ppm = { 0, 20000 }, .rate_kbit = { 5000, 20000 }, .has_nat = true           \
    }

static enum kith_sim_verdict run_some(struct kith_trial *trial)
{
    return kith__trial_until(trial, NULL,
                             kith__trial_choose(trial, (struct kith_choice) { 100, 900 }) * KITH_NS_PER_MS);
}

static enum kith_sim_verdict set_up_and_begin(struct kith_trial *trial, const struct kith_scenario *scenario,
                                              struct kith_simconn **conn)
{
    kith__trial_set_up(trial);
    *conn = kith__trial_dial(trial, &scenario->plan);
    return KITH_SIM_OK;
}

/* From the start packets above a size vanish: discovery must find the largest that passes. */
static enum kith_sim_verdict play_small_mtu(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    size_t mtu = (size_t)kith__trial_choose(trial, scenario->extra);
    struct kith_simconn *conn;

    TRY(set_up_and_begin(trial, scenario, &conn));
    kith__sim_host_up(trial->apps[0].host)->mtu = mtu;
    kith__sim_host_up(trial->apps[1].host)->mtu = mtu;
    TRY(kith__trial_finish(trial));
    DEMAND(kith__trial_path(conn).udp_size + 28u <= mtu);
    DEMAND(kith__trial_path(conn).udp_size + 28u + 60u > mtu || kith__trial_path(conn).udp_size >= 1400);
    return kith__trial_close(trial);
}

/* In the middle the way shrinks, and nobody says so. */
static enum kith_sim_verdict play_black_hole(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    size_t mtu = (size_t)kith__trial_choose(trial, scenario->extra);
    struct kith_simconn *conn;

    TRY(set_up_and_begin(trial, scenario, &conn));
    TRY(kith__trial_until(trial, NULL, 700 * KITH_NS_PER_MS));
    kith__trial_note(trial, "the way becomes narrow");
    kith__sim_host_up(trial->apps[0].host)->mtu = mtu;
    kith__sim_host_up(trial->apps[1].host)->mtu = mtu;
    TRY(kith__trial_finish(trial));
    DEMAND(kith__trial_path(conn).udp_size + 28u <= mtu);
    return kith__trial_close(trial);
}

static bool is_confirmed(struct kith_trial *trial)
{
    const struct kith_simconn *server = kith__trial_server_conn(trial);

    return kith__simapp_newest(&trial->apps[0])->is_confirmed && server != NULL && server->is_confirmed;
}

static uint64_t migrations_of(const struct kith_simconn *conn)
{
    struct kith_quic_conn_stats stats = { 0 };

    if (conn->conn != NULL)
        kith_quic_conn_stats(conn->conn, &stats);
    return stats.migrations;
}

/*
 * The NAT forgets its mappings several times (the client's port changes), or gets another public address (extra: 1), each
 * time while bytes are under way, and the client does not know. The server must have followed, to the last address.
 */
static enum kith_sim_verdict play_rebinding(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    static const char *const outer[] = { "10.0.1.7:0", "10.0.1.8:0", "10.0.1.9:0" };
    struct kith_simconn *conn, *server;
    struct kith_sockaddr seen, now;

    TRY(set_up_and_begin(trial, scenario, &conn));
    TRY(kith__trial_until(trial, is_confirmed,
                          60 * KITH_NS_PER_S)); /* before that no address may change: RFC 9000, 9 */
    server = kith__trial_server_conn(trial);
    for (size_t i = 0; i < KITH_COUNT(outer); i++) {
        struct kith_sockaddr addr = kith__trial_address(outer[i]);
        uint64_t before = migrations_of(server);

        TRY(run_some(trial));
        if (kith__simconn_is_done(conn))
            break;
        seen = kith__trial_path(server).remote;
        kith__trial_note(trial, "the NAT forgets");
        if (scenario->extra.min == 1)
            KITH_ASSERT(kith__sim_nat_move(trial->nat, &addr) == 0);
        else
            kith__sim_nat_rebind(trial->nat);
        TRY(kith__trial_until(trial, NULL, 5 * KITH_NS_PER_S));
        DEMAND(migrations_of(server) > before);
        now = kith__trial_path(server).remote;
        DEMAND(!kith_sockaddr_equal(&now, &seen));
    }
    DEMAND(migrations_of(server) > 0);
    TRY(kith__trial_finish(trial));
    return kith__trial_close(trial);
}

/* The client itself goes to its other address, and back. */
static enum kith_sim_verdict play_migration(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *conn;

    TRY(set_up_and_begin(trial, scenario, &conn));
    for (size_t i = 1; i <= 2; i++) {
        struct kith_sockaddr local = { 0 };

        TRY(run_some(trial));
        if (!conn->is_confirmed)
            continue;
        local = kith__sim_interface_addr(trial->apps[0].host, 0, i % 2);
        local.port = trial->apps[0].bind.port;
        kith__trial_note(trial, "the client migrates");
        if (kith_quic_conn_migrate(conn->conn, &local, kith__sim_now(trial->sim)) != 0)
            kith__simapp_note(&trial->apps[0], "it may not yet");
        kith__driver_pump(trial->apps[0].driver);
    }
    TRY(kith__trial_finish(trial));
    return kith__trial_close(trial);
}

/*
 * The server's NAT gets another address, and the old one back; meanwhile the client's NAT forgets. Servers do not move
 * (RFC 9000, 9): the client must not follow the packets that come from elsewhere, nor break. It drops them, with a count,
 * unless NAT traversal was agreed on (spec/01, 5.5): then it reads them. It goes on when the address is back.
 */
static enum kith_sim_verdict play_server_moves(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_sockaddr home = kith__trial_address("10.0.0.2:0"), away = kith__trial_address("10.0.0.22:0");
    struct kith_quic_conn_stats stats;
    struct kith_quic_host_stats host;
    struct kith_simconn *conn;
    bool reads;

    trial->transport.paths_max = 8;
    trial->transport.nat_traversal_max = kith__trial_choose(trial, (struct kith_choice) { 0, 1 }) != 0 ? 32 : 0;
    reads = trial->transport.nat_traversal_max != 0;
    TRY(set_up_and_begin(trial, scenario, &conn));
    TRY(kith__trial_until(trial, is_confirmed, 60 * KITH_NS_PER_S));
    TRY(run_some(trial));
    if (kith__simconn_is_done(conn))
        return kith__trial_close(trial);
    kith__trial_note(trial, "the server moves");
    KITH_ASSERT(kith__sim_nat_move(trial->server_nat, &away) == 0);
    TRY(kith__trial_until(trial, NULL, kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_MS));
    kith__sim_nat_rebind(trial->nat);
    kith_quic_conn_stats(conn->conn, &stats);
    kith_quic_host_stats(kith__driver_host(trial->apps[0].driver), &host);
    DEMAND(stats.migrations == 0 && kith__trial_path(conn).remote.ip[3] == 2);
    DEMAND((host.dropped_wrong_remote > 0) == !reads);
    kith__trial_note(trial, "the server is back");
    KITH_ASSERT(kith__sim_nat_move(trial->server_nat, &home) == 0);
    TRY(kith__trial_finish(trial));
    return kith__trial_close(trial);
}

/* Routers mark instead of dropping: the senders slow down, and nothing is lost. */
static enum kith_sim_verdict play_ecn(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_quic_path_info path;
    struct kith_simconn *conn;

    TRY(set_up_and_begin(trial, scenario, &conn));
    kith__sim_host_up(trial->apps[0].host)->mark_size = 20000;
    TRY(kith__trial_finish(trial));
    path = kith__trial_path(conn);
    DEMAND(path.ecn_capable && path.ecn_ce_count > 0);
    DEMAND(path.packets_lost == 0 && path.congestion_events > 0);
    DEMAND(kith__sim_stats(trial->sim).drop_queue == 0);
    return kith__trial_close(trial);
}

/* A router clears the bits: the sender notices, gives ECN up, and goes on. */
static enum kith_sim_verdict play_bleached(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *conn;

    TRY(set_up_and_begin(trial, scenario, &conn));
    TRY(kith__trial_finish(trial));
    DEMAND(!kith__trial_path(conn).ecn_capable);
    return kith__trial_close(trial);
}

const struct kith_scenario kith__scenarios_path[] = {
    { .name = "path-small-mtu",
      .play = play_small_mtu,
      .net = { .delay_us = { 2000, 30000 }, .loss_ppm = { 0, 10000 } },
      .extra = { 1280, 1500 },
      .plan = BOTH_WAYS },
    { .name = "path-mtu-black-hole",
      .play = play_black_hole,
      .net = { .delay_us = { 2000, 30000 }, .rate_kbit = { 5000, 10000 } },
      .extra = { 1280, 1300 },
      .seeds_percent = 50,
      .plan = BOTH_WAYS },
    { .name = "path-nat-rebinding", .play = play_rebinding, .net = MOBILE_NET, .seeds_percent = 50, .plan = LONG_WAY },
    { .name = "path-address-change",
      .play = play_rebinding,
      .net = MOBILE_NET,
      .seeds_percent = 50,
      .extra = { 1 },
      .plan = LONG_WAY },
    { .name = "path-server-moves-and-returns",
      .play = play_server_moves,
      .net = { .delay_us = { 2000, 30000 },
               .loss_ppm = { 0, 10000 },
               .rate_kbit = { 5000, 20000 },
               .has_nat = true,
               .has_server_nat = true },
      .extra = { 200, 6000 },
      .seeds_percent = 50,
      .plan = BOTH_WAYS },
    { .name = "path-client-migration",
      .play = play_migration,
      .net = { .delay_us = { 2000, 30000 }, .loss_ppm = { 0, 20000 }, .rate_kbit = { 5000, 20000 } },
      .seeds_percent = 50,
      .plan = BOTH_WAYS },
    { .name = "path-ecn",
      .play = play_ecn,
      .net = { .delay_us = { 5000, 10000 }, .rate_kbit = { 5000, 10000 } },
      .plan = { .streams = 1, .up_min = 2000000, .up_max = 2000000 } },
    { .name = "path-ecn-bleached",
      .play = play_bleached,
      .net = { .delay_us = { 5000, 10000 }, .rate_kbit = { 5000, 10000 }, .bleaches_ecn = true },
      .plan = BOTH_WAYS },
    { 0 }
};
