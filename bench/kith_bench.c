/* Measures kith; the same cases as the real peer's `bench-dial` (tests/interop/rust/src/bench.rs). Prints one JSON object. */
#define _GNU_SOURCE 1 /* ppoll */
#include "kith_bench.h"

#include <inttypes.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

struct kith_endpoint *bench_bind(const char *const *alpns, struct kith_context **context)
{
    struct kith_context_options in_caller = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER };
    struct kith_sockaddr local;
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .alpns = alpns, .binds = &local, .bind_count = 1 };
    struct kith_endpoint *endpoint;

    MUST(kith_sockaddr_parse("127.0.0.1:0", &local));
    MUST(kith_context_new(&in_caller, context));
    options.context = *context;
    MUST(kith_endpoint_bind(&options, &endpoint));
    return endpoint;
}

bool bench_turn(struct kith_context *context, bool stdin_too)
{
    struct pollfd fds[2] = { { kith_context_fd(context), POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };
    uint64_t timeout = kith_context_timeout(context);
    struct timespec limit = { (time_t)(timeout / KITH_NS_PER_S), (long)(timeout % KITH_NS_PER_S) };
    char scratch[64];

    ppoll(fds, stdin_too ? 2 : 1, timeout == KITH_NEVER ? NULL : &limit, NULL);
    if (fds[1].revents != 0 && read(STDIN_FILENO, scratch, sizeof scratch) <= 0)
        return false;
    kith_context_process(context);
    return true;
}

struct bench {
    struct kith_context *context;
    struct kith_endpoint *endpoint;
    struct kith_addr addr;
    int argc;
    char **argv;
};

static uint64_t argument(const struct bench *bench, int index, uint64_t otherwise)
{
    return index < bench->argc ? strtoull(bench->argv[index], NULL, 10) : otherwise;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct kith_conn *dial(struct bench *bench, const char *alpn)
{
    struct kith_conn *conn;

    MUST(kith_connect(bench->endpoint, &bench->addr, alpn, KITH_WAIT, &conn));
    return conn;
}

static void print_rate(uint64_t bytes, uint64_t started)
{
    printf("{\"bytes_per_second\":%.0f}\n", (double)bytes * 1e9 / (double)(now_ns() - started));
}

/* One of several streams that move data at once, in callbacks. */
struct mover {
    struct kith_stream *stream;
    uint8_t *buffer;
    uint64_t left, got;
    unsigned *running;
};

static void mover_read(struct mover *mover);

static void on_moved(struct kith_op *op, void *user)
{
    struct mover *mover = user;
    size_t size = kith_op_size(op), part;
    int err = kith_op_result(op);
    struct kith_op *next;

    kith_op_free(op);
    if (err != 0) {
        fprintf(stderr, "a write failed\n");
        exit(1);
    }
    mover->left -= size;
    part = mover->left < BLOCK ? (size_t)mover->left : BLOCK;
    if (part == 0) {
        mover_read(mover);
        return;
    }
    MUST(kith_write_start(mover->stream, mover->buffer, part, part == mover->left ? KITH_FIN : 0, &next));
    kith_op_on_done(next, on_moved, mover);
}

static void on_read(struct kith_op *op, void *user)
{
    struct mover *mover = user;
    int err = kith_op_result(op);

    mover->got += kith_op_size(op);
    kith_op_free(op);
    if (err == 0)
        mover_read(mover);
    else if (err == KITH_ERR_END)
        --*mover->running;
    else
        exit(1);
}

static void mover_read(struct mover *mover)
{
    struct kith_op *op;

    MUST(kith_read_start(mover->stream, mover->buffer, BLOCK, &op));
    kith_op_on_done(op, on_read, mover);
}

/* A client that offers no second path gets a connection without multipath: what that costs by itself shows beside it. */
static struct kith_conn *dial_without_multipath(struct bench *bench, const char *alpn)
{
    struct kith_quic_transport transport;
    struct kith_slice name = { (const uint8_t *)alpn, strlen(alpn) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &name, .alpn_count = 1,
                                            .transport = &transport };
    struct kith_conn *conn;
    struct kith_op *op;

    kith_quic_transport_defaults(&transport);
    transport.paths_max = 0;
    MUST(kith_connect_start(bench->endpoint, &bench->addr, &options, &op));
    MUST(kith_op_wait(op, KITH_WAIT));
    conn = kith_op_take_conn(op);
    kith_op_free(op);
    if (conn == NULL)
        exit(1);
    return conn;
}

/* `size` bytes over `count` streams at once; up: we send, else the server sends. */
static void move(struct bench *bench, bool up, bool has_multipath)
{
    uint64_t size = argument(bench, 0, 1 << 30), count = argument(bench, 1, 1), started;
    struct kith_conn *conn = (has_multipath ? dial : dial_without_multipath)(bench, up ? SINK : SOURCE);
    struct mover *movers = calloc(count, sizeof *movers);
    unsigned running = (unsigned)count;

    if (movers == NULL)
        exit(1);
    started = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        struct kith_op *op;
        uint64_t each = size / count;

        movers[i] = (struct mover) { .buffer = malloc(BLOCK), .left = up ? each : 8, .running = &running };
        memset(movers[i].buffer, 7, BLOCK);
        for (int j = 0; !up && j < 8; j++)
            movers[i].buffer[j] = (uint8_t)(each >> (56 - 8 * j));
        MUST(kith_open_bi(conn, KITH_WAIT, &movers[i].stream));
        MUST(kith_write_start(movers[i].stream, movers[i].buffer, up ? BLOCK : 8, up ? 0 : KITH_FIN, &op));
        kith_op_on_done(op, on_moved, &movers[i]);
    }
    while (running > 0)
        bench_turn(bench->context, false);
    print_rate(size, started);
    for (uint64_t i = 0; i < count; i++) {
        kith_stream_free(movers[i].stream);
        free(movers[i].buffer);
    }
    free(movers);
    kith_conn_free(conn);
}

/* ---- Connects ---- */

struct connector {
    struct bench *bench;
    struct kith_conn *conn;
    struct kith_stream *stream;
    uint64_t left;
    unsigned *running;
    uint8_t byte;
};

static void connector_next(struct connector *connector);

static void on_echoed(struct kith_op *op, void *user)
{
    struct connector *connector = user;

    if (kith_op_result(op) != 0)
        exit(1);
    kith_op_free(op);
    kith_stream_free(connector->stream);
    kith_conn_close(connector->conn, 0, NULL, 0);
    kith_conn_free(connector->conn);
    connector_next(connector);
}

static void on_connected(struct kith_op *op, void *user)
{
    struct connector *connector = user;
    struct kith_op *reading;

    connector->conn = kith_op_take_conn(op);
    if (connector->conn == NULL) {
        fprintf(stderr, "connect: %s\n", kith_op_error(op)->text);
        exit(1);
    }
    kith_op_free(op);
    MUST(kith_open_bi(connector->conn, 0, &connector->stream));
    MUST(kith_write_all(connector->stream, "x", 1, KITH_FIN, 0));
    MUST(kith_read_start(connector->stream, &connector->byte, 1, &reading));
    kith_op_on_done(reading, on_echoed, connector);
}

static void connector_next(struct connector *connector)
{
    struct kith_slice alpn = { (const uint8_t *)ECHO, strlen(ECHO) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1,
                                            .no_session = true };
    struct kith_op *op;

    if (connector->left == 0) {
        --*connector->running;
        return;
    }
    connector->left--;
    MUST(kith_connect_start(connector->bench->endpoint, &connector->bench->addr, &options, &op));
    kith_op_on_done(op, on_connected, connector);
}

static void connects(struct bench *bench)
{
    uint64_t count = argument(bench, 0, 500), parallel = argument(bench, 1, 1), started = now_ns();
    struct connector *connectors = calloc(parallel, sizeof *connectors);
    unsigned running = (unsigned)parallel;

    if (connectors == NULL)
        exit(1);
    for (uint64_t i = 0; i < parallel; i++) {
        connectors[i] = (struct connector) { .bench = bench, .left = count / parallel, .running = &running };
        connector_next(&connectors[i]);
    }
    while (running > 0)
        bench_turn(bench->context, false);
    printf("{\"connects_per_second\":%.1f}\n",
           (double)(count / parallel * parallel) * 1e9 / (double)(now_ns() - started));
    free(connectors);
}

/* ---- Latency, memory, hashing ---- */

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void latency(struct bench *bench)
{
    uint64_t rounds = argument(bench, 0, 5000), *times = calloc(rounds, sizeof *times);
    struct kith_conn *conn = dial(bench, ECHO);
    struct kith_stream *stream;
    uint8_t bytes[32] = { 1 };

    if (times == NULL)
        exit(1);
    MUST(kith_open_bi(conn, KITH_WAIT, &stream));
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t started = now_ns();

        MUST(kith_write_all(stream, bytes, sizeof bytes, 0, KITH_WAIT));
        MUST(kith_read_exact(stream, bytes, sizeof bytes, KITH_WAIT));
        times[i] = now_ns() - started;
    }
    qsort(times, rounds, sizeof *times, compare);
    printf("{\"p50_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64 "}\n", times[rounds / 2], times[rounds * 99 / 100]);
    free(times);
    kith_stream_free(stream);
    kith_conn_free(conn);
}

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total, resident = 0;

    if (file == NULL || fscanf(file, "%lu %lu", &total, &resident) != 2)
        resident = 0;
    if (file != NULL)
        fclose(file);
    return (uint64_t)resident * 4096;
}

/* Opens connections, says how much the process grew, holds them until standard input ends. */
static void idle(struct bench *bench)
{
    uint64_t count = argument(bench, 0, 2000), before = resident_bytes();
    struct kith_quic_conn_stats stats;
    struct kith_conn *conn = NULL;
    char scratch[16];

    for (uint64_t i = 0; i < count; i++)
        conn = dial(bench, ECHO);
    /* What only the handshake needed goes when it is confirmed, a moment after the last connect. */
    kith_conn_closed(conn, 300 * KITH_NS_PER_MS);
    kith_conn_stats(conn, &stats);
    printf("{\"bytes_per_connection\":%" PRIu64 ",\"own_bytes\":%zu}\n", (resident_bytes() - before) / count,
           stats.memory_size);
    fflush(stdout);
    while (read(0, scratch, sizeof scratch) > 0)
        continue;
    exit(0);
}

static void blake3_rate(struct bench *bench)
{
    uint64_t size = argument(bench, 0, 1 << 30), started = now_ns();
    uint8_t *block = malloc(1 << 20);
    struct kith_hash hash;

    if (block == NULL)
        exit(1);
    memset(block, 7, 1 << 20);
    for (uint64_t i = 0; i < size >> 20; i++) {
        hash = kith_hash_bytes(block, 1 << 20);
        block[0] ^= hash.bytes[0];
    }
    print_rate(size, started);
    free(block);
}

int main(int argc, char **argv)
{
    struct bench bench = { .argc = argc - 4, .argv = argv + 4 };
    const char *name = argc >= 4 ? argv[3] : "";

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && strcmp(argv[1], "bench-serve") == 0)
        return bench_serve();
    if (argc < 4 || strcmp(argv[1], "bench-dial") != 0) {
        fprintf(stderr, "usage: kith-bench bench-serve | bench-dial TICKET "
                        "up|up-single|down|connects|latency|idle|blake3 [NUMBER...]\n");
        return 2;
    }
    MUST(kith_addr_parse(argv[2], &bench.addr));
    bench.endpoint = bench_bind(NULL, &bench.context);
    if (strcmp(name, "up") == 0 || strcmp(name, "down") == 0)
        move(&bench, name[0] == 'u', true);
    else if (strcmp(name, "up-single") == 0)
        move(&bench, true, false);
    else if (strcmp(name, "connects") == 0)
        connects(&bench);
    else if (strcmp(name, "latency") == 0)
        latency(&bench);
    else if (strcmp(name, "idle") == 0)
        idle(&bench);
    else if (strcmp(name, "blake3") == 0)
        blake3_rate(&bench);
    kith_endpoint_close(bench.endpoint, KITH_NS_PER_S);
    kith_context_free(bench.context);
    return 0;
}
