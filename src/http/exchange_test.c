#include "http/exchange.h"

#include "base/test.h"

#include <stdio.h>
#include <string.h>

static struct kith_http_exchange_options get_options(const struct kith_mem *mem)
{
    return (struct kith_http_exchange_options) {
        .mem = mem,
        .method = "GET",
        .host = kith__http_text("host:81"),
        .target = kith__http_text("/a"),
        .response_size_max = 16,
    };
}

/** Feeds a whole response in pieces, then maybe the end of the connection; the first error. */
static int feed(struct kith_http_exchange *exchange, const char *text, size_t step, bool ends)
{
    size_t size = strlen(text);
    int err = 0;

    for (size_t at = 0; at < size && err == 0; at += step)
        err = kith__http_exchange_receive(exchange, (const uint8_t *)text + at, KITH_MIN(step, size - at));
    return err == 0 && ends ? kith__http_exchange_end(exchange) : err;
}

KITH_TEST(http_exchange_writes_its_request)
{
    static const char wanted[] = "POST /a HTTP/1.1\r\nHost: host:81\r\nConnection: close\r\nAccept: */*\r\n"
                                 "Content-Length: 3\r\nX-A: b\r\n\r\nxyz";
    const struct kith_http_header extra = { kith__http_text("X-A"), kith__http_text("b") };
    struct kith_http_exchange_options options = get_options(kith_mem_default());
    struct kith_http_exchange exchange;
    struct kith_http_head head;

    options.method = "POST";
    options.headers = &extra;
    options.header_count = 1;
    options.body = kith__http_text("xyz");
    KITH_CHECK_EQ(kith__http_exchange_init(&exchange, &options), 0);
    KITH_CHECK_EQ(exchange.request.size, sizeof wanted - 1);
    KITH_CHECK_BYTES(exchange.request.ptr, wanted, sizeof wanted - 1);
    kith__http_exchange_dispose(&exchange);

    options.has_own_accept = true;
    KITH_CHECK_EQ(kith__http_exchange_init(&exchange, &options), 0);
    KITH_CHECK_EQ(exchange.request.size, sizeof wanted - 1 - 13);
    kith__http_exchange_dispose(&exchange);
    options.has_own_accept = false;

    options.body = kith__http_text("");
    options.target = kith__http_text("");
    KITH_CHECK_EQ(kith__http_exchange_init(&exchange, &options), 0);
    KITH_CHECK_BYTES(exchange.request.ptr, "POST / HTTP/1.1\r\n", 17);
    KITH_CHECK_EQ(kith__http_head_parse(KITH_HTTP_REQUEST, exchange.request.ptr, exchange.request.size, &head), 0);
    KITH_CHECK(head.has_length && head.length == 0);
    kith__http_exchange_dispose(&exchange);

    options.host = kith__http_text("a\r\nb");
    KITH_CHECK_EQ(kith__http_exchange_init(&exchange, &options), KITH_ERR_INVALID);
    kith__http_exchange_dispose(&exchange);
}

/** A response, what its end is, and what must come of it, in pieces of every size. */
struct response_case {
    const char *text;
    bool ends; /* the connection */
    int err;
    uint16_t status;
    const char *body;
};

static const struct response_case responses[] = {
    { "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", false, 0, 200, "abcd" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcdHTTP/1.1 500 No\r\n\r\n", true, 0, 200, "abcd" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 0, 200, "" },
    { "HTTP/1.1 204 No Content\r\n\r\n", false, 0, 204, "" },
    { "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, 0, 304, "" },
    { "HTTP/1.1 200 OK\r\n\r\nabcd", true, 0, 200, "abcd" },
    { "HTTP/1.0 200\r\n\r\n", true, 0, 200, "" },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n01\r\nd\r\n0\r\nTrailer: t\r\n\r\n", false,
      0, 200, "abcd" },
    { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nz",
      false, 0, 404, "z" },
    { "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x01\x02", false, 0, 101, "" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n0123456789abcdef", false, 0, 200, "0123456789abcdef" },
    /* what ends too early */
    { "", true, KITH_ERR_TRUNCATED, 0, "" },
    { "HTTP/1.1 200 OK\r\n", true, KITH_ERR_TRUNCATED, 0, "" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", true, KITH_ERR_TRUNCATED, 200, "abc" },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", true, KITH_ERR_TRUNCATED, 200, "abcd" },
    /* what is too much */
    { "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n", false, KITH_ERR_TOO_LARGE, 200, "" },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n0123456789abcdefg", false, KITH_ERR_TOO_LARGE, 200,
      NULL },
    { "HTTP/1.1 200 OK\r\n\r\n0123456789abcdefg", false, KITH_ERR_TOO_LARGE, 200, NULL },
    /* what is wrong */
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", false, KITH_ERR_PARSE, 200, "" },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", false, KITH_ERR_PARSE, 200, "a" },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", false, KITH_ERR_PARSE, 200, "" },
    { "SSH-2.0-OpenSSH_9.2\r\n", false, KITH_ERR_PARSE, 0, "" },
    { "HTTP/2.0 200 OK\r\n\r\n", false, KITH_ERR_VERSION, 0, "" },
};

KITH_TEST(http_exchange_reads_responses_in_pieces_of_any_size)
{
    struct kith_http_exchange_options options;
    struct kith_test_mem mem;

    kith__test_mem_init(&mem, 0);
    options = get_options(&mem.mem);
    for (size_t i = 0; i < KITH_COUNT(responses); i++)
        for (size_t step = 1; step <= strlen(responses[i].text) + 1; step++) {
            const struct response_case *wanted = &responses[i];
            struct kith_http_exchange exchange;
            int err;

            KITH_CHECK_EQ(kith__http_exchange_init(&exchange, &options), 0);
            err = feed(&exchange, wanted->text, step, wanted->ends);
            if (err != wanted->err || exchange.is_done != (err == 0))
                printf("case %zu, step %zu: %s\n", i, step, kith_err_name(err));
            KITH_CHECK_EQ(err, wanted->err);
            KITH_CHECK_EQ(exchange.is_done, wanted->err == 0);
            KITH_CHECK_EQ(exchange.has_head, wanted->status != 0);
            if (wanted->status != 0)
                KITH_CHECK_EQ(exchange.head.status, wanted->status);
            if (wanted->body != NULL)
                KITH_CHECK(kith__http_is(kith__buf_slice(&exchange.body), wanted->body));
            KITH_CHECK(exchange.body.size <= options.response_size_max);
            kith__http_exchange_dispose(&exchange);
            KITH_CHECK_EQ(mem.live, 0);
        }
}

KITH_TEST(http_exchange_does_not_wait_for_the_body_of_a_head)
{
    struct kith_http_exchange_options options = get_options(kith_mem_default());
    struct kith_http_exchange exchange;

    options.method = "HEAD";
    KITH_CHECK_EQ(kith__http_exchange_init(&exchange, &options), 0);
    KITH_CHECK_EQ(feed(&exchange, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", 100, false), 0);
    KITH_CHECK(exchange.is_done);
    KITH_CHECK_EQ(exchange.head.length, 1000000);
    kith__http_exchange_dispose(&exchange);
}

KITH_TEST(http_exchange_does_not_follow_interim_responses_for_ever)
{
    struct kith_http_exchange_options options = get_options(kith_mem_default());
    struct kith_http_exchange exchange;

    KITH_CHECK_EQ(kith__http_exchange_init(&exchange, &options), 0);
    for (int i = 0; i < KITH_HTTP_INTERIM_MAX; i++)
        KITH_CHECK_EQ(feed(&exchange, "HTTP/1.1 102 Processing\r\n\r\n", 7, false), 0);
    KITH_CHECK_EQ(feed(&exchange, "HTTP/1.1 102 Processing\r\n\r\n", 7, false), KITH_ERR_PARSE);
    kith__http_exchange_dispose(&exchange);
}

KITH_TEST(http_exchange_keeps_its_head_when_the_bytes_are_gone)
{
    struct kith_http_exchange_options options = get_options(kith_mem_default());
    char text[] = "HTTP/1.1 200 OK\r\nX-A: value\r\nContent-Length: 1\r\n\r\n";
    struct kith_http_exchange exchange;

    KITH_CHECK_EQ(kith__http_exchange_init(&exchange, &options), 0);
    KITH_CHECK_EQ(feed(&exchange, text, 100, false), 0);
    memset(text, 'z', sizeof text);
    KITH_CHECK(kith__http_is(kith__http_header(&exchange.head, "x-a")->value, "value"));
    kith__http_exchange_dispose(&exchange);
}

KITH_TEST(http_exchange_survives_every_failed_allocation)
{
    struct kith_http_exchange_options options;
    struct kith_test_mem mem;
    bool was_fine = false;

    for (uint64_t fail_at = 1; !was_fine; fail_at++) {
        struct kith_http_exchange exchange;
        int err;

        kith__test_mem_init(&mem, fail_at);
        options = get_options(&mem.mem);
        err = kith__http_exchange_init(&exchange, &options);
        if (err == 0)
            err = feed(&exchange, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", 5, true);
        was_fine = err == 0;
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        KITH_CHECK_EQ(was_fine, mem.calls < fail_at);
        kith__http_exchange_dispose(&exchange);
        KITH_CHECK_EQ(mem.live, 0);
        KITH_CHECK(fail_at < 100);
    }
}
