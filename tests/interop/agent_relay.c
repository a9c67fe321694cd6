/* The relays of an agent's endpoint: options before the command, and lines that tell what became of them (README.md). */
#include "agent.h"

static struct {
    struct kith_endpoint_relay relays[KITH_ENDPOINT_RELAYS_MAX];
    size_t count;
    bool is_relay_only;
    const char *proxy;
    char *ca;
    size_t ca_size;
    char told[KITH_ENDPOINT_RELAYS_MAX][512];      /* the line of each relay that was printed last */
    char reported[KITH_ENDPOINT_RELAYS_MAX * 256]; /* the last report */
} settings;

static void read_ca(const char *path)
{
    enum { SIZE_MAX_HERE = 1 << 20 };
    FILE *file = fopen(path, "r");

    CHECK(file != NULL && (settings.ca = malloc(SIZE_MAX_HERE)) != NULL);
    settings.ca_size = fread(settings.ca, 1, SIZE_MAX_HERE, file);
    fclose(file);
}

int agent_relay_options(int argc, char **argv)
{
    int at = 0;

    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        struct kith_endpoint_relay *last = &settings.relays[settings.count > 0 ? settings.count - 1 : 0];

        if (strcmp(argv[at], "--relay-only") == 0) {
            settings.is_relay_only = true;
            continue;
        }
        CHECK(at + 1 < argc);
        if (strcmp(argv[at], "--relay") == 0) {
            CHECK(settings.count < KITH_ENDPOINT_RELAYS_MAX);
            settings.relays[settings.count++].url = argv[at + 1];
        } else if (strcmp(argv[at], "--quic") == 0) {
            last->qad_port = (uint16_t)atoi(argv[at + 1]);
        } else if (strcmp(argv[at], "--token") == 0) {
            last->token = argv[at + 1];
        } else if (strcmp(argv[at], "--ca") == 0) {
            read_ca(argv[at + 1]);
        } else if (strcmp(argv[at], "--proxy") == 0) {
            settings.proxy = argv[at + 1];
        } else if (!agent_lookup_option(argv[at], argv[at + 1])) {
            break;
        }
        at++;
    }
    return at;
}

void agent_relay_apply(struct kith_endpoint_options *options)
{
    options->relays = settings.relays;
    options->relay_count = settings.count;
    options->relay_only = settings.is_relay_only;
    options->proxy = settings.proxy;
    if (settings.ca != NULL) {
        options->relay_trust = KITH_RELAY_TRUST_ONLY;
        options->relay_ca_pem = (struct kith_slice) { (const uint8_t *)settings.ca, settings.ca_size };
    }
}

static void print_quoted(char *out, size_t size, const char *text)
{
    size_t at = 0;

    for (; *text != 0 && at + 3 < size; text++) {
        if (*text == '"' || *text == '\\')
            out[at++] = '\\';
        out[at++] = (unsigned char)*text < 32 ? ' ' : *text;
    }
    out[at] = 0;
}

/* A line for each relay of which something has changed. */
static void print_homes(struct kith_endpoint *endpoint)
{
    struct kith_endpoint_relay_info infos[KITH_ENDPOINT_RELAYS_MAX];
    size_t count = kith_endpoint_relays(endpoint, infos, KITH_ENDPOINT_RELAYS_MAX);

    for (size_t i = 0; i < count && i < KITH_ENDPOINT_RELAYS_MAX; i++) {
        const struct kith_endpoint_relay_info *info = &infos[i];
        bool is_refused = info->state == KITH_ENDPOINT_RELAY_REFUSED;
        char why[300], line[512];

        print_quoted(why, sizeof why, info->why);
        snprintf(
            line, sizeof line,
            "{\"url\":\"%.128s\",\"home\":%s,\"spare\":%s,\"connected\":%s,\"denied\":\"%.64s\",\"error\":\"%.128s\"}",
            info->url, info->is_home ? "true" : "false", info->is_spare ? "true" : "false",
            info->state == KITH_ENDPOINT_RELAY_CONNECTED ? "true" : "false", is_refused ? why : "",
            is_refused ? "" : why);
        if (strcmp(line, settings.told[i]) != 0)
            printf("HOME %s\n", line);
        strcpy(settings.told[i], line);
    }
}

/* What relays told of our address: a line when that changes. */
static void print_report(struct kith_endpoint *endpoint)
{
    struct kith_endpoint_relay_info infos[KITH_ENDPOINT_RELAYS_MAX];
    size_t count = kith_endpoint_relays(endpoint, infos, KITH_ENDPOINT_RELAYS_MAX), size;
    struct kith_endpoint_public_info seen;
    char line[sizeof settings.reported], text[KITH_SOCKADDR_TEXT_SIZE] = "";
    const char *home = "", *comma = "";

    kith_endpoint_public(endpoint, &seen);
    if (seen.v4.family == KITH_FAMILY_NONE)
        seen.v4 = seen.v6;
    if (seen.v4.family != KITH_FAMILY_NONE)
        kith_sockaddr_format(&seen.v4, text);
    for (size_t i = 0; i < count && i < KITH_ENDPOINT_RELAYS_MAX; i++)
        if (infos[i].is_home)
            home = infos[i].url;
    size = (size_t)snprintf(line, sizeof line, "{\"preferred\":\"%.128s\",\"observed\":\"%s\",\"latencies\":[", home,
                            text);
    for (size_t i = 0; i < count && i < KITH_ENDPOINT_RELAYS_MAX && size < sizeof line - 300; i++) {
        if (infos[i].quic_latency_ns == 0)
            continue;
        size += (size_t)snprintf(line + size, sizeof line - size,
                                 "%s{\"probe\":\"Qad\",\"url\":\"%.128s\",\"ms\":%.3f}", comma, infos[i].url,
                                 (double)infos[i].quic_latency_ns / 1e6);
        comma = ",";
    }
    snprintf(line + size, sizeof line - size, "]}");
    if (text[0] != 0 && strcmp(line, settings.reported) != 0)
        printf("REPORT %s\n", line);
    strcpy(settings.reported, line);
}

static void on_relays_changed(struct kith_op *op, void *user);

static void watch_relays(struct kith_endpoint *endpoint)
{
    struct kith_op *op;

    if (kith_endpoint_relays_changed_start(endpoint, &op) == 0)
        kith_op_on_done(op, on_relays_changed, endpoint);
}

static void on_relays_changed(struct kith_op *op, void *user)
{
    int err = kith_op_result(op);

    kith_op_free(op);
    if (err != 0)
        return;
    watch_relays(user);
    print_homes(user);
    print_report(user);
}

void agent_relay_online(struct kith_endpoint *endpoint, bool watch)
{
    enum { STEPS_MAX = 80 }; /* of 100 ms: a refusal is told when it comes, not when the wait ends */
    int err = KITH_ERR_TIMEOUT;

    if (settings.count == 0)
        return;
    if (watch)
        watch_relays(endpoint);
    for (int step = 0; step < STEPS_MAX && err == KITH_ERR_TIMEOUT; step++) {
        err = kith_endpoint_online(endpoint, KITH_NS_PER_S / 10);
        if (err == KITH_ERR_TIMEOUT)
            print_homes(endpoint);
    }
    if (err != 0)
        printf("OFFLINE %s\n", kith_error_last()->text);
    print_homes(endpoint);
    print_report(endpoint);
}

void agent_relay_addr(struct kith_addr *addr)
{
    for (size_t i = 0; i < settings.count; i++)
        MUST(kith_addr_add_relay(addr, settings.relays[i].url));
}

void agent_relay_paths(struct kith_conn *conn)
{
    struct kith_quic_path_info paths[16];
    size_t count = settings.count > 0 ? kith_conn_paths(conn, paths, 16) : 0;
    struct kith_quic_path_info used = { .id = UINT32_MAX };

    if (count > 0 && kith_conn_path_in_use(conn, &used) != 0)
        used.id = UINT32_MAX;

    for (size_t i = 0; i < count && i < 16; i++) {
        bool is_relay = paths[i].remote.family == KITH_FAMILY_RELAY;
        char url[KITH_ADDR_RELAY_SIZE], text[KITH_SOCKADDR_TEXT_SIZE];
        const char *remote = url;

        if (!is_relay || kith_conn_relay_of(conn, &paths[i].remote, url) != 0)
            remote = kith_sockaddr_format(&paths[i].remote, text);
        printf("%s{\"remote\":\"%s\",\"relay\":%s,\"selected\":%s}%s", i == 0 ? "PATHS [" : ",", remote,
               is_relay ? "true" : "false", paths[i].id == used.id ? "true" : "false", i + 1 == count ? "]\n" : "");
    }
}
