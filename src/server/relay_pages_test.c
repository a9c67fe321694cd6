/* What a relay says to HTTP requests: statuses and headers of spec/02, 1.2 and 1.8. */
#include "server/relay_pages.h"

#include "base/test.h"
#include "server/httpd.h"
#include <stdio.h>
#include <string.h>

static const struct kith_relay_facts facts = { .version = "1.2.3",
                                               .access = "everyone",
                                               .uptime_s = 90061,
                                               .clients = 7,
                                               .endpoints = 6,
                                               .frames_per_s = 12,
                                               .bits_per_s = 3450000,
                                               .has_tls = true,
                                               .qad_port = 7842 };

static void parse(const char *text, struct kith_http_head *head)
{
    KITH_CHECK_EQ(kith__http_head_parse(KITH_HTTP_REQUEST, (const uint8_t *)text, strlen(text), head), 0);
}

static void make(const char *text, enum kith_relay_door door, struct kith_relay_page *page)
{
    struct kith_http_head head;

    parse(text, &head);
    KITH_CHECK_EQ(kith__relay_page_make(&head, door, &facts, kith_mem_default(), page), 0);
}

static const struct kith_http_header *header(const struct kith_relay_page *page, const char *name)
{
    for (size_t i = 0; i < page->header_count; i++)
        if (kith__http_is_nocase(page->headers[i].name, name))
            return &page->headers[i];
    return NULL;
}

KITH_TEST(pages_have_their_status_at_each_door)
{
    static const struct {
        const char *request;
        uint16_t plain, tls, captive;
    } cases[] = {
        { "GET /ping HTTP/1.1\r\n\r\n", 200, 200, 404 },       { "GET /generate_204 HTTP/1.1\r\n\r\n", 204, 404, 204 },
        { "GET / HTTP/1.1\r\n\r\n", 200, 200, 404 },           { "GET /index.html?x HTTP/1.1\r\n\r\n", 200, 200, 404 },
        { "GET /robots.txt HTTP/1.1\r\n\r\n", 200, 200, 404 }, { "GET /healthz HTTP/1.1\r\n\r\n", 200, 200, 404 },
        { "HEAD /ping HTTP/1.1\r\n\r\n", 404, 404, 404 },      { "POST /generate_204 HTTP/1.1\r\n\r\n", 404, 404, 404 },
        { "GET /pin HTTP/1.1\r\n\r\n", 404, 404, 404 },        { "GET /PING HTTP/1.1\r\n\r\n", 404, 404, 404 },
        { "GET /metrics HTTP/1.1\r\n\r\n", 404, 404, 404 },    { "GET /relay/ HTTP/1.1\r\n\r\n", 404, 404, 404 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        const uint16_t expected[] = { cases[i].plain, cases[i].tls, cases[i].captive };

        for (int door = KITH_RELAY_DOOR_PLAIN; door <= KITH_RELAY_DOOR_CAPTIVE; door++) {
            struct kith_relay_page page;

            make(cases[i].request, (enum kith_relay_door)door, &page);
            KITH_CHECK_EQ(page.status, expected[door]);
            KITH_CHECK_EQ(header(&page, "strict-transport-security") != NULL, door != KITH_RELAY_DOOR_CAPTIVE);
            KITH_CHECK_EQ(header(&page, "content-security-policy") != NULL, door != KITH_RELAY_DOOR_CAPTIVE);
            kith__relay_page_dispose(&page);
        }
    }
}

KITH_TEST(portal_challenges_are_answered_if_they_are_harmless)
{
    static const struct {
        const char *challenge;
        bool is_answered;
    } cases[] = { { "ts_relay.example.com", true },
                  { "a", true },
                  { "AZaz09._-", true },
                  { "012345678901234567890123456789012345678901234567890123456789012", true },
                  { "0123456789012345678901234567890123456789012345678901234567890123", false },
                  { "a b", false },
                  { "a/b", false },
                  { "\xc3\xa4", false },
                  { "", false } };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        char request[256], expected[96];
        struct kith_relay_page page;
        const struct kith_http_header *answer;

        snprintf(request, sizeof request, "GET /generate_204 HTTP/1.1\r\nX-Iroh-Challenge: %s\r\n\r\n",
                 cases[i].challenge);
        snprintf(expected, sizeof expected, "response %s", cases[i].challenge);
        make(request, KITH_RELAY_DOOR_PLAIN, &page);
        KITH_CHECK_EQ(page.status, 204);
        answer = header(&page, "x-iroh-response");
        KITH_CHECK_EQ(answer != NULL, cases[i].is_answered);
        if (answer != NULL)
            KITH_CHECK(kith__http_is(answer->value, expected));
        kith__relay_page_dispose(&page);
    }
}

KITH_TEST(page_for_people_tells_its_numbers)
{
    static const char *const parts[] = { "kith 1.2.3", "1 d 1 h", "7 (6 different)", "12 datagrams/s, 3.4 Mbit/s",
                                         "everyone",   "HTTPS",   "UDP port 7842" };
    struct kith_relay_page page;

    make("GET / HTTP/1.1\r\n\r\n", KITH_RELAY_DOOR_TLS, &page);
    KITH_CHECK_EQ(kith__buf_append_byte(&page.body, 0), 0);
    for (size_t i = 0; i < KITH_COUNT(parts); i++)
        KITH_CHECK(strstr((const char *)page.body.ptr, parts[i]) != NULL);
    kith__relay_page_dispose(&page);
}

KITH_TEST(health_is_json_with_the_version)
{
    static const char expected[] = "{\"status\":\"ok\",\"version\":\"1.2.3\",\"git_hash\":\"unknown\"}";
    struct kith_relay_page page;

    make("GET /healthz HTTP/1.1\r\n\r\n", KITH_RELAY_DOOR_PLAIN, &page);
    KITH_CHECK(kith__http_is(kith__buf_slice(&page.body), expected));
    kith__relay_page_dispose(&page);
}

KITH_TEST(tokens_are_found_in_the_header_or_the_query)
{
    static const struct {
        const char *lines, *token;
    } cases[] = {
        { "GET /relay HTTP/1.1\r\nAuthorization: Bearer s3cr3t tok\r\n", "s3cr3t tok" },
        { "GET /relay HTTP/1.1\r\nauthorization: bEARER x\r\n", "x" },
        { "GET /relay?token=a+b%2Dc HTTP/1.1\r\n", "a b-c" },
        { "GET /relay?x=1&token=abc&token=def HTTP/1.1\r\n", "abc" },
        { "GET /relay?token=query HTTP/1.1\r\nAuthorization: Bearer head\r\n", "head" },
        { "GET /relay?token=query HTTP/1.1\r\nAuthorization: Basic abc\r\n", "query" },
        { "GET /relay HTTP/1.1\r\nAuthorization: Basic abc\r\nAuthorization: Bearer second\r\n", "second" },
        { "GET /relay?token=query HTTP/1.1\r\nAuthorization: Bearer \xc3\xa4\r\n", "" },
        { "GET /relay HTTP/1.1\r\nAuthorization: Bearer\r\n", "" },
        { "GET /relay?tokens=x HTTP/1.1\r\n", "" },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        char request[256];
        uint8_t token[KITH_RELAY_TOKEN_SIZE_MAX];
        struct kith_http_head head;
        size_t size;

        snprintf(request, sizeof request, "%s\r\n", cases[i].lines);
        parse(request, &head);
        size = kith__relay_request_token(&head, token);
        KITH_CHECK_EQ(size, strlen(cases[i].token));
        KITH_CHECK_BYTES(token, cases[i].token, size);
    }
}

KITH_TEST(acme_tokens_are_the_rest_of_their_path)
{
    struct kith_http_head head;

    parse("GET /.well-known/acme-challenge/abc-_1 HTTP/1.1\r\n\r\n", &head);
    KITH_CHECK(kith__http_is(kith__relay_page_acme_token(&head), "abc-_1"));
    parse("GET /.well-known/acme-challenge/ HTTP/1.1\r\n\r\n", &head);
    KITH_CHECK_EQ(kith__relay_page_acme_token(&head).size, 0);
    parse("POST /.well-known/acme-challenge/abc HTTP/1.1\r\n\r\n", &head);
    KITH_CHECK_EQ(kith__relay_page_acme_token(&head).size, 0);
}

KITH_TEST(dates_are_those_of_the_standard)
{
    static const struct {
        uint64_t s;
        const char *text;
    } cases[] = { { 784111777, "Sun, 06 Nov 1994 08:49:37 GMT" },  { 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
                  { 951782399, "Mon, 28 Feb 2000 23:59:59 GMT" },  { 951782400, "Tue, 29 Feb 2000 00:00:00 GMT" },
                  { 951868800, "Wed, 01 Mar 2000 00:00:00 GMT" },  { 4107542400, "Mon, 01 Mar 2100 00:00:00 GMT" },
                  { 1798761599, "Thu, 31 Dec 2026 23:59:59 GMT" }, { 253402300799, "Fri, 31 Dec 9999 23:59:59 GMT" } };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        char text[KITH_HTTPD_DATE_SIZE];

        KITH_CHECK_STR(kith__httpd_date(cases[i].s, text), cases[i].text);
    }
}
