#include "api/context.h"
#include "api/objects.h"
#include "api/pair.h"
#include <poll.h>
#include <pthread.h>

/* Runs the loop of a foreign program until a callback has counted up to `wanted`. */
static void run_until(struct kith_context *context, const int *count, int wanted)
{
    while (*count < wanted) {
        struct pollfd fd = { kith_context_fd(context), POLLIN, 0 };
        uint64_t timeout = kith_context_timeout(context);

        poll(&fd, 1, timeout == KITH_NEVER ? 60000 : (int)((timeout + 999999) / 1000000));
        KITH_CHECK(kith_context_process(context) >= 0);
    }
}

struct order {
    int count;
    struct kith_op *seen[8];
    struct kith_op *free_too;
    struct kith_context *context;
};

static void note(struct kith_op *op, void *user)
{
    struct order *order = user;

    order->seen[order->count++] = op;
}

static void free_self_and_other(struct kith_op *op, void *user)
{
    struct order *order = user;

    order->count++;
    kith_op_free(order->free_too);
    order->free_too = NULL;
    kith_op_free(op);
}

PAIR_TEST(op_callbacks_come_in_order_and_once)
{
    struct order order = { 0 };
    struct kith_op *ops[3];
    struct pair pair;

    pair_open(&pair, mode);
    for (int i = 0; i < 3; i++) {
        PAIR_CHECK(kith_conn_closed_start(pair.at_client, &ops[i]), 0);
        kith_op_on_done(ops[i], note, &order);
    }
    KITH_CHECK_EQ(kith_op_error(ops[0])->code, 0);
    kith_conn_close(pair.at_client, 0, NULL, 0);
    KITH_CHECK_EQ(order.count, 0); /* only inside kith_context_process */
    PAIR_CHECK(kith_op_wait(ops[2], PAIR_LIMIT), 0);
    KITH_CHECK_EQ(order.count, 0);
    run_until(pair.context, &order.count, 3);
    for (int i = 0; i < 3; i++)
        KITH_CHECK(order.seen[i] == ops[i]);
    KITH_CHECK_EQ(kith_context_process(pair.context), 0);
    kith_op_on_done(ops[0], note, &order); /* done already */
    run_until(pair.context, &order.count, 4);
    kith_op_on_done(ops[1], note, &order);
    kith_op_on_done(ops[1], NULL, NULL); /* thought better of it */
    KITH_CHECK_EQ(kith_context_process(pair.context), 0);
    for (int i = 0; i < 3; i++)
        kith_op_free(ops[i]);
    pair_free(&pair);
}

PAIR_TEST(op_callback_may_free_itself_and_another)
{
    struct order order = { 0 };
    struct kith_op *op;
    struct pair pair;

    pair_open(&pair, mode);
    PAIR_CHECK(kith_conn_closed_start(pair.at_client, &op), 0);
    PAIR_CHECK(kith_conn_closed_start(pair.at_client, &order.free_too), 0);
    kith_op_on_done(op, free_self_and_other, &order);
    kith_op_on_done(order.free_too, free_self_and_other, &order);
    kith_conn_close(pair.at_client, 0, NULL, 0);
    run_until(pair.context, &order.count, 1);
    KITH_CHECK_EQ(kith_context_process(pair.context), 0);
    KITH_CHECK_EQ(order.count, 1);
    pair_free(&pair);
}

static void wait_inside(struct kith_op *op, void *user)
{
    struct order *order = user;
    struct kith_op *limited;

    (void)op;
    order->count++;
    if (order->free_too != NULL) { /* blocking calls and the loop itself work in here too */
        PAIR_CHECK(kith_op_wait(order->free_too, KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
        limited = order->free_too;
        order->free_too = NULL;
        kith_op_on_done(limited, wait_inside, order);
        kith_op_cancel(limited);
        KITH_CHECK(kith_context_process(order->context) >= 1);
    }
}

PAIR_TEST(op_callback_may_wait_and_process)
{
    struct order order = { 0 };
    struct kith_op *op, *other;
    struct pair pair;

    pair_open(&pair, mode);
    order.context = pair.context;
    PAIR_CHECK(kith_conn_closed_start(pair.at_client, &op), 0);
    PAIR_CHECK(kith_conn_closed_start(pair.at_server, &other), 0);
    order.free_too = other;
    kith_op_on_done(op, wait_inside, &order);
    kith_op_cancel(op);
    run_until(pair.context, &order.count, 2);
    PAIR_CHECK(kith_op_wait(other, 0), KITH_ERR_CANCELLED);
    kith_op_free(op);
    kith_op_free(other);
    pair_free(&pair);
}

static void end_everything(struct kith_op *op, void *user)
{
    struct order *order = user;

    order->count++;
    kith_context_free(order->context);
    kith_op_free(op);
}

PAIR_TEST(op_callback_may_end_the_context)
{
    struct order order = { 0 };
    struct kith_op *op, *other;
    struct kith_stream *stream;
    struct pair pair;

    pair_open(&pair, mode);
    order.context = pair.context;
    PAIR_CHECK(kith_open_bi(pair.at_client, PAIR_LIMIT, &stream), 0);
    PAIR_CHECK(kith_accept_start(pair.server, &op), 0);
    PAIR_CHECK(kith_conn_closed_start(pair.at_client, &other), 0);
    kith_op_on_done(op, end_everything, &order);
    kith_op_cancel(op);
    KITH_CHECK_EQ(kith_context_process(pair.context), 1);
    KITH_CHECK_EQ(order.count, 1);
    PAIR_CHECK(kith_op_wait(other, PAIR_LIMIT), KITH_ERR_CLOSED);
    kith_op_free(other);
    kith_conn_free(pair.at_client);
    kith_stream_free(stream);
    kith_conn_free(pair.at_server);
}

/* The thread of a context may still have taken in the close of the other endpoint, in the same context, before the end. */
static void check_ended(int err)
{
    KITH_CHECK(err == KITH_ERR_CLOSED || err == KITH_ERR_CLOSED_BY_PEER);
}

PAIR_TEST(op_handles_may_be_given_back_after_the_context_in_any_order)
{
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1 };
    struct kith_quic_close_info info;
    struct kith_quic_conn_stats stats;
    struct kith_stream *here, *there;
    struct kith_incoming *incoming;
    struct kith_op *reading, *accepting, *connecting, *opened;
    struct pair pair;
    char byte;

    pair_open_with_stream(&pair, mode, true, &here, &there);
    PAIR_CHECK(kith_connect_start(pair.client, &pair.addr, &options, &connecting), 0);
    PAIR_CHECK(kith_incoming_next(pair.server, PAIR_LIMIT, &incoming), 0);
    PAIR_CHECK(kith_read_start(here, &byte, 1, &reading), 0);
    PAIR_CHECK(kith_accept_start(pair.server, &accepting), 0);
    PAIR_CHECK(kith_open_start(pair.at_client, true, &opened), 0); /* done, and its stream not taken */
    PAIR_CHECK(kith_endpoint_close(pair.server, 0), KITH_ERR_TIMEOUT);
    PAIR_CHECK(kith_op_wait(accepting, PAIR_LIMIT), KITH_ERR_CLOSED);
    kith_context_free(pair.context);
    PAIR_CHECK(kith_op_wait(connecting, 0), KITH_ERR_CLOSED);
    kith_op_set_limit(connecting, 1);
    kith_op_cancel(connecting);
    kith_conn_free(pair.at_server);
    check_ended(kith_op_wait(reading, PAIR_LIMIT));
    check_ended(kith_read(here, &byte, 1, PAIR_LIMIT, &(size_t) { 0 }));
    check_ended(kith_open_bi(pair.at_client, PAIR_LIMIT, &here));
    check_ended(kith_datagram_receive(pair.at_client, &byte, 1, PAIR_LIMIT, &(size_t) { 0 }));
    PAIR_CHECK(kith_conn_close_info(pair.at_client, &info), 0);
    PAIR_CHECK(kith_conn_closed(pair.at_client, PAIR_LIMIT), 0);
    kith_conn_stats(pair.at_client, &stats);
    KITH_CHECK_EQ(stats.packets_sent, 0);
    KITH_CHECK_EQ(kith_conn_paths(pair.at_client, NULL, 0), 0);
    KITH_CHECK_EQ(kith_conn_alpn(pair.at_client).size, strlen(PAIR_ALPN));
    kith_conn_free(pair.at_client);
    kith_op_free(accepting);
    KITH_CHECK_EQ(kith_incoming_remote(incoming).family, KITH_FAMILY_NONE);
    PAIR_CHECK(kith_incoming_accept(incoming, PAIR_LIMIT, &pair.at_client), KITH_ERR_CLOSED);
    kith_op_free(reading);
    kith_stream_free(there);
    kith_op_free(opened);
    kith_stream_free(here);
    kith_op_free(connecting);
    kith_op_free(NULL);
    kith_conn_free(NULL);
    kith_context_free(NULL);
}

PAIR_TEST(op_limits_end_operations)
{
    struct kith_op *ops[5];
    struct pair pair;

    pair_open(&pair, mode);
    for (int i = 0; i < 5; i++) {
        PAIR_CHECK(kith_conn_closed_start(pair.at_client, &ops[i]), 0);
        kith_op_set_limit(ops[i], (uint64_t)(5 - i) * KITH_NS_PER_MS);
    }
    kith_op_set_limit(ops[1], KITH_WAIT); /* takes the limit back */
    PAIR_CHECK(kith_op_wait(ops[0], PAIR_LIMIT), KITH_ERR_TIMEOUT);
    for (int i = 2; i < 5; i++)
        KITH_CHECK_EQ(kith_op_result(ops[i]), KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(kith_op_result(ops[1]), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith_op_error(ops[2])->code, KITH_ERR_TIMEOUT);
    kith_op_cancel(ops[1]);
    kith_op_cancel(ops[1]);
    KITH_CHECK_EQ(kith_op_error(ops[1])->code, KITH_ERR_CANCELLED);
    KITH_CHECK(kith_op_error(ops[1])->text[0] != '\0');
    for (int i = 0; i < 5; i++)
        kith_op_free(ops[i]);
    pair_free(&pair);
}

static void *cancel(void *op)
{
    kith_op_cancel(op);
    return NULL;
}

PAIR_TEST(op_cancel_from_another_thread_ends_a_wait)
{
    struct kith_op *op;
    pthread_t thread;
    struct pair pair;

    pair_open(&pair, mode);
    for (int i = 0; i < 50; i++) {
        PAIR_CHECK(kith_accept_start(pair.server, &op), 0);
        KITH_CHECK_EQ(pthread_create(&thread, NULL, cancel, op), 0);
        PAIR_CHECK(kith_op_wait(op, PAIR_LIMIT), KITH_ERR_CANCELLED);
        pthread_join(thread, NULL);
        kith_op_free(op);
    }
    pair_free(&pair);
}

static void *wake(void *context)
{
    kith_context_wake(context);
    return NULL;
}

PAIR_TEST(op_wake_from_another_thread_ends_a_wait_and_a_poll)
{
    struct kith_conn *conn;
    struct kith_op *op;
    pthread_t thread;
    struct pair pair;

    pair_open(&pair, mode);
    for (int i = 0; i < 50; i++) {
        struct pollfd fd = { kith_context_fd(pair.context), POLLIN, 0 };

        KITH_CHECK_EQ(pthread_create(&thread, NULL, wake, pair.context), 0);
        PAIR_CHECK(kith_accept(pair.server, KITH_WAIT, &conn), KITH_ERR_AGAIN);
        pthread_join(thread, NULL);
        while (kith_context_process(pair.context) > 0 || kith_context_timeout(pair.context) == 0) {
        }
        KITH_CHECK_EQ(pthread_create(&thread, NULL, wake, pair.context), 0);
        KITH_CHECK_EQ(poll(&fd, 1, 60000), 1);
        pthread_join(thread, NULL);
        KITH_CHECK_EQ(kith_context_process(pair.context), 0);
    }
    /* Processed, it is forgotten: the next wait waits. */
    kith_context_wake(pair.context);
    kith_context_process(pair.context);
    PAIR_CHECK(kith_accept_start(pair.server, &op), 0);
    PAIR_CHECK(kith_op_wait(op, KITH_NS_PER_MS), KITH_ERR_TIMEOUT);
    kith_op_free(op);
    pair_free(&pair);
}

static void again(struct kith_op *op, void *user)
{
    struct order *order = user;

    order->count++;
    kith_op_on_done(op, again, order);
}

PAIR_TEST(op_process_ends_though_callbacks_make_more_of_them)
{
    struct order order = { 0 };
    struct kith_op *op;
    struct pair pair;

    pair_open(&pair, mode);
    PAIR_CHECK(kith_accept_start(pair.server, &op), 0);
    kith_op_cancel(op);
    kith_op_on_done(op, again, &order);
    KITH_CHECK_EQ(kith_context_process(pair.context), KITH_CALLBACK_ROUNDS_MAX);
    run_until(pair.context, &order.count,
              2 * KITH_CALLBACK_ROUNDS_MAX + 1); /* the descriptor tells that there is more */
    kith_op_free(op);
    KITH_CHECK_EQ(kith_context_process(pair.context), 0);
    pair_free(&pair);
}

KITH_TEST(op_context_options_are_checked)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = 9 };
    struct kith_context *context;

    PAIR_CHECK(kith_context_new(&options, &context), KITH_ERR_INVALID);
    options.size = sizeof options + 1;
    PAIR_CHECK(kith_context_new(&options, &context), KITH_ERR_INVALID);
    options.size = 0;
    PAIR_CHECK(kith_context_new(&options, &context), KITH_ERR_INVALID);
}

PAIR_TEST(op_that_the_flush_before_a_wait_finishes_is_not_waited_for)
{
    struct pair pair;
    struct kith_op *op;

    pair_open(&pair, mode);
    PAIR_CHECK(kith_conn_closed_start(pair.at_client, &op), 0);
    kith__context_enter(pair.context);
    /* The engine knows that the connection is closed, its owner learns it from the event when the endpoint is flushed. */
    kith_quic_conn_close(pair.at_client->quic, 0, (struct kith_slice) { 0 }, kith__context_now(pair.context));
    kith__api_endpoint_touch(pair.client);
    kith__context_wait(pair.context, KITH_NEVER);
    KITH_CHECK(op->is_done);
    /* Had it waited, the loop would have run, and the other side would know as well. */
    KITH_CHECK(!pair.at_server->is_closed);
    kith__context_leave(pair.context);
    kith_op_free(op);
    pair_free(&pair);
}
