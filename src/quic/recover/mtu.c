#include "quic/recover/mtu.h"

#include "base/assert.h"

/** The search is over; the next begins at again_ns. */
static void rest(struct kith_mtu *mtu, uint64_t again_ns)
{
    mtu->state = KITH_MTU_DONE;
    mtu->again_ns = mtu->size < mtu->max ? again_ns : KITH_NEVER;
}

/**
 * Halves the distance between what works and what may not. When the halves get small the upper bound itself is tried:
 * most paths carry all or end well below. `last` is the size tried before.
 */
static void pick(struct kith_mtu *mtu, uint16_t last, uint64_t now_ns)
{
    uint16_t middle = (uint16_t)((mtu->size + mtu->high) / 2);
    int step = middle > last ? middle - last : last - middle;

    mtu->tries = 0;
    mtu->state = KITH_MTU_SEARCHING;
    if (step >= KITH_MTU_STEP_MIN)
        mtu->probe_size = middle;
    else if (mtu->high - last >= KITH_MTU_STEP_MIN)
        mtu->probe_size = mtu->high;
    else
        rest(mtu, now_ns + KITH_MTU_SEARCH_AGAIN_NS);
}

void kith__mtu_init(struct kith_mtu *mtu, bool on, uint16_t initial, uint16_t max)
{
    KITH_ASSERT(initial >= KITH_MTU_BASE && initial <= max);
    *mtu =
        (struct kith_mtu) { .size = initial, .max = max, .high = max, .state = KITH_MTU_OFF, .again_ns = KITH_NEVER };
    if (on)
        pick(mtu, initial, 0);
}

void kith__mtu_set_peer_max(struct kith_mtu *mtu, uint64_t max)
{
    if (max >= mtu->max)
        return;
    mtu->max = (uint16_t)KITH_MAX(max, (uint64_t)KITH_MTU_BASE);
    mtu->size = KITH_MIN(mtu->size, mtu->max);
    mtu->high = KITH_MIN(mtu->high, mtu->max);
    if (mtu->state == KITH_MTU_SEARCHING || mtu->state == KITH_MTU_PROBE_OUT)
        pick(mtu, mtu->size, 0);
}

uint16_t kith__mtu_probe_size(struct kith_mtu *mtu, uint64_t now_ns)
{
    if (mtu->state == KITH_MTU_DONE && mtu->again_ns <= now_ns) {
        mtu->high = mtu->max;
        pick(mtu, mtu->size, now_ns);
    }
    return mtu->state == KITH_MTU_SEARCHING && mtu->start_ns <= now_ns ? mtu->probe_size : 0;
}

uint64_t kith__mtu_deadline(const struct kith_mtu *mtu)
{
    if (mtu->state == KITH_MTU_SEARCHING && mtu->start_ns != 0)
        return mtu->start_ns;
    return mtu->state == KITH_MTU_DONE ? mtu->again_ns : KITH_NEVER;
}

void kith__mtu_put_off(struct kith_mtu *mtu, uint64_t start_ns)
{
    mtu->start_ns = start_ns;
}

void kith__mtu_on_probe_sent(struct kith_mtu *mtu, uint64_t number)
{
    KITH_ASSERT(mtu->state == KITH_MTU_SEARCHING);
    mtu->state = KITH_MTU_PROBE_OUT;
    mtu->start_ns = 0;
    mtu->probe_number = number;
}

static bool is_current_probe(const struct kith_mtu *mtu, uint64_t number, bool is_probe)
{
    return is_probe && mtu->state == KITH_MTU_PROBE_OUT && mtu->probe_number == number;
}

bool kith__mtu_on_acked(struct kith_mtu *mtu, uint64_t number, uint16_t size, bool is_probe, uint64_t now_ns)
{
    if (mtu->holes != 0 && size >= mtu->hole_size_min) /* such sizes arrive: the bursts were congestion */
        mtu->holes = 0;
    mtu->burst_size_min = 0;
    if (!is_current_probe(mtu, number, is_probe))
        return false;
    mtu->size = KITH_MAX(mtu->size, KITH_MIN(size, mtu->max));
    pick(mtu, mtu->probe_size, now_ns);
    return true;
}

static void on_probe_lost(struct kith_mtu *mtu, uint64_t now_ns)
{
    mtu->probes_lost++;
    mtu->state = KITH_MTU_SEARCHING;
    if (++mtu->tries < KITH_MTU_TRIES_MAX)
        return;
    mtu->high = KITH_MAX((uint16_t)(mtu->probe_size - 1), mtu->size);
    pick(mtu, mtu->probe_size, now_ns);
}

/** Counts a burst when it begins, and takes the count back if a packet in it was small. Returns true at the limit. */
static bool on_burst(struct kith_mtu *mtu, uint64_t number, uint16_t size)
{
    bool goes_on = mtu->burst_size_min != 0 && number == mtu->burst_end;
    bool was_suspicious = goes_on && mtu->burst_size_min > KITH_MTU_BASE;

    mtu->burst_end = number + 1;
    mtu->burst_size_min = goes_on ? KITH_MIN(mtu->burst_size_min, size) : size;
    if (mtu->burst_size_min <= KITH_MTU_BASE) {
        if (was_suspicious && mtu->holes != 0)
            mtu->holes--;
        return false;
    }
    mtu->hole_size_min = mtu->holes == 0 ? mtu->burst_size_min : KITH_MIN(mtu->hole_size_min, mtu->burst_size_min);
    if (!was_suspicious)
        mtu->holes++;
    return mtu->holes > KITH_MTU_HOLES_MAX;
}

bool kith__mtu_on_lost(struct kith_mtu *mtu, uint64_t number, uint16_t size, bool is_probe, uint64_t now_ns)
{
    if (is_probe) {
        if (is_current_probe(mtu, number, is_probe))
            on_probe_lost(mtu, now_ns);
        return false;
    }
    if (mtu->size == KITH_MTU_BASE || !on_burst(mtu, number, size))
        return false;
    mtu->size = KITH_MTU_BASE;
    mtu->high = mtu->max;
    mtu->holes = 0;
    mtu->burst_size_min = 0;
    mtu->black_holes++;
    if (mtu->state != KITH_MTU_OFF)
        rest(mtu, now_ns + KITH_MTU_COOL_DOWN_NS);
    return true;
}
