#include "quic/recover/sent.h"

#include "base/mem.h"
#include "quic/wire/codes.h"

enum { CAP_MIN = 8, SKIP_SPAN_FIRST = 64, SKIP_SPAN_BITS_MAX = 40, SLOW_STEPS_MAX = 64 };

static struct kith_sent *entry(const struct kith_sent_log *log, uint64_t number)
{
    return &log->packets[number & (log->cap - 1)];
}

/** splitmix64: which numbers are skipped must be hard to guess for the peer, not strong. */
static uint64_t skip_random(struct kith_sent_log *log)
{
    uint64_t z = log->skip_state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void forget_waiting(struct kith_sent_log *log)
{
    log->waiting = UINT64_MAX;
    log->waiting_ns = KITH_NEVER;
}

void kith__sent_init(struct kith_sent_log *log, const struct kith_mem *mem, uint64_t skip_seed)
{
    *log = (struct kith_sent_log) {
        .mem = mem, .skip_at = UINT64_MAX, .skip_span = SKIP_SPAN_FIRST, .skip_state = skip_seed
    };
    forget_waiting(log);
    if (skip_seed != 0)
        log->skip_at = skip_random(log) % SKIP_SPAN_FIRST;
}

static void free_rings(struct kith_sent_log *log)
{
    kith__free(log->mem, log->packets);
    kith__free(log->mem, log->frames);
    log->packets = NULL;
    log->frames = NULL;
    log->cap = log->frames_cap = 0;
    log->peak = 0;
}

void kith__sent_dispose(struct kith_sent_log *log)
{
    free_rings(log);
    log->base = log->oldest = log->next;
    log->frames_begin = log->frames_end;
    log->in_flight_size = log->counted = log->eliciting = 0;
    forget_waiting(log);
    log->building = false;
}

/** Gives the ring of packets, of which the first `used` count, another power of two of room. */
static int resize_packets(struct kith_sent_log *log, uint64_t used, uint32_t cap)
{
    struct kith_sent *packets;

    if (cap > KITH_SENT_PACKETS_MAX)
        return KITH_ERR_LIMIT;
    if ((packets = kith__alloc(log->mem, cap * sizeof *packets)) == NULL)
        return KITH_ERR_NOMEM;
    for (uint64_t number = log->base; number < log->base + used; number++)
        packets[number & (cap - 1)] = *entry(log, number);
    kith__free(log->mem, log->packets);
    log->packets = packets;
    log->cap = cap;
    return 0;
}

static int resize_frames(struct kith_sent_log *log, uint32_t cap)
{
    struct kith_sent_frame *frames;

    if (cap > KITH_SENT_FRAMES_ALL_MAX)
        return KITH_ERR_LIMIT;
    if ((frames = kith__alloc(log->mem, cap * sizeof *frames)) == NULL)
        return KITH_ERR_NOMEM;
    for (uint32_t at = log->frames_begin; at != log->frames_end; at++)
        frames[at & (cap - 1)] = log->frames[at & (log->frames_cap - 1)];
    kith__free(log->mem, log->frames);
    log->frames = frames;
    log->frames_cap = cap;
    return 0;
}

/** Room for one more entry behind the `used` ones. */
static int reserve_packet(struct kith_sent_log *log, uint64_t used)
{
    return used < log->cap ? 0 : resize_packets(log, used, log->cap == 0 ? CAP_MIN : log->cap * 2);
}

static int reserve_frame(struct kith_sent_log *log)
{
    if (log->frames_end - log->frames_begin < log->frames_cap)
        return 0;
    return resize_frames(log, log->frames_cap == 0 ? CAP_MIN : log->frames_cap * 2);
}

/** Leaves out the next number; distances to the following one double on average. */
static void skip(struct kith_sent_log *log)
{
    *entry(log, log->next) = (struct kith_sent) { .number = log->next, .state = KITH_SENT_SKIPPED };
    log->skipped[log->skip_count++ % KITH_SENT_SKIPS_KEPT] = log->next;
    log->next++;
    if (log->skip_span >> SKIP_SPAN_BITS_MAX == 0)
        log->skip_span *= 2;
    log->skip_at = log->next + log->skip_span / 2 + skip_random(log) % log->skip_span;
}

int kith__sent_begin(struct kith_sent_log *log, uint64_t *number)
{
    int err;

    KITH_ASSERT(!log->building);
    if ((err = reserve_packet(log, log->next - log->base)) != 0)
        return err;
    if (log->next == log->skip_at) {
        skip(log);
        if ((err = reserve_packet(log, log->next - log->base)) != 0)
            return err;
    }
    *entry(log, log->next) = (struct kith_sent) { .number = log->next, .more = log->frames_end };
    log->building = true;
    *number = log->next;
    return 0;
}

int kith__sent_add_frame(struct kith_sent_log *log, const struct kith_sent_frame *frame)
{
    struct kith_sent *packet = kith__sent_building(log);
    int err;

    if (packet->frame_count == KITH_SENT_FRAMES_MAX)
        return KITH_ERR_LIMIT;
    if (packet->frame_count == 0) {
        packet->frame = *frame;
    } else {
        if ((err = reserve_frame(log)) != 0)
            return err;
        log->frames[log->frames_end++ & (log->frames_cap - 1)] = *frame;
    }
    packet->frame_count++;
    return 0;
}

void kith__sent_undo_frame(struct kith_sent_log *log)
{
    struct kith_sent *packet = kith__sent_building(log);

    KITH_ASSERT(packet->frame_count != 0);
    if (--packet->frame_count != 0)
        log->frames_end--;
}

struct kith_sent *kith__sent_building(struct kith_sent_log *log)
{
    KITH_ASSERT(log->building);
    return entry(log, log->next);
}

void kith__sent_commit(struct kith_sent_log *log, uint16_t size, uint8_t flags, uint64_t now_ns)
{
    struct kith_sent *packet = kith__sent_building(log);

    KITH_ASSERT(size > 0);
    KITH_ASSERT((flags & KITH_SENT_ELICITING) == 0 || (flags & KITH_SENT_COUNTED) != 0);
    packet->sent_ns = now_ns;
    packet->size = size;
    packet->flags = flags;
    packet->state = KITH_SENT_IN_FLIGHT;
    log->building = false;
    log->next++;
    log->quiet_run++;
    if ((flags & KITH_SENT_COUNTED) != 0) {
        log->in_flight_size += size;
        log->counted++;
    }
    if ((flags & KITH_SENT_ELICITING) != 0) {
        log->eliciting++;
        log->eliciting_sent_ns = now_ns;
        log->quiet_run = 0;
        if (log->waiting == UINT64_MAX) {
            log->waiting = packet->number;
            log->waiting_ns = now_ns;
        }
    }
    log->peak = (uint32_t)KITH_MAX(log->peak, log->next - log->base);
}

void kith__sent_abandon(struct kith_sent_log *log)
{
    struct kith_sent *packet = kith__sent_building(log);

    if (packet->frame_count > 1)
        log->frames_end -= packet->frame_count - 1u;
    log->building = false;
}

/** Takes a packet out of the sums. */
static void settle(struct kith_sent_log *log, struct kith_sent *packet, uint8_t state)
{
    KITH_ASSERT(packet->state == KITH_SENT_IN_FLIGHT);
    packet->state = state;
    if ((packet->flags & KITH_SENT_COUNTED) != 0) {
        KITH_ASSERT(packet->size <= log->in_flight_size && log->counted > 0);
        log->in_flight_size -= packet->size;
        log->counted--;
    }
    if ((packet->flags & KITH_SENT_ELICITING) != 0)
        log->eliciting--;
}

int kith__sent_ack_begin(struct kith_sent_log *log, uint64_t first, uint64_t last, struct kith_sent_walk *walk)
{
    KITH_ASSERT(first <= last);
    if (last >= log->next)
        return KITH_WIRE_PROTOCOL_VIOLATION;
    for (uint32_t i = 0; i < KITH_MIN(log->skip_count, (uint32_t)KITH_SENT_SKIPS_KEPT); i++)
        if (log->skipped[i] >= first && log->skipped[i] <= last)
            return KITH_WIRE_PROTOCOL_VIOLATION;
    log->acked_end = KITH_MAX(log->acked_end, last + 1);
    walk->at = walk->begin = KITH_MAX(first, log->base);
    walk->end = last + 1;
    walk->slow = 0;
    return 0;
}

/** A peer that begins each range elsewhere in what it has acknowledged before would make us step over it all again and again. */
static void note_runs(struct kith_sent_log *log, const struct kith_sent_walk *walk)
{
    for (uint64_t at = walk->begin; at < walk->end; at++)
        if (entry(log, at)->state == KITH_SENT_ACKED)
            entry(log, at)->run = (uint32_t)KITH_MAX(walk->end - at, (uint64_t)entry(log, at)->run);
}

const struct kith_sent *kith__sent_ack_next(struct kith_sent_log *log, struct kith_sent_walk *walk)
{
    while (walk->at < walk->end) {
        struct kith_sent *packet = entry(log, walk->at);

        if (packet->state == KITH_SENT_ACKED) {
            walk->at += KITH_MAX(packet->run, 1u);
            walk->slow++;
            continue;
        }
        walk->at++;
        if (packet->state == KITH_SENT_SKIPPED)
            continue;
        if (packet->state == KITH_SENT_LOST) {
            packet->flags |= KITH_SENT_WAS_LOST;
            packet->state = KITH_SENT_ACKED;
        } else {
            settle(log, packet, KITH_SENT_ACKED);
        }
        return packet;
    }
    /* The next ACK mostly repeats this range with some numbers more: it jumps over what is done. */
    if (walk->begin < walk->end && entry(log, walk->begin)->state == KITH_SENT_ACKED)
        entry(log, walk->begin)->run = (uint32_t)KITH_MAX(walk->end - walk->begin, entry(log, walk->begin)->run);
    if (walk->slow > SLOW_STEPS_MAX)
        note_runs(log, walk);
    return NULL;
}

/** Moves the cursor to the oldest packet in flight; NULL: there is none. */
static struct kith_sent *oldest_in_flight(struct kith_sent_log *log)
{
    while (log->oldest < log->next) {
        struct kith_sent *packet = entry(log, log->oldest);

        if (packet->state == KITH_SENT_IN_FLIGHT)
            return packet;
        log->oldest += packet->state == KITH_SENT_ACKED ? KITH_MAX(packet->run, 1u) : 1;
    }
    return NULL;
}

const struct kith_sent *kith__sent_take_lost(struct kith_sent_log *log, uint64_t below, uint64_t sent_before_ns)
{
    struct kith_sent *packet = oldest_in_flight(log);

    if (packet == NULL || packet->number >= log->acked_end)
        return NULL;
    if (packet->number >= below && packet->sent_ns >= sent_before_ns)
        return NULL; /* nor is any later one: numbers and times grow together */
    settle(log, packet, KITH_SENT_LOST);
    return packet;
}

const struct kith_sent *kith__sent_take_oldest(struct kith_sent_log *log)
{
    struct kith_sent *packet = oldest_in_flight(log);

    if (packet != NULL) {
        settle(log, packet, KITH_SENT_SKIPPED);
        return packet;
    }
    for (uint64_t number = log->base; number < log->next; number++)
        if (entry(log, number)->state == KITH_SENT_LOST)
            entry(log, number)->state = KITH_SENT_SKIPPED;
    return NULL;
}

const struct kith_sent *kith__sent_take_overdue(struct kith_sent_log *log)
{
    struct kith_sent *packet = kith__sent_is_long(log) ? oldest_in_flight(log) : NULL;

    if (packet != NULL)
        settle(log, packet, KITH_SENT_LOST);
    return packet;
}

void kith__sent_clear(struct kith_sent_log *log)
{
    KITH_ASSERT(!log->building);
    log->base = log->oldest = log->next;
    log->frames_begin = log->frames_end;
    log->in_flight_size = log->counted = log->eliciting = 0;
    forget_waiting(log);
}

bool kith__sent_has_record_room(const struct kith_sent_log *log)
{
    return entry(log, log->next)->frame_count < KITH_SENT_FRAMES_MAX &&
           log->frames_end - log->frames_begin < KITH_SENT_FRAMES_ALL_MAX;
}

void kith__sent_find_waiting(struct kith_sent_log *log)
{
    const struct kith_sent *packet;

    if (log->waiting == UINT64_MAX || (log->waiting >= log->acked_end && log->eliciting != 0))
        return;
    packet = log->eliciting != 0 ? kith__sent_find_eliciting(log, log->acked_end) : NULL;
    forget_waiting(log);
    if (packet != NULL) {
        log->waiting = packet->number;
        log->waiting_ns = packet->sent_ns;
    }
}

const struct kith_sent *kith__sent_find_eliciting(const struct kith_sent_log *log, uint64_t from)
{
    for (uint64_t number = KITH_MAX(from, log->oldest); number < log->next; number++) {
        const struct kith_sent *packet = entry(log, number);

        if (packet->state == KITH_SENT_IN_FLIGHT && (packet->flags & KITH_SENT_ELICITING) != 0)
            return packet;
    }
    return NULL;
}

const struct kith_sent *kith__sent_find(const struct kith_sent_log *log, uint64_t number)
{
    return number >= log->base && number < log->next ? entry(log, number) : NULL;
}

static bool may_forget(const struct kith_sent_log *log, const struct kith_sent *packet, uint64_t lost_before_ns)
{
    switch (packet->state) {
    case KITH_SENT_ACKED:
    case KITH_SENT_SKIPPED:
        return true;
    case KITH_SENT_LOST:
        return packet->sent_ns < lost_before_ns || kith__sent_is_long(log);
    default:
        return (packet->flags & KITH_SENT_COUNTED) == 0 && log->next - log->base > KITH_SENT_QUIET_MAX;
    }
}

void kith__sent_forget(struct kith_sent_log *log, uint64_t lost_before_ns)
{
    KITH_ASSERT(!log->building);
    while (log->base < log->next) {
        const struct kith_sent *packet = entry(log, log->base);

        if (!may_forget(log, packet, lost_before_ns))
            break;
        if (packet->frame_count > 1)
            log->frames_begin += packet->frame_count - 1u;
        log->base++;
    }
    log->oldest = KITH_MAX(log->oldest, log->base);
    if (log->base != log->next)
        return;
    KITH_ASSERT(log->frames_begin == log->frames_end);
    if (log->peak <= log->cap / 4 && (log->cap > CAP_MIN || log->frames_cap > CAP_MIN))
        free_rings(log);
    log->peak = 0;
}

/** The room that a ring with so many entries keeps: twice as many. */
static uint32_t cap_for(uint64_t used)
{
    uint32_t cap = CAP_MIN;

    while (cap < used * 2)
        cap *= 2;
    return cap;
}

static bool is_slack(uint64_t used, uint32_t cap)
{
    return cap > CAP_MIN && used <= cap / 4;
}

bool kith__sent_has_slack(const struct kith_sent_log *log)
{
    bool is_needed = log->counted != 0;

    return is_slack(is_needed ? log->next - log->base : 0, log->cap) ||
           is_slack(is_needed ? log->frames_end - log->frames_begin : 0, log->frames_cap);
}

void kith__sent_shed(struct kith_sent_log *log)
{
    uint32_t frames = log->frames_end - log->frames_begin;
    uint64_t used = log->next - log->base;

    KITH_ASSERT(!log->building);
    if (log->counted == 0) {
        kith__sent_clear(log);
        free_rings(log);
        return;
    }
    if (is_slack(used, log->cap))
        (void)resize_packets(log, used, cap_for(used));
    if (is_slack(frames, log->frames_cap))
        (void)resize_frames(log, cap_for(frames));
    log->peak = (uint32_t)used;
}

void kith__sent_replace_epochs(struct kith_sent_log *log, uint8_t keep, uint8_t keep_too, uint8_t gone)
{
    for (uint64_t number = log->base; number < log->next; number++) {
        struct kith_sent *packet = entry(log, number);

        if (packet->epoch != keep && packet->epoch != keep_too)
            packet->epoch = gone;
    }
}

void kith__sent_check(const struct kith_sent_log *log)
{
    uint64_t size = 0, counted = 0, eliciting = 0, frames = 0;

    KITH_ASSERT(log->base <= log->oldest && log->oldest <= log->next);
    KITH_ASSERT(log->next - log->base <= log->cap && log->acked_end <= log->next);
    for (uint64_t number = log->base; number < log->next; number++) {
        const struct kith_sent *packet = entry(log, number);
        bool in_flight = packet->state == KITH_SENT_IN_FLIGHT;

        KITH_ASSERT(packet->number == number);
        KITH_ASSERT(!in_flight || number >= log->oldest);
        frames += packet->frame_count > 1 ? packet->frame_count - 1u : 0;
        if (in_flight && (packet->flags & KITH_SENT_COUNTED) != 0) {
            size += packet->size;
            counted++;
        }
        if (in_flight && (packet->flags & KITH_SENT_ELICITING) != 0)
            eliciting++;
    }
    KITH_ASSERT(size == log->in_flight_size && counted == log->counted && eliciting == log->eliciting);
    KITH_ASSERT(log->building || frames == log->frames_end - log->frames_begin);
}
