/**
 * What the relay program is told: by flags, environment and a TOML file with the keys of iroh-relay (and some of ours), as the
 * options of kith/relay.h.
 */
#ifndef APPS_RELAY_CONFIG_H
#define APPS_RELAY_CONFIG_H

#include <kith/kith.h>
#include <stdbool.h>

enum { CONFIG_ERROR_SIZE = 512, CONFIG_TOKENS_MAX = 1024, CONFIG_PORT_DEV = 3340, CONFIG_PORT_METRICS = 9090 };

/** A list of texts that grows; owned. */
struct config_texts {
    char **items;
    size_t count, capacity;
};

/** Everything that can be set. Zeroed, then config_init. Texts are owned. */
struct config {
    bool is_dev;
    /* The file's, in its words. */
    bool has_relay, has_discovery, has_metrics;
    struct kith_sockaddr http, https, quic, metrics; /* family NONE: not given */
    int cert_mode;                                   /* enum config_cert_mode */
    char *cert_dir, *cert_path, *key_path, *contact, *acme_url, *acme_ca;
    bool is_prod;
    uint8_t acme_challenge; /* enum kith_relay_challenge */
    struct config_texts hostnames;
    uint8_t admit; /* enum kith_relay_admit */
    bool has_tls;  /* the file has a key of [tls] */
    bool has_access;
    struct config_texts tokens;
    struct kith_id *ids;
    size_t id_count;
    char *access_url, *access_bearer, *access_ca;
    struct kith_relay_quota quota;
    uint64_t workers;
    uint64_t key_cache; /* accepted and of no effect: keys are not parsed here */
    double drain_s, handshake_s;
    /* What config_options made of it; points into the rest. */
    struct kith_sockaddr http_binds[2], https_binds[2], quic_binds[2], metrics_binds[2];
    struct kith_relay_tls tls;
    struct kith_relay_access_rules access;
};

enum config_cert_mode { CONFIG_CERT_NONE, CONFIG_CERT_FILES, CONFIG_CERT_SELF, CONFIG_CERT_ACME };

/** The defaults of iroh-relay. */
void config_init(struct config *config);
/** Frees, wiping tokens. A zeroed one is fine. */
void config_dispose(struct config *config);
/** Reads a file over what is there. False: `error` (CONFIG_ERROR_SIZE bytes) says what is wrong in which line. */
bool config_read(struct config *config, const char *file, char *error);
/** What the environment says; over the file. False: error. */
bool config_read_environment(struct config *config, char *error);
/** Adds a text to a list; ends the program without memory. */
void config_add_text(struct config_texts *texts, const char *text);
/** Wipes and frees a list. */
void config_free_texts(struct config_texts *texts);
/** Sets an owned text. */
void config_set_text(char **target, const char *text);
/** Adds the tokens of a file, one a line, to the list. False: error. */
bool config_read_tokens(struct config *config, const char *file, char *error);
/** The options for kith_relay_start, without log; they borrow from config. False: error: something does not fit together. */
bool config_options(struct config *config, struct kith_relay_options *options, char *error);
/** Prints it as a TOML file, with secrets left out. */
void config_print(const struct config *config);

#endif
