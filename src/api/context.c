/* Contexts: who runs the loop, and how callers wait. */
#include "api/context.h"

#include "api/objects.h"
#include "base/assert.h"
#include "base/mem.h"
#include "lookup/dns_hosts.h"
#include "rt/uv/uv.h"
#include <string.h>

uint64_t kith__context_now(const struct kith_context *context)
{
    return context->rt != NULL ? kith__rt_now(context->rt) : 0;
}

uint64_t kith__context_until(const struct kith_context *context, uint64_t limit_ns)
{
    uint64_t now = kith__context_now(context);

    return limit_ns >= KITH_NEVER - now ? KITH_NEVER : now + limit_ns;
}

static bool has_callbacks(const struct kith_context *context)
{
    return !kith__list_is_empty(&context->finished) || !kith__list_is_empty(&context->calls);
}

void kith__context_changed(struct kith_context *context)
{
    context->changes++;
    if (context->changed != NULL)
        kith__rt_condition_broadcast(context->changed);
    if (context->notice != NULL && has_callbacks(context))
        kith__rt_notice_set(context->notice);
}

void kith__context_limits_changed(struct kith_context *context)
{
    struct kith_heap_node *first = kith__heap_first(&context->limits);

    if (context->is_ended)
        return;
    kith__rt_timer_set(&context->limit_timer, first != NULL ? first->key : KITH_NEVER);
}

static void on_limit(void *ctx, uint64_t now_ns)
{
    struct kith_context *context = ctx;

    kith__op_limits_expire(context, now_ns);
    kith__context_limits_changed(context);
}

void kith__context_schedule(struct kith_context *context, struct kith_job *job)
{
    if (!kith__list_is_linked(&job->node))
        kith__list_push_back(&context->jobs, &job->node);
    if (!kith__rt_timer_is_set(&context->job_timer))
        kith__rt_timer_set(&context->job_timer, 0);
}

/* One slice for each job that waits now, in the order in which they came: that is what makes them share. */
static void on_jobs(void *ctx, uint64_t now_ns)
{
    struct kith_context *context = ctx;
    struct kith_list due, *node;

    (void)now_ns;
    kith__list_init(&due);
    while ((node = kith__list_first(&context->jobs)) != NULL) {
        kith__list_remove(node);
        kith__list_push_back(&due, node);
    }
    while ((node = kith__list_first(&due)) != NULL) {
        struct kith_job *job = KITH_CONTAINER(node, struct kith_job, node);

        kith__list_remove(node);
        job->run(job->ctx);
    }
}

void kith__context_call(struct kith_context *context, struct kith_call *call)
{
    if (kith__list_is_linked(&call->node))
        return;
    kith__list_push_back(&context->calls, &call->node);
    kith__context_changed(context);
}

/* Runs those that are due now; not those that become due meanwhile. Returns how many ran. */
static int run_calls(struct kith_context *context)
{
    struct kith_list *node;
    int due = 0, count = 0;

    KITH_LIST_EACH(each, &context->calls)
    due++;
    while (count < due && (node = kith__list_first(&context->calls)) != NULL) {
        struct kith_call *call = KITH_CONTAINER(node, struct kith_call, node);

        kith__list_remove(node);
        call->run(call);
        count++;
    }
    return count;
}

/* Every endpoint with something new to send gets its turn. */
static void flush_dirty(struct kith_context *context)
{
    struct kith_list *node;

    while ((node = kith__list_first(&context->dirty)) != NULL) {
        struct kith_endpoint *endpoint = KITH_CONTAINER(node, struct kith_endpoint, dirty_node);

        kith__list_remove(node);
        kith__driver_pump(endpoint->driver);
    }
}

void kith__context_enter(struct kith_context *context)
{
    kith__rt_lock_acquire(context->lock);
}

/* Sends now, and makes sure that the sleeping loop learns of an earlier deadline. */
static void flush_and_wake(struct kith_context *context)
{
    flush_dirty(context);
    if (kith__rt_deadline(context->rt) < context->sleeping_until) {
        context->sleeping_until = 0;
        kith__rt_wake(context->rt);
    }
}

/* What is left after kith_context_free, or all of it where it could not be made. */
static void context_dispose(struct kith_context *context)
{
    kith__rt_notice_free(context->notice);
    kith__rt_condition_free(context->changed);
    kith__rt_lock_free(context->lock);
    kith__free(context->mem, context);
}

void kith__context_leave(struct kith_context *context)
{
    bool is_over = context->is_ended && context->object_count == 0;

    /* CALLER: the next turn of the loop sends, so that small writes go out together. */
    if (context->mode == KITH_CONTEXT_THREAD && !context->is_ended)
        flush_and_wake(context);
    kith__rt_lock_release(context->lock);
    if (is_over)
        context_dispose(context);
}

/* One turn of the loop, lock held. */
static void turn(struct kith_context *context)
{
    flush_dirty(context);
    kith__rt_process(context->rt);
    flush_dirty(context);
}

static void run_thread(void *ctx)
{
    struct kith_context *context = ctx;

    uint64_t until;

    kith__rt_lock_acquire(context->lock);
    while (!context->must_stop) {
        turn(context);
        context->sleeping_until = until = kith__rt_deadline(context->rt);
        kith__rt_lock_release(context->lock);
        kith__rt_wait(context->rt, until);
        kith__rt_lock_acquire(context->lock);
        context->sleeping_until = 0;
    }
    kith__rt_lock_release(context->lock);
}

void kith__context_wait(struct kith_context *context, uint64_t until_ns)
{
    uint64_t deadline, changes = context->changes;

    if (run_calls(context) > 0)
        return; /* what is waited for may have come with them */
    if (context->mode == KITH_CONTEXT_THREAD)
        flush_and_wake(context);
    else
        flush_dirty(context);
    if (context->changes != changes)
        return; /* what is waited for may have come with the flush: nobody would wake us up for it again */
    if (context->mode == KITH_CONTEXT_THREAD) {
        kith__rt_condition_wait(context->changed, context->lock, until_ns);
        return; /* the caller comes back if that was not it, and runs the calls that are due */
    }
    deadline = kith__rt_deadline(context->rt);
    kith__rt_lock_release(context->lock);
    kith__rt_wait(context->rt, deadline < until_ns ? deadline : until_ns);
    kith__rt_lock_acquire(context->lock);
    turn(context);
}

/* Runs the callbacks that are due now, without the lock; not those that become due meanwhile. Returns how many ran. */
static int run_callbacks(struct kith_context *context)
{
    struct kith_list *node;
    int due = 0, count = 0, calls = run_calls(context);

    KITH_LIST_EACH(each, &context->finished)
    due++;
    while (count < due && (node = kith__list_first(&context->finished)) != NULL) {
        struct kith_op *op = KITH_CONTAINER(node, struct kith_op, finished);
        kith_op_callback *callback = op->callback;
        void *user = op->user;

        kith__list_remove(node);
        op->callback = NULL;
        kith__context_leave(context);
        callback(op, user); /* may free the operation */
        kith__context_enter(context);
        count++;
    }
    if (context->notice != NULL && !has_callbacks(context))
        kith__rt_notice_clear(context->notice);
    return count + calls;
}

static void write_log(void *ctx, enum kith_log_level level, const char *part, const char *text)
{
    struct kith_context *context = ctx;

    context->log_user(context->log_user_ctx, (int)level, part, text);
}

/* What only a context with a thread has. */
static int start_thread(struct kith_context *context)
{
    int err;

    if ((err = kith__rt_condition_new(context->mem, &context->changed)) != 0)
        return err;
    if ((err = kith__rt_notice_new(context->mem, &context->notice)) != 0)
        return err;
    return kith__rt_thread_start(context->mem, run_thread, context, &context->thread);
}

static int context_init(struct kith_context *context, const struct kith_context_options *options)
{
    int err;

    context->mode = options->mode;
    context->log_user = options->log;
    context->log_user_ctx = options->log_ctx;
    context->log = (struct kith_log) { options->log != NULL ? write_log : NULL, context,
                                       (enum kith_log_level)options->log_level };
    kith__list_init(&context->finished);
    kith__list_init(&context->ops);
    kith__list_init(&context->endpoints);
    kith__list_init(&context->dirty);
    kith__list_init(&context->jobs);
    kith__list_init(&context->calls);
    kith__heap_init(&context->limits, context->mem);
    if ((err = kith__rt_lock_new(context->mem, &context->lock)) != 0)
        return err;
    if ((err = kith__rt_uv_new(context->mem, &context->log, &context->rt)) != 0)
        return err;
    if ((err = kith__rt_timer_init(context->rt, &context->limit_timer, on_limit, context)) != 0)
        return err;
    if ((err = kith__rt_timer_init(context->rt, &context->job_timer, on_jobs, context)) != 0)
        return err;
    return context->mode == KITH_CONTEXT_THREAD ? start_thread(context) : 0;
}

int kith__context_use_dns(struct kith_context *context, const struct kith_sockaddr *servers, size_t count)
{
    struct kith_dns_options options = { .servers = servers, .server_count = count };
    int err;

    if (count == 0 || context->dns != NULL)
        return 0;
    if ((err = kith__dns_client_new(context->rt, context->mem, &options, &context->dns)) != 0)
        return err;
    if ((err = kith__dns_hosts_new(context->rt, context->mem, context->dns, &context->dns_hosts)) != 0) {
        kith__dns_client_free(context->dns);
        context->dns = NULL;
    }
    return err;
}

/* Everything but what handles that are still held refer to: the lock, the error records, the objects themselves. */
static void context_end(struct kith_context *context)
{
    struct kith_list *node;

    KITH_LIST_EACH(each, &context->ops)
    kith__op_end(KITH_CONTAINER(each, struct kith_op, all));
    while ((node = kith__list_first(&context->endpoints)) != NULL)
        kith__api_endpoint_destroy(KITH_CONTAINER(node, struct kith_endpoint, node));
    if (context->rt != NULL) {
        kith__rt_timer_dispose(&context->limit_timer);
        kith__rt_timer_dispose(&context->job_timer);
    }
    kith__dns_hosts_free(context->dns_hosts);
    kith__dns_client_free(context->dns);
    kith__rt_free(context->rt);
    context->rt = NULL;
    kith__heap_dispose(&context->limits);
    context->is_ended = true;
}

int kith_context_new(const struct kith_context_options *options, struct kith_context **out)
{
    struct kith_context_options with_defaults = { 0 };
    struct kith_context *context;
    int err;

    if (options == NULL || options->size > sizeof with_defaults ||
        options->size < offsetof(struct kith_context_options, mem))
        return kith__fail(KITH_ERR_INVALID, 0, "the options were not initialised with KITH_CONTEXT_OPTIONS_INIT");
    memcpy(&with_defaults, options, options->size);
    if (with_defaults.mode > KITH_CONTEXT_CALLER)
        return kith__fail(KITH_ERR_INVALID, 0, "there is no context mode %d", with_defaults.mode);
    if (with_defaults.mem == NULL)
        with_defaults.mem = kith_mem_default();
    if ((context = kith__alloc_zero(with_defaults.mem, sizeof *context)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the context cannot be made");
    context->mem = with_defaults.mem;
    if ((err = context_init(context, &with_defaults)) != 0) {
        context_end(context);
        context_dispose(context);
        return kith__fail_because(err, "the event loop could not be started");
    }
    *out = context;
    return 0;
}

static void stop_thread(struct kith_context *context)
{
    if (context->thread == NULL)
        return;
    kith__rt_lock_acquire(context->lock);
    context->must_stop = true;
    kith__rt_wake(context->rt);
    kith__rt_lock_release(context->lock);
    kith__rt_thread_join(context->thread);
    context->thread = NULL;
}

void kith_context_free(struct kith_context *context)
{
    if (context == NULL)
        return;
    stop_thread(context);
    kith__context_enter(context);
    context_end(context);
    kith__context_leave(context);
}

int kith_context_fd(struct kith_context *context)
{
    return context->notice != NULL ? kith__rt_notice_fd(context->notice) : kith__rt_fd(context->rt);
}

uint64_t kith_context_timeout(struct kith_context *context)
{
    uint64_t deadline, now;

    if (context->mode == KITH_CONTEXT_THREAD)
        return KITH_NEVER; /* the descriptor says all */
    kith__context_enter(context);
    flush_dirty(context); /* the caller sleeps after this: nothing written may wait for it to wake up */
    now = kith__context_now(context);
    if (has_callbacks(context))
        deadline = 0;
    else
        deadline = kith__rt_deadline(context->rt);
    kith__context_leave(context);
    if (deadline == KITH_NEVER)
        return KITH_NEVER;
    return deadline > now ? deadline - now : 0;
}

/*
 * Callbacks often start what is done at once (the next read, a write of what was read), and then its callback is due: it
 * runs too before anything is sent, so that a whole exchange takes one turn and as few datagrams as possible. The bound
 * keeps callbacks that go on like this for ever from keeping the caller here.
 */
static int run_callback_rounds(struct kith_context *context)
{
    int count = 0, rounds = 0;

    context->object_count++; /* a callback may end the context */
    do
        count += run_callbacks(context);
    while (++rounds < KITH_CALLBACK_ROUNDS_MAX && !context->is_ended && has_callbacks(context));
    context->object_count--;
    return count;
}

int kith_context_process(struct kith_context *context)
{
    int count;

    kith__context_enter(context);
    context->was_woken = false;
    if (context->mode == KITH_CONTEXT_CALLER) {
        flush_dirty(context);
        kith__rt_process(context->rt);
    }
    count = run_callback_rounds(context);
    if (context->mode == KITH_CONTEXT_CALLER && !context->is_ended)
        flush_dirty(context); /* what came in is acknowledged together with what the callbacks wrote */
    kith__context_leave(context);
    return count;
}

void kith_context_wake(struct kith_context *context)
{
    kith__context_enter(context);
    context->was_woken = true;
    kith__context_changed(context);
    if (context->notice != NULL)
        kith__rt_notice_set(context->notice);
    if (context->rt != NULL)
        kith__rt_wake(context->rt);
    kith__context_leave(context);
}

bool kith__context_take_wake(struct kith_context *context)
{
    bool was_woken = context->was_woken;

    context->was_woken = false;
    if (was_woken && context->notice != NULL && !has_callbacks(context))
        kith__rt_notice_clear(context->notice);
    return was_woken;
}
