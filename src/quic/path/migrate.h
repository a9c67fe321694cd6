/**
 * A path's 4-tuple changes: the peer's address moved (NAT rebinding or migration), or we moved. The new address is
 * challenged, the old one is kept until the new one is proved, and put back if that fails. Source: RFC 9000, 9;
 * spec/01, 1.17.
 */
#ifndef KITH_QUIC_PATH_MIGRATE_H
#define KITH_QUIC_PATH_MIGRATE_H

#include "quic/path/path.h"

enum { KITH_MIGRATE_PTOS = 3 /* time to prove a new address, RFC 9000, 8.2.4 */ };

/** What to do with an authenticated 1-RTT packet that came on another 4-tuple than the path's. */
enum kith_migrate_verdict {
    KITH_MIGRATE_STAY,   /* use the packet; the path stays (probing or reordered: answers go to its source) */
    KITH_MIGRATE_FOLLOW, /* use the packet; the peer moved: call kith__migrate_follow after its frames were handled */
    KITH_MIGRATE_DROP    /* drop it: the peer may not move now */
};

struct kith_migrate_packet {
    struct kith_tuple tuple; /* where it came from and arrived */
    uint64_t number;
    uint64_t received_end;  /* kith__received_end before this packet: only the highest number moves a path */
    bool is_probing_only;   /* it holds only probing frames (RFC 9000, 9.1) */
    bool is_confirmed;      /* handshake confirmed */
    bool has_nat_traversal; /* packets of a path may come from anywhere; our own end may move (spec/01, 4.6 and 5.5) */
    bool any_packet_moves;  /* multipath without NAT traversal: probing packets move it too (spec/01, 1.17) */
};

/**
 * Pure. Servers follow; a client drops packets from other remotes, but accepts another local address once confirmed.
 */
enum kith_migrate_verdict kith__migrate_judge(const struct kith_path *path, const struct kith_migrate_packet *packet);
/**
 * The peer is on another 4-tuple now: keeps the old one (if it was proved, or what was kept before), starts to prove
 * the
 * new one and challenges the old one, sets congestion and RTT back unless only the peer's port changed. The
 * amplification limit
 * holds for the new address from `datagram_size` received bytes on.
 *   is_known      the 4-tuple is proved by another path: no challenge
 *   delay_max_ns  the peer's max_ack_delay
 * The caller should switch to a fresh peer id (kith__cid_theirs_switch); KITH_ERR_NOMEM: nothing changed.
 */
KITH_MUST_USE int kith__migrate_follow(struct kith_path *path, const struct kith_tuple *tuple, size_t datagram_size,
                                       bool is_known, uint64_t delay_max_ns, uint64_t now_ns);
/**
 * Client: go on from another local address (family NONE: any). As above, but the peer's address stays proved for us; a
 * fresh peer id is required. Errors: KITH_ERR_STATE (path not open, or no spare id), NOMEM; nothing changed then.
 */
KITH_MUST_USE int kith__migrate_local(struct kith_path *path, const struct kith_sockaddr *local, uint64_t delay_max_ns,
                                      uint64_t now_ns);

enum kith_migrate_event {
    KITH_MIGRATE_NOTHING,
    KITH_MIGRATE_PROVED,    /* the present 4-tuple is proved now */
    KITH_MIGRATE_OLD_ALIVE, /* the old address answered: the move may have been an attack; nothing changes yet */
    KITH_MIGRATE_WENT_BACK, /* not proved in time: the old 4-tuple is in use again */
    KITH_MIGRATE_FAILED     /* not proved in time, and there is nothing to go back to */
};

/**
 * A PATH_RESPONSE arrived on this path id from `tuple`; untrusted. With a first response on a path without sample,
 * the round
 * trip is taken as one.
 */
enum kith_migrate_event kith__migrate_on_response(struct kith_path *path, const struct kith_tuple *tuple,
                                                  const uint8_t value[KITH_CHALLENGE_SIZE], uint64_t now_ns);
/** Earliest time that kith__migrate_on_deadline or a challenge is due; KITH_NEVER. */
uint64_t kith__migrate_deadline(const struct kith_path *path);
/** Gives up attempts whose time is over. */
enum kith_migrate_event kith__migrate_on_deadline(struct kith_path *path, uint64_t now_ns);

/** A challenge to send. */
struct kith_migrate_challenge {
    struct kith_tuple tuple;
    bool is_old; /* to the address before the move: off-path, not to be marked or counted for the new one */
};
/**
 * True if a challenge is due: draw a random value, send it in a datagram of 1200 bytes (as far as allowed), tell
 * on_challenge_sent.
 */
bool kith__migrate_challenge_is_due(const struct kith_path *path, uint64_t now_ns, struct kith_migrate_challenge *out);
void kith__migrate_on_challenge_sent(struct kith_path *path, bool is_old, const uint8_t value[KITH_CHALLENGE_SIZE],
                                     bool is_padded, uint64_t delay_max_ns, uint64_t now_ns);

#endif
