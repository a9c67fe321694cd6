/* What all commands have in common that go on the network: identity, endpoint, dialling. */
#include "cli.h"

#include "files.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { RELAYS_SHOWN_MAX = 32 }; /* ours, and those of tickets */

#define ONLINE_NS         (10 * KITH_NS_PER_S) /* for a relay to let us in */
#define ONLINE_DEFAULT_NS (3 * KITH_NS_PER_S)  /* if nobody named it: there may be no way to the Internet here */

enum { CA_SIZE_MAX = 1 << 20, LOG_WARNING = 1 };

/* Who is not published is not found by anybody, and would not hear of it otherwise. Told once, until it succeeds again. */
static bool is_about_publishing(int level, const char *part)
{
    return level <= LOG_WARNING && (strcmp(part, "pkarr") == 0 || strcmp(part, "dht") == 0);
}

static void write_log(void *ctx, int level, const char *part, const char *text)
{
    static const char *const names[] = { "error", "warning", "info", "debug", "trace" };
    const struct cli *cli = ctx;
    char clean[1024];

    output_clean(text, clean, sizeof clean); /* it may hold words of a server's */
    if (cli->verbose > 0)
        output_note("%s: %s: %s", names[level < 0 || level > 4 ? 4 : level], part, clean);
    if (!is_about_publishing(level, part))
        return;
    if (cli->verbose == 0 && !cli->quiet)
        output_note("kith %s: %s", cli->command->name, clean);
    if (cli->json)
        output_json_to(cli->stdout_is_data ? stderr : stdout,
                       json_pack("{s:s, s:s, s:s}", "event", "warning", "part", part, "text", clean));
}

int cli_secret(struct cli *cli, struct kith_secret *secret)
{
    const char *variable = getenv("IROH_SECRET");
    int err;

    if (cli->has_new_key) {
        kith_secret_generate(secret);
        return 0;
    }
    if (cli->key_file != NULL) {
        if (variable != NULL && *variable != 0 && !cli->quiet)
            output_note("kith %s: --key is used, and IROH_SECRET is not looked at", cli->command->name);
        if ((err = kith_secret_load(cli->key_file, secret)) == KITH_ERR_NOT_FOUND)
            return cli_fail_text(cli, err, "there is no such file; 'kith key new --key FILE' makes one", "%s",
                                 cli->key_file);
        return err != 0 ? cli_fail(cli, err, "--key") : 0;
    }
    if (variable != NULL && *variable != 0) {
        err = kith_secret_parse(variable, secret);
        return err != 0 ? cli_fail(cli, err, "cannot use the key in IROH_SECRET") : 0;
    }
    kith_secret_generate(secret);
    return 0;
}

/* No address of ours is no failure to reach somebody, which has an exit code of its own. */
static int fail_bind(struct cli *cli, int err)
{
    if (cli->relay_ca != NULL && (err == KITH_ERR_PARSE || err == KITH_ERR_NOT_FOUND))
        return cli_fail_text(cli, err, kith_error_last()->text, "--relay-ca %s", cli->relay_ca);
    return cli_fail_text(cli, err == KITH_ERR_UNREACHABLE ? KITH_ERR_IO : err, kith_error_last()->text, "cannot bind");
}

/* The library goes on without a qlog that it cannot write; who asks for one wants to know before. */
static int check_qlog(struct cli *cli)
{
    const char *directory = cli->qlog_directory;
    int problem = 0;

    if (directory == NULL)
        return 0;
    if (!files_is_directory(directory))
        problem = files_exists(directory) ? ENOTDIR : ENOENT;
    else if (access(directory, W_OK | X_OK) != 0)
        problem = errno;
    return problem != 0 ? cli_fail_file(cli, problem, "--qlog needs a directory to write in", "%s", directory) : 0;
}

/* The variables of the reference, in its order. */
static const char *proxy_of_environment(void)
{
    static const char *const names[] = { "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy" };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);

        /* In a CGI program HTTP_PROXY is a header that the client chose. */
        if (value != NULL && *value != 0 && (i != 0 || getenv("REQUEST_METHOD") == NULL))
            return value;
    }
    return NULL;
}

static void proxy_options(const struct cli *cli, struct kith_endpoint_options *options)
{
    const char *upper = getenv("NO_PROXY"), *lower = getenv("no_proxy");

    options->proxy = cli->proxy;
    options->no_proxy = cli->no_proxy;
    if (cli->proxy == NULL || strcmp(cli->proxy, "env") != 0)
        return;
    options->proxy = proxy_of_environment();
    if (cli->no_proxy == NULL)
        options->no_proxy = lower != NULL && *lower != 0 ? lower : upper;
}

/* The file of --relay-ca, whole; the caller frees it. 0 or the exit code. */
static int read_ca(struct cli *cli, char **bytes, size_t *size)
{
    FILE *file;
    int problem = 0;

    *bytes = NULL;
    *size = 0;
    if (cli->relay_ca == NULL)
        return 0;
    if ((file = fopen(cli->relay_ca, "r")) == NULL)
        return cli_fail_file(cli, errno, NULL, "--relay-ca %s", cli->relay_ca);
    *bytes = cli_alloc(CA_SIZE_MAX);
    *size = fread(*bytes, 1, CA_SIZE_MAX, file);
    if (ferror(file))
        problem = errno != 0 ? errno : EIO;
    else if (*size == CA_SIZE_MAX)
        problem = EFBIG;
    fclose(file);
    if (problem == 0 && *size == 0) /* to the library it would be as good as none given */
        return cli_fail_text(cli, KITH_ERR_PARSE, "the file is empty", "--relay-ca %s", cli->relay_ca);
    return problem != 0 ? cli_fail_file(cli, problem, NULL, "--relay-ca %s", cli->relay_ca) : 0;
}

/* Where a relay tells which address it sees us at: with plain http only if the user says so. */
static uint16_t quic_port_of(const struct cli *cli, const char *url)
{
    if (cli->no_relay_quic || cli->relay_quic_port != 0)
        return cli->relay_quic_port;
    return strncasecmp(url, "https:", 6) == 0 ? KITH_ENDPOINT_QAD_PORT : 0;
}

/* What the options say about relays. 0 or the exit code; *ca is to be freed. */
static int relay_options(struct cli *cli, struct kith_endpoint_options *options, char **ca)
{
    const char *token = cli->relay_token != NULL ? cli->relay_token : getenv("KITH_RELAY_TOKEN");
    int err = read_ca(cli, ca, &options->relay_ca_pem.size);

    if (err != 0)
        return err;
    for (size_t i = 0; i < cli->relay_count; i++) {
        cli->relays[i].token = token;
        cli->relays[i].qad_port = quic_port_of(cli, cli->relays[i].url);
    }
    options->relay_ca_pem.ptr = (const uint8_t *)*ca;
    options->relays = cli->relays;
    options->relay_count = cli->relay_count;
    options->relay_only = cli->relay_only;
    options->no_relays = cli->no_relays;
    cli_lookup_options(cli, options);
    proxy_options(cli, options);
    return 0;
}

int cli_open(struct cli *cli, const struct kith_slice *alpns, size_t alpn_count)
{
    /* Errors of the library come back from its calls; its log is for those who ask, but for what write_log says. */
    int level = cli->verbose > 4 ? 4 : cli->verbose > LOG_WARNING ? cli->verbose : LOG_WARNING;
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT,
                                             .alpns_raw = alpns,
                                             .alpns_raw_count = alpn_count,
                                             .binds = cli->binds,
                                             .bind_count = cli->bind_count,
                                             .qlog_directory = cli->qlog_directory,
                                             .key_log_file = getenv("SSLKEYLOGFILE") };
    struct kith_secret secret;
    char *ca = NULL;
    int err;

    if ((err = check_qlog(cli)) != 0 || (err = relay_options(cli, &options, &ca)) != 0 ||
        (err = cli_secret(cli, &secret)) != 0) {
        free(ca);
        return err;
    }
    if ((err = loop_init(&cli->loop, write_log, cli, level)) != 0) {
        kith_secret_wipe(&secret);
        free(ca);
        return cli_fail(cli, err, "cannot start");
    }
    cli->has_loop = true;
    options.context = cli->loop.context;
    options.secret = &secret;
    err = kith_endpoint_bind(&options, &cli->endpoint);
    kith_secret_wipe(&secret);
    free(ca);
    return err != 0 ? fail_bind(cli, err) : 0;
}

void cli_close(struct cli *cli, uint64_t limit_ns)
{
    if (cli->endpoint != NULL)
        (void)kith_endpoint_close(cli->endpoint, limit_ns); /* TIMEOUT: cut short, which is what the limit asks for */
    cli->endpoint = NULL;
    if (cli->has_loop)
        loop_dispose(&cli->loop);
    cli->has_loop = false;
}

/* Others shall be able to reach us with what they are told; if the relay does not let us in, they hear of the rest. */
static int wait_online(struct cli *cli)
{
    uint64_t limit_ns = cli->is_default ? ONLINE_DEFAULT_NS : ONLINE_NS;
    struct kith_op *op;
    char clean[512];
    int err = 0;

    if (cli->relay_count == 0)
        return cli->relay_only ? cli_usage(cli, "--relay-only needs --relay here: how else could others reach us?") : 0;
    if (kith_endpoint_online(cli->endpoint, 0) == 0 || kith_endpoint_online_start(cli->endpoint, &op) != 0)
        return 0;
    if (limit_ns > cli->timeout_ns)
        limit_ns = cli->timeout_ns;
    kith_op_set_limit(op, limit_ns);
    if (loop_wait(&cli->loop, op) == KITH_ERR_TIMEOUT) {
        (void)!kith_endpoint_online(cli->endpoint, 1); /* for its words */
        output_clean(kith_error_last()->text, clean, sizeof clean);
        if (cli->relay_only)
            err = cli_fail_text(cli, KITH_ERR_TIMEOUT, clean, "nobody could reach us");
        else
            output_note("kith %s: %s", cli->command->name, clean);
    }
    kith_op_free(op);
    return err;
}

int cli_addr(struct cli *cli, struct kith_addr *addr)
{
    int err = wait_online(cli);

    if (err == 0)
        kith_endpoint_addr(cli->endpoint, addr);
    return err;
}

int cli_remote_parse(struct cli *cli, const char *text, const struct kith_sockaddr *extra, size_t extra_count,
                     struct cli_remote *out)
{
    int err;

    if (kith_addr_parse(text, &out->addr) != 0)
        return cli_usage(cli, "cannot tell whom to reach: %s", kith_error_last()->text);
    kith_id_format_short(&out->addr.id, out->name);
    for (size_t i = 0; i < extra_count; i++) {
        if ((err = kith_addr_add_ip(&out->addr, &extra[i])) != 0)
            return cli_fail(cli, err, "cannot use the addresses");
    }
    if (cli->lookup_count > 0)
        return 0; /* whatever is missing may be found */
    if (out->addr.ip_count == 0 && out->addr.relay_count > 0 && cli->no_relays)
        return cli_fail_text(cli, KITH_ERR_NO_ADDRESS, "the ticket names only a relay, and none is to be used",
                             "cannot reach %s", out->name);
    if (out->addr.ip_count == 0 && out->addr.relay_count == 0 && cli->relay_count == 0)
        return cli_fail_text(
            cli, KITH_ERR_NO_ADDRESS,
            "only its id is known; add --lookup, --addr IP:PORT or the --relay that it uses, or use a ticket",
            "cannot reach %s", out->name);
    /* An id alone is looked for at our own relays: whichever of them it is at. */
    for (size_t i = 0; out->addr.ip_count == 0 && i < cli->relay_count && i < KITH_ADDR_RELAYS_MAX; i++)
        if (out->addr.relay_count < KITH_ADDR_RELAYS_MAX)
            (void)!kith_addr_add_relay(&out->addr, cli->relays[i].url);
    return 0;
}

static bool is_way_to(const struct kith_addr *addr, const char *url)
{
    for (size_t i = 0; i < addr->relay_count; i++)
        if (strcmp(addr->relays[i], url) == 0)
            return true;
    return false;
}

const char *cli_no_answer(struct cli *cli, const struct cli_remote *remote, char *text)
{
    struct kith_endpoint_relay_info infos[RELAYS_SHOWN_MAX];
    size_t count = kith_endpoint_relays(cli->endpoint, infos, RELAYS_SHOWN_MAX);

    snprintf(text, CLI_NO_ANSWER_SIZE,
             "no answer in time; is the other side still running, and can its addresses be reached from here?");
    for (size_t i = 0; i < count && i < RELAYS_SHOWN_MAX; i++) {
        if (infos[i].state == KITH_ENDPOINT_RELAY_CONNECTED || infos[i].why[0] == 0 ||
            !is_way_to(&remote->addr, infos[i].url))
            continue;
        /* A token is given only to relays that the user named: a ticket may name anybody's. */
        snprintf(text, CLI_NO_ANSWER_SIZE, "no answer in time, and its relay %.200s was not reached: %s%s",
                 infos[i].url, infos[i].why,
                 infos[i].state == KITH_ENDPOINT_RELAY_REFUSED && !infos[i].is_configured
                     ? "; if it asks for a token, name it with --relay and --relay-token"
                     : "");
        break;
    }
    return text;
}

int cli_connect(struct cli *cli, const struct cli_remote *remote, struct kith_slice alpn, struct kith_conn **out)
{
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1 };
    char why[CLI_NO_ANSWER_SIZE];
    struct kith_op *op;
    int err;

    if ((err = kith_connect_start(cli->endpoint, &remote->addr, &options, &op)) != 0)
        return cli_fail(cli, err, "cannot reach %s", remote->name);
    kith_op_set_limit(op, cli->timeout_ns);
    if ((err = loop_wait(&cli->loop, op)) == 0)
        *out = kith_op_take_conn(op);
    else if (err == KITH_ERR_TIMEOUT && strstr(kith_op_error(op)->text, "lookup") == NULL)
        err = cli_fail_text(cli, err, cli_no_answer(cli, remote, why), "cannot reach %s", remote->name);
    else
        err = cli_fail_op(cli, op, NULL, "cannot reach %s", remote->name);
    kith_op_free(op);
    return err;
}

const char *cli_via(struct kith_conn *conn, const struct kith_sockaddr *remote, char *text)
{
    char url[KITH_ADDR_RELAY_SIZE];

    if (remote->family != KITH_FAMILY_RELAY)
        return kith_sockaddr_format(remote, text);
    if (conn == NULL || kith_conn_relay_of(conn, remote, url) != 0)
        snprintf(text, CLI_VIA_SIZE, "relay");
    else
        snprintf(text, CLI_VIA_SIZE, "relay %s", url);
    return text;
}

void cli_note_paths(struct kith_conn *conn)
{
    struct kith_quic_path_info paths[KITH_QUIC_PATHS_MAX];
    size_t count = kith_conn_paths(conn, paths, KITH_QUIC_PATHS_MAX);

    for (size_t i = 0; i < count && i < KITH_QUIC_PATHS_MAX; i++) {
        char local[KITH_SOCKADDR_TEXT_SIZE], remote[CLI_VIA_SIZE], least[OUTPUT_NUMBER_SIZE], rtt[OUTPUT_NUMBER_SIZE];

        /* The least is that of the network; what comes on top is queues, and the two programs at work. */
        output_note("path: %s%s%s%s, round trip %s at least, lately %s, packets of %u bytes, %llu lost",
                    paths[i].remote.family == KITH_FAMILY_RELAY ? "through " : "direct, ",
                    paths[i].local.family == KITH_FAMILY_NONE ? "" : kith_sockaddr_format(&paths[i].local, local),
                    paths[i].remote.family == KITH_FAMILY_RELAY ? ""
                    : paths[i].local.family == KITH_FAMILY_NONE ? "to "
                                                                : " to ",
                    cli_via(conn, &paths[i].remote, remote),
                    output_duration(paths[i].rtt_min_ns != UINT64_MAX ? paths[i].rtt_min_ns : 0, least),
                    output_duration(paths[i].rtt_ns, rtt), paths[i].udp_size,
                    (unsigned long long)paths[i].packets_lost);
    }
}
