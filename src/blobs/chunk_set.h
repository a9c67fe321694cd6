/**
 * Sets of 1,024-byte chunk numbers, and their wire forms in requests. A set is a strictly increasing list of boundaries
 * b0 < b1 < ...: members are [b0,b1), [b2,b3), ...; an odd count means that the last range has no end. Source: spec/05, 2.2 and 3.3.
 */
#ifndef KITH_BLOBS_CHUNK_SET_H
#define KITH_BLOBS_CHUNK_SET_H

#include "base/buf.h"
#include "base/ranges.h"
#include "codec/cursor.h"

enum {
    KITH_CHUNK_SIZE = 1024,
    KITH_GROUP_CHUNKS = 16, /* one group: 16 KiB, the unit that is stored and served again */
    KITH_GROUP_SIZE = KITH_CHUNK_SIZE * KITH_GROUP_CHUNKS,
    KITH_GROUP_LEVEL = 4,                /* parents of this level and above are kept in outboards */
    KITH_CHUNK_BOUNDARIES_MAX = 1 << 16, /* in one set from a peer; above it TOO_LARGE */
    KITH_CHUNK_SETS_MAX = 1 << 16        /* in one sequence from a peer; above it TOO_LARGE */
};

struct kith_chunk_set {
    uint64_t *bounds; /* owned; ascending */
    size_t count, cap;
    const struct kith_mem *mem;
};

/** An empty set, without memory. */
void kith__chunk_set_init(struct kith_chunk_set *set, const struct kith_mem *mem);
void kith__chunk_set_dispose(struct kith_chunk_set *set);
/** Makes the set [begin, end), or [begin, ...) if end is UINT64_MAX. begin < end. NOMEM. */
int kith__chunk_set_range(struct kith_chunk_set *set, uint64_t begin, uint64_t end);
/** Makes the set of everything. NOMEM. */
int kith__chunk_set_all(struct kith_chunk_set *set);
/** Makes a copy of `ranges`; an end of UINT64_MAX becomes an open end. NOMEM. */
int kith__chunk_set_from_ranges(struct kith_chunk_set *set, const struct kith_ranges *ranges);
int kith__chunk_set_copy(const struct kith_chunk_set *from, struct kith_chunk_set *to);
bool kith__chunk_set_is_empty(const struct kith_chunk_set *set);
bool kith__chunk_set_equal(const struct kith_chunk_set *a, const struct kith_chunk_set *b);
/** True if any of [begin, end) is a member. O(log n). */
bool kith__chunk_set_intersects(const struct kith_chunk_set *set, uint64_t begin, uint64_t end);
/** True if all of [begin, end) are members. O(log n). */
bool kith__chunk_set_covers(const struct kith_chunk_set *set, uint64_t begin, uint64_t end);

/** ceil(size / 1024), and 1 for size 0. At most 2^54. */
static inline uint64_t kith__chunk_count(uint64_t size)
{
    return size == 0 ? 1 : size / KITH_CHUNK_SIZE + (size % KITH_CHUNK_SIZE != 0);
}
/**
 * What a blob of `size` bytes answers to `asked` (spec/05, 2.2): the part below the last chunk, and the last chunk if
 * anything at or beyond it is asked. *out is initialised by the caller. NOMEM.
 */
int kith__chunk_set_effective(const struct kith_chunk_set *asked, uint64_t size, struct kith_chunk_set *out);

/** Bytes of a blob of `size` bytes in the set, which is effective for it. */
uint64_t kith__chunk_set_payload(const struct kith_chunk_set *set, uint64_t size);

/** Appends the RangeSpec form: a count and the widths of alternating spans, the first not selected. NOMEM. */
int kith__chunk_set_encode(const struct kith_chunk_set *set, struct kith_buf *out);
/**
 * Reads a RangeSpec; untrusted. TRUNCATED, TOO_LARGE (count), PARSE for what is not canonical: a width of 0 after the
 * first, a sum beyond 64 bits. NOMEM.
 */
int kith__chunk_set_decode(struct kith_reader *r, struct kith_chunk_set *out);

/** One set for each blob of a request: entry i applies from its offset up to that of the next; the last repeats for ever. */
struct kith_chunk_seq_entry {
    uint64_t offset;
    struct kith_chunk_set set;
};
struct kith_chunk_seq {
    struct kith_chunk_seq_entry *entries; /* owned; strictly ascending offsets */
    size_t count, cap;
    const struct kith_mem *mem;
};

void kith__chunk_seq_init(struct kith_chunk_seq *seq, const struct kith_mem *mem);
void kith__chunk_seq_dispose(struct kith_chunk_seq *seq);
/** Appends an entry with a copy of `set`; an entry equal to the one before is left out, so that the form is canonical. NOMEM. */
int kith__chunk_seq_append(struct kith_chunk_seq *seq, uint64_t offset, const struct kith_chunk_set *set);
/** The set that applies to blob `offset`: NULL for none (before the first entry, or an empty set). */
const struct kith_chunk_set *kith__chunk_seq_at(const struct kith_chunk_seq *seq, uint64_t offset);
/** The first blob offset >= `offset` with a non-empty set; UINT64_MAX if there is none. */
uint64_t kith__chunk_seq_next(const struct kith_chunk_seq *seq, uint64_t offset);
/** True if only blob 0 is asked for. */
bool kith__chunk_seq_is_blob(const struct kith_chunk_seq *seq);
int kith__chunk_seq_encode(const struct kith_chunk_seq *seq, struct kith_buf *out);
/** Untrusted; the same errors as kith__chunk_set_decode, and PARSE for offsets that repeat, repeated sets, or an empty first set. */
int kith__chunk_seq_decode(struct kith_reader *r, struct kith_chunk_seq *out);

#endif
