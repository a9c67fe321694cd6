#include "quic/path/cid_theirs.h"

#include "base/assert.h"
#include "base/mem.h"
#include "quic/wire/codes.h"

enum { NO_SLOT = KITH_CIDS_THEIRS_MAX, WINDOW_BITS = 128 };

void kith__cid_theirs_init(struct kith_cid_theirs *theirs, const struct kith_mem *mem)
{
    *theirs = (struct kith_cid_theirs) { .active = NO_SLOT, .mem = mem };
}

void kith__cid_theirs_dispose(struct kith_cid_theirs *theirs)
{
    kith__free(theirs->mem, theirs->retired);
    kith__cid_theirs_init(theirs, theirs->mem);
}

/** Was this sequence number seen? Numbers older than the window count as new: retiring one twice does no harm. */
static bool was_seen(const struct kith_cid_theirs *theirs, uint64_t sequence)
{
    uint64_t distance;

    if (sequence >= theirs->largest)
        return false;
    distance = theirs->largest - 1 - sequence;
    return distance < WINDOW_BITS && (theirs->window[distance / 64] >> distance % 64 & 1) != 0;
}

static void shift_window(uint64_t window[2], uint64_t by)
{
    if (by >= 64) {
        window[1] = by >= WINDOW_BITS ? 0 : window[0] << (by - 64);
        window[0] = 0;
    } else if (by != 0) {
        window[1] = window[1] << by | window[0] >> (64 - by);
        window[0] <<= by;
    }
}

static void mark_seen(struct kith_cid_theirs *theirs, uint64_t sequence)
{
    uint64_t distance;

    if (sequence >= theirs->largest) {
        shift_window(theirs->window, sequence + 1 - theirs->largest);
        theirs->largest = sequence + 1;
    }
    distance = theirs->largest - 1 - sequence;
    if (distance < WINDOW_BITS)
        theirs->window[distance / 64] |= 1ull << distance % 64;
}

static void activate(struct kith_cid_theirs *theirs, size_t index)
{
    theirs->active = (uint8_t)index;
    theirs->slots[index].was_active = true;
}

void kith__cid_theirs_set_first(struct kith_cid_theirs *theirs, const struct kith_cid *cid)
{
    struct kith_cid_theirs_slot *slot = &theirs->slots[0];

    KITH_ASSERT(theirs->largest <= 1); /* only before the peer issued others */
    *slot = (struct kith_cid_theirs_slot) { .cid = *cid, .is_used = true };
    mark_seen(theirs, 0);
    activate(theirs, 0);
}

void kith__cid_theirs_set_first_token(struct kith_cid_theirs *theirs, const uint8_t token[KITH_RESET_TOKEN_SIZE])
{
    for (size_t i = 0; i < KITH_CIDS_THEIRS_MAX; i++) {
        struct kith_cid_theirs_slot *slot = &theirs->slots[i];

        if (!slot->is_used || slot->sequence != 0)
            continue;
        memcpy(slot->reset_token, token, KITH_RESET_TOKEN_SIZE);
        slot->has_token = true;
    }
}

static int queue_retire(struct kith_cid_theirs *theirs, uint64_t sequence)
{
    struct kith_cid_retired *grown;

    if (theirs->retired_count == KITH_CIDS_RETIRED_MAX)
        return KITH_WIRE_CONNECTION_ID_LIMIT_ERROR;
    grown = kith__realloc(theirs->mem, theirs->retired, (theirs->retired_count + 1u) * sizeof *grown);
    if (grown == NULL)
        return KITH_ERR_NOMEM;
    theirs->retired = grown;
    theirs->retired[theirs->retired_count++] = (struct kith_cid_retired) { sequence, KITH_CID_RETIRE_QUEUED };
    return 0;
}

static int retire_slot(struct kith_cid_theirs *theirs, size_t index)
{
    int err = queue_retire(theirs, theirs->slots[index].sequence);

    if (err != 0)
        return err;
    theirs->slots[index] = (struct kith_cid_theirs_slot) { .is_used = false };
    if (theirs->active == index)
        theirs->active = NO_SLOT;
    return 0;
}

/** The fresh id with the lowest sequence number; NO_SLOT: none. */
static size_t find_spare(const struct kith_cid_theirs *theirs)
{
    size_t found = NO_SLOT;

    for (size_t i = 0; i < KITH_CIDS_THEIRS_MAX; i++) {
        const struct kith_cid_theirs_slot *slot = &theirs->slots[i];

        if (slot->is_used && !slot->was_active && (found == NO_SLOT || slot->sequence < theirs->slots[found].sequence))
            found = i;
    }
    return found;
}

/**
 * RFC 9000, 19.15: a number names one id and token for good, and an id has one number. *known: this is a repetition.
 */
static int check_known(struct kith_cid_theirs *theirs, const struct kith_cid_issue *issue, bool *known)
{
    for (size_t i = 0; i < KITH_CIDS_THEIRS_MAX; i++) {
        struct kith_cid_theirs_slot *slot = &theirs->slots[i];
        bool same_sequence = slot->sequence == issue->sequence, same_cid = kith__cid_equal(&slot->cid, &issue->cid);

        if (!slot->is_used || (!same_sequence && !same_cid))
            continue;
        if (same_sequence != same_cid)
            return KITH_WIRE_PROTOCOL_VIOLATION;
        if (slot->has_token && memcmp(slot->reset_token, issue->reset_token, KITH_RESET_TOKEN_SIZE) != 0)
            return KITH_WIRE_PROTOCOL_VIOLATION;
        *known = true;
    }
    *known |= was_seen(theirs, issue->sequence);
    return 0;
}

static int apply_retire_prior_to(struct kith_cid_theirs *theirs, uint64_t retire_prior_to)
{
    int err;

    theirs->retire_prior_to = KITH_MAX(theirs->retire_prior_to, retire_prior_to);
    for (size_t i = 0; i < KITH_CIDS_THEIRS_MAX; i++)
        if (theirs->slots[i].is_used && theirs->slots[i].sequence < theirs->retire_prior_to)
            if ((err = retire_slot(theirs, i)) != 0)
                return err;
    return 0;
}

static int add(struct kith_cid_theirs *theirs, const struct kith_cid_issue *issue)
{
    for (size_t i = 0; i < KITH_CIDS_THEIRS_MAX; i++) {
        struct kith_cid_theirs_slot *slot = &theirs->slots[i];

        if (slot->is_used)
            continue;
        *slot = (struct kith_cid_theirs_slot) {
            .cid = issue->cid, .sequence = issue->sequence, .is_used = true, .has_token = true
        };
        memcpy(slot->reset_token, issue->reset_token, KITH_RESET_TOKEN_SIZE);
        return 0;
    }
    return KITH_WIRE_CONNECTION_ID_LIMIT_ERROR;
}

int kith__cid_theirs_on_issue(struct kith_cid_theirs *theirs, const struct kith_cid_issue *issue, bool *active_changed)
{
    const struct kith_cid *active = kith__cid_theirs_active(theirs);
    bool known = false;
    size_t spare;
    int err;

    *active_changed = false;
    if (issue->retire_prior_to > issue->sequence || (active != NULL && active->size == 0))
        return KITH_WIRE_PROTOCOL_VIOLATION;
    if ((err = check_known(theirs, issue, &known)) != 0)
        return err;
    if ((err = apply_retire_prior_to(theirs, issue->retire_prior_to)) != 0)
        return err;
    if (!known) {
        mark_seen(theirs, issue->sequence);
        /* One that the peer wants retired already, overtaken by a later frame, is answered with its retirement only. */
        err = issue->sequence < theirs->retire_prior_to ? queue_retire(theirs, issue->sequence) : add(theirs, issue);
        if (err != 0)
            return err;
    }
    if (theirs->active == NO_SLOT && (spare = find_spare(theirs)) != NO_SLOT) {
        activate(theirs, spare);
        *active_changed = true;
    }
    return 0;
}

const struct kith_cid *kith__cid_theirs_active(const struct kith_cid_theirs *theirs)
{
    return theirs->active == NO_SLOT ? NULL : &theirs->slots[theirs->active].cid;
}

uint64_t kith__cid_theirs_active_sequence(const struct kith_cid_theirs *theirs)
{
    return theirs->active == NO_SLOT ? UINT64_MAX : theirs->slots[theirs->active].sequence;
}

size_t kith__cid_theirs_spares(const struct kith_cid_theirs *theirs)
{
    size_t count = 0;

    for (size_t i = 0; i < KITH_CIDS_THEIRS_MAX; i++)
        count += theirs->slots[i].is_used && !theirs->slots[i].was_active;
    return count;
}

bool kith__cid_theirs_switch(struct kith_cid_theirs *theirs)
{
    size_t spare = find_spare(theirs);

    if (spare == NO_SLOT || (theirs->active != NO_SLOT && retire_slot(theirs, theirs->active) != 0))
        return false;
    activate(theirs, spare);
    return true;
}

bool kith__cid_theirs_next_retire(const struct kith_cid_theirs *theirs, uint64_t *sequence)
{
    for (size_t i = 0; i < theirs->retired_count; i++) {
        if (theirs->retired[i].state == KITH_CID_RETIRE_QUEUED) {
            *sequence = theirs->retired[i].sequence;
            return true;
        }
    }
    return false;
}

/** Index of an open retirement; retired_count: none. */
static size_t find_retired(const struct kith_cid_theirs *theirs, uint64_t sequence)
{
    size_t i = 0;

    while (i < theirs->retired_count && theirs->retired[i].sequence != sequence)
        i++;
    return i;
}

void kith__cid_theirs_on_retire_sent(struct kith_cid_theirs *theirs, uint64_t sequence)
{
    size_t index = find_retired(theirs, sequence);

    if (index < theirs->retired_count)
        theirs->retired[index].state = KITH_CID_RETIRE_SENT;
}

void kith__cid_theirs_on_retire_acked(struct kith_cid_theirs *theirs, uint64_t sequence)
{
    size_t index = find_retired(theirs, sequence);

    if (index == theirs->retired_count)
        return;
    theirs->retired_count--;
    memmove(&theirs->retired[index], &theirs->retired[index + 1],
            (theirs->retired_count - index) * sizeof theirs->retired[0]);
    if (theirs->retired_count == 0) {
        kith__free(theirs->mem, theirs->retired);
        theirs->retired = NULL;
    }
}

void kith__cid_theirs_on_retire_lost(struct kith_cid_theirs *theirs, uint64_t sequence)
{
    size_t index = find_retired(theirs, sequence);

    if (index < theirs->retired_count)
        theirs->retired[index].state = KITH_CID_RETIRE_QUEUED;
}

bool kith__cid_theirs_is_reset(const struct kith_cid_theirs *theirs, const uint8_t token[KITH_RESET_TOKEN_SIZE])
{
    bool found = false;

    for (size_t i = 0; i < KITH_CIDS_THEIRS_MAX; i++) {
        const struct kith_cid_theirs_slot *slot = &theirs->slots[i];
        uint8_t difference = 0;

        for (size_t byte = 0; byte < KITH_RESET_TOKEN_SIZE; byte++)
            difference |= slot->reset_token[byte] ^ token[byte];
        found |= difference == 0 && slot->is_used && slot->has_token && slot->was_active;
    }
    return found;
}

const uint8_t *kith__cid_theirs_active_token(const struct kith_cid_theirs *theirs)
{
    if (theirs->active == NO_SLOT || !theirs->slots[theirs->active].has_token)
        return NULL;
    return theirs->slots[theirs->active].reset_token;
}

void kith__cid_theirs_forget(struct kith_cid_theirs *theirs)
{
    kith__cid_theirs_dispose(theirs);
}
