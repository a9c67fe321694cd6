/* Frames of extensions: datagrams (RFC 9221), ACK frequency, NAT traversal, address discovery (spec/01, 1.9, 5.2, 6). */
#include "quic/wire/frame_parts.h"

int kith__frame_decode_datagram(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    (void)reason;
    frame->datagram.has_length = (frame->type & 1) != 0;
    return frame->datagram.has_length ? kith__read_varint_slice(r, &frame->datagram.data)
                                      : kith__read_slice(r, kith__reader_left(r), &frame->datagram.data);
}

void kith__frame_encode_datagram(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, KITH_FRAME_DATAGRAM | (frame->datagram.has_length ? 1 : 0));
    if (frame->datagram.has_length)
        kith__frame_put(&parts->head, frame->datagram.data.size);
    parts->body = frame->datagram.data;
}

int kith__frame_decode_ack_frequency(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    int err;

    (void)reason;
    if ((err = kith__read_varint(r, &frame->ack_frequency.sequence)) != 0 ||
        (err = kith__read_varint(r, &frame->ack_frequency.ack_eliciting_threshold)) != 0 ||
        (err = kith__read_varint(r, &frame->ack_frequency.request_max_ack_delay_us)) != 0)
        return err;
    return kith__read_varint(r, &frame->ack_frequency.reordering_threshold);
}

void kith__frame_encode_ack_frequency(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->ack_frequency.sequence);
    kith__frame_put(&parts->head, frame->ack_frequency.ack_eliciting_threshold);
    kith__frame_put(&parts->head, frame->ack_frequency.request_max_ack_delay_us);
    kith__frame_put(&parts->head, frame->ack_frequency.reordering_threshold);
}

/* Peers with a dual-stack socket may send IPv4 in its mapped form (spec/01, 6): we know only one form of an address. */
static void canonicalise(struct kith_sockaddr *addr)
{
    static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
    uint8_t ip[4];

    if (memcmp(addr->ip, mapped, sizeof mapped) != 0)
        return;
    memcpy(ip, addr->ip + 12, 4);
    memset(addr->ip, 0, sizeof addr->ip);
    memcpy(addr->ip, ip, 4);
    addr->family = KITH_FAMILY_V4;
}

/* The lowest bit of the type tells the address family, in all three kinds. */
int kith__frame_decode_address(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    bool is_v6 = (frame->type & 1) != 0;
    struct kith_sockaddr addr = { .family = is_v6 ? KITH_FAMILY_V6 : KITH_FAMILY_V4 };
    int err;

    (void)reason;
    if ((err = kith__read_varint(r, &frame->address.sequence)) != 0 ||
        (err = kith__read_bytes(r, addr.ip, is_v6 ? 16 : 4)) != 0 || (err = kith__read_u16(r, &addr.port)) != 0)
        return err;
    if (is_v6)
        canonicalise(&addr);
    frame->address.address = addr;
    return 0;
}

void kith__frame_encode_address(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    const struct kith_sockaddr *addr = &frame->address.address;
    bool is_v6 = addr->family == KITH_FAMILY_V6;
    int err;

    KITH_ASSERT(is_v6 || addr->family == KITH_FAMILY_V4);
    kith__frame_put(&parts->head, (frame->type & ~UINT64_C(1)) | (is_v6 ? 1 : 0));
    kith__frame_put(&parts->head, frame->address.sequence);
    kith__frame_put_bytes(&parts->head, addr->ip, is_v6 ? 16 : 4);
    err = kith__write_u16(&parts->head, addr->port);
    KITH_ASSERT(err == 0);
}

int kith__frame_decode_remove_address(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    (void)reason;
    return kith__read_varint(r, &frame->remove_address.sequence);
}

void kith__frame_encode_remove_address(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    kith__frame_put(&parts->head, frame->type);
    kith__frame_put(&parts->head, frame->remove_address.sequence);
}
