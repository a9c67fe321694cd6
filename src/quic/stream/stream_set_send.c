/* What goes out, and what became of it. */
#include "quic/stream/stream_set_inner.h"
#include "quic/wire/frame.h"

/* A piece of a longer rest is not worth a frame below this: it would cost as much in headers. */
enum { PIECE_SIZE_MIN = 32 };

bool kith__stream_set_has_control(const struct kith_stream_set *set)
{
    return !kith__list_is_empty(&set->intents) || kith__credit_is_due(&set->receive_credit) ||
           kith__credit_is_due(&set->open_credit[0]) || kith__credit_is_due(&set->open_credit[1]) ||
           set->send_limit.blocked_due || set->open_limit[0].blocked_due || set->open_limit[1].blocked_due;
}

bool kith__stream_set_has_data(const struct kith_stream_set *set)
{
    return kith__stream_order_first(&set->order) != NULL;
}

/** Control frames that belong to no stream. */
static bool next_conn_control(struct kith_stream_set *set, struct kith_stream_control *out)
{
    *out = (struct kith_stream_control) { 0 };
    if (kith__credit_is_due(&set->receive_credit)) {
        out->type = KITH_FRAME_MAX_DATA;
        out->value = kith__credit_announce(&set->receive_credit);
        return true;
    }
    if (set->send_limit.blocked_due) {
        out->type = KITH_FRAME_DATA_BLOCKED;
        out->value = kith__limit_tell_blocked(&set->send_limit);
        return true;
    }
    for (uint8_t kind = 0; kind < 2; kind++) {
        if (kith__credit_is_due(&set->open_credit[kind])) {
            out->type = (uint8_t)(KITH_FRAME_MAX_STREAMS_BIDI + kind);
            out->value = KITH_MIN(kith__credit_announce(&set->open_credit[kind]), KITH_STREAM_COUNT_MAX);
            return true;
        }
        if (set->open_limit[kind].blocked_due) {
            out->type = (uint8_t)(KITH_FRAME_STREAMS_BLOCKED_BIDI + kind);
            out->value = kith__limit_tell_blocked(&set->open_limit[kind]);
            return true;
        }
    }
    return false;
}

/** The next due control frame of a stream that has one. */
static void take_intent(struct kith_stream *stream, struct kith_stream_control *out)
{
    *out = (struct kith_stream_control) { .id = stream->id };
    if (stream->intents & KITH_INTENT_RESET) {
        stream->intents &= (uint8_t)~KITH_INTENT_RESET;
        out->type = KITH_FRAME_RESET_STREAM;
        out->value = stream->out.sent;
        out->code = stream->reset_code;
    } else if (stream->intents & KITH_INTENT_STOP) {
        stream->intents &= (uint8_t)~KITH_INTENT_STOP;
        out->type = KITH_FRAME_STOP_SENDING;
        out->code = stream->stop_code;
    } else if (stream->intents & KITH_INTENT_MAX_DATA) {
        stream->intents &= (uint8_t)~KITH_INTENT_MAX_DATA;
        out->type = KITH_FRAME_MAX_STREAM_DATA;
        out->value = kith__credit_announce(&stream->receive_credit);
    } else {
        KITH_ASSERT(stream->intents & KITH_INTENT_BLOCKED);
        stream->intents &= (uint8_t)~KITH_INTENT_BLOCKED;
        out->type = KITH_FRAME_STREAM_DATA_BLOCKED;
        out->value = kith__limit_tell_blocked(&stream->send_limit);
    }
}

bool kith__stream_set_next_control(struct kith_stream_set *set, struct kith_stream_control *out)
{
    struct kith_list *node = kith__list_first(&set->intents);
    struct kith_stream *stream;

    if (next_conn_control(set, out))
        return true;
    if (node == NULL)
        return false;
    stream = KITH_CONTAINER(node, struct kith_stream, intent_node);
    take_intent(stream, out);
    kith__stream_set_touch(set, stream);
    return true;
}

void kith__stream_set_on_control_acked(struct kith_stream_set *set, const struct kith_stream_control *control)
{
    struct kith_stream *stream;

    if (control->type != KITH_FRAME_RESET_STREAM || (stream = kith__stream_set_find(set, control->id)) == NULL)
        return;
    kith__stream_on_reset_acked(stream);
    kith__stream_set_touch(set, stream);
}

static void on_stream_control_lost(struct kith_stream *stream, const struct kith_stream_control *control)
{
    switch (control->type) {
    case KITH_FRAME_RESET_STREAM:
        kith__stream_on_reset_lost(stream);
        break;
    case KITH_FRAME_STOP_SENDING:
        kith__stream_on_stop_lost(stream);
        break;
    case KITH_FRAME_MAX_STREAM_DATA:
        kith__stream_on_max_data_lost(stream, control->value);
        break;
    case KITH_FRAME_STREAM_DATA_BLOCKED:
        kith__stream_on_blocked_lost(stream, control->value);
        break;
    default:
        KITH_ASSERT(false); /* the caller gave us something that next_control never made */
    }
}

void kith__stream_set_on_control_lost(struct kith_stream_set *set, const struct kith_stream_control *control)
{
    struct kith_stream *stream;

    switch (control->type) {
    case KITH_FRAME_MAX_DATA:
        kith__credit_on_lost(&set->receive_credit, control->value);
        break;
    case KITH_FRAME_DATA_BLOCKED:
        kith__limit_on_blocked_lost(&set->send_limit, control->value);
        break;
    case KITH_FRAME_MAX_STREAMS_BIDI:
    case KITH_FRAME_MAX_STREAMS_UNI:
        kith__credit_on_lost(&set->open_credit[control->type - KITH_FRAME_MAX_STREAMS_BIDI], control->value);
        break;
    case KITH_FRAME_STREAMS_BLOCKED_BIDI:
    case KITH_FRAME_STREAMS_BLOCKED_UNI:
        kith__limit_on_blocked_lost(&set->open_limit[control->type - KITH_FRAME_STREAMS_BLOCKED_BIDI], control->value);
        break;
    default:
        if ((stream = kith__stream_set_find(set, control->id)) == NULL)
            break;
        on_stream_control_lost(stream, control);
        kith__stream_set_touch(set, stream);
    }
}

/** How much of the chunk goes into a frame of at most `room` bytes. False: nothing, or too little to be worth it. */
static bool fit(uint64_t id, const struct kith_outbuf_chunk *chunk, size_t room, struct kith_stream_chunk *out)
{
    struct kith_stream_plan plan;

    if (!kith__stream_plan(room, id, chunk->offset, chunk->size, &plan))
        return false;
    out->size = plan.size;
    out->has_length = plan.has_length;
    return plan.size == chunk->size || plan.size >= PIECE_SIZE_MIN;
}

bool kith__stream_set_next_stream(struct kith_stream_set *set, size_t room, struct kith_stream_chunk *out)
{
    struct kith_stream_order_node *node;

    while ((node = kith__stream_order_first(&set->order)) != NULL) {
        struct kith_stream *stream = KITH_CONTAINER(node, struct kith_stream, order);
        struct kith_outbuf_chunk chunk;

        if (!kith__stream_next_chunk(stream, kith__limit_left(&set->send_limit), &chunk)) {
            kith__stream_set_touch(set, stream); /* others used up the connection's credit */
            KITH_ASSERT(kith__stream_order_first(&set->order) != node);
            continue;
        }
        if (!fit(stream->id, &chunk, room, out))
            return false;
        out->stream = stream;
        out->id = stream->id;
        out->offset = chunk.offset;
        out->fin = kith__stream_take_chunk(stream, &chunk, out->size);
        if (chunk.resend) {
            set->bytes_resent += out->size;
        } else {
            kith__limit_take(&set->send_limit, out->size);
            set->bytes_sent += out->size;
        }
        kith__stream_on_unsent(stream, KITH_STREAM_UNSENT_MAX / 2);
        kith__stream_order_rotate(&set->order, node);
        kith__stream_set_touch(set, stream);
        return true;
    }
    return false;
}

void kith__stream_set_copy_out(const struct kith_stream_chunk *chunk, uint8_t *dst)
{
    kith__outbuf_copy_out(&chunk->stream->out, chunk->offset, chunk->size, dst);
}

int kith__stream_set_on_stream_acked(struct kith_stream_set *set, uint64_t id, uint64_t offset, uint64_t size, bool fin)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);
    uint64_t freed;
    int err;

    if (stream == NULL)
        return 0;
    if ((err = kith__stream_on_data_acked(stream, offset, size, fin, &freed)) != 0)
        return err;
    KITH_ASSERT(freed <= set->send_held);
    set->send_held -= freed;
    kith__stream_set_touch(set, stream);
    if (freed != 0)
        kith__stream_set_wake_writers(set);
    return 0;
}

int kith__stream_set_on_stream_lost(struct kith_stream_set *set, uint64_t id, uint64_t offset, uint64_t size, bool fin)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);
    int err;

    if (stream == NULL)
        return 0;
    if ((err = kith__stream_on_data_lost(stream, offset, size, fin)) != 0)
        return err;
    kith__stream_set_touch(set, stream);
    return 0;
}
