/**
 * When to speak on one link: the schedule of responses and queries, and how much is listened to. By value in its owner; times
 * in, due times out. Source: spec/03, 10.2; RFC 6762, 5.2, 6, 7.3 and 8.3.
 */
#ifndef KITH_LOOKUP_MDNS_LINK_H
#define KITH_LOOKUP_MDNS_LINK_H

#include <kith/types.h>

struct kith_mdns_link {
    bool is_open;
    uint32_t interface;
    const struct kith_random *random; /* borrowed */
    /* Responses. */
    uint64_t respond_ns;    /* when one is due; KITH_NEVER */
    bool must_respond;      /* asked by name, or unasked: what others say does not matter */
    bool has_said;          /* since it opened, and no goodbye since */
    bool has_responded;     /* to the last question to all */
    unsigned heard;         /* endpoints in responses since that question */
    unsigned announcements; /* that are left of those of a start or change */
    uint64_t extra_ns;      /* who spoke in the last round lets others speak */
    uint64_t responded_ns;  /* 0: never */
    bool is_leaving;        /* a goodbye is due */
    /* Queries. */
    uint64_t browse_ns, browse_gap_ns; /* to all, without a cause */
    uint64_t ask_ns;                   /* about some: KITH_NEVER: none */
    uint64_t queried_ns;               /* 0: never */
    /* What may be heard: as much time as it takes at the rate. */
    uint64_t budget_ns, filled_ns;
};

void kith__mdns_link_open(struct kith_mdns_link *link, uint32_t interface, const struct kith_random *random,
                          uint64_t now_ns);
/** Whether one more message may be read; it takes its share then. */
bool kith__mdns_link_may_hear(struct kith_mdns_link *link, uint64_t now_ns);

/** We have something new to say. */
void kith__mdns_link_announce(struct kith_mdns_link *link, uint64_t now_ns);
/** Somebody asks all; size: of the swarm, with us. */
void kith__mdns_link_on_query(struct kith_mdns_link *link, size_t size, uint64_t now_ns);
/** Somebody asked what we would ask all. */
void kith__mdns_link_on_browsed(struct kith_mdns_link *link, uint64_t now_ns);
/** Somebody asks for us. */
void kith__mdns_link_on_asked(struct kith_mdns_link *link, uint64_t now_ns);
/** Others answered. True: we need not any more. */
bool kith__mdns_link_on_responses(struct kith_mdns_link *link, size_t count);
/** There is somebody to ask for. */
void kith__mdns_link_ask(struct kith_mdns_link *link, uint64_t now_ns);

/** A response went out, or there was nothing to say (has_said false). */
void kith__mdns_link_responded(struct kith_mdns_link *link, bool has_said, uint64_t now_ns);
/** A query went out. more: not all were asked for. */
void kith__mdns_link_queried(struct kith_mdns_link *link, bool more, uint64_t now_ns);

static inline uint64_t kith__mdns_link_query_ns(const struct kith_mdns_link *link)
{
    return link->browse_ns < link->ask_ns ? link->browse_ns : link->ask_ns;
}

#endif
