/**
 * One network path: a path id, its present 4-tuple, whether the peer is proved to be there, and all that is measured on
 * it: round trip, congestion, pacing, packet size, ECN, loss. Path 0 exists from the first packet; others come with
 * multipath. Knows no connection: events come as calls, wishes are questions and deadlines. Owner: the connection.
 * Source: RFC 9000, 8 and 9; spec/01, 1.7 to 1.10, 1.16, 4.6.
 */
#ifndef KITH_QUIC_PATH_PATH_H
#define KITH_QUIC_PATH_PATH_H

#include "quic/path/cid_ours.h"
#include "quic/path/cid_theirs.h"
#include "quic/path/prove.h"
#include "quic/recover/cc.h"
#include "quic/recover/ecn.h"
#include "quic/recover/loss.h"
#include "quic/recover/mtu.h"
#include "quic/recover/pacer.h"
#include "quic/recover/received.h"
#include "quic/recover/sent.h"
#include <kith/quic.h>

enum kith_path_state {
    KITH_PATH_UNUSED,
    KITH_PATH_PROBING, /* waits for proof that the peer is at `remote` */
    KITH_PATH_OPEN,    /* proved: data may be sent without the amplification limit */
    KITH_PATH_CLOSING, /* abandoned: nothing new is sent */
    KITH_PATH_DRAINED  /* late packets are over: may be freed */
};

/** What the user is to be told of a path; a set, in the order of telling. */
enum kith_path_news {
    KITH_PATH_NEWS_OPENED = 1,
    KITH_PATH_NEWS_VALIDATED = 2,
    KITH_PATH_NEWS_CHANGED = 4,
    KITH_PATH_NEWS_OBSERVED = 8,
    KITH_PATH_NEWS_ABANDONED = 16
};

enum { KITH_AMPLIFICATION = 3 /* RFC 9000, 8.1 */ };

/** The two ends as we see them. local may be of family NONE (any). */
struct kith_tuple {
    struct kith_sockaddr local, remote;
};

static inline bool kith__tuple_equal(const struct kith_tuple *a, const struct kith_tuple *b)
{
    return kith_sockaddr_equal(&a->local, &b->local) && kith_sockaddr_equal(&a->remote, &b->remote);
}

/** What is known about one 4-tuple. Replaced when the peer moves, put back when the move fails. */
struct kith_path_measures {
    struct kith_rtt rtt;
    struct kith_cc cc;
    struct kith_pacer pacer;
    struct kith_mtu mtu;
    struct kith_ecn ecn;
    uint64_t in_flight_size;  /* bytes in flight of this epoch */
    uint64_t in_flight_count; /* packets */
    uint8_t epoch;            /* packets of other epochs do not count here; below KITH_EPOCH_GONE */
};

enum { KITH_EPOCH_GONE = 255 /* of packets in flight whose 4-tuple is forgotten, once its number is used again */ };

struct kith_path_options { /* copied */
    bool is_server;
    bool pacing, ecn, mtu_discovery;
    uint8_t congestion; /* enum kith_quic_congestion */
    uint16_t udp_size_initial, udp_size_max;
    uint64_t initial_rtt_ns;
    uint64_t keep_alive_ns;   /* 0: none */
    uint64_t idle_timeout_ns; /* of this path; 0: none */
};

struct kith_path_stats {
    uint64_t bytes_sent, bytes_received, packets_sent, packets_received;
};

/** The address before a move, kept until the new one is proved. See migrate.h. */
struct kith_path_previous {
    struct kith_tuple tuple;
    struct kith_path_measures measures;
    struct kith_prove prove; /* the old address is challenged as well (RFC 9000, 9.3.3) */
};

struct kith_path {
    uint32_t id;
    uint8_t state;       /* enum kith_path_state; changed by this module only */
    bool is_size_proved; /* a padded challenge was answered, or the handshake had 1200 bytes */
    uint8_t epoch_next;
    struct kith_tuple tuple;
    struct kith_sockaddr
        local_seen; /* while tuple.local is "any": where the peer's packets come in; only to be shown */
    uint64_t state_since_ns;

    struct kith_path_measures now;
    struct kith_path_previous *previous; /* allocated while an address change is not settled; NULL */
    struct kith_loss loss;
    struct kith_received received; /* data space */
    struct kith_sent_log sent;     /* data space */
    struct kith_cid_ours cids_ours;
    struct kith_cid_theirs cids_theirs;
    struct kith_prove prove; /* of tuple.remote */
    struct kith_responses responses;
    uint64_t received_unproved,
        sent_unproved; /* bytes from and to tuple.remote since it was new: amplification limit */
    uint64_t last_received_ns;
    uint64_t idle_from_ns; /* idle timeout counts from here */
    uint64_t keep_alive_from_ns;
    bool sent_since_received; /* only the first ack-eliciting packet after a receive restarts the idle time */
    bool ping_wanted;         /* keep-alive or the user asks for a PING on this path */
    bool immediate_ack_due;   /* ask the peer for an ACK with the next packet: probes */
    uint8_t news;             /* a set of enum kith_path_news: events that wait */
    bool was_proved;          /* once; also if the peer has moved since */
    bool was_told_proved;     /* the user knows */
    uint8_t close_cause;      /* enum kith_quic_path_cause: why it was given up; 0: it was not */
    uint64_t close_code;      /* ... and what was told, or heard */
    bool is_ack_moved;        /* its next ACK goes on another path */
    bool is_ack_turn;         /* silent, as others are: its next ACK goes on itself, after one on another path */
    uint64_t silent_ns;       /* when the first of the probes that went unanswered left; 0: the path answers */
    uint64_t flow_ns;         /* when the newest packet came that asked for an ACK, and how many did in a row; */
    uint8_t flow_count;       /* see kith__conn_flow_deadline */
    uint64_t suspected_ns;    /* when its oldest packet had waited for too long the last time */
    uint64_t answered_ns;   /* what left then, or before, for where the path is now has arrived: it was acknowledged */
    uint64_t proved_ns;     /* when the peer was proved to be there for the first time; valid with was_proved */
    uint64_t idle_asked_ns; /* the idle time was over then, and the other paths were asked whether they answer */
    bool is_suspect;        /* valid while silent: of what was in flight then, only a part was sent again */
    bool is_idle_last;      /* then another one answered, and this one was asked for the last time */
    uint8_t silent_answers; /* challenges answered in a row while nothing was acknowledged */
    bool is_paced_now;      /* there is more to send on it, but the pacer says later */
    bool spin;              /* spin bit of the next packet */
    bool is_token_listed;   /* `token_listed`, the reset token of the active peer id, is in the host's map */
    uint8_t probes;         /* 1-RTT packets to send whatever the window says */
    uint8_t token_listed[KITH_RESET_TOKEN_SIZE];
    uint64_t migrations;
    struct kith_path_stats stats;
    struct kith_path_options options;
    const struct kith_mem *mem;
};

/**
 * A path in state UNUSED. skip_seed as for kith__sent_init. The object must not move afterwards.
 */
void kith__path_init(struct kith_path *path, uint32_t id, const struct kith_path_options *options,
                     const struct kith_tuple *tuple, uint64_t skip_seed, const struct kith_mem *mem, uint64_t now_ns);
/** Frees what it holds; fine twice. */
void kith__path_dispose(struct kith_path *path);

/* ---- State ---- */

/** The first packet on it: PROBING. Path 0 is proved by the handshake; others start a challenge with `challenge`. */
void kith__path_start(struct kith_path *path, bool challenge, uint64_t now_ns);
/**
 * The peer is proved to be there (handshake, token, response, another path with the same 4-tuple): OPEN. Fine when
 * open.
 */
void kith__path_on_proved(struct kith_path *path, uint64_t now_ns);
/** Abandoned: CLOSING. Intents are dropped, peer ids and tokens forgotten. Fine twice. */
void kith__path_close(struct kith_path *path, uint64_t now_ns);
/** Three probe timeouts after close: DRAINED. */
void kith__path_drain(struct kith_path *path, uint64_t now_ns);
static inline bool kith__path_is_proved(const struct kith_path *path)
{
    return path->state == KITH_PATH_OPEN;
}
/** Sends and receives: PROBING or OPEN. */
static inline bool kith__path_is_live(const struct kith_path *path)
{
    return path->state == KITH_PATH_PROBING || path->state == KITH_PATH_OPEN;
}

/** True if this is where the peer is, or was before a move that is not settled. */
bool kith__path_is_remote(const struct kith_path *path, const struct kith_sockaddr *remote);

/* ---- Datagrams and packets ---- */

/**
 * A datagram of `size` bytes that belongs to this path arrived from its remote address (whether or not it decrypts).
 */
void kith__path_on_datagram(struct kith_path *path, size_t size);
/** An authenticated packet arrived: idle and keep-alive time start again. */
void kith__path_on_packet(struct kith_path *path, uint64_t now_ns);
/** Bytes that may be sent to tuple.remote before it is proved; SIZE_MAX when there is no limit (client, or proved). */
size_t kith__path_allowance(const struct kith_path *path);
/** A datagram left for tuple.remote. */
void kith__path_on_datagram_sent(struct kith_path *path, size_t size);
/**
 * Prepares an entry of a sent log (this path's, or one of the handshake spaces of path 0) for a packet on this path:
 * sets
 * the epoch. Call between kith__sent_begin and kith__sent_commit.
 */
void kith__path_stamp(const struct kith_path *path, struct kith_sent *packet);
/** The packet was committed: counts it in flight, marks, pacing, idle time. flags: enum kith_sent_flag. */
void kith__path_on_sent(struct kith_path *path, uint16_t size, uint8_t flags, uint64_t now_ns);
/** True if the window and the pacer let `size` bytes that count as in flight leave now. */
bool kith__path_may_send(struct kith_path *path, size_t size, uint64_t now_ns);
/** True if the window is full (not the pacer). */
bool kith__path_is_window_full(const struct kith_path *path, size_t size);

/* ---- Acknowledgements ---- */

/** What one ACK frame did, collected packet by packet. Zero it (kith__path_ack_begin) for each frame. */
struct kith_path_ack {
    uint64_t acked_end;              /* largest acknowledged number before the frame + 1 */
    uint64_t newest, newest_sent_ns; /* largest newly acknowledged */
    uint64_t marked;                 /* of the present 4-tuple, with ECT(0) */
    uint64_t packets, bytes;
    bool eliciting;              /* any newly acknowledged packet asked for an ACK */
    bool any, newest_is_current; /* newest_is_current: of the present 4-tuple */
    bool came_on_path;           /* the frame came on the path whose packets it is about; set by the caller */
    bool is_about_path;          /* a packet went where the path is, or was: off-path probes tell nothing of it */
    bool app_limited;
};

void kith__path_ack_begin(const struct kith_path *path, const struct kith_sent_log *log, struct kith_path_ack *ack);
/**
 * One packet from kith__sent_ack_next of `log`: sums, congestion window, MTU, spurious losses. Returns true if the
 * MTU grew.
 */
bool kith__path_ack_packet(struct kith_path *path, const struct kith_sent_log *log, const struct kith_sent *packet,
                           struct kith_path_ack *ack, uint64_t now_ns);
/**
 * After all ranges: RTT sample, ECN, backoff.
 *   delay_ns      the frame's ACK Delay, untrusted; 0 for Initial and Handshake
 *   delay_max_ns  the peer's max_ack_delay; UINT64_MAX before confirmation
 *   counts        ECN counts of the frame, or NULL
 *   may_reset     see kith__loss_on_ack
 */
void kith__path_ack_end(struct kith_path *path, enum kith_space space, const struct kith_sent_log *log,
                        const struct kith_path_ack *ack, uint64_t delay_ns, uint64_t delay_max_ns,
                        const struct kith_ecn_counts *counts, bool may_reset, uint64_t now_ns);
/**
 * The next packet of `log` that is lost now, after it was taken out of all sums, reported to congestion control, ECN
 * and
 * MTU; NULL at the end. The caller reports its frames as lost. *mtu_fell is set (never cleared) on a black hole.
 */
const struct kith_sent *kith__path_take_lost(struct kith_path *path, enum kith_space space, struct kith_sent_log *log,
                                             uint64_t delay_max_ns, bool *mtu_fell, uint64_t now_ns);
/**
 * The next packet of `log` in flight, taken out of all sums without any effect on congestion: for a space whose keys
 * are
 * discarded (before kith__sent_dispose), Retry, rejected 0-RTT. NULL at the end.
 */
const struct kith_sent *kith__path_take_dropped(struct kith_path *path, struct kith_sent_log *log);
/**
 * The next packet to give up because the log is too long (kith__sent_is_long), already LOST and out of the sums, but no sign
 * of congestion; NULL: no more. Its frames are to be reported lost before the next call.
 */
const struct kith_sent *kith__path_take_overdue(struct kith_path *path, struct kith_sent_log *log);
/** Forgets all packets of a log of this path without a word: the connection ends. */
void kith__path_clear_sent(struct kith_path *path, struct kith_sent_log *log);

/* ---- Idle and keep-alive ---- */

/** When silence since from_ns (kith_path.idle_from_ns) is too long: from + max(timeout, 3 PTO); KITH_NEVER without timeout. */
uint64_t kith__path_idle_deadline(uint64_t from_ns, uint64_t timeout_ns, uint64_t pto_ns);
/**
 * When a keep-alive PING is due; KITH_NEVER if off or not open. On time set ping_wanted with
 * kith__path_on_keep_alive.
 */
uint64_t kith__path_keep_alive_deadline(const struct kith_path *path);
/** A PING is wanted; the time starts again. */
void kith__path_on_keep_alive(struct kith_path *path, uint64_t now_ns);

/** The probe timeout of the data space, without backoff. */
static inline uint64_t kith__path_pto_ns(const struct kith_path *path, uint64_t delay_max_ns)
{
    return kith__rtt_pto_ns(&path->now.rtt, delay_max_ns);
}
/** True if memory for records of packets is left from busier times. */
bool kith__path_has_slack(const struct kith_path *path);
/** Gives it back. */
void kith__path_shed(struct kith_path *path);
/** Fills in what kith_quic_conn_paths shows. */
void kith__path_info(const struct kith_path *path, struct kith_quic_path_info *out);
/** Test builds: aborts if an invariant is broken. */
void kith__path_check(const struct kith_path *path);

/* For migrate.c: fresh measures for a new 4-tuple with a new epoch; the MTU search starts again. */
void kith__path_measures_init(struct kith_path *path, struct kith_path_measures *measures, uint64_t now_ns);
/* For migrate.c: the only function that changes `state`; the move must be allowed (asserted). */
void kith__path_enter(struct kith_path *path, enum kith_path_state next, uint64_t now_ns);

#endif
