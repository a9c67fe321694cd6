/* kith connect: the other end of kith listen. */
#include "commands.h"

#include "session.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static const uint64_t CLOSE_LIMIT_NS = 2 * KITH_NS_PER_S;

struct connector {
    struct sessions sessions;
    struct cli_remote remote;
    struct cli_addrs addrs;
    struct socket_target target;
    const char *tcp, *unix_path;
    int fd;
    struct loop_watch watch;
};

static void on_client(void *user)
{
    struct connector *connector = user;
    int fd = socket_accept(connector->fd);

    if (fd >= 0)
        sessions_dial(&connector->sessions, pipe_end_socket(fd), pipe_end_socket(fd));
}

static int fail_listen(struct connector *connector, int problem)
{
    struct cli *cli = connector->sessions.cli;

    if (connector->unix_path != NULL && problem == EADDRINUSE)
        return cli_fail_file(cli, EEXIST, "remove it, or choose another path", "cannot listen on %s",
                             connector->unix_path);
    if (connector->unix_path != NULL)
        return cli_fail_file(cli, problem, NULL, "cannot listen on %s", connector->unix_path);
    return cli_fail_file(cli, problem,
                         problem == EADDRINUSE      ? "choose another port, or 0 for any"
                         : problem == EADDRNOTAVAIL ? "--tcp needs an address of this machine"
                         : problem == EACCES        ? "ports below 1024 are for root"
                                                    : NULL,
                         "cannot listen on %s", connector->tcp);
}

static int serve_sockets(struct connector *connector)
{
    struct cli *cli = connector->sessions.cli;
    char bound[SOCKET_TEXT_SIZE];
    int err = 0;

    if ((connector->fd = socket_listen(&connector->target, bound)) < 0)
        return fail_listen(connector, errno);
    connector->watch.on_ready = on_client;
    connector->watch.user = connector;
    loop_watch_set(&cli->loop, &connector->watch, connector->fd, POLLIN);
    if (cli->json)
        output_json(
            json_pack("{s:s, s:s, s:s}", "event", "listening", "address", bound, "peer", connector->remote.name));
    if (!cli->quiet)
        output_note("forwarding %s to %s", bound, connector->remote.name);
    while (err == 0 && !cli->loop.is_interrupted)
        err = loop_turn(&cli->loop);
    loop_watch_stop(&connector->watch);
    close(connector->fd);
    if (connector->unix_path != NULL)
        unlink(connector->unix_path);
    return err != 0 ? cli_fail(cli, err, "cannot go on") : CLI_EXIT_OK;
}

static int serve_stdio(struct connector *connector)
{
    struct sessions *sessions = &connector->sessions;
    struct cli *cli = sessions->cli;
    int err;

    sessions_dial(sessions, pipe_end_standard(STDIN_FILENO, false), pipe_end_standard(STDOUT_FILENO, true));
    err = loop_run(&cli->loop, &sessions->stdio_is_over);
    if (err == KITH_ERR_CANCELLED)
        return CLI_EXIT_INTERRUPTED;
    if (err != 0)
        return cli_fail(cli, err, "cannot go on");
    if (sessions->err != 0)
        return cli_fail_text(cli, sessions->err, sessions->why,
                             sessions->was_connected ? "the pipe to %s broke" : "cannot reach %s",
                             connector->remote.name);
    return CLI_EXIT_OK;
}

static int choose_target(struct connector *connector)
{
    struct cli *cli = connector->sessions.cli;
    const char *problem;

    if (connector->tcp != NULL && connector->unix_path != NULL)
        return cli_usage(cli, "--tcp and --unix exclude each other");
    if (connector->tcp == NULL && connector->unix_path == NULL)
        return 0;
    if (connector->sessions.receive_only)
        return cli_usage(cli, "--recv-only is for standard input and output");
    problem = connector->tcp != NULL ? socket_target_tcp(&connector->target, connector->tcp)
                                     : socket_target_unix(&connector->target, connector->unix_path);
    if (problem != NULL)
        return cli_usage(cli, "'%.80s': %s", connector->tcp != NULL ? connector->tcp : connector->unix_path, problem);
    return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct connector connector = { .sessions = { .cli = cli } };
    bool is_connect_tcp = cli->command == &command_connect_tcp;
    const struct option_spec addr_of_peer = { "addr",           0,         OPTION_CALL,
                                              &connector.addrs, "IP:PORT", "address of the other side; may be repeated",
                                              cli_take_addr };
    const struct option_spec addr_to_listen_on = {
        "addr", 0, OPTION_TEXT, &connector.tcp, "HOST:PORT", "TCP address to listen on", NULL
    };
    const struct option_spec own[] = {
        is_connect_tcp ? addr_to_listen_on : addr_of_peer,
        { "tcp", 0, OPTION_TEXT, &connector.tcp, "HOST:PORT", "listen there, and forward each TCP connection", NULL },
        { "unix", 0, OPTION_TEXT, &connector.unix_path, "PATH", "listen there, and forward each unix connection",
          NULL },
        { "recv-only", 0, OPTION_FLAG, &connector.sessions.receive_only, NULL, "send nothing", NULL },
        { "custom-alpn", 0, OPTION_CALL, &connector.sessions, "utf8:TEXT|HEX",
          "another protocol name, without a greeting", sessions_take_alpn },
        { "socket-path", 0, OPTION_TEXT, &connector.unix_path, "PATH", NULL, NULL },
        { "ipv4-addr", 0, OPTION_CALL, cli, "ADDR:PORT", NULL, cli_take_ipv4 },
        { "ipv6-addr", 0, OPTION_CALL, cli, "ADDR:PORT", NULL, cli_take_ipv6 },
        { 0 },
    };
    int code = cli_parse(cli, own, argc, argv, 1, 1);

    if (code != CLI_GO_ON)
        return code;
    sessions_init(&connector.sessions, cli);
    connector.sessions.remote = &connector.remote;
    if (is_connect_tcp && connector.tcp == NULL)
        return cli_usage(cli, "--addr HOST:PORT is missing");
    if (cli->command == &command_connect_unix && connector.unix_path == NULL)
        return cli_usage(cli, "--socket-path PATH is missing");
    cli->stdout_is_data = connector.tcp == NULL && connector.unix_path == NULL;
    if ((code = choose_target(&connector)) != 0 ||
        (code = cli_remote_parse(cli, cli->args.items[0], connector.addrs.items, connector.addrs.count,
                                 &connector.remote)) != 0 ||
        (code = cli_open(cli, NULL, 0)) != 0)
        return code;
    code = connector.target.count > 0 ? serve_sockets(&connector) : serve_stdio(&connector);
    sessions_dispose(&connector.sessions);
    cli_close(cli, CLOSE_LIMIT_NS);
    return code;
}

static const char details[] =
    "The other side is a ticket, or an id with --addr. Without --tcp and --unix, the connection is\n"
    "joined to standard input and output. Otherwise each client of the local socket gets a\n"
    "connection of its own, until Ctrl-C. The other side may be kith listen or dumbpipe.\n"
    "With --json the events are printed on stdout, or on stderr where stdout carries the data.\n";

const struct cli_command command_connect = {
    .name = "connect",
    .arguments = "TICKET|ID [--addr IP:PORT] [--tcp HOST:PORT | --unix PATH]",
    .summary = "connect to kith listen: a pipe, or TCP and unix socket forwarding",
    .details = details,
    .run = run,
};
const struct cli_command command_connect_tcp = {
    .name = "connect-tcp",
    .arguments = "--addr HOST:PORT TICKET",
    .summary = "the same as kith connect --tcp",
    .details = details,
    .run = run,
};
const struct cli_command command_connect_unix = {
    .name = "connect-unix",
    .arguments = "--socket-path PATH TICKET",
    .summary = "the same as kith connect --unix",
    .details = details,
    .run = run,
};
