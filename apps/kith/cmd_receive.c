/* kith receive: fetch what kith send (or sendme) offers. */
#include "commands.h"

#include "files.h"
#include "transfer.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t CLOSE_LIMIT_NS = KITH_NS_PER_S, STALL_NS = 60 * KITH_NS_PER_S;

enum { CLOSE_GIVEN_UP = 1 }; /* the code that a connection is closed with; spec/05 has none for it */

/*
 * Where things go. Into a directory, the library places the files itself. Under a new name (-o FILE), it places them in
 * `staging` inside the partial directory, and what lies there is renamed at the end: both are on one file system.
 */
struct receiver {
    struct cli *cli;
    const char *output;
    bool force, is_renamed;
    uint64_t stall_ns; /* 0: no limit */
    struct cli_addrs addrs;
    struct kith_blob_ticket ticket;
    struct cli_remote remote;
    char directory[CLI_PATH_SIZE], target[CLI_PATH_SIZE], partial[CLI_PATH_SIZE], staging[CLI_PATH_SIZE];
    uint64_t started_ns, ended_ns;
    struct kith_blobs_progress progress;
    json_t *paths; /* the results, at the top of the target */
};

/* What the user can do about an error. */
static const char *todo(const struct receiver *receiver, int err)
{
    switch (err) {
    case KITH_ERR_EXISTS:
        return receiver->force ? "a directory is not replaced: remove it, or choose another place with -o"
                               : "--force replaces it, -o chooses another place";
    case KITH_ERR_PERMISSION: /* the library takes a link in a path of the sender's for an attempt to get out */
        return "or choose another place with -o (links inside the target directory are not followed)";
    case KITH_ERR_NO_SPACE:
        return "run the same command again then: it goes on from there";
    case KITH_ERR_NOT_FOUND:
        return "it may have been moved or changed; ask for a new ticket";
    case KITH_ERR_HASH:
        return "run the same command again, or get it from someone else";
    case KITH_ERR_STATE:
        return "wait for it, or choose another place with -o";
    case KITH_ERR_PARSE:
        return "nothing of it was written";
    case KITH_ERR_TIMEOUT:
        return "the same command goes on from there, and --stall SECONDS gives it more time";
    case KITH_ERR_TRUNCATED:
    case KITH_ERR_CLOSED_BY_PEER:
    case KITH_ERR_RESET:
    case KITH_ERR_IDLE:
        return "run the same command again when the sender is there: it goes on from there";
    default:
        return NULL;
    }
}

static int fail_path(struct receiver *receiver, int problem, const char *path)
{
    int err = cli_err_of(problem);

    return cli_fail_file(receiver->cli, problem, err == KITH_ERR_NOT_FOUND ? NULL : todo(receiver, err), "%s", path);
}

static bool is_collection(const struct receiver *receiver)
{
    return receiver->ticket.format == KITH_BLOB_HASH_SEQ;
}

/* Decides directory, target and partial directory. 0 or the exit code. */
static int plan(struct receiver *receiver)
{
    const char *output = receiver->output;
    char hash[KITH_HASH_TEXT_SIZE], name[CLI_PATH_SIZE], hidden[96];
    bool is_directory = output == NULL || files_is_directory(output) || output[strlen(output) - (*output != 0)] == '/';
    bool ok;
    int problem;

    kith_hash_format(&receiver->ticket.hash, hash);
    hash[10] = 0;
    if (output != NULL && *output == 0)
        return cli_usage(receiver->cli, "-o needs a name");
    if (is_directory) {
        snprintf(receiver->directory, CLI_PATH_SIZE, "%s", output == NULL ? "." : output);
        ok = files_join(receiver->directory, hash, receiver->target); /* the name of a bare blob, which has none */
    } else {
        ok = files_split(output, receiver->directory, name);
        snprintf(receiver->target, CLI_PATH_SIZE, "%s", output);
    }
    if (ok && !is_directory && strlen(name) > NAME_MAX)
        return cli_fail_file(receiver->cli, ENAMETOOLONG, "choose a shorter one with -o", "%.80s...", name);
    receiver->is_renamed = !is_directory && is_collection(receiver);
    snprintf(hidden, sizeof hidden, ".kith-partial-%s", hash);
    if (!ok || !files_join(receiver->directory, hidden, receiver->partial) ||
        !files_join(receiver->partial, "out", receiver->staging))
        return cli_usage(receiver->cli, "'%.80s' cannot be the name of a file", output != NULL ? output : "");
    if ((!is_directory || !is_collection(receiver)) && !receiver->force && files_exists(receiver->target))
        return cli_fail_text(receiver->cli, KITH_ERR_EXISTS,
                             "it exists already; --force replaces it, -o gives another name", "%s", receiver->target);
    if ((problem = files_make_directory(receiver->directory)) != 0)
        return fail_path(receiver, problem, receiver->directory);
    return 0;
}

static void add_path(struct receiver *receiver, const char *path)
{
    json_array_append_new(receiver->paths, json_stringn_nocheck(path, strlen(path))); /* it may not be UTF-8 */
}

static bool is_first_with_top(const struct kith_op *op, uint64_t index, size_t size)
{
    const char *name = kith_blobs_get_name(op, index);

    /* Collections are in the order of their names, so the same top component is next to it. */
    for (uint64_t i = index; i > 0 && index - i < 2; i--) {
        const char *before = kith_blobs_get_name(op, i - 1);

        if (strncmp(before, name, size) == 0 && (before[size] == '/' || before[size] == 0))
            return false;
    }
    return true;
}

/* The top components of the collection's names, as paths. */
static void collect_paths(struct receiver *receiver, const struct kith_op *op)
{
    const char *name;

    for (uint64_t i = 0; (name = kith_blobs_get_name(op, i)) != NULL; i++) {
        size_t size = strcspn(name, "/");
        char top[CLI_PATH_SIZE], path[CLI_PATH_SIZE];

        if (size >= sizeof top || !is_first_with_top(op, i, size))
            continue;
        memcpy(top, name, size);
        top[size] = 0;
        if (strcmp(receiver->directory, ".") == 0)
            add_path(receiver, top);
        else if (files_join(receiver->directory, top, path))
            add_path(receiver, path);
    }
}

/* Gives what was staged its name: the one thing that lies there, or the directory of them. 0 or the exit code. */
static int rename_staged(struct receiver *receiver, const struct kith_op *op)
{
    const char *name = kith_blobs_get_name(op, 0);
    size_t size = name != NULL ? strcspn(name, "/") : 0;
    char top[CLI_PATH_SIZE], from[CLI_PATH_SIZE];
    bool is_single = name != NULL;
    int problem;

    for (uint64_t i = 1; is_single && kith_blobs_get_name(op, i) != NULL; i++) {
        const char *other = kith_blobs_get_name(op, i);

        is_single = strncmp(other, name, size) == 0 && other[size] == '/';
    }
    snprintf(top, sizeof top, "%.*s", (int)size, name != NULL ? name : "");
    if (!is_single || !files_join(receiver->staging, top, from))
        snprintf(from, sizeof from, "%s", receiver->staging);
    if (name == NULL && (problem = files_make_directory(from)) != 0) /* an empty collection */
        return fail_path(receiver, problem, from);
    if ((problem = files_move(from, receiver->target, receiver->force)) != 0)
        return fail_path(receiver, problem, receiver->target);
    if (is_single)
        rmdir(receiver->staging);
    add_path(receiver, receiver->target);
    return 0;
}

static int fetch(struct receiver *receiver, struct kith_conn *conn)
{
    struct kith_blobs_get_options options = { KITH_BLOBS_GET_OPTIONS_INIT,
                                              .hash = receiver->ticket.hash,
                                              .format = receiver->ticket.format,
                                              .target = receiver->target,
                                              .partial_directory = receiver->partial,
                                              .replace = receiver->force,
                                              .stall_limit_ns = receiver->stall_ns != 0 ? receiver->stall_ns
                                                                                        : KITH_WAIT };
    struct kith_op *op;
    int err, code = 0, problem;

    if (is_collection(receiver))
        options.target = receiver->is_renamed ? receiver->staging : receiver->directory;
    if (receiver->is_renamed) {
        options.replace = true; /* what an earlier run staged and could not rename */
        if ((problem = files_make_directory(receiver->staging)) != 0)
            return fail_path(receiver, problem, receiver->staging);
    }
    receiver->started_ns = loop_now();
    if ((err = kith_blobs_get_start(conn, &options, &op)) != 0)
        return cli_fail(receiver->cli, err, "cannot receive");
    err = transfer_wait(receiver->cli, op);
    receiver->ended_ns = loop_now();
    if (kith_blobs_progress(op, &receiver->progress) != 0)
        memset(&receiver->progress, 0, sizeof receiver->progress);
    if (err == 0 && receiver->is_renamed)
        code = rename_staged(receiver, op);
    else if (err == 0 && is_collection(receiver))
        collect_paths(receiver, op);
    else if (err == 0)
        add_path(receiver, receiver->target);
    else if (err == KITH_ERR_CANCELLED)
        code = cli_fail_text(receiver->cli, err, "what is there is kept, and the same command goes on with it",
                             "interrupted");
    else
        code = cli_fail_op(receiver->cli, op, todo(receiver, err), "cannot receive from %s", receiver->remote.name);
    kith_op_free(op);
    if (err != KITH_ERR_STATE)                 /* another receiver is at work there */
        files_remove_empty(receiver->partial); /* it stays where something is in it to go on with */
    return code;
}

/* JSON is UTF-8, and a path need not be. */
static json_t *json_paths(const struct receiver *receiver)
{
    json_t *list = json_array();
    char clean[CLI_PATH_SIZE];

    for (size_t i = 0; i < json_array_size(receiver->paths); i++) {
        const char *path = json_string_value(json_array_get(receiver->paths, i));
        json_t *exact = json_string(path);

        json_array_append_new(list, exact != NULL ? exact : json_string(output_clean(path, clean, sizeof clean)));
    }
    return list;
}

static void report_json(const struct receiver *receiver, struct kith_conn *conn)
{
    struct kith_quic_path_info path = { 0 };
    char local[KITH_SOCKADDR_TEXT_SIZE], remote[CLI_VIA_SIZE];

    (void)!kith_conn_path_in_use(conn, &path);
    output_json(json_pack(
        "{s:s, s:o, s:I, s:I, s:I, s:I, s:f, s:{s:s, s:s, s:f, s:f, s:i}}", "event", "done", "paths",
        json_paths(receiver), "files", (json_int_t)receiver->progress.files_total, "bytes",
        (json_int_t)receiver->progress.bytes_done, "resumed", (json_int_t)receiver->progress.bytes_resumed, "wire",
        (json_int_t)receiver->progress.bytes_wire, "seconds", (double)(receiver->ended_ns - receiver->started_ns) / 1e9,
        "path", "local", kith_sockaddr_format(&path.local, local), "remote", cli_via(conn, &path.remote, remote),
        "rtt_ms", (double)path.rtt_ns / 1e6, "rtt_min_ms",
        path.rtt_min_ns != UINT64_MAX ? (double)path.rtt_min_ns / 1e6 : 0.0, "mtu", path.udp_size));
}

static void report(const struct receiver *receiver, struct kith_conn *conn)
{
    const struct kith_blobs_progress *progress = &receiver->progress;
    uint64_t time = receiver->ended_ns - receiver->started_ns, fetched = progress->bytes_done - progress->bytes_resumed;
    char size[OUTPUT_NUMBER_SIZE], took[OUTPUT_NUMBER_SIZE], rate[OUTPUT_NUMBER_SIZE], kept[OUTPUT_NUMBER_SIZE];
    char clean[CLI_PATH_SIZE];

    if (receiver->cli->json) {
        report_json(receiver, conn);
        return;
    }
    if (receiver->cli->verbose > 0)
        cli_note_paths(conn);
    if (!receiver->cli->quiet)
        output_note("received %s, verified, in %s (%s)%s%s", output_size(progress->bytes_done, size),
                    output_duration(time, took), output_byte_rate((double)fetched / ((double)(time + 1) / 1e9), rate),
                    progress->bytes_resumed > 0 ? "; there already: " : "",
                    progress->bytes_resumed > 0 ? output_size(progress->bytes_resumed, kept) : "");
    for (size_t i = 0; i < json_array_size(receiver->paths); i++) {
        const char *path = json_string_value(json_array_get(receiver->paths, i));

        printf("%s\n", isatty(STDOUT_FILENO) ? output_clean(path, clean, sizeof clean) : path);
    }
}

static int receive(struct receiver *receiver)
{
    struct cli *cli = receiver->cli;
    struct kith_conn *conn = NULL;
    int code;

    if ((code = cli_open(cli, NULL, 0)) != 0)
        return code;
    if (!cli->quiet && !cli->json)
        output_note("connecting to %s", receiver->remote.name);
    if ((code = cli_connect(cli, &receiver->remote, cli_slice(KITH_BLOBS_ALPN), &conn)) != 0)
        return code;
    receiver->paths = json_array();
    if (receiver->paths == NULL)
        code = cli_fail_text(cli, KITH_ERR_NOMEM, NULL, "cannot receive");
    else if ((code = fetch(receiver, conn)) == 0)
        report(receiver, conn);
    if (code != 0) /* so that the sender does not take us for served */
        kith_conn_close(conn, CLOSE_GIVEN_UP, "given up", 8);
    json_decref(receiver->paths);
    kith_conn_free(conn);
    cli_close(cli, CLOSE_LIMIT_NS);
    return code;
}

/* A whole ticket of the other kind deserves other words than a damaged one. */
static int fail_ticket(struct cli *cli)
{
    struct kith_error error = *kith_error_last();
    struct kith_addr addr;

    if (kith_addr_parse(cli->args.items[0], &addr) == 0)
        return cli_usage(cli, "this ticket is that of an endpoint and names no file: ask for the one that kith send "
                              "prints, which begins with 'blob'");
    return cli_usage(cli, "cannot read the ticket: %s", error.text);
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct receiver *receiver;
    const char *output = NULL;
    bool force = false;
    uint64_t stall_ns = STALL_NS;
    struct cli_addrs addrs = { .count = 0 };
    const struct option_spec own[] = {
        { "output", 'o', OPTION_TEXT, &output, "DIR|FILE", "put it there, or give it this name", NULL },
        { "force", 0, OPTION_FLAG, &force, NULL, "replace what exists", NULL },
        { "stall", 0, OPTION_SECONDS, &stall_ns, "SECONDS",
          "give up when nothing right came for so long (60; 0: never)", NULL },
        { "addr", 0, OPTION_CALL, &addrs, "IP:PORT", "another address of the sender; may be repeated", cli_take_addr },
        { 0 },
    };
    int code = cli_parse(cli, own, argc, argv, 1, 1);

    if (code != CLI_GO_ON)
        return code;
    receiver = cli_alloc(sizeof *receiver);
    receiver->cli = cli;
    receiver->output = output;
    receiver->force = force;
    receiver->stall_ns = stall_ns;
    if (kith_blob_ticket_parse(cli->args.items[0], &receiver->ticket) != 0) {
        code = fail_ticket(cli);
    } else if ((code = cli_remote_parse(cli, cli->args.items[0], addrs.items, addrs.count, &receiver->remote)) == 0 &&
               (code = plan(receiver)) == 0) {
        code = receive(receiver);
    }
    free(receiver);
    return code;
}

const struct cli_command command_receive = {
    .name = "receive",
    .alias = "recv",
    .arguments = "TICKET [-o DIR|FILE]",
    .summary = "receive what kith send offers",
    .details = "Everything is checked against the hash in the ticket while it arrives, and gets its final name\n"
               "only when it is complete. What was received before an interruption is kept in the hidden\n"
               "directory .kith-partial-... beside the target: the same command goes on from there.\n"
               "--timeout bounds connecting only; afterwards, a sender from which nothing right comes for a minute\n"
               "(--stall) is given up.\n"
               "The path of the result is printed on stdout. Nothing is overwritten without --force.\n",
    .run = run,
};
