/* The part of a relay that is not on the way of data. */
#include "server/relay_house.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

enum { METRICS_CONNECTIONS_MAX = 64, MORE_SPARE = 1024 };

struct kith_relay_house {
    const struct kith_mem *mem;
    struct kith_rt *rt;
    struct kith_relay_shared *shared;
    struct kith_httpd *httpd;
    struct kith_rt_timer sample_timer;
    uint64_t sampled_ns, sampled_frames, sampled_bytes;
    struct kith_certs *certs;                                                  /* NULL: no TLS */
    struct kith_relay_qad *qad;                                                /* NULL: no address discovery */
    int (*more_metrics)(void *ctx, char *text, size_t capacity, size_t *size); /* of another server; NULL: none */
    void *more_ctx;
    void (*on_certificate)(void *ctx, struct kith_tls_stream_context *context);
    void *ctx;
    void *lock; /* of what follows: what other threads want */
    bool wants_reload, wants_rates;
    double rate, per_ip_rate;
};

/* ---- Metrics ---- */

int kith__relay_metrics_write(const struct kith_relay_shared *shared, uint64_t now_ns, struct kith_buf *out)
{
    struct kith_relay_counters sum;
    const struct kith_relay_gauge gauges[] = {
        { "clients", "Clients now", KITH_RELAY_GAUGE(shared, clients) },
        { "endpoints", "Different endpoint ids of clients now, added up over the workers",
          KITH_RELAY_GAUGE(shared, endpoints) },
        { "sessions", "Upgraded connections now, with those that have not proved an id",
          KITH_RELAY_GAUGE(shared, sessions) },
        { "http_open", "HTTP connections now that were not upgraded", KITH_RELAY_GAUGE(shared, http_connections) },
        { "queued_bytes", "Bytes that wait for clients", KITH_RELAY_GAUGE(shared, queued_bytes) },
        { "refused_no_handles", "Connections closed at once: the process may not have more descriptors",
          KITH_RELAY_GAUGE(shared, no_handles) },
        { "refused_no_memory", "Connections closed at once for want of memory", KITH_RELAY_GAUGE(shared, no_memory) },
        { "workers", "Threads that serve clients", shared->worker_count },
        { "uptime_seconds", "Seconds since the start", (now_ns - shared->started_ns) / KITH_NS_PER_S },
        { "certificate_ends_seconds", "End of the certificate in use, in seconds since 1970; 0 without one",
          kith__relay_counter(&shared->certs.certificate_ends_s) },
        { "certificate_loads", "Certificates taken over since the start", kith__relay_counter(&shared->certs.reloads) },
        { "certificate_failures", "Tries to get a certificate that failed",
          kith__relay_counter(&shared->certs.failures) },
        { "news_dropped", "News of clients that the program did not fetch in time",
          kith__relay_counter(&shared->news_dropped) },
    };

    kith__relay_shared_count(shared, &sum);
    return kith__relay_counters_write(&sum, gauges, KITH_COUNT(gauges), out);
}

/* Another server's text takes the place of the mark at the end, which it has itself. */
static int append_more(const struct kith_relay_house *house, struct kith_buf *text)
{
    static const char end[] = "# EOF\n";
    size_t size = 0, room;
    int err = house->more_metrics(house->more_ctx, NULL, 0, &size);

    if (err != KITH_ERR_TOO_LARGE)
        return err;
    room = size + MORE_SPARE; /* numbers may get longer meanwhile */
    if ((err = kith__buf_reserve(text, room)) != 0)
        return err;
    text->size -= sizeof end - 1;
    if ((err = house->more_metrics(house->more_ctx, (char *)text->ptr + text->size, room, &size)) != 0)
        size = sizeof end - 1; /* it wrote nothing: the mark is still there */
    text->size += size;
    return err;
}

/* Any path and method, as the reference does. */
static void on_request(void *ctx, struct kith_httpd_conn *conn, const struct kith_http_head *head, int tag)
{
    struct kith_relay_house *house = ctx;
    struct kith_http_header type = { kith__http_text("content-type"), kith__http_text("text/plain; charset=utf-8") };
    struct kith_buf text = { .mem = house->mem };

    (void)head;
    (void)tag;
    if (kith__relay_metrics_write(house->shared, kith__rt_now(house->rt), &text) == 0) {
        struct kith_httpd_reply reply = { 200, &type, 1, { 0 }, false };
        int err = house->more_metrics != NULL ? append_more(house, &text) : 0;

        if (err != 0)
            kith__log(&house->rt->log, KITH_LOG_WARN, "relay", "there are no further metrics: %s", kith_strerror(err));
        reply.body = kith__buf_slice(&text);
        if (kith__httpd_reply(conn, &reply) != 0)
            kith__log(&house->rt->log, KITH_LOG_WARN, "relay", "no memory for the metrics");
    }
    kith__buf_dispose(&text);
}

/* ---- Rates ---- */

static void sample(void *ctx, uint64_t now_ns)
{
    struct kith_relay_house *house = ctx;
    struct kith_relay_counters sum;
    uint64_t frames, bytes, ms = (now_ns - house->sampled_ns) / KITH_NS_PER_MS;

    kith__relay_shared_count(house->shared, &sum);
    frames = kith__relay_counter(&sum.send_packets_sent);
    bytes = kith__relay_counter(&sum.bytes_sent);
    if (ms != 0) {
        atomic_store_explicit(&house->shared->frames_per_s, (frames - house->sampled_frames) * 1000 / ms,
                              memory_order_relaxed);
        atomic_store_explicit(&house->shared->bits_per_s, (bytes - house->sampled_bytes) * 8000 / ms,
                              memory_order_relaxed);
    }
    house->sampled_ns = now_ns;
    house->sampled_frames = frames;
    house->sampled_bytes = bytes;
    kith__rt_timer_set(&house->sample_timer, now_ns + KITH_RELAY_PAGE_SAMPLE_S * KITH_NS_PER_S);
}

/* ---- Certificates ---- */

static void on_certificate(void *ctx, const struct kith_certificate_news *news)
{
    struct kith_relay_house *house = ctx;
    int err;

    house->on_certificate(house->ctx, news->context);
    if (house->qad == NULL || news->chain.size == 0)
        return;
    if ((err = kith__relay_qad_set_certificate(house->qad, news->chain, news->key)) != 0)
        kith__log(&house->rt->log, KITH_LOG_ERROR, "discovery", "the new certificate cannot be used over QUIC: %s",
                  kith_strerror(err));
}

/* ---- What other threads want ---- */

void kith__relay_house_reload(struct kith_relay_house *house)
{
    kith__relay_lock(house->shared->sync, house->lock);
    house->wants_reload = true;
    kith__relay_unlock(house->shared->sync, house->lock);
    kith__rt_wake(house->rt);
}

void kith__relay_house_set_rates(struct kith_relay_house *house, double rate, double per_ip_rate)
{
    kith__relay_lock(house->shared->sync, house->lock);
    house->wants_rates = true;
    house->rate = rate;
    house->per_ip_rate = per_ip_rate;
    kith__relay_unlock(house->shared->sync, house->lock);
    kith__rt_wake(house->rt);
}

static void on_wake(void *ctx)
{
    struct kith_relay_house *house = ctx;
    bool wants_reload, wants_rates;
    double rate, per_ip_rate;

    kith__relay_lock(house->shared->sync, house->lock);
    wants_reload = house->wants_reload;
    wants_rates = house->wants_rates;
    rate = house->rate;
    per_ip_rate = house->per_ip_rate;
    house->wants_reload = house->wants_rates = false;
    kith__relay_unlock(house->shared->sync, house->lock);
    if (wants_reload && house->certs != NULL)
        kith__certs_reload(house->certs);
    if (wants_rates && house->qad != NULL)
        kith__relay_qad_set_rates(house->qad, rate, per_ip_rate);
}

/* ---- Life ---- */

static int make_discovery(struct kith_relay_house *house, const struct kith_relay_options *relay,
                          struct kith_server_why *why)
{
    struct kith_relay_qad_options options = { .rt = house->rt,
                                              .mem = house->mem,
                                              .counters = &house->shared->counters[house->shared->worker_count] };
    int err;

    if (relay->discovery_count == 0)
        return 0;
    if (relay->quota != NULL) {
        options.rate = relay->quota->discovery_rate;
        options.per_ip_rate = relay->quota->discovery_per_ip_rate;
    }
    if ((err = kith__relay_qad_new(&options, &house->qad)) != 0)
        return kith__server_why(why, err, "address discovery cannot be set up: %s", kith_strerror(err));
    return 0;
}

static int make_certs(struct kith_relay_house *house, const struct kith_relay_options *relay,
                      struct kith_server_why *why)
{
    struct kith_certs_options options = { .rt = house->rt,
                                          .mem = house->mem,
                                          .tls = relay->tls,
                                          .shared = &house->shared->certs,
                                          .has_https = relay->https_count != 0,
                                          .has_http = relay->http_count != 0,
                                          .on_news = on_certificate,
                                          .ctx = house };

    if (relay->tls == NULL || relay->tls->source == KITH_CERTIFICATE_NONE)
        return 0;
    return kith__certs_new(&options, &house->certs, why);
}

int kith__relay_house_new(const struct kith_relay_house_options *options, struct kith_relay_house **out,
                          struct kith_server_why *why)
{
    struct kith_relay_house *house = kith__alloc_zero(options->mem, sizeof *house);
    struct kith_httpd_options http = { .rt = options->rt,
                                       .mem = options->mem,
                                       .counters.refused_total =
                                           &options->shared->counters[options->shared->worker_count].refused_total,
                                       .connections_max = METRICS_CONNECTIONS_MAX,
                                       .on_request = on_request,
                                       .ctx = house };
    struct kith_rt_hooks hooks = { .on_wake = on_wake, .ctx = house };
    int err;

    if (house == NULL)
        return kith__server_why(why, KITH_ERR_NOMEM, "no memory for a relay");
    house->mem = options->mem;
    house->rt = options->rt;
    house->shared = options->shared;
    house->sampled_ns = kith__rt_now(options->rt);
    house->more_metrics = options->relay->more_metrics;
    house->more_ctx = options->relay->more_metrics_ctx;
    house->on_certificate = options->on_certificate;
    house->ctx = options->ctx;
    if ((err = kith__relay_lock_new(house->shared->sync, &house->lock)) != 0 ||
        (err = kith__rt_timer_init(house->rt, &house->sample_timer, sample, house)) != 0 ||
        (err = kith__httpd_new(&http, &house->httpd)) != 0)
        kith__server_why(why, err, "no memory for a relay");
    else if ((err = make_discovery(house, options->relay, why)) == 0)
        err = make_certs(house, options->relay, why);
    if (err != 0) {
        kith__relay_house_free(house);
        return err;
    }
    kith__rt_set_hooks(house->rt, &hooks);
    kith__rt_timer_set(&house->sample_timer, house->sampled_ns + KITH_RELAY_PAGE_SAMPLE_S * KITH_NS_PER_S);
    *out = house;
    return 0;
}

void kith__relay_house_free(struct kith_relay_house *house)
{
    static const struct kith_rt_hooks none;

    if (house == NULL)
        return;
    kith__rt_set_hooks(house->rt, &none);
    kith__certs_free(house->certs);
    kith__relay_qad_free(house->qad);
    kith__httpd_free(house->httpd);
    kith__relay_lock_free(house->shared->sync, house->lock);
    kith__rt_timer_dispose(&house->sample_timer);
    kith__free(house->mem, house);
}

int kith__relay_house_discover(struct kith_relay_house *house, const struct kith_sockaddr *at,
                               struct kith_sockaddr *bound)
{
    return kith__relay_qad_listen(house->qad, at, bound);
}

int kith__relay_house_listen(struct kith_relay_house *house, const struct kith_sockaddr *at,
                             struct kith_sockaddr *bound)
{
    struct kith_httpd_listen listen = { .at = *at, .has_keep_alive = true };

    return kith__httpd_listen(house->httpd, &listen, bound);
}
