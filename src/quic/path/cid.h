/**
 * What paths need to know of connection ids: a stateless reset token, and a newly issued id. RFC 9000, 5.1 and 10.3.
 */
#ifndef KITH_QUIC_PATH_CID_H
#define KITH_QUIC_PATH_CID_H

#include "quic/wire/cid.h"

enum { KITH_RESET_TOKEN_SIZE = 16 };

/** The fields of a NEW_CONNECTION_ID or PATH_NEW_CONNECTION_ID frame without the path id. */
struct kith_cid_issue {
    uint64_t sequence, retire_prior_to;
    struct kith_cid cid;
    uint8_t reset_token[KITH_RESET_TOKEN_SIZE];
};

#endif
