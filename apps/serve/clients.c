/* What clients of `kith serve` need to know. */
#include "clients.h"

#include "../server/log.h"
#include "../server/places.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { PEM_SIZE = 16384, LOOKUPS_MAX = 4 };

/* ---- Names and addresses ---- */

static uint16_t port_of(const struct kith_relay *relay, enum kith_relay_address kind)
{
    struct kith_sockaddr first[1] = { { .port = 0 } };

    (void)kith_relay_addresses(relay, kind, first, 1);
    return first[0].port;
}

/* The host of a URL: IPv6 addresses have brackets there. */
static void write_url(const char *host, bool is_https, uint16_t port, const char *path, char out[CLIENTS_TEXT_SIZE])
{
    bool is_v6 = strchr(host, ':') != NULL, is_usual = port == (is_https ? 443 : 80);
    char port_text[8] = "";

    if (!is_usual)
        snprintf(port_text, sizeof port_text, ":%u", port);
    snprintf(out, CLIENTS_TEXT_SIZE, "%s://%s%.256s%s%s%s", is_https ? "https" : "http", is_v6 ? "[" : "", host,
             is_v6 ? "]" : "", port_text, path);
}

static bool is_below(const char *name, const char *origin)
{
    size_t size = strlen(name), origin_size = strlen(origin);

    while (size != 0 && name[size - 1] == '.')
        size--;
    while (origin_size != 0 && origin[origin_size - 1] == '.')
        origin_size--;
    return origin_size != 0 && size >= origin_size &&
           strncasecmp(name + size - origin_size, origin, origin_size) == 0 &&
           (size == origin_size || name[size - origin_size - 1] == '.');
}

/*
 * Clients that are told of a DNS server ask it for everything, also for the relay's own name: that must be an IP address, or a name
 * whose addresses are served here.
 */
static bool can_ask_us_alone(const struct serve_config *config)
{
    const char *name = config->certificate.names.items[0];
    struct kith_sockaddr ignored;

    if (place_parse_ip(name, &ignored))
        return true;
    for (size_t i = 0; config->addresses.count != 0 && i < config->origins.count; i++) {
        if (is_below(name, config->origins.items[i]))
            return true;
    }
    return false;
}

/* Where DNS can be reached from elsewhere: as it was bound, or an address that the configuration names. */
static void find_dns_server(const struct serve_config *config, const struct kith_dns_server *lookup,
                            struct clients *out)
{
    static const uint8_t any[16];
    struct kith_sockaddr at;
    const char *named = config->addresses.count != 0 ? config->addresses.items[0] : config->certificate.names.items[0];
    uint16_t port;

    if (!can_ask_us_alone(config) || kith_dns_server_addresses(lookup, KITH_DNS_SERVER_ADDRESS_DNS, &at, 1) == 0)
        return;
    port = at.port;
    if (memcmp(at.ip, any, sizeof any) == 0 && !place_parse_ip(named, &at))
        return;
    at.port = port;
    kith_sockaddr_format(&at, out->dns_server);
}

/* ---- Options ---- */

static void add(struct clients *clients, const char *option, const char *value)
{
    if (clients->option_count + 2 > CLIENTS_OPTIONS_MAX)
        return;
    clients->options[clients->option_count++] = option;
    clients->options[clients->option_count++] = value;
}

static void make_options(const struct serve_config *config, bool is_https, struct clients *out)
{
    size_t count = 0;

    add(out, "--relay", out->relay);
    if (out->needs_token)
        add(out, "--relay-token", "TOKEN");
    if (out->authority[0] != 0)
        add(out, "--relay-ca", out->authority);
    if (out->discovery_port != 0 && (!is_https || out->discovery_port != KITH_RELAY_PORT_DISCOVERY)) {
        snprintf(out->port_text, sizeof out->port_text, "%u", out->discovery_port);
        add(out, "--relay-quic", out->port_text);
    }
    snprintf(out->lookups[count], CLIENTS_TEXT_SIZE, "pkarr:%.500s", out->pkarr);
    add(out, "--lookup", out->lookups[count++]);
    if (out->dns_server[0] == 0)
        return;
    for (size_t i = 0; i < config->origins.count && count < LOOKUPS_MAX; i++) {
        if (strcmp(config->origins.items[i], ".") == 0)
            continue;
        snprintf(out->lookups[count], CLIENTS_TEXT_SIZE, "dns:%.500s", config->origins.items[i]);
        add(out, "--lookup", out->lookups[count++]);
    }
    add(out, "--dns-server", out->dns_server);
}

void clients_find(const struct serve_config *config, const struct kith_relay *relay,
                  const struct kith_dns_server *lookup, struct clients *out)
{
    const char *name = config->certificate.names.items[0];
    bool is_https = config->relay.https_count != 0;
    uint16_t port = port_of(relay, is_https ? KITH_RELAY_ADDRESS_HTTPS : KITH_RELAY_ADDRESS_HTTP);

    memset(out, 0, sizeof *out);
    write_url(name, is_https, port, "", out->relay);
    write_url(name, is_https, port, "/pkarr", out->pkarr);
    out->discovery_port = port_of(relay, KITH_RELAY_ADDRESS_DISCOVERY);
    out->needs_token = config->access.rules.admit == KITH_RELAY_ADMIT_TOKEN;
    if (config->certificate.mode == CERTIFICATE_SELF)
        snprintf(out->authority, sizeof out->authority, "%s/authority.crt", config->certificate.directory);
    find_dns_server(config, lookup, out);
    make_options(config, is_https, out);
}

void clients_describe(const struct clients *clients, json_t *object)
{
    json_t *options = json_array();

    for (size_t i = 0; i < clients->option_count; i++)
        json_array_append_new(options, json_string(clients->options[i]));
    json_object_set_new(object, "relay", json_string(clients->relay));
    json_object_set_new(object, "pkarr", json_string(clients->pkarr));
    json_object_set_new(object, "dns_server",
                        clients->dns_server[0] != 0 ? json_string(clients->dns_server) : json_null());
    json_object_set_new(object, "authority",
                        clients->authority[0] != 0 ? json_string(clients->authority) : json_null());
    json_object_set_new(object, "needs_token", json_boolean(clients->needs_token));
    json_object_set_new(object, "options", options);
}

void clients_tell(const struct clients *clients, const struct kith_relay *relay, bool is_json)
{
    char pem[PEM_SIZE];
    size_t size;

    if (is_json)
        return;
    printf("Clients take these options (kith COMMAND OPTIONS ...):\n ");
    for (size_t i = 0; i < clients->option_count; i++)
        printf(" %s", clients->options[i]);
    printf("\n");
    if (clients->needs_token)
        printf("TOKEN is one of the access tokens.\n");
    if (clients->authority[0] != 0 && kith_relay_authority(relay, pem, sizeof pem, &size) == 0)
        printf("The certificate is vouched for by an authority of our own: clients elsewhere need a copy of\n%s:\n%s",
               clients->authority, pem);
    fflush(stdout);
}
