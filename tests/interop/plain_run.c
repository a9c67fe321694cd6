/* The loop of `plain`: one host over one or two sockets, its events, its streams. */
#include "base/mem.h"
#include "plain.h"
#include "quic/host/x509.h"
#include "rt/uv/uv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H3_NO_ERROR = 0x100, SOCKETS = 2, CLIENT_LIMIT_S = 60 };

struct plain {
    const struct plain_options *options;
    struct kith_rt *rt;
    struct kith_rt_udp *udp[SOCKETS];
    struct kith_rt_timer timer;
    struct kith_quic_host *host;
    struct kith_quic_conn *conn; /* client */
    struct kith_buf message;     /* the request (client) or response (server) that every stream gets */
    struct kith_buf session, token;
    struct plain_request *requests; /* all that there were: freed at the end */
    uint64_t opened, done_count, body_size;
    uint64_t resets_said, negotiations_said; /* of the host's counters */
    bool rejoined;                           /* client: this is the second connection */
    bool control_is_open, migrated, failed, done;
};

static uint8_t packet[KITH_RT_UDP_SEND_MAX];

static void say_failure(struct plain *plain, const char *what, int err)
{
    printf("ERROR %s: %s\n", what, kith_err_name(err));
    plain->failed = plain->done = true;
}

static struct kith_rt_udp *socket_for(struct plain *plain, const struct kith_sockaddr *local)
{
    for (int i = 0; i < SOCKETS; i++)
        if (plain->udp[i] != NULL && kith__rt_udp_local(plain->udp[i]).port == local->port)
            return plain->udp[i];
    return plain->udp[plain->migrated ? 1 : 0];
}

static void flush(struct plain *plain)
{
    struct kith_quic_transmit transmit;

    while (!kith__rt_udp_is_blocked(plain->udp[0]) &&
           kith_quic_host_transmit(plain->host, packet, sizeof packet, &transmit, kith__rt_now(plain->rt)))
        if (kith__rt_udp_send(socket_for(plain, &transmit.local), &transmit, packet) != 0)
            printf("NOTE a datagram was not sent\n");
    kith__rt_timer_set(&plain->timer, kith_quic_host_deadline(plain->host));
}

/* ---- Streams ---- */

static void send_rest(struct plain *plain, struct kith_quic_conn *conn, uint64_t stream, struct plain_request *request)
{
    size_t written;
    int err = 0;

    while (err == 0 && request->out.size != 0) {
        err = kith_quic_stream_write(conn, stream, request->out.ptr, request->out.size, true, &written);
        if (err != 0)
            break;
        request->out.ptr += written;
        request->out.size -= written;
    }
    if (err != 0 && err != KITH_ERR_AGAIN && err != KITH_ERR_STOPPED && err != KITH_ERR_CLOSED)
        say_failure(plain, "write", err);
}

static struct plain_request *new_request(struct plain *plain, struct kith_quic_conn *conn, uint64_t stream)
{
    struct plain_request *request = calloc(1, sizeof *request);

    if (request == NULL)
        abort();
    kith__buf_init(&request->body, kith_mem_default());
    request->index = plain->opened++;
    request->next = plain->requests;
    plain->requests = request;
    kith_quic_stream_set_user(conn, stream, request);
    return request;
}

static void open_control(struct plain *plain, struct kith_quic_conn *conn)
{
    uint64_t stream;
    size_t written;
    int err = kith_quic_stream_open(conn, false, &stream);

    if (err == 0)
        err = kith_quic_stream_write(conn, stream, plain_control, sizeof plain_control, false, &written);
    if (err != 0)
        say_failure(plain, "control stream", err);
}

static void open_requests(struct plain *plain)
{
    uint64_t stream;
    int err;

    if (!plain->control_is_open)
        open_control(plain, plain->conn);
    plain->control_is_open = true;
    while (plain->opened < plain->options->repeat &&
           (err = kith_quic_stream_open(plain->conn, true, &stream)) != KITH_ERR_AGAIN) {
        struct plain_request *request;

        if (err != 0) {
            say_failure(plain, "stream", err);
            return;
        }
        request = new_request(plain, plain->conn, stream);
        request->out = kith__buf_slice(&plain->message);
        send_rest(plain, plain->conn, stream, request);
    }
}

static void save_body(struct plain *plain, const struct plain_request *request)
{
    char path[4096];
    FILE *file;

    if (plain->options->out_dir == NULL)
        return;
    snprintf(path, sizeof path, "%s/%zu", plain->options->out_dir, request->index);
    if ((file = fopen(path, "wb")) == NULL ||
        (request->body.size != 0 && fwrite(request->body.ptr, 1, request->body.size, file) != request->body.size))
        say_failure(plain, path, KITH_ERR_IO);
    if (file != NULL)
        fclose(file);
}

/* The whole request or response is here. */
static void on_end(struct plain *plain, struct kith_quic_conn *conn, uint64_t stream, struct plain_request *request)
{
    if (request->answered)
        return;
    request->answered = true;
    printf("BODY %zu\n", request->body.size);
    save_body(plain, request);
    kith__buf_dispose(&request->body);
    if (plain->options->is_server) {
        request->out = kith__buf_slice(&plain->message);
        send_rest(plain, conn, stream, request);
    } else if (++plain->done_count == plain->options->repeat) {
        kith_quic_conn_close(conn, H3_NO_ERROR, (struct kith_slice) { (const uint8_t *)"done", 4 },
                             kith__rt_now(plain->rt));
    }
}

/* The client goes to its other socket once the first bytes are here: in the middle of the transfer. */
static void migrate(struct plain *plain, struct kith_quic_conn *conn)
{
    struct kith_sockaddr local = kith__rt_udp_local(plain->udp[1]);
    int err = kith_quic_conn_migrate(conn, &local, kith__rt_now(plain->rt));

    if (err == KITH_ERR_STATE)
        return;
    plain->migrated = true;
    printf("MIGRATE %s\n", err == 0 ? "ok" : kith_err_name(err));
}

static void on_readable(struct plain *plain, struct kith_quic_conn *conn, uint64_t stream)
{
    struct plain_request *request = kith_quic_stream_user(conn, stream);
    struct kith_slice bytes;
    int err;

    while ((err = kith_quic_stream_peek(conn, stream, &bytes, NULL)) == 0) {
        if (request != NULL && plain_frames(request, bytes.ptr, bytes.size) != 0)
            abort();
        plain->body_size += bytes.size;
        if (kith_quic_stream_consume(conn, stream, bytes.size) != 0)
            abort();
    }
    if (plain->options->migrate && !plain->migrated && plain->body_size > 100000)
        migrate(plain, conn);
    if (err == KITH_ERR_END && request != NULL)
        on_end(plain, conn, stream, request);
}

/* ---- Connections ---- */

static void connect_to(struct plain *plain)
{
    struct kith_slice alpn = { (const uint8_t *)"h3", 2 };
    struct kith_quic_connect_options options = { .remotes = &plain->options->address,
                                                 .remote_count = 1,
                                                 .alpns = &alpn,
                                                 .alpn_count = 1,
                                                 .session = kith__buf_slice(&plain->session),
                                                 .token = kith__buf_slice(&plain->token),
                                                 .early_data = plain->session.size != 0,
                                                 .local = kith__rt_udp_local(plain->udp[0]) };
    int err = kith__host_connect_by_name(plain->host, plain->options->name, &options, kith__rt_now(plain->rt),
                                         &plain->conn);

    if (err != 0)
        say_failure(plain, "connect", err);
}

static void say_stats(struct kith_quic_conn *conn)
{
    struct kith_quic_conn_stats stats;

    kith_quic_conn_stats(conn, &stats);
    printf("STATS lost %" PRIu64 " key_updates %" PRIu64 " migrations %" PRIu64 " received %" PRIu64 "\n",
           stats.packets_lost, stats.key_updates, stats.migrations, stats.stream_bytes_received);
}

static void on_closed(struct kith_quic_conn *conn)
{
    struct kith_quic_close_info info;

    if (kith_quic_conn_close_info(conn, &info) == 0)
        printf("CLOSED %s %s 0x%" PRIx64 " %s %.*s\n", kith_err_name(info.err), info.by_peer ? "peer" : "local",
               info.code, info.is_application ? "application" : "transport", (int)info.reason.size,
               (const char *)info.reason.ptr);
    say_stats(conn);
}

static void on_drained(struct plain *plain, struct kith_quic_conn *conn)
{
    kith_quic_conn_free(conn);
    if (plain->options->is_server)
        return;
    if (!plain->options->resume || plain->rejoined || plain->failed) {
        plain->done = true;
        return;
    }
    plain->rejoined = true;
    plain->opened = plain->done_count = 0;
    plain->control_is_open = false;
    printf("AGAIN with a session of %zu and a token of %zu bytes\n", plain->session.size, plain->token.size);
    connect_to(plain);
}

static void take(struct kith_quic_conn *conn, struct kith_buf *into,
                 int (*take_it)(struct kith_quic_conn *, uint8_t *, size_t, size_t *))
{
    uint8_t bytes[KITH_QUIC_SESSION_SIZE_MAX];
    size_t size;

    into->size = 0;
    if (take_it(conn, bytes, sizeof bytes, &size) == 0 && kith__buf_append(into, bytes, size) != 0)
        abort();
}

static void on_connected(struct plain *plain, const struct kith_quic_event *event)
{
    struct kith_slice alpn = kith_quic_conn_alpn(event->conn);

    printf("CONNECTED %.*s%s\n", (int)alpn.size, (const char *)alpn.ptr, event->early_accepted ? " early" : "");
    if (plain->options->is_server)
        open_control(plain, event->conn);
    else
        open_requests(plain);
}

static void on_incoming(struct plain *plain, struct kith_quic_incoming *incoming)
{
    uint64_t now_ns = kith__rt_now(plain->rt);
    bool validated = kith_quic_incoming_is_validated(incoming);
    struct kith_quic_conn *conn;
    int err = 0;

    printf("INCOMING%s\n", validated ? " validated" : "");
    if (strcmp(plain->options->mode, "refuse") == 0)
        kith_quic_incoming_refuse(incoming, now_ns);
    else if (strcmp(plain->options->mode, "retry") == 0 && !validated)
        err = kith_quic_incoming_retry(incoming, now_ns);
    else
        err = kith_quic_incoming_accept(incoming, NULL, now_ns, &conn);
    if (err != 0)
        printf("NOTE incoming: %s\n", kith_err_name(err));
}

static void on_stream_sent(struct kith_quic_conn *conn, uint64_t stream)
{
    struct plain_request *request = kith_quic_stream_user(conn, stream);

    if (request == NULL || !request->answered)
        return;
    kith_quic_stream_set_user(conn, stream, NULL);
    kith_quic_stream_release(conn, stream);
}

static void on_event(struct plain *plain, const struct kith_quic_event *event)
{
    struct plain_request *request;

    switch ((enum kith_quic_event_kind)event->kind) {
    case KITH_QUIC_INCOMING:
        on_incoming(plain, event->incoming);
        break;
    case KITH_QUIC_EARLY_READY:
        open_requests(plain);
        break;
    case KITH_QUIC_CONNECTED:
        on_connected(plain, event);
        break;
    case KITH_QUIC_STREAMS_AVAILABLE:
        if (!plain->options->is_server && event->bidi && plain->control_is_open)
            open_requests(plain);
        break;
    case KITH_QUIC_STREAM_OPENED:
        if (plain->options->is_server && event->stream % 4 == 0)
            (void)new_request(plain, event->conn, event->stream);
        break;
    case KITH_QUIC_STREAM_READABLE:
        on_readable(plain, event->conn, event->stream);
        break;
    case KITH_QUIC_STREAM_WRITABLE:
        if ((request = kith_quic_stream_user(event->conn, event->stream)) != NULL)
            send_rest(plain, event->conn, event->stream, request);
        break;
    case KITH_QUIC_STREAM_SENT:
        on_stream_sent(event->conn, event->stream);
        break;
    case KITH_QUIC_SESSION:
        take(event->conn, &plain->session, kith_quic_conn_take_session);
        break;
    case KITH_QUIC_TOKEN:
        take(event->conn, &plain->token, kith_quic_conn_take_token);
        break;
    case KITH_QUIC_CLOSED:
        on_closed(event->conn);
        break;
    case KITH_QUIC_DRAINED:
        on_drained(plain, event->conn);
        break;
    default:
        break;
    }
}

static void say_counters(struct plain *plain)
{
    struct kith_quic_host_stats stats;

    kith_quic_host_stats(plain->host, &stats);
    if (stats.stateless_resets_sent != plain->resets_said)
        printf("RESETS %" PRIu64 "\n", stats.stateless_resets_sent);
    if (stats.dropped_bad_version_negotiation != plain->negotiations_said)
        printf("DISBELIEVED %" PRIu64 "\n", stats.dropped_bad_version_negotiation);
    plain->resets_said = stats.stateless_resets_sent;
    plain->negotiations_said = stats.dropped_bad_version_negotiation;
}

static void on_turn_end(void *ctx)
{
    struct plain *plain = ctx;
    struct kith_quic_event event;

    while (kith_quic_host_next_event(plain->host, &event))
        on_event(plain, &event);
    flush(plain);
    say_counters(plain);
    fflush(stdout);
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct plain *plain = ctx;

    for (size_t i = 0; i < count; i++)
        kith_quic_host_receive(plain->host, &batch[i], now_ns);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct plain *plain = ctx;

    kith_quic_host_on_deadline(plain->host, now_ns);
}

/* ---- Start and end ---- */

static int open_sockets(struct plain *plain)
{
    struct kith_rt_udp_events events = { on_receive, NULL, plain };
    struct kith_rt_udp_options options = { .local = { .family = KITH_FAMILY_V4, .ip = { 127, 0, 0, 1 } } };
    int err = 0;

    if (plain->options->is_server)
        options.local = plain->options->address;
    for (int i = 0; i < (plain->options->is_server ? 1 : SOCKETS) && err == 0; i++)
        err = kith__rt_udp_open(plain->rt, &options, &events, &plain->udp[i]);
    return err;
}

static int make_host(struct plain *plain)
{
    struct kith_slice alpn = { (const uint8_t *)"h3", 2 };
    struct kith_quic_host_options options;
    int err;

    kith_quic_host_defaults(&options);
    options.random = *kith__rt_system_random();
    if (plain->options->instance != NULL) /* the secret of zeros: again the same */
        options.instance = (struct kith_slice) { (const uint8_t *)plain->options->instance,
                                                 strlen(plain->options->instance) };
    else
        options.random.fill(options.random.ctx, options.secret.bytes, sizeof options.secret.bytes);
    options.alpns = &alpn;
    options.alpn_count = plain->options->is_server ? 1 : 0;
    options.transport.key_update_after = plain->options->key_update_after;
    if ((err = kith_quic_host_new(&options, &plain->host)) != 0)
        return err;
    return kith__host_set_x509(plain->host, plain->options->x509);
}

static int make_message(struct plain *plain)
{
    if (plain->options->is_server)
        return plain_write_response(&plain->message, plain->options->file);
    return plain_write_request(&plain->message, plain->options->name, plain->options->path, plain->options->file);
}

static int start(struct plain *plain)
{
    struct kith_rt_hooks hooks = { .on_turn_end = on_turn_end, .ctx = plain };
    int err;

    if ((err = kith__rt_uv_new(NULL, NULL, &plain->rt)) != 0 || (err = open_sockets(plain)) != 0 ||
        (err = kith__rt_timer_init(plain->rt, &plain->timer, on_timer, plain)) != 0 || (err = make_host(plain)) != 0 ||
        (err = make_message(plain)) != 0)
        return err;
    kith__rt_set_hooks(plain->rt, &hooks);
    if (plain->options->is_server)
        printf("READY %u\n", kith__rt_udp_local(plain->udp[0]).port);
    else
        connect_to(plain);
    flush(plain);
    fflush(stdout);
    return 0;
}

static void stop(struct plain *plain)
{
    struct plain_request *request;

    kith_quic_host_free(plain->host);
    kith__rt_timer_dispose(&plain->timer);
    for (int i = 0; i < SOCKETS; i++)
        kith__rt_udp_close(plain->udp[i]);
    kith__rt_free(plain->rt);
    while ((request = plain->requests) != NULL) {
        plain->requests = request->next;
        kith__buf_dispose(&request->body);
        free(request);
    }
    kith__buf_dispose(&plain->message);
    kith__buf_dispose(&plain->session);
    kith__buf_dispose(&plain->token);
}

int plain_run(const struct plain_options *options)
{
    static struct plain plain;
    uint64_t limit_ns;
    int err;

    plain.options = options;
    kith__buf_init(&plain.message, kith_mem_default());
    kith__buf_init(&plain.session, kith_mem_default());
    kith__buf_init(&plain.token, kith_mem_default());
    if ((err = start(&plain)) != 0) {
        say_failure(&plain, "start", err);
    } else {
        limit_ns = options->is_server ? KITH_NEVER : kith__rt_now(plain.rt) + CLIENT_LIMIT_S * KITH_NS_PER_S;
        if ((err = kith__rt_run(plain.rt, &plain.done, limit_ns)) != 0)
            say_failure(&plain, "time", err);
    }
    stop(&plain);
    return plain.failed || plain.done_count != options->repeat ? 1 : 0;
}
