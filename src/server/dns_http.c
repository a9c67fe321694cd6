/* HTTP of a lookup server: which request is whose, and the small pages. */
#include "base/assert.h"
#include "base/mem.h"
#include "server/dns_parts.h"
#include "server/relay_pages.h"
#include <inttypes.h>
#include <stdio.h>

static const char json_type[] = "application/json", text_type[] = "text/plain; charset=utf-8";

/* ---- Answers ---- */

void kith__dns_page_header(struct kith_dns_page *page, const char *name, const char *value)
{
    KITH_ASSERT(page->header_count < KITH_DNS_HTTP_HEADERS_MAX);
    page->headers[page->header_count++] = (struct kith_http_header) { kith__http_text(name), kith__http_text(value) };
}

void kith__dns_page_text(struct kith_dns_page *page, uint16_t status, const char *type, const char *text)
{
    page->status = status;
    page->body = kith__http_text(text);
    kith__dns_page_header(page, "content-type", type);
}

void kith__dns_page_error(struct kith_dns_page *page, uint16_t status, const char *detail)
{
    char clean[256];
    size_t size = 0;

    for (; *detail != 0 && size < sizeof clean - 1; detail++)
        clean[size++] = *detail == '"' || *detail == '\\' || *detail < ' ' || *detail > '~' ? '\'' : *detail;
    clean[size] = 0;
    snprintf(page->text, sizeof page->text, "{\"status\":\"%u\",\"detail\":\"%s\"}", status, clean);
    kith__dns_page_text(page, status, json_type, page->text);
}

void kith__dns_page_send(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, const struct kith_dns_page *page,
                         uint64_t began_ns, bool is_deferred)
{
    struct kith_http_header headers[KITH_HTTPD_HEADERS_MAX] = {
        { kith__http_text("access-control-allow-origin"), kith__http_text("*") },
        { kith__http_text("access-control-expose-headers"), kith__http_text("etag, retry-after") }
    };
    struct kith_httpd_reply reply = {
        .status = page->status, .headers = headers, .header_count = 2 + page->header_count, .body = page->body
    };
    struct kith_dns_counters *counters = worker->counters;

    memcpy(headers + 2, page->headers, page->header_count * sizeof headers[0]);
    kith__dns_count(page->status < 400 ? &counters->http_requests_success : &counters->http_requests_error, 1);
    kith__dns_count(&counters->http_requests_duration_ms, (kith__rt_now(worker->rt) - began_ns) / KITH_NS_PER_MS);
    if (is_deferred)
        kith__httpd_answer(conn, &reply);
    else if (kith__httpd_reply(conn, &reply) != 0)
        kith__log(&worker->rt->log, KITH_LOG_WARN, "http", "no memory for an answer");
}

/* ---- Small pages ---- */

static void make_health(const struct kith_dns_worker *worker, struct kith_dns_page *page)
{
    snprintf(page->text, sizeof page->text, "{\"status\":\"ok\",\"version\":\"%.64s\",\"git_hash\":\"unknown\"}",
             worker->shared->version);
    kith__dns_page_text(page, 200, json_type, page->text);
}

/* For people; programs read the metrics. */
static void make_index(const struct kith_dns_worker *worker, struct kith_dns_page *page)
{
    uint64_t minutes = (kith__rt_now(worker->rt) - worker->shared->started_ns) / (60 * KITH_NS_PER_S);

    snprintf(page->text, sizeof page->text,
             "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" "
             "content=\"light dark\"><title>Iroh DNS</title></head><body>\n<h1>Iroh DNS</h1>\n<p>This server tells "
             "where endpoints are, by their public keys.</p>\n<p>kith %.64s, running for %" PRIu64 " min, %" PRIu64
             " keys.</p>\n</body></html>\n",
             worker->shared->version, minutes, kith__dns_counter(&worker->shared->packets));
    kith__dns_page_text(page, 200, "text/html; charset=utf-8", page->text);
}

/* A browser asks before a script of another site may put (Fetch, 3.2). */
static void make_preflight(struct kith_dns_page *page)
{
    page->status = 204;
    kith__dns_page_header(page, "access-control-allow-methods", "GET, HEAD, POST, PUT, OPTIONS");
    kith__dns_page_header(page, "access-control-allow-headers", "content-type, if-none-match, if-modified-since");
    kith__dns_page_header(page, "access-control-max-age", "86400");
}

/* http-01: answered where ACME asks, without TLS. */
static void send_challenge(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, struct kith_slice token,
                           uint64_t now_ns)
{
    struct kith_dns_page page = { .status = 200 };
    struct kith_buf answer = { .mem = worker->mem };

    if (kith__http01_find(&worker->shared->certs, token, &answer) != 0)
        kith__dns_page_error(&page, 404, "there is no such challenge");
    page.body = page.status == 200 ? kith__buf_slice(&answer) : page.body;
    kith__dns_page_send(worker, conn, &page, now_ns, false);
    kith__buf_dispose(&answer);
}

static bool is_get(const struct kith_http_head *head)
{
    return kith__http_is(head->method, "GET") || kith__http_is(head->method, "HEAD");
}

static void refuse_method(struct kith_dns_page *page, const char *allowed)
{
    kith__dns_page_error(page, 405, "this method is not for this path");
    kith__dns_page_header(page, "allow", allowed);
}

static void send_small(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, const struct kith_http_head *head,
                       uint64_t now_ns)
{
    struct kith_dns_page page = { .status = 404 };
    bool is_index = kith__http_is(head->path, "/"), is_health = kith__http_is(head->path, "/healthz");
    bool is_check = kith__http_is(head->path, "/healthcheck");

    if (kith__http_is(head->method, "OPTIONS"))
        make_preflight(&page);
    else if (!is_index && !is_health && !is_check)
        kith__dns_page_error(&page, 404, "there is nothing at this path");
    else if (!is_get(head))
        refuse_method(&page, "GET, HEAD, OPTIONS");
    else if (is_health)
        make_health(worker, &page);
    else if (is_check)
        kith__dns_page_text(&page, 200, text_type, "OK");
    else
        make_index(worker, &page);
    kith__dns_page_send(worker, conn, &page, now_ns, false);
}

/* ---- Requests ---- */

/* The key in "/pkarr/KEY"; a base URL that ends in a slash makes two of them. */
static bool is_pkarr(const struct kith_http_head *head, struct kith_slice *key)
{
    static const char prefix[] = "/pkarr/";
    const size_t size = sizeof prefix - 1;

    if (head->path.size <= size || memcmp(head->path.ptr, prefix, size) != 0)
        return false;
    *key = (struct kith_slice) { head->path.ptr + size, head->path.size - size };
    if (key->size > 1 && key->ptr[0] == '/')
        *key = (struct kith_slice) { key->ptr + 1, key->size - 1 };
    return true;
}

static void take_pkarr(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, const struct kith_http_head *head,
                       struct kith_slice key, uint64_t now_ns)
{
    struct kith_dns_page page = { 0 };

    if (kith__http_is(head->method, "PUT")) {
        kith__dns_pkarr_put(worker, conn, head, key, now_ns);
        return;
    }
    if (is_get(head)) {
        kith__dns_pkarr_get(worker, conn, head, key, now_ns);
        return;
    }
    refuse_method(&page, "GET, HEAD, PUT, OPTIONS");
    kith__dns_page_send(worker, conn, &page, now_ns, false);
}

void kith__dns_http_on_request(void *ctx, struct kith_httpd_conn *conn, const struct kith_http_head *head, int tag)
{
    struct kith_dns_worker *worker = ctx;
    struct kith_slice token = kith__relay_page_acme_token(head), key;
    uint64_t now_ns = kith__rt_now(worker->rt);
    bool is_options = kith__http_is(head->method, "OPTIONS");

    kith__dns_count(&worker->counters->http_requests, 1);
    if (token.size != 0 && tag == KITH_DNS_DOOR_HTTP) {
        send_challenge(worker, conn, token, now_ns);
    } else if (!is_options && is_pkarr(head, &key)) {
        take_pkarr(worker, conn, head, key, now_ns);
    } else if (!is_options && kith__http_is(head->path, "/dns-query")) {
        kith__dns_doh(worker, conn, head, now_ns);
    } else {
        send_small(worker, conn, head, now_ns);
    }
}

void kith__dns_http_on_gone(void *ctx, void *user)
{
    struct kith_dns_worker *worker = ctx;
    struct kith_dns_request *request = user;

    if (request->put != NULL)
        request->put->user = NULL; /* it is stored all the same; nobody is told */
    else
        kith__dns_wait_forget(worker, request);
    kith__free(worker->mem, request);
}
