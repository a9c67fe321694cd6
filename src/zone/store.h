/**
 * Where a lookup server keeps signed packets, behind a narrow interface: put if newer, get, expire, scan. LMDB is the embedded
 * implementation (zone/store_lmdb.h), a table in memory the simulator's (zone/store_memory.h); a database that several servers share can
 * take their place.
 *
 * Thread rules: get may be called from any thread at any time; put, commit, expire and scan from one thread at a time.
 * Source: spec/03, 9.4, with its defects mended: packets are evicted by the time of their arrival, not by their own clock.
 */
#ifndef KITH_ZONE_STORE_H
#define KITH_ZONE_STORE_H

#include "lookup/pkarr.h"

struct kith_store;

enum kith_store_put {
    KITH_STORE_INSERTED,
    KITH_STORE_UPDATED,
    KITH_STORE_SAME,  /* this very packet is there: its arrival is renewed, so that it lives on */
    KITH_STORE_OLDER, /* a newer one is there, and stays */
};

struct kith_store_stats {
    uint64_t packets;    /* now */
    uint64_t size_bytes; /* on disk or in memory, all in */
};

struct kith_store_ops {
    /**
     * Puts a packet that arrived at arrived_us (wall clock). *how tells what became of it. It is safe from crashes, and answers may say so,
     * only after the next commit that succeeds; gets may see it before. Errors: NOMEM, LIMIT (full), IO, with cause.
     */
    int (*put)(struct kith_store *store, const struct kith_pkarr *packet, uint64_t arrived_us,
               enum kith_store_put *how);
    /** Makes all puts since the last commit durable, or none of them on an error. Errors: IO, LIMIT (disk full). */
    int (*commit)(struct kith_store *store);
    /** Errors: NOT_FOUND, IO. arrived_us may be NULL. */
    int (*get)(struct kith_store *store, const struct kith_id *id, struct kith_pkarr *out, uint64_t *arrived_us);
    /** Removes at most `max` packets that arrived before before_us, oldest first; *count of them. Durable with the next commit. */
    int (*expire)(struct kith_store *store, uint64_t before_us, size_t max, size_t *count);
    /** Calls each for every packet in the order of ids, until it returns false. */
    int (*scan)(struct kith_store *store, bool (*each)(void *ctx, const struct kith_pkarr *packet, uint64_t arrived_us),
                void *ctx);
    void (*stats)(struct kith_store *store, struct kith_store_stats *out);
    void (*free)(struct kith_store *store);
};

/** Implementations embed it first. */
struct kith_store {
    const struct kith_store_ops *ops;
};

#endif
