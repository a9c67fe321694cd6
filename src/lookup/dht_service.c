/* The DHT as a lookup service: publishes one packet again and again, and looks for those of others. */
#include "lookup/dht.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/sign.h"

#include <stdio.h>
#include <string.h>

/* After a failure: again soon, then later and later, up to the usual interval. */
#define RETRY_MIN_NS (10 * KITH_NS_PER_S)

struct dht_service {
    struct kith_lookup_service base;
    struct kith_rt *rt;
    struct kith_dht *dht;
    bool is_dht_ours, has_info;
    bool is_newer_seen; /* a packet of ours that is newer than the clock was there: once for each publication */
    struct kith_secret secret;
    uint32_t ttl_s;
    uint64_t republish_ns, retry_ns;
    struct kith_lookup_info info; /* what is to be told */
    struct kith_pkarr packet;
    bool has_packet;  /* of info */
    uint64_t last_us; /* the last timestamp that was used or seen */
    struct kith_rt_timer timer;
    struct kith_dht_put *put;
    struct kith_lookup_published published;
    size_t query_count;
};

struct dht_resolve { /* is a struct kith_lookup_query for those who hold it */
    struct dht_service *service;
    struct kith_lookup_sink sink;
    struct kith_dht_get *get;
    int err; /* why a packet that was found could not be told */
};

/* ---- Publishing ---- */

static void fail(struct dht_service *service, int err, const char *why)
{
    service->published.failed_count++;
    service->published.err = err;
    snprintf(service->published.why, sizeof service->published.why, "%s", why);
    kith__log(&service->rt->log, KITH_LOG_WARN, "dht", "publishing failed: %s", why);
}

static void wait_and_retry(struct dht_service *service)
{
    service->retry_ns = service->retry_ns == 0 ? RETRY_MIN_NS : KITH_MIN(2 * service->retry_ns, service->republish_ns);
    kith__rt_timer_set(&service->timer, kith__rt_now(service->rt) + service->retry_ns);
}

/** The packet that is repeated until there is something else to tell. */
static int make_packet(struct dht_service *service)
{
    uint64_t timestamp_us = KITH_MAX(kith__rt_wall_us(service->rt), service->last_us + 1);
    size_t left_out = 0;
    int err;

    if (service->has_packet)
        return 0;
    err = kith__pkarr_make(&service->info, &service->secret, timestamp_us, service->ttl_s, service->rt->mem,
                           &service->packet, &left_out);
    if (err != 0)
        return err;
    if (left_out > 0)
        kith__log(&service->rt->log, KITH_LOG_WARN, "dht", "%zu addresses have no room in the packet", left_out);
    service->last_us = timestamp_us;
    service->has_packet = true;
    return 0;
}

static void on_put(void *ctx, const struct kith_dht_put_result *result)
{
    struct dht_service *service = ctx;

    service->put = NULL;
    if (result->err == 0) {
        service->published.accepted_count++;
        service->published.accepted_ns = kith__rt_now(service->rt);
        service->published.err = 0;
        service->published.why[0] = '\0';
        service->retry_ns = 0;
        kith__rt_timer_set(&service->timer, service->published.accepted_ns + service->republish_ns);
        return;
    }
    fail(service, result->err, result->why);
    if (result->newest_us > service->last_us && !service->is_newer_seen) {
        /* Our clock went back since: what is to be told now must win. If another has the key, it may win the next time. */
        service->is_newer_seen = true;
        service->last_us = result->newest_us;
        service->has_packet = false;
        kith__rt_timer_set(&service->timer, 0);
        return;
    }
    wait_and_retry(service);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct dht_service *service = ctx;
    int err = make_packet(service);

    (void)now_ns;
    if (err == 0)
        err = kith__dht_put(service->dht, &service->packet, on_put, service, &service->put);
    if (err != 0) {
        fail(service, err, kith_strerror(err));
        wait_and_retry(service);
    }
}

static struct dht_service *of(struct kith_lookup_service *base)
{
    return (struct dht_service *)(void *)base;
}

static void publish(struct kith_lookup_service *base, const struct kith_lookup_info *info)
{
    struct dht_service *service = of(base);

    if (service->has_info && kith__lookup_info_equal(info, &service->info))
        return;
    kith__dht_put_cancel(service->put);
    service->put = NULL;
    service->has_packet = service->has_info = service->is_newer_seen = false;
    service->retry_ns = 0;
    kith__rt_timer_set(&service->timer, KITH_NEVER);
    if (info->addr.count == 0)
        return; /* there is nothing to find: what was told before is not repeated, and forgotten in time */
    if (kith__lookup_info_copy(info, &service->info) != 0) {
        fail(service, KITH_ERR_NOMEM, kith_strerror(KITH_ERR_NOMEM));
        return;
    }
    service->has_info = true;
    kith__rt_timer_set(&service->timer, kith__rt_now(service->rt) + KITH_DHT_SETTLE_NS);
}

static void published(const struct kith_lookup_service *base, struct kith_lookup_published *out)
{
    *out = ((const struct dht_service *)(const void *)base)->published;
}

/* ---- Resolving ---- */

static void on_found(void *ctx, const struct kith_pkarr *packet)
{
    struct dht_resolve *resolve = ctx;
    struct kith_lookup_found found = { .updated_us = kith__pkarr_timestamp(packet) };
    struct kith_lookup_info info;

    if ((resolve->err = kith__pkarr_info(packet, resolve->service->rt->mem, &info, &found.ignored)) != 0)
        return;
    found.info = &info;
    resolve->sink.on_found(resolve->sink.ctx, &found); /* may cancel */
    kith__lookup_info_dispose(&info);
}

static void resolve_free(struct dht_resolve *resolve)
{
    resolve->service->query_count--;
    kith__free(resolve->service->rt->mem, resolve);
}

static void on_end(void *ctx, int err, const struct kith_pkarr *newest, const char *why)
{
    struct dht_resolve *resolve = ctx;
    struct kith_lookup_sink sink = resolve->sink;

    (void)newest; /* was told as it came */
    if (err == 0 && resolve->err != 0) {
        err = resolve->err;
        why = kith_strerror(err);
    }
    resolve_free(resolve);
    sink.on_end(sink.ctx, err, why);
}

static int resolve(struct kith_lookup_service *base, const struct kith_id *id, const struct kith_lookup_sink *sink,
                   struct kith_lookup_query **out)
{
    struct kith_dht_get_events events = { .on_found = on_found, .on_end = on_end };
    struct dht_service *service = of(base);
    struct dht_resolve *query = kith__alloc_zero(service->rt->mem, sizeof *query);
    int err;

    if (query == NULL)
        return KITH_ERR_NOMEM;
    query->service = service;
    query->sink = *sink;
    events.ctx = query;
    service->query_count++;
    if ((err = kith__dht_get(service->dht, id, &events, &query->get)) != 0) {
        resolve_free(query);
        return err;
    }
    *out = (struct kith_lookup_query *)(void *)query;
    return 0;
}

static void cancel(struct kith_lookup_query *query)
{
    struct dht_resolve *resolve = (struct dht_resolve *)(void *)query;

    kith__dht_get_cancel(resolve->get);
    resolve_free(resolve);
}

/* ---- Life ---- */

static void on_network_change(struct kith_lookup_service *base)
{
    struct dht_service *service = of(base);

    kith__dht_on_network_change(service->dht);
    /* What failed may succeed here. */
    if (service->has_info && service->put == NULL && service->published.err != 0)
        kith__rt_timer_set(&service->timer, kith__rt_now(service->rt) + KITH_DHT_SETTLE_NS);
}

static void service_free(struct kith_lookup_service *base)
{
    struct dht_service *service = of(base);

    KITH_ASSERT(service->query_count == 0);
    kith__dht_put_cancel(service->put);
    kith__rt_timer_dispose(&service->timer);
    if (service->is_dht_ours)
        kith__dht_free(service->dht);
    kith__lookup_info_dispose(&service->info);
    kith__wipe(&service->secret, sizeof service->secret);
    kith__free(service->rt->mem, service);
}

static const struct kith_lookup_service_ops ops = {
    .name = "dht",
    .publish = publish,
    .published = published,
    .resolve = resolve,
    .cancel = cancel,
    .on_network_change = on_network_change,
    .free = service_free,
};

static const struct kith_lookup_service_ops ops_without_publishing = {
    .name = "dht",
    .resolve = resolve,
    .cancel = cancel,
    .on_network_change = on_network_change,
    .free = service_free,
};

int kith__dht_service_new(struct kith_rt *rt, const struct kith_dht_service_options *options,
                          struct kith_lookup_service **out)
{
    struct dht_service *service = kith__alloc_zero(rt->mem, sizeof *service);
    int err;

    if (service == NULL)
        return KITH_ERR_NOMEM;
    service->base.ops = options->secret != NULL ? &ops : &ops_without_publishing;
    service->base.filter = (uint8_t)options->filter;
    snprintf(service->base.label, sizeof service->base.label, "dht");
    service->rt = rt;
    service->dht = options->dht;
    service->is_dht_ours = options->dht == NULL;
    service->ttl_s = options->ttl_s != 0 ? options->ttl_s : KITH_PKARR_TTL_S;
    service->republish_ns = options->republish_ns != 0 ? options->republish_ns : KITH_DHT_REPUBLISH_NS;
    if (options->secret != NULL)
        service->secret = *options->secret;
    kith__lookup_info_init(&service->info, rt->mem, NULL);
    if ((err = kith__rt_timer_init(rt, &service->timer, on_timer, service)) != 0 ||
        (service->is_dht_ours && (err = kith__dht_new(rt, &options->node, &service->dht)) != 0)) {
        service_free(&service->base);
        return err;
    }
    *out = &service->base;
    return 0;
}

struct kith_dht *kith__dht_service_node(struct kith_lookup_service *service)
{
    return of(service)->dht;
}
