/* Fetching: what comes back. */
#include "base/assert.h"
#include "blobs/getter_parts.h"

/* ---- One blob of the answer ---- */

static enum kith_getter_sink sink_for(const struct kith_getter *getter, uint64_t offset)
{
    if (getter->options.format == KITH_BLOB_RAW)
        return kith__getter_is_range(getter) ? KITH_SINK_RANGE : KITH_SINK_PARTIAL;
    if (getter->progress.phase != KITH_BLOBS_PHASE_SIZES)
        return KITH_SINK_PARTIAL;
    return offset == 0 ? KITH_SINK_ROOT : offset == 1 ? KITH_SINK_NAMES : KITH_SINK_SIZE;
}

/* The next blob that the answer has. END: there is none. */
static int begin_blob(struct kith_getter *getter)
{
    struct kith_hash hash = getter->options.hash;
    int err;

    getter->offset = kith__chunk_seq_next(&getter->request.ranges, getter->offset);
    if (getter->offset == UINT64_MAX ||
        (getter->offset > 0 && getter->offset - 1 >= getter->root.size / KITH_HASH_SIZE))
        return KITH_ERR_END;
    if (getter->offset > 0)
        hash = kith__getter_child(getter, getter->offset - 1);
    getter->sink = (uint8_t)sink_for(getter, getter->offset);
    if (getter->offset > 1)
        kith__getter_show(getter, getter->offset - 2);
    if (getter->sink == KITH_SINK_PARTIAL && !getter->has_partial &&
        (err = kith__getter_open(getter, getter->offset - 2, &hash, true)) != 0)
        return err;
    err = kith__blob_decoder_init(&getter->decoder, getter->mem, &hash,
                                  kith__chunk_seq_at(&getter->request.ranges, getter->offset));
    if (err != 0)
        return err;
    getter->has_decoder = true;
    getter->was_size_seen = false;
    return 0;
}

static int fail_with(struct kith_getter *getter, int err, const char *problem)
{
    getter->problem = problem;
    return err;
}

/* A lie that is known without hashing: the size differs from the proven one. */
static int lied_about_size(struct kith_getter *getter)
{
    getter->has_failed_chunk = true;
    getter->failed_chunk = 0;
    return fail_with(getter, KITH_ERR_HASH, "it claims another size than the proven one");
}

static void set_range_total(struct kith_getter *getter, uint64_t size)
{
    uint64_t first = getter->options.chunk_first, end = getter->options.chunk_end, count = kith__chunk_count(size);

    if (first < count) {
        uint64_t stop = end < count ? end * KITH_CHUNK_SIZE : size;

        getter->progress.bytes_total = stop - first * KITH_CHUNK_SIZE;
    }
}

/* The header came: a claim, but one that limits can be held against. */
static int on_size(struct kith_getter *getter)
{
    uint64_t size = getter->decoder.size;
    int err;

    switch (getter->sink) {
    case KITH_SINK_ROOT:
        if (size > KITH_GETTER_ROOT_SIZE_MAX)
            return fail_with(getter, KITH_ERR_TOO_LARGE, "the collection has too many files");
        if (size == 0 || size % KITH_HASH_SIZE != 0)
            return fail_with(getter, KITH_ERR_PARSE, "it is not a sequence of hashes");
        return 0;
    case KITH_SINK_NAMES:
        return size > KITH_COLLECTION_META_SIZE_MAX
                   ? fail_with(getter, KITH_ERR_TOO_LARGE, "the names of the collection are too long")
                   : 0;
    case KITH_SINK_SIZE:
        return 0;
    case KITH_SINK_RANGE:
        set_range_total(getter, size);
        return 0;
    default:
        break;
    }
    if (getter->files != NULL && getter->files[getter->offset - 2].size != size)
        return lied_about_size(getter);
    if (getter->partial.is_size_proven && getter->partial.size != size)
        return lied_about_size(getter);
    if (getter->files == NULL)
        getter->progress.bytes_total = size;
    err = kith__partial_on_size(&getter->partial, size);
    return err;
}

static int put_range(struct kith_getter *getter, const struct kith_blob_found *found)
{
    uint64_t from = getter->options.chunk_first * KITH_CHUNK_SIZE;
    const struct kith_tree_item *item = &found->item;
    int err;

    /* The last chunk comes also where the range lies beyond it. */
    if (item->chunk_begin < getter->options.chunk_first)
        return fail_with(getter, KITH_ERR_INVALID, "the range begins beyond the end of the blob");
    err = getter->partial.io.write(getter->partial.io.handle, KITH_PARTIAL_DATA, item->offset - from, found->bytes,
                                   item->size);
    if (err == 0)
        getter->progress.bytes_done += item->size;
    return err;
}

static int on_item(struct kith_getter *getter, const struct kith_blob_found *found)
{
    bool is_leaf = found->item.is_leaf;
    int err;

    getter->verified_count++;
    switch (getter->sink) {
    case KITH_SINK_ROOT:
        return is_leaf ? kith__buf_append(&getter->root, found->bytes, found->item.size) : 0;
    case KITH_SINK_NAMES:
        return is_leaf ? kith__buf_append(&getter->names_bytes, found->bytes, found->item.size) : 0;
    case KITH_SINK_SIZE:
        return 0;
    case KITH_SINK_RANGE:
        return is_leaf ? put_range(getter, found) : 0;
    default:
        if ((err = kith__partial_put(&getter->partial, found)) == 0 && is_leaf)
            getter->progress.bytes_done += found->item.size;
        return err;
    }
}

/* A blob of the answer is complete. */
static int end_blob(struct kith_getter *getter)
{
    struct kith_get_file *file = getter->files != NULL && getter->offset > 1 ? &getter->files[getter->offset - 2]
                                                                             : NULL;
    uint64_t size = getter->decoder.size;
    int err = 0;

    kith__blob_decoder_dispose(&getter->decoder);
    getter->has_decoder = false;
    if (getter->sink == KITH_SINK_ROOT) {
        getter->file_count = getter->root.size / KITH_HASH_SIZE - 1;
    } else if (getter->sink == KITH_SINK_NAMES) {
        err = kith__getter_take_names(getter);
    } else if (getter->sink == KITH_SINK_SIZE) {
        file->size = size; /* proven: the last chunk was asked for and came */
        file->has_size = true;
    } else if (getter->sink == KITH_SINK_PARTIAL && file != NULL) {
        if ((err = kith__partial_finish(&getter->partial)) == 0) {
            file->is_complete = true;
            getter->progress.files_done++;
            kith__getter_close(getter);
        }
    }
    getter->offset++;
    getter->verified_count++; /* an empty blob has no pieces */
    return err;
}

/* Another size than what is here was built on, and none of them is proven: what is here goes, and the fetch starts anew. */
static int start_anew(struct kith_getter *getter)
{
    int err;

    kith__blob_decoder_dispose(&getter->decoder);
    getter->has_decoder = false;
    if ((err = kith__partial_reset(&getter->partial)) != 0)
        return err;
    getter->progress.bytes_done = getter->progress.bytes_resumed = 0;
    return KITH_ERR_END;
}

static int receive_step(struct kith_getter *getter, struct kith_slice *bytes)
{
    struct kith_blob_found found;
    int err;

    if (!getter->has_decoder && (err = begin_blob(getter)) != 0)
        return err;
    if (getter->sink == KITH_SINK_PARTIAL && getter->was_size_seen)
        kith__blob_decoder_set_room(&getter->decoder, kith__partial_room(&getter->partial));
    err = kith__blob_decoder_step(&getter->decoder, bytes, &found);
    if (getter->decoder.has_size && !getter->was_size_seen) {
        int size_err = on_size(getter);

        getter->was_size_seen = true;
        if (size_err != 0)
            return size_err == KITH_ERR_STATE ? start_anew(getter) : size_err;
    }
    if (err == 0)
        return on_item(getter, &found);
    if (err == KITH_ERR_END)
        return end_blob(getter);
    if (err == KITH_ERR_HASH) {
        getter->has_failed_chunk = true;
        getter->failed_chunk = getter->decoder.failed_chunk;
    }
    return err;
}

int kith__getter_receive(struct kith_getter *getter, struct kith_slice bytes)
{
    size_t before = bytes.size;
    int err = 0;

    if (getter->step != KITH_GETTER_RECEIVE)
        return KITH_ERR_END;
    while (err == 0)
        err = receive_step(getter, &bytes);
    getter->progress.bytes_wire += before - bytes.size;
    if (err == KITH_ERR_AGAIN)
        return 0;
    if (err == KITH_ERR_END)
        kith__getter_on_answered(getter);
    else
        kith__getter_fail(getter, err, NULL);
    return KITH_ERR_END;
}

void kith__getter_on_end(struct kith_getter *getter, int err, uint64_t code)
{
    bool is_untouched = !getter->has_decoder || kith__blob_decoder_is_untouched(&getter->decoder);

    if (getter->step != KITH_GETTER_RECEIVE && getter->step != KITH_GETTER_REQUEST)
        return;
    if (err == KITH_ERR_RESET)
        getter->reset_code = code;
    if (err == KITH_ERR_RESET && code == KITH_BLOBS_ERR_PERMISSION)
        kith__getter_fail(getter, KITH_ERR_PERMISSION, "the other side does not give it to us");
    else if (err == KITH_ERR_RESET && code == KITH_BLOBS_ERR_LIMIT)
        kith__getter_fail(getter, KITH_ERR_LIMIT, "the other side has too much to do");
    else if ((err == KITH_ERR_END || err == KITH_ERR_RESET) && is_untouched)
        kith__getter_fail(getter, KITH_ERR_NOT_FOUND, "the other side does not have it");
    else if (err == KITH_ERR_END || err == KITH_ERR_RESET)
        kith__getter_fail(getter, KITH_ERR_TRUNCATED, "the other side does not have all of it");
    else
        kith__getter_fail(getter, err, NULL);
}
