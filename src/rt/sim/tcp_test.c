/* Simulated TCP: time, windows, silence, resets, crashes, many streams; the same seed gives the same run. */
#include "base/mem.h"
#include "base/test.h"
#include "rt/sim/sim.h"
#include "rt/sim/tcp.h"

#include <string.h>

#define MS KITH_NS_PER_MS
#define S  KITH_NS_PER_S

enum { BIG = 1 << 20 };

/** What one side has heard. */
struct side {
    struct kith_rt_stream *stream;
    uint64_t opened_ns, ended_ns, written_ns; /* 0: not yet */
    size_t got;
    int open_err, end_err, write_err;
    bool is_wrong;
};

/** A client, a server, and the way between them. */
struct scene {
    struct kith_sim *sim;
    struct kith_sim_host *a, *b;
    struct kith_rt_listener *listener;
    struct kith_rt_stream_addr at;
    struct side client, server;
    bool reads_at_once;
};

static uint8_t big[BIG];

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + at / 255);
}

static struct kith_sim *sim_now; /* whose clock the callbacks read */

static void on_open(void *ctx, int err)
{
    struct side *side = ctx;

    side->opened_ns = kith__sim_now(sim_now);
    side->open_err = err;
}

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct side *side = ctx;

    for (size_t i = 0; i < size; i++)
        side->is_wrong |= bytes[i] != pattern(side->got + i);
    side->got += size;
    memset(bytes, 0, size);
}

static void on_end(void *ctx, int err)
{
    struct side *side = ctx;

    KITH_CHECK_EQ(side->ended_ns, 0);
    side->ended_ns = kith__sim_now(sim_now);
    side->end_err = err;
}

static void on_written(void *ctx, int err)
{
    struct side *side = ctx;

    side->written_ns = kith__sim_now(sim_now);
    side->write_err = err;
}

static struct kith_rt_stream_events events_of(struct side *side)
{
    return (struct kith_rt_stream_events) { on_open, on_data, on_end, on_written, NULL, side };
}

static void on_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct scene *scene = ctx;
    struct kith_rt_stream_events events = events_of(&scene->server);

    KITH_CHECK(scene->server.stream == NULL);
    scene->server.stream = stream;
    scene->server.opened_ns = kith__sim_now(sim_now);
    kith__rt_stream_set_events(stream, &events);
    if (scene->reads_at_once)
        kith__rt_stream_read_start(stream);
}

static struct kith_sim_host *host_new(struct kith_sim *sim, const char *name, const char *addr,
                                      const struct kith_sim_link *link, struct kith_sim_nat *nat)
{
    struct kith_sim_host_options options = { .name = name, .up = *link, .down = *link, .nat = nat };
    struct kith_sim_host *host;

    KITH_CHECK_EQ(kith_sockaddr_parse(addr, &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(sim, &options, &host), 0);
    return host;
}

static void scene_new(struct scene *scene, uint64_t seed, const struct kith_sim_link *link)
{
    memset(scene, 0, sizeof *scene);
    for (size_t i = 0; i < BIG; i++)
        big[i] = pattern(i);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, seed, &scene->sim), 0);
    sim_now = scene->sim;
    scene->reads_at_once = true;
    scene->a = host_new(scene->sim, "a", "10.0.0.1:0", link, NULL);
    scene->b = host_new(scene->sim, "b", "10.0.0.2:0", link, NULL);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.2:80", &scene->at.ip), 0);
}

static void scene_listen(struct scene *scene, const struct kith_rt_listen_options *options)
{
    struct kith_rt_listen_options full = *options;

    full.at = scene->at;
    KITH_CHECK_EQ(kith__rt_listen_with(kith__sim_rt(scene->b), &full, on_accept, scene, &scene->listener), 0);
}

static void scene_dial(struct scene *scene)
{
    struct kith_rt_stream_events events = events_of(&scene->client);

    KITH_CHECK_EQ(kith__rt_stream_connect(kith__sim_rt(scene->a), &scene->at, &events, &scene->client.stream), 0);
    kith__rt_stream_read_start(scene->client.stream);
}

static void run_for(struct scene *scene, uint64_t ns)
{
    KITH_CHECK_EQ(kith__sim_run(scene->sim, NULL, NULL, kith__sim_now(scene->sim) + ns), KITH_SIM_OK);
}

/** A listening server and an open client, at rest. */
static void scene_open(struct scene *scene, uint64_t seed, const struct kith_sim_link *link)
{
    scene_new(scene, seed, link);
    scene_listen(scene, &(struct kith_rt_listen_options) { .backlog = 0 });
    scene_dial(scene);
    run_for(scene, S);
    KITH_CHECK(scene->client.opened_ns != 0 && scene->server.opened_ns != 0);
    KITH_CHECK_EQ(scene->client.open_err, 0);
}

static void side_close(struct side *side)
{
    kith__rt_stream_close(side->stream);
    side->stream = NULL;
}

static void scene_free(struct scene *scene)
{
    KITH_CHECK(!scene->client.is_wrong && !scene->server.is_wrong);
    side_close(&scene->client);
    side_close(&scene->server);
    kith__rt_listener_close(scene->listener);
    kith__sim_free(scene->sim);
}

static const struct kith_sim_link ten_ms = { .delay_ns = 5 * MS };

/* ---- Time ---- */

KITH_TEST(tcp_takes_the_delay_of_the_links)
{
    struct scene scene;
    uint64_t start_ns;

    scene_new(&scene, 1, &ten_ms);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 0 });
    start_ns = kith__sim_now(scene.sim);
    scene_dial(&scene);
    run_for(&scene, S);
    KITH_CHECK_EQ(scene.server.opened_ns, start_ns + 10 * MS);
    KITH_CHECK_EQ(scene.client.opened_ns, start_ns + 20 * MS);
    start_ns = kith__sim_now(scene.sim);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, 100), 0);
    run_for(&scene, 10 * MS - 1);
    KITH_CHECK_EQ(scene.server.got, 0);
    KITH_CHECK_EQ(scene.client.written_ns, start_ns); /* with the system at once */
    run_for(&scene, 1);
    KITH_CHECK_EQ(scene.server.got, 100);
    KITH_CHECK_EQ(kith__rt_stream_shutdown(scene.client.stream), 0);
    run_for(&scene, 10 * MS);
    KITH_CHECK_EQ(scene.server.ended_ns, kith__sim_now(scene.sim));
    KITH_CHECK_EQ(scene.server.end_err, 0);
    scene_free(&scene);
}

KITH_TEST(tcp_takes_the_rate_of_the_links)
{
    struct kith_sim_link slow = { .delay_ns = 5 * MS, .rate = 8 * BIG }; /* one BIG a second */
    struct scene scene;
    uint64_t start_ns;

    scene_open(&scene, 1, &slow);
    start_ns = kith__sim_now(scene.sim);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, BIG), 0);
    run_for(&scene, S - 100 * MS);
    KITH_CHECK(scene.server.got > BIG / 2 && scene.server.got < BIG);
    run_for(&scene, 200 * MS);
    KITH_CHECK_EQ(scene.server.got, BIG);
    KITH_CHECK(scene.client.written_ns > start_ns + S / 2); /* the window holds the writer to the rate */
    scene_free(&scene);
}

KITH_TEST(tcp_loses_nothing_on_links_that_lose)
{
    struct kith_sim_link lossy = { .delay_ns = 5 * MS, .jitter_ns = 3 * MS, .loss_ppm = 200000 };
    struct scene scene;

    scene_open(&scene, 1, &lossy);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, BIG), 0);
    run_for(&scene, 60 * S);
    KITH_CHECK_EQ(scene.server.got, BIG);
    scene_free(&scene);
}

/* ---- Windows ---- */

KITH_TEST(tcp_holds_up_the_writer_of_a_slow_reader)
{
    struct scene scene;

    scene_new(&scene, 1, &ten_ms);
    scene.reads_at_once = false;
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 0 });
    scene_dial(&scene);
    run_for(&scene, S);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, BIG), 0);
    run_for(&scene, 30 * S);
    KITH_CHECK_EQ(scene.client.written_ns, 0);
    KITH_CHECK_EQ(scene.server.got, 0);
    KITH_CHECK(((struct sim_stream *)scene.server.stream)->end->inbox.size <= KITH_SIM_TCP_WINDOW);
    kith__rt_stream_read_start(scene.server.stream);
    run_for(&scene, 5 * S);
    KITH_CHECK_EQ(scene.server.got, BIG);
    KITH_CHECK(scene.client.written_ns != 0);
    KITH_CHECK_EQ(scene.client.write_err, 0);
    scene_free(&scene);
}

/* ---- Silence ---- */

static void cut(struct scene *scene, bool is_cut)
{
    KITH_CHECK_EQ(kith__sim_set_partition(scene->sim, scene->a, scene->b, is_cut), 0);
}

KITH_TEST(tcp_goes_on_when_a_partition_heals)
{
    struct scene scene;

    scene_open(&scene, 1, &ten_ms);
    cut(&scene, true);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, BIG), 0);
    run_for(&scene, 60 * S);
    KITH_CHECK_EQ(scene.server.got, 0);
    KITH_CHECK(scene.client.ended_ns == 0 && scene.server.ended_ns == 0); /* nobody is told */
    cut(&scene, false);
    run_for(&scene, 20 * S);
    KITH_CHECK_EQ(scene.server.got, BIG);
    scene_free(&scene);
}

KITH_TEST(tcp_with_a_time_limit_gives_up_alone)
{
    struct scene scene;
    uint64_t start_ns;

    scene_open(&scene, 1, &ten_ms);
    kith__rt_stream_set_timeout(scene.client.stream, 2 * S);
    cut(&scene, true);
    start_ns = kith__sim_now(scene.sim);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, BIG), 0);
    run_for(&scene, 10 * S);
    KITH_CHECK_EQ(scene.client.ended_ns, start_ns + 2 * S);
    KITH_CHECK_EQ(scene.client.end_err, KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(scene.client.write_err, KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, 1), 0);
    run_for(&scene, 1);
    KITH_CHECK_EQ(scene.client.write_err, KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(scene.server.ended_ns, 0); /* half-open */
    cut(&scene, false);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.server.stream, big, 1), 0);
    run_for(&scene, S);
    KITH_CHECK_EQ(scene.server.end_err, KITH_ERR_RESET);
    scene_free(&scene);
}

KITH_TEST(tcp_asks_an_idle_other_side_for_a_sign_of_life)
{
    struct scene scene;
    uint64_t start_ns, limit_ns = KITH_RT_TCP_IDLE_NS + KITH_RT_TCP_PROBES * KITH_RT_TCP_PROBE_NS;

    scene_open(&scene, 1, &ten_ms);
    run_for(&scene, 1000 * S);
    KITH_CHECK(scene.client.ended_ns == 0 && scene.server.ended_ns == 0);
    cut(&scene, true);
    start_ns = kith__sim_now(scene.sim);
    run_for(&scene, 200 * S);
    KITH_CHECK_EQ(scene.client.end_err, KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(scene.server.end_err, KITH_ERR_TIMEOUT);
    KITH_CHECK(scene.client.ended_ns <= start_ns + limit_ns && scene.client.ended_ns >= start_ns + limit_ns - 65 * S);
    scene_free(&scene);
}

KITH_TEST(tcp_one_way_blackhole_is_silence_too)
{
    struct kith_sockaddr from, to;
    struct scene scene;

    scene_open(&scene, 1, &ten_ms);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.2:80", &from), 0);
    to = (struct kith_sockaddr) { .family = KITH_FAMILY_NONE };
    KITH_CHECK_EQ(kith__sim_set_blackhole(scene.sim, &from, &to, true), 0);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, 10), 0);
    run_for(&scene, 5 * S);
    KITH_CHECK_EQ(scene.server.got, 0);
    KITH_CHECK_EQ(kith__sim_set_blackhole(scene.sim, &from, &to, false), 0);
    run_for(&scene, 5 * S);
    KITH_CHECK_EQ(scene.server.got, 10);
    KITH_CHECK(kith__sim_stats(scene.sim).tcp_retries > 0);
    scene_free(&scene);
}

/* ---- Ends ---- */

KITH_TEST(tcp_close_delivers_what_was_written_and_resets_over_unread_bytes)
{
    struct scene scene;

    scene_open(&scene, 1, &ten_ms);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, 1000), 0);
    side_close(&scene.client);
    run_for(&scene, S);
    KITH_CHECK_EQ(scene.server.got, 1000);
    KITH_CHECK_EQ(scene.server.end_err, 0);
    KITH_CHECK(scene.server.ended_ns != 0);
    /* Nobody is there any more. */
    KITH_CHECK_EQ(kith__rt_stream_write(scene.server.stream, big, 10), 0);
    run_for(&scene, S);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.server.stream, big, 10), 0);
    run_for(&scene, S);
    KITH_CHECK_EQ(scene.server.write_err, KITH_ERR_RESET);
    scene_free(&scene);
    scene_open(&scene, 1, &ten_ms);
    kith__rt_stream_read_stop(scene.server.stream);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, 1000), 0);
    run_for(&scene, S);
    side_close(&scene.server);
    run_for(&scene, S);
    KITH_CHECK_EQ(scene.client.end_err, KITH_ERR_RESET);
    scene_free(&scene);
}

KITH_TEST(tcp_of_a_crashed_host_is_reset_when_it_is_back)
{
    struct scene scene;

    scene_open(&scene, 1, &ten_ms);
    kith__sim_host_set_down(scene.b, true);
    side_close(&scene.server); /* the process is gone, and says no word */
    run_for(&scene, 30 * S);
    KITH_CHECK_EQ(scene.client.ended_ns, 0);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, 100), 0);
    run_for(&scene, 5 * S);
    KITH_CHECK_EQ(scene.client.ended_ns, 0);
    kith__sim_host_set_down(scene.b, false);
    run_for(&scene, 10 * S);
    KITH_CHECK_EQ(scene.client.end_err, KITH_ERR_RESET);
    scene_free(&scene);
}

KITH_TEST(tcp_of_a_host_that_was_down_for_a_moment_goes_on)
{
    struct scene scene;

    scene_open(&scene, 1, &ten_ms);
    kith__sim_host_set_down(scene.b, true);
    KITH_CHECK_EQ(kith__rt_stream_write(scene.client.stream, big, BIG), 0);
    run_for(&scene, 10 * S);
    KITH_CHECK_EQ(scene.server.got, 0);
    kith__sim_host_set_down(scene.b, false);
    run_for(&scene, 20 * S);
    KITH_CHECK_EQ(scene.server.got, BIG);
    scene_free(&scene);
}

KITH_TEST(tcp_reset_all_tells_both_sides)
{
    struct scene scene;

    scene_open(&scene, 1, &ten_ms);
    kith__sim_tcp_reset_all(scene.b);
    run_for(&scene, 1);
    KITH_CHECK_EQ(scene.client.end_err, KITH_ERR_RESET);
    KITH_CHECK_EQ(scene.server.end_err, KITH_ERR_RESET);
    KITH_CHECK_EQ(kith__sim_stats(scene.sim).tcp_resets, 2);
    scene_free(&scene);
}

/* ---- Connecting ---- */

KITH_TEST(tcp_connect_is_refused_unreachable_or_silent)
{
    struct scene scene;
    uint64_t start_ns;

    scene_new(&scene, 1, &ten_ms);
    scene_dial(&scene);
    run_for(&scene, S);
    KITH_CHECK_EQ(scene.client.open_err, KITH_ERR_REFUSED);
    side_close(&scene.client);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.9.9.9:80", &scene.at.ip), 0);
    scene_dial(&scene);
    run_for(&scene, S);
    KITH_CHECK_EQ(scene.client.open_err, KITH_ERR_UNREACHABLE);
    side_close(&scene.client);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.2:80", &scene.at.ip), 0);
    kith__sim_host_set_down(scene.b, true);
    start_ns = kith__sim_now(scene.sim);
    scene.client.opened_ns = 0;
    scene_dial(&scene);
    run_for(&scene, 120 * S);
    KITH_CHECK_EQ(scene.client.opened_ns, 0);
    run_for(&scene, 10 * S);
    KITH_CHECK_EQ(scene.client.open_err, KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(scene.client.opened_ns, start_ns + 127 * S);
    side_close(&scene.client);
    scene_dial(&scene);
    run_for(&scene, S);
    side_close(&scene.client); /* in the middle of it */
    run_for(&scene, S);
    scene_free(&scene);
}

KITH_TEST(tcp_connect_succeeds_when_the_way_opens_and_the_backlog_has_room)
{
    struct scene scene;

    scene_new(&scene, 1, &ten_ms);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 1 });
    cut(&scene, true);
    scene_dial(&scene);
    run_for(&scene, 10 * S);
    KITH_CHECK_EQ(scene.client.opened_ns, 0);
    cut(&scene, false);
    run_for(&scene, 20 * S);
    KITH_CHECK(scene.client.opened_ns != 0 && scene.server.stream != NULL);
    scene_free(&scene);
}

KITH_TEST(tcp_client_that_leaves_before_its_answer_comes_is_heard_of)
{
    struct scene scene;

    scene_new(&scene, 1, &ten_ms);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 4 });
    scene_dial(&scene);
    run_for(&scene, 15 * MS); /* accepted, but the answer is still on its way */
    side_close(&scene.client);
    run_for(&scene, S);
    KITH_CHECK_EQ(scene.server.end_err, KITH_ERR_RESET);
    scene_free(&scene);
}

KITH_TEST(tcp_from_behind_a_nat_comes_from_its_outer_address)
{
    struct kith_sim_nat_options nat_options = { .up = { .delay_ns = 20 * MS }, .down = { .delay_ns = 20 * MS } };
    struct kith_sockaddr outer, remote;
    struct kith_sim_nat *nat;
    struct scene scene;
    uint64_t start_ns;

    scene_new(&scene, 1, &ten_ms);
    KITH_CHECK_EQ(kith_sockaddr_parse("203.0.113.1:0", &outer), 0);
    nat_options.outer = outer;
    KITH_CHECK_EQ(kith__sim_nat_new(scene.sim, &nat_options, &nat), 0);
    scene.a = host_new(scene.sim, "inner", "192.168.0.2:0", &ten_ms, nat);
    scene_listen(&scene, &(struct kith_rt_listen_options) { .backlog = 4 });
    start_ns = kith__sim_now(scene.sim);
    scene_dial(&scene);
    run_for(&scene, S);
    KITH_CHECK_EQ(scene.client.opened_ns, start_ns + 60 * MS);
    remote = kith__rt_stream_remote(scene.server.stream);
    outer.port = remote.port;
    KITH_CHECK(kith_sockaddr_equal(&remote, &outer) && outer.port != 0);
    scene_free(&scene);
}

/* ---- Many ---- */

enum { MANY = 10000 };

struct crowd {
    struct scene scene;
    struct kith_rt_stream *clients[MANY], *accepted[MANY];
    size_t open_count, accepted_count, echoed_count;
};

static struct crowd crowd;

static void crowd_open(void *ctx, int err)
{
    (void)ctx;
    KITH_CHECK_EQ(err, 0);
    crowd.open_count++;
}

static void crowd_echo(void *ctx, uint8_t *bytes, size_t size)
{
    struct kith_rt_stream *stream = *(struct kith_rt_stream **)ctx;

    (void)bytes;
    KITH_CHECK_EQ(kith__rt_stream_write(stream, big, size), 0);
}

static void crowd_heard(void *ctx, uint8_t *bytes, size_t size)
{
    (void)ctx, (void)bytes, (void)size;
    crowd.echoed_count++;
}

static void crowd_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct kith_rt_stream **slot = &crowd.accepted[crowd.accepted_count++];
    struct kith_rt_stream_events events = { .on_data = crowd_echo, .ctx = slot };

    (void)ctx;
    *slot = stream;
    kith__rt_stream_set_events(stream, &events);
    kith__rt_stream_read_start(stream);
}

static uint64_t crowd_run(uint64_t seed, size_t count)
{
    struct kith_sim_link link = { .delay_ns = 5 * MS, .jitter_ns = 10 * MS, .loss_ppm = 10000, .rate = 1000000000 };
    struct kith_rt_stream_events events = { .on_open = crowd_open, .on_data = crowd_heard };
    uint64_t hash;

    memset(&crowd, 0, sizeof crowd);
    scene_new(&crowd.scene, seed, &link);
    KITH_CHECK_EQ(kith__rt_listen_with(kith__sim_rt(crowd.scene.b),
                                       &(struct kith_rt_listen_options) { .at = crowd.scene.at, .backlog = MANY },
                                       crowd_accept, NULL, &crowd.scene.listener),
                  0);
    for (size_t i = 0; i < count; i++) {
        KITH_CHECK_EQ(kith__rt_stream_connect(kith__sim_rt(crowd.scene.a), &crowd.scene.at, &events, &crowd.clients[i]),
                      0);
        kith__rt_stream_read_start(crowd.clients[i]);
    }
    run_for(&crowd.scene, 2 * S);
    KITH_CHECK_EQ(crowd.open_count, count);
    for (size_t i = 0; i < count; i++)
        KITH_CHECK_EQ(kith__rt_stream_write(crowd.clients[i], big, 100), 0);
    run_for(&crowd.scene, 150 * S); /* with signs of life */
    KITH_CHECK_EQ(crowd.echoed_count, count);
    hash = kith__sim_hash(crowd.scene.sim);
    for (size_t i = 0; i < count; i++) {
        kith__rt_stream_close(crowd.clients[i]);
        kith__rt_stream_close(crowd.accepted[i]);
    }
    scene_free(&crowd.scene);
    return hash;
}

KITH_TEST(tcp_carries_ten_thousand_streams)
{
    crowd_run(1, MANY);
}

KITH_TEST(tcp_is_the_same_for_the_same_seed)
{
    KITH_CHECK_EQ(crowd_run(7, 100), crowd_run(7, 100));
    KITH_CHECK(crowd_run(7, 100) != crowd_run(8, 100));
}

/* ---- Memory ---- */

static void talk(const struct kith_mem *mem)
{
    struct kith_sim_host_options options = { .name = "a", .mem = mem };
    struct kith_rt_stream_addr at = { .unix_path = NULL };
    struct side client = { 0 };
    struct scene scene = { .reads_at_once = true };
    struct kith_rt_stream_events events = events_of(&client);
    struct kith_slice slices[2] = { { big, 5 }, { big + 5, 7 } };

    if (kith__sim_new(mem, NULL, 1, &scene.sim) != 0)
        return;
    sim_now = scene.sim;
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:80", &at.ip), 0);
    if (kith__sim_host_new(scene.sim, &options, &scene.a) == 0 &&
        kith__rt_listen(kith__sim_rt(scene.a), &at, on_accept, &scene, &scene.listener) == 0 &&
        kith__rt_stream_connect(kith__sim_rt(scene.a), &at, &events, &client.stream) == 0) {
        kith__rt_stream_read_start(client.stream);
        run_for(&scene, S);
        if (client.opened_ns != 0 && client.open_err == 0 &&
            kith__rt_stream_write_slices(client.stream, slices, 2) == 0)
            run_for(&scene, S);
        if (scene.server.stream != NULL && client.written_ns != 0 && client.write_err == 0)
            KITH_CHECK_EQ(scene.server.got, 12);
    }
    kith__rt_stream_close(client.stream);
    kith__rt_stream_close(scene.server.stream);
    kith__rt_listener_close(scene.listener);
    kith__sim_free(scene.sim);
}

KITH_TEST(tcp_survives_the_failure_of_any_allocation)
{
    struct kith_test_mem mem;

    for (size_t i = 0; i < BIG; i++)
        big[i] = pattern(i);
    kith__test_mem_init(&mem, 0);
    talk(&mem.mem);
    KITH_CHECK_EQ(mem.live, 0);
    for (uint64_t n = 1, calls = mem.calls; n <= calls; n++) {
        kith__test_mem_init(&mem, n);
        talk(&mem.mem);
        KITH_CHECK_EQ(mem.live, 0);
    }
}
