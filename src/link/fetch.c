/* One request over a link of its own. */
#include "link/fetch.h"

#include "base/assert.h"
#include "base/mem.h"
#include "codec/url.h"

#include <stdio.h>
#include <string.h>

enum { FETCH_HEADERS_MAX = 32 };

struct kith_fetch {
    struct kith_rt *rt;
    void (*done)(void *ctx, const struct kith_fetch_result *result);
    void *ctx;
    struct kith_link *link;
    struct kith_http_exchange exchange;
    struct kith_rt_timer timer;
    struct kith_buf url;
    char host[KITH_DIAL_HOST_SIZE_MAX + 3]; /* for sentences */
    uint64_t started_ns, sent_ns, head_ns, limit_ns;
    bool wants_head_only;
};

/* ---- The end ---- */

static void fetch_free(struct kith_fetch *fetch)
{
    kith__link_close(fetch->link);
    kith__http_exchange_dispose(&fetch->exchange);
    kith__buf_dispose(&fetch->url);
    kith__rt_timer_dispose(&fetch->timer);
    kith__free(fetch->rt->mem, fetch);
}

void kith__fetch_cancel(struct kith_fetch *fetch)
{
    if (fetch != NULL)
        fetch_free(fetch);
}

/** Tells how it went; the fetch is gone when this returns. */
static void end(struct kith_fetch *fetch, int err, const char *why)
{
    struct kith_fetch_result result = { .err = err, .why = why };

    kith__rt_timer_set(&fetch->timer, KITH_NEVER);
    kith__link_set_events(fetch->link, &(struct kith_link_events) { .ctx = NULL });
    if (fetch->exchange.has_head) {
        result.head = &fetch->exchange.head;
        result.status = fetch->exchange.head.status;
        result.body = kith__buf_slice(&fetch->exchange.body);
        result.latency_ns = fetch->head_ns - fetch->started_ns;
        result.exchange_ns = fetch->head_ns - fetch->sent_ns;
    }
    fetch->done(fetch->ctx, &result);
    fetch_free(fetch);
}

static void fail(struct kith_fetch *fetch, int err, const char *what)
{
    char why[KITH_LINK_WHY_SIZE];

    snprintf(why, sizeof why, "%s %s", fetch->host, what);
    end(fetch, err, why);
}

static const char *reading_failed(int err)
{
    switch (err) {
    case KITH_ERR_TOO_LARGE:
        return "answered with more than is taken here";
    case KITH_ERR_VERSION:
        return "answered in another version of HTTP than 1.1";
    case KITH_ERR_NOMEM:
        return "answered, but there is no memory for it";
    default:
        return "answered, but not in HTTP: is it a web server, and is the port right?";
    }
}

/* ---- Events of the link ---- */

static void on_open(void *ctx, int err, const char *why)
{
    struct kith_fetch *fetch = ctx;
    const struct kith_buf *request = &fetch->exchange.request;

    if (err != 0) {
        end(fetch, err, why);
        return;
    }
    fetch->sent_ns = kith__rt_now(fetch->rt);
    if ((err = kith__link_write(fetch->link, request->ptr, request->size)) != 0)
        fail(fetch, err, "cannot be written to");
}

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct kith_fetch *fetch = ctx;
    bool had_head = fetch->exchange.has_head;
    int err = kith__http_exchange_receive(&fetch->exchange, bytes, size);

    if (fetch->exchange.has_head && !had_head)
        fetch->head_ns = kith__rt_now(fetch->rt);
    if (fetch->exchange.is_done || (fetch->exchange.has_head && fetch->wants_head_only))
        end(fetch, 0, "");
    else if (err != 0)
        fail(fetch, err, reading_failed(err));
}

static void on_end(void *ctx, int err)
{
    struct kith_fetch *fetch = ctx;

    if (err == 0)
        err = kith__http_exchange_end(&fetch->exchange);
    if (err == 0)
        end(fetch, 0, "");
    else
        fail(fetch, err == KITH_ERR_TRUNCATED && !fetch->exchange.has_head ? KITH_ERR_CLOSED_BY_PEER : err,
             "closed the connection before its answer was complete");
}

static void on_writable(void *ctx, int err)
{
    struct kith_fetch *fetch = ctx;

    (void)err; /* it may have answered before it had read all: on_data or on_end tells */
    kith__buf_dispose(&fetch->exchange.request);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_fetch *fetch = ctx;
    char what[64];

    (void)now_ns;
    snprintf(what, sizeof what, "%s within %llu ms",
             kith__link_is_open(fetch->link) ? "did not answer" : "could not be reached",
             (unsigned long long)(fetch->limit_ns / KITH_NS_PER_MS));
    fail(fetch, KITH_ERR_TIMEOUT, what);
}

/* ---- Starting ---- */

/** What is asked, without the fragment; host as the Host header has it. */
static int write_exchange(struct kith_fetch *fetch, const struct kith_fetch_options *options,
                          const struct kith_url *url)
{
    struct kith_http_exchange_options exchange = {
        .mem = fetch->rt->mem,
        .method = options->method != NULL ? options->method : "GET",
        .target = url->path,
        .has_own_accept = options->has_own_accept,
        .body = options->body,
        .response_size_max = options->response_size_max,
    };
    uint8_t line[32 + KITH_HTTP_CREDENTIALS_MAX * 4 / 3], credentials[KITH_HTTP_CREDENTIALS_MAX];
    struct kith_http_header headers[FETCH_HEADERS_MAX + 1];
    struct kith_writer w = kith__writer(line, sizeof line);
    char host[KITH_DIAL_HOST_SIZE_MAX + 10];
    bool is_usual_port = url->port == (url->is_https ? 443 : 80);
    size_t size = 0;
    int err;

    if (options->header_count > FETCH_HEADERS_MAX)
        return KITH_ERR_INVALID;
    snprintf(host, sizeof host, is_usual_port ? "%s" : "%s:%u", fetch->host, url->port);
    exchange.host = kith__http_text(host);
    for (size_t i = 0; i < options->header_count; i++)
        headers[exchange.header_count++] = options->headers[i];
    if (url->userinfo.size > 0) {
        if ((err = kith__http_percent_decode(url->userinfo, false, credentials, sizeof credentials, &size)) != 0 ||
            (err = kith__http_write_basic(&w, "A", (struct kith_slice) { credentials, size })) != 0)
            return err;
        headers[exchange.header_count++] = (struct kith_http_header) {
            kith__http_text("Authorization"), { line + 3, kith__writer_size(&w) - 5 } /* without "A: " and the end */
        };
    }
    exchange.headers = headers;
    return kith__http_exchange_init(&fetch->exchange, &exchange);
}

static int dial(struct kith_fetch *fetch, const struct kith_fetch_options *options, const struct kith_url *url)
{
    const struct kith_dial_options dial_options = {
        .rt = fetch->rt,
        .host = fetch->host,
        .port = url->port,
        .tls = url->is_https ? options->tls : NULL,
        .proxy = options->proxy,
        .proxy_tls = options->proxy_tls != NULL ? options->proxy_tls : options->tls,
        .prefers_v6 = options->prefers_v6,
        .limit_ns = KITH_NEVER, /* ours ends it */
    };
    const struct kith_link_events events = {
        .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_writable = on_writable, .ctx = fetch
    };

    if (url->is_https && options->tls == NULL)
        return KITH_ERR_INVALID;
    return kith__link_dial(&dial_options, &events, &fetch->link);
}

static int prepare(struct kith_fetch *fetch, const struct kith_fetch_options *options)
{
    struct kith_url url;
    int err;

    if ((err = kith__rt_timer_init(fetch->rt, &fetch->timer, on_timer, fetch)) != 0 ||
        (err = kith__url_normalise(options->url, strlen(options->url), &fetch->url)) != 0 ||
        (err = kith__url_split(kith__buf_slice(&fetch->url), &url)) != 0)
        return err;
    if (url.host.size > KITH_DIAL_HOST_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    snprintf(fetch->host, sizeof fetch->host, url.is_ip_v6 ? "[%.*s]" : "%.*s", (int)url.host.size,
             (const char *)url.host.ptr);
    if ((err = write_exchange(fetch, options, &url)) != 0 || (err = dial(fetch, options, &url)) != 0)
        return err;
    fetch->limit_ns = options->limit_ns != 0 ? options->limit_ns : KITH_FETCH_LIMIT_NS;
    fetch->started_ns = kith__rt_now(fetch->rt);
    kith__rt_timer_set(&fetch->timer, fetch->started_ns + KITH_MIN(fetch->limit_ns, KITH_NEVER - fetch->started_ns));
    return 0;
}

int kith__fetch(const struct kith_fetch_options *options,
                void (*done)(void *ctx, const struct kith_fetch_result *result), void *ctx, struct kith_fetch **out)
{
    struct kith_fetch *fetch = kith__alloc_zero(options->rt->mem, sizeof *fetch);
    int err;

    if (fetch == NULL)
        return KITH_ERR_NOMEM;
    fetch->rt = options->rt;
    fetch->done = done;
    fetch->ctx = ctx;
    fetch->wants_head_only = options->wants_head_only;
    kith__buf_init(&fetch->url, fetch->rt->mem);
    if ((err = prepare(fetch, options)) != 0) {
        fetch_free(fetch);
        return err;
    }
    *out = fetch;
    return 0;
}
