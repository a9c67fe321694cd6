/* The relay program: flags, start, signals, end. */
#include "run.h"

#include "../kith/options.h"
#include "config.h"
#include "guard.h"
#include "log.h"
#include "notify.h"

#include <errno.h>
#include <jansson.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_WRONG_USAGE = 2 };
enum { PEM_SIZE = 16384 };

struct program {
    const char *name;
    const char *config_file;
    const char *token_file;
    bool is_dev, is_checked, is_printed, is_json, is_self_signed, is_acme, is_quiet, has_no_guard, wants_help,
        wants_version, wants_quic;
    int verbose;
    const char *cert_file, *key_file, *cert_dir, *contact, *acme_url, *acme_ca;
    struct kith_sockaddr http, https, quic, metrics;
    bool has_no_metrics;
    uint64_t workers;
    struct config_texts hostnames, tokens;
    struct config config;
    struct kith_relay_options options;
    struct kith_relay *relay;
};

static int fail(const struct program *program, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(const struct program *program, int code, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (program->is_json)
        log_line(LOG_LEVEL_ERROR, "%s", text);
    else
        fprintf(stderr, "%s: %s\n", program->name, text);
    return code;
}

/* ---- Flags ---- */

static const char *take_address(void *target, const char *text)
{
    return kith_sockaddr_parse(text, target) == 0 ? NULL
                                                  : "an address and port are expected, like 0.0.0.0:80 or [::]:443";
}

static const char *take_text(void *target, const char *text)
{
    if (text[0] == 0)
        return "it is empty";
    config_add_text(target, text);
    return NULL;
}

static void print_help(const struct program *program, const struct option_spec *own)
{
    printf("Usage: %s [OPTIONS]\n\nRuns a relay for iroh and kith endpoints: when no direct path exists between two of "
           "them, "
           "their\nencrypted data flows through it.\n\nOptions\n",
           program->name);
    options_print(own);
    printf("\nWithout --dev and without a certificate it serves plain HTTP on port 80, as iroh-relay does. The file "
           "has the\n"
           "keys of iroh-relay. A running relay reads it again on SIGHUP, and ends in order on SIGTERM.\n"
           "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. More: man kith-relay\n");
}

static bool parse(struct program *p, int argc, char **argv, char *error)
{
    const struct option_spec own[] = {
        { "config-path", 'c', OPTION_TEXT, &p->config_file, "FILE", "TOML file", NULL },
        { "config", 0, OPTION_TEXT, &p->config_file, "FILE", NULL, NULL },
        { "dev", 0, OPTION_FLAG, &p->is_dev, NULL, "plain HTTP on port 3340, for tests on one machine", NULL },
        { "hostname", 0, OPTION_CALL, &p->hostnames, "NAME", "name of this relay for its certificate; repeatable",
          take_text },
        { "self-signed", 0, OPTION_FLAG, &p->is_self_signed, NULL, "make a certificate authority and a certificate",
          NULL },
        { "acme", 0, OPTION_FLAG, &p->is_acme, NULL, "get a certificate from Let's Encrypt (or --acme-url)", NULL },
        { "contact", 0, OPTION_TEXT, &p->contact, "EMAIL", "address for the ACME account", NULL },
        { "acme-url", 0, OPTION_TEXT, &p->acme_url, "URL", "directory of another ACME authority", NULL },
        { "acme-ca", 0, OPTION_TEXT, &p->acme_ca, "FILE", "PEM: roots that vouch for that authority's https", NULL },
        { "cert", 0, OPTION_TEXT, &p->cert_file, "FILE", "PEM certificate chain; read again when it changes", NULL },
        { "key", 0, OPTION_TEXT, &p->key_file, "FILE", "PEM private key of --cert", NULL },
        { "cert-dir", 0, OPTION_TEXT, &p->cert_dir, "DIR", "where --self-signed and --acme keep things (.)", NULL },
        { "http-bind", 0, OPTION_CALL, &p->http, "ADDR:PORT", "HTTP ([::]:80, --dev: [::]:3340)", take_address },
        { "https-bind", 0, OPTION_CALL, &p->https, "ADDR:PORT", "HTTPS (port 443 there)", take_address },
        { "quic", 0, OPTION_FLAG, &p->wants_quic, NULL, "QUIC address discovery; needs a certificate", NULL },
        { "quic-bind", 0, OPTION_CALL, &p->quic, "ADDR:PORT", "address discovery (UDP port 7842 there)", take_address },
        { "metrics-bind", 0, OPTION_CALL, &p->metrics, "ADDR:PORT", "metrics (port 9090 there)", take_address },
        { "no-metrics", 0, OPTION_FLAG, &p->has_no_metrics, NULL, "serve no metrics", NULL },
        { "token", 0, OPTION_CALL, &p->tokens, "TOKEN", "clients must know it; repeatable. Others see it in ps",
          take_text },
        { "token-file", 0, OPTION_TEXT, &p->token_file, "FILE", "the same, one a line", NULL },
        { "workers", 0, OPTION_UNSIGNED, &p->workers, "N", "threads (as many as cores)", NULL },
        { "check-config", 0, OPTION_FLAG, &p->is_checked, NULL, "say whether it could start, and end", NULL },
        { "print-config", 0, OPTION_FLAG, &p->is_printed, NULL, "print what it would run with, and end", NULL },
        { "no-sandbox", 0, OPTION_FLAG, &p->has_no_guard, NULL, "without landlock and seccomp", NULL },
        { "json", 0, OPTION_FLAG, &p->is_json, NULL, "JSON: the start on stdout, logs on stderr", NULL },
        { "quiet", 'q', OPTION_FLAG, &p->is_quiet, NULL, "log warnings and errors only", NULL },
        { "verbose", 'v', OPTION_COUNT, &p->verbose, NULL, "log more; repeat for still more", NULL },
        { "version", 'V', OPTION_FLAG, &p->wants_version, NULL, "print the version, and end", NULL },
        { "help", 'h', OPTION_FLAG, &p->wants_help, NULL, "this text", NULL },
        { 0 },
    };
    struct option_args args;

    if (!options_parse(own, NULL, argc, argv, &args, error))
        return false;
    if (args.count != 0) {
        snprintf(error, OPTIONS_ERROR_SIZE, "'%.80s' is one argument too many", args.items[0]);
        return false;
    }
    if (p->wants_help)
        print_help(p, own);
    return true;
}

static void start_log(const struct program *program)
{
    const char *filter = getenv("RUST_LOG");
    int level = LOG_LEVEL_INFO;

    if (program->is_quiet)
        level = LOG_LEVEL_WARN;
    else if (program->verbose != 0)
        level = program->verbose > 1 ? LOG_LEVEL_TRACE : LOG_LEVEL_DEBUG;
    else if (filter != NULL)
        log_level_parse(filter, &level);
    log_init(level, program->is_json);
}

/* ---- Configuration: file, then environment, then flags ---- */

static bool apply_certificate_flags(const struct program *p, struct config *config, char *error)
{
    if (p->is_self_signed + p->is_acme + (p->cert_file != NULL || p->key_file != NULL) > 1) {
        snprintf(error, CONFIG_ERROR_SIZE, "only one of --self-signed, --acme and --cert can be");
        return false;
    }
    if ((p->cert_file == NULL) != (p->key_file == NULL)) {
        snprintf(error, CONFIG_ERROR_SIZE, "--cert and --key belong together");
        return false;
    }
    if (p->is_self_signed)
        config->cert_mode = CONFIG_CERT_SELF;
    if (p->is_acme)
        config->cert_mode = CONFIG_CERT_ACME;
    if (p->cert_file != NULL) {
        config->cert_mode = CONFIG_CERT_FILES;
        config_set_text(&config->cert_path, p->cert_file);
        config_set_text(&config->key_path, p->key_file);
    }
    if (p->cert_dir != NULL)
        config_set_text(&config->cert_dir, p->cert_dir);
    if (p->contact != NULL)
        config_set_text(&config->contact, p->contact);
    if (p->acme_url != NULL)
        config_set_text(&config->acme_url, p->acme_url);
    if (p->acme_ca != NULL)
        config_set_text(&config->acme_ca, p->acme_ca);
    for (size_t i = 0; i < p->hostnames.count; i++)
        config_add_text(&config->hostnames, p->hostnames.items[i]);
    return true;
}

static void apply_address(const struct kith_sockaddr *flag, struct kith_sockaddr *target)
{
    if (flag->family != KITH_FAMILY_NONE)
        *target = *flag;
}

static bool apply_flags(const struct program *p, struct config *config, char *error)
{
    config->is_dev = config->is_dev || p->is_dev;
    apply_address(&p->http, &config->http);
    apply_address(&p->https, &config->https);
    apply_address(&p->quic, &config->quic);
    apply_address(&p->metrics, &config->metrics);
    config->has_discovery = config->has_discovery || p->wants_quic || p->quic.family != KITH_FAMILY_NONE;
    config->has_metrics = (config->has_metrics || p->metrics.family != KITH_FAMILY_NONE) && !p->has_no_metrics;
    if (p->workers != 0)
        config->workers = p->workers;
    if (!apply_certificate_flags(p, config, error))
        return false;
    if (p->tokens.count == 0 && p->token_file == NULL)
        return true;
    if (config->has_access && config->admit != KITH_RELAY_ADMIT_TOKEN) {
        snprintf(error, CONFIG_ERROR_SIZE, "a token was given, but the file has another rule of access");
        return false;
    }
    config->admit = KITH_RELAY_ADMIT_TOKEN;
    for (size_t i = 0; i < p->tokens.count; i++)
        config_add_text(&config->tokens, p->tokens.items[i]);
    return p->token_file == NULL || config_read_tokens(config, p->token_file, error);
}

/* Fills config and options anew. False: error; both are to be disposed of nevertheless. */
static bool configure(const struct program *p, struct config *config, struct kith_relay_options *options, char *error)
{
    config_init(config);
    if (p->config_file != NULL && !config_read(config, p->config_file, error))
        return false;
    if (!config_read_environment(config, error) || !apply_flags(p, config, error))
        return false;
    if (!config_options(config, options, error))
        return false;
    options->log = log_write;
    options->log_level = log_level();
    return true;
}

/* ---- What it tells when it runs ---- */

static const char *const address_words[] = { "http", "https", "metrics", "discovery" };
enum { ADDRESS_KINDS = 4 };

static json_t *addresses_json(const struct kith_relay *relay, enum kith_relay_address kind)
{
    struct kith_sockaddr list[KITH_RELAY_BINDS_MAX];
    size_t count = kith_relay_addresses(relay, kind, list, KITH_RELAY_BINDS_MAX);
    char text[KITH_SOCKADDR_TEXT_SIZE];
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(kith_sockaddr_format(&list[i], text)));
    return array;
}

static void print_started(const struct program *program)
{
    json_t *object = json_object();
    char *line;

    json_object_set_new(object, "event", json_string("listening"));
    json_object_set_new(object, "version", json_string(kith_version()));
    for (int kind = 0; kind < ADDRESS_KINDS; kind++)
        json_object_set_new(object, address_words[kind], addresses_json(program->relay, (enum kith_relay_address)kind));
    if ((line = json_dumps(object, JSON_COMPACT)) != NULL)
        printf("%s\n", line);
    fflush(stdout);
    free(line);
    json_decref(object);
}

static void tell_started(const struct program *program)
{
    struct kith_sockaddr list[KITH_RELAY_BINDS_MAX];
    char text[KITH_SOCKADDR_TEXT_SIZE];

    for (int kind = 0; kind < ADDRESS_KINDS; kind++) {
        size_t count = kith_relay_addresses(program->relay, (enum kith_relay_address)kind, list, KITH_RELAY_BINDS_MAX);

        for (size_t i = 0; i < count; i++)
            log_line(LOG_LEVEL_INFO, "%s on %s", address_words[kind], kith_sockaddr_format(&list[i], text));
    }
    if (program->is_json)
        print_started(program);
}

/* Whom clients must trust: printed, so that it can be copied to them. */
static void tell_authority(const struct program *program)
{
    char pem[PEM_SIZE];
    size_t size;

    if (program->config.cert_mode != CONFIG_CERT_SELF ||
        kith_relay_authority(program->relay, pem, sizeof pem, &size) != 0)
        return;
    log_line(LOG_LEVEL_INFO,
             "the certificate is vouched for by an authority of our own: clients need %s/authority.crt as a "
             "trusted root (kith: --relay-ca; iroh: a custom root certificate)",
             program->config.cert_dir);
    if (!program->is_json)
        printf("%s", pem);
    fflush(stdout);
}

/* ---- Signals ---- */

static void fill_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

static bool same_places(const struct config *a, const struct config *b)
{
    return memcmp(a->http_binds, b->http_binds, sizeof a->http_binds) == 0 &&
           memcmp(a->https_binds, b->https_binds, sizeof a->https_binds) == 0 &&
           memcmp(a->quic_binds, b->quic_binds, sizeof a->quic_binds) == 0 &&
           memcmp(a->metrics_binds, b->metrics_binds, sizeof a->metrics_binds) == 0 && a->cert_mode == b->cert_mode &&
           a->workers == b->workers;
}

/* SIGHUP: certificate, access and limits anew. What is wrong leaves everything as it was. */
static void reload(struct program *program)
{
    struct config config;
    struct kith_relay_options options;
    char error[CONFIG_ERROR_SIZE];

    notify_reloading();
    log_line(LOG_LEVEL_INFO, "reading the configuration again");
    kith_relay_reload_certificate(program->relay);
    if (!configure(program, &config, &options, error)) {
        log_line(LOG_LEVEL_ERROR, "the old configuration stays: %s", error);
    } else if (kith_relay_set_access(program->relay, options.access) != 0 ||
               kith_relay_set_quota(program->relay, options.quota) != 0) {
        log_line(LOG_LEVEL_ERROR, "the old configuration stays: %s", kith_error_last()->text);
    } else {
        if (!same_places(&config, &program->config))
            log_line(LOG_LEVEL_WARN,
                     "other addresses, another kind of certificate or number of workers need a restart");
        log_line(LOG_LEVEL_INFO, "the new configuration is in effect");
    }
    config_dispose(&config);
    notify("READY=1");
}

/* Goes on until a signal asks for the end. */
static int serve(struct program *program, int signals)
{
    uint64_t watchdog_ns = notify_watchdog_ns();
    struct pollfd poll_on = { .fd = signals, .events = POLLIN };
    struct signalfd_siginfo info;

    for (;;) {
        int ready = poll(&poll_on, 1, watchdog_ns != 0 ? (int)(watchdog_ns / KITH_NS_PER_MS) : -1);

        if (ready < 0 && errno != EINTR)
            return fail(program, EXIT_FAILED, "poll: %s", strerror(errno));
        if (ready == 0 && kith_relay_check_alive(program->relay))
            notify("WATCHDOG=1");
        if (ready <= 0 || read(signals, &info, sizeof info) != (ssize_t)sizeof info)
            continue;
        if (info.ssi_signo != SIGHUP)
            return EXIT_DONE;
        reload(program);
    }
}

static void stop(struct program *program)
{
    sigset_t set;
    int err;

    notify("STOPPING=1");
    log_line(LOG_LEVEL_INFO, "ending: clients are told to go elsewhere (a second signal ends at once)");
    fill_signals(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL); /* they have their default action from here on */
    err = kith_relay_stop(program->relay, (uint64_t)(program->config.drain_s * 1e9));
    program->relay = NULL;
    if (err != 0)
        log_line(LOG_LEVEL_WARN, "%s: the rest was cut", kith_error_last()->text);
    log_line(LOG_LEVEL_INFO, "ended");
}

/* ---- The whole ---- */

static void fence_files(const struct program *program)
{
    const struct config *config = &program->config;
    struct guard_paths paths = { .readable_count = 0 };

    guard_add_readable(&paths, program->config_file);
    guard_add_readable(&paths, program->token_file);
    guard_add_readable(&paths, config->cert_path);
    guard_add_readable(&paths, config->key_path);
    guard_add_readable(&paths, config->acme_ca);
    guard_add_readable(&paths, config->access_ca);
    guard_add_readable(&paths, getenv("SSL_CERT_FILE"));
    if (config->cert_mode == CONFIG_CERT_SELF || config->cert_mode == CONFIG_CERT_ACME) {
        /* It must be there to be an exception to the fence; what cannot be made is told of when it is used. */
        if (mkdir(config->cert_dir, 0700) == 0)
            log_line(LOG_LEVEL_INFO, "made the directory %s", config->cert_dir);
        guard_add_writable(&paths, config->cert_dir);
    }
    guard_files(&paths);
}

static int run(struct program *program)
{
    int signals, code;
    sigset_t set;

    fill_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL); /* before any thread: none of them gets one by its default action */
    if ((signals = signalfd(-1, &set, SFD_CLOEXEC)) < 0)
        return fail(program, EXIT_FAILED, "signals cannot be waited for: %s", strerror(errno));
    if (!program->has_no_guard) {
        fence_files(program);
        guard_rings();
    }
    if (kith_relay_start(&program->options, &program->relay) != 0) {
        close(signals);
        return fail(program, EXIT_FAILED, "%s", kith_error_last()->text);
    }
    if (!program->has_no_guard)
        guard_calls();
    tell_started(program);
    tell_authority(program);
    notify("READY=1");
    code = serve(program, signals);
    stop(program);
    close(signals);
    return code;
}

static int check(struct program *program)
{
    if (kith_relay_check(&program->options) != 0)
        return fail(program, EXIT_WRONG_USAGE, "%s", kith_error_last()->text);
    printf("the configuration is fine\n");
    return EXIT_DONE;
}

/**
 * Buffers live from the sealing of a record until the kernel has taken it. By default glibc gives the end of its heap back as
 * soon as 128 KiB of it are free, and takes it again for the next one: with TLS that costs a third of the relay's time in page
 * faults. An idle client still holds nothing: what is kept is the process's, once for each thread.
 */
static void keep_heap(void)
{
#ifdef __GLIBC__
    enum { KEPT = 16 << 20, STEP = 1 << 20 };

    /* Refused by an allocator that takes its place: then it has rules of its own. */
    (void)mallopt(M_TRIM_THRESHOLD, KEPT);
    (void)mallopt(M_TOP_PAD, STEP);
#endif
}

static int with_config(struct program *program)
{
    char error[CONFIG_ERROR_SIZE];

    if (!configure(program, &program->config, &program->options, error))
        return fail(program, EXIT_WRONG_USAGE, "%s", error);
    if (program->is_checked)
        return check(program);
    if (program->is_printed) {
        config_print(&program->config);
        return EXIT_DONE;
    }
    keep_heap();
    guard_process();
    return run(program);
}

int relay_program(const char *name, int argc, char **argv)
{
    struct program *program = calloc(1, sizeof *program);
    char error[OPTIONS_ERROR_SIZE];
    bool is_parsed;
    int code;

    if (program == NULL)
        return EXIT_FAILED;
    program->name = name;
    is_parsed = parse(program, argc, argv, error);
    start_log(program); /* how errors look is among what was parsed */
    if (!is_parsed) {
        code = fail(program, EXIT_WRONG_USAGE, "%s (%s --help tells more)", error, name);
    } else if (program->wants_help) {
        code = EXIT_DONE;
    } else if (program->wants_version) {
        printf("kith-relay %s\n", kith_version());
        code = EXIT_DONE;
    } else {
        code = with_config(program);
    }
    config_dispose(&program->config);
    config_free_texts(&program->tokens);
    config_free_texts(&program->hostnames);
    free(program);
    return fflush(stdout) == 0 ? code : EXIT_FAILED;
}
