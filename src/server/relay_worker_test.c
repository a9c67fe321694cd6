/* A worker over simulated TCP, plain and with TLS: pages, upgrade, proof, limits, access, the end, and every failed allocation. */
#include "server/relay_worker.h"

#include "http/websocket.h"
#include "link/dial.h"
#include "link/world.h"
#include "relay/handshake.h"
#include "server/relay_setup.h"

#include <stdio.h>
#include <time.h>

enum { KINDS = 2 };
static const int kinds[KINDS] = { WORLD_SIM | WORLD_PLAIN, WORLD_SIM | WORLD_TLS };

/** A relay with one worker, and a client machine. */
struct rig {
    struct world world;
    const struct kith_mem *mem;
    struct kith_relay_shared shared;
    struct kith_relay_routes routes;
    struct kith_relay_worker *worker;
    struct kith_sockaddr at;
    struct kith_relay_told told; /* the last one */
    unsigned told_count;
    bool tells;
};

static bool on_told(void *ctx, const struct kith_relay_told *told)
{
    struct rig *rig = ctx;

    rig->told = *told;
    rig->told_count++;
    return rig->tells;
}

static int rig_start(struct rig *rig, int kind)
{
    static const struct kith_relay_admission_limits no_limits = { .connections_max = 100 };
    struct kith_relay_worker_options options = { .rt = rig->world.server,
                                                 .mem = rig->mem,
                                                 .shared = &rig->shared,
                                                 .routes = &rig->routes,
                                                 .tell = on_told,
                                                 .ctx = rig };
    struct kith_relay_order *order;
    int err;

    if ((err = kith__relay_shared_init(&rig->shared, rig->mem, NULL, 1)) != 0)
        return err;
    rig->shared.version = "1.2.3";
    if ((err = kith__relay_admission_new(rig->mem, NULL, &no_limits, 1, &rig->shared.admission)) != 0 ||
        (err = kith__relay_routes_local_new(rig->mem, 1, &rig->routes)) != 0 ||
        (err = kith__relay_worker_new(&options, &rig->worker)) != 0)
        return err;
    if (kind & WORLD_TLS) {
        if ((order = kith__relay_order_new(rig->mem, KITH_RELAY_ORDER_TLS)) == NULL)
            return KITH_ERR_NOMEM;
        order->tls = kith__tls_stream_context_retain(rig->world.server_tls);
        kith__relay_worker_order(rig->worker, order);
        kith__relay_worker_settle(rig->worker);
    }
    return kith__relay_worker_listen(rig->worker, kind & WORLD_TLS ? KITH_RELAY_DOOR_TLS : KITH_RELAY_DOOR_PLAIN,
                                     &rig->world.at, false, &rig->at);
}

static void rig_stop(struct rig *rig)
{
    kith__relay_worker_free(rig->worker);
    kith__relay_routes_free(&rig->routes);
    kith__relay_shared_dispose(&rig->shared);
}

static void rig_open(struct rig *rig, int kind)
{
    memset(rig, 0, sizeof *rig);
    rig->mem = kith_mem_default();
    rig->tells = true;
    world_open(&rig->world, kind, NULL, (uint64_t)time(NULL));
    KITH_CHECK_EQ(rig_start(rig, kind), 0);
}

static void rig_close(struct rig *rig)
{
    rig_stop(rig);
    world_close(&rig->world);
}

static void access_is(struct rig *rig, enum kith_relay_access_mode mode, struct kith_relay_ask_rules *ask)
{
    struct kith_relay_order *order = kith__relay_order_new(rig->mem, KITH_RELAY_ORDER_ACCESS);
    struct kith_relay_access_options options = { .mode = mode };

    KITH_CHECK(order != NULL);
    KITH_CHECK_EQ(kith__relay_access_new(rig->mem, &options, &order->access), 0);
    order->ask = ask;
    kith__relay_worker_order(rig->worker, order);
    kith__relay_worker_settle(rig->worker);
}

/* ---- A client by hand ---- */

static void dial(struct rig *rig, struct peer *peer)
{
    struct kith_link_events events = peer_events(peer);
    const struct kith_dial_options options = {
        .rt = rig->world.client, .host = "relay.test", .port = rig->at.port, .tls = rig->world.client_tls
    };

    KITH_CHECK_EQ(kith__link_dial(&options, &events, &peer->link), 0);
}

static void dial_open(struct rig *rig, struct peer *peer)
{
    dial(rig, peer);
    world_run(&rig->world, &peer->is_open_told);
    KITH_CHECK_EQ(peer->open_err, 0);
}

static void say(struct rig *rig, struct peer *peer, const void *bytes, size_t size)
{
    peer->is_written = false;
    KITH_CHECK_EQ(kith__link_write(peer->link, bytes, size), 0);
    world_run(&rig->world, &peer->is_written);
}

static void wait_size(struct rig *rig, struct peer *peer, size_t size)
{
    peer->wanted = size;
    peer->has_wanted = peer->got.size >= size;
    world_run(&rig->world, &peer->has_wanted);
}

static bool has(const struct peer *peer, const char *text)
{
    size_t size = strlen(text);

    for (size_t i = 0; i + size <= peer->got.size; i++)
        if (memcmp(peer->got.ptr + i, text, size) == 0)
            return true;
    return false;
}

static void ask_for(struct rig *rig, struct peer *peer, const char *path, const char *more)
{
    char request[512];

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: relay.test\r\n%s\r\n", path, more);
    say(rig, peer, request, strlen(request));
}

static const char upgrade_lines[] = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                    "Sec-WebSocket-Key: VOmccEbJU7s1HAm9ouc17g==\r\n"
                                    "Sec-WebSocket-Protocol: iroh-relay-v2, iroh-relay-v1\r\n";

/* The bytes behind the head of the 101, once `size` of them are there. */
static const uint8_t *after_head(struct rig *rig, struct peer *peer, size_t size)
{
    static const char end[] = "\r\n\r\n";

    for (;;) {
        for (size_t i = 0; i + 4 <= peer->got.size; i++) {
            if (memcmp(peer->got.ptr + i, end, 4) != 0)
                continue;
            wait_size(rig, peer, i + 4 + size);
            return peer->got.ptr + i + 4;
        }
        wait_size(rig, peer, peer->got.size + 1);
    }
}

static void send_frame(struct rig *rig, struct peer *peer, const uint8_t *frame, size_t size)
{
    static const uint8_t mask[4] = { 1, 2, 3, 4 };
    uint8_t out[KITH_WS_FRAME_HEAD_MAX + 256];
    size_t head = kith__ws_frame_write(out, KITH_WS_BINARY, mask, size);

    memcpy(out + head, frame, size);
    kith__ws_mask(out + head, size, mask, 0);
    say(rig, peer, out, head + size);
}

static struct kith_keypair pair_of(uint8_t number)
{
    struct kith_secret secret = { { number } };
    struct kith_keypair pair;

    kith__keypair_init(&pair, &secret);
    return pair;
}

/* Upgrades and answers the challenge; the verdict is what comes behind the 101 and the challenge. */
static void prove(struct rig *rig, struct peer *peer, const struct kith_keypair *pair)
{
    uint8_t answer[KITH_RELAY_CLIENT_AUTH_SIZE];
    const uint8_t *frames;

    ask_for(rig, peer, "/relay", upgrade_lines);
    frames = after_head(rig, peer, 19);
    KITH_CHECK(has(peer, "HTTP/1.1 101 ") && has(peer, "sec-websocket-protocol: iroh-relay-v2\r\n"));
    KITH_CHECK(frames[0] == 0x82 && frames[1] == 17 && frames[2] == 0);
    kith__relay_client_auth_write(pair, frames + 3, answer);
    send_frame(rig, peer, answer, sizeof answer);
}

static void connect_client(struct rig *rig, struct peer *peer, const struct kith_keypair *pair)
{
    const uint8_t *frames;

    dial_open(rig, peer);
    prove(rig, peer, pair);
    frames = after_head(rig, peer, 19 + 3);
    KITH_CHECK(frames[19] == 0x82 && frames[20] == 1 && frames[21] == 2);
}

/* ---- Tests ---- */

KITH_TEST(worker_answers_pages_one_after_the_other)
{
    for (int i = 0; i < KINDS; i++) {
        struct rig rig;
        struct peer peer = { 0 };

        rig_open(&rig, kinds[i]);
        dial_open(&rig, &peer);
        ask_for(&rig, &peer, "/ping", "");
        wait_size(&rig, &peer, 1);
        KITH_CHECK(has(&peer, "HTTP/1.1 200 OK\r\n") && has(&peer, "access-control-allow-origin: *\r\n"));
        peer.got.size = 0;
        ask_for(&rig, &peer, "/healthz", "");
        wait_size(&rig, &peer, 1);
        KITH_CHECK(has(&peer, "\"version\":\"1.2.3\""));
        peer.got.size = 0;
        ask_for(&rig, &peer, "/nothing", "Connection: close\r\n");
        world_run(&rig.world, &peer.is_ended);
        KITH_CHECK(has(&peer, "HTTP/1.1 404 Not Found\r\n") && has(&peer, "connection: close\r\n"));
        peer_dispose(&peer);
        rig_close(&rig);
    }
}

KITH_TEST(worker_proves_clients_and_carries_their_frames)
{
    for (int i = 0; i < KINDS; i++) {
        struct kith_keypair a = pair_of(1), b = pair_of(2);
        struct rig rig;
        struct peer from = { 0 }, to = { 0 };
        uint8_t frame[1 + 32 + 1 + 5] = { 4 };
        const uint8_t *frames;

        rig_open(&rig, kinds[i]);
        connect_client(&rig, &from, &a);
        connect_client(&rig, &to, &b);
        KITH_CHECK_EQ(rig.told.kind, KITH_RELAY_EVENT_READY);
        KITH_CHECK_BYTES(rig.told.id.bytes, b.id.bytes, KITH_ID_SIZE);
        KITH_CHECK_EQ(KITH_RELAY_GAUGE(&rig.shared, clients), 2);
        memcpy(frame + 1, b.id.bytes, 32);
        memcpy(frame + 34, "hello", 5);
        send_frame(&rig, &from, frame, sizeof frame);
        frames = after_head(&rig, &to, 22 + 2 + sizeof frame) + 22;
        KITH_CHECK(frames[1] == sizeof frame && frames[2] == 6);
        KITH_CHECK_BYTES(frames + 3, a.id.bytes, 32);
        KITH_CHECK_BYTES(frames + 2 + 34, "hello", 5);
        KITH_CHECK_EQ(rig.told_count, 2);
        peer_dispose(&from); /* without a word */
        world_pass(&rig.world, KITH_NS_PER_S);
        KITH_CHECK_EQ(KITH_RELAY_GAUGE(&rig.shared, clients), 1);
        KITH_CHECK_EQ(rig.told_count, 3);
        KITH_CHECK_EQ(rig.told.kind, KITH_RELAY_EVENT_ENDED);
        KITH_CHECK_BYTES(rig.told.id.bytes, a.id.bytes, KITH_ID_SIZE);
        peer_dispose(&to);
        rig_close(&rig);
    }
}

KITH_TEST(worker_takes_the_proof_of_the_tls_session_without_a_challenge)
{
    struct kith_keypair pair = pair_of(3);
    struct kith_slice label = kith__http_text(KITH_RELAY_EXPORT_LABEL);
    struct rig rig;
    struct peer peer = { 0 };
    uint8_t exported[KITH_RELAY_EXPORT_SIZE];
    char value[KITH_RELAY_AUTH_HEADER_SIZE + 1], lines[768];
    const uint8_t *frames;

    rig_open(&rig, WORLD_SIM | WORLD_TLS);
    dial_open(&rig, &peer);
    KITH_CHECK_EQ(kith__link_export(peer.link, label, (struct kith_slice) { pair.id.bytes, KITH_ID_SIZE }, exported,
                                    sizeof exported),
                  0);
    kith__relay_auth_header_make(&pair, exported, value);
    snprintf(lines, sizeof lines, "GET /relay HTTP/1.1\r\nHost: x\r\n%s%s: %s\r\n\r\n", upgrade_lines,
             KITH_RELAY_AUTH_HEADER, value);
    say(&rig, &peer, lines, strlen(lines));
    frames = after_head(&rig, &peer, 3);
    KITH_CHECK(frames[0] == 0x82 && frames[1] == 1 && frames[2] == 2);
    peer_dispose(&peer);
    rig_close(&rig);
}

KITH_TEST(worker_ends_whoever_takes_too_long)
{
    for (int i = 0; i < KINDS; i++) {
        struct rig rig;
        struct peer silent = { 0 }, slow = { 0 }, idle = { 0 }, half = { 0 };
        uint64_t began;

        rig_open(&rig, kinds[i]);
        began = kith__sim_now(rig.world.sim);
        dial_open(&rig, &silent);
        dial_open(&rig, &slow);
        dial_open(&rig, &idle);
        dial_open(&rig, &half);
        ask_for(&rig, &idle, "/ping", "");
        ask_for(&rig, &half, "/relay", upgrade_lines);
        for (int s = 0; s < 28; s++) {
            say(&rig, &slow, &"GET /ping HTTP/1.1\r\n"[s % 20], 1);
            world_pass(&rig.world, KITH_NS_PER_S);
        }
        KITH_CHECK(!silent.is_ended && !slow.is_ended && !idle.is_ended && !half.is_ended);
        world_run(&rig.world, &silent.is_ended);
        world_run(&rig.world, &slow.is_ended);
        world_run(&rig.world, &idle.is_ended);
        world_run(&rig.world, &half.is_ended);
        KITH_CHECK(kith__sim_now(rig.world.sim) < began + 34 * KITH_NS_PER_S);
        world_pass(&rig.world, 2 * KITH_NS_PER_S); /* last words have their time */
        KITH_CHECK_EQ(kith__relay_admission_stats(rig.shared.admission).connections, 0);
        peer_dispose(&silent);
        peer_dispose(&slow);
        peer_dispose(&idle);
        peer_dispose(&half);
        rig_close(&rig);
    }
}

KITH_TEST(worker_asks_the_program_and_does_what_it_says)
{
    for (int is_allowed = 0; is_allowed < 2; is_allowed++) {
        struct kith_keypair pair = pair_of(4);
        struct kith_relay_order *order;
        struct rig rig;
        struct peer peer = { 0 };
        const uint8_t *frames;

        rig_open(&rig, WORLD_SIM);
        access_is(&rig, KITH_RELAY_ACCESS_ASK, NULL);
        dial_open(&rig, &peer);
        prove(&rig, &peer, &pair);
        world_pass(&rig.world, KITH_NS_PER_S);
        KITH_CHECK_EQ(rig.told_count, 1);
        KITH_CHECK_EQ(rig.told.kind, KITH_RELAY_EVENT_ACCESS);
        order = kith__relay_order_new(rig.mem, KITH_RELAY_ORDER_ANSWER);
        KITH_CHECK(order != NULL);
        order->handle = rig.told.handle;
        order->is_allowed = is_allowed != 0;
        strcpy(order->reason, "go away");
        kith__relay_worker_order(rig.worker, order);
        frames = after_head(&rig, &peer, 19 + (is_allowed ? 3 : 11)) + 19;
        if (is_allowed)
            KITH_CHECK_BYTES(frames, "\x82\x01\x02", 3);
        else
            KITH_CHECK_BYTES(frames, "\x82\x09\x03\x07go away", 11);
        peer_dispose(&peer);
        rig_close(&rig);
    }
}

/* An access callback on the client's machine. */
static void on_question(void *ctx, struct kith_httpd_conn *conn, const struct kith_http_head *head, int tag)
{
    struct kith_httpd_reply reply = { .status = 200, .body = kith__http_text("true") };
    const struct kith_http_header *header = kith__http_header(head, "x-iroh-endpoint-id");

    (void)tag;
    KITH_CHECK(header != NULL && header->value.size == 64 && kith__http_is(head->method, "POST"));
    KITH_CHECK(kith__http_is(kith__http_header(head, "authorization")->value, "Bearer b"));
    ++*(unsigned *)ctx;
    KITH_CHECK_EQ(kith__httpd_reply(conn, &reply), 0);
}

KITH_TEST(worker_asks_over_http)
{
    struct kith_keypair pair = pair_of(5);
    struct kith_relay_ask_rules *rules;
    struct kith_httpd *httpd;
    struct kith_sockaddr at, bound;
    struct rig rig;
    struct peer peer = { 0 };
    unsigned asked = 0;
    char url[64];

    rig_open(&rig, WORLD_SIM);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &at), 0);
    KITH_CHECK_EQ(kith__httpd_new(
                      &(struct kith_httpd_options) {
                          .rt = rig.world.client, .mem = rig.mem, .on_request = on_question, .ctx = &asked },
                      &httpd),
                  0);
    KITH_CHECK_EQ(kith__httpd_listen(httpd, &(struct kith_httpd_listen) { .at = at }, &bound), 0);
    snprintf(url, sizeof url, "http://10.0.0.1:%u/allow", bound.port);
    KITH_CHECK_EQ(kith__relay_ask_rules_new(rig.mem, url, "b", NULL, &rules), 0);
    access_is(&rig, KITH_RELAY_ACCESS_ASK, rules);
    connect_client(&rig, &peer, &pair);
    KITH_CHECK_EQ(asked, 1);
    peer_dispose(&peer);
    kith__httpd_free(httpd);
    rig_close(&rig);
}

KITH_TEST(worker_drains_in_order)
{
    for (int i = 0; i < KINDS; i++) {
        struct kith_keypair pair = pair_of(6);
        struct kith_relay_order *order;
        struct rig rig;
        struct peer peer = { 0 }, late = { 0 };
        const uint8_t *frames;

        rig_open(&rig, kinds[i]);
        connect_client(&rig, &peer, &pair);
        order = kith__relay_order_new(rig.mem, KITH_RELAY_ORDER_DRAIN);
        KITH_CHECK(order != NULL);
        order->spread_ns = KITH_NS_PER_S;
        order->try_for_ns = 60 * KITH_NS_PER_S;
        kith__relay_worker_order(rig.worker, order);
        frames = after_head(&rig, &peer, 22 + 11 + 4) + 22;
        KITH_CHECK(frames[0] == 0x82 && frames[1] == 9 && frames[2] == 12);
        KITH_CHECK(frames[11] == 0x88 && frames[13] == 1012 >> 8 && frames[14] == (1012 & 255));
        world_run(&rig.world, &peer.is_ended);
        world_pass(&rig.world, 2 * KITH_NS_PER_S);
        KITH_CHECK(kith__relay_worker_is_drained(rig.worker));
        dial(&rig, &late);
        world_run(&rig.world, &late.is_open_told);
        KITH_CHECK_NE(late.open_err, 0);
        peer_dispose(&peer);
        peer_dispose(&late);
        rig_close(&rig);
    }
}

/* What may happen to a client when the relay has no memory: anything but a crash or a leak. */
static void live_through(struct rig *rig, struct peer *peer)
{
    struct kith_keypair pair = pair_of(7);
    char request[512];
    uint8_t bytes[200];

    dial(rig, peer);
    world_pass(&rig->world, KITH_NS_PER_S);
    if (!peer->is_open_told || peer->open_err != 0 || peer->is_ended)
        return;
    snprintf(request, sizeof request, "GET /ping HTTP/1.1\r\n\r\nGET /relay HTTP/1.1\r\n%s\r\n", upgrade_lines);
    if (kith__link_write(peer->link, (const uint8_t *)request, strlen(request)) != 0)
        return;
    world_pass(&rig->world, KITH_NS_PER_S);
    if (peer->is_ended || peer->got.size < 19 || !has(peer, "101 "))
        return;
    kith__relay_client_auth_write(&pair, peer->got.ptr + peer->got.size - 16, bytes + 6);
    memcpy(bytes, "\x82\xe2\0\0\0\0", 6);
    if (kith__link_write(peer->link, bytes, 6 + KITH_RELAY_CLIENT_AUTH_SIZE) == 0)
        world_pass(&rig->world, KITH_NS_PER_S);
}

KITH_TEST(worker_survives_every_failed_allocation)
{
    bool was_fine = false;

    for (uint64_t n = 1; !was_fine; n++) {
        struct kith_test_mem mem;
        struct rig rig = { .tells = true };
        struct peer peer = { 0 };

        kith__test_mem_init(&mem, n);
        rig.mem = &mem.mem;
        world_open(&rig.world, WORLD_SIM, NULL, 0);
        if (rig_start(&rig, WORLD_SIM) == 0) {
            live_through(&rig, &peer);
            was_fine = mem.calls < n;
            KITH_CHECK(!was_fine || rig.told.kind == KITH_RELAY_EVENT_READY);
        }
        peer_dispose(&peer);
        rig_close(&rig);
        KITH_CHECK_EQ(mem.live, 0);
        KITH_CHECK(n < 2000);
    }
}
