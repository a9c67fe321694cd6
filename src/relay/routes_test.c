/* Who holds an id, in the table of one worker and in that of several; and what workers post to each other. */
#include "relay/routes.h"

#include "base/test.h"

enum { WORKERS = 3, INBOX = 64 << 10 };

static struct kith_id id_of(uint8_t number)
{
    return (struct kith_id) { { number, [7] = number } };
}

static bool is_at(struct kith_relay_place place, uint64_t handle, uint16_t worker)
{
    return place.handle == handle && place.worker == worker;
}

static bool is_nowhere(struct kith_relay_place place)
{
    return place.worker == KITH_RELAY_WORKER_NONE;
}

/** Runs a test with each kind of table, whose first worker it gets. */
static void with_each(void (*run)(struct kith_relay_routes *routes))
{
    const struct kith_relay_routes_shared_options options = {
        .mem = kith_mem_default(), .worker_count = WORKERS, .inbox_size = INBOX, .seed = 3
    };
    struct kith_relay_routes routes[WORKERS];

    KITH_CHECK_EQ(kith__relay_routes_local_new(kith_mem_default(), 3, &routes[0]), 0);
    run(&routes[0]);
    kith__relay_routes_free(&routes[0]);
    KITH_CHECK_EQ(kith__relay_routes_shared_new(&options, routes), 0);
    run(&routes[0]);
    kith__relay_routes_free(&routes[0]);
}

static struct kith_relay_joined join(struct kith_relay_routes *routes, uint8_t id, uint64_t handle)
{
    struct kith_relay_place place = { handle, (uint16_t)routes->worker };
    struct kith_id key = id_of(id);
    struct kith_relay_joined joined;

    KITH_CHECK_EQ(routes->ops->join(routes->ctx, &key, place, &joined), 0);
    return joined;
}

static struct kith_relay_left leave(struct kith_relay_routes *routes, uint8_t id, uint64_t handle, uint64_t reached)
{
    struct kith_relay_place place = { handle, (uint16_t)routes->worker };
    struct kith_id key = id_of(id);
    struct kith_relay_left left;

    routes->ops->leave(routes->ctx, &key, place, reached, &left);
    return left;
}

static uint64_t newest(struct kith_relay_routes *routes, uint8_t id)
{
    struct kith_relay_place place;
    struct kith_id key = id_of(id);

    return routes->ops->find(routes->ctx, &key, &place) ? place.handle : 0;
}

static void check_order(struct kith_relay_routes *routes)
{
    uint64_t epoch = atomic_load(routes->epoch);
    struct kith_relay_joined joined;
    struct kith_relay_left left;

    KITH_CHECK_EQ(newest(routes, 1), 0);
    joined = join(routes, 1, 10);
    KITH_CHECK(is_nowhere(joined.previous) && is_nowhere(joined.evicted));
    joined = join(routes, 1, 11);
    KITH_CHECK(is_at(joined.previous, 10, 0) && is_nowhere(joined.evicted));
    (void)join(routes, 1, 12);
    (void)join(routes, 2, 20);
    KITH_CHECK(newest(routes, 1) == 12 && newest(routes, 2) == 20);
    KITH_CHECK(atomic_load(routes->epoch) != epoch);
    left = leave(routes, 1, 11, 0); /* neither the newest nor the last */
    KITH_CHECK(is_nowhere(left.newest) && !left.is_last && newest(routes, 1) == 12);
    left = leave(routes, 1, 12, 0);
    KITH_CHECK(is_at(left.newest, 10, 0) && !left.is_last && newest(routes, 1) == 10);
    left = leave(routes, 1, 10, 0);
    KITH_CHECK(left.is_last && newest(routes, 1) == 0 && newest(routes, 2) == 20);
    KITH_CHECK(leave(routes, 2, 20, 0).is_last);
}

KITH_TEST(routes_find_the_newest_of_an_id)
{
    with_each(check_order);
}

static void check_eviction(struct kith_relay_routes *routes)
{
    struct kith_relay_joined joined;
    struct kith_relay_left left;

    for (uint64_t i = 1; i <= KITH_RELAY_SAME_ID_MAX; i++)
        KITH_CHECK(is_nowhere(join(routes, 1, i).evicted));
    joined = join(routes, 1, 100);
    KITH_CHECK(is_at(joined.evicted, 1, 0) && is_at(joined.previous, KITH_RELAY_SAME_ID_MAX, 0));
    left = leave(routes, 1, 1, 4); /* it was evicted: nothing changes, but whom it has reached is kept */
    KITH_CHECK(is_nowhere(left.newest) && !left.is_last && newest(routes, 1) == 100);
    for (uint64_t i = 2; i <= KITH_RELAY_SAME_ID_MAX; i++)
        KITH_CHECK(!leave(routes, 1, i, 1).is_last);
    left = leave(routes, 1, 100, 2);
    KITH_CHECK(left.is_last);
    KITH_CHECK_EQ(left.reached, 7);
    /* One that was evicted, and goes when nobody is left, still tells whom it has reached. */
    left = leave(routes, 1, 1, 8);
    KITH_CHECK(left.is_last && left.reached == 8);
}

KITH_TEST(routes_evict_the_oldest_of_too_many_with_one_id)
{
    with_each(check_eviction);
}

static void check_many(struct kith_relay_routes *routes)
{
    for (unsigned i = 1; i < 256; i++)
        (void)join(routes, (uint8_t)i, 1000 + i);
    for (unsigned i = 1; i < 256; i++)
        KITH_CHECK_EQ(newest(routes, (uint8_t)i), 1000 + i);
    for (unsigned i = 1; i < 256; i++)
        KITH_CHECK(leave(routes, (uint8_t)i, 1000 + i, 0).is_last);
}

KITH_TEST(routes_keep_ids_apart)
{
    with_each(check_many);
}

KITH_TEST(routes_notes_arrive_after_the_flush_in_order_and_within_bounds)
{
    static uint8_t payload[1200];
    const struct kith_relay_routes_shared_options options = {
        .mem = kith_mem_default(), .worker_count = WORKERS, .inbox_size = INBOX, .seed = 3
    };
    struct kith_relay_note note = { .kind = KITH_RELAY_NOTE_DATAGRAM, .id = id_of(5) }, got;
    struct kith_relay_routes routes[WORKERS];
    uint64_t posted = 0, taken = 0;

    KITH_CHECK_EQ(kith__relay_routes_shared_new(&options, routes), 0);
    note.datagram.payload = (struct kith_slice) { payload, sizeof payload };
    while (routes[0].ops->room(routes[0].ctx, 0, 1) >= sizeof payload) {
        note.handle = posted;
        if (routes[0].ops->post(routes[0].ctx, 0, 1, &note) != 0)
            break;
        posted++;
    }
    KITH_CHECK(posted > 10 && posted * sizeof payload <= INBOX);
    KITH_CHECK_EQ(routes[0].ops->post(routes[0].ctx, 0, 1, &note), KITH_ERR_LIMIT);
    /* What is no datagram still finds room: a session that is to be closed must hear of it. */
    KITH_CHECK_EQ(routes[0].ops->post(routes[0].ctx, 0, 1,
                                      &(struct kith_relay_note) { .kind = KITH_RELAY_NOTE_CLOSE, .handle = 77 }),
                  0);
    KITH_CHECK(!routes[1].ops->take(routes[1].ctx, 1, &got));
    routes[0].ops->flush(routes[0].ctx, 0);
    KITH_CHECK(!routes[2].ops->take(routes[2].ctx, 2, &got));
    while (routes[1].ops->take(routes[1].ctx, 1, &got)) {
        if (got.kind == KITH_RELAY_NOTE_CLOSE) {
            KITH_CHECK(got.handle == 77 && taken == posted);
            continue;
        }
        KITH_CHECK_EQ(got.handle, taken++);
        KITH_CHECK_EQ(got.datagram.payload.size, sizeof payload);
    }
    KITH_CHECK_EQ(taken, posted);
    KITH_CHECK(routes[0].ops->room(routes[0].ctx, 0, 1) >= sizeof payload);
    kith__relay_routes_free(&routes[0]);
}

KITH_TEST(routes_survive_every_failed_allocation)
{
    bool has_failed = true;

    for (uint64_t fail_at = 1; has_failed; fail_at++) {
        struct kith_relay_routes_shared_options options = { .worker_count = 2, .inbox_size = INBOX, .seed = 3 };
        struct kith_relay_note note = { .kind = KITH_RELAY_NOTE_GONE };
        struct kith_relay_routes routes[2];
        struct kith_relay_joined joined;
        struct kith_id id = id_of(9);
        struct kith_test_mem mem;
        int err;

        kith__test_mem_init(&mem, fail_at);
        options.mem = &mem.mem;
        if ((err = kith__relay_routes_shared_new(&options, routes)) == 0) {
            for (uint64_t i = 1; i <= 3; i++) {
                struct kith_relay_left left;
                int joined_err = routes[0].ops->join(routes[0].ctx, &id, (struct kith_relay_place) { i, 0 }, &joined);

                KITH_CHECK(joined_err == 0 || joined_err == KITH_ERR_NOMEM);
                KITH_CHECK_EQ(newest(&routes[0], 9), joined_err == 0 ? i : 0);
                if (joined_err == 0)
                    routes[0].ops->leave(routes[0].ctx, &id, (struct kith_relay_place) { i, 0 }, 0, &left);
            }
            err = routes[0].ops->post(routes[0].ctx, 0, 1, &note);
            routes[0].ops->flush(routes[0].ctx, 0);
            kith__relay_routes_free(&routes[0]);
        }
        has_failed = mem.calls >= fail_at;
        KITH_CHECK(err == 0 || (has_failed && err == KITH_ERR_NOMEM));
        KITH_CHECK_EQ(mem.live, 0);
    }
}
