#include "quic/path/path.h"

#include "base/mem.h"

static const uint8_t path_moves[] = {
    /* bit n: may move on to state n */
    [KITH_PATH_UNUSED] = 1u << KITH_PATH_PROBING,
    [KITH_PATH_PROBING] = 1u << KITH_PATH_OPEN | 1u << KITH_PATH_CLOSING,
    [KITH_PATH_OPEN] = 1u << KITH_PATH_PROBING | 1u << KITH_PATH_CLOSING, /* back to probing: the address changed */
    [KITH_PATH_CLOSING] = 1u << KITH_PATH_DRAINED,
    [KITH_PATH_DRAINED] = 0,
};

void kith__path_enter(struct kith_path *path, enum kith_path_state next, uint64_t now_ns)
{
    KITH_ASSERT(path_moves[path->state] & 1u << next);
    path->state = (uint8_t)next;
    path->state_since_ns = now_ns;
    if (next == KITH_PATH_OPEN && !path->was_proved)
        path->proved_ns = now_ns;
    path->was_proved |= next == KITH_PATH_OPEN;
    if (next == KITH_PATH_PROBING)
        path->received_unproved = path->sent_unproved = 0;
}

/**
 * A number that no kept 4-tuple has, nor any packet in flight. A peer chooses how often it moves, and which packets it
 * never acknowledges: before numbers are used again, packets of forgotten epochs get the one that means nothing.
 */
static uint8_t new_epoch(struct kith_path *path)
{
    uint8_t now = path->now.epoch, kept = path->previous != NULL ? path->previous->measures.epoch : now, epoch;

    do {
        if (path->epoch_next == KITH_EPOCH_GONE) {
            path->epoch_next = 0;
            kith__sent_replace_epochs(&path->sent, now, kept, KITH_EPOCH_GONE);
        }
        epoch = path->epoch_next++;
    } while (epoch == now || epoch == kept);
    return epoch;
}

void kith__path_measures_init(struct kith_path *path, struct kith_path_measures *measures, uint64_t now_ns)
{
    const struct kith_path_options *options = &path->options;

    *measures = (struct kith_path_measures) { .epoch = new_epoch(path) };
    kith__rtt_init(&measures->rtt, options->initial_rtt_ns);
    kith__cc_init(&measures->cc, options->congestion, options->udp_size_initial);
    kith__pacer_init(&measures->pacer, options->pacing, now_ns);
    kith__pacer_update(&measures->pacer, measures->cc.window, measures->rtt.smoothed_ns, options->udp_size_initial,
                       now_ns);
    kith__mtu_init(&measures->mtu, options->mtu_discovery, options->udp_size_initial, options->udp_size_max);
    kith__ecn_init(&measures->ecn, options->ecn);
}

void kith__path_init(struct kith_path *path, uint32_t id, const struct kith_path_options *options,
                     const struct kith_tuple *tuple, uint64_t skip_seed, const struct kith_mem *mem, uint64_t now_ns)
{
    *path = (struct kith_path) { .id = id,
                                 .state = KITH_PATH_UNUSED,
                                 .tuple = *tuple,
                                 .state_since_ns = now_ns,
                                 .idle_from_ns = now_ns,
                                 .keep_alive_from_ns = now_ns,
                                 .last_received_ns = now_ns,
                                 .options = *options,
                                 .mem = mem };
    kith__path_measures_init(path, &path->now, now_ns);
    kith__loss_init(&path->loss);
    path->loss.progress_ns = now_ns;
    kith__received_init(&path->received, mem);
    kith__sent_init(&path->sent, mem, skip_seed);
    kith__cid_ours_init(&path->cids_ours);
    kith__cid_theirs_init(&path->cids_theirs, mem);
    kith__prove_stop(&path->prove);
    kith__responses_init(&path->responses, mem);
}

void kith__path_dispose(struct kith_path *path)
{
    kith__received_dispose(&path->received);
    kith__sent_dispose(&path->sent);
    kith__responses_dispose(&path->responses);
    kith__cid_theirs_dispose(&path->cids_theirs);
    kith__free(path->mem, path->previous);
    path->previous = NULL;
}

void kith__path_start(struct kith_path *path, bool challenge, uint64_t now_ns)
{
    kith__path_enter(path, KITH_PATH_PROBING, now_ns);
    path->idle_from_ns = path->keep_alive_from_ns = now_ns;
    if (challenge)
        kith__prove_start(&path->prove, now_ns, KITH_NEVER);
}

void kith__path_on_proved(struct kith_path *path, uint64_t now_ns)
{
    if (path->state != KITH_PATH_PROBING)
        return;
    kith__path_enter(path, KITH_PATH_OPEN, now_ns);
    kith__free(path->mem, path->previous);
    path->previous = NULL;
}

void kith__path_close(struct kith_path *path, uint64_t now_ns)
{
    if (!kith__path_is_live(path))
        return;
    kith__path_enter(path, KITH_PATH_CLOSING, now_ns);
    kith__prove_stop(&path->prove);
    kith__responses_dispose(&path->responses);
    kith__cid_theirs_forget(&path->cids_theirs);
    kith__free(path->mem, path->previous);
    path->previous = NULL;
    path->ping_wanted = false;
}

void kith__path_drain(struct kith_path *path, uint64_t now_ns)
{
    kith__path_enter(path, KITH_PATH_DRAINED, now_ns);
}

bool kith__path_is_remote(const struct kith_path *path, const struct kith_sockaddr *remote)
{
    return kith_sockaddr_equal(&path->tuple.remote, remote) ||
           (path->previous != NULL && kith_sockaddr_equal(&path->previous->tuple.remote, remote));
}

void kith__path_on_datagram(struct kith_path *path, size_t size)
{
    path->stats.bytes_received += size;
    path->received_unproved += size;
}

void kith__path_on_packet(struct kith_path *path, uint64_t now_ns)
{
    path->stats.packets_received++;
    path->last_received_ns = path->idle_from_ns = path->keep_alive_from_ns = now_ns;
    path->sent_since_received = false;
}

size_t kith__path_allowance(const struct kith_path *path)
{
    uint64_t limit = KITH_AMPLIFICATION * path->received_unproved;

    if (!path->options.is_server || path->state == KITH_PATH_OPEN)
        return SIZE_MAX;
    return (size_t)(limit > path->sent_unproved ? limit - path->sent_unproved : 0);
}

void kith__path_on_datagram_sent(struct kith_path *path, size_t size)
{
    path->stats.bytes_sent += size;
    path->sent_unproved += size;
}

void kith__path_stamp(const struct kith_path *path, struct kith_sent *packet)
{
    packet->epoch = path->now.epoch;
}

void kith__path_on_sent(struct kith_path *path, uint16_t size, uint8_t flags, uint64_t now_ns)
{
    path->stats.packets_sent++;
    if ((flags & KITH_SENT_COUNTED) != 0) {
        path->now.in_flight_size += size;
        path->now.in_flight_count++;
        kith__pacer_on_sent(&path->now.pacer, size);
    }
    if ((flags & KITH_SENT_ECT0) != 0)
        kith__ecn_on_sent(&path->now.ecn);
    if ((flags & KITH_SENT_ELICITING) == 0)
        return;
    path->keep_alive_from_ns = now_ns;
    path->ping_wanted = false; /* whatever asks for an ACK does as well */
    if (!path->sent_since_received)
        path->idle_from_ns = now_ns;
    path->sent_since_received = true;
}

bool kith__path_is_window_full(const struct kith_path *path, size_t size)
{
    return path->sent.counted >= KITH_SENT_COUNTED_MAX ||
           !kith__cc_may_send(&path->now.cc, path->now.in_flight_size, size);
}

bool kith__path_may_send(struct kith_path *path, size_t size, uint64_t now_ns)
{
    return !kith__path_is_window_full(path, size) && kith__pacer_allowed(&path->now.pacer, now_ns) >= size;
}

uint64_t kith__path_idle_deadline(uint64_t from_ns, uint64_t timeout_ns, uint64_t pto_ns)
{
    uint64_t wait_ns = KITH_MAX(timeout_ns, 3 * pto_ns);

    return timeout_ns == 0 || wait_ns >= KITH_NEVER - from_ns ? KITH_NEVER : from_ns + wait_ns;
}

uint64_t kith__path_keep_alive_deadline(const struct kith_path *path)
{
    if (path->options.keep_alive_ns == 0 || path->state != KITH_PATH_OPEN || path->ping_wanted)
        return KITH_NEVER;
    return path->keep_alive_from_ns + path->options.keep_alive_ns;
}

void kith__path_on_keep_alive(struct kith_path *path, uint64_t now_ns)
{
    path->ping_wanted = true;
    path->keep_alive_from_ns = now_ns;
}

static uint8_t public_state(uint8_t state)
{
    if (state >= KITH_PATH_CLOSING)
        return KITH_QUIC_PATH_CLOSING;
    return state == KITH_PATH_OPEN ? KITH_QUIC_PATH_OPEN : KITH_QUIC_PATH_PROBING;
}

bool kith__path_has_slack(const struct kith_path *path)
{
    return kith__sent_has_slack(&path->sent) || kith__ranges_has_slack(&path->received.seen);
}

void kith__path_shed(struct kith_path *path)
{
    kith__sent_shed(&path->sent);
    kith__ranges_shed(&path->received.seen);
}

void kith__path_info(const struct kith_path *path, struct kith_quic_path_info *out)
{
    const struct kith_path_measures *now = &path->now;
    bool is_any = path->tuple.local.family == KITH_FAMILY_NONE;

    *out = (struct kith_quic_path_info) { .id = path->id,
                                          .state = public_state(path->state),
                                          .is_validated = kith__path_is_proved(path),
                                          .ecn_capable = now->ecn.state == KITH_ECN_CAPABLE,
                                          .local = is_any ? path->local_seen : path->tuple.local,
                                          .remote = path->tuple.remote,
                                          .rtt_ns = now->rtt.smoothed_ns,
                                          .rtt_min_ns = now->rtt.min_ns,
                                          .rtt_var_ns = now->rtt.var_ns,
                                          .congestion_window = now->cc.window,
                                          .in_flight_size = now->in_flight_size,
                                          .slow_start_threshold = now->cc.threshold,
                                          .pacing_rate = now->pacer.rate,
                                          .udp_size = now->mtu.size,
                                          .bytes_sent = path->stats.bytes_sent,
                                          .bytes_received = path->stats.bytes_received,
                                          .packets_sent = path->stats.packets_sent,
                                          .packets_received = path->stats.packets_received,
                                          .packets_lost = path->loss.lost,
                                          .bytes_lost = path->loss.lost_size,
                                          .packets_spurious = path->loss.spurious,
                                          .probe_timeouts = path->loss.probe_timeouts,
                                          .congestion_events = now->cc.events,
                                          .ecn_ce_count = now->ecn.ce_total };
}

void kith__path_check(const struct kith_path *path)
{
    kith__sent_check(&path->sent);
    KITH_ASSERT(path->previous == NULL || path->previous->measures.epoch != path->now.epoch);
    KITH_ASSERT((path->now.in_flight_size == 0) == (path->now.in_flight_count == 0));
    KITH_ASSERT(path->id != 0 || path->state != KITH_PATH_UNUSED || path->sent.next == 0);
    if (path->id != 0) /* others have no handshake spaces: all that is in flight is in the one log */
        KITH_ASSERT(path->now.in_flight_size <= path->sent.in_flight_size);
    KITH_ASSERT(path->state < KITH_PATH_CLOSING || path->previous == NULL);
}
