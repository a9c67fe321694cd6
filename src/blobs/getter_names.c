/* The names of a collection, before any of its files is fetched. */
#include "base/map.h"
#include "base/mem.h"
#include "blobs/getter_parts.h"
#include "crypto/blake3.h"

#include <stdio.h>

static const char *const file_mark = "file", *const directory_mark = "directory";

static void remember_failed(struct kith_getter *getter, struct kith_slice name)
{
    size_t size = name.size < sizeof getter->failed_name - 1 ? name.size : sizeof getter->failed_name - 1;

    memcpy(getter->failed_name, name.ptr, size);
    getter->failed_name[size] = '\0';
}

static int refuse(struct kith_getter *getter, struct kith_slice name, const char *problem)
{
    remember_failed(getter, name);
    getter->problem = problem;
    return KITH_ERR_PARSE;
}

/* Notes one path as a file or directory. PARSE: it is the other already, or the same file twice. */
static int note(struct kith_getter *getter, struct kith_map *seen, struct kith_slice name, size_t size,
                const char *mark)
{
    uint8_t key[KITH_HASH_SIZE];
    const void *before;

    kith__blake3(name.ptr, size, key);
    before = kith__map_get(seen, key, sizeof key);
    if (before == mark && mark == directory_mark)
        return 0;
    if (before != NULL)
        return refuse(getter, name,
                      before == file_mark && mark == file_mark ? "it is there twice"
                                                               : "it is both a file and a directory");
    return kith__map_put(seen, key, sizeof key, (void *)(uintptr_t)mark);
}

static int note_name(struct kith_getter *getter, struct kith_map *seen, struct kith_slice name)
{
    for (size_t i = 0; i < name.size; i++) {
        int err = name.ptr[i] == '/' ? note(getter, seen, name, i, directory_mark) : 0;

        if (err != 0)
            return err;
    }
    return note(getter, seen, name, name.size, file_mark);
}

static int check_names(struct kith_getter *getter)
{
    struct kith_map seen;
    int err = 0;

    kith__map_init(&seen, getter->mem, getter->options.seed);
    for (size_t i = 0; err == 0 && i < getter->names.count; i++) {
        const char *problem = kith__collection_name_problem(getter->names.names[i]);

        err = problem != NULL ? refuse(getter, getter->names.names[i], problem)
                              : note_name(getter, &seen, getter->names.names[i]);
    }
    kith__map_dispose(&seen);
    return err;
}

int kith__getter_take_names(struct kith_getter *getter)
{
    int err = kith__collection_decode(kith__buf_slice(&getter->names_bytes), &getter->names);

    if (err != 0 && err != KITH_ERR_NOMEM) {
        getter->problem = "it is not a collection: the first blob does not hold names";
        return err == KITH_ERR_TOO_LARGE ? err : KITH_ERR_PARSE;
    }
    if (err == 0 && getter->names.count != getter->file_count) {
        getter->problem = "the collection has another number of names than of files";
        return KITH_ERR_PARSE;
    }
    if (err != 0 || (err = check_names(getter)) != 0)
        return err;
    getter->progress.files_total = getter->file_count;
    if (getter->file_count > 0) {
        getter->files = kith__alloc_array(getter->mem, (size_t)getter->file_count, sizeof *getter->files);
        if (getter->files == NULL)
            return KITH_ERR_NOMEM;
    }
    return getter->store.accept(getter->store.ctx, &getter->names);
}

void kith__getter_show(struct kith_getter *getter, uint64_t index)
{
    char *name = getter->progress.name;

    name[0] = '\0';
    if (index < getter->names.count)
        snprintf(name, sizeof getter->progress.name, "%.*s", (int)getter->names.names[index].size,
                 (const char *)getter->names.names[index].ptr);
}
