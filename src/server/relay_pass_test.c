/* Requests that a relay's worker passes on, in virtual time: what goes on and what does not, answers, failures, limits, the end. */
#include "server/relay_pass.h"

#include "link/dial.h"
#include "link/world.h"
#include "server/relay_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HELD_MAX = KITH_RELAY_PASS_MAX + 8 };

/** A relay with one worker; on the same machine the server behind it; clients elsewhere. */
struct rig {
    struct world world;
    const struct kith_mem *mem;
    struct kith_relay_shared shared;
    struct kith_relay_routes routes;
    struct kith_relay_worker *worker;
    struct kith_httpd *behind;
    struct kith_sockaddr at, behind_at;
    /* What the server behind does, and what it saw last. */
    bool holds; /* it answers later, or never */
    struct kith_httpd_conn *held[HELD_MAX];
    size_t held_count, seen_count, answer_size;
    char method[16], path[256], query[64], lines[1024], body[64];
};

static void answer(struct rig *rig, struct kith_httpd_conn *conn, bool is_deferred)
{
    static char big[KITH_RELAY_PASS_ANSWER_MAX + 1];
    struct kith_http_header headers[] = { { kith__http_text("content-type"), kith__http_text("text/x") },
                                          { kith__http_text("etag"), kith__http_text("\"7\"") },
                                          { kith__http_text("retry-after"), kith__http_text("9") },
                                          { kith__http_text("server"), kith__http_text("secret") } };
    struct kith_httpd_reply reply = { .status = 201, .headers = headers, .header_count = KITH_COUNT(headers) };

    memset(big, 'x', sizeof big);
    reply.body = rig->answer_size != 0 ? (struct kith_slice) { (uint8_t *)big, rig->answer_size }
                                       : kith__http_text("stored");
    if (is_deferred)
        kith__httpd_answer(conn, &reply);
    else
        KITH_CHECK_EQ(kith__httpd_reply(conn, &reply), 0);
}

static void on_request(void *ctx, struct kith_httpd_conn *conn, const struct kith_http_head *head, int tag)
{
    struct rig *rig = ctx;
    struct kith_slice body = kith__httpd_conn_body(conn);
    size_t used = 0;

    (void)tag;
    rig->seen_count++;
    snprintf(rig->method, sizeof rig->method, "%.*s", (int)head->method.size, (const char *)head->method.ptr);
    snprintf(rig->path, sizeof rig->path, "%.*s", (int)head->path.size, (const char *)head->path.ptr);
    snprintf(rig->query, sizeof rig->query, "%.*s", (int)head->query.size, (const char *)head->query.ptr);
    snprintf(rig->body, sizeof rig->body, "%.*s", (int)body.size, (const char *)body.ptr);
    for (size_t i = 0; i < head->header_count; i++)
        used += (size_t)snprintf(rig->lines + used, sizeof rig->lines - used, "%.*s=%.*s\n",
                                 (int)head->headers[i].name.size, (const char *)head->headers[i].name.ptr,
                                 (int)head->headers[i].value.size, (const char *)head->headers[i].value.ptr);
    if (!rig->holds) {
        answer(rig, conn, false);
        return;
    }
    KITH_CHECK(rig->held_count < HELD_MAX);
    rig->held[rig->held_count++] = conn;
    kith__httpd_defer(conn, conn);
}

static void on_gone(void *ctx, void *user)
{
    struct rig *rig = ctx;

    for (size_t i = 0; i < rig->held_count; i++) {
        if (rig->held[i] == user)
            rig->held[i--] = rig->held[--rig->held_count];
    }
}

static int open_behind(struct rig *rig)
{
    struct kith_httpd_options options = { .rt = rig->world.server,
                                          .mem = kith_mem_default(),
                                          .body_max = 4096,
                                          .on_request = on_request,
                                          .on_gone = on_gone,
                                          .ctx = rig };
    struct kith_httpd_listen listen = { .has_keep_alive = true };
    int err;

    if ((err = kith_sockaddr_parse("127.0.0.1:0", &listen.at)) != 0 ||
        (err = kith__httpd_new(&options, &rig->behind)) != 0)
        return err;
    return kith__httpd_listen(rig->behind, &listen, &rig->behind_at);
}

static int open_relay(struct rig *rig, enum kith_relay_door door)
{
    static const struct kith_relay_admission_limits no_limits;
    static const char *const paths[] = { "/pkarr", "/dns-query" };
    struct kith_relay_pass_on pass_on = { .paths = paths, .path_count = 2, .to = rig->behind_at };
    struct kith_relay_worker_options options = {
        .rt = rig->world.server, .mem = rig->mem, .shared = &rig->shared, .routes = &rig->routes, .pass_on = &pass_on
    };
    struct kith_relay_order *order;
    int err;

    if ((err = kith__relay_shared_init(&rig->shared, rig->mem, NULL, 1)) != 0)
        return err;
    rig->shared.version = "1";
    if ((err = kith__relay_admission_new(rig->mem, NULL, &no_limits, 1, &rig->shared.admission)) != 0 ||
        (err = kith__relay_routes_local_new(rig->mem, 1, &rig->routes)) != 0 ||
        (err = kith__relay_worker_new(&options, &rig->worker)) != 0)
        return err;
    if (rig->world.is_tls) {
        if ((order = kith__relay_order_new(rig->mem, KITH_RELAY_ORDER_TLS)) == NULL)
            return KITH_ERR_NOMEM;
        order->tls = kith__tls_stream_context_retain(rig->world.server_tls);
        kith__relay_worker_order(rig->worker, order);
        kith__relay_worker_settle(rig->worker);
    }
    return kith__relay_worker_listen(rig->worker, door, &rig->world.at, false, &rig->at);
}

static void rig_open(struct rig *rig, int kind, enum kith_relay_door door)
{
    memset(rig, 0, sizeof *rig);
    rig->mem = kith_mem_default();
    world_open(&rig->world, kind, NULL, (uint64_t)time(NULL));
    KITH_CHECK_EQ(open_behind(rig), 0);
    KITH_CHECK_EQ(open_relay(rig, door), 0);
}

static void rig_open_plain(struct rig *rig)
{
    rig_open(rig, WORLD_SIM, KITH_RELAY_DOOR_PLAIN);
}

static void rig_close(struct rig *rig)
{
    kith__relay_worker_free(rig->worker);
    kith__httpd_free(rig->behind);
    kith__relay_routes_free(&rig->routes);
    kith__relay_shared_dispose(&rig->shared);
    world_close(&rig->world);
}

static uint64_t counted(const struct rig *rig, size_t offset)
{
    return kith__relay_counter((const _Atomic uint64_t *)(const void *)((const char *)rig->shared.counters + offset));
}
#define COUNTED(rig, field) counted(rig, offsetof(struct kith_relay_counters, field))

/* ---- A client ---- */

static void client_open(struct rig *rig, struct peer *peer)
{
    struct kith_link_events events = peer_events(peer);
    const struct kith_dial_options options = {
        .rt = rig->world.client, .host = "relay.test", .port = rig->at.port, .tls = rig->world.client_tls
    };

    KITH_CHECK_EQ(kith__link_dial(&options, &events, &peer->link), 0);
    world_run(&rig->world, &peer->is_open_told);
    KITH_CHECK_EQ(peer->open_err, 0);
}

static void client_say(struct rig *rig, struct peer *peer, const char *line, const char *more, const char *body)
{
    char text[8192];
    int size = snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n%s\r\n%s", line,
                        strlen(body), more, body);

    peer->got.size = 0;
    KITH_CHECK_EQ(kith__link_write(peer->link, (const uint8_t *)text, (size_t)size), 0);
    world_pass(&rig->world, 300 * KITH_NS_PER_MS);
}

static int status(const struct peer *peer)
{
    return peer->got.size > 12 ? atoi((const char *)peer->got.ptr + 9) : 0;
}

static bool has(struct peer *peer, const char *text)
{
    KITH_CHECK_EQ(kith__buf_append_byte(&peer->got, 0), 0);
    peer->got.size--;
    return strstr((const char *)peer->got.ptr, text) != NULL;
}

static int ask(struct rig *rig, const char *line)
{
    struct peer peer = { 0 };
    int got;

    client_open(rig, &peer);
    client_say(rig, &peer, line, "", "");
    got = status(&peer);
    peer_dispose(&peer);
    return got;
}

/* ---- Tests ---- */

KITH_TEST(pass_carries_requests_and_answers)
{
    static const int kinds[] = { WORLD_SIM | WORLD_PLAIN, WORLD_SIM | WORLD_TLS };

    for (size_t i = 0; i < KITH_COUNT(kinds); i++) {
        struct rig rig;
        struct peer peer = { 0 };

        rig_open(&rig, kinds[i], kinds[i] & WORLD_TLS ? KITH_RELAY_DOOR_TLS : KITH_RELAY_DOOR_PLAIN);
        client_open(&rig, &peer);
        client_say(
            &rig, &peer, "PUT /pkarr/abc?x=1",
            "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nAccept: a/b\r\nAccept: c/d\r\nIf-None-Match: *\r\n"
            "Cookie: c\r\nContent-Type: t/u\r\n",
            "packet");
        KITH_CHECK_EQ(status(&peer), 201);
        KITH_CHECK(has(&peer, "\r\ncontent-type: text/x\r\n") && has(&peer, "\r\netag: \"7\"\r\n") &&
                   has(&peer, "\r\nretry-after: 9\r\n") && has(&peer, "\r\ncontent-length: 6\r\n"));
        KITH_CHECK(has(&peer, "\r\n\r\nstored") && !has(&peer, "secret"));
        KITH_CHECK(strcmp(rig.method, "PUT") == 0 && strcmp(rig.path, "/pkarr/abc") == 0 &&
                   strcmp(rig.query, "x=1") == 0 && strcmp(rig.body, "packet") == 0);
        KITH_CHECK(strstr(rig.lines, "x-forwarded-for=10.0.0.1\n") != NULL && strstr(rig.lines, "1.2.3.4") == NULL);
        KITH_CHECK(strstr(rig.lines, "=a/b\n") != NULL && strstr(rig.lines, "=c/d\n") != NULL &&
                   strstr(rig.lines, "=t/u\n") != NULL && strstr(rig.lines, "=*\n") != NULL);
        KITH_CHECK(strstr(rig.lines, "ookie") == NULL && strstr(rig.lines, "*/*") == NULL);
        /* The client's connection goes on, also to pages of the relay. */
        client_say(&rig, &peer, "GET /ping", "", "");
        KITH_CHECK(status(&peer) == 200 && rig.seen_count == 1);
        client_say(&rig, &peer, "GET /dns-query", "", "");
        KITH_CHECK(status(&peer) == 201 && rig.seen_count == 2 && rig.query[0] == 0);
        KITH_CHECK(strstr(rig.lines, "ccept") == NULL);
        KITH_CHECK_EQ(COUNTED(&rig, http_passed_on), 2);
        peer_dispose(&peer);
        rig_close(&rig);
    }
}

KITH_TEST(pass_answers_head_with_the_length_of_get)
{
    struct rig rig;
    struct peer peer = { 0 };

    rig_open_plain(&rig);
    client_open(&rig, &peer);
    client_say(&rig, &peer, "HEAD /pkarr/abc", "", "");
    KITH_CHECK(status(&peer) == 201 && has(&peer, "content-length: 6\r\n") && !has(&peer, "stored"));
    peer_dispose(&peer);
    rig_close(&rig);
}

KITH_TEST(pass_takes_only_its_paths)
{
    static const struct {
        const char *line;
        int status;
        bool is_seen;
    } cases[] = {
        { "GET /pkarr", 201, true },
        { "GET /pkarr/", 201, true },
        { "GET /pkarr//k", 201, true },
        { "GET /pkarr/./k", 201, true },
        { "GET /pkarr/../pkarr/k", 201, true },
        { "GET http://other/pkarr/k", 201, true },
        { "GET /pkarry", 404, false },
        { "GET /healthz", 200, false },
        { "GET /pkarr/../healthz", 400, false },
        { "GET /pkarr/%2e%2E/healthz", 400, false },
        { "GET /pkarr/..", 400, false },
        { "VERYLONGMETHODNAME /pkarr", 400, false },
    };
    struct rig rig;

    rig_open_plain(&rig);
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        rig.seen_count = 0;
        KITH_CHECK_EQ(ask(&rig, cases[i].line), cases[i].status);
        KITH_CHECK_EQ(rig.seen_count, cases[i].is_seen);
    }
    rig_close(&rig);
    /* Port 80 beside https is for probes alone. */
    rig_open(&rig, WORLD_SIM, KITH_RELAY_DOOR_CAPTIVE);
    KITH_CHECK_EQ(ask(&rig, "GET /pkarr/k"), 404);
    KITH_CHECK_EQ(rig.seen_count, 0);
    rig_close(&rig);
}

KITH_TEST(pass_refuses_what_is_too_long)
{
    char line[3000], body[KITH_RELAY_PASS_BODY_MAX + 2];
    struct peer peer = { 0 };
    struct rig rig;

    rig_open_plain(&rig);
    memset(line, 'a', sizeof line);
    memcpy(line, "GET /pkarr/", 11);
    line[sizeof line - 1] = 0;
    KITH_CHECK_EQ(ask(&rig, line), 414);
    KITH_CHECK_EQ(COUNTED(&rig, http_passed_on_refused), 1);
    memset(body, 'b', sizeof body);
    body[sizeof body - 1] = 0;
    client_open(&rig, &peer);
    client_say(&rig, &peer, "PUT /pkarr/k", "", body);
    KITH_CHECK_EQ(status(&peer), 413);
    peer_dispose(&peer);
    KITH_CHECK_EQ(rig.seen_count, 0);
    rig_close(&rig);
}

KITH_TEST(pass_says_when_nobody_answers)
{
    struct rig rig;
    struct peer peer = { 0 };

    rig_open_plain(&rig);
    rig.answer_size = KITH_RELAY_PASS_ANSWER_MAX;
    client_open(&rig, &peer);
    client_say(&rig, &peer, "GET /pkarr/k", "", "");
    world_pass(&rig.world, 2 * KITH_NS_PER_S);
    KITH_CHECK_EQ(status(&peer), 201);
    peer_dispose(&peer);
    rig.answer_size++;
    KITH_CHECK_EQ(ask(&rig, "GET /pkarr/k"), 502);
    rig.holds = true;
    client_open(&rig, &peer);
    client_say(&rig, &peer, "GET /pkarr/k", "", "");
    world_pass(&rig.world, 9 * KITH_NS_PER_S);
    KITH_CHECK_EQ(status(&peer), 0);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK_EQ(status(&peer), 504);
    peer_dispose(&peer);
    kith__httpd_free(rig.behind);
    rig.behind = NULL;
    KITH_CHECK_EQ(ask(&rig, "GET /pkarr/k"), 502);
    KITH_CHECK_EQ(COUNTED(&rig, http_passed_on_errored), 3);
    /* The relay itself goes on. */
    KITH_CHECK_EQ(ask(&rig, "GET /healthz"), 200);
    KITH_CHECK_EQ(open_behind(&rig), 0);
    rig_close(&rig);
}

KITH_TEST(pass_bounds_what_is_under_way)
{
    static struct peer peers[KITH_RELAY_PASS_MAX];
    struct rig rig;

    rig_open_plain(&rig);
    rig.holds = true;
    for (size_t i = 0; i < KITH_RELAY_PASS_MAX; i++)
        client_open(&rig, &peers[i]);
    for (size_t i = 0; i < KITH_RELAY_PASS_MAX; i++)
        KITH_CHECK_EQ(kith__link_write(peers[i].link, (const uint8_t *)"GET /pkarr/k HTTP/1.1\r\n\r\n", 25), 0);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK_EQ(rig.held_count, KITH_RELAY_PASS_MAX);
    KITH_CHECK_EQ(ask(&rig, "GET /pkarr/k"), 503);
    KITH_CHECK_EQ(COUNTED(&rig, http_passed_on_refused), 1);
    /* Their end leaves room. */
    world_pass(&rig.world, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(status(&peers[7]), 504);
    rig.holds = false;
    KITH_CHECK_EQ(ask(&rig, "GET /pkarr/k"), 201);
    for (size_t i = 0; i < KITH_RELAY_PASS_MAX; i++)
        peer_dispose(&peers[i]);
    rig_close(&rig);
}

KITH_TEST(pass_finishes_what_is_under_way_when_the_relay_drains)
{
    struct kith_relay_order *order;
    struct rig rig;
    struct peer peer = { 0 };

    rig_open_plain(&rig);
    rig.holds = true;
    client_open(&rig, &peer);
    client_say(&rig, &peer, "GET /pkarr/k", "", "");
    order = kith__relay_order_new(rig.mem, KITH_RELAY_ORDER_DRAIN);
    KITH_CHECK(order != NULL);
    kith__relay_worker_order(rig.worker, order);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK(!kith__relay_worker_is_drained(rig.worker));
    KITH_CHECK_EQ(rig.held_count, 1);
    answer(&rig, rig.held[0], true);
    world_run(&rig.world, &peer.is_ended);
    KITH_CHECK(status(&peer) == 201 && has(&peer, "connection: close\r\n"));
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK(kith__relay_worker_is_drained(rig.worker));
    peer_dispose(&peer);
    rig_close(&rig);
}

KITH_TEST(pass_ends_with_requests_under_way)
{
    struct rig rig;
    struct peer peer = { 0 };

    rig_open_plain(&rig);
    rig.holds = true;
    client_open(&rig, &peer);
    client_say(&rig, &peer, "GET /pkarr/k", "", "");
    KITH_CHECK_EQ(rig.held_count, 1);
    kith__relay_worker_free(rig.worker);
    rig.worker = NULL;
    world_run(&rig.world, &peer.is_ended);
    peer_dispose(&peer);
    rig_close(&rig);
}

KITH_TEST(pass_survives_every_failed_allocation)
{
    bool was_fine = false;

    for (uint64_t n = 1; !was_fine; n++) {
        struct kith_link_events events;
        struct kith_dial_options dial = { .host = "relay.test" };
        struct kith_test_mem mem;
        struct rig rig;
        struct peer peer = { 0 };

        memset(&rig, 0, sizeof rig);
        kith__test_mem_init(&mem, 0);
        rig.mem = &mem.mem;
        world_open(&rig.world, WORLD_SIM, &mem.mem, 0);
        KITH_CHECK_EQ(open_behind(&rig), 0);
        KITH_CHECK_EQ(open_relay(&rig, KITH_RELAY_DOOR_PLAIN), 0);
        events = peer_events(&peer);
        dial.rt = rig.world.client;
        dial.port = rig.at.port;
        KITH_CHECK_EQ(kith__link_dial(&dial, &events, &peer.link), 0);
        world_run(&rig.world, &peer.is_open_told);
        mem.fail_at = mem.calls + n;
        if (kith__link_write(peer.link, (const uint8_t *)"GET /pkarr/k HTTP/1.1\r\n\r\n", 25) == 0)
            world_pass(&rig.world, 20 * KITH_NS_PER_S);
        was_fine = mem.calls < mem.fail_at;
        KITH_CHECK(was_fine ? status(&peer) == 201 : peer.is_ended || status(&peer) >= 201);
        peer_dispose(&peer);
        rig_close(&rig);
        KITH_CHECK_EQ(mem.live, 0);
        KITH_CHECK(n < 500);
    }
}
