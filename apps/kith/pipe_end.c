/* Descriptors that never block the loop. */
#include "pipe_end.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIPE_SIZE = 1 << 20, BACKLOG = 128 };

struct pipe_end pipe_end_standard(int fd, bool is_output)
{
    struct pipe_end end = { .fd = fd, .kind = PIPE_END_SHARED };
    struct stat info;
    char path[32];
    int own;

    if (fstat(fd, &info) != 0)
        return end;
    if (S_ISSOCK(info.st_mode)) {
        end.kind = PIPE_END_SOCKET;
    } else if (S_ISREG(info.st_mode) || S_ISBLK(info.st_mode)) {
        end.kind = PIPE_END_FILE;
    } else {
        if (S_ISFIFO(info.st_mode))
            (void)fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE); /* fewer turns for each byte; a refusal costs only that */
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if ((own = open(path, (is_output ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)) >= 0) {
            /* The old descriptor would keep a pipe open after our end of it was closed. */
            if (dup3(own, fd, 0) == fd)
                close(own);
            end.kind = PIPE_END_OWN;
        }
    }
    return end;
}

struct pipe_end pipe_end_socket(int fd)
{
    return (struct pipe_end) { .fd = fd, .kind = PIPE_END_SOCKET };
}

bool pipe_end_is_eager(const struct pipe_end *end)
{
    return end->kind != PIPE_END_SHARED;
}

ssize_t pipe_end_read(const struct pipe_end *end, void *buffer, size_t size)
{
    ssize_t got;

    do
        got = end->kind == PIPE_END_SOCKET ? recv(end->fd, buffer, size, MSG_DONTWAIT) : read(end->fd, buffer, size);
    while (got < 0 && errno == EINTR);
    return got;
}

ssize_t pipe_end_write(const struct pipe_end *end, const void *bytes, size_t size)
{
    struct pollfd ready = { .fd = end->fd, .events = POLLOUT };
    ssize_t written;

    if (end->kind == PIPE_END_SHARED) {
        /* A pipe that is writable takes this much without waiting (POSIX, PIPE_BUF). */
        if (poll(&ready, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        size = size < PIPE_BUF ? size : PIPE_BUF;
    }
    do
        written = end->kind == PIPE_END_SOCKET ? send(end->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                                               : write(end->fd, bytes, size);
    while (written < 0 && errno == EINTR);
    return written;
}

/* Standard descriptors are given to /dev/null instead of being closed: their numbers must not come to mean a socket. */
static void close_fd(int fd)
{
    int nothing = fd <= STDERR_FILENO ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;

    if (nothing >= 0) {
        dup2(nothing, fd);
        close(nothing);
    } else {
        close(fd);
    }
}

void pipe_end_finish(struct pipe_end *end)
{
    if (end->kind == PIPE_END_SOCKET) {
        shutdown(end->fd, SHUT_WR);
    } else if (end->fd >= 0) {
        close_fd(end->fd);
        end->fd = -1;
    }
}

void pipe_end_close(struct pipe_end *end, bool abort)
{
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

    if (end->fd < 0)
        return;
    if (abort && end->kind == PIPE_END_SOCKET)
        setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close_fd(end->fd);
    end->fd = -1;
}

/* ---- Sockets ---- */

const char *socket_target_tcp(struct socket_target *target, const char *text)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *list = NULL;
    const char *colon = strrchr(text, ':'), *name = text;
    char host[256];
    size_t size;

    memset(target, 0, sizeof *target);
    if (colon == NULL || colon[1] == 0 || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        atoi(colon + 1) > 65535)
        return "a host and port are expected, like localhost:8080 or [::1]:22";
    size = (size_t)(colon - text);
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size >= sizeof host)
        return "the host's name is too long";
    memcpy(host, text, size);
    host[size] = 0;
    hints.ai_flags |= AI_NUMERICHOST;
    if (size == 0 || getaddrinfo(host, colon + 1, &hints, &list) != 0) {
        hints.ai_flags &= ~AI_NUMERICHOST;
        target->name = name;
        if (getaddrinfo(size > 0 ? host : "localhost", colon + 1, &hints, &list) != 0)
            return "this host is not known";
    }
    for (const struct addrinfo *info = list; info != NULL && target->count < SOCKET_TARGETS_MAX; info = info->ai_next) {
        memcpy(&target->items[target->count], info->ai_addr, info->ai_addrlen);
        target->sizes[target->count++] = info->ai_addrlen;
    }
    freeaddrinfo(list);
    return target->count > 0 ? NULL : "this host has no address";
}

const char *socket_target_unix(struct socket_target *target, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    memset(target, 0, sizeof *target);
    if (*path == 0 || strlen(path) >= sizeof address.sun_path)
        return "a path of at most 107 characters is expected";
    memcpy(address.sun_path, path, strlen(path) + 1);
    memcpy(&target->items[0], &address, sizeof address);
    target->sizes[0] = sizeof address;
    target->count = 1;
    target->path = path;
    return NULL;
}

/* The resolver's functions wait; what they find fits into one write to a pipe, which nobody else has to lock. */
_Static_assert(sizeof(struct socket_target) <= PIPE_BUF, "an answer is written whole");

struct question {
    int fd;
    char name[];
};

static void *answer(void *ctx)
{
    struct question *question = ctx;
    struct socket_target target;
    ssize_t written = 0;

    if (socket_target_tcp(&target, question->name) == NULL)
        written = write(question->fd, &target, sizeof target); /* fails where nobody waits for it any more */
    (void)written;
    close(question->fd);
    free(question);
    return NULL;
}

/* Signals are for the thread of the loop; SIGPIPE is for nobody. */
static int start_thread(struct question *question)
{
    sigset_t all, before;
    pthread_t thread;
    int problem;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    problem = pthread_create(&thread, NULL, answer, question);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (problem == 0)
        pthread_detach(thread);
    return problem;
}

int socket_resolve_start(const char *name)
{
    struct question *question = calloc(1, sizeof *question + strlen(name) + 1);
    int fds[2], problem;

    if (question == NULL)
        return -1;
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        free(question);
        return -1;
    }
    question->fd = fds[1];
    memcpy(question->name, name, strlen(name) + 1);
    if ((problem = start_thread(question)) == 0)
        return fds[0];
    close(fds[0]);
    close(fds[1]);
    free(question);
    errno = problem;
    return -1;
}

bool socket_resolve_take(int fd, struct socket_target *out)
{
    struct socket_target found;
    const char *name = out->name;

    if (read(fd, &found, sizeof found) != (ssize_t)sizeof found)
        return false;
    *out = found;
    out->name = name; /* the answer's is the thread's */
    return true;
}

static void set_no_delay(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails for unix sockets, where it means nothing */
}

int socket_dial(const struct socket_target *target, size_t index)
{
    const struct sockaddr *address = (const struct sockaddr *)&target->items[index];
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), saved;

    if (fd < 0)
        return -1;
    set_no_delay(fd);
    if (connect(fd, address, target->sizes[index]) == 0 || errno == EINPROGRESS)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int socket_dial_result(int fd)
{
    int result = 0;
    socklen_t size = sizeof result;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &size) != 0 ? errno : result;
}

/* True if the path is a socket that nobody listens on: what a program that was killed leaves behind. */
static bool is_stale_socket(const struct socket_target *target)
{
    struct stat info;
    int fd;

    if (lstat(target->path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return false;
    if ((fd = socket_dial(target, 0)) >= 0) {
        close(fd);
        return false;
    }
    return errno == ECONNREFUSED;
}

static void format_bound(int fd, const struct socket_target *target, char *text)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    char host[64] = "?", port[16] = "?";

    if (target->path != NULL) {
        snprintf(text, SOCKET_TEXT_SIZE, "%s", target->path);
        return;
    }
    if (getsockname(fd, (struct sockaddr *)&bound, &size) == 0)
        (void)getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                          NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(text, SOCKET_TEXT_SIZE, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

int socket_listen(const struct socket_target *target, char *text)
{
    const struct sockaddr *address = (const struct sockaddr *)&target->items[0];
    int fd, on = 1, saved;

    if (target->path != NULL && is_stale_socket(target))
        unlink(target->path);
    if ((fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
        return -1;
    if (target->path == NULL)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address, target->sizes[0]) == 0 && listen(fd, BACKLOG) == 0) {
        format_bound(fd, target, text);
        return fd;
    }
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int socket_accept(int fd)
{
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (client >= 0)
        set_no_delay(client);
    return client;
}
