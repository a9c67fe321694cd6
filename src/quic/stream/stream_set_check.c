/* The invariants of the stream set, for tests. */
#include "quic/stream/stream_set_inner.h"

static void check_stream(const struct kith_stream_set *set, const struct kith_stream *stream)
{
    struct kith_outbuf_chunk chunk;
    uint64_t left = kith__limit_left(&set->send_limit);
    bool is_queued = stream->order.heap_node.index != KITH_HEAP_OUT;
    bool is_over = kith__stream_is_over(stream);

    /* A queued stream may turn out to lack connection credit; one that is not queued has nothing to send. */
    if (!set->over_limit)
        KITH_ASSERT(is_queued || !kith__stream_next_chunk(stream, left, &chunk));
    KITH_ASSERT(kith__list_is_linked(&stream->intent_node) == (stream->intents != 0));
    KITH_ASSERT(kith__list_is_linked(&stream->event_node) == (stream->flags != 0));
    KITH_ASSERT(!is_over || (stream->credited && stream->flags != 0));
    KITH_ASSERT(stream->out.begin <= stream->out.sent && stream->out.sent <= stream->out.end);
    KITH_ASSERT(stream->given <= kith__inbuf_highest(&stream->in));
    KITH_ASSERT(kith__inbuf_highest(&stream->in) <= stream->receive_credit.announced);
    KITH_ASSERT(stream->send_limit.used <= stream->send_limit.max);
}

void kith__stream_set_check(const struct kith_stream_set *set)
{
    uint64_t held = 0, open = 0, count = 0, waiting = 0, grown = 0;

    KITH_LIST_EACH(node, &set->all)
    {
        const struct kith_stream *stream = KITH_CONTAINER(node, struct kith_stream, all);

        check_stream(set, stream);
        held += kith__outbuf_held(&stream->out);
        waiting += kith__inbuf_highest(&stream->in) - stream->given;
        open += !stream->credited;
        grown += stream->receive_credit.grown;
        count++;
    }
    KITH_ASSERT(count == set->count && count == set->by_id.count);
    KITH_ASSERT(held == set->send_held);
    KITH_ASSERT(grown + set->window_pool.left == set->config.stream_auto_total);
    KITH_ASSERT(open == set->ours_opened[0].open + set->ours_opened[1].open + set->theirs_opened[0].open +
                            set->theirs_opened[1].open);
    KITH_ASSERT(set->received == set->receive_credit.used + waiting);
    KITH_ASSERT(set->received <= set->receive_credit.announced);
    KITH_ASSERT(set->send_limit.used <= set->send_limit.max);
}
