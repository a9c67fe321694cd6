/*
 * The loop over libuv. libuv never sleeps here: kith__rt_wait polls its descriptor and kith__rt_process runs it without
 * blocking, so that an owner can let go of its lock while it sleeps, and so that timers have the resolution of the clock
 * and not libuv's milliseconds. The price is one more system call a turn.
 */
#define _GNU_SOURCE 1 /* ppoll, recvmmsg, in_pktinfo */
#include "rt/uv/loop.h"
#include "base/assert.h"
#include "base/mem.h"
#include "rt/uv/quiet.h"
#include "rt/uv/uv.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <time.h>

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * KITH_NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t uv_rt_now(const struct kith_rt *rt)
{
    (void)rt;
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t uv_rt_wall_us(const struct kith_rt *rt)
{
    (void)rt;
    return clock_ns(CLOCK_REALTIME) / KITH_NS_PER_US;
}

static void system_random_fill(void *ctx, uint8_t *out, size_t size)
{
    (void)ctx;
    randombytes_buf(out, size);
}

const struct kith_random *kith__rt_system_random(void)
{
    static const struct kith_random random = { system_random_fill, NULL };

    return &random;
}

static void uv_rt_timers_changed(struct kith_rt *rt)
{
    (void)rt; /* the deadline is asked for before each wait */
}

static int uv_rt_fd(const struct kith_rt *rt)
{
    return uv_backend_fd(&kith__uv_of(rt)->loop);
}

static bool uv_rt_is_ready(const struct kith_rt *rt)
{
    struct kith_uv *uv = kith__uv_of(rt);

    return uv->is_dirty || uv->was_woken || uv_backend_timeout(&uv->loop) == 0;
}

static void uv_rt_process(struct kith_rt *rt)
{
    struct kith_uv *uv = kith__uv_of(rt);
    bool has_streams = uv->read_buffer != NULL;
    struct kith_uv_quiet quiet;

    KITH_ASSERT(!uv->is_in_turn);
    uv->is_in_turn = true;
    uv->is_dirty = false;
    uv->reading = NULL;
    kith__rt_fire_timers(rt, uv_rt_now(rt));
    if (has_streams)
        kith__uv_quiet_begin(&quiet);
    uv_run(&uv->loop, UV_RUN_NOWAIT);
    if (has_streams)
        kith__uv_quiet_end(&quiet);
    if (uv->was_woken) {
        uv->was_woken = false;
        kith__rt_call_wake(rt);
    }
    kith__rt_call_turn_end(rt);
    uv->is_in_turn = false;
}

static void uv_rt_wait(struct kith_rt *rt, uint64_t until_ns)
{
    struct pollfd poll_fd = { .fd = uv_rt_fd(rt), .events = POLLIN };
    struct timespec limit;
    uint64_t now = uv_rt_now(rt);
    uint64_t left = until_ns > now ? until_ns - now : 0;

    if (left == 0)
        return;
    limit.tv_sec = (time_t)KITH_MIN(left / KITH_NS_PER_S, (uint64_t)INT32_MAX);
    limit.tv_nsec = (long)(left % KITH_NS_PER_S);
    ppoll(&poll_fd, 1, until_ns == KITH_NEVER ? NULL : &limit, NULL); /* EINTR: an early return is allowed */
}

static void uv_rt_wake(struct kith_rt *rt)
{
    uv_async_send(&kith__uv_of(rt)->async);
}

static void on_async(uv_async_t *async)
{
    struct kith_uv *uv = async->data;

    uv->was_woken = true;
}

static void uv_rt_free(struct kith_rt *rt)
{
    struct kith_uv *uv = kith__uv_of(rt);
    const struct kith_mem *mem = rt->mem;
    int result;

    KITH_ASSERT(!uv->is_in_turn);
    kith__uv_resolve_close(uv);
    uv_close((uv_handle_t *)&uv->async, NULL);
    uv_run(&uv->loop, UV_RUN_DEFAULT); /* closed handles and cancelled requests come to their ends */
    result = uv_loop_close(&uv->loop);
    KITH_ASSERT(result == 0); /* else a socket, stream or listener was left open */
    kith__uv_receive_free(uv);
    kith__free(mem, uv->read_buffer);
    kith__uv_random_dispose(&uv->random);
    kith__rt_dispose(rt);
    kith__free(mem, uv);
}

static const struct kith_rt_ops *ops_table(void)
{
    static struct kith_rt_ops ops = {
        .free = uv_rt_free,
        .now = uv_rt_now,
        .wall_us = uv_rt_wall_us,
        .timers_changed = uv_rt_timers_changed,
        .fd = uv_rt_fd,
        .is_ready = uv_rt_is_ready,
        .process = uv_rt_process,
        .wait = uv_rt_wait,
        .wake = uv_rt_wake,
        .udp_open = kith__uv_udp_open,
        .udp_close = kith__uv_udp_close,
        .udp_send = kith__uv_udp_send,
        .interfaces = kith__uv_interfaces,
        .watch_open = kith__uv_watch_open,
        .watch_close = kith__uv_watch_close,
        .resolve = kith__uv_resolve,
        .resolve_cancel = kith__uv_resolve_cancel,
        .signal_open = kith__uv_signal_open,
        .signal_close = kith__uv_signal_close,
    };
    return &ops;
}

static uv_once_t table_once = UV_ONCE_INIT;

static void table_fill(void)
{
    struct kith_rt_ops *ops = (struct kith_rt_ops *)(uintptr_t)ops_table();

    kith__uv_stream_ops(ops);
    kith__uv_file_ops(ops);
}

int kith__rt_uv_new(const struct kith_mem *mem, const struct kith_log *log, struct kith_rt **out)
{
    struct kith_random random = { kith__uv_random_fill, NULL };
    struct kith_uv *uv;
    int result;

    if (mem == NULL)
        mem = kith_mem_default();
    uv_once(&table_once, table_fill);
    if (sodium_init() < 0)
        return KITH_ERR_IO;
    if ((uv = kith__alloc_zero(mem, sizeof *uv)) == NULL)
        return KITH_ERR_NOMEM;
    if ((result = uv_loop_init(&uv->loop)) != 0) {
        kith__free(mem, uv);
        return kith__uv_error(result);
    }
    kith__uv_random_init(&uv->random);
    random.ctx = &uv->random;
    kith__rt_init(&uv->rt, ops_table(), mem, log, &random);
    if ((result = uv_async_init(&uv->loop, &uv->async, on_async)) != 0) {
        uv_loop_close(&uv->loop);
        kith__free(mem, uv);
        return kith__uv_error(result);
    }
    uv->async.data = uv;
    uv->send_message = sendmsg;
    uv->get_addresses = getaddrinfo;
    uv->is_dirty = true; /* the wake descriptor is not with the kernel yet */
    *out = &uv->rt;
    return 0;
}
