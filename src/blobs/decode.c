/* The decoder: the shared walk, fed from the wire. */
#include "blobs/decode.h"

#include "base/assert.h"
#include "base/mem.h"
#include <string.h>

int kith__blob_decoder_init(struct kith_blob_decoder *decoder, const struct kith_mem *mem, const struct kith_hash *root,
                            const struct kith_chunk_set *asked)
{
    int err;

    *decoder = (struct kith_blob_decoder) { .mem = mem, .root = *root };
    kith__chunk_set_init(&decoder->asked, mem);
    kith__chunk_set_init(&decoder->ranges, mem);
    if ((err = kith__chunk_set_copy(asked, &decoder->asked)) != 0)
        kith__blob_decoder_dispose(decoder);
    return err;
}

void kith__blob_decoder_dispose(struct kith_blob_decoder *decoder)
{
    kith__chunk_set_dispose(&decoder->asked);
    kith__chunk_set_dispose(&decoder->ranges);
    kith__free(decoder->mem, decoder->held);
    decoder->held = NULL;
}

bool kith__blob_decoder_is_untouched(const struct kith_blob_decoder *decoder)
{
    return !decoder->has_size && decoder->held_size == 0;
}

/* The 8-byte header: a claim; from it follows the whole geometry. */
static int take_size(struct kith_blob_decoder *decoder, struct kith_slice *bytes)
{
    int err;

    while (decoder->held_size < sizeof decoder->head) {
        if (bytes->size == 0)
            return KITH_ERR_AGAIN;
        decoder->head[decoder->held_size++] = *bytes->ptr++;
        bytes->size--;
    }
    for (int i = 7; i >= 0; i--)
        decoder->size = decoder->size << 8 | decoder->head[i];
    decoder->held_size = 0;
    if ((err = kith__chunk_set_effective(&decoder->asked, decoder->size, &decoder->ranges)) != 0)
        return err;
    kith__tree_walk_init(&decoder->walk, decoder->size, &decoder->ranges);
    kith__tree_check_init(&decoder->check, &decoder->root);
    decoder->has_size = true;
    return 0;
}

void kith__blob_decoder_set_room(struct kith_blob_decoder *decoder, uint8_t *room)
{
    if (decoder->held_size == 0)
        decoder->room = room;
}

/* Where an item that comes in pieces is put together. */
static uint8_t *collecting_place(struct kith_blob_decoder *decoder)
{
    if (decoder->room != NULL)
        return decoder->room;
    if (decoder->held == NULL)
        decoder->held = kith__alloc(decoder->mem, KITH_GROUP_SIZE);
    return decoder->held;
}

/* The item's bytes in one piece: straight from the input if it is all there, else collected. */
static int take_item(struct kith_blob_decoder *decoder, size_t size, struct kith_slice *bytes, const uint8_t **out)
{
    size_t part = size - decoder->held_size < bytes->size ? size - decoder->held_size : bytes->size;
    uint8_t *place;

    if (decoder->held_size == 0 && part == size) {
        *out = size > 0 ? bytes->ptr : decoder->head; /* the empty blob has a leaf of no bytes */
    } else {
        if ((place = collecting_place(decoder)) == NULL)
            return KITH_ERR_NOMEM;
        if (part > 0)
            memcpy(place + decoder->held_size, bytes->ptr, part);
        decoder->held_size += part;
        *out = place;
    }
    if (part > 0) {
        bytes->ptr += part;
        bytes->size -= part;
    }
    if (decoder->held_size > 0 && decoder->held_size < size)
        return KITH_ERR_AGAIN;
    if (part == 0 && size > 0 && decoder->held_size == 0)
        return KITH_ERR_AGAIN;
    decoder->held_size = 0;
    return 0;
}

static int step(struct kith_blob_decoder *decoder, struct kith_slice *bytes, struct kith_blob_found *found)
{
    struct kith_tree_item *item = &decoder->item;
    int err;

    if (!decoder->has_size && (err = take_size(decoder, bytes)) != 0)
        return err;
    if (!decoder->has_item) {
        if (!kith__tree_walk_next(&decoder->walk, item))
            return KITH_ERR_END;
        decoder->has_item = true;
    }
    if ((err = take_item(decoder, item->is_leaf ? item->size : KITH_PAIR_SIZE, bytes, &found->bytes)) != 0)
        return err;
    err = item->is_leaf ? kith__tree_check_leaf(&decoder->check, item, found->bytes)
                        : kith__tree_check_parent(&decoder->check, item, found->bytes);
    if (err != 0) {
        decoder->failed_chunk = item->chunk_begin;
        return err;
    }
    /* A checked leaf that ends where the blob does proves the size (spec/05, 2.5). */
    if (item->is_leaf && item->offset + item->size == decoder->size)
        decoder->is_size_proven = true;
    decoder->has_item = false;
    found->item = *item;
    return 0;
}

int kith__blob_decoder_step(struct kith_blob_decoder *decoder, struct kith_slice *bytes, struct kith_blob_found *found)
{
    int err = decoder->err != 0 ? decoder->err : step(decoder, bytes, found);

    if (err != 0 && err != KITH_ERR_AGAIN && err != KITH_ERR_END)
        decoder->err = err;
    return err;
}
