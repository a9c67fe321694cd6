#include "lookup/dht_stage.h"
#include "lookup/dht_table.h"

static struct stage stage;

static void begin(bool is_server, size_t count, bool is_public)
{
    KITH_CHECK_EQ(stage_open(&stage, is_server, 0), 0);
    for (size_t i = 0; i < count; i++)
        stage_add(&stage, is_public);
    if (count > 0)
        stage_join(&stage);
}

static void get(void)
{
    struct kith_id key = stage_key(1);
    struct kith_dht_op *op;

    KITH_CHECK_EQ(kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &op), 0);
    stage_run(&stage, 30 * KITH_NS_PER_S);
}

static void put(unsigned number)
{
    struct kith_pkarr packet;
    struct kith_dht_op *op;

    stage_packet(1, number, &packet);
    KITH_CHECK_EQ(kith__dht_core_put(stage.core, &packet, NULL, stage.now_ns, &op), 0);
    stage_run(&stage, 30 * KITH_NS_PER_S);
}

static size_t count_kept(void)
{
    size_t count = 0;

    for (size_t i = 0; i < stage.count; i++)
        count += stage.nodes[i].has_packet;
    return count;
}

/* ---- Searching ---- */

KITH_TEST(dht_get_without_any_node_says_so)
{
    begin(false, 0, false);
    get();
    KITH_CHECK_EQ(stage.end.err, KITH_ERR_UNREACHABLE);
    KITH_CHECK(strstr(stage.why, "no node of the DHT is known") != NULL);
    stage_close(&stage);
}

KITH_TEST(dht_get_from_nodes_that_are_silent_times_out)
{
    begin(false, 10, false);
    for (size_t i = 0; i < stage.count; i++)
        stage.nodes[i].is_silent = true;
    get();
    KITH_CHECK_EQ(stage.end.err, KITH_ERR_TIMEOUT);
    KITH_CHECK(strstr(stage.why, "is UDP let through") != NULL);
    stage_close(&stage);
}

KITH_TEST(dht_get_of_what_nobody_has_is_not_found)
{
    begin(false, 40, false);
    get();
    KITH_CHECK_EQ(stage.ended, 1);
    KITH_CHECK_EQ(stage.end.err, KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(stage.found, 0);
    stage_close(&stage);
}

KITH_TEST(dht_get_finds_the_packet_with_the_largest_seq_whichever_comes_first)
{
    for (unsigned newest = 0; newest < 10; newest++) {
        begin(false, 20, false);
        for (unsigned i = 0; i < stage.count; i++) {
            stage_packet(1, i < 10 && i == newest ? 100 : 50 - i, &stage.nodes[i].packet);
            stage.nodes[i].has_packet = true;
        }
        get();
        KITH_CHECK_EQ(stage.end.err, 0);
        KITH_CHECK_EQ(kith__pkarr_timestamp(&stage.newest), 1700000000000100ull);
        stage_close(&stage);
    }
}

KITH_TEST(dht_get_waits_for_seeds_that_may_come)
{
    begin(false, 0, false);
    stage_add(&stage, false);
    stage_packet(1, 3, &stage.nodes[0].packet);
    stage.nodes[0].has_packet = true;
    kith__dht_core_expect_seeds(stage.core, true, stage.now_ns);
    {
        struct kith_id key = stage_key(1);
        struct kith_dht_op *op;

        KITH_CHECK_EQ(kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &op), 0);
    }
    stage_run(&stage, KITH_NS_PER_S);
    KITH_CHECK_EQ(stage.ended, 0);
    kith__dht_core_add_seed(stage.core, &stage.nodes[0].node.addr, stage.now_ns);
    stage_run(&stage, KITH_NS_PER_S);
    KITH_CHECK_EQ(stage.ended, 1);
    KITH_CHECK_EQ(stage.end.err, 0);
    /* Without hope it ends at once, and with it, when its time is over. */
    stage.nodes[0].is_silent = true;
    stage_close(&stage);
    begin(false, 0, false);
    kith__dht_core_expect_seeds(stage.core, true, stage.now_ns);
    get();
    KITH_CHECK_EQ(stage.end.err, KITH_ERR_UNREACHABLE);
    KITH_CHECK_EQ(stage.now_ns, KITH_NS_PER_S + KITH_DHT_SEARCH_NS);
    stage_close(&stage);
}

KITH_TEST(dht_asks_the_seeds_again_when_the_table_is_dead)
{
    struct stage_node *seed;

    begin(false, 20, false);
    for (size_t i = 0; i < stage.count; i++)
        stage.nodes[i].is_silent = true;
    seed = stage_add(&stage, false); /* nobody else knows it */
    stage_packet(1, 3, &seed->packet);
    seed->has_packet = true;
    kith__dht_core_add_seed(stage.core, &seed->node.addr, stage.now_ns);
    get();
    KITH_CHECK_EQ(stage.end.err, 0);
    stage_close(&stage);
}

KITH_TEST(dht_get_that_got_nowhere_asks_a_seed_that_comes_later)
{
    struct kith_id key = stage_key(1);
    struct kith_dht_op *op;

    begin(false, 0, false);
    stage_add(&stage, false)->is_silent = true;
    stage_packet(1, 3, &stage_add(&stage, false)->packet);
    stage.nodes[1].has_packet = true;
    kith__dht_core_add_seed(stage.core, &stage.nodes[0].node.addr, stage.now_ns);
    KITH_CHECK_EQ(kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &op), 0);
    stage_run(&stage, KITH_NS_PER_S);
    KITH_CHECK_EQ(stage.ended, 0);
    kith__dht_core_add_seed(stage.core, &stage.nodes[1].node.addr, stage.now_ns);
    stage_run(&stage, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(stage.end.err, 0);
    KITH_CHECK_EQ(stage.found, 1);
    stage_close(&stage);
}

KITH_TEST(dht_nodes_that_are_read_only_have_no_place_in_the_table)
{
    begin(false, 0, false);
    stage_add(&stage, false)->is_read_only = true;
    stage_join(&stage);
    KITH_CHECK_EQ(kith__dht_core_node_count(stage.core), 0);
    stage.nodes[0].is_read_only = false;
    stage_join(&stage);
    KITH_CHECK_EQ(kith__dht_core_node_count(stage.core), 1);
    stage_close(&stage);
}

KITH_TEST(dht_questions_are_asked_twice_then_given_up)
{
    begin(false, 1, false);
    stage.nodes[0].asked = 0;
    stage.nodes[0].silent_for = 1;
    stage_packet(1, 3, &stage.nodes[0].packet);
    stage.nodes[0].has_packet = true;
    get();
    KITH_CHECK_EQ(stage.end.err, 0); /* the second was answered */
    KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->unanswered, 0);
    stage.nodes[0].is_silent = true;
    stage.nodes[0].asked = 0;
    get();
    KITH_CHECK_EQ(stage.end.err, KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(stage.nodes[0].asked, 4); /* as a node, then as a seed */
    KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->unanswered, 2);
    stage_close(&stage);
}

KITH_TEST(dht_answers_count_only_from_where_they_were_asked_for)
{
    struct kith_krpc answer = { .kind = KITH_KRPC_ANSWER };
    struct kith_sockaddr to, thief;
    struct kith_id key = stage_key(1);
    struct kith_dht_op *op;
    struct kith_slice sent;
    uint8_t bytes[KITH_KRPC_SIZE_MAX];

    begin(false, 1, false);
    stage_packet(1, 9, &stage.newest);
    KITH_CHECK_EQ(kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &op), 0);
    KITH_CHECK(kith__dht_core_next(stage.core, &to, &sent));
    memcpy(bytes, sent.ptr, sent.size);
    KITH_CHECK_EQ(kith__krpc_read((struct kith_slice) { bytes, sent.size }, &answer), 0);
    answer.kind = KITH_KRPC_ANSWER;
    answer.id = stage.nodes[0].node.id;
    stage_fill(&stage.newest, &answer);
    thief = to;
    thief.port++;
    stage_send(&stage, &thief, &answer);
    KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->drop_wrong_peer, 1);
    answer.transaction = (struct kith_slice) { (const uint8_t *)"zzzz", 4 };
    stage_send(&stage, &to, &answer);
    KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->drop_unexpected, 1);
    stage_run(&stage, KITH_NS_PER_MS);
    KITH_CHECK_EQ(stage.found, 0);
    kith__dht_core_cancel(stage.core, op);
    stage_close(&stage);
}

KITH_TEST(dht_values_that_are_not_right_are_counted_by_reason)
{
    static const struct {
        const char *what;
        size_t offset; /* of the counter */
    } cases[] = {
        { "key", offsetof(struct kith_dht_stats, value_wrong_key) },
        { "signature", offsetof(struct kith_dht_stats, value_signature) },
        { "seq", offsetof(struct kith_dht_stats, value_incomplete) },
        { "negative", offsetof(struct kith_dht_stats, value_incomplete) },
        { "integer", offsetof(struct kith_dht_stats, value_incomplete) },
        { "large", offsetof(struct kith_dht_stats, value_too_large) },
        { "dns", offsetof(struct kith_dht_stats, value_dns) },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_secret secret = { .bytes = { 1 } };
        struct kith_krpc answer = { .kind = KITH_KRPC_ANSWER };
        struct kith_pkarr packet, other;
        struct kith_keypair pair;
        struct kith_id key = stage_key(1);
        struct kith_sockaddr to;
        struct kith_slice sent;
        struct kith_dht_op *op;
        uint8_t bytes[KITH_KRPC_SIZE_MAX], large[1001] = { 0 }, signature[KITH_SIGNATURE_SIZE], to_sign[1100];

        begin(false, 1, false);
        KITH_CHECK_EQ(kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &op), 0);
        KITH_CHECK(kith__dht_core_next(stage.core, &to, &sent));
        memcpy(bytes, sent.ptr, sent.size);
        KITH_CHECK_EQ(kith__krpc_read((struct kith_slice) { bytes, sent.size }, &answer), 0);
        answer.kind = KITH_KRPC_ANSWER;
        answer.id = stage.nodes[0].node.id;
        stage_packet(1, 9, &packet);
        stage_packet(2, 9, &other);
        stage_fill(strcmp(cases[i].what, "key") == 0 ? &other : &packet, &answer);
        if (strcmp(cases[i].what, "signature") == 0)
            answer.seq++;
        if (strcmp(cases[i].what, "seq") == 0)
            answer.has_seq = false;
        if (strcmp(cases[i].what, "negative") == 0)
            answer.seq = -1;
        if (strcmp(cases[i].what, "integer") == 0)
            answer.value = (struct kith_slice) { (const uint8_t *)"i1e", 3 };
        if (strcmp(cases[i].what, "large") == 0)
            answer.value_bytes = (struct kith_slice) { large, sizeof large };
        if (strcmp(cases[i].what, "dns") == 0) {
            answer.value_bytes = (struct kith_slice) { (const uint8_t *)"hello", 5 };
            kith__keypair_init(&pair, &secret);
            kith__sign(&pair,
                       (struct kith_slice) {
                           to_sign, kith__pkarr_signed_bytes((uint64_t)answer.seq, answer.value_bytes, to_sign) },
                       signature);
            answer.signature = (struct kith_slice) { signature, sizeof signature };
        }
        stage_send(&stage, &to, &answer);
        KITH_CHECK_EQ(
            *(const uint64_t *)(const void *)((const char *)kith__dht_core_stats(stage.core) + cases[i].offset), 1);
        KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->values_found, 0);
        stage_run(&stage, 20 * KITH_NS_PER_S);
        KITH_CHECK_EQ(stage.end.err, KITH_ERR_NOT_FOUND);
        stage_close(&stage);
    }
}

/* ---- Storing ---- */

KITH_TEST(dht_put_goes_to_the_twenty_closest_nodes)
{
    begin(false, 60, false);
    put(1);
    KITH_CHECK_EQ(stage.end.err, 0);
    KITH_CHECK_EQ(stage.end.stored, 20);
    KITH_CHECK_EQ(count_kept(), 20);
    {
        struct kith_id key = stage_key(1);
        struct kith_dht_id target = kith__dht_id_of_key(&key);

        for (size_t i = 0; i < stage.count; i++) {
            size_t closer = 0;

            for (size_t k = 0; k < stage.count; k++)
                closer += kith__dht_id_compare(&target, &stage.nodes[k].node.id, &stage.nodes[i].node.id) < 0;
            KITH_CHECK_EQ(stage.nodes[i].has_packet, closer < 20);
        }
    }
    get();
    KITH_CHECK_EQ(stage.end.err, 0);
    KITH_CHECK_EQ(kith__pkarr_timestamp(&stage.newest), 1700000000000001ull);
    stage_close(&stage);
}

KITH_TEST(dht_put_asks_once_for_another_token_when_one_is_refused)
{
    begin(false, 3, false);
    stage.nodes[1].put_error = KITH_KRPC_PROTOCOL;
    stage.nodes[2].put_error = KITH_KRPC_PROTOCOL;
    stage.nodes[2].is_error_for_ever = true;
    put(1);
    KITH_CHECK_EQ(stage.end.err, 0);
    KITH_CHECK_EQ(stage.end.stored, 2);
    KITH_CHECK_EQ(stage.end.refused, 1);
    KITH_CHECK_EQ(stage.nodes[1].put, 1);
    stage_close(&stage);
}

KITH_TEST(dht_put_that_is_refused_says_why)
{
    static const struct {
        int code, err;
        const char *why;
    } cases[] = {
        { KITH_KRPC_OLD_SEQ, KITH_ERR_STATE, "newer packet" },
        { KITH_KRPC_CAS_MISMATCH, KITH_ERR_STATE, "newer packet" },
        { KITH_KRPC_VALUE_TOO_BIG, KITH_ERR_TOO_LARGE, "too large" },
        { KITH_KRPC_BAD_SIGNATURE, KITH_ERR_CRYPTO, "signature" },
        { KITH_KRPC_GENERIC, KITH_ERR_REFUSED, "refused" },
        { KITH_KRPC_PROTOCOL, KITH_ERR_REFUSED, "refused" },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        begin(false, 5, false);
        for (size_t k = 0; k < stage.count; k++) {
            stage.nodes[k].put_error = cases[i].code;
            stage.nodes[k].is_error_for_ever = true;
        }
        put(1);
        KITH_CHECK_EQ(stage.end.err, cases[i].err);
        KITH_CHECK(strstr(stage.why, cases[i].why) != NULL);
        KITH_CHECK_EQ(stage.end.refused, 5);
        stage_close(&stage);
    }
}

KITH_TEST(dht_put_does_not_replace_what_is_newer_and_tells_of_it)
{
    begin(false, 10, false);
    put(5);
    KITH_CHECK_EQ(stage.end.err, 0);
    put(5); /* the same again is fine */
    KITH_CHECK_EQ(stage.end.err, 0);
    put(4);
    KITH_CHECK_EQ(stage.end.err, KITH_ERR_STATE);
    KITH_CHECK(stage.has_newest && kith__pkarr_timestamp(&stage.newest) == 1700000000000005ull);
    for (size_t i = 0; i < stage.count; i++)
        KITH_CHECK_EQ(kith__pkarr_timestamp(&stage.nodes[i].packet), 1700000000000005ull);
    put(6);
    KITH_CHECK_EQ(stage.end.err, 0);
    KITH_CHECK_EQ(stage.found, 0); /* puts tell no findings */
    stage_close(&stage);
}

KITH_TEST(dht_put_needs_nodes_that_give_tokens)
{
    begin(false, 4, false);
    for (size_t i = 0; i < stage.count; i++)
        stage.nodes[i].gives_no_token = true;
    put(1);
    KITH_CHECK_EQ(stage.end.err, KITH_ERR_REFUSED);
    for (size_t i = 0; i < stage.count; i++)
        stage.nodes[i].get_error = KITH_KRPC_METHOD; /* they do not know BEP 44 */
    put(1);
    KITH_CHECK_EQ(stage.end.err, KITH_ERR_TIMEOUT);
    stage_close(&stage);
}

/* ---- Bounds and cancelling ---- */

KITH_TEST(dht_has_at_most_so_many_operations_and_questions)
{
    struct kith_dht_op *ops[KITH_DHT_OPERATIONS_MAX], *more;
    struct kith_id key = stage_key(1);

    begin(false, 60, false);
    for (size_t i = 0; i < KITH_DHT_OPERATIONS_MAX; i++) {
        key.bytes[5] ^= (uint8_t)i;
        KITH_CHECK_EQ(kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &ops[i]), 0);
        kith__dht_core_check(stage.core);
    }
    KITH_CHECK_EQ(kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &more), KITH_ERR_LIMIT);
    for (int i = 0; i < 600 && stage.ended < KITH_DHT_OPERATIONS_MAX; i++)
        stage_run(&stage, KITH_NS_PER_S);
    KITH_CHECK_EQ(stage.ended, KITH_DHT_OPERATIONS_MAX);
    KITH_CHECK(kith__dht_core_stats(stage.core)->outbox_full > 0);
    KITH_CHECK_EQ(kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &more), 0);
    stage_close(&stage); /* with one in progress */
}

KITH_TEST(dht_cancelled_operation_tells_nothing_but_late_answers_are_used)
{
    struct kith_id key = stage_key(1);
    struct kith_dht_op *op;
    size_t nodes;

    begin(false, 1, false);
    for (int i = 0; i < 5; i++)
        stage_add(&stage, false);
    for (int i = 0; i < 6; i++) {
        stage_packet(1, 1, &stage.nodes[i].packet);
        stage.nodes[i].has_packet = true;
    }
    nodes = kith__dht_core_node_count(stage.core);
    kith__dht_core_add_seed(stage.core, &stage.nodes[1].node.addr, stage.now_ns);
    KITH_CHECK_EQ(kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &op), 0);
    kith__dht_core_cancel(stage.core, op);
    stage_run(&stage, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(stage.found + stage.ended, 0);
    KITH_CHECK(kith__dht_core_node_count(stage.core) > nodes);
    stage_close(&stage);
}

KITH_TEST(dht_survives_every_failed_allocation)
{
    for (uint64_t fail_at = 1; fail_at < 400; fail_at++) {
        struct kith_id key = stage_key(1);
        struct kith_pkarr packet;
        struct kith_dht_op *op;
        int err = stage_open(&stage, fail_at % 2 == 0, fail_at);

        if (err != 0) {
            KITH_CHECK_EQ(err, KITH_ERR_NOMEM);
            KITH_CHECK_EQ(stage.mem.live, 0);
            continue;
        }
        for (int i = 0; i < 25; i++)
            stage_add(&stage, false);
        stage_join(&stage);
        stage_packet(1, 1, &packet);
        if ((err = kith__dht_core_put(stage.core, &packet, NULL, stage.now_ns, &op)) == 0)
            stage_run(&stage, 30 * KITH_NS_PER_S);
        KITH_CHECK(err == 0 ? stage.ended == 1 : err == KITH_ERR_NOMEM);
        if ((err = kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &op)) == 0)
            stage_run(&stage, 30 * KITH_NS_PER_S);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        stage_close(&stage);
    }
}

/* ---- Joining and the table ---- */

/** One question each for so many keys, whose answers say what our address is; every seventh node says something else each time. */
static void let_them_say(unsigned rounds, const struct kith_sockaddr *ours)
{
    for (unsigned i = 0; i < rounds; i++) {
        struct kith_krpc answer = { .kind = KITH_KRPC_ANSWER };
        struct kith_id key = stage_key((uint8_t)(10 + i));
        struct kith_dht_op *op;
        struct kith_sockaddr to;
        struct kith_slice sent;
        uint8_t bytes[KITH_KRPC_SIZE_MAX];

        KITH_CHECK_EQ(kith__dht_core_get(stage.core, &key, NULL, stage.now_ns, &op), 0);
        KITH_CHECK(kith__dht_core_next(stage.core, &to, &sent));
        memcpy(bytes, sent.ptr, sent.size);
        KITH_CHECK_EQ(kith__krpc_read((struct kith_slice) { bytes, sent.size }, &answer), 0);
        answer.kind = KITH_KRPC_ANSWER;
        answer.id = stage_at(&stage, &to)->node.id;
        answer.ip = *ours;
        if (to.ip[1] % 7 == 6)
            answer.ip.ip[1] = (uint8_t)i;
        stage_send(&stage, &to, &answer);
        kith__dht_core_cancel(stage.core, op);
        while (kith__dht_core_next(stage.core, &to, &sent)) /* the others are not asked */
            continue;
        kith__dht_core_check(stage.core);
    }
}

KITH_TEST(dht_takes_an_id_that_fits_the_address_that_others_see)
{
    struct kith_sockaddr ours = { .family = KITH_FAMILY_V4, .ip = { 81, 2, 3, 4 }, .port = 999 };
    struct kith_dht_id id;

    begin(false, 4, true); /* so few may be one liar's */
    let_them_say(30, &ours);
    KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->id_changes, 0);
    stage_close(&stage);
    begin(false, 30, true);
    id = kith__dht_core_id(stage.core);
    KITH_CHECK(!kith__dht_id_is_secure(&id, &ours));
    let_them_say(60, &ours);
    id = kith__dht_core_id(stage.core);
    KITH_CHECK(kith__dht_id_is_secure(&id, &ours));
    KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->id_changes, 1);
    KITH_CHECK(kith__dht_core_node_count(stage.core) > 8);
    stage_close(&stage);
}

/* ---- The side that answers ---- */

/** What a server answers to a question from this address. The answer borrows from `bytes`. */
static struct kith_krpc ask(const struct kith_sockaddr *from, const struct kith_krpc *question,
                            uint8_t bytes[KITH_KRPC_SIZE_MAX])
{
    struct kith_krpc complete = *question, answer;
    struct kith_sockaddr to;
    struct kith_slice sent;

    complete.kind = KITH_KRPC_QUESTION;
    complete.transaction = (struct kith_slice) { (const uint8_t *)"xyz", 3 };
    complete.is_read_only = true;
    stage_send(&stage, from, &complete);
    KITH_CHECK(kith__dht_core_next(stage.core, &to, &sent));
    KITH_CHECK(kith_sockaddr_equal(&to, from));
    memcpy(bytes, sent.ptr, sent.size);
    KITH_CHECK_EQ(kith__krpc_read((struct kith_slice) { bytes, sent.size }, &answer), 0);
    KITH_CHECK(answer.transaction.size == 3 && memcmp(answer.transaction.ptr, "xyz", 3) == 0);
    KITH_CHECK(sent.size < 1472 && !kith__dht_core_next(stage.core, &to, &sent));
    return answer;
}

KITH_TEST(dht_server_answers_each_question_of_the_protocol)
{
    struct kith_sockaddr from = { .family = KITH_FAMILY_V4, .ip = { 9, 9, 9, 9 }, .port = 9 };
    struct kith_krpc question = { .method = KITH_KRPC_PING }, answer;
    uint8_t bytes[KITH_KRPC_SIZE_MAX], token_bytes[KITH_KRPC_SIZE_MAX];
    struct kith_id key = stage_key(1);
    struct kith_dht_id own;
    struct kith_pkarr packet;

    begin(true, 40, false);
    own = kith__dht_core_id(stage.core);
    answer = ask(&from, &question, bytes);
    KITH_CHECK(answer.kind == KITH_KRPC_ANSWER && kith__dht_id_equal(&answer.id, &own));
    KITH_CHECK(kith_sockaddr_equal(&answer.ip, &from) && !answer.is_read_only);
    question.has_target = true;
    question.target = kith__dht_id_of_key(&key);
    question.method = KITH_KRPC_FIND_NODE;
    answer = ask(&from, &question, bytes);
    KITH_CHECK(kith__krpc_node_count(&answer) >= 8 && answer.token.ptr == NULL);
    question.method = KITH_KRPC_GET_PEERS;
    answer = ask(&from, &question, bytes);
    KITH_CHECK(kith__krpc_node_count(&answer) >= 8 && answer.token.size == 8);
    question.method = KITH_KRPC_ANNOUNCE_PEER;
    answer = ask(&from, &question, bytes);
    KITH_CHECK(answer.kind == KITH_KRPC_ERROR && answer.error_code == KITH_KRPC_METHOD);
    question.method = KITH_KRPC_GET;
    answer = ask(&from, &question, token_bytes);
    KITH_CHECK(answer.token.size == 8 && answer.value.ptr == NULL && !answer.has_seq);
    /* A packet is left with that token, and had back; whoever has it already is told its seq only. */
    stage_packet(1, 5, &packet);
    question.method = KITH_KRPC_PUT;
    stage_fill(&packet, &question);
    answer.token.ptr = memcpy(token_bytes, answer.token.ptr, answer.token.size);
    question.token = answer.token;
    KITH_CHECK_EQ(ask(&from, &question, bytes).kind, KITH_KRPC_ANSWER);
    question.seq--;
    answer = ask(&from, &question, bytes);
    KITH_CHECK(answer.kind == KITH_KRPC_ERROR && answer.error_code == KITH_KRPC_BAD_SIGNATURE);
    question = (struct kith_krpc) { .method = KITH_KRPC_GET, .has_target = true, .target = question.target };
    answer = ask(&from, &question, bytes);
    KITH_CHECK(answer.value_bytes.size == kith__pkarr_dns(&packet).size && answer.has_seq && answer.key.ptr != NULL);
    question.has_seq = true;
    question.seq = answer.seq;
    answer = ask(&from, &question, bytes);
    KITH_CHECK(answer.value.ptr == NULL && answer.key.ptr == NULL && answer.has_seq && answer.seq == question.seq);
    question.seq--;
    answer = ask(&from, &question, bytes);
    KITH_CHECK(answer.value.ptr != NULL);
    stage_close(&stage);
}

KITH_TEST(dht_looks_after_its_table)
{
    size_t nodes;

    begin(false, 20, false);
    nodes = kith__dht_core_node_count(stage.core);
    KITH_CHECK(nodes >= 8);
    for (size_t i = 0; i < stage.count; i++)
        stage.nodes[i].asked = 0;
    stage_run(&stage, 2 * KITH_DHT_FRESH_NS);
    for (size_t i = 0; i < stage.count; i++)
        KITH_CHECK(stage.nodes[i].asked < 20); /* it is quiet */
    for (size_t i = 1; i < stage.count; i++)
        stage.nodes[i].is_silent = true;
    stage_run(&stage, 4 * KITH_DHT_FRESH_NS);
    KITH_CHECK_EQ(kith__dht_core_node_count(stage.core), 1);
    for (size_t i = 1; i < stage.count; i++)
        stage.nodes[i].is_silent = false;
    stage_run(&stage, 2 * KITH_DHT_FRESH_NS);
    KITH_CHECK(kith__dht_core_node_count(stage.core) >= nodes);
    stage_close(&stage);
}

KITH_TEST(dht_is_not_sent_into_local_networks_from_the_internet)
{
    begin(false, 1, true);
    stage_add(&stage, false); /* 10.1.0.1 */
    stage.nodes[1].is_silent = true;
    get();
    KITH_CHECK_EQ(stage.nodes[1].asked, 0);
    KITH_CHECK(kith__dht_core_stats(stage.core)->nodes_refused > 0);
    stage_close(&stage);
}

KITH_TEST(dht_datagrams_that_are_nothing_are_counted)
{
    static uint8_t large[KITH_DHT_DATAGRAM_MAX + 1];
    struct kith_sockaddr from = { .family = KITH_FAMILY_V4, .ip = { 9, 9, 9, 9 }, .port = 9 },
                         v6 = { .family = KITH_FAMILY_V6, .port = 9 };
    struct kith_krpc ping = { .kind = KITH_KRPC_QUESTION,
                              .method = KITH_KRPC_PING,
                              .transaction = { (const uint8_t *)"aa", 2 } };
    struct kith_sockaddr to;
    struct kith_slice sent;

    begin(false, 0, false);
    kith__dht_core_receive(stage.core, &from, (struct kith_slice) { large, sizeof large }, stage.now_ns);
    kith__dht_core_receive(stage.core, &from, (struct kith_slice) { large, 100 }, stage.now_ns);
    kith__dht_core_receive(stage.core, &from, (struct kith_slice) { NULL, 0 }, stage.now_ns);
    kith__dht_core_receive(stage.core, &v6, (struct kith_slice) { large, 100 }, stage.now_ns);
    stage_send(&stage, &from, &ping);
    KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->drop_too_large, 1);
    KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->drop_malformed, 2);
    KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->drop_family, 1);
    KITH_CHECK_EQ(kith__dht_core_stats(stage.core)->drop_read_only, 1);
    KITH_CHECK(!kith__dht_core_next(stage.core, &to, &sent)); /* who is read-only answers nobody */
    stage_close(&stage);
}
