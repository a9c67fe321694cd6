/*
 * The rule of RFC 9000, 9.3: the peer is followed at once, but with the amplification limit and a challenge; the last
 * address that was proved is kept, and challenged as well, until the new one is proved or time is over.
 */
#include "quic/path/migrate.h"

#include "base/mem.h"

static bool same_ip(const struct kith_sockaddr *a, const struct kith_sockaddr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0 && a->scope_id == b->scope_id;
}

/** The local end is the same, or one of the two is not known. */
static bool same_local(const struct kith_sockaddr *a, const struct kith_sockaddr *b)
{
    return a->family == KITH_FAMILY_NONE || b->family == KITH_FAMILY_NONE || same_ip(a, b);
}

enum kith_migrate_verdict kith__migrate_judge(const struct kith_path *path, const struct kith_migrate_packet *packet)
{
    bool remote_is_same = kith_sockaddr_equal(&path->tuple.remote, &packet->tuple.remote);

    if (remote_is_same && same_local(&path->tuple.local, &packet->tuple.local))
        return KITH_MIGRATE_STAY;
    if (!packet->is_confirmed)
        return KITH_MIGRATE_DROP;
    if (!path->options.is_server) /* servers do not move; our own address may have changed under us */
        return remote_is_same || packet->has_nat_traversal ? KITH_MIGRATE_STAY : KITH_MIGRATE_DROP;
    if (remote_is_same && !packet->has_nat_traversal)
        return KITH_MIGRATE_DROP;
    if ((packet->is_probing_only && !packet->any_packet_moves) || packet->number + 1 <= packet->received_end)
        return KITH_MIGRATE_STAY;
    return KITH_MIGRATE_FOLLOW;
}

static uint64_t give_up_after(const struct kith_path *path, uint64_t delay_max_ns)
{
    struct kith_rtt fresh;

    kith__rtt_init(&fresh, path->options.initial_rtt_ns); /* the new way may be slower than the old one */
    return KITH_MIGRATE_PTOS * KITH_MAX(kith__rtt_pto_ns(&fresh, delay_max_ns), kith__path_pto_ns(path, delay_max_ns));
}

static void drop_previous(struct kith_path *path)
{
    kith__free(path->mem, path->previous);
    path->previous = NULL;
}

/**
 * What was measured belongs to the old way, unless only a NAT changed a port. The packet size is searched again
 * always.
 */
static void renew_measures(struct kith_path *path, bool keep, uint64_t now_ns)
{
    struct kith_path_measures old = path->now;
    uint64_t max = old.mtu.max;

    kith__path_measures_init(path, &path->now, now_ns);
    kith__mtu_set_peer_max(&path->now.mtu, max);
    path->now.ecn = old.ecn;
    kith__ecn_restart(&path->now.ecn);
    if (keep) {
        path->now.rtt = old.rtt;
        path->now.cc = old.cc;
        kith__cc_set_udp_size(&path->now.cc, path->now.mtu.size);
        kith__pacer_update(&path->now.pacer, path->now.cc.window, path->now.rtt.smoothed_ns, path->now.mtu.size,
                           now_ns);
    }
    path->loss.run_begin_ns = KITH_NEVER;
    path->loss.pto_count = 0;
    path->silent_ns = path->silent_answers = 0;
}

/** Puts the kept 4-tuple and its measures in use again. */
static void go_back(struct kith_path *path, uint64_t now_ns)
{
    struct kith_ecn ecn = path->now.ecn;

    ecn.state = path->previous->measures.ecn.state; /* counts belong to the packet numbers and go on */
    path->tuple = path->previous->tuple;
    path->now = path->previous->measures;
    path->now.ecn = ecn;
    kith__prove_stop(&path->prove);
    if (path->state == KITH_PATH_PROBING)
        kith__path_enter(path, KITH_PATH_OPEN, now_ns);
    drop_previous(path);
}

static void keep_previous(struct kith_path *path, struct kith_path_previous *kept, uint64_t now_ns, uint64_t give_up_ns)
{
    *kept = (struct kith_path_previous) { .tuple = path->tuple, .measures = path->now };
    kith__prove_start(&kept->prove, now_ns, give_up_ns);
    drop_previous(path);
    path->previous = kept;
}

int kith__migrate_follow(struct kith_path *path, const struct kith_tuple *tuple, size_t datagram_size, bool is_known,
                         uint64_t delay_max_ns, uint64_t now_ns)
{
    uint64_t give_up_ns = now_ns + give_up_after(path, delay_max_ns);
    bool only_port = same_ip(&path->tuple.remote, &tuple->remote);
    struct kith_path_previous *kept = NULL;

    KITH_ASSERT(kith__path_is_live(path));
    if (path->previous != NULL && kith__tuple_equal(&path->previous->tuple, tuple)) {
        path->migrations++;
        go_back(path, now_ns); /* proved before: nothing to prove */
        return 0;
    }
    if (path->state == KITH_PATH_OPEN && !is_known && (kept = kith__alloc(path->mem, sizeof *kept)) == NULL)
        return KITH_ERR_NOMEM;
    if (kept != NULL)
        keep_previous(path, kept, now_ns, give_up_ns);
    renew_measures(path, only_port, now_ns);
    path->tuple = *tuple;
    path->migrations++;
    if (is_known) {
        kith__prove_stop(&path->prove);
        kith__path_on_proved(path, now_ns);
        return 0;
    }
    if (path->state == KITH_PATH_OPEN)
        kith__path_enter(path, KITH_PATH_PROBING, now_ns);
    path->received_unproved = datagram_size;
    path->sent_unproved = 0;
    path->is_size_proved = false;
    kith__prove_start(&path->prove, now_ns, give_up_ns);
    return 0;
}

int kith__migrate_local(struct kith_path *path, const struct kith_sockaddr *local, uint64_t delay_max_ns,
                        uint64_t now_ns)
{
    uint64_t give_up_ns = now_ns + give_up_after(path, delay_max_ns);
    struct kith_path_previous *kept;

    if (path->state != KITH_PATH_OPEN || path->options.is_server || kith__cid_theirs_spares(&path->cids_theirs) == 0)
        return KITH_ERR_STATE;
    if ((kept = kith__alloc(path->mem, sizeof *kept)) == NULL)
        return KITH_ERR_NOMEM;
    if (!kith__cid_theirs_switch(&path->cids_theirs)) { /* too many retirements are open */
        kith__free(path->mem, kept);
        return KITH_ERR_STATE;
    }
    keep_previous(path, kept, now_ns, give_up_ns);
    kith__prove_stop(&kept->prove); /* we left: whether the old way still works shows only if we must go back */
    renew_measures(path, same_ip(&path->tuple.local, local), now_ns);
    path->tuple.local = *local;
    path->migrations++;
    kith__prove_start(&path->prove, now_ns, give_up_ns);
    return 0;
}

enum kith_migrate_event kith__migrate_on_response(struct kith_path *path, const struct kith_tuple *tuple,
                                                  const uint8_t value[KITH_CHALLENGE_SIZE], uint64_t now_ns)
{
    uint64_t rtt_ns;
    bool is_padded;

    if (path->previous != NULL && kith__prove_on_response(&path->previous->prove, value, now_ns, &rtt_ns, &is_padded))
        return KITH_MIGRATE_OLD_ALIVE;
    if (!kith__prove_on_response(&path->prove, value, now_ns, &rtt_ns, &is_padded))
        return KITH_MIGRATE_NOTHING;
    /* The way back may be another one (RFC 9000, 8.2.3): it proves the address all the same, but is no round trip. */
    if (!kith__rtt_has_sample(&path->now.rtt) && kith_sockaddr_equal(&tuple->remote, &path->tuple.remote))
        kith__rtt_on_sample(&path->now.rtt, rtt_ns, 0, 0, now_ns);
    drop_previous(path);
    kith__path_on_proved(path, now_ns);
    if (is_padded)
        path->is_size_proved = true;
    else if (
        !path->is_size_proved) /* the amplification limit kept the challenge small: once more at full size (8.2.1) */
        kith__prove_start(&path->prove, now_ns, now_ns + give_up_after(path, 0));
    return KITH_MIGRATE_PROVED;
}

uint64_t kith__migrate_deadline(const struct kith_path *path)
{
    uint64_t deadline_ns = kith__prove_deadline(&path->prove);

    return path->previous == NULL ? deadline_ns : KITH_MIN(deadline_ns, kith__prove_deadline(&path->previous->prove));
}

enum kith_migrate_event kith__migrate_on_deadline(struct kith_path *path, uint64_t now_ns)
{
    if (path->previous != NULL)
        kith__prove_has_failed(&path->previous->prove, now_ns); /* only an observation: the new address decides */
    if (!kith__prove_has_failed(&path->prove, now_ns))
        return KITH_MIGRATE_NOTHING;
    if (path->previous != NULL) {
        go_back(path, now_ns);
        return KITH_MIGRATE_WENT_BACK;
    }
    return path->state == KITH_PATH_OPEN ? KITH_MIGRATE_NOTHING : KITH_MIGRATE_FAILED;
}

bool kith__migrate_challenge_is_due(const struct kith_path *path, uint64_t now_ns, struct kith_migrate_challenge *out)
{
    if (kith__prove_is_due(&path->prove, now_ns)) {
        *out = (struct kith_migrate_challenge) { .tuple = path->tuple, .is_old = false };
        return true;
    }
    if (path->previous == NULL || !kith__prove_is_due(&path->previous->prove, now_ns))
        return false;
    *out = (struct kith_migrate_challenge) { .tuple = path->previous->tuple, .is_old = true };
    return true;
}

void kith__migrate_on_challenge_sent(struct kith_path *path, bool is_old, const uint8_t value[KITH_CHALLENGE_SIZE],
                                     bool is_padded, uint64_t delay_max_ns, uint64_t now_ns)
{
    struct kith_path_measures *measures = is_old ? &path->previous->measures : &path->now;
    struct kith_prove *prove = is_old ? &path->previous->prove : &path->prove;

    KITH_ASSERT(!is_old || path->previous != NULL);
    kith__prove_on_sent(prove, value, is_padded, kith__rtt_pto_ns(&measures->rtt, delay_max_ns),
                        kith__loss_cap_ns(&measures->rtt, path->options.idle_timeout_ns), now_ns);
}
