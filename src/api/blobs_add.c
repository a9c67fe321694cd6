/* Adding files and directories to a provider. */
#include "api/blobs_parts.h"

#include "base/assert.h"
#include "base/mem.h"
#include "blobs/collection.h"
#include <inttypes.h>
#include <stdlib.h>

/* A growing array of owned texts. */
struct texts {
    char **items;
    size_t count, cap;
};

struct add {
    struct kith_blobs_work work;
    struct kith_list node; /* in the provider while under way */
    struct kith_blobs *blobs;
    struct kith_blobs_progress progress;
    struct kith_blobs_added added;
    char *name;  /* of a file that goes by another name than its path's last component; NULL */
    char *path;  /* as given, without slashes at its end */
    size_t base; /* where its last component begins: names in the collection start there */
    bool is_collection;
    struct texts dirs, files; /* paths; dirs: still to be looked into */
    size_t next_file;
    bool has_file;
    struct kith_catalog_add file;
    struct kith_buf names, root;
    /* For the callback of kith__rt_dir_read. */
    struct kith_rt_dir *reading;
    const char *reading_path;
    int read_err;
    char failed[KITH_BLOB_NAME_SIZE_MAX]; /* the path that an error is about */
    const char *problem;                  /* a phrase that says more than the code; NULL */
};

/* ---- Texts ---- */

static void texts_dispose(struct texts *texts, const struct kith_mem *mem)
{
    for (size_t i = 0; i < texts->count; i++)
        kith__free(mem, texts->items[i]);
    kith__free(mem, texts->items);
    *texts = (struct texts) { 0 };
}

/* Appends "a/b", or a alone if b is NULL. */
static int texts_add(struct texts *texts, const struct kith_mem *mem, const char *a, const char *b)
{
    size_t a_size = strlen(a), b_size = b != NULL ? strlen(b) : 0;
    char *text;

    if (texts->count == texts->cap) {
        size_t cap = texts->cap != 0 ? texts->cap * 2 : 16;
        char **items = kith__realloc(mem, texts->items, cap * sizeof *items);

        if (items == NULL)
            return KITH_ERR_NOMEM;
        texts->items = items;
        texts->cap = cap;
    }
    if ((text = kith__alloc(mem, a_size + b_size + 2)) == NULL)
        return KITH_ERR_NOMEM;
    memcpy(text, a, a_size);
    if (b != NULL) {
        if (a_size > 0 && a[a_size - 1] != '/')
            text[a_size++] = '/';
        memcpy(text + a_size, b, b_size);
    }
    text[a_size + b_size] = '\0';
    texts->items[texts->count++] = text;
    return 0;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* ---- Looking at directories ---- */

static const struct kith_mem *mem_of(const struct add *add)
{
    return add->blobs->context->mem;
}

static int blame(struct add *add, int err, const char *path, const char *problem)
{
    size_t size = strlen(path) < sizeof add->failed - 1 ? strlen(path) : sizeof add->failed - 1;

    memcpy(add->failed, path, size);
    add->failed[size] = '\0';
    add->problem = problem;
    return err;
}

/* The name of a path in the collection. */
static struct kith_slice name_of(const struct add *add, const char *path)
{
    if (add->name != NULL)
        return (struct kith_slice) { (const uint8_t *)add->name, strlen(add->name) };
    return (struct kith_slice) { (const uint8_t *)path + add->base, strlen(path) - add->base };
}

static int add_path(struct add *add, const char *dir, const char *name, uint8_t kind)
{
    struct texts *texts = kind == KITH_RT_KIND_DIR ? &add->dirs : &add->files;
    const char *problem;
    int err;

    if (texts->count >= KITH_COLLECTION_COUNT_MAX)
        return blame(add, KITH_ERR_LIMIT, dir, "there are too many files");
    if ((err = texts_add(texts, mem_of(add), dir, name)) != 0)
        return err;
    problem = kith__collection_name_problem(name_of(add, texts->items[texts->count - 1]));
    return problem == NULL ? 0 : blame(add, KITH_ERR_INVALID, texts->items[texts->count - 1], problem);
}

/* One entry of a directory. Links and special files are left out: they are not the directory's own bytes. */
static bool on_entry(void *ctx, const char *name)
{
    struct add *add = ctx;
    struct kith_rt_stat stat;
    int err = kith__rt_stat(add->blobs->context->rt, add->reading, name, false, &stat);

    if (err == KITH_ERR_NOT_FOUND) /* gone since */
        return true;
    if (err != 0)
        err = blame(add, err, name, NULL);
    else if (stat.kind == KITH_RT_KIND_DIR || stat.kind == KITH_RT_KIND_FILE)
        err = add_path(add, add->reading_path, name, stat.kind);
    add->read_err = err;
    return err == 0;
}

/* Looks into one directory. */
static int look_into(struct add *add)
{
    char *path = add->dirs.items[--add->dirs.count];
    int err = kith__rt_dir_open(add->blobs->context->rt, NULL, path, 0, &add->reading);

    add->read_err = 0;
    add->reading_path = path;
    if (err == 0) {
        err = kith__rt_dir_read(add->reading, on_entry, add);
        kith__rt_dir_close(add->reading);
    }
    if (err != 0)
        blame(add, err, path, NULL);
    kith__free(mem_of(add), path);
    return err != 0 ? err : add->read_err;
}

/* ---- Hashing ---- */

static int end_file(struct add *add)
{
    struct kith_slice name = name_of(add, add->files.items[add->next_file]);
    int err = 0;

    add->has_file = false;
    add->added.hash = add->file.hash;
    add->added.size += add->file.stat.size;
    add->added.file_count++;
    add->progress.bytes_done = add->added.size;
    add->progress.files_done++;
    if (add->is_collection) {
        err = kith__buf_append(&add->root, add->file.hash.bytes, KITH_HASH_SIZE);
        if (err == 0)
            err = kith__collection_append_name(&add->names, name);
    }
    kith__catalog_add_dispose(&add->file);
    add->next_file++;
    return err;
}

static void show(struct add *add, const char *path)
{
    struct kith_slice name = name_of(add, path);
    size_t size = name.size < sizeof add->progress.name - 1 ? name.size : sizeof add->progress.name - 1;

    memcpy(add->progress.name, name.ptr, size);
    add->progress.name[size] = '\0';
}

/* A slice of the file at hand, or the next small one. */
static int hash_some(struct add *add)
{
    const char *path = add->files.items[add->next_file];
    uint64_t before = add->added.size;
    int err;

    if (!add->has_file) {
        show(add, path);
        if ((err = kith__catalog_add_begin(&add->file, &add->blobs->catalog, path)) != 0)
            return blame(add, err, path, err == KITH_ERR_INVALID ? "it is neither a file nor a directory" : NULL);
        add->has_file = true;
    }
    err = kith__catalog_add_step(&add->file, KITH_BLOBS_ADD_SLICE_SIZE);
    if (err == KITH_ERR_AGAIN)
        add->progress.bytes_done = before + add->file.builder.hashed;
    else if (err == 0)
        err = end_file(add);
    else
        blame(add, err, path,
              err == KITH_ERR_STATE ? "it changed while it was read; add it again when it is finished" : NULL);
    return err;
}

/* The collection itself: names, then the sequence of all hashes with that of the names in front. */
static int make_collection(struct add *add)
{
    struct kith_catalog *catalog = &add->blobs->catalog;
    struct kith_buf root;
    struct kith_hash hash;
    int err;

    if ((err = kith__catalog_add_bytes(catalog, add->names.ptr, add->names.size, &hash)) != 0)
        return err;
    kith__buf_init(&root, mem_of(add));
    if ((err = kith__buf_append(&root, hash.bytes, KITH_HASH_SIZE)) == 0 && add->root.size > 0)
        err = kith__buf_append(&root, add->root.ptr, add->root.size);
    if (err == 0)
        err = kith__catalog_add_bytes(catalog, root.ptr, root.size, &add->added.hash);
    kith__buf_dispose(&root);
    add->added.format = KITH_BLOB_HASH_SEQ;
    return err;
}

/* ---- The operation ---- */

static void add_end(struct add *add, int err)
{
    struct kith_error error;
    struct kith_op *op = add->work.op;

    kith__job_cancel(&add->work.job);
    kith__list_remove(&add->node);
    if (err == 0) {
        add->progress.phase = KITH_BLOBS_PHASE_DONE;
        kith__op_done(op, 0);
        return;
    }
    if (add->problem != NULL)
        kith__fail_into(&error, err, 0, "%s: %s", add->failed, add->problem);
    else
        kith__fail_into_because(&error, err, "%s", add->failed[0] != '\0' ? add->failed : add->path);
    kith__op_fail(op, &error);
}

/* All names are known. */
static int begin_hashing(struct add *add)
{
    qsort(add->files.items, add->files.count, sizeof *add->files.items, compare_texts);
    add->progress.files_total = add->files.count;
    return add->is_collection ? kith__collection_begin(&add->names, add->files.count) : 0;
}

static void run(void *ctx)
{
    enum { SMALL_FILES = 16 }; /* in one turn */
    struct add *add = ctx;
    int err = 0;

    if (add->dirs.count > 0) {
        if ((err = look_into(add)) == 0 && add->dirs.count == 0)
            err = begin_hashing(add);
    } else {
        uint64_t before = add->added.size;

        for (int i = 0; err == 0 && i < SMALL_FILES && add->next_file < add->files.count &&
                        add->added.size - before < KITH_BLOBS_ADD_SLICE_SIZE;
             i++)
            err = hash_some(add);
        if (err == 0 && add->next_file == add->files.count) {
            add_end(add, add->is_collection ? make_collection(add) : 0);
            return;
        }
    }
    if (err != 0 && err != KITH_ERR_AGAIN)
        add_end(add, err);
    else
        kith__context_schedule(add->blobs->context, &add->work.job);
}

static void add_cancel(struct kith_op *op)
{
    struct add *add = op->state;

    kith__job_cancel(&add->work.job);
    kith__list_remove(&add->node);
    if (add->has_file) /* the catalog may be gone before the operation is freed */
        kith__catalog_add_dispose(&add->file);
    add->has_file = false;
}

void kith__blobs_add_dispose(struct kith_op *op)
{
    struct add *add = op->state;
    const struct kith_mem *mem = op->context->mem;

    add_cancel(op);
    texts_dispose(&add->dirs, mem);
    texts_dispose(&add->files, mem);
    kith__buf_dispose(&add->names);
    kith__buf_dispose(&add->root);
    kith__free(mem, add->path);
    kith__free(mem, add->name);
    kith__free(mem, add);
}

void kith__blobs_add_abort(struct kith_list *node)
{
    struct add *add = KITH_CONTAINER(node, struct add, node);

    add_cancel(add->work.op);
    add_end(add, KITH_ERR_CLOSED);
}

/* The path without slashes at its end, and where its last component begins. */
static int take_path(struct add *add, const char *path)
{
    size_t size = strlen(path);
    const char *problem;

    while (size > 1 && path[size - 1] == '/')
        size--;
    if ((add->path = kith__alloc(mem_of(add), size + 1)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "nothing can be added");
    memcpy(add->path, path, size);
    add->path[size] = '\0';
    add->base = strrchr(add->path, '/') != NULL ? (size_t)(strrchr(add->path, '/') + 1 - add->path) : 0;
    if (add->is_collection && (problem = kith__collection_name_problem(name_of(add, add->path))) != NULL)
        return kith__fail(KITH_ERR_INVALID, 0, "%s: the other side could not use its name: %s", path, problem);
    return 0;
}

/* The other name of a file. */
static int take_name(struct add *add, const char *name)
{
    size_t size = strlen(name) + 1;

    if (strchr(name, '/') != NULL)
        return kith__fail(KITH_ERR_INVALID, 0, "'%.80s' is not the name of a file", name);
    if ((add->name = kith__alloc(mem_of(add), size)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "nothing can be added");
    memcpy(add->name, name, size);
    return 0;
}

/* A file, or a directory and all below it. */
static int begin(struct add *add, const char *path, const char *name, int flags)
{
    size_t size = strlen(path);
    struct kith_rt_stat stat;
    int err;

    if (size == 0 || size > KITH_RT_PATH_MAX)
        return kith__fail(KITH_ERR_INVALID, 0, "'%.80s%s' cannot be a path: it needs 1 to %d bytes", path,
                          size > 80 ? "..." : "", KITH_RT_PATH_MAX);
    if ((err = kith__rt_stat(add->blobs->context->rt, NULL, path, true, &stat)) != 0)
        return kith__fail_because(err, "%s", path);
    if (stat.kind != KITH_RT_KIND_DIR && stat.kind != KITH_RT_KIND_FILE)
        return kith__fail(KITH_ERR_INVALID, 0, "%s: it is neither a file nor a directory", path);
    if (name != NULL && stat.kind == KITH_RT_KIND_DIR)
        return kith__fail(KITH_ERR_INVALID, 0, "%s: a directory keeps its name", path);
    if (name != NULL && (err = take_name(add, name)) != 0)
        return err;
    add->is_collection = (flags & KITH_BLOBS_ADD_COLLECTION) != 0 || stat.kind == KITH_RT_KIND_DIR;
    if ((err = take_path(add, path)) != 0)
        return err;
    if (stat.kind != KITH_RT_KIND_DIR)
        add->progress.bytes_total = stat.size;
    err = texts_add(stat.kind == KITH_RT_KIND_DIR ? &add->dirs : &add->files, mem_of(add), add->path, NULL);
    if (err == 0 && stat.kind != KITH_RT_KIND_DIR)
        err = begin_hashing(add);
    return err != 0 ? kith__fail_because(err, "%s: it cannot be added", path) : 0;
}

static int add_start(struct kith_blobs *blobs, const char *path, const char *name, int flags, struct kith_op **out)
{
    struct kith_context *context = blobs->context;
    struct kith_op *op = kith__op_new(context, KITH_OP_DRIVER, NULL);
    struct add *add = kith__alloc_zero(context->mem, sizeof *add);
    int err;

    if (op == NULL || add == NULL) {
        if (op != NULL)
            kith__op_free_locked(op);
        kith__free(context->mem, add);
        return kith__fail_because(KITH_ERR_NOMEM, "nothing can be added");
    }
    add->blobs = blobs;
    add->work.op = op;
    add->work.progress = &add->progress;
    add->progress.phase = KITH_BLOBS_PHASE_HASHING;
    kith__job_init(&add->work.job, run, add);
    kith__list_init(&add->node);
    kith__buf_init(&add->names, context->mem);
    kith__buf_init(&add->root, context->mem);
    op->state = add;
    op->cancel = add_cancel;
    op->dispose = kith__blobs_add_dispose;
    if ((err = begin(add, path, name, flags)) != 0) {
        struct kith_error error = *kith_error_last();

        kith__op_free_locked(op);
        return kith__fail_with(&error);
    }
    kith__list_push_back(&blobs->adds, &add->node);
    kith__context_schedule(context, &add->work.job);
    *out = op;
    return 0;
}

int kith_blobs_add_start(struct kith_blobs *blobs, const char *path, int flags, struct kith_op **out)
{
    int err;

    if (path == NULL)
        return kith__fail_null("a path");
    kith__context_enter(blobs->context);
    err = add_start(blobs, path, NULL, flags, out);
    kith__context_leave(blobs->context);
    return err;
}

int kith_blobs_add_named_start(struct kith_blobs *blobs, const char *path, const char *name, int flags,
                               struct kith_op **out)
{
    int err;

    if (path == NULL)
        return kith__fail_null("a path");
    kith__context_enter(blobs->context);
    err = add_start(blobs, path, name, flags, out);
    kith__context_leave(blobs->context);
    return err;
}

int kith_blobs_added(const struct kith_op *op, struct kith_blobs_added *out)
{
    int err = KITH_ERR_STATE;

    kith__context_enter(op->context);
    if (op->dispose == kith__blobs_add_dispose && op->is_done && op->result == 0) {
        *out = ((const struct add *)op->state)->added;
        err = 0;
    }
    kith__context_leave(op->context);
    return err == 0 ? 0 : kith__fail(err, 0, "nothing was added yet");
}
