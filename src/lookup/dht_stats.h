/** What a node of the DHT counts. Source: none; every datagram that arrives is in exactly one of the first two groups. */
#ifndef KITH_LOOKUP_DHT_STATS_H
#define KITH_LOOKUP_DHT_STATS_H

#include <kith/types.h>

/** Why an incoming datagram was not used: X(name). */
#define KITH_DHT_DROPS(X)                                                                                              \
    X(family)     /* not from an IPv4 address, or from port 0 */                                                       \
    X(too_large)  /* beyond KITH_DHT_DATAGRAM_MAX */                                                                   \
    X(malformed)  /* not bencoded, or no message of KRPC */                                                            \
    X(unexpected) /* an answer to nothing that we asked, or a late one */                                              \
    X(wrong_peer) /* an answer that came from another address than was asked */                                        \
    X(read_only)  /* a question, and we answer none */                                                                 \
    X(rate)       /* a question beyond the rates */                                                                    \
    X(no_room)    /* a question whose answer found no place in the queue */

/** Why a value that a node had for us was not taken: X(name). */
#define KITH_DHT_BAD_VALUES(X)                                                                                         \
    X(wrong_key)  /* not the key that was asked for */                                                                 \
    X(incomplete) /* a part is missing or has another size than it must */                                             \
    X(too_large)  /* of more than 1,000 bytes */                                                                       \
    X(signature)                                                                                                       \
    X(dns) /* well signed, but not a DNS message: no pkarr packet */

struct kith_dht_stats {
    uint64_t received_answers, received_errors, received_questions; /* used */
#define KITH_DHT_DROP_MEMBER(name) uint64_t drop_##name;
    KITH_DHT_DROPS(KITH_DHT_DROP_MEMBER)
#undef KITH_DHT_DROP_MEMBER
    uint64_t answers_other_id;               /* under another id than the node was heard of: its own counts */
    uint64_t asked, asked_again, unanswered; /* questions of ours: sent first, sent once more, given up */
    uint64_t values_found, values_older;     /* good ones; of them: not newer than one that was found before */
#define KITH_DHT_BAD_MEMBER(name) uint64_t value_##name;
    KITH_DHT_BAD_VALUES(KITH_DHT_BAD_MEMBER)
#undef KITH_DHT_BAD_MEMBER
    uint64_t gets, puts, gets_found, puts_stored;
    uint64_t put_stored, put_refused, put_silent; /* nodes, over all puts */
    uint64_t nodes_heard_of,
        nodes_refused; /* in answers; of them: no usable address, one of too many at an address, or ours */
    uint64_t nodes_joined, nodes_bad, nodes_no_room;                 /* routing table: added, thrown out, not needed */
    uint64_t outbox_full;                                            /* a question waits for its second try */
    uint64_t stored, stored_refused, stored_evicted, stored_expired; /* as a server */
    uint64_t id_changes;                                             /* our address became known, or another: BEP 42 */
};

#endif
