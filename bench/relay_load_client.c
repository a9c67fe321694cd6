/* The connections of relay-load: dialling, handshake, frames. Every mask is zero: a relay cannot tell, and unmasks all the same. */
#define _GNU_SOURCE
#include "relay_load.h"

#include "http/websocket.h"
#include "relay/handshake.h"
#include "tls/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

uint64_t load_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void watch(struct load *load, struct load_client *client, int operation, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = client };

    CHECK(epoll_ctl(load->epoll, operation, client->fd, &event) == 0);
}

static void watch_room(struct load *load, struct load_client *client, bool waits)
{
    if (client->waits_for_room == waits)
        return;
    client->waits_for_room = waits;
    watch(load, client, EPOLL_CTL_MOD, EPOLLIN | (waits ? (uint32_t)EPOLLOUT : 0));
}

/* Ciphertext to the socket; true if all of it went. */
static bool flush_tls(struct load *load, struct load_client *client)
{
    struct kith_slice out;

    while ((out = kith__tls_stream_output(client->tls)).size > 0) {
        ssize_t sent = send(client->fd, out.ptr, out.size, MSG_NOSIGNAL);

        if (sent < 0) {
            CHECK(errno == EAGAIN);
            watch_room(load, client, true);
            return false;
        }
        kith__tls_stream_sent(client->tls, (size_t)sent);
    }
    return true;
}

/* Returns how many bytes were taken. */
static size_t write_some(struct load *load, struct load_client *client, const uint8_t *bytes, size_t size)
{
    size_t taken = 0;
    ssize_t sent;

    if (client->tls != NULL) {
        if (!flush_tls(load, client) || kith__tls_stream_write(client->tls, bytes, size, &taken) != 0)
            return 0;
        flush_tls(load, client);
        return taken;
    }
    sent = send(client->fd, bytes, size, MSG_NOSIGNAL);
    if (sent < 0) {
        CHECK(errno == EAGAIN);
        sent = 0;
    }
    watch_room(load, client, (size_t)sent < size);
    return (size_t)sent;
}

/* For the few small messages of a handshake, and pongs between bursts: there is room for them, or the relay is stuck. */
static void write_all(struct load *load, struct load_client *client, const uint8_t *bytes, size_t size)
{
    if (client->partial == 0)
        CHECK(write_some(load, client, bytes, size) == size);
}

static void send_frame(struct load *load, struct load_client *client, const uint8_t *frame, size_t size)
{
    uint8_t message[FRAME_HEAD + KITH_RELAY_CLIENT_AUTH_SIZE] = { 0x82, (uint8_t)(0x80 | size) };

    CHECK(size < 126);
    memcpy(message + 6, frame, size);
    write_all(load, client, message, 6 + size);
}

void load_send(struct load *load, struct load_client *client)
{
    bool is_stamped = load->is_timed && client->peer != client;

    while (client->wanted > 0) {
        uint32_t count = client->wanted < BURST ? client->wanted : BURST;
        size_t size = (size_t)count * FRAME - client->partial, taken;

        if (is_stamped) {
            uint64_t now = load_now();

            for (uint32_t i = client->partial > 0; i < count; i++)
                memcpy(client->frames + (size_t)i * FRAME + STAMP_AT, &now, sizeof now);
        }
        taken = client->partial + write_some(load, client, client->frames + client->partial, size);
        if (taken < client->partial + size && is_stamped && taken % FRAME > STAMP_AT)
            memcpy(client->frames + STAMP_AT, client->frames + taken / FRAME * FRAME + STAMP_AT, sizeof(uint64_t));
        client->partial = (uint32_t)(taken % FRAME);
        client->wanted -= (uint32_t)(taken / FRAME);
        client->in_flight += (uint32_t)(taken / FRAME);
        client->sent += taken / FRAME;
        if (taken < (size_t)count * FRAME)
            return;
    }
}

static void make_frame(uint8_t *at, size_t frame_size, const uint8_t *key)
{
    static const uint8_t mask[4];
    size_t head = frame_size == FRAME ? (size_t)FRAME_HEAD : kith__ws_frame_head_size(0, true);

    CHECK(kith__ws_frame_write(at, KITH_WS_BINARY, mask, frame_size - head) == head);
    kith__relay_datagram_head(KITH_RELAY_FROM_CLIENT, &(struct kith_relay_datagram) { .key = key }, at + head);
}

/* BURST places of FRAME bytes each: one frame in each, or of an abuser's tiny ones as many as fill it. */
static void make_frames(const struct load *load, struct load_client *client, bool is_abuser)
{
    static const uint8_t nobody[KITH_ID_SIZE] = { 9 };
    const uint8_t *key = is_abuser && load->abuse != LOAD_ABUSE_SELF ? nobody : client->peer->pair.id.bytes;
    size_t size = is_abuser && load->abuse == LOAD_ABUSE_TINY ? FRAME / TINY_COUNT : FRAME;

    CHECK((client->frames = calloc(BURST, FRAME)) != NULL);
    for (size_t at = 0; at < (size_t)BURST * FRAME; at += size)
        make_frame(client->frames + at, size, key);
}

static void on_confirmed(struct load *load, struct load_client *client)
{
    client->state = LOAD_OPEN;
    load->open++;
}

static void on_frame(struct load *load, struct load_client *client, const uint8_t *frame, size_t size)
{
    uint8_t answer[KITH_RELAY_CLIENT_AUTH_SIZE];

    CHECK(size >= 1);
    if (client->state == LOAD_AUTHENTICATING) {
        if (frame[0] == KITH_RELAY_SERVER_CONFIRMS_AUTH) {
            on_confirmed(load, client);
            return;
        }
        CHECK(frame[0] == KITH_RELAY_SERVER_CHALLENGE && size == 1 + KITH_RELAY_CHALLENGE_SIZE);
        kith__relay_client_auth_write(&client->pair, frame + 1, answer);
        send_frame(load, client, answer, sizeof answer);
    } else if (frame[0] == KITH_RELAY_SERVER_DATAGRAM) {
        CHECK(size == FRAME - FRAME_HEAD);
        load->arrived++;
        client->got++;
        if (load->is_timed && client->peer != client) {
            uint64_t stamp;

            memcpy(&stamp, frame + KITH_RELAY_DATAGRAM_OVERHEAD, sizeof stamp);
            load->on_stamp(client, stamp);
        }
        if (client->peer->in_flight > 0)
            client->peer->in_flight--;
        load->on_arrival(load, client);
    } else if (frame[0] == KITH_RELAY_PING && size == 1 + KITH_RELAY_PING_SIZE) {
        memcpy(answer, frame, size);
        answer[0] = KITH_RELAY_PONG;
        send_frame(load, client, answer, size);
    }
}

/* Whole messages of [at, at + size); returns how many bytes were used. A relay does not fragment and does not mask. */
static size_t take_messages(struct load *load, struct load_client *client, const uint8_t *at, size_t size)
{
    size_t used = 0;

    for (;;) {
        const uint8_t *head = at + used;
        size_t left = size - used, head_size = 2, body;

        if (left < 4 && !(left >= 2 && left >= 2u + head[1]))
            return used;
        body = head[1];
        if (body >= 126) {
            CHECK(body == 126);
            body = (size_t)head[2] << 8 | head[3];
            head_size = 4;
        }
        if (left < head_size + body)
            return used;
        if (head[0] == 0x82)
            on_frame(load, client, head + head_size, body);
        used += head_size + body;
    }
}

static void send_request(struct load *load, struct load_client *client)
{
    char text[512];
    int size = snprintf(text, sizeof text,
                        "GET /relay HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Protocol: iroh-relay-v2, iroh-relay-v1\r\n\r\n");

    client->state = LOAD_UPGRADING;
    write_all(load, client, (const uint8_t *)text, (size_t)size);
}

/* Plaintext that came, behind what was carried over. */
static size_t take(struct load *load, struct load_client *client, const uint8_t *at, size_t size)
{
    size_t used = 0;

    if (client->state == LOAD_UPGRADING) {
        const uint8_t *end = memmem(at, size, "\r\n\r\n", 4);

        if (end == NULL)
            return 0;
        CHECK(memcmp(at, "HTTP/1.1 101", 12) == 0);
        used = (size_t)(end + 4 - at);
        client->state = LOAD_AUTHENTICATING;
    }
    return used + take_messages(load, client, at + used, size - used);
}

/* The shared buffer holds `size` bytes, those carried over first. */
static void on_plain(struct load *load, struct load_client *client, uint8_t *bytes, size_t size)
{
    size_t used = take(load, client, bytes, size);

    free(client->carry);
    client->carry = NULL;
    client->carry_size = (uint32_t)(size - used);
    if (used < size) {
        CHECK((client->carry = malloc(size - used)) != NULL);
        memcpy(client->carry, bytes + used, size - used);
    }
}

static void on_cipher(struct load *load, struct load_client *client, uint8_t *bytes, size_t size)
{
    static uint8_t joined[READ_MAX];
    uint8_t *plain;
    size_t plain_size, filled = client->carry_size;
    int err = kith__tls_stream_receive(client->tls, bytes, size);

    CHECK(err == 0);
    memcpy(joined, client->carry, filled);
    while ((err = kith__tls_stream_read(client->tls, &plain, &plain_size)) == 0) {
        CHECK(filled + plain_size <= sizeof joined);
        memcpy(joined + filled, plain, plain_size);
        filled += plain_size;
    }
    CHECK(err == KITH_ERR_AGAIN);
    if (filled > client->carry_size)
        on_plain(load, client, joined, filled);
    flush_tls(load, client);
    if (client->state == LOAD_CONNECTING && kith__tls_stream_is_open(client->tls))
        send_request(load, client);
}

static void on_readable(struct load *load, struct load_client *client)
{
    size_t before = client->tls == NULL ? client->carry_size : 0;
    ssize_t got;

    memcpy(load->read_buffer, client->carry != NULL ? client->carry : load->read_buffer, before);
    got = recv(client->fd, load->read_buffer + before, READ_MAX / 2, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        fprintf(stderr, "relay-load: the relay ended a connection in state %d\n", (int)client->state);
        exit(1);
    }
    client->progress_ns = load_now();
    if (client->tls != NULL)
        on_cipher(load, client, load->read_buffer, (size_t)got);
    else
        on_plain(load, client, load->read_buffer, before + (size_t)got);
}

static void on_connected(struct load *load, struct load_client *client)
{
    int error = 0;
    socklen_t size = sizeof error;

    CHECK(getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    errno = error;
    CHECK(error == 0);
    if (client->tls == NULL)
        send_request(load, client);
    else
        flush_tls(load, client);
}

void load_turn(struct load *load, uint64_t timeout_ns)
{
    struct epoll_event events[256];
    struct timespec timeout = { (time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u) };
    int count = epoll_pwait2(load->epoll, events, 256, &timeout, NULL);

    CHECK(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++) {
        struct load_client *client = events[i].data.ptr;

        if ((events[i].events & EPOLLOUT) != 0) {
            watch_room(load, client, false);
            if (client->state == LOAD_CONNECTING)
                on_connected(load, client);
            else if (client->tls == NULL || flush_tls(load, client))
                load_send(load, client);
        }
        if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
            on_readable(load, client);
    }
}

static void start(struct load *load, size_t index)
{
    struct load_client *client = &load->clients[index];
    struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET, .sin_port = htons(load->port) };
    int on = 1;

    /* 127.0.0.1, 127.0.1.1, ...: far from what else listens on loopback. */
    from.sin_addr.s_addr = htonl(0x7f000001u + ((uint32_t)(index % (load->sources + 1)) << 8));
    CHECK(inet_pton(AF_INET, load->host, &to.sin_addr) == 1);
    CHECK((client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) >= 0);
    CHECK(setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    CHECK(bind(client->fd, (struct sockaddr *)&from, sizeof from) == 0);
    CHECK(connect(client->fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
    if (load->tls != NULL)
        CHECK(kith__tls_stream_new(load->tls, "localhost", &client->tls) == 0);
    client->waits_for_room = true;
    watch(load, client, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    load->started++;
}

static void make_keys(struct load *load, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct kith_secret secret = { { 0x6c, 0x6f, 0x61, 0x64 } };

        memcpy(secret.bytes + 4, &i, sizeof i);
        kith__keypair_init(&load->clients[i].pair, &secret);
        load->clients[i].peer = &load->clients[i < count - load->abusers ? i ^ 1 : i];
    }
}

void load_open(struct load *load, size_t count, size_t at_once, bool with_frames)
{
    CHECK(count % 2 == 0);
    CHECK((load->clients = calloc(count, sizeof *load->clients)) != NULL);
    CHECK((load->read_buffer = malloc(READ_MAX)) != NULL);
    CHECK((load->epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    load->count = count;
    make_keys(load, count);
    for (size_t i = 0; with_frames && i < count; i++)
        make_frames(load, &load->clients[i], i >= count - load->abusers);
    while (load->open < count) {
        while (load->started < count && load->started - load->open < at_once)
            start(load, load->started);
        load_turn(load, 1000000000);
    }
}
