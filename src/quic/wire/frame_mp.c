/* Frames of multipath that have no sister in RFC 9000 (spec/01, 4.2). */
#include "quic/wire/frame_parts.h"

int kith__frame_decode_path_abandon(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err = kith__frame_read_path(r, &frame->path_abandon.path);

    (void)reason;
    return err != 0 ? err : kith__read_varint(r, &frame->path_abandon.code);
}

void kith__frame_encode_path_abandon(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->path_abandon.path);
    kith__frame_put(&parts->head, frame->path_abandon.code);
}

int kith__frame_decode_path_status(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err = kith__frame_read_path(r, &frame->path_status.path);

    (void)reason;
    frame->path_status.available = frame->type == KITH_FRAME_PATH_STATUS_AVAILABLE;
    return err != 0 ? err : kith__read_varint(r, &frame->path_status.sequence);
}

void kith__frame_encode_path_status(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head,
                    frame->path_status.available ? KITH_FRAME_PATH_STATUS_AVAILABLE : KITH_FRAME_PATH_STATUS_BACKUP);
    kith__frame_put(&parts->head, frame->path_status.path);
    kith__frame_put(&parts->head, frame->path_status.sequence);
}

int kith__frame_decode_max_path_id(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    (void)reason;
    return kith__frame_read_path(r, &frame->max_path_id.max);
}

void kith__frame_encode_max_path_id(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->max_path_id.max);
}

int kith__frame_decode_path_cids_blocked(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err = kith__frame_read_path(r, &frame->path_cids_blocked.path);

    (void)reason;
    return err != 0 ? err : kith__read_varint(r, &frame->path_cids_blocked.next_sequence);
}

void kith__frame_encode_path_cids_blocked(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->path_cids_blocked.path);
    kith__frame_put(&parts->head, frame->path_cids_blocked.next_sequence);
}
