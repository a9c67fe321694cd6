/* Provider and getter joined in memory: every way in which a transfer can go, without a network or a disk. */
#include "base/mem.h"
#include "base/test.h"
#include "blobs/getter.h"
#include "blobs/provider.h"
#include "crypto/blake3.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The side that has the blobs ---- */

struct blob {
    struct kith_hash hash;
    uint64_t size;
    uint8_t *bytes, *outboard;
};

struct shelf {
    struct blob blobs[16];
    size_t count;
    int64_t open_count;
};

static struct blob *shelf_add(struct shelf *shelf, const uint8_t *bytes, uint64_t size)
{
    struct blob *blob = &shelf->blobs[shelf->count++];
    struct kith_tree_builder builder;

    blob->size = size;
    blob->bytes = malloc(size + 1);
    blob->outboard = malloc(kith__outboard_size(size) + 1);
    for (uint64_t i = 0; i < size; i++)
        blob->bytes[i] = bytes != NULL ? bytes[i] : (uint8_t)(i % 251);
    kith__tree_builder_init(&builder, size, blob->outboard);
    kith__tree_builder_update(&builder, blob->bytes, size);
    kith__tree_builder_final(&builder, &blob->hash);
    return blob;
}

static void shelf_free(struct shelf *shelf)
{
    KITH_CHECK_EQ(shelf->open_count, 0);
    for (size_t i = 0; i < shelf->count; i++) {
        free(shelf->blobs[i].bytes);
        free(shelf->blobs[i].outboard);
    }
}

static int shelf_read(void *ctx, uint64_t offset, uint8_t *out, size_t size)
{
    struct blob *blob = ctx;

    if (offset + size > blob->size)
        return KITH_ERR_TRUNCATED;
    memcpy(out, blob->bytes + offset, size);
    return 0;
}

static int shelf_pair(void *ctx, uint64_t index, uint8_t out[KITH_PAIR_SIZE])
{
    memcpy(out, ((struct blob *)ctx)->outboard + index * KITH_PAIR_SIZE, KITH_PAIR_SIZE);
    return 0;
}

static int shelf_open(void *ctx, const struct kith_hash *hash, struct kith_blob_view *out)
{
    struct shelf *shelf = ctx;

    for (size_t i = 0; i < shelf->count; i++) {
        if (memcmp(&shelf->blobs[i].hash, hash, sizeof *hash) != 0)
            continue;
        *out = (struct kith_blob_view) { shelf->blobs[i].size, { shelf_read, shelf_pair, &shelf->blobs[i] }, NULL };
        shelf->open_count++;
        return 0;
    }
    return KITH_ERR_NOT_FOUND;
}

static void shelf_close(void *ctx, struct kith_blob_view *view)
{
    (void)view;
    ((struct shelf *)ctx)->open_count--;
}

static int shelf_size(void *ctx, const struct kith_hash *hash, uint64_t *out)
{
    const struct shelf *shelf = ctx;

    for (size_t i = 0; i < shelf->count; i++)
        if (memcmp(&shelf->blobs[i].hash, hash, sizeof *hash) == 0) {
            *out = shelf->blobs[i].size;
            return 0;
        }
    return KITH_ERR_NOT_FOUND;
}

/* ---- The side that wants them: files in memory, which survive a getter ---- */

struct memory_file {
    struct kith_buf parts[2];
    bool is_made, is_open;
    char placed_as[64];
};

struct desk {
    struct memory_file files[16];
    uint64_t space; /* bytes that may still be written */
    int accept_err;
    int accepted, cleaned;
    uint64_t settled;
    const struct kith_mem *mem;
};

static int desk_read(void *handle, enum kith_partial_part part, uint64_t offset, void *out, size_t size, size_t *got)
{
    struct kith_buf *buf = &((struct memory_file *)handle)->parts[part];

    *got = offset >= buf->size ? 0 : buf->size - offset < size ? buf->size - offset : size;
    if (*got > 0)
        memcpy(out, buf->ptr + offset, *got);
    return 0;
}

static struct desk *the_desk;

static int desk_write(void *handle, enum kith_partial_part part, uint64_t offset, const void *bytes, size_t size)
{
    struct kith_buf *buf = &((struct memory_file *)handle)->parts[part];

    if (size > the_desk->space)
        return KITH_ERR_NO_SPACE;
    the_desk->space -= size;
    if (offset + size > buf->size) {
        size_t more = (size_t)(offset + size - buf->size);

        if (kith__buf_reserve(buf, more) != 0)
            return KITH_ERR_NOMEM;
        memset(buf->ptr + buf->size, 0, more);
        buf->size += more;
    }
    memcpy(buf->ptr + offset, bytes, size);
    return 0;
}

static int desk_cut(void *handle, enum kith_partial_part part, uint64_t size)
{
    struct kith_buf *buf = &((struct memory_file *)handle)->parts[part];

    KITH_CHECK(size <= buf->size);
    buf->size = (size_t)size;
    return 0;
}

static int desk_open(void *ctx, uint64_t index, bool make, struct kith_partial_io *out)
{
    struct desk *desk = ctx;
    struct memory_file *file = &desk->files[index];

    if (!file->is_made && !make)
        return KITH_ERR_NOT_FOUND;
    file->is_made = file->is_open = true;
    *out = (struct kith_partial_io) { desk_read, desk_write, desk_cut, file };
    return 0;
}

static void desk_close(void *ctx, struct kith_partial_io *io)
{
    (void)ctx;
    KITH_CHECK(((struct memory_file *)io->handle)->is_open);
    ((struct memory_file *)io->handle)->is_open = false;
}

static void desk_discard(void *ctx, uint64_t index)
{
    struct memory_file *file = &((struct desk *)ctx)->files[index];

    KITH_CHECK(file->is_made && !file->is_open);
    file->is_made = false;
    file->parts[0].size = file->parts[1].size = 0;
}

static int desk_accept(void *ctx, const struct kith_collection *names)
{
    (void)names;
    ((struct desk *)ctx)->accepted++;
    return ((struct desk *)ctx)->accept_err;
}

static int desk_settle(void *ctx, uint64_t count)
{
    struct desk *desk = ctx;

    KITH_CHECK(count <= KITH_COUNT(desk->files));
    desk->settled = count;
    return 0;
}

static int desk_place(void *ctx, uint64_t index, struct kith_slice name)
{
    struct memory_file *file = &((struct desk *)ctx)->files[index];

    KITH_CHECK(file->is_made);
    KITH_CHECK(index < ((struct desk *)ctx)->settled);
    snprintf(file->placed_as, sizeof file->placed_as, "%.*s!", (int)name.size, (const char *)name.ptr);
    return 0;
}

static int desk_clean(void *ctx)
{
    ((struct desk *)ctx)->cleaned++;
    return 0;
}

static void desk_init(struct desk *desk)
{
    memset(desk, 0, sizeof *desk);
    desk->space = UINT64_MAX;
    for (size_t i = 0; i < KITH_COUNT(desk->files); i++)
        for (int j = 0; j < 2; j++)
            kith__buf_init(&desk->files[i].parts[j], kith_mem_default());
    the_desk = desk;
}

static void desk_free(struct desk *desk)
{
    for (size_t i = 0; i < KITH_COUNT(desk->files); i++)
        for (int j = 0; j < 2; j++) {
            KITH_CHECK(!desk->files[i].is_open);
            kith__buf_dispose(&desk->files[i].parts[j]);
        }
}

/* ---- The wire between ---- */

struct wire {
    uint64_t lie_at;    /* this byte of the answers is wrong; UINT64_MAX: none */
    uint64_t die_after; /* bytes of answers that come through; UINT64_MAX: all */
    size_t piece;       /* size of the pieces */
    uint64_t passed;
    uint64_t total, payload;  /* what the provider says of the last request */
    struct kith_buf requests; /* the last request */
    int request_count;
};

static void wire_init(struct wire *wire)
{
    *wire = (struct wire) { .lie_at = UINT64_MAX, .die_after = UINT64_MAX, .piece = 1400 };
    kith__buf_init(&wire->requests, kith_mem_default());
}

/* Carries one answer. Returns false when the getter is done with this stream. */
static bool carry(struct wire *wire, struct kith_getter *getter, struct kith_slice bytes)
{
    static uint8_t copy[1 << 20];

    for (size_t at = 0, size; at < bytes.size; at += size) {
        size = bytes.size - at < wire->piece ? bytes.size - at : wire->piece;
        if (wire->passed + size > wire->die_after)
            size = (size_t)(wire->die_after - wire->passed);
        memcpy(copy, bytes.ptr + at, size);
        if (wire->lie_at >= wire->passed && wire->lie_at < wire->passed + size)
            copy[wire->lie_at - wire->passed] ^= 1;
        wire->passed += size;
        if (size > 0 && kith__getter_receive(getter, (struct kith_slice) { copy, size }) == KITH_ERR_END)
            return false;
        if (wire->passed == wire->die_after)
            break;
    }
    return true;
}

static void exchange(struct shelf *shelf, const struct kith_mem *mem, struct wire *wire, struct kith_getter *getter)
{
    struct kith_blob_store store = { shelf_open, shelf_close, shelf_size, shelf };
    struct kith_slice request = kith__getter_request(getter), bytes;
    struct kith_provider provider;
    bool going = true;
    int err = 0;

    wire->requests.size = 0;
    wire->request_count++;
    KITH_CHECK_EQ(kith__buf_append(&wire->requests, request.ptr, request.size), 0);
    kith__getter_on_requested(getter);
    kith__provider_init(&provider, mem, &store);
    kith__provider_receive(&provider, (struct kith_slice) { wire->requests.ptr, 1 }, false);
    KITH_CHECK_NE(kith__provider_peek(&provider, &bytes), 0); /* nothing is answered before the request has ended */
    kith__provider_receive(&provider, (struct kith_slice) { wire->requests.ptr + 1, wire->requests.size - 1 }, true);
    while (going && wire->passed < wire->die_after && (err = kith__provider_peek(&provider, &bytes)) == 0) {
        going = carry(wire, getter, bytes);
        kith__provider_take(&provider, bytes.size);
    }
    if (provider.is_understood)
        wire->total = kith__provider_total(&provider);
    wire->payload = kith__provider_payload(&provider);
    if (going && wire->passed == wire->die_after)
        kith__getter_on_end(getter, KITH_ERR_CLOSED_BY_PEER, 0);
    else if (going && provider.end == KITH_PROVIDER_FIN)
        kith__getter_on_end(getter, KITH_ERR_END, 0);
    else if (going)
        kith__getter_on_end(getter, KITH_ERR_RESET, provider.code);
    kith__provider_dispose(&provider);
}

/* Runs a whole get; returns how it ended. *out: the getter's last state, disposed of. */
static int run(struct shelf *shelf, struct desk *desk, struct wire *wire, const struct kith_getter_options *options,
               const struct kith_mem *mem, struct kith_getter *out)
{
    struct kith_get_store store = { desk_open,   desk_close, desk_discard, desk_accept,
                                    desk_settle, desk_place, desk_clean,   desk };
    struct kith_getter *getter = out;
    int err = kith__getter_init(getter, mem, options, &store);

    if (err != 0)
        return err;
    wire->passed = 0;
    while (getter->step != KITH_GETTER_DONE && getter->step != KITH_GETTER_FAILED) {
        if (getter->step == KITH_GETTER_WORK)
            kith__getter_work(getter);
        else
            exchange(shelf, mem, wire, getter);
    }
    kith__getter_dispose(getter);
    return getter->step == KITH_GETTER_DONE ? 0 : getter->err;
}

struct scene {
    struct shelf shelf;
    struct desk desk;
    struct wire wire;
    struct kith_getter getter;
    struct kith_getter_options options;
};

static struct scene *scene_new(void)
{
    struct scene *scene = calloc(1, sizeof *scene);

    desk_init(&scene->desk);
    wire_init(&scene->wire);
    return scene;
}

static void scene_free(struct scene *scene)
{
    shelf_free(&scene->shelf);
    desk_free(&scene->desk);
    kith__buf_dispose(&scene->wire.requests);
    free(scene);
}

static int scene_run(struct scene *scene)
{
    return run(&scene->shelf, &scene->desk, &scene->wire, &scene->options, kith_mem_default(), &scene->getter);
}

static void check_data(const struct memory_file *file, const uint8_t *bytes, uint64_t size)
{
    KITH_CHECK_EQ(file->parts[KITH_PARTIAL_DATA].size, size);
    if (size > 0)
        KITH_CHECK_BYTES(file->parts[KITH_PARTIAL_DATA].ptr, bytes, size);
}

KITH_TEST(blobs_of_every_size_come_over)
{
    static const uint64_t sizes[] = { 0,     1,     1023,  1024,   1025,    2048,    16383,
                                      16384, 16385, 49152, 100000, 1 << 20, 1048579, 3000001 };
    static const size_t pieces[] = { 1, 1400, 65536 };

    for (size_t i = 0; i < KITH_COUNT(sizes); i++)
        for (size_t j = 0; j < KITH_COUNT(pieces); j++) {
            struct scene *scene = scene_new();
            struct blob *blob = shelf_add(&scene->shelf, NULL, sizes[i]);

            if (pieces[j] == 1 && sizes[i] > 20000) {
                scene_free(scene);
                continue;
            }
            scene->wire.piece = pieces[j];
            scene->options.hash = blob->hash;
            KITH_CHECK_EQ(scene_run(scene), 0);
            check_data(&scene->desk.files[0], blob->bytes, sizes[i]);
            KITH_CHECK_STR(scene->desk.files[0].placed_as, "!");
            KITH_CHECK_EQ(scene->getter.progress.bytes_done, sizes[i]);
            KITH_CHECK_EQ(scene->getter.progress.bytes_total, sizes[i]);
            KITH_CHECK_EQ(scene->getter.progress.bytes_wire, 8 + sizes[i] + kith__outboard_size(sizes[i]));
            KITH_CHECK_EQ(scene->wire.total, sizes[i]);
            KITH_CHECK_EQ(scene->wire.payload, sizes[i]);
            KITH_CHECK_EQ(scene->desk.cleaned, 1);
            scene_free(scene);
        }
}

KITH_TEST(the_tree_file_holds_the_outboard_of_the_reference)
{
    struct scene *scene = scene_new();
    struct blob *blob = shelf_add(&scene->shelf, NULL, 1000000);
    const struct kith_buf *tree = &scene->desk.files[0].parts[KITH_PARTIAL_TREE];

    scene->options.hash = blob->hash;
    KITH_CHECK_EQ(scene_run(scene), 0);
    KITH_CHECK_EQ(tree->size, KITH_PARTIAL_HEAD_SIZE + kith__outboard_size(1000000));
    KITH_CHECK_BYTES(tree->ptr + KITH_PARTIAL_HEAD_SIZE, blob->outboard, kith__outboard_size(1000000));
    scene_free(scene);
}

KITH_TEST(ranges_come_over)
{
    static const struct {
        uint64_t first, end, size, offset;
    } rows[] = {
        { 0, 1, 1024, 0 },
        { 5, 7, 2048, 5120 },
        { 15, 17, 2048, 15360 },
        { 16, 32, 16384, 16384 },
        { 90, 98, 100000 - 92160, 92160 },
        { 90, 500, 100000 - 92160, 92160 },
        { 97, 98, 672, 99328 },
        { 0, UINT64_MAX, 100000, 0 },
    };

    for (size_t i = 0; i < KITH_COUNT(rows); i++) {
        struct scene *scene = scene_new();
        struct blob *blob = shelf_add(&scene->shelf, NULL, 100000);

        scene->options = (struct kith_getter_options) { blob->hash, KITH_BLOB_RAW, rows[i].first, rows[i].end, 0 };
        KITH_CHECK_EQ(scene_run(scene), 0);
        check_data(&scene->desk.files[0], blob->bytes + rows[i].offset, rows[i].size);
        KITH_CHECK_EQ(scene->getter.progress.bytes_total, rows[i].size);
        scene_free(scene);
    }
}

KITH_TEST(a_range_beyond_the_end_is_an_error)
{
    struct scene *scene = scene_new();
    struct blob *blob = shelf_add(&scene->shelf, NULL, 100000);

    scene->options = (struct kith_getter_options) { blob->hash, KITH_BLOB_RAW, 98, 100, 0 };
    KITH_CHECK_EQ(scene_run(scene), KITH_ERR_INVALID);
    scene_free(scene);
}

KITH_TEST(a_cut_transfer_goes_on_where_it_stopped)
{
    static const uint8_t resume[] = { 0x02, 0x00, 0x01, 0xa0, 0x02, 0x01, 0x00 };
    struct scene *scene = scene_new();
    struct blob *blob = shelf_add(&scene->shelf, NULL, 1000000);

    scene->options.hash = blob->hash;
    scene->wire.die_after = 300000;
    KITH_CHECK_EQ(scene_run(scene), KITH_ERR_CLOSED_BY_PEER);
    KITH_CHECK_EQ(scene->desk.files[0].parts[KITH_PARTIAL_DATA].size, 294912);
    KITH_CHECK_STR(scene->desk.files[0].placed_as, "");
    scene->wire.die_after = UINT64_MAX;
    KITH_CHECK_EQ(scene_run(scene), 0);
    /* The very bytes that a real getter sent (spec/05, 3.3 and 4.6), and the size of the real answer. */
    KITH_CHECK_EQ(scene->wire.requests.size, 33 + sizeof resume);
    KITH_CHECK_BYTES(scene->wire.requests.ptr + 33, resume, sizeof resume);
    KITH_CHECK_EQ(scene->getter.progress.bytes_wire, 707976);
    KITH_CHECK_EQ(scene->getter.progress.bytes_resumed, 294912);
    check_data(&scene->desk.files[0], blob->bytes, 1000000);
    scene_free(scene);
}

KITH_TEST(a_cut_at_any_place_is_resumed)
{
    uint64_t seed = kith__test_seed(7);

    for (int round = 0; round < 40; round++) {
        struct scene *scene = scene_new();
        struct blob *blob = shelf_add(&scene->shelf, NULL, 100000 + round);
        int tries = 0;

        scene->options.hash = blob->hash;
        scene->wire.piece = 1 + kith__test_random(&seed) % 40000;
        do {
            scene->wire.die_after = kith__test_random(&seed) % 60000 + 30000;
            KITH_CHECK(++tries < 20);
        } while (scene_run(scene) != 0);
        check_data(&scene->desk.files[0], blob->bytes, blob->size);
        scene_free(scene);
    }
}

KITH_TEST(what_is_on_the_disk_is_not_trusted)
{
    struct scene *scene = scene_new();
    struct blob *blob = shelf_add(&scene->shelf, NULL, 1000000);

    scene->options.hash = blob->hash;
    scene->wire.die_after = 500000;
    KITH_CHECK_NE(scene_run(scene), 0);
    scene->desk.files[0].parts[KITH_PARTIAL_DATA].ptr[5 * KITH_GROUP_SIZE + 17] ^= 4;
    scene->desk.files[0].parts[KITH_PARTIAL_TREE].ptr[KITH_PARTIAL_HEAD_SIZE + 20 * KITH_PAIR_SIZE] ^= 4;
    scene->wire.die_after = UINT64_MAX;
    KITH_CHECK_EQ(scene_run(scene), 0);
    KITH_CHECK(scene->getter.progress.bytes_resumed > 100000 && scene->getter.progress.bytes_resumed < 490000);
    check_data(&scene->desk.files[0], blob->bytes, 1000000);
    scene_free(scene);
}

KITH_TEST(a_lie_in_one_byte_is_named_and_the_rest_is_kept)
{
    struct scene *scene = scene_new();
    struct blob *blob = shelf_add(&scene->shelf, NULL, 1000000);

    scene->options.hash = blob->hash;
    scene->wire.lie_at = 300000; /* in the 19th group: 18 are complete before it */
    KITH_CHECK_EQ(scene_run(scene), KITH_ERR_HASH);
    KITH_CHECK(scene->getter.has_failed_chunk);
    KITH_CHECK_EQ(scene->getter.failed_chunk, 288);
    scene->wire.lie_at = UINT64_MAX;
    KITH_CHECK_EQ(scene_run(scene), 0);
    KITH_CHECK_EQ(scene->getter.progress.bytes_resumed, 294912);
    KITH_CHECK_EQ(scene->getter.progress.bytes_wire, 707976);
    check_data(&scene->desk.files[0], blob->bytes, 1000000);
    scene_free(scene);
}

KITH_TEST(a_lie_about_the_size_costs_one_try_more)
{
    struct scene *scene = scene_new();
    struct blob *blob = shelf_add(&scene->shelf, NULL, 1000000);

    scene->options.hash = blob->hash;
    scene->wire.lie_at = 0; /* 1,000,001 bytes: all but the last group, which lacks a byte, is right, and is kept */
    KITH_CHECK_EQ(scene_run(scene), KITH_ERR_TRUNCATED);
    scene->wire.lie_at = UINT64_MAX;
    scene->wire.request_count = 0;
    KITH_CHECK_EQ(scene_run(scene), 0);
    KITH_CHECK_EQ(scene->wire.request_count, 2); /* for the rest, and then, since its size is another one, for all */
    KITH_CHECK_EQ(scene->getter.progress.bytes_resumed, 0);
    KITH_CHECK_EQ(scene->getter.progress.bytes_done, 1000000);
    check_data(&scene->desk.files[0], blob->bytes, 1000000);
    scene_free(scene);
}

/* Once the last chunk was there, another size is a lie, and no reason to give up what is here. */
KITH_TEST(a_lie_about_a_proven_size_is_found_and_nothing_is_lost)
{
    struct scene *scene = scene_new();
    struct blob *blob = shelf_add(&scene->shelf, NULL, 1000000);

    scene->options.hash = blob->hash;
    KITH_CHECK_EQ(scene_run(scene), 0);
    scene->desk.files[0].parts[KITH_PARTIAL_DATA].ptr[5 * KITH_GROUP_SIZE + 17] ^= 4;
    scene->wire.lie_at = 0;
    KITH_CHECK_EQ(scene_run(scene), KITH_ERR_HASH);
    KITH_CHECK(scene->getter.has_failed_chunk);
    scene->wire.lie_at = UINT64_MAX;
    KITH_CHECK_EQ(scene_run(scene), 0);
    KITH_CHECK_EQ(scene->getter.progress.bytes_resumed, 1000000 - KITH_GROUP_SIZE);
    check_data(&scene->desk.files[0], blob->bytes, 1000000);
    scene_free(scene);
}

KITH_TEST(a_lie_anywhere_never_gets_through)
{
    uint64_t whole = 8 + 50001 + kith__outboard_size(50001);

    for (uint64_t at = 0; at < whole; at += at < 300 ? 1 : 997) {
        struct scene *scene = scene_new();
        struct blob *blob = shelf_add(&scene->shelf, NULL, 50001);
        int err;

        scene->options.hash = blob->hash;
        scene->wire.lie_at = at;
        err = scene_run(scene);
        KITH_CHECK(err == KITH_ERR_HASH || err == KITH_ERR_TRUNCATED);
        KITH_CHECK_STR(scene->desk.files[0].placed_as, "");
        scene->wire.lie_at = UINT64_MAX;
        KITH_CHECK_EQ(scene_run(scene), 0);
        check_data(&scene->desk.files[0], blob->bytes, 50001);
        scene_free(scene);
    }
}

KITH_TEST(an_unknown_blob_is_not_found)
{
    struct scene *scene = scene_new();

    scene->options.hash.bytes[3] = 9;
    KITH_CHECK_EQ(scene_run(scene), KITH_ERR_NOT_FOUND);
    KITH_CHECK(!scene->desk.files[0].is_made); /* nothing is left behind */
    scene_free(scene);
}

KITH_TEST(a_file_that_changed_never_leaves)
{
    struct scene *scene = scene_new();
    struct blob *blob = shelf_add(&scene->shelf, NULL, 100000);

    scene->options.hash = blob->hash;
    blob->bytes[70000] ^= 1;
    KITH_CHECK_EQ(scene_run(scene), KITH_ERR_TRUNCATED);
    blob->bytes[70000] ^= 1;
    blob->size = 90000; /* cut */
    KITH_CHECK_NE(scene_run(scene), 0);
    blob->size = 100000;
    KITH_CHECK_EQ(scene_run(scene), 0);
    scene_free(scene);
}

KITH_TEST(a_full_disk_ends_the_fetch_and_can_be_resumed)
{
    struct scene *scene = scene_new();
    struct blob *blob = shelf_add(&scene->shelf, NULL, 5000000);

    scene->options.hash = blob->hash;
    scene->desk.space = 2500000;
    KITH_CHECK_EQ(scene_run(scene), KITH_ERR_NO_SPACE);
    KITH_CHECK_STR(scene->desk.files[0].placed_as, "");
    scene->desk.space = UINT64_MAX;
    KITH_CHECK_EQ(scene_run(scene), 0);
    KITH_CHECK(scene->getter.progress.bytes_resumed >= 2 << 20);
    check_data(&scene->desk.files[0], blob->bytes, 5000000);
    scene_free(scene);
}

/* ---- Collections ---- */

struct named {
    const char *name;
    uint64_t size;
};

static struct kith_hash collection_of(struct shelf *shelf, const struct named *files, size_t count)
{
    struct kith_buf names, root;
    struct kith_hash hash;

    kith__buf_init(&names, kith_mem_default());
    kith__buf_init(&root, kith_mem_default());
    KITH_CHECK_EQ(kith__collection_begin(&names, count), 0);
    for (size_t i = 0; i < count; i++)
        KITH_CHECK_EQ(kith__collection_append_name(
                          &names, (struct kith_slice) { (const uint8_t *)files[i].name, strlen(files[i].name) }),
                      0);
    KITH_CHECK_EQ(kith__buf_append(&root, shelf_add(shelf, names.ptr, names.size)->hash.bytes, KITH_HASH_SIZE), 0);
    for (size_t i = 0; i < count; i++)
        KITH_CHECK_EQ(kith__buf_append(&root, shelf_add(shelf, NULL, files[i].size)->hash.bytes, KITH_HASH_SIZE), 0);
    hash = shelf_add(shelf, root.ptr, root.size)->hash;
    kith__buf_dispose(&names);
    kith__buf_dispose(&root);
    return hash;
}

static const struct named some_files[] = { { "d/a", 1 }, { "d/b", 100000 }, { "d/e/empty", 0 }, { "d/e/z", 16385 } };

static void check_some_files(struct scene *scene)
{
    for (size_t i = 0; i < KITH_COUNT(some_files); i++) {
        char placed[64];

        snprintf(placed, sizeof placed, "%s!", some_files[i].name);
        KITH_CHECK_STR(scene->desk.files[i].placed_as, placed);
        check_data(&scene->desk.files[i], scene->shelf.blobs[1 + i].bytes, some_files[i].size);
    }
}

KITH_TEST(a_collection_comes_over)
{
    struct scene *scene = scene_new();

    scene->options.hash = collection_of(&scene->shelf, some_files, KITH_COUNT(some_files));
    scene->options.format = KITH_BLOB_HASH_SEQ;
    KITH_CHECK_EQ(scene_run(scene), 0);
    check_some_files(scene);
    KITH_CHECK_EQ(scene->wire.request_count, 2);
    KITH_CHECK_EQ(scene->wire.total, 116386);
    KITH_CHECK_EQ(scene->wire.payload, 116386);
    KITH_CHECK_EQ(scene->getter.progress.bytes_total, 116386);
    KITH_CHECK_EQ(scene->getter.progress.bytes_done, 116386);
    KITH_CHECK_EQ(scene->getter.progress.files_done, 4);
    KITH_CHECK_EQ(scene->getter.progress.files_total, 4);
    scene_free(scene);
}

KITH_TEST(a_cut_collection_goes_on_where_it_stopped)
{
    uint64_t seed = kith__test_seed(11);

    for (int round = 0; round < 20; round++) {
        struct scene *scene = scene_new();
        uint64_t before = 0;
        int tries = 0;

        scene->options.hash = collection_of(&scene->shelf, some_files, KITH_COUNT(some_files));
        scene->options.format = KITH_BLOB_HASH_SEQ;
        scene->wire.piece = 1 + kith__test_random(&seed) % 20000;
        for (;;) {
            scene->wire.die_after = kith__test_random(&seed) % 70000 + 20000;
            KITH_CHECK(++tries < 30);
            if (scene_run(scene) == 0)
                break;
            KITH_CHECK(scene->getter.progress.bytes_resumed >= before);
            before = scene->getter.progress.bytes_resumed;
        }
        KITH_CHECK_EQ(scene->getter.progress.bytes_done, 116386);
        check_some_files(scene);
        scene_free(scene);
    }
}

KITH_TEST(names_that_lead_elsewhere_are_refused_before_anything_is_fetched)
{
    static const char *const evil[] = {
        "../a", "/etc/passwd", "a//b", ".", "d/..", "", "a\\b", "c:x", "a\nb", "d/./x"
    };

    for (size_t i = 0; i < KITH_COUNT(evil); i++) {
        struct scene *scene = scene_new();
        struct named files[2] = { { "good", 1 }, { evil[i], 50000 } };

        scene->options.hash = collection_of(&scene->shelf, files, 2);
        scene->options.format = KITH_BLOB_HASH_SEQ;
        KITH_CHECK_EQ(scene_run(scene), KITH_ERR_PARSE);
        KITH_CHECK(scene->getter.problem != NULL);
        KITH_CHECK_STR(scene->getter.failed_name, evil[i]);
        KITH_CHECK_EQ(scene->desk.accepted, 0);
        KITH_CHECK(!scene->desk.files[0].is_made && !scene->desk.files[1].is_made);
        scene_free(scene);
    }
}

KITH_TEST(names_that_are_in_each_others_way_are_refused)
{
    static const struct named pairs[][2] = { { { "a", 1 }, { "a", 2 } },       { { "a", 1 }, { "a/b", 2 } },
                                             { { "a/b", 1 }, { "a", 2 } },     { { "a/b/c", 1 }, { "a/b", 2 } },
                                             { { "a/b", 1 }, { "a/b/c", 2 } }, { { "a/b/c", 1 }, { "a/b/c", 2 } } };

    for (size_t i = 0; i < KITH_COUNT(pairs); i++) {
        struct scene *scene = scene_new();

        scene->options.hash = collection_of(&scene->shelf, pairs[i], 2);
        scene->options.format = KITH_BLOB_HASH_SEQ;
        KITH_CHECK_EQ(scene_run(scene), KITH_ERR_PARSE);
        scene_free(scene);
    }
}

KITH_TEST(names_that_only_share_letters_or_directories_are_taken)
{
    static const struct named files[] = { { "a/b", 1 },  { "a/c", 1 },        { "a/bb", 1 }, { "a/b.d/c", 1 },
                                          { "ab/c", 1 }, { "a/b.d/cc/e", 1 }, { "abc", 1 } };
    struct scene *scene = scene_new();

    scene->options.hash = collection_of(&scene->shelf, files, KITH_COUNT(files));
    scene->options.format = KITH_BLOB_HASH_SEQ;
    KITH_CHECK_EQ(scene_run(scene), 0);
    scene_free(scene);
}

/* `file_count` files, and `count` names of `depth` components, none of which the names share. */
static struct kith_hash deep_collection(struct shelf *shelf, size_t file_count, size_t count, size_t depth)
{
    struct kith_hash file = shelf_add(shelf, NULL, 1)->hash;
    struct kith_buf names, root;
    struct kith_hash hash;
    char name[512];

    kith__buf_init(&names, kith_mem_default());
    kith__buf_init(&root, kith_mem_default());
    KITH_CHECK_EQ(kith__collection_begin(&names, count), 0);
    for (size_t i = 0; i < count; i++) {
        size_t size = (size_t)snprintf(name, sizeof name, "%zu", i);

        for (size_t k = 1; k < depth; k++, size += 2)
            memcpy(name + size, "/a", 2);
        KITH_CHECK_EQ(kith__collection_append_name(&names, (struct kith_slice) { (uint8_t *)name, size }), 0);
    }
    KITH_CHECK_EQ(kith__buf_append(&root, shelf_add(shelf, names.ptr, names.size)->hash.bytes, KITH_HASH_SIZE), 0);
    for (size_t i = 0; i < file_count; i++)
        KITH_CHECK_EQ(kith__buf_append(&root, file.bytes, KITH_HASH_SIZE), 0);
    hash = shelf_add(shelf, root.ptr, root.size)->hash;
    kith__buf_dispose(&names);
    kith__buf_dispose(&root);
    return hash;
}

KITH_TEST(as_many_names_as_files_are_wanted)
{
    for (size_t count = 2; count <= 4; count++) {
        struct scene *scene = scene_new();

        scene->options.hash = deep_collection(&scene->shelf, 3, count, 1);
        scene->options.format = KITH_BLOB_HASH_SEQ;
        KITH_CHECK_EQ(scene_run(scene), count == 3 ? 0 : KITH_ERR_PARSE);
        KITH_CHECK_EQ(scene->desk.accepted, count == 3);
        scene_free(scene);
    }
}

KITH_TEST(names_with_endless_directories_are_refused)
{
    struct scene *scene = scene_new();

    scene->options.hash = deep_collection(&scene->shelf, KITH_COLLECTION_PARTS_MAX / 240 + 1,
                                          KITH_COLLECTION_PARTS_MAX / 240 + 1, 240);
    scene->options.format = KITH_BLOB_HASH_SEQ;
    KITH_CHECK_EQ(scene_run(scene), KITH_ERR_TOO_LARGE);
    KITH_CHECK_STR(scene->getter.problem, "the collection has too many directories");
    KITH_CHECK_EQ(scene->desk.accepted, 0);
    scene_free(scene);
}

KITH_TEST(a_target_that_exists_stops_a_collection_before_it_is_fetched)
{
    struct scene *scene = scene_new();

    scene->options.hash = collection_of(&scene->shelf, some_files, KITH_COUNT(some_files));
    scene->options.format = KITH_BLOB_HASH_SEQ;
    scene->desk.accept_err = KITH_ERR_EXISTS;
    KITH_CHECK_EQ(scene_run(scene), KITH_ERR_EXISTS);
    KITH_CHECK_EQ(scene->getter.progress.bytes_done, 0);
    KITH_CHECK(!scene->desk.files[0].is_made);
    scene_free(scene);
}

KITH_TEST(what_is_not_a_collection_is_refused)
{
    static const uint64_t sizes[] = { 0, 31, 33, 32, 64, 96 };

    for (size_t i = 0; i < KITH_COUNT(sizes); i++) {
        struct scene *scene = scene_new();

        scene->options.hash = shelf_add(&scene->shelf, NULL, sizes[i])->hash;
        scene->options.format = KITH_BLOB_HASH_SEQ;
        KITH_CHECK(scene_run(scene) != 0);
        scene_free(scene);
    }
}

/* ---- Failing memory ---- */

static void fail_allocations(bool is_collection)
{
    for (uint64_t n = 1;; n++) {
        struct scene *scene = scene_new();
        struct kith_test_mem memory;
        int err;

        kith__test_mem_init(&memory, n);
        scene->options.hash = is_collection ? collection_of(&scene->shelf, some_files, KITH_COUNT(some_files))
                                            : shelf_add(&scene->shelf, NULL, 100000)->hash;
        scene->options.format = is_collection ? KITH_BLOB_HASH_SEQ : KITH_BLOB_RAW;
        err = run(&scene->shelf, &scene->desk, &scene->wire, &scene->options, &memory.mem, &scene->getter);
        KITH_CHECK_EQ(memory.live, 0);
        scene_free(scene);
        if (err == 0 && memory.calls < n)
            return;
        KITH_CHECK(n < 1000);
    }
}

KITH_TEST(every_failing_allocation_of_a_transfer_is_survived)
{
    fail_allocations(false);
}

KITH_TEST(every_failing_allocation_of_a_collection_is_survived)
{
    fail_allocations(true);
}
