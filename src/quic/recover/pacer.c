#include "quic/recover/pacer.h"

#include "base/assert.h"

enum { UDP_SIZE_FIRST = 1200 };

void kith__pacer_init(struct kith_pacer *pacer, bool on, uint64_t now_ns)
{
    *pacer = (struct kith_pacer) { .capacity = on ? KITH_PACER_BURST_PACKETS_MIN * UDP_SIZE_FIRST : 0,
                                   .last_ns = now_ns,
                                   .udp_size = UDP_SIZE_FIRST };
    pacer->tokens = pacer->capacity;
}

/**
 * How much the bucket takes. One that was emptied has data waiting: the time until the sender comes back is not idle time
 * but the slack of its timer, a millisecond on a quiet machine and many on a busy one, and what it brings is not lost.
 */
static uint64_t room(const struct kith_pacer *pacer)
{
    uint64_t late = KITH_MIN(pacer->rate / (KITH_NS_PER_S / KITH_PACER_LATE_NS), (uint64_t)KITH_PACER_LATE_MAX);

    return pacer->is_emptied ? KITH_MAX(pacer->capacity, late) : pacer->capacity;
}

/**
 * room <= 2^24 (256 packets of 64 KiB), so that room * 10^9 fits. Whole bytes are added; the rest of the
 * time stays.
 */
static void refill(struct kith_pacer *pacer, uint64_t now_ns)
{
    uint64_t elapsed_ns = now_ns - KITH_MIN(now_ns, pacer->last_ns), added;
    uint64_t full = room(pacer), missing = full - KITH_MIN(full, pacer->tokens);

    if (pacer->rate == 0)
        return;
    if (elapsed_ns / KITH_NS_PER_S >= missing / pacer->rate + 1 || elapsed_ns > UINT64_MAX / pacer->rate) {
        added = missing;
    } else {
        added = KITH_MIN(elapsed_ns * pacer->rate / KITH_NS_PER_S, missing);
    }
    pacer->tokens += added;
    if (pacer->tokens >= full)
        pacer->last_ns = now_ns;
    else
        pacer->last_ns += added * KITH_NS_PER_S / pacer->rate;
}

void kith__pacer_update(struct kith_pacer *pacer, uint64_t window, uint64_t smoothed_ns, uint16_t udp_size,
                        uint64_t now_ns)
{
    uint64_t burst;

    if (pacer->capacity == 0) /* switched off */
        return;
    refill(pacer, now_ns);
    window = KITH_MIN(window, UINT64_MAX / KITH_NS_PER_S / 2);
    smoothed_ns = KITH_MAX(smoothed_ns, 1000u);
    /* 5/4 window a round trip; the window is bounded above so that the product fits. */
    pacer->rate = KITH_MAX(window * KITH_NS_PER_S / smoothed_ns / 4 * 5, 1u);
    burst = pacer->rate / (KITH_NS_PER_S / KITH_PACER_BURST_NS);
    burst = KITH_MAX(burst, KITH_PACER_BURST_PACKETS_MIN * (uint64_t)udp_size);
    burst = KITH_MIN(burst, KITH_PACER_BURST_PACKETS_MAX * (uint64_t)udp_size);
    pacer->udp_size = udp_size;
    pacer->capacity = burst;
    pacer->tokens = KITH_MIN(pacer->tokens, room(pacer));
}

/** Where an emptied bucket opens again: never above the half that the deadline waits for. */
static uint64_t worth_sending(const struct kith_pacer *pacer)
{
    uint64_t pause = pacer->rate / (KITH_NS_PER_S / KITH_PACER_PAUSE_NS);

    return KITH_MAX(KITH_MIN(pause, pacer->capacity / 2), (uint64_t)pacer->udp_size);
}

size_t kith__pacer_allowed(struct kith_pacer *pacer, uint64_t now_ns)
{
    if (pacer->rate == 0)
        return pacer->capacity == 0 ? SIZE_MAX : (size_t)pacer->tokens;
    refill(pacer, now_ns);
    if (pacer->is_emptied && pacer->tokens < worth_sending(pacer))
        return 0;
    pacer->is_emptied = false;
    return (size_t)pacer->tokens;
}

void kith__pacer_on_sent(struct kith_pacer *pacer, size_t size)
{
    pacer->tokens -= KITH_MIN(pacer->tokens, size);
    if (pacer->tokens < pacer->udp_size)
        pacer->is_emptied = true;
}

uint64_t kith__pacer_deadline(const struct kith_pacer *pacer, size_t size)
{
    uint64_t want = KITH_MIN(KITH_MAX(pacer->capacity / 2, size), pacer->capacity), missing;

    if (pacer->rate == 0 || (pacer->tokens >= size && (!pacer->is_emptied || pacer->tokens >= worth_sending(pacer))))
        return pacer->last_ns;
    missing = want > pacer->tokens ? want - pacer->tokens : 0;
    return pacer->last_ns + (missing * KITH_NS_PER_S + pacer->rate - 1) / pacer->rate;
}
