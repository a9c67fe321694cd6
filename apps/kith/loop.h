/**
 * The program's own event loop: one poll() over the context's descriptor, those of pipes and sockets, and the signals
 * that end a program. A context in caller mode runs inside it; nothing here has a thread.
 */
#ifndef APPS_LOOP_H
#define APPS_LOOP_H

#include <kith/endpoint.h>
#include <poll.h>

/** Interest in a descriptor. Zeroed by the owner, in whom it lies; linked while it waits for something. */
struct loop_watch {
    struct loop_watch *next, *previous;
    struct loop *loop; /* NULL: not linked */
    int fd;
    short events;
    size_t slot; /* where in the poll array of this turn */
    void (*on_ready)(void *user);
    void *user;
};

/** A moment to be woken at. Zeroed by the owner. */
struct loop_timer {
    struct loop_timer *next, *previous;
    struct loop *loop; /* NULL: not set */
    uint64_t due_ns;
    void (*on_due)(void *user);
    void *user;
};

struct loop {
    struct kith_context *context;
    struct loop_watch watches; /* head of a ring */
    struct loop_timer timers;  /* head of a ring */
    struct pollfd *polls;
    struct loop_watch **polled; /* the watch of each slot; NULL when it was dropped during the turn */
    size_t poll_capacity, poll_count;
    bool is_interrupted; /* SIGINT, SIGTERM or SIGHUP arrived */
};

/** Makes the context and takes over SIGINT, SIGTERM, SIGHUP and SIGPIPE. A second signal ends the program at once. */
int loop_init(struct loop *loop, void (*log)(void *ctx, int level, const char *part, const char *text), void *log_ctx,
              int log_level);
void loop_dispose(struct loop *loop);
/** Monotonic time, ns. */
uint64_t loop_now(void);

/** Waits for POLLIN, POLLOUT or both; 0 stops waiting. The callback may change or drop any watch. */
void loop_watch_set(struct loop *loop, struct loop_watch *watch, int fd, short events);
void loop_watch_stop(struct loop_watch *watch);
/** Calls on_due once, `after_ns` from now. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t after_ns);
void loop_timer_stop(struct loop_timer *timer);

/** True after a signal that asks to end; for code that does not turn the loop. */
bool loop_check_interrupted(struct loop *loop);
/** One turn: waits for whatever comes first and serves it. Negative if the context broke. */
int loop_turn(struct loop *loop);
/** Turns until *done or an interruption (KITH_ERR_CANCELLED). */
int loop_run(struct loop *loop, const bool *done);
/** Turns until the operation is done, and returns its result; CANCELLED on an interruption. The operation stays the caller's. */
int loop_wait(struct loop *loop, struct kith_op *op);

#endif
