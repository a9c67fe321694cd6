/** A connection id by value, and a stateless reset token. RFC 9000, 5.1 and 10.3. */
#ifndef KITH_QUIC_PATH_CID_H
#define KITH_QUIC_PATH_CID_H

#include <kith/quic.h>
#include <string.h>

enum { KITH_RESET_TOKEN_SIZE = 16 };

struct kith_cid {
    uint8_t bytes[KITH_QUIC_CID_SIZE_MAX];
    uint8_t size; /* 0..KITH_QUIC_CID_SIZE_MAX */
};

static inline bool kith__cid_equal(const struct kith_cid *a, const struct kith_cid *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/** The fields of a NEW_CONNECTION_ID or PATH_NEW_CONNECTION_ID frame without the path id. */
struct kith_cid_issue {
    uint64_t sequence, retire_prior_to;
    struct kith_cid cid;
    uint8_t reset_token[KITH_RESET_TOKEN_SIZE];
};

#endif
