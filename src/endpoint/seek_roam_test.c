/*
 * Two endpoints that know nothing but ids, and a server of signed packets, in virtual time: one endpoint moves every minute, while
 * clocks jump, answers are lost and the server dies. It is found within two seconds of telling where it is now.
 */
#include "endpoint/announce.h"
#include "endpoint/seek.h"
#include "lookup/pkarr_fake.h"
#include "lookup/pkarr_publish.h"
#include "lookup/pkarr_resolve.h"

#include <time.h>

enum { MOVES = 40, PORT = 4433 };

#define MS KITH_NS_PER_MS
#define S  KITH_NS_PER_S

#define FOUND_WITHIN_NS (2 * S)

static const struct kith_slice alpn = { (const uint8_t *)"test", 4 };

static struct {
    struct fake fake;
    struct kith_secret secret;
    struct kith_id id; /* of the mover */
    struct kith_sim_host *mover_host;
    struct kith_rt *rts[2]; /* searcher, mover */
    struct kith_driver *drivers[2];
    struct kith_lookup *lookups[2];
    struct kith_announce *announce;
    struct kith_seek seek;
    struct kith_quic_conn *quic;
    struct kith_conn_ways ways;
    int seek_err;
    bool has_ended;
    uint64_t connected_ns;
} roam;

static void on_event(void *ctx, const struct kith_quic_event *event)
{
    int side = *(const int *)ctx;
    uint64_t now_ns = kith__sim_now(roam.fake.world.sim);
    struct kith_quic_conn *conn;

    if (event->kind == KITH_QUIC_INCOMING)
        KITH_CHECK_EQ(kith_quic_incoming_accept(event->incoming, NULL, now_ns, &conn), 0);
    else if (event->kind == KITH_QUIC_DRAINED && event->conn != roam.quic)
        kith_quic_conn_free(event->conn);
    else if (side == 0 && event->kind == KITH_QUIC_CONNECTED && event->conn == roam.quic)
        roam.connected_ns = now_ns;
}

static void open_side(int side)
{
    static const int sides[2] = { 0, 1 };
    struct kith_sockaddr any = { .port = PORT, .family = KITH_FAMILY_V4 };
    struct kith_quic_host_options host;
    struct kith_driver_options options = { .mem = kith_mem_default(),
                                           .rt = roam.rts[side],
                                           .host = &host,
                                           .binds = &any,
                                           .bind_count = 1,
                                           .on_event = on_event,
                                           .ctx = (void *)(uintptr_t)&sides[side] };
    struct kith_id id;

    kith_quic_host_defaults(&host);
    host.secret.bytes[0] = 9;
    if (side == 1)
        host.secret = roam.secret;
    host.alpns = &alpn;
    host.alpn_count = 1;
    KITH_CHECK_EQ(kith__driver_new(&options, &roam.drivers[side]), 0);
    id = kith_quic_host_id(kith__driver_host(roam.drivers[side]));
    KITH_CHECK_EQ(kith__lookup_new(roam.rts[side], kith_mem_default(), &id, &roam.lookups[side]), 0);
}

static void open_services(void)
{
    struct kith_pkarr_publish_options publish = { .http.url = "http://relay.test:8080/pkarr",
                                                  .secret = &roam.secret,
                                                  .filter = KITH_LOOKUP_ALL };
    struct kith_pkarr_http_options resolve = { .url = "http://relay.test:8080/pkarr" };
    struct kith_announce_options announce = { .rt = roam.rts[1],
                                              .mem = kith_mem_default(),
                                              .driver = roam.drivers[1],
                                              .lookup = roam.lookups[1],
                                              .id = roam.id };
    struct kith_lookup_service *service;

    KITH_CHECK_EQ(kith__pkarr_publish_new(roam.rts[1], &publish, &service), 0);
    service->filter = KITH_LOOKUP_ALL;
    KITH_CHECK_EQ(kith__lookup_add(roam.lookups[1], service), 0);
    KITH_CHECK_EQ(kith__pkarr_resolve_new(roam.rts[0], &resolve, &service), 0);
    KITH_CHECK_EQ(kith__lookup_add(roam.lookups[0], service), 0);
    KITH_CHECK_EQ(kith__announce_new(&announce, &roam.announce), 0);
}

static struct kith_sockaddr address_of(int move)
{
    return (struct kith_sockaddr) { .ip = { 10, 1, (uint8_t)(move / 200), (uint8_t)(move % 200 + 1) },
                                    .family = KITH_FAMILY_V4 };
}

static void roam_open(void)
{
    struct kith_sim_host_options mover = { .name = "mover", .up.delay_ns = 20 * MS, .down.delay_ns = 20 * MS };

    memset(&roam, 0, sizeof roam);
    roam.secret = fake_secret();
    roam.id = kith__secret_id(&roam.secret);
    fake_open(&roam.fake, WORLD_PLAIN, NULL, (uint64_t)time(NULL), &roam.id);
    mover.addrs[0] = address_of(0);
    KITH_CHECK_EQ(kith__sim_host_new(roam.fake.world.sim, &mover, &roam.mover_host), 0);
    roam.rts[0] = roam.fake.world.client;
    roam.rts[1] = kith__sim_rt(roam.mover_host);
    open_side(0);
    open_side(1);
    open_services();
}

static void roam_close(void)
{
    kith__announce_free(roam.announce);
    for (int i = 0; i < 2; i++) {
        kith__lookup_free(roam.lookups[i]);
        kith__driver_free(roam.drivers[i]);
    }
    kith__rt_free(roam.rts[1]);
    fake_close(&roam.fake);
}

/* ---- Searching: a new dial each time, by id alone ---- */

static void on_remote(void *ctx)
{
    struct kith_sockaddr remotes[KITH_SEEK_FIRST_IPS_MAX + KITH_SEEK_FIRST_RELAYS_MAX];
    struct kith_quic_connect_options options = {
        .remote_id = roam.id, .remotes = remotes, .alpns = &alpn, .alpn_count = 1
    };
    uint64_t now_ns = kith__sim_now(roam.fake.world.sim);

    (void)ctx;
    if (roam.quic == NULL) {
        options.remote_count = kith__seek_first(&roam.seek, remotes);
        KITH_CHECK_EQ(kith_quic_connect(kith__driver_host(roam.drivers[0]), &options, now_ns, &roam.quic), 0);
        kith__conn_ways_init(&roam.ways, roam.quic, NULL, true);
        kith__seek_attach(&roam.seek, roam.quic, &roam.ways, now_ns);
    }
    kith__driver_pump(roam.drivers[0]);
}

static void on_end(void *ctx, int err, const char *why)
{
    (void)ctx;
    (void)why;
    roam.has_ended = true;
    roam.seek_err = err;
}

static bool is_over(void *ctx)
{
    (void)ctx;
    return roam.connected_ns != 0 || (roam.has_ended && roam.quic == NULL);
}

static void begin_to_find(void)
{
    struct kith_seek_world world = { .rt = roam.rts[0], .driver = roam.drivers[0], .lookup = roam.lookups[0] };
    struct kith_seek_events events = { on_remote, on_end, NULL };
    struct kith_sockaddr any = { 0 };

    roam.connected_ns = 0;
    roam.has_ended = false;
    kith__seek_init(&roam.seek, &world, &roam.id, &any, &events);
    KITH_CHECK_EQ(kith__seek_start(&roam.seek), 0);
}

static void end_to_find(void)
{
    kith__seek_dispose(&roam.seek);
    kith__conn_ways_dispose(&roam.ways);
    kith_quic_conn_free(roam.quic); /* without a word: the mover finds out by itself */
    roam.quic = NULL;
}

/* True if it got through in time. */
static bool find_within(uint64_t limit_ns)
{
    uint64_t until_ns = kith__sim_now(roam.fake.world.sim) + limit_ns;
    bool is_found;

    begin_to_find();
    (void)kith__sim_run(roam.fake.world.sim, is_over, NULL, until_ns);
    is_found = roam.connected_ns != 0;
    end_to_find();
    return is_found;
}

/* ---- What goes wrong meanwhile ---- */

/* Each seventh request fails, whatever it is. */
static void on_request(struct fake *fake, size_t index, struct fake_reply *reply)
{
    (void)fake;
    if (index % 7 == 6)
        *reply = (struct fake_reply) { .status = 503 };
}

static size_t good_puts(void)
{
    size_t count = 0;

    for (size_t i = 0; i < roam.fake.count; i++)
        count += roam.fake.requests[i].is_put && roam.fake.requests[i].is_packet;
    return count;
}

/* The mover is elsewhere now; returns when the server has it from there, which the clock may not hinder. */
static void move_and_publish(int move, bool server_dies)
{
    struct kith_sockaddr now = address_of(move), told = now;
    struct kith_lookup_info info;
    size_t ignored = 0;
    bool is_there = false;

    told.port = PORT;
    if (server_dies)
        fake_stop(&roam.fake);
    KITH_CHECK_EQ(kith__sim_interface_set_addrs(roam.mover_host, 0, &now, 1), 0);
    if (server_dies) {
        fake_pass(&roam.fake, 3 * S);
        fake_listen(&roam.fake);
    }
    for (int i = 0; i < 100 && !is_there; i++) {
        fake_pass(&roam.fake, 100 * MS);
        if (!roam.fake.has_stored)
            continue;
        KITH_CHECK_EQ(kith__pkarr_info(&roam.fake.stored, kith_mem_default(), &info, &ignored), 0);
        is_there = info.addr.count == 1 && kith_sockaddr_equal(&info.addr.addrs[0].ip, &told);
        kith__lookup_info_dispose(&info);
    }
    KITH_CHECK(is_there);
}

/* An error of the server is told at once, and then it is asked again. */
static bool is_found_soon(void)
{
    uint64_t until_ns = kith__sim_now(roam.fake.world.sim) + FOUND_WITHIN_NS, now_ns;

    while ((now_ns = kith__sim_now(roam.fake.world.sim)) < until_ns)
        if (find_within(until_ns - now_ns))
            return true;
    return false;
}

KITH_TEST(seek_finds_who_moves_every_minute_within_two_seconds_of_its_publication)
{
    size_t found = 0;

    roam_open();
    fake_pass(&roam.fake, S);
    KITH_CHECK_EQ(good_puts(), 1);
    KITH_CHECK(find_within(FOUND_WITHIN_NS));
    roam.fake.on_request = on_request;
    for (int move = 1; move <= MOVES; move++) {
        if (move % 5 == 0)
            kith__sim_jump_wall(roam.fake.world.sim, move % 2 == 0 ? 3600000000 : -7200000000);
        move_and_publish(move, move % 8 == 3);
        found += is_found_soon();
        fake_pass(&roam.fake, 55 * S);
    }
    KITH_CHECK_EQ(found, MOVES);
    roam_close();
}

KITH_TEST(seek_of_who_moves_while_the_server_shows_an_old_packet_goes_on_to_the_new_one)
{
    struct kith_sockaddr moved = address_of(7);
    struct kith_lookup_info info;
    uint64_t begun_ns;

    roam_open();
    fake_pass(&roam.fake, S);
    fake_stop(&roam.fake); /* so the new one does not get there */
    KITH_CHECK_EQ(kith__sim_interface_set_addrs(roam.mover_host, 0, &moved, 1), 0);
    fake_pass(&roam.fake, 100 * MS);
    fake_listen(&roam.fake);
    roam.fake.on_request = NULL;
    /* What the program learns another way joins what the old packet says, and gets through. */
    kith__lookup_info_init(&info, kith_mem_default(), &roam.id);
    moved.port = PORT;
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&info.addr, &moved), 0);
    begin_to_find();
    fake_pass(&roam.fake, 400 * MS);
    KITH_CHECK(roam.quic != NULL && roam.connected_ns == 0);
    begun_ns = kith__sim_now(roam.fake.world.sim);
    kith__seek_add_found(&roam.seek, &info);
    (void)kith__sim_run(roam.fake.world.sim, is_over, NULL, begun_ns + S);
    KITH_CHECK(roam.connected_ns != 0 && roam.connected_ns - begun_ns <= 130 * MS);
    end_to_find();
    kith__lookup_info_dispose(&info);
    roam_close();
}
