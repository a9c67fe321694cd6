/**
 * Reads and checks the verified encoding of one blob as it arrives in pieces of any size (spec/05, 2.4 and 2.5). No byte is
 * shown before it was checked; at most one leaf of 16 KiB waits unchecked.
 */
#ifndef KITH_BLOBS_DECODE_H
#define KITH_BLOBS_DECODE_H

#include "blobs/tree.h"

/** What a step found. */
struct kith_blob_found {
    struct kith_tree_item item;
    const uint8_t *bytes; /* leaf: item.size checked bytes; parent: 64 checked bytes. Valid until the next step */
};

struct kith_blob_decoder {
    const struct kith_mem *mem;
    struct kith_chunk_set asked, ranges; /* owned; ranges: effective once the size is known */
    struct kith_tree_walk walk;
    struct kith_tree_check check;
    struct kith_hash root;
    uint64_t size; /* claimed; proven once is_size_proven */
    bool has_size, has_item, is_size_proven;
    int err; /* sticky */
    uint64_t failed_chunk;
    struct kith_tree_item item;
    uint8_t *held; /* the part of an item that has arrived; KITH_GROUP_SIZE bytes, allocated when an item is cut */
    size_t held_size;
    uint8_t *room; /* borrowed: where cut items are put together instead of in `held`; NULL: none given */
    uint8_t head[8];
};

/** Prepares. asked: what the request asked of this blob; copied. NOMEM. */
int kith__blob_decoder_init(struct kith_blob_decoder *decoder, const struct kith_mem *mem, const struct kith_hash *root,
                            const struct kith_chunk_set *asked);
void kith__blob_decoder_dispose(struct kith_blob_decoder *decoder);
/**
 * Takes bytes from the front of *bytes (which moves) up to the next item. 0: *found is a checked item. AGAIN: all bytes
 * were taken, more are needed. END: the blob is complete; *bytes is what follows it. HASH: the sender lied at chunk
 * failed_chunk (sticky). NOMEM (sticky).
 */
int kith__blob_decoder_step(struct kith_blob_decoder *decoder, struct kith_slice *bytes, struct kith_blob_found *found);
/**
 * Gives room for KITH_GROUP_SIZE bytes, in which the next items that arrive in pieces are put together: saves the owner a
 * copy. Borrowed until the next call or the next items. Between items only (else it is ignored until then).
 */
void kith__blob_decoder_set_room(struct kith_blob_decoder *decoder, uint8_t *room);
/** True if nothing, not even the size, has arrived: the sender does not have the blob. */
bool kith__blob_decoder_is_untouched(const struct kith_blob_decoder *decoder);

#endif
