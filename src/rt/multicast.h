/**
 * Multicast: datagrams to and from a group on one interface. A member is a UDP socket of its own, bound to the group's address
 * and port, which other members of this machine share (other programs, too): each hears everything that is sent to the group on
 * the interface, what this machine sends included, its own datagrams as well. Unicast datagrams to the port are not taken:
 * they may be meant for another program.
 *
 * Which interfaces there are: kith__rt_interfaces (index, is_multicast); that they change: kith__rt_watch_open. A member whose
 * interface goes down or away hears nothing more, and its sends are counted as dropped; it is up to its owner to close it, and
 * to open another one when the interface is back. Thread rules: those of the rt.
 */
#ifndef KITH_RT_MULTICAST_H
#define KITH_RT_MULTICAST_H

#include <kith/types.h>

struct kith_rt;
struct kith_rt_member; /* owned by whoever opened it */

enum { KITH_RT_MULTICAST_SIZE_MAX = 9000 }; /* of a datagram: RFC 6762, 17 */

/** One datagram to the group. Borrowed during the callback. */
struct kith_rt_heard {
    struct kith_sockaddr remote; /* who sent it, with the interface's scope id if it is link-local; untrusted */
    struct kith_slice bytes;     /* 1..KITH_RT_MULTICAST_SIZE_MAX; untrusted */
};

struct kith_rt_member_events {
    /** Once for each datagram. The member may be closed from inside. */
    void (*on_heard)(void *ctx, const struct kith_rt_heard *heard, uint64_t now_ns);
    void *ctx;
};

struct kith_rt_member_options {
    struct kith_sockaddr group; /* V4 or V6: a multicast address with its port; scope_id is ignored */
    uint32_t interface;         /* index of the interface: kith_rt_interface.index */
    uint8_t hops;               /* TTL or hop limit of what is sent: 1..255 */
};

struct kith_rt_member_stats {
    uint64_t heard_datagrams, heard_bytes;
    uint64_t sent_datagrams, sent_bytes;
    uint64_t drop_received; /* too large, empty, without a source, or to another interface or group */
    uint64_t drop_sent;     /* the system did not take it: interface down, firewall, no room */
};

/**
 * Opens, binds and joins. `events` is copied. Errors: NOMEM, INVALID (no multicast address, port 0), ADDRESS_IN_USE (a program
 * has the port that does not share it), NOT_FOUND (no such interface), UNREACHABLE (it has no address of this family),
 * UNSUPPORTED (no IPv6 here), PERMISSION, LIMIT, IO.
 */
KITH_MUST_USE int kith__rt_member_open(struct kith_rt *rt, const struct kith_rt_member_options *options,
                                       const struct kith_rt_member_events *events, struct kith_rt_member **out);
/** Leaves the group and closes; no callback follows. NULL is fine. */
void kith__rt_member_close(struct kith_rt_member *member);
/** Sends one datagram of 1..KITH_RT_MULTICAST_SIZE_MAX bytes to the group. What the system does not take is lost, and counted. */
void kith__rt_member_send(struct kith_rt_member *member, struct kith_slice datagram);
struct kith_rt_member_stats kith__rt_member_stats(const struct kith_rt_member *member);

#endif
