/* Accepts connections and streams for small protocols. */
#include "server.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t CLOSE_LIMIT_NS = KITH_NS_PER_S;
enum { CLOSE_CODE_BUSY = 1 };

struct server_conn {
    struct server *server;
    struct server_conn *next, *previous;
    struct kith_conn *conn;
    struct kith_op *accept;
    struct server_stream *first;
};

void server_stream_end(struct server_stream *stream)
{
    struct server_conn *conn = stream->conn;

    kith_op_free(stream->op);
    kith_stream_free(stream->stream);
    if (stream->previous != NULL)
        stream->previous->next = stream->next;
    else
        conn->first = stream->next;
    if (stream->next != NULL)
        stream->next->previous = stream->previous;
    if (conn->server->on_stream_freed != NULL)
        conn->server->on_stream_freed(stream);
    free(stream);
}

void server_stream_wait(struct server_stream *stream, int started, kith_op_callback *next)
{
    if (started != 0) {
        stream->op = NULL;
        server_stream_end(stream);
        return;
    }
    kith_op_on_done(stream->op, next, stream);
}

static void conn_free(struct server_conn *conn)
{
    struct server *server = conn->server;

    while (conn->first != NULL)
        server_stream_end(conn->first);
    kith_op_free(conn->accept);
    kith_conn_free(conn->conn);
    if (conn->previous != NULL)
        conn->previous->next = conn->next;
    else
        server->first = conn->next;
    if (conn->next != NULL)
        conn->next->previous = conn->previous;
    server->count--;
    free(conn);
}

static void accept_stream(struct server_conn *conn);

static void on_stream(struct kith_op *op, void *user)
{
    struct server_conn *conn = user;
    struct server *server = conn->server;
    struct server_stream *stream;

    if (kith_op_result(op) != 0) { /* the connection has ended, and every stream with it */
        conn_free(conn);
        return;
    }
    stream = cli_alloc(server->stream_size);
    stream->stream = kith_op_take_stream(op);
    stream->conn = conn;
    stream->next = conn->first;
    if (conn->first != NULL)
        conn->first->previous = stream;
    conn->first = stream;
    kith_op_free(op);
    conn->accept = NULL;
    server->on_stream(stream);
    accept_stream(conn);
}

static void accept_stream(struct server_conn *conn)
{
    if (kith_accept_stream_start(conn->conn, true, &conn->accept) != 0) {
        conn->accept = NULL;
        conn_free(conn);
        return;
    }
    kith_op_on_done(conn->accept, on_stream, conn);
}

static void serve(struct server *server, struct kith_conn *handle)
{
    struct server_conn *conn;
    struct kith_id id = kith_conn_remote_id(handle);
    char name[KITH_ID_SHORT_SIZE];

    if (server->count >= SERVER_CONNS_MAX) {
        kith_conn_close(handle, CLOSE_CODE_BUSY, "busy", 4);
        kith_conn_free(handle);
        return;
    }
    conn = cli_alloc(sizeof *conn);
    conn->server = server;
    conn->conn = handle;
    conn->next = server->first;
    if (server->first != NULL)
        server->first->previous = conn;
    server->first = conn;
    server->count++;
    kith_id_format_short(&id, name);
    if (server->cli->json)
        output_json(json_pack("{s:s, s:s}", "event", "connected", "peer", name));
    else if (!server->cli->quiet)
        output_note("connected: %s", name);
    accept_stream(conn);
}

static void accept_next(struct server *server);

static void on_accepted(struct kith_op *op, void *user)
{
    struct server *server = user;

    server->err = kith_op_result(op);
    if (server->err == 0)
        serve(server, kith_op_take_conn(op));
    kith_op_free(op);
    server->accept = NULL;
    if (server->err == 0)
        accept_next(server);
}

static void accept_next(struct server *server)
{
    server->err = kith_accept_start(server->cli->endpoint, &server->accept);
    if (server->err == 0)
        kith_op_on_done(server->accept, on_accepted, server);
}

static int print_ticket(struct server *server)
{
    struct cli *cli = server->cli;
    char ticket[KITH_TICKET_TEXT_SIZE], id[KITH_ID_TEXT_SIZE];
    struct kith_addr addr;
    json_t *event;
    int err;

    if ((err = cli_addr(cli, &addr)) != 0)
        return err;
    if ((err = kith_ticket_format(&addr, ticket, sizeof ticket)) != 0)
        return cli_fail(cli, err, "cannot write a ticket");
    if (cli->json) {
        event = json_pack("{s:s, s:s, s:s}", "event", "listening", "id", kith_id_format(&addr.id, id), "ticket",
                          ticket);
        if (event != NULL)
            json_object_set_new(event, "command", json_sprintf("kith %s %s", server->verb, ticket));
        output_json(event);
    }
    if (!cli->quiet)
        output_note("answering until Ctrl-C; on the other side, run");
    output_note("kith %s %s", server->verb, ticket);
    return 0;
}

int server_run(struct server *server, struct kith_slice alpn)
{
    struct cli *cli = server->cli;
    int code, err = 0;

    if ((code = cli_open(cli, &alpn, 1)) != 0 || (code = print_ticket(server)) != 0)
        return code;
    accept_next(server);
    while (err == 0 && server->err == 0 && !cli->loop.is_interrupted)
        err = loop_turn(&cli->loop);
    if (err == 0)
        err = server->err;
    if (err != 0)
        code = cli_fail(cli, err, "cannot go on");
    kith_op_free(server->accept);
    while (server->first != NULL)
        conn_free(server->first);
    cli_close(cli, CLOSE_LIMIT_NS);
    return code;
}
