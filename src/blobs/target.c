/* Files for what is fetched. */
#include "blobs/target.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>

enum {
    COPY_SIZE = 1 << 20,
    PART_NAME_SIZE = 2 * KITH_HASH_SIZE + 32,
    LOCK_TRIES_MAX = 10,
    /* A sync of one file, and of one directory, waits for the disk each time: 10 ms a file, hours for a million. More files
     * than this go together, by two syncs of the whole file system, which in turn wait for what others wrote there. */
    SYNC_EACH_MAX = 16
};

/* The two files of a blob that is open; that of the tree is made by the first write: blobs of one group never need one. */
struct target_file {
    struct kith_target *target;
    uint64_t index;
    struct kith_rt_file *files[2];
};

static void part_name(const struct kith_target *target, uint64_t index, const char *ending, char out[PART_NAME_SIZE])
{
    if (target->is_collection)
        snprintf(out, PART_NAME_SIZE, "%08llx.%s", (unsigned long long)index, ending);
    else
        snprintf(out, PART_NAME_SIZE, "%s.%s", target->stem, ending);
}

static const char *data_ending(const struct kith_target *target)
{
    return target->is_range ? "range" : "data";
}

static int copy_text(const struct kith_mem *mem, const char *text, char **out)
{
    size_t size = strlen(text) + 1;

    if (size > KITH_RT_PATH_MAX)
        return KITH_ERR_TOO_LARGE;
    if ((*out = kith__alloc(mem, size)) == NULL)
        return KITH_ERR_NOMEM;
    memcpy(*out, text, size);
    return 0;
}

/* The directory that holds the last part of the user's path. */
static int open_parent(struct kith_target *target, struct kith_rt_dir **out)
{
    char *slash = strrchr(target->path, '/');
    int err;

    if (slash == NULL)
        return kith__rt_dir_open(target->rt, NULL, ".", 0, out);
    if (slash == target->path)
        return kith__rt_dir_open(target->rt, NULL, "/", 0, out);
    *slash = '\0';
    err = kith__rt_dir_open(target->rt, NULL, target->path, 0, out);
    *slash = '/';
    return err;
}

/* The directory of a single blob's file, and the name in it. */
static int open_root_of_single(struct kith_target *target)
{
    char *slash = strrchr(target->path, '/');

    target->last = slash != NULL ? slash + 1 : target->path;
    if (kith__rt_name_check(target->last, strlen(target->last)) != 0)
        return KITH_ERR_INVALID;
    return open_parent(target, &target->root);
}

static void blame(struct kith_target *target, const void *name, size_t size)
{
    size_t most = sizeof target->problem - 1;

    memcpy(target->problem, name, size < most ? size : most);
    target->problem[size < most ? size : most] = '\0';
}

/* Whether `last` in dir may be made: EXISTS, or errors of looking. */
static int check_free(struct kith_target *target, struct kith_rt_dir *dir, const char *last)
{
    struct kith_rt_stat stat;
    int err = kith__rt_stat(target->rt, dir, last, false, &stat);

    if (err == 0)
        return target->replace && stat.kind != KITH_RT_KIND_DIR ? 0 : KITH_ERR_EXISTS;
    return err == KITH_ERR_NOT_FOUND ? 0 : err;
}

/* ---- One receiver at a time ---- */

static void lock_name(const struct kith_target *target, char out[PART_NAME_SIZE])
{
    snprintf(out, PART_NAME_SIZE, "%s%slock", target->is_collection ? "" : target->stem,
             target->is_collection ? "" : ".");
}

/* Whether the locked file still has its name: the one who had it before takes the name away, then lets go. */
static bool is_still_named(struct kith_target *target, const char *name)
{
    struct kith_rt_stat named, held;

    return kith__rt_stat(target->rt, target->partials, name, false, &named) == 0 &&
           kith__rt_file_stat(target->lock, &held) == 0 && named.device == held.device && named.inode == held.inode;
}

static void let_go(struct kith_target *target)
{
    kith__rt_file_close(target->lock);
    target->lock = NULL;
}

/* Two that write the same unfinished files would each take the other's bytes for its own. */
static int take_lock(struct kith_target *target)
{
    char name[PART_NAME_SIZE];
    int err;

    lock_name(target, name);
    for (int tries = 0; tries < LOCK_TRIES_MAX; tries++) {
        err = kith__rt_file_open(target->rt, target->partials, name,
                                 KITH_RT_READ | KITH_RT_WRITE | KITH_RT_CREATE | KITH_RT_NOFOLLOW | KITH_RT_REGULAR,
                                 0600, &target->lock);
        if (err != 0)
            return err;
        err = kith__rt_file_lock(target->lock);
        if (err == 0 && is_still_named(target, name))
            return 0;
        let_go(target);
        if (err != 0 && err != KITH_ERR_AGAIN)
            return err;
        if (err == KITH_ERR_AGAIN)
            break;
    }
    target->why = "another receiver is fetching the same into the same place";
    return KITH_ERR_STATE;
}

static void drop_lock(struct kith_target *target)
{
    char name[PART_NAME_SIZE];
    int err;

    if (target->lock == NULL)
        return;
    lock_name(target, name);
    err = kith__rt_unlink(target->rt, target->partials, name);
    if (err != 0 && err != KITH_ERR_NOT_FOUND)
        kith__log(&target->rt->log, KITH_LOG_WARN, "blobs", "cannot remove %s: %s", name, kith_strerror(err));
    let_go(target);
}

static int open_single(struct kith_target *target)
{
    int err = open_root_of_single(target);

    if (err == 0)
        err = check_free(target, target->root, target->last);
    if (err != 0)
        return err;
    err = target->partial_path != NULL
              ? kith__rt_dir_open(target->rt, NULL, target->partial_path, KITH_RT_CREATE, &target->partials)
              : kith__rt_dir_open(target->rt, target->root, ".", 0, &target->partials);
    return err != 0 ? err : take_lock(target);
}

int kith__target_init(struct kith_target *target, const struct kith_mem *mem, struct kith_rt *rt,
                      const struct kith_target_options *options, const struct kith_getter_options *get)
{
    int err;

    *target = (struct kith_target) { .mem = mem, .rt = rt, .replace = options->replace };
    target->is_collection = get->format == KITH_BLOB_HASH_SEQ;
    target->is_range = get->chunk_end > 0;
    memcpy(target->stem, ".kith-", 6);
    for (size_t i = 0; i < KITH_HASH_SIZE; i++)
        snprintf(target->stem + 6 + 2 * i, 3, "%02x", get->hash.bytes[i]);
    err = copy_text(mem, options->target, &target->path);
    if (err == 0 && options->partial_directory != NULL)
        err = copy_text(mem, options->partial_directory, &target->partial_path);
    if (err == 0 && !target->is_collection)
        err = open_single(target);
    if (err != 0) {
        blame(target, options->target, strlen(options->target));
        kith__target_dispose(target);
    }
    return err;
}

static void end_copy(struct kith_target *target)
{
    kith__rt_replace_abort(target->copy, false);
    kith__rt_file_close(target->copy_from);
    kith__free(target->mem, target->copy_buffer);
    target->copy = NULL;
    target->copy_from = NULL;
    target->copy_buffer = NULL;
    target->copied = 0;
}

void kith__target_dispose(struct kith_target *target)
{
    end_copy(target);
    drop_lock(target);
    kith__rt_dir_close(target->root);
    kith__rt_dir_close(target->partials);
    kith__free(target->mem, target->path);
    kith__free(target->mem, target->partial_path);
    target->root = target->partials = NULL;
    target->path = target->partial_path = NULL;
}

/* ---- Unfinished files ---- */

static int open_part(struct target_file *file, enum kith_partial_part part, bool make)
{
    struct kith_target *target = file->target;
    unsigned flags = KITH_RT_READ | KITH_RT_WRITE | KITH_RT_NOFOLLOW | KITH_RT_REGULAR | (make ? KITH_RT_CREATE : 0);
    char name[PART_NAME_SIZE];

    part_name(target, file->index, part == KITH_PARTIAL_TREE ? "tree" : data_ending(target), name);
    return kith__rt_file_open(target->rt, target->partials, name, flags, 0666, &file->files[part]);
}

static int file_read(void *handle, enum kith_partial_part part, uint64_t offset, void *out, size_t size, size_t *got)
{
    struct target_file *file = handle;

    *got = 0;
    return file->files[part] != NULL ? kith__rt_file_pread(file->files[part], out, size, offset, got) : 0;
}

static int file_write(void *handle, enum kith_partial_part part, uint64_t offset, const void *bytes, size_t size)
{
    struct target_file *file = handle;
    int err = file->files[part] != NULL ? 0 : open_part(file, part, true);

    return err != 0 ? err : kith__rt_file_pwrite(file->files[part], bytes, size, offset);
}

static int file_cut(void *handle, enum kith_partial_part part, uint64_t size)
{
    struct target_file *file = handle;

    KITH_ASSERT(file->files[part] != NULL || size == 0);
    return file->files[part] != NULL ? kith__rt_file_truncate(file->files[part], size) : 0;
}

static void file_free(struct kith_target *target, struct target_file *file)
{
    kith__rt_file_close(file->files[0]);
    kith__rt_file_close(file->files[1]);
    kith__free(target->mem, file);
}

static int target_open(void *ctx, uint64_t index, bool make, struct kith_partial_io *out)
{
    struct kith_target *target = ctx;
    struct target_file *file = kith__alloc_zero(target->mem, sizeof *file);
    int err;

    if (file == NULL)
        return KITH_ERR_NOMEM;
    file->target = target;
    file->index = index;
    err = open_part(file, KITH_PARTIAL_DATA, make);
    if (err == 0 && !target->is_range && (err = open_part(file, KITH_PARTIAL_TREE, false)) == KITH_ERR_NOT_FOUND)
        err = 0;
    if (err != 0) {
        file_free(target, file);
        return err;
    }
    *out = (struct kith_partial_io) { file_read, file_write, file_cut, file };
    return 0;
}

static void target_close(void *ctx, struct kith_partial_io *io)
{
    file_free(ctx, io->handle);
    io->handle = NULL;
}

/* ---- Names of a collection ---- */

/* Whether one name may be made below the root. */
static int check_name(struct kith_target *target, const char *name)
{
    struct kith_rt_dir *dir;
    const char *last;
    int err = kith__rt_dir_walk(target->rt, target->root, name, false, &dir, &last);

    if (err == KITH_ERR_NOT_FOUND) /* its directory is not there yet */
        return 0;
    if (err != 0)
        return err;
    err = check_free(target, dir, last);
    kith__rt_dir_close(dir);
    return err;
}

/* A name as text: it was checked, so it has no NUL and is not too long. */
static void name_text(struct kith_slice name, char out[KITH_COLLECTION_NAME_SIZE_MAX + 1])
{
    KITH_ASSERT(name.size <= KITH_COLLECTION_NAME_SIZE_MAX);
    memcpy(out, name.ptr, name.size);
    out[name.size] = '\0';
}

static int open_partials_of_collection(struct kith_target *target)
{
    struct kith_rt_dir *parent = NULL;
    int err;

    if (target->partial_path != NULL)
        err = kith__rt_dir_open(target->rt, NULL, target->partial_path, KITH_RT_CREATE, &parent);
    else
        err = kith__rt_dir_open(target->rt, target->root, ".", 0, &parent);
    if (err != 0)
        return err;
    err = kith__rt_dir_open(target->rt, parent, target->stem, KITH_RT_CREATE | KITH_RT_NOFOLLOW, &target->partials);
    kith__rt_dir_close(parent);
    return err != 0 ? err : take_lock(target);
}

static int target_accept(void *ctx, const struct kith_collection *names)
{
    struct kith_target *target = ctx;
    char name[KITH_COLLECTION_NAME_SIZE_MAX + 1];
    int err = kith__rt_dir_open(target->rt, NULL, target->path, KITH_RT_CREATE, &target->root);

    if (err != 0)
        blame(target, target->path, strlen(target->path));
    for (size_t i = 0; err == 0 && i < names->count; i++) {
        name_text(names->names[i], name);
        if ((err = check_name(target, name)) != 0)
            blame(target, name, names->names[i].size);
    }
    if (err != 0 || (err = open_partials_of_collection(target)) == 0)
        return err;
    if (err == KITH_ERR_STATE)
        blame(target, target->path, strlen(target->path));
    return err;
}

/* ---- Final names ---- */

/* Data on the disk before its name is. */
static int sync_data(struct kith_target *target, const char *data)
{
    struct kith_rt_file *file;
    int err = kith__rt_file_open(target->rt, target->partials, data, KITH_RT_READ | KITH_RT_WRITE | KITH_RT_NOFOLLOW, 0,
                                 &file);

    if (err != 0)
        return err;
    err = kith__rt_file_sync(file);
    kith__rt_file_close(file);
    return err;
}

static int target_settle(void *ctx, uint64_t count)
{
    struct kith_target *target = ctx;
    char data[PART_NAME_SIZE];
    int err = 0;

    target->syncs_all = count > SYNC_EACH_MAX;
    if (target->syncs_all)
        return kith__rt_dir_sync_all(target->partials);
    for (uint64_t i = 0; err == 0 && i < count; i++) {
        part_name(target, i, data_ending(target), data);
        err = sync_data(target, data);
    }
    return err;
}

/* The directory that a name was put into, and those above it up to the root, as any of them may be new. */
static int sync_name(struct kith_target *target, const char *name)
{
    char path[KITH_RT_PATH_MAX + 1];
    struct kith_rt_dir *dir;
    const char *last;
    char *slash;
    int err;

    KITH_ASSERT(strlen(name) < sizeof path);
    memcpy(path, name, strlen(name) + 1);
    for (;;) {
        if ((err = kith__rt_dir_walk(target->rt, target->root, path, false, &dir, &last)) != 0)
            return err;
        err = kith__rt_dir_sync(dir);
        kith__rt_dir_close(dir);
        if (err != 0 || (slash = strrchr(path, '/')) == NULL)
            return err;
        *slash = '\0';
    }
}

/* The names of a collection, and that of its root. */
static int sync_names(struct kith_target *target)
{
    struct kith_rt_dir *parent;
    int err;

    if (target->syncs_all)
        return kith__rt_dir_sync_all(target->root);
    if ((err = open_parent(target, &parent)) != 0)
        return err;
    err = kith__rt_dir_sync(parent);
    kith__rt_dir_close(parent);
    return err;
}

static int begin_copy(struct kith_target *target, const char *data, const char *name)
{
    struct kith_rt_replace_options options = { .root = target->root, .name = name, .overwrite = target->replace };
    int err;

    if ((target->copy_buffer = kith__alloc(target->mem, COPY_SIZE)) == NULL)
        return KITH_ERR_NOMEM;
    err = kith__rt_file_open(target->rt, target->partials, data, KITH_RT_READ | KITH_RT_NOFOLLOW, 0,
                             &target->copy_from);
    if (err == 0)
        err = kith__rt_replace_begin(target->rt, &options, &target->copy);
    return err;
}

/* A slice of the copy to another file system. */
static int go_on_copying(struct kith_target *target)
{
    size_t got;
    int err = kith__rt_file_pread(target->copy_from, target->copy_buffer, COPY_SIZE, target->copied, &got);

    if (err == 0 && got > 0)
        err = kith__rt_file_pwrite(kith__rt_replace_file(target->copy), target->copy_buffer, got, target->copied);
    if (err != 0)
        return err;
    target->copied += got;
    if (got == COPY_SIZE)
        return KITH_ERR_AGAIN;
    if ((err = kith__rt_replace_commit(target->copy)) != 0)
        return err;
    target->copy = NULL;
    end_copy(target);
    return 0;
}

static int rename_data(struct kith_target *target, const char *data, const char *name)
{
    struct kith_rt_dir *dir;
    const char *last;
    int err;

    if ((err = kith__rt_dir_walk(target->rt, target->root, name, true, &dir, &last)) != 0)
        return err;
    err = kith__rt_rename(target->rt, target->partials, data, dir, last, target->replace);
    kith__rt_dir_close(dir);
    return err;
}

static void drop_part(struct kith_target *target, uint64_t index, const char *ending)
{
    char name[PART_NAME_SIZE];
    int err;

    part_name(target, index, ending, name);
    err = kith__rt_unlink(target->rt, target->partials, name);
    if (err != 0 && err != KITH_ERR_NOT_FOUND)
        kith__log(&target->rt->log, KITH_LOG_WARN, "blobs", "cannot remove %s: %s", name, kith_strerror(err));
}

static void target_discard(void *ctx, uint64_t index)
{
    struct kith_target *target = ctx;

    drop_part(target, index, data_ending(target));
    if (!target->is_range)
        drop_part(target, index, "tree");
}

/* True if the two directories cannot be joined by a rename: it is worth a copy then. */
static bool is_other_file_system(const struct kith_target *target, int err)
{
    return target->partial_path != NULL && err != KITH_ERR_EXISTS && err != KITH_ERR_NOT_FOUND &&
           err != KITH_ERR_NO_SPACE && err != KITH_ERR_NOMEM;
}

static int target_place(void *ctx, uint64_t index, struct kith_slice name)
{
    struct kith_target *target = ctx;
    char data[PART_NAME_SIZE], text[KITH_COLLECTION_NAME_SIZE_MAX + 1];
    const char *final = target->last;
    int err;

    part_name(target, index, data_ending(target), data);
    if (target->is_collection) {
        name_text(name, text);
        final = text;
    }
    if (target->copy == NULL) {
        err = rename_data(target, data, final);
        if (is_other_file_system(target, err) && err != 0)
            err = (err = begin_copy(target, data, final)) == 0 ? KITH_ERR_AGAIN : err;
    } else if ((err = go_on_copying(target)) == 0) {
        drop_part(target, index, data_ending(target));
    }
    if (err == KITH_ERR_AGAIN)
        return err;
    if (err == 0 && !target->syncs_all)
        err = sync_name(target, final);
    if (err != 0) {
        blame(target, final, strlen(final));
        return err;
    }
    if (!target->is_range)
        drop_part(target, index, "tree");
    return 0;
}

static int target_clean(void *ctx)
{
    struct kith_target *target = ctx;
    struct kith_rt_dir *parent = NULL;
    int err;

    if (target->is_collection && (err = sync_names(target)) != 0)
        return err;
    drop_lock(target);
    if (!target->is_collection)
        return 0;
    kith__rt_dir_close(target->partials);
    target->partials = NULL;
    if (target->partial_path != NULL)
        err = kith__rt_dir_open(target->rt, NULL, target->partial_path, 0, &parent);
    else
        err = kith__rt_dir_open(target->rt, target->root, ".", 0, &parent);
    if (err == 0) {
        err = kith__rt_rmdir(target->rt, parent, target->stem);
        kith__rt_dir_close(parent);
    }
    /* All files are in their places: a directory that will not go is no failure. */
    if (err != 0)
        kith__log(&target->rt->log, KITH_LOG_WARN, "blobs", "cannot remove the directory %s: %s", target->stem,
                  kith_strerror(err));
    return 0;
}

struct kith_get_store kith__target_store(struct kith_target *target)
{
    return (struct kith_get_store) { target_open,   target_close, target_discard, target_accept,
                                     target_settle, target_place, target_clean,   target };
}
