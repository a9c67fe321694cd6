/* Socket options and control messages of UDP on Linux. Source: spec/01, 7. */
#define _GNU_SOURCE 1 /* ppoll, recvmmsg, in_pktinfo */
#include "rt/uv/udp_socket.h"
#include "base/assert.h"
#include "base/sockaddr.h"
#include "rt/multicast.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static bool set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

/** Asks for `size` bytes, also above the system's limit if we may; returns what we got. */
static size_t set_buffer(int fd, int force_name, int name, size_t size)
{
    int granted = 0;
    socklen_t length = sizeof granted;

    if (!set_option(fd, SOL_SOCKET, force_name, (int)size))
        set_option(fd, SOL_SOCKET, name, (int)size); /* the system cuts it to its limit */
    if (getsockopt(fd, SOL_SOCKET, name, &granted, &length) != 0 || granted < 0)
        return 0;
    return (size_t)granted / 2; /* Linux doubles the number for its own bookkeeping: socket(7) */
}

static void set_v4(int fd, struct kith_rt_udp_features *features)
{
    features->local_address = set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    features->ecn = set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
    features->dont_fragment = set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
}

static void set_v6(int fd, struct kith_rt_udp_features *features)
{
    features->local_address = set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    features->ecn = set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    features->dont_fragment = set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    set_option(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
}

static bool offload_is_wanted(const struct kith_rt_udp_options *options)
{
    const char *text = getenv("KITH_UDP_OFFLOAD");

    return !options->no_offload && (text == NULL || strcmp(text, "off") != 0);
}

static void set_offload(int fd, struct kith_rt_udp_features *features)
{
    int value = 0;
    socklen_t length = sizeof value;

    features->gso = getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &value, &length) == 0;
    features->gro = set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
}

/* ---- Members of a group (rt/multicast.h) ---- */

static bool join_v4(int fd, const struct kith_rt_udp_options *options)
{
    struct ip_mreqn request = { .imr_ifindex = (int)options->member->interface };

    memcpy(&request.imr_multiaddr, options->local.ip, 4);
    set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT); /* fragments are better than silence */
    return set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0) && /* else also what others joined on other interfaces */
           set_option(fd, IPPROTO_IP, IP_MULTICAST_TTL, options->member->hops) &&
           set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1) &&
           setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request) == 0 &&
           setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) == 0;
}

static bool join_v6(int fd, const struct kith_rt_udp_options *options)
{
    struct ipv6_mreq request = { .ipv6mr_interface = options->member->interface };

    memcpy(&request.ipv6mr_multiaddr, options->local.ip, 16);
    set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
    set_option(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 0);
    return set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0) &&
           set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, options->member->hops) &&
           set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1) &&
           set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)options->member->interface) &&
           setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof request) == 0;
}

/*
 * The group's port is shared with all others on this machine that are members. Not by SO_REUSEPORT: sockets that share one by it are a
 * group of which Linux gives a datagram to one, also (seen on 6.18) to one that is a member on another interface.
 */
static bool join(int fd, const struct kith_rt_udp_options *options)
{
    return set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
           (options->local.family == KITH_FAMILY_V6 ? join_v6 : join_v4)(fd, options);
}

int kith__uv_socket_open(const struct kith_rt_udp_options *options, const struct kith_log *log,
                         struct kith_rt_udp_features *features, struct kith_sockaddr *local, int *out)
{
    bool is_v6 = options->local.family == KITH_FAMILY_V6;
    size_t buffer_size = options->buffer_size != 0 ? options->buffer_size : KITH_RT_UDP_BUFFER_SIZE;
    struct sockaddr_storage addr;
    socklen_t length = kith__uv_sockaddr_out(&options->local, &addr);
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return kith__uv_errno(errno);
    *features = (struct kith_rt_udp_features) { 0 };
    if (is_v6 && !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1))
        goto fail;
    if (options->is_shared && !set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1))
        goto fail;
    if (is_v6)
        set_v6(fd, features);
    else
        set_v4(fd, features);
    if (offload_is_wanted(options))
        set_offload(fd, features);
    features->receive_buffer_size = set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, buffer_size);
    features->send_buffer_size = set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, buffer_size);
    if (!features->dont_fragment)
        kith__log(log, KITH_LOG_WARN, "rt", "the system cannot forbid fragments: path MTU discovery may be wrong");
    if (options->member != NULL && !join(fd, options))
        goto fail;
    if (bind(fd, (struct sockaddr *)&addr, length) != 0)
        goto fail;
    length = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &length) != 0)
        goto fail;
    if (!kith__uv_sockaddr_in((struct sockaddr *)&addr, local)) {
        close(fd);
        return KITH_ERR_IO;
    }
    *out = fd;
    return 0;
fail : {
    int err = kith__uv_errno(errno);

    close(fd);
    return err;
}
}

void kith__uv_socket_clear_error(int fd)
{
    int value;
    socklen_t length = sizeof value;

    getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length);
}

/* ---- Control messages ---- */

static void read_v4(const struct cmsghdr *message, struct kith_quic_received *out)
{
    struct in_pktinfo info;

    if (message->cmsg_type == IP_TOS) {
        out->ecn = *CMSG_DATA(message) & 3; /* one byte */
    } else if (message->cmsg_type == IP_PKTINFO) {
        memcpy(&info, CMSG_DATA(message), sizeof info);
        memcpy(out->local.ip, &info.ipi_addr, 4);
    }
}

static void read_v6(const struct cmsghdr *message, struct kith_quic_received *out)
{
    struct in6_pktinfo info;
    int class;

    if (message->cmsg_type == IPV6_TCLASS) {
        memcpy(&class, CMSG_DATA(message), sizeof class);
        out->ecn = (uint8_t)(class & 3);
    } else if (message->cmsg_type == IPV6_PKTINFO) {
        memcpy(&info, CMSG_DATA(message), sizeof info);
        memcpy(out->local.ip, &info.ipi6_addr, 16);
        out->local.scope_id = kith__ip_is_link_local_v6(out->local.ip) ? (uint32_t)info.ipi6_ifindex : 0;
    }
}

void kith__uv_control_read(struct msghdr *header, struct kith_quic_received *out)
{
    int segment_size;

    for (struct cmsghdr *message = CMSG_FIRSTHDR(header); message != NULL; message = CMSG_NXTHDR(header, message)) {
        if (message->cmsg_level == IPPROTO_IP) {
            read_v4(message, out);
        } else if (message->cmsg_level == IPPROTO_IPV6) {
            read_v6(message, out);
        } else if (message->cmsg_level == IPPROTO_UDP && message->cmsg_type == UDP_GRO) {
            memcpy(&segment_size, CMSG_DATA(message), sizeof segment_size);
            if (segment_size > 0 && (size_t)segment_size < out->size)
                out->segment_size = (size_t)segment_size;
        }
    }
}

struct control_writer {
    uint8_t *at;
    size_t used;
};

static void control_add(struct control_writer *writer, int level, int type, const void *data, size_t size)
{
    struct cmsghdr *message = (struct cmsghdr *)(void *)(writer->at + writer->used);

    KITH_ASSERT(writer->used + CMSG_SPACE(size) <= sizeof(union kith_uv_control));
    message->cmsg_level = level;
    message->cmsg_type = type;
    message->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(message), data, size);
    writer->used += CMSG_SPACE(size);
}

static bool ip_is_given(const struct kith_sockaddr *addr)
{
    for (size_t i = 0; addr->family != KITH_FAMILY_NONE && i < sizeof addr->ip; i++)
        if (addr->ip[i] != 0)
            return true;
    return false;
}

void kith__uv_control_write(struct msghdr *header, union kith_uv_control *control, const struct kith_sockaddr *local,
                            size_t segment_size, uint8_t ecn)
{
    bool is_v6 = ((struct sockaddr *)header->msg_name)->sa_family == AF_INET6;
    struct control_writer writer = { control->bytes, 0 };
    uint16_t segment = (uint16_t)segment_size;
    int class = ecn;

    memset(control, 0, sizeof *control);
    if (is_v6 && ip_is_given(local)) {
        struct in6_pktinfo info = { .ipi6_ifindex = local->scope_id };

        memcpy(&info.ipi6_addr, local->ip, 16);
        control_add(&writer, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    } else if (ip_is_given(local)) {
        struct in_pktinfo info = { 0 };

        memcpy(&info.ipi_spec_dst, local->ip, 4);
        control_add(&writer, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    }
    if (ecn != 0)
        control_add(&writer, is_v6 ? IPPROTO_IPV6 : IPPROTO_IP, is_v6 ? IPV6_TCLASS : IP_TOS, &class, sizeof class);
    if (segment_size != 0)
        control_add(&writer, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    header->msg_control = writer.used != 0 ? control : NULL;
    header->msg_controllen = writer.used;
}
