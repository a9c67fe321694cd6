/* The names of a collection, before any of its files is fetched. */
#include "base/assert.h"
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

/*
 * Names are walked component by component. A path is known by a chain of hashes, so that a component costs the same at every
 * depth; what a name shares with the one before it is not looked at again, as names mostly come sorted.
 */
struct name_check {
    struct kith_map seen;     /* key of a path -> file_mark or directory_mark */
    struct kith_slice before; /* the last name */
    uint64_t part_count;
    uint8_t keys[KITH_COLLECTION_DEPTH_MAX + 1][KITH_HASH_SIZE]; /* [n]: of the first n components of `before` */
};

static void next_key(const uint8_t *above, struct kith_slice component, uint8_t *out)
{
    uint8_t bytes[KITH_HASH_SIZE + KITH_COLLECTION_COMPONENT_SIZE_MAX];

    KITH_ASSERT(component.size <= KITH_COLLECTION_COMPONENT_SIZE_MAX);
    memcpy(bytes, above, KITH_HASH_SIZE);
    memcpy(bytes + KITH_HASH_SIZE, component.ptr, component.size);
    kith__blake3(bytes, KITH_HASH_SIZE + component.size, out);
}

/* Notes one path as a file or directory. PARSE: it is the other already, or the same file twice. */
static int note(struct kith_getter *getter, struct name_check *check, struct kith_slice name, const uint8_t *key,
                const char *mark)
{
    const void *before = kith__map_get(&check->seen, key, KITH_HASH_SIZE);

    if (before == mark && mark == directory_mark)
        return 0;
    if (before != NULL)
        return refuse(getter, name,
                      before == file_mark && mark == file_mark ? "it is there twice"
                                                               : "it is both a file and a directory");
    return kith__map_put(&check->seen, key, KITH_HASH_SIZE, (void *)(uintptr_t)mark);
}

/* How many bytes of directories, with their '/', the name shares with the one before it; *depth: how many these are. */
static size_t shared_size(const struct name_check *check, struct kith_slice name, size_t *depth)
{
    size_t shared = 0;

    *depth = 0;
    for (size_t i = 0; i < name.size && i < check->before.size && name.ptr[i] == check->before.ptr[i]; i++)
        if (name.ptr[i] == '/') {
            shared = i + 1;
            (*depth)++;
        }
    return shared;
}

static int note_name(struct kith_getter *getter, struct name_check *check, struct kith_slice name)
{
    size_t depth, begin = shared_size(check, name, &depth);
    int err = 0;

    for (size_t i = begin; err == 0 && i <= name.size; i++) {
        if (i < name.size && name.ptr[i] != '/')
            continue;
        if (++check->part_count > KITH_COLLECTION_PARTS_MAX) {
            getter->problem = "the collection has too many directories";
            return KITH_ERR_TOO_LARGE;
        }
        next_key(check->keys[depth], (struct kith_slice) { name.ptr + begin, i - begin }, check->keys[depth + 1]);
        depth++;
        err = note(getter, check, name, check->keys[depth], i < name.size ? directory_mark : file_mark);
        begin = i + 1;
    }
    check->before = name;
    return err;
}

static int check_names(struct kith_getter *getter)
{
    struct name_check *check = kith__alloc_zero(getter->mem, sizeof *check);
    int err = 0;

    if (check == NULL)
        return KITH_ERR_NOMEM;
    kith__map_init(&check->seen, getter->mem, getter->options.seed);
    for (size_t i = 0; err == 0 && i < getter->names.count; i++) {
        const char *problem = kith__collection_name_problem(getter->names.names[i]);

        err = problem != NULL ? refuse(getter, getter->names.names[i], problem)
                              : note_name(getter, check, getter->names.names[i]);
    }
    kith__map_dispose(&check->seen);
    kith__free(getter->mem, check);
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
