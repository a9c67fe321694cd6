/**
 * Test only: two hosts driven by a list of operations decoded from bytes. Any bytes are a valid list. The fuzz target and
 * the seeded test share this file, so what one finds the other replays. After each operation the invariants of all
 * connections are walked; at the end the network heals and everything must come to an end.
 */
#ifndef KITH_QUIC_CONN_OPS_H
#define KITH_QUIC_CONN_OPS_H

#include "base/assert.h"
#include "base/random.h"
#include "quic/conn/conn.h"
#include "quic/conn/packet_out.h"
#include "quic/host/host.h"

#include <stdlib.h>
#include <string.h>

enum { OPS_QUEUE_MAX = 256, OPS_STREAMS_MAX = 16, OPS_MAX = 4096, OPS_WAYS = 4 /* ports of the client, for paths */ };

struct ops_datagram {
    struct kith_sockaddr from, to;
    uint8_t *bytes;
    size_t size;
    uint8_t ecn;
};

struct ops_side {
    struct kith_quic_host *host;
    struct kith_quic_conn *conn;
    struct kith_sockaddr outer;
    struct ops_datagram queue[OPS_QUEUE_MAX]; /* what it sent and nobody has received */
    size_t queued;
    struct kith_prng prng;
    uint64_t streams[OPS_STREAMS_MAX], written[OPS_STREAMS_MAX], read[OPS_STREAMS_MAX];
    size_t stream_count;
    bool is_drained;
};

struct ops {
    struct ops_side sides[2];
    struct kith_reader in;
    uint64_t now_ns;
    uint8_t answer;    /* what the server does with clients */
    bool is_hostile;   /* frames were injected: bytes of streams mean nothing */
    bool has_paths;    /* both sides may use several; operations about them are decoded */
    uint8_t dead_ways; /* bit n: nothing passes from or to port n of the client */
};

static uint8_t ops_byte(struct ops *ops)
{
    uint8_t byte = 0;

    (void)!kith__read_u8(&ops->in, &byte);
    return byte;
}

static uint8_t ops_pattern(uint64_t stream, uint64_t offset)
{
    return (uint8_t)(stream * 31 + offset * 7 + (offset >> 8));
}

/* ---- Events and the wire ---- */

static void ops_remember(struct ops_side *side, uint64_t stream)
{
    if (side->stream_count < OPS_STREAMS_MAX) {
        side->streams[side->stream_count] = stream;
        side->written[side->stream_count] = side->read[side->stream_count] = 0;
        side->stream_count++;
    }
}

static void ops_on_incoming(struct ops *ops, struct kith_quic_incoming *incoming)
{
    struct kith_quic_conn *conn = NULL;

    if (ops->answer % 8 == 1 && !kith_quic_incoming_is_validated(incoming)) {
        KITH_ASSERT(kith_quic_incoming_retry(incoming, ops->now_ns) == 0);
    } else if (ops->answer % 8 == 2) {
        kith_quic_incoming_refuse(incoming, ops->now_ns);
    } else if (ops->answer % 8 == 3) {
        kith_quic_incoming_ignore(incoming);
    } else {
        KITH_ASSERT(kith_quic_incoming_accept(incoming, NULL, ops->now_ns, &conn) == 0);
        if (ops->sides[1].conn == NULL)
            ops->sides[1].conn = conn;
    }
}

static void ops_events(struct ops *ops)
{
    struct kith_quic_event event;

    for (int i = 0; i < 2; i++)
        while (kith_quic_host_next_event(ops->sides[i].host, &event)) {
            if (event.kind == KITH_QUIC_INCOMING)
                ops_on_incoming(ops, event.incoming);
            else if (event.kind == KITH_QUIC_DRAINED && event.conn == ops->sides[i].conn)
                ops->sides[i].is_drained = true;
            else if (event.kind == KITH_QUIC_STREAM_OPENED && event.conn == ops->sides[i].conn)
                ops_remember(&ops->sides[i], event.stream);
        }
}

/** The client's port of way n: the first is the one it starts with. */
static uint16_t ops_way_port(unsigned n)
{
    return (uint16_t)(1000 + 100 * n);
}

static bool ops_is_dead(const struct ops *ops, uint16_t from_port, uint16_t to_port)
{
    for (unsigned n = 0; n < OPS_WAYS; n++)
        if ((ops->dead_ways >> n & 1) != 0 && (from_port == ops_way_port(n) || to_port == ops_way_port(n)))
            return true;
    return false;
}

static void ops_queue(struct ops *ops, struct ops_side *side, const struct kith_quic_transmit *transmit,
                      const uint8_t *bytes, size_t size)
{
    struct ops_datagram *datagram;
    uint16_t from_port = transmit->local.port != 0 ? transmit->local.port : side->outer.port;

    if (side->queued == OPS_QUEUE_MAX || ops_is_dead(ops, from_port, transmit->remote.port))
        return; /* a full link loses the newest */
    datagram = &side->queue[side->queued++];
    *datagram = (struct ops_datagram) { side->outer, transmit->remote, malloc(size), size, transmit->ecn };
    KITH_ASSERT(datagram->bytes != NULL);
    if (transmit->local.port != 0)
        datagram->from.port = transmit->local.port;
    memcpy(datagram->bytes, bytes, size);
}

static void ops_transmit(struct ops *ops)
{
    static uint8_t buffer[65507];
    struct kith_quic_transmit transmit;

    for (int i = 0; i < 2; i++)
        for (int n = 0; kith_quic_host_transmit(ops->sides[i].host, buffer, sizeof buffer, &transmit, ops->now_ns);
             n++) {
            size_t step = transmit.segment_size != 0 ? transmit.segment_size : transmit.size;

            KITH_ASSERT(n < 100000 && transmit.size != 0); /* sending ends by itself */
            for (size_t at = 0; at < transmit.size; at += step)
                ops_queue(ops, &ops->sides[i], &transmit, buffer + at, KITH_MIN(step, transmit.size - at));
        }
}

static void ops_settle(struct ops *ops)
{
    ops_events(ops);
    ops_transmit(ops);
    ops_events(ops);
    for (int i = 0; i < 2; i++)
        KITH_LIST_EACH(node, &ops->sides[i].host->conns)
    kith__conn_check(KITH_CONTAINER(node, struct kith_quic_conn, host_node));
}

/** Takes datagram `index` of a side's queue; keep: leaves a copy there. */
static void ops_deliver(struct ops *ops, int from, size_t index, bool keep)
{
    struct ops_side *side = &ops->sides[from];
    struct ops_datagram datagram;
    struct kith_quic_received received;
    uint8_t *copy;

    if (side->queued == 0)
        return;
    index %= side->queued;
    datagram = side->queue[index];
    copy = malloc(datagram.size);
    KITH_ASSERT(copy != NULL);
    memcpy(copy, datagram.bytes, datagram.size);
    if (!keep) {
        memmove(&side->queue[index], &side->queue[index + 1], (side->queued - index - 1) * sizeof *side->queue);
        side->queued--;
        free(datagram.bytes);
    }
    received = (struct kith_quic_received) {
        .local = datagram.to, .remote = datagram.from, .bytes = copy, .size = datagram.size, .ecn = datagram.ecn
    };
    kith_quic_host_receive(ops->sides[1 - from].host, &received, ops->now_ns);
    free(copy);
}

static void ops_drop(struct ops *ops, int from)
{
    struct ops_side *side = &ops->sides[from];

    if (side->queued == 0)
        return;
    free(side->queue[0].bytes);
    memmove(&side->queue[0], &side->queue[1], (side->queued - 1) * sizeof *side->queue);
    side->queued--;
}

static void ops_advance(struct ops *ops, uint64_t by_ns)
{
    ops->now_ns += by_ns;
    for (int i = 0; i < 2; i++)
        kith_quic_host_on_deadline(ops->sides[i].host, ops->now_ns);
}

/* ---- Operations ---- */

static void ops_write(struct ops *ops, struct ops_side *side, bool fin)
{
    static uint8_t bytes[1 << 16];
    size_t size = (size_t)ops_byte(ops) * 97, k, written = 0;

    if (side->stream_count == 0)
        return;
    k = ops_byte(ops) % side->stream_count;
    for (size_t i = 0; i < size; i++)
        bytes[i] = ops_pattern(side->streams[k], side->written[k] + i);
    if (kith_quic_stream_write(side->conn, side->streams[k], bytes, size, fin, &written) == 0)
        side->written[k] += written;
}

static void ops_read(struct ops *ops, struct ops_side *side)
{
    static uint8_t bytes[1 << 16];
    size_t k, size = 0;

    if (side->stream_count == 0)
        return;
    k = ops_byte(ops) % side->stream_count;
    if (kith_quic_stream_read(side->conn, side->streams[k], bytes, (size_t)ops_byte(ops) * 200 + 1, &size, NULL) != 0)
        return;
    for (size_t i = 0; i < size && !ops->is_hostile; i++)
        KITH_ASSERT(bytes[i] == ops_pattern(side->streams[k], side->read[k] + i));
    side->read[k] += size;
}

static void ops_inject(struct ops *ops, int from)
{
    struct ops_side *side = &ops->sides[from];
    struct kith_packet_out out;
    struct kith_path *path;
    struct kith_slice frames;
    uint8_t datagram[1500];
    struct kith_quic_received received = { .local = ops->sides[1 - from].outer,
                                           .remote = side->outer,
                                           .bytes = datagram };
    size_t size = ops_byte(ops) % 64u + 1u;
    enum kith_level level = KITH_LEVEL_DATA;

    if (kith__read_slice(&ops->in, size, &frames) != 0 || !kith__phase_is_open(side->conn->phase))
        return;
    if (!kith__keys_can_write(&side->conn->keys)) {
        level = KITH_LEVEL_INITIAL;
        if (side->conn->early == NULL || !kith__keys_can_write(&side->conn->early->spaces[0].keys))
            return;
    }
    if (side->conn->path_count == 0)
        return;
    path = side->conn->paths[level == KITH_LEVEL_DATA && ops->has_paths ? size % side->conn->path_count : 0];
    if (kith__cid_theirs_active(&path->cids_theirs) == NULL ||
        kith__packet_out_begin(&out, side->conn, path, level, datagram, sizeof datagram) != 0)
        return;
    KITH_ASSERT(kith__write_bytes(&out.w, frames.ptr, frames.size) == 0);
    kith__packet_out_pad(&out, level == KITH_LEVEL_INITIAL ? 1200 : 0);
    received.size = kith__packet_out_size(&out);
    ops->is_hostile = true;
    if (kith__packet_out_end(&out) == 0)
        kith_quic_host_receive(ops->sides[1 - from].host, &received, ops->now_ns);
    kith__conn_touch(side->conn);
}

static void ops_on_stream(struct ops *ops, struct ops_side *side, uint8_t what)
{
    uint64_t stream;

    if (side->stream_count == 0)
        return;
    stream = side->streams[ops_byte(ops) % side->stream_count];
    switch (what % 4) {
    case 0:
        (void)!kith_quic_stream_reset(side->conn, stream, what);
        break;
    case 1:
        (void)!kith_quic_stream_stop(side->conn, stream, what);
        break;
    case 2:
        kith_quic_stream_release(side->conn, stream);
        break;
    case 3:
        (void)!kith_quic_stream_set_priority(side->conn, stream, what);
        break;
    }
}

static void ops_on_conn(struct ops *ops, struct ops_side *side, uint8_t what)
{
    struct kith_sockaddr local = side->outer;
    static const uint8_t bytes[1000];

    switch (what % 8) {
    case 0:
        kith_quic_conn_ping(side->conn, ops->now_ns);
        break;
    case 1:
        (void)!kith_quic_conn_update_keys(side->conn, ops->now_ns);
        break;
    case 2:
        (void)!kith_quic_datagram_send(side->conn, (struct kith_slice) { bytes, (size_t)what * 3 }, what % 2);
        break;
    case 3:
        local.port = (uint16_t)(2000 + what);
        if (kith_quic_conn_migrate(side->conn, &local, ops->now_ns) == 0)
            side->outer = local;
        break;
    case 4:
        kith_quic_conn_set_streams_max(side->conn, what & 32, what);
        break;
    case 5:
        side->outer.port = (uint16_t)(3000 + what); /* a NAT rebinds */
        break;
    case 6:
        if (what > 200)
            kith_quic_conn_close(side->conn, what, (struct kith_slice) { bytes, what }, ops->now_ns);
        break;
    case 7: {
        uint64_t stream;

        if (kith_quic_stream_open(side->conn, what & 16, &stream) == 0)
            ops_remember(side, stream);
        break;
    }
    }
}

/** NAT traversal: addresses of either side where a datagram arrives, or where it does not. */
static void ops_on_candidate(struct ops *ops, struct ops_side *side, uint8_t what)
{
    struct kith_sockaddr address = side->outer;

    if ((what >> 5 & 3) != 0)
        address.port = side == &ops->sides[0] ? ops_way_port(what >> 5 & 3) : (uint16_t)(5000 + (what >> 5));
    switch (what >> 3 & 3) {
    case 0:
        (void)!kith_quic_conn_add_candidate(side->conn, &address, ops->now_ns);
        break;
    case 1:
        (void)!kith_quic_conn_remove_candidate(side->conn, &address, ops->now_ns);
        break;
    case 2:
        (void)!kith_quic_conn_punch(side->conn, ops->now_ns);
        break;
    case 3:
        kith_quic_conn_ping(side->conn, ops->now_ns);
        break;
    }
}

/** Paths are opened from other ports of the client to the one of the server. */
static void ops_on_path(struct ops *ops, struct ops_side *side, uint8_t what)
{
    struct kith_sockaddr local = { .ip = { 10, 0, 0, 1 }, .family = KITH_FAMILY_V4 };
    uint32_t id = what >> 4;

    local.port = ops_way_port(what >> 3 & (OPS_WAYS - 1));
    switch (what & 7) {
    case 0:
    case 1:
    case 2:
        (void)!kith_quic_conn_path_open(side->conn, &local, &ops->sides[1].outer, what & 1, ops->now_ns, &id);
        break;
    case 3:
    case 4:
        (void)!kith_quic_conn_path_close(side->conn, id, what & 1 ? 0x3e : KITH_VARINT_MAX, ops->now_ns);
        break;
    case 5:
        (void)!kith_quic_conn_path_set_backup(side->conn, id, what >> 3 & 1, ops->now_ns);
        break;
    case 6:
        ops->dead_ways ^= (uint8_t)(1 << (what >> 3 & (OPS_WAYS - 1)));
        break;
    case 7:
        ops_on_candidate(ops, side, what);
        break;
    }
}

static void ops_one(struct ops *ops)
{
    uint8_t op = ops_byte(ops);
    int index = op & 1;
    struct ops_side *side = &ops->sides[index];

    switch (op >> 1 & 15) {
    case 0:
    case 1:
    case 2:
        for (int n = op >> 5; n >= 0; n--)
            ops_deliver(ops, index, 0, false);
        break;
    case 3:
        ops_deliver(ops, index, ops_byte(ops), op >> 7);
        break;
    case 4:
        ops_drop(ops, index);
        break;
    case 5:
        if (side->queued != 0)
            side->queue[0].bytes[ops_byte(ops) % side->queue[0].size] ^= (uint8_t)(1 << (op >> 5));
        break;
    case 6:
    case 7: {
        uint64_t ms = ops_byte(ops);

        ops_advance(ops, ms * (op >> 5) * KITH_NS_PER_MS + 1000);
        break;
    }
    default:
        if (side->conn == NULL)
            break;
        switch (op >> 1 & 7) {
        case 0:
        case 1:
            ops_write(ops, side, op >> 6 == 3);
            break;
        case 2:
        case 3:
            ops_read(ops, side);
            break;
        case 4:
            ops_on_stream(ops, side, ops_byte(ops));
            break;
        case 5:
        case 6:
            ops_on_conn(ops, side, ops_byte(ops));
            break;
        case 7:
            if (op >> 6 == 2)
                ops_inject(ops, index);
            else if (ops->has_paths)
                ops_on_path(ops, side, ops_byte(ops));
            break;
        }
    }
}

/* ---- Run ---- */

static void ops_start(struct ops *ops)
{
    struct kith_slice alpn = { (const uint8_t *)"ops", 3 };
    struct kith_quic_connect_options connect = { .alpns = &alpn, .alpn_count = 1, .remote_count = 1 };
    uint8_t flags = ops_byte(ops);

    ops->has_paths = (flags & 64) != 0;
    ops->now_ns = KITH_NS_PER_S;
    ops->answer = ops_byte(ops);
    for (int i = 0; i < 2; i++) {
        struct kith_quic_host_options options;

        kith__prng_init(&ops->sides[i].prng, (uint64_t)i + 1);
        kith_quic_host_defaults(&options);
        options.random = kith__prng_source(&ops->sides[i].prng);
        options.secret.bytes[0] = (uint8_t)(i + 1);
        options.alpns = &alpn;
        options.alpn_count = (size_t)i;
        if (flags & 1)
            options.transport.key_update_after = 3;
        if (flags & 2)
            options.transport.stream_data_max = 5000;
        if (flags & 4)
            options.transport.data_max = 9000;
        if (flags & 8)
            options.transport.streams_bidi_max = 2;
        if (flags & 16)
            options.transport.send_buffer_max = 4000;
        if (flags & 32)
            options.transport.congestion = KITH_QUIC_NEWRENO;
        options.transport.paths_max = options.transport.nat_traversal_max = 0;
        if (flags & 64) {
            options.transport.paths_max = (flags & 128) != 0 ? 3 : 8;
            options.transport.nat_traversal_max = (flags & 128) != 0 ? 2 : 32;
            options.transport.observed_address = KITH_QUIC_OBSERVED_BOTH;
            options.transport.schedule = (flags & 128) != 0 ? KITH_QUIC_SCHEDULE_SPREAD : KITH_QUIC_SCHEDULE_FIRST;
        }
        KITH_ASSERT(kith_quic_host_new(&options, &ops->sides[i].host) == 0);
        ops->sides[i].outer = (struct kith_sockaddr) { .ip = { 10, 0, 0, (uint8_t)(i + 1) },
                                                       .port = (uint16_t)(1000 + i),
                                                       .family = KITH_FAMILY_V4 };
    }
    connect.remotes = &ops->sides[1].outer;
    connect.remote_id = kith_quic_host_id(ops->sides[1].host);
    KITH_ASSERT(kith_quic_connect(ops->sides[0].host, &connect, ops->now_ns, &ops->sides[0].conn) == 0);
    ops_settle(ops);
}

/** The network heals, both sides close, and within the time of idle and draining all is over. */
static void ops_end(struct ops *ops)
{
    ops->dead_ways = 0;
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 2; i++)
            while (ops->sides[i].queued != 0)
                ops_deliver(ops, i, 0, false);
        if (round == 20)
            for (int i = 0; i < 2; i++)
                if (ops->sides[i].conn != NULL)
                    kith_quic_conn_close(ops->sides[i].conn, 1, (struct kith_slice) { 0 }, ops->now_ns);
        ops_settle(ops);
        ops_advance(ops, round < 40 ? 50 * KITH_NS_PER_MS : KITH_NS_PER_S);
        ops_settle(ops);
    }
    for (int i = 0; i < 2; i++)
        KITH_ASSERT(ops->sides[i].conn == NULL || ops->sides[i].is_drained);
}

static void ops_run(const uint8_t *bytes, size_t size)
{
    struct ops *ops = calloc(1, sizeof *ops);

    KITH_ASSERT(ops != NULL);
    ops->in = kith__reader(bytes, size);
    ops_start(ops);
    for (int n = 0; n < OPS_MAX && kith__reader_left(&ops->in) != 0; n++) {
        ops_one(ops);
        ops_settle(ops);
    }
    ops_end(ops);
    for (int i = 0; i < 2; i++) {
        while (ops->sides[i].queued != 0)
            ops_drop(ops, i);
        kith_quic_host_free(ops->sides[i].host);
    }
    free(ops);
}

#endif
