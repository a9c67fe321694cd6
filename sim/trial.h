/**
 * One trial: a world, its endpoints, a script, and the checks after each instant. A scenario is a name, a script and the
 * script's parameters; together with a seed it is a trial, and that pair is all that is needed to run it again.
 */
#ifndef KITH_SIM_TRIAL_H
#define KITH_SIM_TRIAL_H

#include "app.h"
#include "check.h"
#include "keeper.h"

enum {
    KITH_TRIAL_APPS_MAX = 3,
    KITH_TRIAL_CLIENT = 0,
    KITH_TRIAL_SERVER = 1,
    KITH_TRIAL_OTHER = 2,
    KITH_TRIAL_MEMS_MAX = 12
};

/** A parameter that each seed chooses between min and max, both included. */
struct kith_choice {
    uint64_t min, max;
};

/** The network between client and server, for each direction. */
struct kith_trial_net {
    struct kith_choice delay_us, jitter_us; /* one way */
    struct kith_choice loss_ppm, duplicate_ppm, corrupt_ppm, reorder_ppm, reorder_us;
    struct kith_choice rate_kbit;   /* 0 = unlimited */
    struct kith_choice queue_bytes; /* 0 = unlimited */
    struct kith_choice mtu;         /* of IP packets; 0 = unlimited */
    uint32_t mark_ppm, block_ppm;
    bool bleaches_ecn;
    bool has_nat;        /* in front of the client: 10.0.1.1 */
    bool has_server_nat; /* in front of the server, which has its port forwarded */
    bool client_up_only; /* loss, jitter, ... only on the way from the client */
    bool server_up_only; /* ... only on the way from the server */
};

struct kith_trial;

struct kith_scenario {
    const char *name;
    /** What happens. Returns OK, or the verdict of a run that ended otherwise. */
    enum kith_sim_verdict (*play)(struct kith_trial *trial, const struct kith_scenario *scenario);
    uint32_t seeds_percent; /* of the seeds asked for; 0 = 100. For scenarios that take long */
    uint32_t known_seed;    /* once found something: runs in addition; 0 = none */
    struct kith_trial_net net;
    struct kith_simapp_plan plan;
    struct kith_choice limit_s; /* virtual time within which all must be done */
    uint64_t memory_max;        /* of each host; 0 = 64 MiB */
    struct kith_choice extra;   /* the script's own */
    uint32_t goodput_percent;   /* least share of the link's rate that must be reached; 0 = not checked */
    uint8_t answer;             /* enum kith_simapp_answer */
    uint8_t congestion;         /* enum kith_quic_congestion */
};

/** What a trial gives back to the program, through shared memory. */
struct kith_trial_result {
    int verdict; /* enum kith_sim_verdict */
    char why[256];
    uint64_t hash, steps, walks, virtual_ns, cpu_ns;
    uint64_t goodput, capacity; /* bits per second; 0: not measured, unlimited */
    uint64_t memory_peak;
    uint64_t gap_ns; /* the longest that the application waited; 0: not measured */
    struct kith_sim_stats stats;
};

struct kith_trial {
    const struct kith_scenario *scenario;
    uint64_t seed;
    struct kith_prng prng; /* the seed's choices */
    struct kith_sim *sim;
    struct kith_sim_nat *nat, *server_nat;
    struct kith_sim_nat *way_nats[KITH_SIMKEEPER_WAYS_MAX]; /* of kith__trial_set_up_ways, if the net has NATs */
    struct kith_simkeeper keeper;                           /* likewise; of the client's newest connection */
    struct kith_simapp apps[KITH_TRIAL_APPS_MAX];
    size_t app_count;
    struct kith_quic_transport transport; /* this and what follows: of all apps that are added from now on */
    const char *relay_urls[KITH_SIMAPP_RELAYS_MAX];
    size_t relay_count;
    struct kith_simapp_lookups lookups;
    bool no_sockets;
    const struct kith_simmem *mems[KITH_TRIAL_MEMS_MAX]; /* of hosts: empty once the world is gone */
    size_t mem_count;
    struct kith_simcheck check;
    struct kith_trial_result *result;
    void (*trace)(void *ctx, const char *text); /* NULL: none */
    void (*qlog)(void *ctx, uint64_t conn_serial, const char *json_record);
    void *sink_ctx;
};

/** Runs it from begin to end and fills in the result. The sinks in `trial` may be set before; the rest is zero. */
void kith__trial_run(struct kith_trial *trial, const struct kith_scenario *scenario, uint64_t seed,
                     struct kith_trial_result *result);

/* ---- For scripts ---- */

/** A link as the scenario says; one more endpoint, the first is the client, the second the server. For set-ups. */
void kith__trial_choose_link(struct kith_trial *trial, struct kith_sim_link *link);
/** Memory that must have been given back when the world is gone. */
void kith__trial_add_mem(struct kith_trial *trial, const struct kith_simmem *simmem);
struct kith_simapp *kith__trial_add_app(struct kith_trial *trial, const char *name,
                                        struct kith_sim_host_options *options, bool has_v6);
/** Makes client and server as the scenario says, and starts them. */
void kith__trial_set_up(struct kith_trial *trial);
/**
 * Makes and starts a client with `count` interfaces, each with links of its own as the scenario chooses them (the server's
 * link is perfect), every other one with IPv6 in half of the seeds; and a server that has both families. All of both sides
 * speak multipath. Way i leaves by interface i.
 */
void kith__trial_set_up_ways(struct kith_trial *trial, size_t count);
/** The client dials over its first way; the keeper is ready once it is confirmed (at most a minute). */
enum kith_sim_verdict kith__trial_dial_ways(struct kith_trial *trial, const struct kith_simapp_plan *plan,
                                            struct kith_simconn **out);
/** Closes all paths but one and waits until nothing is left of them on either side. */
enum kith_sim_verdict kith__trial_one_path(struct kith_trial *trial);
/** Adds one more client, without NAT, with its own perfect link. */
struct kith_simapp *kith__trial_add_client(struct kith_trial *trial);
uint64_t kith__trial_choose(struct kith_trial *trial, struct kith_choice choice);
/** The client dials the server. */
struct kith_simconn *kith__trial_dial(struct kith_trial *trial, const struct kith_simapp_plan *plan);
/** Steps, with all checks, until `done` (NULL: the time is over) or for so much virtual time at most. */
enum kith_sim_verdict kith__trial_until(struct kith_trial *trial, bool (*done)(struct kith_trial *trial),
                                        uint64_t for_ns);
/** Until the newest connections of client and server have done everything. */
enum kith_sim_verdict kith__trial_finish(struct kith_trial *trial);
/** Until all connections are over and nothing is sent any more: at most a minute. */
enum kith_sim_verdict kith__trial_close(struct kith_trial *trial);
/** All faults end: no loss, no reordering, no blackout, no limits but rate and delay. */
void kith__trial_heal(struct kith_trial *trial);
/** The invariant `fact` is broken unless it is true. */
enum kith_sim_verdict kith__trial_demand(struct kith_trial *trial, bool fact, const char *text);
/** Records goodput: payload that `conn` has read (and its peer) between connecting and the last read. */
void kith__trial_measure(struct kith_trial *trial, struct kith_simconn *conn, uint64_t bytes, uint64_t from_ns);
/** The server's end of the newest connection; NULL if it has none. */
struct kith_simconn *kith__trial_server_conn(const struct kith_trial *trial);
/** First path of a connection. */
struct kith_quic_path_info kith__trial_path(const struct kith_simconn *conn);
/** The address of the server. */
struct kith_sockaddr kith__trial_address(const char *text);
void kith__trial_note(struct kith_trial *trial, const char *text);

/** Ends the script when a step did not go well. */
#define TRY(step)                                                                                                      \
    do {                                                                                                               \
        enum kith_sim_verdict try_verdict = (step);                                                                    \
                                                                                                                       \
        if (try_verdict != KITH_SIM_OK)                                                                                \
            return try_verdict;                                                                                        \
    } while (0)
/** The fact, or the trial is WRONG with the fact's text. */
#define DEMAND(fact) TRY(kith__trial_demand(trial, (fact), #fact))

/* ---- The scenarios: one table a file, ended by an entry without a name ---- */

extern const struct kith_scenario kith__scenarios_transfer[], kith__scenarios_path[], kith__scenarios_peer[],
    kith__scenarios_handshake[], kith__scenarios_time[], kith__scenarios_speed[], kith__scenarios_multi[],
    kith__scenarios_roam[], kith__scenarios_punch[], kith__scenarios_relay[], kith__scenarios_relayed[],
    kith__scenarios_lookup[], kith__scenarios_lookup_servers[];

#endif
