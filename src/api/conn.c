/* Connections of the public API. */
#include "api/dial.h"

#include "base/assert.h"
#include "base/mem.h"
#include <inttypes.h>

static void on_ways_timer(void *ctx, uint64_t now_ns)
{
    struct kith_conn *conn = ctx;

    kith__conn_ways_on_deadline(&conn->ways, now_ns);
    kith__api_dial_on_ways(conn);
    kith__api_relays_arm(conn);
    kith__api_endpoint_touch(conn->endpoint);
}

/* The engine's connection is not to be touched any more. */
static void stop_ways(struct kith_conn *conn)
{
    kith__conn_ways_dispose(&conn->ways);
    kith__rt_timer_dispose(&conn->ways_timer);
}

struct kith_conn *kith__api_conn_new(struct kith_endpoint *endpoint, struct kith_quic_conn *quic)
{
    struct kith_conn *conn = kith__alloc_zero(endpoint->context->mem, sizeof *conn);

    if (conn != NULL && kith__rt_timer_init(endpoint->context->rt, &conn->ways_timer, on_ways_timer, conn) != 0) {
        kith__free(endpoint->context->mem, conn);
        conn = NULL;
    }
    if (conn == NULL) {
        kith_quic_conn_free(quic);
        return NULL;
    }
    conn->endpoint = endpoint;
    conn->quic = quic;
    conn->is_client = kith_quic_conn_is_client(quic);
    kith__conn_ways_init(&conn->ways, quic, endpoint->relays, conn->is_client);
    kith__buf_init(&conn->alpn, endpoint->context->mem);
    kith__buf_init(&conn->reason, endpoint->context->mem);
    kith__list_init(&conn->accepted_node);
    kith__list_init(&conn->streams);
    kith__list_init(&conn->handshake_ops);
    kith__list_init(&conn->closed_ops);
    kith__list_init(&conn->stream_waiters);
    kith__list_init(&conn->datagram_send_ops);
    kith__list_init(&conn->datagram_receive_ops);
    for (int i = 0; i < 2; i++) {
        kith__list_init(&conn->opened[i]);
        kith__list_init(&conn->open_ops[i]);
        kith__list_init(&conn->accept_ops[i]);
    }
    kith__list_push_back(&endpoint->conns, &conn->node);
    kith_quic_conn_set_user(quic, conn);
    return conn;
}

/* After the end: streams that nobody holds go; those that could still be accepted only with the connection. */
static void drop_unheld_streams(struct kith_conn *conn, bool also_opened)
{
    KITH_LIST_EACH_SAFE(node, after, &conn->streams)
    {
        struct kith_stream *stream = KITH_CONTAINER(node, struct kith_stream, node);

        if (stream->is_held || (!also_opened && kith__list_is_linked(&stream->opened_node)))
            continue;
        if (conn->quic != NULL)
            kith_quic_stream_set_user(conn->quic, stream->id, NULL);
        kith__list_remove(&stream->opened_node);
        kith__list_remove(&stream->node);
        kith__free(conn->endpoint->context->mem, stream);
    }
}

void kith__api_conn_release_if_done(struct kith_conn *conn)
{
    struct kith_endpoint *endpoint = conn->endpoint;

    if (conn->is_held || !conn->is_drained || conn->is_accepting || kith__list_is_linked(&conn->accepted_node))
        return;
    drop_unheld_streams(conn, true);
    if (!kith__list_is_empty(&conn->streams))
        return;
    stop_ways(conn);
    kith_quic_conn_free(conn->quic);
    kith__list_remove(&conn->node);
    kith__buf_dispose(&conn->alpn);
    kith__buf_dispose(&conn->reason);
    kith__context_changed(endpoint->context);
    kith__free(endpoint->context->mem, conn);
    kith__api_endpoint_release_if_done(endpoint);
}

int kith__api_conn_failure(const struct kith_conn *conn)
{
    if (conn->is_closed)
        return kith__fail_with(&conn->error);
    return kith__fail_because(KITH_ERR_CLOSED, "the connection is over");
}

/* The engine connection may go any time after its end: what the user may still ask is kept here. */
static void remember_identity(struct kith_conn *conn)
{
    struct kith_slice alpn = kith_quic_conn_alpn(conn->quic);

    conn->alpn.size = 0;
    if (alpn.size > 0 && kith__buf_append(&conn->alpn, alpn.ptr, alpn.size) != 0)
        conn->alpn.size = 0;
    if (kith_quic_conn_remote_id(conn->quic, &conn->remote_id) != 0)
        memset(&conn->remote_id, 0, sizeof conn->remote_id);
}

/* Completes the operations that wait for the handshake; a connect gets the connection itself. */
static void finish_handshake_ops(struct kith_conn *conn)
{
    struct kith_op *op;

    while ((op = kith__op_first(&conn->handshake_ops)) != NULL) {
        if (op->kind == KITH_OP_CONNECT) {
            op->conn = conn;
            conn->is_held = true;
        }
        kith__op_done(op, 0);
    }
}

void kith__api_conn_on_connected(struct kith_conn *conn, bool early_accepted)
{
    conn->is_connected = true;
    conn->was_early_accepted = early_accepted;
    remember_identity(conn);
    kith__api_dial_on_connected(conn);
    if (conn->is_accepting) {
        conn->is_accepting = false;
        kith__list_remove(&conn->accepted_node);
        kith__api_endpoint_offer_accepted(conn);
        return;
    }
    finish_handshake_ops(conn);
}

void kith__api_conn_on_early(struct kith_conn *conn)
{
    struct kith_op *op = kith__op_first(&conn->handshake_ops);

    if (op == NULL || op->kind != KITH_OP_CONNECT || !conn->is_early)
        return;
    op->conn = conn;
    conn->is_held = true;
    kith__op_done(op, 0);
}

/* Each is called once; who must wait again comes back at the end of the list, for the next time. */
static void call_stream_waiters(struct kith_conn *conn)
{
    struct kith_list *last = conn->stream_waiters.prev, *node;
    bool was_last = kith__list_is_empty(&conn->stream_waiters);

    while (!was_last && (node = kith__list_first(&conn->stream_waiters)) != NULL) {
        struct kith_stream_waiter *waiter = KITH_CONTAINER(node, struct kith_stream_waiter, node);

        was_last = node == last;
        kith__list_remove(node);
        waiter->on_available(waiter->ctx);
    }
}

/* Everything that waits learns of the end; conn->error says how it ended. */
static void conn_end(struct kith_conn *conn)
{
    struct kith_op *op;

    conn->is_closed = true;
    kith__api_dial_on_conn_end(conn);
    kith__api_relays_on_conn_end(conn);
    kith__op_fail_all(&conn->handshake_ops, &conn->error);
    kith__op_fail_all(&conn->datagram_send_ops, &conn->error);
    kith__op_fail_all(&conn->datagram_receive_ops, &conn->error);
    for (int i = 0; i < 2; i++) {
        kith__op_fail_all(&conn->open_ops[i], &conn->error);
        kith__op_fail_all(&conn->accept_ops[i], &conn->error);
    }
    while ((op = kith__op_first(&conn->closed_ops)) != NULL)
        kith__op_done(op, 0);
    KITH_LIST_EACH_SAFE(node, after, &conn->streams)
    kith__api_stream_on_conn_closed(KITH_CONTAINER(node, struct kith_stream, node));
    call_stream_waiters(conn);
    kith__context_changed(conn->endpoint->context);
    if (conn->hook != NULL)
        conn->hook->on_closed(conn->hook->ctx);
}

void kith__api_conn_on_closed(struct kith_conn *conn)
{
    if (conn->is_closed)
        return;
    if (kith_quic_conn_close_info(conn->quic, &conn->close_info) != 0)
        conn->close_info = (struct kith_quic_close_info) { .err = KITH_ERR_CLOSED };
    if (conn->close_info.reason.size > 0 &&
        kith__buf_append(&conn->reason, conn->close_info.reason.ptr, conn->close_info.reason.size) != 0)
        conn->reason.size = 0;
    conn->close_info.reason = kith__buf_slice(&conn->reason);
    kith__fail_closed(&conn->error, &conn->close_info);
    kith__api_relays_explain(conn, &conn->error);
    kith__api_dial_explain(conn, &conn->error);
    (void)kith__api_dial_on_failed(conn);
    conn_end(conn);
    if (conn->is_unclaimed) {
        kith__log(&conn->endpoint->context->log, KITH_LOG_INFO, "endpoint",
                  conn->is_accepting ? "a client did not get through: %s" : "a client left before it was accepted: %s",
                  conn->error.text);
        conn->is_accepting = false;
        kith__list_remove(&conn->accepted_node);
        kith__api_endpoint_on_claimed(conn);
        kith__api_endpoint_pump_incoming(conn->endpoint);
    }
}

void kith__api_conn_close(struct kith_conn *conn, uint64_t code, struct kith_slice reason)
{
    if (conn->is_closed || conn->quic == NULL)
        return;
    kith_quic_conn_close(conn->quic, code, reason, kith__context_now(conn->endpoint->context));
    kith__api_endpoint_touch(conn->endpoint);
    kith__api_conn_on_closed(conn);
}

void kith__api_conn_on_drained(struct kith_conn *conn)
{
    kith__api_conn_on_closed(conn);
    drop_unheld_streams(conn, false);
    conn->is_drained = true;
    kith__context_changed(conn->endpoint->context);
    kith__api_conn_release_if_done(conn);
}

static void on_stream_opened(struct kith_conn *conn, const struct kith_quic_event *event)
{
    struct kith_stream *stream = kith__api_stream_new(conn, event->stream, event->bidi, false);

    if (stream == NULL) {
        kith__log(&conn->endpoint->context->log, KITH_LOG_ERROR, "endpoint",
                  "no memory for a new stream: it is refused");
        kith_quic_stream_release(conn->quic, event->stream);
        return;
    }
    if (conn->hook != NULL) {
        stream->is_held = true;
        conn->hook->on_stream(conn->hook->ctx, stream);
        return;
    }
    kith__list_push_back(&conn->opened[event->bidi], &stream->opened_node);
    kith__api_conn_pump_streams(conn, event->bidi);
}

/* Tickets and tokens are kept per peer, so that the next connection to the same key can use them. */
static void keep_session(struct kith_conn *conn, bool is_token)
{
    struct kith_peer_memory *peer;
    uint8_t bytes[KITH_QUIC_SESSION_SIZE_MAX];
    struct kith_buf *slot;
    size_t size;
    int err = is_token ? kith_quic_conn_take_token(conn->quic, bytes, sizeof bytes, &size)
                       : kith_quic_conn_take_session(conn->quic, bytes, sizeof bytes, &size);

    if (err != 0 || (peer = kith__api_endpoint_peer(conn->endpoint, &conn->remote_id, true)) == NULL)
        return;
    if (is_token) {
        slot = &peer->token;
    } else if (peer->session_count < KITH_SESSIONS_PER_PEER_MAX) {
        slot = &peer->sessions[peer->session_count++];
    } else { /* the older one makes room */
        struct kith_buf oldest = peer->sessions[0];

        memmove(&peer->sessions[0], &peer->sessions[1], (KITH_SESSIONS_PER_PEER_MAX - 1) * sizeof oldest);
        slot = &peer->sessions[KITH_SESSIONS_PER_PEER_MAX - 1];
        *slot = oldest;
    }
    slot->size = 0;
    if (kith__buf_append(slot, bytes, size) != 0 && !is_token)
        peer->session_count--;
}

void kith__api_conn_cancel_connect(struct kith_op *op)
{
    struct kith_conn *conn = op->on_conn;

    if (conn == NULL || conn->is_closed || conn->quic == NULL)
        return;
    kith_quic_conn_close(conn->quic, 0, (struct kith_slice) { NULL, 0 }, kith__context_now(op->context));
    kith__api_endpoint_touch(conn->endpoint);
}

void kith__api_conn_destroy(struct kith_conn *conn)
{
    if (!conn->is_closed) {
        struct kith_quic_close_info info = { .err = KITH_ERR_CLOSED };

        kith__fail_closed(&conn->error, &info);
        conn->close_info = info;
        conn_end(conn);
    }
    conn->is_accepting = false;
    kith__list_remove(&conn->accepted_node);
    kith__api_endpoint_on_claimed(conn);
    drop_unheld_streams(conn, true);
    stop_ways(conn);
    kith_quic_conn_free(conn->quic);
    conn->quic = NULL;
    conn->is_drained = true;
    kith__api_conn_release_if_done(conn);
}

void kith__api_conn_on_event(struct kith_conn *conn, const struct kith_quic_event *event)
{
    struct kith_stream *stream;

    /* After our own close the engine may still tell what came before it: nobody waits for that any more. */
    if (conn->is_closed && event->kind != KITH_QUIC_DRAINED && event->kind != KITH_QUIC_SESSION &&
        event->kind != KITH_QUIC_TOKEN)
        return;
    kith__api_relays_on_event(conn, event);
    switch (event->kind) {
    case KITH_QUIC_EARLY_READY:
        kith__api_conn_on_early(conn);
        break;
    case KITH_QUIC_CONNECTED:
        kith__api_conn_on_connected(conn, event->early_accepted);
        break;
    case KITH_QUIC_STREAM_OPENED:
        on_stream_opened(conn, event);
        break;
    case KITH_QUIC_STREAMS_AVAILABLE:
        kith__api_conn_pump_streams(conn, event->bidi);
        call_stream_waiters(conn);
        break;
    case KITH_QUIC_STREAM_READABLE:
    case KITH_QUIC_STREAM_WRITABLE:
    case KITH_QUIC_STREAM_SENT:
    case KITH_QUIC_STREAM_STOPPED:
        if ((stream = event->user) != NULL)
            kith__api_stream_on_event(stream, event);
        break;
    case KITH_QUIC_DATAGRAM_READABLE:
    case KITH_QUIC_DATAGRAM_WRITABLE:
        kith__api_conn_pump_datagrams(conn);
        break;
    case KITH_QUIC_SESSION:
    case KITH_QUIC_TOKEN:
        keep_session(conn, event->kind == KITH_QUIC_TOKEN);
        break;
    case KITH_QUIC_CLOSED:
        kith__api_conn_on_closed(conn);
        break;
    case KITH_QUIC_DRAINED:
        kith__api_conn_on_drained(conn);
        break;
    default: /* CONFIRMED and PATH_CHANGED: nothing waits for them */
        break;
    }
}

/* ---- Questions ---- */

struct kith_id kith_conn_remote_id(const struct kith_conn *conn)
{
    struct kith_id id;

    kith__context_enter(conn->endpoint->context);
    id = conn->remote_id;
    kith__context_leave(conn->endpoint->context);
    return id;
}

struct kith_slice kith_conn_alpn(const struct kith_conn *conn)
{
    struct kith_slice alpn;

    kith__context_enter(conn->endpoint->context);
    alpn = kith__buf_slice(&conn->alpn);
    kith__context_leave(conn->endpoint->context);
    return alpn;
}

bool kith_conn_is_client(const struct kith_conn *conn)
{
    bool is_client;

    kith__context_enter(conn->endpoint->context);
    is_client = conn->is_client;
    kith__context_leave(conn->endpoint->context);
    return is_client;
}

bool kith_conn_early_accepted(const struct kith_conn *conn)
{
    bool accepted;

    kith__context_enter(conn->endpoint->context);
    accepted = conn->was_early_accepted;
    kith__context_leave(conn->endpoint->context);
    return accepted;
}

size_t kith_conn_paths(struct kith_conn *conn, struct kith_quic_path_info *out, size_t capacity)
{
    size_t count;

    kith__context_enter(conn->endpoint->context);
    count = conn->quic != NULL ? kith_quic_conn_paths(conn->quic, out, capacity) : 0;
    kith__context_leave(conn->endpoint->context);
    return count;
}

void kith_conn_stats(struct kith_conn *conn, struct kith_quic_conn_stats *out)
{
    memset(out, 0, sizeof *out);
    kith__context_enter(conn->endpoint->context);
    if (conn->quic != NULL)
        kith_quic_conn_stats(conn->quic, out);
    kith__context_leave(conn->endpoint->context);
}

/* The order in which the engine chooses: those that answer, available before backup, the lowest id. */
static unsigned badness(const struct kith_quic_path_info *path)
{
    return (path->state != KITH_QUIC_PATH_OPEN) * 4u + path->is_silent * 2u + path->is_backup * 1u;
}

int kith_conn_path_in_use(struct kith_conn *conn, struct kith_quic_path_info *out)
{
    struct kith_quic_path_info paths[KITH_QUIC_PATHS_MAX], *best = &paths[0];
    size_t count = KITH_MIN(kith_conn_paths(conn, paths, KITH_QUIC_PATHS_MAX), (size_t)KITH_QUIC_PATHS_MAX);

    if (count == 0)
        return kith__fail(KITH_ERR_STATE, 0, "the connection is over: it has no paths");
    for (size_t i = 1; i < count; i++)
        if (badness(&paths[i]) < badness(best))
            best = &paths[i];
    *out = *best;
    return 0;
}

uint64_t kith_conn_rtt(struct kith_conn *conn)
{
    struct kith_quic_path_info path;

    return kith_conn_path_in_use(conn, &path) == 0 ? path.rtt_ns : 0;
}

int kith_conn_export(struct kith_conn *conn, struct kith_slice label, struct kith_slice context, uint8_t *out,
                     size_t size)
{
    int err = KITH_ERR_STATE;

    kith__context_enter(conn->endpoint->context);
    if (conn->quic != NULL)
        err = kith_quic_conn_export(conn->quic, label, context, out, size);
    kith__context_leave(conn->endpoint->context);
    return err == 0 ? 0 : kith__fail_because(err, "no key material can be exported");
}

int kith_conn_update_keys(struct kith_conn *conn)
{
    int err = KITH_ERR_STATE;

    kith__context_enter(conn->endpoint->context);
    if (conn->quic != NULL && !conn->is_closed)
        err = kith_quic_conn_update_keys(conn->quic, kith__context_now(conn->endpoint->context));
    kith__api_endpoint_touch(conn->endpoint);
    kith__context_leave(conn->endpoint->context);
    return err == 0 ? 0 : kith__fail_because(err, "the keys cannot be updated now");
}

/* ---- Waiting and ending ---- */

static int handshake_op_start(struct kith_conn *conn, struct kith_op **out)
{
    struct kith_op *op;

    if (conn->is_closed)
        return kith__api_conn_failure(conn);
    if ((op = kith__op_new(conn->endpoint->context, KITH_OP_HANDSHAKE, &conn->handshake_ops)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the handshake cannot be waited for");
    if (conn->is_connected)
        kith__op_done(op, 0);
    *out = op;
    return 0;
}

int kith_conn_handshake(struct kith_conn *conn, uint64_t limit_ns)
{
    struct kith_op *op = NULL;
    int err;

    kith__context_enter(conn->endpoint->context);
    if ((err = handshake_op_start(conn, &op)) == 0) {
        err = kith__op_wait_locked(op, limit_ns, NULL);
        kith__op_free_locked(op);
    }
    kith__context_leave(conn->endpoint->context);
    return err;
}

void kith_conn_close(struct kith_conn *conn, uint64_t code, const void *reason, size_t reason_size)
{
    kith__context_enter(conn->endpoint->context);
    kith__api_conn_close(conn, code, (struct kith_slice) { reason, reason_size });
    kith__context_leave(conn->endpoint->context);
}

int kith_conn_close_info(struct kith_conn *conn, struct kith_quic_close_info *out)
{
    int err = 0;

    kith__context_enter(conn->endpoint->context);
    if (conn->is_closed)
        *out = conn->close_info;
    else
        err = kith__fail(KITH_ERR_STATE, 0, "the connection is still open");
    kith__context_leave(conn->endpoint->context);
    return err;
}

static int closed_op_start(struct kith_conn *conn, struct kith_op **out)
{
    struct kith_op *op = kith__op_new(conn->endpoint->context, KITH_OP_CLOSED, &conn->closed_ops);

    if (op == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the end of the connection cannot be waited for");
    if (conn->is_closed)
        kith__op_done(op, 0);
    *out = op;
    return 0;
}

int kith_conn_closed(struct kith_conn *conn, uint64_t limit_ns)
{
    struct kith_op *op = NULL;
    int err;

    kith__context_enter(conn->endpoint->context);
    if ((err = closed_op_start(conn, &op)) == 0) {
        err = kith__op_wait_locked(op, limit_ns, NULL);
        kith__op_free_locked(op);
    }
    kith__context_leave(conn->endpoint->context);
    return err;
}

int kith_conn_closed_start(struct kith_conn *conn, struct kith_op **out)
{
    int err;

    kith__context_enter(conn->endpoint->context);
    err = closed_op_start(conn, out);
    kith__context_leave(conn->endpoint->context);
    return err;
}

void kith__api_conn_give_back(struct kith_conn *conn)
{
    struct kith_error error;
    struct kith_op *op;

    kith__fail_into(&error, KITH_ERR_CANCELLED, 0, "the connection was given back");
    while ((op = kith__op_first(&conn->closed_ops)) != NULL)
        kith__op_fail(op, &error);
    kith__op_fail_all(&conn->handshake_ops, &error);
    conn->is_held = false;
    kith__api_conn_close(conn, 0, (struct kith_slice) { NULL, 0 });
    kith__api_conn_release_if_done(conn);
}

void kith_conn_free(struct kith_conn *conn)
{
    struct kith_context *context;

    if (conn == NULL)
        return;
    context = conn->endpoint->context;
    kith__context_enter(context);
    kith__api_conn_give_back(conn);
    kith__context_leave(context);
}

void kith__api_conn_set_hook(struct kith_conn *conn, const struct kith_conn_hook *hook)
{
    struct kith_list *node;

    conn->hook = hook;
    for (int i = 0; hook != NULL && i < 2; i++)
        while ((node = kith__list_first(&conn->opened[i])) != NULL) {
            struct kith_stream *stream = KITH_CONTAINER(node, struct kith_stream, opened_node);

            kith__list_remove(node);
            stream->is_held = true;
            hook->on_stream(hook->ctx, stream);
        }
}

/* ---- Datagrams ---- */

/* What went wrong with a datagram of `size` bytes, or with one that was to be received into as many. */
static int datagram_error(struct kith_conn *conn, int err, bool sending, size_t size, struct kith_error *error)
{
    if (err == KITH_ERR_TOO_LARGE && sending)
        return kith__fail_into(error, err, 0, "a datagram of %zu bytes is too large: at most %zu fit now", size,
                               kith_quic_datagram_size_max(conn->quic));
    if (err == KITH_ERR_TOO_LARGE)
        return kith__fail_into(error, err, 0, "the next datagram is larger than %zu bytes; it stays", size);
    if (err == KITH_ERR_UNSUPPORTED)
        return kith__fail_into(error, err, 0, "the other side takes no datagrams");
    if (err == KITH_ERR_CLOSED && conn->is_closed)
        *error = conn->error;
    else
        kith__fail_into_because(error, err, sending ? "the datagram cannot be sent" : "no datagram can be received");
    return error->code;
}

static void datagram_done(struct kith_conn *conn, struct kith_op *op, int err)
{
    struct kith_error error;

    if (err == 0) {
        kith__op_done(op, 0);
        return;
    }
    datagram_error(conn, err, op->kind == KITH_OP_DATAGRAM_SEND, op->wanted, &error);
    kith__op_fail(op, &error);
}

static int try_send_datagram(struct kith_conn *conn, struct kith_op *op)
{
    int err = kith_quic_datagram_send(conn->quic, (struct kith_slice) { op->bytes, op->wanted }, false);

    if (err == KITH_ERR_AGAIN)
        return err;
    op->size = err == 0 ? op->wanted : 0;
    datagram_done(conn, op, err);
    kith__api_endpoint_touch(conn->endpoint);
    return 0;
}

static int try_receive_datagram(struct kith_conn *conn, struct kith_op *op)
{
    int err = kith_quic_datagram_receive(conn->quic, op->buffer, op->wanted, &op->size);

    if (err == KITH_ERR_AGAIN)
        return err;
    datagram_done(conn, op, err);
    return 0;
}

void kith__api_conn_pump_datagrams(struct kith_conn *conn)
{
    struct kith_op *op;

    while ((op = kith__op_first(&conn->datagram_send_ops)) != NULL)
        if (try_send_datagram(conn, op) == KITH_ERR_AGAIN)
            break;
    while ((op = kith__op_first(&conn->datagram_receive_ops)) != NULL)
        if (try_receive_datagram(conn, op) == KITH_ERR_AGAIN)
            break;
}

size_t kith_datagram_size_max(struct kith_conn *conn)
{
    size_t size;

    kith__context_enter(conn->endpoint->context);
    size = conn->quic != NULL ? kith_quic_datagram_size_max(conn->quic) : 0;
    kith__context_leave(conn->endpoint->context);
    return size;
}

int kith_datagram_send(struct kith_conn *conn, const void *bytes, size_t size)
{
    struct kith_error error;
    int err;

    kith__context_enter(conn->endpoint->context);
    if (conn->is_closed || conn->quic == NULL) {
        err = kith__api_conn_failure(conn);
    } else {
        err = kith_quic_datagram_send(conn->quic, (struct kith_slice) { bytes, size }, true);
        if (err != 0) {
            datagram_error(conn, err, true, size, &error);
            err = kith__fail_with(&error);
        }
        kith__api_endpoint_touch(conn->endpoint);
    }
    kith__context_leave(conn->endpoint->context);
    return err;
}

static int datagram_op_start(struct kith_conn *conn, bool sending, struct kith_op **out)
{
    struct kith_list *list = sending ? &conn->datagram_send_ops : &conn->datagram_receive_ops;
    struct kith_op *op;

    /* What came before the end can still be received. */
    if (conn->quic == NULL || (conn->is_closed && sending))
        return kith__api_conn_failure(conn);
    op = kith__op_new(conn->endpoint->context, sending ? KITH_OP_DATAGRAM_SEND : KITH_OP_DATAGRAM_RECEIVE, list);
    if (op == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the datagram cannot be waited for");
    op->on_conn = conn;
    *out = op;
    return 0;
}

int kith_datagram_send_wait(struct kith_conn *conn, const void *bytes, size_t size, uint64_t limit_ns)
{
    struct kith_op *op;
    int err;

    kith__context_enter(conn->endpoint->context);
    if ((err = datagram_op_start(conn, true, &op)) == 0) {
        op->bytes = bytes;
        op->wanted = size;
        kith__api_conn_pump_datagrams(conn);
        err = kith__op_wait_locked(op, limit_ns, NULL);
        kith__op_free_locked(op);
    }
    kith__context_leave(conn->endpoint->context);
    return err;
}

int kith_datagram_receive(struct kith_conn *conn, void *buffer, size_t capacity, uint64_t limit_ns, size_t *size)
{
    struct kith_op *op;
    int err;

    kith__context_enter(conn->endpoint->context);
    if ((err = datagram_op_start(conn, false, &op)) == 0) {
        op->buffer = buffer;
        op->wanted = capacity;
        kith__api_conn_pump_datagrams(conn);
        err = kith__op_wait_locked(op, limit_ns, NULL);
        if (err == 0)
            *size = op->size;
        kith__op_free_locked(op);
    }
    kith__context_leave(conn->endpoint->context);
    return err;
}

int kith_datagram_receive_start(struct kith_conn *conn, void *buffer, size_t capacity, struct kith_op **out)
{
    int err;

    kith__context_enter(conn->endpoint->context);
    if ((err = datagram_op_start(conn, false, out)) == 0) {
        (*out)->buffer = buffer;
        (*out)->wanted = capacity;
        kith__api_conn_pump_datagrams(conn);
    }
    kith__context_leave(conn->endpoint->context);
    return err;
}
