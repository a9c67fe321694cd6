/* What acknowledgements and losses of a path's packets do to its measures. RFC 9002, A.7 to A.10 and B.5 to B.8. */
#include "quic/path/path.h"

/** The measures that a packet was sent under, or NULL if that 4-tuple is gone. */
static struct kith_path_measures *measures_of(struct kith_path *path, const struct kith_sent *packet)
{
    if (packet->epoch == path->now.epoch)
        return &path->now;
    if (path->previous != NULL && path->previous->measures.epoch == packet->epoch)
        return &path->previous->measures;
    return NULL;
}

static void leave_flight(struct kith_path_measures *measures, const struct kith_sent *packet)
{
    if (measures == NULL || (packet->flags & (KITH_SENT_COUNTED | KITH_SENT_WAS_LOST)) != KITH_SENT_COUNTED)
        return;
    KITH_ASSERT(packet->size <= measures->in_flight_size && measures->in_flight_count > 0);
    measures->in_flight_size -= packet->size;
    measures->in_flight_count--;
}

void kith__path_ack_begin(const struct kith_path *path, const struct kith_sent_log *log, struct kith_path_ack *ack)
{
    const struct kith_path_measures *now = &path->now;
    uint64_t window = now->cc.window;

    *ack = (struct kith_path_ack) { .acked_end = log->acked_end };
    /*
     * Was the window the limit? In slow start it doubles in the round trip that the ACK tells of, so half is full; later
     * the room of one burst for the pacer is left. With a small window and packets smaller than the largest, what counts
     * is that no full packet had room. Otherwise it must not grow (RFC 9002, 7.8).
     */
    ack->app_limited = now->in_flight_size < (kith__cc_in_slow_start(&now->cc) ? window / 2 : window / 4 * 3) &&
                       now->in_flight_size + now->cc.udp_size <= window;
}

bool kith__path_ack_packet(struct kith_path *path, const struct kith_sent_log *log, const struct kith_sent *packet,
                           struct kith_path_ack *ack, uint64_t now_ns)
{
    struct kith_path_measures *measures = measures_of(path, packet);
    bool is_current = measures == &path->now;

    leave_flight(measures, packet);
    if (!ack->any || packet->number >= ack->newest) {
        ack->newest = packet->number;
        ack->newest_sent_ns = packet->sent_ns;
        ack->newest_is_current = is_current;
    }
    ack->any = true;
    ack->is_about_path |= packet->epoch != KITH_EPOCH_GONE;
    ack->packets++;
    ack->bytes += packet->size;
    ack->eliciting |= (packet->flags & KITH_SENT_ELICITING) != 0;
    if (!is_current)
        return false;
    ack->marked += (packet->flags & KITH_SENT_ECT0) != 0;
    if ((packet->flags & KITH_SENT_COUNTED) != 0) {
        if ((packet->flags & KITH_SENT_WAS_LOST) == 0) {
            kith__cc_on_acked(&path->now.cc, packet->size, packet->sent_ns, ack->app_limited, &path->now.rtt, now_ns);
        } else {
            kith__loss_on_spurious(&path->loss, packet, log->acked_end - 1 - packet->number, &path->now.rtt, now_ns);
            if ((packet->flags & KITH_SENT_MTU_PROBE) == 0)
                kith__cc_on_spurious(&path->now.cc, packet->sent_ns);
        }
    }
    if (log != &path->sent || !kith__mtu_on_acked(&path->now.mtu, packet->number, packet->size,
                                                  (packet->flags & KITH_SENT_MTU_PROBE) != 0, now_ns))
        return false;
    kith__cc_set_udp_size(&path->now.cc, path->now.mtu.size);
    return true;
}

/** The space a log belongs to is only needed for its ECN counts. */
static void judge_ecn(struct kith_path *path, enum kith_space space, const struct kith_path_ack *ack,
                      const struct kith_ecn_counts *counts, bool largest_moved, uint64_t now_ns)
{
    if (kith__ecn_on_ack(&path->now.ecn, space, ack->marked, counts, largest_moved) != 0)
        kith__cc_on_ce(&path->now.cc, ack->newest_sent_ns, now_ns);
}

/**
 * A packet that was acknowledged again on another path, because the way back of this one was dead, tells how long that
 * lasted and nothing of round trips. The peer's delay says so.
 */
static bool is_sample(const struct kith_rtt *rtt, uint64_t took_ns, uint64_t delay_ns, uint64_t delay_max_ns)
{
    bool is_lie = delay_ns > took_ns;

    return is_lie || delay_ns <= delay_max_ns || delay_ns - delay_max_ns <= rtt->smoothed_ns;
}

/**
 * ACKs of what was sent before the silence may take another way than the packets. A late one that comes on the path itself
 * proves that both directions work; else only the answer to a probe does.
 */
static void note_answer(struct kith_path *path, const struct kith_path_ack *ack)
{
    kith__sent_find_waiting(&path->sent);
    if (!ack->newest_is_current)
        return;
    path->answered_ns = KITH_MAX(path->answered_ns, ack->newest_sent_ns);
    if (ack->came_on_path || ack->newest_sent_ns >= path->silent_ns)
        path->silent_ns = path->silent_answers = 0;
}

void kith__path_ack_end(struct kith_path *path, enum kith_space space, const struct kith_sent_log *log,
                        const struct kith_path_ack *ack, uint64_t delay_ns, uint64_t delay_max_ns,
                        const struct kith_ecn_counts *counts, bool may_reset, uint64_t now_ns)
{
    struct kith_path_measures *now = &path->now;
    bool largest_moved = log->acked_end > ack->acked_end;
    bool is_first = !kith__rtt_has_sample(&now->rtt);

    if (!ack->any)
        return;
    if (largest_moved && ack->eliciting && ack->newest_is_current && ack->newest + 1 == log->acked_end &&
        is_sample(&now->rtt, now_ns - ack->newest_sent_ns, delay_ns, delay_max_ns)) {
        kith__rtt_on_sample(&now->rtt, now_ns - ack->newest_sent_ns, delay_ns, delay_max_ns, now_ns);
        if (is_first)
            kith__prove_on_rtt(&path->prove, kith__rtt_pto_ns(&now->rtt, 0), now_ns);
    }
    if (space == KITH_SPACE_DATA)
        note_answer(path, ack);
    judge_ecn(path, space, ack, counts, largest_moved, now_ns);
    if (ack->is_about_path)
        kith__loss_on_ack(&path->loss, may_reset, now_ns);
    kith__pacer_update(&now->pacer, now->cc.window, now->rtt.smoothed_ns, now->mtu.size, now_ns);
}

/** Tells the measures of its 4-tuple that a packet was lost. */
static void report_lost(struct kith_path *path, enum kith_space space, const struct kith_sent *packet, bool *mtu_fell,
                        uint64_t now_ns)
{
    struct kith_path_measures *now = &path->now;
    bool is_probe = (packet->flags & KITH_SENT_MTU_PROBE) != 0;

    if ((packet->flags & KITH_SENT_COUNTED) != 0 && !is_probe)
        kith__cc_on_lost(&now->cc, packet->sent_ns, now_ns);
    if ((packet->flags & KITH_SENT_ECT0) != 0 && !is_probe)
        kith__ecn_on_lost(&now->ecn);
    if (space != KITH_SPACE_DATA || !kith__mtu_on_lost(&now->mtu, packet->number, packet->size, is_probe, now_ns))
        return;
    kith__cc_set_udp_size(&now->cc, now->mtu.size);
    *mtu_fell = true;
}

const struct kith_sent *kith__path_take_lost(struct kith_path *path, enum kith_space space, struct kith_sent_log *log,
                                             uint64_t delay_max_ns, bool *mtu_fell, uint64_t now_ns)
{
    struct kith_path_measures *now = &path->now;
    const struct kith_sent *packet = kith__loss_take(&path->loss, space, log, &now->rtt, now_ns);
    struct kith_path_measures *measures;

    if (packet != NULL) {
        measures = measures_of(path, packet);
        leave_flight(measures, packet);
        if (measures == now)
            report_lost(path, space, packet, mtu_fell, now_ns);
        return packet;
    }
    if (space == KITH_SPACE_DATA && kith__loss_is_persistent(&path->loss, &now->rtt, delay_max_ns))
        kith__cc_on_persistent(&now->cc);
    kith__pacer_update(&now->pacer, now->cc.window, now->rtt.smoothed_ns, now->mtu.size, now_ns);
    kith__sent_forget(log, kith__loss_forget_before(&now->rtt, delay_max_ns, now_ns));
    return NULL;
}

const struct kith_sent *kith__path_take_overdue(struct kith_path *path, struct kith_sent_log *log)
{
    const struct kith_sent *packet;

    kith__sent_forget(log, 0);
    packet = kith__sent_take_overdue(log);
    if (packet != NULL)
        leave_flight(measures_of(path, packet), packet);
    return packet;
}

void kith__path_clear_sent(struct kith_path *path, struct kith_sent_log *log)
{
    while (kith__path_take_dropped(path, log) != NULL) {
    }
    kith__sent_clear(log);
}

const struct kith_sent *kith__path_take_dropped(struct kith_path *path, struct kith_sent_log *log)
{
    const struct kith_sent *packet = kith__sent_take_oldest(log);

    if (packet != NULL)
        leave_flight(measures_of(path, packet), packet);
    return packet;
}
