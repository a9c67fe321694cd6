/**
 * Which paths a connection has: the decisions that the engine leaves to its owner, as far as relays go. A relay is a backup for
 * direct paths on both sides. The client opens direct paths where it came through a relay but has addresses, keeps one working
 * path through a relay beside or instead of them, and when the relay of a path dies takes another one that both sides may know:
 * those of the peer's address, then its own. The server only agrees.
 *
 * Told of the engine's events and the relays' news; acts on the connection at once. By value in the connection's owner. Thread
 * rules: those of the engine. Source: spec/04, 2.5, 2.8, 2.9 and 9; spec/02, 9.2.
 */
#ifndef KITH_ENDPOINT_CONN_WAYS_H
#define KITH_ENDPOINT_CONN_WAYS_H

#include "endpoint/relays.h"

enum {
    KITH_CONN_RELAYS_MAX = 4, /* of the peer's address */
    KITH_CONN_IPS_MAX = 16,
    KITH_CONN_DIRECT_TRIES = 3 /* direct paths that are tried at a time, so that some remain for relays */
};

#define KITH_CONN_TRY_NS       (2500 * KITH_NS_PER_MS) /* a path that does not answer for so long makes room */
#define KITH_CONN_AGAIN_NS     (2 * KITH_NS_PER_S)     /* a relay that did not help is not tried again before */
#define KITH_CONN_GONE_NS      (2 * KITH_NS_PER_S)     /* by then the path's own silence tells, or the peer is back */
#define KITH_CONN_AGAIN_MAX_NS (60 * KITH_NS_PER_S)    /* that time doubles up to this while there is another way */

/** A relay that the peer may be at. */
struct kith_conn_relay {
    struct kith_relay_peer *relay; /* retained */
    uint64_t tried_ns;             /* when a path through it was opened last; 0: never */
    unsigned tries;                /* since one of them worked */
    bool is_ours;                  /* not of the peer's address: a guess */
};

struct kith_conn_ways {
    struct kith_quic_conn *quic; /* NULL: off */
    struct kith_relays *relays;  /* NULL: there are none */
    struct kith_id remote_id;
    bool is_client, is_confirmed;
    bool is_single;                                         /* the peer knows no second path */
    bool is_lost;                                           /* see kith__conn_ways_is_lost */
    struct kith_conn_relay known[KITH_CONN_RELAYS_MAX + 2]; /* the last two: our own home and warm */
    size_t known_count;
    struct kith_sockaddr ips[KITH_CONN_IPS_MAX];
    size_t ip_count, ip_next; /* ip_next: the first one that was not tried as a path */
    struct {
        uint32_t id;
        uint64_t since_ns;
    } tried[KITH_QUIC_PATHS_MAX]; /* our paths that were not validated yet */
    size_t tried_count;
    struct kith_sockaddr gone; /* the relay said that the peer left there: not used until gone_until_ns */
    uint64_t gone_until_ns;
    uint64_t deadline_ns;
};

/** For a connection; relays NULL: all paths are direct. */
void kith__conn_ways_init(struct kith_conn_ways *ways, struct kith_quic_conn *quic, struct kith_relays *relays,
                          bool is_client);
/** Lets go of connection and relays; twice is fine, also of a zeroed one. */
void kith__conn_ways_dispose(struct kith_conn_ways *ways);
/**
 * The peer's relay; one twice changes nothing. With more than fit it takes the place of one that is not connected, else it is left
 * out. kith__conn_ways_review uses it.
 */
void kith__conn_ways_add_relay(struct kith_conn_ways *ways, struct kith_relay_peer *relay);
/** Addresses of the peer, best first, for direct paths if the handshake goes through a relay. */
void kith__conn_ways_set_ips(struct kith_conn_ways *ways, const struct kith_sockaddr *ips, size_t count);
/**
 * One more address of the peer, or one that it is at again: it is tried (again) when there is no direct path that works. With more
 * than fit it takes the place of the one that was tried longest ago. kith__conn_ways_review uses it.
 */
void kith__conn_ways_add_ip(struct kith_conn_ways *ways, const struct kith_sockaddr *ip);
/** What was added is used now, if there is need. */
void kith__conn_ways_review(struct kith_conn_ways *ways, uint64_t now_ns);
/**
 * True for a client's established connection none of whose paths works (they fell silent, or their relays died): where the peer is
 * now must be found out anew. As of the last event, news or deadline.
 */
static inline bool kith__conn_ways_is_lost(const struct kith_conn_ways *ways)
{
    return ways->quic != NULL && ways->is_lost;
}
/** An event of this connection: of the handshake or about paths; others are ignored. */
void kith__conn_ways_on_event(struct kith_conn_ways *ways, const struct kith_quic_event *event, uint64_t now_ns);
/** As on_news of kith_relays_events. */
void kith__conn_ways_on_news(struct kith_conn_ways *ways, enum kith_relays_news news, struct kith_relay_peer *relay,
                             const struct kith_sockaddr *gone, uint64_t now_ns);
/** When kith__conn_ways_on_deadline is due; KITH_NEVER. */
static inline uint64_t kith__conn_ways_deadline(const struct kith_conn_ways *ways)
{
    return ways->quic != NULL ? ways->deadline_ns : KITH_NEVER;
}
void kith__conn_ways_on_deadline(struct kith_conn_ways *ways, uint64_t now_ns);

#endif
