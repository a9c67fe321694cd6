/* kith speed: how fast is the way to the other side? The protocol is written down in doc/protocols.md. */
#include "commands.h"

#include "server.h"
#include <stdlib.h>
#include <string.h>

#define SPEED_ALPN "kith/speed/1"
enum { SPEED_UP = 1, SPEED_DOWN = 2, SPEED_ECHO = 3 };
enum {
    HEADER_SIZE = 16,
    REPORT_SIZE = 16,
    BUFFER_SIZE = 256 * 1024,
    ROUNDS_MAX = 4,
    STREAMS_MAX = 64,
    ECHOES = 100,
    ECHO_SIZE = 32
};

static const uint64_t INTERVAL_NS = KITH_NS_PER_S;
static const uint64_t TIME_NS = 5 * KITH_NS_PER_S;
static const uint64_t CLOSE_LIMIT_NS = KITH_NS_PER_S;

static void put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get_u64(const uint8_t *from)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value |= (uint64_t)from[i] << 8 * i;
    return value;
}

/* ---- Serving ---- */

struct task {
    struct server_stream base;
    uint8_t header[HEADER_SIZE], report[REPORT_SIZE];
    size_t header_size, held; /* held: echo: bytes of the buffer to write back */
    uint8_t *buffer;
    uint64_t bytes, limit, started_ns;
};

static void on_stream_freed(struct server_stream *stream)
{
    free(((struct task *)stream)->buffer);
}

static void on_last_sent(struct kith_op *op, void *user)
{
    (void)op;
    server_stream_end(user);
}

static void finish_task(struct task *task, const void *bytes, size_t size)
{
    if (kith_write_all(task->base.stream, bytes, size, KITH_FIN, 0) != 0)
        server_stream_end(&task->base);
    else
        server_stream_wait(&task->base, kith_sent_start(task->base.stream, &task->base.op), on_last_sent);
}

/* Up: counts until the end, then reports what came and how long it took. */
static void on_upload(struct kith_op *op, void *user)
{
    struct task *task = user;
    int err = 0;

    for (int round = 0; err == 0; round++) {
        err = kith_op_result(op);
        task->bytes += err == 0 ? kith_op_size(op) : 0;
        kith_op_free(op);
        task->base.op = NULL;
        if (err != 0)
            break;
        if ((err = kith_read_start(task->base.stream, task->buffer, BUFFER_SIZE, &task->base.op)) != 0)
            break;
        op = task->base.op;
        if (kith_op_result(op) == KITH_ERR_AGAIN || round >= ROUNDS_MAX) {
            kith_op_on_done(op, on_upload, task);
            return;
        }
    }
    if (err != KITH_ERR_END) {
        server_stream_end(&task->base);
        return;
    }
    put_u64(task->report, task->bytes);
    put_u64(task->report + 8, loop_now() - task->started_ns);
    finish_task(task, task->report, sizeof task->report);
}

/* Down: writes until the limit, or until the other side has enough and stops the stream. */
static void send_more(struct task *task);

static void on_download(struct kith_op *op, void *user)
{
    struct task *task = user;

    if (kith_op_result(op) != 0) {
        server_stream_end(&task->base);
        return;
    }
    task->bytes += kith_op_size(op);
    kith_op_free(op);
    task->base.op = NULL;
    send_more(task);
}

static void send_more(struct task *task)
{
    uint64_t left = task->limit == 0 ? BUFFER_SIZE : task->limit - task->bytes;

    if (left == 0) {
        finish_task(task, NULL, 0);
        return;
    }
    server_stream_wait(&task->base,
                       kith_write_start(task->base.stream, task->buffer,
                                        left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE, 0, &task->base.op),
                       on_download);
}

/* Echo: everything comes back as it is. */
static void on_echo_read(struct kith_op *op, void *user);

static void on_echo_written(struct kith_op *op, void *user)
{
    struct task *task = user;
    int err = kith_op_result(op);

    kith_op_free(op);
    task->base.op = NULL;
    if (err != 0)
        server_stream_end(&task->base);
    else
        server_stream_wait(&task->base, kith_read_start(task->base.stream, task->buffer, BUFFER_SIZE, &task->base.op),
                           on_echo_read);
}

static void on_echo_read(struct kith_op *op, void *user)
{
    struct task *task = user;
    int err = kith_op_result(op);
    size_t size = kith_op_size(op);

    kith_op_free(op);
    task->base.op = NULL;
    if (err == KITH_ERR_END)
        finish_task(task, NULL, 0);
    else if (err != 0)
        server_stream_end(&task->base);
    else
        server_stream_wait(&task->base, kith_write_start(task->base.stream, task->buffer, size, 0, &task->base.op),
                           on_echo_written);
}

static void begin_task(struct task *task)
{
    task->buffer = cli_alloc(BUFFER_SIZE);
    task->limit = get_u64(task->header + 8);
    task->started_ns = loop_now();
    if (task->header[0] == SPEED_DOWN)
        send_more(task);
    else if (task->header[0] == SPEED_UP || task->header[0] == SPEED_ECHO)
        server_stream_wait(&task->base, kith_read_start(task->base.stream, task->buffer, BUFFER_SIZE, &task->base.op),
                           task->header[0] == SPEED_UP ? on_upload : on_echo_read);
    else
        server_stream_end(&task->base); /* a kind that a later version may know */
}

static void read_header(struct task *task);

static void on_header(struct kith_op *op, void *user)
{
    struct task *task = user;

    if (kith_op_result(op) != 0) {
        server_stream_end(&task->base);
        return;
    }
    task->header_size += kith_op_size(op);
    kith_op_free(op);
    task->base.op = NULL;
    if (task->header_size < HEADER_SIZE)
        read_header(task);
    else
        begin_task(task);
}

static void read_header(struct task *task)
{
    server_stream_wait(&task->base,
                       kith_read_start(task->base.stream, task->header + task->header_size,
                                       HEADER_SIZE - task->header_size, &task->base.op),
                       on_header);
}

static void on_stream(struct server_stream *stream)
{
    read_header((struct task *)stream);
}

/* ---- Measuring ---- */

struct meter {
    struct cli *cli;
    struct cli_remote remote;
    struct cli_addrs addrs;
    uint64_t time_ns, streams;
    bool listens, only_up, only_down;
    struct kith_conn *conn;
    uint64_t end_ns;
    struct loop_timer tick; /* each second: what this second brought */
    const char *direction;
    uint64_t bytes_moved, bytes_told, begin_ns, told_ns;
    size_t running;
    bool is_done; /* no stream runs any more */
    int err;
    uint8_t *buffer; /* what is written; what is read goes there too and is not looked at */
};

struct lane {
    struct meter *meter;
    struct kith_stream *stream;
    struct kith_op *op;
    uint8_t kind, report[REPORT_SIZE];
    size_t report_size;
    uint64_t bytes, elapsed_ns, started_ns;
};

/* What was moved since the last time. Up: what our side could write, so a little ahead of what the other side counts. */
static void tell_interval(struct meter *meter)
{
    uint64_t now = loop_now(), bytes = meter->bytes_moved - meter->bytes_told;
    double from = (double)(meter->told_ns - meter->begin_ns) / 1e9, to = (double)(now - meter->begin_ns) / 1e9;
    char rate[OUTPUT_NUMBER_SIZE], size[OUTPUT_NUMBER_SIZE];

    if (meter->cli->json)
        output_json(json_pack("{s:s, s:s, s:f, s:f, s:I, s:f}", "event", "interval", "direction", meter->direction,
                              "from_seconds", from, "to_seconds", to, "bytes", (json_int_t)bytes, "bits_per_second",
                              (double)bytes * 8 / (to - from)));
    else if (!meter->cli->quiet)
        printf("  %-10s%14s   %s in %.1f to %.1f s\n", meter->direction,
               output_bit_rate((double)bytes / (to - from), rate), output_size(bytes, size), from, to);
    fflush(stdout);
    meter->bytes_told = meter->bytes_moved;
    meter->told_ns = now;
}

static void on_tick(void *user)
{
    struct meter *meter = user;

    if (loop_now() >= meter->end_ns) /* the result says the rest */
        return;
    tell_interval(meter);
    loop_timer_set(&meter->cli->loop, &meter->tick, INTERVAL_NS);
}

/* For measurements that are long enough to have intervals at all. */
static void start_ticks(struct meter *meter, const char *direction)
{
    meter->direction = direction;
    meter->bytes_moved = meter->bytes_told = 0;
    meter->begin_ns = meter->told_ns = loop_now();
    meter->tick.on_due = on_tick;
    meter->tick.user = meter;
    if (meter->time_ns > INTERVAL_NS)
        loop_timer_set(&meter->cli->loop, &meter->tick, INTERVAL_NS);
}

static void lane_end(struct lane *lane, int err)
{
    if (err != 0 && lane->meter->err == 0)
        lane->meter->err = err;
    kith_op_free(lane->op);
    lane->op = NULL;
    lane->meter->is_done = --lane->meter->running == 0;
}

static void read_report(struct lane *lane);

static void on_lane_report(struct kith_op *op, void *user)
{
    struct lane *lane = user;
    int err = kith_op_result(op);

    lane->report_size += err == 0 ? kith_op_size(op) : 0;
    if (err == 0 && lane->report_size < REPORT_SIZE) {
        read_report(lane);
        return;
    }
    if (err == 0) {
        lane->bytes = get_u64(lane->report);
        lane->elapsed_ns = get_u64(lane->report + 8);
    }
    lane_end(lane, err);
}

static void read_report(struct lane *lane)
{
    int err;

    kith_op_free(lane->op);
    lane->op = NULL;
    err = kith_read_start(lane->stream, lane->report + lane->report_size, REPORT_SIZE - lane->report_size, &lane->op);
    if (err != 0)
        lane_end(lane, err);
    else
        kith_op_on_done(lane->op, on_lane_report, lane);
}

static void lane_step(struct lane *lane);

static void on_lane(struct kith_op *op, void *user)
{
    struct lane *lane = user;
    int err = kith_op_result(op);

    if (err != 0) {
        lane_end(lane, err);
        return;
    }
    lane->bytes += kith_op_size(op);
    lane->meter->bytes_moved += kith_op_size(op);
    kith_op_free(op);
    lane->op = NULL;
    lane_step(lane);
}

/* The next piece, or the end when the time is over. */
static void lane_step(struct lane *lane)
{
    int err = 0;

    for (int round = 0; loop_now() < lane->meter->end_ns && !lane->meter->cli->loop.is_interrupted; round++) {
        err = lane->kind == SPEED_UP ? kith_write_start(lane->stream, lane->meter->buffer, BUFFER_SIZE, 0, &lane->op)
                                     : kith_read_start(lane->stream, lane->meter->buffer, BUFFER_SIZE, &lane->op);
        if (err != 0) {
            lane_end(lane, err);
            return;
        }
        if (kith_op_result(lane->op) != 0 || round >= ROUNDS_MAX) {
            kith_op_on_done(lane->op, on_lane, lane);
            return;
        }
        lane->bytes += kith_op_size(lane->op);
        lane->meter->bytes_moved += kith_op_size(lane->op);
        kith_op_free(lane->op);
        lane->op = NULL;
    }
    if (lane->kind == SPEED_DOWN) {
        lane->elapsed_ns = loop_now() - lane->started_ns;
        (void)kith_stop(lane->stream, 0);
        lane_end(lane, 0);
        return;
    }
    if ((err = kith_finish(lane->stream)) != 0)
        lane_end(lane, err);
    else
        read_report(lane);
}

static int open_stream(struct meter *meter, uint8_t kind, struct kith_stream **out)
{
    uint8_t header[HEADER_SIZE] = { kind };
    int err;

    if ((err = kith_open_bi(meter->conn, meter->cli->timeout_ns, out)) != 0)
        return err;
    return kith_write_all(*out, header, sizeof header, 0, meter->cli->timeout_ns);
}

/* One direction with all streams. 0 or the exit code. */
static int measure(struct meter *meter, uint8_t kind)
{
    struct lane *lanes = cli_alloc(sizeof *lanes * meter->streams);
    uint64_t bytes = 0, elapsed = 1;
    char rate[OUTPUT_NUMBER_SIZE], size[OUTPUT_NUMBER_SIZE], took[OUTPUT_NUMBER_SIZE];
    const char *direction = kind == SPEED_UP ? "up" : "down";
    int err = 0;

    meter->running = 0;
    meter->err = 0;
    meter->is_done = false;
    for (size_t i = 0; err == 0 && i < meter->streams; i++)
        err = open_stream(meter, kind, &lanes[i].stream);
    meter->end_ns = loop_now() + meter->time_ns;
    meter->running = err == 0 ? meter->streams : 0;
    start_ticks(meter, direction);
    for (size_t i = 0; err == 0 && i < meter->streams; i++) {
        lanes[i].meter = meter;
        lanes[i].kind = kind;
        lanes[i].started_ns = loop_now();
        lane_step(&lanes[i]);
    }
    if (err == 0 && (err = loop_run(&meter->cli->loop, &meter->is_done)) == 0)
        err = meter->err;
    loop_timer_stop(&meter->tick);
    for (size_t i = 0; i < meter->streams; i++) {
        bytes += lanes[i].bytes;
        elapsed = lanes[i].elapsed_ns > elapsed ? lanes[i].elapsed_ns : elapsed;
        kith_op_free(lanes[i].op);
        kith_stream_free(lanes[i].stream);
    }
    free(lanes);
    if (err != 0)
        return cli_fail(meter->cli, err, "measuring %s", direction);
    if (meter->cli->json)
        output_json(json_pack("{s:s, s:s, s:I, s:I, s:f, s:f}", "event", "rate", "direction", direction, "streams",
                              (json_int_t)meter->streams, "bytes", (json_int_t)bytes, "seconds", (double)elapsed / 1e9,
                              "bits_per_second", (double)bytes * 8 / ((double)elapsed / 1e9)));
    else
        printf("%-12s%14s   %s in %s\n", direction, output_bit_rate((double)bytes / ((double)elapsed / 1e9), rate),
               output_size(bytes, size), output_duration(elapsed, took));
    fflush(stdout);
    return 0;
}

static int compare_times(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return (*left > *right) - (*left < *right);
}

static int measure_echo(struct meter *meter)
{
    uint64_t times[ECHOES];
    uint8_t bytes[ECHO_SIZE] = { 0 };
    struct kith_stream *stream = NULL;
    int err = open_stream(meter, SPEED_ECHO, &stream);

    for (size_t i = 0; err == 0 && i < ECHOES; i++) {
        uint64_t start = loop_now();

        if ((err = kith_write_all(stream, bytes, sizeof bytes, 0, meter->cli->timeout_ns)) == 0)
            err = kith_read_exact(stream, bytes, sizeof bytes, meter->cli->timeout_ns);
        times[i] = loop_now() - start;
        if (loop_check_interrupted(&meter->cli->loop))
            err = KITH_ERR_CANCELLED;
    }
    kith_stream_free(stream);
    if (err != 0)
        return cli_fail(meter->cli, err, "measuring the round trip");
    qsort(times, ECHOES, sizeof times[0], compare_times);
    if (meter->cli->json)
        output_json(json_pack("{s:s, s:f, s:f, s:f}", "event", "round_trip", "min_ms", (double)times[0] / 1e6,
                              "median_ms", (double)times[ECHOES / 2] / 1e6, "p99_ms",
                              (double)times[ECHOES * 99 / 100] / 1e6));
    else
        printf("%-12s%11.3f ms   least %.3f ms, 99 %% below %.3f ms\n", "round trip", (double)times[ECHOES / 2] / 1e6,
               (double)times[0] / 1e6, (double)times[ECHOES * 99 / 100] / 1e6);
    fflush(stdout);
    return 0;
}

static int measure_all(struct meter *meter)
{
    struct cli *cli = meter->cli;
    int code;

    if ((code = cli_open(cli, NULL, 0)) != 0 ||
        (code = cli_connect(cli, &meter->remote, cli_slice(SPEED_ALPN), &meter->conn)) != 0)
        return code;
    meter->buffer = cli_alloc(BUFFER_SIZE);
    if (!cli->json && !cli->quiet)
        output_note("measuring %s with %llu stream%s", meter->remote.name, (unsigned long long)meter->streams,
                    meter->streams == 1 ? "" : "s");
    code = measure_echo(meter);
    if (code == 0 && !meter->only_down)
        code = measure(meter, SPEED_UP);
    if (code == 0 && !meter->only_up)
        code = measure(meter, SPEED_DOWN);
    if (cli->verbose > 0)
        cli_note_paths(meter->conn);
    kith_conn_free(meter->conn);
    cli_close(cli, CLOSE_LIMIT_NS);
    free(meter->buffer);
    return code;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct meter meter = { .cli = cli, .time_ns = TIME_NS, .streams = 1 };
    const struct option_spec own[] = {
        { "listen", 'l', OPTION_FLAG, &meter.listens, NULL, "be the other side", NULL },
        { "time", 't', OPTION_SECONDS, &meter.time_ns, "SECONDS", "for each direction (5)", NULL },
        { "streams", 'P', OPTION_UNSIGNED, &meter.streams, "N", "streams at once (1)", NULL },
        { "up", 0, OPTION_FLAG, &meter.only_up, NULL, "only to the other side", NULL },
        { "down", 0, OPTION_FLAG, &meter.only_down, NULL, "only from the other side", NULL },
        { "addr", 0, OPTION_CALL, &meter.addrs, "IP:PORT", "address of the other side; may be repeated",
          cli_take_addr },
        { 0 },
    };
    struct server server = { .cli = cli,
                             .verb = "speed",
                             .stream_size = sizeof(struct task),
                             .on_stream = on_stream,
                             .on_stream_freed = on_stream_freed };
    int code = cli_parse(cli, own, argc, argv, 0, 1);

    if (code != CLI_GO_ON)
        return code;
    if (cli->args.count > 0 && strcmp(cli->args.items[0], "listen") == 0) {
        meter.listens = true;
        cli->args.count = 0;
    }
    if (meter.listens != (cli->args.count == 0))
        return cli_usage(cli, "either a ticket or --listen is needed");
    if (meter.streams < 1 || meter.streams > STREAMS_MAX)
        return cli_usage(cli, "--streams goes from 1 to %d", STREAMS_MAX);
    if (meter.only_up && meter.only_down)
        return cli_usage(cli, "--up and --down exclude each other");
    if (meter.listens)
        return server_run(&server, cli_slice(SPEED_ALPN));
    if ((code = cli_remote_parse(cli, cli->args.items[0], meter.addrs.items, meter.addrs.count, &meter.remote)) != 0)
        return code;
    return measure_all(&meter);
}

const struct cli_command command_speed = {
    .name = "speed",
    .arguments = "TICKET|ID [--addr IP:PORT] | --listen",
    .summary = "measure rate and round trip to kith speed --listen",
    .details = "Up is counted by the other side. Both sides must be kith. Each second is shown, then the whole;\n"
               "-q leaves out the seconds.\n",
    .run = run,
};
