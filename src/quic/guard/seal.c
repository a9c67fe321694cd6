/* Sealing and opening packets: see seal.h. */
#include "quic/guard/seal.h"

enum {
    SAMPLE_OFFSET = 4, /* from the packet number on, as if it had its full size (RFC 9001, 5.4.2) */
    RESERVED_LONG = 0x0c,
    RESERVED_SHORT = 0x18,
    PROTECTED_LONG = 0x0f, /* bits of the first byte under header protection */
    PROTECTED_SHORT = 0x1f
};

int kith__packet_seal(struct kith_keys *keys, uint8_t *packet, size_t pn_offset, size_t pn_size, size_t payload_size,
                      uint64_t pn, uint32_t path)
{
    struct kith_packet_key *key = &keys->write;
    size_t header_size = pn_offset + pn_size;
    uint8_t *payload = packet + header_size;
    uint8_t nonce[KITH_AEAD_NONCE_SIZE], mask[KITH_HP_MASK_SIZE];
    bool is_long = kith__packet_is_long(packet[0]);
    int err;

    KITH_ASSERT(kith__keys_can_write(keys) && pn_size >= 1 && pn_size <= 4 && pn_size + payload_size >= 4);
    if (key->packets >= kith__keys_seal_limit(keys->cipher))
        return KITH_ERR_LIMIT;
    if (!is_long && (keys->write_generation & 1) != 0)
        packet[0] |= KITH_PACKET_KEY_PHASE;
    kith__packet_nonce(key->iv, path, pn, nonce);
    if ((err = kith__aead_seal(&key->aead, nonce, packet, header_size, payload, payload_size, payload)) != 0)
        return err;
    key->packets++;
    kith__hp_mask(&keys->write_hp, packet + pn_offset + SAMPLE_OFFSET, mask);
    packet[0] ^= mask[0] & (is_long ? PROTECTED_LONG : PROTECTED_SHORT);
    for (size_t i = 0; i < pn_size; i++)
        packet[pn_offset + i] ^= mask[1 + i];
    return 0;
}

/* Takes the header protection off; returns the size of the packet number. */
static size_t unmask_header(const struct kith_hp_key *hp, uint8_t *packet, size_t pn_offset, uint64_t *truncated_pn)
{
    uint8_t mask[KITH_HP_MASK_SIZE];
    uint64_t pn = 0;
    size_t pn_size;

    kith__hp_mask(hp, packet + pn_offset + SAMPLE_OFFSET, mask);
    packet[0] ^= mask[0] & (kith__packet_is_long(packet[0]) ? PROTECTED_LONG : PROTECTED_SHORT);
    pn_size = (packet[0] & 3u) + 1;
    for (size_t i = 0; i < pn_size; i++) {
        packet[pn_offset + i] ^= mask[1 + i];
        pn = pn << 8 | packet[pn_offset + i];
    }
    *truncated_pn = pn;
    return pn_size;
}

/*
 * Which generation a packet with this key phase bit belongs to, relative to the present one: 0, -1 or +1 (RFC 9001, 6.5).
 * Packet numbers are compared inside one path only. Where the path has not seen the present generation yet, the previous
 * keys are tried as long as they are kept: a peer waits that long before it updates again.
 */
static int pick_generation(const struct kith_keys *keys, const struct kith_open_space *space, bool phase, uint64_t pn)
{
    bool has_previous = kith__aead_is_set(&keys->read_previous.aead);

    if (!keys->updates || phase == ((keys->read_generation & 1) != 0))
        return 0;
    if (space->generation == keys->read_generation && space->phase_pn != KITH_PN_NONE)
        return has_previous && pn < space->phase_pn ? -1 : 1;
    return has_previous ? -1 : 1;
}

static struct kith_packet_key *key_of(struct kith_keys *keys, int relative)
{
    return relative == 0 ? &keys->read : relative < 0 ? &keys->read_previous : &keys->read_next;
}

/* The packet is authentic: what remains to be checked of its header, and what it means for the keys. */
static int accept(struct kith_keys *keys, uint8_t first, int relative, struct kith_opened *out)
{
    int err;

    if ((first & (kith__packet_is_long(first) ? RESERVED_LONG : RESERVED_SHORT)) != 0) {
        out->reason = "reserved bits set";
        return KITH_WIRE_PROTOCOL_VIOLATION;
    }
    if (out->size == 0) {
        out->reason = "packet without frames";
        return KITH_WIRE_PROTOCOL_VIOLATION;
    }
    if (relative <= 0)
        return 0;
    if ((err = kith__keys_follow(keys)) != 0) {
        out->reason = err > 0 ? "key update before the last one was answered"
                              : "keys of the next generation cannot be made";
        return err;
    }
    out->followed = true;
    return 0;
}

static void note_opened(struct kith_open_space *space, const struct kith_opened *opened)
{
    if (opened->pn >= space->expected_pn)
        space->expected_pn = opened->pn + 1;
    if (opened->generation != space->generation && (int32_t)(opened->generation - space->generation) > 0) {
        space->generation = opened->generation;
        space->phase_pn = KITH_PN_NONE;
    }
    if (opened->generation == space->generation && opened->pn < space->phase_pn) /* KITH_PN_NONE is the largest */
        space->phase_pn = opened->pn;
}

int kith__packet_open(struct kith_keys *keys, struct kith_open_space *space, uint8_t *packet, size_t pn_offset,
                      size_t size, struct kith_opened *out)
{
    uint8_t nonce[KITH_AEAD_NONCE_SIZE];
    struct kith_opened opened = { 0 };
    uint64_t truncated_pn;
    size_t pn_size, header_size;
    int relative, err;
    bool phase;

    KITH_ASSERT(kith__keys_can_read(keys));
    if (size < pn_offset + SAMPLE_OFFSET + KITH_HP_SAMPLE_SIZE)
        return KITH_ERR_TRUNCATED;
    pn_size = unmask_header(&keys->read_hp, packet, pn_offset, &truncated_pn);
    header_size = pn_offset + pn_size;
    phase = !kith__packet_is_long(packet[0]) && (packet[0] & KITH_PACKET_KEY_PHASE) != 0;
    opened.pn = kith__pn_decode(space->expected_pn, truncated_pn, pn_size);
    opened.payload = packet + header_size;
    opened.size = size - header_size - KITH_AEAD_TAG_SIZE;
    relative = pick_generation(keys, space, phase, opened.pn);
    kith__packet_nonce(key_of(keys, relative)->iv, space->path, opened.pn, nonce);
    err = kith__aead_open(&key_of(keys, relative)->aead, nonce, packet, header_size, opened.payload, size - header_size,
                          opened.payload);
    if (err != 0) {
        if (++keys->failed < kith__keys_failure_limit(keys->cipher))
            return KITH_ERR_CRYPTO;
        out->reason = "too many packets failed to authenticate";
        return KITH_WIRE_AEAD_LIMIT_REACHED;
    }
    key_of(keys, relative)->packets++;
    opened.generation = keys->read_generation + (uint32_t)relative;
    err = accept(keys, packet[0], relative, &opened);
    if (err == 0)
        note_opened(space, &opened);
    *out = opened;
    return err;
}
