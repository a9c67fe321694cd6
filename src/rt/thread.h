/**
 * Threads, for the one layer that needs them (the API's threaded mode). Independent of an rt; any thread may use them.
 */
#ifndef KITH_RT_THREAD_H
#define KITH_RT_THREAD_H

#include <kith/types.h>

struct kith_rt_lock;      /* a mutex, not recursive */
struct kith_rt_condition; /* a condition variable on the monotonic clock */
struct kith_rt_thread;
struct kith_rt_notice; /* a descriptor that is readable while the notice is set */

/** Errors: NOMEM, LIMIT. */
KITH_MUST_USE int kith__rt_lock_new(const struct kith_mem *mem, struct kith_rt_lock **out);
void kith__rt_lock_free(struct kith_rt_lock *lock);
void kith__rt_lock_acquire(struct kith_rt_lock *lock);
void kith__rt_lock_release(struct kith_rt_lock *lock);

KITH_MUST_USE int kith__rt_condition_new(const struct kith_mem *mem, struct kith_rt_condition **out);
void kith__rt_condition_free(struct kith_rt_condition *condition);
/**
 * Lets go of the held lock, waits for a broadcast or the time until_ns (of kith__rt_now in the real rt; KITH_NEVER: no limit),
 * takes the lock again. May return early: check what you wait for. KITH_ERR_TIMEOUT when the time passed.
 */
int kith__rt_condition_wait(struct kith_rt_condition *condition, struct kith_rt_lock *lock, uint64_t until_ns);
/** Ends all waits. */
void kith__rt_condition_broadcast(struct kith_rt_condition *condition);

/** Starts a thread with all signals blocked. Errors: NOMEM, LIMIT. */
KITH_MUST_USE int kith__rt_thread_start(const struct kith_mem *mem, void (*run)(void *ctx), void *ctx,
                                        struct kith_rt_thread **out);
/** Waits for its end and frees it. NULL is fine. */
void kith__rt_thread_join(struct kith_rt_thread *thread);
/** True on that thread itself. */
bool kith__rt_thread_is_current(const struct kith_rt_thread *thread);

/** Processor cores that this process may use, at least 1. */
unsigned kith__rt_core_count(void);

KITH_MUST_USE int kith__rt_notice_new(const struct kith_mem *mem, struct kith_rt_notice **out);
void kith__rt_notice_free(struct kith_rt_notice *notice);
/** The descriptor to poll; valid until free; not to be read or closed. */
int kith__rt_notice_fd(const struct kith_rt_notice *notice);
/** Makes it readable. Twice is fine. Any thread. */
void kith__rt_notice_set(struct kith_rt_notice *notice);
/** Makes it silent again. Any thread. */
void kith__rt_notice_clear(struct kith_rt_notice *notice);

#endif
