/*
 * CUBIC, RFC 9438: after an event the window is 0.7 of what it was, and returns to it on a cubic curve of the time
 * since,
 * or as NewReno would if that is faster. Integers only (milliseconds, bytes): a simulation gives the same on any
 * machine.
 */
#include "quic/recover/cc.h"

#include "base/assert.h"
#include <kith/quic.h>

/* beta = 7/10; C = 4/10 packets per s^3; alpha = 3 (1 - beta) / (1 + beta) = 9/17. */
enum { BETA_TENTHS = 7, ALPHA_DIVIDEND = 9, ALPHA_DIVISOR = 17, CURVE_MS_MAX = 100000 };

/** The largest whole x with x^3 <= value. */
static uint64_t cube_root(uint64_t value)
{
    uint64_t root = 0;

    for (int bit = 20; bit >= 0; bit--) { /* (2^21)^3 = 2^63 */
        uint64_t next = root | 1ull << bit;

        if (next * next * next <= value)
            root = next;
    }
    return root;
}

/** K = cbrt((W_max - window) / C), in ns. W_max - window is at most KITH_CC_WINDOW_MAX = 2^30. */
static uint64_t time_to_max(uint64_t missing, uint16_t udp_size)
{
    return cube_root(missing * 2500000000u / udp_size) * KITH_NS_PER_MS;
}

/** W_cubic(t) in bytes. */
static uint64_t curve(const struct kith_cc *cc, uint64_t t_ns)
{
    const struct kith_cc_cubic *cubic = &cc->cubic;
    bool is_after = t_ns >= cubic->k_ns;
    uint64_t ms = (is_after ? t_ns - cubic->k_ns : cubic->k_ns - t_ns) / KITH_NS_PER_MS, bytes;

    ms = KITH_MIN(ms, (uint64_t)CURVE_MS_MAX);
    bytes = ms * ms * ms / 10 * 4 / 1000000 * cc->udp_size / 1000;
    if (is_after)
        return cubic->window_max + bytes;
    return cubic->window_max > bytes ? cubic->window_max - bytes : 0;
}

static void begin_epoch(struct kith_cc *cc, uint64_t now_ns)
{
    struct kith_cc_cubic *cubic = &cc->cubic;

    cubic->epoch_ns = cubic->last_acked_ns = now_ns;
    cubic->epoch_window = cubic->reno_window = cc->window;
    cubic->reno_acked = 0;
    cc->acked_size = 0;
    if (cc->window < cubic->window_max) {
        cubic->k_ns = time_to_max(cubic->window_max - cc->window, cc->udp_size);
    } else {
        cubic->window_max = cc->window;
        cubic->k_ns = 0;
    }
}

/** What NewReno with the same beta would have: one alpha-th packet a round trip (RFC 9438, 4.3). */
static void grow_reno(struct kith_cc *cc, uint64_t size)
{
    struct kith_cc_cubic *cubic = &cc->cubic;
    bool is_past = cubic->reno_window >= cubic->window_max; /* then alpha is 1 */
    uint64_t step = ALPHA_DIVISOR * cc->window;

    cubic->reno_acked += (is_past ? ALPHA_DIVISOR : ALPHA_DIVIDEND) * size * cc->udp_size;
    cubic->reno_window += cubic->reno_acked / step;
    cubic->reno_acked %= step;
}

static void on_acked(struct kith_cc *cc, uint64_t size, const struct kith_rtt *rtt, uint64_t now_ns)
{
    struct kith_cc_cubic *cubic = &cc->cubic;
    uint64_t t_ns, target;

    if (cubic->epoch_ns == KITH_NEVER)
        begin_epoch(cc, now_ns);
    cubic->last_acked_ns = now_ns;
    grow_reno(cc, size);
    t_ns = now_ns - cubic->epoch_ns;
    if (curve(cc, t_ns) < cubic->reno_window) {
        cc->window = KITH_MAX(cc->window, cubic->reno_window);
        return;
    }
    target = KITH_MIN(curve(cc, t_ns + rtt->smoothed_ns), cc->window + cc->window / 2);
    if (target <= cc->window)
        return;
    cc->acked_size += (target - cc->window) * size;
    cc->window += cc->acked_size / cc->window;
    cc->acked_size %= cc->window;
}

static void on_event(struct kith_cc *cc, uint64_t now_ns)
{
    (void)now_ns;
    /* Fast convergence (4.7): less than last time means that another flow came; leave it room. */
    cc->cubic.window_max = cc->window < cc->cubic.window_max ? cc->window / 20 * (10 + BETA_TENTHS) : cc->window;
    cc->cubic.epoch_ns = KITH_NEVER;
    cc->window = cc->window / 10 * BETA_TENTHS;
    cc->threshold = cc->window;
    cc->acked_size = 0;
}

static void on_restart(struct kith_cc *cc, bool app_limited, uint64_t now_ns)
{
    if (!app_limited) {
        cc->cubic.epoch_ns = KITH_NEVER;
    } else if (cc->cubic.epoch_ns != KITH_NEVER && now_ns > cc->cubic.last_acked_ns) {
        cc->cubic.epoch_ns += now_ns -
                              cc->cubic.last_acked_ns; /* the curve stands still while there is nothing to send */
        cc->cubic.last_acked_ns = now_ns;
    }
}

const struct kith_cc_ops kith__cc_cubic = { KITH_QUIC_CUBIC, on_acked, on_event, on_restart };
