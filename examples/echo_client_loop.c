/* The echo client inside a poll loop of one's own: no thread of the library, callbacks instead of blocking calls. */
#include <kith/kith.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

struct client {
    const char *text;
    char back[1024];
    struct kith_conn *conn;
    struct kith_stream *stream;
    int status; /* -1 while it runs */
};

static void give_up(struct client *client, struct kith_op *op)
{
    fprintf(stderr, "echo_client_loop: %s\n", kith_op_error(op)->text);
    client->status = 1;
}

static void on_read(struct kith_op *op, void *user)
{
    struct client *client = user;

    if (kith_op_result(op) == 0) {
        printf("%.*s\n", (int)kith_op_size(op), client->back);
        client->status = 0;
    } else {
        give_up(client, op);
    }
    kith_op_free(op);
}

static void on_written(struct kith_op *op, void *user)
{
    struct client *client = user;
    struct kith_op *reading;

    if (kith_op_result(op) != 0)
        give_up(client, op);
    else if (kith_read_start(client->stream, client->back, sizeof client->back, &reading) == 0)
        kith_op_on_done(reading, on_read, client);
    kith_op_free(op);
}

static void on_connected(struct kith_op *op, void *user)
{
    struct client *client = user;
    struct kith_op *writing;

    client->conn = kith_op_take_conn(op);
    if (client->conn == NULL)
        give_up(client, op);
    else if (kith_open_bi(client->conn, 0, &client->stream) == 0 &&
             kith_write_start(client->stream, client->text, strlen(client->text), KITH_FIN, &writing) == 0)
        kith_op_on_done(writing, on_written, client);
    kith_op_free(op);
}

int main(int argc, char **argv)
{
    struct kith_slice alpn = { (const uint8_t *)"example/echo/1", 14 };
    struct kith_context_options in_my_loop = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT };
    struct kith_connect_options how = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1 };
    struct client client = { .text = argc > 2 ? argv[2] : "hello", .status = -1 };
    struct kith_endpoint *endpoint;
    struct kith_addr addr;
    struct kith_op *connecting;

    if (argc < 2 || kith_addr_parse(argv[1], &addr) != 0 || kith_context_new(&in_my_loop, &options.context) != 0 ||
        kith_endpoint_bind(&options, &endpoint) != 0 || kith_connect_start(endpoint, &addr, &how, &connecting) != 0) {
        fprintf(stderr, "echo_client_loop TICKET [TEXT]: %s\n", kith_error_last()->text);
        return 1;
    }
    kith_op_set_limit(connecting, 10 * KITH_NS_PER_S);
    kith_op_on_done(connecting, on_connected, &client);
    while (client.status < 0) {
        struct pollfd fd = { kith_context_fd(options.context), POLLIN, 0 };
        uint64_t timeout = kith_context_timeout(options.context);

        poll(&fd, 1, timeout == KITH_NEVER ? -1 : (int)((timeout + 999999) / 1000000));
        kith_context_process(options.context);
    }
    kith_stream_free(client.stream);
    kith_conn_free(client.conn);
    kith_endpoint_close(endpoint, 10 * KITH_NS_PER_S);
    kith_context_free(options.context);
    return client.status;
}
