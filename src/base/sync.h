/**
 * Locks for objects of layers that know no threads and are yet shared by several: whoever shares them gives these functions. With one
 * thread none are needed (NULL): nothing is locked then.
 */
#ifndef KITH_BASE_SYNC_H
#define KITH_BASE_SYNC_H

#include <kith/types.h>

struct kith_sync {
    int (*lock_new)(void *ctx, void **out); /* a mutex, need not be recursive. Errors: NOMEM, LIMIT */
    void (*lock_free)(void *ctx, void *lock);
    void (*lock)(void *lock);
    void (*unlock)(void *lock);
    void *ctx;
};

/** *out is NULL without sync. Errors: NOMEM, LIMIT. */
static inline int kith__sync_lock_new(const struct kith_sync *sync, void **out)
{
    *out = NULL;
    return sync != NULL ? sync->lock_new(sync->ctx, out) : 0;
}
/** NULL is fine. */
static inline void kith__sync_lock_free(const struct kith_sync *sync, void *lock)
{
    if (sync != NULL && lock != NULL)
        sync->lock_free(sync->ctx, lock);
}
static inline void kith__sync_lock(const struct kith_sync *sync, void *lock)
{
    if (sync != NULL)
        sync->lock(lock);
}
static inline void kith__sync_unlock(const struct kith_sync *sync, void *lock)
{
    if (sync != NULL)
        sync->unlock(lock);
}

#endif
