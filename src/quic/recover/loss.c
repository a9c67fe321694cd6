/*
 * Losses are found by number and by time; both thresholds start as RFC 9002 says and grow when a loss turns out to be
 * reordering. Since numbers and send times grow together, the oldest packet in flight decides: if it is not lost, no
 * other is.
 */
#include "quic/recover/loss.h"

void kith__loss_init(struct kith_loss *loss)
{
    *loss = (struct kith_loss) { .packets = KITH_LOSS_PACKETS, .time_eighths = 9, .run_begin_ns = KITH_NEVER };
    for (size_t i = 0; i < KITH_SPACE_COUNT; i++)
        loss->loss_at_ns[i] = KITH_NEVER;
}

void kith__loss_on_ack(struct kith_loss *loss, bool may_reset, uint64_t now_ns)
{
    loss->progress_ns = now_ns;
    if (may_reset)
        loss->pto_count = 0;
}

static uint64_t round_trip(const struct kith_rtt *rtt)
{
    return KITH_MAX(rtt->smoothed_ns, rtt->latest_ns);
}

static uint64_t loss_delay(const struct kith_loss *loss, const struct kith_rtt *rtt)
{
    return KITH_MAX(round_trip(rtt) / 8 * loss->time_eighths, (uint64_t)KITH_RTT_GRANULARITY_NS);
}

/** Is there an acknowledged packet in [from, to), or one that is not known any more? */
static bool has_acked_between(const struct kith_sent_log *log, uint64_t from, uint64_t to)
{
    for (uint64_t number = from; number < to; number++) {
        const struct kith_sent *packet = kith__sent_find(log, number);

        if (packet == NULL || packet->state == KITH_SENT_ACKED)
            return true;
    }
    return false;
}

/** RFC 9002, 7.6.2: a run is broken by an acknowledgement, and begins after the first RTT sample. */
static void extend_run(struct kith_loss *loss, const struct kith_sent_log *log, const struct kith_sent *packet,
                       const struct kith_rtt *rtt)
{
    if ((packet->flags & KITH_SENT_ELICITING) == 0)
        return;
    if (!kith__rtt_has_sample(rtt) || packet->sent_ns < rtt->first_sample_ns) {
        loss->run_begin_ns = KITH_NEVER;
        return;
    }
    if (loss->run_begin_ns == KITH_NEVER || has_acked_between(log, loss->run_next, packet->number))
        loss->run_begin_ns = packet->sent_ns;
    loss->run_end_ns = packet->sent_ns;
    loss->run_next = packet->number + 1;
    loss->run_longest_ns = KITH_MAX(loss->run_longest_ns, loss->run_end_ns - loss->run_begin_ns);
}

/** Arms the time threshold for the oldest packet that others overtook. ACK-only packets need no timer. */
static uint64_t next_loss_at(const struct kith_sent_log *log, uint64_t delay_ns)
{
    for (uint64_t number = log->oldest; number < log->acked_end; number++) {
        const struct kith_sent *packet = kith__sent_find(log, number);

        if (packet != NULL && packet->state == KITH_SENT_IN_FLIGHT && (packet->flags & KITH_SENT_COUNTED) != 0)
            return packet->sent_ns + delay_ns;
    }
    return KITH_NEVER;
}

const struct kith_sent *kith__loss_take(struct kith_loss *loss, enum kith_space space, struct kith_sent_log *log,
                                        const struct kith_rtt *rtt, uint64_t now_ns)
{
    uint64_t delay_ns = loss_delay(loss, rtt);
    uint64_t below = log->acked_end > loss->packets ? log->acked_end - loss->packets : 0;
    const struct kith_sent *packet = kith__sent_take_lost(log, below, now_ns >= delay_ns ? now_ns - delay_ns + 1 : 0);

    if (packet == NULL) {
        loss->loss_at_ns[space] = next_loss_at(log, delay_ns);
        return NULL;
    }
    if ((packet->flags & KITH_SENT_COUNTED) != 0) {
        loss->lost++;
        loss->lost_size += packet->size;
    }
    if (space == KITH_SPACE_DATA)
        extend_run(loss, log, packet, rtt);
    return packet;
}

bool kith__loss_is_persistent(struct kith_loss *loss, const struct kith_rtt *rtt, uint64_t delay_max_ns)
{
    uint64_t longest_ns = loss->run_longest_ns;

    loss->run_longest_ns = 0;
    if (longest_ns <= KITH_PERSISTENT_PTOS * kith__rtt_pto_ns(rtt, delay_max_ns))
        return false;
    loss->run_begin_ns = KITH_NEVER; /* reported; the next needs a run of its own */
    return true;
}

void kith__loss_on_spurious(struct kith_loss *loss, const struct kith_sent *packet, uint64_t behind,
                            const struct kith_rtt *rtt, uint64_t now_ns)
{
    uint64_t eighth_ns = KITH_MAX(round_trip(rtt) / 8, 1u);
    uint64_t needed = (now_ns - packet->sent_ns) / eighth_ns + 1;

    loss->spurious++;
    loss->run_begin_ns = KITH_NEVER;
    loss->packets = (uint32_t)KITH_MAX(loss->packets, KITH_MIN(behind + 1, (uint64_t)KITH_LOSS_PACKETS_MAX));
    if (now_ns - packet->sent_ns > loss_delay(loss, rtt))
        loss->time_eighths = (uint32_t)KITH_MAX(loss->time_eighths, KITH_MIN(needed, 16u));
}

uint64_t kith__loss_forget_before(const struct kith_rtt *rtt, uint64_t delay_max_ns, uint64_t now_ns)
{
    uint64_t keep_ns = KITH_PERSISTENT_PTOS * kith__rtt_pto_ns(rtt, delay_max_ns);

    return now_ns > keep_ns ? now_ns - keep_ns : 0;
}

void kith__loss_on_space_dropped(struct kith_loss *loss, enum kith_space space, uint64_t now_ns)
{
    loss->loss_at_ns[space] = KITH_NEVER;
    loss->pto_count = 0;
    loss->progress_ns = now_ns;
}

uint64_t kith__loss_cap_ns(const struct kith_rtt *rtt, uint64_t idle_timeout_ns)
{
    uint64_t cap_ns = idle_timeout_ns != 0 && idle_timeout_ns <= KITH_PTO_SHORT_IDLE_NS ? KITH_PTO_CAP_SHORT_NS
                                                                                        : KITH_PTO_CAP_NS;

    /* 1.333 s: from there on 1.5 round trips are more than 2 s, and a cap below them would send probes in vain. */
    return rtt->smoothed_ns > KITH_PTO_CAP_NS / 3 * 2 ? rtt->smoothed_ns / 2 * 3 : cap_ns;
}

static uint64_t doubled(uint64_t pto_ns, uint32_t count)
{
    uint32_t exponent = KITH_MIN(count, (uint32_t)KITH_PTO_EXPONENT_MAX);

    return pto_ns > UINT64_MAX >> (KITH_PTO_EXPONENT_MAX + 1) ? UINT64_MAX / 2 : pto_ns << exponent;
}

uint64_t kith__loss_backoff_ns(uint64_t pto_ns, uint32_t count, uint64_t cap_ns)
{
    uint64_t wait_ns = pto_ns;

    for (uint32_t i = 1; i <= KITH_MIN(count, 1000u); i++)
        wait_ns = KITH_MIN(doubled(pto_ns, i), wait_ns + cap_ns);
    return wait_ns;
}

/** The probe of the space that has to wait shortest; RFC 9002, A.8. */
static struct kith_loss_timer probe_timer(const struct kith_loss *loss, const struct kith_loss_view *view)
{
    struct kith_loss_timer timer = { .deadline_ns = KITH_NEVER, .kind = KITH_LOSS_NONE };
    uint64_t cap_ns = kith__loss_cap_ns(view->rtt, view->idle_timeout_ns);
    bool handshake_out = false;

    for (unsigned space = 0; space < KITH_SPACE_COUNT; space++) {
        const struct kith_sent_log *log = view->logs[space];
        uint64_t pto_ns = kith__rtt_pto_ns(view->rtt, space == KITH_SPACE_DATA ? view->delay_max_ns : 0), at_ns;

        if (log == NULL || log->eliciting == 0 || (space == KITH_SPACE_DATA && !view->is_confirmed))
            continue;
        handshake_out |= space != KITH_SPACE_DATA;
        at_ns = KITH_MAX(log->eliciting_sent_ns, loss->probed_ns) +
                kith__loss_backoff_ns(pto_ns, loss->pto_count, cap_ns);
        /* Who goes on sending more often than that would never ask (RFC 9002, 6.2.1), on a path that is long dead. */
        if (space == KITH_SPACE_DATA && view->quiet_from_ns != KITH_NEVER)
            at_ns = KITH_MIN(at_ns, KITH_MAX(view->quiet_from_ns, loss->probed_ns) + pto_ns +
                                        kith__loss_backoff_ns(pto_ns, loss->pto_count, cap_ns));
        if (at_ns < timer.deadline_ns)
            timer = (struct kith_loss_timer) { at_ns, KITH_LOSS_PROBE, (uint8_t)space, 2 };
    }
    if (!view->peer_is_waiting || handshake_out)
        return timer;
    /* Without this a server that lost our last packet and reached its amplification limit would never speak again. */
    timer.space = view->has_handshake_keys ? KITH_SPACE_HANDSHAKE : KITH_SPACE_INITIAL;
    timer.deadline_ns = loss->progress_ns + KITH_MIN(doubled(kith__rtt_pto_ns(view->rtt, 0), loss->pto_count), cap_ns);
    timer.kind = KITH_LOSS_PROBE;
    timer.probes = 1;
    return timer;
}

struct kith_loss_timer kith__loss_timer(const struct kith_loss *loss, const struct kith_loss_view *view)
{
    struct kith_loss_timer timer = { .deadline_ns = KITH_NEVER, .kind = KITH_LOSS_NONE };

    for (unsigned space = 0; space < KITH_SPACE_COUNT; space++)
        if (view->logs[space] != NULL && loss->loss_at_ns[space] < timer.deadline_ns)
            timer = (struct kith_loss_timer) { loss->loss_at_ns[space], KITH_LOSS_BY_TIME, (uint8_t)space, 0 };
    if (timer.kind != KITH_LOSS_NONE || view->is_blocked)
        return timer;
    return probe_timer(loss, view);
}

struct kith_loss_timer kith__loss_on_timer(struct kith_loss *loss, const struct kith_loss_view *view, uint64_t now_ns)
{
    struct kith_loss_timer timer = kith__loss_timer(loss, view);

    if (timer.deadline_ns > now_ns)
        return (struct kith_loss_timer) { .deadline_ns = KITH_NEVER, .kind = KITH_LOSS_NONE };
    if (timer.kind == KITH_LOSS_PROBE) {
        loss->pto_count++;
        loss->probe_timeouts++;
        loss->progress_ns = loss->probed_ns = now_ns;
    }
    return timer;
}
