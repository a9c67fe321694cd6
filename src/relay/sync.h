/**
 * Locks and wake-ups for what the threads of a relay share. This layer knows no threads: the owner gives these functions, made of
 * rt/thread.h. A relay with one thread gives none (NULL): nothing is locked then.
 */
#ifndef KITH_RELAY_SYNC_H
#define KITH_RELAY_SYNC_H

#include <kith/types.h>

struct kith_relay_sync {
    int (*lock_new)(void *ctx, void **out); /* a mutex, need not be recursive. Errors: NOMEM, LIMIT */
    void (*lock_free)(void *ctx, void *lock);
    void (*lock)(void *lock);
    void (*unlock)(void *lock);
    /** There is something in the inbox of a worker: its thread is to call kith__relay_server_on_inbox soon. Any thread. */
    void (*wake)(void *ctx, unsigned worker);
    void *ctx;
};

static inline int kith__relay_lock_new(const struct kith_relay_sync *sync, void **out)
{
    *out = NULL;
    return sync != NULL ? sync->lock_new(sync->ctx, out) : 0;
}
static inline void kith__relay_lock_free(const struct kith_relay_sync *sync, void *lock)
{
    if (sync != NULL && lock != NULL)
        sync->lock_free(sync->ctx, lock);
}
static inline void kith__relay_lock(const struct kith_relay_sync *sync, void *lock)
{
    if (sync != NULL)
        sync->lock(lock);
}
static inline void kith__relay_unlock(const struct kith_relay_sync *sync, void *lock)
{
    if (sync != NULL)
        sync->unlock(lock);
}

#endif
