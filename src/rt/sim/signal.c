/* Signals of simulated hosts, which the test sends. */
#include "base/mem.h"
#include "rt/sim/world.h"

struct sim_signal {
    struct kith_rt_signal head;
    struct kith_list node; /* in host->signals */
    struct sim_event due;
};

static void on_due(struct kith_sim *sim, struct sim_event *event)
{
    struct sim_signal *signal = KITH_CONTAINER(event, struct sim_signal, due);
    struct kith_sim_host *host = kith__sim_host_of(signal->head.rt);

    kith__sim_event_set(sim, event, KITH_NEVER);
    if (host->is_down)
        return;
    signal->head.on_signal(signal->head.ctx);
    kith__sim_host_ready(host);
}

int kith__sim_signal_open(struct kith_rt *rt, const struct kith_rt_signal *head, struct kith_rt_signal **out)
{
    struct kith_sim_host *host = kith__sim_host_of(rt);
    struct sim_signal *signal = kith__alloc_zero(rt->mem, sizeof *signal);

    if (signal == NULL)
        return KITH_ERR_NOMEM;
    signal->head = *head;
    if (kith__sim_event_add(host->sim, &signal->due, on_due) != 0) {
        kith__free(rt->mem, signal);
        return KITH_ERR_NOMEM;
    }
    kith__list_push_back(&host->signals, &signal->node);
    *out = &signal->head;
    return 0;
}

void kith__sim_signal_close(struct kith_rt_signal *head)
{
    struct sim_signal *signal = (struct sim_signal *)head;

    kith__sim_event_remove(kith__sim_host_of(head->rt)->sim, &signal->due);
    kith__list_remove(&signal->node);
    kith__free(head->rt->mem, signal);
}

void kith__sim_signal(struct kith_sim_host *host, enum kith_rt_signal_kind kind)
{
    KITH_LIST_EACH(node, &host->signals)
    {
        struct sim_signal *signal = KITH_CONTAINER(node, struct sim_signal, node);

        if (signal->head.kind == kind)
            kith__sim_event_set(host->sim, &signal->due, host->sim->now_ns);
    }
}
