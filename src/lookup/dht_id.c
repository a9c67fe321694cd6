/* Ids, distances, and which address may have which id. */
#include "lookup/dht_id.h"

#include <nettle/sha1.h>
#include <string.h>

_Static_assert(KITH_DHT_ID_SIZE == SHA1_DIGEST_SIZE, "keys lie at their SHA-1");

struct kith_dht_id kith__dht_id_of_bytes(struct kith_slice bytes)
{
    struct kith_dht_id id;
    struct sha1_ctx sha1;

    sha1_init(&sha1);
    sha1_update(&sha1, bytes.size, bytes.ptr);
    sha1_digest(&sha1, sizeof id.bytes, id.bytes);
    return id;
}

struct kith_dht_id kith__dht_id_of_key(const struct kith_id *key)
{
    return kith__dht_id_of_bytes((struct kith_slice) { key->bytes, sizeof key->bytes });
}

bool kith__dht_id_equal(const struct kith_dht_id *a, const struct kith_dht_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

int kith__dht_id_compare(const struct kith_dht_id *target, const struct kith_dht_id *a, const struct kith_dht_id *b)
{
    for (size_t i = 0; i < KITH_DHT_ID_SIZE; i++) {
        int from_a = a->bytes[i] ^ target->bytes[i], from_b = b->bytes[i] ^ target->bytes[i];

        if (from_a != from_b)
            return from_a - from_b;
    }
    return 0;
}

unsigned kith__dht_id_prefix(const struct kith_dht_id *a, const struct kith_dht_id *b)
{
    unsigned bits = 0;

    for (size_t i = 0; i < KITH_DHT_ID_SIZE; i++) {
        unsigned differs = a->bytes[i] ^ b->bytes[i];

        if (differs == 0) {
            bits += 8;
            continue;
        }
        while ((differs & 0x80) == 0) {
            differs <<= 1;
            bits++;
        }
        break;
    }
    return bits;
}

bool kith__dht_addr_is_local(const struct kith_sockaddr *addr)
{
    const uint8_t *ip = addr->ip;

    return ip[0] == 10 || ip[0] == 127 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) || (ip[0] == 192 && ip[1] == 168) ||
           (ip[0] == 169 && ip[1] == 254) || (ip[0] == 100 && (ip[1] & 0xc0) == 64);
}

bool kith__dht_addr_is_usable(const struct kith_sockaddr *addr)
{
    return addr->family == KITH_FAMILY_V4 && addr->port != 0 && addr->ip[0] != 0 && addr->ip[0] < 224;
}

/** CRC-32C, bit by bit: it is of four bytes, and rare. */
static uint32_t crc32c(const uint8_t *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/** The first bits that BEP 42 wants; the lower 11 of the result are free. */
static uint32_t wanted_prefix(const struct kith_sockaddr *addr, uint8_t last)
{
    static const uint8_t mask[4] = { 0x03, 0x0f, 0x3f, 0xff };
    uint8_t bytes[4];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = addr->ip[i] & mask[i];
    bytes[0] |= (uint8_t)((last & 7) << 5);
    return crc32c(bytes, sizeof bytes);
}

bool kith__dht_id_is_secure(const struct kith_dht_id *id, const struct kith_sockaddr *addr)
{
    uint32_t wanted;

    if (kith__dht_addr_is_local(addr))
        return true;
    wanted = wanted_prefix(addr, id->bytes[KITH_DHT_ID_SIZE - 1]);
    return id->bytes[0] == wanted >> 24 && id->bytes[1] == (wanted >> 16 & 0xff) &&
           (id->bytes[2] & 0xf8) == (wanted >> 8 & 0xf8);
}

void kith__dht_id_secure(struct kith_dht_id *id, const struct kith_sockaddr *addr)
{
    uint32_t wanted = wanted_prefix(addr, id->bytes[KITH_DHT_ID_SIZE - 1]);

    id->bytes[0] = (uint8_t)(wanted >> 24);
    id->bytes[1] = (uint8_t)(wanted >> 16);
    id->bytes[2] = (uint8_t)((wanted >> 8 & 0xf8) | (id->bytes[2] & 7));
}

void kith__dht_addr_write(const struct kith_sockaddr *addr, uint8_t out[6])
{
    memcpy(out, addr->ip, 4);
    out[4] = (uint8_t)(addr->port >> 8);
    out[5] = (uint8_t)addr->port;
}

struct kith_sockaddr kith__dht_addr_read(const uint8_t bytes[6])
{
    struct kith_sockaddr addr = { .family = KITH_FAMILY_V4, .port = (uint16_t)(bytes[4] << 8 | bytes[5]) };

    memcpy(addr.ip, bytes, 4);
    return addr;
}

void kith__dht_node_write(const struct kith_dht_node *node, uint8_t out[KITH_DHT_NODE_SIZE])
{
    memcpy(out, node->id.bytes, KITH_DHT_ID_SIZE);
    kith__dht_addr_write(&node->addr, out + KITH_DHT_ID_SIZE);
}

struct kith_dht_node kith__dht_node_read(const uint8_t bytes[KITH_DHT_NODE_SIZE])
{
    struct kith_dht_node node;

    memcpy(node.id.bytes, bytes, KITH_DHT_ID_SIZE);
    node.addr = kith__dht_addr_read(bytes + KITH_DHT_ID_SIZE);
    return node;
}
