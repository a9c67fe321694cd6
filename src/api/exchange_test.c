/* How many datagrams a small exchange takes in the caller's loop: what belongs together must leave together. */
#include "api/pair.h"
#include <poll.h>

/* A client asks, a server answers with the same byte; all in callbacks. */
struct exchange {
    struct pair pair;
    struct kith_stream *asking, *answering;
    uint8_t question, answer;
    uint64_t client_sent, server_sent; /* datagrams until the answer was there */
    bool is_over;
};

static uint64_t datagrams_sent(struct kith_endpoint *endpoint)
{
    struct kith_quic_host_stats stats;

    kith_endpoint_stats(endpoint, &stats);
    return stats.datagrams_sent;
}

static void on_answer(struct kith_op *op, void *user)
{
    struct exchange *exchange = user;

    PAIR_CHECK(kith_op_result(op), 0);
    kith_op_free(op);
    KITH_CHECK_EQ(exchange->answer, 'x');
    exchange->client_sent = datagrams_sent(exchange->pair.client) - exchange->client_sent;
    exchange->server_sent = datagrams_sent(exchange->pair.server) - exchange->server_sent;
    exchange->is_over = true;
}

static void on_connected(struct kith_op *op, void *user)
{
    struct exchange *exchange = user;

    PAIR_CHECK(kith_op_result(op), 0);
    exchange->pair.at_client = kith_op_take_conn(op);
    kith_op_free(op);
    PAIR_CHECK(kith_open_bi(exchange->pair.at_client, 0, &exchange->asking), 0);
    PAIR_CHECK(kith_write_all(exchange->asking, "x", 1, KITH_FIN, 0), 0);
    PAIR_CHECK(kith_read_start(exchange->asking, &exchange->answer, 1, &op), 0);
    kith_op_on_done(op, on_answer, exchange);
}

static void on_question(struct kith_op *op, void *user)
{
    struct exchange *exchange = user;

    PAIR_CHECK(kith_op_result(op), 0);
    kith_op_free(op);
    PAIR_CHECK(kith_write_all(exchange->answering, &exchange->question, 1, KITH_FIN, 0), 0);
}

static void on_stream(struct kith_op *op, void *user)
{
    struct exchange *exchange = user;

    PAIR_CHECK(kith_op_result(op), 0);
    exchange->answering = kith_op_take_stream(op);
    kith_op_free(op);
    PAIR_CHECK(kith_read_start(exchange->answering, &exchange->question, 1, &op), 0);
    kith_op_on_done(op, on_question, exchange);
}

static void on_accepted(struct kith_op *op, void *user)
{
    struct exchange *exchange = user;

    PAIR_CHECK(kith_op_result(op), 0);
    exchange->pair.at_server = kith_op_take_conn(op);
    kith_op_free(op);
    PAIR_CHECK(kith_accept_stream_start(exchange->pair.at_server, true, &op), 0);
    kith_op_on_done(op, on_stream, exchange);
}

static void run(struct exchange *exchange)
{
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1,
                                            .no_session = true };
    struct pair *pair = &exchange->pair;
    struct kith_op *op;

    exchange->client_sent = datagrams_sent(pair->client);
    exchange->server_sent = datagrams_sent(pair->server);
    exchange->is_over = false;
    PAIR_CHECK(kith_accept_start(pair->server, &op), 0);
    kith_op_on_done(op, on_accepted, exchange);
    PAIR_CHECK(kith_connect_start(pair->client, &pair->addr, &options, &op), 0);
    kith_op_on_done(op, on_connected, exchange);
    while (!exchange->is_over) {
        struct pollfd fd = { kith_context_fd(pair->context), POLLIN, 0 };
        uint64_t timeout = kith_context_timeout(pair->context);

        poll(&fd, 1, timeout == KITH_NEVER ? 60000 : (int)((timeout + 999999) / 1000000));
        KITH_CHECK(kith_context_process(pair->context) >= 0);
    }
    kith_stream_free(exchange->asking);
    kith_stream_free(exchange->answering);
    pair_disconnect(pair);
}

KITH_TEST(exchange_of_a_question_and_its_answer_takes_two_datagrams_each_way)
{
    enum { TRIES = 5 }; /* a machine that stands still for a second in between makes the engine repeat itself */
    static struct exchange exchange;
    bool is_short = false;

    for (int i = 0; i < TRIES && !is_short; i++) {
        pair_bind(&exchange.pair, KITH_CONTEXT_CALLER, NULL); /* new ones each time: no close of the last try counts */
        run(&exchange);
        pair_free(&exchange.pair);
        is_short = exchange.client_sent == 2 && exchange.server_sent == 2;
        if (!is_short)
            printf("%d datagrams from the client, %d from the server\n", (int)exchange.client_sent,
                   (int)exchange.server_sent);
    }
    KITH_CHECK(is_short);
}
