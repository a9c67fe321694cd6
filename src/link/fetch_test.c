/* One-shot fetches from servers that say what they are told to, in the simulated world; over https on loopback too. */
#include "link/fetch.h"

#include "link/world.h"

#include <stdio.h>
#include <time.h>

#define MS KITH_NS_PER_MS

/** A server for one connection: reads a request head, then says `answer` in pieces. */
struct server {
    struct world *world;
    struct kith_rt_listener *listener;
    struct kith_link *link;
    struct kith_rt_timer timer;
    struct kith_buf request;
    const char *answer;
    size_t done, piece; /* piece: bytes every gap_ns; 0: all at once */
    uint64_t gap_ns;
    bool ends, was_asked; /* ends: after the answer */
};

static void server_send(struct server *server)
{
    size_t left = strlen(server->answer) - server->done;
    size_t size = server->piece != 0 ? KITH_MIN(server->piece, left) : left;
    const uint8_t *at = (const uint8_t *)server->answer + server->done;

    if (left > 0) {
        server->done += size;
        if (kith__link_write(server->link, at, size) != 0)
            server->done = strlen(server->answer);
    } else if (server->ends) {
        kith__link_finish(server->link, 0);
        server->link = NULL;
    }
}

static void server_timer(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    server_send(ctx);
}

static void server_writable(void *ctx, int err)
{
    struct server *server = ctx;

    if (err == 0 && server->link != NULL)
        kith__rt_timer_set(&server->timer, kith__rt_now(server->world->server) + server->gap_ns);
}

static void server_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct server *server = ctx;

    KITH_CHECK_EQ(kith__buf_append(&server->request, bytes, size), 0);
    if (server->was_asked || server->request.size < 4)
        return;
    server->was_asked = true;
    server_send(server);
}

static void server_end(void *ctx, int err)
{
    struct server *server = ctx;

    (void)err;
    kith__link_close(server->link);
    server->link = NULL;
    kith__rt_timer_set(&server->timer, KITH_NEVER);
}

static void server_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct server *server = ctx;
    const struct kith_link_events events = {
        .on_data = server_data, .on_end = server_end, .on_writable = server_writable, .ctx = server
    };

    KITH_CHECK(server->link == NULL);
    if (kith__link_accept(server->world->server, stream, server->world->server_tls, &events, &server->link) != 0)
        server->link = NULL; /* no memory: the client sees it closed */
}

/** What done was told, copied. */
struct outcome {
    bool is_done;
    int err;
    uint16_t status;
    uint64_t latency_ns, exchange_ns, done_ns;
    char why[KITH_LINK_WHY_SIZE], body[256], header[64];
    struct kith_rt *rt;
};

static void on_done(void *ctx, const struct kith_fetch_result *result)
{
    struct outcome *outcome = ctx;
    const struct kith_http_header *header = result->head != NULL ? kith__http_header(result->head, "X-A") : NULL;

    KITH_CHECK(!outcome->is_done && result->body.size < sizeof outcome->body);
    outcome->is_done = true;
    outcome->err = result->err;
    outcome->status = result->status;
    outcome->latency_ns = result->latency_ns;
    outcome->exchange_ns = result->exchange_ns;
    outcome->done_ns = kith__rt_now(outcome->rt);
    strcpy(outcome->why, result->why);
    if (result->body.size > 0)
        memcpy(outcome->body, result->body.ptr, result->body.size);
    if (header != NULL)
        memcpy(outcome->header, header->value.ptr, header->value.size);
}

struct fixture {
    struct world world;
    struct server server;
    struct outcome outcome;
    uint64_t began_ns;
};

static void fixture_open(struct fixture *f, int kind, const char *answer)
{
    struct kith_rt_stream_addr at;

    memset(f, 0, sizeof *f);
    world_open(&f->world, kind, NULL, (uint64_t)time(NULL));
    f->server.world = &f->world;
    f->server.answer = answer;
    kith__buf_init(&f->server.request, kith_mem_default());
    KITH_CHECK_EQ(kith__rt_timer_init(f->world.server, &f->server.timer, server_timer, &f->server), 0);
    at = (struct kith_rt_stream_addr) { .ip = f->world.at };
    at.ip.port = f->world.is_real ? 0 : 8080;
    KITH_CHECK_EQ(kith__rt_listen(f->world.server, &at, server_accept, &f->server, &f->server.listener), 0);
    f->outcome.rt = f->world.client;
}

static void fixture_close(struct fixture *f)
{
    world_pass(&f->world, 5 * KITH_NS_PER_S);
    kith__link_close(f->server.link);
    kith__rt_timer_dispose(&f->server.timer);
    kith__buf_dispose(&f->server.request);
    kith__rt_listener_close(f->server.listener);
    world_close(&f->world);
}

/** Fetches and waits; err of the outcome. */
static int fetch(struct fixture *f, struct kith_fetch_options options)
{
    struct kith_fetch *running;

    options.rt = f->world.client;
    options.tls = f->world.client_tls;
    f->began_ns = kith__rt_now(f->world.client);
    KITH_CHECK_EQ(kith__fetch(&options, on_done, &f->outcome, &running), 0);
    KITH_CHECK(!f->outcome.is_done);
    world_run(&f->world, &f->outcome.is_done);
    KITH_CHECK_EQ(f->outcome.err != 0, f->outcome.why[0] != '\0');
    return f->outcome.err;
}

#define HELLO "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"

KITH_TEST(fetch_gets_a_page)
{
    static const char request[] =
        "GET /a/b?c=d HTTP/1.1\r\nHost: relay.test:8080\r\nConnection: close\r\nAccept: */*\r\n\r\n";

    for (int kind = 0; kind < WORLD_KINDS; kind++) {
        struct fixture f;
        char url[64];

        fixture_open(&f, kind, HELLO);
        sprintf(url, "%s://%s:%u/a/b?c=d#e", f.world.is_tls ? "https" : "http",
                f.world.is_real ? "127.0.0.1" : "relay.test", kith__rt_listener_local(f.server.listener).port);
        KITH_CHECK_EQ(fetch(&f, (struct kith_fetch_options) { .url = url, .response_size_max = 100 }), 0);
        KITH_CHECK_EQ(f.outcome.status, 200);
        KITH_CHECK_STR(f.outcome.body, "hello");
        KITH_CHECK_STR(f.outcome.header, "b");
        if (!f.world.is_real) {
            KITH_CHECK_EQ(f.server.request.size, sizeof request - 1);
            KITH_CHECK_BYTES(f.server.request.ptr, request, sizeof request - 1);
        }
        fixture_close(&f);
    }
}

KITH_TEST(fetch_measures_from_its_start_to_the_response_head)
{
    struct fixture f;

    fixture_open(&f, WORLD_PLAIN, "HTTP/1.1 200 OK\r\n\r\n12345678");
    f.server.piece = 19; /* the head, then half of the body, then half and the end */
    f.server.gap_ns = 300 * MS;
    f.server.ends = true;
    KITH_CHECK_EQ(fetch(&f, (struct kith_fetch_options) { .url = "http://relay.test:8080", .response_size_max = 8 }),
                  0);
    KITH_CHECK_EQ(f.outcome.latency_ns, 80 * MS); /* a round trip of 40 ms for TCP, one for the request */
    KITH_CHECK_EQ(f.outcome.exchange_ns, 40 * MS);
    KITH_CHECK_STR(f.outcome.body, "12345678");
    KITH_CHECK_EQ(f.outcome.done_ns - f.began_ns, (80 + 2 * 300) * MS);
    fixture_close(&f);

    fixture_open(&f, WORLD_PLAIN, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    KITH_CHECK_EQ(fetch(&f, (struct kith_fetch_options) { .url = "http://relay.test:8080",
                                                          .response_size_max = 1000000,
                                                          .wants_head_only = true }),
                  0);
    KITH_CHECK_EQ(f.outcome.done_ns - f.began_ns, 80 * MS);
    fixture_close(&f);
}

KITH_TEST(fetch_sends_what_is_asked)
{
    static const char wanted[] =
        "POST / HTTP/1.1\r\nHost: [2001:db8::2]:8080\r\nConnection: close\r\nAccept: */*\r\n"
        "Content-Length: 4\r\nX-Iroh-NodeId: ab\r\nAuthorization: Basic dTpww6RzcysrIw==\r\n\r\nbody";
    const struct kith_http_header header = { kith__http_text("X-Iroh-NodeId"), kith__http_text("ab") };
    struct fixture f;

    fixture_open(&f, WORLD_PLAIN, "HTTP/1.1 204 No Content\r\n\r\n");
    kith__rt_listener_close(f.server.listener);
    {
        struct kith_rt_stream_addr at = { .unix_path = NULL };

        KITH_CHECK_EQ(kith_sockaddr_parse("[2001:db8::2]:8080", &at.ip), 0);
        KITH_CHECK_EQ(kith__rt_listen(f.world.server, &at, server_accept, &f.server, &f.server.listener), 0);
    }
    KITH_CHECK_EQ(fetch(&f, (struct kith_fetch_options) { .url = "http://u:p%C3%A4ss++%23@[2001:db8::2]:8080",
                                                          .method = "POST",
                                                          .headers = &header,
                                                          .header_count = 1,
                                                          .body = kith__http_text("body") }),
                  0);
    KITH_CHECK_EQ(f.outcome.status, 204);
    KITH_CHECK_EQ(f.server.request.size, sizeof wanted - 1);
    KITH_CHECK_BYTES(f.server.request.ptr, wanted, sizeof wanted - 1);
    fixture_close(&f);
}

KITH_TEST(fetch_is_not_fooled_by_hostile_servers)
{
    static char long_head[20000];
    static const struct {
        const char *answer;
        size_t piece;
        uint64_t gap_ms;
        bool ends;
        int err;
        uint16_t status;
        const char *says;
    } cases[] = {
        { HELLO, 1, 200, false, KITH_ERR_TIMEOUT, 0, "relay.test did not answer within 1000 ms" }, /* slow-loris */
        { "", 0, 0, false, KITH_ERR_TIMEOUT, 0, "did not answer" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 0, 0, false, KITH_ERR_TIMEOUT, 200, "did not answer" },
        { long_head, 0, 0, false, KITH_ERR_TOO_LARGE, 0, "answered with more than is taken here" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", 0, 0, false, KITH_ERR_TOO_LARGE, 200, "more than" },
        { "220 mail.test ESMTP\r\n", 0, 0, false, KITH_ERR_PARSE, 0, "not in HTTP" },
        { "\x15\x03\x03\x00\x02\x02\x32", 0, 0, false, KITH_ERR_PARSE, 0, "not in HTTP" },
        { "HTTP/2.0 200 OK\r\n\r\n", 0, 0, false, KITH_ERR_VERSION, 0, "another version" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 0, 0, true, KITH_ERR_TRUNCATED, 200,
          "closed the connection" },
        { "HTTP/1.1 200", 0, 0, true, KITH_ERR_CLOSED_BY_PEER, 0, "closed the connection" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", 0, 0, false, 0, 200, NULL },
        { "HTTP/1.1 302 Found\r\nLocation: http://relay.test/\r\nContent-Length: 0\r\n\r\n", 0, 0, false, 0, 302,
          NULL },
        { "HTTP/1.1 200 OK\r\n\r\nhello", 0, 0, true, 0, 200, NULL },
    };

    memset(long_head, 'x', sizeof long_head - 1);
    memcpy(long_head, "HTTP/1.1 200 OK\r\nA: ", 20);
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct fixture f;
        int err;

        fixture_open(&f, WORLD_PLAIN, cases[i].answer);
        f.server.piece = cases[i].piece;
        f.server.gap_ns = cases[i].gap_ms * MS;
        f.server.ends = cases[i].ends;
        err = fetch(&f, (struct kith_fetch_options) {
                            .url = "http://relay.test:8080/", .response_size_max = 100, .limit_ns = 1000 * MS });
        if (err != cases[i].err)
            printf("case %zu: %s %s\n", i, kith_err_name(err), f.outcome.why);
        KITH_CHECK_EQ(err, cases[i].err);
        KITH_CHECK_EQ(f.outcome.status, cases[i].status);
        KITH_CHECK(f.outcome.done_ns - f.began_ns <= 1000 * MS);
        if (cases[i].says != NULL)
            KITH_CHECK(strstr(f.outcome.why, cases[i].says) != NULL);
        fixture_close(&f);
    }
}

KITH_TEST(fetch_tells_why_the_server_cannot_be_reached)
{
    struct fixture f;

    fixture_open(&f, WORLD_TLS, HELLO);
    KITH_CHECK_EQ(fetch(&f, (struct kith_fetch_options) { .url = "https://relay.test:8081/" }), KITH_ERR_REFUSED);
    KITH_CHECK(strstr(f.outcome.why, "relay.test:8081 refuses connections") != NULL);
    f.outcome.is_done = false;
    KITH_CHECK_EQ(fetch(&f, (struct kith_fetch_options) { .url = "https://10.0.0.2:8080/" }), KITH_ERR_WRONG_PEER);
    f.outcome.is_done = false;
    kith__sim_host_set_down(f.world.server_host, true);
    KITH_CHECK_EQ(fetch(&f, (struct kith_fetch_options) { .url = "https://relay.test:8080/", .limit_ns = 500 * MS }),
                  KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(f.outcome.done_ns - f.began_ns, 500 * MS);
    KITH_CHECK(strstr(f.outcome.why, "relay.test could not be reached within 500 ms") != NULL);
    kith__sim_host_set_down(f.world.server_host, false);
    fixture_close(&f);
}

KITH_TEST(fetch_refuses_what_it_cannot_ask)
{
    const struct kith_http_header forged = { kith__http_text("X"), kith__http_text("a\r\nY: b") };
    struct kith_fetch *running;
    struct fixture f;

    fixture_open(&f, WORLD_PLAIN, HELLO);
#define TRY(...)                                                                                                       \
    kith__fetch(&(struct kith_fetch_options) { .rt = f.world.client, __VA_ARGS__ }, on_done, &f.outcome, &running)
    KITH_CHECK_EQ(TRY(.url = "ftp://relay.test/"), KITH_ERR_UNSUPPORTED);
    KITH_CHECK_EQ(TRY(.url = "relay.test"), KITH_ERR_PARSE);
    KITH_CHECK_EQ(TRY(.url = "https://relay.test/"), KITH_ERR_INVALID); /* without a context */
    KITH_CHECK_EQ(TRY(.url = "http://relay.test/", .headers = &forged, .header_count = 1), KITH_ERR_INVALID);
    KITH_CHECK_EQ(TRY(.url = "http://relay.test/", .method = "GET /"), KITH_ERR_INVALID);
    KITH_CHECK(!f.outcome.is_done);
    fixture_close(&f);
}

KITH_TEST(fetch_can_be_cancelled_at_any_time)
{
    for (uint64_t after_ms = 0; after_ms < 90; after_ms += 5) {
        struct kith_fetch *running;
        struct fixture f;

        fixture_open(&f, WORLD_PLAIN, HELLO);
        KITH_CHECK_EQ(TRY(.url = "http://relay.test:8080/", .response_size_max = 10), 0);
        world_pass(&f.world, after_ms * MS);
        KITH_CHECK_EQ(f.outcome.is_done, after_ms >= 80);
        if (!f.outcome.is_done)
            kith__fetch_cancel(running);
        world_pass(&f.world, KITH_NS_PER_S);
        KITH_CHECK_EQ(f.outcome.is_done, after_ms >= 80);
        fixture_close(&f);
    }
}

KITH_TEST(fetch_survives_every_failed_allocation)
{
    struct kith_test_mem mem;
    uint64_t fail_at = 0;

    do {
        struct fixture f;
        struct kith_fetch *running;
        struct kith_rt_stream_addr at;
        int err;

        fail_at++;
        memset(&f, 0, sizeof f);
        kith__test_mem_init(&mem, 0);
        world_open(&f.world, WORLD_PLAIN, &mem.mem, (uint64_t)time(NULL));
        f.server.world = &f.world;
        f.server.answer = HELLO;
        f.server.piece = 9; /* the response is collected */
        kith__buf_init(&f.server.request, kith_mem_default());
        KITH_CHECK_EQ(kith__rt_timer_init(f.world.server, &f.server.timer, server_timer, &f.server), 0);
        at = (struct kith_rt_stream_addr) { .ip = f.world.at };
        at.ip.port = 8080;
        KITH_CHECK_EQ(kith__rt_listen(f.world.server, &at, server_accept, &f.server, &f.server.listener), 0);
        f.outcome.rt = f.world.client;
        mem.calls = 0;
        mem.fail_at = fail_at;
        err = TRY(.url = "http://relay.test:8080/", .response_size_max = 10);
        if (err == 0) {
            world_run(&f.world, &f.outcome.is_done);
            err = f.outcome.err;
        }
        KITH_CHECK(err == 0 || mem.calls >= fail_at);
        mem.fail_at = mem.calls < fail_at ? fail_at : 0;
        fixture_close(&f);
        KITH_CHECK_EQ(mem.live, 0);
    } while (mem.fail_at == 0);
    KITH_CHECK(fail_at > 10);
}
