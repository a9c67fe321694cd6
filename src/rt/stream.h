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

enum { KITH_RT_STREAM_READ_MAX = 65536, KITH_RT_UNIX_PATH_MAX = 107 };

/** Where a stream leads: an IP address with port, or a unix socket path (then `ip` is ignored). */
struct kith_rt_stream_addr {
    struct kith_sockaddr ip;
    const char *unix_path; /* NULL: TCP. At most KITH_RT_UNIX_PATH_MAX bytes */
};

/** Any function may be NULL. A stream may be closed from inside each of them. */
struct kith_rt_stream_events {
    void (*on_open)(void *ctx,
                    int err); /* connect is through; on an error (REFUSED, UNREACHABLE, ...) only close is left */
    void (*on_data)(void *ctx, const uint8_t *bytes, size_t size); /* only between read_start and read_stop; size > 0 */
    void (*on_end)(void *ctx, int err);     /* nothing more to read: 0 = the other side ended, else RESET, IO */
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
/** Ends our direction after the write under way; on_shutdown follows. Errors: STATE, NOMEM. */
KITH_MUST_USE int kith__rt_stream_shutdown(struct kith_rt_stream *stream);
/** Closes at once; no callback follows. A write under way may be cut; its bytes are the caller's again. NULL is fine. */
void kith__rt_stream_close(struct kith_rt_stream *stream);

/**
 * Listens. on_accept hands over a new stream: give it events and read_start, or close it. For TCP port 0 the system picks
 * one. A stale unix socket file is not removed (EXISTS/ADDRESS_IN_USE). Errors: NOMEM, ADDRESS_IN_USE, PERMISSION, IO.
 */
KITH_MUST_USE int kith__rt_listen(struct kith_rt *rt, const struct kith_rt_stream_addr *at,
                                  void (*on_accept)(void *ctx, struct kith_rt_stream *stream), void *ctx,
                                  struct kith_rt_listener **out);
/** The bound TCP address with its real port; family NONE for a unix socket. */
struct kith_sockaddr kith__rt_listener_local(const struct kith_rt_listener *listener);
/** Closes; no on_accept follows; removes the unix socket file that it made. NULL is fine. */
void kith__rt_listener_close(struct kith_rt_listener *listener);

#endif
