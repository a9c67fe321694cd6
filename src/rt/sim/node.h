/** For the tests of the simulated network: a host with sockets that remember what came. Test files only. */
#ifndef KITH_RT_SIM_NODE_H
#define KITH_RT_SIM_NODE_H

#include "base/test.h"
#include "rt/sim/sim.h"

enum { NODE_SOCKETS_MAX = 4 };

struct node;

struct node_socket {
    struct node *node;
    struct kith_rt_udp *udp;
    uint64_t received;
    uint64_t last_ns;
    struct kith_sockaddr remote, local; /* of the last datagram */
    bool echoes;
};

struct node {
    struct kith_sim *sim;
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct node_socket sockets[NODE_SOCKETS_MAX];
};

static inline struct kith_sockaddr node_addr(const char *text)
{
    struct kith_sockaddr out = { 0 };

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

static void node_on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct node_socket *socket = ctx;

    for (size_t i = 0; i < count; i++) {
        struct kith_quic_transmit transmit = { batch[i].local, batch[i].remote, batch[i].size, 0, 0, false };
        size_t segment = batch[i].segment_size != 0 ? batch[i].segment_size : batch[i].size;

        socket->received += (batch[i].size + segment - 1) / segment;
        socket->last_ns = now_ns;
        socket->remote = batch[i].remote;
        socket->local = batch[i].local;
        if (socket->echoes)
            KITH_CHECK_EQ(kith__rt_udp_send(socket->udp, &transmit, batch[i].bytes), 0);
    }
}

static inline void node_open(struct node *node, struct kith_sim *sim, const struct kith_sim_host_options *options)
{
    *node = (struct node) { .sim = sim };
    KITH_CHECK_EQ(kith__sim_host_new(sim, options, &node->host), 0);
    node->rt = kith__sim_rt(node->host);
}

static inline struct node_socket *node_bind(struct node *node, int index, const char *local)
{
    struct kith_rt_udp_options options = { .local = node_addr(local) };
    struct node_socket *socket = &node->sockets[index];
    struct kith_rt_udp_events events = { node_on_receive, NULL, socket };

    socket->node = node;
    KITH_CHECK_EQ(kith__rt_udp_open(node->rt, &options, &events, &socket->udp), 0);
    return socket;
}

/** `from` NULL: the host chooses its address. */
static inline void node_send(struct node_socket *socket, const struct kith_sockaddr *to,
                             const struct kith_sockaddr *from)
{
    struct kith_quic_transmit transmit = { .remote = *to, .size = 100 };
    static const uint8_t bytes[100];

    if (from != NULL)
        transmit.local = *from;
    KITH_CHECK_EQ(kith__rt_udp_send(socket->udp, &transmit, bytes), 0);
}

static inline void node_run(struct kith_sim *sim, uint64_t for_ns)
{
    KITH_CHECK_EQ(kith__sim_run(sim, NULL, NULL, kith__sim_now(sim) + for_ns), KITH_SIM_OK);
}

static inline void node_close(struct node *node)
{
    for (int i = 0; i < NODE_SOCKETS_MAX; i++)
        kith__rt_udp_close(node->sockets[i].udp);
}

#endif
