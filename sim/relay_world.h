/**
 * A relay and its clients in virtual time: the server core (src/relay) over simulated TCP, without HTTP and TLS, and clients (the
 * client machine of src/relay) that connect, send datagrams at a rate, read at their own pace, lose their link and come back. Each
 * datagram says who sent it and when, so that the world knows what arrived, how much from whom, and how late.
 */
#ifndef KITH_SIM_RELAY_WORLD_H
#define KITH_SIM_RELAY_WORLD_H

#include "base/buf.h"
#include "http/websocket.h"
#include "relay/client.h"
#include "relay/server.h"
#include "rt/sim/sim.h"
#include "trial.h"

enum { KITH_SIMRELAY_PORT = 3340, KITH_SIMRELAY_SENDERS_MAX = 32 };

struct kith_simrelay;

/** A client. The script sets `to`, `payload_size`, `every_ns` and the pace of reading at any time. */
struct kith_simrelay_client {
    struct kith_simrelay *world;
    struct kith_sim_host *host;
    struct kith_rt_stream *stream; /* NULL: waits to dial again */
    struct kith_relay_client machine;
    struct kith_keypair pair;
    struct kith_random random;
    struct kith_prng prng;
    struct kith_ws_reader reader;
    struct kith_buf out; /* what is written now */
    struct kith_rt_timer timer;
    uint32_t index;
    bool is_writing, is_stopped;

    struct kith_id to;     /* whom it sends to */
    uint32_t payload_size; /* of each datagram; at least 16 */
    uint64_t every_ns;     /* between two; 0: it sends nothing */
    uint64_t send_at_ns, dial_at_ns, dialled_ns;
    bool is_reading; /* off: its TCP window fills */

    uint64_t sent, received, gone, dials, readies, restarts;
    uint64_t received_from[KITH_SIMRELAY_SENDERS_MAX]; /* by the sender's index */
    uint64_t delay_max_ns[KITH_SIMRELAY_SENDERS_MAX];  /* of what came, by the sender's index */
    uint64_t ready_ns;                                 /* since when; 0: not */
};

struct kith_simrelay {
    struct kith_trial *trial;
    struct kith_sim_host *host;
    struct kith_rt_listener *listener;
    struct kith_relay_server *server; /* NULL: crashed */
    struct kith_relay_routes routes;
    struct kith_relay_counters counters; /* over all lives of the server */
    struct kith_relay_server_limits limits;
    struct kith_rt_timer timer;
    struct kith_list links;
    struct kith_simrelay_client *clients;
    size_t client_count, client_cap, ready_count;
    size_t paused_count;             /* links that have had their share of this turn */
    struct kith_sim_host *last_host; /* of clients, and how many it has */
    uint32_t last_host_clients, host_count;
    uint64_t ends[KITH_RELAY_END_BY_US + 1];
    uint64_t memory_peak; /* of all queues */
};

/** Makes the relay's host and starts it. link: of the relay, both ways. limits: NULL for defaults. */
void kith__simrelay_open(struct kith_simrelay *world, struct kith_trial *trial, const struct kith_sim_link *link,
                         const struct kith_relay_server_limits *limits, size_t client_max);
/** Ends all; what is wrong then is a wrong trial. */
enum kith_sim_verdict kith__simrelay_close(struct kith_simrelay *world);
/** A new client that dials at once, on a host of its own with this link (both ways), or with link NULL on one shared by 100. */
struct kith_simrelay_client *kith__simrelay_add(struct kith_simrelay *world, const struct kith_sim_link *link,
                                                size_t tcp_window);
/** It sends a datagram of `size` bytes each `every_ns` to another one from now on. */
void kith__simrelay_send(struct kith_simrelay_client *from, const struct kith_simrelay_client *to, uint32_t size,
                         uint64_t every_ns);
/** Stops or goes on reading. */
void kith__simrelay_set_reading(struct kith_simrelay_client *client, bool is_reading);
/** The relay dies without a word, and starts again from nothing. */
void kith__simrelay_crash(struct kith_simrelay *world);
void kith__simrelay_start(struct kith_simrelay *world);
/** The relay's process gets no turn for a while: the machine sleeps. */
enum kith_sim_verdict kith__simrelay_sleep(struct kith_simrelay *world, uint64_t for_ns);

/** Steps with all checks until `done` (NULL: the time is over). */
enum kith_sim_verdict kith__simrelay_until(struct kith_simrelay *world, bool (*done)(struct kith_simrelay *world),
                                           uint64_t for_ns);
/** All clients are READY. */
bool kith__simrelay_all_ready(struct kith_simrelay *world);
/** All datagram frames that the relay received are sent, or wait, or are counted as dropped. */
bool kith__simrelay_sums_match(const struct kith_simrelay *world);

#endif
