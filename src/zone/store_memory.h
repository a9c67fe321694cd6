/**
 * A store in memory: for the simulator, for tests, and for servers without a disk. What it holds is gone with it; a commit does nothing.
 */
#ifndef KITH_ZONE_STORE_MEMORY_H
#define KITH_ZONE_STORE_MEMORY_H

#include "base/sync.h"
#include "zone/store.h"

struct kith_store_memory_options {
    const struct kith_mem *mem;
    const struct kith_sync *sync; /* for gets of several threads; NULL: one thread. Borrowed */
    uint64_t seed;                /* random: of the table */
    uint64_t packets_max;         /* put says LIMIT to a new key beyond it; 0: no limit */
};

/** Ends with its ops->free. Errors: NOMEM, LIMIT. */
KITH_MUST_USE int kith__store_memory_new(const struct kith_store_memory_options *options, struct kith_store **out);

#endif
