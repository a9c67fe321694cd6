/* Several threads of a program, each with an endpoint of its own, while others cancel and wake. */
#include "api/pair.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 10, SIZE = 300000 };

struct worker {
    struct pair pair;
    enum kith_context_mode mode;
    struct kith_op *never;
    pthread_barrier_t *ready;
    int failures;
};

/* Checks in other threads count; cmocka's own belong to the main thread. */
#define EXPECT(fact)                                                                                                   \
    do                                                                                                                 \
        if (!(fact)) {                                                                                                 \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #fact, kith_error_last()->text);                    \
            worker->failures++;                                                                                        \
            return false;                                                                                              \
        }                                                                                                              \
    while (0)

/* A blocking call that somebody's wake has ended is made again. */
#define UNTIL_DONE(err, call)                                                                                          \
    do                                                                                                                 \
        err = (call);                                                                                                  \
    while (err == KITH_ERR_AGAIN)

static bool one_round(struct worker *worker, const uint8_t *bytes, uint8_t *back)
{
    struct pair *pair = &worker->pair;
    struct kith_slice alpn = { (const uint8_t *)PAIR_ALPN, strlen(PAIR_ALPN) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1 };
    struct kith_stream *here, *there;
    struct kith_op *accepting, *connecting, *writing;
    size_t got = 0, part;
    int err;

    EXPECT(kith_accept_start(pair->server, &accepting) == 0);
    /* Not kith_connect: begun anew after each wake it might never be done on a busy machine. */
    EXPECT(kith_connect_start(pair->client, &pair->addr, &options, &connecting) == 0);
    UNTIL_DONE(err, kith_op_wait(connecting, PAIR_LIMIT));
    EXPECT(err == 0);
    pair->at_client = kith_op_take_conn(connecting);
    kith_op_free(connecting);
    UNTIL_DONE(err, kith_op_wait(accepting, PAIR_LIMIT));
    EXPECT(err == 0);
    pair->at_server = kith_op_take_conn(accepting);
    kith_op_free(accepting);
    UNTIL_DONE(err, kith_open_bi(pair->at_client, PAIR_LIMIT, &here));
    EXPECT(err == 0);
    EXPECT(kith_write_start(here, bytes, SIZE, KITH_FIN, &writing) == 0);
    UNTIL_DONE(err, kith_accept_bi(pair->at_server, PAIR_LIMIT, &there));
    EXPECT(err == 0);
    while (err == 0) {
        UNTIL_DONE(err, kith_read(there, back + got, SIZE - got + 1, PAIR_LIMIT, &part));
        got += part;
    }
    EXPECT(err == KITH_ERR_END && got == SIZE && memcmp(bytes, back, SIZE) == 0);
    kith_op_free(writing);
    kith_stream_free(here);
    kith_stream_free(there);
    pair_disconnect(pair);
    return true;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    static uint8_t bytes[SIZE];
    uint8_t *back = malloc(SIZE + 1);
    bool is_fine = back != NULL;

    pthread_barrier_wait(worker->ready);
    for (int i = 0; is_fine && i < ROUNDS; i++)
        is_fine = one_round(worker, bytes, back);
    free(back);
    return NULL;
}

static atomic_bool is_over;

static void *disturb(void *arg)
{
    struct worker *workers = arg;

    for (int i = 0; !is_over; i = (i + 1) % THREADS) {
        kith_context_wake(workers[i].pair.context);
        kith_op_cancel(workers[i].never);
        sched_yield();
    }
    return NULL;
}

PAIR_TEST(threads_each_with_its_own_context)
{
    static struct worker workers[THREADS];
    pthread_t threads[THREADS], disturber;
    pthread_barrier_t ready;

    is_over = false;
    pthread_barrier_init(&ready, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        workers[i].failures = 0;
        workers[i].ready = &ready;
        pair_bind(&workers[i].pair, mode, NULL);
        PAIR_CHECK(kith_accept_start(workers[i].pair.client, &workers[i].never), 0);
        KITH_CHECK_EQ(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    pthread_barrier_wait(&ready);
    KITH_CHECK_EQ(pthread_create(&disturber, NULL, disturb, workers), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    is_over = true;
    pthread_join(disturber, NULL);
    for (int i = 0; i < THREADS; i++) {
        KITH_CHECK_EQ(workers[i].failures, 0);
        kith_op_free(workers[i].never);
        pair_free(&workers[i].pair);
    }
    pthread_barrier_destroy(&ready);
}
