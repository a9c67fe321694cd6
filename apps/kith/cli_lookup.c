/* Options about lookup services, and what is used if nobody says anything. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

enum { VARIABLE_SIZE = 4096 };

/* Which public servers of n0: iroh reads the same variable. */
static bool is_staging(void)
{
    const char *value = getenv("IROH_FORCE_STAGING_RELAYS");

    return value != NULL && *value != 0;
}

static const struct kith_lookup_preset *n0(void)
{
    static struct kith_lookup_preset preset;

    if (preset.lookup_count == 0)
        kith_lookup_preset_n0(is_staging(), &preset);
    return &preset;
}

static const char *add(struct cli *cli, uint8_t kind, const char *where)
{
    struct kith_lookup_option *option;

    if (cli->lookup_count == KITH_ENDPOINT_LOOKUPS_MAX)
        return "too many lookup services";
    option = &cli->lookups[cli->lookup_count++];
    *option = (struct kith_lookup_option) { .kind = kind, .where = where };
    return NULL;
}

static const char *add_preset(struct cli *cli)
{
    const char *problem = NULL;

    for (size_t i = 0; problem == NULL && i < n0()->lookup_count; i++)
        problem = add(cli, n0()->lookups[i].kind, n0()->lookups[i].where);
    return problem;
}

/* Nodes to begin with belong to one service, however many there are. */
static const char *add_dht(struct cli *cli, const char *node)
{
    const char *colon = strrchr(node, ':'), *problem = NULL;

    if (colon == NULL || colon == node || colon[1] == 0 || colon[1 + strspn(colon + 1, "0123456789")] != 0)
        return "a DHT node is expected as dht:HOST:PORT";
    if (cli->dht_node_count == CLI_DHT_NODES_MAX)
        return "too many DHT nodes";
    if (cli->dht_node_count == 0 && (problem = add(cli, KITH_LOOKUP_DHT, NULL)) == NULL)
        cli->lookups[cli->lookup_count - 1].bootstrap = cli->dht_nodes;
    if (problem == NULL)
        cli->dht_nodes[cli->dht_node_count++] = node;
    return problem;
}

/* A domain name, with or without the last dot: what is no name at all is told as the mistake in the options that it is. */
static bool is_origin(const char *text)
{
    size_t label;

    for (; (label = strcspn(text, ".")) > 0 && label <= 63; text += label + 1)
        if (text[label] == 0 || text[label + 1] == 0)
            return true;
    return false;
}

/* Relays and pkarr servers have URLs of the same kind. */
static bool is_url(const char *text)
{
    static const struct kith_id nobody;
    struct kith_addr addr;

    if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)
        return false;
    kith_addr_init(&addr, &nobody);
    return kith_addr_add_relay(&addr, text) == 0;
}

const char *cli_take_lookup(void *target, const char *text)
{
    struct cli *cli = target;

    if (strcmp(text, "none") == 0) {
        cli->no_lookups = true;
        return NULL;
    }
    if (strcmp(text, "n0") == 0)
        return add_preset(cli);
    if (strcmp(text, "mdns") == 0)
        return add(cli, KITH_LOOKUP_MDNS, NULL);
    if (strcmp(text, "dht") == 0)
        return add(cli, KITH_LOOKUP_DHT, NULL);
    if (strncmp(text, "dht:", 4) == 0)
        return add_dht(cli, text + 4);
    if (strncmp(text, "dns:", 4) == 0)
        return is_origin(text + 4) ? add(cli, KITH_LOOKUP_DNS, text + 4) : "a domain name is expected, as dns:NAME";
    if (strncmp(text, "pkarr:", 6) == 0)
        return is_url(text + 6) ? add(cli, KITH_LOOKUP_PKARR, text + 6)
                                : "a pkarr server is expected as pkarr:https://HOST/pkarr, or with http://";
    return "a lookup service is one of n0, dns:ORIGIN, pkarr:URL, mdns, dht, dht:HOST:PORT, none";
}

const char *cli_take_dns_server(void *target, const char *text)
{
    struct cli *cli = target;

    if (cli->dns_server_count == KITH_ENDPOINT_DNS_SERVERS_MAX)
        return "too many DNS servers";
    if (kith_sockaddr_parse(text, &cli->dns_servers[cli->dns_server_count]) != 0)
        return "an address and port are expected, like 192.0.2.1:53 or [2001:db8::1]:53";
    cli->dns_server_count++;
    return NULL;
}

const char *cli_take_publish(void *target, const char *text)
{
    static const char *const words[] = { [KITH_PUBLISH_RELAYS] = "relays",
                                         [KITH_PUBLISH_DIRECT] = "direct",
                                         [KITH_PUBLISH_ALL] = "all",
                                         [KITH_PUBLISH_NONE] = "none" };
    struct cli *cli = target;

    for (uint8_t i = KITH_PUBLISH_RELAYS; i <= KITH_PUBLISH_NONE; i++)
        if (strcmp(text, words[i]) == 0) {
            cli->publish = i;
            return NULL;
        }
    return "what is published is one of relays, direct, all, none";
}

/*
 * A variable holds what the option would, several with spaces or commas between them. The options refer to the copy. NULL, or
 * what is wrong with it.
 */
static const char *take_variable(struct cli *cli, const char *name, char copy[VARIABLE_SIZE],
                                 const char *(*take)(void *target, const char *text))
{
    const char *value = getenv(name), *problem = NULL;
    char *rest, *word;

    if (value == NULL || *value == 0)
        return NULL;
    if (strlen(value) >= VARIABLE_SIZE)
        return "too long";
    strcpy(copy, value);
    for (word = strtok_r(copy, " ,", &rest); word != NULL && problem == NULL; word = strtok_r(NULL, " ,", &rest))
        problem = take(cli, word);
    return problem;
}

const char *cli_take_n0_relays(struct cli *cli)
{
    const char *problem = NULL;

    for (size_t i = 0; problem == NULL && i < n0()->relay_count; i++)
        problem = cli_take_relay(cli, n0()->relays[i].url);
    return problem;
}

int cli_finish_lookup(struct cli *cli)
{
    static char relays[VARIABLE_SIZE], lookups[VARIABLE_SIZE];
    bool has_relays = cli->relay_count > 0 || cli->no_relays || cli->relay_only;
    bool has_lookups = cli->lookup_count > 0 || cli->no_lookups;
    const char *problem;

    if (cli->no_lookups && cli->lookup_count > 0)
        return cli_usage(cli, "--lookup none goes with no other --lookup");
    if (!has_relays && (problem = take_variable(cli, "KITH_RELAY", relays, cli_take_relay)) != NULL)
        return cli_usage(cli, "KITH_RELAY: %s", problem);
    if (!has_lookups && (problem = take_variable(cli, "KITH_LOOKUP", lookups, cli_take_lookup)) != NULL)
        return cli_usage(cli, "KITH_LOOKUP: %s", problem);
    if (!has_relays && cli->no_relays && cli->relay_count > 0)
        return cli_usage(cli, "KITH_RELAY: none goes with no other relay");
    if (!has_lookups && cli->no_lookups && cli->lookup_count > 0)
        return cli_usage(cli, "KITH_LOOKUP: none goes with no other service");
    /* Who names any server of their own wants that one, and nobody else to hear of it. */
    if (has_relays || has_lookups || cli->relay_count > 0 || cli->no_relays || cli->lookup_count > 0 || cli->no_lookups)
        return CLI_GO_ON;
    cli->is_default = true;
    if ((problem = cli_take_n0_relays(cli)) != NULL || (problem = add_preset(cli)) != NULL)
        return cli_usage(cli, "%s", problem);
    return CLI_GO_ON;
}

void cli_lookup_options(struct cli *cli, struct kith_endpoint_options *options)
{
    for (size_t i = 0; i < cli->lookup_count; i++)
        cli->lookups[i].publish = cli->publish;
    options->lookups = cli->lookups;
    options->lookup_count = cli->lookup_count;
    options->dns_servers = cli->dns_servers;
    options->dns_server_count = cli->dns_server_count;
    options->user_data = cli->user_data;
}
