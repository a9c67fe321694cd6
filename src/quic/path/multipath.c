/*
 * Path ids: a table of all that are not used up. An id takes its place when our limit grows over it, and leaves it when
 * nothing can refer to it any more: its path has drained, and the peer has our PATH_ABANDON.
 */
#include "quic/path/multipath.h"

#include "base/assert.h"

#include <string.h>

static struct kith_path_id *entry_of(struct kith_multipath *mp, uint32_t id)
{
    for (size_t i = 0; i < mp->count; i++)
        if (mp->ids[i].id == id)
            return &mp->ids[i];
    return NULL;
}

const struct kith_path_id *kith__multipath_find(const struct kith_multipath *mp, uint32_t id)
{
    for (size_t i = 0; i < mp->count; i++)
        if (mp->ids[i].id == id)
            return &mp->ids[i];
    return NULL;
}

static void append(struct kith_multipath *mp, uint32_t id)
{
    KITH_ASSERT(mp->count < KITH_PATH_IDS_MAX);
    mp->ids[mp->count++] = (struct kith_path_id) { .id = id, .drained_ns = KITH_NEVER };
}

/** Our limit grows by what is owed, as far as the table has room. */
static void grow(struct kith_multipath *mp)
{
    while (mp->owed != 0 && mp->count < KITH_PATH_IDS_MAX && mp->local_max < UINT32_MAX) {
        mp->owed--;
        append(mp, ++mp->local_max);
        mp->max_path_id = KITH_INTENT_DUE;
    }
}

/** The id is used up: another one may take its turn. */
static void use_up(struct kith_multipath *mp)
{
    mp->owed++;
    grow(mp);
}

/** Takes an entry out of the table once nothing refers to it. */
static void forget_if_done(struct kith_multipath *mp, struct kith_path_id *entry)
{
    size_t index = (size_t)(entry - mp->ids);

    if (entry->state != KITH_PATH_ID_GONE || entry->is_untold || entry->abandon != KITH_INTENT_ACKED)
        return;
    mp->count--;
    memmove(entry, entry + 1, (mp->count - index) * sizeof *entry);
    grow(mp);
}

void kith__multipath_init(struct kith_multipath *mp, bool is_server, uint32_t local_max, uint64_t no_path_wait_ns)
{
    KITH_ASSERT(local_max < KITH_PATHS_MAX);
    *mp = (struct kith_multipath) {
        .is_server = is_server, .local_max = local_max, .no_path_ns = KITH_NEVER, .no_path_wait_ns = no_path_wait_ns
    };
    for (uint32_t id = 0; id <= local_max; id++)
        append(mp, id);
    mp->ids[0].state = KITH_PATH_ID_LIVE;
    mp->ids[0].has_path = true;
}

void kith__multipath_start(struct kith_multipath *mp, uint32_t remote_max)
{
    mp->is_on = true;
    mp->remote_max = remote_max;
}

/* ---- Questions ---- */

uint32_t kith__multipath_max(const struct kith_multipath *mp)
{
    return !mp->is_on ? 0 : KITH_MIN(mp->local_max, mp->remote_max);
}

size_t kith__multipath_live(const struct kith_multipath *mp)
{
    size_t live = 0;

    for (size_t i = 0; i < mp->count; i++)
        live += mp->ids[i].state == KITH_PATH_ID_LIVE;
    return live;
}

static bool is_open(const struct kith_path_id *entry)
{
    return entry->state == KITH_PATH_ID_UNUSED || entry->state == KITH_PATH_ID_LIVE;
}

bool kith__multipath_next_for_cids(const struct kith_multipath *mp, uint32_t from, uint32_t *id)
{
    uint32_t max = kith__multipath_max(mp);

    for (size_t i = 0; i < mp->count; i++)
        if (mp->ids[i].id >= from && mp->ids[i].id <= max && is_open(&mp->ids[i])) {
            *id = mp->ids[i].id;
            return true;
        }
    return false;
}

bool kith__multipath_may_begin(const struct kith_multipath *mp, uint32_t id)
{
    const struct kith_path_id *entry = kith__multipath_find(mp, id);

    return mp->is_on && mp->is_server && entry != NULL && entry->state == KITH_PATH_ID_UNUSED;
}

/* ---- Opening ---- */

int kith__multipath_next_id(struct kith_multipath *mp, uint32_t *id)
{
    if (!mp->is_on)
        return KITH_ERR_UNSUPPORTED;
    if (mp->is_server)
        return KITH_ERR_PERMISSION;
    for (size_t i = 0; i < mp->count && mp->ids[i].id <= mp->remote_max; i++)
        if (mp->ids[i].state == KITH_PATH_ID_UNUSED) {
            *id = mp->ids[i].id;
            return 0;
        }
    if (mp->remote_max > mp->local_max) /* telling the peer would not help */
        return KITH_ERR_LIMIT;
    if (mp->paths_blocked == KITH_INTENT_NONE) {
        mp->paths_blocked = KITH_INTENT_DUE;
        mp->blocked_at = mp->remote_max;
    }
    return KITH_ERR_AGAIN;
}

void kith__multipath_on_cids_missing(struct kith_multipath *mp, uint32_t id, uint64_t next_sequence)
{
    struct kith_path_id *entry = entry_of(mp, id);

    if (entry == NULL || !is_open(entry) ||
        (entry->cids_blocked != KITH_INTENT_NONE && entry->cids_sequence == next_sequence))
        return;
    entry->cids_blocked = KITH_INTENT_DUE;
    entry->cids_sequence = next_sequence;
}

void kith__multipath_on_cids(struct kith_multipath *mp, uint32_t id)
{
    struct kith_path_id *entry = entry_of(mp, id);

    if (entry != NULL)
        entry->cids_blocked = KITH_INTENT_NONE;
}

void kith__multipath_on_opened(struct kith_multipath *mp, uint32_t id, bool is_backup)
{
    struct kith_path_id *entry = entry_of(mp, id);

    KITH_ASSERT(entry != NULL && entry->state == KITH_PATH_ID_UNUSED);
    entry->state = KITH_PATH_ID_LIVE;
    entry->has_path = true;
    entry->is_backup = is_backup;
    mp->no_path_ns = KITH_NEVER;
}

/* ---- Status ---- */

static void tell_status(struct kith_path_id *entry)
{
    entry->status_sequence++;
    entry->status = KITH_INTENT_DUE;
}

int kith__multipath_set_status(struct kith_multipath *mp, uint32_t id, bool is_backup)
{
    struct kith_path_id *entry = entry_of(mp, id);

    if (entry == NULL || entry->state != KITH_PATH_ID_LIVE)
        return KITH_ERR_NOT_FOUND;
    if (entry->is_backup == is_backup)
        return 0;
    entry->is_backup = is_backup;
    if (entry->is_validated)
        tell_status(entry);
    return 0;
}

void kith__multipath_announce(struct kith_multipath *mp, uint32_t id)
{
    struct kith_path_id *entry = entry_of(mp, id);

    if (!mp->is_on || entry == NULL || entry->state != KITH_PATH_ID_LIVE || entry->is_validated)
        return;
    entry->is_validated = true;
    tell_status(entry);
}

/* ---- Giving up ---- */

/** What was to be told about an open id is moot; PATH_ABANDON with `code` is due. */
static void give_up(struct kith_path_id *entry, uint64_t code)
{
    entry->status = entry->cids_blocked = KITH_INTENT_NONE;
    entry->abandon = KITH_INTENT_DUE;
    entry->code = code;
}

int kith__multipath_abandon(struct kith_multipath *mp, uint32_t id, uint64_t code)
{
    struct kith_path_id *entry = entry_of(mp, id);

    if (entry == NULL || entry->state != KITH_PATH_ID_LIVE)
        return KITH_ERR_NOT_FOUND;
    if (kith__multipath_live(mp) == 1)
        return KITH_ERR_STATE;
    give_up(entry, code);
    entry->state = KITH_PATH_ID_ABANDONED;
    return 0;
}

bool kith__multipath_take_gone(struct kith_multipath *mp, uint32_t *id)
{
    for (size_t i = 0; i < mp->count; i++) {
        struct kith_path_id *entry = &mp->ids[i];

        if (!entry->is_untold)
            continue;
        *id = entry->id;
        entry->is_untold = false;
        forget_if_done(mp, entry);
        return true;
    }
    return false;
}

/* ---- Frames from the peer ---- */

/** An id from a frame: in the table, or counted as of the past, or refused with `text`. */
static int check(struct kith_multipath *mp, uint32_t id, bool is_fine, enum kith_path_use *use, const char *text,
                 const char **reason)
{
    if (id > mp->local_max) {
        *reason = text;
        return KITH_WIRE_PROTOCOL_VIOLATION;
    }
    *use = is_fine ? KITH_PATH_USE : KITH_PATH_IGNORE;
    mp->ignored += !is_fine;
    return 0;
}

int kith__multipath_check_ack(struct kith_multipath *mp, uint32_t id, enum kith_path_use *use, const char **reason)
{
    const struct kith_path_id *entry = kith__multipath_find(mp, id);
    static const char text[] = "received PATH_ACK with path ID never used";

    if (entry != NULL && entry->state == KITH_PATH_ID_UNUSED) {
        *reason = text;
        return KITH_WIRE_PROTOCOL_VIOLATION;
    }
    return check(mp, id, entry != NULL && entry->has_path, use, text, reason);
}

int kith__multipath_check_new_cid(struct kith_multipath *mp, uint32_t id, enum kith_path_use *use, const char **reason)
{
    const struct kith_path_id *entry = kith__multipath_find(mp, id);

    return check(mp, id, entry != NULL && is_open(entry), use,
                 "PATH_NEW_CONNECTION_ID contains path_id exceeding current max", reason);
}

int kith__multipath_check_retire_cid(struct kith_multipath *mp, uint32_t id, enum kith_path_use *use,
                                     const char **reason)
{
    const struct kith_path_id *entry = kith__multipath_find(mp, id);

    return check(mp, id, entry != NULL && is_open(entry), use,
                 "PATH_RETIRE_CONNECTION_ID contains path_id exceeding current max", reason);
}

/** Both sides gave the id up: it drains, and another one takes its turn. */
static void drain(struct kith_multipath *mp, struct kith_path_id *entry, uint64_t drained_ns)
{
    entry->state = KITH_PATH_ID_DRAINING;
    entry->drained_ns = drained_ns;
    use_up(mp);
}

enum kith_abandon_verdict kith__multipath_on_abandon(struct kith_multipath *mp, uint32_t id, uint64_t code,
                                                     uint64_t drain_ns, uint64_t now_ns)
{
    struct kith_path_id *entry = entry_of(mp, id);
    enum kith_abandon_verdict verdict = KITH_ABANDON_IGNORED;

    switch (entry == NULL ? KITH_PATH_ID_GONE : (enum kith_path_id_state)entry->state) {
    case KITH_PATH_ID_DRAINING:
    case KITH_PATH_ID_GONE:
        mp->ignored++;
        return KITH_ABANDON_IGNORED;
    case KITH_PATH_ID_UNUSED: /* all its packets were lost, or the peer just does not want it: no reason to lose the id */
        verdict = KITH_ABANDON_UNUSED;
        break;
    case KITH_PATH_ID_LIVE:
        verdict = KITH_ABANDON_CLOSE;
        break;
    case KITH_PATH_ID_ABANDONED:
        verdict = KITH_ABANDON_ECHO;
        break;
    }
    if (verdict != KITH_ABANDON_ECHO)
        give_up(entry, code);
    drain(mp, entry, now_ns + drain_ns);
    if (verdict == KITH_ABANDON_CLOSE && kith__multipath_live(mp) == 0)
        mp->no_path_ns = now_ns + KITH_MAX(mp->no_path_wait_ns, drain_ns); /* a slow network needs longer */
    return verdict;
}

bool kith__multipath_on_status(struct kith_multipath *mp, uint32_t id, uint64_t sequence, bool is_backup)
{
    struct kith_path_id *entry = entry_of(mp, id);

    /* The status of a path may overtake its first packet: unused ids keep it. */
    if (entry == NULL || !is_open(entry) || sequence <= entry->peer_status_sequence) {
        mp->ignored++;
        return false;
    }
    entry->peer_status_sequence = sequence;
    entry->is_peer_backup = is_backup;
    return true;
}

bool kith__multipath_on_max_path_id(struct kith_multipath *mp, uint32_t max)
{
    uint32_t before = kith__multipath_max(mp);

    if (max <= mp->remote_max)
        return false;
    mp->remote_max = max;
    mp->paths_blocked = KITH_INTENT_NONE;
    return kith__multipath_max(mp) > before;
}

int kith__multipath_on_paths_blocked(struct kith_multipath *mp, uint32_t max, const char **reason)
{
    if (max <= mp->local_max)
        return 0; /* the limit grows as ids are used up; there is nothing to hurry */
    *reason = "PATHS_BLOCKED above our limit";
    return KITH_WIRE_PROTOCOL_VIOLATION;
}

int kith__multipath_on_cids_blocked(struct kith_multipath *mp, uint32_t id, uint64_t next_sequence, uint64_t issued,
                                    const char **reason)
{
    const struct kith_path_id *entry = kith__multipath_find(mp, id);

    if (id > mp->local_max) {
        *reason = "PATH_CIDS_BLOCKED above our limit";
        return KITH_WIRE_PROTOCOL_VIOLATION;
    }
    if (entry == NULL || !is_open(entry)) {
        mp->ignored++;
        return 0;
    }
    if (next_sequence <= issued)
        return 0; /* ids are issued unasked */
    *reason = "PATH_CIDS_BLOCKED beyond the issued connection ids";
    return KITH_WIRE_PROTOCOL_VIOLATION;
}

/* ---- Frames to the peer ---- */

static uint64_t status_type(const struct kith_path_id *entry)
{
    return entry->is_backup ? KITH_FRAME_PATH_STATUS_BACKUP : KITH_FRAME_PATH_STATUS_AVAILABLE;
}

bool kith__multipath_next(const struct kith_multipath *mp, struct kith_multipath_frame *out)
{
    for (size_t i = 0; i < mp->count; i++)
        if (mp->ids[i].abandon == KITH_INTENT_DUE) {
            *out = (struct kith_multipath_frame) { KITH_FRAME_PATH_ABANDON, mp->ids[i].id, mp->ids[i].code };
            return true;
        }
    if (mp->max_path_id == KITH_INTENT_DUE) {
        *out = (struct kith_multipath_frame) { KITH_FRAME_MAX_PATH_ID, 0, mp->local_max };
        return true;
    }
    for (size_t i = 0; i < mp->count; i++) {
        const struct kith_path_id *entry = &mp->ids[i];

        if (entry->status == KITH_INTENT_DUE) {
            *out = (struct kith_multipath_frame) { status_type(entry), entry->id, entry->status_sequence };
            return true;
        }
        if (entry->cids_blocked == KITH_INTENT_DUE) {
            *out = (struct kith_multipath_frame) { KITH_FRAME_PATH_CIDS_BLOCKED, entry->id, entry->cids_sequence };
            return true;
        }
    }
    if (mp->paths_blocked == KITH_INTENT_DUE) {
        *out = (struct kith_multipath_frame) { KITH_FRAME_PATHS_BLOCKED, 0, mp->blocked_at };
        return true;
    }
    return false;
}

struct kith_frame kith__multipath_wire(const struct kith_multipath_frame *frame)
{
    struct kith_frame wire = kith__frame(frame->type);

    switch (frame->type) {
    case KITH_FRAME_PATH_ABANDON:
        wire.path_abandon.path = frame->path;
        wire.path_abandon.code = frame->value;
        break;
    case KITH_FRAME_PATH_STATUS_AVAILABLE:
    case KITH_FRAME_PATH_STATUS_BACKUP:
        wire.path_status.path = frame->path;
        wire.path_status.sequence = frame->value;
        break;
    case KITH_FRAME_PATH_CIDS_BLOCKED:
        wire.path_cids_blocked.path = frame->path;
        wire.path_cids_blocked.next_sequence = frame->value;
        break;
    case KITH_FRAME_PATHS_BLOCKED:
        wire.paths_blocked.max = (uint32_t)frame->value;
        break;
    default:
        KITH_ASSERT(frame->type == KITH_FRAME_MAX_PATH_ID);
        wire.max_path_id.max = (uint32_t)frame->value;
        break;
    }
    return wire;
}

/** The intent behind a frame, if the frame still says what is to be said; else NULL. */
static uint8_t *intent_of(struct kith_multipath *mp, const struct kith_multipath_frame *frame)
{
    struct kith_path_id *entry = entry_of(mp, frame->path);

    switch (frame->type) {
    case KITH_FRAME_MAX_PATH_ID:
        return frame->value == mp->local_max ? &mp->max_path_id : NULL;
    case KITH_FRAME_PATHS_BLOCKED:
        return frame->value == mp->blocked_at ? &mp->paths_blocked : NULL;
    case KITH_FRAME_PATH_ABANDON:
        return entry != NULL ? &entry->abandon : NULL;
    case KITH_FRAME_PATH_CIDS_BLOCKED:
        return entry != NULL && frame->value == entry->cids_sequence ? &entry->cids_blocked : NULL;
    default:
        KITH_ASSERT(frame->type == KITH_FRAME_PATH_STATUS_AVAILABLE || frame->type == KITH_FRAME_PATH_STATUS_BACKUP);
        return entry != NULL && frame->value == entry->status_sequence ? &entry->status : NULL;
    }
}

void kith__multipath_on_sent(struct kith_multipath *mp, const struct kith_multipath_frame *frame)
{
    uint8_t *intent = intent_of(mp, frame);

    if (intent != NULL && *intent == KITH_INTENT_DUE)
        *intent = KITH_INTENT_SENT;
}

void kith__multipath_on_acked(struct kith_multipath *mp, const struct kith_multipath_frame *frame, uint64_t echo_ns,
                              uint64_t now_ns)
{
    uint8_t *intent = intent_of(mp, frame);
    struct kith_path_id *entry;

    if (intent == NULL || *intent == KITH_INTENT_NONE || *intent == KITH_INTENT_ACKED)
        return;
    *intent = KITH_INTENT_ACKED; /* also if it was due again: the first copy arrived after all */
    if (frame->type != KITH_FRAME_PATH_ABANDON)
        return;
    entry = entry_of(mp, frame->path);
    if (entry->state == KITH_PATH_ID_ABANDONED) /* a peer that does not answer must not cost us the id for ever */
        entry->drained_ns = now_ns + echo_ns;
    forget_if_done(mp, entry);
}

void kith__multipath_on_lost(struct kith_multipath *mp, const struct kith_multipath_frame *frame)
{
    uint8_t *intent = intent_of(mp, frame);

    if (intent != NULL && *intent == KITH_INTENT_SENT)
        *intent = KITH_INTENT_DUE;
}

/* ---- Time ---- */

uint64_t kith__multipath_deadline(const struct kith_multipath *mp)
{
    uint64_t deadline_ns = mp->no_path_ns;

    for (size_t i = 0; i < mp->count; i++)
        deadline_ns = KITH_MIN(deadline_ns, mp->ids[i].drained_ns);
    return deadline_ns;
}

bool kith__multipath_on_deadline(struct kith_multipath *mp, uint64_t now_ns)
{
    for (size_t i = 0; i < mp->count; i++) {
        struct kith_path_id *entry = &mp->ids[i];

        if (entry->drained_ns > now_ns)
            continue;
        if (entry->state == KITH_PATH_ID_ABANDONED)
            use_up(mp);
        entry->state = KITH_PATH_ID_GONE;
        entry->drained_ns = KITH_NEVER;
        entry->is_untold = true;
        entry->has_path = false;
    }
    return mp->no_path_ns > now_ns;
}

void kith__multipath_check(const struct kith_multipath *mp)
{
    KITH_ASSERT(mp->count <= KITH_PATH_IDS_MAX);
    for (size_t i = 0; i < mp->count; i++) {
        const struct kith_path_id *entry = &mp->ids[i];
        bool may_drain = entry->state == KITH_PATH_ID_ABANDONED || entry->state == KITH_PATH_ID_DRAINING;

        KITH_ASSERT(entry->id <= mp->local_max && (i == 0 || entry[-1].id < entry->id));
        KITH_ASSERT(may_drain || entry->drained_ns == KITH_NEVER);
        KITH_ASSERT(entry->state != KITH_PATH_ID_DRAINING || entry->drained_ns != KITH_NEVER);
        KITH_ASSERT(is_open(entry) == (entry->abandon == KITH_INTENT_NONE));
        KITH_ASSERT(is_open(entry) || (entry->status == KITH_INTENT_NONE && entry->cids_blocked == KITH_INTENT_NONE));
        KITH_ASSERT(entry->state != KITH_PATH_ID_LIVE || entry->has_path);
        KITH_ASSERT(!entry->is_untold || entry->state == KITH_PATH_ID_GONE);
    }
    KITH_ASSERT(mp->owed == 0 || mp->count == KITH_PATH_IDS_MAX || mp->local_max == UINT32_MAX);
    KITH_ASSERT((kith__multipath_live(mp) != 0) == (mp->no_path_ns == KITH_NEVER));
}
