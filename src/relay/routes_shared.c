/*
 * Routes of a relay with several workers, each on a thread of its own. A note goes into a buffer that its sender has for its
 * receiver; a flush, once a turn, hands that over to the receiver's inbox: by changing places with the inbox's empty buffer, or by
 * a copy. So a packet for another worker costs one copy more and a part of one lock.
 */
#include "relay/routes.h"

#include "base/buf.h"
#include "base/mem.h"
#include "relay/directory.h"

/* Notes that are no datagrams may use all of an inbox, datagrams leave an eighth of it to them. */
enum { CONTROL_PART = 8 };

/** What stands before the payload of a note in a buffer. */
struct record {
    uint64_t handle;
    struct kith_id id;
    uint32_t payload_size;
    uint16_t segment_size;
    uint8_t kind, ecn;
};

struct inbox {
    void *lock;
    struct kith_buf filled;                           /* under the lock */
    _Atomic size_t waiting;                           /* bytes in `filled` and `taken` that were not looked at yet */
    struct kith_buf taken;                            /* the receiver's own */
    size_t taken_at;                                  /* where it reads */
    struct kith_buf outgoing[KITH_RELAY_WORKERS_MAX]; /* of this worker for others: its own */
};

struct shared {
    const struct kith_mem *mem;
    const struct kith_relay_sync *sync;
    struct kith_relay_directory directory;
    unsigned worker_count;
    size_t inbox_size;
    struct inbox *inboxes; /* worker_count */
};

static int shared_join(void *ctx, const struct kith_id *id, struct kith_relay_place place,
                       struct kith_relay_joined *out)
{
    return kith__relay_directory_join(&((struct shared *)ctx)->directory, id, place, out);
}

static void shared_leave(void *ctx, const struct kith_id *id, struct kith_relay_place place, uint64_t reached,
                         struct kith_relay_left *out)
{
    kith__relay_directory_leave(&((struct shared *)ctx)->directory, id, place, reached, out);
}

static bool shared_find(void *ctx, const struct kith_id *id, struct kith_relay_place *out)
{
    return kith__relay_directory_find(&((struct shared *)ctx)->directory, id, out);
}

/** Bytes that still fit if an inbox may hold `max`. */
static size_t room_of(struct shared *shared, unsigned from, unsigned to, size_t max)
{
    size_t used = atomic_load_explicit(&shared->inboxes[to].waiting, memory_order_relaxed) +
                  shared->inboxes[from].outgoing[to].size;

    return used < max ? max - used : 0;
}

static size_t shared_room(void *ctx, unsigned from, unsigned to)
{
    struct shared *shared = ctx;
    size_t room = room_of(shared, from, to, shared->inbox_size - shared->inbox_size / CONTROL_PART);

    return room > sizeof(struct record) ? room - sizeof(struct record) : 0;
}

static int shared_post(void *ctx, unsigned from, unsigned to, const struct kith_relay_note *note)
{
    struct shared *shared = ctx;
    struct kith_buf *out = &shared->inboxes[from].outgoing[to];
    bool is_datagram = note->kind == KITH_RELAY_NOTE_DATAGRAM;
    struct record record = { .handle = note->handle, .id = note->id, .kind = (uint8_t)note->kind };
    size_t size;
    int err;

    KITH_ASSERT(from < shared->worker_count && to < shared->worker_count && from != to);
    if (is_datagram) {
        record.payload_size = (uint32_t)note->datagram.payload.size;
        record.segment_size = note->datagram.segment_size;
        record.ecn = note->datagram.ecn;
    }
    size = sizeof record + record.payload_size;
    if (is_datagram ? record.payload_size > shared_room(ctx, from, to)
                    : size > room_of(shared, from, to, shared->inbox_size))
        return KITH_ERR_LIMIT;
    if ((err = kith__buf_reserve(out, size)) != 0)
        return err;
    (void)kith__buf_append(out, &record, sizeof record); /* there is room */
    (void)kith__buf_append(out, note->datagram.payload.ptr, record.payload_size);
    return 0;
}

/** Hands over one buffer. What does not fit now stays and goes with the next flush. */
static bool hand_over(struct shared *shared, struct inbox *inbox, struct kith_buf *out)
{
    bool was_empty, is_done = false;

    kith__relay_lock(shared->sync, inbox->lock);
    was_empty = inbox->filled.size == 0;
    if (atomic_load_explicit(&inbox->waiting, memory_order_relaxed) + out->size <= shared->inbox_size) {
        atomic_fetch_add_explicit(&inbox->waiting, out->size, memory_order_relaxed);
        if (was_empty) {
            struct kith_buf empty = inbox->filled;

            inbox->filled = *out;
            *out = empty;
            is_done = true;
        } else if (kith__buf_append(&inbox->filled, out->ptr, out->size) == 0) {
            out->size = 0;
            is_done = true;
        } else {
            atomic_fetch_sub_explicit(&inbox->waiting, out->size, memory_order_relaxed);
        }
    }
    kith__relay_unlock(shared->sync, inbox->lock);
    return is_done && was_empty;
}

static void shared_flush(void *ctx, unsigned from)
{
    struct shared *shared = ctx;

    for (unsigned to = 0; to < shared->worker_count; to++) {
        struct kith_buf *out = &shared->inboxes[from].outgoing[to];

        if (out->size != 0 && hand_over(shared, &shared->inboxes[to], out) && shared->sync != NULL)
            shared->sync->wake(shared->sync->ctx, to);
    }
}

static bool shared_take(void *ctx, unsigned worker, struct kith_relay_note *out)
{
    struct shared *shared = ctx;
    struct inbox *inbox = &shared->inboxes[worker];
    struct record record;

    if (inbox->taken_at == inbox->taken.size) {
        struct kith_buf empty = inbox->taken;

        empty.size = 0;
        inbox->taken_at = 0;
        kith__relay_lock(shared->sync, inbox->lock);
        inbox->taken = inbox->filled;
        inbox->filled = empty;
        kith__relay_unlock(shared->sync, inbox->lock);
        if (inbox->taken.size == 0)
            return false;
    }
    memcpy(&record, inbox->taken.ptr + inbox->taken_at, sizeof record);
    *out = (struct kith_relay_note) {
        .kind = (enum kith_relay_note_kind)record.kind,
        .handle = record.handle,
        .id = record.id,
        .datagram = { .payload = { inbox->taken.ptr + inbox->taken_at + sizeof record, record.payload_size },
                      .segment_size = record.segment_size,
                      .ecn = record.ecn },
    };
    inbox->taken_at += sizeof record + record.payload_size;
    atomic_fetch_sub_explicit(&inbox->waiting, sizeof record + record.payload_size, memory_order_relaxed);
    return true;
}

static void shared_free(void *ctx)
{
    struct shared *shared = ctx;

    for (unsigned i = 0; shared->inboxes != NULL && i < shared->worker_count; i++) {
        struct inbox *inbox = &shared->inboxes[i];

        kith__relay_lock_free(shared->sync, inbox->lock);
        kith__buf_dispose(&inbox->filled);
        kith__buf_dispose(&inbox->taken);
        for (unsigned to = 0; to < shared->worker_count; to++)
            kith__buf_dispose(&inbox->outgoing[to]);
    }
    kith__free(shared->mem, shared->inboxes);
    kith__relay_directory_dispose(&shared->directory);
    kith__free(shared->mem, shared);
}

static const struct kith_relay_routes_ops shared_ops = {
    shared_join, shared_leave, shared_find, shared_post, shared_flush, shared_take, shared_room, shared_free,
};

static int inboxes_new(struct shared *shared)
{
    int err = 0;

    shared->inboxes = kith__alloc_array(shared->mem, shared->worker_count, sizeof *shared->inboxes);
    if (shared->inboxes == NULL)
        return KITH_ERR_NOMEM;
    for (unsigned i = 0; i < shared->worker_count; i++) {
        kith__buf_init(&shared->inboxes[i].filled, shared->mem);
        kith__buf_init(&shared->inboxes[i].taken, shared->mem);
        for (unsigned to = 0; to < shared->worker_count; to++)
            kith__buf_init(&shared->inboxes[i].outgoing[to], shared->mem);
    }
    for (unsigned i = 0; i < shared->worker_count && err == 0; i++)
        err = kith__relay_lock_new(shared->sync, &shared->inboxes[i].lock);
    return err;
}

int kith__relay_routes_shared_new(const struct kith_relay_routes_shared_options *options, struct kith_relay_routes *out)
{
    struct shared *shared;
    int err;

    if (options->worker_count == 0 || options->worker_count > KITH_RELAY_WORKERS_MAX)
        return KITH_ERR_INVALID;
    shared = kith__alloc_zero(options->mem, sizeof *shared);
    if (shared == NULL)
        return KITH_ERR_NOMEM;
    shared->mem = options->mem;
    shared->sync = options->sync;
    shared->worker_count = options->worker_count;
    shared->inbox_size = options->inbox_size != 0 ? options->inbox_size : KITH_RELAY_INBOX_SIZE;
    if ((err = kith__relay_directory_init(&shared->directory, options->mem, options->sync, KITH_RELAY_STRIPES_MAX,
                                          options->seed)) != 0 ||
        (err = inboxes_new(shared)) != 0) {
        shared_free(shared);
        return err;
    }
    for (unsigned i = 0; i < options->worker_count; i++)
        out[i] = (struct kith_relay_routes) { &shared_ops, shared, &shared->directory.epoch, i, options->worker_count };
    return 0;
}
