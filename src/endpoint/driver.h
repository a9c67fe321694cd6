/**
 * An engine host on real (or simulated) sockets: moves datagrams between rt and the engine, keeps the engine's timer,
 * hands its events to the owner. Knows nothing of handles or operations.
 *
 * Thread rules: those of the rt. Callbacks run inside kith__driver_pump and the rt's callbacks.
 */
#ifndef KITH_ENDPOINT_DRIVER_H
#define KITH_ENDPOINT_DRIVER_H

#include "rt/rt.h"
#include <kith/quic.h>

struct kith_driver;

enum { KITH_DRIVER_SOCKETS_MAX = 16, KITH_DRIVER_BUFFER_SIZE = KITH_RT_UDP_SEND_MAX };

struct kith_driver_options {
    const struct kith_mem *mem;
    struct kith_rt *rt;                        /* outlives the driver */
    const struct kith_quic_host_options *host; /* mem, random, log and instance are set by the driver */
    const struct kith_sockaddr *binds;         /* bind_count 0: 0.0.0.0 and, where there is IPv6, [::], any port */
    size_t bind_count;
    bool no_sockets; /* binds nothing: relays are the only way */
    void (*on_event)(void *ctx, const struct kith_quic_event *event);
    /**
     * Something came that the engine may answer, and its events were handed out: kith__driver_pump is due in the same turn,
     * after whatever the owner does about the events, so that acknowledgements and answers leave together. NULL: the driver
     * pumps by itself. Bulk data is always answered at once: its sender waits for credit and acknowledgements.
     */
    void (*on_pending)(void *ctx);
    /**
     * Ways out that are no sockets: takes what the engine sends to addresses of family RELAY (the bytes are the driver's), and
     * hears when all that could be sent was. NULL: there are none, such datagrams are unroutable.
     */
    void (*on_relay_send)(void *ctx, const struct kith_quic_transmit *transmit, const uint8_t *bytes);
    void (*on_relay_flush)(void *ctx);
    void *ctx;
    struct kith_sockaddr
        *failed; /* the address that could not be bound; NULL: not asked. No family: something else failed */
};

/** Binds the sockets and makes the host. Errors of kith__rt_udp_open and kith_quic_host_new; LIMIT for too many binds. */
KITH_MUST_USE int kith__driver_new(const struct kith_driver_options *options, struct kith_driver **out);
/** Closes the sockets, frees the host with its connections. NULL is fine. */
void kith__driver_free(struct kith_driver *driver);
/** The engine; borrowed. */
struct kith_quic_host *kith__driver_host(struct kith_driver *driver);
/** Takes events out, sends what may be sent, arms the timer. After every change made to the host or its connections. */
void kith__driver_pump(struct kith_driver *driver);
/** Datagrams that came another way than through a socket of the driver's; as on_receive of kith_rt_udp_events. */
void kith__driver_receive(struct kith_driver *driver, const struct kith_quic_received *batch, size_t count,
                          uint64_t now_ns);
/** After some kith__driver_receive: events go out, answers now or when the owner pumps (on_pending). */
void kith__driver_received(struct kith_driver *driver);
/** When the driver's timer is due. */
uint64_t kith__driver_deadline(const struct kith_driver *driver);
/** The bound addresses; fills up to capacity, returns how many there are. */
size_t kith__driver_bound(const struct kith_driver *driver, struct kith_sockaddr *out, size_t capacity);
/** True if it has a socket of that family. */
bool kith__driver_has_family(const struct kith_driver *driver, enum kith_family family);
/**
 * Addresses that others may try: bound ones, with an unspecified one replaced by those of all interfaces. Loopback ones are
 * left out where there are others. Fills up to capacity; returns how many it filled.
 */
size_t kith__driver_reachable(const struct kith_driver *driver, struct kith_sockaddr *out, size_t capacity);
/** Likewise the link-local ones of interfaces, each with its scope: of use only to those who learn of it on that link. */
size_t kith__driver_on_links(const struct kith_driver *driver, struct kith_sockaddr *out, size_t capacity);
/**
 * Which of another endpoint's addresses to try, best first: those on this machine, then on networks of its interfaces, then
 * the others; equal ones in their order. Left out: families without a socket, and if `local` has a family, the others.
 * Returns how many were written to `out`, at most capacity.
 */
size_t kith__driver_candidates(const struct kith_driver *driver, const struct kith_sockaddr *ips, size_t count,
                               const struct kith_sockaddr *local, struct kith_sockaddr *out, size_t capacity);
/** True if a datagram to that address would come back to one of its own sockets, as far as the interfaces tell. */
bool kith__driver_is_own(const struct kith_driver *driver, const struct kith_sockaddr *address);
/** The sum of the counters of all its sockets. */
struct kith_rt_udp_stats kith__driver_udp_stats(const struct kith_driver *driver);
/** Datagrams that found no socket of their family. */
uint64_t kith__driver_unroutable(const struct kith_driver *driver);

#endif
