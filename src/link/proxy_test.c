/* Proxies: their text, and tunnels through one, in the simulated world. */
#include "http/head.h"
#include "link/dial.h"
#include "link/world.h"

#include <stdio.h>
#include <time.h>

/* ---- Text ---- */

KITH_TEST(proxy_text_is_read_in_every_form)
{
    static const struct {
        const char *text, *host, *credentials;
        uint16_t port;
        bool is_tls;
    } cases[] = {
        { "http://proxy.test:3128", "proxy.test", "", 3128, false },
        { "http://proxy.test", "proxy.test", "", 80, false },
        { "https://Proxy.Test/", "proxy.test", "", 443, true },
        { "proxy.test:8080", "proxy.test", "", 8080, false },
        { "proxy.test", "proxy.test", "", 80, false },
        { "http://u:p%40ss%2Bw+rd@proxy.test:1/path?x", "proxy.test", "u:p@ss+w+rd", 1, false },
        { "http://user@proxy.test", "proxy.test", "user:", 80, false },
        { "u:p@10.0.0.1:1", "10.0.0.1", "u:p", 1, false },
        { "http://[::1]:3128", "::1", "", 3128, false },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_proxy proxy;

        KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), cases[i].text, NULL, &proxy), 0);
        KITH_CHECK_STR(proxy.host, cases[i].host);
        KITH_CHECK_STR(proxy.credentials, cases[i].credentials);
        KITH_CHECK_EQ(proxy.port, cases[i].port);
        KITH_CHECK_EQ(proxy.is_tls, cases[i].is_tls);
    }
}

KITH_TEST(proxy_text_that_is_none_is_refused)
{
    static char long_text[3000];
    struct kith_proxy proxy;

    KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), "socks5://proxy.test", NULL, &proxy), KITH_ERR_UNSUPPORTED);
    KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), "", NULL, &proxy), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), "http://proxy.test:99999", NULL, &proxy), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), "http://proxy.test:0", NULL, &proxy), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), "http://u%00:p@proxy.test", NULL, &proxy), KITH_ERR_PARSE);
    memset(long_text, 'u', 600);
    strcpy(long_text + 600, "@proxy.test");
    KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), long_text, NULL, &proxy), KITH_ERR_TOO_LARGE);
    memset(long_text, 'u', sizeof long_text - 1);
    KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), long_text, NULL, &proxy), KITH_ERR_TOO_LARGE);
}

KITH_TEST(proxy_is_for_all_but_its_exceptions)
{
    static const struct {
        const char *except, *host;
        uint16_t port;
        bool is_for;
    } cases[] = {
        { "", "relay.test", 443, true },
        { "*", "relay.test", 443, false },
        { "relay.test", "relay.test", 443, false },
        { "relay.test", "Relay.Test", 443, false },
        { "RELAY.test", "a.relay.test.", 443, false },
        { ".relay.test", "relay.test", 443, false },
        { "*.relay.test", "a.relay.test", 443, false },
        { "relay.test", "otherrelay.test", 443, true },
        { "relay.test", "relay.test.example", 443, true },
        { "relay.test", "test", 443, true },
        { "a.test, b.test\tc.test,,d.test", "c.test", 443, false },
        { "a.test, b.test\tc.test,,d.test", "d.test", 443, false },
        { "a.test, b.test\tc.test,,d.test", "e.test", 443, true },
        { "relay.test:443", "relay.test", 443, false },
        { "relay.test:443", "relay.test", 80, true },
        { "relay.test:", "relay.test", 443, true },
        { "relay.test:4430000000000", "relay.test", 443, true },
        { "192.0.2.1", "192.0.2.1", 443, false },
        { "192.0.2.1:80", "192.0.2.1", 443, true },
        { "10.0.0.0/8", "10.9.8.7", 443, false },
        { "10.0.0.0/8", "11.9.8.7", 443, true },
        { "10.0.0.0/8", "ten.test", 443, true },
        { "::1", "::1", 443, false },
        { "[::1]:443", "::1", 443, false },
        { "[::1]:80", "::1", 443, true },
        { "fc00::/7", "fd00::5", 443, false },
        { "[", "relay.test", 443, true },
        { ".", "relay.test", 443, true },
        { ",", "relay.test", 443, true },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_proxy proxy;

        KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), "proxy.test:1", cases[i].except, &proxy), 0);
        KITH_CHECK_EQ(kith__proxy_is_for(&proxy, cases[i].host, cases[i].port), cases[i].is_for);
    }
}

/* ---- Tunnels ---- */

enum { PIPE_SIZE = KITH_RT_STREAM_READ_MAX };

/** A proxy for one connection: it answers what it is told to, and after a 200 passes bytes to and fro. */
struct proxy {
    struct world *world;
    struct kith_rt_listener *listener;
    struct kith_tls_stream_context *tls;
    struct kith_link *client, *target;
    struct kith_buf request;
    const char *answer; /* NULL: it closes */
    uint16_t target_port;
    bool is_tunnel, is_full;
    uint8_t to_target[PIPE_SIZE], to_client[PIPE_SIZE];
};

static void pass(struct kith_link *from, struct kith_link *to, uint8_t *held, const uint8_t *bytes, size_t size)
{
    memcpy(held, bytes, size);
    kith__link_read_pause(from);
    KITH_CHECK_EQ(kith__link_write(to, held, size), 0);
}

static void target_open(void *ctx, int err, const char *why)
{
    struct proxy *proxy = ctx;

    (void)why;
    KITH_CHECK_EQ(err, 0);
    proxy->is_tunnel = true;
    KITH_CHECK_EQ(kith__link_write(proxy->client, (const uint8_t *)proxy->answer, strlen(proxy->answer)), 0);
}

static void target_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct proxy *proxy = ctx;

    pass(proxy->target, proxy->client, proxy->to_client, bytes, size);
}

static void target_end(void *ctx, int err)
{
    struct proxy *proxy = ctx;

    (void)err;
    kith__link_finish(proxy->client, 0);
    proxy->client = NULL;
}

static void target_writable(void *ctx, int err)
{
    struct proxy *proxy = ctx;

    (void)err;
    if (proxy->client != NULL)
        kith__link_read_resume(proxy->client);
}

static void client_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct proxy *proxy = ctx;
    const struct kith_link_events events = { .on_open = target_open,
                                             .on_data = target_data,
                                             .on_end = target_end,
                                             .on_writable = target_writable,
                                             .ctx = proxy };

    if (proxy->is_tunnel) {
        pass(proxy->client, proxy->target, proxy->to_target, bytes, size);
        return;
    }
    KITH_CHECK_EQ(kith__buf_append(&proxy->request, bytes, size), 0);
    if (proxy->request.size < 4 || memcmp(proxy->request.ptr + proxy->request.size - 4, "\r\n\r\n", 4) != 0)
        return;
    proxy->is_full = true;
    if (proxy->answer == NULL) {
        kith__link_close(proxy->client);
        proxy->client = NULL;
    } else if (strncmp(proxy->answer, "HTTP/1.1 2", 10) == 0) {
        KITH_CHECK_EQ(kith__link_dial(&(struct kith_dial_options) { .rt = proxy->world->server,
                                                                    .host = "relay.test",
                                                                    .port = proxy->target_port },
                                      &events, &proxy->target),
                      0);
    } else {
        KITH_CHECK_EQ(kith__link_write(proxy->client, (const uint8_t *)proxy->answer, strlen(proxy->answer)), 0);
    }
}

static void client_writable(void *ctx, int err)
{
    struct proxy *proxy = ctx;

    (void)err;
    if (proxy->target != NULL)
        kith__link_read_resume(proxy->target);
}

static void client_end(void *ctx, int err)
{
    struct proxy *proxy = ctx;

    (void)err;
    if (proxy->target != NULL)
        kith__link_finish(proxy->target, 0);
    proxy->target = NULL;
}

static void proxy_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct proxy *proxy = ctx;
    const struct kith_link_events events = {
        .on_data = client_data, .on_end = client_end, .on_writable = client_writable, .ctx = proxy
    };

    KITH_CHECK_EQ(kith__link_accept(proxy->world->server, stream, proxy->tls, &events, &proxy->client), 0);
}

struct fixture {
    struct world world;
    struct acceptor acceptor;
    struct peer client, server;
    struct proxy proxy;
};

static void fixture_open(struct fixture *f, int kind, bool is_proxy_tls, const char *answer)
{
    struct kith_rt_stream_addr at;

    memset(f, 0, sizeof *f);
    world_open(&f->world, WORLD_TLS, NULL, (uint64_t)time(NULL));
    f->proxy.world = &f->world;
    f->proxy.answer = answer;
    f->proxy.tls = is_proxy_tls ? kith__tls_stream_context_retain(f->world.server_tls) : NULL;
    if (kind == WORLD_PLAIN) {
        kith__tls_stream_context_release(f->world.server_tls);
        f->world.server_tls = NULL;
    }
    kith__buf_init(&f->proxy.request, kith_mem_default());
    KITH_CHECK_EQ(acceptor_open(&f->acceptor, &f->world, &f->server, 1), 0);
    f->proxy.target_port = kith__rt_listener_local(f->acceptor.listener).port;
    at = (struct kith_rt_stream_addr) { .ip = f->world.at };
    at.ip.port = 3128;
    KITH_CHECK_EQ(kith__rt_listen(f->world.server, &at, proxy_accept, &f->proxy, &f->proxy.listener), 0);
}

static void fixture_close(struct fixture *f)
{
    peer_dispose(&f->client);
    peer_dispose(&f->server);
    world_pass(&f->world, 5 * KITH_NS_PER_S);
    kith__link_close(f->proxy.client);
    kith__link_close(f->proxy.target);
    kith__buf_dispose(&f->proxy.request);
    kith__tls_stream_context_release(f->proxy.tls);
    kith__rt_listener_close(f->proxy.listener);
    kith__rt_listener_close(f->acceptor.listener);
    world_close(&f->world);
}

/** Dials target.test through the proxy; on_open's error. */
static int dial(struct fixture *f, int kind, const char *proxy_text, uint64_t limit_ns)
{
    struct kith_link_events events = peer_events(&f->client);
    struct kith_proxy proxy;
    const struct kith_dial_options options = {
        .rt = f->world.client,
        .host = "target.test", /* known to nobody but the proxy */
        .port = 8443,
        .tls = kind == WORLD_TLS ? f->world.client_tls : NULL,
        .server_name = "relay.test",
        .proxy = &proxy,
        .proxy_tls = f->world.client_tls,
        .limit_ns = limit_ns,
    };

    KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), proxy_text, NULL, &proxy), 0);
    KITH_CHECK_EQ(kith__link_dial(&options, &events, &f->client.link), 0);
    world_run(&f->world, &f->client.is_open_told);
    return f->client.open_err;
}

#define FINE "HTTP/1.1 200 Connection established\r\n\r\n"

KITH_TEST(proxy_tunnels_carry_plain_and_tls_inside_plain_and_tls)
{
    static uint8_t big[1 << 20];

    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7 + i / 253);
    for (int kind = WORLD_PLAIN; kind <= WORLD_TLS; kind += WORLD_TLS)
        for (int is_proxy_tls = 0; is_proxy_tls < 2; is_proxy_tls++) {
            struct fixture f;

            fixture_open(&f, kind, is_proxy_tls, FINE);
            KITH_CHECK_EQ(dial(&f, kind, is_proxy_tls ? "https://relay.test:3128" : "http://relay.test:3128", 0), 0);
            KITH_CHECK_EQ(kith__link_is_tls(f.client.link), kind == WORLD_TLS);
            KITH_CHECK_EQ(kith__link_remote(f.client.link).port, 3128);
            KITH_CHECK_EQ(kith__link_write(f.client.link, big, sizeof big), 0);
            f.server.wanted = sizeof big;
            world_run(&f.world, &f.server.has_wanted);
            KITH_CHECK_BYTES(f.server.got.ptr, big, sizeof big);
            KITH_CHECK_EQ(kith__link_write(f.server.link, big, sizeof big), 0);
            kith__link_finish(f.server.link, 0);
            world_run(&f.world, &f.client.is_ended);
            KITH_CHECK_EQ(f.client.end_err, 0);
            KITH_CHECK_EQ(f.client.got.size, sizeof big);
            KITH_CHECK_BYTES(f.client.got.ptr, big, sizeof big);
            kith__link_finish(f.client.link, 0);
            world_run(&f.world, &f.client.is_closed);
            fixture_close(&f);
        }
}

KITH_TEST(proxy_is_asked_as_the_standard_says)
{
    static const char wanted[] =
        "CONNECT target.test:8443 HTTP/1.1\r\nHost: target.test\r\nProxy-Connection: Keep-Alive\r\n"
        "Proxy-Authorization: Basic dTrDv8O/w78+Pz4=\r\n\r\n";
    struct fixture f;

    fixture_open(&f, WORLD_PLAIN, false, FINE);
    KITH_CHECK_EQ(dial(&f, WORLD_PLAIN, "http://u:%C3%BF%C3%BF%C3%BF>%3F>@relay.test:3128", 0), 0);
    KITH_CHECK_EQ(f.proxy.request.size, sizeof wanted - 1);
    KITH_CHECK_BYTES(f.proxy.request.ptr, wanted, sizeof wanted - 1);
    fixture_close(&f);
}

KITH_TEST(proxy_may_send_bytes_of_the_target_with_its_answer)
{
    struct fixture f;

    fixture_open(&f, WORLD_PLAIN, false, FINE "hello");
    KITH_CHECK_EQ(dial(&f, WORLD_PLAIN, "http://relay.test:3128", 0), 0);
    KITH_CHECK_EQ(f.client.got.size, 5);
    KITH_CHECK_BYTES(f.client.got.ptr, "hello", 5);
    fixture_close(&f);
}

KITH_TEST(proxy_that_does_not_connect_is_explained)
{
    static const struct {
        const char *proxy, *answer, *says;
        int err;
    } cases[] = {
        { "http://relay.test:3128", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
          "the proxy relay.test:3128 wants a user name and password", KITH_ERR_PERMISSION },
        { "http://u:p@relay.test:3128", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
          "does not accept the user name and password", KITH_ERR_PERMISSION },
        { "http://relay.test:3128", "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!\n",
          "does not connect to target.test:8443: it answers 403 Forbidden", KITH_ERR_REFUSED },
        { "http://relay.test:3128", "SSH-2.0-OpenSSH_9.2\r\n", "what answers at relay.test:3128 is no HTTP proxy",
          KITH_ERR_PARSE },
        { "http://relay.test:3128", NULL, "the proxy relay.test:3128 closed the connection", KITH_ERR_CLOSED_BY_PEER },
        { "http://relay.test:3128", "HTTP/1.1 2", "waiting for the proxy's answer", KITH_ERR_TIMEOUT },
        { "http://relay.test:3129", FINE, "the proxy relay.test:3129 refuses connections", KITH_ERR_REFUSED },
        { "http://nowhere.test:3128", FINE, "no address is known for the name nowhere.test", KITH_ERR_NOT_FOUND },
        { "https://relay.test:3128", FINE, "waiting for TLS to the proxy", KITH_ERR_TIMEOUT },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct fixture f;

        fixture_open(&f, WORLD_PLAIN, false, cases[i].answer);
        if (i == 5) /* the proxy's answer stops in the middle: no target is dialled */
            f.proxy.answer = "HTTP/1.";
        KITH_CHECK_EQ(dial(&f, WORLD_PLAIN, cases[i].proxy, 0), cases[i].err);
        if (strstr(f.client.why, cases[i].says) == NULL)
            printf("case %zu: %s\n", i, f.client.why);
        KITH_CHECK(strstr(f.client.why, cases[i].says) != NULL);
        fixture_close(&f);
    }
}

KITH_TEST(proxy_tunnel_can_be_given_up_at_any_time)
{
    for (uint64_t after_ms = 0; after_ms < 250; after_ms += 7) {
        struct kith_link_events events;
        struct kith_proxy proxy;
        struct fixture f;

        fixture_open(&f, WORLD_TLS, true, FINE);
        KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), "https://relay.test:3128", NULL, &proxy), 0);
        events = peer_events(&f.client);
        KITH_CHECK_EQ(kith__link_dial(&(struct kith_dial_options) { .rt = f.world.client,
                                                                    .host = "relay.test",
                                                                    .port = 8443,
                                                                    .tls = f.world.client_tls,
                                                                    .proxy = &proxy },
                                      &events, &f.client.link),
                      0);
        world_pass(&f.world, after_ms * KITH_NS_PER_MS);
        if (after_ms % 2 == 0)
            kith__link_close(f.client.link);
        else
            kith__link_finish(f.client.link, 0);
        f.client.link = NULL;
        world_pass(&f.world, 5 * KITH_NS_PER_S);
        KITH_CHECK_EQ(f.client.is_closed, after_ms % 2 == 1);
        fixture_close(&f);
    }
}

KITH_TEST(proxy_is_passed_by_for_its_exceptions)
{
    static const char *const excepts[] = { "other.test", "relay.test" };

    for (size_t i = 0; i < KITH_COUNT(excepts); i++) {
        struct fixture f;
        struct kith_link_events events;
        struct kith_proxy proxy;
        struct kith_dial_options options = { .host = "relay.test", .proxy = &proxy };

        fixture_open(&f, WORLD_PLAIN, false, "HTTP/1.1 403 No\r\n\r\n");
        events = peer_events(&f.client);
        options.rt = f.world.client;
        options.port = kith__rt_listener_local(f.acceptor.listener).port;
        KITH_CHECK_EQ(kith__proxy_parse(kith_mem_default(), "relay.test:3128", excepts[i], &proxy), 0);
        KITH_CHECK_EQ(kith__link_dial(&options, &events, &f.client.link), 0);
        world_run(&f.world, &f.client.is_open_told);
        KITH_CHECK_EQ(f.client.open_err, i == 0 ? KITH_ERR_REFUSED : 0);
        KITH_CHECK_EQ(f.proxy.request.size != 0, i == 0);
        fixture_close(&f);
    }
}
