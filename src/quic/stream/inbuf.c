#include "quic/stream/inbuf.h"

#include "base/mem.h"
#include "quic/wire/codes.h"

/* More blocks than this, and two for each full block that could be waiting, are merged: searching and inserting stay cheap. */
enum { BLOCKS_MAX = 2048 };

void kith__inbuf_init(struct kith_inbuf *in, const struct kith_mem *mem)
{
    *in = (struct kith_inbuf) { .mem = mem, .final_size = KITH_INBUF_SIZE_UNKNOWN };
    kith__ranges_init(&in->received, mem);
}

void kith__inbuf_discard(struct kith_inbuf *in)
{
    for (uint32_t i = 0; i < in->count; i++)
        kith__free(in->mem, in->blocks[in->head + i].memory);
    if (in->mem != NULL)
        kith__free(in->mem, in->blocks);
    in->blocks = NULL;
    in->head = in->count = in->cap = 0;
    in->waiting = in->memory_size = 0;
}

void kith__inbuf_dispose(struct kith_inbuf *in)
{
    if (in->mem == NULL)
        return;
    kith__inbuf_discard(in);
    kith__ranges_dispose(&in->received);
}

uint64_t kith__inbuf_highest(const struct kith_inbuf *in)
{
    if (in->final_size != KITH_INBUF_SIZE_UNKNOWN)
        return in->final_size;
    return in->received.count != 0 ? kith__ranges_at(&in->received, in->received.count - 1).end : 0;
}

int kith__inbuf_check_final(const struct kith_inbuf *in, uint64_t offset, uint64_t size, bool fin)
{
    uint64_t end = offset + size;

    if (in->final_size != KITH_INBUF_SIZE_UNKNOWN && (end > in->final_size || (fin && end != in->final_size)))
        return KITH_WIRE_FINAL_SIZE_ERROR;
    return fin && end < kith__inbuf_highest(in) ? KITH_WIRE_FINAL_SIZE_ERROR : 0;
}

static struct kith_inbuf_block *block_at(const struct kith_inbuf *in, uint32_t index)
{
    return &in->blocks[in->head + index];
}

static uint64_t block_end(const struct kith_inbuf_block *block)
{
    return block->offset + (block->end - block->begin);
}

/** Index of the first block that begins at or after `offset`. The last block is looked at first: data mostly comes in order. */
static uint32_t find_block(const struct kith_inbuf *in, uint64_t offset)
{
    uint32_t low = 0, high = in->count;

    if (high != 0 && block_at(in, high - 1)->offset < offset)
        return high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (block_at(in, middle)->offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/** Makes room in the array for one more block after the last. */
static int reserve_block(struct kith_inbuf *in)
{
    struct kith_inbuf_block *blocks;
    uint32_t cap;

    if (in->head + in->count < in->cap)
        return 0;
    if (in->head > in->cap / 2) {
        memmove(in->blocks, in->blocks + in->head, in->count * sizeof *blocks);
        in->head = 0;
        return 0;
    }
    cap = in->cap != 0 ? in->cap * 2 : 4;
    blocks = kith__realloc(in->mem, in->blocks, cap * sizeof *blocks);
    if (blocks == NULL)
        return KITH_ERR_NOMEM;
    in->blocks = blocks;
    in->cap = cap;
    return 0;
}

static void remove_block(struct kith_inbuf *in, uint32_t index)
{
    struct kith_inbuf_block *block = block_at(in, index);

    kith__free(in->mem, block->memory);
    in->memory_size -= block->cap;
    in->count--;
    if (index == 0)
        in->head = in->count == 0 ? 0 : in->head + 1;
    else
        memmove(block, block + 1, (in->count - index) * sizeof *block);
}

/** Puts a new block with these bytes at `index`. is_next: it continues the block before. */
static int insert_block(struct kith_inbuf *in, uint32_t index, uint64_t offset, const uint8_t *bytes, size_t size,
                        bool is_next)
{
    struct kith_inbuf_block *block;
    size_t cap = (size + KITH_INBUF_BLOCK_MIN - 1) / KITH_INBUF_BLOCK_MIN * KITH_INBUF_BLOCK_MIN;
    uint8_t *memory;
    int err;

    if (is_next) {
        cap = KITH_MAX(cap, KITH_MIN((size_t)in->block_hint * 2, (size_t)KITH_INBUF_BLOCK_MAX));
        in->block_hint = (uint32_t)KITH_MIN(cap, (size_t)KITH_INBUF_BLOCK_MAX);
    }
    KITH_ASSERT(cap <= UINT32_MAX);
    if ((err = reserve_block(in)) != 0)
        return err;
    if ((memory = kith__alloc(in->mem, cap)) == NULL)
        return KITH_ERR_NOMEM;
    memcpy(memory, bytes, size);
    block = block_at(in, index);
    memmove(block + 1, block, (in->count - index) * sizeof *block);
    *block =
        (struct kith_inbuf_block) { .offset = offset, .memory = memory, .end = (uint32_t)size, .cap = (uint32_t)cap };
    in->count++;
    in->memory_size += cap;
    in->waiting += size;
    return 0;
}

/** Stores bytes of which none is stored yet: fills up the block before, then adds one. */
static int store(struct kith_inbuf *in, uint64_t offset, const uint8_t *bytes, size_t size)
{
    uint32_t index = find_block(in, offset);
    struct kith_inbuf_block *before = index != 0 ? block_at(in, index - 1) : NULL;
    bool is_next = before != NULL ? block_end(before) == offset : !in->unordered && offset == in->consumed;
    size_t part = before != NULL && is_next ? KITH_MIN(size, (size_t)(before->cap - before->end)) : 0;
    int err;

    if (part < size &&
        (err = insert_block(in, index, offset + part, bytes + part, size - part, is_next && index == in->count)) != 0)
        return err;
    if (part != 0) {
        before = block_at(in, index - 1); /* the array may have moved */
        memcpy(before->memory + before->end, bytes, part);
        before->end += (uint32_t)part;
        in->waiting += part;
    }
    return 0;
}

/** How many blocks from `index` on lie together and fit into one block; *size: their bytes. */
static uint32_t group_at(const struct kith_inbuf *in, uint32_t index, size_t *size)
{
    uint32_t count = 1;

    *size = block_at(in, index)->end - block_at(in, index)->begin;
    for (; index + count < in->count; count++) {
        const struct kith_inbuf_block *next = block_at(in, index + count);

        if (next->offset != block_end(next - 1) || *size + (next->end - next->begin) > KITH_INBUF_BLOCK_MAX)
            break;
        *size += next->end - next->begin;
    }
    return count;
}

/** Merges blocks that lie together and takes away their unused room. KITH_ERR_NOMEM leaves a valid buffer. */
static int merge_blocks(struct kith_inbuf *in)
{
    uint32_t kept = 0;
    int err = 0;

    for (uint32_t index = 0, count; index < in->count; index += count) {
        struct kith_inbuf_block merged = *block_at(in, index);
        size_t size;

        count = group_at(in, index, &size);
        if (err == 0 && (count > 1 || merged.cap - size > KITH_INBUF_BLOCK_MIN)) {
            uint8_t *memory = kith__alloc(in->mem, size);

            if (memory == NULL)
                err = KITH_ERR_NOMEM;
            else {
                merged = (struct kith_inbuf_block) { .offset = merged.offset, .memory = memory, .cap = (uint32_t)size };
                for (uint32_t i = index; i < index + count; i++) {
                    struct kith_inbuf_block *old = block_at(in, i);

                    memcpy(memory + merged.end, old->memory + old->begin, old->end - old->begin);
                    merged.end += old->end - old->begin;
                    in->memory_size -= old->cap;
                    kith__free(in->mem, old->memory);
                }
                in->memory_size += size;
                *block_at(in, kept++) = merged;
                continue;
            }
        }
        for (uint32_t i = 0; i < count; i++)
            *block_at(in, kept++) = *block_at(in, index + i);
    }
    in->count = kept;
    return err;
}

static bool needs_merge(const struct kith_inbuf *in)
{
    return in->memory_size + in->count * sizeof(struct kith_inbuf_block) > 2 * in->waiting + KITH_INBUF_SLACK ||
           in->count > BLOCKS_MAX + 4 * (in->waiting / KITH_INBUF_BLOCK_MAX);
}

/** Notes [offset, offset + size), of which nothing was received yet, and stores it. */
static int take_in(struct kith_inbuf *in, uint64_t offset, const uint8_t *bytes, size_t size)
{
    int err = kith__ranges_add(&in->received, offset, offset + size);

    if (err != 0)
        return err;
    if ((err = store(in, offset, bytes, size)) != 0) {
        int undo = kith__ranges_remove(&in->received, offset, offset + size);

        KITH_ASSERT(undo == 0); /* the set was as large before, so there is room */
    }
    return err;
}

static uint32_t count_holes(const struct kith_inbuf *in)
{
    size_t count = in->received.count;

    return (uint32_t)(count == 0 || kith__ranges_at(&in->received, 0).begin != 0 ? count : count - 1);
}

int kith__inbuf_on_data(struct kith_inbuf *in, uint64_t offset, const uint8_t *bytes, size_t size, bool fin)
{
    uint64_t end = offset + size;
    int err = kith__inbuf_check_final(in, offset, size, fin);

    if (err != 0)
        return err;
    while (offset < end) {
        size_t i = kith__ranges_find(&in->received, offset);
        struct kith_range known = i < in->received.count ? kith__ranges_at(&in->received, i)
                                                         : (struct kith_range) { UINT64_MAX - 1, UINT64_MAX };
        uint64_t stop = KITH_MIN(end, known.begin);

        if (offset < stop && (err = take_in(in, offset, bytes, (size_t)(stop - offset))) != 0)
            return err;
        stop = KITH_MIN(end, known.end);
        bytes += stop - offset;
        offset = stop;
    }
    if (fin)
        in->final_size = end;
    if (count_holes(in) > KITH_INBUF_HOLES_MAX)
        return KITH_WIRE_INTERNAL_ERROR;
    return needs_merge(in) ? merge_blocks(in) : 0;
}

bool kith__inbuf_is_finished(const struct kith_inbuf *in)
{
    return in->consumed == in->final_size;
}

bool kith__inbuf_is_complete(const struct kith_inbuf *in)
{
    return in->consumed + in->waiting == in->final_size;
}

bool kith__inbuf_is_readable(const struct kith_inbuf *in)
{
    return kith__inbuf_is_finished(in) ||
           (in->count != 0 && (in->unordered || block_at(in, 0)->offset == in->consumed));
}

int kith__inbuf_peek(const struct kith_inbuf *in, struct kith_slice *out)
{
    const struct kith_inbuf_block *block;

    if (in->unordered)
        return KITH_ERR_STATE;
    if (!kith__inbuf_is_readable(in))
        return KITH_ERR_AGAIN;
    if (kith__inbuf_is_finished(in))
        return KITH_ERR_END;
    block = block_at(in, 0);
    *out = (struct kith_slice) { block->memory + block->begin, block->end - block->begin };
    return 0;
}

/** Drops the first bytes of the first block. */
static void drop(struct kith_inbuf *in, size_t size)
{
    struct kith_inbuf_block *block = block_at(in, 0);

    KITH_ASSERT(size <= block->end - block->begin);
    block->begin += (uint32_t)size;
    block->offset += size;
    in->waiting -= size;
    in->consumed += size;
    if (block->begin == block->end) {
        remove_block(in, 0);
        /* Who reads everything at once needs smaller blocks. */
        if (in->count == 0)
            in->block_hint /= 2;
    }
}

void kith__inbuf_consume(struct kith_inbuf *in, size_t size)
{
    KITH_ASSERT(!in->unordered);
    if (size != 0) {
        KITH_ASSERT(in->count != 0 && block_at(in, 0)->offset == in->consumed);
        drop(in, size);
    }
}

int kith__inbuf_next_chunk(struct kith_inbuf *in, uint8_t *out, size_t capacity, uint64_t *offset, size_t *size)
{
    const struct kith_inbuf_block *block;
    size_t part;

    in->unordered = true;
    if (!kith__inbuf_is_readable(in))
        return KITH_ERR_AGAIN;
    if (in->count == 0)
        return KITH_ERR_END;
    block = block_at(in, 0);
    part = KITH_MIN(capacity, (size_t)(block->end - block->begin));
    memcpy(out, block->memory + block->begin, part);
    *offset = block->offset;
    *size = part;
    drop(in, part);
    return 0;
}

void kith__inbuf_skip(struct kith_inbuf *in, uint64_t end, bool fin)
{
    int err;

    KITH_ASSERT(in->count == 0);
    /* One range that takes in all others: this needs no memory. */
    err = kith__ranges_add(&in->received, 0, KITH_MAX(end, kith__inbuf_highest(in)));
    KITH_ASSERT(err == 0);
    if (fin)
        in->final_size = end;
}
