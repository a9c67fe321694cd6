/**
 * A set of uint64 numbers as sorted half-open ranges [begin, end), disjoint and not touching. Small sets live inside the
 * object, which may be moved by assignment (it has no pointer into itself). UINT64_MAX itself cannot be a member.
 * Used for packet numbers, received stream bytes, and chunk numbers. The set has no size limit of its own: whoever adds
 * what a peer chooses looks at `count`.
 */
#ifndef KITH_BASE_RANGES_H
#define KITH_BASE_RANGES_H

#include "base/assert.h"
#include <kith/types.h>

struct kith_range {
    uint64_t begin, end; /* begin < end */
};

enum { KITH_RANGES_INLINE = 2 };

struct kith_ranges {
    struct kith_range *heap; /* NULL while the ranges are in `inside`; read them through kith__ranges_at */
    size_t count, cap;       /* cap: of heap */
    struct kith_range inside[KITH_RANGES_INLINE];
    const struct kith_mem *mem;
};

void kith__ranges_init(struct kith_ranges *set, const struct kith_mem *mem);
void kith__ranges_dispose(struct kith_ranges *set);
/** The range at index < count, ascending. Valid until the next change. */
static inline struct kith_range kith__ranges_at(const struct kith_ranges *set, size_t index)
{
    KITH_ASSERT(index < set->count);
    return (set->heap != NULL ? set->heap : set->inside)[index];
}
/** Gives back memory that the ranges, as few as they are now, do not need. */
void kith__ranges_shed(struct kith_ranges *set);
/** True if kith__ranges_shed would give something back. */
static inline bool kith__ranges_has_slack(const struct kith_ranges *set)
{
    return set->heap != NULL && set->count <= KITH_RANGES_INLINE;
}
/** Empties the set, keeps its memory. */
void kith__ranges_clear(struct kith_ranges *set);
/** Adds [begin, end); an empty range is fine. KITH_ERR_NOMEM leaves the set as it was. */
int kith__ranges_add(struct kith_ranges *set, uint64_t begin, uint64_t end);
/** Takes [begin, end) out (can split a range). KITH_ERR_NOMEM leaves the set as it was. */
int kith__ranges_remove(struct kith_ranges *set, uint64_t begin, uint64_t end);
bool kith__ranges_contains(const struct kith_ranges *set, uint64_t value);
/** True if all of [begin, end) is inside. */
bool kith__ranges_contains_all(const struct kith_ranges *set, uint64_t begin, uint64_t end);
/** True if any of [begin, end) is inside. */
bool kith__ranges_intersects(const struct kith_ranges *set, uint64_t begin, uint64_t end);
/** Index of the first range with range.end > value; count if there is none. */
size_t kith__ranges_find(const struct kith_ranges *set, uint64_t value);
/** Sum of the sizes (saturates at UINT64_MAX). */
uint64_t kith__ranges_total(const struct kith_ranges *set);
/** Makes `to` (initialised) an equal set with its own memory. KITH_ERR_NOMEM leaves `to` as it was. */
int kith__ranges_copy(const struct kith_ranges *from, struct kith_ranges *to);

#endif
