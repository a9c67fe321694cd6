/* Trials whose client has several interfaces: set up, dial, and the proof that nothing is left of paths that are gone. */
#include "trial.h"

#include "base/assert.h"
#include "quic/conn/conn.h"

#include <stdio.h>

enum { PATHS_MAX = 8 };

static struct kith_sockaddr address(const char *format, size_t way)
{
    char text[64];

    snprintf(text, sizeof text, format, (unsigned)way);
    return kith__trial_address(text);
}

static void choose_way(struct kith_trial *trial, size_t way, bool is_v6, struct kith_sim_interface_options *out)
{
    struct kith_sim_nat_options nat = { .outer = address("10.9.%u.1:0", way) };

    *out = (struct kith_sim_interface_options) { 0 };
    kith__trial_choose_link(trial, &out->up);
    kith__trial_choose_link(trial, &out->down);
    if (is_v6) {
        out->addrs[0] = address("[2001:db8:%u::1]:0", way);
        return;
    }
    out->addrs[0] = address(trial->scenario->net.has_nat ? "192.168.%u.2:0" : "10.1.%u.1:0", way);
    if (!trial->scenario->net.has_nat)
        return;
    KITH_ASSERT(kith__sim_nat_new(trial->sim, &nat, &trial->way_nats[way]) == 0);
    out->nat = trial->way_nats[way];
}

void kith__trial_set_up_ways(struct kith_trial *trial, size_t count)
{
    struct kith_sim_host_options client = { 0 }, server = { 0 };
    struct kith_sim_interface_options ways[KITH_SIMKEEPER_WAYS_MAX];
    bool has_v6 = kith__trial_choose(trial, (struct kith_choice) { 0, 1 }) != 0;
    uint64_t best = 0;
    unsigned index;

    KITH_ASSERT(count >= 1 && count <= KITH_SIMKEEPER_WAYS_MAX);
    trial->transport.paths_max = PATHS_MAX;
    for (size_t i = 0; i < count; i++) {
        choose_way(trial, i, has_v6 && i % 2 == 1, &ways[i]);
        best = KITH_MAX(best, ways[i].up.rate);
    }
    client.nat = ways[0].nat;
    client.addrs[0] = ways[0].addrs[0];
    client.up = ways[0].up;
    client.down = ways[0].down;
    server.addrs[0] = kith__trial_address("10.0.0.2:0");
    server.addrs[1] = kith__trial_address("[2001:db8::2]:0");
    kith__trial_add_app(trial, "client", &client, true);
    kith__trial_add_app(trial, "server", &server, true);
    for (size_t i = 1; i < count; i++)
        KITH_ASSERT(kith__sim_interface_add(trial->apps[KITH_TRIAL_CLIENT].host, &ways[i], &index) == 0);
    trial->result->capacity = best;
}

static bool both_are_confirmed(struct kith_trial *trial)
{
    const struct kith_simconn *server = kith__trial_server_conn(trial);

    return kith__simapp_newest(&trial->apps[KITH_TRIAL_CLIENT])->is_confirmed && server != NULL && server->is_confirmed;
}

enum kith_sim_verdict kith__trial_dial_ways(struct kith_trial *trial, const struct kith_simapp_plan *plan,
                                            struct kith_simconn **out)
{
    struct kith_sockaddr remote4 = kith__trial_address("10.0.0.2:4433");
    struct kith_sockaddr remote6 = kith__trial_address("[2001:db8::2]:4433");

    *out = kith__trial_dial(trial, plan);
    TRY(kith__trial_until(trial, both_are_confirmed, 60 * KITH_NS_PER_S));
    kith__simkeeper_init(&trial->keeper, *out, &remote4, &remote6);
    return KITH_SIM_OK;
}

/* What the engine keeps about paths and path ids of one side. */
static bool has_one_path(const struct kith_simconn *conn)
{
    size_t spares = 0;

    for (const struct kith_conn_spare *spare = conn->conn->spares; spare != NULL; spare = spare->next)
        spares++;
    return conn->conn->path_count == 1 && kith_quic_conn_paths(conn->conn, NULL, 0) == 1 && spares < PATHS_MAX;
}

static bool both_have_one_path(struct kith_trial *trial)
{
    return has_one_path(kith__simapp_newest(&trial->apps[KITH_TRIAL_CLIENT])) &&
           has_one_path(kith__trial_server_conn(trial));
}

enum kith_sim_verdict kith__trial_one_path(struct kith_trial *trial)
{
    struct kith_simkeeper *keeper = &trial->keeper;
    size_t kept = 0;

    while (kept + 1 < keeper->count && !(keeper->ways[kept].has_path && keeper->ways[kept].is_wanted))
        kept++;
    kith__trial_note(trial, "one path is to stay");
    for (size_t i = 0; i < keeper->count; i++)
        kith__simkeeper_want(keeper, i, i == kept, false);
    return kith__trial_until(trial, both_have_one_path, 60 * KITH_NS_PER_S);
}
