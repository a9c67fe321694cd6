/*
 * Both sides are behind NATs of every kind; they know each other by a slow way (the server's second interface, in the place of
 * a relay), tell where they may be found, and probe. Where that can work a direct path must come of it, and carry the
 * connection when the slow way is gone; where it cannot, nothing else may suffer.
 */
#include "trial.h"

#include "base/assert.h"

#include <stdio.h>

enum { DIRECT = 0, SLOW = 1 }; /* interfaces of the server */

/** What the client has seen. */
struct seen {
    uint64_t validated;
    uint32_t path;
};

static void on_path(void *ctx, const struct kith_quic_event *event)
{
    struct seen *seen = ctx;

    if (event->kind != KITH_QUIC_PATH_VALIDATED)
        return;
    seen->validated++;
    seen->path = event->path;
}

static struct kith_sim_nat_options choose_nat(struct kith_trial *trial, const char *outer)
{
    struct kith_choice kind = { KITH_SIM_NAT_ENDPOINT_INDEPENDENT, KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT };

    return (struct kith_sim_nat_options) { .outer = kith__trial_address(outer),
                                           .mapping = (uint8_t)kith__trial_choose(trial, kind),
                                           .filtering = (uint8_t)kith__trial_choose(trial, kind),
                                           .preserves_ports = true,
                                           .mapping_ns = 30 * KITH_NS_PER_S };
}

/**
 * The client's NAT shows one port to all: the server's probe opens its own NAT for exactly that one. Else the client comes
 * from a port that nobody could know, and only a server's NAT that does not look at ports lets it in and answers it from
 * the same one.
 */
static bool can_work(const struct kith_sim_nat_options *client, const struct kith_sim_nat_options *server)
{
    if (client->mapping == KITH_SIM_NAT_ENDPOINT_INDEPENDENT)
        return true;
    return server->filtering != KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT &&
           server->mapping != KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT;
}

static void set_up(struct kith_trial *trial, struct kith_sim_nat_options nats[2])
{
    struct kith_sim_host_options client = { 0 }, server = { 0 };
    struct kith_sim_interface_options slow = { .up.delay_ns = 60 * KITH_NS_PER_MS,
                                               .down.delay_ns = 60 * KITH_NS_PER_MS };
    unsigned index;

    nats[0] = choose_nat(trial, "10.0.1.1:0");
    nats[1] = choose_nat(trial, "10.7.0.1:0");
    KITH_ASSERT(kith__sim_nat_new(trial->sim, &nats[0], &trial->nat) == 0);
    KITH_ASSERT(kith__sim_nat_new(trial->sim, &nats[1], &trial->server_nat) == 0);
    trial->transport.paths_max = 8;
    client.nat = trial->nat;
    client.addrs[0] = kith__trial_address("192.168.1.2:0");
    server.nat = trial->server_nat;
    server.addrs[0] = kith__trial_address("192.168.1.2:0"); /* as it often is at home */
    kith__trial_choose_link(trial, &client.up);
    kith__trial_choose_link(trial, &client.down);
    slow.addrs[0] = kith__trial_address("10.0.0.2:0");
    kith__trial_add_app(trial, "client", &client, false);
    kith__trial_add_app(trial, "server", &server, false);
    KITH_ASSERT(kith__sim_interface_add(trial->apps[KITH_TRIAL_SERVER].host, &slow, &index) == 0 && index == SLOW);
}

static bool both_are_confirmed(struct kith_trial *trial)
{
    const struct kith_simconn *server = kith__trial_server_conn(trial);

    return kith__simapp_newest(&trial->apps[KITH_TRIAL_CLIENT])->is_confirmed && server != NULL && server->is_confirmed;
}

static bool knows_candidate(struct kith_trial *trial)
{
    return kith_quic_conn_candidates(kith__simapp_newest(&trial->apps[KITH_TRIAL_CLIENT])->conn, NULL, 0) == 1;
}

/* Rounds every five seconds until a direct path is there, a minute at most. */
static enum kith_sim_verdict punch(struct kith_trial *trial, struct kith_simconn *conn, const struct seen *seen)
{
    for (int round = 0; round < 12 && seen->validated == 0; round++) {
        DEMAND(kith_quic_conn_punch(conn->conn, kith__sim_now(trial->sim)) == 0);
        kith__driver_pump(conn->app->driver);
        for (int i = 0; i < 50 && seen->validated == 0; i++)
            TRY(kith__trial_until(trial, NULL, 100 * KITH_NS_PER_MS));
    }
    return KITH_SIM_OK;
}

static enum kith_sim_verdict play_punch(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_sockaddr ours = kith__trial_address("10.0.1.1:5000"), theirs = kith__trial_address("10.7.0.1:4433");
    struct kith_sim_nat_options nats[2];
    struct kith_simconn *conn, *server;
    struct seen seen = { 0 };
    char text[128];

    set_up(trial, nats);
    snprintf(text, sizeof text, "client's NAT: mapping %u, filtering %u; server's: %u, %u", nats[0].mapping,
             nats[0].filtering, nats[1].mapping, nats[1].filtering);
    kith__trial_note(trial, text);
    conn = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_until(trial, both_are_confirmed, 60 * KITH_NS_PER_S));
    server = kith__trial_server_conn(trial);
    conn->on_path = on_path;
    conn->on_path_ctx = &seen;
    DEMAND(kith_quic_conn_add_candidate(conn->conn, &ours, kith__sim_now(trial->sim)) == 0);
    DEMAND(kith_quic_conn_add_candidate(server->conn, &theirs, kith__sim_now(trial->sim)) == 0);
    kith__driver_pump(server->app->driver);
    TRY(kith__trial_until(trial, knows_candidate, 60 * KITH_NS_PER_S));
    TRY(punch(trial, conn, &seen));
    DEMAND(seen.validated > 0 || !can_work(&nats[0], &nats[1]));
    if (seen.validated > 0) { /* the direct way must do without the other */
        DEMAND(kith_quic_conn_path_set_backup(conn->conn, seen.path, false, kith__sim_now(trial->sim)) == 0);
        kith__sim_interface_downlink(trial->apps[KITH_TRIAL_SERVER].host, SLOW)->is_cut = true;
        kith__sim_interface_uplink(trial->apps[KITH_TRIAL_SERVER].host, SLOW)->is_cut = true;
    }
    TRY(kith__trial_finish(trial));
    kith__simapp_do(conn, &scenario->plan);
    TRY(kith__trial_finish(trial));
    conn->on_path = NULL;
    return kith__trial_close(trial);
}

const struct kith_scenario kith__scenarios_punch[] = {
    { .name = "punch-every-nat",
      .play = play_punch,
      .net = { .delay_us = { 1000, 30000 }, .loss_ppm = { 0, 50000 } },
      .plan = { .streams = 3, .up_min = 10000, .up_max = 50000, .down_min = 10000, .down_max = 50000 } },
    { 0 }
};
