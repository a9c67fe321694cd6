/** Shared by the files of the real rt: the loop, what its sockets share, error numbers. */
#ifndef KITH_RT_UV_LOOP_H
#define KITH_RT_UV_LOOP_H

#include "rt/ops.h"
#include "rt/uv/random.h"

#include <netdb.h>
#include <sys/socket.h>
#include <uv.h>

struct kith_uv_receive; /* buffers of recvmmsg; uv/udp.c */
struct kith_uv_desk;    /* lookups of names; uv/resolve.c */

struct kith_uv {
    struct kith_rt rt;
    uv_loop_t loop;
    uv_async_t async;
    struct kith_uv_random random;
    uv_async_t resolved;             /* lookups came to their end; with `desk` */
    struct kith_uv_desk *desk;       /* made with the first lookup of a name; uv/resolve.c */
    struct kith_uv_receive *receive; /* made with the first UDP socket */
    ssize_t (*send_message)(int fd, const struct msghdr *header,
                            int flags); /* sendmsg; tests put a kernel's refusals here */
    int (*get_addresses)(const char *host, const char *service, const struct addrinfo *hints,
                         struct addrinfo **out); /* getaddrinfo; tests put a silent name server here */
    uint8_t *read_buffer; /* KITH_RT_STREAM_READ_MAX; made with the first stream; filled and handed on at once */
    const void *reading;  /* the stream that was read last in this turn, */
    unsigned reads;       /* and how often */
    bool is_dirty;        /* libuv was told something that it tells the kernel only in the next turn */
    bool was_woken;
    bool is_in_turn;
};

static inline struct kith_uv *kith__uv_of(const struct kith_rt *rt)
{
    return (struct kith_uv *)(void *)(uintptr_t)rt;
}

/** The error code for an errno > 0, which is noted as its cause (base/cause.h). */
int kith__uv_errno(int number);
/** The error code for a libuv result < 0; 0 for the rest. */
int kith__uv_error(int result);

/** To the system's form; returns its size. */
unsigned kith__uv_sockaddr_out(const struct kith_sockaddr *addr, struct sockaddr_storage *out);
/** From the system's form, canonical. False if it is neither IPv4 nor IPv6. */
bool kith__uv_sockaddr_in(const struct sockaddr *addr, struct kith_sockaddr *out);

/** The parts of the table. */
int kith__uv_udp_open(struct kith_rt *rt, const struct kith_rt_udp_options *options,
                      const struct kith_rt_udp_events *events, struct kith_rt_udp **out);
void kith__uv_udp_close(struct kith_rt_udp *udp);
void kith__uv_udp_send(struct kith_rt_udp *udp, const struct kith_quic_transmit *transmit, const uint8_t *bytes);
/** Frees the shared buffers; no socket is open. */
void kith__uv_receive_free(struct kith_uv *uv);
int kith__uv_interfaces(struct kith_rt *rt, struct kith_rt_interface *out, size_t cap, size_t *count);
int kith__uv_watch_open(struct kith_rt *rt, const struct kith_rt_watch *head, struct kith_rt_watch **out);
void kith__uv_watch_close(struct kith_rt_watch *watch);
int kith__uv_resolve(struct kith_rt *rt, const char *host, struct kith_rt_resolve *head, struct kith_rt_resolve **out);
void kith__uv_resolve_cancel(struct kith_rt_resolve *resolve);
/** Leaves lookups that were cancelled to themselves; there are no others. */
void kith__uv_resolve_close(struct kith_uv *uv);
int kith__uv_signal_open(struct kith_rt *rt, const struct kith_rt_signal *head, struct kith_rt_signal **out);
void kith__uv_signal_close(struct kith_rt_signal *signal);
/** Fills in the stream and the file part of the table. */
void kith__uv_stream_ops(struct kith_rt_ops *ops);
void kith__uv_file_ops(struct kith_rt_ops *ops);

#endif
