/* The first packets: Retry, refusal, silence, resumption, 0-RTT, versions. */
#include "trial.h"

#include "base/assert.h"

#include <string.h>

#define BAD_NET                                                                                                        \
    {                                                                                                                  \
        .delay_us = { 1000, 40000 }, .loss_ppm = { 0, 250000 }, .duplicate_ppm = { 0, 100000 },                        \
        .reorder_ppm = { 0, 100000 }, .reorder_us = {                                                                  \
            1000,                                                                                                      \
            30000                                                                                                      \
        }                                                                                                              \
    }
#define LOSSY(percent)                                                                                                 \
    {                                                                                                                  \
        .delay_us = { 1000, 40000 }, .loss_ppm = {(percent)*10000, (percent)*10000 }                                   \
    }
#define SMALL_PLAN                                                                                                     \
    {                                                                                                                  \
        .streams = 3, .up_max = 5000, .down_max = 5000                                                                 \
    }

static enum kith_sim_verdict play_plain(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    kith__trial_set_up(trial);
    kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    DEMAND(scenario->answer != KITH_SIMAPP_RETRY || trial->apps[KITH_TRIAL_SERVER].retries > 0);
    return kith__trial_close(trial);
}

/* The network is silent, one way or both, at a random point of the first few round trips. */
static enum kith_sim_verdict play_blackout(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    uint64_t ways = kith__trial_choose(trial, (struct kith_choice) { 1, 3 });
    uint64_t from_ns, until_ns;

    kith__trial_set_up(trial);
    from_ns = kith__sim_now(trial->sim) +
              kith__trial_choose(trial, (struct kith_choice) { 0, 4 * scenario->net.delay_us.max }) * KITH_NS_PER_US;
    until_ns = from_ns + kith__trial_choose(trial, scenario->extra) * KITH_NS_PER_MS;
    for (size_t i = 0; i < 2; i++)
        if ((ways >> i & 1) != 0) {
            struct kith_sim_link *link = kith__sim_host_up(trial->apps[i].host);

            link->blackouts[0].from_ns = from_ns;
            link->blackouts[0].until_ns = until_ns;
        }
    kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    return kith__trial_close(trial);
}

/*
 * The client knows several addresses of the server: some dead, some not, of both families, in any order. One connection
 * comes of it, with Retry in half of the seeds, and every other copy of its first packet makes no second one.
 */
static enum kith_sim_verdict play_several_addresses(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    static const char *const texts[] = { "10.0.0.2:4433", "[2001:db8::2]:4433", "10.0.0.77:4433", "[2001:db8::77]:4433",
                                         "10.0.2.2:4433" };
    struct kith_sim_interface_options second = { .addrs[0] = kith__trial_address("10.0.2.2:0") };
    struct kith_sockaddr addrs[KITH_COUNT(texts)], first;
    struct kith_simapp *app;
    struct kith_simconn *conn;
    unsigned index;

    kith__trial_set_up_ways(trial, 1);
    app = &trial->apps[KITH_TRIAL_CLIENT];
    KITH_ASSERT(kith__sim_interface_add(trial->apps[KITH_TRIAL_SERVER].host, &second, &index) == 0);
    trial->apps[KITH_TRIAL_SERVER].answer = kith__trial_choose(trial, (struct kith_choice) { 0, 1 }) != 0
                                                ? KITH_SIMAPP_RETRY
                                                : KITH_SIMAPP_ACCEPT;
    for (size_t i = 0; i < KITH_COUNT(texts); i++) { /* shuffled: each new one changes places with any before it */
        size_t place = (size_t)kith__trial_choose(trial, (struct kith_choice) { 0, i });

        addrs[i] = addrs[place];
        addrs[place] = kith__trial_address(texts[i]);
    }
    memcpy(app->also, addrs + 1, sizeof app->also);
    app->also_count = KITH_COUNT(app->also);
    KITH_ASSERT(kith__simapp_dial(app, &trial->apps[KITH_TRIAL_SERVER], &addrs[0], &scenario->plan, &conn) == 0);
    TRY(kith__trial_finish(trial));
    first = kith__trial_path(conn).remote;
    DEMAND(first.ip[first.family == KITH_FAMILY_V4 ? 3 : 15] == 2);
    DEMAND(kith__trial_server_conn(trial)->node.prev == &trial->apps[KITH_TRIAL_SERVER].conns); /* the only one */
    return kith__trial_close(trial);
}

static bool has_incoming(struct kith_trial *trial)
{
    return trial->apps[KITH_TRIAL_SERVER].incoming > 0;
}

/* The answers to the first packet come from another address: the client takes it for the server's (spec/01, 1.7). */
static enum kith_sim_verdict play_server_moves(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_sockaddr away = kith__trial_address("10.0.0.22:0");
    struct kith_simconn *conn;

    kith__trial_set_up(trial);
    conn = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_until(trial, has_incoming, 60 * KITH_NS_PER_S));
    kith__trial_note(trial, "the server moves");
    KITH_ASSERT(kith__sim_nat_move(trial->server_nat, &away) == 0);
    TRY(kith__trial_finish(trial));
    DEMAND(kith__trial_path(conn).remote.ip[3] == 22);
    return kith__trial_close(trial);
}

static bool client_is_over(struct kith_trial *trial)
{
    return kith__simapp_newest(&trial->apps[0])->is_drained;
}

/* A client that is refused, or gets no answer, ends with that reason. */
static enum kith_sim_verdict play_no_entry(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simconn *client;

    kith__trial_set_up(trial);
    client = kith__trial_dial(trial, &scenario->plan);
    client->may_end = true;
    TRY(kith__trial_until(trial, client_is_over, 200 * KITH_NS_PER_S));
    DEMAND(!client->is_connected);
    if (scenario->answer == KITH_SIMAPP_IGNORE)
        DEMAND(client->err == KITH_ERR_IDLE || client->err == KITH_ERR_TIMEOUT);
    else
        DEMAND(client->err == KITH_ERR_REFUSED);
    return KITH_SIM_OK;
}

static bool has_session(struct kith_trial *trial)
{
    return trial->apps[0].session_size > 0;
}

/* A second connection resumes; with 0-RTT its first bytes travel before the handshake ends. */
static enum kith_sim_verdict play_resumption(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simapp_plan plan = scenario->plan;
    struct kith_simconn *second;

    kith__trial_set_up(trial);
    plan.early = false;
    kith__trial_dial(trial, &plan);
    TRY(kith__trial_finish(trial));
    TRY(kith__trial_until(trial, has_session, 60 * KITH_NS_PER_S));
    TRY(kith__trial_close(trial));
    trial->apps[KITH_TRIAL_SERVER].answer = kith__trial_choose(trial, (struct kith_choice) { 0, 1 }) != 0
                                                ? KITH_SIMAPP_RETRY
                                                : KITH_SIMAPP_ACCEPT;
    second = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    DEMAND(!scenario->plan.early || (second->early_ready && second->early_accepted));
    return kith__trial_close(trial);
}

/* The server starts anew between the two: its ticket keys are gone, 0-RTT is rejected and sent again. */
static enum kith_sim_verdict play_early_rejected(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_simapp_plan plan = scenario->plan;
    struct kith_simconn *second;

    kith__trial_set_up(trial);
    plan.early = false;
    kith__trial_dial(trial, &plan);
    TRY(kith__trial_finish(trial));
    TRY(kith__trial_until(trial, has_session, 60 * KITH_NS_PER_S));
    TRY(kith__trial_close(trial));
    kith__simcheck_stop(trial, KITH_TRIAL_SERVER);
    KITH_ASSERT(kith__simapp_start(&trial->apps[KITH_TRIAL_SERVER]) == 0);
    second = kith__trial_dial(trial, &scenario->plan);
    TRY(kith__trial_finish(trial));
    DEMAND(second->early_ready && !second->early_accepted);
    return kith__trial_close(trial);
}

/* ---- Versions: one side is not kith but a bare socket ---- */

struct bare {
    struct kith_rt_udp *udp;
    uint8_t bytes[1500];
    struct kith_quic_received last;
    uint64_t count;
    bool answers; /* every long header gets a Version Negotiation with a version that nobody speaks */
};

static void bare_on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct bare *bare = ctx;

    (void)now_ns;
    for (size_t i = 0; i < count; i++) {
        size_t size = KITH_MIN(batch[i].size, sizeof bare->bytes);
        struct kith_quic_transmit transmit = { .remote = batch[i].remote };
        uint8_t reply[64] = { 0x80, 0, 0, 0, 0 };
        const uint8_t *in = batch[i].bytes;
        size_t dcid = in[5], scid = in[6 + dcid], at = 5;

        memcpy(bare->bytes, in, size);
        bare->last = batch[i];
        bare->count++;
        if (!bare->answers || dcid > 20 || scid > 20)
            continue;
        reply[at++] = (uint8_t)scid;
        memcpy(reply + at, in + 7 + dcid, scid);
        at += scid;
        reply[at++] = (uint8_t)dcid;
        memcpy(reply + at, in + 6, dcid);
        at += dcid;
        memcpy(reply + at, "\x1a\x2a\x3a\x4a\x6b\x33\x43\xcf", 8);
        transmit.size = at + 8;
        KITH_ASSERT(kith__rt_udp_send(bare->udp, &transmit, reply) == 0);
    }
}

static void bare_open(struct kith_trial *trial, struct bare *bare, const char *ip, const char *bind)
{
    struct kith_sim_host_options options = { .name = "bare", .no_gro = true };
    struct kith_rt_udp_events events = { bare_on_receive, NULL, bare };
    struct kith_rt_udp_options udp = { .local = kith__trial_address(bind) };
    struct kith_sim_host *host;

    options.addrs[0] = kith__trial_address(ip);
    KITH_ASSERT(kith__sim_host_new(trial->sim, &options, &host) == 0);
    KITH_ASSERT(kith__rt_udp_open(kith__sim_rt(host), &udp, &events, &bare->udp) == 0);
}

/* Someone speaks another version: the server names the one it speaks, and makes no connection. */
static enum kith_sim_verdict play_other_version(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_quic_transmit transmit = { .remote = kith__trial_address("10.0.0.2:4433"), .size = 1200 };
    static struct bare bare;
    uint8_t bytes[1200] = { 0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 3, 0xa, 0xb, 0xc };
    static const uint8_t expected[] = { 0, 0, 0, 0, 3, 0xa, 0xb, 0xc, 8, 1, 2, 3, 4, 5, 6, 7, 8 };
    struct kith_quic_host_stats stats;
    bool names_v1 = false;

    (void)scenario;
    kith__trial_set_up(trial);
    bare_open(trial, &bare, "10.0.0.8:0", "0.0.0.0:7");
    KITH_ASSERT(kith__rt_udp_send(bare.udp, &transmit, bytes) == 0);
    TRY(kith__trial_until(trial, NULL, KITH_NS_PER_S));
    trial->check.sent += bare.count; /* what the bare host sent: as many as it got */
    kith_quic_host_stats(kith__driver_host(trial->apps[KITH_TRIAL_SERVER].driver), &stats);
    kith__rt_udp_close(bare.udp);
    DEMAND(bare.count == 1 && stats.version_negotiations_sent == 1 && stats.conns_opened == 0);
    DEMAND((bare.bytes[0] & 0x80) != 0 && memcmp(bare.bytes + 1, expected, sizeof expected) == 0);
    for (size_t at = 1 + sizeof expected; at + 4 <= bare.last.size; at += 4)
        names_v1 |= memcmp(bare.bytes + at, "\0\0\0\1", 4) == 0;
    DEMAND(names_v1);
    return KITH_SIM_OK;
}

/* The server speaks no version of ours: the client ends with VERSION. */
static enum kith_sim_verdict play_no_version(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    struct kith_sockaddr addr = kith__trial_address("10.0.0.8:7");
    static struct bare bare = { .answers = true };
    struct kith_simconn *client;

    kith__trial_set_up(trial);
    bare_open(trial, &bare, "10.0.0.8:0", "0.0.0.0:7");
    KITH_ASSERT(kith__simapp_dial(&trial->apps[0], &trial->apps[1], &addr, &scenario->plan, &client) == 0);
    client->may_end = true;
    TRY(kith__trial_until(trial, client_is_over, 60 * KITH_NS_PER_S));
    TRY(kith__trial_until(trial, NULL, KITH_NS_PER_S));
    trial->check.sent += bare.count;
    kith__rt_udp_close(bare.udp);
    DEMAND(client->err == KITH_ERR_VERSION);
    return KITH_SIM_OK;
}

const struct kith_scenario kith__scenarios_handshake[] = {
    { .name = "handshake-loss-0", .play = play_plain, .net = LOSSY(0), .plan = SMALL_PLAN },
    { .name = "handshake-loss-1", .play = play_plain, .net = LOSSY(1), .plan = SMALL_PLAN },
    { .name = "handshake-loss-5", .play = play_plain, .net = LOSSY(5), .plan = SMALL_PLAN },
    { .name = "handshake-loss-10", .play = play_plain, .net = LOSSY(10), .plan = SMALL_PLAN },
    { .name = "handshake-loss-20", .play = play_plain, .net = LOSSY(20), .plan = SMALL_PLAN },
    { .name = "handshake-loss-30", .play = play_plain, .net = LOSSY(30), .plan = SMALL_PLAN },
    { .name = "handshake-blackout",
      .play = play_blackout,
      .net = { .delay_us = { 1000, 40000 }, .loss_ppm = { 0, 20000 } },
      .extra = { 50, 8000 },
      .plan = SMALL_PLAN },
    { .name = "handshake-several-addresses", .play = play_several_addresses, .net = BAD_NET, .plan = SMALL_PLAN },
    { .name = "handshake-server-moves",
      .play = play_server_moves,
      .net = { .delay_us = { 1000, 40000 }, .loss_ppm = { 0, 100000 }, .has_server_nat = true },
      .plan = SMALL_PLAN },
    { .name = "handshake-bad-network", .play = play_plain, .net = BAD_NET, .plan = SMALL_PLAN },
    { .name = "handshake-retry", .play = play_plain, .net = BAD_NET, .plan = SMALL_PLAN, .answer = KITH_SIMAPP_RETRY },
    { .name = "handshake-refused",
      .play = play_no_entry,
      .net = { .delay_us = { 1000, 40000 }, .loss_ppm = { 0, 50000 } },
      .plan = SMALL_PLAN,
      .answer = KITH_SIMAPP_REFUSE },
    { .name = "handshake-ignored",
      .play = play_no_entry,
      .net = { .delay_us = { 1000, 40000 } },
      .plan = SMALL_PLAN,
      .answer = KITH_SIMAPP_IGNORE },
    { .name = "handshake-resumption", .known_seed = 330, .play = play_resumption, .net = BAD_NET, .plan = SMALL_PLAN },
    { .name = "handshake-early-data",
      .play = play_resumption,
      .net = BAD_NET,
      .plan = { .streams = 5, .up_max = 20000, .down_max = 5000, .early = true } },
    { .name = "handshake-early-data-rejected",
      .known_seed = 503,
      .play = play_early_rejected,
      .net = BAD_NET,
      .plan = { .streams = 5, .up_max = 20000, .down_max = 5000, .early = true } },
    { .name = "handshake-other-version", .play = play_other_version, .seeds_percent = 5, .plan = SMALL_PLAN },
    { .name = "handshake-no-version", .play = play_no_version, .seeds_percent = 5, .plan = SMALL_PLAN },
    { 0 }
};
