/**
 * The bytes of a sending half: what the user wrote, until the peer has it. Knows what was never sent, what was lost (goes
 * first), and what was acknowledged out of order. Bytes are copied once into blocks, and freed as the acknowledged prefix
 * grows. In-order sending and acknowledging allocates nothing and searches nothing.
 * Owner: the stream, by value. Source: RFC 9000, 2.2 and 13.3.
 */
#ifndef KITH_QUIC_STREAM_OUTBUF_H
#define KITH_QUIC_STREAM_OUTBUF_H

#include "base/ranges.h"
#include <kith/types.h>

enum {
    KITH_OUTBUF_BLOCK_MIN = 1024,  /* a stream with a few bytes holds not more than this */
    KITH_OUTBUF_BLOCK_MAX = 65536, /* blocks grow to this as more is written */
};

struct kith_outbuf_block;

enum kith_outbuf_fin {
    KITH_FIN_OPEN,   /* the user may write more */
    KITH_FIN_UNSENT, /* the end is known, and must be sent (for the first time or again) */
    KITH_FIN_SENT,   /* the end is on its way */
    KITH_FIN_ACKED,  /* the peer knows the end */
};

struct kith_outbuf {
    const struct kith_mem *mem;
    struct kith_outbuf_block *first, *last;
    struct kith_outbuf_block *cursor; /* where the next new byte to send is; NULL: search from first */
    uint64_t begin;                   /* all bytes below are acknowledged and gone */
    uint64_t sent;                    /* all bytes below were sent at least once */
    uint64_t end;                     /* all bytes below were written by the user */
    struct kith_ranges lost;          /* inside [begin, sent): to be sent again */
    struct kith_ranges acked;         /* inside (begin, sent): acknowledged, but something below is not */
    uint8_t fin;                      /* enum kith_outbuf_fin */
};

/** A piece to put into one STREAM frame. */
struct kith_outbuf_chunk {
    uint64_t offset;
    size_t size; /* may be 0 if fin */
    bool fin;    /* the piece ends the stream (only if all of `size` is taken) */
    bool resend; /* was sent before: it needs no flow-control credit */
};

void kith__outbuf_init(struct kith_outbuf *out, const struct kith_mem *mem);
/** Frees everything; fine for a zeroed object and twice. */
void kith__outbuf_dispose(struct kith_outbuf *out);

/** Appends a copy of `size` bytes: all or nothing. fin must be OPEN. KITH_ERR_NOMEM leaves the buffer as it was. */
KITH_MUST_USE int kith__outbuf_write(struct kith_outbuf *out, const void *bytes, size_t size);
/** The user wrote the last byte; fin must be OPEN. */
void kith__outbuf_finish(struct kith_outbuf *out);

/** Bytes held for the user: written and not (contiguously) acknowledged. */
static inline uint64_t kith__outbuf_held(const struct kith_outbuf *out)
{
    return out->end - out->begin;
}
/** True if bytes or the end wait to be sent again: these need no credit. */
static inline bool kith__outbuf_has_resend(const struct kith_outbuf *out)
{
    return out->lost.count != 0 || (out->fin == KITH_FIN_UNSENT && out->sent == out->end);
}
/** True if there are bytes that were never sent. */
static inline bool kith__outbuf_has_new(const struct kith_outbuf *out)
{
    return out->sent < out->end;
}
/** Bytes that were never sent. */
static inline uint64_t kith__outbuf_unsent(const struct kith_outbuf *out)
{
    return out->end - out->sent;
}
/** True when all bytes and the end are acknowledged. */
static inline bool kith__outbuf_is_done(const struct kith_outbuf *out)
{
    return out->fin == KITH_FIN_ACKED && out->begin == out->end;
}

/**
 * Shows the next piece: lost bytes first, then new ones up to offset `limit` (flow control, as an absolute offset). The
 * piece is as long as it can be; the caller may take a shorter beginning of it. Returns false if nothing may be sent.
 */
bool kith__outbuf_peek(const struct kith_outbuf *out, uint64_t limit, struct kith_outbuf_chunk *chunk);
/**
 * Notes that the first `size` bytes of what peek showed go out now (with the end if chunk->fin and size is all of it).
 * Returns true if the end went along. KITH_ERR-free: taking lost bytes from the front of a range never allocates.
 */
bool kith__outbuf_take(struct kith_outbuf *out, const struct kith_outbuf_chunk *chunk, size_t size);
/** Copies [offset, offset + size), which must be held and unacknowledged, to dst. */
void kith__outbuf_copy_out(struct kith_outbuf *out, uint64_t offset, size_t size, uint8_t *dst);

/**
 * The peer has [offset, offset + size), and the end if `fin`. Must have been sent; twice is fine. Returns 0 and how many
 * held bytes became free in *freed, or KITH_ERR_NOMEM (nothing changed).
 */
KITH_MUST_USE int kith__outbuf_on_acked(struct kith_outbuf *out, uint64_t offset, uint64_t size, bool fin,
                                        uint64_t *freed);
/** The packet with [offset, offset + size) was lost: what is not acknowledged otherwise goes out again. KITH_ERR_NOMEM. */
KITH_MUST_USE int kith__outbuf_on_lost(struct kith_outbuf *out, uint64_t offset, uint64_t size, bool fin);
/** Everything counts as never sent (0-RTT was rejected). Nothing may be acknowledged yet. */
void kith__outbuf_rewind(struct kith_outbuf *out);
/** Drops all bytes (the stream was reset): afterwards there is nothing to send, and `sent` tells the final size. */
void kith__outbuf_reset(struct kith_outbuf *out);

#endif
