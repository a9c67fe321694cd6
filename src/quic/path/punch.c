/*
 * Addresses of both sides and the frames about them. The lists grow by a few entries at a time and are freed when they
 * are empty: most connections have none of them.
 */
#include "quic/path/punch_inner.h"

#include "base/assert.h"
#include "base/mem.h"

enum { STEP = 4 };

void *kith__punch_room(const struct kith_punch *punch, void *list, size_t count, size_t size)
{
    return count % STEP == 0 ? kith__realloc(punch->mem, list, (count + STEP) * size) : list;
}

void *kith__punch_take_out(const struct kith_punch *punch, void *list, uint8_t *count, size_t index, size_t size)
{
    uint8_t *bytes = list;

    KITH_ASSERT(index < *count);
    --*count;
    memmove(bytes + index * size, bytes + (index + 1) * size, (*count - index) * size);
    if (*count != 0)
        return list;
    kith__free(punch->mem, list);
    return NULL;
}

bool kith__punch_is_usable(const struct kith_sockaddr *address)
{
    static const uint8_t zero[16], ones[4] = { 255, 255, 255, 255 };

    if (address->port == 0)
        return false;
    if (address->family == KITH_FAMILY_V4)
        return memcmp(address->ip, zero, 4) != 0 && memcmp(address->ip, ones, 4) != 0 && address->ip[0] >> 4 != 0xe;
    return address->family == KITH_FAMILY_V6 && memcmp(address->ip, zero, 16) != 0 && address->ip[0] != 0xff;
}

void kith__punch_init(struct kith_punch *punch, bool is_server, uint8_t local_max, const struct kith_mem *mem)
{
    KITH_ASSERT(local_max <= KITH_PUNCH_ADDRESSES_MAX);
    *punch = (struct kith_punch) { .is_server = is_server,
                                   .can_v4 = true,
                                   .can_v6 = true,
                                   .local_max = local_max,
                                   .expires_ns = KITH_NEVER,
                                   .starts = KITH_PUNCH_STARTS_MAX * UINT64_C(1000),
                                   .mem = mem };
}

void kith__punch_dispose(struct kith_punch *punch)
{
    kith__free(punch->mem, punch->ours);
    kith__free(punch->mem, punch->theirs);
    kith__free(punch->mem, punch->probes);
    kith__free(punch->mem, punch->ready);
    punch->ours = NULL;
    punch->theirs = NULL;
    punch->probes = NULL;
    punch->ready = NULL;
    punch->ours_count = punch->theirs_count = punch->gone_count = punch->probe_count = punch->ready_count = 0;
    punch->expires_ns = KITH_NEVER;
}

/** Server: advertises what waits, as long as the peer has room. A removed address keeps its place until the peer knows. */
static void advertise(struct kith_punch *punch)
{
    size_t told = 0;

    if (!punch->is_on || !punch->is_server)
        return;
    for (size_t i = 0; i < punch->ours_count; i++)
        told += punch->ours[i].intent != KITH_INTENT_NONE;
    for (size_t i = 0; i < punch->ours_count && told < punch->remote_max; i++)
        if (punch->ours[i].intent == KITH_INTENT_NONE) {
            punch->ours[i].intent = KITH_INTENT_DUE;
            told++;
        }
}

void kith__punch_start(struct kith_punch *punch, uint8_t remote_max)
{
    KITH_ASSERT(punch->local_max != 0 && remote_max != 0);
    punch->is_on = true;
    punch->remote_max = remote_max;
    advertise(punch);
}

void kith__punch_set_families(struct kith_punch *punch, bool can_v4, bool can_v6)
{
    punch->can_v4 = can_v4;
    punch->can_v6 = can_v6;
}

/* ---- Our own addresses ---- */

/** Index of an address that is not removed; count if there is none. */
static size_t find_ours(const struct kith_punch *punch, const struct kith_sockaddr *address)
{
    size_t i = 0;

    while (i < punch->ours_count &&
           (punch->ours[i].is_removed || !kith_sockaddr_equal(&punch->ours[i].address, address)))
        i++;
    return i;
}

static size_t removed_count(const struct kith_punch *punch)
{
    size_t count = 0;

    for (size_t i = 0; i < punch->ours_count; i++)
        count += punch->ours[i].is_removed;
    return count;
}

static void take_out_ours(struct kith_punch *punch, size_t index)
{
    punch->ours = kith__punch_take_out(punch, punch->ours, &punch->ours_count, index, sizeof *punch->ours);
    advertise(punch);
}

int kith__punch_add_ours(struct kith_punch *punch, const struct kith_sockaddr *address)
{
    struct kith_punch_ours *ours;

    if (!kith__punch_is_usable(address))
        return KITH_ERR_INVALID;
    if (find_ours(punch, address) < punch->ours_count)
        return KITH_ERR_EXISTS;
    if (punch->ours_count - removed_count(punch) == KITH_PUNCH_ADDRESSES_MAX)
        return KITH_ERR_LIMIT;
    ours = kith__punch_room(punch, punch->ours, punch->ours_count, sizeof *ours);
    if (ours == NULL)
        return KITH_ERR_NOMEM;
    punch->ours = ours;
    ours[punch->ours_count++] = (struct kith_punch_ours) { .address = *address, .sequence = punch->next_sequence++ };
    advertise(punch);
    return 0;
}

int kith__punch_remove_ours(struct kith_punch *punch, const struct kith_sockaddr *address)
{
    size_t index = find_ours(punch, address);

    if (index == punch->ours_count)
        return KITH_ERR_NOT_FOUND;
    if (!punch->ours[index].was_sent) { /* at a client always: its addresses live for a round only */
        take_out_ours(punch, index);
        return 0;
    }
    if (removed_count(punch) == KITH_PUNCH_REMOVED_MAX)
        return KITH_ERR_LIMIT;
    punch->ours[index].is_removed = true;
    punch->ours[index].intent = KITH_INTENT_DUE;
    return 0;
}

/* ---- Frames from the peer ---- */

int kith__punch_check(const struct kith_punch *punch, uint64_t type, const char **reason)
{
    static const char *const texts[][2] = {
        { "Nat traversal(ADD_ADDRESS): n0's nat traversal was not negotiated",
          "Nat traversal(ADD_ADDRESS): Not allowed for this endpoint's connection side" },
        { "Nat traversal(REACH_OUT): n0's nat traversal was not negotiated",
          "Nat traversal(REACH_OUT): Not allowed for this endpoint's connection side" },
        { "Nat traversal(REMOVE_ADDRESS): n0's nat traversal was not negotiated",
          "Nat traversal(REMOVE_ADDRESS): Not allowed for this endpoint's connection side" },
    };
    bool is_reach_out = type == KITH_FRAME_REACH_OUT_V4 || type == KITH_FRAME_REACH_OUT_V6;
    size_t row = is_reach_out ? 1 : type == KITH_FRAME_REMOVE_ADDRESS ? 2 : 0;

    if (punch->is_on && punch->is_server == is_reach_out)
        return 0;
    *reason = texts[row][punch->is_on];
    return KITH_WIRE_PROTOCOL_VIOLATION;
}

/** The first of the server's entries in [begin, end) that has this address; `end` if there is none. */
static size_t find_address(const struct kith_punch *punch, size_t begin, size_t end,
                           const struct kith_sockaddr *address)
{
    while (begin < end && !kith_sockaddr_equal(&punch->theirs[begin].address, address))
        begin++;
    return begin;
}

static size_t find_theirs(const struct kith_punch *punch, uint64_t sequence)
{
    size_t i = 0;

    while (i < punch->theirs_count && punch->theirs[i].sequence != sequence)
        i++;
    return i;
}

/** Takes an entry, live or gone, out of the list; `count` is the one of the two that it belongs to. */
static void drop_theirs(struct kith_punch *punch, size_t index, uint8_t *count)
{
    uint8_t all = punch->theirs_count + punch->gone_count;

    punch->theirs = kith__punch_take_out(punch, punch->theirs, &all, index, sizeof *punch->theirs);
    --*count;
}

/** Takes an entry out. Other entries may have the same address: it is lost only with the last. */
static void take_out_theirs(struct kith_punch *punch, size_t index, struct kith_punch_change *change)
{
    struct kith_punch_theirs entry = punch->theirs[index];
    size_t all = (size_t)punch->theirs_count + punch->gone_count;

    if (find_address(punch, 0, index, &entry.address) < index ||
        find_address(punch, index + 1, punch->theirs_count, &entry.address) < punch->theirs_count) {
        drop_theirs(punch, index, &punch->theirs_count);
        return;
    }
    change->has_removed = true;
    change->removed = entry.address;
    kith__punch_forget(punch, &entry.address);
    if (!entry.is_told) {
        drop_theirs(punch, index, &punch->theirs_count);
        return;
    }
    memmove(&punch->theirs[index], &punch->theirs[index + 1], (all - index - 1) * sizeof entry);
    punch->theirs[all - 1] = entry;
    punch->theirs_count--;
    punch->gone_count++;
}

/** Adds an entry behind the live ones. False without memory. */
static bool add_theirs(struct kith_punch *punch, uint64_t sequence, const struct kith_sockaddr *address, bool is_told)
{
    size_t all = (size_t)punch->theirs_count + punch->gone_count;
    struct kith_punch_theirs *theirs = kith__punch_room(punch, punch->theirs, all, sizeof *theirs);

    if (theirs == NULL)
        return false;
    punch->theirs = theirs;
    theirs += punch->theirs_count++;
    memmove(theirs + 1, theirs, punch->gone_count * sizeof *theirs);
    *theirs = (struct kith_punch_theirs) { .address = *address, .sequence = sequence, .is_told = is_told };
    return true;
}

void kith__punch_on_add_address(struct kith_punch *punch, uint64_t sequence, const struct kith_sockaddr *address,
                                struct kith_punch_change *change)
{
    size_t index = find_theirs(punch, sequence), twin, gone, all;
    bool is_told;

    KITH_ASSERT(punch->is_on && !punch->is_server);
    *change = (struct kith_punch_change) { .has_added = false };
    if (index < punch->theirs_count) {
        if (kith_sockaddr_equal(&punch->theirs[index].address, address)) {
            punch->ignored++;
            return;
        }
        take_out_theirs(punch, index, change);
    }
    twin = find_address(punch, 0, punch->theirs_count, address);
    all = (size_t)punch->theirs_count + punch->gone_count;
    gone = find_address(punch, punch->theirs_count, all, address);
    change->has_added = twin == punch->theirs_count;
    change->added = *address;
    is_told = gone < all || (!change->has_added && punch->theirs[twin].is_told);
    if (punch->theirs_count == punch->local_max || !kith__punch_is_usable(address) ||
        !add_theirs(punch, sequence, address, is_told)) {
        punch->dropped++;
        change->has_added = false;
        return;
    }
    if (gone < all) /* the user was not told that it had gone */
        drop_theirs(punch, gone + 1, &punch->gone_count);
}

void kith__punch_on_remove_address(struct kith_punch *punch, uint64_t sequence, struct kith_punch_change *change)
{
    size_t index = find_theirs(punch, sequence);

    KITH_ASSERT(punch->is_on && !punch->is_server);
    *change = (struct kith_punch_change) { .has_added = false };
    if (index < punch->theirs_count)
        take_out_theirs(punch, index, change);
    else
        punch->ignored++;
}

bool kith__punch_has_news(const struct kith_punch *punch)
{
    size_t i = 0;

    while (i < punch->theirs_count && punch->theirs[i].is_told)
        i++;
    return punch->gone_count != 0 || i < punch->theirs_count;
}

bool kith__punch_next_news(struct kith_punch *punch, struct kith_punch_news *out)
{
    size_t i = 0;

    if (punch->gone_count != 0) { /* first: so that the user never knows more addresses than there can be */
        *out = (struct kith_punch_news) { .is_added = false, .address = punch->theirs[punch->theirs_count].address };
        drop_theirs(punch, punch->theirs_count, &punch->gone_count);
        return true;
    }
    while (i < punch->theirs_count && punch->theirs[i].is_told)
        i++;
    if (i == punch->theirs_count)
        return false;
    *out = (struct kith_punch_news) { .is_added = true, .address = punch->theirs[i].address };
    for (; i < punch->theirs_count; i++)
        punch->theirs[i].is_told |= kith_sockaddr_equal(&punch->theirs[i].address, &out->address);
    return true;
}

/* ---- Frames to the peer ---- */

bool kith__punch_next(const struct kith_punch *punch, struct kith_punch_frame *out)
{
    for (size_t i = 0; i < punch->ours_count; i++) {
        const struct kith_punch_ours *ours = &punch->ours[i];

        if (ours->intent != KITH_INTENT_DUE)
            continue;
        *out = (struct kith_punch_frame) { .kind = !punch->is_server   ? KITH_KIND_REACH_OUT
                                                   : !ours->is_removed ? KITH_KIND_ADD_ADDRESS
                                                                       : KITH_KIND_REMOVE_ADDRESS,
                                           .id = ours->sequence,
                                           .value = punch->is_server ? ours->sequence : punch->round,
                                           .address = ours->address };
        return true;
    }
    return false;
}

struct kith_frame kith__punch_wire(const struct kith_punch_frame *frame)
{
    bool is_v6 = frame->address.family == KITH_FAMILY_V6;
    struct kith_frame wire;

    if (frame->kind == KITH_KIND_REMOVE_ADDRESS) {
        wire = kith__frame(KITH_FRAME_REMOVE_ADDRESS);
        wire.remove_address.sequence = frame->value;
        return wire;
    }
    wire = kith__frame(frame->kind == KITH_KIND_ADD_ADDRESS
                           ? (is_v6 ? KITH_FRAME_ADD_ADDRESS_V6 : KITH_FRAME_ADD_ADDRESS_V4)
                           : (is_v6 ? KITH_FRAME_REACH_OUT_V6 : KITH_FRAME_REACH_OUT_V4));
    wire.address.sequence = frame->value;
    wire.address.address = frame->address;
    return wire;
}

/** Index of the address that the frame is about, if the frame still says what is to be said; else count. */
static size_t find_frame(const struct kith_punch *punch, const struct kith_punch_frame *frame)
{
    size_t i = 0;

    if (frame->kind == KITH_KIND_REACH_OUT && frame->value != punch->round)
        return punch->ours_count;
    while (i < punch->ours_count && (punch->ours[i].sequence != frame->id ||
                                     punch->ours[i].is_removed != (frame->kind == KITH_KIND_REMOVE_ADDRESS)))
        i++;
    return i;
}

void kith__punch_on_sent(struct kith_punch *punch, const struct kith_punch_frame *frame)
{
    size_t index = find_frame(punch, frame);

    if (index == punch->ours_count)
        return;
    punch->ours[index].intent = KITH_INTENT_SENT;
    punch->ours[index].was_sent = punch->is_server;
}

void kith__punch_on_acked(struct kith_punch *punch, const struct kith_punch_frame *frame)
{
    size_t index = find_frame(punch, frame);

    if (index == punch->ours_count)
        return;
    if (frame->kind == KITH_KIND_REMOVE_ADDRESS)
        take_out_ours(punch, index);
    else
        punch->ours[index].intent = KITH_INTENT_ACKED;
}

void kith__punch_on_lost(struct kith_punch *punch, const struct kith_punch_frame *frame)
{
    size_t index = find_frame(punch, frame);

    if (index < punch->ours_count && punch->ours[index].intent == KITH_INTENT_SENT)
        punch->ours[index].intent = KITH_INTENT_DUE;
}

void kith__punch_check_invariants(const struct kith_punch *punch)
{
    size_t seen = 0;

    KITH_ASSERT(punch->ours_count - removed_count(punch) <= KITH_PUNCH_ADDRESSES_MAX);
    KITH_ASSERT(removed_count(punch) <= KITH_PUNCH_REMOVED_MAX);
    KITH_ASSERT(punch->theirs_count <= punch->local_max && punch->ready_count <= KITH_PUNCH_READY_MAX);
    KITH_ASSERT((punch->ours != NULL) == (punch->ours_count != 0));
    KITH_ASSERT((punch->theirs != NULL) == (punch->theirs_count + punch->gone_count != 0));
    KITH_ASSERT(punch->gone_count <= KITH_PUNCH_ADDRESSES_MAX);
    KITH_ASSERT((punch->probes != NULL) == (punch->probe_count != 0));
    KITH_ASSERT((punch->ready != NULL) == (punch->ready_count != 0));
    for (size_t i = 0; i < punch->probe_count; i++) {
        const struct kith_punch_probe *probe = &punch->probes[i];

        KITH_ASSERT(probe->tries <= KITH_PUNCH_TRIES && probe->value_count <= KITH_PUNCH_VALUES_MAX);
        KITH_ASSERT(!probe->is_proved || probe->next_ns == KITH_NEVER);
        KITH_ASSERT(!probe->is_seen || (probe->next_ns == KITH_NEVER && !punch->is_server));
        seen += probe->is_seen;
    }
    KITH_ASSERT(seen <= KITH_PUNCH_SEEN_MAX);
    KITH_ASSERT(punch->probe_count - seen <= punch->local_max);
}
