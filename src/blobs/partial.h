/**
 * One blob on its way to this machine: verified groups go into a data file at their place, the pairs above them into a tree
 * file beside it, so that a later run finds out by hashing what is already there. Nothing in these files is trusted: only
 * what proves itself against the root hash counts as present.
 *
 * Tree file: 8 bytes "kithtre1", the claimed size (8 bytes, little endian), then the pairs of the pre-order outboard.
 */
#ifndef KITH_BLOBS_PARTIAL_H
#define KITH_BLOBS_PARTIAL_H

#include "base/ranges.h"
#include "blobs/decode.h"

enum kith_partial_part { KITH_PARTIAL_DATA, KITH_PARTIAL_TREE };

/** The two files behind a partial. */
struct kith_partial_io {
    /** Reads at offset; *got < size only at the end of the file. */
    int (*read)(void *handle, enum kith_partial_part part, uint64_t offset, void *out, size_t size, size_t *got);
    int (*write)(void *handle, enum kith_partial_part part, uint64_t offset, const void *bytes, size_t size);
    /** Cuts the file to size. */
    int (*cut)(void *handle, enum kith_partial_part part, uint64_t size);
    void *handle;
};

enum {
    KITH_PARTIAL_HEAD_SIZE = 16,
    KITH_PARTIAL_BATCH_SIZE = 1 << 20,              /* bytes written together; a multiple of KITH_GROUP_SIZE */
    KITH_PARTIAL_PAIRS_SIZE = 256 * KITH_PAIR_SIZE, /* pairs written together */
    KITH_PARTIAL_SCAN_SIZE = 1 << 20                /* bytes hashed at most in one step of the scan */
};

struct kith_partial {
    const struct kith_mem *mem;
    struct kith_partial_io io;
    struct kith_hash hash;
    uint64_t size; /* claimed by a sender; true once is_size_proven */
    bool has_size, is_size_proven;
    struct kith_ranges present; /* chunks that were verified and handed to the files, in whole groups */
    /* What waits to be written: runs that lie together. */
    uint8_t *batch, *pairs;
    uint64_t batch_offset, pairs_index;
    size_t batch_size, pairs_size;
    /* The scan of what an earlier run left. */
    bool is_scanning;
    struct kith_tree_walk walk;
    struct kith_tree_check check;
    struct kith_chunk_set everything;
    uint64_t scanned; /* bytes looked at, of size */
};

/** Prepares; reads nothing. */
void kith__partial_init(struct kith_partial *partial, const struct kith_mem *mem, const struct kith_hash *hash,
                        const struct kith_partial_io *io);
void kith__partial_dispose(struct kith_partial *partial);
/**
 * Starts to verify what is there. 0 with nothing present if nothing usable is. The size comes from the tree file; for a blob
 * of one group, which has none, from has_size and size, if the caller knows it. NOMEM, errors of the files.
 */
KITH_MUST_USE int kith__partial_scan_begin(struct kith_partial *partial);
/** Verifies a bounded part; AGAIN: more is left; 0: done. NOMEM, errors of reading. */
KITH_MUST_USE int kith__partial_scan_step(struct kith_partial *partial);
/** What a request must ask for: whole groups, open-ended at the end; empty if all is there. out: initialised. NOMEM. */
KITH_MUST_USE int kith__partial_missing(const struct kith_partial *partial, struct kith_chunk_set *out);
bool kith__partial_is_complete(const struct kith_partial *partial);
/** Bytes of the blob that are present. */
uint64_t kith__partial_present_size(const struct kith_partial *partial);
/** A sender claims this size. STATE: another one than before, so that what is present cannot be combined with it. */
KITH_MUST_USE int kith__partial_on_size(struct kith_partial *partial, uint64_t size);
/** Where the next leaf is best put together: at least KITH_GROUP_SIZE bytes, in the batch. NOMEM: NULL. */
uint8_t *kith__partial_room(struct kith_partial *partial);
/** Takes in a verified item. Errors of writing, NOMEM. */
KITH_MUST_USE int kith__partial_put(struct kith_partial *partial, const struct kith_blob_found *found);
/** Writes what waits. */
KITH_MUST_USE int kith__partial_flush(struct kith_partial *partial);
/** Forgets everything, in the files too. */
KITH_MUST_USE int kith__partial_reset(struct kith_partial *partial);
/** After completion: cuts the data file to its proven size. */
KITH_MUST_USE int kith__partial_finish(struct kith_partial *partial);

#endif
