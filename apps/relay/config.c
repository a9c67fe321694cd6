/* What the relay program is told. */
#include "config.h"

#include "toml.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static const char LETS_ENCRYPT_STAGING[] = "https://acme-staging-v02.api.letsencrypt.org/directory";

static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("kith-relay: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

void config_init(struct config *config)
{
    memset(config, 0, sizeof *config);
    config->has_relay = config->has_metrics = config->is_prod = true;
    config->drain_s = 10;
    config_set_text(&config->cert_dir, ".");
}

static void free_secret(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

void config_free_texts(struct config_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free_secret(texts->items[i]);
    free(texts->items);
    *texts = (struct config_texts) { 0 };
}

void config_dispose(struct config *config)
{
    free(config->cert_dir);
    free(config->cert_path);
    free(config->key_path);
    free(config->contact);
    free(config->acme_url);
    free(config->acme_ca);
    free(config->access_url);
    free_secret(config->access_bearer);
    free(config->access_ca);
    free(config->ids);
    config_free_texts(&config->hostnames);
    config_free_texts(&config->tokens);
    memset(config, 0, sizeof *config);
}

void config_add_text(struct config_texts *texts, const char *text)
{
    if (texts->count == texts->capacity) {
        texts->capacity = texts->capacity * 2 + 8;
        texts->items = must(realloc(texts->items, texts->capacity * sizeof *texts->items));
    }
    texts->items[texts->count++] = must(strdup(text));
}

void config_set_text(char **target, const char *text)
{
    char *copy = text != NULL ? must(strdup(text)) : NULL;

    free_secret(*target);
    *target = copy;
}

/* ---- The file ---- */

/* What a key of the file may hold. */
enum key_kind {
    KEY_BOOL,
    KEY_TEXT,
    KEY_ADDRESS,
    KEY_RATE,   /* double, > 0 */
    KEY_U64,    /* whole, >= 0 */
    KEY_U32,    /* whole, > 0 */
    KEY_SECONDS /* double, >= 0 */
};

struct key {
    const char *path;
    enum key_kind kind;
    size_t offset;
};

#define FIELD(name) offsetof(struct config, name)
static const struct key keys[] = {
    { "enable_relay", KEY_BOOL, FIELD(has_relay) },
    { "enable_quic_addr_discovery", KEY_BOOL, FIELD(has_discovery) },
    { "enable_metrics", KEY_BOOL, FIELD(has_metrics) },
    { "http_bind_addr", KEY_ADDRESS, FIELD(http) },
    { "metrics_bind_addr", KEY_ADDRESS, FIELD(metrics) },
    { "key_cache_capacity", KEY_U64, FIELD(key_cache) },
    { "limits.accept_conn_limit", KEY_RATE, FIELD(quota.accept_rate) },
    { "limits.accept_conn_burst", KEY_U64, FIELD(quota.accept_burst) },
    { "limits.client.rx.bytes_per_second", KEY_U32, FIELD(quota.rx_bytes_per_s) },
    { "limits.client.rx.max_burst_bytes", KEY_U32, FIELD(quota.rx_burst) },
    { "tls.https_bind_addr", KEY_ADDRESS, FIELD(https) },
    { "tls.quic_bind_addr", KEY_ADDRESS, FIELD(quic) },
    { "tls.cert_dir", KEY_TEXT, FIELD(cert_dir) },
    { "tls.manual_cert_path", KEY_TEXT, FIELD(cert_path) },
    { "tls.manual_key_path", KEY_TEXT, FIELD(key_path) },
    { "tls.prod_tls", KEY_BOOL, FIELD(is_prod) },
    { "tls.contact", KEY_TEXT, FIELD(contact) },
    { "tls.dangerous_http_only", KEY_BOOL, FIELD(is_dev) },
    { "access.http.url", KEY_TEXT, FIELD(access_url) },
    { "access.http.bearer_token", KEY_TEXT, FIELD(access_bearer) },
    /* Ours. */
    { "access.http.ca", KEY_TEXT, FIELD(access_ca) },
    { "tls.acme_url", KEY_TEXT, FIELD(acme_url) },
    { "tls.acme_ca", KEY_TEXT, FIELD(acme_ca) },
    { "workers", KEY_U64, FIELD(workers) },
    { "drain_seconds", KEY_SECONDS, FIELD(drain_s) },
    { "limits.handshake_seconds", KEY_SECONDS, FIELD(handshake_s) },
    { "limits.connections", KEY_U64, FIELD(quota.connections_max) },
    { "limits.connections_per_ip", KEY_U64, FIELD(quota.connections_per_ip_max) },
    { "limits.unauthenticated", KEY_U64, FIELD(quota.unauthenticated_max) },
    { "limits.unauthenticated_per_ip", KEY_U64, FIELD(quota.unauthenticated_per_ip_max) },
    { "limits.client.queue_bytes", KEY_U32, FIELD(quota.client_queue_max) },
    { "limits.queues_bytes", KEY_U64, FIELD(quota.queues_max) },
    { "limits.discovery_rate", KEY_RATE, FIELD(quota.discovery_rate) },
    { "limits.discovery_per_ip_rate", KEY_RATE, FIELD(quota.discovery_per_ip_rate) },
};

/* Sets a field. Returns what is expected in words if the value is something else. */
static const char *set(void *field, enum key_kind kind, const struct toml_value *value)
{
    bool is_whole = value->kind == TOML_INTEGER && value->integer >= 0;
    bool is_number = value->kind == TOML_INTEGER || (value->kind == TOML_FLOAT && isfinite(value->number));

    switch (kind) {
    case KEY_BOOL:
        if (value->kind != TOML_BOOL)
            return "true or false";
        *(bool *)field = value->boolean;
        return NULL;
    case KEY_TEXT:
        if (value->kind != TOML_STRING || value->text[0] == 0)
            return "a text in quotes that is not empty";
        config_set_text(field, value->text);
        return NULL;
    case KEY_ADDRESS:
        if (value->kind != TOML_STRING || kith_sockaddr_parse(value->text, field) != 0)
            return "an address and port in quotes, like \"0.0.0.0:80\" or \"[::]:80\"";
        return NULL;
    case KEY_RATE:
        if (!is_number || value->number <= 0)
            return "a number above 0";
        *(double *)field = value->number;
        return NULL;
    case KEY_SECONDS:
        if (!is_number || value->number < 0 || value->number > 86400)
            return "a number of seconds";
        *(double *)field = value->number;
        return NULL;
    case KEY_U64:
        if (!is_whole)
            return "a whole number, 0 or more";
        *(uint64_t *)field = (uint64_t)value->integer;
        return NULL;
    case KEY_U32:
        if (!is_whole || value->integer == 0 || value->integer > UINT32_MAX)
            return "a whole number from 1 to 4294967295";
        *(uint32_t *)field = (uint32_t)value->integer;
        return NULL;
    }
    return NULL;
}

static bool wrong(char *error, const struct toml_value *value, const char *expected)
{
    snprintf(error, TOML_ERROR_SIZE, "line %d: %.100s: expected %s", value->line, value->path, expected);
    return false;
}

static bool take_ids(struct config *config, const struct toml_value *value, uint8_t admit, char *error)
{
    if (value->kind != TOML_STRINGS)
        return wrong(error, value, "an array of endpoint ids in quotes");
    free(config->ids);
    config->ids = must(calloc(value->text_count + 1, sizeof *config->ids));
    config->id_count = value->text_count;
    for (size_t i = 0; i < value->text_count; i++) {
        if (kith_id_parse(value->texts[i], &config->ids[i]) != 0) {
            snprintf(error, TOML_ERROR_SIZE, "line %d: %.100s: '%.80s' is no endpoint id", value->line, value->path,
                     value->texts[i]);
            return false;
        }
    }
    config->admit = admit;
    return true;
}

static bool take_tokens(struct config *config, const struct toml_value *value, char *error)
{
    if (value->kind != TOML_STRINGS || value->text_count == 0 || value->text_count > CONFIG_TOKENS_MAX)
        return wrong(error, value, "an array of 1 to 1024 texts in quotes");
    config_free_texts(&config->tokens);
    for (size_t i = 0; i < value->text_count; i++) {
        if (value->texts[i][0] == 0)
            return wrong(error, value, "tokens that are not empty");
        config_add_text(&config->tokens, value->texts[i]);
    }
    config->admit = KITH_RELAY_ADMIT_TOKEN;
    return true;
}

static bool take_access(struct config *config, const struct toml_value *value, char *error)
{
    const char *key = value->path + strlen("access");

    /* One rule and no second: which of two would count is not for the reader to guess. */
    if (config->has_access && !(config->admit == KITH_RELAY_ADMIT_HTTP && strncmp(key, ".http.", 6) == 0)) {
        snprintf(error, TOML_ERROR_SIZE, "line %d: %.100s: there is another rule of access already; only one can count",
                 value->line, value->path);
        return false;
    }
    config->has_access = true;
    if (key[0] == 0) {
        if (value->kind != TOML_STRING || strcmp(value->text, "everyone") != 0)
            return wrong(error, value,
                         "\"everyone\", or one of access.allowlist, access.denylist, "
                         "access.shared_token, access.http");
        return true;
    }
    if (strcmp(key, ".allowlist") == 0)
        return take_ids(config, value, KITH_RELAY_ADMIT_LISTED, error);
    if (strcmp(key, ".denylist") == 0)
        return take_ids(config, value, KITH_RELAY_ADMIT_UNLISTED, error);
    return take_tokens(config, value, error);
}

static bool take_hostname(struct config *config, const struct toml_value *value, char *error)
{
    config_free_texts(&config->hostnames);
    if (value->kind == TOML_STRING) {
        config_add_text(&config->hostnames, value->text);
        return true;
    }
    if (value->kind != TOML_STRINGS)
        return wrong(error, value, "a host name in quotes, or an array of them");
    for (size_t i = 0; i < value->text_count; i++)
        config_add_text(&config->hostnames, value->texts[i]);
    return true;
}

static bool take_cert_mode(struct config *config, const struct toml_value *value, char *error)
{
    static const struct {
        const char *name;
        enum config_cert_mode mode;
    } modes[] = { { "Manual", CONFIG_CERT_FILES },
                  { "Reloading", CONFIG_CERT_FILES },
                  { "LetsEncrypt", CONFIG_CERT_ACME },
                  { "SelfSigned", CONFIG_CERT_SELF } };

    for (size_t i = 0; value->kind == TOML_STRING && i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(value->text, modes[i].name) == 0) {
            config->cert_mode = modes[i].mode;
            return true;
        }
    }
    return wrong(error, value, "\"Manual\", \"Reloading\", \"LetsEncrypt\" or \"SelfSigned\"");
}

static bool take_challenge(struct config *config, const struct toml_value *value, char *error)
{
    static const char *const names[] = { "any", "tls-alpn-01", "http-01" };

    for (uint8_t i = 0; value->kind == TOML_STRING && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(value->text, names[i]) == 0) {
            config->acme_challenge = i;
            return true;
        }
    }
    return wrong(error, value, "\"any\", \"tls-alpn-01\" or \"http-01\"");
}

static bool take_value(void *ctx, const struct toml_value *value, char *error)
{
    struct config *config = ctx;
    const char *expected;

    config->has_tls |= strncmp(value->path, "tls.", 4) == 0 && strcmp(value->path, "tls.dangerous_http_only") != 0;
    if (strcmp(value->path, "access") == 0 || strcmp(value->path, "access.allowlist") == 0 ||
        strcmp(value->path, "access.denylist") == 0 || strcmp(value->path, "access.shared_token") == 0)
        return take_access(config, value, error);
    if (strcmp(value->path, "tls.hostname") == 0)
        return take_hostname(config, value, error);
    if (strcmp(value->path, "tls.cert_mode") == 0)
        return take_cert_mode(config, value, error);
    if (strcmp(value->path, "tls.acme_challenge") == 0)
        return take_challenge(config, value, error);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(value->path, keys[i].path) != 0)
            continue;
        if ((expected = set((char *)config + keys[i].offset, keys[i].kind, value)) != NULL)
            return wrong(error, value, expected);
        if (strncmp(value->path, "access.http.", 12) != 0)
            return true;
        if (config->has_access && config->admit != KITH_RELAY_ADMIT_HTTP)
            return take_access(config, value, error); /* says that there is another rule */
        config->has_access = true;
        config->admit = KITH_RELAY_ADMIT_HTTP;
        return true;
    }
    snprintf(error, TOML_ERROR_SIZE, "line %d: there is no key '%.200s'", value->line, value->path);
    return false;
}

bool config_read(struct config *config, const char *file, char *error)
{
    char text[TOML_ERROR_SIZE];
    struct stat info;

    if (access(file, R_OK) != 0 || stat(file, &info) != 0) {
        snprintf(error, CONFIG_ERROR_SIZE, "%s: %s", file, strerror(errno));
        return false;
    }
    if (S_ISDIR(info.st_mode)) { /* would be read as a file without a word in it */
        snprintf(error, CONFIG_ERROR_SIZE, "%s: %s", file, strerror(EISDIR));
        return false;
    }
    if (toml_read(file, take_value, config, text))
        return true;
    /* What take_value says has no file name yet. */
    if (strncmp(text, "line ", 5) == 0)
        snprintf(error, CONFIG_ERROR_SIZE, "%.180s: %.320s", file, text);
    else
        snprintf(error, CONFIG_ERROR_SIZE, "%s", text);
    return false;
}

/* ---- The environment, and other files ---- */

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != 0 ? value : NULL;
}

bool config_read_environment(struct config *config, char *error)
{
    const char *token = variable("IROH_RELAY_ACCESS_TOKEN"), *bearer = variable("IROH_RELAY_HTTP_BEARER_TOKEN");

    (void)error;
    /* As with iroh-relay the two act only where the rule that they belong to is chosen. */
    if (token != NULL && config->admit == KITH_RELAY_ADMIT_TOKEN) {
        config_free_texts(&config->tokens);
        config_add_text(&config->tokens, token);
    }
    if (bearer != NULL && config->admit == KITH_RELAY_ADMIT_HTTP)
        config_set_text(&config->access_bearer, bearer);
    if (variable("IROH_RELAY_ACME_URL") != NULL)
        config_set_text(&config->acme_url, variable("IROH_RELAY_ACME_URL"));
    if (variable("IROH_RELAY_ACME_CA") != NULL)
        config_set_text(&config->acme_ca, variable("IROH_RELAY_ACME_CA"));
    return true;
}

bool config_read_tokens(struct config *config, const char *file, char *error)
{
    FILE *stream = fopen(file, "re");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;

    if (stream == NULL) {
        snprintf(error, CONFIG_ERROR_SIZE, "%s: %s", file, strerror(errno));
        return false;
    }
    while ((size = getline(&line, &capacity, stream)) >= 0) {
        while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
            line[--size] = 0;
        if (size > 0)
            config_add_text(&config->tokens, line);
    }
    if (line != NULL)
        explicit_bzero(line, capacity);
    free(line);
    fclose(stream);
    if (config->tokens.count == 0) {
        snprintf(error, CONFIG_ERROR_SIZE, "%s: there is no token in it", file);
        return false;
    }
    return true;
}

/* ---- Options ---- */

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* [::] means all addresses of both families to iroh-relay; a socket of kith's has one. Returns how many. */
static size_t expand(const struct kith_sockaddr *given, uint16_t port, struct kith_sockaddr out[2])
{
    static const uint8_t any[16];
    struct kith_sockaddr first = *given;

    if (given->family == KITH_FAMILY_NONE)
        first = (struct kith_sockaddr) { .family = KITH_FAMILY_V6, .port = port };
    if (first.family != KITH_FAMILY_V6 || memcmp(first.ip, any, sizeof any) != 0) {
        out[0] = first;
        return 1;
    }
    out[0] = (struct kith_sockaddr) { .family = KITH_FAMILY_V4, .port = first.port };
    out[1] = first;
    return has_ipv6() ? 2 : 1;
}

/* An address that is not given is that of another one, with another port. */
static struct kith_sockaddr beside(const struct kith_sockaddr *given, const struct kith_sockaddr *other, uint16_t port)
{
    struct kith_sockaddr made = given->family != KITH_FAMILY_NONE ? *given : *other;

    if (given->family == KITH_FAMILY_NONE)
        made.port = port;
    return made;
}

static void fill_binds(struct config *config, struct kith_relay_options *options)
{
    bool has_tls = config->cert_mode != CONFIG_CERT_NONE;
    struct kith_sockaddr http = config->http, https, quic, metrics;

    if (http.family == KITH_FAMILY_NONE)
        http = (struct kith_sockaddr) { .family = KITH_FAMILY_V6, .port = config->is_dev ? CONFIG_PORT_DEV : 80 };
    https = beside(&config->https, &http, 443);
    quic = beside(&config->quic, &https, KITH_RELAY_PORT_DISCOVERY);
    metrics = beside(&config->metrics, &http, CONFIG_PORT_METRICS);
    options->http = config->http_binds;
    options->https = config->https_binds;
    options->discovery = config->quic_binds;
    options->metrics = config->metrics_binds;
    if (config->has_relay)
        options->http_count = expand(&http, 0, config->http_binds);
    if (config->has_relay && has_tls && !config->is_dev)
        options->https_count = expand(&https, 0, config->https_binds);
    if (config->has_discovery)
        options->discovery_count = expand(&quic, 0, config->quic_binds);
    if (config->has_metrics)
        options->metrics_count = expand(&metrics, 0, config->metrics_binds);
}

static bool fill_tls(struct config *config, struct kith_relay_options *options, char *error)
{
    char path[4096];
    struct kith_relay_tls *tls = &config->tls;

    *tls = (struct kith_relay_tls) { .directory = config->cert_dir,
                                     .names = (const char *const *)config->hostnames.items,
                                     .name_count = config->hostnames.count };
    switch (config->cert_mode) {
    case CONFIG_CERT_NONE:
        return true;
    case CONFIG_CERT_FILES:
        tls->source = KITH_RELAY_CERTIFICATE_FILES;
        if (config->cert_path == NULL) {
            snprintf(path, sizeof path, "%.4000s/default.crt", config->cert_dir);
            config_set_text(&config->cert_path, path);
        }
        if (config->key_path == NULL) {
            snprintf(path, sizeof path, "%.4000s/default.key", config->cert_dir);
            config_set_text(&config->key_path, path);
        }
        tls->chain_file = config->cert_path;
        tls->key_file = config->key_path;
        break;
    case CONFIG_CERT_SELF:
        tls->source = KITH_RELAY_CERTIFICATE_SELF;
        if (config->hostnames.count == 0) {
            snprintf(error, CONFIG_ERROR_SIZE,
                     "a self-made certificate needs the name by which clients reach this "
                     "relay: --hostname NAME, or tls.hostname");
            return false;
        }
        break;
    case CONFIG_CERT_ACME:
        tls->source = KITH_RELAY_CERTIFICATE_ACME;
        if (config->hostnames.count == 0 || config->contact == NULL) {
            snprintf(error, CONFIG_ERROR_SIZE, "an ACME certificate needs %s",
                     config->contact == NULL ? "a contact address: --contact, or tls.contact"
                                             : "the host name of this relay: --hostname, or tls.hostname");
            return false;
        }
        if (config->is_dev || !config->has_relay) {
            snprintf(error, CONFIG_ERROR_SIZE, "an ACME certificate cannot be had with %s: nothing serves https there",
                     config->is_dev ? "--dev" : "enable_relay = false");
            return false;
        }
        tls->acme_challenge = config->acme_challenge;
        tls->acme_contact = config->contact;
        tls->acme_ca_file = config->acme_ca;
        tls->acme_url = config->acme_url != NULL ? config->acme_url : config->is_prod ? NULL : LETS_ENCRYPT_STAGING;
        break;
    }
    options->tls = tls;
    return true;
}

bool config_options(struct config *config, struct kith_relay_options *options, char *error)
{
    *options = (struct kith_relay_options) { KITH_RELAY_OPTIONS_INIT };
    if (config->has_tls && config->cert_mode == CONFIG_CERT_NONE && !config->is_dev) {
        snprintf(error, CONFIG_ERROR_SIZE,
                 "[tls] needs cert_mode: \"Manual\", \"Reloading\", \"LetsEncrypt\" or \"SelfSigned\"");
        return false;
    }
    if (config->has_discovery && config->cert_mode == CONFIG_CERT_NONE) {
        snprintf(error, CONFIG_ERROR_SIZE,
                 "enable_quic_addr_discovery needs a certificate: a [tls] section, or "
                 "--self-signed");
        return false;
    }
    if (config->workers > KITH_RELAY_THREADS_MAX) {
        snprintf(error, CONFIG_ERROR_SIZE, "workers: at most %d", KITH_RELAY_THREADS_MAX);
        return false;
    }
    if (config->admit == KITH_RELAY_ADMIT_HTTP && config->access_url == NULL) {
        snprintf(error, CONFIG_ERROR_SIZE, "access.http needs a url");
        return false;
    }
    if (!fill_tls(config, options, error))
        return false;
    fill_binds(config, options);
    config->access = (struct kith_relay_access_rules) { .admit = config->admit,
                                                        .ids = config->ids,
                                                        .id_count = config->id_count,
                                                        .tokens = (const char *const *)config->tokens.items,
                                                        .token_count = config->tokens.count,
                                                        .url = config->access_url,
                                                        .bearer = config->access_bearer,
                                                        .ca_file = config->access_ca };
    options->worker_count = (uint32_t)config->workers;
    options->access = &config->access;
    config->quota.handshake_ns = (uint64_t)(config->handshake_s * 1e9);
    options->quota = &config->quota;
    return true;
}

/* ---- Printing ---- */

static void print_key(const struct config *config, const struct key *key)
{
    const void *field = (const char *)config + key->offset;
    const char *text;
    char address[KITH_SOCKADDR_TEXT_SIZE];

    switch (key->kind) {
    case KEY_BOOL:
        printf("%s = %s\n", key->path, *(const bool *)field ? "true" : "false");
        break;
    case KEY_TEXT:
        if ((text = *(char *const *)field) != NULL)
            printf("%s = \"%s\"\n", key->path, strstr(key->path, "token") != NULL ? "(secret)" : text);
        break;
    case KEY_ADDRESS:
        if (((const struct kith_sockaddr *)field)->family != KITH_FAMILY_NONE)
            printf("%s = \"%s\"\n", key->path, kith_sockaddr_format(field, address));
        break;
    case KEY_RATE:
    case KEY_SECONDS:
        if (*(const double *)field != 0)
            printf("%s = %g\n", key->path, *(const double *)field);
        break;
    case KEY_U64:
        if (*(const uint64_t *)field != 0)
            printf("%s = %" PRIu64 "\n", key->path, *(const uint64_t *)field);
        break;
    case KEY_U32:
        if (*(const uint32_t *)field != 0)
            printf("%s = %" PRIu32 "\n", key->path, *(const uint32_t *)field);
        break;
    }
}

void config_print(const struct config *config)
{
    static const char *const modes[] = { "", "Manual", "SelfSigned", "LetsEncrypt" };
    static const char *const rules[] = { "everyone", "allowlist", "denylist", "shared_token", "http", "" };

    if (config->cert_mode != CONFIG_CERT_NONE)
        printf("tls.cert_mode = \"%s\"\n", modes[config->cert_mode]);
    if (config->hostnames.count != 0) {
        printf("tls.hostname = [");
        for (size_t i = 0; i < config->hostnames.count; i++)
            printf("%s\"%s\"", i != 0 ? ", " : "", config->hostnames.items[i]);
        printf("]\n");
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        print_key(config, &keys[i]);
    if (config->admit == KITH_RELAY_ADMIT_EVERYONE)
        printf("access = \"everyone\"\n");
    else if (config->admit != KITH_RELAY_ADMIT_HTTP)
        printf("# access.%s: %zu entries\n", rules[config->admit],
               config->admit == KITH_RELAY_ADMIT_TOKEN ? config->tokens.count : config->id_count);
}
