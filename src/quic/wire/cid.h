/** A connection id by value, 0 to 20 bytes. Source: RFC 9000, 5.1 and 17.2. */
#ifndef KITH_QUIC_WIRE_CID_H
#define KITH_QUIC_WIRE_CID_H

#include "base/assert.h"
#include <kith/types.h>
#include <string.h>

enum { KITH_CID_SIZE_MAX = 20, KITH_RESET_TOKEN_BYTES = 16 };

/** Unused bytes are zero, so that memcmp compares whole ids. */
struct kith_cid {
    uint8_t size; /* 0 .. KITH_CID_SIZE_MAX */
    uint8_t bytes[KITH_CID_SIZE_MAX];
};

/** A copy of `size` bytes; size <= KITH_CID_SIZE_MAX (the caller has checked). */
static inline struct kith_cid kith__cid(const uint8_t *bytes, size_t size)
{
    struct kith_cid cid = { 0 };

    KITH_ASSERT(size <= KITH_CID_SIZE_MAX);
    cid.size = (uint8_t)size;
    if (size != 0)
        memcpy(cid.bytes, bytes, size);
    return cid;
}
static inline struct kith_slice kith__cid_slice(const struct kith_cid *cid)
{
    return (struct kith_slice) { cid->bytes, cid->size };
}
static inline bool kith__cid_equal(const struct kith_cid *a, const struct kith_cid *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}
/** True if the slice (untrusted, any size) is this id. */
static inline bool kith__cid_is(const struct kith_cid *cid, struct kith_slice slice)
{
    return cid->size == slice.size && (slice.size == 0 || memcmp(cid->bytes, slice.ptr, slice.size) == 0);
}

#endif
