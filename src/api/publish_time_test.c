/* The time of the newest signed packet, between runs. */
#define _GNU_SOURCE 1 /* mkdtemp */
#include "api/endpoint_lookup.h"

#include "base/test.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kept {
    uint64_t us;
    int stores;
};

static uint64_t load(void *ctx)
{
    const struct kept *kept = ctx;

    return kept->us;
}

static void store(void *ctx, uint64_t timestamp_us)
{
    struct kept *kept = ctx;

    kept->us = timestamp_us;
    kept->stores++;
}

struct desk {
    struct kith_context *context;
    char directory[64], path[96];
    struct kith_publish_times times;
};

static void desk_open(struct desk *desk)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER };

    snprintf(desk->directory, sizeof desk->directory, "/tmp/kith-time-XXXXXX");
    KITH_CHECK(mkdtemp(desk->directory) != NULL);
    snprintf(desk->path, sizeof desk->path, "%s/time", desk->directory);
    KITH_CHECK_EQ(kith_context_new(&options, &desk->context), 0);
}

static void desk_close(struct desk *desk)
{
    kith_context_free(desk->context);
    (void)unlink(desk->path);
    KITH_CHECK_EQ(rmdir(desk->directory), 0);
}

/* What another run finds. */
static uint64_t next_run(struct desk *desk, const struct kith_publish_time *with)
{
    uint64_t us;

    KITH_CHECK_EQ(kith__publish_time_open(&desk->times, desk->context, desk->path, with), 0);
    us = desk->times.last_us;
    kith__publish_time_dispose(&desk->times);
    return us;
}

KITH_TEST(publish_time_is_there_in_the_next_run_and_never_goes_back)
{
    struct desk desk;

    desk_open(&desk);
    KITH_CHECK_EQ(kith__publish_time_open(&desk.times, desk.context, desk.path, NULL), 0);
    KITH_CHECK_EQ(desk.times.last_us, 0);
    kith__publish_time_store(&desk.times, 1595432028452851);
    kith__publish_time_store(&desk.times, 5);
    kith__publish_time_dispose(&desk.times);
    KITH_CHECK_EQ(next_run(&desk, NULL), 1595432028452851);
    desk_close(&desk);
}

KITH_TEST(publish_time_that_is_ahead_of_the_clock_is_gone_back_from)
{
    struct desk desk;
    uint64_t now_us;

    desk_open(&desk);
    KITH_CHECK_EQ(kith__publish_time_open(&desk.times, desk.context, desk.path, NULL), 0);
    now_us = kith__rt_wall_us(desk.times.rt);
    kith__publish_time_store(&desk.times, now_us + 86400 * 1000000ull); /* a clock that was wrong once */
    kith__publish_time_store(&desk.times, now_us);                      /* no server took that */
    kith__publish_time_dispose(&desk.times);
    KITH_CHECK_EQ(next_run(&desk, NULL), now_us);
    desk_close(&desk);
}

KITH_TEST(publish_time_of_a_file_with_something_else_is_none)
{
    static const char *const texts[] = { "", "12", "no number at all, but long", "0000159543202845285x\n" };
    struct desk desk;

    desk_open(&desk);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        FILE *file = fopen(desk.path, "w");

        KITH_CHECK(file != NULL && fputs(texts[i], file) >= 0 && fclose(file) == 0);
        KITH_CHECK_EQ(next_run(&desk, NULL), 0);
    }
    desk_close(&desk);
}

KITH_TEST(publish_time_may_be_the_programs_own_affair)
{
    struct kept kept = { .us = 77 };
    struct kith_publish_time with = { load, store, &kept };
    struct desk desk;

    desk_open(&desk);
    KITH_CHECK_EQ(next_run(&desk, &with), 77);
    KITH_CHECK_EQ(kith__publish_time_open(&desk.times, desk.context, NULL, &with), 0);
    kith__publish_time_store(&desk.times, 78);
    kith__publish_time_store(&desk.times, 78);
    KITH_CHECK_EQ(kept.us, 78);
    KITH_CHECK_EQ(kept.stores, 1);
    kith__publish_time_dispose(&desk.times);
    kept.us = 0;
    KITH_CHECK_EQ(next_run(&desk, &with), 0); /* no file was named: none was written */
    desk_close(&desk);
}
