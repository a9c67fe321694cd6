/**
 * What the public handles are. All inside the lock of the context.
 *
 * Who holds whom: an endpoint lists its connections, a connection lists its streams. A connection object lives until both
 * the user gave the handle back and the engine drained it; a stream object until the user gave it back and everything it
 * finished was acknowledged (so that a graceful close can wait for it). Handles may be given back in any order, also after
 * their endpoint and context ended: a stream keeps its connection object, a connection or incoming its endpoint object, an
 * endpoint or operation its context object; what is kept so is an empty shell.
 */
#ifndef KITH_API_OBJECTS_H
#define KITH_API_OBJECTS_H

#include "api/context.h"
#include "base/buf.h"
#include "base/map.h"
#include "endpoint/conn_ways.h"
#include "endpoint/driver.h"

enum {
    KITH_ACCEPTING_MAX = 256,      /* clients in their handshake, or connected, that no accept took yet */
    KITH_CONNECT_REMOTES_MAX = 16, /* addresses that one connect tries at once (kith_quic_connect_options) */
    KITH_SESSION_PEERS_MAX = 256,  /* peers whose tickets are kept; the one used longest ago is forgotten */
    KITH_SESSIONS_PER_PEER_MAX = 2 /* a ticket is used once: two let two connections resume */
};

/**
 * With KITH_ACCEPTING_MAX clients there, one that has not proven who it is for so long makes room for the next. An honest one
 * has by then, on most networks; who holds all places must start KITH_ACCEPTING_MAX handshakes in this time, again and again.
 */
#define KITH_ACCEPTING_SURE_NS KITH_NS_PER_S

/** Tickets and the address token of one peer. */
struct kith_peer_memory {
    struct kith_list node; /* in the endpoint's list, used last first */
    struct kith_id id;
    struct kith_buf sessions[KITH_SESSIONS_PER_PEER_MAX];
    size_t session_count;
    struct kith_buf token;
};

struct kith_endpoint {
    struct kith_list node;       /* in the context */
    struct kith_list dirty_node; /* in its list of endpoints with something to send */
    struct kith_context *context;
    struct kith_driver *driver;
    struct kith_relays *relays;   /* NULL: without any */
    struct kith_list online_ops;  /* wait for the home relay */
    struct kith_list changed_ops; /* wait for news of any relay */
    uint64_t relay_paths_added, relay_paths_removed;
    bool is_relay_only;
    struct kith_endpoint_logs *logs; /* NULL: none */
    struct kith_api_lookup *lookup;  /* endpoint_lookup.c; NULL: no services */
    struct kith_list dials;          /* kith_dial */
    struct kith_list dial_ops;       /* wait for a first address */
    struct kith_list conns;
    struct kith_list incoming;       /* clients nobody asked for yet */
    struct kith_list handed;         /* kith_incoming that the user has, or that an operation will give */
    struct kith_list handshaking;    /* clients that an accept took in and whose handshake goes on, oldest first */
    struct kith_list accepted;       /* connected clients that nobody asked for yet */
    struct kith_rt_timer room_timer; /* all places are taken and somebody waits: when the oldest has to go */
    struct kith_list accept_ops, incoming_ops;
    struct kith_map peer_map; /* id -> kith_peer_memory */
    struct kith_list peers;
    size_t peer_count;
    size_t accepting_count; /* connections with is_unclaimed */
    bool is_closing;
    bool is_gone; /* closed: a shell for the handles of its that are still held */
};

struct kith_incoming {
    struct kith_list node; /* in the endpoint */
    struct kith_endpoint *endpoint;
    struct kith_quic_incoming *quic; /* NULL once the endpoint is gone */
};

struct kith_conn {
    struct kith_list node; /* in the endpoint */
    struct kith_list
        accepted_node;    /* in the endpoint's list of those in their handshake, then in that of those accepted */
    uint64_t accepted_ns; /* when an accept took it in */
    struct kith_endpoint *endpoint;
    struct kith_quic_conn
        *quic;         /* until drained and not held: what arrived before the end can still be read. NULL: gone */
    bool is_held;      /* the user has the handle, or an operation will give it */
    bool is_accepting; /* an accept took it in, its handshake goes on */
    bool is_unclaimed; /* it counts in accepting_count: an accept took it in and none has given it out */
    bool is_client, is_connected, is_closed, is_drained, is_early, was_early_accepted;
    struct kith_id remote_id;
    struct kith_buf alpn, reason;
    struct kith_quic_close_info close_info;
    struct kith_error error; /* how it ended, in words */
    size_t unsent_count;     /* finished streams that wait for their last acknowledgement */
    struct kith_list streams;
    struct kith_list opened[2]; /* streams of the peer that nobody accepted yet: uni, bidi */
    struct kith_list handshake_ops, closed_ops, open_ops[2], accept_ops[2], datagram_send_ops, datagram_receive_ops;
    struct kith_conn_ways ways;
    struct kith_rt_timer ways_timer;
    struct kith_dial *dial;            /* dial.h; NULL: nothing is looked for on its behalf */
    uint64_t lost_ns, lost_wait_ns;    /* when its other side was looked for last, and the pause after that; 0: none */
    const struct kith_conn_hook *hook; /* NULL: none */
    struct kith_list stream_waiters;   /* kith_stream_waiter, in the order in which they came */
};

/** A protocol that drives a connection's streams itself, without operations. */
struct kith_conn_hook {
    /** The peer opened a stream: the protocol holds it now. */
    void (*on_stream)(void *ctx, struct kith_stream *stream);
    /** The connection ended; its streams heard of it before. It may be given back inside. */
    void (*on_closed)(void *ctx);
    void *ctx;
};

/** Somebody who wants to open a stream and must wait for the peer. Leaves the list before it is called. */
struct kith_stream_waiter {
    struct kith_list node;
    void (*on_available)(void *ctx); /* streams can be opened, or the connection ended */
    void *ctx;
};

enum kith_sending {
    KITH_SENDING_OPEN,
    KITH_SENDING_FINISHED,
    KITH_SENDING_ACKED,
    KITH_SENDING_RESET,
    KITH_SENDING_NONE
};

struct kith_stream {
    struct kith_list node;        /* in the connection */
    struct kith_list opened_node; /* in its list of streams that wait to be accepted */
    struct kith_conn *conn;
    uint64_t id;
    uint64_t stop_code;
    uint64_t read_code; /* with read_end RESET */
    int read_end;       /* how the receiving half ended, once a read told: KITH_ERR_END or KITH_ERR_RESET; else 0 */
    uint8_t sending;    /* enum kith_sending */
    bool bidi, is_local, is_held, is_stopped, has_read_all;
    struct kith_list read_ops, write_ops, sent_ops;
    /* A protocol that drives the stream: hears of every event, and with NULL of the end of the connection. Inside, the
     * stream may be given back. NULL: none. */
    void (*on_event)(void *ctx, const struct kith_quic_event *event);
    void *on_event_ctx;
};

/** The engine's events for an endpoint arrive here (context `endpoint`). */
void kith__api_endpoint_on_event(void *endpoint, const struct kith_quic_event *event);
/** Lock held (or no thread left): ends everything at once and frees the endpoint. Handles of it are invalid afterwards. */
void kith__api_endpoint_destroy(struct kith_endpoint *endpoint);
/** Frees the shell of an endpoint that is gone, once nothing refers to it. */
void kith__api_endpoint_release_if_done(struct kith_endpoint *endpoint);
/** A client sent its first packet: it waits in the endpoint's queue. */
void kith__api_endpoint_on_incoming(struct kith_endpoint *endpoint, struct kith_quic_incoming *quic);
/** The timer of `room_timer`: a client that has not proven who it is had its time. */
void kith__api_endpoint_on_room(void *endpoint, uint64_t now_ns);
/** Frees a client that was decided on. */
void kith__api_incoming_free(struct kith_incoming *incoming);
/** Refuses a client that the user has, and frees it. */
void kith__api_incoming_refuse(struct kith_incoming *incoming);
/** An unclaimed connection was given out or ended: another client may take its place. */
void kith__api_endpoint_on_claimed(struct kith_conn *conn);
/** Marks the endpoint as having something to send. */
void kith__api_endpoint_touch(struct kith_endpoint *endpoint);
/** Tickets of a peer: the memory, made if need be (NULL without memory). */
struct kith_peer_memory *kith__api_endpoint_peer(struct kith_endpoint *endpoint, const struct kith_id *id, bool make);
void kith__api_endpoint_forget_peers(struct kith_endpoint *endpoint);

struct kith_dial;
struct kith_api_lookup;
struct kith_lookup;

/* ---- endpoint_lookup.c ---- */

/** Makes the endpoint's lookup services as the options say. Errors are noted in full. After its relays. */
int kith__api_lookup_open(struct kith_endpoint *endpoint, const struct kith_endpoint_options *options,
                          const struct kith_secret *secret);
/** Ends them, and every search. After the connections, before the relays. */
void kith__api_lookup_close(struct kith_endpoint *endpoint, const struct kith_error *error);
/** Where to ask; NULL: there are no services. */
struct kith_lookup *kith__api_lookup_registry(const struct kith_endpoint *endpoint);
/** Relays had news: what is published may change. */
void kith__api_lookup_on_news(struct kith_endpoint *endpoint);

/* ---- endpoint_relays.c ---- */

struct kith_proxy;
/** Reads the proxy of the options, and for whom it is not; without a host if there is none. Errors are noted in full. */
int kith__api_proxy(struct kith_endpoint *endpoint, const struct kith_endpoint_options *options,
                    struct kith_proxy *out);
/** Makes the endpoint's relays as the options say. Errors are noted in full (kith_error_last), unlike those of the others. */
int kith__api_relays_open(struct kith_endpoint *endpoint, const struct kith_endpoint_options *options,
                          const struct kith_secret *secret);
/** Sends nothing through relays any more; everything that waits for them fails with `error`. */
void kith__api_relays_close(struct kith_endpoint *endpoint, const struct kith_error *error);
/** Adds the addresses that relays told. */
void kith__api_relays_public_addr(const struct kith_endpoint *endpoint, struct kith_addr *out);
/** True if the event is the address discovery's, and done with. */
bool kith__api_relays_on_any_event(struct kith_endpoint *endpoint, const struct kith_quic_event *event);
/** Takes the connections of the address discovery out: they are no one's. */
void kith__api_relays_adjust_stats(const struct kith_endpoint *endpoint, struct kith_quic_host_stats *stats);
/** Adds home and spare relay. */
void kith__api_relays_addr(const struct kith_endpoint *endpoint, struct kith_addr *out);
/** An event of the connection: its paths may have to change. */
void kith__api_relays_on_event(struct kith_conn *conn, const struct kith_quic_event *event);
/** A handshake that failed for want of an answer: says so in words of the relays that it was to go through. */
void kith__api_relays_explain(const struct kith_conn *conn, struct kith_error *error);
/** The connection ended: nothing is decided for it any more. */
void kith__api_relays_on_conn_end(struct kith_conn *conn);
/** Arms the connection's timer. */
void kith__api_relays_arm(struct kith_conn *conn);

/** A connection object around an engine connection, not yet held. NULL without memory (the engine's is then freed). */
struct kith_conn *kith__api_conn_new(struct kith_endpoint *endpoint, struct kith_quic_conn *quic);
/** Takes the connection out of everything at once, without sending; frees it. */
void kith__api_conn_destroy(struct kith_conn *conn);
/** The cancel function of an operation that waits for a handshake: closes the connection behind it. */
void kith__api_conn_cancel_connect(struct kith_op *op);
/** Closes it, if it is open: everything that waits learns of the end at once. */
void kith__api_conn_close(struct kith_conn *conn, uint64_t code, struct kith_slice reason);
void kith__api_conn_on_connected(struct kith_conn *conn, bool early_accepted);
void kith__api_conn_on_early(struct kith_conn *conn);
void kith__api_conn_on_closed(struct kith_conn *conn);
void kith__api_conn_on_drained(struct kith_conn *conn);
void kith__api_conn_on_event(struct kith_conn *conn, const struct kith_quic_event *event);
/** Frees the object if neither user nor engine needs it. */
void kith__api_conn_release_if_done(struct kith_conn *conn);
/** Gives a connected client to an accept that waits, or queues it. */
void kith__api_endpoint_offer_accepted(struct kith_conn *conn);
/** Starts accepting every client that waits, if an accept waits too. */
void kith__api_endpoint_pump_incoming(struct kith_endpoint *endpoint);

/** Error of an operation on a connection that has ended (or on none). */
int kith__api_conn_failure(const struct kith_conn *conn);

struct kith_stream *kith__api_stream_new(struct kith_conn *conn, uint64_t id, bool bidi, bool is_local);
void kith__api_stream_on_event(struct kith_stream *stream, const struct kith_quic_event *event);
/** The connection ended: every operation fails; the object goes when the user gives it back. */
void kith__api_stream_on_conn_closed(struct kith_stream *stream);
void kith__api_stream_release_if_done(struct kith_stream *stream);

/** Lock held: the verbs of kith/endpoint.h for a protocol that drives streams itself. */
KITH_MUST_USE int kith__api_stream_open(struct kith_conn *conn, bool bidi, struct kith_stream **out);
/** As kith_quic_stream_write; fin is taken only with the last byte. */
KITH_MUST_USE int kith__api_stream_write(struct kith_stream *stream, struct kith_slice bytes, bool fin,
                                         size_t *written);
/** As kith_quic_stream_unacked; 0 once the connection is gone. */
uint64_t kith__api_stream_unacked(const struct kith_stream *stream);
KITH_MUST_USE int kith__api_stream_peek(struct kith_stream *stream, struct kith_slice *out, uint64_t *code);
void kith__api_stream_consume(struct kith_stream *stream, size_t size);
void kith__api_stream_reset(struct kith_stream *stream, uint64_t code);
void kith__api_stream_stop(struct kith_stream *stream, uint64_t code);
void kith__api_stream_give_back(struct kith_stream *stream);
void kith__api_conn_give_back(struct kith_conn *conn);
/** Puts a protocol in charge; streams that wait to be accepted go to it at once. The hook is borrowed until NULL is set. */
void kith__api_conn_set_hook(struct kith_conn *conn, const struct kith_conn_hook *hook);

/** Gives waiting open and accept operations their streams. */
void kith__api_conn_pump_streams(struct kith_conn *conn, bool bidi);
/** Moves what can be moved for waiting datagram operations. */
void kith__api_conn_pump_datagrams(struct kith_conn *conn);

#endif
