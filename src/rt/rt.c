/* The calls of rt.h: checks that both implementations share, timers, then the table. */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/ops.h"

void kith__rt_init(struct kith_rt *rt, const struct kith_rt_ops *ops, const struct kith_mem *mem,
                   const struct kith_log *log, const struct kith_random *random)
{
    rt->ops = ops;
    rt->mem = mem;
    rt->log = log != NULL ? *log : (struct kith_log) { 0 };
    rt->random = *random;
    rt->hooks = (struct kith_rt_hooks) { 0 };
    rt->resolver = (struct kith_rt_resolver) { 0 };
    rt->timer_count = 0;
    kith__heap_init(&rt->timers, mem);
}

void kith__rt_dispose(struct kith_rt *rt)
{
    KITH_ASSERT(rt->timer_count == 0);
    kith__heap_dispose(&rt->timers);
}

void kith__rt_free(struct kith_rt *rt)
{
    if (rt != NULL)
        rt->ops->free(rt);
}

void kith__rt_set_hooks(struct kith_rt *rt, const struct kith_rt_hooks *hooks)
{
    rt->hooks = *hooks;
}

uint64_t kith__rt_now(const struct kith_rt *rt)
{
    return rt->ops->now(rt);
}

uint64_t kith__rt_wall_us(const struct kith_rt *rt)
{
    return rt->ops->wall_us(rt);
}

/* ---- Timers ---- */

int kith__rt_timer_init(struct kith_rt *rt, struct kith_rt_timer *timer, void (*fire)(void *ctx, uint64_t now_ns),
                        void *ctx)
{
    int err = kith__heap_reserve(&rt->timers, rt->timer_count + 1);

    if (err != 0)
        return err;
    rt->timer_count++;
    kith__heap_node_init(&timer->node);
    timer->fire = fire;
    timer->ctx = ctx;
    timer->rt = rt;
    return 0;
}

void kith__rt_timer_dispose(struct kith_rt_timer *timer)
{
    if (timer->rt == NULL)
        return;
    kith__rt_timer_set(timer, KITH_NEVER);
    KITH_ASSERT(timer->rt->timer_count > 0);
    timer->rt->timer_count--;
    timer->rt = NULL;
}

void kith__rt_timer_set(struct kith_rt_timer *timer, uint64_t at_ns)
{
    struct kith_rt *rt = timer->rt;
    int err;

    KITH_ASSERT(rt != NULL);
    if (at_ns == KITH_NEVER) {
        kith__heap_remove(&rt->timers, &timer->node);
    } else {
        err = kith__heap_set(&rt->timers, &timer->node, at_ns);
        KITH_ASSERT(err == 0); /* room was made in kith__rt_timer_init */
    }
    rt->ops->timers_changed(rt);
}

uint64_t kith__rt_first_timer(const struct kith_rt *rt)
{
    const struct kith_heap_node *first = kith__heap_first(&rt->timers);

    return first != NULL ? first->key : KITH_NEVER;
}

void kith__rt_fire_timers(struct kith_rt *rt, uint64_t now_ns)
{
    /* The bound keeps a timer that is set to the past again and again from holding up everything else. */
    for (size_t left = rt->timer_count; left > 0; left--) {
        struct kith_heap_node *first = kith__heap_first(&rt->timers);
        struct kith_rt_timer *timer;

        if (first == NULL || first->key > now_ns)
            break;
        timer = KITH_CONTAINER(first, struct kith_rt_timer, node);
        kith__rt_timer_set(timer, KITH_NEVER);
        timer->fire(timer->ctx, now_ns);
    }
}

void kith__rt_call_wake(struct kith_rt *rt)
{
    if (rt->hooks.on_wake != NULL)
        rt->hooks.on_wake(rt->hooks.ctx);
}

void kith__rt_call_turn_end(struct kith_rt *rt)
{
    if (rt->hooks.on_turn_end != NULL)
        rt->hooks.on_turn_end(rt->hooks.ctx);
}

/* ---- UDP ---- */

int kith__rt_udp_open(struct kith_rt *rt, const struct kith_rt_udp_options *options,
                      const struct kith_rt_udp_events *events, struct kith_rt_udp **out)
{
    if (options->local.family != KITH_FAMILY_V4 && options->local.family != KITH_FAMILY_V6)
        return KITH_ERR_INVALID;
    if (events->on_receive == NULL || options->buffer_size > INT32_MAX)
        return KITH_ERR_INVALID;
    return rt->ops->udp_open(rt, options, events, out);
}

void kith__rt_udp_close(struct kith_rt_udp *udp)
{
    if (udp != NULL)
        udp->rt->ops->udp_close(udp);
}

struct kith_sockaddr kith__rt_udp_local(const struct kith_rt_udp *udp)
{
    return udp->local;
}

int kith__rt_udp_send(struct kith_rt_udp *udp, const struct kith_quic_transmit *transmit, const uint8_t *bytes)
{
    if (udp->is_blocked)
        return KITH_ERR_AGAIN;
    if (transmit->size == 0 || transmit->size > KITH_RT_UDP_SEND_MAX || transmit->remote.family != udp->local.family ||
        kith__rt_segments(transmit->size, transmit->segment_size) > KITH_RT_UDP_SEGMENTS_MAX)
        return KITH_ERR_INVALID;
    if (transmit->local.family != KITH_FAMILY_NONE && transmit->local.family != udp->local.family)
        return KITH_ERR_INVALID;
    udp->rt->ops->udp_send(udp, transmit, bytes);
    return 0;
}

bool kith__rt_udp_is_blocked(const struct kith_rt_udp *udp)
{
    return udp->is_blocked;
}

struct kith_rt_udp_features kith__rt_udp_features(const struct kith_rt_udp *udp)
{
    return udp->features;
}

struct kith_rt_udp_stats kith__rt_udp_stats(const struct kith_rt_udp *udp)
{
    return udp->stats;
}

/* ---- Addresses ---- */

int kith__rt_interfaces(struct kith_rt *rt, struct kith_rt_interface *out, size_t cap, size_t *count)
{
    return rt->ops->interfaces(rt, out, cap, count);
}

int kith__rt_watch_open(struct kith_rt *rt, void (*on_change)(void *ctx), void *ctx, struct kith_rt_watch **out)
{
    struct kith_rt_watch head = { rt, on_change, ctx };

    return rt->ops->watch_open(rt, &head, out);
}

void kith__rt_watch_close(struct kith_rt_watch *watch)
{
    if (watch != NULL)
        watch->rt->ops->watch_close(watch);
}

int kith__rt_resolve(struct kith_rt *rt, const char *host, uint16_t port,
                     void (*done)(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count), void *ctx,
                     struct kith_rt_resolve **out)
{
    return kith__rt_resolve_family(rt, host, port, KITH_FAMILY_NONE, done, ctx, out);
}

/** A name that the rt's resolver looks up. */
struct asked {
    struct kith_rt_resolve head;
    void *query;
};

static void on_asked(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count)
{
    struct asked *asked = ctx;
    struct kith_rt_resolve head = asked->head;
    struct kith_sockaddr found[KITH_RT_RESOLVED_MAX];

    KITH_ASSERT(count <= KITH_RT_RESOLVED_MAX);
    for (size_t i = 0; i < count; i++) {
        found[i] = addrs[i];
        found[i].port = head.port;
    }
    kith__free(head.rt->mem, asked);
    head.done(head.ctx, err, found, count);
}

static int ask_resolver(struct kith_rt *rt, const char *host, const struct kith_rt_resolve *head,
                        struct kith_rt_resolve **out)
{
    struct asked *asked = kith__alloc_zero(rt->mem, sizeof *asked);
    int err;

    if (asked == NULL)
        return KITH_ERR_NOMEM;
    asked->head = *head;
    asked->head.is_asked = true;
    err = rt->resolver.start(rt->resolver.ctx, host, (enum kith_family)head->family, on_asked, asked, &asked->query);
    if (err != 0) {
        kith__free(rt->mem, asked);
        return err;
    }
    *out = &asked->head;
    return 0;
}

/** An address rather than a name: it has a colon, or its last label begins with a digit, which no name's does. */
static bool is_numeric(const char *host)
{
    size_t size = strlen(host);
    const char *last;

    if (strchr(host, ':') != NULL)
        return true;
    for (size -= size > 1 && host[size - 1] == '.', last = host + size; last > host && last[-1] != '.';)
        last--;
    return *last >= '0' && *last <= '9';
}

int kith__rt_resolve_family(struct kith_rt *rt, const char *host, uint16_t port, enum kith_family family,
                            void (*done)(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count),
                            void *ctx, struct kith_rt_resolve **out)
{
    struct kith_rt_resolve head = { rt, done, ctx, port, (uint8_t)family, false };
    size_t size = strlen(host);

    if (size == 0 || size > 253) /* RFC 1035, 2.3.4, without the last dot */
        return KITH_ERR_INVALID;
    if (rt->resolver.start != NULL && !is_numeric(host))
        return ask_resolver(rt, host, &head, out);
    return rt->ops->resolve(rt, host, &head, out);
}

void kith__rt_set_resolver(struct kith_rt *rt, const struct kith_rt_resolver *resolver)
{
    rt->resolver = resolver != NULL ? *resolver : (struct kith_rt_resolver) { 0 };
}

void kith__rt_resolve_cancel(struct kith_rt_resolve *resolve)
{
    struct asked *asked = (struct asked *)resolve;

    if (resolve == NULL)
        return;
    if (!resolve->is_asked) {
        resolve->rt->ops->resolve_cancel(resolve);
        return;
    }
    resolve->rt->resolver.cancel(resolve->rt->resolver.ctx, asked->query);
    kith__free(resolve->rt->mem, asked);
}

/* ---- The loop ---- */

int kith__rt_fd(const struct kith_rt *rt)
{
    return rt->ops->fd(rt);
}

uint64_t kith__rt_deadline(const struct kith_rt *rt)
{
    return rt->ops->is_ready(rt) ? 0 : kith__rt_first_timer(rt);
}

void kith__rt_process(struct kith_rt *rt)
{
    rt->ops->process(rt);
}

void kith__rt_wait(struct kith_rt *rt, uint64_t until_ns)
{
    rt->ops->wait(rt, until_ns);
}

int kith__rt_run(struct kith_rt *rt, const bool *done, uint64_t until_ns)
{
    for (;;) {
        uint64_t deadline;

        kith__rt_process(rt);
        if (*done)
            return 0;
        if (kith__rt_now(rt) >= until_ns)
            return KITH_ERR_TIMEOUT;
        deadline = kith__rt_deadline(rt);
        kith__rt_wait(rt, KITH_MIN(deadline, until_ns));
    }
}

void kith__rt_wake(struct kith_rt *rt)
{
    rt->ops->wake(rt);
}
