/* Socket addresses, interfaces and error numbers of the system. */
#include "base/assert.h"
#include "base/cause.h"
#include "base/mem.h"
#include "base/sockaddr.h"
#include "rt/uv/loop.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <string.h>

int kith__uv_errno(int number)
{
    static const struct {
        int number, err;
    } facts[] = {
        { ENOMEM, KITH_ERR_NOMEM },
        { ENOBUFS, KITH_ERR_NOMEM },
        { EINVAL, KITH_ERR_INVALID },
        { EISDIR, KITH_ERR_INVALID },
        { EBADF, KITH_ERR_INVALID },
        { EAGAIN, KITH_ERR_AGAIN },
        { ETIMEDOUT, KITH_ERR_TIMEOUT },
        { ECANCELED, KITH_ERR_CANCELLED },
        { ENOENT, KITH_ERR_NOT_FOUND },
        { ENOTDIR, KITH_ERR_NOT_FOUND },
        { ENXIO, KITH_ERR_NOT_FOUND },
        { ENODEV, KITH_ERR_NOT_FOUND },
        { EEXIST, KITH_ERR_EXISTS },
        { ENOTEMPTY, KITH_ERR_EXISTS },
        { EACCES, KITH_ERR_PERMISSION },
        { EPERM, KITH_ERR_PERMISSION },
        { EROFS, KITH_ERR_PERMISSION },
        { ELOOP, KITH_ERR_PERMISSION },
        { ENOSPC, KITH_ERR_NO_SPACE },
        { EDQUOT, KITH_ERR_NO_SPACE },
        { EADDRINUSE, KITH_ERR_ADDRESS_IN_USE },
        { ENETUNREACH, KITH_ERR_UNREACHABLE },
        { EHOSTUNREACH, KITH_ERR_UNREACHABLE },
        { ENETDOWN, KITH_ERR_UNREACHABLE },
        { EHOSTDOWN, KITH_ERR_UNREACHABLE },
        { EADDRNOTAVAIL, KITH_ERR_UNREACHABLE },
        { ENAMETOOLONG, KITH_ERR_TOO_LARGE },
        { EFBIG, KITH_ERR_TOO_LARGE },
        { EMSGSIZE, KITH_ERR_TOO_LARGE },
        { EMFILE, KITH_ERR_LIMIT },
        { ENFILE, KITH_ERR_LIMIT },
        { EAFNOSUPPORT, KITH_ERR_UNSUPPORTED },
        { EOPNOTSUPP, KITH_ERR_UNSUPPORTED },
        { ENOSYS, KITH_ERR_UNSUPPORTED },
        { ECONNREFUSED, KITH_ERR_REFUSED },
        { ECONNRESET, KITH_ERR_RESET },
        { EPIPE, KITH_ERR_RESET },
    };

    for (size_t i = 0; i < KITH_COUNT(facts); i++)
        if (facts[i].number == number)
            return kith__cause_note(facts[i].err, number);
    return kith__cause_note(KITH_ERR_IO, number);
}

int kith__uv_error(int result)
{
    return result < 0 ? kith__uv_errno(-result) : 0;
}

unsigned kith__uv_sockaddr_out(const struct kith_sockaddr *addr, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (addr->family == KITH_FAMILY_V4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;

        v4->sin_family = AF_INET;
        v4->sin_port = htons(addr->port);
        memcpy(&v4->sin_addr, addr->ip, 4);
        return sizeof *v4;
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(addr->port);
        v6->sin6_scope_id = addr->scope_id;
        memcpy(&v6->sin6_addr, addr->ip, 16);
        return sizeof *v6;
    }
}

bool kith__uv_sockaddr_in(const struct sockaddr *addr, struct kith_sockaddr *out)
{
    memset(out, 0, sizeof *out);
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)addr;

        out->family = KITH_FAMILY_V4;
        out->port = ntohs(v4->sin_port);
        memcpy(out->ip, &v4->sin_addr, 4);
        return true;
    }
    if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)addr;

        out->port = ntohs(v6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            out->family = KITH_FAMILY_V4;
            memcpy(out->ip, v6->sin6_addr.s6_addr + 12, 4);
            return true;
        }
        out->family = KITH_FAMILY_V6;
        memcpy(out->ip, &v6->sin6_addr, 16);
        if (kith__ip_is_link_local_v6(out->ip))
            out->scope_id = v6->sin6_scope_id;
        return true;
    }
    return false;
}

/* The interface's number stands in the list too, with its link layer address. An alias ("eth0:1") is its interface. */
static uint32_t index_of(const struct ifaddrs *list, const char *name)
{
    size_t size = strcspn(name, ":");

    for (const struct ifaddrs *at = list; at != NULL; at = at->ifa_next)
        if (at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_PACKET && strlen(at->ifa_name) == size &&
            memcmp(at->ifa_name, name, size) == 0)
            return (uint32_t)((const struct sockaddr_ll *)(const void *)at->ifa_addr)->sll_ifindex;
    return 0;
}

int kith__uv_interfaces(struct kith_rt *rt, struct kith_rt_interface *out, size_t cap, size_t *count)
{
    struct ifaddrs *list;
    size_t kept = 0;

    (void)rt;
    if (getifaddrs(&list) != 0)
        return kith__uv_errno(errno);
    for (const struct ifaddrs *at = list; at != NULL && kept < cap; at = at->ifa_next) {
        struct kith_rt_interface *entry = &out[kept];

        if (at->ifa_addr == NULL || (at->ifa_flags & (IFF_UP | IFF_RUNNING)) != (IFF_UP | IFF_RUNNING))
            continue;
        memset(entry, 0, sizeof *entry);
        if (!kith__uv_sockaddr_in(at->ifa_addr, &entry->addr))
            continue;
        for (size_t i = 0; i + 1 < sizeof entry->name && at->ifa_name[i] != '\0'; i++)
            entry->name[i] = at->ifa_name[i];
        entry->index = index_of(list, at->ifa_name);
        entry->is_loopback = (at->ifa_flags & IFF_LOOPBACK) != 0;
        entry->is_multicast = (at->ifa_flags & IFF_MULTICAST) != 0 && entry->index != 0;
        kept++;
    }
    freeifaddrs(list);
    *count = kept;
    return 0;
}
