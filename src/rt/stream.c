/* The calls of stream.h: through the table. */
#include "rt/ops.h"

#include <string.h>

static bool is_valid(const struct kith_rt_stream_addr *addr)
{
    if (addr->unix_path != NULL)
        return addr->unix_path[0] != '\0' && strlen(addr->unix_path) <= KITH_RT_UNIX_PATH_MAX;
    return addr->ip.family == KITH_FAMILY_V4 || addr->ip.family == KITH_FAMILY_V6;
}

int kith__rt_stream_connect(struct kith_rt *rt, const struct kith_rt_stream_addr *to,
                            const struct kith_rt_stream_events *events, struct kith_rt_stream **out)
{
    return is_valid(to) ? rt->ops->stream_connect(rt, to, events, out) : KITH_ERR_INVALID;
}

int kith__rt_stream_open_stdio(struct kith_rt *rt, int descriptor, const struct kith_rt_stream_events *events,
                               struct kith_rt_stream **out)
{
    return descriptor >= 0 && descriptor <= 2 ? rt->ops->stream_open_stdio(rt, descriptor, events, out)
                                              : KITH_ERR_INVALID;
}

void kith__rt_stream_set_events(struct kith_rt_stream *stream, const struct kith_rt_stream_events *events)
{
    stream->events = *events;
}

void kith__rt_stream_read_start(struct kith_rt_stream *stream)
{
    stream->rt->ops->stream_read_start(stream);
}

void kith__rt_stream_read_stop(struct kith_rt_stream *stream)
{
    stream->rt->ops->stream_read_stop(stream);
}

int kith__rt_stream_write(struct kith_rt_stream *stream, const uint8_t *bytes, size_t size)
{
    struct kith_slice slice = { bytes, size };

    return kith__rt_stream_write_slices(stream, &slice, 1);
}

int kith__rt_stream_write_slices(struct kith_rt_stream *stream, const struct kith_slice *slices, size_t count)
{
    if (count == 0 || count > KITH_RT_STREAM_SLICES_MAX)
        return KITH_ERR_INVALID;
    for (size_t i = 0; i < count; i++)
        if (slices[i].size == 0)
            return KITH_ERR_INVALID;
    return stream->rt->ops->stream_write(stream, slices, count);
}

struct kith_sockaddr kith__rt_stream_remote(const struct kith_rt_stream *stream)
{
    return stream->rt->ops->stream_address(stream, true);
}

struct kith_sockaddr kith__rt_stream_local(const struct kith_rt_stream *stream)
{
    return stream->rt->ops->stream_address(stream, false);
}

int kith__rt_stream_shutdown(struct kith_rt_stream *stream)
{
    return stream->rt->ops->stream_shutdown(stream);
}

void kith__rt_stream_close(struct kith_rt_stream *stream)
{
    if (stream != NULL)
        stream->rt->ops->stream_close(stream);
}

void kith__rt_stream_set_timeout(struct kith_rt_stream *stream, uint64_t timeout_ns)
{
    stream->rt->ops->stream_set_timeout(stream, timeout_ns);
}

int kith__rt_listen(struct kith_rt *rt, const struct kith_rt_stream_addr *at,
                    void (*on_accept)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                    struct kith_rt_listener **out)
{
    return kith__rt_listen_with(rt, &(struct kith_rt_listen_options) { .at = *at }, on_accept, ctx, out);
}

int kith__rt_listen_with(struct kith_rt *rt, const struct kith_rt_listen_options *options,
                         void (*on_accept)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                         struct kith_rt_listener **out)
{
    struct kith_rt_listen_options full = *options;

    if (!is_valid(&options->at) || (options->is_shared && options->at.unix_path != NULL))
        return KITH_ERR_INVALID;
    if (full.backlog == 0)
        full.backlog = KITH_RT_BACKLOG;
    return rt->ops->listen(rt, &full, on_accept, ctx, out);
}

void kith__rt_listener_set_paused(struct kith_rt_listener *listener, bool is_paused)
{
    listener->rt->ops->listener_set_paused(listener, is_paused);
}

struct kith_rt_listener_stats kith__rt_listener_stats(const struct kith_rt_listener *listener)
{
    return listener->stats;
}

struct kith_sockaddr kith__rt_listener_local(const struct kith_rt_listener *listener)
{
    return listener->local;
}

void kith__rt_listener_close(struct kith_rt_listener *listener)
{
    if (listener != NULL)
        listener->rt->ops->listener_close(listener);
}

/* ---- Signals ---- */

int kith__rt_signal_open(struct kith_rt *rt, enum kith_rt_signal_kind kind, void (*on_signal)(void *ctx), void *ctx,
                         struct kith_rt_signal **out)
{
    struct kith_rt_signal head = { .rt = rt, .on_signal = on_signal, .ctx = ctx, .kind = kind };

    return rt->ops->signal_open(rt, &head, out);
}

void kith__rt_signal_close(struct kith_rt_signal *signal)
{
    if (signal != NULL)
        signal->rt->ops->signal_close(signal);
}
