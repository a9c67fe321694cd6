/* What `kith serve` is told. */
#include "config.h"

#include "../server/log.h"
#include "../server/places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nobody's on the Internet (reserved for private use). */
static const char DEFAULT_ORIGIN[] = "kith.internal";
/* The loopback address that the two servers talk over. */
static const struct kith_sockaddr INSIDE = { .family = KITH_FAMILY_V4, .ip = { 127, 0, 0, 1 } };

void serve_config_init(struct serve_config *config)
{
    memset(config, 0, sizeof *config);
    config->drain_s = 10;
    config->put_limit = KITH_DNS_PUT_SMART;
}

void serve_config_dispose(struct serve_config *config)
{
    texts_free(&config->origins);
    texts_free(&config->addresses);
    text_set(&config->data_dir, NULL);
    certificate_free(&config->certificate);
    access_free(&config->access);
    memset(config, 0, sizeof *config);
}

/* ---- The file ---- */

static const struct setting_choice modes[] = { { "acme", CERTIFICATE_ACME },
                                               { "self-signed", CERTIFICATE_SELF },
                                               { "files", CERTIFICATE_FILES },
                                               { "none", CERTIFICATE_NONE },
                                               { NULL, 0 } };
static const struct setting_choice put_limits[] = { { "on", KITH_DNS_PUT_SMART },
                                                    { "off", KITH_DNS_PUT_DISABLED },
                                                    { NULL, 0 } };

static bool take_addresses(void *field, const struct toml_value *value, char *error)
{
    static const char expected[] = "an IP address in quotes, or an array of them";
    const char *const *items = value->kind == TOML_STRINGS ? value->texts : &value->text;
    size_t count = value->kind == TOML_STRINGS ? value->text_count : 1;
    struct kith_sockaddr address;
    struct texts *texts = field;

    if (value->kind != TOML_STRINGS && value->kind != TOML_STRING)
        return setting_wrong(error, value, expected);
    texts_free(texts);
    for (size_t i = 0; i < count; i++) {
        if (!place_parse_ip(items[i], &address))
            return setting_wrong(error, value, expected);
        texts_add(texts, items[i]);
    }
    return true;
}

#define FIELD(name) offsetof(struct serve_config, name)
static const struct setting keys[] = {
    { "hostname", SETTING_TEXTS, FIELD(certificate.names) },
    { "addresses", SETTING_TEXTS, FIELD(addresses), .take = take_addresses },
    { "origin", SETTING_TEXTS, FIELD(origins) },
    { "data_dir", SETTING_TEXT, FIELD(data_dir) },
    { "certificate", SETTING_CHOICE, FIELD(certificate.mode), modes },
    { "contact", SETTING_TEXT, FIELD(certificate.contact) },
    { "cert_file", SETTING_TEXT, FIELD(certificate.chain_file) },
    { "key_file", SETTING_TEXT, FIELD(certificate.key_file) },
    { "acme_staging", SETTING_BOOL, FIELD(is_staging) },
    { "acme_url", SETTING_TEXT, FIELD(certificate.acme_url) },
    { "acme_ca", SETTING_TEXT, FIELD(certificate.acme_ca) },
    { "acme_challenge", SETTING_CHOICE, FIELD(certificate.challenge), certificate_challenges },
    { "bind", SETTING_IP, FIELD(bind) },
    { "http_bind", SETTING_ADDRESS, FIELD(http) },
    { "https_bind", SETTING_ADDRESS, FIELD(https) },
    { "dns_bind", SETTING_ADDRESS, FIELD(dns) },
    { "quic_bind", SETTING_ADDRESS, FIELD(quic) },
    { "metrics_bind", SETTING_ADDRESS, FIELD(metrics) },
    { "no_metrics", SETTING_BOOL, FIELD(has_no_metrics) },
    { "workers", SETTING_U64, FIELD(workers) },
    { "drain_seconds", SETTING_SECONDS, FIELD(drain_s) },
    { "limits.client_bytes_per_second", SETTING_U32, FIELD(quota.rx_bytes_per_s) },
    { "limits.connections", SETTING_U64, FIELD(quota.connections_max) },
    { "limits.connections_per_ip", SETTING_U64, FIELD(quota.connections_per_ip_max) },
    { "limits.publish", SETTING_CHOICE, FIELD(put_limit), put_limits },
    { "limits.publish_rate", SETTING_RATE, FIELD(put_rate) },
    { "limits.new_key_rate", SETTING_RATE, FIELD(key_rate) },
    ACCESS_KEYS("", FIELD(access)),
};

static void see_key(void *target, const char *path)
{
    struct serve_config *config = target;

    config->has_mode = config->has_mode || strcmp(path, "certificate") == 0;
}

static const struct settings settings = { keys, sizeof keys / sizeof keys[0], see_key, NULL };

bool serve_config_read(struct serve_config *config, const char *file, char *error)
{
    return settings_read(&settings, config, file, error);
}

void serve_config_print(const struct serve_config *config)
{
    settings_print(&settings, config);
    access_print(&config->access);
}

/* ---- The certificate ---- */

static bool wrong(char *error, const char *text)
{
    snprintf(error, SETTINGS_ERROR_SIZE, "%s", text);
    return false;
}

/* What was not said follows from what was: files, an ACME account, else an authority of our own. */
static void choose_certificate(struct serve_config *config)
{
    struct certificate_settings *certificate = &config->certificate;

    if (config->has_mode || certificate->mode != CERTIFICATE_NONE)
        return;
    if (certificate->chain_file != NULL || certificate->key_file != NULL)
        certificate->mode = CERTIFICATE_FILES;
    else if (certificate->contact != NULL && !config->is_dev)
        certificate->mode = CERTIFICATE_ACME;
    else
        certificate->mode = CERTIFICATE_SELF;
}

static bool fill_certificate(struct serve_config *config, char *error)
{
    static const struct certificate_words words = { "hostname", "contact" };
    struct certificate_settings *certificate = &config->certificate;
    char path[4096];

    choose_certificate(config);
    if (config->is_dev && certificate->names.count == 0) {
        texts_add(&certificate->names, "127.0.0.1");
        texts_add(&certificate->names, "localhost");
    }
    if (certificate->names.count == 0)
        return wrong(error,
                     "the name by which clients reach this server is needed: hostname, or --hostname NAME (or --dev)");
    if (certificate->mode == CERTIFICATE_NONE)
        return true;
    if (certificate->mode == CERTIFICATE_ACME && config->is_dev)
        return wrong(error, "an ACME certificate cannot be had with --dev: nobody but this machine reaches it");
    if (certificate->mode == CERTIFICATE_FILES && (certificate->chain_file == NULL || certificate->key_file == NULL))
        return wrong(error, "a certificate from files needs both of them: cert_file and key_file");
    if (certificate->directory == NULL) {
        snprintf(path, sizeof path, "%.4000s/certificates", config->data_dir);
        text_set(&certificate->directory, path);
    }
    certificate->is_staging = config->is_staging;
    return certificate_fill(certificate, &words, error);
}

/* ---- Where things are kept ---- */

static bool fill_directory(struct serve_config *config, char *error)
{
    const char *given = environment_text("STATE_DIRECTORY"), *state = environment_text("XDG_STATE_HOME"),
               *home = environment_text("HOME"), *name = config->is_dev ? "serve-dev" : "serve";
    char path[4096];

    if (config->data_dir != NULL)
        return true;
    config->is_in_memory = config->is_dev;
    if (given != NULL && !config->is_dev) /* systemd's StateDirectory= */
        snprintf(path, sizeof path, "%s", given);
    else if (state != NULL)
        snprintf(path, sizeof path, "%s/kith/%s", state, name);
    else if (home != NULL)
        snprintf(path, sizeof path, "%s/.local/state/kith/%s", home, name);
    else
        return wrong(error, "there is no HOME: data_dir, or --data-dir DIR, says where things are kept");
    text_set(&config->data_dir, path);
    return true;
}

/* ---- Addresses ---- */

static struct kith_sockaddr place_of(const struct serve_config *config, const struct kith_sockaddr *given,
                                     uint16_t port, uint16_t dev_port)
{
    struct kith_sockaddr at = config->bind;

    if (given->family != KITH_FAMILY_NONE)
        return *given;
    if (config->is_dev && at.family == KITH_FAMILY_NONE)
        at = INSIDE;
    at.port = !config->is_dev ? port : config->is_free_port ? 0 : dev_port;
    return at;
}

static void fill_relay(struct serve_config *config)
{
    struct kith_sockaddr http = place_of(config, &config->http, SERVE_PORT_HTTP, SERVE_PORT_DEV_HTTP);
    struct kith_sockaddr https = place_of(config, &config->https, SERVE_PORT_HTTPS, SERVE_PORT_HTTPS);
    struct kith_sockaddr quic = place_of(config, &config->quic, KITH_RELAY_PORT_DISCOVERY, KITH_RELAY_PORT_DISCOVERY);
    struct kith_sockaddr metrics = config->metrics;
    bool has_tls = config->certificate.mode != CERTIFICATE_NONE;
    struct kith_relay_options *relay = &config->relay;

    if (metrics.family == KITH_FAMILY_NONE) { /* not for the public */
        metrics = INSIDE;
        metrics.port = config->is_free_port ? 0 : SERVE_PORT_METRICS;
    }
    *relay = (struct kith_relay_options) {
        KITH_RELAY_OPTIONS_INIT,         .http = config->http_binds,       .https = config->https_binds,
        .discovery = config->quic_binds, .metrics = config->metrics_binds, .worker_count = (uint32_t)config->workers,
        .access = &config->access.rules, .quota = &config->quota,          .log = log_write,
        .log_level = log_level()
    };
    relay->http_count = place_expand(&http, config->http_binds);
    if (has_tls) {
        relay->tls = &config->certificate.tls;
        relay->discovery_count = place_expand(&quic, config->quic_binds);
    }
    if (has_tls && (!config->is_dev || config->https.family != KITH_FAMILY_NONE))
        relay->https_count = place_expand(&https, config->https_binds);
    if (!config->has_no_metrics)
        relay->metrics_count = place_expand(&metrics, config->metrics_binds);
}

/* ---- The lookup server ---- */

static bool is_ip(const char *text)
{
    struct kith_sockaddr ignored;

    return place_parse_ip(text, &ignored);
}

static void fill_zone(struct serve_config *config, struct dns_config *dns)
{
    const char *name = config->certificate.names.items[0];
    struct kith_sockaddr address;

    if (config->origins.count == 0)
        texts_add(&config->origins, config->is_dev || is_ip(name) ? DEFAULT_ORIGIN : name);
    texts_free(&dns->origins);
    texts_free(&dns->name_servers);
    texts_free(&dns->addresses_v4);
    text_set(&dns->soa, NULL);
    for (size_t i = 0; i < config->origins.count; i++)
        texts_add(&dns->origins, config->origins.items[i]);
    for (size_t i = 0; i < config->addresses.count; i++) {
        (void)place_parse_ip(config->addresses.items[i], &address);
        texts_add(address.family == KITH_FAMILY_V4 ? &dns->addresses_v4 : &dns->addresses_v6,
                  config->addresses.items[i]);
    }
    if (!config->is_dev && !is_ip(name))
        texts_add(&dns->name_servers, name);
}

static bool fill_lookup(struct serve_config *config, struct dns_service *lookup, char *error)
{
    struct dns_config *dns = &lookup->config;
    struct kith_sockaddr at = place_of(config, &config->dns, SERVE_PORT_DNS, SERVE_PORT_DEV_DNS);

    dns_config_init(dns);
    fill_zone(config, dns);
    dns->dns.ip = at;
    dns->dns.port = at.port;
    dns->http.ip = INSIDE; /* the relay passes on what is for it */
    dns->http.port = 0;
    dns->https.is_on = false;
    dns->has_no_metrics = true; /* the relay serves them with its own */
    dns->is_in_memory = config->is_in_memory;
    text_set(&dns->data_dir, config->data_dir);
    dns->put_limit = config->is_dev ? KITH_DNS_PUT_DISABLED : config->put_limit;
    dns->limits.put_rate = config->put_rate;
    dns->limits.key_rate = config->key_rate;
    texts_add(&dns->trusted_proxies, "127.0.0.1");
    dns->workers = config->workers;
    dns->drain_s = config->drain_s;
    return dns_service_prepare(lookup, error);
}

bool serve_config_fill(struct serve_config *config, struct dns_service *lookup, char *error)
{
    if (config->workers > KITH_RELAY_THREADS_MAX) {
        snprintf(error, SETTINGS_ERROR_SIZE, "workers: at most %d", KITH_RELAY_THREADS_MAX);
        return false;
    }
    if (config->is_free_port && !config->is_dev)
        return wrong(error, "--any-port goes with --dev");
    if (!fill_directory(config, error) || !fill_certificate(config, error) || !access_fill(&config->access, error))
        return false;
    fill_relay(config);
    return fill_lookup(config, lookup, error);
}
