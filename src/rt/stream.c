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
    return size == 0 ? KITH_ERR_INVALID : stream->rt->ops->stream_write(stream, bytes, size);
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

int kith__rt_listen(struct kith_rt *rt, const struct kith_rt_stream_addr *at,
                    void (*on_accept)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                    struct kith_rt_listener **out)
{
    return is_valid(at) ? rt->ops->listen(rt, at, on_accept, ctx, out) : KITH_ERR_INVALID;
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
