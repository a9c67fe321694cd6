/** The system's side of a UDP socket: options at its birth, control messages of each call. */
#ifndef KITH_RT_UV_UDP_SOCKET_H
#define KITH_RT_UV_UDP_SOCKET_H

#include "rt/uv/loop.h"

#include <sys/socket.h>

/** Room for the control messages of one call: addresses, ECN, segment size. */
union kith_uv_control {
    struct cmsghdr align;
    uint8_t bytes[128];
};

/** Makes and binds a socket, says what it can do. Errors as kith__rt_udp_open. */
int kith__uv_socket_open(const struct kith_rt_udp_options *options, const struct kith_log *log,
                         struct kith_rt_udp_features *features, struct kith_sockaddr *local, int *fd);
/** Takes the pending error off a socket. */
void kith__uv_socket_clear_error(int fd);
/** Reads local ip, ECN and segment size from a received message into `out`. */
void kith__uv_control_read(struct msghdr *header, struct kith_quic_received *out);
/** Writes the wanted control messages: source address if given, segment_size and ecn if not 0. */
void kith__uv_control_write(struct msghdr *header, union kith_uv_control *control, const struct kith_sockaddr *local,
                            size_t segment_size, uint8_t ecn);

#endif
