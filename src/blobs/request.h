/**
 * Requests of `/iroh-bytes/4` (spec/05, 3.4): a type byte, then postcard, up to the end of the stream.
 */
#ifndef KITH_BLOBS_REQUEST_H
#define KITH_BLOBS_REQUEST_H

#include "blobs/chunk_set.h"

enum {
    KITH_REQUEST_GET = 0,
    KITH_REQUEST_OBSERVE = 1,
    KITH_REQUEST_PUSH = 8,
    KITH_REQUEST_GET_MANY = 9,
    KITH_REQUEST_SIZE_MAX = 1 << 20 /* after the type byte */
};

/** Application error codes on streams and connections (spec/05, 3.6). */
enum { KITH_BLOBS_ERR_PERMISSION = 1, KITH_BLOBS_ERR_LIMIT = 2, KITH_BLOBS_ERR_INTERNAL = 3 };

/** A Get or GetMany request. For Get there is one hash, the root; offset 0 is the root, i + 1 its child i. */
struct kith_request {
    uint8_t type;
    struct kith_hash *hashes; /* owned */
    size_t hash_count;
    struct kith_chunk_seq ranges;
    const struct kith_mem *mem;
};

void kith__request_init(struct kith_request *request, const struct kith_mem *mem);
void kith__request_dispose(struct kith_request *request);
/** Makes a Get of one root with the ranges to be filled in by the caller. NOMEM. */
int kith__request_make_get(struct kith_request *request, const struct kith_hash *root);
/** Appends type byte and message. NOMEM, TOO_LARGE. */
int kith__request_encode(const struct kith_request *request, struct kith_buf *out);
/**
 * Reads a whole request (type byte and message, up to the end of the stream); untrusted. UNSUPPORTED: a type that we do
 * not serve (Observe, Push, reserved ones); PARSE, TRUNCATED, TOO_LARGE; NOMEM. Bytes after the message are PARSE.
 */
int kith__request_decode(struct kith_slice bytes, struct kith_request *out);

#endif
