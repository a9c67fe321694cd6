/**
 * The directory of endpoint ids: which sessions have an id, the newest last. Split in stripes with a lock each. Used by the
 * routes of one worker and by those of several; what the functions mean is said in relay/routes.h.
 */
#ifndef KITH_RELAY_DIRECTORY_H
#define KITH_RELAY_DIRECTORY_H

#include "base/map.h"
#include "relay/routes.h"

enum { KITH_RELAY_STRIPES_MAX = 64 };

struct kith_relay_directory {
    const struct kith_mem *mem;
    const struct kith_relay_sync *sync;
    unsigned stripe_count; /* a power of two */
    _Atomic uint64_t epoch;
    struct {
        void *lock;
        struct kith_map map;
    } stripes[KITH_RELAY_STRIPES_MAX];
};

/** Errors: NOMEM, LIMIT (locks). Dispose in any case. */
KITH_MUST_USE int kith__relay_directory_init(struct kith_relay_directory *directory, const struct kith_mem *mem,
                                             const struct kith_relay_sync *sync, unsigned stripe_count, uint64_t seed);
/** No id is entered any more. A zeroed one is fine. */
void kith__relay_directory_dispose(struct kith_relay_directory *directory);
KITH_MUST_USE int kith__relay_directory_join(struct kith_relay_directory *directory, const struct kith_id *id,
                                             struct kith_relay_place place, struct kith_relay_joined *out);
void kith__relay_directory_leave(struct kith_relay_directory *directory, const struct kith_id *id,
                                 struct kith_relay_place place, uint64_t reached, struct kith_relay_left *out);
bool kith__relay_directory_find(struct kith_relay_directory *directory, const struct kith_id *id,
                                struct kith_relay_place *out);

#endif
