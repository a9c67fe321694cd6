/**
 * For tests and fuzz targets: servers (one, or the workers of one relay, all on this thread) and clients of them, with time that
 * the test moves. A client reads what it gets, unless it is stuck, and answers pings.
 */
#ifndef KITH_RELAY_CROWD_H
#define KITH_RELAY_CROWD_H

#include "base/mem.h"
#include "base/random.h"
#include "http/websocket.h"
#include "relay/server.h"

enum { CROWD_CLIENTS_MAX = 64, CROWD_WORKERS_MAX = 4, CROWD_PAYLOAD_KEPT = 2048 };

struct crowd;

struct crowd_client {
    struct crowd *crowd;
    struct kith_relay_server *server;
    struct kith_relay_session *session; /* NULL: its end was seen, or it left */
    struct kith_keypair pair;
    enum kith_relay_version version;
    struct kith_ws_reader reader;
    bool is_stuck;  /* takes nothing */
    bool is_silent; /* answers no challenge and no ping */
    size_t rate;    /* bytes that it takes from each write; 0: all of them */
    bool is_confirmed, is_ready, has_ended, was_asked;
    enum kith_relay_end end;
    uint16_t close_code;
    uint64_t count[KITH_RELAY_KINDS]; /* frames that came */
    uint64_t payload_bytes, bytes;
    int status;          /* of the last Status; -1: none */
    char text[512];      /* of the last Health or denial */
    struct kith_id from; /* of the last datagram, EndpointGone */
    uint8_t ecn;
    uint16_t segment_size;
    uint8_t payload[CROWD_PAYLOAD_KEPT];
    size_t payload_size;
    struct kith_relay_frame last;           /* pointers are stale */
    uint64_t from_count[CROWD_CLIENTS_MAX]; /* datagrams by the sender's number */
    void (*on_frame)(struct crowd_client *client, const struct kith_relay_frame *frame); /* may be NULL */
    void *user;
};

struct crowd {
    const struct kith_mem *mem;
    struct kith_prng prng;
    struct kith_random random;
    unsigned worker_count;
    struct kith_relay_routes routes[CROWD_WORKERS_MAX];
    struct kith_relay_counters counters[CROWD_WORKERS_MAX];
    struct kith_relay_server *servers[CROWD_WORKERS_MAX];
    struct crowd_client clients[CROWD_CLIENTS_MAX];
    size_t client_count;
    uint64_t now_ns;
    bool is_unchecked; /* no walk of the invariants after each step: for large ones */
};

/** Errors of the parts. Leave with crowd_dispose in any case. */
static inline int crowd_init(struct crowd *crowd, const struct kith_mem *mem, unsigned worker_count, size_t inbox_size,
                             const struct kith_relay_server_limits *limits, const struct kith_relay_access *access)
{
    int err;

    *crowd = (struct crowd) { .mem = mem, .worker_count = worker_count, .now_ns = 1000 * KITH_NS_PER_S };
    kith__prng_init(&crowd->prng, 7);
    crowd->random = kith__prng_source(&crowd->prng);
    err = worker_count == 1 ? kith__relay_routes_local_new(mem, 3, &crowd->routes[0])
                            : kith__relay_routes_shared_new(
                                  &(struct kith_relay_routes_shared_options) {
                                      .mem = mem, .worker_count = worker_count, .inbox_size = inbox_size, .seed = 3 },
                                  crowd->routes);
    for (unsigned i = 0; i < worker_count && err == 0; i++)
        err = kith__relay_server_new(&(struct kith_relay_server_options) { .mem = mem,
                                                                           .random = &crowd->random,
                                                                           .routes = &crowd->routes[i],
                                                                           .counters = &crowd->counters[i],
                                                                           .access = access,
                                                                           .limits = limits },
                                     &crowd->servers[i]);
    return err;
}

static inline void crowd_dispose(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->client_count; i++) {
        kith__relay_session_free(crowd->clients[i].session, crowd->now_ns);
        kith__ws_reader_dispose(&crowd->clients[i].reader);
    }
    for (unsigned i = 0; i < crowd->worker_count; i++)
        kith__relay_server_free(crowd->servers[i]);
    kith__relay_routes_free(&crowd->routes[0]);
}

static inline void crowd_check(const struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->worker_count && !crowd->is_unchecked; i++)
        kith__relay_server_check(crowd->servers[i]);
}

/** Every datagram frame that came was sent on, waits, or is counted with a reason. Between workers nothing is under way. */
static inline void crowd_check_sums(const struct crowd *crowd)
{
    uint64_t in = 0, out = 0, dropped = 0, waiting = 0;

    for (unsigned i = 0; i < crowd->worker_count; i++) {
        const struct kith_relay_counters *c = &crowd->counters[i];
        struct kith_relay_session *session = NULL;

        in += kith__relay_counter(&c->send_packets_recv);
        out += kith__relay_counter(&c->send_packets_sent);
        dropped += kith__relay_counter(&c->send_packets_dropped) + kith__relay_counter(&c->drops_queue_full) +
                   kith__relay_counter(&c->drops_queue_share) + kith__relay_counter(&c->drops_memory) +
                   kith__relay_counter(&c->drops_inbox_full) + kith__relay_counter(&c->drops_empty) +
                   kith__relay_counter(&c->drops_oversize) + kith__relay_counter(&c->drops_rate_limited) +
                   kith__relay_counter(&c->drops_closing) + kith__relay_counter(&c->drops_disconnect);
        while ((session = kith__relay_server_next_session(crowd->servers[i], session)) != NULL)
            waiting += kith__relay_session_info(session).queued_frames;
    }
    KITH_ASSERT(in == out + dropped + waiting);
}

/** Sends any bytes of the stream. */
static inline void crowd_send_raw(struct crowd_client *client, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = kith__alloc(kith_mem_default(), size + 1);

    KITH_ASSERT(copy != NULL);
    memcpy(copy, bytes, size);
    if (client->session != NULL)
        kith__relay_session_receive(client->session, copy, size, client->crowd->now_ns);
    kith__free(kith_mem_default(), copy);
}

/** Sends a message as one masked WebSocket frame. */
static inline void crowd_send_message(struct crowd_client *client, enum kith_ws_opcode opcode, const uint8_t *message,
                                      size_t size)
{
    static const uint8_t mask[4] = { 0xa1, 7, 0x3c, 0xf0 };
    uint8_t *bytes = kith__alloc(kith_mem_default(), size + KITH_WS_FRAME_HEAD_MAX);
    size_t head;

    KITH_ASSERT(bytes != NULL);
    head = kith__ws_frame_write(bytes, opcode, mask, size);
    if (size != 0)
        memcpy(bytes + head, message, size);
    kith__ws_mask(bytes + head, size, mask, 0);
    crowd_send_raw(client, bytes, head + size);
    kith__free(kith_mem_default(), bytes);
}

static inline void crowd_send(struct crowd_client *client, const struct kith_relay_frame *frame)
{
    size_t size = kith__relay_frame_size(frame);
    uint8_t *message = kith__alloc(kith_mem_default(), size);
    struct kith_writer w;
    int err;

    KITH_ASSERT(message != NULL);
    w = kith__writer(message, size);
    err = kith__relay_frame_encode(frame, &w);
    KITH_ASSERT(err == 0);
    crowd_send_message(client, KITH_WS_BINARY, message, size);
    kith__free(kith_mem_default(), message);
}

/** Sends a datagram of `size` bytes, all of them `fill`. */
static inline void crowd_send_datagram(struct crowd_client *client, const struct kith_id *to, uint8_t fill, size_t size)
{
    static _Thread_local uint8_t payload[KITH_RELAY_DATAGRAM_PAYLOAD_MAX]; /* clients of several threads send */

    KITH_ASSERT(size <= sizeof payload);
    memset(payload, fill, size);
    crowd_send(client, &(struct kith_relay_frame) { .kind = KITH_RELAY_CLIENT_DATAGRAM,
                                                    .datagram = { .key = to->bytes, .payload = { payload, size } } });
}

static inline void crowd_on_text(struct crowd_client *client, struct kith_slice text)
{
    size_t size = KITH_MIN(text.size, sizeof client->text - 1);

    memcpy(client->text, text.ptr, size);
    client->text[size] = 0;
}

static inline void crowd_on_datagram(struct crowd_client *client, const struct kith_relay_datagram *datagram)
{
    memcpy(client->from.bytes, datagram->key, KITH_ID_SIZE);
    client->ecn = datagram->ecn;
    client->segment_size = datagram->segment_size;
    client->payload_size = datagram->payload.size;
    client->payload_bytes += datagram->payload.size;
    memcpy(client->payload, datagram->payload.ptr, KITH_MIN(datagram->payload.size, (size_t)CROWD_PAYLOAD_KEPT));
    for (size_t i = 0; i < client->crowd->client_count; i++)
        if (memcmp(datagram->key, client->crowd->clients[i].pair.id.bytes, KITH_ID_SIZE) == 0) {
            client->from_count[i]++;
            break;
        }
}

static inline void crowd_on_message(struct crowd_client *client, struct kith_slice message)
{
    struct kith_relay_rules rules = { KITH_RELAY_FROM_SERVER,
                                      client->is_confirmed ? KITH_RELAY_AFTER_HANDSHAKE : KITH_RELAY_IN_HANDSHAKE,
                                      client->version };
    uint8_t auth[KITH_RELAY_CLIENT_AUTH_SIZE];
    struct kith_relay_frame frame;
    int err = kith__relay_frame_decode(message, rules, &frame, NULL);

    KITH_ASSERT(err == 0); /* whatever a client sends: the others get good frames */
    client->count[frame.kind]++;
    client->last = frame;
    if (client->on_frame != NULL)
        client->on_frame(client, &frame);
    switch (frame.kind) {
    case KITH_RELAY_SERVER_CHALLENGE:
        kith__relay_client_auth_write(&client->pair, frame.challenge, auth);
        if (!client->is_silent)
            crowd_send_message(client, KITH_WS_BINARY, auth, sizeof auth);
        break;
    case KITH_RELAY_SERVER_CONFIRMS_AUTH:
        client->is_confirmed = true;
        break;
    case KITH_RELAY_SERVER_DENIES_AUTH:
    case KITH_RELAY_HEALTH:
        crowd_on_text(client, frame.text);
        break;
    case KITH_RELAY_SERVER_DATAGRAM:
    case KITH_RELAY_SERVER_BATCH:
        crowd_on_datagram(client, &frame.datagram);
        break;
    case KITH_RELAY_ENDPOINT_GONE:
        memcpy(client->from.bytes, frame.key, KITH_ID_SIZE);
        break;
    case KITH_RELAY_PING:
        frame.kind = KITH_RELAY_PONG;
        if (!client->is_silent)
            crowd_send(client, &frame);
        break;
    case KITH_RELAY_STATUS:
        client->status = frame.status;
        break;
    default:
        break;
    }
}

/** Bytes of the server reach a client. */
static inline void crowd_deliver(struct crowd_client *client, struct kith_slice bytes)
{
    uint8_t *copy = kith__alloc(kith_mem_default(), bytes.size), *at = copy;
    struct kith_ws_event event;
    int err;

    KITH_ASSERT(copy != NULL);
    memcpy(copy, bytes.ptr, bytes.size);
    client->bytes += bytes.size;
    while ((err = kith__ws_reader_next(&client->reader, &at, copy + bytes.size, &event)) == 0) {
        if (event.kind == KITH_WS_CLOSE)
            client->close_code = event.code;
        if (event.kind == KITH_WS_BINARY)
            crowd_on_message(client, (struct kith_slice) { event.bytes, event.size });
    }
    KITH_ASSERT(err == KITH_ERR_AGAIN || err == KITH_ERR_END);
    kith__free(kith_mem_default(), copy);
}

/** One write of a session. */
static inline void crowd_write(struct crowd_client *client)
{
    struct kith_slice slices[8];
    size_t count = kith__relay_session_output(client->session, slices, KITH_COUNT(slices)), size = 0;
    size_t left = client->rate != 0 ? client->rate : SIZE_MAX;

    if (count == 0 || client->is_stuck)
        return; /* a stuck one's write stays under way */
    for (size_t i = 0; i < count && left != 0; i++) {
        struct kith_slice part = { slices[i].ptr, KITH_MIN(slices[i].size, left) };

        crowd_deliver(client, part);
        size += part.size;
        left -= part.size;
    }
    kith__relay_session_sent(client->session, size, client->crowd->now_ns);
}

static inline void crowd_on_event(struct crowd *crowd, const struct kith_relay_event *event)
{
    struct crowd_client *client = event->user;

    switch (event->kind) {
    case KITH_RELAY_EVENT_ACCESS:
        client->was_asked = true;
        break;
    case KITH_RELAY_EVENT_READY:
        client->is_ready = true;
        break;
    case KITH_RELAY_EVENT_ENDED:
        KITH_ASSERT(event->why != NULL);
        client->has_ended = true;
        client->end = event->end;
        client->session = NULL;
        kith__relay_session_free(event->session, crowd->now_ns);
        break;
    }
}

/** Runs all servers until nothing moves. Clients with a rate get one write of each session only. */
static inline void crowd_pump(struct crowd *crowd)
{
    for (int round = 0; round < 1000; round++) {
        bool is_quiet = true;

        for (unsigned i = 0; i < crowd->worker_count; i++) {
            struct kith_relay_server *server = crowd->servers[i];
            struct kith_relay_session *session;
            struct kith_relay_event event;

            is_quiet &= !kith__relay_server_on_inbox(server, crowd->now_ns);
            for (int n = 0; n < 256 && (session = kith__relay_server_next_writer(server)) != NULL; n++) {
                crowd_write(kith__relay_session_user(session));
                is_quiet = false;
            }
            while (kith__relay_server_next_event(server, &event)) {
                crowd_on_event(crowd, &event);
                is_quiet = false;
            }
            kith__relay_server_flush(server);
        }
        crowd_check(crowd);
        if (is_quiet && round >= 2)
            return;
    }
}

/** Lets time pass, timer by timer. */
static inline void crowd_advance(struct crowd *crowd, uint64_t duration_ns)
{
    uint64_t until_ns = crowd->now_ns + duration_ns;

    crowd_pump(crowd);
    for (;;) {
        uint64_t next_ns = KITH_NEVER;

        for (unsigned i = 0; i < crowd->worker_count; i++)
            next_ns = KITH_MIN(next_ns, kith__relay_server_deadline(crowd->servers[i]));
        if (next_ns > until_ns)
            break;
        crowd->now_ns = KITH_MAX(crowd->now_ns, next_ns);
        for (unsigned i = 0; i < crowd->worker_count; i++)
            kith__relay_server_on_deadline(crowd->servers[i], crowd->now_ns);
        crowd_pump(crowd);
    }
    crowd->now_ns = until_ns;
}

/** A new client with the key of this number, not connected; never more than CROWD_CLIENTS_MAX. */
static inline struct crowd_client *crowd_add(struct crowd *crowd, uint8_t key, enum kith_relay_version version)
{
    struct crowd_client *client = &crowd->clients[crowd->client_count++];
    struct kith_secret secret;

    KITH_ASSERT(crowd->client_count <= CROWD_CLIENTS_MAX);
    memset(secret.bytes, key, sizeof secret.bytes);
    *client = (struct crowd_client) { .crowd = crowd, .version = version, .status = -1 };
    kith__keypair_init(&client->pair, &secret);
    kith__ws_reader_init(
        &client->reader,
        &(struct kith_ws_reader_options) { .mem = kith_mem_default(), .message_size_max = KITH_WS_MESSAGE_SIZE_MAX });
    return client;
}

/** Opens its session on a worker with a header or token of the caller; the rest of `open` is filled in. Errors of the server. */
static inline int crowd_open(struct crowd_client *client, unsigned worker, struct kith_relay_open open)
{
    open.version = client->version;
    open.remote = (struct kith_sockaddr) { .ip = { 192, 0, 2, 1 }, .port = 1, .family = KITH_FAMILY_V4 };
    if (open.accepted_ns == 0)
        open.accepted_ns = client->crowd->now_ns;
    open.user = client;
    client->server = client->crowd->servers[worker];
    return kith__relay_session_open(client->server, &open, client->crowd->now_ns, &client->session);
}

/** A new client of version 2, connected to a worker. */
static inline struct crowd_client *crowd_connect(struct crowd *crowd, unsigned worker, uint8_t key)
{
    struct crowd_client *client = crowd_add(crowd, key, KITH_RELAY_V2);
    int err = crowd_open(client, worker, (struct kith_relay_open) { 0 });

    KITH_ASSERT(err == 0);
    crowd_pump(crowd);
    KITH_ASSERT(client->is_confirmed && client->is_ready);
    return client;
}

/** Its link ends. */
static inline void crowd_leave(struct crowd_client *client)
{
    kith__relay_session_free(client->session, client->crowd->now_ns);
    client->session = NULL;
}

#endif
