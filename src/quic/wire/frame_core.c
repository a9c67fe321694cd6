/* Frames of RFC 9000, section 19, but acknowledgements; with their sisters that carry a path id. */
#include "quic/wire/frame_parts.h"

#define STREAMS_MAX (UINT64_C(1) << 60)

int kith__frame_decode_padding(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    const uint8_t *begin = r->at;

    (void)reason;
    while (r->at != r->end && *r->at == 0)
        r->at++;
    frame->padding.size = 1 + (size_t)(r->at - begin);
    return 0;
}

int kith__frame_decode_nothing(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    (void)r;
    (void)frame;
    (void)reason;
    return 0;
}

void kith__frame_encode_nothing(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
}

int kith__frame_decode_reset_stream(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err;

    (void)reason;
    if ((err = kith__read_varint(r, &frame->reset_stream.id)) != 0 ||
        (err = kith__read_varint(r, &frame->reset_stream.code)) != 0)
        return err;
    return kith__read_varint(r, &frame->reset_stream.final_size);
}

void kith__frame_encode_reset_stream(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->reset_stream.id);
    kith__frame_put(&parts->head, frame->reset_stream.code);
    kith__frame_put(&parts->head, frame->reset_stream.final_size);
}

int kith__frame_decode_stop_sending(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err = kith__read_varint(r, &frame->stop_sending.id);

    (void)reason;
    return err != 0 ? err : kith__read_varint(r, &frame->stop_sending.code);
}

void kith__frame_encode_stop_sending(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->stop_sending.id);
    kith__frame_put(&parts->head, frame->stop_sending.code);
}

int kith__frame_decode_crypto(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err;

    if ((err = kith__read_varint(r, &frame->crypto.offset)) != 0 ||
        (err = kith__read_varint_slice(r, &frame->crypto.data)) != 0)
        return err;
    *reason = "CRYPTO beyond 2^62-1";
    return frame->crypto.data.size > KITH_VARINT_MAX - frame->crypto.offset ? KITH_ERR_PARSE : 0;
}

void kith__frame_encode_crypto(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    int err = kith__crypto_write_header(&parts->head, frame->crypto.offset, frame->crypto.data.size);

    KITH_ASSERT(err == 0);
    parts->body = frame->crypto.data;
}

int kith__frame_decode_new_token(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err = kith__read_varint_slice(r, &frame->new_token.token);

    if (err != 0)
        return err;
    *reason = "empty token";
    return frame->new_token.token.size == 0 ? KITH_ERR_PARSE : 0;
}

void kith__frame_encode_new_token(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->new_token.token.size);
    parts->body = frame->new_token.token;
}

int kith__frame_decode_stream(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    struct kith_frame_stream *stream = &frame->stream;
    int err = kith__read_varint(r, &stream->id);

    stream->offset = 0;
    stream->fin = (frame->type & 1) != 0;
    stream->has_length = (frame->type & 2) != 0;
    if (err == 0 && (frame->type & 4) != 0)
        err = kith__read_varint(r, &stream->offset);
    if (err == 0)
        err = stream->has_length ? kith__read_varint_slice(r, &stream->data)
                                 : kith__read_slice(r, kith__reader_left(r), &stream->data);
    if (err != 0)
        return err;
    *reason = "STREAM beyond 2^62-1";
    return stream->data.size > KITH_VARINT_MAX - stream->offset ? KITH_ERR_PARSE : 0;
}

void kith__frame_encode_stream(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    const struct kith_frame_stream *stream = &frame->stream;
    int err = kith__stream_write_header(&parts->head, stream->id, stream->offset, stream->data.size, stream->fin,
                                        stream->has_length);

    KITH_ASSERT(err == 0);
    parts->body = stream->data;
}

bool kith__stream_plan(size_t room, uint64_t id, uint64_t offset, size_t want, struct kith_stream_plan *out)
{
    size_t bare = kith__stream_header_size(id, offset, 0, false);
    size_t left, size;

    if (room <= bare)
        return false;
    left = room - bare;
    if (want >= left) {
        *out = (struct kith_stream_plan) { .size = left };
        return true;
    }
    /* Not enough data to fill the room: a Length is needed. It may push out a few bytes; they come with the next frame. */
    size = want;
    if (size + kith__varint_size(size) > left)
        size = left - kith__varint_size(left);
    *out = (struct kith_stream_plan) { .size = size, .has_length = true };
    return size != 0 || want == 0;
}

size_t kith__crypto_plan(size_t room, uint64_t offset, size_t want)
{
    size_t bare = 1 + kith__varint_size(offset), left, size;

    if (room <= bare + 1)
        return 0;
    left = room - bare;
    size = KITH_MIN(want, left);
    if (size + kith__varint_size(size) > left)
        size = left - kith__varint_size(left);
    return size;
}

int kith__frame_decode_max_data(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    (void)reason;
    return kith__read_varint(r, &frame->max_data.max);
}

void kith__frame_encode_max_data(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->max_data.max);
}

int kith__frame_decode_max_stream_data(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err = kith__read_varint(r, &frame->max_stream_data.id);

    (void)reason;
    return err != 0 ? err : kith__read_varint(r, &frame->max_stream_data.max);
}

void kith__frame_encode_max_stream_data(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->max_stream_data.id);
    kith__frame_put(&parts->head, frame->max_stream_data.max);
}

int kith__frame_decode_max_streams(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err = kith__read_varint(r, &frame->max_streams.max);

    frame->max_streams.bidi = (frame->type & 1) == 0;
    if (err != 0)
        return err;
    *reason = "more than 2^60 streams";
    return frame->max_streams.max > STREAMS_MAX ? KITH_ERR_PARSE : 0;
}

void kith__frame_encode_max_streams(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    KITH_ASSERT(frame->max_streams.max <= STREAMS_MAX);
    kith__frame_put(&parts->head, (frame->type & ~UINT64_C(1)) | (frame->max_streams.bidi ? 0 : 1));
    kith__frame_put(&parts->head, frame->max_streams.max);
}

int kith__frame_decode_new_cid(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    struct kith_frame_new_cid *new_cid = &frame->new_cid;
    struct kith_slice cid;
    uint8_t size = 0;
    int err;

    if ((err = kith__frame_read_path_if(r, frame->info->kind == KITH_KIND_PATH_NEW_CONNECTION_ID, &new_cid->path)) !=
            0 ||
        (err = kith__read_varint(r, &new_cid->sequence)) != 0 ||
        (err = kith__read_varint(r, &new_cid->retire_prior_to)) != 0 || (err = kith__read_u8(r, &size)) != 0)
        return err;
    if (size == 0 || size > KITH_CID_SIZE_MAX) {
        *reason = "invalid connection ID length";
        return KITH_ERR_PARSE;
    }
    if ((err = kith__read_slice(r, size, &cid)) != 0)
        return err;
    new_cid->cid = kith__cid(cid.ptr, cid.size);
    return kith__read_bytes(r, new_cid->reset_token, sizeof new_cid->reset_token);
}

void kith__frame_encode_new_cid(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    const struct kith_frame_new_cid *new_cid = &frame->new_cid;

    KITH_ASSERT(new_cid->cid.size >= 1 && new_cid->cid.size <= KITH_CID_SIZE_MAX);
    kith__frame_put(&parts->head, frame->type);
    if (frame->type == KITH_FRAME_PATH_NEW_CONNECTION_ID)
        kith__frame_put(&parts->head, new_cid->path);
    kith__frame_put(&parts->head, new_cid->sequence);
    kith__frame_put(&parts->head, new_cid->retire_prior_to);
    kith__frame_put_bytes(&parts->head, &new_cid->cid.size, 1);
    kith__frame_put_bytes(&parts->head, new_cid->cid.bytes, new_cid->cid.size);
    kith__frame_put_bytes(&parts->head, new_cid->reset_token, sizeof new_cid->reset_token);
}

int kith__frame_decode_retire_cid(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    bool has_path = frame->info->kind == KITH_KIND_PATH_RETIRE_CONNECTION_ID;
    int err = kith__frame_read_path_if(r, has_path, &frame->retire_cid.path);

    (void)reason;
    return err != 0 ? err : kith__read_varint(r, &frame->retire_cid.sequence);
}

void kith__frame_encode_retire_cid(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    if (frame->type == KITH_FRAME_PATH_RETIRE_CONNECTION_ID)
        kith__frame_put(&parts->head, frame->retire_cid.path);
    kith__frame_put(&parts->head, frame->retire_cid.sequence);
}

int kith__frame_decode_path_data(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    (void)reason;
    return kith__read_bytes(r, frame->path_challenge.data, sizeof frame->path_challenge.data);
}

void kith__frame_encode_path_data(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put_bytes(&parts->head, frame->path_challenge.data, sizeof frame->path_challenge.data);
}

int kith__frame_decode_close(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err = kith__read_varint(r, &frame->close.code);

    (void)reason;
    frame->close.frame_type = 0;
    if (err == 0 && frame->type == KITH_FRAME_CONNECTION_CLOSE)
        err = kith__read_varint(r, &frame->close.frame_type);
    return err != 0 ? err : kith__read_varint_slice(r, &frame->close.reason);
}

void kith__frame_encode_close(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->close.code);
    if (frame->type == KITH_FRAME_CONNECTION_CLOSE)
        kith__frame_put(&parts->head, frame->close.frame_type);
    kith__frame_put(&parts->head, frame->close.reason.size);
    parts->body = frame->close.reason;
}
