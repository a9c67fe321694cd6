/* The engine alone (kith/quic.h): two endpoints in one program, no socket, no clock, no thread. Datagrams are handed over by
 * hand and time is a number. This is how one puts kith under a transport of one's own, or under a simulator. */
#include <kith/quic.h>
#include <stdio.h>
#include <string.h>

static uint64_t now = KITH_NS_PER_S; /* our time, in nanoseconds */

/* A demonstration only: a real program needs real random numbers here. */
static void random_fill(void *ctx, uint8_t *out, size_t size)
{
    uint64_t *state = ctx;

    for (size_t i = 0; i < size; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        out[i] = (uint8_t)(*state >> 56);
    }
}

static struct kith_quic_host *make_host(uint64_t *random, uint8_t key)
{
    struct kith_slice alpn = { (const uint8_t *)"example/echo/1", 14 };
    struct kith_quic_host_options options;
    struct kith_quic_host *host;

    kith_quic_host_defaults(&options);
    options.random = (struct kith_random) { random_fill, random };
    memset(options.secret.bytes, key, sizeof options.secret.bytes);
    options.alpns = &alpn;
    options.alpn_count = 1;
    return kith_quic_host_new(&options, &host) == 0 ? host : NULL;
}

/* Carries everything that `from` has to send over to `to`. Returns how many batches. */
static int carry(struct kith_quic_host *from, struct kith_quic_host *to, struct kith_sockaddr from_addr)
{
    static uint8_t buffer[65507];
    struct kith_quic_transmit transmit;
    int count = 0;

    for (; kith_quic_host_transmit(from, buffer, sizeof buffer, &transmit, now); count++) {
        struct kith_quic_received received = { transmit.remote,       from_addr,   buffer, transmit.size,
                                               transmit.segment_size, transmit.ecn };

        kith_quic_host_receive(to, &received, now);
    }
    return count;
}

static void on_server_event(struct kith_quic_event *event)
{
    struct kith_quic_conn *conn;
    char buffer[256];
    size_t size, written;
    int err;

    if (event->kind == KITH_QUIC_INCOMING && kith_quic_incoming_accept(event->incoming, NULL, now, &conn) != 0)
        printf("not accepted\n");
    if (event->kind != KITH_QUIC_STREAM_READABLE)
        return;
    while ((err = kith_quic_stream_read(event->conn, event->stream, buffer, sizeof buffer, &size, NULL)) == 0)
        if (kith_quic_stream_write(event->conn, event->stream, buffer, size, false, &written) != 0)
            return;
    if (err == KITH_ERR_END && kith_quic_stream_finish(event->conn, event->stream) != 0)
        printf("not finished\n");
}

/* Returns true when the echo is here. */
static bool on_client_event(struct kith_quic_event *event)
{
    uint64_t stream;
    char buffer[256];
    size_t size;

    if (event->kind == KITH_QUIC_CONNECTED && kith_quic_stream_open(event->conn, true, &stream) == 0)
        return kith_quic_stream_write(event->conn, stream, "hello", 5, true, &size) != 0;
    if (event->kind != KITH_QUIC_STREAM_READABLE ||
        kith_quic_stream_read(event->conn, event->stream, buffer, sizeof buffer, &size, NULL) != 0)
        return false;
    printf("%.*s\n", (int)size, buffer);
    return true;
}

int main(void)
{
    struct kith_sockaddr client_addr = { .family = KITH_FAMILY_V4, .ip = { 192, 0, 2, 1 }, .port = 1000 };
    struct kith_sockaddr server_addr = { .family = KITH_FAMILY_V4, .ip = { 192, 0, 2, 2 }, .port = 2000 };
    struct kith_slice alpn = { (const uint8_t *)"example/echo/1", 14 };
    uint64_t random_a = 1, random_b = 2;
    struct kith_quic_host *client = make_host(&random_a, 1), *server = make_host(&random_b, 2);
    struct kith_quic_connect_options options = {
        .remotes = &server_addr, .remote_count = 1, .local = client_addr, .alpns = &alpn, .alpn_count = 1
    };
    struct kith_quic_event event;
    struct kith_quic_conn *conn;
    bool done = false;

    if (client == NULL || server == NULL)
        return 1;
    options.remote_id = kith_quic_host_id(server);
    if (kith_quic_connect(client, &options, now, &conn) != 0)
        return 1;
    for (int turn = 0; turn < 1000 && !done; turn++) {
        int moved = carry(client, server, client_addr);

        while (kith_quic_host_next_event(server, &event))
            on_server_event(&event);
        moved += carry(server, client, server_addr);
        while (kith_quic_host_next_event(client, &event))
            done |= on_client_event(&event);
        if (moved == 0) { /* nothing on the way: jump to the next timer */
            uint64_t a = kith_quic_host_deadline(client), b = kith_quic_host_deadline(server);

            now = a < b ? a : b;
            kith_quic_host_on_deadline(client, now);
            kith_quic_host_on_deadline(server, now);
        }
    }
    kith_quic_host_free(client);
    kith_quic_host_free(server);
    return done ? 0 : 1;
}
