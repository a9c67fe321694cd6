#include "base/mem.h"
#include "base/test.h"
#include "relay/client.h"

static const uint8_t key_of_peer[KITH_ID_SIZE] = { 9 };
static struct kith_keypair pair;
static struct kith_relay_client client_c;
static uint64_t now_ns;

static void fill(void *ctx, uint8_t *out, size_t size)
{
    uint8_t *next = ctx;

    memset(out, ++*next, size);
}

static uint8_t next_random;
static const struct kith_random random_source = { fill, &next_random };

static int receive(const void *message, size_t size, struct kith_relay_client_event *out)
{
    static uint8_t copy[KITH_RELAY_BODY_MAX + 8];

    memcpy(copy, message, size);
    return kith__relay_client_receive(&client_c, copy, size, now_ns, out);
}

/** The kind of event that a message gives; it must be fine. */
static enum kith_relay_client_event_kind event_of(const void *message, size_t size)
{
    struct kith_relay_client_event event;

    KITH_CHECK_EQ(receive(message, size, &event), 0);
    return event.kind;
}

/** Takes the next message; returns its size, 0: none. */
static size_t take(uint8_t *out)
{
    struct kith_slice message;

    if (!kith__relay_client_next(&client_c, now_ns, &message))
        return 0;
    memcpy(out, message.ptr, message.size);
    kith__relay_client_sent(&client_c);
    return message.size;
}

static void start(void)
{
    struct kith_secret secret;

    memset(secret.bytes, 0x2a, sizeof secret.bytes);
    kith__keypair_init(&pair, &secret);
    now_ns = KITH_NS_PER_S;
    kith__relay_client_init(&client_c, kith_mem_default(), &pair, &random_source);
    kith__relay_client_start(&client_c, KITH_RELAY_V2, now_ns);
}

static void answer_ping(uint64_t after_ns)
{
    uint8_t message[KITH_RELAY_FRAME_MAX];

    KITH_CHECK_EQ(take(message), 9);
    KITH_CHECK_EQ(message[0], KITH_RELAY_PING);
    now_ns += after_ns;
    message[0] = KITH_RELAY_PONG;
    (void)event_of(message, 9);
}

/** Connected, and the first ping answered after 10 ms. */
static void start_ready(void)
{
    start();
    KITH_CHECK_EQ(event_of("\2", 1), KITH_RELAY_EVENT_ACCEPTED);
    answer_ping(10 * KITH_NS_PER_MS);
}

static void send(size_t size, uint16_t segment_size)
{
    static uint8_t bytes[1 << 17];
    struct kith_id to;

    memcpy(to.bytes, key_of_peer, sizeof to.bytes);
    kith__relay_client_send(&client_c, &to, 2, segment_size, bytes, size, now_ns);
}

/** Runs the machine's clock to its deadline; its verdict. */
static int tick(void)
{
    uint64_t at_ns = kith__relay_client_deadline(&client_c);

    KITH_CHECK(at_ns != KITH_NEVER && at_ns >= now_ns);
    now_ns = at_ns;
    return kith__relay_client_on_deadline(&client_c, now_ns);
}

KITH_TEST(relay_client_answers_the_challenge_and_pings_first_of_all)
{
    static const uint8_t challenge[17] = { 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    static const uint8_t signed_begin[] = { 0x40, 0xa2, 0x8b, 0x5e, 0xbc }; /* spec/02, 2.2 */
    uint8_t message[KITH_RELAY_FRAME_MAX];

    start();
    send(100, 0);
    KITH_CHECK_EQ(take(message), 0); /* nothing before the relay speaks */
    KITH_CHECK_EQ(event_of(challenge, sizeof challenge), KITH_RELAY_EVENT_NOTHING);
    KITH_CHECK_EQ(take(message), KITH_RELAY_CLIENT_AUTH_SIZE);
    KITH_CHECK_BYTES(message + 33, signed_begin, sizeof signed_begin);
    KITH_CHECK_EQ(take(message), 0); /* no datagram before the verdict */
    KITH_CHECK_EQ(event_of("\2", 1), KITH_RELAY_EVENT_ACCEPTED);
    KITH_CHECK_EQ(take(message), 9);
    KITH_CHECK_EQ(message[0], KITH_RELAY_PING);
    KITH_CHECK_EQ(take(message), KITH_RELAY_DATAGRAM_OVERHEAD + 100);
    KITH_CHECK_BYTES(message + 1, key_of_peer, KITH_ID_SIZE);
    KITH_CHECK_EQ(message[33], 2);
    KITH_CHECK_EQ(client_c.stats.payload_sent, 100);
    kith__relay_client_dispose(&client_c);
}

KITH_TEST(relay_client_tells_why_it_was_denied_and_refuses_a_second_challenge)
{
    struct kith_relay_client_event event;
    uint8_t challenge[17] = { 0 };

    start();
    KITH_CHECK_EQ(receive("\3\016not authorized", 16, &event), 0);
    KITH_CHECK_EQ(event.kind, KITH_RELAY_EVENT_DENIED);
    KITH_CHECK_EQ(event.text.size, 14);
    start();
    KITH_CHECK_EQ(event_of(challenge, sizeof challenge), KITH_RELAY_EVENT_NOTHING);
    KITH_CHECK_EQ(receive(challenge, sizeof challenge, &event), KITH_ERR_TRANSPORT);
    KITH_CHECK(kith__relay_client_reason(&client_c)[0] != '\0');
    start();
    KITH_CHECK_EQ(receive("\x09"
                          "12345678",
                          9, &event),
                  KITH_ERR_TRANSPORT); /* too early */
    kith__relay_client_dispose(&client_c);
}

KITH_TEST(relay_client_answers_pings_ahead_of_data_and_forgets_a_flood_of_them)
{
    uint8_t message[KITH_RELAY_FRAME_MAX];

    start_ready();
    send(1200, 0);
    for (char i = 'a'; i < 'g'; i++) {
        char ping[9] = { KITH_RELAY_PING, i };

        KITH_CHECK_EQ(event_of(ping, sizeof ping), KITH_RELAY_EVENT_NOTHING);
    }
    for (char i = 'c'; i < 'g'; i++) {
        KITH_CHECK_EQ(take(message), 9);
        KITH_CHECK_EQ(message[0], KITH_RELAY_PONG);
        KITH_CHECK_EQ(message[1], i);
    }
    KITH_CHECK_EQ(client_c.stats.drop_pong, 2);
    KITH_CHECK_EQ(take(message), KITH_RELAY_DATAGRAM_OVERHEAD + 1200);
    kith__relay_client_dispose(&client_c);
}

KITH_TEST(relay_client_splits_batches_between_datagrams)
{
    uint8_t message[KITH_RELAY_FRAME_MAX];

    start_ready();
    send(2600, 1200); /* one frame of three */
    KITH_CHECK_EQ(take(message), KITH_RELAY_BATCH_OVERHEAD + 2600);
    KITH_CHECK_EQ(message[34] << 8 | message[35], 1200);
    send(1200, 1200); /* a batch of one is a datagram */
    KITH_CHECK_EQ(take(message), KITH_RELAY_DATAGRAM_OVERHEAD + 1200);
    send(100 * 1000, 1000);
    KITH_CHECK_EQ(take(message), KITH_RELAY_BATCH_OVERHEAD + 65000);
    KITH_CHECK_EQ(take(message), KITH_RELAY_BATCH_OVERHEAD + 35000);
    kith__relay_client_dispose(&client_c);
}

KITH_TEST(relay_client_never_sends_what_kills_a_receiver)
{
    uint8_t message[KITH_RELAY_FRAME_MAX];

    start_ready();
    send(0, 0);
    send(KITH_RELAY_DATAGRAM_PAYLOAD_MAX + 1, 0);
    KITH_CHECK_EQ(client_c.stats.drop_size, 2);
    send(KITH_RELAY_DATAGRAM_PAYLOAD_MAX, 0);
    KITH_CHECK_EQ(take(message), KITH_RELAY_FRAME_MAX);
    KITH_CHECK_EQ(take(message), 0);
    kith__relay_client_dispose(&client_c);
}

KITH_TEST(relay_client_queue_is_bounded_and_forgets_what_is_old)
{
    uint8_t message[KITH_RELAY_FRAME_MAX];

    start_ready();
    for (int i = 0; i < 20; i++)
        send(60000, 0);
    KITH_CHECK(client_c.queue_size <= KITH_RELAY_QUEUE_SIZE_MAX);
    KITH_CHECK_EQ(client_c.stats.drop_full, 12);
    kith__relay_client_stop(&client_c);
    now_ns += KITH_RELAY_QUEUE_AGE_NS + 1;
    send(500, 0); /* while the owner dials again */
    kith__relay_client_start(&client_c, KITH_RELAY_V1, now_ns);
    KITH_CHECK_EQ(event_of("\2", 1), KITH_RELAY_EVENT_ACCEPTED);
    KITH_CHECK_EQ(take(message), 9);
    KITH_CHECK_EQ(take(message), KITH_RELAY_DATAGRAM_OVERHEAD + 500);
    KITH_CHECK_EQ(client_c.stats.drop_stale, 8);
    KITH_CHECK_EQ(client_c.queue_size, 0);
    kith__relay_client_dispose(&client_c);
}

KITH_TEST(relay_client_skips_frames_of_the_future_and_hands_out_all_others)
{
    static const uint8_t restarting[] = { 12, 0, 0, 0, 10, 0, 0, 0, 20 };
    uint8_t gone[33] = { 8, 1 }, batch[37] = { 7, 2, [33] = 1, [35] = 1, [36] = 'x' }, empty[34] = { 6 };
    struct kith_relay_client_event event;

    start_ready();
    KITH_CHECK_EQ(event_of("\x20 what?", 7), KITH_RELAY_EVENT_NOTHING);
    KITH_CHECK_EQ(client_c.stats.drop_unknown, 1);
    KITH_CHECK_EQ(receive(restarting, sizeof restarting, &event), 0);
    KITH_CHECK_EQ(event.kind, KITH_RELAY_EVENT_RESTARTING);
    KITH_CHECK_EQ(event.reconnect_in_ms * 100 + event.try_for_ms, 1020);
    KITH_CHECK_EQ(receive(gone, sizeof gone, &event), 0);
    KITH_CHECK_EQ(event.kind, KITH_RELAY_EVENT_GONE);
    KITH_CHECK_EQ(event.key[0], 1);
    KITH_CHECK_EQ(receive("\x0d\x63later", 7, &event), 0); /* a status of the future */
    KITH_CHECK_EQ(event.kind, KITH_RELAY_EVENT_STATUS);
    KITH_CHECK_EQ(event.status, 0x63);
    KITH_CHECK_EQ(receive(batch, sizeof batch, &event), 0);
    KITH_CHECK_EQ(event.kind, KITH_RELAY_EVENT_DATAGRAM);
    KITH_CHECK_EQ(event.datagram.payload.ptr[0], 'x');
    KITH_CHECK_EQ(event.datagram.segment_size, 1);
    KITH_CHECK_EQ(event_of(empty, sizeof empty), KITH_RELAY_EVENT_NOTHING);
    KITH_CHECK_EQ(client_c.stats.drop_empty, 1);
    KITH_CHECK_EQ(receive("\x0bsick", 5, &event), KITH_ERR_TRANSPORT); /* version 1 only */
    kith__relay_client_dispose(&client_c);
}

KITH_TEST(relay_client_takes_a_late_pong_but_not_for_ever)
{
    uint64_t from_ns;

    start_ready();
    KITH_CHECK_EQ(tick(), 0); /* 15 s of silence: a ping */
    KITH_CHECK_EQ(now_ns, KITH_NS_PER_S + 10 * KITH_NS_PER_MS + KITH_RELAY_PING_EVERY_NS);
    answer_ping(2900 * KITH_NS_PER_MS); /* the reference gives up after 500 ms */
    KITH_CHECK_EQ(tick(), 0);
    from_ns = now_ns;
    KITH_CHECK_EQ(tick(), KITH_ERR_TIMEOUT); /* three round trips, at most 5 s */
    KITH_CHECK_EQ(now_ns - from_ns, KITH_RELAY_PONG_MAX_NS);
    kith__relay_client_dispose(&client_c);
}

KITH_TEST(relay_client_doubts_a_silent_relay_soon_after_a_datagram)
{
    uint8_t message[KITH_RELAY_FRAME_MAX], datagram[36] = { 6, 3 };
    uint64_t from_ns;

    start_ready();
    now_ns += KITH_NS_PER_S;
    from_ns = now_ns;
    send(100, 0);
    KITH_CHECK(take(message) != 0);
    KITH_CHECK_EQ(tick(), 0); /* nothing came: a ping */
    KITH_CHECK_EQ(take(message), 9);
    KITH_CHECK(!client_c.is_doubtful);
    KITH_CHECK_EQ(tick(), 0);
    KITH_CHECK(client_c.is_doubtful);
    KITH_CHECK(now_ns - from_ns < 1500 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(event_of(datagram, sizeof datagram), KITH_RELAY_EVENT_DATAGRAM);
    KITH_CHECK(!client_c.is_doubtful); /* it lives, with the pong behind other frames */
    KITH_CHECK_EQ(tick(), KITH_ERR_TIMEOUT);
    KITH_CHECK(now_ns - from_ns >= KITH_RELAY_UNHEARD_NS + KITH_RELAY_PONG_MIN_NS);
    kith__relay_client_dispose(&client_c);
}

KITH_TEST(relay_client_check_after_a_network_change_is_short)
{
    uint64_t from_ns;

    start_ready();
    from_ns = now_ns;
    kith__relay_client_check(&client_c, true, now_ns);
    KITH_CHECK_EQ(tick(), KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(now_ns - from_ns, KITH_RELAY_DOUBT_MIN_NS);
    start_ready();
    kith__relay_client_check(&client_c, false, now_ns); /* under way already: becomes urgent */
    kith__relay_client_check(&client_c, true, now_ns);
    KITH_CHECK_EQ(tick(), KITH_ERR_TIMEOUT);
    start();
    kith__relay_client_check(&client_c, true, now_ns);
    KITH_CHECK_EQ(kith__relay_client_deadline(&client_c), KITH_NEVER); /* not connected: nothing to check */
    kith__relay_client_dispose(&client_c);
}

KITH_TEST(relay_client_counts_what_memory_did_not_suffice_for)
{
    struct kith_test_mem mem;
    struct kith_slice message;

    start();
    kith__test_mem_init(&mem, 2);
    kith__relay_client_init(&client_c, &mem.mem, &pair, &random_source);
    kith__relay_client_start(&client_c, KITH_RELAY_V2, now_ns);
    for (int i = 0; i < 3; i++)
        send(10, 0);
    KITH_CHECK_EQ(client_c.stats.drop_no_memory, 1);
    KITH_CHECK(!kith__relay_client_next(&client_c, now_ns, &message));
    kith__relay_client_dispose(&client_c);
    KITH_CHECK_EQ(mem.live, 0);
}
