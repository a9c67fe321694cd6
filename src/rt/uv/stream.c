/* TCP, unix sockets and standard descriptors through libuv's streams. */
#include "rt/uv/stream.h"
#include "base/assert.h"
#include "base/mem.h"
#include "rt/uv/quiet.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { READS_PER_TURN = 1 }; /* of one stream, KITH_RT_STREAM_READ_MAX each */

/* ---- Reading ---- */

void kith__uv_stream_report_end(struct uv_stream *stream, int err)
{
    stream->is_ended = true;
    if (stream->head.events.on_end != NULL)
        stream->head.events.on_end(stream->head.events.ctx, err);
}

/** libuv would read one stream up to 32 times in a row, in which others wait; without a buffer it goes on in the next turn. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct uv_stream *stream = handle->data;
    struct kith_uv *uv = kith__uv_loop_of(stream);

    (void)suggested;
    if (uv->reading != stream)
        uv->reads = 0;
    uv->reading = stream;
    *buf = uv_buf_init((char *)uv->read_buffer, uv->reads++ < READS_PER_TURN ? KITH_RT_STREAM_READ_MAX : 0);
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *buf)
{
    struct uv_stream *stream = handle->data;

    if (got == 0 || got == UV_ENOBUFS)
        return;
    if (got < 0) {
        uv_read_stop(handle);
        kith__uv_stream_report_end(stream, got == UV_EOF ? 0 : kith__uv_error((int)got));
    } else if (stream->head.events.on_data != NULL) {
        stream->head.events.on_data(stream->head.events.ctx, (uint8_t *)buf->base, (size_t)got);
    }
}

static void read_if_wanted(struct uv_stream *stream)
{
    int result;

    if (!stream->wants_read || !stream->is_open || stream->is_ended || stream->is_closed)
        return;
    if (stream->file != NULL) {
        kith__uv_file_stream_read(stream);
        return;
    }
    result = uv_read_start(&stream->u.stream, on_alloc, on_read);
    KITH_ASSERT(result == 0 || result == UV_EALREADY);
    kith__uv_touch(stream->head.rt);
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
    if (stream->file == NULL && stream->is_open)
        uv_read_stop(&stream->u.stream);
}

/* ---- Writing ---- */

void kith__uv_stream_report_written(struct uv_stream *stream, int err)
{
    stream->is_writing = false;
    if (stream->head.events.on_written != NULL)
        stream->head.events.on_written(stream->head.events.ctx, err);
}

static void on_write(uv_write_t *request, int status)
{
    struct uv_stream *stream = request->data;

    if (!stream->is_closed)
        kith__uv_stream_report_written(stream, kith__uv_error(status));
}

static int uv_stream_write(struct kith_rt_stream *head, const struct kith_slice *slices, size_t count)
{
    struct uv_stream *stream = (struct uv_stream *)head;
    uv_buf_t bufs[KITH_RT_STREAM_SLICES_MAX];
    struct kith_uv_quiet quiet;
    int result;

    if (stream->is_writing || stream->is_shut || !stream->is_open)
        return KITH_ERR_STATE;
    for (size_t i = 0; i < count; i++) {
        if (slices[i].size > UINT32_MAX)
            return KITH_ERR_TOO_LARGE;
        bufs[i] = uv_buf_init((char *)(uintptr_t)slices[i].ptr, (unsigned)slices[i].size);
    }
    if (stream->file != NULL) {
        stream->is_writing = true;
        kith__uv_file_stream_write(stream, slices, count);
        return 0;
    }
    stream->write.data = stream;
    kith__uv_quiet_begin(&quiet);
    result = uv_write(&stream->write, &stream->u.stream, bufs, (unsigned)count, on_write);
    kith__uv_quiet_end(&quiet);
    if (result != 0)
        return result == UV_ENOMEM ? KITH_ERR_NOMEM : KITH_ERR_STATE;
    stream->is_writing = true;
    kith__uv_touch(head->rt);
    return 0;
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct uv_stream *stream = request->data;

    if (!stream->is_closed && stream->head.events.on_shutdown != NULL)
        stream->head.events.on_shutdown(stream->head.events.ctx, kith__uv_error(status));
}

static int uv_stream_shutdown(struct kith_rt_stream *head)
{
    struct uv_stream *stream = (struct uv_stream *)head;

    if (stream->is_shut || !stream->is_open)
        return KITH_ERR_STATE;
    if (stream->file != NULL) {
        stream->is_shut = true;
        kith__uv_file_stream_shutdown(stream);
        return 0;
    }
    stream->request.shutdown.data = stream;
    if (uv_shutdown(&stream->request.shutdown, &stream->u.stream, on_shutdown) != 0)
        return KITH_ERR_STATE;
    stream->is_shut = true;
    kith__uv_touch(head->rt);
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
    kith__uv_touch(head->rt);
    if (stream->file != NULL)
        kith__uv_file_stream_close(stream);
    else
        uv_close(&stream->u.handle, on_stream_closed);
}

int kith__uv_stream_new(struct kith_rt *rt, const struct kith_rt_stream_events *events, struct uv_stream **out)
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
static int socket_init(struct uv_stream *stream, bool is_tcp)
{
    uv_loop_t *loop = &kith__uv_loop_of(stream)->loop;
    int result = is_tcp ? uv_tcp_init(loop, &stream->u.tcp) : uv_pipe_init(loop, &stream->u.pipe, 0);

    stream->u.handle.data = stream;
    stream->is_tcp = is_tcp;
    return kith__uv_error(result);
}

int kith__uv_stream_adopt(struct kith_rt *rt, int fd, bool is_tcp, struct uv_stream **out)
{
    struct uv_stream *stream;
    int err, result;

    if ((err = kith__uv_stream_new(rt, NULL, &stream)) != 0) {
        close(fd);
        return err;
    }
    if ((err = socket_init(stream, is_tcp)) != 0) {
        kith__free(rt->mem, stream);
        close(fd);
        return err;
    }
    result = is_tcp ? uv_tcp_open(&stream->u.tcp, fd) : uv_pipe_open(&stream->u.pipe, fd);
    if (result != 0) {
        close(fd);
        uv_stream_close(&stream->head);
        return kith__uv_error(result);
    }
    stream->is_open = true;
    kith__uv_touch(rt);
    *out = stream;
    return 0;
}

void kith__uv_tcp_prepare(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        { IPPROTO_TCP, TCP_NODELAY, 1 }, /* what is sent was batched by its sender already */
        { IPPROTO_TCP, TCP_NOTSENT_LOWAT, KITH_RT_TCP_UNSENT_MAX },
        { SOL_SOCKET, SO_KEEPALIVE, 1 },
        { IPPROTO_TCP, TCP_KEEPIDLE, (int)(KITH_RT_TCP_IDLE_NS / KITH_NS_PER_S) },
        { IPPROTO_TCP, TCP_KEEPINTVL, (int)(KITH_RT_TCP_PROBE_NS / KITH_NS_PER_S) },
        { IPPROTO_TCP, TCP_KEEPCNT, KITH_RT_TCP_PROBES },
    };

    for (size_t i = 0; i < KITH_COUNT(options); i++) /* a kernel without one of them works all the same */
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
}

void kith__uv_tcp_set_timeout(int fd, uint64_t timeout_ns)
{
    unsigned ms = (unsigned)KITH_MIN(timeout_ns / KITH_NS_PER_MS, (uint64_t)INT32_MAX);

    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

static void uv_stream_set_timeout(struct kith_rt_stream *head, uint64_t timeout_ns)
{
    const struct uv_stream *stream = (const struct uv_stream *)head;
    uv_os_fd_t fd;

    if (stream->is_tcp && uv_fileno(&stream->u.handle, &fd) == 0)
        kith__uv_tcp_set_timeout(fd, timeout_ns);
}

static struct kith_sockaddr uv_stream_address(const struct kith_rt_stream *head, bool is_remote)
{
    const struct uv_stream *stream = (const struct uv_stream *)head;
    struct kith_sockaddr out = { .family = KITH_FAMILY_NONE };
    struct sockaddr_storage addr;
    int size = sizeof addr, result;

    if (!stream->is_tcp || !stream->is_open)
        return out;
    result = is_remote ? uv_tcp_getpeername(&stream->u.tcp, (struct sockaddr *)&addr, &size)
                       : uv_tcp_getsockname(&stream->u.tcp, (struct sockaddr *)&addr, &size);
    if (result != 0 || !kith__uv_sockaddr_in((struct sockaddr *)&addr, &out))
        out = (struct kith_sockaddr) { .family = KITH_FAMILY_NONE };
    return out;
}

/* ---- Connecting ---- */

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

static int connect_tcp(struct uv_stream *stream, const struct kith_sockaddr *to)
{
    struct sockaddr_storage addr;
    uv_os_fd_t fd;
    int result;

    kith__uv_sockaddr_out(to, &addr);
    result = uv_tcp_connect(&stream->request.connect, &stream->u.tcp, (struct sockaddr *)&addr, on_connect);
    if (result == 0 && uv_fileno(&stream->u.handle, &fd) == 0)
        kith__uv_tcp_prepare(fd);
    return result;
}

static int uv_stream_connect(struct kith_rt *rt, const struct kith_rt_stream_addr *to,
                             const struct kith_rt_stream_events *events, struct kith_rt_stream **out)
{
    struct uv_stream *stream;
    int err, result;

    if ((err = kith__uv_stream_new(rt, events, &stream)) != 0)
        return err;
    if ((err = socket_init(stream, to->unix_path == NULL)) != 0) {
        kith__free(rt->mem, stream);
        return err;
    }
    stream->request.connect.data = stream;
    kith__uv_touch(rt);
    if (to->unix_path != NULL) {
        uv_pipe_connect(&stream->request.connect, &stream->u.pipe, to->unix_path, on_connect);
    } else if ((result = connect_tcp(stream, &to->ip)) != 0) {
        uv_stream_close(&stream->head);
        return kith__uv_error(result);
    }
    *out = &stream->head;
    return 0;
}

/* ---- Standard descriptors ---- */

/** For pipes, terminals and sockets: `fd` is our own duplicate. */
static int open_handle(struct uv_stream *stream, int descriptor, int fd, uv_handle_type type)
{
    uv_loop_t *loop = &kith__uv_loop_of(stream)->loop;
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
    result = socket_init(stream, type == UV_TCP);
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

static int open_file(struct uv_stream *stream, int fd)
{
    int err = kith__uv_file_stream_open(stream, fd);

    if (err != 0) {
        close(fd);
        kith__free(stream->head.rt->mem, stream);
    }
    return err;
}

static int uv_stream_open_stdio(struct kith_rt *rt, int descriptor, const struct kith_rt_stream_events *events,
                                struct kith_rt_stream **out)
{
    uv_handle_type type = uv_guess_handle(descriptor);
    struct uv_stream *stream;
    int err, fd = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);

    if (fd < 0)
        return KITH_ERR_INVALID;
    if ((err = kith__uv_stream_new(rt, events, &stream)) != 0) {
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
    kith__uv_touch(rt);
    *out = &stream->head;
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
    ops->stream_address = uv_stream_address;
    ops->stream_set_timeout = uv_stream_set_timeout;
    kith__uv_listener_ops(ops);
}
