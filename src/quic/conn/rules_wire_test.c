/* Rules on packets before their frames count: ids, tokens, resets, header bits, numbers, Retry, Version Negotiation. */
#include "quic/conn/rules.h"

#include "quic/host/cidgen.h"
#include "quic/wire/retry.h"

static struct kith_pair pair_w;
static struct kith_app app_w;

static const uint8_t ping_frame[] = { 1 };

static void start(struct kith_pair_config *config)
{
    KITH_CHECK_EQ(kith__pair_init(&pair_w, config), 0);
    kith__app_attach(&app_w, &pair_w);
}

static uint64_t closed(int side)
{
    return pair_w.sides[side].seen[KITH_QUIC_CLOSED];
}

/* ---- Long headers ---- */

static void server_sends_tokens(struct kith_pair *pair, int side, const struct kith_quic_event *event)
{
    (void)side;
    if (event->kind == KITH_QUIC_INCOMING)
        KITH_CHECK_EQ(kith__buf_append(&pair->sides[1].conn->early->token, "abc", 3), 0);
}

KITH_TEST(rules_initial_of_a_server_with_a_token_is_dropped)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    start(&config);
    pair_w.config.on_event = server_sends_tokens;
    KITH_CHECK_EQ(kith__pair_dial(&pair_w, NULL), 0);
    kith__pair_run(&pair_w, 2 * KITH_NS_PER_S);
    KITH_CHECK(pair_w.sides[0].host->stats.dropped_bad_token != 0);
    KITH_CHECK(!pair_w.sides[0].conn->early->has_remote_cid);
    kith__pair_dispose(&pair_w);
}

/** Once both sides know each other, a Handshake packet with another source id. */
static bool other_source_id(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    struct kith_quic_conn *conn = pair->sides[1].conn;
    uint8_t copy[RULES_DATAGRAM_MAX], datagram[RULES_DATAGRAM_MAX];
    struct kith_cid_ours_slot *slot;
    struct kith_quic_conn *client = pair->sides[0].conn;
    uint64_t before;

    if (sender != 1 || pair->user_flag++ != 0)
        return true;
    memcpy(copy, bytes, *size);
    rules_give(pair, 0, copy, *size, pair->sides[1].outer.port);
    KITH_CHECK(client->early != NULL && client->early->has_remote_cid);
    before = client->stats.packets_received;
    slot = &conn->paths[0]->cids_ours.slots[0];
    slot->cid.bytes[3] ^= 1;
    rules_give(pair, 0, datagram, rules_seal(conn, KITH_LEVEL_HANDSHAKE, 0, ping_frame, sizeof ping_frame, 0, datagram),
               pair->sides[1].outer.port);
    slot->cid.bytes[3] ^= 1;
    KITH_CHECK_EQ(client->stats.packets_received, before);
    rules_give(pair, 0, datagram, rules_seal(conn, KITH_LEVEL_HANDSHAKE, 0, ping_frame, sizeof ping_frame, 0, datagram),
               pair->sides[1].outer.port);
    KITH_CHECK_EQ(client->stats.packets_received, before + 1);
    return false;
}

KITH_TEST(rules_handshake_packet_with_another_source_id_is_dropped)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.tap = other_source_id;
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_w));
    KITH_CHECK(pair_w.user_flag != 0);
    kith__pair_dispose(&pair_w);
}

/* ---- First byte and numbers ---- */

KITH_TEST(rules_reserved_bits_end_the_connection_and_a_cleared_fixed_bit_does_not)
{
    uint8_t datagram[RULES_DATAGRAM_MAX];
    size_t size;

    for (int side = 0; side < 2; side++) {
        rules_connect(&pair_w, &app_w, NULL);
        size = rules_seal(pair_w.sides[side].conn, KITH_LEVEL_DATA, 0x40, ping_frame, sizeof ping_frame, 40, datagram);
        rules_give(&pair_w, 1 - side, datagram, size, pair_w.sides[side].outer.port);
        KITH_CHECK_EQ(pair_w.sides[1 - side].host->stats.dropped_fixed_bit, 1);
        kith__pair_flush(&pair_w);
        KITH_CHECK_EQ(closed(1 - side), 0);
        size = rules_seal(pair_w.sides[side].conn, KITH_LEVEL_DATA, 0x08, ping_frame, sizeof ping_frame, 40, datagram);
        rules_give(&pair_w, 1 - side, datagram, size, pair_w.sides[side].outer.port);
        kith__pair_flush(&pair_w);
        KITH_CHECK_EQ(closed(1 - side), 1);
        KITH_CHECK_EQ(pair_w.sides[1 - side].closed.code, KITH_WIRE_PROTOCOL_VIOLATION);
        kith__pair_dispose(&pair_w);
    }
}

KITH_TEST(rules_a_packet_counts_once_however_often_it_comes)
{
    uint8_t datagram[RULES_DATAGRAM_MAX], copy[RULES_DATAGRAM_MAX];
    struct kith_quic_conn_stats before, after;
    size_t size;

    rules_connect(&pair_w, &app_w, NULL);
    size = rules_seal(pair_w.sides[0].conn, KITH_LEVEL_DATA, 0, ping_frame, sizeof ping_frame, 40, datagram);
    before = rules_stats(&pair_w, 1);
    for (int i = 0; i < 50; i++) {
        memcpy(copy, datagram, size);
        rules_give(&pair_w, 1, copy, size, (uint16_t)(pair_w.sides[0].outer.port + i)); /* a copy moves nothing */
    }
    after = rules_stats(&pair_w, 1);
    KITH_CHECK_EQ(after.packets_received, before.packets_received + 1);
    KITH_CHECK_EQ(pair_w.sides[1].host->stats.dropped_duplicate, 49);
    KITH_CHECK_EQ(after.migrations, 0);
    kith__pair_dispose(&pair_w);
}

KITH_TEST(rules_numbers_may_jump_by_almost_two_to_the_31)
{
    struct kith_quic_conn *client;
    uint64_t jump = (UINT64_C(1) << 31) - 10;

    rules_connect(&pair_w, &app_w, NULL);
    client = pair_w.sides[0].conn;
    pair_w.config.link.blocked[1] = true;
    kith__sent_dispose(&client->paths[0]->sent);
    client->paths[0]->now.in_flight_size = client->paths[0]->now.in_flight_count = 0;
    for (int i = 0; i < 3; i++) {
        client->paths[0]->sent.base = client->paths[0]->sent.oldest = client->paths[0]->sent.next += jump;
        rules_inject(&pair_w, 0, KITH_LEVEL_DATA, ping_frame, sizeof ping_frame);
        kith__sent_dispose(&client->paths[0]->sent);
        client->paths[0]->now.in_flight_size = client->paths[0]->now.in_flight_count = 0;
        KITH_CHECK_EQ(kith__received_end(&pair_w.sides[1].conn->paths[0]->received), client->paths[0]->sent.next);
    }
    kith__pair_dispose(&pair_w);
}

/* ---- Stateless reset ---- */

/** A datagram that nothing opens, from a port of the other side, with this token at its end. */
static void give_reset_from(uint16_t port, int to, uint8_t first, const uint8_t *dcid, size_t dcid_size,
                            const uint8_t *token)
{
    uint8_t datagram[60] = { first };
    size_t at = 1;

    for (size_t i = 1; i < sizeof datagram; i++)
        datagram[i] = (uint8_t)(i * 37);
    if ((first & 0x80) != 0) {
        memcpy(datagram + 1, "\0\0\0\1", 4);
        datagram[5] = (uint8_t)dcid_size;
        at = 6;
    }
    memcpy(datagram + at, dcid, dcid_size);
    memcpy(datagram + sizeof datagram - 16, token, 16);
    rules_give(&pair_w, to, datagram, sizeof datagram, port);
    kith__pair_flush(&pair_w);
}

static void give_reset(int to, uint8_t first, const uint8_t *dcid, size_t dcid_size, const uint8_t *token)
{
    give_reset_from(pair_w.sides[1 - to].outer.port, to, first, dcid, dcid_size, token);
}

KITH_TEST(rules_reset_is_known_by_its_token_behind_any_header)
{
    static const uint8_t firsts[] = { 0x40, 0xc0, 0xe0, 0x80 }; /* short, Initial, Handshake, without fixed bit */

    for (size_t i = 0; i < 2 * KITH_COUNT(firsts); i++) {
        const struct kith_cid_theirs *theirs;
        uint8_t strange[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, token[16];
        const uint8_t *dcid = strange;

        rules_connect(&pair_w, &app_w, NULL);
        theirs = &pair_w.sides[0].conn->paths[0]->cids_theirs;
        memcpy(token, kith__cid_theirs_active_token(theirs), 16);
        if (i % 2 == 0)
            dcid = pair_w.sides[0].conn->paths[0]->cids_ours.slots[0].cid.bytes;
        token[15] ^= 1;
        give_reset(0, firsts[i / 2], dcid, 8, token);
        KITH_CHECK_EQ(closed(0), 0);
        for (size_t k = 0; k < KITH_CIDS_THEIRS_MAX; k++) /* tokens of ids that were never used mean nothing */
            if (theirs->slots[k].is_used && !theirs->slots[k].was_active)
                give_reset(0, firsts[i / 2], dcid, 8, theirs->slots[k].reset_token);
        KITH_CHECK_EQ(closed(0), 0);
        token[15] ^= 1;
        if (dcid != strange && (firsts[i / 2] & 0x40) == 0)
            dcid = strange; /* inside a connection the fixed bit is looked at first */
        give_reset(0, firsts[i / 2], dcid, 8, token);
        KITH_CHECK_EQ(closed(0), 1);
        KITH_CHECK_EQ(pair_w.sides[0].closed.err, KITH_ERR_LOST);
        kith__pair_dispose(&pair_w);
    }
}

KITH_TEST(rules_reset_counts_from_the_address_of_the_peer_only)
{
    static const uint8_t strange[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    uint8_t token[16], ours[8];

    for (int to = 0; to < 2; to++) {
        const struct kith_path *path;
        uint16_t port, old_port;

        rules_connect(&pair_w, &app_w, NULL);
        old_port = pair_w.sides[0].outer.port;
        if (to == 1) { /* the first id of a client has no token: a move makes the server use another one */
            kith__pair_rebind(&pair_w, 0);
            kith__app_send(&pair_w, 0, true, 1000);
            kith__pair_run(&pair_w, 30 * KITH_NS_PER_S);
        }
        path = pair_w.sides[to].conn->paths[0];
        port = pair_w.sides[1 - to].outer.port;
        KITH_CHECK_EQ(path->tuple.remote.port, port);
        KITH_CHECK(path->previous == NULL);
        KITH_CHECK(kith__cid_theirs_active_token(&path->cids_theirs) != NULL);
        memcpy(token, kith__cid_theirs_active_token(&path->cids_theirs), 16);
        memcpy(ours, path->cids_ours.slots[0].cid.bytes, 8);
        give_reset_from((uint16_t)(port + 1), to, 0x40, strange, 8, token);
        give_reset_from((uint16_t)(port + 1), to, 0x40, ours, 8, token);
        if (to == 1) /* where it was once is not where it is */
            give_reset_from(old_port, to, 0x40, ours, 8, token);
        KITH_CHECK_EQ(closed(to), 0);
        give_reset(to, 0x40, to == 0 ? strange : ours, 8, token);
        KITH_CHECK_EQ(closed(to), 1);
        KITH_CHECK_EQ(pair_w.sides[to].closed.err, KITH_ERR_LOST);
        kith__pair_dispose(&pair_w);
    }
}

KITH_TEST(rules_reset_while_closing_makes_it_silent)
{
    uint8_t token[16];
    uint64_t before;

    rules_connect(&pair_w, &app_w, NULL);
    memcpy(token, kith__cid_theirs_active_token(&pair_w.sides[0].conn->paths[0]->cids_theirs), 16);
    pair_w.config.link.blocked[0] = true;
    kith_quic_conn_close(pair_w.sides[0].conn, 5, (struct kith_slice) { 0 }, pair_w.now_ns);
    kith__pair_flush(&pair_w);
    give_reset(0, 0x40, pair_w.sides[0].conn->paths[0]->cids_ours.slots[0].cid.bytes, 8, token);
    before = pair_w.sides[0].sent_datagrams;
    for (int i = 0; i < 20; i++) {
        rules_inject(&pair_w, 1, KITH_LEVEL_DATA, ping_frame, sizeof ping_frame);
        kith__pair_flush(&pair_w);
    }
    KITH_CHECK_EQ(pair_w.sides[0].sent_datagrams, before);
    KITH_CHECK_EQ(pair_w.sides[0].closed.err, KITH_ERR_CLOSED); /* what ended it first stays the reason */
    kith__pair_run(&pair_w, 5 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_w.sides[0].seen[KITH_QUIC_DRAINED], 1);
    kith__pair_dispose(&pair_w);
}

/* ---- Retry and Version Negotiation ---- */

/** Builds the Retry of some server for the client's first Initial and hands it over. */
static void give_retry(struct kith_pair *pair, const struct kith_cid *scid, bool good_tag)
{
    struct kith_quic_conn *client = pair->sides[0].conn;
    struct kith_slice token = { (const uint8_t *)"token", 5 };
    uint8_t datagram[200];
    size_t size = 0;

    KITH_CHECK_EQ(kith__retry_write(client->mem.base, &client->paths[0]->cids_ours.slots[0].cid, scid,
                                    &client->early->odcid, token, 0, datagram, sizeof datagram, &size),
                  0);
    if (!good_tag)
        datagram[size - 1] ^= 1;
    rules_give(pair, 0, datagram, size, pair->sides[1].outer.port);
}

KITH_TEST(rules_retry_is_obeyed_once_with_a_good_tag_and_a_new_id_only)
{
    struct kith_pair_config config;
    struct kith_cid scid = { .size = 8, .bytes = { 9, 9, 9 } }, empty = { 0 };
    struct kith_quic_conn *client;

    kith__pair_defaults(&config);
    start(&config);
    pair_w.config.link.blocked[0] = true;
    KITH_CHECK_EQ(kith__pair_dial(&pair_w, NULL), 0);
    kith__pair_flush(&pair_w);
    client = pair_w.sides[0].conn;
    give_retry(&pair_w, &scid, false);
    give_retry(&pair_w, &client->early->odcid, true);
    give_retry(&pair_w, &empty, true);
    KITH_CHECK_EQ(client->early->retry_scid.size, 0);
    kith__pair_run(&pair_w, 3 * KITH_NS_PER_S); /* probes went out meanwhile */
    KITH_CHECK(client->paths[0]->loss.pto_count != 0);
    give_retry(&pair_w, &scid, true);
    KITH_CHECK(kith__cid_equal(&client->early->retry_scid, &scid));
    KITH_CHECK_EQ(client->paths[0]->loss.pto_count, 0);
    KITH_CHECK(client->early->spaces[0].sent.next > 1); /* numbers go on (RFC 9000, 17.2.5.3) */
    scid.bytes[0] = 8;
    give_retry(&pair_w, &scid, true);
    KITH_CHECK_EQ(client->early->retry_scid.bytes[0], 9);
    KITH_CHECK_EQ(pair_w.sides[0].host->stats.dropped_bad_retry, 4);
    kith__pair_dispose(&pair_w);
}

static void give_versions(struct kith_pair *pair, uint32_t version)
{
    struct kith_quic_conn *client = pair->sides[0].conn;
    const struct kith_cid *odcid = &client->early->odcid, *cid = &client->paths[0]->cids_ours.slots[0].cid;
    uint8_t datagram[64] = { 0xc0, 0, 0, 0, 0, 8 };

    memcpy(datagram + 6, cid->bytes, 8);
    datagram[14] = 20;
    memcpy(datagram + 15, odcid->bytes, 20);
    for (int i = 0; i < 4; i++)
        datagram[35 + i] = (uint8_t)(version >> (24 - 8 * i));
    rules_give(pair, 0, datagram, 39, pair->sides[1].outer.port);
}

/** After the server's first datagram neither Retry nor Version Negotiation count. */
static bool too_late(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    struct kith_cid scid = { .size = 8, .bytes = { 9, 9, 9 } };
    uint8_t copy[RULES_DATAGRAM_MAX];

    if (sender == 0 && pair->user_flag == 0) {
        give_versions(pair, 1); /* lists what we offered: ignored */
        pair->user_flag = 1;
    }
    if (sender == 1 && pair->user_flag == 1) {
        pair->user_flag = 2;
        memcpy(copy, bytes, *size);
        rules_give(pair, 0, copy, *size, pair->sides[1].outer.port);
        give_retry(pair, &scid, true);
        give_versions(pair, 0x0a0a0a0a);
        return false;
    }
    return true;
}

KITH_TEST(rules_retry_and_version_negotiation_count_before_the_first_packet_only)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.tap = too_late;
    start(&config);
    KITH_CHECK(kith__pair_connect(&pair_w));
    KITH_CHECK_EQ(pair_w.user_flag, 2);
    KITH_CHECK_EQ(pair_w.sides[0].host->stats.dropped_bad_retry, 1);
    KITH_CHECK_EQ(pair_w.sides[0].host->stats.dropped_bad_version_negotiation, 2);
    kith__pair_dispose(&pair_w);
}

/* ---- Copies of one Initial ---- */

static bool from_many_places(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    uint8_t copy[RULES_DATAGRAM_MAX];

    if (sender == 0 && pair->sides[1].conn == NULL)
        for (int i = 1; i <= 5; i++) {
            memcpy(copy, bytes, *size);
            rules_give(pair, 1, copy, *size, (uint16_t)(7000 + i));
        }
    else if (sender == 0 && pair->user_flag++ == 0) {
        memcpy(copy, bytes, *size);
        rules_give(pair, 1, copy, *size, 7009);
    }
    return true;
}

KITH_TEST(rules_copies_of_an_initial_from_several_addresses_make_one_client)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.tap = from_many_places;
    start(&config);
    KITH_CHECK_EQ(kith__pair_dial(&pair_w, NULL), 0);
    kith__pair_run(&pair_w, KITH_NS_PER_S / 4);
    KITH_CHECK_EQ(pair_w.sides[1].seen[KITH_QUIC_INCOMING], 1);
    KITH_CHECK_EQ(pair_w.sides[1].host->stats.conns_opened, 1);
    KITH_CHECK(pair_w.sides[1].host->stats.dropped_wrong_remote >= 5); /* all but the first */
    KITH_CHECK_EQ(pair_w.sides[1].conn->paths[0]->tuple.remote.port, 7001);
    kith__pair_dispose(&pair_w);
}

KITH_TEST(rules_packets_for_another_id_behind_the_first_of_a_datagram_are_dropped)
{
    uint8_t datagram[RULES_DATAGRAM_MAX * 2];
    struct kith_quic_conn *client;
    uint64_t before;
    size_t size;

    rules_connect(&pair_w, &app_w, NULL);
    client = pair_w.sides[0].conn;
    before = pair_w.sides[1].conn->stats.packets_received;
    /* A long header in front that claims the rest, with an id of the server other than the short packet's. */
    memcpy(datagram, "\xe0\0\0\0\1\10", 6);
    memcpy(datagram + 6, pair_w.sides[1].conn->paths[0]->cids_ours.slots[2].cid.bytes, 8);
    datagram[14] = 0;
    memcpy(datagram + 15, "\x40\x20", 2);
    memset(datagram + 17, 7, 32);
    size = 49 + rules_seal(client, KITH_LEVEL_DATA, 0, ping_frame, sizeof ping_frame, 40, datagram + 49);
    rules_give(&pair_w, 1, datagram, size, pair_w.sides[0].outer.port);
    KITH_CHECK_EQ(pair_w.sides[1].conn->stats.packets_received, before);
    KITH_CHECK_EQ(pair_w.sides[1].host->stats.dropped_unknown_cid, 1);
    kith__pair_dispose(&pair_w);
}
