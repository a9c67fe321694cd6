/* Packet headers: see packet.h. */
#include "quic/wire/packet.h"

enum { LONG_TYPE_SHIFT = 4, RETRY_TAG_SIZE = 16 };

/* Version and both ids: what every version of QUIC has (RFC 8999, 5.1). */
static int read_invariants(struct kith_reader *r, struct kith_packet *packet)
{
    uint8_t size = 0;
    int err;

    if ((err = kith__read_u32(r, &packet->version)) != 0 || (err = kith__read_u8(r, &size)) != 0 ||
        (err = kith__read_slice(r, size, &packet->dcid)) != 0 || (err = kith__read_u8(r, &size)) != 0)
        return err;
    return kith__read_slice(r, size, &packet->scid);
}

static int read_version_negotiation(struct kith_reader *r, struct kith_packet *packet)
{
    size_t left = kith__reader_left(r);

    packet->type = KITH_PACKET_VERSION_NEGOTIATION;
    if (left == 0 || left % 4 != 0)
        return KITH_ERR_PARSE;
    return kith__read_slice(r, left, &packet->versions);
}

static int read_retry(struct kith_reader *r, struct kith_packet *packet)
{
    if (kith__reader_left(r) <=
        RETRY_TAG_SIZE) /* a Retry without token is useless, and to be dropped: RFC 9000, 17.2.5.2 */
        return KITH_ERR_TRUNCATED;
    kith__read_slice(r, kith__reader_left(r) - RETRY_TAG_SIZE, &packet->token);
    return kith__read_slice(r, RETRY_TAG_SIZE, &packet->tag);
}

static int read_long(const uint8_t *bytes, size_t size, struct kith_packet *packet)
{
    struct kith_reader r = kith__reader(bytes + 1, size - 1);
    uint64_t length = 0;
    int err = read_invariants(&r, packet);

    if (err != 0)
        return err;
    packet->size = size;
    if (packet->version == 0)
        return read_version_negotiation(&r, packet);
    if (packet->version != KITH_QUIC_VERSION_1) {
        packet->type = KITH_PACKET_OTHER_VERSION;
        return 0;
    }
    if (packet->dcid.size > KITH_CID_SIZE_MAX || packet->scid.size > KITH_CID_SIZE_MAX)
        return KITH_ERR_PARSE;
    packet->type = packet->first >> LONG_TYPE_SHIFT & 3;
    if (packet->type == KITH_PACKET_RETRY)
        return read_retry(&r, packet);
    if (packet->type == KITH_PACKET_INITIAL && (err = kith__read_varint_slice(&r, &packet->token)) != 0)
        return err;
    if ((err = kith__read_varint(&r, &length)) != 0)
        return err;
    if (length > kith__reader_left(&r))
        return KITH_ERR_TRUNCATED;
    packet->pn_offset = (size_t)(r.at - bytes);
    packet->size = packet->pn_offset + (size_t)length;
    return 0;
}

static int read_short(const uint8_t *bytes, size_t size, size_t cid_size, struct kith_packet *packet)
{
    struct kith_reader r = kith__reader(bytes + 1, size - 1);

    packet->type = KITH_PACKET_ONE_RTT;
    packet->pn_offset = 1 + cid_size;
    packet->size = size;
    return kith__read_slice(&r, cid_size, &packet->dcid);
}

int kith__packet_parse(const uint8_t *bytes, size_t size, size_t cid_size, struct kith_packet *out)
{
    struct kith_packet packet = { 0 };
    int err;

    if (size == 0)
        return KITH_ERR_TRUNCATED;
    packet.first = bytes[0];
    packet.fixed_bit = (bytes[0] & KITH_PACKET_FIXED) != 0;
    err = kith__packet_is_long(bytes[0]) ? read_long(bytes, size, &packet) : read_short(bytes, size, cid_size, &packet);
    if (err == 0)
        *out = packet;
    return err;
}

size_t kith__packet_header_size(const struct kith_packet_header *header)
{
    size_t size = 1 + (size_t)header->dcid.size + header->pn_size;

    if (header->type == KITH_PACKET_ONE_RTT)
        return size;
    if (header->type == KITH_PACKET_INITIAL)
        size += kith__varint_size(header->token.size) + header->token.size;
    return size + 4 + 1 + 1 + header->scid.size + KITH_PACKET_LENGTH_SIZE;
}

static uint8_t first_byte(const struct kith_packet_header *header)
{
    uint8_t first = (uint8_t)((header->clear_fixed_bit ? 0 : KITH_PACKET_FIXED) | (header->pn_size - 1));

    if (header->type == KITH_PACKET_ONE_RTT)
        return (uint8_t)(first | (header->spin ? KITH_PACKET_SPIN : 0));
    return (uint8_t)(first | KITH_PACKET_LONG | header->type << LONG_TYPE_SHIFT);
}

/* The size was checked: the single writes cannot fail. */
static void write_long_fields(struct kith_writer *w, const struct kith_packet_header *header)
{
    int err = kith__write_u32(w, KITH_QUIC_VERSION_1);

    err |= kith__write_u8(w, header->dcid.size);
    err |= kith__write_bytes(w, header->dcid.bytes, header->dcid.size);
    err |= kith__write_u8(w, header->scid.size);
    err |= kith__write_bytes(w, header->scid.bytes, header->scid.size);
    if (header->type == KITH_PACKET_INITIAL)
        err |= kith__write_varint_slice(w, header->token);
    KITH_ASSERT(err == 0);
}

int kith__packet_write_header(struct kith_writer *w, const struct kith_packet_header *header,
                              struct kith_packet_marks *marks)
{
    uint8_t *begin = w->at;

    KITH_ASSERT(header->pn_size >= 1 && header->pn_size <= KITH_PACKET_PN_SIZE_MAX);
    KITH_ASSERT(header->type <= KITH_PACKET_HANDSHAKE || header->type == KITH_PACKET_ONE_RTT);
    if (kith__writer_left(w) < kith__packet_header_size(header))
        return KITH_ERR_TOO_LARGE;
    *w->at++ = first_byte(header);
    marks->length_offset = 0;
    if (header->type == KITH_PACKET_ONE_RTT) {
        memcpy(w->at, header->dcid.bytes, header->dcid.size);
        w->at += header->dcid.size;
    } else {
        write_long_fields(w, header);
        marks->length_offset = (uint16_t)(w->at - begin);
        w->at += KITH_PACKET_LENGTH_SIZE;
    }
    marks->pn_offset = (uint16_t)(w->at - begin);
    kith__pn_write(w->at, header->pn, header->pn_size);
    w->at += header->pn_size;
    marks->payload_offset = (uint16_t)(w->at - begin);
    return 0;
}

void kith__packet_set_length(uint8_t *packet, const struct kith_packet_marks *marks, size_t length)
{
    KITH_ASSERT(marks->length_offset != 0 && length <= KITH_PACKET_LENGTH_MAX);
    kith__varint_encode_sized(length, KITH_PACKET_LENGTH_SIZE, packet + marks->length_offset);
}

size_t kith__version_negotiation_write(const struct kith_packet *packet, uint8_t random, uint8_t *out, size_t capacity)
{
    struct kith_writer w = kith__writer(out, capacity);
    uint32_t grease = packet->version == 0x0a1a2a3a ? 0x0a1a2a4a : 0x0a1a2a3a;
    int err;

    KITH_ASSERT(packet->dcid.size <= KITH_PACKET_CID_SIZE_ANY_MAX && packet->scid.size <= KITH_PACKET_CID_SIZE_ANY_MAX);
    if ((err = kith__write_u8(&w, (uint8_t)(KITH_PACKET_LONG | KITH_PACKET_FIXED | (random & 0x3f)))) != 0 ||
        (err = kith__write_u32(&w, 0)) != 0 || (err = kith__write_u8(&w, (uint8_t)packet->scid.size)) != 0 ||
        (err = kith__write_bytes(&w, packet->scid.ptr, packet->scid.size)) != 0 ||
        (err = kith__write_u8(&w, (uint8_t)packet->dcid.size)) != 0 ||
        (err = kith__write_bytes(&w, packet->dcid.ptr, packet->dcid.size)) != 0 ||
        (err = kith__write_u32(&w, grease)) != 0 || (err = kith__write_u32(&w, KITH_QUIC_VERSION_1)) != 0)
        return 0;
    return kith__writer_size(&w);
}

bool kith__version_negotiation_has(struct kith_slice versions, uint32_t version)
{
    struct kith_reader r = kith__reader_of_slice(versions);
    uint32_t listed = 0;

    while (kith__read_u32(&r, &listed) == 0)
        if (listed == version)
            return true;
    return false;
}
