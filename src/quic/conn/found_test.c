/* Bugs that whole runs of the simulated network found: each as small as it can be. */
#include "quic/conn/rules.h"

static struct kith_pair pair_b;
static struct kith_app app_b;

static bool server_ended(struct kith_pair *pair)
{
    (void)pair;
    return app_b.sides[1].ended_total != 0;
}

/* ---- The end of the handshake, lost behind data that fills the window ---- */

static bool has_handshake_packet(uint8_t *bytes, size_t size)
{
    struct kith_packet packet;

    for (; size != 0 && kith__packet_parse(bytes, size, 8, &packet) == 0; bytes += packet.size, size -= packet.size)
        if (packet.type == KITH_PACKET_HANDSHAKE)
            return true;
    return false;
}

/**
 * The Finished is lost, and so is the first probe with it; the second probe arrives. Its ACK says that the others are lost:
 * nothing of the handshake is in flight then, so no probe timeout will help.
 */
static bool lose_the_finished_twice(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    if (sender == 1 || !has_handshake_packet(bytes, *size))
        return true;
    return ++pair->user_flag > 2;
}

static void fill_the_window(struct kith_pair *pair, int side, const struct kith_quic_event *event)
{
    if (side == 0 && event->kind == KITH_QUIC_CONNECTED)
        kith__app_send(pair, 0, true, 100000);
}

KITH_TEST(found_lost_end_of_the_handshake_goes_again_behind_data_that_fills_the_window)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.tap = lose_the_finished_twice;
    KITH_CHECK_EQ(kith__pair_init(&pair_b, &config), 0);
    kith__app_attach(&app_b, &pair_b);
    pair_b.config.on_event = fill_the_window;
    KITH_CHECK_EQ(kith__pair_dial(&pair_b, NULL), 0);
    kith__pair_run(&pair_b, 10 * KITH_NS_PER_S);
    KITH_CHECK(pair_b.user_flag > 2);
    KITH_CHECK_EQ(pair_b.sides[0].seen[KITH_QUIC_CONFIRMED], 1);
    KITH_CHECK_EQ(pair_b.sides[1].seen[KITH_QUIC_CONFIRMED], 1);
    kith__pair_dispose(&pair_b);
}

/* ---- Probes of full size into a way that became narrow ---- */

static bool watch_probes(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    (void)bytes;
    if (sender == 0 && *size > 1200)
        pair->user_flag++;
    return true;
}

KITH_TEST(found_probes_become_small_when_the_way_became_narrow)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[0].keep_alive_ns = config.transport[1].keep_alive_ns = 0; /* no small packet helps */
    rules_connect(&pair_b, &app_b, &config);
    kith__app_send(&pair_b, 0, true, 200000);
    kith__pair_run(&pair_b, 5 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_b.sides[0].conn->paths[0]->now.mtu.size, 1452);
    app_b.sides[1].ended_total = 0;
    pair_b.config.link.size_max = 1300;
    pair_b.config.tap = watch_probes;
    kith__app_send(&pair_b, 0, true, 3000000); /* a window full of full packets: all vanish, nothing is acknowledged */
    KITH_CHECK(kith__pair_run_until(&pair_b, server_ended, 20 * KITH_NS_PER_S));
    KITH_CHECK(pair_b.user_flag != 0);
    KITH_CHECK(pair_b.sides[0].conn->paths[0]->now.mtu.size < 1300);
    kith__pair_dispose(&pair_b);
}

/* ---- Late copies of first packets ---- */

static uint8_t initial[KITH_QUIC_UDP_SIZE_MAX];
static size_t initial_size;

static bool keep_initial(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    (void)pair;
    if (sender == 0 && initial_size == 0) {
        memcpy(initial, bytes, *size);
        initial_size = *size;
    }
    return true;
}

KITH_TEST(found_late_copy_of_an_initial_is_no_new_client)
{
    struct kith_pair_config config;

    initial_size = 0;
    kith__pair_defaults(&config);
    config.tap = keep_initial;
    rules_connect(&pair_b, &app_b, &config);
    KITH_CHECK(initial_size >= 1200);
    KITH_CHECK_EQ(pair_b.sides[1].seen[KITH_QUIC_INCOMING], 1);
    kith__pair_run(&pair_b, 10 * KITH_NS_PER_S);
    rules_give(&pair_b, 1, initial, initial_size, pair_b.sides[0].outer.port);
    kith__pair_run(&pair_b, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_b.sides[1].seen[KITH_QUIC_INCOMING], 1);
    KITH_CHECK_EQ(pair_b.sides[1].host->stats.conns_live, 1);
    KITH_CHECK_EQ(pair_b.sides[0].seen[KITH_QUIC_CLOSED] + pair_b.sides[1].seen[KITH_QUIC_CLOSED], 0);
    kith__pair_dispose(&pair_b);
}
