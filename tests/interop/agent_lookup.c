/* The lookup services of an agent's endpoint: options before the command, and what they say about an id (README.md). */
#include "agent.h"

static struct {
    struct kith_lookup_option lookups[KITH_ENDPOINT_LOOKUPS_MAX];
    size_t count;
    struct kith_sockaddr dns_server;
    bool has_dns_server;
    uint8_t publish;
    const char *user_data;
    bool is_local; /* on the local network: the endpoint is bound to all addresses */
} settings;

static void add(uint8_t kind, const char *where)
{
    CHECK(settings.count < KITH_ENDPOINT_LOOKUPS_MAX);
    settings.lookups[settings.count++] = (struct kith_lookup_option) { .kind = kind, .where = where };
}

bool agent_lookup_option(const char *name, const char *value)
{
    bool is_mdns = strcmp(name, "--lookup") == 0 && strcmp(value, "mdns") == 0;

    settings.is_local |= is_mdns;
    if (is_mdns)
        add(KITH_LOOKUP_MDNS, NULL);
    else if (strcmp(name, "--pkarr-publish") == 0)
        add(KITH_LOOKUP_PKARR_PUBLISH, value);
    else if (strcmp(name, "--pkarr-resolve") == 0)
        add(KITH_LOOKUP_PKARR_RESOLVE, value);
    else if (strcmp(name, "--dns-origin") == 0)
        add(KITH_LOOKUP_DNS, value);
    else if (strcmp(name, "--dns-server") == 0)
        settings.has_dns_server = kith_sockaddr_parse(value, &settings.dns_server) == 0;
    else if (strcmp(name, "--publish") == 0)
        settings.publish = strcmp(value, "all") == 0 ? KITH_PUBLISH_ALL : KITH_PUBLISH_RELAYS;
    else if (strcmp(name, "--user-data") == 0)
        settings.user_data = value;
    else
        return false;
    return true;
}

void agent_lookup_apply(struct kith_endpoint_options *options)
{
    for (size_t i = 0; i < settings.count; i++)
        settings.lookups[i].publish = settings.publish;
    options->lookups = settings.lookups;
    options->lookup_count = settings.count;
    options->dns_servers = &settings.dns_server;
    options->dns_server_count = settings.has_dns_server;
    options->user_data = settings.user_data;
    if (settings.is_local)
        options->bind_count = 0;
}

static void print_found(const struct kith_search_item *item)
{
    char text[KITH_SOCKADDR_TEXT_SIZE];
    const char *comma = "";

    printf("FOUND {\"provenance\":\"%s\",\"user_data\":\"%s\",\"addrs\":[", item->name, item->user_data);
    for (size_t i = 0; i < item->addr.relay_count; i++, comma = ",")
        printf("%s\"relay:%s\"", comma, item->addr.relays[i]);
    for (size_t i = 0; i < item->addr.ip_count; i++, comma = ",")
        printf("%s\"ip:%s\"", comma, kith_sockaddr_format(&item->addr.ips[i], text));
    printf("]}\n");
}

/* One search, for so long. Returns how it ended: END, TIMED_OUT, ... */
static int search(struct kith_endpoint *endpoint, const char *text, uint64_t limit_ns)
{
    struct kith_search_item item;
    struct kith_search *search;
    struct kith_id id;
    int err;

    MUST(kith_id_parse(text, &id));
    MUST(kith_lookup_start(endpoint, &id, &search));
    while ((err = kith_lookup_next(search, limit_ns, &item)) == 0) {
        if (!item.is_end)
            print_found(&item);
        else if (item.err != 0)
            printf("FAILED %s: %s\n", item.label, item.why);
    }
    printf("END\n");
    kith_lookup_free(search);
    return err;
}

int agent_lookup(const char *text)
{
    struct kith_endpoint *endpoint = agent_bind(NULL, NULL, NULL, NULL);
    char line[128], id[80];
    unsigned limit_ms;
    int err = KITH_ERR_END;

    if (strcmp(text, "-") != 0)
        err = search(endpoint, text, LIMIT);
    else
        while (fgets(line, sizeof line, stdin) != NULL && sscanf(line, "%79s %u", id, &limit_ms) == 2)
            (void)search(endpoint, id, limit_ms * KITH_NS_PER_MS);
    (void)kith_endpoint_close(endpoint, LIMIT);
    return err == KITH_ERR_END ? 0 : 1;
}
