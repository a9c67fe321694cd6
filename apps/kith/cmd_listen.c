/* kith listen: a pipe, or a forwarded TCP or unix socket, for whoever has the ticket. */
#include "commands.h"

#include "session.h"
#include <inttypes.h>
#include <string.h>

static const uint64_t CLOSE_LIMIT_NS = 2 * KITH_NS_PER_S;
enum { CUSTOM_SIZE = 4 * CLI_ALPN_SIZE_MAX + 64, COMMAND_SIZE = KITH_TICKET_TEXT_SIZE + CUSTOM_SIZE + 128 };

struct listener {
    struct sessions sessions;
    struct socket_target target;
    const char *tcp, *unix_path;
    struct kith_op *accept;
    int err;
};

static void accept_next(struct listener *listener);

static void on_accepted(struct kith_op *op, void *user)
{
    struct listener *listener = user;

    if (kith_op_result(op) == 0)
        sessions_serve(&listener->sessions, kith_op_take_conn(op));
    else
        listener->err = kith_op_result(op);
    kith_op_free(op);
    listener->accept = NULL;
    if (listener->err == 0)
        accept_next(listener);
}

static void accept_next(struct listener *listener)
{
    listener->err = kith_accept_start(listener->sessions.cli->endpoint, &listener->accept);
    if (listener->err == 0)
        kith_op_on_done(listener->accept, on_accepted, listener);
}

/* " --custom-alpn TEXT" as a shell takes it back: in quotes where it is more than a plain word. */
static void format_custom(const char *text, char out[CUSTOM_SIZE])
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._+-@%,";
    bool is_plain = text[strspn(text, plain)] == 0;
    size_t used = (size_t)snprintf(out, CUSTOM_SIZE, " --custom-alpn %s", is_plain ? "" : "'");

    for (; *text != 0 && used + 6 < CUSTOM_SIZE; text++) {
        if (*text == '\'')
            used += (size_t)snprintf(out + used, CUSTOM_SIZE - used, "'\\''");
        else
            out[used++] = *text;
    }
    snprintf(out + used, CUSTOM_SIZE - used, "%s", is_plain ? "" : "'");
}

/* The whole command for the other side, the ticket as its last word. */
static int print_ticket(struct listener *listener)
{
    struct cli *cli = listener->sessions.cli;
    const char *port = listener->tcp != NULL ? strrchr(listener->tcp, ':') : NULL;
    char custom[CUSTOM_SIZE] = "", ticket[KITH_TICKET_TEXT_SIZE], command[COMMAND_SIZE], id[KITH_ID_TEXT_SIZE];
    struct kith_addr addr;
    int err;

    if ((err = cli_addr(cli, &addr)) != 0)
        return err;
    if ((err = kith_ticket_format(&addr, ticket, sizeof ticket)) != 0)
        return cli_fail(cli, err, "cannot write a ticket");
    if (listener->sessions.custom_alpn != NULL)
        format_custom(listener->sessions.custom_alpn, custom);
    snprintf(command, sizeof command, "kith connect%s%s%s%s %s", custom, port != NULL ? " --tcp localhost" : "",
             port != NULL ? port : "", listener->unix_path != NULL ? " --unix ./kith.sock" : "", ticket);
    if (cli->json)
        output_json_to(listener->sessions.target == NULL ? stderr : stdout,
                       json_pack("{s:s, s:s, s:s, s:s}", "event", "listening", "id", kith_id_format(&addr.id, id),
                                 "ticket", ticket, "command", command));
    if (!cli->quiet)
        output_note(listener->sessions.target == NULL ? "waiting for one connection; on the other side, run"
                                                      : "waiting for connections; on the other side, run");
    output_note("%s", command);
    return 0;
}

static int serve(struct listener *listener)
{
    struct sessions *sessions = &listener->sessions;
    struct cli *cli = sessions->cli;
    int err = 0;

    accept_next(listener);
    while (listener->err == 0 && err == 0 && !sessions->stdio_is_over && !cli->loop.is_interrupted)
        err = loop_turn(&cli->loop);
    kith_op_free(listener->accept);
    if (listener->err != 0)
        return cli_fail(cli, listener->err, "cannot accept connections any more");
    if (err != 0)
        return cli_fail(cli, err, "cannot go on");
    if (sessions->stdio_is_over && sessions->err != 0)
        return cli_fail_text(cli, sessions->err, sessions->why, "the pipe broke");
    if (!sessions->stdio_is_over && sessions->target == NULL)
        return CLI_EXIT_INTERRUPTED;
    return CLI_EXIT_OK;
}

static int choose_target(struct listener *listener)
{
    struct cli *cli = listener->sessions.cli;
    const char *problem = NULL;

    if (listener->tcp != NULL && listener->unix_path != NULL)
        return cli_usage(cli, "--tcp and --unix exclude each other");
    if (listener->tcp == NULL && listener->unix_path == NULL)
        return 0;
    if (listener->sessions.receive_only)
        return cli_usage(cli, "--recv-only is for standard input and output");
    problem = listener->tcp != NULL ? socket_target_tcp(&listener->target, listener->tcp)
                                    : socket_target_unix(&listener->target, listener->unix_path);
    if (problem != NULL)
        return cli_usage(cli, "'%.80s': %s", listener->tcp != NULL ? listener->tcp : listener->unix_path, problem);
    listener->sessions.target = &listener->target;
    return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct listener listener = { .sessions = { .cli = cli } };
    const struct option_spec own[] = {
        { "tcp", 0, OPTION_TEXT, &listener.tcp, "HOST:PORT", "forward each connection to this TCP address", NULL },
        { "unix", 0, OPTION_TEXT, &listener.unix_path, "PATH", "forward each connection to this unix socket", NULL },
        { "recv-only", 0, OPTION_FLAG, &listener.sessions.receive_only, NULL, "send nothing", NULL },
        { "custom-alpn", 0, OPTION_CALL, &listener.sessions, "utf8:TEXT|HEX",
          "another protocol name, without a greeting", sessions_take_alpn },
        { "host", 0, OPTION_TEXT, &listener.tcp, "HOST:PORT", NULL, NULL },
        { "socket-path", 0, OPTION_TEXT, &listener.unix_path, "PATH", NULL, NULL },
        { "ipv4-addr", 0, OPTION_CALL, cli, "ADDR:PORT", NULL, cli_take_ipv4 },
        { "ipv6-addr", 0, OPTION_CALL, cli, "ADDR:PORT", NULL, cli_take_ipv6 },
        { 0 },
    };
    int code = cli_parse(cli, own, argc, argv, 0, 0);

    if (code != CLI_GO_ON)
        return code;
    sessions_init(&listener.sessions, cli);
    if (cli->command == &command_listen_tcp && listener.tcp == NULL)
        return cli_usage(cli, "--host HOST:PORT is missing");
    if (cli->command == &command_listen_unix && listener.unix_path == NULL)
        return cli_usage(cli, "--socket-path PATH is missing");
    cli->stdout_is_data = listener.tcp == NULL && listener.unix_path == NULL;
    if ((code = choose_target(&listener)) == 0 && (code = cli_open(cli, &listener.sessions.alpn, 1)) == 0 &&
        (code = print_ticket(&listener)) == 0)
        code = serve(&listener);
    sessions_dispose(&listener.sessions);
    cli_close(cli, CLOSE_LIMIT_NS);
    return code;
}

static const char details[] =
    "Without --tcp and --unix, the first connection is joined to standard input and output, and\n"
    "the command ends with it. Otherwise each connection is forwarded to the target, until Ctrl-C.\n"
    "The last line on stderr is the command for the other side. dumbpipe understands the ticket too.\n"
    "With --json the events are printed on stdout, or on stderr where stdout carries the data.\n";

const struct cli_command command_listen = {
    .name = "listen",
    .arguments = "[--tcp HOST:PORT | --unix PATH]",
    .summary = "wait for kith connect: a pipe, or TCP and unix socket forwarding",
    .details = details,
    .run = run,
};
const struct cli_command command_listen_tcp = {
    .name = "listen-tcp",
    .arguments = "--host HOST:PORT",
    .summary = "the same as kith listen --tcp",
    .details = details,
    .run = run,
};
const struct cli_command command_listen_unix = {
    .name = "listen-unix",
    .arguments = "--socket-path PATH",
    .summary = "the same as kith listen --unix",
    .details = details,
    .run = run,
};
