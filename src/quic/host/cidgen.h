/**
 * Our connection ids: KITH_CIDGEN_RANDOM_SIZE random bytes and a keyed hash of them, so that a host tells its own ids from
 * noise without a table. Owner: the host, by value. Source: spec/01, 1.3.
 */
#ifndef KITH_QUIC_HOST_CIDGEN_H
#define KITH_QUIC_HOST_CIDGEN_H

#include <kith/types.h>

enum { KITH_CIDGEN_SIZE = 8, KITH_CIDGEN_RANDOM_SIZE = 3 };

struct kith_cidgen {
    uint8_t key[32]; /* secret */
};

/** Draws the key; or takes one that was used before. */
void kith__cidgen_init(struct kith_cidgen *gen, const struct kith_random *random);
void kith__cidgen_set_key(struct kith_cidgen *gen, const uint8_t key[32]);
/** Wipes the key. */
void kith__cidgen_dispose(struct kith_cidgen *gen);
/** A new id. 2^24 different ones: the caller draws again if it is in use. */
void kith__cidgen_next(const struct kith_cidgen *gen, const struct kith_random *random, uint8_t out[KITH_CIDGEN_SIZE]);
/** True if these bytes (untrusted) are an id of this generator; a chance of 2^-40 for others. */
bool kith__cidgen_is_ours(const struct kith_cidgen *gen, const uint8_t *cid, size_t size);

#endif
