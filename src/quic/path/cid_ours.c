#include "quic/path/cid_ours.h"

#include "base/assert.h"
#include "quic/wire/codes.h"

void kith__cid_ours_init(struct kith_cid_ours *ours)
{
    *ours = (struct kith_cid_ours) { .limit = 1 };
}

void kith__cid_ours_set_limit(struct kith_cid_ours *ours, uint64_t limit)
{
    ours->limit = (uint8_t)KITH_MAX(ours->limit, KITH_MIN(limit, (uint64_t)KITH_CIDS_OURS_MAX));
}

static struct kith_cid_ours_slot *find_slot(struct kith_cid_ours *ours, uint64_t sequence)
{
    for (size_t i = 0; i < KITH_CIDS_OURS_MAX; i++)
        if (ours->slots[i].state != KITH_CID_FREE && ours->slots[i].sequence == sequence)
            return &ours->slots[i];
    return NULL;
}

static struct kith_cid_ours_slot *find_free(struct kith_cid_ours *ours)
{
    for (size_t i = 0; i < KITH_CIDS_OURS_MAX; i++)
        if (ours->slots[i].state == KITH_CID_FREE)
            return &ours->slots[i];
    return NULL;
}

size_t kith__cid_ours_wanted(const struct kith_cid_ours *ours)
{
    size_t live = 0;

    for (size_t i = 0; i < KITH_CIDS_OURS_MAX; i++)
        live += ours->slots[i].state != KITH_CID_FREE;
    return live >= ours->limit ? 0 : (size_t)ours->limit - live;
}

uint64_t kith__cid_ours_add(struct kith_cid_ours *ours, const struct kith_cid *cid, bool announced)
{
    struct kith_cid_ours_slot *slot = find_free(ours);

    KITH_ASSERT(slot != NULL);
    slot->cid = *cid;
    slot->state = announced ? KITH_CID_KNOWN : KITH_CID_QUEUED;
    slot->sequence = ours->next_sequence++;
    return slot->sequence;
}

bool kith__cid_ours_next(const struct kith_cid_ours *ours, struct kith_cid_issue *out)
{
    const struct kith_cid_ours_slot *next = NULL;

    for (size_t i = 0; i < KITH_CIDS_OURS_MAX; i++) {
        const struct kith_cid_ours_slot *slot = &ours->slots[i];

        if (slot->state == KITH_CID_QUEUED && (next == NULL || slot->sequence < next->sequence))
            next = slot;
    }
    if (next == NULL)
        return false;
    *out = (struct kith_cid_issue) { .sequence = next->sequence, .cid = next->cid };
    return true;
}

void kith__cid_ours_on_sent(struct kith_cid_ours *ours, uint64_t sequence)
{
    struct kith_cid_ours_slot *slot = find_slot(ours, sequence);

    if (slot != NULL && slot->state == KITH_CID_QUEUED)
        slot->state = KITH_CID_SENT;
}

void kith__cid_ours_on_acked(struct kith_cid_ours *ours, uint64_t sequence)
{
    struct kith_cid_ours_slot *slot = find_slot(ours, sequence);

    if (slot != NULL)
        slot->state = KITH_CID_KNOWN;
}

void kith__cid_ours_on_lost(struct kith_cid_ours *ours, uint64_t sequence)
{
    struct kith_cid_ours_slot *slot = find_slot(ours, sequence);

    if (slot != NULL && slot->state == KITH_CID_SENT)
        slot->state = KITH_CID_QUEUED;
}

int kith__cid_ours_on_retire(struct kith_cid_ours *ours, uint64_t sequence, uint64_t used_sequence,
                             struct kith_cid *removed)
{
    struct kith_cid_ours_slot *slot = find_slot(ours, sequence);

    if (sequence >= ours->next_sequence || sequence == used_sequence)
        return KITH_WIRE_PROTOCOL_VIOLATION;
    *removed = slot != NULL ? slot->cid : (struct kith_cid) { .size = 0 };
    if (slot != NULL)
        *slot = (struct kith_cid_ours_slot) { .state = KITH_CID_FREE };
    return 0;
}

uint64_t kith__cid_ours_find(const struct kith_cid_ours *ours, const struct kith_cid *cid)
{
    for (size_t i = 0; i < KITH_CIDS_OURS_MAX; i++)
        if (ours->slots[i].state != KITH_CID_FREE && kith__cid_equal(&ours->slots[i].cid, cid))
            return ours->slots[i].sequence;
    return UINT64_MAX;
}

const struct kith_cid *kith__cid_ours_at(const struct kith_cid_ours *ours, size_t index)
{
    for (size_t i = 0; i < KITH_CIDS_OURS_MAX; i++)
        if (ours->slots[i].state != KITH_CID_FREE && index-- == 0)
            return &ours->slots[i].cid;
    return NULL;
}
