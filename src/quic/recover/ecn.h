/**
 * Whether ECN works on one path. Packets are marked ECT(0) until an ACK proves that marks do not arrive or do not come
 * back right. Owner: the path, by value. Source: RFC 9000, 13.4.2 and A.4; spec/01, 1.10.
 */
#ifndef KITH_QUIC_RECOVER_ECN_H
#define KITH_QUIC_RECOVER_ECN_H

#include "quic/recover/space.h"
#include <kith/types.h>

enum {
    KITH_ECN_TEST_PACKETS = 10 /* if all of the first ten marked packets are lost, marks are thought to kill packets */
};

enum kith_ecn_state { KITH_ECN_OFF, KITH_ECN_TESTING, KITH_ECN_CAPABLE, KITH_ECN_FAILED };

/** Counts from an ACK frame, untrusted. Also our sums of them. */
struct kith_ecn_counts {
    uint64_t ect0, ect1, ce;
};

struct kith_ecn {
    uint8_t state;                                 /* enum kith_ecn_state */
    uint64_t marked_sent;                          /* packets that left with ECT(0) */
    uint64_t marked_lost;                          /* of these, declared lost before any was acknowledged */
    struct kith_ecn_counts peer[KITH_SPACE_COUNT]; /* highest counts the peer reported in each space */
    uint64_t ce_total;                             /* CE marks that were believed, for statistics */
};

/** on false: never marks. */
void kith__ecn_init(struct kith_ecn *ecn, bool on);
/** The two bits for the next packet's IP header: 2 = ECT(0), or 0. */
static inline uint8_t kith__ecn_mark(const struct kith_ecn *ecn)
{
    return ecn->state == KITH_ECN_TESTING || ecn->state == KITH_ECN_CAPABLE ? 2 : 0;
}
static inline void kith__ecn_on_sent(struct kith_ecn *ecn)
{
    ecn->marked_sent++;
}
/** A packet that left with ECT(0) was declared lost. */
void kith__ecn_on_lost(struct kith_ecn *ecn);
/**
 * Validates one ACK.
 *   acked_marked    newly acknowledged packets of this path that left with ECT(0)
 *   counts          NULL if the frame had none
 *   largest_moved   the ACK moved the largest acknowledged number: others may be reordered and are not looked at
 * Returns how many new CE marks the peer saw (> 0: a congestion event).
 */
uint64_t kith__ecn_on_ack(struct kith_ecn *ecn, enum kith_space space, uint64_t acked_marked,
                          const struct kith_ecn_counts *counts, bool largest_moved);
/** The path has another 4-tuple: tests again. The peer's counts go on, as they belong to the packet number space. */
void kith__ecn_restart(struct kith_ecn *ecn);

#endif
