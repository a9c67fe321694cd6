/*
 * What a relay's core costs for each datagram, without sockets and TLS: ten pairs of clients whose frames of 1200 bytes come in
 * bursts of 16, are forwarded, and leave in one write for each client. Prints nanoseconds a datagram; the sockets come on top.
 */
#include "relay_load.h"

#include "base/random.h"
#include "relay/server.h"

#include <errno.h>
#include <time.h>

enum { CLIENTS = 20, TURNS = 20000 };

static struct {
    struct kith_relay_session *session;
    struct kith_keypair pair;
    uint8_t frames[BURST * FRAME];
} clients[CLIENTS];

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void message(uint8_t *out, size_t size)
{
    out[0] = 0x82;
    out[1] = 0x80 | 126;
    out[2] = (uint8_t)(size >> 8);
    out[3] = (uint8_t)size;
}

/* Everything that waits goes out; the last bytes of the first slice are where the challenge is, in the beginning. */
static size_t drain(struct kith_relay_server *server, uint8_t *challenge, uint64_t now_ns)
{
    struct kith_relay_session *session;
    struct kith_relay_event event;
    size_t all = 0;

    while ((session = kith__relay_server_next_writer(server)) != NULL) {
        struct kith_slice slices[16];
        size_t count = kith__relay_session_output(session, slices, 16), size = 0;

        for (size_t i = 0; i < count; i++)
            size += slices[i].size;
        if (challenge != NULL && size == 3 + KITH_RELAY_CHALLENGE_SIZE)
            memcpy(challenge, slices[0].ptr + 3, KITH_RELAY_CHALLENGE_SIZE);
        kith__relay_session_sent(session, size, now_ns);
        all += size;
    }
    while (kith__relay_server_next_event(server, &event))
        CHECK(event.kind == KITH_RELAY_EVENT_READY);
    kith__relay_server_flush(server);
    return all;
}

static void join(struct kith_relay_server *server, int index)
{
    struct kith_relay_open open = { .version = KITH_RELAY_V2, .accepted_ns = 1 };
    struct kith_secret secret = { { (uint8_t)(index + 1) } };
    uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE], answer[FRAME_HEAD + KITH_RELAY_CLIENT_AUTH_SIZE] = { 0 };

    kith__keypair_init(&clients[index].pair, &secret);
    CHECK(kith__relay_session_open(server, &open, 1, &clients[index].session) == 0);
    drain(server, challenge, 1);
    message(answer, KITH_RELAY_CLIENT_AUTH_SIZE);
    kith__relay_client_auth_write(&clients[index].pair, challenge, answer + FRAME_HEAD);
    kith__relay_session_receive(clients[index].session, answer, sizeof answer, 1);
    drain(server, NULL, 1);
}

int main(void)
{
    static struct kith_relay_counters counters;
    struct kith_prng prng;
    struct kith_random random = kith__prng_source(&prng);
    struct kith_relay_routes routes;
    struct kith_relay_server *server;
    struct kith_relay_server_options options = {
        .mem = kith_mem_default(), .random = &random, .routes = &routes, .counters = &counters
    };
    uint64_t now_ns = 1;
    size_t bytes = 0;
    double started;

    kith__prng_init(&prng, 1);
    CHECK(kith__relay_routes_local_new(options.mem, 5, &routes) == 0);
    CHECK(kith__relay_server_new(&options, &server) == 0);
    for (int i = 0; i < CLIENTS; i++)
        join(server, i);
    for (int i = 0; i < CLIENTS; i++) {
        for (int k = 0; k < BURST; k++) {
            uint8_t *at = clients[i].frames + (size_t)k * FRAME;

            message(at, FRAME - FRAME_HEAD);
            kith__relay_datagram_head(KITH_RELAY_FROM_CLIENT,
                                      &(struct kith_relay_datagram) { .key = clients[i ^ 1].pair.id.bytes },
                                      at + FRAME_HEAD);
        }
    }
    started = seconds();
    for (int turn = 0; turn < TURNS; turn++) {
        now_ns += 1000;
        for (int i = 0; i < CLIENTS; i++)
            kith__relay_session_receive(clients[i].session, clients[i].frames, sizeof clients[i].frames, now_ns);
        bytes += drain(server, NULL, now_ns);
    }
    CHECK(bytes == (size_t)TURNS * CLIENTS * BURST * (4 + KITH_RELAY_DATAGRAM_OVERHEAD + PAYLOAD));
    printf("%.1f ns a datagram\n", (seconds() - started) * 1e9 / ((double)TURNS * CLIENTS * BURST));
    kith__relay_server_free(server);
    kith__relay_routes_free(&routes);
    return 0;
}
