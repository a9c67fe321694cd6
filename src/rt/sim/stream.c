/*
 * TCP and unix streams of the simulated world: reliable and in order, late by the delay of the links (loss and rate do not
 * touch them), cut when a host is down. A write is done when the other side has taken its bytes, which is all the
 * backpressure there is.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/sim/world.h"

#include <stdio.h>

enum sim_stream_state { SIM_STREAM_CONNECTING, SIM_STREAM_OPEN, SIM_STREAM_REFUSED };

struct sim_listener {
    struct kith_rt_listener head;
    struct kith_list node; /* in host->listeners */
    char unix_path[KITH_RT_UNIX_PATH_MAX + 1];
};

struct sim_stream {
    struct kith_rt_stream head;
    struct sim_stream *peer;        /* NULL: the other side has closed */
    struct sim_event open, read;    /* connect is through; bytes or the end reach us */
    struct sim_event written, shut; /* what we wait to tell our user */
    struct kith_rt_stream_addr to;  /* while connecting */
    char unix_path[KITH_RT_UNIX_PATH_MAX + 1];
    uint64_t delay_ns;
    uint8_t state; /* enum sim_stream_state */
    bool is_closed, wants_read, is_writing, is_shut, is_end_told, was_reset;
    const uint8_t *bytes; /* our write under way */
    size_t size, done;
    int written_err;
    unsigned callbacks;
};

static struct kith_sim_host *host_of(const struct sim_stream *stream)
{
    return kith__sim_host_of(stream->head.rt);
}

static struct kith_sim *sim_of(const struct sim_stream *stream)
{
    return host_of(stream)->sim;
}

static void release(struct sim_stream *stream)
{
    if (stream->is_closed && stream->callbacks == 0)
        kith__free(stream->head.rt->mem, stream);
}

/** Bytes, the end, or a reset are there for us after the delay of the way. */
static void alarm_reader(struct sim_stream *reader)
{
    kith__sim_event_set(sim_of(reader), &reader->read, sim_of(reader)->now_ns + reader->delay_ns);
}

static void tell_end(struct sim_stream *stream, int err)
{
    stream->is_end_told = true;
    if (stream->head.events.on_end != NULL)
        stream->head.events.on_end(stream->head.events.ctx, err);
}

/** Gives the user one piece of what the writer holds. */
static void read_piece(struct sim_stream *stream, struct sim_stream *writer)
{
    size_t size = KITH_MIN(writer->size - writer->done, (size_t)KITH_RT_STREAM_READ_MAX);
    const uint8_t *bytes = writer->bytes + writer->done;

    writer->done += size;
    if (writer->done == writer->size) { /* told in this instant, after us: events of one time run in order */
        writer->written_err = 0;
        kith__sim_event_set(sim_of(writer), &writer->written, sim_of(writer)->now_ns);
    } else {
        kith__sim_event_set(sim_of(stream), &stream->read, sim_of(stream)->now_ns);
    }
    if (stream->head.events.on_data != NULL)
        stream->head.events.on_data(stream->head.events.ctx, (uint8_t *)(uintptr_t)bytes, size);
}

static void on_read(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_stream *stream = KITH_CONTAINER(event, struct sim_stream, read), *writer = stream->peer;

    kith__sim_event_set(sim, event, KITH_NEVER);
    if (!stream->wants_read || stream->is_end_told || host_of(stream)->is_down)
        return;
    stream->callbacks++;
    if (writer == NULL)
        tell_end(stream, stream->was_reset ? KITH_ERR_RESET : 0);
    else if (writer->is_writing && writer->done < writer->size)
        read_piece(stream, writer);
    else if (writer->is_shut && !writer->is_writing)
        tell_end(stream, 0);
    stream->callbacks--;
    kith__sim_host_ready(host_of(stream));
    release(stream);
}

static void on_written(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_stream *stream = KITH_CONTAINER(event, struct sim_stream, written);

    kith__sim_event_set(sim, event, KITH_NEVER);
    stream->is_writing = false;
    if (stream->is_shut && stream->peer != NULL)
        alarm_reader(stream->peer);
    stream->callbacks++;
    if (stream->head.events.on_written != NULL)
        stream->head.events.on_written(stream->head.events.ctx, stream->written_err);
    stream->callbacks--;
    kith__sim_host_ready(host_of(stream));
    release(stream);
}

static void on_shut(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_stream *stream = KITH_CONTAINER(event, struct sim_stream, shut);

    kith__sim_event_set(sim, event, KITH_NEVER);
    stream->callbacks++;
    if (stream->head.events.on_shutdown != NULL)
        stream->head.events.on_shutdown(stream->head.events.ctx, 0);
    stream->callbacks--;
    kith__sim_host_ready(host_of(stream));
    release(stream);
}

/* ---- Opening ---- */

static void on_open(struct kith_sim *sim, struct sim_event *event);

static int stream_new(struct kith_rt *rt, const struct kith_rt_stream_events *events, struct sim_stream **out)
{
    struct kith_sim *sim = kith__sim_host_of(rt)->sim;
    struct sim_stream *stream = kith__alloc_zero(rt->mem, sizeof *stream);

    if (stream == NULL)
        return KITH_ERR_NOMEM;
    stream->head.rt = rt;
    if (events != NULL)
        stream->head.events = *events;
    kith__heap_node_init(&stream->open.node);
    kith__heap_node_init(&stream->read.node);
    kith__heap_node_init(&stream->written.node);
    kith__heap_node_init(&stream->shut.node);
    if (kith__sim_event_add(sim, &stream->open, on_open) != 0 ||
        kith__sim_event_add(sim, &stream->read, on_read) != 0 ||
        kith__sim_event_add(sim, &stream->written, on_written) != 0 ||
        kith__sim_event_add(sim, &stream->shut, on_shut) != 0) {
        kith__rt_stream_close(&stream->head);
        return KITH_ERR_NOMEM;
    }
    *out = stream;
    return 0;
}

static bool ip_is_zero(const struct kith_sockaddr *addr)
{
    static const uint8_t zero[16];

    return memcmp(addr->ip, zero, sizeof zero) == 0;
}

static struct sim_listener *find_listener(struct kith_sim_host *host, const struct kith_rt_stream_addr *at)
{
    KITH_LIST_EACH(node, &host->listeners)
    {
        struct sim_listener *listener = KITH_CONTAINER(node, struct sim_listener, node);
        const struct kith_sockaddr *local = &listener->head.local;

        if (at->unix_path != NULL && strcmp(at->unix_path, listener->unix_path) == 0)
            return listener;
        if (at->unix_path == NULL && local->family == at->ip.family && local->port == at->ip.port &&
            (ip_is_zero(local) || memcmp(local->ip, at->ip.ip, sizeof local->ip) == 0))
            return listener;
    }
    return NULL;
}

/** Where a stream leads to: to ourselves for unix and loopback, else by address, in the core or behind our own NAT. */
static struct sim_interface *find_interface(struct kith_sim_host *host, const struct kith_rt_stream_addr *to)
{
    static const uint8_t v6_loopback[16] = { [15] = 1 };
    struct sim_interface *route;
    struct sim_owner *owner;

    if (to->unix_path != NULL || (to->ip.family == KITH_FAMILY_V4 && to->ip.ip[0] == 127) ||
        (to->ip.family == KITH_FAMILY_V6 && memcmp(to->ip.ip, v6_loopback, sizeof v6_loopback) == 0))
        return &host->interfaces[0];
    route = kith__sim_route(host, &to->ip);
    owner = route != NULL ? kith__sim_neighbour(route, &to->ip) : NULL;
    if (owner == NULL)
        owner = kith__sim_address_find(host->sim, 0, &to->ip);
    return owner != NULL ? owner->interface : NULL;
}

/** A connection attempt comes to its end, at once for both sides. */
static int meet(struct sim_stream *stream)
{
    struct sim_interface *interface = find_interface(host_of(stream), &stream->to);
    struct kith_sim_host *to;
    struct sim_listener *listener;
    struct sim_stream *other;
    int err;

    if (interface == NULL)
        return KITH_ERR_UNREACHABLE;
    to = interface->host;
    if (to->is_down || (to != host_of(stream) && !interface->is_up))
        return KITH_ERR_TIMEOUT;
    if ((listener = find_listener(to, &stream->to)) == NULL)
        return stream->to.unix_path != NULL ? KITH_ERR_NOT_FOUND : KITH_ERR_REFUSED;
    if ((err = stream_new(&to->rt, NULL, &other)) != 0)
        return KITH_ERR_REFUSED;
    other->state = stream->state = SIM_STREAM_OPEN;
    other->delay_ns = stream->delay_ns;
    other->peer = stream;
    stream->peer = other;
    listener->head.on_accept(listener->head.ctx, &other->head);
    kith__sim_host_ready(to);
    return 0;
}

static void on_open(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_stream *stream = KITH_CONTAINER(event, struct sim_stream, open);
    int err;

    kith__sim_event_set(sim, event, KITH_NEVER);
    stream->callbacks++;
    if ((err = meet(stream)) != 0)
        stream->state = SIM_STREAM_REFUSED;
    if (stream->head.events.on_open != NULL)
        stream->head.events.on_open(stream->head.events.ctx, err);
    stream->callbacks--;
    kith__sim_host_ready(host_of(stream));
    release(stream);
}

static int sim_stream_connect(struct kith_rt *rt, const struct kith_rt_stream_addr *to,
                              const struct kith_rt_stream_events *events, struct kith_rt_stream **out)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    struct sim_interface *there = find_interface(host, to), *here = kith__sim_route(host, &to->ip);
    struct sim_stream *stream;
    int err = stream_new(rt, events, &stream);

    if (err != 0)
        return err;
    stream->to = *to;
    if (to->unix_path != NULL) {
        snprintf(stream->unix_path, sizeof stream->unix_path, "%s", to->unix_path);
        stream->to.unix_path = stream->unix_path;
    }
    if (there != NULL && here != NULL && there->host != host)
        stream->delay_ns = here->options.up.delay_ns + there->options.down.delay_ns;
    kith__sim_event_set(host->sim, &stream->open, host->sim->now_ns + 2 * stream->delay_ns); /* one round trip */
    *out = &stream->head;
    return 0;
}

static int sim_stream_open_stdio(struct kith_rt *rt, int descriptor, const struct kith_rt_stream_events *events,
                                 struct kith_rt_stream **out)
{
    (void)rt, (void)descriptor, (void)events, (void)out;
    return KITH_ERR_UNSUPPORTED; /* a simulated host has no terminal */
}

/* ---- Use ---- */

static void sim_stream_read_start(struct kith_rt_stream *head)
{
    struct sim_stream *stream = (struct sim_stream *)head;

    if (stream->wants_read)
        return;
    stream->wants_read = true;
    if (stream->read.node.key == KITH_NEVER)
        kith__sim_event_set(sim_of(stream), &stream->read, sim_of(stream)->now_ns);
}

static void sim_stream_read_stop(struct kith_rt_stream *head)
{
    ((struct sim_stream *)head)->wants_read = false;
}

static int sim_stream_write(struct kith_rt_stream *head, const uint8_t *bytes, size_t size)
{
    struct sim_stream *stream = (struct sim_stream *)head;

    if (stream->is_writing || stream->is_shut || stream->state != SIM_STREAM_OPEN)
        return KITH_ERR_STATE;
    stream->is_writing = true;
    stream->bytes = bytes;
    stream->size = size;
    stream->done = 0;
    if (stream->peer != NULL) {
        alarm_reader(stream->peer);
    } else {
        stream->written_err = KITH_ERR_RESET;
        kith__sim_event_set(sim_of(stream), &stream->written, sim_of(stream)->now_ns);
    }
    return 0;
}

static int sim_stream_shutdown(struct kith_rt_stream *head)
{
    struct sim_stream *stream = (struct sim_stream *)head;

    if (stream->is_shut || stream->state != SIM_STREAM_OPEN)
        return KITH_ERR_STATE;
    stream->is_shut = true;
    if (stream->peer != NULL && !stream->is_writing)
        alarm_reader(stream->peer);
    kith__sim_event_set(sim_of(stream), &stream->shut, sim_of(stream)->now_ns);
    return 0;
}

static void sim_stream_close(struct kith_rt_stream *head)
{
    struct sim_stream *stream = (struct sim_stream *)head, *peer = stream->peer;
    struct kith_sim *sim = sim_of(stream);

    KITH_ASSERT(!stream->is_closed);
    stream->is_closed = true;
    kith__sim_event_remove(sim, &stream->open);
    kith__sim_event_remove(sim, &stream->read);
    kith__sim_event_remove(sim, &stream->written);
    kith__sim_event_remove(sim, &stream->shut);
    if (peer != NULL) {
        peer->peer = NULL;
        peer->was_reset = stream->is_writing || peer->is_writing; /* bytes were cut: the other side hears of it */
        if (peer->is_writing && peer->written.node.key == KITH_NEVER) {
            peer->written_err = KITH_ERR_RESET;
            kith__sim_event_set(sim, &peer->written, sim->now_ns + peer->delay_ns);
        }
        alarm_reader(peer);
    }
    release(stream);
}

/* ---- Listening ---- */

static int sim_listen(struct kith_rt *rt, const struct kith_rt_stream_addr *at,
                      void (*on_accept)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                      struct kith_rt_listener **out)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    struct kith_rt_stream_addr probe = *at;
    struct sim_listener *listener;

    if (at->unix_path == NULL && at->ip.port == 0)
        for (probe.ip.port = 30000; find_listener(host, &probe) != NULL; probe.ip.port++)
            ;
    else if (find_listener(host, at) != NULL)
        return KITH_ERR_ADDRESS_IN_USE;
    if ((listener = kith__alloc_zero(rt->mem, sizeof *listener)) == NULL)
        return KITH_ERR_NOMEM;
    listener->head.rt = rt;
    listener->head.on_accept = on_accept;
    listener->head.ctx = ctx;
    if (at->unix_path != NULL)
        snprintf(listener->unix_path, sizeof listener->unix_path, "%s", at->unix_path);
    else
        listener->head.local = probe.ip;
    kith__list_push_back(&host->listeners, &listener->node);
    *out = &listener->head;
    return 0;
}

static void sim_listener_close(struct kith_rt_listener *head)
{
    struct sim_listener *listener = (struct sim_listener *)head;

    kith__list_remove(&listener->node);
    kith__free(head->rt->mem, listener);
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
    ops->listen = sim_listen;
    ops->listener_close = sim_listener_close;
}
