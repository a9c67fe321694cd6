#include "endpoint/relay_fake.h"

#include "base/mem.h"
#include "base/test.h"

#include <stdio.h>
#include <string.h>

static const struct kith_slice alpn = { (const uint8_t *)"fake", 4 };
static const char *const protocols[] = { "iroh-relay-v2", "iroh-relay-v1" };

/* ---- The relay ---- */

static void client_free(struct fake_client *client)
{
    struct fake_relay *relay = client->relay;
    size_t at = 0;

    while (relay->clients[at] != client)
        at++;
    memmove(&relay->clients[at], &relay->clients[at + 1], (--relay->client_count - at) * sizeof client);
    kith__rt_stream_close(client->stream);
    kith__http_intake_dispose(&client->intake);
    kith__ws_reader_dispose(&client->reader);
    kith__buf_dispose(&client->waiting);
    kith__buf_dispose(&client->writing);
    kith__free(kith_mem_default(), client);
}

static void client_flush(struct fake_client *client)
{
    struct kith_buf swap = client->writing;

    if (client->is_writing || client->waiting.size == 0)
        return;
    client->writing = client->waiting;
    client->waiting = swap;
    client->waiting.size = 0;
    client->is_writing = true;
    KITH_CHECK_EQ(kith__rt_stream_write(client->stream, client->writing.ptr, client->writing.size), 0);
}

void fake_send(struct fake_client *client, const void *frame, size_t size)
{
    uint8_t head[KITH_WS_FRAME_HEAD_MAX];
    size_t head_size = kith__ws_frame_write(head, KITH_WS_BINARY, NULL, size);

    KITH_CHECK_EQ(kith__buf_append(&client->waiting, head, head_size), 0);
    KITH_CHECK_EQ(kith__buf_append(&client->waiting, frame, size), 0);
    client_flush(client);
}

struct fake_client *fake_find(struct fake_relay *relay, const uint8_t *key)
{
    for (size_t i = relay->client_count; i-- > 0;)
        if (relay->clients[i]->is_ready && memcmp(relay->clients[i]->id.bytes, key, KITH_ID_SIZE) == 0)
            return relay->clients[i];
    return NULL;
}

static void on_frame(struct fake_client *client, uint8_t *bytes, size_t size)
{
    static const uint8_t denial[] = { 3, 5, 'n', 'o', 't', ' ', 'u' };
    struct fake_relay *relay = client->relay;
    struct fake_client *to;

    switch (bytes[0]) {
    case KITH_RELAY_CLIENT_AUTH:
        KITH_CHECK_EQ(size, KITH_RELAY_CLIENT_AUTH_SIZE);
        memcpy(client->id.bytes, bytes + 1, KITH_ID_SIZE);
        client->is_ready = !relay->denies;
        client->is_ending = relay->drops;
        fake_send(client, relay->denies ? denial : (const uint8_t *)"\2", relay->denies ? sizeof denial : 1);
        break;
    case KITH_RELAY_PING:
        relay->pings++;
        bytes[0] = KITH_RELAY_PONG;
        fake_send(client, bytes, size);
        break;
    case KITH_RELAY_CLIENT_DATAGRAM:
    case KITH_RELAY_CLIENT_BATCH:
        relay->datagrams += bytes[0] == KITH_RELAY_CLIENT_DATAGRAM;
        relay->batches += bytes[0] == KITH_RELAY_CLIENT_BATCH;
        to = fake_find(relay, bytes + 1);
        bytes[0] = (uint8_t)(bytes[0] + 2); /* the server's kind of the same frame */
        memcpy(bytes + 1, client->id.bytes, KITH_ID_SIZE);
        if (to != NULL && !relay->loses_data)
            fake_send(to, bytes, size);
        break;
    default:
        break;
    }
}

static void upgrade(struct fake_client *client, const struct kith_http_head *head)
{
    static const uint8_t challenge[17] = { 0, 7 };
    struct fake_relay *relay = client->relay;
    const struct kith_http_header *token = kith__http_header(head, "authorization");
    struct kith_ws_offer offer;
    uint8_t out[1024];
    struct kith_writer w = kith__writer(out, sizeof out);

    snprintf(relay->authorization, sizeof relay->authorization, "%.*s", token != NULL ? (int)token->value.size : 0,
             token != NULL ? (const char *)token->value.ptr : "");
    snprintf(relay->target, sizeof relay->target, "%.*s", (int)head->target.size, (const char *)head->target.ptr);
    if (relay->status != 0) {
        KITH_CHECK_EQ(kith__http_write_status(&w, relay->status), 0);
        KITH_CHECK_EQ(kith__http_write_header_text(&w, "content-length", "0"), 0);
    } else {
        KITH_CHECK_EQ(kith__ws_check_request(head, protocols, KITH_COUNT(protocols), &offer), KITH_WS_FINE);
        KITH_CHECK_EQ(kith__ws_write_response(&w, &offer), 0);
    }
    KITH_CHECK_EQ(kith__http_write_end(&w), 0);
    KITH_CHECK_EQ(kith__buf_append(&client->waiting, out, (size_t)(w.at - out)), 0);
    if (!relay->joins)
        client_flush(client);
    client->is_upgraded = true;
    if (relay->status == 0)
        fake_send(client, challenge, sizeof challenge);
}

static void on_head(struct fake_client *client, const struct kith_http_head *head)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

    if (kith__http_is(head->path, "/ping")) {
        client->relay->probes++;
        KITH_CHECK_EQ(kith__buf_append(&client->waiting, answer, sizeof answer - 1), 0);
        client_flush(client);
        return;
    }
    upgrade(client, head);
}

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct fake_client *client = ctx;
    uint8_t *at = bytes;
    struct kith_http_head head;
    struct kith_ws_event event;
    size_t used = 0;

    if (client->relay->is_mute)
        return;
    if (!client->is_upgraded) {
        if (kith__http_intake_receive(&client->intake, bytes, size, &head, &used) != 0)
            return;
        on_head(client, &head);
        at += used;
    }
    while (client->is_upgraded && kith__ws_reader_next(&client->reader, &at, bytes + size, &event) == 0) {
        client->relay->goodbyes += event.kind == KITH_WS_CLOSE;
        if (event.kind == KITH_WS_BINARY && !client->relay->is_mute)
            on_frame(client, event.bytes, event.size);
    }
}

static void on_end(void *ctx, int err)
{
    (void)err;
    client_free(ctx);
}

static void on_written(void *ctx, int err)
{
    struct fake_client *client = ctx;

    client->is_writing = false;
    client->writing.size = 0;
    if (client->is_ending && client->waiting.size == 0)
        client_free(client);
    else if (err == 0)
        client_flush(client);
}

static void on_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct kith_ws_reader_options reader = { kith_mem_default(), true, KITH_WS_MESSAGE_SIZE_MAX };
    struct fake_relay *relay = ctx;
    struct fake_client *client = kith__alloc_zero(kith_mem_default(), sizeof *client);
    struct kith_rt_stream_events events = { NULL, on_data, on_end, on_written, NULL, client };

    KITH_CHECK(relay->client_count < FAKE_CLIENTS_MAX);
    client->relay = relay;
    client->stream = stream;
    kith__http_intake_init(&client->intake, kith_mem_default(), KITH_HTTP_REQUEST);
    kith__ws_reader_init(&client->reader, &reader);
    kith__buf_init(&client->waiting, kith_mem_default());
    kith__buf_init(&client->writing, kith_mem_default());
    relay->clients[relay->client_count++] = client;
    relay->accepted++;
    kith__rt_stream_set_events(stream, &events);
    kith__rt_stream_read_start(stream);
}

void fake_relay_start(struct fake_relay *relay)
{
    struct kith_rt_stream_addr at = { .ip = kith__sim_interface_addr(relay->host, 0, 0) };

    at.ip.port = FAKE_PORT;
    KITH_CHECK_EQ(kith__rt_listen(relay->rt, &at, on_accept, relay, &relay->listener), 0);
}

void fake_relay_stop(struct fake_relay *relay)
{
    kith__rt_listener_close(relay->listener);
    relay->listener = NULL;
    while (relay->client_count > 0)
        client_free(relay->clients[0]);
}

/* ---- Endpoints ---- */

static void pump(struct fake_endpoint *endpoint)
{
    kith__driver_pump(endpoint->driver);
    kith__rt_timer_set(&endpoint->ways_timer, kith__conn_ways_deadline(&endpoint->ways));
}

static void on_ways_timer(void *ctx, uint64_t now_ns)
{
    struct fake_endpoint *endpoint = ctx;

    kith__conn_ways_on_deadline(&endpoint->ways, now_ns);
    pump(endpoint);
}

static void on_beat(void *ctx, uint64_t now_ns)
{
    struct fake_endpoint *endpoint = ctx;
    size_t written;
    int err;

    if (endpoint->conn == NULL || endpoint->is_closed)
        return;
    if (endpoint->beats == 0)
        KITH_CHECK_EQ(kith_quic_stream_open(endpoint->conn, true, &endpoint->stream), 0);
    err = kith_quic_stream_write(endpoint->conn, endpoint->stream, "b", 1, false, &written);
    KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
    endpoint->beats += err == 0;
    kith__rt_timer_set(&endpoint->beat_timer, now_ns + 50 * KITH_NS_PER_MS);
    pump(endpoint);
}

static void on_readable(struct fake_endpoint *endpoint, uint64_t stream)
{
    uint64_t now_ns = kith__rt_now(endpoint->rt);
    uint8_t bytes[256];
    size_t size, written;

    while (kith_quic_stream_read(endpoint->conn, stream, bytes, sizeof bytes, &size, NULL) == 0) {
        if (!endpoint->is_beating) {
            KITH_CHECK_EQ(kith_quic_stream_write(endpoint->conn, stream, bytes, size, false, &written), 0);
            continue;
        }
        if (endpoint->last_echo_ns != 0 && now_ns - endpoint->last_echo_ns > endpoint->gap_ns)
            endpoint->gap_ns = now_ns - endpoint->last_echo_ns;
        endpoint->echoes += size;
        endpoint->last_echo_ns = now_ns;
    }
}

static void on_event(void *ctx, const struct kith_quic_event *event)
{
    struct fake_endpoint *endpoint = ctx;
    uint64_t now_ns = kith__rt_now(endpoint->rt);

    if (event->kind == KITH_QUIC_INCOMING) {
        KITH_CHECK_EQ(kith_quic_incoming_accept(event->incoming, NULL, now_ns, &endpoint->conn), 0);
        kith__conn_ways_dispose(&endpoint->ways);
        kith__conn_ways_init(&endpoint->ways, endpoint->conn, endpoint->relays, false);
        return;
    }
    if (event->conn != endpoint->conn)
        return;
    if (event->kind == KITH_QUIC_CLOSED) {
        endpoint->is_closed = true;
        kith__conn_ways_dispose(&endpoint->ways);
    }
    kith__conn_ways_on_event(&endpoint->ways, event, now_ns);
    endpoint->is_connected |= event->kind == KITH_QUIC_CONNECTED;
    if (event->kind == KITH_QUIC_CONNECTED && endpoint->is_beating)
        kith__rt_timer_set(&endpoint->beat_timer, now_ns);
    if (event->kind == KITH_QUIC_STREAM_OPENED || event->kind == KITH_QUIC_STREAM_READABLE)
        on_readable(endpoint, event->stream);
}

static void on_relay_send(void *ctx, const struct kith_quic_transmit *transmit, const uint8_t *bytes)
{
    struct fake_endpoint *endpoint = ctx;

    kith__relays_send(endpoint->relays, transmit, bytes);
}

static void on_relay_flush(void *ctx)
{
    struct fake_endpoint *endpoint = ctx;

    if (endpoint->relays != NULL)
        kith__relays_flush(endpoint->relays);
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct fake_endpoint *endpoint = ctx;

    kith__driver_receive(endpoint->driver, batch, count, now_ns);
}

static void on_batch_end(void *ctx)
{
    struct fake_endpoint *endpoint = ctx;

    kith__driver_received(endpoint->driver);
    pump(endpoint);
}

static void on_news(void *ctx, enum kith_relays_news news, struct kith_relay_peer *relay,
                    const struct kith_sockaddr *gone)
{
    struct fake_endpoint *endpoint = ctx;

    endpoint->home_news += news == KITH_RELAYS_HOME;
    endpoint->connected_news += news == KITH_RELAYS_CONNECTED;
    endpoint->lost_news += news == KITH_RELAYS_LOST;
    endpoint->gone_news += news == KITH_RELAYS_GONE;
    endpoint->left_news += news == KITH_RELAYS_LEFT;
    kith__conn_ways_on_news(&endpoint->ways, news, relay, gone, kith__rt_now(endpoint->rt));
    kith__rt_timer_set(&endpoint->ways_timer, 0); /* pumps */
}

const char *fake_url(size_t relay)
{
    static const char *const urls[FAKE_RELAYS_MAX] = { "http://10.0.0.1/", "http://10.0.0.2/", "http://10.0.0.3/",
                                                       "http://10.0.0.4/" };

    return urls[relay];
}

static int endpoint_open(struct fake_world *world, struct fake_endpoint *endpoint, uint8_t seed, unsigned relay_bits,
                         bool sockets, const struct kith_mem *mem)
{
    struct kith_quic_host_options host;
    struct kith_driver_options driver = { .mem = mem,
                                          .rt = endpoint->rt,
                                          .host = &host,
                                          .no_sockets = !sockets,
                                          .on_event = on_event,
                                          .on_relay_send = on_relay_send,
                                          .on_relay_flush = on_relay_flush,
                                          .ctx = endpoint };
    struct kith_relays_events events = { on_receive, on_batch_end, on_news, endpoint };
    struct kith_relay_config configs[FAKE_RELAYS_MAX];
    struct kith_relays_options relays = { .rt = endpoint->rt, .secret = &host.secret, .configs = configs };
    struct kith_sockaddr bind = kith__sim_interface_addr(endpoint->host, 0, 0);
    int err;

    (void)world;
    kith_quic_host_defaults(&host);
    memset(host.secret.bytes, seed, sizeof host.secret.bytes);
    host.alpns = &alpn;
    host.alpn_count = 1;
    bind.port = 4433;
    driver.binds = &bind;
    driver.bind_count = 1;
    for (size_t i = 0; i < FAKE_RELAYS_MAX; i++)
        if ((relay_bits & 1u << i) != 0)
            configs[relays.config_count++] = (struct kith_relay_config) { fake_url(i), i == 0 ? "a token" : NULL };
    if ((err = kith__rt_timer_init(endpoint->rt, &endpoint->ways_timer, on_ways_timer, endpoint)) != 0 ||
        (err = kith__rt_timer_init(endpoint->rt, &endpoint->beat_timer, on_beat, endpoint)) != 0 ||
        (err = kith__driver_new(&driver, &endpoint->driver)) != 0)
        return err;
    return kith__relays_new(&relays, &events, &endpoint->relays, NULL);
}

int fake_endpoint_open(struct fake_world *world, size_t index, unsigned relay_bits, bool sockets,
                       const struct kith_mem *mem)
{
    struct fake_endpoint *endpoint = &world->endpoints[index];
    int err = endpoint_open(world, endpoint, (uint8_t)(index + 1), relay_bits, sockets, mem);

    if (err != 0)
        fake_endpoint_close(endpoint);
    return err;
}

void fake_endpoint_close(struct fake_endpoint *endpoint)
{
    kith__conn_ways_dispose(&endpoint->ways);
    kith__relays_free(endpoint->relays);
    kith__driver_free(endpoint->driver);
    kith__rt_timer_dispose(&endpoint->ways_timer);
    kith__rt_timer_dispose(&endpoint->beat_timer);
    *endpoint = (struct fake_endpoint) { .host = endpoint->host, .rt = endpoint->rt };
}

void fake_dial(struct fake_world *world, size_t from, size_t to, unsigned relay_bits, bool direct)
{
    struct fake_endpoint *endpoint = &world->endpoints[from];
    struct kith_quic_connect_options options = { .alpns = &alpn, .alpn_count = 1 };
    struct kith_sockaddr remotes[FAKE_RELAYS_MAX + 1];
    struct kith_relay_peer *relays[FAKE_RELAYS_MAX];
    size_t relay_count = 0;

    options.remote_id = kith_quic_host_id(kith__driver_host(world->endpoints[to].driver));
    options.remotes = remotes;
    if (direct)
        options.remote_count = kith__driver_bound(world->endpoints[to].driver, remotes, 1);
    for (size_t i = 0; i < FAKE_RELAYS_MAX; i++) {
        if ((relay_bits & 1u << i) == 0)
            continue;
        KITH_CHECK_EQ(kith__relays_get(endpoint->relays, fake_url(i), &relays[relay_count]), 0);
        KITH_CHECK_EQ(kith__relay_way(relays[relay_count++], &options.remote_id, &remotes[options.remote_count++]), 0);
    }
    KITH_CHECK_EQ(
        kith_quic_connect(kith__driver_host(endpoint->driver), &options, kith__rt_now(endpoint->rt), &endpoint->conn),
        0);
    kith__conn_ways_dispose(&endpoint->ways);
    kith__conn_ways_init(&endpoint->ways, endpoint->conn, endpoint->relays, true);
    kith__conn_ways_set_ips(&endpoint->ways, remotes, options.remote_count - relay_count);
    for (size_t i = 0; i < relay_count; i++)
        kith__conn_ways_add_relay(&endpoint->ways, relays[i]);
    endpoint->is_connected = endpoint->is_closed = false;
    pump(endpoint);
}

int fake_path_in_use(struct fake_world *world, size_t index)
{
    struct fake_endpoint *endpoint = &world->endpoints[index];
    struct kith_quic_path_info paths[KITH_QUIC_PATHS_MAX], *best = NULL;
    size_t count = kith_quic_conn_paths(endpoint->conn, paths, KITH_QUIC_PATHS_MAX);
    struct kith_relay_info info;

    for (size_t i = 0; i < count; i++)
        if (paths[i].state == KITH_QUIC_PATH_OPEN && !paths[i].is_silent &&
            (best == NULL || best->is_backup > paths[i].is_backup))
            best = &paths[i];
    KITH_CHECK(best != NULL);
    if (best->remote.family != KITH_FAMILY_RELAY)
        return -1;
    kith__relay_info(kith__relays_find(endpoint->relays, &best->remote, NULL), &info);
    for (int i = 0; i < FAKE_RELAYS_MAX; i++)
        if (strcmp(fake_url((size_t)i), info.url) == 0)
            return i;
    return -2;
}

/* ---- The world ---- */

static void add_host(struct fake_world *world, const char *address, const struct kith_mem *mem,
                     struct kith_sim_host **host, struct kith_rt **rt)
{
    struct kith_sim_host_options options = { .name = address,
                                             .up = { .delay_ns = 5 * KITH_NS_PER_MS },
                                             .down = { .delay_ns = 5 * KITH_NS_PER_MS },
                                             .mem = mem };

    KITH_CHECK_EQ(kith_sockaddr_parse(address, &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(world->sim, &options, host), 0);
    *rt = kith__sim_rt(*host);
}

void fake_world_open(struct fake_world *world, size_t relay_count, size_t endpoint_count, const struct kith_mem *mem)
{
    char address[32];

    memset(world, 0, sizeof *world);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, kith__test_seed(7), &world->sim), 0);
    for (size_t i = 0; i < relay_count; i++) {
        snprintf(address, sizeof address, "10.0.0.%zu:0", i + 1);
        add_host(world, address, NULL, &world->relays[i].host, &world->relays[i].rt);
        fake_relay_start(&world->relays[i]);
    }
    for (size_t i = 0; i < endpoint_count; i++) {
        snprintf(address, sizeof address, "10.0.1.%zu:0", i + 1);
        add_host(world, address, mem, &world->endpoints[i].host, &world->endpoints[i].rt);
    }
}

void fake_world_close(struct fake_world *world)
{
    for (size_t i = 0; i < FAKE_ENDPOINTS_MAX; i++)
        if (world->endpoints[i].driver != NULL)
            fake_endpoint_close(&world->endpoints[i]);
    for (size_t i = 0; i < FAKE_RELAYS_MAX; i++)
        fake_relay_stop(&world->relays[i]);
    kith__sim_free(world->sim);
}

void fake_run(struct fake_world *world, uint64_t time_ns)
{
    KITH_CHECK_EQ(kith__sim_run(world->sim, NULL, NULL, kith__sim_now(world->sim) + time_ns), KITH_SIM_OK);
}

static bool is_true(void *ctx)
{
    return *(const bool *)ctx;
}

uint64_t fake_until(struct fake_world *world, const bool *done)
{
    uint64_t from_ns = kith__sim_now(world->sim);

    KITH_CHECK_EQ(kith__sim_run(world->sim, is_true, (void *)(uintptr_t)done, from_ns + 60 * KITH_NS_PER_S),
                  KITH_SIM_OK);
    return kith__sim_now(world->sim) - from_ns;
}

static bool is_online(void *ctx)
{
    const struct fake_endpoint *endpoint = ctx;
    const struct kith_relay_peer *home = kith__relays_home(endpoint->relays);

    return home != NULL && kith__relay_is_fit(home);
}

uint64_t fake_until_online(struct fake_world *world, size_t index)
{
    uint64_t from_ns = kith__sim_now(world->sim);

    KITH_CHECK_EQ(kith__sim_run(world->sim, is_online, &world->endpoints[index], from_ns + 60 * KITH_NS_PER_S),
                  KITH_SIM_OK);
    return kith__sim_now(world->sim) - from_ns;
}
