/**
 * What a relay counts. One list with the reference's metric names (spec/02, 5.8) and ours; each worker counts for itself with plain
 * stores, and any thread may read and add up.
 */
#ifndef KITH_RELAY_COUNTERS_H
#define KITH_RELAY_COUNTERS_H

#include "base/buf.h"
#include <stdatomic.h>

/**
 * X(field, help): the metric is relayserver_<field>_total (no second _total). Those of the reference first.
 */
#define KITH_RELAY_COUNTERS(X)                                                                                         \
    X(bytes_sent, "Payload bytes of datagrams sent to clients")                                                        \
    X(bytes_recv, "Payload bytes of datagrams received from clients")                                                  \
    X(send_packets_sent, "Datagram frames sent to clients")                                                            \
    X(send_packets_recv, "Datagram frames received from clients")                                                      \
    X(send_packets_dropped, "Datagram frames dropped because nobody has the destination's key")                        \
    X(other_packets_sent, "Always 0: kept for dashboards")                                                             \
    X(other_packets_recv, "Always 0: kept for dashboards")                                                             \
    X(other_packets_dropped, "Always 0: kept for dashboards")                                                          \
    X(got_ping, "Pings received")                                                                                      \
    X(sent_pong, "Pongs sent")                                                                                         \
    X(unknown_frames, "Frames of an unknown type")                                                                     \
    X(bytes_rx_ratelimited_total, "Bytes of datagram frames dropped over the rate limit")                              \
    X(conns_rx_ratelimited_total, "Connections that reached their rate limit")                                         \
    X(accepts, "Connections that became clients")                                                                      \
    X(disconnects, "Clients that went away")                                                                           \
    X(unique_client_keys, "Endpoint ids that connected while no other connection had them")                            \
    X(clients_inactive_added, "Connections superseded by a newer one with the same key")                               \
    X(clients_inactive_removed, "Superseded connections that ended or became active again")                            \
    X(qad_incoming, "Address discovery: connection attempts")                                                          \
    X(qad_incoming_error, "Address discovery: attempts that failed")                                                   \
    X(qad_connections, "Address discovery: connections")                                                               \
    X(qad_connections_closed, "Address discovery: connections that ended as they should")                              \
    X(qad_connections_errored, "Address discovery: connections that ended otherwise")                                  \
    X(http_connections, "HTTP connections accepted")                                                                   \
    X(http_connections_closed, "HTTP connections that ended as they should")                                           \
    X(http_connections_errored, "HTTP connections that ended otherwise")                                               \
    X(http_passed_on, "HTTP requests passed on to the lookup server")                                                  \
    X(http_passed_on_errored, "HTTP requests that the lookup server did not answer in time or at all")                 \
    X(http_passed_on_refused, "HTTP requests not passed on: malformed, or too many at once")                           \
    X(drops_queue_full, "Datagram frames dropped because the receiver's queue was full")                               \
    X(drops_queue_share, "Datagram frames dropped because the sender's part of the receiver's queue was full")         \
    X(drops_memory, "Datagram frames dropped at the limit of memory for queues")                                       \
    X(drops_inbox_full, "Datagram frames dropped because another worker's inbox was full")                             \
    X(drops_empty, "Datagram frames dropped because they were empty")                                                  \
    X(drops_oversize, "Datagram frames dropped because they were too large to be sent on")                             \
    X(drops_rate_limited, "Datagram frames dropped over the rate limit")                                               \
    X(drops_closing, "Datagram frames dropped because the receiver's connection was ending")                           \
    X(drops_disconnect, "Datagram frames in queues of connections that ended")                                         \
    X(drops_control, "Control frames dropped because their queue was full")                                            \
    X(drops_notes, "Notes to other workers dropped because the inbox was full or there was no memory")                 \
    X(gone_sent, "Notices that an endpoint has gone")                                                                  \
    X(gone_forgotten, "Notices that will not be sent because too many endpoints had sent to one")                      \
    X(pings_sent, "Pings sent")                                                                                        \
    X(text_messages, "WebSocket text messages ignored")                                                                \
    X(handshakes_header, "Clients that proved their id with the TLS exporter's header")                                \
    X(handshakes_challenge, "Clients that proved their id with a challenge")                                           \
    X(handshakes_bad_signature, "Proofs that did not verify")                                                          \
    X(handshakes_denied, "Clients denied by access control")                                                           \
    X(ends_by_peer, "Connections ended by the other side")                                                             \
    X(ends_handshake_timeout, "Connections ended because the proof of the id took too long")                           \
    X(ends_protocol, "Connections ended because the other side broke the protocol")                                    \
    X(ends_stalled, "Connections ended because the other side did not read")                                           \
    X(ends_ping_timeout, "Connections ended because a ping was not answered")                                          \
    X(ends_memory, "Connections ended for lack of memory")                                                             \
    X(ends_superseded, "Connections ended because there were too many with the same key")                              \
    X(ends_closed_by_us, "Connections ended by the operator")                                                          \
    X(refused_rate, "Connections refused over the accept rate")                                                        \
    X(refused_total, "Connections refused at the limit of all")                                                        \
    X(refused_per_ip, "Connections refused at the limit of one address")                                               \
    X(refused_unauthenticated, "Connections refused at the limit of those that have not proved an id")

/** The numbers of one worker; zeroed at the start. Written by its thread alone, read by any. */
struct kith_relay_counters {
#define KITH_RELAY_COUNTER_FIELD(field, help) _Atomic uint64_t field;
    KITH_RELAY_COUNTERS(KITH_RELAY_COUNTER_FIELD)
#undef KITH_RELAY_COUNTER_FIELD
};

/** Adds n. One writer: a load and a store, no locked instruction. */
static inline void kith__relay_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline uint64_t kith__relay_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}
/** Adds all numbers of `from` to `sum`, which is the caller's own. */
void kith__relay_counters_add(struct kith_relay_counters *sum, const struct kith_relay_counters *from);

/** A value that goes up and down: connections now, bytes in queues. */
struct kith_relay_gauge {
    const char *name; /* without prefix: relayserver_<name> */
    const char *help;
    uint64_t value;
};

/**
 * Appends all counters, then the gauges, as OpenMetrics text with its "# EOF". Errors: NOMEM; out is as it was.
 */
KITH_MUST_USE int kith__relay_counters_write(const struct kith_relay_counters *counters,
                                             const struct kith_relay_gauge *gauges, size_t gauge_count,
                                             struct kith_buf *out);

/**
 * Appends one metric in OpenMetrics: its help (without a full stop), its type, its value, all under prefix and name. A counter's name gets
 * "_total", unless it has it already. Errors: NOMEM.
 */
KITH_MUST_USE int kith__metric_write(struct kith_buf *out, const char *prefix, const char *name, const char *help,
                                     bool is_counter, uint64_t value);

#endif
