/**
 * Packet headers: reading those of a datagram, writing our own, packet numbers, Version Negotiation. Nothing here knows
 * keys: numbers and the protected bits of the first byte are the business of guard/seal.h. Retry packets: wire/retry.h.
 * Source: RFC 8999; RFC 9000, 12.2, 17 and appendix A; spec/01, 1.1 and 1.2.
 */
#ifndef KITH_QUIC_WIRE_PACKET_H
#define KITH_QUIC_WIRE_PACKET_H

#include "codec/cursor.h"
#include "quic/wire/cid.h"

#define KITH_QUIC_VERSION_1 UINT32_C(1)

/** The first four are the wire numbers of version 1. */
enum kith_packet_type {
    KITH_PACKET_INITIAL,
    KITH_PACKET_ZERO_RTT,
    KITH_PACKET_HANDSHAKE,
    KITH_PACKET_RETRY,
    KITH_PACKET_ONE_RTT, /* short header */
    KITH_PACKET_VERSION_NEGOTIATION,
    KITH_PACKET_OTHER_VERSION, /* long header of a version that we do not speak: only the invariants were read */
    KITH_PACKET_TYPES
};

enum {
    KITH_PACKET_LONG = 0x80,      /* first byte: long header */
    KITH_PACKET_FIXED = 0x40,     /* first byte: fixed bit */
    KITH_PACKET_SPIN = 0x20,      /* first byte of a short header */
    KITH_PACKET_KEY_PHASE = 0x04, /* first byte of a short header, protected */
    KITH_PACKET_PN_SIZE_MAX = 4,
    KITH_PACKET_CID_SIZE_ANY_MAX = 255, /* of other versions: RFC 8999, 5.1 */
    KITH_PACKET_LENGTH_SIZE = 2,        /* we always write the Length field with 2 bytes (spec/01, 1.2) */
    KITH_PACKET_LENGTH_MAX = 16383,
    KITH_PACKET_HEADER_SIZE_MAX = 1 + 4 + 1 + KITH_CID_SIZE_MAX + 1 + KITH_CID_SIZE_MAX + 8 + 2 + 4 /* without token */
};

#define KITH_PN_NONE UINT64_MAX /* "no packet number yet" */

/** One packet of a datagram, as far as it can be read without keys. All slices are borrowed from the datagram; untrusted. */
struct kith_packet {
    uint8_t type;               /* enum kith_packet_type */
    uint8_t first;              /* first byte, still protected */
    bool fixed_bit;             /* its value; the caller decides (spec/01, 1.6). Means nothing in Version Negotiation */
    uint32_t version;           /* long headers */
    struct kith_slice dcid;     /* up to KITH_CID_SIZE_MAX; OTHER_VERSION and VERSION_NEGOTIATION: up to 255 bytes */
    struct kith_slice scid;     /* long headers; likewise */
    struct kith_slice token;    /* INITIAL: may be empty. RETRY: not empty */
    struct kith_slice tag;      /* RETRY: integrity tag, 16 bytes */
    struct kith_slice versions; /* VERSION_NEGOTIATION: 4 bytes each, at least one */
    size_t pn_offset;           /* where the packet number begins; 0 where there is none */
    size_t size;                /* extent of the packet: the next one of the datagram begins here */
};

/**
 * Reads the header of the packet that starts at bytes (untrusted; size > 0 bytes are left of the datagram). cid_size: of
 * our own ids, for short headers. Returns 0 or
 *   KITH_ERR_TRUNCATED  the datagram ends too early
 *   KITH_ERR_PARSE      an id of more than 20 bytes, an empty list of versions, or one cut in the middle
 * Packets of types RETRY, ONE_RTT, VERSION_NEGOTIATION, OTHER_VERSION reach to the end of the datagram.
 */
KITH_MUST_USE int kith__packet_parse(const uint8_t *bytes, size_t size, size_t cid_size, struct kith_packet *out);

/** True for a long header (RFC 8999). */
static inline bool kith__packet_is_long(uint8_t first)
{
    return (first & KITH_PACKET_LONG) != 0;
}

/** The header of a packet to send. */
struct kith_packet_header {
    uint8_t type;         /* INITIAL, ZERO_RTT, HANDSHAKE or ONE_RTT */
    uint8_t pn_size;      /* 1..4: kith__pn_size */
    bool spin;            /* ONE_RTT */
    bool clear_fixed_bit; /* grease (RFC 9287): only if the peer allows it */
    struct kith_cid dcid;
    struct kith_cid scid;    /* long headers */
    struct kith_slice token; /* INITIAL */
    uint64_t pn;
};

/** Where things are in a header that was written; offsets from the first byte of the packet. */
struct kith_packet_marks {
    uint16_t length_offset; /* of the 2-byte Length field; 0 in short headers */
    uint16_t pn_offset;
    uint16_t payload_offset; /* = pn_offset + pn_size */
};

/** Bytes that the header takes, with its packet number. */
size_t kith__packet_header_size(const struct kith_packet_header *header);

/**
 * Writes the header at w->at, version 1, reserved bits and key phase 0; the Length field is left for
 * kith__packet_set_length. KITH_ERR_TOO_LARGE: no room, nothing was written.
 */
KITH_MUST_USE int kith__packet_write_header(struct kith_writer *w, const struct kith_packet_header *header,
                                            struct kith_packet_marks *marks);

/** Fills in the Length field of the packet at `packet`: packet number + payload + tag, <= KITH_PACKET_LENGTH_MAX bytes. */
void kith__packet_set_length(uint8_t *packet, const struct kith_packet_marks *marks, size_t length);

/**
 * Bytes (1..4) that are enough to send pn when the peer has acknowledged largest_acked (KITH_PN_NONE: nothing): twice the
 * distance must fit (spec/01, 1.2). pn > largest_acked; the distance is below 2^31.
 */
static inline size_t kith__pn_size(uint64_t pn, uint64_t largest_acked)
{
    uint64_t twice = 2 * (largest_acked == KITH_PN_NONE ? pn : pn - largest_acked);

    return twice < 1u << 8 ? 1 : twice < 1u << 16 ? 2 : twice < 1u << 24 ? 3 : 4;
}

/**
 * The full packet number whose lowest `size` bytes are `truncated` and that is closest to `expected` (largest received
 * one + 1; 0 at first). RFC 9000, A.3.
 */
static inline uint64_t kith__pn_decode(uint64_t expected, uint64_t truncated, size_t size)
{
    uint64_t window = UINT64_C(1) << (8 * size), half = window / 2;
    uint64_t candidate = (expected & ~(window - 1)) | truncated;

    if (candidate + half <= expected && candidate < (UINT64_C(1) << 62) - window)
        return candidate + window;
    if (candidate > expected + half && candidate >= window)
        return candidate - window;
    return candidate;
}

/** Writes the lowest `size` bytes of pn. */
static inline void kith__pn_write(uint8_t *out, uint64_t pn, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(pn >> (8 * (size - 1 - i)));
}

/**
 * Writes a Version Negotiation packet in answer to `packet` (any long header, untrusted): its ids swapped, a grease version
 * that differs from the client's, version 1. random: fills the unused bits of the first byte. Returns the size, or 0 if
 * capacity is too small (527 bytes are always enough).
 */
size_t kith__version_negotiation_write(const struct kith_packet *packet, uint8_t random, uint8_t *out, size_t capacity);

/** True if the list of a Version Negotiation packet has this version. */
bool kith__version_negotiation_has(struct kith_slice versions, uint32_t version);

#endif
