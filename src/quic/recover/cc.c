#include "quic/recover/cc.h"

#include "base/assert.h"
#include <kith/quic.h>

void kith__cc_init(struct kith_cc *cc, uint8_t kind, uint16_t udp_size)
{
    KITH_ASSERT(kind == KITH_QUIC_CUBIC || kind == KITH_QUIC_NEWRENO);
    *cc = (struct kith_cc) { .ops = kind == KITH_QUIC_CUBIC ? &kith__cc_cubic : &kith__cc_newreno,
                             .window = KITH_CC_WINDOW_INITIAL,
                             .threshold = UINT64_MAX,
                             .udp_size = udp_size,
                             .cubic = { .epoch_ns = KITH_NEVER } };
}

void kith__cc_set_udp_size(struct kith_cc *cc, uint16_t udp_size)
{
    cc->udp_size = udp_size;
    cc->window = KITH_MAX(cc->window, kith__cc_window_min(cc));
}

void kith__cc_on_acked(struct kith_cc *cc, uint64_t size, uint64_t sent_ns, bool app_limited,
                       const struct kith_rtt *rtt, uint64_t now_ns)
{
    if (kith__cc_in_recovery(cc, sent_ns))
        return;
    if (app_limited) {
        cc->ops->on_restart(cc, true, now_ns);
        return;
    }
    if (kith__cc_in_slow_start(cc))
        cc->window += size;
    else
        cc->ops->on_acked(cc, size, rtt, now_ns);
    cc->window = KITH_MIN(cc->window, (uint64_t)KITH_CC_WINDOW_MAX);
}

static void new_event(struct kith_cc *cc, uint64_t now_ns)
{
    cc->recovery_prev_ns = cc->recovery_end_ns;
    cc->recovery_end_ns = now_ns + 1; /* what leaves at this very time answers to the old window as well */
    cc->events++;
    cc->ops->on_event(cc, now_ns);
    cc->window = KITH_MAX(cc->window, kith__cc_window_min(cc));
    cc->threshold = KITH_MAX(cc->threshold, kith__cc_window_min(cc));
}

void kith__cc_on_lost(struct kith_cc *cc, uint64_t sent_ns, uint64_t now_ns)
{
    if (kith__cc_in_recovery(cc, sent_ns)) {
        if (sent_ns >= cc->recovery_prev_ns)
            cc->saved.lost++;
        return;
    }
    cc->saved = (struct kith_cc_saved) { cc->window, cc->threshold, cc->acked_size, cc->cubic, 1, true };
    new_event(cc, now_ns);
}

void kith__cc_on_ce(struct kith_cc *cc, uint64_t sent_ns, uint64_t now_ns)
{
    cc->saved.is_valid = false; /* a mark is never spurious */
    if (!kith__cc_in_recovery(cc, sent_ns))
        new_event(cc, now_ns);
}

void kith__cc_on_spurious(struct kith_cc *cc, uint64_t sent_ns)
{
    struct kith_cc_saved *saved = &cc->saved;

    if (!saved->is_valid || !kith__cc_in_recovery(cc, sent_ns) || sent_ns < cc->recovery_prev_ns)
        return; /* nothing to take back, or of an older event */
    if (saved->lost == 0 || --saved->lost != 0)
        return;
    cc->window = KITH_MAX(cc->window, saved->window);
    cc->threshold = saved->threshold;
    cc->acked_size = saved->acked_size;
    cc->cubic = saved->cubic;
    cc->recovery_end_ns = cc->recovery_prev_ns;
    saved->is_valid = false;
}

void kith__cc_on_persistent(struct kith_cc *cc)
{
    cc->window = kith__cc_window_min(cc);
    cc->recovery_end_ns = cc->recovery_prev_ns = 0;
    cc->saved.is_valid = false;
    cc->ops->on_restart(cc, false, 0);
}
