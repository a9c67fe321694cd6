/* Searches: what each lookup service says about an id, one item after the other. */
#include "api/endpoint_lookup.h"

#include "api/error.h"
#include "api/lookup_custom.h"
#include "base/assert.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

enum { SEARCH_ITEMS_MAX = 128 }; /* that wait to be taken; of more the oldest are dropped */

struct waiting {
    struct kith_list node;
    struct kith_search_item item;
};

struct kith_search {
    struct kith_list node; /* in the endpoint's lookup, until that ends */
    struct kith_context *context;
    struct kith_api_lookup *lookup;      /* NULL: the endpoint is gone */
    struct kith_lookup_request *request; /* NULL: over */
    struct kith_list items;
    size_t item_count;
    uint64_t begun_ns;
    bool is_over;
    struct kith_error end; /* how it ended; code 0: something was found */
    struct kith_list ops;  /* wait for an item or the end */
};

/* ---- What services say ---- */

static void wake(struct kith_search *search)
{
    struct kith_op *op;

    while ((op = kith__op_first(&search->ops)) != NULL) {
        if (search->item_count > 0 || search->end.code == 0)
            kith__op_done(op, search->item_count > 0 ? 0 : KITH_ERR_END);
        else
            kith__op_fail(op, &search->end);
    }
    kith__context_changed(search->context);
}

static struct waiting *first_of(const struct kith_search *search)
{
    return KITH_CONTAINER(kith__list_first(&search->items), struct waiting, node);
}

static void drop_first(struct kith_search *search)
{
    struct waiting *waiting = first_of(search);

    kith__list_remove(&waiting->node);
    kith__free(search->context->mem, waiting);
    search->item_count--;
}

/* A new item at the end; NULL: no memory, and that is logged. */
static struct kith_search_item *push(struct kith_search *search, const struct kith_lookup_service *service)
{
    struct waiting *waiting = kith__alloc_zero(search->context->mem, sizeof *waiting);

    if (waiting == NULL) {
        kith__log(&search->context->log, KITH_LOG_ERROR, "lookup", "no memory for what %s found", service->label);
        return NULL;
    }
    if (search->item_count == SEARCH_ITEMS_MAX)
        drop_first(search);
    kith__list_push_back(&search->items, &waiting->node);
    search->item_count++;
    snprintf(waiting->item.name, sizeof waiting->item.name, "%s", service->ops->name);
    snprintf(waiting->item.label, sizeof waiting->item.label, "%s", service->label);
    waiting->item.age_ns = KITH_NEVER;
    return &waiting->item;
}

/* How long ago the owner said so, by the wall clock; a time to come is now. */
static uint64_t age_of(const struct kith_search *search, uint64_t updated_us)
{
    uint64_t now_us = kith__rt_wall_us(search->context->rt);

    if (updated_us == 0)
        return KITH_NEVER;
    return updated_us < now_us ? (now_us - updated_us) * KITH_NS_PER_US : 0;
}

static void on_item(void *ctx, const struct kith_lookup_item *found)
{
    struct kith_search *search = ctx;
    struct kith_search_item *item = push(search, found->service);

    if (item == NULL)
        return;
    kith__api_addr_of(found->info, &item->addr);
    memcpy(item->user_data, found->info->user_data, found->info->user_data_size);
    item->is_news = found->is_news;
    item->age_ns = age_of(search, found->updated_us);
    item->took_ns = found->took_ns;
    wake(search);
}

static void on_service_end(void *ctx, const struct kith_lookup_service *service, int err, const char *why)
{
    struct kith_search *search = ctx;
    struct kith_search_item *item = push(search, service);

    if (item == NULL)
        return;
    item->is_end = true;
    item->err = err;
    snprintf(item->why, sizeof item->why, "%s", why);
    item->took_ns = kith__context_now(search->context) - search->begun_ns;
    wake(search);
}

static void on_end(void *ctx, int err, const char *why)
{
    struct kith_search *search = ctx;

    search->request = NULL;
    search->is_over = true;
    if (err != 0)
        kith__fail_into(&search->end, err, 0, "lookup found nothing: %s", why);
    wake(search);
}

void kith__api_searches_fail(struct kith_api_lookup *lookup, const struct kith_error *error)
{
    struct kith_list *node;

    while ((node = kith__list_first(&lookup->searches)) != NULL) {
        struct kith_search *search = KITH_CONTAINER(node, struct kith_search, node);

        kith__list_remove(node);
        kith__lookup_cancel(search->request);
        search->request = NULL;
        search->lookup = NULL;
        if (!search->is_over)
            search->end = *error;
        search->is_over = true;
        wake(search);
    }
}

/* ---- Public ---- */

static int start_error(int err)
{
    if (err == KITH_ERR_STATE)
        return kith__fail(err, 0, "nobody can be asked: the endpoint has no lookup services that find others");
    if (err == KITH_ERR_INVALID)
        return kith__fail(err, 0, "this is the endpoint's own id: it knows itself where it is");
    if (err == KITH_ERR_LIMIT)
        return kith__fail(err, 0, "too many endpoints are looked for at once: at most %d", KITH_LOOKUP_IDS_MAX);
    return kith__fail_because(err, "the other endpoint cannot be looked for");
}

static int start_locked(struct kith_endpoint *endpoint, const struct kith_id *id, struct kith_search **out)
{
    struct kith_lookup_events events = { on_item, on_service_end, on_end, NULL };
    struct kith_context *context = endpoint->context;
    struct kith_search *search;
    int err;

    if (endpoint->is_closing)
        return kith__fail(KITH_ERR_CLOSED, 0, "the endpoint is closing");
    if (endpoint->lookup == NULL)
        return start_error(KITH_ERR_STATE);
    if ((search = kith__alloc_zero(context->mem, sizeof *search)) == NULL)
        return start_error(KITH_ERR_NOMEM);
    search->context = context;
    search->lookup = endpoint->lookup;
    search->begun_ns = kith__context_now(context);
    kith__list_init(&search->items);
    kith__list_init(&search->ops);
    events.ctx = search;
    if ((err = kith__lookup_resolve(endpoint->lookup->registry, id, &events, &search->request)) != 0) {
        kith__free(context->mem, search);
        return start_error(err);
    }
    kith__list_push_back(&endpoint->lookup->searches, &search->node);
    context->object_count++;
    *out = search;
    return 0;
}

int kith_lookup_start(struct kith_endpoint *endpoint, const struct kith_id *id, struct kith_search **out)
{
    int err;

    if (id == NULL)
        return kith__fail_null("an endpoint id");
    kith__context_enter(endpoint->context);
    err = start_locked(endpoint, id, out);
    kith__context_leave(endpoint->context);
    return err;
}

static int next_start(struct kith_search *search, struct kith_op **out)
{
    struct kith_op *op = kith__op_new(search->context, KITH_OP_SEARCH, &search->ops);

    if (op == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the next finding cannot be waited for");
    if (search->item_count > 0 || search->is_over)
        wake(search);
    *out = op;
    return 0;
}

int kith_lookup_next_start(struct kith_search *search, struct kith_op **out)
{
    int err;

    kith__context_enter(search->context);
    err = next_start(search, out);
    kith__context_leave(search->context);
    return err;
}

static int take(struct kith_search *search, struct kith_search_item *out)
{
    if (search->item_count > 0) {
        *out = first_of(search)->item;
        drop_first(search);
        return 0;
    }
    if (search->end.code != 0)
        return kith__fail_with(&search->end);
    return kith__fail(KITH_ERR_END, 0, "all lookup services are through");
}

int kith_lookup_next(struct kith_search *search, uint64_t limit_ns, struct kith_search_item *out)
{
    struct kith_context *context = search->context;
    struct kith_op *op;
    int err = 0;

    kith__context_enter(context);
    if (search->item_count == 0 && !search->is_over) {
        if ((err = next_start(search, &op)) == 0) {
            err = kith__op_wait_locked(op, limit_ns, NULL);
            kith__op_free_locked(op);
        }
    }
    if (search->item_count > 0 || search->is_over)
        err = take(search, out);
    kith__context_leave(context);
    return err;
}

void kith_lookup_free(struct kith_search *search)
{
    struct kith_context *context;
    struct kith_error error;

    if (search == NULL)
        return;
    context = search->context;
    kith__context_enter(context);
    kith__lookup_cancel(search->request);
    kith__fail_into(&error, KITH_ERR_CANCELLED, 0, "the search was given up");
    kith__op_fail_all(&search->ops, &error);
    while (search->item_count > 0)
        drop_first(search);
    kith__list_remove(&search->node);
    context->object_count--;
    kith__free(context->mem, search);
    kith__context_leave(context);
}
