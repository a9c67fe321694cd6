#include "quic/recover/received.h"

#include "quic/wire/codes.h"

void kith__ack_policy_init(struct kith_ack_policy *policy, uint64_t delay_max_ns)
{
    *policy = (struct kith_ack_policy) { .threshold = KITH_ACK_THRESHOLD,
                                         .reordering = KITH_ACK_REORDERING,
                                         .delay_max_ns = delay_max_ns };
}

int kith__ack_policy_on_frame(struct kith_ack_policy *policy, uint64_t sequence, uint64_t threshold, uint64_t delay_us,
                              uint64_t reordering, uint64_t delay_min_ns)
{
    uint64_t delay_ns = delay_us > UINT64_MAX / KITH_NS_PER_US ? UINT64_MAX : delay_us * KITH_NS_PER_US;

    if (delay_ns < delay_min_ns)
        return KITH_WIRE_PROTOCOL_VIOLATION;
    if (sequence < policy->sequence_next)
        return 0;
    policy->sequence_next = sequence + 1;
    policy->threshold = threshold;
    policy->reordering = reordering;
    policy->delay_max_ns = KITH_MIN(delay_ns, KITH_NS_PER_MS << 14); /* the largest max_ack_delay there is: 2^14 ms */
    return 0;
}

void kith__received_init(struct kith_received *received, const struct kith_mem *mem)
{
    *received = (struct kith_received) { .due_ns = KITH_NEVER };
    kith__ranges_init(&received->seen, mem);
}

void kith__received_dispose(struct kith_received *received)
{
    const struct kith_mem *mem = received->seen.mem;

    kith__ranges_dispose(&received->seen);
    kith__received_init(received, mem);
}

/** Forgets the lowest range: what is below its end counts as seen. Removing a whole range never allocates. */
static void drop_lowest(struct kith_received *received)
{
    struct kith_range lowest = kith__ranges_at(&received->seen, 0);
    int err = kith__ranges_remove(&received->seen, lowest.begin, lowest.end);

    KITH_ASSERT(err == 0);
    received->floor = lowest.end;
}

/** The smallest number >= from that did not arrive. */
static uint64_t first_missing(const struct kith_received *received, uint64_t from)
{
    size_t index = kith__ranges_find(&received->seen, from);
    struct kith_range range;

    if (index == received->seen.count)
        return from;
    range = kith__ranges_at(&received->seen, index);
    return range.begin <= from ? range.end : from;
}

/**
 * Does this ack-eliciting packet, already in `seen`, show a gap that the sender should hear of at once? With a
 * threshold of
 * one: RFC 9000, 13.2.1; above: section 6.2 of the ACK frequency draft.
 */
static bool shows_reordering(const struct kith_received *received, uint64_t number, uint64_t eliciting_end,
                             uint64_t threshold)
{
    uint64_t newest = KITH_MAX(number + 1, eliciting_end);
    uint64_t from, missing;

    if (threshold == 0)
        return false;
    if (threshold == 1)
        return number < eliciting_end || first_missing(received, KITH_MAX(eliciting_end, received->floor)) < number;
    from = received->reported_end + 1 > threshold ? received->reported_end + 1 - threshold : 0;
    missing = first_missing(received, KITH_MAX(from, received->floor));
    return missing < newest && newest - 1 - missing >= threshold;
}

static void count_ecn(struct kith_received *received, uint8_t ecn)
{
    static const uint8_t index[] = { 0, KITH_ECN_ECT1, KITH_ECN_ECT0, KITH_ECN_CE };

    if ((ecn & 3) != 0)
        received->ecn[index[ecn & 3]]++;
}

int kith__received_on_packet(struct kith_received *received, uint64_t number, bool eliciting, uint8_t ecn,
                             const struct kith_ack_policy *policy, uint64_t now_ns)
{
    uint64_t end = kith__received_end(received), eliciting_end = received->eliciting_end;
    bool at_once;
    int err;

    KITH_ASSERT(!kith__received_is_duplicate(received, number));
    if ((err = kith__ranges_add(&received->seen, number, number + 1)) != 0)
        return err;
    if (number >= end)
        received->largest_ns = now_ns;
    if (number < received->reported_end) { /* came late: ACKs already sent do not tell of it */
        received->trim_end = received->reported_end;
        received->ack_from = KITH_MIN(received->ack_from, number);
    }
    count_ecn(received, ecn);
    if (!eliciting) {
        received->quiet_waiting++;
    } else {
        received->eliciting_end = KITH_MAX(eliciting_end, number + 1);
        received->eliciting_waiting++;
        at_once = policy == NULL || received->eliciting_waiting > policy->threshold || (ecn & 3) == 3 ||
                  shows_reordering(received, number, eliciting_end, policy->reordering);
        received->due_ns = KITH_MIN(received->due_ns, at_once ? now_ns : now_ns + policy->delay_max_ns);
    }
    if (received->seen.count > KITH_ACK_RANGES_MAX)
        drop_lowest(received);
    return 0;
}

void kith__received_ack_now(struct kith_received *received, uint64_t now_ns)
{
    if (received->eliciting_waiting != 0 || received->quiet_waiting != 0)
        received->due_ns = KITH_MIN(received->due_ns, now_ns);
}

bool kith__received_ack_again(struct kith_received *received, uint64_t now_ns)
{
    if (received->seen.count == 0)
        return false;
    received->due_ns = KITH_MIN(received->due_ns, now_ns);
    return true;
}

size_t kith__received_ranges(const struct kith_received *received, struct kith_range out[KITH_ACK_RANGES_MAX])
{
    size_t count = 0;

    for (size_t i = received->seen.count; i > 0 && count < KITH_ACK_RANGES_MAX; i--) {
        struct kith_range range = kith__ranges_at(&received->seen, i - 1);

        if (range.end <= received->ack_from && count != 0) /* the newest always goes: an ACK has at least one range */
            break;
        out[count++] = range;
    }
    return count;
}

uint64_t kith__received_on_ack_sent(struct kith_received *received)
{
    received->due_ns = KITH_NEVER;
    received->eliciting_waiting = 0;
    received->quiet_waiting = 0;
    received->reported_end = kith__received_end(received);
    return received->reported_end;
}

void kith__received_on_ack_acked(struct kith_received *received, uint64_t acks)
{
    if (acks <= received->trim_end || acks <= received->ack_from)
        return;
    received->ack_from = acks;
    while (received->seen.count > 1 &&
           kith__ranges_at(&received->seen, 0).end + KITH_RECEIVED_WINDOW <= received->ack_from)
        drop_lowest(received);
}
