/* The table of allowed moves of a connection's phase. */
#include "quic/conn/phase.h"

#include "base/assert.h"

static const uint8_t phase_moves[KITH_PHASE_COUNT] = {
    [KITH_PHASE_HANDSHAKING] = 1u << KITH_PHASE_ESTABLISHED | 1u << KITH_PHASE_CLOSING | 1u << KITH_PHASE_DRAINING |
                               1u << KITH_PHASE_DRAINED,
    [KITH_PHASE_ESTABLISHED] = 1u << KITH_PHASE_CONFIRMED | 1u << KITH_PHASE_CLOSING | 1u << KITH_PHASE_DRAINING |
                               1u << KITH_PHASE_DRAINED,
    [KITH_PHASE_CONFIRMED] = 1u << KITH_PHASE_CLOSING | 1u << KITH_PHASE_DRAINING | 1u << KITH_PHASE_DRAINED,
    [KITH_PHASE_CLOSING] = 1u << KITH_PHASE_DRAINING | 1u << KITH_PHASE_DRAINED,
    [KITH_PHASE_DRAINING] = 1u << KITH_PHASE_DRAINED,
    [KITH_PHASE_DRAINED] = 0,
};

void kith__phase_enter(uint8_t *phase, enum kith_phase next)
{
    KITH_ASSERT(*phase < KITH_PHASE_COUNT && (phase_moves[*phase] & 1u << next) != 0);
    *phase = (uint8_t)next;
}
