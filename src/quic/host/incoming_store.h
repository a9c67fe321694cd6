/**
 * Clients that wait for the user's decision, by their first destination id, and the datagrams they have sent meanwhile.
 * Three bounds: how many wait, bytes for each, bytes for all; what does not fit is refused with KITH_ERR_LIMIT and counted
 * by the caller. The entry sits inside the caller's object. Owner: the host, by value. Source: spec/01, 1.4.
 */
#ifndef KITH_QUIC_HOST_INCOMING_STORE_H
#define KITH_QUIC_HOST_INCOMING_STORE_H

#include "base/list.h"
#include "base/map.h"

enum {
    KITH_INCOMING_COUNT_MAX = 65536,
    KITH_INCOMING_BYTES_MAX = 10 * 1024 * 1024,        /* for one client */
    KITH_INCOMING_BYTES_TOTAL_MAX = 100 * 1024 * 1024, /* for all */
    KITH_INCOMING_OVERHEAD = 96,                       /* counted for each datagram beside its bytes */
};

/** A datagram that waits with its client. */
struct kith_incoming_datagram {
    struct kith_list node;
    struct kith_sockaddr local, remote;
    uint64_t received_ns;
    uint8_t ecn;
    size_t size;
    uint8_t bytes[];
};

/** Sits inside the caller's object; zeroed before add. */
struct kith_incoming_entry {
    struct kith_list node; /* in order of arrival */
    struct kith_list datagrams;
    uint64_t size; /* bytes of its datagrams, with overhead */
    uint8_t key_size;
    uint8_t key[20];
};

struct kith_incoming_store {
    const struct kith_mem *mem;
    struct kith_map by_key;
    struct kith_list entries;
    size_t count, count_max;
    uint64_t size, size_each_max, size_total_max;
};

void kith__incoming_store_init(struct kith_incoming_store *store, const struct kith_mem *mem, uint64_t map_seed,
                               size_t count_max, uint64_t size_each_max, uint64_t size_total_max);
/** All entries were removed before. */
void kith__incoming_store_dispose(struct kith_incoming_store *store);
/** Adds an entry under its first destination id (size <= 20). KITH_ERR_LIMIT, EXISTS, NOMEM. */
KITH_MUST_USE int kith__incoming_store_add(struct kith_incoming_store *store, struct kith_incoming_entry *entry,
                                           struct kith_slice key);
/** The entry, or NULL. */
struct kith_incoming_entry *kith__incoming_store_find(const struct kith_incoming_store *store, struct kith_slice key);
/** The entry that waits longest, or NULL. */
struct kith_incoming_entry *kith__incoming_store_first(const struct kith_incoming_store *store);
/** Copies a datagram to the end of the entry's. KITH_ERR_LIMIT, NOMEM. */
KITH_MUST_USE int kith__incoming_store_push(struct kith_incoming_store *store, struct kith_incoming_entry *entry,
                                            const struct kith_sockaddr *local, const struct kith_sockaddr *remote,
                                            uint8_t ecn, struct kith_slice bytes, uint64_t now_ns);
/** Takes the oldest datagram out, or NULL; the caller frees it with kith__free(store->mem, datagram). */
struct kith_incoming_datagram *kith__incoming_store_pop(struct kith_incoming_store *store,
                                                        struct kith_incoming_entry *entry);
/** Takes the entry out and frees its datagrams. Fine for one that is not inside (zeroed). */
void kith__incoming_store_remove(struct kith_incoming_store *store, struct kith_incoming_entry *entry);

#endif
