/* DNS over UDP: an answer for each datagram, unless its network asks for too many. */
#include "base/assert.h"
#include "server/dns_parts.h"

static void send_to(struct kith_dns_socket *socket, const struct kith_sockaddr *local,
                    const struct kith_sockaddr *remote, const uint8_t *bytes, size_t size)
{
    struct kith_quic_transmit transmit = { .local = *local, .remote = *remote, .size = size };

    if (size != 0 && kith__rt_udp_send(socket->udp, &transmit, bytes) != 0)
        kith__dns_count(&socket->worker->counters->dns_unsent, 1);
}

/* Nobody outside can forge these. */
static bool is_loopback(const struct kith_sockaddr *addr)
{
    static const uint8_t v6[16] = { [15] = 1 };

    return addr->family == KITH_FAMILY_V4 ? addr->ip[0] == 127 : memcmp(addr->ip, v6, sizeof v6) == 0;
}

static void on_answered(struct kith_dns_wait *wait, const uint8_t *bytes, size_t size)
{
    send_to(wait->owner, &wait->local, &wait->remote, bytes, size);
}

static void wait_for(struct kith_dns_socket *socket, const struct kith_quic_received *received, struct kith_slice query)
{
    struct kith_dns_wait *wait = kith__dns_wait_new(socket->worker, query, socket);

    if (wait == NULL)
        return; /* the resolver asks again */
    wait->reply = on_answered;
    wait->is_udp = true;
    wait->local = received->local;
    wait->remote = received->remote;
}

/*
 * A forged source makes us send to somebody who asked for nothing: beyond a rate for each network every other answer is only an
 * invitation to TCP, no longer than the query, which an honest client follows; and the others are none.
 */
static void limit(struct kith_dns_socket *socket, const struct kith_quic_received *received, struct kith_slice query)
{
    struct kith_dns_worker *worker = socket->worker;
    size_t size = 0;

    if (worker->slips++ % 2 == 0)
        size = kith__zone_shorten(query, worker->buffer, KITH_ZONE_UDP_SIZE);
    kith__dns_count(size != 0 ? &worker->counters->dns_limited_truncated : &worker->counters->dns_limited_dropped, 1);
    send_to(socket, &received->local, &received->remote, worker->buffer, size);
}

static void take_query(struct kith_dns_socket *socket, const struct kith_quic_received *received,
                       struct kith_slice query, uint64_t now_ns)
{
    struct kith_dns_worker *worker = socket->worker;
    struct kith_zone_answer answer;

    kith__dns_count(&worker->counters->dns_requests, 1);
    kith__dns_count(&worker->counters->dns_requests_udp, 1);
    if (!is_loopback(&received->remote) && kith__rates_take(worker->rules->responses, &received->remote, now_ns) != 0) {
        limit(socket, received, query);
        return;
    }
    kith__dns_worker_answer(worker, query, true, &answer);
    if (answer.outcome == KITH_ZONE_WAIT) {
        wait_for(socket, received, query);
        return;
    }
    if (answer.is_truncated)
        kith__dns_count(&worker->counters->dns_truncated, 1);
    send_to(socket, &received->local, &received->remote, worker->buffer, answer.size);
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct kith_dns_socket *socket = ctx;

    for (size_t i = 0; i < count; i++) {
        size_t step = batch[i].segment_size != 0 ? batch[i].segment_size : batch[i].size;

        for (size_t at = 0; at < batch[i].size; at += step)
            take_query(socket, &batch[i],
                       (struct kith_slice) { batch[i].bytes + at, KITH_MIN(step, batch[i].size - at) }, now_ns);
    }
}

int kith__dns_udp_open(struct kith_dns_worker *worker, const struct kith_sockaddr *at, bool is_shared,
                       struct kith_sockaddr *bound)
{
    struct kith_dns_socket *socket = &worker->sockets[worker->socket_count];
    /* Queries come one by one, from many: merging them only makes the batches smaller. */
    struct kith_rt_udp_options options = { .local = *at, .no_offload = true, .is_shared = is_shared };
    struct kith_rt_udp_events events = { .on_receive = on_receive, .ctx = socket };
    int err;

    socket->worker = worker;
    if ((err = kith__rt_udp_open(worker->rt, &options, &events, &socket->udp)) != 0)
        return err;
    worker->socket_count++;
    *bound = kith__rt_udp_local(socket->udp);
    return 0;
}
