/**
 * A whole lookup server in virtual time: the worker of src/server with DNS over UDP and TCP and signed packets over HTTP, on a host of
 * its own. It can be killed, lose its power, be cut off, and start again, with what it had stored or with nothing; and its
 * store can lie: show what it had before, show nothing, or show somebody else's packet.
 */
#ifndef KITH_SIM_LOOKUP_HOUSE_H
#define KITH_SIM_LOOKUP_HOUSE_H

#include "server/dns_worker.h"
#include "trial.h"

enum { KITH_SIMDNS_OLD_MAX = 4 /* keys whose first packets are remembered */ };

/** What the store says. */
enum kith_simdns_lie {
    KITH_SIMDNS_HONEST,
    KITH_SIMDNS_OLD,    /* the first packet that it ever had of the key, signed and all */
    KITH_SIMDNS_DENIES, /* nothing is known */
    KITH_SIMDNS_FORGED  /* the packet of the liar, under the key that was asked for: its signature is not that key's */
};

/** What lies on the server's disk, around a store in memory: it outlives the process. */
struct kith_simdns_disk {
    struct kith_store store; /* first */
    struct kith_store *inner;
    uint8_t lie; /* enum kith_simdns_lie */
    struct kith_pkarr liar, old[KITH_SIMDNS_OLD_MAX];
    size_t old_count;
    uint64_t lies; /* told */
};

struct kith_simdns {
    struct kith_trial *trial;
    struct kith_sim_host *host;
    struct kith_simmem mem, rt_mem, disk_mem;
    struct kith_simdns_disk disk;
    struct kith_dns_shared shared;
    struct kith_dns_scribe *scribe;
    struct kith_dns_worker *worker; /* NULL: dead */
    struct kith_dns_limits limits;
    char name[16], url[40];
    struct kith_sockaddr dns;
    struct kith_dns_counters lives; /* counters of earlier lives, added up */
};

/** The origin of all of them. */
#define KITH_SIMDNS_ORIGIN "dns.sim"

/** Makes the host, 10.0.8.<number>, with links as the scenario chooses them, and starts the server; limits NULL: the defaults. */
void kith__simdns_open(struct kith_simdns *dns, struct kith_trial *trial, unsigned number,
                       const struct kith_dns_limits *limits);
/** Starts it again, with what is on its disk. */
void kith__simdns_start(struct kith_simdns *dns);
/** The process dies: connections are reset. With its machine: nobody is told of anything. */
void kith__simdns_kill(struct kith_simdns *dns, bool with_machine);
/** A dead one's disk is empty from now on. */
void kith__simdns_wipe(struct kith_simdns *dns);
/** Nothing passes to or from it, and nobody is told; or it does again. */
void kith__simdns_cut(struct kith_simdns *dns, bool is_cut);
/** Invariants of now: every datagram, request and packet has its account, memory is bounded. */
void kith__simdns_check(struct kith_simdns *dns);
/** The end: it is killed, and its disk thrown away. */
void kith__simdns_close(struct kith_simdns *dns);
/** What is stored of a key; false: nothing. Whether it lies or not. */
bool kith__simdns_stored(struct kith_simdns *dns, const struct kith_id *id, struct kith_pkarr *out);
/** A counter's sum over all lives. */
struct kith_dns_counters kith__simdns_counted(const struct kith_simdns *dns);

#endif
