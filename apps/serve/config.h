/**
 * What `kith serve` is told: by flags, environment and one small TOML file, as the options of a relay and of a lookup server that
 * share a name, a certificate and a port.
 */
#ifndef APPS_SERVE_CONFIG_H
#define APPS_SERVE_CONFIG_H

#include "../dns/service.h"
#include "../server/access.h"

enum {
    SERVE_PORT_HTTP = 80,
    SERVE_PORT_HTTPS = 443,
    SERVE_PORT_DNS = 53,
    SERVE_PORT_METRICS = 9090,
    SERVE_PORT_DEV_HTTP = 3340,
    SERVE_PORT_DEV_DNS = 5300
};

/** Everything that can be set. Zeroed, then serve_config_init. Texts are owned. */
struct serve_config {
    bool is_dev;       /* loopback, high ports, plain HTTP, packets in memory */
    bool is_free_port; /* is_dev: ports of the system's choice */
    struct texts origins, addresses;
    char *data_dir;
    bool is_in_memory; /* is_dev without data_dir: packets are gone with the process, certificates stay */
    struct certificate_settings certificate; /* mode NONE: plain HTTP, if that was said */
    bool has_mode, is_staging;
    struct access_settings access;
    struct kith_sockaddr bind;                            /* without a port; family NONE: all addresses */
    struct kith_sockaddr http, https, dns, quic, metrics; /* family NONE: not given */
    bool has_no_metrics;
    uint64_t workers;
    double drain_s;
    struct kith_relay_quota quota; /* the file's limits of the relay */
    int put_limit;                 /* enum kith_dns_put_limit; SIMPLE: as it is usual */
    double put_rate, key_rate;
    /* What serve_config_fill made of it. */
    struct kith_relay_options relay;
    struct kith_sockaddr http_binds[2], https_binds[2], quic_binds[2], metrics_binds[2];
};

/** The defaults. */
void serve_config_init(struct serve_config *config);
/** Frees, wiping tokens. A zeroed one is fine. */
void serve_config_dispose(struct serve_config *config);
/** Reads a file over what is there. False: `error` (SETTINGS_ERROR_SIZE bytes) says what is wrong in which line. */
bool serve_config_read(struct serve_config *config, const char *file, char *error);
/**
 * Makes config->relay, and the configuration of the lookup server, which is prepared (dns_service_prepare). Both borrow from config.
 * False: error: something does not fit together; the service is to be disposed of nevertheless.
 */
bool serve_config_fill(struct serve_config *config, struct dns_service *lookup, char *error);
/** Prints it as a TOML file, with secrets left out. */
void serve_config_print(const struct serve_config *config);

#endif
