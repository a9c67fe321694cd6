#include "relay_house.h"

#include "base/assert.h"
#include "server/relay_worker_parts.h"

#include <stdio.h>

enum { MEMORY_MAX = 64 << 20 };

static bool on_told(void *ctx, const struct kith_relay_told *told)
{
    struct kith_simhouse *house = ctx;

    if (told->kind == KITH_RELAY_EVENT_READY)
        house->clients++;
    else if (told->kind == KITH_RELAY_EVENT_ENDED)
        house->ends[told->end]++;
    return true;
}

void kith__simhouse_open(struct kith_simhouse *house, struct kith_trial *trial, unsigned number)
{
    struct kith_sim_host_options options = { .name = house->name, .mem = &house->rt_mem.mem };
    char address[32];

    *house = (struct kith_simhouse) { .trial = trial };
    kith__simmem_init(&house->mem, MEMORY_MAX);
    kith__simmem_init(&house->rt_mem, MEMORY_MAX);
    kith__trial_add_mem(trial, &house->rt_mem);
    snprintf(house->name, sizeof house->name, "relay%u", number);
    snprintf(address, sizeof address, "10.0.9.%u:0", number);
    snprintf(house->url, sizeof house->url, "http://10.0.9.%u/", number);
    options.addrs[0] = kith__trial_address(address);
    kith__trial_choose_link(trial, &options.up);
    kith__trial_choose_link(trial, &options.down);
    KITH_ASSERT(kith__sim_host_new(trial->sim, &options, &house->host) == 0);
    kith__simhouse_start(house);
}

void kith__simhouse_start(struct kith_simhouse *house)
{
    static const struct kith_relay_admission_limits limits = { .connections_max = 100 };
    struct kith_sockaddr at = kith__sim_interface_addr(house->host, 0, 0), bound;
    struct kith_relay_worker_options options = { .rt = kith__sim_rt(house->host),
                                                 .mem = &house->mem.mem,
                                                 .shared = &house->shared,
                                                 .routes = &house->routes,
                                                 .limits = &house->limits,
                                                 .tell = on_told,
                                                 .ctx = house };

    KITH_ASSERT(house->worker == NULL);
    kith__trial_note(house->trial, "a relay starts");
    kith__sim_host_set_down(house->host, false);
    KITH_ASSERT(kith__relay_shared_init(&house->shared, &house->mem.mem, NULL, 1) == 0);
    house->shared.version = "sim";
    KITH_ASSERT(kith__relay_admission_new(&house->mem.mem, NULL, &limits, 1, &house->shared.admission) == 0);
    KITH_ASSERT(kith__relay_routes_local_new(&house->mem.mem, house->trial->seed, &house->routes) == 0);
    KITH_ASSERT(kith__relay_worker_new(&options, &house->worker) == 0);
    at.port = 80;
    KITH_ASSERT(kith__relay_worker_listen(house->worker, KITH_RELAY_DOOR_PLAIN, &at, false, &bound) == 0);
}

static bool sums_match(const struct kith_simhouse *house)
{
    const struct kith_relay_counters *c = &house->shared.counters[0];
    struct kith_relay_session *session = NULL;
    uint64_t out = 0;

#define ADD(name) out += kith__relay_counter(&c->name);
    ADD(send_packets_sent)
    ADD(send_packets_dropped)
    ADD(drops_queue_full)
    ADD(drops_queue_share)
    ADD(drops_memory)
    ADD(drops_empty)
    ADD(drops_oversize)
    ADD(drops_rate_limited)
    ADD(drops_disconnect)
#undef ADD
    while ((session = kith__relay_server_next_session(house->worker->server, session)) != NULL)
        out += kith__relay_session_info(session).queued_frames;
    return kith__relay_counter(&c->send_packets_recv) == out;
}

void kith__simhouse_check(struct kith_simhouse *house)
{
    if (house->worker == NULL)
        return;
    house->trial->check.walks++;
    kith__relay_server_check(house->worker->server);
    if (!sums_match(house))
        kith__sim_wrong(house->trial->sim,
                        "a datagram at the relay is neither sent, nor waiting, nor counted as dropped");
    if (house->mem.refused + house->rt_mem.refused != 0)
        kith__sim_wrong(house->trial->sim, "the relay takes more memory than its limit");
}

void kith__simhouse_kill(struct kith_simhouse *house, bool with_machine)
{
    if (house->worker == NULL)
        return;
    kith__simhouse_check(house);
    kith__trial_note(house->trial, with_machine ? "a relay loses its power" : "a relay is killed");
    if (with_machine)
        kith__sim_host_set_down(house->host, true);
    else
        kith__sim_tcp_reset_all(house->host);
    kith__relay_worker_free(house->worker);
    house->worker = NULL;
    kith__relay_routes_free(&house->routes);
    kith__relay_shared_dispose(&house->shared);
    if (house->mem.live != 0)
        kith__sim_wrong(house->trial->sim, "the relay has not given back all of its memory");
}

void kith__simhouse_cut(struct kith_simhouse *house, bool is_cut)
{
    kith__trial_note(house->trial, is_cut ? "a relay is cut off" : "a relay is connected again");
    kith__sim_host_up(house->host)->is_cut = is_cut;
    kith__sim_host_down(house->host)->is_cut = is_cut;
}
