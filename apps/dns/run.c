/* The lookup server's program: flags, start, reload, end. The rest is that of all servers. */
#include "run.h"

#include "../server/log.h"
#include "../server/places.h"
#include "../server/program.h"
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct program {
    struct server server;
    const char *data_dir, *soa;
    bool is_dev, is_in_memory, has_no_metrics, wants_dht;
    struct kith_sockaddr dns, http, https, metrics;
    int put_limit; /* -1: not given */
    uint64_t workers;
    struct certificate_flags certificate;
    struct texts origins, addresses_v4, addresses_v6, name_servers, bootstrap;
    struct dns_service service;
};

/* ---- Configuration: file, then environment, then flags ---- */

static const char *take_ip(void *target, const char *text)
{
    struct program *program = target;
    struct kith_sockaddr address;

    if (!place_parse_ip(text, &address))
        return "an IP address is expected, like 192.0.2.1 or 2001:db8::1";
    texts_add(address.family == KITH_FAMILY_V4 ? &program->addresses_v4 : &program->addresses_v6, text);
    return NULL;
}

static const char *take_put_limit(void *target, const char *text)
{
    for (size_t i = 0; dns_put_limits[i].name != NULL; i++) {
        if (strcmp(text, dns_put_limits[i].name) == 0) {
            *(int *)target = dns_put_limits[i].value;
            return NULL;
        }
    }
    return "simple, smart or disabled is expected";
}

static void apply_place(const struct kith_sockaddr *flag, struct dns_place *place)
{
    if (flag->family == KITH_FAMILY_NONE)
        return;
    place->is_on = true;
    place->ip = *flag;
    place->port = flag->port;
}

static void apply_zone(const struct program *p, struct dns_config *config)
{
    if (p->origins.count != 0) { /* what belongs to other zones is not theirs */
        text_set(&config->soa, NULL);
        texts_free(&config->name_servers);
        texts_free(&config->addresses_v4);
        texts_free(&config->addresses_v6);
    }
    texts_replace(&config->origins, &p->origins);
    texts_replace(&config->name_servers, &p->name_servers);
    texts_replace(&config->addresses_v4, &p->addresses_v4);
    texts_replace(&config->addresses_v6, &p->addresses_v6);
    if (p->soa != NULL)
        text_set(&config->soa, p->soa);
}

/* A certificate that nobody would see was not meant so. */
static bool check_certificate(const struct program *p, const struct dns_config *config, char *error)
{
    const struct certificate_flags *flags = &p->certificate;

    if (config->https.is_on || (!flags->is_self_signed && !flags->is_acme && flags->chain_file == NULL))
        return true;
    snprintf(error, SETTINGS_ERROR_SIZE, "a certificate without HTTPS: --https-bind, or [https], says where that is");
    return false;
}

static bool apply_flags(const struct program *p, struct dns_config *config, char *error)
{
    if (p->data_dir != NULL)
        text_set(&config->data_dir, p->data_dir);
    if (p->is_dev)
        dns_config_set_dev(config);
    config->is_in_memory = (config->is_in_memory || p->is_in_memory) && p->data_dir == NULL;
    apply_place(&p->dns, &config->dns);
    apply_place(&p->http, &config->http);
    apply_place(&p->https, &config->https);
    place_apply(&p->metrics, &config->metrics);
    config->has_no_metrics = (config->has_no_metrics && p->metrics.family == KITH_FAMILY_NONE) || p->has_no_metrics;
    config->has_dht = config->has_dht || p->wants_dht || p->bootstrap.count != 0;
    texts_replace(&config->bootstrap, &p->bootstrap);
    apply_zone(p, config);
    if (p->put_limit >= 0)
        config->put_limit = p->put_limit;
    if (p->workers != 0)
        config->workers = p->workers;
    if (p->certificate.names.count != 0)
        texts_free(&config->certificate.names);
    config->is_prod = config->is_prod || p->certificate.is_acme;
    return check_certificate(p, config, error) && certificate_apply(&config->certificate, &p->certificate, error);
}

/* Fills a service anew. False: error; it is to be disposed of nevertheless. */
static bool fill(const struct program *p, struct dns_service *service, char *error)
{
    struct dns_config *config = &service->config;

    dns_config_init(config);
    if (p->server.config_file != NULL && !dns_config_read(config, p->server.config_file, error))
        return false;
    certificate_read_environment(&config->certificate);
    return apply_flags(p, config, error) && dns_service_prepare(service, error);
}

static bool configure(void *self, char *error)
{
    struct program *program = self;

    return fill(program, &program->service, error);
}

static int check(void *self)
{
    return kith_dns_server_check(&((struct program *)self)->service.options);
}

static void print(const void *self)
{
    dns_config_print(&((const struct program *)self)->service.config);
}

/* ---- Start, reload and end ---- */

static void add_paths(const void *self, struct guard_paths *paths)
{
    dns_service_add_paths(&((const struct program *)self)->service, paths);
}

static int start(void *self)
{
    return dns_service_start(&((struct program *)self)->service);
}

static void tell(const void *self)
{
    dns_service_tell(&((const struct program *)self)->service);
}

static void describe(const void *self, json_t *object)
{
    dns_service_describe(&((const struct program *)self)->service, object);
}

static bool reload(void *self, const char **needs_restart, char *error)
{
    struct program *program = self;
    struct dns_service fresh = { .server = NULL };
    bool done;

    kith_dns_server_reload_certificate(program->service.server);
    done = fill(program, &fresh, error) && dns_service_reload(&program->service, &fresh, needs_restart, error);
    dns_service_dispose(&fresh);
    return done;
}

static bool is_alive(void *self)
{
    return kith_dns_server_check_alive(((struct program *)self)->service.server);
}

static int stop(void *self)
{
    return dns_service_stop(&((struct program *)self)->service);
}

/* ---- The whole ---- */

static const struct server_kind dns_kind = {
    .title = "kith-dns",
    .purpose = "Runs a lookup server: endpoints of iroh and kith publish there where they are (signed, over HTTP),\n"
               "and others ask for it, over DNS, DNS over HTTPS and HTTP.",
    .postlude =
        "Without a file it is set up as iroh-dns-server is then: HTTP on port 8080, HTTPS on 8443 with a certificate\n"
        "made here, DNS on 5300. The file has the keys of iroh-dns-server. A running server reads it again on SIGHUP,\n"
        "and ends in order on SIGTERM.",
    .farewell = "what is under way is answered",
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
        { "dev", 0, OPTION_FLAG, &p->is_dev, NULL, "on 127.0.0.1, packets in memory, PUTs without limit: for tests",
          NULL },
        { "data-dir", 0, OPTION_TEXT, &p->data_dir, "DIR", "where packets and certificates are kept", NULL },
        { "in-memory", 0, OPTION_FLAG, &p->is_in_memory, NULL, "keep packets in memory only", NULL },
        { "origin", 0, OPTION_CALL, &p->origins, "NAME", "zone that is served; repeatable; instead of the file's",
          texts_take },
        { "address", 0, OPTION_CALL, p, "IP", "A or AAAA of the zones: of this server; repeatable", take_ip },
        { "name-server", 0, OPTION_CALL, &p->name_servers, "NAME", "NS of the zones; repeatable", texts_take },
        { "soa", 0, OPTION_TEXT, &p->soa, "TEXT", "SOA of the zones, as in a zone file", NULL },
        { "dns-bind", 0, OPTION_CALL, &p->dns, "ADDR:PORT", "DNS over UDP and TCP", place_take },
        { "http-bind", 0, OPTION_CALL, &p->http, "ADDR:PORT", "HTTP", place_take },
        { "https-bind", 0, OPTION_CALL, &p->https, "ADDR:PORT", "HTTPS", place_take },
        CERTIFICATE_OPTIONS(p->certificate),
        { "metrics-bind", 0, OPTION_CALL, &p->metrics, "ADDR:PORT", "metrics (127.0.0.1:9117)", place_take },
        { "no-metrics", 0, OPTION_FLAG, &p->has_no_metrics, NULL, "serve no metrics", NULL },
        { "put-limit", 0, OPTION_CALL, &p->put_limit, "HOW",
          "limit of each client's PUTs: simple, smart (behind a proxy), disabled", take_put_limit },
        { "dht", 0, OPTION_FLAG, &p->wants_dht, NULL, "ask the Mainline DHT for what nobody put here", NULL },
        { "dht-bootstrap", 0, OPTION_CALL, &p->bootstrap, "HOST:PORT", "node of a DHT to begin with; repeatable",
          dns_take_bootstrap },
        { "workers", 0, OPTION_UNSIGNED, &p->workers, "N", "threads (as many as cores)", NULL },
        { 0 },
    };

    return server_program(&p->server, own, argc, argv);
}

int dns_program(const char *name, int argc, char **argv)
{
    struct program *program = must(calloc(1, sizeof *program));
    struct texts *const lists[] = { &program->origins,      &program->addresses_v4, &program->addresses_v6,
                                    &program->name_servers, &program->bootstrap,    &program->certificate.names };
    int code;

    program->server = (struct server) { .name = name, .kind = &dns_kind, .self = program };
    program->put_limit = -1;
    code = run(program, argc, argv);
    dns_service_dispose(&program->service);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        texts_free(lists[i]);
    free(program);
    return code;
}
