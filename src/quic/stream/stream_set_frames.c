/* What the peer says about streams. */
#include "quic/stream/stream_set_inner.h"
#include "quic/wire/codes.h"

/** Opens all streams of the peer up to this one (RFC 9000, 2.1). */
static int open_up_to(struct kith_stream_set *set, uint64_t id)
{
    int kind = kith__stream_kind(id);
    struct kith_stream_kind *opened = &set->theirs_opened[kind];

    if (kith__stream_index(id) >= set->open_credit[kind].announced)
        return KITH_WIRE_STREAM_LIMIT_ERROR;
    while (opened->opened <= kith__stream_index(id)) {
        struct kith_stream *stream;
        int err = kith__stream_set_create(set, opened->opened << 2 | (id & 3), &stream);

        if (err != 0)
            return err;
        stream->flags |= KITH_STREAM_FLAG_OPENED;
        kith__stream_set_touch(set, stream);
    }
    return 0;
}

/**
 * The stream of a frame that is about our receiving half (or the sending one). *stream is NULL if it is gone: the frame is
 * counted as ignored.
 */
static int resolve(struct kith_stream_set *set, uint64_t id, bool is_for_receiving, struct kith_stream **stream)
{
    bool is_ours = kith__stream_is_ours(set, id);
    int err;

    if (!kith__stream_id_is_bidi(id) && is_ours == is_for_receiving)
        return KITH_WIRE_STREAM_STATE_ERROR;
    if (is_ours && kith__stream_index(id) >= set->ours_opened[kith__stream_kind(id)].opened)
        return KITH_WIRE_STREAM_STATE_ERROR;
    if (!is_ours && kith__stream_index(id) >= set->theirs_opened[kith__stream_kind(id)].opened &&
        (err = open_up_to(set, id)) != 0)
        return err;
    *stream = kith__stream_set_find(set, id);
    if (*stream == NULL)
        set->frames_ignored++;
    return 0;
}

/** The highest offset of a stream grew. */
static void count_received(struct kith_stream_set *set, uint64_t grown)
{
    set->received += grown;
    KITH_ASSERT(set->received <= set->receive_credit.announced);
}

int kith__stream_set_on_stream(struct kith_stream_set *set, uint64_t id, uint64_t offset, struct kith_slice bytes,
                               bool fin)
{
    struct kith_stream *stream;
    uint64_t grown;
    int err;

    if (offset > KITH_VARINT_MAX || bytes.size > KITH_VARINT_MAX - offset)
        return KITH_WIRE_FRAME_ENCODING_ERROR;
    if ((err = resolve(set, id, true, &stream)) != 0 || stream == NULL)
        return err;
    err = kith__stream_on_data(stream, offset, bytes.ptr, bytes.size, fin,
                               set->receive_credit.announced - set->received, &grown);
    if (err != 0)
        return err;
    count_received(set, grown);
    set->bytes_received += grown;
    kith__stream_set_touch(set, stream);
    return 0;
}

int kith__stream_set_on_reset_stream(struct kith_stream_set *set, uint64_t id, uint64_t code, uint64_t final_size)
{
    struct kith_stream *stream;
    uint64_t grown;
    int err;

    if (final_size > KITH_VARINT_MAX)
        return KITH_WIRE_FRAME_ENCODING_ERROR;
    if ((err = resolve(set, id, true, &stream)) != 0 || stream == NULL)
        return err;
    err = kith__stream_on_reset(stream, code, final_size, set->receive_credit.announced - set->received, &grown);
    if (err != 0)
        return err;
    count_received(set, grown);
    kith__stream_set_touch(set, stream);
    return 0;
}

int kith__stream_set_on_stop_sending(struct kith_stream_set *set, uint64_t id, uint64_t code)
{
    struct kith_stream *stream;
    uint64_t before;
    int err;

    if ((err = resolve(set, id, false, &stream)) != 0 || stream == NULL)
        return err;
    before = kith__outbuf_held(&stream->out);
    kith__stream_on_stop(stream, code);
    kith__stream_set_on_held(set, stream, before);
    kith__stream_set_touch(set, stream);
    kith__stream_set_wake_writers(set);
    return 0;
}

int kith__stream_set_on_max_stream_data(struct kith_stream_set *set, uint64_t id, uint64_t max)
{
    struct kith_stream *stream;
    int err;

    if ((err = resolve(set, id, false, &stream)) != 0 || stream == NULL)
        return err;
    kith__stream_on_max_data(stream, max);
    kith__stream_set_touch(set, stream);
    return 0;
}

int kith__stream_set_on_stream_data_blocked(struct kith_stream_set *set, uint64_t id, uint64_t max)
{
    struct kith_stream *stream;

    (void)max; /* credit goes out when the user has read; the peer's wish does not change that */
    return resolve(set, id, true, &stream);
}

void kith__stream_set_on_max_data(struct kith_stream_set *set, uint64_t max)
{
    if (!kith__limit_raise(&set->send_limit, max))
        return;
    KITH_LIST_EACH_SAFE(node, after, &set->parked)
    kith__stream_set_touch(set, KITH_CONTAINER(node, struct kith_stream, parked_node));
}

int kith__stream_set_on_streams_blocked(struct kith_stream_set *set, bool bidi, uint64_t max)
{
    (void)set;
    (void)bidi;
    return max > KITH_STREAM_COUNT_MAX ? KITH_WIRE_FRAME_ENCODING_ERROR : 0;
}
