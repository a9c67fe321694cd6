/*
 * Workers on threads of their own, with clients that come, send and go, some of them with the same key on several workers: run under
 * the thread sanitizer too. What each worker counts must add up when all of them have stopped.
 */
#include "base/test.h"
#include "relay/crowd.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 3, STEPS = 4000, KEYS = 6, PLACES = 8 };

static struct crowd crowds[WORKERS]; /* one for each worker, with only its server */
static struct kith_relay_routes routes[WORKERS];
static _Atomic unsigned wakes;
static pthread_barrier_t barrier;

static int lock_new(void *ctx, void **out)
{
    pthread_mutex_t *mutex = malloc(sizeof *mutex);

    (void)ctx;
    KITH_ASSERT(mutex != NULL && pthread_mutex_init(mutex, NULL) == 0);
    *out = mutex;
    return 0;
}

static void lock_free(void *ctx, void *lock)
{
    (void)ctx;
    pthread_mutex_destroy(lock);
    free(lock);
}

static void lock_take(void *lock)
{
    pthread_mutex_lock(lock);
}

static void lock_give(void *lock)
{
    pthread_mutex_unlock(lock);
}

static void wake(void *ctx, unsigned worker)
{
    (void)ctx, (void)worker;
    atomic_fetch_add(&wakes, 1);
}

static const struct kith_relay_sync threads_sync = { { lock_new, lock_free, lock_take, lock_give, NULL }, wake, NULL };

static void worker_init(unsigned index)
{
    struct crowd *crowd = &crowds[index];

    *crowd = (struct crowd) {
        .mem = kith_mem_default(), .worker_count = 1, .now_ns = 1000 * KITH_NS_PER_S, .is_unchecked = true
    };
    kith__prng_init(&crowd->prng, kith__test_seed(11) + index);
    crowd->random = kith__prng_source(&crowd->prng);
    crowd->routes[0] = routes[index];
    KITH_CHECK_EQ(kith__relay_server_new(&(struct kith_relay_server_options) { .mem = crowd->mem,
                                                                               .random = &crowd->random,
                                                                               .routes = &crowd->routes[0],
                                                                               .counters = &crowd->counters[0] },
                                         &crowd->servers[0]),
                  0);
    for (int i = 0; i < PLACES; i++)
        (void)crowd_add(crowd, 0, KITH_RELAY_V2);
}

/** A client takes a free place with some key. */
static void come(struct crowd *crowd, struct crowd_client *client)
{
    uint64_t number = kith__random_u64(&crowd->random);

    kith__ws_reader_dispose(&client->reader);
    crowd->client_count = (size_t)(client - crowd->clients);
    (void)crowd_add(crowd, (uint8_t)(number % KEYS), KITH_RELAY_V2);
    crowd->client_count = PLACES;
    (void)crowd_open(client, 0, (struct kith_relay_open) { 0 });
}

static void *worker_run(void *ctx)
{
    struct crowd *crowd = ctx;

    for (int step = 0; step < STEPS; step++) {
        uint64_t number = kith__random_u64(&crowd->random);
        struct crowd_client *client = &crowd->clients[number % PLACES];
        struct crowd_client *target = &crowd->clients[(number >> 8) % PLACES]; /* its key is somebody's elsewhere too */

        if (client->session == NULL)
            come(crowd, client);
        else if ((number >> 16) % 16 == 0)
            crowd_leave(client);
        else if (client->is_ready)
            for (unsigned i = 0; i < 1 + (number >> 24) % 8; i++)
                crowd_send_datagram(client, &target->pair.id, 1, 1200);
        crowd->now_ns += KITH_NS_PER_MS;
        crowd_pump(crowd);
        if (step % 64 == 0)
            kith__relay_server_check(crowd->servers[0]);
    }
    for (int i = 0; i < PLACES; i++)
        crowd_leave(&crowd->clients[i]);
    for (int round = 0; round < 3; round++) { /* what the others still had for us */
        crowd_pump(crowd);
        pthread_barrier_wait(&barrier);
    }
    kith__relay_server_check(crowd->servers[0]);
    return NULL;
}

KITH_TEST(relay_workers_on_threads_lose_no_count)
{
    pthread_t threads[WORKERS];
    static struct crowd all; /* for the sums */

    KITH_CHECK_EQ(kith__relay_routes_shared_new(&(struct kith_relay_routes_shared_options) { .mem = kith_mem_default(),
                                                                                             .sync = &threads_sync,
                                                                                             .worker_count = WORKERS,
                                                                                             .inbox_size = 100000,
                                                                                             .seed = 5 },
                                                routes),
                  0);
    KITH_CHECK_EQ(pthread_barrier_init(&barrier, NULL, WORKERS), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_init(i);
    for (unsigned i = 0; i < WORKERS; i++)
        KITH_CHECK_EQ(pthread_create(&threads[i], NULL, worker_run, &crowds[i]), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        KITH_CHECK_EQ(pthread_join(threads[i], NULL), 0);
    all.worker_count = WORKERS;
    for (unsigned i = 0; i < WORKERS; i++) {
        all.servers[i] = crowds[i].servers[0];
        kith__relay_counters_add(&all.counters[i], &crowds[i].counters[0]);
        KITH_CHECK_EQ(kith__relay_server_stats(crowds[i].servers[0]).queued_bytes, 0);
        KITH_CHECK(kith__relay_counter(&crowds[i].counters[0].accepts) > 50);
    }
    crowd_check_sums(&all);
    KITH_CHECK(atomic_load(&wakes) > 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        for (int k = 0; k < PLACES; k++)
            kith__ws_reader_dispose(&crowds[i].clients[k].reader);
        kith__relay_server_free(crowds[i].servers[0]);
    }
    kith__relay_routes_free(&routes[0]);
    pthread_barrier_destroy(&barrier);
}
