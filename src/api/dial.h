/**
 * A dial from its call to the end of its handshake, and beyond as long as lookup services still find something for it: waits for a
 * first address if there is none, starts the engine's connection, has what is found later go there (endpoint/seek.h), and begins
 * anew where somebody else answered. Also what looks for the other side of a connection that lost all its paths. Lock held.
 */
#ifndef KITH_API_DIAL_H
#define KITH_API_DIAL_H

#include "api/objects.h"
#include "endpoint/seek.h"

enum {
    KITH_DIAL_AGAIN_MAX = 8, /* dials anew of one call, each because somebody else answered */
    KITH_DIAL_WHY_SIZE = 400 /* of what lookup services said, with its end; longer ones are cut */
};
/** Nobody knows the id, and the dial went to our own relays as a guess: so long they have to find the other side there. */
#define KITH_DIAL_GUESS_NS (5 * KITH_NS_PER_S)
/** A connection without a path that works has its other side looked for this often, at first; then half as often each time. */
#define KITH_DIAL_LOST_NS     (4 * KITH_NS_PER_S)
#define KITH_DIAL_LOST_MAX_NS (64 * KITH_NS_PER_S)

/** A dial that nobody answers has services asked again, so long after they were through, at first; then half as often each time. */
#define KITH_DIAL_ASK_NS (1 * KITH_NS_PER_S)

struct kith_dial {
    struct kith_list node; /* in the endpoint's dials */
    struct kith_endpoint *endpoint;
    struct kith_seek seek;
    struct kith_op *op;               /* waits for a first address; NULL */
    struct kith_conn *conn;           /* what was dialled; NULL */
    unsigned again;                   /* how often it began anew */
    struct kith_rt_timer guess_timer; /* set: the guess ends */
    uint64_t ask_ns,
        ask_pause_ns; /* when services are asked again, and the pause before; 0: they were not through yet */
    int why_err;      /* of the lookup that ended; 0: none did, or it found something */
    char why[KITH_DIAL_WHY_SIZE];
    struct kith_error first_error; /* of the first attempt, if it began anew; code 0 */
    /* How to dial; not for a connection that there is already. */
    struct kith_quic_transport transport;
    bool has_transport, early_data, no_session;
    size_t alpn_count;
    struct kith_slice alpns[KITH_QUIC_ALPN_COUNT_MAX]; /* their bytes lie behind the struct */
    uint8_t alpn_bytes[];
};

/** The connection of a dial got through: it is needed only while services are asked. */
void kith__api_dial_on_connected(struct kith_conn *conn);
/**
 * The connection failed. True if the dial began anew and took the operation that waits with it. Before the others that wait hear
 * of it.
 */
bool kith__api_dial_on_failed(struct kith_conn *conn);
/** The connection is over: nobody is asked on its behalf any more. */
void kith__api_dial_on_conn_end(struct kith_conn *conn);
/** The ways of the connection were looked at, or the deadline passed: if it is lost, or not there yet, its other side is looked for. */
void kith__api_dial_on_ways(struct kith_conn *conn);
/** When the other side of a lost connection, or of a dial without an answer, is looked for again; KITH_NEVER. */
uint64_t kith__api_dial_deadline(const struct kith_conn *conn);
/** Adds to the error of a handshake without an answer what lookup services said. */
void kith__api_dial_explain(const struct kith_conn *conn, struct kith_error *error);
/** Those that wait for a first address fail with `error`. */
void kith__api_dials_fail(struct kith_endpoint *endpoint, const struct kith_error *error);
/** True if the operation waits for a first address. */
bool kith__api_dial_is_waiting(const struct kith_op *op);

#endif
