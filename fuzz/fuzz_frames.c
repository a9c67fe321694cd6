/*
 * The payload of a packet: the first byte chooses the type of packet, the rest are frames. A frame that is taken is written
 * back, read again and written once more: both writings must be equal, and of the size that was promised.
 */
#include "quic/wire/frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void walk_ranges(const struct kith_frame_ack *ack)
{
    struct kith_ack_walk walk;
    struct kith_range range = kith__ack_first(ack, &walk), below;

    KITH_ASSERT(range.begin < range.end && range.end == ack->largest + 1);
    while (kith__ack_next(&walk, &below)) {
        KITH_ASSERT(below.begin < below.end && below.end < range.begin);
        range = below;
    }
    KITH_ASSERT(kith__reader_left(&walk.rest) == 0);
}

static void write_twice(const struct kith_frame *frame, enum kith_packet_type packet)
{
    size_t size = kith__frame_size(frame);
    uint8_t *first = malloc(size), *second = malloc(size);
    struct kith_writer w = kith__writer(first, size);
    struct kith_reader r = kith__reader(first, size);
    struct kith_frame_error error;
    struct kith_frame back;

    KITH_ASSERT(first != NULL && second != NULL && size > 0);
    KITH_ASSERT(kith__frame_write(&w, frame) == 0 && kith__writer_left(&w) == 0);
    KITH_ASSERT(kith__frame_decode(&r, packet, &back, &error) == 0 && kith__reader_left(&r) == 0);
    KITH_ASSERT(back.info->kind == frame->info->kind && kith__frame_size(&back) == size);
    w = kith__writer(second, size);
    KITH_ASSERT(kith__frame_write(&w, &back) == 0 && memcmp(first, second, size) == 0);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const enum kith_packet_type types[] = { KITH_PACKET_ONE_RTT, KITH_PACKET_INITIAL, KITH_PACKET_HANDSHAKE,
                                                   KITH_PACKET_ZERO_RTT };
    struct kith_reader r = kith__reader(bytes + (size != 0), size != 0 ? size - 1 : 0);
    enum kith_packet_type packet = types[size != 0 ? bytes[0] % 4 : 0];

    while (kith__reader_left(&r) != 0) {
        const uint8_t *before = r.at;
        struct kith_frame_error error = { 0 };
        struct kith_frame frame;
        int code = kith__frame_decode(&r, packet, &frame, &error);

        if (code != 0) {
            KITH_ASSERT(code == KITH_WIRE_FRAME_ENCODING_ERROR || code == KITH_WIRE_PROTOCOL_VIOLATION);
            KITH_ASSERT(error.reason != NULL && r.at == before);
            return 0;
        }
        KITH_ASSERT(r.at > before && kith__frame_is_legal(frame.info, packet));
        if (frame.info->kind == KITH_KIND_ACK || frame.info->kind == KITH_KIND_PATH_ACK)
            walk_ranges(&frame.ack);
        write_twice(&frame, packet);
    }
    return 0;
}
