/**
 * The application that runs on simulated endpoints: a client asks, a server answers, both know what every byte must be.
 * It sits on the driver (src/endpoint/driver.h), so that what runs is a whole endpoint without the public API.
 *
 * Each stream begins with a header of the side that opened it: {magic, seed, up size, down size}. Then follow `up` bytes of
 * the pattern of that seed, and `down` bytes come back (of seed + 1). Any byte that is missing, twice or in the wrong place
 * makes the world WRONG. Nothing here draws random numbers but from the trial's generator.
 */
#ifndef KITH_SIM_APP_H
#define KITH_SIM_APP_H

#include "base/list.h"
#include "base/random.h"
#include "base/ranges.h"
#include "endpoint/announce.h"
#include "endpoint/conn_ways.h"
#include "endpoint/driver.h"
#include "endpoint/seek.h"
#include "lookup/dns_client.h"
#include "rt/sim/sim.h"

enum { KITH_SIMAPP_SERVERS_MAX = 4 /* of each kind of lookup */, KITH_SIMAPP_DHT_NODES = 2 };

/** How an endpoint is found, and finds others. All borrowed; all zero: it knows nothing of lookup. */
struct kith_simapp_lookups {
    const char *publish[KITH_SIMAPP_SERVERS_MAX]; /* URLs of servers of signed packets; NULL: none */
    const char *resolve[KITH_SIMAPP_SERVERS_MAX];
    struct kith_sockaddr dns[KITH_SIMAPP_SERVERS_MAX]; /* name servers; family NONE: none */
    const char *origin;                                /* of "dns"; NULL: it is not used */
    const char *const *dht; /* KITH_SIMAPP_DHT_NODES through which to join; NULL: the DHT is not used */
    uint8_t filter;         /* enum kith_lookup_filter: what is published */
    uint64_t republish_ns;  /* 0: the default */
};

enum { KITH_SIMAPP_HEADER_SIZE = 24, KITH_SIMAPP_SESSION_MAX = KITH_QUIC_SESSION_SIZE_MAX, KITH_SIMAPP_RELAYS_MAX = 4 };

/** What the server does with a client that asks for the first time. */
enum kith_simapp_answer { KITH_SIMAPP_ACCEPT, KITH_SIMAPP_RETRY, KITH_SIMAPP_REFUSE, KITH_SIMAPP_IGNORE };

/** An allocator that counts, and that says no above a limit: the proof that memory is bounded. */
struct kith_simmem {
    struct kith_mem mem;
    uint64_t live, peak, max; /* bytes; max 0: no limit */
    uint64_t blocks, refused;
};
void kith__simmem_init(struct kith_simmem *simmem, uint64_t max);

/** What a connection is to do once it is connected. Sizes without the header. */
struct kith_simapp_plan {
    uint32_t streams, uni_streams; /* uni ones carry `up` only */
    uint32_t at_once;              /* streams open at the same time; 0 = as many as the peer allows */
    uint64_t up_min, up_max, down_min, down_max;
    uint32_t datagrams; /* each way; one every datagram_ns */
    uint16_t datagram_size;
    uint64_t datagram_ns;
    uint32_t reset_every, stop_every; /* every n-th stream is reset by us, or stopped by us, half way; 0 = none */
    bool unordered;                   /* what comes back is read in the order of arrival */
    bool priorities;                  /* stream i has priority i % 4 */
    bool early;                       /* begin in 0-RTT if the session allows it */
};

struct kith_simapp;

/** One connection as the application sees it. Freed with its app; outlives the engine's connection. */
struct kith_simconn {
    struct kith_simapp *app;
    struct kith_list node, flows; /* flows: open streams */
    struct kith_quic_conn *conn;  /* NULL after DRAINED */
    struct kith_simapp_plan plan;
    struct kith_prng prng;                               /* sizes and seeds of its streams */
    uint32_t opened, flows_open, flows_peak, flows_done; /* peak: open at the same time */
    uint64_t bytes_read;                                 /* verified payload */
    uint64_t connected_ns, last_read_ns, closed_ns;
    uint64_t gap_from_ns, gap_max_ns; /* gap_from_ns != 0: the longest time without a new byte since then is measured */
    uint32_t datagrams_sent, datagrams_refused, datagrams_received;
    struct kith_ranges datagrams_seen;
    struct kith_rt_timer datagram_timer;
    struct kith_conn_ways ways; /* if the app has relays or lookup */
    struct kith_rt_timer ways_timer;
    struct kith_simdial *dial; /* what it belongs to; NULL */
    uint64_t path_changes;
    void (*on_path)(void *ctx, const struct kith_quic_event *event); /* PATH_* and PATHS_*; NULL: none */
    void *on_path_ctx;
    bool is_connected, is_confirmed, is_closed, is_drained, early_ready, early_accepted, has_session;
    bool may_end;    /* an end before the plan is done is no surprise */
    bool by_peer;    /* of the end */
    int err;         /* of the end */
    uint64_t code;   /* of the end */
    uint64_t stalls; /* writes that found no room */
};

struct kith_simapp {
    struct kith_sim *sim;
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_driver *driver;
    const char *name; /* "client", "server", ... */
    struct kith_simmem simmem;
    struct kith_list conns;
    struct kith_quic_transport transport;
    struct kith_secret secret;
    struct kith_sockaddr also[4]; /* addresses that are dialled besides the one given */
    size_t also_count;
    struct kith_sockaddr bind, bind6; /* bind6: family NONE for none */
    uint8_t answer;                   /* enum kith_simapp_answer */
    bool reads_paused;                /* the reader does nothing */
    bool is_listening;
    bool may_end; /* connections that come from now on may end at any time */
    uint64_t retries, refused, incoming;
    uint64_t seed;
    const char *relay_urls[KITH_SIMAPP_RELAYS_MAX];
    size_t relay_count;          /* 0: it knows nothing of relays */
    bool no_sockets;             /* relays are the only way */
    struct kith_simmem rt_mem;   /* of its rt and relays, if it has relays */
    struct kith_relays *relays;  /* NULL: none */
    uint64_t relay_datagrams[2]; /* that the engine gave to relays, and got from them, in this life */
    uint64_t relay_frames;       /* in which it gave them */
    uint64_t home_news;
    struct kith_simapp_lookups lookups;
    struct kith_lookup *registry; /* NULL: it has no lookup */
    struct kith_dns_client *dns;  /* NULL */
    struct kith_announce *announce;
    uint64_t host_sent;     /* by its host in earlier lives */
    uint64_t published_us;  /* the latest timestamp that it gave away: kept over its lives */
    struct kith_list dials; /* all that were begun */
    uint8_t session[KITH_SIMAPP_SESSION_MAX], token[KITH_SIMAPP_SESSION_MAX];
    size_t session_size, token_size;
    void (*trace)(void *ctx, const char *text); /* NULL: none */
    void (*qlog)(void *ctx, uint64_t conn_serial, const char *json_record);
    void *trace_ctx;
};

/** Prepares; `host`, `rt`, `transport`, `secret`, `bind`, `name`, `seed` and the sinks are set by the caller before. */
void kith__simapp_init(struct kith_simapp *app, uint64_t memory_max);
/** Opens its endpoint. Errors of kith__driver_new. Again after kith__simapp_stop: the same identity, nothing remembered. */
KITH_MUST_USE int kith__simapp_start(struct kith_simapp *app);
/** Ends the endpoint at once, as a crash of the process does: nothing is sent. Connections count as gone. */
void kith__simapp_stop(struct kith_simapp *app);
/** Stops it and frees what the application itself has. */
void kith__simapp_dispose(struct kith_simapp *app);
/** Dials. The plan is copied. A session and a token from an earlier connection are used if there are any. */
KITH_MUST_USE int kith__simapp_dial(struct kith_simapp *app, const struct kith_simapp *to,
                                    const struct kith_sockaddr *addr, const struct kith_simapp_plan *plan,
                                    struct kith_simconn **out);
/** The same with remotes as they are, to whoever has the id. */
KITH_MUST_USE int kith__simapp_dial_all(struct kith_simapp *app, const struct kith_id *to,
                                        const struct kith_sockaddr *remotes, size_t count,
                                        const struct kith_simapp_plan *plan, struct kith_simconn **out);
/** Gives a connection (also a server's) a plan; it starts at once. */
void kith__simapp_do(struct kith_simconn *conn, const struct kith_simapp_plan *plan);
/** Reads go on, or not any more. */
void kith__simapp_pause_reads(struct kith_simapp *app, bool is_paused);
void kith__simapp_close(struct kith_simconn *conn, uint64_t code);
/** The newest connection; NULL if there is none. */
struct kith_simconn *kith__simapp_newest(const struct kith_simapp *app);
/** The connection has done all of its plan. */
bool kith__simconn_is_done(const struct kith_simconn *conn);
/** One line into the trace, with the time and the app's name. */
void kith__simapp_note(const struct kith_simapp *app, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** The world is WRONG: this text, with the app's name in front. */
void kith__simapp_wrong(const struct kith_simapp *app, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- app_relays.c: relays of an application ---- */

/** Before and after the driver lives. Nothing without relays. Errors of kith__relays_new. */
KITH_MUST_USE int kith__simapp_relays_start(struct kith_simapp *app);
void kith__simapp_relays_stop(struct kith_simapp *app);
/** For struct kith_driver_options; ctx: the app. */
void kith__simapp_relay_send(void *ctx, const struct kith_quic_transmit *transmit, const uint8_t *bytes);
void kith__simapp_relay_flush(void *ctx);
/** A connection begins, something happens to it, it ends. */
void kith__simconn_ways_begin(struct kith_simconn *conn, bool is_client);
void kith__simconn_ways_event(struct kith_simconn *conn, const struct kith_quic_event *event);
void kith__simconn_ways_end(struct kith_simconn *conn);
/** Dials an id at some relays, and at addresses if there are any: what a lookup gives. */
KITH_MUST_USE int kith__simapp_dial_relayed(struct kith_simapp *app, const struct kith_simapp *to,
                                            const char *const *urls, size_t url_count, const struct kith_sockaddr *ips,
                                            size_t ip_count, const struct kith_simapp_plan *plan,
                                            struct kith_simconn **out);
/** Home is connected and answers. */
bool kith__simapp_is_online(const struct kith_simapp *app);
/** The URL of the relay whose path carries data; NULL: a direct path, or none. */
const char *kith__simconn_relay(const struct kith_simconn *conn);
/** A connection's path in use is direct. */
bool kith__simconn_is_direct(const struct kith_simconn *conn);
/** All frames that the engine gave to relays are sent, or wait, or are counted as dropped. */
void kith__simapp_relays_check(const struct kith_simapp *app);

/* ---- app_lookup.c: being found, and finding ---- */

/** A dial by id alone: asks, dials what is found, and dials anew where somebody else answered. Freed with its app. */
struct kith_simdial {
    struct kith_list node;
    struct kith_simapp *app;
    struct kith_id id;
    struct kith_simapp_plan plan;
    struct kith_seek seek;
    struct kith_rt_timer again; /* services are asked again while nobody answers */
    uint64_t pause_ns;
    struct kith_simconn *conn;                          /* the newest; NULL: it has no address yet */
    uint64_t began_ns, found_ns, connected_ns, over_ns; /* 0: not yet */
    uint64_t asked_ns;                                  /* the services, last */
    uint64_t news_ns;                                   /* the newest address, before it was connected */
    unsigned wrong_peers;                               /* addresses where somebody else answered */
    int err;                                            /* if it is over without a connection */
};

/** Before and after the driver lives. Nothing without lookups. */
KITH_MUST_USE int kith__simapp_lookup_start(struct kith_simapp *app);
void kith__simapp_lookup_stop(struct kith_simapp *app);
/** Dials `id`. The plan is copied. */
struct kith_simdial *kith__simapp_find(struct kith_simapp *app, const struct kith_id *id,
                                       const struct kith_simapp_plan *plan);
/** A connection of a dial got through; ended. */
void kith__simdial_on_connected(struct kith_simconn *conn);
void kith__simdial_on_closed(struct kith_simconn *conn);
/** Nobody is asked any more, and its connection closes. */
void kith__simdial_end(struct kith_simdial *dial);
/** Every question has its account. */
void kith__simapp_lookup_check(const struct kith_simapp *app);

/* ---- flow.c: one stream ---- */

struct kith_simflow {
    struct kith_list node; /* in conn->flows */
    struct kith_simconn *conn;
    uint64_t stream, seed_out, seed_in;
    uint64_t out_total, out_done, in_total, in_done; /* with the header */
    uint8_t header[KITH_SIMAPP_HEADER_SIZE];
    bool is_ours, bidi, knows_sizes; /* knows_sizes: the header was read */
    bool out_over, in_over, fin_written;
    bool will_reset, will_stop, unordered;
    struct kith_ranges seen; /* unordered */
};

/** A flow that we open: the header is made. NULL without memory. */
struct kith_simflow *kith__simflow_open(struct kith_simconn *conn, uint64_t stream, bool bidi, uint64_t up,
                                        uint64_t down, uint64_t seed);
/** A flow that the peer opened. NULL without memory. */
struct kith_simflow *kith__simflow_accept(struct kith_simconn *conn, uint64_t stream, bool bidi);
/** Writes and reads as far as it goes; frees the flow (and returns true) when both halves are over. */
bool kith__simflow_pump(struct kith_simflow *flow, bool reads);
void kith__simflow_free(struct kith_simflow *flow);
/** The pattern: `size` bytes of `seed` from `offset` on. */
void kith__simflow_pattern(uint64_t seed, uint64_t offset, uint8_t *out, size_t size);
bool kith__simflow_is_pattern(uint64_t seed, uint64_t offset, const uint8_t *bytes, size_t size);

#endif
