/**
 * The service "memory": what the program itself knows about endpoints (from tickets, configuration, messages). Answers at
 * once; publishes nothing. Source: spec/03, 12.1.
 *
 * Thread rules: those of the rt.
 */
#ifndef KITH_LOOKUP_MEMORY_H
#define KITH_LOOKUP_MEMORY_H

#include "lookup/service.h"
#include "rt/rt.h"

struct kith_lookup_memory;

enum { KITH_LOOKUP_MEMORY_MAX = 1 << 20 }; /* endpoints; it is the program that adds them */

/** rt and mem are borrowed. Errors: NOMEM. */
KITH_MUST_USE int kith__lookup_memory_new(struct kith_rt *rt, const struct kith_mem *mem,
                                          struct kith_lookup_memory **out);
/** For kith__lookup_add, which takes ownership: the memory lives as long as the registry then. Else: ops->free. */
struct kith_lookup_service *kith__lookup_memory_service(struct kith_lookup_memory *memory);
/** Replaces what is known about info's endpoint by a copy of info. Errors: NOMEM, LIMIT: the old stays. */
KITH_MUST_USE int kith__lookup_memory_set(struct kith_lookup_memory *memory, const struct kith_lookup_info *info);
/**
 * Adds info's addresses to what is known; none is dropped. User data, if info has any, replace the old ones. Errors: as set;
 * on NOMEM some addresses may have been added. What is above KITH_ADDRS_MAX is left out.
 */
KITH_MUST_USE int kith__lookup_memory_add(struct kith_lookup_memory *memory, const struct kith_lookup_info *info);
/** Forgets an endpoint. False if it was not known. */
bool kith__lookup_memory_remove(struct kith_lookup_memory *memory, const struct kith_id *id);
/** What is known; borrowed until the next change. NULL: nothing. */
const struct kith_lookup_info *kith__lookup_memory_get(const struct kith_lookup_memory *memory,
                                                       const struct kith_id *id);
size_t kith__lookup_memory_count(const struct kith_lookup_memory *memory);

#endif
