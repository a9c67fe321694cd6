/**
 * The public addresses of an endpoint, as relays see them: QUIC connections from the endpoint's own sockets to the address
 * discovery of relays (ALPN /iroh-qad/0). One connection of each family stays open and tells of changes; those to other relays
 * end when they have answered: they measure the round trip, and tell whether the address depends on who is asked. Everything has
 * a limit; a relay that does not answer costs a few packets and nobody's time.
 *
 * What is told is untrusted: it is an address of the family that was asked over, of a kind that a host can have, or it is not taken.
 *
 * Thread rules and life: those of the rt; events come out of its turns and of kith__discovery_on_event. Source: spec/02, 4.6 and 6;
 * spec/04, 3.
 */
#ifndef KITH_ENDPOINT_DISCOVERY_H
#define KITH_ENDPOINT_DISCOVERY_H

#include "endpoint/driver.h"
#include "tls/tls.h"

struct kith_discovery;

enum {
    KITH_DISCOVERY_RELAYS_MAX = 5, /* that are asked, the first ones (spec/02, 4.6) */
    KITH_DISCOVERY_HOST_SIZE = KITH_TLS_NAME_SIZE_MAX + 2,
    KITH_DISCOVERY_CODE_FINISHED = 1
};

#define KITH_DISCOVERY_ALPN       "/iroh-qad/0"
#define KITH_DISCOVERY_LIMIT_NS   (3 * KITH_NS_PER_S)   /* of one question, from the name on */
#define KITH_DISCOVERY_EVERY_NS   (300 * KITH_NS_PER_S) /* all relays are asked anew */
#define KITH_DISCOVERY_AGAIN_NS   (5 * KITH_NS_PER_S)   /* after a round without an answer; doubles up to EVERY_NS */
#define KITH_DISCOVERY_LOST_NS    KITH_NS_PER_S         /* after the connection that stays was lost */
#define KITH_DISCOVERY_SOUND_NS   (30 * KITH_NS_PER_S)  /* one that lived so long was no failure */
#define KITH_DISCOVERY_IDLE_NS    (35 * KITH_NS_PER_S)
#define KITH_DISCOVERY_KEEP_NS    (25 * KITH_NS_PER_S)
#define KITH_DISCOVERY_RTT_NS     (111 * KITH_NS_PER_MS)
#define KITH_DISCOVERY_NO_LATENCY KITH_NEVER

/** Whether relays see the same address (a NAT that maps by destination makes it useless for others). */
enum kith_discovery_mapping {
    KITH_DISCOVERY_MAPPING_UNKNOWN, /* fewer than two relays answered */
    KITH_DISCOVERY_MAPPING_SAME,
    KITH_DISCOVERY_MAPPING_VARIES
};

/** What is known of one family. */
struct kith_discovery_side {
    struct kith_sockaddr address; /* family NONE: not known */
    uint8_t mapping;              /* enum kith_discovery_mapping */
};

struct kith_discovery_events {
    /** A round trip to relay `index` was measured. */
    void (*on_latency)(void *ctx, size_t index, uint64_t rtt_ns);
    /** A round is over: what became of relay `index`; 0, or the error and a sentence about it. */
    void (*on_result)(void *ctx, size_t index, int err, const char *why);
    /** An address or a mapping is another one now. */
    void (*on_change)(void *ctx);
    void *ctx;
};

struct kith_discovery_options {
    struct kith_rt *rt;         /* outlives it */
    struct kith_driver *driver; /* likewise; its host must have no other certificates (kith__host_set_x509) */
    struct kith_tls_x509 trust; /* borrowed as long */
};

/** NOMEM. Nothing happens before kith__discovery_add. */
KITH_MUST_USE int kith__discovery_new(const struct kith_discovery_options *options,
                                      const struct kith_discovery_events *events, struct kith_discovery **out);
/** Ends all connections without a word. NULL is fine. */
void kith__discovery_free(struct kith_discovery *discovery);
/**
 * A relay to ask, in the next turn: host: a name or an IP address without brackets. Their indices count from 0. Errors: LIMIT:
 * KITH_DISCOVERY_RELAYS_MAX; TOO_LARGE: the host.
 */
KITH_MUST_USE int kith__discovery_add(struct kith_discovery *discovery, struct kith_slice host, uint16_t port);
/** The network changed: everything is asked anew, over new connections. */
void kith__discovery_refresh(struct kith_discovery *discovery);
/** True if the event was of a connection of its own: nobody else must hear of it. */
bool kith__discovery_on_event(struct kith_discovery *discovery, const struct kith_quic_event *event);
/** What is known; family V4 or V6. */
struct kith_discovery_side kith__discovery_side(const struct kith_discovery *discovery, enum kith_family family);
/** Connections that were opened so far, and how many of them there are now: for subtracting from the host's counters. */
void kith__discovery_conns(const struct kith_discovery *discovery, uint64_t *opened, uint64_t *live);
/** Closes its connections (code 0) and asks no more. They are said goodbye to when the driver is pumped. */
void kith__discovery_leave(struct kith_discovery *discovery);

#endif
