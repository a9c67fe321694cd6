/**
 * kith/blobs.h: files by hash. A provider serves files and directories from disk; a receiver fetches them and checks every
 * 16 KiB against the BLAKE3 hash before it is used. Speaks `/iroh-bytes/4` (spec/05). Public header.
 *
 * Everything runs inside the endpoint's context; thread rules and time limits as on the first page of kith/endpoint.h.
 */
#ifndef KITH_BLOBS_H
#define KITH_BLOBS_H

#include <kith/endpoint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KITH_BLOBS_ALPN "/iroh-bytes/4"

enum kith_blob_format {
    KITH_BLOB_RAW = 0,     /* just bytes */
    KITH_BLOB_HASH_SEQ = 1 /* a sequence of hashes, and the blobs that they name */
};

enum { KITH_HASH_TEXT_SIZE = 65, KITH_BLOB_NAME_SIZE_MAX = 4096 };

/* ---- Hashes and tickets ---- */

/** BLAKE3 of size bytes. */
KITH_API struct kith_hash kith_hash_bytes(const void *bytes, size_t size);
/** Parses 64 lower-case hex digits, or base32 (52 characters). PARSE. */
KITH_API KITH_MUST_USE int kith_hash_parse(const char *text, struct kith_hash *out);
/** 64 hex digits and an end; text holds KITH_HASH_TEXT_SIZE bytes. Returns text. */
KITH_API const char *kith_hash_format(const struct kith_hash *hash, char *text);

/** Where a blob is and what it is. */
struct kith_blob_ticket {
    struct kith_addr addr;
    struct kith_hash hash;
    uint8_t format; /* enum kith_blob_format */
};
/** Parses a `blob…` ticket. PARSE. */
KITH_API KITH_MUST_USE int kith_blob_ticket_parse(const char *text, struct kith_blob_ticket *out);
/** Writes the ticket byte for byte as iroh does (one relay at most). TOO_LARGE if `size` is too small. */
KITH_API KITH_MUST_USE int kith_blob_ticket_format(const struct kith_blob_ticket *ticket, char *text, size_t size);

/* ---- Providing ---- */

struct kith_blobs; /* a provider */

/**
 * Memory: a request holds about 400 KB while it is answered, and what was written for its receiver and is not acknowledged: at
 * most the receiver's window and 64 KiB, and never more than the transport's send_buffer_max for a connection (10 MB). So a
 * hundred receivers that stop reading can hold 1 GB; a provider for many lowers send_buffer_max, or requests_max.
 */
struct kith_blobs_options {
    uint32_t size; /* sizeof(struct kith_blobs_options) */
    const char
        *cache_directory;  /* outboards are kept here, keyed by path, size and time of change; NULL: in memory only */
    uint32_t requests_max; /* at once, all connections together; one more is reset with code 2 (limit); 0: 1024 */
    uint64_t request_limit_ns; /* a request must have come whole by then, or it is reset the same way; 0: 30 s */
    uint64_t
        stall_limit_ns; /* a receiver that acknowledges nothing of its answer for so long is reset the same way, so that
                              * it does not hold a place for ever; ABORTED with TIMEOUT tells. 0: 60 s; KITH_WAIT: never */
};
#define KITH_BLOBS_OPTIONS_INIT .size = sizeof(struct kith_blobs_options)

/** Makes an empty provider for an endpoint. NOMEM, IO. */
KITH_API KITH_MUST_USE int kith_blobs_new(struct kith_endpoint *endpoint, const struct kith_blobs_options *options,
                                          struct kith_blobs **out);
/** Ends all requests (RESET_STREAM 3) and frees it. NULL is fine. Before the endpoint is closed. */
KITH_API void kith_blobs_free(struct kith_blobs *blobs);

enum kith_blobs_add_flags {
    KITH_BLOBS_ADD_COLLECTION = 1 /* a single file too becomes a collection of one, which is what sendme makes */
};
/**
 * Adds a file, or a directory as a collection (regular files below it, in byte order of their names). Files are hashed
 * where they are, never copied; a file that changes later is found out and not served (RESET_STREAM 3).
 * The operation ends when all is hashed; then kith_blobs_added. NOT_FOUND, PERMISSION, IO, INVALID (a name that is not UTF-8).
 */
KITH_API KITH_MUST_USE int kith_blobs_add_start(struct kith_blobs *blobs, const char *path, int flags,
                                                struct kith_op **out);
/**
 * The same for a file that goes by another name in the collection: one whose path says nothing, such as /proc/self/fd/3 for a
 * file without a name (it must stay open). INVALID also if it is a directory, or the name has more than one component.
 */
KITH_API KITH_MUST_USE int kith_blobs_add_named_start(struct kith_blobs *blobs, const char *path, const char *name,
                                                      int flags, struct kith_op **out);
/** Adds bytes, copied. */
KITH_API KITH_MUST_USE int kith_blobs_add_bytes(struct kith_blobs *blobs, const void *bytes, size_t size,
                                                struct kith_hash *out);
/** What a finished add made: its root hash, format, number of files and of bytes. STATE before it is done. */
struct kith_blobs_added {
    struct kith_hash hash;
    uint8_t format;
    uint64_t file_count, size;
};
/** What a finished add made. STATE before it is done, or for another operation. */
KITH_API KITH_MUST_USE int kith_blobs_added(const struct kith_op *op, struct kith_blobs_added *out);

/** Serves an accepted connection with the ALPN KITH_BLOBS_ALPN until it ends; takes the handle over. NOMEM, INVALID. */
KITH_API KITH_MUST_USE int kith_blobs_serve(struct kith_blobs *blobs, struct kith_conn *conn);

enum kith_blobs_event_kind {
    KITH_BLOBS_CONNECTED,
    KITH_BLOBS_REQUEST,   /* a request was understood */
    KITH_BLOBS_PROGRESS,  /* lossy: at most one waits for each request */
    KITH_BLOBS_COMPLETED, /* everything that was asked for was sent, and acknowledged by the receiver */
    KITH_BLOBS_ABORTED,   /* see err */
    KITH_BLOBS_DISCONNECTED
};
struct kith_blobs_event {
    uint8_t kind;
    int err;
    struct kith_id peer;
    uint64_t connection, request; /* numbers unique in this provider */
    struct kith_hash hash;
    uint64_t close_code; /* DISCONNECTED: the receiver's, when it closed; 0: all is well, or it did not say */
    uint64_t bytes_sent, bytes_total; /* payload of this request; total is known once its first blob was found */
};
/** Takes the next event. False when there is none. At most 1,024 wait; older progress is dropped first. */
KITH_API bool kith_blobs_next_event(struct kith_blobs *blobs, struct kith_blobs_event *out);
/** An operation that ends (once) when an event waits. */
KITH_API KITH_MUST_USE int kith_blobs_event_start(struct kith_blobs *blobs, struct kith_op **out);

/* ---- Receiving ---- */

struct kith_blobs_get_options {
    uint32_t size; /* sizeof(struct kith_blobs_get_options) */
    struct kith_hash hash;
    uint8_t format;     /* enum kith_blob_format */
    const char *target; /* RAW: the file to make. HASH_SEQ: the directory below which the collection's names go */
    const char *partial_directory; /* unfinished data is kept here for resuming; NULL: beside the target */
    bool replace; /* replace what exists at the target (KITH_ERR_EXISTS otherwise, before anything is fetched) */
    uint64_t chunk_first,
        chunk_end; /* RAW only: this range of 1,024-byte chunks, written to target at offset 0, never resumed; both 0: everything */
    uint64_t stall_limit_ns; /* TIMEOUT when nothing that can be verified came for so long; 0: 60 s; KITH_WAIT: never */
};
#define KITH_BLOBS_GET_OPTIONS_INIT .size = sizeof(struct kith_blobs_get_options)

/**
 * Fetches over an open connection, verified chunk by chunk, and puts the result under its final name only when it is
 * complete and on disk. What an earlier try left in the partial directory is verified and not fetched again.
 * Errors: HASH (the other side lied: kith_op_error names the chunk; what was right is kept), NOT_FOUND (it does not have
 * it), TRUNCATED, TIMEOUT (see stall_limit_ns; what came is kept), EXISTS, NO_SPACE, PERMISSION, PARSE (a name in the collection that would leave the target directory).
 */
KITH_API KITH_MUST_USE int kith_blobs_get_start(struct kith_conn *conn, const struct kith_blobs_get_options *options,
                                                struct kith_op **out);

enum kith_blobs_phase {
    KITH_BLOBS_PHASE_CHECKING, /* verifying what an earlier try left */
    KITH_BLOBS_PHASE_SIZES,    /* fetching the names and sizes of a collection */
    KITH_BLOBS_PHASE_FETCHING,
    KITH_BLOBS_PHASE_STORING, /* fsync, rename */
    KITH_BLOBS_PHASE_HASHING, /* adding: reading and hashing files */
    KITH_BLOBS_PHASE_DONE
};
struct kith_blobs_progress {
    uint8_t phase;          /* enum kith_blobs_phase */
    uint64_t bytes_done;    /* verified payload, with what was there before */
    uint64_t bytes_total;   /* 0 until known */
    uint64_t bytes_resumed; /* of bytes_done: was there before */
    uint64_t bytes_wire;    /* received on streams: payload, hashes and sizes */
    uint64_t files_done, files_total;
    char name[256]; /* the file at hand, cut if need be */
};
/** How far a get or an add is; at any time until the operation is freed. STATE for other operations. */
KITH_API KITH_MUST_USE int kith_blobs_progress(const struct kith_op *op, struct kith_blobs_progress *out);
/**
 * Name number `index` of the collection that a get fetches, relative to its target, in the collection's order: what to
 * show, and what was made where. NULL beyond the last one, before the names are known, and for RAW. Borrowed from the
 * operation; untrusted text, but never one that leads out of the target.
 */
KITH_API const char *kith_blobs_get_name(const struct kith_op *op, uint64_t index);

#ifdef __cplusplus
}
#endif
#endif
