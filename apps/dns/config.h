/**
 * What the lookup server's program is told: by flags, environment and a TOML file with the keys of iroh-dns-server (and some of
 * ours), as the options of kith/dns.h.
 */
#ifndef APPS_DNS_CONFIG_H
#define APPS_DNS_CONFIG_H

#include "../server/certificate.h"
#include <kith/dns.h>

enum { DNS_PORT_DEV = 5300, DNS_PORT_HTTP = 8080, DNS_PORT_HTTPS = 8443, DNS_PORT_METRICS = 9117 };

/** Where one kind of thing is served; the file names IP and port one by one. */
struct dns_place {
    bool is_on; /* its table is there, or a flag */
    uint16_t port;
    struct kith_sockaddr ip; /* family NONE: all addresses */
    struct kith_sockaddr binds[2];
    size_t bind_count;
};

/** Everything that can be set. Zeroed, then dns_config_init. Texts are owned. */
struct dns_config {
    bool is_in_memory; /* packets are gone with the process */
    char *data_dir;    /* NULL: dns_config_options finds one */
    struct dns_place dns, http, https;
    struct kith_sockaddr metrics, metrics_binds[2];
    char *soa;
    uint64_t ttl_s;
    struct texts origins, addresses_v4, addresses_v6, name_servers;
    struct certificate_settings certificate;
    bool is_prod;
    bool has_no_metrics, has_dht;
    struct texts bootstrap, trusted_proxies;
    struct kith_sockaddr dht_local;
    int put_limit; /* enum kith_dns_put_limit */
    struct kith_dns_limits limits;
    struct kith_dns_storage storage;
    uint64_t batch_max;
    uint64_t workers;
    /* Accepted and of no effect: the system's maximum is used; no PUT waits for others. */
    uint64_t backlog, batch_ns;
    double drain_s, http_s;
    unsigned parts; /* what the file has, as bits; see config.c */
    /* What dns_config_options made of it; points into the rest. */
    struct kith_dns_origin *made_origins;
    struct kith_sockaddr *made_addresses;
    size_t made_address_count;
    struct kith_dns_dht dht;
};

extern const struct setting_choice dns_put_limits[];

/** OPTION_CALL: a node of the DHT, "HOST:PORT", into a struct texts. */
const char *dns_take_bootstrap(void *target, const char *text);

/** The built-in configuration of iroh-dns-server, for a start without a file. */
void dns_config_init(struct dns_config *config);
/** Frees. A zeroed one is fine. */
void dns_config_dispose(struct dns_config *config);
/** Reads a file, in the place of the built-in configuration. False: `error` (SETTINGS_ERROR_SIZE bytes) says what is wrong. */
bool dns_config_read(struct dns_config *config, const char *file, char *error);
/** Loopback, the ports of the reference's example for developers, packets in memory, no limits of PUTs. */
void dns_config_set_dev(struct dns_config *config);
/** The options for kith_dns_server_start, without log; they borrow from config. False: error: something does not fit together. */
bool dns_config_options(struct dns_config *config, struct kith_dns_server_options *options, char *error);
/** Prints it as a TOML file. */
void dns_config_print(const struct dns_config *config);

#endif
