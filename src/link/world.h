/**
 * For tests only: two machines that reach each other, in the simulated world or as two ends of loopback, with TLS contexts,
 * and a peer that records what its link tells.
 */
#ifndef KITH_LINK_WORLD_H
#define KITH_LINK_WORLD_H

#include "base/buf.h"
#include "base/mem.h"
#include "base/test.h"
#include "link/link.h"
#include "rt/sim/sim.h"
#include "rt/uv/uv.h"
#include "tls/stream_duo.h"

#include <string.h>

enum { WORLD_SIM = 0, WORLD_REAL = 1, WORLD_PLAIN = 0, WORLD_TLS = 2, WORLD_KINDS = 4 }; /* kinds: one of each */

struct world {
    bool is_real, is_tls;
    struct kith_sim *sim;
    struct kith_sim_host *client_host, *server_host;
    struct kith_rt *client, *server;                         /* real: the same one */
    struct kith_sockaddr at;                                 /* of the server, without a port */
    struct kith_tls_stream_context *client_tls, *server_tls; /* NULL: plain */
};

/** mem: of both rts and the contexts; may be NULL. now_s: the wall clock. The server is relay.test; links take 20 ms each way. */
static inline void world_open(struct world *world, int kind, const struct kith_mem *mem, uint64_t now_s)
{
    struct kith_sim_host_options options = { .name = "client", .mem = mem };

    *world = (struct world) { .is_real = kind & WORLD_REAL, .is_tls = kind & WORLD_TLS };
    if (world->is_tls) {
        KITH_CHECK(sduo_certs(now_s) != NULL);
        KITH_CHECK_EQ(sduo_client_context(mem != NULL ? mem : kith_mem_default(), now_s, &world->client_tls), 0);
        KITH_CHECK_EQ(sduo_server_context(mem != NULL ? mem : kith_mem_default(), now_s, &world->server_tls), 0);
    }
    if (world->is_real) {
        KITH_CHECK_EQ(kith__rt_uv_new(mem, NULL, &world->client), 0);
        world->server = world->client;
        KITH_CHECK_EQ(kith_sockaddr_parse("127.0.0.1:0", &world->at), 0);
        return;
    }
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, kith__test_seed(1), &world->sim), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("[2001:db8::1]:0", &options.addrs[1]), 0);
    options.up.delay_ns = options.down.delay_ns = 10 * KITH_NS_PER_MS;
    KITH_CHECK_EQ(kith__sim_host_new(world->sim, &options, &world->client_host), 0);
    options.name = "relay.test";
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.2:0", &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("[2001:db8::2]:0", &options.addrs[1]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(world->sim, &options, &world->server_host), 0);
    world->at = options.addrs[0];
    world->client = kith__sim_rt(world->client_host);
    world->server = kith__sim_rt(world->server_host);
}

static inline void world_close(struct world *world)
{
    kith__tls_stream_context_release(world->client_tls);
    kith__tls_stream_context_release(world->server_tls);
    kith__rt_free(world->client);
    if (!world->is_real)
        kith__rt_free(world->server);
    kith__sim_free(world->sim);
}

static inline bool world_is_done(void *ctx)
{
    return *(const bool *)ctx;
}

/** Runs until it is true; a failure after 30 s. */
static inline void world_run(struct world *world, bool *done)
{
    if (!world->is_real)
        KITH_CHECK_EQ(kith__sim_run(world->sim, world_is_done, done, kith__sim_now(world->sim) + 30 * KITH_NS_PER_S),
                      KITH_SIM_OK);
    else
        KITH_CHECK_EQ(kith__rt_run(world->client, done, kith__rt_now(world->client) + 30 * KITH_NS_PER_S), 0);
}

/** Lets time pass. Real: only what is ready now is done, a few times. */
static inline void world_pass(struct world *world, uint64_t ns)
{
    if (!world->is_real)
        KITH_CHECK_EQ(kith__sim_run(world->sim, NULL, NULL, kith__sim_now(world->sim) + ns), KITH_SIM_OK);
    for (int i = 0; world->is_real && i < 20; i++) {
        kith__rt_process(world->client);
        kith__rt_wait(world->client, kith__rt_now(world->client) + 2 * KITH_NS_PER_MS);
    }
}

/** What one link told. The owner closes it. */
struct peer {
    struct kith_link *link;
    struct kith_buf got;
    int open_err, end_err, written_err;
    char why[KITH_LINK_WHY_SIZE];
    bool is_open_told, is_ended, is_written, is_closed;
    bool pauses;   /* after each on_data */
    size_t wanted; /* got.size that makes has_wanted */
    bool has_wanted;
};

static inline void peer_open(void *ctx, int err, const char *why)
{
    struct peer *peer = ctx;

    KITH_CHECK(!peer->is_open_told && !peer->is_ended);
    peer->is_open_told = true;
    peer->open_err = err;
    KITH_CHECK_EQ(err != 0, why[0] != '\0');
    strcpy(peer->why, why);
}

static inline void peer_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct peer *peer = ctx;

    KITH_CHECK(peer->is_open_told && !peer->is_ended && size > 0);
    KITH_CHECK_EQ(kith__buf_append(&peer->got, bytes, size), 0);
    memset(bytes, 0xee, size); /* it may be changed */
    peer->has_wanted = peer->wanted > 0 && peer->got.size >= peer->wanted;
    if (peer->pauses)
        kith__link_read_pause(peer->link);
}

static inline void peer_end(void *ctx, int err)
{
    struct peer *peer = ctx;

    KITH_CHECK(peer->is_open_told && !peer->is_ended);
    peer->is_ended = true;
    peer->end_err = err;
}

static inline void peer_writable(void *ctx, int err)
{
    struct peer *peer = ctx;

    peer->is_written = true;
    peer->written_err = err;
}

static inline void peer_closed(void *ctx)
{
    struct peer *peer = ctx;

    KITH_CHECK(!peer->is_closed);
    peer->is_closed = true;
    peer->link = NULL;
}

static inline struct kith_link_events peer_events(struct peer *peer)
{
    peer->got.mem = kith_mem_default();
    return (struct kith_link_events) { peer_open, peer_data, peer_end, peer_writable, peer_closed, peer };
}

static inline void peer_dispose(struct peer *peer)
{
    kith__link_close(peer->link);
    kith__buf_dispose(&peer->got);
    *peer = (struct peer) { 0 };
}

/** Accepts one connection after the other into peers[0], [1], ... */
struct acceptor {
    struct world *world;
    struct kith_rt_listener *listener;
    struct peer *peers;
    size_t cap, count;
    int err; /* of kith__link_accept */
};

static inline void acceptor_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct acceptor *acceptor = ctx;
    struct peer *peer = &acceptor->peers[acceptor->count];
    struct kith_link_events events;

    KITH_CHECK(acceptor->count < acceptor->cap);
    events = peer_events(peer);
    acceptor->err = kith__link_accept(acceptor->world->server, stream, acceptor->world->server_tls, &events,
                                      &peer->link);
    acceptor->count += acceptor->err == 0;
}

/** Listens on a port that the system picks. */
static inline int acceptor_open(struct acceptor *acceptor, struct world *world, struct peer *peers, size_t cap)
{
    struct kith_rt_stream_addr at = { .ip = world->at };

    *acceptor = (struct acceptor) { .world = world, .peers = peers, .cap = cap };
    return kith__rt_listen(world->server, &at, acceptor_accept, acceptor, &acceptor->listener);
}

#endif
