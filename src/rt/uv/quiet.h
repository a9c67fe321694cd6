/**
 * Writing to a socket whose other side is gone raises SIGPIPE, which ends a program that does not know of it; libuv writes
 * without MSG_NOSIGNAL. A library may not change what the program does about signals, so each stretch of code that may write
 * stands between these two: meanwhile the thread takes none, and one that came is thrown away. The error comes back as EPIPE.
 */
#ifndef KITH_RT_UV_QUIET_H
#define KITH_RT_UV_QUIET_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

struct kith_uv_quiet {
    sigset_t before;
};

static inline void kith__uv_quiet_begin(struct kith_uv_quiet *quiet)
{
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &quiet->before);
}

static inline void kith__uv_quiet_end(const struct kith_uv_quiet *quiet)
{
    static const struct timespec at_once;
    sigset_t pipe;

    if (sigismember(&quiet->before, SIGPIPE))
        return; /* who blocks it for itself keeps it so */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    while (sigtimedwait(&pipe, NULL, &at_once) > 0)
        continue;
    pthread_sigmask(SIG_SETMASK, &quiet->before, NULL);
}

#endif
