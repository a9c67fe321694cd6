/* What a relay says to HTTP requests that are no upgrade. */
#include "server/relay_pages.h"

#include "base/assert.h"
#include <inttypes.h>
#include <stdio.h>

static const char transport_name[] = "strict-transport-security";
static const char transport_value[] = "max-age=63072000; includeSubDomains";
static const char policy_name[] = "content-security-policy";
static const char policy_value[] = "default-src 'none'; frame-ancestors 'none'; form-action 'none'; base-uri 'self'; "
                                   "block-all-mixed-content; plugin-types 'none'";

void kith__relay_page_header(struct kith_relay_page *page, const char *name, const char *value)
{
    KITH_ASSERT(page->header_count < KITH_RELAY_PAGE_HEADERS_MAX);
    page->headers[page->header_count++] = (struct kith_http_header) { kith__http_text(name), kith__http_text(value) };
}

void kith__relay_page_init(struct kith_relay_page *page, const struct kith_mem *mem, enum kith_relay_door door,
                           uint16_t status)
{
    *page = (struct kith_relay_page) { .status = status };
    kith__buf_init(&page->body, mem);
    if (door == KITH_RELAY_DOOR_CAPTIVE)
        return;
    kith__relay_page_header(page, transport_name, transport_value);
    kith__relay_page_header(page, policy_name, policy_value);
}

void kith__relay_page_dispose(struct kith_relay_page *page)
{
    kith__buf_dispose(&page->body);
}

static int page_body(struct kith_relay_page *page, const char *type, const char *text)
{
    kith__relay_page_header(page, "content-type", type);
    return kith__buf_append(&page->body, text, strlen(text));
}

int kith__relay_page_text(struct kith_relay_page *page, const char *text)
{
    return page_body(page, "text/plain; charset=utf-8", text);
}

int kith__relay_page_write_security(struct kith_writer *w)
{
    int err = kith__http_write_header_text(w, transport_name, transport_value);

    return err == 0 ? kith__http_write_header_text(w, policy_name, policy_value) : err;
}

/* ---- The pages ---- */

static bool is_challenge_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

/* A captive portal cannot know the answer; a challenge that we do not like is not answered (spec/02, 1.2). */
static int make_portal(const struct kith_http_head *head, struct kith_relay_page *page)
{
    const struct kith_http_header *header = kith__http_header(head, "x-iroh-challenge");

    page->status = 204;
    if (header == NULL || header->value.size == 0 || header->value.size > KITH_RELAY_PORTAL_CHALLENGE_MAX)
        return 0;
    for (size_t i = 0; i < header->value.size; i++)
        if (!is_challenge_byte(header->value.ptr[i]))
            return 0;
    snprintf(page->portal, sizeof page->portal, "response %.*s", (int)header->value.size,
             (const char *)header->value.ptr);
    kith__relay_page_header(page, "x-iroh-response", page->portal);
    return 0;
}

static int make_health(const struct kith_relay_facts *facts, struct kith_relay_page *page)
{
    char text[160];

    snprintf(text, sizeof text, "{\"status\":\"ok\",\"version\":\"%.64s\",\"git_hash\":\"unknown\"}", facts->version);
    return page_body(page, "application/json", text);
}

static void format_uptime(uint64_t s, char *text, size_t size)
{
    if (s >= 86400)
        snprintf(text, size, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(text, size, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        snprintf(text, size, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
}

/* For people; programs read /metrics. Nothing is loaded from anywhere, so that the strict policy above can stand. */
static int make_index(const struct kith_relay_facts *facts, struct kith_relay_page *page)
{
    char text[2048], uptime[48], qad[48];

    format_uptime(facts->uptime_s, uptime, sizeof uptime);
    if (facts->qad_port != 0)
        snprintf(qad, sizeof qad, "UDP port %u", facts->qad_port);
    else
        snprintf(qad, sizeof qad, "off");
    snprintf(
        text, sizeof text,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\n"
        "<meta http-equiv=\"refresh\" content=\"10\"><title>Iroh Relay</title></head><body>\n"
        "<h1>Iroh Relay</h1>\n<p>This relay carries encrypted data between devices that cannot reach each other "
        "directly. It cannot read what it carries.</p>\n<table>\n"
        "<tr><th align=\"left\">Software<td>kith %.64s\n"
        "<tr><th align=\"left\">Running for<td>%s\n"
        "<tr><th align=\"left\">Clients<td>%" PRIu64 " (%" PRIu64 " different)\n"
        "<tr><th align=\"left\">Carried now<td>%" PRIu64 " datagrams/s, %" PRIu64 ".%" PRIu64 " Mbit/s\n"
        "<tr><th align=\"left\">Who may use it<td>%.80s\n"
        "<tr><th align=\"left\">Transport<td>%s\n"
        "<tr><th align=\"left\">Protocol versions<td>iroh-relay-v2, iroh-relay-v1\n"
        "<tr><th align=\"left\">Address discovery<td>%s\n"
        "</table>\n</body></html>\n",
        facts->version, uptime, facts->clients, facts->endpoints, facts->frames_per_s, facts->bits_per_s / 1000000,
        facts->bits_per_s / 100000 % 10, facts->access, facts->has_tls ? "HTTPS" : "HTTP without encryption of its own",
        qad);
    return page_body(page, "text/html; charset=utf-8", text);
}

bool kith__relay_page_is(const struct kith_http_head *head, const char *path)
{
    return kith__http_is(head->method, "GET") && kith__http_is(head->path, path);
}

static int make_main(const struct kith_http_head *head, enum kith_relay_door door, const struct kith_relay_facts *facts,
                     struct kith_relay_page *page)
{
    if (kith__relay_page_is(head, "/ping")) {
        kith__relay_page_header(page, "access-control-allow-origin", "*");
        return 0;
    }
    if (kith__relay_page_is(head, "/generate_204") && door == KITH_RELAY_DOOR_PLAIN)
        return make_portal(head, page);
    if (kith__relay_page_is(head, "/") || kith__relay_page_is(head, "/index.html"))
        return make_index(facts, page);
    if (kith__relay_page_is(head, "/robots.txt"))
        return kith__relay_page_text(page, "User-agent: *\nDisallow: /\n");
    if (kith__relay_page_is(head, "/healthz"))
        return make_health(facts, page);
    page->status = 404;
    return kith__relay_page_text(page, "Not Found");
}

int kith__relay_page_make(const struct kith_http_head *head, enum kith_relay_door door,
                          const struct kith_relay_facts *facts, const struct kith_mem *mem, struct kith_relay_page *out)
{
    int err;

    kith__relay_page_init(out, mem, door, 200);
    if (door != KITH_RELAY_DOOR_CAPTIVE) {
        err = make_main(head, door, facts, out);
    } else if (kith__relay_page_is(head, "/generate_204")) {
        err = make_portal(head, out);
    } else {
        out->status = 404;
        err = kith__relay_page_text(out, "Not Found");
    }
    if (err != 0)
        kith__relay_page_dispose(out);
    return err;
}

struct kith_slice kith__relay_page_acme_token(const struct kith_http_head *head)
{
    static const char prefix[] = "/.well-known/acme-challenge/";
    const size_t size = sizeof prefix - 1;

    if (!kith__http_is(head->method, "GET") || head->path.size <= size || memcmp(head->path.ptr, prefix, size) != 0)
        return (struct kith_slice) { 0 };
    return (struct kith_slice) { head->path.ptr + size, head->path.size - size };
}

/* ---- The token of a client ---- */

static bool is_ascii_text(struct kith_slice slice)
{
    for (size_t i = 0; i < slice.size; i++)
        if (slice.ptr[i] < 0x20 ? slice.ptr[i] != '\t' : slice.ptr[i] > 0x7e)
            return false;
    return true;
}

size_t kith__relay_request_token(const struct kith_http_head *head, uint8_t out[KITH_RELAY_TOKEN_SIZE_MAX])
{
    const struct kith_http_header *header = NULL;
    size_t size = 0;

    while ((header = kith__http_header_next(head, "authorization", header)) != NULL) {
        const uint8_t *space = header->value.size != 0 ? memchr(header->value.ptr, ' ', header->value.size) : NULL;
        struct kith_slice scheme, rest;

        if (!is_ascii_text(header->value))
            return 0;
        if (space == NULL)
            continue;
        scheme = (struct kith_slice) { header->value.ptr, (size_t)(space - header->value.ptr) };
        rest = (struct kith_slice) { space + 1, header->value.size - scheme.size - 1 };
        if (!kith__http_is_nocase(scheme, "bearer"))
            continue;
        if (rest.size > KITH_RELAY_TOKEN_SIZE_MAX)
            return 0;
        memcpy(out, rest.ptr, rest.size);
        return rest.size;
    }
    return kith__http_query_get(head->query, "token", out, KITH_RELAY_TOKEN_SIZE_MAX, &size) == 0 ? size : 0;
}
