/* A client that sends its first packets to many addresses at once, and a server that moves meanwhile: spec/01, 1.7. */
#include "quic/conn/rules.h"

static struct kith_pair pair_a;
static struct kith_app app_a;

static bool app_is_done(struct kith_pair *pair)
{
    (void)pair;
    return app_a.sides[1].ended_total != 0;
}

static void check_works(void)
{
    kith__app_send(&pair_a, 0, false, 50000);
    KITH_CHECK(kith__pair_run_until(&pair_a, app_is_done, 10 * KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_a.sides[0].seen[KITH_QUIC_CLOSED] + pair_a.sides[1].seen[KITH_QUIC_CLOSED], 0);
}

/** Dials two addresses where nobody is, and then the server's. */
static void dial(enum kith_pair_answer answer, bool (*tap)(struct kith_pair *, int, uint8_t *, size_t *))
{
    struct kith_quic_connect_options options = { .remote_count = 3 };
    struct kith_sockaddr remotes[3];
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.answer = answer;
    config.tap = tap;
    KITH_CHECK_EQ(kith__pair_init(&pair_a, &config), 0);
    kith__app_attach(&app_a, &pair_a);
    for (int i = 0; i < 3; i++)
        remotes[i] = pair_a.sides[1].outer;
    remotes[0].port = 9;
    remotes[1].port = 10;
    options.remotes = remotes;
    KITH_CHECK_EQ(kith__pair_dial(&pair_a, &options), 0);
}

/** Hands the server a copy that comes from another address of the client's. */
static void copy_from(struct kith_pair *pair, uint16_t delta, const uint8_t *bytes, size_t size)
{
    uint8_t copy[RULES_DATAGRAM_MAX];

    memcpy(copy, bytes, size);
    rules_give(pair, 1, copy, size, (uint16_t)(pair->sides[0].outer.port + delta));
}

/** The client's first datagram arrives from three addresses at nearly the same time. */
static bool three_copies(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    if (sender != 0 || pair->user_flag++ != 0)
        return true;
    for (uint16_t delta = 0; delta < 3; delta++)
        copy_from(pair, delta, bytes, *size);
    return true;
}

KITH_TEST(first_copies_from_several_addresses_are_one_client)
{
    dial(KITH_PAIR_ACCEPT, three_copies);
    kith__pair_run(&pair_a, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_a.sides[1].seen[KITH_QUIC_INCOMING], 1);
    KITH_CHECK_EQ(pair_a.sides[1].host->stats.conns_live, 1);
    KITH_CHECK(pair_a.sides[1].host->stats.dropped_wrong_remote >= 2);
    KITH_CHECK_EQ(pair_a.sides[1].conn->paths[0]->tuple.remote.port,
                  pair_a.sides[0].outer.port); /* the first of them */
    check_works();
    kith__pair_dispose(&pair_a);
}

/** Copies that are late: the server has answered the first one. */
static bool late_copies(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    static uint8_t first[RULES_DATAGRAM_MAX];
    static size_t first_size;

    if (sender == 0 && pair->user_flag == 0) {
        memcpy(first, bytes, *size);
        first_size = *size;
        pair->user_flag = 1;
    } else if (sender == 1 && pair->user_flag++ < 4) {
        copy_from(pair, 3, first, first_size);
    }
    return true;
}

KITH_TEST(first_copies_behind_the_answer_do_not_move_the_server)
{
    dial(KITH_PAIR_ACCEPT, late_copies);
    kith__pair_run(&pair_a, KITH_NS_PER_S);
    KITH_CHECK(pair_a.user_flag > 1);
    KITH_CHECK_EQ(pair_a.sides[1].seen[KITH_QUIC_INCOMING], 1);
    KITH_CHECK_EQ(pair_a.sides[1].conn->paths[0]->tuple.remote.port, pair_a.sides[0].outer.port);
    KITH_CHECK(pair_a.sides[1].host->stats.dropped_wrong_remote >= 1);
    check_works();
    kith__pair_dispose(&pair_a);
}

/* ---- Retry ---- */

KITH_TEST(first_retry_goes_to_one_copy_and_the_client_goes_on_with_the_address_that_sent_it)
{
    uint64_t sent;

    dial(KITH_PAIR_RETRY, three_copies);
    kith__pair_flush(&pair_a);
    KITH_CHECK_EQ(pair_a.sides[0].sent_datagrams, 3);
    KITH_CHECK_EQ(pair_a.sides[1].seen[KITH_QUIC_INCOMING], 1);
    KITH_CHECK_EQ(pair_a.sides[1].host->stats.retries_sent, 1);
    sent = pair_a.sides[0].sent_datagrams;
    while (pair_a.sides[0].sent_datagrams == sent)
        KITH_CHECK(kith__pair_step(&pair_a, pair_a.now_ns + KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_a.sides[0].sent_datagrams, sent + 1); /* the token is good for the way that the Retry came */
    KITH_CHECK_EQ(pair_a.sides[0].conn->paths[0]->tuple.remote.port, pair_a.sides[1].outer.port);
    kith__pair_run(&pair_a, KITH_NS_PER_S);
    KITH_CHECK(kith_quic_conn_is_established(pair_a.sides[0].conn));
    check_works();
    kith__pair_dispose(&pair_a);
}

/** A client that sends copies of its second Initial as well: one with the token comes from another address first. */
static bool token_from_elsewhere(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    bool has_token = sender == 0 && pair->sides[0].conn->early != NULL && pair->sides[0].conn->early->token.size != 0;

    if (has_token && pair->user_flag++ == 0) {
        copy_from(pair, 5, bytes, *size);
        kith__pair_flush(pair);
    }
    return true;
}

KITH_TEST(first_token_that_comes_from_another_address_does_not_end_the_attempt)
{
    dial(KITH_PAIR_RETRY, token_from_elsewhere);
    kith__pair_run(&pair_a, KITH_NS_PER_S);
    KITH_CHECK(pair_a.user_flag != 0);
    KITH_CHECK_EQ(pair_a.sides[1].host->stats.dropped_bad_token, 1);
    KITH_CHECK_EQ(pair_a.sides[0].seen[KITH_QUIC_CLOSED], 0);
    KITH_CHECK(kith_quic_conn_is_established(pair_a.sides[0].conn));
    KITH_CHECK_EQ(pair_a.sides[1].conn->paths[0]->tuple.remote.port, pair_a.sides[0].outer.port);
    check_works();
    kith__pair_dispose(&pair_a);
}

/* ---- The server moves ---- */

static bool is_estranged; /* what follows the server's first datagram comes from elsewhere */

/** Moves the server to another port with its first datagram, and again with those that follow. */
static bool server_moves(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    uint8_t copy[RULES_DATAGRAM_MAX];
    uint16_t port = pair->sides[1].outer.port;

    if (sender != 1)
        return true;
    memcpy(copy, bytes, *size);
    if (pair->user_flag == 0) {
        copy[*size - 1] ^= 1; /* the Handshake packet at the end, and the Initial before it, from two strangers */
        copy[40] ^= 1;
        rules_give(pair, 0, copy, *size, (uint16_t)(port + 20));
        KITH_CHECK_NE(pair->sides[0].conn->paths[0]->tuple.remote.port, port + 20); /* not authentic: nobody moves */
        memcpy(copy, bytes, *size);
        pair->sides[1].outer.port = (uint16_t)(port + 10);
        rules_give(pair, 0, copy, *size, (uint16_t)(port + 10));
        KITH_CHECK_EQ(pair->sides[0].conn->paths[0]->tuple.remote.port, port + 10);
    } else if (is_estranged) {
        rules_give(pair, 0, copy, *size, (uint16_t)(port + 30));
        KITH_CHECK_EQ(pair->sides[0].conn->paths[0]->tuple.remote.port, port);
    }
    return pair->user_flag++ != 0 && !is_estranged;
}

KITH_TEST(first_server_may_move_until_the_first_handshake_packet_only)
{
    is_estranged = true;
    dial(KITH_PAIR_ACCEPT, server_moves);
    kith__pair_run(&pair_a, KITH_NS_PER_S);
    KITH_CHECK(kith_quic_conn_is_established(pair_a.sides[0].conn));
    KITH_CHECK_EQ(pair_a.sides[0].seen[KITH_QUIC_CONFIRMED], 0); /* HANDSHAKE_DONE came from a stranger */
    KITH_CHECK(pair_a.sides[0].host->stats.dropped_wrong_remote != 0);
    is_estranged = false;
    kith__pair_run(&pair_a, 3 * KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_a.sides[0].seen[KITH_QUIC_CONFIRMED], 1);
    check_works();
    kith__pair_dispose(&pair_a);
}

/* ---- Addresses that come later ---- */

/** Dials where nobody is, and lets time pass. */
static void dial_nowhere(uint64_t for_ns, bool with_second)
{
    struct kith_quic_connect_options options = { .remote_count = with_second ? 2 : 1 };
    struct kith_sockaddr remotes[2];
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    KITH_CHECK_EQ(kith__pair_init(&pair_a, &config), 0);
    kith__app_attach(&app_a, &pair_a);
    remotes[0] = remotes[1] = pair_a.sides[1].outer;
    remotes[0].port = 9;
    remotes[1].port = 10;
    options.remotes = remotes;
    KITH_CHECK_EQ(kith__pair_dial(&pair_a, &options), 0);
    if (for_ns != 0)
        kith__pair_run(&pair_a, for_ns);
    KITH_CHECK_EQ(pair_a.sides[1].seen[KITH_QUIC_INCOMING], 0);
}

static bool is_connected(struct kith_pair *pair)
{
    return pair->sides[0].seen[KITH_QUIC_CONNECTED] != 0;
}

KITH_TEST(first_address_that_comes_later_is_tried_at_once)
{
    /* Far into the pauses between probes: the next one would come seconds later. */
    for (int with_second = 0; with_second < 2; with_second++) {
        uint64_t begun_ns, sent;

        dial_nowhere(8 * KITH_NS_PER_S, with_second != 0);
        begun_ns = pair_a.now_ns;
        sent = pair_a.sides[0].sent_datagrams;
        KITH_CHECK_EQ(kith_quic_conn_add_remote(pair_a.sides[0].conn, &pair_a.sides[1].outer, begun_ns), 0);
        kith__pair_flush(&pair_a);
        KITH_CHECK(pair_a.sides[0].sent_datagrams > sent);
        KITH_CHECK(pair_a.sides[0].sent_datagrams <= sent + 2 * (2 + (uint64_t)with_second));
        KITH_CHECK(kith__pair_run_until(&pair_a, is_connected, KITH_NS_PER_S));
        KITH_CHECK(pair_a.now_ns - begun_ns <= 31 * KITH_NS_PER_MS); /* a round trip */
        KITH_CHECK_EQ(pair_a.sides[0].conn->paths[0]->tuple.remote.port, pair_a.sides[1].outer.port);
        check_works();
        kith__pair_dispose(&pair_a);
    }
}

/** The first datagram to the right address is lost. */
static bool lose_one(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    (void)bytes;
    (void)size;
    return sender != 0 || pair->user_flag == 0 || pair->user_flag-- == 0;
}

KITH_TEST(first_timeouts_begin_anew_with_an_address_that_comes_later)
{
    uint64_t begun_ns;

    dial_nowhere(20 * KITH_NS_PER_S, false); /* the next probe comes after 32 s */
    pair_a.config.tap = lose_one;
    pair_a.user_flag = 4; /* both datagrams to both addresses */
    begun_ns = pair_a.now_ns;
    KITH_CHECK_EQ(kith_quic_conn_add_remote(pair_a.sides[0].conn, &pair_a.sides[1].outer, begun_ns), 0);
    KITH_CHECK(kith__pair_run_until(&pair_a, is_connected, 5 * KITH_NS_PER_S));
    KITH_CHECK_EQ(pair_a.user_flag, 0);
    KITH_CHECK(pair_a.now_ns - begun_ns >= 500 * KITH_NS_PER_MS);
    KITH_CHECK(pair_a.now_ns - begun_ns <= 1500 * KITH_NS_PER_MS);
    kith__pair_dispose(&pair_a);
}

KITH_TEST(first_address_that_comes_before_anything_was_sent_costs_nothing_more)
{
    dial_nowhere(0, false);
    KITH_CHECK_EQ(pair_a.sides[0].sent_datagrams, 0);
    KITH_CHECK_EQ(kith_quic_conn_add_remote(pair_a.sides[0].conn, &pair_a.sides[1].outer, pair_a.now_ns), 0);
    kith__pair_flush(&pair_a);
    KITH_CHECK_EQ(pair_a.sides[0].sent_datagrams, 2);
    kith__pair_run(&pair_a, 100 * KITH_NS_PER_MS);
    KITH_CHECK(is_connected(&pair_a));
    kith__pair_dispose(&pair_a);
}

KITH_TEST(first_addresses_that_come_later_have_a_limit_and_no_twins)
{
    struct kith_sockaddr remote, nothing = { 0 };
    int err = 0;

    dial_nowhere(0, true);
    remote = pair_a.sides[1].outer;
    remote.port = 9;
    KITH_CHECK_EQ(kith_quic_conn_add_remote(pair_a.sides[0].conn, &remote, pair_a.now_ns), KITH_ERR_EXISTS);
    remote.port = 10;
    KITH_CHECK_EQ(kith_quic_conn_add_remote(pair_a.sides[0].conn, &remote, pair_a.now_ns), KITH_ERR_EXISTS);
    KITH_CHECK_EQ(kith_quic_conn_add_remote(pair_a.sides[0].conn, &nothing, pair_a.now_ns), KITH_ERR_INVALID);
    for (remote.port = 11; (err = kith_quic_conn_add_remote(pair_a.sides[0].conn, &remote, pair_a.now_ns)) == 0;)
        remote.port++;
    KITH_CHECK_EQ(err, KITH_ERR_LIMIT);
    KITH_CHECK_EQ(remote.port, 9 + KITH_CONN_REMOTES_ALL_MAX);
    kith__pair_flush(&pair_a);
    KITH_CHECK_EQ(pair_a.sides[0].sent_datagrams, KITH_CONN_REMOTES_ALL_MAX);
    kith__pair_dispose(&pair_a);
}

KITH_TEST(first_addresses_come_too_late_once_the_server_answered)
{
    struct kith_sockaddr remote;

    dial(KITH_PAIR_RETRY, NULL);
    remote = pair_a.sides[1].outer;
    remote.port = 11;
    while (pair_a.sides[0].conn->early->retry_scid.size == 0)
        KITH_CHECK(kith__pair_step(&pair_a, pair_a.now_ns + KITH_NS_PER_S));
    KITH_CHECK_EQ(kith_quic_conn_add_remote(pair_a.sides[0].conn, &remote, pair_a.now_ns), KITH_ERR_STATE);
    KITH_CHECK(kith__pair_run_until(&pair_a, is_connected, KITH_NS_PER_S));
    KITH_CHECK_EQ(kith_quic_conn_add_remote(pair_a.sides[0].conn, &remote, pair_a.now_ns), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith_quic_conn_add_remote(pair_a.sides[1].conn, &remote, pair_a.now_ns), KITH_ERR_STATE);
    kith__pair_run(&pair_a, KITH_NS_PER_S);
    kith_quic_conn_close(pair_a.sides[0].conn, 0, (struct kith_slice) { 0 }, pair_a.now_ns);
    KITH_CHECK_EQ(kith_quic_conn_add_remote(pair_a.sides[0].conn, &remote, pair_a.now_ns), KITH_ERR_CLOSED);
    kith__pair_dispose(&pair_a);
}
