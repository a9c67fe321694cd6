#include "relay/outbox.h"

#include "base/assert.h"
#include "base/mem.h"
#include "http/websocket.h"
#include "relay/frames.h"
#include "relay/server.h"

_Static_assert(KITH_RELAY_LANES == 16, "the upper four bits of a tag choose a shared lane");

enum {
    SMALL_SIZE = 2048 - 32,     /* with its head and the allocator's: half a page */
    LARGE_SIZE = 16384,         /* one TLS record */
    HEAD_MAX = 64,              /* of a message, in one piece: a chunk without that room is left */
    CONTROL = KITH_RELAY_LANES, /* the index of the control queue among the lanes */
    QUEUES,
    NONE,
    PLAN_MAX = 24,
    SPARE_SMALL_MAX = 512,
    SPARE_LARGE_MAX = 256,
    SPARE_BOXES_MAX = 256,
    POOL_SHARE =
        16 /* a queue may hold what is left of the pool, divided by this: full ones leave room to many others */
};

struct kith_relay_chunk {
    struct kith_relay_chunk *next;
    uint32_t begin, end, cap; /* [begin, end) is not sent yet */
    uint8_t bytes[];
};

/** Whole messages, one after the other; only the first may have been sent in part. */
struct queue {
    struct kith_relay_chunk *head, *tail;
    uint64_t tag; /* the sender */
    uint32_t size, frames;
    int32_t deficit; /* bytes that it may still send in its turn */
};

/** A position in a queue. */
struct cursor {
    struct kith_relay_chunk *chunk;
    uint32_t at;
};

struct kith_relay_outbox {
    struct queue queues[QUEUES];
    struct kith_relay_outbox *next; /* among the spare ones */
    uint32_t size, frames;          /* of the lanes */
    uint32_t charged;               /* to the pool */
    uint32_t cut_left;              /* bytes of the message that has begun */
    uint32_t cut_payload;           /* its payload */
    uint8_t cut;                    /* the queue with that message; NONE */
    uint8_t turn;                   /* the lane that sends */
    uint8_t plan_count;
    bool is_closing;
    struct {
        uint8_t queue;
        bool is_turn;     /* of a lane in its turn; else control frames, or the rest of what has begun */
        int32_t before;   /* is_turn: the lane's deficit before this turn, */
        int32_t credited; /* and at its start */
        uint32_t size, done;
    } plan[PLAN_MAX];
};

void kith__relay_pool_init(struct kith_relay_pool *pool, const struct kith_mem *mem, uint64_t max)
{
    *pool = (struct kith_relay_pool) { .mem = mem, .max = max };
}

static void chunks_free(const struct kith_mem *mem, struct kith_relay_chunk *chunk)
{
    while (chunk != NULL) {
        struct kith_relay_chunk *next = chunk->next;

        kith__free(mem, chunk);
        chunk = next;
    }
}

void kith__relay_pool_dispose(struct kith_relay_pool *pool)
{
    KITH_ASSERT(pool->used == 0);
    chunks_free(pool->mem, pool->spare_small);
    chunks_free(pool->mem, pool->spare_large);
    while (pool->spare_boxes != NULL) {
        struct kith_relay_outbox *box = pool->spare_boxes;

        pool->spare_boxes = box->next;
        kith__free(pool->mem, box);
    }
    kith__relay_pool_init(pool, pool->mem, pool->max);
}

static uint32_t chunk_cost(uint32_t cap)
{
    return (uint32_t)sizeof(struct kith_relay_chunk) + cap;
}

static struct kith_relay_chunk *chunk_get(struct kith_relay_pool *pool, uint32_t cap)
{
    struct kith_relay_chunk **spare = cap == SMALL_SIZE ? &pool->spare_small : &pool->spare_large;
    struct kith_relay_chunk *chunk = *spare;

    if (chunk != NULL) {
        *spare = chunk->next;
        *(cap == SMALL_SIZE ? &pool->spare_small_count : &pool->spare_large_count) -= 1;
    } else {
        chunk = kith__alloc(pool->mem, chunk_cost(cap));
        if (chunk == NULL)
            return NULL;
    }
    chunk->next = NULL;
    chunk->begin = chunk->end = 0;
    chunk->cap = cap;
    return chunk;
}

static void chunk_put(struct kith_relay_pool *pool, struct kith_relay_chunk *chunk)
{
    bool is_small = chunk->cap == SMALL_SIZE;
    uint32_t *count = is_small ? &pool->spare_small_count : &pool->spare_large_count;
    struct kith_relay_chunk **spare = is_small ? &pool->spare_small : &pool->spare_large;

    if (*count == (uint32_t)(is_small ? SPARE_SMALL_MAX : SPARE_LARGE_MAX)) {
        kith__free(pool->mem, chunk);
        return;
    }
    chunk->next = *spare;
    *spare = chunk;
    (*count)++;
}

static struct kith_relay_outbox *box_get(struct kith_relay_pool *pool)
{
    struct kith_relay_outbox *box = pool->spare_boxes;

    if (box != NULL) {
        pool->spare_boxes = box->next;
        pool->spare_box_count--;
    } else {
        box = kith__alloc_zero(pool->mem, sizeof *box);
        if (box == NULL)
            return NULL;
    }
    box->next = NULL;
    box->cut = NONE;
    return box;
}

/** Takes back an outbox whose queues are empty. */
static void box_put(struct kith_relay_pool *pool, struct kith_relay_outbox **at)
{
    struct kith_relay_outbox *box = *at;

    KITH_ASSERT(box->size == 0 && box->frames == 0 && box->charged == 0 && box->plan_count == 0);
    *at = NULL;
    if (pool->spare_box_count == SPARE_BOXES_MAX) {
        kith__free(pool->mem, box);
        return;
    }
    memset(box, 0, sizeof *box);
    box->next = pool->spare_boxes;
    pool->spare_boxes = box;
    pool->spare_box_count++;
}

/* ---- Queueing ---- */

/** The lane of a sender: the one that it has; else a free one; else one that it shares. */
static struct queue *lane_of(struct kith_relay_outbox *box, uint64_t tag)
{
    struct queue *free_lane = NULL;

    for (int i = 0; i < KITH_RELAY_LANES; i++) {
        struct queue *lane = &box->queues[i];

        if (lane->frames != 0 && lane->tag == tag)
            return lane;
        if (lane->frames == 0 && free_lane == NULL)
            free_lane = lane;
    }
    if (free_lane == NULL)
        return &box->queues[tag >> 60];
    free_lane->tag = tag;
    free_lane->deficit = 0;
    return free_lane;
}

/** Room at the end for a message: where its first part, head_size bytes, goes in one piece. */
static uint32_t room_for(const struct queue *queue, size_t head_size)
{
    uint32_t room = queue->tail != NULL ? queue->tail->cap - queue->tail->end : 0;

    return room >= head_size ? room : 0;
}

/** The chunks that a message needs beyond `room`, and what they cost. */
static uint32_t cost_of(const struct queue *queue, size_t size, uint32_t room, uint32_t *cap)
{
    size_t left = size > room ? size - room : 0;

    *cap = queue->head == NULL && left <= SMALL_SIZE ? SMALL_SIZE : LARGE_SIZE;
    return (uint32_t)((left + *cap - 1) / *cap) * chunk_cost(*cap);
}

static void append(struct queue *queue, const uint8_t *bytes, size_t size)
{
    while (size != 0) {
        size_t part;

        if (queue->tail->end == queue->tail->cap)
            queue->tail = queue->tail->next;
        part = KITH_MIN(size, (size_t)(queue->tail->cap - queue->tail->end));
        memcpy(queue->tail->bytes + queue->tail->end, bytes, part);
        queue->tail->end += (uint32_t)part;
        bytes += part;
        size -= part;
    }
}

/** Adds a message for whose chunks, which cost `cost`, there is room in the pool. False: the allocator has none. */
static bool enqueue(struct kith_relay_outbox *box, struct kith_relay_pool *pool, struct queue *queue, uint32_t cap,
                    uint32_t cost, struct kith_slice head, struct kith_slice payload)
{
    struct kith_relay_chunk *chain = NULL;
    size_t size = head.size + payload.size;
    uint32_t room = room_for(queue, head.size);

    for (uint32_t got = 0; got < cost; got += chunk_cost(cap)) {
        struct kith_relay_chunk *chunk = chunk_get(pool, cap);

        if (chunk == NULL) {
            chunks_free(pool->mem, chain);
            return false;
        }
        chunk->next = chain;
        chain = chunk;
    }
    pool->used += cost;
    box->charged += cost;
    if (queue->tail == NULL) {
        queue->head = queue->tail = chain;
    } else {
        queue->tail->next = chain;
        if (room == 0)
            queue->tail = chain; /* what the old one has left is too small for the head */
    }
    append(queue, head.ptr, head.size);
    append(queue, payload.ptr, payload.size);
    queue->size += (uint32_t)size;
    queue->frames++;
    return true;
}

static enum kith_relay_push verdict_on(const struct kith_relay_outbox *box, const struct queue *lane,
                                       const struct kith_relay_outbox_limits *limits, size_t size)
{
    if (box->size + size > limits->size_max || box->frames >= limits->frames_max)
        return KITH_RELAY_PUSH_QUEUE_FULL;
    if (lane->size + size > limits->size_max - box->size || lane->frames >= limits->frames_max - box->frames)
        return KITH_RELAY_PUSH_QUEUE_SHARE;
    return KITH_RELAY_PUSHED;
}

/** An outbox that was made for a message that did not get in is of no use. */
static enum kith_relay_push refuse(struct kith_relay_outbox **box, struct kith_relay_pool *pool,
                                   enum kith_relay_push why)
{
    if ((*box)->charged == 0)
        box_put(pool, box);
    return why;
}

enum kith_relay_push kith__relay_outbox_push(struct kith_relay_outbox **at, struct kith_relay_pool *pool,
                                             const struct kith_relay_outbox_limits *limits, uint64_t tag,
                                             struct kith_slice head, struct kith_slice payload)
{
    struct kith_relay_outbox *box = *at;
    size_t size = head.size + payload.size;
    enum kith_relay_push verdict;
    uint32_t cap, cost;
    struct queue *lane;

    KITH_ASSERT(head.size <= HEAD_MAX && (box == NULL || !box->is_closing));
    if (box == NULL && (box = *at = box_get(pool)) == NULL)
        return KITH_RELAY_PUSH_MEMORY;
    lane = lane_of(box, tag);
    if ((verdict = verdict_on(box, lane, limits, size)) != KITH_RELAY_PUSHED)
        return refuse(at, pool, verdict);
    cost = cost_of(lane, size, room_for(lane, head.size), &cap);
    if (cost != 0 && (uint64_t)box->charged + cost > (pool->max - pool->used) / POOL_SHARE)
        return refuse(at, pool, KITH_RELAY_PUSH_MEMORY);
    if (!enqueue(box, pool, lane, cap, cost, head, payload))
        return refuse(at, pool, KITH_RELAY_PUSH_MEMORY);
    box->size += (uint32_t)size;
    box->frames++;
    return KITH_RELAY_PUSHED;
}

enum kith_relay_push kith__relay_outbox_push_control(struct kith_relay_outbox **at, struct kith_relay_pool *pool,
                                                     const struct kith_relay_outbox_limits *limits,
                                                     struct kith_slice message)
{
    struct kith_relay_outbox *box = *at;
    struct queue *queue;
    uint32_t cost;

    if (box == NULL && (box = *at = box_get(pool)) == NULL)
        return KITH_RELAY_PUSH_MEMORY;
    queue = &box->queues[CONTROL];
    if (queue->size + message.size > limits->control_size_max)
        return refuse(at, pool, KITH_RELAY_PUSH_QUEUE_FULL);
    /* In one piece, so that chunks are small ones also where several wait. */
    cost = room_for(queue, message.size) != 0 ? 0 : chunk_cost(SMALL_SIZE);
    if (cost > pool->max - pool->used ||
        !enqueue(box, pool, queue, SMALL_SIZE, cost, message, (struct kith_slice) { NULL, 0 }))
        return refuse(at, pool, KITH_RELAY_PUSH_MEMORY);
    return KITH_RELAY_PUSHED;
}

/* ---- Choosing what is sent ---- */

/** Moves to the chunk where the next byte is. */
static void cursor_settle(struct cursor *cursor)
{
    while (cursor->chunk != NULL && cursor->at == cursor->chunk->end) {
        cursor->chunk = cursor->chunk->next;
        cursor->at = cursor->chunk != NULL ? cursor->chunk->begin : 0;
    }
}

/** The size of the message that begins at the cursor, and of its payload. Its head lies in one chunk. */
static uint32_t message_size(const struct cursor *cursor, uint32_t *payload)
{
    const uint8_t *bytes = cursor->chunk->bytes + cursor->at;
    struct kith_ws_frame frame;
    int err = kith__ws_frame_parse(bytes, cursor->chunk->end - cursor->at, &frame);
    uint8_t type;

    KITH_ASSERT(err == 0 && frame.size <= KITH_RELAY_FRAME_MAX);
    type = frame.size != 0 ? bytes[frame.head_size] : 0;
    *payload = type == KITH_RELAY_SERVER_DATAGRAM ? (uint32_t)frame.size - KITH_RELAY_DATAGRAM_OVERHEAD
               : type == KITH_RELAY_SERVER_BATCH  ? (uint32_t)frame.size - KITH_RELAY_BATCH_OVERHEAD
                                                  : 0;
    return frame.head_size + (uint32_t)frame.size;
}

struct choice {
    struct kith_slice *slices;
    size_t cap, count;
    size_t left; /* bytes that may still be chosen */
};

/** Adds a part of a chunk, to the last slice if it follows on it. False: there is no slice left. */
static bool choose_part(struct choice *choice, const uint8_t *bytes, size_t size)
{
    struct kith_slice *last = choice->count != 0 ? &choice->slices[choice->count - 1] : NULL;

    if (last != NULL && last->ptr + last->size == bytes) {
        last->size += size;
        return true;
    }
    if (choice->count == choice->cap)
        return false;
    choice->slices[choice->count++] = (struct kith_slice) { bytes, size };
    return true;
}

/** A new entry of the plan. False: it is full. */
static bool plan_entry(struct kith_relay_outbox *box, uint8_t queue, bool is_turn, int32_t before)
{
    if (box->plan_count == PLAN_MAX)
        return false;
    box->plan[box->plan_count].queue = queue;
    box->plan[box->plan_count].is_turn = is_turn;
    box->plan[box->plan_count].before = before;
    box->plan[box->plan_count].credited = box->queues[queue].deficit;
    box->plan[box->plan_count].size = box->plan[box->plan_count].done = 0;
    box->plan_count++;
    return true;
}

/** Chooses size bytes from the cursor on for the last entry of the plan. Returns those that found a place in the slices. */
static uint32_t choose(struct kith_relay_outbox *box, struct choice *choice, struct cursor *cursor, uint32_t size)
{
    uint32_t done = 0;

    while (done < size) {
        uint32_t part;

        cursor_settle(cursor);
        KITH_ASSERT(cursor->chunk != NULL);
        part = KITH_MIN(size - done, cursor->chunk->end - cursor->at);
        if (!choose_part(choice, cursor->chunk->bytes + cursor->at, part))
            break;
        cursor->at += part;
        done += part;
    }
    box->plan[box->plan_count - 1].size += done;
    choice->left -= KITH_MIN(choice->left, (size_t)done);
    return done;
}

static struct cursor cursor_of(const struct queue *queue)
{
    return (struct cursor) { queue->head, queue->head != NULL ? queue->head->begin : 0 };
}

/** Messages of one lane while its turn lasts. False: nothing more can be chosen. */
static bool choose_of_lane(struct kith_relay_outbox *box, struct choice *choice, struct cursor *cursor)
{
    struct queue *lane = &box->queues[box->turn];
    int32_t before = lane->deficit;
    uint32_t payload, size, done;

    if (lane->deficit <= 0) /* else its turn was interrupted */
        lane->deficit += KITH_RELAY_LANE_QUANTUM;
    if (lane->deficit <= 0)
        return true; /* still pays for a long message */
    if (!plan_entry(box, box->turn, true, before)) {
        lane->deficit = before;
        return false;
    }
    for (; cursor->chunk != NULL && lane->deficit > 0; cursor_settle(cursor)) {
        if (choice->left == 0)
            return false;
        size = message_size(cursor, &payload);
        done = choose(box, choice, cursor, size);
        if (done != 0)
            lane->deficit -= (int32_t)size;
        if (done != size)
            return false;
    }
    return true;
}

static void choose_of_lanes(struct kith_relay_outbox *box, struct choice *choice, struct cursor *cursors)
{
    unsigned idle = 0;

    while (idle < KITH_RELAY_LANES && choice->left != 0) {
        struct cursor *cursor = &cursors[box->turn];

        cursor_settle(cursor);
        if (cursor->chunk == NULL) {
            box->queues[box->turn].deficit = 0;
            idle++;
        } else {
            idle = 0;
            if (!choose_of_lane(box, choice, cursor))
                return;
        }
        box->turn = (uint8_t)((box->turn + 1) % KITH_RELAY_LANES);
    }
}

size_t kith__relay_outbox_plan(struct kith_relay_outbox *box, size_t size_max, struct kith_slice *slices, size_t cap)
{
    struct choice choice = { slices, cap, 0, size_max };
    struct cursor cursors[QUEUES];
    uint32_t size;

    if (box == NULL)
        return 0;
    KITH_ASSERT(box->plan_count == 0 && cap != 0);
    for (int i = 0; i < QUEUES; i++)
        cursors[i] = cursor_of(&box->queues[i]);
    if (box->cut != NONE) {
        (void)plan_entry(box, box->cut, false, 0);
        if (choose(box, &choice, &cursors[box->cut], box->cut_left) != box->cut_left)
            return choice.count;
    }
    size = box->queues[CONTROL].size - (box->cut == CONTROL ? box->cut_left : 0);
    if (size != 0) {
        (void)plan_entry(box, CONTROL, false, 0);
        if (choose(box, &choice, &cursors[CONTROL], size) != size)
            return choice.count;
    }
    if (!box->is_closing)
        choose_of_lanes(box, &choice, cursors);
    return choice.count;
}

bool kith__relay_outbox_is_planned(const struct kith_relay_outbox *box)
{
    return box != NULL && box->plan_count != 0;
}

/* ---- Taking out ---- */

static void pop_chunk(struct kith_relay_outbox *box, struct kith_relay_pool *pool, struct queue *queue)
{
    struct kith_relay_chunk *chunk = queue->head;
    uint32_t cost = chunk_cost(chunk->cap);

    queue->head = chunk->next;
    if (queue->head == NULL)
        queue->tail = NULL;
    KITH_ASSERT(box->charged >= cost && pool->used >= cost);
    box->charged -= cost;
    pool->used -= cost;
    chunk_put(pool, chunk);
}

/** Takes size bytes off a queue and counts the messages that are through. */
static void consume(struct kith_relay_outbox *box, struct kith_relay_pool *pool, uint8_t index, uint32_t size,
                    struct kith_relay_sent *sent)
{
    struct queue *queue = &box->queues[index];

    while (size != 0) {
        struct cursor cursor = cursor_of(queue);
        uint32_t part;

        if (cursor.at == cursor.chunk->end) { /* its last bytes were too few for a head */
            pop_chunk(box, pool, queue);
            continue;
        }
        if (box->cut == NONE) {
            box->cut = index;
            box->cut_left = message_size(&cursor, &box->cut_payload);
        }
        KITH_ASSERT(box->cut == index);
        part = KITH_MIN(KITH_MIN(size, box->cut_left), cursor.chunk->end - cursor.at);
        cursor.chunk->begin += part;
        queue->size -= part;
        box->cut_left -= part;
        size -= part;
        if (index != CONTROL)
            box->size -= part;
        if (box->cut_left == 0) {
            box->cut = NONE;
            queue->frames--;
            if (index != CONTROL) {
                box->frames--;
                sent->frames++;
                sent->payload_bytes += box->cut_payload;
            }
        }
        if (queue->frames == 0) /* also a tail with room: an empty queue holds no memory */
            while (queue->head != NULL)
                pop_chunk(box, pool, queue);
        else if (cursor.chunk->begin == cursor.chunk->end && cursor.chunk->next != NULL)
            pop_chunk(box, pool, queue);
    }
}

/** What was planned and not sent has not happened: lanes have the deficits of before, and the first of them has the turn. */
static void take_back(struct kith_relay_outbox *box)
{
    for (unsigned i = box->plan_count; i > 0; i--) {
        uint8_t index = box->plan[i - 1].queue;

        if (!box->plan[i - 1].is_turn || box->plan[i - 1].done == box->plan[i - 1].size)
            continue;
        box->turn = index;
        box->queues[index].deficit = box->plan[i - 1].before;
        if (box->plan[i - 1].done == 0)
            continue;
        /* What has begun will be sent whole; if that was all it had, it is the next one's turn. */
        box->queues[index].deficit = box->plan[i - 1].credited -
                                     (int32_t)(box->plan[i - 1].done + (box->cut == index ? box->cut_left : 0));
        if (box->queues[index].deficit <= 0)
            box->turn = (uint8_t)((index + 1) % KITH_RELAY_LANES);
    }
}

struct kith_relay_sent kith__relay_outbox_sent(struct kith_relay_outbox **at, struct kith_relay_pool *pool, size_t size)
{
    struct kith_relay_outbox *box = *at;
    struct kith_relay_sent sent = { 0 };

    if (box == NULL)
        return sent;
    for (unsigned i = 0; i < box->plan_count && size != 0; i++) {
        box->plan[i].done = (uint32_t)KITH_MIN(size, (size_t)box->plan[i].size);
        size -= box->plan[i].done;
        consume(box, pool, box->plan[i].queue, box->plan[i].done, &sent);
    }
    KITH_ASSERT(size == 0);
    take_back(box);
    box->plan_count = 0;
    if (box->charged == 0 && !box->is_closing)
        box_put(pool, at);
    return sent;
}

void kith__relay_outbox_close(struct kith_relay_outbox *box)
{
    box->is_closing = true;
}

uint64_t kith__relay_outbox_free(struct kith_relay_outbox **at, struct kith_relay_pool *pool)
{
    struct kith_relay_outbox *box = *at;
    uint64_t frames;

    if (box == NULL)
        return 0;
    frames = box->frames;
    for (int i = 0; i < QUEUES; i++)
        while (box->queues[i].head != NULL)
            pop_chunk(box, pool, &box->queues[i]);
    box->size = box->frames = box->plan_count = 0;
    box_put(pool, at);
    return frames;
}

size_t kith__relay_outbox_size(const struct kith_relay_outbox *box)
{
    if (box == NULL)
        return 0;
    if (!box->is_closing)
        return box->size + box->queues[CONTROL].size;
    return box->queues[CONTROL].size + (box->cut < CONTROL ? box->cut_left : 0);
}

size_t kith__relay_outbox_frames(const struct kith_relay_outbox *box)
{
    return box != NULL ? box->frames : 0;
}

static uint64_t check_queue(const struct kith_relay_outbox *box, int index)
{
    const struct queue *queue = &box->queues[index];
    struct cursor cursor = cursor_of(queue);
    uint32_t skip = box->cut == index ? box->cut_left : 0, size = 0, frames = skip != 0, payload;
    uint64_t cost = 0;

    for (struct kith_relay_chunk *chunk = queue->head; chunk != NULL; chunk = chunk->next) {
        KITH_ASSERT(chunk->begin <= chunk->end && chunk->end <= chunk->cap &&
                    (chunk->next != NULL || chunk == queue->tail));
        cost += chunk_cost(chunk->cap);
        size += chunk->end - chunk->begin;
    }
    KITH_ASSERT(size == queue->size && (queue->frames == 0) == (queue->head == NULL));
    for (cursor_settle(&cursor); cursor.chunk != NULL; cursor_settle(&cursor)) {
        if (skip == 0) {
            skip = message_size(&cursor, &payload);
            frames++;
        }
        payload = KITH_MIN(skip, cursor.chunk->end - cursor.at);
        cursor.at += payload;
        skip -= payload;
    }
    KITH_ASSERT(skip == 0 && frames == queue->frames);
    return cost;
}

uint64_t kith__relay_outbox_check(const struct kith_relay_outbox *box, const struct kith_relay_outbox_limits *limits)
{
    uint64_t cost = 0, size = 0, frames = 0;

    if (box == NULL)
        return 0;
    for (int i = 0; i < QUEUES; i++) {
        cost += check_queue(box, i);
        size += i != CONTROL ? box->queues[i].size : 0;
        frames += i != CONTROL ? box->queues[i].frames : 0;
    }
    KITH_ASSERT(cost == box->charged && size == box->size && frames == box->frames);
    KITH_ASSERT(size <= limits->size_max && frames <= limits->frames_max);
    KITH_ASSERT(box->queues[CONTROL].size <= limits->control_size_max);
    KITH_ASSERT((box->cut == NONE) == (box->cut_left == 0));
    return cost;
}
