/*
 * Changes of this machine's addresses: rtnetlink(7) tells of links, addresses and routes. What is told is only looked at to
 * leave out the many messages that change nothing (signal strength, routes of others); the user lists the addresses anew.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/uv/loop.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 16 << 10, READS_MAX = 64 /* in one turn */ };

struct uv_watch {
    struct kith_rt_watch head;
    uv_poll_t poll;
    int fd;
};

static bool has_size(const struct nlmsghdr *message, size_t size)
{
    return message->nlmsg_len >= NLMSG_LENGTH(size);
}

static bool is_of_interest(const struct nlmsghdr *message)
{
    const struct ifinfomsg *link = NLMSG_DATA(message);
    const struct rtmsg *route = NLMSG_DATA(message);

    switch (message->nlmsg_type) {
    case RTM_NEWADDR:
    case RTM_DELADDR:
    case RTM_DELLINK:
        return true;
    case RTM_NEWLINK: /* also sent for what is no change of state */
        return has_size(message, sizeof *link) && (link->ifi_change & (IFF_UP | IFF_RUNNING)) != 0;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        return has_size(message, sizeof *route) && route->rtm_dst_len == 0 && route->rtm_table == RT_TABLE_MAIN;
    default:
        return false;
    }
}

/** Reads what is there. True: something may have changed. */
static bool take_messages(const struct uv_watch *watch)
{
    union {
        struct nlmsghdr first; /* for its alignment */
        uint8_t bytes[MESSAGE_BYTES];
    } buffer;
    bool has_changed = false;

    for (int i = 0; i < READS_MAX; i++) {
        ssize_t got = recv(watch->fd, buffer.bytes, sizeof buffer.bytes, MSG_DONTWAIT);
        const struct nlmsghdr *message = &buffer.first;
        size_t left = got > 0 ? (size_t)got : 0;

        if (got <= 0) {
            if (got < 0 && errno == EINTR)
                continue;
            return has_changed || (got < 0 && errno == ENOBUFS); /* some were lost: all may be different */
        }
        for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left))
            has_changed |= is_of_interest(message);
    }
    return has_changed;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct uv_watch *watch = poll->data;

    (void)events;
    if (status < 0 || take_messages(watch))
        watch->head.on_change(watch->head.ctx);
}

static int socket_open(int *out)
{
    struct sockaddr_nl address = { .nl_family = AF_NETLINK,
                                   .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                                RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    int err;

    if (fd < 0)
        return kith__uv_errno(errno);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        err = kith__uv_errno(errno);
        close(fd);
        return err;
    }
    *out = fd;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_watch *watch = handle->data;

    kith__free(watch->head.rt->mem, watch);
}

int kith__uv_watch_open(struct kith_rt *rt, const struct kith_rt_watch *head, struct kith_rt_watch **out)
{
    struct uv_watch *watch = kith__alloc_zero(rt->mem, sizeof *watch);
    int err, result;

    if (watch == NULL)
        return KITH_ERR_NOMEM;
    watch->head = *head;
    if ((err = socket_open(&watch->fd)) != 0) {
        kith__free(rt->mem, watch);
        return err;
    }
    if ((result = uv_poll_init(&kith__uv_of(rt)->loop, &watch->poll, watch->fd)) != 0) {
        close(watch->fd);
        kith__free(rt->mem, watch);
        return kith__uv_error(result);
    }
    watch->poll.data = watch;
    result = uv_poll_start(&watch->poll, UV_READABLE, on_poll);
    KITH_ASSERT(result == 0);
    kith__uv_of(rt)->is_dirty = true;
    *out = &watch->head;
    return 0;
}

void kith__uv_watch_close(struct kith_rt_watch *head)
{
    struct uv_watch *watch = (struct uv_watch *)head;

    uv_close((uv_handle_t *)&watch->poll, on_closed);
    close(watch->fd);
    kith__uv_of(head->rt)->is_dirty = true;
}
