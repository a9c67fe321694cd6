/*
 * When something happens by itself. No timer is armed or stopped anywhere: each part tells its own next time, the
 * connection's deadline is the earliest, and when it has come every part is asked. A stale timer cannot exist.
 */
#include "base/assert.h"
#include "base/random.h"
#include "quic/conn/conn.h"
#include "quic/conn/fate.h"
#include "quic/host/host.h"

/* A connection without a packet for so long gives back the memory that its busy time needed. */
#define SHED_NS KITH_NS_PER_S

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t kith__conn_idle_timeout(const struct kith_quic_conn *conn)
{
    uint64_t ours = conn->config.idle_timeout_ns, theirs = conn->peer_idle_ns;

    return ours == 0 ? theirs : theirs == 0 ? ours : KITH_MIN(ours, theirs);
}

/**
 * A time at which something may be sent. Once it has come it is no deadline any more: the connection was then put where the
 * host looks for datagrams, and if it still could not send, time is not what it waits for.
 */
static uint64_t send_time(const struct kith_quic_conn *conn, uint64_t at_ns)
{
    return at_ns > conn->now_ns ? at_ns : KITH_NEVER;
}

static uint64_t idle_deadline(const struct kith_quic_conn *conn)
{
    uint64_t from_ns = conn->idle_floor_ns;

    for (size_t i = 0; i < conn->path_count; i++)
        from_ns = KITH_MAX(from_ns, conn->paths[i]->idle_from_ns);
    return kith__path_idle_deadline(from_ns, kith__conn_idle_timeout(conn), kith__conn_pto_max(conn));
}

/** When a client that has not proven who it is must have done so. */
static uint64_t handshake_deadline(const struct kith_quic_conn *conn)
{
    return conn->phase == KITH_PHASE_HANDSHAKING ? conn->early->give_up_ns : KITH_NEVER;
}

/** When memory that nothing needs now should go; each packet puts it off, so that a busy connection keeps its tables. */
static uint64_t shed_deadline(const struct kith_quic_conn *conn)
{
    bool has_slack = kith__stream_set_has_slack(&conn->streams);
    uint64_t from_ns = 0;

    for (size_t i = 0; i < conn->path_count; i++) {
        const struct kith_path *path = conn->paths[i];

        has_slack |= kith__path_has_slack(path);
        from_ns = KITH_MAX(from_ns, KITH_MAX(path->last_received_ns, path->sent.eliciting_sent_ns));
    }
    return has_slack ? from_ns + SHED_NS : KITH_NEVER;
}

static void shed(struct kith_quic_conn *conn)
{
    kith__stream_set_shed(&conn->streams);
    for (size_t i = 0; i < conn->path_count; i++)
        kith__path_shed(conn->paths[i]);
}

static struct kith_loss_view loss_view(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    const struct kith_conn_early *early = path->id == 0 ? conn->early : NULL;
    struct kith_loss_view view = { .rtt = &path->now.rtt,
                                   .delay_max_ns = conn->peer_delay_max_ns,
                                   .idle_timeout_ns = path->options.idle_timeout_ns != 0
                                                          ? path->options.idle_timeout_ns
                                                          : kith__conn_idle_timeout(conn),
                                   .quiet_from_ns = path->tuple.remote.family == KITH_FAMILY_RELAY ? path->idle_from_ns
                                                                                                   : KITH_NEVER,
                                   .is_confirmed = conn->phase == KITH_PHASE_CONFIRMED };

    view.logs[KITH_SPACE_DATA] = &path->sent;
    if (early != NULL) {
        for (int i = 0; i < 2; i++)
            if (!early->spaces[i].is_gone)
                view.logs[i] = &early->spaces[i].sent;
        view.has_handshake_keys = kith__keys_can_write(&early->spaces[KITH_SPACE_HANDSHAKE].keys);
        view.peer_is_waiting = conn->is_client && early->is_peer_waiting;
    }
    view.is_blocked = kith__path_allowance(path) == 0;
    return view;
}

/**
 * The time at which an ACK must leave; not if there is no key or no allowance to send it with. Where there are other paths,
 * one of them takes the ACK of a path that may not send (kith__tx_owes_ack_for).
 */
static uint64_t ack_deadline(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    uint64_t at = KITH_NEVER;

    if (conn->path_count == 1 && kith__path_allowance(path) == 0)
        return at;
    if (kith__keys_can_write(&conn->keys))
        at = kith__received_deadline(&path->received);
    for (int i = 0; path->id == 0 && conn->early != NULL && i < 2; i++)
        if (kith__keys_can_write(&conn->early->spaces[i].keys))
            at = earlier(at, kith__received_deadline(&conn->early->spaces[i].received));
    return at;
}

/** When the pacer lets the next packet go, if there is data that the window allows. */
static uint64_t pacing_deadline(const struct kith_path *path)
{
    if (!path->is_paced_now || kith__path_is_window_full(path, path->now.mtu.size))
        return KITH_NEVER;
    return kith__pacer_deadline(&path->now.pacer, path->now.mtu.size);
}

static uint64_t prove_deadline(const struct kith_quic_conn *conn, const struct kith_prove *prove)
{
    return prove->is_active ? earlier(send_time(conn, prove->next_ns), prove->give_up_ns) : KITH_NEVER;
}

static uint64_t migrate_deadline(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    uint64_t at = prove_deadline(conn, &path->prove);

    return path->previous != NULL ? earlier(at, prove_deadline(conn, &path->previous->prove)) : at;
}

static bool has_probes(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    return path->probes != 0 || (path->id == 0 && conn->early != NULL &&
                                 (conn->early->spaces[0].probes != 0 || conn->early->spaces[1].probes != 0));
}

/** The backoff counts from the last packet sent: until the probe is on its way, its next time may lie in the past. */
static uint64_t loss_deadline(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    struct kith_loss_view view = loss_view(conn, path);
    struct kith_loss_timer timer = kith__loss_timer(&path->loss, &view);

    return timer.kind == KITH_LOSS_PROBE && has_probes(conn, path) ? send_time(conn, timer.deadline_ns)
                                                                   : timer.deadline_ns;
}

static uint64_t path_deadline(const struct kith_quic_conn *conn, const struct kith_path *path)
{
    uint64_t at = send_time(conn, ack_deadline(conn, path));

    if (!kith__path_is_live(path))
        return at;
    at = earlier(at, loss_deadline(conn, path));
    at = earlier(at, kith__conn_suspect_deadline(conn, path));
    at = earlier(at, kith__conn_flow_deadline(conn, path));
    at = earlier(at, kith__conn_path_idle_deadline(conn, path));
    at = earlier(at, send_time(conn, pacing_deadline(path)));
    if (kith__phase_is_established(conn->phase)) {
        at = earlier(at, kith__path_keep_alive_deadline(path));
        at = earlier(at, migrate_deadline(conn, path));
    }
    if (conn->phase == KITH_PHASE_CONFIRMED)
        at = earlier(at, send_time(conn, kith__mtu_deadline(&path->now.mtu)));
    return at;
}

uint64_t kith__conn_deadline(const struct kith_quic_conn *conn)
{
    uint64_t at;

    if (conn->phase == KITH_PHASE_DRAINED)
        return KITH_NEVER;
    if (!kith__phase_is_open(conn->phase))
        return conn->close.deadline_ns;
    at = earlier(earlier(idle_deadline(conn), handshake_deadline(conn)),
                 earlier(conn->keys_drop_ns, conn->tls_drop_ns));
    at = earlier(at, kith__multipath_deadline(&conn->mp));
    at = earlier(at,
                 send_time(conn, shed_deadline(conn))); /* without memory for smaller tables it is not tried for ever */
    if (conn->has_nat_traversal)
        at = earlier(at, send_time(conn, kith__punch_deadline(&conn->punch)));
    for (size_t i = 0; i < conn->path_count; i++)
        at = earlier(at, path_deadline(conn, conn->paths[i]));
    return at;
}

static struct kith_qlog_timer qlog_timer(const struct kith_path *path, const struct kith_loss_timer *timer)
{
    return (struct kith_qlog_timer) { .deadline_ns = timer->deadline_ns,
                                      .path = path->id,
                                      .kind = timer->kind == KITH_LOSS_BY_TIME ? KITH_QLOG_TIMER_ACK
                                              : timer->kind == KITH_LOSS_PROBE ? KITH_QLOG_TIMER_PTO
                                                                               : KITH_QLOG_TIMER_NONE,
                                      .space = timer->space };
}

void kith__conn_log_timers(struct kith_quic_conn *conn)
{
    for (size_t i = 0; i < conn->path_count; i++) {
        const struct kith_path *path = conn->paths[i];
        struct kith_loss_timer timer = { .deadline_ns = KITH_NEVER, .kind = KITH_LOSS_NONE };
        struct kith_qlog_timer logged;

        if (kith__phase_is_open(conn->phase)) {
            struct kith_loss_view view = loss_view(conn, path);

            timer = kith__loss_timer(&path->loss, &view);
        }
        logged = qlog_timer(path, &timer);
        kith__qlog_loss_timer(&conn->qlog, &logged, conn->now_ns);
    }
}

/** A probe timeout: the packets that follow carry old data again, or a PING (RFC 9002, 6.2.4). */
static void on_probe(struct kith_quic_conn *conn, struct kith_path *path, const struct kith_loss_timer *timer)
{
    if (timer->space == KITH_SPACE_DATA) {
        kith__conn_on_probe_timeout(conn, path, timer->probes);
        return;
    }
    conn->early->spaces[timer->space].probes = KITH_MAX(conn->early->spaces[timer->space].probes, timer->probes);
    kith__fate_resend_for_probe(conn, path, timer->space, timer->probes);
}

/** After a late call several may be due: losses by time in each space, then one probe. */
static void on_loss_timer(struct kith_quic_conn *conn, struct kith_path *path)
{
    uint8_t kind = KITH_LOSS_BY_TIME;

    for (int i = 0; kind == KITH_LOSS_BY_TIME && i <= KITH_SPACE_COUNT && kith__phase_is_open(conn->phase); i++) {
        struct kith_loss_view view = loss_view(conn, path);
        struct kith_loss_timer timer = kith__loss_on_timer(&path->loss, &view, conn->now_ns);
        struct kith_qlog_timer logged = qlog_timer(path, &timer);

        kind = timer.kind;
        if (kind != KITH_LOSS_NONE)
            kith__qlog_loss_timer_expired(&conn->qlog, &logged, conn->now_ns);
        if (kind == KITH_LOSS_BY_TIME)
            kith__fate_detect_lost(conn, path, timer.space);
        else if (kind == KITH_LOSS_PROBE)
            on_probe(conn, path, &timer);
    }
}

static void on_migrate_timer(struct kith_quic_conn *conn, struct kith_path *path)
{
    switch (kith__migrate_on_deadline(path, conn->now_ns)) {
    case KITH_MIGRATE_WENT_BACK:
    case KITH_MIGRATE_PROVED:
    case KITH_MIGRATE_FAILED: /* the path goes on unproved until the idle timeout ends it or the peer answers */
        kith__conn_note_path(conn, path);
        break;
    case KITH_MIGRATE_NOTHING:
    case KITH_MIGRATE_OLD_ALIVE:
        break;
    }
}

static void on_path_timers(struct kith_quic_conn *conn, struct kith_path *path)
{
    if (!kith__path_is_live(path))
        return;
    if (kith__conn_path_idle_deadline(conn, path) <= conn->now_ns) {
        kith__conn_on_path_idle(conn, path);
        if (!kith__path_is_live(path))
            return;
    }
    if (kith__phase_is_established(conn->phase))
        on_migrate_timer(conn, path); /* first: going back to an old address brings its round trip back */
    if (kith__conn_suspect_deadline(conn, path) <= conn->now_ns)
        kith__conn_on_suspect(conn, path);
    if (kith__conn_flow_deadline(conn, path) <= conn->now_ns)
        kith__conn_on_flow_stopped(path);
    on_loss_timer(conn, path);
    if (!kith__phase_is_open(conn->phase))
        return;
    path->is_paced_now = path->is_paced_now && pacing_deadline(path) > conn->now_ns;
    if (kith__phase_is_established(conn->phase) && kith__path_keep_alive_deadline(path) <= conn->now_ns)
        kith__path_on_keep_alive(path, conn->now_ns);
}

void kith__conn_on_deadline(struct kith_quic_conn *conn, uint64_t now_ns)
{
    conn->now_ns = now_ns;
    if (conn->phase == KITH_PHASE_DRAINED)
        return;
    if (!kith__phase_is_open(conn->phase)) {
        if (conn->close.deadline_ns <= now_ns)
            kith__conn_on_close_deadline(conn);
        return;
    }
    if (idle_deadline(conn) <= now_ns) {
        kith__conn_lost(conn, KITH_ERR_IDLE);
        return;
    }
    if (handshake_deadline(conn) <= now_ns) {
        conn->host->stats.handshakes_given_up++;
        kith__conn_lost(conn, KITH_ERR_TIMEOUT);
        return;
    }
    for (size_t i = 0; i < conn->path_count && kith__phase_is_open(conn->phase); i++)
        on_path_timers(conn, conn->paths[i]);
    if (kith__phase_is_open(conn->phase) && kith__multipath_deadline(&conn->mp) <= now_ns)
        kith__conn_on_path_ids_deadline(conn);
    if (conn->has_nat_traversal)
        kith__punch_on_deadline(&conn->punch, now_ns);
    if (conn->tls_drop_ns <= now_ns) {
        kith__tls_shed(conn->handshake.tls);
        conn->tls_drop_ns = KITH_NEVER;
    }
    if (shed_deadline(conn) <= now_ns)
        shed(conn);
    if (conn->keys_drop_ns <= now_ns) {
        kith__keys_drop_previous(&conn->keys);
        conn->keys_drop_ns = KITH_NEVER;
    }
}
