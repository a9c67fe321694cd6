/**
 * Makes the verified encoding of one blob (spec/05, 2.1): size, then parents and leaves of the walk. Everything that goes
 * out was checked against the root hash first, so a file that changed on disk never leaves the node.
 */
#ifndef KITH_BLOBS_ENCODE_H
#define KITH_BLOBS_ENCODE_H

#include "blobs/tree.h"

/** Where the bytes and the kept hashes come from. Both return 0 or an error, which ends the encoding. */
struct kith_blob_source {
    /** Reads exactly size bytes at offset. TRUNCATED if the blob is shorter. */
    int (*read)(void *ctx, uint64_t offset, uint8_t *out, size_t size);
    /** Reads one pair of the pre-order outboard. */
    int (*pair)(void *ctx, uint64_t index, uint8_t out[KITH_PAIR_SIZE]);
    void *ctx;
};

enum { KITH_ENCODE_WINDOW_SIZE = 16 * KITH_GROUP_SIZE, KITH_ENCODE_STEP_SIZE_MAX = KITH_GROUP_SIZE };

struct kith_blob_encoder {
    struct kith_blob_source source;
    const struct kith_mem *mem;
    uint64_t size;
    struct kith_chunk_set ranges; /* effective; owned */
    struct kith_tree_walk walk;
    struct kith_tree_check check;
    bool header_done, has_pending;
    struct kith_tree_item pending; /* taken from the walk, not written yet */
    int err;                       /* sticky */
    uint64_t failed_chunk;         /* where a check failed */
    uint64_t payload_size;         /* bytes of the blob that were written so far */
    uint8_t *window;               /* read ahead: KITH_ENCODE_WINDOW_SIZE bytes, allocated on first use */
    uint64_t window_offset;
    size_t window_size;
};

/** Prepares; reads nothing yet. asked: as the request has it. NOMEM. */
int kith__blob_encoder_init(struct kith_blob_encoder *encoder, const struct kith_mem *mem, const struct kith_hash *root,
                            uint64_t size, const struct kith_chunk_set *asked, const struct kith_blob_source *source);
void kith__blob_encoder_dispose(struct kith_blob_encoder *encoder);
/**
 * Writes as many whole items as fit; capacity >= KITH_ENCODE_STEP_SIZE_MAX. 0 with *size > 0; END when all is out;
 * HASH when data or outboard do not match the root (failed_chunk tells where); the source's errors; NOMEM.
 */
int kith__blob_encoder_next(struct kith_blob_encoder *encoder, uint8_t *out, size_t capacity, size_t *size);

#endif
