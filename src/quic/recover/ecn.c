#include "quic/recover/ecn.h"

#include "base/assert.h"

void kith__ecn_init(struct kith_ecn *ecn, bool on)
{
    *ecn = (struct kith_ecn) { .state = on ? KITH_ECN_TESTING : KITH_ECN_OFF };
}

void kith__ecn_restart(struct kith_ecn *ecn)
{
    if (ecn->state != KITH_ECN_OFF)
        ecn->state = KITH_ECN_TESTING;
    ecn->marked_lost = 0;
}

void kith__ecn_on_lost(struct kith_ecn *ecn)
{
    if (ecn->state == KITH_ECN_TESTING && ++ecn->marked_lost >= KITH_ECN_TEST_PACKETS)
        ecn->state = KITH_ECN_FAILED;
}

/** RFC 9000, 13.4.2.1: can these counts be true? */
static bool is_consistent(const struct kith_ecn *ecn, const struct kith_ecn_counts *before,
                          const struct kith_ecn_counts *counts, uint64_t acked_marked)
{
    if (counts->ect0 < before->ect0 || counts->ce < before->ce || counts->ect1 != 0)
        return false; /* counts shrink, or a mark came up that we never set */
    if (counts->ect0 - before->ect0 + (counts->ce - before->ce) < acked_marked)
        return false; /* marks were removed on the way */
    return counts->ect0 <= ecn->marked_sent && counts->ce <= ecn->marked_sent - counts->ect0;
}

uint64_t kith__ecn_on_ack(struct kith_ecn *ecn, enum kith_space space, uint64_t acked_marked,
                          const struct kith_ecn_counts *counts, bool largest_moved)
{
    struct kith_ecn_counts *before = &ecn->peer[space];
    uint64_t ce;

    if (kith__ecn_mark(ecn) == 0 || !largest_moved)
        return 0;
    if (counts == NULL) {
        if (acked_marked != 0)
            ecn->state = KITH_ECN_FAILED;
        return 0;
    }
    if (!is_consistent(ecn, before, counts, acked_marked)) {
        ecn->state = KITH_ECN_FAILED;
        return 0;
    }
    ce = counts->ce - before->ce;
    *before = *counts;
    if (acked_marked != 0)
        ecn->state = KITH_ECN_CAPABLE;
    ecn->ce_total += ce;
    return ce;
}
