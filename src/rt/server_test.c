/* What a server needs of streams: one set of tests, run over the real and the simulated world, and some of the real one. */
#define _GNU_SOURCE 1
#include "base/mem.h"
#include "base/test.h"
#include "rt/sim/sim.h"
#include "rt/uv/stream.h"
#include "rt/uv/uv.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CLIENTS_MAX = 20 };

/** One listener and its clients, all on one host. */
struct scene {
    struct kith_sim *sim; /* NULL: real */
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_rt_listener *listener;
    struct kith_rt_stream_addr at;
    struct kith_rt_stream *clients[CLIENTS_MAX], *accepted[CLIENTS_MAX];
    size_t client_count, open_count, failed_count, ended_count, accepted_count;
    uint8_t got[4096];
    size_t got_size;
    unsigned written_count, signal_count;
    int last_err;
    bool is_over;
};

static void scene_open(struct scene *scene, bool is_sim, const struct kith_mem *mem)
{
    struct kith_sim_host_options options = { .name = "a", .mem = mem };

    memset(scene, 0, sizeof *scene);
    KITH_CHECK_EQ(kith_sockaddr_parse("127.0.0.1:0", &scene->at.ip), 0);
    if (!is_sim) {
        KITH_CHECK_EQ(kith__rt_uv_new(mem, NULL, &scene->rt), 0);
        return;
    }
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, 1, &scene->sim), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(scene->sim, &options, &scene->host), 0);
    scene->rt = kith__sim_rt(scene->host);
}

static void scene_close(struct scene *scene)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        kith__rt_stream_close(scene->clients[i]);
        kith__rt_stream_close(scene->accepted[i]);
    }
    kith__rt_listener_close(scene->listener);
    kith__rt_free(scene->rt);
    kith__sim_free(scene->sim);
}

/** Turns until *count is at least `wanted`. */
static void turn_until(struct scene *scene, const size_t *count, size_t wanted)
{
    uint64_t until_ns = kith__rt_now(scene->rt) + 30 * KITH_NS_PER_S;

    while (*count < wanted) {
        kith__rt_process(scene->rt);
        KITH_CHECK(kith__rt_now(scene->rt) < until_ns);
        if (*count < wanted)
            kith__rt_wait(scene->rt, KITH_MIN(kith__rt_deadline(scene->rt), until_ns));
    }
}

/** As many turns as it takes until everything that can happen at once has happened. */
static void turn_a_while(struct scene *scene)
{
    for (int i = 0; i < 20; i++) {
        kith__rt_process(scene->rt);
        kith__rt_wait(scene->rt, kith__rt_now(scene->rt) + KITH_NS_PER_MS);
    }
}

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct scene *scene = ctx;

    KITH_CHECK(scene->got_size + size <= sizeof scene->got);
    memcpy(scene->got + scene->got_size, bytes, size);
    memset(bytes, 0, size); /* they may be changed in place */
    scene->got_size += size;
}

static void on_end(void *ctx, int err)
{
    struct scene *scene = ctx;

    scene->ended_count++;
    scene->last_err = err;
}

static void on_written(void *ctx, int err)
{
    struct scene *scene = ctx;

    scene->written_count += err == 0;
}

static void on_open(void *ctx, int err)
{
    struct scene *scene = ctx;

    if (err == 0)
        scene->open_count++;
    else
        scene->failed_count++;
    scene->last_err = err;
}

static const struct kith_rt_stream_events *events_of(struct scene *scene)
{
    static struct kith_rt_stream_events events;

    events = (struct kith_rt_stream_events) { on_open, on_data, on_end, on_written, NULL, scene };
    return &events;
}

static void on_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct scene *scene = ctx;

    KITH_CHECK(scene->accepted_count < CLIENTS_MAX);
    scene->accepted[scene->accepted_count++] = stream;
    kith__rt_stream_set_events(stream, events_of(scene));
    kith__rt_stream_read_start(stream);
}

static void scene_listen(struct scene *scene, const struct kith_rt_listen_options *options)
{
    struct kith_rt_listen_options full = *options;

    full.at = scene->at;
    KITH_CHECK_EQ(kith__rt_listen_with(scene->rt, &full, on_accept, scene, &scene->listener), 0);
    scene->at.ip = kith__rt_listener_local(scene->listener);
    KITH_CHECK(scene->at.ip.port != 0);
}

static struct kith_rt_stream *scene_dial(struct scene *scene)
{
    struct kith_rt_stream **slot = &scene->clients[scene->client_count++];

    KITH_CHECK_EQ(kith__rt_stream_connect(scene->rt, &scene->at, events_of(scene), slot), 0);
    kith__rt_stream_read_start(*slot);
    return *slot;
}

/* ---- Both worlds ---- */

static void check_addresses(bool is_sim)
{
    struct scene scene;
    struct kith_sockaddr local, remote;

    scene_open(&scene, is_sim, NULL);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .timeout_ns = KITH_RT_TCP_TIMEOUT_NS });
    scene_dial(&scene);
    KITH_CHECK_EQ(kith__rt_stream_remote(scene.clients[0]).family, KITH_FAMILY_NONE);
    turn_until(&scene, &scene.open_count, 1);
    turn_until(&scene, &scene.accepted_count, 1);
    remote = kith__rt_stream_remote(scene.clients[0]);
    KITH_CHECK(kith_sockaddr_equal(&remote, &scene.at.ip));
    local = kith__rt_stream_local(scene.accepted[0]);
    KITH_CHECK(kith_sockaddr_equal(&local, &scene.at.ip));
    local = kith__rt_stream_local(scene.clients[0]);
    remote = kith__rt_stream_remote(scene.accepted[0]);
    KITH_CHECK(kith_sockaddr_equal(&remote, &local) && local.port != 0);
    scene_close(&scene);
}

KITH_TEST(server_sees_the_addresses_of_both_sides)
{
    check_addresses(false);
    check_addresses(true);
}

static void check_slices(bool is_sim)
{
    static const char *const parts[] = { "one ", "and ", "another", "!" };
    struct kith_slice slices[KITH_RT_STREAM_SLICES_MAX + 1];
    struct scene scene;
    char expected[4096] = "";

    scene_open(&scene, is_sim, NULL);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 0 });
    scene_dial(&scene);
    turn_until(&scene, &scene.accepted_count, 1);
    turn_until(&scene, &scene.open_count, 1);
    for (size_t i = 0; i < KITH_RT_STREAM_SLICES_MAX + 1; i++) {
        slices[i] = (struct kith_slice) { (const uint8_t *)parts[i % 4], strlen(parts[i % 4]) };
        if (i < KITH_RT_STREAM_SLICES_MAX)
            strcat(expected, parts[i % 4]);
    }
    KITH_CHECK_EQ(kith__rt_stream_write_slices(scene.clients[0], slices, 0), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__rt_stream_write_slices(scene.clients[0], slices, KITH_RT_STREAM_SLICES_MAX + 1),
                  KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__rt_stream_write_slices(scene.clients[0], slices, KITH_RT_STREAM_SLICES_MAX), 0);
    KITH_CHECK_EQ(kith__rt_stream_write_slices(scene.clients[0], slices, 1), KITH_ERR_STATE);
    memset(slices, 0, sizeof slices); /* the array is the caller's again */
    turn_until(&scene, &scene.got_size, strlen(expected));
    KITH_CHECK_BYTES(scene.got, expected, strlen(expected));
    turn_a_while(&scene);
    KITH_CHECK_EQ(scene.written_count, 1);
    scene_close(&scene);
}

KITH_TEST(server_writes_many_slices_at_once)
{
    check_slices(false);
    check_slices(true);
}

static void check_pause(bool is_sim)
{
    struct scene scene;

    scene_open(&scene, is_sim, NULL);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 16 });
    scene_dial(&scene);
    turn_until(&scene, &scene.accepted_count, 1);
    kith__rt_listener_set_paused(scene.listener, true);
    kith__rt_listener_set_paused(scene.listener, true);
    for (int i = 0; i < 5; i++)
        scene_dial(&scene);
    turn_until(&scene, &scene.open_count, 6); /* they are with the system */
    turn_a_while(&scene);
    KITH_CHECK_EQ(scene.accepted_count, 1);
    kith__rt_listener_set_paused(scene.listener, false);
    KITH_CHECK_EQ(scene.accepted_count, 1); /* not out of the call */
    turn_until(&scene, &scene.accepted_count, 6);
    KITH_CHECK_EQ(kith__rt_listener_stats(scene.listener).accepted, 6);
    scene_close(&scene);
}

KITH_TEST(server_pauses_accepting_and_goes_on)
{
    check_pause(false);
    check_pause(true);
}

static void check_waiting_are_reset(bool is_sim)
{
    struct scene scene;

    scene_open(&scene, is_sim, NULL);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 16 });
    kith__rt_listener_set_paused(scene.listener, true);
    scene_dial(&scene);
    scene_dial(&scene);
    turn_until(&scene, &scene.open_count, 2);
    kith__rt_listener_close(scene.listener);
    scene.listener = NULL;
    turn_until(&scene, &scene.ended_count, 2);
    KITH_CHECK_EQ(scene.last_err, KITH_ERR_RESET);
    scene_dial(&scene);
    turn_until(&scene, &scene.failed_count, 1);
    KITH_CHECK_EQ(scene.last_err, KITH_ERR_REFUSED);
    scene_close(&scene);
}

KITH_TEST(server_that_closes_its_listener_resets_who_waited)
{
    check_waiting_are_reset(false);
    check_waiting_are_reset(true);
}

static void check_shared(bool is_sim)
{
    struct scene scene;
    struct kith_rt_listener *second = NULL, *third = NULL;
    struct kith_rt_listen_options options = { .is_shared = true };

    scene_open(&scene, is_sim, NULL);
    scene_listen(&scene, &options);
    options.at = scene.at;
    KITH_CHECK_EQ(kith__rt_listen_with(scene.rt, &options, on_accept, &scene, &second), 0);
    options.is_shared = false;
    KITH_CHECK_EQ(kith__rt_listen_with(scene.rt, &options, on_accept, &scene, &third), KITH_ERR_ADDRESS_IN_USE);
    options.is_shared = true;
    options.at.unix_path = "/tmp/kith-shared.sock";
    KITH_CHECK_EQ(kith__rt_listen_with(scene.rt, &options, on_accept, &scene, &third), KITH_ERR_INVALID);
    for (int i = 0; i < CLIENTS_MAX; i++)
        scene_dial(&scene);
    turn_until(&scene, &scene.accepted_count, CLIENTS_MAX);
    /* By chance, but 20 of 20 on one side does not come by chance. */
    KITH_CHECK(kith__rt_listener_stats(scene.listener).accepted > 0);
    KITH_CHECK(kith__rt_listener_stats(second).accepted > 0);
    KITH_CHECK_EQ(kith__rt_listener_stats(scene.listener).accepted + kith__rt_listener_stats(second).accepted,
                  CLIENTS_MAX);
    kith__rt_listener_close(second);
    scene_close(&scene);
}

KITH_TEST(server_shares_a_port_between_listeners)
{
    check_shared(false);
    check_shared(true);
}

static void on_accept_and_stop(void *ctx, struct kith_rt_stream *stream)
{
    struct scene *scene = ctx;

    scene->accepted_count++;
    kith__rt_stream_close(stream);
    kith__rt_listener_close(scene->listener);
    scene->listener = NULL;
}

static void check_close_inside(bool is_sim)
{
    struct scene scene;
    struct kith_rt_listen_options options = { .backlog = 16 };

    scene_open(&scene, is_sim, NULL);
    options.at = scene.at;
    KITH_CHECK_EQ(kith__rt_listen_with(scene.rt, &options, on_accept_and_stop, &scene, &scene.listener), 0);
    scene.at.ip = kith__rt_listener_local(scene.listener);
    kith__rt_listener_set_paused(scene.listener, true);
    for (int i = 0; i < 3; i++)
        scene_dial(&scene);
    turn_until(&scene, &scene.open_count, 3);
    kith__rt_listener_set_paused(scene.listener, false);
    turn_until(&scene, &scene.ended_count, 3);
    KITH_CHECK_EQ(scene.accepted_count, 1);
    scene_close(&scene);
}

KITH_TEST(server_may_close_its_listener_from_inside_on_accept)
{
    check_close_inside(false);
    check_close_inside(true);
}

/* ---- Signals ---- */

static void on_signal(void *ctx)
{
    ((struct scene *)ctx)->signal_count++;
}

static void send_signal(struct scene *scene, int number, enum kith_rt_signal_kind kind)
{
    if (scene->sim == NULL)
        KITH_CHECK_EQ(raise(number), 0);
    else
        kith__sim_signal(scene->host, kind);
    turn_a_while(scene);
}

static void check_signals(bool is_sim)
{
    static const int numbers[KITH_RT_SIGNALS] = { SIGINT, SIGTERM, SIGHUP };
    struct kith_rt_signal *signals[KITH_RT_SIGNALS];
    struct sigaction action;
    struct scene scene;

    scene_open(&scene, is_sim, NULL);
    for (int i = 0; i < KITH_RT_SIGNALS; i++)
        KITH_CHECK_EQ(kith__rt_signal_open(scene.rt, (enum kith_rt_signal_kind)i, on_signal, &scene, &signals[i]), 0);
    turn_a_while(&scene);
    for (int i = 0; i < KITH_RT_SIGNALS; i++) {
        send_signal(&scene, numbers[i], (enum kith_rt_signal_kind)i);
        KITH_CHECK_EQ(scene.signal_count, i + 1);
    }
    for (int i = 0; i < KITH_RT_SIGNALS; i++)
        kith__rt_signal_close(signals[i]);
    for (int i = 0; i < KITH_RT_SIGNALS && !is_sim; i++) {
        KITH_CHECK_EQ(sigaction(numbers[i], NULL, &action), 0);
        KITH_CHECK(action.sa_handler == SIG_DFL);
    }
    scene_close(&scene);
}

KITH_TEST(server_hears_signals_in_a_turn_until_it_closes_them)
{
    check_signals(false);
    check_signals(true);
}

/* ---- The real world ---- */

static int option_of(const struct kith_rt_stream *stream, int level, int name)
{
    const struct uv_stream *real = (const struct uv_stream *)stream;
    uv_os_fd_t fd;
    int value = -1;
    socklen_t size = sizeof value;

    KITH_CHECK_EQ(uv_fileno(&real->u.handle, &fd), 0);
    KITH_CHECK_EQ(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

KITH_TEST(server_and_client_sockets_send_at_once_and_notice_a_dead_other_side)
{
    struct scene scene;

    scene_open(&scene, false, NULL);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .timeout_ns = 7 * KITH_NS_PER_S });
    scene_dial(&scene);
    turn_until(&scene, &scene.accepted_count, 1);
    turn_until(&scene, &scene.open_count, 1);
    for (int i = 0; i < 2; i++) {
        const struct kith_rt_stream *stream = i == 0 ? scene.clients[0] : scene.accepted[0];

        KITH_CHECK_EQ(option_of(stream, IPPROTO_TCP, TCP_NODELAY), 1);
        KITH_CHECK_EQ(option_of(stream, IPPROTO_TCP, TCP_NOTSENT_LOWAT), KITH_RT_TCP_UNSENT_MAX);
        KITH_CHECK_EQ(option_of(stream, SOL_SOCKET, SO_KEEPALIVE), 1);
        KITH_CHECK_EQ(option_of(stream, IPPROTO_TCP, TCP_KEEPIDLE), 60);
        KITH_CHECK_EQ(option_of(stream, IPPROTO_TCP, TCP_KEEPINTVL), 10);
        KITH_CHECK_EQ(option_of(stream, IPPROTO_TCP, TCP_KEEPCNT), 3);
    }
    KITH_CHECK_EQ(option_of(scene.accepted[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 7000);
    KITH_CHECK_EQ(option_of(scene.clients[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    kith__rt_stream_set_timeout(scene.clients[0], KITH_RT_TCP_TIMEOUT_NS);
    KITH_CHECK_EQ(option_of(scene.clients[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
    scene_close(&scene);
}

static void count_data(void *ctx, uint8_t *bytes, size_t size)
{
    (void)bytes;
    ((struct scene *)ctx)->got_size += size;
}

KITH_TEST(server_reads_from_one_client_only_so_much_in_a_turn)
{
    enum { FLOOD = 1 << 20, SHARE = KITH_RT_STREAM_READ_MAX };
    static uint8_t flood[FLOOD];
    struct kith_rt_stream_events events = { .on_data = count_data };
    const struct uv_stream *real;
    const int buffer = FLOOD;
    struct scene scene;
    size_t before, most = 0;
    uv_os_fd_t fd;

    scene_open(&scene, false, NULL);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 0 });
    scene_dial(&scene);
    turn_until(&scene, &scene.accepted_count, 1);
    turn_until(&scene, &scene.open_count, 1);
    events.ctx = &scene;
    kith__rt_stream_read_stop(scene.accepted[0]);
    kith__rt_stream_set_events(scene.accepted[0], &events);
    real = (const struct uv_stream *)scene.accepted[0];
    KITH_CHECK_EQ(uv_fileno(&real->u.handle, &fd), 0);
    KITH_CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer), 0);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.clients[0], flood, FLOOD), 0);
    turn_a_while(&scene); /* the system takes as much as it can hold */
    kith__rt_stream_read_start(scene.accepted[0]);
    while (scene.got_size < FLOOD) {
        before = scene.got_size;
        kith__rt_process(scene.rt);
        most = KITH_MAX(most, scene.got_size - before);
        if (scene.got_size < FLOOD)
            kith__rt_wait(scene.rt, kith__rt_deadline(scene.rt));
    }
    KITH_CHECK(most <= SHARE);
    scene_close(&scene);
}

static unsigned descriptors_in_use(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

KITH_TEST(server_without_descriptors_closes_connections_and_counts_them)
{
    struct scene scene;
    struct rlimit before, low;
    size_t opened;

    scene_open(&scene, false, NULL);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 64 });
    kith__rt_listener_set_paused(scene.listener, true);
    for (int i = 0; i < 10; i++)
        scene_dial(&scene);
    turn_until(&scene, &scene.open_count, 10);
    opened = descriptors_in_use();
    KITH_CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = opened; /* room for a few at most, where there are holes in the numbers */
    KITH_CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    kith__rt_listener_set_paused(scene.listener, false);
    turn_until(&scene, &scene.ended_count, 5);
    turn_a_while(&scene);
    KITH_CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    KITH_CHECK_EQ(scene.accepted_count + kith__rt_listener_stats(scene.listener).closed_no_handles, 10);
    KITH_CHECK(kith__rt_listener_stats(scene.listener).closed_no_handles >= 5);
    /* It did not get stuck. */
    scene_dial(&scene);
    turn_until(&scene, &scene.open_count, 11);
    turn_until(&scene, &scene.accepted_count, 11 - (size_t)kith__rt_listener_stats(scene.listener).closed_no_handles);
    scene_close(&scene);
}

static void check_no_memory(bool is_sim)
{
    struct kith_test_mem mem;
    struct scene scene;

    kith__test_mem_init(&mem, 0);
    scene_open(&scene, is_sim, &mem.mem);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 64 });
    scene_dial(&scene);
    turn_until(&scene, &scene.accepted_count, 1);
    scene_dial(&scene);
    mem.fail_at = mem.calls + 1; /* the next is the accepted stream */
    turn_until(&scene, &scene.ended_count, 1);
    KITH_CHECK_EQ(kith__rt_listener_stats(scene.listener).closed_no_memory, 1);
    KITH_CHECK_EQ(scene.accepted_count, 1);
    scene_dial(&scene);
    turn_until(&scene, &scene.accepted_count, 2);
    scene_close(&scene);
    KITH_CHECK_EQ(mem.live, 0);
}

KITH_TEST(server_without_memory_closes_connections_and_counts_them)
{
    check_no_memory(false);
    check_no_memory(true);
}

KITH_TEST(server_needs_little_memory_for_an_idle_stream)
{
    struct kith_test_mem mem;
    struct scene scene;
    int64_t before;

    kith__test_mem_init(&mem, 0);
    scene_open(&scene, false, &mem.mem);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 64 });
    scene_dial(&scene);
    turn_until(&scene, &scene.accepted_count, 1);
    turn_until(&scene, &scene.open_count, 1);
    before = mem.live;
    scene_dial(&scene);
    turn_until(&scene, &scene.accepted_count, 2);
    KITH_CHECK_EQ(mem.live - before, 2); /* the client's and the server's: one block each */
    KITH_CHECK(sizeof(struct uv_stream) <= 1024);
    scene_close(&scene);
    KITH_CHECK_EQ(mem.live, 0);
}

/** As much of a server's life as memory allows. */
static void live_once(bool is_sim, const struct kith_mem *mem)
{
    struct kith_rt_signal *signal = NULL;
    struct kith_slice slices[2] = { { (const uint8_t *)"one ", 4 }, { (const uint8_t *)"two", 3 } };
    struct kith_sim_host_options options = { .name = "a", .mem = mem };
    struct kith_rt_listen_options listen = { .is_shared = true };
    struct scene scene;

    memset(&scene, 0, sizeof scene);
    KITH_CHECK_EQ(kith_sockaddr_parse("127.0.0.1:0", &listen.at.ip), 0);
    if (!is_sim && kith__rt_uv_new(mem, NULL, &scene.rt) != 0)
        return;
    if (is_sim) {
        if (kith__sim_new(mem, NULL, 1, &scene.sim) != 0)
            return;
        KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &options.addrs[0]), 0);
        if (kith__sim_host_new(scene.sim, &options, &scene.host) != 0) {
            kith__sim_free(scene.sim);
            return;
        }
        scene.rt = kith__sim_rt(scene.host);
    }
    if (kith__rt_signal_open(scene.rt, KITH_RT_SIGNAL_HANGUP, on_signal, &scene, &signal) == 0 &&
        kith__rt_listen_with(scene.rt, &listen, on_accept, &scene, &scene.listener) == 0) {
        scene.at.ip = kith__rt_listener_local(scene.listener);
        if (kith__rt_stream_connect(scene.rt, &scene.at, events_of(&scene), &scene.clients[0]) == 0) {
            turn_a_while(&scene);
            if (scene.open_count == 1 && scene.ended_count == 0 &&
                kith__rt_stream_write_slices(scene.clients[0], slices, 2) == 0)
                turn_a_while(&scene);
            KITH_CHECK(scene.got_size == 0 || scene.got_size == 7);
        }
    }
    kith__rt_signal_close(signal);
    scene_close(&scene);
}

KITH_TEST(server_survives_the_failure_of_any_allocation)
{
    for (int is_sim = 0; is_sim < 2; is_sim++) {
        struct kith_test_mem mem;

        kith__test_mem_init(&mem, 0);
        live_once(is_sim != 0, &mem.mem);
        KITH_CHECK_EQ(mem.live, 0);
        KITH_CHECK(mem.calls > 5);
        for (uint64_t n = 1, calls = mem.calls; n <= calls; n++) {
            kith__test_mem_init(&mem, n);
            live_once(is_sim != 0, &mem.mem);
            KITH_CHECK_EQ(mem.live, 0);
        }
    }
}
