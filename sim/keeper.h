/**
 * Keeps a connection's paths: a list of ways (a local and a remote address each) that are wanted or not, and a client that
 * opens each wanted one that it has not, tries again when the engine says later or a path was given up, and closes what is
 * not wanted any more once another one works. No policy beyond that. Path 0 is the first way.
 *
 *     keeper = { 0 }; kith__simkeeper_init(&keeper, conn); kith__simkeeper_want(&keeper, 1, true, false); ...
 *     kith__simkeeper_stop(&keeper)   before the connection or its app ends
 */
#ifndef KITH_SIM_KEEPER_H
#define KITH_SIM_KEEPER_H

#include "app.h"

enum { KITH_SIMKEEPER_WAYS_MAX = 8 };

struct kith_simway {
    struct kith_sockaddr local, remote;
    bool is_wanted, is_backup, has_path;
    uint32_t path;                         /* if has_path */
    uint64_t opened, validated, abandoned; /* paths on this way so far */
};

struct kith_simkeeper {
    struct kith_simconn *conn;
    struct kith_simway ways[KITH_SIMKEEPER_WAYS_MAX];
    size_t count;
    struct kith_rt_timer again; /* the next try */
    uint64_t later;             /* tries that had to wait */
};

/** Begins: one way for each address of the connection's host, to the server's address of the same family. */
void kith__simkeeper_init(struct kith_simkeeper *keeper, struct kith_simconn *conn, const struct kith_sockaddr *remote4,
                          const struct kith_sockaddr *remote6);
/** A way is wanted from now on, as a backup or not, or is not: then its path is closed once another one works. */
void kith__simkeeper_want(struct kith_simkeeper *keeper, size_t way, bool is_wanted, bool is_backup);
/** Opens what is missing, closes what is not wanted. Also called by itself. */
void kith__simkeeper_run(struct kith_simkeeper *keeper);
/** Ways whose newest path was validated and is there. */
size_t kith__simkeeper_working(const struct kith_simkeeper *keeper);
/** Does nothing any more. Fine twice. */
void kith__simkeeper_stop(struct kith_simkeeper *keeper);

#endif
