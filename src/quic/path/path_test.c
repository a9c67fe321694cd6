#include "quic/path/path.h"

#include "base/test.h"

#define MS(n) ((uint64_t)(n)*KITH_NS_PER_MS)
enum { DATA = KITH_SENT_ELICITING | KITH_SENT_COUNTED };

static void start(struct kith_path *path, bool is_server, const struct kith_mem *mem)
{
    struct kith_path_options options = { .is_server = is_server,
                                         .pacing = true,
                                         .ecn = true,
                                         .mtu_discovery = true,
                                         .udp_size_initial = 1200,
                                         .udp_size_max = 1452,
                                         .initial_rtt_ns = MS(333),
                                         .keep_alive_ns = MS(5000),
                                         .idle_timeout_ns = MS(15000) };
    struct kith_tuple tuple = { .remote = { .ip = { 10, 0, 0, 1 }, .port = 1, .family = KITH_FAMILY_V4 } };

    kith__path_init(path, 1, &options, &tuple, 0, mem, 0);
    kith__path_start(path, false, 0);
}

static uint64_t send(struct kith_path *path, uint16_t size, uint8_t flags, uint64_t now_ns)
{
    uint64_t number;

    KITH_CHECK_EQ(kith__sent_begin(&path->sent, &number), 0);
    kith__path_stamp(path, kith__sent_building(&path->sent));
    kith__sent_commit(&path->sent, size, flags, now_ns);
    kith__path_on_sent(path, size, flags, now_ns);
    return number;
}

static void ack(struct kith_path *path, uint64_t first, uint64_t last, const struct kith_ecn_counts *counts,
                uint64_t now_ns)
{
    struct kith_path_ack sum;
    struct kith_sent_walk walk;
    const struct kith_sent *packet;

    kith__path_ack_begin(path, &path->sent, &sum);
    KITH_CHECK_EQ(kith__sent_ack_begin(&path->sent, first, last, &walk), 0);
    while ((packet = kith__sent_ack_next(&path->sent, &walk)) != NULL)
        kith__path_ack_packet(path, &path->sent, packet, &sum, now_ns);
    kith__path_ack_end(path, KITH_SPACE_DATA, &path->sent, &sum, 0, MS(25), counts, true, now_ns);
}

static size_t lose(struct kith_path *path, uint64_t now_ns)
{
    size_t count = 0;
    bool fell = false;

    while (kith__path_take_lost(path, KITH_SPACE_DATA, &path->sent, MS(25), &fell, now_ns) != NULL)
        count++;
    return count;
}

KITH_TEST(path_server_sends_at_most_three_times_what_it_received)
{
    struct kith_path path;

    start(&path, true, kith_mem_default());
    KITH_CHECK_EQ(kith__path_allowance(&path), 0);
    kith__path_on_datagram(&path, 1200);
    KITH_CHECK_EQ(kith__path_allowance(&path), 3600);
    kith__path_on_datagram_sent(&path, 3000);
    KITH_CHECK_EQ(kith__path_allowance(&path), 600);
    kith__path_on_datagram_sent(&path, 601);
    KITH_CHECK_EQ(kith__path_allowance(&path), 0);
    kith__path_on_proved(&path, 1);
    KITH_CHECK_EQ(kith__path_allowance(&path), SIZE_MAX);
    kith__path_dispose(&path);
    start(&path, false, kith_mem_default());
    KITH_CHECK_EQ(kith__path_allowance(&path), SIZE_MAX);
    kith__path_dispose(&path);
}

KITH_TEST(path_window_and_pacer_hold_back)
{
    struct kith_path path;

    start(&path, false, kith_mem_default());
    for (int i = 0; i < 10; i++) {
        KITH_CHECK(kith__path_may_send(&path, 1200, 0));
        send(&path, 1200, DATA, 0);
    }
    KITH_CHECK(kith__path_is_window_full(&path, 1200));
    ack(&path, 0, 9, NULL, MS(50));
    KITH_CHECK_EQ(path.now.in_flight_size, 0);
    KITH_CHECK_EQ(path.now.cc.window, 24000);
    KITH_CHECK_EQ(path.now.rtt.smoothed_ns, MS(50));
    KITH_CHECK_EQ(path.now.ecn.state, KITH_ECN_TESTING); /* nothing was marked */
    lose(&path, MS(50));
    KITH_CHECK_EQ(path.sent.base, 10);
    kith__path_check(&path);
    kith__path_dispose(&path);
}

KITH_TEST(path_window_does_not_grow_when_it_is_not_used)
{
    struct kith_path path;

    start(&path, false, kith_mem_default());
    send(&path, 1200, DATA, 0);
    ack(&path, 0, 0, NULL, MS(50));
    KITH_CHECK_EQ(path.now.cc.window, 12000);
    kith__path_dispose(&path);
}

KITH_TEST(path_small_window_grows_though_no_packet_has_the_full_size)
{
    struct kith_path path;
    uint64_t first, before;

    start(&path, false, kith_mem_default());
    path.now.cc.window = path.now.cc.threshold = 2400; /* two packets, out of slow start */
    before = path.now.cc.window;
    for (uint64_t i = 1; i < 40; i++) { /* never more than two thirds of it: the second packet is smaller */
        first = send(&path, 800, DATA, MS(100 * i));
        send(&path, 800, DATA, MS(100 * i));
        KITH_CHECK(i != 1 || !kith__path_may_send(&path, 1200, MS(100 * i)));
        ack(&path, first, first + 1, NULL, MS(100 * i + 50));
    }
    KITH_CHECK(path.now.cc.window > before);
    kith__path_dispose(&path);
    start(&path, false, kith_mem_default());
    path.now.cc.window = path.now.cc.threshold = 2400;
    for (uint64_t i = 1; i < 40; i++) { /* a full packet would have had room: it is not the window that limits */
        first = send(&path, 1100, DATA, MS(100 * i));
        ack(&path, first, first, NULL, MS(100 * i + 50));
    }
    KITH_CHECK_EQ(path.now.cc.window, before);
    kith__path_dispose(&path);
}

KITH_TEST(path_loss_and_its_undoing)
{
    struct kith_path path;

    start(&path, false, kith_mem_default());
    for (int i = 0; i < 8; i++)
        send(&path, 1200, DATA, MS(i));
    ack(&path, 4, 7, NULL, MS(50));
    KITH_CHECK_EQ(lose(&path, MS(50)), 4);
    KITH_CHECK(path.now.cc.events == 1 && path.now.cc.window < 12000);
    KITH_CHECK_EQ(path.now.in_flight_size, 0);
    ack(&path, 0, 3, NULL, MS(60)); /* all four were only late */
    KITH_CHECK(path.now.cc.window >= 12000);
    KITH_CHECK(path.loss.spurious == 4 && path.loss.packets == 8);
    kith__path_check(&path);
    kith__path_dispose(&path);
}

KITH_TEST(path_mtu_probe_loss_is_no_congestion)
{
    struct kith_path path;

    start(&path, false, kith_mem_default());
    kith__mtu_on_probe_sent(&path.now.mtu, send(&path, 1326, DATA | KITH_SENT_MTU_PROBE, 0));
    for (int i = 0; i < 3; i++)
        send(&path, 1200, DATA, 0);
    ack(&path, 1, 3, NULL, MS(50));
    KITH_CHECK_EQ(lose(&path, MS(50)), 1);
    KITH_CHECK(path.now.cc.events == 0 && path.now.mtu.tries == 1);
    kith__mtu_on_probe_sent(&path.now.mtu, send(&path, 1326, DATA | KITH_SENT_MTU_PROBE, MS(60)));
    ack(&path, 4, 4, NULL, MS(110));
    KITH_CHECK_EQ(path.now.mtu.size, 1326);
    KITH_CHECK_EQ(path.now.cc.udp_size, 1326);
    kith__path_dispose(&path);
}

KITH_TEST(path_ce_mark_is_a_congestion_event)
{
    struct kith_path path;

    start(&path, false, kith_mem_default());
    for (int i = 0; i < 3; i++)
        send(&path, 1200, DATA | KITH_SENT_ECT0, 0);
    ack(&path, 0, 2, &(struct kith_ecn_counts) { 2, 0, 1 }, MS(50));
    KITH_CHECK(path.now.ecn.state == KITH_ECN_CAPABLE && path.now.cc.events == 1);
    kith__path_dispose(&path);
}

KITH_TEST(path_ack_that_was_held_back_by_an_outage_is_no_round_trip)
{
    struct kith_path path;
    struct kith_path_ack sum;
    static const uint64_t delays_ms[] = { 20, 3000 };

    start(&path, false, kith_mem_default());
    send(&path, 1200, DATA, 0);
    ack(&path, 0, 0, NULL, MS(50));
    for (size_t i = 0; i < KITH_COUNT(delays_ms); i++) {
        uint64_t sent_ns = MS(100) + i * MS(10000), number = send(&path, 1200, DATA, sent_ns);
        struct kith_sent_walk walk;

        kith__path_ack_begin(&path, &path.sent, &sum);
        KITH_CHECK_EQ(kith__sent_ack_begin(&path.sent, number, number, &walk), 0);
        kith__path_ack_packet(&path, &path.sent, kith__sent_ack_next(&path.sent, &walk), &sum, sent_ns);
        kith__path_ack_end(&path, KITH_SPACE_DATA, &path.sent, &sum, MS(delays_ms[i]), MS(25), NULL, true,
                           sent_ns + MS(50 + delays_ms[i]));
        KITH_CHECK_EQ(path.answered_ns, sent_ns); /* but it did arrive */
        KITH_CHECK_EQ(path.now.rtt.latest_ns, MS(70));
    }
    kith__path_dispose(&path);
}

KITH_TEST(path_idle_time_restarts_on_receive_and_first_send_after_it)
{
    struct kith_path path;

    start(&path, false, kith_mem_default());
    send(&path, 1200, DATA, MS(100));
    send(&path, 1200, DATA, MS(200));
    KITH_CHECK_EQ(kith__path_idle_deadline(path.idle_from_ns, MS(15000), MS(100)), MS(15100));
    kith__path_on_packet(&path, MS(300));
    KITH_CHECK_EQ(kith__path_idle_deadline(path.idle_from_ns, MS(15000), MS(100)), MS(15300));
    KITH_CHECK_EQ(kith__path_idle_deadline(path.idle_from_ns, MS(100), MS(100)), MS(600)); /* at least 3 PTO */
    KITH_CHECK_EQ(kith__path_idle_deadline(path.idle_from_ns, 0, MS(100)), KITH_NEVER);
    kith__path_dispose(&path);
}

KITH_TEST(path_keep_alive_only_when_open_and_silent)
{
    struct kith_path path;

    start(&path, false, kith_mem_default());
    KITH_CHECK_EQ(kith__path_keep_alive_deadline(&path), KITH_NEVER);
    kith__path_on_proved(&path, 0);
    KITH_CHECK_EQ(kith__path_keep_alive_deadline(&path), MS(5000));
    kith__path_on_keep_alive(&path, MS(5000));
    KITH_CHECK(path.ping_wanted && kith__path_keep_alive_deadline(&path) == KITH_NEVER);
    send(&path, 30, DATA, MS(5001));
    KITH_CHECK(!path.ping_wanted);
    KITH_CHECK_EQ(kith__path_keep_alive_deadline(&path), MS(10001));
    kith__path_dispose(&path);
}

KITH_TEST(path_close_drops_intents_and_is_fine_twice)
{
    struct kith_test_mem mem;
    struct kith_path path;

    kith__test_mem_init(&mem, 0);
    start(&path, true, &mem.mem);
    kith__responses_on_challenge(&path.responses, &(struct kith_response) { .number = 1 });
    send(&path, 1200, DATA, 0);
    kith__path_close(&path, 1);
    kith__path_close(&path, 2);
    KITH_CHECK(!kith__path_is_live(&path) && path.responses.count == 0);
    kith__path_drain(&path, 3);
    kith__path_dispose(&path);
    kith__path_dispose(&path);
    KITH_CHECK_EQ(mem.live, 0);
}

KITH_TEST(path_dropped_space_leaves_no_bytes_in_flight)
{
    struct kith_path path;
    struct kith_sent_log handshake;
    uint64_t number;

    start(&path, true, kith_mem_default());
    kith__sent_init(&handshake, kith_mem_default(), 0);
    for (int i = 0; i < 3; i++) {
        KITH_CHECK_EQ(kith__sent_begin(&handshake, &number), 0);
        kith__path_stamp(&path, kith__sent_building(&handshake));
        kith__sent_commit(&handshake, 1200, DATA, 1);
        kith__path_on_sent(&path, 1200, DATA, 1);
    }
    while (kith__path_take_dropped(&path, &handshake) != NULL)
        continue;
    KITH_CHECK(path.now.in_flight_size == 0 && path.now.cc.events == 0);
    kith__sent_dispose(&handshake);
    kith__path_dispose(&path);
}
