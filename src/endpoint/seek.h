/**
 * Where the other side of one dial, or of a connection that lost its paths, may be: what the caller knows, and what the lookup
 * services find, as they find it. What comes before the dial begins is what it begins with; what comes later goes to the handshake
 * under way at once, and becomes a way of the connection (conn_ways.h). Addresses are only added; each is used as long as it may
 * be of use, whoever named it.
 *
 * What was found is anybody's word: addresses of no use (our own, of groups, without a port or a socket of their family) are left
 * out, and of the rest no more than fit. Thread rules: those of the rt. Source: spec/03, 12.3 and 12.4.
 */
#ifndef KITH_ENDPOINT_SEEK_H
#define KITH_ENDPOINT_SEEK_H

#include "endpoint/conn_ways.h"
#include "lookup/lookup.h"

enum {
    KITH_SEEK_IPS_MAX = 48,
    KITH_SEEK_RELAYS_MAX = 8,
    KITH_SEEK_FIRST_IPS_MAX = 12, /* of a dial's first addresses; the rest of the engine's 16 is for relays */
    KITH_SEEK_FIRST_RELAYS_MAX = 4,
    KITH_SEEK_WRONG_MAX = 8 /* addresses where somebody else answered */
};

/** What a seek works with; all borrowed. */
struct kith_seek_world {
    struct kith_rt *rt;
    struct kith_driver *driver;
    struct kith_relays *relays; /* NULL: none are used */
    struct kith_lookup *lookup; /* NULL: there is none */
    bool is_relay_only;         /* direct addresses are of no use */
};

struct kith_seek_events {
    /** There is something (more) to dial; after kith__seek_attach: the connection got it, and may have something to send now. */
    void (*on_remote)(void *ctx);
    /** The services are through: as on_end of kith_lookup_events. The seek may be disposed of inside. */
    void (*on_end)(void *ctx, int err, const char *why);
    void *ctx;
};

/** By value in its owner; kith__seek_init, kith__seek_dispose. */
struct kith_seek {
    struct kith_seek_world world;
    struct kith_seek_events events;
    struct kith_id id;
    struct kith_sockaddr local;                  /* of the dial; family NONE: any */
    struct kith_lookup_request *request;         /* NULL: nobody is asked (any more) */
    bool has_found;                              /* a service found something, of use or not */
    bool is_guess;                               /* the dial began with nothing but our own relays */
    struct kith_sockaddr ips[KITH_SEEK_IPS_MAX]; /* the first ip_used are with the dial */
    size_t ip_count, ip_used;
    struct kith_relay_peer *relays[KITH_SEEK_RELAYS_MAX]; /* retained; likewise */
    size_t relay_count, relay_used;
    struct kith_sockaddr wrong[KITH_SEEK_WRONG_MAX];
    size_t wrong_count;
    size_t left_out;             /* addresses of no use, or too many */
    struct kith_quic_conn *quic; /* attached; NULL */
    struct kith_conn_ways *ways;
};

/** Nothing is known yet. local: where the dial comes from; family NONE: anywhere. */
void kith__seek_init(struct kith_seek *seek, const struct kith_seek_world *world, const struct kith_id *id,
                     const struct kith_sockaddr *local, const struct kith_seek_events *events);
/** Asks nobody any more. Twice is fine, also of a zeroed one. */
void kith__seek_dispose(struct kith_seek *seek);

/** Socket addresses, best first of those that are new. */
void kith__seek_add_ips(struct kith_seek *seek, const struct kith_sockaddr *ips, size_t count);
/** A relay by its URL. */
void kith__seek_add_relay(struct kith_seek *seek, const char *url);
/** The address of a path of another connection to the same endpoint. */
void kith__seek_add_path(struct kith_seek *seek, const struct kith_sockaddr *remote);

/** What a service, or somebody else, found meanwhile. A dial that waits may begin inside (on_remote). */
void kith__seek_add_found(struct kith_seek *seek, const struct kith_lookup_info *info);
/** Asks the services. STATE: there are none that resolve; LIMIT, NOMEM, INVALID (our own id). One that is under way: 0. */
KITH_MUST_USE int kith__seek_start(struct kith_seek *seek);

/**
 * What a dial begins with: direct addresses, then ways through relays; of none, those through our own relays, as a guess. Fills
 * KITH_SEEK_FIRST_IPS_MAX + KITH_SEEK_FIRST_RELAYS_MAX at most, returns how many.
 */
size_t kith__seek_first(struct kith_seek *seek, struct kith_sockaddr *out);
/**
 * The dial, or the connection: everything that is known and its first addresses did not have, and what is found from now on, goes to
 * it. Both pointers live until kith__seek_detach or dispose.
 */
void kith__seek_attach(struct kith_seek *seek, struct kith_quic_conn *quic, struct kith_conn_ways *ways,
                       uint64_t now_ns);
/** The dial failed. wrong: where somebody else answered (NULL: nobody did), which is of no use any more. The next dial begins anew. */
void kith__seek_detach(struct kith_seek *seek, const struct kith_sockaddr *wrong);
/** True if a dial would have something to begin with, without guesses. */
bool kith__seek_has_remote(const struct kith_seek *seek);

#endif
