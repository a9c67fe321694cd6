/* kith ping: is the other side there, and how far away? */
#include "commands.h"

#include "server.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PING_ALPN    "iroh/ping/0"
#define PING_REQUEST "PING"
#define PING_ANSWER  "PONG"
enum { PING_SIZE = 4 };

static const uint64_t INTERVAL_NS = KITH_NS_PER_S;
static const uint64_t WAIT_NS = 5 * KITH_NS_PER_S;       /* for one answer */
static const uint64_t REUSE_WAIT_NS = KITH_NS_PER_S / 2; /* at least, for the second answer on one connection */
static const uint64_t CLOSE_LIMIT_NS = KITH_NS_PER_S;

/* ---- Answering ---- */

struct answer {
    struct server_stream base;
    uint8_t bytes[PING_SIZE + 1]; /* one more, so that a longer request is seen */
    size_t size;
};

static void on_answered(struct kith_op *op, void *user)
{
    (void)op;
    server_stream_end(user);
}

static void on_request(struct kith_op *op, void *user)
{
    struct answer *answer = user;
    int err = kith_op_result(op);

    answer->size += err == 0 ? kith_op_size(op) : 0;
    kith_op_free(op);
    answer->base.op = NULL;
    if (err == 0 && answer->size <= PING_SIZE) {
        server_stream_wait(&answer->base,
                           kith_read_start(answer->base.stream, answer->bytes + answer->size,
                                           sizeof answer->bytes - answer->size, &answer->base.op),
                           on_request);
        return;
    }
    if (err != KITH_ERR_END || answer->size != PING_SIZE || memcmp(answer->bytes, PING_REQUEST, PING_SIZE) != 0 ||
        kith_write_all(answer->base.stream, PING_ANSWER, PING_SIZE, KITH_FIN, 0) != 0) {
        server_stream_end(&answer->base);
        return;
    }
    server_stream_wait(&answer->base, kith_sent_start(answer->base.stream, &answer->base.op), on_answered);
}

static void on_stream(struct server_stream *stream)
{
    struct answer *answer = (struct answer *)stream;

    server_stream_wait(stream, kith_read_start(stream->stream, answer->bytes, sizeof answer->bytes, &stream->op),
                       on_request);
}

/* ---- Asking ---- */

struct pinger {
    struct cli *cli;
    struct cli_remote remote;
    struct cli_addrs addrs;
    uint64_t count, interval_ns, wait_ns;
    bool listens;
    struct kith_conn *conn;
    bool is_reused, one_each; /* one_each: the other side answers one ping for each connection */
    uint64_t sent, received;
    double min, max, sum, sum_of_squares; /* ms */
};

static void drop_conn(struct pinger *pinger)
{
    if (pinger->conn == NULL)
        return;
    kith_conn_close(pinger->conn, 0, "bye!", 4);
    kith_conn_free(pinger->conn);
    pinger->conn = NULL;
}

/* Waits, frees the operation, gives what it read or made. */
static int finish(struct pinger *pinger, struct kith_op *op, uint64_t limit_ns, size_t *size,
                  struct kith_stream **stream)
{
    int err;

    kith_op_set_limit(op, limit_ns);
    err = loop_wait(&pinger->cli->loop, op);
    if (size != NULL)
        *size = kith_op_size(op);
    if (stream != NULL)
        *stream = kith_op_take_stream(op);
    kith_op_free(op);
    return err;
}

/* Writes the request and reads the answer on a stream. *time_ns: from the one to the other. */
static int exchange(struct pinger *pinger, struct kith_stream *stream, uint64_t limit_ns, uint64_t *time_ns)
{
    uint8_t answer[PING_SIZE + 1];
    size_t size = 0, got = 0;
    uint64_t start = loop_now();
    struct kith_op *op;
    int err;

    if ((err = kith_write_start(stream, PING_REQUEST, PING_SIZE, KITH_FIN, &op)) != 0 ||
        (err = finish(pinger, op, limit_ns, NULL, NULL)) != 0)
        return err;
    while (size < sizeof answer) {
        if ((err = kith_read_start(stream, answer + size, sizeof answer - size, &op)) != 0)
            return err;
        if ((err = finish(pinger, op, limit_ns, &got, NULL)) != 0)
            break;
        size += got;
        *time_ns = loop_now() - start; /* before the end of the stream, which may come later */
    }
    if (err != 0 && err != KITH_ERR_END)
        return err;
    return size == PING_SIZE && memcmp(answer, PING_ANSWER, PING_SIZE) == 0 ? 0 : KITH_ERR_PARSE;
}

static int ping_once(struct pinger *pinger, uint64_t limit_ns, uint64_t *time_ns)
{
    struct kith_stream *stream = NULL;
    struct kith_op *op;
    int err;

    if ((err = kith_open_start(pinger->conn, true, &op)) != 0 ||
        (err = finish(pinger, op, limit_ns, NULL, &stream)) != 0)
        return err;
    err = exchange(pinger, stream, limit_ns, time_ns);
    kith_stream_free(stream);
    return err;
}

/*
 * One ping with its statistics. The reference answers one for each connection and then waits for the close; so the second
 * ping on a connection gets a short time, and its silence means that this is such a peer.
 */
static int ping(struct pinger *pinger, uint64_t *time_ns)
{
    uint64_t limit = pinger->wait_ns, rtt;
    int err;

    if (pinger->one_each)
        drop_conn(pinger);
    if (pinger->conn != NULL) {
        rtt = kith_conn_rtt(pinger->conn);
        limit = !pinger->is_reused && 4 * rtt < REUSE_WAIT_NS ? REUSE_WAIT_NS : limit;
        err = ping_once(pinger, limit < pinger->wait_ns ? limit : pinger->wait_ns, time_ns);
        if (err == 0)
            pinger->is_reused = true;
        if (err == 0 || err == KITH_ERR_CANCELLED || pinger->is_reused)
            return err;
        pinger->one_each = true;
        drop_conn(pinger);
    }
    if ((err = cli_connect(pinger->cli, &pinger->remote, cli_slice(PING_ALPN), &pinger->conn)) != 0)
        return KITH_ERR_UNREACHABLE; /* it was told */
    return ping_once(pinger, pinger->wait_ns, time_ns);
}

static void print_answer(struct pinger *pinger, uint64_t number, uint64_t time_ns)
{
    struct kith_quic_path_info path = { 0 };
    double ms = (double)time_ns / 1e6;
    char via[CLI_VIA_SIZE] = "nowhere";

    if (pinger->conn != NULL && kith_conn_path_in_use(pinger->conn, &path) == 0)
        cli_via(pinger->conn, &path.remote, via);
    pinger->received++;
    pinger->min = pinger->received == 1 || ms < pinger->min ? ms : pinger->min;
    pinger->max = ms > pinger->max ? ms : pinger->max;
    pinger->sum += ms;
    pinger->sum_of_squares += ms * ms;
    if (pinger->cli->json)
        output_json(json_pack("{s:s, s:s, s:I, s:f, s:s}", "event", "pong", "peer", pinger->remote.name, "seq",
                              (json_int_t)number, "time_ms", ms, "via", via));
    else if (!pinger->cli->quiet)
        printf("pong from %s via %s: seq=%llu time=%.3f ms\n", pinger->remote.name, via, (unsigned long long)number,
               ms);
    fflush(stdout);
}

static void print_statistics(const struct pinger *pinger)
{
    double count = (double)(pinger->received > 0 ? pinger->received : 1);
    double average = pinger->sum / count, variance = pinger->sum_of_squares / count - average * average;
    double loss = pinger->sent > 0 ? (double)(pinger->sent - pinger->received) * 100 / (double)pinger->sent : 0;
    double deviation = variance > 0 ? sqrt(variance) : 0;

    if (pinger->cli->json) {
        output_json(json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "event", "statistics", "peer",
                              pinger->remote.name, "sent", (json_int_t)pinger->sent, "received",
                              (json_int_t)pinger->received, "loss_percent", loss, "min_ms", pinger->min, "avg_ms",
                              average, "max_ms", pinger->max, "mdev_ms", deviation));
        return;
    }
    printf("--- %s ping statistics ---\n%llu sent, %llu received, %.0f%% lost\n", pinger->remote.name,
           (unsigned long long)pinger->sent, (unsigned long long)pinger->received, loss);
    if (pinger->received > 0)
        printf("round trip min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", pinger->min, average, pinger->max, deviation);
}

static void on_interval(void *user)
{
    *(bool *)user = true;
}

static void pause_until_next(struct pinger *pinger, uint64_t started_ns)
{
    uint64_t spent = loop_now() - started_ns;
    bool is_due = false;
    struct loop_timer timer = { .on_due = on_interval, .user = &is_due };

    if (spent >= pinger->interval_ns)
        return;
    loop_timer_set(&pinger->cli->loop, &timer, pinger->interval_ns - spent);
    (void)loop_run(&pinger->cli->loop, &is_due); /* an interruption shows in the loop */
    loop_timer_stop(&timer);
}

static int ask(struct pinger *pinger)
{
    struct cli *cli = pinger->cli;
    int code, err;

    if ((code = cli_open(cli, NULL, 0)) != 0)
        return code;
    for (uint64_t number = 1; (pinger->count == 0 || number <= pinger->count) && !cli->loop.is_interrupted; number++) {
        uint64_t started = loop_now(), time_ns = 0;

        err = ping(pinger, &time_ns);
        if (err == KITH_ERR_CANCELLED || (err != 0 && cli->loop.is_interrupted))
            break;
        pinger->sent++;
        if (err == 0) {
            print_answer(pinger, number, time_ns);
        } else {
            if (err != KITH_ERR_UNREACHABLE)
                output_note("no answer from %s: seq=%llu: %s", pinger->remote.name, (unsigned long long)number,
                            kith_strerror(err));
            drop_conn(pinger);
        }
        if (number != pinger->count)
            pause_until_next(pinger, started);
    }
    if (cli->verbose > 0 && pinger->conn != NULL)
        cli_note_paths(pinger->conn);
    print_statistics(pinger);
    drop_conn(pinger);
    cli_close(cli, CLOSE_LIMIT_NS);
    return pinger->received > 0 ? CLI_EXIT_OK : CLI_EXIT_UNREACHABLE;
}

static const char *take_count(void *target, const char *text)
{
    char *end;
    unsigned long long count = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != 0 || count == 0 || count == ULLONG_MAX)
        return "a whole number from 1 on is expected";
    *(uint64_t *)target = count;
    return NULL;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct pinger pinger = { .cli = cli, .interval_ns = INTERVAL_NS, .wait_ns = WAIT_NS };
    const struct option_spec own[] = {
        { "count", 'c', OPTION_CALL, &pinger.count, "N", "stop after N (default: Ctrl-C)", take_count },
        { "interval", 'i', OPTION_SECONDS, &pinger.interval_ns, "SECONDS", "time from one to the next (1)", NULL },
        { "wait", 'W', OPTION_SECONDS, &pinger.wait_ns, "SECONDS", "time to wait for one answer (5)", NULL },
        { "addr", 0, OPTION_CALL, &pinger.addrs, "IP:PORT", "address of the other side; may be repeated",
          cli_take_addr },
        { "listen", 'l', OPTION_FLAG, &pinger.listens, NULL, "answer pings", NULL },
        { 0 },
    };
    struct server server = { .cli = cli, .verb = "ping", .stream_size = sizeof(struct answer), .on_stream = on_stream };
    int code = cli_parse(cli, own, argc, argv, 0, 1);

    if (code != CLI_GO_ON)
        return code;
    if (!pinger.listens && cli->args.count == 0)
        return cli_usage(cli, "a ticket or an id is missing");
    if (pinger.listens && cli->args.count > 0)
        return cli_usage(cli, "--listen takes no ticket");
    if (pinger.listens)
        return server_run(&server, cli_slice(PING_ALPN));
    if ((code = cli_remote_parse(cli, cli->args.items[0], pinger.addrs.items, pinger.addrs.count, &pinger.remote)) != 0)
        return code;
    return ask(&pinger);
}

const struct cli_command command_ping = {
    .name = "ping",
    .arguments = "TICKET|ID [--addr IP:PORT] | --listen",
    .summary = "measure the round trip to kith ping --listen (or iroh-ping)",
    .details = "Exit code 0 if at least one answer came, 3 if none did.\n",
    .run = run,
};
