/* Lookup services from options. */
#include "api/endpoint_lookup.h"

#include "api/error.h"
#include "api/lookup_custom.h"
#include "base/assert.h"
#include "lookup/dht.h"
#include "lookup/dns_service.h"
#include "lookup/mdns_service.h"
#include "lookup/pkarr_publish.h"
#include "lookup/pkarr_resolve.h"
#include <string.h>

_Static_assert((int)KITH_ENDPOINT_DNS_SERVERS_MAX == (int)KITH_DNS_SERVERS_MAX, "as many as the resolver takes");
_Static_assert((int)KITH_ENDPOINT_LOOKUPS_MAX + 1 <= (int)KITH_LOOKUP_SERVICES_MAX,
               "with the table in memory there is room for all");

/* What each kind is, in words and needs. */
static const struct kind_fact {
    const char *name;
    bool needs_where, needs_custom, needs_udp, tells_all;
} facts[] = {
    [KITH_LOOKUP_DNS] = { "DNS", .needs_where = true },
    [KITH_LOOKUP_PKARR] = { "pkarr", .needs_where = true },
    [KITH_LOOKUP_PKARR_PUBLISH] = { "pkarr", .needs_where = true },
    [KITH_LOOKUP_PKARR_RESOLVE] = { "pkarr", .needs_where = true },
    [KITH_LOOKUP_MDNS] = { "mDNS", .needs_udp = true, .tells_all = true },
    [KITH_LOOKUP_DHT] = { "DHT", .needs_udp = true },
    [KITH_LOOKUP_MEMORY] = { "memory" },
    [KITH_LOOKUP_CUSTOM] = { "custom", .needs_custom = true, .tells_all = true },
};

static int check_one(const struct kith_endpoint_options *options, size_t index)
{
    const struct kith_lookup_option *option = &options->lookups[index];

    if (option->kind >= KITH_COUNT(facts) || option->publish > KITH_PUBLISH_NONE)
        return kith__fail(KITH_ERR_INVALID, 0, "lookup service %zu is of no kind that there is", index + 1);
    if (facts[option->kind].needs_where && (option->where == NULL || option->where[0] == '\0'))
        return kith__fail(KITH_ERR_INVALID, 0, "lookup service %zu (%s) needs to be told where", index + 1,
                          facts[option->kind].name);
    if (facts[option->kind].needs_custom &&
        (option->custom == NULL || (option->custom->publish == NULL && option->custom->resolve == NULL)))
        return kith__fail(KITH_ERR_INVALID, 0, "lookup service %zu is the program's own, and does nothing", index + 1);
    if (facts[option->kind].needs_udp && options->relay_only)
        return kith__fail(KITH_ERR_INVALID, 0, "lookup by %s needs UDP, and this endpoint goes through relays only",
                          facts[option->kind].name);
    return 0;
}

int kith__api_lookup_check(const struct kith_endpoint_options *options)
{
    int err = 0;

    if ((options->lookup_count > 0 && options->lookups == NULL) ||
        (options->dns_server_count > 0 && options->dns_servers == NULL))
        return kith__fail(KITH_ERR_INVALID, 0, "lookup services or DNS servers are counted but not given");
    if (options->lookup_count > KITH_ENDPOINT_LOOKUPS_MAX)
        return kith__fail(KITH_ERR_LIMIT, 0, "%zu lookup services are too many: at most %d", options->lookup_count,
                          KITH_ENDPOINT_LOOKUPS_MAX);
    if (options->dns_server_count > KITH_ENDPOINT_DNS_SERVERS_MAX)
        return kith__fail(KITH_ERR_LIMIT, 0, "%zu DNS servers are too many: at most %d", options->dns_server_count,
                          KITH_ENDPOINT_DNS_SERVERS_MAX);
    for (size_t i = 0; err == 0 && i < options->lookup_count; i++)
        err = check_one(options, i);
    return err;
}

/* What is published: what was asked for; else relays only, unless there are none, or the kind tells all. */
static uint8_t filter_of(const struct kith_lookup_making *making, const struct kith_lookup_option *option)
{
    static const uint8_t filters[] = { [KITH_PUBLISH_RELAYS] = KITH_LOOKUP_RELAYS,
                                       [KITH_PUBLISH_DIRECT] = KITH_LOOKUP_DIRECT,
                                       [KITH_PUBLISH_ALL] = KITH_LOOKUP_ALL,
                                       [KITH_PUBLISH_NONE] = KITH_LOOKUP_NONE };

    if (option->kind == KITH_LOOKUP_MDNS &&
        (option->publish == KITH_PUBLISH_DEFAULT || option->publish == KITH_PUBLISH_ALL))
        return KITH_LOOKUP_LOCAL;
    if (option->publish != KITH_PUBLISH_DEFAULT)
        return filters[option->publish];
    return facts[option->kind].tells_all || making->options->no_relays ? KITH_LOOKUP_ALL : KITH_LOOKUP_RELAYS;
}

/* Takes the service over. */
static int add(const struct kith_lookup_making *making, const struct kith_lookup_option *option,
               struct kith_lookup_service *service)
{
    service->filter = filter_of(making, option);
    return kith__lookup_add(making->lookup->registry, service);
}

/* ---- DNS ---- */

static int make_dns(const struct kith_lookup_making *making, const struct kith_lookup_option *option)
{
    struct kith_api_lookup *lookup = making->lookup;
    const struct kith_context *context = lookup->endpoint->context;
    struct kith_dns_options options = { .servers = making->options->dns_servers,
                                        .server_count = making->options->dns_server_count };
    struct kith_lookup_service *service;
    int err = 0;

    if (lookup->dns == NULL && (err = kith__dns_client_new(context->rt, context->mem, &options, &lookup->dns)) != 0)
        return err;
    if ((err = kith__dns_service_new(lookup->dns, context->mem, option->where, &service)) != 0)
        return err;
    return add(making, option, service);
}

/* ---- Signed packets ---- */

/* Certificates are looked at only if one of the servers is to show one. */
static int make_tls(const struct kith_lookup_making *making, const char *url)
{
    struct kith_api_lookup *lookup = making->lookup;
    struct kith_tls_stream_context_options options = { .mem = lookup->endpoint->context->mem,
                                                       .is_client = true,
                                                       .trust = (enum kith_tls_trust)making->options->relay_trust,
                                                       .anchors = making->options->relay_ca_pem };

    if (lookup->tls != NULL || strncmp(url, "http:", 5) == 0)
        return 0;
    return kith__tls_stream_context_new(&options, &lookup->tls);
}

static int make_publisher(const struct kith_lookup_making *making, const struct kith_lookup_option *option,
                          const struct kith_pkarr_http_options *http)
{
    struct kith_pkarr_publish_options options = { .http = *http,
                                                  .secret = making->secret,
                                                  .republish_ns = making->options->publish_interval_ns,
                                                  .last_us = making->lookup->time.last_us,
                                                  .store = kith__publish_time_store,
                                                  .store_ctx = &making->lookup->time };
    struct kith_lookup_service *service;
    int err = kith__pkarr_publish_new(making->lookup->endpoint->context->rt, &options, &service);

    return err != 0 ? err : add(making, option, service);
}

static int make_pkarr(const struct kith_lookup_making *making, const struct kith_lookup_option *option)
{
    struct kith_pkarr_http_options http = { .url = option->where };
    struct kith_lookup_service *service;
    int err = make_tls(making, option->where);

    http.tls = making->lookup->tls;
    if (making->lookup->proxy.host[0] != '\0')
        http.proxy = &making->lookup->proxy;
    if (err == 0 && option->kind != KITH_LOOKUP_PKARR_RESOLVE && option->publish != KITH_PUBLISH_NONE)
        err = make_publisher(making, option, &http);
    if (err == 0 && option->kind != KITH_LOOKUP_PKARR_PUBLISH &&
        (err = kith__pkarr_resolve_new(making->lookup->endpoint->context->rt, &http, &service)) == 0)
        err = add(making, option, service);
    return err;
}

/* ---- The DHT ---- */

static int make_dht(const struct kith_lookup_making *making, const struct kith_lookup_option *option)
{
    struct kith_dht_service_options options = { .node.bootstrap = option->bootstrap,
                                                .secret = option->publish == KITH_PUBLISH_NONE ? NULL : making->secret,
                                                .republish_ns = making->options->publish_interval_ns };
    struct kith_lookup_service *service;
    int err;

    while (option->bootstrap != NULL && option->bootstrap[options.node.bootstrap_count] != NULL)
        options.node.bootstrap_count++;
    err = kith__dht_service_new(making->lookup->endpoint->context->rt, &options, &service);
    return err != 0 ? err : add(making, option, service);
}

/* ---- The local network ---- */

static int make_mdns(const struct kith_lookup_making *making, const struct kith_lookup_option *option)
{
    const struct kith_endpoint *endpoint = making->lookup->endpoint;
    struct kith_mdns_service_options options = { .id = kith__secret_id(making->secret),
                                                 .no_publish = option->publish == KITH_PUBLISH_NONE };
    struct kith_lookup_service *service;
    int err = kith__mdns_service_new(endpoint->context->rt, &options, &service);

    return err != 0 ? err : add(making, option, service);
}

/* ---- The program's own ---- */

static int make_custom(const struct kith_lookup_making *making, const struct kith_lookup_option *option)
{
    struct kith_lookup_service *service;
    int err = kith__lookup_custom_new(making->lookup->endpoint->context, option->custom, &service);

    return err != 0 ? err : add(making, option, service);
}

static int make_memory(const struct kith_lookup_making *making)
{
    struct kith_lookup_memory *memory;

    return kith__api_lookup_memory(making->lookup, &memory);
}

int kith__api_lookup_make(const struct kith_lookup_making *making, const struct kith_lookup_option *option)
{
    int err = KITH_ERR_UNSUPPORTED;

    switch ((enum kith_lookup_kind)option->kind) {
    case KITH_LOOKUP_MEMORY:
        err = make_memory(making);
        break;
    case KITH_LOOKUP_CUSTOM:
        err = make_custom(making, option);
        break;
    case KITH_LOOKUP_DNS:
        err = make_dns(making, option);
        break;
    case KITH_LOOKUP_PKARR:
    case KITH_LOOKUP_PKARR_PUBLISH:
    case KITH_LOOKUP_PKARR_RESOLVE:
        err = make_pkarr(making, option);
        break;
    case KITH_LOOKUP_DHT:
        err = make_dht(making, option);
        break;
    case KITH_LOOKUP_MDNS:
        err = make_mdns(making, option);
        break;
    }
    if (err == KITH_ERR_PARSE && option->kind == KITH_LOOKUP_DNS)
        return kith__fail(err, 0, "'%.200s' is no domain name to look for endpoints below", option->where);
    if (err == KITH_ERR_PARSE || err == KITH_ERR_UNSUPPORTED)
        return kith__fail(err, 0, "lookup by %s: '%.200s' is no URL: one like https://dns.example/pkarr is expected",
                          facts[option->kind].name, option->where != NULL ? option->where : "");
    if (err != 0)
        return kith__fail_because(err, "lookup by %s%s%.200s cannot be started", facts[option->kind].name,
                                  option->where != NULL ? " at " : "", option->where != NULL ? option->where : "");
    return 0;
}
