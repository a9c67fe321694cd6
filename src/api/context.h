/**
 * A context: the loop, its lock, the operations that wait for their callbacks or their limits.
 *
 * Locking: one lock for each context. A public call takes it, works on the engine directly, and leaves; whoever drives the
 * loop (the thread of a THREAD context, else the caller) holds it for each turn and lets go of it while it sleeps. So the
 * engine below needs no locks, and kith_op_cancel may come from any thread. Callbacks run without the lock, on the thread that called kith_context_process or a blocking function.
 */
#ifndef KITH_API_CONTEXT_H
#define KITH_API_CONTEXT_H

#include "api/op.h"
#include "base/heap.h"
#include "base/log.h"
#include "rt/rt.h"

enum { KITH_CALLBACK_ROUNDS_MAX = 16 }; /* in one kith_context_process */

struct kith_context {
    const struct kith_mem *mem;
    uint8_t mode;              /* enum kith_context_mode */
    bool is_owned_by_endpoint; /* made by kith_endpoint_bind: ends with it */
    bool must_stop, was_woken;
    bool is_ended;           /* kith_context_free came; the rest lives until the last handle of it was given back */
    size_t object_count;     /* operations and endpoints that refer to the context, and calls that run callbacks */
    struct kith_list ops;    /* all operations */
    uint64_t sleeping_until; /* THREAD: the loop's thread sleeps until then; 0: it is awake */
    struct kith_log log;
    void (*log_user)(void *ctx, int level, const char *part, const char *text);
    void *log_user_ctx;
    struct kith_rt *rt;
    struct kith_rt_lock *lock;
    struct kith_rt_condition *changed; /* THREAD: something that a waiting user may wait for has changed */
    uint64_t changes;                  /* how often: who flushes before it waits sees whether that was it already */
    struct kith_rt_thread *thread;
    struct kith_rt_notice *notice; /* THREAD: makes the descriptor of kith_context_fd readable */
    struct kith_list finished;     /* operations whose callback is due */
    struct kith_heap limits;       /* pending operations with a limit, by time */
    struct kith_rt_timer limit_timer;
    struct kith_dns_client *dns; /* of the first endpoint that named DNS servers: for the names of hosts; NULL */
    struct kith_dns_hosts *dns_hosts;
    struct kith_list endpoints;
    struct kith_list dirty; /* endpoints with something to send: flushed before the loop waits */
    struct kith_list jobs;  /* kith_job: work that goes on in the next turn */
    struct kith_list calls; /* kith_call: callbacks that are due and belong to no operation */
    struct kith_rt_timer job_timer;
};

/** Long work in slices, so that the loop stays live. By value in its owner; ctx is set once, before the first schedule. */
struct kith_job {
    struct kith_list node;  /* kith__job_init */
    void (*run)(void *ctx); /* one slice, lock held; may schedule itself again, and free its owner */
    void *ctx;
};
static inline void kith__job_init(struct kith_job *job, void (*run)(void *ctx), void *ctx)
{
    kith__list_init(&job->node);
    job->run = run;
    job->ctx = ctx;
}
/** Lock held: one slice in the next turn; twice is once. */
void kith__context_schedule(struct kith_context *context, struct kith_job *job);
/** Takes it back; fine for one that is not scheduled. */
static inline void kith__job_cancel(struct kith_job *job)
{
    kith__list_remove(&job->node);
}

/**
 * A callback of the user's that belongs to no operation: run inside kith_context_process and inside calls that wait, whatever the
 * mode, so that what a blocking call waits for can come from the program itself. By value in its owner.
 */
struct kith_call {
    struct kith_list node; /* kith__call_init */
    /** Lock held; lets go of it for the callback itself (kith__context_leave, kith__context_enter). May free its owner. */
    void (*run)(struct kith_call *call);
};
static inline void kith__call_init(struct kith_call *call, void (*run)(struct kith_call *call))
{
    kith__list_init(&call->node);
    call->run = run;
}
/** Lock held: it is due; twice is once. */
void kith__context_call(struct kith_context *context, struct kith_call *call);
/** Takes it back; fine for one that is not due. */
static inline void kith__call_cancel(struct kith_call *call)
{
    kith__list_remove(&call->node);
}

/** Takes the lock: at the start of every public call. */
void kith__context_enter(struct kith_context *context);
/**
 * Sends what the call produced (THREAD: at once), and lets go of the lock. The context is gone after this if it had ended
 * and the call gave back the last handle: nothing of it may be touched any more.
 */
void kith__context_leave(struct kith_context *context);
/** Lock held: names of hosts are asked of these servers from here on, unless it was decided before. NOMEM, LIMIT. */
KITH_MUST_USE int kith__context_use_dns(struct kith_context *context, const struct kith_sockaddr *servers,
                                        size_t count);
/** Lock held: something changed that a waiter may wait for. */
void kith__context_changed(struct kith_context *context);
/** Lock held: waits for one change, or until the time; runs the loop in CALLER mode. */
void kith__context_wait(struct kith_context *context, uint64_t until_ns);
/** Lock held: whether kith_context_wake was called since the last question. */
bool kith__context_take_wake(struct kith_context *context);
/** Lock held: monotonic time of the context; 0 once it has ended. */
uint64_t kith__context_now(const struct kith_context *context);
/** Lock held: arms the timer for the first limit. */
void kith__context_limits_changed(struct kith_context *context);
/** A time limit from now as a point in time; KITH_WAIT is KITH_NEVER. */
uint64_t kith__context_until(const struct kith_context *context, uint64_t limit_ns);

#endif
