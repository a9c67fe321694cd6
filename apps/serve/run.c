/* kith serve: flags, start, reload, end of a relay and a lookup server in one process. The rest is that of all servers. */
#include "run.h"

#include "../server/log.h"
#include "../server/places.h"
#include "../server/program.h"
#include "clients.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct program {
    struct server server;
    const char *data_dir, *token_file;
    bool is_dev, is_free_port, has_no_metrics;
    struct kith_sockaddr http, https, dns, quic, metrics;
    uint64_t workers;
    struct certificate_flags certificate;
    struct texts origins, addresses, tokens;
    struct serve_config config;
    struct dns_service lookup;
    struct kith_relay *relay;
    struct clients clients;
};

/* ---- Configuration: file, then environment, then flags ---- */

static const char *take_ip(void *target, const char *text)
{
    struct kith_sockaddr ignored;

    if (!place_parse_ip(text, &ignored))
        return "an IP address is expected, like 192.0.2.1 or 2001:db8::1";
    texts_add(target, text);
    return NULL;
}

static bool apply_flags(const struct program *p, struct serve_config *config, char *error)
{
    config->is_dev = p->is_dev;
    config->is_free_port = p->is_free_port;
    config->has_no_metrics = config->has_no_metrics || p->has_no_metrics;
    place_apply(&p->http, &config->http);
    place_apply(&p->https, &config->https);
    place_apply(&p->dns, &config->dns);
    place_apply(&p->quic, &config->quic);
    place_apply(&p->metrics, &config->metrics);
    texts_replace(&config->origins, &p->origins);
    texts_replace(&config->addresses, &p->addresses);
    if (p->data_dir != NULL)
        text_set(&config->data_dir, p->data_dir);
    if (p->workers != 0)
        config->workers = p->workers;
    if (p->certificate.names.count != 0)
        texts_free(&config->certificate.names);
    return certificate_apply(&config->certificate, &p->certificate, error) &&
           access_add_tokens(&config->access, &p->tokens, p->token_file, error);
}

/* Fills both anew. False: error; they are to be disposed of nevertheless. */
static bool fill(const struct program *p, struct serve_config *config, struct dns_service *lookup, char *error)
{
    serve_config_init(config);
    if (p->server.config_file != NULL && !serve_config_read(config, p->server.config_file, error))
        return false;
    access_read_environment(&config->access);
    certificate_read_environment(&config->certificate);
    return apply_flags(p, config, error) && serve_config_fill(config, lookup, error);
}

static bool configure(void *self, char *error)
{
    struct program *program = self;

    return fill(program, &program->config, &program->lookup, error);
}

static int check(void *self)
{
    struct program *program = self;
    int err = kith_relay_check(&program->config.relay);

    return err != 0 ? err : kith_dns_server_check(&program->lookup.options);
}

static void print(const void *self)
{
    serve_config_print(&((const struct program *)self)->config);
}

static void add_paths(const void *self, struct guard_paths *paths)
{
    const struct program *program = self;

    /* The certificates' directory may lie in that of the packets: made after it. */
    dns_service_add_paths(&program->lookup, paths);
    guard_add_readable(paths, program->token_file);
    guard_add_readable(paths, program->config.access.ca);
    if (program->config.relay.tls != NULL)
        certificate_add_paths(&program->config.certificate, paths);
}

/* ---- Start ---- */

static int lookup_metrics(void *ctx, char *text, size_t capacity, size_t *size)
{
    return kith_dns_server_metrics(ctx, text, capacity, size);
}

/* The lookup server comes first and goes last: the relay passes requests on to it. */
static int start(void *self)
{
    static const char *const paths[] = { "/pkarr", "/dns-query" };
    struct program *program = self;
    struct kith_relay_pass_on pass_on = { .paths = paths, .path_count = 2 };
    struct kith_relay_options options = program->config.relay;
    int err = dns_service_start(&program->lookup);

    if (err != 0)
        return err;
    (void)kith_dns_server_addresses(program->lookup.server, KITH_DNS_SERVER_ADDRESS_HTTP, &pass_on.to, 1);
    options.pass_on = &pass_on;
    options.more_metrics = lookup_metrics;
    options.more_metrics_ctx = program->lookup.server;
    if ((err = kith_relay_start(&options, &program->relay)) != 0) {
        /* Nobody was served yet, and the error's text is the relay's. */
        kith_dns_server_stop(program->lookup.server, 0);
        program->lookup.server = NULL;
        return err;
    }
    clients_find(&program->config, program->relay, program->lookup.server, &program->clients);
    return 0;
}

/* ---- What it tells when it runs ---- */

static const char *const address_words[] = { "http", "https", "metrics", "discovery" };
enum { ADDRESS_KINDS = 4 };

static size_t dns_addresses(const struct program *program, struct kith_sockaddr *list)
{
    return kith_dns_server_addresses(program->lookup.server, KITH_DNS_SERVER_ADDRESS_DNS, list,
                                     KITH_DNS_SERVER_BINDS_MAX);
}

static void describe(const void *self, json_t *object)
{
    const struct program *program = self;
    struct kith_sockaddr list[KITH_RELAY_BINDS_MAX];
    json_t *origins = json_array();

    for (int kind = 0; kind < ADDRESS_KINDS; kind++) {
        size_t count = kith_relay_addresses(program->relay, (enum kith_relay_address)kind, list, KITH_RELAY_BINDS_MAX);

        json_object_set_new(object, address_words[kind], places_json(list, count));
    }
    json_object_set_new(object, "dns", places_json(list, dns_addresses(program, list)));
    for (size_t i = 0; i < program->config.origins.count; i++)
        json_array_append_new(origins, json_string(program->config.origins.items[i]));
    json_object_set_new(object, "origins", origins);
    json_object_set_new(object, "data_dir", json_string(program->config.data_dir));
    clients_describe(&program->clients, object);
}

static void tell(const void *self)
{
    const struct program *program = self;
    struct kith_sockaddr list[KITH_RELAY_BINDS_MAX];

    for (int kind = 0; kind < ADDRESS_KINDS; kind++) {
        size_t count = kith_relay_addresses(program->relay, (enum kith_relay_address)kind, list, KITH_RELAY_BINDS_MAX);

        places_log(address_words[kind], list, count);
    }
    places_log("dns", list, dns_addresses(program, list));
    for (size_t i = 0; i < program->config.origins.count; i++)
        log_line(LOG_LEVEL_INFO, "answers below the origin %s", program->config.origins.items[i]);
    if (program->config.is_in_memory)
        log_line(LOG_LEVEL_INFO, "packets are kept in memory: they are gone with this process");
    else
        log_line(LOG_LEVEL_INFO, "packets and certificates are kept in %s", program->config.data_dir);
    clients_tell(&program->clients, program->relay, program->server.is_json);
}

/* ---- Reload and end ---- */

static bool same_places(const struct serve_config *a, const struct serve_config *b)
{
    return memcmp(a->http_binds, b->http_binds, sizeof a->http_binds) == 0 &&
           memcmp(a->https_binds, b->https_binds, sizeof a->https_binds) == 0 &&
           memcmp(a->quic_binds, b->quic_binds, sizeof a->quic_binds) == 0 &&
           memcmp(a->metrics_binds, b->metrics_binds, sizeof a->metrics_binds) == 0 &&
           a->relay.metrics_count == b->relay.metrics_count;
}

/* Certificate, access, origins and limits anew. What is wrong leaves everything as it was. */
static bool reload_into(struct program *program, const struct serve_config *config, const struct dns_service *lookup,
                        const char **needs_restart, char *error)
{
    if (kith_relay_set_access(program->relay, config->relay.access) != 0 ||
        kith_relay_set_quota(program->relay, config->relay.quota) != 0) {
        snprintf(error, SETTINGS_ERROR_SIZE, "%s", kith_error_last()->text);
        return false;
    }
    if (!dns_service_reload(&program->lookup, lookup, needs_restart, error))
        return false;
    program->config.drain_s = config->drain_s;
    if (!same_places(config, &program->config))
        *needs_restart = "other addresses need a restart";
    else if (!certificate_same(&config->certificate, &program->config.certificate))
        *needs_restart = "another certificate needs a restart; the files of this one are read again";
    return true;
}

static bool reload(void *self, const char **needs_restart, char *error)
{
    struct program *program = self;
    struct serve_config config;
    struct dns_service lookup = { .server = NULL };
    bool done = fill(program, &config, &lookup, error);

    kith_relay_reload_certificate(program->relay);
    if (done && kith_relay_check(&config.relay) != 0) {
        snprintf(error, SETTINGS_ERROR_SIZE, "%s", kith_error_last()->text);
        done = false;
    }
    if (done && kith_dns_server_check(&lookup.options) != 0) {
        snprintf(error, SETTINGS_ERROR_SIZE, "%s", kith_error_last()->text);
        done = false;
    }
    done = done && reload_into(program, &config, &lookup, needs_restart, error);
    dns_service_dispose(&lookup);
    serve_config_dispose(&config);
    return done;
}

/* Both are asked, each time: a question is what makes their threads go round. */
static bool is_alive(void *self)
{
    struct program *program = self;
    bool is_relay_alive = kith_relay_check_alive(program->relay);
    bool is_lookup_alive = kith_dns_server_check_alive(program->lookup.server);

    if (!is_relay_alive || !is_lookup_alive)
        log_line(LOG_LEVEL_ERROR, "the %s does not go on", is_relay_alive ? "lookup server" : "relay");
    return is_relay_alive && is_lookup_alive;
}

static int stop(void *self)
{
    struct program *program = self;
    int err = kith_relay_stop(program->relay, (uint64_t)(program->config.drain_s * 1e9));
    int lookup_err = dns_service_stop(&program->lookup);

    return err != 0 ? err : lookup_err;
}

/* ---- The whole ---- */

static const struct server_kind serve_kind = {
    .title = "kith-serve",
    .purpose = "Runs everything that a private network of iroh and kith endpoints needs on one machine: a relay, QUIC\n"
               "address discovery, and a lookup server (signed packets over HTTP, DNS, DNS over HTTPS), which share a\n"
               "name, a port and a certificate. Nobody else's servers are needed.",
    .postlude =
        "With --dev it serves this machine alone, without a file: plain HTTP on port 3340, DNS on 5300. Else it\n"
        "needs a hostname, and serves HTTPS on 443, HTTP on 80, DNS on 53, address discovery on UDP 7842. When\n"
        "it runs it prints the options with which kith's commands use it. A running server reads its file again\n"
        "on SIGHUP, and ends in order on SIGTERM.",
    .farewell = "clients are told to go elsewhere, what is under way is answered",
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
        { "dev", 0, OPTION_FLAG, &p->is_dev, NULL, "on 127.0.0.1 and high ports, packets in memory: for tests", NULL },
        { "any-port", 0, OPTION_FLAG, &p->is_free_port, NULL, "with --dev: ports that are free", NULL },
        { "data-dir", 0, OPTION_TEXT, &p->data_dir, "DIR", "where packets and certificates are kept", NULL },
        CERTIFICATE_OPTIONS(p->certificate),
        { "origin", 0, OPTION_CALL, &p->origins, "NAME", "zone that is served (the hostname); repeatable", texts_take },
        { "address", 0, OPTION_CALL, &p->addresses, "IP", "of this machine, told in the zone; repeatable", take_ip },
        { "token", 0, OPTION_CALL, &p->tokens, "TOKEN",
          "clients of the relay must know it; repeatable. Others see it in ps", texts_take },
        { "token-file", 0, OPTION_TEXT, &p->token_file, "FILE", "the same, one a line", NULL },
        { "http-bind", 0, OPTION_CALL, &p->http, "ADDR:PORT", "HTTP ([::]:80)", place_take },
        { "https-bind", 0, OPTION_CALL, &p->https, "ADDR:PORT", "HTTPS ([::]:443)", place_take },
        { "dns-bind", 0, OPTION_CALL, &p->dns, "ADDR:PORT", "DNS over UDP and TCP ([::]:53)", place_take },
        { "quic-bind", 0, OPTION_CALL, &p->quic, "ADDR:PORT", "address discovery (UDP [::]:7842)", place_take },
        { "metrics-bind", 0, OPTION_CALL, &p->metrics, "ADDR:PORT", "metrics (127.0.0.1:9090)", place_take },
        { "no-metrics", 0, OPTION_FLAG, &p->has_no_metrics, NULL, "serve no metrics", NULL },
        { "workers", 0, OPTION_UNSIGNED, &p->workers, "N", "threads of each server (as many as cores)", NULL },
        { 0 },
    };

    return server_program(&p->server, own, argc, argv);
}

int serve_program(const char *name, int argc, char **argv)
{
    struct program *program = must(calloc(1, sizeof *program));
    struct texts *const lists[] = { &program->origins, &program->addresses, &program->tokens,
                                    &program->certificate.names };
    int code;

    program->server = (struct server) { .name = name, .kind = &serve_kind, .self = program };
    code = run(program, argc, argv);
    dns_service_dispose(&program->lookup);
    serve_config_dispose(&program->config);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        texts_free(lists[i]);
    free(program);
    return code;
}
