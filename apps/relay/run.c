/* The relay program: flags, start, reload, end. The rest is that of all servers. */
#include "run.h"

#include "../server/log.h"
#include "../server/places.h"
#include "../server/program.h"
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEM_SIZE = 16384 };

struct program {
    struct server server;
    const char *token_file;
    bool is_dev, wants_quic, has_no_metrics;
    struct kith_sockaddr http, https, quic, metrics;
    uint64_t workers;
    struct certificate_flags certificate;
    struct texts tokens;
    struct config config;
    struct kith_relay_options options;
    struct kith_relay *relay;
};

/* ---- Configuration: file, then environment, then flags ---- */

static bool apply_flags(const struct program *p, struct config *config, char *error)
{
    config->is_dev = config->is_dev || p->is_dev;
    place_apply(&p->http, &config->http);
    place_apply(&p->https, &config->https);
    place_apply(&p->quic, &config->quic);
    place_apply(&p->metrics, &config->metrics);
    config->has_discovery = config->has_discovery || p->wants_quic || p->quic.family != KITH_FAMILY_NONE;
    config->has_metrics = (config->has_metrics || p->metrics.family != KITH_FAMILY_NONE) && !p->has_no_metrics;
    if (p->workers != 0)
        config->workers = p->workers;
    return certificate_apply(&config->certificate, &p->certificate, error) &&
           access_add_tokens(&config->access, &p->tokens, p->token_file, error);
}

/* Fills config and options anew. False: error; config is to be disposed of nevertheless. */
static bool fill(const struct program *p, struct config *config, struct kith_relay_options *options, char *error)
{
    config_init(config);
    if (p->server.config_file != NULL && !config_read(config, p->server.config_file, error))
        return false;
    access_read_environment(&config->access);
    certificate_read_environment(&config->certificate);
    if (!apply_flags(p, config, error) || !config_options(config, options, error))
        return false;
    options->log = log_write;
    options->log_level = log_level();
    return true;
}

static bool configure(void *self, char *error)
{
    struct program *program = self;

    return fill(program, &program->config, &program->options, error);
}

static int check(void *self)
{
    return kith_relay_check(&((struct program *)self)->options);
}

static void print(const void *self)
{
    config_print(&((const struct program *)self)->config);
}

static void add_paths(const void *self, struct guard_paths *paths)
{
    const struct program *program = self;

    guard_add_readable(paths, program->token_file);
    guard_add_readable(paths, program->config.access.ca);
    certificate_add_paths(&program->config.certificate, paths);
}

/* ---- What it tells when it runs ---- */

static int start(void *self)
{
    struct program *program = self;

    return kith_relay_start(&program->options, &program->relay);
}

static const char *const address_words[] = { "http", "https", "metrics", "discovery" };
enum { ADDRESS_KINDS = 4 };

static void describe(const void *self, json_t *object)
{
    const struct program *program = self;
    struct kith_sockaddr list[KITH_RELAY_BINDS_MAX];

    for (int kind = 0; kind < ADDRESS_KINDS; kind++) {
        size_t count = kith_relay_addresses(program->relay, (enum kith_relay_address)kind, list, KITH_RELAY_BINDS_MAX);

        json_object_set_new(object, address_words[kind], places_json(list, count));
    }
}

/* Whom clients must trust: printed, so that it can be copied to them. */
static void tell_authority(const struct program *program)
{
    char pem[PEM_SIZE];
    size_t size;

    if (program->config.certificate.mode != CERTIFICATE_SELF ||
        kith_relay_authority(program->relay, pem, sizeof pem, &size) != 0)
        return;
    log_line(LOG_LEVEL_INFO,
             "the certificate is vouched for by an authority of our own: clients need %s/authority.crt as a "
             "trusted root (kith: --relay-ca; iroh: a custom root certificate)",
             program->config.certificate.directory);
    if (!program->server.is_json)
        printf("%s", pem);
    fflush(stdout);
}

static void tell(const void *self)
{
    const struct program *program = self;
    struct kith_sockaddr list[KITH_RELAY_BINDS_MAX];

    for (int kind = 0; kind < ADDRESS_KINDS; kind++) {
        size_t count = kith_relay_addresses(program->relay, (enum kith_relay_address)kind, list, KITH_RELAY_BINDS_MAX);

        places_log(address_words[kind], list, count);
    }
    tell_authority(program);
}

/* ---- Reload and end ---- */

static bool same_places(const struct config *a, const struct config *b)
{
    return memcmp(a->http_binds, b->http_binds, sizeof a->http_binds) == 0 &&
           memcmp(a->https_binds, b->https_binds, sizeof a->https_binds) == 0 &&
           memcmp(a->quic_binds, b->quic_binds, sizeof a->quic_binds) == 0 &&
           memcmp(a->metrics_binds, b->metrics_binds, sizeof a->metrics_binds) == 0 &&
           a->certificate.mode == b->certificate.mode && a->workers == b->workers;
}

/* Certificate, access and limits anew. What is wrong leaves everything as it was. */
static bool reload(void *self, const char **needs_restart, char *error)
{
    struct program *program = self;
    struct config config;
    struct kith_relay_options options;
    bool done = false;

    kith_relay_reload_certificate(program->relay);
    if (fill(program, &config, &options, error)) {
        done = kith_relay_set_access(program->relay, options.access) == 0 &&
               kith_relay_set_quota(program->relay, options.quota) == 0;
        if (!done)
            snprintf(error, SETTINGS_ERROR_SIZE, "%s", kith_error_last()->text);
        else if (!same_places(&config, &program->config))
            *needs_restart = "other addresses, another kind of certificate or number of workers need a restart";
    }
    config_dispose(&config);
    return done;
}

static bool is_alive(void *self)
{
    return kith_relay_check_alive(((struct program *)self)->relay);
}

static int stop(void *self)
{
    struct program *program = self;

    return kith_relay_stop(program->relay, (uint64_t)(program->config.drain_s * 1e9));
}

/* ---- The whole ---- */

static const struct server_kind relay_kind = {
    .title = "kith-relay",
    .purpose = "Runs a relay for iroh and kith endpoints: when no direct path exists between two of them, their\n"
               "encrypted data flows through it.",
    .postlude = "Without --dev and without a certificate it serves plain HTTP on port 80, as iroh-relay does. The file "
                "has the\n"
                "keys of iroh-relay. A running relay reads it again on SIGHUP, and ends in order on SIGTERM.",
    .farewell = "clients are told to go elsewhere",
    .configure = configure,
    .check = check,
    .print = print,
    .add_paths = add_paths,
    .start = start,
    .tell = tell,
    .describe = describe,
    .reload = reload,
    .is_alive = is_alive,
    .stop = stop,
};

static int run(struct program *p, int argc, char **argv)
{
    const struct option_spec own[] = {
        { "dev", 0, OPTION_FLAG, &p->is_dev, NULL, "plain HTTP on port 3340, for tests on one machine", NULL },
        CERTIFICATE_OPTIONS(p->certificate),
        { "cert-dir", 0, OPTION_TEXT, &p->certificate.directory, "DIR",
          "where --self-signed and --acme keep things (.)", NULL },
        { "http-bind", 0, OPTION_CALL, &p->http, "ADDR:PORT", "HTTP ([::]:80, --dev: [::]:3340)", place_take },
        { "https-bind", 0, OPTION_CALL, &p->https, "ADDR:PORT", "HTTPS (port 443 there)", place_take },
        { "quic", 0, OPTION_FLAG, &p->wants_quic, NULL, "QUIC address discovery; needs a certificate", NULL },
        { "quic-bind", 0, OPTION_CALL, &p->quic, "ADDR:PORT", "address discovery (UDP port 7842 there)", place_take },
        { "metrics-bind", 0, OPTION_CALL, &p->metrics, "ADDR:PORT", "metrics (port 9090 there)", place_take },
        { "no-metrics", 0, OPTION_FLAG, &p->has_no_metrics, NULL, "serve no metrics", NULL },
        { "token", 0, OPTION_CALL, &p->tokens, "TOKEN", "clients must know it; repeatable. Others see it in ps",
          texts_take },
        { "token-file", 0, OPTION_TEXT, &p->token_file, "FILE", "the same, one a line", NULL },
        { "workers", 0, OPTION_UNSIGNED, &p->workers, "N", "threads (as many as cores)", NULL },
        { 0 },
    };

    return server_program(&p->server, own, argc, argv);
}

int relay_program(const char *name, int argc, char **argv)
{
    struct program *program = must(calloc(1, sizeof *program));
    int code;

    program->server = (struct server) { .name = name, .kind = &relay_kind, .self = program };
    code = run(program, argc, argv);
    config_dispose(&program->config);
    texts_free(&program->tokens);
    texts_free(&program->certificate.names);
    free(program);
    return code;
}
