/* Endpoints that know of each other only by what lookup services say: the table in memory, and services of the test's own. */
#include "api/pair.h"
#include <kith/lookup.h>

/* A service of the test's own: it notes what is published, and answers as the test says. */
struct oracle {
    struct kith_lookup_custom with;
    struct kith_context *context;
    struct kith_question *question; /* the last one; the test's, until it ends it */
    int asked, cancelled, closed, published;
    struct kith_addr told; /* what was published last */
    char user_data[KITH_USER_DATA_SIZE_MAX + 1];
    bool answers_at_once; /* with `answer`, and ends */
    struct kith_addr answer;
    const char *answer_data;
    int end_err; /* else, if not 0: fails with that */
    bool ends_with_cancel;
    bool is_lenient; /* memory may be short */
};

static void oracle_publish(void *ctx, const struct kith_addr *addr, const char *user_data)
{
    struct oracle *oracle = ctx;

    oracle->published++;
    oracle->told = *addr;
    snprintf(oracle->user_data, sizeof oracle->user_data, "%s", user_data);
}

static void oracle_resolve(void *ctx, struct kith_question *question)
{
    struct oracle *oracle = ctx;

    oracle->asked++;
    KITH_CHECK(kith_question_user(question) == NULL);
    kith_question_set_user(question, oracle);
    if (oracle->answers_at_once) {
        int err = kith_question_answer(question, &oracle->answer, oracle->answer_data, 1000000);

        if (!oracle->is_lenient)
            PAIR_CHECK(err, 0);
        kith_question_end(question, 0, NULL);
    } else if (oracle->end_err != 0) {
        kith_question_end(question, oracle->end_err, "the oracle is silent today");
    } else {
        oracle->question = question;
    }
}

static void oracle_cancel(void *ctx, struct kith_question *question)
{
    struct oracle *oracle = ctx;

    oracle->cancelled++;
    KITH_CHECK(kith_question_user(question) == oracle);
    if (!oracle->ends_with_cancel)
        return;
    kith_question_end(question, KITH_ERR_CANCELLED, "as asked");
    oracle->question = NULL;
}

static void oracle_closed(void *ctx)
{
    struct oracle *oracle = ctx;

    oracle->closed++;
}

static void oracle_init(struct oracle *oracle)
{
    memset(oracle, 0, sizeof *oracle);
    oracle->with = (struct kith_lookup_custom) { .name = "oracle",
                                                 .publish = oracle_publish,
                                                 .resolve = oracle_resolve,
                                                 .cancel = oracle_cancel,
                                                 .closed = oracle_closed,
                                                 .ctx = oracle };
}

static struct kith_endpoint *endpoint_with(struct kith_context *context, const char *alpn, struct oracle *oracle,
                                           const char *user_data)
{
    struct kith_sockaddr loopback = { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 };
    struct kith_lookup_option lookup = { .kind = KITH_LOOKUP_CUSTOM, .custom = &oracle->with };
    const char *alpns[] = { alpn, NULL };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT,  .context = context,    .alpns = alpns,
                                             .binds = &loopback, .bind_count = 1,       .lookups = &lookup,
                                             .lookup_count = 1,  .user_data = user_data };
    struct kith_endpoint *endpoint;

    oracle->context = context;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), 0);
    return endpoint;
}

/* A pair whose client asks the oracle. */
static void pair_with(struct pair *pair, enum kith_context_mode mode, struct oracle *oracle)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = (uint8_t)mode };

    memset(pair, 0, sizeof *pair);
    oracle_init(oracle);
    PAIR_CHECK(kith_context_new(&options, &pair->context), 0);
    pair->server = pair_endpoint(pair->context, NULL, PAIR_ALPN, NULL);
    pair->client = endpoint_with(pair->context, NULL, oracle, NULL);
    kith_endpoint_addr(pair->server, &pair->addr);
    oracle->answer = pair->addr;
}

/* Nobody is there. */
static const struct kith_sockaddr nowhere = { .ip = { 127, 0, 0, 9 }, .port = 9, .family = KITH_FAMILY_V4 };

static struct kith_addr id_alone(const struct pair *pair)
{
    struct kith_addr addr;

    kith_addr_init(&addr, &pair->addr.id);
    return addr;
}

/* Starts to dial; the server accepts. Without an answer at once nothing more is sent within the limit of the test. */
static void begin(struct pair *pair, const struct kith_addr *addr, struct kith_op **accepting,
                  struct kith_op **dialling)
{
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_quic_transport transport;
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1,
                                            .transport = &transport };

    kith_quic_transport_defaults(&transport);
    transport.initial_rtt_ns = 2 * PAIR_LIMIT;
    transport.idle_timeout_ns = 4 * PAIR_LIMIT;
    PAIR_CHECK(kith_accept_start(pair->server, accepting), 0);
    PAIR_CHECK(kith_connect_start(pair->client, addr, &options, dialling), 0);
}

static void finish(struct pair *pair, struct kith_op *accepting, struct kith_op *dialling)
{
    PAIR_CHECK(kith_op_wait(dialling, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_op_wait(accepting, PAIR_LIMIT), 0);
    pair->at_client = kith_op_take_conn(dialling);
    pair->at_server = kith_op_take_conn(accepting);
    kith_op_free(dialling);
    kith_op_free(accepting);
}

/* Lets the loop run while the dial is not done, until the counter is that high. */
static void run_until(struct kith_op *dialling, const int *counter, int times)
{
    while (*counter < times)
        if (kith_op_wait(dialling, KITH_NS_PER_MS) != KITH_ERR_TIMEOUT)
            break;
    KITH_CHECK_EQ(*counter, times);
}

/* ---- Connecting ---- */

PAIR_TEST(lookup_memory_is_enough_to_connect_by_id)
{
    struct kith_endpoint_lookup_info info;
    struct pair pair;

    pair_bind(&pair, mode, NULL);
    PAIR_CHECK(kith_endpoint_add_addr(pair.client, &pair.addr, "a text"), 0);
    pair.addr = id_alone(&pair);
    pair_connect(&pair);
    KITH_CHECK_EQ(kith_endpoint_lookup_status(pair.client, &info, 1), 1);
    KITH_CHECK_STR(info.name, "memory");
    KITH_CHECK(info.resolves && !info.publishes);
    KITH_CHECK_EQ(info.accepted_ago_ns, KITH_NEVER);
    KITH_CHECK_EQ(kith_endpoint_lookup_status(pair.server, NULL, 0), 0);
    pair_free(&pair);
}

PAIR_TEST(lookup_of_an_id_that_nobody_knows_names_who_was_asked)
{
    struct kith_endpoint_lookup_info info;
    struct oracle oracle;
    struct kith_conn *conn;
    struct kith_addr addr;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    oracle.end_err = KITH_ERR_REFUSED;
    addr = id_alone(&pair);
    PAIR_CHECK(kith_connect(pair.client, &addr, PAIR_ALPN, PAIR_LIMIT, &conn), KITH_ERR_NO_ADDRESS);
    KITH_CHECK(strstr(kith_error_last()->text, "oracle: the oracle is silent today") != NULL);
    KITH_CHECK_EQ(kith_endpoint_lookup_status(pair.client, &info, 1), 1);
    KITH_CHECK_EQ(info.broken_count, 1);
    KITH_CHECK_EQ(info.resolve_err, KITH_ERR_REFUSED);
    KITH_CHECK_STR(info.resolve_why, "the oracle is silent today");
    KITH_CHECK(info.publishes && info.resolves);
    PAIR_CHECK(kith_endpoint_add_addr(pair.client, &pair.addr, NULL), 0); /* one that knows is enough */
    pair.addr = id_alone(&pair);
    pair_connect(&pair);
    pair_free(&pair);
    KITH_CHECK_EQ(oracle.closed, 1);
}

PAIR_TEST(lookup_answers_reach_a_blocking_connect)
{
    struct oracle oracle;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    oracle.answers_at_once = true;
    pair.addr = id_alone(&pair);
    pair_connect(&pair);
    KITH_CHECK_EQ(oracle.asked, 1);
    pair_free(&pair);
}

PAIR_TEST(lookup_answer_that_comes_late_is_waited_for)
{
    struct kith_op *accepting, *dialling;
    struct oracle oracle;
    struct kith_addr addr;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    addr = id_alone(&pair);
    begin(&pair, &addr, &accepting, &dialling);
    run_until(dialling, &oracle.asked, 1);
    KITH_CHECK_EQ(kith_op_wait(dialling, 5 * KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
    KITH_CHECK(strstr(kith_error_last()->text, "no lookup service found one") != NULL);
    PAIR_CHECK(kith_question_answer(oracle.question, &pair.addr, NULL, 0), 0);
    finish(&pair, accepting, dialling);
    kith_question_end(oracle.question, 0,
                      NULL); /* nobody has ended it until now: the connection goes on being helped */
    pair_free(&pair);
}

PAIR_TEST(lookup_right_address_reaches_a_dial_to_a_wrong_one_at_once)
{
    struct kith_op *accepting, *dialling;
    struct kith_quic_path_info path;
    struct oracle oracle;
    struct kith_addr addr;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    addr = id_alone(&pair);
    PAIR_CHECK(kith_addr_add_ip(&addr, &nowhere), 0);
    begin(&pair, &addr, &accepting, &dialling);
    run_until(dialling, &oracle.asked, 1);
    KITH_CHECK_EQ(kith_op_wait(dialling, 20 * KITH_NS_PER_MS), KITH_ERR_TIMEOUT); /* the first packet is long gone */
    PAIR_CHECK(kith_question_answer(oracle.question, &pair.addr, NULL, 0), 0);
    kith_question_end(oracle.question, 0, NULL);
    finish(&pair, accepting, dialling);
    PAIR_CHECK(kith_conn_path_in_use(pair.at_client, &path), 0);
    KITH_CHECK_EQ(path.remote.port, pair.addr.ips[0].port);
    pair_free(&pair);
}

PAIR_TEST(lookup_is_asked_again_while_nobody_answers_where_it_sent_the_dial)
{
    struct kith_op *accepting, *dialling;
    struct oracle oracle;
    struct kith_addr addr;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    addr = id_alone(&pair);
    oracle.answers_at_once = true;
    oracle.answer = addr;
    PAIR_CHECK(kith_addr_add_ip(&oracle.answer, &nowhere), 0); /* where the other side was */
    begin(&pair, &addr, &accepting, &dialling);
    run_until(dialling, &oracle.asked, 1);
    oracle.answer = pair.addr; /* it tells now where it is */
    finish(&pair, accepting, dialling);
    KITH_CHECK_EQ(oracle.asked, 2);
    pair_free(&pair);
}

PAIR_TEST(lookup_hears_at_once_what_the_program_learns_meanwhile)
{
    struct kith_op *accepting, *dialling;
    struct oracle oracle;
    struct kith_addr addr;
    struct pair pair;

    for (int with_wrong = 0; with_wrong < 2; with_wrong++) {
        pair_with(&pair, mode, &oracle);
        addr = id_alone(&pair);
        if (with_wrong)
            PAIR_CHECK(kith_addr_add_ip(&addr, &nowhere), 0);
        begin(&pair, &addr, &accepting, &dialling);
        run_until(dialling, &oracle.asked, 1);
        PAIR_CHECK(kith_endpoint_add_addr(pair.client, &pair.addr, NULL), 0);
        finish(&pair, accepting, dialling);
        kith_question_end(oracle.question, KITH_ERR_NOT_FOUND, "not here");
        pair_free(&pair);
    }
}

PAIR_TEST(lookup_is_not_asked_where_a_connection_works)
{
    struct kith_op *accepting, *dialling;
    struct kith_conn *conns[2];
    struct oracle oracle;
    struct kith_addr addr;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    oracle.answers_at_once = true;
    addr = id_alone(&pair);
    begin(&pair, &addr, &accepting, &dialling);
    finish(&pair, accepting, dialling);
    KITH_CHECK_EQ(oracle.asked, 1);
    conns[0] = pair.at_client;
    conns[1] = pair.at_server;
    begin(&pair, &addr, &accepting, &dialling); /* by id alone, where the first one is */
    finish(&pair, accepting, dialling);
    KITH_CHECK_EQ(oracle.asked, 1);
    kith_conn_free(conns[0]);
    kith_conn_free(conns[1]);
    pair_free(&pair);
}

PAIR_TEST(lookup_somebody_else_at_an_address_is_not_the_end_of_a_dial)
{
    struct kith_op *accepting, *dialling, *elsewhere;
    struct kith_endpoint *other;
    struct oracle oracle;
    struct kith_addr addr, others;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    other = pair_endpoint(pair.context, NULL, PAIR_ALPN, NULL);
    PAIR_CHECK(kith_accept_start(other, &elsewhere), 0);
    kith_endpoint_addr(other, &others);
    addr = id_alone(&pair);
    PAIR_CHECK(kith_addr_add_ip(&addr, &others.ips[0]), 0);
    begin(&pair, &addr, &accepting, &dialling);
    run_until(dialling, &oracle.asked, 1);
    KITH_CHECK_EQ(kith_op_wait(dialling, 100 * KITH_NS_PER_MS), KITH_ERR_TIMEOUT); /* it is still waited for */
    PAIR_CHECK(kith_question_answer(oracle.question, &others, NULL, 0), KITH_ERR_INVALID);
    PAIR_CHECK(kith_question_answer(oracle.question, &pair.addr, NULL, 0), 0);
    kith_question_end(oracle.question, 0, NULL);
    finish(&pair, accepting, dialling);
    kith_op_free(elsewhere);
    pair_free(&pair);
}

PAIR_TEST(lookup_that_finds_nothing_more_leaves_the_first_error)
{
    struct kith_op *accepting, *dialling, *elsewhere;
    struct kith_endpoint *other;
    struct oracle oracle;
    struct kith_addr addr, others;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    other = pair_endpoint(pair.context, NULL, PAIR_ALPN, NULL);
    PAIR_CHECK(kith_accept_start(other, &elsewhere), 0);
    kith_endpoint_addr(other, &others);
    addr = id_alone(&pair);
    PAIR_CHECK(kith_addr_add_ip(&addr, &others.ips[0]), 0);
    begin(&pair, &addr, &accepting, &dialling);
    run_until(dialling, &oracle.asked, 1);
    KITH_CHECK_EQ(kith_op_wait(dialling, 100 * KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
    kith_question_end(oracle.question, KITH_ERR_NOT_FOUND, "never heard of it");
    PAIR_CHECK(kith_op_wait(dialling, PAIR_LIMIT), KITH_ERR_WRONG_PEER);
    kith_op_free(dialling);
    kith_op_free(accepting);
    kith_op_free(elsewhere);
    pair_free(&pair);
}

PAIR_TEST(lookup_that_finds_nothing_of_use_says_so)
{
    static const struct kith_sockaddr useless[] = {
        { .ip = { 224, 0, 0, 251 }, .port = 5353, .family = KITH_FAMILY_V4 },
        { .ip = { 255, 255, 255, 255 }, .port = 1, .family = KITH_FAMILY_V4 },
        { .ip = { 0, 0, 0, 0 }, .port = 2, .family = KITH_FAMILY_V4 },
        { .ip = { 192, 0, 2, 1 }, .port = 0, .family = KITH_FAMILY_V4 },
        { .ip = { 0x20, 1, 0xd, 0xb8 }, .port = 3, .family = KITH_FAMILY_V6 }, /* the client has no such socket */
    };
    struct kith_sockaddr own;
    struct kith_conn *conn;
    struct oracle oracle;
    struct kith_addr addr;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    oracle.answers_at_once = true;
    addr = oracle.answer = id_alone(&pair);
    for (size_t i = 0; i < sizeof useless / sizeof useless[0]; i++)
        PAIR_CHECK(kith_addr_add_ip(&oracle.answer, &useless[i]), 0);
    KITH_CHECK_EQ(kith_endpoint_bound(pair.client, &own, 1), 1);
    PAIR_CHECK(kith_addr_add_ip(&oracle.answer, &own), 0);
    PAIR_CHECK(kith_connect(pair.client, &addr, PAIR_ALPN, PAIR_LIMIT, &conn), KITH_ERR_NO_ADDRESS);
    KITH_CHECK(strstr(kith_error_last()->text, "nothing that it tells can be used") != NULL);
    pair_free(&pair);
}

/* ---- Memory ---- */

/* By id alone: a table in memory knows a wrong address, the oracle the right one. */
static int play(struct pair *pair, struct oracle *oracle, const struct kith_mem *mem)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER, .mem = mem };
    struct kith_sockaddr loopback = { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 };
    struct kith_lookup_option lookup = { .kind = KITH_LOOKUP_CUSTOM, .custom = &oracle->with };
    struct kith_endpoint_options client = { KITH_OPTIONS_INIT,  .binds = &loopback, .bind_count = 1,
                                            .lookups = &lookup, .lookup_count = 1,  .user_data = "x" };
    struct kith_search *search;
    struct kith_search_item item;
    struct kith_addr addr;
    int err;

    if ((err = kith_context_new(&options, &pair->context)) != 0)
        return err;
    client.context = oracle->context = pair->context;
    if ((err = kith_endpoint_bind(&client, &pair->client)) != 0)
        return err;
    kith_addr_init(&addr, &oracle->answer.id);
    if ((err = kith_addr_add_ip(&addr, &nowhere)) != 0 ||
        (err = kith_endpoint_add_addr(pair->client, &addr, NULL)) != 0 ||
        (err = kith_lookup_start(pair->client, &addr.id, &search)) != 0)
        return err;
    while ((err = kith_lookup_next(search, KITH_NS_PER_S, &item)) == 0) {
    }
    kith_lookup_free(search);
    if (err != KITH_ERR_END)
        return err;
    kith_addr_init(&addr, &addr.id);
    return kith_connect(pair->client, &addr, PAIR_ALPN, KITH_NS_PER_S / 2, &pair->at_client);
}

KITH_TEST(lookup_survives_every_failed_allocation)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_THREAD };
    struct kith_context *context;
    struct kith_endpoint *server;
    uint64_t failed = 0, at = 1;

    PAIR_CHECK(kith_context_new(&options, &context), 0);
    server = pair_endpoint(context, NULL, PAIR_ALPN, NULL);
    for (bool was_reached = true; was_reached; at++) {
        struct kith_test_mem mem;
        struct pair pair = { 0 };
        struct kith_op *accepting[4]; /* the last client may have left without a word, and still be waiting there */
        struct oracle oracle;
        int err;

        for (int i = 0; i < 4; i++)
            PAIR_CHECK(kith_accept_start(server, &accepting[i]), 0);
        oracle_init(&oracle);
        oracle.answers_at_once = oracle.is_lenient = true;
        kith_endpoint_addr(server, &oracle.answer);
        kith__test_mem_init(&mem, at);
        err = play(&pair, &oracle, &mem.mem);
        if (err != 0)
            KITH_CHECK(err < 0 && kith_error_last()->code == err && kith_error_last()->text[0] != '\0');
        failed += err != 0;
        kith_conn_free(pair.at_client);
        kith_context_free(pair.context);
        for (int i = 0; i < 4; i++)
            kith_op_free(accepting[i]);
        if (mem.live != 0)
            fprintf(stderr, "allocation %llu leaks %lld blocks\n", (unsigned long long)at, (long long)mem.live);
        KITH_CHECK_EQ(mem.live, 0);
        was_reached = mem.calls >= at;
        if (!was_reached)
            PAIR_CHECK(err, 0);
    }
    KITH_CHECK(failed > 10 && at > 100);
    kith_context_free(context);
}

/* ---- Giving up ---- */

PAIR_TEST(lookup_is_given_up_with_the_dial)
{
    struct kith_op *accepting, *dialling;
    struct oracle oracle;
    struct kith_addr addr;
    struct pair pair;

    for (int how = 0; how < 4; how++) {
        pair_with(&pair, mode, &oracle);
        oracle.ends_with_cancel = how < 2;
        addr = id_alone(&pair);
        if (how % 2 != 0)
            PAIR_CHECK(kith_addr_add_ip(&addr, &nowhere), 0);
        begin(&pair, &addr, &accepting, &dialling);
        run_until(dialling, &oracle.asked, 1);
        kith_op_cancel(dialling);
        PAIR_CHECK(kith_op_wait(dialling, PAIR_LIMIT), KITH_ERR_CANCELLED);
        run_until(accepting, &oracle.cancelled, 1);
        kith_op_free(dialling);
        kith_op_free(accepting);
        if (how >= 2) { /* it may still say what it likes */
            PAIR_CHECK(kith_question_answer(oracle.question, &pair.addr, NULL, 0), 0);
            kith_question_end(oracle.question, 0, NULL);
        }
        pair_free(&pair);
        KITH_CHECK_EQ(oracle.closed, 1);
    }
}

PAIR_TEST(lookup_under_way_ends_with_the_endpoint)
{
    struct kith_op *accepting, *dialling;
    struct oracle oracle;
    struct kith_addr addr;
    struct pair pair;

    for (int with_context = 0; with_context < 2; with_context++) {
        pair_with(&pair, mode, &oracle);
        addr = id_alone(&pair);
        begin(&pair, &addr, &accepting, &dialling);
        run_until(dialling, &oracle.asked, 1);
        if (with_context) {
            kith_context_free(pair.context);
        } else {
            PAIR_CHECK(kith_endpoint_close(pair.client, PAIR_LIMIT), 0);
            kith_context_free(pair.context);
        }
        KITH_CHECK_EQ(oracle.closed, 1);
        KITH_CHECK_EQ(kith_op_result(dialling), KITH_ERR_CLOSED);
        PAIR_CHECK(kith_question_answer(oracle.question, &pair.addr, NULL, 0), 0);
        kith_question_end(oracle.question, 0, NULL);
        kith_op_free(dialling);
        kith_op_free(accepting);
    }
}

PAIR_TEST(lookup_limit_of_the_dial_says_what_was_missing)
{
    struct kith_conn *conn;
    struct oracle oracle;
    struct kith_addr addr;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    oracle.ends_with_cancel = true;
    addr = id_alone(&pair);
    PAIR_CHECK(kith_connect(pair.client, &addr, PAIR_ALPN, 20 * KITH_NS_PER_MS, &conn), KITH_ERR_TIMEOUT);
    KITH_CHECK(strstr(kith_error_last()->text, "no address of the other side is known") != NULL);
    pair_free(&pair);
    kith_question_end(oracle.question, 0, NULL); /* unless it heard in time that nobody waits; NULL is fine */
}

/* ---- Being found ---- */

PAIR_TEST(lookup_services_are_told_where_the_endpoint_is_and_what_changes)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = (uint8_t)mode };
    struct kith_endpoint_lookup_info info;
    struct kith_endpoint *endpoint;
    struct kith_context *context;
    struct oracle oracle;
    struct kith_op *accepting;
    struct kith_addr addr;
    char text[KITH_USER_DATA_SIZE_MAX + 2];

    oracle_init(&oracle);
    PAIR_CHECK(kith_context_new(&options, &context), 0);
    endpoint = endpoint_with(context, PAIR_ALPN, &oracle, "hello");
    PAIR_CHECK(kith_accept_start(endpoint, &accepting), 0);
    run_until(accepting, &oracle.published, 1);
    kith_endpoint_addr(endpoint, &addr);
    KITH_CHECK_EQ(memcmp(&oracle.told, &addr, sizeof addr), 0);
    KITH_CHECK_STR(oracle.user_data, "hello");
    PAIR_CHECK(kith_endpoint_set_user_data(endpoint, "good bye"), 0);
    run_until(accepting, &oracle.published, 2);
    KITH_CHECK_STR(oracle.user_data, "good bye");
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    PAIR_CHECK(kith_endpoint_set_user_data(endpoint, text), KITH_ERR_TOO_LARGE);
    PAIR_CHECK(kith_endpoint_set_user_data(endpoint, "\xff"), KITH_ERR_PARSE);
    PAIR_CHECK(kith_endpoint_set_user_data(endpoint, "good bye"), 0); /* nothing new */
    PAIR_CHECK(kith_endpoint_set_user_data(endpoint, NULL), 0);
    run_until(accepting, &oracle.published, 3);
    KITH_CHECK_STR(oracle.user_data, "");
    KITH_CHECK_EQ(kith_endpoint_lookup_status(endpoint, &info, 1), 1);
    KITH_CHECK_EQ(info.accepted_count, 3);
    KITH_CHECK(info.accepted_ago_ns != KITH_NEVER);
    kith_op_free(accepting);
    kith_context_free(context);
}

/* ---- Searches ---- */

static void check_item(const struct kith_search_item *item, const struct kith_id *id, int *ends)
{
    bool is_oracle = strcmp(item->name, "oracle") == 0;

    KITH_CHECK_STR(item->label, item->name);
    if (!is_oracle)
        KITH_CHECK_STR(item->name, "memory");
    *ends += item->is_end;
    KITH_CHECK_EQ(item->err, 0);
    if (item->is_end)
        return;
    KITH_CHECK(kith_id_equal(&item->addr.id, id));
    KITH_CHECK_EQ(item->addr.ip_count, is_oracle ? 2 : 1);
    KITH_CHECK_STR(item->user_data, is_oracle ? "from the oracle" : "");
    KITH_CHECK(is_oracle ? item->age_ns > 3600 * KITH_NS_PER_S && item->age_ns != KITH_NEVER
                         : item->age_ns == KITH_NEVER);
}

PAIR_TEST(lookup_search_tells_what_each_service_says)
{
    struct kith_search_item item;
    struct kith_search *search;
    struct kith_op *op;
    struct oracle oracle;
    struct kith_id own;
    struct pair pair;
    int ends = 0;

    pair_with(&pair, mode, &oracle);
    oracle.answers_at_once = true;
    oracle.answer_data = "from the oracle";
    PAIR_CHECK(kith_addr_add_ip(&oracle.answer, &nowhere), 0);
    PAIR_CHECK(kith_endpoint_add_addr(pair.client, &pair.addr, NULL), 0);
    own = kith_endpoint_id(pair.client);
    PAIR_CHECK(kith_lookup_start(pair.client, &own, &search), KITH_ERR_INVALID);
    PAIR_CHECK(kith_lookup_start(pair.server, &own, &search), KITH_ERR_STATE);
    PAIR_CHECK(kith_lookup_start(pair.client, &pair.addr.id, &search), 0);
    PAIR_CHECK(kith_lookup_next_start(search, &op), 0);
    PAIR_CHECK(kith_op_wait(op, PAIR_LIMIT), 0);
    kith_op_free(op);
    for (int i = 0; i < 4; i++) { /* two services, in any order: a finding, then the end */
        PAIR_CHECK(kith_lookup_next(search, i == 0 ? 0 : PAIR_LIMIT, &item), 0);
        check_item(&item, &pair.addr.id, &ends);
    }
    KITH_CHECK_EQ(ends, 2);
    PAIR_CHECK(kith_lookup_next(search, PAIR_LIMIT, &item), KITH_ERR_END);
    PAIR_CHECK(kith_lookup_next_start(search, &op), 0);
    PAIR_CHECK(kith_op_wait(op, PAIR_LIMIT), KITH_ERR_END);
    kith_op_free(op);
    kith_lookup_free(search);
    pair_free(&pair);
}

PAIR_TEST(lookup_search_tells_who_failed_and_ends_with_the_endpoint)
{
    struct kith_search_item item;
    struct kith_search *search, *second;
    struct oracle oracle;
    struct pair pair;

    pair_with(&pair, mode, &oracle);
    oracle.end_err = KITH_ERR_REFUSED;
    PAIR_CHECK(kith_lookup_start(pair.client, &pair.addr.id, &search), 0);
    PAIR_CHECK(kith_lookup_next(search, PAIR_LIMIT, &item), 0);
    KITH_CHECK(item.is_end);
    KITH_CHECK_EQ(item.err, KITH_ERR_REFUSED);
    KITH_CHECK_STR(item.why, "the oracle is silent today");
    PAIR_CHECK(kith_lookup_next(search, PAIR_LIMIT, &item), KITH_ERR_NOT_FOUND);
    KITH_CHECK(strstr(kith_error_last()->text, "silent today") != NULL);
    kith_lookup_free(search);
    oracle.end_err = 0;
    PAIR_CHECK(kith_lookup_start(pair.client, &pair.addr.id, &search), 0);
    PAIR_CHECK(kith_lookup_start(pair.client, &pair.addr.id, &second), 0);
    kith_lookup_free(second);
    PAIR_CHECK(kith_lookup_next(search, 0, &item), KITH_ERR_AGAIN);
    PAIR_CHECK(kith_lookup_next(search, 10 * KITH_NS_PER_MS, &item), KITH_ERR_TIMEOUT);
    PAIR_CHECK(kith_endpoint_close(pair.client, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_lookup_next(search, PAIR_LIMIT, &item), KITH_ERR_CLOSED);
    kith_context_free(pair.context);
    kith_lookup_free(search);
    kith_question_end(oracle.question, 0, NULL);
}

KITH_TEST(lookup_options_that_cannot_be_are_refused_with_words)
{
    struct kith_lookup_custom nothing = { .name = "nothing" };
    struct kith_lookup_option many[KITH_ENDPOINT_LOOKUPS_MAX + 1] = { { .kind = KITH_LOOKUP_MEMORY } };
    static const struct kith_lookup_option wrong[] = {
        { .kind = 77 },
        { .kind = KITH_LOOKUP_MEMORY, .publish = 77 },
        { .kind = KITH_LOOKUP_DNS },
        { .kind = KITH_LOOKUP_PKARR, .where = "" },
        { .kind = KITH_LOOKUP_CUSTOM },
    };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .lookup_count = 1 };
    struct kith_lookup_option custom = { .kind = KITH_LOOKUP_CUSTOM, .custom = &nothing };
    struct kith_lookup_option mdns = { .kind = KITH_LOOKUP_MDNS }, memory = { .kind = KITH_LOOKUP_MEMORY };
    struct kith_endpoint *endpoint;

    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        options.lookups = &wrong[i];
        PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    }
    options.lookups = &custom;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    options.lookups = &mdns;
    options.relay_only = true;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
    options.relay_only = false;
    options.lookups = many;
    options.lookup_count = KITH_ENDPOINT_LOOKUPS_MAX + 1;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_LIMIT);
    options.lookups = &memory;
    options.lookup_count = 1;
    options.user_data = "\xff";
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_PARSE);
    options.user_data = NULL;
    options.dns_server_count = 1;
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), KITH_ERR_INVALID);
}
