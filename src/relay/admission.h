/**
 * Who may have a connection: limits of a whole relay, for all its threads, asked at each TCP accept before anything else is done
 * for it. Connections a second (with a burst), all connections, those of one address, and in both cases those that have not
 * proved an endpoint id yet. An IPv6 address counts as its /64: a host usually has all of those.
 *
 * Thread rules: with locks (sync) any thread. A ticket belongs to one thread.
 */
#ifndef KITH_RELAY_ADMISSION_H
#define KITH_RELAY_ADMISSION_H

#include "relay/sync.h"

struct kith_relay_admission;

/** 0 in any of them: no limit. */
struct kith_relay_admission_limits {
    double accept_rate;                  /* connections a second, > 0; may be below 1 */
    uint64_t accept_burst;               /* 0: accept_rate rounded up */
    uint64_t connections_max;            /* all */
    uint64_t connections_per_ip_max;     /* of one address */
    uint64_t unauthenticated_max;        /* all that have not proved an id */
    uint64_t unauthenticated_per_ip_max; /* of one address */
};

enum kith_relay_refusal {
    KITH_RELAY_ADMITTED,
    KITH_RELAY_REFUSED_RATE,
    KITH_RELAY_REFUSED_TOTAL,
    KITH_RELAY_REFUSED_PER_IP,
    KITH_RELAY_REFUSED_UNAUTHENTICATED, /* all or those of the address */
    KITH_RELAY_REFUSED_NOMEM
};

/** One admitted connection: its place in the counts. By value in its owner; zeroed: holds nothing. */
struct kith_relay_ticket {
    struct kith_relay_admission *admission; /* NULL: none held */
    void *source;                           /* of the address: opaque */
    bool is_authenticated;
};

struct kith_relay_admission_stats {
    uint64_t connections, unauthenticated, addresses;
};

/** mem and sync (may be NULL: one thread) are borrowed. Errors: NOMEM, LIMIT. */
KITH_MUST_USE int kith__relay_admission_new(const struct kith_mem *mem, const struct kith_relay_sync *sync,
                                            const struct kith_relay_admission_limits *limits, uint64_t seed,
                                            struct kith_relay_admission **out);
/** No ticket is held any more (asserted). NULL is fine. */
void kith__relay_admission_free(struct kith_relay_admission *admission);
/** New limits, for connections from now on; the bucket is full again. */
void kith__relay_admission_set_limits(struct kith_relay_admission *admission,
                                      const struct kith_relay_admission_limits *limits);
/** A connection came. ADMITTED: *ticket holds its place until kith__relay_ticket_release; else *ticket is zeroed. */
enum kith_relay_refusal kith__relay_admission_take(struct kith_relay_admission *admission,
                                                   const struct kith_sockaddr *remote, uint64_t now_ns,
                                                   struct kith_relay_ticket *ticket);
/** It has proved an id: it no longer counts among those that have not. Twice is fine; so is a zeroed ticket. */
void kith__relay_ticket_authenticated(struct kith_relay_ticket *ticket);
/** The connection is over. Twice is fine. */
void kith__relay_ticket_release(struct kith_relay_ticket *ticket);
struct kith_relay_admission_stats kith__relay_admission_stats(struct kith_relay_admission *admission);

#endif
