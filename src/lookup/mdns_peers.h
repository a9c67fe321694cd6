/**
 * The peers on the local network: who is known, by what they said on which interface, for how long; and who is looked for. What is
 * new about them waits until it is taken. Owner: struct kith_mdns_core, by value. Source: spec/03, 10.2 and 10.3.
 */
#ifndef KITH_LOOKUP_MDNS_PEERS_H
#define KITH_LOOKUP_MDNS_PEERS_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "lookup/mdns_core.h"

/** What a peer said on one interface. */
struct kith_mdns_voice {
    uint32_t interface;
    uint64_t heard_ns;
    uint64_t ttl_ns; /* 0: it told none */
    struct kith_lookup_info info;
};

struct kith_mdns_peer {
    struct kith_heap_node due; /* when its time is over, or it is to be asked */
    struct kith_list node;     /* in the order in which they were found */
    struct kith_list news;     /* linked: something is to be told */
    struct kith_list asking;   /* linked: ask_links is not 0 */
    struct kith_id id;
    size_t wanted;
    size_t voice_count; /* 0: not known, only looked for */
    struct kith_mdns_voice voices[KITH_MDNS_VOICES_MAX];
    uint64_t ask_ns, ask_gap_ns;
    uint32_t ask_links; /* where it is still to be asked for: a bit for each link */
    uint8_t asks;       /* since it spoke */
    uint8_t change;     /* enum kith_mdns_change, of news */
};

struct kith_mdns_peers {
    const struct kith_mem *mem;
    const struct kith_random *random;
    struct kith_mdns_stats *stats; /* the core's */
    struct kith_map by_id;
    struct kith_heap due;
    struct kith_list all, news, asking;
    size_t known_count, wanted_count; /* of them: with a voice; looked for */
    bool is_saying;                   /* we are one of the swarm */
};

void kith__mdns_peers_init(struct kith_mdns_peers *peers, const struct kith_mem *mem, const struct kith_random *random,
                           struct kith_mdns_stats *stats);
void kith__mdns_peers_dispose(struct kith_mdns_peers *peers);

/** The swarm as other makers count it: with us. At least 1. */
size_t kith__mdns_peers_size(const struct kith_mdns_peers *peers);
struct kith_mdns_peer *kith__mdns_peers_find(const struct kith_mdns_peers *peers, const struct kith_id *id);

/** A peer spoke. Takes what it says over: said->info is empty then. What is not used is counted. */
void kith__mdns_peers_heard(struct kith_mdns_peers *peers, struct kith_mdns_said *said, uint32_t interface,
                            uint64_t now_ns);
/** See kith__mdns_core_want. *out is to be asked for. */
KITH_MUST_USE int kith__mdns_peers_want(struct kith_mdns_peers *peers, const struct kith_id *id, uint64_t now_ns);
void kith__mdns_peers_unwant(struct kith_mdns_peers *peers, const struct kith_id *id);
/** What is due: forgets those whose time is over. True: there are more to be asked for, on `links`. */
bool kith__mdns_peers_run(struct kith_mdns_peers *peers, uint32_t links, uint64_t now_ns);
/** All that are looked for, and have not spoken since, are to be asked for on these links. */
void kith__mdns_peers_ask_again(struct kith_mdns_peers *peers, uint32_t links);
/** It was asked for on these links, or they are closed. */
void kith__mdns_peer_asked(struct kith_mdns_peer *peer, uint32_t links);
/** Lists in a query those heard on this interface who need not answer it. */
void kith__mdns_peers_write_known(const struct kith_mdns_peers *peers, uint32_t interface, uint64_t now_ns,
                                  struct kith_mdns_query *query);
/** See kith__mdns_core_get. */
KITH_MUST_USE int kith__mdns_peers_get(const struct kith_mdns_peers *peers, const struct kith_id *id,
                                       struct kith_lookup_info *out, uint64_t *heard_ns);
/** Takes the next news. The peer may be gone then. */
bool kith__mdns_peers_take_news(struct kith_mdns_peers *peers, struct kith_mdns_news *out);

#endif
