#include "base/ranges.h"

#include "base/mem.h"

void kith__ranges_init(struct kith_ranges *set, const struct kith_mem *mem)
{
    *set = (struct kith_ranges) { .mem = mem };
}

void kith__ranges_dispose(struct kith_ranges *set)
{
    kith__free(set->mem, set->heap);
    kith__ranges_init(set, set->mem);
}

void kith__ranges_shed(struct kith_ranges *set)
{
    if (!kith__ranges_has_slack(set))
        return;
    memcpy(set->inside, set->heap, set->count * sizeof *set->heap);
    kith__free(set->mem, set->heap);
    set->heap = NULL;
    set->cap = 0;
}

void kith__ranges_clear(struct kith_ranges *set)
{
    set->count = 0;
}

static struct kith_range *items_of(struct kith_ranges *set)
{
    return set->heap != NULL ? set->heap : set->inside;
}

/** Makes room for `count` ranges in all. */
static int reserve(struct kith_ranges *set, size_t count)
{
    struct kith_range *heap;
    size_t cap = set->heap != NULL ? set->cap : KITH_RANGES_INLINE;

    if (count <= cap)
        return 0;
    while (cap < count)
        cap *= 2;
    heap = kith__realloc(set->mem, set->heap, cap * sizeof *heap);
    if (heap == NULL)
        return KITH_ERR_NOMEM;
    if (set->heap == NULL)
        memcpy(heap, set->inside, set->count * sizeof *heap);
    set->heap = heap;
    set->cap = cap;
    return 0;
}

/** Index of the first range with range.end >= value; count if there is none. Looks at the last range first. */
static size_t find_touching(const struct kith_ranges *set, uint64_t value)
{
    const struct kith_range *items = set->heap != NULL ? set->heap : set->inside;
    size_t low = 0, high = set->count;

    /* New numbers nearly always belong to the end of the set. */
    if (high != 0 && items[high - 1].begin <= value)
        low = high - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (items[middle].end < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/** Replaces the ranges [from, to) by `with` (0 to 2 of them). The room is there. */
static void splice(struct kith_ranges *set, size_t from, size_t to, const struct kith_range *with, size_t count)
{
    struct kith_range *items = items_of(set);

    memmove(items + from + count, items + to, (set->count - to) * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[from + i] = with[i];
    set->count = set->count - (to - from) + count;
}

int kith__ranges_add(struct kith_ranges *set, uint64_t begin, uint64_t end)
{
    struct kith_range merged = { begin, end };
    struct kith_range *items;
    size_t from, to;
    int err;

    if (begin >= end)
        return 0;
    from = to = find_touching(set, begin);
    for (items = items_of(set); to < set->count && items[to].begin <= end; to++) {
        merged.begin = KITH_MIN(merged.begin, items[to].begin);
        merged.end = KITH_MAX(merged.end, items[to].end);
    }
    if (from == to && (err = reserve(set, set->count + 1)) != 0)
        return err;
    splice(set, from, to, &merged, 1);
    return 0;
}

int kith__ranges_remove(struct kith_ranges *set, uint64_t begin, uint64_t end)
{
    struct kith_range rest[2];
    struct kith_range *items;
    size_t from, to, count = 0;
    int err;

    if (begin >= end)
        return 0;
    from = to = kith__ranges_find(set, begin);
    for (items = items_of(set); to < set->count && items[to].begin < end; to++)
        continue;
    if (from == to)
        return 0;
    if (items[from].begin < begin)
        rest[count++] = (struct kith_range) { items[from].begin, begin };
    if (items[to - 1].end > end)
        rest[count++] = (struct kith_range) { end, items[to - 1].end };
    if ((err = reserve(set, set->count - (to - from) + count)) != 0)
        return err;
    splice(set, from, to, rest, count);
    return 0;
}

size_t kith__ranges_find(const struct kith_ranges *set, uint64_t value)
{
    return value == UINT64_MAX ? set->count : find_touching(set, value + 1);
}

bool kith__ranges_contains(const struct kith_ranges *set, uint64_t value)
{
    size_t i = kith__ranges_find(set, value);

    return i < set->count && kith__ranges_at(set, i).begin <= value;
}

bool kith__ranges_contains_all(const struct kith_ranges *set, uint64_t begin, uint64_t end)
{
    size_t i;

    if (begin >= end)
        return true;
    i = kith__ranges_find(set, begin);
    return i < set->count && kith__ranges_at(set, i).begin <= begin && end <= kith__ranges_at(set, i).end;
}

bool kith__ranges_intersects(const struct kith_ranges *set, uint64_t begin, uint64_t end)
{
    size_t i = kith__ranges_find(set, begin);

    return begin < end && i < set->count && kith__ranges_at(set, i).begin < end;
}

uint64_t kith__ranges_total(const struct kith_ranges *set)
{
    uint64_t total = 0;

    /* Disjoint ranges of 64-bit numbers cannot add up to more than UINT64_MAX. */
    for (size_t i = 0; i < set->count; i++)
        total += kith__ranges_at(set, i).end - kith__ranges_at(set, i).begin;
    return total;
}

int kith__ranges_copy(const struct kith_ranges *from, struct kith_ranges *to)
{
    int err = reserve(to, from->count);

    if (err != 0)
        return err;
    memmove(items_of(to), from->heap != NULL ? from->heap : from->inside, from->count * sizeof from->inside[0]);
    to->count = from->count;
    return 0;
}
