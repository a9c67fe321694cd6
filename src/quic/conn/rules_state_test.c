/* Packets that come in an order, or with frames in an order, that a decent peer does not send: none may upset our books. */
#include "quic/conn/app.h"

#include "base/test.h"
#include "quic/conn/packet_out.h"
#include "quic/conn/tx_frames.h"
#include "quic/host/host.h"

#include <string.h>

static struct kith_pair pair_r;
static struct kith_app app_r;

static void start(struct kith_pair_config *config)
{
    KITH_CHECK_EQ(kith__pair_init(&pair_r, config), 0);
    kith__app_attach(&app_r, &pair_r);
}

static void start_connected(void)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_r));
    kith__pair_run(&pair_r, KITH_NS_PER_S);
}

static void give(int to, uint8_t *bytes, size_t size, uint16_t port)
{
    struct kith_quic_received received = {
        .local = pair_r.sides[to].inner, .remote = pair_r.sides[1 - to].outer, .bytes = bytes, .size = size
    };

    received.remote.port = port;
    kith_quic_host_receive(pair_r.sides[to].host, &received, pair_r.now_ns);
}

/** Seals a packet of the client with this number, of which its own books know nothing, and hands it over at once. */
static void inject(uint64_t number, uint16_t port, const uint8_t *frames, size_t size)
{
    struct kith_quic_conn *conn = pair_r.sides[0].conn;
    struct kith_sent_log saved = conn->paths[0]->sent;
    struct kith_packet_out out;
    uint8_t datagram[1500];
    size_t sealed;

    kith__sent_init(&conn->paths[0]->sent, saved.mem, 0);
    conn->paths[0]->sent.base = conn->paths[0]->sent.oldest = conn->paths[0]->sent.next = number;
    KITH_CHECK_EQ(kith__packet_out_begin(&out, conn, conn->paths[0], KITH_LEVEL_DATA, datagram, sizeof datagram), 0);
    KITH_CHECK_EQ(kith__write_bytes(&out.w, frames, size), 0);
    sealed = kith__packet_out_size(&out);
    KITH_CHECK_EQ(kith__packet_out_end(&out), 0);
    give(1, datagram, sealed, port);
    kith__sent_dispose(&conn->paths[0]->sent);
    conn->paths[0]->sent = saved;
}

/** A number above all that the client used. */
static uint64_t next_number(void)
{
    return kith__received_end(&pair_r.sides[1].conn->paths[0]->received) + 1;
}

static const uint8_t ping_frame[] = { 1, 0, 0, 0, 0 };

static bool both_are_open(void)
{
    return pair_r.sides[0].seen[KITH_QUIC_CLOSED] == 0 && pair_r.sides[1].seen[KITH_QUIC_CLOSED] == 0;
}

/* ---- Frames behind the one that ends their own space ---- */

/** In place of the client's second flight: one Handshake packet with its CRYPTO bytes first and an ACK behind them. */
static bool finished_before_ack(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    static const uint8_t ack[] = { 2, 0, 0, 0, 0 };
    struct kith_quic_conn *conn = pair->sides[0].conn;
    struct kith_packet_out out;
    uint8_t datagram[1500];
    size_t sealed;

    (void)bytes, (void)size;
    if (sender != 0 || pair->user_flag != 0 || conn->early == NULL ||
        !kith__keys_can_write(&conn->early->spaces[KITH_SPACE_HANDSHAKE].keys))
        return true;
    pair->user_flag = 1;
    KITH_CHECK_EQ(kith__handshake_resend(&conn->handshake, KITH_TLS_HANDSHAKE), 0);
    KITH_CHECK_EQ(kith__packet_out_begin(&out, conn, conn->paths[0], KITH_LEVEL_HANDSHAKE, datagram, sizeof datagram),
                  0);
    kith__tx_crypto(&out);
    KITH_CHECK_EQ(kith__write_bytes(&out.w, ack, sizeof ack), 0);
    sealed = kith__packet_out_size(&out);
    KITH_CHECK_EQ(kith__packet_out_end(&out), 0);
    give(1, datagram, sealed, pair->sides[0].outer.port);
    KITH_CHECK(kith_quic_conn_is_established(pair->sides[1].conn));
    return false;
}

KITH_TEST(rules_ack_behind_the_finished_in_one_packet_comes_to_a_space_that_is_gone)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.tap = finished_before_ack;
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_r));
    KITH_CHECK_EQ(pair_r.user_flag, 1);
    KITH_CHECK(both_are_open());
    kith__pair_dispose(&pair_r);
}

/* ---- Numbers ---- */

KITH_TEST(rules_late_packet_whose_own_ack_moves_the_window_past_it)
{
    struct kith_quic_conn *server;
    uint64_t base, number;
    uint8_t ack[16] = { 2 };
    struct kith_writer w = kith__writer(ack + 1, sizeof ack - 1);

    start_connected();
    server = pair_r.sides[1].conn;
    base = next_number() + 40000;         /* numbers of three bytes: no doubt which one is meant */
    pair_r.config.link.blocked[1] = true; /* the client must not hear ACKs of numbers that it does not know */
    inject(base + 100, pair_r.sides[0].outer.port, ping_frame, sizeof ping_frame);
    inject(base + 101, pair_r.sides[0].outer.port, ping_frame, sizeof ping_frame);
    inject(base + 400, pair_r.sides[0].outer.port, ping_frame, sizeof ping_frame);
    kith_quic_conn_ping(server, pair_r.now_ns);
    kith__pair_flush(&pair_r);
    number = server->paths[0]->sent.next - 1; /* carried an ACK up to base + 400 */
    KITH_CHECK(kith__sent_find(&server->paths[0]->sent, number)->acks > base + 400);
    KITH_CHECK_EQ(
        kith__write_varint(&w, number) | kith__write_u8(&w, 0) | kith__write_u8(&w, 0) | kith__write_u8(&w, 0), 0);
    ack[sizeof ack - 1] = 0;
    inject(base + 50, pair_r.sides[0].outer.port, ack, 1 + kith__writer_size(&w));
    KITH_CHECK(kith__received_is_duplicate(&server->paths[0]->received, base + 50));
    KITH_CHECK(both_are_open());
    kith__conn_check(server);
    kith__pair_dispose(&pair_r);
}

/* ---- Addresses ---- */

KITH_TEST(rules_hundreds_of_moves_do_not_mix_up_what_is_in_flight)
{
    struct kith_pair_config config;
    struct kith_quic_conn *server;
    uint64_t first;
    uint8_t ping[400] = { 1 }, ack[32] = { 2 }; /* large enough for an answer with a challenge in it */
    struct kith_writer w = kith__writer(ack + 1, sizeof ack - 1);

    kith__pair_defaults(&config);
    config.transport[1].grease = false; /* no skipped numbers: one range acknowledges all */
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_r));
    kith__pair_run(&pair_r, KITH_NS_PER_S);
    server = pair_r.sides[1].conn;
    pair_r.config.link.blocked[1] = true;
    first = server->paths[0]->sent.next;
    for (int i = 0; i < 600; i++) { /* each leaves a challenge in flight that nobody acknowledges */
        inject(next_number(), (uint16_t)(5000 + i), ping, sizeof ping);
        kith__pair_flush(&pair_r);
        kith__conn_check(server);
    }
    KITH_CHECK_EQ(server->stats.migrations, 600);
    KITH_CHECK(server->paths[0]->sent.counted >= 600);
    KITH_CHECK_EQ(kith__write_varint(&w, server->paths[0]->sent.next - 1) | kith__write_bytes(&w, "\0\0", 2) |
                      kith__write_varint(&w, server->paths[0]->sent.next - 1 - first),
                  0);
    inject(next_number(), 5599, ack, 1 + kith__writer_size(&w));
    KITH_CHECK_EQ(server->paths[0]->sent.counted, 0);
    KITH_CHECK_EQ(server->paths[0]->now.in_flight_size, 0);
    kith__conn_check(server);
    KITH_CHECK(both_are_open());
    kith__pair_dispose(&pair_r);
}
