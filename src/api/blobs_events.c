/* Events of a provider. */
#include "api/blobs_parts.h"

#include "base/mem.h"

static void drop(struct kith_blobs *blobs, struct kith_blobs_queued *queued)
{
    kith__list_remove(&queued->node);
    blobs->event_count--;
    kith__free(blobs->context->mem, queued);
}

/* The progress event of this request that waits; with request 0: the oldest of any. */
static struct kith_blobs_queued *find_progress(struct kith_blobs *blobs, uint64_t request)
{
    KITH_LIST_EACH(node, &blobs->events)
    {
        struct kith_blobs_queued *queued = KITH_CONTAINER(node, struct kith_blobs_queued, node);

        if (queued->event.kind == KITH_BLOBS_PROGRESS && (request == 0 || queued->event.request == request))
            return queued;
    }
    return NULL;
}

static void make_room(struct kith_blobs *blobs)
{
    struct kith_blobs_queued *oldest = find_progress(blobs, 0);

    if (oldest == NULL)
        oldest = KITH_CONTAINER(kith__list_first(&blobs->events), struct kith_blobs_queued, node);
    drop(blobs, oldest);
    blobs->events_dropped++;
}

void kith__blobs_emit(struct kith_blobs *blobs, const struct kith_blobs_event *event)
{
    struct kith_blobs_queued *queued;
    struct kith_op *op;

    if (event->kind == KITH_BLOBS_PROGRESS && (queued = find_progress(blobs, event->request)) != NULL) {
        queued->event = *event;
        return;
    }
    if (blobs->event_count == KITH_BLOBS_EVENTS_MAX)
        make_room(blobs);
    if ((queued = kith__alloc(blobs->context->mem, sizeof *queued)) == NULL) {
        blobs->events_dropped++;
        return;
    }
    queued->event = *event;
    kith__list_push_back(&blobs->events, &queued->node);
    blobs->event_count++;
    while ((op = kith__op_first(&blobs->event_ops)) != NULL)
        kith__op_done(op, 0);
}

void kith__blobs_events_dispose(struct kith_blobs *blobs)
{
    struct kith_error error;
    struct kith_list *node;

    while ((node = kith__list_first(&blobs->events)) != NULL)
        drop(blobs, KITH_CONTAINER(node, struct kith_blobs_queued, node));
    kith__fail_into(&error, KITH_ERR_CLOSED, 0, "the provider was ended");
    kith__op_fail_all(&blobs->event_ops, &error);
}

bool kith_blobs_next_event(struct kith_blobs *blobs, struct kith_blobs_event *out)
{
    struct kith_list *node;

    kith__context_enter(blobs->context);
    if ((node = kith__list_first(&blobs->events)) != NULL) {
        struct kith_blobs_queued *queued = KITH_CONTAINER(node, struct kith_blobs_queued, node);

        *out = queued->event;
        drop(blobs, queued);
    }
    kith__context_leave(blobs->context);
    return node != NULL;
}

int kith_blobs_event_start(struct kith_blobs *blobs, struct kith_op **out)
{
    struct kith_op *op;
    int err = 0;

    kith__context_enter(blobs->context);
    if ((op = kith__op_new(blobs->context, KITH_OP_DRIVER, &blobs->event_ops)) == NULL)
        err = kith__fail_because(KITH_ERR_NOMEM, "the events cannot be waited for");
    else if (blobs->event_count > 0)
        kith__op_done(op, 0);
    if (err == 0)
        *out = op;
    kith__context_leave(blobs->context);
    return err;
}
