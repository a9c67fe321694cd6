/* A lookup server inside a program. */
#include "service.h"

#include "../server/log.h"
#include "../server/places.h"

#include <stdio.h>
#include <string.h>

bool dns_service_prepare(struct dns_service *service, char *error)
{
    if (!dns_config_options(&service->config, &service->options, error))
        return false;
    service->options.log = log_write;
    service->options.log_level = log_level();
    return true;
}

void dns_service_add_paths(const struct dns_service *service, struct guard_paths *paths)
{
    if (service->options.data_dir != NULL)
        guard_add_directory(paths, service->options.data_dir);
    if (service->options.tls != NULL)
        certificate_add_paths(&service->config.certificate, paths);
}

int dns_service_start(struct dns_service *service)
{
    return kith_dns_server_start(&service->options, &service->server);
}

/* ---- What it tells when it runs ---- */

static const char *const address_words[] = { "dns", "http", "https", "metrics" };
enum { ADDRESS_KINDS = 4 };

static size_t addresses(const struct dns_service *service, int kind, struct kith_sockaddr *list)
{
    return kith_dns_server_addresses(service->server, (enum kith_dns_server_address)kind, list,
                                     KITH_DNS_SERVER_BINDS_MAX);
}

void dns_service_describe(const struct dns_service *service, json_t *object)
{
    struct kith_sockaddr list[KITH_DNS_SERVER_BINDS_MAX];
    json_t *origins = json_array();

    for (int kind = 0; kind < ADDRESS_KINDS; kind++)
        json_object_set_new(object, address_words[kind], places_json(list, addresses(service, kind, list)));
    for (size_t i = 0; i < service->config.origins.count; i++)
        json_array_append_new(origins, json_string(service->config.origins.items[i]));
    json_object_set_new(object, "origins", origins);
    json_object_set_new(object, "data_dir",
                        service->options.data_dir != NULL ? json_string(service->options.data_dir) : json_null());
}

void dns_service_tell(const struct dns_service *service)
{
    const struct dns_config *config = &service->config;
    struct kith_sockaddr list[KITH_DNS_SERVER_BINDS_MAX];

    for (int kind = 0; kind < ADDRESS_KINDS; kind++)
        places_log(address_words[kind], list, addresses(service, kind, list));
    for (size_t i = 0; i < config->origins.count; i++)
        log_line(LOG_LEVEL_INFO, "answers below the origin %s", config->origins.items[i]);
    if (service->options.data_dir != NULL)
        log_line(LOG_LEVEL_INFO, "packets are kept in %s", service->options.data_dir);
    else
        log_line(LOG_LEVEL_WARN, "packets are kept in memory: they are gone with this process");
    if (config->backlog != 0)
        log_line(LOG_LEVEL_WARN, "listen_backlog has no effect: the queue is as long as the system allows "
                                 "(net.core.somaxconn)");
    if (config->batch_ns != 0)
        log_line(LOG_LEVEL_WARN, "zone_store.max_batch_time has no effect: packets are written at once");
    if (service->options.tls != NULL && config->certificate.mode == CERTIFICATE_SELF)
        log_line(LOG_LEVEL_INFO,
                 "the certificate is vouched for by an authority of our own: clients need %s/authority.crt as a "
                 "trusted root (kith: --relay-ca; iroh: a custom root certificate)",
                 config->certificate.directory);
}

/* ---- Reload and end ---- */

static bool same_place(const struct dns_place *a, const struct dns_place *b)
{
    return a->bind_count == b->bind_count && memcmp(a->binds, b->binds, sizeof a->binds) == 0;
}

static bool same_dht(const struct dns_config *a, const struct dns_config *b)
{
    return a->has_dht == b->has_dht && texts_same(&a->bootstrap, &b->bootstrap) &&
           memcmp(&a->dht_local, &b->dht_local, sizeof a->dht_local) == 0;
}

static bool same_places(const struct dns_config *a, const struct dns_config *b)
{
    return same_place(&a->dns, &b->dns) && same_place(&a->http, &b->http) && same_place(&a->https, &b->https) &&
           a->has_no_metrics == b->has_no_metrics &&
           memcmp(a->metrics_binds, b->metrics_binds, sizeof a->metrics_binds) == 0;
}

static const char *find_change(const struct dns_config *a, const struct dns_config *b)
{
    if (!same_places(a, b))
        return "other addresses need a restart";
    if (!certificate_same(&a->certificate, &b->certificate))
        return "another certificate needs a restart; the files of this one are read again";
    if (a->is_in_memory != b->is_in_memory || !text_same(a->data_dir, b->data_dir) ||
        memcmp(&a->storage, &b->storage, sizeof a->storage) != 0)
        return "other settings of the store need a restart";
    if (!same_dht(a, b))
        return "other settings of the DHT need a restart";
    return a->workers != b->workers ? "another number of workers needs a restart" : NULL;
}

bool dns_service_reload(struct dns_service *service, const struct dns_service *fresh, const char **needs_restart,
                        char *error)
{
    const struct kith_dns_server_options *options = &fresh->options;

    if (kith_dns_server_set_origins(service->server, options->origins, options->origin_count) != 0 ||
        kith_dns_server_set_limits(service->server, options->limits) != 0) {
        snprintf(error, SETTINGS_ERROR_SIZE, "%s", kith_error_last()->text);
        return false;
    }
    service->config.drain_s = fresh->config.drain_s;
    *needs_restart = find_change(&service->config, &fresh->config);
    return true;
}

int dns_service_stop(struct dns_service *service)
{
    int err = kith_dns_server_stop(service->server, (uint64_t)(service->config.drain_s * 1e9));

    service->server = NULL;
    return err;
}

void dns_service_dispose(struct dns_service *service)
{
    dns_config_dispose(&service->config);
}
