/* A peer that breaks rules, noise on the wire, and memory that runs out: each gets its defined answer. */
#include "quic/conn/app.h"

#include "base/random.h"
#include "base/test.h"
#include "quic/conn/packet_out.h"
#include "quic/host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct kith_pair pair_h;
static struct kith_app app_h;

static void start_connected(void)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[0].paths_max = config.transport[1].paths_max = 0; /* with multipath: mp_rules_close_test.c */
    KITH_CHECK_EQ(kith__pair_init(&pair_h, &config), 0);
    kith__app_attach(&app_h, &pair_h);
    KITH_CHECK(kith__pair_connect(&pair_h));
    kith__pair_run(&pair_h, KITH_NS_PER_S);
}

/** Sends a 1-RTT packet with any payload from one side to the other, past all checks of the sender. */
static void inject(int from, const uint8_t *frames, size_t size)
{
    uint8_t datagram[1500];
    struct kith_packet_out out;
    struct kith_quic_received received = { .local = pair_h.sides[1 - from].inner,
                                           .remote = pair_h.sides[from].outer,
                                           .bytes = datagram };

    KITH_CHECK_EQ(kith__packet_out_begin(&out, pair_h.sides[from].conn, pair_h.sides[from].conn->paths[0],
                                         KITH_LEVEL_DATA, datagram, sizeof datagram),
                  0);
    KITH_CHECK_EQ(kith__write_bytes(&out.w, frames, size), 0);
    received.size = kith__packet_out_size(&out);
    KITH_CHECK_EQ(kith__packet_out_end(&out), 0);
    kith_quic_host_receive(pair_h.sides[1 - from].host, &received, pair_h.now_ns);
}

struct bad {
    const char *what;
    int from; /* 0: the client is the bad one */
    uint64_t code;
    size_t size;
    uint8_t frames[64];
};

KITH_TEST(hostile_frames_get_the_wire_error_of_the_specification)
{
    static const struct bad cases[] = {
        { "unknown frame", 0, 0x07, 1, { 0x21 } },
        { "unknown frame, two bytes", 0, 0x07, 2, { 0x7e, 0x7d } },
        { "truncated STREAM", 0, 0x07, 3, { 0x0a, 0x00, 0x05 } },
        { "HANDSHAKE_DONE from a client", 0, 0x0a, 1, { 0x1e } },
        { "NEW_TOKEN from a client", 0, 0x0a, 3, { 0x07, 0x01, 0x61 } },
        { "ACK of an unsent packet", 0, 0x0a, 6, { 0x02, 0x7f, 0xff, 0x00, 0x00, 0x00 } },
        { "ACK range below zero", 0, 0x07, 5, { 0x02, 0x01, 0x00, 0x00, 0x05 } },
        { "stream over the limit", 0, 0x04, 5, { 0x0a, 0x43, 0x20, 0x01, 0x61 } },
        { "frame for a stream of ours that is not open", 0, 0x05, 4, { 0x0a, 0x01, 0x01, 0x61 } },
        { "data on our own one-way stream", 0, 0x05, 4, { 0x0a, 0x03, 0x01, 0x61 } },
        { "STOP_SENDING on the peer's one-way stream", 0, 0x05, 3, { 0x05, 0x02, 0x00 } },
        { "beyond the stream's window", 0, 0x03, 8, { 0x0e, 0x00, 0x80, 0x20, 0x00, 0x00, 0x01, 0x61 } },
        { "final size below what came", 0, 0x06, 9, { 0x0a, 0x00, 0x02, 0x61, 0x62, 0x04, 0x00, 0x00, 0x01 } },
        { "data after the end", 0, 0x06, 9, { 0x0b, 0x00, 0x01, 0x61, 0x0e, 0x00, 0x05, 0x01, 0x61 } },
        { "stream data beyond 2^62",
          0,
          0x07,
          12,
          { 0x0e, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x61 } },
        { "MAX_STREAMS over 2^60", 0, 0x07, 9, { 0x12, 0xd0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01 } },
        { "RETIRE_CONNECTION_ID never issued", 0, 0x0a, 2, { 0x19, 0x3f } },
        { "NEW_CONNECTION_ID, retire_prior_to > sequence",
          0,
          0x0a,
          28,
          { 0x18, 0x06, 0x07, 0x08, 1, 2, 3, 4, 5, 6, 7, 8 } },
        { "NEW_CONNECTION_ID without id", 0, 0x07, 20, { 0x18, 0x06, 0x00, 0x00 } },
        { "too many ids", 0, 0x09, 28, { 0x18, 0x05, 0x00, 0x08, 9, 9, 9, 9, 9, 9, 9, 9 } },
        { "PATH_ACK without multipath", 0, 0x0a, 6, { 0x3e, 0x00, 0x00, 0x00, 0x00, 0x00 } },
        { "ACK_FREQUENCY with too small a delay", 0, 0x0a, 6, { 0x40, 0xaf, 0x00, 0x01, 0x00, 0x01 } },
        { "CRYPTO too far ahead", 0, 0x0d, 7, { 0x06, 0x80, 0x00, 0x80, 0x00, 0x01, 0x00 } },
        { "TLS KeyUpdate", 0, 0x10a, 8, { 0x06, 0x00, 0x05, 0x18, 0x00, 0x00, 0x01, 0x00 } },
        { "MAX_STREAM_DATA for a receive-only stream", 1, 0x05, 3, { 0x11, 0x03, 0x01 } },
        { "a server's unknown frame", 1, 0x07, 1, { 0x21 } },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        const struct bad *bad = &cases[i];
        struct kith_pair_side *victim = &pair_h.sides[1 - bad->from];

        start_connected();
        pair_h.config.on_event = NULL;
        inject(bad->from, bad->frames, bad->size);
        kith__pair_run(&pair_h, KITH_NS_PER_S);
        if (victim->seen[KITH_QUIC_CLOSED] != 1 || victim->closed.code != bad->code)
            printf("case: %s: closed %u with 0x%llx %s\n", bad->what, victim->seen[KITH_QUIC_CLOSED],
                   (unsigned long long)victim->closed.code, victim->closed_reason);
        KITH_CHECK_EQ(victim->seen[KITH_QUIC_CLOSED], 1);
        KITH_CHECK_EQ(victim->closed.code, bad->code);
        KITH_CHECK(!victim->closed.by_peer);
        KITH_CHECK(pair_h.sides[bad->from].closed.by_peer);
        KITH_CHECK_EQ(pair_h.sides[bad->from].closed.code, bad->code);
        kith__pair_dispose(&pair_h);
    }
}

KITH_TEST(hostile_empty_packet_is_a_protocol_violation)
{
    static const uint8_t nothing[1] = { 0 };

    start_connected();
    /* Five PADDING bytes are legal; a payload of none cannot be made by packet_out, so this one must survive. */
    inject(0, nothing, 1);
    kith__pair_run(&pair_h, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_h.sides[1].seen[KITH_QUIC_CLOSED], 0);
    kith__pair_dispose(&pair_h);
}

/* ---- Noise ---- */

static void give(int side, uint8_t *bytes, size_t size, uint16_t port)
{
    struct kith_quic_received received = {
        .local = pair_h.sides[side].inner, .remote = pair_h.sides[1 - side].outer, .bytes = bytes, .size = size
    };

    received.remote.port = port;
    kith_quic_host_receive(pair_h.sides[side].host, &received, pair_h.now_ns);
}

static uint64_t drops(const struct kith_quic_host *host)
{
    uint64_t sum = 0;

#define SUM(name) sum += host->stats.dropped_##name;
    KITH_QUIC_DROPS(SUM)
#undef SUM
    return sum;
}

KITH_TEST(hostile_random_bytes_are_dropped_and_counted)
{
    uint64_t state = kith__test_seed(3);
    uint8_t bytes[1500];

    start_connected();
    for (int i = 0; i < 3000; i++) {
        size_t size = kith__test_random(&state) % sizeof bytes;

        for (size_t k = 0; k < size; k++)
            bytes[k] = (uint8_t)kith__test_random(&state);
        if (size > 6 && i % 3 == 0) {
            bytes[0] = (uint8_t)(0xc0 | (bytes[0] & 15));
            memcpy(bytes + 1, "\0\0\0\1\10", 5);
        }
        give(1, bytes, size, (uint16_t)(1000 + i));
    }
    KITH_CHECK_EQ(pair_h.sides[1].seen[KITH_QUIC_INCOMING], 1);
    KITH_CHECK(drops(pair_h.sides[1].host) > 1500);
    kith__pair_run(&pair_h, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_h.sides[1].seen[KITH_QUIC_CLOSED], 0);
    kith__pair_dispose(&pair_h);
}

KITH_TEST(hostile_unknown_version_is_answered_with_version_negotiation)
{
    uint8_t probe[1200] = { 0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 0x11 };
    uint8_t buffer[1500];
    struct kith_quic_transmit transmit;

    start_connected();
    give(1, probe, sizeof probe, 77);
    KITH_CHECK(kith_quic_host_transmit(pair_h.sides[1].host, buffer, sizeof buffer, &transmit, pair_h.now_ns));
    KITH_CHECK_EQ(transmit.remote.port, 77);
    KITH_CHECK_BYTES(buffer + 1, "\0\0\0\0\10\21", 6);
    probe[0] = 0x80;
    give(1, probe, sizeof probe, 77);
    KITH_CHECK(!kith_quic_host_transmit(pair_h.sides[1].host, buffer, sizeof buffer, &transmit, pair_h.now_ns));
    kith__pair_dispose(&pair_h);
}

static bool corrupt_version_negotiation(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    uint8_t reply[64] = { 0xc5, 0, 0, 0, 0, 8 };
    struct kith_quic_received received = {
        .local = pair->sides[0].inner, .remote = pair->sides[1].outer, .bytes = reply, .size = 6 + 8 + 1 + 20 + 4
    };

    if (sender != 0 || pair->user_flag++ != 0)
        return true;
    memcpy(reply + 6, bytes + 27, 8); /* the client's source id */
    reply[14] = 20;
    memcpy(reply + 15, bytes + 6, 20);
    memcpy(reply + 35, "\12\32\52\72", 4);
    (void)size;
    kith_quic_host_receive(pair->sides[0].host, &received, pair->now_ns);
    return false;
}

KITH_TEST(hostile_version_negotiation_without_our_version_ends_the_attempt)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.tap = corrupt_version_negotiation;
    KITH_CHECK_EQ(kith__pair_init(&pair_h, &config), 0);
    KITH_CHECK_EQ(kith__pair_dial(&pair_h, NULL), 0);
    kith__pair_run(&pair_h, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_h.sides[0].seen[KITH_QUIC_CLOSED], 1);
    KITH_CHECK_EQ(pair_h.sides[0].closed.err, KITH_ERR_VERSION);
    kith__pair_dispose(&pair_h);
}

KITH_TEST(hostile_unknown_version_is_answered_only_if_it_could_be_a_client)
{
    static const struct {
        size_t size;
        uint64_t answers;
    } cases[] = { { 60, 0 }, { 1199, 0 }, { 1200, 1 }, { 1252, 1 } };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        uint8_t datagram[1252] = { 0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 20 }, buffer[1500];
        struct kith_quic_transmit transmit;
        struct kith_pair_config config;

        kith__pair_defaults(&config);
        KITH_CHECK_EQ(kith__pair_init(&pair_h, &config), 0);
        datagram[6 + 20] = 20; /* two ids of 20 bytes, the most that an answer can hold */
        give(1, datagram, cases[i].size, 4000);
        KITH_CHECK_EQ(pair_h.sides[1].host->stats.version_negotiations_sent, cases[i].answers);
        KITH_CHECK_EQ(pair_h.sides[1].host->stats.dropped_unknown_version, 1 - cases[i].answers);
        KITH_CHECK_EQ(
            kith_quic_host_transmit(pair_h.sides[1].host, buffer, sizeof buffer, &transmit, pair_h.now_ns) ? 1 : 0,
            cases[i].answers);
        if (cases[i].answers != 0)
            KITH_CHECK(transmit.size < 100);
        kith__pair_dispose(&pair_h);
    }
}

KITH_TEST(hostile_forgotten_connection_is_reset)
{
    start_connected();
    kith_quic_conn_free(pair_h.sides[1].conn);
    pair_h.sides[1].conn = NULL;
    kith__app_send(&pair_h, 0, true, 1000);
    kith__pair_run(&pair_h, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_h.sides[0].seen[KITH_QUIC_CLOSED], 1);
    KITH_CHECK_EQ(pair_h.sides[0].closed.err, KITH_ERR_LOST);
    KITH_CHECK(pair_h.sides[1].host->stats.stateless_resets_sent >= 1);
    kith__pair_run(&pair_h, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_h.sides[0].seen[KITH_QUIC_DRAINED], 1);
    kith__pair_dispose(&pair_h);
}

KITH_TEST(hostile_restarted_server_resets_the_clients_of_its_former_self_only)
{
    static const struct {
        const char *before, *after;
        bool is_reset;
    } cases[] = { { "here", "here", true }, { "here", "there", false }, { NULL, NULL, false } };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_pair_config config;

        kith__pair_defaults(&config);
        config.instance[1] = cases[i].before;
        KITH_CHECK_EQ(kith__pair_init(&pair_h, &config), 0);
        kith__app_attach(&app_h, &pair_h);
        KITH_CHECK(kith__pair_connect(&pair_h));
        kith__pair_run(&pair_h, KITH_NS_PER_S);
        pair_h.config.instance[1] = cases[i].after;
        kith__pair_restart(&pair_h, 1);
        kith__app_send(&pair_h, 0, true, 1000);
        kith__pair_run(&pair_h, 2 * KITH_NS_PER_S);
        KITH_CHECK_EQ(pair_h.sides[1].host->stats.stateless_resets_sent != 0, cases[i].is_reset);
        KITH_CHECK_EQ(pair_h.sides[0].seen[KITH_QUIC_CLOSED], cases[i].is_reset ? 1 : 0);
        kith__pair_run(&pair_h, 60 * KITH_NS_PER_S);
        KITH_CHECK_EQ(pair_h.sides[0].seen[KITH_QUIC_CLOSED], 1);
        KITH_CHECK_EQ(pair_h.sides[0].closed.err, cases[i].is_reset ? KITH_ERR_LOST : KITH_ERR_IDLE);
        kith__pair_dispose(&pair_h);
    }
}

KITH_TEST(hostile_client_address_that_is_not_proved_gets_three_times_what_it_sent)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    KITH_CHECK_EQ(kith__pair_init(&pair_h, &config), 0);
    KITH_CHECK_EQ(kith__pair_dial(&pair_h, NULL), 0);
    kith__pair_flush(&pair_h);
    pair_h.config.link.blocked[0] = true; /* only the first datagram arrives */
    kith__pair_run(&pair_h, 20 * KITH_NS_PER_S);
    KITH_CHECK(pair_h.sides[1].received_bytes >= 1200);
    KITH_CHECK(pair_h.sides[1].sent_bytes <= 3 * pair_h.sides[1].received_bytes);
    kith__pair_dispose(&pair_h);
}

/* Every Initial that it repeats starts the idle timeout anew; the limit of the handshake counts from its first one. */
KITH_TEST(hostile_client_that_never_proves_itself_is_given_up)
{
    struct kith_pair_config config;
    struct kith_quic_host_stats stats;

    kith__pair_defaults(&config);
    config.transport[1].handshake_timeout_ns = 5 * KITH_NS_PER_S;
    config.transport[1].idle_timeout_ns = 4 * KITH_NS_PER_S;
    config.link.blocked[1] = true; /* it goes on without having heard a word */
    KITH_CHECK_EQ(kith__pair_init(&pair_h, &config), 0);
    KITH_CHECK_EQ(kith__pair_dial(&pair_h, NULL), 0);
    kith__pair_run(&pair_h, 4900 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(pair_h.sides[1].seen[KITH_QUIC_CLOSED], 0);
    kith__pair_run(&pair_h, 200 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(pair_h.sides[1].seen[KITH_QUIC_DRAINED], 1);
    KITH_CHECK_EQ(pair_h.sides[1].closed.err, KITH_ERR_TIMEOUT);
    kith_quic_host_stats(pair_h.sides[1].host, &stats);
    KITH_CHECK_EQ(stats.handshakes_given_up, 1);
    kith__pair_dispose(&pair_h);
}

KITH_TEST(hostile_client_that_proved_itself_has_no_limit_of_the_handshake_any_more)
{
    struct kith_pair_config config;
    struct kith_quic_host_stats stats;

    kith__pair_defaults(&config);
    config.transport[0].handshake_timeout_ns = 1; /* a client has none */
    config.transport[1].handshake_timeout_ns = KITH_NS_PER_S;
    KITH_CHECK_EQ(kith__pair_init(&pair_h, &config), 0);
    KITH_CHECK(kith__pair_connect(&pair_h));
    kith__pair_run(&pair_h, 20 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_h.sides[0].seen[KITH_QUIC_CLOSED] + pair_h.sides[1].seen[KITH_QUIC_CLOSED], 0);
    kith_quic_host_stats(pair_h.sides[1].host, &stats);
    KITH_CHECK_EQ(stats.handshakes_given_up, 0);
    kith__pair_dispose(&pair_h);
}

KITH_TEST(hostile_client_initial_that_is_too_small_is_dropped)
{
    uint8_t buffer[1500];
    struct kith_quic_transmit transmit;
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    KITH_CHECK_EQ(kith__pair_init(&pair_h, &config), 0);
    KITH_CHECK_EQ(kith__pair_dial(&pair_h, NULL), 0);
    KITH_CHECK(kith_quic_host_transmit(pair_h.sides[0].host, buffer, sizeof buffer, &transmit, pair_h.now_ns));
    KITH_CHECK_EQ(transmit.size, 1200);
    buffer[37]--; /* low byte of Length: the packet ends where the datagram does */
    give(1, buffer, 1199, 4000);
    KITH_CHECK_EQ(pair_h.sides[1].host->stats.dropped_initial_too_small, 1);
    kith__pair_dispose(&pair_h);
}

static bool flip_bits(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    (void)sender;
    if (kith__test_random(&pair->random) % 4 == 0)
        bytes[kith__test_random(&pair->random) % *size] ^= (uint8_t)(1u << kith__test_random(&pair->random) % 8);
    if (kith__test_random(&pair->random) % 16 == 0)
        *size = 1 + kith__test_random(&pair->random) % *size;
    return true;
}

static bool server_ended(struct kith_pair *pair)
{
    (void)pair;
    return app_h.sides[1].ended_total != 0;
}

KITH_TEST(hostile_flipped_bits_and_cut_datagrams_are_only_loss)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.tap = flip_bits;
    KITH_CHECK_EQ(kith__pair_init(&pair_h, &config), 0);
    kith__app_attach(&app_h, &pair_h);
    KITH_CHECK(kith__pair_connect(&pair_h));
    kith__app_send(&pair_h, 0, true, 100000);
    KITH_CHECK(kith__pair_run_until(&pair_h, server_ended, 600 * KITH_NS_PER_S));
    KITH_CHECK(pair_h.sides[1].host->stats.dropped_decrypt + pair_h.sides[0].host->stats.dropped_decrypt != 0);
    kith__pair_dispose(&pair_h);
}

KITH_TEST(hostile_closing_side_answers_a_flood_rarely)
{
    static const uint8_t ping[] = { 1 };
    uint64_t before;

    start_connected();
    kith_quic_conn_close(pair_h.sides[1].conn, 1, (struct kith_slice) { 0 }, pair_h.now_ns);
    pair_h.config.link.blocked[1] = true;
    kith__pair_flush(&pair_h);
    before = pair_h.sides[1].sent_datagrams;
    for (int i = 0; i < 100; i++) {
        inject(0, ping, 1);
        kith__pair_flush(&pair_h);
    }
    KITH_CHECK(pair_h.sides[1].sent_datagrams - before <= 7);
    KITH_CHECK(pair_h.sides[1].sent_datagrams - before >= 5);
    kith__pair_dispose(&pair_h);
}

/* ---- Memory ---- */

/** Connect, transfer, close, with the n-th allocation of one side failing. Returns how many allocations there were. */
static uint64_t run_with_failure(int side, uint64_t fail_at)
{
    struct kith_test_mem mem[2];
    struct kith_pair_config config;
    uint64_t calls;

    kith__pair_defaults(&config);
    for (int i = 0; i < 2; i++) {
        kith__test_mem_init(&mem[i], i == side ? fail_at : 0);
        config.mem[i] = &mem[i].mem;
    }
    config.link.loss_permille = 50;
    if (kith__pair_init(&pair_h, &config) == 0) {
        kith__app_attach(&app_h, &pair_h);
        if (kith__pair_dial(&pair_h, NULL) == 0) {
            kith__pair_run(&pair_h, 2 * KITH_NS_PER_S);
            if (kith_quic_conn_is_established(pair_h.sides[0].conn)) {
                uint64_t id;
                size_t written;
                static const uint8_t bytes[50000];

                if (kith_quic_stream_open(pair_h.sides[0].conn, true, &id) == 0)
                    (void)!kith_quic_stream_write(pair_h.sides[0].conn, id, bytes, sizeof bytes, true, &written);
                (void)!kith_quic_datagram_send(pair_h.sides[0].conn, (struct kith_slice) { bytes, 100 }, true);
                app_h.sides[1].pause = true;
                kith__pair_run(&pair_h, 2 * KITH_NS_PER_S);
            }
            kith_quic_conn_close(pair_h.sides[0].conn, 1, (struct kith_slice) { (const uint8_t *)"x", 1 },
                                 pair_h.now_ns);
            kith__pair_run(&pair_h, 60 * KITH_NS_PER_S);
        }
    }
    calls = mem[side].calls;
    kith__pair_dispose(&pair_h);
    for (int i = 0; i < 2; i++)
        KITH_CHECK_EQ(mem[i].live, 0);
    return calls;
}

KITH_TEST(hostile_every_failing_allocation_is_survived)
{
    for (int side = 0; side < 2; side++) {
        uint64_t count = run_with_failure(side, 0);

        KITH_CHECK(count > 20); /* packet protection of GnuTLS brings its own memory: then there are fewer */
        for (uint64_t n = 1; n <= count; n++)
            run_with_failure(side, n);
    }
}
