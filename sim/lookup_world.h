/**
 * The world of the family "lookup": whole endpoints that know nothing but each other's ids, whole lookup servers and relays. The client
 * looks for the server, which moves. One trial at a time, in a process of its own.
 */
#ifndef KITH_SIM_LOOKUP_WORLD_H
#define KITH_SIM_LOOKUP_WORLD_H

#include "lookup_dht.h"
#include "lookup_fool.h"
#include "lookup_house.h"
#include "relay_house.h"

enum { KITH_SIMLOOKUP_SERVERS_MAX = 2, KITH_SIMLOOKUP_RELAYS_MAX = 2 };

/** What is promised of an endpoint that has told where it is. */
#define KITH_SIMLOOKUP_FOUND_NS (2 * KITH_NS_PER_S)
/** A publisher waits for a minute at most between its tries, a fifth more or less, and a try takes as long as its limit. */
#define KITH_SIMLOOKUP_RETRY_NS (75 * KITH_NS_PER_S)

/** How endpoints find: bits. */
enum { KITH_SIMLOOKUP_PKARR = 1, KITH_SIMLOOKUP_DNS = 2, KITH_SIMLOOKUP_BOTH = 3 };

struct kith_simlookup_options {
    size_t servers, relays, apps;
    unsigned ways;                        /* KITH_SIMLOOKUP_... */
    const struct kith_dns_limits *limits; /* of the servers; NULL: the defaults */
    uint64_t republish_ns;                /* 0: the default */
    bool tells_relays_only;
    bool has_dht;
    bool has_fool; /* besides: as the first of each kind, as the seed chooses it */
};

struct kith_simlookup {
    struct kith_simdns servers[KITH_SIMLOOKUP_SERVERS_MAX];
    struct kith_simhouse relays[KITH_SIMLOOKUP_RELAYS_MAX];
    struct kith_simdht dht;   /* trial NULL: there is none */
    struct kith_simfool fool; /* trial NULL: there is none */
    size_t server_count, relay_count;
    struct kith_simdial *dial;    /* what a script waits for */
    struct kith_sockaddr address; /* where the server is now */
    size_t looked_at;             /* the lookup server that a script waits for */
};
extern struct kith_simlookup kith__simlookup;

enum { KITH_SIMLOOKUP_TOLD_MAX = 8 };

/** What the services say of the server, each for itself and together. */
struct kith_simlookup_survey {
    struct {
        char label[128];
        bool has_now, has_old; /* an address: where the server is, where it was first */
        uint64_t updated_us;
    } told[KITH_SIMLOOKUP_TOLD_MAX];
    size_t count;
    bool has_now, has_old; /* merged */
    bool is_over;
    int err;
};

uint64_t kith__simlookup_seeded(struct kith_trial *trial, uint64_t min, uint64_t max);
/** Steps with all checks, as kith__trial_until. */
enum kith_sim_verdict kith__simlookup_until(struct kith_trial *trial, bool (*done)(struct kith_trial *trial),
                                            uint64_t for_ns);
/** Lets time pass. */
enum kith_sim_verdict kith__simlookup_pass(struct kith_trial *trial, uint64_t min_ms, uint64_t max_ms);
/** Makes everything, in the network that the scenario says; ready when the server has published, at all servers. */
enum kith_sim_verdict kith__simlookup_open(struct kith_trial *trial, const struct kith_simlookup_options *options);
/** A whole trial: the script, and the end of everything. */
enum kith_sim_verdict kith__simlookup_play(struct kith_trial *trial,
                                           enum kith_sim_verdict (*script)(struct kith_trial *trial));
/** By pkarr, by DNS, or by both: as the seed says. */
unsigned kith__simlookup_ways(const struct kith_trial *trial);
/** The server is elsewhere from now on. */
void kith__simlookup_move(struct kith_trial *trial);
/** The service `name` of an endpoint. */
struct kith_lookup_service *kith__simlookup_service(const struct kith_simapp *app, const char *name);
/** The lookup server that is looked at has where the server is now. For kith__simlookup_until. */
bool kith__simlookup_is_published(struct kith_trial *trial);
/** The client begins to dial the server by its id. */
void kith__simlookup_begin(struct kith_trial *trial);
/** The dial has come through, or has failed. */
bool kith__simlookup_is_decided(struct kith_trial *trial);
/** What was asked is answered; then the client hangs up. */
enum kith_sim_verdict kith__simlookup_hang_up(struct kith_trial *trial);
/** Asks all services of the client and waits until they are through. */
enum kith_sim_verdict kith__simlookup_survey(struct kith_trial *trial, struct kith_simlookup_survey *out);
/** Dials by id alone: connected within limit_ns, asks, hangs up. */
enum kith_sim_verdict kith__simlookup_find(struct kith_trial *trial, uint64_t limit_ns);
/** The server moves, has published it within limit_ns, and is found. */
enum kith_sim_verdict kith__simlookup_move_and_find(struct kith_trial *trial, uint64_t limit_ns);

#endif
