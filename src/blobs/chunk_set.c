/* Sets of chunk numbers and their wire forms. */
#include "blobs/chunk_set.h"

#include "base/assert.h"
#include "base/mem.h"
#include "codec/postcard.h"

void kith__chunk_set_init(struct kith_chunk_set *set, const struct kith_mem *mem)
{
    *set = (struct kith_chunk_set) { .mem = mem };
}

void kith__chunk_set_dispose(struct kith_chunk_set *set)
{
    kith__free(set->mem, set->bounds);
    kith__chunk_set_init(set, set->mem);
}

static int set_reserve(struct kith_chunk_set *set, size_t count)
{
    uint64_t *bounds;

    if (count <= set->cap)
        return 0;
    bounds = kith__realloc(set->mem, set->bounds, KITH_MAX(count, set->cap * 2) * sizeof *bounds);
    if (bounds == NULL)
        return KITH_ERR_NOMEM;
    set->cap = KITH_MAX(count, set->cap * 2);
    set->bounds = bounds;
    return 0;
}

static int set_push(struct kith_chunk_set *set, uint64_t bound)
{
    int err = set_reserve(set, set->count + 1);

    if (err != 0)
        return err;
    KITH_ASSERT(set->count == 0 || set->bounds[set->count - 1] < bound);
    set->bounds[set->count++] = bound;
    return 0;
}

int kith__chunk_set_range(struct kith_chunk_set *set, uint64_t begin, uint64_t end)
{
    int err = set_reserve(set, 2);

    KITH_ASSERT(begin < end || end == UINT64_MAX);
    if (err != 0)
        return err;
    set->bounds[0] = begin;
    set->bounds[1] = end;
    set->count = end == UINT64_MAX ? 1 : 2;
    return 0;
}

int kith__chunk_set_all(struct kith_chunk_set *set)
{
    return kith__chunk_set_range(set, 0, UINT64_MAX);
}

int kith__chunk_set_from_ranges(struct kith_chunk_set *set, const struct kith_ranges *ranges)
{
    int err = set_reserve(set, ranges->count * 2);

    if (err != 0)
        return err;
    set->count = 0;
    for (size_t i = 0; i < ranges->count; i++) {
        struct kith_range range = kith__ranges_at(ranges, i);

        set->bounds[set->count++] = range.begin;
        if (range.end != UINT64_MAX)
            set->bounds[set->count++] = range.end;
    }
    return 0;
}

int kith__chunk_set_copy(const struct kith_chunk_set *from, struct kith_chunk_set *to)
{
    int err = set_reserve(to, from->count);

    if (err != 0)
        return err;
    if (from->count > 0)
        memcpy(to->bounds, from->bounds, from->count * sizeof *from->bounds);
    to->count = from->count;
    return 0;
}

bool kith__chunk_set_is_empty(const struct kith_chunk_set *set)
{
    return set->count == 0;
}

bool kith__chunk_set_equal(const struct kith_chunk_set *a, const struct kith_chunk_set *b)
{
    return a->count == b->count && (a->count == 0 || memcmp(a->bounds, b->bounds, a->count * sizeof *a->bounds) == 0);
}

/* How many boundaries are <= value: odd means that value is a member. */
static size_t bounds_up_to(const struct kith_chunk_set *set, uint64_t value)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (set->bounds[middle] <= value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool kith__chunk_set_intersects(const struct kith_chunk_set *set, uint64_t begin, uint64_t end)
{
    size_t index = bounds_up_to(set, begin);

    return begin < end && (index % 2 == 1 || (index < set->count && set->bounds[index] < end));
}

bool kith__chunk_set_covers(const struct kith_chunk_set *set, uint64_t begin, uint64_t end)
{
    size_t index = bounds_up_to(set, begin);

    return begin >= end || (index % 2 == 1 && (index == set->count || set->bounds[index] >= end));
}

int kith__chunk_set_effective(const struct kith_chunk_set *asked, uint64_t size, struct kith_chunk_set *out)
{
    uint64_t last = kith__chunk_count(size) - 1;
    bool wants_last = asked->count % 2 == 1 || (asked->count > 0 && asked->bounds[asked->count - 1] > last);
    int err;

    if ((err = set_reserve(out, asked->count + 2)) != 0)
        return err;
    out->count = 0;
    for (size_t i = 0; i < asked->count && asked->bounds[i] < last; i++)
        out->bounds[out->count++] = asked->bounds[i];
    if (out->count % 2 == 1) { /* a range reaches up to the last chunk */
        out->bounds[out->count++] = wants_last ? last + 1 : last;
    } else if (wants_last) {
        out->bounds[out->count++] = last;
        out->bounds[out->count++] = last + 1;
    }
    return 0;
}

uint64_t kith__chunk_set_payload(const struct kith_chunk_set *set, uint64_t size)
{
    uint64_t total = 0;

    KITH_ASSERT(set->count % 2 == 0);
    for (size_t i = 0; i < set->count; i += 2) {
        uint64_t end = set->bounds[i + 1] * KITH_CHUNK_SIZE;

        total += (end < size ? end : size) - KITH_MIN(set->bounds[i] * KITH_CHUNK_SIZE, size);
    }
    return total;
}

int kith__chunk_set_encode(const struct kith_chunk_set *set, struct kith_buf *out)
{
    uint64_t before = 0;
    int err = kith__postcard_write_uint(out, set->count);

    for (size_t i = 0; err == 0 && i < set->count; i++) {
        err = kith__postcard_write_uint(out, set->bounds[i] - before);
        before = set->bounds[i];
    }
    return err;
}

int kith__chunk_set_decode(struct kith_reader *r, struct kith_chunk_set *out)
{
    uint64_t bound = 0, width;
    size_t count;
    int err;

    if ((err = kith__postcard_read_count(r, 1, &count)) != 0)
        return err;
    if (count > KITH_CHUNK_BOUNDARIES_MAX)
        return KITH_ERR_TOO_LARGE;
    if ((err = set_reserve(out, count)) != 0)
        return err;
    out->count = 0;
    for (size_t i = 0; i < count; i++) {
        if ((err = kith__postcard_read_u64(r, &width)) != 0)
            return err;
        if ((i > 0 && width == 0) || width > UINT64_MAX - bound)
            return KITH_ERR_PARSE;
        bound += width;
        if ((err = set_push(out, bound)) != 0)
            return err;
    }
    return 0;
}

void kith__chunk_seq_init(struct kith_chunk_seq *seq, const struct kith_mem *mem)
{
    *seq = (struct kith_chunk_seq) { .mem = mem };
}

void kith__chunk_seq_dispose(struct kith_chunk_seq *seq)
{
    for (size_t i = 0; i < seq->count; i++)
        kith__chunk_set_dispose(&seq->entries[i].set);
    kith__free(seq->mem, seq->entries);
    kith__chunk_seq_init(seq, seq->mem);
}

/* Room for one more entry, with an empty set at its place. */
static int seq_grow(struct kith_chunk_seq *seq)
{
    size_t cap = KITH_MAX((size_t)4, seq->cap * 2);
    struct kith_chunk_seq_entry *entries;

    if (seq->count == seq->cap) {
        if ((entries = kith__realloc(seq->mem, seq->entries, cap * sizeof *entries)) == NULL)
            return KITH_ERR_NOMEM;
        seq->entries = entries;
        seq->cap = cap;
    }
    kith__chunk_set_init(&seq->entries[seq->count].set, seq->mem);
    return 0;
}

/* The set before blob `offset` of the first entry is empty: an empty first set would say nothing. */
static bool says_nothing_new(const struct kith_chunk_seq *seq, const struct kith_chunk_set *set)
{
    return seq->count == 0 ? set->count == 0 : kith__chunk_set_equal(&seq->entries[seq->count - 1].set, set);
}

int kith__chunk_seq_append(struct kith_chunk_seq *seq, uint64_t offset, const struct kith_chunk_set *set)
{
    int err;

    KITH_ASSERT(seq->count == 0 || seq->entries[seq->count - 1].offset < offset);
    if (says_nothing_new(seq, set))
        return 0;
    if ((err = seq_grow(seq)) != 0 || (err = kith__chunk_set_copy(set, &seq->entries[seq->count].set)) != 0)
        return err;
    seq->entries[seq->count++].offset = offset;
    return 0;
}

/* How many entries have an offset <= `offset`. */
static size_t entries_up_to(const struct kith_chunk_seq *seq, uint64_t offset)
{
    size_t low = 0, high = seq->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (seq->entries[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct kith_chunk_set *kith__chunk_seq_at(const struct kith_chunk_seq *seq, uint64_t offset)
{
    size_t index = entries_up_to(seq, offset);

    return index == 0 || seq->entries[index - 1].set.count == 0 ? NULL : &seq->entries[index - 1].set;
}

uint64_t kith__chunk_seq_next(const struct kith_chunk_seq *seq, uint64_t offset)
{
    size_t index = entries_up_to(seq, offset);

    if (index > 0 && seq->entries[index - 1].set.count > 0)
        return offset;
    for (; index < seq->count; index++)
        if (seq->entries[index].set.count > 0)
            return seq->entries[index].offset;
    return UINT64_MAX;
}

bool kith__chunk_seq_is_blob(const struct kith_chunk_seq *seq)
{
    return seq->count == 2 && seq->entries[0].offset == 0 && seq->entries[1].offset == 1 &&
           seq->entries[1].set.count == 0;
}

int kith__chunk_seq_encode(const struct kith_chunk_seq *seq, struct kith_buf *out)
{
    uint64_t before = 0;
    int err = kith__postcard_write_uint(out, seq->count);

    for (size_t i = 0; err == 0 && i < seq->count; i++) {
        if ((err = kith__postcard_write_uint(out, seq->entries[i].offset - before)) == 0)
            err = kith__chunk_set_encode(&seq->entries[i].set, out);
        before = seq->entries[i].offset;
    }
    return err;
}

static int decode_entry(struct kith_reader *r, struct kith_chunk_seq *seq, uint64_t *offset)
{
    struct kith_chunk_set *set = &seq->entries[seq->count].set;
    uint64_t delta;
    int err;

    if ((err = kith__postcard_read_u64(r, &delta)) != 0)
        return err;
    if ((seq->count > 0 && delta == 0) || delta > UINT64_MAX - *offset)
        return KITH_ERR_PARSE;
    *offset += delta;
    if ((err = kith__chunk_set_decode(r, set)) == 0 && says_nothing_new(seq, set))
        err = KITH_ERR_PARSE;
    if (err != 0) {
        kith__chunk_set_dispose(set);
        return err;
    }
    seq->entries[seq->count++].offset = *offset;
    return 0;
}

int kith__chunk_seq_decode(struct kith_reader *r, struct kith_chunk_seq *out)
{
    uint64_t offset = 0;
    size_t count;
    int err;

    if ((err = kith__postcard_read_count(r, 2, &count)) != 0)
        return err;
    if (count > KITH_CHUNK_SETS_MAX)
        return KITH_ERR_TOO_LARGE;
    for (size_t i = 0; i < count; i++)
        if ((err = seq_grow(out)) != 0 || (err = decode_entry(r, out, &offset)) != 0)
            return err;
    return 0;
}
