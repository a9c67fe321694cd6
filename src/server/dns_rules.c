/* The limits of a lookup server, ready for use. */
#include "server/dns_rules.h"

#include "base/assert.h"
#include "base/mem.h"
#include "http/head.h"
#include "zone/zone.h"
#include <math.h>

enum {
    PUT_BURST = 32,
    KEY_BURST = 512,
    RESPONSE_BURST = 2000,
    TCP_MAX = 4096,
    TCP_PER_CLIENT_MAX = 256,
    HTTP_MAX = 16384,
    RESPONSE_V4_BITS = 24,
    RESPONSE_V6_BITS = 56
};
#define PUT_RATE      1.0
#define KEY_RATE      0.1
#define RESPONSE_RATE 1000.0
#define HTTP_NS       (30 * KITH_NS_PER_S)
#define FUTURE_NS     (600 * KITH_NS_PER_S)
#define PACKETS_MAX   10000000ull

static bool is_trusted(const struct kith_dns_rules *rules, const struct kith_sockaddr *addr)
{
    for (size_t i = 0; i < rules->proxy_count; i++)
        if (kith__network_has(&rules->proxies[i], addr))
            return true;
    return false;
}

/* ---- Clients behind proxies ---- */

/* "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1", each maybe in quotes. */
static int parse_node(struct kith_slice node, struct kith_sockaddr *out)
{
    char text[80], *end;

    if (node.size >= 2 && node.ptr[0] == '"' && node.ptr[node.size - 1] == '"')
        node = (struct kith_slice) { node.ptr + 1, node.size - 2 };
    if (node.size == 0 || node.size >= sizeof text)
        return KITH_ERR_PARSE;
    memcpy(text, node.ptr, node.size);
    text[node.size] = 0;
    if (text[0] == '[') {
        if ((end = strchr(text, ']')) == NULL)
            return KITH_ERR_PARSE;
        *end = 0;
        return kith__ip_parse(text + 1, out);
    }
    if ((end = strchr(text, ':')) != NULL && strchr(end + 1, ':') == NULL)
        *end = 0; /* a port */
    return kith__ip_parse(text, out);
}

/* The "for" of one element of Forwarded (RFC 7239, 4); an element of X-Forwarded-For as it is. */
static struct kith_slice node_of(struct kith_slice element)
{
    struct kith_slice rest = element;

    while (rest.size != 0) {
        const uint8_t *semicolon = memchr(rest.ptr, ';', rest.size);
        struct kith_slice pair = { rest.ptr, semicolon != NULL ? (size_t)(semicolon - rest.ptr) : rest.size };

        rest = (struct kith_slice) { pair.ptr + pair.size, rest.size - pair.size };
        if (rest.size != 0)
            rest = (struct kith_slice) { rest.ptr + 1, rest.size - 1 };
        while (pair.size != 0 && pair.ptr[0] == ' ')
            pair = (struct kith_slice) { pair.ptr + 1, pair.size - 1 };
        if (pair.size >= 4 && kith__http_is_nocase((struct kith_slice) { pair.ptr, 4 }, "for="))
            return (struct kith_slice) { pair.ptr + 4, pair.size - 4 };
    }
    return element;
}

struct kith_sockaddr kith__dns_rules_client(const struct kith_dns_rules *rules, const struct kith_sockaddr *remote,
                                            struct kith_slice list)
{
    struct kith_sockaddr client = *remote, named;
    struct kith_slice element;
    bool is_first = true;

    client.port = 0;
    if (!rules->asks_proxies || !is_trusted(rules, &client))
        return client;
    /* Each proxy adds at the end: what is left of the last untrusted address may be invented by it. */
    while (kith__http_list_next(&list, &element)) {
        if (parse_node(node_of(element), &named) != 0)
            continue;
        if (is_first || !is_trusted(rules, &named))
            client = named;
        is_first = false;
    }
    return client;
}

/* ---- Making ---- */

static int read_proxies(struct kith_dns_rules *rules, const struct kith_dns_limits *limits, struct kith_server_why *why)
{
    static const char *const usual[] = { "127.0.0.0/8",    "::1",      "10.0.0.0/8", "172.16.0.0/12",
                                         "192.168.0.0/16", "fc00::/7", "fe80::/10" };
    const char *const *texts = limits->trusted_proxies;
    size_t count = limits->trusted_proxy_count;

    if (count == 0) {
        texts = usual;
        count = KITH_COUNT(usual);
    }
    if (count > KITH_DNS_SERVER_PROXIES_MAX || texts == NULL)
        return kith__server_why(why, KITH_ERR_INVALID, "more than %d trusted proxies", KITH_DNS_SERVER_PROXIES_MAX);
    for (size_t i = 0; i < count; i++)
        if (texts[i] == NULL || kith__network_parse(kith__http_text(texts[i]), &rules->proxies[i]) != 0)
            return kith__server_why(why, KITH_ERR_PARSE, "a trusted proxy is no address or network: %.80s",
                                    texts[i] != NULL ? texts[i] : "");
    rules->proxy_count = count;
    return 0;
}

static bool is_rate(double rate)
{
    return isfinite(rate) && rate >= 0;
}

static int make_rates(struct kith_dns_rules *rules, const struct kith_dns_limits *limits, uint64_t seed,
                      struct kith_server_why *why)
{
    struct kith_rates_options puts = { limits->put_rate > 0 ? limits->put_rate : PUT_RATE,
                                       limits->put_burst != 0 ? limits->put_burst : PUT_BURST,
                                       KITH_DNS_CLIENTS_MAX,
                                       32,
                                       64,
                                       seed };
    struct kith_rates_options keys = { limits->key_rate > 0 ? limits->key_rate : KEY_RATE,
                                       limits->key_burst != 0 ? limits->key_burst : KEY_BURST,
                                       KITH_DNS_CLIENTS_MAX,
                                       32,
                                       64,
                                       seed + 1 };
    struct kith_rates_options responses = { limits->response_rate > 0 ? limits->response_rate : RESPONSE_RATE,
                                            limits->response_burst != 0 ? limits->response_burst : RESPONSE_BURST,
                                            KITH_DNS_CLIENTS_MAX,
                                            RESPONSE_V4_BITS,
                                            RESPONSE_V6_BITS,
                                            seed + 2 };
    int err;

    if (!is_rate(limits->put_rate) || !is_rate(limits->key_rate) || !is_rate(limits->response_rate))
        return kith__server_why(why, KITH_ERR_INVALID, "a rate is negative or no number");
    if (limits->put_limit > KITH_DNS_PUT_DISABLED)
        return kith__server_why(why, KITH_ERR_INVALID, "there is no limit of PUTs %d", limits->put_limit);
    err = kith__rates_new(rules->mem, &responses, &rules->responses);
    if (err == 0 && limits->put_limit != KITH_DNS_PUT_DISABLED &&
        (err = kith__rates_new(rules->mem, &puts, &rules->puts)) == 0)
        err = kith__rates_new(rules->mem, &keys, &rules->keys);
    return err == 0 ? 0 : kith__server_why(why, err, "rates of clients cannot be kept: %s", kith_strerror(err));
}

int kith__dns_rules_new(const struct kith_mem *mem, const struct kith_dns_limits *limits, uint64_t seed,
                        struct kith_dns_rules **out, struct kith_server_why *why)
{
    static const struct kith_dns_limits defaults;
    struct kith_dns_rules *rules = kith__alloc_zero(mem, sizeof *rules);
    int err;

    if (rules == NULL)
        return kith__server_why(why, KITH_ERR_NOMEM, "no memory for limits");
    if (limits == NULL)
        limits = &defaults;
    rules->mem = mem;
    atomic_init(&rules->references, 1);
    rules->asks_proxies = limits->put_limit == KITH_DNS_PUT_SMART;
    rules->future_us = (limits->future_ns != 0 ? limits->future_ns : FUTURE_NS) / KITH_NS_PER_US;
    rules->http_ns = limits->http_ns != 0 ? limits->http_ns : HTTP_NS;
    rules->packets_max = limits->packets_max != 0 ? limits->packets_max : PACKETS_MAX;
    rules->tcp_max = limits->tcp_max != 0 ? limits->tcp_max : TCP_MAX;
    rules->tcp_per_client_max = limits->tcp_per_client_max != 0 ? limits->tcp_per_client_max : TCP_PER_CLIENT_MAX;
    rules->http_max = limits->http_max != 0 ? limits->http_max : HTTP_MAX;
    rules->ttl_max_s = limits->ttl_max_s != 0 ? limits->ttl_max_s : KITH_ZONE_TTL_MAX_S;
    if ((err = read_proxies(rules, limits, why)) == 0)
        err = make_rates(rules, limits, seed, why);
    if (err != 0) {
        kith__dns_rules_release(rules);
        return err;
    }
    *out = rules;
    return 0;
}

struct kith_dns_rules *kith__dns_rules_retain(struct kith_dns_rules *rules)
{
    atomic_fetch_add_explicit(&rules->references, 1, memory_order_relaxed);
    return rules;
}

void kith__dns_rules_release(struct kith_dns_rules *rules)
{
    if (rules == NULL || atomic_fetch_sub_explicit(&rules->references, 1, memory_order_acq_rel) != 1)
        return;
    kith__rates_free(rules->puts);
    kith__rates_free(rules->keys);
    kith__rates_free(rules->responses);
    kith__free(rules->mem, rules);
}
