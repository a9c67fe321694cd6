/* The clock of the simulated world: events, hosts and their turns. */
#include "rt/sim/world.h"
#include "base/assert.h"
#include "base/mem.h"
#include "rt/sim/tcp.h"

#include <stdio.h>

enum { ROUNDS_PER_INSTANT_MAX = 1000000 }; /* so often may hosts answer each other without time passing */

int kith__sim_event_add(struct kith_sim *sim, struct sim_event *event,
                        void (*run)(struct kith_sim *sim, struct sim_event *event))
{
    kith__heap_node_init(&event->node);
    event->run = run;
    return kith__heap_set(&sim->events, &event->node, KITH_NEVER);
}

void kith__sim_event_set(struct kith_sim *sim, struct sim_event *event, uint64_t at_ns)
{
    int err;

    KITH_ASSERT(event->node.index != KITH_HEAP_OUT);
    err = kith__heap_set(&sim->events, &event->node, KITH_MAX(at_ns, sim->now_ns));
    KITH_ASSERT(err == 0); /* it only moves */
}

void kith__sim_event_remove(struct kith_sim *sim, struct sim_event *event)
{
    kith__heap_remove(&sim->events, &event->node);
}

bool kith__sim_chance(struct kith_sim *sim, uint32_t ppm)
{
    return ppm != 0 && kith__random_below(&sim->random, 1000000) < ppm;
}

void kith__sim_host_ready(struct kith_sim_host *host)
{
    if (!host->is_down && !kith__list_is_linked(&host->ready))
        kith__list_push_back(&host->sim->ready, &host->ready);
}

/* ---- A host's rt ---- */

static void host_turn(struct kith_sim_host *host)
{
    if (host->is_down)
        return;
    KITH_ASSERT(!host->is_in_turn);
    host->is_in_turn = true;
    host->turns++;
    kith__rt_fire_timers(&host->rt, host->sim->now_ns);
    kith__sim_watches_tell(host);
    kith__sim_udp_deliver(host);
    if (host->was_woken) {
        host->was_woken = false;
        kith__rt_call_wake(&host->rt);
    }
    kith__rt_call_turn_end(&host->rt);
    host->is_in_turn = false;
}

static void sim_rt_free(struct kith_rt *rt)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);

    KITH_ASSERT(kith__list_is_empty(&host->sockets) && kith__list_is_empty(&host->listeners));
    KITH_ASSERT(kith__list_is_empty(&host->signals));
    KITH_ASSERT(kith__list_is_empty(&host->watches) && rt->timer_count == 0 && !host->is_in_turn);
    rt->hooks = (struct kith_rt_hooks) { 0 };
}

static uint64_t sim_rt_now(const struct kith_rt *rt)
{
    return kith__sim_host_of(rt)->sim->now_ns;
}

static uint64_t sim_rt_wall_us(const struct kith_rt *rt)
{
    const struct kith_sim_host *host = kith__sim_host_of(rt);

    return host->sim->wall_us + host->wall_us + sim_rt_now(rt) / KITH_NS_PER_US;
}

static void sim_rt_timers_changed(struct kith_rt *rt)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);

    kith__sim_event_set(host->sim, &host->timer, kith__rt_first_timer(rt));
}

static int sim_rt_fd(const struct kith_rt *rt)
{
    (void)rt;
    return -1;
}

static bool sim_rt_is_ready(const struct kith_rt *rt)
{
    return kith__list_is_linked(&kith__sim_host_of(rt)->ready);
}

static void sim_rt_process(struct kith_rt *rt)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);

    kith__list_remove(&host->ready);
    host_turn(host);
    kith__sim_udp_bury(host->sim);
}

static uint64_t next_time(const struct kith_sim *sim)
{
    if (!kith__list_is_empty(&sim->ready))
        return sim->now_ns;
    return kith__heap_first(&sim->events) != NULL ? kith__heap_first(&sim->events)->key : KITH_NEVER;
}

static void sim_rt_wait(struct kith_rt *rt, uint64_t until_ns)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    struct kith_sim *sim = host->sim;
    uint64_t turns = host->turns;

    while (host->turns == turns && !kith__list_is_linked(&host->ready) && sim->now_ns < until_ns) {
        uint64_t next = next_time(sim);

        /* With nothing left to happen and no limit the real rt would sleep for ever: end the test instead. */
        KITH_ASSERT(next != KITH_NEVER || until_ns != KITH_NEVER);
        if (next > until_ns) {
            sim->now_ns = until_ns;
            return;
        }
        kith__sim_step(sim);
    }
}

static void sim_rt_wake(struct kith_rt *rt)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);

    host->was_woken = true;
    kith__sim_host_ready(host);
}

/* ---- Names: numbers, and the names of hosts ---- */

struct sim_resolve {
    struct kith_rt_resolve head;
    struct sim_event event;
    struct kith_sockaddr addrs[KITH_SIM_HOST_ADDRS_MAX];
    size_t count;
};

static void resolve_free(struct kith_sim *sim, struct sim_resolve *resolve)
{
    kith__sim_event_remove(sim, &resolve->event);
    kith__free(resolve->head.rt->mem, resolve);
}

static void on_resolved(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_resolve *resolve = KITH_CONTAINER(event, struct sim_resolve, event);
    struct sim_resolve copy = *resolve;

    resolve_free(sim, resolve);
    copy.head.done(copy.head.ctx, copy.count > 0 ? 0 : KITH_ERR_NOT_FOUND, copy.addrs, copy.count);
    kith__sim_host_ready(kith__sim_host_of(copy.head.rt));
}

static void resolve_take(struct kith_sim_host *host, struct sim_resolve *resolve)
{
    struct kith_rt_interface listed[KITH_SIM_HOST_ADDRS_MAX];
    size_t count = 0;
    int err = kith__sim_rt_interfaces(&host->rt, listed, KITH_SIM_HOST_ADDRS_MAX - resolve->count, &count);

    KITH_ASSERT(err == 0);
    for (size_t i = 0; i < count; i++)
        resolve->addrs[resolve->count++] = listed[i].addr;
}

static void resolve_find(struct kith_sim *sim, const char *name, struct sim_resolve *resolve)
{
    char text[KITH_SOCKADDR_TEXT_SIZE + 256];
    size_t wanted = 0;

    snprintf(text, sizeof text, strchr(name, ':') != NULL ? "[%s]:0" : "%s:0", name);
    if (kith_sockaddr_parse(text, &resolve->addrs[0]) == 0) {
        resolve->count = 1;
    } else {
        KITH_LIST_EACH(node, &sim->hosts)
        {
            struct kith_sim_host *host = KITH_CONTAINER(node, struct kith_sim_host, node);

            if (strcmp(host->name, name) == 0)
                resolve_take(host, resolve);
        }
    }
    for (size_t i = 0; i < resolve->count; i++)
        if (resolve->head.family == KITH_FAMILY_NONE || resolve->addrs[i].family == resolve->head.family) {
            resolve->addrs[wanted] = resolve->addrs[i];
            resolve->addrs[wanted++].port = resolve->head.port;
        }
    resolve->count = wanted;
}

static int sim_rt_resolve(struct kith_rt *rt, const char *name, struct kith_rt_resolve *head,
                          struct kith_rt_resolve **out)
{
    struct kith_sim *sim = kith__sim_host_of(rt)->sim;
    struct sim_resolve *resolve = kith__alloc_zero(rt->mem, sizeof *resolve);

    if (resolve == NULL)
        return KITH_ERR_NOMEM;
    resolve->head = *head;
    if (kith__sim_event_add(sim, &resolve->event, on_resolved) != 0) {
        kith__free(rt->mem, resolve);
        return KITH_ERR_NOMEM;
    }
    resolve_find(sim, name, resolve);
    kith__sim_event_set(sim, &resolve->event, sim->now_ns);
    *out = &resolve->head;
    return 0;
}

static void sim_rt_resolve_cancel(struct kith_rt_resolve *head)
{
    resolve_free(kith__sim_host_of(head->rt)->sim, (struct sim_resolve *)head);
}

static const struct kith_rt_ops *ops_table(void)
{
    static struct kith_rt_ops ops = {
        .free = sim_rt_free,
        .now = sim_rt_now,
        .wall_us = sim_rt_wall_us,
        .timers_changed = sim_rt_timers_changed,
        .fd = sim_rt_fd,
        .is_ready = sim_rt_is_ready,
        .process = sim_rt_process,
        .wait = sim_rt_wait,
        .wake = sim_rt_wake,
        .udp_open = kith__sim_udp_open,
        .udp_close = kith__sim_udp_close,
        .udp_send = kith__sim_udp_send,
        .interfaces = kith__sim_rt_interfaces,
        .watch_open = kith__sim_watch_open,
        .watch_close = kith__sim_watch_close,
        .resolve = sim_rt_resolve,
        .resolve_cancel = sim_rt_resolve_cancel,
        .signal_open = kith__sim_signal_open,
        .signal_close = kith__sim_signal_close,
    };

    if (ops.file_open == NULL) {
        kith__sim_fs_ops(&ops);
        kith__sim_stream_ops(&ops);
    }
    return &ops;
}

/* ---- The world ---- */

int kith__sim_new(const struct kith_mem *mem, const struct kith_log *log, uint64_t seed, struct kith_sim **out)
{
    struct kith_sim *sim;

    if (mem == NULL)
        mem = kith_mem_default();
    if ((sim = kith__alloc_zero(mem, sizeof *sim)) == NULL)
        return KITH_ERR_NOMEM;
    sim->mem = mem;
    sim->wall_us = UINT64_C(1700000000000000);
    if (log != NULL)
        sim->log = *log;
    if ((sim->scratch = kith__alloc(mem, SIM_SCRATCH_SIZE)) == NULL) {
        kith__free(mem, sim);
        return KITH_ERR_NOMEM;
    }
    kith__prng_init(&sim->prng, seed);
    sim->random = kith__prng_source(&sim->prng);
    sim->now_ns = KITH_NS_PER_S;
    kith__heap_init(&sim->events, mem);
    kith__map_init(&sim->addresses, mem, seed);
    kith__list_init(&sim->hosts);
    kith__list_init(&sim->nats);
    kith__list_init(&sim->ready);
    kith__list_init(&sim->pool);
    kith__list_init(&sim->closed);
    kith__list_init(&sim->conns);
    *out = sim;
    return 0;
}

static void host_free(struct kith_sim_host *host)
{
    sim_rt_free(&host->rt);
    kith__sim_interfaces_dispose(host);
    kith__list_remove(&host->ready);
    kith__list_remove(&host->node);
    kith__sim_event_remove(host->sim, &host->timer);
    kith__sim_fs_dispose(host);
    kith__rt_dispose(&host->rt);
    kith__free(host->sim->mem, host);
}

void kith__sim_free(struct kith_sim *sim)
{
    if (sim == NULL)
        return;
    kith__sim_udp_bury(sim);
    kith__sim_tcp_bury(sim);
    kith__sim_pool_free(sim); /* with the datagrams under way */
    KITH_LIST_EACH_SAFE(node, after, &sim->hosts)
    host_free(KITH_CONTAINER(node, struct kith_sim_host, node));
    KITH_LIST_EACH_SAFE(node, after, &sim->nats)
    kith__sim_nat_free(KITH_CONTAINER(node, struct kith_sim_nat, node));
    KITH_ASSERT(sim->events.count == 0); /* else a stream or a lookup was left open */
    kith__heap_dispose(&sim->events);
    kith__map_dispose(&sim->addresses);
    kith__free(sim->mem, sim->scratch);
    kith__free(sim->mem, sim);
}

static void on_timer(struct kith_sim *sim, struct sim_event *event)
{
    struct kith_sim_host *host = KITH_CONTAINER(event, struct kith_sim_host, timer);

    kith__sim_event_set(sim, event, KITH_NEVER); /* the turn sets it again */
    kith__sim_host_ready(host);
}

int kith__sim_host_new(struct kith_sim *sim, const struct kith_sim_host_options *options, struct kith_sim_host **out)
{
    const struct kith_mem *mem = options->mem != NULL ? options->mem : sim->mem;
    struct kith_sim_interface_options first = { .nat = options->nat,
                                                .firewall = options->firewall,
                                                .up = options->up,
                                                .down = options->down,
                                                .mtu = options->interface_mtu };
    struct kith_sim_host *host;
    struct kith_random random;
    unsigned index;
    int err;

    if (sim->host_count == KITH_SIM_HOSTS_MAX)
        return KITH_ERR_LIMIT;
    if ((host = kith__alloc_zero(sim->mem, sizeof *host)) == NULL)
        return KITH_ERR_NOMEM;
    host->sim = sim;
    host->options = *options;
    snprintf(host->name, sizeof host->name, "%s", options->name != NULL ? options->name : "");
    host->options.name = host->name;
    if (host->options.tcp_window == 0)
        host->options.tcp_window = KITH_SIM_TCP_WINDOW;
    host->next_port = 40000;
    /* A generator of its own: what one host draws does not depend on how often another one does. */
    kith__prng_init(&host->prng, kith__prng_next(&sim->prng));
    random = kith__prng_source(&host->prng);
    kith__rt_init(&host->rt, ops_table(), mem, &sim->log, &random);
    kith__list_init(&host->ready);
    kith__list_init(&host->sockets);
    kith__list_init(&host->listeners);
    kith__list_init(&host->ends);
    kith__list_init(&host->signals);
    kith__list_init(&host->watches);
    kith__list_push_back(&sim->hosts, &host->node);
    kith__heap_node_init(&host->timer.node);
    memcpy(first.addrs, options->addrs, sizeof first.addrs);
    if ((err = kith__sim_event_add(sim, &host->timer, on_timer)) != 0 || (err = kith__sim_fs_init(host)) != 0 ||
        (err = kith__sim_interface_add(host, &first, &index)) != 0)
        goto fail;
    sim->host_count++;
    *out = host;
    return 0;
fail:
    host_free(host);
    return err;
}

struct kith_rt *kith__sim_rt(struct kith_sim_host *host)
{
    return &host->rt;
}

struct kith_sim *kith__sim_of(struct kith_rt *rt)
{
    return kith__sim_host_of(rt)->sim;
}

struct kith_sim_link *kith__sim_host_up(struct kith_sim_host *host)
{
    return kith__sim_interface_uplink(host, 0);
}

struct kith_sim_link *kith__sim_host_down(struct kith_sim_host *host)
{
    return kith__sim_interface_downlink(host, 0);
}

void kith__sim_host_set_down(struct kith_sim_host *host, bool is_down)
{
    host->is_down = is_down;
    if (is_down) {
        kith__list_remove(&host->ready);
        kith__sim_udp_clear(host);
    } else {
        kith__sim_host_ready(host); /* timers that passed meanwhile */
        kith__sim_streams_wake(host);
    }
}

int kith__sim_set_partition(struct kith_sim *sim, struct kith_sim_host *a, struct kith_sim_host *b, bool is_cut)
{
    for (size_t i = 0; i < sim->partition_count; i++) {
        bool is_same = (sim->partitions[i].a == a && sim->partitions[i].b == b) ||
                       (sim->partitions[i].a == b && sim->partitions[i].b == a);

        if (!is_same)
            continue;
        if (!is_cut)
            sim->partitions[i] = sim->partitions[--sim->partition_count];
        return 0;
    }
    if (!is_cut)
        return 0;
    if (sim->partition_count == KITH_SIM_PARTITIONS_MAX)
        return KITH_ERR_LIMIT;
    sim->partitions[sim->partition_count].a = a;
    sim->partitions[sim->partition_count++].b = b;
    return 0;
}

static bool is_blackhole(const struct kith_sim *sim, size_t i, const struct kith_sockaddr *from,
                         const struct kith_sockaddr *to)
{
    return kith_sockaddr_equal(&sim->blackholes[i].from, from) && kith_sockaddr_equal(&sim->blackholes[i].to, to);
}

int kith__sim_set_blackhole(struct kith_sim *sim, const struct kith_sockaddr *from, const struct kith_sockaddr *to,
                            bool is_on)
{
    for (size_t i = 0; i < sim->blackhole_count; i++) {
        if (!is_blackhole(sim, i, from, to))
            continue;
        if (!is_on)
            sim->blackholes[i] = sim->blackholes[--sim->blackhole_count];
        return 0;
    }
    if (!is_on)
        return 0;
    if (sim->blackhole_count == KITH_SIM_BLACKHOLES_MAX)
        return KITH_ERR_LIMIT;
    sim->blackholes[sim->blackhole_count].from = *from;
    sim->blackholes[sim->blackhole_count++].to = *to;
    return 0;
}

uint64_t kith__sim_now(const struct kith_sim *sim)
{
    return sim->now_ns;
}

static void run_events(struct kith_sim *sim)
{
    struct kith_heap_node *first;

    while ((first = kith__heap_first(&sim->events)) != NULL && first->key <= sim->now_ns) {
        struct sim_event *event = KITH_CONTAINER(first, struct sim_event, node);

        sim->stats.events++;
        event->run(sim, event);
    }
}

bool kith__sim_step(struct kith_sim *sim)
{
    uint64_t next = next_time(sim);
    struct kith_list *node;

    if (next == KITH_NEVER)
        return false;
    KITH_ASSERT(!sim->is_stepping && next >= sim->now_ns);
    sim->is_stepping = true;
    sim->now_ns = next;
    for (uint64_t round = 0; next_time(sim) == next; round++) {
        if (round == ROUNDS_PER_INSTANT_MAX) {
            kith__sim_wrong(sim, "time stands still: hosts keep each other busy in one instant");
            break;
        }
        run_events(sim);
        if ((node = kith__list_first(&sim->ready)) != NULL) {
            kith__list_remove(node);
            host_turn(KITH_CONTAINER(node, struct kith_sim_host, ready));
        }
    }
    sim->is_stepping = false;
    kith__sim_udp_bury(sim);
    return true;
}

void kith__sim_jump_wall(struct kith_sim *sim, int64_t by_us)
{
    sim->wall_us += (uint64_t)by_us;
}

void kith__sim_host_jump_wall(struct kith_sim_host *host, int64_t by_us)
{
    host->wall_us += (uint64_t)by_us;
}

uint64_t kith__sim_host_sent(const struct kith_sim_host *host)
{
    return host->sent_datagrams;
}

enum kith_sim_verdict kith__sim_run(struct kith_sim *sim, bool (*is_done)(void *ctx), void *ctx, uint64_t until_ns)
{
    for (;;) {
        uint64_t next = next_time(sim);

        if (sim->is_wrong)
            return KITH_SIM_WRONG;
        if (is_done != NULL && is_done(ctx))
            return KITH_SIM_OK;
        if (next != KITH_NEVER && next <= until_ns) {
            kith__sim_step(sim);
            continue;
        }
        if (until_ns != KITH_NEVER && until_ns > sim->now_ns)
            sim->now_ns = until_ns;
        if (is_done == NULL)
            return KITH_SIM_OK;
        snprintf(sim->why, sizeof sim->why, "%s at %.6f s, %llu sent, %llu delivered",
                 next == KITH_NEVER ? "nothing is left to happen" : "time is up", (double)sim->now_ns / 1e9,
                 (unsigned long long)sim->stats.sent, (unsigned long long)sim->stats.delivered);
        return KITH_SIM_STUCK;
    }
}

void kith__sim_wrong(struct kith_sim *sim, const char *text)
{
    if (!sim->is_wrong)
        snprintf(sim->why, sizeof sim->why, "%s", text);
    sim->is_wrong = true;
}

int kith__sim_exit_code(enum kith_sim_verdict verdict)
{
    static const int codes[] = { 0, 10, 11, 12 };

    return codes[verdict];
}

const char *kith__sim_why(const struct kith_sim *sim)
{
    return sim->why;
}

uint64_t kith__sim_hash(const struct kith_sim *sim)
{
    return sim->hash;
}

struct kith_sim_stats kith__sim_stats(const struct kith_sim *sim)
{
    return sim->stats;
}

const struct kith_random *kith__sim_random(struct kith_sim *sim)
{
    return &sim->random;
}
