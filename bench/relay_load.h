/* The connections of relay-load: thousands of clients of one relay in one thread, each as cheap as can be, so that the relay is
   what is measured. */
#ifndef KITH_BENCH_RELAY_LOAD_H
#define KITH_BENCH_RELAY_LOAD_H

#include "crypto/sign.h"
#include "relay/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kith_tls_stream;
struct kith_tls_stream_context;

enum {
    PAYLOAD = 1200, /* of each datagram, in bytes */
    FRAME_HEAD = 8, /* of WebSocket: two bytes, two of the size, four of the mask */
    FRAME = FRAME_HEAD + KITH_RELAY_DATAGRAM_OVERHEAD + PAYLOAD, /* what a client sends for one datagram */
    BURST = 16,                                           /* datagrams in one write, as a client's batches have */
    STAMP_AT = FRAME_HEAD + KITH_RELAY_DATAGRAM_OVERHEAD, /* where in a frame the time of sending is */
    TINY_COUNT = 27, /* datagrams of 6 bytes that have the size of a FRAME together */
    READ_MAX = 1 << 18
};

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: errno %d\n", __FILE__, __LINE__, #condition, errno);                           \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

enum load_state { LOAD_CONNECTING, LOAD_UPGRADING, LOAD_AUTHENTICATING, LOAD_OPEN };

enum load_abuse {
    LOAD_ABUSE_SELF,   /* to themselves */
    LOAD_ABUSE_NOBODY, /* to an id that nobody has */
    LOAD_ABUSE_TINY    /* the same, TINY_COUNT small ones in place of each datagram */
};

/* One client. The peer sends to it and gets what it sends. */
struct load_client {
    int fd;
    enum load_state state;
    struct load_client *peer;
    struct kith_tls_stream *tls; /* NULL: plain */
    struct kith_keypair pair;
    uint8_t *carry; /* the beginning of a frame whose end has not come yet */
    uint32_t carry_size;
    uint8_t *frames;    /* BURST frames to the peer, made once; NULL for clients that only stay */
    uint32_t partial;   /* bytes of the frame at the beginning that were sent already */
    uint32_t wanted;    /* frames that shall be sent still */
    uint32_t in_flight; /* frames sent whole that did not arrive yet */
    uint64_t sent, got; /* datagrams, all in all */
    uint64_t progress_ns;
    bool waits_for_room; /* the last write was not taken whole */
    bool is_pinging;     /* relay_load_share.c: of the pair whose delays count */
};

/* What all clients share. */
struct load {
    const char *host;
    uint16_t port;
    unsigned sources; /* 127.0.0.1 and so many more addresses to connect from: each has 28,000 ports */
    struct kith_tls_stream_context *tls;
    uint32_t window; /* datagrams of one client under way */
    int epoll;
    struct load_client *clients;
    size_t count, open, started;
    size_t abusers; /* so many of them, the last ones, do this: */
    enum load_abuse abuse;
    uint64_t arrived; /* datagrams */
    uint64_t lost;    /* datagrams that were given up */
    uint8_t *read_buffer;
    bool is_timed;                                                          /* stamps are read */
    void (*on_stamp)(const struct load_client *receiver, uint64_t sent_ns); /* a datagram has arrived */
    void (*on_arrival)(struct load *load, struct load_client *receiver);
};

uint64_t load_now(void);
/* Opens `count` clients, so many at a time; returns when all are authenticated. Clients 2n and 2n + 1 are a pair. */
void load_open(struct load *load, size_t count, size_t at_once, bool with_frames);
/* Waits for at most timeout_ns and serves what there is. */
void load_turn(struct load *load, uint64_t timeout_ns);
/* Sends of client->wanted what the socket takes. */
void load_send(struct load *load, struct load_client *client);
/* For on_arrival: its peer may send more. Whole bursts: a client writes what its congestion window sets free. */
void load_refill(struct load *load, struct load_client *receiver);
/* What clients [first, end) have under way is lost if nothing has arrived for long: they go on. */
void load_restart_stalled(struct load *load, size_t first, size_t end);

/* relay_load_share.c: `pairs` honest pairs beside load->abusers clients that flood. Prints what each kind gets. */
void load_share(struct load *load, long pid, size_t pairs, double seconds);
/* CPU seconds of a process, all threads; 0 if pid is 0. */
double load_cpu_seconds(long pid);

#endif
