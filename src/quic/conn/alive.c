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

enum {
    SERVER_SILENT_ANSWERS = 2, /* of a path, before a server gives up those that are dead */
    IDLE_LAST_PTOS = 3         /* how long an idle path has for the last answer, in its probe timeouts */
};

#define IDLE_LAST_MAX_NS (3 * KITH_NS_PER_S)

/* ---- Dead paths beside one that works ---- */

/** Paths that left two probes in a row unanswered. */
static bool is_dead(const struct kith_path *path)
{
    return kith__path_is_live(path) && path->loss.pto_count >= 2;
}

void kith__conn_on_path_silent(struct kith_quic_conn *conn, struct kith_path *path)
{
    bool others_are_dead = false;

    for (size_t i = 0; i < conn->path_count; i++)
        others_are_dead |= conn->paths[i] != path && is_dead(conn->paths[i]);
    if (others_are_dead && kith__path_is_proved(path) && !path->prove.is_active)
        kith__prove_start(&path->prove, conn->now_ns,
                          conn->now_ns + KITH_MIGRATE_PTOS * kith__path_pto_ns(path, conn->peer_delay_max_ns));
}

/**
 * The path works both ways, but nothing that we send on it is acknowledged: the peer's ACKs go to where nobody hears them. The
 * side that can open paths decides. A server, which sees the same if several paths came back at once, waits for one more
 * answer: by then the client has given up one of them, or ACKs have come.
 */
void kith__conn_on_silent_answer(struct kith_quic_conn *conn, struct kith_path *path)
{
    path->silent_answers = (uint8_t)KITH_MIN(path->silent_answers + 1u, (unsigned)UINT8_MAX);
    if (!conn->is_client && path->silent_answers < SERVER_SILENT_ANSWERS)
        return;
    for (size_t i = 0; i < conn->path_count; i++)
        if (conn->paths[i] != path && is_dead(conn->paths[i]))
            (void)kith__conn_abandon(conn, conn->paths[i], KITH_WIRE_PATH_UNSTABLE_OR_POOR,
                                     KITH_QUIC_CAUSE_MUTE); /* never the last one: `path` lives */
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
    bool is_asked = path->idle_asked_ns >= idle_end(conn, path);

    if (is_asked && path->is_idle_last) {
        (void)kith__conn_abandon(conn, path, KITH_WIRE_PATH_UNSTABLE_OR_POOR,
                                 path->was_proved ? KITH_QUIC_CAUSE_SILENT
                                                  : KITH_QUIC_CAUSE_UNANSWERED); /* never the last one */
        return;
    }
    path->idle_asked_ns = conn->now_ns;
    path->is_idle_last = is_asked;
    path->ping_wanted = is_asked;
    for (size_t i = 0; i < conn->path_count && !is_asked; i++)
        if (conn->paths[i] != path && kith__path_is_proved(conn->paths[i]))
            conn->paths[i]->ping_wanted = true;
}
