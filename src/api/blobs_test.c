/* Files over a real connection on loopback: provider and receiver in one process, one loop. */
#include "api/blobs_parts.h"
#include "base/test.h"
#include "blobs/request.h"
#include <kith/kith.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t limit = 20 * KITH_NS_PER_S;

struct scene {
    char dir[64];
    struct kith_context *context;
    struct kith_endpoint *server, *client;
    struct kith_blobs *blobs;
    struct kith_conn *conn;
};

static void file_make(const struct scene *scene, const char *name, size_t size)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", scene->dir, name);
    file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < size; i++)
        fputc((int)(i % 251), file);
    KITH_CHECK_EQ(fclose(file), 0);
}

static void dir_make(const struct scene *scene, const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", scene->dir, name);
    KITH_CHECK_EQ(mkdir(path, 0755), 0);
}

/* True if the file holds bytes [offset, offset + size) of the pattern and nothing else. */
static bool file_is(const struct scene *scene, const char *name, size_t offset, size_t size)
{
    char path[256];
    FILE *file;
    int byte;
    size_t i = 0;

    snprintf(path, sizeof path, "%s/%s", scene->dir, name);
    if ((file = fopen(path, "rb")) == NULL)
        return false;
    while ((byte = fgetc(file)) != EOF && byte == (int)((offset + i) % 251))
        i++;
    fclose(file);
    return byte == EOF && i == size;
}

static bool exists(const struct scene *scene, const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", scene->dir, name);
    return access(path, F_OK) == 0;
}

static void connect_client(struct scene *scene)
{
    struct kith_op *accept;
    struct kith_addr addr;

    kith_endpoint_addr(scene->server, &addr);
    KITH_CHECK_EQ(kith_accept_start(scene->server, &accept), 0);
    KITH_CHECK_EQ(kith_connect(scene->client, &addr, KITH_BLOBS_ALPN, limit, &scene->conn), 0);
    KITH_CHECK_EQ(kith_op_wait(accept, limit), 0);
    KITH_CHECK_EQ(kith_blobs_serve(scene->blobs, kith_op_take_conn(accept)), 0);
    kith_op_free(accept);
}

static void scene_open_with(struct scene *scene, const struct kith_blobs_options *with)
{
    struct kith_context_options context = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER };
    static const char *const alpns[] = { KITH_BLOBS_ALPN, NULL };
    struct kith_sockaddr local;
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT };
    struct kith_blobs_options blobs = *with;
    char cache[96];

    memset(scene, 0, sizeof *scene);
    strcpy(scene->dir, "/tmp/kith-blobs-XXXXXX");
    assert_non_null(mkdtemp(scene->dir));
    KITH_CHECK_EQ(kith_sockaddr_parse("127.0.0.1:0", &local), 0);
    KITH_CHECK_EQ(kith_context_new(&context, &scene->context), 0);
    options.context = scene->context;
    options.binds = &local;
    options.bind_count = 1;
    KITH_CHECK_EQ(kith_endpoint_bind(&options, &scene->client), 0);
    options.alpns = alpns;
    KITH_CHECK_EQ(kith_endpoint_bind(&options, &scene->server), 0);
    snprintf(cache, sizeof cache, "%s/cache", scene->dir);
    blobs.cache_directory = cache;
    KITH_CHECK_EQ(kith_blobs_new(scene->server, &blobs, &scene->blobs), 0);
    connect_client(scene);
}

static void scene_open(struct scene *scene)
{
    scene_open_with(scene, &(struct kith_blobs_options) { KITH_BLOBS_OPTIONS_INIT });
}

static void scene_close(struct scene *scene)
{
    char command[128];

    kith_conn_free(scene->conn);
    kith_blobs_free(scene->blobs);
    kith_endpoint_close(scene->client, KITH_NS_PER_S);
    kith_endpoint_close(scene->server, KITH_NS_PER_S);
    kith_context_free(scene->context);
    snprintf(command, sizeof command, "rm -rf %s", scene->dir);
    KITH_CHECK_EQ(system(command), 0);
}

static struct kith_blobs_added add(struct scene *scene, const char *name, int flags)
{
    struct kith_blobs_added added = { 0 };
    struct kith_op *op;
    char path[256];

    snprintf(path, sizeof path, "%s/%s", scene->dir, name);
    KITH_CHECK_EQ(kith_blobs_add_start(scene->blobs, path, flags, &op), 0);
    KITH_CHECK_EQ(kith_op_wait(op, limit), 0);
    KITH_CHECK_EQ(kith_blobs_added(op, &added), 0);
    kith_op_free(op);
    return added;
}

/* Gets it; returns how that went. progress may be NULL. */
static int get(struct scene *scene, struct kith_blobs_get_options *options, const char *target,
               struct kith_blobs_progress *progress)
{
    struct kith_op *op;
    char path[256];
    int err;

    snprintf(path, sizeof path, "%s/%s", scene->dir, target);
    options->size = sizeof *options;
    options->target = path;
    if ((err = kith_blobs_get_start(scene->conn, options, &op)) != 0)
        return err;
    err = kith_op_wait(op, limit);
    if (progress != NULL)
        KITH_CHECK_EQ(kith_blobs_progress(op, progress), 0);
    kith_op_free(op);
    return err;
}

KITH_TEST(files_of_every_size_come_over_a_connection)
{
    static const size_t sizes[] = { 0, 1, 1023, 1024, 1025, 16383, 16384, 16385, (1 << 20) + 3, 20000000 };
    struct scene scene;

    scene_open(&scene);
    for (size_t i = 0; i < KITH_COUNT(sizes); i++) {
        struct kith_blobs_get_options options = { 0 };
        struct kith_blobs_progress progress;
        char from[16], to[16];

        snprintf(from, sizeof from, "from%zu", i);
        snprintf(to, sizeof to, "to%zu", i);
        file_make(&scene, from, sizes[i]);
        options.hash = add(&scene, from, 0).hash;
        KITH_CHECK_EQ(get(&scene, &options, to, &progress), 0);
        KITH_CHECK(file_is(&scene, to, 0, sizes[i]));
        KITH_CHECK_EQ(progress.bytes_done, sizes[i]);
        KITH_CHECK_EQ(progress.phase, KITH_BLOBS_PHASE_DONE);
    }
    scene_close(&scene);
}

KITH_TEST(a_range_of_a_file_comes_over_a_connection)
{
    struct scene scene;
    struct kith_blobs_get_options options = { .chunk_first = 90, .chunk_end = 98 };

    scene_open(&scene);
    file_make(&scene, "from", 100000);
    options.hash = add(&scene, "from", 0).hash;
    KITH_CHECK_EQ(get(&scene, &options, "to", NULL), 0);
    KITH_CHECK(file_is(&scene, "to", 90 * 1024, 100000 - 90 * 1024));
    scene_close(&scene);
}

KITH_TEST(a_directory_comes_over_a_connection)
{
    struct scene scene;
    struct kith_blobs_get_options options = { .format = KITH_BLOB_HASH_SEQ };
    struct kith_blobs_progress progress;
    struct kith_blobs_added added;

    scene_open(&scene);
    dir_make(&scene, "d");
    dir_make(&scene, "d/e");
    dir_make(&scene, "d/nothing");
    file_make(&scene, "d/a", 1);
    file_make(&scene, "d/b", 3000000);
    file_make(&scene, "d/e/empty", 0);
    file_make(&scene, "d/e/z", 16385);
    added = add(&scene, "d/", 0);
    KITH_CHECK_EQ(added.file_count, 4);
    KITH_CHECK_EQ(added.size, 3016386);
    KITH_CHECK_EQ(added.format, KITH_BLOB_HASH_SEQ);
    options.hash = added.hash;
    KITH_CHECK_EQ(get(&scene, &options, "out", &progress), 0);
    KITH_CHECK(file_is(&scene, "out/d/a", 0, 1));
    KITH_CHECK(file_is(&scene, "out/d/b", 0, 3000000));
    KITH_CHECK(file_is(&scene, "out/d/e/empty", 0, 0));
    KITH_CHECK(file_is(&scene, "out/d/e/z", 0, 16385));
    KITH_CHECK_EQ(progress.files_done, 4);
    KITH_CHECK_EQ(progress.bytes_total, 3016386);
    /* Nothing else is left in the target, and a second time is refused before anything is fetched. */
    KITH_CHECK_EQ(rmdir("out"), -1);
    KITH_CHECK_EQ(get(&scene, &options, "out", &progress), KITH_ERR_EXISTS);
    options.replace = true;
    KITH_CHECK_EQ(get(&scene, &options, "out", &progress), 0);
    scene_close(&scene);
}

KITH_TEST(an_existing_file_is_not_replaced_unless_asked)
{
    struct scene scene;
    struct kith_blobs_get_options options = { 0 };

    scene_open(&scene);
    file_make(&scene, "from", 50000);
    file_make(&scene, "to", 7);
    options.hash = add(&scene, "from", 0).hash;
    KITH_CHECK_EQ(get(&scene, &options, "to", NULL), KITH_ERR_EXISTS);
    KITH_CHECK(file_is(&scene, "to", 0, 7));
    options.replace = true;
    KITH_CHECK_EQ(get(&scene, &options, "to", NULL), 0);
    KITH_CHECK(file_is(&scene, "to", 0, 50000));
    scene_close(&scene);
}

KITH_TEST(a_cancelled_get_leaves_nothing_under_the_name_and_is_resumed)
{
    struct scene scene;
    struct kith_blobs_get_options options = { KITH_BLOBS_GET_OPTIONS_INIT };
    struct kith_blobs_progress progress = { 0 };
    struct kith_op *op;
    char path[256];

    scene_open(&scene);
    file_make(&scene, "from", 20000000);
    options.hash = add(&scene, "from", 0).hash;
    snprintf(path, sizeof path, "%s/to", scene.dir);
    options.target = path;
    KITH_CHECK_EQ(kith_blobs_get_start(scene.conn, &options, &op), 0);
    while (progress.bytes_done < 3000000) {
        KITH_CHECK_EQ(kith_op_wait(op, KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
        KITH_CHECK_EQ(kith_blobs_progress(op, &progress), 0);
    }
    kith_op_cancel(op);
    KITH_CHECK_EQ(kith_op_result(op), KITH_ERR_CANCELLED);
    kith_op_free(op);
    KITH_CHECK(!exists(&scene, "to"));
    KITH_CHECK_EQ(get(&scene, &options, "to", &progress), 0);
    KITH_CHECK(progress.bytes_resumed >= 3000000 - 16384);
    KITH_CHECK(progress.bytes_wire < 20000000 - 3000000 + 16384 + 100000);
    KITH_CHECK(file_is(&scene, "to", 0, 20000000));
    scene_close(&scene);
}

KITH_TEST(what_the_provider_lacks_or_has_spoiled_is_an_error)
{
    struct scene scene;
    struct kith_blobs_get_options options = { 0 };
    char path[256];
    FILE *file;

    scene_open(&scene);
    options.hash.bytes[0] = 1;
    KITH_CHECK_EQ(get(&scene, &options, "to", NULL), KITH_ERR_NOT_FOUND);
    snprintf(path, sizeof path, "%s/.kith-01%062d.data", scene.dir, 0);
    KITH_CHECK_EQ(access(path, F_OK), -1); /* nothing is left behind */
    file_make(&scene, "from", 100000);
    options.hash = add(&scene, "from", 0).hash;
    snprintf(path, sizeof path, "%s/from", scene.dir);
    file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, 70000, SEEK_SET);
    fputc(255, file);
    fclose(file);
    KITH_CHECK_NE(get(&scene, &options, "to", NULL), 0);
    KITH_CHECK(!exists(&scene, "to"));
    scene_close(&scene);
}

KITH_TEST(the_provider_tells_what_it_served)
{
    struct scene scene;
    struct kith_blobs_get_options options = { 0 };
    struct kith_blobs_event event, last = { 0 };
    struct kith_op *op;
    bool seen[KITH_BLOBS_DISCONNECTED + 1] = { false };

    scene_open(&scene);
    file_make(&scene, "from", 3000000);
    options.hash = add(&scene, "from", 0).hash;
    KITH_CHECK_EQ(get(&scene, &options, "to", NULL), 0);
    kith_conn_free(scene.conn);
    scene.conn = NULL;
    while (!seen[KITH_BLOBS_DISCONNECTED]) {
        KITH_CHECK_EQ(kith_blobs_event_start(scene.blobs, &op), 0);
        KITH_CHECK_EQ(kith_op_wait(op, limit), 0);
        kith_op_free(op);
        while (kith_blobs_next_event(scene.blobs, &event)) {
            seen[event.kind] = true;
            if (event.kind == KITH_BLOBS_COMPLETED)
                last = event;
        }
    }
    KITH_CHECK(seen[KITH_BLOBS_CONNECTED] && seen[KITH_BLOBS_REQUEST] && seen[KITH_BLOBS_COMPLETED]);
    KITH_CHECK_EQ(last.bytes_sent, 3000000);
    KITH_CHECK_EQ(last.bytes_total, 3000000);
    KITH_CHECK_EQ(memcmp(&last.hash, &options.hash, sizeof last.hash), 0);
    scene_close(&scene);
}

KITH_TEST(many_gets_go_on_at_once)
{
    enum { COUNT = 120 }; /* more than the streams that the provider allows at once */
    struct scene scene;
    struct kith_blobs_get_options options = { KITH_BLOBS_GET_OPTIONS_INIT };
    struct kith_op *ops[COUNT];
    char path[256];

    scene_open(&scene);
    file_make(&scene, "from", 200000);
    options.hash = add(&scene, "from", 0).hash;
    options.target = path;
    for (int i = 0; i < COUNT; i++) {
        char partial[256];

        snprintf(path, sizeof path, "%s/to%d", scene.dir, i);
        snprintf(partial, sizeof partial, "%s/partial%d", scene.dir, i);
        options.partial_directory = partial;
        KITH_CHECK_EQ(kith_blobs_get_start(scene.conn, &options, &ops[i]), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        char name[16];

        KITH_CHECK_EQ(kith_op_wait(ops[i], limit), 0);
        kith_op_free(ops[i]);
        snprintf(name, sizeof name, "to%d", i);
        KITH_CHECK(file_is(&scene, name, 0, 200000));
    }
    scene_close(&scene);
}

KITH_TEST(a_get_hears_of_the_end_of_its_connection)
{
    struct scene scene;
    struct kith_blobs_get_options options = { KITH_BLOBS_GET_OPTIONS_INIT };
    struct kith_op *op;
    char path[256];

    scene_open(&scene);
    file_make(&scene, "from", 20000000);
    options.hash = add(&scene, "from", 0).hash;
    snprintf(path, sizeof path, "%s/to", scene.dir);
    options.target = path;
    KITH_CHECK_EQ(kith_blobs_get_start(scene.conn, &options, &op), 0);
    KITH_CHECK_EQ(kith_op_wait(op, 5 * KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
    kith_blobs_free(scene.blobs); /* dies in the middle */
    scene.blobs = NULL;
    KITH_CHECK_NE(kith_op_wait(op, limit), KITH_ERR_TIMEOUT);
    KITH_CHECK_NE(kith_op_result(op), 0);
    kith_op_free(op);
    KITH_CHECK(!exists(&scene, "to"));
    scene_close(&scene);
}

/* Waits for one event of this kind. */
static struct kith_blobs_event wait_event(struct scene *scene, uint8_t kind)
{
    struct kith_blobs_event event;
    struct kith_op *op;

    for (;;) {
        while (kith_blobs_next_event(scene->blobs, &event)) {
            if (event.kind == kind)
                return event;
            KITH_CHECK_NE(event.kind, KITH_BLOBS_DISCONNECTED);
        }
        KITH_CHECK_EQ(kith_blobs_event_start(scene->blobs, &op), 0);
        KITH_CHECK_EQ(kith_op_wait(op, limit), 0);
        kith_op_free(op);
    }
}

KITH_TEST(a_receiver_that_stops_is_not_told_as_served)
{
    struct scene scene;
    struct kith_blobs_get_options options = { KITH_BLOBS_GET_OPTIONS_INIT };
    struct kith_blobs_progress progress = { 0 };
    struct kith_blobs_event event;
    struct kith_op *op;
    char path[256];

    scene_open(&scene);
    file_make(&scene, "from", 3000000); /* so little that the provider has written it all before anything is read */
    options.hash = add(&scene, "from", 0).hash;
    snprintf(path, sizeof path, "%s/to", scene.dir);
    options.target = path;
    KITH_CHECK_EQ(kith_blobs_get_start(scene.conn, &options, &op), 0);
    while (progress.bytes_done == 0) {
        KITH_CHECK_EQ(kith_op_wait(op, KITH_NS_PER_US), KITH_ERR_TIMEOUT);
        KITH_CHECK_EQ(kith_blobs_progress(op, &progress), 0);
    }
    KITH_CHECK(progress.bytes_done < 3000000);
    kith_conn_close(scene.conn, 0, "", 0);
    kith_op_free(op);
    event = wait_event(&scene, KITH_BLOBS_ABORTED);
    KITH_CHECK_EQ(event.err, KITH_ERR_CLOSED_BY_PEER);
    KITH_CHECK_EQ(wait_event(&scene, KITH_BLOBS_DISCONNECTED).close_code, 0);
    scene_close(&scene);
}

KITH_TEST(a_receiver_that_closes_at_once_when_it_has_all_is_served)
{
    struct scene scene;
    struct kith_blobs_get_options options = { 0 };

    scene_open(&scene);
    file_make(&scene, "from", 1000000);
    options.hash = add(&scene, "from", 0).hash;
    KITH_CHECK_EQ(get(&scene, &options, "to", NULL), 0);
    kith_conn_close(scene.conn, 7, "", 0);
    KITH_CHECK_EQ(wait_event(&scene, KITH_BLOBS_COMPLETED).bytes_sent, 1000000);
    KITH_CHECK_EQ(wait_event(&scene, KITH_BLOBS_DISCONNECTED).close_code, 7);
    scene_close(&scene);
}

KITH_TEST(what_is_no_file_is_refused_without_waiting)
{
    struct scene scene;
    struct kith_op *op;
    char path[256];

    scene_open(&scene);
    snprintf(path, sizeof path, "%s/pipe", scene.dir);
    KITH_CHECK_EQ(mkfifo(path, 0600), 0);
    KITH_CHECK_EQ(kith_blobs_add_start(scene.blobs, path, 0, &op), KITH_ERR_INVALID);
    KITH_CHECK(strstr(kith_error_last()->text, "neither a file nor a directory") != NULL);
    KITH_CHECK_EQ(kith_blobs_add_start(scene.blobs, "/dev/zero", 0, &op), KITH_ERR_INVALID);
    scene_close(&scene);
}

KITH_TEST(a_file_that_became_a_pipe_is_refused_without_waiting)
{
    struct scene scene;
    struct kith_blobs_get_options options = { 0 };
    char path[256];

    scene_open(&scene);
    file_make(&scene, "from", 100000);
    options.hash = add(&scene, "from", 0).hash;
    snprintf(path, sizeof path, "%s/from", scene.dir);
    KITH_CHECK_EQ(unlink(path), 0);
    KITH_CHECK_EQ(mkfifo(path, 0600), 0);
    KITH_CHECK_NE(get(&scene, &options, "to", NULL), 0);
    scene_close(&scene);
}

KITH_TEST(a_file_without_a_name_is_added_under_one)
{
    struct scene scene;
    struct kith_blobs_get_options options = { .format = KITH_BLOB_HASH_SEQ };
    struct kith_blobs_added added;
    struct kith_op *op;
    char path[256];
    FILE *file;

    scene_open(&scene);
    file_make(&scene, "from", 50000);
    snprintf(path, sizeof path, "%s/from", scene.dir);
    file = fopen(path, "rb");
    assert_non_null(file);
    KITH_CHECK_EQ(unlink(path), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(file));
    KITH_CHECK_EQ(kith_blobs_add_named_start(scene.blobs, path, "a/b", 1, &op), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith_blobs_add_named_start(scene.blobs, scene.dir, "b", 1, &op), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith_blobs_add_named_start(scene.blobs, path, "b", KITH_BLOBS_ADD_COLLECTION, &op), 0);
    KITH_CHECK_EQ(kith_op_wait(op, limit), 0);
    KITH_CHECK_EQ(kith_blobs_added(op, &added), 0);
    kith_op_free(op);
    options.hash = added.hash;
    KITH_CHECK_EQ(get(&scene, &options, "out", NULL), 0);
    KITH_CHECK(file_is(&scene, "out/b", 0, 50000));
    fclose(file);
    scene_close(&scene);
}

/* A stream with one byte of a request, and no end. */
static struct kith_stream *begin_request(struct scene *scene)
{
    struct kith_stream *stream;

    KITH_CHECK_EQ(kith_open_bi(scene->conn, limit, &stream), 0);
    KITH_CHECK_EQ(kith_write_all(stream, "\0", 1, 0, limit), 0);
    return stream;
}

KITH_TEST(more_requests_than_allowed_are_refused)
{
    struct kith_blobs_options with = { KITH_BLOBS_OPTIONS_INIT, .requests_max = 1 };
    struct scene scene;
    struct kith_blobs_get_options options = { 0 };
    struct kith_stream *stream;

    scene_open_with(&scene, &with);
    file_make(&scene, "from", 1000);
    options.hash = add(&scene, "from", 0).hash;
    stream = begin_request(&scene);
    KITH_CHECK_EQ(get(&scene, &options, "to", NULL), KITH_ERR_LIMIT);
    kith_stream_free(stream); /* reset: the place is free again */
    wait_event(&scene, KITH_BLOBS_ABORTED);
    KITH_CHECK_EQ(get(&scene, &options, "to", NULL), 0);
    scene_close(&scene);
}

KITH_TEST(a_request_that_does_not_come_to_its_end_is_reset)
{
    struct kith_blobs_options with = { KITH_BLOBS_OPTIONS_INIT, .request_limit_ns = 20 * KITH_NS_PER_MS };
    struct scene scene;
    struct kith_stream *stream;
    char byte;
    size_t got;

    scene_open_with(&scene, &with);
    stream = begin_request(&scene);
    KITH_CHECK_EQ(kith_read(stream, &byte, 1, limit, &got), KITH_ERR_RESET);
    KITH_CHECK_EQ(kith_error_last()->cause, 2);
    KITH_CHECK_EQ(wait_event(&scene, KITH_BLOBS_ABORTED).err, KITH_ERR_TIMEOUT);
    kith_stream_free(stream);
    scene_close(&scene);
}

KITH_TEST(a_stall_is_counted_from_the_last_progress)
{
    struct kith_stall stall;

    kith__stall_begin(&stall, 0, 5);
    KITH_CHECK_EQ(stall.limit_ns, 60 * KITH_NS_PER_S);
    kith__stall_begin(&stall, 100, 1000);
    KITH_CHECK_EQ(kith__stall_next(&stall, 1000), 1026);
    KITH_CHECK(!kith__stall_look(&stall, 0, 1099));
    KITH_CHECK(kith__stall_look(&stall, 0, 1100));
    KITH_CHECK(!kith__stall_look(&stall, 1, 1100));
    KITH_CHECK(!kith__stall_look(&stall, 1, 1199));
    KITH_CHECK(!kith__stall_look(&stall, 2, 1200));
    KITH_CHECK(kith__stall_look(&stall, 2, 1300));
    kith__stall_begin(&stall, KITH_WAIT, 1000);
    KITH_CHECK(!kith__stall_look(&stall, 0, KITH_NEVER - 1));
    KITH_CHECK_EQ(kith__stall_next(&stall, 1000), KITH_NEVER);
}

/* Asks for a whole blob, as the protocol does it: Get, the hash, everything of blob 0 and nothing of others (spec/05, 3.5). */
static struct kith_stream *ask_for(struct scene *scene, const struct kith_hash *hash)
{
    struct kith_stream *stream;
    struct kith_request request;
    struct kith_chunk_set all;
    struct kith_buf bytes;

    kith__buf_init(&bytes, kith_mem_default());
    kith__request_init(&request, kith_mem_default());
    kith__chunk_set_init(&all, kith_mem_default());
    KITH_CHECK_EQ(kith__request_make_get(&request, hash), 0);
    KITH_CHECK_EQ(kith__chunk_set_all(&all), 0);
    KITH_CHECK_EQ(kith__chunk_seq_append(&request.ranges, 0, &all), 0);
    all.count = 0;
    KITH_CHECK_EQ(kith__chunk_seq_append(&request.ranges, 1, &all), 0);
    KITH_CHECK_EQ(kith__request_encode(&request, &bytes), 0);
    KITH_CHECK_EQ(kith_open_bi(scene->conn, limit, &stream), 0);
    KITH_CHECK_EQ(kith_write_all(stream, bytes.ptr, bytes.size, KITH_FIN, limit), 0);
    kith__chunk_set_dispose(&all);
    kith__request_dispose(&request);
    kith__buf_dispose(&bytes);
    return stream;
}

KITH_TEST(a_receiver_that_reads_nothing_does_not_hold_its_place)
{
    struct kith_blobs_options with = { KITH_BLOBS_OPTIONS_INIT, .requests_max = 1,
                                       .stall_limit_ns = KITH_NS_PER_S / 5 };
    struct kith_blobs_get_options options = { 0 };
    struct kith_blobs_event event;
    struct scene scene;
    struct kith_stream *stream;

    scene_open_with(&scene, &with);
    file_make(&scene, "from", 40000000);
    file_make(&scene, "other", 1000);
    options.hash = add(&scene, "from", 0).hash;
    stream = ask_for(&scene, &options.hash);
    event = wait_event(&scene, KITH_BLOBS_ABORTED);
    KITH_CHECK_EQ(event.err, KITH_ERR_TIMEOUT);
    KITH_CHECK(event.bytes_sent > 0 && event.bytes_sent < 40000000);
    options.hash = add(&scene, "other", 0).hash;
    KITH_CHECK_EQ(get(&scene, &options, "to", NULL), 0);
    /* It learns of it, whenever it wakes up: what had come, then the reset. */
    for (;;) {
        static uint8_t bytes[1 << 16];
        size_t got;
        int err = kith_read(stream, bytes, sizeof bytes, limit, &got);

        if (err != 0) {
            KITH_CHECK_EQ(err, KITH_ERR_RESET);
            KITH_CHECK_EQ(kith_error_last()->cause, 2);
            break;
        }
    }
    kith_stream_free(stream);
    scene_close(&scene);
}

/* It is looked at several times on its way, and found to move each time. */
KITH_TEST(a_receiver_that_reads_slowly_keeps_its_place)
{
    struct kith_blobs_options with = { KITH_BLOBS_OPTIONS_INIT, .stall_limit_ns = 2 * KITH_NS_PER_S };
    static uint8_t bytes[1 << 16];
    struct scene scene;
    struct kith_stream *stream, *none;
    struct kith_hash hash;
    size_t got;
    int err;

    scene_open_with(&scene, &with);
    file_make(&scene, "from", 40000000);
    hash = add(&scene, "from", 0).hash;
    stream = ask_for(&scene, &hash);
    while ((err = kith_read(stream, bytes, sizeof bytes, limit, &got)) == 0)
        KITH_CHECK_EQ(kith_accept_bi(scene.conn, 2 * KITH_NS_PER_MS, &none), KITH_ERR_TIMEOUT); /* nobody opens one */
    KITH_CHECK_EQ(err, KITH_ERR_END);
    KITH_CHECK_EQ(wait_event(&scene, KITH_BLOBS_COMPLETED).bytes_sent, 40000000);
    kith_stream_free(stream);
    scene_close(&scene);
}

/* A provider that takes the request and sends a byte now and then: nothing of it can ever be verified. */
KITH_TEST(a_get_from_a_provider_that_only_drips_ends)
{
    struct kith_blobs_get_options options = { KITH_BLOBS_GET_OPTIONS_INIT, .stall_limit_ns = KITH_NS_PER_S / 5 };
    struct kith_op *accept, *op;
    struct kith_stream *stream = NULL;
    struct kith_conn *raw, *conn;
    struct kith_addr addr;
    struct scene scene;
    char path[256];
    int sent = 0;

    scene_open(&scene);
    kith_endpoint_addr(scene.server, &addr);
    KITH_CHECK_EQ(kith_accept_start(scene.server, &accept), 0);
    KITH_CHECK_EQ(kith_connect(scene.client, &addr, KITH_BLOBS_ALPN, limit, &conn), 0);
    KITH_CHECK_EQ(kith_op_wait(accept, limit), 0);
    raw = kith_op_take_conn(accept);
    kith_op_free(accept);
    snprintf(path, sizeof path, "%s/to", scene.dir);
    options.target = path;
    options.hash.bytes[0] = 1;
    KITH_CHECK_EQ(kith_blobs_get_start(conn, &options, &op), 0);
    KITH_CHECK_EQ(kith_accept_bi(raw, limit, &stream), 0);
    while (kith_op_wait(op, 10 * KITH_NS_PER_MS) == KITH_ERR_TIMEOUT && kith_op_result(op) == KITH_ERR_AGAIN) {
        KITH_CHECK(kith_write_all(stream, sent == 1 ? "\x01" : "\0", 1, 0, limit) == 0);
        sent++;
    }
    KITH_CHECK_EQ(kith_op_result(op), KITH_ERR_TIMEOUT);
    KITH_CHECK(strstr(kith_op_error(op)->text, "nothing for too long") != NULL);
    KITH_CHECK(sent > 0);
    KITH_CHECK(!exists(&scene, "to"));
    kith_op_free(op);
    kith_stream_free(stream);
    kith_conn_free(raw);
    kith_conn_free(conn);
    scene_close(&scene);
}

KITH_TEST(two_gets_do_not_share_unfinished_files)
{
    struct scene scene;
    struct kith_blobs_get_options options = { KITH_BLOBS_GET_OPTIONS_INIT };
    struct kith_op *op;
    char path[256];

    scene_open(&scene);
    file_make(&scene, "from", 3000000);
    options.hash = add(&scene, "from", 0).hash;
    snprintf(path, sizeof path, "%s/to", scene.dir);
    options.target = path;
    KITH_CHECK_EQ(kith_blobs_get_start(scene.conn, &options, &op), 0);
    KITH_CHECK_EQ(get(&scene, &options, "to", NULL), KITH_ERR_STATE);
    KITH_CHECK(strstr(kith_error_last()->text, "another receiver") != NULL);
    KITH_CHECK_EQ(kith_op_wait(op, limit), 0);
    kith_op_free(op);
    KITH_CHECK(file_is(&scene, "to", 0, 3000000));
    scene_close(&scene);
}

KITH_TEST(a_file_goes_to_another_file_system_as_a_copy)
{
    struct scene scene;
    struct kith_blobs_get_options options = { 0 };
    char parts[] = "/dev/shm/kith-parts-XXXXXX";
    struct stat here, there;

    scene_open(&scene);
    if (mkdtemp(parts) != NULL && stat(parts, &there) == 0 && stat(scene.dir, &here) == 0 &&
        here.st_dev != there.st_dev) {
        file_make(&scene, "from", 3000000);
        options.hash = add(&scene, "from", 0).hash;
        options.partial_directory = parts;
        KITH_CHECK_EQ(get(&scene, &options, "to", NULL), 0);
        KITH_CHECK(file_is(&scene, "to", 0, 3000000));
        KITH_CHECK_EQ(get(&scene, &options, "to", NULL), KITH_ERR_EXISTS);
        file_make(&scene, "to", 1);
        options.replace = true;
        KITH_CHECK_EQ(get(&scene, &options, "to", NULL), 0);
        KITH_CHECK(file_is(&scene, "to", 0, 3000000));
    }
    KITH_CHECK_EQ(rmdir(parts), 0); /* nothing is left in it */
    scene_close(&scene);
}
