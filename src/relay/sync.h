/**
 * Locks and wake-ups for what the threads of a relay share. This layer knows no threads: the owner gives these functions, made of
 * rt/thread.h. A relay with one thread gives none (NULL): nothing is locked then.
 */
#ifndef KITH_RELAY_SYNC_H
#define KITH_RELAY_SYNC_H

#include "base/sync.h"

struct kith_relay_sync {
    struct kith_sync locks;
    /** There is something in the inbox of a worker: its thread is to call kith__relay_server_on_inbox soon. Any thread. */
    void (*wake)(void *ctx, unsigned worker);
    void *ctx;
};

static inline const struct kith_sync *kith__relay_locks(const struct kith_relay_sync *sync)
{
    return sync != NULL ? &sync->locks : NULL;
}
static inline int kith__relay_lock_new(const struct kith_relay_sync *sync, void **out)
{
    return kith__sync_lock_new(kith__relay_locks(sync), out);
}
static inline void kith__relay_lock_free(const struct kith_relay_sync *sync, void *lock)
{
    kith__sync_lock_free(kith__relay_locks(sync), lock);
}
static inline void kith__relay_lock(const struct kith_relay_sync *sync, void *lock)
{
    kith__sync_lock(kith__relay_locks(sync), lock);
}
static inline void kith__relay_unlock(const struct kith_relay_sync *sync, void *lock)
{
    kith__sync_unlock(kith__relay_locks(sync), lock);
}

#endif
