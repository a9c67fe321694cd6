/*
 * Listening, with accept calls of our own instead of libuv's, for three reasons: when the process has no descriptor left,
 * libuv closes connections without a word, while ours are counted; accepting can be paused; and one listening thread takes
 * only so many in a turn.
 */
#define _GNU_SOURCE 1 /* accept4 */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/uv/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

enum { ACCEPTS_PER_TURN = 64 };
#define REST_NS      (100 * KITH_NS_PER_MS) /* after an error that another try at once would only repeat */
#define LOG_EVERY_NS KITH_NS_PER_S

struct uv_listener {
    struct kith_rt_listener head;
    uv_poll_t poll;
    struct kith_rt_timer rest;
    int fd;
    int spare_fd; /* given up for a moment to take, and close, a connection for which there is no descriptor; -1: none */
    bool is_unix, is_paused, is_resting, is_closed;
    uint64_t logged_ns, closed_logged;
    char unix_path[KITH_RT_UNIX_PATH_MAX + 1];
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void poll_if_wanted(struct uv_listener *listener)
{
    if (listener->is_closed)
        return;
    if (listener->is_paused || listener->is_resting) {
        uv_poll_stop(&listener->poll);
    } else {
        int result = uv_poll_start(&listener->poll, UV_READABLE, on_readable);

        KITH_ASSERT(result == 0);
    }
    kith__uv_touch(listener->head.rt);
}

static void on_rested(void *ctx, uint64_t now_ns)
{
    struct uv_listener *listener = ctx;

    (void)now_ns;
    listener->is_resting = false;
    poll_if_wanted(listener);
}

static void rest(struct uv_listener *listener)
{
    listener->is_resting = true;
    kith__rt_timer_set(&listener->rest, kith__rt_now(listener->head.rt) + REST_NS);
    poll_if_wanted(listener);
}

/** Once a second at most: there may be thousands. */
static void log_closed(struct uv_listener *listener)
{
    struct kith_rt *rt = listener->head.rt;
    uint64_t now_ns = kith__rt_now(rt), closed;

    if (listener->logged_ns != 0 && now_ns - listener->logged_ns < LOG_EVERY_NS)
        return;
    closed = listener->head.stats.closed_no_handles + listener->head.stats.closed_no_memory;
    kith__log(&rt->log, KITH_LOG_WARN, "rt", "%llu connections closed: no descriptors or no memory left",
              (unsigned long long)(closed - listener->closed_logged));
    listener->logged_ns = now_ns;
    listener->closed_logged = closed;
}

static void open_spare(struct uv_listener *listener)
{
    if (listener->spare_fd < 0)
        listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/**
 * The process may have no more descriptors: the first that waits is told at once instead of being left to wait. False: it
 * was the last (also when it turns out that none waits), or there is no way to tell it.
 */
static bool close_first(struct uv_listener *listener)
{
    int fd, number;

    if (listener->spare_fd < 0) {
        rest(listener);
        return false;
    }
    close(listener->spare_fd);
    listener->spare_fd = -1;
    fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    number = errno;
    if (fd >= 0) {
        close(fd);
        listener->head.stats.closed_no_handles++;
        log_closed(listener);
    }
    open_spare(listener);
    if (fd < 0 && number != EAGAIN)
        rest(listener);
    return fd >= 0;
}

static void hand_over(struct uv_listener *listener, int fd)
{
    struct uv_stream *stream;

    if (kith__uv_stream_adopt(listener->head.rt, fd, !listener->is_unix, &stream) != 0) {
        listener->head.stats.closed_no_memory++;
        log_closed(listener);
        return;
    }
    listener->head.stats.accepted++;
    listener->head.on_accept(listener->head.ctx, &stream->head);
}

/** Takes one connection. False: no more now. */
static bool accept_one(struct uv_listener *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0) {
        hand_over(listener, fd);
        return true;
    }
    switch (errno) {
    case EAGAIN:
        return false;
    case EINTR:
        return true;
    case EMFILE:
    case ENFILE:
        return close_first(listener);
    case ENOBUFS:
    case ENOMEM:
        rest(listener);
        return false;
    default: /* it went away while it waited, or its network did: Linux hands such errors to accept */
        listener->head.stats.failed++;
        return true;
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct uv_listener *listener = poll->data;

    (void)status, (void)events;
    open_spare(listener);
    for (int i = 0; i < ACCEPTS_PER_TURN && !listener->is_closed && !listener->is_paused; i++)
        if (!accept_one(listener))
            return;
}

/* ---- Life ---- */

static int listen_tcp(struct uv_listener *listener, const struct kith_rt_listen_options *options)
{
    struct sockaddr_storage addr;
    socklen_t size = kith__uv_sockaddr_out(&options->at.ip, &addr);
    const int on = 1;

    listener->fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return kith__uv_errno(errno);
    (void)setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* connections of before may linger */
    if (addr.ss_family == AF_INET6)
        (void)setsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (options->is_shared && setsockopt(listener->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        return KITH_ERR_UNSUPPORTED;
    kith__uv_tcp_prepare(listener->fd);
    kith__uv_tcp_set_timeout(listener->fd, options->timeout_ns);
    if (bind(listener->fd, (struct sockaddr *)&addr, size) != 0 || listen(listener->fd, (int)options->backlog) != 0)
        return kith__uv_errno(errno);
    size = sizeof addr;
    if (getsockname(listener->fd, (struct sockaddr *)&addr, &size) != 0)
        return kith__uv_errno(errno);
    kith__uv_sockaddr_in((struct sockaddr *)&addr, &listener->head.local);
    return 0;
}

static int listen_unix(struct uv_listener *listener, const struct kith_rt_listen_options *options)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", options->at.unix_path);
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return kith__uv_errno(errno);
    if (bind(listener->fd, (struct sockaddr *)&addr, sizeof addr) != 0)
        return kith__uv_errno(errno);
    snprintf(listener->unix_path, sizeof listener->unix_path, "%s", options->at.unix_path); /* ours to remove */
    return listen(listener->fd, (int)options->backlog) == 0 ? 0 : kith__uv_errno(errno);
}

static void descriptors_close(struct uv_listener *listener)
{
    if (listener->unix_path[0] != '\0')
        unlink(listener->unix_path);
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->spare_fd >= 0)
        close(listener->spare_fd);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct uv_listener *listener = handle->data;

    kith__free(listener->head.rt->mem, listener);
}

static void uv_listener_close(struct kith_rt_listener *head)
{
    struct uv_listener *listener = (struct uv_listener *)head;

    KITH_ASSERT(!listener->is_closed);
    listener->is_closed = true;
    uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
    kith__rt_timer_dispose(&listener->rest);
    descriptors_close(listener);
    kith__uv_touch(head->rt);
}

static int watch_init(struct uv_listener *listener)
{
    uv_loop_t *loop = &kith__uv_of(listener->head.rt)->loop;
    int result, err = kith__rt_timer_init(listener->head.rt, &listener->rest, on_rested, listener);

    if (err != 0)
        return err;
    if ((result = uv_poll_init(loop, &listener->poll, listener->fd)) != 0) {
        kith__rt_timer_dispose(&listener->rest);
        return kith__uv_error(result);
    }
    listener->poll.data = listener;
    return 0;
}

static int uv_listen_with(struct kith_rt *rt, const struct kith_rt_listen_options *options,
                          void (*on_accept)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                          struct kith_rt_listener **out)
{
    struct uv_listener *listener = kith__alloc_zero(rt->mem, sizeof *listener);
    int err;

    if (listener == NULL)
        return KITH_ERR_NOMEM;
    listener->head = (struct kith_rt_listener) { .rt = rt, .on_accept = on_accept, .ctx = ctx };
    listener->is_unix = options->at.unix_path != NULL;
    listener->fd = listener->spare_fd = -1;
    err = listener->is_unix ? listen_unix(listener, options) : listen_tcp(listener, options);
    if (err == 0)
        err = watch_init(listener);
    if (err != 0) {
        descriptors_close(listener);
        kith__free(rt->mem, listener);
        return err;
    }
    open_spare(listener);
    poll_if_wanted(listener);
    *out = &listener->head;
    return 0;
}

static void uv_listener_set_paused(struct kith_rt_listener *head, bool is_paused)
{
    struct uv_listener *listener = (struct uv_listener *)head;

    listener->is_paused = is_paused;
    poll_if_wanted(listener);
}

void kith__uv_listener_ops(struct kith_rt_ops *ops)
{
    ops->listen = uv_listen_with;
    ops->listener_close = uv_listener_close;
    ops->listener_set_paused = uv_listener_set_paused;
}
