/**
 * A lookup server inside a program: from a configuration to a server that runs, is told of new settings, and ends. kith-dns is made
 * of it, and so is every program that has a lookup server beside other things.
 */
#ifndef APPS_DNS_SERVICE_H
#define APPS_DNS_SERVICE_H

#include "config.h"

#include <jansson.h>

/** Zeroed, then the configuration is filled (dns_config_init and so on). */
struct dns_service {
    struct dns_config config;
    struct kith_dns_server_options options; /* dns_service_prepare makes them; they borrow from config */
    struct kith_dns_server *server;         /* while it runs */
};

/** Makes options of the configuration, with the log of server programs. False: error: something does not fit together. */
bool dns_service_prepare(struct dns_service *service, char *error);
/** Adds what it reads and writes after the start; makes its directories. After dns_service_prepare. */
void dns_service_add_paths(const struct dns_service *service, struct guard_paths *paths);
/** Starts it with its options: a kith error, with text. */
int dns_service_start(struct dns_service *service);
/** Logs what people want to know of a started server. */
void dns_service_tell(const struct dns_service *service);
/** Adds "dns", "http", "https", "metrics" (addresses), "origins", "data_dir" to an object. */
void dns_service_describe(const struct dns_service *service, json_t *object);
/**
 * Takes over what of `fresh` (prepared, not started; stays the caller's) can change while it runs: certificate files, origins,
 * limits, the time to drain. *needs_restart: something else changed, too; it says what. False: error, and origins or limits are as before.
 */
bool dns_service_reload(struct dns_service *service, const struct dns_service *fresh, const char **needs_restart,
                        char *error);
/** Ends it in order: a kith error, with text: something was cut. One that does not run is fine. */
int dns_service_stop(struct dns_service *service);
/** Frees the configuration. It must not run. */
void dns_service_dispose(struct dns_service *service);

#endif
