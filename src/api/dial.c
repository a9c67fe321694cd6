/* Dialling: kith_connect, with what lookup services find. */
#include "api/dial.h"

#include "api/logs.h"
#include "base/assert.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

/* ---- The engine's connection ---- */

/* The newest ticket of a peer, moved out: each is used once. */
static struct kith_buf take_session(struct kith_endpoint *endpoint, const struct kith_id *id)
{
    struct kith_peer_memory *peer = kith__api_endpoint_peer(endpoint, id, false);
    struct kith_buf none;

    kith__buf_init(&none, endpoint->context->mem);
    return peer != NULL && peer->session_count > 0 ? kith__buf_take(&peer->sessions[--peer->session_count]) : none;
}

/* An endpoint that writes a key log or qlog does so for connections with settings of their own too. */
static void keep_logs(const struct kith_endpoint *endpoint, struct kith_quic_transport *transport)
{
    transport->key_log |= kith__endpoint_logs_has_key_log(endpoint->logs);
    transport->qlog |= kith__endpoint_logs_has_qlog(endpoint->logs);
}

static int connect_error(int err)
{
    if (err == KITH_ERR_WRONG_PEER)
        return kith__fail(err, 0, "this is the endpoint's own id: an endpoint cannot connect to itself");
    if (err == KITH_ERR_INVALID)
        return kith__fail(err, 0,
                          "the connection cannot be started: it needs 1 to %d protocol names of 1 to 255 bytes, and "
                          "transport settings within their ranges",
                          KITH_QUIC_ALPN_COUNT_MAX);
    return kith__fail_because(err, "the connection cannot be started");
}

/* Starts the engine's connection; a ticket that turns out to be of no use is left out. */
static int connect_quic(struct kith_endpoint *endpoint, struct kith_quic_connect_options *quic, bool no_session,
                        struct kith_quic_conn **out)
{
    struct kith_quic_host *host = kith__driver_host(endpoint->driver);
    struct kith_peer_memory *peer = kith__api_endpoint_peer(endpoint, &quic->remote_id, false);
    uint64_t now = kith__context_now(endpoint->context);
    struct kith_buf session, token;
    int err;

    kith__buf_init(&session, endpoint->context->mem);
    kith__buf_init(&token, endpoint->context->mem);
    if (!no_session && peer != NULL) {
        session = take_session(endpoint, &quic->remote_id);
        token = kith__buf_take(&peer->token); /* used once: RFC 9000, 8.1.3 */
    }
    quic->session = kith__buf_slice(&session);
    quic->token = kith__buf_slice(&token);
    err = kith_quic_connect(host, quic, now, out);
    if (err == KITH_ERR_PARSE && session.size > 0) {
        quic->session = (struct kith_slice) { NULL, 0 };
        err = kith_quic_connect(host, quic, now, out);
    }
    kith__buf_dispose(&session);
    kith__buf_dispose(&token);
    return err;
}

static int start_quic(struct kith_dial *dial, struct kith_conn **out)
{
    struct kith_sockaddr remotes[KITH_SEEK_FIRST_IPS_MAX + KITH_SEEK_FIRST_RELAYS_MAX];
    struct kith_quic_connect_options quic = { .remote_id = dial->seek.id,
                                              .remotes = remotes,
                                              .local = dial->seek.local,
                                              .alpns = dial->alpns,
                                              .alpn_count = dial->alpn_count,
                                              .early_data = dial->early_data,
                                              .transport = dial->has_transport ? &dial->transport : NULL };
    struct kith_quic_conn *quic_conn;
    struct kith_conn *conn;
    int err;

    quic.remote_count = kith__seek_first(&dial->seek, remotes);
    if ((err = connect_quic(dial->endpoint, &quic, dial->no_session, &quic_conn)) != 0)
        return connect_error(err);
    if ((conn = kith__api_conn_new(dial->endpoint, quic_conn)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the connection cannot be started");
    conn->remote_id = dial->seek.id;
    conn->is_early = dial->early_data;
    *out = conn;
    return 0;
}

/* ---- The life of a dial ---- */

static void dial_free(struct kith_dial *dial)
{
    KITH_ASSERT(dial->op == NULL);
    if (dial->conn != NULL)
        dial->conn->dial = NULL;
    kith__seek_dispose(&dial->seek);
    kith__rt_timer_dispose(&dial->guess_timer);
    kith__list_remove(&dial->node);
    kith__free(dial->endpoint->context->mem, dial);
}

/* The operation goes its own way from here on. */
static struct kith_op *take_op(struct kith_dial *dial)
{
    struct kith_op *op = dial->op;

    dial->op = NULL;
    op->state = NULL;
    op->cancel = NULL;
    return op;
}

/* What waits fails with the last error of this thread. */
static void dial_fail(struct kith_dial *dial)
{
    const struct kith_error *error = dial->first_error.code != 0 ? &dial->first_error : kith_error_last();

    kith__op_fail(take_op(dial), error);
    dial_free(dial);
}

static void cancel_waiting(struct kith_op *op)
{
    struct kith_dial *dial = op->state;

    take_op(dial);
    dial_free(dial);
}

bool kith__api_dial_is_waiting(const struct kith_op *op)
{
    return op->kind == KITH_OP_CONNECT && op->cancel == cancel_waiting;
}

static void wait_with(struct kith_dial *dial, struct kith_op *op)
{
    dial->op = op;
    op->state = dial;
    op->cancel = cancel_waiting;
}

/* Starts the connection; the operation goes with it. Errors are noted. */
static int dial_connect(struct kith_dial *dial)
{
    struct kith_conn *conn;
    struct kith_op *op;
    int err = start_quic(dial, &conn);

    if (err != 0)
        return err;
    dial->conn = conn;
    conn->dial = dial;
    op = take_op(dial);
    kith__list_remove(&op->node);
    kith__list_push_back(&conn->handshake_ops, &op->node);
    op->on_conn = conn;
    op->cancel = kith__api_conn_cancel_connect;
    kith__seek_attach(&dial->seek, conn->quic, &conn->ways, kith__context_now(dial->endpoint->context));
    kith__api_relays_arm(conn);
    kith__api_endpoint_touch(dial->endpoint);
    return 0;
}

/* The one that waits for the connection itself. */
static struct kith_op *connect_op(const struct kith_conn *conn)
{
    KITH_LIST_EACH(node, &conn->handshake_ops)
    if (kith__op_of_node(node)->kind == KITH_OP_CONNECT)
        return kith__op_of_node(node);
    return NULL;
}

/* ---- What services find ---- */

static void on_remote(void *ctx)
{
    struct kith_dial *dial = ctx;

    if (dial->op == NULL) {
        kith__api_relays_arm(dial->conn);
        kith__api_endpoint_touch(dial->endpoint);
    } else if (dial_connect(dial) != 0) {
        dial_fail(dial);
    }
}

/* Nobody knows where the other side is: why. */
static void not_found_error(const struct kith_dial *dial, const char *why)
{
    if (dial->seek.has_found)
        kith__fail(KITH_ERR_NO_ADDRESS, 0,
                   "lookup found the other side, but nothing that it tells can be used from here: %zu addresses of "
                   "other kinds than this endpoint has, or relays while it uses none",
                   dial->seek.left_out);
    else
        kith__fail(KITH_ERR_NO_ADDRESS, 0, "no address is known for the other side, and lookup found none: %s", why);
}

/* The other side may have moved, and tell so only after the services said where it was. */
static void ask_later(struct kith_dial *dial)
{
    dial->ask_pause_ns = dial->ask_pause_ns == 0 ? KITH_DIAL_ASK_NS
                                                 : KITH_MIN(2 * dial->ask_pause_ns, KITH_DIAL_LOST_MAX_NS);
    dial->ask_ns = kith__context_now(dial->endpoint->context) + dial->ask_pause_ns;
    kith__api_relays_arm(dial->conn);
}

static void on_end(void *ctx, int err, const char *why)
{
    struct kith_dial *dial = ctx;

    dial->why_err = err;
    snprintf(dial->why, sizeof dial->why, "%s", why);
    if (dial->op != NULL) {
        not_found_error(dial, why);
        dial_fail(dial);
    } else if (dial->conn->is_connected) {
        dial_free(dial);
    } else {
        if (dial->seek.is_guess && err != 0 && dial->ask_pause_ns == 0)
            kith__rt_timer_set(&dial->guess_timer, kith__context_now(dial->endpoint->context) + KITH_DIAL_GUESS_NS);
        ask_later(dial);
    }
}

/* The guess was wrong: nobody at our relays, and nobody knows better. */
static void on_guess_over(void *ctx, uint64_t now_ns)
{
    struct kith_dial *dial = ctx;
    struct kith_op *op = connect_op(dial->conn);
    struct kith_error error;

    (void)now_ns;
    if (dial->conn->is_connected || op == NULL)
        return;
    kith__fail_into(&error, KITH_ERR_NO_ADDRESS, 0,
                    "no address is known for the other side, it is not at our own relays, and lookup found none: %s",
                    dial->why);
    kith__api_conn_cancel_connect(op); /* the dial goes with the connection, when the engine tells of its end */
    kith__op_fail(op, &error);
}

/* ---- Connecting ---- */

/* Bytes behind the struct that hold the protocol names; 0: they are none that can be. */
static size_t alpn_bytes_of(const struct kith_connect_options *options)
{
    size_t sum = 0;

    if (options->alpn_count == 0 || options->alpn_count > KITH_QUIC_ALPN_COUNT_MAX || options->alpns == NULL)
        return 0;
    for (size_t i = 0; i < options->alpn_count; i++) {
        if (options->alpns[i].size == 0 || options->alpns[i].size > UINT8_MAX)
            return 0;
        sum += options->alpns[i].size;
    }
    return sum;
}

static struct kith_dial *dial_new(struct kith_endpoint *endpoint, const struct kith_id *id,
                                  const struct kith_sockaddr *local, size_t alpn_size)
{
    struct kith_seek_world world = { endpoint->context->rt, endpoint->driver, endpoint->relays,
                                     kith__api_lookup_registry(endpoint), endpoint->is_relay_only };
    struct kith_dial *dial = kith__alloc_zero(endpoint->context->mem, sizeof *dial + alpn_size);
    struct kith_seek_events events = { on_remote, on_end, dial };

    if (dial != NULL && kith__rt_timer_init(endpoint->context->rt, &dial->guess_timer, on_guess_over, dial) != 0) {
        kith__free(endpoint->context->mem, dial);
        dial = NULL;
    }
    if (dial == NULL)
        return NULL;
    dial->endpoint = endpoint;
    kith__list_push_back(&endpoint->dials, &dial->node);
    kith__seek_init(&dial->seek, &world, id, local, &events);
    return dial;
}

static void copy_options(struct kith_dial *dial, const struct kith_connect_options *options)
{
    uint8_t *at = dial->alpn_bytes;

    dial->early_data = options->early_data;
    dial->no_session = options->no_session;
    dial->has_transport = options->transport != NULL;
    if (dial->has_transport) {
        dial->transport = *options->transport;
        keep_logs(dial->endpoint, &dial->transport);
    }
    for (size_t i = 0; i < options->alpn_count; i++) {
        memcpy(at, options->alpns[i].ptr, options->alpns[i].size);
        dial->alpns[dial->alpn_count++] = (struct kith_slice) { at, options->alpns[i].size };
        at += options->alpns[i].size;
    }
}

static void add_given(struct kith_dial *dial, const struct kith_addr *addr)
{
    kith__seek_add_ips(&dial->seek, addr->ips, addr->ip_count);
    for (size_t i = 0; i < addr->relay_count; i++)
        kith__seek_add_relay(&dial->seek, addr->relays[i]);
    if (dial->seek.left_out != 0)
        kith__log(
            &dial->endpoint->context->log, KITH_LOG_INFO, "endpoint",
            "%zu of %zu addresses of the other side are not tried: there is no socket for them here, they are our "
            "own, or too many",
            dial->seek.left_out, addr->ip_count + addr->relay_count);
}

/* Ways that other connections to the same endpoint have, and that work. True if there is one. */
static bool add_live(struct kith_dial *dial)
{
    bool any = false;

    KITH_LIST_EACH(node, &dial->endpoint->conns)
    {
        const struct kith_conn *conn = KITH_CONTAINER(node, struct kith_conn, node);
        struct kith_quic_path_info paths[KITH_QUIC_PATHS_MAX];
        size_t count = 0;

        if (conn->is_connected && !conn->is_closed && conn->quic != NULL &&
            kith_id_equal(&conn->remote_id, &dial->seek.id))
            count = KITH_MIN(kith_quic_conn_paths(conn->quic, paths, KITH_QUIC_PATHS_MAX), KITH_COUNT(paths));
        for (size_t i = 0; i < count; i++)
            if (paths[i].state == KITH_QUIC_PATH_OPEN && !paths[i].is_silent) {
                kith__seek_add_path(&dial->seek, &paths[i].remote);
                any = true;
            }
    }
    return any;
}

/* Nothing to try, and nobody to ask: why. */
static int no_way_error(const struct kith_dial *dial, const struct kith_addr *addr, int lookup_err)
{
    const struct kith_endpoint *endpoint = dial->endpoint;

    if (lookup_err != KITH_ERR_STATE)
        return kith__fail_because(lookup_err, "the other side cannot be looked for");
    if (addr->ip_count == 0 && addr->relay_count == 0)
        return kith__fail(KITH_ERR_NO_ADDRESS, 0,
                          "no address is known for the other side: use a full ticket, give an address, or a relay that "
                          "both sides use, or have the endpoint use lookup services");
    if (addr->ip_count == 0 && endpoint->relays == NULL)
        return kith__fail(KITH_ERR_NO_ADDRESS, 0,
                          "only a relay is known for the other side, and this endpoint uses no relays");
    if (endpoint->is_relay_only)
        return kith__fail(KITH_ERR_NO_ADDRESS, 0,
                          "this endpoint goes through relays only, and no usable one is known for the other side");
    return kith__fail(KITH_ERR_UNREACHABLE, 0,
                      "no address of the other side can be reached from the sockets of this endpoint");
}

static bool has_guess(const struct kith_endpoint *endpoint, const struct kith_addr *addr)
{
    return addr->ip_count == 0 && addr->relay_count == 0 && endpoint->relays != NULL &&
           kith__relays_home(endpoint->relays) != NULL;
}

/* Asks, and dials what there is. Errors are noted. */
static int dial_begin(struct kith_dial *dial, const struct kith_addr *addr)
{
    bool is_live;
    int err = KITH_ERR_STATE;

    add_given(dial, addr);
    is_live = add_live(dial);
    if (!is_live)
        err = kith__seek_start(&dial->seek);
    if (err != 0 && err != KITH_ERR_STATE)
        kith__log(&dial->endpoint->context->log, KITH_LOG_WARN, "endpoint", "lookup cannot be asked: %s",
                  kith_strerror(err));
    if (kith__seek_has_remote(&dial->seek) || has_guess(dial->endpoint, addr))
        return dial_connect(dial);
    return err == 0 ? 0 : no_way_error(dial, addr, err);
}

static int connect_locked(struct kith_endpoint *endpoint, const struct kith_addr *addr,
                          const struct kith_connect_options *options, struct kith_op **out)
{
    struct kith_id own = kith_quic_host_id(kith__driver_host(endpoint->driver));
    size_t alpn_size = alpn_bytes_of(options);
    struct kith_dial *dial;
    struct kith_op *op;
    int err;

    if (endpoint->is_closing)
        return kith__fail(KITH_ERR_CLOSED, 0, "the endpoint is closing");
    if (kith_id_equal(&addr->id, &own))
        return connect_error(KITH_ERR_WRONG_PEER);
    if (alpn_size == 0)
        return connect_error(KITH_ERR_INVALID);
    if ((dial = dial_new(endpoint, &addr->id, &options->local, alpn_size)) == NULL)
        return connect_error(KITH_ERR_NOMEM);
    copy_options(dial, options);
    if ((op = kith__op_new(endpoint->context, KITH_OP_CONNECT, &endpoint->dial_ops)) == NULL) {
        dial_free(dial);
        return connect_error(KITH_ERR_NOMEM);
    }
    wait_with(dial, op);
    if ((err = dial_begin(dial, addr)) != 0) {
        take_op(dial);
        dial_free(dial);
        kith__op_done(op, err);
        kith__op_free_locked(op);
        return err;
    }
    *out = op;
    return 0;
}

int kith_connect_start(struct kith_endpoint *endpoint, const struct kith_addr *addr,
                       const struct kith_connect_options *options, struct kith_op **out)
{
    struct kith_connect_options with_defaults = { 0 };
    int err;

    if (options == NULL || options->size > sizeof with_defaults ||
        options->size < offsetof(struct kith_connect_options, transport))
        return kith__fail(KITH_ERR_INVALID, 0, "the options were not initialised with KITH_CONNECT_OPTIONS_INIT");
    memcpy(&with_defaults, options, options->size);
    kith__context_enter(endpoint->context);
    err = connect_locked(endpoint, addr, &with_defaults, out);
    kith__context_leave(endpoint->context);
    return err;
}

int kith_connect(struct kith_endpoint *endpoint, const struct kith_addr *addr, const char *alpn, uint64_t limit_ns,
                 struct kith_conn **out)
{
    struct kith_slice alpns = { (const uint8_t *)alpn, alpn != NULL ? strlen(alpn) : 0 };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpns, .alpn_count = 1 };
    struct kith_context *context = endpoint->context;
    struct kith_op *op;
    int err;

    /* In one go: a limit of 0 always means AGAIN, however fast the other side is. */
    kith__context_enter(context);
    if ((err = connect_locked(endpoint, addr, &options, &op)) == 0) {
        if ((err = kith__op_wait_locked(op, limit_ns, NULL)) == 0) {
            *out = op->conn;
            op->conn = NULL;
        }
        kith__op_free_locked(op);
    }
    kith__context_leave(context);
    return err;
}

/* ---- What becomes of the connection ---- */

void kith__api_dial_on_connected(struct kith_conn *conn)
{
    if (conn->dial != NULL && conn->dial->seek.request == NULL)
        dial_free(conn->dial);
}

void kith__api_dial_on_conn_end(struct kith_conn *conn)
{
    if (conn->dial != NULL)
        dial_free(conn->dial);
}

bool kith__api_dial_on_failed(struct kith_conn *conn)
{
    struct kith_dial *dial = conn->dial;
    struct kith_quic_path_info path;
    struct kith_op *op;

    /* Somebody else has the address now; only keys tell who is who. */
    if (dial == NULL || conn->is_connected || conn->error.code != KITH_ERR_WRONG_PEER ||
        dial->again == KITH_DIAL_AGAIN_MAX || dial->endpoint->is_closing || (op = connect_op(conn)) == NULL ||
        kith_quic_conn_paths(conn->quic, &path, 1) == 0)
        return false;
    kith__seek_detach(&dial->seek, &path.remote);
    if (!kith__seek_has_remote(&dial->seek) && dial->seek.request == NULL)
        return false;
    dial->again++;
    if (dial->first_error.code == 0)
        dial->first_error = conn->error;
    dial->conn = NULL;
    conn->dial = NULL;
    kith__list_remove(&op->node);
    kith__list_push_back(&dial->endpoint->dial_ops, &op->node);
    op->on_conn = NULL;
    wait_with(dial, op);
    if (kith__seek_has_remote(&dial->seek) && dial_connect(dial) != 0)
        dial_fail(dial);
    return true;
}

void kith__api_dial_explain(const struct kith_conn *conn, struct kith_error *error)
{
    const struct kith_dial *dial = conn->dial;
    char text[KITH_ERROR_TEXT_SIZE];

    if (dial == NULL || conn->is_connected || dial->why_err == 0 ||
        (error->code != KITH_ERR_IDLE && error->code != KITH_ERR_TIMEOUT))
        return;
    snprintf(text, sizeof text, "%s", error->text);
    kith__fail_into(error, error->code, error->cause, "%.300s; lookup found no other address: %s", text, dial->why);
}

void kith__api_dials_fail(struct kith_endpoint *endpoint, const struct kith_error *error)
{
    struct kith_op *op;

    while ((op = kith__op_first(&endpoint->dial_ops)) != NULL) {
        cancel_waiting(op);
        kith__op_fail(op, error);
    }
}

/* ---- Connections that lost their paths ---- */

static bool can_look(const struct kith_conn *conn)
{
    return conn->dial == NULL && !conn->endpoint->is_closing && kith__api_lookup_registry(conn->endpoint) != NULL &&
           kith__conn_ways_is_lost(&conn->ways);
}

/* A dial that nobody has answered, and services were through with. */
static bool may_ask_again(const struct kith_conn *conn)
{
    return conn->dial != NULL && conn->dial->ask_pause_ns != 0 && !conn->is_connected &&
           conn->dial->seek.request == NULL && !conn->endpoint->is_closing;
}

static void ask_again(struct kith_dial *dial, uint64_t now_ns)
{
    if (now_ns >= dial->ask_ns && kith__seek_start(&dial->seek) != 0)
        ask_later(dial);
}

uint64_t kith__api_dial_deadline(const struct kith_conn *conn)
{
    if (may_ask_again(conn))
        return conn->dial->ask_ns;
    return can_look(conn) ? conn->lost_ns + conn->lost_wait_ns : KITH_NEVER;
}

void kith__api_dial_on_ways(struct kith_conn *conn)
{
    uint64_t now_ns = kith__context_now(conn->endpoint->context);
    struct kith_dial *dial;

    if (may_ask_again(conn))
        ask_again(conn->dial, now_ns);
    if (now_ns < conn->lost_ns + conn->lost_wait_ns)
        return;
    if (!kith__conn_ways_is_lost(&conn->ways))
        conn->lost_wait_ns = 0;
    if (!can_look(conn))
        return;
    conn->lost_ns = now_ns;
    conn->lost_wait_ns = conn->lost_wait_ns == 0 ? KITH_DIAL_LOST_NS
                                                 : KITH_MIN(2 * conn->lost_wait_ns, KITH_DIAL_LOST_MAX_NS);
    if ((dial = dial_new(conn->endpoint, &conn->remote_id, &(struct kith_sockaddr) { 0 }, 0)) == NULL)
        return; /* without memory it is tried again later */
    dial->conn = conn;
    conn->dial = dial;
    kith__seek_attach(&dial->seek, conn->quic, &conn->ways, now_ns);
    if (kith__seek_start(&dial->seek) != 0)
        dial_free(dial);
}
