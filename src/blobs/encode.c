/* The encoder: the shared walk, fed from a file and its outboard. */
#include "blobs/encode.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/blake3.h"

int kith__blob_encoder_init(struct kith_blob_encoder *encoder, const struct kith_mem *mem, const struct kith_hash *root,
                            uint64_t size, const struct kith_chunk_set *asked, const struct kith_blob_source *source)
{
    int err;

    *encoder = (struct kith_blob_encoder) { .source = *source, .mem = mem, .size = size };
    kith__chunk_set_init(&encoder->ranges, mem);
    if ((err = kith__chunk_set_effective(asked, size, &encoder->ranges)) != 0) {
        kith__blob_encoder_dispose(encoder);
        return err;
    }
    kith__tree_walk_init(&encoder->walk, size, &encoder->ranges);
    kith__tree_check_init(&encoder->check, root);
    encoder->header_done = kith__chunk_set_is_empty(&encoder->ranges); /* nothing asked: nothing is sent at all */
    return 0;
}

void kith__blob_encoder_dispose(struct kith_blob_encoder *encoder)
{
    kith__chunk_set_dispose(&encoder->ranges);
    kith__free(encoder->mem, encoder->window);
    encoder->window = NULL;
}

/* Bytes of the blob through the window. `size` is at most one group, so a window that starts at `offset` holds it. */
static int window_bytes(struct kith_blob_encoder *encoder, uint64_t offset, size_t size, const uint8_t **out)
{
    uint64_t left = encoder->size - offset;
    size_t wanted = left < KITH_ENCODE_WINDOW_SIZE ? (size_t)left : (size_t)KITH_ENCODE_WINDOW_SIZE;
    int err;

    KITH_ASSERT(size <= KITH_GROUP_SIZE && size <= left);
    if (encoder->window == NULL) { /* no larger than the blob */
        uint64_t most = encoder->size < KITH_ENCODE_WINDOW_SIZE ? encoder->size : (uint64_t)KITH_ENCODE_WINDOW_SIZE;

        if ((encoder->window = kith__alloc(encoder->mem, most > 0 ? (size_t)most : 1)) == NULL)
            return KITH_ERR_NOMEM;
    }
    if (offset < encoder->window_offset || offset + size > encoder->window_offset + encoder->window_size) {
        /* Read ahead only as far as the request goes on without a hole: a range request reads little. */
        uint64_t first = offset / KITH_CHUNK_SIZE;

        while (wanted > size && !kith__chunk_set_covers(&encoder->ranges, first,
                                                        first + (wanted + KITH_CHUNK_SIZE - 1) / KITH_CHUNK_SIZE))
            wanted = wanted / 2 > size ? wanted / 2 : size;
        encoder->window_size = 0;
        if (wanted > 0 && (err = encoder->source.read(encoder->source.ctx, offset, encoder->window, wanted)) != 0)
            return err;
        encoder->window_offset = offset;
        encoder->window_size = wanted;
    }
    *out = encoder->window + (offset - encoder->window_offset);
    return 0;
}

/* The cv of a span inside one group, from its data. */
static int span_cv(struct kith_blob_encoder *encoder, uint64_t begin, uint64_t end, uint8_t cv[KITH_HASH_SIZE])
{
    uint64_t offset = begin * KITH_CHUNK_SIZE, stop = end * KITH_CHUNK_SIZE;
    size_t size = (size_t)((stop < encoder->size ? stop : encoder->size) - offset);
    const uint8_t *bytes;
    int err = window_bytes(encoder, offset, size, &bytes);

    if (err == 0)
        kith__blake3_subtree_cv(begin, bytes, size, false, cv);
    return err;
}

/* A parent below the outboard's grain: its children's values come from the data. */
static int small_pair(struct kith_blob_encoder *encoder, const struct kith_tree_item *item, uint8_t *out)
{
    uint64_t middle = item->chunk_begin + ((uint64_t)1 << item->level);
    int err;

    if ((err = span_cv(encoder, item->chunk_begin, middle, out)) != 0)
        return err;
    return span_cv(encoder, middle, item->chunk_end, out + KITH_HASH_SIZE);
}

static int put_parent(struct kith_blob_encoder *encoder, const struct kith_tree_item *item, uint8_t *out)
{
    int err = item->level >= KITH_GROUP_LEVEL ? encoder->source.pair(encoder->source.ctx, item->pair_index, out)
                                              : small_pair(encoder, item, out);

    return err != 0 ? err : kith__tree_check_parent(&encoder->check, item, out);
}

static int put_leaf(struct kith_blob_encoder *encoder, const struct kith_tree_item *item, uint8_t *out)
{
    const uint8_t *bytes;
    int err = window_bytes(encoder, item->offset, item->size, &bytes);

    if (err != 0 || (err = kith__tree_check_leaf(&encoder->check, item, bytes)) != 0)
        return err;
    memcpy(out, bytes, item->size);
    encoder->payload_size += item->size;
    return 0;
}

/* The items that fit into what is left; the first that does not waits in `pending`. */
static int put_items(struct kith_blob_encoder *encoder, uint8_t *out, size_t capacity, size_t *used)
{
    struct kith_tree_item *item = &encoder->pending;
    int err;

    for (;;) {
        size_t size;

        if (!encoder->has_pending && !kith__tree_walk_next(&encoder->walk, item))
            return *used > 0 ? 0 : KITH_ERR_END;
        encoder->has_pending = true;
        size = item->is_leaf ? item->size : KITH_PAIR_SIZE;
        if (size > capacity - *used)
            return 0;
        err = item->is_leaf ? put_leaf(encoder, item, out + *used) : put_parent(encoder, item, out + *used);
        if (err != 0) {
            encoder->failed_chunk = item->chunk_begin;
            return err;
        }
        encoder->has_pending = false;
        *used += size;
    }
}

int kith__blob_encoder_next(struct kith_blob_encoder *encoder, uint8_t *out, size_t capacity, size_t *size)
{
    size_t used = 0;
    int err;

    KITH_ASSERT(capacity >= KITH_ENCODE_STEP_SIZE_MAX);
    if (encoder->err != 0)
        return encoder->err;
    if (!encoder->header_done) {
        for (int i = 0; i < 8; i++)
            out[used++] = (uint8_t)(encoder->size >> 8 * i);
        encoder->header_done = true;
    }
    err = put_items(encoder, out, capacity, &used);
    if (err != 0 && used == 0)
        return encoder->err = err;
    if (err != 0)
        encoder->err = err; /* what was right goes out first */
    *size = used;
    return 0;
}
