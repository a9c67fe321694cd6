/**
 * Byte streams of the host: TCP, unix sockets, and the standard descriptors; as much as forwarding needs. All calls that
 * take an rt follow the thread rules of rt/rt.h.
 */
#ifndef KITH_RT_STREAM_H
#define KITH_RT_STREAM_H

#include <kith/types.h>

struct kith_rt;
struct kith_rt_stream;   /* owned by whoever opened or accepted it; ends with kith__rt_stream_close only */
struct kith_rt_listener; /* likewise */

enum {
    KITH_RT_STREAM_READ_MAX = 65536,
    KITH_RT_STREAM_SLICES_MAX = 64, /* of one write */
    KITH_RT_UNIX_PATH_MAX = 107,
    KITH_RT_BACKLOG = 1024 /* connections that wait for on_accept; the system may allow fewer */
};

/**
 * Every TCP stream has TCP_NODELAY and keepalive: a silent one is asked for a sign of life after TCP_IDLE, then every
 * TCP_PROBE, and ends with TIMEOUT after PROBES of them without one. That finds a dead other side only while nothing is sent
 * to it: kith__rt_stream_set_timeout and kith_rt_listen_options.timeout_ns limit the time for what was sent too, without
 * which Linux tries for some 15 minutes. Not for everyone: Linux ends a connection after that time also if the other side
 * lives but reads nothing. TCP_TIMEOUT is meant for those who ask.
 *
 * Linux would also take megabytes for a slow other side at once, and then nothing for seconds: what is urgent would wait behind all
 * that, and a write would seem to make no progress. So beyond what is on its way it takes TCP_UNSENT_MAX.
 */
#define KITH_RT_TCP_TIMEOUT_NS (30 * KITH_NS_PER_S)
#define KITH_RT_TCP_IDLE_NS    (60 * KITH_NS_PER_S)
#define KITH_RT_TCP_PROBE_NS   (10 * KITH_NS_PER_S)
enum { KITH_RT_TCP_PROBES = 3, KITH_RT_TCP_UNSENT_MAX = 32 << 10 };

/** Where a stream leads: an IP address with port, or a unix socket path (then `ip` is ignored). */
struct kith_rt_stream_addr {
    struct kith_sockaddr ip;
    const char *unix_path; /* NULL: TCP. At most KITH_RT_UNIX_PATH_MAX bytes */
};

/** Any function may be NULL. A stream may be closed from inside each of them. */
struct kith_rt_stream_events {
    void (*on_open)(void *ctx,
                    int err); /* connect is through; on an error (REFUSED, UNREACHABLE, ...) only close is left */
    /* Only between read_start and read_stop; size > 0. The bytes may be changed in place, until the callback returns. */
    void (*on_data)(void *ctx, uint8_t *bytes, size_t size);
    void (*on_end)(void *ctx, int err); /* nothing more to read: 0 = the other side ended, else RESET, TIMEOUT, IO */
    void (*on_written)(void *ctx, int err); /* the bytes of the last write are the caller's again */
    void (*on_shutdown)(void *ctx, int err);
    void *ctx;
};

/** Starts to connect; on_open follows. Errors: NOMEM, INVALID, NOT_FOUND (unix path), UNREACHABLE, IO. */
KITH_MUST_USE int kith__rt_stream_connect(struct kith_rt *rt, const struct kith_rt_stream_addr *to,
                                          const struct kith_rt_stream_events *events, struct kith_rt_stream **out);
/**
 * Takes over descriptor 0, 1 or 2: pipe, terminal, socket, or regular file. No on_open. Closing the stream does not close
 * the descriptor. Errors: NOMEM, INVALID (another number, or closed), IO. UNSUPPORTED in the simulator.
 */
KITH_MUST_USE int kith__rt_stream_open_stdio(struct kith_rt *rt, int descriptor,
                                             const struct kith_rt_stream_events *events, struct kith_rt_stream **out);
/** Sets the events of an accepted stream. */
void kith__rt_stream_set_events(struct kith_rt_stream *stream, const struct kith_rt_stream_events *events);
/** Lets on_data come. Twice is fine. */
void kith__rt_stream_read_start(struct kith_rt_stream *stream);
/** No on_data from now on: the kernel's buffer fills and pushes back on the sender. on_end may still follow later. */
void kith__rt_stream_read_stop(struct kith_rt_stream *stream);
/**
 * Writes size > 0 bytes, which stay borrowed until on_written; one write at a time. Errors: STATE (one is under way, not
 * open, or shut down), NOMEM.
 */
KITH_MUST_USE int kith__rt_stream_write(struct kith_rt_stream *stream, const uint8_t *bytes, size_t size);
/**
 * As kith__rt_stream_write, with 1..KITH_RT_STREAM_SLICES_MAX slices, none empty, sent one behind the other without a copy;
 * the bytes stay borrowed until on_written, the array only during the call.
 */
KITH_MUST_USE int kith__rt_stream_write_slices(struct kith_rt_stream *stream, const struct kith_slice *slices,
                                               size_t count);
/** Ends our direction after the write under way; on_shutdown follows. Errors: STATE, NOMEM. */
KITH_MUST_USE int kith__rt_stream_shutdown(struct kith_rt_stream *stream);
/** Closes at once; no callback follows. A write under way may be cut; its bytes are the caller's again. NULL is fine. */
void kith__rt_stream_close(struct kith_rt_stream *stream);

/** The two addresses of an open TCP stream; family NONE for others, or if the system does not tell (it was reset). */
struct kith_sockaddr kith__rt_stream_remote(const struct kith_rt_stream *stream);
struct kith_sockaddr kith__rt_stream_local(const struct kith_rt_stream *stream);

/**
 * Listens. on_accept hands over a new stream: give it events and read_start, or close it. For TCP port 0 the system picks
 * one. A stale unix socket file is not removed (EXISTS/ADDRESS_IN_USE). Errors: NOMEM, ADDRESS_IN_USE, PERMISSION, IO.
 */
KITH_MUST_USE int kith__rt_listen(struct kith_rt *rt, const struct kith_rt_stream_addr *at,
                                  void (*on_accept)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                                  struct kith_rt_listener **out);
/**
 * What was sent must be acknowledged within timeout_ns (1 ms resolution; 0: as long as the system likes), else on_end and
 * on_written bring TIMEOUT (TCP_USER_TIMEOUT). While connecting it limits that too. Nothing for streams that are not TCP.
 */
void kith__rt_stream_set_timeout(struct kith_rt_stream *stream, uint64_t timeout_ns);

struct kith_rt_listen_options {
    struct kith_rt_stream_addr at;
    unsigned backlog;    /* 0 = KITH_RT_BACKLOG */
    uint64_t timeout_ns; /* of accepted streams, as kith__rt_stream_set_timeout; 0: none */
    bool
        is_shared; /* TCP: others that say so too may listen there as well (SO_REUSEPORT), one for each thread: the system
                         spreads connections over them */
};
/** As kith__rt_listen, with all choices. UNSUPPORTED: is_shared is not to be had here. */
KITH_MUST_USE int kith__rt_listen_with(struct kith_rt *rt, const struct kith_rt_listen_options *options,
                                       void (*on_accept)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                                       struct kith_rt_listener **out);
/** Stops to accept (connections wait in the backlog), or goes on. At first it accepts. Twice is fine. */
void kith__rt_listener_set_paused(struct kith_rt_listener *listener, bool is_paused);
/** What became of connections. */
struct kith_rt_listener_stats {
    uint64_t accepted;          /* handed to on_accept */
    uint64_t closed_no_memory;  /* closed at once */
    uint64_t closed_no_handles; /* closed at once: the process may not open more descriptors */
    uint64_t failed;            /* the system failed to accept: they had gone away by then */
};
struct kith_rt_listener_stats kith__rt_listener_stats(const struct kith_rt_listener *listener);
/** The bound TCP address with its real port; family NONE for a unix socket. */
struct kith_sockaddr kith__rt_listener_local(const struct kith_rt_listener *listener);
/** Closes; no on_accept follows; removes the unix socket file that it made. NULL is fine. */
void kith__rt_listener_close(struct kith_rt_listener *listener);

#endif
