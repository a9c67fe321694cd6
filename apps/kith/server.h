/**
 * Accepts connections, and streams in them, for the commands that answer with one small protocol: ping and speed.
 * Every stream gets an object of the protocol's own, that ends itself with server_stream_end.
 */
#ifndef APPS_SERVER_H
#define APPS_SERVER_H

#include "cli.h"

enum { SERVER_CONNS_MAX = 1024 }; /* over it, connections are closed with code 1, "busy" */

struct server_conn;

/** What every stream of a server has; the protocol's object begins with it. */
struct server_stream {
    struct kith_stream *stream;
    struct server_conn *conn;
    struct server_stream *next, *previous;
    struct kith_op *op; /* what the protocol waits for; freed with the stream */
};

struct server {
    struct cli *cli;
    const char *verb;   /* "ping": how the other side's command is called */
    size_t stream_size; /* of the protocol's object */
    void (*on_stream)(struct server_stream *stream);
    void (*on_stream_freed)(struct server_stream *stream); /* NULL: nothing to do */
    struct kith_op *accept;
    struct server_conn *first;
    size_t count;
    int err;
};

/** Binds with this protocol, prints the other side's command, and serves until an interruption. Returns the exit code. */
int server_run(struct server *server, struct kith_slice alpn);
/** Frees the stream (RESET and STOP with code 0 if it is not over). The object is gone. */
void server_stream_end(struct server_stream *stream);
/** Goes on with `next` when the operation that was started into stream->op is done; ends the stream if it did not start. */
void server_stream_wait(struct server_stream *stream, int started, kith_op_callback *next);

#endif
