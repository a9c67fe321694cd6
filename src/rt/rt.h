/**
 * The one seam to the world: clock, random numbers, timers, UDP, the loop. rt/stream.h, rt/signal.h, rt/file.h and
 * rt/thread.h hold the rest and are included here. There are two implementations behind the same calls: the real one (rt/uv/uv.h, libuv and
 * Linux) and the simulated one (rt/sim/sim.h, virtual time). Nothing above this directory sees a socket, a clock, a file
 * descriptor or a thread in any other way.
 *
 * Shape of a turn, the same in every run mode:
 *
 *     kith__rt_process(rt)            runs what is due: timers, datagrams, streams, a wake; at its end hooks.on_turn_end,
 *                                     which is where an owner flushes what the callbacks left to send
 *     until = kith__rt_deadline(rt)
 *     kith__rt_wait(rt, until)        sleeps until something is ready (or poll kith__rt_fd in a foreign loop)
 *
 * Thread rules: one thread at a time per rt. kith__rt_wake may be called from any thread at any time. kith__rt_wait may
 * run while another thread uses the rt under the owner's lock (kith__rt_process must not): that thread then calls
 * kith__rt_wake when it is done, so that the sleeper learns of new deadlines and sockets.
 * Callbacks come only out of kith__rt_process (real), or kith__rt_process, kith__rt_wait and the sim's run calls (simulated);
 * never out of a call that starts something. A callback may call everything except process, wait, run and free.
 */
#ifndef KITH_RT_RT_H
#define KITH_RT_RT_H

#include "base/heap.h"
#include "base/log.h"
#include "rt/file.h"
#include "rt/signal.h"
#include "rt/stream.h"
#include "rt/thread.h"
#include <kith/quic.h>

struct kith_rt_member_options;
struct kith_rt_ops;

/** What the owner wants to hear of; any function may be NULL. */
struct kith_rt_hooks {
    void (*on_wake)(void *ctx);     /* kith__rt_wake was called, once or several times */
    void (*on_turn_end)(void *ctx); /* callbacks of this turn are through (also when there were none) */
    void *ctx;
};

/**
 * Looks up names of hosts in place of the system. done, once, from within kith__rt_process: err 0 and 1..KITH_RT_RESOLVED_MAX
 * addresses with port 0, of the family (NONE: both), or an error. cancel: it will not be called. The rest as
 * kith__rt_resolve_family.
 */
struct kith_rt_resolver {
    int (*start)(void *ctx, const char *host, enum kith_family family,
                 void (*done)(void *done_ctx, int err, const struct kith_sockaddr *addrs, size_t count), void *done_ctx,
                 void **out);
    void (*cancel)(void *ctx, void *query);
    void *ctx;
};

/** The part that both implementations share; they embed it as their first member. Read-only for users. */
struct kith_rt {
    const struct kith_rt_ops *ops;
    const struct kith_mem *mem;
    struct kith_log log;
    struct kith_random random;        /* real: the system's; simulated: seeded */
    struct kith_rt_hooks hooks;       /* set by kith__rt_set_hooks */
    struct kith_rt_resolver resolver; /* start NULL: the system's */
    struct kith_heap timers;
    size_t timer_count; /* initialised timers: the heap has room for all of them */
};

/** Stops everything: sockets, streams, listeners and watches must be closed, timers disposed of before. NULL is fine. */
void kith__rt_free(struct kith_rt *rt);
/** Replaces the hooks. */
void kith__rt_set_hooks(struct kith_rt *rt, const struct kith_rt_hooks *hooks);

/* ---- Clock ---- */

/** Monotonic time in ns; arbitrary origin (simulated: starts at 1 s). Never goes backwards. */
uint64_t kith__rt_now(const struct kith_rt *rt);
/** Wall-clock time in microseconds since 1970-01-01 UTC; may jump. */
uint64_t kith__rt_wall_us(const struct kith_rt *rt);
/** Random bytes of the host; see kith_random. */
static inline const struct kith_random *kith__rt_random(const struct kith_rt *rt)
{
    return &rt->random;
}

/* ---- Timers ---- */

/**
 * A one-shot timer, by value in its owner, which must not move between init and dispose. Fires not before its time; timers
 * with equal times fire in the order in which they were set. A callback may set its own timer again, and dispose of it.
 */
struct kith_rt_timer {
    struct kith_heap_node node; /* key: when */
    void (*fire)(void *ctx, uint64_t now_ns);
    void *ctx;
    struct kith_rt *rt;
};

/** Prepares a timer, unarmed. KITH_ERR_NOMEM: setting it later cannot fail. On error the timer needs no dispose. */
KITH_MUST_USE int kith__rt_timer_init(struct kith_rt *rt, struct kith_rt_timer *timer,
                                      void (*fire)(void *ctx, uint64_t now_ns), void *ctx);
/** Disarms. A zeroed timer is fine. */
void kith__rt_timer_dispose(struct kith_rt_timer *timer);
/** Arms for the point in time at_ns, or moves it there; a past time fires in the next turn; KITH_NEVER disarms. */
void kith__rt_timer_set(struct kith_rt_timer *timer, uint64_t at_ns);
static inline bool kith__rt_timer_is_set(const struct kith_rt_timer *timer)
{
    return timer->rt != NULL && timer->node.index != KITH_HEAP_OUT;
}

/* ---- UDP ---- */

struct kith_rt_udp; /* one bound socket; owned by whoever opened it */

enum {
    KITH_RT_UDP_BATCH_MAX = 32,       /* entries of one on_receive call */
    KITH_RT_UDP_SEGMENTS_MAX = 64,    /* datagrams in one transmit (Linux: UDP_MAX_SEGMENTS) */
    KITH_RT_UDP_SEND_MAX = 65507,     /* bytes of one transmit */
    KITH_RT_UDP_BUFFER_SIZE = 7 << 20 /* what we ask of SO_RCVBUF and SO_SNDBUF */
};

struct kith_rt_udp_events {
    /**
     * 1..KITH_RT_UDP_BATCH_MAX buffers arrived, in order. The bytes may be changed in place; they and the batch are valid
     * until the callback returns. The socket may be closed from inside.
     */
    void (*on_receive)(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns);
    /** A socket that was blocked (kith__rt_udp_is_blocked) takes datagrams again. NULL is fine. */
    void (*on_writable)(void *ctx);
    void *ctx;
};

struct kith_rt_udp_options {
    struct kith_sockaddr local; /* family decides: V4, or V6 (always v6-only); port 0 = any; unspecified ip = all */
    size_t buffer_size;         /* for each direction; 0 = KITH_RT_UDP_BUFFER_SIZE; the system may give less */
    bool no_offload;            /* without GSO and GRO, as with KITH_UDP_OFFLOAD=off in the environment */
    const struct kith_rt_member_options *member; /* set by rt/multicast.h: local is the group; NULL: no group */
    bool is_shared; /* others that say so too may bind there as well (SO_REUSEPORT), one for each thread: the system
                                   spreads senders over them. Simulated: it makes no difference */
};

/** Why datagrams were not sent or not delivered: X(name). Counted in datagrams; each in exactly one. */
#define KITH_RT_UDP_DROPS(X)                                                                                           \
    X(too_large)   /* send: above the MTU of the way (EMSGSIZE); what MTU discovery expects */                         \
    X(permission)  /* send: a firewall of this machine (EPERM, EACCES) */                                              \
    X(unreachable) /* send: no route (ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, ...) */                                \
    X(no_buffer)   /* send: ENOBUFS, ENOMEM, or no memory to keep the rest of a batch */                               \
    X(send_other)  /* send: any other error, logged */                                                                 \
    X(truncated)   /* receive: larger than our buffer */                                                               \
    X(no_source)   /* receive: without a usable source address */                                                      \
    X(empty)       /* receive: no bytes */

struct kith_rt_udp_stats {
    uint64_t sent_datagrams, sent_bytes, sent_calls;
    uint64_t received_datagrams, received_bytes, received_calls;
    uint64_t blocked;     /* times the socket became blocked */
    uint64_t gso_refused; /* times GSO was switched off because the kernel or device refused it: 0 or 1 */
    uint64_t ecn_refused; /* sends repeated without ECN because the kernel refused the marking */
#define KITH_RT_UDP_DROP_MEMBER(name) uint64_t drop_##name;
    KITH_RT_UDP_DROPS(KITH_RT_UDP_DROP_MEMBER)
#undef KITH_RT_UDP_DROP_MEMBER
};

/** What the socket can do now; GSO may go off at any send. */
struct kith_rt_udp_features {
    bool gso; /* a batch goes out in one call; without it segments are sent one by one, with the same effect */
    bool gro; /* received buffers may hold several datagrams */
    bool ecn; /* received ECN bits are real */
    bool dont_fragment;
    bool local_address;                           /* received `local.ip` is real */
    size_t receive_buffer_size, send_buffer_size; /* as granted */
};

/**
 * Opens and binds. `events` is copied. Errors: NOMEM, INVALID (family), ADDRESS_IN_USE, PERMISSION, UNREACHABLE (no such
 * local address), UNSUPPORTED (no IPv6 here), IO.
 */
KITH_MUST_USE int kith__rt_udp_open(struct kith_rt *rt, const struct kith_rt_udp_options *options,
                                    const struct kith_rt_udp_events *events, struct kith_rt_udp **out);
/** Closes; no callback follows. NULL is fine. */
void kith__rt_udp_close(struct kith_rt_udp *udp);
/** The bound address, with the real port. */
struct kith_sockaddr kith__rt_udp_local(const struct kith_rt_udp *udp);
/**
 * Sends transmit->size <= KITH_RT_UDP_SEND_MAX bytes as datagrams of segment_size (at most KITH_RT_UDP_SEGMENTS_MAX).
 * 0: taken: sent, dropped with a count, or, if the socket was full, kept by the socket, which is then blocked.
 * Errors: AGAIN (blocked: nothing taken, on_writable will follow), INVALID (size, segments, or another family).
 */
KITH_MUST_USE int kith__rt_udp_send(struct kith_rt_udp *udp, const struct kith_quic_transmit *transmit,
                                    const uint8_t *bytes);
/** True while the socket keeps unsent datagrams: do not produce more before on_writable. */
bool kith__rt_udp_is_blocked(const struct kith_rt_udp *udp);
struct kith_rt_udp_features kith__rt_udp_features(const struct kith_rt_udp *udp);
struct kith_rt_udp_stats kith__rt_udp_stats(const struct kith_rt_udp *udp);

/* ---- Addresses of this host ---- */

enum { KITH_RT_INTERFACES_MAX = 64, KITH_RT_INTERFACE_NAME_SIZE = 16, KITH_RT_RESOLVED_MAX = 16 };

/** One address of one interface that is up. */
struct kith_rt_interface {
    struct kith_sockaddr addr; /* port 0 */
    char name[KITH_RT_INTERFACE_NAME_SIZE];
    uint32_t index; /* the system's number of the interface; not 0 */
    bool is_loopback;
    bool is_multicast; /* datagrams to a group leave and arrive there (rt/multicast.h) */
};

/** Lists at most `cap` addresses, in the system's order. Errors: NOMEM, IO. */
KITH_MUST_USE int kith__rt_interfaces(struct kith_rt *rt, struct kith_rt_interface *out, size_t cap, size_t *count);

struct kith_rt_watch; /* someone who wants to know when addresses change; owned by whoever opened it */

/**
 * Asks to be told when interfaces, addresses or default routes of this host may have changed. on_change is called in a turn;
 * several changes may be told at once, and a call may come without a difference: list them again with kith__rt_interfaces.
 * The watch may be closed from inside. Errors: NOMEM, IO (the system does not tell).
 */
KITH_MUST_USE int kith__rt_watch_open(struct kith_rt *rt, void (*on_change)(void *ctx), void *ctx,
                                      struct kith_rt_watch **out);
/** No callback follows. NULL is fine. */
void kith__rt_watch_close(struct kith_rt_watch *watch);

struct kith_rt_resolve; /* a name lookup in progress */

/**
 * Looks up "host" (numeric or a name of the system's resolver) for TCP forwarding. done is called once: err 0 and 1..
 * KITH_RT_RESOLVED_MAX addresses with `port`, or NOT_FOUND, TIMEOUT, NOMEM, IO. Errors: NOMEM, INVALID (empty or too long).
 */
KITH_MUST_USE int kith__rt_resolve(struct kith_rt *rt, const char *host, uint16_t port,
                                   void (*done)(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count),
                                   void *ctx, struct kith_rt_resolve **out);
/** The same for addresses of one family (V4, V6), so that a slow answer for one does not hold up the other; NONE: both. */
KITH_MUST_USE int kith__rt_resolve_family(struct kith_rt *rt, const char *host, uint16_t port, enum kith_family family,
                                          void (*done)(void *ctx, int err, const struct kith_sockaddr *addrs,
                                                       size_t count),
                                          void *ctx, struct kith_rt_resolve **out);
/** Names (not what is numeric) are looked up by this one from now on, which is copied; NULL: by the system. None may be under way. */
void kith__rt_set_resolver(struct kith_rt *rt, const struct kith_rt_resolver *resolver);
/** Gives up before done was called: it will not be. The object is gone after done or cancel. */
void kith__rt_resolve_cancel(struct kith_rt_resolve *resolve);

/* ---- The loop ---- */

/** A descriptor that is readable when kith__rt_process has work; valid until kith__rt_free. -1 in the simulator. */
int kith__rt_fd(const struct kith_rt *rt);
/** When kith__rt_process wants to be called even if the descriptor is silent: 0 = now, KITH_NEVER. */
uint64_t kith__rt_deadline(const struct kith_rt *rt);
/** Runs what is due, without blocking, a bounded amount (then kith__rt_deadline is 0). */
void kith__rt_process(struct kith_rt *rt);
/** Sleeps until there is work, a wake, or the point in time until_ns. Does not run callbacks in the real one. */
void kith__rt_wait(struct kith_rt *rt, uint64_t until_ns);
/** process and wait until *done is true (0) or the time until_ns has passed (KITH_ERR_TIMEOUT). */
int kith__rt_run(struct kith_rt *rt, const bool *done, uint64_t until_ns);
/** Ends a kith__rt_wait, present or next, and makes hooks.on_wake run in the next turn. Any thread. */
void kith__rt_wake(struct kith_rt *rt);

#endif
