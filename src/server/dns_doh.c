/*
 * DNS over HTTP: messages (RFC 8484) and the JSON form that browsers' scripts use. The status is 200 whatever the answer's rcode.
 * Source: spec/03, 9.3.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "server/dns_json.h"
#include "server/dns_parts.h"
#include <nettle/base64.h>
#include <stdio.h>

enum form { FORM_NONE, FORM_MESSAGE, FORM_JSON };

static const char message_type[] = "application/dns-message", json_type[] = "application/dns-json";

static void send_error(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, uint16_t status,
                       const char *detail, uint64_t began_ns)
{
    struct kith_dns_page page = { 0 };

    kith__dns_page_error(&page, status, detail);
    kith__dns_page_send(worker, conn, &page, began_ns, false);
}

/* ---- Answers ---- */

/* The smallest TTL of the answer section; false: it has none. */
static bool smallest_ttl(struct kith_slice message, uint32_t *out)
{
    struct kith_dns_reader reader;
    struct kith_dns_record record;
    bool has_some = false;

    *out = UINT32_MAX;
    if (kith__dns_reader_init(&reader, message) != 0)
        return false;
    while (kith__dns_next_record(&reader, &record) == 0 && record.section == KITH_DNS_ANSWER) {
        has_some = true;
        *out = KITH_MIN(*out, record.ttl_s);
    }
    return has_some;
}

/* Sends an answer in its form. is_cacheable: it was a GET. */
static void send_answer(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, struct kith_slice message,
                        bool is_json, bool is_cacheable, uint64_t began_ns, bool is_deferred)
{
    struct kith_dns_page page = { .status = 200, .body = message };
    struct kith_buf json = { .mem = worker->mem };
    uint32_t ttl_s;

    if (message.size == 0) {
        kith__dns_page_error(&page, 400, "this is no DNS query");
    } else if (is_json && kith__dns_json_write(message, &json) != 0) {
        kith__dns_page_error(&page, 500, "the answer cannot be written");
    } else {
        kith__dns_page_header(&page, "content-type", is_json ? json_type : message_type);
        if (is_cacheable && smallest_ttl(message, &ttl_s)) {
            snprintf(page.values[0], sizeof page.values[0], "s-maxage=%u", ttl_s);
            kith__dns_page_header(&page, "cache-control", page.values[0]);
        }
        if (is_json)
            page.body = kith__buf_slice(&json);
    }
    kith__dns_page_send(worker, conn, &page, began_ns, is_deferred);
    kith__buf_dispose(&json);
}

static void on_answered(struct kith_dns_wait *wait, const uint8_t *bytes, size_t size)
{
    struct kith_dns_request *request = wait->owner;

    send_answer(wait->worker, request->conn, (struct kith_slice) { bytes, size }, wait->is_json, !wait->is_post,
                request->began_ns, true);
    kith__free(wait->worker->mem, request);
}

static int defer(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, struct kith_slice query, bool is_json,
                 bool is_post, uint64_t began_ns)
{
    struct kith_dns_request *request = kith__alloc_zero(worker->mem, sizeof *request);
    struct kith_dns_wait *wait;

    if (request == NULL)
        return KITH_ERR_NOMEM;
    if ((wait = kith__dns_wait_new(worker, query, request)) == NULL) {
        kith__free(worker->mem, request);
        return KITH_ERR_LIMIT;
    }
    *request = (struct kith_dns_request) { .worker = worker, .conn = conn, .began_ns = began_ns };
    wait->reply = on_answered;
    wait->is_json = is_json;
    wait->is_post = is_post;
    kith__httpd_defer(conn, request);
    return 0;
}

static void take_query(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, struct kith_slice query,
                       bool is_json, bool is_post, uint64_t began_ns)
{
    struct kith_zone_answer answer;

    kith__dns_count(&worker->counters->dns_requests, 1);
    kith__dns_count(&worker->counters->dns_requests_https, 1);
    kith__dns_worker_answer(worker, query, false, &answer);
    if (answer.outcome != KITH_ZONE_WAIT)
        send_answer(worker, conn, (struct kith_slice) { worker->buffer, answer.size }, is_json, !is_post, began_ns,
                    false);
    else if (defer(worker, conn, query, is_json, is_post, began_ns) != 0)
        send_error(worker, conn, 503, "too many queries wait for the DHT", began_ns);
}

/* ---- Questions ---- */

/* Which form a client takes. Without a wish it is that of the parameters. */
static enum form form_of(const struct kith_http_head *head, bool has_message)
{
    const struct kith_http_header *header = NULL;
    bool has_any = false, takes_all = false;

    while ((header = kith__http_header_next(head, "accept", header)) != NULL) {
        struct kith_slice list = header->value, element;

        has_any = true;
        while (kith__http_list_next(&list, &element)) {
            const uint8_t *semicolon = memchr(element.ptr, ';', element.size);

            if (semicolon != NULL)
                element.size = (size_t)(semicolon - element.ptr);
            while (element.size != 0 && element.ptr[element.size - 1] == ' ')
                element.size--;
            if (kith__http_is_nocase(element, message_type))
                return FORM_MESSAGE;
            if (kith__http_is_nocase(element, json_type) || kith__http_is_nocase(element, "application/x-javascript"))
                return FORM_JSON;
            takes_all = takes_all || kith__http_is(element, "*/*") || kith__http_is_nocase(element, "application/*");
        }
    }
    if (has_any && !takes_all)
        return FORM_NONE;
    return has_any && !has_message ? FORM_JSON : FORM_MESSAGE;
}

/* base64url without padding, as RFC 8484, 6 has it; with padding too. */
static int decode(struct kith_slice text, uint8_t *out, size_t *size)
{
    struct base64_decode_ctx decoder;

    while (text.size != 0 && text.ptr[text.size - 1] == '=')
        text.size--;
    base64url_decode_init(&decoder);
    *size = BASE64_DECODE_LENGTH(text.size);
    if (!base64_decode_update(&decoder, size, out, text.size, (const char *)text.ptr))
        return KITH_ERR_PARSE;
    return 0;
}

static void get_message(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, const struct kith_http_head *head,
                        uint64_t now_ns)
{
    uint8_t text[KITH_HTTP_HEAD_SIZE_MAX], query[BASE64_DECODE_LENGTH(KITH_HTTP_HEAD_SIZE_MAX)];
    size_t text_size, query_size;

    if (kith__http_query_get(head->query, "dns", text, sizeof text, &text_size) != 0 ||
        decode((struct kith_slice) { text, text_size }, query, &query_size) != 0)
        send_error(worker, conn, 400, "the parameter dns is missing, or no base64url", now_ns);
    else
        take_query(worker, conn, (struct kith_slice) { query, query_size }, false, false, now_ns);
}

static void get_json(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, const struct kith_http_head *head,
                     uint64_t now_ns)
{
    uint8_t query[KITH_DNS_HEADER_SIZE + KITH_DNS_NAME_SIZE_MAX + 4 + KITH_DNS_OPT_SIZE];
    size_t size;

    if (kith__dns_json_query(head->query, query, sizeof query, &size) != 0)
        send_error(worker, conn, 400, "the parameters name or type are missing or malformed", now_ns);
    else
        take_query(worker, conn, (struct kith_slice) { query, size }, true, false, now_ns);
}

static void take_get(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, const struct kith_http_head *head,
                     uint64_t now_ns)
{
    uint8_t ignored[1];
    size_t size;
    bool has_message = kith__http_query_get(head->query, "dns", ignored, sizeof ignored, &size) != KITH_ERR_NOT_FOUND;

    switch (form_of(head, has_message)) {
    case FORM_MESSAGE:
        get_message(worker, conn, head, now_ns);
        return;
    case FORM_JSON:
        get_json(worker, conn, head, now_ns);
        return;
    default:
        send_error(worker, conn, 406, "answers are application/dns-message or application/dns-json", now_ns);
        return;
    }
}

void kith__dns_doh(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, const struct kith_http_head *head,
                   uint64_t now_ns)
{
    struct kith_dns_page page = { 0 };

    if (kith__http_is(head->method, "GET") || kith__http_is(head->method, "HEAD")) {
        take_get(worker, conn, head, now_ns);
    } else if (kith__http_is(head->method, "POST")) {
        take_query(worker, conn, kith__httpd_conn_body(conn), false, true, now_ns);
    } else {
        kith__dns_page_error(&page, 405, "this method is not for this path");
        kith__dns_page_header(&page, "allow", "GET, HEAD, POST, OPTIONS");
        kith__dns_page_send(worker, conn, &page, now_ns, false);
    }
}
