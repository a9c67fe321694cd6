/* kith send: offer a file, a directory or standard input to whoever has the ticket. */
#include "commands.h"

#include "files.h"
#include "transfer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t CLOSE_LIMIT_NS = 2 * KITH_NS_PER_S;
static const uint64_t REDRAW_NS = KITH_NS_PER_S / 5;
enum { CONNECTIONS_SHOWN_MAX = 1024, SPOOL_BUFFER_SIZE = 1 << 20 };

/** What one connection has got so far. */
struct client {
    struct client *next;
    uint64_t connection, request, started_ns;
    char name[KITH_ID_SHORT_SIZE];
    uint64_t requests_done, bytes_done; /* requests that were sent whole */
    uint64_t bytes_now, total_now;      /* the request that runs */
    bool was_aborted, has_given_up;
};

struct sender {
    struct cli *cli;
    bool once, qr, is_done;
    const char *name; /* of standard input's bytes */
    char path[CLI_PATH_SIZE], cache[CLI_PATH_SIZE];
    int spool; /* standard input's bytes, in a file without a name: gone with the program, however that ends; -1 */
    struct kith_blobs *blobs;
    struct kith_blobs_added added;
    struct kith_op *accept, *event;
    struct client *clients;
    size_t client_count;
    struct output_progress line;
    struct loop_timer redraw;
    int err;
};

/* ---- Standard input becomes a file first: its hash must be known before anyone can ask for it ---- */

static int copy_stdin(struct sender *sender, int file)
{
    struct output_progress line;
    uint64_t total = 0;
    char *buffer = cli_alloc(SPOOL_BUFFER_SIZE);
    int problem = 0;

    output_progress_start(&line, sender->cli->quiet || sender->cli->json, loop_now());
    while (problem == 0 && !loop_check_interrupted(&sender->cli->loop)) {
        ssize_t got = read(STDIN_FILENO, buffer, SPOOL_BUFFER_SIZE);

        if (got == 0)
            break;
        if (got < 0) {
            problem = errno == EINTR ? 0 : errno;
            continue;
        }
        for (ssize_t at = 0, done; problem == 0 && at < got; at += done) {
            if ((done = write(file, buffer + at, (size_t)(got - at))) < 0) {
                problem = errno == EINTR ? 0 : errno;
                done = 0;
            }
        }
        total += (uint64_t)got;
        output_progress_draw(&line, "reading", total, 0, loop_now());
    }
    output_progress_end(&line);
    free(buffer);
    return problem;
}

/* A file in `base` that nobody else sees. -1 with errno. */
static int open_nameless(const char *base)
{
    char path[CLI_PATH_SIZE];
    int file = open(base, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT) ||
        !files_join(base, "stdin-XXXXXX", path))
        return file;
    if ((file = mkostemp(path, O_CLOEXEC)) >= 0) /* a file system that makes none without a name */
        unlink(path);
    return file;
}

static int spool_stdin(struct sender *sender)
{
    struct cli *cli = sender->cli;
    char base[CLI_PATH_SIZE];
    int problem;

    if (sender->name != NULL && (*sender->name == 0 || strchr(sender->name, '/') != NULL || sender->name[0] == '.'))
        return cli_usage(cli, "--name needs the name of a file, without directories");
    if (!cli_cache_path(base))
        snprintf(base, sizeof base, "/tmp");
    if ((problem = files_make_directory(base)) == 0 && (sender->spool = open_nameless(base)) < 0)
        problem = errno;
    if (problem != 0)
        return cli_fail_file(cli, problem, "XDG_CACHE_HOME can name another one", "cannot use the directory %s", base);
    if ((problem = copy_stdin(sender, sender->spool)) != 0)
        return cli_fail_file(cli, problem, "make room, or name another directory with XDG_CACHE_HOME",
                             "cannot keep standard input in %s", base);
    snprintf(sender->path, sizeof sender->path, "/proc/self/fd/%d", sender->spool);
    return cli->loop.is_interrupted ? cli_fail_text(cli, KITH_ERR_CANCELLED, NULL, "reading standard input") : 0;
}

static int choose_path(struct sender *sender, const char *given)
{
    struct stat info;
    char *real;

    if (strcmp(given, "-") == 0)
        return spool_stdin(sender);
    if (stat(given, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) /* opening a pipe would wait */
        return cli_fail_text(sender->cli, KITH_ERR_INVALID,
                             "it is neither a file nor a directory; to send what comes out of it, read it as -", "%s",
                             given);
    if ((real = realpath(given, NULL)) == NULL)
        return cli_fail_file(sender->cli, errno, errno == EACCES ? "its owner must let you read it" : NULL, "%s",
                             given);
    snprintf(sender->path, sizeof sender->path, "%s", real);
    free(real);
    if (strcmp(sender->path, "/") == 0)
        return cli_usage(sender->cli, "'/' has no name to send it under");
    if (cli_cache_path(sender->cache) && files_make_directory(sender->cache) != 0)
        sender->cache[0] = 0; /* a cache that cannot be kept costs time only */
    return 0;
}

/* ---- Offering ---- */

/* The library's words begin with the path that is meant; it need not be said twice. */
static int fail_add(struct sender *sender, const struct kith_op *op)
{
    const char *todo = kith_op_result(op) == KITH_ERR_INVALID ? "rename it first" : NULL;

    if (strncmp(kith_op_error(op)->text, sender->path, strlen(sender->path)) == 0)
        return cli_fail_op(sender->cli, op, todo, "cannot offer");
    return cli_fail_op(sender->cli, op, todo, "cannot offer %s", sender->path);
}

static int add(struct sender *sender)
{
    struct kith_blobs_options options = { KITH_BLOBS_OPTIONS_INIT,
                                          .cache_directory = sender->cache[0] != 0 ? sender->cache : NULL };
    struct cli *cli = sender->cli;
    struct kith_op *op;
    int err;

    if ((err = kith_blobs_new(cli->endpoint, &options, &sender->blobs)) != 0)
        return cli_fail(cli, err, "cannot offer files");
    if (sender->spool >= 0)
        err = kith_blobs_add_named_start(sender->blobs, sender->path, sender->name != NULL ? sender->name : "stdin",
                                         KITH_BLOBS_ADD_COLLECTION, &op);
    else
        err = kith_blobs_add_start(sender->blobs, sender->path, KITH_BLOBS_ADD_COLLECTION, &op);
    if (err != 0)
        return cli_fail(cli, err, "cannot offer"); /* the path is in its words */
    if ((err = transfer_wait(cli, op)) == 0)
        err = kith_blobs_added(op, &sender->added);
    if (err != 0)
        err = fail_add(sender, op);
    kith_op_free(op);
    return err;
}

static int print_ticket(struct sender *sender)
{
    struct cli *cli = sender->cli;
    struct kith_blob_ticket ticket = { .hash = sender->added.hash, .format = sender->added.format };
    char text[KITH_TICKET_TEXT_SIZE], hash[KITH_HASH_TEXT_SIZE], size[OUTPUT_NUMBER_SIZE];
    const char *problem;
    uint64_t others;
    json_t *event;
    int err;

    if ((err = cli_addr(cli, &ticket.addr)) != 0)
        return err;
    if ((err = kith_blob_ticket_format(&ticket, text, sizeof text)) != 0)
        return cli_fail(cli, err, "cannot write a ticket");
    kith_hash_format(&ticket.hash, hash);
    if (cli->json) {
        event = json_pack("{s:s, s:s, s:s, s:I, s:I}", "event", "offering", "hash", hash, "ticket", text, "files",
                          (json_int_t)sender->added.file_count, "bytes", (json_int_t)sender->added.size);
        if (event != NULL)
            json_object_set_new(event, "command", json_sprintf("kith receive %s", text));
        output_json(event);
    }
    if (!cli->quiet)
        output_note("offering %s, %llu file%s, until Ctrl-C; on the other side, run",
                    output_size(sender->added.size, size), (unsigned long long)sender->added.file_count,
                    sender->added.file_count == 1 ? "" : "s");
    if (!cli->quiet && sender->spool < 0 && (others = files_count_others(sender->path)) > 0)
        output_note("left out: %llu link%s or special file%s", (unsigned long long)others, others == 1 ? "" : "s",
                    others == 1 ? "" : "s");
    if (sender->qr && (problem = output_qr(text)) != NULL)
        output_note("no QR code: %s", problem);
    output_note("kith receive %s", text);
    return 0;
}

/* ---- Clients ---- */

static struct client *find_client(struct sender *sender, const struct kith_blobs_event *event)
{
    struct client *client;

    for (client = sender->clients; client != NULL; client = client->next) {
        if (client->connection == event->connection)
            return client;
    }
    if (sender->client_count >= CONNECTIONS_SHOWN_MAX)
        return NULL;
    client = cli_alloc(sizeof *client);
    client->connection = event->connection;
    client->started_ns = loop_now();
    kith_id_format_short(&event->peer, client->name);
    client->next = sender->clients;
    sender->clients = client;
    sender->client_count++;
    return client;
}

static void drop_client(struct sender *sender, struct client *client)
{
    struct client **link = &sender->clients;

    while (*link != client)
        link = &(*link)->next;
    *link = client->next;
    sender->client_count--;
    free(client);
}

/*
 * Whether a client that is gone has everything. Receivers ask twice, first for names and sizes, then for what they lack;
 * once is enough where all was in the first answer. One that could not use what it got says so as it closes.
 */
static bool has_everything(const struct sender *sender, const struct client *client)
{
    return !client->was_aborted && !client->has_given_up &&
           (client->requests_done >= 2 || (client->requests_done == 1 && client->bytes_done >= sender->added.size));
}

static void on_disconnected(struct sender *sender, struct client *client)
{
    uint64_t time = loop_now() - client->started_ns, bytes = client->bytes_done + client->bytes_now;
    bool complete = has_everything(sender, client);
    char size[OUTPUT_NUMBER_SIZE], took[OUTPUT_NUMBER_SIZE], rate[OUTPUT_NUMBER_SIZE];

    if (sender->cli->json)
        output_json(json_pack("{s:s, s:s, s:I, s:f, s:b}", "event", "transfer", "peer", client->name, "bytes",
                              (json_int_t)bytes, "seconds", (double)time / 1e9, "complete", complete));
    if (!sender->cli->quiet && client->requests_done + client->bytes_now + client->was_aborted > 0)
        output_note("%s: %s, %s sent in %s (%s)", client->name, complete ? "has everything" : "left early",
                    output_size(bytes, size), output_duration(time, took),
                    output_byte_rate((double)bytes / ((double)(time + 1) / 1e9), rate));
    if (complete && sender->once)
        sender->is_done = true;
    drop_client(sender, client);
}

static void take_event(struct sender *sender, const struct kith_blobs_event *event)
{
    struct client *client = find_client(sender, event);

    if (client == NULL)
        return;
    switch (event->kind) {
    case KITH_BLOBS_REQUEST:
        client->request = event->request;
        client->bytes_now = client->total_now = 0;
        break;
    case KITH_BLOBS_PROGRESS:
        if (event->request == client->request) {
            client->bytes_now = event->bytes_sent;
            client->total_now = event->bytes_total;
        }
        break;
    case KITH_BLOBS_COMPLETED:
        client->requests_done++;
        client->bytes_done += event->bytes_sent;
        client->bytes_now = client->total_now = 0;
        break;
    case KITH_BLOBS_ABORTED:
        client->was_aborted = true;
        if (sender->cli->verbose > 0)
            output_note("%s: a request was not answered to its end: %s", client->name, kith_strerror(event->err));
        break;
    case KITH_BLOBS_DISCONNECTED:
        client->has_given_up = event->close_code != 0;
        on_disconnected(sender, client);
        break;
    default:
        break;
    }
}

static void draw(void *user)
{
    struct sender *sender = user;
    uint64_t done = 0, total = 0;
    size_t count = 0;
    char what[64];

    loop_timer_set(&sender->cli->loop, &sender->redraw, REDRAW_NS);
    for (const struct client *client = sender->clients; client != NULL; client = client->next) {
        done += client->bytes_now;
        total += client->total_now;
        count += client->total_now > 0;
    }
    if (count == 0) {
        output_progress_end(&sender->line);
        output_progress_start(&sender->line, sender->cli->quiet || sender->cli->json, loop_now());
        return;
    }
    snprintf(what, sizeof what, "sending to %zu", count);
    output_progress_draw(&sender->line, what, done, total, loop_now());
}

static void next_event(struct sender *sender);

static void on_event(struct kith_op *op, void *user)
{
    struct sender *sender = user;
    struct kith_blobs_event event;

    kith_op_free(op);
    sender->event = NULL;
    while (kith_blobs_next_event(sender->blobs, &event))
        take_event(sender, &event);
    next_event(sender);
}

static void next_event(struct sender *sender)
{
    int err = kith_blobs_event_start(sender->blobs, &sender->event);

    if (err == 0)
        kith_op_on_done(sender->event, on_event, sender);
    else
        sender->err = err;
}

static void accept_next(struct sender *sender);

static void on_accepted(struct kith_op *op, void *user)
{
    struct sender *sender = user;
    int err = kith_op_result(op);

    if (err == 0 && kith_blobs_serve(sender->blobs, kith_op_take_conn(op)) != 0 && sender->cli->verbose > 0)
        output_note("a client could not be served: %s", kith_error_last()->text);
    kith_op_free(op);
    sender->accept = NULL;
    if (err != 0)
        sender->err = err;
    else
        accept_next(sender);
}

static void accept_next(struct sender *sender)
{
    int err = kith_accept_start(sender->cli->endpoint, &sender->accept);

    if (err == 0)
        kith_op_on_done(sender->accept, on_accepted, sender);
    else
        sender->err = err;
}

static int serve(struct sender *sender)
{
    struct cli *cli = sender->cli;
    int err = 0;

    output_progress_start(&sender->line, cli->quiet || cli->json, loop_now());
    sender->redraw.on_due = draw;
    sender->redraw.user = sender;
    loop_timer_set(&cli->loop, &sender->redraw, REDRAW_NS);
    accept_next(sender);
    next_event(sender);
    while (err == 0 && sender->err == 0 && !sender->is_done && !cli->loop.is_interrupted)
        err = loop_turn(&cli->loop);
    loop_timer_stop(&sender->redraw);
    output_progress_end(&sender->line);
    if (err == 0)
        err = sender->err;
    return err != 0 ? cli_fail(cli, err, "cannot go on") : CLI_EXIT_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct sender *sender;
    bool once = false, qr = false;
    const char *name = NULL;
    const struct option_spec own[] = {
        { "once", 0, OPTION_FLAG, &once, NULL, "end when one receiver has everything", NULL },
        { "qr", 0, OPTION_FLAG, &qr, NULL, "show the ticket as a QR code", NULL },
        { "name", 0, OPTION_TEXT, &name, "NAME", "name of what comes from standard input (stdin)", NULL },
        { 0 },
    };
    const struct kith_slice alpn = cli_slice(KITH_BLOBS_ALPN);
    int code = cli_parse(cli, own, argc, argv, 1, 1);

    if (code != CLI_GO_ON)
        return code;
    sender = cli_alloc(sizeof *sender);
    sender->cli = cli;
    sender->once = once;
    sender->qr = qr;
    sender->name = name;
    sender->spool = -1;
    if ((code = cli_open(cli, &alpn, 1)) == 0 && (code = choose_path(sender, cli->args.items[0])) == 0 &&
        (code = add(sender)) == 0 && (code = print_ticket(sender)) == 0)
        code = serve(sender);
    kith_op_free(sender->accept);
    kith_op_free(sender->event);
    kith_blobs_free(sender->blobs);
    cli_close(cli, CLOSE_LIMIT_NS);
    if (sender->spool >= 0)
        close(sender->spool);
    while (sender->clients != NULL)
        drop_client(sender, sender->clients);
    free(sender);
    return code;
}

const struct cli_command command_send = {
    .name = "send",
    .arguments = "FILE|DIR|-",
    .summary = "offer a file or directory to whoever has the ticket",
    .details = "Files are read where they are, so they must stay there; - reads standard input to its end first.\n"
               "The last line on stderr is the command for the other side. Any number of receivers are served,\n"
               "until Ctrl-C. sendme understands the ticket too.\n",
    .run = run,
};
