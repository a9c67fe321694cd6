#include "quic/host/cidgen.h"

#include "base/random.h"
#include "crypto/blake3.h"
#include "crypto/secure.h"
#include <string.h>

void kith__cidgen_init(struct kith_cidgen *gen, const struct kith_random *random)
{
    kith__random_fill(random, gen->key, sizeof gen->key);
}

void kith__cidgen_set_key(struct kith_cidgen *gen, const uint8_t key[32])
{
    memcpy(gen->key, key, sizeof gen->key);
}

void kith__cidgen_dispose(struct kith_cidgen *gen)
{
    kith__wipe(gen->key, sizeof gen->key);
}

/** Writes the second part of the id, which follows from the first. */
static void complete(const struct kith_cidgen *gen, uint8_t cid[KITH_CIDGEN_SIZE])
{
    uint8_t hash[KITH_HASH_SIZE];

    kith__blake3_keyed(gen->key, cid, KITH_CIDGEN_RANDOM_SIZE, hash);
    memcpy(cid + KITH_CIDGEN_RANDOM_SIZE, hash, KITH_CIDGEN_SIZE - KITH_CIDGEN_RANDOM_SIZE);
}

void kith__cidgen_next(const struct kith_cidgen *gen, const struct kith_random *random, uint8_t out[KITH_CIDGEN_SIZE])
{
    kith__random_fill(random, out, KITH_CIDGEN_RANDOM_SIZE);
    complete(gen, out);
}

bool kith__cidgen_is_ours(const struct kith_cidgen *gen, const uint8_t *cid, size_t size)
{
    uint8_t expect[KITH_CIDGEN_SIZE];

    if (size != KITH_CIDGEN_SIZE)
        return false;
    memcpy(expect, cid, KITH_CIDGEN_RANDOM_SIZE);
    complete(gen, expect);
    return kith__equal_secret(expect, cid, size);
}
