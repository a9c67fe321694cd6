/* Collections and the names in them. */
#include "blobs/collection.h"

#include "base/mem.h"
#include "codec/postcard.h"

static const uint8_t header[13] = { 'C', 'o', 'l', 'l', 'e', 'c', 't', 'i', 'o', 'n', 'V', '0', '.' };

void kith__collection_init(struct kith_collection *collection, const struct kith_mem *mem)
{
    *collection = (struct kith_collection) { .mem = mem };
}

void kith__collection_dispose(struct kith_collection *collection)
{
    kith__free(collection->mem, collection->names);
    kith__collection_init(collection, collection->mem);
}

int kith__collection_begin(struct kith_buf *out, size_t count)
{
    int err = kith__buf_append(out, header, sizeof header);

    return err != 0 ? err : kith__postcard_write_uint(out, count);
}

int kith__collection_append_name(struct kith_buf *out, struct kith_slice name)
{
    return kith__postcard_write_slice(out, name);
}

int kith__collection_decode(struct kith_slice meta, struct kith_collection *out)
{
    struct kith_reader r = kith__reader_of_slice(meta);
    struct kith_slice found;
    size_t count;
    int err;

    if ((err = kith__read_slice(&r, sizeof header, &found)) != 0)
        return err;
    if (memcmp(found.ptr, header, sizeof header) != 0)
        return KITH_ERR_PARSE;
    if ((err = kith__postcard_read_count(&r, 1, &count)) != 0)
        return err;
    if (count > KITH_COLLECTION_COUNT_MAX)
        return KITH_ERR_TOO_LARGE;
    if (count > 0 && (out->names = kith__alloc_array(out->mem, count, sizeof *out->names)) == NULL)
        return KITH_ERR_NOMEM;
    out->count = count;
    for (size_t i = 0; i < count; i++)
        if ((err = kith__postcard_read_string(&r, &out->names[i])) != 0)
            return err;
    return kith__reader_left(&r) == 0 ? 0 : KITH_ERR_PARSE;
}

static const char *component_problem(const uint8_t *at, size_t size)
{
    if (size == 0)
        return "it has an empty component";
    if (size > KITH_COLLECTION_COMPONENT_SIZE_MAX)
        return "it has a component of more than 255 bytes";
    if (at[0] == '.' && (size == 1 || (size == 2 && at[1] == '.')))
        return "it has a component that leads elsewhere (. or ..)";
    if (size >= 2 && at[1] == ':')
        return "it has a drive letter";
    return NULL;
}

const char *kith__collection_name_problem(struct kith_slice name)
{
    const char *problem = NULL;
    size_t begin = 0, depth = 0;

    if (name.size == 0)
        return "it is empty";
    if (name.size > KITH_COLLECTION_NAME_SIZE_MAX)
        return "it is too long";
    if (!kith__utf8_is_valid(name.ptr, name.size))
        return "it is not UTF-8";
    for (size_t i = 0; problem == NULL && i <= name.size; i++) {
        if (i == name.size || name.ptr[i] == '/') {
            problem = ++depth > KITH_COLLECTION_DEPTH_MAX ? "it has more than 255 components"
                                                          : component_problem(name.ptr + begin, i - begin);
            begin = i + 1;
        } else if (name.ptr[i] < 0x20 || name.ptr[i] == 0x7f ||
                   (name.ptr[i] == 0xc2 &&
                    name.ptr[i + 1] < 0xa0)) { /* U+0080 to U+009F; it is UTF-8: a byte follows */
            problem = "it has a control character";
        } else if (name.ptr[i] == '\\') {
            problem = "it has a backslash";
        }
    }
    return problem;
}
