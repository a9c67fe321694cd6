/* The program's own event loop. */
#include "loop.h"

#include "output.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_CODE_INTERRUPTED = 130 };

static volatile sig_atomic_t signal_count;
static int signal_pipe[2] = { -1, -1 };

static void on_signal(int number)
{
    int saved = errno;
    ssize_t ignored;

    (void)number;
    if (++signal_count > 1) {
        output_restore_terminal();
        _exit(EXIT_CODE_INTERRUPTED);
    }
    ignored = write(signal_pipe[1], "", 1); /* the pipe is empty: this cannot fail for want of room */
    (void)ignored;
    errno = saved;
}

static int install_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };

    if (pipe(signal_pipe) != 0)
        return KITH_ERR_IO;
    for (int i = 0; i < 2; i++) {
        fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC);
        fcntl(signal_pipe[i], F_SETFL, O_NONBLOCK);
    }
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaction(numbers[i], &action, NULL);
    action.sa_handler = SIG_IGN; /* a closed pipe is an error of write(), told in words */
    sigaction(SIGPIPE, &action, NULL);
    return 0;
}

int loop_init(struct loop *loop, void (*log)(void *ctx, int level, const char *part, const char *text), void *log_ctx,
              int log_level)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER, .log = log,
                                            .log_ctx = log_ctx, .log_level = log_level };

    memset(loop, 0, sizeof *loop);
    loop->watches.next = loop->watches.previous = &loop->watches;
    loop->timers.next = loop->timers.previous = &loop->timers;
    if (install_signals() != 0)
        return KITH_ERR_IO;
    return kith_context_new(&options, &loop->context);
}

void loop_dispose(struct loop *loop)
{
    kith_context_free(loop->context);
    free(loop->polls);
    free(loop->polled);
    memset(loop, 0, sizeof *loop);
}

uint64_t loop_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * KITH_NS_PER_S + (uint64_t)now.tv_nsec;
}

void loop_watch_set(struct loop *loop, struct loop_watch *watch, int fd, short events)
{
    if (events == 0) {
        loop_watch_stop(watch);
        return;
    }
    watch->fd = fd;
    watch->events = events;
    if (watch->loop != NULL)
        return;
    watch->loop = loop;
    watch->slot = SIZE_MAX;
    watch->next = &loop->watches;
    watch->previous = loop->watches.previous;
    watch->previous->next = watch->next->previous = watch;
}

void loop_watch_stop(struct loop_watch *watch)
{
    struct loop *loop = watch->loop;

    if (loop == NULL)
        return;
    if (watch->slot < loop->poll_count)
        loop->polled[watch->slot] = NULL;
    watch->previous->next = watch->next;
    watch->next->previous = watch->previous;
    watch->loop = NULL;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t after_ns)
{
    uint64_t now = loop_now();

    loop_timer_stop(timer);
    timer->due_ns = after_ns < KITH_NEVER - now ? now + after_ns : KITH_NEVER;
    timer->loop = loop;
    timer->next = &loop->timers;
    timer->previous = loop->timers.previous;
    timer->previous->next = timer->next->previous = timer;
}

void loop_timer_stop(struct loop_timer *timer)
{
    if (timer->loop == NULL)
        return;
    timer->previous->next = timer->next;
    timer->next->previous = timer->previous;
    timer->loop = NULL;
}

static uint64_t timeout_of(const struct loop *loop)
{
    uint64_t timeout = kith_context_timeout(loop->context), now = loop_now();

    for (const struct loop_timer *timer = loop->timers.next; timer != &loop->timers; timer = timer->next) {
        uint64_t left = timer->due_ns > now ? timer->due_ns - now : 0;

        timeout = left < timeout ? left : timeout;
    }
    return timeout;
}

static int fill_polls(struct loop *loop)
{
    size_t count = 2;

    for (struct loop_watch *watch = loop->watches.next; watch != &loop->watches; watch = watch->next)
        count++;
    if (count > loop->poll_capacity) {
        size_t capacity = count * 2;

        free(loop->polls);
        free(loop->polled);
        loop->poll_capacity = loop->poll_count = 0;
        loop->polls = calloc(capacity, sizeof *loop->polls);
        loop->polled = calloc(capacity, sizeof *loop->polled);
        if (loop->polls == NULL || loop->polled == NULL)
            return KITH_ERR_NOMEM;
        loop->poll_capacity = capacity;
    }
    loop->polls[0] = (struct pollfd) { .fd = kith_context_fd(loop->context), .events = POLLIN };
    loop->polls[1] = (struct pollfd) { .fd = signal_pipe[0], .events = POLLIN };
    count = 2;
    for (struct loop_watch *watch = loop->watches.next; watch != &loop->watches; watch = watch->next) {
        loop->polls[count] = (struct pollfd) { .fd = watch->fd, .events = watch->events };
        loop->polled[count] = watch;
        watch->slot = count++;
    }
    loop->poll_count = count;
    return 0;
}

static void serve_timers(struct loop *loop)
{
    uint64_t now = loop_now();
    struct loop_timer *timer = loop->timers.next;

    /* A callback may set or stop any timer: begin again after each. New ones are due after `now`. */
    while (timer != &loop->timers) {
        if (timer->due_ns > now) {
            timer = timer->next;
            continue;
        }
        loop_timer_stop(timer);
        timer->on_due(timer->user);
        timer = loop->timers.next;
    }
}

bool loop_check_interrupted(struct loop *loop)
{
    loop->is_interrupted |= signal_count > 0;
    return loop->is_interrupted;
}

int loop_turn(struct loop *loop)
{
    uint64_t timeout;
    struct timespec limit;
    int ready, err;

    if (fill_polls(loop) != 0)
        return KITH_ERR_NOMEM;
    timeout = timeout_of(loop);
    limit = (struct timespec) { .tv_sec = (time_t)(timeout / KITH_NS_PER_S),
                                .tv_nsec = (long)(timeout % KITH_NS_PER_S) };
    ready = ppoll(loop->polls, (nfds_t)loop->poll_count, timeout == KITH_NEVER ? NULL : &limit, NULL);
    loop_check_interrupted(loop);
    if (ready < 0 && errno != EINTR)
        return KITH_ERR_IO;
    if ((err = kith_context_process(loop->context)) < 0)
        return err;
    for (size_t i = 2; ready > 0 && i < loop->poll_count; i++) {
        struct loop_watch *watch = loop->polled[i];

        if (watch != NULL && loop->polls[i].revents != 0)
            watch->on_ready(watch->user);
    }
    loop->poll_count = 0;
    serve_timers(loop);
    return 0;
}

int loop_run(struct loop *loop, const bool *done)
{
    int err;

    while (!*done) {
        if (loop->is_interrupted)
            return KITH_ERR_CANCELLED;
        if ((err = loop_turn(loop)) != 0)
            return err;
    }
    return 0;
}

int loop_wait(struct loop *loop, struct kith_op *op)
{
    int err;

    while (kith_op_result(op) == KITH_ERR_AGAIN) {
        if (loop->is_interrupted)
            return KITH_ERR_CANCELLED;
        if ((err = loop_turn(loop)) != 0)
            return err;
    }
    return kith_op_result(op);
}
