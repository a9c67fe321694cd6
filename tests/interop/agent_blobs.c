/* Blobs: serving, getting, and a liar between an honest provider and a getter. */
#include "agent.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { REQUEST_SIZE_MAX = 1 << 20, BLOCK_SIZE = 1 << 18 };
/* A provider that was killed says nothing: how long until it counts as dead. */
static const uint64_t DEAD_AFTER = 4 * KITH_NS_PER_S;

static struct kith_context *caller_context(void)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER };
    struct kith_context *context;

    MUST(kith_context_new(&options, &context));
    return context;
}

static void print_ready(struct kith_endpoint *endpoint, const struct kith_hash *hash, uint8_t format)
{
    struct kith_blob_ticket ticket = { .hash = *hash, .format = format };
    char text[KITH_TICKET_TEXT_SIZE];

    kith_endpoint_addr(endpoint, &ticket.addr);
    MUST(kith_blob_ticket_format(&ticket, text, sizeof text));
    printf("READY %s\n", text);
}

/* ---- Serving ---- */

struct provider {
    struct kith_endpoint *endpoint;
    struct kith_blobs *blobs;
};

static void accept_next(struct provider *provider);

static void on_accepted(struct kith_op *op, void *user)
{
    struct provider *provider = user;
    struct kith_conn *conn = kith_op_take_conn(op);

    kith_op_free(op);
    if (conn != NULL)
        MUST(kith_blobs_serve(provider->blobs, conn));
    accept_next(provider);
}

static void accept_next(struct provider *provider)
{
    struct kith_op *op;

    MUST(kith_accept_start(provider->endpoint, &op));
    kith_op_on_done(op, on_accepted, provider);
}

int agent_blobs_serve(int argc, char **argv)
{
    static const char *const alpns[] = { KITH_BLOBS_ALPN, NULL };
    struct kith_blobs_options options = { KITH_BLOBS_OPTIONS_INIT };
    struct kith_context *context = caller_context();
    struct provider provider = { .endpoint = agent_bind(context, NULL, alpns, NULL) };

    MUST(kith_blobs_new(provider.endpoint, &options, &provider.blobs));
    for (int i = 0; i < argc; i++) {
        struct kith_blobs_added added;
        struct kith_op *op;

        MUST(kith_blobs_add_start(provider.blobs, argv[i], 0, &op));
        MUST(kith_op_wait(op, KITH_WAIT));
        MUST(kith_blobs_added(op, &added));
        kith_op_free(op);
        print_ready(provider.endpoint, &added.hash, added.format);
    }
    accept_next(&provider);
    agent_run_until_stdin_ends(context);
    kith_blobs_free(provider.blobs);
    kith_endpoint_close(provider.endpoint, KITH_NS_PER_S);
    kith_context_free(context);
    return 0;
}

/* ---- Getting ---- */

static void print_result(const struct kith_op *op)
{
    struct kith_blobs_progress progress;
    int err = kith_op_result(op);

    MUST(kith_blobs_progress(op, &progress));
    printf("%s {\"error\":\"%s\",\"bytes\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"wire\":%" PRIu64 ",\"files\":%" PRIu64
           "}\n",
           err == 0 ? "DONE" : "FAILED", err == 0 ? "" : kith_err_name(err), progress.bytes_done,
           progress.bytes_resumed, progress.bytes_wire, progress.files_total);
    if (err != 0)
        printf("TEXT %s\n", kith_op_error(op)->text);
}

/*
 * Runs the loop until the operation is done. With `stop_at`, this process stops itself as soon as so many bytes are there:
 * who watches it can then change the world in the middle of the transfer, and lets it go on.
 */
static void run_get(struct kith_context *context, struct kith_op *op, uint64_t stop_at)
{
    while (kith_op_result(op) == KITH_ERR_AGAIN) {
        struct pollfd fd = { kith_context_fd(context), POLLIN, 0 };
        struct kith_blobs_progress progress;

        poll(&fd, 1, agent_poll_timeout(context));
        CHECK(kith_context_process(context) >= 0);
        MUST(kith_blobs_progress(op, &progress));
        if (stop_at != 0 && progress.bytes_done >= stop_at) {
            stop_at = 0;
            raise(SIGSTOP);
        }
    }
}

int agent_blobs_get(int argc, char **argv)
{
    struct kith_blobs_get_options options = { KITH_BLOBS_GET_OPTIONS_INIT, .replace = true };
    struct kith_quic_transport transport;
    struct kith_context *context = caller_context();
    struct kith_endpoint *endpoint;
    struct kith_blob_ticket ticket;
    struct kith_conn *conn;
    struct kith_op *op;
    uint64_t stop_at = 0;
    int err;

    if (argc >= 2 && strcmp(argv[0], "--stop-at") == 0) {
        stop_at = strtoull(argv[1], NULL, 10);
        argc -= 2;
        argv += 2;
    }
    CHECK(argc >= 2);
    MUST(kith_blob_ticket_parse(argv[0], &ticket));
    options.hash = ticket.hash;
    options.format = ticket.format;
    options.target = argv[1];
    if (argc > 2)
        CHECK(sscanf(argv[2], "%" SCNu64 "..%" SCNu64, &options.chunk_first, &options.chunk_end) == 2);
    kith_quic_transport_defaults(&transport);
    transport.idle_timeout_ns = DEAD_AFTER;
    transport.keep_alive_ns = DEAD_AFTER / 4;
    endpoint = agent_bind(context, NULL, NULL, &transport);
    MUST(kith_connect(endpoint, &ticket.addr, KITH_BLOBS_ALPN, LIMIT, &conn));
    MUST(kith_blobs_get_start(conn, &options, &op));
    run_get(context, op, stop_at);
    err = kith_op_result(op);
    print_result(op);
    kith_op_free(op);
    kith_conn_free(conn);
    kith_endpoint_close(endpoint, KITH_NS_PER_S);
    kith_context_free(context);
    return err == 0 ? 0 : 1;
}

/* ---- Lying ---- */

struct liar {
    struct kith_endpoint *endpoint;
    struct kith_blob_ticket honest;
    uint64_t lie_at; /* this byte of each answer is inverted */
};

/* Passes one request on to the honest provider, and its answer back with one byte changed. */
static int lie_once(const struct liar *liar, struct kith_stream *asked, struct kith_stream *told)
{
    uint8_t *block = malloc(REQUEST_SIZE_MAX);
    uint64_t at = 0;
    size_t size;
    int err;

    CHECK(block != NULL);
    if ((err = kith_read_to_end(asked, block, REQUEST_SIZE_MAX, LIMIT, &size)) == 0)
        err = kith_write_all(told, block, size, KITH_FIN, LIMIT);
    while (err == 0 && (err = kith_read(told, block, BLOCK_SIZE, LIMIT, &size)) == 0) {
        if (liar->lie_at >= at && liar->lie_at < at + size)
            block[liar->lie_at - at] ^= 0xff;
        at += size;
        err = kith_write_all(asked, block, size, 0, LIMIT);
    }
    free(block);
    if (err == KITH_ERR_END && (err = kith_finish(asked)) == 0)
        err = kith_sent(asked, LIMIT);
    return err;
}

static void lie_on(const struct liar *liar, struct kith_conn *conn)
{
    struct kith_conn *honest;
    struct kith_stream *asked, *told;
    int err;

    MUST(kith_connect(liar->endpoint, &liar->honest.addr, KITH_BLOBS_ALPN, LIMIT, &honest));
    while (kith_accept_bi(conn, LIMIT, &asked) == 0) {
        MUST(kith_open_bi(honest, LIMIT, &told));
        if ((err = lie_once(liar, asked, told)) != 0)
            printf("CAUGHT %s\n", kith_err_name(err));
        kith_stream_free(told);
        kith_stream_free(asked);
    }
    kith_conn_free(honest);
}

static void *exit_when_stdin_ends(void *unused)
{
    char scratch[64];

    while (read(0, scratch, sizeof scratch) > 0)
        ;
    _exit(0);
    return unused;
}

int agent_blobs_lie(int argc, char **argv)
{
    static const char *const alpns[] = { KITH_BLOBS_ALPN, NULL };
    struct liar liar = { .lie_at = strtoull(argv[1], NULL, 10) };
    struct kith_conn *conn;
    pthread_t watcher;

    CHECK(argc == 2);
    MUST(kith_blob_ticket_parse(argv[0], &liar.honest));
    liar.endpoint = agent_bind(NULL, NULL, alpns, NULL);
    print_ready(liar.endpoint, &liar.honest.hash, liar.honest.format);
    CHECK(pthread_create(&watcher, NULL, exit_when_stdin_ends, NULL) == 0);
    for (;;) {
        MUST(kith_accept(liar.endpoint, KITH_WAIT, &conn));
        lie_on(&liar, conn);
        kith_conn_free(conn);
    }
}

/* ---- Tickets ---- */

int agent_ticket(const char *given)
{
    struct kith_blob_ticket blob;
    struct kith_addr addr;
    char text[KITH_TICKET_TEXT_SIZE];

    if (strncmp(given, "blob", 4) == 0) {
        MUST(kith_blob_ticket_parse(given, &blob));
        MUST(kith_blob_ticket_format(&blob, text, sizeof text));
    } else {
        MUST(kith_addr_parse(given, &addr));
        MUST(kith_ticket_format(&addr, text, sizeof text));
    }
    puts(text);
    return 0;
}
