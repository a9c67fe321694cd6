/**
 * The simulated world: hosts, links, NATs and a clock that jumps from event to event, all in one process and one thread.
 * Each host has a struct kith_rt like the real one. One seed decides everything that is random, so a run replays bit for
 * bit; kith__sim_hash tells whether it did.
 *
 *     host A --(up, down)-- [NAT] --(up, down)-- core --(down, up)-- host B
 *
 * A datagram passes the sender's `up`, the `up` of its NAT if any, the core (which takes no time), then the `down` of the
 * receiver's NAT and of the receiver. Hosts behind the same NAT reach each other without it, and only they hear each other's
 * datagrams to groups (rt/multicast.h). TCP streams are reliable: they
 * take delay, jitter and rate of these links, what is lost comes 200 ms later, and while the way is closed in one direction
 * or the other nothing arrives and nobody is told (rt/sim/tcp.c); NATs and firewalls let them pass. Files live in memory, one
 * file system a host.
 *
 * A host has one interface or several, each with links, addresses and a NAT of its own (a phone: Wi-Fi and cellular). A
 * datagram leaves by the interface that has its source address; without one, by the first that is up and has an address of
 * the family, except that a neighbour behind the same NAT is reached there. NATs are for IPv4; IPv6 has firewalls.
 *
 * Order of events: by time, then by creation. All datagrams that reach a socket at one instant arrive as one batch, merged
 * as GRO does it.
 */
#ifndef KITH_RT_SIM_SIM_H
#define KITH_RT_SIM_SIM_H

#include "rt/rt.h"

struct kith_sim;      /* the world */
struct kith_sim_host; /* owned by the world */
struct kith_sim_nat;  /* owned by the world */

enum {
    KITH_SIM_HOSTS_MAX = 16384,
    KITH_SIM_NATS_MAX = 4096,
    KITH_SIM_TCP_WINDOW = 256 << 10,
    KITH_SIM_HOST_ADDRS_MAX = 4, /* of an interface */
    KITH_SIM_INTERFACES_MAX = 8, /* of a host */
    KITH_SIM_BLACKOUTS_MAX = 4,
    KITH_SIM_BLACKHOLES_MAX = 64,
    KITH_SIM_NAT_MAPPINGS_MAX = 4096, /* per NAT; the oldest goes when full */
    KITH_SIM_PARTITIONS_MAX = 256
};

/** One direction of a link. All zero: no delay, no loss, no limits. Chances in parts per million. */
struct kith_sim_link {
    uint64_t delay_ns;
    uint64_t jitter_ns; /* uniform on top, order is kept */
    uint32_t loss_ppm;
    uint32_t corrupt_ppm; /* one bit, anywhere in the datagram, is the other way round */
    uint32_t duplicate_ppm;
    uint32_t reorder_ppm; /* this share is late by reorder_ns and may be overtaken */
    uint64_t reorder_ns;
    uint64_t rate;     /* bits per second; 0 = unlimited */
    size_t queue_size; /* bytes that may wait for the rate; 0 = unlimited. More is dropped */
    size_t mark_size;  /* ECN: more bytes than this waiting turn ECT into CE; 0 = never */
    uint32_t mark_ppm; /* ECN: this share is marked anyway */
    bool bleaches_ecn; /* ECN bits are cleared */
    size_t mtu;        /* IP packets above this vanish (IPv4 + 28, IPv6 + 48 bytes); 0 = unlimited */
    bool is_cut;       /* nothing passes, and nobody is told */
    struct {
        uint64_t from_ns, until_ns; /* the same in [from, until) */
    } blackouts[KITH_SIM_BLACKOUTS_MAX];
};

/** What a NAT keeps apart (RFC 4787, 4.1 and 5). */
enum kith_sim_nat_kind {
    KITH_SIM_NAT_ENDPOINT_INDEPENDENT, /* one outer port for an inner one; anyone may answer */
    KITH_SIM_NAT_ADDRESS_DEPENDENT,
    KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT /* as mapping: "symmetric" */
};

struct kith_sim_nat_options {
    struct kith_sockaddr outer; /* public address; port: the first outer port is above it (0: 20000) */
    uint8_t mapping, filtering; /* enum kith_sim_nat_kind */
    bool hairpins;              /* inner hosts may use the outer address; they see outer sources (RFC 4787, 6) */
    bool preserves_ports;       /* the outer port is the inner one if no other mapping has it (RFC 4787, 4.2.1) */
    bool inbound_refreshes;     /* incoming datagrams keep a mapping alive too; outgoing ones do always */
    uint64_t mapping_ns;        /* a mapping unused for so long goes; 0 = never */
    struct kith_sim_link up, down;
};

/** A stateful packet filter of an interface: only those may send who were written to. */
struct kith_sim_firewall {
    bool is_on;
    uint8_t filtering; /* enum kith_sim_nat_kind: who else may answer */
    uint64_t hold_ns;  /* how long a datagram opens the way for; 0 = for ever */
};

struct kith_sim_interface_options {
    const char *name;                                    /* at most 15 bytes; copied; NULL: sim0, sim1, ... */
    struct kith_sockaddr addrs[KITH_SIM_HOST_ADDRS_MAX]; /* port 0; unused: family NONE */
    struct kith_sim_nat *nat;                            /* for its IPv4 addresses; NULL: none */
    struct kith_sim_firewall firewall;
    struct kith_sim_link up, down;
    size_t mtu; /* above it a send counts as too_large; 0 = 65,535 */
};

/** With the options of the first interface (sim0); kith__sim_interface_add makes more. */
struct kith_sim_host_options {
    const char *name;                                    /* for traces; at most 31 bytes; copied */
    struct kith_sockaddr addrs[KITH_SIM_HOST_ADDRS_MAX]; /* port 0; unused: family NONE */
    struct kith_sim_nat *nat;                            /* for its IPv4 addresses; NULL: none */
    struct kith_sim_firewall firewall;
    struct kith_sim_link up, down;
    size_t interface_mtu; /* above it a send counts as too_large; 0 = 65,535 */
    uint32_t block_ppm;   /* this share of sends leaves the socket blocked for block_ns */
    uint64_t block_ns;
    bool no_gro;                /* batches are not merged */
    size_t tcp_window;          /* bytes that a TCP stream takes and its user has not read; 0 = KITH_SIM_TCP_WINDOW */
    const struct kith_mem *mem; /* of its rt; NULL: the world's */
};

/** Why a datagram did not arrive: X(name). */
#define KITH_SIM_DROPS(X)                                                                                              \
    X(loss)      /* the link's loss_ppm */                                                                             \
    X(queue)     /* queue_size */                                                                                      \
    X(mtu)       /* link mtu */                                                                                        \
    X(blackout)  /* is_cut or a blackout window */                                                                     \
    X(partition) /* kith__sim_set_partition */                                                                         \
    X(blackhole) /* kith__sim_set_blackhole */                                                                         \
    X(no_route)  /* nobody has the address */                                                                          \
    X(no_socket) /* no socket on the port */                                                                           \
    X(nat)       /* filtered, or no mapping */                                                                         \
    X(firewall)  /* nobody wrote to that address before */                                                             \
    X(down)      /* the host or the interface is down */                                                               \
    X(no_memory) /* the allocator of the world or the host said no */

struct kith_sim_stats {
    uint64_t events;
    uint64_t sent, delivered, duplicated, reordered, marked, corrupted;
    uint64_t delivered_bytes;
    uint64_t tcp_connections, tcp_bytes; /* accepted by a host; that arrived */
    uint64_t tcp_retries;                /* because the way was closed */
    uint64_t tcp_resets, tcp_timeouts;   /* ends that ended so */
#define KITH_SIM_DROP_MEMBER(name) uint64_t drop_##name;
    KITH_SIM_DROPS(KITH_SIM_DROP_MEMBER)
#undef KITH_SIM_DROP_MEMBER
};

/** How a run ended: three kinds of failure that a user must be able to tell apart. */
enum kith_sim_verdict {
    KITH_SIM_OK,    /* the condition came true */
    KITH_SIM_STUCK, /* the time passed, or no event is left, without it */
    KITH_SIM_WRONG, /* kith__sim_wrong was called: an invariant is broken */
    KITH_SIM_CRASH  /* a signal or a failed assertion ended the process that ran it; who started it says so */
};

/** Creates a world at time 1 s. mem NULL: the default; log may be NULL (copied). Errors: NOMEM. */
KITH_MUST_USE int kith__sim_new(const struct kith_mem *mem, const struct kith_log *log, uint64_t seed,
                                struct kith_sim **out);
/** Frees everything. Objects on the hosts (sockets, timers, files) must be gone before. NULL is fine. */
void kith__sim_free(struct kith_sim *sim);

/** Adds. Errors: NOMEM, LIMIT, INVALID (no or a taken address). */
KITH_MUST_USE int kith__sim_nat_new(struct kith_sim *sim, const struct kith_sim_nat_options *options,
                                    struct kith_sim_nat **out);
KITH_MUST_USE int kith__sim_host_new(struct kith_sim *sim, const struct kith_sim_host_options *options,
                                     struct kith_sim_host **out);
/** The host's rt, for everything of rt/rt.h. kith__rt_free on it only checks that nothing is left open. */
struct kith_rt *kith__sim_rt(struct kith_sim_host *host);
struct kith_sim *kith__sim_of(struct kith_rt *rt);

/** Adds an interface, up. It gets the next index from 1 on. Errors: LIMIT, INVALID (a taken address), NOMEM. */
KITH_MUST_USE int kith__sim_interface_add(struct kith_sim_host *host, const struct kith_sim_interface_options *options,
                                          unsigned *index);
/**
 * Takes an interface down or up. Down: its addresses are not listed, nothing leaves or arrives by it, the firewall forgets.
 * The addresses stay its own. Watches are told in the same instant.
 */
void kith__sim_interface_set_up(struct kith_sim_host *host, unsigned index, bool is_up);
/** Gives an interface other addresses in place of all it has. Watches are told. Errors: INVALID (taken), LIMIT, NOMEM. */
KITH_MUST_USE int kith__sim_interface_set_addrs(struct kith_sim_host *host, unsigned index,
                                                const struct kith_sockaddr *addrs, size_t count);
struct kith_sockaddr kith__sim_interface_addr(const struct kith_sim_host *host, unsigned index, size_t which);

/** The links, to change them at any time: what is under way keeps its old fate. */
struct kith_sim_link *kith__sim_interface_uplink(struct kith_sim_host *host, unsigned index);
struct kith_sim_link *kith__sim_interface_downlink(struct kith_sim_host *host, unsigned index);
/** Those of the first interface. */
struct kith_sim_link *kith__sim_host_up(struct kith_sim_host *host);
struct kith_sim_link *kith__sim_host_down(struct kith_sim_host *host);
struct kith_sim_link *kith__sim_nat_up(struct kith_sim_nat *nat);
struct kith_sim_link *kith__sim_nat_down(struct kith_sim_nat *nat);
/** Forgets all mappings but forwarded ports, as a reboot does: the next datagram gets another outer port. */
void kith__sim_nat_rebind(struct kith_sim_nat *nat);
/** Gives the NAT another outer address, and forgets all mappings. Errors: INVALID (taken). */
KITH_MUST_USE int kith__sim_nat_move(struct kith_sim_nat *nat, const struct kith_sockaddr *outer);
/**
 * Forwards an outer port to an inner address for good: anyone may send there, and what that address sends leaves with this
 * port. Errors: INVALID (the port is taken), NOMEM.
 */
KITH_MUST_USE int kith__sim_nat_forward(struct kith_sim_nat *nat, uint16_t outer_port,
                                        const struct kith_sockaddr *inner);
/**
 * Switches a host off (nothing arrives, nothing leaves, it gets no turns) and on. TCP streams that are closed while it is off
 * are gone without a trace, as in a crash: the other sides learn it by a reset when they send to the host that is on again.
 */
void kith__sim_host_set_down(struct kith_sim_host *host, bool is_down);
/** Cuts or restores the way between two hosts, both directions. Errors: LIMIT. */
KITH_MUST_USE int kith__sim_set_partition(struct kith_sim *sim, struct kith_sim_host *a, struct kith_sim_host *b,
                                          bool is_cut);

/** Resets all TCP connections of a host, at once on both sides, as a middlebox does that restarts. */
void kith__sim_tcp_reset_all(struct kith_sim_host *host);
/** Makes a signal due on a host: its kith_rt_signal of this kind, if there are any, are told in the same instant. */
void kith__sim_signal(struct kith_sim_host *host, enum kith_rt_signal_kind kind);

/**
 * Makes datagrams from one address to another vanish in this direction only, or pass again. Addresses as the core sees them
 * (outside of NATs); port 0: any port; family NONE: any address. Errors: LIMIT.
 */
KITH_MUST_USE int kith__sim_set_blackhole(struct kith_sim *sim, const struct kith_sockaddr *from,
                                          const struct kith_sockaddr *to, bool is_on);

/* ---- Time ---- */

uint64_t kith__sim_now(const struct kith_sim *sim);
/** All wall clocks (kith__rt_wall_us) jump, forward or back; the clock that everything runs by does not. */
void kith__sim_jump_wall(struct kith_sim *sim, int64_t by_us);
/** The same for the wall clock of one host. */
void kith__sim_host_jump_wall(struct kith_sim_host *host, int64_t by_us);
/** Runs all events of the next instant. False: there is none. */
bool kith__sim_step(struct kith_sim *sim);
/**
 * Steps until is_done (asked after each instant; NULL: never) is true, the time until_ns comes, or nothing is left to happen.
 * With is_done NULL, reaching until_ns or the last event is KITH_SIM_OK.
 */
enum kith_sim_verdict kith__sim_run(struct kith_sim *sim, bool (*is_done)(void *ctx), void *ctx, uint64_t until_ns);
/** Says that an invariant is broken: the run ends as WRONG. The first text (copied, 255 bytes) is kept. */
void kith__sim_wrong(struct kith_sim *sim, const char *text);
/** That text, or what a stuck run waited for in numbers; "" if all is well. */
const char *kith__sim_why(const struct kith_sim *sim);

/** Hash over every datagram's times, addresses, bytes and fate so far: equal for equal runs. */
uint64_t kith__sim_hash(const struct kith_sim *sim);
struct kith_sim_stats kith__sim_stats(const struct kith_sim *sim);
/** Datagrams that all sockets of a host have sent, with those that are closed. */
uint64_t kith__sim_host_sent(const struct kith_sim_host *host);
/** Random numbers of the world for the test's own choices. */
const struct kith_random *kith__sim_random(struct kith_sim *sim);

/** The exit code of a program for a verdict: 0, 10 stuck, 11 wrong. */
int kith__sim_exit_code(enum kith_sim_verdict verdict);

/* ---- Files ---- */

/** Faults of a host's file system. */
struct kith_sim_fs_faults {
    uint64_t space_max; /* bytes of file contents that fit; more is NO_SPACE; 0 = unlimited */
    uint64_t fail_at;   /* the n-th call from now on that changes the file system fails, once; 0 = never */
    int fail_err;       /* with this error */
};
void kith__sim_fs_set_faults(struct kith_sim_host *host, const struct kith_sim_fs_faults *faults);
/**
 * The machine loses power: entries and contents that were not synced are gone. is_torn: instead each unsynced content is
 * cut at a random place, and each unsynced directory keeps its new entries or not, at random. All files must be closed.
 */
void kith__sim_fs_crash(struct kith_sim_host *host, bool is_torn);

#endif
