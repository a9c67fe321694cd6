#include "http/head.h"

#include "base/test.h"

#include <stdio.h>
#include <string.h>

static int parse(enum kith_http_kind kind, const char *text, struct kith_http_head *head)
{
    return kith__http_head_parse(kind, (const uint8_t *)text, strlen(text), head);
}

static bool is(struct kith_slice slice, const char *text)
{
    return kith__http_is(slice, text);
}

KITH_TEST(http_head_of_a_real_relay_client_is_read)
{
    static const char text[] =
        "GET /relay?x=1&token=a%20b+c HTTP/1.1\r\nHost: 127.0.0.1:38997\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nauthorization:   Bearer s3cr3t tok \t\r\n\r\nrest";
    struct kith_http_head head;
    uint8_t value[16];
    size_t size;

    KITH_CHECK_EQ(parse(KITH_HTTP_REQUEST, text, &head), 0);
    KITH_CHECK_EQ(head.size, sizeof text - 1 - 4);
    KITH_CHECK(is(head.method, "GET"));
    KITH_CHECK(is(head.target, "/relay?x=1&token=a%20b+c"));
    KITH_CHECK(is(head.path, "/relay"));
    KITH_CHECK(is(head.query, "x=1&token=a%20b+c"));
    KITH_CHECK_EQ(head.minor_version, 1);
    KITH_CHECK_EQ(head.header_count, 4);
    KITH_CHECK(is(kith__http_header(&head, "HOST")->value, "127.0.0.1:38997"));
    KITH_CHECK(is(kith__http_header(&head, "Authorization")->value, "Bearer s3cr3t tok"));
    KITH_CHECK(kith__http_header(&head, "host2") == NULL);
    KITH_CHECK(kith__http_has_token(&head, "connection", "upgrade"));
    KITH_CHECK(!kith__http_has_token(&head, "connection", "close"));
    KITH_CHECK(!head.has_length && !head.is_chunked && head.keeps_alive);
    KITH_CHECK_EQ(kith__http_query_get(head.query, "token", value, sizeof value, &size), 0);
    KITH_CHECK_EQ(size, 5);
    KITH_CHECK_BYTES(value, "a b c", 5);
}

KITH_TEST(http_head_of_a_response_is_read)
{
    struct kith_http_head head;

    KITH_CHECK_EQ(parse(KITH_HTTP_RESPONSE, "HTTP/1.0 204\r\nX-A: \r\nContent-Length: 17\r\n\r\n", &head), 0);
    KITH_CHECK_EQ(head.status, 204);
    KITH_CHECK_EQ(head.minor_version, 0);
    KITH_CHECK(!head.keeps_alive);
    KITH_CHECK(head.has_length);
    KITH_CHECK_EQ(head.length, 17);
    KITH_CHECK_EQ(kith__http_header(&head, "x-a")->value.size, 0);
    KITH_CHECK_EQ(parse(KITH_HTTP_RESPONSE, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", &head), 0);
    KITH_CHECK(head.is_chunked && head.keeps_alive);
    KITH_CHECK_EQ(head.size, 44);
}

KITH_TEST(http_head_that_is_no_head_is_refused)
{
    static const struct {
        int kind, err;
        const char *text;
    } cases[] = {
        { KITH_HTTP_REQUEST, KITH_ERR_AGAIN, "" },
        { KITH_HTTP_REQUEST, KITH_ERR_AGAIN, "\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_AGAIN, "GET / HTTP/1.1\r\nHost: a\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_AGAIN, "GET / HTTP/1.1\r\nHost: a\r\n\r" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "\x16\x03\x01\x02" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "get / HTTP/1.1\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_VERSION, "GET /\r\n\r\n" }, /* HTTP/0.9 */
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / FTP/1.1\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "HTTP/1.1 200 OK\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_VERSION, "GET / HTTP/2.0\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_VERSION, "GET / HTTP/1.2\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nA:\r\n c\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nA: b\r\n \r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\n A: b\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nA : b\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nA b: c\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\n: b\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nA: \x01\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE,
          "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nA: b\r\n\rx" },
        { KITH_HTTP_REQUEST, KITH_ERR_PARSE, "GET / HTTP/1.1\r\nA:\rXb: c\r\n\r\n" },
        { KITH_HTTP_RESPONSE, KITH_ERR_PARSE, "HTTP/1.1 200 OK\rX\r\n\r\n" },
        { KITH_HTTP_RESPONSE, KITH_ERR_PARSE, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" },
        { KITH_HTTP_RESPONSE, KITH_ERR_PARSE, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" },
        { KITH_HTTP_RESPONSE, KITH_ERR_PARSE, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n" },
        { KITH_HTTP_RESPONSE, KITH_ERR_PARSE, "GET / HTTP/1.1\r\n\r\n" },
        { KITH_HTTP_RESPONSE, KITH_ERR_PARSE, "HTTP/1.1 99 Low\r\n\r\n" },
        { KITH_HTTP_RESPONSE, KITH_ERR_PARSE, "HTTP/1.1 2000 High\r\n\r\n" },
        { KITH_HTTP_RESPONSE, KITH_ERR_PARSE, "HTTP/1.1 abc\r\n\r\n" },
        { KITH_HTTP_RESPONSE, KITH_ERR_VERSION, "HTTP/3.0 200 OK\r\n\r\n" },
    };
    struct kith_http_head head;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        int err = parse(cases[i].kind, cases[i].text, &head);

        if (err != cases[i].err)
            printf("case %zu: %s, not %s\n", i, kith_err_name(err), kith_err_name(cases[i].err));
        KITH_CHECK_EQ(err, cases[i].err);
    }
}

KITH_TEST(http_head_with_a_zero_is_refused)
{
    static const uint8_t in_reason[] = "HTTP/1.1 200 O\0K\r\n\r\n", in_value[] = "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n";
    struct kith_http_head head;

    KITH_CHECK_EQ(kith__http_head_parse(KITH_HTTP_RESPONSE, in_reason, sizeof in_reason - 1, &head), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__http_head_parse(KITH_HTTP_RESPONSE, in_value, sizeof in_value - 1, &head), KITH_ERR_PARSE);
}

KITH_TEST(http_targets_are_split_in_every_form)
{
    static const struct {
        const char *request, *path, *query;
    } cases[] = {
        { "GET / HTTP/1.1\r\n\r\n", "/", "" },
        { "GET /ping? HTTP/1.1\r\n\r\n", "/ping", "" },
        { "GET /a?b?c#d HTTP/1.1\r\n\r\n", "/a", "b?c" },
        { "GET http://host:80/relay?x=1 HTTP/1.1\r\n\r\n", "/relay", "x=1" },
        { "GET http://host HTTP/1.1\r\n\r\n", "/", "" },
        { "CONNECT host:443 HTTP/1.1\r\n\r\n", "", "" },
        { "OPTIONS * HTTP/1.1\r\n\r\n", "*", "" },
    };
    struct kith_http_head head;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        KITH_CHECK_EQ(parse(KITH_HTTP_REQUEST, cases[i].request, &head), 0);
        KITH_CHECK(is(head.path, cases[i].path));
        KITH_CHECK(is(head.query, cases[i].query));
    }
}

KITH_TEST(http_heads_have_limits)
{
    static char text[2 * KITH_HTTP_HEAD_SIZE_MAX];
    struct kith_http_head head;
    size_t at = (size_t)sprintf(text, "GET / HTTP/1.1\r\n");

    for (int i = 0; i < KITH_HTTP_HEADERS_MAX; i++)
        at += (size_t)sprintf(text + at, "a: b\r\n");
    strcpy(text + at, "\r\n");
    KITH_CHECK_EQ(parse(KITH_HTTP_REQUEST, text, &head), 0);
    KITH_CHECK_EQ(head.header_count, KITH_HTTP_HEADERS_MAX);
    strcpy(text + at, "a: b\r\n\r\n");
    KITH_CHECK_EQ(parse(KITH_HTTP_REQUEST, text, &head), KITH_ERR_TOO_LARGE);

    at = (size_t)sprintf(text, "GET / HTTP/1.1\r\nLong: ");
    memset(text + at, 'x', sizeof text - at);
    strcpy(text + KITH_HTTP_HEAD_SIZE_MAX - 4, "\r\n\r\n");
    KITH_CHECK_EQ(parse(KITH_HTTP_REQUEST, text, &head), 0);
    KITH_CHECK_EQ(head.size, KITH_HTTP_HEAD_SIZE_MAX);
    strcpy(text + KITH_HTTP_HEAD_SIZE_MAX - 4, "x\r\n\r\n");
    KITH_CHECK_EQ(parse(KITH_HTTP_REQUEST, text, &head), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__http_head_parse(KITH_HTTP_REQUEST, (uint8_t *)text, KITH_HTTP_HEAD_SIZE_MAX - 1, &head),
                  KITH_ERR_AGAIN);
}

KITH_TEST(http_headers_of_one_name_are_found_in_order)
{
    struct kith_http_head head;
    const struct kith_http_header *at = NULL;
    struct kith_slice list = kith__http_text(" ,a,, b c ,d"), element;

    KITH_CHECK_EQ(parse(KITH_HTTP_REQUEST, "GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n", &head), 0);
    KITH_CHECK(is((at = kith__http_header_next(&head, "A", at))->value, "1"));
    KITH_CHECK(is((at = kith__http_header_next(&head, "A", at))->value, "3"));
    KITH_CHECK(kith__http_header_next(&head, "A", at) == NULL);
    KITH_CHECK(kith__http_list_next(&list, &element) && is(element, "a"));
    KITH_CHECK(kith__http_list_next(&list, &element) && is(element, "b c"));
    KITH_CHECK(kith__http_list_next(&list, &element) && is(element, "d"));
    KITH_CHECK(!kith__http_list_next(&list, &element));
}

KITH_TEST(http_query_parameters_are_decoded_as_forms)
{
    static const struct {
        const char *query, *value; /* NULL: not found */
    } cases[] = {
        { "", NULL },
        { "token", "" },
        { "token=", "" },
        { "x=1&token=a", "a" },
        { "token=1&token=2", "1" },
        { "t%6Fken=%41%2b+", "A+ " },
        { "token=%4", "%4" },
        { "token=%zz%", "%zz%" },
        { "Token=a", NULL },
        { "&&token=a=b&", "a=b" },
        { "tokens=a", NULL },
        { "toke=a", NULL },
    };
    uint8_t value[8];
    size_t size;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        int err = kith__http_query_get(kith__http_text(cases[i].query), "token", value, sizeof value, &size);

        KITH_CHECK_EQ(err, cases[i].value != NULL ? 0 : KITH_ERR_NOT_FOUND);
        if (cases[i].value != NULL)
            KITH_CHECK(is((struct kith_slice) { value, size }, cases[i].value));
    }
    KITH_CHECK_EQ(kith__http_query_get(kith__http_text("token=123456789"), "token", value, sizeof value, &size),
                  KITH_ERR_TOO_LARGE);
}

/** Feeds pieces of `step` bytes; returns what the intake said at last, and how many bytes of the text it used. */
static int feed(struct kith_http_intake *intake, const char *text, size_t step, struct kith_http_head *head,
                size_t *used)
{
    size_t size = strlen(text), at = 0, part_used = 0;
    int err = KITH_ERR_AGAIN;

    while (err == KITH_ERR_AGAIN && at < size) {
        size_t part = KITH_MIN(step, size - at);

        err = kith__http_intake_receive(intake, (const uint8_t *)text + at, part, head, &part_used);
        at += err == 0 ? part_used : part;
    }
    *used = at;
    return err;
}

KITH_TEST(http_intake_gives_the_same_head_for_pieces_of_any_size)
{
    static const char text[] = "\r\n\r\nGET /ping HTTP/1.1\r\nAccept: */*\nHost: a\r\n\r\nGET /next";
    struct kith_test_mem mem;
    struct kith_http_head head;
    size_t used;

    kith__test_mem_init(&mem, 0);
    for (size_t step = 1; step < sizeof text; step++) {
        struct kith_http_intake intake;

        kith__http_intake_init(&intake, &mem.mem, KITH_HTTP_REQUEST);
        KITH_CHECK_EQ(feed(&intake, text, step, &head, &used), 0);
        KITH_CHECK_EQ(used, sizeof text - 1 - 9);
        KITH_CHECK(is(head.path, "/ping"));
        KITH_CHECK(is(kith__http_header(&head, "host")->value, "a"));
        if (step == sizeof text - 1)
            KITH_CHECK_EQ(mem.live, 0);
        kith__http_intake_dispose(&intake);
        KITH_CHECK_EQ(mem.live, 0);
    }
}

KITH_TEST(http_intake_refuses_garbage_and_length_early)
{
    static char text[2 * KITH_HTTP_HEAD_SIZE_MAX];
    struct kith_http_intake intake;
    struct kith_http_head head;
    size_t used;

    kith__http_intake_init(&intake, kith_mem_default(), KITH_HTTP_REQUEST);
    memset(text, 'G', sizeof text - 1);
    KITH_CHECK_EQ(feed(&intake, text, 1, &head, &used), KITH_ERR_PARSE);
    KITH_CHECK(used <= 8);
    kith__http_intake_dispose(&intake);

    memset(text, 'x', sizeof text - 1);
    memcpy(text, "GET /", 5);
    KITH_CHECK_EQ(feed(&intake, text, 7, &head, &used), KITH_ERR_TOO_LARGE);
    KITH_CHECK(used <= KITH_HTTP_HEAD_SIZE_MAX + 7);
    KITH_CHECK(intake.bytes.size <= KITH_HTTP_HEAD_SIZE_MAX);
    kith__http_intake_dispose(&intake);

    memset(text, '\n', sizeof text - 1); /* each of them looks like an end */
    KITH_CHECK_EQ(feed(&intake, text, 1, &head, &used), KITH_ERR_TOO_LARGE);
    kith__http_intake_dispose(&intake);
}

KITH_TEST(http_intake_survives_without_memory)
{
    struct kith_test_mem mem;
    struct kith_http_intake intake;
    struct kith_http_head head;
    size_t used;

    kith__test_mem_init(&mem, 1);
    kith__http_intake_init(&intake, &mem.mem, KITH_HTTP_REQUEST);
    KITH_CHECK_EQ(feed(&intake, "GET / HTTP/1.1\r\n\r\n", 3, &head, &used), KITH_ERR_NOMEM);
    kith__http_intake_dispose(&intake);
    KITH_CHECK_EQ(mem.live, 0);
}

KITH_TEST(http_heads_are_written_whole_or_not_at_all)
{
    uint8_t bytes[160];
    struct kith_writer w = kith__writer(bytes, sizeof bytes);
    struct kith_http_head head;

    KITH_CHECK_EQ(kith__http_write_request(&w, "GET", kith__http_text("/a?b")), 0);
    KITH_CHECK_EQ(kith__http_write_header_text(&w, "Host", "[::1]:80"), 0);
    KITH_CHECK_EQ(kith__http_write_header_number(&w, "N", UINT64_MAX), 0);
    KITH_CHECK_EQ(kith__http_write_header_number(&w, "Z", 0), 0);
    KITH_CHECK_EQ(kith__http_write_end(&w), 0);
    KITH_CHECK_EQ(kith__http_head_parse(KITH_HTTP_REQUEST, bytes, kith__writer_size(&w), &head), 0);
    KITH_CHECK_EQ(head.size, kith__writer_size(&w));
    KITH_CHECK(is(kith__http_header(&head, "n")->value, "18446744073709551615"));
    KITH_CHECK(is(kith__http_header(&head, "z")->value, "0"));

    for (size_t cap = 0; cap < 25; cap++) { /* "HTTP/1.1 204 No Content\r\n" has 25 */
        w = kith__writer(bytes, cap);
        KITH_CHECK_EQ(kith__http_write_status(&w, 204), KITH_ERR_TOO_LARGE);
        KITH_CHECK_EQ(kith__writer_size(&w), 0);
    }
    w = kith__writer(bytes, 25);
    KITH_CHECK_EQ(kith__http_write_status(&w, 204), 0);
    KITH_CHECK_BYTES(bytes, "HTTP/1.1 204 No Content\r\n", 25);
    KITH_CHECK_STR(kith__http_phrase(599), "Unknown");
}

KITH_TEST(http_credentials_are_standard_base64)
{
    static const char text[] = "Authorization: Basic dTrDv8O/w78+Pz4=\r\n"; /* '/' and '+' of base64, not '_' and '-' */
    uint8_t bytes[128], decoded[16], long_text[KITH_HTTP_CREDENTIALS_MAX + 1] = { 'u' };
    struct kith_writer w = kith__writer(bytes, sizeof bytes);
    size_t size;

    KITH_CHECK_EQ(
        kith__http_percent_decode(kith__http_text("u:%C3%BF%c3%bf%C3%BF>?%3e+"), false, decoded, sizeof decoded, &size),
        0);
    KITH_CHECK_EQ(size, 12);
    KITH_CHECK_EQ(decoded[11], '+');
    KITH_CHECK_EQ(kith__http_write_basic(&w, "Authorization", (struct kith_slice) { decoded, 11 }), 0);
    KITH_CHECK_EQ(kith__writer_size(&w), sizeof text - 1);
    KITH_CHECK_BYTES(bytes, text, sizeof text - 1);
    KITH_CHECK_EQ(kith__http_write_basic(&w, "Authorization", (struct kith_slice) { long_text, sizeof long_text }),
                  KITH_ERR_TOO_LARGE);
}

KITH_TEST(http_values_cannot_forge_lines)
{
    uint8_t bytes[256];
    struct kith_writer w = kith__writer(bytes, sizeof bytes);

    KITH_CHECK_EQ(kith__http_write_header_text(&w, "a", "b\r\nc: d"), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http_write_header_text(&w, "a", "b\nc"), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http_write_header(&w, "a", (struct kith_slice) { (const uint8_t *)"b\0c", 3 }),
                  KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http_write_header_text(&w, "a b", "c"), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http_write_header_text(&w, "a:", "c"), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http_write_header_text(&w, "", "c"), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http_write_request(&w, "GET", kith__http_text("/a b")), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http_write_request(&w, "GET", kith__http_text("/a\r\nb")), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http_write_request(&w, "GET", kith__http_text("")), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http_write_request(&w, "G T", kith__http_text("/")), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http_write_status(&w, 99), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__writer_size(&w), 0);
    KITH_CHECK_EQ(kith__http_write_header_text(&w, "a", "b\tc \xc3\xa9"), 0);
}
