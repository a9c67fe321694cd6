/**
 * The life of a connection as one machine: what it waits for, and the only function that moves it. Everything that asks
 * "may I still ...?" asks here. Source: RFC 9000, 10; RFC 9001, 4.1.
 */
#ifndef KITH_QUIC_CONN_PHASE_H
#define KITH_QUIC_CONN_PHASE_H

#include <kith/types.h>

enum kith_phase {
    KITH_PHASE_HANDSHAKING, /* the peer's Finished is not verified yet */
    KITH_PHASE_ESTABLISHED, /* the handshake is complete, but not confirmed (RFC 9001, 4.1.2) */
    KITH_PHASE_CONFIRMED,
    KITH_PHASE_CLOSING,  /* we sent (or owe) a close frame; answer packets with it until three PTOs are over */
    KITH_PHASE_DRAINING, /* the peer closed or reset: send nothing (but one echo), wait for three PTOs */
    KITH_PHASE_DRAINED,  /* nothing is left to do */
    KITH_PHASE_COUNT
};

/** Moves *phase on. The move must be in the table (an own invariant: asserted). */
void kith__phase_enter(uint8_t *phase, enum kith_phase next);

/** True while frames are exchanged: neither side has closed. */
static inline bool kith__phase_is_open(uint8_t phase)
{
    return phase <= KITH_PHASE_CONFIRMED;
}
/** True when the handshake is complete and nobody has closed. */
static inline bool kith__phase_is_established(uint8_t phase)
{
    return phase == KITH_PHASE_ESTABLISHED || phase == KITH_PHASE_CONFIRMED;
}

#endif
