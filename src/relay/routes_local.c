/* Routes of a relay with one worker: the directory without locks; there is nobody to post to. */
#include "relay/routes.h"

#include "base/mem.h"
#include "relay/directory.h"

struct local {
    const struct kith_mem *mem;
    struct kith_relay_directory directory;
};

static int local_join(void *ctx, const struct kith_id *id, struct kith_relay_place place, struct kith_relay_joined *out)
{
    return kith__relay_directory_join(&((struct local *)ctx)->directory, id, place, out);
}

static void local_leave(void *ctx, const struct kith_id *id, struct kith_relay_place place, uint64_t reached,
                        struct kith_relay_left *out)
{
    kith__relay_directory_leave(&((struct local *)ctx)->directory, id, place, reached, out);
}

static bool local_find(void *ctx, const struct kith_id *id, struct kith_relay_place *out)
{
    return kith__relay_directory_find(&((struct local *)ctx)->directory, id, out);
}

static int local_post(void *ctx, unsigned from, unsigned to, const struct kith_relay_note *note)
{
    (void)ctx, (void)from, (void)to, (void)note;
    KITH_ASSERT(false); /* all places are here */
    return KITH_ERR_INTERNAL;
}

static void local_flush(void *ctx, unsigned from)
{
    (void)ctx, (void)from;
}

static bool local_take(void *ctx, unsigned worker, struct kith_relay_note *out)
{
    (void)ctx, (void)worker, (void)out;
    return false;
}

static size_t local_room(void *ctx, unsigned from, unsigned to)
{
    (void)ctx, (void)from, (void)to;
    return 0;
}

static void local_free(void *ctx)
{
    struct local *local = ctx;

    kith__relay_directory_dispose(&local->directory);
    kith__free(local->mem, local);
}

static const struct kith_relay_routes_ops local_ops = {
    local_join, local_leave, local_find, local_post, local_flush, local_take, local_room, local_free,
};

int kith__relay_routes_local_new(const struct kith_mem *mem, uint64_t seed, struct kith_relay_routes *out)
{
    struct local *local = kith__alloc_zero(mem, sizeof *local);
    int err;

    if (local == NULL)
        return KITH_ERR_NOMEM;
    local->mem = mem;
    err = kith__relay_directory_init(&local->directory, mem, NULL, 1, seed);
    KITH_ASSERT(err == 0); /* no locks, no memory before the first entry */
    *out = (struct kith_relay_routes) { &local_ops, local, &local->directory.epoch, 0, 1 };
    return 0;
}

void kith__relay_routes_free(struct kith_relay_routes *routes)
{
    if (routes->ops != NULL)
        routes->ops->free(routes->ctx);
    *routes = (struct kith_relay_routes) { 0 };
}
