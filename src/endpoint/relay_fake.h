/**
 * For tests: a small relay on a simulated host that can misbehave on order, and endpoints (driver, relays, one connection with
 * its policy) that talk through it. Functions are in relay_fake_test.c.
 */
#ifndef KITH_ENDPOINT_RELAY_FAKE_H
#define KITH_ENDPOINT_RELAY_FAKE_H

#include "endpoint/conn_ways.h"
#include "endpoint/driver.h"
#include "http/websocket.h"
#include "rt/sim/sim.h"

enum { FAKE_PORT = 80, FAKE_CLIENTS_MAX = 16, FAKE_ENDPOINTS_MAX = 3, FAKE_RELAYS_MAX = 4 };

struct fake_relay;

/** One connection of a client to the fake relay. */
struct fake_client {
    struct fake_relay *relay;
    struct kith_rt_stream *stream;
    struct kith_http_intake intake;
    struct kith_ws_reader reader;
    bool is_upgraded, is_ready, is_writing, is_ending;
    struct kith_id id;
    struct kith_buf waiting, writing;
};

struct fake_relay {
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_rt_listener *listener;
    struct fake_client *clients[FAKE_CLIENTS_MAX]; /* the newest last */
    size_t client_count;
    bool is_mute;    /* reads everything, answers nothing: as good as dead */
    bool denies;     /* says no after the signature */
    bool drops;      /* lets in, and ends the connection at once */
    bool loses_data; /* forwards no datagrams, but answers pings */
    bool joins;      /* the answer to an upgrade and the first message come in one write */
    uint16_t status; /* of the answer to an upgrade; 0: 101 */
    uint64_t accepted, pings, datagrams, batches, probes, goodbyes;
    char authorization[128]; /* of the last upgrade */
    char target[128];
};

struct fake_endpoint {
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_driver *driver;
    struct kith_relays *relays;
    struct kith_quic_conn *conn; /* the last one */
    struct kith_conn_ways ways;
    struct kith_rt_timer ways_timer, beat_timer;
    bool is_connected, is_closed;
    bool is_beating; /* writes a byte on a stream every 50 ms; the other side writes it back */
    uint64_t stream, beats, echoes, last_echo_ns, gap_ns; /* gap_ns: the longest time without an echo */
    uint64_t home_news, connected_news, lost_news, gone_news, left_news;
};

struct fake_world {
    struct kith_sim *sim;
    struct fake_relay relays[FAKE_RELAYS_MAX];
    struct fake_endpoint endpoints[FAKE_ENDPOINTS_MAX];
};

/** A world with so many relays (r0 is 10.0.0.1) and endpoints (10.0.1.1 ...), all 5 ms from the core. */
void fake_world_open(struct fake_world *world, size_t relay_count, size_t endpoint_count, const struct kith_mem *mem);
void fake_world_close(struct fake_world *world);
/** "http://10.0.0.1/" for relay 0. */
const char *fake_url(size_t relay);
/** Starts and stops to listen; stopping resets all connections. */
void fake_relay_start(struct fake_relay *relay);
void fake_relay_stop(struct fake_relay *relay);
/** Sends one frame to a client, as a WebSocket message. */
void fake_send(struct fake_client *client, const void *frame, size_t size);
/** The newest connection of an endpoint; NULL: none. */
struct fake_client *fake_find(struct fake_relay *relay, const uint8_t *key);

/** Opens an endpoint with these relays (bits of their indices); sockets: with UDP too. Errors of what it is made of. */
int fake_endpoint_open(struct fake_world *world, size_t index, unsigned relay_bits, bool sockets,
                       const struct kith_mem *mem);
void fake_endpoint_close(struct fake_endpoint *endpoint);
/** Dials endpoint `to` through these relays, and directly if asked. */
void fake_dial(struct fake_world *world, size_t from, size_t to, unsigned relay_bits, bool direct);
/** Runs for so long. */
void fake_run(struct fake_world *world, uint64_t time_ns);
/** Runs until *done, at most 60 s; fails the test if it does not come true. Returns the time that it took. */
uint64_t fake_until(struct fake_world *world, const bool *done);
/** Runs until home is connected. */
uint64_t fake_until_online(struct fake_world *world, size_t endpoint);
/** The relay index whose path carries data at this endpoint; -1: a direct path. */
int fake_path_in_use(struct fake_world *world, size_t endpoint);

#endif
