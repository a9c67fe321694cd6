/** Shared by the files of the simulated world. */
#ifndef KITH_RT_SIM_WORLD_H
#define KITH_RT_SIM_WORLD_H

#include "base/map.h"
#include "base/random.h"
#include "rt/ops.h"
#include "rt/sim/sim.h"

enum {
    SIM_CONTACTS_MAX = 32,       /* of a mapping or a firewall; when full the one unused for longest goes */
    SIM_PACKET_INSIDE = 2048,    /* larger datagrams get memory of their own */
    SIM_SCRATCH_SIZE = 512 << 10 /* where datagrams of one batch are merged */
};

/** Something that happens at node.key; KITH_NEVER: not now. Stays in the heap from add to remove. */
struct sim_event {
    struct kith_heap_node node;
    void (*run)(struct kith_sim *sim, struct sim_event *event);
};

struct sim_link_state {
    uint64_t busy_until_ns, last_arrival_ns;
};

enum sim_hop { SIM_HOP_LEFT_HOST, SIM_HOP_CORE, SIM_HOP_NAT_INSIDE, SIM_HOP_ARRIVED };

struct sim_packet {
    struct sim_event event;
    struct kith_list node; /* in a socket's queue or the pool */
    struct kith_sockaddr from, to;
    struct sim_interface *sender, *receiver; /* receiver: once known */
    uint8_t hop, ecn;                        /* hop: enum sim_hop, what the arrival event does */
    bool is_inside;                          /* to the host itself: it passes no link */
    uint8_t *bytes;                          /* inside, or of its own */
    size_t size;
    uint8_t inside[SIM_PACKET_INSIDE];
};

/** Who has an address: one of the two. */
struct sim_owner {
    struct sim_interface *interface;
    struct kith_sim_nat *nat;
};

/** Someone who was written to. */
struct sim_contact {
    struct kith_sockaddr remote;
    uint64_t used_ns;
};

struct sim_contacts {
    struct sim_contact at[SIM_CONTACTS_MAX];
    uint32_t count;
};

struct sim_interface {
    struct kith_sim_host *host;
    struct sim_owner owner;
    struct kith_sim_interface_options options;
    char name[KITH_RT_INTERFACE_NAME_SIZE];
    struct sim_link_state up, down;
    struct sim_contacts contacts; /* of the firewall */
    bool is_up;
};

struct sim_udp {
    struct kith_rt_udp head;
    struct kith_list node;  /* in host->sockets, or sim->closed */
    struct kith_list queue; /* packets that arrived */
    struct sim_event unblock;
    struct sim_interface *member_of; /* of a group there; NULL: an ordinary socket */
    bool is_closed, is_unblocked;    /* is_unblocked: on_writable is due */
    bool merges;
};

struct sim_nat_mapping {
    struct kith_sockaddr inner, remote; /* remote: as far as the mapping kind looks at it */
    uint16_t outer_port;
    bool is_fixed; /* a forwarded port: anyone may use it, and it stays */
    uint64_t used_ns;
    struct sim_contacts contacts;
};

struct kith_sim_nat {
    struct kith_sim *sim;
    struct kith_list node;
    struct sim_owner owner;
    uint32_t scope; /* of the addresses inside, from 1 */
    struct kith_sim_nat_options options;
    struct sim_link_state up, down;
    struct sim_nat_mapping *mappings; /* in the order of their creation */
    size_t count, cap;
    uint16_t next_port;
};

struct sim_fs_node;

struct kith_sim_host {
    struct kith_rt rt; /* first: kith__sim_of and the table cast */
    struct kith_sim *sim;
    struct kith_list node, ready; /* ready: in sim->ready while a turn is due */
    struct sim_event timer;
    struct kith_sim_host_options options; /* those of the first interface are in there only at the start */
    char name[32];
    struct sim_interface interfaces[KITH_SIM_INTERFACES_MAX];
    size_t interface_count;
    struct kith_list sockets, watches;
    uint16_t next_port;
    bool is_down, was_woken, is_in_turn;
    uint64_t turns;
    uint64_t wall_us;                          /* its wall clock's own part; wraps */
    uint64_t sent_datagrams;                   /* of all its sockets */
    struct kith_list listeners, ends, signals; /* ends: of TCP connections */
    struct kith_prng prng;                     /* of rt.random */
    struct sim_fs_node *root;
    struct kith_sim_fs_faults faults;
    uint64_t fs_changes, fs_used, fs_next_inode, fs_open_count;
};

struct kith_sim {
    const struct kith_mem *mem;
    uint64_t wall_us; /* the wall clock at time 0 */
    struct kith_log log;
    struct kith_prng prng;
    struct kith_random random;
    uint64_t now_ns;
    struct kith_heap events;
    struct kith_map addresses; /* scope, family, ip: struct sim_owner */
    struct kith_list hosts, nats, ready, pool, closed, conns;
    size_t host_count, nat_count;
    uint8_t *scratch;
    struct {
        struct kith_sim_host *a, *b;
    } partitions[KITH_SIM_PARTITIONS_MAX];
    size_t partition_count;
    struct {
        struct kith_sockaddr from, to;
    } blackholes[KITH_SIM_BLACKHOLES_MAX];
    size_t blackhole_count;
    struct kith_sim_stats stats;
    uint64_t hash;
    char why[256];
    bool is_wrong, is_stepping;
};

static inline struct kith_sim_host *kith__sim_host_of(const struct kith_rt *rt)
{
    return (struct kith_sim_host *)(void *)(uintptr_t)rt;
}

/** Puts an event into the heap, for KITH_NEVER. KITH_ERR_NOMEM. */
int kith__sim_event_add(struct kith_sim *sim, struct sim_event *event,
                        void (*run)(struct kith_sim *sim, struct sim_event *event));
/** Changes its time; not before now. It is in the heap. */
void kith__sim_event_set(struct kith_sim *sim, struct sim_event *event, uint64_t at_ns);
void kith__sim_event_remove(struct kith_sim *sim, struct sim_event *event);
/** The host gets a turn in this instant. */
void kith__sim_host_ready(struct kith_sim_host *host);
/** True with this chance. Draws nothing for 0, so that a perfect link leaves the sequence alone. */
bool kith__sim_chance(struct kith_sim *sim, uint32_t ppm);
/** Takes a word into the trace hash. */
static inline void kith__sim_trace(struct kith_sim *sim, uint64_t word)
{
    sim->hash = (sim->hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    sim->hash ^= sim->hash >> 29;
}
/** Registers, finds, removes addresses. scope: 0 the core, else that NAT's inside. */
int kith__sim_address_add(struct kith_sim *sim, uint32_t scope, const struct kith_sockaddr *addr,
                          struct sim_owner *owner);
struct sim_owner *kith__sim_address_find(struct kith_sim *sim, uint32_t scope, const struct kith_sockaddr *addr);
void kith__sim_address_remove(struct kith_sim *sim, uint32_t scope, const struct kith_sockaddr *addr);

/** Gives up all addresses of a host's interfaces. */
void kith__sim_interfaces_dispose(struct kith_sim_host *host);
bool kith__sim_interface_has(const struct sim_interface *interface, const struct kith_sockaddr *addr);
/** The interface that is up and has this address; NULL. */
struct sim_interface *kith__sim_interface_of(struct kith_sim_host *host, const struct kith_sockaddr *addr);
/** Its first address of the family, with which it sends; family NONE: it has none. */
struct kith_sockaddr kith__sim_interface_source(const struct sim_interface *interface, uint8_t family);
/** Who has the address behind the interface's NAT; NULL: nobody, or there is no NAT. */
struct sim_owner *kith__sim_neighbour(const struct sim_interface *interface, const struct kith_sockaddr *addr);
/** By which interface a datagram without a source address leaves; NULL: by none. */
struct sim_interface *kith__sim_route(struct kith_sim_host *host, const struct kith_sockaddr *to);
int kith__sim_rt_interfaces(struct kith_rt *rt, struct kith_rt_interface *out, size_t cap, size_t *count);
int kith__sim_watch_open(struct kith_rt *rt, const struct kith_rt_watch *head, struct kith_rt_watch **out);
void kith__sim_watch_close(struct kith_rt_watch *head);
int kith__sim_signal_open(struct kith_rt *rt, const struct kith_rt_signal *head, struct kith_rt_signal **out);
void kith__sim_signal_close(struct kith_rt_signal *head);
/** Watches are due. */
void kith__sim_interfaces_changed(struct kith_sim_host *host);
/** Calls the watches that are due. */
void kith__sim_watches_tell(struct kith_sim_host *host);

/** As much of a remote address as the kind (enum kith_sim_nat_kind) looks at. */
struct kith_sockaddr kith__sim_part_of(const struct kith_sockaddr *remote, uint8_t kind);
/** Someone is written to; may one who writes enter; hold_ns 0: for ever. */
void kith__sim_contacts_note(struct sim_contacts *contacts, const struct kith_sockaddr *remote, uint64_t now_ns);
bool kith__sim_contacts_allow(const struct sim_contacts *contacts, const struct kith_sockaddr *from, uint8_t filtering,
                              uint64_t now_ns, uint64_t hold_ns);
/** The firewall sees a datagram leave; true if this one may enter. */
void kith__sim_firewall_out(struct sim_interface *interface, const struct sim_packet *packet);
bool kith__sim_firewall_in(struct sim_interface *interface, const struct sim_packet *packet);

/** NAT: true if the packet goes on, with from or to changed. */
bool kith__sim_nat_out(struct kith_sim_nat *nat, struct sim_packet *packet);
bool kith__sim_nat_in(struct kith_sim_nat *nat, struct sim_packet *packet);
void kith__sim_nat_free(struct kith_sim_nat *nat);

/** True if packets from one address to another (as the core sees them) pass now, from interface to interface. */
bool kith__sim_way_is_open(const struct sim_interface *from, const struct kith_sockaddr *from_addr,
                           const struct sim_interface *to, const struct kith_sockaddr *to_addr);

/** The packet is no more: back to the pool. */
void kith__sim_packet_free(struct kith_sim *sim, struct sim_packet *packet);
void kith__sim_pool_free(struct kith_sim *sim);
/** Hands the queue of every socket of the host to its user. */
void kith__sim_udp_deliver(struct kith_sim_host *host);
/** Frees sockets that were closed. No callback is on the stack. */
void kith__sim_udp_bury(struct kith_sim *sim);
/** Throws away what waits in the sockets of a host that went down. */
void kith__sim_udp_clear(struct kith_sim_host *host);
int kith__sim_udp_open(struct kith_rt *rt, const struct kith_rt_udp_options *options,
                       const struct kith_rt_udp_events *events, struct kith_rt_udp **out);
void kith__sim_udp_close(struct kith_rt_udp *udp);
void kith__sim_udp_send(struct kith_rt_udp *udp, const struct kith_quic_transmit *transmit, const uint8_t *bytes);

/** Fills in the file and the stream part of the table; the file system's life. */
void kith__sim_fs_ops(struct kith_rt_ops *ops);
int kith__sim_fs_init(struct kith_sim_host *host);
void kith__sim_fs_dispose(struct kith_sim_host *host);
void kith__sim_stream_ops(struct kith_rt_ops *ops);
/** The host is up again: what was due to its streams and listeners is due now. */
void kith__sim_streams_wake(struct kith_sim_host *host);

#endif
