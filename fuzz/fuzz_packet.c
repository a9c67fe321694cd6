/*
 * Packet headers of a datagram: first byte chooses the size of our ids, the rest is the datagram. What is read must lie
 * inside the datagram, every packet must get us on, and what we would answer to foreign versions must be readable.
 */
#include "quic/guard/seal.h"
#include "quic/wire/packet.h"
#include "quic/wire/retry.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_inside(const uint8_t *begin, size_t size, struct kith_slice slice)
{
    KITH_ASSERT(slice.size == 0 || (slice.ptr >= begin && slice.ptr + slice.size <= begin + size));
}

/* A header that we could have written must come back the same. */
static void rewrite(const struct kith_packet *packet)
{
    struct kith_packet_header header = { .type = packet->type, .pn_size = (uint8_t)((packet->first & 3) + 1) };
    struct kith_packet_marks marks;
    struct kith_packet again;
    uint8_t out[2048];
    struct kith_writer w = kith__writer(out, sizeof out - 64);

    header.dcid = kith__cid(packet->dcid.ptr, packet->dcid.size);
    header.scid = kith__cid(packet->scid.ptr, packet->scid.size);
    header.token = packet->token;
    if (kith__packet_write_header(&w, &header, &marks) != 0)
        return; /* a token longer than our buffer */
    if (marks.length_offset != 0)
        kith__packet_set_length(out, &marks, (size_t)header.pn_size + 20);
    KITH_ASSERT(kith__packet_parse(out, (size_t)marks.payload_offset + 20, packet->dcid.size, &again) == 0);
    KITH_ASSERT(again.type == packet->type && again.pn_offset == marks.pn_offset);
    KITH_ASSERT(kith__cid_is(&header.dcid, again.dcid) && kith__cid_is(&header.scid, again.scid));
    KITH_ASSERT(again.token.size == packet->token.size);
}

static void open_with_initial_keys(const struct kith_packet *packet, const uint8_t *bytes)
{
    struct kith_keys keys = { 0 };
    struct kith_open_space space;
    struct kith_opened opened;
    uint8_t *copy = malloc(packet->size);

    KITH_ASSERT(copy != NULL);
    memcpy(copy, bytes, packet->size);
    if (kith__keys_install_initial(&keys, kith_mem_default(), packet->dcid, false) == 0) {
        kith__open_space_init(&space, 0);
        if (kith__packet_open(&keys, &space, copy, packet->pn_offset, packet->size, &opened) == 0)
            check_inside(copy, packet->size, (struct kith_slice) { opened.payload, opened.size });
    }
    kith__keys_dispose(&keys);
    free(copy);
}

static void look_at(const struct kith_packet *packet, const uint8_t *bytes, size_t size)
{
    uint8_t out[600];
    struct kith_packet answer;
    size_t answer_size;

    check_inside(bytes, size, packet->dcid);
    check_inside(bytes, size, packet->scid);
    check_inside(bytes, size, packet->token);
    check_inside(bytes, size, packet->tag);
    check_inside(bytes, size, packet->versions);
    KITH_ASSERT(packet->size > 0 && packet->size <= size && packet->pn_offset <= packet->size);
    switch (packet->type) {
    case KITH_PACKET_OTHER_VERSION:
        answer_size = kith__version_negotiation_write(packet, packet->first, out, sizeof out);
        KITH_ASSERT(answer_size != 0 && kith__packet_parse(out, answer_size, 8, &answer) == 0);
        KITH_ASSERT(answer.type == KITH_PACKET_VERSION_NEGOTIATION);
        KITH_ASSERT(!kith__version_negotiation_has(answer.versions, packet->version));
        break;
    case KITH_PACKET_VERSION_NEGOTIATION:
        (void)kith__version_negotiation_has(packet->versions, KITH_QUIC_VERSION_1);
        break;
    case KITH_PACKET_RETRY: {
        struct kith_cid odcid = kith__cid(packet->scid.ptr, packet->scid.size);
        int err = kith__retry_check(kith_mem_default(), &odcid, bytes, size);

        KITH_ASSERT(err == 0 || err == KITH_ERR_CRYPTO || err == KITH_ERR_TOO_LARGE);
        break;
    }
    default:
        rewrite(packet);
        if (packet->type == KITH_PACKET_INITIAL)
            open_with_initial_keys(packet, bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    size_t cid_size, at = 1;
    struct kith_packet packet;

    if (size == 0)
        return 0;
    cid_size = bytes[0] % (KITH_CID_SIZE_MAX + 1);
    while (at < size && kith__packet_parse(bytes + at, size - at, cid_size, &packet) == 0) {
        look_at(&packet, bytes + at, size - at);
        at += packet.size;
    }
    return 0;
}
