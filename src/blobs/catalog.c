/* Blobs by hash: in memory, or in files where they lie. */
#include "blobs/catalog.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/blake3.h"

#include <stdio.h>

enum {
    WINDOW_PAIRS = 64,
    CACHE_NAME_SIZE = 2 * KITH_HASH_SIZE + 8,
    INDEX_SIZE = KITH_HASH_SIZE + 8,
    CACHED_SIZE_MIN = 128 << 10 /* smaller files are hashed faster than their hashes are written to a disk */
};

/* One blob. Views hold on to it, so that it may be replaced while it is being served. */
struct entry {
    struct kith_list node;
    struct kith_hash hash;
    uint64_t size;
    uint8_t *bytes;    /* in memory; NULL: a file, or empty */
    char *path;        /* a file; NULL: in memory */
    uint8_t *outboard; /* NULL: none is needed, or it is in the cache */
    unsigned ref_count;
};

/* A blob that is being read. */
struct view {
    struct kith_catalog *catalog;
    struct entry *entry;
    struct kith_rt_file *file, *tree;
    uint64_t window_index;
    size_t window_count;
    uint8_t window[WINDOW_PAIRS * KITH_PAIR_SIZE]; /* pairs are read nearly in order: many at a time */
};

int kith__catalog_init(struct kith_catalog *catalog, const struct kith_mem *mem, struct kith_rt *rt,
                       const char *cache_directory, uint64_t seed)
{
    *catalog = (struct kith_catalog) { .mem = mem, .rt = rt };
    kith__map_init(&catalog->by_hash, mem, seed);
    kith__list_init(&catalog->entries);
    if (cache_directory == NULL)
        return 0;
    return kith__rt_dir_open(rt, NULL, cache_directory, KITH_RT_CREATE, &catalog->cache);
}

static void entry_release(struct kith_catalog *catalog, struct entry *entry)
{
    if (--entry->ref_count > 0)
        return;
    kith__free(catalog->mem, entry->bytes);
    kith__free(catalog->mem, entry->path);
    kith__free(catalog->mem, entry->outboard);
    kith__free(catalog->mem, entry);
}

void kith__catalog_dispose(struct kith_catalog *catalog)
{
    struct kith_list *node;

    while ((node = kith__list_first(&catalog->entries)) != NULL) {
        struct entry *entry = KITH_CONTAINER(node, struct entry, node);

        kith__list_remove(node);
        KITH_ASSERT(entry->ref_count == 1);
        entry_release(catalog, entry);
    }
    kith__map_dispose(&catalog->by_hash);
    kith__rt_dir_close(catalog->cache);
    catalog->cache = NULL;
}

bool kith__catalog_has(const struct kith_catalog *catalog, const struct kith_hash *hash)
{
    return kith__map_get(&catalog->by_hash, hash->bytes, KITH_HASH_SIZE) != NULL;
}

/* Puts an entry in, in the place of one with the same hash. On an error the entry stays the caller's. */
static int insert(struct kith_catalog *catalog, struct entry *entry)
{
    struct entry *before = kith__map_get(&catalog->by_hash, entry->hash.bytes, KITH_HASH_SIZE);
    int err = kith__map_put(&catalog->by_hash, entry->hash.bytes, KITH_HASH_SIZE, entry);

    if (err != 0)
        return err;
    entry->ref_count = 1;
    kith__list_push_back(&catalog->entries, &entry->node);
    if (before != NULL) {
        kith__list_remove(&before->node);
        entry_release(catalog, before);
    }
    return 0;
}

static void hash_all(const void *bytes, uint64_t size, uint8_t *outboard, struct kith_hash *out)
{
    struct kith_tree_builder builder;

    kith__tree_builder_init(&builder, size, outboard);
    if (size > 0)
        kith__tree_builder_update(&builder, bytes, (size_t)size);
    kith__tree_builder_final(&builder, out);
}

int kith__catalog_add_bytes(struct kith_catalog *catalog, const void *bytes, size_t size, struct kith_hash *out)
{
    struct entry *entry = kith__alloc_zero(catalog->mem, sizeof *entry);
    size_t outboard_size = (size_t)kith__outboard_size(size);
    int err = KITH_ERR_NOMEM;

    if (entry == NULL)
        return err;
    entry->ref_count = 1;
    entry->size = size;
    if (size > 0 && (entry->bytes = kith__alloc(catalog->mem, size)) == NULL)
        goto fail;
    if (outboard_size > 0 && (entry->outboard = kith__alloc(catalog->mem, outboard_size)) == NULL)
        goto fail;
    if (size > 0)
        memcpy(entry->bytes, bytes, size);
    hash_all(bytes, size, entry->outboard, &entry->hash);
    *out = entry->hash;
    if ((err = insert(catalog, entry)) == 0)
        return 0;
fail:
    entry_release(catalog, entry);
    return err;
}

/* ---- Reading ---- */

static int view_read(void *ctx, uint64_t offset, uint8_t *out, size_t size)
{
    struct view *view = ctx;
    size_t got;
    int err;

    if (offset > view->entry->size || size > view->entry->size - offset)
        return KITH_ERR_TRUNCATED;
    if (view->file == NULL) {
        if (size > 0)
            memcpy(out, view->entry->bytes + offset, size);
        return 0;
    }
    err = kith__rt_file_pread(view->file, out, size, offset, &got);
    return err != 0 ? err : got == size ? 0 : KITH_ERR_TRUNCATED;
}

static int view_pair(void *ctx, uint64_t index, uint8_t out[KITH_PAIR_SIZE])
{
    struct view *view = ctx;
    size_t got;
    int err;

    if (view->entry->outboard != NULL) {
        memcpy(out, view->entry->outboard + index * KITH_PAIR_SIZE, KITH_PAIR_SIZE);
        return 0;
    }
    if (view->tree == NULL)
        return KITH_ERR_TRUNCATED;
    if (index < view->window_index || index >= view->window_index + view->window_count) {
        view->window_count = 0;
        err = kith__rt_file_pread(view->tree, view->window, sizeof view->window, index * KITH_PAIR_SIZE, &got);
        if (err != 0)
            return err;
        view->window_index = index;
        view->window_count = got / KITH_PAIR_SIZE;
        if (view->window_count == 0)
            return KITH_ERR_TRUNCATED;
    }
    memcpy(out, view->window + (index - view->window_index) * KITH_PAIR_SIZE, KITH_PAIR_SIZE);
    return 0;
}

static void cache_name(const uint8_t hash[KITH_HASH_SIZE], const char *ending, char out[CACHE_NAME_SIZE])
{
    for (size_t i = 0; i < KITH_HASH_SIZE; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
    snprintf(out + 2 * KITH_HASH_SIZE, CACHE_NAME_SIZE - 2 * KITH_HASH_SIZE, "%s", ending);
}

static int open_tree(struct kith_catalog *catalog, const struct kith_hash *hash, struct kith_rt_file **out)
{
    char name[CACHE_NAME_SIZE];

    cache_name(hash->bytes, ".obao4", name);
    return kith__rt_file_open(catalog->rt, catalog->cache, name, KITH_RT_READ, 0, out);
}

static void view_free(struct view *view)
{
    struct kith_catalog *catalog = view->catalog;

    kith__rt_file_close(view->file);
    kith__rt_file_close(view->tree);
    if (view->entry != NULL)
        entry_release(catalog, view->entry);
    kith__free(catalog->mem, view);
}

static int open_files(struct kith_catalog *catalog, struct view *view)
{
    struct entry *entry = view->entry;
    int err = 0;

    if (entry->path != NULL)
        err = kith__rt_file_open(catalog->rt, NULL, entry->path, KITH_RT_READ | KITH_RT_REGULAR, 0, &view->file);
    if (err != 0 || entry->outboard != NULL || kith__outboard_size(entry->size) == 0)
        return err;
    err = open_tree(catalog, &entry->hash, &view->tree);
    return err == KITH_ERR_NOT_FOUND ? KITH_ERR_IO : err; /* the blob is here, its hashes are lost */
}

static int catalog_open(void *ctx, const struct kith_hash *hash, struct kith_blob_view *out)
{
    struct kith_catalog *catalog = ctx;
    struct entry *entry = kith__map_get(&catalog->by_hash, hash->bytes, KITH_HASH_SIZE);
    struct view *view;
    struct kith_hash empty;
    int err;

    if (entry == NULL) {
        hash_all("", 0, NULL, &empty);
        if (memcmp(&empty, hash, sizeof empty) != 0)
            return KITH_ERR_NOT_FOUND;
        if ((err = kith__catalog_add_bytes(catalog, "", 0, &empty)) != 0)
            return err;
        entry = kith__map_get(&catalog->by_hash, hash->bytes, KITH_HASH_SIZE);
    }
    if ((view = kith__alloc_zero(catalog->mem, sizeof *view)) == NULL)
        return KITH_ERR_NOMEM;
    view->catalog = catalog;
    view->entry = entry;
    entry->ref_count++;
    if ((err = open_files(catalog, view)) != 0) {
        view_free(view);
        return err;
    }
    *out = (struct kith_blob_view) { entry->size, { view_read, view_pair, view }, view };
    return 0;
}

static void catalog_close(void *ctx, struct kith_blob_view *view)
{
    (void)ctx;
    view_free(view->handle);
    view->handle = NULL;
}

static int catalog_size(void *ctx, const struct kith_hash *hash, uint64_t *out)
{
    const struct kith_catalog *catalog = ctx;
    const struct entry *entry = kith__map_get(&catalog->by_hash, hash->bytes, KITH_HASH_SIZE);

    if (entry == NULL)
        return KITH_ERR_NOT_FOUND;
    *out = entry->size;
    return 0;
}

struct kith_blob_store kith__catalog_store(struct kith_catalog *catalog)
{
    return (struct kith_blob_store) { catalog_open, catalog_close, catalog_size, catalog };
}

/* ---- Adding files ---- */

/* The index entry for this state of this file. */
static void index_name(const struct kith_catalog_add *add, char out[CACHE_NAME_SIZE])
{
    uint64_t facts[4] = { add->stat.size, add->stat.modified_ns, add->stat.device, add->stat.inode };
    uint8_t bytes[sizeof facts], key[KITH_HASH_SIZE];
    struct kith_blake3 hasher;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(facts[i / 8] >> 8 * (i % 8));
    kith__blake3_init(&hasher);
    kith__blake3_update(&hasher, bytes, sizeof bytes);
    kith__blake3_update(&hasher, add->path, strlen(add->path));
    kith__blake3_final(&hasher, key);
    cache_name(key, ".idx", out);
}

static int read_small(struct kith_catalog *catalog, const char *name, uint8_t *out, size_t size)
{
    struct kith_rt_file *file;
    size_t got = 0;
    int err = kith__rt_file_open(catalog->rt, catalog->cache, name, KITH_RT_READ, 0, &file);

    if (err != 0)
        return err;
    err = kith__rt_file_pread(file, out, size, 0, &got);
    kith__rt_file_close(file);
    return err != 0 ? err : got == size ? 0 : KITH_ERR_TRUNCATED;
}

static bool tree_is_cached(struct kith_catalog *catalog, const struct kith_hash *hash, uint64_t size)
{
    struct kith_rt_stat stat;
    char name[CACHE_NAME_SIZE];

    if (kith__outboard_size(size) == 0)
        return true;
    cache_name(hash->bytes, ".obao4", name);
    return kith__rt_stat(catalog->rt, catalog->cache, name, false, &stat) == 0 &&
           stat.size == kith__outboard_size(size);
}

/* A directory of many small files would wait for two or more fsyncs for each. */
static bool is_worth_keeping(const struct kith_catalog_add *add)
{
    return add->catalog->cache != NULL && add->stat.size >= CACHED_SIZE_MIN;
}

/* True if this very state of the file was hashed before. */
static bool find_in_cache(struct kith_catalog_add *add)
{
    struct kith_catalog *catalog = add->catalog;
    uint8_t record[INDEX_SIZE];
    char name[CACHE_NAME_SIZE];
    uint64_t size = 0;

    if (!is_worth_keeping(add))
        return false;
    index_name(add, name);
    if (read_small(catalog, name, record, sizeof record) != 0)
        return false;
    memcpy(add->hash.bytes, record, KITH_HASH_SIZE);
    for (int i = 7; i >= 0; i--)
        size = size << 8 | record[KITH_HASH_SIZE + i];
    return size == add->stat.size && tree_is_cached(catalog, &add->hash, size);
}

static int write_small(struct kith_catalog *catalog, const char *name, const uint8_t *bytes, size_t size)
{
    struct kith_rt_replace_options options = { .root = catalog->cache, .name = name, .mode = 0600, .overwrite = true };
    struct kith_rt_replace *replace;
    int err = kith__rt_replace_begin(catalog->rt, &options, &replace);

    if (err != 0)
        return err;
    err = size > 0 ? kith__rt_file_pwrite(kith__rt_replace_file(replace), bytes, size, 0) : 0;
    if (err == 0)
        err = kith__rt_replace_commit(replace);
    if (err != 0)
        kith__rt_replace_abort(replace, false);
    return err;
}

static int store_in_cache(const struct kith_catalog_add *add)
{
    struct kith_catalog *catalog = add->catalog;
    uint8_t record[INDEX_SIZE];
    char name[CACHE_NAME_SIZE];
    int err = 0;

    cache_name(add->hash.bytes, ".obao4", name);
    if (add->outboard != NULL)
        err = write_small(catalog, name, add->outboard, (size_t)kith__outboard_size(add->stat.size));
    if (err != 0)
        return err;
    memcpy(record, add->hash.bytes, KITH_HASH_SIZE);
    for (int i = 0; i < 8; i++)
        record[KITH_HASH_SIZE + i] = (uint8_t)(add->stat.size >> 8 * i);
    index_name(add, name);
    return write_small(catalog, name, record, sizeof record);
}

/* Everything is known: the entry. The path and the outboard move into it. */
static int add_entry(struct kith_catalog_add *add)
{
    struct kith_catalog *catalog = add->catalog;
    struct entry *entry = kith__alloc_zero(catalog->mem, sizeof *entry);
    int err;

    if (entry == NULL)
        return KITH_ERR_NOMEM;
    entry->ref_count = 1;
    entry->hash = add->hash;
    entry->size = add->stat.size;
    entry->path = add->path;
    entry->outboard = add->outboard;
    if ((err = insert(catalog, entry)) != 0) {
        kith__free(catalog->mem, entry);
        return err;
    }
    add->path = NULL;
    add->outboard = NULL;
    add->is_done = true;
    return 0;
}

/* Makes ready for hashing, unless the cache knows the result. */
static int prepare(struct kith_catalog_add *add)
{
    const struct kith_mem *mem = add->catalog->mem;
    uint64_t outboard_size = kith__outboard_size(add->stat.size);

    if (find_in_cache(add))
        return add_entry(add);
    if (outboard_size > SIZE_MAX / 2)
        return KITH_ERR_TOO_LARGE;
    if (outboard_size > 0 && (add->outboard = kith__alloc(mem, (size_t)outboard_size)) == NULL)
        return KITH_ERR_NOMEM;
    if ((add->buffer = kith__alloc(mem, KITH_CATALOG_READ_SIZE)) == NULL)
        return KITH_ERR_NOMEM;
    kith__tree_builder_init(&add->builder, add->stat.size, add->outboard);
    return 0;
}

int kith__catalog_add_begin(struct kith_catalog_add *add, struct kith_catalog *catalog, const char *path)
{
    size_t size = strlen(path) + 1;
    int err = KITH_ERR_NOMEM;

    *add = (struct kith_catalog_add) { .catalog = catalog };
    if ((add->path = kith__alloc(catalog->mem, size)) == NULL)
        return err;
    memcpy(add->path, path, size);
    if ((err = kith__rt_file_open(catalog->rt, NULL, path, KITH_RT_READ | KITH_RT_REGULAR, 0, &add->file)) == 0 &&
        (err = kith__rt_file_stat(add->file, &add->stat)) == 0)
        err = add->stat.kind == KITH_RT_KIND_FILE ? prepare(add) : KITH_ERR_INVALID;
    if (err != 0)
        kith__catalog_add_dispose(add);
    return err;
}

/* All bytes are hashed: is it still the file that it was? */
static int add_end(struct kith_catalog_add *add)
{
    struct kith_catalog *catalog = add->catalog;
    struct kith_rt_stat now;
    int err = kith__rt_file_stat(add->file, &now);

    if (err != 0)
        return err;
    if (now.size != add->stat.size || now.modified_ns != add->stat.modified_ns)
        return KITH_ERR_STATE;
    kith__tree_builder_final(&add->builder, &add->hash);
    if (is_worth_keeping(add)) {
        if ((err = store_in_cache(add)) == 0) {
            kith__free(catalog->mem, add->outboard);
            add->outboard = NULL;
        } else {
            kith__log(&catalog->rt->log, KITH_LOG_WARN, "blobs", "the hashes of %s are not kept: %s", add->path,
                      kith_strerror(err));
        }
    }
    return add_entry(add);
}

int kith__catalog_add_step(struct kith_catalog_add *add, size_t budget)
{
    size_t done = 0, got;
    int err;

    if (add->is_done)
        return 0;
    while (add->builder.hashed < add->stat.size) {
        uint64_t left = add->stat.size - add->builder.hashed;
        size_t size = left < KITH_CATALOG_READ_SIZE ? (size_t)left : (size_t)KITH_CATALOG_READ_SIZE;

        if (done >= budget)
            return KITH_ERR_AGAIN;
        if ((err = kith__rt_file_pread(add->file, add->buffer, size, add->builder.hashed, &got)) != 0)
            return err;
        if (got < size)
            return KITH_ERR_STATE;
        kith__tree_builder_update(&add->builder, add->buffer, size);
        done += size;
    }
    return add_end(add);
}

void kith__catalog_add_dispose(struct kith_catalog_add *add)
{
    const struct kith_mem *mem = add->catalog->mem;

    kith__rt_file_close(add->file);
    kith__free(mem, add->path);
    kith__free(mem, add->outboard);
    kith__free(mem, add->buffer);
    add->file = NULL;
    add->path = NULL;
    add->outboard = add->buffer = NULL;
}
