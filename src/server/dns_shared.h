/**
 * What all threads of a lookup server have in common: the store, origins, limits, counters. Owned by the server and outlives its
 * threads.
 *
 * Thread rules: each function says its own; fields without a word are set before the threads start and only read then.
 */
#ifndef KITH_SERVER_DNS_SHARED_H
#define KITH_SERVER_DNS_SHARED_H

#include "base/buf.h"
#include "server/certs_shared.h"
#include "server/dns_rules.h"
#include "zone/store.h"
#include "zone/zone.h"

enum { KITH_DNS_WORKERS_MAX = KITH_DNS_SERVER_THREADS_MAX };

/** X(field, help): the metric is dns_server_<field>_total. Those of the reference first (spec/03, 9.5). */
#define KITH_DNS_COUNTERS(X)                                                                                           \
    X(pkarr_publish_update, "Packets put that were new or newer")                                                      \
    X(pkarr_publish_noop, "Packets put that changed nothing")                                                          \
    X(dns_requests, "DNS queries, over whatever")                                                                      \
    X(dns_requests_udp, "DNS queries over UDP")                                                                        \
    X(dns_requests_https, "DNS queries over HTTP")                                                                     \
    X(dns_lookup_success, "DNS answers with records")                                                                  \
    X(dns_lookup_notfound, "DNS answers without records: no such name, or no such type")                               \
    X(dns_lookup_error, "DNS answers that are errors")                                                                 \
    X(http_requests, "HTTP requests")                                                                                  \
    X(http_requests_success, "HTTP requests answered with success")                                                    \
    X(http_requests_error, "HTTP requests answered with an error")                                                     \
    X(http_requests_duration_ms, "Milliseconds that HTTP requests took, added up")                                     \
    X(store_packets_inserted, "Packets of new keys stored")                                                            \
    X(store_packets_removed, "Always 0: kept for dashboards")                                                          \
    X(store_packets_updated, "Packets that took the place of an older one")                                            \
    X(store_packets_expired, "Packets that went because nobody put them again")                                        \
    X(dns_requests_tcp, "DNS queries over TCP")                                                                        \
    X(dns_ignored, "Datagrams and messages that were no DNS query")                                                    \
    X(dns_truncated, "DNS answers over UDP that only invite to TCP")                                                   \
    X(dns_limited_dropped, "DNS queries over UDP not answered: too many for their network")                            \
    X(dns_limited_truncated, "DNS queries over UDP answered with an invitation to TCP: too many for their network")    \
    X(dns_unsent, "DNS answers over UDP that the socket did not take")                                                 \
    X(tcp_connections, "DNS connections over TCP accepted")                                                            \
    X(tcp_refused, "DNS connections over TCP closed at once: too many")                                                \
    X(tcp_idle, "DNS connections over TCP closed because they were idle")                                              \
    X(http_connections, "HTTP connections accepted")                                                                   \
    X(http_connections_closed, "HTTP connections that ended as they should")                                           \
    X(http_connections_errored, "HTTP connections that ended otherwise")                                               \
    X(http_refused, "HTTP connections beyond the limit, for each of which the oldest is closed; or without memory")    \
    X(http_refused_per_ip, "HTTP connections closed at once: too many of one address")                                 \
    X(http_refused_no_handles, "HTTP connections closed at once: the process may not have more descriptors")           \
    X(http_refused_no_memory, "HTTP connections closed at once for want of memory")                                    \
    X(puts_same, "PUTs of the very packet that is stored")                                                             \
    X(puts_older, "PUTs of a packet that is older than the stored one")                                                \
    X(puts_invalid, "PUTs that were no signed packet of their key")                                                    \
    X(puts_future, "PUTs of a packet dated too far ahead")                                                             \
    X(puts_limited, "PUTs beyond the rate of a client")                                                                \
    X(puts_keys_limited, "PUTs of new keys beyond the rate of a client")                                               \
    X(puts_full, "PUTs of new keys refused because the store is full")                                                 \
    X(puts_failed, "PUTs that could not be stored")                                                                    \
    X(puts_overload, "PUTs refused because too many wait for the disk")                                                \
    X(store_commits, "Writes to the disk")                                                                             \
    X(store_failures, "Writes to the disk that failed")                                                                \
    X(dht_queries, "Keys looked for in the DHT")                                                                       \
    X(dht_found, "Keys found in the DHT")                                                                              \
    X(dht_refused, "Keys not looked for in the DHT because too many are already")                                      \
    X(dht_timeouts, "Queries that waited too long for the DHT")

struct kith_dns_counters {
#define KITH_DNS_COUNTER_MEMBER(field, help) _Atomic uint64_t field;
    KITH_DNS_COUNTERS(KITH_DNS_COUNTER_MEMBER)
#undef KITH_DNS_COUNTER_MEMBER
};

/** Adds to a counter that only the calling thread writes. */
static inline void kith__dns_count(_Atomic uint64_t *counter, uint64_t add)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + add, memory_order_relaxed);
}
static inline uint64_t kith__dns_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit((_Atomic uint64_t *)counter, memory_order_relaxed);
}

struct kith_dns_shared {
    const struct kith_mem *mem;
    const struct kith_sync *sync;      /* NULL: one thread */
    struct kith_relay_sync relay_sync; /* of the same locks, for certs */
    const char *version;               /* of the program; static */
    uint64_t started_ns;
    struct kith_store *store; /* owned */
    unsigned worker_count;
    struct kith_dns_counters
        *counters; /* worker_count of them, then the scribe's (server/dns_scribe.h), then the house's */
    _Atomic uint64_t packets, store_bytes, cache_dht; /* now */
    struct kith_certs_shared certs;
    void *lock; /* of what follows */
    struct kith_zone *zone;
    struct kith_dns_rules *rules;
    _Atomic uint64_t generation; /* grows with each change of these; read without the lock */
};

/** Takes over the store, zone and rules, also on an error. Errors: NOMEM, LIMIT. mem must bear all threads. */
KITH_MUST_USE int kith__dns_shared_init(struct kith_dns_shared *shared, const struct kith_mem *mem,
                                        const struct kith_sync *sync, unsigned worker_count, struct kith_store *store,
                                        struct kith_zone *zone, struct kith_dns_rules *rules);
/** Fine with a zeroed one. */
void kith__dns_shared_dispose(struct kith_dns_shared *shared);
/** The counters of the scribe, of the house. */
static inline struct kith_dns_counters *kith__dns_scribe_counters(struct kith_dns_shared *shared)
{
    return &shared->counters[shared->worker_count];
}
static inline struct kith_dns_counters *kith__dns_house_counters(struct kith_dns_shared *shared)
{
    return &shared->counters[shared->worker_count + 1];
}
/** New origins or new limits (one is NULL), taken over. Any thread. */
void kith__dns_shared_set(struct kith_dns_shared *shared, struct kith_zone *zone, struct kith_dns_rules *rules);
/** Replaces the holder's references if there are newer ones. Any thread. True if so. */
bool kith__dns_shared_refresh(struct kith_dns_shared *shared, uint64_t *generation, struct kith_zone **zone,
                              struct kith_dns_rules **rules);
/** The sum of all counters. Any thread. */
void kith__dns_shared_count(const struct kith_dns_shared *shared, struct kith_dns_counters *sum);
/** Appends the metrics of the whole server as OpenMetrics text. Any thread. Errors: NOMEM. */
KITH_MUST_USE int kith__dns_metrics_write(const struct kith_dns_shared *shared, uint64_t now_ns, struct kith_buf *out);

#endif
