/**
 * Ways through relays as addresses: the engine knows a pair (relay, endpoint id) as a kith_sockaddr of family RELAY that holds
 * a number, and this is the list of numbers. A number is never used twice. Sans-IO.
 *
 * Who relays can send us something under any number of ids, so the list is bounded: a way that nothing came from or went to for
 * KITH_RELAY_WAY_IDLE_NS is forgotten, and when the list is full, of the relay that has most of them the one that was used longest
 * ago: a relay that makes up ids cannot push out the ways through others. A connection keeps the ways of its paths fresh by itself:
 * each path sends something every few seconds.
 */
#ifndef KITH_ENDPOINT_RELAY_WAYS_H
#define KITH_ENDPOINT_RELAY_WAYS_H

#include "base/list.h"
#include "base/map.h"

enum { KITH_RELAY_WAYS_MAX = 32768 };
#define KITH_RELAY_WAY_IDLE_NS (120 * KITH_NS_PER_S) /* longer than any path lives in silence */

/** The ways through one relay: a part of whoever describes the relay. */
struct kith_relay_ways_of {
    struct kith_map by_id; /* id -> kith_relay_way */
    struct kith_list used; /* kith_relay_way.of_through, used last first */
    struct kith_list in_throughs;
    size_t count;
};

/** One way. Read-only for users. */
struct kith_relay_way {
    struct kith_list node; /* in the list, used last first */
    struct kith_list of_through;
    struct kith_relay_ways_of *through;
    struct kith_id id;
    struct kith_sockaddr address;
    uint64_t used_ns;
};

struct kith_relay_ways {
    const struct kith_mem *mem;
    struct kith_map by_number; /* the address's ip, 8 bytes -> kith_relay_way */
    struct kith_list used;
    struct kith_list throughs; /* kith_relay_ways_of: a few dozen at most */
    size_t count;
    uint64_t next_number;
    uint64_t evicted; /* ways that had to make room for others */
    uint64_t seed;
};

/** seed: random. */
void kith__relay_ways_init(struct kith_relay_ways *ways, const struct kith_mem *mem, uint64_t seed);
/** The ways of all relays were disposed of before. */
void kith__relay_ways_dispose(struct kith_relay_ways *ways);
void kith__relay_ways_of_init(struct kith_relay_ways *ways, struct kith_relay_ways_of *through);
/** Forgets all ways through this relay. */
void kith__relay_ways_of_dispose(struct kith_relay_ways *ways, struct kith_relay_ways_of *through);

/** The way to this id, made if there is none. It counts as used now. NULL without memory. */
struct kith_relay_way *kith__relay_ways_get(struct kith_relay_ways *ways, struct kith_relay_ways_of *through,
                                            const struct kith_id *id, uint64_t now_ns);
/** The way of an address, or NULL: of another family, or forgotten. It does not count as used. */
struct kith_relay_way *kith__relay_ways_find(const struct kith_relay_ways *ways, const struct kith_sockaddr *address);
/** The way counts as used now. */
void kith__relay_ways_touch(struct kith_relay_ways *ways, struct kith_relay_way *way, uint64_t now_ns);
/** Forgets what was not used for too long. Now and then. */
void kith__relay_ways_age(struct kith_relay_ways *ways, uint64_t now_ns);

#endif
