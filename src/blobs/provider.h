/**
 * Serves one request of `/iroh-bytes/4`: bytes of the request in, the verified encoding of what it asks for out, as fast as
 * the owner takes it. Knows no streams, files or clocks. Source: spec/05, 3.5 and 3.6.
 *
 * How it ends (enum kith_provider_end):
 *   FIN             everything was sent; or a blob is not there: the stream ends at the first missing byte, so that what was
 *                   sent before stays usable at the other side
 *   RESET 3         data or hashes kept here do not match (a file has changed), or an error of our own
 *   RESET 1         Push and Observe: we take no data and report no progress; the reference would answer Observe, which
 *                   needs a store that changes: a later part
 *   BAD REQUEST     not understood: FIN without bytes, and STOP_SENDING 0 if the request has not ended yet
 */
#ifndef KITH_BLOBS_PROVIDER_H
#define KITH_BLOBS_PROVIDER_H

#include "blobs/encode.h"
#include "blobs/request.h"

/** A blob that is open for reading. */
struct kith_blob_view {
    uint64_t size;
    struct kith_blob_source source;
    void *handle; /* of the store */
};

/** Where blobs come from. */
struct kith_blob_store {
    /** Opens a blob. NOT_FOUND: it is not here; any other error: it is here but cannot be read. */
    int (*open)(void *ctx, const struct kith_hash *hash, struct kith_blob_view *out);
    void (*close)(void *ctx, struct kith_blob_view *view);
    /** The size of a blob, without opening it. NOT_FOUND. */
    int (*size)(void *ctx, const struct kith_hash *hash, uint64_t *out);
    void *ctx;
};

enum kith_provider_end {
    KITH_PROVIDER_OPEN, /* not yet */
    KITH_PROVIDER_FIN,
    KITH_PROVIDER_RESET,
    KITH_PROVIDER_BAD_REQUEST
};

enum {
    KITH_PROVIDER_TOTAL_BLOBS_MAX = 1 << 16,
    /* looked at to tell how much a request asks for */ KITH_PROVIDER_BUFFER_SIZE = 128 * 1024,
    KITH_HASHES_PER_GROUP = KITH_GROUP_SIZE / KITH_HASH_SIZE
};

struct kith_provider {
    const struct kith_mem *mem;
    struct kith_blob_store store;
    struct kith_buf in; /* the request as it arrives */
    bool is_understood; /* the request has ended and was decoded */
    struct kith_request request;
    uint64_t next_offset; /* blob offset to look at next */
    struct kith_blob_view root, blob;
    bool has_root, has_blob;
    struct kith_blob_encoder encoder;
    uint8_t *hashes; /* the verified group of the hash sequence that was read last; KITH_GROUP_SIZE bytes */
    uint64_t hashes_group;
    bool has_hashes;
    uint8_t *out; /* KITH_PROVIDER_BUFFER_SIZE bytes */
    size_t out_begin, out_end;
    uint8_t end; /* enum kith_provider_end: valid for the other side once all of `out` is taken */
    uint64_t code;
    int err;                /* why it ended, 0 when all was sent */
    uint64_t failed_offset; /* the blob at which it ended early */
    uint64_t bytes_out;     /* taken by the owner */
    uint64_t payload_done;  /* bytes of finished blobs */
};

/** Prepares; allocates nothing. */
void kith__provider_init(struct kith_provider *provider, const struct kith_mem *mem,
                         const struct kith_blob_store *store);
/** Closes what is open and frees. */
void kith__provider_dispose(struct kith_provider *provider);
/** The next bytes of the request (untrusted); fin: that was all. After the end further bytes are ignored. */
void kith__provider_receive(struct kith_provider *provider, struct kith_slice bytes, bool fin);
/**
 * What is to be sent next, borrowed until the next call. 0: bytes; AGAIN: the request is not complete; END: see `end`,
 * `code` and `err`. Reads and hashes at most KITH_PROVIDER_BUFFER_SIZE bytes a call.
 */
int kith__provider_peek(struct kith_provider *provider, struct kith_slice *out);
/** Takes the first `size` bytes of what peek showed. */
void kith__provider_take(struct kith_provider *provider, size_t size);
/** Bytes of blobs made so far, without hashes and sizes. */
uint64_t kith__provider_payload(const struct kith_provider *provider);
/**
 * Bytes of blobs that the request asks for, as far as they are here; for people. 0 before it is understood. Looks at no more
 * than KITH_PROVIDER_TOTAL_BLOBS_MAX blobs.
 */
uint64_t kith__provider_total(struct kith_provider *provider);
/**
 * Reads group `group` of a blob and checks it against its root. out: KITH_GROUP_SIZE bytes; *size of them are set.
 * HASH; the source's errors; END beyond the blob's end.
 */
int kith__blob_read_group(const struct kith_mem *mem, const struct kith_blob_source *source,
                          const struct kith_hash *root, uint64_t blob_size, uint64_t group, uint8_t *out, size_t *size);

#endif
