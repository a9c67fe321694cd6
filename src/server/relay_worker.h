/**
 * One worker of a relay: listeners, HTTP, the relay core, on one rt. A relay has one for each core of the machine, each on a
 * thread of its own; in the simulator they share one. What others want of a worker comes as orders, which it carries out in its
 * own turn.
 *
 * Thread rules: everything belongs to the thread of the rt, except kith__relay_worker_order.
 */
#ifndef KITH_SERVER_RELAY_WORKER_H
#define KITH_SERVER_RELAY_WORKER_H

#include "relay/server.h"
#include "server/httpd.h"
#include "server/relay_ask.h"
#include "server/relay_pages.h"
#include "server/relay_shared.h"

struct kith_relay_worker;

/** What a worker has to tell; see kith_relay_news in kith/relay.h. Called on its thread. */
struct kith_relay_told {
    enum kith_relay_event_kind kind;
    uint64_t handle;
    unsigned worker;
    struct kith_id id;
    struct kith_sockaddr remote;
    enum kith_relay_end end;
};

struct kith_relay_worker_options {
    struct kith_rt *rt; /* its hooks are the worker's */
    const struct kith_mem *mem;
    struct kith_relay_shared *shared; /* outlives the worker */
    struct kith_relay_routes *routes; /* outlives the worker */
    const struct kith_relay_server_limits *limits;
    const struct kith_relay_pass_on *pass_on; /* checked; copied; NULL: nothing */
    uint64_t http_limit_ns;                   /* from accept to upgrade or end; 0: KITH_HTTPD_LIMIT_NS */
    /**
     * A client came or went, or (ACCESS, and there is no callback over HTTP) asks to come: kith_relay_order of kind ANSWER
     * follows some time. May be NULL. False: it cannot be told; an ACCESS is denied then.
     */
    bool (*tell)(void *ctx, const struct kith_relay_told *told);
    void *ctx;
};

/** Errors: NOMEM. */
KITH_MUST_USE int kith__relay_worker_new(const struct kith_relay_worker_options *options,
                                         struct kith_relay_worker **out);
/** Ends everything at once. NULL is fine. */
void kith__relay_worker_free(struct kith_relay_worker *worker);
/** Listens; door is the tag. See kith__httpd_listen. */
KITH_MUST_USE int kith__relay_worker_listen(struct kith_relay_worker *worker, enum kith_relay_door door,
                                            const struct kith_sockaddr *at, bool is_shared,
                                            struct kith_sockaddr *bound);
/** Carries out the orders that are there now; before the first turn, so that no client comes before the rules. */
void kith__relay_worker_settle(struct kith_relay_worker *worker);
/** True when the worker has drained (KITH_RELAY_ORDER_DRAIN) and nothing is left. */
bool kith__relay_worker_is_drained(const struct kith_relay_worker *worker);

enum kith_relay_order_kind {
    KITH_RELAY_ORDER_TLS,        /* a new certificate: tls, whose reference goes to the worker */
    KITH_RELAY_ORDER_ACCESS,     /* access, ask: owned by the worker now */
    KITH_RELAY_ORDER_LIMITS,     /* limits */
    KITH_RELAY_ORDER_DISCONNECT, /* all sessions of id */
    KITH_RELAY_ORDER_ANSWER,     /* to ACCESS of handle: is_allowed, reason */
    KITH_RELAY_ORDER_DRAIN       /* spread_ns, try_for_ns */
};

/** One order; made with kith__relay_order_new. */
struct kith_relay_order {
    struct kith_list node;
    enum kith_relay_order_kind kind;
    struct kith_tls_stream_context *tls;
    struct kith_relay_access *access; /* NULL: everyone */
    struct kith_relay_ask_rules *ask; /* NULL: no callback over HTTP */
    struct kith_relay_server_limits limits;
    struct kith_id id;
    uint64_t handle;
    bool is_allowed;
    char reason[KITH_RELAY_DENIAL_SIZE_MAX + 1]; /* empty: the usual one */
    uint64_t spread_ns, try_for_ns;
};

/** A zeroed order of that kind; NULL: no memory. */
struct kith_relay_order *kith__relay_order_new(const struct kith_mem *mem, enum kith_relay_order_kind kind);
/** Frees with what it owns. NULL is fine. */
void kith__relay_order_free(const struct kith_mem *mem, struct kith_relay_order *order);
/** Gives an order, which is the worker's from here on, and wakes it. In order of the calls. Any thread. */
void kith__relay_worker_order(struct kith_relay_worker *worker, struct kith_relay_order *order);

#endif
