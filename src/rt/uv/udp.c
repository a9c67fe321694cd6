/*
 * UDP sockets: own system calls over uv_poll. Receiving takes up to 32 buffers a call and up to 64 KiB a buffer (GRO);
 * the buffers belong to the loop, since only one socket fills them at a time. Sending hands up to 64 datagrams to the
 * kernel in one call (GSO). Source: spec/01, 7.
 */
#define _GNU_SOURCE 1 /* ppoll, recvmmsg, in_pktinfo */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/uv/udp_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RECEIVE_BYTES = 512 << 10,   /* shared by the buffers of one call; touched only as far as the kernel fills it */
    RECEIVE_SIZE_GRO = 64 << 10, /* of one buffer: the kernel merges up to 64 KiB */
    RECEIVE_SIZE_PLAIN = RECEIVE_BYTES / KITH_RT_UDP_BATCH_MAX,
    RECEIVE_CALLS_MAX = 2 /* of one socket in one turn, so that others get theirs, and answers leave soon */
};

struct kith_uv_receive {
    struct mmsghdr messages[KITH_RT_UDP_BATCH_MAX];
    struct iovec vectors[KITH_RT_UDP_BATCH_MAX];
    struct sockaddr_in6 names[KITH_RT_UDP_BATCH_MAX]; /* large enough for IPv4 too */
    union kith_uv_control controls[KITH_RT_UDP_BATCH_MAX];
    struct kith_quic_received batch[KITH_RT_UDP_BATCH_MAX];
    uint8_t bytes[RECEIVE_BYTES];
};

struct uv_udp {
    struct kith_rt_udp head;
    uv_poll_t poll;
    int fd;
    bool is_closed;
    uint8_t *kept; /* what the full socket did not take; NULL unless blocked */
    size_t kept_size, kept_done;
    struct kith_quic_transmit kept_transmit;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static struct kith_uv *loop_of(const struct uv_udp *udp)
{
    return kith__uv_of(udp->head.rt);
}

static void watch(struct uv_udp *udp)
{
    int result = uv_poll_start(&udp->poll, UV_READABLE | (udp->head.is_blocked ? UV_WRITABLE : 0), on_poll);

    KITH_ASSERT(result == 0);
    loop_of(udp)->is_dirty = true;
}

/* ---- Receiving ---- */

static void prepare(struct kith_uv_receive *receive, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        receive->vectors[i] = (struct iovec) { receive->bytes + i * size, size };
        receive->messages[i].msg_hdr = (struct msghdr) {
            .msg_name = &receive->names[i],
            .msg_namelen = sizeof receive->names[i],
            .msg_iov = &receive->vectors[i],
            .msg_iovlen = 1,
            .msg_control = &receive->controls[i],
            .msg_controllen = sizeof receive->controls[i],
        };
    }
}

/** Turns one message into a buffer for the user. False: dropped and counted. */
static bool take(struct uv_udp *udp, struct mmsghdr *message, struct kith_quic_received *out)
{
    struct kith_rt_udp_stats *stats = &udp->head.stats;
    struct msghdr *header = &message->msg_hdr;
    size_t datagrams;

    if (message->msg_len == 0) {
        stats->drop_empty++;
        return false;
    }
    *out = (struct kith_quic_received) { .local = udp->head.local,
                                         .bytes = header->msg_iov->iov_base,
                                         .size = message->msg_len };
    if (header->msg_namelen == 0 || !kith__uv_sockaddr_in(header->msg_name, &out->remote) || out->remote.port == 0) {
        stats->drop_no_source++;
        return false;
    }
    kith__uv_control_read(header, out);
    datagrams = kith__rt_segments(out->size, out->segment_size);
    if (header->msg_flags & MSG_TRUNC) {
        stats->drop_truncated += datagrams;
        return false;
    }
    stats->received_datagrams += datagrams;
    stats->received_bytes += out->size;
    return true;
}

static void receive_some(struct uv_udp *udp)
{
    struct kith_uv_receive *receive = loop_of(udp)->receive;
    bool is_gro = udp->head.features.gro;
    size_t size = is_gro ? RECEIVE_SIZE_GRO : RECEIVE_SIZE_PLAIN;
    size_t want = RECEIVE_BYTES / size;

    for (int call = 0; call < RECEIVE_CALLS_MAX && !udp->is_closed; call++) {
        size_t kept = 0;
        int got;

        prepare(receive, want, size);
        got = recvmmsg(udp->fd, receive->messages, (unsigned)want, MSG_DONTWAIT, NULL);
        if (got <= 0) /* nothing there, or the report of an earlier send (ECONNREFUSED), which reading has cleared */
            return;
        udp->head.stats.received_calls++;
        for (int i = 0; i < got; i++)
            kept += take(udp, &receive->messages[i], &receive->batch[kept]);
        if (kept > 0)
            udp->head.events.on_receive(udp->head.events.ctx, receive->batch, kept, kith__rt_now(udp->head.rt));
        if ((size_t)got < want)
            return;
    }
}

/* ---- Sending ---- */

static int send_once(struct uv_udp *udp, const struct kith_quic_transmit *transmit, const uint8_t *bytes, size_t size,
                     size_t segment_size, uint8_t ecn)
{
    union kith_uv_control control;
    struct sockaddr_storage remote;
    struct iovec vector = { (void *)(uintptr_t)bytes, size };
    struct msghdr header = { .msg_name = &remote, .msg_iov = &vector, .msg_iovlen = 1 };
    ssize_t result;

    header.msg_namelen = kith__uv_sockaddr_out(&transmit->remote, &remote);
    kith__uv_control_write(&header, &control, &transmit->local, segment_size, ecn);
    do
        result = loop_of(udp)->send_message(udp->fd, &header, MSG_DONTWAIT);
    while (result < 0 && errno == EINTR);
    return result < 0 ? errno : 0;
}

static int send_piece(struct uv_udp *udp, const struct kith_quic_transmit *transmit, const uint8_t *bytes, size_t size,
                      size_t segment_size)
{
    struct kith_rt_udp_stats *stats = &udp->head.stats;
    int result = send_once(udp, transmit, bytes, size, segment_size, transmit->ecn & 3);

    if (result == EINVAL && segment_size == 0 && (transmit->ecn & 3) != 0) {
        result = send_once(udp, transmit, bytes, size, 0, 0);
        stats->ecn_refused += result == 0;
    }
    if (result == 0) {
        stats->sent_calls++;
        stats->sent_datagrams += kith__rt_segments(size, segment_size);
        stats->sent_bytes += size;
    }
    return result;
}

static void count_drop(struct uv_udp *udp, int number, size_t datagrams)
{
    struct kith_rt_udp_stats *stats = &udp->head.stats;

    switch (number) {
    case EMSGSIZE:
        stats->drop_too_large += datagrams;
        break;
    case EPERM:
    case EACCES:
        stats->drop_permission += datagrams;
        break;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
    case ECONNREFUSED:
        stats->drop_unreachable += datagrams;
        break;
    case ENOBUFS:
    case ENOMEM:
        stats->drop_no_buffer += datagrams;
        break;
    default:
        if (stats->drop_send_other == 0) /* once a socket: the count tells the rest */
            kith__log(&udp->head.rt->log, KITH_LOG_WARN, "rt", "UDP send failed: %s", uv_strerror(-number));
        stats->drop_send_other += datagrams;
    }
}

/**
 * Sends from *done on. Returns true when all is sent or dropped, false when the socket is full.
 * EIO and EINVAL for a batch can mean that GSO is not possible here, or that a segment is above the MTU (before Linux 6.12):
 * a single segment that then passes tells the two apart.
 */
static bool send_rest(struct uv_udp *udp, const struct kith_quic_transmit *transmit, const uint8_t *bytes, size_t size,
                      size_t *done)
{
    size_t segment = transmit->segment_size != 0 ? transmit->segment_size : size;
    bool is_in_doubt = false;

    while (*done < size) {
        size_t left = size - *done;
        bool is_batch = udp->head.features.gso && !is_in_doubt && left > segment;
        size_t piece = is_batch ? left : KITH_MIN(left, segment);
        int result = send_piece(udp, transmit, bytes + *done, piece, is_batch ? segment : 0);

        if (result == EAGAIN || result == EWOULDBLOCK)
            return false;
        if (is_batch && (result == EIO || result == EINVAL || result == EOPNOTSUPP)) {
            is_in_doubt = true;
            continue;
        }
        if (result != 0)
            count_drop(udp, result, kith__rt_segments(piece, is_batch ? segment : 0));
        if (result == 0 && is_in_doubt && piece == segment && udp->head.features.gso) {
            udp->head.features.gso = false;
            udp->head.stats.gso_refused++;
            kith__log(&udp->head.rt->log, KITH_LOG_INFO, "rt", "UDP segmentation offload refused: off for this socket");
        }
        *done += piece;
    }
    return true;
}

static void keep(struct uv_udp *udp, const struct kith_quic_transmit *transmit, const uint8_t *bytes, size_t size)
{
    udp->kept = kith__alloc(udp->head.rt->mem, size);
    if (udp->kept == NULL) {
        count_drop(udp, ENOMEM, kith__rt_segments(size, transmit->segment_size));
        return;
    }
    memcpy(udp->kept, bytes, size);
    udp->kept_size = size;
    udp->kept_done = 0;
    udp->kept_transmit = *transmit;
    udp->head.is_blocked = true;
    udp->head.stats.blocked++;
    watch(udp);
}

void kith__uv_udp_send(struct kith_rt_udp *head, const struct kith_quic_transmit *transmit, const uint8_t *bytes)
{
    struct uv_udp *udp = (struct uv_udp *)head;
    size_t done = 0;

    if (!send_rest(udp, transmit, bytes, transmit->size, &done))
        keep(udp, transmit, bytes + done, transmit->size - done);
}

static void send_kept(struct uv_udp *udp)
{
    if (!send_rest(udp, &udp->kept_transmit, udp->kept, udp->kept_size, &udp->kept_done))
        return;
    kith__free(udp->head.rt->mem, udp->kept);
    udp->kept = NULL;
    udp->head.is_blocked = false;
    watch(udp);
    if (udp->head.events.on_writable != NULL)
        udp->head.events.on_writable(udp->head.events.ctx);
}

/* ---- Life ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct uv_udp *udp = poll->data;

    if (status < 0) { /* a pending socket error; libuv has stopped watching */
        kith__uv_socket_clear_error(udp->fd);
        watch(udp);
        return;
    }
    if (events & UV_READABLE)
        receive_some(udp);
    if ((events & UV_WRITABLE) && !udp->is_closed && udp->head.is_blocked)
        send_kept(udp);
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_udp *udp = handle->data;

    kith__free(udp->head.rt->mem, udp);
}

int kith__uv_udp_open(struct kith_rt *rt, const struct kith_rt_udp_options *options,
                      const struct kith_rt_udp_events *events, struct kith_rt_udp **out)
{
    struct kith_uv *uv = kith__uv_of(rt);
    struct uv_udp *udp;
    int err, result;

    if (uv->receive == NULL && (uv->receive = kith__alloc(rt->mem, sizeof *uv->receive)) == NULL)
        return KITH_ERR_NOMEM;
    if ((udp = kith__alloc_zero(rt->mem, sizeof *udp)) == NULL)
        return KITH_ERR_NOMEM;
    udp->head.rt = rt;
    udp->head.events = *events;
    if ((err = kith__uv_socket_open(options, &rt->log, &udp->head.features, &udp->head.local, &udp->fd)) != 0) {
        kith__free(rt->mem, udp);
        return err;
    }
    if ((result = uv_poll_init(&uv->loop, &udp->poll, udp->fd)) != 0) {
        close(udp->fd);
        kith__free(rt->mem, udp);
        return kith__uv_error(result);
    }
    udp->poll.data = udp;
    watch(udp);
    *out = &udp->head;
    return 0;
}

void kith__uv_udp_close(struct kith_rt_udp *head)
{
    struct uv_udp *udp = (struct uv_udp *)head;

    KITH_ASSERT(!udp->is_closed);
    udp->is_closed = true;
    kith__free(head->rt->mem, udp->kept);
    udp->kept = NULL;
    uv_close((uv_handle_t *)&udp->poll, on_closed);
    close(udp->fd);
    loop_of(udp)->is_dirty = true;
}

void kith__uv_receive_free(struct kith_uv *uv)
{
    kith__free(uv->rt.mem, uv->receive);
    uv->receive = NULL;
}
