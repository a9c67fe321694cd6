/*
 * TCP, unix sockets and standard descriptors through libuv's streams. A regular file as a standard descriptor is read and
 * written by libuv's worker threads, since it cannot be polled.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/uv/loop.h"

#include <fcntl.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 128 };

struct uv_stream {
    struct kith_rt_stream head;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
        uv_tty_t tty;
    } u;
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    uv_fs_t file_read, file_write; /* is_file only */
    uint8_t *file_buffer;          /* is_file: KITH_RT_STREAM_READ_MAX */
    int file_fd, stdio_fd, stdio_flags;
    bool is_file, is_stdio, is_open, is_closed, is_ended;
    bool wants_read, is_writing, is_shut;
    bool is_file_reading, is_file_writing, is_end_due; /* is_end_due: a write of shutdown on a file */
    unsigned callbacks; /* is_file: on the stack now; the last one out frees a closed stream */
    size_t write_size, write_done;
    const uint8_t *write_bytes;
};

struct uv_listener {
    struct kith_rt_listener head;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } refused; /* takes a connection for which there is no memory, to close it */
    bool is_unix, is_refusing, is_refuse_due, is_closed, is_listener_gone;
};

static struct kith_uv *loop_of(const struct uv_stream *stream)
{
    return kith__uv_of(stream->head.rt);
}

static void touch(struct kith_rt *rt)
{
    kith__uv_of(rt)->is_dirty = true;
}

/* ---- Reading ---- */

static void file_read_next(struct uv_stream *stream);

static void report_end(struct uv_stream *stream, int err)
{
    stream->is_ended = true;
    if (stream->head.events.on_end != NULL)
        stream->head.events.on_end(stream->head.events.ctx, err);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct uv_stream *stream = handle->data;

    (void)suggested;
    *buf = uv_buf_init((char *)loop_of(stream)->read_buffer, KITH_RT_STREAM_READ_MAX);
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *buf)
{
    struct uv_stream *stream = handle->data;

    if (got == 0)
        return;
    if (got < 0) {
        uv_read_stop(handle);
        report_end(stream, got == UV_EOF ? 0 : kith__uv_error((int)got));
    } else if (stream->head.events.on_data != NULL) {
        stream->head.events.on_data(stream->head.events.ctx, (uint8_t *)buf->base, (size_t)got);
    }
}

static void read_if_wanted(struct uv_stream *stream)
{
    int result;

    if (!stream->wants_read || !stream->is_open || stream->is_ended || stream->is_closed)
        return;
    if (stream->is_file) {
        file_read_next(stream);
        return;
    }
    result = uv_read_start(&stream->u.stream, on_alloc, on_read);
    KITH_ASSERT(result == 0 || result == UV_EALREADY);
    touch(stream->head.rt);
}

static void uv_stream_read_start(struct kith_rt_stream *head)
{
    struct uv_stream *stream = (struct uv_stream *)head;

    if (stream->wants_read)
        return;
    stream->wants_read = true;
    read_if_wanted(stream);
}

static void uv_stream_read_stop(struct kith_rt_stream *head)
{
    struct uv_stream *stream = (struct uv_stream *)head;

    stream->wants_read = false;
    if (!stream->is_file && stream->is_open)
        uv_read_stop(&stream->u.stream);
}

/* ---- Files as streams ---- */

static void file_release(struct uv_stream *stream)
{
    if (!stream->is_closed || stream->is_file_reading || stream->is_file_writing || stream->callbacks > 0)
        return;
    close(stream->file_fd);
    kith__free(stream->head.rt->mem, stream->file_buffer);
    kith__free(stream->head.rt->mem, stream);
}

static void file_got(struct uv_stream *stream, ssize_t got)
{
    if (got <= 0)
        report_end(stream, kith__uv_error((int)got));
    else if (stream->head.events.on_data != NULL) /* what was read before a read_stop is delivered all the same */
        stream->head.events.on_data(stream->head.events.ctx, stream->file_buffer, (size_t)got);
}

static void on_file_read(uv_fs_t *request)
{
    struct uv_stream *stream = request->data;
    ssize_t got = request->result;

    uv_fs_req_cleanup(request);
    if (!stream->is_closed) {
        stream->callbacks++;
        file_got(stream, got); /* still "reading": a read_start from inside must not fill the buffer */
        stream->callbacks--;
    }
    stream->is_file_reading = false;
    if (stream->is_closed)
        file_release(stream);
    else
        read_if_wanted(stream);
}

static void file_read_next(struct uv_stream *stream)
{
    uv_buf_t buf = uv_buf_init((char *)stream->file_buffer, KITH_RT_STREAM_READ_MAX);
    int result;

    if (stream->is_file_reading)
        return;
    stream->file_read.data = stream;
    result = uv_fs_read(&loop_of(stream)->loop, &stream->file_read, stream->file_fd, &buf, 1, -1, on_file_read);
    KITH_ASSERT(result == 0);
    stream->is_file_reading = true;
}

static void report_written(struct uv_stream *stream, int err)
{
    stream->is_writing = false;
    if (stream->head.events.on_written != NULL)
        stream->head.events.on_written(stream->head.events.ctx, err);
}

static void file_write_next(struct uv_stream *stream);

static void report_file_shutdown(struct uv_stream *stream)
{
    stream->is_end_due = false;
    if (stream->head.events.on_shutdown != NULL)
        stream->head.events.on_shutdown(stream->head.events.ctx, 0);
}

static void on_file_write(uv_fs_t *request)
{
    struct uv_stream *stream = request->data;
    ssize_t put = request->result;

    uv_fs_req_cleanup(request);
    stream->is_file_writing = false;
    if (!stream->is_closed && put > 0 && (stream->write_done += (size_t)put) < stream->write_size) {
        file_write_next(stream);
        return;
    }
    stream->callbacks++;
    if (!stream->is_closed && stream->is_writing)
        report_written(stream, put > 0 ? 0 : kith__uv_error((int)put));
    if (!stream->is_closed && stream->is_end_due && !stream->is_writing)
        report_file_shutdown(stream);
    stream->callbacks--;
    file_release(stream);
}

static void file_write_next(struct uv_stream *stream)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)(stream->write_bytes + stream->write_done),
                               (unsigned)KITH_MIN(stream->write_size - stream->write_done, (size_t)1 << 20));
    int result;

    stream->file_write.data = stream;
    result = uv_fs_write(&loop_of(stream)->loop, &stream->file_write, stream->file_fd, &buf, 1, -1, on_file_write);
    KITH_ASSERT(result == 0);
    stream->is_file_writing = true;
}

/* ---- Writing ---- */

static void on_write(uv_write_t *request, int status)
{
    struct uv_stream *stream = request->data;

    if (!stream->is_closed)
        report_written(stream, kith__uv_error(status));
}

static int uv_stream_write(struct kith_rt_stream *head, const uint8_t *bytes, size_t size)
{
    struct uv_stream *stream = (struct uv_stream *)head;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)size);
    int result;

    if (stream->is_writing || stream->is_shut || !stream->is_open)
        return KITH_ERR_STATE;
    if (size > UINT32_MAX)
        return KITH_ERR_TOO_LARGE;
    stream->write_bytes = bytes;
    stream->write_size = size;
    stream->write_done = 0;
    if (stream->is_file) {
        stream->is_writing = true;
        file_write_next(stream);
        return 0;
    }
    stream->write.data = stream;
    if ((result = uv_write(&stream->write, &stream->u.stream, &buf, 1, on_write)) != 0)
        return result == UV_ENOMEM ? KITH_ERR_NOMEM : KITH_ERR_STATE;
    stream->is_writing = true;
    touch(head->rt);
    return 0;
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct uv_stream *stream = request->data;

    if (!stream->is_closed && stream->head.events.on_shutdown != NULL)
        stream->head.events.on_shutdown(stream->head.events.ctx, kith__uv_error(status));
}

/** A file has no direction to end: on_shutdown still has to come out of a turn, so an empty write carries it. */
static void file_shutdown(struct uv_stream *stream)
{
    stream->is_end_due = true;
    if (stream->is_writing)
        return;
    stream->write_bytes = stream->file_buffer;
    stream->write_size = stream->write_done = 0;
    file_write_next(stream);
}

static int uv_stream_shutdown(struct kith_rt_stream *head)
{
    struct uv_stream *stream = (struct uv_stream *)head;

    if (stream->is_shut || !stream->is_open)
        return KITH_ERR_STATE;
    if (stream->is_file) {
        stream->is_shut = true;
        file_shutdown(stream);
        return 0;
    }
    stream->shutdown.data = stream;
    if (uv_shutdown(&stream->shutdown, &stream->u.stream, on_shutdown) != 0)
        return KITH_ERR_STATE;
    stream->is_shut = true;
    touch(head->rt);
    return 0;
}

/* ---- Life ---- */

static void on_stream_closed(uv_handle_t *handle)
{
    struct uv_stream *stream = handle->data;

    kith__free(stream->head.rt->mem, stream);
}

static void uv_stream_close(struct kith_rt_stream *head)
{
    struct uv_stream *stream = (struct uv_stream *)head;

    KITH_ASSERT(!stream->is_closed);
    stream->is_closed = true;
    if (stream->is_stdio && stream->stdio_flags >= 0)
        fcntl(stream->stdio_fd, F_SETFL, stream->stdio_flags); /* the descriptor is shared with the shell */
    touch(head->rt);
    if (stream->is_file) {
        file_release(stream);
        return;
    }
    uv_close(&stream->u.handle, on_stream_closed);
}

static int stream_new(struct kith_rt *rt, const struct kith_rt_stream_events *events, struct uv_stream **out)
{
    struct kith_uv *uv = kith__uv_of(rt);
    struct uv_stream *stream;

    if (uv->read_buffer == NULL && (uv->read_buffer = kith__alloc(rt->mem, KITH_RT_STREAM_READ_MAX)) == NULL)
        return KITH_ERR_NOMEM;
    if ((stream = kith__alloc_zero(rt->mem, sizeof *stream)) == NULL)
        return KITH_ERR_NOMEM;
    stream->head.rt = rt;
    if (events != NULL)
        stream->head.events = *events;
    stream->stdio_flags = -1;
    *out = stream;
    return 0;
}

/** Makes the empty socket object. Both kinds cannot fail for a loop that is alive, except for memory. */
static int socket_init(struct uv_stream *stream, bool is_unix)
{
    uv_loop_t *loop = &loop_of(stream)->loop;
    int result = is_unix ? uv_pipe_init(loop, &stream->u.pipe, 0) : uv_tcp_init(loop, &stream->u.tcp);

    stream->u.handle.data = stream;
    return kith__uv_error(result);
}

static void on_connect(uv_connect_t *request, int status)
{
    struct uv_stream *stream = request->data;

    if (stream->is_closed)
        return;
    stream->is_open = status == 0;
    if (stream->head.events.on_open != NULL)
        stream->head.events.on_open(stream->head.events.ctx, kith__uv_error(status));
    if (!stream->is_closed)
        read_if_wanted(stream);
}

static int uv_stream_connect(struct kith_rt *rt, const struct kith_rt_stream_addr *to,
                             const struct kith_rt_stream_events *events, struct kith_rt_stream **out)
{
    struct sockaddr_storage addr;
    struct uv_stream *stream;
    int err, result;

    if ((err = stream_new(rt, events, &stream)) != 0)
        return err;
    if ((err = socket_init(stream, to->unix_path != NULL)) != 0) {
        kith__free(rt->mem, stream);
        return err;
    }
    stream->connect.data = stream;
    touch(rt);
    if (to->unix_path != NULL) {
        uv_pipe_connect(&stream->connect, &stream->u.pipe, to->unix_path, on_connect);
    } else {
        kith__uv_sockaddr_out(&to->ip, &addr);
        result = uv_tcp_connect(&stream->connect, &stream->u.tcp, (struct sockaddr *)&addr, on_connect);
        if (result != 0) {
            uv_stream_close(&stream->head);
            return kith__uv_error(result);
        }
        uv_tcp_nodelay(&stream->u.tcp, 1); /* forwarded bytes were batched by their sender already */
    }
    *out = &stream->head;
    return 0;
}

static int open_file(struct uv_stream *stream, int fd)
{
    const struct kith_mem *mem = stream->head.rt->mem;

    if ((stream->file_buffer = kith__alloc(mem, KITH_RT_STREAM_READ_MAX)) == NULL) {
        close(fd);
        kith__free(mem, stream);
        return KITH_ERR_NOMEM;
    }
    stream->is_file = stream->is_open = true;
    stream->file_fd = fd;
    return 0;
}

/** For pipes, terminals and sockets: `fd` is our own duplicate. */
static int open_handle(struct uv_stream *stream, int descriptor, int fd, uv_handle_type type)
{
    uv_loop_t *loop = &loop_of(stream)->loop;
    int result;

    stream->stdio_fd = descriptor;
    stream->stdio_flags = fcntl(descriptor, F_GETFL);
    if (type == UV_TTY) {
        if ((result = uv_tty_init(loop, &stream->u.tty, fd, 0)) != 0) {
            close(fd);
            kith__free(stream->head.rt->mem, stream);
            return kith__uv_error(result);
        }
        stream->u.handle.data = stream;
        stream->is_open = true;
        return 0;
    }
    result = socket_init(stream, type != UV_TCP);
    KITH_ASSERT(result == 0);
    result = type == UV_TCP ? uv_tcp_open(&stream->u.tcp, fd) : uv_pipe_open(&stream->u.pipe, fd);
    if (result != 0) {
        close(fd);
        uv_stream_close(&stream->head);
        return kith__uv_error(result);
    }
    stream->is_open = true;
    return 0;
}

static int uv_stream_open_stdio(struct kith_rt *rt, int descriptor, const struct kith_rt_stream_events *events,
                                struct kith_rt_stream **out)
{
    uv_handle_type type = uv_guess_handle(descriptor);
    struct uv_stream *stream;
    int err, fd = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);

    if (fd < 0)
        return KITH_ERR_INVALID;
    if ((err = stream_new(rt, events, &stream)) != 0) {
        close(fd);
        return err;
    }
    stream->is_stdio = true;
    if (type == UV_TTY || type == UV_NAMED_PIPE || type == UV_TCP)
        err = open_handle(stream, descriptor, fd, type);
    else /* regular files, /dev/null and its like */
        err = open_file(stream, fd);
    if (err != 0)
        return err;
    touch(rt);
    *out = &stream->head;
    return 0;
}

/* ---- Listening ---- */

static void listener_release(struct uv_listener *listener)
{
    if (listener->is_listener_gone && !listener->is_refusing)
        kith__free(listener->head.rt->mem, listener);
}

static void refuse_one(struct uv_listener *listener);

static void on_refused_closed(uv_handle_t *handle)
{
    struct uv_listener *listener = handle->data;

    listener->is_refusing = false;
    if (listener->is_refuse_due && !listener->is_closed)
        refuse_one(listener);
    listener_release(listener);
}

/** libuv stops accepting until somebody takes the connection: so take and close it. */
static void refuse_one(struct uv_listener *listener)
{
    uv_loop_t *loop = &kith__uv_of(listener->head.rt)->loop;

    listener->is_refuse_due = listener->is_refusing;
    if (listener->is_refusing)
        return;
    if (listener->is_unix)
        uv_pipe_init(loop, &listener->refused.pipe, 0);
    else
        uv_tcp_init(loop, &listener->refused.tcp);
    listener->refused.handle.data = listener;
    uv_accept(&listener->u.stream, &listener->refused.stream);
    listener->is_refusing = true;
    uv_close(&listener->refused.handle, on_refused_closed);
}

static void on_connection(uv_stream_t *handle, int status)
{
    struct uv_listener *listener = handle->data;
    struct kith_rt *rt = listener->head.rt;
    struct uv_stream *stream;

    if (status < 0 || listener->is_closed) {
        kith__log(&rt->log, KITH_LOG_WARN, "rt", "accept failed: %s", uv_strerror(status));
        return;
    }
    if (stream_new(rt, NULL, &stream) != 0) {
        kith__log(&rt->log, KITH_LOG_WARN, "rt", "connection closed: out of memory");
        refuse_one(listener);
        return;
    }
    if (socket_init(stream, listener->is_unix) != 0) {
        kith__free(rt->mem, stream);
        refuse_one(listener);
        return;
    }
    if (uv_accept(handle, &stream->u.stream) != 0) {
        uv_stream_close(&stream->head);
        return;
    }
    stream->is_open = true;
    if (!listener->is_unix)
        uv_tcp_nodelay(&stream->u.tcp, 1);
    listener->head.on_accept(listener->head.ctx, &stream->head);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct uv_listener *listener = handle->data;

    listener->is_listener_gone = true;
    listener_release(listener);
}

static void uv_listener_close(struct kith_rt_listener *head)
{
    struct uv_listener *listener = (struct uv_listener *)head;

    KITH_ASSERT(!listener->is_closed);
    listener->is_closed = true;
    uv_close(&listener->u.handle, on_listener_closed);
    touch(head->rt);
}

static int listener_bind(struct uv_listener *listener, const struct kith_rt_stream_addr *at)
{
    struct sockaddr_storage addr;
    int size = sizeof addr, result;

    if (listener->is_unix) {
        if ((result = uv_pipe_bind(&listener->u.pipe, at->unix_path)) != 0)
            return result;
        return uv_listen(&listener->u.stream, LISTEN_BACKLOG, on_connection);
    }
    kith__uv_sockaddr_out(&at->ip, &addr);
    if ((result = uv_tcp_bind(&listener->u.tcp, (struct sockaddr *)&addr,
                              at->ip.family == KITH_FAMILY_V6 ? UV_TCP_IPV6ONLY : 0)) != 0)
        return result;
    if ((result = uv_listen(&listener->u.stream, LISTEN_BACKLOG, on_connection)) != 0) /* also tells of a port in use */
        return result;
    if ((result = uv_tcp_getsockname(&listener->u.tcp, (struct sockaddr *)&addr, &size)) != 0)
        return result;
    kith__uv_sockaddr_in((struct sockaddr *)&addr, &listener->head.local);
    return 0;
}

static int uv_stream_listen(struct kith_rt *rt, const struct kith_rt_stream_addr *at,
                            void (*on_accept)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                            struct kith_rt_listener **out)
{
    struct uv_listener *listener = kith__alloc_zero(rt->mem, sizeof *listener);
    uv_loop_t *loop = &kith__uv_of(rt)->loop;
    int result;

    if (listener == NULL)
        return KITH_ERR_NOMEM;
    listener->head = (struct kith_rt_listener) { .rt = rt, .on_accept = on_accept, .ctx = ctx };
    listener->is_unix = at->unix_path != NULL;
    result = listener->is_unix ? uv_pipe_init(loop, &listener->u.pipe, 0) : uv_tcp_init(loop, &listener->u.tcp);
    if (result != 0) {
        kith__free(rt->mem, listener);
        return kith__uv_error(result);
    }
    listener->u.handle.data = listener;
    if ((result = listener_bind(listener, at)) != 0) {
        uv_listener_close(&listener->head);
        return kith__uv_error(result);
    }
    touch(rt);
    *out = &listener->head;
    return 0;
}

void kith__uv_stream_ops(struct kith_rt_ops *ops)
{
    ops->stream_connect = uv_stream_connect;
    ops->stream_open_stdio = uv_stream_open_stdio;
    ops->stream_read_start = uv_stream_read_start;
    ops->stream_read_stop = uv_stream_read_stop;
    ops->stream_write = uv_stream_write;
    ops->stream_shutdown = uv_stream_shutdown;
    ops->stream_close = uv_stream_close;
    ops->listen = uv_stream_listen;
    ops->listener_close = uv_listener_close;
}
