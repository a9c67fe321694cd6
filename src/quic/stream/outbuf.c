#include "quic/stream/outbuf.h"

#include "base/mem.h"

struct kith_outbuf_block {
    struct kith_outbuf_block *next;
    uint64_t offset; /* of the first byte */
    uint32_t size, cap;
    uint8_t bytes[];
};

void kith__outbuf_init(struct kith_outbuf *out, const struct kith_mem *mem)
{
    *out = (struct kith_outbuf) { .mem = mem };
    kith__ranges_init(&out->lost, mem);
    kith__ranges_init(&out->acked, mem);
}

static void free_blocks(const struct kith_mem *mem, struct kith_outbuf_block *block)
{
    while (block != NULL) {
        struct kith_outbuf_block *next = block->next;

        kith__free(mem, block);
        block = next;
    }
}

void kith__outbuf_dispose(struct kith_outbuf *out)
{
    if (out->mem == NULL)
        return;
    free_blocks(out->mem, out->first);
    out->first = out->last = out->cursor = NULL;
    kith__ranges_dispose(&out->lost);
    kith__ranges_dispose(&out->acked);
}

/** A chain of blocks for `size` > 0 bytes that follow `offset`; NULL: no memory. */
static struct kith_outbuf_block *new_blocks(const struct kith_outbuf *out, uint64_t offset, size_t size)
{
    struct kith_outbuf_block *first = NULL, **tail = &first;
    uint64_t held = kith__outbuf_held(out);

    while (size != 0) {
        /* As large as what is held already, so that the number of blocks stays small and no memory is wasted on few bytes. */
        uint64_t wish = KITH_MAX(KITH_MAX(held, size), (uint64_t)KITH_OUTBUF_BLOCK_MIN);
        uint32_t cap = (uint32_t)KITH_MIN(wish, (uint64_t)KITH_OUTBUF_BLOCK_MAX);
        struct kith_outbuf_block *block = kith__alloc(out->mem, sizeof *block + cap);

        if (block == NULL) {
            free_blocks(out->mem, first);
            return NULL;
        }
        *block = (struct kith_outbuf_block) { .offset = offset, .cap = cap };
        *tail = block;
        tail = &block->next;
        offset += cap;
        held += cap;
        size -= KITH_MIN(size, (size_t)cap);
    }
    return first;
}

int kith__outbuf_write(struct kith_outbuf *out, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    struct kith_outbuf_block *block = out->last, *more = NULL;
    size_t room = block != NULL ? block->cap - block->size : 0;

    KITH_ASSERT(out->fin == KITH_FIN_OPEN);
    if (size > room) {
        more = new_blocks(out, out->end + room, size - room);
        if (more == NULL)
            return KITH_ERR_NOMEM;
        if (block == NULL)
            out->first = block = more;
        else
            block->next = more;
    }
    out->end += size;
    while (size != 0) {
        size_t part;

        if (block->size == block->cap)
            block = block->next;
        part = KITH_MIN(size, (size_t)(block->cap - block->size));
        memcpy(block->bytes + block->size, from, part);
        block->size += (uint32_t)part;
        from += part;
        size -= part;
        out->last = block;
    }
    return 0;
}

void kith__outbuf_finish(struct kith_outbuf *out)
{
    KITH_ASSERT(out->fin == KITH_FIN_OPEN);
    out->fin = KITH_FIN_UNSENT;
}

bool kith__outbuf_peek(const struct kith_outbuf *out, uint64_t limit, struct kith_outbuf_chunk *chunk)
{
    if (out->lost.count != 0) {
        struct kith_range range = kith__ranges_at(&out->lost, 0);

        *chunk = (struct kith_outbuf_chunk) { .offset = range.begin,
                                              .size = (size_t)(range.end - range.begin),
                                              .fin = out->fin == KITH_FIN_UNSENT && range.end == out->end,
                                              .resend = true };
        return true;
    }
    limit = KITH_MIN(limit, out->end);
    if (limit > out->sent) {
        *chunk = (struct kith_outbuf_chunk) { .offset = out->sent,
                                              .size = (size_t)(limit - out->sent),
                                              .fin = out->fin == KITH_FIN_UNSENT && limit == out->end };
        return true;
    }
    if (out->fin == KITH_FIN_UNSENT && out->sent == out->end) {
        *chunk = (struct kith_outbuf_chunk) { .offset = out->end, .fin = true, .resend = true };
        return true;
    }
    return false;
}

bool kith__outbuf_take(struct kith_outbuf *out, const struct kith_outbuf_chunk *chunk, size_t size)
{
    KITH_ASSERT(size <= chunk->size);
    if (chunk->resend && chunk->size != 0) {
        int err = kith__ranges_remove(&out->lost, chunk->offset, chunk->offset + size);

        KITH_ASSERT(err == 0); /* the front of a range: nothing is split */
    } else {
        KITH_ASSERT(chunk->offset == out->sent && size <= out->end - out->sent);
        out->sent += size;
    }
    if (!chunk->fin || size != chunk->size)
        return false;
    out->fin = KITH_FIN_SENT;
    return true;
}

void kith__outbuf_copy_out(struct kith_outbuf *out, uint64_t offset, size_t size, uint8_t *dst)
{
    struct kith_outbuf_block *block = out->cursor;

    KITH_ASSERT(size == 0 || (offset >= out->begin && size <= out->end - offset));
    if (block == NULL || block->offset > offset)
        block = out->first;
    while (size != 0) {
        size_t at, part;

        while (offset - block->offset >= block->size)
            block = block->next;
        at = (size_t)(offset - block->offset);
        part = KITH_MIN(size, block->size - at);
        memcpy(dst, block->bytes + at, part);
        dst += part;
        offset += part;
        size -= part;
        out->cursor = block;
    }
}

/** Everything below `begin` is acknowledged: frees the blocks that are now behind it. */
static void advance(struct kith_outbuf *out, uint64_t begin)
{
    out->begin = begin;
    while (out->first != NULL && out->first->offset + out->first->size <= begin) {
        struct kith_outbuf_block *gone = out->first;

        if (out->cursor == gone)
            out->cursor = NULL;
        out->first = gone->next;
        if (out->last == gone)
            out->last = NULL;
        kith__free(out->mem, gone);
    }
}

int kith__outbuf_on_acked(struct kith_outbuf *out, uint64_t offset, uint64_t size, bool fin, uint64_t *freed)
{
    uint64_t end = offset + size, before = out->begin;
    int err;

    KITH_ASSERT(end <= out->sent);
    if (end > out->begin) {
        /* Splitting a lost range can fail, so it comes first, and both sets agree whatever happens. */
        if (out->lost.count != 0 && (err = kith__ranges_remove(&out->lost, offset, end)) != 0)
            return err;
        if (offset > out->begin) {
            if ((err = kith__ranges_add(&out->acked, offset, end)) != 0)
                return err;
        } else {
            if (out->acked.count != 0) {
                size_t i = kith__ranges_find(&out->acked, end - 1);

                if (i < out->acked.count && kith__ranges_at(&out->acked, i).begin <= end)
                    end = kith__ranges_at(&out->acked, i).end;
                err = kith__ranges_remove(&out->acked, 0, end);
                KITH_ASSERT(err == 0); /* up to the end of a range: nothing is split */
            }
            advance(out, end);
        }
    }
    if (fin)
        out->fin = KITH_FIN_ACKED;
    *freed = out->begin - before;
    return 0;
}

/** Adds [begin, end) to the lost ranges, but for what is acknowledged. */
static int lose(struct kith_outbuf *out, uint64_t begin, uint64_t end)
{
    size_t i = kith__ranges_find(&out->acked, begin);

    while (begin < end) {
        struct kith_range acked = i < out->acked.count ? kith__ranges_at(&out->acked, i++)
                                                       : (struct kith_range) { UINT64_MAX - 1, UINT64_MAX };
        int err;

        if (begin < acked.begin && (err = kith__ranges_add(&out->lost, begin, KITH_MIN(end, acked.begin))) != 0)
            return err;
        begin = KITH_MAX(begin, acked.end);
    }
    return 0;
}

int kith__outbuf_on_lost(struct kith_outbuf *out, uint64_t offset, uint64_t size, bool fin)
{
    uint64_t end = offset + size;

    KITH_ASSERT(end <= out->sent);
    if (fin && out->fin == KITH_FIN_SENT)
        out->fin = KITH_FIN_UNSENT;
    return lose(out, KITH_MAX(offset, out->begin), end);
}

void kith__outbuf_rewind(struct kith_outbuf *out)
{
    KITH_ASSERT(out->begin == 0 && out->acked.count == 0 && out->fin != KITH_FIN_ACKED);
    kith__ranges_clear(&out->lost);
    out->sent = 0;
    out->cursor = NULL;
    if (out->fin == KITH_FIN_SENT)
        out->fin = KITH_FIN_UNSENT;
}

void kith__outbuf_reset(struct kith_outbuf *out)
{
    kith__outbuf_dispose(out);
    out->begin = out->end = out->sent;
    out->fin = KITH_FIN_ACKED;
}
