/** What clients of `kith serve` need to know: URLs, names, and the options of kith's commands that say so. */
#ifndef APPS_SERVE_CLIENTS_H
#define APPS_SERVE_CLIENTS_H

#include "config.h"

enum { CLIENTS_TEXT_SIZE = 512, CLIENTS_OPTIONS_MAX = 40 };

/** A server that runs, as clients see it. */
struct clients {
    char relay[CLIENTS_TEXT_SIZE], pkarr[CLIENTS_TEXT_SIZE]; /* URLs */
    char dns_server[KITH_SOCKADDR_TEXT_SIZE];                /* empty: names must be delegated to this server */
    char authority[CLIENTS_TEXT_SIZE]; /* file with the root to be trusted; empty: a public one vouches */
    uint16_t discovery_port;           /* 0: none */
    bool needs_token;
    /* The options, one after the other: "--relay", URL, ...; they point into this and into the configuration. */
    const char *options[CLIENTS_OPTIONS_MAX];
    size_t option_count;
    char port_text[8], lookups[4][CLIENTS_TEXT_SIZE];
};

/** From the configuration and what was bound. `out` must not move. */
void clients_find(const struct serve_config *config, const struct kith_relay *relay,
                  const struct kith_dns_server *lookup, struct clients *out);
/** All of it, into the object that --json prints: "relay", "pkarr", "dns_server", "authority", "options", ... */
void clients_describe(const struct clients *clients, json_t *object);
/** Logs it, and prints the options (and a self-made authority) on stdout, so that they can be copied. */
void clients_tell(const struct clients *clients, const struct kith_relay *relay, bool is_json);

#endif
