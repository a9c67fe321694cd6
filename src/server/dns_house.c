/* The part of a lookup server that is not on the way of questions. */
#include "server/dns_house.h"

#include "base/mem.h"
#include "base/random.h"
#include "server/certs.h"
#include "server/httpd.h"

enum { METRICS_CONNECTIONS_MAX = 64 };

struct kith_dns_house {
    const struct kith_mem *mem;
    struct kith_rt *rt;
    struct kith_dns_shared *shared;
    struct kith_httpd *httpd;
    struct kith_certs *certs;       /* NULL: no TLS */
    struct kith_dns_finder *finder; /* NULL: the DHT is not asked */
    void (*on_certificate)(void *ctx, struct kith_tls_stream_context *context);
    void *ctx;
    _Atomic bool wants_reload;
};

/* Any path and method, as the reference does. */
static void on_request(void *ctx, struct kith_httpd_conn *conn, const struct kith_http_head *head, int tag)
{
    struct kith_dns_house *house = ctx;
    struct kith_http_header type = { kith__http_text("content-type"), kith__http_text("text/plain; charset=utf-8") };
    struct kith_buf text = { .mem = house->mem };

    (void)head;
    (void)tag;
    if (kith__dns_metrics_write(house->shared, kith__rt_now(house->rt), &text) == 0) {
        struct kith_httpd_reply reply = { 200, &type, 1, kith__buf_slice(&text), false };

        if (kith__httpd_reply(conn, &reply) != 0)
            kith__log(&house->rt->log, KITH_LOG_WARN, "dns", "no memory for the metrics");
    }
    kith__buf_dispose(&text);
}

static void on_news(void *ctx, const struct kith_certificate_news *news)
{
    struct kith_dns_house *house = ctx;

    house->on_certificate(house->ctx, news->context);
}

static void on_wake(void *ctx)
{
    struct kith_dns_house *house = ctx;

    if (atomic_exchange(&house->wants_reload, false) && house->certs != NULL)
        kith__certs_reload(house->certs);
    if (house->finder != NULL)
        kith__dns_finder_run(house->finder);
}

static void wake_house(void *ctx)
{
    struct kith_dns_house *house = ctx;

    kith__rt_wake(house->rt);
}

void kith__dns_house_reload(struct kith_dns_house *house)
{
    atomic_store(&house->wants_reload, true);
    kith__rt_wake(house->rt);
}

struct kith_dns_finder *kith__dns_house_finder(const struct kith_dns_house *house)
{
    return house->finder;
}

/* ---- Life ---- */

int kith__dns_house_certify(struct kith_dns_house *house, const struct kith_dns_server_options *server,
                            struct kith_server_why *why)
{
    struct kith_certs_options options = { .rt = house->rt,
                                          .mem = house->mem,
                                          .tls = server->tls,
                                          .shared = &house->shared->certs,
                                          .has_https = server->https_count != 0,
                                          .has_http = server->http_count != 0,
                                          .on_news = on_news,
                                          .ctx = house };

    if (server->tls == NULL || server->tls->source == KITH_CERTIFICATE_NONE)
        return 0;
    return kith__certs_new(&options, &house->certs, why);
}

static int make_finder(struct kith_dns_house *house, const struct kith_dns_house_options *from,
                       struct kith_server_why *why)
{
    struct kith_dns_finder_options options = { .rt = house->rt,
                                               .shared = house->shared,
                                               .dht = from->server->dht,
                                               .wake_house = wake_house,
                                               .house = house,
                                               .wake_workers = from->wake_workers,
                                               .ctx = from->ctx,
                                               .seed = kith__random_u64(kith__rt_random(house->rt)) };
    int err;

    if (options.dht == NULL)
        return 0;
    if ((err = kith__dns_finder_new(&options, &house->finder)) != 0)
        return kith__server_why(why, err, "the DHT cannot be asked: %s", kith_strerror(err));
    return 0;
}

int kith__dns_house_new(const struct kith_dns_house_options *options, struct kith_dns_house **out,
                        struct kith_server_why *why)
{
    struct kith_dns_house *house = kith__alloc_zero(options->shared->mem, sizeof *house);
    struct kith_httpd_options http = { .rt = options->rt,
                                       .mem = options->shared->mem,
                                       .counters.refused_total =
                                           &kith__dns_house_counters(options->shared)->http_refused,
                                       .connections_max = METRICS_CONNECTIONS_MAX,
                                       .on_request = on_request,
                                       .ctx = house };
    struct kith_rt_hooks hooks = { .on_wake = on_wake, .ctx = house };
    int err;

    if (house == NULL)
        return kith__server_why(why, KITH_ERR_NOMEM, "no memory for a lookup server");
    house->mem = options->shared->mem;
    house->rt = options->rt;
    house->shared = options->shared;
    house->on_certificate = options->on_certificate;
    house->ctx = options->ctx;
    if ((err = kith__httpd_new(&http, &house->httpd)) != 0)
        kith__server_why(why, err, "no memory for a lookup server");
    else
        err = make_finder(house, options, why);
    if (err != 0) {
        kith__dns_house_free(house);
        return err;
    }
    kith__rt_set_hooks(house->rt, &hooks);
    *out = house;
    return 0;
}

void kith__dns_house_free(struct kith_dns_house *house)
{
    static const struct kith_rt_hooks none;

    if (house == NULL)
        return;
    kith__rt_set_hooks(house->rt, &none);
    kith__certs_free(house->certs);
    kith__dns_finder_free(house->finder);
    kith__httpd_free(house->httpd);
    kith__free(house->mem, house);
}

int kith__dns_house_listen(struct kith_dns_house *house, const struct kith_sockaddr *at, struct kith_sockaddr *bound)
{
    struct kith_httpd_listen listen = { .at = *at, .has_keep_alive = true };

    return kith__httpd_listen(house->httpd, &listen, bound);
}
