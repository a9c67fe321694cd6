/* The serving side: counts, sends, echoes; any number of connections and streams, in callbacks. */
#include "kith_bench.h"

struct conn {
    struct kith_conn *handle;
    unsigned streams;
    bool is_closed;
};

struct stream {
    struct conn *conn;
    struct kith_stream *handle;
    char kind; /* first letter after the slash of the ALPN: s(i)nk, s(o)urce, e(c)ho: its second letter */
    bool has_ended;
    uint64_t total;
    uint8_t *buffer;
};

static void conn_release(struct conn *conn)
{
    if (!conn->is_closed || conn->streams > 0)
        return;
    kith_conn_free(conn->handle);
    free(conn);
}

static void stream_free(struct stream *stream)
{
    struct conn *conn = stream->conn;

    kith_stream_free(stream->handle);
    free(stream->buffer);
    free(stream);
    conn->streams--;
    conn_release(conn);
}

static void read_on(struct stream *stream);

static void on_written(struct kith_op *op, void *user);

static void write_on(struct stream *stream, size_t size, int flags)
{
    struct kith_op *op;

    if (kith_write_start(stream->handle, stream->buffer, size, flags, &op) == 0)
        kith_op_on_done(op, on_written, stream);
    else
        stream_free(stream);
}

static void source_on(struct stream *stream)
{
    size_t size = stream->total < BLOCK ? (size_t)stream->total : BLOCK;

    stream->total -= size;
    stream->has_ended = stream->total == 0;
    write_on(stream, size, stream->has_ended ? KITH_FIN : 0);
}

static void on_written(struct kith_op *op, void *user)
{
    struct stream *stream = user;
    int err = kith_op_result(op);

    kith_op_free(op);
    if (err != 0 || stream->has_ended)
        stream_free(stream);
    else if (stream->kind == 'o')
        source_on(stream);
    else
        read_on(stream);
}

static void on_end(struct stream *stream)
{
    stream->has_ended = true;
    if (stream->kind != 'i') {
        write_on(stream, 0, KITH_FIN);
        return;
    }
    for (int i = 0; i < 8; i++)
        stream->buffer[i] = (uint8_t)(stream->total >> (56 - 8 * i));
    write_on(stream, 8, KITH_FIN);
}

static void on_read(struct kith_op *op, void *user)
{
    struct stream *stream = user;
    int err = kith_op_result(op);
    size_t size = kith_op_size(op);

    kith_op_free(op);
    if (err == KITH_ERR_END) {
        on_end(stream);
    } else if (err != 0) {
        stream_free(stream);
    } else if (stream->kind == 'i') {
        stream->total += size;
        read_on(stream);
    } else if (stream->kind == 'o') {
        for (int i = 0; i < 8; i++)
            stream->total = stream->total << 8 | stream->buffer[i];
        source_on(stream);
    } else {
        write_on(stream, size, 0);
    }
}

static void read_on(struct stream *stream)
{
    struct kith_op *op;

    if (kith_read_start(stream->handle, stream->buffer, BLOCK, &op) == 0)
        kith_op_on_done(op, on_read, stream);
    else
        stream_free(stream);
}

static void on_stream(struct kith_op *op, void *user)
{
    struct conn *conn = user;
    struct kith_stream *handle = kith_op_take_stream(op);
    struct stream *stream;
    struct kith_op *next;

    kith_op_free(op);
    if (handle == NULL || kith_accept_stream_start(conn->handle, true, &next) != 0) {
        kith_stream_free(handle);
        conn->is_closed = true;
        conn_release(conn);
        return;
    }
    kith_op_on_done(next, on_stream, conn);
    if ((stream = calloc(1, sizeof *stream)) == NULL || (stream->buffer = malloc(BLOCK)) == NULL)
        exit(1);
    stream->conn = conn;
    stream->handle = handle;
    stream->kind = (char)kith_conn_alpn(conn->handle).ptr[strlen("kith-bench/") + 1];
    memset(stream->buffer, 7, BLOCK);
    conn->streams++;
    read_on(stream);
}

static void on_accepted(struct kith_op *op, void *user)
{
    struct kith_endpoint *endpoint = user;
    struct kith_conn *handle = kith_op_take_conn(op);
    struct kith_op *next;

    kith_op_free(op);
    if (handle != NULL) {
        struct conn *conn = calloc(1, sizeof *conn);

        if (conn == NULL)
            exit(1);
        conn->handle = handle;
        if (kith_accept_stream_start(handle, true, &next) == 0)
            kith_op_on_done(next, on_stream, conn);
    }
    if (kith_accept_start(endpoint, &next) == 0)
        kith_op_on_done(next, on_accepted, endpoint);
}

int bench_serve(void)
{
    static const char *const alpns[] = { SINK, SOURCE, ECHO, NULL };
    struct kith_context *context;
    struct kith_endpoint *endpoint = bench_bind(alpns, &context);
    struct kith_op *accepting;
    struct kith_addr addr;
    char ticket[KITH_TICKET_TEXT_SIZE];

    kith_endpoint_addr(endpoint, &addr);
    MUST(kith_ticket_format(&addr, ticket, sizeof ticket));
    printf("READY %s\n", ticket);
    MUST(kith_accept_start(endpoint, &accepting));
    kith_op_on_done(accepting, on_accepted, endpoint);
    while (bench_turn(context, true))
        continue;
    return 0;
}
