/* NewReno: half after an event, one packet more a round trip. RFC 9002, 7.3. */
#include "quic/recover/cc.h"

#include <kith/quic.h>

static void on_acked(struct kith_cc *cc, uint64_t size, const struct kith_rtt *rtt, uint64_t now_ns)
{
    (void)rtt;
    (void)now_ns;
    cc->acked_size += size;
    if (cc->acked_size < cc->window)
        return;
    cc->acked_size -= cc->window;
    cc->window += cc->udp_size;
}

static void on_event(struct kith_cc *cc, uint64_t now_ns)
{
    (void)now_ns;
    cc->window /= 2;
    cc->threshold = cc->window;
    cc->acked_size = 0;
}

static void on_restart(struct kith_cc *cc, bool app_limited, uint64_t now_ns)
{
    (void)now_ns;
    if (!app_limited)
        cc->acked_size = 0;
}

const struct kith_cc_ops kith__cc_newreno = { KITH_QUIC_NEWRENO, on_acked, on_event, on_restart };
