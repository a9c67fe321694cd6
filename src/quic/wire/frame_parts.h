/** Between the files of the frame codec only: one decoder and one encoder for each kind. Everybody else: frame.h. */
#ifndef KITH_QUIC_WIRE_FRAME_PARTS_H
#define KITH_QUIC_WIRE_FRAME_PARTS_H

#include "quic/wire/frame.h"

enum { KITH_FRAME_HEAD_MAX = 80, KITH_FRAME_FOOT_MAX = 24 };

/** A frame on its way to the wire: fields, then bytes that somebody else owns, then (ACK only) fields again. */
struct kith_frame_parts {
    struct kith_writer head, foot; /* into the arrays below */
    struct kith_slice body;
    uint8_t head_bytes[KITH_FRAME_HEAD_MAX];
    uint8_t foot_bytes[KITH_FRAME_FOOT_MAX];
};

/**
 * Reads the fields after the type; frame->type and frame->info are set. Returns 0 or an error of the reader or
 * KITH_ERR_PARSE: all mean FRAME_ENCODING_ERROR; *reason is "malformed frame" unless the decoder knows better.
 */
typedef int kith__frame_decoder(struct kith_reader *r, struct kith_frame *frame, const char **reason);

/** Writes type and fields. The arrays are large enough for any kind: asserted by kith__frame_put. */
typedef void kith__frame_encoder(const struct kith_frame *frame, struct kith_frame_parts *parts);

/** Appends a varint that is known to fit. */
static inline void kith__frame_put(struct kith_writer *w, uint64_t value)
{
    int err = kith__write_varint(w, value);

    KITH_ASSERT(err == 0);
}
static inline void kith__frame_put_bytes(struct kith_writer *w, const void *bytes, size_t size)
{
    int err = kith__write_bytes(w, bytes, size);

    KITH_ASSERT(err == 0);
}

/** A path id: at most 2^32-1 (spec/01, 4.2). */
static inline int kith__frame_read_path(struct kith_reader *r, uint32_t *out)
{
    uint64_t value = 0;
    int err = kith__read_varint(r, &value);

    if (err != 0)
        return err;
    if (value > UINT32_MAX)
        return KITH_ERR_PARSE;
    *out = (uint32_t)value;
    return 0;
}

/** Path id, if this type has one, else 0: for types that share a member of the union with their plain sister. */
static inline int kith__frame_read_path_if(struct kith_reader *r, bool has_path, uint32_t *out)
{
    *out = 0;
    return has_path ? kith__frame_read_path(r, out) : 0;
}

/* frame_core.c */
kith__frame_decoder kith__frame_decode_padding, kith__frame_decode_nothing, kith__frame_decode_reset_stream,
    kith__frame_decode_stop_sending, kith__frame_decode_crypto, kith__frame_decode_new_token, kith__frame_decode_stream,
    kith__frame_decode_max_data, kith__frame_decode_max_stream_data, kith__frame_decode_max_streams,
    kith__frame_decode_new_cid, kith__frame_decode_retire_cid, kith__frame_decode_path_data, kith__frame_decode_close;
kith__frame_encoder kith__frame_encode_nothing, kith__frame_encode_reset_stream, kith__frame_encode_stop_sending,
    kith__frame_encode_crypto, kith__frame_encode_new_token, kith__frame_encode_stream, kith__frame_encode_max_data,
    kith__frame_encode_max_stream_data, kith__frame_encode_max_streams, kith__frame_encode_new_cid,
    kith__frame_encode_retire_cid, kith__frame_encode_path_data, kith__frame_encode_close;

/* frame_ack.c */
kith__frame_decoder kith__frame_decode_ack;
kith__frame_encoder kith__frame_encode_ack;

/* frame_ext.c */
kith__frame_decoder kith__frame_decode_datagram, kith__frame_decode_ack_frequency, kith__frame_decode_address,
    kith__frame_decode_remove_address;
kith__frame_encoder kith__frame_encode_datagram, kith__frame_encode_ack_frequency, kith__frame_encode_address,
    kith__frame_encode_remove_address;

/* frame_mp.c */
kith__frame_decoder kith__frame_decode_path_abandon, kith__frame_decode_path_status, kith__frame_decode_max_path_id,
    kith__frame_decode_path_cids_blocked;
kith__frame_encoder kith__frame_encode_path_abandon, kith__frame_encode_path_status, kith__frame_encode_max_path_id,
    kith__frame_encode_path_cids_blocked;

#endif
