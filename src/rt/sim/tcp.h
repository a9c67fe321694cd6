/**
 * TCP of the simulated world, below the streams of stream.c: connections with two ends, each with bytes on their way and
 * bytes that wait to be read. Between sim_end_* calls of the user and tcp_* events; see tcp.c for the model.
 */
#ifndef KITH_RT_SIM_TCP_H
#define KITH_RT_SIM_TCP_H

#include "rt/sim/world.h"

enum sim_end_state {
    SIM_END_IDLE,       /* not there yet: the other side connects */
    SIM_END_CONNECTING, /* the client's end, until the answer comes */
    SIM_END_WAITING,    /* the server's end, until it is accepted */
    SIM_END_OPEN,
    SIM_END_DEAD /* failed, refused, or closed: what arrives is answered with a reset */
};

enum sim_chunk_kind { SIM_CHUNK_DATA, SIM_CHUNK_END, SIM_CHUNK_RESET };

/** Bytes on their way, or read by nobody yet. */
struct sim_chunk {
    struct sim_chunk *next;
    uint64_t sent_ns, arrives_ns;
    size_t size, done;
    uint8_t kind; /* enum sim_chunk_kind */
    uint8_t bytes[];
};

struct sim_queue {
    struct sim_chunk *first, *last;
    size_t size; /* of the bytes in it */
};

struct sim_conn;
struct sim_stream;

/** One side of a connection. */
struct sim_end {
    struct sim_conn *conn;
    struct sim_stream *stream; /* of the user; NULL: not accepted yet, or closed */
    struct kith_sim_host *host;
    struct sim_interface *interface;
    struct kith_list node;              /* in host->ends */
    struct kith_list waiting;           /* in the list of `listener` */
    struct sim_listener *listener;      /* NULL: it does not wait to be accepted */
    struct kith_sockaddr local, remote; /* as this side sees them; family NONE: unix */
    struct sim_event act;               /* the user is to be told something, or a server's answer comes */
    struct sim_event arrive;            /* the first of `way` arrives at the other side, or a try to connect */
    struct sim_event room;              /* the other side has room again */
    struct sim_event keep;              /* keepalive */
    struct sim_queue way, inbox;        /* sent by us; received by us */
    uint64_t last_arrival_ns, retry_ns, heard_ns, timeout_ns;
    int error; /* DEAD: why */
    uint8_t state;
    uint8_t probes;
    bool has_end; /* the other side sends no more: behind the inbox */
    bool is_end_sent;
};

struct sim_conn {
    struct kith_sim *sim;
    struct kith_list node;         /* in sim->conns */
    struct sim_end ends[2];        /* client, server */
    struct kith_rt_stream_addr to; /* where the client wants to go */
    char unix_path[KITH_RT_UNIX_PATH_MAX + 1];
    unsigned uses; /* callbacks on the stack */
};

struct sim_listener {
    struct kith_rt_listener head;
    struct kith_list node;    /* in host->listeners */
    struct kith_list waiting; /* ends, in the order of their arrival */
    struct sim_event accept;
    size_t waiting_count, backlog;
    uint64_t timeout_ns;
    char unix_path[KITH_RT_UNIX_PATH_MAX + 1];
    bool is_paused, is_shared;
};

/** The user's side of an end. */
struct sim_stream {
    struct kith_rt_stream head;
    struct sim_end *end;
    struct kith_slice one;
    struct kith_slice *slices; /* the write under way: &one, or of the host's allocator; NULL: none */
    size_t slice_count, slice_index, slice_done;
    int written_err, open_err;
    bool wants_read, is_shut, is_end_told;
    bool is_open_due, is_written_due, is_shut_due;
};

static inline struct sim_end *kith__sim_end_other(const struct sim_end *end)
{
    return end == &end->conn->ends[0] ? &end->conn->ends[1] : &end->conn->ends[0];
}

/** Makes a connection with its client's end, which tries to reach `to` from now on. Errors: NOMEM. */
int kith__sim_tcp_connect(struct kith_sim_host *host, const struct kith_rt_stream_addr *to, struct sim_stream *stream);
/** The user's write, end or reading has moved on. */
void kith__sim_tcp_pump(struct sim_end *end);
/** The user closes, or a listener whom it waited for: what is on its way arrives, then the end, or a reset if bytes were not read. */
void kith__sim_tcp_close(struct sim_end *end);
/** The user is told, in this instant. */
void kith__sim_tcp_act(struct sim_end *end);
/** Ends an end with an error. */
void kith__sim_tcp_fail(struct sim_end *end, int err);
/** The first piece of the inbox, which the caller frees (world's allocator): the other side has more room. */
struct sim_chunk *kith__sim_tcp_take(struct sim_end *end);
/** A waiting end gets its user. */
void kith__sim_tcp_accept(struct sim_end *end, struct sim_stream *stream);
/** No longer in its listener's list. */
void kith__sim_tcp_leave(struct sim_end *end);
/** The connection may be gone now. */
void kith__sim_tcp_use(struct sim_conn *conn);
void kith__sim_tcp_release(struct sim_conn *conn);
/** Frees connections that both users have closed. */
void kith__sim_tcp_bury(struct kith_sim *sim);

/** stream.c: what tcp.c tells the user: everything that is due. */
void kith__sim_stream_tell(struct sim_stream *stream);
/** stream.c: the listener for an address; NULL. */
struct sim_listener *kith__sim_listener_find(struct kith_sim_host *host, const struct kith_rt_stream_addr *at);
/** stream.c: an end waits to be accepted. */
void kith__sim_listener_offer(struct sim_listener *listener, struct sim_end *end);

#endif
