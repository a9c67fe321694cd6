/* Every n-th allocation fails while two endpoints connect, move bytes both ways and close. */
#include "api/pair.h"
#include <kith/blobs.h>
#include <stdlib.h>

enum { TEXT_SIZE = 20000, FILE_SIZE = 200000 };

struct scene {
    struct kith_context *context;
    struct kith_endpoint *server, *client;
    struct kith_conn *here, *there;
    struct kith_stream *stream, *other;
    struct kith_op *accepting, *writing;
};

/* What a failing call of the library may say when memory ran out somewhere, here or at the other side. */
static bool is_clean(int err)
{
    return err == 0 || (err < 0 && kith_error_last()->code == err && kith_error_last()->text[0] != '\0');
}

static int bind_one(struct scene *scene, const char *const *alpns, struct kith_endpoint **out)
{
    struct kith_sockaddr loopback = { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 };
    struct kith_quic_transport transport;
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT,  .context = scene->context, .alpns = alpns,
                                             .binds = &loopback, .bind_count = 1,           .transport = &transport };

    kith_quic_transport_defaults(&transport);
    transport.initial_rtt_ns = KITH_NS_PER_MS; /* what a failing allocation drops is soon sent again */
    transport.max_ack_delay_ns = transport.min_ack_delay_ns = KITH_NS_PER_MS;
    return kith_endpoint_bind(&options, out);
}

static int play(struct scene *scene, const struct kith_mem *mem)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER, .mem = mem };
    const char *alpns[] = { PAIR_ALPN, NULL };
    static uint8_t text[TEXT_SIZE], back[TEXT_SIZE];
    uint64_t limit = KITH_NS_PER_S / 2;
    struct kith_addr addr;
    size_t got;
    int err;

    if ((err = kith_context_new(&options, &scene->context)) != 0 ||
        (err = bind_one(scene, alpns, &scene->server)) != 0 || (err = bind_one(scene, NULL, &scene->client)) != 0)
        return err;
    kith_endpoint_addr(scene->server, &addr);
    if ((err = kith_accept_start(scene->server, &scene->accepting)) != 0 ||
        (err = kith_connect(scene->client, &addr, PAIR_ALPN, limit, &scene->here)) != 0 ||
        (err = kith_op_wait(scene->accepting, limit)) != 0)
        return err;
    scene->there = kith_op_take_conn(scene->accepting);
    if ((err = kith_open_bi(scene->here, limit, &scene->stream)) != 0 ||
        (err = kith_write_start(scene->stream, text, sizeof text, KITH_FIN, &scene->writing)) != 0 ||
        (err = kith_accept_bi(scene->there, limit, &scene->other)) != 0 ||
        (err = kith_read_to_end(scene->other, back, sizeof back, limit, &got)) != 0 ||
        (err = kith_write_all(scene->other, back, got, KITH_FIN, limit)) != 0 ||
        (err = kith_read_to_end(scene->stream, back, sizeof back, limit, &got)) != 0)
        return err;
    KITH_CHECK_EQ(got, TEXT_SIZE);
    if ((err = kith_datagram_send(scene->here, "x", 1)) != 0)
        return err;
    kith_conn_close(scene->here, 3, "done", 4);
    return kith_conn_closed(scene->there, limit);
}

/* What is there is given back, in an order that has the handles outlive what they belong to. */
static int end(struct scene *scene)
{
    int err = 0;

    if (scene->client != NULL && (err = kith_endpoint_close(scene->client, 0)) == KITH_ERR_TIMEOUT)
        err = 0; /* nobody waited */
    kith_stream_free(scene->stream);
    kith_conn_free(scene->here);
    kith_op_free(scene->writing);
    kith_context_free(scene->context);
    kith_op_free(scene->accepting);
    kith_conn_free(scene->there);
    kith_stream_free(scene->other);
    return err;
}

KITH_TEST(memory_every_allocation_may_fail)
{
    uint64_t failed = 0, at = 1;

    for (bool was_reached = true; was_reached; at++) {
        struct kith_test_mem mem;
        struct scene scene = { 0 };
        int err;

        kith__test_mem_init(&mem, at);
        err = play(&scene, &mem.mem);
        if (!is_clean(err) || !(err != 0 || mem.calls > 0))
            fprintf(stderr, "allocation %llu: %d, %s\n", (unsigned long long)at, err, kith_error_last()->text);
        KITH_CHECK(is_clean(err));
        failed += err != 0;
        KITH_CHECK_EQ(end(&scene), 0);
        if (mem.live != 0)
            fprintf(stderr, "allocation %llu leaks %lld blocks\n", (unsigned long long)at, (long long)mem.live);
        KITH_CHECK_EQ(mem.live, 0);
        was_reached = mem.calls >= at;
        if (!was_reached)
            KITH_CHECK_EQ(err, 0);
    }
    KITH_CHECK(failed > 10 && at > 100); /* some failures are made good by sending again */
}

/* ---- Blobs ---- */

struct library {
    struct scene scene;
    struct kith_blobs *blobs;
    struct kith_op *adding, *getting, *event;
    char file[64], target[64];
};

static int connect_blobs(struct library *library, const struct kith_mem *mem)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER, .mem = mem };
    const char *alpns[] = { KITH_BLOBS_ALPN, NULL };
    struct kith_addr addr;

    PAIR_CHECK(kith_context_new(&options, &library->scene.context), 0);
    PAIR_CHECK(bind_one(&library->scene, alpns, &library->scene.server), 0);
    PAIR_CHECK(bind_one(&library->scene, NULL, &library->scene.client), 0);
    kith_endpoint_addr(library->scene.server, &addr);
    PAIR_CHECK(kith_accept_start(library->scene.server, &library->scene.accepting), 0);
    PAIR_CHECK(kith_connect(library->scene.client, &addr, KITH_BLOBS_ALPN, PAIR_LIMIT, &library->scene.here), 0);
    PAIR_CHECK(kith_op_wait(library->scene.accepting, PAIR_LIMIT), 0);
    return 0;
}

/* Adds a file as a collection, serves it, fetches it. */
static int play_blobs(struct library *library)
{
    struct kith_blobs_options blobs = { KITH_BLOBS_OPTIONS_INIT };
    struct kith_blobs_get_options get = { KITH_BLOBS_GET_OPTIONS_INIT, .target = library->target, .replace = true };
    struct kith_blobs_added added;
    uint64_t limit = KITH_NS_PER_S / 2;
    struct kith_hash hash;
    int err;

    if ((err = kith_blobs_new(library->scene.server, &blobs, &library->blobs)) != 0 ||
        (err = kith_blobs_add_bytes(library->blobs, "bytes", 5, &hash)) != 0 ||
        (err = kith_blobs_event_start(library->blobs, &library->event)) != 0 ||
        (err = kith_blobs_add_start(library->blobs, library->file, KITH_BLOBS_ADD_COLLECTION, &library->adding)) != 0 ||
        (err = kith_op_wait(library->adding, limit)) != 0 || (err = kith_blobs_added(library->adding, &added)) != 0 ||
        (err = kith_blobs_serve(library->blobs, kith_op_take_conn(library->scene.accepting))) != 0)
        return err;
    get.hash = added.hash;
    get.format = added.format;
    if ((err = kith_blobs_get_start(library->scene.here, &get, &library->getting)) != 0)
        return err;
    err = kith_op_wait(library->getting, limit);
    KITH_CHECK(err != 0 || kith_blobs_get_name(library->getting, 1) == NULL);
    return err;
}

static int end_blobs(struct library *library)
{
    kith_op_free(library->adding);
    kith_op_free(library->event);
    kith_blobs_free(library->blobs);
    kith_op_free(library->getting);
    return end(&library->scene);
}

KITH_TEST(memory_every_allocation_of_blobs_may_fail)
{
    char directory[] = "/tmp/kith-memory-XXXXXX", command[64];
    static uint8_t bytes[FILE_SIZE];
    uint64_t failed = 0, at = 1;
    FILE *file;

    assert_non_null(mkdtemp(directory));
    snprintf(command, sizeof command, "%s/file", directory);
    assert_non_null(file = fopen(command, "w"));
    KITH_CHECK_EQ(fwrite(bytes, 1, sizeof bytes, file), sizeof bytes);
    KITH_CHECK_EQ(fclose(file), 0);
    for (bool was_reached = true; was_reached; at++) {
        struct library library = { .blobs = NULL };
        struct kith_test_mem mem;
        int err;

        snprintf(library.file, sizeof library.file, "%s/file", directory);
        snprintf(library.target, sizeof library.target, "%s/out", directory);
        kith__test_mem_init(&mem, UINT64_MAX);
        connect_blobs(&library, &mem.mem);
        mem.fail_at = mem.calls + at;
        err = play_blobs(&library);
        if (!is_clean(err))
            fprintf(stderr, "allocation %llu: %d, %s\n", (unsigned long long)at, err, kith_error_last()->text);
        KITH_CHECK(is_clean(err));
        failed += err != 0;
        was_reached = mem.calls >= mem.fail_at;
        if (!was_reached)
            KITH_CHECK_EQ(err, 0);
        KITH_CHECK_EQ(end_blobs(&library), 0);
        if (mem.live != 0)
            fprintf(stderr, "allocation %llu leaks %lld blocks\n", (unsigned long long)at, (long long)mem.live);
        KITH_CHECK_EQ(mem.live, 0);
    }
    KITH_CHECK(failed > 10 && at > 30);
    snprintf(command, sizeof command, "rm -r %s", directory);
    KITH_CHECK_EQ(system(command), 0);
}
