/* Sends a line to an echo server and prints what comes back. Usage: echo_client TICKET [TEXT] */
#include <kith/kith.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, kith_error_last()->text);
    return 1;
}

int main(int argc, char **argv)
{
    const char *text = argc > 2 ? argv[2] : "hello";
    struct kith_endpoint *endpoint;
    struct kith_conn *conn;
    struct kith_stream *stream;
    struct kith_addr addr;
    char back[1024];
    size_t size;

    if (argc < 2 || kith_addr_parse(argv[1], &addr) != 0)
        return fail("usage: echo_client TICKET [TEXT]");
    if (kith_endpoint_bind(&(struct kith_endpoint_options) { KITH_OPTIONS_INIT }, &endpoint) != 0)
        return fail("bind");
    if (kith_connect(endpoint, &addr, "example/echo/1", 10 * KITH_NS_PER_S, &conn) != 0)
        return fail("connect");
    if (kith_open_bi(conn, KITH_WAIT, &stream) != 0)
        return fail("open a stream");
    if (kith_write_all(stream, text, strlen(text), KITH_FIN, KITH_WAIT) != 0)
        return fail("write");
    if (kith_read_to_end(stream, back, sizeof back, KITH_WAIT, &size) != 0)
        return fail("read");
    printf("%.*s\n", (int)size, back);
    kith_stream_free(stream);
    kith_conn_free(conn);
    return kith_endpoint_close(endpoint, 10 * KITH_NS_PER_S) == 0 ? 0 : fail("close");
}
