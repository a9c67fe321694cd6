/* A blob on its way here: data file, tree file, and what of them is proven. */
#include "blobs/partial.h"

#include "base/assert.h"
#include "base/mem.h"

static const uint8_t magic[8] = { 'k', 'i', 't', 'h', 't', 'r', 'e', '1' };

void kith__partial_init(struct kith_partial *partial, const struct kith_mem *mem, const struct kith_hash *hash,
                        const struct kith_partial_io *io)
{
    *partial = (struct kith_partial) { .mem = mem, .io = *io, .hash = *hash };
    kith__ranges_init(&partial->present, mem);
    kith__chunk_set_init(&partial->everything, mem);
}

void kith__partial_dispose(struct kith_partial *partial)
{
    kith__ranges_dispose(&partial->present);
    kith__chunk_set_dispose(&partial->everything);
    kith__free(partial->mem, partial->batch);
    kith__free(partial->mem, partial->pairs);
    partial->batch = partial->pairs = NULL;
}

/* Like io.read, but a file that ends early is an error of its own. */
static int read_exact(struct kith_partial *partial, enum kith_partial_part part, uint64_t offset, void *out,
                      size_t size)
{
    size_t got = 0;
    int err = partial->io.read(partial->io.handle, part, offset, out, size, &got);

    return err != 0 ? err : got == size ? 0 : KITH_ERR_TRUNCATED;
}

/* ---- What is there already ---- */

/* A blob of one group has no pairs: its tree file would hold a size only. */
static bool has_tree(const struct kith_partial *partial)
{
    return kith__group_count(partial->size) > 1;
}

int kith__partial_scan_begin(struct kith_partial *partial)
{
    uint8_t head[KITH_PARTIAL_HEAD_SIZE];
    int err = read_exact(partial, KITH_PARTIAL_TREE, 0, head, sizeof head);
    bool is_ours = err == 0 && memcmp(head, magic, sizeof magic) == 0;

    if ((err == 0 || err == KITH_ERR_TRUNCATED) && !is_ours && !(partial->has_size && !has_tree(partial)))
        return 0;
    partial->is_scanning = true; /* on an error below too: what is there is not known */
    if (err != 0 && err != KITH_ERR_TRUNCATED)
        return err;
    if (is_ours)
        partial->size = 0;
    for (int i = 7; is_ours && i >= 0; i--)
        partial->size = partial->size << 8 | head[8 + i];
    partial->has_size = true;
    if ((err = kith__chunk_set_range(&partial->everything, 0, kith__chunk_count(partial->size))) != 0)
        return err;
    if (partial->batch == NULL && (partial->batch = kith__alloc(partial->mem, KITH_GROUP_SIZE)) == NULL)
        return KITH_ERR_NOMEM;
    kith__tree_walk_init(&partial->walk, partial->size, &partial->everything);
    kith__tree_check_init(&partial->check, &partial->hash);
    return 0;
}

/* Pairs and groups that are missing or differ are simply not there. Only errors of the disk end the scan. */
static int scan_item(struct kith_partial *partial, const struct kith_tree_item *item)
{
    enum kith_partial_part part = item->is_leaf ? KITH_PARTIAL_DATA : KITH_PARTIAL_TREE;
    uint64_t offset = item->is_leaf ? item->offset : KITH_PARTIAL_HEAD_SIZE + item->pair_index * KITH_PAIR_SIZE;
    int err = read_exact(partial, part, offset, partial->batch, item->is_leaf ? item->size : KITH_PAIR_SIZE);

    if (err == 0)
        err = item->is_leaf ? kith__tree_check_leaf(&partial->check, item, partial->batch)
                            : kith__tree_check_parent(&partial->check, item, partial->batch);
    if (err == 0) {
        if (!item->is_leaf)
            return 0;
        if (item->chunk_end == kith__chunk_count(partial->size))
            partial->is_size_proven = true;
        return kith__ranges_add(&partial->present, item->chunk_begin, item->chunk_end);
    }
    if (err != KITH_ERR_TRUNCATED && err != KITH_ERR_HASH && err != KITH_ERR_TOO_LARGE)
        return err;
    kith__tree_check_drop(&partial->check);
    if (!item->is_leaf)
        kith__tree_walk_skip(&partial->walk, item);
    return 0;
}

static void scan_end(struct kith_partial *partial)
{
    partial->is_scanning = false;
    kith__free(partial->mem, partial->batch);
    partial->batch = NULL;
    partial->scanned = partial->size;
    if (partial->present.count == 0) /* a size that nothing speaks for */
        partial->has_size = false;
}

int kith__partial_scan_step(struct kith_partial *partial)
{
    struct kith_tree_item item;

    for (uint64_t done = 0; partial->is_scanning && done < KITH_PARTIAL_SCAN_SIZE;) {
        int err;

        if (!kith__tree_walk_next(&partial->walk, &item)) {
            scan_end(partial);
            return 0;
        }
        if ((err = scan_item(partial, &item)) != 0)
            return err;
        done += item.is_leaf ? item.size : 1024; /* a pair costs a read and one compression */
        if (item.is_leaf)
            partial->scanned = item.offset + item.size;
    }
    return partial->is_scanning ? KITH_ERR_AGAIN : 0;
}

/* ---- What is missing ---- */

bool kith__partial_is_complete(const struct kith_partial *partial)
{
    return partial->has_size && partial->is_size_proven &&
           kith__ranges_contains_all(&partial->present, 0, kith__chunk_count(partial->size));
}

int kith__partial_missing(const struct kith_partial *partial, struct kith_chunk_set *out)
{
    struct kith_ranges missing;
    int err;

    kith__ranges_init(&missing, partial->mem);
    err = kith__ranges_add(&missing, 0, UINT64_MAX);
    for (size_t i = 0; err == 0 && i < partial->present.count; i++) {
        struct kith_range range = kith__ranges_at(&partial->present, i);

        /* With the last chunk nothing lies beyond. */
        if (partial->has_size && range.end == kith__chunk_count(partial->size))
            range.end = UINT64_MAX;
        err = kith__ranges_remove(&missing, range.begin, range.end);
    }
    if (err == 0)
        err = kith__chunk_set_from_ranges(out, &missing);
    kith__ranges_dispose(&missing);
    return err;
}

uint64_t kith__partial_present_size(const struct kith_partial *partial)
{
    uint64_t total = 0;

    for (size_t i = 0; i < partial->present.count; i++) {
        struct kith_range range = kith__ranges_at(&partial->present, i);
        uint64_t end = range.end * KITH_CHUNK_SIZE;

        total += (end < partial->size ? end : partial->size) - range.begin * KITH_CHUNK_SIZE;
    }
    return total;
}

/* ---- What comes in ---- */

static int write_head(struct kith_partial *partial)
{
    uint8_t head[KITH_PARTIAL_HEAD_SIZE];

    if (!has_tree(partial))
        return 0;
    memcpy(head, magic, sizeof magic);
    for (int i = 0; i < 8; i++)
        head[8 + i] = (uint8_t)(partial->size >> 8 * i);
    return partial->io.write(partial->io.handle, KITH_PARTIAL_TREE, 0, head, sizeof head);
}

int kith__partial_on_size(struct kith_partial *partial, uint64_t size)
{
    if (partial->has_size && partial->size != size && partial->present.count > 0)
        return KITH_ERR_STATE;
    partial->size = size;
    partial->has_size = true;
    return write_head(partial);
}

/* Room for the batch and one group more, so that an item can be put together behind a full batch. */
uint8_t *kith__partial_room(struct kith_partial *partial)
{
    uint64_t whole = kith__group_count(partial->size) * KITH_GROUP_SIZE;
    size_t cap = whole < KITH_PARTIAL_BATCH_SIZE ? (size_t)whole : (size_t)KITH_PARTIAL_BATCH_SIZE;

    KITH_ASSERT(partial->has_size && partial->batch_size <= cap);
    if (partial->batch == NULL)
        partial->batch = kith__alloc(partial->mem, cap + KITH_GROUP_SIZE);
    return partial->batch != NULL ? partial->batch + partial->batch_size : NULL;
}

static int flush_data(struct kith_partial *partial)
{
    int err = 0;

    if (partial->batch_size > 0)
        err = partial->io.write(partial->io.handle, KITH_PARTIAL_DATA, partial->batch_offset, partial->batch,
                                partial->batch_size);
    if (err == 0)
        partial->batch_size = 0;
    return err;
}

static int flush_pairs(struct kith_partial *partial)
{
    int err = 0;

    if (partial->pairs_size > 0)
        err = partial->io.write(partial->io.handle, KITH_PARTIAL_TREE,
                                KITH_PARTIAL_HEAD_SIZE + partial->pairs_index * KITH_PAIR_SIZE, partial->pairs,
                                partial->pairs_size);
    if (err == 0)
        partial->pairs_size = 0;
    return err;
}

int kith__partial_flush(struct kith_partial *partial)
{
    int err = flush_pairs(partial);
    int data_err = flush_data(partial);

    return err != 0 ? err : data_err;
}

static int put_pair(struct kith_partial *partial, uint64_t index, const uint8_t *pair)
{
    int err;

    if (partial->pairs == NULL && (partial->pairs = kith__alloc(partial->mem, KITH_PARTIAL_PAIRS_SIZE)) == NULL)
        return KITH_ERR_NOMEM;
    if (partial->pairs_size > 0 &&
        (partial->pairs_size == KITH_PARTIAL_PAIRS_SIZE ||
         partial->pairs_index + partial->pairs_size / KITH_PAIR_SIZE != index) &&
        (err = flush_pairs(partial)) != 0)
        return err;
    if (partial->pairs_size == 0)
        partial->pairs_index = index;
    memcpy(partial->pairs + partial->pairs_size, pair, KITH_PAIR_SIZE);
    partial->pairs_size += KITH_PAIR_SIZE;
    return 0;
}

static int put_leaf(struct kith_partial *partial, const struct kith_blob_found *found)
{
    uint64_t offset = found->item.offset;
    size_t size = found->item.size;
    int err;

    if (kith__partial_room(partial) == NULL)
        return KITH_ERR_NOMEM;
    if (partial->batch_size > 0 && partial->batch_offset + partial->batch_size != offset) {
        /* Not what follows: what waits goes out, without touching the bytes behind it, which may be this very leaf. */
        if ((err = flush_data(partial)) != 0)
            return err;
    }
    if (partial->batch_size == 0)
        partial->batch_offset = offset;
    if (size > 0 && found->bytes != partial->batch + partial->batch_size)
        memmove(partial->batch + partial->batch_size, found->bytes, size);
    partial->batch_size += size;
    if (partial->batch_size >= KITH_PARTIAL_BATCH_SIZE && (err = flush_data(partial)) != 0)
        return err;
    if (found->item.chunk_end == kith__chunk_count(partial->size))
        partial->is_size_proven = true;
    return kith__ranges_add(&partial->present, found->item.chunk_begin, found->item.chunk_end);
}

int kith__partial_put(struct kith_partial *partial, const struct kith_blob_found *found)
{
    const struct kith_tree_item *item = &found->item;

    KITH_ASSERT(partial->has_size);
    if (item->is_leaf) {
        /* Requests are made of whole groups, so leaves are, too: what is less cannot be proven again later. */
        KITH_ASSERT(item->chunk_begin % KITH_GROUP_CHUNKS == 0 &&
                    (item->chunk_end - item->chunk_begin == KITH_GROUP_CHUNKS ||
                     item->chunk_end == kith__chunk_count(partial->size)));
        return put_leaf(partial, found);
    }
    return item->level >= KITH_GROUP_LEVEL ? put_pair(partial, item->pair_index, found->bytes) : 0;
}

int kith__partial_reset(struct kith_partial *partial)
{
    int err;

    kith__ranges_clear(&partial->present);
    partial->has_size = partial->is_size_proven = false;
    partial->size = 0;
    partial->batch_size = partial->pairs_size = 0;
    kith__free(partial->mem, partial->batch); /* its size depends on that of the blob */
    partial->batch = NULL;
    if ((err = partial->io.cut(partial->io.handle, KITH_PARTIAL_TREE, 0)) != 0)
        return err;
    return partial->io.cut(partial->io.handle, KITH_PARTIAL_DATA, 0);
}

int kith__partial_finish(struct kith_partial *partial)
{
    int err = kith__partial_flush(partial);

    KITH_ASSERT(kith__partial_is_complete(partial));
    return err != 0 ? err : partial->io.cut(partial->io.handle, KITH_PARTIAL_DATA, partial->size);
}
