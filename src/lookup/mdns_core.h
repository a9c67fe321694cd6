/**
 * Who is near: the lookup on the local network without sockets and without a clock. Messages and the time in; messages, news and
 * a deadline out. Source: spec/03, 10; RFC 6762.
 *
 * How it speaks. Peers of other makers ask who is there about every 0.8 s, and forget whom they do not hear for 2.1 s (longer, the
 * more there are). Their questions are answered as they answer each other's: after a moment by chance, and not at all when two
 * others did. We ourselves ask when a way to the network opens, then less and less often, and about those whom somebody looks for or
 * whose time runs out; and say unasked when we come, change, and go. So a network of kith alone is quiet (RFC 6762, 5.2, 8.3 and
 * 10.1), and one with others is no louder for us.
 *
 * A link is one way to the network: one address family on one interface.
 */
#ifndef KITH_LOOKUP_MDNS_CORE_H
#define KITH_LOOKUP_MDNS_CORE_H

#include "lookup/mdns_message.h"

struct kith_mdns_core;

enum {
    KITH_MDNS_LINKS_MAX = 32,   /* one bit each */
    KITH_MDNS_PEERS_MAX = 1024, /* that are known; strangers beyond it are refused, those who are looked for are not */
    KITH_MDNS_WANTED_MAX = 1024,
    KITH_MDNS_VOICES_MAX = 3,    /* interfaces on which one peer is heard; the one that was not for longest gives way */
    KITH_MDNS_ASKED_MAX = 8,     /* ids that one query asks for by name */
    KITH_MDNS_TTL_MAX_S = 600,   /* longer promises are cut to this */
    KITH_MDNS_HEARD_RATE = 200,  /* messages a second that a link reads, on average; more are dropped unread */
    KITH_MDNS_HEARD_BURST = 400, /* and at once */
    KITH_MDNS_CUTOFF = 2         /* peers that answer one question to all */
};

/** The beat of other makers' peers: spec/03, 10.2. */
#define KITH_MDNS_BEAT_NS (700 * KITH_NS_PER_MS)
/**
 * Those who tell no TTL are not forgotten before the one, since three beats are few on a network that loses; nor believed longer
 * than the other, however many there seem to be.
 */
#define KITH_MDNS_SILENCE_MIN_NS (5 * KITH_NS_PER_S)
#define KITH_MDNS_SILENCE_MAX_NS (120 * KITH_NS_PER_S)
/** Between two responses, and between two queries, on a link; what is due before waits. */
#define KITH_MDNS_RESPONSE_GAP_NS (200 * KITH_NS_PER_MS)
#define KITH_MDNS_QUERY_GAP_NS    (250 * KITH_NS_PER_MS)
/** Between questions to all without a cause: doubled from the first to the last. */
#define KITH_MDNS_ASK_MIN_NS KITH_NS_PER_S
#define KITH_MDNS_ASK_MAX_NS (600 * KITH_NS_PER_S)

/** Why what was heard was not used, or not in full: X(name). */
#define KITH_MDNS_DROPS(X)                                                                                             \
    X(rate)      /* message: too many on this link */                                                                  \
    X(malformed) /* message: no DNS, or too many records */                                                            \
    X(no_memory) /* message, or an endpoint of it */                                                                   \
    X(own)       /* message: what we said ourselves */                                                                 \
    X(foreign)   /* message: about something else on this network */                                                   \
    X(part)      /* record, attribute or address: too many, or without sense */                                        \
    X(no_key)    /* endpoint: its id is no key */                                                                      \
    X(full)      /* endpoint: a stranger beyond KITH_MDNS_PEERS_MAX */

struct kith_mdns_stats {
    uint64_t heard_queries, heard_responses;
    uint64_t sent_queries, sent_responses, sent_goodbyes;
    uint64_t kept_quiet; /* questions not answered: others did, or the asker knew */
    uint64_t found, changed, expired, left;
    uint64_t voices_replaced;
    uint64_t left_out; /* addresses and texts of ours that found no room in a response */
#define KITH_MDNS_DROP_MEMBER(name) uint64_t drop_##name;
    KITH_MDNS_DROPS(KITH_MDNS_DROP_MEMBER)
#undef KITH_MDNS_DROP_MEMBER
};

/** Everything is borrowed and outlives it, but `service`, which is copied: see kith__mdns_names_init. */
struct kith_mdns_core_options {
    const struct kith_mem *mem;
    const struct kith_random *random;
    struct kith_id id;
    const char *service; /* NULL: iroh's */
};

/** Errors: NOMEM; PARSE, TOO_LARGE: the service's name. */
KITH_MUST_USE int kith__mdns_core_new(const struct kith_mdns_core_options *options, struct kith_mdns_core **out);
/** Without a word: see kith__mdns_core_leave. NULL is fine. */
void kith__mdns_core_free(struct kith_mdns_core *core);

/** A way to the network opened. Its number, from 0, until it is closed. LIMIT. */
KITH_MUST_USE int kith__mdns_core_link_open(struct kith_mdns_core *core, uint32_t interface, uint64_t now_ns,
                                            unsigned *link);
/** It is closed. What was heard by it stays until its time is over. */
void kith__mdns_core_link_close(struct kith_mdns_core *core, unsigned link);

/** What is to be said of us from now on, copied; NULL or without an address: nothing. NOMEM: as before. */
KITH_MUST_USE int kith__mdns_core_say(struct kith_mdns_core *core, const struct kith_lookup_info *info,
                                      uint64_t now_ns);
/** Takes leave on all links, if we said something there: see kith__mdns_core_next. Then free it. */
void kith__mdns_core_leave(struct kith_mdns_core *core);

/**
 * Somebody looks for id: it is asked for by name, soon and again, until as many unwants; counted. NOMEM, LIMIT.
 */
KITH_MUST_USE int kith__mdns_core_want(struct kith_mdns_core *core, const struct kith_id *id, uint64_t now_ns);
void kith__mdns_core_unwant(struct kith_mdns_core *core, const struct kith_id *id);

/** A message (untrusted) arrived by a link that is open. Never fails: what is not used is counted. */
void kith__mdns_core_heard(struct kith_mdns_core *core, unsigned link, struct kith_slice bytes, uint64_t now_ns);

/** When something is to be done. KITH_NEVER. */
uint64_t kith__mdns_core_deadline(const struct kith_mdns_core *core);
/**
 * The next message that is due: written to `out` (KITH_MDNS_MESSAGE_SIZE bytes), for this link. Returns its size; 0: there is
 * none. To be called until then after every other call, and at the deadline.
 */
size_t kith__mdns_core_next(struct kith_mdns_core *core, uint64_t now_ns, uint8_t *out, unsigned *link);

/** What became of a peer. */
enum kith_mdns_change {
    KITH_MDNS_HEARD, /* it spoke, but said nothing new */
    KITH_MDNS_FOUND, /* it was not known */
    KITH_MDNS_CHANGED,
    KITH_MDNS_GONE /* it took its leave, or its time is over */
};

/** News of a peer. */
struct kith_mdns_news {
    enum kith_mdns_change change;
    struct kith_id id;
};
/** The next; false: there are none. Of one peer only the last state is told. To be called until then after each turn. */
bool kith__mdns_core_news(struct kith_mdns_core *core, struct kith_mdns_news *out);

/**
 * What is known of a peer: all that its voices said, merged into *out (initialised). heard_ns: when it spoke last. NOT_FOUND,
 * NOMEM.
 */
KITH_MUST_USE int kith__mdns_core_get(const struct kith_mdns_core *core, const struct kith_id *id,
                                      struct kith_lookup_info *out, uint64_t *heard_ns);
/** How many are known. */
size_t kith__mdns_core_count(const struct kith_mdns_core *core);
struct kith_mdns_stats kith__mdns_core_stats(const struct kith_mdns_core *core);

#endif
