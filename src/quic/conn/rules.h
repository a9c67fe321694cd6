/**
 * Test only: a peer that may do anything. It seals packets of any level with any frames past all checks of the sender,
 * and hands them over at once.
 */
#ifndef KITH_QUIC_CONN_RULES_H
#define KITH_QUIC_CONN_RULES_H

#include "quic/conn/app.h"

#include "base/test.h"
#include "quic/conn/packet_out.h"
#include "quic/host/host.h"

#include <string.h>

enum { RULES_DATAGRAM_MAX = 1500 };

/** A datagram from any port of the other side's address. */
static inline void rules_give(struct kith_pair *pair, int to, uint8_t *bytes, size_t size, uint16_t port)
{
    struct kith_quic_received received = {
        .local = pair->sides[to].inner, .remote = pair->sides[1 - to].outer, .bytes = bytes, .size = size
    };

    received.remote.port = port;
    kith_quic_host_receive(pair->sides[to].host, &received, pair->now_ns);
}

/**
 * Seals frames; flip: bits of the first byte to change before that; pad_to: bytes of PADDING make it so large. Returns
 * the size.
 */
static inline size_t rules_seal(struct kith_quic_conn *conn, enum kith_level level, uint8_t flip, const uint8_t *frames,
                                size_t size, size_t pad_to, uint8_t datagram[RULES_DATAGRAM_MAX])
{
    struct kith_packet_out out;
    size_t sealed;

    KITH_CHECK_EQ(kith__packet_out_begin(&out, conn, conn->paths[0], level, datagram, RULES_DATAGRAM_MAX), 0);
    KITH_CHECK_EQ(kith__write_bytes(&out.w, frames, size), 0);
    kith__packet_out_pad(&out, pad_to);
    datagram[0] ^= flip;
    sealed = kith__packet_out_size(&out);
    KITH_CHECK_EQ(kith__packet_out_end(&out), 0);
    return sealed;
}

/** The same, handed over from the side's own address. Initial packets are padded to 1200 bytes. */
static inline void rules_inject(struct kith_pair *pair, int from, enum kith_level level, const void *frames,
                                size_t size)
{
    uint8_t datagram[RULES_DATAGRAM_MAX];
    size_t sealed = rules_seal(pair->sides[from].conn, level, 0, frames, size, level == KITH_LEVEL_INITIAL ? 1200 : 0,
                               datagram);

    rules_give(pair, 1 - from, datagram, sealed, pair->sides[from].outer.port);
}

/**
 * For taps: true once, when the server's first datagram is on its way; the client has it then, before anybody else
 * speaks. The tap should drop it.
 */
static inline bool rules_is_first_flight(struct kith_pair *pair, int sender, const uint8_t *bytes, size_t size)
{
    uint8_t copy[RULES_DATAGRAM_MAX];

    if (sender != 1 || pair->user_flag != 0)
        return false;
    pair->user_flag = 1;
    memcpy(copy, bytes, size);
    rules_give(pair, 0, copy, size, pair->sides[1].outer.port);
    return true;
}

/** Two hosts that are connected, confirmed, and quiet. */
static inline void rules_connect(struct kith_pair *pair, struct kith_app *app, const struct kith_pair_config *config)
{
    struct kith_pair_config defaults;

    kith__pair_defaults(&defaults);
    KITH_CHECK_EQ(kith__pair_init(pair, config != NULL ? config : &defaults), 0);
    kith__app_attach(app, pair);
    KITH_CHECK(kith__pair_connect(pair));
    kith__pair_run(pair, KITH_NS_PER_S);
}

static inline struct kith_quic_conn_stats rules_stats(const struct kith_pair *pair, int side)
{
    struct kith_quic_conn_stats stats;

    kith_quic_conn_stats(pair->sides[side].conn, &stats);
    return stats;
}

#endif
