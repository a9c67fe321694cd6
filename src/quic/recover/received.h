/**
 * The packet numbers received in one space: what was seen before, what to acknowledge, and when. Owner: the space, by
 * value. Before decryption counts: ask kith__received_is_duplicate; after it: kith__received_on_packet. Sending is a
 * question (is_due, is_useful), then kith__received_ranges, then kith__received_on_ack_sent.
 * Source: RFC 9000, 13.2; draft-ietf-quic-ack-frequency as in spec/01, 1.9.
 */
#ifndef KITH_QUIC_RECOVER_RECEIVED_H
#define KITH_QUIC_RECOVER_RECEIVED_H

#include "base/ranges.h"

enum {
    KITH_ACK_RANGES_MAX = 64,   /* in one ACK frame, and remembered; the lowest range is forgotten above it */
    KITH_RECEIVED_WINDOW = 129, /* numbers this far below the acknowledged ones are remembered to know duplicates */
    KITH_ACK_QUIET_MAX = 10,    /* more packets than this that ask for no ACK get one when something is sent anyway */
    KITH_ACK_THRESHOLD = 1,     /* default: the second ack-eliciting packet makes an ACK due */
    KITH_ACK_REORDERING = 1     /* default: any reordering makes an ACK due */
};

/** When we acknowledge data packets; one per connection, changed by the peer's ACK_FREQUENCY frames. */
struct kith_ack_policy {
    uint64_t threshold;     /* ack-eliciting packets that may wait; one more makes the ACK due */
    uint64_t reordering;    /* 0: reordering alone never makes an ACK due; 1: always; n: a gap n behind the newest */
    uint64_t delay_max_ns;  /* our max_ack_delay; the ACK is due after it */
    uint64_t sequence_next; /* ACK_FREQUENCY frames below this are old */
};

/** Defaults, with our own max_ack_delay. */
void kith__ack_policy_init(struct kith_ack_policy *policy, uint64_t delay_max_ns);
/**
 * Takes an ACK_FREQUENCY frame; all four fields are untrusted. Old sequence numbers are ignored. Returns 0, or the wire
 * code PROTOCOL_VIOLATION if the delay is below our min_ack_delay.
 */
int kith__ack_policy_on_frame(struct kith_ack_policy *policy, uint64_t sequence, uint64_t threshold, uint64_t delay_us,
                              uint64_t reordering, uint64_t delay_min_ns);

struct kith_received {
    struct kith_ranges seen;    /* at most KITH_ACK_RANGES_MAX */
    uint64_t floor;             /* all below counts as seen before */
    uint64_t ack_from;          /* the peer knows that we know: ranges that end at or below it are not sent again */
    uint64_t trim_end;          /* an ACK of ours that ends here or below may lack a number that came late */
    uint64_t largest_ns;        /* when the largest number arrived; the ACK delay counts from it */
    uint64_t eliciting_end;     /* largest ack-eliciting number + 1 */
    uint64_t reported_end;      /* largest number of the last ACK sent + 1 */
    uint64_t ecn[3];            /* packets with ECT(0), ECT(1), CE */
    uint64_t due_ns;            /* when an ACK must go; KITH_NEVER: none is owed */
    uint64_t eliciting_waiting; /* ack-eliciting packets since the last ACK */
    uint64_t quiet_waiting;     /* others since then */
    uint64_t duplicates;        /* counted for statistics */
};

/** Index of kith_received.ecn. */
enum { KITH_ECN_ECT0, KITH_ECN_ECT1, KITH_ECN_CE };

void kith__received_init(struct kith_received *received, const struct kith_mem *mem);
/** Frees the memory; the object is then as after init. */
void kith__received_dispose(struct kith_received *received);

/** One more than the largest number received, 0 if none: the base for decoding packet numbers (RFC 9000, A.3). */
static inline uint64_t kith__received_end(const struct kith_received *received)
{
    return received->seen.count == 0 ? received->floor : kith__ranges_at(&received->seen, received->seen.count - 1).end;
}
/** True if the number was received before or is too old to know: drop the packet. */
static inline bool kith__received_is_duplicate(const struct kith_received *received, uint64_t number)
{
    return number < received->floor ||
           (number < kith__received_end(received) && kith__ranges_contains(&received->seen, number));
}
/**
 * Takes an authenticated packet, < 2^62 and not a duplicate (asserted).
 *   eliciting  it has a frame that asks for an ACK
 *   ecn        the two bits of the IP header: 0 not-ECT, 1 ECT(1), 2 ECT(0), 3 CE
 *   policy     NULL: every ack-eliciting packet is acknowledged at once (Initial and Handshake)
 * KITH_ERR_NOMEM: nothing changed; drop the packet.
 */
KITH_MUST_USE int kith__received_on_packet(struct kith_received *received, uint64_t number, bool eliciting, uint8_t ecn,
                                           const struct kith_ack_policy *policy, uint64_t now_ns);
/** IMMEDIATE_ACK, or a packet after which nothing may wait (end of a path): what is unacknowledged is due now. */
void kith__received_ack_now(struct kith_received *received, uint64_t now_ns);

/** The last ACK may be lost for good: what was received is due to be acknowledged once more. False: nothing was received. */
bool kith__received_ack_again(struct kith_received *received, uint64_t now_ns);

/** When is_due becomes true by itself; KITH_NEVER if no ACK is owed. */
static inline uint64_t kith__received_deadline(const struct kith_received *received)
{
    return received->due_ns;
}
/** An ACK must be sent now. */
static inline bool kith__received_is_due(const struct kith_received *received, uint64_t now_ns)
{
    return received->due_ns <= now_ns;
}
/** An ACK should go along with a packet that is sent for another reason. */
static inline bool kith__received_is_useful(const struct kith_received *received)
{
    return received->eliciting_waiting != 0 || received->quiet_waiting > KITH_ACK_QUIET_MAX;
}
/**
 * The ranges for an ACK frame, newest first, half open; returns how many (0: nothing was received yet). Includes old
 * ranges until the peer acknowledged an ACK with them.
 */
size_t kith__received_ranges(const struct kith_received *received, struct kith_range out[KITH_ACK_RANGES_MAX]);
/** Time since the largest number arrived, for the ACK Delay field. */
static inline uint64_t kith__received_ack_delay(const struct kith_received *received, uint64_t now_ns)
{
    return now_ns > received->largest_ns ? now_ns - received->largest_ns : 0;
}
/** An ACK with all ranges goes out. Returns its largest number + 1, to be kept with the packet (kith_sent.acks). */
uint64_t kith__received_on_ack_sent(struct kith_received *received);
/** The peer acknowledged a packet of ours whose ACK ended at `acks` (as on_ack_sent returned it). */
void kith__received_on_ack_acked(struct kith_received *received, uint64_t acks);

#endif
