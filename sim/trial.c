/* One trial: set up, script, checks, tear down. */
#include "trial.h"

#include "base/assert.h"
#include "base/random.h"
#include "quic/conn/conn.h"
#include "rt/sim/world.h"

#include <stdio.h>
#include <string.h>

enum { MEMORY_MAX = 64 << 20 };

struct kith_sockaddr kith__trial_address(const char *text)
{
    struct kith_sockaddr addr = { 0 };

    KITH_ASSERT(kith_sockaddr_parse(text, &addr) == 0);
    return addr;
}

uint64_t kith__trial_choose(struct kith_trial *trial, struct kith_choice choice)
{
    struct kith_random random = kith__prng_source(&trial->prng);

    return choice.max > choice.min ? choice.min + kith__random_below(&random, choice.max - choice.min + 1) : choice.min;
}

void kith__trial_note(struct kith_trial *trial, const char *text)
{
    struct kith_simapp world = {
        .sim = trial->sim, .name = "world", .trace = trial->trace, .trace_ctx = trial->sink_ctx
    };

    kith__simapp_note(&world, "%s", text);
}

/* ---- Set up ---- */

void kith__trial_choose_link(struct kith_trial *trial, struct kith_sim_link *link)
{
    const struct kith_trial_net *net = &trial->scenario->net;

    *link = (struct kith_sim_link) {
        .delay_ns = kith__trial_choose(trial, net->delay_us) * 1000,
        .jitter_ns = kith__trial_choose(trial, net->jitter_us) * 1000,
        .loss_ppm = (uint32_t)kith__trial_choose(trial, net->loss_ppm),
        .corrupt_ppm = (uint32_t)kith__trial_choose(trial, net->corrupt_ppm),
        .duplicate_ppm = (uint32_t)kith__trial_choose(trial, net->duplicate_ppm),
        .reorder_ppm = (uint32_t)kith__trial_choose(trial, net->reorder_ppm),
        .reorder_ns = kith__trial_choose(trial, net->reorder_us) * 1000,
        .rate = kith__trial_choose(trial, net->rate_kbit) * 1000,
        .queue_size = (size_t)kith__trial_choose(trial, net->queue_bytes),
        .mtu = (size_t)kith__trial_choose(trial, net->mtu),
        .mark_ppm = net->mark_ppm,
        .bleaches_ecn = net->bleaches_ecn,
    };
}

void kith__trial_add_mem(struct kith_trial *trial, const struct kith_simmem *simmem)
{
    KITH_ASSERT(trial->mem_count < KITH_TRIAL_MEMS_MAX);
    trial->mems[trial->mem_count++] = simmem;
}

struct kith_simapp *kith__trial_add_app(struct kith_trial *trial, const char *name,
                                        struct kith_sim_host_options *options, bool has_v6)
{
    static const char *const binds6[] = { "[::]:5000", "[::]:4433", "[::]:5000" };
    static const char *const binds[] = { "0.0.0.0:5000", "0.0.0.0:4433", "0.0.0.0:5000" };
    struct kith_simapp *app = &trial->apps[trial->app_count];
    uint64_t memory_max = trial->scenario->memory_max;

    KITH_ASSERT(trial->app_count < KITH_TRIAL_APPS_MAX);
    options->name = app->name = name;
    kith__simmem_init(&app->rt_mem, memory_max != 0 ? memory_max : MEMORY_MAX);
    app->lookups = trial->lookups;
    if (trial->relay_count != 0 || trial->lookups.publish[0] != NULL) {
        options->mem = &app->rt_mem.mem;
        kith__trial_add_mem(trial, &app->rt_mem);
    }
    app->relay_count = trial->relay_count;
    memcpy(app->relay_urls, trial->relay_urls, sizeof app->relay_urls);
    app->no_sockets = trial->no_sockets;
    KITH_ASSERT(kith__sim_host_new(trial->sim, options, &app->host) == 0);
    app->sim = trial->sim;
    app->rt = kith__sim_rt(app->host);
    app->transport = trial->transport;
    memset(app->secret.bytes, 10 + (int)trial->app_count, sizeof app->secret.bytes);
    app->bind = kith__trial_address(binds[trial->app_count]);
    if (has_v6)
        app->bind6 = kith__trial_address(binds6[trial->app_count]);
    app->seed = trial->seed * 1000 + trial->app_count * 100;
    app->trace = trial->trace;
    app->qlog = trial->qlog;
    app->trace_ctx = trial->sink_ctx;
    app->is_listening = trial->app_count == KITH_TRIAL_SERVER;
    app->answer = app->is_listening ? trial->scenario->answer : KITH_SIMAPP_ACCEPT;
    kith__simapp_init(app, memory_max != 0 ? memory_max : MEMORY_MAX);
    trial->app_count++;
    KITH_ASSERT(kith__simapp_start(app) == 0);
    return app;
}

void kith__trial_set_up(struct kith_trial *trial)
{
    const struct kith_trial_net *net = &trial->scenario->net;
    struct kith_sim_nat_options nat = { .outer = kith__trial_address("10.0.1.1:0") };
    struct kith_sim_host_options client = { .block_ppm = net->block_ppm, .block_ns = KITH_NS_PER_MS };
    struct kith_sim_host_options server = { .block_ppm = net->block_ppm, .block_ns = KITH_NS_PER_MS };

    if (net->has_nat)
        KITH_ASSERT(kith__sim_nat_new(trial->sim, &nat, &trial->nat) == 0);
    client.nat = trial->nat;
    client.addrs[0] = kith__trial_address(net->has_nat ? "192.168.1.2:0" : "10.0.0.1:0");
    client.addrs[1] = kith__trial_address(net->has_nat ? "192.168.1.3:0" : "10.0.0.3:0");
    server.addrs[0] = kith__trial_address("10.0.0.2:0");
    if (net->has_server_nat) {
        struct kith_sockaddr inner = kith__trial_address("192.168.2.2:4433");

        nat.outer = server.addrs[0];
        KITH_ASSERT(kith__sim_nat_new(trial->sim, &nat, &trial->server_nat) == 0);
        KITH_ASSERT(kith__sim_nat_forward(trial->server_nat, inner.port, &inner) == 0);
        server.nat = trial->server_nat;
        server.addrs[0] = kith__trial_address("192.168.2.2:0");
    }
    kith__trial_choose_link(trial, &client.up);
    kith__trial_choose_link(trial, &server.up);
    if (net->client_up_only)
        server.up = (struct kith_sim_link) { .delay_ns = client.up.delay_ns };
    if (net->server_up_only)
        client.up = (struct kith_sim_link) { .delay_ns = server.up.delay_ns };
    kith__trial_add_app(trial, "client", &client, false);
    kith__trial_add_app(trial, "server", &server, false);
    trial->result->capacity = KITH_MAX(client.up.rate, server.up.rate);
}

struct kith_simapp *kith__trial_add_client(struct kith_trial *trial)
{
    struct kith_sim_host_options other = { .addrs[0] = kith__trial_address("10.0.0.9:0") };

    other.up.delay_ns = kith__sim_host_up(trial->apps[0].host)->delay_ns;
    return kith__trial_add_app(trial, "other", &other, false);
}

struct kith_simconn *kith__trial_dial(struct kith_trial *trial, const struct kith_simapp_plan *plan)
{
    struct kith_sockaddr addr = kith__trial_address("10.0.0.2:4433");
    struct kith_simconn *conn;

    KITH_ASSERT(
        kith__simapp_dial(&trial->apps[KITH_TRIAL_CLIENT], &trial->apps[KITH_TRIAL_SERVER], &addr, plan, &conn) == 0);
    return conn;
}

struct kith_simconn *kith__trial_server_conn(const struct kith_trial *trial)
{
    return trial->app_count > KITH_TRIAL_SERVER ? kith__simapp_newest(&trial->apps[KITH_TRIAL_SERVER]) : NULL;
}

struct kith_quic_path_info kith__trial_path(const struct kith_simconn *conn)
{
    struct kith_quic_path_info info = { 0 };

    if (conn->conn != NULL)
        (void)kith_quic_conn_paths(conn->conn, &info, 1);
    return info;
}

/* ---- Running ---- */

struct until {
    struct kith_trial *trial;
    bool (*done)(struct kith_trial *trial);
    uint64_t end_ns;
    bool has_begun;
};

static bool after_step(void *ctx)
{
    struct until *until = ctx;

    if (until->has_begun) /* before the first step the script may have left something to do in this instant */
        kith__simcheck_step(until->trial);
    until->has_begun = true;
    if (until->trial->sim->is_wrong)
        return true;
    return until->done != NULL && until->done(until->trial);
}

enum kith_sim_verdict kith__trial_until(struct kith_trial *trial, bool (*done)(struct kith_trial *trial),
                                        uint64_t for_ns)
{
    struct until until = { trial, done, kith__sim_now(trial->sim) + for_ns, false };
    enum kith_sim_verdict verdict = kith__sim_run(trial->sim, after_step, &until, until.end_ns);

    if (trial->sim->is_wrong)
        return KITH_SIM_WRONG;
    return done == NULL ? KITH_SIM_OK : verdict;
}

enum kith_sim_verdict kith__trial_demand(struct kith_trial *trial, bool fact, const char *text)
{
    if (!fact)
        kith__sim_wrong(trial->sim, text);
    return trial->sim->is_wrong ? KITH_SIM_WRONG : KITH_SIM_OK;
}

static bool all_is_done(struct kith_trial *trial)
{
    struct kith_simconn *client = kith__simapp_newest(&trial->apps[KITH_TRIAL_CLIENT]);
    struct kith_simconn *server = kith__trial_server_conn(trial);

    return client != NULL && server != NULL && client->is_connected && server->is_connected &&
           kith__simconn_is_done(client) && kith__simconn_is_done(server);
}

enum kith_sim_verdict kith__trial_finish(struct kith_trial *trial)
{
    struct kith_simconn *client, *server;
    uint64_t limit = kith__trial_choose(trial, trial->scenario->limit_s);

    TRY(kith__trial_until(trial, all_is_done, (limit != 0 ? limit : 300) * KITH_NS_PER_S));
    client = kith__simapp_newest(&trial->apps[KITH_TRIAL_CLIENT]);
    server = kith__trial_server_conn(trial);
    DEMAND(client->flows_done >= client->plan.streams + client->plan.uni_streams);
    /* A stream that was reset before any byte of it left may never be seen by the other side. */
    DEMAND(server->flows_done >= client->flows_done || client->plan.reset_every != 0);
    return KITH_SIM_OK;
}

static bool all_is_over(struct kith_trial *trial)
{
    for (size_t i = 0; i < trial->app_count; i++)
        KITH_LIST_EACH(node, &trial->apps[i].conns)
    if (!KITH_CONTAINER(node, struct kith_simconn, node)->is_drained)
        return false;
    return true;
}

enum kith_sim_verdict kith__trial_close(struct kith_trial *trial)
{
    for (size_t i = 0; i < trial->app_count; i++)
        trial->apps[i].may_end = true; /* a first packet may still be on its way */
    for (size_t i = 0; i < trial->app_count; i++)
        KITH_LIST_EACH(node, &trial->apps[i].conns)
    KITH_CONTAINER(node, struct kith_simconn, node)->may_end = true;
    for (size_t i = 0; i < trial->app_count; i++)
        KITH_LIST_EACH(node, &trial->apps[i].conns)
    if (!trial->apps[i].is_listening)
        kith__simapp_close(KITH_CONTAINER(node, struct kith_simconn, node), 5);
    return kith__trial_until(trial, all_is_over, 120 * KITH_NS_PER_S);
}

static void heal_link(struct kith_sim_link *link)
{
    *link = (struct kith_sim_link) { .delay_ns = link->delay_ns, .rate = link->rate, .queue_size = link->queue_size };
}

void kith__trial_heal(struct kith_trial *trial)
{
    kith__trial_note(trial, "the network heals");
    for (size_t i = 0; i < trial->app_count; i++) {
        heal_link(kith__sim_host_up(trial->apps[i].host));
        heal_link(kith__sim_host_down(trial->apps[i].host));
        kith__sim_host_set_down(trial->apps[i].host, false);
    }
}

void kith__trial_measure(struct kith_trial *trial, struct kith_simconn *conn, uint64_t bytes, uint64_t from_ns)
{
    uint64_t until_ns = KITH_MAX(conn->last_read_ns, from_ns + 1);

    trial->result->goodput = (uint64_t)((double)bytes * 8e9 / (double)(until_ns - from_ns));
}

/* ---- The whole ---- */

static void on_log(void *ctx, enum kith_log_level level, const char *part, const char *text)
{
    struct kith_trial *trial = ctx;
    char line[512];

    (void)level;
    snprintf(line, sizeof line, "%s: %s", part, text);
    kith__trial_note(trial, line);
}

static void note_paths(struct kith_simconn *conn)
{
    struct kith_quic_path_info paths[KITH_QUIC_PATHS_MAX];
    size_t count = conn->conn != NULL ? kith_quic_conn_paths(conn->conn, paths, KITH_COUNT(paths)) : 0;

    if (conn->conn != NULL)
        kith__simapp_note(conn->app, "deadline %.6f", (double)kith__conn_deadline(conn->conn) / 1e9);
    for (size_t i = 0; i < KITH_MIN(count, KITH_COUNT(paths)); i++)
        kith__simapp_note(
            conn->app, "path %u%s%s%s: window %llu, in flight %llu, rtt %llu us, mtu %u, probe timeouts %llu",
            (unsigned)paths[i].id, paths[i].is_validated ? "" : ", not validated", paths[i].is_backup ? ", backup" : "",
            paths[i].is_silent ? ", silent" : "", (unsigned long long)paths[i].congestion_window,
            (unsigned long long)paths[i].in_flight_size, (unsigned long long)paths[i].rtt_ns / 1000, paths[i].udp_size,
            (unsigned long long)paths[i].probe_timeouts);
}

/* What a stuck trial waited for. */
static void note_state(struct kith_trial *trial)
{
    for (size_t i = 0; i < trial->app_count; i++)
        KITH_LIST_EACH(node, &trial->apps[i].conns)
        {
            struct kith_simconn *conn = KITH_CONTAINER(node, struct kith_simconn, node);

            kith__simapp_note(conn->app,
                              "connected %d, confirmed %d, closed %d, drained %d, %u opened, %u open, %u done",
                              conn->is_connected, conn->is_confirmed, conn->is_closed, conn->is_drained, conn->opened,
                              conn->flows_open, conn->flows_done);
            note_paths(conn);
            KITH_LIST_EACH(at, &conn->flows)
            {
                const struct kith_simflow *flow = KITH_CONTAINER(at, struct kith_simflow, node);

                kith__simapp_note(conn->app, "stream %llu: out %llu/%llu%s, in %llu/%llu%s",
                                  (unsigned long long)flow->stream, (unsigned long long)flow->out_done,
                                  (unsigned long long)flow->out_total, flow->out_over ? " over" : "",
                                  (unsigned long long)flow->in_done, (unsigned long long)flow->in_total,
                                  flow->in_over ? " over" : "");
            }
        }
}

static void tear_down(struct kith_trial *trial)
{
    for (size_t i = 0; i < trial->app_count; i++) {
        trial->result->memory_peak = KITH_MAX(trial->result->memory_peak, trial->apps[i].simmem.peak);
        kith__simcheck_stop(trial, (int)i);
        kith__sim_host_set_down(trial->apps[i].host, false);
    }
    /* What is under way arrives at closed ports. */
    (void)kith__sim_run(trial->sim, NULL, NULL, kith__sim_now(trial->sim) + 100 * KITH_NS_PER_S);
    kith__simcheck_end(trial);
}

void kith__trial_run(struct kith_trial *trial, const struct kith_scenario *scenario, uint64_t seed,
                     struct kith_trial_result *result)
{
    struct kith_log log = { on_log, trial, KITH_LOG_TRACE };
    enum kith_sim_verdict verdict;

    trial->scenario = scenario;
    trial->seed = seed;
    trial->result = result;
    kith__prng_init(&trial->prng, seed ^ 0x5eed);
    kith_quic_transport_defaults(&trial->transport);
    trial->transport.qlog = trial->qlog != NULL;
    trial->transport.congestion = scenario->congestion;
    if (seed % 4 == 3) /* plain RFC 9000 stays tested; set-ups with several ways turn it on again */
        trial->transport.paths_max = 0;
    KITH_ASSERT(kith__sim_new(NULL, trial->trace != NULL ? &log : NULL, seed, &trial->sim) == 0);
    verdict = scenario->play(trial, scenario);
    result->virtual_ns = kith__sim_now(trial->sim) - KITH_NS_PER_S;
    snprintf(result->why, sizeof result->why, "%s", kith__sim_why(trial->sim));
    if (verdict != KITH_SIM_OK)
        note_state(trial);
    if (verdict == KITH_SIM_OK || trial->sim->is_wrong) {
        tear_down(trial);
        if (trial->sim->is_wrong)
            verdict = KITH_SIM_WRONG;
        snprintf(result->why, sizeof result->why, "%s", kith__sim_why(trial->sim));
    } else {
        for (size_t i = 0; i < trial->app_count; i++)
            kith__simapp_stop(&trial->apps[i]);
    }
    kith__simkeeper_stop(&trial->keeper);
    for (size_t i = 0; i < trial->app_count; i++)
        kith__simapp_dispose(&trial->apps[i]);
    result->verdict = (int)verdict;
    result->hash = kith__sim_hash(trial->sim);
    result->stats = kith__sim_stats(trial->sim);
    result->steps = trial->check.steps;
    result->walks = trial->check.walks;
    kith__sim_free(trial->sim);
    for (size_t i = 0; i < trial->mem_count; i++)
        if (trial->mems[i]->live != 0 && verdict == KITH_SIM_OK) {
            result->verdict = KITH_SIM_WRONG;
            snprintf(result->why, sizeof result->why, "host %zu: %llu bytes were not given back", i,
                     (unsigned long long)trial->mems[i]->live);
        }
}
