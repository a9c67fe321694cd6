/* The echo server inside a poll loop of one's own: any number of connections and streams at once, in one thread. */
#include <kith/kith.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUFFER_SIZE = 16384 };

struct server {
    struct kith_endpoint *endpoint;
    struct kith_op *accepting;
    int left; /* connections until the end; negative: for ever */
    int live; /* connections and streams that are served now */
};

struct echo {
    struct server *server;
    struct kith_stream *stream;
    bool has_ended;
    char buffer[BUFFER_SIZE];
};

struct served {
    struct server *server;
    struct kith_conn *conn;
    struct kith_op *accepting;
};

static void on_read(struct kith_op *op, void *user);

static void echo_free(struct echo *echo)
{
    echo->server->live--;
    kith_stream_free(echo->stream);
    free(echo);
}

static void on_written(struct kith_op *op, void *user)
{
    struct echo *echo = user;
    bool go_on = kith_op_result(op) == 0 && !echo->has_ended;
    struct kith_op *next;

    kith_op_free(op);
    if (go_on && kith_read_start(echo->stream, echo->buffer, BUFFER_SIZE, &next) == 0) {
        kith_op_on_done(next, on_read, echo);
        return;
    }
    echo_free(echo);
}

static void on_read(struct kith_op *op, void *user)
{
    struct echo *echo = user;
    int result = kith_op_result(op);
    size_t size = kith_op_size(op);
    struct kith_op *next;

    kith_op_free(op);
    echo->has_ended = result == KITH_ERR_END;
    if ((result == 0 || echo->has_ended) &&
        kith_write_start(echo->stream, echo->buffer, size, echo->has_ended ? KITH_FIN : 0, &next) == 0) {
        kith_op_on_done(next, on_written, echo);
        return;
    }
    echo_free(echo);
}

static void on_stream(struct kith_op *op, void *user)
{
    struct served *served = user;
    struct kith_stream *stream = kith_op_take_stream(op);
    struct kith_op *reading;
    struct echo *echo;

    kith_op_free(op);
    if (stream == NULL) { /* the connection ended */
        kith_conn_free(served->conn);
        served->server->left -= served->server->left > 0;
        served->server->live--;
        free(served);
        return;
    }
    if (kith_accept_stream_start(served->conn, true, &served->accepting) == 0)
        kith_op_on_done(served->accepting, on_stream, served);
    if ((echo = calloc(1, sizeof *echo)) == NULL) {
        kith_stream_free(stream);
        return;
    }
    echo->server = served->server;
    echo->server->live++;
    echo->stream = stream;
    if (kith_read_start(stream, echo->buffer, BUFFER_SIZE, &reading) == 0)
        kith_op_on_done(reading, on_read, echo);
    else
        echo_free(echo);
}

static void on_accepted(struct kith_op *op, void *user)
{
    struct server *server = user;
    struct kith_conn *conn = kith_op_take_conn(op);
    struct served *served = conn != NULL ? calloc(1, sizeof *served) : NULL;

    kith_op_free(op);
    server->accepting = NULL;
    if (served != NULL) {
        served->server = server;
        served->conn = conn;
        server->live++;
        if (kith_accept_stream_start(conn, true, &served->accepting) == 0)
            kith_op_on_done(served->accepting, on_stream, served);
    }
    if (kith_accept_start(server->endpoint, &server->accepting) == 0)
        kith_op_on_done(server->accepting, on_accepted, server);
}

int main(int argc, char **argv)
{
    const char *alpns[] = { "example/echo/1", NULL };
    struct kith_context_options in_my_loop = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .alpns = alpns };
    struct server server = { .left = argc > 1 ? atoi(argv[1]) : -1 };
    struct kith_addr addr;
    char ticket[KITH_TICKET_TEXT_SIZE];

    if (kith_context_new(&in_my_loop, &options.context) != 0 || kith_endpoint_bind(&options, &server.endpoint) != 0 ||
        kith_accept_start(server.endpoint, &server.accepting) != 0) {
        fprintf(stderr, "echo_server_loop: %s\n", kith_error_last()->text);
        return 1;
    }
    kith_op_on_done(server.accepting, on_accepted, &server);
    kith_endpoint_addr(server.endpoint, &addr);
    if (kith_ticket_format(&addr, ticket, sizeof ticket) == 0)
        printf("%s\n", ticket);
    fflush(stdout);
    while (server.left != 0 || server.live > 0) {
        struct pollfd fd = { kith_context_fd(options.context), POLLIN, 0 };
        uint64_t timeout = kith_context_timeout(options.context);

        poll(&fd, 1, timeout == KITH_NEVER ? -1 : (int)((timeout + 999999) / 1000000));
        kith_context_process(options.context);
    }
    kith_op_free(server.accepting);
    kith_endpoint_close(server.endpoint, 10 * KITH_NS_PER_S);
    kith_context_free(options.context);
    return 0;
}
