/* Locks, conditions, one thread, and a descriptor that says "look here": pthreads and eventfd. */
#include "rt/thread.h"
#include "base/assert.h"
#include "base/mem.h"
#include "rt/uv/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct kith_rt_lock {
    const struct kith_mem *mem;
    pthread_mutex_t mutex;
};

struct kith_rt_condition {
    const struct kith_mem *mem;
    pthread_cond_t cond;
};

struct kith_rt_thread {
    const struct kith_mem *mem;
    pthread_t thread;
    void (*run)(void *ctx);
    void *ctx;
};

struct kith_rt_notice {
    const struct kith_mem *mem;
    int fd;
};

/** pthread calls on valid objects fail only by a bug of ours. */
static void must(int result)
{
    KITH_ASSERT(result == 0);
}

int kith__rt_lock_new(const struct kith_mem *mem, struct kith_rt_lock **out)
{
    struct kith_rt_lock *lock = kith__alloc_zero(mem, sizeof *lock);

    if (lock == NULL)
        return KITH_ERR_NOMEM;
    lock->mem = mem;
    if (pthread_mutex_init(&lock->mutex, NULL) != 0) {
        kith__free(mem, lock);
        return KITH_ERR_LIMIT;
    }
    *out = lock;
    return 0;
}

void kith__rt_lock_free(struct kith_rt_lock *lock)
{
    if (lock == NULL)
        return;
    must(pthread_mutex_destroy(&lock->mutex));
    kith__free(lock->mem, lock);
}

void kith__rt_lock_acquire(struct kith_rt_lock *lock)
{
    must(pthread_mutex_lock(&lock->mutex));
}

void kith__rt_lock_release(struct kith_rt_lock *lock)
{
    must(pthread_mutex_unlock(&lock->mutex));
}

int kith__rt_condition_new(const struct kith_mem *mem, struct kith_rt_condition **out)
{
    struct kith_rt_condition *condition = kith__alloc_zero(mem, sizeof *condition);
    pthread_condattr_t attr;
    int result;

    if (condition == NULL)
        return KITH_ERR_NOMEM;
    condition->mem = mem;
    must(pthread_condattr_init(&attr));
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    result = pthread_cond_init(&condition->cond, &attr);
    pthread_condattr_destroy(&attr);
    if (result != 0) {
        kith__free(mem, condition);
        return KITH_ERR_LIMIT;
    }
    *out = condition;
    return 0;
}

void kith__rt_condition_free(struct kith_rt_condition *condition)
{
    if (condition == NULL)
        return;
    must(pthread_cond_destroy(&condition->cond));
    kith__free(condition->mem, condition);
}

int kith__rt_condition_wait(struct kith_rt_condition *condition, struct kith_rt_lock *lock, uint64_t until_ns)
{
    struct timespec until = { .tv_sec = (time_t)KITH_MIN(until_ns / KITH_NS_PER_S, (uint64_t)INT32_MAX),
                              .tv_nsec = (long)(until_ns % KITH_NS_PER_S) };
    int result;

    if (until_ns == KITH_NEVER)
        result = pthread_cond_wait(&condition->cond, &lock->mutex);
    else
        result = pthread_cond_timedwait(&condition->cond, &lock->mutex, &until);
    KITH_ASSERT(result == 0 || result == ETIMEDOUT);
    return result == ETIMEDOUT ? KITH_ERR_TIMEOUT : 0;
}

void kith__rt_condition_broadcast(struct kith_rt_condition *condition)
{
    must(pthread_cond_broadcast(&condition->cond));
}

static void *thread_main(void *ctx)
{
    struct kith_rt_thread *thread = ctx;

    thread->run(thread->ctx);
    return NULL;
}

int kith__rt_thread_start(const struct kith_mem *mem, void (*run)(void *ctx), void *ctx, struct kith_rt_thread **out)
{
    struct kith_rt_thread *thread = kith__alloc_zero(mem, sizeof *thread);
    sigset_t all, before;
    int result;

    if (thread == NULL)
        return KITH_ERR_NOMEM;
    thread->mem = mem;
    thread->run = run;
    thread->ctx = ctx;
    /* Signals are for the user's threads; the new one inherits the mask of this moment. */
    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before));
    result = pthread_create(&thread->thread, NULL, thread_main, thread);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    if (result != 0) {
        kith__free(mem, thread);
        return KITH_ERR_LIMIT;
    }
    *out = thread;
    return 0;
}

void kith__rt_thread_join(struct kith_rt_thread *thread)
{
    if (thread == NULL)
        return;
    must(pthread_join(thread->thread, NULL));
    kith__free(thread->mem, thread);
}

bool kith__rt_thread_is_current(const struct kith_rt_thread *thread)
{
    return pthread_equal(thread->thread, pthread_self()) != 0;
}

unsigned kith__rt_core_count(void)
{
    return uv_available_parallelism();
}

int kith__rt_notice_new(const struct kith_mem *mem, struct kith_rt_notice **out)
{
    struct kith_rt_notice *notice = kith__alloc_zero(mem, sizeof *notice);

    if (notice == NULL)
        return KITH_ERR_NOMEM;
    notice->mem = mem;
    if ((notice->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
        int err = kith__uv_errno(errno);

        kith__free(mem, notice);
        return err;
    }
    *out = notice;
    return 0;
}

void kith__rt_notice_free(struct kith_rt_notice *notice)
{
    if (notice == NULL)
        return;
    close(notice->fd);
    kith__free(notice->mem, notice);
}

int kith__rt_notice_fd(const struct kith_rt_notice *notice)
{
    return notice->fd;
}

void kith__rt_notice_set(struct kith_rt_notice *notice)
{
    int result = eventfd_write(notice->fd, 1);

    KITH_ASSERT(result == 0 || errno == EAGAIN); /* EAGAIN: the counter is full, so it is readable */
}

void kith__rt_notice_clear(struct kith_rt_notice *notice)
{
    eventfd_t value;
    int result = eventfd_read(notice->fd, &value);

    KITH_ASSERT(result == 0 || errno == EAGAIN);
}
