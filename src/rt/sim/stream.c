/* Streams and listeners of the simulated world, as their users see them; what lies below is in tcp.c. */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/sim/tcp.h"

#include <stdio.h>

static struct sim_stream *stream_of(struct kith_rt_stream *head)
{
    return (struct sim_stream *)head;
}

static void slices_drop(struct sim_stream *stream)
{
    if (stream->slices != &stream->one)
        kith__free(stream->head.rt->mem, stream->slices);
    stream->slices = NULL;
}

/* ---- What the user is told ---- */

/* The user may close from inside each of these: then end->stream is NULL, and the stream is gone. */

static void tell_open(struct sim_stream *stream)
{
    stream->is_open_due = false;
    if (stream->head.events.on_open != NULL)
        stream->head.events.on_open(stream->head.events.ctx, stream->open_err);
}

static void tell_data(struct sim_stream *stream)
{
    struct kith_sim *sim = stream->end->conn->sim;
    struct sim_chunk *chunk = kith__sim_tcp_take(stream->end);

    if (stream->head.events.on_data != NULL)
        stream->head.events.on_data(stream->head.events.ctx, chunk->bytes, chunk->size);
    kith__free(sim->mem, chunk);
}

static void tell_end(struct sim_stream *stream)
{
    stream->is_end_told = true;
    if (stream->head.events.on_end != NULL)
        stream->head.events.on_end(stream->head.events.ctx,
                                   stream->end->state == SIM_END_DEAD ? stream->end->error : 0);
}

static void tell_written(struct sim_stream *stream)
{
    stream->is_written_due = false;
    slices_drop(stream);
    if (stream->head.events.on_written != NULL)
        stream->head.events.on_written(stream->head.events.ctx, stream->written_err);
}

static void tell_shut(struct sim_stream *stream)
{
    stream->is_shut_due = false;
    if (stream->head.events.on_shutdown != NULL)
        stream->head.events.on_shutdown(stream->head.events.ctx, 0);
}

static bool is_end_due(const struct sim_stream *stream)
{
    return stream->wants_read && !stream->is_end_told && !stream->is_open_due && stream->open_err == 0 &&
           stream->end->inbox.first == NULL && (stream->end->has_end || stream->end->state == SIM_END_DEAD);
}

void kith__sim_stream_tell(struct sim_stream *stream)
{
    struct sim_end *end = stream->end;

    if (stream->is_open_due)
        tell_open(stream);
    while (end->stream == stream && stream->wants_read && stream->open_err == 0 && end->inbox.first != NULL)
        tell_data(stream);
    if (end->stream == stream && is_end_due(stream))
        tell_end(stream);
    if (end->stream == stream && stream->is_written_due)
        tell_written(stream);
    if (end->stream == stream && stream->is_shut_due && stream->slices == NULL)
        tell_shut(stream);
}

/* ---- Use ---- */

static int stream_new(struct kith_rt *rt, const struct kith_rt_stream_events *events, struct sim_stream **out)
{
    struct sim_stream *stream = kith__alloc_zero(rt->mem, sizeof *stream);

    if (stream == NULL)
        return KITH_ERR_NOMEM;
    stream->head.rt = rt;
    if (events != NULL)
        stream->head.events = *events;
    *out = stream;
    return 0;
}

static int sim_stream_connect(struct kith_rt *rt, const struct kith_rt_stream_addr *to,
                              const struct kith_rt_stream_events *events, struct kith_rt_stream **out)
{
    struct sim_stream *stream;
    int err = stream_new(rt, events, &stream);

    if (err != 0)
        return err;
    if ((err = kith__sim_tcp_connect(kith__sim_host_of(rt), to, stream)) != 0) {
        kith__free(rt->mem, stream);
        return err;
    }
    *out = &stream->head;
    return 0;
}

static int sim_stream_open_stdio(struct kith_rt *rt, int descriptor, const struct kith_rt_stream_events *events,
                                 struct kith_rt_stream **out)
{
    (void)rt, (void)descriptor, (void)events, (void)out;
    return KITH_ERR_UNSUPPORTED; /* a simulated host has no terminal */
}

static void sim_stream_read_start(struct kith_rt_stream *head)
{
    struct sim_stream *stream = stream_of(head);

    if (stream->wants_read)
        return;
    stream->wants_read = true;
    if (stream->end->inbox.first != NULL || is_end_due(stream))
        kith__sim_tcp_act(stream->end);
}

static void sim_stream_read_stop(struct kith_rt_stream *head)
{
    stream_of(head)->wants_read = false;
}

static bool is_usable(const struct sim_stream *stream)
{
    return !stream->is_shut && !stream->is_open_due && stream->open_err == 0 &&
           (stream->end->state == SIM_END_OPEN || stream->end->state == SIM_END_DEAD);
}

static int sim_stream_write(struct kith_rt_stream *head, const struct kith_slice *slices, size_t count)
{
    struct sim_stream *stream = stream_of(head);

    if (stream->slices != NULL || !is_usable(stream))
        return KITH_ERR_STATE;
    if (count > 1) {
        if ((stream->slices = kith__alloc_array(head->rt->mem, count, sizeof *slices)) == NULL)
            return KITH_ERR_NOMEM;
        memcpy(stream->slices, slices, count * sizeof *slices);
    } else {
        stream->one = slices[0];
        stream->slices = &stream->one;
    }
    stream->slice_count = count;
    stream->slice_index = stream->slice_done = 0;
    if (stream->end->state == SIM_END_DEAD) {
        stream->written_err = stream->end->error;
        stream->is_written_due = true;
        kith__sim_tcp_act(stream->end);
    } else {
        kith__sim_tcp_pump(stream->end);
    }
    return 0;
}

static int sim_stream_shutdown(struct kith_rt_stream *head)
{
    struct sim_stream *stream = stream_of(head);

    if (!is_usable(stream))
        return KITH_ERR_STATE;
    stream->is_shut = stream->is_shut_due = true;
    kith__sim_tcp_pump(stream->end);
    kith__sim_tcp_act(stream->end);
    return 0;
}

static void sim_stream_close(struct kith_rt_stream *head)
{
    struct sim_stream *stream = stream_of(head);

    kith__sim_tcp_close(stream->end);
    slices_drop(stream);
    kith__free(head->rt->mem, stream);
}

static struct kith_sockaddr sim_stream_address(const struct kith_rt_stream *head, bool is_remote)
{
    const struct sim_end *end = ((const struct sim_stream *)head)->end;

    if (end->state != SIM_END_OPEN)
        return (struct kith_sockaddr) { .family = KITH_FAMILY_NONE };
    return is_remote ? end->remote : end->local;
}

static void sim_stream_set_timeout(struct kith_rt_stream *head, uint64_t timeout_ns)
{
    stream_of(head)->end->timeout_ns = timeout_ns;
}

/* ---- Listening ---- */

static bool ip_is_zero(const struct kith_sockaddr *addr)
{
    static const uint8_t zero[16];

    return memcmp(addr->ip, zero, sizeof zero) == 0;
}

static bool listens_at(const struct sim_listener *listener, const struct kith_rt_stream_addr *at)
{
    const struct kith_sockaddr *local = &listener->head.local;

    if (at->unix_path != NULL)
        return strcmp(at->unix_path, listener->unix_path) == 0;
    return local->family == at->ip.family && local->port == at->ip.port &&
           (ip_is_zero(local) || memcmp(local->ip, at->ip.ip, sizeof local->ip) == 0);
}

struct sim_listener *kith__sim_listener_find(struct kith_sim_host *host, const struct kith_rt_stream_addr *at)
{
    struct sim_listener *found = NULL;
    uint64_t count = 0;

    KITH_LIST_EACH(node, &host->listeners)
    {
        struct sim_listener *listener = KITH_CONTAINER(node, struct sim_listener, node);

        if (!listens_at(listener, at))
            continue;
        count++; /* shared: one of them, by chance */
        if (found == NULL || kith__random_below(&host->sim->random, count) == 0)
            found = listener;
    }
    return found;
}

static void accept_if_due(struct sim_listener *listener)
{
    if (listener->waiting_count > 0 && !listener->is_paused)
        kith__sim_event_set(kith__sim_host_of(listener->head.rt)->sim, &listener->accept,
                            kith__sim_host_of(listener->head.rt)->sim->now_ns);
}

void kith__sim_listener_offer(struct sim_listener *listener, struct sim_end *end)
{
    kith__list_push_back(&listener->waiting, &end->waiting);
    end->listener = listener;
    end->timeout_ns = listener->timeout_ns;
    listener->waiting_count++;
    accept_if_due(listener);
}

/** One connection: the callback may close the listener. */
static void on_accept(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_listener *listener = KITH_CONTAINER(event, struct sim_listener, accept);
    struct kith_sim_host *host = kith__sim_host_of(listener->head.rt);
    struct sim_stream *stream;
    struct sim_end *end;

    kith__sim_event_set(sim, event, KITH_NEVER);
    if (listener->waiting_count == 0 || listener->is_paused || host->is_down)
        return;
    end = KITH_CONTAINER(kith__list_first(&listener->waiting), struct sim_end, waiting);
    if (stream_new(listener->head.rt, NULL, &stream) != 0) {
        listener->head.stats.closed_no_memory++;
        kith__sim_tcp_close(end);
        accept_if_due(listener);
        return;
    }
    kith__sim_tcp_accept(end, stream);
    listener->head.stats.accepted++;
    accept_if_due(listener);
    listener->head.on_accept(listener->head.ctx, &stream->head);
    kith__sim_host_ready(host);
}

static int choose_address(struct kith_sim_host *host, const struct kith_rt_listen_options *options,
                          struct kith_rt_stream_addr *out)
{
    struct sim_listener *taken;

    *out = options->at;
    if (out->unix_path == NULL && out->ip.port == 0)
        for (out->ip.port = 30000; kith__sim_listener_find(host, out) != NULL; out->ip.port++)
            ;
    else if ((taken = kith__sim_listener_find(host, out)) != NULL && !(taken->is_shared && options->is_shared))
        return KITH_ERR_ADDRESS_IN_USE;
    return 0;
}

static int sim_listen(struct kith_rt *rt, const struct kith_rt_listen_options *options,
                      void (*on_accept_user)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                      struct kith_rt_listener **out)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    struct kith_rt_stream_addr at;
    struct sim_listener *listener;
    int err = choose_address(host, options, &at);

    if (err != 0)
        return err;
    if ((listener = kith__alloc_zero(rt->mem, sizeof *listener)) == NULL)
        return KITH_ERR_NOMEM;
    listener->head = (struct kith_rt_listener) { .rt = rt, .on_accept = on_accept_user, .ctx = ctx };
    listener->backlog = options->backlog;
    listener->timeout_ns = options->timeout_ns;
    listener->is_shared = options->is_shared;
    kith__list_init(&listener->waiting);
    if (at.unix_path != NULL)
        snprintf(listener->unix_path, sizeof listener->unix_path, "%s", at.unix_path);
    else
        listener->head.local = at.ip;
    if (kith__sim_event_add(host->sim, &listener->accept, on_accept) != 0) {
        kith__free(rt->mem, listener);
        return KITH_ERR_NOMEM;
    }
    kith__list_push_back(&host->listeners, &listener->node);
    *out = &listener->head;
    return 0;
}

static void sim_listener_close(struct kith_rt_listener *head)
{
    struct sim_listener *listener = (struct sim_listener *)head;

    while (listener->waiting_count > 0)
        kith__sim_tcp_close(KITH_CONTAINER(kith__list_first(&listener->waiting), struct sim_end, waiting));
    kith__sim_event_remove(kith__sim_host_of(head->rt)->sim, &listener->accept);
    kith__list_remove(&listener->node);
    kith__free(head->rt->mem, listener);
}

static void sim_listener_set_paused(struct kith_rt_listener *head, bool is_paused)
{
    struct sim_listener *listener = (struct sim_listener *)head;

    listener->is_paused = is_paused;
    accept_if_due(listener);
}

/* ---- The host ---- */

void kith__sim_streams_wake(struct kith_sim_host *host)
{
    KITH_LIST_EACH(node, &host->ends)
    {
        struct sim_end *end = KITH_CONTAINER(node, struct sim_end, node);

        if (end->stream != NULL && (end->state == SIM_END_OPEN || end->state == SIM_END_DEAD))
            kith__sim_tcp_act(end);
    }
    KITH_LIST_EACH(node, &host->listeners)
    accept_if_due(KITH_CONTAINER(node, struct sim_listener, node));
}

void kith__sim_tcp_reset_all(struct kith_sim_host *host)
{
    KITH_LIST_EACH(node, &host->ends)
    {
        struct sim_end *end = KITH_CONTAINER(node, struct sim_end, node);

        if (end->state != SIM_END_OPEN)
            continue;
        kith__sim_tcp_fail(kith__sim_end_other(end), KITH_ERR_RESET);
        kith__sim_tcp_fail(end, KITH_ERR_RESET);
    }
}

void kith__sim_stream_ops(struct kith_rt_ops *ops)
{
    ops->stream_connect = sim_stream_connect;
    ops->stream_open_stdio = sim_stream_open_stdio;
    ops->stream_read_start = sim_stream_read_start;
    ops->stream_read_stop = sim_stream_read_stop;
    ops->stream_write = sim_stream_write;
    ops->stream_shutdown = sim_stream_shutdown;
    ops->stream_close = sim_stream_close;
    ops->stream_address = sim_stream_address;
    ops->stream_set_timeout = sim_stream_set_timeout;
    ops->listen = sim_listen;
    ops->listener_close = sim_listener_close;
    ops->listener_set_paused = sim_listener_set_paused;
}
