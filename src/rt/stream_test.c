/* Streams and files: one set of tests, run over the real and the simulated world. */
#define _GNU_SOURCE 1 /* mkdtemp */
#include "base/mem.h"
#include "base/test.h"
#include "rt/sim/sim.h"
#include "rt/uv/uv.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOTAL = 3 << 20, PIECE = 100000 };

struct world {
    struct kith_sim *sim; /* NULL: real */
    struct kith_rt *rt;
};

static void world_open(struct world *world, bool is_sim)
{
    struct kith_sim_host_options options = { .name = "a" };
    struct kith_sim_host *host;

    *world = (struct world) { 0 };
    if (!is_sim) {
        KITH_CHECK_EQ(kith__rt_uv_new(NULL, NULL, &world->rt), 0);
        return;
    }
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, 1, &world->sim), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(world->sim, &options, &host), 0);
    world->rt = kith__sim_rt(host);
}

static void world_close(struct world *world)
{
    kith__rt_free(world->rt);
    kith__sim_free(world->sim);
}

static void run_until(struct world *world, const bool *done)
{
    KITH_CHECK_EQ(kith__rt_run(world->rt, done, kith__rt_now(world->rt) + 30 * KITH_NS_PER_S), 0);
}

/* ---- Echo with backpressure ---- */

struct echo {
    struct world *world;
    struct kith_rt_listener *listener;
    struct kith_rt_stream *server, *client;
    uint8_t held[KITH_RT_STREAM_READ_MAX]; /* what the server is writing back */
    uint8_t piece[PIECE];
    size_t held_size, sent, got, server_reads;
    bool is_done, is_wrong, server_ended, client_shut;
    int open_err;
};

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 131 + at / 251);
}

static void server_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct echo *echo = ctx;

    /* One piece at a time: while it is on its way back, reading is stopped, and nothing may come. */
    echo->is_wrong = echo->is_wrong || echo->held_size != 0;
    kith__rt_stream_read_stop(echo->server);
    memcpy(echo->held, bytes, size);
    echo->held_size = size;
    echo->server_reads++;
    KITH_CHECK_EQ(kith__rt_stream_write(echo->server, echo->held, size), 0);
    KITH_CHECK_EQ(kith__rt_stream_write(echo->server, echo->held, size), KITH_ERR_STATE);
}

static void server_written(void *ctx, int err)
{
    struct echo *echo = ctx;

    KITH_CHECK_EQ(err, 0);
    echo->held_size = 0;
    kith__rt_stream_read_start(echo->server);
}

static void server_end(void *ctx, int err)
{
    struct echo *echo = ctx;

    KITH_CHECK_EQ(err, 0);
    echo->server_ended = true;
    KITH_CHECK_EQ(kith__rt_stream_shutdown(echo->server), 0);
}

static void on_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct echo *echo = ctx;

    echo->server = stream;
    kith__rt_stream_set_events(
        stream, &(struct kith_rt_stream_events) { NULL, server_data, server_end, server_written, NULL, echo });
    kith__rt_stream_read_start(stream);
}

static void client_send(struct echo *echo)
{
    size_t size = TOTAL - echo->sent < PIECE ? TOTAL - echo->sent : PIECE;

    if (size == 0) {
        KITH_CHECK_EQ(kith__rt_stream_shutdown(echo->client), 0);
        return;
    }
    for (size_t i = 0; i < size; i++)
        echo->piece[i] = pattern(echo->sent + i);
    echo->sent += size;
    KITH_CHECK_EQ(kith__rt_stream_write(echo->client, echo->piece, size), 0);
}

static void client_open(void *ctx, int err)
{
    struct echo *echo = ctx;

    echo->open_err = err;
    if (err != 0) {
        echo->is_done = true;
        return;
    }
    kith__rt_stream_read_start(echo->client);
    client_send(echo);
}

static void client_written(void *ctx, int err)
{
    KITH_CHECK_EQ(err, 0);
    client_send(ctx);
}

static void client_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct echo *echo = ctx;

    for (size_t i = 0; i < size; i++)
        echo->is_wrong = echo->is_wrong || bytes[i] != pattern(echo->got + i);
    echo->got += size;
}

static void client_end(void *ctx, int err)
{
    struct echo *echo = ctx;

    KITH_CHECK_EQ(err, 0);
    echo->is_done = true;
}

static void client_shut(void *ctx, int err)
{
    KITH_CHECK_EQ(err, 0);
    ((struct echo *)ctx)->client_shut = true;
}

static void check_echo(bool is_sim, const char *unix_path)
{
    static struct echo echo;
    struct world world;
    struct kith_rt_stream_addr at = { .unix_path = unix_path };
    struct kith_rt_stream_events events = { client_open, client_data, client_end, client_written, client_shut, &echo };

    memset(&echo, 0, sizeof echo);
    world_open(&world, is_sim);
    KITH_CHECK_EQ(kith_sockaddr_parse("127.0.0.1:0", &at.ip), 0);
    KITH_CHECK_EQ(kith__rt_listen(world.rt, &at, on_accept, &echo, &echo.listener), 0);
    if (unix_path == NULL)
        at.ip = kith__rt_listener_local(echo.listener);
    KITH_CHECK_EQ(kith__rt_stream_connect(world.rt, &at, &events, &echo.client), 0);
    run_until(&world, &echo.is_done);
    KITH_CHECK_EQ(echo.open_err, 0);
    KITH_CHECK_EQ(echo.got, TOTAL);
    KITH_CHECK(!echo.is_wrong && echo.server_ended && echo.client_shut);
    KITH_CHECK(echo.server_reads >= TOTAL / KITH_RT_STREAM_READ_MAX);
    kith__rt_stream_close(echo.client);
    kith__rt_stream_close(echo.server);
    kith__rt_listener_close(echo.listener);
    echo.is_done = false;
    if (unix_path == NULL) { /* nobody listens any more */
        KITH_CHECK_EQ(kith__rt_stream_connect(world.rt, &at, &events, &echo.client), 0);
        run_until(&world, &echo.is_done);
        KITH_CHECK_EQ(echo.open_err, KITH_ERR_REFUSED);
        kith__rt_stream_close(echo.client);
    }
    world_close(&world);
}

KITH_TEST(stream_tcp_echoes_with_backpressure_ends_and_is_refused)
{
    check_echo(false, NULL);
    check_echo(true, NULL);
}

KITH_TEST(stream_unix_echoes_and_leaves_no_socket_file)
{
    char path[64];

    snprintf(path, sizeof path, "/tmp/kith-stream-%d.sock", (int)getpid());
    check_echo(false, path);
    KITH_CHECK(access(path, F_OK) != 0);
    check_echo(true, path);
}

/* ---- Standard descriptors ---- */

struct input {
    struct kith_rt_stream *stream;
    size_t got;
    bool is_done;
};

static void input_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct input *input = ctx;

    for (size_t i = 0; i < size; i++)
        KITH_CHECK_EQ(bytes[i], pattern(input->got + i));
    input->got += size;
}

static void input_end(void *ctx, int err)
{
    KITH_CHECK_EQ(err, 0);
    ((struct input *)ctx)->is_done = true;
}

static void check_input(int fd, size_t expected)
{
    struct world world;
    struct input input = { 0 };
    struct kith_rt_stream_events events = { .on_data = input_data, .on_end = input_end, .ctx = &input };
    int saved = dup(0);

    world_open(&world, false);
    KITH_CHECK_EQ(dup2(fd, 0), 0);
    KITH_CHECK_EQ(kith__rt_stream_open_stdio(world.rt, 0, &events, &input.stream), 0);
    kith__rt_stream_read_start(input.stream);
    run_until(&world, &input.is_done);
    KITH_CHECK_EQ(input.got, expected);
    kith__rt_stream_close(input.stream);
    world_close(&world);
    KITH_CHECK_EQ(dup2(saved, 0), 0);
    close(saved);
    close(fd);
}

KITH_TEST(stream_standard_input_may_be_a_file_or_a_pipe)
{
    char name[] = "/tmp/kith-stdin-XXXXXX";
    uint8_t bytes[20000];
    int file = mkstemp(name), ends[2];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = pattern(i);
    KITH_CHECK_EQ(write(file, bytes, sizeof bytes), sizeof bytes);
    KITH_CHECK_EQ(lseek(file, 0, SEEK_SET), 0);
    unlink(name);
    check_input(file, sizeof bytes);
    KITH_CHECK_EQ(pipe(ends), 0);
    KITH_CHECK_EQ(write(ends[1], bytes, sizeof bytes), sizeof bytes);
    close(ends[1]);
    check_input(ends[0], sizeof bytes);
}

/* ---- Files ---- */

static struct kith_rt_dir *scratch_open(struct world *world, char *path)
{
    struct kith_rt_dir *dir = NULL;

    if (world->sim == NULL)
        KITH_CHECK(mkdtemp(path) != NULL);
    else
        KITH_CHECK_EQ(kith__rt_mkdir(world->rt, NULL, path = strcpy(path, "/scratch"), 0755), 0);
    KITH_CHECK_EQ(kith__rt_dir_open(world->rt, NULL, path, 0, &dir), 0);
    return dir;
}

static void write_text(struct kith_rt_replace *replace, const char *text)
{
    KITH_CHECK_EQ(kith__rt_file_write(kith__rt_replace_file(replace), text, strlen(text)), 0);
}

static void check_text(struct kith_rt *rt, struct kith_rt_dir *dir, const char *name, const char *text)
{
    struct kith_rt_file *file;
    char bytes[64] = { 0 };
    size_t done;

    KITH_CHECK_EQ(kith__rt_file_open(rt, dir, name, KITH_RT_READ | KITH_RT_NOFOLLOW, 0, &file), 0);
    KITH_CHECK_EQ(kith__rt_file_pread(file, bytes, sizeof bytes - 1, 0, &done), 0);
    KITH_CHECK_STR(bytes, text);
    KITH_CHECK_EQ(kith__rt_file_pread(file, bytes, 10, 1000, &done), 0);
    KITH_CHECK_EQ(done, 0);
    kith__rt_file_close(file);
}

static bool count_name(void *ctx, const char *name)
{
    (void)name;
    ++*(int *)ctx;
    return true;
}

static void check_replace(bool is_sim)
{
    struct world world;
    char path[] = "/tmp/kith-file-XXXXXX";
    struct kith_rt_replace_options options = { .name = "a/b/target" };
    struct kith_rt_replace *replace, *second;
    struct kith_rt_dir *dir, *inner;
    const char *last;
    int count = 0;

    world_open(&world, is_sim);
    options.root = dir = scratch_open(&world, path);
    KITH_CHECK_EQ(kith__rt_replace_begin(world.rt, &options, &replace), 0);
    KITH_CHECK_EQ(kith__rt_replace_begin(world.rt, &options, &second), 0); /* both think that the name is free */
    write_text(replace, "one");
    KITH_CHECK_EQ(kith__rt_replace_commit(replace), 0);
    write_text(second, "two");
    KITH_CHECK_EQ(kith__rt_replace_commit(second), KITH_ERR_EXISTS);
    kith__rt_replace_abort(second, false);
    check_text(world.rt, dir, "a/b/target", "one");
    KITH_CHECK_EQ(kith__rt_replace_begin(world.rt, &options, &replace), KITH_ERR_EXISTS);
    /* Resuming: the temporary file is kept under a name of our choice. */
    options.overwrite = options.resume = true;
    options.temp_name = ".target.part";
    KITH_CHECK_EQ(kith__rt_replace_begin(world.rt, &options, &replace), 0);
    write_text(replace, "three");
    kith__rt_replace_abort(replace, true);
    check_text(world.rt, dir, "a/b/target", "one");
    KITH_CHECK_EQ(kith__rt_replace_begin(world.rt, &options, &replace), 0);
    KITH_CHECK_EQ(kith__rt_file_pwrite(kith__rt_replace_file(replace), "!", 1, 5), 0);
    KITH_CHECK_EQ(kith__rt_replace_commit(replace), 0);
    check_text(world.rt, dir, "a/b/target", "three!");
    KITH_CHECK_EQ(kith__rt_dir_walk(world.rt, dir, "a/b/target", false, &inner, &last), 0);
    KITH_CHECK_STR(last, "target");
    KITH_CHECK_EQ(kith__rt_dir_read(inner, count_name, &count), 0);
    KITH_CHECK_EQ(count, 1); /* no temporary file is left */
    kith__rt_dir_close(inner);
    KITH_CHECK_EQ(kith__rt_unlink(world.rt, dir, "a/b/target"), 0);
    KITH_CHECK_EQ(kith__rt_rmdir(world.rt, dir, "a"), KITH_ERR_EXISTS);
    KITH_CHECK_EQ(kith__rt_rmdir(world.rt, dir, "a/b"), 0);
    KITH_CHECK_EQ(kith__rt_rmdir(world.rt, dir, "a"), 0);
    kith__rt_dir_close(dir);
    KITH_CHECK_EQ(kith__rt_rmdir(world.rt, NULL, path), 0);
    world_close(&world);
}

KITH_TEST(file_replace_never_shows_half_a_file_and_never_overwrites_unasked)
{
    check_replace(false);
    check_replace(true);
}

static void check_lock(bool is_sim)
{
    struct world world;
    char path[] = "/tmp/kith-file-XXXXXX";
    struct kith_rt_dir *dir;
    struct kith_rt_file *one, *two;

    world_open(&world, is_sim);
    dir = scratch_open(&world, path);
    KITH_CHECK_EQ(kith__rt_file_open(world.rt, dir, "l", KITH_RT_WRITE | KITH_RT_CREATE | KITH_RT_REGULAR, 0600, &one),
                  0);
    KITH_CHECK_EQ(kith__rt_file_open(world.rt, dir, "l", KITH_RT_WRITE, 0, &two), 0);
    KITH_CHECK_EQ(kith__rt_file_lock(one), 0);
    KITH_CHECK_EQ(kith__rt_file_lock(one), 0);
    KITH_CHECK_EQ(kith__rt_file_lock(two), KITH_ERR_AGAIN);
    kith__rt_file_close(one);
    KITH_CHECK_EQ(kith__rt_file_lock(two), 0);
    kith__rt_file_close(two);
    KITH_CHECK_EQ(kith__rt_unlink(world.rt, dir, "l"), 0);
    kith__rt_dir_close(dir);
    KITH_CHECK_EQ(kith__rt_rmdir(world.rt, NULL, path), 0);
    world_close(&world);
}

KITH_TEST(file_lock_is_of_one_handle_until_it_is_closed)
{
    check_lock(false);
    check_lock(true);
}

KITH_TEST(file_that_must_be_regular_is_not_waited_for)
{
    static const unsigned ways[] = { KITH_RT_READ, KITH_RT_WRITE, KITH_RT_READ | KITH_RT_WRITE };
    struct world world;
    char path[] = "/tmp/kith-file-XXXXXX", pipe[64];
    struct kith_rt_dir *dir;
    struct kith_rt_file *file;

    world_open(&world, false);
    dir = scratch_open(&world, path);
    snprintf(pipe, sizeof pipe, "%s/pipe", path);
    KITH_CHECK_EQ(mkfifo(pipe, 0600), 0);
    for (size_t i = 0; i < KITH_COUNT(ways); i++)
        KITH_CHECK_EQ(kith__rt_file_open(world.rt, dir, "pipe", ways[i] | KITH_RT_REGULAR, 0, &file), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__rt_file_open(world.rt, NULL, "/dev/null", KITH_RT_READ | KITH_RT_REGULAR, 0, &file),
                  KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__rt_unlink(world.rt, dir, "pipe"), 0);
    kith__rt_dir_close(dir);
    KITH_CHECK_EQ(kith__rt_rmdir(world.rt, NULL, path), 0);
    world_close(&world);
}

KITH_TEST(file_names_from_outside_cannot_leave_their_directory)
{
    static const char *const bad[] = { "",    "/",   "/etc/passwd", "..",   "a/../b", "a//b", "a/",
                                       "./a", "a/.", "a\\b",        "a\nb", "a/..",   "\x7f", "a\x01" };
    static const char *const good[] = { "a", "a/b", "...", "..a", "a b/c.txt", "\xc3\xa4" };
    char name[300];

    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK_EQ(kith__rt_name_check(bad[i], strlen(bad[i])), KITH_ERR_INVALID);
    for (size_t i = 0; i < KITH_COUNT(good); i++)
        KITH_CHECK_EQ(kith__rt_name_check(good[i], strlen(good[i])), 0);
    KITH_CHECK_EQ(kith__rt_name_check("a\0b", 3), KITH_ERR_INVALID);
    memset(name, 'x', sizeof name);
    KITH_CHECK_EQ(kith__rt_name_check(name, 255), 0);
    KITH_CHECK_EQ(kith__rt_name_check(name, 256), KITH_ERR_INVALID);
}

KITH_TEST(file_links_in_received_names_are_refused)
{
    struct world world;
    char path[] = "/tmp/kith-file-XXXXXX";
    struct kith_rt_replace_options options = { .name = "link/x", .overwrite = true };
    struct kith_rt_replace *replace;
    struct kith_rt_file *file;
    struct kith_rt_dir *dir;
    char link[64];

    world_open(&world, false);
    options.root = dir = scratch_open(&world, path);
    snprintf(link, sizeof link, "%s/link", path);
    KITH_CHECK_EQ(symlink("/tmp", link), 0);
    KITH_CHECK_EQ(kith__rt_replace_begin(world.rt, &options, &replace), KITH_ERR_PERMISSION);
    KITH_CHECK_EQ(kith__rt_file_open(world.rt, dir, "link", KITH_RT_READ | KITH_RT_NOFOLLOW, 0, &file),
                  KITH_ERR_PERMISSION);
    KITH_CHECK_EQ(kith__rt_file_open(world.rt, dir, "none", KITH_RT_READ, 0, &file), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(kith__rt_unlink(world.rt, dir, "link"), 0);
    kith__rt_dir_close(dir);
    KITH_CHECK_EQ(kith__rt_rmdir(world.rt, NULL, path), 0);
    world_close(&world);
}

/* ---- The other side is gone ---- */

struct gone {
    struct kith_rt_stream *server, *client;
    bool is_open, is_gone;
    int writes;
};

static void gone_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct gone *gone = ctx;

    gone->server = stream;
}

static void gone_open(void *ctx, int err)
{
    struct gone *gone = ctx;

    KITH_CHECK_EQ(err, 0);
    gone->is_open = true;
}

static void gone_written(void *ctx, int err)
{
    struct gone *gone = ctx;

    if (err != 0)
        gone->is_gone = true;
    else if (kith__rt_stream_write(gone->client, (const uint8_t *)"more", 4) != 0)
        gone->is_gone = true;
}

static void check_gone(bool is_sim)
{
    struct gone gone = { 0 };
    struct kith_rt_stream_events events = { gone_open, NULL, NULL, gone_written, NULL, &gone };
    struct kith_rt_stream_addr at = { .ip = { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 } };
    struct kith_rt_listener *listener;
    struct world world;
    sigset_t pending;

    world_open(&world, is_sim);
    if (is_sim)
        at.ip.ip[0] = 10;
    KITH_CHECK_EQ(kith__rt_listen(world.rt, &at, gone_accept, &gone, &listener), 0);
    at.ip = kith__rt_listener_local(listener);
    KITH_CHECK_EQ(kith__rt_stream_connect(world.rt, &at, &events, &gone.client), 0);
    run_until(&world, &gone.is_open);
    while (gone.server == NULL)
        (void)kith__rt_run(world.rt, &gone.is_gone, kith__rt_now(world.rt) + KITH_NS_PER_MS);
    kith__rt_stream_close(gone.server);
    KITH_CHECK_EQ(kith__rt_stream_write(gone.client, (const uint8_t *)"more", 4), 0);
    run_until(&world, &gone.is_gone); /* with an error, and not with a signal that ends the program */
    KITH_CHECK_EQ(sigpending(&pending), 0);
    KITH_CHECK(!sigismember(&pending, SIGPIPE));
    kith__rt_stream_close(gone.client);
    kith__rt_listener_close(listener);
    world_close(&world);
}

KITH_TEST(stream_write_to_one_that_is_gone_is_an_error_and_no_signal)
{
    struct sigaction before, fatal = { .sa_handler = SIG_DFL };

    KITH_CHECK_EQ(sigaction(SIGPIPE, &fatal, &before), 0);
    check_gone(false);
    KITH_CHECK_EQ(sigaction(SIGPIPE, &before, NULL), 0);
    check_gone(true);
}
