/**
 * NAT traversal inside a connection ("QNT"): the server advertises addresses, the client starts rounds and names its
 * own ones, both send challenges to all of them at the same time until one gets through. What a proved address becomes
 * is the client's matter: it opens a path there. Only the mechanism; when to start a round is decided above.
 *
 * A probe is a 1-RTT packet with nothing but a PATH_CHALLENGE: not padded, no ECN mark, outside congestion control,
 * with the connection id and packet number space of the lowest validated path, to an address that is not the path's.
 * Each transmission has a value of its own; an answer to any of the round counts if it comes from the probed address.
 *
 * Owner: the connection, by value; its lists are allocated while they are not empty. Source: spec/01, 5.
 */
#ifndef KITH_QUIC_PATH_PUNCH_H
#define KITH_QUIC_PATH_PUNCH_H

#include "quic/path/intent.h"
#include "quic/path/prove.h"
#include "quic/wire/codes.h"
#include "quic/wire/frame.h"

enum {
    KITH_PUNCH_ADDRESSES_MAX = 32, /* of ours, and of the peer's; what we promise to store (spec/01, 3) */
    KITH_PUNCH_REMOVED_MAX = 32,   /* REMOVE_ADDRESS not acknowledged yet; more: the address cannot be removed now */
    KITH_PUNCH_TRIES = 9,          /* transmissions to an address in a round, spec/01, 5.4 */
    KITH_PUNCH_VALUES_MAX = 16,    /* of challenges to an address that an answer may carry; the oldest is replaced */
    KITH_PUNCH_SEEN_MAX = 8,       /* addresses that nobody advertised, but that challenge us; the oldest is replaced */
    KITH_PUNCH_READY_MAX = 32,     /* proved addresses that wait for a path; the oldest is replaced */
    KITH_PUNCH_LINGER_MS = 4000,   /* after the last transmission an answer is awaited for so long */
    KITH_PUNCH_STARTS_MAX = 256,   /* addresses of the peer's that are probed at once, however many rounds begin, ... */
    KITH_PUNCH_STARTS_PER_S = 64   /* ... and every second: rounds must not make us flood whom the peer names */
};

/** An address of ours. */
struct kith_punch_ours {
    struct kith_sockaddr address;
    uint64_t sequence; /* never used twice; goes on the wire at a server */
    uint8_t
        intent;    /* enum kith_intent: ADD_ADDRESS or REMOVE_ADDRESS at a server, REACH_OUT of the round at a client */
    bool was_sent; /* server: the peer may know it */
    bool is_removed; /* server: intent is about REMOVE_ADDRESS */
};

/** Client: an address of the server's. */
struct kith_punch_theirs {
    struct kith_sockaddr address;
    uint64_t sequence;
    bool is_told; /* the user knows the address */
};

/** An address of the present round. */
struct kith_punch_probe {
    struct kith_sockaddr address;
    uint64_t next_ns; /* when the next challenge is due; KITH_NEVER: all are sent, or only answers carry one */
    uint8_t tries;    /* scheduled challenges that went out */
    uint8_t value_count;
    bool is_seen;   /* not advertised: a challenge came from there. Only answers to it carry challenges */
    bool is_proved; /* kept so that a repetition does not start anew */
    uint8_t values[KITH_PUNCH_VALUES_MAX][KITH_CHALLENGE_SIZE]; /* oldest first */
};

/** A proved address that waits for a path. */
struct kith_punch_ready {
    struct kith_sockaddr local, remote; /* local: where the answer arrived; family NONE: not known */
};

/** Members are read by others, changed by the verbs only. */
struct kith_punch {
    bool is_server, is_on;
    bool can_v4, can_v6; /* addresses of other families are kept, but not probed */
    uint8_t local_max;   /* addresses of the peer that we store: our parameter; 0: NAT traversal is not offered */
    uint8_t remote_max;  /* the peer's */
    uint8_t ours_count, theirs_count, probe_count, ready_count;
    uint8_t gone_count; /* behind `theirs`: addresses that were taken back, and the user was not told of it yet */
    struct kith_punch_ours *ours;
    struct kith_punch_theirs *theirs;
    struct kith_punch_probe *probes;
    struct kith_punch_ready *ready;
    uint64_t next_sequence; /* of the next address of ours */
    uint64_t round;         /* 0: none yet */
    uint64_t expires_ns;    /* when the probes may be forgotten, once all are sent */
    uint64_t starts;        /* what is left of KITH_PUNCH_STARTS_MAX, in thousandths */
    uint64_t starts_ns;     /* when that was so */
    uint64_t dropped;       /* addresses left aside: over a limit, of a family that we lack, not usable, no memory */
    uint64_t ignored;       /* frames of earlier rounds, repetitions, unknown addresses */
    const struct kith_mem *mem;
};

/** NAT traversal is off; local_max <= KITH_PUNCH_ADDRESSES_MAX: our parameter. */
void kith__punch_init(struct kith_punch *punch, bool is_server, uint8_t local_max, const struct kith_mem *mem);
/** Frees what it holds; fine twice. */
void kith__punch_dispose(struct kith_punch *punch);
/**
 * The handshake is complete, multipath is negotiated, and both sides sent the parameter: the peer's value, >= 1.
 * Addresses that were added before are advertised now, the first remote_max of them.
 */
void kith__punch_start(struct kith_punch *punch, uint8_t remote_max);
/** Which families our sockets have; both at first. For addresses from now on. */
void kith__punch_set_families(struct kith_punch *punch, bool can_v4, bool can_v6);

/* ---- Our own addresses ---- */

/**
 * An address where the peer may try to reach us; canonical. Server: ADD_ADDRESS is due, once the peer has room for it.
 * Client: it is named in the next round; the first ones only, if the peer takes fewer. Errors: EXISTS (nothing
 * changed), LIMIT (KITH_PUNCH_ADDRESSES_MAX), INVALID (no address of a host, or no port), NOMEM.
 */
KITH_MUST_USE int kith__punch_add_ours(struct kith_punch *punch, const struct kith_sockaddr *address);
/** Server: REMOVE_ADDRESS is due, if the peer may know it. Errors: NOT_FOUND, LIMIT (KITH_PUNCH_REMOVED_MAX open). */
KITH_MUST_USE int kith__punch_remove_ours(struct kith_punch *punch, const struct kith_sockaddr *address);

/* ---- Rounds ---- */

/**
 * Client: a new round: earlier probes and addresses that wait for a path are forgotten, REACH_OUT is due for each of
 * our addresses, a probe for each of the server's (KITH_PUNCH_STARTS_MAX: those above it are left aside). Errors: UNSUPPORTED (off, or we are the server), STATE (no address
 * of ours), NOMEM; nothing changed then.
 */
KITH_MUST_USE int kith__punch_start_round(struct kith_punch *punch, uint64_t now_ns);
/** The next address to send a probe to now; false if none is due. Draw a value, send it, tell on_probe_sent. */
bool kith__punch_next_probe(const struct kith_punch *punch, uint64_t now_ns, struct kith_sockaddr *address);
/** A probe left, or could not leave (socket error): either way the schedule goes on. value is random. */
void kith__punch_on_probe_sent(struct kith_punch *punch, const struct kith_sockaddr *address,
                               const uint8_t value[KITH_CHALLENGE_SIZE], uint64_t now_ns);
/**
 * Client: a PATH_CHALLENGE came from an address where no validated path is, and its answer is being written: true if
 * the answer should carry a challenge of ours. Then tell on_answer_challenged.
 */
bool kith__punch_wants_challenge(const struct kith_punch *punch, const struct kith_sockaddr *address);
/** The challenge went out with the answer to `address`. */
void kith__punch_on_answer_challenged(struct kith_punch *punch, const struct kith_sockaddr *address,
                                      const uint8_t value[KITH_CHALLENGE_SIZE], uint64_t now_ns);

enum kith_punch_verdict {
    KITH_PUNCH_NOT_OURS, /* no value of the round, or another address: it may belong to a path */
    KITH_PUNCH_PROVED    /* the address is proved: not probed further; at a client it waits for a path */
};
/** A PATH_RESPONSE from `remote` to `local`, untrusted. A repetition is NOT_OURS. */
enum kith_punch_verdict kith__punch_on_response(struct kith_punch *punch, const struct kith_sockaddr *remote,
                                                const struct kith_sockaddr *local,
                                                const uint8_t value[KITH_CHALLENGE_SIZE]);
/** Client: the oldest proved address that has no path yet; false if none. It stays until take_ready. */
bool kith__punch_next_ready(const struct kith_punch *punch, struct kith_punch_ready *out);
/** Takes it away: a path was opened there, there is one already, or none is wanted. Fine if it is not there. */
void kith__punch_take_ready(struct kith_punch *punch, const struct kith_sockaddr *remote);

/* ---- Frames from the peer, all untrusted; addresses are canonical (kith__frame_decode) ---- */

/**
 * May this frame come at all? Returns 0, or PROTOCOL_VIOLATION and *reason: not negotiated, or from the wrong side.
 * type: the wire type of ADD_ADDRESS, REACH_OUT or REMOVE_ADDRESS. The three below assert it.
 */
KITH_MUST_USE int kith__punch_check(const struct kith_punch *punch, uint64_t type, const char **reason);

/** What a frame changed. */
struct kith_punch_change {
    bool has_added, has_removed; /* both: one replaced the other */
    struct kith_sockaddr added, removed;
};
/** Client. More than local_max addresses: the rest is dropped and counted. It is probed with the next round. */
void kith__punch_on_add_address(struct kith_punch *punch, uint64_t sequence, const struct kith_sockaddr *address,
                                struct kith_punch_change *change);
/** Client. An unknown sequence is ignored. */
void kith__punch_on_remove_address(struct kith_punch *punch, uint64_t sequence, struct kith_punch_change *change);
/**
 * Server. A higher round replaces the present one; an address of the present one is added once; lower rounds are
 * ignored. Returns 0, or PROTOCOL_VIOLATION and *reason: more than local_max addresses in a round. Without memory the
 * address is dropped and counted.
 */
KITH_MUST_USE int kith__punch_on_reach_out(struct kith_punch *punch, uint64_t round,
                                           const struct kith_sockaddr *address, uint64_t now_ns, const char **reason);
/** The addresses of the peer at index 0..theirs_count-1, in order of arrival (client). */
static inline const struct kith_sockaddr *kith__punch_theirs_at(const struct kith_punch *punch, size_t index)
{
    return &punch->theirs[index].address;
}

/** What the user is to be told of the peer's addresses: one that came, or one that is not there any more. */
struct kith_punch_news {
    bool is_added;
    struct kith_sockaddr address;
};
/**
 * Client: the next news, each once; false if there is none. What came and went between two calls is no news, and nor is what
 * went and came back: so there are never more than twice KITH_PUNCH_ADDRESSES_MAX, whatever the peer does.
 */
bool kith__punch_next_news(struct kith_punch *punch, struct kith_punch_news *out);
/** True if next_news would find one. */
bool kith__punch_has_news(const struct kith_punch *punch);

/* ---- Frames to the peer ---- */

/** A frame that is due. As record of a sent packet: its kind, id and value. */
struct kith_punch_frame {
    uint8_t kind;                 /* KITH_KIND_ADD_ADDRESS, REMOVE_ADDRESS or REACH_OUT */
    uint64_t id;                  /* which of our addresses */
    uint64_t value;               /* as on the wire: the sequence, or the round */
    struct kith_sockaddr address; /* not for REMOVE_ADDRESS; not needed for on_acked and on_lost */
};
/** The next frame to send; false if none is due. Then call on_sent, or ask again later. */
bool kith__punch_next(const struct kith_punch *punch, struct kith_punch_frame *out);
/** Writes it as a wire frame. */
struct kith_frame kith__punch_wire(const struct kith_punch_frame *frame);
/** It went out; was acknowledged; was lost. What is moot by now (an earlier round, a removed address) is fine. */
void kith__punch_on_sent(struct kith_punch *punch, const struct kith_punch_frame *frame);
void kith__punch_on_acked(struct kith_punch *punch, const struct kith_punch_frame *frame);
void kith__punch_on_lost(struct kith_punch *punch, const struct kith_punch_frame *frame);

/* ---- Time ---- */

/** When the next probe is due, or the round's probes are to be forgotten; KITH_NEVER. */
uint64_t kith__punch_deadline(const struct kith_punch *punch);
/** Forgets probes of a round that is over. Probes that are due: kith__punch_next_probe. */
void kith__punch_on_deadline(struct kith_punch *punch, uint64_t now_ns);

/** Test builds: aborts if an invariant is broken. */
void kith__punch_check_invariants(const struct kith_punch *punch);

#endif
