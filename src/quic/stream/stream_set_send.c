/* What goes out, and what became of it. */
#include "quic/stream/stream_set_inner.h"

/* Types of control frames on the wire: RFC 9000, 19. */
enum {
    TYPE_RESET_STREAM = 0x04,
    TYPE_STOP_SENDING = 0x05,
    TYPE_MAX_DATA = 0x10,
    TYPE_MAX_STREAM_DATA = 0x11,
    TYPE_MAX_STREAMS = 0x12, /* + 1: unidirectional */
    TYPE_DATA_BLOCKED = 0x14,
    TYPE_STREAM_DATA_BLOCKED = 0x15,
    TYPE_STREAMS_BLOCKED = 0x16 /* + 1: unidirectional */
};

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
        out->type = TYPE_MAX_DATA;
        out->value = kith__credit_announce(&set->receive_credit);
        return true;
    }
    if (set->send_limit.blocked_due) {
        out->type = TYPE_DATA_BLOCKED;
        out->value = kith__limit_tell_blocked(&set->send_limit);
        return true;
    }
    for (uint8_t kind = 0; kind < 2; kind++) {
        if (kith__credit_is_due(&set->open_credit[kind])) {
            out->type = TYPE_MAX_STREAMS + kind;
            out->value = KITH_MIN(kith__credit_announce(&set->open_credit[kind]), KITH_STREAM_COUNT_MAX);
            return true;
        }
        if (set->open_limit[kind].blocked_due) {
            out->type = TYPE_STREAMS_BLOCKED + kind;
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
        out->type = TYPE_RESET_STREAM;
        out->value = stream->out.sent;
        out->code = stream->reset_code;
    } else if (stream->intents & KITH_INTENT_STOP) {
        stream->intents &= (uint8_t)~KITH_INTENT_STOP;
        out->type = TYPE_STOP_SENDING;
        out->code = stream->stop_code;
    } else if (stream->intents & KITH_INTENT_MAX_DATA) {
        stream->intents &= (uint8_t)~KITH_INTENT_MAX_DATA;
        out->type = TYPE_MAX_STREAM_DATA;
        out->value = kith__credit_announce(&stream->receive_credit);
    } else {
        KITH_ASSERT(stream->intents & KITH_INTENT_BLOCKED);
        stream->intents &= (uint8_t)~KITH_INTENT_BLOCKED;
        out->type = TYPE_STREAM_DATA_BLOCKED;
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

    if (control->type != TYPE_RESET_STREAM || (stream = kith__stream_set_find(set, control->id)) == NULL)
        return;
    kith__stream_on_reset_acked(stream);
    kith__stream_set_touch(set, stream);
}

static void on_stream_control_lost(struct kith_stream *stream, const struct kith_stream_control *control)
{
    switch (control->type) {
    case TYPE_RESET_STREAM:
        kith__stream_on_reset_lost(stream);
        break;
    case TYPE_STOP_SENDING:
        kith__stream_on_stop_lost(stream);
        break;
    case TYPE_MAX_STREAM_DATA:
        kith__stream_on_max_data_lost(stream, control->value);
        break;
    case TYPE_STREAM_DATA_BLOCKED:
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
    case TYPE_MAX_DATA:
        kith__credit_on_lost(&set->receive_credit, control->value);
        break;
    case TYPE_DATA_BLOCKED:
        kith__limit_on_blocked_lost(&set->send_limit, control->value);
        break;
    case TYPE_MAX_STREAMS:
    case TYPE_MAX_STREAMS + 1:
        kith__credit_on_lost(&set->open_credit[control->type - TYPE_MAX_STREAMS], control->value);
        break;
    case TYPE_STREAMS_BLOCKED:
    case TYPE_STREAMS_BLOCKED + 1:
        kith__limit_on_blocked_lost(&set->open_limit[control->type - TYPE_STREAMS_BLOCKED], control->value);
        break;
    default:
        if ((stream = kith__stream_set_find(set, control->id)) == NULL)
            break;
        on_stream_control_lost(stream, control);
        kith__stream_set_touch(set, stream);
    }
}

/**
 * How many bytes of the chunk fit into `room` with the frame's header, and whether a length field is needed. False: too few.
 * Source: spec/01, 1.11 (length unless the frame fills the packet, no offset when it is 0).
 */
static bool fit(uint64_t id, const struct kith_outbuf_chunk *chunk, size_t room, struct kith_stream_chunk *out)
{
    size_t header = 1 + kith__varint_size(id) + (chunk->offset != 0 ? kith__varint_size(chunk->offset) : 0);
    size_t left, length;

    if (room < header)
        return false;
    left = room - header;
    if (chunk->size >= left) {
        out->size = left;
        out->has_length = false;
        return chunk->size == left || left >= PIECE_SIZE_MIN;
    }
    length = kith__varint_size(chunk->size);
    out->has_length = true;
    out->size = chunk->size;
    if (chunk->size + length <= left)
        return true;
    out->size = left > length ? left - length : 0; /* the length field takes the place of the last bytes */
    return out->size >= PIECE_SIZE_MIN;
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
