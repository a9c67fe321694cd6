/**
 * Ids of the DHT: 160 bits, which nodes choose by their address (BEP 42) and keys have by their SHA-1, and the distance between
 * two, which is their exclusive or. Nodes as messages carry them. All plain values. Source: BEP 5, 42, 44.
 */
#ifndef KITH_LOOKUP_DHT_ID_H
#define KITH_LOOKUP_DHT_ID_H

#include <kith/types.h>

enum { KITH_DHT_ID_SIZE = 20, KITH_DHT_ID_BITS = 160, KITH_DHT_NODE_SIZE = 26 };

struct kith_dht_id {
    uint8_t bytes[KITH_DHT_ID_SIZE];
};

struct kith_dht_node {
    struct kith_dht_id id;
    struct kith_sockaddr addr; /* IPv4 */
};

/** SHA-1 of bytes: where an immutable value, encoded, lies. */
struct kith_dht_id kith__dht_id_of_bytes(struct kith_slice bytes);
/** Where the packet of a key lies: SHA-1 of the key (no salt). */
struct kith_dht_id kith__dht_id_of_key(const struct kith_id *key);
bool kith__dht_id_equal(const struct kith_dht_id *a, const struct kith_dht_id *b);
/** < 0: a is closer to target than b; 0: a and b are equal; > 0: b is. */
int kith__dht_id_compare(const struct kith_dht_id *target, const struct kith_dht_id *a, const struct kith_dht_id *b);
/** Leading bits that both have alike: 0..160. */
unsigned kith__dht_id_prefix(const struct kith_dht_id *a, const struct kith_dht_id *b);

/** True for addresses that lead nowhere from the Internet: private, loopback, link-local, shared (RFC 6890). IPv4 only. */
bool kith__dht_addr_is_local(const struct kith_sockaddr *addr);
/** True if a node can be there: IPv4, with a port, of one host. */
bool kith__dht_addr_is_usable(const struct kith_sockaddr *addr);
/** True if a node of this address may have this id; local addresses may have any. Source: BEP 42. */
bool kith__dht_id_is_secure(const struct kith_dht_id *id, const struct kith_sockaddr *addr);
/** Changes the first 21 bits of a random id, so that a node of this address may have it. */
void kith__dht_id_secure(struct kith_dht_id *id, const struct kith_sockaddr *addr);

/** Address and port, 6 bytes; addr is IPv4. */
void kith__dht_addr_write(const struct kith_sockaddr *addr, uint8_t out[6]);
struct kith_sockaddr kith__dht_addr_read(const uint8_t bytes[6]);
/** Id, address and port. */
void kith__dht_node_write(const struct kith_dht_node *node, uint8_t out[KITH_DHT_NODE_SIZE]);
struct kith_dht_node kith__dht_node_read(const uint8_t bytes[KITH_DHT_NODE_SIZE]);

#endif
