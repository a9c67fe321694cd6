/* What all commands have in common: options, errors, exit codes, paths. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const uint64_t TIMEOUT_NS = 30 * KITH_NS_PER_S;

void *cli_alloc(size_t size)
{
    void *memory = calloc(1, size);

    if (memory == NULL) {
        fputs("kith: out of memory\n", stderr);
        exit(CLI_EXIT_FAILED);
    }
    return memory;
}

/* ---- Options ---- */

const char *cli_take_bind(void *target, const char *text)
{
    struct cli *cli = target;

    if (cli->bind_count == CLI_BINDS_MAX)
        return "too many addresses to bind to";
    if (kith_sockaddr_parse(text, &cli->binds[cli->bind_count]) != 0)
        return "an address and port are expected, like 0.0.0.0:4433 or [::]:0";
    cli->bind_count++;
    return NULL;
}

static const char *take_one_family(struct cli *cli, const char *text, uint8_t family, const char *other)
{
    const char *problem = cli_take_bind(cli, text);

    if (problem != NULL)
        return problem;
    if (cli->binds[cli->bind_count - 1].family != family)
        return "this address is of the other family";
    /* dumbpipe binds both families, whichever is given; a second such option replaces the "anywhere" of the first. */
    for (size_t i = 0; i + 1 < cli->bind_count; i++) {
        if (cli->binds[i].family == family && cli->binds[i].port == 0) {
            cli->binds[i] = cli->binds[--cli->bind_count];
            return NULL;
        }
    }
    return cli_take_bind(cli, other);
}

const char *cli_take_ipv4(void *target, const char *text)
{
    return take_one_family(target, text, KITH_FAMILY_V4, "[::]:0");
}

const char *cli_take_ipv6(void *target, const char *text)
{
    return take_one_family(target, text, KITH_FAMILY_V6, "0.0.0.0:0");
}

const char *cli_take_addr(void *target, const char *text)
{
    struct cli_addrs *addrs = target;

    if (addrs->count == KITH_ADDR_IPS_MAX)
        return "too many addresses";
    if (kith_sockaddr_parse(text, &addrs->items[addrs->count]) != 0)
        return "an address and port are expected, like 192.0.2.1:4433 or [2001:db8::1]:4433";
    addrs->count++;
    return NULL;
}

static const char *take_one_relay(struct cli *cli, const char *url, size_t size)
{
    struct kith_addr addr = { 0 };
    char *copy;

    if (cli->relay_count == KITH_ENDPOINT_RELAYS_MAX)
        return "too many relays";
    if (size >= KITH_ADDR_RELAY_SIZE)
        return "a relay's URL may have 255 bytes";
    copy = cli->relay_urls[cli->relay_count];
    memcpy(copy, url, size);
    copy[size] = 0;
    if ((strncasecmp(copy, "https://", 8) != 0 && strncasecmp(copy, "http://", 7) != 0) ||
        kith_addr_add_relay(&addr, copy) != 0)
        return "a relay's URL is expected, like https://relay.example";
    cli->relays[cli->relay_count++].url = copy;
    return NULL;
}

/* "URL[,URL...]", or "none": not even those that tickets name. */
const char *cli_take_relay(void *target, const char *text)
{
    struct cli *cli = target;
    const char *problem = NULL;

    if (strcmp(text, "none") == 0 || strcmp(text, "disabled") == 0) {
        cli->no_relays = true;
        return NULL;
    }
    if (strcmp(text, "n0") == 0)
        return cli_take_n0_relays(cli);
    while (problem == NULL) {
        size_t size = strcspn(text, ",");

        problem = take_one_relay(cli, text, size);
        if (text[size] == 0)
            break;
        text += size + 1;
    }
    return problem;
}

static const char *take_relay_quic(void *target, const char *text)
{
    struct cli *cli = target;
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    cli->no_relay_quic = strcmp(text, "none") == 0 || strcmp(text, "0") == 0;
    if (!cli->no_relay_quic && (text[0] < '0' || text[0] > '9' || *end != 0 || port == 0 || port > UINT16_MAX))
        return "a port from 1 to 65535 is expected, or none";
    cli->relay_quic_port = cli->no_relay_quic ? 0 : (uint16_t)port;
    return NULL;
}

static void print_help(const struct cli *cli, const struct option_spec *own, const struct option_spec *common)
{
    printf("Usage: kith %s %s\n\n%s\n", cli->command->name, cli->command->arguments, cli->command->summary);
    if (own != NULL && own->kind != OPTION_END) {
        printf("\nOptions of this command\n");
        options_print(own);
    }
    printf("\nOptions of all commands\n");
    options_print(common);
    if (cli->command->details != NULL)
        printf("\n%s", cli->command->details);
    printf("\nWithout --relay and --lookup (and KITH_RELAY, KITH_LOOKUP) n0's public relays and lookup servers are "
           "used.\n");
    printf("\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 not reached, 4 verification failed,\n"
           "5 a file: not found, there already, no permission or no space, 130 interrupted.\nMore: man kith-%s\n",
           cli->command->name);
}

int cli_parse(struct cli *cli, const struct option_spec *own, int argc, char **argv, size_t args_min, size_t args_max)
{
    const struct option_spec common[] = {
        { "bind", 0, OPTION_CALL, cli, "ADDR:PORT", "local UDP address; may be repeated (default: any)",
          cli_take_bind },
        { "key", 0, OPTION_TEXT, &cli->key_file, "FILE", "secret key file (default: IROH_SECRET, else a new key)",
          NULL },
        { "relay", 0, OPTION_CALL, cli, "URL[,URL...]",
          "relays to be reached through; n0: its public ones; none: no relay at all", cli_take_relay },
        { "relay-only", 0, OPTION_FLAG, &cli->relay_only, NULL, "everything goes through relays, nothing directly",
          NULL },
        { "relay-token", 0, OPTION_TEXT, &cli->relay_token, "TOKEN",
          "for the relays of --relay (default: KITH_RELAY_TOKEN)", NULL },
        { "relay-quic", 0, OPTION_CALL, cli, "PORT",
          "UDP port where relays tell our address (7842 with https); or none", take_relay_quic },
        { "relay-ca", 0, OPTION_TEXT, &cli->relay_ca, "FILE",
          "trust these certificate authorities for relays and pkarr servers, too", NULL },
        { "proxy", 0, OPTION_TEXT, &cli->proxy, "URL",
          "HTTP proxy for relays and pkarr servers; env: that of HTTP_PROXY, but for NO_PROXY", NULL },
        { "no-proxy", 0, OPTION_TEXT, &cli->no_proxy, "LIST", "for whom it is not: NAME,ADDR,NET/BITS,...; *: all",
          NULL },
        { "lookup", 0, OPTION_CALL, cli, "SERVICE",
          "how ids are found: n0, dns:ORIGIN, pkarr:URL, mdns, dht, dht:HOST:PORT, none; may be repeated",
          cli_take_lookup },
        { "dns-server", 0, OPTION_CALL, cli, "ADDR:PORT", "ask this DNS server, not the system's; may be repeated",
          cli_take_dns_server },
        { "publish", 0, OPTION_CALL, cli, "WHAT", "what others learn by lookup: relays (default), direct, all, none",
          cli_take_publish },
        { "user-data", 0, OPTION_TEXT, &cli->user_data, "TEXT", "published beside the addresses", NULL },
        { "timeout", 0, OPTION_SECONDS, &cli->timeout_ns, "SECONDS", "time to reach the other side (30)", NULL },
        { "qlog", 0, OPTION_TEXT, &cli->qlog_directory, "DIR", "write a qlog file for each connection", NULL },
        { "json", 0, OPTION_FLAG, &cli->json, NULL, "print one JSON object a line on stdout", NULL },
        { "quiet", 'q', OPTION_FLAG, &cli->quiet, NULL, "no progress, no notes", NULL },
        { "verbose", 'v', OPTION_COUNT, &cli->verbose, NULL, "tell more; repeat for still more", NULL },
        { "help", 'h', OPTION_FLAG, &cli->wants_help, NULL, "this text", NULL },
        { 0 },
    };
    char error[OPTIONS_ERROR_SIZE];
    int code;

    cli->timeout_ns = TIMEOUT_NS;
    if (!options_parse(own, common, argc, argv, &cli->args, error))
        return cli_usage(cli, "%s", error);
    if (cli->wants_help) {
        print_help(cli, own, common);
        return CLI_EXIT_OK;
    }
    if (cli->no_relays && (cli->relay_count > 0 || cli->relay_only))
        return cli_usage(cli, "--relay none goes with no other relay option");
    if (cli->relay_token != NULL && cli->relay_count == 0) /* those of tickets may be anybody's */
        return cli_usage(cli, "--relay-token is for the relays of --relay: name the relay, too");
    if ((code = cli_finish_lookup(cli)) != CLI_GO_ON)
        return code;
    if (cli->args.count < args_min)
        return cli_usage(cli, "an argument is missing: kith %s %s", cli->command->name, cli->command->arguments);
    if (cli->args.count > args_max)
        return cli_usage(cli, "'%.80s' is one argument too many", cli->args.items[args_max]);
    return CLI_GO_ON;
}

/* ---- Errors ---- */

static void print_error(const struct cli *cli, const char *code, int exit_code, const char *text)
{
    char clean[1024];

    output_note("kith %s: %s", cli->command->name, output_clean(text, clean, sizeof clean));
    if (cli->json)
        output_json_to(
            cli->stdout_is_data ? stderr : stdout,
            json_pack("{s:s, s:s, s:s, s:i}", "event", "error", "code", code, "text", clean, "exit", exit_code));
}

int cli_usage(struct cli *cli, const char *format, ...)
{
    char text[768];
    size_t size;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text - 64, format, arguments);
    va_end(arguments);
    size = strlen(text);
    snprintf(text + size, sizeof text - size, " (kith %s --help tells more)", cli->command->name);
    print_error(cli, "USAGE", CLI_EXIT_USAGE, text);
    return CLI_EXIT_USAGE;
}

int cli_exit_of(int err)
{
    switch (err) {
    case 0:
        return CLI_EXIT_OK;
    case KITH_ERR_TIMEOUT:
    case KITH_ERR_UNREACHABLE:
    case KITH_ERR_NO_ADDRESS:
    case KITH_ERR_REFUSED:
    case KITH_ERR_ALPN:
    case KITH_ERR_VERSION:
    case KITH_ERR_WRONG_PEER:
    case KITH_ERR_TLS:
    case KITH_ERR_IDLE:
    case KITH_ERR_LOST:
        return CLI_EXIT_UNREACHABLE;
    case KITH_ERR_HASH:
    case KITH_ERR_CRYPTO:
        return CLI_EXIT_VERIFY;
    case KITH_ERR_NOT_FOUND:
    case KITH_ERR_EXISTS:
    case KITH_ERR_PERMISSION:
    case KITH_ERR_NO_SPACE:
        return CLI_EXIT_FILES;
    case KITH_ERR_CANCELLED:
        return CLI_EXIT_INTERRUPTED;
    default:
        return CLI_EXIT_FAILED;
    }
}

/* "what: why; todo". */
static int fail_with(struct cli *cli, int err, const char *why, const char *todo, const char *format, va_list arguments)
{
    char what[512], text[1024];

    vsnprintf(what, sizeof what, format, arguments);
    if (why == NULL && err == KITH_ERR_CANCELLED)
        why = "interrupted";
    snprintf(text, sizeof text, "%s: %s%s%s", what, why != NULL && *why != 0 ? why : kith_strerror(err),
             todo != NULL ? "; " : "", todo != NULL ? todo : "");
    print_error(cli, kith_err_name(err), cli_exit_of(err), text);
    return cli_exit_of(err);
}

int cli_fail(struct cli *cli, int err, const char *format, ...)
{
    const struct kith_error *error = kith_error_last();
    va_list arguments;

    va_start(arguments, format);
    err = fail_with(cli, err, error->code == err && err != KITH_ERR_CANCELLED ? error->text : NULL, NULL, format,
                    arguments);
    va_end(arguments);
    return err;
}

int cli_fail_op(struct cli *cli, const struct kith_op *op, const char *todo, const char *format, ...)
{
    int err = kith_op_result(op);
    const struct kith_error *error;
    va_list arguments;

    if (err == KITH_ERR_AGAIN) /* nobody waits for an operation that is not done, except after an interruption */
        err = KITH_ERR_CANCELLED;
    error = kith_op_error(op);
    va_start(arguments, format);
    err = fail_with(cli, err, error->code == err && err != KITH_ERR_CANCELLED ? error->text : NULL,
                    err == KITH_ERR_CANCELLED ? NULL : todo, format, arguments);
    va_end(arguments);
    return err;
}

int cli_fail_text(struct cli *cli, int err, const char *why, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    err = fail_with(cli, err, why, NULL, format, arguments);
    va_end(arguments);
    return err;
}

int cli_err_of(int problem)
{
    switch (problem) {
    case ENOENT:
        return KITH_ERR_NOT_FOUND;
    case EEXIST:
        return KITH_ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return KITH_ERR_PERMISSION;
    case ENOSPC:
    case EDQUOT:
        return KITH_ERR_NO_SPACE;
    default:
        return KITH_ERR_IO;
    }
}

int cli_fail_file(struct cli *cli, int problem, const char *todo, const char *format, ...)
{
    int err = cli_err_of(problem);
    va_list arguments;

    if (todo == NULL)
        todo = err == KITH_ERR_NOT_FOUND || problem == ENOTDIR ? "check the path"
               : err == KITH_ERR_PERMISSION                    ? "choose another place, or let its owner allow it"
               : err == KITH_ERR_NO_SPACE                      ? "make room and try again"
                                                               : NULL;
    va_start(arguments, format);
    err = fail_with(cli, err, strerror(problem), todo, format, arguments);
    va_end(arguments);
    return err;
}

/* ---- Paths ---- */

/* $variable/kith/name, or ~/fallback/kith/name. A relative value of the variable does not count (XDG base directories). */
static bool xdg_path(const char *variable, const char *fallback, const char *name, char *path)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    int size;

    if (base != NULL && base[0] == '/')
        size = snprintf(path, CLI_PATH_SIZE, "%s/kith%s", base, name);
    else if (home != NULL && home[0] == '/')
        size = snprintf(path, CLI_PATH_SIZE, "%s/%s/kith%s", home, fallback, name);
    else
        return false;
    return size > 0 && size < CLI_PATH_SIZE;
}

bool cli_key_path(const struct cli *cli, char *path)
{
    if (cli->key_file == NULL)
        return xdg_path("XDG_STATE_HOME", ".local/state", "/key", path);
    return snprintf(path, CLI_PATH_SIZE, "%s", cli->key_file) < CLI_PATH_SIZE;
}

bool cli_cache_path(char *path)
{
    return xdg_path("XDG_CACHE_HOME", ".cache", "", path);
}
