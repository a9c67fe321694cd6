/**
 * Signals that ask a server for something, as callbacks in a turn of one rt: that of the main thread. Open them before other
 * threads start, so that no thread gets one by its default action.
 */
#ifndef KITH_RT_SIGNAL_H
#define KITH_RT_SIGNAL_H

#include <kith/types.h>

struct kith_rt;
struct kith_rt_signal; /* owned by whoever opened it */

enum kith_rt_signal_kind {
    KITH_RT_SIGNAL_INTERRUPT, /* SIGINT: Ctrl-C */
    KITH_RT_SIGNAL_TERMINATE, /* SIGTERM: end in good order */
    KITH_RT_SIGNAL_HANGUP,    /* SIGHUP: read the configuration again */
    KITH_RT_SIGNALS
};

/**
 * Takes a signal from its default action until closed. on_signal is called in a turn, once for several that came together;
 * the signal may be closed from inside. Errors: NOMEM, IO. Simulated: kith__sim_signal (rt/sim/sim.h) sends them.
 */
KITH_MUST_USE int kith__rt_signal_open(struct kith_rt *rt, enum kith_rt_signal_kind kind, void (*on_signal)(void *ctx),
                                       void *ctx, struct kith_rt_signal **out);
/** No callback follows; the default action is back with the last one closed. NULL is fine. */
void kith__rt_signal_close(struct kith_rt_signal *signal);

#endif
