/*
 * The relay's server core under load and faults: slow readers, full queues, dead links, a machine that sleeps, a relay that dies and
 * returns, ten thousand clients, floods. After each instant its invariants hold (queues and memory within their bounds, every datagram
 * sent, waiting, or counted with a reason); each script says besides what honest clients must get.
 */
#include "relay_world.h"

#include "base/assert.h"
#include <string.h>

/* One relay at a time, in a process of its own. */
static struct kith_simrelay relay;

static struct kith_sim_link link_of(uint64_t delay_ms, uint64_t rate)
{
    return (struct kith_sim_link) { .delay_ns = delay_ms * KITH_NS_PER_MS, .rate = rate };
}

static uint64_t seeded(struct kith_trial *trial, uint64_t min, uint64_t max)
{
    return kith__trial_choose(trial, (struct kith_choice) { min, max });
}

static void open_with(struct kith_trial *trial, const struct kith_relay_server_limits *limits, size_t clients)
{
    struct kith_sim_link link = link_of(1, 0);

    kith__simrelay_open(&relay, trial, &link, limits, clients + 32);
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return kith__relay_counter(counter);
}

/** A pair that exchanges 100 datagrams of 1,200 bytes a second, over good links. */
static void add_honest_pair(struct kith_simrelay_client *out[2])
{
    struct kith_sim_link link = link_of(10, 0);

    for (int i = 0; i < 2; i++)
        out[i] = kith__simrelay_add(&relay, &link, 0);
    for (int i = 0; i < 2; i++)
        kith__simrelay_send(out[i], out[1 - i], 1200, 10 * KITH_NS_PER_MS);
}

/** What the pair got of what was sent in the meantime: at least 99 in 100, and in time. */
static enum kith_sim_verdict demand_honest(struct kith_trial *trial, struct kith_simrelay_client *pair[2],
                                           uint64_t delay_ms)
{
    for (int i = 0; i < 2; i++) {
        DEMAND(pair[i]->received_from[pair[1 - i]->index] + 50 >= pair[1 - i]->sent * 99 / 100);
        DEMAND(pair[i]->delay_max_ns[pair[1 - i]->index] <= delay_ms * KITH_NS_PER_MS);
        DEMAND(pair[i]->readies == 1);
    }
    return KITH_SIM_OK;
}

/** Forgets what came while clients were still connecting, once that has come. */
static enum kith_sim_verdict measure_from_now(struct kith_simrelay_client *pair[2])
{
    TRY(kith__simrelay_until(&relay, NULL, KITH_NS_PER_S));
    for (int i = 0; i < 2; i++) {
        pair[i]->sent = pair[i]->received = 0;
        pair[i]->received_from[pair[1 - i]->index] = pair[i]->delay_max_ns[pair[1 - i]->index] = 0;
    }
    return KITH_SIM_OK;
}

static enum kith_sim_verdict demand_ends(struct kith_trial *trial, uint64_t stalled, uint64_t others)
{
    uint64_t sum = 0;

    for (int i = 0; i <= KITH_RELAY_END_BY_US; i++)
        sum += i != KITH_RELAY_END_STALLED ? relay.ends[i] : 0;
    DEMAND(relay.ends[KITH_RELAY_END_STALLED] == stalled);
    DEMAND(sum == others);
    return KITH_SIM_OK;
}

/* Readers of every pace: some take a little now and then and are kept, some take nothing and are out after 2 s. */
static enum kith_sim_verdict slow_readers(struct kith_trial *trial)
{
    struct kith_simrelay_client *pair[2], *slow[6], *dead[4], *sender;
    struct kith_sim_link fast = link_of(10, 0);

    open_with(trial, NULL, 16);
    add_honest_pair(pair);
    for (size_t i = 0; i < KITH_COUNT(slow); i++) { /* 200 kbit/s to 2 Mbit/s */
        struct kith_sim_link link = link_of(seeded(trial, 5, 100), seeded(trial, 200, 2000) * 1000);

        slow[i] = kith__simrelay_add(&relay, &link, 16 << 10);
    }
    for (size_t i = 0; i < KITH_COUNT(dead); i++)
        dead[i] = kith__simrelay_add(&relay, &fast, 16 << 10);
    TRY(kith__simrelay_until(&relay, kith__simrelay_all_ready, 20 * KITH_NS_PER_S));
    TRY(measure_from_now(pair));
    for (size_t i = 0; i < KITH_COUNT(dead); i++)
        kith__simrelay_set_reading(dead[i], false);
    for (size_t i = 0; i < KITH_COUNT(slow) + KITH_COUNT(dead); i++) { /* 4.8 Mbit/s to each */
        struct kith_simrelay_client *to = i < KITH_COUNT(slow) ? slow[i] : dead[i - KITH_COUNT(slow)];

        sender = kith__simrelay_add(&relay, &fast, 0);
        kith__simrelay_send(sender, to, 1200, 2 * KITH_NS_PER_MS);
    }
    TRY(kith__simrelay_until(&relay, NULL, 4 * KITH_NS_PER_S));
    TRY(demand_ends(trial, KITH_COUNT(dead), 0));
    for (size_t i = 0; i < KITH_COUNT(dead); i++)
        kith__simrelay_set_reading(dead[i], true);
    TRY(kith__simrelay_until(&relay, NULL, 10 * KITH_NS_PER_S));
    for (size_t i = 0; i < KITH_COUNT(slow); i++) {
        DEMAND(slow[i]->readies == 1 && slow[i]->received > 100);
        DEMAND(slow[i]->machine.state == KITH_RELAY_CLIENT_READY);
    }
    DEMAND(count_of(&relay.counters.drops_queue_share) + count_of(&relay.counters.drops_queue_full) > 1000);
    TRY(demand_honest(trial, pair, 100));
    return KITH_SIM_OK;
}

/* Many senders to one receiver whose link takes a part of it: who asks for no more than a share gets it. */
static enum kith_sim_verdict full_queue(struct kith_trial *trial)
{
    struct kith_simrelay_client *target, *flood[3], *honest[5];
    struct kith_sim_link fast = link_of(5, 0), narrow = link_of(10, 10000000);

    open_with(trial, NULL, 16);
    target = kith__simrelay_add(&relay, &narrow, 64 << 10);
    for (size_t i = 0; i < KITH_COUNT(flood); i++)
        flood[i] = kith__simrelay_add(&relay, &fast, 0);
    for (size_t i = 0; i < KITH_COUNT(honest); i++)
        honest[i] = kith__simrelay_add(&relay, &fast, 0);
    TRY(kith__simrelay_until(&relay, kith__simrelay_all_ready, 10 * KITH_NS_PER_S));
    for (size_t i = 0; i < KITH_COUNT(flood); i++) /* 24 Mbit/s each, and a little more or less */
        kith__simrelay_send(flood[i], target, 1200, seeded(trial, 300, 500) * KITH_NS_PER_US);
    for (size_t i = 0; i < KITH_COUNT(honest); i++) /* 0.96 Mbit/s each: less than an eighth of 10 */
        kith__simrelay_send(honest[i], target, 1200, 10 * KITH_NS_PER_MS);
    TRY(kith__simrelay_until(&relay, NULL, 10 * KITH_NS_PER_S));
    for (size_t i = 0; i < KITH_COUNT(honest); i++)
        DEMAND(target->received_from[honest[i]->index] + 30 >= honest[i]->sent * 95 / 100);
    for (size_t i = 0; i < KITH_COUNT(flood); i++) /* and the floods share the rest */
        DEMAND(target->received_from[flood[i]->index] > 1200);
    DEMAND(target->readies == 1);
    TRY(demand_ends(trial, 0, 0));
    return KITH_SIM_OK;
}

static bool has_ended_all_dead(struct kith_simrelay *world)
{
    return world->ends[KITH_RELAY_END_STALLED] + world->ends[KITH_RELAY_END_PING_TIMEOUT] == 4;
}

/* Links that die without a word, with and without data under way; they come back, and so do the clients. */
static enum kith_sim_verdict half_open(struct kith_trial *trial)
{
    struct kith_simrelay_client *pair[2], *lost[4];
    struct kith_sim_link fast = link_of(10, 0);
    uint64_t from_ns;

    open_with(trial, NULL, 8);
    add_honest_pair(pair);
    for (int i = 0; i < 4; i++)
        lost[i] = kith__simrelay_add(&relay, &fast, 16 << 10);
    TRY(kith__simrelay_until(&relay, kith__simrelay_all_ready, 10 * KITH_NS_PER_S));
    TRY(measure_from_now(pair));
    for (int i = 0; i < 4; i++) /* all have sent to the pair, which is told when they are gone */
        kith__simrelay_send(lost[i], pair[i % 2], 100, 50 * KITH_NS_PER_MS);
    for (int i = 0; i < 2; i++) /* and for two of them there is data */
        kith__simrelay_send(kith__simrelay_add(&relay, &fast, 0), lost[i], 1200, KITH_NS_PER_MS);
    TRY(kith__simrelay_until(&relay, NULL, KITH_NS_PER_S));
    for (int i = 0; i < 4; i++)
        kith__sim_host_set_down(lost[i]->host, true);
    from_ns = kith__sim_now(trial->sim);
    TRY(kith__simrelay_until(&relay, has_ended_all_dead, 40 * KITH_NS_PER_S));
    DEMAND(kith__sim_now(trial->sim) - from_ns <= 27 * KITH_NS_PER_S); /* 15 + 5 of silence, 5 for the pong */
    DEMAND(relay.ends[KITH_RELAY_END_STALLED] >= 2);
    TRY(kith__simrelay_until(&relay, NULL, KITH_NS_PER_S));
    DEMAND(pair[0]->gone == 2 && pair[1]->gone == 2);
    for (int i = 0; i < 4; i++)
        kith__sim_host_set_down(lost[i]->host, false);
    TRY(kith__simrelay_until(&relay, kith__simrelay_all_ready, 60 * KITH_NS_PER_S));
    TRY(demand_honest(trial, pair, 100));
    return KITH_SIM_OK;
}

/* The relay's machine sleeps: short naps cost nobody the connection, after long ones everybody is back soon. */
static enum kith_sim_verdict clock_jumps(struct kith_trial *trial)
{
    struct kith_simrelay_client *pair[2];

    open_with(trial, NULL, 24);
    add_honest_pair(pair);
    for (int i = 0; i < 20; i++)
        (void)kith__simrelay_add(&relay, NULL, 0);
    TRY(kith__simrelay_until(&relay, kith__simrelay_all_ready, 10 * KITH_NS_PER_S));
    for (int i = 0; i < 5; i++) {
        TRY(kith__simrelay_sleep(&relay, seeded(trial, 100, 2200) * KITH_NS_PER_MS));
        TRY(kith__simrelay_until(&relay, NULL, seeded(trial, 1, 20) * KITH_NS_PER_S));
    }
    TRY(demand_ends(trial, 0, 0));
    for (int i = 0; i < 3; i++) {
        TRY(kith__simrelay_sleep(&relay, seeded(trial, 30, 1000) * KITH_NS_PER_S));
        TRY(kith__simrelay_until(&relay, NULL, 5 * KITH_NS_PER_S));
        TRY(kith__simrelay_until(&relay, kith__simrelay_all_ready, 60 * KITH_NS_PER_S));
        TRY(measure_from_now(pair));
        TRY(kith__simrelay_until(&relay, NULL, 5 * KITH_NS_PER_S));
        DEMAND(pair[0]->received > 450 && pair[1]->received > 450);
    }
    return KITH_SIM_OK;
}

/* The relay dies with everything that it knew, and starts again: all come back, and data flows. */
static enum kith_sim_verdict crash(struct kith_trial *trial)
{
    struct kith_simrelay_client *pair[2];

    open_with(trial, NULL, 64);
    add_honest_pair(pair);
    for (int i = 0; i < 50; i++)
        (void)kith__simrelay_add(&relay, NULL, 0);
    for (int i = 0; i < 3; i++) {
        TRY(kith__simrelay_until(&relay, kith__simrelay_all_ready, 60 * KITH_NS_PER_S));
        TRY(measure_from_now(pair));
        TRY(kith__simrelay_until(&relay, NULL, 5 * KITH_NS_PER_S));
        DEMAND(pair[0]->received > 450 && pair[1]->received > 450);
        if (i % 2 == 0) /* the whole machine, or the process alone: then the clients are told by the system */
            kith__sim_host_set_down(relay.host, true);
        kith__simrelay_crash(&relay);
        TRY(kith__simrelay_until(&relay, NULL, seeded(trial, 1, 30000) * KITH_NS_PER_MS));
        kith__sim_host_set_down(relay.host, false);
        kith__simrelay_start(&relay);
    }
    TRY(kith__simrelay_until(&relay, NULL, 25 * KITH_NS_PER_S)); /* the idle have noticed by then */
    TRY(kith__simrelay_until(&relay, kith__simrelay_all_ready, 60 * KITH_NS_PER_S));
    DEMAND(kith__relay_server_stats(relay.server).clients == 52);
    return KITH_SIM_OK;
}

/* Ten thousand clients, most of them idle for minutes; fifty pairs talk. */
static enum kith_sim_verdict ten_thousand(struct kith_trial *trial)
{
    enum { CLIENTS = 10000, TALKING = 100 };

    struct kith_relay_server_stats stats;
    uint64_t restarts = 0;

    open_with(trial, NULL, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        (void)kith__simrelay_add(&relay, NULL, 0);
        if (i % 100 == 99)
            TRY(kith__simrelay_until(&relay, NULL, 10 * KITH_NS_PER_MS));
    }
    TRY(kith__simrelay_until(&relay, kith__simrelay_all_ready, 60 * KITH_NS_PER_S));
    for (size_t i = 0; i < TALKING; i++)
        kith__simrelay_send(&relay.clients[i * 100], &relay.clients[(i ^ 1) * 100], 1200, 100 * KITH_NS_PER_MS);
    TRY(kith__simrelay_until(&relay, NULL, 60 * KITH_NS_PER_S));
    stats = kith__relay_server_stats(relay.server);
    DEMAND(stats.clients == CLIENTS && stats.endpoints == CLIENTS && stats.gone_pairs == TALKING);
    DEMAND(stats.queued_bytes < 1 << 20); /* the idle hold nothing */
    TRY(demand_ends(trial, 0, 0));
    for (size_t i = 0; i < TALKING; i++) {
        DEMAND(relay.clients[i * 100].received + 3 >= relay.clients[i * 100].sent);
    }
    DEMAND(count_of(&relay.counters.got_ping) >=
           3 * (CLIENTS - TALKING)); /* they ask each 15 s, so that the relay need not */
    kith__relay_server_drain(relay.server, 10 * KITH_NS_PER_S, 60 * KITH_NS_PER_S, kith__sim_now(trial->sim));
    TRY(kith__simrelay_until(&relay, NULL, 12 * KITH_NS_PER_S));
    DEMAND(relay.ends[KITH_RELAY_END_BY_US] == CLIENTS && kith__relay_server_session_count(relay.server) == 0);
    for (size_t i = 0; i < CLIENTS; i++)
        restarts += relay.clients[i].restarts;
    DEMAND(restarts >= CLIENTS * 99 / 100 && restarts <= CLIENTS); /* a reset may overtake the last words */
    return KITH_SIM_OK;
}

/* One who sends to itself and to nobody as fast as it can, with and without a rate limit. */
static enum kith_sim_verdict flood(struct kith_trial *trial)
{
    struct kith_relay_server_limits limits = { .rx_bytes_per_s = trial->seed % 2 != 0 ? 1000000 : 0 };
    static struct kith_simrelay_client nobody;
    struct kith_simrelay_client *pair[2], *to_itself, *to_nobody;
    struct kith_sim_link fast = link_of(1, 0);

    open_with(trial, &limits, 8);
    add_honest_pair(pair);
    to_itself = kith__simrelay_add(&relay, &fast, 0);
    to_nobody = kith__simrelay_add(&relay, &fast, 0);
    TRY(kith__simrelay_until(&relay, kith__simrelay_all_ready, 10 * KITH_NS_PER_S));
    TRY(measure_from_now(pair));
    memset(nobody.pair.id.bytes, 7, KITH_ID_SIZE);
    kith__simrelay_send(to_itself, to_itself, 1200, 20 * KITH_NS_PER_US); /* 60 MB/s each */
    kith__simrelay_send(to_nobody, &nobody, 1200, 20 * KITH_NS_PER_US);
    TRY(kith__simrelay_until(&relay, NULL, 3 * KITH_NS_PER_S));
    TRY(demand_honest(trial, pair, 60));
    TRY(demand_ends(trial, 0, 0));
    if (limits.rx_bytes_per_s != 0) {
        DEMAND(count_of(&relay.counters.drops_rate_limited) > 100000);
        DEMAND(count_of(&relay.counters.conns_rx_ratelimited_total) == 2);
    } else {
        DEMAND(count_of(&relay.counters.send_packets_dropped) > 100000);
    }
    return KITH_SIM_OK;
}

/** The scripts, by the scenario's `extra`. */
static enum kith_sim_verdict (*const scripts[])(struct kith_trial *trial) = {
    slow_readers, full_queue, half_open, clock_jumps, crash, ten_thousand, flood,
};

static enum kith_sim_verdict play(struct kith_trial *trial, const struct kith_scenario *scenario)
{
    enum kith_sim_verdict verdict = scripts[scenario->extra.min](trial), closed = kith__simrelay_close(&relay);

    return verdict != KITH_SIM_OK ? verdict : closed;
}

const struct kith_scenario kith__scenarios_relay[] = {
    { .name = "relay-slow-readers", .play = play, .extra = { 0 }, .seeds_percent = 10 },
    { .name = "relay-full-queue", .play = play, .extra = { 1 }, .seeds_percent = 10 },
    { .name = "relay-half-open", .play = play, .extra = { 2 }, .seeds_percent = 25 },
    { .name = "relay-clock-jumps", .play = play, .extra = { 3 }, .seeds_percent = 10 },
    { .name = "relay-crash-and-return", .play = play, .extra = { 4 }, .seeds_percent = 10 },
    { .name = "relay-10000-clients", .play = play, .extra = { 5 }, .seeds_percent = 1 },
    { .name = "relay-flood", .play = play, .extra = { 6 }, .seeds_percent = 5 },
    { 0 }
};
