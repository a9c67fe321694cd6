/* Lookup services of an endpoint: what its options and calls have to do with them. */
#include "api/endpoint_lookup.h"

#include "api/dial.h"
#include "api/lookup_custom.h"
#include "base/assert.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

/* ---- Opening and closing ---- */

static void lookup_free(struct kith_api_lookup *lookup)
{
    const struct kith_mem *mem = lookup->endpoint->context->mem;

    kith__announce_free(lookup->announce);
    kith__lookup_free(lookup->registry);
    kith__dns_client_free(lookup->dns);
    kith__publish_time_dispose(&lookup->time);
    kith__tls_stream_context_release(lookup->tls);
    kith__wipe(&lookup->proxy, sizeof lookup->proxy);
    kith__free(mem, lookup);
}

/* The registry, with nothing in it. */
static int lookup_new(struct kith_endpoint *endpoint, struct kith_api_lookup **out)
{
    struct kith_api_lookup *lookup = kith__alloc_zero(endpoint->context->mem, sizeof *lookup);
    struct kith_id id = kith_quic_host_id(kith__driver_host(endpoint->driver));
    int err;

    if (lookup == NULL)
        return KITH_ERR_NOMEM;
    lookup->endpoint = endpoint;
    kith__list_init(&lookup->searches);
    if ((err = kith__lookup_new(endpoint->context->rt, endpoint->context->mem, &id, &lookup->registry)) != 0) {
        kith__free(endpoint->context->mem, lookup);
        return err;
    }
    *out = lookup;
    return 0;
}

static int user_data_error(int err)
{
    if (err == KITH_ERR_TOO_LARGE)
        return kith__fail(err, 0, "the user data are too long: at most %d bytes", KITH_USER_DATA_SIZE_MAX);
    if (err == KITH_ERR_PARSE)
        return kith__fail(err, 0, "the user data are no text: UTF-8 without zero bytes is expected");
    return kith__fail_because(err, "the user data cannot be published");
}

static int begin_announcing(struct kith_api_lookup *lookup, const struct kith_endpoint_options *options)
{
    const struct kith_endpoint *endpoint = lookup->endpoint;
    struct kith_announce_options announce = { .rt = endpoint->context->rt,
                                              .mem = endpoint->context->mem,
                                              .driver = endpoint->driver,
                                              .relays = endpoint->relays,
                                              .lookup = lookup->registry,
                                              .id = kith_quic_host_id(kith__driver_host(endpoint->driver)),
                                              .is_relay_only = endpoint->is_relay_only,
                                              .user_data = options->user_data };
    int err = kith__announce_new(&announce, &lookup->announce);

    return err == 0 ? 0 : user_data_error(err);
}

int kith__api_lookup_open(struct kith_endpoint *endpoint, const struct kith_endpoint_options *options,
                          const struct kith_secret *secret)
{
    struct kith_lookup_making making = { .options = options, .secret = secret };
    int err;

    if (options->lookup_count == 0)
        return 0; /* the user data, too, are of no use then */
    if ((err = lookup_new(endpoint, &making.lookup)) != 0)
        return kith__fail_because(err, "the lookup services cannot be started");
    endpoint->lookup = making.lookup;
    if ((err = kith__publish_time_open(&endpoint->lookup->time, endpoint->context, options->publish_time_file,
                                       options->publish_time)) != 0)
        return kith__fail_because(err, "the lookup services cannot be started");
    if ((err = kith__api_proxy(endpoint, options, &endpoint->lookup->proxy)) != 0)
        return err;
    for (size_t i = 0; i < options->lookup_count; i++)
        if ((err = kith__api_lookup_make(&making, &options->lookups[i])) != 0)
            return err;
    return begin_announcing(endpoint->lookup, options);
}

void kith__api_lookup_close(struct kith_endpoint *endpoint, const struct kith_error *error)
{
    if (endpoint->lookup == NULL)
        return;
    KITH_ASSERT(kith__list_is_empty(&endpoint->dials));
    kith__api_searches_fail(endpoint->lookup, error);
    lookup_free(endpoint->lookup);
    endpoint->lookup = NULL;
}

struct kith_lookup *kith__api_lookup_registry(const struct kith_endpoint *endpoint)
{
    return endpoint->lookup != NULL ? endpoint->lookup->registry : NULL;
}

void kith__api_lookup_on_news(struct kith_endpoint *endpoint)
{
    if (endpoint->lookup != NULL)
        kith__announce_soon(endpoint->lookup->announce);
}

/* ---- Being found ---- */

static int set_user_data(struct kith_endpoint *endpoint, const char *text)
{
    struct kith_slice slice = { (const uint8_t *)text, text != NULL ? strlen(text) : 0 };
    int err;

    if (endpoint->lookup == NULL || endpoint->lookup->announce == NULL)
        return kith__fail(KITH_ERR_STATE, 0, "the endpoint publishes nothing: name lookup services when it is opened");
    err = kith__announce_set_user_data(endpoint->lookup->announce, slice);
    return err == 0 ? 0 : user_data_error(err);
}

int kith_endpoint_set_user_data(struct kith_endpoint *endpoint, const char *text)
{
    int err;

    kith__context_enter(endpoint->context);
    err = set_user_data(endpoint, text);
    kith__context_leave(endpoint->context);
    return err;
}

static void describe(const struct kith_endpoint *endpoint, size_t index, struct kith_endpoint_lookup_info *out)
{
    const struct kith_lookup_service *service = kith__lookup_service(endpoint->lookup->registry, index);
    struct kith_lookup_stats stats = kith__lookup_stats(endpoint->lookup->registry, index);
    struct kith_lookup_published published = { 0 };
    uint64_t now_ns = kith__context_now(endpoint->context);
    const char *why;

    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", service->ops->name);
    snprintf(out->label, sizeof out->label, "%s", service->label);
    out->publishes = service->ops->publish != NULL && service->filter != KITH_LOOKUP_NONE;
    out->resolves = service->ops->resolve != NULL;
    if (service->ops->published != NULL)
        service->ops->published(service, &published);
    out->accepted_count = published.accepted_count;
    out->failed_count = published.failed_count;
    out->accepted_ago_ns = published.accepted_count != 0 ? now_ns - published.accepted_ns : KITH_NEVER;
    out->err = published.err;
    snprintf(out->why, sizeof out->why, "%s", published.why);
    out->found_count = stats.ended_found;
    out->unknown_count = stats.ended_not_found;
    out->broken_count = stats.ended_failed;
    out->resolve_err = kith__lookup_failure(endpoint->lookup->registry, index, &why);
    snprintf(out->resolve_why, sizeof out->resolve_why, "%s", why);
}

size_t kith_endpoint_lookup_status(struct kith_endpoint *endpoint, struct kith_endpoint_lookup_info *out,
                                   size_t capacity)
{
    size_t count;

    kith__context_enter(endpoint->context);
    count = endpoint->lookup != NULL ? kith__lookup_count(endpoint->lookup->registry) : 0;
    for (size_t i = 0; i < count && i < capacity; i++)
        describe(endpoint, i, &out[i]);
    kith__context_leave(endpoint->context);
    return count;
}

/* ---- What the program knows ---- */

int kith__api_lookup_memory(struct kith_api_lookup *lookup, struct kith_lookup_memory **out)
{
    struct kith_lookup_memory *memory;
    int err;

    if (lookup->memory == NULL) {
        err = kith__lookup_memory_new(lookup->endpoint->context->rt, lookup->endpoint->context->mem, &memory);
        if (err != 0 || (err = kith__lookup_add(lookup->registry, kith__lookup_memory_service(memory))) != 0)
            return err;
        lookup->memory = memory;
    }
    *out = lookup->memory;
    return 0;
}

/* Dials under way asked before this was known. */
static void tell_dials(struct kith_endpoint *endpoint, const struct kith_lookup_info *info)
{
    KITH_LIST_EACH_SAFE(node, after, &endpoint->dials)
    {
        struct kith_dial *dial = KITH_CONTAINER(node, struct kith_dial, node);

        if (kith_id_equal(&dial->seek.id, &info->addr.id))
            kith__seek_add_found(&dial->seek, info);
    }
}

static int add_addr(struct kith_endpoint *endpoint, const struct kith_lookup_info *info)
{
    struct kith_lookup_memory *memory;
    int err;

    if (endpoint->lookup == NULL && (err = lookup_new(endpoint, &endpoint->lookup)) != 0)
        return err;
    if ((err = kith__api_lookup_memory(endpoint->lookup, &memory)) != 0 ||
        (err = kith__lookup_memory_add(memory, info)) != 0)
        return err;
    tell_dials(endpoint, info);
    kith__api_endpoint_touch(endpoint);
    return 0;
}

int kith_endpoint_add_addr(struct kith_endpoint *endpoint, const struct kith_addr *addr, const char *user_data)
{
    struct kith_lookup_info info;
    int err;

    if (addr == NULL)
        return kith__fail_null("an address");
    kith__context_enter(endpoint->context);
    kith__lookup_info_init(&info, endpoint->context->mem, &addr->id);
    if (endpoint->is_closing)
        err = kith__fail(KITH_ERR_CLOSED, 0, "the endpoint is closing");
    else if ((err = kith__api_info_of(addr, user_data, &info)) != 0 || (err = add_addr(endpoint, &info)) != 0)
        err = kith__fail_because(err, "the address cannot be kept");
    kith__lookup_info_dispose(&info);
    kith__context_leave(endpoint->context);
    return err;
}

void kith_endpoint_remove_addr(struct kith_endpoint *endpoint, const struct kith_id *id)
{
    kith__context_enter(endpoint->context);
    if (endpoint->lookup != NULL && endpoint->lookup->memory != NULL)
        (void)kith__lookup_memory_remove(endpoint->lookup->memory, id);
    kith__context_leave(endpoint->context);
}
