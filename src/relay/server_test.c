/* Rules of the server core: proof of the id, access, duplicates, time limits, the end. Spec/02, sections 2 and 5. */
#include "base/test.h"
#include "relay/crowd.h"
#include <string.h>

static struct crowd crowd;

static void start(const struct kith_relay_server_limits *limits, const struct kith_relay_access *access)
{
    KITH_CHECK_EQ(crowd_init(&crowd, kith_mem_default(), 1, 0, limits, access), 0);
}

static uint64_t counter(const _Atomic uint64_t *field)
{
    return kith__relay_counter(field);
}

KITH_TEST(relay_server_takes_a_client_that_answers_the_challenge)
{
    struct crowd_client *client;
    struct kith_relay_session_info info;

    start(NULL, NULL);
    client = crowd_connect(&crowd, 0, 1);
    KITH_CHECK_EQ(client->count[KITH_RELAY_SERVER_CHALLENGE], 1);
    KITH_CHECK_EQ(client->count[KITH_RELAY_SERVER_CONFIRMS_AUTH], 1);
    info = kith__relay_session_info(client->session);
    KITH_CHECK_EQ(info.state, KITH_RELAY_SESSION_READY);
    KITH_CHECK_BYTES(info.id.bytes, client->pair.id.bytes, KITH_ID_SIZE);
    KITH_CHECK(info.is_newest);
    KITH_CHECK_EQ(counter(&crowd.counters[0].accepts), 1);
    KITH_CHECK_EQ(counter(&crowd.counters[0].unique_client_keys), 1);
    KITH_CHECK_EQ(kith__relay_server_stats(crowd.servers[0]).clients, 1);
    crowd_leave(client);
    KITH_CHECK_EQ(counter(&crowd.counters[0].disconnects), 1);
    KITH_CHECK_EQ(kith__relay_server_stats(crowd.servers[0]).sessions, 0);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_sends_the_bytes_of_the_specification)
{
    struct crowd_client *client;
    struct kith_slice slices[4];

    start(NULL, NULL);
    client = crowd_add(&crowd, 1, KITH_RELAY_V2);
    KITH_CHECK_EQ(crowd_open(client, 0, (struct kith_relay_open) { 0 }), 0);
    KITH_CHECK(kith__relay_server_next_writer(crowd.servers[0]) == client->session);
    KITH_CHECK_EQ(kith__relay_session_output(client->session, slices, 4), 1);
    KITH_CHECK_EQ(slices[0].size, 19);
    KITH_CHECK_BYTES(slices[0].ptr, "\x82\x11\x00", 3); /* WebSocket: final, binary, 17 bytes; ServerChallenge */
    crowd_deliver(client, slices[0]);
    kith__relay_session_sent(client->session, 19, crowd.now_ns);
    KITH_CHECK(kith__relay_server_next_writer(crowd.servers[0]) == client->session);
    KITH_CHECK_EQ(kith__relay_session_output(client->session, slices, 4), 1);
    KITH_CHECK_EQ(slices[0].size, 3);
    KITH_CHECK_BYTES(slices[0].ptr, "\x82\x01\x02", 3);
    kith__relay_session_sent(client->session, 3, crowd.now_ns);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_takes_a_client_with_a_header_at_once)
{
    struct crowd_client *client;
    struct kith_relay_auth_header header;
    uint8_t exported[KITH_RELAY_EXPORT_SIZE] = { 1, 2, 3 };
    char text[KITH_RELAY_AUTH_HEADER_SIZE + 1];

    start(NULL, NULL);
    client = crowd_add(&crowd, 1, KITH_RELAY_V2);
    kith__relay_auth_header_make(&client->pair, exported, text);
    KITH_CHECK_EQ(
        kith__relay_auth_header_parse((struct kith_slice) { (uint8_t *)text, KITH_RELAY_AUTH_HEADER_SIZE }, &header),
        0);
    KITH_CHECK_EQ(crowd_open(client, 0, (struct kith_relay_open) { .header = &header, .exported = exported }), 0);
    crowd_pump(&crowd);
    KITH_CHECK(client->is_confirmed && client->count[KITH_RELAY_SERVER_CHALLENGE] == 0);
    KITH_CHECK_EQ(counter(&crowd.counters[0].handshakes_header), 1);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_challenges_who_has_a_header_of_another_session)
{
    struct crowd_client *client;
    struct kith_relay_auth_header header;
    uint8_t exported[KITH_RELAY_EXPORT_SIZE] = { 1, 2, 3 };
    char text[KITH_RELAY_AUTH_HEADER_SIZE + 1];

    start(NULL, NULL);
    for (int i = 0; i < 3; i++) { /* another suffix (a proxy), a bad signature, no exporter */
        client = crowd_add(&crowd, 1, KITH_RELAY_V2);
        kith__relay_auth_header_make(&client->pair, exported, text);
        KITH_CHECK_EQ(kith__relay_auth_header_parse(
                          (struct kith_slice) { (uint8_t *)text, KITH_RELAY_AUTH_HEADER_SIZE }, &header),
                      0);
        exported[i == 0 ? 31 : 0] ^= 1;
        KITH_CHECK_EQ(
            crowd_open(client, 0, (struct kith_relay_open) { .header = &header, .exported = i == 2 ? NULL : exported }),
            0);
        crowd_pump(&crowd);
        KITH_CHECK(client->is_confirmed && client->count[KITH_RELAY_SERVER_CHALLENGE] == 1);
    }
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_denies_a_wrong_signature)
{
    struct crowd_client *client;
    uint8_t auth[KITH_RELAY_CLIENT_AUTH_SIZE] = { KITH_RELAY_CLIENT_AUTH };

    start(NULL, NULL);
    client = crowd_add(&crowd, 1, KITH_RELAY_V2);
    client->is_silent = true;
    KITH_CHECK_EQ(crowd_open(client, 0, (struct kith_relay_open) { 0 }), 0);
    crowd_pump(&crowd);
    auth[33] = KITH_SIGNATURE_SIZE;
    memcpy(auth + 1, client->pair.id.bytes, KITH_ID_SIZE);
    crowd_send_message(client, KITH_WS_BINARY, auth, sizeof auth);
    crowd_pump(&crowd);
    KITH_CHECK_STR(client->text, "signature invalid");
    KITH_CHECK(client->has_ended && client->end == KITH_RELAY_END_BAD_SIGNATURE);
    KITH_CHECK_EQ(counter(&crowd.counters[0].handshakes_bad_signature), 1);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_has_one_deadline_from_accept_to_confirmation)
{
    struct crowd_client *client;

    start(NULL, NULL);
    client = crowd_add(&crowd, 1, KITH_RELAY_V2);
    client->is_silent = true;
    /* 20 s have gone into TLS and HTTP already. */
    KITH_CHECK_EQ(crowd_open(client, 0, (struct kith_relay_open) { .accepted_ns = crowd.now_ns - 20 * KITH_NS_PER_S }),
                  0);
    crowd_advance(&crowd, 9900 * KITH_NS_PER_MS);
    KITH_CHECK(!client->has_ended);
    /* Bytes that prove nothing do not help. */
    crowd_send_message(client, KITH_WS_PING, (const uint8_t *)"x", 1);
    crowd_advance(&crowd, 200 * KITH_NS_PER_MS);
    KITH_CHECK(client->has_ended && client->end == KITH_RELAY_END_HANDSHAKE_TIMEOUT);
    KITH_CHECK_EQ(counter(&crowd.counters[0].ends_handshake_timeout), 1);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_holds_little_for_who_has_not_proved_an_id)
{
    struct crowd_client *client;
    uint8_t bytes[2000] = { 0x82, 0x80 | 126, 1024 >> 8, 1, 0, 0, 0, 0 }; /* a message of 1,025 bytes begins */

    start(NULL, NULL);
    client = crowd_add(&crowd, 1, KITH_RELAY_V2);
    client->is_silent = true;
    KITH_CHECK_EQ(crowd_open(client, 0, (struct kith_relay_open) { 0 }), 0);
    crowd_send_raw(client, bytes, 8);
    crowd_pump(&crowd);
    KITH_CHECK(client->has_ended && client->end == KITH_RELAY_END_PROTOCOL &&
               client->close_code == KITH_WS_CLOSE_TOO_BIG);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_wants_the_proof_before_anything_else)
{
    static const uint8_t ping[] = "\x09"
                                  "12345678";
    struct crowd_client *client;

    start(NULL, NULL);
    client = crowd_add(&crowd, 1, KITH_RELAY_V2);
    KITH_CHECK_EQ(crowd_open(client, 0, (struct kith_relay_open) { 0 }), 0);
    crowd_send_message(client, KITH_WS_BINARY, ping, 9);
    crowd_pump(&crowd);
    KITH_CHECK(client->has_ended && client->end == KITH_RELAY_END_PROTOCOL && client->count[KITH_RELAY_PONG] == 0);
    crowd_dispose(&crowd);
}

/* ---- Access ---- */

static struct kith_relay_access *access_of(enum kith_relay_access_mode mode, const struct kith_id *ids, size_t id_count)
{
    struct kith_relay_access *access;
    struct kith_slice token = { (const uint8_t *)"secret", 6 };

    KITH_CHECK_EQ(kith__relay_access_new(kith_mem_default(),
                                         &(struct kith_relay_access_options) { mode, ids, id_count, &token, 1 },
                                         &access),
                  0);
    return access;
}

KITH_TEST(relay_server_denies_with_a_reason_after_the_proof)
{
    struct kith_relay_access *access = access_of(KITH_RELAY_ACCESS_ALLOW, NULL, 0);
    struct crowd_client *client;

    start(NULL, access);
    client = crowd_add(&crowd, 1, KITH_RELAY_V2);
    KITH_CHECK_EQ(crowd_open(client, 0, (struct kith_relay_open) { 0 }), 0);
    crowd_pump(&crowd);
    KITH_CHECK_STR(client->text, "not authorized");
    KITH_CHECK(client->has_ended && client->end == KITH_RELAY_END_DENIED && !client->is_ready);
    KITH_CHECK_EQ(counter(&crowd.counters[0].handshakes_denied), 1);
    crowd_dispose(&crowd);
    kith__relay_access_free(access);
}

KITH_TEST(relay_server_takes_who_has_the_token)
{
    struct kith_relay_access *access = access_of(KITH_RELAY_ACCESS_TOKEN, NULL, 0);
    struct crowd_client *with, *without;

    start(NULL, access);
    with = crowd_add(&crowd, 1, KITH_RELAY_V2);
    without = crowd_add(&crowd, 2, KITH_RELAY_V2);
    KITH_CHECK_EQ(crowd_open(with, 0, (struct kith_relay_open) { .token = { (const uint8_t *)"secret", 6 } }), 0);
    KITH_CHECK_EQ(crowd_open(without, 0, (struct kith_relay_open) { .token = { (const uint8_t *)"secres", 6 } }), 0);
    crowd_pump(&crowd);
    KITH_CHECK(with->is_ready && !without->is_ready && without->has_ended);
    crowd_dispose(&crowd);
    kith__relay_access_free(access);
}

KITH_TEST(relay_server_asks_its_owner_and_waits_for_the_answer)
{
    struct kith_relay_access *access = access_of(KITH_RELAY_ACCESS_ASK, NULL, 0);
    struct crowd_client *clients[3];

    start(NULL, access);
    for (uint8_t i = 0; i < 3; i++) {
        clients[i] = crowd_add(&crowd, i, KITH_RELAY_V2);
        KITH_CHECK_EQ(crowd_open(clients[i], 0, (struct kith_relay_open) { 0 }), 0);
        crowd_pump(&crowd);
        KITH_CHECK(clients[i]->was_asked && !clients[i]->is_confirmed);
        KITH_CHECK_EQ(kith__relay_session_turn_left(clients[i]->session), 0);
    }
    crowd_advance(&crowd, KITH_NS_PER_S);
    kith__relay_session_grant(clients[0]->session, crowd.now_ns);
    kith__relay_session_deny(clients[1]->session, "no room for you", crowd.now_ns);
    crowd_pump(&crowd);
    KITH_CHECK(clients[0]->is_ready && clients[1]->has_ended);
    KITH_CHECK_STR(clients[1]->text, "no room for you");
    kith__relay_session_grant(clients[0]->session, crowd.now_ns); /* twice: nothing */
    crowd_advance(&crowd, 10 * KITH_NS_PER_S);
    KITH_CHECK(clients[2]->has_ended && clients[2]->end == KITH_RELAY_END_DENIED); /* no answer is no */
    crowd_dispose(&crowd);
    kith__relay_access_free(access);
}

KITH_TEST(relay_server_does_not_take_datagrams_while_access_is_decided)
{
    struct kith_relay_access *access = access_of(KITH_RELAY_ACCESS_ASK, NULL, 0);
    struct crowd_client *client;

    start(NULL, access);
    client = crowd_add(&crowd, 1, KITH_RELAY_V2);
    KITH_CHECK_EQ(crowd_open(client, 0, (struct kith_relay_open) { 0 }), 0);
    crowd_pump(&crowd);
    crowd_send_datagram(client, &client->pair.id, 1, 10);
    crowd_pump(&crowd);
    KITH_CHECK(client->has_ended && client->end == KITH_RELAY_END_PROTOCOL);
    KITH_CHECK_EQ(counter(&crowd.counters[0].send_packets_recv), 0);
    crowd_dispose(&crowd);
    kith__relay_access_free(access);
}

KITH_TEST(relay_server_cuts_a_long_denial_between_characters)
{
    struct kith_relay_access *access = access_of(KITH_RELAY_ACCESS_ASK, NULL, 0);
    struct crowd_client *client;
    char reason[400] = "x";

    for (size_t i = 1; i + 3 < sizeof reason; i += 3)
        memcpy(reason + i, "\xe2\x82\xac", 4); /* 256 is no boundary */
    start(NULL, access);
    client = crowd_add(&crowd, 1, KITH_RELAY_V2);
    KITH_CHECK_EQ(crowd_open(client, 0, (struct kith_relay_open) { 0 }), 0);
    crowd_pump(&crowd);
    kith__relay_session_deny(client->session, reason, crowd.now_ns);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(strlen(client->text), 256);
    crowd_dispose(&crowd);
    kith__relay_access_free(access);
}

/* ---- The same key twice (spec/02, 5.3) ---- */

KITH_TEST(relay_server_lets_the_newest_of_one_key_receive)
{
    struct crowd_client *first, *second, *third, *other;

    start(NULL, NULL);
    other = crowd_connect(&crowd, 0, 9);
    first = crowd_connect(&crowd, 0, 1);
    second = crowd_connect(&crowd, 0, 1);
    KITH_CHECK_EQ(first->status, KITH_RELAY_STATUS_SAME_ID_CONNECTED);
    KITH_CHECK_EQ(second->status, -1);
    crowd_send_datagram(other, &first->pair.id, 1, 10);
    crowd_send_datagram(first, &other->pair.id, 1, 10); /* it may still send */
    crowd_pump(&crowd);
    KITH_CHECK(first->payload_bytes == 0 && second->payload_bytes == 10 && other->payload_bytes == 10);
    third = crowd_connect(&crowd, 0, 1);
    KITH_CHECK_EQ(second->status, KITH_RELAY_STATUS_SAME_ID_CONNECTED);
    crowd_leave(second); /* not the newest: nothing changes */
    crowd_pump(&crowd);
    KITH_CHECK_EQ(first->count[KITH_RELAY_STATUS], 1);
    KITH_CHECK_EQ(other->count[KITH_RELAY_ENDPOINT_GONE], 0);
    crowd_leave(third);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(first->status, KITH_RELAY_STATUS_HEALTHY);
    crowd_send_datagram(other, &first->pair.id, 1, 10);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(first->payload_bytes, 10);
    KITH_CHECK_EQ(other->count[KITH_RELAY_ENDPOINT_GONE], 0);
    crowd_leave(first);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(other->count[KITH_RELAY_ENDPOINT_GONE], 1);
    KITH_CHECK_EQ(counter(&crowd.counters[0].clients_inactive_added), 2);
    KITH_CHECK_EQ(counter(&crowd.counters[0].clients_inactive_removed), 2);
    KITH_CHECK_EQ(counter(&crowd.counters[0].unique_client_keys), 2);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_tells_version_1_in_words)
{
    struct crowd_client *first, *second;

    start(NULL, NULL);
    first = crowd_add(&crowd, 1, KITH_RELAY_V1);
    KITH_CHECK_EQ(crowd_open(first, 0, (struct kith_relay_open) { 0 }), 0);
    crowd_pump(&crowd);
    second = crowd_connect(&crowd, 0, 1);
    KITH_CHECK_EQ(first->count[KITH_RELAY_STATUS], 0);
    KITH_CHECK_STR(first->text,
                   "Another endpoint connected with the same endpoint id. No more messages will be received.");
    crowd_leave(second);
    crowd_pump(&crowd);
    KITH_CHECK_STR(first->text, "The connection is healthy and has recovered from previous problems");
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_closes_the_oldest_of_too_many_with_one_key)
{
    struct crowd_client *oldest;

    start(NULL, NULL);
    oldest = crowd_connect(&crowd, 0, 1);
    for (int i = 1; i < KITH_RELAY_SAME_ID_MAX; i++)
        (void)crowd_connect(&crowd, 0, 1);
    KITH_CHECK(!oldest->has_ended);
    (void)crowd_connect(&crowd, 0, 1);
    KITH_CHECK(oldest->has_ended && oldest->end == KITH_RELAY_END_SUPERSEDED);
    KITH_CHECK_EQ(kith__relay_server_stats(crowd.servers[0]).clients, KITH_RELAY_SAME_ID_MAX);
    KITH_CHECK_EQ(kith__relay_server_stats(crowd.servers[0]).endpoints, 1);
    KITH_CHECK_EQ(kith__relay_server_disconnect(crowd.servers[0], &oldest->pair.id, crowd.now_ns),
                  KITH_RELAY_SAME_ID_MAX);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(kith__relay_server_session_count(crowd.servers[0]), 0);
    crowd_dispose(&crowd);
}

/* ---- Pings and time ---- */

KITH_TEST(relay_server_answers_pings_at_once)
{
    struct crowd_client *client;

    start(NULL, NULL);
    client = crowd_connect(&crowd, 0, 1);
    crowd_send(client, &(struct kith_relay_frame) { .kind = KITH_RELAY_PING, .ping = (const uint8_t *)"pingping" });
    crowd_send_message(client, KITH_WS_PING, (const uint8_t *)"x", 1);
    crowd_send_message(client, KITH_WS_TEXT, (const uint8_t *)"hello", 5);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(client->count[KITH_RELAY_PONG], 1);
    KITH_CHECK(counter(&crowd.counters[0].got_ping) == 1 && counter(&crowd.counters[0].sent_pong) == 1);
    KITH_CHECK_EQ(counter(&crowd.counters[0].text_messages), 1);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_pings_the_silent_and_closes_the_dead)
{
    struct crowd_client *live, *dead;

    start(NULL, NULL);
    live = crowd_connect(&crowd, 0, 1);
    dead = crowd_connect(&crowd, 0, 2);
    crowd_advance(&crowd, 15 * KITH_NS_PER_S);
    KITH_CHECK_EQ(live->count[KITH_RELAY_PING], 0);
    crowd_advance(&crowd, 5 * KITH_NS_PER_S + KITH_NS_PER_MS);
    KITH_CHECK(live->count[KITH_RELAY_PING] == 1 && dead->count[KITH_RELAY_PING] == 1);
    KITH_CHECK(kith__relay_session_info(live->session).rtt_ns != 0);
    dead->is_silent = true;
    crowd_advance(&crowd, 30 * KITH_NS_PER_S);
    KITH_CHECK(dead->has_ended && dead->end == KITH_RELAY_END_PING_TIMEOUT);
    KITH_CHECK(!live->has_ended);
    KITH_CHECK_EQ(counter(&crowd.counters[0].ends_ping_timeout), 1);
    crowd_advance(&crowd, 3600 * KITH_NS_PER_S);
    KITH_CHECK(!live->has_ended);
    KITH_CHECK(live->count[KITH_RELAY_PING] >= 180 && live->count[KITH_RELAY_PING] <= 240);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_does_not_hold_a_clock_that_jumps_against_its_clients)
{
    struct crowd_client *client, *writing;

    start(NULL, NULL);
    client = crowd_connect(&crowd, 0, 1);
    writing = crowd_connect(&crowd, 0, 2);
    crowd_advance(&crowd, 21 * KITH_NS_PER_S);
    writing->is_stuck = true;
    crowd_send_datagram(client, &writing->pair.id, 1, 1000);
    crowd_pump(&crowd);
    crowd.now_ns += 24 * 3600 * KITH_NS_PER_S; /* the machine slept */
    kith__relay_server_on_deadline(crowd.servers[0], crowd.now_ns);
    writing->is_stuck = false;
    kith__relay_session_sent(writing->session, 0, crowd.now_ns); /* its write goes on */
    crowd_pump(&crowd);
    crowd_advance(&crowd, 10 * KITH_NS_PER_S);
    KITH_CHECK(!client->has_ended && !writing->has_ended);
    KITH_CHECK_EQ(writing->payload_bytes, 1000);
    crowd.now_ns -= 5 * KITH_NS_PER_S; /* and back */
    crowd_send_datagram(client, &writing->pair.id, 1, 1000);
    crowd_advance(&crowd, 60 * KITH_NS_PER_S);
    KITH_CHECK(!client->has_ended && !writing->has_ended);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_closes_who_does_not_read_for_two_seconds)
{
    struct crowd_client *client, *slow, *dead;

    start(NULL, NULL);
    client = crowd_connect(&crowd, 0, 1);
    slow = crowd_connect(&crowd, 0, 2);
    dead = crowd_connect(&crowd, 0, 3);
    dead->is_stuck = true;
    for (int i = 0; i < 100; i++) {
        crowd_send_datagram(client, &slow->pair.id, 1, 1200);
        crowd_send_datagram(client, &dead->pair.id, 1, 1200);
    }
    for (int i = 0; i < 12; i++) { /* a little now and then is progress */
        struct kith_slice slices[1];

        crowd.now_ns += 1500 * KITH_NS_PER_MS;
        kith__relay_server_on_deadline(crowd.servers[0], crowd.now_ns);
        KITH_CHECK(!slow->has_ended);
        KITH_CHECK_EQ(kith__relay_session_output(slow->session, slices, 1), 1);
        kith__relay_session_sent(slow->session, KITH_MIN(slices[0].size, (size_t)1000), crowd.now_ns);
        kith__relay_server_check(crowd.servers[0]);
        if (i == 0)
            KITH_CHECK(!dead->has_ended);
        if (i == 2) {
            struct kith_relay_event event;

            while (kith__relay_server_next_event(crowd.servers[0], &event))
                crowd_on_event(&crowd, &event);
            KITH_CHECK(dead->has_ended && dead->end == KITH_RELAY_END_STALLED);
        }
    }
    KITH_CHECK_EQ(counter(&crowd.counters[0].ends_stalled), 1);
    KITH_CHECK_EQ(counter(&crowd.counters[0].drops_disconnect), 100);
    crowd_dispose(&crowd);
}

/* ---- The end ---- */

KITH_TEST(relay_server_answers_a_close_and_ends)
{
    struct crowd_client *client;

    start(NULL, NULL);
    client = crowd_connect(&crowd, 0, 1);
    crowd_send_message(client, KITH_WS_CLOSE, (const uint8_t *)"\x03\xe8", 2);
    crowd_pump(&crowd);
    KITH_CHECK(client->has_ended && client->end == KITH_RELAY_END_BY_PEER && client->close_code == 1000);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_ends_for_broken_frames_alone)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        { "\x02", 1 },     /* a frame of the handshake */
        { "\x06", 1 },     /* a server's */
        { "\x0d\x00", 2 }, /* another */
        { "\x0e", 1 },     /* unknown */
        { "", 0 },         /* nothing */
        { "\x09"
          "1234567",
          8 }, /* too short */
        { "\x04"
          "1234567",
          8 },
    };
    struct crowd_client *client, *other;

    start(NULL, NULL);
    other = crowd_connect(&crowd, 0, 99);
    for (uint8_t i = 0; i < KITH_COUNT(cases); i++) {
        client = crowd_connect(&crowd, 0, i);
        crowd_send_message(client, KITH_WS_BINARY, (const uint8_t *)cases[i].bytes, cases[i].size);
        crowd_pump(&crowd);
        KITH_CHECK(client->has_ended && client->end == KITH_RELAY_END_PROTOCOL);
        KITH_CHECK_EQ(client->close_code, KITH_WS_CLOSE_PROTOCOL);
        KITH_CHECK(!other->has_ended);
    }
    KITH_CHECK_EQ(counter(&crowd.counters[0].unknown_frames), 1);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_drains_in_order)
{
    struct crowd_client *clients[10], *proving;
    uint64_t gone = 0;

    start(NULL, NULL);
    for (uint8_t i = 0; i < 10; i++)
        clients[i] = crowd_connect(&crowd, 0, i);
    proving = crowd_add(&crowd, 50, KITH_RELAY_V2);
    proving->is_silent = true;
    KITH_CHECK_EQ(crowd_open(proving, 0, (struct kith_relay_open) { 0 }), 0);
    crowd_pump(&crowd);
    kith__relay_server_drain(crowd.servers[0], 10 * KITH_NS_PER_S, 60 * KITH_NS_PER_S, crowd.now_ns);
    crowd_pump(&crowd);
    KITH_CHECK(proving->has_ended);
    KITH_CHECK_EQ(crowd_open(crowd_add(&crowd, 51, KITH_RELAY_V2), 0, (struct kith_relay_open) { 0 }), KITH_ERR_STATE);
    crowd_advance(&crowd, 5 * KITH_NS_PER_S);
    for (int i = 0; i < 10; i++)
        gone += clients[i]->has_ended;
    KITH_CHECK(gone >= 4 && gone <= 6); /* spread */
    crowd_advance(&crowd, 5 * KITH_NS_PER_S);
    for (int i = 0; i < 10; i++) {
        KITH_CHECK(clients[i]->has_ended && clients[i]->close_code == KITH_WS_CLOSE_RESTART);
        KITH_CHECK_EQ(clients[i]->count[KITH_RELAY_RESTARTING], 1);
        KITH_CHECK_EQ(clients[i]->end, KITH_RELAY_END_BY_US);
    }
    KITH_CHECK_EQ(kith__relay_server_session_count(crowd.servers[0]), 0);
    crowd_dispose(&crowd);
}

KITH_TEST(relay_server_tells_the_ticket_when_the_id_is_proved)
{
    struct kith_relay_admission *admission;
    struct kith_sockaddr remote = { .ip = { 1 }, .family = KITH_FAMILY_V4 };
    struct kith_relay_ticket ticket;
    struct crowd_client *client;

    KITH_CHECK_EQ(
        kith__relay_admission_new(kith_mem_default(), NULL, &(struct kith_relay_admission_limits) { 0 }, 1, &admission),
        0);
    KITH_CHECK_EQ(kith__relay_admission_take(admission, &remote, 0, &ticket), KITH_RELAY_ADMITTED);
    start(NULL, NULL);
    client = crowd_add(&crowd, 1, KITH_RELAY_V2);
    KITH_CHECK_EQ(crowd_open(client, 0, (struct kith_relay_open) { .ticket = &ticket }), 0);
    KITH_CHECK_EQ(kith__relay_admission_stats(admission).unauthenticated, 1);
    crowd_pump(&crowd);
    KITH_CHECK_EQ(kith__relay_admission_stats(admission).unauthenticated, 0);
    crowd_dispose(&crowd);
    kith__relay_ticket_release(&ticket);
    kith__relay_admission_free(admission);
}

KITH_TEST(relay_server_finds_sessions_by_handle_and_in_order)
{
    struct crowd_client *a, *b;
    struct kith_relay_session *session;
    uint64_t handle;

    start(NULL, NULL);
    a = crowd_connect(&crowd, 0, 1);
    b = crowd_connect(&crowd, 0, 2);
    session = kith__relay_server_next_session(crowd.servers[0], NULL);
    KITH_CHECK(session == a->session);
    session = kith__relay_server_next_session(crowd.servers[0], session);
    KITH_CHECK(session == b->session && kith__relay_server_next_session(crowd.servers[0], session) == NULL);
    handle = kith__relay_session_handle(a->session);
    KITH_CHECK(kith__relay_server_find(crowd.servers[0], handle) == a->session);
    crowd_leave(a);
    KITH_CHECK(kith__relay_server_find(crowd.servers[0], handle) == NULL);
    a = crowd_connect(&crowd, 0, 1); /* the same slot */
    KITH_CHECK(kith__relay_server_find(crowd.servers[0], handle) == NULL);
    crowd_dispose(&crowd);
}
