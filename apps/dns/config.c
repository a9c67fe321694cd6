/* What the lookup server's program is told. */
#include "config.h"

#include "../server/places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ORIGIN[] = "irohdns.example.", NAME_SERVER[] = "ns1.irohdns.example.";
static const char SOA[] = "irohdns.example hostmaster.irohdns.example 0 10800 3600 604800 3600";

static void set_place(struct dns_place *place, uint16_t port)
{
    *place = (struct dns_place) { .is_on = true, .port = port };
}

/* What holds with a file and without. */
static void set_common(struct dns_config *config)
{
    memset(config, 0, sizeof *config);
    config->metrics =
        (struct kith_sockaddr) { .family = KITH_FAMILY_V4, .ip = { 127, 0, 0, 1 }, .port = DNS_PORT_METRICS };
    config->storage = (struct kith_dns_storage) { .evict_after_ns = 7 * SETTINGS_DAY_S * KITH_NS_PER_S,
                                                  .evict_every_ns = 10 * KITH_NS_PER_S };
    config->batch_max = 65536;
    config->limits.future_ns = 600 * KITH_NS_PER_S;
    config->drain_s = 10;
}

void dns_config_init(struct dns_config *config)
{
    set_common(config);
    set_place(&config->dns, DNS_PORT_DEV);
    set_place(&config->http, DNS_PORT_HTTP);
    set_place(&config->https, DNS_PORT_HTTPS);
    text_set(&config->soa, SOA);
    config->ttl_s = 900;
    texts_add(&config->origins, ORIGIN);
    texts_add(&config->origins, ".");
    texts_add(&config->addresses_v4, "127.0.0.1");
    texts_add(&config->name_servers, NAME_SERVER);
    config->certificate.mode = CERTIFICATE_SELF;
    texts_add(&config->certificate.names, "localhost");
}

void dns_config_dispose(struct dns_config *config)
{
    struct texts *const lists[] = { &config->origins,      &config->addresses_v4, &config->addresses_v6,
                                    &config->name_servers, &config->bootstrap,    &config->trusted_proxies };

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        texts_free(lists[i]);
    text_set(&config->data_dir, NULL);
    text_set(&config->soa, NULL);
    certificate_free(&config->certificate);
    free(config->made_origins);
    free(config->made_addresses);
    memset(config, 0, sizeof *config);
}

void dns_config_set_dev(struct dns_config *config)
{
    struct dns_place *const places[] = { &config->dns, &config->http, &config->https };

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        place_parse_ip("127.0.0.1", &places[i]->ip);
    config->is_in_memory = config->data_dir == NULL;
    config->put_limit = KITH_DNS_PUT_DISABLED;
}

/* ---- The file ---- */

const struct setting_choice dns_put_limits[] = { { "simple", KITH_DNS_PUT_SIMPLE },
                                                 { "smart", KITH_DNS_PUT_SMART },
                                                 { "disabled", KITH_DNS_PUT_DISABLED },
                                                 { NULL, 0 } };
static const struct setting_choice modes[] = { { "manual", CERTIFICATE_FILES },
                                               { "lets_encrypt", CERTIFICATE_ACME },
                                               { "self_signed", CERTIFICATE_SELF },
                                               { NULL, 0 } };

/* Addresses of one family, as texts: the file may name one, or several. */
static bool take_addresses(struct texts *texts, const struct toml_value *value, uint8_t family, const char *expected,
                           char *error)
{
    const char *const *items = value->kind == TOML_STRINGS ? value->texts : &value->text;
    size_t count = value->kind == TOML_STRINGS ? value->text_count : 1;
    struct kith_sockaddr address;

    if (value->kind != TOML_STRINGS && value->kind != TOML_STRING)
        return setting_wrong(error, value, expected);
    texts_free(texts);
    for (size_t i = 0; i < count; i++) {
        if (!place_parse_ip(items[i], &address) || address.family != family)
            return setting_wrong(error, value, expected);
        texts_add(texts, items[i]);
    }
    return true;
}

static bool take_v4(void *field, const struct toml_value *value, char *error)
{
    return take_addresses(field, value, KITH_FAMILY_V4, "an IPv4 address in quotes, or an array of them", error);
}

static bool take_v6(void *field, const struct toml_value *value, char *error)
{
    return take_addresses(field, value, KITH_FAMILY_V6, "an IPv6 address in quotes, or an array of them", error);
}

const char *dns_take_bootstrap(void *target, const char *text)
{
    const char *colon = strrchr(text, ':');
    char *end;
    unsigned long port = colon != NULL && colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 0;

    if (colon == text || port == 0 || port > UINT16_MAX || *end != 0)
        return "a host and its port, like \"router.example.com:6881\"";
    texts_add(target, text);
    return NULL;
}

static bool take_bootstrap(void *field, const struct toml_value *value, char *error)
{
    static const char expected[] = "an array of hosts with their ports, like [\"router.example.com:6881\"]";

    texts_free(field);
    if (value->kind != TOML_STRINGS)
        return setting_wrong(error, value, expected);
    for (size_t i = 0; i < value->text_count; i++) {
        if (dns_take_bootstrap(field, value->texts[i]) != NULL)
            return setting_wrong(error, value, expected);
    }
    return true;
}

#define FIELD(name) offsetof(struct dns_config, name)
static const struct setting keys[] = {
    { "data_dir", SETTING_TEXT, FIELD(data_dir) },
    { "pkarr_put_rate_limit", SETTING_CHOICE, FIELD(put_limit), dns_put_limits },
    { "http.port", SETTING_PORT, FIELD(http.port) },
    { "http.bind_addr", SETTING_IP, FIELD(http.ip) },
    { "http.listen_backlog", SETTING_U64, FIELD(backlog) },
    { "https.port", SETTING_PORT, FIELD(https.port) },
    { "https.bind_addr", SETTING_IP, FIELD(https.ip) },
    { "https.listen_backlog", SETTING_U64, FIELD(backlog) },
    { "https.domains", SETTING_TEXTS, FIELD(certificate.names) },
    { "https.cert_mode", SETTING_CHOICE, FIELD(certificate.mode), modes },
    { "https.letsencrypt_contact", SETTING_TEXT, FIELD(certificate.contact) },
    { "https.letsencrypt_prod", SETTING_BOOL, FIELD(is_prod) },
    { "dns.port", SETTING_PORT, FIELD(dns.port) },
    { "dns.bind_addr", SETTING_IP, FIELD(dns.ip) },
    { "dns.default_soa", SETTING_TEXT, FIELD(soa) },
    { "dns.default_ttl", SETTING_U64, FIELD(ttl_s) },
    { "dns.origins", SETTING_TEXTS, FIELD(origins) },
    { "dns.rr_a", SETTING_TEXTS, FIELD(addresses_v4), .take = take_v4 },
    { "dns.rr_aaaa", SETTING_TEXTS, FIELD(addresses_v6), .take = take_v6 },
    { "dns.rr_ns", SETTING_TEXTS, FIELD(name_servers) },
    { "metrics.disabled", SETTING_BOOL, FIELD(has_no_metrics) },
    { "metrics.bind_addr", SETTING_ADDRESS, FIELD(metrics) },
    { "mainline.enabled", SETTING_BOOL, FIELD(has_dht) },
    { "mainline.bootstrap", SETTING_TEXTS, FIELD(bootstrap), .take = take_bootstrap },
    { "zone_store.max_batch_size", SETTING_U64, FIELD(batch_max) },
    { "zone_store.max_batch_time", SETTING_DURATION, FIELD(batch_ns) },
    { "zone_store.eviction", SETTING_DURATION, FIELD(storage.evict_after_ns) },
    { "zone_store.eviction_interval", SETTING_DURATION, FIELD(storage.evict_every_ns) },
    /* Ours. */
    { "https.cert_path", SETTING_TEXT, FIELD(certificate.chain_file) },
    { "https.key_path", SETTING_TEXT, FIELD(certificate.key_file) },
    { "https.acme_url", SETTING_TEXT, FIELD(certificate.acme_url) },
    { "https.acme_ca", SETTING_TEXT, FIELD(certificate.acme_ca) },
    { "https.acme_challenge", SETTING_CHOICE, FIELD(certificate.challenge), certificate_challenges },
    { "mainline.bind_addr", SETTING_ADDRESS, FIELD(dht_local) },
    { "zone_store.in_memory", SETTING_BOOL, FIELD(is_in_memory) },
    { "zone_store.max_bytes", SETTING_U64, FIELD(storage.size_max) },
    { "workers", SETTING_U64, FIELD(workers) },
    { "drain_seconds", SETTING_SECONDS, FIELD(drain_s) },
    { "limits.put_rate", SETTING_RATE, FIELD(limits.put_rate) },
    { "limits.put_burst", SETTING_U32, FIELD(limits.put_burst) },
    { "limits.key_rate", SETTING_RATE, FIELD(limits.key_rate) },
    { "limits.key_burst", SETTING_U32, FIELD(limits.key_burst) },
    { "limits.trusted_proxies", SETTING_TEXTS, FIELD(trusted_proxies) },
    { "limits.response_rate", SETTING_RATE, FIELD(limits.response_rate) },
    { "limits.response_burst", SETTING_U32, FIELD(limits.response_burst) },
    { "limits.tcp_connections", SETTING_U32, FIELD(limits.tcp_max) },
    { "limits.tcp_connections_per_ip", SETTING_U32, FIELD(limits.tcp_per_client_max) },
    { "limits.http_connections", SETTING_U32, FIELD(limits.http_max) },
    { "limits.http_seconds", SETTING_SECONDS, FIELD(http_s) },
    { "limits.future", SETTING_DURATION, FIELD(limits.future_ns) },
    { "limits.ttl", SETTING_U32, FIELD(limits.ttl_max_s) },
    { "limits.packets", SETTING_U64, FIELD(limits.packets_max) },
};

/* What a file has, as bits. */
enum part {
    HAS_DNS,
    HAS_DNS_PORT,
    HAS_ORIGINS,
    HAS_HTTP,
    HAS_HTTP_PORT,
    HAS_HTTPS,
    HAS_HTTPS_PORT,
    HAS_DOMAINS,
    HAS_CERT_MODE,
    HAS_MAINLINE,
    HAS_MAINLINE_ENABLED
};
static const char *const parts[] = { "dns.",        "dns.port.",        "dns.origins.",
                                     "http.",       "http.port.",       "https.",
                                     "https.port.", "https.domains.",   "https.cert_mode.",
                                     "mainline.",   "mainline.enabled." };

static void see_key(void *target, const char *path)
{
    struct dns_config *config = target;
    char with_dot[128];

    snprintf(with_dot, sizeof with_dot, "%s.", path); /* an empty table is there, too */
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strncmp(with_dot, parts[i], strlen(parts[i])) == 0)
            config->parts |= 1u << i;
    }
}

static bool is_shown(const void *target, const char *path)
{
    const struct dns_config *config = target;

    return strstr(path, "backlog") == NULL && strcmp(path, "zone_store.max_batch_time") != 0 &&
           (config->http.is_on || strncmp(path, "http.", 5) != 0) &&
           (config->https.is_on || strncmp(path, "https.", 6) != 0);
}

static const struct settings settings = { keys, sizeof keys / sizeof keys[0], see_key, is_shown };

static bool has(const struct dns_config *config, enum part part)
{
    return (config->parts & 1u << part) != 0;
}

/* What iroh-dns-server demands, as far as there is no good default. */
static const char *find_missing(const struct dns_config *config)
{
    if (!has(config, HAS_DNS))
        return "there is no [dns]";
    if (!has(config, HAS_DNS_PORT))
        return "[dns] needs a port";
    if (!has(config, HAS_ORIGINS) || config->origins.count == 0)
        return "[dns] needs origins: the names below which it answers";
    if (!has(config, HAS_HTTP) && !has(config, HAS_HTTPS))
        return "there is neither [http] nor [https]: nothing could be published";
    if (has(config, HAS_HTTP) && !has(config, HAS_HTTP_PORT))
        return "[http] needs a port";
    if (has(config, HAS_HTTPS) && !has(config, HAS_HTTPS_PORT))
        return "[https] needs a port";
    if (has(config, HAS_HTTPS) && !has(config, HAS_DOMAINS))
        return "[https] needs domains: the names of this server";
    if (has(config, HAS_HTTPS) && !has(config, HAS_CERT_MODE))
        return "[https] needs cert_mode: \"manual\", \"lets_encrypt\" or \"self_signed\"";
    if (has(config, HAS_MAINLINE) && !has(config, HAS_MAINLINE_ENABLED))
        return "[mainline] needs enabled: true or false";
    return NULL;
}

bool dns_config_read(struct dns_config *config, const char *file, char *error)
{
    const char *missing;

    /* A file takes the place of what is built in. */
    dns_config_dispose(config);
    set_common(config);
    if (!settings_read(&settings, config, file, error))
        return false;
    if ((missing = find_missing(config)) != NULL) {
        snprintf(error, SETTINGS_ERROR_SIZE, "%.300s: %s", file, missing);
        return false;
    }
    config->dns.is_on = true;
    config->http.is_on = has(config, HAS_HTTP);
    config->https.is_on = has(config, HAS_HTTPS);
    return true;
}

/* ---- Options ---- */

/* Below the data directory. Without one it is that of iroh-dns-server: IROH_DNS_DATA_DIR, else iroh-dns among the user's data. */
static void fill_directory(struct dns_config *config)
{
    const char *given = environment_text("IROH_DNS_DATA_DIR"), *data = environment_text("XDG_DATA_HOME"),
               *home = environment_text("HOME");
    char path[4096];

    if (config->data_dir != NULL)
        return;
    if (given != NULL)
        snprintf(path, sizeof path, "%s", given);
    else if (data != NULL)
        snprintf(path, sizeof path, "%s/iroh-dns", data);
    else
        snprintf(path, sizeof path, "%s/.local/share/iroh-dns", home != NULL ? home : "");
    text_set(&config->data_dir, path);
}

/* "<data_dir>/cert_cache/<domain><suffix>", without characters that no domain has. */
static void default_file(char **file, const struct dns_config *config, const char *suffix)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    char path[4096], domain[256];
    size_t size = 0;

    if (*file != NULL)
        return;
    for (const char *c = config->certificate.names.items[0]; *c != 0 && size + 1 < sizeof domain; c++) {
        if (strchr(allowed, *c) != NULL)
            domain[size++] = *c;
    }
    domain[size] = 0;
    snprintf(path, sizeof path, "%.3600s/cert_cache/%s%s", config->data_dir, domain, suffix);
    text_set(file, path);
}

static bool fill_tls(struct dns_config *config, struct kith_dns_server_options *options, char *error)
{
    static const struct certificate_words words = { "https.domains", "https.letsencrypt_contact" };
    struct certificate_settings *certificate = &config->certificate;
    char path[4096];

    if (!config->https.is_on)
        return true;
    if (certificate->mode == CERTIFICATE_NONE) {
        snprintf(error, SETTINGS_ERROR_SIZE, "https needs a certificate: --self-signed, --acme or --cert");
        return false;
    }
    if (certificate->mode == CERTIFICATE_FILES && certificate->chain_file == NULL && certificate->names.count != 1) {
        snprintf(error, SETTINGS_ERROR_SIZE,
                 "https.domains: exactly one name is needed to find the certificate's files; or name "
                 "them: https.cert_path, https.key_path");
        return false;
    }
    if (certificate->mode == CERTIFICATE_FILES) {
        default_file(&certificate->chain_file, config, ".crt");
        default_file(&certificate->key_file, config, ".key");
    }
    if (certificate->directory == NULL) {
        snprintf(path, sizeof path, "%.4000s/cert_cache", config->data_dir);
        text_set(&certificate->directory, path);
    }
    certificate->is_staging = !config->is_prod;
    options->tls = &certificate->tls;
    return certificate_fill(certificate, &words, error);
}

static void fill_place(struct dns_place *place, const struct kith_sockaddr **list, size_t *count)
{
    struct kith_sockaddr at = place->ip;

    at.port = place->port;
    place->bind_count = place->is_on ? place_expand(&at, place->binds) : 0;
    *list = place->binds;
    *count = place->bind_count;
}

static void fill_origins(struct dns_config *config, struct kith_dns_server_options *options)
{
    const struct texts *const families[] = { &config->addresses_v4, &config->addresses_v6 };

    free(config->made_addresses);
    free(config->made_origins);
    config->made_address_count = 0;
    config->made_addresses = must(calloc(families[0]->count + families[1]->count + 1, sizeof *config->made_addresses));
    config->made_origins = must(calloc(config->origins.count + 1, sizeof *config->made_origins));
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < families[i]->count; j++)
            place_parse_ip(families[i]->items[j], &config->made_addresses[config->made_address_count++]);
    }
    for (size_t i = 0; i < config->origins.count; i++)
        config->made_origins[i] = (struct kith_dns_origin) {
            .name = config->origins.items[i],
            .soa = config->soa,
            .ttl_s = (uint32_t)config->ttl_s,
            .addresses = config->made_addresses,
            .address_count = config->made_address_count,
            .name_servers = (const char *const *)config->name_servers.items,
            .name_server_count = config->name_servers.count,
        };
    options->origins = config->made_origins;
    options->origin_count = config->origins.count;
}

static bool in_range(const char *key, uint64_t value, uint64_t max, char *error)
{
    if (value <= max)
        return true;
    snprintf(error, SETTINGS_ERROR_SIZE, "%s: at most %llu", key, (unsigned long long)max);
    return false;
}

/* 0 would be the library's default, which nobody means who writes it. */
static bool is_given(const char *key, uint64_t value, char *error)
{
    if (value != 0)
        return true;
    snprintf(error, SETTINGS_ERROR_SIZE, "%s: more than 0 is needed", key);
    return false;
}

static bool check_numbers(const struct dns_config *config, char *error)
{
    return in_range("workers", config->workers, KITH_DNS_SERVER_THREADS_MAX, error) &&
           in_range("dns.default_ttl", config->ttl_s, INT32_MAX, error) &&
           in_range("zone_store.max_batch_size", config->batch_max, UINT32_MAX, error) &&
           is_given("zone_store.max_batch_size", config->batch_max, error) &&
           is_given("zone_store.eviction", config->storage.evict_after_ns, error) &&
           is_given("zone_store.eviction_interval", config->storage.evict_every_ns, error) &&
           is_given("limits.future", config->limits.future_ns, error);
}

bool dns_config_options(struct dns_config *config, struct kith_dns_server_options *options, char *error)
{
    *options = (struct kith_dns_server_options) { KITH_DNS_SERVER_OPTIONS_INIT };
    if (!check_numbers(config, error))
        return false;
    fill_directory(config);
    if (!fill_tls(config, options, error))
        return false;
    fill_place(&config->dns, &options->dns, &options->dns_count);
    fill_place(&config->http, &options->http, &options->http_count);
    fill_place(&config->https, &options->https, &options->https_count);
    options->metrics = config->metrics_binds;
    options->metrics_count = config->has_no_metrics ? 0 : place_expand(&config->metrics, config->metrics_binds);
    fill_origins(config, options);
    config->limits.put_limit = (uint8_t)config->put_limit;
    config->limits.http_ns = (uint64_t)(config->http_s * 1e9);
    config->limits.trusted_proxies = (const char *const *)config->trusted_proxies.items;
    config->limits.trusted_proxy_count = config->trusted_proxies.count;
    config->storage.batch_max = (uint32_t)config->batch_max;
    config->dht = (struct kith_dns_dht) { .bootstrap = (const char *const *)config->bootstrap.items,
                                          .bootstrap_count = config->bootstrap.count,
                                          .local = config->dht_local };
    options->worker_count = (uint32_t)config->workers;
    options->data_dir = config->is_in_memory ? NULL : config->data_dir;
    options->limits = &config->limits;
    options->storage = &config->storage;
    options->dht = config->has_dht ? &config->dht : NULL;
    return true;
}

/* ---- Printing ---- */

void dns_config_print(const struct dns_config *config)
{
    settings_print(&settings, config);
}
