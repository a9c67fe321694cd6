/*
 * Endpoints in the DNS. One may have moved since its last answer was remembered: so that is told at once, for a dial that can begin
 * with it, and the servers are asked all the same.
 */
#include "lookup/dns_service.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"
#include "lookup/attrs.h"

#include <stdio.h>

struct dns_service {
    struct kith_lookup_service service; /* first */
    struct kith_dns_client *client;
    const struct kith_mem *mem;
    struct kith_dns_name origin;
    size_t query_count;
};

struct query {
    struct dns_service *service;
    struct kith_id id;
    struct kith_lookup_sink sink;
    struct kith_dns_request *recall;  /* what is remembered; NULL: it is told, or there is nothing */
    struct kith_dns_request *request; /* NULL: done */
    bool has_told;
    bool is_cancelled; /* while it tells what it asked for */
};

static void free_query(struct query *query)
{
    query->service->query_count--;
    kith__free(query->service->mem, query);
}

/** Tells what an answer says. An answer without an address is one, too: the endpoint is known, but not where it is. */
static void tell(struct query *query, struct kith_slice message, int *err)
{
    struct kith_lookup_info info;
    struct kith_lookup_found found = { .info = &info }; /* the DNS does not say since when */

    kith__lookup_info_init(&info, query->service->mem, &query->id);
    *err = kith__dns_answer_info(message, &info, &found.ignored);
    query->has_told |= *err == 0;
    if (*err == 0)
        query->sink.on_found(query->sink.ctx, &found);
    kith__lookup_info_dispose(&info);
}

/** The query may be gone behind that. */
static void on_recalled(void *ctx, int err, const char *why, struct kith_slice message)
{
    struct query *query = ctx;

    (void)why; /* that of the question counts */
    query->recall = NULL;
    if (err == 0)
        tell(query, message, &err);
}

static void on_done(void *ctx, int err, const char *why, struct kith_slice message)
{
    struct query *query = ctx;
    struct kith_lookup_sink sink = query->sink;
    bool is_cancelled;

    query->request = NULL;
    if (err == 0) {
        tell(query, message, &err);
        why = err == 0 ? "" : kith_strerror(err);
    } else if (query->has_told) { /* what was remembered is all that there is */
        err = 0;
        why = "";
    }
    is_cancelled = query->is_cancelled;
    free_query(query);
    if (!is_cancelled)
        sink.on_end(sink.ctx, err, why);
}

static int resolve(struct kith_lookup_service *base, const struct kith_id *id, const struct kith_lookup_sink *sink,
                   struct kith_lookup_query **out)
{
    struct dns_service *service = KITH_CONTAINER(base, struct dns_service, service);
    struct query *query = kith__alloc_zero(service->mem, sizeof *query);
    struct kith_dns_name name;
    int err;

    if (query == NULL)
        return KITH_ERR_NOMEM;
    *query = (struct query) { .service = service, .id = *id, .sink = *sink };
    service->query_count++;
    if ((err = kith__attrs_name_below(id, &service->origin, &name)) != 0) {
        free_query(query);
        return err;
    }
    err = kith__dns_query(service->client, &name, KITH_DNS_TXT, KITH_DNS_REMEMBERED, on_recalled, query,
                          &query->recall);
    if (err == 0 || err == KITH_ERR_NOT_FOUND)
        err = kith__dns_query(service->client, &name, KITH_DNS_TXT, KITH_DNS_AFRESH, on_done, query, &query->request);
    if (err != 0) {
        kith__dns_cancel(query->recall);
        free_query(query);
        return err;
    }
    *out = (struct kith_lookup_query *)query;
    return 0;
}

static void cancel(struct kith_lookup_query *base)
{
    struct query *query = (struct query *)base;

    if (query->request == NULL) {
        query->is_cancelled = true;
        return;
    }
    kith__dns_cancel(query->recall);
    kith__dns_cancel(query->request);
    free_query(query);
}

static void on_network_change(struct kith_lookup_service *base)
{
    kith__dns_client_on_network_change(KITH_CONTAINER(base, struct dns_service, service)->client);
}

static void free_service(struct kith_lookup_service *base)
{
    struct dns_service *service = KITH_CONTAINER(base, struct dns_service, service);

    KITH_ASSERT(service->query_count == 0);
    kith__free(service->mem, service);
}

int kith__dns_service_new(struct kith_dns_client *client, const struct kith_mem *mem, const char *origin,
                          struct kith_lookup_service **out)
{
    static const struct kith_lookup_service_ops ops = {
        .name = "dns",
        .resolve = resolve,
        .cancel = cancel,
        .on_network_change = on_network_change,
        .free = free_service,
    };
    static const struct kith_id any = { { 0 } };
    struct dns_service *service;
    struct kith_dns_name name;
    int err;

    service = kith__alloc_zero(mem, sizeof *service);
    if (service == NULL)
        return KITH_ERR_NOMEM;
    service->client = client;
    service->mem = mem;
    if ((err = kith__dns_name_parse(origin, strlen(origin), &service->origin)) != 0 ||
        (err = kith__attrs_name_below(&any, &service->origin, &name)) != 0) {
        kith__free(mem, service);
        return err;
    }
    service->service.ops = &ops;
    snprintf(service->service.label, sizeof service->service.label, "dns:%s", origin);
    *out = &service->service;
    return 0;
}
