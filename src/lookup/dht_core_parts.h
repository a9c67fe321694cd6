/** What the files of the core (dht_core.c, dht_calls.c, dht_op.c, dht_answer.c) share. For them alone. */
#ifndef KITH_LOOKUP_DHT_CORE_PARTS_H
#define KITH_LOOKUP_DHT_CORE_PARTS_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "lookup/dht_core.h"
#include "lookup/dht_query.h"
#include "lookup/dht_server.h"
#include "lookup/dht_table.h"

enum { KITH_DHT_VOTES_MAX = 16, KITH_DHT_VOTES_NEEDED = 5, KITH_DHT_TRANSACTION_SIZE = 4 };

enum kith_dht_call_kind {
    KITH_DHT_CALL_CHECK,  /* are you there: of no operation */
    KITH_DHT_CALL_SEED,   /* who is near the target: someone of whom only the address is known */
    KITH_DHT_CALL_SEARCH, /* what do you have there, or who is near */
    KITH_DHT_CALL_STORE,
    KITH_DHT_CALL_TOKEN /* another token, as the first was refused */
};

/** A question on its way. */
struct kith_dht_call {
    struct kith_heap_node due; /* retry, then give up */
    uint8_t transaction[KITH_DHT_TRANSACTION_SIZE];
    struct kith_sockaddr addr;
    enum kith_dht_call_kind kind;
    uint8_t place; /* in the query; not of CHECK and SEED */
    bool is_again; /* asked twice */
    uint64_t asked_ns;
    struct kith_dht_op *op; /* NULL: nobody's any more; only the table learns from its answer */
};

enum kith_dht_op_kind { KITH_DHT_OP_NODES, KITH_DHT_OP_GET, KITH_DHT_OP_PUT };
enum kith_dht_op_state { KITH_DHT_OP_SEARCHING, KITH_DHT_OP_STORING, KITH_DHT_OP_ENDED };

struct kith_dht_op {
    struct kith_list list;  /* of the core */
    struct kith_list event; /* linked while it has news */
    enum kith_dht_op_kind kind;
    enum kith_dht_op_state state;
    void *user;
    struct kith_dht_query query;
    struct kith_id key; /* GET, PUT */
    uint64_t until_ns;  /* of the search */
    size_t calls;       /* under way */
    bool are_seeds_asked;
    bool has_news, has_newest;
    struct kith_pkarr packet; /* PUT */
    struct kith_pkarr newest;
    size_t stored, refused, silent;
    int64_t refused_code; /* the last one */
    int err;
    char why[KITH_DHT_CORE_WHY_SIZE];
};

struct kith_dht_datagram {
    struct kith_list list;
    struct kith_sockaddr to;
    size_t size;
    uint8_t bytes[];
};

/** Who said what our address is. */
struct kith_dht_vote {
    uint8_t voter[4], said[4];
};

struct kith_dht_core {
    const struct kith_mem *mem;
    const struct kith_random *random;
    bool is_server, may_seeds_come;
    bool is_short; /* an op waits for a place for its next call */
    struct kith_dht_stats stats;
    struct kith_dht_table table; /* has our id */
    struct kith_dht_server server;
    struct kith_heap due;
    struct kith_map calls;
    size_t call_count, check_count, op_count; /* check_count: of the calls */
    struct kith_list ops, events;
    struct kith_dht_op *join; /* looks for our own id, or for a bucket's */
    struct kith_list past;    /* ops of our own that ended: they go with the next call */
    struct kith_dht_op *told; /* its END was given: it goes with the next call */
    struct kith_list outbox;
    size_t outbox_count;
    struct kith_dht_datagram *sent; /* given to the owner: it goes with the next call */
    struct kith_sockaddr seeds[KITH_DHT_SEEDS_MAX];
    size_t seed_count;
    struct kith_dht_vote votes[KITH_DHT_VOTES_MAX];
    size_t vote_count, vote_next;
    uint64_t tend_ns; /* when the table is to be looked after */
    uint64_t joined_ns;
};

/* ---- dht_calls.c ---- */

/** Frees what the owner had borrowed. Every function of the core begins with it. */
void kith__dht_release(struct kith_dht_core *core);
/** Queues a datagram. False: full, or no memory. */
bool kith__dht_send(struct kith_dht_core *core, const struct kith_sockaddr *to, const struct kith_krpc *message);
/** Asks. op NULL for CHECK. False: no room for another call, or no memory. */
bool kith__dht_call(struct kith_dht_core *core, enum kith_dht_call_kind kind, struct kith_dht_op *op, uint8_t place,
                    const struct kith_sockaddr *addr, uint64_t now_ns);
/** The call of a transaction, or NULL. */
struct kith_dht_call *kith__dht_call_find(const struct kith_dht_core *core, struct kith_slice transaction);
/** The call is over and gone; its op has one less. */
void kith__dht_call_end(struct kith_dht_core *core, struct kith_dht_call *call);
/** All calls of an op are nobody's from here on. */
void kith__dht_calls_leave(struct kith_dht_core *core, struct kith_dht_op *op);
/** Asks again what is slow, gives up what is silent. */
void kith__dht_calls_on_deadline(struct kith_dht_core *core, uint64_t now_ns);

/* ---- dht_op.c ---- */

/** Starts an op of any kind, at the nodes that are known. LIMIT, NOMEM. */
KITH_MUST_USE int kith__dht_op_new(struct kith_dht_core *core, enum kith_dht_op_kind kind,
                                   const struct kith_dht_id *target, struct kith_dht_op **out);
void kith__dht_op_free(struct kith_dht_core *core, struct kith_dht_op *op);
/** Does what can be done now: asks, stores, ends. */
void kith__dht_op_pump(struct kith_dht_core *core, struct kith_dht_op *op, uint64_t now_ns);
/** The same for all, when a place for calls or a seed came. */
void kith__dht_op_pump_all(struct kith_dht_core *core, uint64_t now_ns);
/** An answer, error or silence to a call of this op, which is gone already; its parts are given. */
void kith__dht_op_on_answer(struct kith_dht_core *core, struct kith_dht_op *op, const struct kith_dht_call *call,
                            const struct kith_krpc *answer, uint64_t now_ns);
void kith__dht_op_on_error(struct kith_dht_core *core, struct kith_dht_op *op, const struct kith_dht_call *call,
                           const struct kith_krpc *error, uint64_t now_ns);
void kith__dht_op_on_silence(struct kith_dht_core *core, struct kith_dht_op *op, const struct kith_dht_call *call,
                             uint64_t now_ns);
/** Ends searches whose time is over. */
void kith__dht_ops_on_deadline(struct kith_dht_core *core, uint64_t now_ns);

/** An event is due. */
void kith__dht_op_tell(struct kith_dht_core *core, struct kith_dht_op *op);

/* ---- dht_core.c ---- */

/** Looks for the nodes around an id, unless that is under way for another. */
void kith__dht_look_for(struct kith_dht_core *core, const struct kith_dht_id *target, uint64_t now_ns);

/* ---- dht_value.c ---- */

/** Takes the value of an answer for an op that looks for one. True: it is newer than all before. */
bool kith__dht_take_value(struct kith_dht_core *core, struct kith_dht_op *op, const struct kith_krpc *answer);
/** The same for what we keep ourselves, as a server. */
bool kith__dht_take_own(struct kith_dht_core *core, struct kith_dht_op *op, uint64_t now_ns);
/** Keeps the packet of a put ourselves, as a server. False: no memory. */
bool kith__dht_keep_own(struct kith_dht_core *core, const struct kith_dht_op *op, uint64_t now_ns);
/** Fills key, signature, seq and value of a put from a packet, which is borrowed. */
void kith__dht_fill_put(const struct kith_pkarr *packet, struct kith_krpc *put);

/* ---- dht_answer.c ---- */

/** Answers a question of somebody. */
void kith__dht_answer(struct kith_dht_core *core, const struct kith_sockaddr *from, const struct kith_krpc *question,
                      uint64_t now_ns);

#endif
