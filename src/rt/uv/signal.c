/* Signals of the process, by libuv's watchers. */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/uv/loop.h"

#include <signal.h>

struct uv_signal {
    struct kith_rt_signal head;
    uv_signal_t handle;
};

static void on_closed(uv_handle_t *handle)
{
    struct uv_signal *signal = handle->data;

    kith__free(signal->head.rt->mem, signal);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct uv_signal *signal = handle->data;

    (void)number;
    signal->head.on_signal(signal->head.ctx);
}

int kith__uv_signal_open(struct kith_rt *rt, const struct kith_rt_signal *head, struct kith_rt_signal **out)
{
    static const int numbers[KITH_RT_SIGNALS] = {
        [KITH_RT_SIGNAL_INTERRUPT] = SIGINT, [KITH_RT_SIGNAL_TERMINATE] = SIGTERM, [KITH_RT_SIGNAL_HANGUP] = SIGHUP
    };
    struct uv_signal *signal = kith__alloc_zero(rt->mem, sizeof *signal);
    int result;

    if (signal == NULL)
        return KITH_ERR_NOMEM;
    signal->head = *head;
    if ((result = uv_signal_init(&kith__uv_of(rt)->loop, &signal->handle)) != 0) {
        kith__free(rt->mem, signal);
        return kith__uv_error(result);
    }
    signal->handle.data = signal;
    kith__uv_of(rt)->is_dirty = true;
    if ((result = uv_signal_start(&signal->handle, on_signal, numbers[head->kind])) != 0) {
        uv_close((uv_handle_t *)&signal->handle, on_closed);
        return kith__uv_error(result);
    }
    *out = &signal->head;
    return 0;
}

void kith__uv_signal_close(struct kith_rt_signal *head)
{
    struct uv_signal *signal = (struct uv_signal *)head;

    uv_close((uv_handle_t *)&signal->handle, on_closed);
    kith__uv_of(head->rt)->is_dirty = true;
}
