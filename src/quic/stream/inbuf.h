/**
 * The bytes of a receiving half, put into order. Each byte is copied once into a block, delivered once, in order
 * (peek/consume) or as they came (next_chunk). Also used for CRYPTO data.
 *
 * Memory: at most 2 x the bytes that wait + KITH_INBUF_SLACK (the array of blocks may have unused room for as many blocks
 * again); where a peer sends many small pieces, blocks are merged.
 * What waits is bounded by flow control, which the caller checks first.
 * Owner: the stream (or packet number space), by value. Source: RFC 9000, 2.2, 4.5 and 7.5; spec/01, 1.11.
 */
#ifndef KITH_QUIC_STREAM_INBUF_H
#define KITH_QUIC_STREAM_INBUF_H

#include "base/ranges.h"
#include <kith/types.h>

enum {
    KITH_INBUF_HOLES_MAX =
        1024,                  /* gaps in what was received; more end the connection with INTERNAL_ERROR (spec/01, 0) */
    KITH_INBUF_BLOCK_MIN = 64, /* smallest block */
    KITH_INBUF_BLOCK_MAX = 65536,  /* blocks of in-order data grow to this */
    KITH_INBUF_SLACK = 192 * 1024, /* memory beyond twice the waiting bytes before blocks are merged */
};
#define KITH_INBUF_SIZE_UNKNOWN UINT64_MAX

/** A run of bytes that wait: [offset, offset + end - begin). */
struct kith_inbuf_block {
    uint64_t offset;          /* of the first byte that waits */
    uint8_t *memory;          /* owned */
    uint32_t begin, end, cap; /* positions in memory */
};

struct kith_inbuf {
    const struct kith_mem *mem;
    struct kith_inbuf_block *blocks; /* [head, head + count) by offset, disjoint */
    uint32_t head, count, cap;
    uint32_t block_hint;         /* size of the newest in-order block: the next one may be twice as large */
    struct kith_ranges received; /* every byte ever received */
    uint64_t consumed;           /* bytes given to the user; when ordered also the next offset */
    uint64_t waiting;            /* bytes in the blocks */
    uint64_t memory_size;        /* sum of the blocks' cap */
    uint64_t final_size;         /* KITH_INBUF_SIZE_UNKNOWN until the end is known */
    bool unordered;
};

void kith__inbuf_init(struct kith_inbuf *in, const struct kith_mem *mem);
/** Frees everything; fine for a zeroed object and twice. */
void kith__inbuf_dispose(struct kith_inbuf *in);

/** The final size if it is known, else one more than the highest offset received; 0 at first: what flow control counts. */
uint64_t kith__inbuf_highest(const struct kith_inbuf *in);

/**
 * Checks a frame against the final size rules without changing anything, and before credit is checked. Returns 0 or the
 * wire code FINAL_SIZE_ERROR. offset + size <= 2^62-1 (the caller has checked).
 */
int kith__inbuf_check_final(const struct kith_inbuf *in, uint64_t offset, uint64_t size, bool fin);

/**
 * Takes in a frame (untrusted; offset + size <= 2^62-1; flow control was checked). Bytes that came before are skipped.
 * Returns 0; a wire code > 0: FINAL_SIZE_ERROR, INTERNAL_ERROR (too many holes); or KITH_ERR_NOMEM.
 */
KITH_MUST_USE int kith__inbuf_on_data(struct kith_inbuf *in, uint64_t offset, const uint8_t *bytes, size_t size,
                                      bool fin);

/** True if a read would give bytes, or the end. */
bool kith__inbuf_is_readable(const struct kith_inbuf *in);
/** True if all bytes up to the final size are here (read or not). */
bool kith__inbuf_is_complete(const struct kith_inbuf *in);
/** True if all bytes up to the final size were consumed. */
bool kith__inbuf_is_finished(const struct kith_inbuf *in);

/**
 * Shows the next bytes in order, as many as lie together. *out is valid until the next call on this buffer.
 * KITH_ERR_AGAIN: nothing yet; KITH_ERR_END: all was consumed; KITH_ERR_STATE: switched to unordered.
 */
KITH_MUST_USE int kith__inbuf_peek(const struct kith_inbuf *in, struct kith_slice *out);
/** Drops the first `size` bytes, at most what peek shows. */
void kith__inbuf_consume(struct kith_inbuf *in, size_t size);
/**
 * Copies the first waiting bytes, whatever their offset, up to `capacity` > 0, each byte once; *offset tells where they
 * belong. Switches to unordered for good. KITH_ERR_AGAIN, KITH_ERR_END as above.
 */
KITH_MUST_USE int kith__inbuf_next_chunk(struct kith_inbuf *in, uint8_t *out, size_t capacity, uint64_t *offset,
                                         size_t *size);
/**
 * The bytes below `end` (and the end, if fin) came or will not come, and nobody wants them: they count as received without
 * being kept. Nothing may be waiting (call discard before). Cannot fail; final size rules were checked.
 */
void kith__inbuf_skip(struct kith_inbuf *in, uint64_t end, bool fin);
/** Frees all waiting bytes; `received` and `final_size` stay, so that later frames are still checked. */
void kith__inbuf_discard(struct kith_inbuf *in);

#endif
