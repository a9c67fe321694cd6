/**
 * The relays of an endpoint: at most one connection to each, which ones are kept and which one is home, and datagrams through
 * them. Home and a second one, the warm one, are always connected, so that the endpoint can be reached at once when home dies;
 * others are connected while something is sent through them. Every wait has a limit.
 *
 * Thread rules and life: those of the rt. Events come only out of kith__rt_process. Source: spec/02, 4.2 to 4.7 and 9.2;
 * spec/04, 1.3 and 3.5.
 */
#ifndef KITH_ENDPOINT_RELAYS_H
#define KITH_ENDPOINT_RELAYS_H

#include "endpoint/discovery.h"
#include "endpoint/relay_line.h"
#include "tls/stream.h"
#include <kith/quic.h>

struct kith_relays;
struct kith_relay_peer; /* one of them; lives while it is configured, connected, has ways, or is retained */

enum {
    KITH_RELAYS_MAX = 64, /* relays known at a time: the configured ones, and those of other endpoints' addresses */
    KITH_RELAYS_CONFIGURED_MAX = 16,
    KITH_RELAY_WHY_SIZE = 256
};

#define KITH_RELAY_IDLE_NS (60 * KITH_NS_PER_S) /* without a datagram to send: a connection that is not kept ends */
/** A datagram was sent less than this ago: a connection depends on it. As long as one lives in silence: it sends less and less then. */
#define KITH_RELAY_NEEDED_NS      (30 * KITH_NS_PER_S)
#define KITH_RELAY_SOUND_NS       KITH_NS_PER_S         /* a connection that lived so long is dialled again at once */
#define KITH_RELAY_PROBE_EVERY_NS (300 * KITH_NS_PER_S) /* latencies are measured anew */
#define KITH_RELAY_PROBE_LIMIT_NS (3 * KITH_NS_PER_S)

/** One that the user named. Borrowed until kith__relays_new returns. */
struct kith_relay_config {
    const char *url;   /* normalised or not */
    const char *token; /* NULL: none */
    uint16_t qad_port; /* UDP port of its address discovery; 0: it is not asked */
};

enum kith_relays_news {
    KITH_RELAYS_HOME,      /* another relay is home, or home is connected, or not any more */
    KITH_RELAYS_CONNECTED, /* `relay` takes and gives datagrams (again) */
    KITH_RELAYS_LOST,      /* `relay` was lost, does not answer, or says that it will end */
    KITH_RELAYS_STATUS,    /* `relay` told of a change of how we stand with it: see kith_relay_info */
    KITH_RELAYS_GONE,      /* the endpoint at the way `gone` left that relay */
    KITH_RELAYS_LEFT,      /* after kith__relays_leave: the last connection has ended in order; relay is NULL */
    KITH_RELAYS_PUBLIC     /* the public addresses are other ones: see kith__relays_public; relay is NULL */
};

struct kith_relays_events {
    /** Datagrams came; as on_receive of kith_rt_udp_events, with remote addresses of family RELAY. */
    void (*on_receive)(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns);
    /** After some on_receive: time to answer. */
    void (*on_batch_end)(void *ctx);
    /** What the kinds say; relay may be NULL with HOME (none is home). Relays must not be freed inside. NULL is fine. */
    void (*on_news)(void *ctx, enum kith_relays_news news, struct kith_relay_peer *relay,
                    const struct kith_sockaddr *gone);
    void *ctx;
};

struct kith_relays_options {
    struct kith_rt *rt;
    const struct kith_secret *secret; /* copied */
    const struct kith_relay_config *configs;
    size_t config_count;
    enum kith_tls_trust trust;      /* for relays with https */
    struct kith_slice anchors;      /* PEM, copied; empty: none */
    const struct kith_proxy *proxy; /* copied; NULL: none */
    struct kith_driver *driver;     /* outlives the relays; for address discovery. NULL: there is none */
};

/**
 * Starts to connect to what is to be kept. Errors: NOMEM; LIMIT: too many; TOO_LARGE: a token; PARSE, UNSUPPORTED, TOO_LARGE: a
 * URL, with its index in *bad (which may be NULL; else it is the count where the error is another one); PARSE, NOT_FOUND, TLS:
 * the anchors.
 */
KITH_MUST_USE int kith__relays_new(const struct kith_relays_options *options, const struct kith_relays_events *events,
                                   struct kith_relays **out, size_t *bad);
/** Closes all connections at once. NULL is fine. */
void kith__relays_free(struct kith_relays *relays);
/** Ends all connections in order; nothing is dialled any more. kith__relays_is_left tells when it is done, within a
 * second; if it is not true at once, KITH_RELAYS_LEFT says when. */
void kith__relays_leave(struct kith_relays *relays);
bool kith__relays_is_left(const struct kith_relays *relays);

/* ---- Ways ---- */

/**
 * The address of the way to an endpoint through the relay of that URL, which need not be one of ours. Connects only when
 * something is sent. Errors: NOMEM; PARSE, UNSUPPORTED, TOO_LARGE: the URL; LIMIT: KITH_RELAYS_MAX.
 */
KITH_MUST_USE int kith__relays_way(struct kith_relays *relays, const char *url, const struct kith_id *id,
                                   struct kith_sockaddr *out);
/** The same for a relay that we have. NOMEM. */
KITH_MUST_USE int kith__relay_way(struct kith_relay_peer *relay, const struct kith_id *id, struct kith_sockaddr *out);
/** The relay of a way, and (unless NULL) whose it is; NULL: no way, or forgotten. */
struct kith_relay_peer *kith__relays_find(const struct kith_relays *relays, const struct kith_sockaddr *way,
                                          struct kith_id *id);
/**
 * Queues what the engine wants to send to a way. Nothing is sent before kith__relays_flush. It goes through that relay or none: the
 * reference takes any relay where it last heard of that id (spec/02, 4.2), but another way is another path, with a round trip and
 * limits of its own, and it is the engine that goes from one to another.
 */
void kith__relays_send(struct kith_relays *relays, const struct kith_quic_transmit *transmit, const uint8_t *bytes);
/** Sends what was queued; dials where it must. */
void kith__relays_flush(struct kith_relays *relays);

/* ---- Relays ---- */

/** NULL: none is configured, or none was chosen yet. */
struct kith_relay_peer *kith__relays_home(const struct kith_relays *relays);
/** The second one that is kept; NULL: none. */
struct kith_relay_peer *kith__relays_warm(const struct kith_relays *relays);
/** The relay of that URL (normalised or not), known from now on. Errors as kith__relays_way. */
KITH_MUST_USE int kith__relays_get(struct kith_relays *relays, const char *url, struct kith_relay_peer **out);
/** The configured ones first, in their order; NULL after the last. before: NULL for the first. */
struct kith_relay_peer *kith__relays_next(const struct kith_relays *relays, const struct kith_relay_peer *before);
/** Keeps the object alive (not the connection). */
void kith__relay_retain(struct kith_relay_peer *relay);
void kith__relay_release(struct kith_relay_peer *relay);
/** Asks a connected relay for a sign of life at once. */
void kith__relay_check(struct kith_relay_peer *relay);
/** True if it is connected and answers. */
bool kith__relay_is_fit(const struct kith_relay_peer *relay);

enum kith_relay_state {
    KITH_RELAY_OFF, /* not connected, as nobody needs it */
    KITH_RELAY_CONNECTING,
    KITH_RELAY_ON,
    KITH_RELAY_WAITING /* the last attempt failed: the next one comes */
};

/** How a relay is. Texts are borrowed until the next turn. */
struct kith_relay_info {
    const char *url; /* normalised */
    uint8_t state;   /* enum kith_relay_state */
    bool is_configured, is_home, is_warm, is_denied;
    bool was_on;              /* it has let us in at least once */
    bool is_displaced;        /* another connection with our id receives what is for us (Status 1) */
    uint64_t rtt_ns;          /* of its last ping; 0: none */
    uint64_t latency_ns;      /* measured by HTTP; KITH_NEVER: not known */
    uint64_t quic_latency_ns; /* measured by address discovery; KITH_NEVER: not known */
    bool has_qad;             /* its address discovery is asked */
    int qad_err;              /* of the last time; 0: it answered, or was not asked yet */
    const char *qad_why;      /* a sentence about it; "" */
    int err;                  /* of the last connection or attempt that ended; 0: none */
    const char *why;          /* a sentence about it; "" */
};
void kith__relay_info(const struct kith_relay_peer *relay, struct kith_relay_info *out);

/* ---- Address discovery (discovery.h) ---- */

/** True if the event of the driver is the address discovery's: nobody else must hear of it. */
bool kith__relays_on_event(struct kith_relays *relays, const struct kith_quic_event *event);
/** What relays told of one family (V4, V6). */
struct kith_discovery_side kith__relays_public(const struct kith_relays *relays, enum kith_family family);
/** Engine connections for it: made so far, and now. */
void kith__relays_discovery_conns(const struct kith_relays *relays, uint64_t *opened, uint64_t *live);
/** Ends it: before the driver is pumped for the last time. */
void kith__relays_end_discovery(struct kith_relays *relays);

/** Counters over all relays (spec/02, 5.8). */
struct kith_relays_stats {
    uint64_t datagrams_sent, bytes_sent, datagrams_received, bytes_received; /* frames, and bytes of QUIC in them */
    uint64_t conns_success, conns_failed, conns_closed, conns_ratelimited, home_changes;
    uint64_t ways, ways_evicted; /* now; forgotten because there were too many */
    uint64_t drop_unroutable;    /* to a way that was forgotten */
    uint64_t drop_no_way;        /* received, without memory for a way */
#define KITH_RELAYS_DROP_MEMBER(name) uint64_t drop_##name;
    KITH_RELAY_CLIENT_DROPS(KITH_RELAYS_DROP_MEMBER)
#undef KITH_RELAYS_DROP_MEMBER
};
void kith__relays_stats(const struct kith_relays *relays, struct kith_relays_stats *out);

#endif
