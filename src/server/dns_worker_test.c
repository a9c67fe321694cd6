/* A lookup server's worker over simulated UDP and TCP, HTTP plain and with TLS: putting, getting, asking, limits, the end. */
#include "server/dns_worker.h"

#include "base/mem.h"
#include "codec/base32.h"
#include "codec/dns.h"
#include "crypto/sign.h"
#include "link/dial.h"
#include "link/world.h"
#include "lookup/pkarr.h"
#include "zone/store_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/** A server with one worker, a client machine, an endpoint's packet. */
struct rig {
    struct world world;
    const struct kith_mem *mem;
    struct kith_dns_shared shared;
    struct kith_dns_scribe *scribe;
    struct kith_dns_worker *worker;
    struct kith_sockaddr http, dns;
    struct kith_secret secret;
    struct kith_id id;
    char key[64];
    struct kith_rt_udp *udp;
    uint8_t got[2048]; /* the last datagram */
    size_t got_size;
    unsigned got_count;
    bool has_got;
    int ask_err; /* of the source beside the store; 0: there is none */
    struct kith_pkarr asked;
};

static void nobody(void *ctx)
{
    (void)ctx;
}

static void nobody_worker(void *ctx, unsigned worker)
{
    (void)ctx;
    (void)worker;
}

static int find(void *ctx, const struct kith_id *id, struct kith_pkarr *out)
{
    struct rig *rig = ctx;

    (void)id;
    if (rig->ask_err == 0)
        *out = rig->asked;
    return rig->ask_err;
}

static int rig_start(struct rig *rig, int kind, const struct kith_dns_limits *limits, bool asks)
{
    static const struct kith_dns_origin origin = { .name = "dns.test" };
    static const struct kith_dns_storage storage = { .evict_after_ns = 3600 * KITH_NS_PER_S };
    struct kith_store_memory_options memory = { .mem = rig->mem, .packets_max = 3 };
    struct kith_dns_worker_options options = {
        .rt = rig->world.server, .mem = rig->mem, .shared = &rig->shared, .runs_scribe = true
    };
    struct kith_dns_scribe_options scribe = { .shared = &rig->shared,
                                              .storage = &storage,
                                              .wake_scribe = nobody,
                                              .wake_worker = nobody_worker,
                                              .log = &rig->world.server->log };
    struct kith_zone_problem problem;
    struct kith_server_why why;
    struct kith_store *store = NULL;
    struct kith_dns_rules *rules = NULL;
    struct kith_zone *zone = NULL;
    int err;

    if ((err = kith__store_memory_new(&memory, &store)) != 0)
        return err;
    if ((err = kith__zone_new(rig->mem, &origin, 1, &zone, &problem)) != 0 ||
        (err = kith__dns_rules_new(rig->mem, limits, 1, &rules, &why)) != 0) {
        kith__zone_release(zone);
        store->ops->free(store);
        return err;
    }
    if ((err = kith__dns_shared_init(&rig->shared, rig->mem, NULL, 1, store, zone, rules)) != 0)
        return err;
    rig->shared.version = "1.2.3";
    if (asks)
        options.ask = (struct kith_dns_ask) { find, rig };
    if ((err = kith__dns_scribe_new(&scribe, &rig->scribe)) != 0)
        return err;
    options.scribe = rig->scribe;
    if ((err = kith__dns_worker_new(&options, &rig->worker)) != 0)
        return err;
    if (kind & WORLD_TLS)
        kith__dns_worker_set_tls(rig->worker, rig->world.server_tls);
    if ((err = kith__dns_worker_listen(rig->worker, kind & WORLD_TLS ? KITH_DNS_DOOR_HTTPS : KITH_DNS_DOOR_HTTP,
                                       &rig->world.at, false, &rig->http)) != 0)
        return err;
    return kith__dns_worker_serve(rig->worker, &rig->world.at, false, &rig->dns);
}

static void rig_stop(struct rig *rig)
{
    kith__dns_worker_free(rig->worker);
    kith__dns_scribe_free(rig->scribe);
    kith__dns_shared_dispose(&rig->shared);
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct rig *rig = ctx;

    (void)now_ns;
    for (size_t i = 0; i < count; i++) {
        size_t step = batch[i].segment_size != 0 ? batch[i].segment_size : batch[i].size;

        for (size_t at = 0; at < batch[i].size; at += step) {
            rig->got_size = KITH_MIN(step, batch[i].size - at);
            memcpy(rig->got, batch[i].bytes + at, rig->got_size);
            rig->got_count++;
        }
    }
    rig->has_got = true;
}

static void rig_open_with(struct rig *rig, int kind, const struct kith_dns_limits *limits, bool asks)
{
    struct kith_rt_udp_options udp = { .local = { .family = KITH_FAMILY_V4 } };
    struct kith_rt_udp_events events = { .on_receive = on_receive, .ctx = rig };

    memset(rig, 0, sizeof *rig);
    rig->mem = kith_mem_default();
    rig->secret.bytes[0] = 7;
    rig->id = kith__secret_id(&rig->secret);
    kith__base32_encode(KITH_BASE32_Z, rig->id.bytes, sizeof rig->id.bytes, rig->key);
    world_open(&rig->world, kind, NULL, (uint64_t)time(NULL));
    KITH_CHECK_EQ(rig_start(rig, kind, limits, asks), 0);
    KITH_CHECK_EQ(kith__rt_udp_open(rig->world.client, &udp, &events, &rig->udp), 0);
}

static void rig_open(struct rig *rig, int kind)
{
    rig_open_with(rig, kind, NULL, false);
}

static void rig_close(struct rig *rig)
{
    kith__rt_udp_close(rig->udp);
    rig_stop(rig);
    world_close(&rig->world);
}

/* ---- Packets ---- */

static uint64_t wall_us(const struct rig *rig)
{
    return kith__rt_wall_us(rig->world.server);
}

static struct kith_pkarr packet_of(const struct kith_secret *secret, uint64_t timestamp_us, const char *user_data)
{
    struct kith_lookup_info info;
    struct kith_id id = kith__secret_id(secret);
    struct kith_pkarr packet;
    size_t left_out;

    kith__lookup_info_init(&info, kith_mem_default(), &id);
    KITH_CHECK_EQ(kith__lookup_info_set_user_data(&info, kith__http_text(user_data)), 0);
    KITH_CHECK_EQ(kith__pkarr_make(&info, secret, timestamp_us, 30, kith_mem_default(), &packet, &left_out), 0);
    kith__lookup_info_dispose(&info);
    return packet;
}

/* ---- HTTP ---- */

static void http_open(struct rig *rig, struct peer *peer)
{
    struct kith_link_events events = peer_events(peer);
    const struct kith_dial_options options = {
        .rt = rig->world.client, .host = "relay.test", .port = rig->http.port, .tls = rig->world.client_tls
    };

    KITH_CHECK_EQ(kith__link_dial(&options, &events, &peer->link), 0);
    world_run(&rig->world, &peer->is_open_told);
    KITH_CHECK_EQ(peer->open_err, 0);
}

static void http_say(struct rig *rig, struct peer *peer, const void *bytes, size_t size)
{
    peer->is_written = false;
    KITH_CHECK_EQ(kith__link_write(peer->link, bytes, size), 0);
    world_run(&rig->world, &peer->is_written);
}

static bool has(const struct peer *peer, const char *text)
{
    size_t size = strlen(text);

    for (size_t i = 0; i + size <= peer->got.size; i++)
        if (memcmp(peer->got.ptr + i, text, size) == 0)
            return true;
    return false;
}

static int status(const struct peer *peer)
{
    return peer->got.size > 12 ? atoi((const char *)peer->got.ptr + 9) : 0;
}

/* One request on a connection that is there, with everything of the answer in peer->got. */
static int http_ask_on(struct rig *rig, struct peer *peer, const char *head, struct kith_slice body)
{
    uint8_t bytes[4096];
    int size = snprintf((char *)bytes, sizeof bytes, "%s\r\nhost: x\r\ncontent-length: %zu\r\n\r\n", head, body.size);

    memcpy(bytes + size, body.ptr, body.size);
    peer->got.size = 0;
    http_say(rig, peer, bytes, (size_t)size + body.size);
    world_pass(&rig->world, 200 * KITH_NS_PER_MS);
    return status(peer);
}

static int http_ask(struct rig *rig, struct peer *peer, const char *head, struct kith_slice body)
{
    http_open(rig, peer);
    return http_ask_on(rig, peer, head, body);
}

static int http_once(struct rig *rig, const char *head, struct kith_slice body)
{
    struct peer peer = { 0 };
    int got = http_ask(rig, &peer, head, body);

    peer_dispose(&peer);
    return got;
}

static int http_put(struct rig *rig, const struct kith_pkarr *packet)
{
    struct kith_id id = kith__pkarr_id(packet);
    char head[128], key[64];

    kith__base32_encode(KITH_BASE32_Z, id.bytes, sizeof id.bytes, key);
    snprintf(head, sizeof head, "PUT /pkarr/%s HTTP/1.1", key);
    return http_once(rig, head, kith__pkarr_payload(packet));
}

static const struct kith_slice nothing = { (const uint8_t *)"", 0 };

/* ---- DNS ---- */

static size_t write_query(const struct rig *rig, uint8_t *out, size_t size)
{
    struct kith_dns_header header = { .id = 77, .flags = KITH_DNS_RD };
    struct kith_dns_writer w;
    struct kith_dns_name name;
    char text[128];

    snprintf(text, sizeof text, "_iroh.%s.dns.test.", rig->key);
    KITH_CHECK_EQ(kith__dns_name_parse(text, strlen(text), &name), 0);
    KITH_CHECK_EQ(kith__dns_writer_init(&w, out, size, &header), 0);
    KITH_CHECK_EQ(kith__dns_write_question(&w, &name, KITH_DNS_TXT, KITH_DNS_IN), 0);
    return kith__dns_writer_finish(&w);
}

static void udp_send(struct rig *rig)
{
    uint8_t query[300];
    struct kith_quic_transmit transmit = { .remote = rig->dns };

    transmit.size = write_query(rig, query, sizeof query);
    KITH_CHECK_EQ(kith__rt_udp_send(rig->udp, &transmit, query), 0);
}

/* The rcode and the number of answers of a message, as one number. */
static unsigned result_of(const uint8_t *message)
{
    KITH_CHECK_EQ(message[1], 77);
    return (message[3] & 15u) * 100 + message[7];
}

static unsigned udp_ask(struct rig *rig)
{
    rig->has_got = false;
    udp_send(rig);
    world_run(&rig->world, &rig->has_got);
    return result_of(rig->got);
}

KITH_TEST(dns_worker_stores_what_is_put_and_tells_it_over_udp_tcp_and_http)
{
    for (int kind = WORLD_SIM; kind <= (WORLD_SIM | WORLD_TLS); kind += WORLD_TLS) {
        struct kith_pkarr packet;
        struct kith_slice payload;
        struct peer peer = { 0 };
        char head[256];
        struct rig rig;

        rig_open(&rig, kind);
        KITH_CHECK_EQ(udp_ask(&rig), 300);
        packet = packet_of(&rig.secret, wall_us(&rig), "hello");
        KITH_CHECK_EQ(http_put(&rig, &packet), 204);
        KITH_CHECK_EQ(udp_ask(&rig), 1);
        snprintf(head, sizeof head, "GET /pkarr/%s HTTP/1.1", rig.key);
        KITH_CHECK_EQ(http_ask(&rig, &peer, head, nothing), 200);
        KITH_CHECK(has(&peer, "content-type: application/x-pkarr-signed-packet\r\n"));
        KITH_CHECK(has(&peer, "access-control-allow-origin: *\r\n"));
        payload = kith__pkarr_payload(&packet);
        KITH_CHECK_BYTES(peer.got.ptr + peer.got.size - payload.size, payload.ptr, payload.size);
        peer_dispose(&peer);
        KITH_CHECK_EQ(rig.shared.counters[0].http_requests, 2);
        KITH_CHECK_EQ(rig.shared.counters[0].dns_lookup_success, 1);
        KITH_CHECK_EQ(rig.shared.counters[1].store_packets_inserted, 1);
        rig_close(&rig);
    }
}

KITH_TEST(dns_worker_says_no_to_packets_that_it_does_not_take)
{
    struct kith_pkarr packet, older, newer, foreign, forged;
    uint8_t large[1200] = { 0 };
    struct kith_secret other = { { 9 } };
    char head[128];
    struct rig rig;

    rig_open(&rig, WORLD_SIM);
    packet = packet_of(&rig.secret, wall_us(&rig), "b");
    older = packet_of(&rig.secret, wall_us(&rig) - 5, "a");
    KITH_CHECK_EQ(http_put(&rig, &packet), 204);
    KITH_CHECK_EQ(http_put(&rig, &packet), 204); /* the same once more: it is stored, and lives on */
    KITH_CHECK_EQ(http_put(&rig, &older), 409);
    newer = packet_of(&rig.secret, wall_us(&rig) + 601 * 1000000ull, "c");
    KITH_CHECK_EQ(http_put(&rig, &newer), 400);
    newer = packet_of(&rig.secret, wall_us(&rig) + 590 * 1000000ull, "c");
    KITH_CHECK_EQ(http_put(&rig, &newer), 204);
    snprintf(head, sizeof head, "PUT /pkarr/%s HTTP/1.1", rig.key);
    foreign = packet_of(&other, wall_us(&rig), "d");
    KITH_CHECK_EQ(http_once(&rig, head, kith__pkarr_payload(&foreign)), 400);
    forged = newer; /* but for one bit it is what is stored */
    forged.bytes[KITH_ID_SIZE] ^= 1;
    KITH_CHECK_EQ(http_once(&rig, head, kith__pkarr_payload(&forged)), 400);
    KITH_CHECK_EQ(http_once(&rig, head, (struct kith_slice) { large, 71 }), 400);
    KITH_CHECK_EQ(http_once(&rig, head, (struct kith_slice) { large, 1073 }), 413);
    KITH_CHECK_EQ(http_once(&rig, head, nothing), 400);
    head[12] = '!';
    KITH_CHECK_EQ(http_once(&rig, head, kith__pkarr_payload(&packet)), 400);
    KITH_CHECK_EQ(http_once(&rig, "DELETE /pkarr/x HTTP/1.1", nothing), 405);
    KITH_CHECK_EQ(rig.shared.counters[0].puts_older, 1);
    KITH_CHECK_EQ(rig.shared.counters[0].puts_future, 1);
    KITH_CHECK_EQ(rig.shared.counters[1].puts_same, 1);
    rig_close(&rig);
}

KITH_TEST(dns_worker_takes_no_new_keys_when_it_is_full_and_forgets_what_is_not_put_again)
{
    struct kith_secret secret = { { 0 } };
    struct kith_pkarr packet;
    struct rig rig;

    rig_open(&rig, WORLD_SIM);
    for (uint8_t i = 0; i < 4; i++) {
        secret.bytes[0] = i;
        packet = packet_of(&secret, wall_us(&rig), "x");
        KITH_CHECK_EQ(http_put(&rig, &packet), i < 3 ? 204 : 507);
    }
    world_pass(&rig.world, 1800 * KITH_NS_PER_S);
    secret.bytes[0] = 1;
    packet = packet_of(&secret, wall_us(&rig), "y");
    KITH_CHECK_EQ(http_put(&rig, &packet), 204);
    world_pass(&rig.world, 1850 * KITH_NS_PER_S);
    secret.bytes[0] = 3;
    packet = packet_of(&secret, wall_us(&rig), "x");
    KITH_CHECK_EQ(http_put(&rig, &packet), 204);
    KITH_CHECK_EQ(kith__dns_counter(&rig.shared.packets), 2);
    KITH_CHECK_EQ(rig.shared.counters[1].store_packets_expired, 2);
    rig_close(&rig);
}

KITH_TEST(dns_worker_limits_the_puts_of_a_client_and_its_new_keys)
{
    static const struct kith_dns_limits few = { .put_rate = 0.25, .put_burst = 2 };
    static const struct kith_dns_limits keys = { .key_rate = 0.001, .key_burst = 2 };
    struct kith_secret secret = { { 0 } };
    struct kith_pkarr packet;
    struct peer peer = { 0 };
    char head[128];
    struct rig rig;

    rig_open_with(&rig, WORLD_SIM, &few, false);
    packet = packet_of(&rig.secret, wall_us(&rig), "x");
    KITH_CHECK_EQ(http_put(&rig, &packet), 204);
    KITH_CHECK_EQ(http_put(&rig, &packet), 204);
    snprintf(head, sizeof head, "PUT /pkarr/%s HTTP/1.1\r\nx-forwarded-for: 192.0.2.9", rig.key);
    KITH_CHECK_EQ(http_ask(&rig, &peer, head, kith__pkarr_payload(&packet)), 429);
    KITH_CHECK(has(&peer, "retry-after: ") && has(&peer, "x-ratelimit-after: ") &&
               has(&peer, "Too Many Requests! Wait for "));
    peer_dispose(&peer);
    world_pass(&rig.world, 5 * KITH_NS_PER_S);
    KITH_CHECK_EQ(http_put(&rig, &packet), 204);
    rig_close(&rig);

    rig_open_with(&rig, WORLD_SIM, &keys, false);
    for (uint8_t i = 0; i < 3; i++) {
        secret.bytes[0] = i;
        packet = packet_of(&secret, wall_us(&rig), "x");
        KITH_CHECK_EQ(http_put(&rig, &packet), i < 2 ? 204 : 429);
    }
    secret.bytes[0] = 1;
    packet = packet_of(&secret, wall_us(&rig), "y");
    KITH_CHECK_EQ(http_put(&rig, &packet), 204); /* a key that is known costs none */
    rig_close(&rig);
}

KITH_TEST(dns_worker_answers_get_only_once_to_those_who_have_it)
{
    struct kith_pkarr packet;
    struct peer peer = { 0 };
    char head[400], tag[17];
    struct rig rig;

    rig_open(&rig, WORLD_SIM);
    packet = packet_of(&rig.secret, 946684800000000, "x");
    KITH_CHECK_EQ(http_put(&rig, &packet), 204);
    kith__hex_encode(packet.bytes + 32, 8, tag);
    http_open(&rig, &peer);
    snprintf(head, sizeof head, "GET /pkarr/%s HTTP/1.1\r\nif-none-match: \"a\", W/\"%s\"", rig.key, tag);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, head, nothing), 304);
    snprintf(head, sizeof head, "GET /pkarr/%s HTTP/1.1\r\nif-none-match: \"a\"", rig.key);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, head, nothing), 200);
    if (wall_us(&rig) > 946684800000000) {
        KITH_CHECK(has(&peer, "last-modified: Sat, 01 Jan 2000 00:00:00 GMT\r\n"));
        snprintf(head, sizeof head, "GET /pkarr/%s HTTP/1.1\r\nif-modified-since: Sat, 01 Jan 2000 00:00:00 GMT",
                 rig.key);
        KITH_CHECK_EQ(http_ask_on(&rig, &peer, head, nothing), 304);
        snprintf(head, sizeof head, "GET /pkarr/%s HTTP/1.1\r\nif-modified-since: Fri, 31 Dec 1999 23:59:59 GMT",
                 rig.key);
        KITH_CHECK_EQ(http_ask_on(&rig, &peer, head, nothing), 200);
    }
    snprintf(head, sizeof head, "HEAD /pkarr/%s HTTP/1.1", rig.key);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, head, nothing), 200);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, "GET /pkarr/ybndrfg8 HTTP/1.1", nothing), 400);
    peer_dispose(&peer);
    rig_close(&rig);
}

KITH_TEST(dns_worker_answers_dns_over_http_as_messages_and_as_json)
{
    struct kith_pkarr packet;
    struct peer peer = { 0 };
    uint8_t query[300];
    char head[400];
    struct rig rig;
    size_t size;

    rig_open(&rig, WORLD_SIM);
    packet = packet_of(&rig.secret, wall_us(&rig), "hello");
    KITH_CHECK_EQ(http_put(&rig, &packet), 204);
    size = write_query(&rig, query, sizeof query);
    http_open(&rig, &peer);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, "POST /dns-query HTTP/1.1", (struct kith_slice) { query, size }), 200);
    KITH_CHECK(has(&peer, "content-type: application/dns-message\r\n") && has(&peer, "user-data=hello"));
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, "POST /dns-query HTTP/1.1", (struct kith_slice) { query, 5 }), 400);
    snprintf(head, sizeof head,
             "GET /dns-query?name=_iroh.%s.dns.test&type=TXT HTTP/1.1\r\naccept: application/dns-json", rig.key);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, head, nothing), 200);
    KITH_CHECK(has(&peer, "cache-control: s-maxage=30\r\n"));
    KITH_CHECK(has(&peer, "\"Status\":0") && has(&peer, "\"type\":16,\"TTL\":30,\"data\":\"user-data=hello\"}"));
    KITH_CHECK_EQ(http_ask_on(&rig, &peer,
                              "GET /dns-query?dns=AE0BAAABAAAAAAAAA2RucwR0ZXN0AAAGAAE HTTP/1.1\r\n"
                              "accept: application/dns-message",
                              nothing),
                  200);
    KITH_CHECK(has(&peer, "hostmaster"));
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, "GET /dns-query?dns=%21 HTTP/1.1", nothing), 400);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, "GET /dns-query?name=x HTTP/1.1\r\naccept: text/html", nothing), 406);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, "GET /healthcheck HTTP/1.1", nothing), 200);
    KITH_CHECK(has(&peer, "\r\n\r\nOK"));
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, "GET /healthz HTTP/1.1", nothing), 200);
    KITH_CHECK(has(&peer, "{\"status\":\"ok\",\"version\":\"1.2.3\""));
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, "GET / HTTP/1.1", nothing), 200);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, "GET /nothing HTTP/1.1", nothing), 404);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, "OPTIONS /pkarr/x HTTP/1.1", nothing), 204);
    KITH_CHECK(has(&peer, "access-control-allow-methods: GET, HEAD, POST, PUT, OPTIONS\r\n"));
    peer_dispose(&peer);
    rig_close(&rig);
}

KITH_TEST(dns_worker_takes_bodies_in_pieces_and_invites_those_who_wait_for_it)
{
    struct kith_pkarr packet;
    struct kith_slice payload;
    struct peer peer = { 0 };
    char head[256];
    struct rig rig;

    rig_open(&rig, WORLD_SIM);
    packet = packet_of(&rig.secret, wall_us(&rig), "hello");
    payload = kith__pkarr_payload(&packet);
    http_open(&rig, &peer);
    snprintf(head, sizeof head, "PUT /pkarr/%s HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: %zu\r\n\r\n",
             rig.key, payload.size);
    http_say(&rig, &peer, head, 30);
    http_say(&rig, &peer, head + 30, strlen(head) - 30);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK_EQ(status(&peer), 100);
    peer.got.size = 0;
    for (size_t i = 0; i < payload.size; i++)
        http_say(&rig, &peer, payload.ptr + i, 1);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK_EQ(status(&peer), 204);
    peer_dispose(&peer);
    KITH_CHECK_EQ(udp_ask(&rig), 1);
    rig_close(&rig);
}

/* ---- TCP ---- */

/** A client over TCP. */
struct stream {
    struct kith_rt_stream *stream;
    uint8_t got[8192];
    size_t size;
    bool is_open, is_written, has_ended;
};

static void stream_opened(void *ctx, int err)
{
    ((struct stream *)ctx)->is_open = err == 0;
}

static void stream_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct stream *stream = ctx;

    KITH_CHECK(stream->size + size <= sizeof stream->got);
    memcpy(stream->got + stream->size, bytes, size);
    stream->size += size;
}

static void stream_end(void *ctx, int err)
{
    (void)err;
    ((struct stream *)ctx)->has_ended = true;
}

static void stream_written(void *ctx, int err)
{
    (void)err;
    ((struct stream *)ctx)->is_written = true;
}

static void stream_connect(struct rig *rig, struct stream *stream)
{
    struct kith_rt_stream_addr to = { .ip = rig->dns };
    struct kith_rt_stream_events events = { stream_opened, stream_data, stream_end, stream_written, NULL, stream };

    memset(stream, 0, sizeof *stream);
    KITH_CHECK_EQ(kith__rt_stream_connect(rig->world.client, &to, &events, &stream->stream), 0);
    world_run(&rig->world, &stream->is_open);
    kith__rt_stream_read_start(stream->stream);
}

static void stream_say(struct rig *rig, struct stream *stream, const uint8_t *bytes, size_t size)
{
    stream->is_written = false;
    KITH_CHECK_EQ(kith__rt_stream_write(stream->stream, bytes, size), 0);
    world_run(&rig->world, &stream->is_written);
}

KITH_TEST(dns_worker_answers_many_queries_on_one_tcp_connection_and_ends_idle_ones)
{
    uint8_t bytes[1024];
    struct kith_pkarr packet;
    struct stream stream;
    struct rig rig;
    size_t size, at = 0;

    rig_open(&rig, WORLD_SIM);
    packet = packet_of(&rig.secret, wall_us(&rig), "hello");
    KITH_CHECK_EQ(http_put(&rig, &packet), 204);
    size = write_query(&rig, bytes + 2, 300);
    bytes[0] = 0;
    bytes[1] = (uint8_t)size;
    memcpy(bytes + size + 2, bytes, size + 2);
    memcpy(bytes + 2 * (size + 2), bytes, size + 2);
    stream_connect(&rig, &stream);
    stream_say(&rig, &stream, bytes, 2 * (size + 2) + 40); /* two, and a part of the third */
    world_pass(&rig.world, KITH_NS_PER_S);
    stream_say(&rig, &stream, bytes + 2 * (size + 2) + 40, size + 2 - 40);
    world_pass(&rig.world, KITH_NS_PER_S);
    for (unsigned i = 0; i < 3; i++) {
        KITH_CHECK(stream.size >= at + 2);
        KITH_CHECK_EQ(result_of(stream.got + at + 2), 1);
        at += 2 + ((size_t)stream.got[at] << 8 | stream.got[at + 1]);
    }
    KITH_CHECK_EQ(at, stream.size);
    KITH_CHECK(!stream.has_ended);
    world_pass(&rig.world, 5 * KITH_NS_PER_S);
    stream_say(&rig, &stream, bytes, 10); /* a query that never ends keeps nothing open */
    world_pass(&rig.world, 6 * KITH_NS_PER_S);
    KITH_CHECK(stream.has_ended);
    kith__rt_stream_close(stream.stream);
    KITH_CHECK_EQ(rig.shared.counters[0].dns_requests_tcp, 3);
    rig_close(&rig);
}

KITH_TEST(dns_worker_closes_tcp_connections_beyond_those_of_a_client_and_those_that_speak_no_dns)
{
    static const struct kith_dns_limits one = { .tcp_per_client_max = 1 };
    static const uint8_t nonsense[] = { 0, 3, 1, 2, 3 };
    struct stream first, second;
    struct rig rig;

    rig_open_with(&rig, WORLD_SIM, &one, false);
    stream_connect(&rig, &first);
    stream_connect(&rig, &second);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK(second.has_ended && !first.has_ended);
    stream_say(&rig, &first, nonsense, sizeof nonsense);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK(first.has_ended);
    kith__rt_stream_close(first.stream);
    kith__rt_stream_close(second.stream);
    rig_close(&rig);
}

KITH_TEST(dns_worker_counts_http_connections_and_those_that_others_push_out)
{
    static const struct kith_dns_limits two = { .http_max = 2 };
    const struct kith_dns_counters *counters;
    struct peer peers[3] = { 0 };
    struct rig rig;

    rig_open_with(&rig, WORLD_SIM, &two, false);
    counters = &rig.shared.counters[0];
    for (size_t i = 0; i < KITH_COUNT(peers); i++)
        http_open(&rig, &peers[i]);
    KITH_CHECK_EQ(http_ask_on(&rig, &peers[2], "GET /healthcheck HTTP/1.1", nothing), 200);
    KITH_CHECK_EQ(counters->http_connections, 3);
    KITH_CHECK_EQ(counters->http_refused, 1);
    KITH_CHECK_EQ(counters->http_connections_errored, 1); /* the one that said nothing, and had to go */
    for (size_t i = 0; i < KITH_COUNT(peers); i++)
        peer_dispose(&peers[i]);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK_EQ(counters->http_connections_closed, 2);
    KITH_CHECK_EQ(counters->http_refused_per_ip, 0);
    rig_close(&rig);
}

KITH_TEST(dns_worker_invites_a_flood_to_tcp_or_is_silent)
{
    static const struct kith_dns_limits few = { .response_rate = 1, .response_burst = 4 };
    struct rig rig;

    rig_open_with(&rig, WORLD_SIM, &few, false);
    for (int i = 0; i < 20; i++)
        udp_send(&rig);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK_EQ(rig.got_count, 4 + 8);
    KITH_CHECK((rig.got[2] & 2) != 0);
    KITH_CHECK_EQ(rig.shared.counters[0].dns_limited_truncated, 8);
    KITH_CHECK_EQ(rig.shared.counters[0].dns_limited_dropped, 8);
    rig_close(&rig);
}

/* ---- The other source ---- */

KITH_TEST(dns_worker_lets_queries_wait_for_the_other_source)
{
    struct peer peer = { 0 };
    char head[300];
    struct rig rig;

    rig_open_with(&rig, WORLD_SIM, NULL, true);
    rig.ask_err = KITH_ERR_AGAIN;
    rig.asked = packet_of(&rig.secret, wall_us(&rig), "far");
    udp_send(&rig);
    http_open(&rig, &peer);
    snprintf(head, sizeof head,
             "GET /dns-query?name=_iroh.%s.dns.test&type=16 HTTP/1.1\r\naccept: application/dns-json", rig.key);
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, head, nothing), 0);
    KITH_CHECK_EQ(rig.got_count, 0);
    rig.ask_err = 0;
    kith__rt_wake(rig.world.server);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK_EQ(rig.got_count, 1);
    KITH_CHECK_EQ(result_of(rig.got), 1);
    KITH_CHECK_EQ(status(&peer), 200);
    KITH_CHECK(has(&peer, "user-data=far"));
    /* Nobody is told of one who went away meanwhile; one who waits too long is told of a failure. */
    rig.ask_err = KITH_ERR_AGAIN;
    KITH_CHECK_EQ(http_ask_on(&rig, &peer, head, nothing), 0);
    peer_dispose(&peer);
    udp_send(&rig);
    world_pass(&rig.world, 6 * KITH_NS_PER_S);
    KITH_CHECK_EQ(rig.got_count, 2);
    KITH_CHECK_EQ(result_of(rig.got), 200);
    rig_close(&rig);
}

KITH_TEST(dns_worker_takes_new_origins_and_drains)
{
    static const struct kith_dns_origin other = { .name = "other.test" };
    struct kith_zone_problem problem;
    struct kith_zone *zone;
    struct stream stream;
    struct rig rig;

    rig_open(&rig, WORLD_SIM);
    KITH_CHECK_EQ(udp_ask(&rig), 300);
    KITH_CHECK_EQ(kith__zone_new(rig.mem, &other, 1, &zone, &problem), 0);
    kith__dns_shared_set(&rig.shared, zone, NULL);
    kith__rt_wake(rig.world.server);
    KITH_CHECK_EQ(udp_ask(&rig), 500);
    stream_connect(&rig, &stream);
    kith__dns_worker_drain(rig.worker);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK(kith__dns_worker_is_drained(rig.worker));
    KITH_CHECK(stream.has_ended);
    rig.got_count = 0;
    udp_send(&rig);
    world_pass(&rig.world, KITH_NS_PER_S);
    KITH_CHECK_EQ(rig.got_count, 0);
    kith__rt_stream_close(stream.stream);
    rig_close(&rig);
}

KITH_TEST(dns_worker_survives_every_failed_allocation)
{
    for (uint64_t fail_at = 1;; fail_at++) {
        struct kith_test_mem mem;
        struct rig rig;
        int err;

        memset(&rig, 0, sizeof rig);
        kith__test_mem_init(&mem, 0);
        rig.mem = &mem.mem;
        world_open(&rig.world, WORLD_SIM, NULL, 1);
        mem.fail_at = fail_at;
        err = rig_start(&rig, WORLD_SIM, NULL, false);
        rig_stop(&rig);
        KITH_CHECK_EQ(mem.live, 0);
        world_close(&rig.world);
        if (err == 0)
            break;
        KITH_CHECK_EQ(err, KITH_ERR_NOMEM);
    }
}
