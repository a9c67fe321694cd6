/**
 * Large blocks of stream data, kept for the next use. Streams in full flow free and need blocks of the same size many
 * thousand times a second; the general allocator gives such memory back to the system and fetches it again, page by page,
 * which costs as much as decrypting it.
 * Memory: at most KITH_BLOCKS_KEPT_MAX blocks; what was not needed for KITH_BLOCKS_KEEP_NS goes back.
 * Owner: the host, by value; shared by its connections.
 */
#ifndef KITH_QUIC_HOST_BLOCKS_H
#define KITH_QUIC_HOST_BLOCKS_H

#include <kith/types.h>

enum {
    KITH_BLOCKS_SIZE_MIN = 65536, /* blocks of streams are that large at most, before headers */
    KITH_BLOCKS_SIZE = KITH_BLOCKS_SIZE_MIN + 128,
    KITH_BLOCKS_KEPT_MAX = 32,
};
#define KITH_BLOCKS_KEEP_NS KITH_NS_PER_S

struct kith_blocks {
    const struct kith_mem *mem;
    void *first;         /* each begins with the pointer to the next */
    uint32_t count, low; /* low: smallest count since `since_ns` */
    uint64_t since_ns;
};

void kith__blocks_init(struct kith_blocks *blocks, const struct kith_mem *mem);
/** Frees all that are kept; fine for a zeroed object and twice. */
void kith__blocks_dispose(struct kith_blocks *blocks);

/** True if an allocation of so many bytes is one block. */
static inline bool kith__blocks_fits(size_t size)
{
    return size >= KITH_BLOCKS_SIZE_MIN && size <= KITH_BLOCKS_SIZE;
}
/** A block of KITH_BLOCKS_SIZE bytes, new or kept; NULL: no memory. */
void *kith__blocks_take(struct kith_blocks *blocks);
/** Takes a block back (never NULL). */
void kith__blocks_give(struct kith_blocks *blocks, void *block);
/** Frees what was not needed lately. Cheap: meant for every timer of the host. */
void kith__blocks_age(struct kith_blocks *blocks, uint64_t now_ns);

#endif
