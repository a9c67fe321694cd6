/* The application of the simulated endpoints: events in, plans carried out. */
#include "app.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DATAGRAM_MAGIC = 0x44474d31, DATAGRAM_MAX = 1500, BLOCK_HEADER = 16 };

static const struct kith_slice alpn = { (const uint8_t *)"kith-sim", 8 };

/* ---- Memory ---- */

static void *counting_resize(void *ctx, void *ptr, size_t size)
{
    struct kith_simmem *simmem = ctx;
    uint8_t *old = ptr != NULL ? (uint8_t *)ptr - BLOCK_HEADER : NULL;
    uint64_t old_size = 0;
    uint8_t *block;

    if (old != NULL)
        memcpy(&old_size, old, sizeof old_size);
    if (size == 0) {
        simmem->live -= old_size;
        simmem->blocks -= old != NULL;
        free(old);
        return NULL;
    }
    if (simmem->max != 0 && simmem->live - old_size + size > simmem->max) {
        simmem->refused++;
        return NULL;
    }
    if ((block = realloc(old, size + BLOCK_HEADER)) == NULL)
        return NULL;
    old_size = size - old_size; /* wraps when it shrinks, and so does the sum */
    simmem->live += old_size;
    simmem->blocks += old == NULL;
    simmem->peak = KITH_MAX(simmem->peak, simmem->live);
    memcpy(block, &(uint64_t) { size }, sizeof(uint64_t));
    return block + BLOCK_HEADER;
}

void kith__simmem_init(struct kith_simmem *simmem, uint64_t max)
{
    *simmem = (struct kith_simmem) { .mem = { counting_resize, simmem }, .max = max };
}

/* ---- Words ---- */

void kith__simapp_note(const struct kith_simapp *app, const char *format, ...)
{
    char text[256], line[320];
    va_list args;

    if (app->trace == NULL)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(line, sizeof line, "%12.6f %-8s %s", (double)kith__sim_now(app->sim) / 1e9, app->name, text);
    app->trace(app->trace_ctx, line);
}

void kith__simapp_wrong(const struct kith_simapp *app, const char *format, ...)
{
    char text[200], line[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(line, sizeof line, "%s: %s", app->name, text);
    kith__simapp_note(app, "WRONG: %s", text);
    kith__sim_wrong(app->sim, line);
}

/* ---- Plans ---- */

static uint64_t draw(struct kith_simconn *conn, uint64_t min, uint64_t max)
{
    struct kith_random random = kith__prng_source(&conn->prng);

    return max > min ? min + kith__random_below(&random, max - min + 1) : min;
}

static bool may_start(const struct kith_simconn *conn)
{
    return !conn->is_closed && conn->conn != NULL && (conn->is_connected || (conn->early_ready && conn->plan.early));
}

static void open_flows(struct kith_simconn *conn)
{
    const struct kith_simapp_plan *plan = &conn->plan;

    while (may_start(conn) && conn->opened < plan->streams + plan->uni_streams &&
           (plan->at_once == 0 || conn->flows_open < plan->at_once)) {
        bool bidi = conn->opened < plan->streams;
        struct kith_simflow *flow;
        uint64_t stream, up, down;
        int err = kith_quic_stream_open(conn->conn, bidi, &stream);

        if (err == KITH_ERR_AGAIN || err == KITH_ERR_CLOSED)
            return;
        if (err != 0) {
            kith__simapp_wrong(conn->app, "a stream cannot be opened: %s", kith_err_name(err));
            return;
        }
        up = draw(conn, plan->up_min, plan->up_max);
        down = draw(conn, plan->down_min, plan->down_max);
        flow = kith__simflow_open(conn, stream, bidi, up, down, kith__prng_next(&conn->prng));
        KITH_ASSERT(flow != NULL);
        flow->unordered = plan->unordered;
        conn->opened++;
        flow->will_reset = plan->reset_every != 0 && conn->opened % plan->reset_every == 0;
        flow->will_stop = bidi && plan->stop_every != 0 && conn->opened % plan->stop_every == 0;
        if (plan->priorities && kith_quic_stream_set_priority(conn->conn, stream, (int32_t)(conn->opened % 4)) != 0)
            kith__simapp_wrong(conn->app, "a priority is refused");
        kith__simflow_pump(flow, !conn->app->reads_paused);
    }
}

static void pump_flow(struct kith_simflow *flow)
{
    struct kith_simconn *conn = flow->conn;

    if (kith__simflow_pump(flow, !conn->app->reads_paused))
        open_flows(conn);
}

static void on_datagram_timer(void *ctx, uint64_t now_ns)
{
    struct kith_simconn *conn = ctx;
    uint8_t bytes[DATAGRAM_MAX] = { 0 };
    uint32_t number = conn->datagrams_sent;
    size_t size;
    int err;

    if (!may_start(conn) || number >= conn->plan.datagrams)
        return;
    size = KITH_MIN((size_t)conn->plan.datagram_size, kith_quic_datagram_size_max(conn->conn));
    if (size >= 12) {
        memcpy(bytes, &(uint32_t) { DATAGRAM_MAGIC }, 4);
        memcpy(bytes + 4, &number, 4);
        kith__simflow_pattern(number, 0, bytes + 8, size - 8);
        conn->datagrams_sent++;
        err = kith_quic_datagram_send(conn->conn, (struct kith_slice) { bytes, size }, number % 2 == 0);
        if (err == KITH_ERR_AGAIN)
            conn->datagrams_refused++;
        else if (err != 0)
            kith__simapp_wrong(conn->app, "a datagram of %zu bytes is refused: %s", size, kith_err_name(err));
    }
    if (conn->datagrams_sent < conn->plan.datagrams)
        kith__rt_timer_set(&conn->datagram_timer, now_ns + conn->plan.datagram_ns);
    kith__driver_pump(conn->app->driver);
}

static void take_datagrams(struct kith_simconn *conn)
{
    uint8_t bytes[DATAGRAM_MAX];
    uint32_t magic = 0, number = 0;
    size_t size;

    while (kith_quic_datagram_receive(conn->conn, bytes, sizeof bytes, &size) == 0) {
        if (size >= 12) {
            memcpy(&magic, bytes, 4);
            memcpy(&number, bytes + 4, 4);
        }
        if (magic != DATAGRAM_MAGIC || !kith__simflow_is_pattern(number, 0, bytes + 8, size - 8))
            kith__simapp_wrong(conn->app, "a datagram of %zu bytes is not what was sent", size);
        if (kith__ranges_contains(&conn->datagrams_seen, number))
            kith__simapp_wrong(conn->app, "datagram %u came twice", (unsigned)number);
        KITH_ASSERT(kith__ranges_add(&conn->datagrams_seen, number, number + 1ull) == 0);
        conn->datagrams_received++;
    }
}

void kith__simapp_do(struct kith_simconn *conn, const struct kith_simapp_plan *plan)
{
    conn->plan = *plan;
    conn->opened = 0;
    open_flows(conn);
    if (plan->datagrams > 0 && may_start(conn))
        kith__rt_timer_set(&conn->datagram_timer, kith__rt_now(conn->app->rt));
    kith__driver_pump(conn->app->driver);
}

bool kith__simconn_is_done(const struct kith_simconn *conn)
{
    return conn->opened == conn->plan.streams + conn->plan.uni_streams && conn->flows_open == 0 &&
           conn->datagrams_sent >= conn->plan.datagrams;
}

/* ---- Connections ---- */

static struct kith_simconn *conn_new(struct kith_simapp *app, struct kith_quic_conn *conn, bool is_client)
{
    struct kith_simconn *simconn = calloc(1, sizeof *simconn);

    KITH_ASSERT(simconn != NULL);
    simconn->app = app;
    simconn->conn = conn;
    simconn->may_end = app->may_end;
    kith__prng_init(&simconn->prng, ++app->seed);
    kith__list_init(&simconn->flows);
    kith__ranges_init(&simconn->datagrams_seen, kith_mem_default());
    KITH_ASSERT(kith__rt_timer_init(app->rt, &simconn->datagram_timer, on_datagram_timer, simconn) == 0);
    kith__simconn_ways_begin(simconn, is_client);
    kith__list_push_back(&app->conns, &simconn->node);
    kith_quic_conn_set_user(conn, simconn);
    return simconn;
}

static void drop_flows(struct kith_simconn *conn)
{
    KITH_LIST_EACH_SAFE(node, after, &conn->flows)
    kith__simflow_free(KITH_CONTAINER(node, struct kith_simflow, node));
    kith__rt_timer_set(&conn->datagram_timer, KITH_NEVER);
}

static void on_incoming(struct kith_simapp *app, struct kith_quic_incoming *incoming)
{
    uint64_t now_ns = kith__rt_now(app->rt);
    struct kith_quic_conn *conn;

    app->incoming++;
    if (app->answer == KITH_SIMAPP_REFUSE) {
        app->refused++;
        kith_quic_incoming_refuse(incoming, now_ns);
    } else if (app->answer == KITH_SIMAPP_IGNORE) {
        kith_quic_incoming_ignore(incoming);
    } else if (app->answer == KITH_SIMAPP_RETRY && !kith_quic_incoming_is_validated(incoming)) {
        app->retries++;
        if (kith_quic_incoming_retry(incoming, now_ns) != 0)
            kith__simapp_wrong(app, "a Retry is refused");
    } else if (kith_quic_incoming_accept(incoming, NULL, now_ns, &conn) == 0) {
        conn_new(app, conn, false);
    } else if (app->simmem.refused == 0) {
        kith__simapp_wrong(app, "a client cannot be accepted");
    }
}

static void on_closed(struct kith_simconn *conn)
{
    struct kith_quic_close_info info;

    if (kith_quic_conn_close_info(conn->conn, &info) != 0) {
        kith__simapp_wrong(conn->app, "closed without a reason");
        return;
    }
    conn->is_closed = true;
    conn->closed_ns = kith__rt_now(conn->app->rt);
    conn->err = info.err;
    conn->code = info.code;
    conn->by_peer = info.by_peer;
    kith__simapp_note(conn->app, "closed: %s, code %llu, by peer %d: %.*s", kith_err_name(info.err),
                      (unsigned long long)info.code, info.by_peer, (int)info.reason.size,
                      info.reason.ptr != NULL ? (const char *)info.reason.ptr : "");
    if (!conn->may_end)
        kith__simapp_wrong(conn->app, "the connection ended: %s, code %llu, %.*s", kith_err_name(info.err),
                           (unsigned long long)info.code, (int)KITH_MIN(info.reason.size, (size_t)100),
                           info.reason.ptr != NULL ? (const char *)info.reason.ptr : "");
    drop_flows(conn);
    kith__simdial_on_closed(conn);
    kith__simconn_ways_end(conn);
}

static void on_drained(struct kith_simconn *conn)
{
    conn->is_drained = true;
    if (!conn->is_closed)
        kith__simapp_wrong(conn->app, "drained before it was closed");
    kith_quic_conn_set_user(conn->conn, NULL);
    kith_quic_conn_free(conn->conn);
    conn->conn = NULL;
}

static void on_opened(struct kith_simconn *conn, uint64_t stream, bool bidi)
{
    struct kith_simflow *flow = kith__simflow_accept(conn, stream, bidi);

    KITH_ASSERT(flow != NULL);
    pump_flow(flow);
}

static void on_stream(struct kith_simconn *conn, const struct kith_quic_event *event)
{
    struct kith_simflow *flow = event->user;

    if (flow == NULL)
        return; /* released meanwhile */
    if (event->kind == KITH_QUIC_STREAM_SENT) {
        if (!flow->fin_written && !flow->out_over)
            kith__simapp_wrong(conn->app, "stream %llu: sent before it was written", (unsigned long long)event->stream);
        flow->out_over = true;
    } else if (event->kind == KITH_QUIC_STREAM_STOPPED) {
        if (event->code != 78 && event->code != 0)
            kith__simapp_wrong(conn->app, "stopped with code %llu", (unsigned long long)event->code);
        flow->out_over = true;
    }
    pump_flow(flow);
}

static void on_ready(struct kith_simconn *conn)
{
    conn->connected_ns = kith__rt_now(conn->app->rt);
    conn->last_read_ns = conn->connected_ns;
    open_flows(conn);
    if (conn->plan.datagrams > 0 && conn->datagrams_sent == 0 && may_start(conn))
        kith__rt_timer_set(&conn->datagram_timer, conn->connected_ns);
}

static void on_conn_event(struct kith_simapp *app, struct kith_simconn *conn, const struct kith_quic_event *event)
{
    switch ((enum kith_quic_event_kind)event->kind) {
    case KITH_QUIC_EARLY_READY:
        conn->early_ready = true;
        on_ready(conn);
        break;
    case KITH_QUIC_CONNECTED:
        conn->is_connected = true;
        conn->early_accepted = event->early_accepted;
        kith__simdial_on_connected(conn);
        on_ready(conn);
        break;
    case KITH_QUIC_CONFIRMED:
        conn->is_confirmed = true;
        break;
    case KITH_QUIC_STREAM_OPENED:
        on_opened(conn, event->stream, event->bidi);
        break;
    case KITH_QUIC_STREAMS_AVAILABLE:
        open_flows(conn);
        break;
    case KITH_QUIC_STREAM_READABLE:
    case KITH_QUIC_STREAM_WRITABLE:
    case KITH_QUIC_STREAM_SENT:
    case KITH_QUIC_STREAM_STOPPED:
        on_stream(conn, event);
        break;
    case KITH_QUIC_DATAGRAM_READABLE:
        take_datagrams(conn);
        break;
    case KITH_QUIC_SESSION:
        if (kith_quic_conn_take_session(conn->conn, app->session, sizeof app->session, &app->session_size) == 0)
            conn->has_session = true;
        break;
    case KITH_QUIC_TOKEN:
        (void)!kith_quic_conn_take_token(conn->conn, app->token, sizeof app->token, &app->token_size);
        break;
    case KITH_QUIC_PATH_OPENED:
    case KITH_QUIC_PATH_VALIDATED:
    case KITH_QUIC_PATH_CHANGED:
    case KITH_QUIC_PATH_ABANDONED:
    case KITH_QUIC_PATH_OBSERVED:
    case KITH_QUIC_CANDIDATE_ADDED:
    case KITH_QUIC_CANDIDATE_REMOVED:
    case KITH_QUIC_PATHS_AVAILABLE:
        conn->path_changes++;
        if (conn->on_path != NULL)
            conn->on_path(conn->on_path_ctx, event);
        break;
    case KITH_QUIC_CLOSED:
        on_closed(conn);
        break;
    case KITH_QUIC_DRAINED:
        on_drained(conn);
        break;
    case KITH_QUIC_INCOMING:
    case KITH_QUIC_DATAGRAM_WRITABLE:
        break;
    }
}

static void on_event(void *ctx, const struct kith_quic_event *event)
{
    static const char *const names[] = {
        [KITH_QUIC_INCOMING] = "incoming",
        [KITH_QUIC_EARLY_READY] = "early ready",
        [KITH_QUIC_CONNECTED] = "connected",
        [KITH_QUIC_CONFIRMED] = "confirmed",
        [KITH_QUIC_STREAM_OPENED] = "stream opened",
        [KITH_QUIC_STREAMS_AVAILABLE] = "streams available",
        [KITH_QUIC_STREAM_READABLE] = "readable",
        [KITH_QUIC_STREAM_WRITABLE] = "writable",
        [KITH_QUIC_STREAM_SENT] = "sent",
        [KITH_QUIC_STREAM_STOPPED] = "stopped",
        [KITH_QUIC_DATAGRAM_READABLE] = "datagram",
        [KITH_QUIC_DATAGRAM_WRITABLE] = "datagram writable",
        [KITH_QUIC_SESSION] = "session",
        [KITH_QUIC_TOKEN] = "token",
        [KITH_QUIC_PATH_OPENED] = "path opened",
        [KITH_QUIC_PATH_VALIDATED] = "path validated",
        [KITH_QUIC_PATH_CHANGED] = "path changed",
        [KITH_QUIC_PATH_ABANDONED] = "path abandoned",
        [KITH_QUIC_PATHS_AVAILABLE] = "paths available",
        [KITH_QUIC_CLOSED] = "closed",
        [KITH_QUIC_DRAINED] = "drained",
    };
    struct kith_simapp *app = ctx;
    struct kith_simconn *conn;

    if (event->kind >= KITH_QUIC_PATH_OPENED && event->kind <= KITH_QUIC_PATHS_AVAILABLE)
        kith__simapp_note(app, "%s: path %u, code 0x%llx%s", names[event->kind], (unsigned)event->path,
                          (unsigned long long)event->code, event->by_peer ? ", by the peer" : "");
    else
        kith__simapp_note(app, "%s stream %llu code %llu", names[event->kind], (unsigned long long)event->stream,
                          (unsigned long long)event->code);
    if (event->kind == KITH_QUIC_INCOMING) {
        on_incoming(app, event->incoming);
        return;
    }
    conn = kith_quic_conn_user(event->conn);
    if (conn == NULL || (conn->is_closed && event->kind != KITH_QUIC_DRAINED))
        kith__simapp_wrong(app, "event %u of a connection that is over", event->kind);
    else {
        on_conn_event(app, conn, event);
        kith__simconn_ways_event(conn, event);
    }
}

/* ---- Life ---- */

void kith__simapp_init(struct kith_simapp *app, uint64_t memory_max)
{
    kith__list_init(&app->conns);
    kith__list_init(&app->dials);
    kith__simmem_init(&app->simmem, memory_max);
}

static void on_turn_end(void *ctx)
{
    struct kith_simapp *app = ctx;

    kith__driver_pump(app->driver); /* what event handlers left to send */
}

int kith__simapp_start(struct kith_simapp *app)
{
    struct kith_sockaddr binds[2] = { app->bind, app->bind6 };
    struct kith_quic_host_options host;
    struct kith_driver_options options = { .mem = &app->simmem.mem,
                                           .rt = app->rt,
                                           .host = &host,
                                           .binds = binds,
                                           .bind_count = app->bind6.family != KITH_FAMILY_NONE ? 2 : 1,
                                           .no_sockets = app->no_sockets,
                                           .on_event = on_event,
                                           .on_relay_send = app->relay_count != 0 ? kith__simapp_relay_send : NULL,
                                           .on_relay_flush = kith__simapp_relay_flush,
                                           .ctx = app };
    int err;

    kith_quic_host_defaults(&host);
    host.secret = app->secret;
    host.alpns = &alpn;
    host.alpn_count = app->is_listening ? 1 : 0;
    host.transport = app->transport;
    host.qlog = app->qlog;
    host.sink_ctx = app->trace_ctx;
    if ((err = kith__driver_new(&options, &app->driver)) != 0)
        return err;
    kith__rt_set_hooks(app->rt, &(struct kith_rt_hooks) { .on_turn_end = on_turn_end, .ctx = app });
    if ((err = kith__simapp_relays_start(app)) != 0)
        return err;
    return kith__simapp_lookup_start(app);
}

void kith__simapp_stop(struct kith_simapp *app)
{
    if (app->driver == NULL)
        return;
    kith__simapp_note(app, "stops at once");
    kith__rt_set_hooks(app->rt, &(struct kith_rt_hooks) { 0 });
    kith__simapp_lookup_stop(app);
    kith__simapp_relays_stop(app);
    kith__driver_free(app->driver);
    app->driver = NULL;
    KITH_LIST_EACH(node, &app->conns)
    {
        struct kith_simconn *conn = KITH_CONTAINER(node, struct kith_simconn, node);

        conn->conn = NULL;
        conn->is_closed = conn->is_drained = true;
        drop_flows(conn);
    }
}

void kith__simapp_dispose(struct kith_simapp *app)
{
    kith__simapp_stop(app);
    KITH_LIST_EACH_SAFE(node, after, &app->conns)
    {
        struct kith_simconn *conn = KITH_CONTAINER(node, struct kith_simconn, node);

        kith__rt_timer_dispose(&conn->datagram_timer);
        kith__rt_timer_dispose(&conn->ways_timer);
        kith__ranges_dispose(&conn->datagrams_seen);
        kith__list_remove(&conn->node);
        free(conn);
    }
    KITH_LIST_EACH_SAFE(node, after, &app->dials)
    free(KITH_CONTAINER(node, struct kith_simdial, node));
    kith__list_init(&app->dials);
}

int kith__simapp_dial(struct kith_simapp *app, const struct kith_simapp *to, const struct kith_sockaddr *addr,
                      const struct kith_simapp_plan *plan, struct kith_simconn **out)
{
    struct kith_sockaddr remotes[1 + KITH_COUNT(app->also)] = { *addr };

    struct kith_id id = kith_quic_host_id(kith__driver_host(to->driver));

    memcpy(remotes + 1, app->also, app->also_count * sizeof app->also[0]);
    return kith__simapp_dial_all(app, &id, remotes, 1 + app->also_count, plan, out);
}

int kith__simapp_dial_all(struct kith_simapp *app, const struct kith_id *to, const struct kith_sockaddr *remotes,
                          size_t count, const struct kith_simapp_plan *plan, struct kith_simconn **out)
{
    struct kith_quic_connect_options options = { .remote_id = *to,
                                                 .remotes = remotes,
                                                 .remote_count = count,
                                                 .alpns = &alpn,
                                                 .alpn_count = 1,
                                                 .session = { app->session, app->session_size },
                                                 .token = { app->token, app->token_size },
                                                 .early_data = plan->early };
    struct kith_quic_conn *conn;
    int err;

    if ((err = kith_quic_connect(kith__driver_host(app->driver), &options, kith__rt_now(app->rt), &conn)) != 0)
        return err;
    *out = conn_new(app, conn, true);
    (*out)->plan = *plan;
    kith__driver_pump(app->driver);
    return 0;
}

void kith__simapp_pause_reads(struct kith_simapp *app, bool is_paused)
{
    kith__simapp_note(app, is_paused ? "stops reading" : "reads again");
    app->reads_paused = is_paused;
    if (is_paused)
        return;
    KITH_LIST_EACH(node, &app->conns)
    {
        struct kith_simconn *conn = KITH_CONTAINER(node, struct kith_simconn, node);

        KITH_LIST_EACH_SAFE(at, after, &conn->flows)
        kith__simflow_pump(KITH_CONTAINER(at, struct kith_simflow, node), true);
        if (conn->conn != NULL)
            open_flows(conn);
    }
    kith__driver_pump(app->driver);
}

void kith__simapp_close(struct kith_simconn *conn, uint64_t code)
{
    static const struct kith_slice reason = { (const uint8_t *)"enough", 6 };

    conn->may_end = true;
    if (conn->conn == NULL)
        return;
    kith_quic_conn_close(conn->conn, code, reason, kith__rt_now(conn->app->rt));
    kith__driver_pump(conn->app->driver);
}

struct kith_simconn *kith__simapp_newest(const struct kith_simapp *app)
{
    return kith__list_is_empty(&app->conns) ? NULL : KITH_CONTAINER(app->conns.prev, struct kith_simconn, node);
}
