/**
 * What all threads of a relay have in common: counters, gauges, admission, what certificates leave for the workers. Owned by the relay
 * (server/relay.h) and outlives its workers.
 *
 * Thread rules: each function says its own; fields without a word are set before the threads start and only read then.
 */
#ifndef KITH_SERVER_RELAY_SHARED_H
#define KITH_SERVER_RELAY_SHARED_H

#include "relay/admission.h"
#include "relay/counters.h"
#include "relay/routes.h"
#include "server/certs_shared.h"

enum {
    KITH_RELAY_PAGE_SAMPLE_S = 10 /* rates on the page are those of the last so many seconds */
};

/** Numbers of now of one worker: written by its thread at the end of a turn, read by any. */
struct kith_relay_gauges {
    _Atomic uint64_t sessions, clients, endpoints, queued_bytes, http_connections;
    _Atomic uint64_t no_handles,
        no_memory; /* connections that were closed at once for want of these, since the start */
};

struct kith_relay_shared {
    const struct kith_mem *mem;
    const struct kith_relay_sync *sync; /* NULL: one thread */
    const char *version;                /* of the program; static */
    uint64_t started_ns;
    struct kith_relay_admission *admission;
    unsigned worker_count;
    struct kith_relay_counters *counters; /* worker_count of them, then that of the house (server/relay_house.h) */
    struct kith_relay_gauges *gauges;     /* worker_count of them */
    const char *access_text;              /* in a word, for people; static. Under `lock` */
    bool has_tls;
    uint16_t qad_port; /* 0: none */

    _Atomic uint64_t frames_per_s, bits_per_s; /* of the last sample; written by the house */
    _Atomic uint64_t news_dropped;             /* that the owner did not fetch in time */

    struct kith_certs_shared certs;
    void *lock; /* of access_text */
};

/** Errors: NOMEM, LIMIT. worker_count: 1..KITH_RELAY_WORKERS_MAX. mem must bear all threads. */
KITH_MUST_USE int kith__relay_shared_init(struct kith_relay_shared *shared, const struct kith_mem *mem,
                                          const struct kith_relay_sync *sync, unsigned worker_count);
/** Fine with a zeroed one. */
void kith__relay_shared_dispose(struct kith_relay_shared *shared);

/** The sum of all workers' counters. Any thread. */
void kith__relay_shared_count(const struct kith_relay_shared *shared, struct kith_relay_counters *sum);
/** The same of a gauge: offset of the member of struct kith_relay_gauges. Any thread. */
uint64_t kith__relay_shared_gauge(const struct kith_relay_shared *shared, size_t offset);
#define KITH_RELAY_GAUGE(shared, field) kith__relay_shared_gauge(shared, offsetof(struct kith_relay_gauges, field))

/** Sets access_text. Any thread. */
void kith__relay_shared_set_access(struct kith_relay_shared *shared, const char *text);
const char *kith__relay_shared_access(struct kith_relay_shared *shared);

#endif
