/* Fetching: what to ask for, and in what order things are done. */
#include "base/assert.h"
#include "base/mem.h"
#include "blobs/getter_parts.h"

bool kith__getter_is_range(const struct kith_getter *getter)
{
    return getter->options.chunk_end > 0;
}

static bool is_single(const struct kith_getter *getter)
{
    return getter->options.format == KITH_BLOB_RAW;
}

int kith__getter_init(struct kith_getter *getter, const struct kith_mem *mem, const struct kith_getter_options *options,
                      const struct kith_get_store *store)
{
    bool is_range = options->chunk_first != 0 || options->chunk_end != 0;

    if (options->format > KITH_BLOB_HASH_SEQ || (is_range && options->format != KITH_BLOB_RAW) ||
        (is_range && options->chunk_first >= options->chunk_end))
        return KITH_ERR_INVALID;
    *getter = (struct kith_getter) { .mem = mem, .store = *store, .options = *options };
    kith__buf_init(&getter->root, mem);
    kith__buf_init(&getter->names_bytes, mem);
    kith__buf_init(&getter->request_bytes, mem);
    kith__collection_init(&getter->names, mem);
    kith__request_init(&getter->request, mem);
    getter->step = KITH_GETTER_WORK;
    getter->progress.phase = is_single(getter) ? KITH_BLOBS_PHASE_CHECKING : KITH_BLOBS_PHASE_SIZES;
    getter->progress.files_total = is_single(getter);
    return 0;
}

static void drop_present(struct kith_getter *getter, struct kith_get_file *file)
{
    if (file->present == NULL)
        return;
    kith__ranges_dispose(file->present);
    kith__free(getter->mem, file->present);
    file->present = NULL;
}

/* What was verified is kept as well as it can be; an error of writing it is the least of our worries now. */
static void give_up_partial(struct kith_getter *getter)
{
    bool is_worthless;

    if (!getter->has_partial)
        return;
    /* A scan that was cut short says nothing about the rest; a range is never resumed. */
    is_worthless = kith__getter_is_range(getter) ||
                   (!getter->partial.is_scanning && getter->partial.present.count == 0);
    if (!is_worthless && !getter->partial.is_scanning)
        (void)!kith__partial_flush(&getter->partial);
    kith__getter_close(getter);
    if (is_worthless)
        getter->store.discard(getter->store.ctx, getter->partial_index);
}

void kith__getter_dispose(struct kith_getter *getter)
{
    give_up_partial(getter);
    if (getter->has_decoder)
        kith__blob_decoder_dispose(&getter->decoder);
    getter->has_decoder = false;
    for (uint64_t i = 0; getter->files != NULL && i < getter->file_count; i++)
        drop_present(getter, &getter->files[i]);
    kith__free(getter->mem, getter->files);
    getter->files = NULL;
    kith__collection_dispose(&getter->names);
    kith__buf_dispose(&getter->root);
    kith__buf_dispose(&getter->names_bytes);
    kith__buf_dispose(&getter->request_bytes);
    kith__request_dispose(&getter->request);
}

void kith__getter_fail(struct kith_getter *getter, int err, const char *problem)
{
    if (getter->step == KITH_GETTER_FAILED || getter->step == KITH_GETTER_DONE)
        return;
    getter->step = KITH_GETTER_FAILED;
    getter->err = err;
    if (problem != NULL)
        getter->problem = problem;
    give_up_partial(getter);
}

struct kith_hash kith__getter_child(const struct kith_getter *getter, uint64_t child)
{
    struct kith_hash hash;

    KITH_ASSERT(child < getter->root.size / KITH_HASH_SIZE);
    memcpy(hash.bytes, getter->root.ptr + child * KITH_HASH_SIZE, KITH_HASH_SIZE);
    return hash;
}

int kith__getter_open(struct kith_getter *getter, uint64_t index, const struct kith_hash *hash, bool make)
{
    struct kith_partial_io io;
    struct kith_get_file *file = getter->files != NULL ? &getter->files[index] : NULL;
    int err = getter->store.open(getter->store.ctx, index, make, &io);

    if (err != 0)
        return err;
    kith__partial_init(&getter->partial, getter->mem, hash, &io);
    getter->has_partial = true;
    getter->partial_index = index;
    if (file != NULL && file->present != NULL) {
        getter->partial.present = *file->present; /* a set may be moved by assignment */
        kith__ranges_init(file->present, getter->mem);
        drop_present(getter, file);
        getter->partial.size = file->size;
        getter->partial.has_size = getter->partial.is_size_proven = true;
    }
    kith__getter_show(getter, index);
    return 0;
}

void kith__getter_close(struct kith_getter *getter)
{
    kith__partial_dispose(&getter->partial);
    getter->store.close(getter->store.ctx, &getter->partial.io);
    getter->has_partial = false;
}

/* ---- Requests ---- */

static int begin_request(struct kith_getter *getter)
{
    kith__request_dispose(&getter->request);
    return kith__request_make_get(&getter->request, &getter->options.hash);
}

static int end_request(struct kith_getter *getter)
{
    int err;

    getter->request_bytes.size = 0;
    if ((err = kith__request_encode(&getter->request, &getter->request_bytes)) != 0)
        return err;
    getter->offset = 0;
    getter->step = KITH_GETTER_REQUEST;
    return 0;
}

/* Only blob 0, with these chunks. */
static int request_single(struct kith_getter *getter, const struct kith_chunk_set *set)
{
    struct kith_chunk_set nothing;
    int err = begin_request(getter);

    kith__chunk_set_init(&nothing, getter->mem);
    if (err == 0 && (err = kith__chunk_seq_append(&getter->request.ranges, 0, set)) == 0)
        err = kith__chunk_seq_append(&getter->request.ranges, 1, &nothing);
    return err != 0 ? err : end_request(getter);
}

static int request_missing(struct kith_getter *getter)
{
    struct kith_chunk_set set;
    int err;

    kith__chunk_set_init(&set, getter->mem);
    if (kith__getter_is_range(getter))
        err = kith__chunk_set_range(&set, getter->options.chunk_first, getter->options.chunk_end);
    else
        err = kith__partial_missing(&getter->partial, &set);
    if (err == 0)
        err = request_single(getter, &set);
    kith__chunk_set_dispose(&set);
    getter->progress.phase = KITH_BLOBS_PHASE_FETCHING;
    return err;
}

/* The root and the names whole; of every file the last chunk, which proves its size. */
static int request_sizes(struct kith_getter *getter)
{
    struct kith_chunk_set set;
    int err = begin_request(getter);

    kith__chunk_set_init(&set, getter->mem);
    if (err == 0 && (err = kith__chunk_set_all(&set)) == 0)
        err = kith__chunk_seq_append(&getter->request.ranges, 0, &set);
    if (err == 0 && (err = kith__chunk_set_range(&set, UINT64_MAX, UINT64_MAX)) == 0)
        err = kith__chunk_seq_append(&getter->request.ranges, 2, &set);
    kith__chunk_set_dispose(&set);
    return err != 0 ? err : end_request(getter);
}

static int missing_of_file(struct kith_getter *getter, uint64_t index, struct kith_chunk_set *out)
{
    const struct kith_get_file *file = &getter->files[index];
    struct kith_partial like = { .mem = getter->mem, .size = file->size, .has_size = true };

    out->count = 0;
    if (file->is_complete)
        return 0;
    if (file->present == NULL)
        return kith__chunk_set_all(out);
    like.present = *file->present; /* looked at only */
    return kith__partial_missing(&like, out);
}

/* As many files as fit into one request. Nothing left: the step stays WORK. */
static int request_files(struct kith_getter *getter)
{
    struct kith_chunk_set set;
    uint64_t i;
    int err = begin_request(getter);

    kith__chunk_set_init(&set, getter->mem);
    for (i = 0; err == 0 && i < getter->file_count && getter->request.ranges.count < KITH_GETTER_SETS_MAX; i++)
        if ((err = missing_of_file(getter, i, &set)) == 0)
            err = kith__chunk_seq_append(&getter->request.ranges, i + 2, &set);
    set.count = 0;
    if (err == 0)
        err = kith__chunk_seq_append(&getter->request.ranges, i + 2, &set);
    kith__chunk_set_dispose(&set);
    if (err == 0 && getter->request.ranges.count > 0)
        err = end_request(getter);
    return err;
}

static void start_storing(struct kith_getter *getter)
{
    getter->step = KITH_GETTER_WORK;
    getter->progress.phase = KITH_BLOBS_PHASE_STORING;
    getter->next_file = 0;
}

static int fetch_or_store(struct kith_getter *getter)
{
    int err;

    getter->progress.phase = KITH_BLOBS_PHASE_FETCHING;
    getter->step = KITH_GETTER_WORK;
    if ((err = request_files(getter)) == 0 && getter->step == KITH_GETTER_WORK)
        start_storing(getter);
    return err;
}

static int finish_single(struct kith_getter *getter)
{
    int err = 0;

    if (!kith__getter_is_range(getter))
        err = kith__partial_finish(&getter->partial);
    if (err != 0)
        return err;
    kith__getter_close(getter);
    getter->progress.files_done = 1;
    start_storing(getter);
    return 0;
}

void kith__getter_on_answered(struct kith_getter *getter)
{
    int err = 0;

    if (getter->progress.phase == KITH_BLOBS_PHASE_SIZES) {
        getter->progress.phase = KITH_BLOBS_PHASE_CHECKING;
        getter->step = KITH_GETTER_WORK;
        getter->next_file = 0;
        for (uint64_t i = 0; i < getter->file_count; i++)
            getter->progress.bytes_total += getter->files[i].size;
    } else if (!is_single(getter)) {
        err = fetch_or_store(getter);
    } else if (kith__getter_is_range(getter) || kith__partial_is_complete(&getter->partial)) {
        err = finish_single(getter);
    } else { /* the size turned out to be another one: from the start */
        err = request_missing(getter);
    }
    if (err != 0)
        kith__getter_fail(getter, err, NULL);
}

/* ---- Work ---- */

static int check_single(struct kith_getter *getter)
{
    int err;

    if (!getter->has_partial) {
        if ((err = kith__getter_open(getter, 0, &getter->options.hash, true)) != 0)
            return err;
        if (kith__getter_is_range(getter)) {
            err = getter->partial.io.cut(getter->partial.io.handle, KITH_PARTIAL_DATA, 0);
            return err != 0 ? err : request_missing(getter);
        }
        if ((err = kith__partial_scan_begin(&getter->partial)) != 0)
            return err;
    }
    if ((err = kith__partial_scan_step(&getter->partial)) != 0)
        return err == KITH_ERR_AGAIN ? 0 : err;
    getter->progress.bytes_done = getter->progress.bytes_resumed = kith__partial_present_size(&getter->partial);
    if (getter->partial.has_size)
        getter->progress.bytes_total = getter->partial.size;
    return kith__partial_is_complete(&getter->partial) ? finish_single(getter) : request_missing(getter);
}

/* What the scan of a file found goes into the table. */
static int keep_scanned(struct kith_getter *getter, struct kith_get_file *file)
{
    struct kith_partial *partial = &getter->partial;
    uint64_t size = kith__partial_present_size(partial);

    if (partial->present.count > 0 && partial->size != file->size) /* the proven size says that it is worthless */
        return kith__partial_reset(partial);
    getter->progress.bytes_done += size;
    getter->progress.bytes_resumed += size;
    if (kith__partial_is_complete(partial)) {
        file->is_complete = true;
        getter->progress.files_done++;
        return kith__partial_finish(partial);
    }
    if (partial->present.count == 0)
        return 0;
    if ((file->present = kith__alloc(getter->mem, sizeof *file->present)) == NULL)
        return KITH_ERR_NOMEM;
    *file->present = partial->present;
    kith__ranges_init(&partial->present, getter->mem);
    return 0;
}

/* An empty file has nothing to fetch. */
static int make_empty(struct kith_getter *getter, struct kith_get_file *file)
{
    int err = getter->partial.io.cut(getter->partial.io.handle, KITH_PARTIAL_DATA, 0);

    kith__getter_close(getter);
    file->is_complete = err == 0;
    getter->progress.files_done += file->is_complete;
    return err;
}

static int scan_file(struct kith_getter *getter, const struct kith_get_file *file)
{
    getter->partial.size = file->size;
    getter->partial.has_size = true;
    return kith__partial_scan_begin(&getter->partial);
}

/* One file, or a slice of a large one. */
static int check_file(struct kith_getter *getter)
{
    struct kith_get_file *file = &getter->files[getter->next_file];
    struct kith_hash hash = kith__getter_child(getter, getter->next_file + 1);
    int err;

    if (!getter->has_partial) {
        err = kith__getter_open(getter, getter->next_file, &hash, file->size == 0);
        if (err == KITH_ERR_NOT_FOUND && file->size > 0)
            err = 0;
        else if (err == 0 && file->size == 0)
            err = make_empty(getter, file);
        else if (err == 0)
            err = scan_file(getter, file);
        if (err != 0)
            return err;
    }
    if (getter->has_partial) {
        if ((err = kith__partial_scan_step(&getter->partial)) != 0)
            return err;
        if ((err = keep_scanned(getter, file)) != 0)
            return err;
        kith__getter_close(getter);
    }
    getter->next_file++;
    return 0;
}

static int check_files(struct kith_getter *getter)
{
    for (int i = 0; i < KITH_GETTER_FILES_PER_STEP && getter->next_file < getter->file_count; i++) {
        int err = check_file(getter);

        if (err != 0)
            return err == KITH_ERR_AGAIN ? 0 : err;
    }
    return getter->next_file == getter->file_count ? fetch_or_store(getter) : 0;
}

static int place_files(struct kith_getter *getter)
{
    static const struct kith_slice no_name = { (const uint8_t *)"", 0 };
    uint64_t count = is_single(getter) ? 1 : getter->file_count;

    if (!getter->is_settled) { /* a slice of its own: it may take long */
        int err = getter->store.settle(getter->store.ctx, count);

        getter->is_settled = err == 0;
        return err;
    }
    for (int i = 0; i < KITH_GETTER_FILES_PER_STEP && getter->next_file < count; i++) {
        struct kith_slice name = is_single(getter) ? no_name : getter->names.names[getter->next_file];
        int err;

        kith__getter_show(getter, getter->next_file);
        if ((err = getter->store.place(getter->store.ctx, getter->next_file, name)) != 0)
            return err == KITH_ERR_AGAIN ? 0 : err;
        getter->next_file++;
    }
    if (getter->next_file == count) {
        int err = getter->store.clean(getter->store.ctx);

        if (err != 0)
            return err;
        getter->progress.phase = KITH_BLOBS_PHASE_DONE;
        getter->step = KITH_GETTER_DONE;
    }
    return 0;
}

void kith__getter_work(struct kith_getter *getter)
{
    int err = 0;

    KITH_ASSERT(getter->step == KITH_GETTER_WORK);
    switch (getter->progress.phase) {
    case KITH_BLOBS_PHASE_SIZES:
        err = request_sizes(getter);
        break;
    case KITH_BLOBS_PHASE_CHECKING:
        err = is_single(getter) ? check_single(getter) : check_files(getter);
        break;
    default:
        err = place_files(getter);
        break;
    }
    if (err != 0)
        kith__getter_fail(getter, err, NULL);
}

struct kith_slice kith__getter_request(const struct kith_getter *getter)
{
    return kith__buf_slice(&getter->request_bytes);
}

void kith__getter_on_requested(struct kith_getter *getter)
{
    KITH_ASSERT(getter->step == KITH_GETTER_REQUEST);
    getter->step = KITH_GETTER_RECEIVE;
}
