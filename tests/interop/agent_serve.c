/* The serving side of the transport cases: one thread, the loop is ours, everything happens in callbacks. */
#include "agent.h"

#include <inttypes.h>

enum { BUFFER_SIZE = 1 << 18 };
static const uint64_t NEVER_UPDATE = (uint64_t)1 << 40; /* packets */

struct server {
    struct kith_endpoint *endpoint;
    const char *mode;
};

/* One connection being served. */
struct served {
    struct kith_conn *conn;
    struct kith_op *accept_bi, *accept_uni, *datagram, *closed;
    uint8_t datagram_buffer[2048];
    unsigned users; /* streams that are served; the last one out frees the struct */
    bool is_closed;
};

/* One stream being served: read something, then perhaps write something, and again. */
struct pipe {
    struct served *served;
    struct kith_stream *in, *out;
    struct kith_op *op;
    uint8_t *buffer;
    size_t size;
    uint64_t total, at;
    bool has_ended;
};

static bool has_alpn(const struct served *served, const char *name)
{
    struct kith_slice alpn = kith_conn_alpn(served->conn);

    return alpn.size == strlen(name) && memcmp(alpn.ptr, name, alpn.size) == 0;
}

static void served_release(struct served *served)
{
    if (--served->users > 0)
        return;
    kith_conn_free(served->conn);
    free(served);
}

static void pipe_free(struct pipe *pipe)
{
    kith_op_free(pipe->op);
    if (pipe->out != pipe->in)
        kith_stream_free(pipe->out);
    kith_stream_free(pipe->in);
    free(pipe->buffer);
    served_release(pipe->served);
    free(pipe);
}

static void pipe_read(struct pipe *pipe);
static void source_write(struct pipe *pipe);

static void on_pipe_written(struct kith_op *op, void *user)
{
    struct pipe *pipe = user;
    int err = kith_op_result(op);

    kith_op_free(op);
    pipe->op = NULL;
    if (err != 0 || pipe->has_ended)
        pipe_free(pipe);
    else if (has_alpn(pipe->served, SOURCE))
        source_write(pipe);
    else
        pipe_read(pipe);
}

static void pipe_write(struct pipe *pipe, size_t size, int flags)
{
    if (pipe->out == NULL || kith_write_start(pipe->out, pipe->buffer, size, flags, &pipe->op) != 0) {
        pipe_free(pipe);
        return;
    }
    kith_op_on_done(pipe->op, on_pipe_written, pipe);
}

static void source_write(struct pipe *pipe)
{
    size_t size = pipe->total - pipe->at < BUFFER_SIZE ? (size_t)(pipe->total - pipe->at) : BUFFER_SIZE;

    fill_pattern(pipe->buffer, pipe->at, size);
    pipe->at += size;
    pipe->has_ended = pipe->at == pipe->total;
    pipe_write(pipe, size, pipe->has_ended ? KITH_FIN : 0);
}

static uint64_t read_u64(const uint8_t *bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* The end of what the peer sends on this stream. */
static void pipe_end(struct pipe *pipe)
{
    pipe->has_ended = true;
    if (has_alpn(pipe->served, SINK)) {
        for (int i = 0; i < 8; i++)
            pipe->buffer[i] = (uint8_t)(pipe->total >> (56 - 8 * i));
        pipe_write(pipe, 8, KITH_FIN);
    } else if (has_alpn(pipe->served, CLOSE)) {
        kith_conn_close(pipe->served->conn, 42, "server done", 11);
        pipe_free(pipe);
    } else {
        pipe_write(pipe, 0, KITH_FIN);
    }
}

static void on_pipe_read(struct kith_op *op, void *user)
{
    struct pipe *pipe = user;
    int err = kith_op_result(op);
    size_t size = kith_op_size(op);

    kith_op_free(op);
    pipe->op = NULL;
    if (err == KITH_ERR_END) {
        pipe_end(pipe);
    } else if (err != 0) {
        pipe_free(pipe);
    } else if (has_alpn(pipe->served, SOURCE)) {
        pipe->total = size >= 8 ? read_u64(pipe->buffer) : 0;
        source_write(pipe);
    } else if (has_alpn(pipe->served, SINK) || has_alpn(pipe->served, CLOSE)) {
        pipe->total += size;
        pipe_read(pipe);
    } else {
        pipe_write(pipe, size, 0);
    }
}

static void pipe_read(struct pipe *pipe)
{
    if (kith_read_start(pipe->in, pipe->buffer, BUFFER_SIZE, &pipe->op) != 0) {
        pipe_free(pipe);
        return;
    }
    kith_op_on_done(pipe->op, on_pipe_read, pipe);
}

static void pipe_start(struct served *served, struct kith_stream *in, struct kith_stream *out)
{
    struct pipe *pipe = calloc(1, sizeof *pipe);

    CHECK(pipe != NULL);
    pipe->served = served;
    served->users++;
    pipe->in = in;
    pipe->out = out;
    pipe->buffer = malloc(BUFFER_SIZE);
    CHECK(pipe->buffer != NULL);
    pipe_read(pipe);
}

static void accept_streams(struct served *served, bool bidi);

static void on_bi(struct kith_op *op, void *user)
{
    struct served *served = user;
    struct kith_stream *stream = kith_op_take_stream(op);

    kith_op_free(op);
    served->accept_bi = NULL;
    if (stream != NULL) {
        pipe_start(served, stream, stream);
        accept_streams(served, true);
    }
}

static void on_uni(struct kith_op *op, void *user)
{
    struct served *served = user;
    struct kith_stream *stream = kith_op_take_stream(op), *back = NULL;

    kith_op_free(op);
    served->accept_uni = NULL;
    if (stream != NULL) {
        if (kith_open_uni(served->conn, 0, &back) != 0)
            fprintf(stderr, "no stream for the way back: %s\n", kith_error_last()->text);
        pipe_start(served, stream, back);
        accept_streams(served, false);
    }
}

static void accept_streams(struct served *served, bool bidi)
{
    struct kith_op **op = bidi ? &served->accept_bi : &served->accept_uni;

    if (kith_accept_stream_start(served->conn, bidi, op) == 0)
        kith_op_on_done(*op, bidi ? on_bi : on_uni, served);
}

static void on_datagram(struct kith_op *op, void *user)
{
    struct served *served = user;
    int err = kith_op_result(op);

    if (err == 0)
        err = kith_datagram_send(served->conn, served->datagram_buffer, kith_op_size(op));
    kith_op_free(op);
    served->datagram = NULL;
    if (err == 0 && kith_datagram_receive_start(served->conn, served->datagram_buffer, sizeof served->datagram_buffer,
                                                &served->datagram) == 0)
        kith_op_on_done(served->datagram, on_datagram, served);
}

static void on_closed(struct kith_op *op, void *user)
{
    struct served *served = user;
    struct kith_quic_close_info info;
    struct kith_quic_conn_stats stats;
    const char *kind = "other";

    kith_op_free(op);
    served->closed = NULL;
    kith_conn_stats(served->conn, &stats);
    if (kith_conn_close_info(served->conn, &info) == 0) {
        if (info.err == KITH_ERR_CLOSED)
            kind = "local";
        else if (info.err == KITH_ERR_IDLE)
            kind = "idle";
        else if (info.err == KITH_ERR_LOST)
            kind = "reset";
        else if (info.by_peer)
            kind = info.is_application ? "application" : "transport";
        printf("CLOSED {\"kind\":\"%s\",\"code\":%" PRIu64 ",\"reason\":\"%.*s\",\"key_updates\":%" PRIu64
               ",\"resumed\":%s,\"early\":%s}\n",
               kind, info.code, (int)info.reason.size, info.reason.size > 0 ? (const char *)info.reason.ptr : "",
               stats.key_updates, stats.is_resumed ? "true" : "false",
               kith_conn_early_accepted(served->conn) ? "true" : "false");
    }
    kith_op_free(served->accept_bi);
    kith_op_free(served->accept_uni);
    kith_op_free(served->datagram);
    served_release(served);
}

static void serve_conn(struct kith_conn *conn)
{
    struct served *served = calloc(1, sizeof *served);

    CHECK(served != NULL);
    served->conn = conn;
    served->users = 1;
    agent_relay_paths(conn);
    accept_streams(served, true);
    accept_streams(served, false);
    if (kith_datagram_receive_start(conn, served->datagram_buffer, sizeof served->datagram_buffer, &served->datagram) ==
        0)
        kith_op_on_done(served->datagram, on_datagram, served);
    MUST(kith_conn_closed_start(conn, &served->closed));
    kith_op_on_done(served->closed, on_closed, served);
}

static void on_accepted(struct kith_op *op, void *user)
{
    struct kith_conn *conn = kith_op_take_conn(op);

    (void)user;
    if (conn != NULL)
        serve_conn(conn);
    else
        fprintf(stderr, "incoming: %s\n", kith_op_error(op)->text);
    kith_op_free(op);
}

static void next_incoming(struct server *server);

/* Its next Initial has the token, and comes here again as validated. */
static void on_unproven(struct kith_incoming *incoming)
{
    puts("RETRIED");
    MUST(kith_incoming_retry(incoming));
}

static void on_unwanted(struct kith_incoming *incoming)
{
    puts("IGNORED");
    kith_incoming_ignore(incoming);
}

static void on_incoming(struct kith_op *op, void *user)
{
    struct server *server = user;
    struct kith_incoming *incoming = kith_op_take_incoming(op);
    struct kith_op *accepting;

    kith_op_free(op);
    if (incoming == NULL)
        return;
    if (strcmp(server->mode, "refuse") == 0)
        kith_incoming_refuse(incoming);
    else if (strcmp(server->mode, "ignore") == 0)
        on_unwanted(incoming);
    else if (strcmp(server->mode, "retry") == 0 && !kith_incoming_is_validated(incoming))
        on_unproven(incoming);
    else if (kith_incoming_accept_start(incoming, &accepting) == 0)
        kith_op_on_done(accepting, on_accepted, NULL);
    next_incoming(server);
}

static void next_incoming(struct server *server)
{
    struct kith_op *op;

    MUST(kith_incoming_next_start(server->endpoint, &op));
    kith_op_on_done(op, on_incoming, server);
}

int agent_serve(int argc, char **argv)
{
    static const char *const alpns[] = { ECHO, SINK, SOURCE, CLOSE, NULL };
    struct kith_quic_transport transport;
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER };
    struct server server = { .mode = "accept" };
    struct kith_context *context;
    struct kith_secret secret;
    struct kith_addr addr;
    char text[KITH_TICKET_TEXT_SIZE];

    kith_secret_generate(&secret);
    for (int i = 0; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--mode") == 0)
            server.mode = argv[i + 1];
        else if (strcmp(argv[i], "--secret") == 0)
            MUST(kith_secret_parse(argv[i + 1], &secret));
    }
    kith_quic_transport_defaults(&transport);
    transport.key_update_after = NEVER_UPDATE; /* so that an update that CLOSED tells of came from the other side */
    MUST(kith_context_new(&options, &context));
    server.endpoint = agent_bind(context, &secret, alpns, &transport);
    agent_relay_online(server.endpoint, true);
    kith_endpoint_addr(server.endpoint, &addr);
    agent_relay_addr(&addr);
    MUST(kith_ticket_format(&addr, text, sizeof text));
    printf("READY %s\n", text);
    next_incoming(&server);
    agent_run_until_stdin_ends(context);
    kith_endpoint_close(server.endpoint, KITH_NS_PER_S);
    kith_context_free(context);
    return 0;
}
