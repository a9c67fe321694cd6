/*
 * From a received buffer to connections: by destination id, then by stateless reset token; what belongs to nobody is a
 * new client, an unknown version, or noise. Source: RFC 9000, 5.2, 6 and 10.3; spec/01, 1.1, 1.5 and 1.6.
 */
#include "base/assert.h"
#include "base/random.h"
#include "quic/conn/conn.h"
#include "quic/host/host.h"
#include "quic/wire/packet.h"

#include <string.h>

enum { SIZE_MIN = 21, INITIAL_SIZE_MIN = 1200 };

static uint8_t random_byte(struct kith_quic_host *host)
{
    uint8_t byte;

    kith__random_fill(&host->random, &byte, 1);
    return byte;
}

static void answer_version(struct kith_quic_host *host, const struct kith_quic_received *datagram,
                           const struct kith_packet *packet)
{
    struct kith_reply *reply;

    /*
     * A client of any version that we know would send 1200 bytes; smaller packets MUST be dropped (RFC 9000, 5.2.2). Other
     * implementations answer those, too, but no client needs that, and it would make us a reflector for small packets.
     */
    if (!packet->fixed_bit || host->alpns.count == 0 || datagram->size < INITIAL_SIZE_MIN) {
        kith__host_drop(host, KITH_DROP_unknown_version);
        return;
    }
    reply = kith__replies_slot(&host->replies, host->mem);
    if (reply == NULL || (reply->size = kith__version_negotiation_write(packet, random_byte(host), reply->bytes,
                                                                        sizeof reply->bytes)) == 0) {
        kith__host_drop(host, KITH_DROP_unknown_version);
        return;
    }
    reply->local = datagram->local;
    reply->remote = datagram->remote;
    kith__replies_push(&host->replies);
    host->stats.version_negotiations_sent++;
}

/**
 * A stateless reset from the peer of one of our connections? Any header may stand in front of the token (RFC 9000, 10.3.1).
 * How long the lookup takes tells nothing about tokens: the map compares keyed hashes first.
 */
static bool take_reset(struct kith_quic_host *host, const struct kith_quic_received *datagram, uint64_t now_ns)
{
    const uint8_t *token = datagram->bytes + datagram->size - KITH_RESET_TOKEN_SIZE;
    struct kith_quic_conn *conn;

    if (datagram->size < KITH_RESET_SIZE_MIN)
        return false;
    conn = kith__map_get(&host->reset_tokens, token, KITH_RESET_TOKEN_SIZE);
    if (conn == NULL || !kith__conn_is_reset(conn, &datagram->remote, token))
        return false;
    conn->now_ns = now_ns;
    kith__conn_lost(conn, KITH_ERR_LOST);
    kith__conn_touch(conn);
    return true;
}

static void answer_unknown_cid(struct kith_quic_host *host, const struct kith_quic_received *datagram,
                               const struct kith_packet *packet, uint64_t now_ns)
{
    struct kith_reply *reply;

    if (!kith__cidgen_is_ours(&host->cidgen, packet->dcid.ptr, packet->dcid.size) ||
        (reply = kith__replies_slot(&host->replies, host->mem)) == NULL ||
        (reply->size = kith__reset_build(&host->reset, &host->random, packet->dcid.ptr, packet->dcid.size,
                                         datagram->size, reply->bytes, sizeof reply->bytes, now_ns)) == 0) {
        kith__host_drop(host, KITH_DROP_unknown_cid);
        return;
    }
    reply->local = datagram->local;
    reply->remote = datagram->remote;
    kith__replies_push(&host->replies);
    host->stats.stateless_resets_sent++;
}

static void on_initial(struct kith_quic_host *host, const struct kith_quic_received *datagram,
                       const struct kith_packet *packet, uint64_t now_ns)
{
    if (datagram->size < INITIAL_SIZE_MIN)
        kith__host_drop(host, KITH_DROP_initial_too_small);
    else if (host->alpns.count == 0)
        kith__host_drop(host, KITH_DROP_not_listening);
    else
        kith__incoming_on_initial(host, datagram, packet, now_ns);
}

static void on_stranger(struct kith_quic_host *host, const struct kith_quic_received *datagram,
                        const struct kith_packet *packet, uint64_t now_ns)
{
    switch (packet->type) {
    case KITH_PACKET_OTHER_VERSION:
        answer_version(host, datagram, packet);
        break;
    case KITH_PACKET_VERSION_NEGOTIATION:
        kith__host_drop(host, KITH_DROP_bad_version_negotiation);
        break;
    case KITH_PACKET_RETRY:
        kith__host_drop(host, KITH_DROP_bad_retry);
        break;
    case KITH_PACKET_INITIAL:
        if (!packet->fixed_bit)
            kith__host_drop(host, KITH_DROP_fixed_bit);
        else
            on_initial(host, datagram, packet, now_ns);
        break;
    case KITH_PACKET_ONE_RTT:
        if (!packet->fixed_bit)
            kith__host_drop(host, KITH_DROP_fixed_bit);
        else
            answer_unknown_cid(host, datagram, packet, now_ns);
        break;
    default: /* Handshake and 0-RTT of nobody */
        kith__host_drop(host, KITH_DROP_unknown_cid);
        break;
    }
}

/** Bursts carry one destination id: the last one found is asked first. */
static struct kith_quic_conn *find(struct kith_quic_host *host, struct kith_slice cid)
{
    if (host->found != NULL && kith__cid_is(&host->found_cid, cid))
        return host->found;
    if (cid.size > KITH_CID_SIZE_MAX)
        return NULL;
    host->found = kith__host_find(host, cid);
    host->found_cid = kith__cid(cid.ptr, cid.size);
    return host->found;
}

static void on_datagram(struct kith_quic_host *host, const struct kith_quic_received *datagram, uint64_t now_ns)
{
    struct kith_tuple tuple = { datagram->local, datagram->remote };
    struct kith_quic_conn *conn;
    struct kith_packet packet;

    host->stats.datagrams_received++;
    host->stats.bytes_received += datagram->size;
    if (datagram->size < SIZE_MIN) {
        kith__host_drop(host, KITH_DROP_too_short);
        return;
    }
    if (kith__packet_parse(datagram->bytes, datagram->size, KITH_CIDGEN_SIZE, &packet) != 0) {
        if (!take_reset(host, datagram, now_ns))
            kith__host_drop(host, KITH_DROP_malformed_header);
        return;
    }
    conn = find(host, packet.dcid);
    if (conn != NULL)
        kith__conn_receive(conn, &tuple, datagram->bytes, datagram->size, datagram->ecn, now_ns);
    else if (!kith__incoming_on_datagram(host, datagram, packet.dcid, now_ns) && !take_reset(host, datagram, now_ns))
        on_stranger(host, datagram, &packet, now_ns);
    /* Touched once for a whole burst: see kith_quic_host_receive. */
    if (conn != NULL && !kith__list_is_linked(&conn->touch_node))
        kith__list_push_back(&host->touched, &conn->touch_node);
}

void kith_quic_host_receive(struct kith_quic_host *host, const struct kith_quic_received *received, uint64_t now_ns)
{
    struct kith_quic_received one = *received;
    size_t step = received->segment_size != 0 ? received->segment_size : received->size;
    struct kith_list *node;

    for (size_t at = 0; at < received->size; at += step) {
        one.bytes = received->bytes + at;
        one.size = KITH_MIN(step, received->size - at);
        on_datagram(host, &one, now_ns);
    }
    while ((node = kith__list_first(&host->touched)) != NULL) {
        kith__list_remove(node);
        kith__conn_touch(KITH_CONTAINER(node, struct kith_quic_conn, touch_node));
    }
}
