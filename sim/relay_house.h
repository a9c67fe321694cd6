/**
 * A whole relay in virtual time: the worker of src/server with HTTP, upgrade and proof over simulated TCP, on a host of its own, so that
 * endpoints meet there as they do at a real one. It can be killed (its machine resets all connections), lose its power (nobody is
 * told), be cut off, sleep, and start again from nothing.
 */
#ifndef KITH_SIM_RELAY_HOUSE_H
#define KITH_SIM_RELAY_HOUSE_H

#include "server/relay_worker.h"
#include "trial.h"

struct kith_simhouse {
    struct kith_trial *trial;
    struct kith_sim_host *host;
    struct kith_simmem mem, rt_mem;
    struct kith_relay_shared shared;
    struct kith_relay_routes routes;
    struct kith_relay_worker *worker; /* NULL: dead */
    struct kith_relay_server_limits limits;
    char name[16], url[32];
    uint64_t ends[KITH_RELAY_END_BY_US + 1], clients; /* of those that had proved their id: over all lives */
};

/** Makes the host, 10.0.9.<number>, with links as the scenario chooses them, and starts the relay. */
void kith__simhouse_open(struct kith_simhouse *house, struct kith_trial *trial, unsigned number);
/** Starts it again. */
void kith__simhouse_start(struct kith_simhouse *house);
/** The process dies: connections are reset. With its machine: nobody is told of anything. */
void kith__simhouse_kill(struct kith_simhouse *house, bool with_machine);
/** Nothing passes to or from it, and nobody is told; or it does again. */
void kith__simhouse_cut(struct kith_simhouse *house, bool is_cut);
/** Invariants of now: queues within their bounds, no datagram without its account. */
void kith__simhouse_check(struct kith_simhouse *house);

#endif
