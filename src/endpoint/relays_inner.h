/** Between the files of the relays of an endpoint: relays.c (objects, ways), relays_keep.c (connections). */
#ifndef KITH_ENDPOINT_RELAYS_INNER_H
#define KITH_ENDPOINT_RELAYS_INNER_H

#include "endpoint/relay_choice.h"
#include "endpoint/relay_ways.h"
#include "endpoint/relays.h"
#include "link/fetch.h"

struct kith_relay_peer {
    struct kith_list node;       /* in relays->all */
    struct kith_list dirty_node; /* in relays->dirty: something was queued since the last flush */
    struct kith_relays *relays;
    char *url;   /* normalised */
    char *token; /* NULL: none */
    struct kith_relay_client client;
    struct kith_relay_line *line; /* CONNECTING, ON */
    struct kith_relay_ways_of through;
    size_t references;
    uint8_t state; /* enum kith_relay_state */
    bool is_configured, is_denied, was_on, is_displaced;
    bool is_restarting;       /* this connection: the relay said so */
    bool is_told_lost;        /* LOST was told since the last CONNECTED */
    bool is_limited;          /* this connection: the relay told of its rate limit */
    unsigned failures;        /* attempts in a row */
    unsigned short_lives;     /* connections in a row that were on and did not live for KITH_RELAY_SOUND_NS */
    uint64_t dial_at_ns;      /* WAITING */
    uint64_t dialled_ns;      /* when the last attempt began */
    uint64_t on_ns;           /* ON: since when */
    uint64_t latency_ns;      /* KITH_NEVER: not known */
    uint64_t quic_latency_ns; /* the same by address discovery */
    uint16_t qad_port;
    int qad_err;
    char qad_why[KITH_RELAY_WHY_SIZE];
    struct kith_fetch *probe;
    int err;
    char why[KITH_RELAY_WHY_SIZE];
};

struct kith_relays {
    const struct kith_mem *mem;
    struct kith_rt *rt;
    struct kith_relays_events events;
    struct kith_keypair pair;
    struct kith_list all; /* configured ones first */
    size_t count, configured_count;
    struct kith_relay_ways ways;
    struct kith_list dirty;
    struct kith_relay_leaving leaving;
    struct kith_relay_peer *home, *warm;
    bool was_home_fit; /* what HOME told last */
    bool is_ended;     /* after kith__relays_leave */
    bool has_probed;   /* a probe has ended */
    uint64_t begun_ns, probe_at_ns, age_at_ns;
    struct kith_rt_timer timer;
    struct kith_rt_watch *watch;
    enum kith_tls_trust trust;
    struct kith_buf anchors;
    struct kith_tls_stream_context *tls; /* made when it is first needed; NULL */
    struct kith_proxy proxy;
    struct kith_discovery *discovery;                         /* NULL: none is asked */
    struct kith_relay_peer *asked[KITH_DISCOVERY_RELAYS_MAX]; /* by its indices; all are configured */
    struct kith_relays_stats stats; /* what is not counted by the clients; with those of relays that are gone */
};

/** Something may have changed: chooses, dials, ends what is idle, arms the timer. Not inside a line's on_event. */
void kith__relays_step(struct kith_relays *relays);
/** The step is due in the next turn. */
void kith__relays_step_soon(struct kith_relays *relays);
/** Something is to be sent through the relay: it is dialled if it must, soon. */
void kith__relay_want(struct kith_relay_peer *relay, uint64_t now_ns);
/** Makes the context for https. Errors of kith__tls_stream_context_new. */
int kith__relays_make_tls(struct kith_relays *relays);
/** Starts to ask the configured relays for our address; without a driver, its sockets, or relays that are to be asked: nothing. NOMEM. */
int kith__relays_begin_discovery(struct kith_relays *relays, struct kith_driver *driver);
/** Interfaces or addresses of this machine may have changed. */
void kith__relays_on_network(void *ctx);
/** Ends connection and probe; frees the relay, which nothing refers to. */
void kith__relay_free(struct kith_relay_peer *relay);
/** True if nothing needs the object any more. */
bool kith__relay_is_unused(const struct kith_relay_peer *relay);
/** Tells the owner. */
void kith__relays_tell(struct kith_relays *relays, enum kith_relays_news news, struct kith_relay_peer *relay,
                       const struct kith_sockaddr *gone);

#endif
