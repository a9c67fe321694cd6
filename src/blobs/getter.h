/**
 * Fetches a blob, a range of one, or a collection: decides what to ask for, checks what comes, stores it, goes on where an
 * earlier run stopped. Knows no streams, paths or clocks: the owner carries requests and answers, and says where files lie.
 * Source: spec/05, 3.8, 4.2, 4.6, 5.3.
 *
 * A collection takes two requests at least: the first fetches the hash sequence, the names (which are checked before
 * anything else happens) and the last chunk of each file, which proves its size; the others what is missing.
 *
 *     while (step is not DONE or FAILED)
 *         WORK:     kith__getter_work      (a bounded slice: hashing what is there, placing files)
 *         REQUEST:  send kith__getter_request on a new stream, end it; kith__getter_on_requested
 *         RECEIVE:  kith__getter_receive for what arrives; on END the stream is done with; kith__getter_on_end when it breaks
 */
#ifndef KITH_BLOBS_GETTER_H
#define KITH_BLOBS_GETTER_H

#include "blobs/collection.h"
#include "blobs/partial.h"
#include "blobs/request.h"
#include <kith/blobs.h>

/** Where files lie. Indexes count the files of a collection from 0; a single blob is index 0. */
struct kith_get_store {
    /** Opens the two files of a blob. make false: NOT_FOUND if there are none. */
    int (*open)(void *ctx, uint64_t index, bool make, struct kith_partial_io *out);
    void (*close)(void *ctx, struct kith_partial_io *io);
    /** Nothing of a closed blob is worth keeping: removes its files. */
    void (*discard)(void *ctx, uint64_t index);
    /** Whether these files may be placed later: EXISTS, ... Called once, before any file is fetched. Single blobs: not called. */
    int (*accept)(void *ctx, const struct kith_collection *names);
    /** Puts the data of files 0 to count - 1, all of them finished, on the disk: called before any of them is placed. */
    int (*settle)(void *ctx, uint64_t count);
    /** Puts the finished data file under its final name (empty for a single blob). AGAIN: a part is done, call again. */
    int (*place)(void *ctx, uint64_t index, struct kith_slice name);
    /** All files are placed: their names are on the disk after this; removes what is not needed any more. */
    int (*clean)(void *ctx);
    void *ctx;
};

struct kith_getter_options {
    struct kith_hash hash;
    uint8_t format;                  /* enum kith_blob_format */
    uint64_t chunk_first, chunk_end; /* RAW only: a range, stored from offset 0, never resumed; both 0: everything */
    uint64_t seed;                   /* random: for tables that a peer fills */
};

enum kith_getter_step {
    KITH_GETTER_WORK,
    KITH_GETTER_REQUEST,
    KITH_GETTER_RECEIVE,
    KITH_GETTER_DONE,
    KITH_GETTER_FAILED
};

enum {
    KITH_GETTER_ROOT_SIZE_MAX = (KITH_COLLECTION_COUNT_MAX + 1) * KITH_HASH_SIZE,
    KITH_GETTER_SETS_MAX = 4096, /* sets in one request; more files with holes than that take several requests */
    KITH_GETTER_FILES_PER_STEP = 32
};

/** What is known of one file of a collection. */
struct kith_get_file {
    uint64_t size; /* proven */
    bool has_size, is_complete;
    struct kith_ranges *present; /* owned; NULL: nothing */
};

enum kith_getter_sink { KITH_SINK_ROOT, KITH_SINK_NAMES, KITH_SINK_SIZE, KITH_SINK_PARTIAL, KITH_SINK_RANGE };

struct kith_getter {
    const struct kith_mem *mem;
    struct kith_get_store store;
    struct kith_getter_options options;
    uint8_t step;        /* enum kith_getter_step */
    int err;             /* FAILED: why */
    const char *problem; /* FAILED: a phrase for a person where the code says too little; static; may be NULL */
    char failed_name[KITH_BLOB_NAME_SIZE_MAX + 1]; /* FAILED: of the file at hand; empty if there is none */
    bool has_failed_chunk;
    uint64_t failed_chunk; /* HASH: where the sender lied */
    uint64_t reset_code;   /* FAILED: what the sender reset its answer with, if it did */
    struct kith_blobs_progress progress;
    uint64_t verified_count;           /* pieces of answers that were right, leaves and inner ones; only grows */
    struct kith_buf root, names_bytes; /* verified */
    struct kith_collection names;
    struct kith_get_file *files;
    uint64_t file_count, next_file; /* next_file: the one that work goes on with */
    bool is_settled;                /* what is to be placed is on the disk */
    struct kith_request request;
    struct kith_buf request_bytes;
    /* The answer. */
    uint64_t offset; /* blob offset in the request that comes now or next */
    bool has_decoder, was_size_seen;
    uint8_t sink; /* enum kith_getter_sink */
    struct kith_blob_decoder decoder;
    /* The blob that is open here. */
    bool has_partial;
    uint64_t partial_index;
    struct kith_partial partial;
};

/** Prepares; the first step is WORK. NOMEM, INVALID (options). On an error there is nothing to dispose. */
KITH_MUST_USE int kith__getter_init(struct kith_getter *getter, const struct kith_mem *mem,
                                    const struct kith_getter_options *options, const struct kith_get_store *store);
/** Writes what waits (errors are ignored here), closes, frees. */
void kith__getter_dispose(struct kith_getter *getter);
void kith__getter_work(struct kith_getter *getter);
/** The request to send, with the end of the stream after it. Borrowed until kith__getter_on_requested. */
struct kith_slice kith__getter_request(const struct kith_getter *getter);
void kith__getter_on_requested(struct kith_getter *getter);
/** Takes in bytes of the answer (untrusted). 0: go on; END: this request is answered (or given up): look at `step`. */
KITH_MUST_USE int kith__getter_receive(struct kith_getter *getter, struct kith_slice bytes);
/** The answer ended too early: err END for FIN, RESET with its code, or how the connection ended. The step is FAILED then. */
void kith__getter_on_end(struct kith_getter *getter, int err, uint64_t code);
/** Ends with this error, keeping what was verified. */
void kith__getter_fail(struct kith_getter *getter, int err, const char *problem);

#endif
