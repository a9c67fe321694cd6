/** Shared by the streams of the real rt: sockets, pipes and terminals (stream.c), files (stream_file.c), listeners. */
#ifndef KITH_RT_UV_STREAM_H
#define KITH_RT_UV_STREAM_H

#include "rt/uv/loop.h"

struct uv_stream_file; /* what only a regular file as a standard descriptor needs */

/** A stream. Small: a server has one for each of its clients. */
struct uv_stream {
    struct kith_rt_stream head;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
        uv_tty_t tty;
    } u;
    uv_write_t write;
    union { /* never both at once: it cannot be shut down before it is open */
        uv_connect_t connect;
        uv_shutdown_t shutdown;
    } request;
    struct uv_stream_file *file; /* NULL: libuv has a handle of it */
    int stdio_fd, stdio_flags;
    bool is_tcp, is_stdio, is_open, is_closed, is_ended;
    bool wants_read, is_writing, is_shut;
};

static inline struct kith_uv *kith__uv_loop_of(const struct uv_stream *stream)
{
    return kith__uv_of(stream->head.rt);
}
/** libuv was told something that it tells the kernel only in the next turn. */
static inline void kith__uv_touch(struct kith_rt *rt)
{
    kith__uv_of(rt)->is_dirty = true;
}

/** A stream without a handle. Errors: NOMEM. */
int kith__uv_stream_new(struct kith_rt *rt, const struct kith_rt_stream_events *events, struct uv_stream **out);
/** Makes a stream of a connected socket, which is its own then; on an error it is closed. Errors: NOMEM, IO, LIMIT. */
int kith__uv_stream_adopt(struct kith_rt *rt, int fd, bool is_tcp, struct uv_stream **out);
/** Sets the options that every TCP socket has; accepted ones inherit them from the listening one. */
void kith__uv_tcp_prepare(int fd);
/** TCP_USER_TIMEOUT; 0: the system's own way. */
void kith__uv_tcp_set_timeout(int fd, uint64_t timeout_ns);
/** Tells the user. */
void kith__uv_stream_report_end(struct uv_stream *stream, int err);
void kith__uv_stream_report_written(struct uv_stream *stream, int err);

/** stream_file.c: a regular file, read and written by libuv's worker threads, since it cannot be polled. */
int kith__uv_file_stream_open(struct uv_stream *stream, int fd);
void kith__uv_file_stream_read(struct uv_stream *stream);
void kith__uv_file_stream_write(struct uv_stream *stream, const struct kith_slice *slices, size_t count);
void kith__uv_file_stream_shutdown(struct uv_stream *stream);
/** Closes as soon as nothing is under way, and frees the stream then. */
void kith__uv_file_stream_close(struct uv_stream *stream);

/** listener.c: fills in its part of the table. */
void kith__uv_listener_ops(struct kith_rt_ops *ops);

#endif
