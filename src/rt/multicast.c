/* Members of multicast groups: a socket for each, which src/rt/uv and src/rt/sim open as a member. */
#include "rt/multicast.h"

#include "base/assert.h"
#include "base/mem.h"
#include "rt/rt.h"

enum { BUFFER_SIZE = 256 << 10 }; /* some hundred datagrams that wait */

struct kith_rt_member {
    struct kith_rt *rt;
    struct kith_rt_udp *udp;
    struct kith_rt_member_events events;
    struct kith_rt_member_stats stats; /* drop_received: of what the socket gave us; the rest is the socket's */
    struct kith_sockaddr group;
    bool is_hearing, is_closed; /* closed from inside a callback: freed when the batch is through */
};

static bool is_multicast(const struct kith_sockaddr *addr)
{
    if (addr->family == KITH_FAMILY_V4)
        return (addr->ip[0] & 0xf0) == 0xe0;
    return addr->family == KITH_FAMILY_V6 && addr->ip[0] == 0xff;
}

/** Does the interface exist, with an address of the family to send from? */
static int check_interface(struct kith_rt *rt, const struct kith_rt_member_options *options)
{
    struct kith_rt_interface *list = kith__alloc(rt->mem, KITH_RT_INTERFACES_MAX * sizeof *list);
    bool is_there = false, has_address = false;
    size_t count;
    int err;

    if (list == NULL)
        return KITH_ERR_NOMEM;
    err = kith__rt_interfaces(rt, list, KITH_RT_INTERFACES_MAX, &count);
    for (size_t i = 0; err == 0 && i < count; i++) {
        is_there = is_there || list[i].index == options->interface;
        has_address = has_address ||
                      (list[i].index == options->interface && list[i].addr.family == options->group.family);
    }
    kith__free(rt->mem, list);
    if (err != 0)
        return err;
    return !is_there ? KITH_ERR_NOT_FOUND : !has_address ? KITH_ERR_UNREACHABLE : 0;
}

/** One buffer holds several datagrams where the system merges them. */
static void hear(struct kith_rt_member *member, const struct kith_quic_received *received, uint64_t now_ns)
{
    size_t segment = received->segment_size != 0 ? received->segment_size : received->size;

    for (size_t at = 0; at < received->size && !member->is_closed; at += segment) {
        struct kith_rt_heard heard = { received->remote,
                                       { received->bytes + at, KITH_MIN(segment, received->size - at) } };

        if (heard.bytes.size > KITH_RT_MULTICAST_SIZE_MAX) {
            member->stats.drop_received++;
            continue;
        }
        member->stats.heard_datagrams++;
        member->stats.heard_bytes += heard.bytes.size;
        member->events.on_heard(member->events.ctx, &heard, now_ns);
    }
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct kith_rt_member *member = ctx;

    member->is_hearing = true;
    for (size_t i = 0; i < count && !member->is_closed; i++)
        hear(member, &batch[i], now_ns);
    member->is_hearing = false;
    if (member->is_closed)
        kith__free(member->rt->mem, member);
}

int kith__rt_member_open(struct kith_rt *rt, const struct kith_rt_member_options *options,
                         const struct kith_rt_member_events *events, struct kith_rt_member **out)
{
    struct kith_rt_udp_options udp = {
        .local = options->group, .buffer_size = BUFFER_SIZE, .no_offload = true, .member = options
    };
    struct kith_rt_member *member;
    int err;

    if (!is_multicast(&options->group) || options->group.port == 0 || options->interface == 0 || options->hops == 0 ||
        events->on_heard == NULL)
        return KITH_ERR_INVALID;
    if ((err = check_interface(rt, options)) != 0)
        return err;
    if ((member = kith__alloc_zero(rt->mem, sizeof *member)) == NULL)
        return KITH_ERR_NOMEM;
    member->rt = rt;
    member->events = *events;
    member->group = options->group;
    member->group.scope_id = options->group.family == KITH_FAMILY_V6 ? options->interface : 0;
    udp.local = member->group;
    err = kith__rt_udp_open(rt, &udp, &(struct kith_rt_udp_events) { on_receive, NULL, member }, &member->udp);
    if (err != 0) {
        kith__free(rt->mem, member);
        return err;
    }
    *out = member;
    return 0;
}

void kith__rt_member_close(struct kith_rt_member *member)
{
    if (member == NULL)
        return;
    KITH_ASSERT(!member->is_closed);
    kith__rt_udp_close(member->udp);
    if (member->is_hearing)
        member->is_closed = true;
    else
        kith__free(member->rt->mem, member);
}

void kith__rt_member_send(struct kith_rt_member *member, struct kith_slice datagram)
{
    struct kith_quic_transmit transmit = { .remote = member->group, .size = datagram.size };

    if (datagram.size == 0 || datagram.size > KITH_RT_MULTICAST_SIZE_MAX ||
        kith__rt_udp_send(member->udp, &transmit, datagram.ptr) != 0)
        member->stats.drop_sent++;
}

struct kith_rt_member_stats kith__rt_member_stats(const struct kith_rt_member *member)
{
    struct kith_rt_udp_stats udp = kith__rt_udp_stats(member->udp);
    struct kith_rt_member_stats stats = member->stats;

    stats.sent_datagrams = udp.sent_datagrams;
    stats.sent_bytes = udp.sent_bytes;
    stats.drop_received += udp.drop_truncated + udp.drop_no_source + udp.drop_empty;
    stats.drop_sent += udp.drop_too_large + udp.drop_permission + udp.drop_unreachable + udp.drop_no_buffer +
                       udp.drop_send_other;
    return stats;
}
