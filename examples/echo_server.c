/* Echoes one stream of each connection, one connection after another. Prints its ticket. Usage: echo_server [CONNECTIONS] */
#include <kith/kith.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, kith_error_last()->text);
    return 1;
}

static void echo(struct kith_conn *conn)
{
    struct kith_stream *stream;
    char buffer[16384];
    size_t size;

    if (kith_accept_bi(conn, 10 * KITH_NS_PER_S, &stream) != 0)
        return;
    while (kith_read(stream, buffer, sizeof buffer, KITH_WAIT, &size) == 0)
        if (kith_write_all(stream, buffer, size, 0, KITH_WAIT) != 0)
            break;
    if (kith_finish(stream) == 0 && kith_sent(stream, KITH_WAIT) == 0)
        printf("echoed a stream\n");
    kith_stream_free(stream);
    kith_conn_closed(conn, KITH_WAIT); /* the client closes when it has read all */
}

int main(int argc, char **argv)
{
    const char *alpns[] = { "example/echo/1", NULL };
    struct kith_endpoint *endpoint;
    struct kith_conn *conn;
    struct kith_addr addr;
    char ticket[KITH_TICKET_TEXT_SIZE];

    if (kith_endpoint_bind(&(struct kith_endpoint_options) { KITH_OPTIONS_INIT, .alpns = alpns }, &endpoint) != 0)
        return fail("bind");
    kith_endpoint_addr(endpoint, &addr);
    if (kith_ticket_format(&addr, ticket, sizeof ticket) != 0)
        return fail("ticket");
    printf("%s\n", ticket);
    fflush(stdout);
    for (int left = argc > 1 ? atoi(argv[1]) : -1; left != 0; left--) {
        if (kith_accept(endpoint, KITH_WAIT, &conn) != 0)
            return fail("accept");
        echo(conn);
        kith_conn_free(conn);
    }
    return kith_endpoint_close(endpoint, 10 * KITH_NS_PER_S) == 0 ? 0 : fail("close");
}
