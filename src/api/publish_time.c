/* The time of the newest signed packet, between runs: in a file, or with the program. */
#include "api/endpoint_lookup.h"

#include "base/assert.h"
#include "base/mem.h"
#include "rt/file.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD_MAX_US 60000000ull /* two publishers in one instant give times ahead, too */

enum { DIGITS = 20 }; /* of any uint64_t; always all of them, so that a new number covers the old one */

static uint64_t read_file(struct kith_rt *rt, const char *path)
{
    char text[DIGITS + 1] = "";
    struct kith_rt_file *file;
    size_t size = 0;

    if (kith__rt_file_open(rt, NULL, path, KITH_RT_READ | KITH_RT_REGULAR, 0, &file) != 0)
        return 0;
    if (kith__rt_file_pread(file, text, DIGITS, 0, &size) != 0 || size != DIGITS ||
        strspn(text, "0123456789") != DIGITS)
        text[0] = '\0';
    kith__rt_file_close(file);
    return strtoull(text, NULL, 10);
}

int kith__publish_time_open(struct kith_publish_times *time, const struct kith_context *context, const char *path,
                            const struct kith_publish_time *with)
{
    uint64_t told_us = 0;

    memset(time, 0, sizeof *time);
    time->rt = context->rt;
    time->mem = context->mem;
    if (with != NULL)
        time->with = *with;
    if (time->with.load != NULL)
        told_us = time->with.load(time->with.ctx);
    if (path == NULL) {
        time->last_us = told_us;
        return 0;
    }
    if ((time->path = kith__alloc(time->mem, strlen(path) + 1)) == NULL)
        return KITH_ERR_NOMEM;
    strcpy(time->path, path);
    time->last_us = read_file(time->rt, path);
    time->last_us = KITH_MAX(time->last_us, told_us);
    return 0;
}

void kith__publish_time_dispose(struct kith_publish_times *time)
{
    if (time->path != NULL)
        kith__free(time->mem, time->path);
    time->path = NULL;
}

static int write_file(const struct kith_publish_times *time, uint64_t timestamp_us)
{
    char text[DIGITS + 2];
    struct kith_rt_file *file;
    int err = kith__rt_file_open(time->rt, NULL, time->path, KITH_RT_WRITE | KITH_RT_CREATE | KITH_RT_REGULAR, 0600,
                                 &file);

    if (err != 0)
        return err;
    snprintf(text, sizeof text, "%0*" PRIu64 "\n", DIGITS, timestamp_us);
    err = kith__rt_file_pwrite(file, text, DIGITS + 1, 0);
    kith__rt_file_close(file);
    return err;
}

void kith__publish_time_store(void *ctx, uint64_t timestamp_us)
{
    struct kith_publish_times *time = ctx;
    int err;

    /* Several servers may be told, each for itself. But what a clock that was ahead once made of it, no server may take. */
    if (timestamp_us == time->last_us ||
        (timestamp_us < time->last_us && time->last_us <= kith__rt_wall_us(time->rt) + AHEAD_MAX_US))
        return;
    time->last_us = timestamp_us;
    if (time->with.store != NULL)
        time->with.store(time->with.ctx, timestamp_us);
    if (time->path != NULL && (err = write_file(time, timestamp_us)) != 0)
        kith__log(&time->rt->log, KITH_LOG_WARN, "lookup", "the time of the last packet cannot be kept in %s: %s",
                  time->path, kith_strerror(err));
}
