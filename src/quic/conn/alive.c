/*
 * Whether a path answers, and when it may be given up for not answering.
 *
 * Both sides judge by themselves, and what they give up must not be different paths: then each would have given up what
 * the other one keeps. So neither side goes by what it heard alone. A path is given up for its silence only once another one
 * has carried something there and back after the silence was complete. Say we hear nothing on path P for its idle time, then
 * send on Q, and that is acknowledged: so the peer heard us on Q later than we heard the peer on P, by more than the idle
 * time. The peer gives up Q only if it hears us on P later than on Q, by more than its idle time; but an answer to that
 * would have come on P. Both at once is impossible.
 */
#include "quic/conn/conn.h"
#include "quic/conn/fate.h"

#include <limits.h>

enum {
    SERVER_SILENT_ANSWERS = 2, /* of a path, before a server gives up those that are dead */
    SUSPECT_PROBES = 1,        /* packets that leave on a path that is suspect, whatever the window says */
    FLOW_MIN = 16,             /* packets without a pause of a probe timeout: a flow, whose end is asked about */
    FLOW_PTOS = 3,             /* when */
    IDLE_LAST_PTOS = 3         /* how long an idle path has for the last answer, in its probe timeouts */
};

#define SERVER_WAIT_MAX_NS (200 * KITH_NS_PER_MS) /* between those two answers */
#define IDLE_LAST_MAX_NS   (3 * KITH_NS_PER_S)
/* As the smallest retransmission timeout that is usual with TCP: radio links make pauses of a tenth of a second. */
#define SUSPECT_MIN_NS (200 * KITH_NS_PER_MS)
/* Few samples make a wide variance. Below it all a path that died costs less than a second, up to round trips of 0.5 s. */
#define SUSPECT_MORE_NS (100 * KITH_NS_PER_MS)
#define SUSPECT_MAX_NS  (800 * KITH_NS_PER_MS)
/* Three of these, and the round trip until the sender has run dry, are less than a second. */
#define SLOW_PTO_NS (120 * KITH_NS_PER_MS)

/* ---- Dead paths beside one that works ---- */

/** Paths that left two probes in a row unanswered. */
static bool is_dead(const struct kith_path *path)
{
    return kith__path_is_live(path) && path->loss.pto_count >= 2;
}

static void challenge(const struct kith_quic_conn *conn, struct kith_path *path, uint64_t at_ns)
{
    kith__prove_start(&path->prove, at_ns,
                      at_ns + KITH_MIGRATE_PTOS * kith__path_pto_ns(path, conn->peer_delay_max_ns));
}

/**
 * A probe on the path went unanswered. If others are dead already, it is challenged: the answer comes on the path itself,
 * while a peer may send its acknowledgements on the dead one (spec/01, 4.4), as the reference does.
 */
static void challenge_if_others_are_dead(struct kith_quic_conn *conn, struct kith_path *path)
{
    bool others_are_dead = false;

    for (size_t i = 0; i < conn->path_count; i++)
        others_are_dead |= conn->paths[i] != path && is_dead(conn->paths[i]);
    if (others_are_dead && kith__path_is_proved(path) && !path->prove.is_active)
        challenge(conn, path, conn->now_ns);
}

/**
 * The path works both ways, but nothing that we send on it is acknowledged: the peer's ACKs go to where nobody hears them. The
 * side that can open paths decides. A server, which sees the same if several paths came back at once, waits for one more
 * answer: by then the client has given up one of them, or ACKs have come.
 */
void kith__conn_on_silent_answer(struct kith_quic_conn *conn, struct kith_path *path)
{
    path->silent_answers = (uint8_t)KITH_MIN(path->silent_answers + 1u, (unsigned)UINT8_MAX);
    if (!conn->is_client && path->silent_answers < SERVER_SILENT_ANSWERS) {
        challenge(conn, path, conn->now_ns + KITH_MIN(kith__conn_pto_max(conn), SERVER_WAIT_MAX_NS));
        return;
    }
    for (size_t i = 0; i < conn->path_count; i++)
        if (conn->paths[i] != path && is_dead(conn->paths[i]))
            (void)kith__conn_abandon(conn, conn->paths[i], KITH_WIRE_PATH_UNSTABLE_OR_POOR,
                                     KITH_QUIC_CAUSE_MUTE); /* never the last one: `path` lives */
}

/* ---- Suspect and silent paths ---- */

/**
 * How long the oldest packet in flight may wait while nothing after it is acknowledged either. The probe timeout of RFC 9002
 * counts from the last packet sent: a sender goes on until its window is full, a round trip after the path died, and one
 * that sends a little now and then is never done. The oldest packet is what an application waits for.
 */
static uint64_t patience_ns(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    uint64_t pto_ns = kith__path_pto_ns(path, conn->peer_delay_max_ns);
    uint64_t half_more_ns = path->now.rtt.smoothed_ns / 2 * 3 + conn->peer_delay_max_ns;

    return KITH_MAX(KITH_MIN(pto_ns, KITH_MAX(half_more_ns, SUSPECT_MAX_NS)), SUSPECT_MIN_NS);
}

static bool has_answering_other(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (conn->paths[i] != path && kith__conn_is_usable(conn->paths[i]) && !kith__conn_is_silent(conn->paths[i]))
            return true;
    return false;
}

uint64_t kith__conn_suspect_deadline(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    if (kith__conn_is_silent(path) && path->is_suspect)
        return path->suspected_ns + SUSPECT_MORE_NS;
    if (path->sent.waiting_ns == KITH_NEVER || path->sent.eliciting == 0 || kith__conn_is_silent(path) ||
        !kith__path_is_proved(path) || conn->phase != KITH_PHASE_CONFIRMED || !has_answering_other(conn, path))
        return KITH_NEVER;
    return KITH_MAX(path->sent.waiting_ns, path->suspected_ns) + patience_ns(conn, path);
}

/** The path falls silent: `probes` packets leave on it all the same. Returns where data go now; NULL: there is no other path. */
static const struct kith_path *fall_silent(struct kith_quic_conn *conn, struct kith_path *path, uint8_t probes)
{
    const struct kith_path *other;

    path->probes = KITH_MAX(path->probes, probes);
    if (path->silent_ns == 0) {
        path->silent_ns = conn->now_ns;
        kith__conn_note_path(conn, path); /* who decides about paths may want another one */
    }
    challenge_if_others_are_dead(conn, path);
    other = kith__conn_first(conn);
    return other != NULL && other != path && kith__conn_is_usable(other) ? other : NULL;
}

/**
 * Paths that carry nothing are asked whether they answer, before anything depends on them. Also a peer that acknowledges on the
 * dead path, and goes on sending there, is found out by that: see kith__conn_on_silent_answer.
 */
static void ask_idle_others(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (conn->paths[i] != path && kith__path_is_proved(conn->paths[i]) && conn->paths[i]->sent.eliciting == 0)
            conn->paths[i]->ping_wanted = true;
}

/** Full packets that the window of the path takes now. */
static unsigned room_of(const struct kith_path *path)
{
    uint64_t window = path->now.cc.window, used = KITH_MIN(path->now.in_flight_size, window);

    return (unsigned)((window - used) / path->now.mtu.size);
}

/**
 * First the oldest data go out again elsewhere, as far as there is room at once: if it was only a pause, a path that comes back
 * would repeat what still waits to be repeated. If nothing comes for a while more, all the rest follows.
 */
void kith__conn_on_suspect(struct kith_quic_conn *conn, struct kith_path *path)
{
    bool is_second = kith__conn_is_silent(path) && path->is_suspect;
    const struct kith_path *other = fall_silent(conn, path, SUSPECT_PROBES);
    unsigned count = other != NULL ? KITH_MAX(room_of(other), 2u) : 2;

    path->is_suspect = !is_second;
    if (!is_second) {
        path->suspected_ns = conn->now_ns; /* late ACKs that come one by one are no new reason each time */
        kith__conn_ack_elsewhere(conn, path);
    }
    kith__fate_resend_for_probe(conn, path, KITH_SPACE_DATA, is_second && other != NULL ? UINT_MAX : count);
}

/**
 * From the second strike on all that is in flight goes out again elsewhere; a path that was suspect before, or is slow, gets no
 * second chance, so that an application waits less than a second for a path that died. The path is not given up: it is
 * probed until its idle time is over, and used again when it answers.
 */
void kith__conn_on_probe_timeout(struct kith_quic_conn *conn, struct kith_path *path, uint8_t probes)
{
    bool is_first = path->loss.pto_count == 1, was_silent = kith__conn_is_silent(path);
    bool is_slow = kith__path_pto_ns(path, conn->peer_delay_max_ns) > SLOW_PTO_NS;
    const struct kith_path *other = fall_silent(conn, path, probes);

    path->is_suspect = false;
    if (is_first) {
        kith__conn_ack_elsewhere(conn, path);
        ask_idle_others(conn, path);
    }
    kith__fate_resend_for_probe(conn, path, KITH_SPACE_DATA,
                                other != NULL && (!is_first || was_silent || is_slow) ? UINT_MAX : probes);
}

/* ---- Flows that stop ---- */

void kith__conn_note_flow(const struct kith_quic_conn *conn, struct kith_path *path)
{
    if (conn->now_ns - path->flow_ns > kith__path_pto_ns(path, conn->peer_delay_max_ns))
        path->flow_count = 0;
    path->flow_ns = conn->now_ns;
    path->flow_count = (uint8_t)KITH_MIN(path->flow_count + 1u, (unsigned)UINT8_MAX);
}

uint64_t kith__conn_flow_deadline(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    if (path->flow_count < FLOW_MIN || path->sent.eliciting != 0 || kith__conn_is_silent(path) ||
        !kith__path_is_proved(path) || conn->phase != KITH_PHASE_CONFIRMED || !has_answering_other(conn, path))
        return KITH_NEVER;
    return path->flow_ns + FLOW_PTOS * kith__path_pto_ns(path, conn->peer_delay_max_ns);
}

void kith__conn_on_flow_stopped(struct kith_path *path)
{
    path->flow_count = 0;
    path->ping_wanted = true;
}

/* ---- Idle paths ---- */

/** Since when another path has been proved, so that this one may go; KITH_NEVER: there is none. */
static uint64_t replaced_since(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    uint64_t since_ns = KITH_NEVER;

    for (size_t i = 0; i < conn->path_count; i++)
        if (conn->paths[i] != path && kith__path_is_proved(conn->paths[i]))
            since_ns = KITH_MIN(since_ns, conn->paths[i]->proved_ns);
    return since_ns;
}

/**
 * When the path has been idle for too long. The last path that works has no idle time of its own: the connection's counts.
 * Silence from before another one was proved does not count: the new one may be worse, and the old one come back.
 */
static uint64_t idle_end(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    bool is_relay = path->tuple.remote.family == KITH_FAMILY_RELAY;
    uint64_t timeout_ns = is_relay ? conn->config.relay_idle_timeout_ns : path->options.idle_timeout_ns;
    uint64_t since_ns = replaced_since(conn, path);

    if (path->options.idle_timeout_ns == 0 || since_ns == KITH_NEVER)
        return KITH_NEVER;
    return kith__path_idle_deadline(KITH_MAX(path->idle_from_ns, since_ns), timeout_ns,
                                    kith__path_pto_ns(path, conn->peer_delay_max_ns));
}

/** Has another path answered something that was sent at that time or later? */
static bool other_answers(const struct kith_quic_conn *conn, const struct kith_path *path, uint64_t from_ns)
{
    for (size_t i = 0; i < conn->path_count; i++)
        if (conn->paths[i] != path && kith__path_is_proved(conn->paths[i]) && conn->paths[i]->answered_ns >= from_ns)
            return true;
    return false;
}

uint64_t kith__conn_path_idle_deadline(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    uint64_t end_ns = idle_end(conn, path);

    if (end_ns == KITH_NEVER || path->idle_asked_ns < end_ns)
        return end_ns;
    if (path->is_idle_last)
        return path->idle_asked_ns +
               KITH_MIN(IDLE_LAST_PTOS * kith__path_pto_ns(path, conn->peer_delay_max_ns), IDLE_LAST_MAX_NS);
    return other_answers(conn, path, end_ns) ? end_ns : KITH_NEVER;
}

/**
 * First the others are asked: they may be dead as well, and this one the first to come back. Those that leave the PING
 * unanswered are probed on. When one has answered, this one is asked for the last time: if the network was away as a whole,
 * it is back as well, and nobody may have had a reason to send on it since.
 */
void kith__conn_on_path_idle(struct kith_quic_conn *conn, struct kith_path *path)
{
    uint64_t end_ns = idle_end(conn, path);
    bool has_answer = path->idle_asked_ns >= end_ns && other_answers(conn, path, end_ns);

    if (has_answer && path->is_idle_last) {
        (void)kith__conn_abandon(conn, path, KITH_WIRE_PATH_UNSTABLE_OR_POOR,
                                 path->was_proved ? KITH_QUIC_CAUSE_SILENT
                                                  : KITH_QUIC_CAUSE_UNANSWERED); /* never the last one */
        return;
    }
    path->idle_asked_ns = conn->now_ns;
    path->is_idle_last = has_answer; /* if the one that answered went meanwhile, those that are left are asked */
    path->ping_wanted = has_answer;
    for (size_t i = 0; i < conn->path_count && !has_answer; i++)
        if (conn->paths[i] != path && kith__path_is_proved(conn->paths[i]))
            conn->paths[i]->ping_wanted = true;
}
