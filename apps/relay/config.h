/**
 * What the relay program is told: by flags, environment and a TOML file with the keys of iroh-relay (and some of ours), as the
 * options of kith/relay.h.
 */
#ifndef APPS_RELAY_CONFIG_H
#define APPS_RELAY_CONFIG_H

#include "../server/access.h"
#include "../server/certificate.h"

enum { CONFIG_PORT_DEV = 3340, CONFIG_PORT_METRICS = 9090 };

/** Everything that can be set. Zeroed, then config_init. Texts are owned. */
struct config {
    bool is_dev;
    /* The file's, in its words. */
    bool has_relay, has_discovery, has_metrics;
    struct kith_sockaddr http, https, quic, metrics; /* family NONE: not given */
    struct certificate_settings certificate;
    bool is_prod;
    bool has_tls; /* the file has a key of [tls] */
    struct access_settings access;
    struct kith_relay_quota quota;
    uint64_t workers;
    uint64_t key_cache; /* accepted and of no effect: keys are not parsed here */
    double drain_s, handshake_s;
    /* What config_options made of it. */
    struct kith_sockaddr http_binds[2], https_binds[2], quic_binds[2], metrics_binds[2];
};

/** The defaults of iroh-relay. */
void config_init(struct config *config);
/** Frees, wiping tokens. A zeroed one is fine. */
void config_dispose(struct config *config);
/** Reads a file over what is there. False: `error` (SETTINGS_ERROR_SIZE bytes) says what is wrong in which line. */
bool config_read(struct config *config, const char *file, char *error);
/** The options for kith_relay_start, without log; they borrow from config. False: error: something does not fit together. */
bool config_options(struct config *config, struct kith_relay_options *options, char *error);
/** Prints it as a TOML file, with secrets left out. */
void config_print(const struct config *config);

#endif
