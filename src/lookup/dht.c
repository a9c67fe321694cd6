/* The driver of a DHT node: its socket, the names of those to join through, timers, and who waits for what. */
#include "lookup/dht.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"
#include "lookup/dht_core.h"

#include <stdio.h>
#include <string.h>

/* A datagram is 1.5 KB, and bursts are of two dozen. */
enum { SOCKET_BUFFER_SIZE = 256 << 10, NAME_SIZE_MAX = 253 };

#define REJOIN_MIN_NS (5 * KITH_NS_PER_S)
#define REJOIN_MAX_NS (300 * KITH_NS_PER_S)

static const char *const public_bootstrap[] = {
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "dht.libtorrent.org:25401",
    "relay.pkarr.org:6881",
};

/** Someone to join through: a name that is looked up, or an address. */
struct bootstrap {
    struct kith_dht *dht;
    struct kith_sockaddr addr; /* family NONE: a name */
    char host[NAME_SIZE_MAX + 1];
    uint16_t port;
    struct kith_rt_resolve *resolve; /* NULL: not under way */
};

/** A get or a put. */
struct wish {
    struct kith_list list;
    struct kith_dht *dht;
    struct kith_dht_op *op;
};

struct kith_dht_get {
    struct wish wish;
    struct kith_dht_get_events events;
};

struct kith_dht_put {
    struct wish wish;
    void (*done)(void *ctx, const struct kith_dht_put_result *result);
    void *ctx;
};

struct kith_dht {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_dht_core *core;
    struct kith_rt_udp *udp;
    struct kith_rt_timer timer;  /* of the core, and at once when a call left events */
    struct kith_rt_timer rejoin; /* looks whether anybody is there */
    uint64_t rejoin_ns;
    struct kith_list gets, puts;
    bool *is_freed; /* of the loop that is calling back, if there is one */
    size_t bootstrap_count, resolving;
    struct bootstrap bootstrap[];
};

/* ---- Out: datagrams and events ---- */

static void flush(struct kith_dht *dht)
{
    struct kith_quic_transmit transmit = { .ecn = 0 };
    struct kith_slice bytes;

    while (!kith__rt_udp_is_blocked(dht->udp) && kith__dht_core_next(dht->core, &transmit.remote, &bytes)) {
        transmit.size = bytes.size;
        /* Not AGAIN: it was not blocked. What the system refuses is counted by the socket; questions are repeated. */
        if (kith__rt_udp_send(dht->udp, &transmit, bytes.ptr) != 0)
            kith__log(&dht->rt->log, KITH_LOG_DEBUG, "dht", "a datagram could not be sent");
    }
}

static void set_timer(struct kith_dht *dht)
{
    kith__rt_timer_set(&dht->timer, kith__dht_core_deadline(dht->core));
}

static void wish_end(struct wish *wish)
{
    kith__list_remove(&wish->list);
    kith__free(wish->dht->mem, wish);
}

static void tell_get(struct kith_dht_get *get, const struct kith_dht_event *event)
{
    struct kith_dht_get_events events = get->events;
    struct kith_pkarr newest;
    char why[KITH_DHT_WHY_SIZE];

    /* Copies: what the callback calls may take the event's things away. */
    if (event->newest != NULL)
        newest = *event->newest;
    snprintf(why, sizeof why, "%s", event->why);
    if (event->kind == KITH_DHT_EVENT_END) {
        wish_end(&get->wish);
        events.on_end(events.ctx, event->err, event->err == 0 ? &newest : NULL, why);
    } else if (events.on_found != NULL) {
        events.on_found(events.ctx, &newest);
    }
}

static void tell_put(struct kith_dht_put *put, const struct kith_dht_event *event)
{
    void (*done)(void *ctx, const struct kith_dht_put_result *result) = put->done;
    void *ctx = put->ctx;
    char why[KITH_DHT_WHY_SIZE];
    struct kith_dht_put_result result = { .err = event->err,
                                          .why = why,
                                          .newest_us = event->newest != NULL ? kith__pkarr_timestamp(event->newest) : 0,
                                          .stored = event->stored,
                                          .refused = event->refused,
                                          .silent = event->silent };

    snprintf(why, sizeof why, "%s", event->why);
    wish_end(&put->wish);
    done(ctx, &result);
}

/** Sends and tells what is there to send and to tell. Afterwards dht may be gone. Out of a turn only. */
static void work(struct kith_dht *dht)
{
    bool is_freed = false;
    struct kith_dht_event event;

    KITH_ASSERT(dht->is_freed == NULL);
    dht->is_freed = &is_freed;
    flush(dht);
    while (!is_freed && kith__dht_core_event(dht->core, &event)) {
        struct wish *wish = event.user;

        if (event.is_put)
            tell_put(KITH_CONTAINER(wish, struct kith_dht_put, wish), &event);
        else
            tell_get(KITH_CONTAINER(wish, struct kith_dht_get, wish), &event);
        if (!is_freed)
            flush(dht);
    }
    if (is_freed)
        return;
    dht->is_freed = NULL;
    set_timer(dht);
}

/** After a call of the owner: callbacks come in the next turn. */
static void work_soon(struct kith_dht *dht)
{
    flush(dht);
    kith__rt_timer_set(&dht->timer, 0);
}

/* ---- In: datagrams and time ---- */

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct kith_dht *dht = ctx;

    for (size_t i = 0; i < count; i++) {
        size_t step = batch[i].segment_size != 0 ? batch[i].segment_size : batch[i].size;

        for (size_t at = 0; at < batch[i].size; at += step)
            kith__dht_core_receive(dht->core, &batch[i].remote,
                                   (struct kith_slice) { batch[i].bytes + at, KITH_MIN(step, batch[i].size - at) },
                                   now_ns);
    }
    work(dht);
}

static void on_writable(void *ctx)
{
    flush(ctx);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_dht *dht = ctx;

    kith__dht_core_on_deadline(dht->core, now_ns);
    work(dht);
}

/* ---- Joining ---- */

static void on_resolved(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count)
{
    struct bootstrap *bootstrap = ctx;
    struct kith_dht *dht = bootstrap->dht;
    uint64_t now_ns = kith__rt_now(dht->rt);

    bootstrap->resolve = NULL;
    dht->resolving--;
    if (err != 0)
        kith__log(&dht->rt->log, KITH_LOG_INFO, "dht", "%s, to join the DHT through, has no address: %s",
                  bootstrap->host, kith_strerror(err));
    for (size_t i = 0; err == 0 && i < count; i++)
        kith__dht_core_add_seed(dht->core, &addrs[i], now_ns);
    kith__dht_core_expect_seeds(dht->core, dht->resolving > 0, now_ns);
    if (err == 0)
        kith__dht_core_join(dht->core, now_ns);
    work(dht);
}

/** Looks all names up, those that are not being looked up already, and joins through what is known. */
static void join(struct kith_dht *dht)
{
    uint64_t now_ns = kith__rt_now(dht->rt);

    for (size_t i = 0; i < dht->bootstrap_count; i++) {
        struct bootstrap *bootstrap = &dht->bootstrap[i];

        if (bootstrap->addr.family != KITH_FAMILY_NONE)
            kith__dht_core_add_seed(dht->core, &bootstrap->addr, now_ns);
        else if (bootstrap->resolve == NULL &&
                 kith__rt_resolve_family(dht->rt, bootstrap->host, bootstrap->port, KITH_FAMILY_V4, on_resolved,
                                         bootstrap, &bootstrap->resolve) == 0)
            dht->resolving++; /* without memory: the next time */
    }
    kith__dht_core_expect_seeds(dht->core, dht->resolving > 0, now_ns);
    kith__dht_core_join(dht->core, now_ns);
}

static void on_rejoin(void *ctx, uint64_t now_ns)
{
    struct kith_dht *dht = ctx;
    bool is_alone = kith__dht_core_node_count(dht->core) == 0;

    if (is_alone) {
        join(dht);
        flush(dht);
        set_timer(dht);
    }
    dht->rejoin_ns = is_alone ? KITH_MIN(2 * dht->rejoin_ns, REJOIN_MAX_NS) : REJOIN_MAX_NS;
    kith__rt_timer_set(&dht->rejoin, now_ns + dht->rejoin_ns);
}

static void join_now(struct kith_dht *dht)
{
    dht->rejoin_ns = REJOIN_MIN_NS;
    join(dht);
    work_soon(dht);
    kith__rt_timer_set(&dht->rejoin, kith__rt_now(dht->rt) + dht->rejoin_ns);
}

void kith__dht_add_node(struct kith_dht *dht, const struct kith_sockaddr *addr)
{
    kith__dht_core_add_seed(dht->core, addr, kith__rt_now(dht->rt));
    kith__dht_core_join(dht->core, kith__rt_now(dht->rt));
    work_soon(dht);
    if (!kith__rt_timer_is_set(&dht->rejoin))
        kith__rt_timer_set(&dht->rejoin, kith__rt_now(dht->rt) + dht->rejoin_ns);
}

void kith__dht_on_network_change(struct kith_dht *dht)
{
    join_now(dht);
}

/* ---- Life ---- */

/** "host:port" or "1.2.3.4:port". */
static int parse_bootstrap(const char *text, struct bootstrap *out)
{
    const char *colon = strrchr(text, ':');
    struct kith_sockaddr addr;
    unsigned long port = 0;

    if (kith_sockaddr_parse(text, &addr) == 0) {
        out->addr = addr;
        return addr.family == KITH_FAMILY_V4 && addr.port != 0 ? 0 : KITH_ERR_INVALID;
    }
    if (colon == NULL || colon == text || (size_t)(colon - text) > NAME_SIZE_MAX || text[0] == '[')
        return KITH_ERR_INVALID;
    for (const char *digit = colon + 1; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9' || (port = port * 10 + (unsigned long)(*digit - '0')) > UINT16_MAX)
            return KITH_ERR_INVALID;
    }
    if (port == 0)
        return KITH_ERR_INVALID;
    memcpy(out->host, text, (size_t)(colon - text));
    out->port = (uint16_t)port;
    return 0;
}

static int open_socket(struct kith_dht *dht, const struct kith_sockaddr *local)
{
    struct kith_rt_udp_options options = { .local = *local, .buffer_size = SOCKET_BUFFER_SIZE, .no_offload = true };
    const struct kith_rt_udp_events events = { .on_receive = on_receive, .on_writable = on_writable, .ctx = dht };
    bool is_ours = local->family == KITH_FAMILY_NONE;
    int err;

    if (is_ours)
        options.local = (struct kith_sockaddr) { .family = KITH_FAMILY_V4, .port = KITH_DHT_PORT };
    if (options.local.family != KITH_FAMILY_V4)
        return KITH_ERR_INVALID;
    err = kith__rt_udp_open(dht->rt, &options, &events, &dht->udp);
    if (err == KITH_ERR_ADDRESS_IN_USE && is_ours) {
        options.local.port = 0;
        err = kith__rt_udp_open(dht->rt, &options, &events, &dht->udp);
    }
    return err;
}

int kith__dht_new(struct kith_rt *rt, const struct kith_dht_options *options, struct kith_dht **out)
{
    const char *const *names = options->bootstrap != NULL ? options->bootstrap : public_bootstrap;
    size_t count = options->bootstrap != NULL ? options->bootstrap_count : KITH_COUNT(public_bootstrap);
    struct kith_dht *dht;
    int err = 0;

    count = KITH_MIN(count, (size_t)KITH_DHT_BOOTSTRAP_MAX);
    if ((dht = kith__alloc_zero(rt->mem, sizeof *dht + count * sizeof dht->bootstrap[0])) == NULL)
        return KITH_ERR_NOMEM;
    dht->rt = rt;
    dht->mem = rt->mem;
    dht->rejoin_ns = REJOIN_MIN_NS;
    kith__list_init(&dht->gets);
    kith__list_init(&dht->puts);
    for (; dht->bootstrap_count < count && err == 0; dht->bootstrap_count++) {
        dht->bootstrap[dht->bootstrap_count].dht = dht;
        err = parse_bootstrap(names[dht->bootstrap_count], &dht->bootstrap[dht->bootstrap_count]);
    }
    if (err != 0 || (err = kith__rt_timer_init(rt, &dht->timer, on_timer, dht)) != 0 ||
        (err = kith__rt_timer_init(rt, &dht->rejoin, on_rejoin, dht)) != 0 ||
        (err = kith__dht_core_new(rt->mem, kith__rt_random(rt), options->is_server, kith__rt_now(rt), &dht->core)) !=
            0 ||
        (err = open_socket(dht, &options->local)) != 0) {
        kith__dht_free(dht);
        return err;
    }
    if (dht->bootstrap_count > 0)
        join_now(dht);
    *out = dht;
    return 0;
}

void kith__dht_free(struct kith_dht *dht)
{
    if (dht == NULL)
        return;
    if (dht->is_freed != NULL)
        *dht->is_freed = true;
    KITH_LIST_EACH_SAFE(node, after, &dht->gets)
    wish_end(KITH_CONTAINER(node, struct wish, list));
    KITH_LIST_EACH_SAFE(node, after, &dht->puts)
    wish_end(KITH_CONTAINER(node, struct wish, list));
    for (size_t i = 0; i < dht->bootstrap_count; i++)
        if (dht->bootstrap[i].resolve != NULL)
            kith__rt_resolve_cancel(dht->bootstrap[i].resolve);
    kith__rt_timer_dispose(&dht->timer);
    kith__rt_timer_dispose(&dht->rejoin);
    kith__rt_udp_close(dht->udp);
    kith__dht_core_free(dht->core);
    kith__free(dht->mem, dht);
}

struct kith_sockaddr kith__dht_local(const struct kith_dht *dht)
{
    return kith__rt_udp_local(dht->udp);
}

size_t kith__dht_node_count(const struct kith_dht *dht)
{
    return kith__dht_core_node_count(dht->core);
}

void kith__dht_stats(const struct kith_dht *dht, struct kith_dht_stats *out)
{
    *out = *kith__dht_core_stats(dht->core);
}

/* ---- Gets and puts ---- */

/** An object of `size` that begins with a wish; NULL without memory. */
static void *wish_new(struct kith_dht *dht, size_t size, struct kith_list *of)
{
    struct wish *wish = kith__alloc_zero(dht->mem, size);

    if (wish != NULL) {
        wish->dht = dht;
        kith__list_init(&wish->list);
        kith__list_push_back(of, &wish->list);
    }
    return wish;
}

int kith__dht_get(struct kith_dht *dht, const struct kith_id *id, const struct kith_dht_get_events *events,
                  struct kith_dht_get **out)
{
    struct kith_dht_get *get = wish_new(dht, sizeof *get, &dht->gets);
    int err;

    if (get == NULL)
        return KITH_ERR_NOMEM;
    get->events = *events;
    if ((err = kith__dht_core_get(dht->core, id, &get->wish, kith__rt_now(dht->rt), &get->wish.op)) != 0) {
        wish_end(&get->wish);
        return err;
    }
    *out = get;
    work_soon(dht);
    return 0;
}

static void cancel(struct wish *wish)
{
    struct kith_dht *dht = wish->dht;

    kith__dht_core_cancel(dht->core, wish->op);
    wish_end(wish);
    work_soon(dht);
}

void kith__dht_get_cancel(struct kith_dht_get *get)
{
    if (get != NULL)
        cancel(&get->wish);
}

int kith__dht_put(struct kith_dht *dht, const struct kith_pkarr *packet,
                  void (*done)(void *ctx, const struct kith_dht_put_result *result), void *ctx,
                  struct kith_dht_put **out)
{
    struct kith_dht_put *put = wish_new(dht, sizeof *put, &dht->puts);
    int err;

    if (put == NULL)
        return KITH_ERR_NOMEM;
    put->done = done;
    put->ctx = ctx;
    if ((err = kith__dht_core_put(dht->core, packet, &put->wish, kith__rt_now(dht->rt), &put->wish.op)) != 0) {
        wish_end(&put->wish);
        return err;
    }
    *out = put;
    work_soon(dht);
    return 0;
}

void kith__dht_put_cancel(struct kith_dht_put *put)
{
    if (put != NULL)
        cancel(&put->wish);
}
