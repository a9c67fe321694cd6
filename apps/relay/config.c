/* What the relay program is told. */
#include "config.h"

#include "../server/places.h"

#include <stdio.h>
#include <string.h>

void config_init(struct config *config)
{
    memset(config, 0, sizeof *config);
    config->has_relay = config->has_metrics = config->is_prod = true;
    config->drain_s = 10;
    text_set(&config->certificate.directory, ".");
}

void config_dispose(struct config *config)
{
    certificate_free(&config->certificate);
    access_free(&config->access);
    memset(config, 0, sizeof *config);
}

/* ---- The file ---- */

static const struct setting_choice modes[] = { { "Manual", CERTIFICATE_FILES },
                                               { "Reloading", CERTIFICATE_FILES },
                                               { "LetsEncrypt", CERTIFICATE_ACME },
                                               { "SelfSigned", CERTIFICATE_SELF },
                                               { NULL, 0 } };

#define FIELD(name) offsetof(struct config, name)
static const struct setting keys[] = {
    { "enable_relay", SETTING_BOOL, FIELD(has_relay) },
    { "enable_quic_addr_discovery", SETTING_BOOL, FIELD(has_discovery) },
    { "enable_metrics", SETTING_BOOL, FIELD(has_metrics) },
    { "http_bind_addr", SETTING_ADDRESS, FIELD(http) },
    { "metrics_bind_addr", SETTING_ADDRESS, FIELD(metrics) },
    { "key_cache_capacity", SETTING_U64, FIELD(key_cache) },
    { "limits.accept_conn_limit", SETTING_RATE, FIELD(quota.accept_rate) },
    { "limits.accept_conn_burst", SETTING_U64, FIELD(quota.accept_burst) },
    { "limits.client.rx.bytes_per_second", SETTING_U32, FIELD(quota.rx_bytes_per_s) },
    { "limits.client.rx.max_burst_bytes", SETTING_U32, FIELD(quota.rx_burst) },
    { "tls.https_bind_addr", SETTING_ADDRESS, FIELD(https) },
    { "tls.quic_bind_addr", SETTING_ADDRESS, FIELD(quic) },
    { "tls.cert_dir", SETTING_TEXT, FIELD(certificate.directory) },
    { "tls.manual_cert_path", SETTING_TEXT, FIELD(certificate.chain_file) },
    { "tls.manual_key_path", SETTING_TEXT, FIELD(certificate.key_file) },
    { "tls.prod_tls", SETTING_BOOL, FIELD(is_prod) },
    { "tls.contact", SETTING_TEXT, FIELD(certificate.contact) },
    { "tls.dangerous_http_only", SETTING_BOOL, FIELD(is_dev) },
    { "tls.hostname", SETTING_TEXTS, FIELD(certificate.names) },
    { "tls.cert_mode", SETTING_CHOICE, FIELD(certificate.mode), modes },
    ACCESS_KEYS("", FIELD(access)),
    /* Ours. */
    { "tls.acme_challenge", SETTING_CHOICE, FIELD(certificate.challenge), certificate_challenges },
    { "tls.acme_url", SETTING_TEXT, FIELD(certificate.acme_url) },
    { "tls.acme_ca", SETTING_TEXT, FIELD(certificate.acme_ca) },
    { "workers", SETTING_U64, FIELD(workers) },
    { "drain_seconds", SETTING_SECONDS, FIELD(drain_s) },
    { "limits.handshake_seconds", SETTING_SECONDS, FIELD(handshake_s) },
    { "limits.connections", SETTING_U64, FIELD(quota.connections_max) },
    { "limits.connections_per_ip", SETTING_U64, FIELD(quota.connections_per_ip_max) },
    { "limits.unauthenticated", SETTING_U64, FIELD(quota.unauthenticated_max) },
    { "limits.unauthenticated_per_ip", SETTING_U64, FIELD(quota.unauthenticated_per_ip_max) },
    { "limits.client.queue_bytes", SETTING_U32, FIELD(quota.client_queue_max) },
    { "limits.queues_bytes", SETTING_U64, FIELD(quota.queues_max) },
    { "limits.discovery_rate", SETTING_RATE, FIELD(quota.discovery_rate) },
    { "limits.discovery_per_ip_rate", SETTING_RATE, FIELD(quota.discovery_per_ip_rate) },
};

static void see_key(void *target, const char *path)
{
    struct config *config = target;

    config->has_tls |= strncmp(path, "tls.", 4) == 0 && strcmp(path, "tls.dangerous_http_only") != 0;
}

static const struct settings settings = { keys, sizeof keys / sizeof keys[0], see_key };

bool config_read(struct config *config, const char *file, char *error)
{
    return settings_read(&settings, config, file, error);
}

/* ---- Options ---- */

static void fill_binds(struct config *config, struct kith_relay_options *options)
{
    bool has_tls = config->certificate.mode != CERTIFICATE_NONE;
    struct kith_sockaddr http = config->http, https, quic, metrics;

    if (http.family == KITH_FAMILY_NONE)
        http = (struct kith_sockaddr) { .family = KITH_FAMILY_V6, .port = config->is_dev ? CONFIG_PORT_DEV : 80 };
    https = place_beside(&config->https, &http, 443);
    quic = place_beside(&config->quic, &https, KITH_RELAY_PORT_DISCOVERY);
    metrics = place_beside(&config->metrics, &http, CONFIG_PORT_METRICS);
    options->http = config->http_binds;
    options->https = config->https_binds;
    options->discovery = config->quic_binds;
    options->metrics = config->metrics_binds;
    if (config->has_relay)
        options->http_count = place_expand(&http, config->http_binds);
    if (config->has_relay && has_tls && !config->is_dev)
        options->https_count = place_expand(&https, config->https_binds);
    if (config->has_discovery)
        options->discovery_count = place_expand(&quic, config->quic_binds);
    if (config->has_metrics)
        options->metrics_count = place_expand(&metrics, config->metrics_binds);
}

/* Files that are not named are in the directory. */
static void default_file(char **file, const char *directory, const char *name)
{
    char path[4096];

    if (*file != NULL)
        return;
    snprintf(path, sizeof path, "%.4000s/%s", directory, name);
    text_set(file, path);
}

static bool fill_tls(struct config *config, struct kith_relay_options *options, char *error)
{
    static const struct certificate_words words = { "tls.hostname", "tls.contact" };
    struct certificate_settings *certificate = &config->certificate;

    if (certificate->mode == CERTIFICATE_NONE)
        return true;
    if (certificate->mode == CERTIFICATE_FILES) {
        default_file(&certificate->chain_file, certificate->directory, "default.crt");
        default_file(&certificate->key_file, certificate->directory, "default.key");
    }
    certificate->is_staging = !config->is_prod;
    if (!certificate_fill(certificate, &words, error))
        return false;
    if (certificate->mode == CERTIFICATE_ACME && (config->is_dev || !config->has_relay)) {
        snprintf(error, SETTINGS_ERROR_SIZE, "an ACME certificate cannot be had with %s: nothing serves https there",
                 config->is_dev ? "--dev" : "enable_relay = false");
        return false;
    }
    options->tls = &certificate->tls;
    return true;
}

bool config_options(struct config *config, struct kith_relay_options *options, char *error)
{
    bool has_certificate = config->certificate.mode != CERTIFICATE_NONE;

    *options = (struct kith_relay_options) { KITH_RELAY_OPTIONS_INIT };
    if (config->has_tls && !has_certificate && !config->is_dev) {
        snprintf(error, SETTINGS_ERROR_SIZE,
                 "[tls] needs cert_mode: \"Manual\", \"Reloading\", \"LetsEncrypt\" or \"SelfSigned\"");
        return false;
    }
    if (config->has_discovery && !has_certificate) {
        snprintf(error, SETTINGS_ERROR_SIZE,
                 "enable_quic_addr_discovery needs a certificate: a [tls] section, or "
                 "--self-signed");
        return false;
    }
    if (config->workers > KITH_RELAY_THREADS_MAX) {
        snprintf(error, SETTINGS_ERROR_SIZE, "workers: at most %d", KITH_RELAY_THREADS_MAX);
        return false;
    }
    if (!access_fill(&config->access, error) || !fill_tls(config, options, error))
        return false;
    fill_binds(config, options);
    options->worker_count = (uint32_t)config->workers;
    options->access = &config->access.rules;
    config->quota.handshake_ns = (uint64_t)(config->handshake_s * 1e9);
    options->quota = &config->quota;
    return true;
}

void config_print(const struct config *config)
{
    settings_print(&settings, config);
    access_print(&config->access);
}
