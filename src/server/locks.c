/* Locks of the system for objects of layers that know no threads. */
#include "server/locks.h"

#include "rt/thread.h"

static int lock_new(void *ctx, void **out)
{
    struct kith_rt_lock *lock;
    int err = kith__rt_lock_new(ctx, &lock);

    if (err == 0)
        *out = lock;
    return err;
}

static void lock_free(void *ctx, void *lock)
{
    (void)ctx;
    kith__rt_lock_free(lock);
}

static void lock_acquire(void *lock)
{
    kith__rt_lock_acquire(lock);
}

static void lock_release(void *lock)
{
    kith__rt_lock_release(lock);
}

struct kith_sync kith__server_locks(const struct kith_mem *mem)
{
    return (struct kith_sync) { lock_new, lock_free, lock_acquire, lock_release, (void *)mem };
}
