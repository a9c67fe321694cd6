/**
 * What a provider has to offer: blobs by hash. A blob is either bytes in memory or a file on disk that is read where it
 * lies; its outboard is in memory or in the cache directory. A store for kith_provider. One thread at a time.
 *
 * Cache directory: `<hash>.obao4` holds the pairs in pre-order, nothing else; `<key>.idx` names hash and size for a file by
 * path, size, time of change and inode, where key is the BLAKE3 of these. Both only save work: what is served is checked
 * against the hash in any case. Small files are hashed anew each time, with their outboards in memory.
 */
#ifndef KITH_BLOBS_CATALOG_H
#define KITH_BLOBS_CATALOG_H

#include "base/list.h"
#include "base/map.h"
#include "blobs/provider.h"
#include "rt/rt.h"

struct kith_catalog {
    const struct kith_mem *mem;
    struct kith_rt *rt;
    struct kith_rt_dir *cache; /* NULL: outboards stay in memory */
    struct kith_map by_hash;   /* hash -> entry */
    struct kith_list entries;
};

/** seed: random. cache_directory NULL: none; made if missing. Errors of kith__rt_dir_open. */
KITH_MUST_USE int kith__catalog_init(struct kith_catalog *catalog, const struct kith_mem *mem, struct kith_rt *rt,
                                     const char *cache_directory, uint64_t seed);
/** No view may be open any more. */
void kith__catalog_dispose(struct kith_catalog *catalog);
/** Adds a copy of bytes. Twice the same is fine. NOMEM. */
KITH_MUST_USE int kith__catalog_add_bytes(struct kith_catalog *catalog, const void *bytes, size_t size,
                                          struct kith_hash *out);
bool kith__catalog_has(const struct kith_catalog *catalog, const struct kith_hash *hash);
/** The catalog as a store. The empty blob is always there. */
struct kith_blob_store kith__catalog_store(struct kith_catalog *catalog);

enum { KITH_CATALOG_READ_SIZE = 1 << 20 };

/** A file on its way into the catalog: hashed in slices. By value in its owner. */
struct kith_catalog_add {
    struct kith_catalog *catalog;
    struct kith_rt_file *file;
    char *path; /* owned; moves into the entry */
    struct kith_rt_stat stat;
    uint8_t *outboard, *buffer;
    struct kith_tree_builder builder;
    bool is_done;
    struct kith_hash hash; /* once done */
};

/**
 * Opens the file; done at once if the cache knows it. NOT_FOUND, PERMISSION, INVALID (not a regular file), NOMEM, IO.
 * On an error there is nothing to dispose.
 */
KITH_MUST_USE int kith__catalog_add_begin(struct kith_catalog_add *add, struct kith_catalog *catalog, const char *path);
/** Hashes up to about `budget` bytes. 0 once done (hash is set), AGAIN if more is left; STATE: the file changed meanwhile. */
KITH_MUST_USE int kith__catalog_add_step(struct kith_catalog_add *add, size_t budget);
void kith__catalog_add_dispose(struct kith_catalog_add *add);

#endif
