/**
 * Test only: two hosts in memory, joined by a link with virtual time. One seed decides every loss, delay and random
 * number, so a failure replays from its seed. The link knows delay, jitter (which reorders), loss, duplication, a size
 * limit, and a NAT in front of each side whose outer port can change.
 *
 * A test fills in a `struct kith_pair_config`, calls kith__pair_init, and steps until something is true. Events are
 * recorded in `sides[]`; a test that wants to act on them sets `on_event`.
 */
#ifndef KITH_QUIC_CONN_PAIR_H
#define KITH_QUIC_CONN_PAIR_H

#include <kith/quic.h>

enum {
    KITH_PAIR_CLIENT = 0,
    KITH_PAIR_SERVER = 1,
    KITH_PAIR_CONNS_MAX = 8,
    KITH_PAIR_QUEUE_MAX = 8192,
    KITH_PAIR_LINKS_MAX = 8,
    /* An idle connection's budget is 16 KiB; what a change may cost unnoticed is the rest. Version 2 of ipsec-mb keeps 256
       bytes more in each of the three keys than version 1 does. */
    KITH_PAIR_IDLE_SIZE_MAX = 15360 + 3 * 256
};

enum kith_pair_answer { KITH_PAIR_ACCEPT, KITH_PAIR_REFUSE, KITH_PAIR_RETRY, KITH_PAIR_IGNORE };

struct kith_pair_link {
    uint64_t delay_ns, jitter_ns;         /* one way; jitter is added at random */
    uint32_t loss_permille, dup_permille; /* of datagrams, each way */
    size_t size_max;                      /* larger datagrams vanish; 0 = no limit */
    bool blocked[2];                      /* nothing from this side arrives */
    bool bleach_ecn;                      /* ECN bits are cleared on the way */
    uint8_t mark_ce_permille;             /* ECT(0) becomes CE */
};

struct kith_pair_datagram {
    uint64_t at_ns, order;
    struct kith_sockaddr from, to;
    uint8_t *bytes;
    size_t size;
    uint8_t ecn, sender;
};

struct kith_pair_side {
    struct kith_quic_host *host;
    struct kith_quic_conn *conn;          /* the newest */
    struct kith_sockaddr inner, outer;    /* own address, and what the other side sees (a NAT) */
    uint32_t seen[KITH_QUIC_DRAINED + 1]; /* how many events of each kind */
    struct kith_quic_event last[KITH_QUIC_DRAINED + 1];
    struct kith_quic_close_info closed; /* after CLOSED; reason in closed_reason */
    char closed_reason[1024];
    uint64_t sent_datagrams, sent_bytes, received_bytes; /* on the wire */
    uint64_t random;
};

struct kith_pair;
struct kith_pair_config {
    uint64_t seed;
    struct kith_pair_link link; /* to the server's first port */
    /** Further ways: the server is also at the ports that follow; more[n] leads to port n + 1. */
    struct kith_pair_link more[KITH_PAIR_LINKS_MAX - 1];
    size_t more_count;
    struct kith_quic_transport transport[2];
    const char *alpn[2];
    enum kith_pair_answer answer;
    const char *instance[2];         /* NULL: none */
    uint8_t server_secret_last_byte; /* another server key than the client dials, if not zero */
    const struct kith_mem *mem[2];
    /** After the event was recorded; may call the API. */
    void (*on_event)(struct kith_pair *pair, int side, const struct kith_quic_event *event);
    /** Sees every datagram on the wire, before loss; may change it. False: drop it. */
    bool (*tap)(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size);
    void *user;
    void (*qlog)(void *ctx, uint64_t conn_serial, const char *json_record); /* gets this configuration's `user` */
};

struct kith_pair {
    struct kith_pair_config config;
    struct kith_pair_side sides[2];
    struct kith_pair_datagram *queue; /* KITH_PAIR_QUEUE_MAX; a heap by (at, order) */
    size_t queue_count;
    uint64_t now_ns, order, random;
    uint64_t gro; /* largest burst handed over as one buffer; 0 or 1 = single datagrams */
    uint64_t lost, delivered;
    uint64_t user_flag; /* for taps */
};

/** 30 ms round trip, no faults, iroh's defaults, ALPN "test" on both sides, accept. */
void kith__pair_defaults(struct kith_pair_config *config);
/** Creates both hosts; aborts the test when that fails, unless `mem` makes it fail: then returns the error. */
KITH_MUST_USE int kith__pair_init(struct kith_pair *pair, const struct kith_pair_config *config);
void kith__pair_dispose(struct kith_pair *pair);
/** The client dials the server; sides[CLIENT].conn is set. The options may be NULL; their id, address and ALPN are filled in. */
KITH_MUST_USE int kith__pair_dial(struct kith_pair *pair, struct kith_quic_connect_options *options);
/** Delivers what is due, sends what can be sent, runs timers, then moves the clock to the next thing. False: nothing is left before `until_ns`. */
bool kith__pair_step(struct kith_pair *pair, uint64_t until_ns);
/** The host of a side is gone without a word, and another one with the same key and configuration takes its place. */
void kith__pair_restart(struct kith_pair *pair, int side);
/** Moves everything that needs no time to pass: events and transmits of both sides. */
void kith__pair_flush(struct kith_pair *pair);
/** Steps for so much virtual time. */
void kith__pair_run(struct kith_pair *pair, uint64_t for_ns);
/** Steps until `done` says so; false when `for_ns` passed before. */
bool kith__pair_run_until(struct kith_pair *pair, bool (*done)(struct kith_pair *pair), uint64_t for_ns);
/** Dials and runs until both sides are confirmed. */
bool kith__pair_connect(struct kith_pair *pair);
/** The server's address at the end of way `n`; 0 is the first. */
struct kith_sockaddr kith__pair_server(const struct kith_pair *pair, size_t n);
/** The way `n`. */
struct kith_pair_link *kith__pair_link(struct kith_pair *pair, size_t n);
/** The NAT in front of a side gives it another outer port. */
void kith__pair_rebind(struct kith_pair *pair, int side);

#endif
